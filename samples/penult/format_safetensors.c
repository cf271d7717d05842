/* format_safetensors.c - safetensors: eight bytes of length, a JSON header, the data without gaps. The header is filled
 * up with spaces to a multiple of eight, so that the data begins aligned. */
#include <stdlib.h>
#include <string.h>

#include "../../api/penult.h"
#include "formats.h"
#include "json.h"
#include "say.h"

static const char *type_name(uint32_t dtype) {
    return dtype == PENULT_F16 ? "F16" : dtype == PENULT_BF16 ? "BF16" : dtype == TENSOR_I32 ? "I32" : "F32";
}

static char *header_text(const struct tensor *const *tensors, size_t count, const struct metadata *metadata,
                         size_t metadata_count) {
    bool failed;
    uint64_t offset = 0;
    json root = json_begin(&failed);
    json about = json_add_object(root, "__metadata__");
    for (size_t i = 0; i < metadata_count; i++) {
        json_add_string(about, metadata[i].key, metadata[i].value);
    }
    for (size_t i = 0; i < count; i++) {
        json entry = json_add_object(root, tensors[i]->name);
        json_add_string(entry, "dtype", type_name(tensors[i]->dtype));
        json shape = json_add_array(entry, "shape");
        for (unsigned k = 0; k < tensors[i]->rank; k++) {
            json_add_unsigned(shape, NULL, tensors[i]->shape[k]);
        }
        json offsets = json_add_array(entry, "data_offsets");
        json_add_unsigned(offsets, NULL, offset);
        offset += tensors[i]->bytes;
        json_add_unsigned(offsets, NULL, offset);
    }
    char *text = json_text(root, false);
    json_end(root);
    return text;
}

bool write_safetensors(FILE *to, const struct tensor *const *tensors, size_t count, const struct metadata *metadata,
                       size_t metadata_count) {
    static const char spaces[8] = "        ";
    unsigned char length[8];
    char *text = header_text(tensors, count, metadata, metadata_count);
    if (text == NULL) {
        say_failed("no memory for the header of the .safetensors file");
        return false;
    }
    size_t used = strlen(text);
    size_t padding = (8 - used % 8) % 8;
    for (unsigned i = 0; i < 8; i++) {
        length[i] = (unsigned char)((uint64_t)(used + padding) >> 8 * i & 255u);
    }
    bool written = fwrite(length, 1, 8, to) == 8 && fwrite(text, 1, used, to) == used &&
                   fwrite(spaces, 1, padding, to) == padding;
    free(text);
    for (size_t i = 0; written && i < count; i++) {
        written = fwrite(tensors[i]->data, 1, tensors[i]->bytes, to) == tensors[i]->bytes;
    }
    return written;
}
