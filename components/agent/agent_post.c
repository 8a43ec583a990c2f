// The door behind the door: an event gets its number, and a place in RAM or on the medium.
//
// Where a record goes depends on the mode of the run, and a mode stronger than what holds is never
// on the medium: MODE ram is appended before the first record that lives only in RAM, MODE direct
// only after the last such record has been appended (agent_store.c).
#include "agent_internal.h"

// Opens the run with its first event. RUN is synced before a number of the run is shown to anyone.
static enum ptl_status run_open(struct ptl_agent *a)
{
    if (a->journal == NULL) {
        a->run_open = true; // no medium: run 0, numbers from 0
        return PTL_OK;
    }
    enum ptl_status status;
    if (!a->run_appended) {
        enum ptl_mode mode = PTL_MODE_RAM;
        if (a->cfg.durability == PTL_DURABLE_SYNC) {
            mode = PTL_MODE_SYNC;
        } else if (a->breaker.state != PTL_BREAKER_CLOSED) {
            mode = PTL_MODE_DIRECT;
        }
        status =
            ptl_journal_run_open(a->journal, a->epoch, mode, ptl_queue_records_max(a->queue.cap));
        if (status == PTL_OK) {
            a->run_appended = true;
            a->mode = mode;
            a->first_seq = a->journal->run.first;
            a->next_seq = a->first_seq;
            a->own_journal_low = a->first_seq;
        }
        ptl_agent_note_drops(a);
    } else {
        status = PTL_OK;
    }
    if (status == PTL_OK) {
        status = ptl_journal_sync(a->journal);
    }
    switch (status) {
    case PTL_OK:
        a->run_open = true;
        return PTL_OK;
    case PTL_E_PENDING:
    case PTL_E_AGAIN:
    case PTL_E_FULL:
        return PTL_E_AGAIN;
    default:
        ptl_agent_media_lost(a);
        a->run_open = true;
        return PTL_OK;
    }
}

// Makes room by giving up the oldest record, which only durability `ram` with a bad link may do.
static enum ptl_status drop_oldest(struct ptl_agent *a)
{
    struct ptl_queue_cursor cursor = {0};
    struct ptl_queue_entry entry;
    if (ptl_queue_peek(&a->queue, &cursor, &entry) != PTL_OK) {
        return PTL_E_FULL;
    }
    const struct ptl_gap gap = {
        .epoch = entry.seq < a->boundary ? a->epoch_before : a->epoch,
        .first = entry.seq,
        .last = entry.seq,
        .reason = PTL_GAP_QUEUE_FULL,
        .kind = entry.sent ? PTL_UNCERTAIN : PTL_LOST,
    };
    size_t bytes = entry.record.len;
    enum ptl_status status = ptl_agent_gap_add(a, &gap, 1, 0);
    if (status != PTL_OK) {
        return PTL_E_FULL;
    }
    ptl_agent_queue_left(a, entry.seq, bytes);
    return PTL_OK;
}

// A record leaves the queue for the journal or for good, in order, oldest first.
void ptl_agent_queue_left(struct ptl_agent *a, uint64_t seq, size_t bytes)
{
    if (seq >= a->live.seq_next) {
        a->live_unsent_bytes -= bytes < a->live_unsent_bytes ? bytes : a->live_unsent_bytes;
    }
    ptl_agent_flight_spilled(a, seq);
    uint32_t count = ptl_queue_release(&a->queue, (struct ptl_range){seq, seq + 1});
    if (seq < a->boundary) {
        a->queue_before -= count;
    }
}

static enum ptl_status reserve(struct ptl_agent *a, size_t bytes_max, uint8_t **room,
                               uint64_t now_ms)
{
    enum ptl_status status = ptl_queue_reserve(&a->queue, bytes_max, room);
    if (status != PTL_E_FULL) {
        return status;
    }
    if (a->journal != NULL) {
        ptl_agent_spill_begin(a, now_ms);
        ptl_agent_store_work(a, now_ms);
        if (a->mode != PTL_MODE_RAM) {
            return PTL_E_FULL; // all of RAM is spilled and the mark says so: nothing goes there now
        }
        return ptl_queue_reserve(&a->queue, bytes_max, room);
    }
    if (a->breaker.state == PTL_BREAKER_CLOSED) {
        return PTL_E_FULL; // the link drains it: backpressure costs nothing
    }
    uint32_t bound = ptl_queue_count(&a->queue);
    for (uint32_t i = 0; i < bound && status == PTL_E_FULL; i++) {
        if (drop_oldest(a) != PTL_OK) {
            return PTL_E_FULL;
        }
        status = ptl_queue_reserve(&a->queue, bytes_max, room);
    }
    return status;
}

