// The agent's outside: init, link, messages, poll. What it composes stands in the files beside it:
// agent_post (door), agent_store (spilling, medium), agent_flight (sent and unsettled), agent_send
// (what goes next), agent_receipt, agent_drain, agent_status.
#include "agent_internal.h"

#include <string.h>

#define TICKS_MAX    8u // session events per poll
#define HEADER_BYTES 512u

static bool config_is_valid(const struct ptl_agent_config *cfg,
                            const struct ptl_agent_memory *memory,
                            const struct ptl_journal *journal, const struct ptl_adapter *adapter)
{
    size_t record_bytes = cfg->limits.event_bytes_max + PTL_AGENT_RECORD_SLACK;
    if (cfg->device[0] == '\0' || cfg->limits.event_bytes_max == 0 ||
        memory->queue_bytes % 8 != 0 || memory->record_bytes < record_bytes ||
        memory->flight_count < cfg->batch.window_max + 1u) {
        return false;
    }
    if (cfg->batch.bytes_max < PTL_BATCH_BYTES_MIN(record_bytes) || cfg->high_water_percent > 100 ||
        cfg->low_water_percent >= cfg->high_water_percent) {
        return false;
    }
    if (memory->queue_bytes < 2u * (record_bytes + PTL_QUEUE_ENTRY_OVERHEAD)) {
        return false;
    }
    if (journal != NULL && ptl_journal_record_bytes_max(journal) < record_bytes) {
        return false;
    }
    if (journal == NULL && cfg->durability == PTL_DURABLE_SYNC) {
        return false;
    }
    return cfg->delivery != PTL_STORED || adapter->ops->receipts;
}

// A full window must fit below the high-water mark, or sending alone would make the queue spill.
static uint8_t window_for(const struct ptl_agent_config *cfg, size_t queue_bytes)
{
    size_t fits = queue_bytes / 100u * cfg->high_water_percent / cfg->batch.bytes_max;
    fits = fits > 1 ? fits - 1 : 1;
    return fits < cfg->batch.window_max ? (uint8_t)fits : cfg->batch.window_max;
}

enum ptl_status ptl_agent_init(struct ptl_agent *a, const struct ptl_agent_config *cfg,
                               const struct ptl_agent_memory *memory, struct ptl_journal *journal,
                               const struct ptl_adapter *adapter, uint64_t seed,
                               const struct ptl_now *now)
{
    if (!config_is_valid(cfg, memory, journal, adapter)) {
        return PTL_E_INVALID;
    }
    *a = (struct ptl_agent){
        .cfg = *cfg,
        .adapter = *adapter,
        .journal = cfg->durability == PTL_DURABLE_RAM ? NULL : journal,
        .record = memory->record,
        .record_bytes = memory->record_bytes,
        .flights = memory->flights,
        .flight_count = memory->flight_count,
        .entered_ms = now->mono_ms,
        .deadline_ms = now->mono_ms,
        .epoch = cfg->epoch,
        .commit_due_ms = PTL_NEVER,
        .status_due_ms = cfg->status_ms == 0 ? PTL_NEVER : now->mono_ms + cfg->status_ms,
        .events_cap = cfg->batch.events_max,
        .journal_since_ms = now->mono_ms,
        .drain_deadline_ms = PTL_NEVER,
    };
    a->cfg.batch.window_max = window_for(cfg, memory->queue_bytes);
    memset(a->flights, 0, a->flight_count * sizeof(a->flights[0]));
    ptl_queue_init(&a->queue, memory->queue, memory->queue_bytes);
    ptl_prng_seed(&a->prng, seed);
    ptl_batch_init(&a->batch, &a->cfg.batch, now->mono_ms);
    ptl_breaker_init(&a->breaker, &cfg->breaker, now->mono_ms);
    ptl_breaker_spread_start(&a->breaker, &a->prng, now->mono_ms);
    if (a->journal != NULL) {
        const struct ptl_journal_counters *c = &a->journal->counters;
        a->dropped_base[0] = c->dropped_lost;
        a->dropped_base[1] = c->dropped_uncertain;
        a->dropped_base[2] = c->dropped_earlier;
        a->drops_seen = c->dropped_lost + c->dropped_uncertain + c->dropped_earlier;
    }
    return PTL_OK;
}

void ptl_agent_enter(struct ptl_agent *a, const struct ptl_now *now)
{
    PTL_ASSERT(now->mono_ms >= a->entered_ms);
    a->entered_ms = now->mono_ms;
}

