// ptl_lws.c - the context of libwebsockets and the loop around it.
#include "ptl_lws.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lws_private.h"

// Of one upgrade answer; edges in front of a server add kilobytes of their own.
#define HEADER_BYTES 16384
// The loop's own buffer: it must hold the request, whose query may carry a long key.
#define SERVICE_BYTES 4096
// A join around its token.
#define TOKEN_FRAME_BYTES 512
// Rounds of one turn: each has a reason to come back, none may keep the loop from the sockets.
#define ROUNDS_MAX 8

static const struct ptl_lws_config *log_to;

static void log_line(int level, const char *line)
{
    (void)level;
    char text[256];
    if (log_to != NULL && log_to->log != NULL) {
        snprintf(text, sizeof(text), "%s", line);
        text[strcspn(text, "\n")] = '\0';
        log_to->log(log_to->ctx, text);
    }
}

static void resolver_finished(void *ctx)
{
    struct ptl_lws *l = ctx;
    lws_cancel_service(l->context);
}

static bool buffers_make(struct ptl_lws *l)
{
    l->tx_cap = ptl_agent_message_bytes_max(l->agent) + l->cfg->token_bytes + TOKEN_FRAME_BYTES;
    l->tx = malloc(LWS_PRE + l->tx_cap);
    l->rx = malloc(l->cfg->rx_bytes);
    return l->tx != NULL && l->rx != NULL;
}

static bool context_make(struct ptl_lws *l, const char **error)
{
    const struct ptl_lws_config *cfg = l->cfg;
    l->protocols[0] = (struct lws_protocols){
        .name = "petrel",
        .callback = ptl_lws_link_callback,
        .rx_buffer_size = 4096,
        // Above the longest message: otherwise it would be cut up and copied to the heap.
        .tx_packet_size = LWS_PRE + l->tx_cap + 64,
    };
    l->protocols[1] =
        (struct lws_protocols){.name = "petrel-fds", .callback = ptl_lws_watch_callback};
    l->retry = (lws_retry_bo_t){
        .secs_since_valid_ping = (uint16_t)cfg->ping_s,
        .secs_since_valid_hangup = (uint16_t)(cfg->ping_s > 0 ? cfg->ping_s + cfg->ping_wait_s : 0),
    };
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = l->protocols,
        .user = l,
        .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
        .max_http_header_data = HEADER_BYTES,
        .pt_serv_buf_size = SERVICE_BYTES + (unsigned)strlen(cfg->path),
        .fd_limit_per_thread = 16,
        // Our own timer watches the whole connect; these are only behind it.
        .connect_timeout_secs = cfg->connect_ms / 1000 + 5,
        .timeout_secs = cfg->connect_ms / 1000 + 5,
        .client_ssl_ca_filepath = cfg->tls ? cfg->ca_file : NULL,
        .vhost_name = "petrel",
        .retry_and_idle_policy = &l->retry,
    };
    log_to = cfg;
    lws_set_log_level(LLL_ERR | LLL_WARN, log_line);
    l->context = lws_create_context(&info);
    if (l->context == NULL) {
        *error = "the TLS and WebSocket library could not start (out of memory?)";
        return false;
    }
    l->vhost = lws_create_vhost(l->context, &info);
    if (l->vhost == NULL) {
        *error = "the CA file cannot be read or holds no certificate in PEM form";
        return false;
    }
    return true;
}

struct ptl_lws *ptl_lws_create(const struct ptl_lws_config *cfg, struct ptl_agent *agent,
                               const char **error)
{
    *error = "out of memory";
    struct ptl_lws *l = calloc(1, sizeof(*l));
    if (l == NULL) {
        return NULL;
    }
    l->cfg = cfg;
    l->agent = agent;
    l->epoll_fd = -1;
    l->always_fd = -1;
    l->timer_at_ms = PTL_NEVER;
    l->armed_ms = PTL_NEVER;
    l->connect_until_ms = PTL_NEVER;
    l->address_until_ms = PTL_NEVER;
    bool standard_port = cfg->port == (cfg->tls ? 443 : 80);
    snprintf(l->host_header, sizeof(l->host_header), standard_port ? "%s" : "%s:%u", cfg->host,
             cfg->port);
    if (!buffers_make(l) || !context_make(l, error)) {
        ptl_lws_destroy(l);
        return NULL;
    }
    l->resolver = ptl_lws_resolver_new(cfg->host, cfg->port, resolver_finished, l);
    if (l->resolver == NULL || !ptl_lws_watch_init(l)) {
        *error = "the event loop could not be set up (too many open files?)";
        ptl_lws_destroy(l);
        return NULL;
    }
    return l;
}

