// cmd_emit.c - `petrel emit`: one event by hand or from a script.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "commands.h"
#include "ptl_bytes.h"
#include "ptl_json.h"

#define EVENT_BYTES 262144

static const char help[] =
    "petrel emit TYPE [key=value...] [--severity debug|info|warning|error|critical] [--source "
    "TEXT]\n"
    "            [--timestamp RFC3339] [--wait] [--socket PATH | -c FILE] [--timeout S]\n"
    "petrel emit --json EVENT [...]\n"
    "\n"
    "Hands one event to the running agent. A value that is a JSON number, true, false or null is "
    "sent\n"
    "as such, everything else as text; key:=JSON sends any JSON as it stands. --json sends EVENT, "
    "a\n"
    "whole event object, as it stands (- reads it from standard input).\n"
    "Returns once the agent has accepted the event: at durability `sync` that is once it is on "
    "disk.\n"
    "--wait also waits for as long as that takes; without it 10 s.\n"
    "\n"
    "Exit status: 0 accepted, 1 refused (the reason and the byte are printed), 3 no agent.\n";

struct emit {
    const char *type, *severity, *source, *timestamp, *socket, *file, *json;
    bool wait;
    int timeout_s;
    struct ptl_writer data;
    bool any;
};

static bool is_literal(const char *text)
{
    struct ptl_json_value value;
    struct ptl_json_error error;
    return ptl_json_check(ptl_span_of_text(text), 1, &value, &error) == PTL_OK &&
           value.type <= PTL_JSON_NUMBER && value.text.len == strlen(text);
}

static void member_write(struct ptl_writer *w, const char *key, size_t key_len)
{
    ptl_write_byte(w, '"');
    ptl_write_json_escaped(w, (struct ptl_span){(const uint8_t *)key, key_len});
    ptl_write_text(w, "\":");
}

static void string_write(struct ptl_writer *w, const char *text)
{
    ptl_write_byte(w, '"');
    ptl_write_json_escaped(w, ptl_span_of_text(text));
    ptl_write_byte(w, '"');
}

// key=value or key:=JSON; false: neither.
static bool pair_take(struct emit *e, const char *arg)
{
    const char *equals = strchr(arg, '=');
    if (equals == NULL || equals == arg) {
        return false;
    }
    bool raw = equals[-1] == ':';
    size_t key_len = (size_t)(equals - arg) - raw;
    if (key_len == 0) {
        return false;
    }
    if (e->any) {
        ptl_write_byte(&e->data, ',');
    }
    e->any = true;
    member_write(&e->data, arg, key_len);
    if (raw || is_literal(equals + 1)) {
        ptl_write_text(&e->data, equals + 1);
    } else {
        string_write(&e->data, equals + 1);
    }
    return true;
}

// An option with its value; 0: none, else how many arguments it took.
static int option_take(struct emit *e, char **argv, int left)
{
    const struct {
        const char *name;
        const char **into;
    } options[] = {
        {"--severity", &e->severity}, {"--source", &e->source}, {"--timestamp", &e->timestamp},
        {"--socket", &e->socket},     {"-c", &e->file},         {"--json", &e->json}};
    for (size_t i = 0; left > 1 && i < sizeof(options) / sizeof(options[0]); i++) {
        if (strcmp(argv[0], options[i].name) == 0) {
            *options[i].into = argv[1];
            return 2;
        }
    }
    if (left > 1 && strcmp(argv[0], "--timeout") == 0) {
        return ptl_client_seconds(argv[1], &e->timeout_s) ? 2 : 0;
    }
    e->wait = e->wait || strcmp(argv[0], "--wait") == 0;
    return strcmp(argv[0], "--wait") == 0 ? 1 : 0;
}

static bool arguments_take(struct emit *e, int argc, char **argv)
{
    for (int i = 1; i < argc;) {
        int took = option_take(e, argv + i, argc - i);
        if (took == 0 && e->type == NULL && e->json == NULL && argv[i][0] != '-') {
            e->type = argv[i];
            took = 1;
        } else if (took == 0 && e->type != NULL && pair_take(e, argv[i])) {
            took = 1;
        }
        if (took == 0) {
            fprintf(stderr, "petrel emit: %s is not understood; petrel emit --help\n", argv[i]);
            return false;
        }
        i += took;
    }
    if ((e->type == NULL) == (e->json == NULL)) {
        fputs(help, stderr);
        return false;
    }
    return true;
}

