// Goal: the scripts that broke earlier designs do not break this one, as far as they speak of the
// journal. Method: each is played on a simulated medium; "power" loses what was not synced, "kill"
// keeps the page cache. The rows' other half (who appends when) is the agent's.
#include "journal_rig.h"

static void rig_file(struct rig *r, uint32_t blocks)
{
    rig_init(r, blocks, 1, true);
    rig_mount(r);
}

static void kill_and_start(struct rig *r)
{
    rig_power_cycle(r, PTL_SIM_CUT_KILLED);
}

static void power(struct rig *r)
{
    strcpy(r->cfg.boot, "0b6f-2");
    rig_power_cycle(r, r->sim.options.file ? PTL_SIM_CUT_LOST : PTL_SIM_CUT_DROPPED);
}

static void expect_torn(struct rig *r, uint64_t epoch, uint64_t next)
{
    assert_int_equal(r->j.end_count, 1);
    assert_int_equal(r->j.ends[0].epoch, epoch);
    assert_int_equal(r->j.ends[0].how, PTL_TORN);
    assert_int_equal(r->j.ends[0].next, next);
}

static void expect_closed(struct rig *r, uint64_t epoch, uint64_t next)
{
    assert_int_equal(r->j.end_count, 1);
    assert_int_equal(r->j.ends[0].epoch, epoch);
    assert_int_equal(r->j.ends[0].how, PTL_CLOSED);
    assert_int_equal(r->j.ends[0].next, next);
    assert_int_equal(r->j.ends[0].at_most, 0);
}

// post, delivered from RAM, clean stop, start, post: numbers issued again
static void numbers_are_never_issued_again(void **state)
{
    (void)state;
    struct rig r;
    rig_file(&r, 4);
    rig_open(&r, 0xA, PTL_MODE_RAM);
    assert_int_equal(ptl_journal_run_close(&r.j, r.j.run.first + 1), PTL_OK);
    rig_sync(&r);
    kill_and_start(&r);
    rig_open(&r, 0xB, PTL_MODE_RAM);
    assert_int_equal(r.j.run.first, RUN2);
    ptl_sim_flash_free(&r.sim);
}

// 2 live acknowledged, clean stop, power: next is 0, 1 was used
static void the_end_carries_next(void **state)
{
    (void)state;
    struct rig r;
    rig_file(&r, 4);
    rig_open(&r, 0xA, PTL_MODE_RAM);
    assert_int_equal(ptl_journal_run_close(&r.j, RUN1 + 2), PTL_OK);
    rig_sync(&r);
    power(&r);
    expect_closed(&r, 0xA, RUN1 + 2);
    ptl_sim_flash_free(&r.sim);
}

// direct, RAM resumes, post, kill: loss not declared
static void mode_down_is_on_media_first(void **state)
{
    (void)state;
    struct rig r;
    rig_file(&r, 4);
    rig_open(&r, 0xA, PTL_MODE_DIRECT);
    rig_append(&r, 2);
    assert_int_equal(ptl_journal_mode_set(&r.j, PTL_MODE_RAM, RUN1 + 2), PTL_OK);
    kill_and_start(&r);
    expect_torn(&r, 0xA, RUN1 + 2);
    assert_in_range(r.j.ends[0].at_most, 40, UINT32_MAX);
    ptl_sim_flash_free(&r.sim);
}

// post, direct while RAM holds it, kill: here, a run that was never marked direct is torn
static void a_run_in_ram_is_torn_by_a_kill(void **state)
{
    (void)state;
    struct rig r;
    rig_file(&r, 4);
    rig_open(&r, 0xA, PTL_MODE_RAM);
    rig_append(&r, 2);
    rig_sync(&r);
    kill_and_start(&r);
    expect_torn(&r, 0xA, RUN1 + 2);
    ptl_sim_flash_free(&r.sim);
}

// spill run, post, kill, config says sync, start: the level comes from the mark
static void the_level_comes_from_the_mark(void **state)
{
    (void)state;
    struct rig r;
    for (int mode = PTL_MODE_RAM; mode <= PTL_MODE_SYNC; mode++) {
        rig_file(&r, 4);
        rig_open(&r, 0xA, (enum ptl_mode)mode);
        rig_append(&r, 1);
        rig_sync(&r);
        kill_and_start(&r);
        if (mode == PTL_MODE_RAM) {
            expect_torn(&r, 0xA, RUN1 + 1);
        } else {
            expect_closed(&r, 0xA, RUN1 + 1);
        }
        ptl_sim_flash_free(&r.sim);
    }
}

