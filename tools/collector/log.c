#define _POSIX_C_SOURCE 200809L
#include "log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

static void print_line(const char *format, va_list args, uint64_t times)
{
    struct timespec now;
    struct tm parts;
    char stamp[32] = "";
    char text[1024];
    clock_gettime(CLOCK_REALTIME, &now);
    if (gmtime_r(&now.tv_sec, &parts) != NULL) {
        strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &parts);
    }
    vsnprintf(text, sizeof(text), format, args);
    fprintf(stderr, "%s.%03dZ petrel-collector: %s", stamp, (int)(now.tv_nsec / 1000000), text);
    if (times > 1) {
        fprintf(stderr, " (%" PRIu64 " times so far)", times);
    }
    fputc('\n', stderr);
}

void col_log(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_line(format, args, 1);
    va_end(args);
}

void col_log_some(uint64_t *count, const char *format, ...)
{
    va_list args;
    uint64_t mark = 1;
    (*count)++;
    while (mark < *count && mark <= UINT64_MAX / 10) {
        mark *= 10;
    }
    if (mark == *count) {
        va_start(args, format);
        print_line(format, args, *count);
        va_end(args);
    }
}
