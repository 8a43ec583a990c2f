#define _GNU_SOURCE
#include "ws.h"

#include "log.h"

#include <errno.h>
#include <libwebsockets.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    HEADER_BYTES = 16384, // of the upgrade's answer: edges send kilobytes of them
    SERVICE_BYTES = 65536,
};

enum phase { PHASE_IDLE, PHASE_CONNECTING, PHASE_UP };

struct col_ws {
    const struct col_ws_config *cfg;
    struct lws_context *context;
    struct lws_vhost *vhost;
    struct lws_protocols protocols[2];
    struct lws *wsi; // the present one; what an earlier one still says is ignored
    lws_sorted_usec_list_t sul;
    enum phase phase;
    uint64_t since_ms;   // in this phase
    uint64_t connect_ms; // IDLE: next try
    uint32_t tries;
    struct ptl_prng prng;
    uint8_t *rx;
    size_t rx_len, rx_cap;
    bool rx_discard;
    uint8_t *tx;
    char close_words[160]; // what the peer said when it closed
    char host_header[300];
};

uint64_t col_mono_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int64_t col_unix_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec < 0 ? 0 : (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// The link is gone, or never was: say so once, and when the next try is.
static void ended(struct col_ws *ws, const char *why, uint32_t at_least_ms)
{
    const struct col_ws_config *cfg = ws->cfg;
    uint64_t now = col_mono_ms();
    if (ws->phase == PHASE_UP && now - ws->since_ms >= cfg->reset_ms) {
        ws->tries = 0;
    }
    uint64_t bound = cfg->backoff_base_ms;
    for (uint32_t i = 0; i < ws->tries && bound < cfg->backoff_cap_ms; i++) {
        bound *= 2;
    }
    bound = bound < cfg->backoff_cap_ms ? bound : cfg->backoff_cap_ms;
    uint64_t wait = at_least_ms + ptl_prng_below(&ws->prng, (uint32_t)bound + 1);
    ws->tries++;
    ws->wsi = NULL;
    ws->phase = PHASE_IDLE;
    ws->since_ms = now;
    ws->connect_ms = now + wait;
    ws->rx_len = 0;
    ws->rx_discard = false;
    cfg->down(cfg->ctx, why, wait);
}

// Lets go of the socket without waiting for the peer.
static void drop(struct col_ws *ws, const char *why)
{
    struct lws *wsi = ws->wsi;
    ws->wsi = NULL;
    if (wsi != NULL) {
        lws_set_opaque_user_data(wsi, NULL);
        lws_set_timeout(wsi, PENDING_TIMEOUT_CLOSE_SEND, LWS_TO_KILL_SYNC);
    }
    ended(ws, why, 0);
}

// What libwebsockets and mbedTLS say, in words that name what the user can mend.
static void words(const struct col_ws *ws, const char *raw, char *out, size_t cap)
{
    const char *host = ws->cfg->host;
    if (strstr(raw, "hostname") != NULL) {
        snprintf(out, cap, "the certificate of the server is not for %s", host);
    } else if (strstr(raw, "expired") != NULL) {
        snprintf(out, cap, "the certificate of %s, or of its CA, has expired", host);
    } else if (strstr(raw, "notyetvalid") != NULL) {
        snprintf(out, cap, "the certificate of %s is not valid yet (or this clock is wrong)", host);
    } else if (strstr(raw, "invalidca") != NULL) {
        snprintf(out, cap, "the certificate of %s is signed by no CA in %s", host,
                 ws->cfg->ca_file);
    } else {
        snprintf(out, cap, "cannot connect to %s:%u: %s", host, (unsigned)ws->cfg->port,
                 raw[0] != '\0' ? raw : "no reason given");
    }
}

static void refused(struct col_ws *ws, struct lws *wsi, const char *raw)
{
    char why[256];
    unsigned status = lws_http_client_http_response(wsi);
    if (status == 401) {
        ended(ws, "the server refused the key (HTTP 401): missing, wrong or expired",
              ws->cfg->backoff_cap_ms);
    } else if (status == 429) {
        ended(ws, "too many connections or joins for the plan (HTTP 429)", ws->cfg->slow_ms);
    } else if (status != 0 && status != 101) {
        snprintf(why, sizeof(why), "the server refused the upgrade with HTTP %u", status);
        ended(ws, why, status < 500 ? ws->cfg->backoff_cap_ms : 0);
    } else {
        words(ws, raw, why, sizeof(why));
        ended(ws, why, 0);
    }
}

static void connect_now(struct col_ws *ws)
{
    const struct col_ws_config *cfg = ws->cfg;
    ws->phase = PHASE_CONNECTING;
    ws->since_ms = col_mono_ms();
    ws->close_words[0] = '\0';
    const struct lws_client_connect_info info = {
        .context = ws->context,
        .vhost = ws->vhost,
        .address = cfg->host,
        .port = cfg->port,
        .ssl_connection = (cfg->tls ? LCCSCF_USE_SSL : 0) | LCCSCF_HTTP_NO_FOLLOW_REDIRECT,
        .path = cfg->path,
        .host = ws->host_header,
        .local_protocol_name = ws->protocols[0].name,
        .ietf_version_or_minus_one = -1,
        .pwsi = &ws->wsi,
        .opaque_user_data = ws,
    };
    // Failures come through the callback too, also those met inside this call.
    if (lws_client_connect_via_info(&info) == NULL && ws->phase == PHASE_CONNECTING) {
        ended(ws, "cannot start a connect", 0);
    }
}

static void established(struct col_ws *ws, struct lws *wsi)
{
    int on = 1;
    ws->phase = PHASE_UP;
    ws->since_ms = col_mono_ms();
    (void)setsockopt(lws_get_socket_fd(wsi), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    ws->cfg->up(ws->cfg->ctx);
}

static bool rx_room(struct col_ws *ws, size_t len)
{
    if (len > ws->cfg->rx_bytes_max - ws->rx_len) {
        return false;
    }
    if (ws->rx_len + len <= ws->rx_cap) {
        return true;
    }
    size_t cap = ws->rx_cap > 0 ? ws->rx_cap : 65536;
    while (cap < ws->rx_len + len) {
        cap *= 2;
    }
    cap = cap < ws->cfg->rx_bytes_max ? cap : ws->cfg->rx_bytes_max;
    uint8_t *more = realloc(ws->rx, cap);
    if (more == NULL) {
        return false;
    }
    ws->rx = more;
    ws->rx_cap = cap;
    return true;
}

static void received(struct col_ws *ws, struct lws *wsi, const uint8_t *in, size_t len)
{
    bool final = lws_is_final_fragment(wsi) && lws_remaining_packet_payload(wsi) == 0;
    if (lws_is_first_fragment(wsi)) {
        ws->rx_len = 0;
        ws->rx_discard = false;
    }
    if (!ws->rx_discard && rx_room(ws, len)) {
        memcpy(ws->rx + ws->rx_len, in, len);
        ws->rx_len += len;
    } else if (len > 0) {
        ws->rx_discard = true;
    }
    if (!final) {
        return;
    }
    if (ws->rx_discard) {
        ws->cfg->oversize(ws->cfg->ctx);
    } else {
        ws->cfg->message(ws->cfg->ctx, (struct ptl_span){ws->rx, ws->rx_len},
                         lws_frame_is_binary(wsi) != 0);
    }
    ws->rx_len = 0;
    ws->rx_discard = false;
}

static int writeable(struct col_ws *ws, struct lws *wsi)
{
    bool binary = false;
    struct ptl_writer w = ptl_writer_on(ws->tx + LWS_PRE, ws->cfg->tx_bytes_max);
    if (!ws->cfg->frame(ws->cfg->ctx, &w, &binary)) {
        return 0;
    }
    int sent = lws_write(wsi, ws->tx + LWS_PRE, w.len, binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT);
    return sent < (int)w.len ? -1 : 0;
}

static void peer_closes(struct col_ws *ws, const uint8_t *in, size_t len)
{
    unsigned code = len >= 2 ? (unsigned)in[0] << 8 | in[1] : 1005;
    snprintf(ws->close_words, sizeof(ws->close_words), "the server closed the connection (code %u)",
             code);
}

static int on_lws(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                  size_t len)
{
    (void)user;
    struct col_ws *ws = lws_get_opaque_user_data(wsi);
    if (ws == NULL || (ws->wsi != wsi && ws->phase != PHASE_CONNECTING)) {
        return 0;
    }
    switch (reason) {
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        lws_set_opaque_user_data(wsi, NULL);
        refused(ws, wsi, in != NULL && len > 0 ? in : "");
        return 0;
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        established(ws, wsi);
        return 0;
    case LWS_CALLBACK_CLIENT_RECEIVE:
        received(ws, wsi, in, len);
        return 0;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        return writeable(ws, wsi);
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        peer_closes(ws, in, len);
        return 0;
    case LWS_CALLBACK_CLIENT_CLOSED:
        lws_set_opaque_user_data(wsi, NULL);
        ended(ws, ws->close_words[0] != '\0' ? ws->close_words : "the connection broke", 0);
        return 0;
    default:
        return 0;
    }
}

static void log_line(int level, const char *line)
{
    static uint64_t said;
    (void)level;
    col_log_some(&said, "libwebsockets: %.*s", (int)strcspn(line, "\n"), line);
}

struct col_ws *col_ws_create(const struct col_ws_config *cfg, const char **error)
{
    struct col_ws *ws = calloc(1, sizeof(*ws));
    *error = "out of memory";
    if (ws == NULL || (ws->tx = malloc(LWS_PRE + cfg->tx_bytes_max)) == NULL) {
        free(ws);
        return NULL;
    }
    ws->cfg = cfg;
    ws->protocols[0] = (struct lws_protocols){.name = "petrel", .callback = on_lws};
    ptl_prng_seed(&ws->prng, cfg->seed);
    bool standard_port = cfg->port == (cfg->tls ? 443 : 80);
    snprintf(ws->host_header, sizeof(ws->host_header), standard_port ? "%s" : "%s:%u", cfg->host,
             (unsigned)cfg->port);
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = ws->protocols,
        .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
        .max_http_header_data = HEADER_BYTES,
        .pt_serv_buf_size = SERVICE_BYTES,
        .fd_limit_per_thread = 16,
        // Our own timer watches the whole connect; these are only behind it.
        .connect_timeout_secs = cfg->connect_ms / 1000 + 5,
        .timeout_secs = cfg->connect_ms / 1000 + 5,
        .client_ssl_ca_filepath = cfg->tls ? cfg->ca_file : NULL,
        .vhost_name = "petrel",
    };
    lws_set_log_level(LLL_ERR | LLL_WARN, log_line);
    ws->context = lws_create_context(&info);
    if (ws->context == NULL) {
        *error = "the TLS and WebSocket library could not start (out of memory?)";
        col_ws_destroy(ws);
        return NULL;
    }
    ws->vhost = lws_create_vhost(ws->context, &info);
    if (ws->vhost == NULL) {
        *error = "the CA file cannot be read or holds no certificate in PEM form";
        col_ws_destroy(ws);
        return NULL;
    }
    return ws;
}

void col_ws_destroy(struct col_ws *ws)
{
    if (ws->wsi != NULL) {
        lws_set_opaque_user_data(ws->wsi, NULL);
        ws->wsi = NULL;
    }
    if (ws->context != NULL) {
        lws_context_destroy(ws->context);
    }
    free(ws->rx);
    free(ws->tx);
    free(ws);
}

static void turn(struct col_ws *ws);

// libwebsockets serves its timers before it goes to sleep, and then sleeps until the next of its
// own: the turn, which sets this timer again, belongs here.
static void timer_ripe(lws_sorted_usec_list_t *sul)
{
    turn(lws_container_of(sul, struct col_ws, sul));
}

// What is due now; arms the timer for what comes next.
static void turn(struct col_ws *ws)
{
    bool wants_write = false;
    const char *close = NULL;
    uint64_t at = ws->cfg->turn(ws->cfg->ctx, &wants_write, &close);
    uint64_t now = col_mono_ms();
    if (close != NULL && ws->phase == PHASE_UP) {
        drop(ws, close);
    } else if (ws->phase == PHASE_CONNECTING && now - ws->since_ms >= ws->cfg->connect_ms) {
        drop(ws, "no connection within the time allowed");
    } else if (ws->phase == PHASE_IDLE && now >= ws->connect_ms) {
        connect_now(ws);
    } else if (ws->phase == PHASE_UP && wants_write) {
        lws_callback_on_writable(ws->wsi);
    }
    if (ws->phase == PHASE_IDLE) {
        at = ws->connect_ms < at ? ws->connect_ms : at;
    } else if (ws->phase == PHASE_CONNECTING) {
        uint64_t until = ws->since_ms + ws->cfg->connect_ms;
        at = until < at ? until : at;
    }
    uint64_t wait_ms = at > now ? at - now : 0;
    wait_ms = wait_ms > 0 ? wait_ms : 1;
    lws_sul_schedule(ws->context, 0, &ws->sul, timer_ripe, (lws_usec_t)wait_ms * LWS_US_PER_MS);
}

void col_ws_run(struct col_ws *ws, const volatile int *stop)
{
    while (!*stop) {
        turn(ws);
        if (lws_service(ws->context, 0) < 0) {
            break;
        }
    }
    if (ws->phase == PHASE_UP) {
        // A goodbye, without waiting for an answer.
        lws_close_reason(ws->wsi, LWS_CLOSE_STATUS_NORMAL, NULL, 0);
    }
    lws_sul_cancel(&ws->sul);
}
