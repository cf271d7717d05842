/* test_amx.c - protects the host from AMX: who asks Linux for the permission and who does not, that a session does without where
 * Linux refuses it, and that an encode leaves the tiles and MXCSR of the calling thread, and no tiles in use on its workers. Runs
 * where the CPU and Linux have AMX. Knows penult.h, arch_prctl and ptrace's view of a thread's registers. TAP.
 *
 *     test_amx PLUGIN MODEL */
#include <elf.h>
#include <immintrin.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../memory/host.h"

#define TEXT "a photo of an astronaut riding a horse on mars"
#define WORKERS 2
enum { TILE_CONFIG = 17, TILE_DATA = 18 };

static const char *const names[] = {"the best", "scalar", "openblas", "avx2", "avx512", "amx"};

/* ---- the permission ------------------------------------------------------------------------------------------------- */

static int permitted(void) {
    uint64_t features = 0;
    if (syscall(SYS_arch_prctl, 0x1022 /* ARCH_GET_XCOMP_PERM */, &features) != 0)
        give_up("arch_prctl: this is no Linux with AMX");
    return features >> TILE_DATA & 1;
}

static penult_session *open_session(penult_model *model, uint32_t set, uint32_t arithmetic) {
    penult_session_params params = {
        .struct_size = sizeof params, .threads = WORKERS, .max_prompts = 1, .kernels = set, .arithmetic = arithmetic};
    penult_session *session;
    penult_error error;
    uint64_t bytes;
    int before = permitted();
    if (api->session_measure(model, &params, &bytes, &error) != PENULT_OK)
        give_up("session_measure: %s", error.message);
    if (permitted() != before)
        give_up("measuring a session of %s asks", names[set]);
    if (api->session_open(model, &params, &session, &error) != PENULT_OK)
        give_up("session_open: %s", error.message);
    return session;
}

static void run(penult_session *session, const penult_model *model) {
    struct batch batch;
    penult_error error;
    batch_make(&batch, model, 1, TEXT, sizeof TEXT - 1, WANT_ALL);
    if (api->encode_text(session, &batch.request, NULL, &error) != PENULT_OK)
        give_up("encode_text: %s", error.message);
    batch_free(&batch);
}

static void check_lower_sets(penult_model *model) {
    for (uint32_t set = PENULT_KERNELS_SCALAR; set < PENULT_KERNELS_AMX; set++)
        for (uint32_t arithmetic = PENULT_ARITHMETIC_EXACT; arithmetic <= PENULT_ARITHMETIC_BF16; arithmetic++) {
            penult_session *session = open_session(model, set, arithmetic);
            if (set == PENULT_KERNELS_AVX512)
                run(session, model);
            api->session_close(session);
            check(!permitted(), "a session of %s, %s, does not ask", names[set], arithmetic ? "bf16" : "exact");
        }
}

/* In a process of its own, because the permission is for good. */
static void check_asks(penult_model *model, uint32_t set, uint32_t arithmetic) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        penult_session_params params = {
            .struct_size = sizeof params, .threads = 1, .kernels = set, .arithmetic = arithmetic};
        penult_session *session;
        int before = permitted();
        _exit(api->session_open(model, &params, &session, NULL) == PENULT_OK && !before && permitted() ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    check(status == 0, "session_open asks where %s is wanted, %s", names[set], arithmetic ? "bf16" : "exact");
}

/* A signal stack that AMX's larger frame does not fit on is why Linux refuses. */
static void check_refused(penult_model *model, uint32_t set, uint32_t arithmetic) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        static char small[8192];
        stack_t stack = {.ss_sp = small, .ss_size = sizeof small};
        if (sigaltstack(&stack, NULL) != 0)
            _exit(3);
        penult_session *session = open_session(model, set, arithmetic);
        int refused = !permitted();
        run(session, model);
        api->session_close(session);
        _exit(refused ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    check(status == 0, "%s, %s: where Linux refuses a session opens and encodes without", names[set],
          arithmetic ? "bf16" : "exact");
}

/* ---- tiles ---------------------------------------------------------------------------------------------------------- */

/* Which of the tiles' two components a stopped thread has in use: bits 17 and 18 of XSTATE_BV. */
static int tiles_of(pid_t thread, uint64_t *in_use) {
    static unsigned char area[1 << 14];
    struct iovec all = {area, sizeof area};
    int status, good = ptrace(PTRACE_SEIZE, thread, NULL, NULL) == 0 && ptrace(PTRACE_INTERRUPT, thread, NULL, NULL) == 0 &&
                       waitpid(thread, &status, __WALL) == thread &&
                       ptrace(PTRACE_GETREGSET, thread, (void *)NT_X86_XSTATE, &all) == 0 && all.iov_len > 520;
    memcpy(in_use, area + 512, sizeof *in_use);
    *in_use &= UINT64_C(1) << TILE_CONFIG | UINT64_C(1) << TILE_DATA;
    ptrace(PTRACE_DETACH, thread, NULL, NULL);
    return good;
}

