#include "stats.h"

#include <stdio.h>
#include <string.h>

void ptl_rt_stats_line(const struct ptl_rt_stats *s, struct ptl_rt_str *out)
{
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        {"connects", s->connects},
        {"clients", s->clients},
        {"joins", s->joins},
        {"joins_refused", s->joins_refused},
        {"leaves", s->leaves},
        {"frames_in", s->frames_in},
        {"frames_ignored", s->frames_ignored},
        {"heartbeats", s->heartbeats},
        {"broadcasts_in", s->broadcasts_in},
        {"broadcasts_denied", s->broadcasts_denied},
        {"broadcasts_too_big", s->broadcasts_too_big},
        {"acks", s->acks},
        {"deliveries", s->deliveries},
        {"delivered_bytes", s->delivered_bytes},
        {"presence_in", s->presence_in},
        {"presence_denied", s->presence_denied},
        {"killed_slow", s->killed_slow},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[64];
        snprintf(text, sizeof text, "%s\"%s\":%llu", i == 0 ? "{" : ",", rows[i].name,
                 (unsigned long long)rows[i].value);
        ptl_rt_str_text(out, text);
    }
    ptl_rt_str_text(out, "}\n");
}

bool ptl_rt_stats_save(const struct ptl_rt_stats *s, const char *path)
{
    struct ptl_rt_str temp = {0};
    struct ptl_rt_str line = {0};
    ptl_rt_str_text(&temp, path);
    ptl_rt_str_add(&temp, ".new", 5); // with the NUL
    ptl_rt_stats_line(s, &line);
    FILE *file = fopen(temp.data, "w");
    bool ok = file != NULL && fwrite(line.data, 1, line.len, file) == line.len;
    if (file != NULL) {
        ok = fclose(file) == 0 && ok;
    }
    ok = ok && rename(temp.data, path) == 0;
    ptl_rt_str_free(&temp);
    ptl_rt_str_free(&line);
    return ok;
}
