// Goal: what does not fit, on a full medium, in a full queue or on a medium that fails, costs
// exactly what the durability level says, and it is declared. Method: the agent in virtual time
// with the link away; the world's checkers hold what every application was told against receiver,
// gaps and ends.
#include "sim_life.h"

// -- Overflow -------------------------------------------------------------------------------------

static uint64_t in_gaps(const struct ptl_sim_world *w)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < w->ledger.count; i++) {
        sum += ptl_sim_run_count(&w->ledger.runs[i], PTL_SIM_GAP_LOST);
        sum += ptl_sim_run_count(&w->ledger.runs[i], PTL_SIM_GAP_UNCERTAIN);
    }
    return sum;
}

// Journal full: the oldest go, and the gap names exactly those.
static void journal_full(struct level level)
{
    struct ptl_sim_config cfg = config_at(level);
    cfg.block_count = 6;
    struct ptl_sim_world *w = world_new(&cfg);
    ptl_sim_world_post(w, 1, BYTES);
    ptl_sim_world_run(w, 5000);
    ptl_sim_world_server_kill(w, 2 * MINUTE_MS);
    assert_true(ptl_sim_world_run_until(w, ptl_sim_is_open, MINUTE_MS));
    ptl_sim_world_rate(w, RATE, BYTES);
    ptl_sim_world_run(w, 110000);
    assert_no_failure(w);
    assert_true(w->device.status.lost > 1000);
    assert_int_equal(w->device.status.uncertain, 0); // nothing of it was ever sent
    struct ptl_sim_verdict v = world_finish(w);
    assert_int_equal(v.in_gaps, w->device.status.lost);
    assert_int_equal(in_gaps(w), v.in_gaps);
    assert_int_equal(v.stored + v.in_gaps, v.told);
    world_free(w);
}

// What was sent and what was not lie side by side, so that each run of either kind takes a slot for
// its gap. With all slots taken the door refuses until the link is back; nothing vanishes.
static void gap_slots_full(struct level level)
{
    struct ptl_sim_config cfg = config_at(level);
    cfg.block_count = 6;
    struct ptl_sim_world *w = world_new(&cfg);
    ptl_sim_world_blackhole(w, true);
    ptl_sim_world_rate(w, RATE, BYTES);
    ptl_sim_world_run(w, 2 * MINUTE_MS);
    assert_no_failure(w);
    struct ptl_sim_verdict v = world_finish(w);
    assert_true(v.in_gaps > 0);
    // What was stored before its gap came needs none: a row beats a gap.
    assert_true(in_gaps(w) <= w->device.status.lost + w->device.status.uncertain);
    assert_int_equal(v.stored + v.in_gaps, v.told);
    world_free(w);
}

// Nothing fits on the medium before gaps are confirmed, and the link is away: a drain ends all the
// same, and what RAM held is within the torn end.
static void stopped_with_gap_slots_full(struct level level)
{
    struct ptl_sim_config cfg = config_at(level);
    cfg.block_count = 6;
    struct ptl_sim_world *w = world_new(&cfg);
    ptl_sim_world_blackhole(w, true);
    ptl_sim_world_rate(w, RATE, BYTES);
    ptl_sim_world_run(w, 2 * MINUTE_MS);
    assert_true(w->app.waiting_count > 0);
    ptl_sim_world_drain(w, 1000);
    assert_true(ptl_sim_world_run_until(w, ptl_sim_is_stopped, 15000));
    ptl_sim_world_blackhole(w, false);
    restart(w);
    struct ptl_sim_verdict v = world_finish(w);
    assert_int_equal(v.stored + v.in_gaps + v.torn, v.told);
    world_free(w);
}

