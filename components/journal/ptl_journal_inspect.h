// ptl_journal_inspect.h - looks at a journal without writing a byte: for `petrel journal`, and for
// ports that must know the geometry of what they find.
//
// Memory   the caller's struct ptl_journal and the buffers of its config. Threads: one owner.
#pragma once

#include "ptl_journal.h"

// Takes block_bytes, block_count and prog_bytes from a block header at the start of `bytes` (a
// whole one: PTL_JOURNAL_BLOCK_BYTES_MIN bytes are enough). The other fields are left alone.
// PTL_E_FORMAT  there is no valid header
PTL_MUST_USE enum ptl_status ptl_journal_geometry(struct ptl_span bytes, struct ptl_flash *flash);

struct ptl_journal_block_info {
    uint32_t block;
    uint32_t generation;
    bool readable;    // its header is valid; otherwise only the two fields above count
    uint32_t start;   // offset of the first entry
    uint32_t end;     // where the entries end
    uint32_t data;    // data entries that can be read
    uint32_t held;    // of these, not released
    uint32_t damaged; // data entries that cannot be read, as far as it shows inside this block
    bool cut_short; // the walk ended before `end`: the rest is damage, or in the newest block torn
    struct ptl_journal_run run; // as the header knew it
};

enum ptl_journal_entry_type {
    PTL_JOURNAL_DATA,
    PTL_JOURNAL_RELEASE,
    PTL_JOURNAL_STATE, // run, mode, end, gaps or device changed
    PTL_JOURNAL_DAMAGED,
};

struct ptl_journal_entry_info {
    uint32_t generation;
    uint32_t offset; // of the payload
    uint32_t len;
    enum ptl_journal_entry_type type;
    uint64_t epoch; // of the run it stands in
    uint64_t seq;   // the running number there
    bool sent;
    bool released;
};

struct ptl_journal_visitor {
    void *ctx;
    // Each surviving block, oldest first, before its entries (then data, held, damaged, end and
    // cut_short are still zero) and after them. May be NULL.
    void (*block_begin)(void *ctx, const struct ptl_journal_block_info *info);
    void (*block_end)(void *ctx, const struct ptl_journal_block_info *info);
    void (*entry)(void *ctx, const struct ptl_journal_entry_info *info); // may be NULL
};

// Loads what a mount would find into *j (run, gaps, ends, held, counters, device; the last run's
// end is not decided) and shows every surviving block. Afterwards ptl_journal_read() works on *j;
// nothing that appends, syncs or releases may be called.
// PTL_E_EMPTY    blank, nothing was ever written       PTL_E_FORMAT  something else
// PTL_E_INVALID  geometry or buffers break the rules   PTL_E_IO      it cannot be read
PTL_MUST_USE enum ptl_status ptl_journal_inspect(struct ptl_journal *j,
                                                 const struct ptl_journal_config *cfg,
                                                 const struct ptl_journal_visitor *visitor);
