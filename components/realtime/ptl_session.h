// ptl_session.h - one device's session with Supabase Realtime over one WebSocket: joins, refs,
// heartbeats, acknowledgements, presence, downlink. Sans I/O: whole messages and time go in, frames
// and at most one event per call come out.
//
//   DOWN --link_up--> JOINING --all channels joined--> JOINED --drain--> DRAINING
//     ^                  |  refused, timed out            | channel closed, heartbeat lost
//     +---- link_down ---+--------------------------------+
//                                                         -> event LOST: the owner closes the link
//
// After LOST the session is DOWN and quiet until link_up. A channel that the server closes takes
// the link with it: the owner reconnects under its breaker, and both channels are joined afresh.
//
// Protocol facts: supabase/realtime 2.129.8. A join is answered in the order sent, and a refused
// one blocks the whole socket for 5 s, heartbeats too. phx_close and phx_error count only if they
// carry the present join_ref (the duplicate-join close carries the old one). A `system` error comes
// before the phx_close it explains. Answers of a channel the server no longer knows say `unmatched
// topic`.
//
// Threads: one owner. Memory: *s only; token and version are borrowed and never copied into events
// or logs. Everything the server says is untrusted: bounded, checked, else IGNORED.
#pragma once

#include "ptl_base.h"
#include "ptl_bytes.h"
#include "ptl_frame.h"

struct ptl_session_config {
    char device[PTL_DEVICE_BYTES_MAX + 1];
    struct ptl_span token;    // access_token of the joins, may be empty (then the connection's key)
    struct ptl_span version;  // of the agent, for presence, e.g. "0.1.0"
    uint64_t epoch;           // for presence
    bool private_channels;    // false: no downlink, no presence rights needed
    bool presence;            // track once per join
    uint32_t join_timeout_ms; // 12,000
    uint32_t heartbeat_ms;    // 25,000; unanswered by the next one = lost
    uint32_t ack_timeout_ms;  // 5,000 (owner's timers use it; here for heartbeat slack only)
    uint32_t rejoin_ms_min;   // for rejoining a single channel, which is not done yet
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
    PTL_SESSION_REFUSED,   // push `ref` was refused (`text` = reason, may be empty)
    PTL_SESSION_RECEIPT,   // a broadcast `receipt` on the downlink: `text` = its payload, a checked
                           // JSON object
    PTL_SESSION_LOST,      // join refused or timed out, channel closed, heartbeat lost, unmatched
                           // topic: `text` says what (reason or system message), close the link
    PTL_SESSION_IGNORED,   // a message that is not for us or malformed: counted
};

// Who said what the text of LOST says; decides which part of the reaction table applies.
enum ptl_session_cause {
    PTL_SESSION_CAUSE_LOCAL,  // our own words: time-outs, lost heartbeat, channel closed or unknown
    PTL_SESSION_CAUSE_JOIN,   // reason of a refused join
    PTL_SESSION_CAUSE_SYSTEM, // message of the `system` error before the close
};

struct ptl_session_event {
    enum ptl_session_event_type type;
    enum ptl_session_cause cause; // LOST
    uint32_t ref;
    struct ptl_span text;   // RECEIPT: borrowed from the message. Otherwise plain UTF-8, static or
                            // in the session until its next call, cut at PTL_SESSION_TEXT_MAX
    uint64_t round_trip_ms; // ACKED heartbeat/push: not measured here, 0
    bool heartbeat;         // NONE with a heartbeat reply: the path is alive
};

#define PTL_SESSION_TEXT_MAX 128

struct ptl_session; // complete below

// Asserts that device and time-outs are set.
void ptl_session_init(struct ptl_session *s, const struct ptl_session_config *cfg);
// A new socket: refs go on, pending heartbeat and joins are forgotten, joins become due.
void ptl_session_link_up(struct ptl_session *s, uint64_t now_ms);
void ptl_session_link_down(struct ptl_session *s);
// From now on (also over reconnects) no presence and no token is pushed; batches may still go.
void ptl_session_drain(struct ptl_session *s);
// A new token, borrowed: goes out as access_token on every joined channel, and with later joins. An
// empty one only affects later joins. The server never answers it.
void ptl_session_token_set(struct ptl_session *s, struct ptl_span token);

// One whole message from the server.
struct ptl_session_event ptl_session_recv(struct ptl_session *s, struct ptl_span message,
                                          bool binary, uint64_t now_ms);
// Time passed: join or heartbeat timeouts. Call until NONE.
struct ptl_session_event ptl_session_tick(struct ptl_session *s, uint64_t now_ms);

// Is a control frame (join, heartbeat, presence, access_token) due?
bool ptl_session_control_due(const struct ptl_session *s, uint64_t now_ms);
// Writes the most urgent one as a text message. PTL_E_EMPTY: none due. PTL_E_TOO_BIG: the
// writer's room is too small (a join takes 300 bytes and the token): nothing changed.
PTL_MUST_USE enum ptl_status ptl_session_control_write(struct ptl_session *s, struct ptl_writer *w,
                                                       uint64_t now_ms);

// Begins a batch: the kind-3 header for event `events` on the uplink with a fresh ref. The caller
// appends the payload. The caller keeps ref (never 0) and its own ack timer.
// PTL_E_AGAIN: not joined. PTL_E_TOO_BIG: no room for the header. Nothing changed then.
PTL_MUST_USE enum ptl_status ptl_session_push_begin(struct ptl_session *s, struct ptl_writer *w,
                                                    uint32_t *ref);
// Earliest time at which ptl_session_tick has something to do, or PTL_NEVER. After a tick it lies
// in the future, so that a frame that waits for a blocked socket makes no timer spin; what waits to
// be written is control_due's to say.
uint64_t ptl_session_deadline(const struct ptl_session *s);

struct ptl_session_channel {
    uint32_t join_ref;       // 0: no join sent on this link
    uint64_t join_begins_ms; // its time-out counts from here
    uint8_t state;           // enum channel_state in session_internal.h
    bool token_due;
};

struct ptl_session {
    struct ptl_session_config cfg;
    enum ptl_session_state state;
    uint32_t ref_last;
    struct ptl_session_channel up, down;
    uint32_t heartbeat_ref; // pending, 0 if none
    bool heartbeat_owed;    // due and not written yet
    uint64_t heartbeat_due_ms;
    uint64_t join_answered_ms; // the last one: what it held back may still be on its way
    uint32_t presence_ref;     // unanswered track, 0 if none
    bool presence_due;
    bool drain_wanted;
    uint64_t ignored;          // messages not for us
    uint64_t presence_refused; // tracks the server refused; the session goes on
    uint8_t system_len;        // of the system message in `text` that waits for its phx_close
    uint8_t text[PTL_SESSION_TEXT_MAX];
};
