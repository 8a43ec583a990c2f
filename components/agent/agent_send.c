// What goes out next: asks the batch policy, cuts a batch from the queue or the journal and makes
// it a flight.
#include "agent_internal.h"

#include <string.h>

// One batch while it is being written.
struct cut {
    struct ptl_batch_text text;
    struct ptl_gap gaps[PTL_GAPS_MAX];
    struct ptl_end end;
    uint64_t epoch;
    struct ptl_range seqs;
    size_t record_bytes; // of the records in it, as they are stored (live only)
    uint64_t mono_ms;    // of the first of them, if it is of this boot (replay only)
    uint64_t floor;
    uint32_t gap_count, end_count;
    uint32_t events_max;
    uint32_t ref;
};

// -- What is held, and the floor ------------------------------------------------------------------

static uint64_t queue_low(const struct ptl_agent *a)
{
    uint64_t seq;
    return ptl_queue_oldest(&a->queue, &seq) == PTL_OK ? seq : UINT64_MAX;
}

// No record of the journal below this seq is held and unsent, nor in flight; 0 where nobody knows.
uint64_t ptl_agent_replay_low(const struct ptl_agent *a)
{
    uint64_t read_to = a->replay.generation == 0 ? 0 : a->replay.seq;
    return ptl_min_u64(read_to, ptl_agent_flight_low(a, PTL_BATCH_REPLAY));
}

// Nothing below is held anywhere.
static uint64_t oldest_held(const struct ptl_agent *a)
{
    uint64_t low = queue_low(a);
    if (a->journal == NULL || a->journal->held == 0) {
        return low;
    }
    uint64_t journal_low = a->journal->held == a->journal->held_run ? a->own_journal_low : 0;
    uint64_t read_low = ptl_agent_replay_low(a);
    return ptl_min_u64(low, journal_low > read_low ? journal_low : read_low);
}

static uint64_t gaps_low(const struct ptl_agent *a, uint64_t epoch)
{
    uint64_t low = UINT64_MAX;
    uint32_t count;
    const struct ptl_gap *gaps = ptl_agent_gaps(a, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (gaps[i].epoch == epoch) {
            low = ptl_min_u64(low, gaps[i].first);
        }
    }
    return low;
}

uint64_t ptl_agent_own_floor(const struct ptl_agent *a)
{
    uint64_t low = ptl_min_u64(a->next_seq, queue_low(a));
    if (a->boundary > 0 && low < a->boundary) {
        low = a->boundary; // what is older belongs to the run before
    }
    if (a->journal != NULL && a->journal->held_run > 0) {
        uint64_t read_low = ptl_agent_replay_low(a);
        low = ptl_min_u64(low, a->own_journal_low > read_low ? a->own_journal_low : read_low);
    }
    return ptl_min_u64(low, gaps_low(a, a->epoch));
}

// Floor of a message for `epoch` whose first record is `first` (UINT64_MAX: it has none).
static uint64_t floor_of(const struct ptl_agent *a, uint64_t epoch, uint64_t first)
{
    if (epoch == a->epoch) {
        return ptl_min_u64(first, ptl_agent_own_floor(a));
    }
    if (a->boundary > 0 && epoch == a->epoch_before) {
        return a->floor_before;
    }
    uint64_t low = ptl_min_u64(first, gaps_low(a, epoch));
    uint32_t count;
    const struct ptl_end *ends = ptl_agent_ends(a, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (ends[i].epoch != epoch) {
            continue;
        }
        uint64_t held = oldest_held(a);
        uint64_t run_first = ends[i].next >> PTL_RUN_SHIFT << PTL_RUN_SHIFT;
        if (held >= ends[i].next) {
            low = ptl_min_u64(low, ends[i].next);
        } else {
            low = ptl_min_u64(low, held > run_first ? held : run_first);
        }
    }
    // Replayed records of a run whose end was merged: earlier ones may still be in flight.
    for (uint32_t i = 0; i < a->flight_count; i++) {
        const struct ptl_flight *f = &a->flights[i];
        if (f->state != PTL_FLIGHT_FREE && f->epoch == epoch && f->flow == PTL_BATCH_REPLAY) {
            low = ptl_min_u64(low, f->seqs.begin);
        }
    }
    return low;
}

