/* bad_guest.c - a plugin that computes nothing and breaks the host contract in the one way that PENULT_BAD_GUEST names; in
 * none if that is not set. test_contract.c knows the names. */
#include <errno.h>
#include <fcntl.h>
#include <fenv.h>
#include <locale.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "penult_condition.h"

struct penult_model {
    void *pages;
    int descriptor;
};
struct penult_session {
    pthread_t threads[8];
    uint32_t count;
    sem_t end;
};

static const char *wanted;

static int bad(const char *deed) {
    return wanted && strcmp(wanted, deed) == 0;
}

static void *pages(void) {
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void *sleep_for_ever(void *unused) {
    pause();
    return unused;
}

/* On a stack of our own: the C library keeps those that it makes. */
static int start(pthread_t *thread, void *(*body)(void *), void *argument) {
    static _Alignas(64) char stacks[8][65536];
    static unsigned used;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstack(&attributes, stacks[used++ % 8], sizeof stacks[0]);
    int status = pthread_create(thread, &attributes, body, argument);
    pthread_attr_destroy(&attributes);
    return status;
}

static void *wait_for_the_end(void *argument) {
    penult_session *session = argument;
    sem_wait(&session->end);
    return NULL;
}

/* ---- to the thread -------------------------------------------------------------------------------------------------- */

static void floating_point(void) {
#if defined(__x86_64__)
    uint32_t mxcsr;
    uint16_t control;
    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    __asm__ volatile("fnstcw %0" : "=m"(control));
    mxcsr ^= bad("denormals are zero") ? 0x8040u : bad("a flag is raised") ? 0x20u : 0;
    control ^= bad("x87 precision") ? 0x300u : 0;
    __asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
    __asm__ volatile("fldcw %0" ::"m"(control));
    if (bad("x87 stack"))
        __asm__ volatile("fldz");
#endif
    if (bad("rounding"))
        fesetround(FE_UPWARD);
}

static void thread_deeds(void) {
    static char stack[65536];
    sigset_t set;
    cpu_set_t cpus;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    floating_point();
    if (bad("errno"))
        errno = EXDEV;
    if (bad("blocked signal"))
        pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (bad("uselocale"))
        uselocale(newlocale(LC_ALL_MASK, "C", (locale_t)0));
    if (bad("signal stack"))
        sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
    if (bad("thread name"))
        prctl(PR_SET_NAME, "guest");
    if (bad("affinity") && sched_getaffinity(0, sizeof cpus, &cpus) == 0) {
        for (size_t i = 0, found = 0; i < CPU_SETSIZE; i++)
            if (CPU_ISSET(i, &cpus) && found++)
                CPU_CLR(i, &cpus);
        sched_setaffinity(0, sizeof cpus, &cpus);
    }
    if (bad("cancel state"))
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
}

/* ---- to the process ------------------------------------------------------------------------------------------------- */

static void setting_deeds(void) {
    struct rlimit limit;
    if (bad("disposition"))
        signal(SIGUSR2, SIG_IGN);
    if (bad("setlocale"))
        setlocale(LC_NUMERIC, "C.UTF-8");
    if (bad("chdir") && chdir("/proc") != 0)
        abort();
    if (bad("umask"))
        umask(0123);
    if (bad("limit") && getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur--;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (bad("timer"))
        setitimer(ITIMER_PROF, &(struct itimerval){.it_value = {.tv_sec = 1000}}, NULL);
    if (bad("process group"))
        setpgid(0, 0);
    if (bad("dumpable"))
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (bad("no new privileges"))
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (bad("death signal"))
        prctl(PR_SET_PDEATHSIG, SIGUSR2, 0, 0, 0);
}

static void busy_deeds(void) {
    pthread_t thread;
    sigset_t set;
    sigemptyset(&set);
    if (bad("raise"))
        raise(SIGUSR1); /* blocked by the test */
    if (bad("setenv"))
        setenv("PENULT_WAS_HERE", "1", 1);
    if (bad("rand") && rand() < 0)
        abort();
    if ((bad("stdout") && write(1, "hello", 5) != 5) || (bad("stderr") && write(2, "hello", 5) != 5))
        abort();
    if (bad("printf"))
        fputs("hello", stdout);
    if (bad("a thread") && start(&thread, sleep_for_ever, NULL) != 0)
        abort();
    if (bad("a descriptor") && open("/dev/null", O_RDONLY) < 0)
        abort();
    if (bad("another descriptor")) {
        int other = open("/dev/zero", O_RDONLY);
        dup2(other, 0);
        close(other);
    }
    if (bad("a mapping") && pages() == MAP_FAILED)
        abort();
    if (bad("a mapped file")) {
        int self = open("/proc/self/exe", O_RDONLY);
        if (mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, self, 0) == MAP_FAILED)
            abort();
        close(self);
    }
}

/* ---- the table ------------------------------------------------------------------------------------------------------ */

static int32_t model_open(const penult_open_params *params, penult_model **out, penult_error *error) {
    penult_model *model = malloc(sizeof *model);
    (void)params, (void)error;
    if (!model)
        return PENULT_E_NO_MEMORY;
    model->pages = pages();
    model->descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC);
    *out = model;
    return PENULT_OK;
}

