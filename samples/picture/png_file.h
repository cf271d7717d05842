/* png_file.h - a canvas as a PNG file. The only user of libpng; no error of it leaves the file or the process. */
#ifndef SAMPLES_PICTURE_PNG_FILE_H
#define SAMPLES_PICTURE_PNG_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "canvas.h"

/* Writes to a stream that the caller opened and will close. False with the reason in `why`. */
bool png_file_write(FILE *file, const struct canvas *canvas, char *why, size_t why_size);

#endif