// The block change for the end gives up records that replay has in flight: their receipt, which
// comes later, counts nothing twice.
static void stopped_while_full_and_replaying(struct level level)
{
    for (uint32_t i = 0; i < 60; i++) {
        struct ptl_sim_config cfg = config_at(level);
        cfg.seed = SEED + i;
        cfg.block_count = 4;
        cfg.block_bytes = 2048;
        cfg.queue_bytes = 2048;
        cfg.batch.events_max = 1 + i % 5;
        struct ptl_sim_world *w = world_new(&cfg);
        ptl_sim_world_server_kill(w, MINUTE_MS);
        assert_true(ptl_sim_world_run_until(w, ptl_sim_is_open, MINUTE_MS));
        ptl_sim_world_rate(w, RATE, BYTES);
        ptl_sim_world_run_until(w, ptl_sim_is_joined, 2 * MINUTE_MS);
        ptl_sim_world_run(w, 60 + 10 * i);
        ptl_sim_world_drain(w, 0);
        ptl_sim_world_run(w, 5000);
        assert_no_failure(w);
        assert_true(ptl_sim_world_run_until(w, ptl_sim_is_stopped, 20000));
        restart(w);
        struct ptl_sim_verdict v = world_finish(w);
        assert_int_equal(v.stored + v.in_gaps + v.torn, v.told);
        world_free(w);
    }
}

// `ram`: the queue is full, the link is away.
static void queue_full(struct level level)
{
    struct ptl_sim_config cfg = config_at(level);
    struct ptl_sim_world *w = world_new(&cfg);
    ptl_sim_world_blackhole(w, true);
    ptl_sim_world_rate(w, RATE, BYTES);
    ptl_sim_world_run(w, 2 * MINUTE_MS);
    struct ptl_sim_verdict v = world_finish(w);
    assert_true(v.in_gaps > 100);
    assert_int_equal(v.in_gaps, w->device.status.lost + w->device.status.uncertain);
    assert_int_equal(v.stored + v.in_gaps, v.told);
    world_free(w);
}

// The records of the batch that carried a gap are dropped before its acknowledgement comes: the gap
// is settled all the same.
static void gap_outlives_its_batch(struct level level)
{
    for (uint32_t i = 0; i < 10; i++) {
        struct ptl_sim_config cfg = config_at(level);
        cfg.seed = SEED + i;
        cfg.queue_bytes = 4096;
        struct ptl_sim_world *w = world_new(&cfg);
        ptl_sim_world_blackhole(w, true);
        ptl_sim_world_rate(w, 4 * RATE, BYTES);
        ptl_sim_world_run(w, 30000);
        w->server.faults.ack_delay_ms_max = 4500;
        ptl_sim_world_blackhole(w, false);
        ptl_sim_world_run(w, 30000);
        struct ptl_sim_verdict v = world_finish(w);
        assert_true(v.in_gaps > 100);
        assert_int_equal(v.stored + v.in_gaps, v.told);
        world_free(w);
    }
}

static bool at_ram(struct level level)
{
    return level.durability == PTL_DURABLE_RAM;
}

// send, kill, start, overflow: what an earlier run held is uncertain, never lost.
static void overflow_of_an_earlier_run(struct level level)
{
    struct ptl_sim_config cfg = config_at(level);
    cfg.block_count = 6;
    struct ptl_sim_world *w = world_new(&cfg);
    w->server.faults.mute = true;
    ptl_sim_world_post(w, 20, BYTES);
    ptl_sim_world_run(w, 1000);
    ptl_sim_world_blackhole(w, true);
    assert_true(ptl_sim_world_run_until(w, ptl_sim_is_open, 2 * MINUTE_MS));
    ptl_sim_world_run(w, 2000);
    ptl_sim_world_kill(w);
    ptl_sim_world_start(w);
    ptl_sim_world_rate(w, RATE, BYTES);
    ptl_sim_world_run(w, 2 * MINUTE_MS);
    struct ptl_sim_verdict v = world_finish(w);
    assert_int_equal(v.stored + v.in_gaps, v.told);
    const struct ptl_sim_run *run = run_number(w, 0);
    assert_int_equal(ptl_sim_run_count(run, PTL_SIM_GAP_LOST), 0);
    assert_in_range(ptl_sim_run_count(run, PTL_SIM_GAP_UNCERTAIN), 1, 20);
    world_free(w);
}