static void direct_is_complete_only_in_the_same_boot(void **state)
{
    (void)state;
    struct rig r;
    rig_file(&r, 4);
    rig_open(&r, 0xA, PTL_MODE_DIRECT);
    rig_append(&r, 3);
    kill_and_start(&r);
    expect_closed(&r, 0xA, RUN1 + 3);
    ptl_sim_flash_free(&r.sim);
    rig_file(&r, 4);
    rig_open(&r, 0xA, PTL_MODE_DIRECT);
    rig_append(&r, 3);
    power(&r);
    expect_torn(&r, 0xA, RUN1);
    assert_in_range(r.j.ends[0].at_most, 3, UINT32_MAX);
    ptl_sim_flash_free(&r.sim);
}

// A kill may stop an append half way: that record was not accepted, so the run is complete.
static void an_append_cut_by_a_kill_is_no_damage(void **state)
{
    (void)state;
    uint32_t half = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct rig r;
        rig_file(&r, 4);
        ptl_prng_seed(&r.sim.prng, seed);
        rig_open(&r, 0xA, PTL_MODE_DIRECT);
        rig_append(&r, 2);
        ptl_sim_flash_arm(&r.sim, 0, PTL_SIM_CUT_KILLED);
        assert_int_equal(ptl_journal_append(&r.j, RUN1 + 2, false, rig_record(RUN1 + 2, 100)),
                         PTL_E_IO);
        ptl_sim_flash_power_on(&r.sim);
        rig_mount(&r);
        assert_in_range(r.j.held, 2, 3);
        expect_closed(&r, 0xA, RUN1 + r.j.held);
        half += r.j.p.generation > 1 ? 1 : 0; // sealed: the end went to the next block
        ptl_sim_flash_free(&r.sim);
    }
    assert_in_range(half, 5, 35);
}

// post six, power: five lost, bound said four
static void at_most_counts_the_entries_of_one_block(void **state)
{
    (void)state;
    struct rig r;
    rig_file(&r, 4);
    assert_int_equal(ptl_journal_run_open(&r.j, 0xA, PTL_MODE_RAM, 4), PTL_OK);
    rig_sync(&r);
    uint32_t appended = 0; // as many of the smallest as one block takes, none synced
    while (r.j.p.generation == 1) {
        uint64_t seq = r.j.run.next;
        assert_int_equal(ptl_journal_append(&r.j, seq, false, rig_record(seq, 1)), PTL_OK);
        appended++;
    }
    ptl_sim_flash_free(&r.sim);
    rig_file(&r, 4);
    assert_int_equal(ptl_journal_run_open(&r.j, 0xA, PTL_MODE_RAM, 4), PTL_OK);
    rig_sync(&r);
    for (uint32_t i = 1; i < appended; i++) {
        assert_int_equal(ptl_journal_append(&r.j, r.j.run.next, false, rig_record(i, 1)), PTL_OK);
    }
    uint64_t next = r.j.run.next;
    power(&r); // the kernel may have written some of it back by itself
    expect_torn(&r, 0xA, r.j.run.next);
    assert_in_range(next - r.j.run.next, 1, appended);
    assert_in_range(r.j.ends[0].at_most, appended - 1 + 4, 2048);
    ptl_sim_flash_free(&r.sim);
}

// full ring, overwrite, power before the new header is synced: records and their gap both gone
static void the_gap_is_on_media_before_its_records_go(void **state)
{
    (void)state;
    for (uint32_t cut = 0;; cut++) {
        struct rig r;
        rig_new(&r, 3);
        rig_open(&r, 0xA, PTL_MODE_DIRECT);
        rig_append(&r, 30);
        rig_sync(&r);
        ptl_sim_flash_arm(&r.sim, cut, PTL_SIM_CUT_DROPPED);
        enum ptl_status status = PTL_OK;
        while (r.j.run.next < RUN1 + 60 && status == PTL_OK) {
            status = ptl_journal_append(&r.j, r.j.run.next, false, rig_record(r.j.run.next, 100));
        }
        if (status == PTL_OK) {
            assert_in_range(cut, 8, 1000);
            ptl_sim_flash_free(&r.sim);
            return;
        }
        ptl_sim_flash_power_on(&r.sim);
        rig_mount(&r);
        uint64_t kept = r.j.gap_count > 0 ? r.j.gaps[0].last + 1 : RUN1;
        assert_in_range(r.j.run.next, RUN1 + 30, RUN1 + 60);
        rig_expect_all(&r, 0xA, kept, r.j.run.next - 1);
        ptl_sim_flash_free(&r.sim);
    }
}

