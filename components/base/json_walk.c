// json_walk.c - taking apart a text that was checked. Form is relied on, bounds never are: a text
// that was not checked gives nonsense, but nothing outside it is read.
#include "json_internal.h"

#include <string.h>

static const uint8_t *skip_string(const uint8_t *p, const uint8_t *end)
{
    for (p++; p < end; p++) {
        if (*p == '"') {
            return p + 1;
        }
        if (*p == '\\' && end - p > 1) {
            p++;
        }
    }
    return end;
}

static const uint8_t *skip_container(const uint8_t *p, const uint8_t *end)
{
    size_t depth = 0;
    while (p < end) {
        uint8_t c = *p;
        if (c == '"') {
            p = skip_string(p, end);
            continue;
        }
        p++;
        if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            depth--;
            if (depth == 0) {
                return p;
            }
        }
    }
    return end;
}

static const uint8_t *skip_value(const uint8_t *p, const uint8_t *end)
{
    if (p < end && *p == '"') {
        return skip_string(p, end);
    }
    if (p < end && (*p == '{' || *p == '[')) {
        return skip_container(p, end);
    }
    while (p < end && *p != ',' && *p != '}' && *p != ']' && !ptl_json_is_space(*p)) {
        p++;
    }
    return p;
}

static const uint8_t *skip_between(const uint8_t *p, const uint8_t *end, uint8_t mark)
{
    while (p < end && (*p == mark || ptl_json_is_space(*p))) {
        p++;
    }
    return p;
}

struct ptl_json_iter ptl_json_iterate(struct ptl_json_value container)
{
    PTL_ASSERT(container.type == PTL_JSON_OBJECT || container.type == PTL_JSON_ARRAY);
    PTL_ASSERT(container.text.len >= 2);
    return (struct ptl_json_iter){
        .at = container.text.ptr + 1,
        .end = container.text.ptr + container.text.len - 1,
        .object = container.type == PTL_JSON_OBJECT,
    };
}

bool ptl_json_next(struct ptl_json_iter *iter, struct ptl_span *key, struct ptl_json_value *value)
{
    PTL_ASSERT(iter->at <= iter->end);
    const uint8_t *end = iter->end;
    const uint8_t *p = skip_between(iter->at, end, ',');
    struct ptl_span name = {p, 0};
    if (iter->object && p < end) {
        const uint8_t *name_end = skip_string(p, end);
        if (name_end - p >= 2) {
            name = (struct ptl_span){p + 1, (size_t)(name_end - p) - 2};
        }
        p = skip_between(name_end, end, ':');
    }
    if (p == end) {
        iter->at = end;
        return false;
    }
    const uint8_t *value_end = skip_value(p, end);
    *value =
        (struct ptl_json_value){.type = ptl_json_type_of(*p), .text = {p, (size_t)(value_end - p)}};
    if (key != NULL) {
        *key = name;
    }
    // At least one byte a turn, so that no text makes a caller's loop endless.
    iter->at = value_end > iter->at ? value_end : iter->at + 1;
    return true;
}

bool ptl_json_member(struct ptl_json_value object, const char *name, struct ptl_json_value *value)
{
    PTL_ASSERT(name != NULL);
    if (object.type != PTL_JSON_OBJECT) {
        return false;
    }
    struct ptl_json_iter iter = ptl_json_iterate(object);
    struct ptl_span key;
    while (ptl_json_next(&iter, &key, value)) {
        if (ptl_json_text_equals(key, name)) {
            return true;
        }
    }
    return false;
}

static size_t encode_utf8(uint32_t code, uint8_t *out)
{
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    static const uint8_t leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--) {
        out[i] = (uint8_t)(0x80 | (code & 0x3f));
        code >>= 6;
    }
    out[0] = (uint8_t)(leads[len] | code);
    return len;
}