// What the ring gave up is not waiting any more: after the outage events leave in batches again,
// not one a message (20 events/s and a second of delay are twenty a batch).
static void batches_after_an_overflow(struct level level)
{
    struct ptl_sim_config cfg = config_at(level);
    cfg.block_count = 6;
    cfg.batch.max_delay_ms = 1000;
    cfg.batch.bytes_max = 8192;
    cfg.batch.events_max = 100;
    struct ptl_sim_world *w = world_new(&cfg);
    ptl_sim_world_rate(w, RATE, BYTES);
    ptl_sim_world_blackhole(w, true);
    ptl_sim_world_run(w, 4 * MINUTE_MS);
    assert_true(w->device.status.lost + w->device.status.uncertain > 0);
    ptl_sim_world_blackhole(w, false);
    ptl_sim_world_run(w, 4 * MINUTE_MS);
    uint64_t messages = w->device.status.messages_sent;
    uint64_t events = w->device.status.events_sent;
    ptl_sim_world_run(w, MINUTE_MS);
    messages = w->device.status.messages_sent - messages;
    events = w->device.status.events_sent - events;
    assert_true(events > 1000);
    assert_true(events > 12 * messages);
    (void)world_finish(w);
    world_free(w);
}

// Overflow after overflow, with restarts and short links between: gaps are confirmed like data.
static void full_again_and_again(struct level level)
{
    struct ptl_sim_config cfg = config_at(level);
    cfg.block_count = 6;
    struct ptl_sim_world *w = world_new(&cfg);
    ptl_sim_world_rate(w, RATE, BYTES);
    for (uint32_t i = 0; i < 10; i++) {
        ptl_sim_world_blackhole(w, true);
        ptl_sim_world_run(w, 30000 + 5000 * i);
        ptl_sim_world_blackhole(w, false);
        ptl_sim_world_run(w, 2000 * i);
        if (i % 3 == 2) {
            ptl_sim_world_kill(w);
            ptl_sim_world_start(w);
        }
    }
    struct ptl_sim_verdict v = world_finish(w);
    assert_int_equal(v.stored + v.in_gaps + v.torn, v.told);
    world_free(w);
}

// gap sent once, that message lost, later batch: the floor counts unconfirmed gaps.
static void gap_message_lost(struct level level)
{
    struct ptl_sim_config cfg = config_at(level);
    cfg.block_count = 6;
    struct ptl_sim_world *w = world_new(&cfg);
    ptl_sim_world_blackhole(w, true);
    ptl_sim_world_rate(w, RATE, BYTES);
    ptl_sim_world_run(w, 2 * MINUTE_MS);
    w->server.faults.starve = at_stored(level);
    w->server.faults.deny = !at_stored(level);
    ptl_sim_world_blackhole(w, false);
    ptl_sim_world_run(w, MINUTE_MS);
    struct ptl_sim_verdict v = world_finish(w);
    assert_int_equal(v.stored + v.in_gaps, v.told);
    world_free(w);
}

// spill, crash, start, join, send, ack of the end lost: the end is said last, and said again.
static void ack_of_the_end_lost(struct level level)
{
    struct ptl_sim_world *w = world_at_rate(level);
    link_down_and_spilled(w);
    ptl_sim_world_kill(w);
    w->server.faults.ack_drop_permille = 400;
    w->receiver.faults.receipt_drop_permille = 400;
    ptl_sim_world_blackhole(w, false);
    ptl_sim_world_start(w);
    ptl_sim_world_run(w, MINUTE_MS);
    all_stored_and_free(w, 100);
}

// The receiver never answers: more than 8 runs end, ends merge and none is forgotten.
static void ends_merge(struct level level)
{
    struct ptl_sim_config cfg = config_at(level);
    struct ptl_sim_world *w = world_new(&cfg);
    ptl_sim_world_blackhole(w, true);
    for (uint32_t i = 0; i < 14; i++) {
        ptl_sim_world_post(w, 3, BYTES);
        ptl_sim_world_run(w, 3000 + 700 * i);
        if (i % 3 == 0) {
            ptl_sim_world_drain(w, 1000);
            assert_true(ptl_sim_world_run_until(w, ptl_sim_is_stopped, 20000));
        } else {
            ptl_sim_world_kill(w);
        }
        ptl_sim_world_start(w);
        assert_no_failure(w);
    }
    struct ptl_sim_verdict v = world_finish(w);
    assert_int_equal(v.stored + v.torn, v.told);
    world_free(w);
}