// gaps [0,1) and [2,3) merged; receipt covers [0,3): live 1 released, never stored
static void only_touching_gaps_merge(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r, 4);
    rig_open(&r, 0xA, PTL_MODE_RAM);
    struct ptl_gap gap = {
        .epoch = 0xA, .first = RUN1, .last = RUN1, .kind = PTL_LOST, .reason = PTL_GAP_REFUSED};
    assert_int_equal(ptl_journal_gap_add(&r.j, &gap, 0), PTL_OK);
    gap.first = gap.last = RUN1 + 2;
    assert_int_equal(ptl_journal_gap_add(&r.j, &gap, 0), PTL_OK);
    assert_int_equal(r.j.gap_count, 2);
    gap.first = gap.last = RUN1 + 3;
    gap.kind = PTL_UNCERTAIN;
    assert_int_equal(ptl_journal_gap_add(&r.j, &gap, 0), PTL_OK);
    assert_int_equal(r.j.gap_count, 3);
    gap.first = gap.last = RUN1 + 1;
    gap.kind = PTL_LOST;
    assert_int_equal(ptl_journal_gap_add(&r.j, &gap, 0), PTL_OK);
    assert_int_equal(r.j.gap_count, 2);
    ptl_sim_flash_free(&r.sim);
}

// send, kill, start, overflow: "lost" and delivered
static void held_over_is_uncertain(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r, 3);
    rig_open(&r, 0xA, PTL_MODE_DIRECT);
    rig_append(&r, 8);
    rig_sync(&r);
    power(&r);
    rig_open(&r, 0xB, PTL_MODE_DIRECT);
    rig_append(&r, 60);
    uint32_t uncertain = 0;
    for (uint32_t i = 0; i < r.j.gap_count; i++) {
        assert_int_equal(r.j.gaps[i].kind, r.j.gaps[i].epoch == 0xA ? PTL_UNCERTAIN : PTL_LOST);
        uncertain += r.j.gaps[i].epoch == 0xA ? 1 : 0;
    }
    assert_int_equal(uncertain, 1);
    assert_int_equal(r.j.counters.dropped_earlier, 8);
    ptl_sim_flash_free(&r.sim);
}

// gap entry, power, release entry missing: refused event stored later: lost and delivered
static void a_verdict_and_its_release_are_one_entry(void **state)
{
    (void)state;
    struct rig r;
    for (uint32_t cut = 0; cut < 4; cut++) {
        rig_new(&r, 4);
        rig_open(&r, 0xA, PTL_MODE_DIRECT);
        rig_append(&r, 3);
        rig_sync(&r);
        struct ptl_gap gap = {.epoch = 0xA,
                              .first = RUN1 + 1,
                              .last = RUN1 + 1,
                              .reason = PTL_GAP_REFUSED,
                              .kind = PTL_LOST};
        ptl_sim_flash_arm(&r.sim, cut, PTL_SIM_CUT_HALF);
        enum ptl_status status = ptl_journal_gap_add(&r.j, &gap, 1);
        status = status == PTL_OK ? ptl_journal_sync(&r.j) : status;
        ptl_sim_flash_cut_now(&r.sim, PTL_SIM_CUT_DROPPED);
        ptl_sim_flash_power_on(&r.sim);
        rig_mount(&r);
        struct ptl_journal_cursor c = {0};
        rig_expect(&r, &c, 0xA, RUN1);
        if (r.j.gap_count == 0) {
            assert_int_not_equal(status, PTL_OK);
            rig_expect(&r, &c, 0xA, RUN1 + 1);
        }
        rig_expect(&r, &c, 0xA, RUN1 + 2);
        ptl_sim_flash_free(&r.sim);
    }
}

// twin closes at 101, other torn at 101: end of one confirms the other's
static void an_end_is_confirmed_only_by_itself(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r, 4);
    rig_open(&r, 0xA, PTL_MODE_RAM);
    assert_int_equal(ptl_journal_run_close(&r.j, RUN1 + 101), PTL_OK);
    struct ptl_end other = r.j.ends[0];
    other.how = PTL_TORN;
    other.at_most = 9;
    ptl_journal_end_confirm(&r.j, &other);
    assert_int_equal(r.j.end_count, 1);
    other = r.j.ends[0];
    ptl_journal_end_confirm(&r.j, &other);
    assert_int_equal(r.j.end_count, 0);
    ptl_sim_flash_free(&r.sim);
}

