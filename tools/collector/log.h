// log.h - lines on standard error: time, level, words. Nothing that a device or server chose goes
// in unescaped: pass raw JSON string bodies or checked names only.
#pragma once

#include <stdint.h>

__attribute__((format(printf, 1, 2))) void col_log(const char *format, ...);
// Counts *count up and logs only its 1st, 10th, 100th, ... time: what a sender can repeat must not
// fill the log.
__attribute__((format(printf, 2, 3))) void col_log_some(uint64_t *count, const char *format, ...);
