// Checkers: they see what an outsider sees (status, wire, receiver) and hold it against the
// promises of the design. None looks into the agent.
#include "ptl_sim_world.h"

#include <inttypes.h>
#include <string.h>

#define SEEN (PTL_SIM_STORED | PTL_SIM_GAP_LOST | PTL_SIM_GAP_UNCERTAIN)

// -- The wire -------------------------------------------------------------------------------------

// Within the live flow and within the replay flow numbers ascend, so the first sends of one run are
// two ascending rows woven together (one where there is one flow): each number goes on the longer
// row that it can continue.
static void order_check(struct ptl_sim_world *w, struct ptl_sim_run *run, uint64_t seq)
{
    bool one = w->cfg.batch.strict_order || w->cfg.durability == PTL_DURABLE_SYNC ||
               w->cfg.durability == PTL_DURABLE_RAM;
    uint32_t flows = one ? 1 : 2;
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < flows; i++) {
        uint64_t last = run->first_sent[i];
        bool fits = last == UINT64_MAX || last < seq;
        if (fits && (best == UINT32_MAX || run->first_sent[best] == UINT64_MAX ||
                     (last != UINT64_MAX && last > run->first_sent[best]))) {
            best = i;
        }
    }
    if (best == UINT32_MAX) {
        ptl_sim_fail(w, "seq %" PRIu64 " is sent first after %" PRIu64 " and %" PRIu64, seq,
                     run->first_sent[0], run->first_sent[1]);
        return;
    }
    run->first_sent[best] = seq;
}

void ptl_sim_check_sent(struct ptl_sim_world *w, const uint8_t *bytes, size_t len)
{
    struct ptl_sim_device *d = &w->device;
    struct ptl_sim_frame frame;
    const char *wrong = ptl_sim_frame_read((struct ptl_span){bytes, len}, true, &frame);
    wrong = wrong != NULL ? wrong : ptl_sim_batch_read(frame.payload, &w->batch);
    if (wrong != NULL) {
        ptl_sim_fail(w, "sends a bad batch: %s", wrong);
        return;
    }
    ptl_sim_trace(w,
                  "-> ref %.*s epoch %016" PRIx64 " floor %" PRIu64 " events %" PRIu32 " [%" PRIu64
                  "..%" PRIu64 "] gaps %" PRIu32 " ends %" PRIu32 " bytes %zu",
                  (int)frame.ref.len, (const char *)frame.ref.ptr, w->batch.epoch, w->batch.floor,
                  w->batch.event_count, w->batch.event_count > 0 ? w->batch.events[0].seq : 0,
                  w->batch.event_count > 0 ? w->batch.events[w->batch.event_count - 1].seq : 0,
                  w->batch.gap_count, w->batch.end_count, frame.payload.len);
    for (uint32_t i = 0; i < w->batch.gap_count; i++) {
        ptl_sim_trace(w, "   gap %" PRIu64 "..%" PRIu64 " reason %u kind %u",
                      w->batch.gaps[i].first, w->batch.gaps[i].last, w->batch.gaps[i].reason,
                      w->batch.gaps[i].kind);
    }
    for (uint32_t i = 0; i < w->batch.end_count; i++) {
        ptl_sim_trace(w, "   end %016" PRIx64 " next %" PRIu64 " how %u at_most %" PRIu32,
                      w->batch.ends[i].epoch, w->batch.ends[i].next, w->batch.ends[i].how,
                      w->batch.ends[i].at_most);
    }
    if (frame.payload.len > w->cfg.batch.bytes_max ||
        w->batch.event_count > w->cfg.batch.events_max) {
        ptl_sim_fail(w, "a batch of %zu bytes and %" PRIu32 " events is above its caps",
                     frame.payload.len, w->batch.event_count);
    }
    struct ptl_sim_run *run = ptl_sim_ledger_run_of(&w->ledger, w->batch.epoch, w->batch.floor);
    for (uint32_t i = 0; i < w->batch.event_count; i++) {
        uint64_t seq = w->batch.events[i].seq;
        if (run->synced && run->journaled && run->epoch == d->status.epoch &&
            seq >= ptl_agent_durable_next(&d->agent)) {
            ptl_sim_fail(w, "seq %" PRIu64 " is sent before it is synced", seq);
        }
        if (ptl_sim_run_mark(run, seq, PTL_SIM_SENT)) {
            order_check(w, run, seq);
        }
    }
}

// -- Status after every step ----------------------------------------------------------------------

