// Goal: each rule of FORMAT.md and of the header that a working medium does not show: overflow
// with its kinds, slots that are full, merged ends, waiting for the medium, inspection.
// Method: a journal on simulated media.
#include "journal_rig.h"
#include "ptl_journal_inspect.h"

static void kinds_follow_what_was_sent(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r, 3);
    rig_open(&r, 0xA, PTL_MODE_DIRECT);
    for (uint64_t n = 0; n < 12; n++) { // 5 and 6 were in a batch before they came here
        assert_int_equal(
            ptl_journal_append(&r.j, RUN1 + n, n == 5 || n == 6, rig_record(RUN1 + n, 100)),
            PTL_OK);
    }
    ptl_journal_mark_sent(&r.j, RUN1 + 2); // 0 and 1 went out in replay
    while (r.j.gap_count == 0) {
        rig_append(&r, 1);
    }
    assert_int_equal(r.j.gap_count, 4);
    const struct {
        uint64_t first, last;
        uint8_t kind;
    } want[] = {{0, 1, PTL_UNCERTAIN}, {2, 4, PTL_LOST}, {5, 6, PTL_UNCERTAIN}};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(r.j.gaps[i].first, RUN1 + want[i].first);
        assert_int_equal(r.j.gaps[i].last, RUN1 + want[i].last);
        assert_int_equal(r.j.gaps[i].kind, want[i].kind);
    }
    assert_int_equal(r.j.counters.dropped_uncertain, 4);
    assert_int_equal(r.j.counters.dropped_lost, r.j.gaps[3].last - RUN1 + 1 - 4);
    ptl_sim_flash_free(&r.sim);
}

static void full_slots_hold_the_ring_until_a_gap_is_confirmed(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r, 3);
    rig_open(&r, 0xA, PTL_MODE_RAM);
    for (uint64_t n = 0; n < 8; n++) {
        struct ptl_gap gap = {.epoch = 0xA,
                              .first = RUN1 + 2 * n,
                              .last = RUN1 + 2 * n,
                              .reason = PTL_GAP_REFUSED,
                              .kind = PTL_LOST};
        assert_int_equal(ptl_journal_gap_add(&r.j, &gap, 0), PTL_OK);
    }
    struct ptl_gap ninth = {.epoch = 0xA, .first = RUN1 + 50, .last = RUN1 + 50};
    assert_int_equal(ptl_journal_gap_add(&r.j, &ninth, 0), PTL_E_FULL);
    enum ptl_status status = PTL_OK;
    uint64_t seq = RUN1 + 100;
    for (; status == PTL_OK; seq++) {
        status = ptl_journal_append(&r.j, seq, false, rig_record(seq, 100));
    }
    seq--;
    assert_int_equal(status, PTL_E_FULL);
    assert_int_equal(ptl_journal_append(&r.j, seq, false, rig_record(seq, 100)), PTL_E_FULL);
    rig_expect_all(&r, 0xA, RUN1 + 100, seq - 1);
    assert_int_equal(ptl_journal_release_write(&r.j), PTL_OK);
    ptl_journal_gap_confirm(&r.j, 0xA, (struct ptl_range){RUN1, RUN1 + 1});
    assert_int_equal(r.j.gap_count, 7);
    assert_int_equal(ptl_journal_append(&r.j, seq, false, rig_record(seq, 100)), PTL_OK);
    assert_int_equal(r.j.gap_count, 8);
    ptl_sim_flash_free(&r.sim);
}

