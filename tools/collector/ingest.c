#include "ingest.h"
#include "ptl_bytes.h"

#include <stdlib.h>
#include <string.h>

#define FIELDS_MAX 9

static const char *const severities[] = {"debug", "info", "warning", "error", "critical"};
static const char *const reasons[] = {"overflow", "queue_full", "damaged", "media", "refused"};
static const char *const kinds[] = {"lost", "uncertain"};
static const char *const hows[] = {"closed", "torn"};

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

const char *col_severity_text(enum ptl_severity severity)
{
    return severities[severity];
}

const char *col_reason_text(uint8_t reason)
{
    return reasons[reason];
}

const char *col_kind_text(uint8_t kind)
{
    return kinds[kind];
}

const char *col_how_text(uint8_t how)
{
    return hows[how];
}

void col_epoch_text(uint64_t epoch, char text[COL_EPOCH_TEXT])
{
    struct ptl_writer w = ptl_writer_on((uint8_t *)text, COL_EPOCH_TEXT - 1);
    ptl_write_hex64(&w, epoch);
    text[COL_EPOCH_TEXT - 1] = '\0';
}

void col_batch_init(struct col_batch *batch)
{
    *batch = (struct col_batch){0};
}

void col_batch_free(struct col_batch *batch)
{
    free(batch->events);
    free(batch->arena);
    *batch = (struct col_batch){0};
}

bool col_device_valid(struct ptl_span text)
{
    if (text.len == 0 || text.len > PTL_DEVICE_BYTES_MAX) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];
        bool good = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                    c == '.' || c == '_' || c == '-';
        if (!good) {
            return false;
        }
    }
    return true;
}

// The members of an object by the place of their name in a list. Names not in it are passed over,
// so that a later version may say more; one that comes twice is a mistake.
struct fields {
    struct ptl_json_value value[FIELDS_MAX];
    bool has[FIELDS_MAX];
};

static bool collect(struct ptl_json_value object, const char *const *names, size_t count,
                    struct fields *fields)
{
    struct ptl_json_iter iter = ptl_json_iterate(object);
    struct ptl_json_value value;
    struct ptl_span key;
    memset(fields->has, 0, sizeof(fields->has));
    while (ptl_json_next(&iter, &key, &value)) {
        for (size_t i = 0; i < count; i++) {
            if (ptl_json_text_equals(key, names[i])) {
                if (fields->has[i]) {
                    return false;
                }
                fields->has[i] = true;
                fields->value[i] = value;
                break;
            }
        }
    }
    return true;
}

static bool is_type(const struct fields *fields, size_t at, enum ptl_json_type type)
{
    return fields->has[at] && fields->value[at].type == type;
}

static bool number(const struct fields *fields, size_t at, uint64_t max, uint64_t *out)
{
    return is_type(fields, at, PTL_JSON_NUMBER) && ptl_json_u64(fields->value[at], out) == PTL_OK &&
           *out <= max;
}

static bool one_of(const struct fields *fields, size_t at, const char *const *names, size_t count,
                   uint8_t *out)
{
    if (!is_type(fields, at, PTL_JSON_STRING)) {
        return false;
    }
    struct ptl_span raw = ptl_json_string_body(fields->value[at]);
    for (size_t i = 0; i < count; i++) {
        if (ptl_json_text_equals(raw, names[i])) {
            *out = (uint8_t)i;
            return true;
        }
    }
    return false;
}

// The plain text of a string member: borrowed where it has no escapes.
static bool text(struct col_batch *batch, const struct fields *fields, size_t at,
                 struct ptl_span *out)
{
    if (!is_type(fields, at, PTL_JSON_STRING)) {
        return false;
    }
    *out = ptl_json_string_body(fields->value[at]);
    if (out->len == 0 || memchr(out->ptr, '\\', out->len) == NULL) {
        return true;
    }
    size_t len = 0;
    uint8_t *to = batch->arena + batch->arena_len;
    if (ptl_json_unescape(*out, to, batch->arena_cap - batch->arena_len, &len) != PTL_OK) {
        return false;
    }
    batch->arena_len += len;
    *out = (struct ptl_span){to, len};
    return true;
}

