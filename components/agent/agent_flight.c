// Flights: batches sent and not yet settled. A flight is one contiguous range of held records of
// one epoch, so that everything about it is arithmetic.
//
//   free -> WAIT_ACK -> (accepted) released -> free
//              |    \-> (stored) WAIT_RECEIPT -> covered: released -> free
//              |                      | no receipt in time
//              +-- no ack in time ----+-> live: RESEND (from the queue)   replay: free, read again
//
// A live record that is spilled leaves its flight; it is replayed from the journal, and a late
// acknowledgement no longer speaks of it.
#include "agent_internal.h"

#define MISSES_SHIFT_MAX 5u // without any receipt, resends come up to 32 times more slowly

// When a batch that was acknowledged now is sent again for want of a receipt.
static uint64_t receipt_due(const struct ptl_agent *a, uint64_t now_ms)
{
    uint8_t shift = a->receipt_misses < MISSES_SHIFT_MAX ? a->receipt_misses : MISSES_SHIFT_MAX;
    return now_ms + ((uint64_t)a->cfg.receipt_timeout_ms << shift);
}

struct ptl_flight *ptl_agent_flight_free(struct ptl_agent *a)
{
    for (uint32_t i = 0; i < a->flight_count; i++) {
        if (a->flights[i].state == PTL_FLIGHT_FREE) {
            return &a->flights[i];
        }
    }
    return NULL;
}

static bool flights_touch(const struct ptl_flight *low, const struct ptl_flight *high)
{
    return low->state == PTL_FLIGHT_RESEND && high->state == PTL_FLIGHT_RESEND &&
           low->epoch == high->epoch && low->seqs.end == high->seqs.begin;
}

// Two neighbours that both wait to be sent again become one.
static bool flights_merge(struct ptl_agent *a)
{
    for (uint32_t i = 0; i < a->flight_count; i++) {
        for (uint32_t k = 0; k < a->flight_count; k++) {
            if (flights_touch(&a->flights[i], &a->flights[k])) {
                a->flights[i].seqs.end = a->flights[k].seqs.end;
                a->flights[k].state = PTL_FLIGHT_FREE;
                return true;
            }
        }
    }
    return false;
}

uint32_t ptl_agent_flights_room(struct ptl_agent *a)
{
    uint32_t room = 0;
    for (uint32_t i = 0; i < a->flight_count; i++) {
        room += a->flights[i].state == PTL_FLIGHT_FREE;
    }
    return room == 0 && flights_merge(a) ? 1 : room;
}

uint32_t ptl_agent_in_flight(const struct ptl_agent *a)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < a->flight_count; i++) {
        count += a->flights[i].state == PTL_FLIGHT_WAIT_ACK;
    }
    return count;
}

bool ptl_agent_resend_waits(const struct ptl_agent *a)
{
    for (uint32_t i = 0; i < a->flight_count; i++) {
        if (a->flights[i].state == PTL_FLIGHT_RESEND) {
            return true;
        }
    }
    return false;
}

bool ptl_agent_replay_in_flight(const struct ptl_agent *a, uint64_t seq)
{
    for (uint32_t i = 0; i < a->flight_count; i++) {
        const struct ptl_flight *f = &a->flights[i];
        if (f->state != PTL_FLIGHT_FREE && f->flow == PTL_BATCH_REPLAY &&
            ptl_range_contains(f->seqs, seq)) {
            return true;
        }
    }
    return false;
}

// Lowest seq in flight of one flow, UINT64_MAX if none.
uint64_t ptl_agent_flight_low(const struct ptl_agent *a, enum ptl_batch_flow flow)
{
    uint64_t low = UINT64_MAX;
    for (uint32_t i = 0; i < a->flight_count; i++) {
        const struct ptl_flight *f = &a->flights[i];
        if (f->state != PTL_FLIGHT_FREE && f->flow == flow) {
            low = ptl_min_u64(low, f->seqs.begin);
        }
    }
    return low;
}

void ptl_agent_replay_rewind(struct ptl_agent *a)
{
    a->replay = (struct ptl_journal_cursor){0};
    a->replay_empty = false;
}

