/* test_quota.c - protects a container's quota of CPUs, which stands in small files of the kernel's: read in pieces, with an
 * interruption before each, or not at all, they say the same number of threads, or the CPUs that the process may use; never
 * another number, as a number that is cut in the middle would be.
 *
 *     test_quota PLUGIN MODEL FOLDER      (writes files into FOLDER) */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "../memory/host.h"
#include "interpose.h"

static penult_model *model;

static void put(const char *root, const char *path, const char *text) {
    char name[1024];
    snprintf(name, sizeof name, "%s%s", root, path);
    for (char *slash = strchr(name + strlen(root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(name, 0755);
        *slash = '/';
    }
    FILE *file = fopen(name, "w");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0)
        give_up("%s: could not write it", name);
}

static uint64_t measure(uint32_t threads) {
    penult_session_params params = {.struct_size = sizeof params, .threads = threads};
    uint64_t bytes = 0;
    if (api->session_measure(model, &params, &bytes, NULL) != PENULT_OK)
        return 0;
    return bytes;
}

static uint64_t measure_with(uint32_t call, enum manner manner, int error, int every_other) {
    struct plan plan = {.calls = 1u << call, .manner = manner, .error = error, .count = NEVER, .every_other = every_other};
    calls_plan(&plan);
    uint64_t bytes = measure(0);
    calls_disarm();
    return calls_seen().refused ? bytes : 0; /* no read at all would be no test */
}

static void quota_is_read(const char *root, const char *name, uint32_t quota, uint32_t cpus) {
    calls_redirect(root);
    uint64_t expected = measure(quota), plain = measure(0);
    uint64_t in_pieces = measure_with(CALL_READ, SHORT, 0, 0), interrupted = measure_with(CALL_READ, REFUSE, EINTR, 1);
    uint64_t unread = measure_with(CALL_READ, REFUSE, EIO, 0), shut = measure_with(CALL_OPEN, REFUSE, EACCES, 0);
    calls_redirect(NULL);
    check(plain == expected, "%s: a quota of %u CPUs is heeded", name, quota);
    check(in_pieces == expected && interrupted == expected, "%s: also when it is read in pieces, or with interruptions",
          name);
    check(unread == measure(cpus) && shut == unread, "%s: where it cannot be read, the %u CPUs of the process count", name,
          cpus);
}

int main(int argc, char **argv) {
    char root[512];
    cpu_set_t set;
    if (argc != 4)
        give_up("usage: test_quota PLUGIN MODEL FOLDER");
    host_load(argv);
    model = host_open(argv[2], NULL, PENULT_MAP);
    if (sched_getaffinity(0, sizeof set, &set) != 0 || CPU_COUNT(&set) < 2) {
        skip("a quota below the CPUs of the process", "this process may use one CPU alone");
        api->model_close(model);
        return done();
    }
    uint32_t cpus = (uint32_t)CPU_COUNT(&set), quota = cpus < 16 ? cpus : 16;
    char text[64];
    mkdir(argv[3], 0755);
    for (int half = 0; half < 2; half++, quota = quota / 2) {
        snprintf(root, sizeof root, "%s/v2-%u", argv[3], quota);
        mkdir(root, 0755);
        put(root, "/proc/self/cgroup", "0::/host/guest\n");
        snprintf(text, sizeof text, "%u00000 100000\n", quota);
        put(root, "/sys/fs/cgroup/host/guest/cpu.max", text);
        put(root, "/sys/fs/cgroup/host/cpu.max", "max 100000\n");
        quota_is_read(root, strrchr(root, '/') + 1, quota, cpus);

        snprintf(root, sizeof root, "%s/v1-%u", argv[3], quota);
        mkdir(root, 0755);
        put(root, "/proc/self/cgroup", "4:memory:/guest\n3:cpu,cpuacct:/guest\n");
        snprintf(text, sizeof text, "%u00000\n", quota);
        put(root, "/sys/fs/cgroup/cpu/guest/cpu.cfs_quota_us", text);
        put(root, "/sys/fs/cgroup/cpu/guest/cpu.cfs_period_us", "100000\n");
        quota_is_read(root, strrchr(root, '/') + 1, quota, cpus);
    }
    api->model_close(model);
    return done();
}