// The words of a server end up in logs, in status reports and in JSON: nothing in them needs an
// escape, so that they keep their length.
static void cause_set(struct ptl_agent *a, struct ptl_span text)
{
    size_t len = ptl_utf8_cut(text, sizeof(a->cause) - 1);
    bool utf8 = ptl_utf8_valid((struct ptl_span){text.ptr, len});
    for (size_t i = 0; i < len; i++) {
        uint8_t c = text.ptr[i];
        bool plain = c >= ' ' && c != '\\' && c != 0x7F && (c < 0x80 || utf8);
        a->cause[i] = plain ? (c == '"' ? '\'' : (char)c) : '?';
    }
    a->cause[len] = '\0';
}

void ptl_agent_lose_link(struct ptl_agent *a, enum ptl_reaction reaction, struct ptl_span why)
{
    if (a->link != PTL_LINK_UP || a->lost_pending) {
        return;
    }
    a->lost_pending = true;
    a->lost_reaction = reaction;
    a->ready = false;
    cause_set(a, why);
}

void ptl_agent_link_up(struct ptl_agent *a, const struct ptl_now *now)
{
    ptl_agent_enter(a, now);
    PTL_ASSERT(a->link == PTL_LINK_CONNECTING);
    a->link = PTL_LINK_UP;
    a->lost_pending = false;
    a->adapter.ops->link_up(a->adapter.ctx, now->mono_ms);
}

void ptl_agent_link_down(struct ptl_agent *a, const struct ptl_link_end *end,
                         const struct ptl_now *now)
{
    ptl_agent_enter(a, now);
    PTL_ASSERT(a->link != PTL_LINK_DOWN);
    enum ptl_reaction reaction = a->lost_reaction;
    if (!a->lost_pending) {
        reaction = ptl_reaction_for(end->kind, end->code, end->text);
        cause_set(a, end->text);
    }
    if (a->link != PTL_LINK_CONNECTING) {
        a->adapter.ops->link_down(a->adapter.ctx);
        a->n.links_lost++;
    }
    a->link = PTL_LINK_DOWN;
    a->ready = false;
    a->lost_pending = false;
    ptl_agent_flights_link_down(a);
    if (reaction == PTL_REACT_SHRINK_BATCH && a->n.last_batch_events > 1) { // a frame too large
        a->events_cap = a->n.last_batch_events / 2;
    }
    if (reaction == PTL_REACT_SLOW_DOWN) {
        ptl_batch_rate_limited(&a->batch, now->mono_ms);
    }
    if (!a->breaker_told) {
        ptl_breaker_failed(&a->breaker, reaction, end->retry_after_ms, &a->prng, now->mono_ms);
    }
    a->breaker_told = false;
    ptl_agent_spill_begin(a, now->mono_ms);
}

static void on_ready(struct ptl_agent *a, uint64_t now_ms)
{
    a->ready = true;
    ptl_breaker_joined(&a->breaker, now_ms);
    ptl_batch_restart(&a->batch);
    if (a->breaker.state == PTL_BREAKER_HALF_OPEN && ptl_agent_holds_nothing(a) &&
        !ptl_agent_control_waits(a)) {
        // Nothing is at risk and nothing can serve as a probe: the joins have to do.
        (void)ptl_breaker_acked(&a->breaker, now_ms);
    }
}

static void on_adapter_event(struct ptl_agent *a, const struct ptl_adapter_event *event,
                             uint64_t now_ms)
{
    switch (event->type) {
    case PTL_ADAPTER_NONE:
        break;
    case PTL_ADAPTER_READY:
        on_ready(a, now_ms);
        break;
    case PTL_ADAPTER_ACKED:
        ptl_agent_acked(a, event->ref, now_ms);
        break;
    case PTL_ADAPTER_REFUSED:
        cause_set(a, event->text);
        ptl_agent_refused(a, event->ref, event->reaction == PTL_REACT_SHRINK_BATCH, now_ms);
        break;
    case PTL_ADAPTER_RECEIPT:
        ptl_agent_receipt(a, event->text, now_ms);
        break;
    case PTL_ADAPTER_LOST:
        ptl_agent_lose_link(a, event->reaction, event->text);
        break;
    case PTL_ADAPTER_IGNORED:
        a->n.ignored++;
        break;
    }
}

void ptl_agent_recv(struct ptl_agent *a, struct ptl_span message, bool binary,
                    const struct ptl_now *now)
{
    ptl_agent_enter(a, now);
    if (a->link != PTL_LINK_UP || a->lost_pending) {
        return;
    }
    struct ptl_adapter_event event =
        a->adapter.ops->recv(a->adapter.ctx, message, binary, now->mono_ms);
    on_adapter_event(a, &event, now->mono_ms);
}

void ptl_agent_recv_oversize(struct ptl_agent *a)
{
    a->n.ignored++;
}

static void session_work(struct ptl_agent *a, uint64_t now_ms)
{
    for (uint32_t i = 0; i < TICKS_MAX && a->link == PTL_LINK_UP && !a->lost_pending; i++) {
        struct ptl_adapter_event event = a->adapter.ops->tick(a->adapter.ctx, now_ms);
        if (event.type == PTL_ADAPTER_NONE) {
            break;
        }
        on_adapter_event(a, &event, now_ms);
    }
}

