// Goal: the batcher sends as late as the delay bound allows and as rarely as it can, never above
// its budget or window, starves nobody and never asks to be woken in vain. Method: single decisions
// for each rule; then a small world (sources, acks, one decision at a time, time jumping from wake
// to wake) run under many seeds, in which the bounds are checked after every step.
#include "ptl_test.h"

#include "ptl_batch.h"
#include "ptl_bytes.h"

static const struct ptl_batch_config balanced = {
    .max_delay_ms = 1000,
    .messages_per_1000_s = 1000,
    .burst = 10,
    .bytes_max = 32768,
    .events_max = 500,
    .window_max = 8,
};

static struct ptl_batch_config unlimited(void)
{
    struct ptl_batch_config cfg = balanced;
    cfg.messages_per_1000_s = 0;
    return cfg;
}

static struct ptl_batch batch_at(const struct ptl_batch_config *cfg, uint64_t now_ms)
{
    struct ptl_batch b;
    ptl_batch_init(&b, cfg, now_ms);
    return b;
}

static struct ptl_batch_input live_since(uint64_t oldest_ms)
{
    return (struct ptl_batch_input){
        .live_count = 1, .live_bytes = 100, .live_oldest_ms = oldest_ms};
}

#define assert_sends(b, in, now, what)                                                             \
    assert_int_equal(ptl_batch_decide((b), (in), (now)).flow, PTL_BATCH_##what)

static void assert_waits(struct ptl_batch *b, const struct ptl_batch_input *in, uint64_t now_ms,
                         uint64_t wake_at_ms)
{
    struct ptl_batch_decision decision = ptl_batch_decide(b, in, now_ms);
    assert_int_equal(decision.flow, PTL_BATCH_NONE);
    assert_int_equal(decision.wake_at_ms, wake_at_ms);
}

static void spend(struct ptl_batch *b, uint32_t messages, uint64_t now_ms)
{
    for (uint32_t i = 0; i < messages; i++) {
        ptl_batch_sent(b, PTL_BATCH_REPLAY, false, now_ms);
    }
}

static void nothing_waits_nothing_wakes(void **state)
{
    (void)state;
    struct ptl_batch b = batch_at(&balanced, 0);
    struct ptl_batch_input in = {0};
    assert_waits(&b, &in, 5, PTL_NEVER);
}

static void live_goes_when_its_delay_is_over(void **state)
{
    (void)state;
    struct ptl_batch b = batch_at(&balanced, 0);
    struct ptl_batch_input in = live_since(100);
    assert_waits(&b, &in, 100, 1100);
    assert_waits(&b, &in, 1099, 1100);
    assert_sends(&b, &in, 1100, LIVE);
    assert_int_equal(ptl_batch_decide(&b, &in, 1100).events_max, 500);
}

static void live_goes_early_when_full_critical_or_draining(void **state)
{
    (void)state;
    struct ptl_batch b = batch_at(&balanced, 0);
    struct ptl_batch_input in = live_since(100);
    in.live_count = 499;
    in.live_bytes = 0;
    struct ptl_batch_config roomy = balanced;
    roomy.bytes_max = 1000000;
    struct ptl_batch by_count = batch_at(&roomy, 0);
    assert_waits(&by_count, &in, 200, 1100);
    in.live_count = 500;
    assert_sends(&by_count, &in, 200, LIVE);

    in = live_since(100);
    in.live_bytes = 32768 - PTL_BATCH_EVENT_EXTRA - 1;
    assert_waits(&b, &in, 200, 1100);
    in.live_bytes++;
    assert_sends(&b, &in, 200, LIVE);

    in = live_since(100);
    in.live_critical = true;
    assert_sends(&b, &in, 200, LIVE);
    in = live_since(100);
    in.draining = true;
    assert_sends(&b, &in, 200, LIVE);
}

static void window_holds_everything_back(void **state)
{
    (void)state;
    struct ptl_batch b = batch_at(&balanced, 0);
    struct ptl_batch_input in = live_since(0);
    in.live_critical = true;
    in.draining = true;
    in.replay_waiting = true;
    in.control_waiting = true;
    in.resend_waiting = true;
    in.in_flight = 1; // W starts at 1
    assert_waits(&b, &in, 9000, PTL_NEVER);
    in.in_flight = 0;
    assert_sends(&b, &in, 9000, LIVE);
}

static void window_grows_by_one_a_round_and_halves(void **state)
{
    (void)state;
    struct ptl_batch b = batch_at(&balanced, 0);
    uint32_t acks = 0;
    for (uint32_t window = 1; window < 8; window++) {
        for (uint32_t i = 0; i < window; i++) {
            assert_int_equal(ptl_batch_window(&b), window);
            ptl_batch_acked(&b, true);
            acks++;
        }
    }
    assert_int_equal(acks, 28);
    assert_int_equal(ptl_batch_window(&b), 8);
    ptl_batch_acked(&b, true);
    assert_int_equal(ptl_batch_window(&b), 8);
    ptl_batch_ack_timed_out(&b);
    assert_int_equal(ptl_batch_window(&b), 4);
    ptl_batch_rate_limited(&b, 10);
    assert_int_equal(ptl_batch_window(&b), 2);
    ptl_batch_ack_timed_out(&b);
    ptl_batch_ack_timed_out(&b);
    assert_int_equal(ptl_batch_window(&b), 1);
    for (int i = 0; i < 20; i++) {
        ptl_batch_acked(&b, false); // no backlog, no reason to grow
    }
    assert_int_equal(ptl_batch_window(&b), 1);
    ptl_batch_acked(&b, true);
    assert_int_equal(ptl_batch_window(&b), 2);
    ptl_batch_restart(&b);
    assert_int_equal(ptl_batch_window(&b), 1);

    struct ptl_batch_config small = balanced;
    small.window_max = 1;
    b = batch_at(&small, 0);
    ptl_batch_acked(&b, true);
    assert_int_equal(ptl_batch_window(&b), 1);
}

static void budget_wins_over_delay(void **state)
{
    (void)state;
    struct ptl_batch b = batch_at(&balanced, 0);
    struct ptl_batch_input in = live_since(0);
    in.live_critical = true;
    in.draining = true;
    spend(&b, 10, 0); // the whole burst
    assert_waits(&b, &in, 0, 1000);
    assert_waits(&b, &in, 999, 1000);
    assert_sends(&b, &in, 1000, LIVE);
    ptl_batch_sent(&b, PTL_BATCH_LIVE, false, 1000);
    assert_waits(&b, &in, 1000, 2000);

    struct ptl_batch_config slow = balanced;
    slow.messages_per_1000_s = 200; // economy: one in five seconds
    b = batch_at(&slow, 0);
    spend(&b, 10, 0);
    assert_waits(&b, &in, 0, 5000);
    slow.messages_per_1000_s = 3; // does not divide a message: the wait rounds up
    b = batch_at(&slow, 0);
    spend(&b, 10, 0);
    assert_waits(&b, &in, 0, 333334);
    assert_sends(&b, &in, 333334, LIVE);
}

static void bucket_never_holds_more_than_its_burst(void **state)
{
    (void)state;
    struct ptl_batch_config cfg = balanced;
    cfg.messages_per_1000_s = UINT32_MAX;
    cfg.burst = UINT32_MAX;
    const struct ptl_batch_config *const cfgs[] = {&balanced, &cfg};
    for (size_t i = 0; i < 2; i++) {
        struct ptl_batch b = batch_at(cfgs[i], 0);
        struct ptl_batch_input in = {.replay_waiting = true};
        uint64_t now_ms = UINT64_C(1) << 60; // a long sleep
        assert_sends(&b, &in, now_ms, REPLAY);
        assert_int_equal(b.tokens, (uint64_t)cfgs[i]->burst * 1000000);
    }
    struct ptl_batch b = batch_at(&balanced, 0);
    struct ptl_batch_input in = {.replay_waiting = true};
    spend(&b, 10, 1000000);
    assert_waits(&b, &in, 1000000, 1001000);
}

static void rate_message_halves_the_share_which_regrows(void **state)
{
    (void)state;
    struct ptl_batch b = batch_at(&balanced, 0);
    struct ptl_batch_input in = {.replay_waiting = true};
    spend(&b, 10, 0);
    ptl_batch_rate_limited(&b, 0);
    assert_waits(&b, &in, 0, 2000);
    for (int i = 0; i < 20; i++) {
        ptl_batch_rate_limited(&b, 0);
    }
    assert_int_equal(b.share, PTL_BATCH_SHARE_MIN); // 1/64: never quite nothing
    assert_int_equal(ptl_batch_decide(&b, &in, 0).wake_at_ms, (1000000 + 14) / 15);
    uint64_t full_at_ms =
        (uint64_t)(PTL_BATCH_SHARE_FULL - PTL_BATCH_SHARE_MIN) * PTL_BATCH_SHARE_STEP_MS;
    (void)ptl_batch_decide(&b, &in, full_at_ms - 1);
    assert_int_equal(b.share, PTL_BATCH_SHARE_FULL - 1);
    (void)ptl_batch_decide(&b, &in, full_at_ms);
    assert_int_equal(b.share, PTL_BATCH_SHARE_FULL);

    // Without a budget there is no share to halve: only W.
    struct ptl_batch_config cfg = unlimited();
    b = batch_at(&cfg, 0);
    ptl_batch_rate_limited(&b, 0);
    assert_sends(&b, &in, 0, REPLAY);
}

static void order_of_flows(void **state)
{
    (void)state;
    struct ptl_batch_config cfg = unlimited();
    struct ptl_batch b = batch_at(&cfg, 0);
    struct ptl_batch_input in = live_since(0);
    in.replay_waiting = true;
    in.resend_waiting = true;
    in.control_waiting = true;
    assert_sends(&b, &in, 1000, LIVE);
    in.live_oldest_ms = 500; // not due: backlog uses the time
    assert_sends(&b, &in, 1000, CONTROL);
    in.control_waiting = false;
    assert_sends(&b, &in, 1000, RESEND);
    in.resend_waiting = false;
    assert_sends(&b, &in, 1000, REPLAY);

    cfg.strict_order = true;
    b = batch_at(&cfg, 0);
    in = live_since(0);
    in.live_critical = true;
    in.replay_waiting = true;
    assert_sends(&b, &in, 1000, REPLAY);
    in.resend_waiting = true;
    assert_sends(&b, &in, 1000, RESEND);
    in.resend_waiting = false;
    in.replay_waiting = false;
    assert_sends(&b, &in, 1000, LIVE);
    in = live_since(900);
    assert_waits(&b, &in, 1000, 1900);
}

static void waiting_live_keeps_its_token(void **state)
{
    (void)state;
    struct ptl_batch b = batch_at(&balanced, 0);
    struct ptl_batch_input in = live_since(0);
    in.replay_waiting = true;
    spend(&b, 9, 0); // one token left, the next comes at 1,000 when live is due
    assert_sends(&b, &in, 0, REPLAY);
    struct ptl_batch_config slow = balanced;
    slow.messages_per_1000_s = 500;
    b = batch_at(&slow, 0);
    spend(&b, 9, 0); // the next comes too late: it stays
    assert_waits(&b, &in, 0, 1000);
    assert_sends(&b, &in, 1000, LIVE);
    b = batch_at(&slow, 0);
    spend(&b, 8, 0);
    assert_sends(&b, &in, 0, REPLAY);
    // None left: the first one is there after live is due.
    b = batch_at(&slow, 0);
    spend(&b, 10, 0);
    assert_waits(&b, &in, 0, 2000);
}

static void backlog_gets_a_turn_after_a_run_of_live(void **state)
{
    (void)state;
    struct ptl_batch_config cfg = unlimited();
    struct ptl_batch b = batch_at(&cfg, 0);
    struct ptl_batch_input in = live_since(0);
    in.replay_waiting = true;
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < PTL_BATCH_LIVE_RUN; i++) {
            assert_sends(&b, &in, 5000, LIVE);
            ptl_batch_sent(&b, PTL_BATCH_LIVE, true, 5000);
        }
        assert_sends(&b, &in, 5000, REPLAY);
        in.live_critical = true;
        assert_sends(&b, &in, 5000, LIVE);
        in.live_critical = false;
        ptl_batch_sent(&b, PTL_BATCH_REPLAY, true, 5000);
    }
}

