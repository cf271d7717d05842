/* json.c - see json.h. Strings are quoted here and handed over as raw text, because cJSON's end at the first NUL and
 * take any bytes for UTF-8; numbers likewise, because cJSON's are doubles. */
#include "json.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../picture/text.h"
#include "say.h"

json json_begin(bool *failed) {
    json root = {cJSON_CreateObject(), failed};
    *failed = root.node == NULL;
    return root;
}

void json_end(json root) {
    cJSON_Delete(root.node);
}

static json add(json into, const char *key, cJSON *child) {
    json added = {child, into.failed};
    bool done = child != NULL && into.node != NULL &&
                (key != NULL ? cJSON_AddItemToObject(into.node, key, child) : cJSON_AddItemToArray(into.node, child));
    if (!done) {
        cJSON_Delete(child);
        *into.failed = true;
        added.node = NULL;
    }
    return added;
}

json json_add_object(json into, const char *key) {
    return add(into, key, cJSON_CreateObject());
}

json json_add_array(json into, const char *key) {
    return add(into, key, cJSON_CreateArray());
}

/* Writes the quoted form of one character; at most 6 bytes. */
static size_t quote(char *to, const char *bytes, size_t taken, uint32_t code) {
    if (taken == 0) {
        memcpy(to, "\\uFFFD", 6);
        return 6;
    }
    if (code == '"' || code == '\\') {
        to[0] = '\\';
        to[1] = (char)code;
        return 2;
    }
    if (code < 0x20 || code == 0x7F) {
        static const char digits[] = "0123456789ABCDEF";
        const char escaped[6] = {'\\', 'u', '0', '0', digits[code >> 4 & 15u], digits[code & 15u]};
        memcpy(to, escaped, 6);
        return 6;
    }
    memcpy(to, bytes, taken);
    return taken;
}

void json_add_text(json into, const char *key, const char *bytes, size_t count) {
    char *quoted = count < (SIZE_MAX - 3) / 6 ? malloc(count * 6 + 3) : NULL;
    if (quoted == NULL) {
        *into.failed = true;
        return;
    }
    size_t used = 0;
    quoted[used++] = '"';
    while (count > 0) {
        uint32_t code;
        size_t taken = text_decode(bytes, count, &code);
        size_t step = taken == 0 ? 1 : taken;
        used += quote(quoted + used, bytes, taken, code);
        bytes += step;
        count -= step;
    }
    quoted[used++] = '"';
    quoted[used] = '\0';
    add(into, key, cJSON_CreateRaw(quoted));
    free(quoted);
}

void json_add_string(json into, const char *key, const char *string) {
    json_add_text(into, key, string, strlen(string));
}

void json_add_integer(json into, const char *key, int64_t value) {
    char digits[32];
    snprintf(digits, sizeof digits, "%lld", (long long)value);
    add(into, key, cJSON_CreateRaw(digits));
}

void json_add_unsigned(json into, const char *key, uint64_t value) {
    char digits[32];
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
    add(into, key, cJSON_CreateRaw(digits));
}

static void add_double(json into, const char *key, double value, int most) {
    char digits[32];
    if (!isfinite(value)) {
        json_add_null(into, key);
        return;
    }
    snprintf(digits, sizeof digits, "%.*g", most, value);
    add(into, key, cJSON_CreateRaw(digits));
}

void json_add_real(json into, const char *key, double value) {
    add_double(into, key, value, 9);
}

void json_add_exact(json into, const char *key, double value) {
    for (int most = 9; most < 17; most++) {
        char digits[32];
        snprintf(digits, sizeof digits, "%.*g", most, value);
        if (strtod(digits, NULL) == value) {
            add_double(into, key, value, most);
            return;
        }
    }
    add_double(into, key, value, 17);
}

void json_add_bool(json into, const char *key, bool value) {
    add(into, key, cJSON_CreateBool(value));
}

void json_add_null(json into, const char *key) {
    add(into, key, cJSON_CreateNull());
}

char *json_text(json root, bool indented) {
    if (*root.failed) {
        return NULL;
    }
    return indented ? cJSON_Print(root.node) : cJSON_PrintUnformatted(root.node);
}

int json_print(json root) {
    char *text = json_text(root, true);
    if (text == NULL) {
        return say_failed("no memory for the JSON of the result");
    }
    puts(text);
    free(text);
    return STATUS_OK;
}
