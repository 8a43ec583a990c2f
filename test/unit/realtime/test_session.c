// Goal: the session joins, beats, acknowledges and gives up exactly as realtime-protocol and the
// transcripts of a real server ask. Method: play the server by hand, with frames as recorded (refs
// and topics ours), and look at every event and every written byte.
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

static struct ptl_session_config config(void)
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

static void begin(struct fixture *f, const struct ptl_session_config *cfg, uint64_t now_ms)
{
    memset(f, 0, sizeof(*f));
    ptl_session_init(&f->s, cfg);
    ptl_session_link_up(&f->s, now_ms);
}

static enum ptl_status write_room(struct fixture *f, uint64_t now_ms, size_t cap)
{
    struct ptl_writer w = ptl_writer_on((uint8_t *)f->frame, cap);
    enum ptl_status status = ptl_session_control_write(&f->s, &w, now_ms);
    f->frame_len = w.len;
    f->frame[w.len] = '\0';
    return status;
}

static void assert_writes(struct fixture *f, uint64_t now_ms, const char *text)
{
    assert_true(ptl_session_control_due(&f->s, now_ms));
    assert_int_equal(write_room(f, now_ms, sizeof(f->frame) - 1), PTL_OK);
    assert_string_equal(f->frame, text);
}

static void assert_writes_nothing(struct fixture *f, uint64_t now_ms)
{
    assert_false(ptl_session_control_due(&f->s, now_ms));
    assert_int_equal(write_room(f, now_ms, sizeof(f->frame) - 1), PTL_E_EMPTY);
}

static enum ptl_session_event_type says_bytes(struct fixture *f, uint64_t now_ms, const void *bytes,
                                              size_t len, bool binary)
{
    // One copy a message, kept until the next, so that borrowed texts can be looked at.
    static uint8_t *copy;
    free(copy);
    copy = test_exact_copy(bytes, len);
    f->event = ptl_session_recv(&f->s, (struct ptl_span){copy, len}, binary, now_ms);
    return f->event.type;
}

static enum ptl_session_event_type says(struct fixture *f, uint64_t now_ms, const char *text)
{
    return says_bytes(f, now_ms, text, strlen(text), false);
}

static enum ptl_session_event_type ticks(struct fixture *f, uint64_t now_ms)
{
    f->event = ptl_session_tick(&f->s, now_ms);
    assert_true(ptl_session_deadline(&f->s) > now_ms);
    return f->event.type;
}

static void assert_lost(struct fixture *f, enum ptl_session_cause cause, const char *text)
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
static void join(struct fixture *f, uint64_t now_ms)
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

static uint32_t push(struct fixture *f)
{
    struct ptl_writer w = ptl_writer_on((uint8_t *)f->frame, sizeof(f->frame) - 1);
    uint32_t ref = 0;
    assert_int_equal(ptl_session_push_begin(&f->s, &w, &ref), PTL_OK);
    f->frame_len = w.len;
    return ref;
}

static void joins_are_the_official_clients(void **state)
{
    (void)state;
    struct fixture f;
    struct ptl_session_config cfg = config();
    begin(&f, &cfg, 0);
    assert_int_equal(f.s.state, PTL_SESSION_JOINING);
    assert_writes(&f, 0,
                  "[\"1\",\"1\",\"" UP "\",\"phx_join\",{\"config\":{\"broadcast\":{\"ack\":true,"
                  "\"self\":false},\"presence\":{\"key\":\"gw-17\",\"enabled\":true},"
                  "\"postgres_changes\":[],\"private\":true},\"access_token\":\"eyJ.a.b\"}]");
    assert_writes(&f, 0,
                  "[\"2\",\"2\",\"" DOWN "\",\"phx_join\",{\"config\":{\"broadcast\":{\"ack\":true,"
                  "\"self\":false},\"presence\":{\"key\":\"gw-17\",\"enabled\":false},"
                  "\"postgres_changes\":[],\"private\":true},\"access_token\":\"eyJ.a.b\"}]");
    assert_writes_nothing(&f, 0);
    struct ptl_writer w = ptl_writer_on((uint8_t *)f.frame, sizeof(f.frame));
    uint32_t ref = 0;
    assert_int_equal(ptl_session_push_begin(&f.s, &w, &ref), PTL_E_AGAIN);
    assert_int_equal(says(&f, 10, JOIN_OK("1", UP)), PTL_SESSION_NONE);
    assert_int_equal(ptl_session_push_begin(&f.s, &w, &ref), PTL_E_AGAIN);
    assert_int_equal(says(&f, 20, JOIN_OK("2", DOWN)), PTL_SESSION_IS_JOINED);
    assert_writes(&f, 20,
                  "[\"1\",\"3\",\"" UP "\",\"presence\",{\"type\":\"presence\",\"event\":\"track\","
                  "\"payload\":{\"version\":\"0.1.0\",\"epoch\":\"5f0c8a3d9e7b1c24\"}}]");
    assert_writes_nothing(&f, 20); // once per join
    assert_int_equal(f.s.ignored, 0);
}

