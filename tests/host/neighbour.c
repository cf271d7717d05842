/* neighbour.c - a library that lives in the host beside the plugin: it takes static TLS, and calls functions that it does
 * not have, as careless libraries do. test_loading.c loads many copies of it. */
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
