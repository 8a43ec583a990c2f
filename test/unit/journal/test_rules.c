// Goal: each rule of FORMAT.md and of the header that a working medium does not show: overflow
// with its kinds, slots that are full, merged ends, damage of every size, waiting for the medium.
// Method: a journal on simulated media; damage is done to the bytes themselves.
#include "journal_rig.h"
#include "ptl_journal_inspect.h"

static uint8_t *at(struct rig *r, uint32_t generation, uint32_t offset)
{
    uint32_t block = (generation - 1) % r->sim.options.block_count;
    return r->sim.bytes + block * r->sim.options.block_bytes + offset;
}

// Where the payload of record `seq` lies, found by its bytes.
static uint8_t *payload_of(struct rig *r, uint64_t seq)
{
    struct ptl_span record = rig_record(seq, 100);
    uint32_t size = r->sim.options.block_count * r->sim.options.block_bytes;
    for (uint32_t i = 0; i + 100 <= size; i++) {
        if (memcmp(r->sim.bytes + i, record.ptr, 100) == 0) {
            return r->sim.bytes + i;
        }
    }
    fail_msg("record not on the medium");
    return NULL;
}

static void rig_damaged(struct rig *r, struct ptl_journal_cursor *c, uint64_t epoch, uint64_t begin,
                        uint64_t end, uint32_t count)
{
    uint8_t buf[4096];
    struct ptl_journal_entry entry;
    assert_int_equal(ptl_journal_read(&r->j, c, buf, sizeof(buf), &entry), PTL_E_FORMAT);
    assert_int_equal(entry.epoch, epoch);
    assert_int_equal(entry.damaged.begin, begin);
    assert_int_equal(entry.damaged.end, end);
    assert_int_equal(entry.damaged_count, count);
    struct ptl_gap gap = {.epoch = epoch,
                          .first = begin,
                          .last = end - 1,
                          .reason = PTL_GAP_DAMAGED,
                          .kind = PTL_UNCERTAIN};
    assert_int_equal(ptl_journal_gap_add(&r->j, &gap, count), PTL_OK);
}

static void remount(struct rig *r)
{
    rig_power_cycle(r, PTL_SIM_CUT_DROPPED);
}

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
    remount(&r); // torn at its first number: cut away, though it was written
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
            remount(&r);
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
    remount(&r);
    assert_memory_equal(before, r.j.ends, sizeof(before));
    ptl_sim_flash_free(&r.sim);
}

static void one_damaged_record_costs_only_itself(void **state)
{
    (void)state;
    for (int newest = 0; newest < 2; newest++) { // in an older block, and in the newest
        struct rig r;
        rig_new(&r, 4);
        rig_open(&r, 0xA, PTL_MODE_DIRECT);
        rig_append(&r, newest ? 6 : 40);
        rig_sync(&r);
        uint64_t next = r.j.run.next;
        payload_of(&r, RUN1 + 3)[50] ^= 0x10;
        remount(&r);
        assert_int_equal(r.j.held, next - RUN1);
        struct ptl_journal_cursor c = {0};
        rig_expect(&r, &c, 0xA, RUN1 + 2 - 2);
        rig_expect(&r, &c, 0xA, RUN1 + 1);
        rig_expect(&r, &c, 0xA, RUN1 + 2);
        rig_damaged(&r, &c, 0xA, RUN1 + 3, RUN1 + 4, 1);
        for (uint64_t seq = RUN1 + 4; seq < next; seq++) {
            rig_expect(&r, &c, 0xA, seq);
        }
        rig_expect_end(&r, &c);
        assert_int_equal(r.j.held, next - RUN1 - 1);
        rig_sync(&r);
        remount(&r); // said once
        assert_int_equal(r.j.gap_count, 1);
        assert_int_equal(r.j.held, next - RUN1 - 1);
        ptl_sim_flash_free(&r.sim);
    }
}

