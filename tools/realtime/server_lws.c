// server_lws.c - the one file that knows libwebsockets: sockets, TLS, HTTP upgrade, WebSocket
// frames. What they mean is the hub's business.

#include <errno.h>
#include <libwebsockets.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hub.h"
#include "server.h"
#include "stats.h"
#include "tcp.h"
#include "upgrade.h"

_Static_assert(LWS_PRE <= PTL_RT_HEADROOM, "messages leave room for the frame header");

enum {
    KEY_BYTES_MAX = 8192, // Realtime's limit on a request line is about this
    HEADER_BYTES_MAX = 16384,
    WRITES_PER_TURN = 64, // then other clients get theirs
    IDLE_TICKS = 11,      // of a tenth of idle_ms each: closes after 10 to 11 of them
    STOP_MS_MAX = 1000,
};

struct conn {
    struct lws *wsi;
    struct conn *prev, *next;
    struct ptl_rt_client *client; // NULL before the upgrade
    char *token;                  // until the upgrade
    const struct ptl_rt_refusal *refusal;
    char *rx; // a message that comes in pieces
    size_t rx_len, rx_cap;
    uint64_t bytes_seen;
    unsigned idle_ticks;
    unsigned close_code; // to be sent, 0 for none
};

static struct {
    const struct ptl_rt_server_options *options;
    struct lws_context *context;
    struct ptl_rt_hub *hub;
    struct conn *conns;
    size_t conn_count;
    lws_sorted_usec_list_t tick_timer, stats_timer;
    bool stopping;   // no new clients, the others are being closed
    bool destroying; // connections end in any order: nothing more is asked of them
} server;

static volatile sig_atomic_t stop_signal, report_signal;

static struct ptl_rt_now now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (struct ptl_rt_now){(uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u,
                               (int64_t)time(NULL)};
}

// The hub's side ------------------------------------------------------------------------------

static void want_write(void *io)
{
    if (server.destroying) {
        return;
    }
    lws_callback_on_writable(((struct conn *)io)->wsi);
}

static void hold_reading(void *io, bool hold)
{
    (void)lws_rx_flow_control(((struct conn *)io)->wsi, hold ? 0 : 1);
}

static void kill_later(void *io)
{
    if (server.destroying) {
        return;
    }
    lws_set_timeout(((struct conn *)io)->wsi, PENDING_TIMEOUT_KILLED_BY_PARENT, LWS_TO_KILL_ASYNC);
}

static void on_tick(lws_sorted_usec_list_t *timer)
{
    struct ptl_rt_now at = now();
    uint64_t next_ms = ptl_rt_hub_tick(server.hub, at);
    if (next_ms != UINT64_MAX) {
        uint64_t wait_ms = next_ms > at.mono_ms ? next_ms - at.mono_ms : 1;
        lws_sul_schedule(server.context, 0, timer, on_tick, (lws_usec_t)wait_ms * 1000);
    }
}

static void on_stats(lws_sorted_usec_list_t *timer)
{
    if (!ptl_rt_stats_save(ptl_rt_hub_stats(server.hub), server.options->stats_file)) {
        fprintf(stderr, "petrel-realtime: %s: %s\n", server.options->stats_file, strerror(errno));
    }
    lws_sul_schedule(server.context, 0, timer, on_stats, 200 * LWS_US_PER_MS);
}

// HTTP ----------------------------------------------------------------------------------------

static struct conn *conn_of(struct lws *wsi)
{
    return lws_get_opaque_user_data(wsi);
}

static struct conn *new_conn(struct lws *wsi)
{
    struct conn *c = ptl_rt_alloc(sizeof *c);
    c->wsi = wsi;
    c->next = server.conns;
    if (server.conns != NULL) {
        server.conns->prev = c;
    }
    server.conns = c;
    server.conn_count++;
    lws_set_opaque_user_data(wsi, c);
    return c;
}