static void probe_is_one_small_batch(void **state)
{
    (void)state;
    struct ptl_batch b = batch_at(&balanced, 0);
    for (int i = 0; i < 100; i++) {
        ptl_batch_acked(&b, true);
    }
    struct ptl_batch_input in = live_since(0);
    in.probe_only = true;
    struct ptl_batch_decision decision = ptl_batch_decide(&b, &in, 1); // without waiting for more
    assert_int_equal(decision.flow, PTL_BATCH_LIVE);
    assert_int_equal(decision.events_max, PTL_BATCH_PROBE_EVENTS);
    in.in_flight = 1; // whatever W is
    assert_waits(&b, &in, 5000, PTL_NEVER);
    in = (struct ptl_batch_input){.replay_waiting = true, .probe_only = true};
    assert_sends(&b, &in, 5000, REPLAY);
    in = (struct ptl_batch_input){.probe_only = true}; // the owner asks for a control batch then
    assert_waits(&b, &in, 5000, PTL_NEVER);
}

static void eager_sends_rare_records_at_once(void **state)
{
    (void)state;
    struct ptl_batch_config cfg = unlimited();
    cfg.eager = true;
    cfg.max_delay_ms = 50;
    struct ptl_batch b = batch_at(&cfg, 0);
    struct ptl_batch_input in;
    // Three samples together every ten seconds are rare: 0.15 records in 50 ms.
    for (uint64_t at_ms = 10000; at_ms < 50000; at_ms += 10000) {
        in = live_since(at_ms);
        ptl_batch_offered(&b, 3, at_ms);
        assert_sends(&b, &in, at_ms, LIVE);
    }
    in.in_flight = 1;
    for (int i = 0; i < 5; i++) {
        ptl_batch_acked(&b, true);
    }
    assert_waits(&b, &in, 40000, 40050); // the link is not idle
    in.in_flight = 0;

    // 100 a second are 5 in 50 ms: worth the wait.
    uint64_t now_ms = 50000;
    for (int i = 0; i < 200; i++, now_ms += 10) {
        ptl_batch_offered(&b, 1, now_ms);
    }
    in = live_since(now_ms);
    assert_waits(&b, &in, now_ms, now_ms + 50);
    // 20 a second are one in 50 ms: not.
    for (int i = 0; i < 60; i++, now_ms += 50) {
        ptl_batch_offered(&b, 1, now_ms);
    }
    in = live_since(now_ms);
    assert_sends(&b, &in, now_ms, LIVE);
    // A flood saturates the measure instead of wrapping it.
    ptl_batch_offered(&b, UINT32_C(1) << 31, now_ms);
    ptl_batch_offered(&b, UINT32_C(1) << 31, now_ms);
    assert_waits(&b, &in, now_ms, now_ms + 50);
    // Silence empties it.
    in = live_since(now_ms + 100000);
    assert_sends(&b, &in, now_ms + 100000, LIVE);

    cfg.eager = false;
    b = batch_at(&cfg, 0);
    ptl_batch_offered(&b, 1, 0);
    in = live_since(0);
    assert_waits(&b, &in, 0, 50);
}

