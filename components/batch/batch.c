// Decisions of the batcher. Two figures carry all of it:
//
//   tokens   millionths of a message. messages_per_1000_s is millionths per millisecond, so the
//            bucket fills by whole numbers and a wait is one division.
//   rate     records in the present window and in the one before; the estimate over one window
//            length is  count + count_prev * (rest of the window) / length  (a sliding window in
//            two counters), which lets samples taken together every few seconds pass as the rare
//            event they are.
#include "ptl_batch.h"

#define TOKEN          1000000u
#define RATE_COUNT_MAX 0xffffu

static uint64_t time_after(uint64_t now_ms, uint64_t wait_ms)
{
    return wait_ms < PTL_NEVER - 1 - now_ms ? now_ms + wait_ms : PTL_NEVER - 1;
}

static bool has_budget(const struct ptl_batch *b)
{
    return b->cfg.messages_per_1000_s != 0;
}

static uint64_t tokens_max(const struct ptl_batch *b)
{
    return (uint64_t)b->cfg.burst * TOKEN;
}

// What the bucket gains a millisecond, never nothing.
static uint64_t gain_per_ms(const struct ptl_batch *b)
{
    uint64_t gain = (uint64_t)b->cfg.messages_per_1000_s * b->share / PTL_BATCH_SHARE_FULL;
    return gain > 0 ? gain : 1;
}

static void tokens_refill(struct ptl_batch *b, uint64_t now_ms)
{
    uint64_t elapsed_ms = now_ms - b->tokens_at_ms;
    uint64_t gain = gain_per_ms(b);
    uint64_t room = tokens_max(b) - b->tokens;
    // Compared by division, since a long sleep times a large budget does not fit 64 bits.
    b->tokens = elapsed_ms > room / gain ? tokens_max(b) : b->tokens + elapsed_ms * gain;
    b->tokens_at_ms = now_ms;
    PTL_ASSERT(b->tokens <= tokens_max(b));
}

static void share_regrow(struct ptl_batch *b, uint64_t now_ms)
{
    uint64_t steps = (now_ms - b->share_at_ms) / PTL_BATCH_SHARE_STEP_MS;
    uint16_t missing = (uint16_t)(PTL_BATCH_SHARE_FULL - b->share);
    if (steps >= missing) {
        b->share = PTL_BATCH_SHARE_FULL;
        b->share_at_ms = now_ms;
    } else {
        b->share = (uint16_t)(b->share + steps);
        b->share_at_ms += steps * PTL_BATCH_SHARE_STEP_MS;
    }
}

// Brings the books of budget up to `now`. Tokens first: the time that passed earned at the old
// share.
static void settle(struct ptl_batch *b, uint64_t now_ms)
{
    PTL_ASSERT(now_ms >= b->tokens_at_ms);
    PTL_ASSERT(now_ms != PTL_NEVER);
    if (!has_budget(b)) {
        b->tokens_at_ms = now_ms;
        return;
    }
    tokens_refill(b, now_ms);
    share_regrow(b, now_ms);
}

// How long until the bucket holds `needed`: 0 if it does.
static uint64_t wait_for_tokens(const struct ptl_batch *b, uint64_t needed)
{
    if (!has_budget(b) || b->tokens >= needed) {
        return 0;
    }
    uint64_t gain = gain_per_ms(b);
    return (needed - b->tokens + gain - 1) / gain;
}

static uint64_t rate_window_ms(const struct ptl_batch *b)
{
    uint64_t four_delays = 4u * (uint64_t)b->cfg.max_delay_ms;
    return four_delays > 1000 ? four_delays : 1000;
}

static void rate_roll(struct ptl_batch *b, uint64_t now_ms)
{
    uint64_t length_ms = rate_window_ms(b);
    uint64_t elapsed_ms = now_ms - b->rate_since_ms;
    if (elapsed_ms >= 2 * length_ms) {
        b->rate_count_prev = 0;
        b->rate_count = 0;
        b->rate_since_ms = now_ms;
    } else if (elapsed_ms >= length_ms) {
        b->rate_count_prev = b->rate_count;
        b->rate_count = 0;
        b->rate_since_ms += length_ms;
    }
}

// Whether the measured rate would put less than two records into the delay bound. Bounded:
// 2^16 * 2^24 * 2^22 with the limits of the config.
static bool records_are_rare(struct ptl_batch *b, uint64_t now_ms)
{
    rate_roll(b, now_ms);
    uint64_t length_ms = rate_window_ms(b);
    uint64_t rest_ms = length_ms - (now_ms - b->rate_since_ms);
    uint64_t weighted = b->rate_count * length_ms + b->rate_count_prev * rest_ms;
    return weighted * b->cfg.max_delay_ms < 2 * length_ms * length_ms;
}

