#include "ptl_sim_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OK_REPLY      "{\"status\":\"ok\",\"response\":{}}"
#define UP_PREFIX     "realtime:petrel:up:"
#define DOWN_PREFIX   "realtime:petrel:down:"
#define PRESENCE_MAX  5u
#define PRESENCE_SPAN 30000u

static void violation(struct ptl_sim_server *s, const char *what, struct ptl_span detail)
{
    if (s->violation[0] == '\0') {
        char text[120];
        ptl_sim_copy_text(text, sizeof(text), detail);
        snprintf(s->violation, sizeof(s->violation), "%s: %s", what, text);
    }
}

void ptl_sim_server_init(struct ptl_sim_server *s, const struct ptl_sim_server_config *cfg,
                         struct ptl_prng *prng, struct ptl_sim_ledger *ledger)
{
    memset(s, 0, sizeof(*s));
    s->cfg = *cfg;
    s->prng = prng;
    s->ledger = ledger;
    s->kill_at_ms = PTL_NEVER;
}

static void session_end(struct ptl_sim_session *session)
{
    while (session->out_head != NULL) {
        struct ptl_sim_message *message = session->out_head;
        session->out_head = message->next;
        free(message);
    }
    memset(session, 0, sizeof(*session));
}

void ptl_sim_server_clear(struct ptl_sim_server *s)
{
    for (uint32_t i = 0; i < PTL_SIM_SESSIONS_MAX; i++) {
        session_end(&s->sessions[i]);
    }
    while (s->forward_head != NULL) {
        struct ptl_sim_message *message = s->forward_head;
        s->forward_head = message->next;
        free(message);
    }
    s->forward_tail = NULL;
}

// Everything on one socket leaves in order.
static void out_at(struct ptl_sim_session *session, struct ptl_sim_message *message,
                   uint64_t due_ms)
{
    if (session->out_tail != NULL && due_ms < session->out_tail->due_ms) {
        due_ms = session->out_tail->due_ms;
    }
    message->due_ms = due_ms;
    message->next = NULL;
    if (session->out_tail == NULL) {
        session->out_head = message;
    } else {
        session->out_tail->next = message;
    }
    session->out_tail = message;
}

static void junk_at(struct ptl_sim_server *s, struct ptl_sim_session *session, uint64_t due_ms)
{
    static const char *const texts[] = {
        "",
        "{",
        "null",
        "[]",
        "[null,null]",
        "[1,2,3,4,5]",
        "[null,null,\"x\",\"y\",{}]",
        "[null,\"999999\",\"phoenix\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]",
        "[null,null,\"realtime:petrel:down:other\",\"broadcast\",{\"event\":\"receipt\","
        "\"payload\":"
        "{},\"type\":\"broadcast\"}]",
        "[\"1\",\"1\",\"realtime:petrel:up:other\",\"phx_close\",{}]"};
    if (ptl_prng_below(s->prng, 1000) >= s->faults.junk_permille) {
        return;
    }
    const char *text = texts[ptl_prng_below(s->prng, sizeof(texts) / sizeof(texts[0]))];
    struct ptl_sim_message *message = ptl_sim_message_new(PTL_SIM_DATA, text, strlen(text));
    message->binary = ptl_prng_below(s->prng, 2) == 0;
    out_at(session, message, due_ms);
}

static void reply_at(struct ptl_sim_server *s, struct ptl_sim_session *session,
                     const struct ptl_sim_frame *frame, const char *payload, uint64_t due_ms)
{
    char join_ref[16];
    char ref[16];
    char topic[PTL_SIM_TOPIC_MAX];
    ptl_sim_copy_text(join_ref, sizeof(join_ref), frame->join_ref);
    ptl_sim_copy_text(ref, sizeof(ref), frame->ref);
    ptl_sim_copy_text(topic, sizeof(topic), frame->topic);
    junk_at(s, session, due_ms);
    out_at(session,
           ptl_sim_text_write(frame->join_ref.len > 0 ? join_ref : NULL, ref, topic, "phx_reply",
                              payload),
           due_ms);
}

static bool has_prefix(struct ptl_span text, const char *prefix)
{
    size_t len = strlen(prefix);
    return text.len > len && memcmp(text.ptr, prefix, len) == 0;
}

static bool is_text(struct ptl_span span, const char *text)
{
    return span.len == strlen(text) && (span.len == 0 || memcmp(span.ptr, text, span.len) == 0);
}

