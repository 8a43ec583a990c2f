// input_seqpacket.c - the local socket of loss-proof applications and of the command line: one
// message is one event or one question, and each gets one reply, in order.
//
// {"accepted":true,"seq":N,"durable":true|false}
//     an event was taken. At `sync` the reply comes once it is durable; without a medium (it
//     failed) it comes at once and says false.
// {"error":"...","offset":N}
//     an event was refused, nothing was taken.
// {"accepted":null,"error":"unknown: ..."}
//     the medium failed under the event.
// The status report
//     answers {"petrel":"status"}, and {"petrel":"wait"} once the agent is joined. Replies behind
//     it wait, too.
//
// While the agent has no room, events stay in the kernel and their senders wait. Questions are
// answered all the same: that is when people ask.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app.h"

#define QUESTION_BYTES_MAX 256

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

// A client is read while a reply to it can be kept and nobody's message waits in the buffer.
// Paused, it is not written to either, so one whose socket is full is never paused.
static void reading_set(struct ptl_client *client)
{
    bool room = client->due_count < PTL_CLIENT_REPLIES && !client->app->input_seqpacket.waiting;
    if (room || client->watch.want_write) {
        ptl_lws_resume(&client->watch);
    } else {
        ptl_lws_pause(&client->watch, PTL_NEVER);
    }
}

static size_t accepted_text(char *out, uint64_t seq, bool durable)
{
    return (size_t)snprintf(out, PTL_REPLY_BYTES_MAX,
                            "{\"accepted\":true,\"seq\":%llu,\"durable\":%s}",
                            (unsigned long long)seq, durable ? "true" : "false");
}

static size_t refusal_text(char *out, const char *reason, size_t offset)
{
    struct ptl_writer w = ptl_writer_on((uint8_t *)out, PTL_REPLY_BYTES_MAX);
    ptl_write_text(&w, "{\"error\":\"");
    ptl_write_json_escaped(&w, ptl_span_of_text(reason));
    ptl_write_text(&w, "\",\"offset\":");
    ptl_write_u64(&w, offset);
    ptl_write_byte(&w, '}');
    return w.len;
}

// The text of a reply; 0: its time has not come.
static size_t reply_text(const struct ptl_client *client, const struct ptl_reply_due *due,
                         const struct ptl_agent_status *status, char out[PTL_STATUS_BYTES_MAX])
{
    bool own_run = due->epoch == status->epoch;
    bool durable = own_run && due->seq < status->durable_next;
    switch (due->kind) {
    case PTL_REPLY_DURABLE:
        if (!own_run) {
            return (size_t)snprintf(out, PTL_REPLY_BYTES_MAX, "%s",
                                    "{\"accepted\":null,\"error\":\"unknown: the medium failed "
                                    "before the event was safe\"}");
        }
        return durable ? accepted_text(out, due->seq, true) : 0;
    case PTL_REPLY_TAKEN:
        return accepted_text(out, due->seq, durable);
    case PTL_REPLY_REFUSED:
        return refusal_text(out, due->reason, due->offset);
    case PTL_REPLY_JOINED:
        if (!status->joined) {
            return 0;
        }
        break;
    case PTL_REPLY_STATUS:
        break;
    }
    return ptl_status_json(client->app, out, PTL_STATUS_BYTES_MAX);
}

// Sends the replies whose time has come, in order, as far as the socket takes them.
static void replies_send(struct ptl_client *client, const struct ptl_agent_status *status)
{
    while (client->due_count > 0 && !client->watch.want_write) {
        char text[PTL_STATUS_BYTES_MAX];
        size_t len = reply_text(client, &client->due[0], status, text);
        if (len == 0) {
            break;
        }
        if (send(client->fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL | MSG_EOR) < 0) {
            if (errno != EAGAIN && errno != EWOULDBLOCK) {
                client_close(client);
                return;
            }
            ptl_lws_wait_write(&client->watch, true);
            break;
        }
        client->due_count--;
        memmove(client->due, client->due + 1, client->due_count * sizeof(client->due[0]));
    }
    reading_set(client);
}

static void reply_add(struct ptl_client *client, const struct ptl_reply_due *due,
                      const struct ptl_agent_status *status)
{
    PTL_ASSERT(client->due_count < PTL_CLIENT_REPLIES);
    client->due[client->due_count++] = *due;
    replies_send(client, status);
}

// What was logged last may be 50 ms old: the run may be another one since.
static struct ptl_agent_status status_now(const struct ptl_app *app, const struct ptl_now *now)
{
    struct ptl_agent_status status;
    ptl_agent_status_get(&app->agent, now, &status);
    return status;
}

static void reply_refused(struct ptl_client *client, const char *reason, size_t offset,
                          const struct ptl_now *now)
{
    const struct ptl_agent_status status = status_now(client->app, now);
    const struct ptl_reply_due due = {
        .kind = PTL_REPLY_REFUSED, .reason = reason, .offset = offset};
    reply_add(client, &due, &status);
}

static void reply_posted(struct ptl_client *client, uint64_t seq, const struct ptl_now *now)
{
    const struct ptl_agent_status status = status_now(client->app, now);
    bool waits = client->app->cfg->delivery.durability == PTL_DURABLE_SYNC && status.media;
    const struct ptl_reply_due due = {
        .kind = waits ? PTL_REPLY_DURABLE : PTL_REPLY_TAKEN, .seq = seq, .epoch = status.epoch};
    reply_add(client, &due, &status);
}

