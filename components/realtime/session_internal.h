// session_internal.h - what the reading and the writing half of the session share.
#pragma once

#include "ptl_session.h"

enum channel_state {
    CHANNEL_IDLE,    // join due
    CHANNEL_JOINING, // join sent
    CHANNEL_JOINED,
};

#define TOPIC_UP   "realtime:petrel:up:"
#define TOPIC_DOWN "realtime:petrel:down:"

#define TOPIC_BYTES_MAX (sizeof(TOPIC_DOWN) - 1 + PTL_DEVICE_BYTES_MAX)
_Static_assert(TOPIC_BYTES_MAX <= PTL_FRAME_FIELD_MAX, "a topic fits its length byte");

// The topic of a channel, terminated.
struct topic {
    char text[TOPIC_BYTES_MAX + 1];
};

static inline struct topic topic_of(const struct ptl_session *s, bool up)
{
    struct topic topic;
    struct ptl_writer w = ptl_writer_on((uint8_t *)topic.text, TOPIC_BYTES_MAX);
    ptl_write_text(&w, up ? TOPIC_UP : TOPIC_DOWN);
    ptl_write_text(&w, s->cfg.device);
    PTL_ASSERT(!w.overflow);
    topic.text[w.len] = '\0';
    return topic;
}
