// Goal: a joined session pushes, beats, acknowledges, drains and gives up exactly as
// realtime-protocol and the transcripts of a real server ask. Method: play the server by hand
// (session_play.h), and look at every event and every written byte.
#include "session_play.h"

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
