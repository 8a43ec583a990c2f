#include "session.h"

#include "ptl_json.h"

#include <stdlib.h>
#include <string.h>

#define FIELD_MAX 255

static const char *const sides[COL_SIDES] = {"realtime:petrel:up:", "realtime:petrel:down:"};

void col_session_init(struct col_session *s, const struct col_session_config *cfg)
{
    PTL_ASSERT(cfg->joins_at_once > 0);
    *s = (struct col_session){.cfg = *cfg};
    ptl_prng_seed(&s->prng, cfg->seed);
}

void col_session_free(struct col_session *s)
{
    for (size_t i = 0; i < s->device_count; i++) {
        free(s->devices[i]);
    }
    s->device_count = 0;
}

struct col_device *col_session_find(struct col_session *s, struct ptl_span name)
{
    for (size_t i = 0; i < s->device_count; i++) {
        struct col_device *device = s->devices[i];
        if (!device->removed && ptl_span_equal(name, ptl_span_of_text(device->name))) {
            return device;
        }
    }
    return NULL;
}

struct col_device *col_session_add(struct col_session *s, const char *name, uint64_t now_ms)
{
    struct ptl_span span = ptl_span_of_text(name);
    struct col_device *device = col_session_find(s, span);
    PTL_ASSERT(span.len <= PTL_DEVICE_BYTES_MAX);
    if (device == NULL) {
        if (s->device_count == COL_DEVICES_MAX || (device = calloc(1, sizeof(*device))) == NULL) {
            return NULL;
        }
        memcpy(device->name, span.ptr, span.len);
        device->channel[COL_UP] = (struct col_channel){.wanted = true, .at_ms = now_ms};
        device->channel[COL_DOWN] =
            (struct col_channel){.wanted = s->cfg.downlinks, .at_ms = now_ms};
        s->devices[s->device_count++] = device;
    }
    device->marked = true;
    return device;
}

static void forget(struct col_session *s, struct col_device *device)
{
    for (size_t i = 0; i < s->device_count; i++) {
        if (s->devices[i] == device) {
            s->devices[i] = s->devices[--s->device_count];
            free(device);
            return;
        }
    }
}

void col_session_remove(struct col_session *s, struct col_device *device)
{
    bool leaves = false;
    for (int side = 0; side < COL_SIDES; side++) {
        struct col_channel *channel = &device->channel[side];
        if (s->up && channel->state != COL_IDLE) {
            device->leave_refs[side] = channel->join_ref;
            leaves = true;
        }
        *channel = (struct col_channel){0};
    }
    device->removed = true;
    if (!leaves) {
        forget(s, device);
    }
}

void col_session_link_up(struct col_session *s, uint64_t now_ms)
{
    s->up = true;
    s->heartbeat_ref = 0;
    s->heartbeat_at_ms = now_ms + s->cfg.heartbeat_ms;
    for (size_t i = 0; i < s->device_count; i++) {
        for (int side = 0; side < COL_SIDES; side++) {
            struct col_channel *channel = &s->devices[i]->channel[side];
            channel->state = COL_IDLE;
            channel->at_ms = now_ms;
            channel->tries = 0;
        }
    }
}

void col_session_link_down(struct col_session *s)
{
    s->up = false;
    s->heartbeat_ref = 0;
    for (size_t i = s->device_count; i > 0; i--) {
        struct col_device *device = s->devices[i - 1];
        device->channel[COL_UP].state = COL_IDLE;
        device->channel[COL_DOWN].state = COL_IDLE;
        if (device->removed) {
            forget(s, device);
        }
    }
}

