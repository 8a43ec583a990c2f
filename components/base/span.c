// span.c - borrowed bytes.
#include "ptl_base.h"

#include <string.h>

struct ptl_span ptl_span_of_text(const char *text)
{
    PTL_ASSERT(text != NULL);
    return (struct ptl_span){(const uint8_t *)text, strlen(text)};
}

bool ptl_span_equal(struct ptl_span a, struct ptl_span b)
{
    PTL_ASSERT(a.ptr != NULL || a.len == 0);
    PTL_ASSERT(b.ptr != NULL || b.len == 0);
    // memcmp must not see the null pointer of an empty span, not even with length 0.
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