// The small world: live records come every `live_every_ms`, `replay` batches wait, acks take
// `round_trip_ms`. Runs to `end_ms`, jumping from one thing to the next.
struct world {
    struct ptl_batch b;
    struct ptl_batch_config cfg;
    uint64_t now_ms;
    uint32_t live;
    uint64_t live_oldest_ms;
    uint64_t replay;
    uint64_t live_sent, replay_sent, decisions;
    uint64_t live_wait_most_ms;
    uint64_t acks_at[8];
    uint32_t in_flight;
};

static void world_send(struct world *w, enum ptl_batch_flow flow, uint64_t round_trip_ms)
{
    assert_true(w->in_flight < ptl_batch_window(&w->b));
    ptl_batch_sent(&w->b, flow, w->replay > 0, w->now_ms);
    w->acks_at[w->in_flight++] = w->now_ms + round_trip_ms;
    if (flow == PTL_BATCH_LIVE) {
        uint64_t waited_ms = w->now_ms - w->live_oldest_ms;
        w->live_wait_most_ms = waited_ms > w->live_wait_most_ms ? waited_ms : w->live_wait_most_ms;
        w->live = 0;
        w->live_sent++;
    } else {
        w->replay--;
        w->replay_sent++;
    }
    // Never more than the bucket could have held and earned.
    if (w->cfg.messages_per_1000_s != 0) {
        uint64_t earned = w->now_ms * w->cfg.messages_per_1000_s / 1000000;
        assert_true(w->live_sent + w->replay_sent <= w->cfg.burst + earned);
    }
}

