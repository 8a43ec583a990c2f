// json_internal.h - inside base only.
#pragma once

#include "ptl_json.h"

// Whether a number of at most PTL_JSON_NUMBER_MAX characters, well-formed, is finite as a double
// and either zero or not rounded to zero.
bool ptl_json_number_in_range(struct ptl_span number);

// The type that a value which begins with `c` can only have.
enum ptl_json_type ptl_json_type_of(uint8_t c);

// The four hex digits at `p`, -1 if they are none.
int32_t ptl_json_hex4(const uint8_t *p);

static inline bool ptl_json_is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
