/* safetensors.h - the safetensors container: a header of names, types, shapes and byte ranges, then the data.
 * Rules as huggingface/safetensors (safetensors/src/tensor.rs: read_metadata, validate) has them, plus what its README
 * demands and its code lets pass: no name twice. Knows no CLIP name. */
#ifndef ENCODER_FORMAT_SAFETENSORS_H
#define ENCODER_FORMAT_SAFETENSORS_H

#include "../base/fault.h"
#include "../base/file.h"
#include "../base/tensor.h"

#define SAFETENSORS_HEADER_LIMIT 100000000u /* tensor.rs: MAX_HEADER_SIZE */

struct safetensors {
    struct tensor_set set; /* offset is from the start of the file */
    char *names;           /* what the names point into */
    uint64_t data_offset;
};

/* Reads and checks the header; the tensors have no data yet. `name` is the file's, for messages. */
int safetensors_open(struct safetensors *out, const struct file *file, const char *name, struct fault *fault);
/* The same on a header that is in memory: `header` is the JSON alone, file_bytes the length of the whole file. */
int safetensors_parse(struct safetensors *out, const char *name, const char *header, size_t header_size,
                      uint64_t file_bytes, struct fault *fault);
void safetensors_close(struct safetensors *safetensors);

#endif
