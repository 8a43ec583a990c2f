// petrel-collector - subscribes to devices like any client of Supabase Realtime, stores their
// events into SQLite, answers with receipts when told to.
#define _GNU_SOURCE
#include "collector.h"
#include "devices.h"
#include "log.h"
#include "options.h"
#include "stats.h"
#include "ws.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#ifndef PETREL_VERSION
#define PETREL_VERSION "unknown"
#endif

struct app {
    struct col_options options;
    struct col_collector collector;
    struct col_device_file devices;
    char token[COL_SECRET_MAX]; // empty: the key is used
    struct timespec token_mtime;
    char path[COL_SECRET_MAX + 512]; // of the upgrade; holds the key
    uint64_t check_at_ms, status_at_ms, oversize, said_status;
    bool linked, was_ready;
};

static volatile int stop_asked;

static void on_signal(int number)
{
    (void)number;
    stop_asked = 1;
}

static uint64_t random_u64(void)
{
    uint64_t value = 0;
    if (getrandom(&value, sizeof(value), 0) != (ssize_t)sizeof(value)) {
        value = col_mono_ms() ^ (uint64_t)col_unix_ms() << 20;
    }
    return value;
}

// The status file.

static void print_status(const struct app *app, FILE *to)
{
    const struct col_collector *c = &app->collector;
    const struct col_counters *n = &c->counters;
    size_t wanted = 0;
    size_t joined = 0;
    col_session_count(&c->session, &wanted, &joined);
    fprintf(to,
            "{\"link\":\"%s\",\"devices\":%zu,\"channels\":%zu,\"joined\":%zu,\"batches\":%" PRIu64
            ",\"events\":%" PRIu64 ",\"duplicates_removed\":%" PRIu64 ",\"conflicts\":%" PRIu64
            ",\"gap_events\":%" PRIu64 ",\"unknown\":%" PRIu64 ",\"ends\":%" PRIu64
            ",\"malformed\":%" PRIu64 ",\"ignored\":%" PRIu64,
            app->linked ? "up" : "down", c->session.device_count, wanted, joined, n->batches,
            n->events, n->duplicates, n->conflicts, n->gap_events, n->unknown, n->ends,
            n->malformed, c->session.ignored);
    fprintf(to,
            ",\"waiting\":%" PRIu64 ",\"dropped\":%" PRIu64 ",\"store_failures\":%" PRIu64
            ",\"receipts\":%" PRIu64 ",\"receipts_acked\":%" PRIu64 ",\"receipts_refused\":%" PRIu64
            ",\"joins_refused\":%" PRIu64 ",\"channels_lost\":%" PRIu64 ",\"links_lost\":%" PRIu64
            ",\"oversize\":%" PRIu64 ",\"wal_bytes\":%" PRIu64 "}\n",
            c->queue_count, n->dropped, n->store_failures, n->receipts, n->receipts_acked,
            n->receipts_refused, n->joins_refused, n->channels_lost, n->links_lost, app->oversize,
            c->wal_bytes);
}

// Written beside and moved into place, so that a reader never sees half of it.
static void write_status(struct app *app)
{
    char name[4096];
    if (app->options.status_file == NULL ||
        snprintf(name, sizeof(name), "%s.new", app->options.status_file) >= (int)sizeof(name)) {
        return;
    }
    FILE *to = fopen(name, "we");
    if (to != NULL) {
        print_status(app, to);
    }
    if (to == NULL || fclose(to) != 0 || rename(name, app->options.status_file) != 0) {
        col_log_some(&app->said_status, "%s: %s", app->options.status_file, strerror(errno));
    }
}

// What the loop calls.

static void link_up(void *ctx)
{
    struct app *app = ctx;
    app->linked = true;
    col_log("connected");
    col_collector_link_up(&app->collector, col_mono_ms());
}

static void link_down(void *ctx, const char *why, uint64_t retry_in_ms)
{
    struct app *app = ctx;
    app->collector.counters.links_lost += app->linked ? 1 : 0;
    app->linked = false;
    col_log("no connection: %s; next try in %" PRIu64 " ms", why, retry_in_ms);
    col_collector_link_down(&app->collector);
}

static void message(void *ctx, struct ptl_span bytes, bool binary)
{
    struct app *app = ctx;
    col_collector_recv(&app->collector, bytes, binary, col_mono_ms());
}

static void oversize(void *ctx)
{
    struct app *app = ctx;
    col_log_some(&app->oversize, "a message above --message-kib was thrown away");
}

