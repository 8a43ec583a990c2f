// record.c - the encoded record: written once, read by whoever sends it, made ready for the wire.
#include "ptl_record.h"
#include "severity.h"

#include <string.h>

#define SEVERITY_MASK 0x07u
#define HAS_TIMESTAMP 0x08u
#define OWN_CLOCK     0x10u
#define HEAD_MASK     (SEVERITY_MASK | HAS_TIMESTAMP | OWN_CLOCK)

_Static_assert(PTL_SEVERITIES <= SEVERITY_MASK + 1, "severity fits its bits");

#define VARINT64_BYTES_MAX 10
#define VARINT32_BYTES_MAX 5
// Head byte, mono_ms, unix_ms, ts_err_ms.
#define FIXED_BYTES_MAX (1 + 2 * VARINT64_BYTES_MAX + VARINT32_BYTES_MAX)

#define UNIX_MS_END UINT64_C(7258118400000) // the year 2200: receivers take none above it

const char ptl_severity_names[PTL_SEVERITIES][PTL_SEVERITY_NAME_CAP] = {
    [PTL_DEBUG] = "debug", [PTL_INFO] = "info",         [PTL_WARNING] = "warning",
    [PTL_ERROR] = "error", [PTL_CRITICAL] = "critical",
};

#define MEMBER_TYPE     "\"event_type\":\""
#define MEMBER_SOURCE   "\",\"source\":\""
#define MEMBER_SEVERITY "\",\"severity\":\""
#define MEMBER_DATA     "\",\"data\":"
#define MEMBER_METADATA ",\"metadata\":"
#define TEXT_LEN(text)  (sizeof(text) - 1)

static struct ptl_span source_of(const struct ptl_event *event, struct ptl_span default_source)
{
    return event->source.len > 0 ? event->source : default_source;
}

size_t ptl_record_bytes_max(const struct ptl_event *event, struct ptl_span default_source)
{
    PTL_ASSERT(event->event_type.len > 0);
    PTL_ASSERT(event->data.len >= 2);
    size_t metadata = event->metadata.len > 0 ? TEXT_LEN(MEMBER_METADATA) + event->metadata.len : 0;
    return FIXED_BYTES_MAX + TEXT_LEN(MEMBER_TYPE MEMBER_SOURCE MEMBER_SEVERITY MEMBER_DATA) +
           (PTL_SEVERITY_NAME_CAP - 1) + event->event_type.len +
           source_of(event, default_source).len + event->data.len + metadata;
}

static uint8_t *put_varint(uint8_t *p, uint64_t value)
{
    while (value >= 0x80) {
        *p++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *p++ = (uint8_t)value;
    return p;
}

static inline uint8_t *put(uint8_t *p, const void *bytes, size_t len)
{
    if (len > 0) {
        memcpy(p, bytes, len);
    }
    return p + len;
}

#define PUT_TEXT(p, text) put((p), (text), TEXT_LEN(text))

static uint8_t *put_members(uint8_t *p, const struct ptl_event *event, struct ptl_span source)
{
    const char *severity = ptl_severity_names[event->severity];
    p = PUT_TEXT(p, MEMBER_TYPE);
    p = put(p, event->event_type.ptr, event->event_type.len);
    p = PUT_TEXT(p, MEMBER_SOURCE);
    p = put(p, source.ptr, source.len);
    p = PUT_TEXT(p, MEMBER_SEVERITY);
    p = put(p, severity, strlen(severity));
    p = PUT_TEXT(p, MEMBER_DATA);
    p = put(p, event->data.ptr, event->data.len);
    if (event->metadata.len > 0) {
        p = PUT_TEXT(p, MEMBER_METADATA);
        p = put(p, event->metadata.ptr, event->metadata.len);
    }
    return p;
}

// A clock that shows a year without RFC 3339 form is as good as none.
static bool clock_is_known(const struct ptl_now *now)
{
    return now->unix_err_ms != PTL_TIME_UNKNOWN && now->unix_ms >= 0 &&
           (uint64_t)now->unix_ms < UNIX_MS_END;
}

size_t ptl_record_encode(const struct ptl_event *event, struct ptl_span default_source,
                         const struct ptl_now *now, uint8_t *buf, size_t cap)
{
    PTL_ASSERT(cap >= ptl_record_bytes_max(event, default_source));
    PTL_ASSERT(event->severity < PTL_SEVERITIES);
    uint8_t *p = buf + 1;
    uint32_t head = event->severity;
    p = put_varint(p, now->mono_ms);
    if (event->has_timestamp) {
        PTL_ASSERT(event->unix_ms >= 0 && (uint64_t)event->unix_ms < UNIX_MS_END);
        head |= HAS_TIMESTAMP;
        p = put_varint(p, (uint64_t)event->unix_ms);
    } else if (clock_is_known(now)) {
        head |= HAS_TIMESTAMP | OWN_CLOCK;
        p = put_varint(p, (uint64_t)now->unix_ms);
        p = put_varint(p, now->unix_err_ms);
    }
    buf[0] = (uint8_t)head;
    p = put_members(p, event, source_of(event, default_source));
    size_t len = (size_t)(p - buf);
    PTL_ASSERT(len <= cap);
    return len;
}

// What is left of a record that is taken apart; `ok` stays false once something is wrong.
struct reading {
    const uint8_t *at;
    const uint8_t *end;
    bool ok;
};

// The shortest form only, so that a record has one encoding; at most `max`.
static uint64_t read_varint(struct reading *r, uint64_t max)
{
    uint64_t value = 0;
    for (uint32_t shift = 0; shift < 64 && r->at < r->end; shift += 7) {
        uint8_t byte = *r->at++;
        if (shift == 63 && byte > 1) {
            break; // bits beyond the 64th
        }
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            if ((byte == 0 && shift > 0) || value > max) {
                break;
            }
            return value;
        }
    }
    r->ok = false;
    return 0;
}

