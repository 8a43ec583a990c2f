// The text of a batch. Every piece is written straight into the caller's writer; one that turns out
// not to fit is taken back by restoring the length, so nothing is measured twice.
#include "ptl_batch_text.h"

#include "ptl_record.h"

#define EVENTS_END  "]"
#define GAPS_BEGIN  ",\"gaps\":["
#define ENDS_BEGIN  ",\"ends\":["
#define LIST_END    "]"
#define BATCH_END   "}"
#define TEXT_LEN(s) (sizeof(s) - 1)

// What finish writes whatever is left: the lists may be empty, then they are absent.
#define TAIL_BYTES (TEXT_LEN(EVENTS_END) + TEXT_LEN(BATCH_END))

_Static_assert(PTL_RECORD_WIRE_OVERHEAD == 160, "PTL_BATCH_BYTES_MIN repeats it");
_Static_assert(
    TEXT_LEN("{\"v\":1,\"device\":\"\",\"epoch\":\"\",\"boot\":\"\",\"floor\":,\"sent_ms\":,"
             "\"events\":[]}") +
            PTL_DEVICE_BYTES_MAX + 16 + PTL_BOOT_BYTES_MAX + 20 + 20 <=
        PTL_BATCH_ENVELOPE_BYTES,
    "the envelope has a bound");

static const char *gap_reason_text(uint8_t reason)
{
    static const char *const texts[PTL_GAP_REASONS] = {
        [PTL_GAP_OVERFLOW] = "overflow", [PTL_GAP_QUEUE_FULL] = "queue_full",
        [PTL_GAP_DAMAGED] = "damaged",   [PTL_GAP_MEDIA] = "media",
        [PTL_GAP_REFUSED] = "refused",
    };
    PTL_ASSERT(reason < PTL_GAP_REASONS);
    return texts[reason];
}

static void gap_write(struct ptl_writer *w, const struct ptl_gap *gap)
{
    PTL_ASSERT(gap->first <= gap->last);
    PTL_ASSERT(gap->last <= PTL_SEQ_MAX);
    ptl_write_text(w, "{\"epoch\":\"");
    ptl_write_hex64(w, gap->epoch);
    ptl_write_text(w, "\",\"first\":");
    ptl_write_u64(w, gap->first);
    ptl_write_text(w, ",\"last\":");
    ptl_write_u64(w, gap->last);
    ptl_write_text(w, ",\"reason\":\"");
    ptl_write_text(w, gap_reason_text(gap->reason));
    ptl_write_text(w,
                   gap->kind == PTL_LOST ? "\",\"kind\":\"lost\"}" : "\",\"kind\":\"uncertain\"}");
}

static void end_write(struct ptl_writer *w, const struct ptl_end *end)
{
    PTL_ASSERT(end->from <= end->next);
    PTL_ASSERT(end->runs > 0);
    ptl_write_text(w, "{\"epoch\":\"");
    ptl_write_hex64(w, end->epoch);
    ptl_write_text(w, "\",\"next\":");
    ptl_write_u64(w, end->next);
    ptl_write_text(w, end->how == PTL_CLOSED ? ",\"how\":\"closed\"" : ",\"how\":\"torn\"");
    ptl_write_text(w, ",\"at_most\":");
    ptl_write_u64(w, end->at_most);
    if (end->runs > 1) {
        ptl_write_text(w, ",\"from\":");
        ptl_write_u64(w, end->from);
        ptl_write_text(w, ",\"runs\":");
        ptl_write_u64(w, end->runs);
    }
    ptl_write_text(w, "}");
}

static void head_write(struct ptl_writer *w, const struct ptl_batch_head *head)
{
    ptl_write_text(w, "{\"v\":1,\"device\":\"");
    ptl_write_span(w, head->device);
    ptl_write_text(w, "\",\"epoch\":\"");
    ptl_write_hex64(w, head->epoch);
    ptl_write_text(w, "\",\"boot\":\"");
    ptl_write_span(w, head->boot);
    ptl_write_text(w, "\",\"floor\":");
    ptl_write_u64(w, head->floor);
    ptl_write_text(w, ",\"sent_ms\":");
    if (head->now.unix_err_ms == PTL_TIME_UNKNOWN) {
        ptl_write_text(w, "null");
    } else {
        ptl_write_i64(w, head->now.unix_ms);
    }
    ptl_write_text(w, ",\"events\":[");
}

// Keeps what was written since `len` if it ends by `limit`; otherwise the writer is as it was then.
static bool keep_within(struct ptl_writer *w, size_t len, size_t limit)
{
    if (!w->overflow && w->len <= limit) {
        return true;
    }
    w->len = len;
    w->overflow = false;
    return false;
}