/* Of these threads of this process, as a child sees them: 0 none, 1 some, 2 both components on each, -1 it did not work. */
static int tiles_in_use(const int *threads, unsigned count) {
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        unsigned none = 0, both = 0;
        for (unsigned i = 0; i < count; i++) {
            uint64_t in_use = 0;
            if (!tiles_of(threads[i], &in_use))
                _exit(3);
            none += in_use == 0;
            both += in_use >> TILE_CONFIG == 3;
        }
        _exit(none == count ? 0 : both == count ? 2 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) < 3 ? WEXITSTATUS(status) : -1;
}

static const struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} config __attribute__((aligned(64))) = {.palette = 1, .row_bytes = {64, 24}, .rows = {16, 3}};

static unsigned char tile[2][16][64], kept[2][16][64], kept_config[64];

static __attribute__((target("amx-tile"))) void load_tiles(void) {
    for (size_t i = 0; i < sizeof tile; i++)
        (&tile[0][0][0])[i] = (unsigned char)(i * 7 + i / 64);
    _tile_loadconfig(&config);
    _tile_loadd(0, tile[0], 64);
    _tile_loadd(1, tile[1], 64);
}

static __attribute__((target("amx-tile"))) void store_tiles(void) {
    _tile_storeconfig(kept_config);
    _tile_stored(0, kept[0], 64);
    _tile_stored(1, kept[1], 64);
}

static int tiles_kept(void) {
    int good = memcmp(tile[0], kept[0], sizeof tile[0]) == 0 && memcmp(&config, kept_config, sizeof kept_config) == 0;
    for (size_t row = 0; row < 3; row++)
        good = good && memcmp(tile[1][row], kept[1][row], 24) == 0;
    return good;
}

static void check_state(penult_model *model, uint32_t arithmetic) {
    const unsigned mode = 0x9FC0; /* flush to zero, denormals are zero, and no flag raised: what a host may have */
    const char *name = arithmetic ? "bf16" : "exact";
    int workers[WORKERS + 1], self = (int)syscall(SYS_gettid);
    penult_session *session = open_session(model, PENULT_KERNELS_AMX, arithmetic);
    check(permitted(), "a session of amx, %s, has the permission", name);
    unsigned before = _mm_getcsr();
    load_tiles();
    _mm_setcsr(mode);
    run(session, model);
    unsigned after = _mm_getcsr();
    store_tiles();
    _mm_setcsr(before);
    check(after == mode, "amx, %s: MXCSR is as it was: %#x", name, after);
    check(tiles_kept(), "amx, %s: the calling thread's tiles and their configuration are as they were", name);
    check(tiles_in_use(&self, 1) == 2, "amx, %s: ptrace sees the tiles of the calling thread", name);
    __asm__ volatile(".byte 0xc4, 0xe2, 0x78, 0x49, 0xc0"); /* tilerelease */
    check(tiles_in_use(&self, 1) == 0, "amx, %s: and that they were given up", name);
    unsigned count = threads_named("penult", workers, WORKERS + 1);
    check(count == WORKERS && tiles_in_use(workers, count) == 0, "amx, %s: no worker of %u has tiles in use after an encode", name,
          count);
    api->session_close(session);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: test_amx PLUGIN MODEL\n");
        return 2;
    }
    check(!permitted(), "a new process has no permission");
    host_load(argv);
    penult_model *model = host_open(argv[2], NULL, PENULT_MAP);
    check(!permitted(), "opening a model does not ask");
    check_lower_sets(model);
    for (uint32_t arithmetic = PENULT_ARITHMETIC_EXACT; arithmetic <= PENULT_ARITHMETIC_BF16; arithmetic++) {
        check_asks(model, 0, arithmetic);
        check_asks(model, PENULT_KERNELS_AMX, arithmetic);
    }
    check_refused(model, 0, PENULT_ARITHMETIC_EXACT);
    check_refused(model, PENULT_KERNELS_AMX, PENULT_ARITHMETIC_BF16);
    check(!permitted(), "and not for the process that it was forked from");
    for (uint32_t arithmetic = PENULT_ARITHMETIC_EXACT; arithmetic <= PENULT_ARITHMETIC_BF16; arithmetic++)
        check_state(model, arithmetic);
    api->model_close(model);
    return done();
}