static void public_channels_have_no_downlink(void **state)
{
    (void)state;
    struct fixture f;
    struct ptl_session_config cfg = config();
    cfg.private_channels = false;
    cfg.presence = false;
    cfg.token = (struct ptl_span){0};
    begin(&f, &cfg, 0);
    assert_writes(&f, 0,
                  "[\"1\",\"1\",\"" UP "\",\"phx_join\",{\"config\":{\"broadcast\":{\"ack\":true,"
                  "\"self\":false},\"presence\":{\"key\":\"gw-17\",\"enabled\":false},"
                  "\"postgres_changes\":[],\"private\":false}}]");
    assert_writes_nothing(&f, 0);
    assert_int_equal(says(&f, 5, JOIN_OK("1", UP)), PTL_SESSION_IS_JOINED);
    assert_writes_nothing(&f, 5);
    assert_int_equal(says(&f, 6,
                          "[null,null,\"" DOWN
                          "\",\"broadcast\",{\"event\":\"receipt\",\"payload\":{}}]"),
                     PTL_SESSION_IGNORED);
}

static void long_tokens_need_only_room(void **state)
{
    (void)state;
    static char token[8193];
    memset(token, 't', 8192);
    struct fixture f;
    struct ptl_session_config cfg = config();
    cfg.token = test_span(token);
    begin(&f, &cfg, 0);
    struct ptl_session before = f.s;
    for (size_t cap = 0; cap <= 8192; cap += 512) {
        assert_int_equal(write_room(&f, 0, cap), PTL_E_TOO_BIG);
        assert_int_equal(f.frame_len, 0);
        assert_memory_equal(&before, &f.s, sizeof(before)); // nothing changed
    }
    assert_int_equal(write_room(&f, 0, 8192 + 300), PTL_OK);
    assert_non_null(strstr(f.frame, token));
}

static void refused_joins_end_the_link_with_their_reason(void **state)
{
    (void)state;
    struct fixture f;
    struct ptl_session_config cfg = config();
    begin(&f, &cfg, 0);
    (void)write_room(&f, 0, 1000);
    (void)write_room(&f, 0, 1000);
    (void)says(&f, 5003,
               "[\"1\",\"1\",\"" UP "\",\"phx_reply\",{\"status\":\"error\",\"response\":{"
               "\"reason\":\"Unauthorized: You do not have permissions to read from this Channel "
               "topic: petrel:up:gw-17\"}}]");
    assert_lost(&f, PTL_SESSION_CAUSE_JOIN,
                "Unauthorized: You do not have permissions to read from this Channel topic: "
                "petrel:up:gw-17");
    // Quiet until the next link.
    assert_int_equal(says(&f, 5004, JOIN_OK("2", DOWN)), PTL_SESSION_IGNORED);
    assert_int_equal(ticks(&f, 90000), PTL_SESSION_NONE);

    begin(&f, &cfg, 0);
    (void)write_room(&f, 0, 1000);
    (void)says(&f, 1, "[null,\"1\",\"" UP "\",\"phx_reply\",{\"status\":\"error\"}]");
    assert_lost(&f, PTL_SESSION_CAUSE_JOIN, "join refused");
}

static void joins_time_out(void **state)
{
    (void)state;
    struct fixture f;
    struct ptl_session_config cfg = config();
    begin(&f, &cfg, 1000);
    (void)write_room(&f, 1500, 1000);
    (void)write_room(&f, 1500, 1000);
    assert_int_equal(ticks(&f, 13499), PTL_SESSION_NONE);
    assert_int_equal(ptl_session_deadline(&f.s), 13500);
    (void)ticks(&f, 13500);
    assert_lost(&f, PTL_SESSION_CAUSE_LOCAL, "join timed out");

    // The server takes one join after the other: the second's time begins with the first's answer.
    begin(&f, &cfg, 0);
    (void)write_room(&f, 0, 1000);
    (void)write_room(&f, 0, 1000);
    (void)says(&f, 9000, JOIN_OK("1", UP));
    assert_int_equal(ticks(&f, 20999), PTL_SESSION_NONE);
    (void)ticks(&f, 21000);
    assert_lost(&f, PTL_SESSION_CAUSE_LOCAL, "join timed out");

    // A socket that takes nothing is found too.
    begin(&f, &cfg, 0);
    assert_int_equal(ticks(&f, 11999), PTL_SESSION_NONE);
    (void)ticks(&f, 12000);
    assert_lost(&f, PTL_SESSION_CAUSE_LOCAL, "join timed out");
}