static void model_close(penult_model *model) {
    if (!bad("a mapping kept"))
        munmap(model->pages, 4096);
    if (!bad("a descriptor kept"))
        close(model->descriptor);
    free(model);
}

static int32_t model_describe(const penult_model *model, penult_model_info *info, penult_error *error) {
    (void)model, (void)info, (void)error;
    thread_deeds();
    setting_deeds();
    busy_deeds();
    return PENULT_OK;
}

/* Always fails: what a failure leaves in errno is its own affair. */
static int32_t tokenize(const penult_model *model, const penult_token_request *request, penult_token_result *result,
                        penult_error *error) {
    (void)model, (void)request, (void)result, (void)error;
    errno = EDOM;
    return PENULT_E_NO_TOKENIZER;
}

static int32_t session_measure(const penult_model *model, const penult_session_params *params, uint64_t *bytes,
                               penult_error *error) {
    (void)model, (void)params, (void)error;
    *bytes = 1;
    return PENULT_OK;
}

static int32_t session_open(penult_model *model, const penult_session_params *params, penult_session **out,
                            penult_error *error) {
    static penult_session session;
    (void)model, (void)error;
    session.count = params->threads + (bad("a thread too many") ? 1 : 0);
    sem_init(&session.end, 0, 0);
    for (uint32_t i = 0; i < session.count; i++)
        if (start(&session.threads[i], wait_for_the_end, &session) != 0)
            return PENULT_E_NO_MEMORY;
    *out = &session;
    return PENULT_OK;
}

static void session_close(penult_session *session) {
    uint32_t leave = bad("a thread stays") ? 1 : 0;
    for (uint32_t i = leave; i < session->count; i++)
        sem_post(&session->end);
    for (uint32_t i = leave; i < session->count; i++)
        if (bad("a thread stays") ? pthread_detach(session->threads[i]) : pthread_join(session->threads[i], NULL))
            abort();
}

static void session_cancel(penult_session *session) {
    (void)session;
}

static int32_t encode_text(penult_session *session, const penult_text_request *request, penult_text_result *result,
                           penult_error *error) {
    penult_progress step = {.struct_size = sizeof step, .stage = PENULT_STAGE_ENCODE, .done = 1, .total = 1};
    (void)session, (void)result, (void)error;
    if (bad("rounding in a callback"))
        fesetround(FE_TOWARDZERO);
    if (request->progress)
        request->progress(request->user, &step);
    if (bad("rounding in a callback"))
        fesetround(FE_TONEAREST);
    return PENULT_OK;
}

/* ---- penult.condition/1: as much of it as test_contract calls ------------------------------------------------------- */

static int32_t pipeline_open(const penult_pipeline_params *params, penult_pipeline **out, penult_error *error) {
    penult_session_params session = {.threads = params->threads * params->model_count + (bad("a pipeline's thread too many") ? 1 : 0)};
    return session_open(NULL, &session, (penult_session **)(void *)out, error);
}

static void pipeline_close(penult_pipeline *pipeline) {
    session_close((penult_session *)(void *)pipeline);
}

static int32_t condition(penult_pipeline *pipeline, const penult_condition_request *request, penult_condition_result *result,
                         penult_error *error) {
    penult_text_request text = {.progress = request->progress, .user = request->user};
    (void)pipeline, (void)result;
    if (bad("a flag while conditioning")) {
        volatile double third = 1;
        third /= 3;
        (void)third;
    }
    if (bad("errno while conditioning") && !request->progress)
        errno = EXDEV;
    if (bad("a mapping while conditioning") && pages() == MAP_FAILED)
        abort();
    return encode_text(NULL, &text, NULL, error);
}

static const penult_condition_api condition_api = {
    .struct_size = sizeof(penult_condition_api), .version = 1, .pipeline_open = pipeline_open, .pipeline_close = pipeline_close,
    .condition = condition,
};

static const void *extension(const char *id) {
    return strcmp(id, PENULT_CONDITION) == 0 ? &condition_api : NULL;
}

static int32_t model_hash(const penult_model *model, uint8_t *digest,
                          int32_t (*progress)(void *user, const penult_progress *progress), void *user, penult_error *error) {
    (void)model, (void)progress, (void)user, (void)error;
    memset(digest, 0, 32);
    return PENULT_OK;
}

static const penult_api api = {
    .struct_size = sizeof(penult_api), .abi_minor = PENULT_ABI_MINOR,
    .model_open = model_open, .model_close = model_close, .model_describe = model_describe, .tokenize = tokenize,
    .session_measure = session_measure, .session_open = session_open, .session_close = session_close,
    .session_cancel = session_cancel, .encode_text = encode_text, .extension = extension, .model_hash = model_hash,
};

static const char *version(void) {
    return "0.4.0";
}

static const penult_api *get_api(uint32_t abi_version) {
    return abi_version == PENULT_ABI_VERSION ? &api : NULL;
}

__attribute__((constructor)) static void load(void) {
    wanted = getenv("PENULT_BAD_GUEST");
    if (bad("umask at load"))
        umask(0123);
}

const penult_entry_point *penult_entry(void) {
    static const penult_entry_point entry = {.version = version, .get_api = get_api};
    return &entry;
}
