// Goal: what the door takes becomes a record that says the same, and one line on the wire that
// every JSON reader takes. Method: parse, encode, decode, write, and read the wire text back with
// the strict parser; the first byte of the input picks limits, clock and default source.
#include "fuzz.h"
#include "ptl_record.h"

static bool member_is(struct ptl_json_value object, const char *name, struct ptl_span text)
{
    struct ptl_json_value value;
    CHECK(ptl_json_member(object, name, &value));
    struct ptl_span got = value.type == PTL_JSON_STRING ? ptl_json_string_body(value) : value.text;
    return ptl_span_equal(got, text);
}

static void check_wire(const struct ptl_record *record, const struct ptl_event *event,
                       struct ptl_span source, uint32_t depth_max)
{
    size_t cap = record->members.len + PTL_RECORD_WIRE_OVERHEAD;
    uint8_t *wire = malloc(cap);
    CHECK(wire != NULL);
    struct ptl_writer w = ptl_writer_on(wire, cap);
    ptl_record_write_wire(&w, PTL_SEQ_MAX, record);
    CHECK(!w.overflow);
    struct ptl_json_value object;
    struct ptl_json_error error;
    CHECK(ptl_json_check((struct ptl_span){wire, w.len}, depth_max, &object, &error) == PTL_OK);
    CHECK(member_is(object, "event_type", event->event_type));
    CHECK(member_is(object, "source", source));
    CHECK(member_is(object, "data", event->data));
    struct ptl_json_value value;
    CHECK(ptl_json_member(object, "metadata", &value) == (event->metadata.len > 0));
    CHECK(ptl_json_member(object, "timestamp", &value));
    if (record->has_timestamp) {
        int64_t unix_ms;
        CHECK(ptl_rfc3339_parse(ptl_json_string_body(value), &unix_ms) == PTL_OK);
        CHECK(unix_ms == record->unix_ms);
    } else {
        CHECK(value.type == PTL_JSON_NULL);
    }
    // The same text, taken apart by the door itself, is refused only for what the agent added.
    struct ptl_event again;
    struct ptl_event_limits limits = {.event_bytes_max = UINT32_MAX, .depth_max = depth_max};
    CHECK(ptl_event_parse((struct ptl_span){wire, w.len}, PTL_DOOR_OWN, &limits, &again, &error) ==
          PTL_E_FORMAT);
    CHECK(error.offset == 1);
    free(wire);
}

static void check_record(const struct ptl_event *event, uint8_t pick, uint32_t depth_max)
{
    struct ptl_span fallback = pick & 1 ? PTL_SPAN_OF("gw\\u002d17") : PTL_SPAN_OF("");
    struct ptl_now now = {.mono_ms = (uint64_t)pick << (pick & 63),
                          .unix_ms = 1795543166123,
                          .unix_err_ms = pick & 2 ? 50 : PTL_TIME_UNKNOWN};
    size_t max = ptl_record_bytes_max(event, fallback);
    uint8_t *buf = malloc(max);
    CHECK(buf != NULL);
    size_t len = ptl_record_encode(event, fallback, &now, buf, max);
    CHECK(len <= max);
    struct ptl_record record;
    CHECK(ptl_record_decode((struct ptl_span){buf, len}, &record) == PTL_OK);
    CHECK(record.mono_ms == now.mono_ms);
    CHECK(record.severity == event->severity);
    CHECK(record.has_timestamp == (event->has_timestamp || (pick & 2) != 0));
    CHECK(record.own_clock == (record.has_timestamp && !event->has_timestamp));
    check_wire(&record, event, event->source.len > 0 ? event->source : fallback, depth_max);
    free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    uint8_t pick = data[0];
    uint8_t *copy = exact_copy(data + 1, size - 1);
    struct ptl_event_limits limits = {.event_bytes_max = pick & 4 ? 256 : 16384,
                                      .depth_max = 2 + (pick >> 4)};
    enum ptl_door door = pick & 8 ? PTL_DOOR_OWN : PTL_DOOR_OUTSIDE;
    struct ptl_event event;
    struct ptl_json_error error = {.offset = SIZE_MAX, .reason = NULL};
    struct ptl_span text = {copy, size - 1};
    enum ptl_status status = ptl_event_parse(text, door, &limits, &event, &error);
    if (status == PTL_OK) {
        CHECK(door == PTL_DOOR_OWN || !ptl_json_text_has_prefix(event.event_type, "petrel."));
        CHECK(ptl_record_bytes_max(&event, (struct ptl_span){NULL, 0}) <= limits.event_bytes_max);
        struct ptl_json_value value;
        CHECK(ptl_json_check(text, limits.depth_max, &value, &error) == PTL_OK);
        check_record(&event, pick, limits.depth_max);
    } else {
        CHECK(status == PTL_E_FORMAT || status == PTL_E_TOO_BIG || status == PTL_E_DENIED);
        CHECK(error.offset <= text.len);
        CHECK(error.reason != NULL);
    }
    free(copy);
    return 0;
}