static struct ptl_sim_channel *channel_of(struct ptl_sim_session *session, struct ptl_span topic)
{
    if (session->up.joined && is_text(topic, session->up.topic)) {
        return &session->up;
    }
    if (session->down.joined && is_text(topic, session->down.topic)) {
        return &session->down;
    }
    return NULL;
}

static bool is_true(struct ptl_json_value object, const char *outer, const char *inner)
{
    struct ptl_json_value value;
    if (!ptl_json_member(object, outer, &value)) {
        return false;
    }
    if (inner != NULL) {
        struct ptl_json_value nested = value;
        if (nested.type != PTL_JSON_OBJECT || !ptl_json_member(nested, inner, &value)) {
            return false;
        }
    }
    return value.type == PTL_JSON_TRUE;
}

// What a device must ask for, by the rights of docs/wire.md.
static void join_check(struct ptl_sim_server *s, const struct ptl_sim_frame *frame, bool uplink)
{
    struct ptl_json_value payload;
    struct ptl_json_error error;
    struct ptl_json_value config;
    if (ptl_json_check(frame->payload, 16, &payload, &error) != PTL_OK ||
        payload.type != PTL_JSON_OBJECT || !ptl_json_member(payload, "config", &config) ||
        config.type != PTL_JSON_OBJECT) {
        violation(s, "join without config", frame->payload);
        return;
    }
    if (!is_true(config, "private", NULL)) {
        violation(s, "join is not private", frame->payload);
    }
    if (uplink && (!is_true(config, "broadcast", "ack") || is_true(config, "broadcast", "self"))) {
        violation(s, "uplink joined without ack or with self", frame->payload);
    }
    if (uplink && !is_true(config, "presence", "enabled")) {
        violation(s, "uplink joined without presence may not be read", frame->payload);
    }
}

static void join_recv(struct ptl_sim_server *s, struct ptl_sim_session *session,
                      const struct ptl_sim_frame *frame, uint64_t start_ms)
{
    bool uplink = has_prefix(frame->topic, UP_PREFIX);
    if (!uplink && !has_prefix(frame->topic, DOWN_PREFIX)) {
        violation(s, "joins a strange topic", frame->topic);
        return;
    }
    if (!ptl_span_equal(frame->join_ref, frame->ref)) {
        violation(s, "join_ref of a join is not its ref", frame->join_ref);
    }
    join_check(s, frame, uplink);
    if (s->faults.join_reason != NULL) {
        char payload[256];
        snprintf(payload, sizeof(payload),
                 "{\"status\":\"error\",\"response\":{\"reason\":\"%s\"}}", s->faults.join_reason);
        session->busy_until_ms = start_ms + s->cfg.refuse_ms;
        reply_at(s, session, frame, payload, session->busy_until_ms);
        s->refusals++;
        return;
    }
    struct ptl_sim_channel *channel = uplink ? &session->up : &session->down;
    if (channel->joined) {
        violation(s, "joins a channel twice", frame->topic);
    }
    channel->joined = true;
    ptl_sim_copy_text(channel->topic, sizeof(channel->topic), frame->topic);
    ptl_sim_copy_text(channel->join_ref, sizeof(channel->join_ref), frame->ref);
    session->busy_until_ms = start_ms + s->cfg.join_ms;
    reply_at(s, session, frame, "{\"status\":\"ok\",\"response\":{\"postgres_changes\":[]}}",
             session->busy_until_ms);
    if (uplink) {
        out_at(session,
               ptl_sim_text_write(channel->join_ref, NULL, channel->topic, "presence_state", "{}"),
               session->busy_until_ms);
    }
    s->joins++;
}

static void batch_facts(struct ptl_sim_server *s, struct ptl_span payload, enum ptl_sim_fact fact)
{
    if (ptl_sim_batch_read(payload, &s->batch) != NULL) {
        return; // the receiver complains
    }
    for (uint32_t i = 0; i < s->batch.event_count; i++) {
        uint64_t seq = s->batch.events[i].seq;
        ptl_sim_run_mark(ptl_sim_ledger_run_of(s->ledger, s->batch.epoch, seq), seq, fact);
    }
    if (fact != PTL_SIM_SERVER_LOST) {
        return;
    }
    for (uint32_t i = 0; i < s->batch.gap_count; i++) {
        const struct ptl_gap *gap = &s->batch.gaps[i];
        struct ptl_sim_run *run = ptl_sim_ledger_run_of(s->ledger, gap->epoch, gap->first);
        for (uint64_t seq = gap->first; seq <= gap->last; seq++) {
            ptl_sim_run_mark(run, seq, fact);
        }
    }
    for (uint32_t i = 0; i < s->batch.end_count; i++) {
        const struct ptl_end *end = &s->batch.ends[i];
        ptl_sim_ledger_run_of(s->ledger, end->epoch, end->next)->end_lost = *end;
    }
}

