// ptl_session.h - one device's session with Supabase Realtime over one WebSocket: joins, refs,
// heartbeats, acknowledgements, presence, downlink. Sans I/O: whole messages and time go in, frames
// and at most one event per call come out.
//
//   DOWN --link_up--> JOINING --all channels joined--> JOINED --drain--> DRAINING
//     ^                  |  refused, timed out            | channel closed, heartbeat lost
//     +---- link_down ---+--------------------------------+   -> event LOST: the owner closes the link
//
// Threads: one owner. Memory: *s only; key and token are borrowed and never copied into events or logs.
#pragma once

#include "ptl_base.h"
#include "ptl_bytes.h"
#include "ptl_frame.h"

struct ptl_session_config {
    char device[PTL_DEVICE_BYTES_MAX + 1];
    struct ptl_span token;      // access_token of the joins, may be empty (then the connection's key)
    struct ptl_span version;    // of the agent, for presence, e.g. "0.1.0"
    uint64_t epoch;             // for presence
    bool private_channels;      // false: no downlink, no presence rights needed
    bool presence;              // track once per join
    uint32_t join_timeout_ms;   // 12,000
    uint32_t heartbeat_ms;      // 25,000; unanswered by the next one = lost
    uint32_t ack_timeout_ms;    // 5,000 (owner's timers use it; here for heartbeat slack only)
    uint32_t rejoin_ms_min;     // wait before rejoining one channel that the server closed; 1,000
};

enum ptl_session_state {
    PTL_SESSION_DOWN,
    PTL_SESSION_JOINING,
    PTL_SESSION_JOINED,
    PTL_SESSION_DRAINING,
    PTL_SESSION_STATES
};

enum ptl_session_event_type {
    PTL_SESSION_NONE,
    PTL_SESSION_IS_JOINED, // every channel is joined: batches may go
    PTL_SESSION_ACKED,     // push `ref` was taken by the server
    PTL_SESSION_REFUSED,   // push `ref` was refused for its content (`text` = reason)
    PTL_SESSION_RECEIPT,   // a broadcast `receipt` on the downlink: `text` = payload JSON
    PTL_SESSION_LOST,      // join refused or timed out, channel closed, heartbeat lost, unmatched
                           // topic: `text` says what (reason or system message), close the link
    PTL_SESSION_IGNORED,   // a message that is not for us or malformed: counted
};

struct ptl_session_event {
    enum ptl_session_event_type type;
    uint32_t ref;
    struct ptl_span text;        // borrowed from the message, or static
    uint64_t round_trip_ms;      // ACKED heartbeat/push: not measured here, 0
    bool heartbeat;              // NONE with a heartbeat reply: the path is alive
};

struct ptl_session; // complete below

void ptl_session_init(struct ptl_session *s, const struct ptl_session_config *cfg);
// A new socket: refs go on, pending heartbeat and joins are forgotten.
void ptl_session_link_up(struct ptl_session *s, uint64_t now_ms);
void ptl_session_link_down(struct ptl_session *s);
void ptl_session_drain(struct ptl_session *s);
// A new token: goes out as access_token on every joined channel, and with later joins.
void ptl_session_token_set(struct ptl_session *s, struct ptl_span token);

// One whole message from the server.
struct ptl_session_event ptl_session_recv(struct ptl_session *s, struct ptl_span message, bool binary,
                                          uint64_t now_ms);
// Time passed: join or heartbeat timeouts. Call until NONE.
struct ptl_session_event ptl_session_tick(struct ptl_session *s, uint64_t now_ms);

// Is a control frame (join, heartbeat, presence, access_token) due?
bool ptl_session_control_due(const struct ptl_session *s, uint64_t now_ms);
// Writes the most urgent one as a text message. PTL_E_EMPTY: none due. PTL_E_TOO_BIG: the writer's room is too small
// (a join with a long token): nothing changed.
PTL_MUST_USE enum ptl_status ptl_session_control_write(struct ptl_session *s, struct ptl_writer *w,
                                                       uint64_t now_ms);

// Begins a batch: the kind-3 header for event `events` on the uplink with a fresh ref. The caller
// appends the payload. Only while JOINED or DRAINING. The caller keeps ref and its own ack timer.
PTL_MUST_USE enum ptl_status ptl_session_push_begin(struct ptl_session *s, struct ptl_writer *w,
                                                    uint32_t *ref);
// Earliest time ptl_session_tick or control_due has something to do, or PTL_NEVER.
uint64_t ptl_session_deadline(const struct ptl_session *s);

struct ptl_session_channel {
    uint32_t join_ref; // 0: no join under way or done
    uint64_t join_sent_ms;
    uint8_t state; // enum in session.c
};

struct ptl_session {
    struct ptl_session_config cfg;
    enum ptl_session_state state;
    uint32_t ref_last;
    struct ptl_session_channel up, down;
    uint32_t heartbeat_ref; // pending, 0 if none
    uint64_t heartbeat_due_ms;
    bool presence_due, presence_tracked;
    bool token_due_up, token_due_down;
    uint64_t ignored; // messages not for us
};