static void answers_of_another_join_change_nothing(void **state)
{
    (void)state;
    struct fixture f;
    struct ptl_session_config cfg = config();
    begin(&f, &cfg, 0);
    join(&f, 0);
    ptl_session_link_down(&f.s);
    ptl_session_link_up(&f.s, 100);
    (void)write_room(&f, 100, 1000); // refs 4 and 5
    (void)write_room(&f, 100, 1000);
    // A late reply to an abandoned join, ok or not.
    assert_int_equal(says(&f, 110, JOIN_OK("1", UP)), PTL_SESSION_IGNORED);
    assert_int_equal(says(&f, 110,
                          "[\"1\",\"1\",\"" UP "\",\"phx_reply\",{\"status\":\"error\","
                          "\"response\":{\"reason\":\"unmatched topic\"}}]"),
                     PTL_SESSION_IGNORED);
    assert_int_equal(says(&f, 110, JOIN_OK("4", DOWN)), PTL_SESSION_IGNORED); // wrong topic
    assert_int_equal(says(&f, 120, JOIN_OK("4", UP)), PTL_SESSION_NONE);
    assert_int_equal(says(&f, 120, JOIN_OK("4", UP)), PTL_SESSION_IGNORED); // twice
    assert_int_equal(says(&f, 130, JOIN_OK("5", DOWN)), PTL_SESSION_IS_JOINED);
    // The close of a duplicate join carries the old join_ref.
    assert_int_equal(says(&f, 131, "[\"1\",\"1\",\"" UP "\",\"phx_close\",{}]"),
                     PTL_SESSION_IGNORED);
    assert_int_equal(says(&f, 131, "[\"5\",\"5\",\"" UP "\",\"phx_close\",{}]"),
                     PTL_SESSION_IGNORED); // the downlink's
    assert_int_equal(f.s.state, PTL_SESSION_JOINED);
    assert_int_equal(f.s.ignored, 6);
}

static void closes_of_the_present_join_end_the_link(void **state)
{
    (void)state;
    struct fixture f;
    struct ptl_session_config cfg = config();
    begin(&f, &cfg, 0);
    join(&f, 0);
    (void)says(&f, 1, "[\"2\",\"2\",\"" DOWN "\",\"phx_close\",{}]");
    assert_lost(&f, PTL_SESSION_CAUSE_LOCAL, "channel closed by the server");
    begin(&f, &cfg, 0);
    join(&f, 0);
    (void)says(&f, 1, "[\"1\",\"1\",\"" UP "\",\"phx_error\",{\"reason\":\"channel_crash\"}]");
    assert_lost(&f, PTL_SESSION_CAUSE_LOCAL, "channel crashed on the server");
    begin(&f, &cfg, 0);
    join(&f, 0);
    (void)says(&f, 1, "[null,\"1\",\"" UP "\",\"phx_close\",{}]"); // told by the ref alone
    assert_lost(&f, PTL_SESSION_CAUSE_LOCAL, "channel closed by the server");
}

static void system_error_explains_the_close(void **state)
{
    (void)state;
    struct fixture f;
    struct ptl_session_config cfg = config();
    begin(&f, &cfg, 0);
    join(&f, 0);
    assert_int_equal(says(&f, 1,
                          "[\"1\",null,\"" UP
                          "\",\"system\",{\"message\":\"Too many messages per second\","
                          "\"status\":\"error\",\"extension\":\"system\",\"channel\":\"x\"}]"),
                     PTL_SESSION_NONE);
    assert_int_equal(f.s.state, PTL_SESSION_JOINED);
    (void)says(&f, 1, "[\"1\",\"1\",\"" UP "\",\"phx_close\",{}]");
    assert_lost(&f, PTL_SESSION_CAUSE_SYSTEM, "Too many messages per second");

    // Neither of these two explains a close.
    begin(&f, &cfg, 0);
    join(&f, 0);
    assert_int_equal(says(&f, 1,
                          "[null,null,\"" UP
                          "\",\"system\",{\"message\":\"Server requested disconnect\","
                          "\"status\":\"ok\",\"extension\":\"system\"}]"),
                     PTL_SESSION_NONE);
    assert_int_equal(says(&f, 1,
                          "[\"1\",null,\"" UP
                          "\",\"system\",{\"message\":\"Unable to subscribe\",\"status\":\"error\","
                          "\"extension\":\"postgres_changes\",\"channel\":\"x\"}]"),
                     PTL_SESSION_NONE);
    // Of an earlier join.
    assert_int_equal(says(&f, 1,
                          "[\"9\",null,\"" UP
                          "\",\"system\",{\"message\":\"Token has expired 0 seconds ago\","
                          "\"status\":\"error\",\"extension\":\"system\",\"channel\":\"x\"}]"),
                     PTL_SESSION_IGNORED);
    (void)says(&f, 1, "[\"1\",\"1\",\"" UP "\",\"phx_close\",{}]");
    assert_lost(&f, PTL_SESSION_CAUSE_LOCAL, "channel closed by the server");
    // And none is taken over to the next link.
    begin(&f, &cfg, 0);
    join(&f, 0);
    (void)says(&f, 1,
               "[\"1\",null,\"" UP "\",\"system\",{\"message\":\"Token has expired\","
               "\"status\":\"error\",\"extension\":\"system\"}]");
    ptl_session_link_down(&f.s);
    ptl_session_link_up(&f.s, 10);
    (void)write_room(&f, 10, 1000);
    (void)says(&f, 11, "[\"4\",\"4\",\"" UP "\",\"phx_close\",{}]");
    assert_lost(&f, PTL_SESSION_CAUSE_LOCAL, "channel closed by the server");
}