// post, post, second refused, crash: gap above a torn next lifts the floor
static void a_torn_run_keeps_no_gap_from_its_next_up(void **state)
{
    (void)state;
    struct rig r;
    rig_file(&r, 4);
    rig_open(&r, 0xA, PTL_MODE_RAM);
    struct ptl_gap gap = {.epoch = 0xA,
                          .first = RUN1 + 1,
                          .last = RUN1 + 1,
                          .reason = PTL_GAP_REFUSED,
                          .kind = PTL_LOST};
    assert_int_equal(ptl_journal_gap_add(&r.j, &gap, 0), PTL_OK);
    rig_sync(&r);
    assert_int_equal(r.j.gap_count, 1);
    kill_and_start(&r);
    expect_torn(&r, 0xA, RUN1);
    assert_int_equal(r.j.gap_count, 0);
    assert_int_equal(r.j.ends[0].at_most, 40 + 2048 / 8 + 1);
    ptl_sim_flash_free(&r.sim);
}

// EIO, next fsync succeeds: durable said, not durable
static void nothing_counts_after_a_failed_sync(void **state)
{
    (void)state;
    struct rig r;
    rig_file(&r, 4);
    rig_open(&r, 0xA, PTL_MODE_DIRECT);
    rig_append(&r, 2);
    rig_sync(&r);
    rig_append(&r, 2);
    r.sim.fail_sync = 0;
    assert_int_equal(ptl_journal_sync(&r.j), PTL_E_IO);
    assert_true(r.j.failed);
    assert_int_equal(ptl_journal_sync(&r.j), PTL_E_IO);
    assert_int_equal(ptl_journal_append(&r.j, RUN1 + 4, false, rig_record(1, 9)), PTL_E_IO);
    assert_int_equal(r.j.durable_next, RUN1 + 2);
    ptl_sim_flash_free(&r.sim);
}

// EIO, kill, restart, power: the new process read the page cache
static void what_a_dead_process_left_in_the_cache_is_written_again(void **state)
{
    (void)state;
    struct rig r;
    rig_file(&r, 4);
    rig_open(&r, 0xA, PTL_MODE_DIRECT);
    rig_append(&r, 5);
    r.sim.fail_sync = 0; // the pages are called clean and never reach the medium
    assert_int_equal(ptl_journal_sync(&r.j), PTL_E_IO);
    kill_and_start(&r);
    rig_expect_all(&r, 0xA, RUN1, RUN1 + 4);
    expect_closed(&r, 0xA, RUN1 + 5);
    power(&r);
    rig_expect_all(&r, 0xA, RUN1, RUN1 + 4);
    expect_closed(&r, 0xA, RUN1 + 5);
    ptl_sim_flash_free(&r.sim);
}

// three full blocks, link down, crash loop: restarts overwrite the backlog
static void a_crash_loop_eats_no_block(void **state)
{
    (void)state;
    for (int file = 0; file < 2; file++) {
        struct rig r;
        rig_init(&r, 4, 1, file != 0);
        rig_mount(&r);
        rig_open(&r, 0xA, PTL_MODE_DIRECT);
        while (r.j.gap_count == 0) {
            rig_append(&r, 1);
        }
        uint64_t first = r.j.gaps[0].last + 1;
        uint64_t last = r.j.run.next - 1;
        rig_sync(&r);
        for (int crash = 0; crash < 50; crash++) {
            rig_power_cycle(&r, file ? PTL_SIM_CUT_KILLED : PTL_SIM_CUT_DROPPED);
            rig_expect_all(&r, 0xA, first, last);
        }
        ptl_sim_flash_free(&r.sim);
    }
}

// direct, appends, release ranges, new block, power: released records return
static void the_header_restates_ranges(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r, 5);
    rig_open(&r, 0xA, PTL_MODE_DIRECT);
    rig_append(&r, 10);
    for (uint64_t n = 1; n < 10; n += 2) {
        struct ptl_range one = {RUN1 + n, RUN1 + n + 1};
        assert_int_equal(ptl_journal_release(&r.j, one), PTL_OK);
    }
    uint32_t generation = r.j.p.generation;
    while (r.j.p.generation == generation) { // no release is written, only the header
        rig_append(&r, 1);
    }
    rig_sync(&r);
    power(&r);
    struct ptl_journal_cursor c = {0};
    for (uint64_t n = 0; n < 10; n += 2) {
        rig_expect(&r, &c, 0xA, RUN1 + n);
    }
    rig_expect(&r, &c, 0xA, RUN1 + 10);
    ptl_sim_flash_free(&r.sim);
}

