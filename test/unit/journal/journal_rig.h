// journal_rig.h - a journal on a simulated medium, with the shortest way to say what a test does.
#pragma once

#include "ptl_test.h"

#include "ptl_journal.h"
#include "ptl_sim_flash.h"

struct rig {
    struct ptl_sim_flash sim;
    struct ptl_journal j;
    struct ptl_journal_config cfg;
    uint8_t prog_buf[512];
    uint8_t read_buf[256];
};

// A medium of `blocks` blocks of 2 KiB, not yet mounted.
static inline void rig_init(struct rig *r, uint32_t blocks, uint32_t prog_bytes, bool file)
{
    memset(r, 0, sizeof(*r));
    struct ptl_sim_flash_options options = {.block_bytes = 2048,
                                            .block_count = blocks,
                                            .prog_bytes = prog_bytes,
                                            .file = file,
                                            .seed = 1};
    ptl_sim_flash_init(&r->sim, &options);
    r->cfg = (struct ptl_journal_config){.flash = &r->sim.flash,
                                         .prog_buf = r->prog_buf,
                                         .prog_buf_bytes = prog_bytes < 256 ? 256 : prog_bytes,
                                         .read_buf = r->read_buf,
                                         .read_buf_bytes = sizeof(r->read_buf),
                                         .write_through = file,
                                         .page_cache = file,
                                         .boot = "0b6f-1"};
}

static inline void rig_mount(struct rig *r)
{
    assert_int_equal(ptl_journal_mount(&r->j, &r->cfg), PTL_OK);
}

static inline void rig_new(struct rig *r, uint32_t blocks)
{
    rig_init(r, blocks, 1, false);
    rig_mount(r);
}

// Power goes and comes back, `kind` says what that does; then mounted again.
static inline void rig_power_cycle(struct rig *r, enum ptl_sim_cut kind)
{
    ptl_sim_flash_cut_now(&r->sim, kind);
    ptl_sim_flash_power_on(&r->sim);
    rig_mount(r);
}

static inline void rig_open(struct rig *r, uint64_t epoch, enum ptl_mode mode)
{
    assert_int_equal(ptl_journal_run_open(&r->j, epoch, mode, 40), PTL_OK);
    assert_int_equal(ptl_journal_sync(&r->j), PTL_OK);
}

// What a record of `seq` is: its length and bytes follow from its number.
static inline struct ptl_span rig_record(uint64_t seq, uint32_t len)
{
    static uint8_t bytes[4096];
    for (uint32_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)(seq * 31u + i * 7u);
    }
    return (struct ptl_span){bytes, len};
}

// Appends the next `count` numbers, 100 bytes each.
static inline void rig_append(struct rig *r, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t seq = r->j.run.next;
        assert_int_equal(ptl_journal_append(&r->j, seq, false, rig_record(seq, 100)), PTL_OK);
    }
}

static inline void rig_sync(struct rig *r)
{
    assert_int_equal(ptl_journal_sync(&r->j), PTL_OK);
    assert_false(ptl_journal_is_dirty(&r->j));
}

// Reads from `cursor` and fails unless the next thing is the record `seq` of `epoch`.
static inline void rig_expect(struct rig *r, struct ptl_journal_cursor *cursor, uint64_t epoch,
                              uint64_t seq)
{
    uint8_t buf[4096];
    struct ptl_journal_entry entry;
    assert_int_equal(ptl_journal_read(&r->j, cursor, buf, sizeof(buf), &entry), PTL_OK);
    assert_int_equal(entry.epoch, epoch);
    assert_int_equal(entry.seq, seq);
    assert_memory_equal(entry.record.ptr, rig_record(seq, (uint32_t)entry.record.len).ptr,
                        entry.record.len);
}

static inline void rig_expect_end(struct rig *r, struct ptl_journal_cursor *cursor)
{
    uint8_t buf[4096];
    struct ptl_journal_entry entry;
    assert_int_equal(ptl_journal_read(&r->j, cursor, buf, sizeof(buf), &entry), PTL_E_EMPTY);
}

// Everything held is exactly first..last of `epoch`.
static inline void rig_expect_all(struct rig *r, uint64_t epoch, uint64_t first, uint64_t last)
{
    struct ptl_journal_cursor cursor = {0};
    for (uint64_t seq = first; seq <= last; seq++) {
        rig_expect(r, &cursor, epoch, seq);
    }
    rig_expect_end(r, &cursor);
    assert_int_equal(r->j.held, last - first + 1u);
}

static inline uint8_t *rig_at(struct rig *r, uint32_t generation, uint32_t offset)
{
    uint32_t block = (generation - 1) % r->sim.options.block_count;
    return r->sim.bytes + block * r->sim.options.block_bytes + offset;
}

// Where the payload of record `seq` lies, found by its bytes.
static inline uint8_t *rig_payload(struct rig *r, uint64_t seq)
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

static inline void rig_remount(struct rig *r)
{
    rig_power_cycle(r, PTL_SIM_CUT_DROPPED);
}

#define RUN1 (UINT64_C(1) << PTL_RUN_SHIFT)
#define RUN2 (UINT64_C(2) << PTL_RUN_SHIFT)
