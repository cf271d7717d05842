/* neighbour.c - a library that lives in the host beside the plugin: it takes static TLS, calls functions that it does not
 * have, as careless libraries do, and takes its time when the process ends. For test_loading.c and test_moments.c. */
#include <time.h>

static __thread char room[1024] __attribute__((tls_model("initial-exec")));

extern void *cblas_sgemm(void);
extern void *malloc_trim(void);

char *neighbour_room(void);
char *neighbour_room(void) {
    room[0]++;
    return room;
}

void neighbour_calls(void);
void neighbour_calls(void) {
    cblas_sgemm();
    malloc_trim();
}

/* Milliseconds that its end takes. */
long neighbour_lingers;

__attribute__((destructor)) static void end(void) {
    struct timespec time = {.tv_nsec = neighbour_lingers * 1000000};
    nanosleep(&time, NULL);
}
