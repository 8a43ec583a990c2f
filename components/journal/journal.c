// journal.c - the calls that append, release and read. Each first sees to room in the newest block,
// then changes RAM, then writes; so PTL_E_AGAIN and PTL_E_FULL leave everything as it was.
#include "journal_internal.h"

_Static_assert(PTL_JN_HEADER_MAX + PTL_JN_ENTRY_HEAD + PTL_JN_STATE_MAX <
                   PTL_JOURNAL_BLOCK_BYTES_MIN,
               "a fresh block takes at least one whole state");
_Static_assert(PTL_GAP_REASONS <= 128, "reason and kind share a byte");

#define SKIP_BYTES_MAX (PTL_JN_ENTRY_HEAD + 8u)

static enum ptl_status wrote(struct ptl_journal *j)
{
    if (j->cfg.write_through) {
        ptl_jn_flush(j);
    }
    return ptl_jn_result(j);
}

static enum ptl_status state_room(struct ptl_journal *j)
{
    return ptl_jn_room(j, ptl_jn_state_bytes(j) + PTL_JN_STATE_GROWTH);
}

uint32_t ptl_journal_record_bytes_max(const struct ptl_journal *j)
{
    const struct ptl_flash *flash = j->cfg.flash;
    uint32_t max = flash->block_bytes - ptl_jn_round_up(PTL_JN_HEADER_MAX, flash->prog_bytes) -
                   PTL_JN_ENTRY_HEAD - SKIP_BYTES_MAX;
    return max < UINT16_MAX ? max : UINT16_MAX;
}

enum ptl_status ptl_journal_run_open(struct ptl_journal *j, uint64_t epoch, enum ptl_mode mode,
                                     uint32_t ram_records_max)
{
    PTL_ASSERT(!j->run.open);
    PTL_ASSERT(epoch != 0);
    uint32_t run = (uint32_t)(j->run.next >> PTL_RUN_SHIFT) + 1u;
    if (run > PTL_RUN_MAX) {
        return PTL_E_TOO_BIG;
    }
    // Its boot and numbers may be longer than those of the run before.
    enum ptl_status status = ptl_jn_room(j, ptl_jn_state_bytes(j) + PTL_JN_STATE_GROWTH);
    if (status != PTL_OK) {
        return status;
    }
    j->run.epoch = epoch;
    j->run.run = run;
    j->run.first = (uint64_t)run << PTL_RUN_SHIFT;
    j->run.next = j->run.first;
    j->run.ram_records_max = ram_records_max;
    j->run.mode = (uint8_t)mode;
    j->run.open = true;
    memcpy(j->run.boot, j->cfg.boot, sizeof(j->run.boot));
    j->held_run = 0;
    j->p.sent_end = 0;
    j->counters.dropped_earlier += j->counters.dropped_lost + j->counters.dropped_uncertain;
    j->counters.dropped_lost = 0;
    j->counters.dropped_uncertain = 0;
    ptl_jn_write_state(j);
    return wrote(j);
}

enum ptl_status ptl_journal_mode_set(struct ptl_journal *j, enum ptl_mode mode, uint64_t next)
{
    PTL_ASSERT(j->run.open);
    if (j->run.mode == mode) {
        return ptl_jn_result(j);
    }
    enum ptl_status status = state_room(j);
    if (status != PTL_OK) {
        return status;
    }
    j->run.mode = (uint8_t)mode;
    j->run.next = next > j->run.next ? next : j->run.next;
    ptl_jn_write_state(j);
    return wrote(j);
}

enum ptl_status ptl_journal_run_close(struct ptl_journal *j, uint64_t next)
{
    PTL_ASSERT(j->run.open);
    enum ptl_status status = state_room(j);
    if (status != PTL_OK) {
        return status;
    }
    j->run.next = next > j->run.next ? next : j->run.next;
    j->run.open = false;
    struct ptl_end end = {.epoch = j->run.epoch,
                          .from = j->run.next,
                          .next = j->run.next,
                          .runs = 1,
                          .how = PTL_CLOSED};
    ptl_jn_end_put(j, &end);
    ptl_jn_write_state(j);
    return wrote(j);
}

enum ptl_status ptl_journal_device_set(struct ptl_journal *j, const char *device)
{
    size_t len = strlen(device);
    if (len > PTL_DEVICE_BYTES_MAX) {
        return PTL_E_TOO_BIG;
    }
    enum ptl_status status = state_room(j);
    if (status != PTL_OK) {
        return status;
    }
    memcpy(j->device, device, len + 1u);
    ptl_jn_write_state(j);
    return wrote(j);
}

enum ptl_status ptl_journal_append(struct ptl_journal *j, uint64_t seq, bool sent,
                                   struct ptl_span record)
{
    PTL_ASSERT(j->run.open);
    PTL_ASSERT(seq >= j->run.next);
    PTL_ASSERT(seq <= PTL_SEQ_MAX);
    if (record.len > ptl_journal_record_bytes_max(j)) {
        return PTL_E_TOO_BIG;
    }
    uint32_t bytes = PTL_JN_ENTRY_HEAD + (uint32_t)record.len;
    bytes += seq > j->p.seq ? SKIP_BYTES_MAX : 0;
    enum ptl_status status = ptl_jn_room(j, bytes);
    if (status != PTL_OK) {
        return status;
    }
    if (seq > j->p.seq) {
        j->run.next = seq;
        ptl_jn_write_skip(j);
    }
    ptl_jn_write_data(j, sent, record);
    j->run.next = seq + 1u;
    j->p.count++;
    j->held++;
    j->held_run++;
    j->counters.data_bytes += record.len;
    return wrote(j);
}

