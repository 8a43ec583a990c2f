// ptl_batch.h - when to send a batch, and of which flow: pure decisions, no bytes, no clock.
//
// Messages are money, so three goals at once: the message budget, a delay bound, the fewest
// messages. A live batch goes when it is full, when its oldest record has waited max_delay_ms, when
// a critical event waits, or (eager) when the link is idle and waiting would hardly gather a second
// record; always only while fewer than W batches are unacknowledged and the budget has a token.
// Everything else (resends, gaps and ends, replay) is backlog by nature and goes whenever window
// and budget allow.
//
//   order    live that is due, then control, resend, replay. Live that is waiting keeps a token of
//            a tight budget. After PTL_BATCH_LIVE_RUN live batches in a row while backlog waited,
//            one backlog batch goes first, so that a live flow that uses up budget or window cannot
//            keep an outage from ever being replayed. A critical event always goes first.
//   strict   control, resend, replay, and live only when none of them waits.
//   W        starts at 1, grows by one per W acks while there is a backlog, halves on an ack
//            timeout or a rate message, and is 1 again after the breaker was half open.
//   budget   token bucket in millionths of a message. A rate message halves the share (down to
//            1/64), which grows back by 1/256 of the whole every 1,250 ms. Budget wins over delay.
//
// Threads: one owner. Memory: *b only. Cost: a few 64-bit operations per call, no loops.
#pragma once

#include "ptl_base.h"

#define PTL_BATCH_LIVE_RUN      3u  // live batches in a row before waiting backlog gets one
#define PTL_BATCH_PROBE_EVENTS  8u  // events of the one batch that probes a half-open breaker
#define PTL_BATCH_EVENT_EXTRA   88u // what an encoded record grows by on the wire, about
#define PTL_BATCH_DELAY_MS_MAX  3600000u
#define PTL_BATCH_SHARE_FULL    256u
#define PTL_BATCH_SHARE_MIN     4u
#define PTL_BATCH_SHARE_STEP_MS 1250u

struct ptl_batch_config {
    uint32_t max_delay_ms;        // 1,000; at most PTL_BATCH_DELAY_MS_MAX
    uint32_t messages_per_1000_s; // 1,000 = one a second; 0 = no budget
    uint32_t burst;               // tokens the bucket holds, 10; at least 1
    uint32_t bytes_max;           // of the payload, 32 KiB
    uint32_t events_max;          // of a batch, 500; at least 1
    uint8_t window_max;           // 8; at least 1
    bool eager;                   // send at once while nothing is in flight and records are rare
    bool strict_order;            // oldest first always
};

// What waits, as the owner sees it now. "Unsent" leaves out what is in flight.
struct ptl_batch_input {
    uint32_t live_count;     // unsent live records
    size_t live_bytes;       // their encoded size
    uint64_t live_oldest_ms; // when the oldest of them was accepted; looked at if live_count > 0
    bool live_critical;      // one of them is critical
    bool replay_waiting;     // unsent spilled or older records
    bool resend_waiting;     // records that must be sent again
    bool control_waiting;    // unsent gaps or ends, or a control batch that must go alone
    uint32_t in_flight;      // batches sent and not acknowledged
    bool draining;           // no use in waiting for more: max_delay counts as over
    bool probe_only;         // breaker half open: one small batch, nothing beside it
};

enum ptl_batch_flow {
    PTL_BATCH_NONE,
    PTL_BATCH_LIVE,
    PTL_BATCH_REPLAY,
    PTL_BATCH_RESEND,
    PTL_BATCH_CONTROL, // no events needed: gaps, ends, or neither
};

struct ptl_batch_decision {
    enum ptl_batch_flow flow;
    uint32_t events_max; // of this batch; bytes are the config's always
    uint64_t wake_at_ms; // NONE: ask again then at the latest, after `now`; PTL_NEVER: when an
                         // acknowledgement or a record comes. Otherwise 0.
};

struct ptl_batch {
    struct ptl_batch_config cfg;
    uint64_t tokens; // millionths of a message
    uint64_t tokens_at_ms;
    uint64_t share_at_ms;     // the share has been brought up to this time
    uint64_t rate_since_ms;   // start of the current window of the rate measure
    uint32_t rate_count;      // records in it
    uint32_t rate_count_prev; // records in the one before
    uint16_t share;           // of PTL_BATCH_SHARE_FULL
    uint8_t window;
    uint8_t window_acks; // since it last grew
    uint8_t live_run;
    // A bucket per month (design, "Batching") comes beside `tokens` and only lengthens waits.
};

// Asserts the limits named in the config.
void ptl_batch_init(struct ptl_batch *b, const struct ptl_batch_config *cfg, uint64_t now_ms);

// `count` records entered the live flow (for the rate measure of `eager`).
void ptl_batch_offered(struct ptl_batch *b, uint32_t count, uint64_t now_ms);

// What to send now. Changes nothing but the books of time; the owner that then really sends calls
// ptl_batch_sent, one that finds nothing to send after all does not.
struct ptl_batch_decision ptl_batch_decide(struct ptl_batch *b, const struct ptl_batch_input *in,
                                           uint64_t now_ms);

// A message of that flow left: takes a token (the bucket may run into debt of one, for messages
// that could not wait). `backlog_waited`: anything but live waited (the input's flags).
void ptl_batch_sent(struct ptl_batch *b, enum ptl_batch_flow flow, bool backlog_waited,
                    uint64_t now_ms);
// One of them was acknowledged. `backlog`: there is more to send at once.
void ptl_batch_acked(struct ptl_batch *b, bool backlog);
void ptl_batch_ack_timed_out(struct ptl_batch *b);
// The server or a receiver said that we send too much. Halves W and, if there is a budget, the
// share.
void ptl_batch_rate_limited(struct ptl_batch *b, uint64_t now_ms);
// The breaker went half open, or a new session begins: W is 1.
void ptl_batch_restart(struct ptl_batch *b);

uint32_t ptl_batch_window(const struct ptl_batch *b);