// Full jitter: anything between now and the bound, so that a fleet does not come back in step.
static void wait_to_join(struct col_session *s, struct col_channel *channel, uint32_t at_least_ms,
                         uint64_t now_ms)
{
    uint64_t bound = s->cfg.backoff_base_ms;
    for (uint32_t i = 0; i < channel->tries && bound < s->cfg.backoff_cap_ms; i++) {
        bound *= 2;
    }
    bound = bound < s->cfg.backoff_cap_ms ? bound : s->cfg.backoff_cap_ms;
    channel->state = COL_IDLE;
    channel->join_ref = 0;
    channel->tries++;
    channel->at_ms = now_ms + at_least_ms + ptl_prng_below(&s->prng, (uint32_t)bound + 1);
}

static void lose_channel(struct col_session *s, struct col_channel *channel, uint64_t now_ms)
{
    if (channel->state == COL_JOINED && now_ms - channel->at_ms >= s->cfg.reset_ms) {
        channel->tries = 0;
    }
    wait_to_join(s, channel, 0, now_ms);
}

// Messages.

struct message {
    struct ptl_json_value join_ref, ref, topic, event, payload;
};

static bool split(struct ptl_span text, struct message *m)
{
    struct ptl_json_value root;
    struct ptl_json_error error;
    struct ptl_json_value *const parts[] = {&m->join_ref, &m->ref, &m->topic, &m->event,
                                            &m->payload};
    if (ptl_json_check(text, PTL_JSON_DEPTH_MAX, &root, &error) != PTL_OK ||
        root.type != PTL_JSON_ARRAY) {
        return false;
    }
    struct ptl_json_iter iter = ptl_json_iterate(root);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (!ptl_json_next(&iter, NULL, parts[i])) {
            return false;
        }
    }
    return m->topic.type == PTL_JSON_STRING && m->event.type == PTL_JSON_STRING;
}

static bool is_text(struct ptl_json_value value, const char *text)
{
    return value.type == PTL_JSON_STRING && ptl_json_text_equals(ptl_json_string_body(value), text);
}

// Refs are ours: decimal strings. 0 is none.
static uint32_t ref_value(struct ptl_json_value value)
{
    uint64_t number = 0;
    if (value.type == PTL_JSON_STRING) {
        value.text = ptl_json_string_body(value);
        value.type = PTL_JSON_NUMBER;
        for (size_t i = 0; i < value.text.len; i++) {
            if (value.text.ptr[i] < '0' || value.text.ptr[i] > '9') {
                return 0;
            }
        }
    }
    if (value.type != PTL_JSON_NUMBER || value.text.len == 0 ||
        ptl_json_u64(value, &number) != PTL_OK || number > UINT32_MAX) {
        return 0;
    }
    return (uint32_t)number;
}

static struct col_device *device_of(struct col_session *s, struct ptl_span topic,
                                    enum col_side *side)
{
    for (int i = 0; i < COL_SIDES; i++) {
        size_t len = strlen(sides[i]);
        if (topic.len > len && memcmp(topic.ptr, sides[i], len) == 0) {
            *side = (enum col_side)i;
            return col_session_find(s, (struct ptl_span){topic.ptr + len, topic.len - len});
        }
    }
    return NULL;
}

static struct col_event_out ignored(struct col_session *s)
{
    s->ignored++;
    return (struct col_event_out){.type = COL_IGNORED};
}

// `reason` of {"status":"error","response":{"reason":"..."}}, or the response where it is a string.
static struct ptl_span reply_reason(struct ptl_json_value payload)
{
    struct ptl_json_value response;
    struct ptl_json_value reason;
    if (payload.type == PTL_JSON_OBJECT && ptl_json_member(payload, "response", &response)) {
        if (response.type == PTL_JSON_STRING) {
            return ptl_json_string_body(response);
        }
        if (response.type == PTL_JSON_OBJECT && ptl_json_member(response, "reason", &reason) &&
            reason.type == PTL_JSON_STRING) {
            return ptl_json_string_body(reason);
        }
    }
    return PTL_SPAN_OF("no reason given");
}

static bool begins(struct ptl_span text, const char *with)
{
    return ptl_json_text_has_prefix(text, with);
}

