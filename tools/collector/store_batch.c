// store_batch.c - one batch on its way into the store.
#include "store_private.h"

#include "ptl_bytes.h"
#include "sha256.h"

#include <stdio.h>
#include <string.h>

// One batch on its way in.
struct intake {
    struct col_store *store;
    struct col_store_result *result;
    char device[PTL_DEVICE_BYTES_MAX + 1];
    char epoch[COL_EPOCH_TEXT];
    const char *reason, *kind; // of the gaps being added
    uint64_t holes, hole_first, hole_last;
};

// The run's row, made if there is none: a run is thought to begin where its number does.
static int get_run(struct intake *in, uint64_t some_seq, struct col_run *found)
{
    sqlite3_stmt *statement = col_keyed(in->store, COL_RUN_GET, in->device, in->epoch);
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        *found = (struct col_run){.id = sqlite3_column_int64(statement, 0),
                                  .first = (uint64_t)sqlite3_column_int64(statement, 1),
                                  .floor = (uint64_t)sqlite3_column_int64(statement, 2),
                                  .next = (uint64_t)sqlite3_column_int64(statement, 3)};
    }
    sqlite3_reset(statement);
    if (code != SQLITE_DONE) {
        return code == SQLITE_ROW ? SQLITE_OK : code;
    }
    uint64_t first = some_seq >> PTL_RUN_SHIFT << PTL_RUN_SHIFT;
    *found = (struct col_run){.first = first, .floor = first, .next = first, .created = true};
    statement = col_keyed(in->store, COL_RUN_ADD, in->device, in->epoch);
    col_bind_u64(statement, 3, first);
    col_bind_text(statement, 4, in->store->received_at);
    code = col_run_statement(statement);
    found->id = sqlite3_last_insert_rowid(in->store->db);
    return code;
}

static int put_run(struct intake *in, struct col_run *r, const char *how)
{
    sqlite3_stmt *statement = in->store->statements[COL_RUN_SET];
    int code = col_coverage_next(in->store, r->id, r->first, &r->next);
    if (code != SQLITE_OK) {
        return code;
    }
    sqlite3_reset(statement);
    sqlite3_bind_int64(statement, 1, r->id);
    col_bind_u64(statement, 2, r->floor);
    col_bind_u64(statement, 3, r->next);
    col_bind_text(statement, 4, in->store->received_at);
    col_bind_text(statement, 5, how);
    return col_run_statement(statement);
}

static bool column_equals(sqlite3_stmt *statement, int at, struct ptl_span want)
{
    const unsigned char *text = sqlite3_column_text(statement, at);
    size_t len = (size_t)sqlite3_column_bytes(statement, at);
    return len == want.len && (len == 0 || memcmp(text, want.ptr, len) == 0);
}

// The same event again, or another one under its identity? Times of the wall clock may differ: a
// better estimate is no other event.
static int judge_again(struct intake *in, const struct col_batch *batch,
                       const struct col_event *event, bool *same)
{
    sqlite3_stmt *statement = col_keyed(in->store, COL_EVENT_GET, in->device, in->epoch);
    col_bind_u64(statement, 3, event->seq);
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        bool stored_meta = sqlite3_column_type(statement, 6) != SQLITE_NULL;
        *same = column_equals(statement, 0, event->event_type) &&
                (uint64_t)sqlite3_column_int64(statement, 1) == event->mono_ms &&
                column_equals(statement, 2, batch->boot) &&
                column_equals(statement, 3, event->source) &&
                column_equals(statement, 4, ptl_span_of_text(col_severity_text(event->severity))) &&
                column_equals(statement, 5, event->data) &&
                stored_meta == (event->metadata.len > 0) &&
                column_equals(statement, 6, event->metadata);
    } else if (code == SQLITE_DONE) {
        // The id is taken by another key: as likely as a broken SHA-256. Not the same event.
        *same = false;
        code = SQLITE_ROW;
    }
    sqlite3_reset(statement);
    return code == SQLITE_ROW ? SQLITE_OK : code;
}

