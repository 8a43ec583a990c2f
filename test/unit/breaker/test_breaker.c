// Goal: the breaker opens on the evidence the design names, waits within its bounds and closes only
// on proof. Method: drive it by hand with a seeded generator; for waits draw many and look at the
// extremes, so that jitter that is missing, one-sided or out of bounds is seen.
#include "ptl_test.h"

#include "ptl_breaker.h"

#define DRAWS 4000

static const struct ptl_breaker_config defaults = {
    .backoff_base_ms = 1000,
    .backoff_cap_ms = 60000,
    .slow_ms = 60000,
    .reset_ms = 30000,
    .fleet_size = 1,
    .joins_per_s = 100,
    .ack_timeouts_max = 3,
};

struct waits {
    uint64_t least;
    uint64_t most;
};

// Fails a fresh breaker `before` times (each after its wait), then draws the next wait often.
static struct waits draw(const struct ptl_breaker_config *cfg, uint32_t before,
                         enum ptl_reaction reaction, uint32_t hint_ms)
{
    struct waits waits = {UINT64_MAX, 0};
    struct ptl_prng prng;
    ptl_prng_seed(&prng, 7);
    for (int i = 0; i < DRAWS; i++) {
        struct ptl_breaker b;
        uint64_t now_ms = 5000;
        ptl_breaker_init(&b, cfg, now_ms);
        for (uint32_t n = 0; n < before; n++) {
            ptl_breaker_failed(&b, PTL_REACT_RETRY, 0, &prng, now_ms);
            now_ms = ptl_breaker_deadline(&b);
        }
        ptl_breaker_failed(&b, reaction, hint_ms, &prng, now_ms);
        uint64_t wait_ms = ptl_breaker_deadline(&b) - now_ms;
        waits.least = wait_ms < waits.least ? wait_ms : waits.least;
        waits.most = wait_ms > waits.most ? wait_ms : waits.most;
    }
    return waits;
}

// The draws fill [least, most] and never leave it.
static void assert_fills(struct waits waits, uint64_t least, uint64_t most)
{
    uint64_t slack = (most - least) / 100 + 1;
    assert_in_range(waits.least, least, least + slack);
    assert_in_range(waits.most, most - slack, most);
}

static void first_connect_is_at_once(void **state)
{
    (void)state;
    struct ptl_breaker b;
    ptl_breaker_init(&b, &defaults, 777);
    assert_int_equal(b.state, PTL_BREAKER_CLOSED);
    assert_int_equal(ptl_breaker_deadline(&b), 777);
    assert_true(ptl_breaker_may_connect(&b, 777));
    assert_false(ptl_breaker_may_connect(&b, 776));
}

static void jitter_is_full_and_window_doubles_to_the_cap(void **state)
{
    (void)state;
    uint64_t window_ms = 1000;
    for (uint32_t before = 0; before < 12; before++) {
        assert_fills(draw(&defaults, before, PTL_REACT_RETRY, 0), 0, window_ms);
        window_ms = window_ms * 2 < 60000 ? window_ms * 2 : 60000;
    }
    assert_fills(draw(&defaults, 100, PTL_REACT_RETRY, 0), 0, 60000);
}

static void reactions_set_the_least_wait(void **state)
{
    (void)state;
    assert_fills(draw(&defaults, 0, PTL_REACT_SHRINK_BATCH, 0), 0, 1000);
    assert_fills(draw(&defaults, 0, PTL_REACT_REFRESH_TOKEN, 0), 1000, 2000);
    assert_fills(draw(&defaults, 0, PTL_REACT_SLOW_DOWN, 0), 60000, 61000);
    assert_fills(draw(&defaults, 0, PTL_REACT_STOP, 0), 30000, 60000);
    assert_fills(draw(&defaults, 9, PTL_REACT_STOP, 0), 30000, 60000);
}

static void hints_are_honoured_up_to_an_hour(void **state)
{
    (void)state;
    assert_fills(draw(&defaults, 0, PTL_REACT_RETRY, 20000), 20000, 21000);
    assert_fills(draw(&defaults, 0, PTL_REACT_SLOW_DOWN, 20000), 60000, 61000);
    assert_fills(draw(&defaults, 0, PTL_REACT_RETRY, UINT32_MAX), 3600000, 3601000);
}

