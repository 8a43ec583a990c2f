// The breaker counts nothing but failures since the last long stay: `attempt` is the exponent of
// the window from which the next wait is drawn.
//
//   wait = least + uniform [0, window]
//
//   least     0; backoff_base_ms for a token; slow_ms for a rate limit; half the ceiling for STOP;
//             the server's own wish where that is longer
//   window    backoff_base_ms << attempt, at most `ceiling` and at least the fleet's window;
//             half the ceiling for STOP
//   ceiling   the larger of backoff_cap_ms and the fleet's window
//
// The fleet's window counts from the first failure: a server that restarts drops every device at
// the same moment, and it is that first wait which has to spread them.
#include "ptl_breaker.h"

#define HINT_MS_MAX  3600000u  // one hour
#define FLEET_MS_MAX 86400000u // one day

static uint64_t time_after(uint64_t now_ms, uint64_t wait_ms)
{
    PTL_ASSERT(now_ms != PTL_NEVER);
    // PTL_NEVER is not a time, so the latest deadline is one before it.
    return wait_ms < PTL_NEVER - 1 - now_ms ? now_ms + wait_ms : PTL_NEVER - 1;
}

static uint32_t fleet_window_ms(const struct ptl_breaker_config *cfg)
{
    // 2.6 * fleet_size / joins_per_s seconds: two joins a device, and a little air.
    uint64_t ms = (uint64_t)cfg->fleet_size * 2600u / cfg->joins_per_s;
    return ms < FLEET_MS_MAX ? (uint32_t)ms : FLEET_MS_MAX;
}

static uint32_t ceiling_ms(const struct ptl_breaker_config *cfg)
{
    uint32_t fleet_ms = fleet_window_ms(cfg);
    return cfg->backoff_cap_ms > fleet_ms ? cfg->backoff_cap_ms : fleet_ms;
}

static uint32_t window_ms(const struct ptl_breaker *b)
{
    uint32_t shift = b->attempt < 31 ? b->attempt : 31;
    uint64_t window = (uint64_t)b->cfg.backoff_base_ms << shift;
    uint32_t ceiling = ceiling_ms(&b->cfg);
    uint32_t fleet = fleet_window_ms(&b->cfg);
    if (window > ceiling) {
        window = ceiling;
    }
    return window > fleet ? (uint32_t)window : fleet;
}

static uint64_t wait_draw(const struct ptl_breaker *b, enum ptl_reaction reaction, uint32_t hint_ms,
                          struct ptl_prng *prng)
{
    uint32_t window = window_ms(b);
    uint32_t least = 0;
    switch (reaction) {
    case PTL_REACT_RETRY:
    case PTL_REACT_SHRINK_BATCH:
        break;
    case PTL_REACT_REFRESH_TOKEN:
        least = b->cfg.backoff_base_ms;
        break;
    case PTL_REACT_SLOW_DOWN:
        least = b->cfg.slow_ms;
        break;
    case PTL_REACT_STOP:
        window = ceiling_ms(&b->cfg) / 2;
        least = window;
        break;
    }
    uint32_t hint = hint_ms < HINT_MS_MAX ? hint_ms : HINT_MS_MAX;
    if (least < hint) {
        least = hint;
    }
    return (uint64_t)least + ptl_prng_below(prng, window + 1);
}

static uint8_t severity(enum ptl_reaction reaction)
{
    switch (reaction) {
    case PTL_REACT_RETRY:
        return 0;
    case PTL_REACT_SHRINK_BATCH:
        return 1;
    case PTL_REACT_REFRESH_TOKEN:
        return 2;
    case PTL_REACT_SLOW_DOWN:
        return 3;
    case PTL_REACT_STOP:
        return 4;
    }
    return 0;
}

static void state_set(struct ptl_breaker *b, enum ptl_breaker_state state)
{
    PTL_ASSERT(!(b->state == PTL_BREAKER_CLOSED && state == PTL_BREAKER_HALF_OPEN));
    PTL_ASSERT(!(b->state == PTL_BREAKER_OPEN && state == PTL_BREAKER_CLOSED));
    b->state = state;
}

// Whether the present failure is only another sign of the one that opened the breaker: no connect
// can have been tried while it waits. A close code after a refused join is the usual case.
static bool is_echo(const struct ptl_breaker *b, uint64_t now_ms)
{
    return b->state == PTL_BREAKER_OPEN && b->retry_at_ms != PTL_NEVER && now_ms < b->retry_at_ms;
}

