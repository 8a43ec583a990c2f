// session.h - a subscriber's session with Supabase Realtime (vsn 2.0.0) over one WebSocket: joins
// the uplink of every device, and the downlink where receipts are given, keeps them joined, sends
// heartbeats. No I/O: whole messages and time go in, frames come out.
//
// Each channel:  IDLE --join sent--> JOINING --ok--> JOINED
//                 ^                     | refused, no answer      | phx_close, phx_error, unmatched
//                 +---- waits (full jitter) ----------------------+
//
// The link itself is the owner's; the session only says when it is no use any more.
#pragma once

#include "ptl_base.h"
#include "ptl_bytes.h"
#include "receipts.h"

#define COL_DEVICES_MAX 1000
#define COL_TOPIC_MAX   96
#define COL_TEXT_MAX    160

struct col_session_config {
    bool private_channels;
    bool downlinks;        // join them, too
    uint32_t heartbeat_ms; // unanswered by the next one = the link is lost
    uint32_t join_timeout_ms;
    uint32_t backoff_base_ms, backoff_cap_ms; // of joins
    uint32_t reset_ms;                        // joined that long, the backoff starts over
    uint32_t slow_ms;                         // after a rate limit
    uint32_t joins_at_once;                   // a refused join blocks the socket for seconds
    uint64_t seed;
};

enum col_channel_state { COL_IDLE, COL_JOINING, COL_JOINED };

struct col_channel {
    enum col_channel_state state;
    bool wanted;
    uint32_t join_ref;
    uint64_t at_ms; // IDLE: join then; JOINING: given up then; JOINED: since
    uint32_t tries;
};

enum col_side { COL_UP, COL_DOWN, COL_SIDES };

struct col_device {
    char name[PTL_DEVICE_BYTES_MAX + 1];
    struct col_channel channel[COL_SIDES];
    struct col_receipts receipts;
    uint32_t leave_refs[COL_SIDES]; // join refs of channels to be left, 0: none
    bool removed;                   // gone once its leaves are sent
    bool marked;                    // for the comparison with a new list
    uint64_t batches, malformed;
};

enum col_event_type {
    COL_NOTHING,
    COL_BATCH,        // on the uplink of `device`: `text` is the batch
    COL_JOIN_DONE,    // a channel of `device` is joined
    COL_JOIN_REFUSED, // `text` says why
    COL_CHANNEL_LOST, // `text` says why
    COL_LINK_LOST,    // heartbeat unanswered: close the link
    COL_RECEIPT_ACKED,
    COL_RECEIPT_REFUSED, // `text` says why
    COL_SYSTEM,          // a system message with an error: `text`
    COL_IGNORED,         // not for us, or malformed
};

struct col_event_out {
    enum col_event_type type;
    struct col_device *device;
    enum col_side side;
    struct ptl_span text; // borrowed from the message, raw JSON string body where it came in one
};

struct col_session {
    struct col_session_config cfg;
    struct col_device *devices[COL_DEVICES_MAX];
    size_t device_count;
    bool up;
    uint32_t ref_last;
    uint32_t heartbeat_ref; // unanswered, 0: none
    uint64_t heartbeat_at_ms;
    uint32_t receipt_refs[8]; // of receipts that were not answered yet, oldest overwritten
    size_t receipt_at;
    struct ptl_prng prng;
    uint64_t ignored;
};

void col_session_init(struct col_session *s, const struct col_session_config *cfg);
void col_session_free(struct col_session *s);

// A device that is there already is only marked. NULL: too many, or no memory.
struct col_device *col_session_add(struct col_session *s, const char *name, uint64_t now_ms);
// Leaves its channels and forgets it.
void col_session_remove(struct col_session *s, struct col_device *device);
struct col_device *col_session_find(struct col_session *s, struct ptl_span name);

void col_session_link_up(struct col_session *s, uint64_t now_ms);
void col_session_link_down(struct col_session *s);

// One whole message from the server.
struct col_event_out col_session_recv(struct col_session *s, struct ptl_span message, bool binary,
                                      uint64_t now_ms);
// Time passed. Call until COL_NOTHING.
struct col_event_out col_session_tick(struct col_session *s, uint64_t now_ms);

// Writes the next control frame (text) that is due: heartbeat, leave, join. `token` goes with
// joins, may be empty. PTL_E_EMPTY: none is due. PTL_E_TOO_BIG: the writer has no room for it.
PTL_MUST_USE enum ptl_status col_session_control(struct col_session *s, struct ptl_span token,
                                                 struct ptl_writer *w, uint64_t now_ms);
// Writes a receipt as a kind-3 frame. PTL_E_AGAIN: the downlink is not joined.
PTL_MUST_USE enum ptl_status col_session_receipt(struct col_session *s, struct col_device *device,
                                                 struct ptl_span payload, struct ptl_writer *w);

// When tick or control has something to do, PTL_NEVER while the link is down.
uint64_t col_session_deadline(const struct col_session *s);
// Channels that are wanted and joined.
void col_session_count(const struct col_session *s, size_t *wanted, size_t *joined);
