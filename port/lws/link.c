// link.c - one WebSocket at a time: connect, messages, close; every end reaches the agent once,
// with words for the user.
//
// A socket that we close ourselves is let go at once (an orphan says goodbye on its own, for two
// seconds at most), so that a peer that does not answer never holds up the next connect.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lws_private.h"

#define ORPHAN_S 2

static struct ptl_lws *owner_of(struct lws *wsi)
{
    return lws_context_user(lws_get_context(wsi));
}

static void ended(struct ptl_lws *l, const struct ptl_link_end *end)
{
    bool was_up = l->phase == PTL_LWS_UP;
    struct ptl_now now = l->cfg->now(l->cfg->ctx);
    l->wsi = NULL;
    l->linking = false;
    l->address_due = false;
    l->connect_until_ms = PTL_NEVER;
    l->address_until_ms = PTL_NEVER;
    l->close_sent = false;
    ptl_agent_link_down(l->agent, end, &now);
    l->cfg->link_down(l->cfg->ctx, end, was_up);
    ptl_lws_turn_soon(l);
}

static void ended_with(struct ptl_lws *l, const char *text)
{
    const struct ptl_link_end end = {.kind = PTL_CAUSE_LOCAL, .text = ptl_span_of_text(text)};
    ended(l, &end);
}

// Lets go of the socket: what it still says is ignored.
static void orphan(struct ptl_lws *l, bool polite)
{
    struct lws *wsi = l->wsi;
    if (wsi == NULL) {
        return;
    }
    l->wsi = NULL;
    lws_set_opaque_user_data(wsi, NULL);
    if (polite) {
        l->orphans++;
        lws_set_timeout(wsi, PENDING_TIMEOUT_CLOSE_SEND, ORPHAN_S);
        lws_callback_on_writable(wsi);
    } else {
        lws_set_timeout(wsi, PENDING_TIMEOUT_CLOSE_SEND, LWS_TO_KILL_SYNC);
    }
}

void ptl_lws_link_close(struct ptl_lws *l)
{
    if (!l->linking) {
        return;
    }
    bool up = l->phase == PTL_LWS_UP;
    orphan(l, up);
    ended_with(l, up ? "" : "the connect was given up");
}

// The attempt failed: the next address (tried from the loop, not from here: this may be inside the
// call that failed), or the end of the connect.
static void attempt_failed(struct ptl_lws *l, const struct ptl_link_end *end)
{
    l->wsi = NULL;
    bool more = l->address_at + 1 < l->address_count;
    if (more && !l->tcp_up && l->phase == PTL_LWS_CONNECTING) {
        l->address_at++;
        l->address_due = true;
        ptl_lws_turn_soon(l);
        return;
    }
    ended(l, end);
}

static void attempt_failed_with(struct ptl_lws *l, const char *text)
{
    const struct ptl_link_end end = {.kind = PTL_CAUSE_LOCAL, .text = ptl_span_of_text(text)};
    attempt_failed(l, &end);
}

static void attempt(struct ptl_lws *l, const struct ptl_now *now)
{
    const struct sockaddr_storage *address = &l->addresses[l->address_at];
    char text[INET6_ADDRSTRLEN + 1];
    ptl_lws_address_text(address, text, sizeof(text));
    l->phase = PTL_LWS_CONNECTING;
    l->tcp_up = false;
    l->address_due = false;
    memset(&l->certs, 0, sizeof(l->certs));
    l->ssl = NULL;
    l->address_until_ms = PTL_NEVER;
    if (l->address_at + 1 < l->address_count) {
        l->address_until_ms = now->mono_ms + l->cfg->address_ms;
    }
    snprintf(l->peer.address, sizeof(l->peer.address),
             address->ss_family == AF_INET6 ? "[%s]:%u" : "%s:%u", text, l->cfg->port);
    if (!l->cfg->tls && !ptl_lws_is_loopback(address)) {
        snprintf(l->words, sizeof(l->words),
                 "%s is at %s, which is not this machine: plain ws is allowed to loopback only",
                 l->cfg->host, text);
        ended_with(l, l->words);
        return;
    }
    const struct lws_client_connect_info info = {
        .context = l->context,
        .vhost = l->vhost,
        .address = text,
        .port = l->cfg->port,
        .ssl_connection = (l->cfg->tls ? LCCSCF_USE_SSL : 0) | LCCSCF_HTTP_NO_FOLLOW_REDIRECT,
        .path = l->cfg->path,
        .host = l->host_header,
        .local_protocol_name = l->protocols[0].name,
        .ietf_version_or_minus_one = -1,
        .pwsi = &l->wsi,
        .opaque_user_data = l,
        .retry_and_idle_policy = &l->retry,
    };
    // Failures come through the callback too, also those met inside this call.
    if (lws_client_connect_via_info(&info) == NULL && l->linking && !l->address_due) {
        snprintf(l->words, sizeof(l->words), "cannot start a connect to %s", l->peer.address);
        ended_with(l, l->words);
    }
}