void ptl_breaker_init(struct ptl_breaker *b, const struct ptl_breaker_config *cfg, uint64_t now_ms)
{
    PTL_ASSERT(cfg->backoff_base_ms > 0);
    PTL_ASSERT(cfg->backoff_cap_ms >= cfg->backoff_base_ms);
    PTL_ASSERT(cfg->backoff_cap_ms < UINT32_MAX);
    PTL_ASSERT(cfg->joins_per_s > 0);
    PTL_ASSERT(cfg->ack_timeouts_max > 0);
    *b = (struct ptl_breaker){
        .cfg = *cfg,
        .state = PTL_BREAKER_CLOSED,
        .retry_at_ms = now_ms,
        .joined_since_ms = PTL_NEVER,
        .opened_at_ms = PTL_NEVER,
        .cause = PTL_REACT_RETRY,
    };
}

void ptl_breaker_spread_start(struct ptl_breaker *b, struct ptl_prng *prng, uint64_t now_ms)
{
    PTL_ASSERT(b->state == PTL_BREAKER_CLOSED);
    PTL_ASSERT(b->joined_since_ms == PTL_NEVER);
    if (b->cfg.fleet_size > 1) {
        b->retry_at_ms = time_after(now_ms, ptl_prng_below(prng, fleet_window_ms(&b->cfg) + 1));
    }
}

bool ptl_breaker_may_connect(const struct ptl_breaker *b, uint64_t now_ms)
{
    return b->retry_at_ms != PTL_NEVER && now_ms >= b->retry_at_ms;
}

static void settle_stay(struct ptl_breaker *b, uint64_t now_ms)
{
    if (b->joined_since_ms != PTL_NEVER && now_ms >= b->joined_since_ms &&
        now_ms - b->joined_since_ms >= b->cfg.reset_ms) {
        b->attempt = 0;
    }
}

void ptl_breaker_failed(struct ptl_breaker *b, enum ptl_reaction reaction, uint32_t hint_ms,
                        struct ptl_prng *prng, uint64_t now_ms)
{
    if (is_echo(b, now_ms)) {
        if (severity(reaction) > severity(b->cause) || hint_ms > 0) {
            uint64_t retry_at_ms = time_after(now_ms, wait_draw(b, reaction, hint_ms, prng));
            b->retry_at_ms = retry_at_ms > b->retry_at_ms ? retry_at_ms : b->retry_at_ms;
        }
        if (severity(reaction) > severity(b->cause)) {
            b->cause = reaction;
        }
        return;
    }
    settle_stay(b, now_ms);
    if (b->state != PTL_BREAKER_OPEN) {
        state_set(b, PTL_BREAKER_OPEN);
        b->opened_count++;
        b->opened_at_ms = now_ms;
    }
    b->cause = reaction;
    b->joined_since_ms = PTL_NEVER;
    b->ack_timeouts = 0;
    b->retry_at_ms = time_after(now_ms, wait_draw(b, reaction, hint_ms, prng));
    if (b->attempt < 31) {
        b->attempt++;
    }
    PTL_ASSERT(b->retry_at_ms >= now_ms);
}

bool ptl_breaker_ack_timed_out(struct ptl_breaker *b, struct ptl_prng *prng, uint64_t now_ms)
{
    if (b->state == PTL_BREAKER_OPEN) {
        return false;
    }
    b->ack_timeouts++;
    PTL_ASSERT(b->ack_timeouts <= b->cfg.ack_timeouts_max);
    // A half-open breaker has one probe out, and that one was to prove the path.
    if (b->state == PTL_BREAKER_CLOSED && b->ack_timeouts < b->cfg.ack_timeouts_max) {
        return false;
    }
    ptl_breaker_failed(b, PTL_REACT_RETRY, 0, prng, now_ms);
    return true;
}

void ptl_breaker_joined(struct ptl_breaker *b, uint64_t now_ms)
{
    if (b->state == PTL_BREAKER_OPEN) {
        state_set(b, PTL_BREAKER_HALF_OPEN);
    }
    b->joined_since_ms = now_ms;
    b->retry_at_ms = PTL_NEVER;
    b->ack_timeouts = 0;
}

bool ptl_breaker_acked(struct ptl_breaker *b, uint64_t now_ms)
{
    if (b->state == PTL_BREAKER_OPEN) {
        return false; // of a link that is already given up
    }
    b->ack_timeouts = 0;
    settle_stay(b, now_ms);
    if (b->state != PTL_BREAKER_HALF_OPEN) {
        return false;
    }
    state_set(b, PTL_BREAKER_CLOSED);
    return true;
}

uint64_t ptl_breaker_deadline(const struct ptl_breaker *b)
{
    return b->retry_at_ms;
}
