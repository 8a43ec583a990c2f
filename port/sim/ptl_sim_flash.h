// ptl_sim_flash.h - a medium that can lose power at any operation: raw NOR flash, or a file behind
// a page cache. Everything follows from the options and one seed.
//
// NOR    program only clears bits, once per unit and erase (a second time is a broken invariant of
//        the caller and ends in PTL_ASSERT); erase sets a block to 0xFF; sync has nothing to do.
// File   programs and erases land in a cache of 512-byte sectors, in any order on the medium; sync
//        is the barrier. The same bytes may be written again in place.
//
// Operations (program, erase, sync) are counted; the one armed by ptl_sim_flash_arm() meets the
// cut: it happens as the kind says and answers PTL_E_IO, as does every call from then on, until
// ptl_sim_flash_power_on(). Reads are counted apart and never cut.
#pragma once

#include "ptl_bytes.h"
#include "ptl_flash.h"

#define PTL_SIM_SECTOR_BYTES 512u
#define PTL_SIM_NEVER        UINT32_MAX

enum ptl_sim_cut {
    // Raw NOR: what becomes of the operation under way.
    PTL_SIM_CUT_DROPPED,    // nothing of it happens
    PTL_SIM_CUT_DONE,       // all of it happens, unheard
    PTL_SIM_CUT_HALF,       // units up to the middle
    PTL_SIM_CUT_REAR,       // units from the middle on
    PTL_SIM_CUT_GARBLED,    // each bit or not
    PTL_SIM_CUT_UNREADABLE, // half, and the unit in the middle cannot be read until it is erased
    PTL_SIM_CUT_WEAK,       // units read blank and take no program properly until they are erased
    PTL_SIM_CUTS_NOR,
    // File: what becomes of the operation and of everything since the last sync.
    PTL_SIM_CUT_KILLED = PTL_SIM_CUTS_NOR, // the process died: the cache is kept
    PTL_SIM_CUT_LOST,                      // nothing since the last sync is on the medium
    PTL_SIM_CUT_SHUFFLED,                  // each sector or not
    PTL_SIM_CUT_TORN,                      // likewise, and sectors may hold half of the new bytes
    PTL_SIM_CUTS,
};

struct ptl_sim_flash_options {
    uint32_t block_bytes;
    uint32_t block_count;
    uint32_t prog_bytes;
    bool file;  // a file behind a page cache, not NOR
    bool async; // sync and erase answer PTL_E_PENDING; see ptl_sim_flash_complete()
    uint64_t seed;
};

struct ptl_sim_flash_counts {
    uint32_t ops; // since power on
    uint32_t progs, erases, syncs, reads;
    uint64_t bytes_programmed;
};

struct ptl_sim_flash {
    struct ptl_flash flash; // give this to the journal
    struct ptl_sim_flash_options options;
    struct ptl_sim_flash_counts counts;
    uint8_t *bytes;       // as a reader sees them
    uint8_t *medium;      // file: what a power cut leaves
    uint8_t *unit_state;  // NOR: per unit
    bool *sector_dirty;   // file
    uint32_t *block_wear; // erases of each block
    struct ptl_prng prng;
    uint32_t cut_op; // counted from the last power on
    enum ptl_sim_cut cut_kind;
    uint32_t fail_sync; // this many syncs from now (0: the next) one fails and drops what it held
    bool off;
    bool cut;        // the armed cut has come
    uint8_t pending; // 0 none, 1 sync, 2 erase
    uint32_t pending_block;
    bool dead; // every call fails, power or not (a card that was pulled)
};

// Memory comes from the heap; blank (0xFF) to begin with. Aborts where there is none.
void ptl_sim_flash_init(struct ptl_sim_flash *f, const struct ptl_sim_flash_options *options);
void ptl_sim_flash_free(struct ptl_sim_flash *f);

// Cuts at the op-th operation from now on (0: the next one); PTL_SIM_NEVER: no cut.
void ptl_sim_flash_arm(struct ptl_sim_flash *f, uint32_t op, enum ptl_sim_cut kind);
// Power goes now, between operations; `kind` as above.
void ptl_sim_flash_cut_now(struct ptl_sim_flash *f, enum ptl_sim_cut kind);
bool ptl_sim_flash_was_cut(const struct ptl_sim_flash *f);
// Power comes back, nothing is armed, counting starts again.
void ptl_sim_flash_power_on(struct ptl_sim_flash *f);

bool ptl_sim_flash_is_pending(const struct ptl_sim_flash *f);
// Carries out the pending operation; the result belongs into ptl_journal_media_ready().
enum ptl_status ptl_sim_flash_complete(struct ptl_sim_flash *f);
