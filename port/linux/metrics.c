// metrics.c - reads /proc line by line through one small buffer: lines may be 60 kB long (`intr`),
// have more columns than we know, or end nowhere.
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ptl_metrics.h"

#define LINE_BYTES    512 // of a line, the rest is skipped
#define COLUMNS_MAX   10
#define COUNTER_LIMIT (UINT64_C(1) << 62) // sums of eight columns must not wrap

struct lines {
    int fd;
    size_t at, len;
    char buf[4096];
    char line[LINE_BYTES];
};

static bool lines_open(struct lines *lines, const char *root, const char *path)
{
    char full[512];
    snprintf(full, sizeof(full), "%s%s", root, path);
    lines->fd = open(full, O_RDONLY | O_CLOEXEC);
    lines->at = 0;
    lines->len = 0;
    return lines->fd >= 0;
}

// The next line without its feed, cut to LINE_BYTES; NULL at the end.
static const char *lines_next(struct lines *lines)
{
    size_t kept = 0;
    bool any = false;
    for (;;) {
        if (lines->at == lines->len) {
            ssize_t n = read(lines->fd, lines->buf, sizeof(lines->buf));
            lines->at = 0;
            lines->len = n > 0 ? (size_t)n : 0;
            if (lines->len == 0) {
                lines->line[kept] = '\0';
                return any ? lines->line : NULL;
            }
        }
        char byte = lines->buf[lines->at++];
        any = true;
        if (byte == '\n') {
            lines->line[kept] = '\0';
            return lines->line;
        }
        if (kept < LINE_BYTES - 1) {
            lines->line[kept++] = byte;
        }
    }
}

static void lines_close(struct lines *lines)
{
    close(lines->fd);
}

static void missing(struct ptl_metrics *m, uint32_t bit, const char *figure, const char *why)
{
    if ((m->said >> bit & 1) == 0) {
        m->said |= UINT64_C(1) << bit;
        m->cfg.missing(m->cfg.ctx, figure, why);
    }
}

enum said { // bits of `said`
    SAID_STAT,
    SAID_TOTAL,
    SAID_BTIME,
    SAID_MEMINFO,
    SAID_MEM_FIRST, // and one for each figure of memory
    SAID_LOADAVG = 24,
    SAID_UPTIME,
};

// A decimal number at *at; moves behind it. False: none there. Too large: UINT64_MAX.
static bool number_take(const char **at, uint64_t *out)
{
    const char *c = *at;
    while (*c == ' ' || *c == '\t') {
        c++;
    }
    if (*c < '0' || *c > '9') {
        return false;
    }
    uint64_t value = 0;
    for (; *c >= '0' && *c <= '9'; c++) {
        uint64_t digit = (uint64_t)(*c - '0');
        value = value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : value * 10 + digit;
    }
    *at = c;
    *out = value;
    return true;
}

struct object {
    struct ptl_writer *w;
    bool any;
};

static struct object object_begin(struct ptl_writer *w)
{
    ptl_write_byte(w, '{');
    return (struct object){.w = w};
}

static void key(struct object *o, const char *name)
{
    ptl_write_text(o->w, o->any ? ",\"" : "\"");
    ptl_write_text(o->w, name);
    ptl_write_text(o->w, "\":");
    o->any = true;
}

static void put_u64(struct object *o, const char *name, uint64_t value)
{
    key(o, name);
    ptl_write_u64(o->w, value);
}

// `part` of `whole` in percent with two digits; never above 100.
static void put_share(struct object *o, const char *name, uint64_t part, uint64_t whole)
{
    PTL_ASSERT(whole > 0);
    part = part < whole ? part : whole;
    // Shifted down together until the product fits: ratios do not mind.
    while (whole > UINT64_MAX / 10000) {
        whole >>= 1;
        part >>= 1;
    }
    uint64_t hundredths = part * 10000 / whole;
    key(o, name);
    ptl_write_u64(o->w, hundredths / 100);
    ptl_write_byte(o->w, '.');
    ptl_write_byte(o->w, (uint8_t)('0' + hundredths / 10 % 10));
    ptl_write_byte(o->w, (uint8_t)('0' + hundredths % 10));
}

static uint64_t risen(uint64_t now, uint64_t before)
{
    return now > before ? now - before : 0;
}

static uint32_t columns_read(const char *at, uint64_t column[COLUMNS_MAX])
{
    uint32_t count = 0;
    for (; count < COLUMNS_MAX && number_take(&at, &column[count]); count++) {
        column[count] = column[count] < COUNTER_LIMIT / 16 ? column[count] : COUNTER_LIMIT / 16;
    }
    for (uint32_t i = count; i < COLUMNS_MAX; i++) {
        column[i] = 0;
    }
    return count;
}

