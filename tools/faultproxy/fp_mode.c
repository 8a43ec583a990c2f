#define _POSIX_C_SOURCE 200809L
#include "fp_mode.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define WORDS_MAX 4

static bool parse_number(const char *word, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;
    if (*word == '\0') {
        return false;
    }
    for (const char *p = word; *p != '\0'; p++) {
        if (*p < '0' || *p > '9' || value > max / 10) {
            return false;
        }
        value = value * 10 + (uint64_t)(*p - '0');
    }
    *out = value;
    return value <= max;
}

static const char *parse_delay(char **words, size_t count, struct fp_mode *mode)
{
    uint64_t delay = 0;
    uint64_t jitter = 0;
    bool with_jitter = count == 4 && strcmp(words[2], "jitter") == 0;
    if ((count != 2 && !with_jitter) || !parse_number(words[1], 600000, &delay) ||
        (with_jitter && !parse_number(words[3], 600000, &jitter))) {
        return "use: delay MS [jitter MS], each up to 600000";
    }
    mode->delay_ms = (uint32_t)delay;
    mode->jitter_ms = (uint32_t)jitter;
    return NULL;
}

static const char *parse_rate(char **words, size_t count, struct fp_mode *mode)
{
    uint64_t rate = 0;
    if (count != 2 || !parse_number(words[1], 1000000000, &rate)) {
        return "use: rate BYTES_PER_S, 0 to 1000000000, 0 = no limit";
    }
    mode->rate_bytes_per_s = rate;
    return NULL;
}

static const char *parse_blackhole(char **words, size_t count, struct fp_mode *mode)
{
    const char *way = count == 2 ? words[1] : "both";
    bool both = strcmp(way, "both") == 0;
    bool up = strcmp(way, "up") == 0;
    bool down = strcmp(way, "down") == 0;
    if (count > 2 || (!both && !up && !down)) {
        return "use: blackhole [up|down|both]";
    }
    mode->hole_up = both || up;
    mode->hole_down = both || down;
    return NULL;
}

static const char *parse_split(char **words, size_t count, struct fp_mode *mode)
{
    uint64_t bytes = 0;
    uint64_t gap = 0;
    bool with_gap = count == 4 && strcmp(words[2], "gap") == 0;
    if ((count != 2 && !with_gap) || !parse_number(words[1], 1000000, &bytes) ||
        (with_gap && !parse_number(words[3], 10000, &gap))) {
        return "use: split BYTES [gap MS], bytes up to 1000000 (0 = off), gap up to 10000";
    }
    mode->split_bytes = (uint32_t)bytes;
    mode->split_gap_ms = (uint32_t)gap;
    return NULL;
}

static const char *parse_halfopen(char **words, size_t count, struct fp_command *command)
{
    command->type = FP_COMMAND_HALFOPEN;
    if (count == 1 || (count == 2 && strcmp(words[1], "client") == 0)) {
        return NULL;
    }
    if (count == 2 && strcmp(words[1], "server") == 0) {
        command->keep_server = true;
        return NULL;
    }
    return "use: halfopen [client|server] (which end stays)";
}

static const char *parse_plain(const char *word, struct fp_mode *mode, struct fp_command *command)
{
    if (strcmp(word, "refuse") == 0) {
        mode->refuse = true;
    } else if (strcmp(word, "clear") == 0) {
        *mode = (struct fp_mode){0};
    } else if (strcmp(word, "reset") == 0) {
        command->type = FP_COMMAND_RESET;
    } else if (strcmp(word, "stats") == 0) {
        command->type = FP_COMMAND_STATS;
    } else {
        return "unknown command; there are: delay rate blackhole reset halfopen split refuse clear "
               "stats";
    }
    return NULL;
}

const char *fp_command_parse(const char *line, struct fp_mode *mode, struct fp_command *command)
{
    char copy[FP_LINE_MAX];
    char *words[WORDS_MAX + 1];
    size_t count = 0;
    *command = (struct fp_command){.type = FP_COMMAND_MODE};
    if (strlen(line) >= sizeof(copy)) {
        return "line too long";
    }
    memcpy(copy, line, strlen(line) + 1);
    char *rest = NULL;
    for (char *word = strtok_r(copy, " \t\r\n", &rest); word != NULL && count <= WORDS_MAX;
         word = strtok_r(NULL, " \t\r\n", &rest)) {
        words[count++] = word;
    }
    if (count == 0) {
        return "empty line";
    }
    if (count > WORDS_MAX) {
        return "too many words";
    }
    if (strcmp(words[0], "delay") == 0) {
        return parse_delay(words, count, mode);
    }
    if (strcmp(words[0], "rate") == 0) {
        return parse_rate(words, count, mode);
    }
    if (strcmp(words[0], "blackhole") == 0) {
        return parse_blackhole(words, count, mode);
    }
    if (strcmp(words[0], "split") == 0) {
        return parse_split(words, count, mode);
    }
    if (strcmp(words[0], "halfopen") == 0) {
        return parse_halfopen(words, count, command);
    }
    if (count > 1) {
        return "unknown command or too many words";
    }
    return parse_plain(words[0], mode, command);
}

struct text {
    char *at;
    size_t left;
    bool any;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *text, const char *format, ...)
{
    va_list args;
    if (text->any && text->left > 1) {
        *text->at++ = ',';
        *text->at = '\0';
        text->left--;
    }
    va_start(args, format);
    int len = vsnprintf(text->at, text->left, format, args);
    va_end(args);
    size_t wrote = len < 0 ? 0 : (size_t)len;
    wrote = wrote < text->left ? wrote : text->left - 1;
    text->at += wrote;
    text->left -= wrote;
    text->any = true;
}

void fp_mode_text(const struct fp_mode *mode, char *out, size_t cap)
{
    struct text text = {.at = out, .left = cap};
    out[0] = '\0';
    if (mode->delay_ms > 0 || mode->jitter_ms > 0) {
        add(&text, "delay %" PRIu32 " jitter %" PRIu32, mode->delay_ms, mode->jitter_ms);
    }
    if (mode->rate_bytes_per_s > 0) {
        add(&text, "rate %" PRIu64, mode->rate_bytes_per_s);
    }
    if (mode->hole_up || mode->hole_down) {
        add(&text, "blackhole %s",
            mode->hole_up && mode->hole_down ? "both"
            : mode->hole_up                  ? "up"
                                             : "down");
    }
    if (mode->split_bytes > 0) {
        add(&text, "split %" PRIu32 " gap %" PRIu32, mode->split_bytes, mode->split_gap_ms);
    }
    if (mode->refuse) {
        add(&text, "refuse");
    }
    if (!text.any) {
        add(&text, "clear");
    }
}