static void fleets_spread_over_their_joins_quota(void **state)
{
    (void)state;
    struct ptl_breaker_config fleet = defaults;
    fleet.fleet_size = 10000; // 2.6 * 10,000 / 100 = 260 s
    assert_fills(draw(&fleet, 0, PTL_REACT_RETRY, 0), 0, 260000);
    assert_fills(draw(&fleet, 20, PTL_REACT_RETRY, 0), 0, 260000);
    fleet.fleet_size = UINT32_MAX;
    fleet.joins_per_s = 1;
    assert_fills(draw(&fleet, 0, PTL_REACT_RETRY, 0), 0, 86400000);

    fleet = defaults;
    fleet.fleet_size = 10000;
    struct ptl_prng prng;
    ptl_prng_seed(&prng, 3);
    uint64_t most = 0;
    for (int i = 0; i < DRAWS; i++) {
        struct ptl_breaker b;
        ptl_breaker_init(&b, &fleet, 100);
        ptl_breaker_spread_start(&b, &prng, 100);
        assert_in_range(ptl_breaker_deadline(&b), 100, 260100);
        most = ptl_breaker_deadline(&b) > most ? ptl_breaker_deadline(&b) : most;
    }
    assert_true(most > 250000);
    struct ptl_breaker alone;
    ptl_breaker_init(&alone, &defaults, 100);
    ptl_breaker_spread_start(&alone, &prng, 100);
    assert_int_equal(ptl_breaker_deadline(&alone), 100);
}

static void probe_closes_a_half_open_breaker(void **state)
{
    (void)state;
    struct ptl_prng prng;
    ptl_prng_seed(&prng, 1);
    struct ptl_breaker b;
    ptl_breaker_init(&b, &defaults, 0);
    ptl_breaker_failed(&b, PTL_REACT_RETRY, 0, &prng, 10);
    assert_int_equal(b.state, PTL_BREAKER_OPEN);
    assert_int_equal(b.opened_at_ms, 10);
    assert_int_equal(b.opened_count, 1);
    assert_false(ptl_breaker_acked(&b, 11)); // a late ack of the old link proves nothing
    assert_int_equal(b.state, PTL_BREAKER_OPEN);

    ptl_breaker_joined(&b, 2000);
    assert_int_equal(b.state, PTL_BREAKER_HALF_OPEN);
    assert_int_equal(ptl_breaker_deadline(&b), PTL_NEVER);
    assert_false(ptl_breaker_may_connect(&b, UINT64_MAX));
    assert_true(ptl_breaker_acked(&b, 2100));
    assert_int_equal(b.state, PTL_BREAKER_CLOSED);
    assert_false(ptl_breaker_acked(&b, 2101));

    // The very first join finds it closed, and it stays so.
    ptl_breaker_init(&b, &defaults, 0);
    ptl_breaker_joined(&b, 5);
    assert_int_equal(b.state, PTL_BREAKER_CLOSED);
}

static void half_open_opens_on_the_first_ack_timeout(void **state)
{
    (void)state;
    struct ptl_prng prng;
    ptl_prng_seed(&prng, 1);
    struct ptl_breaker b;
    ptl_breaker_init(&b, &defaults, 0);
    ptl_breaker_failed(&b, PTL_REACT_RETRY, 0, &prng, 10);
    ptl_breaker_joined(&b, 2000);
    assert_true(ptl_breaker_ack_timed_out(&b, &prng, 7000));
    assert_int_equal(b.state, PTL_BREAKER_OPEN);
    assert_int_equal(b.opened_count, 2);
    assert_int_equal(b.attempt, 2);
}

static void ack_timeouts_count_only_in_a_row(void **state)
{
    (void)state;
    struct ptl_prng prng;
    ptl_prng_seed(&prng, 1);
    struct ptl_breaker b;
    ptl_breaker_init(&b, &defaults, 0);
    ptl_breaker_joined(&b, 0);
    assert_false(ptl_breaker_ack_timed_out(&b, &prng, 5000));
    assert_false(ptl_breaker_ack_timed_out(&b, &prng, 6000));
    assert_false(ptl_breaker_acked(&b, 6500));
    assert_false(ptl_breaker_ack_timed_out(&b, &prng, 11000));
    assert_false(ptl_breaker_ack_timed_out(&b, &prng, 12000));
    assert_int_equal(b.state, PTL_BREAKER_CLOSED);
    assert_true(ptl_breaker_ack_timed_out(&b, &prng, 13000));
    assert_int_equal(b.state, PTL_BREAKER_OPEN);
    // Those of the link that is being closed change nothing.
    assert_false(ptl_breaker_ack_timed_out(&b, &prng, 13000));
    assert_int_equal(b.opened_count, 1);
}