static bool epoch_value(const struct fields *fields, size_t at, uint64_t *out)
{
    if (!is_type(fields, at, PTL_JSON_STRING)) {
        return false;
    }
    struct ptl_span raw = ptl_json_string_body(fields->value[at]);
    uint64_t value = 0;
    if (raw.len != 16) {
        return false;
    }
    for (size_t i = 0; i < raw.len; i++) {
        uint8_t c = raw.ptr[i];
        if (c >= '0' && c <= '9') {
            value = value << 4 | (uint64_t)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            value = value << 4 | (uint64_t)(c - 'a' + 10);
        } else {
            return false;
        }
    }
    *out = value;
    return true;
}

static bool boot_valid(struct ptl_span boot)
{
    for (size_t i = 0; i < boot.len; i++) {
        uint8_t c = boot.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || c == '-')) {
            return false;
        }
    }
    return boot.len <= PTL_BOOT_BYTES_MAX;
}

// UTC with milliseconds: one form, so that texts sort like times.
static bool timestamp_valid(struct ptl_span stamp)
{
    int64_t unix_ms = 0;
    return stamp.len == 24 && stamp.ptr[10] == 'T' && stamp.ptr[19] == '.' &&
           stamp.ptr[23] == 'Z' && ptl_rfc3339_parse(stamp, &unix_ms) == PTL_OK;
}

enum { E_SEQ, E_STAMP, E_STAMP_ERR, E_MONO, E_TYPE, E_SOURCE, E_SEVERITY, E_DATA, E_META };
static const char *const event_names[] = {"seq",      "timestamp",  "ts_err_ms",
                                          "mono_ms",  "event_type", "source",
                                          "severity", "data",       "metadata"};

static const char *parse_stamp(struct col_batch *batch, const struct fields *fields,
                               struct col_event *event)
{
    uint64_t err = 0;
    event->timestamp = (struct ptl_span){NULL, 0};
    event->ts_err_ms = -1;
    if (!is_type(fields, E_STAMP, PTL_JSON_NULL)) {
        if (!text(batch, fields, E_STAMP, &event->timestamp) ||
            !timestamp_valid(event->timestamp)) {
            return "timestamp";
        }
    }
    if (fields->has[E_STAMP_ERR] && fields->value[E_STAMP_ERR].type != PTL_JSON_NULL) {
        if (!number(fields, E_STAMP_ERR, UINT32_MAX, &err)) {
            return "ts_err_ms";
        }
        event->ts_err_ms = (int64_t)err;
    }
    return NULL;
}

static const char *parse_event(struct col_batch *batch, struct ptl_json_value value,
                               struct col_event *event)
{
    struct fields fields = {.has = {false}};
    uint8_t severity = 0;
    if (value.type != PTL_JSON_OBJECT) {
        return "event is no object";
    }
    if (!collect(value, event_names, COUNT(event_names), &fields)) {
        return "doubled name in event";
    }
    if (!number(&fields, E_SEQ, PTL_SEQ_MAX, &event->seq)) {
        return "seq";
    }
    if (!number(&fields, E_MONO, PTL_SEQ_MAX, &event->mono_ms)) {
        return "mono_ms";
    }
    if (!text(batch, &fields, E_TYPE, &event->event_type) || event->event_type.len == 0) {
        return "event_type";
    }
    if (!text(batch, &fields, E_SOURCE, &event->source)) {
        return "source";
    }
    if (!one_of(&fields, E_SEVERITY, severities, COUNT(severities), &severity)) {
        return "severity";
    }
    if (!is_type(&fields, E_DATA, PTL_JSON_OBJECT)) {
        return "data";
    }
    if (fields.has[E_META] && fields.value[E_META].type != PTL_JSON_OBJECT) {
        return "metadata";
    }
    event->severity = (enum ptl_severity)severity;
    event->data = fields.value[E_DATA].text;
    event->metadata = fields.has[E_META] ? fields.value[E_META].text : (struct ptl_span){NULL, 0};
    return parse_stamp(batch, &fields, event);
}