// The record leaves the queue as its oldest: it can only be the first of a live flight.
void ptl_agent_flight_spilled(struct ptl_agent *a, uint64_t seq)
{
    for (uint32_t i = 0; i < a->flight_count; i++) {
        struct ptl_flight *f = &a->flights[i];
        if (f->state == PTL_FLIGHT_FREE || f->flow != PTL_BATCH_LIVE ||
            !ptl_range_contains(f->seqs, seq)) {
            continue;
        }
        f->seqs.begin = seq + 1;
        if (f->seqs.begin == f->seqs.end) {
            f->state = PTL_FLIGHT_FREE;
        }
    }
}

void ptl_agent_flights_forget_replay(struct ptl_agent *a)
{
    for (uint32_t i = 0; i < a->flight_count; i++) {
        if (a->flights[i].flow == PTL_BATCH_REPLAY) {
            a->flights[i].state = PTL_FLIGHT_FREE;
        }
    }
    ptl_agent_replay_rewind(a);
}

// Nobody will answer any more: what waits for an ack goes out again.
static void flight_unanswered(struct ptl_agent *a, struct ptl_flight *f)
{
    if (f->flow == PTL_BATCH_LIVE) {
        f->state = PTL_FLIGHT_RESEND;
        return;
    }
    f->state = PTL_FLIGHT_FREE;
    if (f->flow == PTL_BATCH_REPLAY) {
        ptl_agent_replay_rewind(a);
    }
}

void ptl_agent_flights_link_down(struct ptl_agent *a)
{
    for (uint32_t i = 0; i < a->flight_count; i++) {
        if (a->flights[i].state == PTL_FLIGHT_WAIT_ACK) {
            flight_unanswered(a, &a->flights[i]);
        }
    }
    if (a->carrier.active && !a->carrier.acked) {
        a->carrier.active = false;
    }
}

void ptl_agent_count_delivered(struct ptl_agent *a, uint64_t epoch, uint64_t count)
{
    if (epoch == a->epoch) {
        a->n.delivered += count;
    } else {
        a->n.delivered_earlier += count;
    }
}

// The last of the journal is read, sent and released: its cursor passes over holes.
static void release_holes(struct ptl_agent *a)
{
    if (a->replay_empty && ptl_agent_flight_low(a, PTL_BATCH_REPLAY) == UINT64_MAX) {
        ptl_journal_release_below(a->journal, a->journal->run.next);
    }
}

// The journal counts released ranges above its cursor, and cannot know where numbers have holes, as
// between two runs: what was read and is in flight no more lies behind the cursor.
static bool release_replay(struct ptl_agent *a, struct ptl_flight *f)
{
    ptl_journal_release_below(a->journal, ptl_agent_replay_low(a));
    if (ptl_journal_release(a->journal, f->seqs) != PTL_OK) {
        f->state = PTL_FLIGHT_SETTLED; // lower ones first
        return false;
    }
    ptl_agent_count_delivered(a, f->epoch, f->seqs.end - f->seqs.begin);
    a->journal_since_ms = f->mono_ms > a->journal_since_ms ? f->mono_ms : a->journal_since_ms;
    f->state = PTL_FLIGHT_FREE;
    a->release_dirty = true;
    ptl_agent_commit_soon(a, a->entered_ms, a->cfg.commit_ms);
    return true;
}

// Lowest first: each may make room for the next.
static void retry_settled(struct ptl_agent *a)
{
    for (uint32_t pass = 0; pass < a->flight_count; pass++) {
        struct ptl_flight *low = NULL;
        for (uint32_t i = 0; i < a->flight_count; i++) {
            struct ptl_flight *f = &a->flights[i];
            if (f->state == PTL_FLIGHT_SETTLED &&
                (low == NULL || f->seqs.begin < low->seqs.begin)) {
                low = f;
            }
        }
        if (low == NULL || !release_replay(a, low)) {
            return;
        }
    }
}

// Delivered: gives the records up where they are held.
static void flight_release(struct ptl_agent *a, struct ptl_flight *f)
{
    switch (f->flow) {
    case PTL_BATCH_LIVE: {
        uint32_t count = ptl_queue_release(&a->queue, f->seqs);
        if (f->seqs.begin < a->boundary) {
            a->queue_before -= count;
        }
        ptl_agent_count_delivered(a, f->epoch, count);
        f->state = PTL_FLIGHT_FREE;
        break;
    }
    case PTL_BATCH_REPLAY:
        if (release_replay(a, f)) {
            retry_settled(a);
            release_holes(a);
        }
        break;
    default:
        f->state = PTL_FLIGHT_FREE;
        break;
    }
}