static void texts_are_cut_at_a_character(void **state)
{
    (void)state;
    static const char *const units[] = {"x",       "\xc5\xbe",       "\\n",
                                        "\\u00e9", "\\ud83d\\ude00", "\xf0\x9f\x98\x80"};
    struct ptl_session_config cfg = config();
    for (size_t unit = 0; unit < sizeof(units) / sizeof(units[0]); unit++) {
        for (size_t shift = 0; shift < 14; shift++) {
            char reason[2048] = "";
            memset(reason, 'a', shift);
            for (size_t i = 0; i < 100; i++) {
                strcat(reason, units[unit]);
            }
            char frame[4096];
            (void)snprintf(frame, sizeof(frame),
                           "[\"1\",\"1\",\"%s\",\"phx_reply\",{\"status\":\"error\",\"response\":{"
                           "\"reason\":\"%s\"}}]",
                           UP, reason);
            struct fixture f;
            begin(&f, &cfg, 0);
            (void)write_room(&f, 0, 1000);
            assert_int_equal(says(&f, 1, frame), PTL_SESSION_LOST);
            assert_true(ptl_utf8_valid(f.event.text));
            assert_in_range(f.event.text.len, 12, PTL_SESSION_TEXT_MAX);
            assert_null(memchr(f.event.text.ptr, '\\', f.event.text.len));
        }
    }
}

static void pushes_are_kind_3_on_the_uplink(void **state)
{
    (void)state;
    struct fixture f;
    struct ptl_session_config cfg = config();
    begin(&f, &cfg, 0);
    join(&f, 0);
    assert_int_equal(push(&f), 4);
    static const char want[] = "\x03\x01\x01\x18\x06\x00\x01"
                               "14" UP "events";
    assert_int_equal(f.frame_len, sizeof(want) - 1);
    assert_memory_equal(f.frame, want, sizeof(want) - 1);
    uint32_t ref = 77;
    struct ptl_writer w = ptl_writer_on((uint8_t *)f.frame, sizeof(want) - 2);
    assert_int_equal(ptl_session_push_begin(&f.s, &w, &ref), PTL_E_TOO_BIG);
    assert_int_equal(ref, 77);
    assert_int_equal(push(&f), 5); // none was used up
}