static int add_again(struct intake *in, const struct col_batch *batch,
                     const struct col_event *event)
{
    bool same = false;
    int code = judge_again(in, batch, event, &same);
    if (code != SQLITE_OK) {
        return code;
    }
    if (same) {
        in->result->duplicates++;
        return SQLITE_OK;
    }
    in->result->conflicts++;
    in->result->conflict_seq = event->seq;
    sqlite3_stmt *statement = col_keyed(in->store, COL_CONFLICT_ADD, in->device, in->epoch);
    col_bind_u64(statement, 3, event->seq);
    col_bind_text(statement, 4, in->store->received_at);
    return col_run_statement(statement);
}

static int add_gap_row(struct intake *in, uint64_t first, uint64_t last, const char *reason,
                       const char *kind, const char *received_at)
{
    sqlite3_stmt *statement = col_keyed(in->store, COL_GAP_ADD, in->device, in->epoch);
    col_bind_u64(statement, 3, first);
    col_bind_u64(statement, 4, last);
    col_bind_text(statement, 5, reason);
    col_bind_text(statement, 6, kind);
    col_bind_text(statement, 7, received_at);
    return col_run_statement(statement);
}

static void copy_column(sqlite3_stmt *statement, int at, char *to, size_t cap)
{
    const unsigned char *text = sqlite3_column_text(statement, at);
    snprintf(to, cap, "%s", text != NULL ? (const char *)text : "");
}

// A row that storage has beats a gap: cut it out.
static int cut_gap(struct intake *in, uint64_t seq)
{
    char reason[32];
    char kind[32];
    char received_at[32];
    sqlite3_stmt *statement = col_keyed(in->store, COL_GAP_AT, in->device, in->epoch);
    col_bind_u64(statement, 3, seq);
    int code = sqlite3_step(statement);
    uint64_t first = (uint64_t)sqlite3_column_int64(statement, 0);
    uint64_t last = (uint64_t)sqlite3_column_int64(statement, 1);
    if (code == SQLITE_ROW) {
        copy_column(statement, 2, reason, sizeof(reason));
        copy_column(statement, 3, kind, sizeof(kind));
        copy_column(statement, 4, received_at, sizeof(received_at));
    }
    sqlite3_reset(statement);
    if (code != SQLITE_ROW || last < seq) {
        return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
    }
    statement = col_keyed(in->store, COL_GAP_DROP, in->device, in->epoch);
    col_bind_u64(statement, 3, first);
    code = col_run_statement(statement);
    if (code == SQLITE_OK && first < seq) {
        code = add_gap_row(in, first, seq - 1, reason, kind, received_at);
    }
    if (code == SQLITE_OK && seq < last) {
        code = add_gap_row(in, seq + 1, last, reason, kind, received_at);
    }
    in->result->gap_events_found++;
    return code;
}

static void bind_or_null(sqlite3_stmt *statement, int at, struct ptl_span span)
{
    if (span.len > 0) {
        col_bind_span(statement, at, span);
    } else {
        sqlite3_bind_null(statement, at);
    }
}

static int add_event(struct intake *in, const struct col_batch *batch,
                     const struct col_event *event, bool gaps)
{
    char id[COL_ID_TEXT];
    col_row_id(in->device, in->epoch, event->seq, id);
    sqlite3_stmt *statement = col_keyed(in->store, COL_EVENT_ADD, in->device, in->epoch);
    col_bind_u64(statement, 3, event->seq);
    col_bind_text(statement, 4, id);
    col_bind_span(statement, 5, event->event_type);
    bind_or_null(statement, 6, event->timestamp);
    if (event->ts_err_ms >= 0) {
        sqlite3_bind_int64(statement, 7, event->ts_err_ms);
    } else {
        sqlite3_bind_null(statement, 7);
    }
    col_bind_u64(statement, 8, event->mono_ms);
    col_bind_span(statement, 9, batch->boot);
    col_bind_span(statement, 10, event->source);
    col_bind_text(statement, 11, col_severity_text(event->severity));
    col_bind_span(statement, 12, event->data);
    bind_or_null(statement, 13, event->metadata);
    col_bind_text(statement, 14, in->store->received_at);
    int code = col_run_statement(statement);
    if (code != SQLITE_OK) {
        return code;
    }
    if (sqlite3_changes(in->store->db) == 0) {
        return add_again(in, batch, event);
    }
    in->result->inserted++;
    return gaps ? cut_gap(in, event->seq) : SQLITE_OK;
}

