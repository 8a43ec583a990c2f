// input_seqpacket.c - the local socket of loss-proof applications and of the command line: one
// message is one event or one question, and each gets one reply, in order.
//
//   event               {"accepted":true,"seq":N,"durable":true|false}  at `sync` once it is
//   durable
//                       {"error":"...","offset":N}                      refused, nothing was taken
//                       {"accepted":null,"error":"unknown: ..."}        the medium failed under it
//   {"petrel":"status"} the status report
//   {"petrel":"wait"}   the status report, once the agent is joined
//
// While the agent has no room, messages stay in the kernel and their senders wait.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app.h"

static void client_close(struct ptl_client *client)
{
    struct ptl_seqpacket *in = &client->app->input_seqpacket;
    ptl_lws_unwatch(&client->watch);
    close(client->fd);
    client->fd = -1;
    if (in->holder == client) {
        in->holder = NULL; // its event is still taken; nobody hears of it
    }
    if (in->fd >= 0 && in->watch.paused) {
        ptl_lws_resume(&in->watch);
    }
}

// Sends one reply, or keeps it until the socket takes it. False: the client is gone.
static bool reply_send(struct ptl_client *client, const char *text, size_t len)
{
    ssize_t sent = send(client->fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL | MSG_EOR);
    if (sent >= 0) {
        return true;
    }
    if ((errno == EAGAIN || errno == EWOULDBLOCK) && len <= sizeof(client->reply)) {
        memcpy(client->reply, text, len);
        client->reply_len = len;
        ptl_lws_wait_write(&client->watch, true);
        return true;
    }
    client_close(client);
    return false;
}

static bool reply_accepted(struct ptl_client *client, uint64_t seq, bool durable)
{
    char text[PTL_REPLY_BYTES_MAX];
    int len = snprintf(text, sizeof(text), "{\"accepted\":true,\"seq\":%llu,\"durable\":%s}",
                       (unsigned long long)seq, durable ? "true" : "false");
    return reply_send(client, text, (size_t)len);
}

static size_t refusal_text(char text[PTL_REPLY_BYTES_MAX], const char *reason, size_t offset)
{
    struct ptl_writer w = ptl_writer_on((uint8_t *)text, PTL_REPLY_BYTES_MAX);
    ptl_write_text(&w, "{\"error\":\"");
    ptl_write_json_escaped(&w, ptl_span_of_text(reason));
    ptl_write_text(&w, "\",\"offset\":");
    ptl_write_u64(&w, offset);
    ptl_write_byte(&w, '}');
    return w.len;
}

// A refusal comes after the replies of the events before it.
static void reply_refused(struct ptl_client *client, const char *reason, size_t offset)
{
    char text[PTL_REPLY_BYTES_MAX];
    size_t len = refusal_text(text, reason, offset);
    if (client->due_count == 0) {
        (void)reply_send(client, text, len);
        return;
    }
    memcpy(client->reply, text, len);
    client->reply_len = len;
    ptl_lws_pause(&client->watch, PTL_NEVER);
}

static bool sync_wanted(const struct ptl_app *app)
{
    return app->cfg->delivery.durability == PTL_DURABLE_SYNC;
}

static void reply_posted(struct ptl_client *client, uint64_t seq)
{
    struct ptl_app *app = client->app;
    bool durable = ptl_agent_durable_next(&app->agent) > seq;
    if (durable || !sync_wanted(app)) {
        (void)reply_accepted(client, seq, durable);
        return;
    }
    PTL_ASSERT(client->due_count < PTL_CLIENT_REPLIES);
    client->due[client->due_count++] = (struct ptl_reply_due){.seq = seq, .epoch = app->seen.epoch};
    if (client->due_count == PTL_CLIENT_REPLIES) {
        ptl_lws_pause(&client->watch, PTL_NEVER);
    }
}

