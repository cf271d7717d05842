/* read_weights.c - how long it takes to read a range of a mapped file once, with 1 and more threads: the floor below which
 * no encoder that reads its weights from memory can go. Knows nothing of what the bytes are.
 *
 *     read_weights FILE BEGIN END THREADS
 *
 * A peer of the bench that speaks the lines of peer_penult.c: "open" maps the file, "run" reads the range once. The first run
 * has the page faults of a cold process whose file is in the page cache; later ones find the pages there, as every encode
 * but the first does. */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { LINE = 64, THREADS_LIMIT = 256 };

struct part {
    const unsigned char *from;
    size_t lines;
    uint64_t sum; /* printed, so that no compiler may leave the reading out */
    pthread_t thread;
};

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void *sum_lines(void *argument) {
    struct part *part = argument;
    uint64_t sums[LINE / sizeof(uint64_t)] = {0};
    for (size_t i = 0; i < part->lines; i++) {
        uint64_t words[LINE / sizeof(uint64_t)];
        memcpy(words, part->from + i * LINE, sizeof words);
        for (size_t j = 0; j < LINE / sizeof(uint64_t); j++)
            sums[j] += words[j];
    }
    part->sum = 0;
    for (size_t j = 0; j < LINE / sizeof(uint64_t); j++)
        part->sum += sums[j];
    return NULL;
}

/* Seconds of one pass, or a negative number if a thread could not be made. */
static double pass(struct part *parts, unsigned threads, uint64_t *sum) {
    double began = now();
    unsigned started = 1;
    while (started < threads && pthread_create(&parts[started].thread, NULL, sum_lines, &parts[started]) == 0)
        started++;
    sum_lines(&parts[0]);
    *sum = parts[0].sum;
    for (unsigned i = 1; i < started; i++) {
        pthread_join(parts[i].thread, NULL);
        *sum += parts[i].sum;
    }
    return started == threads ? now() - began : -1.0;
}

int main(int argc, char **argv) {
    static struct part parts[THREADS_LIMIT];
    char line[64];
    if (argc != 5) {
        fprintf(stderr, "usage: read_weights FILE BEGIN END THREADS\n");
        return 2;
    }
    size_t begin = strtoul(argv[2], NULL, 10), end = strtoul(argv[3], NULL, 10);
    unsigned long threads = strtoul(argv[4], NULL, 10);
    int file = open(argv[1], O_RDONLY | O_CLOEXEC);
    off_t size = file < 0 ? -1 : lseek(file, 0, SEEK_END);
    if (size < 0 || begin >= end || end > (size_t)size || threads < 1 || threads > THREADS_LIMIT) {
        fprintf(stderr, "read_weights: %s: no such file, range or number of threads\n", argv[1]);
        return 1;
    }
    const unsigned char *bytes = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, file, 0);
    if (bytes == MAP_FAILED) {
        perror("read_weights: mmap");
        return 1;
    }
    size_t lines = (end - begin) / LINE;
    for (unsigned long i = 0; i < threads; i++) {
        size_t from = lines * i / threads, to = lines * (i + 1) / threads;
        parts[i] = (struct part){.from = bytes + begin + from * LINE, .lines = to - from};
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    puts("{\"did\": \"load\"}");
    while (fgets(line, sizeof line, stdin)) {
        if (strcmp(line, "open\n") == 0) {
            printf("{\"did\": \"open\", \"bytes\": %zu}\n", lines * LINE);
            continue;
        }
        uint64_t sum = 0;
        double wall = pass(parts, (unsigned)threads, &sum);
        if (wall < 0) {
            fprintf(stderr, "read_weights: no thread could be made\n");
            return 1;
        }
        printf("{\"did\": \"run\", \"wall\": %.6f, \"cpu\": 0, \"major_faults\": 0, \"sum\": \"%016llx\"}\n", wall,
               (unsigned long long)sum);
    }
    return 0;
}