static void acks_by_ref(void **state)
{
    (void)state;
    struct fixture f;
    struct ptl_session_config cfg = config();
    begin(&f, &cfg, 0);
    join(&f, 0);
    assert_int_equal(push(&f), 4);
    assert_int_equal(push(&f), 5);
#define REPLY(join_ref, ref, topic, payload)                                                       \
    "[" join_ref ",\"" ref "\",\"" topic "\",\"phx_reply\"," payload "]"
#define OK "{\"status\":\"ok\",\"response\":{}}"
    assert_int_equal(says(&f, 1, REPLY("\"1\"", "5", UP, OK)), PTL_SESSION_ACKED);
    assert_int_equal(f.event.ref, 5);
    assert_int_equal(says(&f, 1, REPLY("\"1\"", "4", UP, OK)), PTL_SESSION_ACKED);
    assert_int_equal(f.event.ref, 4);
    // Never sent, of another channel, of an earlier join, no number, not an object.
    assert_int_equal(says(&f, 1, REPLY("\"1\"", "6", UP, OK)), PTL_SESSION_IGNORED);
    assert_int_equal(says(&f, 1, REPLY("\"2\"", "4", DOWN, OK)), PTL_SESSION_IGNORED);
    assert_int_equal(says(&f, 1, REPLY("\"9\"", "4", UP, OK)), PTL_SESSION_IGNORED);
    assert_int_equal(says(&f, 1, REPLY("\"1\"", "04", UP, OK)), PTL_SESSION_IGNORED);
    assert_int_equal(says(&f, 1, REPLY("\"1\"", "4x", UP, OK)), PTL_SESSION_IGNORED);
    assert_int_equal(says(&f, 1, REPLY("\"1\"", "4294967300", UP, OK)), PTL_SESSION_IGNORED);
    assert_int_equal(says(&f, 1, REPLY("\"1\"", "4", UP, "[]")), PTL_SESSION_IGNORED);
    // The three forms of a refusal.
    assert_int_equal(says(&f, 1,
                          REPLY("\"1\"", "4", UP,
                                "{\"status\":\"error\",\"response\":\"payload_size_exceeded\"}")),
                     PTL_SESSION_REFUSED);
    assert_int_equal(f.event.ref, 4);
    assert_span_equal(f.event.text, "payload_size_exceeded");
    assert_int_equal(
        says(&f, 1,
             REPLY("\"1\"", "4", UP,
                   "{\"status\":\"error\",\"response\":{\"error\":\"payload_size_exceeded\"}}")),
        PTL_SESSION_REFUSED);
    assert_span_equal(f.event.text, "payload_size_exceeded");
    assert_int_equal(says(&f, 1, REPLY("\"1\"", "4", UP, "{\"status\":\"error\",\"response\":{}}")),
                     PTL_SESSION_REFUSED);
    assert_span_equal(f.event.text, "");
    assert_int_equal(f.s.state, PTL_SESSION_JOINED);
    // The server has lost the channel.
    (void)says(&f, 1,
               REPLY("null", "4", UP,
                     "{\"status\":\"error\",\"response\":{\"reason\":\"unmatched topic\"}}"));
    assert_lost(&f, PTL_SESSION_CAUSE_LOCAL, "unmatched topic");
}

static void refused_presence_is_only_counted(void **state)
{
    (void)state;
    struct fixture f;
    struct ptl_session_config cfg = config();
    begin(&f, &cfg, 0);
    (void)write_room(&f, 0, 1000);
    (void)write_room(&f, 0, 1000);
    (void)says(&f, 0, JOIN_OK("1", UP));
    (void)says(&f, 0, JOIN_OK("2", DOWN));
    (void)write_room(&f, 0, 1000);
    assert_int_equal(says(&f, 1, REPLY("\"1\"", "3", UP, "{\"status\":\"error\",\"response\":{}}")),
                     PTL_SESSION_NONE);
    assert_int_equal(f.s.presence_refused, 1);
    assert_int_equal(says(&f, 1, "[\"1\",null,\"" UP "\",\"presence_state\",{}]"),
                     PTL_SESSION_NONE);
    assert_int_equal(
        says(&f, 1, "[null,null,\"" UP "\",\"presence_diff\",{\"joins\":{},\"leaves\":{}}]"),
        PTL_SESSION_NONE);
    assert_int_equal(f.s.state, PTL_SESSION_JOINED);
    assert_int_equal(f.s.ignored, 0);
}

static enum ptl_session_event_type says_kind_4(struct fixture *f, const char *topic,
                                               const char *event, uint8_t encoding,
                                               const char *payload)
{
    uint8_t bytes[512];
    struct ptl_writer w = ptl_writer_on(bytes, sizeof(bytes));
    const uint8_t header[] = {4, (uint8_t)strlen(topic), (uint8_t)strlen(event), 0, encoding};
    ptl_write_bytes(&w, header, sizeof(header));
    ptl_write_text(&w, topic);
    ptl_write_text(&w, event);
    ptl_write_text(&w, payload);
    assert_false(w.overflow);
    return says_bytes(f, 1, bytes, w.len, true);
}