static struct col_event_out refused(struct col_session *s, struct col_device *device,
                                    enum col_side side, struct ptl_span why, uint64_t now_ms)
{
    bool slow = begins(why, "ClientJoinRateLimitReached") || begins(why, "Unauthorized") ||
                begins(why, "ChannelRateLimitReached") || begins(why, "ConnectionRateLimitReached");
    wait_to_join(s, &device->channel[side], slow ? s->cfg.slow_ms : 0, now_ms);
    return (struct col_event_out){COL_JOIN_REFUSED, device, side, why};
}

static bool take_receipt_ref(struct col_session *s, uint32_t ref)
{
    for (size_t i = 0; i < sizeof(s->receipt_refs) / sizeof(s->receipt_refs[0]); i++) {
        if (ref != 0 && s->receipt_refs[i] == ref) {
            s->receipt_refs[i] = 0;
            return true;
        }
    }
    return false;
}

static struct col_event_out on_reply(struct col_session *s, const struct message *m,
                                     uint64_t now_ms)
{
    struct ptl_json_value status;
    enum col_side side = COL_UP;
    uint32_t ref = ref_value(m->ref);
    bool ok = m->payload.type == PTL_JSON_OBJECT &&
              ptl_json_member(m->payload, "status", &status) && is_text(status, "ok");
    if (is_text(m->topic, "phoenix")) {
        if (ref != 0 && ref == s->heartbeat_ref) {
            s->heartbeat_ref = 0;
        }
        return (struct col_event_out){.type = COL_NOTHING};
    }
    struct col_device *device = device_of(s, ptl_json_string_body(m->topic), &side);
    if (device == NULL || ref == 0) {
        return ignored(s);
    }
    struct col_channel *channel = &device->channel[side];
    if (channel->state == COL_JOINING && ref == channel->join_ref) {
        if (!ok) {
            return refused(s, device, side, reply_reason(m->payload), now_ms);
        }
        channel->state = COL_JOINED;
        channel->at_ms = now_ms;
        return (struct col_event_out){COL_JOIN_DONE, device, side, {NULL, 0}};
    }
    if (!take_receipt_ref(s, ref)) {
        return ignored(s);
    }
    if (ok) {
        return (struct col_event_out){COL_RECEIPT_ACKED, device, side, {NULL, 0}};
    }
    struct ptl_span why = reply_reason(m->payload);
    if (ptl_json_text_equals(why, "unmatched topic") && channel->state == COL_JOINED) {
        // The server does not know the channel any more.
        lose_channel(s, channel, now_ms);
        return (struct col_event_out){COL_CHANNEL_LOST, device, side, why};
    }
    return (struct col_event_out){COL_RECEIPT_REFUSED, device, side, why};
}

// phx_close and phx_error name the join they end; the one of an earlier join is no news.
static struct col_event_out on_close(struct col_session *s, const struct message *m, bool error,
                                     uint64_t now_ms)
{
    enum col_side side = COL_UP;
    struct col_device *device = device_of(s, ptl_json_string_body(m->topic), &side);
    if (device == NULL || device->channel[side].state == COL_IDLE ||
        ref_value(m->join_ref) != device->channel[side].join_ref) {
        return ignored(s);
    }
    lose_channel(s, &device->channel[side], now_ms);
    return (struct col_event_out){COL_CHANNEL_LOST, device, side,
                                  error ? PTL_SPAN_OF("channel failed on the server (phx_error)")
                                        : PTL_SPAN_OF("closed by the server (phx_close)")};
}

static struct col_event_out on_batch(struct col_session *s, struct ptl_span topic,
                                     struct ptl_span payload)
{
    enum col_side side = COL_UP;
    struct col_device *device = device_of(s, topic, &side);
    if (device == NULL || side != COL_UP || device->channel[side].state != COL_JOINED) {
        return ignored(s);
    }
    return (struct col_event_out){COL_BATCH, device, side, payload};
}