// Sends the replies whose events are durable by now.
static void replies_due(struct ptl_client *client, uint64_t durable_next, uint64_t epoch)
{
    while (client->due_count > 0 && !client->watch.want_write) {
        struct ptl_reply_due due = client->due[0];
        bool known = due.epoch == epoch;
        if (known && due.seq >= durable_next) {
            return;
        }
        client->due_count--;
        memmove(client->due, client->due + 1, client->due_count * sizeof(client->due[0]));
        static const char unknown[] = "{\"accepted\":null,\"error\":\"unknown: the medium failed "
                                      "before the event was safe\"}";
        if (!(known ? reply_accepted(client, due.seq, true)
                    : reply_send(client, unknown, sizeof(unknown) - 1))) {
            return;
        }
    }
    if (client->due_count == 0 && client->reply_len > 0 && !client->watch.want_write) {
        size_t len = client->reply_len;
        char text[PTL_REPLY_BYTES_MAX];
        memcpy(text, client->reply, len);
        client->reply_len = 0;
        if (!reply_send(client, text, len)) {
            return;
        }
    }
    if (client->watch.paused && client->app->input_seqpacket.holder == NULL &&
        client->reply_len == 0) {
        ptl_lws_resume(&client->watch);
    }
}

static void status_reply(struct ptl_client *client)
{
    char text[PTL_STATUS_BYTES_MAX];
    size_t len = ptl_status_json(client->app, text, sizeof(text));
    (void)reply_send(client, text, len);
}

// A question instead of an event; false: it is none.
static bool question(struct ptl_client *client, struct ptl_span text)
{
    struct ptl_json_value value;
    struct ptl_json_value what;
    struct ptl_json_error error;
    // Events are many, questions few: look closer only where the name occurs early.
    if (text.len > 256 || memmem(text.ptr, text.len, "\"petrel\"", 8) == NULL ||
        ptl_json_check(text, 4, &value, &error) != PTL_OK || value.type != PTL_JSON_OBJECT ||
        !ptl_json_member(value, "petrel", &what) || what.type != PTL_JSON_STRING) {
        return false;
    }
    struct ptl_span body = ptl_json_string_body(what);
    if (ptl_json_text_equals(body, "status")) {
        status_reply(client);
    } else if (ptl_json_text_equals(body, "wait")) {
        client->waits_joined = !client->app->seen.joined;
        if (!client->waits_joined) {
            status_reply(client);
        }
    } else {
        reply_refused(client, "unknown question; there are status and wait", 0);
    }
    return true;
}

// Takes the message in the buffer. False: it has to wait.
static bool message_take(struct ptl_seqpacket *in, struct ptl_client *client,
                         const struct ptl_now *now, bool *posted)
{
    struct ptl_span text = {in->buf, in->len};
    struct ptl_door_answer answer;
    if (client != NULL && question(client, text)) {
        return true;
    }
    if (in->app->draining) {
        if (client != NULL) {
            reply_refused(client, "the agent is stopping", 0);
        }
        return true;
    }
    enum ptl_door_result result = ptl_door_enter(in->app, text, &in->counts, now, &answer);
    if (result == PTL_DOOR_WAIT) {
        return false;
    }
    *posted = *posted || result == PTL_DOOR_ACCEPTED;
    if (client != NULL && result == PTL_DOOR_ACCEPTED) {
        reply_posted(client, answer.seq);
    } else if (client != NULL) {
        reply_refused(client, answer.reason, answer.offset);
    }
    return true;
}

// One buffer for all: while its message waits nobody else is read.
static void all_pause(struct ptl_seqpacket *in, struct ptl_client *holder)
{
    in->waiting = true;
    in->holder = holder;
    for (uint32_t i = 0; i < PTL_CLIENTS_MAX; i++) {
        if (in->clients[i].fd >= 0 && !in->clients[i].watch.want_write) {
            ptl_lws_pause(&in->clients[i].watch, PTL_NEVER);
        }
    }
}

static void all_resume(struct ptl_seqpacket *in)
{
    in->waiting = false;
    in->holder = NULL;
    for (uint32_t i = 0; i < PTL_CLIENTS_MAX; i++) {
        struct ptl_client *client = &in->clients[i];
        if (client->fd >= 0 && client->watch.paused && client->reply_len == 0 &&
            client->due_count < PTL_CLIENT_REPLIES) {
            ptl_lws_resume(&client->watch);
        }
    }
}

bool ptl_seqpacket_again(struct ptl_seqpacket *in)
{
    bool posted = false;
    if (in->waiting) {
        const struct ptl_now now = ptl_app_now(in->app);
        struct ptl_client *client = in->holder;
        if (message_take(in, client, &now, &posted)) {
            all_resume(in);
        }
    }
    return posted;
}

