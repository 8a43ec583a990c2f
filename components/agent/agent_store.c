// What the agent keeps on the medium: spilling the RAM queue, group commits, gaps and ends, and
// what happens when the ring overflows or the medium fails.
//
// Spilling moves the oldest RAM prefix, in-flight records included, so that every journal seq of a
// run stays below every seq held only in RAM. It begins when the breaker opens, when the queue
// passes its high-water mark, and at shutdown.
#include "agent_internal.h"

#define SPILL_STEP_RECORDS 256u // per poll

void ptl_agent_commit_soon(struct ptl_agent *a, uint64_t now_ms, uint32_t delay_ms)
{
    a->commit_due_ms = ptl_min_u64(a->commit_due_ms, now_ms + delay_ms);
}

// The ring gave up records: whatever replay had in flight may be among them, so it starts again at
// the oldest survivor. Late acknowledgements are ignored.
void ptl_agent_note_drops(struct ptl_agent *a)
{
    const struct ptl_journal_counters *c = &a->journal->counters;
    uint64_t drops = c->dropped_lost + c->dropped_uncertain + c->dropped_earlier;
    if (drops != a->drops_seen) {
        a->drops_seen = drops;
        a->gaps_added++;
        ptl_agent_commit_soon(a, a->entered_ms, 0);
        ptl_agent_flights_forget_replay(a);
    }
}

void ptl_agent_spill_begin(struct ptl_agent *a, uint64_t now_ms)
{
    if (a->journal == NULL || !a->run_open || a->mode != PTL_MODE_RAM || a->spilling) {
        return;
    }
    a->spilling = true;
    a->spill_since_ms = now_ms;
    a->spill_syncing = false;
}

// The medium failed for good: the run ends where it stands, a new one lives in RAM only. Records in
// RAM keep their identity and go on being sent; what the journal holds of the old run comes back
// when the medium does (at the next start).
void ptl_agent_media_lost(struct ptl_agent *a)
{
    if (a->journal == NULL) {
        return;
    }
    ptl_agent_replay_rewind(a); // a batch that was being cut is no flight yet
    a->floor_before = ptl_agent_own_floor(a);
    a->journal = NULL;
    a->media_failed = true;
    a->spilling = a->spill_syncing = a->spill_more = false;
    a->commit_due_ms = PTL_NEVER;
    a->mode = PTL_MODE_RAM;
    a->gaps_synced = a->gaps_added;
    ptl_agent_flights_forget_replay(a);
    uint64_t epoch = (uint64_t)ptl_prng_next(&a->prng) << 32 | ptl_prng_next(&a->prng);
    if (!a->run_appended) { // no number of the run was given, but RUN may be on the medium
        a->epoch = epoch;
        return;
    }
    a->epoch_before = a->epoch;
    a->boundary = a->next_seq;
    a->queue_before = ptl_queue_count(&a->queue);
    a->epoch = epoch;
    a->first_seq = a->next_seq;
    a->run_open = true;
    a->n.emitted = a->n.lost = a->n.uncertain = 0;
    a->n.delivered_earlier += a->n.delivered;
    a->n.delivered = 0;
}

// The journal holds one more record of this run.
void ptl_agent_journal_took(struct ptl_agent *a, uint64_t seq, uint64_t held_before,
                            uint64_t mono_ms)
{
    if (held_before == 0) {
        a->own_journal_low = seq;
    }
    if (a->journal->held == 1) {
        a->journal_since_ms = mono_ms;
    }
    a->replay_empty = false;
}

// Moves one record from RAM to the journal. PTL_E_EMPTY: RAM holds nothing more.
static enum ptl_status spill_one(struct ptl_agent *a)
{
    struct ptl_queue_cursor cursor = {0};
    struct ptl_queue_entry entry;
    enum ptl_status status = ptl_queue_peek(&a->queue, &cursor, &entry);
    if (status != PTL_OK) {
        return status;
    }
    struct ptl_record record = {0};
    status = ptl_record_decode(entry.record, &record);
    PTL_ASSERT(status == PTL_OK); // RAM holds what the door encoded
    uint64_t held_before = a->journal->held_run;
    status = ptl_journal_append(a->journal, entry.seq, entry.sent, entry.record);
    ptl_agent_note_drops(a);
    if (status != PTL_OK) {
        return status;
    }
    ptl_agent_journal_took(a, entry.seq, held_before, record.mono_ms);
    ptl_agent_queue_left(a, entry.seq, entry.record.len);
    return PTL_OK;
}