static void forward_at(struct ptl_sim_server *s, const struct ptl_sim_frame *frame, uint64_t due_ms)
{
    size_t topic_len = frame->topic.len;
    struct ptl_sim_message *message =
        ptl_sim_message_new(PTL_SIM_DATA, NULL, topic_len + 1 + frame->payload.len);
    memcpy(message->bytes, frame->topic.ptr, topic_len);
    message->bytes[topic_len] = '\0';
    memcpy(message->bytes + topic_len + 1, frame->payload.ptr, frame->payload.len);
    if (s->forward_tail != NULL && due_ms < s->forward_tail->due_ms) {
        due_ms = s->forward_tail->due_ms;
    }
    message->due_ms = due_ms;
    if (s->forward_tail == NULL) {
        s->forward_head = message;
    } else {
        s->forward_tail->next = message;
    }
    s->forward_tail = message;
}

// Its channel was closed while the push was under way.
static void unmatched_reply(struct ptl_sim_server *s, struct ptl_sim_session *session,
                            const struct ptl_sim_frame *frame, uint64_t due_ms)
{
    struct ptl_sim_frame unjoined = *frame;
    unjoined.join_ref.len = 0;
    reply_at(s, session, &unjoined,
             "{\"status\":\"error\",\"response\":{\"reason\":\"unmatched topic\"}}", due_ms);
}

static void batch_recv(struct ptl_sim_server *s, struct ptl_sim_session *session,
                       const struct ptl_sim_frame *frame, uint64_t start_ms)
{
    struct ptl_sim_channel *channel = channel_of(session, frame->topic);
    if (channel == NULL) {
        unmatched_reply(s, session, frame, start_ms);
        return;
    }
    if (channel != &session->up || !is_text(frame->event, "events")) {
        violation(s, "may not send there", frame->topic);
        return;
    }
    if (!is_text(frame->join_ref, channel->join_ref)) {
        violation(s, "push with a stale join_ref", frame->join_ref);
    }
    s->batches++;
    if (s->faults.deny) {
        return;
    }
    uint64_t ack_ms = start_ms + s->cfg.reply_ms;
    ack_ms += ptl_prng_below(s->prng, s->faults.ack_delay_ms_max + 1);
    if (!s->faults.mute && ptl_prng_below(s->prng, 1000) >= s->faults.ack_drop_permille) {
        reply_at(s, session, frame, OK_REPLY, ack_ms);
        batch_facts(s, frame->payload, PTL_SIM_ACKED);
        s->acks++;
        if (s->faults.kill_after_ack) {
            s->faults.kill_after_ack = false;
            s->kill_at_ms = session->out_tail->due_ms;
            ack_ms = s->kill_at_ms;
        }
    }
    if (s->faults.starve) {
        batch_facts(s, frame->payload, PTL_SIM_SERVER_LOST);
        return;
    }
    forward_at(s, frame, ack_ms + 1 + s->cfg.forward_ms);
}

static void presence_recv(struct ptl_sim_server *s, struct ptl_sim_session *session,
                          const struct ptl_sim_frame *frame, uint64_t start_ms)
{
    if (has_prefix(frame->topic, UP_PREFIX) && !session->up.joined) {
        unmatched_reply(s, session, frame, start_ms);
        return;
    }
    if (channel_of(session, frame->topic) != &session->up) {
        violation(s, "presence outside the uplink", frame->topic);
        return;
    }
    if (++session->presence_calls > PRESENCE_MAX) {
        violation(s, "presence called too often on one socket", frame->payload);
    }
    reply_at(s, session, frame, OK_REPLY, start_ms + s->cfg.reply_ms);
    out_at(
        session,
        ptl_sim_text_write(NULL, NULL, session->up.topic, "presence_diff",
                           "{\"joins\":{\"k\":{\"metas\":[{\"phx_ref\":\"a\"}]}},\"leaves\":{}}"),
        start_ms + s->cfg.reply_ms);
}