static void a_confirmed_part_leaves_the_rest_of_a_gap(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r, 3);
    rig_open(&r, 0xA, PTL_MODE_RAM);
    struct ptl_gap gap = {.epoch = 0xA,
                          .first = RUN1 + 10,
                          .last = RUN1 + 19,
                          .reason = PTL_GAP_REFUSED,
                          .kind = PTL_LOST};
    assert_int_equal(ptl_journal_gap_add(&r.j, &gap, 0), PTL_OK);
    ptl_journal_gap_confirm(&r.j, 0xB, (struct ptl_range){0, RUN2});
    ptl_journal_gap_confirm(&r.j, 0xA, (struct ptl_range){RUN1, RUN1 + 10});
    assert_int_equal(r.j.gaps[0].first, RUN1 + 10);
    ptl_journal_gap_confirm(&r.j, 0xA, (struct ptl_range){RUN1 + 13, RUN1 + 15});
    assert_int_equal(r.j.gap_count, 2);
    assert_int_equal(r.j.gaps[0].last, RUN1 + 12);
    assert_int_equal(r.j.gaps[1].first, RUN1 + 15);
    assert_int_equal(r.j.gaps[1].last, RUN1 + 19);
    ptl_journal_gap_confirm(&r.j, 0xA, (struct ptl_range){RUN1, RUN1 + 16});
    assert_int_equal(r.j.gap_count, 1);
    assert_int_equal(r.j.gaps[0].first, RUN1 + 16);
    assert_int_equal(ptl_journal_release_write(&r.j), PTL_OK);
    rig_sync(&r);
    rig_remount(&r); // torn at its first number: cut away, though it was written
    assert_int_equal(r.j.gap_count, 0);
    assert_int_equal(r.j.ends[0].at_most, 40 + 2048 / 8 + 4);
    ptl_sim_flash_free(&r.sim);
}

static void the_ninth_end_merges_the_two_oldest(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r, 4);
    for (uint64_t run = 1; run <= 9; run++) {
        rig_open(&r, 0xA0 + run, PTL_MODE_SYNC);
        rig_append(&r, 1);
        if (run == 1) {
            rig_sync(&r);
            r.j.run.mode = PTL_MODE_RAM; // as if: this one will be torn
            assert_int_equal(ptl_journal_mode_set(&r.j, PTL_MODE_DIRECT, r.j.run.next), PTL_OK);
            rig_sync(&r);
            strcpy(r.cfg.boot, "other");
            rig_remount(&r);
        } else {
            assert_int_equal(ptl_journal_run_close(&r.j, r.j.run.next), PTL_OK);
        }
    }
    assert_int_equal(r.j.end_count, 8);
    const struct ptl_end *merged = &r.j.ends[0];
    assert_int_equal(merged->epoch, 0xA2);
    assert_int_equal(merged->from, RUN1 + 1);
    assert_int_equal(merged->next, RUN2 + 1);
    assert_int_equal(merged->runs, 2);
    assert_int_equal(merged->how, PTL_TORN);
    assert_int_equal(merged->at_most, 40 + 2048 / 8);
    assert_int_equal(r.j.ends[7].epoch, 0xA9);
    rig_sync(&r);
    struct ptl_end before[8];
    memcpy(before, r.j.ends, sizeof(before));
    rig_remount(&r);
    assert_memory_equal(before, r.j.ends, sizeof(before));
    ptl_sim_flash_free(&r.sim);
}

static void what_is_not_a_journal_is_left_alone(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, 4, 1, false);
    memset(r.sim.bytes, 'x', 4 * 2048);
    assert_int_equal(ptl_journal_mount(&r.j, &r.cfg), PTL_E_FORMAT);
    assert_int_equal(r.sim.counts.ops, 0);
    assert_int_equal(r.sim.bytes[0], 'x');
    ptl_sim_flash_free(&r.sim);
    rig_new(&r, 4);
    rig_at(&r, 1, 4)[0] = 1; // a later format
    assert_int_equal(ptl_journal_mount(&r.j, &r.cfg), PTL_E_FORMAT);
    ptl_sim_flash_free(&r.sim);
    rig_init(&r, 4, 1, true); // a preallocated file is zeros
    memset(r.sim.bytes, 0, 4 * 2048);
    rig_mount(&r);
    ptl_sim_flash_free(&r.sim);
}

static void bad_geometry_is_refused(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, 4, 1, false);
    struct ptl_flash good = r.sim.flash;
    r.sim.flash.block_count = 2;
    assert_int_equal(ptl_journal_mount(&r.j, &r.cfg), PTL_E_INVALID);
    r.sim.flash = good;
    r.sim.flash.block_bytes = 1024;
    assert_int_equal(ptl_journal_mount(&r.j, &r.cfg), PTL_E_INVALID);
    r.sim.flash = good;
    r.sim.flash.prog_bytes = 3;
    assert_int_equal(ptl_journal_mount(&r.j, &r.cfg), PTL_E_INVALID);
    r.sim.flash = good;
    rig_mount(&r);
    r.sim.flash.block_count = 3; // of another medium
    assert_int_equal(ptl_journal_mount(&r.j, &r.cfg), PTL_E_FORMAT);
    ptl_sim_flash_free(&r.sim);
}

