// door.c - reads an event in the one pass that checks its text.
#include "ptl_record.h"
#include "severity.h"

#include <string.h>

enum field {
    FIELD_EVENT_TYPE,
    FIELD_SOURCE,
    FIELD_TIMESTAMP,
    FIELD_SEVERITY,
    FIELD_DATA,
    FIELD_METADATA,
    FIELDS
};

#define FIELD_NAME_BYTES_MAX 10

#define RESERVED_PREFIX "petrel."
// A time stamp written with escapes is undone into this many bytes; the longest sensible one is 35.
#define TIMESTAMP_BYTES_MAX 64

static bool same(struct ptl_span key, const char *name, size_t len)
{
    return key.len == len && memcmp(key.ptr, name, len) == 0;
}
#define IS(name) same(key, name, sizeof(name) - 1)

static enum field field_of_plain(struct ptl_span key)
{
    return IS("event_type")  ? FIELD_EVENT_TYPE
           : IS("data")      ? FIELD_DATA
           : IS("source")    ? FIELD_SOURCE
           : IS("timestamp") ? FIELD_TIMESTAMP
           : IS("severity")  ? FIELD_SEVERITY
           : IS("metadata")  ? FIELD_METADATA
                             : FIELDS;
}

// FIELDS if the key is none of them.
static enum field field_of(struct ptl_span key)
{
    enum field field = field_of_plain(key);
    uint8_t plain[FIELD_NAME_BYTES_MAX];
    size_t len;
    // Unknown, or written with escapes.
    if (field == FIELDS && ptl_json_unescape(key, plain, sizeof(plain), &len) == PTL_OK) {
        field = field_of_plain((struct ptl_span){plain, len});
    }
    return field;
}

static struct ptl_span body_of(struct ptl_json_value string)
{
    PTL_ASSERT(string.text.len >= 2);
    return (struct ptl_span){string.text.ptr + 1, string.text.len - 2};
}

// Whether the type can only be the agent's own; most are told by their first byte.
static bool is_reserved(struct ptl_span event_type)
{
    return (event_type.ptr[0] == RESERVED_PREFIX[0] || event_type.ptr[0] == '\\') &&
           ptl_json_text_has_prefix(event_type, RESERVED_PREFIX);
}

// Each of these takes one value into the event; what they return is the reason to refuse it, or
// NULL.

static const char *take_event_type(struct ptl_event *event, struct ptl_json_value value)
{
    if (value.type != PTL_JSON_STRING) {
        return "event_type must be a string";
    }
    event->event_type = body_of(value);
    return event->event_type.len > 0 ? NULL : "event_type must not be empty";
}

static const char *take_source(struct ptl_event *event, struct ptl_json_value value)
{
    if (value.type != PTL_JSON_STRING) {
        return "source must be a string";
    }
    event->source = body_of(value);
    return NULL;
}

static const char *take_timestamp(struct ptl_event *event, struct ptl_json_value value)
{
    if (value.type == PTL_JSON_NULL) {
        return NULL;
    }
    enum ptl_status status = PTL_E_FORMAT;
    if (value.type == PTL_JSON_STRING) {
        struct ptl_span body = body_of(value);
        status = ptl_rfc3339_parse(body, &event->unix_ms);
        uint8_t plain[TIMESTAMP_BYTES_MAX];
        size_t len;
        if (status != PTL_OK && ptl_json_unescape(body, plain, sizeof(plain), &len) == PTL_OK) {
            status = ptl_rfc3339_parse((struct ptl_span){plain, len}, &event->unix_ms);
        }
    }
    event->has_timestamp = status == PTL_OK;
    return status == PTL_OK ? NULL : "timestamp must be RFC 3339 with zone, 1970 to 2199, or null";
}

static const char *take_severity(struct ptl_event *event, struct ptl_json_value value)
{
    if (value.type == PTL_JSON_STRING) {
        struct ptl_span body = body_of(value);
        for (uint32_t i = 0; i < PTL_SEVERITIES; i++) {
            if (ptl_json_text_equals(body, ptl_severity_names[i])) {
                event->severity = (enum ptl_severity)i;
                return NULL;
            }
        }
    }
    return "severity must be debug, info, warning, error or critical";
}