static void a_damaged_entry_head_costs_the_rest_of_its_block(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r, 5);
    rig_open(&r, 0xA, PTL_MODE_DIRECT);
    while (r.j.p.generation == 1) {
        rig_append(&r, 1);
    }
    uint64_t second = r.j.run.next - 1; // first of the second block
    rig_append(&r, 10);
    rig_sync(&r);
    uint64_t next = r.j.run.next;
    payload_of(&r, RUN1 + 3)[-7] = 0x7C; // type
    remount(&r);
    struct ptl_journal_cursor c = {0};
    for (uint64_t n = 0; n < 3; n++) {
        rig_expect(&r, &c, 0xA, RUN1 + n);
    }
    rig_damaged(&r, &c, 0xA, RUN1 + 3, second, (uint32_t)(second - RUN1 - 3));
    for (uint64_t seq = second; seq < next; seq++) {
        rig_expect(&r, &c, 0xA, seq);
    }
    rig_expect_end(&r, &c);
    assert_int_equal(r.j.held, 3 + next - second);
    ptl_sim_flash_free(&r.sim);
}

static void a_damaged_block_header_costs_its_block(void **state)
{
    (void)state;
    for (uint32_t bad = 1; bad <= 2; bad++) {
        struct rig r;
        rig_new(&r, 6);
        rig_open(&r, 0xA, PTL_MODE_DIRECT);
        uint64_t begin[6] = {0, RUN1};
        while (r.j.p.generation < 4) {
            uint32_t generation = r.j.p.generation;
            rig_append(&r, 1);
            if (r.j.p.generation != generation) {
                begin[r.j.p.generation] = r.j.run.next - 1;
            }
        }
        rig_sync(&r);
        at(&r, bad, 5)[0] ^= 0x40;
        remount(&r);
        struct ptl_journal_cursor c = {0};
        for (uint64_t seq = RUN1; seq < r.j.run.next; seq++) {
            if (seq == begin[bad]) {
                rig_damaged(&r, &c, 0xA, seq, begin[bad + 1],
                            (uint32_t)(begin[bad + 1] - begin[bad]));
                seq = begin[bad + 1] - 1;
                continue;
            }
            rig_expect(&r, &c, 0xA, seq);
        }
        rig_expect_end(&r, &c);
        ptl_sim_flash_free(&r.sim);
    }
}

static void damage_across_runs_is_told_for_each(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r, 6);
    rig_open(&r, 0xA, PTL_MODE_DIRECT);
    while (r.j.p.generation == 1) {
        rig_append(&r, 1);
    }
    uint64_t lost = r.j.run.next - 1;
    uint64_t end = r.j.run.next;
    assert_int_equal(ptl_journal_run_close(&r.j, end), PTL_OK);
    rig_open(&r, 0xB, PTL_MODE_DIRECT);
    while (r.j.p.generation == 2) {
        rig_append(&r, 1);
    }
    uint64_t third = r.j.run.next - 1;
    rig_sync(&r);
    at(&r, 2, 9)[0] ^= 1;
    remount(&r);
    struct ptl_journal_cursor c = {0};
    for (uint64_t seq = RUN1; seq < lost; seq++) {
        rig_expect(&r, &c, 0xA, seq);
    }
    rig_damaged(&r, &c, 0xA, lost, end, 1);
    rig_damaged(&r, &c, 0xB, RUN2, third, (uint32_t)(third - RUN2));
    rig_expect(&r, &c, 0xB, third);
    rig_expect_end(&r, &c);
    assert_int_equal(r.j.held, lost - RUN1 + 1);
    ptl_sim_flash_free(&r.sim);
}

static void a_newest_block_with_a_bad_header_makes_the_run_torn(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r, 4);
    rig_open(&r, 0xA, PTL_MODE_SYNC); // would be complete
    while (r.j.p.generation == 1) {
        rig_append(&r, 1);
    }
    rig_append(&r, 2);
    rig_sync(&r);
    uint64_t next = r.j.run.next;
    at(&r, 2, 20)[0] ^= 1;
    remount(&r);
    assert_int_equal(r.j.ends[0].how, PTL_TORN);
    assert_int_equal(r.j.ends[0].next, next - 3);
    assert_in_range(r.j.ends[0].at_most, 3, 1000);
    rig_expect_all(&r, 0xA, RUN1, next - 4);
    ptl_sim_flash_free(&r.sim);
}