static void event_write(const struct emit *e, struct ptl_writer *w)
{
    ptl_write_text(w, "{\"event_type\":");
    string_write(w, e->type);
    const struct {
        const char *name, *value;
    } members[] = {{"severity", e->severity}, {"source", e->source}, {"timestamp", e->timestamp}};
    for (size_t i = 0; i < 3; i++) {
        if (members[i].value != NULL) {
            ptl_write_byte(w, ',');
            member_write(w, members[i].name, strlen(members[i].name));
            string_write(w, members[i].value);
        }
    }
    ptl_write_text(w, ",\"data\":{");
    ptl_write_bytes(w, e->data.buf, e->data.len);
    ptl_write_text(w, "}}");
}

static void json_take(const struct emit *e, struct ptl_writer *w)
{
    if (strcmp(e->json, "-") != 0) {
        ptl_write_text(w, e->json);
        return;
    }
    w->len = fread(w->buf, 1, w->cap, stdin);
    w->overflow = w->len == w->cap;
}

// Prints what the agent said.
static int reply_show(const char *text, size_t len)
{
    struct ptl_json_value reply;
    struct ptl_json_value value;
    struct ptl_json_error error;
    char reason[512];
    size_t reason_len = 0;
    bool known = ptl_json_check((struct ptl_span){(const uint8_t *)text, len}, 8, &reply, &error) ==
                     PTL_OK &&
                 reply.type == PTL_JSON_OBJECT;
    if (known && ptl_json_member(reply, "accepted", &value) && value.type == PTL_JSON_TRUE) {
        puts(text);
        return PTL_EXIT_OK;
    }
    if (known && ptl_json_member(reply, "error", &value) && value.type == PTL_JSON_STRING &&
        ptl_json_unescape(ptl_json_string_body(value), (uint8_t *)reason, sizeof(reason) - 1,
                          &reason_len) == PTL_OK) {
        reason[reason_len] = '\0';
        bool has_offset = ptl_json_member(reply, "offset", &value);
        fprintf(stderr, "petrel: refused: %s%s%.*s%s\n", reason, has_offset ? " (byte " : "",
                has_offset ? (int)value.text.len : 0,
                has_offset ? (const char *)value.text.ptr : "", has_offset ? ")" : "");
        return PTL_EXIT_NO;
    }
    fprintf(stderr, "petrel: unknown answer: %s\n", text);
    return PTL_EXIT_NO;
}

int ptl_cmd_emit(int argc, char **argv)
{
    static uint8_t data[EVENT_BYTES];
    static uint8_t event[EVENT_BYTES + 4096];
    struct emit e = {.timeout_s = 10, .data = ptl_writer_on(data, sizeof(data))};
    char path[512];
    char reply[1024];
    if (ptl_help_asked(argc, argv, help)) {
        return PTL_EXIT_OK;
    }
    if (!arguments_take(&e, argc, argv)) {
        return PTL_EXIT_USAGE;
    }
    struct ptl_writer w = ptl_writer_on(event, sizeof(event));
    if (e.json != NULL) {
        json_take(&e, &w);
    } else {
        event_write(&e, &w);
    }
    if (w.overflow || e.data.overflow) {
        fputs("petrel: refused: the event is too large\n", stderr);
        return PTL_EXIT_NO;
    }
    if (!ptl_client_path(e.socket, e.file, path, sizeof(path))) {
        return PTL_EXIT_UNREACHED;
    }
    int fd = ptl_client_connect(path);
    if (fd < 0) {
        return PTL_EXIT_UNREACHED;
    }
    int len = ptl_client_ask(fd, (const char *)w.buf, w.len, reply, sizeof(reply),
                             e.wait ? -1 : e.timeout_s * 1000);
    close(fd);
    return len < 0 ? PTL_EXIT_UNREACHED : reply_show(reply, (size_t)len);
}
