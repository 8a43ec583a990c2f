#include "collector.h"

#include "log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCHES_A_TURN 8

bool col_collector_init(struct col_collector *c, const struct col_config *cfg, uint64_t now_ms,
                        char error[COL_ERROR_MAX])
{
    *c = (struct col_collector){.cfg = *cfg, .flush_at_ms = now_ms + cfg->flush_ms};
    col_session_init(&c->session, &cfg->session);
    col_batch_init(&c->batch);
    c->store = col_store_open(cfg->db_path, cfg->busy_ms, error);
    return c->store != NULL;
}

void col_collector_free(struct col_collector *c)
{
    while (c->first != NULL) {
        struct col_waiting *item = c->first;
        c->first = item->next;
        free(item);
    }
    col_store_close(c->store);
    c->store = NULL;
    col_batch_free(&c->batch);
    col_session_free(&c->session);
}

static void keep_cause(struct col_collector *c, struct ptl_span text)
{
    size_t len = ptl_utf8_cut(text, sizeof(c->cause) - 1);
    memcpy(c->cause, text.ptr, len);
    c->cause[len] = '\0';
}

void col_collector_link_up(struct col_collector *c, uint64_t now_ms)
{
    c->close_wanted = false;
    col_session_link_up(&c->session, now_ms);
}

void col_collector_link_down(struct col_collector *c)
{
    c->close_wanted = false;
    col_session_link_down(&c->session);
}

// Messages.

static struct col_refusal *refusal_of(struct col_collector *c, const char *device,
                                      const char *reason)
{
    for (size_t i = 0; i < c->refusal_count; i++) {
        if (c->refusals[i].reason == reason && strcmp(c->refusals[i].device, device) == 0) {
            return &c->refusals[i];
        }
    }
    if (c->refusal_count == COL_REFUSALS_MAX) {
        // Too many kinds at once: the last place is for all the others together.
        return &c->refusals[COL_REFUSALS_MAX - 1];
    }
    struct col_refusal *refusal = &c->refusals[c->refusal_count++];
    *refusal = (struct col_refusal){.reason = reason};
    snprintf(refusal->device, sizeof(refusal->device), "%s", device);
    if (c->refusal_count == COL_REFUSALS_MAX) {
        *refusal = (struct col_refusal){.device = "", .reason = "other"};
    }
    return refusal;
}

static void refuse(struct col_collector *c, const char *device, const char *reason)
{
    struct col_refusal *refusal = refusal_of(c, device, reason);
    struct col_device *known = col_session_find(&c->session, ptl_span_of_text(device));
    c->counters.malformed++;
    refusal->count++;
    if (known != NULL) {
        known->malformed++;
    }
    col_log_some(&refusal->seen, "%s: a batch was refused: %s", device, reason);
}

static void enqueue(struct col_collector *c, const struct col_device *device,
                    struct ptl_span payload)
{
    struct col_waiting *item = NULL;
    if (payload.len <= c->cfg.queue_bytes_max &&
        c->queue_bytes <= c->cfg.queue_bytes_max - payload.len) {
        item = malloc(sizeof(*item) + payload.len);
    }
    if (item == NULL) {
        c->counters.dropped++;
        col_log_some(&c->said_dropped, "%s: a batch was dropped, too many wait for the store",
                     device->name);
        return;
    }
    item->next = NULL;
    memcpy(item->device, device->name, sizeof(item->device));
    item->len = payload.len;
    memcpy(item->bytes, payload.ptr, payload.len);
    if (c->last != NULL) {
        c->last->next = item;
    } else {
        c->first = item;
    }
    c->last = item;
    c->queue_bytes += payload.len;
    c->queue_count++;
}

static void drop_first(struct col_collector *c)
{
    struct col_waiting *item = c->first;
    c->first = item->next;
    if (c->first == NULL) {
        c->last = NULL;
    }
    c->queue_bytes -= item->len;
    c->queue_count--;
    free(item);
}

static const char *side_text(enum col_side side)
{
    return side == COL_UP ? "uplink" : "downlink";
}

