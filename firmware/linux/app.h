// app.h - the agent as a program: places all memory, connects inputs, journal and link with the
// core, and answers questions over the local socket. One thread (the loop of port/lws); the
// journal's slow operations and the look-up of names have their own.
#pragma once

#include "config.h"
#include "log.h"
#include "media.h"
#include "ptl_agent.h"
#include "ptl_clock.h"
#include "ptl_identity.h"
#include "ptl_lws.h"
#include "ptl_metrics.h"
#include "ptl_session.h"

#define PTL_CLIENTS_MAX      24
#define PTL_CLIENT_REPLIES   16 // answers that wait for the medium, or for the socket
#define PTL_STATUS_BYTES_MAX 6144
#define PTL_REPLY_BYTES_MAX  256

struct ptl_app;

// What became of the events that an input brought.
struct ptl_door_counts {
    uint64_t accepted;
    uint64_t malformed; // no JSON, or no event
    uint64_t too_large; // truncated ones too
    uint64_t reserved;
};

enum ptl_door_result {
    PTL_DOOR_ACCEPTED,
    PTL_DOOR_WAIT, // keep the event, try again when `polled` comes
    PTL_DOOR_REFUSED,
};

struct ptl_door_answer {
    uint64_t seq;
    size_t offset; // of a refusal
    const char *reason;
};

// Lets one event in, or says why not (and counts it).
enum ptl_door_result ptl_door_enter(struct ptl_app *app, struct ptl_span text,
                                    struct ptl_door_counts *counts, const struct ptl_now *now,
                                    struct ptl_door_answer *answer);

// Newline JSON on standard input.
struct ptl_stdin {
    struct ptl_app *app;
    struct ptl_lws_watch watch;
    struct ptl_door_counts counts;
    uint8_t *buf;
    size_t cap, len, at; // bytes [at, len) are not yet taken
    size_t scanned;      // no line feed below it
    uint64_t line;
    uint64_t read_at_ms;
    bool on, eof, skipping, waiting;
};

struct ptl_datagram {
    struct ptl_app *app;
    struct ptl_lws_watch watch;
    struct ptl_door_counts counts;
    uint8_t *buf;
    size_t cap, len, at;
    uint64_t datagrams, truncated;
    int fd;
    bool waiting, cut;
};

enum ptl_reply_kind {
    PTL_REPLY_DURABLE, // an event was taken; once it is durable
    PTL_REPLY_TAKEN,   // an event was taken; at once
    PTL_REPLY_REFUSED,
    PTL_REPLY_STATUS,
    PTL_REPLY_JOINED, // the status once joined
};

struct ptl_reply_due {
    uint64_t seq, epoch;
    const char *reason; // of a refusal; lives as long as the program
    size_t offset;
    enum ptl_reply_kind kind;
};

struct ptl_client {
    struct ptl_app *app;
    struct ptl_lws_watch watch;
    int fd;                                       // -1: free
    struct ptl_reply_due due[PTL_CLIENT_REPLIES]; // in order
    uint32_t due_count;
    bool waits; // has an event for us while the buffer is taken
};

struct ptl_seqpacket {
    struct ptl_app *app;
    struct ptl_lws_watch watch;
    struct ptl_door_counts counts;
    struct ptl_client clients[PTL_CLIENTS_MAX];
    struct ptl_client *holder; // whose message waits in `buf`
    uint8_t *buf;
    size_t cap, len;
    int fd;
    bool waiting;
};

struct ptl_host_metrics {
    struct ptl_app *app;
    struct ptl_metrics metrics;
    uint64_t next_ms;
    uint64_t skipped;
    uint8_t *data[PTL_METRICS_GROUPS]; // of a sample that waits
    size_t len[PTL_METRICS_GROUPS];    // 0: nothing waits
    bool on[PTL_METRICS_GROUPS];
    bool any;
};

struct ptl_app {
    struct ptl_config *cfg;
    struct ptl_clock clock;
    struct ptl_identity identity;
    struct ptl_media media;
    struct ptl_session session;
    struct ptl_adapter adapter;
    struct ptl_agent agent;
    void *memory[3]; // of the agent: queue, record, flights
    struct ptl_event_limits limits;
    struct ptl_lws_config lws_cfg;
    struct ptl_lws *lws;
    struct ptl_lws_peer peer;
    char lws_path[3 * PTL_CONFIG_SECRET_MAX + 128];
    char source[6 * PTL_CONFIG_TEXT_MAX]; // as JSON string body

    struct ptl_stdin input_stdin;
    struct ptl_datagram input_datagram;
    struct ptl_seqpacket input_seqpacket;
    struct ptl_host_metrics host;
    struct ptl_lws_watch signals, media_done;
    int signal_fd;

    // What was logged last, and what rates are counted from.
    struct ptl_agent_status seen;
    uint64_t looked_at_ms;
    bool look_due;
    bool ways_told; // the two ways on after a refused private channel
    struct ptl_rate_point {
        uint64_t at_ms, events, messages;
    } rate_old, rate_new; // sent by then; the old one is 5 s older or more
    uint64_t started_ms;
    bool draining, eof_drain;
    uint64_t media_since_ms; // while it ends: the medium is busy since then; 0: it is not
    bool media_hung;
};

// Sets everything up and runs until told to stop. The result is the process's exit status.
int ptl_app_run(struct ptl_app *app, struct ptl_config *cfg);
// Begins the end: no event enters any more, what is held is sent or spilled until then.
void ptl_app_drain(struct ptl_app *app, uint32_t within_ms);
struct ptl_now ptl_app_now(struct ptl_app *app);

// Inputs: start (false: reported, the agent cannot run), try again (true: something was posted).
bool ptl_stdin_start(struct ptl_stdin *in, struct ptl_app *app);
bool ptl_stdin_again(struct ptl_stdin *in);
bool ptl_datagram_start(struct ptl_datagram *in, struct ptl_app *app);
bool ptl_datagram_again(struct ptl_datagram *in);
void ptl_datagram_stop(struct ptl_datagram *in);
bool ptl_seqpacket_start(struct ptl_seqpacket *in, struct ptl_app *app);
bool ptl_seqpacket_again(struct ptl_seqpacket *in);
// The state changed: answers that waited for it.
void ptl_seqpacket_tell(struct ptl_seqpacket *in, const struct ptl_agent_status *status);
void ptl_seqpacket_stop(struct ptl_seqpacket *in);
bool ptl_host_metrics_start(struct ptl_host_metrics *in, struct ptl_app *app);
bool ptl_host_metrics_again(struct ptl_host_metrics *in);
void ptl_host_metrics_due(struct ptl_host_metrics *in, const struct ptl_now *now);

// Binds a Unix socket of `type` with mode 0660, making its directory if that is missing and taking
// over a name that nobody listens on. -1: reported.
int ptl_unix_bind(const char *path, int type);

// status.c: the report as one JSON object. Returns its length.
size_t ptl_status_json(struct ptl_app *app, char *out, size_t cap);
const char *ptl_status_state(const struct ptl_agent_status *status);