static void world_run(struct world *w, const struct ptl_batch_config *cfg, uint64_t live_every_ms,
                      uint64_t replay, uint64_t round_trip_ms, uint64_t end_ms)
{
    *w = (struct world){.b = batch_at(cfg, 0), .cfg = *cfg, .replay = replay};
    uint64_t next_live_ms = live_every_ms;
    while (w->now_ms < end_ms) {
        struct ptl_batch_input in = {.live_count = w->live,
                                     .live_bytes = w->live * (size_t)100,
                                     .live_oldest_ms = w->live_oldest_ms,
                                     .replay_waiting = w->replay > 0,
                                     .in_flight = w->in_flight};
        struct ptl_batch_decision decision = ptl_batch_decide(&w->b, &in, w->now_ms);
        w->decisions++;
        if (decision.flow != PTL_BATCH_NONE) {
            world_send(w, decision.flow, round_trip_ms);
            continue;
        }
        assert_true(decision.wake_at_ms > w->now_ms);
        uint64_t next_ms = decision.wake_at_ms < next_live_ms ? decision.wake_at_ms : next_live_ms;
        if (w->in_flight > 0 && w->acks_at[0] < next_ms) {
            next_ms = w->acks_at[0];
        }
        w->now_ms = next_ms > w->now_ms ? next_ms : w->now_ms;
        if (w->in_flight > 0 && w->acks_at[0] <= w->now_ms) {
            w->in_flight--;
            memmove(w->acks_at, w->acks_at + 1, sizeof(w->acks_at) - sizeof(w->acks_at[0]));
            ptl_batch_acked(&w->b, w->replay > 0);
        }
        if (next_live_ms <= w->now_ms) {
            w->live_oldest_ms = w->live == 0 ? w->now_ms : w->live_oldest_ms;
            w->live++;
            ptl_batch_offered(&w->b, 1, w->now_ms);
            next_live_ms += live_every_ms;
        }
    }
}

