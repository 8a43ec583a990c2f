// json_check.c - the one pass over a text that is not trusted yet.
//
// Each step takes where it stands and returns where it ended, or NULL after refuse(). Nesting is a
// word of bits, one per open container: 1 an object, 0 an array.
#include "json_internal.h"
#include "utf8.h"

#include <string.h>

// Speed asks to have the steps of the common path in line, size to have them once.
#ifdef PTL_SMALL
#define HOT static
#else
#define HOT static inline
#endif

_Static_assert(PTL_JSON_DEPTH_MAX <= 32, "the nesting is kept in 32 bits");

__attribute__((cold, noinline)) static const uint8_t *refuse(struct ptl_json_reader *r,
                                                             const uint8_t *at, const char *reason)
{
    PTL_ASSERT(at >= r->begin);
    PTL_ASSERT(at <= r->end);
    r->error.offset = (size_t)(at - r->begin);
    r->error.reason = at == r->end ? "unexpected end" : reason;
    return NULL;
}

HOT const uint8_t *skip_space(const uint8_t *p, const uint8_t *end)
{
    while (p < end && *p <= ' ' && ptl_json_is_space(*p)) {
        p++;
    }
    return p;
}

HOT bool digit_at(const uint8_t *p, const uint8_t *end)
{
    return p < end && (uint8_t)(*p - '0') <= 9;
}

enum ptl_json_type ptl_json_type_of(uint8_t c)
{
    switch (c) {
    case '{':
        return PTL_JSON_OBJECT;
    case '[':
        return PTL_JSON_ARRAY;
    case '"':
        return PTL_JSON_STRING;
    case 't':
        return PTL_JSON_TRUE;
    case 'f':
        return PTL_JSON_FALSE;
    case 'n':
        return PTL_JSON_NULL;
    default:
        return PTL_JSON_NUMBER;
    }
}

static int32_t hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int32_t ptl_json_hex4(const uint8_t *p)
{
    int32_t code = 0;
    for (int i = 0; i < 4; i++) {
        int32_t value = hex_value(p[i]);
        if (value < 0) {
            return -1;
        }
        code = code * 16 + value;
    }
    return code;
}

// `p` is behind `\u`. The code goes to *code.
static const uint8_t *hex_end(struct ptl_json_reader *r, const uint8_t *p, int32_t *code)
{
    for (int i = 0; i < 4; i++) {
        if (p + i >= r->end || hex_value(p[i]) < 0) {
            return refuse(r, p + i, "four hex digits expected");
        }
    }
    *code = ptl_json_hex4(p);
    return p + 4;
}

// `begin` is the backslash of a `\u`.
static const uint8_t *unicode_end(struct ptl_json_reader *r, const uint8_t *begin)
{
    int32_t code = 0;
    const uint8_t *p = hex_end(r, begin + 2, &code);
    if (p == NULL) {
        return NULL;
    }
    if (code == 0) {
        return refuse(r, begin, "\\u0000, which stores refuse");
    }
    if (code < 0xd800 || code > 0xdfff) {
        return p;
    }
    // Cut where the second half may still follow: the fault is the end.
    if (code <= 0xdbff && (p == r->end || (*p == '\\' && p + 1 == r->end))) {
        return refuse(r, r->end, NULL);
    }
    if (code <= 0xdbff && p[0] == '\\' && p[1] == 'u') {
        p = hex_end(r, p + 2, &code);
        if (p == NULL || (code >= 0xdc00 && code <= 0xdfff)) {
            return p;
        }
    }
    return refuse(r, begin, "lone surrogate escape");
}

