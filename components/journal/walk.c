// walk.c - from entry to entry inside a block, and from block to block, over damage.
//
// Sequence numbers are not stored: the walk counts them, and every checksum depends on the count,
// so a walk that lost its way finds nothing valid. What cannot be read is told by the counts in the
// headers (how many data entries lie before this block), never by differences of numbers, since
// holes in the numbers are normal.
#include "journal_internal.h"

// First byte that is neither pad nor the filler up to a unit boundary.
static uint32_t skip_filler(struct ptl_journal *j, uint32_t block, uint32_t offset, uint32_t end)
{
    while (offset < end) {
        uint8_t byte = ptl_jn_byte(j, block, offset);
        if (byte == 0x00) {
            offset++;
            continue;
        }
        uint32_t up = ptl_jn_round_up(offset, j->cfg.flash->prog_bytes);
        if (byte != 0xFF || up == offset) {
            break;
        }
        offset = up;
    }
    return offset < end ? offset : end;
}

static bool is_data(const struct ptl_jn_item *item)
{
    return item->type == PTL_JN_DATA || item->type == PTL_JN_DATA_SENT;
}

// Fills *item from the entry's head, valid or not. item->type is PTL_JN_PAD where there can be
// none.
bool ptl_jn_entry_valid(struct ptl_journal *j, uint32_t generation, uint32_t offset, uint32_t end,
                        uint64_t seq, struct ptl_jn_item *item)
{
    uint32_t block = ptl_jn_block(j, generation);
    uint8_t head[PTL_JN_ENTRY_HEAD];
    item->type = PTL_JN_PAD;
    item->offset = end;
    item->len = 0;
    if (offset >= end || end - offset < sizeof(head)) {
        return false;
    }
    ptl_jn_copy(j, block, offset, head, sizeof(head));
    item->offset = offset + PTL_JN_ENTRY_HEAD;
    item->len = ptl_load_u16(head + 1);
    item->seq = seq;
    if ((head[0] & 0x0F) != 0 || head[0] >> 4 > PTL_JN_STATE || item->len > end - item->offset) {
        return false;
    }
    item->type = head[0] >> 4;
    uint32_t crc = ptl_jn_seed(generation, seq);
    crc = ptl_crc32c(ptl_jn_crc(j, crc, block, item->offset, item->len), head, 3);
    return crc == ptl_load_u32(head + 3);
}

// What a valid entry does to the running number and run. false: its payload makes no sense.
static bool pass_entry(struct ptl_journal *j, struct ptl_journal_cursor *c,
                       const struct ptl_jn_item *item)
{
    struct ptl_jn_in in = {.j = j,
                           .block = ptl_jn_block(j, c->generation),
                           .offset = item->offset,
                           .end = item->offset + item->len};
    if (is_data(item)) {
        c->seq++;
        c->seen++;
    } else if (item->type == PTL_JN_SKIP) {
        uint64_t skip = ptl_jn_in_varint(&in);
        if (in.bad || skip > PTL_SEQ_MAX - c->seq) {
            return false;
        }
        c->seq += skip;
    } else if (item->type == PTL_JN_STATE) {
        struct ptl_journal_run run;
        if (!ptl_jn_read_run(&in, &run) || run.next < c->seq) {
            return false;
        }
        c->seq = run.next;
        c->epoch = run.epoch;
        memcpy(c->boot, run.boot, sizeof(c->boot));
    }
    c->offset = in.end;
    return c->seq <= PTL_SEQ_MAX + 1;
}