static void open_then_drop_keeps_growing_until_a_long_stay(void **state)
{
    (void)state;
    struct ptl_prng prng;
    ptl_prng_seed(&prng, 1);
    struct ptl_breaker b;
    uint64_t now_ms = 1000;
    ptl_breaker_init(&b, &defaults, now_ms);
    for (uint32_t n = 1; n <= 6; n++) {
        ptl_breaker_joined(&b, now_ms);
        (void)ptl_breaker_acked(&b, now_ms + 100);
        now_ms += 29999;
        ptl_breaker_failed(&b, PTL_REACT_RETRY, 0, &prng, now_ms);
        assert_int_equal(b.attempt, n);
        now_ms = ptl_breaker_deadline(&b);
    }
    ptl_breaker_joined(&b, now_ms);
    now_ms += 30000;
    ptl_breaker_failed(&b, PTL_REACT_RETRY, 0, &prng, now_ms);
    assert_int_equal(b.attempt, 1);
    assert_true(ptl_breaker_deadline(&b) <= now_ms + 1000);
}

static void a_second_sign_of_one_failure_only_lengthens(void **state)
{
    (void)state;
    struct ptl_prng prng;
    ptl_prng_seed(&prng, 5);
    struct ptl_breaker b;
    ptl_breaker_init(&b, &defaults, 0);
    ptl_breaker_joined(&b, 0);
    // A refused join, then the close code of its socket: one failure, the graver cause stays.
    ptl_breaker_failed(&b, PTL_REACT_SLOW_DOWN, 0, &prng, 1000);
    uint64_t retry_at_ms = ptl_breaker_deadline(&b);
    ptl_breaker_failed(&b, PTL_REACT_RETRY, 0, &prng, 1001);
    assert_int_equal(ptl_breaker_deadline(&b), retry_at_ms);
    assert_int_equal(b.cause, PTL_REACT_SLOW_DOWN);
    assert_int_equal(b.attempt, 1);
    assert_int_equal(b.opened_count, 1);
    ptl_breaker_failed(&b, PTL_REACT_RETRY, 300000, &prng, 1002);
    assert_true(ptl_breaker_deadline(&b) >= 301002);
    assert_int_equal(b.cause, PTL_REACT_SLOW_DOWN);

    // The other way round the graver one counts.
    ptl_breaker_init(&b, &defaults, 0);
    ptl_breaker_failed(&b, PTL_REACT_RETRY, 0, &prng, 1000);
    assert_true(ptl_breaker_deadline(&b) > 1000);
    ptl_breaker_failed(&b, PTL_REACT_SLOW_DOWN, 0, &prng, 1000);
    assert_true(ptl_breaker_deadline(&b) >= 61000);
    assert_int_equal(b.cause, PTL_REACT_SLOW_DOWN);
    assert_int_equal(b.attempt, 1);
}

static void time_may_come_near_its_end(void **state)
{
    (void)state;
    struct ptl_prng prng;
    ptl_prng_seed(&prng, 2);
    struct ptl_breaker b;
    uint64_t now_ms = PTL_NEVER - 10;
    ptl_breaker_init(&b, &defaults, now_ms);
    ptl_breaker_failed(&b, PTL_REACT_SLOW_DOWN, 0, &prng, now_ms);
    assert_int_equal(ptl_breaker_deadline(&b), PTL_NEVER - 1);
    assert_false(ptl_breaker_may_connect(&b, now_ms));
    assert_true(ptl_breaker_may_connect(&b, PTL_NEVER - 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_connect_is_at_once),
        cmocka_unit_test(jitter_is_full_and_window_doubles_to_the_cap),
        cmocka_unit_test(reactions_set_the_least_wait),
        cmocka_unit_test(hints_are_honoured_up_to_an_hour),
        cmocka_unit_test(fleets_spread_over_their_joins_quota),
        cmocka_unit_test(probe_closes_a_half_open_breaker),
        cmocka_unit_test(half_open_opens_on_the_first_ack_timeout),
        cmocka_unit_test(ack_timeouts_count_only_in_a_row),
        cmocka_unit_test(open_then_drop_keeps_growing_until_a_long_stay),
        cmocka_unit_test(a_second_sign_of_one_failure_only_lengthens),
        cmocka_unit_test(time_may_come_near_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