static void on_event(struct col_collector *c, const struct col_event_out *event)
{
    int len = event->text.len < COL_TEXT_MAX ? (int)event->text.len : COL_TEXT_MAX;
    const char *text = len > 0 ? (const char *)event->text.ptr : "";
    const char *device = event->device != NULL ? event->device->name : "?";
    switch (event->type) {
    case COL_BATCH:
        PTL_ASSERT(event->device != NULL);
        event->device->batches++;
        enqueue(c, event->device, event->text);
        break;
    case COL_JOIN_REFUSED:
        c->counters.joins_refused++;
        keep_cause(c, event->text);
        col_log("%s: %s not joined: %.*s", device, side_text(event->side), len, text);
        break;
    case COL_CHANNEL_LOST:
        c->counters.channels_lost++;
        keep_cause(c, event->text);
        col_log("%s: %s lost: %.*s; joining again", device, side_text(event->side), len, text);
        break;
    case COL_LINK_LOST:
        keep_cause(c, event->text);
        c->close_wanted = true;
        break;
    case COL_RECEIPT_ACKED:
        c->counters.receipts_acked++;
        break;
    case COL_RECEIPT_REFUSED:
        c->counters.receipts_refused++;
        col_log_some(&c->said_receipts, "%s: a receipt was not taken: %.*s", device, len, text);
        break;
    case COL_SYSTEM:
        col_log_some(&c->said_system, "%s: the server says: %.*s", device, len, text);
        break;
    case COL_JOIN_DONE:
    case COL_IGNORED:
    case COL_NOTHING:
        break;
    }
}

void col_collector_recv(struct col_collector *c, struct ptl_span message, bool binary,
                        uint64_t now_ms)
{
    struct col_event_out event = col_session_recv(&c->session, message, binary, now_ms);
    on_event(c, &event);
}

// The store.

static void store_failed(struct col_collector *c, const char *why, bool broken, uint64_t now_ms)
{
    uint64_t wait = c->cfg.store_retry_ms;
    for (uint32_t i = 0; i < c->store_tries && wait < c->cfg.store_retry_ms * UINT64_C(50); i++) {
        wait *= 2;
    }
    if (wait > c->cfg.store_retry_ms * UINT64_C(50)) {
        wait = c->cfg.store_retry_ms * UINT64_C(50);
    }
    c->store_at_ms = now_ms + wait;
    c->counters.store_failures++;
    // The first failure of a row and then fewer and fewer: a full disk can stay full for days.
    uint64_t tries = c->store_tries;
    col_log_some(&tries,
                 "the store does not take anything: %s; %" PRIu64
                 " batches wait, next try in %" PRIu64 " ms",
                 why, c->queue_count, wait);
    c->store_tries++;
    if (broken) {
        col_store_close(c->store);
        c->store = NULL;
    }
}

static bool store_ready(struct col_collector *c, uint64_t now_ms)
{
    char error[COL_ERROR_MAX];
    if (now_ms < c->store_at_ms) {
        return false;
    }
    if (c->store == NULL &&
        (c->store = col_store_open(c->cfg.db_path, c->cfg.busy_ms, error)) == NULL) {
        store_failed(c, error, false, now_ms);
        return false;
    }
    return true;
}

static void report(struct col_collector *c, const char *device,
                   const struct col_store_result *result)
{
    char epoch[COL_EPOCH_TEXT];
    col_epoch_text(c->batch.epoch, epoch);
    c->counters.batches++;
    c->counters.events += result->inserted;
    c->counters.duplicates += result->duplicates;
    c->counters.conflicts += result->conflicts;
    c->counters.gap_events += result->gap_events;
    c->counters.unknown += result->unknown_events;
    c->counters.ends += result->ends_new;
    if (result->unknown_events > 0) {
        col_log("LOSS %s run %s: %" PRIu64 " events between %" PRIu64 " and %" PRIu64
                " are unknown: the device does not hold them any more and they never came here%s",
                device, epoch, result->unknown_events, result->unknown_first, result->unknown_last,
                result->new_run ? " (first sight of this run)" : "");
    }
    if (result->conflicts > 0) {
        col_log_some(&c->said_conflicts,
                     "CONFLICT %s run %s: %" PRIu64 " came again with other content (%" PRIu64
                     " in this batch); the first is kept",
                     device, epoch, result->conflict_seq, result->conflicts);
    }
    if (result->ends_differing > 0) {
        col_log("TWINS %s: a run ended in different ways: two agents use this device's id or "
                "journal",
                device);
    }
}

