/* conditioning_file.h - a conditioning file as it is read back: every number checked, tensors against the manifest, the manifest
 * against itself. Knows no plugin: whether a recipe is so is condition_check.c's question. */
#ifndef SAMPLES_PENULT_CONDITIONING_FILE_H
#define SAMPLES_PENULT_CONDITIONING_FILE_H

#include "../../api/penult_condition.h"
#include "json_read.h"
#include "options.h"
#include "tensor.h"

#define CONDITIONING_KEY "penult.conditioning" /* in __metadata__ */
#define CONDITIONING_FORMAT 1
#define CONDITIONING_MANIFEST_MAX (8 << 20)
#define CONDITIONING_HEADER_MAX (20 << 20) /* a manifest whose every quote is escaped, and the tensors */
#define CONDITIONING_TENSORS_MAX 16
#define CONDITIONING_TOWERS_MAX 4
#define CONDITIONING_WINDOWS_MAX 4096

/* weights: 64 hexadecimal digits; NULL: the file was written without. first: of the tower's tokens, the positive prompt's
 * before the negative's, in the file's list. */
struct conditioning_tower {
    const char *name, *model, *weights, *activation, *computed_with;
    uint32_t width, projection;
    bool second_prompt;
    size_t first[2], count[2]; /* [negative] */
};

/* Strings and tensors' data lie in the file's own memory. applied: what `penult condition` would be told to make it again. */
struct conditioning_file {
    json_value *header, *manifest;
    struct tensor tensors[CONDITIONING_TENSORS_MAX];
    size_t tensor_count;
    const char *penult, *recipe, *prompt;
    const char *dtype, *emphasis;
    struct options applied;
    uint32_t window, chunks, own_chunks, negative_chunks, negative_own_chunks;
    uint64_t cut;
    bool negative_zero;
    struct conditioning_tower towers[CONDITIONING_TOWERS_MAX];
    size_t tower_count;
    penult_condition_token *tokens;
    size_t token_count;
};

/* Reads the bytes of a file, which must live as long as *file does. False with a sentence in `why` that does not name the
 * file; conditioning_file_free in any case. */
bool conditioning_file_read(struct conditioning_file *file, unsigned char *bytes, size_t size, char *why, size_t why_size);
void conditioning_file_free(struct conditioning_file *file);

#endif