// -- Gaps and ends --------------------------------------------------------------------------------

static uint32_t gaps_of(const struct ptl_agent *a, uint64_t epoch, struct ptl_gap *out)
{
    uint32_t count, found = 0;
    const struct ptl_gap *gaps = ptl_agent_gaps(a, &count);
    for (uint32_t i = 0; i < count && !ptl_agent_gap_unsynced(a) && !a->carrier.active; i++) {
        if (gaps[i].epoch == epoch) {
            out[found++] = gaps[i];
        }
    }
    return found;
}

// The end of a run is the last thing said of it: nothing of it held, no gap of it unconfirmed.
static bool end_may_go(const struct ptl_agent *a, const struct ptl_end *end)
{
    if (gaps_low(a, end->epoch) != UINT64_MAX) {
        return false;
    }
    if (end->epoch == a->epoch) {
        return ptl_agent_holds_nothing(a);
    }
    return oldest_held(a) >= end->next;
}

// Something that may have to go alone: gaps, or the end of a run.
static bool control_pick(const struct ptl_agent *a, uint64_t *epoch, struct ptl_end *end,
                         uint32_t *end_count)
{
    *end_count = 0;
    if (a->carrier.active) {
        return false;
    }
    uint32_t count;
    const struct ptl_gap *gaps = ptl_agent_gaps(a, &count);
    if (count > 0 && !ptl_agent_gap_unsynced(a)) {
        *epoch = gaps[0].epoch;
        return true;
    }
    const struct ptl_end *ends = ptl_agent_ends(a, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (end_may_go(a, &ends[i])) {
            *epoch = ends[i].epoch;
            *end = ends[i];
            *end_count = 1;
            return true;
        }
    }
    return false;
}

bool ptl_agent_control_waits(const struct ptl_agent *a)
{
    uint64_t epoch;
    struct ptl_end end;
    uint32_t end_count;
    return control_pick(a, &epoch, &end, &end_count);
}

// -- Decision -------------------------------------------------------------------------------------

// Records of this run in the journal that are not in flight (durability `sync`).
static uint32_t journal_unsent(const struct ptl_agent *a)
{
    uint64_t in_flight = 0;
    for (uint32_t i = 0; i < a->flight_count; i++) {
        const struct ptl_flight *f = &a->flights[i];
        if (f->state != PTL_FLIGHT_FREE && f->flow == PTL_BATCH_REPLAY && f->epoch == a->epoch) {
            in_flight += f->seqs.end - f->seqs.begin;
        }
    }
    uint64_t held = a->journal->held_run;
    return held > in_flight ? (uint32_t)(held - in_flight) : 0;
}

static void live_input(const struct ptl_agent *a, struct ptl_batch_input *in)
{
    if (a->mode == PTL_MODE_SYNC && a->journal != NULL) {
        if (!a->replay_stalled && !a->replay_empty) {
            in->live_count = journal_unsent(a);
            in->live_bytes = (size_t)in->live_count * a->record_mean_bytes;
            in->live_oldest_ms = a->replay_since_ms;
            in->live_critical = a->live_critical;
        }
        return;
    }
    struct ptl_queue_cursor cursor = a->live;
    struct ptl_queue_entry entry;
    struct ptl_record record;
    if (ptl_queue_peek(&a->queue, &cursor, &entry) != PTL_OK) {
        return;
    }
    in->live_count = (uint32_t)(a->next_seq - entry.seq);
    in->live_bytes = a->live_unsent_bytes;
    in->live_critical = a->live_critical;
    if (ptl_record_decode(entry.record, &record) == PTL_OK) {
        in->live_oldest_ms = record.mono_ms;
    }
}

