// cmd_status.c - `petrel status` and `petrel wait`: the running agent's report, for people.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "commands.h"
#include "ptl_bytes.h"
#include "ptl_json.h"

#define REPLY_BYTES 8192

static const char status_help[] =
    "petrel status [--json] [--check] [--socket PATH | -c FILE]\n"
    "\n"
    "Asks the running agent how it is. --json prints the report as one JSON object; --check "
    "prints\n"
    "one line and answers with the exit status.\n"
    "\n"
    "Exit status: 0 (with --check: delivering), 1 with --check: not delivering, 3 no agent.\n";

static const char wait_help[] =
    "petrel wait --joined [--timeout S] [--socket PATH | -c FILE]\n"
    "\n"
    "Returns once the agent has joined its channels. --timeout: seconds, default 60, 0 for ever.\n"
    "\n"
    "Exit status: 0 joined, 3 no agent or not in time.\n";

struct report {
    struct ptl_json_value root;
};

static bool find(const struct report *r, const char *group, const char *name,
                 struct ptl_json_value *value)
{
    struct ptl_json_value object = r->root;
    if (group[0] != '\0' && !ptl_json_member(r->root, group, &object)) {
        return false;
    }
    return object.type == PTL_JSON_OBJECT && ptl_json_member(object, name, value);
}

static uint64_t number(const struct report *r, const char *group, const char *name)
{
    struct ptl_json_value value;
    uint64_t out = 0;
    return find(r, group, name, &value) && value.type == PTL_JSON_NUMBER &&
                   ptl_json_u64(value, &out) == PTL_OK
               ? out
               : 0;
}

static bool is(const struct report *r, const char *group, const char *name)
{
    struct ptl_json_value value;
    return find(r, group, name, &value) && value.type == PTL_JSON_TRUE;
}

// Text of a member, without control characters; "" if there is none. Valid until the next but
// three.
static const char *text(const struct report *r, const char *group, const char *name)
{
    static char ring[8][512];
    static uint32_t at;
    char *out = ring[at++ % 8];
    struct ptl_json_value value;
    size_t len = 0;
    if (!find(r, group, name, &value) || value.type != PTL_JSON_STRING ||
        ptl_json_unescape(ptl_json_string_body(value), (uint8_t *)out, sizeof(ring[0]) - 1, &len) !=
            PTL_OK) {
        return "";
    }
    out[len] = '\0';
    for (size_t i = 0; i < len; i++) {
        out[i] = (unsigned char)out[i] < ' ' || out[i] == 0x7F ? '?' : out[i];
    }
    return out;
}

static bool delivering(const struct report *r)
{
    return strcmp(text(r, "", "state"), "delivering") == 0;
}

static void age_print(const char *before, uint64_t ms)
{
    if (ms < 120000) {
        printf("%s%.1f s", before, (double)ms / 1000.0);
    } else if (ms < 7200000) {
        printf("%s%.0f min", before, (double)ms / 60000.0);
    } else {
        printf("%s%.1f h", before, (double)ms / 3600000.0);
    }
}

static void state_print(const struct report *r)
{
    struct ptl_json_value retry;
    printf("%s", text(r, "", "state"));
    if (is(r, "link", "joined")) {
        printf(" to %s (%s)", text(r, "link", "server"), text(r, "link", "address"));
    }
    const char *cause = text(r, "link", "cause");
    if (!is(r, "link", "joined") && cause[0] != '\0') {
        printf(": %s", cause);
    }
    if (!is(r, "link", "linked") && find(r, "link", "retry_in_ms", &retry) &&
        retry.type == PTL_JSON_NUMBER) {
        age_print("; next try in ", number(r, "link", "retry_in_ms"));
    }
    printf("\n");
}

static void events_print(const struct report *r)
{
    bool stored = strcmp(text(r, "", "delivery"), "stored") == 0;
    const char *done = stored ? "delivered" : "acknowledged";
    printf("events     %" PRIu64 " emitted = %" PRIu64 " %s + %" PRIu64 " held + %" PRIu64
           " lost + %" PRIu64 " uncertain; %" PRIu64 " rejected\n",
           number(r, "events", "emitted"), number(r, "events", done), done,
           number(r, "events", "held"), number(r, "events", "lost"),
           number(r, "events", "uncertain"), number(r, "events", "rejected"));
    printf("backlog    %" PRIu64 " in RAM, %" PRIu64 " in the journal, %" PRIu64
           " of earlier runs, %" PRIu64 " in flight",
           number(r, "events", "held_ram"), number(r, "events", "held_journal"),
           number(r, "events", "held_earlier_runs"), number(r, "events", "in_flight"));
    if (number(r, "events", "oldest_ms") > 0) {
        age_print("; oldest in RAM ", number(r, "events", "oldest_ms"));
    }
    printf("\ntraffic    %.1f events/s, %.2f messages/s; %" PRIu64 " messages, %" PRIu64
           " acknowledged, %" PRIu64 " timed out, last batch %" PRIu64 " events\n",
           (double)number(r, "traffic", "events_per_1000_s") / 1000.0,
           (double)number(r, "traffic", "messages_per_1000_s") / 1000.0,
           number(r, "traffic", "messages_sent"), number(r, "traffic", "acks"),
           number(r, "traffic", "ack_timeouts"), number(r, "traffic", "last_batch_events"));
}