// -- Media that fail ------------------------------------------------------------------------------

static void sync_fails(struct level level)
{
    struct ptl_sim_world *w = world_at_rate(level);
    w->device.flash.fail_sync = 2;
    ptl_sim_world_run(w, 10000);
    ptl_sim_world_blackhole(w, true);
    ptl_sim_world_run(w, 10000);
    ptl_sim_world_blackhole(w, false);
    ptl_sim_world_run(w, 20000);
    ptl_sim_world_kill(w);
    w->device.flash.fail_sync = PTL_SIM_NEVER;
    restart(w);
    ptl_sim_world_post(w, 5, BYTES);
    struct ptl_sim_verdict v = world_finish(w);
    assert_true(v.told > 100);
    world_free(w);
}

static void medium_dies(struct level level)
{
    struct ptl_sim_world *w = world_at_rate(level);
    ptl_sim_world_blackhole(w, true);
    ptl_sim_world_run(w, 20000);
    w->device.flash.dead = true;
    ptl_sim_world_run(w, 20000);
    assert_no_failure(w);
    assert_true(w->device.status.media_failed);
    ptl_sim_world_blackhole(w, false);
    ptl_sim_world_run(w, MINUTE_MS);
    ptl_sim_world_kill(w);
    w->device.flash.dead = false;
    restart(w);
    ptl_sim_world_post(w, 5, BYTES);
    struct ptl_sim_verdict v = world_finish(w);
    assert_true(v.told > 100);
    world_free(w);
}

// The medium dies while a batch is being read from it: the floor of that run stays below what the
// batch would have held.
static void medium_dies_while_replaying(struct level level)
{
    for (uint32_t i = 0; i < 40; i++) {
        struct ptl_sim_config cfg = config_at(level);
        cfg.seed = SEED + i;
        cfg.batch.window_max = 1;
        struct ptl_sim_world *w = world_new(&cfg);
        ptl_sim_world_server_kill(w, MINUTE_MS);
        ptl_sim_world_rate(w, RATE / 2, 3 * BYTES);
        ptl_sim_world_run(w, MINUTE_MS);
        assert_true(ptl_sim_world_run_until(w, ptl_sim_is_closed, MINUTE_MS));
        ptl_sim_world_run(w, 300 + 37 * i);
        w->device.flash.dead = true;
        ptl_sim_world_run(w, 20000);
        world_finish(w);
        world_free(w);
    }
}

AT(journal_full, with_medium)
AT(gap_slots_full, with_medium)
AT(stopped_with_gap_slots_full, with_medium)
AT(stopped_while_full_and_replaying, with_medium)
AT(queue_full, at_ram)
AT(gap_outlives_its_batch, at_ram)
AT(overflow_of_an_earlier_run, with_medium)
AT(full_again_and_again, with_medium)
AT(batches_after_an_overflow, with_medium)
AT(gap_message_lost, with_medium)
AT(ack_of_the_end_lost, with_medium)
AT(ends_merge, with_medium)
AT(sync_fails, with_medium)
AT(medium_dies, with_medium)
AT(medium_dies_while_replaying, with_medium)

// With an argument: only the tests that match it (with * and ?).
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_journal_full),
        cmocka_unit_test(test_gap_slots_full),
        cmocka_unit_test(test_stopped_with_gap_slots_full),
        cmocka_unit_test(test_stopped_while_full_and_replaying),
        cmocka_unit_test(test_queue_full),
        cmocka_unit_test(test_gap_outlives_its_batch),
        cmocka_unit_test(test_overflow_of_an_earlier_run),
        cmocka_unit_test(test_full_again_and_again),
        cmocka_unit_test(test_batches_after_an_overflow),
        cmocka_unit_test(test_gap_message_lost),
        cmocka_unit_test(test_ack_of_the_end_lost),
        cmocka_unit_test(test_ends_merge),
        cmocka_unit_test(test_sync_fails),
        cmocka_unit_test(test_medium_dies),
        cmocka_unit_test(test_medium_dies_while_replaying),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
