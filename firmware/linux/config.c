// config.c - reads the configuration: presets, profile, file, environment.
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "config_check.h"
#include "config_table.h"

#define LINE_BYTES_MAX 8192
#define SETTINGS_MAX   96

struct reader {
    struct ptl_config *config;
    struct ptl_config_report *report;
    FILE *file;
    const char *path;
    uint32_t line;              // of the text that inih looks at
    uint32_t set[SETTINGS_MAX]; // line that set a key; UINT32_MAX: the environment; 0: not set
    uint32_t secret_line;       // of a secret in the file itself
};

void ptl_config_say(struct ptl_config_report *report, enum ptl_config_level level,
                    const char *format, ...)
{
    char text[1536];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    report->errors += level == PTL_CONFIG_ERROR;
    report->warnings += level == PTL_CONFIG_WARNING;
    report->say(report->ctx, level, text);
}

static const struct ptl_setting *setting_find(const char *section, const char *key, size_t *index)
{
    for (size_t i = 0; i < ptl_setting_count; i++) {
        if (strcmp(ptl_settings[i].section, section) == 0 &&
            strcmp(ptl_settings[i].key, key) == 0) {
            *index = i;
            return &ptl_settings[i];
        }
    }
    return NULL;
}

static void *field(struct ptl_config *c, const struct ptl_setting *s)
{
    return (char *)c + s->offset;
}

static void choice_set(struct ptl_config *c, const struct ptl_setting *s, uint32_t index)
{
    if (s->offset == offsetof(struct ptl_config, delivery.strict_order)) {
        c->delivery.strict_order = index == 1;
    } else {
        memcpy(field(c, s), &index, sizeof(index));
    }
}

static void presets_apply(struct ptl_config *c)
{
    memset(c, 0, sizeof(*c));
    for (size_t i = 0; i < ptl_setting_count; i++) {
        const struct ptl_setting *s = &ptl_settings[i];
        uint32_t small = (uint32_t)s->preset;
        bool on = s->preset != 0;
        switch (s->kind) {
        case PTL_SET_TEXT:
        case PTL_SET_PATH:
        case PTL_SET_SECRET:
            strcpy(field(c, s), s->text_preset);
            break;
        case PTL_SET_BOOL:
            memcpy(field(c, s), &on, sizeof(on));
            break;
        case PTL_SET_U32:
        case PTL_SET_MILLI:
            memcpy(field(c, s), &small, sizeof(small));
            break;
        case PTL_SET_U64:
            memcpy(field(c, s), &s->preset, sizeof(s->preset));
            break;
        case PTL_SET_CHOICE:
            choice_set(c, s, small);
            break;
        }
    }
}

static bool choice_parse(const char *choices, const char *value, uint32_t *index)
{
    size_t len = strlen(value);
    *index = 0;
    for (const char *at = choices; *at != '\0';) {
        size_t span = strcspn(at, "|");
        if (span == len && strncmp(at, value, len) == 0) {
            return true;
        }
        at += span + (at[span] == '|');
        (*index)++;
    }
    return false;
}

// Digits, then KiB or MiB (also written K, M, kb, mb) where sizes are allowed.
static bool number_parse(const struct ptl_setting *s, const char *value, uint64_t *out)
{
    size_t digits = strspn(value, "0123456789");
    if (digits == 0 || digits > 15) {
        return false;
    }
    *out = strtoull(value, NULL, 10);
    const char *unit = value + digits;
    unit += strspn(unit, " ");
    if (*unit == '\0') {
        return true;
    }
    char letter = (char)tolower((unsigned char)unit[0]);
    const char *rest = unit + 1;
    rest += *rest == 'i' || *rest == 'I';
    rest += *rest == 'b' || *rest == 'B';
    if (!s->sizes || *rest != '\0' || (letter != 'k' && letter != 'm')) {
        return false;
    }
    *out <<= letter == 'k' ? 10 : 20;
    return true;
}

static bool milli_parse(const char *value, uint64_t *out)
{
    size_t whole = strspn(value, "0123456789");
    if (whole == 0 || whole > 9) {
        return false;
    }
    *out = strtoull(value, NULL, 10) * 1000;
    const char *at = value + whole;
    if (*at == '.') {
        at++;
        uint64_t unit = 100;
        for (; *at >= '0' && *at <= '9' && unit > 0; at++, unit /= 10) {
            *out += (uint64_t)(*at - '0') * unit;
        }
    }
    return *at == '\0';
}

