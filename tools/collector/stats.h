// stats.h - `petrel-collector stats`: what is in a store, read beside a running collector.
#pragma once

#include <stdbool.h>

struct col_stats_options {
    const char *path;
    const char *source; // count the events of this source apart; NULL: none
    bool json;          // one line of JSON
    bool runs;          // text form: one line per run, too
};

// Prints to stdout. 0, or 1 with the reason on stderr.
int col_stats_print(const struct col_stats_options *options);