static void receipts_come_in_both_shapes(void **state)
{
    (void)state;
    struct fixture f;
    struct ptl_session_config cfg = config();
    begin(&f, &cfg, 0);
    (void)write_room(&f, 0, 1000);
    (void)write_room(&f, 0, 1000);
    assert_int_equal(says_kind_4(&f, DOWN, "receipt", 1, "{\"a\":1}"), PTL_SESSION_IGNORED);
    (void)says(&f, 0, JOIN_OK("1", UP));
    (void)says(&f, 0, JOIN_OK("2", DOWN));
    f.s.ignored = 0;

    assert_int_equal(says_kind_4(&f, DOWN, "receipt", 1, " {\"source\":\"main\"} "),
                     PTL_SESSION_RECEIPT);
    assert_span_equal(f.event.text, "{\"source\":\"main\"}");
    assert_int_equal(says(&f, 1,
                          "[null,null,\"" DOWN
                          "\",\"broadcast\",{\"event\":\"receipt\",\"payload\":{\"source\":"
                          "\"main\"},\"type\":\"broadcast\"}]"),
                     PTL_SESSION_RECEIPT);
    assert_span_equal(f.event.text, "{\"source\":\"main\"}");
    assert_int_equal(f.s.ignored, 0);

    // Raw bytes are not JSON, whatever they look like.
    assert_int_equal(says_kind_4(&f, DOWN, "receipt", 0, "{\"a\":1}"), PTL_SESSION_IGNORED);
    assert_int_equal(says_kind_4(&f, DOWN, "receipt", 1, "{nope}"), PTL_SESSION_IGNORED);
    assert_int_equal(says_kind_4(&f, DOWN, "receipt", 1, "[1]"), PTL_SESSION_IGNORED);
    assert_int_equal(says_kind_4(&f, DOWN, "receipt", 1, ""), PTL_SESSION_IGNORED);
    assert_int_equal(says_kind_4(&f, DOWN, "config", 1, "{}"), PTL_SESSION_IGNORED);
    assert_int_equal(says_kind_4(&f, UP, "receipt", 1, "{}"), PTL_SESSION_IGNORED);
    assert_int_equal(says_kind_4(&f, "realtime:petrel:down:gw-1", "receipt", 1, "{}"),
                     PTL_SESSION_IGNORED);
    assert_int_equal(
        says(&f, 1, "[null,null,\"" UP "\",\"broadcast\",{\"event\":\"receipt\",\"payload\":{}}]"),
        PTL_SESSION_IGNORED);
    assert_int_equal(says(&f, 1, "[null,null,\"" DOWN "\",\"broadcast\",{\"event\":\"receipt\"}]"),
                     PTL_SESSION_IGNORED);
    assert_int_equal(says(&f, 1, "[null,null,\"" DOWN "\",\"broadcast\",[]]"), PTL_SESSION_IGNORED);
    assert_int_equal(f.s.ignored, 10);
}

static void what_is_not_for_us_is_counted(void **state)
{
    (void)state;
    struct fixture f;
    struct ptl_session_config cfg = config();
    begin(&f, &cfg, 0);
    join(&f, 0);
    static const char *const texts[] = {
        "{oops",
        "[]",
        "[null,\"9\",\"phoenix\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]",
        "[null,null,\"realtime:room\",\"broadcast\",{\"event\":\"receipt\",\"payload\":{}}]",
        "[null,null,\"" UP "\",\"postgres_changes\",{\"ids\":[1],\"data\":{\"errors\":null}}]",
        "[null,null,\"" UP "\",\"nonsense\",{}]",
        "[null,null,\"" UP "\",\"system\",7]",
        "[null,null,\"" UP "x\",\"phx_close\",{}]",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_int_equal(says(&f, 1, texts[i]), PTL_SESSION_IGNORED);
        assert_int_equal(f.s.ignored, i + 1);
    }
    assert_int_equal(says_bytes(&f, 1, "\x09\x09\x09", 3, true), PTL_SESSION_IGNORED);
    assert_int_equal(says_bytes(&f, 1, "\x04\x19\x07", 3, true), PTL_SESSION_IGNORED);
    assert_int_equal(f.s.state, PTL_SESSION_JOINED);
    // A topic may come with escapes: it is the same topic.
    (void)says(&f, 1, "[\"1\",\"1\",\"realtime\\u003apetrel:up:gw-17\",\"phx_\\u0063lose\",{}]");
    assert_lost(&f, PTL_SESSION_CAUSE_LOCAL, "channel closed by the server");
}

static void heartbeats_keep_their_beat(void **state)
{
    (void)state;
    struct fixture f;
    struct ptl_session_config cfg = config();
    begin(&f, &cfg, 1000);
    join(&f, 1000);
    uint32_t ref = 4;
    uint64_t due_ms = 26000;
    for (int beat = 0; beat < 20; beat++) {
        // Traffic from the server proves nothing about our way to it and puts nothing off.
        for (uint64_t at_ms = due_ms - 25000; at_ms < due_ms; at_ms += 1000) {
            (void)says(&f, at_ms, "[null,null,\"" UP "\",\"presence_diff\",{}]");
            assert_int_equal(ticks(&f, at_ms), PTL_SESSION_NONE);
        }
        assert_false(ptl_session_control_due(&f.s, due_ms - 1));
        assert_int_equal(ptl_session_deadline(&f.s), due_ms);
        uint64_t sent_ms = due_ms + (uint64_t)beat * 37; // the socket lets us wait a little
        assert_int_equal(ticks(&f, sent_ms), PTL_SESSION_NONE);
        char want[64];
        (void)snprintf(want, sizeof(want), "[null,\"%u\",\"phoenix\",\"heartbeat\",{}]", ref);
        assert_writes(&f, sent_ms, want);
        assert_writes_nothing(&f, sent_ms);
        char reply[96];
        (void)snprintf(
            reply, sizeof(reply),
            "[null,\"%u\",\"phoenix\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]", ref);
        assert_int_equal(says(&f, sent_ms + 5, reply), PTL_SESSION_NONE);
        assert_true(f.event.heartbeat);
        assert_int_equal(says(&f, sent_ms + 6, reply), PTL_SESSION_IGNORED);
        due_ms += 25000; // no drift
        ref++;
    }
}