enum ptl_status ptl_journal_release(struct ptl_journal *j, struct ptl_range range)
{
    PTL_ASSERT(range.begin <= range.end);
    uint64_t count = 0;
    enum ptl_status status = ptl_jn_release_range(j, range, &count);
    ptl_jn_unhold(j, range.begin, count);
    return status;
}

void ptl_journal_release_below(struct ptl_journal *j, uint64_t seq)
{
    ptl_jn_cursor_to(j, seq);
}

enum ptl_status ptl_journal_release_write(struct ptl_journal *j)
{
    if (j->failed || !(j->p.state_dirty || j->p.release_dirty)) {
        return ptl_jn_result(j);
    }
    uint32_t bytes = j->p.state_dirty ? ptl_jn_state_bytes(j) : ptl_jn_release_bytes(j);
    bool fits = !j->p.sealed && bytes <= j->cfg.flash->block_bytes - j->p.tail;
    if (!j->p.change && !fits && ptl_jn_opening_costs(j)) {
        return ptl_jn_result(j); // waits for the next header
    }
    enum ptl_status status = ptl_jn_room(j, bytes);
    if (status != PTL_OK) {
        return status;
    }
    if (j->p.state_dirty) {
        ptl_jn_write_state(j);
    } else if (j->p.release_dirty) {
        ptl_jn_write_release(j);
    }
    return wrote(j);
}

void ptl_journal_mark_sent(struct ptl_journal *j, uint64_t seq_end)
{
    j->p.sent_end = seq_end > j->p.sent_end ? seq_end : j->p.sent_end;
}

enum ptl_status ptl_journal_gap_add(struct ptl_journal *j, const struct ptl_gap *gap,
                                    uint32_t held_count)
{
    PTL_ASSERT(gap->first <= gap->last);
    PTL_ASSERT(gap->last <= PTL_SEQ_MAX);
    if (!ptl_jn_gap_fits(j, gap)) {
        return j->failed ? PTL_E_IO : PTL_E_FULL;
    }
    enum ptl_status status = state_room(j);
    if (status != PTL_OK) {
        return status;
    }
    if (held_count > 0 && gap->first < j->p.cursor) {
        return PTL_E_AGAIN; // a block change gave them up: they have their verdict
    }
    if (!ptl_jn_gap_fits(j, gap)) { // the block change took the slot
        return PTL_E_FULL;
    }
    uint64_t fresh = 0;
    status = ptl_jn_release_range(j, (struct ptl_range){gap->first, gap->last + 1u}, &fresh);
    if (status != PTL_OK) {
        return status;
    }
    ptl_jn_unhold(j, gap->first, held_count);
    if (gap->reason == PTL_GAP_DAMAGED) {
        j->counters.damaged += held_count;
    }
    ptl_jn_gap_put(j, *gap);
    ptl_jn_write_state(j);
    return wrote(j);
}

// The first block that may hold something unreleased; found once, then remembered.
static void tail_advance(struct ptl_journal *j)
{
    struct ptl_jn_head head;
    j->p.tail_gen = ptl_jn_oldest(j);
    while (j->p.tail_gen < j->p.generation &&
           ptl_jn_read_head(j, j->p.tail_gen + 1u, &head, false) && head.run.next <= j->p.cursor) {
        j->p.tail_gen++;
    }
}

enum ptl_status ptl_journal_read(struct ptl_journal *j, struct ptl_journal_cursor *cursor,
                                 uint8_t *buf, size_t cap, struct ptl_journal_entry *entry)
{
    if (j->failed) {
        return PTL_E_IO;
    }
    if (j->p.op == PTL_JN_OP_ERASE) {
        return PTL_E_AGAIN;
    }
    struct ptl_journal_cursor c = *cursor;
    if (c.generation < ptl_jn_oldest(j) || c.generation > j->p.generation) {
        tail_advance(j);
        c = (struct ptl_journal_cursor){0};
        ptl_jn_enter(j, &c, j->p.tail_gen);
    }
    struct ptl_jn_item item = {.type = PTL_JN_PAD};
    enum ptl_status status = ptl_jn_next(j, &c, j->p.generation, &item);
    if (j->failed) {
        return PTL_E_IO;
    }
    entry->epoch = c.epoch;
    if (status == PTL_OK) {
        entry->seq = item.seq;
        entry->sent = item.type == PTL_JN_DATA_SENT;
        entry->record = (struct ptl_span){buf, item.len};
        memcpy(entry->boot, c.boot, sizeof(entry->boot));
        if (item.len > cap) {
            return PTL_E_TOO_BIG;
        }
        ptl_jn_copy(j, ptl_jn_block(j, c.generation), item.offset, buf, item.len);
    } else if (status == PTL_E_FORMAT) {
        entry->epoch = item.epoch;
        entry->damaged = item.damaged;
        entry->damaged_count = item.damaged_count;
    }
    *cursor = c;
    return j->failed ? PTL_E_IO : status;
}
