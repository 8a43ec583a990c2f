// Goal: the session joins, and gives up joining, exactly as realtime-protocol and the transcripts
// of a real server ask. Method: play the server by hand (session_play.h), and look at every event
// and every written byte.
#include "session_play.h"

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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
