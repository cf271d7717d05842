/* test_unusual.c - protects a host from what stands where a file should (H24 of the reliability plan): a FIFO, a device, a
 * socket, a directory, a link that leads nowhere, a file that may not be read, a path that is too long or no UTF-8. Each is
 * refused at once, before a byte is read, with a sentence that names it; links to regular files are followed, as penult.h
 * says.
 *
 *     test_unusual PLUGIN MODEL */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host.h"

#define SLOW 2.0 /* seconds that no refusal takes */

static char folder[] = "/tmp/penult-unusual-XXXXXX";
static char source[4096];
static const char *const names[] = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
                                    "special_tokens_map.json", "vocab.json", "merges.txt"};
#define NAMES (sizeof names / sizeof names[0])

static const char *in_folder(const char *name) {
    static char path[2][4096];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static void copy(const char *name) {
    char from[4200], block[65536];
    size_t got;
    snprintf(from, sizeof from, "%s/%s", source, name);
    FILE *in = fopen(from, "rb"), *out = fopen(in_folder(name), "wb");
    if (!in || !out)
        give_up("could not copy %s", from);
    while ((got = fread(block, 1, sizeof block, in)) > 0)
        if (fwrite(block, 1, got, out) != got)
            give_up("could not write %s", name);
    fclose(in);
    fclose(out);
}

static void need(int result, const char *what) {
    if (result != 0)
        give_up("%s: %s", what, strerror(errno));
}

/* ---- what to put in a file's place: `path` is free */

static void put_fifo(const char *path) {
    need(mkfifo(path, 0600), "mkfifo");
}

static void put_directory(const char *path) {
    need(mkdir(path, 0700), "mkdir");
}

static void put_socket(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    need(listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0, "bind");
    close(listener);
}

static void put_zero(const char *path) {
    need(symlink("/dev/zero", path), "symlink");
}

static void put_null(const char *path) {
    need(symlink("/dev/null", path), "symlink");
}

static void put_random(const char *path) {
    need(symlink("/dev/urandom", path), "symlink");
}

static void put_memory(const char *path) {
    need(symlink("/proc/self/mem", path), "symlink");
}

static void put_loop(const char *path) {
    need(symlink(path, path), "symlink");
}

static void put_dangling(const char *path) {
    need(symlink("nothing-there", path), "symlink");
}

static void put_nothing(const char *path) {
    (void)path;
}

static const struct unusual {
    const char *what;
    void (*put)(const char *path);
    int32_t status; /* in place of any file but the weights */
    int32_t weights;
    const char *words;
} unusuals[] = {
    {"a FIFO", put_fifo, PENULT_E_IO, PENULT_E_IO, "found a FIFO, expected a regular file"},
    {"a directory", put_directory, PENULT_E_IO, PENULT_E_IO, "found a directory, expected a regular file"},
    {"a socket", put_socket, PENULT_E_IO, PENULT_E_IO, "could not open it"},
    {"/dev/zero", put_zero, PENULT_E_IO, PENULT_E_IO, "found a device, expected a regular file"},
    {"/dev/null", put_null, PENULT_E_IO, PENULT_E_IO, "found a device, expected a regular file"},
    {"/dev/urandom", put_random, PENULT_E_IO, PENULT_E_IO, "found a device, expected a regular file"},
    /* a regular file by its mode, of 0 bytes: nothing of it is read */
    {"/proc/self/mem", put_memory, PENULT_E_FORMAT, PENULT_E_TRUNCATED, ""},
    {"a link to itself", put_loop, PENULT_E_IO, PENULT_E_IO, "Too many levels of symbolic links"},
    {"a link to nothing", put_dangling, PENULT_E_NOT_FOUND, PENULT_E_NOT_FOUND, "No such file or directory"},
};

static int is_utf8_line(const char *text) {
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p >= 0x7F) /* none of these tests has a letter beyond ASCII in what it may say */
            return 0;
    return text[0] != '\0';
}

/* Opens and says whether it failed as it should, in no time, leaving nothing. */
static int refuses(const char *path, const char *tokenizer, uint32_t access, int32_t wanted, const char *name,
                   const char *words, char *why, size_t room) {
    penult_open_params params = {
        .struct_size = sizeof params, .access = access, .path = path, .tokenizer_path = tokenizer};
    penult_error error = {.message = ""};
    penult_model *model = (penult_model *)&params;
    unsigned descriptors = descriptor_count();
    double began = seconds();
    alarm(20);
    int32_t status = api->model_open(&params, &model, &error);
    alarm(0);
    double took = seconds() - began;
    if (status == PENULT_OK)
        api->model_close(model);
    int left = descriptor_count() != descriptors || thread_count() != 1;
    snprintf(why, room, "%s: %.400s%s%s", status_name(status), status ? error.message : "opened",
             left ? ", and something stays" : "", took > SLOW ? ", and it took seconds" : "");
    if (wanted == PENULT_OK)
        return status == PENULT_OK && !left;
    return status == wanted && !model && !left && took <= SLOW && is_utf8_line(error.message) &&
           strstr(error.message, name) && strstr(error.message, words);
}