// The next entry at the cursor, within `end`. `exact`: entries are known to reach just to `end`, so
// one damaged entry before it is only that; otherwise a bad last entry is a torn append. With
// PTL_JN_STEP_BAD item->type is PTL_JN_STATE if valid entries follow a mark that is lost.
enum ptl_jn_step ptl_jn_walk(struct ptl_journal *j, struct ptl_journal_cursor *c, uint32_t end,
                             bool exact, struct ptl_jn_item *item)
{
    uint32_t block = ptl_jn_block(j, c->generation);
    for (;;) { // the offset grows in every round
        c->offset = skip_filler(j, block, c->offset, end);
        if (c->offset == end || ptl_jn_byte(j, block, c->offset) == 0xFF) {
            return PTL_JN_STEP_END;
        }
        if (ptl_jn_entry_valid(j, c->generation, c->offset, end, c->seq, item)) {
            if (!pass_entry(j, c, item)) {
                return PTL_JN_STEP_BAD;
            }
            if (item->type == PTL_JN_SKIP) {
                continue;
            }
            return PTL_JN_STEP_ENTRY;
        }
        if (item->type == PTL_JN_PAD) {
            return PTL_JN_STEP_BAD;
        }
        // Perhaps only this one is bad: then a valid one follows where it says it ends.
        struct ptl_jn_item after;
        uint32_t data = is_data(item) ? 1 : 0;
        uint32_t next = skip_filler(j, block, item->offset + item->len, end);
        if (!(exact && next == end) &&
            !ptl_jn_entry_valid(j, c->generation, next, end, c->seq + data, &after)) {
            item->type = PTL_JN_PAD;
            return PTL_JN_STEP_BAD;
        }
        if (item->type == PTL_JN_STATE && !exact) {
            // What follows may rest on this mark: a verdict that is gone, its release that is not.
            // (In an older block the next header has restated it.)
            return PTL_JN_STEP_BAD;
        }
        c->offset = next;
        if (data != 0) {
            c->seq++;
            c->seen++;
            return PTL_JN_STEP_DAMAGE;
        }
    }
}

uint32_t ptl_jn_oldest(const struct ptl_journal *j)
{
    uint32_t count = j->cfg.flash->block_count;
    uint32_t oldest = j->p.generation >= count ? j->p.generation - count + 2u : 1;
    return oldest > j->p.tail_gen ? oldest : j->p.tail_gen;
}

// Puts the cursor before the first entry of a block; where its header is bad, into the damage.
void ptl_jn_enter(struct ptl_journal *j, struct ptl_journal_cursor *c, uint32_t generation)
{
    struct ptl_jn_head head;
    c->generation = generation;
    c->seen = 0;
    if (!ptl_jn_read_head(j, generation, &head, false)) {
        c->offset = PTL_JN_LOST;
        c->seq = c->seq > j->p.cursor ? c->seq : j->p.cursor;
        return;
    }
    c->offset = head.start;
    c->seq = head.run.next;
    c->epoch = head.run.epoch;
    memcpy(c->boot, head.run.boot, sizeof(c->boot));
}

// What is known of the block the cursor stands in: where it ends and who comes after it.
void ptl_jn_look_around(struct ptl_journal *j, uint32_t generation)
{
    struct ptl_jn_around *a = &j->p.around;
    struct ptl_jn_head head;
    if (a->generation != generation) {
        a->generation = generation;
        a->base_known = ptl_jn_read_head(j, generation, &head, false);
        a->base = head.count;
        a->end = j->cfg.flash->block_bytes;
        a->exact = false;
        for (a->after = generation + 1u; a->after < j->p.generation; a->after++) {
            if (ptl_jn_read_head(j, a->after, &head, false)) {
                break;
            }
        }
        if (a->after <= j->p.generation && ptl_jn_read_head(j, a->after, &head, false)) {
            a->exact = a->after == generation + 1u;
            a->end = a->exact ? head.prev_end : a->end;
            a->count = head.count;
            a->next = head.run.next;
            a->epoch = head.run.epoch;
        }
    }
    if (a->after > j->p.generation) { // the newest block: it grows
        a->end = j->p.tail;
        a->exact = true;
        a->count = j->p.count;
        a->next = j->run.next;
        a->epoch = j->run.epoch;
    }
    if (!a->base_known) {
        a->base = a->count - (j->held < UINT32_MAX ? (uint32_t)j->held : UINT32_MAX);
    }
}