static void reply_status(struct ptl_client *client, enum ptl_reply_kind kind,
                         const struct ptl_now *now)
{
    const struct ptl_agent_status status = status_now(client->app, now);
    const struct ptl_reply_due due = {.kind = kind};
    reply_add(client, &due, &status);
}

// A question instead of an event; false: it is none. `what` is its word.
static bool question_find(struct ptl_span text, struct ptl_span *what)
{
    struct ptl_json_value value;
    struct ptl_json_value word;
    struct ptl_json_error error;
    // Events are many, questions few: look closer only where the name occurs early.
    if (text.len > QUESTION_BYTES_MAX || memmem(text.ptr, text.len, "\"petrel\"", 8) == NULL ||
        ptl_json_check(text, 4, &value, &error) != PTL_OK || value.type != PTL_JSON_OBJECT ||
        !ptl_json_member(value, "petrel", &word) || word.type != PTL_JSON_STRING) {
        return false;
    }
    *what = ptl_json_string_body(word);
    return true;
}

static void question_answer(struct ptl_client *client, struct ptl_span what,
                            const struct ptl_now *now)
{
    if (ptl_json_text_equals(what, "status")) {
        reply_status(client, PTL_REPLY_STATUS, now);
    } else if (ptl_json_text_equals(what, "wait")) {
        reply_status(client, PTL_REPLY_JOINED, now);
    } else {
        reply_refused(client, "unknown question; there are status and wait", 0, now);
    }
}

// Takes the message in the buffer. False: it has to wait.
static bool message_take(struct ptl_seqpacket *in, struct ptl_client *client,
                         const struct ptl_now *now, bool *posted)
{
    struct ptl_span text = {in->buf, in->len};
    struct ptl_span what;
    struct ptl_door_answer answer;
    if (client != NULL && question_find(text, &what)) {
        question_answer(client, what, now);
        return true;
    }
    if (in->app->draining) {
        if (client != NULL) {
            reply_refused(client, "the agent is stopping", 0, now);
        }
        return true;
    }
    enum ptl_door_result result = ptl_door_enter(in->app, text, &in->counts, now, &answer);
    if (result == PTL_DOOR_WAIT) {
        return false;
    }
    *posted = *posted || result == PTL_DOOR_ACCEPTED;
    if (client != NULL && result == PTL_DOOR_ACCEPTED) {
        reply_posted(client, answer.seq, now);
    } else if (client != NULL) {
        reply_refused(client, answer.reason, answer.offset, now);
    }
    return true;
}

// One buffer for all: while an event waits in it no other one is read.
static void event_waits(struct ptl_seqpacket *in, struct ptl_client *holder)
{
    in->waiting = true;
    in->holder = holder;
    holder->waits = true;
    reading_set(holder);
}

static void all_resume(struct ptl_seqpacket *in)
{
    in->waiting = false;
    in->holder = NULL;
    for (uint32_t i = 0; i < PTL_CLIENTS_MAX; i++) {
        in->clients[i].waits = false;
        if (in->clients[i].fd >= 0) {
            reading_set(&in->clients[i]);
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

// While the buffer is taken: a question is answered, anything else stays in the kernel.
static void client_readable_waiting(struct ptl_client *client)
{
    uint8_t text[QUESTION_BYTES_MAX];
    ssize_t len = recv(client->fd, text, sizeof(text), MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
    if (len < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (len <= 0) {
        client_close(client);
        return;
    }
    struct ptl_span what;
    if ((size_t)len <= sizeof(text) && question_find((struct ptl_span){text, (size_t)len}, &what)) {
        const struct ptl_now now = ptl_app_now(client->app);
        (void)recv(client->fd, text, sizeof(text), MSG_DONTWAIT); // the same bytes
        question_answer(client, what, &now);
        return;
    }
    client->waits = true;
    reading_set(client);
}

static void client_readable(struct ptl_client *client)
{
    struct ptl_seqpacket *in = &client->app->input_seqpacket;
    if (in->waiting) {
        client_readable_waiting(client);
        return;
    }
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
    const struct ptl_now now = ptl_app_now(in->app);
    if ((message.msg_flags & MSG_TRUNC) != 0) {
        in->counts.too_large++;
        ptl_agent_count_rejected(&in->app->agent);
        reply_refused(client, "the message is longer than an event may be", in->cap, &now);
        return;
    }
    in->len = (size_t)got;
    bool posted = false;
    if (!message_take(in, client, &now, &posted)) {
        event_waits(in, client);
    }
}

static void client_ready(void *ctx)
{
    struct ptl_client *client = ctx;
    if (!client->watch.want_write) {
        client_readable(client);
        return;
    }
    const struct ptl_now now = ptl_app_now(client->app);
    const struct ptl_agent_status status = status_now(client->app, &now);
    ptl_lws_wait_write(&client->watch, false);
    replies_send(client, &status);
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
    }
}

void ptl_seqpacket_tell(struct ptl_seqpacket *in, const struct ptl_agent_status *status)
{
    for (uint32_t i = 0; i < PTL_CLIENTS_MAX; i++) {
        struct ptl_client *client = &in->clients[i];
        if (client->fd >= 0 && client->due_count > 0) {
            replies_send(client, status);
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
