/* amx.c - `linear` on AMX's tiles of bfloat16, for either arithmetic. Built with those flags; reached only where cpu.c found them
 * and the system gave leave.
 *
 * Weights are the first operand, sixteen rows of them as they lie in a file of bfloat16; activations the second, prepared as
 * pairs. Exact products come from parts (bf16.h). All products of the smallest parts of a block are added first, those of the
 * largest last, because every addition rounds at the size of the sum so far. A block's sum leaves the tiles after
 * DEPTH_BLOCK of depth and goes on in double, as in gemm.h. Order of additions inside a tile: Intel SDM volume 2, TDPBF16PS. */
#include "bf16_avx512.h"

#include <stdio.h>

#define TILE 16 /* rows of a tile, and floats of one */

/* Palette 1, all eight tiles whole. Static: gcc 12 takes _tile_loadconfig to read 8 of these 64 bytes, and would leave out the
 * stores of one on the stack. */
static const struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} config __attribute__((aligned(64))) = {
    .palette = 1,
    .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {TILE, TILE, TILE, TILE, TILE, TILE, TILE, TILE},
};

static size_t x_parts(const struct kernels *kernels) {
    return kernels->arithmetic == ARITHMETIC_BF16 ? 1 : PARTS;
}

static size_t weight_parts(const struct kernels *kernels, const struct linear *op) {
    if (kernels->arithmetic == ARITHMETIC_BF16 || !bf16_loses(op))
        return 1;
    return op->dtype == DTYPE_F16 && op->scale == 0 ? 2 : PARTS;
}

static void prepare(const struct kernels *kernels, const float *x, size_t depth, void *to) {
    prepare_parts(x, depth, x_parts(kernels), to);
}

static size_t part_bytes(size_t depth) {
    return steps_of(depth) * STEP * LANES * sizeof(uint16_t);
}

static size_t prepared_bytes(const struct kernels *kernels, size_t depth) {
    return x_parts(kernels) * part_bytes(depth);
}

/* One block: where its operands are. */
struct operands {
    const unsigned char *weight; /* of the first part, at the first of a tile's columns */
    size_t pitch, weight_part;   /* bytes from row to row, from part to part */
    size_t weight_parts;
    const unsigned char *x; /* of the first part, at the first of a tile's groups */
    size_t group_pitch, x_part, x_parts;
    size_t steps;
};

#define STEP_BYTES (STEP * LANES * sizeof(uint16_t)) /* of x: a tile */

/* sums[column tile][group] of one product of parts, added to tiles 0 to 3. */
static inline __attribute__((always_inline)) void add_products(const int columns, const int groups, const unsigned char *weight,
                                                               size_t pitch, const unsigned char *x, size_t group_pitch,
                                                               size_t steps) {
    for (size_t s = 0; s < steps; s++) {
        _tile_loadd(4, weight + s * STEP * sizeof(uint16_t), pitch);
        _tile_loadd(6, x + s * STEP_BYTES, 64);
        _tile_dpbf16ps(0, 4, 6);
        if (groups == 2) {
            _tile_loadd(7, x + group_pitch + s * STEP_BYTES, 64);
            _tile_dpbf16ps(1, 4, 7);
        }
        if (columns == 2) {
            _tile_loadd(5, weight + TILE * pitch + s * STEP * sizeof(uint16_t), pitch);
            _tile_dpbf16ps(2, 5, 6);
            if (groups == 2)
                _tile_dpbf16ps(3, 5, 7);
        }
    }
}

static void add_total(double *total, float sums[TILE][LANES]) {
    for (size_t r = 0; r < TILE; r++)
        for (size_t i = 0; i < LANES; i++)
            total[r * LANES + i] += (double)sums[r][i];
}

static inline __attribute__((always_inline)) void tiles(const int columns, const int groups, const struct operands *op,
                                                        double *total) {
    float sums[TILE][LANES] __attribute__((aligned(64)));
    const size_t next_group = (size_t)KERNEL_PANEL * LANES, next_columns = (size_t)TILE * LANES;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t order = PARTS; order-- > 0;) /* w0 x2, w1 x1, w2 x0; then those of order 1; then w0 x0 */
        for (size_t w = 0; w <= order && w < op->weight_parts; w++)
            if (order - w < op->x_parts)
                add_products(columns, groups, op->weight + w * op->weight_part, op->pitch, op->x + (order - w) * op->x_part,
                             op->group_pitch, op->steps);
    _tile_stored(0, sums, 64);
    add_total(total, sums);
    if (groups == 2) {
        _tile_stored(1, sums, 64);
        add_total(total + next_group, sums);
    }
    if (columns == 2) {
        _tile_stored(2, sums, 64);
        add_total(total + next_columns, sums);
    }
    if (columns == 2 && groups == 2) {
        _tile_stored(3, sums, 64);
        add_total(total + next_group + next_columns, sums);
    }
}

