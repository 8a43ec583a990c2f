// The frames a session sends of its own accord, in order of urgency: joins (uplink first),
// heartbeat, new token, presence. Nothing changes in the session unless the whole frame fitted.
#include "session_internal.h"

static uint32_t ref_after(uint32_t ref)
{
    return ref == UINT32_MAX ? 1 : ref + 1; // 0 means none
}

static void quoted_u32(struct ptl_writer *w, uint32_t value)
{
    ptl_write_byte(w, '"');
    ptl_write_u64(w, value);
    ptl_write_byte(w, '"');
}

// ["join_ref","ref","topic","event",   (join_ref 0: null)
static void frame_begin(struct ptl_writer *w, uint32_t join_ref, uint32_t ref, const char *topic,
                        const char *event)
{
    ptl_write_byte(w, '[');
    if (join_ref == 0) {
        ptl_write_text(w, "null");
    } else {
        quoted_u32(w, join_ref);
    }
    ptl_write_byte(w, ',');
    quoted_u32(w, ref);
    ptl_write_text(w, ",\"");
    ptl_write_text(w, topic); // of [a-zA-Z0-9._:-]
    ptl_write_text(w, "\",\"");
    ptl_write_text(w, event);
    ptl_write_text(w, "\",");
}

static void token_member(const struct ptl_session *s, struct ptl_writer *w)
{
    ptl_write_text(w, "\"access_token\":\"");
    ptl_write_json_escaped(w, s->cfg.token);
    ptl_write_byte(w, '"');
}

// As realtime-js writes it. The uplink needs presence on a private channel: the join asks for a
// right to read, and presence is the only one a device has there. The downlink never tracks.
static void join_write(const struct ptl_session *s, struct ptl_writer *w, bool up, uint32_t ref)
{
    struct topic topic = topic_of(s, up);
    bool presence = up && (s->cfg.private_channels || s->cfg.presence);
    frame_begin(w, ref, ref, topic.text, "phx_join");
    ptl_write_text(w, "{\"config\":{\"broadcast\":{\"ack\":true,\"self\":false},"
                      "\"presence\":{\"key\":\"");
    ptl_write_text(w, s->cfg.device);
    ptl_write_text(w, presence ? "\",\"enabled\":true}" : "\",\"enabled\":false}");
    ptl_write_text(w, ",\"postgres_changes\":[],\"private\":");
    ptl_write_text(w, s->cfg.private_channels ? "true}" : "false}");
    if (s->cfg.token.len > 0) {
        ptl_write_byte(w, ',');
        token_member(s, w);
    }
    ptl_write_text(w, "}]");
}

static void heartbeat_write(struct ptl_writer *w, uint32_t ref)
{
    frame_begin(w, 0, ref, "phoenix", "heartbeat");
    ptl_write_text(w, "{}]");
}

static void token_write(const struct ptl_session *s, struct ptl_writer *w, bool up, uint32_t ref)
{
    struct topic topic = topic_of(s, up);
    frame_begin(w, up ? s->up.join_ref : s->down.join_ref, ref, topic.text, "access_token");
    ptl_write_byte(w, '{');
    token_member(s, w);
    ptl_write_text(w, "}]");
}

static void presence_write(const struct ptl_session *s, struct ptl_writer *w, uint32_t ref)
{
    struct topic topic = topic_of(s, true);
    frame_begin(w, s->up.join_ref, ref, topic.text, "presence");
    ptl_write_text(w, "{\"type\":\"presence\",\"event\":\"track\",\"payload\":{\"version\":\"");
    ptl_write_json_escaped(w, s->cfg.version);
    ptl_write_text(w, "\",\"epoch\":\"");
    ptl_write_hex64(w, s->cfg.epoch);
    ptl_write_text(w, "\"}}]");
}

enum control {
    CONTROL_NONE,
    CONTROL_JOIN_UP,
    CONTROL_JOIN_DOWN,
    CONTROL_HEARTBEAT,
    CONTROL_TOKEN_UP,
    CONTROL_TOKEN_DOWN,
    CONTROL_PRESENCE,
};

static enum control control_next(const struct ptl_session *s, uint64_t now_ms)
{
    if (s->state == PTL_SESSION_DOWN) {
        return CONTROL_NONE;
    }
    if (s->up.state == CHANNEL_IDLE) {
        return CONTROL_JOIN_UP;
    }
    if (s->cfg.private_channels && s->down.state == CHANNEL_IDLE) {
        return CONTROL_JOIN_DOWN;
    }
    if (s->heartbeat_ref == 0 && (s->heartbeat_owed || now_ms >= s->heartbeat_due_ms)) {
        return CONTROL_HEARTBEAT;
    }
    if (s->state != PTL_SESSION_JOINED) {
        return CONTROL_NONE;
    }
    if (s->up.token_due) {
        return CONTROL_TOKEN_UP;
    }
    if (s->down.token_due) {
        return CONTROL_TOKEN_DOWN;
    }
    return s->presence_due ? CONTROL_PRESENCE : CONTROL_NONE;
}