static struct ptl_flight *flight_of(struct ptl_agent *a, uint32_t ref)
{
    for (uint32_t i = 0; i < a->flight_count; i++) {
        if (a->flights[i].state == PTL_FLIGHT_WAIT_ACK && a->flights[i].ref == ref) {
            return &a->flights[i];
        }
    }
    return NULL;
}

static void carrier_acked(struct ptl_agent *a, uint32_t ref, uint64_t now_ms)
{
    struct ptl_carrier *c = &a->carrier;
    if (!c->active || c->acked || c->ref != ref) {
        return;
    }
    c->acked = true;
    if (a->cfg.delivery == PTL_STORED) {
        c->due_ms = receipt_due(a, now_ms);
        return;
    }
    for (uint8_t i = 0; i < c->gap_count; i++) {
        ptl_agent_gap_confirm(a, c->epoch, c->gaps[i]);
    }
    if (c->end_count > 0) {
        ptl_agent_end_confirm(a, &c->end);
    }
    c->active = false;
}

void ptl_agent_acked(struct ptl_agent *a, uint32_t ref, uint64_t now_ms)
{
    struct ptl_flight *f = flight_of(a, ref);
    if (f == NULL) {
        a->n.late_acks++;
        carrier_acked(a, ref, now_ms); // its records went elsewhere meanwhile, its gaps did not
        return;
    }
    a->n.acks++;
    bool backlog = ptl_agent_resend_waits(a) || (a->journal != NULL && !a->replay_empty) ||
                   a->live_unsent_bytes >= a->cfg.batch.bytes_max;
    ptl_batch_acked(&a->batch, backlog);
    (void)ptl_breaker_acked(&a->breaker, now_ms);
    if (a->events_cap < a->cfg.batch.events_max) {
        a->events_cap = a->events_cap * 2 < a->cfg.batch.events_max ? a->events_cap * 2
                                                                    : a->cfg.batch.events_max;
    }
    if (a->cfg.delivery == PTL_STORED && f->flow != PTL_BATCH_CONTROL &&
        !ptl_agent_is_covered(a, f->epoch, f->seqs)) {
        f->state = PTL_FLIGHT_WAIT_RECEIPT;
        f->due_ms = receipt_due(a, now_ms);
    } else {
        flight_release(a, f);
    }
    carrier_acked(a, ref, now_ms);
}

// One event alone was refused for its content: it becomes a gap, the rest goes on.
static bool refuse_record(struct ptl_agent *a, struct ptl_flight *f)
{
    const struct ptl_gap gap = {
        .epoch = f->epoch,
        .first = f->seqs.begin,
        .last = f->seqs.begin,
        .reason = PTL_GAP_REFUSED,
        .kind = PTL_LOST,
    };
    if (ptl_agent_gap_add(a, &gap, 1, f->flow == PTL_BATCH_REPLAY ? 1 : 0) != PTL_OK) {
        return false; // the verdict waits: no slot, or the medium is busy
    }
    if (f->flow == PTL_BATCH_LIVE) {
        uint32_t count = ptl_queue_release(&a->queue, f->seqs);
        if (f->seqs.begin < a->boundary) {
            a->queue_before -= count;
        }
    }
    f->state = PTL_FLIGHT_FREE;
    return true;
}

void ptl_agent_refused(struct ptl_agent *a, uint32_t ref, bool content, uint64_t now_ms)
{
    struct ptl_flight *f = flight_of(a, ref);
    if (f == NULL) {
        a->n.late_acks++;
        return;
    }
    a->n.refused++;
    if (!content || f->flow == PTL_BATCH_CONTROL) {
        return; // no verdict about the events: as good as no answer, the ack's timer decides
    }
    (void)ptl_breaker_acked(&a->breaker, now_ms); // the service answers
    uint64_t count = f->seqs.end - f->seqs.begin;
    if (a->carrier.active && a->carrier.ref == ref) {
        a->carrier.active = false;
    }
    if (count == 1 && refuse_record(a, f)) {
        return;
    }
    uint32_t half = count > 1 ? (uint32_t)(count / 2) : 1;
    a->events_cap = half < a->events_cap ? half : a->events_cap;
    flight_unanswered(a, f);
}