// Takes the first queued batch. False: the store does not take it now.
static bool store_first(struct col_collector *c, uint64_t now_ms, int64_t unix_ms)
{
    struct col_waiting *item = c->first;
    struct col_store_result result;
    struct ptl_span payload = {item->bytes, item->len};
    const char *why = col_batch_parse(&c->batch, payload, ptl_span_of_text(item->device));
    if (why != NULL) {
        refuse(c, item->device, why);
        drop_first(c);
        return true;
    }
    enum col_store_status status = col_store_batch(c->store, &c->batch, unix_ms, &result);
    if (status == COL_STORE_REFUSED) {
        c->counters.store_refused++;
        col_log("%s: the store refuses a batch: %s", item->device, col_store_error(c->store));
        refuse(c, item->device, "refused by the store");
        drop_first(c);
        return true;
    }
    if (status != COL_STORED) {
        store_failed(c, col_store_error(c->store), status == COL_STORE_BROKEN, now_ms);
        return false;
    }
    if (c->store_tries > 0) {
        col_log("the store works again");
        c->store_tries = 0;
    }
    report(c, item->device, &result);
    struct col_device *device = col_session_find(&c->session, ptl_span_of_text(item->device));
    if (device != NULL && c->cfg.receipt_source != NULL) {
        col_receipts_note(&device->receipts, &c->batch);
    }
    drop_first(c);
    return true;
}

static void flush_refusals(struct col_collector *c, uint64_t now_ms)
{
    char name[64];
    for (size_t i = 0; i < c->refusal_count; i++) {
        struct col_refusal *refusal = &c->refusals[i];
        if (refusal->count == 0) {
            continue;
        }
        snprintf(name, sizeof(name), "malformed:%s", refusal->reason);
        enum col_store_status status =
            col_store_count(c->store, refusal->device, name, refusal->count);
        if (status != COL_STORED) {
            store_failed(c, col_store_error(c->store), status == COL_STORE_BROKEN, now_ms);
            return;
        }
        refusal->count = 0;
    }
}

static void watch_wal(struct col_collector *c)
{
    c->wal_bytes = col_store_wal_bytes(c->store, c->cfg.wal_bytes_max);
    if (c->wal_bytes <= c->cfg.wal_bytes_max) {
        c->wal_said = 0;
    } else if (c->wal_bytes >= c->wal_said * 2) {
        c->wal_said = c->wal_bytes;
        col_log("the write-ahead log has grown to %" PRIu64
                " MiB: some reader of the database never ends its transaction",
                c->wal_bytes >> 20);
    }
}

bool col_collector_work(struct col_collector *c, uint64_t now_ms, int64_t unix_ms)
{
    struct col_event_out event;
    while ((event = col_session_tick(&c->session, now_ms)).type != COL_NOTHING) {
        on_event(c, &event);
    }
    bool wanted = c->first != NULL || now_ms >= c->flush_at_ms || c->store == NULL;
    bool going = wanted && store_ready(c, now_ms);
    if (going && now_ms >= c->flush_at_ms) {
        c->flush_at_ms = now_ms + c->cfg.flush_ms;
        flush_refusals(c, now_ms);
        going = c->store != NULL && now_ms >= c->store_at_ms;
        if (going) {
            watch_wal(c);
        }
    }
    for (int i = 0; going && c->first != NULL && i < BATCHES_A_TURN; i++) {
        going = store_first(c, now_ms, unix_ms);
    }
    return going && c->first != NULL;
}

// Frames.