static void write_one(const struct ptl_session *s, struct ptl_writer *w, enum control control,
                      uint32_t ref)
{
    switch (control) {
    case CONTROL_NONE:
        break;
    case CONTROL_JOIN_UP:
    case CONTROL_JOIN_DOWN:
        join_write(s, w, control == CONTROL_JOIN_UP, ref);
        break;
    case CONTROL_HEARTBEAT:
        heartbeat_write(w, ref);
        break;
    case CONTROL_TOKEN_UP:
    case CONTROL_TOKEN_DOWN:
        token_write(s, w, control == CONTROL_TOKEN_UP, ref);
        break;
    case CONTROL_PRESENCE:
        presence_write(s, w, ref);
        break;
    }
}

static void join_sent(struct ptl_session_channel *channel, uint32_t ref, uint64_t now_ms)
{
    PTL_ASSERT(channel->state == CHANNEL_IDLE);
    channel->state = CHANNEL_JOINING;
    channel->join_ref = ref;
    channel->join_begins_ms = now_ms;
    PTL_ASSERT(!channel->token_due); // it goes with the join
}

// Exact cadence: the next one is due one interval after this one was, unless that is over already.
static void heartbeat_sent(struct ptl_session *s, uint32_t ref, uint64_t now_ms)
{
    s->heartbeat_ref = ref;
    s->heartbeat_owed = false;
    s->heartbeat_due_ms += s->cfg.heartbeat_ms;
    if (s->heartbeat_due_ms <= now_ms) {
        s->heartbeat_due_ms = now_ms + s->cfg.heartbeat_ms;
    }
}

static void note_sent(struct ptl_session *s, enum control control, uint32_t ref, uint64_t now_ms)
{
    switch (control) {
    case CONTROL_NONE:
        break;
    case CONTROL_JOIN_UP:
        join_sent(&s->up, ref, now_ms);
        break;
    case CONTROL_JOIN_DOWN:
        join_sent(&s->down, ref, now_ms);
        break;
    case CONTROL_HEARTBEAT:
        heartbeat_sent(s, ref, now_ms);
        break;
    case CONTROL_TOKEN_UP:
        s->up.token_due = false;
        break;
    case CONTROL_TOKEN_DOWN:
        s->down.token_due = false;
        break;
    case CONTROL_PRESENCE:
        s->presence_due = false;
        s->presence_ref = ref;
        break;
    }
}

bool ptl_session_control_due(const struct ptl_session *s, uint64_t now_ms)
{
    return control_next(s, now_ms) != CONTROL_NONE;
}

enum ptl_status ptl_session_control_write(struct ptl_session *s, struct ptl_writer *w,
                                          uint64_t now_ms)
{
    PTL_ASSERT(!w->overflow);
    enum control control = control_next(s, now_ms);
    if (control == CONTROL_NONE) {
        return PTL_E_EMPTY;
    }
    size_t len = w->len;
    uint32_t ref = ref_after(s->ref_last);
    write_one(s, w, control, ref);
    if (w->overflow) {
        w->len = len;
        w->overflow = false;
        return PTL_E_TOO_BIG;
    }
    s->ref_last = ref;
    note_sent(s, control, ref, now_ms);
    return PTL_OK;
}

static struct ptl_span decimal(uint32_t value, uint8_t *buf, size_t cap)
{
    struct ptl_writer w = ptl_writer_on(buf, cap);
    ptl_write_u64(&w, value);
    PTL_ASSERT(!w.overflow);
    return (struct ptl_span){buf, w.len};
}

enum ptl_status ptl_session_push_begin(struct ptl_session *s, struct ptl_writer *w, uint32_t *ref)
{
    if (s->state != PTL_SESSION_JOINED && s->state != PTL_SESSION_DRAINING) {
        return PTL_E_AGAIN;
    }
    PTL_ASSERT(s->up.state == CHANNEL_JOINED);
    uint8_t join_ref_text[10];
    uint8_t ref_text[10];
    struct topic topic = topic_of(s, true);
    uint32_t next = ref_after(s->ref_last);
    enum ptl_status status =
        ptl_frame_write_push(w, decimal(s->up.join_ref, join_ref_text, sizeof(join_ref_text)),
                             decimal(next, ref_text, sizeof(ref_text)),
                             ptl_span_of_text(topic.text), PTL_SPAN_OF("events"));
    if (status == PTL_OK) {
        s->ref_last = next;
        *ref = next;
    }
    return status;
}