// What a value may be, for messages.
static void allowed_text(const struct ptl_setting *s, char *out, size_t cap)
{
    switch (s->kind) {
    case PTL_SET_BOOL:
        snprintf(out, cap, "yes or no");
        break;
    case PTL_SET_CHOICE: {
        size_t at = 0;
        for (const char *c = s->choices; *c != '\0' && at + 5 < cap; c++) {
            at += (size_t)snprintf(out + at, cap - at, *c == '|' ? ", " : "%c", *c);
        }
        break;
    }
    case PTL_SET_U32:
    case PTL_SET_U64:
        snprintf(out, cap, "a whole number from %llu to %llu%s", (unsigned long long)s->min,
                 (unsigned long long)s->max, s->sizes ? ", also as 64 KiB or 2 MiB" : "");
        break;
    case PTL_SET_MILLI:
        snprintf(out, cap, "a number from 0 (no limit) to %llu, also as 0.2",
                 (unsigned long long)s->max / 1000);
        break;
    case PTL_SET_TEXT:
    case PTL_SET_PATH:
    case PTL_SET_SECRET:
        snprintf(out, cap, "up to %d bytes of text",
                 (s->kind == PTL_SET_TEXT ? PTL_CONFIG_TEXT_MAX : PTL_CONFIG_PATH_MAX) - 1);
        break;
    }
}

static bool value_set(struct ptl_config *c, const struct ptl_setting *s, const char *value)
{
    uint64_t number = 0;
    uint32_t small = 0;
    bool on = false;
    switch (s->kind) {
    case PTL_SET_TEXT:
    case PTL_SET_PATH: {
        size_t cap = s->kind == PTL_SET_TEXT ? PTL_CONFIG_TEXT_MAX : PTL_CONFIG_PATH_MAX;
        if (strlen(value) >= cap) {
            return false;
        }
        strcpy(field(c, s), value);
        return true;
    }
    case PTL_SET_SECRET:
        if (strlen(value) >= PTL_CONFIG_SECRET_MAX) {
            return false;
        }
        strcpy(field(c, s), value);
        return true;
    case PTL_SET_BOOL:
        on = strcasecmp(value, "yes") == 0 || strcasecmp(value, "true") == 0 ||
             strcasecmp(value, "on") == 0 || strcmp(value, "1") == 0;
        if (!on && strcasecmp(value, "no") != 0 && strcasecmp(value, "false") != 0 &&
            strcasecmp(value, "off") != 0 && strcmp(value, "0") != 0) {
            return false;
        }
        memcpy(field(c, s), &on, sizeof(on));
        return true;
    case PTL_SET_CHOICE:
        if (!choice_parse(s->choices, value, &small)) {
            return false;
        }
        choice_set(c, s, small);
        return true;
    case PTL_SET_U32:
    case PTL_SET_U64:
    case PTL_SET_MILLI:
        if (s->kind == PTL_SET_MILLI ? !milli_parse(value, &number)
                                     : !number_parse(s, value, &number)) {
            return false;
        }
        if (number < s->min || number > s->max) {
            return false;
        }
        small = (uint32_t)number;
        memcpy(field(c, s), s->kind == PTL_SET_U64 ? (const void *)&number : (const void *)&small,
               s->kind == PTL_SET_U64 ? sizeof(number) : sizeof(small));
        return true;
    }
    return false;
}

// "file:line" or the environment variable's name.
static void place_text(const struct reader *r, const char *env_name, char *out, size_t cap)
{
    if (env_name != NULL) {
        snprintf(out, cap, "environment %s", env_name);
    } else {
        snprintf(out, cap, "%s:%u", r->path, r->line);
    }
}

static void value_refused(struct reader *r, const struct ptl_setting *s, const char *value,
                          const char *env_name)
{
    char place[600];
    char allowed[200];
    place_text(r, env_name, place, sizeof(place));
    allowed_text(s, allowed, sizeof(allowed));
    bool secret = s->kind == PTL_SET_SECRET;
    bool quoted = value[0] == '"' || value[0] == '\'';
    ptl_config_say(r->report, PTL_CONFIG_ERROR, "%s: [%s] %s = %.80s: allowed is %s%s", place,
                   s->section, s->key, secret ? "(not shown)" : value, allowed,
                   value[0] == '\0'               ? "; the value is missing"
                   : quoted && !secret            ? "; remove the quotes"
                   : strpbrk(value, ";#") != NULL ? "; a comment needs a line of its own"
                   : s->kind == PTL_SET_U32 && strpbrk(value, "smhd") != NULL
                       ? "; write the plain number, its unit is in the key's name"
                       : "");
}