static int add_events(struct intake *in, const struct col_batch *batch, struct col_run *r)
{
    struct ptl_range span = {0, 0};
    sqlite3_stmt *statement = col_keyed(in->store, COL_GAP_ANY, in->device, in->epoch);
    int code = sqlite3_step(statement);
    bool gaps = code == SQLITE_ROW;
    sqlite3_reset(statement);
    code = code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
    for (size_t i = 0; code == SQLITE_OK && i < batch->event_count; i++) {
        const struct col_event *event = &batch->events[i];
        code = add_event(in, batch, event, gaps);
        if (code == SQLITE_OK && span.end != event->seq && span.begin < span.end) {
            code = col_coverage_add(in->store, r->id, span);
        }
        if (span.end != event->seq) {
            span.begin = event->seq;
        }
        span.end = event->seq + 1;
    }
    if (code == SQLITE_OK && span.begin < span.end) {
        code = col_coverage_add(in->store, r->id, span);
    }
    return code;
}

// What of a range is neither stored nor in a gap becomes one.
static int add_hole(void *ctx, struct ptl_range hole)
{
    struct intake *in = ctx;
    in->holes += hole.end - hole.begin;
    if (in->hole_first > hole.begin) {
        in->hole_first = hole.begin;
    }
    in->hole_last = hole.end - 1;
    return add_gap_row(in, hole.begin, hole.end - 1, in->reason, in->kind, in->store->received_at);
}

static int add_gap(struct intake *in, struct col_run *r, struct ptl_range range, const char *reason,
                   const char *kind)
{
    in->reason = reason;
    in->kind = kind;
    in->holes = 0;
    in->hole_first = UINT64_MAX;
    if (range.begin >= range.end) {
        return SQLITE_OK;
    }
    int code = col_coverage_holes(in->store, r->id, range, add_hole, in);
    if (code == SQLITE_OK && in->holes > 0) {
        code = col_coverage_add(in->store, r->id, range);
    }
    return code;
}

// Nothing below the floor will come any more: what is missing there is lost, unless the device said
// so before. Found once, since it is covered from then on.
static int apply_floor(struct intake *in, struct col_run *r, uint64_t floor)
{
    if (floor <= r->floor) {
        return SQLITE_OK;
    }
    int code = add_gap(in, r, (struct ptl_range){r->first, floor}, "unseen", "unknown");
    r->floor = floor;
    if (in->holes > 0) {
        if (in->result->unknown_events == 0) {
            in->result->unknown_first = in->hole_first;
        }
        in->result->unknown_events += in->holes;
        in->result->unknown_last = in->hole_last;
    }
    return code;
}

static int add_batch_run(struct intake *in, const struct col_batch *batch)
{
    struct col_run r = {.id = 0};
    col_epoch_text(batch->epoch, in->epoch);
    int code = get_run(in, batch->floor, &r);
    in->result->new_run = code == SQLITE_OK && r.created;
    if (code == SQLITE_OK) {
        code = add_events(in, batch, &r);
    }
    for (size_t i = 0; code == SQLITE_OK && i < batch->gap_count; i++) {
        const struct ptl_gap *gap = &batch->gaps[i];
        if (gap->epoch == batch->epoch) {
            code = add_gap(in, &r, (struct ptl_range){gap->first, gap->last + 1},
                           col_reason_text(gap->reason), col_kind_text(gap->kind));
            in->result->gap_events += in->holes;
        }
    }
    if (code == SQLITE_OK) {
        code = apply_floor(in, &r, batch->floor);
    }
    return code == SQLITE_OK ? put_run(in, &r, NULL) : code;
}

// A gap names its run; one of another run than the batch's is taken at its word.
static int add_foreign_gap(struct intake *in, const struct ptl_gap *gap)
{
    struct col_run r = {.id = 0};
    col_epoch_text(gap->epoch, in->epoch);
    int code = get_run(in, gap->first, &r);
    if (code == SQLITE_OK) {
        code = add_gap(in, &r, (struct ptl_range){gap->first, gap->last + 1},
                       col_reason_text(gap->reason), col_kind_text(gap->kind));
        in->result->gap_events += in->holes;
    }
    return code == SQLITE_OK ? put_run(in, &r, NULL) : code;
}