static void journal_print(const struct report *r)
{
    if (!is(r, "journal", "mounted")) {
        printf("journal    none: %s\n", text(r, "journal", "why"));
        return;
    }
    uint64_t data = number(r, "journal", "data_bytes");
    uint64_t programmed = number(r, "journal", "bytes_programmed");
    printf("journal    %s, run %" PRIu64 ", mode %s%s%s; %" PRIu64 " erases over %" PRIu64
           " blocks, %" PRIu64 " syncs, %" PRIu64 " KiB written",
           text(r, "journal", "file"), number(r, "journal", "run"), text(r, "journal", "mode"),
           is(r, "journal", "spilling") ? ", spilling" : "",
           is(r, "journal", "failed") ? ", FAILED" : "", number(r, "journal", "erases"),
           number(r, "journal", "blocks"), number(r, "journal", "syncs"), programmed / 1024);
    if (data > 0) {
        printf(" (%.2f times the data)", (double)programmed / (double)data);
    }
    printf("\n");
}

static void report_print(const struct report *r)
{
    state_print(r);
    printf("device     %s (from %s), run %s, up ", text(r, "", "device"),
           text(r, "", "device_from"), text(r, "", "epoch"));
    age_print("", number(r, "", "uptime_ms"));
    printf("; clock: %s\n", text(r, "", "clock"));
    printf("promise    delivery %s, durability %s%s\n", text(r, "", "delivery"),
           text(r, "", "durability"), is(r, "link", "private") ? "" : ", PUBLIC channels");
    printf("link       breaker %s, %" PRIu64 " connects, %" PRIu64 " lost\n",
           text(r, "link", "breaker"), number(r, "link", "connects"), number(r, "link", "lost"));
    if (is(r, "tls", "plain")) {
        printf("tls        NONE: plain WebSocket to this machine\n");
    } else if (is(r, "tls", "verified")) {
        printf("tls        %s, %s; certificate of %s by %s, valid until %.10s\n",
               text(r, "tls", "version"), text(r, "tls", "cipher"), text(r, "tls", "subject"),
               text(r, "tls", "issuer"), text(r, "tls", "valid_until"));
    }
    events_print(r);
    journal_print(r);
}

struct options {
    const char *socket, *file;
    int timeout_s;
    bool json, check, joined;
};

static bool options_take(struct options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        bool value = i + 1 < argc;
        if (strcmp(argv[i], "--json") == 0) {
            o->json = true;
        } else if (strcmp(argv[i], "--check") == 0) {
            o->check = true;
        } else if (strcmp(argv[i], "--joined") == 0) {
            o->joined = true;
        } else if (value && strcmp(argv[i], "--socket") == 0) {
            o->socket = argv[++i];
        } else if (value && strcmp(argv[i], "-c") == 0) {
            o->file = argv[++i];
        } else if (value && strcmp(argv[i], "--timeout") == 0) {
            if (!ptl_client_seconds(argv[++i], &o->timeout_s)) {
                return false;
            }
        } else {
            fprintf(stderr, "petrel %s: %s is not understood; try --help\n", argv[0], argv[i]);
            return false;
        }
    }
    return true;
}

// Puts the question and checks the reply.
static bool ask(const struct options *o, const char *question, char reply[REPLY_BYTES],
                struct report *r)
{
    char path[512];
    struct ptl_json_error error;
    if (!ptl_client_path(o->socket, o->file, path, sizeof(path))) {
        return false;
    }
    int fd = ptl_client_connect(path);
    if (fd < 0) {
        return false;
    }
    int len = ptl_client_ask(fd, question, strlen(question), reply, REPLY_BYTES,
                             o->timeout_s > 0 ? o->timeout_s * 1000 : -1);
    close(fd);
    if (len < 0) {
        return false;
    }
    struct ptl_span text_span = {(const uint8_t *)reply, (size_t)len};
    if (ptl_json_check(text_span, 8, &r->root, &error) != PTL_OK) {
        fputs("petrel: the answer is not understood (another version?)\n", stderr);
        return false;
    }
    return true;
}

int ptl_cmd_status(int argc, char **argv)
{
    static char reply[REPLY_BYTES];
    struct options o = {.timeout_s = 10};
    struct report r;
    if (ptl_help_asked(argc, argv, status_help)) {
        return PTL_EXIT_OK;
    }
    if (!options_take(&o, argc, argv) || o.joined) {
        return PTL_EXIT_USAGE;
    }
    if (!ask(&o, "{\"petrel\":\"status\"}", reply, &r)) {
        return PTL_EXIT_UNREACHED;
    }
    if (o.json) {
        puts(reply);
    } else if (o.check) {
        state_print(&r);
    } else {
        report_print(&r);
    }
    return o.check && !delivering(&r) ? PTL_EXIT_NO : PTL_EXIT_OK;
}

int ptl_cmd_wait(int argc, char **argv)
{
    static char reply[REPLY_BYTES];
    struct options o = {.timeout_s = 60};
    struct report r;
    if (ptl_help_asked(argc, argv, wait_help)) {
        return PTL_EXIT_OK;
    }
    if (!options_take(&o, argc, argv) || !o.joined) {
        fputs(wait_help, stderr);
        return PTL_EXIT_USAGE;
    }
    if (!ask(&o, "{\"petrel\":\"wait\"}", reply, &r)) {
        return PTL_EXIT_UNREACHED;
    }
    state_print(&r);
    return PTL_EXIT_OK;
}
