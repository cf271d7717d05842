/* condition_world.c - see condition_world.h. */
#include "condition_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../encoder/base/half.h"
#include "../../encoder/kernels/choose.h"
#include "../../encoder/kernels/cpu.h"
#include "fuzz.h"

#define SHIPPED "samples/model/tokenizer.json"
enum { VOCABULARY = 1000, MLP = 16, UNTOUCHED = 0xA5 };

const penult_api *api;
const penult_condition_api *condition;
penult_model *world_models[WORLD_MODELS];
penult_session *world_sessions[WORLD_MODELS];
const unsigned world_tokens[WORLD_MODELS] = {77, 12, 12};

/* ---- models ---- */

struct writer {
    char header[16384];
    size_t header_size, data_size;
    float data[2 * (VOCABULARY + 77) * WORLD_WIDTH];
    uint32_t random;
};

static void put(struct writer *w, const char *name, unsigned rows, unsigned columns, int broken) {
    size_t begin = w->data_size, count = (size_t)rows * (columns ? columns : 1);
    char shape[32];
    fuzz_require(begin + count <= sizeof w->data / sizeof w->data[0], "a model that does not fit");
    for (size_t i = 0; i < count; i++)
        w->data[w->data_size++] = broken ? float_from_bits(0x7FC00000) : (float)(int32_t)fuzz_below(&w->random, 129) / 64.0f - 1.0f;
    snprintf(shape, sizeof shape, columns ? "[%u,%u]" : "[%u]", rows, columns);
    w->header_size += (size_t)snprintf(w->header + w->header_size, sizeof w->header - w->header_size,
                                       "%s\"%s\":{\"dtype\":\"F32\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
                                       w->header_size ? "," : "{", name, shape, 4 * begin, 4 * w->data_size);
    fuzz_require(w->header_size < sizeof w->header, "a header that does not fit");
}

static void put_block(struct writer *w, unsigned block, int broken) {
    static const struct {
        const char *name;
        unsigned rows, columns;
    } parts[] = {{"layer_norm1", WORLD_WIDTH, 0}, {"layer_norm2", WORLD_WIDTH, 0},
                 {"self_attn.q_proj", WORLD_WIDTH, WORLD_WIDTH}, {"self_attn.k_proj", WORLD_WIDTH, WORLD_WIDTH},
                 {"self_attn.v_proj", WORLD_WIDTH, WORLD_WIDTH}, {"self_attn.out_proj", WORLD_WIDTH, WORLD_WIDTH},
                 {"mlp.fc1", MLP, WORLD_WIDTH}, {"mlp.fc2", WORLD_WIDTH, MLP}};
    char name[128];
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        snprintf(name, sizeof name, "text_model.encoder.layers.%u.%s.weight", block, parts[i].name);
        put(w, name, parts[i].rows, parts[i].columns, 0);
        snprintf(name, sizeof name, "text_model.encoder.layers.%u.%s.bias", block, parts[i].name);
        put(w, name, parts[i].rows, 0, broken && i == 7);
    }
}

static void write_file(const char *path, const void *const parts[], const size_t sizes[], size_t count) {
    FILE *file = fopen(path, "wb");
    for (size_t i = 0; i < count && file; i++)
        fuzz_require(fwrite(parts[i], 1, sizes[i], file) == sizes[i], "no file for a tiny model");
    fuzz_require(file && fclose(file) == 0, "no file for a tiny model");
}

static void write_model(const char *folder, unsigned tokens, int broken) {
    static struct writer w;
    char path[128], config[512];
    unsigned char size[8] = {0};
    w = (struct writer){.random = 7};
    put(&w, "text_model.embeddings.token_embedding.weight", VOCABULARY, WORLD_WIDTH, 0);
    put(&w, "text_model.embeddings.position_embedding.weight", tokens, WORLD_WIDTH, 0);
    for (unsigned block = 0; block < WORLD_LAYERS; block++)
        put_block(&w, block, broken && block + 1 == WORLD_LAYERS);
    put(&w, "text_model.final_layer_norm.weight", WORLD_WIDTH, 0, 0);
    put(&w, "text_model.final_layer_norm.bias", WORLD_WIDTH, 0, 0);
    put(&w, "text_projection.weight", WORLD_PROJECTION, WORLD_WIDTH, 0);
    w.header[w.header_size++] = '}';
    for (int i = 0; i < 8; i++)
        size[i] = (unsigned char)(w.header_size >> 8 * i);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    write_file(path, (const void *[]){size, w.header, w.data}, (size_t[]){8, w.header_size, 4 * w.data_size}, 3);
    int length = snprintf(config, sizeof config, "{\"architectures\":[\"CLIPTextModelWithProjection\"],\"hidden_size\":%d,"
                          "\"num_hidden_layers\":%d,\"num_attention_heads\":2,\"intermediate_size\":%d,"
                          "\"max_position_embeddings\":%u,\"vocab_size\":%d,\"projection_dim\":%d,\"eos_token_id\":999,"
                          "\"hidden_act\":\"gelu\"}", WORLD_WIDTH, WORLD_LAYERS, MLP, tokens, VOCABULARY, WORLD_PROJECTION);
    snprintf(path, sizeof path, "%s/config.json", folder);
    write_file(path, (const void *[]){config}, (size_t[]){(size_t)length}, 1);
}