static struct col_event_out on_broadcast(struct col_session *s, const struct message *m)
{
    struct ptl_json_value event;
    struct ptl_json_value payload;
    if (m->payload.type != PTL_JSON_OBJECT || !ptl_json_member(m->payload, "event", &event) ||
        !is_text(event, "events") || !ptl_json_member(m->payload, "payload", &payload)) {
        return ignored(s);
    }
    return on_batch(s, ptl_json_string_body(m->topic), payload.text);
}

static struct col_event_out on_system(struct col_session *s, const struct message *m)
{
    struct ptl_json_value message;
    struct ptl_json_value status;
    enum col_side side = COL_UP;
    if (m->payload.type != PTL_JSON_OBJECT || !ptl_json_member(m->payload, "message", &message) ||
        message.type != PTL_JSON_STRING) {
        return ignored(s);
    }
    struct col_device *device = device_of(s, ptl_json_string_body(m->topic), &side);
    bool news = !ptl_json_member(m->payload, "status", &status) || !is_text(status, "ok") ||
                is_text(message, "Server requested disconnect");
    return (struct col_event_out){news ? COL_SYSTEM : COL_NOTHING, device, side,
                                  ptl_json_string_body(message)};
}

static struct col_event_out recv_text(struct col_session *s, struct ptl_span text, uint64_t now_ms)
{
    struct message m;
    if (!split(text, &m)) {
        return ignored(s);
    }
    if (is_text(m.event, "phx_reply")) {
        return on_reply(s, &m, now_ms);
    }
    if (is_text(m.event, "phx_close")) {
        return on_close(s, &m, false, now_ms);
    }
    if (is_text(m.event, "phx_error")) {
        return on_close(s, &m, true, now_ms);
    }
    if (is_text(m.event, "broadcast")) {
        return on_broadcast(s, &m);
    }
    if (is_text(m.event, "system")) {
        return on_system(s, &m);
    }
    if (is_text(m.event, "presence_state") || is_text(m.event, "presence_diff")) {
        return (struct col_event_out){.type = COL_NOTHING};
    }
    return ignored(s);
}

// Kind 4: 04, lengths of topic, event, metadata, encoding, then the fields and the payload.
static struct col_event_out recv_binary(struct col_session *s, struct ptl_span frame)
{
    if (frame.len < 5 || frame.ptr[0] != 4 || frame.ptr[4] == 0) {
        return ignored(s);
    }
    size_t topic = frame.ptr[1];
    size_t event = frame.ptr[2];
    size_t fields = topic + event + frame.ptr[3];
    if (frame.len - 5 < fields) {
        return ignored(s);
    }
    const uint8_t *at = frame.ptr + 5;
    if (!ptl_span_equal((struct ptl_span){at + topic, event}, PTL_SPAN_OF("events"))) {
        return ignored(s);
    }
    return on_batch(s, (struct ptl_span){at, topic},
                    (struct ptl_span){at + fields, frame.len - 5 - fields});
}

struct col_event_out col_session_recv(struct col_session *s, struct ptl_span message, bool binary,
                                      uint64_t now_ms)
{
    if (!s->up) {
        return ignored(s);
    }
    return binary ? recv_binary(s, message) : recv_text(s, message, now_ms);
}

struct col_event_out col_session_tick(struct col_session *s, uint64_t now_ms)
{
    if (!s->up) {
        return (struct col_event_out){.type = COL_NOTHING};
    }
    if (s->heartbeat_ref != 0 && now_ms >= s->heartbeat_at_ms) {
        s->up = false; // said once
        return (struct col_event_out){.type = COL_LINK_LOST,
                                      .text = PTL_SPAN_OF("heartbeat was not answered")};
    }
    for (size_t i = 0; i < s->device_count; i++) {
        for (int side = 0; side < COL_SIDES; side++) {
            struct col_channel *channel = &s->devices[i]->channel[side];
            if (channel->state == COL_JOINING && now_ms >= channel->at_ms) {
                wait_to_join(s, channel, 0, now_ms);
                return (struct col_event_out){COL_JOIN_REFUSED, s->devices[i], (enum col_side)side,
                                              PTL_SPAN_OF("no answer to the join")};
            }
        }
    }
    return (struct col_event_out){.type = COL_NOTHING};
}