static void unanswered_heartbeats_end_the_link(void **state)
{
    (void)state;
    struct fixture f;
    struct ptl_session_config cfg = config();
    begin(&f, &cfg, 0);
    join(&f, 0);
    (void)ticks(&f, 25000);
    (void)write_room(&f, 25000, 1000);
    assert_int_equal(ticks(&f, 49999), PTL_SESSION_NONE);
    assert_int_equal(ptl_session_deadline(&f.s), 50000);
    (void)ticks(&f, 50000);
    assert_lost(&f, PTL_SESSION_CAUSE_LOCAL, "heartbeat lost");
    // The next socket does not die of it.
    ptl_session_link_up(&f.s, 51000);
    assert_int_equal(ticks(&f, 51000), PTL_SESSION_NONE);
    assert_false(f.s.heartbeat_ref != 0);
    assert_int_equal(f.s.heartbeat_due_ms, 76000);

    // One that could not be written for a whole interval ends it too, without a timer that spins.
    begin(&f, &cfg, 0);
    join(&f, 0);
    assert_int_equal(ticks(&f, 25000), PTL_SESSION_NONE);
    assert_int_equal(ptl_session_deadline(&f.s), 50000);
    assert_true(ptl_session_control_due(&f.s, 25000));
    (void)ticks(&f, 50000);
    assert_lost(&f, PTL_SESSION_CAUSE_LOCAL, "heartbeat could not be sent");
}

static void heartbeats_bear_with_a_join_that_blocks_the_socket(void **state)
{
    (void)state;
    struct fixture f;
    struct ptl_session_config cfg = config();
    cfg.heartbeat_ms = 2000;
    begin(&f, &cfg, 0);
    (void)write_room(&f, 0, 1000);
    (void)write_room(&f, 0, 1000);
    (void)ticks(&f, 2000);
    assert_writes(&f, 2000, "[null,\"3\",\"phoenix\",\"heartbeat\",{}]");
    assert_int_equal(ticks(&f, 4000), PTL_SESSION_NONE); // would be lost, but a join is open
    assert_int_equal(ticks(&f, 9999), PTL_SESSION_NONE);
    (void)says(&f, 10000, JOIN_OK("1", UP));
    (void)says(&f, 10000, JOIN_OK("2", DOWN));
    assert_int_equal(ticks(&f, 10001), PTL_SESSION_NONE); // its answer is right behind
    assert_int_equal(ticks(&f, 14999), PTL_SESSION_NONE);
    assert_int_equal(ptl_session_deadline(&f.s), 15000);
    struct ptl_session before = f.s;
    (void)ticks(&f, 15000);
    assert_lost(&f, PTL_SESSION_CAUSE_LOCAL, "heartbeat lost");
    f.s = before;
    (void)says(&f, 10002,
               "[null,\"3\",\"phoenix\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]");
    assert_true(f.event.heartbeat);
}

static void new_tokens_go_to_joined_channels(void **state)
{
    (void)state;
    struct fixture f;
    struct ptl_session_config cfg = config();
    begin(&f, &cfg, 0);
    join(&f, 0);
    ptl_session_token_set(&f.s, PTL_SPAN_OF("eyJ.n\"ew.b"));
    assert_writes(&f, 1,
                  "[\"1\",\"4\",\"" UP "\",\"access_token\",{\"access_token\":\"eyJ.n\\\"ew.b\"}]");
    assert_writes(
        &f, 1, "[\"2\",\"5\",\"" DOWN "\",\"access_token\",{\"access_token\":\"eyJ.n\\\"ew.b\"}]");
    assert_writes_nothing(&f, 1);
    ptl_session_token_set(&f.s, (struct ptl_span){0}); // would close the channel
    assert_writes_nothing(&f, 1);

    // One that comes during a join follows it; one that comes before goes with it.
    begin(&f, &cfg, 0);
    ptl_session_token_set(&f.s, PTL_SPAN_OF("first"));
    (void)write_room(&f, 0, 1000);
    assert_non_null(strstr(f.frame, "first"));
    ptl_session_token_set(&f.s, PTL_SPAN_OF("second"));
    (void)write_room(&f, 0, 1000);
    assert_non_null(strstr(f.frame, "second"));
    (void)says(&f, 0, JOIN_OK("1", UP));
    (void)says(&f, 0, JOIN_OK("2", DOWN));
    assert_writes(&f, 1, "[\"1\",\"3\",\"" UP "\",\"access_token\",{\"access_token\":\"second\"}]");
    assert_int_equal(write_room(&f, 1, 1000), PTL_OK); // presence: the downlink has it already
    assert_non_null(strstr(f.frame, "\"track\""));
    assert_writes_nothing(&f, 1);
}

