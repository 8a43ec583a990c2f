// What the agent says of itself: the status report, and the petrel.status event.
#include "agent_internal.h"

#include <string.h>

#define DATA_BYTES_MAX 640u

static uint64_t journal_count(const struct ptl_agent *a, uint32_t which)
{
    if (a->journal == NULL) {
        return 0;
    }
    const struct ptl_journal_counters *c = &a->journal->counters;
    const uint64_t now[3] = {c->dropped_lost, c->dropped_uncertain, c->dropped_earlier};
    return now[which] - a->dropped_base[which];
}

static uint64_t oldest_age_ms(const struct ptl_agent *a, uint64_t now_ms)
{
    struct ptl_queue_cursor cursor = {0};
    struct ptl_queue_entry entry;
    struct ptl_record record;
    uint64_t since_ms = now_ms;
    if (a->journal != NULL && a->journal->held > 0) {
        since_ms = ptl_min_u64(since_ms, a->journal_since_ms);
    }
    if (ptl_queue_peek(&a->queue, &cursor, &entry) == PTL_OK &&
        ptl_record_decode(entry.record, &record) == PTL_OK) {
        since_ms = ptl_min_u64(since_ms, record.mono_ms);
    }
    return now_ms - since_ms;
}

static uint64_t events_in_flight(const struct ptl_agent *a)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < a->flight_count; i++) {
        if (a->flights[i].state == PTL_FLIGHT_WAIT_ACK) {
            count += a->flights[i].seqs.end - a->flights[i].seqs.begin;
        }
    }
    return count;
}

static void status_counters(const struct ptl_agent *a, struct ptl_agent_status *s)
{
    s->emitted = a->n.emitted;
    s->delivered = a->n.delivered;
    s->delivered_earlier = a->n.delivered_earlier;
    s->rejected = a->n.rejected;
    s->lost = a->n.lost + journal_count(a, 0);
    s->uncertain = a->n.uncertain + journal_count(a, 1);
    s->dropped_earlier = a->n.dropped_earlier + journal_count(a, 2);
    s->held_ram = ptl_queue_count(&a->queue);
    s->held_queue = s->held_ram - a->queue_before;
    s->held_earlier = a->queue_before;
    if (a->journal != NULL) {
        s->held_journal = a->journal->held_run;
        s->held_earlier += a->journal->held - a->journal->held_run;
    }
    if (!a->run_appended && a->journal != NULL) {
        s->held_earlier += s->held_journal; // the journal's last run is not ours yet
        s->held_journal = 0;
    }
    s->held = s->held_queue + s->held_journal;
}

void ptl_agent_status_get(const struct ptl_agent *a, const struct ptl_now *now,
                          struct ptl_agent_status *s)
{
    uint32_t gaps, ends;
    (void)ptl_agent_gaps(a, &gaps);
    (void)ptl_agent_ends(a, &ends);
    *s = (struct ptl_agent_status){
        .epoch = a->epoch,
        .in_flight = events_in_flight(a),
        .oldest_ms = oldest_age_ms(a, now->mono_ms),
        .queue_bytes = ptl_queue_used_bytes(&a->queue),
        .messages_sent = a->n.messages_sent,
        .events_sent = a->n.events_sent,
        .bytes_sent = a->n.bytes_sent,
        .acks = a->n.acks,
        .receipts = a->n.receipts,
        .receipts_foreign = a->n.receipts_foreign,
        .receipts_beyond = a->n.receipts_beyond,
        .ack_timeouts = a->n.ack_timeouts,
        .resent_batches = a->n.resent_batches,
        .late_acks = a->n.late_acks,
        .refused = a->n.refused,
        .ignored = a->n.ignored,
        .spill_misses = a->n.spill_misses,
        .connects = a->n.connects,
        .links_lost = a->n.links_lost,
        .retry_at_ms = a->link == PTL_LINK_DOWN ? ptl_breaker_deadline(&a->breaker) : PTL_NEVER,
        .durable_next = ptl_agent_durable_next(a),
        .next_seq = a->next_seq,
        .window = ptl_batch_window(&a->batch),
        .last_batch_events = a->n.last_batch_events,
        .last_batch_bytes = a->n.last_batch_bytes,
        .gap_count = (uint8_t)gaps,
        .end_count = (uint8_t)ends,
        .breaker = a->breaker.state,
        .mode = a->mode,
        .joined = a->ready,
        .linked = a->link == PTL_LINK_UP,
        .connecting = a->link == PTL_LINK_CONNECTING,
        .spilling = a->spilling,
        .media = a->journal != NULL,
        .media_failed = a->media_failed,
        .draining = a->drain != PTL_DRAIN_NONE,
        .cause_reaction = a->breaker.cause,
    };
    status_counters(a, s);
    memcpy(s->cause, a->cause, sizeof(s->cause));
}

