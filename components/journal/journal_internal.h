// journal_internal.h - inside components/journal only: how its files see each other.
//
//   media.c    bytes: page buffer on the way out, window on the way in, checksums
//   state.c    the state as bytes: block headers, STATE and RELEASE entries
//   walk.c     from entry to entry and from block to block, damage included
//   ring.c     block change: give up the oldest, sync, erase, header; sync and its completion
//   marks.c    released ranges, gaps and ends in RAM
//   journal.c  the calls that append, release and read
//   mount.c    the newest block, its tail, the end of the last run
//   inspect.c  the same without a write, for tools and ports; not linked where nobody asks
#pragma once

#include <string.h>

#include "ptl_bytes.h"
#include "ptl_journal.h"

// Types of entries: high nibble of the first byte. 0xF never, so one byte tells blank from entry.
enum {
    PTL_JN_PAD = 0, // one byte 0x00, no length, no checksum
    PTL_JN_DATA = 1,
    PTL_JN_DATA_SENT = 2, // was in a batch before it came here
    PTL_JN_SKIP = 3,
    PTL_JN_RELEASE = 4,
    PTL_JN_STATE = 5,
};

#define PTL_JN_MAGIC        UINT32_C(0x4a4c5450) // "PTLJ"
#define PTL_JN_HEAD_FIXED   12u                  // magic, format, log2 of G, length, generation
#define PTL_JN_ENTRY_HEAD   7u                   // type, length, checksum
#define PTL_JN_STATE_MAX    776u                 // bytes of a state with every slot taken
#define PTL_JN_HEADER_MAX   (PTL_JN_HEAD_FIXED + 25u + PTL_JN_STATE_MAX + 4u)
#define PTL_JN_STATE_GROWTH 80u // one more gap, end and two more ranges
#define PTL_JN_UNREADABLE   0xFE
#define PTL_JN_LOST         UINT32_MAX // offset of a cursor: the rest of its block cannot be read

enum ptl_jn_op {
    PTL_JN_OP_NONE,
    PTL_JN_OP_SYNC,
    PTL_JN_OP_ERASE,
};

// What a block header says, besides the state.
struct ptl_jn_head {
    uint32_t start;    // offset of the first entry
    uint32_t prev_end; // where the entries of the block before end
    uint32_t count;    // data entries before this block, since format
    uint32_t tail_gen; // every block before this one was released whole
    struct ptl_journal_run run;
};

// Writes state bytes, or only counts and sums them.
struct ptl_jn_out {
    struct ptl_journal *j;
    uint32_t crc;
    uint32_t len;
    bool write;
};

// Reads state bytes of one block; `bad` once anything was out of bounds.
struct ptl_jn_in {
    struct ptl_journal *j;
    uint32_t block;
    uint32_t offset;
    uint32_t end;
    bool bad;
};

struct ptl_jn_item {
    uint8_t type;
    uint32_t offset; // of the payload
    uint32_t len;
    uint64_t seq;
    struct ptl_range damaged; // with PTL_E_FORMAT
    uint64_t epoch;           // of the damaged range
    uint32_t damaged_count;
};

// media.c
static inline uint32_t ptl_jn_round_up(uint32_t value, uint32_t unit)
{
    uint32_t over = value & (unit - 1u);
    return over == 0 ? value : value + (unit - over);
}
uint32_t ptl_jn_block(const struct ptl_journal *j, uint32_t generation);
const uint8_t *ptl_jn_view(struct ptl_journal *j, uint32_t block, uint32_t offset, uint32_t *len);
uint8_t ptl_jn_byte(struct ptl_journal *j, uint32_t block, uint32_t offset);
void ptl_jn_copy(struct ptl_journal *j, uint32_t block, uint32_t offset, uint8_t *to, uint32_t len);
uint32_t ptl_jn_crc(struct ptl_journal *j, uint32_t crc, uint32_t block, uint32_t offset,
                    uint32_t len);