void ptl_sim_check_step(struct ptl_sim_world *w)
{
    struct ptl_sim_device *d = &w->device;
    struct ptl_agent_status before = d->status;
    struct ptl_now now = ptl_sim_device_now(w);
    ptl_agent_status_get(&d->agent, &now, &d->status);
    const struct ptl_agent_status *s = &d->status;
    if (s->emitted != s->delivered + s->held + s->lost + s->uncertain) {
        ptl_sim_fail(w,
                     "conservation: emitted %" PRIu64 " = delivered %" PRIu64 " + held %" PRIu64
                     " + lost %" PRIu64 " + uncertain %" PRIu64,
                     s->emitted, s->delivered, s->held, s->lost, s->uncertain);
    }
    if (s->held != s->held_queue + s->held_journal) {
        ptl_sim_fail(w, "held %" PRIu64 " is not queue %" PRIu64 " + journal %" PRIu64, s->held,
                     s->held_queue, s->held_journal);
    }
    if (s->epoch == before.epoch &&
        (s->emitted < before.emitted || s->delivered < before.delivered)) {
        ptl_sim_fail(w, "a counter fell");
    }
    struct ptl_sim_run *run = ptl_sim_ledger_find(&w->ledger, s->epoch);
    if (s->media_failed && s->emitted > 0) {
        run = ptl_sim_ledger_run_of(&w->ledger, s->epoch, s->next_seq);
        if (!run->first_known) { // it goes on where the run on the dead medium stood
            run->next = s->next_seq - s->emitted;
            run->first_known = true;
        }
    }
    if (run == NULL) {
        if (s->delivered > 0) {
            ptl_sim_fail(w, "delivered %" PRIu64 " of a run nobody heard of", s->delivered);
        }
        return;
    }
    if (w->cfg.status_ms == 0 && !s->media_failed &&
        s->emitted != ptl_sim_run_count(run, PTL_SIM_POSTED)) {
        ptl_sim_fail(w, "emitted %" PRIu64 " and posted %" PRIu32, s->emitted,
                     ptl_sim_run_count(run, PTL_SIM_POSTED));
    }
    enum ptl_sim_fact proof = w->cfg.delivery == PTL_STORED ? PTL_SIM_STORED : PTL_SIM_ACKED;
    if (s->delivered > ptl_sim_run_count(run, proof)) {
        ptl_sim_fail(w, "delivered %" PRIu64 " and only %" PRIu32 " are %s", s->delivered,
                     ptl_sim_run_count(run, proof),
                     proof == PTL_SIM_STORED ? "stored" : "acknowledged");
    }
}

// -- What became of every event -------------------------------------------------------------------

// The end that speaks of what is missing of `run`: its own, or the one it was merged into; at
// `accepted` also one that a server acknowledged and lost. NULL: none.
static const struct ptl_end *end_of(const struct ptl_sim_world *w, const struct ptl_sim_run *run)
{
    for (uint32_t i = 0; i < w->ledger.count; i++) {
        const struct ptl_sim_run *other = &w->ledger.runs[i];
        const struct ptl_end *end = other->ended ? &other->end : NULL;
        if (end == NULL && w->cfg.delivery == PTL_ACCEPTED && other->end_lost.runs > 0) {
            end = &other->end_lost;
        }
        if (end != NULL &&
            (other == run || (!run->ended && end->runs > 1 && other->base > run->base &&
                              end->from < run->base + (UINT64_C(1) << PTL_RUN_SHIFT)))) {
            return end;
        }
    }
    return NULL;
}

static void facts_check(struct ptl_sim_world *w, const struct ptl_sim_run *run, uint64_t seq,
                        const struct ptl_sim_cell *cell)
{
    uint8_t facts = cell->facts;
    uint8_t both = PTL_SIM_GAP_LOST | PTL_SIM_GAP_UNCERTAIN;
    const char *wrong = NULL;
    if ((facts & both) == both) {
        wrong = "has two verdicts";
    } else if ((facts & PTL_SIM_GAP_LOST) != 0 && (facts & PTL_SIM_STORED) != 0) {
        wrong = "is said to be lost and is stored";
    } else if ((facts & PTL_SIM_GAP_LOST) != 0 && (facts & PTL_SIM_SENT) != 0 &&
               cell->gap_reason != PTL_GAP_REFUSED) {
        wrong = "is said to be lost, which means never sent, and was sent";
    } else if ((facts & PTL_SIM_STORED) != 0 && (facts & PTL_SIM_POSTED) != 0 &&
               cell->stored_id != cell->id) {
        wrong = "is stored with another event's data";
    }
    if (wrong != NULL) {
        ptl_sim_fail(w, "epoch %016" PRIx64 " seq %" PRIu64 " %s", run->epoch, seq, wrong);
    }
}

static void missing(struct ptl_sim_world *w, const struct ptl_sim_run *run, uint64_t seq,
                    uint8_t facts, struct ptl_sim_verdict *v)
{
    const struct ptl_end *end = end_of(w, run);
    if (w->cfg.delivery == PTL_ACCEPTED && (facts & PTL_SIM_SERVER_LOST) != 0) {
        v->server_lost++;
    } else if (run->stop != PTL_SIM_RUNNING && !run->journaled) {
        v->ram_lost++;
    } else if (end != NULL && end->how == PTL_TORN && seq >= end->from && !run->synced) {
        v->torn++;
    } else {
        ptl_sim_fail(w,
                     "epoch %016" PRIx64 " seq %" PRIu64
                     " was accepted and vanished (facts %02x, end %s)",
                     run->epoch, seq, facts,
                     end == NULL              ? "none"
                     : end->how == PTL_CLOSED ? "closed"
                                              : "torn");
    }
}