static void expect(const char *path, const char *tokenizer, int32_t wanted, const char *name, const char *words,
                   const char *title) {
    char why[600];
    int good = 1;
    for (uint32_t access = PENULT_MAP; access <= PENULT_COPY && good; access++)
        good = refuses(path, tokenizer, access, wanted, name, words, why, sizeof why);
    check(good, "%s: %s", title, why);
}

static void remove_any(const char *path) {
    if (unlink(path) != 0)
        rmdir(path);
}

/* tokenizer.json hides vocab.json and merges.txt, so for those it goes. */
static void in_place_of_each_file(void) {
    for (size_t n = 0; n < NAMES; n++) {
        int is_pair = strcmp(names[n], "vocab.json") == 0 || strcmp(names[n], "merges.txt") == 0;
        if (is_pair)
            remove_any(in_folder("tokenizer.json"));
        for (size_t i = 0; i < sizeof unusuals / sizeof unusuals[0]; i++) {
            const struct unusual *unusual = &unusuals[i];
            char title[128];
            int32_t wanted = strcmp(names[n], "model.safetensors") == 0 ? unusual->weights : unusual->status;
            /* merges.txt may be empty */
            if (unusual->put == put_memory && strcmp(names[n], "merges.txt") == 0)
                wanted = PENULT_OK;
            remove_any(in_folder(names[n]));
            unusual->put(in_folder(names[n]));
            snprintf(title, sizeof title, "%s as %s", unusual->what, names[n]);
            expect(folder, NULL, wanted, names[n], unusual->words, title);
            remove_any(in_folder(names[n]));
        }
        copy(names[n]);
        if (is_pair)
            copy("tokenizer.json");
    }
}

static void in_place_of_the_folder(void) {
    const char *path = in_folder("other");
    char title[128];
    for (size_t i = 0; i < sizeof unusuals / sizeof unusuals[0]; i++) {
        const struct unusual *unusual = &unusuals[i];
        int is_link = unusual->put == put_loop || unusual->put == put_dangling;
        unusual->put(path);
        if (unusual->put != put_directory) {
            snprintf(title, sizeof title, "%s as the model", unusual->what);
            if (unusual->put == put_memory) /* a regular file, of no bytes */
                expect(path, NULL, PENULT_E_TRUNCATED, "other", "has 0 bytes", title);
            else
                expect(path, NULL, unusual->status, "other", is_link ? "could not look at it" : unusual->words, title);
        }
        snprintf(title, sizeof title, "%s as the tokenizer", unusual->what);
        if (unusual->put == put_directory)
            expect(folder, path, PENULT_E_NOT_FOUND, "vocab.json", "could not open it", title);
        else if (unusual->put == put_memory)
            expect(folder, path, PENULT_E_FORMAT, "tokenizer.json", "JSON ends at byte 0", title);
        else
            expect(folder, path, unusual->status, "other", is_link ? "could not look at it" : unusual->words, title);
        remove_any(path);
    }
    put_nothing(path);
    expect(path, NULL, PENULT_E_NOT_FOUND, "other", "No such file", "nothing as the model's folder");
    expect(folder, path, PENULT_E_NOT_FOUND, "other", "No such file", "nothing as the tokenizer");
}

/* What the host points at, it may point at through links: the hub's cache is made of them. */
static void links_are_followed(void) {
    char real[300];
    for (size_t n = 0; n < NAMES; n++) {
        snprintf(real, sizeof real, "%s.real", names[n]);
        need(rename(in_folder(names[n]), in_folder(real)), "rename");
        need(symlink(real, in_folder(names[n])), "symlink");
    }
    expect(folder, NULL, PENULT_OK, "", "", "every file a link to a regular file");
    need(symlink(".", in_folder("linked")), "symlink");
    expect(in_folder("linked"), NULL, PENULT_OK, "", "", "the folder a link");
    expect(folder, in_folder("linked"), PENULT_OK, "", "", "the tokenizer's folder a link");
    expect(folder, in_folder("tokenizer.json"), PENULT_OK, "", "", "the tokenizer's file a link");
    need(unlink(in_folder("linked")), "unlink");
    for (size_t n = 0; n < NAMES; n++) {
        snprintf(real, sizeof real, "%s.real", names[n]);
        need(rename(in_folder(real), in_folder(names[n])), "rename");
    }
}