static void member(struct ptl_writer *w, const char *name, uint64_t value)
{
    ptl_write_text(w, ",\"");
    ptl_write_text(w, name);
    ptl_write_text(w, "\":");
    ptl_write_u64(w, value);
}

static size_t status_data(const struct ptl_agent *a, const struct ptl_now *now, uint8_t *buf)
{
    static const char *const breaker_names[] = {"closed", "open", "half_open"};
    struct ptl_agent_status s;
    ptl_agent_status_get(a, now, &s);
    struct ptl_writer w = ptl_writer_on(buf, DATA_BYTES_MAX);
    ptl_write_text(&w, "{\"version\":\"");
    ptl_write_span(&w, a->cfg.version);
    ptl_write_text(&w, "\",\"breaker\":\"");
    ptl_write_text(&w, breaker_names[s.breaker]);
    ptl_write_text(&w, "\",\"cause\":\"");
    ptl_write_json_escaped(&w, ptl_span_of_text(s.cause));
    ptl_write_text(&w, "\"");
    member(&w, "emitted", s.emitted);
    member(&w, "delivered", s.delivered);
    member(&w, "held", s.held);
    member(&w, "lost", s.lost);
    member(&w, "uncertain", s.uncertain);
    member(&w, "rejected", s.rejected);
    member(&w, "held_earlier", s.held_earlier);
    member(&w, "messages_sent", s.messages_sent);
    member(&w, "links_lost", s.links_lost);
    member(&w, "spill_misses", s.spill_misses);
    ptl_write_text(&w, "}");
    PTL_ASSERT(!w.overflow);
    return w.len;
}

// The agent's own event; a busy medium or a full queue only puts it off.
void ptl_agent_status_work(struct ptl_agent *a, const struct ptl_now *now)
{
    if (a->status_due_ms == PTL_NEVER || a->drain != PTL_DRAIN_NONE) {
        return;
    }
    bool changed = a->run_open && a->breaker.state != a->breaker_said &&
                   a->breaker.state != PTL_BREAKER_HALF_OPEN;
    if (!changed && now->mono_ms < a->status_due_ms) {
        return;
    }
    uint8_t data[DATA_BYTES_MAX];
    const struct ptl_event event = {
        .event_type = PTL_SPAN_OF("petrel.status"),
        .source = PTL_SPAN_OF("petrel"),
        .data = {data, status_data(a, now, data)},
        .severity = a->breaker.state == PTL_BREAKER_CLOSED ? PTL_INFO : PTL_WARNING,
    };
    uint64_t seq;
    if (ptl_agent_accept(a, &event, now, &seq) == PTL_E_AGAIN) {
        a->status_due_ms = now->mono_ms + 1000;
        return;
    }
    a->breaker_said = a->breaker.state;
    a->status_due_ms = now->mono_ms + a->cfg.status_ms;
}

uint64_t ptl_agent_status_deadline(const struct ptl_agent *a)
{
    return a->drain == PTL_DRAIN_NONE ? a->status_due_ms : PTL_NEVER;
}