static struct ptl_batch_input input(const struct ptl_agent *a)
{
    struct ptl_batch_input in = {
        .control_waiting = ptl_agent_control_waits(a),
        .in_flight = ptl_agent_in_flight(a),
        .draining = a->drain != PTL_DRAIN_NONE,
        .probe_only = a->breaker.state == PTL_BREAKER_HALF_OPEN,
    };
    bool late = ptl_agent_backlog_waits_for_receipt(a);
    live_input(a, &in);
    bool resend = ptl_agent_resend_waits(a);
    bool replay = a->journal != NULL && a->journal->held > 0 && !a->replay_empty &&
                  (a->mode != PTL_MODE_SYNC || a->journal->held > a->journal->held_run);
    // Oldest first: a receipt names few ranges above what is missing first, and may not get as far
    // as a younger batch, which would then be sent again and again in vain.
    bool older = replay && !a->replay_stalled && a->cfg.delivery == PTL_STORED;
    in.resend_waiting = !late && resend && !older;
    in.replay_waiting =
        !late && replay && !a->replay_stalled && !ptl_journal_is_pending(a->journal);
    if (a->cfg.batch.strict_order &&
        ((resend && !in.resend_waiting) || (replay && !in.replay_waiting))) {
        in.live_count = 0; // what is older cannot go right now, and nothing may pass it
    }
    return in;
}

struct ptl_batch_decision ptl_agent_decide(struct ptl_agent *a, uint64_t now_ms)
{
    struct ptl_batch_input in = input(a);
    uint32_t room = ptl_agent_flights_room(a);
    if (room == 0) {
        return (struct ptl_batch_decision){.wake_at_ms = PTL_NEVER};
    }
    if (room == 1) {
        // The last slot is kept for the rest of a batch that is cut smaller when it goes again:
        // with new batches in all of them, those that wait to be sent again could never leave.
        // What gives the slot back by itself may use it.
        in.live_count = 0;
        in.replay_waiting = in.replay_waiting && a->cfg.delivery == PTL_STORED;
    }
    struct ptl_batch_decision decision = ptl_batch_decide(&a->batch, &in, now_ms);
    if (decision.events_max > a->events_cap) {
        decision.events_max = a->events_cap;
    }
    return decision;
}

// -- Cutting --------------------------------------------------------------------------------------

static enum ptl_status cut_begin(struct ptl_agent *a, const struct ptl_now *now,
                                 struct ptl_writer *w, struct cut *c, uint64_t first,
                                 const char *boot)
{
    enum ptl_status status = a->adapter.ops->push_begin(a->adapter.ctx, w, &c->ref);
    if (status != PTL_OK) {
        return status;
    }
    c->gap_count = gaps_of(a, c->epoch, c->gaps);
    c->floor = floor_of(a, c->epoch, first);
    const struct ptl_batch_head head = {
        .device = ptl_span_of_text(a->cfg.device),
        .boot = ptl_span_of_text(boot),
        .epoch = c->epoch,
        .floor = c->floor,
        .now = *now,
    };
    c->seqs = (struct ptl_range){first, first};
    return ptl_batch_text_begin(&c->text, w, a->cfg.batch.bytes_max, &head, c->gap_count,
                                c->end_count);
}

static void cut_carry(struct ptl_agent *a, const struct cut *c, uint32_t gaps, uint32_t ends,
                      uint64_t due_ms)
{
    if (gaps == 0 && ends == 0) {
        return;
    }
    struct ptl_carrier *carrier = &a->carrier;
    *carrier = (struct ptl_carrier){
        .epoch = c->epoch,
        .end = c->end,
        .due_ms = due_ms,
        .ref = c->ref,
        .gap_count = (uint8_t)gaps,
        .end_count = (uint8_t)ends,
        .active = true,
    };
    for (uint32_t i = 0; i < gaps; i++) {
        carrier->gaps[i] = (struct ptl_range){c->gaps[i].first, c->gaps[i].last + 1};
    }
}

// What the message spoke of: receipts may name nothing beyond.
static void said(struct ptl_agent *a, const struct cut *c, uint32_t gaps)
{
    uint64_t end = c->text.events > 0 ? c->seqs.end : c->floor;
    for (uint32_t i = 0; i < gaps; i++) {
        end = c->gaps[i].last >= end ? c->gaps[i].last + 1 : end;
    }
    a->said_end = end > a->said_end ? end : a->said_end;
}

