// batch_text.h - writes batch messages for the tests of the collector.
#pragma once

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define RUN (UINT64_C(3) << 29) // where the run of these tests begins

// A batch of `count` events from `first` on; `more` is appended as it is, e.g. ,"gaps":[...].
// Static memory, overwritten by the next call.
static inline const char *batch_text(const char *device, const char *epoch, uint64_t floor,
                                     uint64_t first, unsigned count, const char *value,
                                     const char *more)
{
    static char text[200000];
    int len =
        snprintf(text, sizeof(text),
                 "{\"v\":1,\"device\":\"%s\",\"epoch\":\"%s\",\"boot\":\"b0\",\"floor\":%" PRIu64
                 ",\"sent_ms\":null,\"events\":[",
                 device, epoch, floor);
    for (unsigned i = 0; i < count; i++) {
        len +=
            snprintf(text + len, sizeof(text) - (size_t)len,
                     "%s{\"seq\":%" PRIu64 ",\"timestamp\":\"2026-11-24T17:59:26.%03uZ\","
                     "\"ts_err_ms\":5,\"mono_ms\":%" PRIu64 ",\"event_type\":\"t\",\"source\":"
                     "\"s\",\"severity\":\"info\",\"data\":{\"n\":%s}}",
                     i > 0 ? "," : "", first + i, (unsigned)(first + i) % 1000, first + i, value);
    }
    len += snprintf(text + len, sizeof(text) - (size_t)len, "]%s}", more);
    if ((size_t)len >= sizeof(text)) {
        abort();
    }
    return text;
}

static inline const char *gap_text(const char *epoch, uint64_t first, uint64_t last)
{
    static char text[256];
    snprintf(text, sizeof(text),
             ",\"gaps\":[{\"epoch\":\"%s\",\"first\":%" PRIu64 ",\"last\":%" PRIu64
             ",\"reason\":\"overflow\",\"kind\":\"lost\"}]",
             epoch, first, last);
    return text;
}

static inline const char *end_text(const char *epoch, uint64_t next, const char *how,
                                   unsigned at_most)
{
    static char text[256];
    snprintf(text, sizeof(text),
             ",\"ends\":[{\"epoch\":\"%s\",\"next\":%" PRIu64 ",\"how\":\"%s\",\"at_most\":%u}]",
             epoch, next, how, at_most);
    return text;
}

static inline void remove_db(const char *path)
{
    char name[128];
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        snprintf(name, sizeof(name), "%s%s", path, ends[i]);
        unlink(name);
    }
}
