/* test_picture.c - samples/picture: the font, text, the canvas, the colours, the scale, the PNG file and the heat-map
 * made of them. Reads PNG files back with libpng itself. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <png.h>

#include "../../encoder/base/wrap.h"
#include "../../samples/picture/canvas.h"
#include "../../samples/picture/colour_map.h"
#include "../../samples/picture/font.h"
#include "../../samples/picture/heatmap.h"
#include "../../samples/picture/png_file.h"
#include "../../samples/picture/scale.h"
#include "../../samples/picture/text.h"

static const struct colour white = {255, 255, 255};
static const struct colour black = {0, 0, 0};

static struct colour pixel_at(const struct canvas *canvas, int x, int y) {
    const uint8_t *pixel = canvas->pixels + ((size_t)y * (size_t)canvas->width + (size_t)x) * 3;
    return (struct colour){pixel[0], pixel[1], pixel[2]};
}

static bool same(struct colour a, struct colour b) {
    return a.red == b.red && a.green == b.green && a.blue == b.blue;
}

static size_t pixels_unlike(const struct canvas *canvas, int x, int y, int width, int height, struct colour colour) {
    size_t count = 0;
    for (int row = y; row < y + height; row++) {
        for (int column = x; column < x + width; column++) {
            count += !same(pixel_at(canvas, column, row), colour);
        }
    }
    return count;
}

/* Protects the promise of font.h: all of ASCII and Latin-1 and nothing else; a shifted table would show in 'A' and
 * 0xFF. */
static void font_covers_what_it_says(void **state) {
    (void)state;
    static const uint8_t letter_a[FONT_HEIGHT] = {0, 0, 0x20, 0x50, 0x88, 0x88, 0x88, 0xF8, 0x88, 0x88, 0x88, 0, 0};
    int next = 0;
    for (uint32_t code = 0; code < 0x500; code++) {
        bool printable = (code >= 0x20 && code <= 0x7E) || (code >= 0xA0 && code <= 0xFF);
        assert_int_equal(font_index(code), printable ? next++ : -1);
    }
    assert_int_equal(next, FONT_GLYPHS);
    assert_int_equal(font_index(0x10FFFF), -1);
    assert_memory_equal(font_glyphs[font_index('A')], letter_a, FONT_HEIGHT);
    for (int i = 0; i < FONT_GLYPHS; i++) {
        unsigned ink = 0;
        for (int row = 0; row < FONT_HEIGHT; row++) {
            ink |= font_glyphs[i][row];
        }
        assert_int_equal(ink & 3u, 0); /* nothing right of the sixth pixel */
        assert_int_equal(ink == 0, i == font_index(0x20) || i == font_index(0xA0));
    }
    /* y with diaeresis: two dots over a y */
    assert_int_not_equal(font_glyphs[font_index(0xFF)][2] | font_glyphs[font_index(0xFF)][3], 0);
    for (int i = 0; i < FONT_GLYPHS; i++) {
        for (int k = 0; k < i; k++) {
            bool blank = i == font_index(0xA0) && k == font_index(0x20);
            assert_int_equal(memcmp(font_glyphs[i], font_glyphs[k], FONT_HEIGHT) == 0, blank);
        }
    }
}

/* Protects every label and message from bytes that are not UTF-8: each code point decodes to itself, and the classes of
 * wrong sequences do not decode at all. */
static void utf8_is_decoded_strictly(void **state) {
    (void)state;
    for (uint32_t code = 0; code <= 0x10FFFF; code++) {
        char bytes[4];
        uint32_t found;
        size_t length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
        for (size_t i = length - 1; i > 0; i--) {
            bytes[i] = (char)(0x80 | (code >> 6 * (length - 1 - i) & 0x3F));
        }
        static const uint32_t lead[5] = {0, 0, 0xC0, 0xE0, 0xF0};
        bytes[0] = (char)(lead[length] | code >> 6 * (length - 1));
        bool surrogate = code >= 0xD800 && code <= 0xDFFF;
        assert_int_equal(text_decode(bytes, length, &found), surrogate ? 0 : length);
        if (!surrogate) {
            assert_int_equal(found, code);
        }
        if (length > 1) {
            assert_int_equal(text_decode(bytes, length - 1, &found), 0);
            assert_int_equal(found, (uint8_t)bytes[0]);
        }
    }
    static const char *const wrong[] = {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xF0\x8F\xBF\xBF",
                                        "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\xC3(", "\xE2\x82("};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        uint32_t found;
        assert_int_equal(text_decode(wrong[i], strlen(wrong[i]), &found), 0);
    }
}