static const uint8_t *escape_end(struct ptl_json_reader *r, const uint8_t *begin)
{
    if (begin + 1 == r->end) {
        return refuse(r, r->end, NULL);
    }
    switch (begin[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return begin + 2;
    case 'u':
        return unicode_end(r, begin);
    default:
        return refuse(r, begin + 1, "unknown escape");
    }
}

#ifdef PTL_SMALL
HOT const uint8_t *skip_plain(const uint8_t *p, const uint8_t *end)
{
    while (p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\') {
        p++;
    }
    return p;
}
#else
#define EACH_BYTE(b) (UINT64_C(0x0101010101010101) * (b))

// The high bit of each byte that is a control character, quote, backslash or not ASCII; above the
// lowest such bit there may be wrong ones (a borrow), which nobody looks at.
HOT uint64_t special_bytes(uint64_t word)
{
    uint64_t control = word - EACH_BYTE(0x20);
    uint64_t quote = (word ^ EACH_BYTE('"')) - EACH_BYTE(1);
    uint64_t backslash = (word ^ EACH_BYTE('\\')) - EACH_BYTE(1);
    return (word | control | quote | backslash) & EACH_BYTE(0x80);
}

HOT uint64_t load_little(const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof(word));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

// The first byte of a string body that needs a look, or the end. Eight bytes a step.
HOT const uint8_t *skip_plain(const uint8_t *p, const uint8_t *end)
{
    while (end - p >= 8) {
        uint64_t special = special_bytes(load_little(p));
        if (special != 0) {
            return p + (__builtin_ctzll(special) >> 3);
        }
        p += 8;
    }
    while (p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\') {
        p++;
    }
    return p;
}
#endif

// The rest of a string from the first byte that needs a look.
__attribute__((noinline)) static const uint8_t *string_rest(struct ptl_json_reader *r,
                                                            const uint8_t *p)
{
    for (;;) {
        if (p == r->end) {
            return refuse(r, p, NULL);
        }
        if (*p == '"') {
            return p + 1;
        }
        if (*p < 0x20) {
            return refuse(r, p, "control character in string");
        }
        if (*p == '\\') {
            p = escape_end(r, p);
            if (p == NULL) {
                return NULL;
            }
        } else {
            size_t len = ptl_utf8_char(p, (size_t)(r->end - p));
            if (len == 0) {
                return refuse(r, p, "invalid UTF-8");
            }
            p += len;
        }
        p = skip_plain(p, r->end);
    }
}

// `p` is behind the opening quote; returns what is behind the closing one.
HOT const uint8_t *string_end(struct ptl_json_reader *r, const uint8_t *p)
{
    p = skip_plain(p, r->end);
    return p < r->end && *p == '"' ? p + 1 : string_rest(r, p);
}

HOT const uint8_t *digits_end(struct ptl_json_reader *r, const uint8_t *p)
{
    if (!digit_at(p, r->end)) {
        return refuse(r, p, "digit expected");
    }
    do {
        p++;
    } while (digit_at(p, r->end));
    return p;
}

static const uint8_t *exponent_end(struct ptl_json_reader *r, const uint8_t *p)
{
    if (p < r->end && (*p == '+' || *p == '-')) {
        p++;
    }
    return digits_end(r, p);
}

static const uint8_t *number_end(struct ptl_json_reader *r, const uint8_t *begin)
{
    const uint8_t *end = r->end;
    const uint8_t *p = begin + (*begin == '-');
    bool exponent = false;
    p = p < end && *p == '0' ? p + 1 : digits_end(r, p);
    if (p != NULL && p < end && *p == '.') {
        p = digits_end(r, p + 1);
    }
    if (p != NULL && p < end && (*p == 'e' || *p == 'E')) {
        exponent = true;
        p = exponent_end(r, p + 1);
    }
    if (p == NULL) {
        return NULL;
    }
    if (p - begin > PTL_JSON_NUMBER_MAX) {
        return refuse(r, begin, "number above 64 characters");
    }
    // Without an exponent, 64 characters stay far within the range.
    if (exponent && !ptl_json_number_in_range((struct ptl_span){begin, (size_t)(p - begin)})) {
        return refuse(r, begin, "number outside the range of a double");
    }
    return p;
}

static const uint8_t *word_end(struct ptl_json_reader *r, const uint8_t *p, const char *word)
{
    for (; *word != '\0'; word++, p++) {
        if (p == r->end || *p != (uint8_t)*word) {
            return refuse(r, p, "value expected");
        }
    }
    return p;
}

HOT const uint8_t *scalar_end(struct ptl_json_reader *r, const uint8_t *p)
{
    switch (*p) {
    case '"':
        return string_end(r, p + 1);
    case 't':
        return word_end(r, p, "true");
    case 'f':
        return word_end(r, p, "false");
    case 'n':
        return word_end(r, p, "null");
    default:
        break;
    }
    if (*p == '-' || digit_at(p, r->end)) {
        return number_end(r, p);
    }
    return refuse(r, p, "value expected");
}

// A member's name with its colon. *body is the name without quotes.
HOT const uint8_t *name_end(struct ptl_json_reader *r, const uint8_t *p, struct ptl_span *body)
{
    p = skip_space(p, r->end);
    if (p == r->end || *p != '"') {
        return refuse(r, p, "member name expected");
    }
    const uint8_t *begin = p + 1;
    p = string_end(r, begin);
    if (p == NULL) {
        return NULL;
    }
    *body = (struct ptl_span){begin, (size_t)(p - 1 - begin)};
    p = skip_space(p, r->end);
    if (p == r->end || *p != ':') {
        return refuse(r, p, "colon expected");
    }
    return p + 1;
}

// Containers that are open: how many, and of what kind the innermost is (bit 0).
struct nesting {
    uint32_t objects;
    uint32_t depth;
};

// `p` is an opening bracket. Returns where the first value is to stand, or where the closing
// bracket of an empty container does: *empty tells which.
HOT const uint8_t *open_container(struct ptl_json_reader *r, const uint8_t *p, struct nesting *n,
                                  bool *empty)
{
    bool object = *p == '{';
    if (n->depth == r->depth_max) {
        r->too_deep = true;
        return refuse(r, p, "nested too deep");
    }
    n->depth++;
    n->objects = n->objects << 1 | object;
    p = skip_space(p + 1, r->end);
    *empty = p < r->end && *p == (object ? '}' : ']');
    struct ptl_span name;
    return object && !*empty ? name_end(r, p, &name) : p;
}

// `p` is behind a value. Closes what ends here; returns where the next value is to stand, or the
// end of everything, then with depth 0.
HOT const uint8_t *close_containers(struct ptl_json_reader *r, const uint8_t *p, struct nesting *n)
{
    while (n->depth > 0) {
        bool object = n->objects & 1;
        p = skip_space(p, r->end);
        if (p < r->end && *p == ',') {
            struct ptl_span name;
            return object ? name_end(r, p + 1, &name) : p + 1;
        }
        if (p == r->end || *p != (object ? '}' : ']')) {
            return refuse(r, p, "comma or closing bracket expected");
        }
        p++;
        n->objects >>= 1;
        n->depth--;
    }
    return p;
}

// One value of any kind, white space before it allowed. Each turn takes at least one byte.
static const uint8_t *value_end(struct ptl_json_reader *r, const uint8_t *p,
                                struct ptl_json_value *value)
{
    struct nesting n = {0};
    p = skip_space(p, r->end);
    const uint8_t *begin = p;
    do {
        p = skip_space(p, r->end);
        if (p == r->end) {
            return refuse(r, p, NULL);
        }
        bool empty = true; // nothing further inside: a scalar, too
        p = *p == '{' || *p == '[' ? open_container(r, p, &n, &empty) : scalar_end(r, p);
        if (p != NULL && empty) {
            p = close_containers(r, p, &n);
        }
        if (p == NULL) {
            return NULL;
        }
    } while (n.depth > 0);
    *value = (struct ptl_json_value){.type = ptl_json_type_of(*begin),
                                     .text = {begin, (size_t)(p - begin)}};
    return p;
}

static enum ptl_status status_of(const struct ptl_json_reader *r)
{
    return r->too_deep ? PTL_E_TOO_BIG : PTL_E_FORMAT;
}

static void begin_reading(struct ptl_json_reader *r, struct ptl_span text, uint32_t depth_max)
{
    PTL_ASSERT(text.ptr != NULL || text.len == 0);
    // An empty text may come without a pointer, and nothing may be added to that one.
    r->begin = text.len > 0 ? text.ptr : (const uint8_t *)"";
    r->at = r->begin;
    r->end = r->begin + text.len;
    r->depth_max = depth_max < PTL_JSON_DEPTH_MAX ? depth_max : PTL_JSON_DEPTH_MAX;
    r->inside = false;
    r->too_deep = false;
    r->error.offset = 0;
    r->error.reason = NULL;
}

static bool text_ends(struct ptl_json_reader *r, const uint8_t *p)
{
    p = skip_space(p, r->end);
    if (p < r->end) {
        refuse(r, p, "text behind the value");
        return false;
    }
    return true;
}

enum ptl_status ptl_json_check(struct ptl_span text, uint32_t depth_max,
                               struct ptl_json_value *value, struct ptl_json_error *error)
{
    PTL_ASSERT(value != NULL);
    PTL_ASSERT(error != NULL);
    struct ptl_json_reader r;
    begin_reading(&r, text, depth_max);
    const uint8_t *p = value_end(&r, r.at, value);
    if (p == NULL || !text_ends(&r, p)) {
        *error = r.error;
        return status_of(&r);
    }
    return PTL_OK;
}

enum ptl_status ptl_json_read_object(struct ptl_json_reader *r, struct ptl_span text,
                                     uint32_t depth_max)
{
    PTL_ASSERT(r != NULL);
    PTL_ASSERT(depth_max >= 1);
    begin_reading(r, text, depth_max);
    r->depth_max--; // the object itself
    const uint8_t *p = skip_space(r->at, r->end);
    if (p == r->end || *p != '{') {
        refuse(r, p, "object expected");
        return PTL_E_FORMAT;
    }
    r->at = p + 1;
    return PTL_OK;
}

enum ptl_status ptl_json_read_member(struct ptl_json_reader *r, struct ptl_span *key,
                                     struct ptl_json_value *value)
{
    PTL_ASSERT(r->error.reason == NULL);
    const uint8_t *p = skip_space(r->at, r->end);
    if (p < r->end && *p == '}') {
        r->at = p;
        return text_ends(r, p + 1) ? PTL_E_EMPTY : PTL_E_FORMAT;
    }
    if (r->inside) {
        if (p == r->end || *p != ',') {
            refuse(r, p, "comma or closing bracket expected");
            return PTL_E_FORMAT;
        }
        p++;
    }
    p = name_end(r, p, key);
    if (p != NULL) {
        p = value_end(r, p, value);
    }
    if (p == NULL) {
        return status_of(r);
    }
    r->at = p;
    r->inside = true;
    return PTL_OK;
}
