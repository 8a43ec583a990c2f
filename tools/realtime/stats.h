// stats.h - the server's counters as one JSON line, for tests that count from outside the agent.
#pragma once

#include "hub.h"

void ptl_rt_stats_line(const struct ptl_rt_stats *s, struct ptl_rt_str *out);

// Replaces the file at once, so that a reader never sees half a line. False with errno set.
bool ptl_rt_stats_save(const struct ptl_rt_stats *s, const char *path);