// All of RAM is appended. While the link is bad, records go straight to the medium from now on.
static enum ptl_status spill_finish(struct ptl_agent *a, uint64_t now_ms)
{
    if (a->breaker.state == PTL_BREAKER_CLOSED && a->drain == PTL_DRAIN_NONE) {
        a->spilling = false;
        ptl_agent_commit_soon(a, now_ms, a->cfg.commit_ms);
        return PTL_OK;
    }
    if (a->mode == PTL_MODE_RAM) {
        enum ptl_status status = ptl_journal_mode_set(a->journal, PTL_MODE_DIRECT, a->next_seq);
        ptl_agent_note_drops(a);
        if (status != PTL_OK) {
            return status;
        }
        a->mode = PTL_MODE_DIRECT;
    }
    a->spill_syncing = true;
    a->spill_target = a->next_seq;
    return PTL_OK;
}

static enum ptl_status spill_step(struct ptl_agent *a, uint64_t now_ms)
{
    a->spill_more = false;
    for (uint32_t i = 0; i < SPILL_STEP_RECORDS; i++) {
        size_t low = a->queue.cap / 100u * a->cfg.low_water_percent;
        if (a->breaker.state == PTL_BREAKER_CLOSED && a->drain == PTL_DRAIN_NONE &&
            ptl_queue_used_bytes(&a->queue) <= low) {
            a->spilling = false; // the link is good: the rest leaves from RAM
            ptl_agent_commit_soon(a, now_ms, a->cfg.commit_ms);
            return PTL_OK;
        }
        enum ptl_status status = spill_one(a);
        if (status == PTL_E_EMPTY) {
            return spill_finish(a, now_ms);
        }
        if (status != PTL_OK) {
            return status;
        }
    }
    a->spill_more = true;
    return PTL_OK;
}

static enum ptl_status spill_sync(struct ptl_agent *a, uint64_t now_ms)
{
    // Records that came since do not count: under load the journal is never clean.
    enum ptl_status status = PTL_OK;
    if (a->journal->durable_next < a->spill_target) {
        status = ptl_journal_sync(a->journal);
    }
    if (status == PTL_OK) {
        if (now_ms - a->spill_since_ms > a->cfg.spill_ms_max) {
            a->n.spill_misses++;
        }
        a->spilling = a->spill_syncing = false;
    }
    return status;
}

void ptl_agent_synced(struct ptl_agent *a)
{
    a->replay_stalled = false;
    a->gaps_synced = a->gaps_in_sync;
}

// Group commit: the release snapshot goes in front, so that one sync covers both.
static enum ptl_status commit(struct ptl_agent *a, uint64_t now_ms)
{
    if (now_ms < a->commit_due_ms) {
        return PTL_OK;
    }
    if (a->release_dirty) {
        enum ptl_status status = ptl_journal_release_write(a->journal);
        ptl_agent_note_drops(a);
        if (status != PTL_OK) {
            return status;
        }
        a->release_dirty = false;
    }
    a->gaps_in_sync = a->gaps_added;
    enum ptl_status status = ptl_journal_sync(a->journal);
    if (status == PTL_OK || status == PTL_E_PENDING) {
        a->commit_due_ms = PTL_NEVER; // what is appended from now on asks for a commit of its own
    }
    if (status == PTL_OK) {
        ptl_agent_synced(a);
    }
    return status;
}

void ptl_agent_store_work(struct ptl_agent *a, uint64_t now_ms)
{
    if (a->journal == NULL || ptl_journal_is_pending(a->journal)) {
        return;
    }
    if (a->breaker.state != PTL_BREAKER_CLOSED && a->drain == PTL_DRAIN_NONE) {
        ptl_agent_spill_begin(a, now_ms); // the breaker may have opened without a lost link
    }
    enum ptl_status status = PTL_OK;
    if (a->spilling) {
        status = a->spill_syncing ? PTL_OK : spill_step(a, now_ms);
        if (status == PTL_OK && a->spill_syncing) {
            status = spill_sync(a, now_ms);
        }
    }
    if (status != PTL_E_IO && !ptl_journal_is_pending(a->journal)) {
        status = commit(a, now_ms);
    }
    if (status == PTL_E_IO) {
        ptl_agent_media_lost(a);
    }
}