static void expect_cells(const char *bytes, size_t count, size_t capacity, const char *expected) {
    uint8_t cells[64];
    memset(cells, '#', sizeof cells);
    size_t used = text_cells(bytes, count, cells, capacity);
    assert_int_equal(used, strlen(expected));
    assert_memory_equal(cells, expected, used);
    for (size_t i = capacity; i < sizeof cells; i++) {
        assert_int_equal(cells[i], '#');
    }
}

/* Protects the rule that nothing a token can hold is invisible, and the buffer that the cells go to. */
static void other_characters_are_spelled_out(void **state) {
    (void)state;
    expect_cells("caf\xC3\xA9", 5, 20, "caf\xE9");
    expect_cells("\xF0\x9F\x8E\x89!", 5, 20, "U+1F389!");
    expect_cells("\xE7\x8C\xAB", 3, 20, "U+732B");
    expect_cells("\xF0\x9F", 2, 20, "\\xF0\\x9F");
    expect_cells("a\0b\n", 4, 20, "aU+0000bU+000A");
    expect_cells("", 0, 20, "");
    expect_cells("abcdef", 6, 6, "abcdef");
    expect_cells("abcdefg", 7, 6, "abc...");
    expect_cells("ab\xE7\x8C\xAB", 5, 6, "ab...");
    expect_cells("abc", 3, 2, "..");
    expect_cells("abc", 3, 0, "");
}

/* Protects memory from what is drawn outside: every rectangle is clipped, and the sizes that cannot be are refused. */
static void canvas_clips(void **state) {
    (void)state;
    struct canvas canvas;
    assert_false(canvas_make(&canvas, 0, 5, white));
    assert_false(canvas_make(&canvas, 5, -1, white));
    assert_false(canvas_make(&canvas, CANVAS_LONGEST_SIDE + 1, 1, white));
    assert_true(canvas_make(&canvas, 7, 5, white));
    canvas_fill(&canvas, -3, -3, 3, 100, black);
    canvas_fill(&canvas, 7, 0, 100, 100, black);
    canvas_fill(&canvas, INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX, black);
    canvas_fill(&canvas, 2, 2, -1, 3, black);
    assert_int_equal(pixels_unlike(&canvas, 0, 0, 7, 5, white), 0);
    canvas_fill(&canvas, 5, 4, INT32_MAX, INT32_MAX, black);
    assert_int_equal(pixels_unlike(&canvas, 0, 0, 7, 5, white), 2);
    canvas_frame(&canvas, 2, 2, 2, 1, black); /* 4 x 3 with a hole of 2 x 1 */
    assert_int_equal(pixels_unlike(&canvas, 1, 1, 4, 3, white), 10);
    text_draw_string(&canvas, -4, -4, 3, black, "clipped");
    canvas_free(&canvas);
}

/* Protects the shape of what is drawn: the pixels of a glyph, at scale 1 and 2, and the width that is returned. */
static void text_draws_the_glyphs(void **state) {
    (void)state;
    for (int scale = 1; scale <= 2; scale++) {
        struct canvas canvas;
        assert_true(canvas_make(&canvas, 40, 40, white));
        assert_int_equal(text_draw_string(&canvas, 3, 2, scale, black, "Ag"), 2 * FONT_WIDTH * scale);
        for (int y = 0; y < 40; y++) {
            for (int x = 0; x < 40; x++) {
                int column = (x - 3) / scale, row = (y - 2) / scale;
                bool inside = x >= 3 && y >= 2 && column < 2 * FONT_WIDTH && row < FONT_HEIGHT;
                const uint8_t *glyph = font_glyphs[font_index(column < FONT_WIDTH ? 'A' : 'g')];
                bool ink = inside && (glyph[row] & 0x80 >> column % FONT_WIDTH) != 0;
                assert_true(same(pixel_at(&canvas, x, y), ink ? black : white));
            }
        }
        canvas_free(&canvas);
    }
}