static bool grow_events(struct col_batch *batch)
{
    if (batch->event_count < batch->event_cap) {
        return true;
    }
    size_t cap = batch->event_cap > 0 ? batch->event_cap * 2 : 512;
    struct col_event *more = realloc(batch->events, cap * sizeof(*more));
    if (more == NULL) {
        return false;
    }
    batch->events = more;
    batch->event_cap = cap;
    return true;
}

static const char *parse_events(struct col_batch *batch, struct ptl_json_value list)
{
    struct ptl_json_iter iter = ptl_json_iterate(list);
    struct ptl_json_value value;
    while (ptl_json_next(&iter, NULL, &value)) {
        if (batch->event_count == COL_EVENTS_MAX) {
            return "too many events";
        }
        if (!grow_events(batch)) {
            return "out of memory";
        }
        struct col_event *event = &batch->events[batch->event_count];
        const char *why = parse_event(batch, value, event);
        if (why != NULL) {
            return why;
        }
        if (batch->event_count > 0 && event->seq <= event[-1].seq) {
            return "seq does not ascend";
        }
        batch->below_floor += event->seq < batch->floor ? 1 : 0;
        batch->event_count++;
    }
    return NULL;
}

enum { G_EPOCH, G_FIRST, G_LAST, G_REASON, G_KIND };
static const char *const gap_names[] = {"epoch", "first", "last", "reason", "kind"};

static const char *parse_gaps(struct col_batch *batch, struct ptl_json_value list)
{
    struct ptl_json_iter iter = ptl_json_iterate(list);
    struct ptl_json_value value;
    struct fields fields = {.has = {false}};
    while (ptl_json_next(&iter, NULL, &value)) {
        if (batch->gap_count == COL_GAPS_MAX) {
            return "too many gaps";
        }
        struct ptl_gap *gap = &batch->gaps[batch->gap_count];
        *gap = (struct ptl_gap){0};
        if (value.type != PTL_JSON_OBJECT ||
            !collect(value, gap_names, COUNT(gap_names), &fields)) {
            return "gap";
        }
        if (!epoch_value(&fields, G_EPOCH, &gap->epoch) ||
            !number(&fields, G_FIRST, PTL_SEQ_MAX, &gap->first) ||
            !number(&fields, G_LAST, PTL_SEQ_MAX, &gap->last) || gap->first > gap->last ||
            !one_of(&fields, G_REASON, reasons, COUNT(reasons), &gap->reason) ||
            !one_of(&fields, G_KIND, kinds, COUNT(kinds), &gap->kind)) {
            return "gap";
        }
        batch->gap_count++;
    }
    return NULL;
}

enum { N_EPOCH, N_NEXT, N_HOW, N_AT_MOST, N_FROM, N_RUNS };
static const char *const end_names[] = {"epoch", "next", "how", "at_most", "from", "runs"};

static const char *parse_end(struct ptl_json_value value, struct ptl_end *end)
{
    struct fields fields = {.has = {false}};
    uint64_t at_most = 0;
    uint64_t runs = 1;
    *end = (struct ptl_end){0};
    if (value.type != PTL_JSON_OBJECT || !collect(value, end_names, COUNT(end_names), &fields)) {
        return "end";
    }
    // `next` of the very last run may be one above the last number there is.
    if (!epoch_value(&fields, N_EPOCH, &end->epoch) ||
        !number(&fields, N_NEXT, PTL_SEQ_MAX + 1, &end->next) ||
        !one_of(&fields, N_HOW, hows, COUNT(hows), &end->how) ||
        !number(&fields, N_AT_MOST, UINT32_MAX, &at_most)) {
        return "end";
    }
    end->from = end->next;
    if (fields.has[N_FROM] && !number(&fields, N_FROM, end->next, &end->from)) {
        return "end";
    }
    if (fields.has[N_RUNS] && (!number(&fields, N_RUNS, UINT16_MAX, &runs) || runs == 0)) {
        return "end";
    }
    end->at_most = (uint32_t)at_most;
    end->runs = (uint16_t)runs;
    return NULL;
}

