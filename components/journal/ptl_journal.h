
// ptl_journal.h - power-loss-safe ring of records on a ptl_flash. Bytes and validity: FORMAT.md.
//
// Promise   What was appended and then synced survives a power cut at any later instant until it
//           is released or overwritten. What was appended and not synced survives as a prefix,
//           each entry whole or absent; where the medium writes out of order (a file's cache, the
//           units of one page) a record may be lost before one that was kept: then reading says
//           so. A cut may forget a release, never a synced entry.
// Full      The oldest block is given up; its unreleased records become gaps, and the gap is on
//           the medium before what it speaks of goes.
// Memory    *j and the two buffers of the config. No allocation, no clock.
// Threads   One owner. Not from interrupts: a call may erase a block.
// Pending   While a block change waits for the medium, calls that append answer PTL_E_AGAIN and
//           have changed nothing; call again after ptl_journal_media_ready().
// Failure   After PTL_E_IO the journal is `failed`: every call answers PTL_E_IO and the state in
//           RAM (gaps, ends, counters) stays readable; nothing since the last good sync counts as
//           durable. The way on is to open the medium again and mount.
// Status    Calls that append answer, besides what is said at each: PTL_E_AGAIN (block change
//           pending), PTL_E_FULL (a block change would need more gap slots than are free: confirm
//           gaps or release records first), PTL_E_IO. None of them has changed anything.
#pragma once

#include "ptl_base.h"
#include "ptl_flash.h"

#define PTL_JOURNAL_FORMAT 0u

// An erase block takes a header and a state with every slot taken, and then some.
#define PTL_JOURNAL_BLOCK_BYTES_MIN 2048u
#define PTL_JOURNAL_BLOCK_BYTES_MAX (UINT32_C(1) << 20)

// Where accepted records of the running run are; the mark on the medium never claims more.
enum ptl_mode {
    PTL_MODE_RAM,    // some only in RAM
    PTL_MODE_DIRECT, // each appended before it was accepted
    PTL_MODE_SYNC,   // each synced before it was accepted
};

struct ptl_journal_config {
    const struct ptl_flash *flash; // borrowed, outlives the journal
    uint8_t *prog_buf;             // borrowed: one program page, ours alone
    uint32_t prog_buf_bytes;       // multiple of flash->prog_bytes, 64 at least
    uint8_t *read_buf;             // borrowed: for scans
    uint32_t read_buf_bytes;       // 64 at least; 256 or more is faster
    bool write_through; // append programs at once (files: the page cache outlives a crash);
                        // false: when the page is full or at sync (raw flash)
    bool page_cache;    // medium is a file: mount writes the newest block again in place and
                        // syncs it before it shows anything
    char boot[PTL_BOOT_BYTES_MAX + 1]; // id of this OS boot, "" if there is none
};

// What is known of the run that writes, or wrote last.
struct ptl_journal_run {
    uint64_t epoch;
    uint32_t run;             // 0: none yet
    uint64_t first;           // run << 29 of its first number
    uint64_t next;            // lowest seq that no entry or mark on the medium knows of
    uint32_t ram_records_max; // bound of records that lived only in RAM
    uint8_t mode;             // enum ptl_mode, as last marked
    bool open;                // no END written
    char boot[PTL_BOOT_BYTES_MAX + 1];
};

struct ptl_journal_counters {
    uint64_t dropped_lost;      // records of the present run given up by overflow, never sent
    uint64_t dropped_uncertain; // the same, may have been sent
    uint64_t dropped_earlier;   // records of earlier runs given up by overflow
    uint64_t damaged;           // entries found damaged
    uint64_t erases;            // since format, all blocks
    uint64_t bytes_programmed;  // since mount
    uint64_t data_bytes;        // payload bytes of data entries since mount
    uint32_t syncs;             // since mount
};

