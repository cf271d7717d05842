/* conditioning_tokens.c - the towers of a manifest, and the columns of their tokens as the list that a plan gives. */
#include <math.h>
#include <string.h>

#include "conditioning_inside.h"

enum column { COLUMN_ID, COLUMN_WEIGHT, COLUMN_CHUNK, COLUMN_ROW, COLUMN_BEGIN, COLUMN_END, COLUMNS };

static const char *const column_names[COLUMNS] = {"id", "weight", "chunk", "row", "begin", "end"};
static const char *const side_names[2] = {"tokens", "negative_tokens"};

/* Six columns of one length. */
static bool find_columns(struct reader *reader, const json_value *object, const char *side, const json_value *heads[COLUMNS],
                         size_t *count) {
    for (int c = 0; c < COLUMNS; c++) {
        const json_value *list = json_member(object, column_names[c]);
        if (list == NULL || json_kind(list) != JSON_ARRAY) {
            return conditioning_refuse(reader, "the manifest's %s have no column %s", side, column_names[c]);
        }
        size_t length = json_count(list);
        if (c > 0 && length != *count) {
            return conditioning_refuse(reader, "the manifest's %s have columns of %zu and of %zu", side, *count, length);
        }
        *count = length;
        heads[c] = json_first(list);
    }
    return true;
}

/* chunk and row: both null for a token that was cut. */
static bool take_place(const struct conditioning_file *file, const json_value *const cells[COLUMNS], uint32_t negative,
                       penult_condition_token *token) {
    int64_t most = negative ? file->negative_chunks : file->chunks, chunk, row;
    if (json_kind(cells[COLUMN_CHUNK]) == JSON_NULL && json_kind(cells[COLUMN_ROW]) == JSON_NULL) {
        token->chunk = PENULT_CHUNK_CUT;
        return true;
    }
    /* parts that compel blends lie over each other: their windows are not those of the tensor */
    most = file->applied.dialect != NULL && strcmp(file->applied.dialect, "compel") == 0 ? CONDITIONING_WINDOWS_MAX : most;
    if (!json_take_whole(cells[COLUMN_CHUNK], 0, most - 1, &chunk) || !json_take_whole(cells[COLUMN_ROW], 1, file->window - 2, &row)) {
        return false;
    }
    token->chunk = (uint32_t)chunk;
    token->row = (uint32_t)row;
    return true;
}

static bool take_token(const struct conditioning_file *file, const json_value *const cells[COLUMNS], uint32_t tower,
                       uint32_t negative, penult_condition_token *token) {
    int64_t id, begin, end;
    *token = (penult_condition_token){.tower = tower, .negative = negative, .weight = NAN};
    bool is_weight = json_take_real(cells[COLUMN_WEIGHT], &token->weight) || json_kind(cells[COLUMN_WEIGHT]) == JSON_NULL;
    if (!is_weight || !json_take_whole(cells[COLUMN_ID], 0, INT32_MAX, &id) ||
        !json_take_whole(cells[COLUMN_BEGIN], 0, CONDITIONING_MANIFEST_MAX, &begin) ||
        !json_take_whole(cells[COLUMN_END], 0, CONDITIONING_MANIFEST_MAX, &end) || begin > end) {
        return false;
    }
    token->id = (int32_t)id;
    token->begin = (uint64_t)begin;
    token->end = (uint64_t)end;
    return take_place(file, cells, negative, token);
}

static bool take_tokens(struct reader *reader, const json_value *entry, uint32_t tower, uint32_t negative) {
    struct conditioning_file *file = reader->file;
    struct conditioning_tower *to = &file->towers[tower];
    const json_value *cells[COLUMNS] = {NULL};
    if (!find_columns(reader, json_member(entry, side_names[negative]), side_names[negative], cells, &to->count[negative])) {
        return false;
    }
    size_t count = to->count[negative];
    to->first[negative] = file->token_count;
    for (size_t i = 0; i < count; i++) {
        if (!take_token(file, cells, tower, negative, &file->tokens[file->token_count])) {
            return conditioning_refuse(reader, "token %zu of the manifest's %s of tower %u has a number that cannot be", i,
                                       side_names[negative], tower);
        }
        file->token_count++;
        for (int c = 0; c < COLUMNS; c++) {
            cells[c] = json_after(cells[c]);
        }
    }
    return true;
}

static bool is_digest(const char *text) {
    return strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

static bool take_tower(struct reader *reader, const json_value *entry) {
    struct conditioning_file *file = reader->file;
    uint32_t index = (uint32_t)file->tower_count;
    struct conditioning_tower *tower = &file->towers[index];
    int64_t width, projection;
    if (json_kind(entry) != JSON_OBJECT || !conditioning_string(reader, entry, "name", false, &tower->name) ||
        !conditioning_string(reader, entry, "model", false, &tower->model) ||
        !conditioning_string(reader, entry, "weights", true, &tower->weights) ||
        !conditioning_string(reader, entry, "activation", false, &tower->activation) ||
        !conditioning_string(reader, entry, "computed_with", false, &tower->computed_with) ||
        !conditioning_whole(reader, entry, "width", 1, 1 << 20, &width) ||
        !conditioning_whole(reader, entry, "projection", 0, 1 << 20, &projection)) {
        return json_kind(entry) == JSON_OBJECT ? false : conditioning_refuse(reader, "a tower of the manifest is not an object");
    }
    if (!json_take_bool(json_member(entry, "second_prompt"), &tower->second_prompt)) {
        return conditioning_refuse(reader, "the manifest's second_prompt is not true or false");
    }
    if (tower->weights != NULL && !is_digest(tower->weights)) {
        return conditioning_refuse(reader, "the weights of a tower of the manifest are not 64 hexadecimal digits");
    }
    tower->width = (uint32_t)width;
    tower->projection = (uint32_t)projection;
    file->tower_count++;
    return take_tokens(reader, entry, index, 0) && take_tokens(reader, entry, index, 1);
}

size_t conditioning_count_tokens(const json_value *manifest) {
    const json_value *list = json_member(manifest, "towers");
    size_t count = 0;
    for (const json_value *at = list != NULL ? json_first(list) : NULL; at != NULL; at = json_after(at)) {
        for (int side = 0; side < 2; side++) {
            const json_value *ids = json_member(json_member(at, side_names[side]), column_names[COLUMN_ID]);
            count += ids != NULL ? json_count(ids) : 0;
        }
    }
    return count;
}

bool conditioning_take_towers(struct reader *reader) {
    struct conditioning_file *file = reader->file;
    const json_value *list = json_member(file->manifest, "towers");
    uint64_t cut = 0;
    if (list == NULL || json_kind(list) != JSON_ARRAY || json_count(list) < 1 || json_count(list) > CONDITIONING_TOWERS_MAX) {
        return conditioning_refuse(reader, "the manifest has not 1 to %d towers", CONDITIONING_TOWERS_MAX);
    }
    for (const json_value *at = json_first(list); at != NULL; at = json_after(at)) {
        if (!take_tower(reader, at)) {
            return false;
        }
    }
    for (size_t i = 0; i < file->token_count; i++) {
        cut += file->tokens[i].chunk == PENULT_CHUNK_CUT;
    }
    return cut == file->cut ||
           conditioning_refuse(reader, "the manifest says that %llu tokens were cut, and of its tokens %llu were",
                               (unsigned long long)file->cut, (unsigned long long)cut);
}