static void a_bad_unit_costs_only_what_lies_in_it(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, 4, 8, false);
    rig_mount(&r);
    rig_open(&r, 0xA, PTL_MODE_DIRECT);
    rig_append(&r, 5);
    rig_sync(&r);
    size_t unit = (size_t)(payload_of(&r, RUN1 + 2) + 48 - r.sim.bytes) / 8;
    r.sim.unit_state[unit] = 2; // cannot be read
    remount(&r);
    struct ptl_journal_cursor c = {0};
    rig_expect(&r, &c, 0xA, RUN1);
    rig_expect(&r, &c, 0xA, RUN1 + 1);
    rig_damaged(&r, &c, 0xA, RUN1 + 2, RUN1 + 3, 1);
    rig_expect(&r, &c, 0xA, RUN1 + 3);
    rig_expect(&r, &c, 0xA, RUN1 + 4);
    ptl_sim_flash_free(&r.sim);
}

// A cell that reads otherwise later: what was cut off at a mount stays cut off.
static void a_torn_entry_never_returns(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r, 4);
    rig_open(&r, 0xA, PTL_MODE_DIRECT);
    rig_append(&r, 4);
    rig_sync(&r);
    uint8_t *cell = payload_of(&r, RUN1 + 3);
    *cell ^= 4;
    strcpy(r.cfg.boot, "other");
    remount(&r);
    rig_expect_all(&r, 0xA, RUN1, RUN1 + 2);
    assert_int_equal(r.j.ends[0].next, RUN1 + 3);
    rig_open(&r, 0xB, PTL_MODE_DIRECT);
    rig_append(&r, 1);
    rig_sync(&r);
    *cell ^= 4;
    remount(&r);
    struct ptl_journal_cursor c = {0};
    for (uint64_t n = 0; n < 3; n++) {
        rig_expect(&r, &c, 0xA, RUN1 + n);
    }
    rig_expect(&r, &c, 0xB, RUN2);
    rig_expect_end(&r, &c);
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
    at(&r, 1, 4)[0] = 1; // a later format
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
    remount(&r);
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

// Any byte of a good image flipped, one after the other: mount and read end, whatever they say.
static void any_flipped_bit_is_survived(void **state)
{
    (void)state;
    struct rig r;
    rig_new(&r, 3);
    rig_open(&r, 0xA, PTL_MODE_DIRECT);
    rig_append(&r, 25);
    rig_sync(&r);
    uint8_t image[3 * 2048];
    memcpy(image, r.sim.bytes, sizeof(image));
    ptl_sim_flash_free(&r.sim);
    for (uint32_t i = 0; i < sizeof(image); i += 3) {
        rig_init(&r, 3, 1, true);
        memcpy(r.sim.bytes, image, sizeof(image));
        r.sim.bytes[i] ^= (uint8_t)(1u << i % 8);
        rig_mount(&r);
        struct ptl_journal_cursor c = {0};
        uint8_t buf[256];
        struct ptl_journal_entry entry;
        uint32_t records = 0;
        enum ptl_status status = PTL_OK;
        for (uint32_t reads = 0; status != PTL_E_EMPTY; reads++) {
            status = ptl_journal_read(&r.j, &c, buf, sizeof(buf), &entry);
            assert_in_range(reads, 0, 60);
            records += status == PTL_OK ? 1 : 0;
            if (status == PTL_OK) {
                assert_memory_equal(entry.record.ptr, rig_record(entry.seq, 100).ptr, 100);
            }
        }
        assert_in_range(records, 5, 25);
        ptl_sim_flash_free(&r.sim);
    }
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
    payload_of(&r, RUN1 + 9)[0] ^= 1;
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
    struct ptl_span block = {at(&r, 2, 0), 2048};
    assert_int_equal(ptl_journal_geometry(block, &geometry), PTL_OK);
    assert_int_equal(geometry.block_bytes, 2048);
    assert_int_equal(geometry.block_count, 4);
    assert_int_equal(geometry.prog_bytes, 1);
    block.len = 40;
    assert_int_equal(ptl_journal_geometry(block, &geometry), PTL_E_FORMAT);
    ptl_sim_flash_free(&r.sim);
}

struct entries {
    struct ptl_journal_entry_info list[200];
    uint32_t count;
};

