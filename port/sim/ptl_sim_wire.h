// ptl_sim_wire.h - frames of Realtime vsn 2.0.0 and the messages of docs/wire.md, read and written
// from the other side. Shares nothing with components/realtime or components/batch, so that one
// mistake cannot hide on both sides.
#pragma once

#include "ptl_base.h"
#include "ptl_json.h"
#include "ptl_sim_link.h"

// [join_ref, ref, topic, event, payload], or kind 3. Absent fields are empty.
struct ptl_sim_frame {
    struct ptl_span join_ref, ref, topic, event, payload;
};
// NULL, or what is wrong with it.
const char *ptl_sim_frame_read(struct ptl_span bytes, bool binary, struct ptl_sim_frame *frame);

// Text [join_ref, ref, topic, event, payload]; NULL refs become null.
struct ptl_sim_message *ptl_sim_text_write(const char *join_ref, const char *ref, const char *topic,
                                           const char *event, const char *payload);
// Kind 4 with JSON.
struct ptl_sim_message *ptl_sim_user_write(const char *topic, const char *event,
                                           const char *payload);

// Copies a span, cut at `cap` - 1, terminated.
void ptl_sim_copy_text(char *to, size_t cap, struct ptl_span from);

struct ptl_sim_batch_event {
    uint64_t seq;
    uint32_t id; // data.id, 0 if there is none
    bool own;    // event_type begins with petrel.
};
#define PTL_SIM_BATCH_EVENTS_MAX 1000
struct ptl_sim_batch {
    char device[PTL_DEVICE_BYTES_MAX + 1];
    char boot[PTL_BOOT_BYTES_MAX + 1];
    uint64_t epoch, floor;
    uint32_t event_count, gap_count, end_count;
    struct ptl_sim_batch_event events[PTL_SIM_BATCH_EVENTS_MAX];
    struct ptl_gap gaps[PTL_GAPS_MAX];
    struct ptl_end ends[PTL_ENDS_MAX];
};
// Reads and checks every rule of docs/wire.md. NULL, or the rule that is broken.
const char *ptl_sim_batch_read(struct ptl_span payload, struct ptl_sim_batch *batch);