static void a_record_as_large_as_allowed_fits_any_block(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r, 4);
    rig_open(&r, 0xA, PTL_MODE_DIRECT);
    uint32_t max = ptl_journal_record_bytes_max(&r.j);
    assert_in_range(max, 1024, 2048);
    for (uint64_t i = 0; i < 12; i++) {
        uint64_t seq = r.j.run.next + (i % 3) * 1000000;
        assert_int_equal(ptl_journal_append(&r.j, seq, false, rig_record(seq, max)), PTL_OK);
        assert_int_equal(ptl_journal_append(&r.j, seq + 1, false, rig_record(seq, max + 1)),
                         PTL_E_TOO_BIG);
        struct ptl_journal_cursor c = {0};
        uint8_t small[16];
        struct ptl_journal_entry entry;
        assert_int_equal(ptl_journal_read(&r.j, &c, small, sizeof(small), &entry), PTL_E_TOO_BIG);
        assert_int_equal(entry.record.len, max);
        rig_expect(&r, &c, 0xA, entry.seq); // the cursor had not moved
        ptl_journal_gap_confirm(&r.j, 0xA, (struct ptl_range){0, RUN2});
    }
    ptl_sim_flash_free(&r.sim);
}

static void a_block_change_waits_for_the_medium(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r, 4);
    rig_open(&r, 0xA, PTL_MODE_DIRECT);
    r.sim.options.async = true;
    rig_append(&r, 3);
    assert_int_equal(ptl_journal_sync(&r.j), PTL_E_PENDING);
    assert_int_equal(ptl_journal_sync(&r.j), PTL_E_PENDING);
    rig_append(&r, 1); // goes on while the sync is under way, but is not part of it
    assert_int_equal(ptl_journal_media_ready(&r.j, ptl_sim_flash_complete(&r.sim)), PTL_OK);
    assert_int_equal(r.j.durable_next, RUN1 + 3);
    assert_true(ptl_journal_is_dirty(&r.j));
    enum ptl_status status = PTL_OK;
    while (status == PTL_OK) {
        status = ptl_journal_append(&r.j, r.j.run.next, false, rig_record(r.j.run.next, 100));
    }
    assert_int_equal(status, PTL_E_AGAIN);
    uint64_t next = r.j.run.next;
    assert_true(ptl_journal_is_pending(&r.j));
    assert_int_equal(ptl_journal_run_close(&r.j, next), PTL_E_AGAIN);
    // The sync, then the erase, then the header at once.
    assert_int_equal(ptl_journal_media_ready(&r.j, ptl_sim_flash_complete(&r.sim)), PTL_E_PENDING);
    struct ptl_journal_cursor c = {0};
    uint8_t buf[256];
    struct ptl_journal_entry entry;
    assert_int_equal(ptl_journal_read(&r.j, &c, buf, sizeof(buf), &entry), PTL_E_AGAIN);
    assert_int_equal(ptl_journal_media_ready(&r.j, ptl_sim_flash_complete(&r.sim)), PTL_OK);
    assert_int_equal(r.j.durable_next, next);
    rig_append(&r, 1);
    rig_expect_all(&r, 0xA, RUN1, next);
    ptl_sim_flash_free(&r.sim);
}

static void device_and_counters_survive(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r, 3);
    assert_int_equal(ptl_journal_device_set(&r.j, "gw-17.example_1"), PTL_OK);
    rig_open(&r, 0xA, PTL_MODE_DIRECT);
    rig_append(&r, 60);
    uint64_t dropped = r.j.counters.dropped_lost;
    uint64_t erases = r.j.counters.erases;
    assert_in_range(dropped, 10, 60);
    rig_sync(&r);
    rig_remount(&r);
    assert_string_equal(r.j.device, "gw-17.example_1");
    assert_int_equal(r.j.counters.dropped_earlier, dropped);
    assert_int_equal(r.j.counters.erases, erases);
    ptl_sim_flash_free(&r.sim);
}