/* sRGB to Oklab, from Ottosson's description: the way back that colour_map.c does not have. */
static void to_oklab(struct colour colour, double lab[3]) {
    const uint8_t codes[3] = {colour.red, colour.green, colour.blue};
    double rgb[3];
    for (int i = 0; i < 3; i++) {
        double stored = codes[i] / 255.0;
        rgb[i] = stored <= 0.04045 ? stored / 12.92 : pow((stored + 0.055) / 1.055, 2.4);
    }
    double l = cbrt(0.4122214708 * rgb[0] + 0.5363325363 * rgb[1] + 0.0514459929 * rgb[2]);
    double m = cbrt(0.2119034982 * rgb[0] + 0.6806995451 * rgb[1] + 0.1073969566 * rgb[2]);
    double s = cbrt(0.0883024619 * rgb[0] + 0.2817188376 * rgb[1] + 0.6299787005 * rgb[2]);
    lab[0] = 0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s;
    lab[1] = 1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s;
    lab[2] = 0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s;
}

/* Protects the meaning of the colours: blue below, white at, red above zero; equal steps look equal; no end is stronger
 * than the other; no part of the map was cut by the gamut. */
static void colours_are_even(void **state) {
    (void)state;
    struct colour low = colour_map(-1), middle = colour_map(0), high = colour_map(1);
    assert_true(same(colour_map(-7), low) && same(colour_map(7), high));
    assert_true(same(colour_map(NAN), colour_map_nan));
    /* computed apart from the program, in NumPy, from the description in colour_map.c */
    assert_true(same(low, (struct colour){16, 67, 168}) && same(high, (struct colour){148, 2, 13}));
    assert_true(same(colour_map(-0.5), (struct colour){130, 159, 212}) && same(middle, (struct colour){248, 248, 248}));
    assert_true(same(colour_map(0.25), (struct colour){229, 193, 188}));
    for (int sign = -1; sign <= 1; sign += 2) {
        double zero[3], end[3];
        to_oklab(middle, zero);
        to_oklab(colour_map(sign), end);
        for (int i = 0; i <= 100; i++) {
            double lab[3];
            to_oklab(colour_map(sign * i / 100.0), lab);
            for (int k = 0; k < 3; k++) {
                assert_true(fabs(lab[k] - (zero[k] + (end[k] - zero[k]) * i / 100)) < 0.006);
            }
        }
        assert_true(fabs(end[0] - 0.42) < 0.004);
        assert_true(fabs(hypot(end[1], end[2]) - 0.17) < 0.004);
    }
}

/* A normal distribution by the sum of twelve uniform numbers; seeded, so that failures repeat. */
WRAPS("the generator works modulo 2^64")
static float *normal_values(size_t count) {
    float *values = malloc(count * sizeof *values);
    uint64_t seed = 2024;
    assert_non_null(values);
    for (size_t i = 0; i < count; i++) {
        double sum = -6;
        for (int k = 0; k < 12; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            sum += (double)(seed >> 33) / 2147483648.0;
        }
        values[i] = (float)sum;
    }
    return values;
}

static void check_ticks(const struct scale *scale) {
    double ticks[SCALE_TICKS_MAX];
    size_t count = scale_ticks(scale, 0.05, ticks);
    assert_in_range(count, 5, SCALE_TICKS_MAX - 1);
    assert_true(ticks[0] == -scale->limit && ticks[count - 1] == scale->limit && ticks[count / 2] == 0);
    for (size_t i = 1; i < count; i++) {
        assert_true(scale_position(scale, ticks[i]) - scale_position(scale, ticks[i - 1]) >= 0.05 - 1e-12);
        assert_true(ticks[i] == -ticks[count - 1 - i]);
    }
}

/* Protects the picture from the outlier channels of CLIP: the few large values neither bleach the rest nor lose their
 * size, and plain values get a plain scale. */
static void scale_bends_for_outliers_only(void **state) {
    (void)state;
    const size_t count = 77 * 1280;
    float *values = normal_values(count);
    struct scale scale;
    assert_true(scale_of(&scale, values, count));
    assert_true(scale.bend == 0);
    assert_true(fabs(scale.median - 0.674) < 0.02 && fabs(scale.percentile - 2.56) < 0.1);
    assert_true(scale_position(&scale, scale.limit) == 1 && scale_position(&scale, -scale.limit / 4) == -0.25);
    check_ticks(&scale);

    for (size_t i = 0; i < 77; i++) {
        values[i * 1280 + 133] = -60;
    }
    assert_true(scale_of(&scale, values, count));
    assert_true(scale.limit == 60 && fabs(scale.bend - 0.337) < 0.02);
    assert_true(scale_position(&scale, -60) == -1 && scale_position(&scale, -70) == -1);
    assert_true(scale_position(&scale, 1) > 0.25); /* one rms: linear would be 0.017 */
    assert_true(scale_position(&scale, 30) < scale_position(&scale, 60) - 0.08);
    for (double x = 0.01; x < 60; x *= 1.1) {
        assert_true(scale_position(&scale, x) > scale_position(&scale, x / 1.1));
        assert_true(scale_position(&scale, -x) == -scale_position(&scale, x));
    }
    check_ticks(&scale);
    free(values);
}