static bool live_is_full(const struct ptl_batch *b, const struct ptl_batch_input *in)
{
    uint64_t bytes = (uint64_t)in->live_bytes + (uint64_t)in->live_count * PTL_BATCH_EVENT_EXTRA;
    return in->live_count >= b->cfg.events_max || bytes >= b->cfg.bytes_max;
}

// When the waiting live records have to leave, ignoring window and budget: `now` or later.
static uint64_t live_due_ms(struct ptl_batch *b, const struct ptl_batch_input *in, uint64_t now_ms)
{
    if (in->live_critical || in->draining || in->probe_only || live_is_full(b, in)) {
        return now_ms;
    }
    uint64_t due_ms = time_after(in->live_oldest_ms, b->cfg.max_delay_ms);
    if (due_ms <= now_ms) {
        return now_ms;
    }
    if (b->cfg.eager && in->in_flight == 0 && records_are_rare(b, now_ms)) {
        return now_ms;
    }
    return due_ms;
}

static enum ptl_batch_flow backlog_flow(const struct ptl_batch_input *in)
{
    if (in->control_waiting) {
        return PTL_BATCH_CONTROL;
    }
    if (in->resend_waiting) {
        return PTL_BATCH_RESEND;
    }
    return in->replay_waiting ? PTL_BATCH_REPLAY : PTL_BATCH_NONE;
}

// Waits for tokens, or NONE for the acks.
static struct ptl_batch_decision wait_until(uint64_t at_ms)
{
    return (struct ptl_batch_decision){.flow = PTL_BATCH_NONE, .wake_at_ms = at_ms};
}

static struct ptl_batch_decision
send_now(const struct ptl_batch *b, const struct ptl_batch_input *in, enum ptl_batch_flow flow)
{
    uint32_t events_max = b->cfg.events_max;
    if (in->probe_only && events_max > PTL_BATCH_PROBE_EVENTS) {
        events_max = PTL_BATCH_PROBE_EVENTS;
    }
    return (struct ptl_batch_decision){.flow = flow, .events_max = events_max};
}

static struct ptl_batch_decision send_or_wait(const struct ptl_batch *b,
                                              const struct ptl_batch_input *in,
                                              enum ptl_batch_flow flow, uint64_t now_ms)
{
    uint64_t wait_ms = wait_for_tokens(b, TOKEN);
    return wait_ms == 0 ? send_now(b, in, flow) : wait_until(time_after(now_ms, wait_ms));
}

// Live waits and is not due. Backlog may use the time if a token is there again by then.
static struct ptl_batch_decision backlog_before_live(const struct ptl_batch *b,
                                                     const struct ptl_batch_input *in,
                                                     enum ptl_batch_flow backlog, uint64_t due_ms,
                                                     uint64_t now_ms)
{
    PTL_ASSERT(due_ms > now_ms);
    uint64_t wait_one = time_after(now_ms, wait_for_tokens(b, TOKEN));
    uint64_t wait_two = time_after(now_ms, wait_for_tokens(b, (uint64_t)TOKEN * 2));
    if (backlog == PTL_BATCH_NONE || wait_two > due_ms) {
        // Nothing to send before live is due, which itself needs a token.
        return wait_until(wait_one > due_ms ? wait_one : due_ms);
    }
    return wait_one == now_ms ? send_now(b, in, backlog) : wait_until(wait_one);
}

static struct ptl_batch_decision decide_strict(struct ptl_batch *b,
                                               const struct ptl_batch_input *in, uint64_t now_ms)
{
    enum ptl_batch_flow backlog = backlog_flow(in);
    if (backlog != PTL_BATCH_NONE) {
        return send_or_wait(b, in, backlog, now_ms);
    }
    if (in->live_count == 0) {
        return wait_until(PTL_NEVER);
    }
    uint64_t due_ms = live_due_ms(b, in, now_ms);
    if (due_ms > now_ms) {
        return backlog_before_live(b, in, PTL_BATCH_NONE, due_ms, now_ms);
    }
    return send_or_wait(b, in, PTL_BATCH_LIVE, now_ms);
}