// The message is complete: it becomes flight `f`.
static void cut_finish(struct ptl_agent *a, struct cut *c, struct ptl_flight *f,
                       enum ptl_batch_flow flow, uint64_t now_ms)
{
    uint32_t gaps = 0, ends = 0;
    ptl_batch_text_finish(&c->text, c->gaps, c->gap_count, &c->end, c->end_count, &gaps, &ends);
    cut_carry(a, c, gaps, ends, now_ms + a->cfg.ack_timeout_ms);
    *f = (struct ptl_flight){
        .seqs = c->seqs,
        .epoch = c->epoch,
        .due_ms = now_ms + a->cfg.ack_timeout_ms,
        .serial = ++a->flight_serial,
        .ref = c->ref,
        .mono_ms = c->mono_ms,
        .state = PTL_FLIGHT_WAIT_ACK,
        .flow = (uint8_t)flow,
    };
    if (c->epoch == a->epoch) {
        said(a, c, gaps);
    }
    a->n.events_sent += c->text.events;
    a->n.last_batch_events = c->text.events;
    a->n.last_batch_bytes = (uint32_t)(c->text.w->len - c->text.start);
}

static bool cut_is_full(const struct cut *c)
{
    return c->text.events >= c->events_max;
}

static void live_sent(struct ptl_agent *a, size_t bytes)
{
    a->live_unsent_bytes -= bytes < a->live_unsent_bytes ? bytes : a->live_unsent_bytes;
}

// Cuts a batch from the queue, from `cursor` up to `end`.
static enum ptl_status cut_queue(struct ptl_agent *a, const struct ptl_now *now,
                                 struct ptl_writer *w, struct cut *c,
                                 struct ptl_queue_cursor *cursor, uint64_t end)
{
    struct ptl_queue_cursor at = *cursor;
    struct ptl_queue_entry entry;
    enum ptl_status status = ptl_queue_peek(&a->queue, &at, &entry);
    if (status != PTL_OK || entry.seq >= end) {
        return PTL_E_EMPTY;
    }
    bool before = entry.seq < a->boundary;
    c->epoch = before ? a->epoch_before : a->epoch;
    end = before ? ptl_min_u64(end, a->boundary) : end;
    status = cut_begin(a, now, w, c, entry.seq, a->cfg.boot);
    while (status == PTL_OK && !cut_is_full(c) && entry.seq < end && entry.seq == c->seqs.end) {
        if (ptl_batch_text_event(&c->text, entry.seq, entry.record) != PTL_OK) {
            break;
        }
        c->seqs.end = entry.seq + 1;
        c->record_bytes += entry.record.len;
        *cursor = at;
        if (ptl_queue_peek(&a->queue, &at, &entry) != PTL_OK) {
            break;
        }
    }
    if (status == PTL_OK) {
        PTL_ASSERT(c->text.events > 0); // bytes_max takes any record
        ptl_queue_mark_sent(&a->queue, c->seqs);
    }
    return status;
}

static enum ptl_status send_live(struct ptl_agent *a, const struct ptl_now *now,
                                 struct ptl_writer *w, struct cut *c, struct ptl_flight *f)
{
    enum ptl_status status = cut_queue(a, now, w, c, &a->live, UINT64_MAX);
    if (status != PTL_OK) {
        return status;
    }
    live_sent(a, c->record_bytes);
    if (c->seqs.end == a->next_seq) {
        a->live_critical = false;
    }
    cut_finish(a, c, f, PTL_BATCH_LIVE, now->mono_ms);
    return PTL_OK;
}

