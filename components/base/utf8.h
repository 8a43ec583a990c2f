// utf8.h - inside base only.
#pragma once

#include "ptl_base.h"

// Length (1 to 4) of the well-formed character at `p`, 0 if there is none within `left` bytes
// (at least 1).
size_t ptl_utf8_char(const uint8_t *p, size_t left);
