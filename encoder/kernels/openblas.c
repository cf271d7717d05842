/* openblas.c - OpenBLAS's sgemm as the portable f32 GEMM. The only file that knows OpenBLAS.
 *
 * The library is Debian's serial build, linked statically and privately. As it comes it gives silently wrong results under
 * concurrent callers: its buffer search has no lock in a serial build. So the linker sends blas_memory_alloc and _free here
 * (--wrap), and each worker brings one mapping of its own: no search, no lock, no allocation, nothing global. What else it
 * would reach for in the host (environment, stdout, exit) is wrapped too. choose.c compares it with the scalar
 * kernel before it is used, because all this leans on OpenBLAS's insides. */
#include <cblas.h>
#include <openblas_config.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../base/workers.h"
#include "bf16.h"
#include "epilogue.h"
#include "kernels.h"

/* BUFFER_SIZE of OpenBLAS's common_x86_64.h for DYNAMIC_ARCH: 32 << 22. Address space; what a GEMM of ours touches of it is
 * a few hundred KiB. */
#define BLAS_BYTES ((size_t)32 << 22)

/* Depth of one call; the calls are summed in double. Left to itself OpenBLAS takes longer blocks, and over 5,120 products
 * their float32 sums were measured to err 1.5 times as much as torch's; its AVX2 kernels erred 4 times as much at most even
 * in blocks of 256 summed in float32 (tests/parity/RESULTS-FULL.md). */
#define DEPTH_BLOCK 128

void *__wrap_blas_memory_alloc(int position);
void __wrap_blas_memory_free(void *buffer);
void __wrap_gotoblas_dynamic_quit(void);
char *__wrap_getenv(const char *name);
int __wrap_puts(const char *text);
int __wrap_fputs(const char *text, FILE *stream);
int __wrap___printf_chk(int flag, const char *format, ...);
int __wrap___fprintf_chk(FILE *stream, int flag, const char *format, ...);
size_t __wrap_fwrite(const void *bytes, size_t size, size_t count, FILE *stream);
void __wrap_perror(const char *text);
void __wrap_exit(int status) __attribute__((noreturn));
extern FILE *__wrap_stderr;

void *__wrap_blas_memory_alloc(int position) {
    (void)position;
    return worker_self()->blas;
}

void __wrap_blas_memory_free(void *buffer) {
    (void)buffer;
}

/* OpenBLAS's destructor would take its table of kernels away. A host may exit while an encode runs, and other libraries may
 * take their time to end: until then there are workers that look into that table. */
void __wrap_gotoblas_dynamic_quit(void) {
}

/* The environment is the host's. A build for tests forces one core type here (Makefile: BLAS_CORETYPE). */
char *__wrap_getenv(const char *name) {
#ifdef PENULT_BLAS_CORETYPE
    static char forced[] = PENULT_BLAS_CORETYPE;
    if (strcmp(name, "OPENBLAS_CORETYPE") == 0)
        return forced;
#endif
    (void)name;
    return NULL;
}

FILE *__wrap_stderr;

int __wrap_puts(const char *text) {
    (void)text;
    return 0;
}

int __wrap_fputs(const char *text, FILE *stream) {
    (void)text, (void)stream;
    return 0;
}

int __wrap___printf_chk(int flag, const char *format, ...) {
    (void)flag, (void)format;
    return 0;
}

int __wrap___fprintf_chk(FILE *stream, int flag, const char *format, ...) {
    (void)stream, (void)flag, (void)format;
    return 0;
}

size_t __wrap_fwrite(const void *bytes, size_t size, size_t count, FILE *stream) {
    (void)bytes, (void)size, (void)stream;
    return count;
}

void __wrap_perror(const char *text) {
    (void)text;
}

/* Called by dynamic.c alone, where a core type's table has no init function; every table has one. */
void __wrap_exit(int status) {
    (void)status;
    __builtin_trap();
}

/* The prompts' groups side by side, x[depth][run x LANES]: always all of a prompt, because the bits of a call depend on its
 * shape and on a row's place in it (kernels.h: whole_prompts). */
static void take_block(const struct linear *op, size_t group, size_t from, size_t depth, float *x) {
    const float *rows = op->prepared ? op->prepared : op->x;
    for (size_t g = 0; g < op->run; g++) {
        const float *block = rows + ((group + g) * op->depth + from) * LANES;
        for (size_t k = 0; k < depth; k++)
            memcpy(x + (k * op->run + g) * LANES, block + k * LANES, LANES * sizeof *x);
    }
}

static void linear(const struct kernels *kernels, const struct linear *op, void *scratch) {
    size_t rows = op->run * LANES, sums = KERNEL_PANEL * rows;
    double *total = scratch;
    float *product = (float *)(void *)(total + sums), *x = product + sums, *panel = x + rows * DEPTH_BLOCK;
    for (size_t column = 0; column < op->columns; column++)
        kernels->widen(op->weight + column * op->weight_pitch, op->dtype, panel + column * op->depth, op->depth);
    const float scale = op->scale;
    for (size_t i = 0; scale != 0 && i < op->columns * op->depth; i++)
        panel[i] *= scale;
    bf16_round_row(kernels, op, panel, op->columns * op->depth);
    for (size_t group = 0; group < op->groups; group += op->run) {
        memset(total, 0, sums * sizeof *total);
        for (size_t k = 0; k < op->depth; k += DEPTH_BLOCK) {
            size_t depth = op->depth - k < DEPTH_BLOCK ? op->depth - k : DEPTH_BLOCK;
            take_block(op, group, k, depth, x);
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)op->columns, (blasint)rows, (blasint)depth, 1.0f,
                        panel + k, (blasint)op->depth, x, (blasint)rows, 0.0f, product, (blasint)rows);
            for (size_t i = 0; i < op->columns * rows; i++)
                total[i] += (double)product[i];
        }
        for (size_t g = 0; g < op->run; g++)
            for (size_t column = 0; column < op->columns; column++)
                epilogue(op, total + column * rows + g * LANES, group + g, column);
    }
}

static size_t linear_scratch(size_t groups, size_t depth) {
    size_t rows = groups * LANES;
    return KERNEL_PANEL * (depth * sizeof(float) + rows * (sizeof(float) + sizeof(double))) + rows * DEPTH_BLOCK * sizeof(float);
}

int kernels_openblas(struct kernels *kernels) {
    /* OPENBLAS_VERSION is " OpenBLAS 0.3.21 " */
    static const char version[] = OPENBLAS_VERSION;
    size_t begin = strcspn(version, "0123456789"), size = strcspn(version + begin, " ");
    size_t used = strlen(kernels->name);
    snprintf(kernels->name + used, sizeof kernels->name - used, ", gemm openblas %.*s %s", (int)size, version + begin,
             openblas_get_corename());
    kernels->whole_prompts = 1;
    kernels->linear = linear;
    kernels->linear_scratch = linear_scratch;
    kernels->blas_bytes = BLAS_BYTES;
    return 1;
}
