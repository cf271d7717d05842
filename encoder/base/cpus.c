/* cpus.c - asks the scheduler and the cgroups. A container's quota is seen nowhere else: a process that starts one thread
 * per CPU of the machine there is stopped for most of each period. */
#include "cpus.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Together below a page: the thread may be a host's with a small stack. Names of containers are some 200 bytes. */
#define PATH_ROOM 640
#define GROUPS_ROOM 3000

/* The first bytes of a small file of the kernel's, NUL-terminated; 0 if it cannot be read. */
static int read_text(const char *path, char *out, size_t room) {
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return 0;
    size_t size = 0;
    ssize_t got;
    /* a part of a number would be another number */
    while ((got = read(descriptor, out + size, room - 1 - size)) > 0 || (got < 0 && errno == EINTR))
        size += got > 0 ? (size_t)got : 0;
    close(descriptor);
    out[size] = '\0';
    return got == 0;
}

/* A positive decimal at *p, moved behind it; 0 for anything else ("max", "-1"). */
static uint64_t take_number(const char **p) {
    uint64_t value = 0;
    while (**p == ' ')
        ++*p;
    while (**p >= '0' && **p <= '9' && value < UINT32_MAX)
        value = value * 10 + (uint64_t)(*(*p)++ - '0');
    return value;
}

static unsigned quota_of(uint64_t quota, uint64_t period, unsigned cpus) {
    if (quota == 0 || period == 0)
        return cpus;
    uint64_t whole = (quota + period - 1) / period;
    return whole < cpus ? (unsigned)whole : cpus;
}

/* Every level above counts too: the tightest one rules. */
static unsigned lower_v2(const char *group, unsigned cpus) {
    char path[PATH_ROOM], text[64];
    size_t length = strlen(group);
    for (;;) {
        snprintf(path, sizeof path, "/sys/fs/cgroup%.*s/cpu.max", (int)length, group);
        if (read_text(path, text, sizeof text)) {
            const char *p = text;
            uint64_t quota = take_number(&p);
            if (quota)
                cpus = quota_of(quota, take_number(&p), cpus);
        }
        while (length > 0 && group[length - 1] != '/')
            length--;
        if (length == 0)
            return cpus;
        length--;
    }
}

static unsigned lower_v1(const char *group, unsigned cpus) {
    char path[PATH_ROOM], quota[32], period[32];
    size_t length = strlen(group);
    for (;;) {
        snprintf(path, sizeof path, "/sys/fs/cgroup/cpu%.*s/cpu.cfs_quota_us", (int)length, group);
        int found = read_text(path, quota, sizeof quota);
        snprintf(path, sizeof path, "/sys/fs/cgroup/cpu%.*s/cpu.cfs_period_us", (int)length, group);
        if (found && read_text(path, period, sizeof period)) {
            const char *q = quota, *p = period;
            cpus = quota_of(take_number(&q), take_number(&p), cpus);
        }
        while (length > 0 && group[length - 1] != '/')
            length--;
        if (length == 0)
            return cpus;
        length--;
    }
}

static int has_controller(const char *list, const char *end, const char *name) {
    size_t size = strlen(name);
    for (const char *p = list; p + size <= end; p++)
        if (memcmp(p, name, size) == 0 && (p == list || p[-1] == ',') && (p + size == end || p[size] == ','))
            return 1;
    return 0;
}

/* Lines of /proc/self/cgroup: "0::/group" (v2), "4:cpu,cpuacct:/group" (v1). */
static unsigned lower_by_cgroups(unsigned cpus) {
    char text[GROUPS_ROOM];
    if (!read_text("/proc/self/cgroup", text, sizeof text))
        return cpus;
    for (char *line = text; line && *line;) {
        char *end = strchr(line, '\n');
        if (end)
            *end = '\0';
        char *first = strchr(line, ':');
        char *second = first ? strchr(first + 1, ':') : NULL;
        if (second && second == first + 1)
            cpus = lower_v2(strcmp(second + 1, "/") ? second + 1 : "", cpus);
        else if (second && has_controller(first + 1, second, "cpu"))
            cpus = lower_v1(strcmp(second + 1, "/") ? second + 1 : "", cpus);
        line = end ? end + 1 : NULL;
    }
    return cpus;
}

static unsigned affinity(void) {
    cpu_set_t set; /* 1,024 CPUs; the call fails with EINVAL on larger machines, and all of those are there then */
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        int count = CPU_COUNT(&set);
        return count > 0 ? (unsigned)count : 1;
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (unsigned)online : 1;
}

unsigned cpus_usable(void) {
    int kept = errno;
    unsigned cpus = lower_by_cgroups(affinity());
    errno = kept;
    return cpus > 0 ? cpus : 1;
}