// One piece of what the rest of the block held: which numbers those were is known from the ends of
// runs and from where the next readable block begins. PTL_E_EMPTY: all of it was said.
static enum ptl_status damage_piece(struct ptl_journal *j, struct ptl_journal_cursor *c,
                                    struct ptl_jn_item *item)
{
    const struct ptl_jn_around *a = &j->p.around;
    uint32_t missing = a->count - a->base - c->seen;
    while (c->seq < a->next && missing > 0 && missing <= UINT32_MAX / 2u) {
        uint64_t hi = a->next;
        uint64_t epoch = a->epoch;
        for (uint32_t i = 0; i < j->end_count; i++) {
            if (j->ends[i].next > c->seq && j->ends[i].next <= hi) {
                hi = j->ends[i].next;
                epoch = j->ends[i].epoch;
            }
        }
        uint64_t lo = (hi - 1u) >> PTL_RUN_SHIFT << PTL_RUN_SHIFT; // first of that run
        uint64_t until = 0;
        lo = ptl_jn_unreleased(j, lo > c->seq ? lo : c->seq, &until);
        if (lo >= hi) {
            c->seq = hi;
            continue;
        }
        item->damaged = (struct ptl_range){lo, until < hi ? until : hi};
        item->epoch = epoch;
        uint64_t width = item->damaged.end - lo;
        item->damaged_count = width < missing ? (uint32_t)width : missing;
        c->seen += item->damaged_count;
        c->seq = item->damaged.end;
        return PTL_E_FORMAT;
    }
    return PTL_E_EMPTY;
}

// Moves on to the next readable block up to `last`. false: there is none.
static bool leave_block(struct ptl_journal *j, struct ptl_journal_cursor *c, uint32_t last)
{
    uint32_t after = j->p.around.after;
    if (after > last || after > j->p.generation) {
        return false;
    }
    c->seq = j->p.around.next;
    ptl_jn_enter(j, c, after);
    return true;
}

// The next unreleased thing at the cursor, in blocks up to generation `last`, and past it.
// PTL_OK: a data entry. PTL_E_FORMAT: a damaged range. PTL_E_EMPTY, PTL_E_IO.
enum ptl_status ptl_jn_next(struct ptl_journal *j, struct ptl_journal_cursor *c, uint32_t last,
                            struct ptl_jn_item *item)
{
    while (!j->failed) { // the cursor moves on in every round
        ptl_jn_look_around(j, c->generation);
        const struct ptl_jn_around *a = &j->p.around;
        bool newest = a->after > j->p.generation;
        enum ptl_jn_step step = PTL_JN_STEP_BAD;
        if (c->offset != PTL_JN_LOST && (newest || a->next > j->p.cursor)) {
            step = ptl_jn_walk(j, c, a->end, a->exact, item);
        } else if (c->offset != PTL_JN_LOST) {
            c->seen = a->count - a->base; // all of it released
        }
        uint64_t until = 0;
        if (step == PTL_JN_STEP_ENTRY) {
            if (is_data(item) && ptl_jn_unreleased(j, item->seq, &until) == item->seq) {
                return PTL_OK;
            }
            continue;
        }
        if (step == PTL_JN_STEP_DAMAGE) {
            if (ptl_jn_unreleased(j, item->seq, &until) == item->seq) {
                item->damaged = (struct ptl_range){item->seq, item->seq + 1u};
                item->epoch = c->epoch;
                item->damaged_count = 1;
                return PTL_E_FORMAT;
            }
            continue;
        }
        if (!newest || c->offset != a->end) {
            c->offset = PTL_JN_LOST;
            if (damage_piece(j, c, item) == PTL_E_FORMAT) {
                return PTL_E_FORMAT;
            }
        }
        if (newest) { // behind everything, ready for what is appended next
            c->offset = j->p.tail;
            c->seq = j->run.next;
            c->epoch = j->run.epoch;
            memcpy(c->boot, j->run.boot, sizeof(c->boot));
            return PTL_E_EMPTY;
        }
        if (!leave_block(j, c, last)) {
            return PTL_E_EMPTY;
        }
    }
    return PTL_E_IO;
}