static void see_and_keep(void *ctx, const struct ptl_journal_entry_info *info)
{
    struct entries *entries = ctx;
    if (entries->count < 200) {
        entries->list[entries->count++] = *info;
    }
}

// Gives the entry whose payload is at `offset` the checksum it would have had.
static void sign_entry(struct rig *r, const struct ptl_journal_entry_info *info)
{
    uint8_t seed[12];
    uint8_t *payload = at(r, info->generation, info->offset);
    ptl_store_u32(seed, info->generation);
    ptl_store_u64(seed + 4, info->seq);
    uint32_t crc = ptl_crc32c(0, seed, sizeof(seed));
    crc = ptl_crc32c(ptl_crc32c(crc, payload, info->len), payload - 7, 3);
    ptl_store_u32(payload - 4, crc);
}

// Everything a reader can be made to believe: bytes changed at random, checksums right again.
static void lies_with_a_right_checksum_are_survived(void **state)
{
    (void)state;
    struct rig r;
    struct entries entries = {.count = 0};
    struct ptl_journal_visitor visitor = {.ctx = &entries, .entry = see_and_keep};
    struct ptl_prng prng;
    uint8_t image[3 * 2048];
    ptl_prng_seed(&prng, 5);
    rig_new(&r, 3);
    rig_open(&r, 0xA, PTL_MODE_RAM);
    rig_append(&r, 10);
    for (uint64_t n = 2; n < 8; n += 2) {
        struct ptl_gap gap = {.epoch = 0xA,
                              .first = RUN1 + n,
                              .last = RUN1 + n,
                              .reason = PTL_GAP_REFUSED,
                              .kind = PTL_LOST};
        assert_int_equal(ptl_journal_gap_add(&r.j, &gap, 1), PTL_OK);
    }
    assert_int_equal(ptl_journal_release(&r.j, (struct ptl_range){RUN1, RUN1 + 1}), PTL_OK);
    assert_int_equal(ptl_journal_release_write(&r.j), PTL_OK);
    assert_int_equal(ptl_journal_run_close(&r.j, RUN1 + 12), PTL_OK);
    rig_open(&r, 0xB, PTL_MODE_DIRECT);
    rig_append(&r, 20);
    rig_sync(&r);
    memcpy(image, r.sim.bytes, sizeof(image));
    struct ptl_journal other;
    assert_int_equal(ptl_journal_inspect(&other, &r.cfg, &visitor), PTL_OK);
    ptl_sim_flash_free(&r.sim);
    uint32_t mounted = 0;
    for (uint32_t round = 0; round < 6000; round++) {
        rig_init(&r, 3, 1, true);
        memcpy(r.sim.bytes, image, sizeof(image));
        if (ptl_prng_below(&prng, 2) == 0) { // a header
            uint8_t *head = at(&r, 1 + ptl_prng_below(&prng, 3), 0);
            uint32_t len = ptl_load_u16(head + 6);
            len = len < 20 || len > 900 ? 20 : len;
            head[12 + ptl_prng_below(&prng, len - 16)] = (uint8_t)ptl_prng_next(&prng);
            ptl_store_u32(head + len - 4, ptl_crc32c(0, head, len - 4));
        } else { // an entry, small ones and marks rather than records
            const struct ptl_journal_entry_info *info = NULL;
            do {
                info = &entries.list[ptl_prng_below(&prng, entries.count)];
            } while (info->len == 0 ||
                     (info->type == PTL_JOURNAL_DATA && ptl_prng_below(&prng, 20) != 0));
            uint32_t byte = ptl_prng_below(&prng, info->len);
            at(&r, info->generation, info->offset)[byte] = (uint8_t)ptl_prng_next(&prng);
            sign_entry(&r, info);
        }
        enum ptl_status status = ptl_journal_mount(&r.j, &r.cfg);
        mounted += status == PTL_OK ? 1 : 0;
        struct ptl_journal_cursor c = {0};
        uint8_t buf[4096];
        struct ptl_journal_entry entry;
        for (uint32_t reads = 0; status == PTL_OK || status == PTL_E_FORMAT; reads++) {
            status = ptl_journal_read(&r.j, &c, buf, sizeof(buf), &entry);
            assert_in_range(reads, 0, 200);
        }
        if (!r.j.failed && r.j.p.generation != 0 &&
            ptl_journal_run_open(&r.j, 0xC, PTL_MODE_DIRECT, 1) == PTL_OK) {
            for (uint32_t i = 0; i < 60; i++) { // round the ring
                status = ptl_journal_append(&r.j, r.j.run.next, false, rig_record(i, 100));
                if (status == PTL_E_FULL) {
                    ptl_journal_release_below(&r.j, r.j.run.next);
                }
            }
        }
        ptl_sim_flash_free(&r.sim);
    }
    assert_in_range(mounted, 3000, 6000);
}