static enum ptl_status send_again(struct ptl_agent *a, const struct ptl_now *now,
                                  struct ptl_writer *w, struct cut *c, struct ptl_flight *spare)
{
    struct ptl_flight *f = NULL;
    for (uint32_t i = 0; i < a->flight_count; i++) {
        struct ptl_flight *at = &a->flights[i];
        if (at->state == PTL_FLIGHT_RESEND && (f == NULL || at->seqs.begin < f->seqs.begin)) {
            f = at;
        }
    }
    if (f == NULL) {
        return PTL_E_EMPTY;
    }
    struct ptl_range rest = f->seqs;
    if (ptl_agent_is_covered(a, f->epoch, f->seqs)) {
        uint32_t count = ptl_queue_release(&a->queue, f->seqs); // a receipt came meanwhile
        ptl_agent_count_delivered(a, f->epoch, count);
        a->queue_before -= f->seqs.begin < a->boundary ? count : 0;
        f->state = PTL_FLIGHT_FREE;
        return PTL_E_EMPTY;
    }
    struct ptl_queue_cursor cursor = ptl_queue_seek(&a->queue, rest.begin);
    enum ptl_status status = cut_queue(a, now, w, c, &cursor, rest.end);
    if (status != PTL_OK) {
        f->state = status == PTL_E_EMPTY ? PTL_FLIGHT_FREE : f->state;
        return status;
    }
    cut_finish(a, c, f, PTL_BATCH_LIVE, now->mono_ms);
    f->again = true;
    a->n.resent_batches++;
    rest.begin = c->seqs.end;
    if (rest.begin < rest.end) { // cut smaller than last time: the rest follows
        *spare = *f;
        spare->seqs = rest;
        spare->state = PTL_FLIGHT_RESEND;
    }
    return PTL_OK;
}

// The medium gave something that cannot be sent: its seqs become a gap. PTL_OK: read on.
// `held` of the seqs were records held here; the others were delivered from RAM, or never given.
static enum ptl_status replay_give_up(struct ptl_agent *a, uint64_t epoch, struct ptl_range seqs,
                                      uint32_t held, enum ptl_gap_reason reason)
{
    const struct ptl_gap gap = {
        .epoch = epoch,
        .first = seqs.begin,
        .last = seqs.end - 1,
        .reason = (uint8_t)reason,
        .kind = PTL_UNCERTAIN,
    };
    return ptl_agent_gap_add(a, &gap, held, held);
}

// Reads the next record that replay has to send; passes over what is in flight, delivered already
// or unreadable. PTL_E_AGAIN: stopped for now, a->replay_stalled says so.
static enum ptl_status replay_read(struct ptl_agent *a, struct ptl_journal_entry *entry)
{
    for (;;) {
        struct ptl_journal_cursor before = a->replay;
        enum ptl_status status =
            ptl_journal_read(a->journal, &a->replay, a->record, a->record_bytes, entry);
        if (status == PTL_E_EMPTY) {
            a->replay_empty = true;
            return PTL_E_EMPTY;
        }
        struct ptl_range one = {entry->seq, entry->seq + 1};
        if (status == PTL_E_FORMAT || status == PTL_E_TOO_BIG) { // too big: limits were lowered
            bool damaged = status == PTL_E_FORMAT;
            status = damaged ? replay_give_up(a, entry->epoch, entry->damaged, entry->damaged_count,
                                              PTL_GAP_DAMAGED)
                             : replay_give_up(a, entry->epoch, one, 1, PTL_GAP_REFUSED);
            if (status == PTL_OK) {
                continue;
            }
        }
        if (status == PTL_OK && entry->epoch == a->epoch && a->mode == PTL_MODE_SYNC &&
            entry->seq >= a->journal->durable_next) {
            status = PTL_E_AGAIN; // nothing is sent before it is synced
        }
        if (status != PTL_OK) {
            a->replay = before;
            a->replay_stalled = true;
            if (status == PTL_E_IO) {
                ptl_agent_media_lost(a);
            }
            return PTL_E_AGAIN;
        }
        if (ptl_agent_replay_in_flight(a, entry->seq)) {
            continue;
        }
        if (ptl_agent_is_covered(a, entry->epoch, one) &&
            ptl_journal_release(a->journal, one) == PTL_OK) {
            ptl_agent_count_delivered(a, entry->epoch, 1);
            a->release_dirty = true;
            ptl_agent_commit_soon(a, a->entered_ms, a->cfg.commit_ms);
            continue;
        }
        return PTL_OK;
    }
}

