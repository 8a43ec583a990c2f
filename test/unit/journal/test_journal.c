// Goal: each call of the journal keeps what its header says, on a medium that works.
// Method: a journal on simulated NOR flash or file; what was appended is read back, also after a
// mount on the same medium.
#include "journal_rig.h"

static void appends_and_reads_in_order(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r, 4);
    rig_open(&r, 0xA1, PTL_MODE_DIRECT);
    assert_int_equal(r.j.run.first, RUN1);
    rig_append(&r, 5);
    rig_expect_all(&r, 0xA1, RUN1, RUN1 + 4);
    assert_int_equal(r.j.held_run, 5);
    rig_sync(&r);
    assert_int_equal(r.j.durable_next, RUN1 + 5);
    rig_power_cycle(&r, PTL_SIM_CUT_DROPPED);
    rig_expect_all(&r, 0xA1, RUN1, RUN1 + 4);
    assert_int_equal(r.j.held_run, 5);
    ptl_sim_flash_free(&r.sim);
}

static void releases_and_forgets_after_mount(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r, 4);
    rig_open(&r, 0xA1, PTL_MODE_DIRECT);
    rig_append(&r, 10);
    struct ptl_range low = {RUN1, RUN1 + 2};
    struct ptl_range middle = {RUN1 + 4, RUN1 + 6};
    assert_int_equal(ptl_journal_release(&r.j, low), PTL_OK);
    assert_int_equal(ptl_journal_release(&r.j, middle), PTL_OK);
    assert_int_equal(ptl_journal_release(&r.j, middle), PTL_OK);
    assert_int_equal(r.j.held, 6);
    assert_int_equal(ptl_journal_release_write(&r.j), PTL_OK);
    rig_sync(&r);
    for (int mounts = 0; mounts < 2; mounts++) {
        struct ptl_journal_cursor c = {0};
        rig_expect(&r, &c, 0xA1, RUN1 + 2);
        rig_expect(&r, &c, 0xA1, RUN1 + 3);
        rig_expect(&r, &c, 0xA1, RUN1 + 6);
        assert_int_equal(r.j.held, 6);
        rig_power_cycle(&r, PTL_SIM_CUT_DROPPED);
    }
    ptl_sim_flash_free(&r.sim);
}

static void overflow_gives_up_the_oldest_block_as_one_gap(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r, 4);
    rig_open(&r, 0xA1, PTL_MODE_DIRECT);
    rig_append(&r, 200);
    assert_int_equal(r.j.gap_count, 1);
    assert_int_equal(r.j.gaps[0].first, RUN1);
    assert_int_equal(r.j.gaps[0].kind, PTL_LOST);
    assert_int_equal(r.j.gaps[0].reason, PTL_GAP_OVERFLOW);
    uint64_t kept = r.j.gaps[0].last + 1;
    assert_int_equal(r.j.counters.dropped_lost, kept - RUN1);
    rig_expect_all(&r, 0xA1, kept, RUN1 + 199);
    rig_sync(&r);
    rig_power_cycle(&r, PTL_SIM_CUT_DROPPED);
    assert_int_equal(r.j.gap_count, 1);
    assert_int_equal(r.j.gaps[0].last, kept - 1);
    rig_expect_all(&r, 0xA1, kept, RUN1 + 199);
    ptl_sim_flash_free(&r.sim);
}

static void holes_in_numbers_are_not_loss(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r, 4);
    rig_open(&r, 0xA1, PTL_MODE_RAM);
    rig_append(&r, 1);
    assert_int_equal(ptl_journal_append(&r.j, RUN1 + 100000, true, rig_record(RUN1 + 100000, 9)),
                     PTL_OK);
    rig_append(&r, 1);
    rig_sync(&r);
    rig_power_cycle(&r, PTL_SIM_CUT_DROPPED);
    struct ptl_journal_cursor c = {0};
    rig_expect(&r, &c, 0xA1, RUN1);
    rig_expect(&r, &c, 0xA1, RUN1 + 100000);
    rig_expect(&r, &c, 0xA1, RUN1 + 100001);
    rig_expect_end(&r, &c);
    assert_int_equal(r.j.gap_count, 0);
    ptl_sim_flash_free(&r.sim);
}

// Ranges are few: a hole behind which nothing is held must not cost one.
static void holes_behind_what_is_released_cost_no_range(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r, 4);
    rig_open(&r, 0xA1, PTL_MODE_RAM);
    for (uint64_t i = 0; i < 20; i++) {
        uint64_t seq = RUN1 + i * 10;
        assert_int_equal(ptl_journal_append(&r.j, seq, false, rig_record(seq, 9)), PTL_OK);
        assert_int_equal(ptl_journal_release(&r.j, (struct ptl_range){seq, seq + 1}), PTL_OK);
    }
    assert_int_equal(r.j.held, 0);
    uint64_t last = RUN1 + 1000;
    for (uint64_t i = 0; i < 9; i++) { // held ones with holes between them do
        assert_int_equal(ptl_journal_append(&r.j, last + 2 * i, false, rig_record(last, 9)),
                         PTL_OK);
        struct ptl_range one = {last + 2 * i, last + 2 * i + 1};
        if (i > 0) {
            assert_int_equal(ptl_journal_release(&r.j, one), PTL_OK);
        }
    }
    uint64_t full = last + 18;
    assert_int_equal(ptl_journal_append(&r.j, full, false, rig_record(full, 9)), PTL_OK);
    assert_int_equal(ptl_journal_release(&r.j, (struct ptl_range){full, full + 1}), PTL_E_FULL);
    assert_int_equal(r.j.held, 2);
    ptl_journal_release_below(&r.j, last); // nothing is held below: changes nothing
    assert_int_equal(ptl_journal_release(&r.j, (struct ptl_range){last, last + 1}), PTL_OK);
    ptl_journal_release_below(&r.j, full);
    assert_int_equal(ptl_journal_release(&r.j, (struct ptl_range){full, full + 1}), PTL_OK);
    assert_int_equal(r.j.held, 0);
    ptl_sim_flash_free(&r.sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_and_reads_in_order),
        cmocka_unit_test(releases_and_forgets_after_mount),
        cmocka_unit_test(overflow_gives_up_the_oldest_block_as_one_gap),
        cmocka_unit_test(holes_in_numbers_are_not_loss),
        cmocka_unit_test(holes_behind_what_is_released_cost_no_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
