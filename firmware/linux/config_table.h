// config_table.h - every key of the configuration as one row: how it is read, its bounds, its
// default. Shared by the reader and by the test that compares it with docs/config.md.
#pragma once

#include "config.h"

enum ptl_setting_kind {
    PTL_SET_TEXT,   // up to PTL_CONFIG_TEXT_MAX - 1 bytes
    PTL_SET_PATH,   // up to PTL_CONFIG_PATH_MAX - 1 bytes
    PTL_SET_BOOL,   // yes, no
    PTL_SET_U32,    // min to max, KiB and MiB understood where `sizes` is set
    PTL_SET_U64,    // the same in 64 bits
    PTL_SET_MILLI,  // decimal with up to 3 digits behind the point, kept in thousandths
    PTL_SET_CHOICE, // one of `choices`, kept as its index
    PTL_SET_SECRET, // server.key
};

struct ptl_setting {
    const char *section, *key;
    enum ptl_setting_kind kind;
    size_t offset; // in struct ptl_config
    uint64_t min, max;
    uint64_t preset;         // of numbers, bools and choices
    const char *text_preset; // of texts and paths
    const char *choices;     // "accepted|stored"
    bool sizes;
};

extern const struct ptl_setting ptl_settings[];
extern const size_t ptl_setting_count;