static struct ptl_batch_decision
decide_live_first(struct ptl_batch *b, const struct ptl_batch_input *in, uint64_t now_ms)
{
    enum ptl_batch_flow backlog = backlog_flow(in);
    if (in->live_count == 0) {
        return backlog == PTL_BATCH_NONE ? wait_until(PTL_NEVER)
                                         : send_or_wait(b, in, backlog, now_ms);
    }
    uint64_t due_ms = live_due_ms(b, in, now_ms);
    if (due_ms > now_ms) {
        return backlog_before_live(b, in, backlog, due_ms, now_ms);
    }
    bool backlog_turn = backlog != PTL_BATCH_NONE && b->live_run >= PTL_BATCH_LIVE_RUN;
    return send_or_wait(b, in, backlog_turn && !in->live_critical ? backlog : PTL_BATCH_LIVE,
                        now_ms);
}

struct ptl_batch_decision ptl_batch_decide(struct ptl_batch *b, const struct ptl_batch_input *in,
                                           uint64_t now_ms)
{
    settle(b, now_ms);
    uint32_t window = in->probe_only ? 1 : b->window;
    if (in->in_flight >= window) {
        return wait_until(PTL_NEVER);
    }
    struct ptl_batch_decision decision =
        b->cfg.strict_order ? decide_strict(b, in, now_ms) : decide_live_first(b, in, now_ms);
    PTL_ASSERT(decision.flow != PTL_BATCH_NONE || decision.wake_at_ms > now_ms);
    PTL_ASSERT(decision.flow != PTL_BATCH_LIVE || in->live_count > 0);
    return decision;
}

void ptl_batch_init(struct ptl_batch *b, const struct ptl_batch_config *cfg, uint64_t now_ms)
{
    PTL_ASSERT(cfg->max_delay_ms <= PTL_BATCH_DELAY_MS_MAX);
    PTL_ASSERT(cfg->burst > 0);
    PTL_ASSERT(cfg->events_max > 0);
    PTL_ASSERT(cfg->bytes_max > 0);
    PTL_ASSERT(cfg->window_max > 0);
    *b = (struct ptl_batch){
        .cfg = *cfg,
        .tokens_at_ms = now_ms,
        .share_at_ms = now_ms,
        .rate_since_ms = now_ms,
        .share = PTL_BATCH_SHARE_FULL,
        .window = 1,
    };
    b->tokens = tokens_max(b);
}

void ptl_batch_offered(struct ptl_batch *b, uint32_t count, uint64_t now_ms)
{
    if (!b->cfg.eager) {
        return; // nobody asks
    }
    PTL_ASSERT(now_ms >= b->rate_since_ms);
    rate_roll(b, now_ms);
    uint32_t room = RATE_COUNT_MAX - b->rate_count;
    b->rate_count += count < room ? count : room;
}

void ptl_batch_sent(struct ptl_batch *b, enum ptl_batch_flow flow, bool backlog_waited,
                    uint64_t now_ms)
{
    PTL_ASSERT(flow != PTL_BATCH_NONE);
    settle(b, now_ms);
    if (has_budget(b)) {
        b->tokens -= b->tokens < TOKEN ? b->tokens : TOKEN;
    }
    if (flow != PTL_BATCH_LIVE || !backlog_waited) {
        b->live_run = 0;
    } else if (b->live_run < PTL_BATCH_LIVE_RUN) {
        b->live_run++;
    }
}

void ptl_batch_acked(struct ptl_batch *b, bool backlog)
{
    if (!backlog || b->window >= b->cfg.window_max) {
        b->window_acks = 0;
        return;
    }
    b->window_acks++;
    if (b->window_acks >= b->window) {
        b->window++;
        b->window_acks = 0;
    }
    PTL_ASSERT(b->window <= b->cfg.window_max);
}

static void window_halve(struct ptl_batch *b)
{
    b->window = b->window > 1 ? b->window / 2 : 1;
    b->window_acks = 0;
}

void ptl_batch_ack_timed_out(struct ptl_batch *b)
{
    window_halve(b);
}

void ptl_batch_rate_limited(struct ptl_batch *b, uint64_t now_ms)
{
    settle(b, now_ms);
    window_halve(b);
    uint16_t half = b->share / 2;
    b->share = half > PTL_BATCH_SHARE_MIN ? half : PTL_BATCH_SHARE_MIN;
    b->share_at_ms = now_ms;
}

void ptl_batch_restart(struct ptl_batch *b)
{
    b->window = 1;
    b->window_acks = 0;
}

uint32_t ptl_batch_window(const struct ptl_batch *b)
{
    return b->window;
}