static bool frame(void *ctx, struct ptl_writer *w, bool *binary)
{
    struct app *app = ctx;
    enum ptl_status status = col_collector_frame(&app->collector, ptl_span_of_text(app->token), w,
                                                 binary, col_mono_ms());
    if (status != PTL_OK && status != PTL_E_EMPTY && status != PTL_E_AGAIN) {
        col_log("a frame did not fit: is the token too long?");
    }
    return status == PTL_OK;
}

static void refresh_token(struct app *app)
{
    struct stat st;
    char token[COL_SECRET_MAX];
    if (app->options.token_file == NULL || stat(app->options.token_file, &st) != 0 ||
        (st.st_mtim.tv_sec == app->token_mtime.tv_sec &&
         st.st_mtim.tv_nsec == app->token_mtime.tv_nsec)) {
        return;
    }
    app->token_mtime = st.st_mtim;
    if (col_secret_read(app->options.token_file, token)) {
        memcpy(app->token, token, sizeof(app->token));
    }
}

static void say_ready(struct app *app)
{
    size_t wanted = 0;
    size_t joined = 0;
    col_session_count(&app->collector.session, &wanted, &joined);
    if (!app->was_ready && app->linked && wanted == joined) {
        app->was_ready = true;
        printf("petrel-collector ready devices=%zu channels=%zu\n",
               app->collector.session.device_count, joined);
        fflush(stdout);
    }
}

static uint64_t turn(void *ctx, bool *wants_write, const char **close)
{
    struct app *app = ctx;
    uint64_t now = col_mono_ms();
    bool more = col_collector_work(&app->collector, now, col_unix_ms());
    if (now >= app->check_at_ms) {
        app->check_at_ms = now + app->options.check_ms;
        refresh_token(app);
        if (app->options.devices_file != NULL) {
            (void)col_devices_refresh(&app->devices, &app->collector.session, now);
        }
    }
    say_ready(app);
    if (now >= app->status_at_ms) {
        app->status_at_ms = now + app->options.status_ms;
        write_status(app);
    }
    *wants_write = col_collector_frame_due(&app->collector, now);
    *close = app->collector.close_wanted ? app->collector.cause : NULL;
    uint64_t at = more ? now : col_collector_deadline(&app->collector);
    // A frame that is due waits for the socket, not for the clock.
    if (*wants_write && at <= now) {
        at = app->check_at_ms;
    }
    at = app->check_at_ms < at ? app->check_at_ms : at;
    at = app->status_at_ms < at ? app->status_at_ms : at;
    return more ? now : at;
}

// Start.

static bool set_up_collector(struct app *app)
{
    const struct col_options *o = &app->options;
    char error[COL_ERROR_MAX];
    uint64_t now = col_mono_ms();
    const struct col_config cfg = {
        .session = {.private_channels = !o->public_channels,
                    .downlinks = o->receipts != NULL,
                    .heartbeat_ms = o->heartbeat_ms,
                    .join_timeout_ms = o->join_timeout_ms,
                    .backoff_base_ms = o->backoff_base_ms,
                    .backoff_cap_ms = o->backoff_cap_ms,
                    .reset_ms = o->reset_ms,
                    .slow_ms = o->slow_ms,
                    .joins_at_once = o->joins,
                    .seed = random_u64()},
        .db_path = o->db,
        .receipt_source = o->receipts,
        .receipt_ms = o->receipt_ms,
        .busy_ms = o->busy_ms,
        .store_retry_ms = o->store_retry_ms,
        .flush_ms = 5000,
        .queue_bytes_max = (uint64_t)o->queue_kib * 1024,
        .wal_bytes_max = UINT64_C(64) << 20,
    };
    if (!col_collector_init(&app->collector, &cfg, now, error)) {
        fprintf(stderr, "petrel-collector: %s: %s\n", o->db, error);
        return false;
    }
    for (size_t i = 0; i < o->device_count; i++) {
        if (col_session_add(&app->collector.session, o->devices[i], now) == NULL) {
            fprintf(stderr, "petrel-collector: out of memory\n");
            return false;
        }
    }
    app->devices.path = o->devices_file;
    if (o->devices_file != NULL &&
        !col_devices_refresh(&app->devices, &app->collector.session, now)) {
        fprintf(stderr, "petrel-collector: %s: %s\n", o->devices_file, strerror(errno));
        return false;
    }
    return true;
}