uint64_t ptl_agent_store_deadline(const struct ptl_agent *a, uint64_t now_ms)
{
    if (a->journal == NULL || ptl_journal_is_pending(a->journal)) {
        return PTL_NEVER;
    }
    if (a->spilling && a->spill_more) {
        return now_ms;
    }
    // A commit that is overdue waits for something else (gap slots): look again in a while.
    uint64_t due = a->commit_due_ms;
    return due <= now_ms ? now_ms + a->cfg.commit_ms : due;
}

// -- Gaps and ends: in the journal, or in RAM for a run without a medium. -------------------------

const struct ptl_gap *ptl_agent_gaps(const struct ptl_agent *a, uint32_t *count)
{
    *count = a->journal != NULL ? a->journal->gap_count : a->ram.gap_count;
    return a->journal != NULL ? a->journal->gaps : a->ram.gaps;
}

const struct ptl_end *ptl_agent_ends(const struct ptl_agent *a, uint32_t *count)
{
    *count = a->journal != NULL ? a->journal->end_count : a->ram.end_count;
    return a->journal != NULL ? a->journal->ends : &a->ram.end;
}

static bool gaps_touch(const struct ptl_gap *low, const struct ptl_gap *high)
{
    return low->epoch == high->epoch && low->reason == high->reason && low->kind == high->kind &&
           low->last + 1 == high->first;
}

static enum ptl_status ram_gap_add(struct ptl_ram_run *ram, const struct ptl_gap *gap)
{
    for (uint8_t i = 0; i < ram->gap_count; i++) {
        if (gaps_touch(&ram->gaps[i], gap)) {
            ram->gaps[i].last = gap->last;
            return PTL_OK;
        }
        if (gaps_touch(gap, &ram->gaps[i])) {
            ram->gaps[i].first = gap->first;
            return PTL_OK;
        }
    }
    if (ram->gap_count == PTL_GAPS_MAX) {
        return PTL_E_FULL;
    }
    ram->gaps[ram->gap_count++] = *gap;
    return PTL_OK;
}

enum ptl_status ptl_agent_gap_add(struct ptl_agent *a, const struct ptl_gap *gap, uint32_t count,
                                  uint32_t held_in_journal)
{
    enum ptl_status status = PTL_OK;
    if (a->journal != NULL) {
        status = ptl_journal_gap_add(a->journal, gap, held_in_journal);
        ptl_agent_note_drops(a);
        a->gaps_added++;
        ptl_agent_commit_soon(a, a->entered_ms, 0);
    } else {
        status = ram_gap_add(&a->ram, gap);
    }
    if (status == PTL_OK && gap->epoch == a->epoch) {
        if (gap->kind == PTL_LOST) {
            a->n.lost += count;
        } else {
            a->n.uncertain += count;
        }
    } else if (status == PTL_OK) {
        a->n.dropped_earlier += count;
    }
    return status;
}

// Removes what `covered` says of one gap; the middle of a gap stays whole (it is confirmed when
// more of it is covered).
static bool gap_trim(struct ptl_gap *gap, struct ptl_range covered)
{
    if (covered.begin <= gap->first && gap->last < covered.end) {
        return true;
    }
    if (covered.begin <= gap->first && covered.end > gap->first) {
        gap->first = covered.end;
    } else if (covered.end > gap->last && covered.begin <= gap->last &&
               covered.begin > gap->first) {
        gap->last = covered.begin - 1;
    }
    return false;
}

void ptl_agent_gap_confirm(struct ptl_agent *a, uint64_t epoch, struct ptl_range covered)
{
    if (a->journal != NULL) {
        ptl_journal_gap_confirm(a->journal, epoch, covered);
        a->release_dirty = true;
        a->replay_stalled = false;
        ptl_agent_commit_soon(a, a->entered_ms, a->cfg.commit_ms);
        return;
    }
    uint8_t kept = 0;
    for (uint8_t i = 0; i < a->ram.gap_count; i++) {
        struct ptl_gap gap = a->ram.gaps[i];
        if (gap.epoch != epoch || !gap_trim(&gap, covered)) {
            a->ram.gaps[kept++] = gap;
        }
    }
    a->ram.gap_count = kept;
}

void ptl_agent_end_confirm(struct ptl_agent *a, const struct ptl_end *end)
{
    if (a->journal != NULL) {
        ptl_journal_end_confirm(a->journal, end);
        a->release_dirty = true;
        ptl_agent_commit_soon(a, a->entered_ms, a->cfg.commit_ms);
    } else if (a->ram.end_count > 0 && a->ram.end.epoch == end->epoch) {
        a->ram.end_count = 0;
    }
}
