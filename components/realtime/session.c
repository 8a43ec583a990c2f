// The reading half of the session and its clock. Writing is in session_write.c.
//
//   message -> ptl_frame_parse -> topic: phoenix | uplink | downlink -> event -> one session event
//
// A reply is told by its ref, a channel's own messages by its join_ref; refs go on over sockets and
// are never used twice on one, so an answer that comes late matches nothing.
#include "session_internal.h"

#include <string.h>

static struct ptl_session_event none(void)
{
    return (struct ptl_session_event){.type = PTL_SESSION_NONE};
}

static struct ptl_session_event ignored(struct ptl_session *s)
{
    s->ignored++;
    return (struct ptl_session_event){.type = PTL_SESSION_IGNORED};
}

static void state_set(struct ptl_session *s, enum ptl_session_state state)
{
    // Only a new link leads out of DOWN, only answered joins into JOINED or DRAINING.
    PTL_ASSERT(s->state != PTL_SESSION_DOWN || state == PTL_SESSION_JOINING ||
               state == PTL_SESSION_DOWN);
    PTL_ASSERT(state != PTL_SESSION_JOINED || s->state == PTL_SESSION_JOINING);
    PTL_ASSERT(state != PTL_SESSION_DRAINING || s->up.state == CHANNEL_JOINED);
    s->state = state;
}

static struct ptl_session_event lost(struct ptl_session *s, enum ptl_session_cause cause,
                                     struct ptl_span text)
{
    state_set(s, PTL_SESSION_DOWN);
    return (struct ptl_session_event){.type = PTL_SESSION_LOST, .cause = cause, .text = text};
}

static size_t escape_bytes(struct ptl_span raw, size_t at)
{
    if (raw.ptr[at] != '\\') {
        return 1;
    }
    if (at + 1 >= raw.len || raw.ptr[at + 1] != 'u') {
        return 2;
    }
    // A surrogate pair is one character in two escapes: its first half is \uD8.. to \uDB..
    bool pair = at + 3 < raw.len && (raw.ptr[at + 2] | 0x20) == 'd' &&
                ((raw.ptr[at + 3] >= '8' && raw.ptr[at + 3] <= '9') ||
                 ((raw.ptr[at + 3] | 0x20) >= 'a' && (raw.ptr[at + 3] | 0x20) <= 'b'));
    return pair ? 12 : 6;
}

// Keeps the beginning of a JSON string body as plain text. Undoing escapes never lengthens, so a
// prefix of the raw text that fits always does afterwards; it ends where no character is cut.
static struct ptl_span text_keep(struct ptl_session *s, struct ptl_span raw)
{
    size_t end = raw.len;
    if (raw.len > PTL_SESSION_TEXT_MAX) {
        end = 0;
        size_t next = 0;
        while (next <= PTL_SESSION_TEXT_MAX) {
            end = next;
            next += escape_bytes(raw, next);
        }
        end = ptl_utf8_cut((struct ptl_span){raw.ptr, raw.len}, end);
    }
    size_t len = 0;
    if (ptl_json_unescape((struct ptl_span){raw.ptr, end}, s->text, sizeof(s->text), &len) !=
        PTL_OK) {
        len = 0;
    }
    PTL_ASSERT(len <= sizeof(s->text));
    s->system_len = 0; // what was kept before is overwritten
    return (struct ptl_span){s->text, len};
}

static struct ptl_json_value object_of(struct ptl_span text)
{
    return (struct ptl_json_value){.type = PTL_JSON_OBJECT, .text = text};
}

static bool is_object(struct ptl_span text)
{
    return text.len > 0 && text.ptr[0] == '{';
}

static bool string_member(struct ptl_json_value object, const char *name, struct ptl_span *body)
{
    struct ptl_json_value value;
    if (!ptl_json_member(object, name, &value) || value.type != PTL_JSON_STRING) {
        return false;
    }
    *body = ptl_json_string_body(value);
    return true;
}

static bool member_is(struct ptl_json_value object, const char *name, const char *text)
{
    struct ptl_span body;
    return string_member(object, name, &body) && ptl_json_text_equals(body, text);
}

// The reason in an error reply: `response` is a bare string, or an object with `reason` (joins) or
// `error` (as the documentation shows it). Empty where it says nothing.
static struct ptl_span reply_reason(struct ptl_json_value payload)
{
    struct ptl_json_value response;
    struct ptl_span reason = {0};
    if (!ptl_json_member(payload, "response", &response)) {
        return reason;
    }
    if (response.type == PTL_JSON_STRING) {
        return ptl_json_string_body(response);
    }
    if (response.type == PTL_JSON_OBJECT && !string_member(response, "reason", &reason) &&
        !string_member(response, "error", &reason)) {
        reason = (struct ptl_span){0};
    }
    return reason;
}