// `p` is the backslash of a `\u` with four hex digits behind it, `code` their value. Takes the
// second half of a pair with it.
static const uint8_t *decode_pair(const uint8_t *p, const uint8_t *end, uint32_t *code)
{
    p += 6;
    if (*code >= 0xd800 && *code <= 0xdbff && end - p >= 6 && p[0] == '\\' && p[1] == 'u') {
        int32_t low = ptl_json_hex4(p + 2);
        if (low >= 0xdc00 && low <= 0xdfff) {
            *code = 0x10000 + ((*code - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
            p += 6;
        }
    }
    return p;
}

// Undoes what stands at `p` (before `end`) into out[4], at least one byte; returns what is behind
// it. Bytes of characters that are not escaped come one by one.
static const uint8_t *decode(const uint8_t *p, const uint8_t *end, uint8_t *out, size_t *len)
{
    static const char meanings[] = "b\bf\fn\nr\rt\t";
    *len = 1;
    out[0] = *p;
    if (*p != '\\' || end - p < 2) {
        return p + 1;
    }
    if (p[1] == 'u' && end - p >= 6) {
        int32_t code = ptl_json_hex4(p + 2);
        uint32_t whole = code < 0 ? 0 : (uint32_t)code;
        p = decode_pair(p, end, &whole);
        *len = encode_utf8(whole, out);
        return p;
    }
    out[0] = p[1]; // quote, backslash and slash mean themselves
    for (size_t i = 0; i < sizeof(meanings) - 1; i += 2) {
        if (p[1] == (uint8_t)meanings[i]) {
            out[0] = (uint8_t)meanings[i + 1];
        }
    }
    return p + 2;
}

// Whether the body begins with all of `text`; *rest is what is left of it.
static bool begins_with(struct ptl_span raw, const char *text, size_t *rest)
{
    PTL_ASSERT(text != NULL);
    const uint8_t *p = raw.ptr;
    const uint8_t *end = raw.ptr + raw.len;
    size_t left = strlen(text);
    while (left > 0) {
        uint8_t bytes[4];
        size_t len;
        if (p == end) {
            return false;
        }
        p = decode(p, end, bytes, &len);
        size_t shared = len < left ? len : left;
        if (memcmp(bytes, text, shared) != 0) {
            return false;
        }
        text += shared;
        left -= shared;
        if (shared < len) {
            // The text ends inside a character of the body.
            *rest = 1;
            return left == 0;
        }
    }
    *rest = (size_t)(end - p);
    return true;
}

bool ptl_json_text_equals(struct ptl_span raw, const char *text)
{
    size_t rest = raw.len;
    if (raw.len == 0) {
        return *text == '\0';
    }
    return begins_with(raw, text, &rest) && rest == 0;
}

bool ptl_json_text_has_prefix(struct ptl_span raw, const char *prefix)
{
    size_t rest;
    if (raw.len == 0) {
        return *prefix == '\0';
    }
    return begins_with(raw, prefix, &rest);
}

struct ptl_span ptl_json_string_body(struct ptl_json_value string)
{
    PTL_ASSERT(string.type == PTL_JSON_STRING);
    PTL_ASSERT(string.text.len >= 2);
    return (struct ptl_span){string.text.ptr + 1, string.text.len - 2};
}

enum ptl_status ptl_json_unescape(struct ptl_span raw, uint8_t *buf, size_t cap, size_t *len)
{
    PTL_ASSERT(buf != NULL || cap == 0);
    PTL_ASSERT(len != NULL);
    size_t used = 0;
    const uint8_t *p = raw.ptr;
    // Compared by what is left, so that an empty body may come without a pointer.
    for (size_t left = raw.len; left > 0;) {
        uint8_t bytes[4];
        size_t count;
        const uint8_t *next = decode(p, p + left, bytes, &count);
        if (count > cap - used) {
            return PTL_E_TOO_BIG;
        }
        memcpy(buf + used, bytes, count);
        used += count;
        left -= (size_t)(next - p);
        p = next;
    }
    *len = used;
    return PTL_OK;
}

enum ptl_status ptl_json_u64(struct ptl_json_value number, uint64_t *out)
{
    if (number.type != PTL_JSON_NUMBER) {
        return PTL_E_FORMAT;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < number.text.len; i++) {
        uint32_t digit = (uint32_t)number.text.ptr[i] - '0';
        if (digit > 9 || value > UINT64_MAX / 10 || value * 10 > UINT64_MAX - digit) {
            return PTL_E_FORMAT;
        }
        value = value * 10 + digit;
    }
    *out = value;
    return number.text.len > 0 ? PTL_OK : PTL_E_FORMAT;
}