static const char *parse_ends(struct col_batch *batch, struct ptl_json_value list)
{
    struct ptl_json_iter iter = ptl_json_iterate(list);
    struct ptl_json_value value;
    while (ptl_json_next(&iter, NULL, &value)) {
        if (batch->end_count == COL_ENDS_MAX) {
            return "too many ends";
        }
        const char *why = parse_end(value, &batch->ends[batch->end_count]);
        if (why != NULL) {
            return why;
        }
        batch->end_count++;
    }
    return NULL;
}

enum { B_V, B_DEVICE, B_EPOCH, B_BOOT, B_FLOOR, B_SENT, B_EVENTS, B_GAPS, B_ENDS };
static const char *const batch_names[] = {"v",       "device", "epoch", "boot", "floor",
                                          "sent_ms", "events", "gaps",  "ends"};

static const char *parse_head(struct col_batch *batch, const struct fields *fields,
                              struct ptl_span device)
{
    uint64_t value = 0;
    if (!number(fields, B_V, 1, &value) || value != 1) {
        return "v";
    }
    if (!text(batch, fields, B_DEVICE, &batch->device) || !col_device_valid(batch->device)) {
        return "device";
    }
    if (!ptl_span_equal(batch->device, device)) {
        return "device is not the topic's";
    }
    if (!epoch_value(fields, B_EPOCH, &batch->epoch)) {
        return "epoch";
    }
    if (!text(batch, fields, B_BOOT, &batch->boot) || !boot_valid(batch->boot)) {
        return "boot";
    }
    // The number after the very last one is one above what an event can have.
    if (!number(fields, B_FLOOR, PTL_SEQ_MAX + 1, &batch->floor)) {
        return "floor";
    }
    if (!is_type(fields, B_SENT, PTL_JSON_NULL) && !number(fields, B_SENT, PTL_SEQ_MAX, &value)) {
        return "sent_ms";
    }
    return NULL;
}

const char *col_batch_parse(struct col_batch *batch, struct ptl_span payload,
                            struct ptl_span device)
{
    struct ptl_json_value root;
    struct ptl_json_error error;
    struct fields fields = {.has = {false}};
    batch->event_count = 0;
    batch->gap_count = 0;
    batch->end_count = 0;
    batch->below_floor = 0;
    batch->arena_len = 0;
    // Undoing escapes never makes a text longer.
    if (batch->arena_cap < payload.len) {
        uint8_t *more = realloc(batch->arena, payload.len);
        if (more == NULL) {
            return "out of memory";
        }
        batch->arena = more;
        batch->arena_cap = payload.len;
    }
    if (ptl_json_check(payload, PTL_JSON_DEPTH_MAX, &root, &error) != PTL_OK) {
        return "not JSON, or not storable";
    }
    if (root.type != PTL_JSON_OBJECT) {
        return "batch is no object";
    }
    if (!collect(root, batch_names, COUNT(batch_names), &fields)) {
        return "doubled name in batch";
    }
    const char *why = parse_head(batch, &fields, device);
    if (why != NULL) {
        return why;
    }
    if (!is_type(&fields, B_EVENTS, PTL_JSON_ARRAY)) {
        return "events";
    }
    if ((fields.has[B_GAPS] && fields.value[B_GAPS].type != PTL_JSON_ARRAY) ||
        (fields.has[B_ENDS] && fields.value[B_ENDS].type != PTL_JSON_ARRAY)) {
        return "gaps or ends";
    }
    why = parse_events(batch, fields.value[B_EVENTS]);
    if (why == NULL && fields.has[B_GAPS]) {
        why = parse_gaps(batch, fields.value[B_GAPS]);
    }
    if (why == NULL && fields.has[B_ENDS]) {
        why = parse_ends(batch, fields.value[B_ENDS]);
    }
    return why;
}