// The key that the user probably meant: same name in another section, one or two
// bytes off, or without its unit.
static const struct ptl_setting *setting_like(const char *section, const char *key)
{
    for (size_t i = 0; i < ptl_setting_count; i++) {
        if (strcmp(ptl_settings[i].key, key) == 0) {
            return &ptl_settings[i];
        }
    }
    for (size_t i = 0; i < ptl_setting_count; i++) {
        const char *name = ptl_settings[i].key;
        size_t same = 0;
        while (name[same] != '\0' && name[same] == key[same]) {
            same++;
        }
        size_t name_tail = strlen(name);
        size_t key_tail = strlen(key);
        while (name_tail > same && key_tail > same && name[name_tail - 1] == key[key_tail - 1]) {
            name_tail--;
            key_tail--;
        }
        bool near = name_tail - same <= 2 && key_tail - same <= 2 && strlen(name) > 3;
        near = near || (same >= 4 && (name[same] == '\0' || key[same] == '\0'));
        if (near && strcmp(ptl_settings[i].section, section) == 0) {
            return &ptl_settings[i];
        }
    }
    return NULL;
}

static void unknown_key(struct reader *r, const char *section, const char *key)
{
    const struct ptl_setting *like = setting_like(section, key);
    char mend[200] = "";
    if (like != NULL) {
        snprintf(mend, sizeof(mend), "; did you mean [%s] %s?", like->section, like->key);
    }
    bool known_section = false;
    for (size_t i = 0; i < ptl_setting_count; i++) {
        known_section = known_section || strcmp(ptl_settings[i].section, section) == 0;
    }
    if (section[0] == '\0') {
        ptl_config_say(r->report, PTL_CONFIG_ERROR, "%s:%u: %.80s stands before any [section]%s",
                       r->path, r->line, key, mend);
    } else if (!known_section) {
        ptl_config_say(r->report, PTL_CONFIG_ERROR,
                       "%s:%u: there is no section [%.80s]; there are server, device, delivery, "
                       "batch, breaker, queue, journal, events, inputs, metrics, agent%s",
                       r->path, r->line, section, mend);
    } else {
        ptl_config_say(r->report, PTL_CONFIG_ERROR, "%s:%u: [%s] has no key %.80s%s", r->path,
                       r->line, section, key, mend);
    }
}

static int line_take(void *ctx, const char *section, const char *key, const char *value, int line)
{
    struct reader *r = ctx;
    PTL_ASSERT((uint32_t)line == r->line);
    size_t index = 0;
    const struct ptl_setting *s = setting_find(section, key, &index);
    if (s == NULL) {
        unknown_key(r, section, key);
        return 1;
    }
    if (r->set[index] != 0) {
        ptl_config_say(r->report, PTL_CONFIG_ERROR,
                       "%s:%u: [%s] %s was set in line %u already; keep one of them", r->path,
                       r->line, section, key, r->set[index]);
        return 1;
    }
    r->set[index] = r->line;
    if (s->kind == PTL_SET_SECRET) {
        r->secret_line = r->line;
    }
    if (!value_set(r->config, s, value)) {
        value_refused(r, s, value, NULL);
    }
    return 1;
}

// Reads a line for inih and counts it.
static char *line_read(char *buf, int cap, void *ctx)
{
    struct reader *r = ctx;
    char *got = fgets(buf, cap, r->file);
    if (got == NULL) {
        return NULL;
    }
    r->line++;
    size_t len = strlen(buf);
    if (len > 0 && buf[len - 1] != '\n' && !feof(r->file)) {
        ptl_config_say(r->report, PTL_CONFIG_ERROR, "%s:%u: the line is longer than %d bytes",
                       r->path, r->line, cap - 2);
        int c = 0;
        do {
            c = fgetc(r->file);
        } while (c != EOF && c != '\n');
        buf[0] = '\n';
        buf[1] = '\0';
    }
    return buf;
}

// A secret in the file itself makes the file one.
static void secret_in_file(struct reader *r)
{
    struct stat st;
    if (r->secret_line == 0 || fstat(fileno(r->file), &st) != 0 || (st.st_mode & S_IROTH) == 0) {
        return;
    }
    struct statvfs fs;
    bool fixed = fstatvfs(fileno(r->file), &fs) == 0 && (fs.f_flag & ST_RDONLY) != 0;
    ptl_config_say(r->report, fixed ? PTL_CONFIG_NOTE : PTL_CONFIG_ERROR,
                   "%s:%u: [server] key is in a file that every user of this machine can read%s%s",
                   r->path, r->secret_line, fixed ? "" : "; mend: chmod 600 ",
                   fixed ? "" : r->path);
}

static bool file_read(struct reader *r)
{
    r->file = fopen(r->path, "re");
    if (r->file == NULL) {
        ptl_config_say(r->report, PTL_CONFIG_ERROR, "%s: cannot be read: %s", r->path,
                       strerror(errno));
        return false;
    }
    uint32_t errors = r->report->errors;
    int line = ini_parse_stream(line_read, r, line_take, r);
    if (line > 0 && r->report->errors == errors) {
        ptl_config_say(r->report, PTL_CONFIG_ERROR,
                       "%s:%d: this is neither [section] nor key = value nor a comment (; or #)",
                       r->path, line);
    } else if (line < 0) {
        ptl_config_say(r->report, PTL_CONFIG_ERROR, "%s: cannot be read to its end", r->path);
    }
    secret_in_file(r);
    fclose(r->file);
    return true;
}