// 0 where it is none of ours: ours are decimal, without leading zeros.
static uint32_t ref_parse(struct ptl_span text)
{
    uint64_t value = 0;
    if (text.len == 0 || text.len > 10 || text.ptr[0] == '0') {
        return 0;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            return 0;
        }
        value = value * 10 + (uint64_t)(text.ptr[i] - '0');
    }
    return value <= UINT32_MAX ? (uint32_t)value : 0;
}

// Whether `ref` was used after `since`, up to the last one; refs wrap.
static bool ref_is_between(uint32_t since, uint32_t ref, uint32_t last)
{
    return ref != 0 && ref - since - 1 < last - since;
}

static bool all_joined(const struct ptl_session *s)
{
    return s->up.state == CHANNEL_JOINED &&
           (!s->cfg.private_channels || s->down.state == CHANNEL_JOINED);
}

static struct ptl_session_event join_answered(struct ptl_session *s,
                                              struct ptl_session_channel *channel,
                                              struct ptl_json_value payload, uint64_t now_ms)
{
    if (!member_is(payload, "status", "ok")) {
        struct ptl_span reason = text_keep(s, reply_reason(payload));
        return lost(s, PTL_SESSION_CAUSE_JOIN,
                    reason.len > 0 ? reason : PTL_SPAN_OF("join refused"));
    }
    channel->state = CHANNEL_JOINED;
    s->join_answered_ms = now_ms;
    if (channel == &s->up) {
        // The server takes one join after the other, so the second one's time begins here.
        s->down.join_begins_ms = now_ms;
        s->presence_due = s->cfg.presence;
    }
    if (!all_joined(s)) {
        return none();
    }
    state_set(s, s->drain_wanted ? PTL_SESSION_DRAINING : PTL_SESSION_JOINED);
    return (struct ptl_session_event){.type = PTL_SESSION_IS_JOINED};
}

static struct ptl_session_event on_reply(struct ptl_session *s, struct ptl_session_channel *channel,
                                         const struct ptl_frame *frame, uint64_t now_ms)
{
    uint32_t ref = ref_parse(frame->ref);
    if (!is_object(frame->payload) || ref == 0 || channel->join_ref == 0) {
        return ignored(s);
    }
    struct ptl_json_value payload = object_of(frame->payload);
    if (ref == channel->join_ref) {
        return channel->state == CHANNEL_JOINING ? join_answered(s, channel, payload, now_ms)
                                                 : ignored(s);
    }
    if (!ref_is_between(channel->join_ref, ref, s->ref_last)) {
        return ignored(s); // of a join that was given up
    }
    bool ok = member_is(payload, "status", "ok");
    struct ptl_span reason = ok ? (struct ptl_span){0} : reply_reason(payload);
    if (!ok && ptl_json_text_equals(reason, "unmatched topic")) {
        return lost(s, PTL_SESSION_CAUSE_LOCAL, PTL_SPAN_OF("unmatched topic"));
    }
    if (channel != &s->up || channel->state != CHANNEL_JOINED) {
        return ignored(s);
    }
    if (ref == s->presence_ref) {
        s->presence_ref = 0;
        s->presence_refused += ok ? 0 : 1;
        return none();
    }
    if (ok) {
        return (struct ptl_session_event){.type = PTL_SESSION_ACKED, .ref = ref};
    }
    return (struct ptl_session_event){
        .type = PTL_SESSION_REFUSED, .ref = ref, .text = text_keep(s, reason)};
}

// phx_close or phx_error with the present join_ref: the channel is gone. The message of the system
// error before it is the better text.
static struct ptl_session_event on_gone(struct ptl_session *s, struct ptl_session_channel *channel,
                                        const struct ptl_frame *frame)
{
    struct ptl_span who = frame->join_ref.len > 0 ? frame->join_ref : frame->ref;
    if (channel->join_ref == 0 || ref_parse(who) != channel->join_ref) {
        return ignored(s);
    }
    if (s->system_len > 0) {
        return lost(s, PTL_SESSION_CAUSE_SYSTEM, (struct ptl_span){s->text, s->system_len});
    }
    return lost(s, PTL_SESSION_CAUSE_LOCAL,
                ptl_json_text_equals(frame->event, "phx_error")
                    ? PTL_SPAN_OF("channel crashed on the server")
                    : PTL_SPAN_OF("channel closed by the server"));
}