// Frames.

static uint32_t next_ref(struct col_session *s)
{
    s->ref_last = s->ref_last == UINT32_MAX ? 1 : s->ref_last + 1;
    return s->ref_last;
}

static void write_head(struct ptl_writer *w, uint32_t join_ref, uint32_t ref, enum col_side side,
                       const char *device, const char *event)
{
    ptl_write_text(w, "[\"");
    ptl_write_u64(w, join_ref);
    ptl_write_text(w, "\",\"");
    ptl_write_u64(w, ref);
    ptl_write_text(w, "\",\"");
    ptl_write_text(w, sides[side]);
    ptl_write_text(w, device);
    ptl_write_text(w, "\",\"");
    ptl_write_text(w, event);
    ptl_write_text(w, "\",");
}

static void write_join(struct col_session *s, struct col_device *device, enum col_side side,
                       struct ptl_span token, struct ptl_writer *w, uint64_t now_ms)
{
    struct col_channel *channel = &device->channel[side];
    channel->join_ref = next_ref(s);
    channel->state = COL_JOINING;
    channel->at_ms = now_ms + s->cfg.join_timeout_ms;
    write_head(w, channel->join_ref, channel->join_ref, side, device->name, "phx_join");
    ptl_write_text(w, "{\"config\":{\"broadcast\":{\"ack\":true,\"self\":false},"
                      "\"presence\":{\"key\":\"\",\"enabled\":false},\"postgres_changes\":[],"
                      "\"private\":");
    ptl_write_text(w, s->cfg.private_channels ? "true}" : "false}");
    if (token.len > 0) {
        ptl_write_text(w, ",\"access_token\":\"");
        ptl_write_json_escaped(w, token);
        ptl_write_byte(w, '"');
    }
    ptl_write_text(w, "}]");
}

static bool write_leave(struct col_session *s, struct ptl_writer *w)
{
    for (size_t i = 0; i < s->device_count; i++) {
        struct col_device *device = s->devices[i];
        for (int side = 0; device->removed && side < COL_SIDES; side++) {
            uint32_t join_ref = device->leave_refs[side];
            if (join_ref == 0) {
                continue;
            }
            device->leave_refs[side] = 0;
            write_head(w, join_ref, next_ref(s), (enum col_side)side, device->name, "phx_leave");
            ptl_write_text(w, "{}]");
            if (device->leave_refs[COL_UP] == 0 && device->leave_refs[COL_DOWN] == 0) {
                forget(s, device);
            }
            return true;
        }
    }
    return false;
}

static size_t joining(const struct col_session *s)
{
    size_t count = 0;
    for (size_t i = 0; i < s->device_count; i++) {
        for (int side = 0; side < COL_SIDES; side++) {
            count += s->devices[i]->channel[side].state == COL_JOINING ? 1 : 0;
        }
    }
    return count;
}

static bool write_next_join(struct col_session *s, struct ptl_span token, struct ptl_writer *w,
                            uint64_t now_ms)
{
    if (joining(s) >= s->cfg.joins_at_once) {
        return false;
    }
    for (size_t i = 0; i < s->device_count; i++) {
        for (int side = 0; side < COL_SIDES; side++) {
            struct col_channel *channel = &s->devices[i]->channel[side];
            if (channel->wanted && channel->state == COL_IDLE && now_ms >= channel->at_ms) {
                write_join(s, s->devices[i], (enum col_side)side, token, w, now_ms);
                return true;
            }
        }
    }
    return false;
}