static bool literal_address(struct ptl_lws *l)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&l->addresses[0];
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&l->addresses[0];
    memset(&l->addresses[0], 0, sizeof(l->addresses[0]));
    l->address_count = 1;
    if (inet_pton(AF_INET, l->cfg->host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        return true;
    }
    if (inet_pton(AF_INET6, l->cfg->host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        return true;
    }
    l->address_count = 0;
    return false;
}

void ptl_lws_link_start(struct ptl_lws *l, const struct ptl_now *now)
{
    PTL_ASSERT(!l->linking);
    PTL_ASSERT(l->wsi == NULL);
    l->linking = true;
    l->phase = PTL_LWS_RESOLVING;
    l->connect_until_ms = now->mono_ms + l->cfg->connect_ms;
    l->address_until_ms = PTL_NEVER;
    l->address_due = false;
    l->tcp_up = false;
    l->address_at = 0;
    memset(&l->peer, 0, sizeof(l->peer));
    l->cfg->connecting(l->cfg->ctx);
    if (literal_address(l)) {
        attempt(l, now);
    } else if (!ptl_lws_resolver_ask(l->resolver)) {
        ended_with(l, "no thread could be started to look up the server's name");
    }
}

void ptl_lws_link_resolved(struct ptl_lws *l)
{
    int error = 0;
    if (!l->linking || l->phase != PTL_LWS_RESOLVING ||
        !ptl_lws_resolver_take(l->resolver, l->addresses, &l->address_count, &error)) {
        return;
    }
    if (l->address_count == 0) {
        snprintf(l->words, sizeof(l->words), "%s: %s", l->cfg->host, ptl_lws_resolver_words(error));
        ended_with(l, l->words);
        return;
    }
    struct ptl_now now = l->cfg->now(l->cfg->ctx);
    attempt(l, &now);
}

static const char *waiting_for(const struct ptl_lws *l)
{
    switch (l->phase) {
    case PTL_LWS_RESOLVING:
        return "the name server does not answer";
    case PTL_LWS_CONNECTING:
        return l->tcp_up ? "the server takes the connection but does not finish the TLS handshake"
                         : "no answer to the TCP connect";
    case PTL_LWS_UPGRADING:
    case PTL_LWS_UP:
        break;
    }
    return "the server does not answer the WebSocket upgrade";
}

void ptl_lws_link_timeouts(struct ptl_lws *l, const struct ptl_now *now)
{
    if (!l->linking || l->phase == PTL_LWS_UP) {
        return;
    }
    if (l->address_due) {
        attempt(l, now);
    } else if (now->mono_ms >= l->connect_until_ms) {
        snprintf(l->words, sizeof(l->words), "%s was not reached within %u ms: %s",
                 l->phase == PTL_LWS_RESOLVING ? l->cfg->host : l->peer.address, l->cfg->connect_ms,
                 waiting_for(l));
        orphan(l, false);
        ended_with(l, l->words);
    } else if (now->mono_ms >= l->address_until_ms && !l->tcp_up) {
        snprintf(l->words, sizeof(l->words), "%s: %s", l->peer.address, waiting_for(l));
        orphan(l, false);
        attempt_failed_with(l, l->words);
    }
}

uint64_t ptl_lws_link_deadline(const struct ptl_lws *l)
{
    if (!l->linking || l->phase == PTL_LWS_UP) {
        return PTL_NEVER;
    }
    bool address = l->address_until_ms < l->connect_until_ms && !l->tcp_up;
    return address ? l->address_until_ms : l->connect_until_ms;
}

static void refused(struct ptl_lws *l, struct lws *wsi, const char *raw)
{
    struct ptl_link_end end = {.kind = PTL_CAUSE_LOCAL};
    uint32_t status = lws_http_client_http_response(wsi);
    ptl_lws_words(l, wsi, raw, l->words, sizeof(l->words));
    if (l->phase == PTL_LWS_UPGRADING && status != 0 && status != 101) {
        end.kind = PTL_CAUSE_HTTP;
        end.code = status;
        char after[16];
        if (lws_hdr_copy(wsi, after, sizeof(after), WSI_TOKEN_HTTP_RETRY_AFTER) > 0) {
            unsigned long seconds = strtoul(after, NULL, 10);
            end.retry_after_ms = seconds > 3600 ? 3600000U : (uint32_t)seconds * 1000U;
        }
    }
    end.text = ptl_span_of_text(l->words);
    attempt_failed(l, &end);
}

static void closed(struct ptl_lws *l)
{
    if (l->close_sent) {
        struct ptl_link_end end = l->end;
        end.text = ptl_span_of_text(l->words);
        ended(l, &end);
        return;
    }
    ended_with(l, l->phase == PTL_LWS_UP ? "the connection broke"
                                         : "the connection broke during the upgrade");
}

static void peer_closes(struct ptl_lws *l, const uint8_t *in, size_t len)
{
    uint32_t code = len >= 2 ? (uint32_t)in[0] << 8 | in[1] : 1005;
    const struct ptl_span reason = {len > 2 ? in + 2 : NULL, len > 2 ? len - 2 : 0};
    size_t cut = ptl_utf8_valid(reason) ? ptl_utf8_cut(reason, 120) : 0;
    snprintf(l->words, sizeof(l->words), "the server closed the connection (code %u%s%.*s)", code,
             cut > 0 ? ", " : "", (int)cut, cut > 0 ? (const char *)reason.ptr : "");
    l->end = (struct ptl_link_end){.kind = PTL_CAUSE_CLOSE, .code = code};
    l->close_sent = true;
}

// The answer's Date, while its headers are still there. Only of a verified peer.
static void date_take(struct ptl_lws *l, struct lws *wsi)
{
    char text[64];
    int64_t unix_ms = 0;
    if (!l->cfg->tls || lws_hdr_copy(wsi, text, sizeof(text), WSI_TOKEN_HTTP_DATE) <= 0 ||
        !ptl_lws_date_parse(text, &unix_ms)) {
        return;
    }
    struct ptl_now now = l->cfg->now(l->cfg->ctx);
    uint64_t round_trip_ms = now.mono_ms - l->upgrade_sent_ms;
    if (round_trip_ms < 60000) {
        // The header has whole seconds, and was written at some time during the round trip.
        l->cfg->server_date(l->cfg->ctx, unix_ms + 500, 500 + (uint32_t)round_trip_ms);
    }
}

static void established(struct ptl_lws *l, struct lws *wsi)
{
    l->phase = PTL_LWS_UP;
    l->rx_len = 0;
    l->rx_discard = false;
    int on = 1; // whole messages are written at once: waiting to gather more only adds delay
    (void)setsockopt(lws_get_socket_fd(wsi), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    l->peer.tls = l->cfg->tls;
    if (l->cfg->tls) {
        ptl_lws_tls_facts(l);
    }
    struct ptl_now now = l->cfg->now(l->cfg->ctx);
    ptl_agent_link_up(l->agent, &now);
    l->cfg->link_up(l->cfg->ctx, &l->peer);
    l->kicked = true;
}

static void received(struct ptl_lws *l, struct lws *wsi, const uint8_t *in, size_t len)
{
    bool final = lws_is_final_fragment(wsi) && lws_remaining_packet_payload(wsi) == 0;
    if (lws_is_first_fragment(wsi)) {
        l->rx_len = 0;
        l->rx_discard = false;
    }
    struct ptl_span message = {in, len};
    if (!final || l->rx_len > 0) {
        if (len > l->cfg->rx_bytes - l->rx_len) {
            l->rx_discard = true;
        }
        if (!l->rx_discard) {
            memcpy(l->rx + l->rx_len, in, len);
            l->rx_len += len;
        }
        message = (struct ptl_span){l->rx, l->rx_len};
    }
    if (!final) {
        return;
    }
    if (l->rx_discard || message.len > l->cfg->rx_bytes) {
        ptl_agent_recv_oversize(l->agent);
    } else {
        struct ptl_now now = l->cfg->now(l->cfg->ctx);
        ptl_agent_recv(l->agent, message, lws_frame_is_binary(wsi) != 0, &now);
    }
    l->rx_len = 0;
    l->rx_discard = false;
    l->kicked = true;
}

static int writeable(struct ptl_lws *l, struct lws *wsi)
{
    struct ptl_now now = l->cfg->now(l->cfg->ctx);
    size_t len = 0;
    bool binary = false;
    enum ptl_status status =
        ptl_agent_write(l->agent, &now, l->tx + LWS_PRE, l->tx_cap, &len, &binary);
    if (status != PTL_OK && status != PTL_E_EMPTY && status != PTL_E_AGAIN) {
        // It would be asked for again at once, without end.
        snprintf(l->words, sizeof(l->words), "%s (%d)",
                 status == PTL_E_TOO_BIG
                     ? "a message of the session is longer than the buffer for it: the token is "
                       "too long, or has bytes that must be escaped"
                     : "a message could not be written",
                 (int)status);
        l->end = (struct ptl_link_end){.kind = PTL_CAUSE_LOCAL};
        l->close_sent = true;
        return -1;
    }
    l->kicked = true;
    if (status != PTL_OK) {
        return 0;
    }
    int sent = lws_write(wsi, l->tx + LWS_PRE, len, binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT);
    return sent < (int)len ? -1 : 0;
}

static int orphan_callback(struct ptl_lws *l, struct lws *wsi, enum lws_callback_reasons reason)
{
    switch (reason) {
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        lws_close_reason(wsi, LWS_CLOSE_STATUS_NORMAL, NULL, 0);
        return -1;
    case LWS_CALLBACK_CLIENT_CLOSED:
        l->orphans -= l->orphans > 0;
        return 0;
    default:
        return 0;
    }
}

int ptl_lws_link_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                          size_t len)
{
    struct ptl_lws *l = owner_of(wsi);
    switch (reason) {
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
    case LWS_CALLBACK_WSI_CREATE:
    case LWS_CALLBACK_OPENSSL_PERFORM_SERVER_CERT_VERIFICATION:
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
    case LWS_CALLBACK_CLIENT_FILTER_PRE_ESTABLISH:
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
    case LWS_CALLBACK_CLIENT_RECEIVE:
    case LWS_CALLBACK_CLIENT_WRITEABLE:
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
    case LWS_CALLBACK_CLIENT_CLOSED:
        break;
    case LWS_CALLBACK_EVENT_WAIT_CANCELLED: // the resolver's thread
        l->kicked = true;
        ptl_lws_link_resolved(l);
        return 0;
    default:
        return 0;
    }
    if (lws_get_opaque_user_data(wsi) == NULL || !l->linking) {
        return orphan_callback(l, wsi, reason);
    }
    switch (reason) {
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        lws_set_opaque_user_data(wsi, NULL);
        refused(l, wsi, in != NULL && len > 0 ? in : "");
        return 0;
    case LWS_CALLBACK_WSI_CREATE:
        l->tcp_up = true;
        return 0;
    case LWS_CALLBACK_OPENSSL_PERFORM_SERVER_CERT_VERIFICATION:
        ptl_lws_tls_begin(l, user);
        return 0;
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
        l->phase = PTL_LWS_UPGRADING;
        l->upgrade_sent_ms = l->cfg->now(l->cfg->ctx).mono_ms;
        return 0;
    case LWS_CALLBACK_CLIENT_FILTER_PRE_ESTABLISH:
        date_take(l, wsi);
        return 0;
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        established(l, wsi);
        return 0;
    case LWS_CALLBACK_CLIENT_RECEIVE:
        received(l, wsi, in, len);
        return 0;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        return writeable(l, wsi);
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        peer_closes(l, in, len);
        return 0;
    case LWS_CALLBACK_CLIENT_CLOSED:
        lws_set_opaque_user_data(wsi, NULL);
        closed(l);
        return 0;
    default:
        return 0;
    }
}