static struct ptl_session_event on_system(struct ptl_session *s, const struct ptl_frame *frame)
{
    struct ptl_span message;
    if (!is_object(frame->payload)) {
        return ignored(s);
    }
    struct ptl_json_value payload = object_of(frame->payload);
    // Errors of other extensions (postgres_changes) leave the channel open.
    if (member_is(payload, "status", "error") && member_is(payload, "extension", "system") &&
        string_member(payload, "message", &message)) {
        s->system_len = (uint8_t)text_keep(s, message).len;
    }
    return none();
}

static struct ptl_session_event receipt(struct ptl_session *s, struct ptl_span payload)
{
    if (s->down.state != CHANNEL_JOINED || !is_object(payload)) {
        return ignored(s);
    }
    return (struct ptl_session_event){.type = PTL_SESSION_RECEIPT, .text = payload};
}

static struct ptl_session_event on_broadcast(struct ptl_session *s,
                                             const struct ptl_session_channel *channel,
                                             const struct ptl_frame *frame)
{
    struct ptl_json_value payload;
    if (channel != &s->down || !is_object(frame->payload) ||
        !member_is(object_of(frame->payload), "event", "receipt") ||
        !ptl_json_member(object_of(frame->payload), "payload", &payload)) {
        return ignored(s);
    }
    return receipt(s, payload.text);
}

static struct ptl_session_event on_channel(struct ptl_session *s,
                                           struct ptl_session_channel *channel,
                                           const struct ptl_frame *frame, uint64_t now_ms)
{
    if (ptl_json_text_equals(frame->event, "phx_close") ||
        ptl_json_text_equals(frame->event, "phx_error")) {
        return on_gone(s, channel, frame);
    }
    if (frame->join_ref.len > 0 && ref_parse(frame->join_ref) != channel->join_ref) {
        return ignored(s); // of an earlier join
    }
    if (ptl_json_text_equals(frame->event, "phx_reply")) {
        return on_reply(s, channel, frame, now_ms);
    }
    if (ptl_json_text_equals(frame->event, "system")) {
        return on_system(s, frame);
    }
    if (ptl_json_text_equals(frame->event, "broadcast")) {
        return on_broadcast(s, channel, frame);
    }
    if (ptl_json_text_has_prefix(frame->event, "presence_")) {
        return none(); // state and diffs of our own presence
    }
    return ignored(s);
}

static struct ptl_session_event on_phoenix(struct ptl_session *s, const struct ptl_frame *frame)
{
    if (s->heartbeat_ref == 0 || !ptl_json_text_equals(frame->event, "phx_reply") ||
        ref_parse(frame->ref) != s->heartbeat_ref) {
        return ignored(s);
    }
    s->heartbeat_ref = 0;
    return (struct ptl_session_event){.type = PTL_SESSION_NONE, .heartbeat = true};
}

static struct ptl_session_event on_text(struct ptl_session *s, const struct ptl_frame *frame,
                                        uint64_t now_ms)
{
    if (ptl_json_text_equals(frame->topic, "phoenix")) {
        return on_phoenix(s, frame);
    }
    struct topic up = topic_of(s, true);
    if (ptl_json_text_equals(frame->topic, up.text)) {
        return on_channel(s, &s->up, frame, now_ms);
    }
    struct topic down = topic_of(s, false);
    if (s->cfg.private_channels && ptl_json_text_equals(frame->topic, down.text)) {
        return on_channel(s, &s->down, frame, now_ms);
    }
    return ignored(s);
}

// Kind 4, as clients with vsn 2 and the database send: only receipts on the downlink are for us.
// Raw payloads (encoding 0) are not JSON, whatever they look like.
static struct ptl_session_event on_user(struct ptl_session *s, const struct ptl_frame *frame)
{
    struct topic down = topic_of(s, false);
    struct ptl_json_value payload;
    struct ptl_json_error error;
    if (!s->cfg.private_channels || !frame->json ||
        !ptl_span_equal(frame->topic, ptl_span_of_text(down.text)) ||
        !ptl_span_equal(frame->event, PTL_SPAN_OF("receipt")) ||
        ptl_json_check(frame->payload, PTL_JSON_DEPTH_MAX, &payload, &error) != PTL_OK) {
        return ignored(s);
    }
    return receipt(s, payload.text);
}

struct ptl_session_event ptl_session_recv(struct ptl_session *s, struct ptl_span message,
                                          bool binary, uint64_t now_ms)
{
    struct ptl_frame frame;
    if (s->state == PTL_SESSION_DOWN || ptl_frame_parse(message, binary, &frame) != PTL_OK) {
        return ignored(s);
    }
    if (frame.kind == PTL_FRAME_TEXT) {
        return on_text(s, &frame, now_ms);
    }
    return frame.kind == PTL_FRAME_USER ? on_user(s, &frame) : ignored(s);
}