// apikey is percent-encoded: base64 of other makers has + / =.
static void write_path(struct app *app, const struct col_url *url, const char *key)
{
    struct ptl_writer w = ptl_writer_on((uint8_t *)app->path, sizeof(app->path) - 1);
    ptl_write_text(&w, url->path);
    ptl_write_text(&w, "?apikey=");
    for (const char *p = key; *p != '\0'; p++) {
        if (*p == '+' || *p == '/' || *p == '=') {
            ptl_write_text(&w, *p == '+' ? "%2B" : *p == '/' ? "%2F" : "%3D");
        } else {
            ptl_write_byte(&w, (uint8_t)*p);
        }
    }
    ptl_write_text(&w, "&vsn=2.0.0");
    app->path[w.len] = '\0';
}

static bool set_up_link(struct app *app, struct col_url *url)
{
    char key[COL_SECRET_MAX];
    const char *why = col_url_parse(app->options.url, url);
    if (why != NULL) {
        fprintf(stderr, "petrel-collector: --url %s: %s\n", app->options.url, why);
        return false;
    }
    if (!url->tls && (!app->options.plain || !col_host_is_loopback(url->host))) {
        fprintf(stderr,
                "petrel-collector: --url %s: without TLS only to this machine, and only "
                "with --plain\n",
                app->options.url);
        return false;
    }
    if (!col_secret_read(app->options.key_file, key)) {
        return false;
    }
    write_path(app, url, key);
    explicit_bzero(key, sizeof(key));
    if (app->options.token_file != NULL) {
        refresh_token(app);
        if (app->token[0] == '\0') {
            fprintf(stderr, "petrel-collector: %s: no token\n", app->options.token_file);
            return false;
        }
    }
    return true;
}

static int run(struct app *app, const struct col_url *url)
{
    const struct col_options *o = &app->options;
    const char *error = NULL;
    const struct col_ws_config cfg = {
        .host = url->host,
        .port = url->port,
        .tls = url->tls,
        .path = app->path,
        .ca_file = o->ca_file,
        .connect_ms = o->connect_timeout_ms,
        .backoff_base_ms = o->backoff_base_ms,
        .backoff_cap_ms = o->backoff_cap_ms,
        .reset_ms = o->reset_ms,
        .slow_ms = o->slow_ms,
        .rx_bytes_max = (size_t)o->message_kib * 1024,
        .tx_bytes_max = COL_SECRET_MAX + 8192,
        .seed = random_u64(),
        .ctx = app,
        .up = link_up,
        .down = link_down,
        .message = message,
        .oversize = oversize,
        .frame = frame,
        .turn = turn,
    };
    struct col_ws *ws = col_ws_create(&cfg, &error);
    if (ws == NULL) {
        fprintf(stderr, "petrel-collector: %s: %s\n", o->ca_file, error);
        return 1;
    }
    col_ws_run(ws, &stop_asked);
    // Whatever was taken off the socket is stored before the end.
    col_collector_finish(&app->collector, col_mono_ms(), col_unix_ms());
    write_status(app);
    col_ws_destroy(ws);
    return 0;
}

static int stats(int argc, char **argv)
{
    static const struct option known[] = {
        {"db", required_argument, NULL, 'd'}, {"json", no_argument, NULL, 'j'},
        {"runs", no_argument, NULL, 'r'},     {"source", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},     {NULL, 0, NULL, 0}};
    struct col_stats_options options = {.path = NULL};
    int opt = 0;
    while ((opt = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (opt) {
        case 'd':
            options.path = optarg;
            break;
        case 'j':
            options.json = true;
            break;
        case 'r':
            options.runs = true;
            break;
        case 's':
            options.source = optarg;
            break;
        case 'h':
            col_options_help();
            return 0;
        default:
            return 2;
        }
    }
    if (options.path == NULL || optind < argc) {
        fprintf(stderr, "petrel-collector: stats --db FILE [--json] [--runs] [--source NAME]\n");
        return 2;
    }
    return col_stats_print(&options);
}

int main(int argc, char **argv)
{
    static struct app app;
    struct col_url url;
    if (argc > 1 && strcmp(argv[1], "stats") == 0) {
        return stats(argc - 1, argv + 1);
    }
    if (!col_options_read(&app.options, argc, argv)) {
        return 2;
    }
    if (app.options.help) {
        col_options_help();
        return 0;
    }
    if (app.options.version) {
        puts("petrel-collector " PETREL_VERSION);
        return 0;
    }
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (!set_up_link(&app, &url)) {
        return 2;
    }
    int status = set_up_collector(&app) ? run(&app, &url) : 1;
    col_collector_free(&app.collector);
    col_options_free(&app.options);
    return status;
}

_Noreturn void ptl_assert_fail(const char *file, int line)
{
    fprintf(stderr, "petrel-collector: broken invariant at %s:%d\n", file, line);
    abort();
}