// PETREL_BATCH_MAX_DELAY_MS is [batch] max_delay_ms.
static bool env_name_is(const char *name, size_t len, const struct ptl_setting *s)
{
    char full[96];
    int n = snprintf(full, sizeof(full), "PETREL_%s_%s", s->section, s->key);
    return (size_t)n == len && strncasecmp(full, name, len) == 0;
}

static bool section_like(const char *name, size_t len)
{
    for (size_t i = 0; i < ptl_setting_count; i++) {
        char prefix[48];
        int n = snprintf(prefix, sizeof(prefix), "PETREL_%s_", ptl_settings[i].section);
        if (len > (size_t)n && strncasecmp(prefix, name, (size_t)n) == 0) {
            return true;
        }
    }
    return false;
}

static void env_take(struct reader *r, const char *entry)
{
    const char *equals = strchr(entry, '=');
    if (equals == NULL) {
        return;
    }
    size_t len = (size_t)(equals - entry);
    char name[96];
    snprintf(name, sizeof(name), "%.*s", (int)len, entry);
    char value[PTL_CONFIG_SECRET_MAX];
    if (snprintf(value, sizeof(value), "%s", equals + 1) >= (int)sizeof(value)) {
        return;
    }
    // White space around a value comes from env files with DOS line ends.
    size_t end = strlen(value);
    while (end > 0 && isspace((unsigned char)value[end - 1])) {
        value[--end] = '\0';
    }
    const char *text = value + strspn(value, " \t");
    for (size_t i = 0; i < ptl_setting_count; i++) {
        const struct ptl_setting *s = &ptl_settings[i];
        bool supabase = (strcmp(name, "SUPABASE_URL") == 0 && strcmp(s->key, "url") == 0) ||
                        (strcmp(name, "SUPABASE_KEY") == 0 && s->kind == PTL_SET_SECRET);
        if (supabase || env_name_is(entry, len, s)) {
            r->set[i] = UINT32_MAX;
            if (!value_set(r->config, s, text)) {
                value_refused(r, s, text, name);
            }
            return;
        }
    }
    if (section_like(entry, len)) {
        ptl_config_say(r->report, PTL_CONFIG_ERROR, "environment %s: there is no such setting",
                       name);
    }
}

static void profile_set(struct reader *r, const char *key, uint64_t value)
{
    size_t index = 0;
    const struct ptl_setting *s = setting_find("batch", key, &index);
    PTL_ASSERT(s != NULL);
    if (r->set[index] != 0) {
        return;
    }
    uint32_t small = (uint32_t)value;
    bool on = value != 0;
    memcpy(field(r->config, s), s->kind == PTL_SET_BOOL ? (const void *)&on : (const void *)&small,
           s->kind == PTL_SET_BOOL ? sizeof(on) : sizeof(small));
}

static void profile_apply(struct reader *r)
{
    if (r->config->batch.profile == PTL_PROFILE_LOW_LATENCY) {
        profile_set(r, "max_delay_ms", 50);
        profile_set(r, "messages_per_s", 10000);
        profile_set(r, "burst", 20);
        profile_set(r, "eager", 1);
    } else if (r->config->batch.profile == PTL_PROFILE_ECONOMY) {
        profile_set(r, "max_delay_ms", 10000);
        profile_set(r, "messages_per_s", 200);
        profile_set(r, "burst", 5);
    }
}

bool ptl_config_load(struct ptl_config *c, const char *path, char *const *env,
                     struct ptl_config_report *report)
{
    PTL_ASSERT(ptl_setting_count <= SETTINGS_MAX);
    struct reader r = {.config = c, .report = report, .path = path};
    report->errors = 0;
    report->warnings = 0;
    presets_apply(c);
    if (path != NULL) {
        snprintf(c->file, sizeof(c->file), "%s", path);
        if (!file_read(&r)) {
            return false;
        }
    }
    for (; env != NULL && *env != NULL; env++) {
        if (strncmp(*env, "PETREL_", 7) == 0 || strncmp(*env, "SUPABASE_", 9) == 0) {
            env_take(&r, *env);
        }
    }
    profile_apply(&r);
    if (report->errors == 0) {
        ptl_config_check(c, report);
    }
    return report->errors == 0;
}

uint32_t ptl_config_scaled(const struct ptl_config *c, uint32_t ms)
{
    uint32_t scaled = ms / c->agent.time_scale;
    return scaled > 0 || ms == 0 ? scaled : 1;
}