static void a_cursor_survives_release_and_overflow(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r, 3);
    rig_open(&r, 0xA, PTL_MODE_DIRECT);
    rig_append(&r, 10);
    struct ptl_journal_cursor c = {0};
    rig_expect(&r, &c, 0xA, RUN1);
    assert_int_equal(ptl_journal_release(&r.j, (struct ptl_range){RUN1 + 1, RUN1 + 3}), PTL_OK);
    rig_expect(&r, &c, 0xA, RUN1 + 3);
    rig_append(&r, 60);
    rig_expect(&r, &c, 0xA, r.j.gaps[r.j.gap_count - 1].last + 1);
    ptl_sim_flash_free(&r.sim);
}

struct seen {
    uint32_t blocks, data, held, damaged, entries;
};

static void see_block(void *ctx, const struct ptl_journal_block_info *info)
{
    struct seen *seen = ctx;
    seen->blocks++;
    seen->data += info->data;
    seen->held += info->held;
    seen->damaged += info->damaged;
}

static void see_entry(void *ctx, const struct ptl_journal_entry_info *info)
{
    struct seen *seen = ctx;
    (void)info;
    seen->entries++;
}

static void inspection_counts_and_writes_nothing(void **state)
{
    (void)state;
    struct rig r;
    struct seen seen = {0};
    struct ptl_journal_visitor visitor = {.ctx = &seen, .block_end = see_block, .entry = see_entry};
    rig_init(&r, 4, 1, false);
    assert_int_equal(ptl_journal_inspect(&r.j, &r.cfg, &visitor), PTL_E_EMPTY);
    rig_mount(&r);
    rig_open(&r, 0xA, PTL_MODE_DIRECT);
    rig_append(&r, 30);
    assert_int_equal(ptl_journal_release(&r.j, (struct ptl_range){RUN1, RUN1 + 4}), PTL_OK);
    assert_int_equal(ptl_journal_release_write(&r.j), PTL_OK);
    rig_sync(&r);
    rig_payload(&r, RUN1 + 9)[0] ^= 1;
    uint32_t ops = r.sim.counts.ops;
    assert_int_equal(ptl_journal_inspect(&r.j, &r.cfg, &visitor), PTL_OK);
    assert_int_equal(r.sim.counts.ops, ops);
    assert_int_equal(seen.blocks, 2);
    assert_int_equal(seen.data, 29);
    assert_int_equal(seen.held, 25);
    assert_int_equal(seen.damaged, 1);
    assert_int_equal(seen.entries, 29 + 1 + 2); // and RUN, RELEASE
    assert_int_equal(r.j.held, 26);
    assert_true(r.j.run.open);
    struct ptl_flash geometry;
    struct ptl_span block = {rig_at(&r, 2, 0), 2048};
    assert_int_equal(ptl_journal_geometry(block, &geometry), PTL_OK);
    assert_int_equal(geometry.block_bytes, 2048);
    assert_int_equal(geometry.block_count, 4);
    assert_int_equal(geometry.prog_bytes, 1);
    block.len = 40;
    assert_int_equal(ptl_journal_geometry(block, &geometry), PTL_E_FORMAT);
    ptl_sim_flash_free(&r.sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_follow_what_was_sent),
        cmocka_unit_test(full_slots_hold_the_ring_until_a_gap_is_confirmed),
        cmocka_unit_test(a_confirmed_part_leaves_the_rest_of_a_gap),
        cmocka_unit_test(the_ninth_end_merges_the_two_oldest),
        cmocka_unit_test(what_is_not_a_journal_is_left_alone),
        cmocka_unit_test(bad_geometry_is_refused),
        cmocka_unit_test(a_record_as_large_as_allowed_fits_any_block),
        cmocka_unit_test(a_block_change_waits_for_the_medium),
        cmocka_unit_test(device_and_counters_survive),
        cmocka_unit_test(a_cursor_survives_release_and_overflow),
        cmocka_unit_test(inspection_counts_and_writes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