static void free_conn(struct conn *c)
{
    if (c->client != NULL) {
        ptl_rt_hub_disconnect(c->client);
    }
    if (c->next != NULL) {
        c->next->prev = c->prev;
    }
    if (c->prev != NULL) {
        c->prev->next = c->next;
    } else {
        server.conns = c->next;
    }
    server.conn_count--;
    lws_set_opaque_user_data(c->wsi, NULL);
    free(c->token);
    free(c->rx);
    free(c);
}

static size_t http_date(char *out, size_t out_bytes)
{
    time_t t = time(NULL);
    struct tm tm;
    gmtime_r(&t, &tm);
    return strftime(out, out_bytes, "date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
}

// Always -1: the connection ends with the answer.
static int send_refusal(struct lws *wsi, const struct ptl_rt_refusal *r)
{
    unsigned char space[LWS_PRE + 1024];
    char date[64] = "";
    (void)http_date(date, sizeof date);
    int len = snprintf((char *)space + LWS_PRE, sizeof space - LWS_PRE,
                       "HTTP/1.1 %u %s\r\n%sserver: petrel-realtime\r\nconnection: close\r\n"
                       "content-length: %zu\r\n%s%s%s\r\n%s",
                       r->status, r->reason, date, strlen(r->body),
                       r->type != NULL ? "content-type: " : "", r->type != NULL ? r->type : "",
                       r->type != NULL ? "\r\n" : "", r->body);
    (void)lws_write(wsi, space + LWS_PRE, (size_t)len, LWS_WRITE_HTTP_FINAL);
    return -1;
}

// The library looks through the query with the caller's buffer, so one too short for an earlier
// parameter hides a later one: look through it with one that fits all, then copy.
static const char *query_value(struct lws *wsi, const char *name, char *out, size_t out_bytes)
{
    static char scratch[KEY_BYTES_MAX];
    int len = lws_get_urlarg_by_name_safe(wsi, name, scratch, sizeof scratch);
    if (len < 0 || (size_t)len >= out_bytes) {
        return NULL;
    }
    memcpy(out, scratch, (size_t)len);
    out[len] = '\0';
    return out;
}

static const char *api_key(struct lws *wsi, char *out, size_t out_bytes)
{
    static const char header[] = "x-api-key:";
    int header_len = (int)sizeof header - 1;
    if (lws_hdr_custom_length(wsi, header, header_len) > 0) {
        return lws_hdr_custom_copy(wsi, out, (int)out_bytes, header, header_len) > 0 ? out : NULL;
    }
    return query_value(wsi, "apikey", out, out_bytes);
}

// 0: go on with the upgrade. LWS_CONFIRM_UPGRADE_LATER (of our patch series): refused, the answer
// follows from on_timer(), as late as Realtime's.
static int judge_upgrade(struct lws *wsi)
{
    char path[128];
    char vsn[32];
    static char key[KEY_BYTES_MAX]; // one thread
    if (conn_of(wsi) != NULL) {
        return -1; // a second request behind a refused one
    }
    if (lws_hdr_copy(wsi, path, sizeof path, WSI_TOKEN_GET_URI) <= 0) {
        return -1;
    }
    struct ptl_rt_upgrade request = {path, query_value(wsi, "vsn", vsn, sizeof vsn),
                                     api_key(wsi, key, sizeof key)};
    const struct ptl_rt_refusal *refusal =
        ptl_rt_upgrade_judge(&request, &server.options->secret, now().unix_s);
    struct conn *c = new_conn(wsi);
    if (refusal == NULL) {
        c->token = ptl_rt_copy(key, strlen(key)); // api_key() put it there
        return 0;
    }
    c->refusal = refusal;
    uint64_t wait_ms = refusal->delayed ? server.options->connect_error_delay_ms : 0;
    lws_set_timer_usecs(wsi, (lws_usec_t)wait_ms * LWS_US_PER_MS + 1);
    return LWS_CONFIRM_UPGRADE_LATER;
}

static int plain_request(struct lws *wsi, const char *path)
{
    return send_refusal(wsi,
                        ptl_rt_is_socket_path(path) ? &ptl_rt_not_an_upgrade : &ptl_rt_not_found);
}

static int add_headers(struct lws_process_html_args *args)
{
    char text[128];
    size_t len = http_date(text, sizeof text);
    len += (size_t)snprintf(text + len, sizeof text - len, "server: petrel-realtime\r\n");
    if (args->max_len < (int)len) {
        return 1;
    }
    memcpy(args->p, text, len);
    args->p += len;
    return 0;
}

// WebSocket -----------------------------------------------------------------------------------

static void arm_idle(struct conn *c)
{
    uint64_t tick_us = server.options->idle_ms * 100u;
    lws_set_timer_usecs(c->wsi, (lws_usec_t)(tick_us > 0 ? tick_us : 1));
}

static int established(struct lws *wsi)
{
    struct conn *c = conn_of(wsi);
    if (c == NULL || c->token == NULL) {
        return -1;
    }
    c->client = ptl_rt_hub_connect(server.hub, c, c->token);
    free(c->token);
    c->token = NULL;
    c->bytes_seen = ptl_rt_tcp_bytes_received(lws_get_socket_fd(wsi));
    arm_idle(c);
    return 0;
}

static int on_timer(struct lws *wsi)
{
    struct conn *c = conn_of(wsi);
    if (c == NULL) {
        return 0;
    }
    if (c->refusal != NULL) {
        return send_refusal(wsi, c->refusal);
    }
    uint64_t bytes = ptl_rt_tcp_bytes_received(lws_get_socket_fd(wsi));
    c->idle_ticks = bytes == c->bytes_seen ? c->idle_ticks + 1 : 1;
    c->bytes_seen = bytes;
    if (c->idle_ticks >= IDLE_TICKS) {
        c->close_code = LWS_CLOSE_STATUS_NORMAL;
        lws_callback_on_writable(wsi);
    }
    arm_idle(c);
    return 0;
}

static int close_with(struct lws *wsi, unsigned code)
{
    lws_close_reason(wsi, (enum lws_close_status)code, NULL, 0);
    return -1;
}

static int writeable(struct lws *wsi)
{
    struct conn *c = conn_of(wsi);
    if (c == NULL || c->client == NULL) {
        return 0;
    }
    if (c->close_code != 0) {
        return close_with(wsi, c->close_code);
    }
    for (int i = 0; i < WRITES_PER_TURN; i++) {
        struct ptl_rt_msg *m = ptl_rt_hub_next(c->client);
        if (m == NULL) {
            return 0;
        }
        int written = lws_write(wsi, ptl_rt_msg_bytes(m), m->len,
                                m->binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT);
        ptl_rt_msg_drop(m);
        if (written < 0) {
            return -1;
        }
        if (lws_send_pipe_choked(wsi)) {
            break;
        }
    }
    lws_callback_on_writable(wsi);
    return 0;
}

// False if the message grows beyond what a frame may have.
static bool collect(struct conn *c, const char *data, size_t len)
{
    if (len > server.options->frame_bytes_max - c->rx_len) {
        return false;
    }
    if (c->rx_cap - c->rx_len < len) {
        size_t cap = c->rx_cap == 0 ? 4096 : c->rx_cap;
        while (cap - c->rx_len < len) {
            cap *= 2;
        }
        c->rx = ptl_rt_realloc(c->rx, cap);
        c->rx_cap = cap;
    }
    if (len > 0) {
        memcpy(c->rx + c->rx_len, data, len);
    }
    c->rx_len += len;
    return true;
}

static void give(struct conn *c, const char *data, size_t len, bool binary)
{
    ptl_rt_hub_recv(c->client, data, len, binary, now());
    // A refused join may have started a wait.
    if (lws_dll2_is_detached(&server.tick_timer.list)) {
        on_tick(&server.tick_timer);
    }
}

static int received(struct lws *wsi, const char *data, size_t len)
{
    struct conn *c = conn_of(wsi);
    if (c == NULL || c->client == NULL) {
        return -1;
    }
    bool first = lws_is_first_fragment(wsi) != 0;
    bool final = lws_is_final_fragment(wsi) != 0;
    bool binary = lws_frame_is_binary(wsi) != 0;
    if (first) {
        c->rx_len = 0;
    }
    if (first && final && len <= server.options->frame_bytes_max) {
        give(c, data, len, binary); // the usual case: no copy
        return 0;
    }
    if (!collect(c, data, len)) {
        return close_with(wsi, LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE);
    }
    if (final) {
        give(c, c->rx, c->rx_len, binary);
        c->rx_len = 0;
        if (c->rx_cap > 65536) { // one big message is no reason to keep its room
            free(c->rx);
            c->rx = NULL;
            c->rx_cap = 0;
        }
    }
    return 0;
}

static bool admits(void)
{
    return !server.stopping && server.conn_count < server.options->clients_max;
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t len)
{
    (void)user;
    switch (reason) {
    case LWS_CALLBACK_FILTER_NETWORK_CONNECTION:
        return admits() ? 0 : -1;
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
        return judge_upgrade(wsi);
    case LWS_CALLBACK_HTTP:
        return plain_request(wsi, in);
    case LWS_CALLBACK_ADD_HEADERS:
        return add_headers(in);
    case LWS_CALLBACK_ESTABLISHED:
        return established(wsi);
    case LWS_CALLBACK_RECEIVE:
        return received(wsi, in, len);
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return writeable(wsi);
    case LWS_CALLBACK_TIMER:
        return on_timer(wsi);
    case LWS_CALLBACK_CLOSED: // the client is gone for the others as soon as its socket is
    case LWS_CALLBACK_WSI_DESTROY:
        if (conn_of(wsi) != NULL) {
            free_conn(conn_of(wsi));
        }
        return 0;
    default:
        return 0;
    }
}

// Process -------------------------------------------------------------------------------------

static void on_signal(int number)
{
    if (number == SIGUSR1) {
        report_signal = 1;
    } else {
        stop_signal = 1;
    }
    if (server.context != NULL) {
        lws_cancel_service(server.context);
    }
}

static void report(void)
{
    struct ptl_rt_str line = {0};
    ptl_rt_stats_line(ptl_rt_hub_stats(server.hub), &line);
    fprintf(stderr, "petrel-realtime stats %.*s", (int)line.len, line.data);
    ptl_rt_str_free(&line);
}

static bool open_context(void)
{
    static const struct lws_protocols protocols[] = {
        {"petrel-realtime", on_event, 0, 16384, 0, NULL, 16u << 20},
        LWS_PROTOCOL_LIST_TERM,
    };
    // No pings of our own: Realtime never sends any.
    static const lws_retry_bo_t no_pings = {.secs_since_valid_ping = 0,
                                            .secs_since_valid_hangup = 0};
    const struct ptl_rt_server_options *o = server.options;
    struct lws_context_creation_info info;
    char cert[4096], key[4096];
    memset(&info, 0, sizeof info);
    info.port = o->port;
    info.iface = o->host;
    info.protocols = protocols;
    info.retry_and_idle_policy = &no_pings;
    info.pt_serv_buf_size = 65536;
    info.max_http_header_data2 = HEADER_BYTES_MAX;
    info.max_http_header_pool2 = 64;
    info.timeout_secs = 10;
    info.keepalive_timeout = 120; // a refused upgrade waits in it
    info.fd_limit_per_thread = (unsigned)o->clients_max + 32u;
    info.options = LWS_SERVER_OPTION_VALIDATE_UTF8 | LWS_SERVER_OPTION_FAIL_UPON_UNABLE_TO_BIND;
    if (strchr(o->host, ':') == NULL) {
        info.options |= LWS_SERVER_OPTION_DISABLE_IPV6;
    }
    if (o->tls_dir != NULL) {
        snprintf(cert, sizeof cert, "%s/cert.pem", o->tls_dir);
        snprintf(key, sizeof key, "%s/key.pem", o->tls_dir);
        info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
        info.ssl_cert_filepath = cert;
        info.ssl_private_key_filepath = key;
    }
    server.context = lws_create_context(&info);
    return server.context != NULL;
}

static void print_ready(void)
{
    const struct ptl_rt_server_options *o = server.options;
    int port = lws_get_vhost_listen_port(lws_get_vhost_by_name(server.context, "default"));
    bool v6 = strchr(o->host, ':') != NULL;
    printf("petrel-realtime ready %s://%s%s%s:%d", o->tls_dir != NULL ? "wss" : "ws", v6 ? "[" : "",
           o->host, v6 ? "]" : "", port);
    if (o->tls_dir != NULL) {
        printf(" ca=%s/ca.pem", o->tls_dir);
    }
    printf("\n");
    fflush(stdout);
}

static void serve_until_stopped(void)
{
    uint64_t give_up_ms = UINT64_MAX;
    while (lws_service(server.context, 0) >= 0) {
        if (report_signal) {
            report_signal = 0;
            report();
        }
        if (stop_signal && !server.stopping) {
            server.stopping = true;
            give_up_ms = now().mono_ms + STOP_MS_MAX;
            for (struct conn *c = server.conns; c != NULL; c = c->next) {
                c->close_code = 1012; // service restart
                lws_callback_on_writable(c->wsi);
            }
            lws_sul_cancel(&server.stats_timer);
            lws_sul_schedule(server.context, 0, &server.tick_timer, on_tick,
                             STOP_MS_MAX * LWS_US_PER_MS + 1);
        }
        if (server.stopping && (server.conns == NULL || now().mono_ms >= give_up_ms)) {
            break;
        }
    }
}

int ptl_rt_server_run(const struct ptl_rt_server_options *options)
{
    int error = ptl_rt_tcp_listen_error(options->host, options->port);
    if (error != 0) {
        fprintf(stderr, "petrel-realtime: cannot listen on %s port %d: %s\n", options->host,
                options->port, error == EINVAL ? "not a numeric address" : strerror(error));
        return 1;
    }
    server.options = options;
    lws_set_log_level(
        options->verbose ? LLL_ERR | LLL_WARN | LLL_NOTICE | LLL_INFO : LLL_ERR | LLL_WARN, NULL);
    struct ptl_rt_config config = {
        .io = {want_write, hold_reading, kill_later},
        .secret = options->secret,
        .join_error_delay_ms = options->join_error_delay_ms,
        .payload_bytes_max = options->payload_kb_max * 1000u + 500u,
        .channels_max = options->channels_max,
        .backlog_bytes_max = options->backlog_bytes_max,
        .held_bytes_max = 2u * options->frame_bytes_max,
    };
    server.hub = ptl_rt_hub_new(&config);
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (!open_context()) {
        fprintf(stderr,
                "petrel-realtime: cannot serve on %s port %d; are cert.pem and key.pem in "
                "--tls-dir good? see the lines above\n",
                options->host, options->port);
        ptl_rt_hub_free(server.hub);
        return 1;
    }
    if (options->stats_file != NULL) {
        on_stats(&server.stats_timer);
    }
    print_ready();
    serve_until_stopped();
    report();
    if (options->stats_file != NULL) {
        (void)ptl_rt_stats_save(ptl_rt_hub_stats(server.hub), options->stats_file);
    }
    server.destroying = true;
    lws_context_destroy(server.context);
    ptl_rt_hub_free(server.hub);
    return 0;
}