static bool join_is_open(const struct ptl_session *s, const struct ptl_session_channel *channel)
{
    return channel->state != CHANNEL_JOINED && (channel == &s->up || s->cfg.private_channels);
}

static uint64_t join_deadline(const struct ptl_session *s)
{
    uint64_t at_ms = PTL_NEVER;
    if (join_is_open(s, &s->up)) {
        at_ms = s->up.join_begins_ms + s->cfg.join_timeout_ms;
    } else if (join_is_open(s, &s->down)) {
        at_ms = s->down.join_begins_ms + s->cfg.join_timeout_ms;
    }
    return at_ms;
}

// When a heartbeat that was sent counts as lost: at the next one. An open join holds its answer
// back, and one just answered may have.
static uint64_t heartbeat_deadline(const struct ptl_session *s)
{
    uint64_t at_ms = s->heartbeat_due_ms;
    if (!all_joined(s)) {
        at_ms += s->cfg.join_timeout_ms;
    } else if (at_ms < s->join_answered_ms + s->cfg.ack_timeout_ms) {
        at_ms = s->join_answered_ms + s->cfg.ack_timeout_ms;
    }
    return at_ms;
}

struct ptl_session_event ptl_session_tick(struct ptl_session *s, uint64_t now_ms)
{
    if (s->state == PTL_SESSION_DOWN) {
        return none();
    }
    if (now_ms >= join_deadline(s)) {
        return lost(s, PTL_SESSION_CAUSE_LOCAL, PTL_SPAN_OF("join timed out"));
    }
    if (s->heartbeat_ref != 0) {
        return now_ms >= heartbeat_deadline(s)
                   ? lost(s, PTL_SESSION_CAUSE_LOCAL, PTL_SPAN_OF("heartbeat lost"))
                   : none();
    }
    if (now_ms >= s->heartbeat_due_ms) {
        s->heartbeat_owed = true;
        if (now_ms - s->heartbeat_due_ms >= s->cfg.heartbeat_ms) {
            // The socket has taken nothing for a whole interval.
            return lost(s, PTL_SESSION_CAUSE_LOCAL, PTL_SPAN_OF("heartbeat could not be sent"));
        }
    }
    return none();
}

uint64_t ptl_session_deadline(const struct ptl_session *s)
{
    if (s->state == PTL_SESSION_DOWN) {
        return PTL_NEVER;
    }
    uint64_t heartbeat_ms = s->heartbeat_due_ms;
    if (s->heartbeat_ref != 0) {
        heartbeat_ms = heartbeat_deadline(s);
    } else if (s->heartbeat_owed) {
        heartbeat_ms += s->cfg.heartbeat_ms;
    }
    uint64_t join_ms = join_deadline(s);
    return join_ms < heartbeat_ms ? join_ms : heartbeat_ms;
}

void ptl_session_init(struct ptl_session *s, const struct ptl_session_config *cfg)
{
    size_t device_len = strlen(cfg->device);
    PTL_ASSERT(device_len > 0);
    PTL_ASSERT(device_len <= PTL_DEVICE_BYTES_MAX);
    PTL_ASSERT(cfg->join_timeout_ms > 0);
    PTL_ASSERT(cfg->heartbeat_ms > 0);
    *s = (struct ptl_session){.cfg = *cfg, .state = PTL_SESSION_DOWN};
}

void ptl_session_link_up(struct ptl_session *s, uint64_t now_ms)
{
    state_set(s, PTL_SESSION_DOWN);
    s->up = (struct ptl_session_channel){.state = CHANNEL_IDLE, .join_begins_ms = now_ms};
    s->down = s->up;
    s->heartbeat_ref = 0;
    s->heartbeat_owed = false;
    s->heartbeat_due_ms = now_ms + s->cfg.heartbeat_ms;
    s->join_answered_ms = now_ms;
    s->presence_ref = 0;
    s->presence_due = false;
    s->system_len = 0;
    state_set(s, PTL_SESSION_JOINING);
}

void ptl_session_link_down(struct ptl_session *s)
{
    state_set(s, PTL_SESSION_DOWN);
}

void ptl_session_drain(struct ptl_session *s)
{
    s->drain_wanted = true;
    if (s->state == PTL_SESSION_JOINED) {
        state_set(s, PTL_SESSION_DRAINING);
    }
}

void ptl_session_token_set(struct ptl_session *s, struct ptl_span token)
{
    s->cfg.token = token;
    bool push = token.len > 0;
    s->up.token_due = push && s->up.state != CHANNEL_IDLE;
    s->down.token_due = push && s->cfg.private_channels && s->down.state != CHANNEL_IDLE;
}
