// ingest.h - takes a batch message (docs/wire.md) apart, strictly: what breaks a rule anywhere is
// refused whole, with a reason from a fixed list, so that reasons can be counted.
//
// Spans of a parsed batch point into the payload or into the batch's own memory; they live until
// the payload goes or the next parse. `data` and `metadata` are byte for byte what came.
#pragma once

#include "ptl_base.h"
#include "ptl_json.h"

#define COL_EVENTS_MAX 10000 // of one batch; an agent's default is 500
#define COL_GAPS_MAX   64
#define COL_ENDS_MAX   64
#define COL_EPOCH_TEXT 17 // 16 digits and the end

struct col_event {
    uint64_t seq;
    uint64_t mono_ms;
    struct ptl_span event_type, source; // plain UTF-8
    struct ptl_span timestamp;          // as it came; empty: none
    struct ptl_span data, metadata;     // metadata empty: absent
    int64_t ts_err_ms;                  // -1: none
    enum ptl_severity severity;
};

struct col_batch {
    struct ptl_span device, boot;
    uint64_t epoch;
    uint64_t floor;
    struct col_event *events;
    size_t event_count, event_cap;
    struct ptl_gap gaps[COL_GAPS_MAX];
    size_t gap_count;
    struct ptl_end ends[COL_ENDS_MAX];
    size_t end_count;
    uint64_t
        below_floor; // events below the batch's own floor: a mistake of the sender, kept anyway
    uint8_t *arena;  // strings whose escapes were undone
    size_t arena_len, arena_cap;
};

void col_batch_init(struct col_batch *batch);
void col_batch_free(struct col_batch *batch);

// Parses `payload`, which came on the uplink of `device`. Returns NULL, or why it was refused: a
// static word such as "seq" or "device is not the topic's". Then *batch holds nothing of use.
const char *col_batch_parse(struct col_batch *batch, struct ptl_span payload,
                            struct ptl_span device);

// Whether `text` is a device name: 1 to 64 of [A-Za-z0-9._-].
bool col_device_valid(struct ptl_span text);
void col_epoch_text(uint64_t epoch, char text[COL_EPOCH_TEXT]);
const char *col_severity_text(enum ptl_severity severity);
const char *col_reason_text(uint8_t reason);
const char *col_kind_text(uint8_t kind);
const char *col_how_text(uint8_t how);
