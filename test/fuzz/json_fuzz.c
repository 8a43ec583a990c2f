// Goal: the strict JSON checker takes what the grammar allows and nothing else, and nothing that it
// took is walked wrongly. Method: a second parser, written plainly by recursion from RFC 8259 with
// the C library's strtod for the range of numbers, must reach the same verdict on every input; what
// passes is walked to its last leaf and checked again piece by piece. The first byte of the input
// is the depth allowed.
#include <math.h>

#include "fuzz.h"
#include "ptl_bytes.h"
#include "ptl_json.h"

struct plain {
    const uint8_t *p;
    const uint8_t *end;
    bool too_deep;
};

static bool plain_value(struct plain *in, unsigned depth);

static void plain_space(struct plain *in)
{
    while (in->p < in->end && memchr(" \t\r\n", *in->p, 4) != NULL) {
        in->p++;
    }
}

static bool plain_byte(struct plain *in, char c)
{
    if (in->p < in->end && *in->p == (uint8_t)c) {
        in->p++;
        return true;
    }
    return false;
}

static long plain_hex4(struct plain *in)
{
    char hex[5] = {0};
    for (int i = 0; i < 4; i++) {
        if (in->p == in->end || memchr("0123456789abcdefABCDEF", *in->p, 22) == NULL) {
            return -1;
        }
        hex[i] = (char)*in->p++;
    }
    return strtol(hex, NULL, 16);
}

static bool plain_escape(struct plain *in)
{
    if (in->p == in->end) {
        return false;
    }
    uint8_t c = *in->p++;
    if (c != 'u') {
        return memchr("\"\\/bfnrt", c, 8) != NULL;
    }
    long code = plain_hex4(in);
    if (code <= 0 || (code >= 0xdc00 && code <= 0xdfff)) {
        return false;
    }
    if (code >= 0xd800 && code <= 0xdbff) {
        long low = plain_byte(in, '\\') && plain_byte(in, 'u') ? plain_hex4(in) : -1;
        return low >= 0xdc00 && low <= 0xdfff;
    }
    return true;
}

// By decoding and encoding again: what does not give the same bytes was not the shortest form.
static bool plain_utf8(struct plain *in)
{
    uint8_t lead = *in->p;
    size_t more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc0 || lead > 0xf7 || (size_t)(in->end - in->p) <= more) {
        return false;
    }
    uint32_t code = lead & (0x3fu >> more);
    for (size_t i = 1; i <= more; i++) {
        if (in->p[i] >> 6 != 2) {
            return false;
        }
        code = code << 6 | (in->p[i] & 0x3fu);
    }
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    in->p += more + 1;
    return code >= least[more] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
}

static bool plain_string(struct plain *in)
{
    if (!plain_byte(in, '"')) {
        return false;
    }
    while (in->p < in->end && *in->p != '"') {
        bool good = *in->p >= 0x20;
        if (*in->p == '\\') {
            in->p++;
            good = plain_escape(in);
        } else if (*in->p >= 0x80) {
            good = plain_utf8(in);
        } else {
            in->p++;
        }
        if (!good) {
            return false;
        }
    }
    return plain_byte(in, '"');
}

static bool plain_digits(struct plain *in)
{
    const uint8_t *begin = in->p;
    while (in->p < in->end && *in->p >= '0' && *in->p <= '9') {
        in->p++;
    }
    return in->p > begin;
}

static bool plain_number(struct plain *in)
{
    const uint8_t *begin = in->p;
    (void)plain_byte(in, '-');
    if (!plain_byte(in, '0') && !plain_digits(in)) {
        return false;
    }
    if (plain_byte(in, '.') && !plain_digits(in)) {
        return false;
    }
    bool all_zero = true;
    for (const uint8_t *p = begin; p < in->p; p++) {
        all_zero = all_zero && (*p < '1' || *p > '9');
    }
    if (plain_byte(in, 'e') || plain_byte(in, 'E')) {
        (void)(plain_byte(in, '+') || plain_byte(in, '-'));
        if (!plain_digits(in)) {
            return false;
        }
    }
    char text[PTL_JSON_NUMBER_MAX + 1] = {0};
    size_t len = (size_t)(in->p - begin);
    if (len > PTL_JSON_NUMBER_MAX) {
        return false;
    }
    memcpy(text, begin, len);
    double value = strtod(text, NULL);
    return isfinite(value) && (value != 0 || all_zero);
}

static bool plain_word(struct plain *in, const char *word)
{
    size_t len = strlen(word);
    bool there = (size_t)(in->end - in->p) >= len && memcmp(in->p, word, len) == 0;
    in->p += there ? len : 0;
    return there;
}

