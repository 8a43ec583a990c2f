// Goal: damage costs what it hits, at worst the rest of its block, and is told; no bytes, however
// they came about, make the journal crash or invent a record.
// Method: a journal on simulated media, whose bytes are changed behind its back, also with the
// checksums made right again.
#include "journal_rig.h"
#include "ptl_journal_inspect.h"

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
        rig_payload(&r, RUN1 + 3)[50] ^= 0x10;
        rig_remount(&r);
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
        rig_remount(&r); // said once
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
    rig_payload(&r, RUN1 + 3)[-7] = 0x7C; // type
    rig_remount(&r);
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
        rig_at(&r, bad, 5)[0] ^= 0x40;
        rig_remount(&r);
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
    rig_at(&r, 2, 9)[0] ^= 1;
    rig_remount(&r);
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
    rig_at(&r, 2, 20)[0] ^= 1;
    rig_remount(&r);
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
    size_t unit = (size_t)(rig_payload(&r, RUN1 + 2) + 48 - r.sim.bytes) / 8;
    r.sim.unit_state[unit] = 2; // cannot be read
    rig_remount(&r);
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
    uint8_t *cell = rig_payload(&r, RUN1 + 3);
    *cell ^= 4;
    strcpy(r.cfg.boot, "other");
    rig_remount(&r);
    rig_expect_all(&r, 0xA, RUN1, RUN1 + 2);
    assert_int_equal(r.j.ends[0].next, RUN1 + 3);
    rig_open(&r, 0xB, PTL_MODE_DIRECT);
    rig_append(&r, 1);
    rig_sync(&r);
    *cell ^= 4;
    rig_remount(&r);
    struct ptl_journal_cursor c = {0};
    for (uint64_t n = 0; n < 3; n++) {
        rig_expect(&r, &c, 0xA, RUN1 + n);
    }
    rig_expect(&r, &c, 0xB, RUN2);
    rig_expect_end(&r, &c);
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
    uint8_t *payload = rig_at(r, info->generation, info->offset);
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
            uint8_t *head = rig_at(&r, 1 + ptl_prng_below(&prng, 3), 0);
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
            rig_at(&r, info->generation, info->offset)[byte] = (uint8_t)ptl_prng_next(&prng);
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
    rig_at(&r, mark.generation, mark.offset)[mark.len / 2] ^= 1;
    rig_remount(&r);
    rig_expect_all(&r, 0xA, RUN1, RUN1 + 1);
    assert_int_equal(r.j.gap_count, 0);
    assert_int_equal(r.j.ends[0].how, PTL_TORN); // though the mark says sync
    assert_int_equal(r.j.ends[0].next, RUN1 + 2);
    ptl_sim_flash_free(&r.sim);
}

// Two damaged entries in a row hide all that follows. Within one boot no append is torn, so the run
// cannot be called complete; after a power cut the same bytes are an append that was under way.
static void damage_at_the_end_within_one_boot_makes_the_run_torn(void **state)
{
    (void)state;
    for (int same_boot = 0; same_boot < 2; same_boot++) {
        struct rig r;
        rig_new(&r, 4);
        rig_open(&r, 0xA, same_boot != 0 ? PTL_MODE_DIRECT : PTL_MODE_SYNC);
        rig_append(&r, 8);
        rig_sync(&r);
        memset(rig_payload(&r, RUN1 + 3) - 4, 0x5A, 230); // also the head of the next entry
        strcpy(r.cfg.boot, same_boot != 0 ? "0b6f-1" : "0b6f-2");
        rig_remount(&r);
        rig_expect_all(&r, 0xA, RUN1, RUN1 + 2);
        assert_int_equal(r.j.ends[0].next, RUN1 + 3);
        assert_int_equal(r.j.ends[0].how, same_boot != 0 ? PTL_TORN : PTL_CLOSED);
        assert_true(same_boot == 0 || r.j.ends[0].at_most >= 5);
        ptl_sim_flash_free(&r.sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_damaged_record_costs_only_itself),
        cmocka_unit_test(a_damaged_entry_head_costs_the_rest_of_its_block),
        cmocka_unit_test(a_damaged_block_header_costs_its_block),
        cmocka_unit_test(damage_across_runs_is_told_for_each),
        cmocka_unit_test(a_newest_block_with_a_bad_header_makes_the_run_torn),
        cmocka_unit_test(a_bad_unit_costs_only_what_lies_in_it),
        cmocka_unit_test(a_torn_entry_never_returns),
        cmocka_unit_test(any_flipped_bit_is_survived),
        cmocka_unit_test(what_follows_a_lost_mark_does_not_count),
        cmocka_unit_test(damage_at_the_end_within_one_boot_makes_the_run_torn),
        cmocka_unit_test(lies_with_a_right_checksum_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