static void replay_drains_beside_a_live_flow_that_takes_the_budget(void **state)
{
    (void)state;
    // One sample a second at one message a second: live alone would use every token there is.
    struct world w;
    world_run(&w, &balanced, 1000, 100, 50, 600000);
    assert_int_equal(w.replay_sent, 100);
    assert_true(w.live_wait_most_ms <= 3000);
    // And the same with the window as the scarce thing: acks slower than the samples.
    struct ptl_batch_config cfg = unlimited();
    cfg.window_max = 1;
    world_run(&w, &cfg, 100, 100, 2000, 900000);
    assert_int_equal(w.replay_sent, 100);
    assert_true(w.live_sent > 100);
}

static void live_keeps_its_delay_while_an_outage_replays(void **state)
{
    (void)state;
    struct ptl_batch_config cfg = balanced;
    cfg.messages_per_1000_s = 4000;
    struct world w;
    world_run(&w, &cfg, 700, 1000000, 20, 600000);
    // One token of slack: live may find a replay batch in its place.
    assert_true(w.live_wait_most_ms <= 1000 + 250 + 20);
    assert_true(w.replay_sent > 1500);
}

static void worlds_hold_their_bounds_under_many_seeds(void **state)
{
    (void)state;
    struct ptl_prng prng;
    ptl_prng_seed(&prng, 20261124);
    for (int seed = 0; seed < 300; seed++) {
        struct ptl_batch_config cfg = {
            .max_delay_ms = ptl_prng_below(&prng, 3000),
            .messages_per_1000_s = ptl_prng_below(&prng, 3) == 0 ? 0 : ptl_prng_below(&prng, 50000),
            .burst = 1 + ptl_prng_below(&prng, 20),
            .bytes_max = 2048 + ptl_prng_below(&prng, 30000),
            .events_max = 1 + ptl_prng_below(&prng, 500),
            .window_max = (uint8_t)(1 + ptl_prng_below(&prng, 8)),
            .eager = ptl_prng_below(&prng, 2) == 0,
            .strict_order = ptl_prng_below(&prng, 4) == 0,
        };
        struct world w;
        uint64_t live_every_ms = 1 + ptl_prng_below(&prng, 2000);
        world_run(&w, &cfg, live_every_ms, ptl_prng_below(&prng, 2000),
                  1 + ptl_prng_below(&prng, 3000), 60000);
        // A decision follows a sample, an ack, a message or a wake; two of those may share one.
        uint64_t causes = 60000 / live_every_ms + 4 * (w.live_sent + w.replay_sent) + 10;
        assert_true(w.decisions <= 2 * causes);
        assert_true(w.live_sent + w.replay_sent > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_waits_nothing_wakes),
        cmocka_unit_test(live_goes_when_its_delay_is_over),
        cmocka_unit_test(live_goes_early_when_full_critical_or_draining),
        cmocka_unit_test(window_holds_everything_back),
        cmocka_unit_test(window_grows_by_one_a_round_and_halves),
        cmocka_unit_test(budget_wins_over_delay),
        cmocka_unit_test(bucket_never_holds_more_than_its_burst),
        cmocka_unit_test(rate_message_halves_the_share_which_regrows),
        cmocka_unit_test(order_of_flows),
        cmocka_unit_test(waiting_live_keeps_its_token),
        cmocka_unit_test(backlog_gets_a_turn_after_a_run_of_live),
        cmocka_unit_test(probe_is_one_small_batch),
        cmocka_unit_test(eager_sends_rare_records_at_once),
        cmocka_unit_test(replay_drains_beside_a_live_flow_that_takes_the_budget),
        cmocka_unit_test(live_keeps_its_delay_while_an_outage_replays),
        cmocka_unit_test(worlds_hold_their_bounds_under_many_seeds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
