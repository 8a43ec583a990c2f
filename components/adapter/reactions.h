// reactions.h - the table behind ptl_reaction_for, open to its test.
#pragma once

#include "ptl_adapter.h"

struct ptl_reaction_row {
    uint8_t kind;     // enum ptl_cause_kind
    uint8_t reaction; // enum ptl_reaction
    uint16_t first;   // HTTP and CLOSE: codes first to last
    uint16_t last;
    const char *prefix; // the others: how the text begins; no prefix is one of another row's
};

extern const struct ptl_reaction_row ptl_reaction_rows[];
extern const size_t ptl_reaction_row_count;
