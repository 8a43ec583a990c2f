// ring.c - how one block follows another. A block change is four steps, two of which may wait for
// the medium:
//
//   give up   what the oldest block still holds becomes gaps (in RAM; the new header writes them)
//   sync      the block that ends
//   erase     the block given up one change earlier, whose loss the ending block's header declares
//   header    of the new block, with the whole state
//
//      g-2       g-1        g        (g+1)
//   | oldest |  older  | newest |   spare   |     the spare's gaps are in the header of g
//   | spare  |  older  |  older |   newest  |     one change later
#include "journal_internal.h"

static uint32_t next_victim(const struct ptl_journal *j)
{
    uint32_t count = j->cfg.flash->block_count;
    uint32_t next = j->p.generation + 1u;
    return next >= count && next - count + 1u >= j->p.tail_gen ? next - count + 1u : 0;
}

// Whether opening a block would give up something unreleased.
bool ptl_jn_opening_costs(struct ptl_journal *j)
{
    struct ptl_journal_cursor c = {0};
    struct ptl_jn_item item = {.type = PTL_JN_PAD};
    uint32_t victim = next_victim(j);
    if (victim == 0) {
        return false;
    }
    ptl_jn_enter(j, &c, victim);
    if (c.offset != PTL_JN_LOST && j->p.cursor <= c.seq && j->p.range_count == 0) {
        ptl_jn_look_around(j, victim); // all of it lies above what is released: no need to walk
        return j->p.around.count != j->p.around.base;
    }
    return ptl_jn_next(j, &c, victim, &item) != PTL_E_EMPTY;
}

// A contiguous piece of one epoch, reason and kind that is being given up.
struct piece {
    struct ptl_gap gap;
    uint32_t count; // entries held in it; 0: none yet
};

static struct piece piece_of(const struct ptl_journal *j, enum ptl_status status,
                             const struct ptl_jn_item *item, uint64_t epoch)
{
    struct piece piece = {.gap = {.epoch = epoch, .reason = PTL_GAP_OVERFLOW}, .count = 1};
    piece.gap.first = item->seq;
    piece.gap.last = item->seq;
    if (status == PTL_E_FORMAT) {
        piece.gap = (struct ptl_gap){.epoch = item->epoch,
                                     .first = item->damaged.begin,
                                     .last = item->damaged.end - 1u,
                                     .reason = PTL_GAP_DAMAGED};
        piece.count = item->damaged_count;
    }
    bool mine = j->run.open && piece.gap.first >= j->run.first;
    bool sent =
        status == PTL_E_FORMAT || item->type == PTL_JN_DATA_SENT || piece.gap.first < j->p.sent_end;
    piece.gap.kind = mine && !sent ? PTL_LOST : PTL_UNCERTAIN;
    return piece;
}

// Declares one piece in RAM.
static void piece_drop(struct ptl_journal *j, const struct piece *piece)
{
    ptl_jn_gap_put(j, piece->gap);
    ptl_jn_unhold(j, piece->gap.first, piece->count);
    if (piece->gap.reason == PTL_GAP_DAMAGED) {
        j->counters.damaged += piece->count;
    }
    if (!j->run.open || piece->gap.first < j->run.first) {
        j->counters.dropped_earlier += piece->count;
    } else if (piece->gap.kind == PTL_LOST) {
        j->counters.dropped_lost += piece->count;
    } else {
        j->counters.dropped_uncertain += piece->count;
    }
}

// One pass over the block that goes: counts the gap slots it needs, or with `drop` declares.
static uint32_t give_up_pass(struct ptl_journal *j, uint32_t victim, bool drop)
{
    struct ptl_journal_cursor c = {0};
    struct ptl_jn_item item = {.type = PTL_JN_PAD};
    struct piece piece = {.count = 0};
    uint32_t slots = 0;
    ptl_jn_enter(j, &c, victim);
    for (;;) {
        enum ptl_status status = ptl_jn_next(j, &c, victim, &item);
        struct piece more = {.count = 0};
        if (status == PTL_OK || status == PTL_E_FORMAT) {
            more = piece_of(j, status, &item, c.epoch);
            if (piece.count > 0 && more.gap.epoch == piece.gap.epoch &&
                more.gap.reason == piece.gap.reason && more.gap.kind == piece.gap.kind &&
                more.gap.first == piece.gap.last + 1u) {
                piece.gap.last = more.gap.last;
                piece.count += more.count;
                continue;
            }
        }
        if (piece.count > 0) {
            bool fits = ptl_jn_gap_fits(j, &piece.gap);
            if (drop && !fits) { // the medium reads differently now: stop before this piece
                ptl_jn_cursor_to(j, piece.gap.first);
                return UINT32_MAX;
            }
            if (drop) {
                piece_drop(j, &piece);
            } else if (!fits || j->gap_count < PTL_GAPS_MAX) {
                slots++;
            }
        }
        if (more.count == 0) {
            return slots;
        }
        piece = more;
    }
}