static enum ptl_want link_want(struct ptl_agent *a, uint64_t now_ms, uint64_t *wake_ms)
{
    *wake_ms = PTL_NEVER;
    switch (a->link) {
    case PTL_LINK_DOWN:
        if (ptl_breaker_may_connect(&a->breaker, now_ms)) {
            a->link = PTL_LINK_CONNECTING;
            a->n.connects++;
            return PTL_WANT_CONNECT;
        }
        *wake_ms = ptl_breaker_deadline(&a->breaker);
        return PTL_WANT_IDLE;
    case PTL_LINK_UP:
        if (a->lost_pending) {
            a->link = PTL_LINK_CLOSING;
            return PTL_WANT_CLOSE;
        }
        // Also where there is something to send: the socket may never take it.
        *wake_ms = a->adapter.ops->deadline(a->adapter.ctx);
        if (a->adapter.ops->control_due(a->adapter.ctx, now_ms)) {
            return PTL_WANT_SEND;
        }
        if (a->ready) {
            struct ptl_batch_decision decision = ptl_agent_decide(a, now_ms);
            if (decision.flow != PTL_BATCH_NONE) {
                return PTL_WANT_SEND;
            }
            *wake_ms = ptl_min_u64(*wake_ms, decision.wake_at_ms);
        }
        return PTL_WANT_IDLE;
    case PTL_LINK_CONNECTING:
    case PTL_LINK_CLOSING:
        break;
    }
    return PTL_WANT_IDLE;
}

enum ptl_want ptl_agent_poll(struct ptl_agent *a, const struct ptl_now *now)
{
    ptl_agent_enter(a, now);
    uint64_t now_ms = now->mono_ms;
    session_work(a, now_ms);
    ptl_agent_flights_timeouts(a, now_ms);
    ptl_agent_status_work(a, now);
    ptl_agent_store_work(a, now_ms);
    ptl_agent_drain_work(a, now_ms);

    if (a->drain == PTL_DRAIN_DONE) {
        a->deadline_ms = PTL_NEVER;
        return PTL_WANT_EXIT;
    }
    uint64_t wake_ms;
    enum ptl_want want = link_want(a, now_ms, &wake_ms);
    wake_ms = ptl_min_u64(wake_ms, ptl_agent_flights_deadline(a));
    wake_ms = ptl_min_u64(wake_ms, ptl_agent_store_deadline(a, now_ms));
    wake_ms = ptl_min_u64(wake_ms, ptl_agent_drain_deadline(a, now_ms));
    a->deadline_ms = ptl_min_u64(wake_ms, ptl_agent_status_deadline(a));
    return want;
}

uint64_t ptl_agent_deadline(const struct ptl_agent *a)
{
    return a->deadline_ms;
}

size_t ptl_agent_message_bytes_max(const struct ptl_agent *a)
{
    return HEADER_BYTES + a->cfg.batch.bytes_max;
}

enum ptl_status ptl_agent_write(struct ptl_agent *a, const struct ptl_now *now, uint8_t *buf,
                                size_t cap, size_t *len, bool *binary)
{
    ptl_agent_enter(a, now);
    if (a->link != PTL_LINK_UP || a->lost_pending) {
        return PTL_E_EMPTY;
    }
    struct ptl_writer w = ptl_writer_on(buf, cap);
    enum ptl_status status;
    if (a->adapter.ops->control_due(a->adapter.ctx, now->mono_ms)) {
        status = a->adapter.ops->control_write(a->adapter.ctx, &w, now->mono_ms);
        *binary = false;
    } else if (a->ready) {
        status = ptl_agent_send(a, now, &w);
        *binary = true;
    } else {
        return PTL_E_EMPTY;
    }
    if (status != PTL_OK) {
        return status;
    }
    PTL_ASSERT(!w.overflow);
    *len = w.len;
    a->n.messages_sent++;
    a->n.bytes_sent += w.len;
    return PTL_OK;
}

void ptl_agent_media_ready(struct ptl_agent *a, enum ptl_status result, const struct ptl_now *now)
{
    ptl_agent_enter(a, now);
    if (a->journal == NULL) {
        return;
    }
    enum ptl_status status = ptl_journal_media_ready(a->journal, result);
    if (status == PTL_E_IO) {
        ptl_agent_media_lost(a);
        return;
    }
    ptl_agent_note_drops(a);
    if (status == PTL_OK) {
        ptl_agent_synced(a);
    }
}

uint64_t ptl_agent_durable_next(const struct ptl_agent *a)
{
    if (a->journal == NULL || !a->run_open) {
        return 0;
    }
    return a->journal->durable_next;
}
