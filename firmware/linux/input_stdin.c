// input_stdin.c - one JSON event a line on standard input.
//
// Standard input has no one who waits for a reply, so it is drained lazily: after a read the next
// one waits until about a quarter of a pipe has gathered at the rate seen, at most gather_ms. A
// wake-up costs more than many events (docs/footprint.md). While the agent has no room the pipe
// fills and the writer waits: backpressure, nothing is dropped.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app.h"

#define CHUNK_BYTES  65536
#define GATHER_BYTES 16384 // of a pipe's 65,536
#define PIPE_BYTES   262144

static uint32_t gather_ms(const struct ptl_app *app)
{
    if (app->cfg->inputs.stdin_gather_ms > 0) {
        return app->cfg->inputs.stdin_gather_ms;
    }
    uint32_t ms = app->cfg->batch.max_delay_ms / 20; // a twentieth of the delay bound
    return ms < 1 ? 1 : ms > 50 ? 50 : ms;
}

static void refused(struct ptl_stdin *in, const char *reason, size_t offset)
{
    ptl_log_keyed(PTL_LOG_WARNING, "stdin refused", "stdin line %llu refused: %s (byte %zu)",
                  (unsigned long long)in->line, reason, offset);
}

static void too_long(struct ptl_stdin *in)
{
    in->line++;
    in->counts.too_large++;
    ptl_agent_count_rejected(&in->app->agent);
    refused(in, "the line is longer than an event may be", in->app->limits.event_bytes_max);
}

// Takes whole lines out of the buffer. False: one has to wait.
static bool lines_take(struct ptl_stdin *in, const struct ptl_now *now, bool *posted)
{
    while (in->at < in->len) {
        uint8_t *begin = in->buf + in->at;
        uint8_t *feed = memchr(in->buf + in->scanned, '\n', in->len - in->scanned);
        if (feed == NULL && !in->eof) {
            in->scanned = in->len;
            break;
        }
        size_t len = (size_t)((feed != NULL ? feed : in->buf + in->len) - begin);
        size_t next = in->at + len + (feed != NULL);
        if (ptl_agent_wants_pause(&in->app->agent)) {
            return false; // waiting costs less than spilling
        }
        if (in->skipping) {
            in->skipping = false;
        } else if (len > in->app->limits.event_bytes_max) {
            too_long(in);
        } else if (len > 0 && !(len == 1 && begin[0] == '\r')) {
            struct ptl_door_answer answer;
            enum ptl_door_result result =
                ptl_door_enter(in->app, (struct ptl_span){begin, len}, &in->counts, now, &answer);
            if (result == PTL_DOOR_WAIT) {
                return false;
            }
            in->line++;
            *posted = *posted || result == PTL_DOOR_ACCEPTED;
            if (result == PTL_DOOR_REFUSED) {
                refused(in, answer.reason, answer.offset);
            }
        } else {
            in->line++;
        }
        in->at = next;
        in->scanned = next;
    }
    return true;
}

// Makes room at the end; a line that fills everything is skipped as it comes.
static void buffer_compact(struct ptl_stdin *in)
{
    if (in->at > 0) {
        memmove(in->buf, in->buf + in->at, in->len - in->at);
        in->len -= in->at;
        in->scanned -= in->at;
        in->at = 0;
    }
    if (in->skipping) {
        in->len = 0;
        in->scanned = 0;
    } else if (in->len > in->app->limits.event_bytes_max) {
        too_long(in);
        in->skipping = true;
        in->len = 0;
        in->scanned = 0;
    }
}

// Everything that was read is through; the end of the input is the end of the program.
static void finished(struct ptl_stdin *in)
{
    ptl_lws_unwatch(&in->watch);
    in->on = false;
    ptl_log(PTL_LOG_INFO, "end of standard input after %llu events: sending what is held",
            (unsigned long long)in->counts.accepted);
    in->app->eof_drain = true;
    ptl_app_drain(in->app, in->app->cfg->inputs.eof_drain_ms);
}

static void process(struct ptl_stdin *in, bool *posted)
{
    const struct ptl_now now = ptl_app_now(in->app);
    in->waiting = !lines_take(in, &now, posted);
    if (in->waiting) {
        ptl_lws_pause(&in->watch, PTL_NEVER);
    } else {
        buffer_compact(in);
        if (in->eof) {
            finished(in);
        }
    }
}

// When to look again, from how fast bytes come.
static void pace(struct ptl_stdin *in, size_t got, uint64_t now_ms)
{
    uint64_t since_ms = now_ms - in->read_at_ms;
    in->read_at_ms = now_ms;
    if (got >= GATHER_BYTES || in->watch.always || in->watch.paused) {
        return;
    }
    uint64_t wait_ms = gather_ms(in->app);
    uint64_t fill_ms = GATHER_BYTES * (since_ms + 1) / got;
    wait_ms = fill_ms < wait_ms ? fill_ms : wait_ms;
    if (wait_ms > 0) {
        ptl_lws_pause(&in->watch, now_ms + wait_ms);
    }
}

static void ready(void *ctx)
{
    struct ptl_stdin *in = ctx;
    PTL_ASSERT(in->len < in->cap);
    size_t room = in->cap - in->len;
    ssize_t got = read(in->watch.fd, in->buf + in->len, room < CHUNK_BYTES ? room : CHUNK_BYTES);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) {
        return;
    }
    if (got < 0) {
        ptl_log(PTL_LOG_ERROR, "standard input cannot be read: %s", strerror(errno));
    }
    in->eof = got <= 0;
    in->len += got > 0 ? (size_t)got : 0;
    bool posted = false;
    process(in, &posted);
    if (got > 0 && in->on) {
        pace(in, (size_t)got, ptl_app_now(in->app).mono_ms);
    }
}

bool ptl_stdin_again(struct ptl_stdin *in)
{
    bool posted = false;
    if (in->on && in->waiting) {
        process(in, &posted);
        if (in->on && !in->waiting) {
            ptl_lws_resume(&in->watch);
        }
    }
    return posted;
}

bool ptl_stdin_start(struct ptl_stdin *in, struct ptl_app *app)
{
    in->app = app;
    if (!app->cfg->inputs.stdin_lines) {
        return true;
    }
    // Room for the longest line and a chunk behind it.
    in->cap = app->limits.event_bytes_max + CHUNK_BYTES + 1;
    in->buf = malloc(in->cap);
    if (in->buf == NULL || !ptl_lws_watch(app->lws, &in->watch, STDIN_FILENO, ready, in)) {
        ptl_log(PTL_LOG_ERROR, "standard input cannot be used (is it closed?)");
        return false;
    }
    (void)fcntl(STDIN_FILENO, F_SETPIPE_SZ, PIPE_BYTES); // a longer pipe means fewer wake-ups
    in->on = true;
    in->read_at_ms = ptl_app_now(app).mono_ms;
    return true;
}
