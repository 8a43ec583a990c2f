// log.c - see log.h.
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ptl_bytes.h"

#define KEYS_MAX    16
#define HOLD_BACK_S 60
#define LINE_BYTES  1024

static enum ptl_log_level log_least = PTL_LOG_INFO;
static struct {
    uint32_t hash;
    uint32_t held_back;
    time_t printed_s; // monotonic
} keys[KEYS_MAX];
static uint32_t keys_next;

void ptl_log_init(enum ptl_log_level least)
{
    log_least = least;
}

// How many lines with this key were held back since the last one; -1: hold this one back too.
static int64_t held_back(const char *key)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint32_t hash = ptl_crc32c(0, key, strlen(key));
    for (uint32_t i = 0; i < KEYS_MAX; i++) {
        if (keys[i].hash == hash) {
            if (now.tv_sec - keys[i].printed_s < HOLD_BACK_S) {
                keys[i].held_back++;
                return -1;
            }
            int64_t count = keys[i].held_back;
            keys[i].held_back = 0;
            keys[i].printed_s = now.tv_sec;
            return count;
        }
    }
    uint32_t slot = keys_next++ % KEYS_MAX;
    keys[slot].hash = hash;
    keys[slot].held_back = 0;
    keys[slot].printed_s = now.tv_sec;
    return 0;
}

static void line_write(enum ptl_log_level level, int64_t held, const char *format, va_list args)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};
    char line[LINE_BYTES];
    struct timespec now = {0};
    struct tm utc = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t at = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%SZ", &utc);
    at += (size_t)snprintf(line + at, sizeof(line) - at, " petrel %s: ", names[level]);
    int wanted = vsnprintf(line + at, sizeof(line) - at, format, args);
    at = wanted < 0 || (size_t)wanted >= sizeof(line) - at ? sizeof(line) - 1 : at + (size_t)wanted;
    if (held > 0 && at < sizeof(line) - 40) {
        at += (size_t)snprintf(line + at, sizeof(line) - at, " (and %lld times before)",
                               (long long)held);
    }
    // Whoever wrote the text (a server, an application) cannot begin a line of its own.
    for (size_t i = 0; i < at; i++) {
        line[i] = (unsigned char)line[i] < ' ' || line[i] == 0x7F ? '?' : line[i];
    }
    line[at < sizeof(line) - 1 ? at : sizeof(line) - 2] = '\n';
    at = at < sizeof(line) - 1 ? at + 1 : sizeof(line) - 1;
    ssize_t written = write(STDERR_FILENO, line, at); // one call: lines of threads do not mix
    (void)written;
}

void ptl_log(enum ptl_log_level level, const char *format, ...)
{
    if (level < log_least) {
        return;
    }
    va_list args;
    va_start(args, format);
    line_write(level, 0, format, args);
    va_end(args);
}

void ptl_log_keyed(enum ptl_log_level level, const char *key, const char *format, ...)
{
    int64_t held = level < log_least ? -1 : held_back(key);
    if (held < 0) {
        return;
    }
    va_list args;
    va_start(args, format);
    line_write(level, held, format, args);
    va_end(args);
}