void ptl_agent_flights_covered(struct ptl_agent *a, const struct ptl_covered *covered,
                               uint64_t now_ms)
{
    uint32_t newest = 0;
    bool any = false;
    for (uint32_t i = 0; i < a->flight_count; i++) {
        struct ptl_flight *f = &a->flights[i];
        if (f->epoch != covered->epoch || f->flow == PTL_BATCH_CONTROL ||
            (f->state != PTL_FLIGHT_WAIT_ACK && f->state != PTL_FLIGHT_WAIT_RECEIPT &&
             f->state != PTL_FLIGHT_RESEND)) {
            continue;
        }
        if (f->state == PTL_FLIGHT_WAIT_ACK || !ptl_agent_is_covered(a, f->epoch, f->seqs)) {
            continue; // an ack that is on the way will find the receipt remembered
        }
        if (!any || (int32_t)(f->serial - newest) > 0) {
            newest = f->serial;
            any = true;
        }
        flight_release(a, f);
    }
    if (!any) {
        return;
    }
    a->receipt_misses = 0;
    // What was sent earlier and is still not covered was probably lost after its ack.
    for (uint32_t i = 0; i < a->flight_count; i++) {
        struct ptl_flight *f = &a->flights[i];
        if (f->state == PTL_FLIGHT_WAIT_RECEIPT && (int32_t)(newest - f->serial) > 0) {
            f->due_ms = ptl_min_u64(f->due_ms, now_ms + a->cfg.resend_ms);
        }
    }
}

static void ack_timed_out(struct ptl_agent *a, struct ptl_flight *f, uint64_t now_ms)
{
    a->n.ack_timeouts++;
    if (a->carrier.active && a->carrier.ref == f->ref) {
        a->carrier.active = false;
    }
    flight_unanswered(a, f);
    ptl_batch_ack_timed_out(&a->batch);
    bool lost = a->breaker.state == PTL_BREAKER_HALF_OPEN; // the probe: one is enough
    if (!lost && a->breaker.state == PTL_BREAKER_CLOSED && a->link == PTL_LINK_UP) {
        lost = ptl_breaker_ack_timed_out(&a->breaker, &a->prng, now_ms);
        a->breaker_told = a->breaker_told || lost;
    }
    if (lost) {
        ptl_agent_lose_link(a, PTL_REACT_RETRY, PTL_SPAN_OF("acknowledgements stay away"));
    }
}

void ptl_agent_flights_timeouts(struct ptl_agent *a, uint64_t now_ms)
{
    bool missed = false;
    for (uint32_t i = 0; i < a->flight_count; i++) {
        struct ptl_flight *f = &a->flights[i];
        if (f->state == PTL_FLIGHT_WAIT_ACK && now_ms >= f->due_ms) {
            ack_timed_out(a, f, now_ms);
        } else if (f->state == PTL_FLIGHT_WAIT_RECEIPT && now_ms >= f->due_ms) {
            missed = true;
            flight_unanswered(a, f);
        }
    }
    struct ptl_carrier *c = &a->carrier;
    if (c->active && now_ms >= c->due_ms) {
        c->active = false;
        missed = missed || c->acked;
    }
    if (missed && a->receipt_misses < MISSES_SHIFT_MAX) {
        a->receipt_misses++;
    }
}

// Receipts stay away: one backlog batch at a time is enough to find out when they come back.
bool ptl_agent_backlog_waits_for_receipt(const struct ptl_agent *a)
{
    if (a->receipt_misses == 0) {
        return false;
    }
    for (uint32_t i = 0; i < a->flight_count; i++) {
        const struct ptl_flight *f = &a->flights[i];
        if (f->state == PTL_FLIGHT_WAIT_RECEIPT && (f->flow == PTL_BATCH_REPLAY || f->again)) {
            return true;
        }
    }
    return false;
}

uint64_t ptl_agent_flights_deadline(const struct ptl_agent *a)
{
    uint64_t due = a->carrier.active ? a->carrier.due_ms : PTL_NEVER;
    for (uint32_t i = 0; i < a->flight_count; i++) {
        const struct ptl_flight *f = &a->flights[i];
        if (f->state == PTL_FLIGHT_WAIT_ACK || f->state == PTL_FLIGHT_WAIT_RECEIPT) {
            due = ptl_min_u64(due, f->due_ms);
        }
    }
    return due;
}