static int record_end(struct intake *in, const struct ptl_end *end)
{
    sqlite3_stmt *statement = col_keyed(in->store, COL_END_ADD, in->device, in->epoch);
    col_bind_u64(statement, 3, end->next);
    col_bind_text(statement, 4, col_how_text(end->how));
    col_bind_u64(statement, 5, end->at_most);
    col_bind_u64(statement, 6, end->from);
    col_bind_u64(statement, 7, end->runs);
    col_bind_text(statement, 8, in->store->received_at);
    int code = col_run_statement(statement);
    if (code != SQLITE_OK || sqlite3_changes(in->store->db) == 0) {
        return code;
    }
    in->result->ends_new++;
    statement = col_keyed(in->store, COL_END_COUNT, in->device, in->epoch);
    code = sqlite3_step(statement);
    if (code == SQLITE_ROW && sqlite3_column_int64(statement, 0) > 1) {
        in->result->ends_differing++;
    }
    sqlite3_reset(statement);
    return code == SQLITE_ROW ? SQLITE_OK : code;
}

// An end is said when nothing of the run is held and none of its gaps is open: its `next` is a
// floor.
static int add_end(struct intake *in, const struct ptl_end *end)
{
    struct col_run r = {.id = 0};
    col_epoch_text(end->epoch, in->epoch);
    int code = get_run(in, end->next, &r);
    if (code == SQLITE_OK) {
        code = apply_floor(in, &r, end->next);
    }
    if (code == SQLITE_OK) {
        code = record_end(in, end);
    }
    return code == SQLITE_OK ? put_run(in, &r, col_how_text(end->how)) : code;
}

static int add_counters(struct intake *in, const struct col_batch *batch)
{
    const struct col_store_result *result = in->result;
    const struct {
        const char *name;
        uint64_t add;
    } counters[] = {
        {"batches", 1},
        {"duplicates", result->duplicates},
        {"conflicts", result->conflicts},
        {"unknown", result->unknown_events},
        {"found_after_gap", result->gap_events_found},
        {"differing_ends", result->ends_differing},
        {"below_floor", batch->below_floor},
    };
    int code = SQLITE_OK;
    for (size_t i = 0; code == SQLITE_OK && i < sizeof(counters) / sizeof(counters[0]); i++) {
        code = col_counter_add(in->store, in->device, counters[i].name, counters[i].add);
    }
    return code;
}

static int add_all(struct intake *in, const struct col_batch *batch)
{
    int code = add_batch_run(in, batch);
    for (size_t i = 0; code == SQLITE_OK && i < batch->gap_count; i++) {
        if (batch->gaps[i].epoch != batch->epoch) {
            code = add_foreign_gap(in, &batch->gaps[i]);
        }
    }
    for (size_t i = 0; code == SQLITE_OK && i < batch->end_count; i++) {
        code = add_end(in, &batch->ends[i]);
    }
    return code == SQLITE_OK ? add_counters(in, batch) : code;
}

enum col_store_status col_store_batch(struct col_store *store, const struct col_batch *batch,
                                      int64_t unix_ms, struct col_store_result *result)
{
    struct intake in = {.store = store, .result = result};
    *result = (struct col_store_result){0};
    PTL_ASSERT(batch->device.len <= PTL_DEVICE_BYTES_MAX);
    memcpy(in.device, batch->device.ptr, batch->device.len);
    struct ptl_writer w =
        ptl_writer_on((uint8_t *)store->received_at, sizeof(store->received_at) - 1);
    ptl_write_rfc3339(&w, unix_ms);
    store->received_at[w.len] = '\0';

    enum col_store_status status = col_store_begin(store);
    if (status != COL_STORED) {
        return status;
    }
    status = col_store_end(store, add_all(&in, batch), "storing a batch");
    if (status != COL_STORED) {
        *result = (struct col_store_result){0};
    }
    return status;
}