static bool plain_container(struct plain *in, unsigned depth, bool object)
{
    char close = object ? '}' : ']';
    if (depth == 0) {
        in->too_deep = true;
        return false;
    }
    in->p++;
    plain_space(in);
    if (plain_byte(in, close)) {
        return true;
    }
    do {
        plain_space(in);
        if (object) {
            if (!plain_string(in)) {
                return false;
            }
            plain_space(in);
            if (!plain_byte(in, ':')) {
                return false;
            }
        }
        if (!plain_value(in, depth - 1)) {
            return false;
        }
        plain_space(in);
    } while (plain_byte(in, ','));
    return plain_byte(in, close);
}

static bool plain_value(struct plain *in, unsigned depth)
{
    plain_space(in);
    if (in->p == in->end) {
        return false;
    }
    switch (*in->p) {
    case '{':
        return plain_container(in, depth, true);
    case '[':
        return plain_container(in, depth, false);
    case '"':
        return plain_string(in);
    case 't':
        return plain_word(in, "true");
    case 'f':
        return plain_word(in, "false");
    case 'n':
        return plain_word(in, "null");
    default:
        return plain_number(in);
    }
}

static enum ptl_status plain_check(struct ptl_span text, unsigned depth)
{
    struct plain in = {text.ptr, text.ptr + text.len, false};
    bool good = plain_value(&in, depth);
    plain_space(&in);
    if (good && in.p == in.end) {
        return PTL_OK;
    }
    return in.too_deep ? PTL_E_TOO_BIG : PTL_E_FORMAT;
}

// Every string body, escapes undone, is UTF-8 without NUL, and equals itself.
static void check_string(struct ptl_span body)
{
    uint8_t *plain = malloc(body.len + 1);
    CHECK(plain != NULL);
    size_t len;
    CHECK(ptl_json_unescape(body, plain, body.len, &len) == PTL_OK);
    CHECK(len <= body.len);
    CHECK(ptl_utf8_valid((struct ptl_span){plain, len}));
    CHECK(memchr(plain, 0, len) == NULL);
    plain[len] = '\0';
    CHECK(ptl_json_text_equals(body, (const char *)plain));
    CHECK(ptl_json_text_has_prefix(body, (const char *)plain));
    free(plain);
}

static void walk(struct ptl_json_value value, unsigned depth)
{
    struct ptl_json_value again;
    struct ptl_json_error error;
    CHECK(ptl_json_check(value.text, depth, &again, &error) == PTL_OK);
    CHECK(again.type == value.type);
    CHECK(ptl_span_equal(again.text, value.text));
    if (value.type == PTL_JSON_STRING) {
        check_string(ptl_json_string_body(value));
    }
    if (value.type != PTL_JSON_OBJECT && value.type != PTL_JSON_ARRAY) {
        return;
    }
    struct ptl_json_iter iter = ptl_json_iterate(value);
    struct ptl_json_value item;
    struct ptl_span key;
    const uint8_t *last = value.text.ptr;
    while (ptl_json_next(&iter, &key, &item)) {
        CHECK(item.text.ptr > last);
        last = item.text.ptr + item.text.len - 1;
        CHECK(last < value.text.ptr + value.text.len - 1);
        if (value.type == PTL_JSON_OBJECT) {
            check_string(key);
        }
        walk(item, depth - 1);
    }
}

// The reader that takes members one by one agrees with the checker.
static void check_reader(struct ptl_span text, unsigned depth, enum ptl_status status,
                         struct ptl_json_value value, struct ptl_json_error error)
{
    struct ptl_json_reader r;
    enum ptl_status read = ptl_json_read_object(&r, text, depth);
    struct ptl_json_value member;
    struct ptl_span key;
    while (read == PTL_OK) {
        read = ptl_json_read_member(&r, &key, &member);
    }
    if (status == PTL_OK && value.type == PTL_JSON_OBJECT) {
        CHECK(read == PTL_E_EMPTY);
        CHECK(r.at == value.text.ptr + value.text.len - 1);
    } else {
        CHECK(read == PTL_E_FORMAT || read == PTL_E_TOO_BIG);
        CHECK(r.error.reason != NULL);
        CHECK(status == PTL_OK || r.error.offset <= error.offset);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    unsigned depth = 1 + data[0] % PTL_JSON_DEPTH_MAX;
    uint8_t *copy = exact_copy(data + 1, size - 1);
    struct ptl_span text = {copy, size - 1};
    struct ptl_json_value value = {.type = PTL_JSON_NULL};
    struct ptl_json_error error = {.offset = SIZE_MAX, .reason = NULL};
    enum ptl_status status = ptl_json_check(text, depth, &value, &error);
    CHECK(status == plain_check(text, depth));
    if (status == PTL_OK) {
        walk(value, depth);
    } else {
        CHECK(error.offset <= text.len);
        CHECK(error.reason != NULL);
    }
    check_reader(text, depth, status, value, error);
    free(copy);
    return 0;
}
