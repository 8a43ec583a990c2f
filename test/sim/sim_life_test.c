// Goal: kill -9, power cuts and restarts cost exactly what the durability level says, and it is
// declared. Method: the agent in virtual time, ended at chosen states; the world's checkers hold
// what every application was told against receiver, gaps and ends. The rows of the traces that
// broke earlier designs are named by their scripts.
#include "sim_life.h"

// -- kill -9 --------------------------------------------------------------------------------------

static void killed_while_spilled(struct level level)
{
    struct ptl_sim_world *w = world_at_rate(level);
    link_down_and_spilled(w);
    ptl_sim_world_kill(w);
    ptl_sim_world_run(w, 1000);
    ptl_sim_world_start(w);
    ptl_sim_world_post(w, 5, BYTES);
    all_stored_and_free(w, 100);
}

static void killed_while_open_and_posting(struct level level)
{
    struct ptl_sim_world *w = world_at_rate(level);
    ptl_sim_world_blackhole(w, true);
    assert_true(ptl_sim_world_run_until(w, ptl_sim_is_open, MINUTE_MS));
    ptl_sim_world_run(w, 5000);
    ptl_sim_world_kill(w);
    ptl_sim_world_rate(w, 0, BYTES); // CLOSED until its first connect fails
    ptl_sim_world_start(w);
    assert_true(ptl_sim_world_run_until(w, ptl_sim_is_open, MINUTE_MS));
    ptl_sim_world_rate(w, RATE, BYTES);
    ptl_sim_world_run(w, 5000);
    ptl_sim_world_kill(w);
    ptl_sim_world_start(w);
    all_stored_and_free(w, 200);
}

// CLOSED at `spill`: what was in RAM is gone, and one torn end says so, and how much at most.
static void killed_while_closed(struct level level)
{
    struct ptl_sim_world *w = world_at_rate(level);
    ptl_sim_world_post(w, 10, BYTES);
    ptl_sim_world_kill(w);
    ptl_sim_world_run(w, 1000);
    restart(w);
    ptl_sim_world_post(w, 5, BYTES);
    struct ptl_sim_verdict v = world_finish(w);
    assert_int_equal(v.in_gaps, 0);
    assert_int_equal(v.stored + v.torn, v.told);
    const struct ptl_sim_run *run = run_number(w, 0);
    assert_true(run->ended);
    if (level.durability == PTL_DURABLE_SYNC) {
        assert_int_equal(v.torn, 0);
    } else {
        assert_true(v.torn > 0);
        assert_int_equal(run->end.how, PTL_TORN);
        assert_true(run->end.at_most >= v.torn);
    }
    world_free(w);
}

static void killed_in_a_loop(struct level level)
{
    struct ptl_sim_world *w = world_at_rate(level);
    for (uint32_t i = 0; i < 20; i++) {
        ptl_sim_world_run(w, 100 + 173 * i);
        ptl_sim_world_kill(w);
        ptl_sim_world_start(w);
    }
    struct ptl_sim_verdict v = world_finish(w);
    assert_true(v.told > 300);
    assert_int_equal(v.stored + v.torn, v.told);
    world_free(w);
}

// Three full blocks, link down, crash loop: restarts must not overwrite the backlog.
static void killed_in_a_loop_with_backlog(struct level level)
{
    struct ptl_sim_config cfg = config_at(level);
    cfg.block_count = 8;
    struct ptl_sim_world *w = world_new(&cfg);
    ptl_sim_world_blackhole(w, true);
    ptl_sim_world_rate(w, RATE / 3, BYTES);
    assert_true(ptl_sim_world_run_until(w, ptl_sim_is_open, 2 * MINUTE_MS));
    ptl_sim_world_rate(w, 0, BYTES);
    ptl_sim_world_run(w, 2000);
    assert_true(w->device.status.held_journal > 90);
    for (uint32_t i = 0; i < 60; i++) {
        ptl_sim_world_kill(w);
        ptl_sim_world_start(w);
        ptl_sim_world_run(w, 500);
    }
    struct ptl_sim_verdict v = world_finish(w);
    assert_int_equal(v.in_gaps, 0);
    assert_int_equal(v.stored, v.told);
    world_free(w);
}

// A run that shows no number costs the medium and the receiver nothing.
static void killed_without_events(struct level level)
{
    struct ptl_sim_config cfg = config_at(level);
    struct ptl_sim_world *w = world_new(&cfg);
    for (uint32_t i = 0; i < 12; i++) {
        ptl_sim_world_kill(w);
        ptl_sim_world_start(w);
        ptl_sim_world_run(w, 2000);
    }
    assert_int_equal(w->ledger.count, 0);
    ptl_sim_world_post(w, 5, BYTES);
    all_stored_and_free(w, 5);
}

// -- Power ----------------------------------------------------------------------------------------