static void tiles_of(size_t columns, size_t groups, const struct operands *op, double *total) {
    if (columns == 2 && groups == 2)
        tiles(2, 2, op, total);
    else if (columns == 2)
        tiles(2, 1, op, total);
    else if (groups == 2)
        tiles(1, 2, op, total);
    else
        tiles(1, 1, op, total);
}

/* A block of the panel: in place where the file has it as bfloat16 in whole tiles; else in parts in scratch, with zeros up to
 * whole tiles. */
static void take_weights(const struct kernels *kernels, const struct linear *op, size_t from, size_t depth, uint16_t *scratch,
                         struct operands *out) {
    size_t columns = (op->columns + TILE - 1) / TILE * TILE;
    out->weight_parts = weight_parts(kernels, op);
    if (op->dtype == DTYPE_BF16 && op->scale == 0 && op->columns == columns && depth % STEP == 0) {
        out->weight = op->weight + from * sizeof(uint16_t);
        out->pitch = op->weight_pitch;
        out->weight_part = 0;
        return;
    }
    size_t part = columns * DEPTH_BLOCK;
    for (size_t column = 0; column < op->columns; column++)
        split_row(kernels, op, column, from, depth, out->weight_parts, scratch + column * DEPTH_BLOCK, part);
    for (size_t p = 0; p < out->weight_parts; p++)
        memset(scratch + p * part + op->columns * DEPTH_BLOCK, 0, (columns - op->columns) * DEPTH_BLOCK * sizeof *scratch);
    out->weight = (const unsigned char *)scratch;
    out->pitch = DEPTH_BLOCK * sizeof *scratch;
    out->weight_part = part * sizeof *scratch;
}

static void multiply(const struct kernels *kernels, const struct linear *op, size_t first, size_t count, void *scratch) {
    uint16_t *rows = scratch;
    double *total = (double *)(void *)(rows + (size_t)PARTS * KERNEL_PANEL * DEPTH_BLOCK);
    struct operands block = {
        .group_pitch = prepared_bytes(kernels, op->depth),
        .x_part = part_bytes(op->depth),
        .x_parts = x_parts(kernels),
    };
    memset(total, 0, count * KERNEL_PANEL * LANES * sizeof *total);
    for (size_t from = 0; from < op->depth; from += DEPTH_BLOCK) {
        size_t depth = least(DEPTH_BLOCK, op->depth - from);
        take_weights(kernels, op, from, depth, rows, &block);
        block.steps = steps_of(depth);
        const struct ahead next = block_ahead(op, from + depth);
        for (size_t g = 0; g < count; g += 2) {
            size_t groups = count - g < 2 ? 1 : 2;
            size_t begin = lines_before(&next, g, count), end = lines_before(&next, g + groups, count);
            for (size_t column = 0; column < op->columns; column += (size_t)2 * TILE) {
                struct operands at = block;
                if (end > begin)
                    fetch(&next, column, least(op->columns - column, (size_t)2 * TILE), begin, end);
                at.weight += column * block.pitch;
                at.x = (const unsigned char *)op->prepared + (first + g) * block.group_pitch + from / STEP * STEP_BYTES;
                tiles_of(op->columns - column > TILE ? 2 : 1, groups, &at, total + (g * KERNEL_PANEL + column) * LANES);
            }
        }
    }
    for (size_t g = 0; g < count; g++)
        for (size_t column = 0; column < op->columns; column++)
            epilogue(op, total + (g * KERNEL_PANEL + column) * LANES, first + g, column);
}

/* The tiles are configured for the length of a call, so that a worker that waits carries no large state. */
static void linear(const struct kernels *kernels, const struct linear *op, void *scratch) {
    _tile_loadconfig(&config);
    for (size_t g = 0; g < op->groups; g += RUN_GROUPS)
        multiply(kernels, op, g, least(RUN_GROUPS, op->groups - g), scratch);
    _tile_release();
}

static size_t linear_scratch(size_t groups, size_t depth) {
    (void)depth;
    return KERNEL_PANEL * (PARTS * DEPTH_BLOCK * sizeof(uint16_t) + least(groups, RUN_GROUPS) * LANES * sizeof(double));
}

void kernels_amx(struct kernels *kernels, enum arithmetic arithmetic) {
    memset(kernels->name, 0, sizeof kernels->name); /* it was a longer one; hosts compare what model_describe gives */
    snprintf(kernels->name, sizeof kernels->name, "amx%s", arithmetic == ARITHMETIC_BF16 ? ", bf16" : "");
    kernels->arithmetic = arithmetic;
    kernels->linear = linear;
    kernels->linear_scratch = linear_scratch;
    kernels->prepare = prepare;
    kernels->prepared_bytes = prepared_bytes;
}