void ptl_lws_destroy(struct ptl_lws *l)
{
    ptl_lws_resolver_free(l->resolver);
    l->linking = false;
    if (l->context != NULL) {
        lws_context_destroy(l->context);
    }
    ptl_lws_watch_free(l);
    free(l->rx);
    free(l->tx);
    free(l);
}

static void turn(struct ptl_lws *l);

// lws serves its timers before it goes to sleep, so a turn taken after lws_service() would come
// only when something else wakes it: the turn, which sets the next timer, belongs here.
static void timer_ripe(lws_sorted_usec_list_t *sul)
{
    struct ptl_lws *l = lws_container_of(sul, struct ptl_lws, sul);
    l->armed_ms = PTL_NEVER;
    turn(l);
}

void ptl_lws_turn_soon(struct ptl_lws *l)
{
    l->kicked = true;
    lws_sul_schedule(l->context, 0, &l->sul, timer_ripe, 1);
}

static void arm(struct ptl_lws *l, uint64_t at_ms, uint64_t now_ms)
{
    if (at_ms == l->armed_ms) {
        return;
    }
    l->armed_ms = at_ms;
    if (at_ms == PTL_NEVER) {
        lws_sul_cancel(&l->sul);
        return;
    }
    uint64_t wait_ms = at_ms > now_ms ? at_ms - now_ms : 1;
    lws_sul_schedule(l->context, 0, &l->sul, timer_ripe, (lws_usec_t)wait_ms * LWS_US_PER_MS);
}

// One answer of the agent; true: ask again at once.
static bool serve(struct ptl_lws *l, enum ptl_want want, const struct ptl_now *now)
{
    switch (want) {
    case PTL_WANT_IDLE:
        return false;
    case PTL_WANT_CONNECT:
        ptl_lws_link_start(l, now);
        return true;
    case PTL_WANT_SEND:
        if (l->wsi != NULL && l->phase == PTL_LWS_UP) {
            lws_callback_on_writable(l->wsi);
        }
        return false;
    case PTL_WANT_CLOSE:
        ptl_lws_link_close(l);
        return true;
    case PTL_WANT_EXIT:
        l->exiting = true;
        return false;
    }
    return false;
}

static uint64_t earliest(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void turn(struct ptl_lws *l)
{
    struct ptl_now now = l->cfg->now(l->cfg->ctx);
    ptl_lws_link_timeouts(l, &now);
    if (l->timer_at_ms <= now.mono_ms) {
        l->timer_at_ms = PTL_NEVER;
        l->timer_due(l->timer_ctx);
    }
    bool again = true;
    uint32_t round = 0;
    for (; again && !l->exiting && round < ROUNDS_MAX; round++) {
        now = l->cfg->now(l->cfg->ctx);
        l->kicked = false;
        again = serve(l, ptl_agent_poll(l->agent, &now), &now);
        again = l->cfg->polled(l->cfg->ctx) || again || l->kicked;
    }
    now = l->cfg->now(l->cfg->ctx);
    uint64_t next = ptl_lws_watch_turn(l, now.mono_ms);
    next = earliest(next, ptl_agent_deadline(l->agent));
    next = earliest(next, ptl_lws_link_deadline(l));
    next = earliest(next, l->timer_at_ms);
    arm(l, again ? now.mono_ms : next, now.mono_ms);
    l->kicked = false;
}

// Lets the goodbye of the last socket out, for a moment.
static void goodbye(struct ptl_lws *l)
{
    ptl_lws_link_close(l);
    uint64_t until_ms = l->cfg->now(l->cfg->ctx).mono_ms + 500;
    while (l->orphans > 0) {
        uint64_t now_ms = l->cfg->now(l->cfg->ctx).mono_ms;
        if (now_ms >= until_ms) {
            break;
        }
        arm(l, until_ms, now_ms);
        if (lws_service(l->context, 0) < 0) {
            break;
        }
    }
}

void ptl_lws_run(struct ptl_lws *l)
{
    l->kicked = true;
    while (!l->stop && !l->exiting) {
        if (l->kicked) {
            turn(l);
        }
        if (!l->stop && !l->exiting && lws_service(l->context, 0) < 0) {
            break;
        }
    }
    goodbye(l);
}

void ptl_lws_stop(struct ptl_lws *l)
{
    l->stop = true;
}

void ptl_lws_kick(struct ptl_lws *l)
{
    l->kicked = true;
}

void ptl_lws_timer(struct ptl_lws *l, uint64_t at_ms, void (*due)(void *ctx), void *ctx)
{
    l->timer_at_ms = at_ms;
    l->timer_due = due;
    l->timer_ctx = ctx;
    if (at_ms < l->armed_ms) {
        l->kicked = true;
    }
}