static void data_recv(struct ptl_sim_server *s, struct ptl_sim_session *session,
                      const struct ptl_sim_message *message, uint64_t now_ms)
{
    struct ptl_sim_frame frame;
    struct ptl_span bytes = {message->bytes, message->len};
    const char *wrong = ptl_sim_frame_read(bytes, message->binary, &frame);
    if (wrong != NULL) {
        violation(s, wrong, bytes);
        return;
    }
    uint64_t ref = 0;
    for (size_t i = 0; i < frame.ref.len; i++) {
        if (frame.ref.ptr[i] < '0' || frame.ref.ptr[i] > '9') {
            violation(s, "ref is not a number", frame.ref);
        }
        ref = ref * 10 + (frame.ref.ptr[i] - (uint64_t)'0');
    }
    if (ref <= session->ref_last) {
        violation(s, "refs do not ascend", frame.ref);
    }
    session->ref_last = ref;
    uint64_t start_ms = now_ms > session->busy_until_ms ? now_ms : session->busy_until_ms;
    if (message->binary) {
        batch_recv(s, session, &frame, start_ms);
    } else if (is_text(frame.event, "phx_join")) {
        join_recv(s, session, &frame, start_ms);
    } else if (is_text(frame.event, "heartbeat") && is_text(frame.topic, "phoenix")) {
        if (!s->faults.deaf) {
            reply_at(s, session, &frame, OK_REPLY, start_ms + s->cfg.reply_ms);
        }
    } else if (is_text(frame.event, "presence")) {
        presence_recv(s, session, &frame, start_ms);
    } else if (!is_text(frame.event, "access_token")) {
        violation(s, "unknown event", frame.event);
    }
}

static void dial_recv(struct ptl_sim_server *s, struct ptl_sim_session *session,
                      struct ptl_sim_link *link, uint64_t now_ms)
{
    session_end(session);
    session->link = link;
    if (now_ms < s->up_at_ms) {
        ptl_sim_link_send(link, PTL_SIM_SERVER, ptl_sim_message_new(PTL_SIM_REFUSE, NULL, 0),
                          now_ms);
        return;
    }
    session->open = true;
    session->idle_at_ms = now_ms + s->cfg.idle_ms;
    if (s->faults.http_status != 0) {
        struct ptl_sim_message *refusal = ptl_sim_message_new(PTL_SIM_REFUSE, NULL, 0);
        refusal->code = s->faults.http_status;
        out_at(session, refusal, now_ms + s->cfg.handshake_ms);
        return;
    }
    out_at(session, ptl_sim_message_new(PTL_SIM_ACCEPT, NULL, 0), now_ms);
}

void ptl_sim_server_recv(struct ptl_sim_server *s, uint32_t index, struct ptl_sim_link *link,
                         const struct ptl_sim_message *message, uint64_t now_ms)
{
    struct ptl_sim_session *session = &s->sessions[index];
    if (message->kind == PTL_SIM_DIAL) {
        dial_recv(s, session, link, now_ms);
        return;
    }
    if (!session->open || session->link != link) {
        return; // the server's end is gone
    }
    session->idle_at_ms = now_ms + s->cfg.idle_ms;
    if (message->kind == PTL_SIM_DATA) {
        data_recv(s, session, message, now_ms);
    } else {
        session_end(session);
    }
}

uint64_t ptl_sim_server_due(const struct ptl_sim_server *s)
{
    uint64_t due_ms = s->kill_at_ms;
    for (uint32_t i = 0; i < PTL_SIM_SESSIONS_MAX; i++) {
        const struct ptl_sim_session *session = &s->sessions[i];
        if (session->open && session->idle_at_ms < due_ms) {
            due_ms = session->idle_at_ms;
        }
        if (session->out_head != NULL && session->out_head->due_ms < due_ms) {
            due_ms = session->out_head->due_ms;
        }
    }
    if (s->forward_head != NULL && s->forward_head->due_ms < due_ms) {
        due_ms = s->forward_head->due_ms;
    }
    return due_ms;
}

static void close_send(struct ptl_sim_session *session, uint32_t code, uint64_t now_ms)
{
    struct ptl_sim_message *message = ptl_sim_message_new(PTL_SIM_CLOSE, NULL, 0);
    message->code = code;
    ptl_sim_link_send(session->link, PTL_SIM_SERVER, message, now_ms);
    session_end(session);
}

