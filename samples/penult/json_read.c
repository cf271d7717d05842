/* json_read.c - see json_read.h. cJSON reads; what it would let pass is looked for before and after. */
#include "json_read.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../picture/text.h"

#define DEPTH_MAX 16

/* cJSON takes control characters in strings, any bytes for UTF-8, and ends its strings at the first NUL. */
static const char *check_bytes(const char *text, size_t size) {
    bool in_string = false;
    for (size_t at = 0; at < size;) {
        uint32_t code;
        size_t taken = text_decode(text + at, size - at, &code);
        if (taken == 0) {
            return "is not UTF-8";
        }
        if (code < 0x20) {
            return "has a control character";
        }
        if (in_string && code == '\\') {
            if (size - at >= 6 && memcmp(text + at, "\\u0000", 6) == 0) {
                return "has a NUL in a string";
            }
            at += at + 1 < size ? 1 : 0; /* what is escaped ends no string */
        } else if (code == '"') {
            in_string = !in_string;
        }
        at += taken;
    }
    return NULL;
}

/* No recursion: a value knows no parent, so the way back is kept here. */
static const char *check_members(const cJSON *root) {
    const cJSON *way[DEPTH_MAX];
    size_t depth = 0;
    for (const cJSON *at = root; at != NULL;) {
        if (cJSON_IsObject(at)) {
            size_t count = 0;
            for (const cJSON *member = at->child; member != NULL; member = member->next) {
                if (++count > JSON_MEMBERS_MAX) {
                    return "has an object of too many members";
                }
                for (const cJSON *before = at->child; before != member; before = before->next) {
                    if (strcmp(before->string, member->string) == 0) {
                        return "has a key twice in an object";
                    }
                }
            }
        }
        if (at->child != NULL && depth == DEPTH_MAX) {
            return "is nested too deep";
        }
        if (at->child != NULL) {
            way[depth++] = at;
            at = at->child;
            continue;
        }
        while (at != root && at->next == NULL && depth > 0) {
            at = way[--depth];
        }
        at = at == root ? NULL : at->next;
    }
    return NULL;
}

json_value *json_parse(const char *text, size_t size, const char **why) {
    *why = check_bytes(text, size);
    if (*why != NULL) {
        return NULL;
    }
    const char *end = NULL;
    cJSON *root = cJSON_ParseWithLengthOpts(text, size, &end, false);
    *why = root != NULL ? check_members(root) : "is not JSON";
    while (*why == NULL && end < text + size) {
        *why = *end++ == ' ' ? NULL : "has something behind its end";
    }
    if (*why != NULL) {
        cJSON_Delete(root);
        return NULL;
    }
    return root;
}

void json_drop(json_value *value) {
    cJSON_Delete(value);
}

enum json_kind json_kind(const json_value *value) {
    return cJSON_IsBool(value)     ? JSON_BOOL
           : cJSON_IsNumber(value) ? JSON_NUMBER
           : cJSON_IsString(value) ? JSON_STRING
           : cJSON_IsArray(value)  ? JSON_ARRAY
           : cJSON_IsObject(value) ? JSON_OBJECT
                                   : JSON_NULL;
}

size_t json_count(const json_value *array_or_object) {
    size_t count = 0;
    for (const cJSON *at = json_first(array_or_object); at != NULL; at = at->next) {
        count++;
    }
    return count;
}

const json_value *json_first(const json_value *array_or_object) {
    return cJSON_IsArray(array_or_object) || cJSON_IsObject(array_or_object) ? array_or_object->child : NULL;
}

const json_value *json_after(const json_value *value) {
    return value->next;
}

const char *json_key(const json_value *member) {
    return member->string != NULL ? member->string : "";
}

const json_value *json_member(const json_value *object, const char *key) {
    return cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, key) : NULL;
}

bool json_take_string(const json_value *value, const char **out) {
    if (!cJSON_IsString(value)) {
        return false;
    }
    *out = value->valuestring;
    return true;
}

bool json_take_bool(const json_value *value, bool *out) {
    if (!cJSON_IsBool(value)) {
        return false;
    }
    *out = cJSON_IsTrue(value);
    return true;
}

bool json_take_real(const json_value *value, double *out) {
    if (!cJSON_IsNumber(value) || !isfinite(value->valuedouble)) {
        return false;
    }
    *out = value->valuedouble;
    return true;
}

bool json_take_whole(const json_value *value, int64_t lowest, int64_t highest, int64_t *out) {
    double number;
    if (!json_take_real(value, &number) || number != floor(number) || number < (double)lowest || number > (double)highest) {
        return false;
    }
    *out = (int64_t)number;
    return true;
}
