// session_play.h - what the tests of the session share: a session whose server is played by hand,
// with frames as recorded from a real one (refs and topics ours).
#pragma once

#include "ptl_test.h"

#include "ptl_session.h"

#define UP   "realtime:petrel:up:gw-17"
#define DOWN "realtime:petrel:down:gw-17"

struct fixture {
    struct ptl_session s;
    char frame[16384]; // the last one written, terminated
    size_t frame_len;
    struct ptl_session_event event; // the last one
};

static inline struct ptl_session_config config(void)
{
    return (struct ptl_session_config){
        .device = "gw-17",
        .token = PTL_SPAN_OF("eyJ.a.b"),
        .version = PTL_SPAN_OF("0.1.0"),
        .epoch = 0x5f0c8a3d9e7b1c24,
        .private_channels = true,
        .presence = true,
        .join_timeout_ms = 12000,
        .heartbeat_ms = 25000,
        .ack_timeout_ms = 5000,
    };
}

static inline void begin(struct fixture *f, const struct ptl_session_config *cfg, uint64_t now_ms)
{
    memset(f, 0, sizeof(*f));
    ptl_session_init(&f->s, cfg);
    ptl_session_link_up(&f->s, now_ms);
}

static inline enum ptl_status write_room(struct fixture *f, uint64_t now_ms, size_t cap)
{
    struct ptl_writer w = ptl_writer_on((uint8_t *)f->frame, cap);
    enum ptl_status status = ptl_session_control_write(&f->s, &w, now_ms);
    f->frame_len = w.len;
    f->frame[w.len] = '\0';
    return status;
}

static inline void assert_writes(struct fixture *f, uint64_t now_ms, const char *text)
{
    assert_true(ptl_session_control_due(&f->s, now_ms));
    assert_int_equal(write_room(f, now_ms, sizeof(f->frame) - 1), PTL_OK);
    assert_string_equal(f->frame, text);
}

static inline void assert_writes_nothing(struct fixture *f, uint64_t now_ms)
{
    assert_false(ptl_session_control_due(&f->s, now_ms));
    assert_int_equal(write_room(f, now_ms, sizeof(f->frame) - 1), PTL_E_EMPTY);
}

static inline enum ptl_session_event_type says_bytes(struct fixture *f, uint64_t now_ms,
                                                     const void *bytes, size_t len, bool binary)
{
    // One copy a message, kept until the next, so that borrowed texts can be looked at.
    static uint8_t *copy;
    free(copy);
    copy = test_exact_copy(bytes, len);
    f->event = ptl_session_recv(&f->s, (struct ptl_span){copy, len}, binary, now_ms);
    return f->event.type;
}

static inline enum ptl_session_event_type says(struct fixture *f, uint64_t now_ms, const char *text)
{
    return says_bytes(f, now_ms, text, strlen(text), false);
}

static inline enum ptl_session_event_type ticks(struct fixture *f, uint64_t now_ms)
{
    f->event = ptl_session_tick(&f->s, now_ms);
    assert_true(ptl_session_deadline(&f->s) > now_ms);
    return f->event.type;
}

static inline void assert_lost(struct fixture *f, enum ptl_session_cause cause, const char *text)
{
    assert_int_equal(f->event.type, PTL_SESSION_LOST);
    assert_int_equal(f->event.cause, cause);
    assert_span_equal(f->event.text, text);
    assert_int_equal(f->s.state, PTL_SESSION_DOWN);
    assert_int_equal(ptl_session_deadline(&f->s), PTL_NEVER);
    assert_false(ptl_session_control_due(&f->s, UINT64_C(1) << 40));
}

#define JOIN_OK(ref, topic)                                                                        \
    "[\"" ref "\",\"" ref "\",\"" topic                                                            \
    "\",\"phx_reply\",{\"status\":\"ok\",\"response\":{\"postgres_changes\":[]}}]"

// Refs 1 and 2 are the joins, 3 is the presence.
static inline void join(struct fixture *f, uint64_t now_ms)
{
    assert_int_equal(write_room(f, now_ms, sizeof(f->frame) - 1), PTL_OK);
    assert_int_equal(write_room(f, now_ms, sizeof(f->frame) - 1), PTL_OK);
    assert_int_equal(says(f, now_ms, JOIN_OK("1", UP)), PTL_SESSION_NONE);
    assert_int_equal(says(f, now_ms, JOIN_OK("2", DOWN)), PTL_SESSION_IS_JOINED);
    assert_int_equal(write_room(f, now_ms, sizeof(f->frame) - 1), PTL_OK);
    assert_int_equal(says(f, now_ms,
                          "[\"1\",\"3\",\"" UP
                          "\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]"),
                     PTL_SESSION_NONE);
    assert_int_equal(f->s.state, PTL_SESSION_JOINED);
}

static inline uint32_t push(struct fixture *f)
{
    struct ptl_writer w = ptl_writer_on((uint8_t *)f->frame, sizeof(f->frame) - 1);
    uint32_t ref = 0;
    assert_int_equal(ptl_session_push_begin(&f->s, &w, &ref), PTL_OK);
    f->frame_len = w.len;
    return ref;
}