static void power_cut_after_commit(struct level level)
{
    struct ptl_sim_world *w = world_at_rate(level);
    link_down_and_spilled(w);
    ptl_sim_world_power_cut(w);
    ptl_sim_world_run(w, 20000);
    restart(w);
    ptl_sim_world_post(w, 5, BYTES);
    all_stored_and_free(w, 100);
}

static void power_cut_any_time(struct level level)
{
    for (uint32_t at = 0; at < 12; at++) {
        struct ptl_sim_world *w = world_at_rate(level);
        ptl_sim_world_blackhole(w, at % 2 == 0);
        ptl_sim_world_run(w, 1500 * at);
        ptl_sim_world_power_cut(w);
        ptl_sim_world_run(w, 3000);
        ptl_sim_world_blackhole(w, false);
        restart(w);
        ptl_sim_world_run(w, 3000);
        struct ptl_sim_verdict v = world_finish(w);
        assert_int_equal(v.stored + v.torn, v.told);
        if (level.durability == PTL_DURABLE_SYNC) {
            assert_int_equal(v.torn, 0);
        }
        world_free(w);
    }
}

// Power goes, or the process dies, within each of the first operations on the medium.
static void cut_at_every_operation(struct level level, enum ptl_sim_medium medium)
{
    int first = medium == PTL_SIM_NOR ? 0 : PTL_SIM_CUTS_NOR;
    int end = medium == PTL_SIM_NOR ? PTL_SIM_CUTS_NOR : PTL_SIM_CUTS;
    for (int kind = first; kind < end; kind++) {
        for (uint32_t op = 0; op < 40; op++) {
            struct ptl_sim_config cfg = config_at(level);
            cfg.medium = medium;
            cfg.block_bytes = 2048;
            cfg.seed = SEED + op;
            struct ptl_sim_world *w = world_new(&cfg);
            ptl_sim_world_post(w, 3, BYTES);
            ptl_sim_world_run(w, 1000);
            ptl_sim_world_blackhole(w, true);
            ptl_sim_world_cut_at(w, op, (enum ptl_sim_cut)kind);
            ptl_sim_world_rate(w, RATE, BYTES);
            ptl_sim_world_run(w, 20000);
            struct ptl_sim_verdict v = world_finish(w);
            assert_int_equal(v.stored + v.torn + v.in_gaps, v.told);
            world_free(w);
        }
    }
}

static void file_cut_at_every_operation(struct level level)
{
    cut_at_every_operation(level, PTL_SIM_FILE);
}

static void nor_cut_at_every_operation(struct level level)
{
    cut_at_every_operation(level, PTL_SIM_NOR);
}

// -- Clean stops ----------------------------------------------------------------------------------

static void stopped_with_link(struct level level)
{
    struct ptl_sim_world *w = world_at_rate(level);
    ptl_sim_world_rate(w, 0, BYTES);
    ptl_sim_world_post(w, 10, BYTES);
    ptl_sim_world_drain(w, 15000);
    assert_true(ptl_sim_world_run_until(w, ptl_sim_is_stopped, 20000));
    ptl_sim_world_run(w, 2000);
    const struct ptl_sim_run *run = run_number(w, 0);
    assert_int_equal(ptl_sim_run_count(run, PTL_SIM_STORED),
                     ptl_sim_run_count(run, PTL_SIM_POSTED));
    restart(w);
    ptl_sim_world_post(w, 5, BYTES);
    all_stored_and_free(w, 100);
}

static void stopped_without_link(struct level level)
{
    struct ptl_sim_world *w = world_at_rate(level);
    ptl_sim_world_blackhole(w, true);
    ptl_sim_world_run(w, 2000);
    ptl_sim_world_drain(w, 3000);
    assert_true(ptl_sim_world_run_until(w, ptl_sim_is_stopped, 6000));
    ptl_sim_world_blackhole(w, false);
    restart(w);
    all_stored_and_free(w, 100);
}

// 2 live acknowledged, clean stop, power: END carries next.
static void stopped_then_power_cut(struct level level)
{
    struct ptl_sim_config cfg = config_at(level);
    struct ptl_sim_world *w = world_new(&cfg);
    ptl_sim_world_post(w, 2, BYTES);
    ptl_sim_world_run(w, 5000);
    ptl_sim_world_drain(w, 5000);
    assert_true(ptl_sim_world_run_until(w, ptl_sim_is_stopped, 20000));
    ptl_sim_world_power_cut(w);
    restart(w);
    ptl_sim_world_post(w, 2, BYTES);
    all_stored_and_free(w, 4);
}

// -- Marks: the level comes from the mark on the medium -------------------------------------------

// direct, RAM resumes, post, kill
static void killed_after_ram_resumed(struct level level)
{
    struct ptl_sim_world *w = world_at_rate(level);
    link_down_and_spilled(w);
    ptl_sim_world_post(w, 3, BYTES);
    ptl_sim_world_blackhole(w, false);
    assert_true(ptl_sim_world_run_until(w, ptl_sim_is_closed, MINUTE_MS));
    ptl_sim_world_run(w, 5000);
    ptl_sim_world_post(w, 3, BYTES);
    ptl_sim_world_kill(w);
    restart(w);
    struct ptl_sim_verdict v = world_finish(w);
    assert_int_equal(v.stored + v.torn, v.told);
    world_free(w);
}