static void see_last_state(void *ctx, const struct ptl_journal_entry_info *info)
{
    struct ptl_journal_entry_info *last = ctx;
    if (info->type == PTL_JOURNAL_STATE) {
        *last = *info;
    }
}

// A verdict is one STATE; a RELEASE behind it repeats its release but not its gap.
static void what_follows_a_lost_mark_does_not_count(void **state)
{
    (void)state;
    struct rig r;
    struct ptl_journal_entry_info mark = {0};
    struct ptl_journal_visitor visitor = {.ctx = &mark, .entry = see_last_state};
    rig_new(&r, 4);
    rig_open(&r, 0xA, PTL_MODE_SYNC);
    rig_append(&r, 2);
    struct ptl_gap gap = {.epoch = 0xA,
                          .first = RUN1 + 1,
                          .last = RUN1 + 1,
                          .reason = PTL_GAP_REFUSED,
                          .kind = PTL_LOST};
    assert_int_equal(ptl_journal_gap_add(&r.j, &gap, 1), PTL_OK);
    assert_int_equal(ptl_journal_release(&r.j, (struct ptl_range){RUN1, RUN1 + 1}), PTL_OK);
    assert_int_equal(ptl_journal_release_write(&r.j), PTL_OK);
    rig_append(&r, 2);
    rig_sync(&r);
    struct ptl_journal other;
    assert_int_equal(ptl_journal_inspect(&other, &r.cfg, &visitor), PTL_OK);
    at(&r, mark.generation, mark.offset)[mark.len / 2] ^= 1;
    remount(&r);
    rig_expect_all(&r, 0xA, RUN1, RUN1 + 1);
    assert_int_equal(r.j.gap_count, 0);
    assert_int_equal(r.j.ends[0].how, PTL_TORN); // though the mark says sync
    assert_int_equal(r.j.ends[0].next, RUN1 + 2);
    ptl_sim_flash_free(&r.sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_follow_what_was_sent),
        cmocka_unit_test(full_slots_hold_the_ring_until_a_gap_is_confirmed),
        cmocka_unit_test(a_confirmed_part_leaves_the_rest_of_a_gap),
        cmocka_unit_test(the_ninth_end_merges_the_two_oldest),
        cmocka_unit_test(one_damaged_record_costs_only_itself),
        cmocka_unit_test(a_damaged_entry_head_costs_the_rest_of_its_block),
        cmocka_unit_test(a_damaged_block_header_costs_its_block),
        cmocka_unit_test(damage_across_runs_is_told_for_each),
        cmocka_unit_test(a_newest_block_with_a_bad_header_makes_the_run_torn),
        cmocka_unit_test(a_bad_unit_costs_only_what_lies_in_it),
        cmocka_unit_test(a_torn_entry_never_returns),
        cmocka_unit_test(what_is_not_a_journal_is_left_alone),
        cmocka_unit_test(bad_geometry_is_refused),
        cmocka_unit_test(a_record_as_large_as_allowed_fits_any_block),
        cmocka_unit_test(a_block_change_waits_for_the_medium),
        cmocka_unit_test(device_and_counters_survive),
        cmocka_unit_test(a_cursor_survives_release_and_overflow),
        cmocka_unit_test(any_flipped_bit_is_survived),
        cmocka_unit_test(what_follows_a_lost_mark_does_not_count),
        cmocka_unit_test(lies_with_a_right_checksum_are_survived),
        cmocka_unit_test(inspection_counts_and_writes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
