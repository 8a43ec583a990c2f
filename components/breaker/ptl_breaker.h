// ptl_breaker.h - circuit breaker fed by protocol evidence, and the backoff behind it.
//
//   CLOSED ----failure, or ack_timeouts_max in a row----> OPEN --wait over--> (connect, join)
//     ^                                                     ^                     |
//     |                                                     | failure             | joined
//     +------------ probe acknowledged ---- HALF_OPEN ------+ <-------------------+
//
// CLOSED at start: the first connect is tried at once (a fleet spreads it, see spread_start). A
// wait is drawn with full jitter from [0, window] (AWS architecture blog, "Exponential backoff and
// jitter"), where the window doubles from backoff_base_ms to backoff_cap_ms. On top of it come at
// least: slow_ms for SLOW_DOWN, backoff_base_ms for REFRESH_TOKEN, the server's own wish; STOP
// draws from [cap / 2, cap]. No window is below 2.6 * fleet_size / joins_per_s seconds, nor is the
// cap (design, "Breaker": a device makes two joins). It falls back to the base only after reset_ms
// spent joined, so that an open-then-drop loop keeps growing.
//
// Threads: one owner. Memory: *b only. Times are monotonic ms and never fall.
#pragma once

#include "ptl_base.h"
#include "ptl_bytes.h"

enum ptl_breaker_state { PTL_BREAKER_CLOSED, PTL_BREAKER_OPEN, PTL_BREAKER_HALF_OPEN };

struct ptl_breaker_config {
    uint32_t backoff_base_ms; // 1,000
    uint32_t backoff_cap_ms;  // 60,000
    uint32_t slow_ms;         // 60,000: least wait after a rate limit
    uint32_t reset_ms;        // 30,000 joined
    uint32_t fleet_size;      // 1
    uint32_t joins_per_s;     // 100 (plan)
    uint8_t ack_timeouts_max; // 3
};

struct ptl_breaker {
    struct ptl_breaker_config cfg;
    enum ptl_breaker_state state;
    uint64_t retry_at_ms;     // no connect before; PTL_NEVER while connected
    uint64_t joined_since_ms; // PTL_NEVER while not joined
    uint64_t opened_at_ms;
    uint32_t attempt; // exponent of the window
    uint8_t ack_timeouts;
    enum ptl_reaction cause; // of the last opening
    uint32_t opened_count;
};

// Asserts: base at least 1 and at most the cap, joins_per_s and ack_timeouts_max at least 1.
void ptl_breaker_init(struct ptl_breaker *b, const struct ptl_breaker_config *cfg, uint64_t now_ms);
// Before the first connect of a fleet's device: puts it off by up to the fleet's window, so that a
// site that gets its power back does not join all at once. Nothing at fleet_size 1.
void ptl_breaker_spread_start(struct ptl_breaker *b, struct ptl_prng *prng, uint64_t now_ms);
// May the agent start a connect now?
bool ptl_breaker_may_connect(const struct ptl_breaker *b, uint64_t now_ms);
// Connect failed, socket or channel lost, join refused, heartbeat lost: opens (or stays open) and
// draws the next wait. `hint_ms`: the server's own wish, 0 if none; honoured up to one hour. A
// second sign of the same failure (before the wait is over) only lengthens that wait, and does so
// only if it is a graver one or brings a hint.
void ptl_breaker_failed(struct ptl_breaker *b, enum ptl_reaction reaction, uint32_t hint_ms,
                        struct ptl_prng *prng, uint64_t now_ms);
// An acknowledgement did not come in time. True if that was one too many: the breaker opened and
// the caller closes the link. While half open the first one is.
bool ptl_breaker_ack_timed_out(struct ptl_breaker *b, struct ptl_prng *prng, uint64_t now_ms);
// All channels joined: OPEN becomes HALF_OPEN (one probe); CLOSED stays.
void ptl_breaker_joined(struct ptl_breaker *b, uint64_t now_ms);
// A batch was acknowledged: HALF_OPEN becomes CLOSED (returns true then).
bool ptl_breaker_acked(struct ptl_breaker *b, uint64_t now_ms);
// When ptl_breaker_may_connect turns true, or PTL_NEVER.
uint64_t ptl_breaker_deadline(const struct ptl_breaker *b);