enum ptl_status ptl_batch_text_begin(struct ptl_batch_text *t, struct ptl_writer *w,
                                     size_t bytes_max, const struct ptl_batch_head *head,
                                     uint32_t gap_count, uint32_t end_count)
{
    PTL_ASSERT(!w->overflow);
    PTL_ASSERT(head->device.len > 0 && head->device.len <= PTL_DEVICE_BYTES_MAX);
    PTL_ASSERT(head->boot.len <= PTL_BOOT_BYTES_MAX);
    PTL_ASSERT(head->floor <= PTL_SEQ_MAX + 1);
    PTL_ASSERT(gap_count <= PTL_GAPS_MAX);
    PTL_ASSERT(end_count <= PTL_ENDS_MAX);
    size_t room = w->cap - w->len;
    size_t bytes = bytes_max < room ? bytes_max : room;
    size_t wanted =
        gap_count * (size_t)PTL_BATCH_GAP_BYTES + end_count * (size_t)PTL_BATCH_END_BYTES;
    *t = (struct ptl_batch_text){
        .w = w,
        .start = w->len,
        .limit = w->len + bytes,
        .reserve = wanted < bytes / 4 ? wanted : bytes / 4,
    };
    head_write(w, head);
    if (bytes < TAIL_BYTES || !keep_within(w, t->start, t->limit - TAIL_BYTES)) {
        w->len = t->start;
        w->overflow = false;
        return PTL_E_TOO_BIG;
    }
    return PTL_OK;
}

// Where the events must end. The first one may use what is kept for gaps and ends.
static size_t events_limit(const struct ptl_batch_text *t)
{
    return t->limit - TAIL_BYTES - (t->events > 0 ? t->reserve : 0);
}

enum ptl_status ptl_batch_text_event(struct ptl_batch_text *t, uint64_t seq, struct ptl_span record)
{
    PTL_ASSERT(seq <= PTL_SEQ_MAX);
    struct ptl_record decoded;
    if (ptl_record_decode(record, &decoded) != PTL_OK) {
        return PTL_E_FORMAT;
    }
    size_t len = t->w->len;
    if (t->events > 0) {
        ptl_write_byte(t->w, ',');
    }
    ptl_record_write_wire(t->w, seq, &decoded);
    if (!keep_within(t->w, len, events_limit(t))) {
        return PTL_E_FULL;
    }
    t->events++;
    return PTL_OK;
}

bool ptl_batch_text_fits(const struct ptl_batch_text *t, size_t record_bytes)
{
    size_t limit = events_limit(t);
    size_t needed = record_bytes + PTL_RECORD_WIRE_OVERHEAD + 1;
    return t->w->len <= limit && limit - t->w->len >= needed;
}

static uint32_t gaps_write(struct ptl_batch_text *t, const struct ptl_gap *gaps, uint32_t count)
{
    size_t limit = t->limit - TEXT_LEN(LIST_END) - TEXT_LEN(BATCH_END);
    for (uint32_t i = 0; i < count; i++) {
        size_t len = t->w->len;
        ptl_write_text(t->w, i == 0 ? GAPS_BEGIN : ",");
        gap_write(t->w, &gaps[i]);
        if (!keep_within(t->w, len, limit)) {
            count = i;
        }
    }
    if (count > 0) {
        ptl_write_text(t->w, LIST_END);
    }
    return count;
}

static uint32_t ends_write(struct ptl_batch_text *t, const struct ptl_end *ends, uint32_t count)
{
    size_t limit = t->limit - TEXT_LEN(LIST_END) - TEXT_LEN(BATCH_END);
    for (uint32_t i = 0; i < count; i++) {
        size_t len = t->w->len;
        ptl_write_text(t->w, i == 0 ? ENDS_BEGIN : ",");
        end_write(t->w, &ends[i]);
        if (!keep_within(t->w, len, limit)) {
            count = i;
        }
    }
    if (count > 0) {
        ptl_write_text(t->w, LIST_END);
    }
    return count;
}

void ptl_batch_text_finish(struct ptl_batch_text *t, const struct ptl_gap *gaps, uint32_t gap_count,
                           const struct ptl_end *ends, uint32_t end_count, uint32_t *gaps_written,
                           uint32_t *ends_written)
{
    PTL_ASSERT(gap_count <= PTL_GAPS_MAX);
    PTL_ASSERT(end_count <= PTL_ENDS_MAX);
    ptl_write_text(t->w, EVENTS_END);
    *gaps_written = gaps_write(t, gaps, gap_count);
    *ends_written = ends_write(t, ends, end_count);
    ptl_write_text(t->w, BATCH_END);
    PTL_ASSERT(!t->w->overflow);
    PTL_ASSERT(t->w->len <= t->limit);
}