static void cpu_total(struct ptl_metrics *m, struct object *o, const char *at)
{
    static const char *const names[8] = {"user",   "nice", "system",  "idle",
                                         "iowait", "irq",  "softirq", "steal"};
    uint64_t column[COLUMNS_MAX];
    if (columns_read(at, column) < 4) {
        missing(m, SAID_TOTAL, "cpu shares", "the cpu line of /proc/stat is too short");
        return;
    }
    uint64_t delta[8];
    uint64_t all = 0;
    for (uint32_t i = 0; i < 8; i++) {
        delta[i] = risen(column[i], m->total[i]);
        all += delta[i];
        m->total[i] = column[i];
    }
    uint64_t guest = risen(column[8], m->guest) + risen(column[9], m->guest_nice);
    m->guest = column[8];
    m->guest_nice = column[9];
    bool known = m->total_known;
    m->total_known = true;
    if (!known || all == 0) {
        return;
    }
    put_share(o, "busy_percent", all - delta[3] - delta[4], all);
    for (uint32_t i = 0; i < 8; i++) {
        char name[24];
        snprintf(name, sizeof(name), "%s_percent", names[i]);
        put_share(o, name, delta[i], all);
    }
    put_share(o, "guest_percent", guest, all);
}

// One `cpuN` line: its busy share since the sample before, if it was there then.
static void cpu_one(struct ptl_metrics *m, struct object *o, const char *at)
{
    uint64_t number = 0;
    uint64_t column[COLUMNS_MAX];
    if (!number_take(&at, &number) || number >= PTL_METRICS_CPUS_MAX ||
        columns_read(at, column) < 4) {
        return;
    }
    uint64_t all = 0;
    for (uint32_t i = 0; i < 8; i++) {
        all += column[i];
    }
    uint64_t busy = all - column[3] - column[4];
    bool before = m->sample > 1 && m->cpus[number].sample == m->sample - 1;
    uint64_t busy_delta = risen(busy, m->cpus[number].busy);
    // The idle part by itself: a fall of one must not hide in the rise of the other.
    uint64_t idle_delta = risen(all - busy, m->cpus[number].all - m->cpus[number].busy);
    m->cpus[number].busy = busy;
    m->cpus[number].all = all;
    m->cpus[number].sample = m->sample;
    if (before && busy_delta + idle_delta > 0) {
        char name[24];
        snprintf(name, sizeof(name), "%u", (unsigned)number);
        put_share(o, name, busy_delta, busy_delta + idle_delta);
    }
}

// The per-CPU object is written on the way, in front of figures whose lines come later.
static bool cpu_sample(struct ptl_metrics *m, struct ptl_writer *w)
{
    struct lines lines;
    if (!lines_open(&lines, m->cfg.root, "/proc/stat")) {
        missing(m, SAID_STAT, "cpu", "/proc/stat cannot be read");
        return false;
    }
    m->sample++;
    bool known = m->total_known;
    struct object o = object_begin(w);
    struct object cpus = {.w = w};
    bool in_cpus = false;
    uint64_t boot_s = 0;
    uint64_t count = 0;
    const char *line = lines_next(&lines);
    for (; line != NULL; line = lines_next(&lines)) {
        bool one = strncmp(line, "cpu", 3) == 0 && line[3] >= '0' && line[3] <= '9';
        if (one) {
            count++;
            if (!in_cpus) {
                key(&o, "cpu_busy_percent");
                cpus = object_begin(w);
                in_cpus = true;
            }
            cpu_one(m, &cpus, line + 3);
        } else if (in_cpus) {
            ptl_write_byte(w, '}');
            in_cpus = false;
        }
        if (strncmp(line, "cpu ", 4) == 0) {
            cpu_total(m, &o, line + 4);
        } else if (strncmp(line, "btime ", 6) == 0) {
            const char *at = line + 6;
            (void)number_take(&at, &boot_s);
        }
    }
    lines_close(&lines);
    if (in_cpus) {
        ptl_write_byte(w, '}');
    }
    if (count > 0) {
        put_u64(&o, "cpus", count);
    }
    if (boot_s > 0) {
        put_u64(&o, "boot_unix_s", boot_s);
    } else {
        missing(m, SAID_BTIME, "boot time", "/proc/stat has no btime line");
    }
    ptl_write_byte(w, '}');
    return known && o.any;
}

static const struct memory_figure {
    const char *line, *name;
} memory_figures[] = {
    {"MemTotal:", "total_bytes"},     {"MemAvailable:", "available_bytes"},
    {"MemFree:", "free_bytes"},       {"Buffers:", "buffers_bytes"},
    {"Cached:", "cached_bytes"},      {"SReclaimable:", "reclaimable_bytes"},
    {"Shmem:", "shared_bytes"},       {"SwapTotal:", "swap_total_bytes"},
    {"SwapFree:", "swap_free_bytes"},
};
#define MEMORY_FIGURES (sizeof(memory_figures) / sizeof(memory_figures[0]))