static void accepted(struct ptl_agent *a, const struct ptl_event *event, size_t len,
                     uint64_t now_ms)
{
    a->next_seq++;
    PTL_ASSERT(a->next_seq <= PTL_SEQ_MAX);
    a->n.emitted++;
    a->record_mean_bytes = (uint32_t)((7u * (uint64_t)a->record_mean_bytes + len) / 8u);
    if (event->severity == PTL_CRITICAL) {
        a->live_critical = true;
    }
    ptl_batch_offered(&a->batch, 1, now_ms);
}

static enum ptl_status post_ram(struct ptl_agent *a, const struct ptl_event *event,
                                size_t bytes_max, const struct ptl_now *now)
{
    uint8_t *room;
    enum ptl_status status = reserve(a, bytes_max, &room, now->mono_ms);
    if (status == PTL_E_FULL) {
        return PTL_E_AGAIN;
    }
    if (status != PTL_OK) {
        return status;
    }
    size_t len = ptl_record_encode(event, a->cfg.default_source, now, room, bytes_max);
    ptl_queue_commit(&a->queue, a->next_seq, len);
    a->live_unsent_bytes += len;
    accepted(a, event, len, now->mono_ms);
    if (ptl_queue_used_bytes(&a->queue) > a->queue.cap / 100u * a->cfg.high_water_percent) {
        ptl_agent_spill_begin(a, now->mono_ms);
    }
    return PTL_OK;
}

static enum ptl_status post_journal(struct ptl_agent *a, const struct ptl_event *event,
                                    const struct ptl_now *now)
{
    size_t len = ptl_record_encode(event, a->cfg.default_source, now, a->record, a->record_bytes);
    uint64_t held_before = a->journal->held_run;
    enum ptl_status status =
        ptl_journal_append(a->journal, a->next_seq, false, (struct ptl_span){a->record, len});
    ptl_agent_note_drops(a);
    switch (status) {
    case PTL_OK:
        break;
    case PTL_E_AGAIN:
    case PTL_E_FULL:
        return PTL_E_AGAIN;
    case PTL_E_IO:
        ptl_agent_media_lost(a);
        return PTL_E_AGAIN; // the next try goes to RAM under a new epoch
    default:
        return status;
    }
    if (a->replay_empty) {
        a->replay_since_ms = now->mono_ms;
    }
    ptl_agent_journal_took(a, a->next_seq, held_before, now->mono_ms);
    accepted(a, event, len, now->mono_ms);
    ptl_agent_commit_soon(a, now->mono_ms, a->mode == PTL_MODE_SYNC ? 0 : a->cfg.commit_ms);
    return PTL_OK;
}

enum ptl_status ptl_agent_accept(struct ptl_agent *a, const struct ptl_event *event,
                                 const struct ptl_now *now, uint64_t *seq)
{
    size_t bytes_max = ptl_record_bytes_max(event, a->cfg.default_source);
    if (bytes_max > a->record_bytes ||
        bytes_max > a->cfg.limits.event_bytes_max + PTL_AGENT_RECORD_SLACK) {
        a->n.rejected++;
        return PTL_E_TOO_BIG;
    }
    enum ptl_status status = a->run_open ? PTL_OK : run_open(a);
    if (status != PTL_OK) {
        return status;
    }
    if (a->mode == PTL_MODE_DIRECT && a->breaker.state == PTL_BREAKER_CLOSED &&
        a->drain == PTL_DRAIN_NONE) {
        status = ptl_journal_mode_set(a->journal, PTL_MODE_RAM, a->next_seq);
        ptl_agent_note_drops(a);
        if (status == PTL_E_IO) {
            ptl_agent_media_lost(a);
            return PTL_E_AGAIN;
        }
        if (status == PTL_OK) {
            a->mode = PTL_MODE_RAM;
            ptl_agent_commit_soon(a, now->mono_ms, a->cfg.commit_ms);
        } // else the record goes to the medium once more
    }
    status = PTL_E_AGAIN;
    if (a->mode == PTL_MODE_RAM) {
        status = post_ram(a, event, bytes_max, now);
    }
    if (status == PTL_E_AGAIN && a->mode != PTL_MODE_RAM) { // perhaps only since a moment
        status = post_journal(a, event, now);
    }
    if (status == PTL_OK) {
        *seq = a->next_seq - 1;
    } else if (status == PTL_E_TOO_BIG) {
        a->n.rejected++;
    }
    return status;
}

enum ptl_status ptl_agent_post(struct ptl_agent *a, const struct ptl_event *event,
                               const struct ptl_now *now, uint64_t *seq)
{
    ptl_agent_enter(a, now);
    if (a->drain != PTL_DRAIN_NONE) {
        return PTL_E_AGAIN;
    }
    return ptl_agent_accept(a, event, now, seq);
}

bool ptl_agent_wants_pause(const struct ptl_agent *a)
{
    return a->mode == PTL_MODE_RAM && a->breaker.state == PTL_BREAKER_CLOSED &&
           ptl_queue_used_bytes(&a->queue) > a->queue.cap / 200u * a->cfg.high_water_percent;
}

void ptl_agent_count_rejected(struct ptl_agent *a)
{
    a->n.rejected++;
}
