// input_datagram.c - best-effort events on a Unix datagram socket: one or more lines a datagram.
//
// A datagram longer than the buffer arrives cut (MSG_TRUNC): its whole lines are taken, the half
// one is counted as too large, not as bad JSON. The queue of such a socket is short
// (net.unix.max_dgram_qlen), so it is drained at once; a sender whose datagram does not fit gets
// EAGAIN from the kernel.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app.h"

#define DATAGRAM_BYTES   65536
#define DATAGRAMS_A_TURN 64

static void refused(const char *reason, size_t offset)
{
    ptl_log_keyed(PTL_LOG_WARNING, "datagram refused", "datagram event refused: %s (byte %zu)",
                  reason, offset);
}

static void half_refused(struct ptl_datagram *in)
{
    in->truncated++;
    in->counts.too_large++;
    ptl_agent_count_rejected(&in->app->agent);
    refused("the datagram is longer than 65,536 bytes, its last event was cut", DATAGRAM_BYTES);
}

// Takes what is left of the datagram in the buffer. False: an event has to wait.
static bool events_take(struct ptl_datagram *in, const struct ptl_now *now, bool *posted)
{
    while (in->at < in->len) {
        uint8_t *begin = in->buf + in->at;
        uint8_t *feed = memchr(begin, '\n', in->len - in->at);
        size_t len = (size_t)((feed != NULL ? feed : in->buf + in->len) - begin);
        if (feed == NULL && in->cut) {
            half_refused(in);
        } else if (len > 0) {
            struct ptl_door_answer answer;
            enum ptl_door_result result =
                ptl_door_enter(in->app, (struct ptl_span){begin, len}, &in->counts, now, &answer);
            if (result == PTL_DOOR_WAIT) {
                return false;
            }
            *posted = *posted || result == PTL_DOOR_ACCEPTED;
            if (result == PTL_DOOR_REFUSED) {
                refused(answer.reason, answer.offset);
            }
        }
        in->at += len + (feed != NULL);
    }
    return true;
}

static bool datagram_receive(struct ptl_datagram *in)
{
    struct iovec iov = {.iov_base = in->buf, .iov_len = in->cap};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t got = recvmsg(in->fd, &message, MSG_DONTWAIT);
    if (got < 0) {
        return false;
    }
    in->datagrams++;
    in->cut = (message.msg_flags & MSG_TRUNC) != 0;
    in->len = (size_t)got;
    in->at = 0;
    // C programs send their whole buffer now and then.
    while (!in->cut && in->len > 0 && in->buf[in->len - 1] == '\0') {
        in->len--;
    }
    return true;
}

static void process(struct ptl_datagram *in, bool *posted)
{
    const struct ptl_now now = ptl_app_now(in->app);
    for (uint32_t i = 0; i < DATAGRAMS_A_TURN; i++) {
        if (!events_take(in, &now, posted)) {
            in->waiting = true;
            ptl_lws_pause(&in->watch, PTL_NEVER);
            return;
        }
        if (!datagram_receive(in)) {
            break;
        }
    }
    // A datagram may stay in the buffer for the next turn.
    in->waiting = in->at < in->len;
    if (in->waiting) {
        ptl_lws_kick(in->app->lws);
    }
}

static void ready(void *ctx)
{
    bool posted = false;
    process(ctx, &posted);
}

bool ptl_datagram_again(struct ptl_datagram *in)
{
    bool posted = false;
    if (in->fd >= 0 && in->waiting) {
        process(in, &posted);
        if (!in->waiting) {
            ptl_lws_resume(&in->watch);
        }
    }
    return posted;
}

bool ptl_datagram_start(struct ptl_datagram *in, struct ptl_app *app)
{
    in->app = app;
    in->fd = -1;
    if (strcmp(app->cfg->inputs.datagram, "off") == 0) {
        return true;
    }
    in->cap = DATAGRAM_BYTES;
    in->buf = malloc(in->cap);
    in->fd = in->buf != NULL ? ptl_unix_bind(app->cfg->inputs.datagram, SOCK_DGRAM) : -1;
    return in->fd >= 0 && ptl_lws_watch(app->lws, &in->watch, in->fd, ready, in);
}

void ptl_datagram_stop(struct ptl_datagram *in)
{
    if (in->fd >= 0) {
        ptl_lws_unwatch(&in->watch);
        close(in->fd);
        (void)unlink(in->app->cfg->inputs.datagram);
        in->fd = -1;
    }
}
