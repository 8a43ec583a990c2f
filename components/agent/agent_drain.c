// The end of a run: send what is held, put the rest on the medium, write the end, say the end.
#include "agent_internal.h"

// How long the receiver has to confirm the end of the run before the program leaves anyway; the end
// then stays on the medium and goes out after the next start.
static uint64_t end_patience_ms(const struct ptl_agent *a)
{
    return (uint64_t)a->cfg.ack_timeout_ms + (a->cfg.delivery == PTL_STORED ? a->cfg.resend_ms : 0);
}

void ptl_agent_drain(struct ptl_agent *a, uint64_t deadline_ms, const struct ptl_now *now)
{
    ptl_agent_enter(a, now);
    if (a->drain == PTL_DRAIN_NONE) {
        a->drain = PTL_DRAIN_FLUSH;
        a->drain_deadline_ms = deadline_ms;
    } else if (a->drain == PTL_DRAIN_FLUSH && deadline_ms < a->drain_deadline_ms) {
        a->drain_deadline_ms = deadline_ms; // a signal after the end of the input has less patience
    }
}

// How long the medium has to take what RAM holds, and the end. Where it cannot (full, and no slot
// for another gap before the receiver has confirmed some), the program leaves all the same: the
// next mount finds the run torn and says so.
static bool patience_is_over(struct ptl_agent *a, uint64_t now_ms)
{
    if (now_ms < a->drain_deadline_ms ||
        (a->journal != NULL && ptl_journal_is_pending(a->journal))) {
        return false;
    }
    a->drain = PTL_DRAIN_END;
    return true;
}

static bool everything_is_settled(const struct ptl_agent *a)
{
    uint32_t gaps;
    (void)ptl_agent_gaps(a, &gaps);
    return ptl_agent_holds_nothing(a) && gaps == 0 && !a->carrier.active;
}

static void drain_flush(struct ptl_agent *a, uint64_t now_ms)
{
    if (!everything_is_settled(a) && now_ms < a->drain_deadline_ms) {
        return;
    }
    a->drain = PTL_DRAIN_SPILL;
    a->drain_deadline_ms = now_ms + a->cfg.ack_timeout_ms;
    ptl_agent_spill_begin(a, now_ms);
    ptl_agent_store_work(a, now_ms);
}

static void drain_spill(struct ptl_agent *a, uint64_t now_ms)
{
    if (!a->run_open || (a->journal == NULL && ptl_queue_count(&a->queue) > 0)) {
        // Nothing was ever said of this run, or what RAM holds has nowhere to go (status tells).
        a->drain = PTL_DRAIN_DONE;
        return;
    }
    if (ptl_queue_count(&a->queue) == 0) {
        a->drain = PTL_DRAIN_CLOSE;
        return;
    }
    (void)patience_is_over(a, now_ms);
}

static void drain_close(struct ptl_agent *a, uint64_t now_ms)
{
    if (a->journal == NULL && a->next_seq == a->first_seq) {
        a->drain = PTL_DRAIN_DONE; // nobody heard of this run
        return;
    }
    if (a->journal == NULL) {
        a->ram.end = (struct ptl_end){.epoch = a->epoch,
                                      .from = a->next_seq,
                                      .next = a->next_seq,
                                      .runs = 1,
                                      .how = PTL_CLOSED};
        a->ram.end_count = 1;
    } else {
        if (ptl_journal_is_pending(a->journal)) {
            return;
        }
        enum ptl_status status = PTL_OK;
        if (a->journal->run.open) {
            if (a->release_dirty) {
                status = ptl_journal_release_write(a->journal);
                a->release_dirty = status != PTL_OK;
            }
            if (status == PTL_OK) {
                status = ptl_journal_run_close(a->journal, a->next_seq);
            }
            ptl_agent_note_drops(a); // a block change may have given up what is in flight
        }
        if (status == PTL_OK) {
            status = ptl_journal_sync(a->journal);
        }
        if (status == PTL_E_IO) {
            ptl_agent_media_lost(a);
            a->drain = PTL_DRAIN_DONE;
            return;
        }
        if (status != PTL_OK) {
            (void)patience_is_over(a, now_ms);
            return;
        }
        ptl_agent_synced(a);
    }
    a->drain = PTL_DRAIN_END;
    a->drain_deadline_ms = now_ms + end_patience_ms(a);
}

// The end was confirmed, or cannot be: the last release goes to the medium.
static void drain_end(struct ptl_agent *a, uint64_t now_ms)
{
    uint32_t ends;
    (void)ptl_agent_ends(a, &ends);
    bool may_still = a->ready && ptl_agent_holds_nothing(a) && now_ms < a->drain_deadline_ms;
    if (ends > 0 && may_still) {
        return;
    }
    if (a->journal != NULL) {
        if (ptl_journal_is_pending(a->journal)) {
            return;
        }
        enum ptl_status status = PTL_OK;
        if (a->release_dirty) {
            status = ptl_journal_release_write(a->journal);
            ptl_agent_note_drops(a);
            a->release_dirty = false; // a release that does not get written costs a duplicate
        }
        if (status == PTL_OK) {
            status = ptl_journal_sync(a->journal);
        }
        if (status == PTL_E_PENDING) {
            return;
        }
    }
    a->drain = PTL_DRAIN_DONE;
}

void ptl_agent_drain_work(struct ptl_agent *a, uint64_t now_ms)
{
    if (a->drain == PTL_DRAIN_FLUSH) {
        drain_flush(a, now_ms);
    }
    if (a->drain == PTL_DRAIN_SPILL) {
        drain_spill(a, now_ms);
    }
    if (a->drain == PTL_DRAIN_CLOSE) {
        drain_close(a, now_ms);
    }
    if (a->drain == PTL_DRAIN_END) {
        drain_end(a, now_ms);
    }
}

uint64_t ptl_agent_drain_deadline(const struct ptl_agent *a, uint64_t now_ms)
{
    switch (a->drain) {
    case PTL_DRAIN_FLUSH:
    case PTL_DRAIN_END:
        return a->drain_deadline_ms > now_ms ? a->drain_deadline_ms : now_ms + 1;
    case PTL_DRAIN_SPILL:
    case PTL_DRAIN_CLOSE:
        return a->drain_deadline_ms > now_ms ? a->drain_deadline_ms
                                             : PTL_NEVER; // the medium's turn
    case PTL_DRAIN_NONE:
    case PTL_DRAIN_DONE:
        break;
    }
    return PTL_NEVER;
}