static void session_run(struct ptl_sim_session *session, uint64_t now_ms)
{
    while (session->out_head != NULL && session->out_head->due_ms <= now_ms) {
        struct ptl_sim_message *message = session->out_head;
        session->out_head = message->next;
        if (session->out_head == NULL) {
            session->out_tail = NULL;
        }
        bool refusal = message->kind == PTL_SIM_REFUSE;
        ptl_sim_link_send(session->link, PTL_SIM_SERVER, message, now_ms);
        if (refusal) {
            session_end(session);
        }
    }
    if (session->open && session->idle_at_ms <= now_ms) {
        close_send(session, 1000, now_ms);
    }
}

void ptl_sim_server_run(struct ptl_sim_server *s, uint64_t now_ms)
{
    for (uint32_t i = 0; i < PTL_SIM_SESSIONS_MAX; i++) {
        session_run(&s->sessions[i], now_ms);
    }
    if (s->kill_at_ms <= now_ms) {
        s->kill_at_ms = PTL_NEVER;
        ptl_sim_server_kill(s, s->faults.kill_down_ms, now_ms);
    }
}

struct ptl_sim_message *ptl_sim_server_take(struct ptl_sim_server *s, uint64_t now_ms)
{
    struct ptl_sim_message *message = s->forward_head;
    if (message == NULL || message->due_ms > now_ms) {
        return NULL;
    }
    s->forward_head = message->next;
    if (s->forward_head == NULL) {
        s->forward_tail = NULL;
    }
    return message;
}

void ptl_sim_server_undelivered(struct ptl_sim_server *s, const struct ptl_sim_message *message)
{
    size_t topic_bytes = strlen((const char *)message->bytes) + 1;
    struct ptl_span payload = {message->bytes + topic_bytes, message->len - topic_bytes};
    batch_facts(s, payload, PTL_SIM_SERVER_LOST);
}

void ptl_sim_server_broadcast(struct ptl_sim_server *s, const char *topic, const char *event,
                              const char *payload, uint64_t now_ms)
{
    for (uint32_t i = 0; i < PTL_SIM_SESSIONS_MAX; i++) {
        struct ptl_sim_session *session = &s->sessions[i];
        if (session->open && channel_of(session, ptl_span_of_text(topic)) == &session->down) {
            uint64_t start_ms = now_ms > session->busy_until_ms ? now_ms : session->busy_until_ms;
            junk_at(s, session, start_ms);
            out_at(session, ptl_sim_user_write(topic, event, payload), start_ms);
        }
    }
}

void ptl_sim_server_kill(struct ptl_sim_server *s, uint32_t down_ms, uint64_t now_ms)
{
    for (uint32_t i = 0; i < PTL_SIM_SESSIONS_MAX; i++) {
        if (s->sessions[i].open) {
            close_send(&s->sessions[i], 1006, now_ms);
        }
    }
    while (s->forward_head != NULL) {
        struct ptl_sim_message *message = s->forward_head;
        s->forward_head = message->next;
        ptl_sim_server_undelivered(s, message);
        free(message);
    }
    s->forward_tail = NULL;
    s->up_at_ms = now_ms + down_ms;
    s->kills++;
}

void ptl_sim_server_close(struct ptl_sim_server *s, uint32_t code, uint64_t now_ms)
{
    for (uint32_t i = 0; i < PTL_SIM_SESSIONS_MAX; i++) {
        if (s->sessions[i].open) {
            close_send(&s->sessions[i], code, now_ms);
        }
    }
}

void ptl_sim_server_channel_close(struct ptl_sim_server *s, bool uplink, const char *words,
                                  bool crashed, uint64_t now_ms)
{
    for (uint32_t i = 0; i < PTL_SIM_SESSIONS_MAX; i++) {
        struct ptl_sim_session *session = &s->sessions[i];
        struct ptl_sim_channel *channel = uplink ? &session->up : &session->down;
        if (!session->open || !channel->joined) {
            continue;
        }
        if (words != NULL) {
            char payload[256];
            snprintf(payload, sizeof(payload),
                     "{\"message\":\"%s\",\"status\":\"error\",\"extension\":\"system\","
                     "\"channel\":\"%s\"}",
                     words, channel->topic + strlen("realtime:"));
            out_at(session,
                   ptl_sim_text_write(channel->join_ref, NULL, channel->topic, "system", payload),
                   now_ms);
        }
        out_at(session,
               ptl_sim_text_write(channel->join_ref, channel->join_ref, channel->topic,
                                  crashed ? "phx_error" : "phx_close", "{}"),
               now_ms);
        channel->joined = false;
    }
}