struct ptl_journal {
    // Readable by the owner; changed only by the calls below.
    struct ptl_journal_config cfg;
    struct ptl_journal_run run;
    struct ptl_gap gaps[PTL_GAPS_MAX]; // unconfirmed
    struct ptl_end ends[PTL_ENDS_MAX]; // unconfirmed, oldest first
    uint8_t gap_count, end_count;
    char device[PTL_DEVICE_BYTES_MAX + 1]; // id stored by ptl_journal_device_set, "" if none
    uint64_t held;                         // data entries not released, all runs
    uint64_t held_run;                     // of these, of the present run
    uint64_t durable_next; // every data entry of the present run below this seq is synced
    bool failed;
    struct ptl_journal_counters counters;
    // Private: see journal_internal.h.
    struct ptl_journal_private {
        uint64_t cursor;                         // everything below is released
        struct ptl_range ranges[PTL_RANGES_MAX]; // released above the cursor, ascending, apart
        uint64_t seq;                            // running number where the entries end
        uint64_t sent_end;                       // below it the present run may have been sent
        uint64_t sync_next;                      // run.next when the sync under way began
        uint32_t generation;                     // of the newest block
        uint32_t tail;                           // where its entries end
        uint32_t programmed;                     // up to here they are on the medium
        uint32_t prev_end;                       // where a block that ended or was sealed ends
        uint32_t count;                          // data entries since format, modulo 2^32
        uint32_t tail_gen;                       // blocks before this one hold nothing
        uint32_t window_block, window_offset, window_len; // what read_buf shows
        struct ptl_jn_around {                            // the block that was walked last
            uint64_t next, epoch; // where the readable block after it begins
            uint32_t generation, after;
            uint32_t base, count; // data entries before this block and before that one
            uint32_t end;
            bool exact;      // entries reach just to `end`
            bool base_known; // its own header is readable
        } around;
        uint8_t range_count;
        uint8_t op;         // what the medium is busy with
        bool change;        // a block change is under way
        bool sealed;        // nothing more goes into the newest block
        bool dirty;         // something is not yet synced
        bool state_dirty;   // gaps or ends differ from what is written
        bool release_dirty; // the released set does
        bool blocked;       // opening a block would need more gap slots than there are
        bool unreadable;    // a unit could not be read since mount
        bool used_behind;   // mount found bytes behind where an append cut short would end
        bool mark_lost;     // mount found valid entries behind a mark that is not
    } p;
};

// Recovers whatever a power cut or a crash left; formats a medium whose blocks were never written
// (all FF or all zero at their start; the first may hold the torn rest of a first format). If the
// last run was not closed, its end (closed or torn) is decided from its mark and written, unless
// that would cost a held record: then the next block header carries it. Damaged records stay held
// until ptl_journal_read() meets them. On a medium with `page_cache` the newest block is written
// again in place. Synchronous: an operation of the flash that answers PTL_E_PENDING is an error
// here, so ports offer blocking operation during mount.
// Cost: about log2(blocks) + 3 header reads and a scan of one block; every header where one of
// them is not what it must be.
//
// PTL_E_FORMAT   the medium holds something else, another geometry or a later format: nothing was
//                written
// PTL_E_INVALID  geometry or buffers break the rules
// PTL_E_IO       the medium failed
// After any of them only `failed` (true) may be looked at; mount again once the cause is mended.
PTL_MUST_USE enum ptl_status ptl_journal_mount(struct ptl_journal *j,
                                               const struct ptl_journal_config *cfg);

// Erases everything (the tool's explicit wish, or a test).
PTL_MUST_USE enum ptl_status ptl_journal_format(const struct ptl_journal_config *cfg);

// Begins a run: appends RUN with the next run counter. Before a number of it is shown to anyone the
// caller must see ptl_journal_sync() succeed. j->run.first is the first seq.
//
// PTL_E_TOO_BIG  all 2^24 run counters are used up: format
PTL_MUST_USE enum ptl_status ptl_journal_run_open(struct ptl_journal *j, uint64_t epoch,
                                                  enum ptl_mode mode, uint32_t ram_records_max);
// Appends MODE if it differs from the mark. `next` = lowest seq not yet allotted.
// Down: before the first record that is accepted under the weaker mode; leaving PTL_MODE_SYNC the
// caller must also see ptl_journal_sync() succeed before that. Up: only once every accepted record
// has been appended (for PTL_MODE_SYNC: synced).
PTL_MUST_USE enum ptl_status ptl_journal_mode_set(struct ptl_journal *j, enum ptl_mode mode,
                                                  uint64_t next);
// Appends END (closed, exact next) and adds it to `ends`; sync afterwards. Only when nothing of the
// run is only in RAM.
PTL_MUST_USE enum ptl_status ptl_journal_run_close(struct ptl_journal *j, uint64_t next);
// Remembers the device id. PTL_E_TOO_BIG: more than PTL_DEVICE_BYTES_MAX.
PTL_MUST_USE enum ptl_status ptl_journal_device_set(struct ptl_journal *j, const char *device);

// Appends one record of the present run; `seq` at or above run.next, holes allowed. `sent`: it was
// in a batch before (decides lost or uncertain if it is ever dropped).
//
// PTL_E_TOO_BIG  never fits a block
PTL_MUST_USE enum ptl_status ptl_journal_append(struct ptl_journal *j, uint64_t seq, bool sent,
                                                struct ptl_span record);