// post, direct while RAM holds it, kill: the post that finds the queue full may be the one that
// ends the spill, and must not go to RAM behind the mark.
static void killed_after_queue_full_while_spilling(struct level level)
{
    for (uint32_t i = 0; i < 20; i++) {
        struct ptl_sim_config cfg = config_at(level);
        cfg.seed = SEED + i;
        cfg.queue_bytes = 2048;
        cfg.media_ms_max = 300;
        struct ptl_sim_world *w = world_new(&cfg);
        ptl_sim_world_rate(w, 10 * RATE, BYTES);
        ptl_sim_world_run(w, 1000 + 57 * i);
        ptl_sim_world_reset(w);
        ptl_sim_world_blackhole(w, true);
        assert_true(ptl_sim_world_run_until(w, ptl_sim_is_open, MINUTE_MS));
        ptl_sim_world_run(w, 100 + 10 * i);
        ptl_sim_world_blackhole(w, false);
        ptl_sim_world_run(w, 5000);
        ptl_sim_world_reset(w);
        ptl_sim_world_run(w, 5000);
        ptl_sim_world_kill(w);
        restart(w);
        struct ptl_sim_verdict v = world_finish(w);
        assert_int_equal(v.stored + v.torn + v.in_gaps, v.told);
        world_free(w);
    }
}

// spill run, post, kill, config says sync, start; and the other way round
static void level_changes_between_runs(struct level level)
{
    static const enum ptl_durability others[] = {PTL_DURABLE_SYNC, PTL_DURABLE_SPILL};
    struct ptl_sim_world *w = world_at_rate(level);
    for (uint32_t i = 0; i < 4; i++) {
        ptl_sim_world_post(w, 4, BYTES);
        ptl_sim_world_kill(w);
        w->cfg.durability = others[i % 2];
        ptl_sim_world_start(w);
        ptl_sim_world_run(w, 3000);
    }
    struct ptl_sim_verdict v = world_finish(w);
    assert_int_equal(v.stored + v.torn, v.told);
    world_free(w);
}

// post six, power: `at_most` counts a block
static void few_posted_then_power_cut(struct level level)
{
    for (uint32_t count = 1; count < 12; count++) {
        struct ptl_sim_config cfg = config_at(level);
        struct ptl_sim_world *w = world_new(&cfg);
        ptl_sim_world_blackhole(w, true);
        ptl_sim_world_run(w, 100);
        ptl_sim_world_post(w, count, BYTES);
        ptl_sim_world_run(w, count * 37);
        ptl_sim_world_power_cut(w);
        ptl_sim_world_blackhole(w, false);
        restart(w);
        struct ptl_sim_verdict v = world_finish(w);
        assert_int_equal(v.stored + v.torn, v.told);
        world_free(w);
    }
}

AT(killed_while_spilled, with_medium)
AT(killed_while_open_and_posting, with_medium)
AT(killed_while_closed, with_medium)
AT(killed_in_a_loop, with_medium)
AT(killed_in_a_loop_with_backlog, with_medium)
AT(killed_without_events, with_medium)
AT(power_cut_after_commit, with_medium)
AT(power_cut_any_time, with_medium)
AT(file_cut_at_every_operation, with_medium)
AT(nor_cut_at_every_operation, with_medium)
AT(stopped_with_link, NULL)
AT(stopped_without_link, with_medium)
AT(stopped_then_power_cut, with_medium)
AT(killed_after_ram_resumed, with_medium)
AT(killed_after_queue_full_while_spilling, with_medium)
AT(level_changes_between_runs, with_medium)
AT(few_posted_then_power_cut, with_medium)

// With an argument: only the tests that match it (with * and ?).
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_while_spilled),
        cmocka_unit_test(test_killed_while_open_and_posting),
        cmocka_unit_test(test_killed_while_closed),
        cmocka_unit_test(test_killed_in_a_loop),
        cmocka_unit_test(test_killed_in_a_loop_with_backlog),
        cmocka_unit_test(test_killed_without_events),
        cmocka_unit_test(test_power_cut_after_commit),
        cmocka_unit_test(test_power_cut_any_time),
        cmocka_unit_test(test_file_cut_at_every_operation),
        cmocka_unit_test(test_nor_cut_at_every_operation),
        cmocka_unit_test(test_stopped_with_link),
        cmocka_unit_test(test_stopped_without_link),
        cmocka_unit_test(test_stopped_then_power_cut),
        cmocka_unit_test(test_killed_after_ram_resumed),
        cmocka_unit_test(test_killed_after_queue_full_while_spilling),
        cmocka_unit_test(test_level_changes_between_runs),
        cmocka_unit_test(test_few_posted_then_power_cut),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