// full ring, 200 range releases: held records dropped for markers
static void releases_never_cost_held_records(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r, 4);
    rig_open(&r, 0xA, PTL_MODE_DIRECT);
    while (r.j.gap_count == 0) {
        rig_append(&r, 1);
    }
    uint32_t gaps_last = (uint32_t)(r.j.gaps[0].last - RUN1);
    uint64_t held = r.j.held;
    for (uint64_t i = 0; i < 200; i++) { // the newest go first, so the oldest block stays in use
        struct ptl_range one = {r.j.run.next - 1 - i % 8, r.j.run.next - i % 8};
        assert_int_equal(ptl_journal_release(&r.j, one), PTL_OK);
        r.j.p.release_dirty = true;
        assert_int_equal(ptl_journal_release_write(&r.j), PTL_OK);
    }
    assert_int_equal(r.j.held, held - 8);
    assert_int_equal(r.j.gap_count, 1);
    assert_int_equal(r.j.gaps[0].last - RUN1, gaps_last);
    ptl_sim_flash_free(&r.sim);
}

// unit reads blank but programs badly: later entries lost
static void a_page_that_takes_no_program_is_found_at_mount(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, 4, 8, false);
    rig_mount(&r);
    rig_open(&r, 0xA, PTL_MODE_DIRECT);
    rig_append(&r, 1);
    ptl_sim_flash_arm(&r.sim, 0, PTL_SIM_CUT_WEAK);
    assert_int_equal(ptl_journal_sync(&r.j), PTL_E_IO);
    ptl_sim_flash_power_on(&r.sim);
    rig_mount(&r);
    rig_open(&r, 0xB, PTL_MODE_DIRECT);
    rig_append(&r, 3);
    rig_sync(&r);
    power(&r);
    rig_expect_all(&r, 0xB, RUN2, RUN2 + 2);
    ptl_sim_flash_free(&r.sim);
}

// seq jump across a full block: false damage alarm
static void a_jump_of_numbers_is_no_damage(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r, 5);
    rig_open(&r, 0xA, PTL_MODE_RAM);
    for (uint64_t i = 0; i < 40; i++) {
        uint64_t seq = RUN1 + i * 1000;
        assert_int_equal(ptl_journal_append(&r.j, seq, false, rig_record(seq, 100)), PTL_OK);
    }
    rig_sync(&r);
    power(&r);
    struct ptl_journal_cursor c = {0};
    for (uint64_t i = 0; i < 40; i++) {
        rig_expect(&r, &c, 0xA, RUN1 + i * 1000);
    }
    rig_expect_end(&r, &c);
    ptl_sim_flash_free(&r.sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_never_issued_again),
        cmocka_unit_test(the_end_carries_next),
        cmocka_unit_test(mode_down_is_on_media_first),
        cmocka_unit_test(a_run_in_ram_is_torn_by_a_kill),
        cmocka_unit_test(the_level_comes_from_the_mark),
        cmocka_unit_test(direct_is_complete_only_in_the_same_boot),
        cmocka_unit_test(an_append_cut_by_a_kill_is_no_damage),
        cmocka_unit_test(at_most_counts_the_entries_of_one_block),
        cmocka_unit_test(the_gap_is_on_media_before_its_records_go),
        cmocka_unit_test(only_touching_gaps_merge),
        cmocka_unit_test(held_over_is_uncertain),
        cmocka_unit_test(a_verdict_and_its_release_are_one_entry),
        cmocka_unit_test(an_end_is_confirmed_only_by_itself),
        cmocka_unit_test(a_torn_run_keeps_no_gap_from_its_next_up),
        cmocka_unit_test(nothing_counts_after_a_failed_sync),
        cmocka_unit_test(what_a_dead_process_left_in_the_cache_is_written_again),
        cmocka_unit_test(a_crash_loop_eats_no_block),
        cmocka_unit_test(the_header_restates_ranges),
        cmocka_unit_test(releases_never_cost_held_records),
        cmocka_unit_test(a_page_that_takes_no_program_is_found_at_mount),
        cmocka_unit_test(a_jump_of_numbers_is_no_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