static void draining_still_sends_batches(void **state)
{
    (void)state;
    struct fixture f;
    struct ptl_session_config cfg = config();
    begin(&f, &cfg, 0);
    join(&f, 0);
    ptl_session_drain(&f.s);
    assert_int_equal(f.s.state, PTL_SESSION_DRAINING);
    ptl_session_token_set(&f.s, PTL_SPAN_OF("new"));
    assert_writes_nothing(&f, 1);
    assert_int_equal(push(&f), 4);
    assert_int_equal(says(&f, 1, REPLY("\"1\"", "4", UP, OK)), PTL_SESSION_ACKED);
    // Over a reconnect too.
    ptl_session_link_down(&f.s);
    ptl_session_link_up(&f.s, 10);
    (void)write_room(&f, 10, 1000);
    (void)write_room(&f, 10, 1000);
    (void)says(&f, 10, JOIN_OK("5", UP));
    assert_int_equal(says(&f, 10, JOIN_OK("6", DOWN)), PTL_SESSION_IS_JOINED);
    assert_int_equal(f.s.state, PTL_SESSION_DRAINING);
    assert_writes_nothing(&f, 10);
}

static void reconnect_tracks_again_with_fresh_refs(void **state)
{
    (void)state;
    struct fixture f;
    struct ptl_session_config cfg = config();
    begin(&f, &cfg, 0);
    join(&f, 0);
    ptl_session_link_down(&f.s);
    assert_writes_nothing(&f, 5);
    ptl_session_link_up(&f.s, 10);
    (void)write_room(&f, 10, 1000);
    (void)write_room(&f, 10, 1000);
    (void)says(&f, 10, JOIN_OK("4", UP));
    (void)says(&f, 10, JOIN_OK("5", DOWN));
    assert_int_equal(write_room(&f, 10, 1000), PTL_OK);
    assert_non_null(strstr(f.frame, "\"6\",\"" UP "\",\"presence\""));
}

static void refs_may_wrap(void **state)
{
    (void)state;
    struct fixture f;
    struct ptl_session_config cfg = config();
    begin(&f, &cfg, 0);
    f.s.ref_last = UINT32_MAX - 3;
    (void)write_room(&f, 0, 1000);
    (void)write_room(&f, 0, 1000);
    (void)says(&f, 0, JOIN_OK("4294967293", UP));
    assert_int_equal(says(&f, 0, JOIN_OK("4294967294", DOWN)), PTL_SESSION_IS_JOINED);
    (void)write_room(&f, 0, 1000);
    assert_int_equal(push(&f), 1); // never 0
    assert_int_equal(says(&f, 1, REPLY("\"4294967293\"", "1", UP, OK)), PTL_SESSION_ACKED);
    assert_int_equal(f.event.ref, 1);
    assert_int_equal(says(&f, 1, REPLY("\"4294967293\"", "2", UP, OK)), PTL_SESSION_IGNORED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joins_are_the_official_clients),
        cmocka_unit_test(public_channels_have_no_downlink),
        cmocka_unit_test(long_tokens_need_only_room),
        cmocka_unit_test(refused_joins_end_the_link_with_their_reason),
        cmocka_unit_test(joins_time_out),
        cmocka_unit_test(answers_of_another_join_change_nothing),
        cmocka_unit_test(closes_of_the_present_join_end_the_link),
        cmocka_unit_test(system_error_explains_the_close),
        cmocka_unit_test(texts_are_cut_at_a_character),
        cmocka_unit_test(pushes_are_kind_3_on_the_uplink),
        cmocka_unit_test(acks_by_ref),
        cmocka_unit_test(refused_presence_is_only_counted),
        cmocka_unit_test(receipts_come_in_both_shapes),
        cmocka_unit_test(what_is_not_for_us_is_counted),
        cmocka_unit_test(heartbeats_keep_their_beat),
        cmocka_unit_test(unanswered_heartbeats_end_the_link),
        cmocka_unit_test(heartbeats_bear_with_a_join_that_blocks_the_socket),
        cmocka_unit_test(new_tokens_go_to_joined_channels),
        cmocka_unit_test(draining_still_sends_batches),
        cmocka_unit_test(reconnect_tracks_again_with_fresh_refs),
        cmocka_unit_test(refs_may_wrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
