// utf8.c - well-formed UTF-8 (RFC 3629, section 4: the table of byte ranges).
#include "utf8.h"

#include "ptl_json.h"

size_t ptl_utf8_char(const uint8_t *p, size_t left)
{
    PTL_ASSERT(left >= 1);
    uint8_t lead = p[0];
    if (lead < 0x80) {
        return 1;
    }
    if (lead < 0xc2 || lead > 0xf4) {
        return 0;
    }
    size_t len = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (left < len) {
        return 0;
    }
    // The second byte is narrower after four leads: overlong forms, surrogates, above U+10FFFF.
    uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return len;
}

bool ptl_utf8_valid(struct ptl_span text)
{
    for (size_t at = 0; at < text.len;) {
        size_t len = ptl_utf8_char(text.ptr + at, text.len - at);
        if (len == 0) {
            return false;
        }
        at += len;
    }
    return true;
}

size_t ptl_utf8_cut(struct ptl_span text, size_t max)
{
    if (text.len <= max) {
        return text.len;
    }
    // At most three bytes follow a lead. Where four do, the text is no UTF-8 and any cut is as
    // good.
    for (size_t back = 0; back < 4 && back <= max; back++) {
        if ((text.ptr[max - back] & 0xc0) != 0x80) {
            return max - back;
        }
    }
    return max;
}