bool ptl_jn_is_filled(struct ptl_journal *j, uint32_t block, uint32_t offset, uint32_t end,
                      uint8_t with);
uint32_t ptl_jn_seed(uint32_t generation, uint64_t seq);
void ptl_jn_put(struct ptl_journal *j, const void *bytes, uint32_t len);
void ptl_jn_flush(struct ptl_journal *j);
enum ptl_status ptl_jn_result(const struct ptl_journal *j);

// state.c
void ptl_jn_out_varint(struct ptl_jn_out *o, uint64_t value);
uint64_t ptl_jn_in_varint(struct ptl_jn_in *in);
uint32_t ptl_jn_state_bytes(struct ptl_journal *j);
uint32_t ptl_jn_release_bytes(struct ptl_journal *j);
void ptl_jn_write_skip(struct ptl_journal *j);
void ptl_jn_write_data(struct ptl_journal *j, bool sent, struct ptl_span record);
void ptl_jn_write_state(struct ptl_journal *j);
void ptl_jn_write_release(struct ptl_journal *j);
void ptl_jn_write_header(struct ptl_journal *j);
bool ptl_jn_head_sound(struct ptl_journal *j, uint32_t block, uint8_t fixed[PTL_JN_HEAD_FIXED],
                       uint32_t *len);
bool ptl_jn_read_head(struct ptl_journal *j, uint32_t generation, struct ptl_jn_head *head,
                      bool apply);
bool ptl_jn_read_run(struct ptl_jn_in *in, struct ptl_journal_run *run);
bool ptl_jn_apply_state(struct ptl_journal *j, struct ptl_jn_in *in, bool whole, uint64_t next);

// walk.c
enum ptl_jn_step {
    PTL_JN_STEP_ENTRY,
    PTL_JN_STEP_DAMAGE, // one data entry, item->seq; the walk goes on behind it
    PTL_JN_STEP_END,
    PTL_JN_STEP_BAD, // nothing valid from here on
};
enum ptl_jn_step ptl_jn_walk(struct ptl_journal *j, struct ptl_journal_cursor *c, uint32_t end,
                             bool exact, struct ptl_jn_item *item);
bool ptl_jn_entry_valid(struct ptl_journal *j, uint32_t generation, uint32_t offset, uint32_t end,
                        uint64_t seq, struct ptl_jn_item *item);
uint32_t ptl_jn_oldest(const struct ptl_journal *j);
void ptl_jn_enter(struct ptl_journal *j, struct ptl_journal_cursor *c, uint32_t generation);
void ptl_jn_look_around(struct ptl_journal *j, uint32_t generation);
enum ptl_status ptl_jn_next(struct ptl_journal *j, struct ptl_journal_cursor *c, uint32_t last,
                            struct ptl_jn_item *item);

// ring.c
enum ptl_status ptl_jn_room(struct ptl_journal *j, uint32_t bytes);
bool ptl_jn_opening_costs(struct ptl_journal *j);
enum ptl_status ptl_jn_open_block(struct ptl_journal *j);

// mount.c
enum ptl_status ptl_jn_find(struct ptl_journal *j, const struct ptl_journal_config *cfg,
                            bool *blank);

// marks.c
uint64_t ptl_jn_unreleased(const struct ptl_journal *j, uint64_t seq, uint64_t *until);
enum ptl_status ptl_jn_release_range(struct ptl_journal *j, struct ptl_range range,
                                     uint64_t *count);
void ptl_jn_cursor_to(struct ptl_journal *j, uint64_t seq);
bool ptl_jn_gap_fits(const struct ptl_journal *j, const struct ptl_gap *gap);
void ptl_jn_gap_put(struct ptl_journal *j, struct ptl_gap gap);
void ptl_jn_gaps_cut(struct ptl_journal *j, uint64_t epoch, uint64_t next, uint32_t *named);
void ptl_jn_end_put(struct ptl_journal *j, const struct ptl_end *end);
void ptl_jn_unhold(struct ptl_journal *j, uint64_t seq, uint64_t count);