static enum ptl_status send_replay(struct ptl_agent *a, const struct ptl_now *now,
                                   struct ptl_writer *w, struct cut *c, struct ptl_flight *f)
{
    struct ptl_journal_entry entry;
    enum ptl_status status = replay_read(a, &entry);
    if (status != PTL_OK) {
        return PTL_E_EMPTY;
    }
    c->epoch = entry.epoch;
    char boot[PTL_BOOT_BYTES_MAX + 1];
    memcpy(boot, entry.boot, sizeof(boot));
    status = cut_begin(a, now, w, c, entry.seq, boot);
    if (status != PTL_OK) {
        ptl_agent_replay_rewind(a);
        return status;
    }
    struct ptl_record first;
    if (ptl_record_decode(entry.record, &first) == PTL_OK &&
        ptl_span_equal(ptl_span_of_text(boot), ptl_span_of_text(a->cfg.boot))) {
        c->mono_ms = first.mono_ms;
    }
    status = ptl_batch_text_event(&c->text, entry.seq, entry.record);
    if (status != PTL_OK) { // not a record, or larger than a batch may be now
        struct ptl_range one = {entry.seq, entry.seq + 1};
        ptl_agent_replay_rewind(a);
        a->replay_stalled =
            replay_give_up(a, entry.epoch, one, 1,
                           status == PTL_E_FULL ? PTL_GAP_REFUSED : PTL_GAP_DAMAGED) != PTL_OK;
        return PTL_E_EMPTY;
    }
    struct ptl_journal_cursor before;
    do {
        c->seqs.end = entry.seq + 1;
        before = a->replay;
        if (cut_is_full(c) || replay_read(a, &entry) != PTL_OK || a->journal == NULL) {
            break;
        }
        if (entry.epoch != c->epoch || entry.seq != c->seqs.end ||
            ptl_batch_text_event(&c->text, entry.seq, entry.record) != PTL_OK) {
            a->replay = before;
            break;
        }
    } while (true);
    if (a->journal == NULL) {
        return PTL_E_EMPTY; // the medium failed on the way: what was read belongs to it
    }
    if (c->epoch == a->epoch) {
        ptl_journal_mark_sent(a->journal, c->seqs.end);
        a->replay_since_ms = now->mono_ms;
        a->live_critical = a->mode != PTL_MODE_SYNC && a->live_critical;
    }
    cut_finish(a, c, f, PTL_BATCH_REPLAY, now->mono_ms);
    return PTL_OK;
}

static enum ptl_status send_control(struct ptl_agent *a, const struct ptl_now *now,
                                    struct ptl_writer *w, struct cut *c, struct ptl_flight *f)
{
    if (!control_pick(a, &c->epoch, &c->end, &c->end_count)) {
        return PTL_E_EMPTY;
    }
    enum ptl_status status = cut_begin(a, now, w, c, UINT64_MAX, a->cfg.boot);
    if (status == PTL_OK) {
        c->seqs = (struct ptl_range){UINT64_MAX, UINT64_MAX};
        cut_finish(a, c, f, PTL_BATCH_CONTROL, now->mono_ms);
    }
    return status;
}

enum ptl_status ptl_agent_send(struct ptl_agent *a, const struct ptl_now *now, struct ptl_writer *w)
{
    struct ptl_batch_decision decision = ptl_agent_decide(a, now->mono_ms);
    struct ptl_flight *f = ptl_agent_flight_free(a);
    struct ptl_batch_input in = input(a);
    struct cut c = {.events_max = decision.events_max};
    enum ptl_status status = PTL_E_EMPTY;
    switch (decision.flow) {
    case PTL_BATCH_NONE:
        return PTL_E_EMPTY;
    case PTL_BATCH_LIVE:
        status =
            a->mode == PTL_MODE_SYNC ? send_replay(a, now, w, &c, f) : send_live(a, now, w, &c, f);
        break;
    case PTL_BATCH_REPLAY:
        status = send_replay(a, now, w, &c, f);
        break;
    case PTL_BATCH_RESEND:
        status = send_again(a, now, w, &c, f);
        break;
    case PTL_BATCH_CONTROL:
        status = send_control(a, now, w, &c, f);
        break;
    }
    if (status == PTL_OK) {
        ptl_batch_sent(&a->batch, decision.flow,
                       in.replay_waiting || in.resend_waiting || in.control_waiting, now->mono_ms);
    }
    return status;
}