// A device that is owed a receipt which may go now.
static struct col_device *receipt_due(struct col_collector *c, uint64_t now_ms)
{
    if (c->cfg.receipt_source == NULL || c->store == NULL || now_ms < c->store_at_ms) {
        return NULL;
    }
    for (size_t i = 0; i < c->session.device_count; i++) {
        struct col_device *device = c->session.devices[i];
        if (!device->removed && device->channel[COL_DOWN].state == COL_JOINED &&
            col_receipts_at_ms(&device->receipts, c->cfg.receipt_ms) <= now_ms) {
            return device;
        }
    }
    return NULL;
}

static enum ptl_status write_receipt(struct col_collector *c, struct col_device *device,
                                     struct ptl_writer *w, uint64_t now_ms)
{
    uint8_t text[COL_RECEIPT_TEXT_MAX];
    struct ptl_writer body = ptl_writer_on(text, sizeof(text));
    const struct col_due *due = NULL;
    size_t count = col_receipts_peek(&device->receipts, &due);
    bool first = true;
    col_receipt_begin(&body, c->cfg.receipt_source);
    for (size_t i = 0; i < count; i++) {
        struct col_progress progress;
        bool known = false;
        enum col_store_status status =
            col_store_progress(c->store, device->name, due[i].epoch, &progress, &known);
        if (status != COL_STORED) {
            store_failed(c, col_store_error(c->store), status == COL_STORE_BROKEN, now_ms);
            return PTL_E_EMPTY;
        }
        if (due[i].with_end) {
            progress.ended = true;
            progress.end = due[i].end;
        }
        if (known) {
            col_receipt_add(&body, &progress, first);
            first = false;
        }
    }
    col_receipt_end(&body);
    PTL_ASSERT(!body.overflow);
    enum ptl_status status =
        col_session_receipt(&c->session, device, (struct ptl_span){text, body.len}, w);
    if (status == PTL_OK) {
        col_receipts_sent(&device->receipts, count, now_ms);
        c->counters.receipts++;
    }
    return status;
}

enum ptl_status col_collector_frame(struct col_collector *c, struct ptl_span token,
                                    struct ptl_writer *w, bool *binary, uint64_t now_ms)
{
    *binary = false;
    enum ptl_status status = col_session_control(&c->session, token, w, now_ms);
    if (status != PTL_E_EMPTY) {
        return status;
    }
    struct col_device *device = c->session.up ? receipt_due(c, now_ms) : NULL;
    *binary = true;
    return device != NULL ? write_receipt(c, device, w, now_ms) : PTL_E_EMPTY;
}

bool col_collector_frame_due(struct col_collector *c, uint64_t now_ms)
{
    return c->session.up &&
           (col_session_deadline(&c->session) <= now_ms || receipt_due(c, now_ms) != NULL);
}

static uint64_t receipts_at_ms(const struct col_collector *c)
{
    uint64_t at = PTL_NEVER;
    for (size_t i = 0; i < c->session.device_count; i++) {
        const struct col_device *device = c->session.devices[i];
        uint64_t due = col_receipts_at_ms(&device->receipts, c->cfg.receipt_ms);
        if (device->channel[COL_DOWN].state == COL_JOINED && due < at) {
            at = due;
        }
    }
    return at;
}

uint64_t col_collector_deadline(const struct col_collector *c)
{
    // What needs the store waits until the store is tried again.
    uint64_t at = c->first != NULL ? 0 : c->flush_at_ms;
    if (c->cfg.receipt_source != NULL && c->session.up) {
        uint64_t receipts = receipts_at_ms(c);
        at = receipts < at ? receipts : at;
    }
    at = at > c->store_at_ms ? at : c->store_at_ms;
    uint64_t session = col_session_deadline(&c->session);
    return session < at ? session : at;
}

void col_collector_finish(struct col_collector *c, uint64_t now_ms, int64_t unix_ms)
{
    c->store_at_ms = 0;
    c->flush_at_ms = 0;
    while (col_collector_work(c, now_ms, unix_ms)) {}
}