/* Protects against values that no model should give and that a picture must survive. */
static void scale_survives_odd_values(void **state) {
    (void)state;
    static const float odd[] = {NAN, INFINITY, -INFINITY, 2, -1, 0};
    static const float zeros[5] = {0};
    struct scale scale;
    double ticks[SCALE_TICKS_MAX];
    assert_true(scale_of(&scale, odd, 6));
    assert_true(scale.limit == 2 && scale.not_finite == 3);
    assert_true(isnan(scale_position(&scale, NAN)));
    assert_true(scale_position(&scale, INFINITY) == 1 && scale_position(&scale, -INFINITY) == -1);
    assert_true(scale_of(&scale, zeros, 5));
    assert_true(scale_position(&scale, 0) == 0);
    assert_int_equal(scale_ticks(&scale, 0.05, ticks), 1);
    assert_true(ticks[0] == 0);
    assert_true(scale_of(&scale, zeros, 0) && scale.limit == 0);
    assert_true(scale_round_step(0.011) == 0.02 && scale_round_step(1) == 1 && scale_round_step(51) == 100);
}

/* Reads RGB rows back. Own error handling is not needed: libpng's default would end the test program, which fails it.
 * */
static void read_png(FILE *file, struct canvas *canvas) {
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_init_io(png, file);
    png_read_info(png, info);
    assert_int_equal(png_get_bit_depth(png, info), 8);
    assert_int_equal(png_get_color_type(png, info), PNG_COLOR_TYPE_RGB);
    assert_true(canvas_make(canvas, (int)png_get_image_width(png, info), (int)png_get_image_height(png, info), black));
    for (int row = 0; row < canvas->height; row++) {
        png_read_row(png, canvas->pixels + (size_t)row * (size_t)canvas->width * 3, NULL);
    }
    png_read_end(png, NULL);
    png_destroy_read_struct(&png, &info, NULL);
}

/* Protects the file: what libpng decodes is what was drawn, pixel for pixel. */
WRAPS("the generator works modulo 2^32")
static void png_decodes_to_what_was_drawn(void **state) {
    (void)state;
    struct canvas drawn, read;
    char why[256];
    uint32_t seed = 1;
    assert_true(canvas_make(&drawn, 131, 67, white));
    for (size_t i = 0; i < 131 * 67 * 3; i++) {
        seed = seed * 1664525u + 1013904223u;
        drawn.pixels[i] = (uint8_t)(seed >> 24);
    }
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_true(png_file_write(file, &drawn, why, sizeof why));
    rewind(file);
    read_png(file, &read);
    assert_int_equal(read.width, drawn.width);
    assert_int_equal(read.height, drawn.height);
    assert_memory_equal(read.pixels, drawn.pixels, 131 * 67 * 3);
    fclose(file);
    canvas_free(&read);

    /* a disk that is full is an error that comes back, not an abort and not silence */
    file = fopen("/dev/full", "wb");
    assert_non_null(file);
    assert_false(png_file_write(file, &drawn, why, sizeof why));
    assert_int_not_equal(why[0], '\0');
    fclose(file);
    canvas_free(&drawn);
}

static struct heatmap_label *labels_of(size_t rows) {
    struct heatmap_label *labels = calloc(rows, sizeof *labels);
    assert_non_null(labels);
    for (size_t i = 0; i < rows; i++) {
        labels[i] = (struct heatmap_label){.text = "horse", .bytes = i == 3 ? 0 : 5, .muted = i % 2 == 0};
    }
    return labels;
}

