// ptl_record.h - the event as an application sees it, and the record it becomes.
//
// A record is encoded once, at the door, and copied as it stands through queue, journal and batch:
//
//   byte 0      severity in bits 0..2, bit 3: timestamp present, bit 4: timestamp by the device's
//               own clock (ts_err_ms follows), bits 5..7 zero
//   varint      mono_ms (LEB128, unsigned)
//   varint      unix_ms             if bit 3
//   varint      ts_err_ms           if bit 4
//   to the end  wire-ready JSON members: "event_type":...,"source":...,"severity":...,"data":...
//               [,"metadata":...]   (no braces; `data` byte for byte as it came)
//
// so that sending costs one copy. The seq is kept beside the record by whoever stores it.
#pragma once

#include "ptl_base.h"
#include "ptl_bytes.h"
#include "ptl_json.h"

// What the door lets in. All bytes, counted on the event as it came.
struct ptl_event_limits {
    uint32_t event_bytes_max; // of ptl_record_bytes_max() without a default source; 16 KiB on
                              // Linux, 1 KiB on microcontrollers
    uint32_t depth_max;       // nesting of data and metadata together with the event: 16; 8
};

// An event at the door. Strings are JSON string bodies (escaped, without quotes), checked; data and
// metadata are the text of JSON objects, checked. Everything is borrowed from the input text.
struct ptl_event {
    struct ptl_span event_type; // 1 byte at least
    struct ptl_span source;     // may be empty: then the agent's own default
    struct ptl_span data;       // "{...}"
    struct ptl_span metadata;   // "{...}", or empty: absent
    int64_t unix_ms;            // valid if has_timestamp
    bool has_timestamp;
    enum ptl_severity severity;
};

enum ptl_door {
    PTL_DOOR_OUTSIDE, // inputs of applications: types that begin with "petrel." are refused
    PTL_DOOR_OWN,     // the agent's own events
};

// Reads one event from JSON text: an object with `event_type` (string, required, not empty), `data`
// (object, required), and optionally `source` (string), `timestamp` (RFC 3339 string with zone,
// 1970 to 2199, or null), `severity` (one of the five, default info), `metadata` (object or null).
// An unknown or doubled top-level member is refused; names are compared unescaped.
// PTL_E_FORMAT   not JSON, or not an event       PTL_E_TOO_BIG  above limits
// PTL_E_DENIED   a reserved event_type
// On failure *error names the byte offset and the reason: a member that is missing at the closing
// bracket, one that is wrong at its value, an unknown or doubled one at its name, an event above
// event_bytes_max at 0. Never reads outside `text`.
PTL_MUST_USE enum ptl_status ptl_event_parse(struct ptl_span text, enum ptl_door door,
                                             const struct ptl_event_limits *limits,
                                             struct ptl_event *event, struct ptl_json_error *error);

// Upper bound of the encoded size of `event` with `default_source`, which is a JSON string body as
// well (ptl_write_json_escaped makes one) and stands in where the event names no source.
size_t ptl_record_bytes_max(const struct ptl_event *event, struct ptl_span default_source);

// Encodes into buf and returns the length; asserts cap >= ptl_record_bytes_max(). Where the event
// has no timestamp of its own and `now` knows the time (within 1970 to 2199), the device's is
// taken, with its error.
size_t ptl_record_encode(const struct ptl_event *event, struct ptl_span default_source,
                         const struct ptl_now *now, uint8_t *buf, size_t cap);

struct ptl_record {
    uint64_t mono_ms;
    int64_t unix_ms;    // valid if has_timestamp
    uint32_t ts_err_ms; // valid if own_clock
    bool has_timestamp;
    bool own_clock;
    enum ptl_severity severity;
    struct ptl_span members; // the wire-ready JSON members
};

// Takes an encoded record apart. PTL_E_FORMAT: not one (damaged medium).
PTL_MUST_USE enum ptl_status ptl_record_decode(struct ptl_span bytes, struct ptl_record *record);

// Upper bound of what ptl_record_write_wire adds around the members.
#define PTL_RECORD_WIRE_OVERHEAD 160

// Writes the event object of docs/wire.md, braces included.
void ptl_record_write_wire(struct ptl_writer *w, uint64_t seq, const struct ptl_record *record);
