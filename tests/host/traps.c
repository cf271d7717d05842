/* traps.c - see traps.h. A program linked with --export-dynamic puts these before every library's own.
 *
 * Three kinds of names: of the static libraries inside the plugin, of the plugin's own insides, and of the C library's
 * functions that end, speak for or change a process. Not among them are functions that the tests themselves call. */
#include "traps.h"

#include <stdatomic.h>
#include <stddef.h>

static _Atomic int is_armed;
static _Atomic unsigned sprung;
static const char *_Atomic first;

static void *spring(const char *name) {
    const char *none = NULL;
    if (!atomic_load(&is_armed))
        return NULL;
    atomic_fetch_add(&sprung, 1);
    atomic_compare_exchange_strong(&first, &none, name);
    return NULL;
}

void traps_arm(int armed) {
    atomic_store(&is_armed, armed);
}

unsigned traps_sprung(const char **name) {
    const char *found = atomic_load(&first);
    *name = found ? found : "none";
    return atomic_load(&sprung);
}

#define TRAPS(X)                                                                                                      \
    X(cblas_sgemm) X(cblas_dgemm) X(sgemm_) X(dgemm_) X(xerbla_) X(cblas_xerbla) X(gotoblas) X(gotoblas_init)         \
    X(gotoblas_dynamic_init) X(blas_memory_alloc) X(blas_memory_free) X(blas_shutdown) X(openblas_get_corename)       \
    X(openblas_get_config) X(openblas_read_env) X(openblas_set_num_threads) X(openblas_get_num_threads)               \
    X(utf8proc_decompose) X(utf8proc_decompose_char) X(utf8proc_reencode) X(utf8proc_map) X(utf8proc_NFC)             \
    X(utf8proc_iterate) X(utf8proc_normalize_utf32) X(utf8proc_version)                                               \
    X(model_open) X(model_close) X(tokenize) X(encode_text) X(session_open) X(session_close) X(clip_open)             \
    X(workers_open) X(workers_run) X(worker_self) X(worker_each) X(memory_array) X(memory_pages) X(memory_free)       \
    X(file_open) X(file_read) X(json_next) X(json_real) X(report_say) X(fault_set) X(kernels_choose)                  \
    X(kernels_scalar) X(kernels_openblas) X(tower_run) X(block_run) X(tokenizer_open) X(cpus_usable)                  \
    X(error) X(error_at_line) X(warn) X(warnx) X(err) X(errx) X(log) X(logf) X(init) X(fini) X(cleanup) X(fatal)      \
    X(panic) X(die) X(debug) X(warning) X(info) X(sum) X(next) X(run) X(scale)                                        \
    X(malloc_trim) X(mallopt) X(exit) X(_Exit) X(quick_exit) X(abort) X(raise) X(signal)                              \
    X(puts) X(putchar) X(perror) X(psignal) X(syslog) X(setlocale) X(getenv) X(secure_getenv) X(setenv) X(unsetenv)   \
    X(putenv) X(clearenv) X(rand) X(srand) X(random) X(srandom) X(drand48) X(system) X(popen) X(vfork) X(chdir)       \
    X(umask) X(sleep) X(usleep) X(alarm) X(setrlimit) X(fesetround) X(fesetenv) X(feenableexcept)                     \
    X(sched_setaffinity) X(pthread_setaffinity_np) X(shmget) X(shmat)

/* Through assembler names: the compiler knows many of these functions and would object. */
#define TRAP(name)                                                                                                    \
    void *trap_##name(void) __asm__(#name);                                                                           \
    void *trap_##name(void) {                                                                                         \
        return spring(#name);                                                                                         \
    }
TRAPS(TRAP)

const char *trap_name(unsigned number) {
#define NAME(name) #name,
    static const char *const names[] = {TRAPS(NAME) NULL};
    return number < sizeof names / sizeof names[0] ? names[number] : NULL;
}