// Largest record that append takes with this geometry.
uint32_t ptl_journal_record_bytes_max(const struct ptl_journal *j);

// Makes everything appended so far durable. PTL_OK at once, or PTL_E_PENDING and then
// ptl_journal_media_ready(). Idempotent while one is pending.
PTL_MUST_USE enum ptl_status ptl_journal_sync(struct ptl_journal *j);
// The flash finished its pending operation with `result`; goes on with a block change. Answers like
// ptl_journal_sync: PTL_OK idle now, PTL_E_PENDING more under way, PTL_E_IO failed.
PTL_MUST_USE enum ptl_status ptl_journal_media_ready(struct ptl_journal *j, enum ptl_status result);
bool ptl_journal_is_pending(const struct ptl_journal *j);
bool ptl_journal_is_dirty(const struct ptl_journal *j); // something appended is not yet synced

// A reader of data entries, oldest first, released ones skipped. All zero = the oldest. Survives
// appends, releases and overflow (then it goes on at the oldest surviving entry).
struct ptl_journal_cursor {
    uint32_t generation; // of the block it stands in, 0 = start
    uint32_t offset;
    uint32_t seen;  // data entries of that block before it
    uint64_t seq;   // expected seq there
    uint64_t epoch; // of the run it stands in
    char boot[PTL_BOOT_BYTES_MAX + 1];
};
struct ptl_journal_entry {
    uint64_t epoch;
    uint64_t seq;
    bool sent;
    struct ptl_span record;            // in the caller's buffer
    char boot[PTL_BOOT_BYTES_MAX + 1]; // OS boot of that run
    struct ptl_range damaged;          // with PTL_E_FORMAT: seqs that cannot be read
    uint32_t damaged_count;            // how many of them were data entries held here, for gap_add
};
// Reads the next unreleased entry at or after the cursor and moves past it.
//
// PTL_E_EMPTY    none
// PTL_E_TOO_BIG  buf is too small; the cursor has not moved, entry->record.len says what it takes
// PTL_E_FORMAT   entry->damaged of entry->epoch is unreadable and the cursor has moved past it: the
//                caller declares the gap (ptl_journal_gap_add with entry->damaged_count) and reads
//                on. Where a whole block is bad, numbers that were never here are named with it
// PTL_E_AGAIN    the medium is busy erasing
// PTL_E_IO       the medium failed
PTL_MUST_USE enum ptl_status ptl_journal_read(struct ptl_journal *j,
                                              struct ptl_journal_cursor *cursor, uint8_t *buf,
                                              size_t cap, struct ptl_journal_entry *entry);

// Gives up [range.begin, range.end): each a held data entry, or given up already. Takes effect in
// RAM at once; the medium learns of it with ptl_journal_release_write() or the next header (may
// lag: a duplicate after a crash, never a loss).
//
// PTL_E_FULL     more than PTL_RANGES_MAX separate ranges: nothing was changed, release lower ones
//                first
PTL_MUST_USE enum ptl_status ptl_journal_release(struct ptl_journal *j, struct ptl_range range);
// Nothing below `seq` is held any more (the caller has read and released up to there): moves the
// cursor over holes. Asserts nothing about entries; held is not changed.
void ptl_journal_release_below(struct ptl_journal *j, uint64_t seq);
// Appends what changed of releases, gaps and ends; PTL_OK without writing where that would drop
// data (then the next header carries it).
PTL_MUST_USE enum ptl_status ptl_journal_release_write(struct ptl_journal *j);
// Records of the present run below `seq_end` may have been sent in replay (for the kind of a gap).
void ptl_journal_mark_sent(struct ptl_journal *j, uint64_t seq_end);

// Declares a gap and releases its seqs, in one entry. Touching gaps of one epoch, reason and kind
// merge. `held_count` of the records in it were held here (0 for records that lived in RAM).
//
// PTL_E_FULL     also: all gap slots are taken, or all range slots
// PTL_E_AGAIN    also: a block change on the way gave up some of these held records, which have
//                their overflow gap now: look again at what is held, then decide
PTL_MUST_USE enum ptl_status ptl_journal_gap_add(struct ptl_journal *j, const struct ptl_gap *gap,
                                                 uint32_t held_count);
// Forgets the part of gaps of `epoch` that lies within `covered` (a receipt or an acknowledged
// batch covers it). Takes effect in RAM at once; written with the next release snapshot.
void ptl_journal_gap_confirm(struct ptl_journal *j, uint64_t epoch, struct ptl_range covered);
// Forgets the end of `epoch` if it is the very one; written likewise.
void ptl_journal_end_confirm(struct ptl_journal *j, const struct ptl_end *end);
