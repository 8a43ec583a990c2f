// writer.c - text into a bounded buffer. Every call is whole or absent.
#include "ptl_bytes.h"
#include "utf8.h"

#include <string.h>

struct ptl_writer ptl_writer_on(uint8_t *buf, size_t cap)
{
    PTL_ASSERT(buf != NULL || cap == 0);
    return (struct ptl_writer){.buf = buf, .cap = cap, .len = 0, .overflow = false};
}

void ptl_write_bytes(struct ptl_writer *w, const void *bytes, size_t len)
{
    PTL_ASSERT(w->len <= w->cap);
    PTL_ASSERT(bytes != NULL || len == 0);
    if (w->overflow || len > w->cap - w->len) {
        w->overflow = true;
        return;
    }
    if (len > 0) {
        memcpy(w->buf + w->len, bytes, len);
        w->len += len;
    }
}

void ptl_write_span(struct ptl_writer *w, struct ptl_span span)
{
    ptl_write_bytes(w, span.ptr, span.len);
}

void ptl_write_text(struct ptl_writer *w, const char *text)
{
    PTL_ASSERT(text != NULL);
    ptl_write_bytes(w, text, strlen(text));
}

void ptl_write_byte(struct ptl_writer *w, uint8_t byte)
{
    ptl_write_bytes(w, &byte, 1);
}

// Two digits before `end`; pair * 205 / 2048 is pair / 10 for all below 100, without a division.
static uint8_t *pair_before(uint8_t *end, uint32_t pair)
{
    PTL_ASSERT(pair < 100);
    uint32_t tens = (pair * 205) >> 11;
    *--end = (uint8_t)('0' + (pair - tens * 10));
    *--end = (uint8_t)('0' + tens);
    return end;
}

// Writes the digits backwards from `end`; returns where they begin. 64-bit division only while the
// value needs it: it is a library call on 32-bit machines.
static uint8_t *digits_before(uint8_t *end, uint64_t value)
{
    while (value > UINT32_MAX) {
        uint64_t rest = value / 100;
        end = pair_before(end, (uint32_t)(value - rest * 100));
        value = rest;
    }
    uint32_t small = (uint32_t)value;
    while (small >= 100) {
        uint32_t rest = small / 100;
        end = pair_before(end, small - rest * 100);
        small = rest;
    }
    if (small >= 10) {
        return pair_before(end, small);
    }
    *--end = (uint8_t)('0' + small);
    return end;
}

uint8_t *ptl_put_u64(uint8_t *p, uint64_t value)
{
    // Twice as long as the text, so that the copy can be of fixed size: a few moves, no call.
    uint8_t digits[2 * PTL_U64_TEXT_BYTES] = {0};
    uint8_t *end = digits + PTL_U64_TEXT_BYTES;
    uint8_t *begin = digits_before(end, value);
    PTL_ASSERT(begin >= digits);
    memcpy(p, begin, PTL_U64_TEXT_BYTES);
    return p + (end - begin);
}

void ptl_write_u64(struct ptl_writer *w, uint64_t value)
{
    uint8_t text[PTL_U64_TEXT_BYTES];
    uint8_t *end = ptl_put_u64(text, value);
    ptl_write_bytes(w, text, (size_t)(end - text));
}

void ptl_write_i64(struct ptl_writer *w, int64_t value)
{
    uint8_t text[1 + PTL_U64_TEXT_BYTES];
    uint8_t *digits = text;
    if (value < 0) {
        *digits++ = '-';
    }
    // Negated as unsigned, so that INT64_MIN is right too.
    uint8_t *end = ptl_put_u64(digits, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
    ptl_write_bytes(w, text, (size_t)(end - text));
}

static uint8_t hex_digit(uint32_t nibble)
{
    PTL_ASSERT(nibble < 16);
    return (uint8_t)(nibble < 10 ? '0' + nibble : 'a' - 10 + nibble);
}

void ptl_write_hex64(struct ptl_writer *w, uint64_t value)
{
    uint8_t digits[16];
    for (size_t i = 0; i < sizeof(digits); i++) {
        digits[i] = hex_digit((uint32_t)(value >> 60));
        value <<= 4;
    }
    ptl_write_bytes(w, digits, sizeof(digits));
}

// Escapes one byte below 0x80 into `out` (6 bytes); returns the length.
static size_t escape_ascii(uint8_t c, uint8_t *out)
{
    out[0] = '\\';
    switch (c) {
    case '"':
    case '\\':
        out[1] = c;
        return 2;
    case '\n':
        out[1] = 'n';
        return 2;
    case '\r':
        out[1] = 'r';
        return 2;
    case '\t':
        out[1] = 't';
        return 2;
    default:
        break;
    }
    if (c >= 0x20) {
        out[0] = c;
        return 1;
    }
    memcpy(out, "\\u00", 4);
    out[4] = hex_digit(c >> 4);
    out[5] = hex_digit(c & 15);
    return 6;
}

void ptl_write_json_escaped(struct ptl_writer *w, struct ptl_span text)
{
    PTL_ASSERT(text.ptr != NULL || text.len == 0);
    size_t len_before = w->len;
    for (size_t at = 0; at < text.len;) {
        const uint8_t *p = text.ptr + at;
        size_t len = ptl_utf8_char(p, text.len - at);
        uint8_t escaped[6];
        if (len == 0 || *p == 0) {
            ptl_write_bytes(w, "\xef\xbf\xbd", 3);
            len = 1;
        } else if (len == 1) {
            ptl_write_bytes(w, escaped, escape_ascii(*p, escaped));
        } else {
            ptl_write_bytes(w, p, len);
        }
        at += len;
    }
    if (w->overflow) {
        w->len = len_before;
    }
}