static bool memory_sample(struct ptl_metrics *m, struct ptl_writer *w)
{
    struct lines lines;
    if (!lines_open(&lines, m->cfg.root, "/proc/meminfo")) {
        missing(m, SAID_MEMINFO, "memory", "/proc/meminfo cannot be read");
        return false;
    }
    uint64_t bytes[MEMORY_FIGURES] = {0};
    bool found[MEMORY_FIGURES] = {false};
    const char *line = lines_next(&lines);
    for (; line != NULL; line = lines_next(&lines)) {
        for (size_t i = 0; i < MEMORY_FIGURES; i++) {
            size_t len = strlen(memory_figures[i].line);
            const char *at = line + len;
            uint64_t kib = 0;
            if (strncmp(line, memory_figures[i].line, len) == 0 && number_take(&at, &kib) &&
                kib < UINT64_C(1) << 43) { // stays below 2^53 in bytes
                bytes[i] = kib * 1024;
                found[i] = true;
            }
        }
    }
    lines_close(&lines);
    struct object o = object_begin(w);
    for (size_t i = 0; i < MEMORY_FIGURES; i++) {
        if (found[i]) {
            put_u64(&o, memory_figures[i].name, bytes[i]);
        } else {
            missing(m, SAID_MEM_FIRST + (uint32_t)i, memory_figures[i].name,
                    "/proc/meminfo does not give it");
        }
    }
    if (found[0] && found[1] && bytes[0] > 0) {
        put_share(&o, "used_percent", risen(bytes[0], bytes[1]), bytes[0]);
    }
    ptl_write_byte(w, '}');
    return o.any;
}

// A decimal fraction as the kernel writes it, taken over as it stands.
static bool fraction_take(const char **at, const char **begin, int *len)
{
    const char *c = *at;
    while (*c == ' ') {
        c++;
    }
    size_t whole = strspn(c, "0123456789");
    size_t part = c[whole] == '.' ? strspn(c + whole + 1, "0123456789") : 0;
    // No leading zeros and no bare point: it goes out as a JSON number.
    if (whole == 0 || whole > 12 || part == 0 || part > 6 || (whole > 1 && c[0] == '0')) {
        return false;
    }
    *begin = c;
    *len = (int)(whole + 1 + part);
    *at = c + *len;
    return true;
}

static void put_fraction(struct object *o, const char *name, const char *begin, int len)
{
    key(o, name);
    ptl_write_bytes(o->w, begin, (size_t)len);
}

static void load_read(struct ptl_metrics *m, struct object *o)
{
    static const char *const names[3] = {"load_1m", "load_5m", "load_15m"};
    struct lines lines;
    const char *line = NULL;
    if (lines_open(&lines, m->cfg.root, "/proc/loadavg")) {
        line = lines_next(&lines);
        lines_close(&lines);
    }
    uint32_t got = 0;
    const char *begin = NULL;
    int len = 0;
    const char *at = line != NULL ? line : "";
    for (; got < 3 && fraction_take(&at, &begin, &len); got++) {
        put_fraction(o, names[got], begin, len);
    }
    uint64_t runnable = 0;
    uint64_t tasks = 0;
    if (got == 3 && number_take(&at, &runnable) && *at++ == '/' && number_take(&at, &tasks)) {
        put_u64(o, "runnable", runnable);
        put_u64(o, "tasks", tasks);
    }
    if (got < 3) {
        missing(m, SAID_LOADAVG, "load averages", "/proc/loadavg cannot be read");
    }
}

static bool load_sample(struct ptl_metrics *m, struct ptl_writer *w)
{
    struct object o = object_begin(w);
    load_read(m, &o);
    struct lines lines;
    const char *begin = NULL;
    int len = 0;
    bool uptime = false;
    if (lines_open(&lines, m->cfg.root, "/proc/uptime")) {
        const char *at = lines_next(&lines);
        lines_close(&lines);
        uptime = at != NULL && fraction_take(&at, &begin, &len);
    }
    if (uptime) {
        put_fraction(&o, "uptime_s", begin, len);
    } else {
        missing(m, SAID_UPTIME, "uptime", "/proc/uptime cannot be read");
    }
    ptl_write_byte(w, '}');
    return o.any;
}

void ptl_metrics_init(struct ptl_metrics *m, const struct ptl_metrics_config *cfg)
{
    memset(m, 0, sizeof(*m));
    m->cfg = *cfg;
}

const char *ptl_metrics_event_type(enum ptl_metrics_group group)
{
    static const char *const types[PTL_METRICS_GROUPS] = {"host.cpu", "host.memory", "host.load"};
    PTL_ASSERT(group < PTL_METRICS_GROUPS);
    return types[group];
}

bool ptl_metrics_sample(struct ptl_metrics *m, enum ptl_metrics_group group, struct ptl_writer *w)
{
    switch (group) {
    case PTL_METRICS_CPU:
        return cpu_sample(m, w) && !w->overflow;
    case PTL_METRICS_MEMORY:
        return memory_sample(m, w) && !w->overflow;
    case PTL_METRICS_LOAD:
        return load_sample(m, w) && !w->overflow;
    case PTL_METRICS_GROUPS:
        break;
    }
    return false;
}