// The oldest block's unreleased records become gaps, all of them or none.
static enum ptl_status give_up(struct ptl_journal *j)
{
    uint32_t victim = next_victim(j);
    if (victim == 0) {
        return ptl_jn_result(j);
    }
    uint32_t slots = give_up_pass(j, victim, false);
    if (j->failed) {
        return PTL_E_IO;
    }
    if (slots > PTL_GAPS_MAX - (uint32_t)j->gap_count ||
        give_up_pass(j, victim, true) == UINT32_MAX) {
        j->p.blocked = true;
        return PTL_E_FULL;
    }
    // The pass left `around` at the block that goes; the next one begins where nothing is held.
    if (j->p.around.generation == victim) {
        ptl_jn_cursor_to(j, j->p.around.next);
    }
    j->p.tail_gen = victim + 1u;
    return ptl_jn_result(j);
}

static enum ptl_status start_sync(struct ptl_journal *j)
{
    const struct ptl_flash *flash = j->cfg.flash;
    ptl_jn_flush(j);
    if (j->failed || !j->p.dirty) {
        return ptl_jn_result(j);
    }
    j->p.dirty = false;
    j->p.sync_next = j->run.next;
    enum ptl_status status = flash->sync(flash->ctx);
    if (status == PTL_E_PENDING) {
        j->p.op = PTL_JN_OP_SYNC;
        return PTL_E_PENDING;
    }
    if (status != PTL_OK) {
        j->failed = true;
        return PTL_E_IO;
    }
    j->durable_next = j->p.sync_next;
    j->counters.syncs++;
    return PTL_OK;
}

static enum ptl_status finish_change(struct ptl_journal *j)
{
    j->p.generation++;
    j->p.window_len = 0;
    j->p.around.generation = 0;
    j->p.tail = 0;
    j->p.programmed = 0;
    j->p.sealed = false;
    j->p.change = false;
    ptl_jn_write_header(j);
    return ptl_jn_result(j);
}

// Goes on with a block change; nothing is pending.
static enum ptl_status go_on(struct ptl_journal *j)
{
    const struct ptl_flash *flash = j->cfg.flash;
    enum ptl_status status = start_sync(j);
    if (status != PTL_OK) {
        return status;
    }
    if (!j->p.sealed) {
        j->p.prev_end = j->p.tail;
    }
    j->p.window_len = 0; // it may show the block that goes
    status = flash->erase(flash->ctx, ptl_jn_block(j, j->p.generation + 1u));
    j->counters.erases++;
    if (status == PTL_E_PENDING) {
        j->p.op = PTL_JN_OP_ERASE;
        return PTL_E_PENDING;
    }
    if (status != PTL_OK) {
        j->failed = true;
        return PTL_E_IO;
    }
    return finish_change(j);
}

// PTL_OK: a fresh block is open. PTL_E_PENDING, PTL_E_FULL, PTL_E_IO.
enum ptl_status ptl_jn_open_block(struct ptl_journal *j)
{
    PTL_ASSERT(!j->p.change);
    if (j->p.generation == UINT32_MAX) {
        j->failed = true; // four thousand million erases: no medium lives that long
    }
    if (j->p.generation != 0) {
        enum ptl_status status = give_up(j);
        if (status != PTL_OK) {
            return status;
        }
    }
    j->p.change = true;
    return j->p.op != PTL_JN_OP_NONE ? PTL_E_PENDING : go_on(j);
}

// Sees to it that `bytes` of entries fit into the newest block.
enum ptl_status ptl_jn_room(struct ptl_journal *j, uint32_t bytes)
{
    if (j->failed) {
        return PTL_E_IO;
    }
    if (j->p.change) {
        return PTL_E_AGAIN;
    }
    if (!j->p.sealed && bytes <= j->cfg.flash->block_bytes - j->p.tail) {
        return PTL_OK;
    }
    if (j->p.blocked) {
        return PTL_E_FULL;
    }
    enum ptl_status status = ptl_jn_open_block(j);
    return status == PTL_E_PENDING ? PTL_E_AGAIN : status;
}

enum ptl_status ptl_journal_sync(struct ptl_journal *j)
{
    if (j->failed) {
        return PTL_E_IO;
    }
    return ptl_journal_is_pending(j) ? PTL_E_PENDING : start_sync(j);
}

enum ptl_status ptl_journal_media_ready(struct ptl_journal *j, enum ptl_status result)
{
    uint8_t op = j->p.op;
    PTL_ASSERT(op != PTL_JN_OP_NONE);
    j->p.op = PTL_JN_OP_NONE;
    if (result != PTL_OK) {
        j->failed = true;
    }
    if (j->failed) {
        return PTL_E_IO;
    }
    if (op == PTL_JN_OP_ERASE) {
        return finish_change(j);
    }
    j->durable_next = j->p.sync_next;
    j->counters.syncs++;
    return j->p.change ? go_on(j) : PTL_OK;
}

bool ptl_journal_is_pending(const struct ptl_journal *j)
{
    return j->p.op != PTL_JN_OP_NONE;
}

bool ptl_journal_is_dirty(const struct ptl_journal *j)
{
    return j->p.dirty || j->p.op == PTL_JN_OP_SYNC;
}