void world_start(void) {
    api = penult_entry()->get_api(PENULT_ABI_VERSION);
    condition = api->extension(PENULT_CONDITION);
    for (int i = 0; i < WORLD_MODELS; i++) {
        char folder[] = P_tmpdir "/penult-fuzz-XXXXXX", path[128];
        penult_error error = {.status = 0};
        fuzz_require(mkdtemp(folder) != NULL, "no folder for a tiny model");
        write_model(folder, world_tokens[i], i == BROKEN);
        penult_open_params params = {.struct_size = sizeof params, .access = PENULT_COPY, .path = folder, .tokenizer_path = SHIPPED};
        penult_session_params session = {.struct_size = sizeof session, .threads = 1};
        if (api->model_open(&params, &world_models[i], &error) || api->session_open(world_models[i], &session, &world_sessions[i], &error))
            fuzz_require(0, error.message);
        static const char *const files[] = {"model.safetensors", "config.json"};
        for (size_t k = 0; k < 2; k++) {
            snprintf(path, sizeof path, "%s/%s", folder, files[k]);
            unlink(path);
        }
        rmdir(folder);
    }
}

/* Kernels are taken without being compared with the scalar ones, which takes longer than all the rest of an input. */
int __wrap_kernels_choose(struct kernels *out, enum kernel_set most, enum arithmetic arithmetic, int *rejected, struct fault *fault);
int __wrap_kernels_choose(struct kernels *out, enum kernel_set most, enum arithmetic arithmetic, int *rejected, struct fault *fault) {
    (void)fault;
    *rejected = 0;
    kernels_fill(out, most, arithmetic, cpu_features());
    return 0;
}

/* ---- tensors ---- */

void world_tensors_make(struct world_tensors *out, const penult_pipeline *pipeline, uint32_t wanted, const uint32_t chunks[2],
                        uint32_t dtype, size_t gap) {
    *out = (struct world_tensors){.count = 0};
    for (uint32_t i = 0; i < WORLD_TENSORS; i++) {
        penult_tensor_info told = {.struct_size = sizeof told};
        if (condition->tensor(pipeline, i, 1, &told, NULL) || !(wanted >> i & 1))
            continue;
        uint32_t windows = chunks[strncmp(told.name, "negative_", 9) == 0];
        fuzz_require(condition->tensor(pipeline, i, windows ? windows : 1, &told, NULL) == PENULT_OK, "a tensor without a shape");
        struct world_tensor *t = &out->of[out->count];
        int is_context = told.rank == 3;
        t->name = told.name;
        t->rows = is_context ? told.shape[1] : 1;
        t->row_bytes = told.shape[told.rank - 1] * (dtype == PENULT_F32 ? 4 : 2);
        t->pitch = t->row_bytes + (is_context ? gap : 0);
        t->bytes = (t->rows - 1) * t->pitch + t->row_bytes;
        t->data = malloc(t->bytes);
        fuzz_require(t->data != NULL, "the test has no memory");
        memset(t->data, UNTOUCHED, t->bytes);
        out->named[out->count++] = (penult_named_tensor){
            told.name, {.data = t->data, .bytes = t->bytes, .row_pitch = is_context ? t->pitch : 0, .dtype = dtype}};
    }
}

void world_tensors_free(struct world_tensors *tensors) {
    for (uint32_t i = 0; i < tensors->count; i++)
        free(tensors->of[i].data);
}

static const struct world_tensor *same_name(const struct world_tensors *all, const char *name) {
    uint32_t i = 0;
    while (i < all->count && strcmp(all->of[i].name, name) != 0)
        i++;
    return i < all->count ? &all->of[i] : NULL;
}

void world_tensors_same(const struct world_tensors *some, const struct world_tensors *all, const char *what) {
    for (uint32_t i = 0; i < some->count; i++) {
        const struct world_tensor *a = &some->of[i], *b = same_name(all, a->name);
        fuzz_require(b && a->rows == b->rows && a->row_bytes == b->row_bytes, "tensors of another shape");
        for (size_t row = 0; row < a->rows; row++) {
            const unsigned char *end = a->data + row * a->pitch + a->row_bytes;
            fuzz_require(memcmp(a->data + row * a->pitch, b->data + row * b->pitch, a->row_bytes) == 0, what);
            for (size_t k = 0; row + 1 < a->rows && k < a->pitch - a->row_bytes; k++)
                fuzz_require(end[k] == UNTOUCHED, "bytes between rows were written");
        }
    }
}