enum ptl_status col_session_control(struct col_session *s, struct ptl_span token,
                                    struct ptl_writer *w, uint64_t now_ms)
{
    if (!s->up) {
        return PTL_E_EMPTY;
    }
    if (s->heartbeat_ref == 0 && now_ms >= s->heartbeat_at_ms) {
        s->heartbeat_ref = next_ref(s);
        s->heartbeat_at_ms = now_ms + s->cfg.heartbeat_ms;
        ptl_write_text(w, "[null,\"");
        ptl_write_u64(w, s->heartbeat_ref);
        ptl_write_text(w, "\",\"phoenix\",\"heartbeat\",{}]");
    } else if (!write_leave(s, w) && !write_next_join(s, token, w, now_ms)) {
        return PTL_E_EMPTY;
    }
    return w->overflow ? PTL_E_TOO_BIG : PTL_OK;
}

static size_t decimal(uint32_t value, char text[12])
{
    struct ptl_writer w = ptl_writer_on((uint8_t *)text, 12);
    ptl_write_u64(&w, value);
    return w.len;
}

enum ptl_status col_session_receipt(struct col_session *s, struct col_device *device,
                                    struct ptl_span payload, struct ptl_writer *w)
{
    static const char event[] = "receipt";
    char join_ref[12];
    char ref[12];
    const struct col_channel *channel = &device->channel[COL_DOWN];
    if (!s->up || channel->state != COL_JOINED) {
        return PTL_E_AGAIN;
    }
    uint32_t number = next_ref(s);
    size_t join_len = decimal(channel->join_ref, join_ref);
    size_t ref_len = decimal(number, ref);
    size_t topic_len = strlen(sides[COL_DOWN]) + strlen(device->name);
    PTL_ASSERT(topic_len <= FIELD_MAX);
    const uint8_t head[7] = {3, (uint8_t)join_len, (uint8_t)ref_len, (uint8_t)topic_len, 7, 0,
                             1 /* encoding: JSON */};
    ptl_write_bytes(w, head, sizeof(head));
    ptl_write_bytes(w, join_ref, join_len);
    ptl_write_bytes(w, ref, ref_len);
    ptl_write_text(w, sides[COL_DOWN]);
    ptl_write_text(w, device->name);
    ptl_write_text(w, event);
    ptl_write_span(w, payload);
    if (w->overflow) {
        return PTL_E_TOO_BIG;
    }
    s->receipt_refs[s->receipt_at] = number;
    s->receipt_at = (s->receipt_at + 1) % (sizeof(s->receipt_refs) / sizeof(s->receipt_refs[0]));
    return PTL_OK;
}

uint64_t col_session_deadline(const struct col_session *s)
{
    if (!s->up) {
        return PTL_NEVER;
    }
    uint64_t at = s->heartbeat_at_ms;
    bool room = joining(s) < s->cfg.joins_at_once;
    for (size_t i = 0; i < s->device_count; i++) {
        const struct col_device *device = s->devices[i];
        if (device->removed) {
            return 0;
        }
        for (int side = 0; side < COL_SIDES; side++) {
            const struct col_channel *channel = &device->channel[side];
            bool waits = channel->wanted &&
                         ((channel->state == COL_IDLE && room) || channel->state == COL_JOINING);
            at = waits && channel->at_ms < at ? channel->at_ms : at;
        }
    }
    return at;
}

void col_session_count(const struct col_session *s, size_t *wanted, size_t *joined)
{
    *wanted = 0;
    *joined = 0;
    for (size_t i = 0; i < s->device_count; i++) {
        for (int side = 0; side < COL_SIDES; side++) {
            *wanted += s->devices[i]->channel[side].wanted ? 1 : 0;
            *joined += s->devices[i]->channel[side].state == COL_JOINED ? 1 : 0;
        }
    }
}
