#include "json.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

json_t *ptl_rt_json_parse(const char *text, size_t len)
{
    return json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

// Length of the UTF-8 character at s, 0 if there is none (RFC 3629: no overlong forms, no
// surrogates, nothing above U+10FFFF).
static size_t utf8_len(const unsigned char *s, size_t len)
{
    if (s[0] < 0x80) {
        return 1;
    }
    size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || n > len) {
        return 0;
    }
    unsigned char low = 0x80, high = 0xbf; // bounds of the second byte
    switch (s[0]) {
    case 0xe0:
        low = 0xa0;
        break;
    case 0xed:
        high = 0x9f;
        break;
    case 0xf0:
        low = 0x90;
        break;
    case 0xf4:
        high = 0x8f;
        break;
    default:
        break;
    }
    if (s[1] < low || s[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return n;
}

static void quote_char(struct ptl_rt_str *out, unsigned char c)
{
    static const char short_form[] = "\bb\tt\nn\ff\rr\"\"\\\\";
    for (size_t i = 0; short_form[i] != '\0'; i += 2) {
        if ((unsigned char)short_form[i] == c) {
            ptl_rt_str_char(out, '\\');
            ptl_rt_str_char(out, short_form[i + 1]);
            return;
        }
    }
    char text[8];
    snprintf(text, sizeof text, "\\u%04X", c);
    ptl_rt_str_text(out, text);
}

bool ptl_rt_json_quote(struct ptl_rt_str *out, const char *bytes, size_t len)
{
    const unsigned char *s = (const unsigned char *)bytes;
    size_t start = out->len;
    ptl_rt_str_char(out, '"');
    size_t plain = 0; // begin of the run not yet copied
    for (size_t i = 0; i < len;) {
        size_t n = utf8_len(s + i, len - i);
        if (n == 0) {
            out->len = start;
            return false;
        }
        if (s[i] < 0x20 || s[i] == '"' || s[i] == '\\') {
            ptl_rt_str_add(out, bytes + plain, i - plain);
            quote_char(out, s[i]);
            plain = i + 1;
        }
        i += n;
    }
    ptl_rt_str_add(out, bytes + plain, len - plain);
    ptl_rt_str_char(out, '"');
    return true;
}

static void write_real(struct ptl_rt_str *out, double value)
{
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    ptl_rt_str_text(out, text);
    if (strpbrk(text, ".e") == NULL) {
        ptl_rt_str_text(out, ".0");
    }
}

static int by_key(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void ptl_rt_json_members(struct ptl_rt_str *out, json_t *object)
{
    size_t count = json_object_size(object);
    const char **keys = ptl_rt_alloc(count * sizeof *keys);
    size_t n = 0;
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(object, key, value)
    {
        keys[n++] = key;
    }
    qsort(keys, n, sizeof *keys, by_key);
    for (size_t i = 0; i < n; i++) {
        if (i > 0) {
            ptl_rt_str_char(out, ',');
        }
        (void)ptl_rt_json_quote(out, keys[i], strlen(keys[i])); // the parser took it: UTF-8
        ptl_rt_str_char(out, ':');
        ptl_rt_json_write(out, json_object_get(object, keys[i]));
    }
    free(keys);
}

// Recursion is bounded by the parser's own limit on nesting (2,048).
void ptl_rt_json_write(struct ptl_rt_str *out, json_t *value)
{
    char text[32];
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        ptl_rt_str_char(out, '{');
        ptl_rt_json_members(out, value);
        ptl_rt_str_char(out, '}');
        break;
    case JSON_ARRAY:
        ptl_rt_str_char(out, '[');
        for (size_t i = 0; i < json_array_size(value); i++) {
            if (i > 0) {
                ptl_rt_str_char(out, ',');
            }
            ptl_rt_json_write(out, json_array_get(value, i));
        }
        ptl_rt_str_char(out, ']');
        break;
    case JSON_STRING:
        (void)ptl_rt_json_quote(out, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        ptl_rt_str_text(out, text);
        break;
    case JSON_REAL:
        write_real(out, json_real_value(value));
        break;
    case JSON_TRUE:
        ptl_rt_str_text(out, "true");
        break;
    case JSON_FALSE:
        ptl_rt_str_text(out, "false");
        break;
    case JSON_NULL:
        ptl_rt_str_text(out, "null");
        break;
    }
}

static size_t integer_term_bytes(json_int_t value)
{
    if (value >= 0 && value <= 255) {
        return 2;
    }
    if (value >= INT32_MIN && value <= INT32_MAX) {
        return 5;
    }
    size_t bytes = 3; // SMALL_BIG_EXT: tag, count, sign
    for (unsigned long long rest = value < 0 ? 0ull - (unsigned long long)value
                                             : (unsigned long long)value;
         rest > 0; rest >>= 8) {
        bytes++;
    }
    return bytes;
}

static size_t inner_term_bytes(json_t *value)
{
    size_t bytes = 0;
    const char *key = NULL;
    json_t *member = NULL;
    switch (json_typeof(value)) {
    case JSON_OBJECT: // MAP_EXT and its count; keys are BINARY_EXT
        bytes = 5;
        json_object_foreach(value, key, member)
        {
            bytes += 5 + strlen(key) + inner_term_bytes(member);
        }
        return bytes;
    case JSON_ARRAY: // LIST_EXT, count, elements, NIL_EXT; the empty list is NIL_EXT alone
        bytes = json_array_size(value) > 0 ? 6 : 1;
        for (size_t i = 0; i < json_array_size(value); i++) {
            bytes += inner_term_bytes(json_array_get(value, i));
        }
        return bytes;
    case JSON_STRING:
        return 5 + json_string_length(value);
    case JSON_INTEGER:
        return integer_term_bytes(json_integer_value(value));
    case JSON_REAL:
        return 9;
    case JSON_TRUE:
        return 2 + 4;
    case JSON_FALSE:
        return 2 + 5;
    case JSON_NULL:
        return 2 + 3; // the atom nil
    }
    return bytes;
}

size_t ptl_rt_json_term_bytes(json_t *value)
{
    return 1 + inner_term_bytes(value); // the version byte
}

bool ptl_rt_json_flag(const json_t *value, bool fallback)
{
    if (json_is_boolean(value)) {
        return json_is_true(value);
    }
    const char *text = json_string_value(value);
    if (text != NULL && strcasecmp(text, "true") == 0) {
        return true;
    }
    if (text != NULL && strcasecmp(text, "false") == 0) {
        return false;
    }
    return fallback;
}