/* Root may read everything, so a child becomes nobody. */
static void forbidden(void) {
    static const char *const files[] = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"};
    fflush(stdout);
    need(chmod(folder, 0755), "chmod");
    for (size_t i = 0; i <= sizeof files / sizeof files[0]; i++) {
        const char *path = i < sizeof files / sizeof files[0] ? in_folder(files[i]) : folder;
        need(chmod(path, 0), "chmod");
        pid_t child = fork();
        if (child == 0) {
            char why[600];
            int good = 1;
            if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0))
                _exit(3);
            for (uint32_t access = PENULT_MAP; access <= PENULT_COPY && good; access++)
                good = refuses(folder, NULL, access, PENULT_E_IO, i < sizeof files / sizeof files[0] ? files[i] : "",
                               "Permission denied", why, sizeof why);
            printf("# %s\n", why);
            fflush(stdout);
            _exit(good ? 0 : 1);
        }
        int status = 0;
        waitpid(child, &status, 0);
        need(chmod(path, path == folder ? 0755 : 0644), "chmod");
        if (WIFEXITED(status) && WEXITSTATUS(status) == 3)
            skip("a forbidden file", "this user cannot become another");
        else
            check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s that may not be read", path == folder ? "a folder" : files[i]);
    }
}

static void paths(void) {
    static char path[10001];
    char title[128];
    for (size_t length = 200; length <= 10000; length = length < 4000 ? length + 1897 : length * 5 / 2) {
        size_t size = length < 10000 ? length : 10000;
        memset(path, 'p', size);
        for (size_t at = 0; at < size; at += 100)
            path[at] = '/';
        path[size] = '\0';
        snprintf(title, sizeof title, "a path of %zu characters", size);
        expect(path, NULL, size >= 4096 ? PENULT_E_IO : PENULT_E_NOT_FOUND, "ppppp", "could not look at it", title);
        snprintf(title, sizeof title, "a tokenizer's path of %zu characters", size);
        expect(folder, path, size >= 4096 ? PENULT_E_IO : PENULT_E_NOT_FOUND, "ppppp", "could not look at it", title);
    }
    memset(path, 'n', 10000);
    path[10000] = '\0';
    expect(path, NULL, PENULT_E_IO, "nnnn", "File name too long", "a name of 10,000 characters");
    /* a folder that can be looked at, while the names in it come out too long */
    size_t size = (size_t)snprintf(path, sizeof path, "%s", folder);
    while (size < 4090)
        size += (size_t)snprintf(path + size, sizeof path - size, "/.");
    expect(path, NULL, PENULT_E_ARGUMENT, "model.safetensors", "longer than", "a folder of 4,090 characters");
    expect(folder, path, PENULT_E_ARGUMENT, "tokenizer.json", "longer than", "a tokenizer's folder of 4,090 characters");
    expect("/tmp/caf\xe9-\xff\xfe", NULL, PENULT_E_NOT_FOUND, "/tmp/caf?-??", "No such file", "a path that is no UTF-8");
    expect("/tmp/a\nb\x1b[2Jc\x7f", NULL, PENULT_E_NOT_FOUND, "/tmp/a?b?[2Jc?", "No such file", "a path with control characters");
    expect(folder, "/tmp/\xc3\x28", PENULT_E_NOT_FOUND, "/tmp/?(", "No such file", "a tokenizer's path that is no UTF-8");
    snprintf(path, sizeof path, "%s/caf\xe9\xff", folder);
    need(symlink(".", path), "symlink");
    expect(path, path, PENULT_OK, "", "", "a folder whose name is no UTF-8 opens");
    need(unlink(path), "unlink");
}

int main(int argc, char **argv) {
    if (argc != 3)
        give_up("usage: test_unusual PLUGIN MODEL");
    if (!mkdtemp(folder))
        give_up("could not make %s", folder);
    snprintf(source, sizeof source, "%s", argv[2]);
    for (size_t n = 0; n < NAMES; n++)
        copy(names[n]);
    host_load(argv);
    expect(folder, NULL, PENULT_OK, "", "", "the folder as it should be");
    in_place_of_each_file();
    in_place_of_the_folder();
    links_are_followed();
    forbidden();
    paths();
    expect(folder, NULL, PENULT_OK, "", "", "the folder as it was");
    for (size_t n = 0; n < NAMES; n++)
        unlink(in_folder(names[n]));
    rmdir(folder);
    return done();
}