static void run_judge(struct ptl_sim_world *w, struct ptl_sim_run *run, struct ptl_sim_verdict *v)
{
    uint64_t torn_before = v->torn;
    for (uint32_t i = 0; i < run->count; i++) {
        const struct ptl_sim_cell *cell = &run->cells[i];
        uint64_t seq = run->base + i;
        facts_check(w, run, seq, cell);
        if ((cell->facts & PTL_SIM_TOLD) == 0) {
            continue;
        }
        v->told++;
        if ((cell->facts & PTL_SIM_STORED) != 0) {
            v->stored++;
        } else if ((cell->facts & SEEN) != 0) {
            v->in_gaps++;
        } else {
            missing(w, run, seq, cell->facts, v);
        }
    }
    run->torn_missing = (uint32_t)(v->torn - torn_before);
    const struct ptl_end *end = end_of(w, run);
    bool shown = ptl_sim_run_count(run, PTL_SIM_POSTED) > 0;
    if (shown && run->journaled && run->stop != PTL_SIM_RUNNING && end == NULL) {
        ptl_sim_fail(w, "the end of epoch %016" PRIx64 " was never said", run->epoch);
    }
    if (shown && run->journaled && run->stop == PTL_SIM_CLEAN && run->ended && run->end.runs == 1 &&
        (run->end.how != PTL_CLOSED || run->end.next <= run->seq_posted_last)) {
        ptl_sim_fail(w, "epoch %016" PRIx64 " stopped cleanly, its end says %s at %" PRIu64,
                     run->epoch, run->end.how == PTL_CLOSED ? "closed" : "torn", run->end.next);
    }
}

// What torn ends say may be missing bounds what is.
static void bounds_check(struct ptl_sim_world *w)
{
    for (uint32_t i = 0; i < w->ledger.count; i++) {
        const struct ptl_end *end = end_of(w, &w->ledger.runs[i]);
        uint64_t sum = 0;
        for (uint32_t k = 0; end != NULL && k < w->ledger.count; k++) {
            if (end_of(w, &w->ledger.runs[k]) == end) {
                sum += w->ledger.runs[k].torn_missing;
            }
        }
        if (end != NULL && sum > end->at_most) {
            ptl_sim_fail(w,
                         "%" PRIu64 " events are missing, the torn end of %016" PRIx64
                         " says at most %" PRIu32,
                         sum, end->epoch, end->at_most);
        }
    }
}

struct ptl_sim_verdict ptl_sim_world_judge(struct ptl_sim_world *w)
{
    struct ptl_sim_verdict v = {.duplicates = w->receiver.duplicates};
    if (w->failure[0] != '\0') {
        return v;
    }
    for (uint32_t i = 0; i < w->ledger.count; i++) {
        run_judge(w, &w->ledger.runs[i], &v);
    }
    bounds_check(w);
    return v;
}

uint64_t ptl_sim_drain_bound_ms(const struct ptl_sim_world *w)
{
    const struct ptl_agent_status *s = &w->device.status;
    const struct ptl_breaker_config *b = &w->cfg.breaker;
    uint64_t fleet_ms = UINT64_C(2600) * b->fleet_size / (b->joins_per_s > 0 ? b->joins_per_s : 1);
    uint64_t wait_ms = b->backoff_cap_ms > fleet_ms ? b->backoff_cap_ms : fleet_ms;
    wait_ms = wait_ms > b->slow_ms ? wait_ms : b->slow_ms;
    // A dead link is noticed by heartbeat or acknowledgement, then one wait, one connect, one join;
    // a retransmission of the network may hold back what is under way for a minute.
    uint64_t link_ms = 50000 + 60000 + wait_ms + w->cfg.connect_ms + 12000;
    uint64_t per_batch = w->cfg.batch.bytes_max / (w->cfg.event_bytes_max + 200u);
    if (per_batch > w->cfg.batch.events_max) {
        per_batch = w->cfg.batch.events_max;
    }
    uint64_t batches =
        (s->held + s->held_earlier + w->app.waiting_count) / (per_batch > 0 ? per_batch : 1) + 10 +
        s->gap_count + s->end_count;
    uint64_t batch_ms = 2u * (w->cfg.link.latency_ms + w->cfg.link.jitter_ms) + 1100u;
    batch_ms += w->cfg.receiver.commit_ms + w->cfg.server.forward_ms;
    if (w->cfg.link.bytes_per_s > 0) {
        batch_ms += 1000u * (w->cfg.batch.bytes_max + 1000u) / w->cfg.link.bytes_per_s;
    }
    if (w->cfg.batch.messages_per_1000_s > 0) {
        batch_ms += 1000000u / w->cfg.batch.messages_per_1000_s;
    }
    // Where receipts stayed away, the probe for them may just have begun its longest wait.
    uint64_t receipt_ms = w->cfg.delivery == PTL_STORED ? 320000u + 4u * 10000u : 0;
    return link_ms + batches * batch_ms + receipt_ms;
}
