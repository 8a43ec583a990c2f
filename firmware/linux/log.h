// log.h - lines on standard error: one per change of state, repeats held back.
//
// The same key within a minute is counted instead of printed; the next line with that key says how
// many were held back. Threads: the loop's only.
#pragma once

#include <stdint.h>

enum ptl_log_level { PTL_LOG_DEBUG, PTL_LOG_INFO, PTL_LOG_WARNING, PTL_LOG_ERROR };

void ptl_log_init(enum ptl_log_level least);
void ptl_log(enum ptl_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
// `key` stands for the text where the rest of it varies (counters, times).
void ptl_log_keyed(enum ptl_log_level level, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