static const char *take_data(struct ptl_event *event, struct ptl_json_value value)
{
    if (value.type != PTL_JSON_OBJECT) {
        return "data must be an object";
    }
    event->data = value.text;
    return NULL;
}

static const char *take_metadata(struct ptl_event *event, struct ptl_json_value value)
{
    if (value.type == PTL_JSON_NULL) {
        return NULL;
    }
    if (value.type != PTL_JSON_OBJECT) {
        return "metadata must be an object or null";
    }
    event->metadata = value.text;
    return NULL;
}

static const char *take(struct ptl_event *event, enum field field, struct ptl_json_value value)
{
    switch (field) {
    case FIELD_EVENT_TYPE:
        return take_event_type(event, value);
    case FIELD_SOURCE:
        return take_source(event, value);
    case FIELD_TIMESTAMP:
        return take_timestamp(event, value);
    case FIELD_SEVERITY:
        return take_severity(event, value);
    case FIELD_DATA:
        return take_data(event, value);
    case FIELD_METADATA:
        return take_metadata(event, value);
    case FIELDS:
        break;
    }
    PTL_ASSERT(false);
    return NULL;
}

static enum ptl_status refuse(struct ptl_json_reader *json, const uint8_t *at, const char *reason)
{
    PTL_ASSERT(at >= json->begin);
    PTL_ASSERT(at <= json->end);
    json->error = (struct ptl_json_error){.offset = (size_t)(at - json->begin), .reason = reason};
    return PTL_E_FORMAT;
}

// One member after the other; PTL_E_EMPTY at the end. *seen has a bit for each field met.
static enum ptl_status read_members(struct ptl_json_reader *json, enum ptl_door door,
                                    struct ptl_event *event, uint32_t *seen)
{
    struct ptl_span key;
    struct ptl_json_value value;
    enum ptl_status status;
    // At most one turn a field, since none may come twice.
    while ((status = ptl_json_read_member(json, &key, &value)) == PTL_OK) {
        enum field field = field_of(key);
        if (field == FIELDS) {
            return refuse(json, key.ptr - 1, "unknown member");
        }
        if ((*seen & 1u << field) != 0) {
            return refuse(json, key.ptr - 1, "doubled member");
        }
        *seen |= 1u << field;
        const char *reason = take(event, field, value);
        if (reason != NULL) {
            return refuse(json, value.text.ptr, reason);
        }
        if (field == FIELD_EVENT_TYPE && door == PTL_DOOR_OUTSIDE &&
            is_reserved(event->event_type)) {
            (void)refuse(json, value.text.ptr, "event_type is reserved");
            return PTL_E_DENIED;
        }
    }
    return status;
}

static enum ptl_status read_event(struct ptl_json_reader *json, enum ptl_door door,
                                  const struct ptl_event_limits *limits, struct ptl_event *event)
{
    uint32_t seen = 0;
    enum ptl_status status = read_members(json, door, event, &seen);
    if (status != PTL_E_EMPTY) {
        return status;
    }
    if ((seen & 1u << FIELD_EVENT_TYPE) == 0) {
        return refuse(json, json->at, "event_type is missing");
    }
    if ((seen & 1u << FIELD_DATA) == 0) {
        return refuse(json, json->at, "data is missing");
    }
    if (ptl_record_bytes_max(event, (struct ptl_span){NULL, 0}) > limits->event_bytes_max) {
        (void)refuse(json, json->begin, "event too big");
        return PTL_E_TOO_BIG;
    }
    return PTL_OK;
}

enum ptl_status ptl_event_parse(struct ptl_span text, enum ptl_door door,
                                const struct ptl_event_limits *limits, struct ptl_event *event,
                                struct ptl_json_error *error)
{
    PTL_ASSERT(limits != NULL);
    PTL_ASSERT(limits->depth_max >= 2 && limits->depth_max <= PTL_JSON_DEPTH_MAX);
    PTL_ASSERT(event != NULL);
    PTL_ASSERT(error != NULL);
    *event = (struct ptl_event){.severity = PTL_INFO};
    struct ptl_json_reader json;
    enum ptl_status status = ptl_json_read_object(&json, text, limits->depth_max);
    if (status == PTL_OK) {
        status = read_event(&json, door, limits, event);
    }
    if (status != PTL_OK) {
        *error = json.error;
        PTL_ASSERT(error->reason != NULL);
    }
    return status;
}