static void client_readable(struct ptl_client *client)
{
    struct ptl_seqpacket *in = &client->app->input_seqpacket;
    struct iovec iov = {.iov_base = in->buf, .iov_len = in->cap};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t got = recvmsg(client->fd, &message, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got <= 0) {
        client_close(client);
        return;
    }
    if ((message.msg_flags & MSG_TRUNC) != 0) {
        in->counts.too_large++;
        ptl_agent_count_rejected(&in->app->agent);
        reply_refused(client, "the message is longer than an event may be", in->cap);
        return;
    }
    in->len = (size_t)got;
    const struct ptl_now now = ptl_app_now(in->app);
    bool posted = false;
    if (!message_take(in, client, &now, &posted)) {
        all_pause(in, client);
    }
}

static void client_ready(void *ctx)
{
    struct ptl_client *client = ctx;
    if (!client->watch.want_write) {
        client_readable(client);
        return;
    }
    char text[PTL_REPLY_BYTES_MAX];
    size_t len = client->reply_len;
    memcpy(text, client->reply, len);
    client->reply_len = 0;
    ptl_lws_wait_write(&client->watch, false);
    if (len > 0 && reply_send(client, text, len)) {
        replies_due(client, ptl_agent_durable_next(&client->app->agent), client->app->seen.epoch);
    }
}

static void listener_ready(void *ctx)
{
    struct ptl_seqpacket *in = ctx;
    struct ptl_client *client = NULL;
    for (uint32_t i = 0; i < PTL_CLIENTS_MAX && client == NULL; i++) {
        client = in->clients[i].fd < 0 ? &in->clients[i] : NULL;
    }
    if (client == NULL) {
        ptl_log_keyed(PTL_LOG_WARNING, "clients",
                      "%d applications are connected: the next one waits", PTL_CLIENTS_MAX);
        ptl_lws_pause(&in->watch, PTL_NEVER); // until one of them goes
        return;
    }
    int fd = accept4(in->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        return;
    }
    *client = (struct ptl_client){.app = in->app, .fd = fd};
    if (!ptl_lws_watch(in->app->lws, &client->watch, fd, client_ready, client)) {
        close(fd);
        client->fd = -1;
    } else if (in->waiting) {
        ptl_lws_pause(&client->watch, PTL_NEVER);
    }
}

void ptl_seqpacket_tell(struct ptl_seqpacket *in, const struct ptl_agent_status *status)
{
    for (uint32_t i = 0; i < PTL_CLIENTS_MAX; i++) {
        struct ptl_client *client = &in->clients[i];
        if (client->fd >= 0 && client->due_count > 0) {
            replies_due(client, status->durable_next, status->epoch);
        }
        if (client->fd >= 0 && client->waits_joined && status->joined) {
            client->waits_joined = false;
            status_reply(client);
        }
    }
}

bool ptl_seqpacket_start(struct ptl_seqpacket *in, struct ptl_app *app)
{
    in->app = app;
    in->fd = -1;
    for (uint32_t i = 0; i < PTL_CLIENTS_MAX; i++) {
        in->clients[i].fd = -1;
    }
    const char *path = ptl_config_socket(app->cfg);
    if (path[0] == '\0') {
        return true;
    }
    in->cap = app->limits.event_bytes_max + 1;
    in->buf = malloc(in->cap);
    in->fd = in->buf != NULL ? ptl_unix_bind(path, SOCK_SEQPACKET) : -1;
    return in->fd >= 0 && listen(in->fd, 16) == 0 &&
           ptl_lws_watch(app->lws, &in->watch, in->fd, listener_ready, in);
}

void ptl_seqpacket_stop(struct ptl_seqpacket *in)
{
    for (uint32_t i = 0; i < PTL_CLIENTS_MAX; i++) {
        if (in->fd >= 0 && in->clients[i].fd >= 0) {
            client_close(&in->clients[i]);
        }
    }
    if (in->fd >= 0) {
        ptl_lws_unwatch(&in->watch);
        close(in->fd);
        (void)unlink(ptl_config_socket(in->app->cfg));
        in->fd = -1;
    }
}
