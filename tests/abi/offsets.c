/* offsets.c - the shape of penult.h 0.5, pinned: every struct size, every member's offset and size, every table slot
 * and its type, every constant.
 *
 * A host that was compiled yesterday holds exactly these numbers. If this file stops compiling, the header broke the
 * ABI: change the header, not the numbers. What may change here is an appended member (a new line, and a new SIZE).
 * The tests of penult.py read the numbers too. Compiles as C11 and as C++11; knows nothing but penult.h.
 */
#include "penult.h"

#ifdef __cplusplus
#define PIN(condition, name) static_assert(condition, name);
#else
#define PIN(condition, name) _Static_assert(condition, name);
#endif

#define SIZE(type, bytes) PIN(sizeof(type) == bytes, "size of " #type)
#define AT(type, member, offset, bytes)                                                                               \
    PIN(offsetof(type, member) == offset, "offset of " #type "." #member)                                             \
    PIN(sizeof(((type *)0)->member) == bytes, "size of " #type "." #member)
#define VALUE(name, value) PIN(name == value, "value of " #name)

/* The layouts below are those of a 64-bit little-endian system, the only kind that Penult runs on. */
PIN(sizeof(void *) == 8 && sizeof(size_t) == 8, "64-bit pointers")
PIN(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "little-endian")

SIZE(penult_error, 512)
AT(penult_error, status, 0, 4)
AT(penult_error, message, 4, 508)

SIZE(penult_report, 48)
AT(penult_report, struct_size, 0, 4)
AT(penult_report, severity, 4, 4)
AT(penult_report, subject, 8, 8)
AT(penult_report, message, 16, 8)
AT(penult_report, kind, 24, 4)
AT(penult_report, reserved, 28, 4)
AT(penult_report, tensors, 32, 8)
AT(penult_report, bytes, 40, 8)

SIZE(penult_progress, 24)
AT(penult_progress, struct_size, 0, 4)
AT(penult_progress, stage, 4, 4)
AT(penult_progress, done, 8, 8)
AT(penult_progress, total, 16, 8)

SIZE(penult_open_params, 80)
AT(penult_open_params, struct_size, 0, 4)
AT(penult_open_params, access, 4, 4)
AT(penult_open_params, path, 8, 8)
AT(penult_open_params, tokenizer_path, 16, 8)
AT(penult_open_params, activation, 24, 4)
AT(penult_open_params, reserved, 28, 4)
AT(penult_open_params, report, 32, 8)
AT(penult_open_params, progress, 40, 8)
AT(penult_open_params, user, 48, 8)
AT(penult_open_params, tower, 56, 8)
AT(penult_open_params, heads, 64, 4)
AT(penult_open_params, flags, 68, 4)
AT(penult_open_params, tokenizer_mode, 72, 4)
AT(penult_open_params, pad_in_text, 76, 4)

SIZE(penult_model_info, 264)
AT(penult_model_info, struct_size, 0, 4)
AT(penult_model_info, width, 4, 4)
AT(penult_model_info, layers, 8, 4)
AT(penult_model_info, heads, 12, 4)
AT(penult_model_info, mlp_width, 16, 4)
AT(penult_model_info, context, 20, 4)
AT(penult_model_info, vocabulary, 24, 4)
AT(penult_model_info, projection, 28, 4)
AT(penult_model_info, activation, 32, 4)
AT(penult_model_info, dtype, 36, 4)
AT(penult_model_info, start_id, 40, 4)
AT(penult_model_info, end_id, 44, 4)
AT(penult_model_info, pad_id, 48, 4)
AT(penult_model_info, access, 52, 4)
AT(penult_model_info, parameters, 56, 8)
AT(penult_model_info, bytes_file, 64, 8)
AT(penult_model_info, bytes_mapped, 72, 8)
AT(penult_model_info, norm_epsilon, 80, 8)
AT(penult_model_info, layout, 88, 32)
AT(penult_model_info, kernels, 120, 96)
AT(penult_model_info, tower, 216, 32)
AT(penult_model_info, bytes_used, 248, 8)
AT(penult_model_info, tensors_used, 256, 4)
AT(penult_model_info, files, 260, 4)

SIZE(penult_token_request, 24)
AT(penult_token_request, struct_size, 0, 4)
AT(penult_token_request, flags, 4, 4)
AT(penult_token_request, text, 8, 8)
AT(penult_token_request, text_bytes, 16, 8)

SIZE(penult_span, 16)
AT(penult_span, begin, 0, 8)
AT(penult_span, end, 8, 8)

SIZE(penult_token_result, 72)
AT(penult_token_result, struct_size, 0, 4)
AT(penult_token_result, reserved, 4, 4)
AT(penult_token_result, ids, 8, 8)
AT(penult_token_result, spans, 16, 8)
AT(penult_token_result, capacity, 24, 8)
AT(penult_token_result, id_count, 32, 8)
AT(penult_token_result, body_count, 40, 8)
AT(penult_token_result, cut_count, 48, 8)
AT(penult_token_result, cut_begin, 56, 8)
AT(penult_token_result, end_position, 64, 8)

SIZE(penult_session_params, 40)
AT(penult_session_params, struct_size, 0, 4)
AT(penult_session_params, flags, 4, 4)
AT(penult_session_params, threads, 8, 4)
AT(penult_session_params, max_prompts, 12, 4)
AT(penult_session_params, max_text_bytes, 16, 8)
AT(penult_session_params, kernels, 24, 4)
AT(penult_session_params, arithmetic, 28, 4)
AT(penult_session_params, kept_prompts, 32, 4)
AT(penult_session_params, reserved, 36, 4)

SIZE(penult_prompt, 40)
AT(penult_prompt, text, 0, 8)
AT(penult_prompt, text_bytes, 8, 8)
AT(penult_prompt, ids, 16, 8)
AT(penult_prompt, id_count, 24, 8)
AT(penult_prompt, key_mask, 32, 8)

SIZE(penult_buffer, 40)
AT(penult_buffer, data, 0, 8)
AT(penult_buffer, bytes, 8, 8)
AT(penult_buffer, batch_pitch, 16, 8)
AT(penult_buffer, row_pitch, 24, 8)
AT(penult_buffer, dtype, 32, 4)
AT(penult_buffer, reserved, 36, 4)

SIZE(penult_output, 56)
AT(penult_output, kind, 0, 4)
AT(penult_output, layer, 4, 4)
AT(penult_output, flags, 8, 4)
AT(penult_output, reserved, 12, 4)
AT(penult_output, to, 16, 40)

SIZE(penult_text_request, 56)
AT(penult_text_request, struct_size, 0, 4)
AT(penult_text_request, arithmetic, 4, 4)
AT(penult_text_request, prompt_count, 8, 4)
AT(penult_text_request, prompt_stride, 12, 4)
AT(penult_text_request, prompts, 16, 8)
AT(penult_text_request, output_count, 24, 4)
AT(penult_text_request, output_stride, 28, 4)
AT(penult_text_request, outputs, 32, 8)
AT(penult_text_request, progress, 40, 8)
AT(penult_text_request, user, 48, 8)

SIZE(penult_prompt_result, 32)
AT(penult_prompt_result, body_count, 0, 8)
AT(penult_prompt_result, cut_count, 8, 8)
AT(penult_prompt_result, cut_begin, 16, 8)
AT(penult_prompt_result, end_position, 24, 8)

SIZE(penult_text_result, 32)
AT(penult_text_result, struct_size, 0, 4)
AT(penult_text_result, tokens, 4, 4)
AT(penult_text_result, prompt_count, 8, 4)
AT(penult_text_result, prompt_stride, 12, 4)
AT(penult_text_result, prompts, 16, 8)
AT(penult_text_result, blocks_run, 24, 4)
AT(penult_text_result, reserved, 28, 4)

SIZE(penult_api, 96)
AT(penult_api, struct_size, 0, 4)
AT(penult_api, abi_minor, 4, 4)
AT(penult_api, model_open, 8, 8)
AT(penult_api, model_close, 16, 8)
AT(penult_api, model_describe, 24, 8)
AT(penult_api, tokenize, 32, 8)
AT(penult_api, session_measure, 40, 8)
AT(penult_api, session_open, 48, 8)
AT(penult_api, session_close, 56, 8)
AT(penult_api, session_cancel, 64, 8)
AT(penult_api, encode_text, 72, 8)
AT(penult_api, extension, 80, 8)
AT(penult_api, model_hash, 88, 8)

SIZE(penult_entry_point, 16)
AT(penult_entry_point, version, 0, 8)
AT(penult_entry_point, get_api, 8, 8)

VALUE(PENULT_ABI_MAJOR, 0)
VALUE(PENULT_ABI_MINOR, 5)
VALUE(PENULT_OK, 0)
VALUE(PENULT_E_ARGUMENT, 1)
VALUE(PENULT_E_UNSUPPORTED, 2)
VALUE(PENULT_E_NOT_FOUND, 3)
VALUE(PENULT_E_IO, 4)
VALUE(PENULT_E_FORMAT, 5)
VALUE(PENULT_E_TRUNCATED, 6)
VALUE(PENULT_E_TRAILING, 7)
VALUE(PENULT_E_MISMATCH, 8)
VALUE(PENULT_E_NO_MEMORY, 9)
VALUE(PENULT_E_TEXT, 10)
VALUE(PENULT_E_LIMIT, 11)
VALUE(PENULT_E_NO_TOKENIZER, 12)
VALUE(PENULT_E_CANCELLED, 13)
VALUE(PENULT_E_NON_FINITE, 14)
VALUE(PENULT_E_CHANGED, 15)
VALUE(PENULT_E_WRONG_PROCESS, 16)
VALUE(PENULT_F32, 1)
VALUE(PENULT_F16, 2)
VALUE(PENULT_BF16, 3)
VALUE(PENULT_F64, 4)
VALUE(PENULT_F8_E4M3, 5)
VALUE(PENULT_F8_E5M2, 6)
VALUE(PENULT_QUICK_GELU, 1)
VALUE(PENULT_GELU, 2)
VALUE(PENULT_HIDDEN, 1)
VALUE(PENULT_POOLED_RAW, 2)
VALUE(PENULT_POOLED_PROJECTED, 3)
VALUE(PENULT_POOLED_NORMALISED, 4)
VALUE(PENULT_FINAL_NORM, 1)
VALUE(PENULT_REPORT_NOTE, 1)
VALUE(PENULT_REPORT_WARNING, 2)
VALUE(PENULT_REPORT_ERROR, 3)
VALUE(PENULT_ABOUT_OTHER, 0)
VALUE(PENULT_ABOUT_FORMAT, 1)
VALUE(PENULT_ABOUT_LAYOUT, 2)
VALUE(PENULT_ABOUT_TOWER, 3)
VALUE(PENULT_ABOUT_ASSUMPTION, 4)
VALUE(PENULT_ABOUT_USED, 5)
VALUE(PENULT_ABOUT_IGNORED, 6)
VALUE(PENULT_ABOUT_MISSING, 7)
VALUE(PENULT_ABOUT_WRONG, 8)
VALUE(PENULT_ABOUT_UNEXPECTED, 9)
VALUE(PENULT_STAGE_OPEN, 1)
VALUE(PENULT_STAGE_ENCODE, 2)
VALUE(PENULT_STAGE_HASH, 3)
VALUE(PENULT_OPEN_LIST_TENSORS, 1)
VALUE(PENULT_MAP, 0)
VALUE(PENULT_COPY, 1)
VALUE(PENULT_TOKENS_BODY, 1)
VALUE(PENULT_TOKENIZER_TRANSFORMERS, 0)
VALUE(PENULT_TOKENIZER_OPEN_CLIP, 1)
VALUE(PENULT_PAD_AS_FILES_SAY, 0)
VALUE(PENULT_PAD_IS_TEXT, 1)
VALUE(PENULT_PAD_IS_SPECIAL, 2)
VALUE(PENULT_KERNELS_SCALAR, 1)
VALUE(PENULT_KERNELS_OPENBLAS, 2)
VALUE(PENULT_KERNELS_AVX2, 3)
VALUE(PENULT_KERNELS_AVX512, 4)
VALUE(PENULT_KERNELS_AMX, 5)
VALUE(PENULT_ARITHMETIC_EXACT, 0)
VALUE(PENULT_ARITHMETIC_BF16, 1)
VALUE(PENULT_ABI_VERSION, 5)

/* Offsets say nothing of parameters, so each slot is assigned to a pointer of the pinned type: another type is an error
 * in C++, and in C under -Werror. Never called. */
void slots_have_their_types(const penult_api *api, const penult_entry_point *point, penult_open_params *params,
                            penult_text_request *request);
void slots_have_their_types(const penult_api *api, const penult_entry_point *point, penult_open_params *params,
                            penult_text_request *request) {
    int32_t (*model_open)(const penult_open_params *, penult_model **, penult_error *) = api->model_open;
    void (*model_close)(penult_model *) = api->model_close;
    int32_t (*model_describe)(const penult_model *, penult_model_info *, penult_error *) = api->model_describe;
    int32_t (*tokenize)(const penult_model *, const penult_token_request *, penult_token_result *, penult_error *) =
        api->tokenize;
    int32_t (*session_measure)(const penult_model *, const penult_session_params *, uint64_t *, penult_error *) =
        api->session_measure;
    int32_t (*session_open)(penult_model *, const penult_session_params *, penult_session **, penult_error *) =
        api->session_open;
    void (*session_close)(penult_session *) = api->session_close;
    void (*session_cancel)(penult_session *) = api->session_cancel;
    int32_t (*encode_text)(penult_session *, const penult_text_request *, penult_text_result *, penult_error *) =
        api->encode_text;
    const void *(*extension)(const char *) = api->extension;
    int32_t (*model_hash)(const penult_model *, uint8_t *, int32_t (*)(void *, const penult_progress *), void *, penult_error *) =
        api->model_hash;
    const char *(*version)(void) = point->version;
    const penult_api *(*get_api)(uint32_t) = point->get_api;
    const penult_entry_point *(*entry)(void) = &penult_entry;
    void (*report)(void *, const penult_report *) = params->report;
    int32_t (*progress)(void *, const penult_progress *) = params->progress;
    request->progress = progress;
    (void)model_open, (void)model_close, (void)model_describe, (void)tokenize, (void)session_measure;
    (void)session_open, (void)session_close, (void)session_cancel, (void)encode_text, (void)extension;
    (void)model_hash, (void)version, (void)get_api, (void)entry, (void)report;
}