enum ptl_status ptl_record_decode(struct ptl_span bytes, struct ptl_record *record)
{
    PTL_ASSERT(record != NULL);
    if (bytes.len < 1) {
        return PTL_E_FORMAT;
    }
    uint32_t head = bytes.ptr[0];
    struct reading r = {.at = bytes.ptr + 1, .end = bytes.ptr + bytes.len, .ok = true};
    *record = (struct ptl_record){
        .has_timestamp = (head & HAS_TIMESTAMP) != 0,
        .own_clock = (head & OWN_CLOCK) != 0,
        .severity = (enum ptl_severity)(head & SEVERITY_MASK),
    };
    if ((head & ~HEAD_MASK) != 0 || (head & SEVERITY_MASK) >= PTL_SEVERITIES ||
        (record->own_clock && !record->has_timestamp)) {
        return PTL_E_FORMAT;
    }
    record->mono_ms = read_varint(&r, UINT64_MAX);
    if (record->has_timestamp) {
        record->unix_ms = (int64_t)read_varint(&r, UNIX_MS_END - 1);
    }
    if (record->own_clock) {
        record->ts_err_ms = (uint32_t)read_varint(&r, PTL_TIME_UNKNOWN - 1);
    }
    record->members = (struct ptl_span){r.at, (size_t)(r.end - r.at)};
    // The members were checked at the door and are guarded by checksums since; this tells a record
    // from other bytes.
    if (!r.ok || record->members.len <= TEXT_LEN(MEMBER_TYPE) || r.end[-1] != '}' ||
        memcmp(r.at, MEMBER_TYPE, TEXT_LEN(MEMBER_TYPE)) != 0) {
        return PTL_E_FORMAT;
    }
    return PTL_OK;
}

#define WIRE_SEQ   "{\"seq\":"
#define WIRE_STAMP ",\"timestamp\":\""
#define WIRE_ERROR "\",\"ts_err_ms\":"
#define WIRE_NONE  ",\"timestamp\":null,\"ts_err_ms\":null"
#define WIRE_MONO  ",\"mono_ms\":"

// Three numbers, of which the last may write its full width, and the stamp.
_Static_assert(PTL_RECORD_WIRE_OVERHEAD >= sizeof(WIRE_SEQ WIRE_STAMP WIRE_ERROR WIRE_MONO ",}") +
                                               3 * PTL_U64_TEXT_BYTES + PTL_RFC3339_TEXT_BYTES,
               "room for what stands around the members");
_Static_assert(sizeof(WIRE_STAMP WIRE_ERROR) + PTL_RFC3339_TEXT_BYTES >= sizeof(WIRE_NONE),
               "the form without stamp is the shorter one");

static uint8_t *put_timestamp(uint8_t *p, const struct ptl_record *record)
{
    if (!record->has_timestamp) {
        return PUT_TEXT(p, WIRE_NONE);
    }
    p = PUT_TEXT(p, WIRE_STAMP);
    p = ptl_put_rfc3339(p, record->unix_ms);
    if (!record->own_clock) {
        return PUT_TEXT(p, "\"");
    }
    p = PUT_TEXT(p, WIRE_ERROR);
    return ptl_put_u64(p, record->ts_err_ms);
}

void ptl_record_write_wire(struct ptl_writer *w, uint64_t seq, const struct ptl_record *record)
{
    PTL_ASSERT(seq <= PTL_SEQ_MAX);
    PTL_ASSERT(record->members.len > 0);
    // Put together aside, so that the event is whole in `w` or absent.
    uint8_t before[PTL_RECORD_WIRE_OVERHEAD];
    uint8_t *p = PUT_TEXT(before, WIRE_SEQ);
    p = ptl_put_u64(p, seq);
    p = put_timestamp(p, record);
    p = PUT_TEXT(p, WIRE_MONO);
    p = ptl_put_u64(p, record->mono_ms);
    p = PUT_TEXT(p, ",");
    size_t before_len = (size_t)(p - before);
    PTL_ASSERT(before_len < sizeof(before));

    size_t len_before = w->len;
    ptl_write_bytes(w, before, before_len);
    ptl_write_span(w, record->members);
    ptl_write_byte(w, '}');
    if (w->overflow) {
        w->len = len_before;
    }
}
