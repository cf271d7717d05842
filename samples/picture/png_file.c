/* png_file.c - see png_file.h. Uses libpng's row-by-row writer with our own error and warning functions: the default
 * ones print and abort. libpng reports errors by longjmp; the setjmp that catches it is in this file and nowhere else.
 * */
#include "png_file.h"

#include <png.h>
#include <setjmp.h>

struct complaint {
    char *text;
    size_t size;
};

static void on_error(png_structp png, png_const_charp message) {
    struct complaint *complaint = png_get_error_ptr(png);
    snprintf(complaint->text, complaint->size, "libpng says: %s", message);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message) {
    (void)png;
    (void)message;
}

/* Everything that may longjmp; it holds nothing that would be lost. */
static bool write_rows(png_structp png, png_infop info, FILE *file, const struct canvas *canvas) {
    if (setjmp(png_jmpbuf(png))) {
        return false;
    }
    png_init_io(png, file);
    png_set_IHDR(png, info, (png_uint_32)canvas->width, (png_uint_32)canvas->height, 8, PNG_COLOR_TYPE_RGB,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (int row = 0; row < canvas->height; row++) {
        png_write_row(png, canvas->pixels + (size_t)row * (size_t)canvas->width * 3);
    }
    png_write_end(png, info);
    return true;
}

bool png_file_write(FILE *file, const struct canvas *canvas, char *why, size_t why_size) {
    struct complaint complaint = {why, why_size};
    snprintf(why, why_size, "no memory");
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &complaint, on_error, on_warning);
    if (png == NULL) {
        return false;
    }
    png_infop info = png_create_info_struct(png);
    bool written = info != NULL && write_rows(png, info, file, canvas);
    png_destroy_write_struct(&png, &info);
    return written;
}
