// frame.h - Phoenix frames of vsn 2.0.0 as the server sees them. Written from the description of
// supabase/realtime's v2_serializer.ex, apart from the agent's code, so that one mistake cannot
// hide on both sides.
//
// Text:    [join_ref, ref, topic, event, payload]; more elements are ignored.
// Kind 3:  03, lengths of join_ref, ref, topic, event, metadata (one byte each), encoding
//          (0 raw, else JSON), the five fields, the payload to the end of the frame.
// Kind 4:  04, lengths of topic, event, metadata, encoding, the three fields, the payload.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "mem.h"

#define PTL_RT_REF_BYTES_MAX   255u // of a ref that is a string; longer ones are not answered
#define PTL_RT_TOPIC_BYTES_MAX 255u // what kind 4 can carry

struct ptl_rt_bytes {
    const char *ptr;
    size_t len;
};

struct ptl_rt_frame {
    // Refs are kept as the JSON they are echoed as: "6" with its quotes, 6, or null.
    struct ptl_rt_str join_ref;
    struct ptl_rt_str ref;
    struct ptl_rt_bytes topic;
    struct ptl_rt_bytes event; // "broadcast" for kind 3
    json_t *root;              // text frames: the whole array, owned
    json_t *payload;           // text frames: borrowed from root
    bool user_push;            // kind 3, then:
    struct ptl_rt_bytes user_event;
    struct ptl_rt_bytes user_payload;
    unsigned char encoding;
};

// Both leave *f ready for ptl_rt_frame_free() whatever they return. False: malformed, to be
// ignored as Realtime does. Topics, events and payloads point into `data` or into f->root.
bool ptl_rt_frame_decode_text(struct ptl_rt_frame *f, const char *data, size_t len);
bool ptl_rt_frame_decode_binary(struct ptl_rt_frame *f, const char *data, size_t len);
void ptl_rt_frame_free(struct ptl_rt_frame *f);

// The kind-4 frame that carries a kind-3 push to its receivers; metadata of a push is dropped.
struct ptl_rt_msg *ptl_rt_frame_user_broadcast(const struct ptl_rt_frame *push);

// [join_ref, ref, topic, event, payload], the first, second and last given as JSON text.
struct ptl_rt_msg *ptl_rt_frame_text(const char *join_ref, const char *ref,
                                     struct ptl_rt_bytes topic, const char *event,
                                     const char *payload, size_t payload_len);
bool ptl_rt_bytes_are(struct ptl_rt_bytes b, const char *text);
