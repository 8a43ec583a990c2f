// ptl_frame.h - frames of Supabase Realtime, Phoenix serializer vsn 2.0.0: reading and writing, no
// state. Source: supabase/realtime 2.129.8, lib/realtime_web/socket/v2_serializer.ex.
#pragma once

#include "ptl_base.h"
#include "ptl_bytes.h"
#include "ptl_json.h"

#define PTL_FRAME_FIELD_MAX 255 // bytes of join_ref, ref, topic, event, metadata each

// A frame from the server. Spans are borrowed from the message. Text frames give raw JSON string
// bodies without quotes; absent (null) fields are empty spans.
enum ptl_frame_kind {
    PTL_FRAME_TEXT,      // [join_ref, ref, topic, event, payload]
    PTL_FRAME_PUSH,      // kind 0
    PTL_FRAME_REPLY,     // kind 1: event is the status
    PTL_FRAME_BROADCAST, // kind 2
    PTL_FRAME_USER,      // kind 4
};

struct ptl_frame {
    enum ptl_frame_kind kind;
    struct ptl_span join_ref, ref, topic, event, metadata;
    struct ptl_span payload; // JSON text (checked for text frames only), or raw bytes
    bool json;               // kind 4: encoding is not 0
};

// PTL_E_FORMAT: not a frame (truncated, unknown kind, not JSON): ignore and count it.
PTL_MUST_USE enum ptl_status ptl_frame_parse(struct ptl_span message, bool binary,
                                             struct ptl_frame *frame);

// Header of a kind-3 frame up to its payload, which the caller appends.
// PTL_E_TOO_BIG: a field above 255 bytes, or no room for the header. Nothing is written then.
PTL_MUST_USE enum ptl_status ptl_frame_write_push(struct ptl_writer *w, struct ptl_span join_ref,
                                                  struct ptl_span ref, struct ptl_span topic,
                                                  struct ptl_span event);