static void check_cells(size_t rows, size_t columns, size_t per_bin, bool with_nan) {
    float *values = normal_values(rows * columns);
    struct heatmap_label *labels = labels_of(rows);
    struct heatmap heatmap = {.values = values, .rows = rows, .columns = columns, .labels = labels, .title = "\"a\"",
                              .title_bytes = 3, .subtitle = "test"};
    struct heatmap_layout at;
    struct canvas canvas;
    struct scale scale;
    char why[256] = "";
    values[columns + 1] = 55;
    if (with_nan) {
        values[2 * columns + columns - 1] = NAN;
    }
    assert_true(scale_of(&scale, values, rows * columns));
    assert_true(heatmap_draw(&heatmap, &canvas, &at, why, sizeof why));
    assert_int_equal(at.per_bin, per_bin);
    assert_int_equal(at.bins, (columns + per_bin - 1) / per_bin);
    for (size_t row = 0; row < rows; row++) {
        for (size_t bin = 0; bin < at.bins; bin++) {
            float extreme = 0;
            for (size_t c = bin * per_bin; c < columns && c < (bin + 1) * per_bin; c++) {
                float value = values[row * columns + c];
                extreme = isnan(value) || isnan(extreme) ? NAN : fabsf(value) > fabsf(extreme) ? value : extreme;
            }
            int x = at.left + (int)bin * at.cell_width, y = at.top + (int)row * at.cell_height;
            struct colour expected = colour_map(scale_position(&scale, (double)extreme));
            assert_int_equal(pixels_unlike(&canvas, x, y, at.cell_width, at.cell_height, expected), 0);
        }
        /* the label stands left of its row: there is ink, also where the text is empty (the index) */
        if (at.cell_height >= FONT_HEIGHT) {
            int y = at.top + (int)row * at.cell_height;
            size_t ink = pixels_unlike(&canvas, 0, y, at.left - 2, at.cell_height, white);
            assert_int_equal(ink > 0 && (row != 3 || ink < 60), 1);
        }
    }
    canvas_free(&canvas);
    free(values);
    free(labels);
}

/* Protects the map itself: every cell has the colour of its value, at tiny's and bigG's width, and where several
 * channels share a cell, of the one of the largest magnitude with its sign. */
static void heatmap_shows_every_value(void **state) {
    (void)state;
    check_cells(77, 128, 1, false);
    check_cells(77, 1280, 1, true);
    check_cells(9, 3000, 3, true);
    check_cells(3, 5, 1, true);
    check_cells(4, 1281, 2, false);
    check_cells(3000, 2, 1, false);
}

/* Protects the reader and the command: same values, same picture; what cannot be drawn is refused with a reason. */
static void heatmap_is_repeatable_and_refuses(void **state) {
    (void)state;
    float *values = normal_values(77 * 64);
    struct heatmap_label *labels = labels_of(77);
    struct heatmap heatmap = {.values = values, .rows = 77, .columns = 64, .labels = labels, .title = "t",
                              .title_bytes = 1, .subtitle = "s"};
    struct canvas first, second;
    char why[256];
    assert_true(heatmap_draw(&heatmap, &first, NULL, why, sizeof why));
    assert_true(heatmap_draw(&heatmap, &second, NULL, why, sizeof why));
    assert_int_equal(first.width, second.width);
    assert_int_equal(first.height, second.height);
    assert_memory_equal(first.pixels, second.pixels, (size_t)first.width * (size_t)first.height * 3);
    canvas_free(&first);
    canvas_free(&second);
    static const size_t impossible[][2] = {{0, 5}, {5, 0}, {100000, 5}, {SIZE_MAX, SIZE_MAX}};
    for (size_t i = 0; i < sizeof impossible / sizeof impossible[0]; i++) {
        heatmap.rows = impossible[i][0];
        heatmap.columns = impossible[i][1];
        why[0] = '\0';
        assert_false(heatmap_draw(&heatmap, &first, NULL, why, sizeof why));
        assert_int_not_equal(why[0], '\0');
    }
    free(values);
    free(labels);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(font_covers_what_it_says),
        cmocka_unit_test(utf8_is_decoded_strictly),
        cmocka_unit_test(other_characters_are_spelled_out),
        cmocka_unit_test(canvas_clips),
        cmocka_unit_test(text_draws_the_glyphs),
        cmocka_unit_test(colours_are_even),
        cmocka_unit_test(scale_bends_for_outliers_only),
        cmocka_unit_test(scale_survives_odd_values),
        cmocka_unit_test(png_decodes_to_what_was_drawn),
        cmocka_unit_test(heatmap_shows_every_value),
        cmocka_unit_test(heatmap_is_repeatable_and_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
