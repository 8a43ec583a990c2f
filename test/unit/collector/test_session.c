// Goal: every channel that is wanted is joined and joined again, heartbeats are kept up, nothing
// but a batch on a joined uplink passes, whatever the server says. Method: frames by hand, as
// recorded from a real server (see docs: realtime vsn 2.0.0), time by hand.
#include "ptl_test.h"

#include "session.h"

#define UP(name)   "realtime:petrel:up:" name
#define DOWN(name) "realtime:petrel:down:" name

static const struct col_session_config defaults = {
    .private_channels = true,
    .downlinks = true,
    .heartbeat_ms = 25000,
    .join_timeout_ms = 12000,
    .backoff_base_ms = 1000,
    .backoff_cap_ms = 60000,
    .reset_ms = 30000,
    .slow_ms = 60000,
    .joins_at_once = 8,
    .seed = 5,
};

struct world {
    struct col_session s;
    uint64_t now;
    char frame[1024];
};

static int set_up(void **state)
{
    static struct world w;
    w.now = 1000;
    col_session_init(&w.s, &defaults);
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    col_session_free(&w->s);
    return 0;
}

// The next control frame as text; NULL if none is due.
static const char *control(struct world *w)
{
    struct ptl_writer to = ptl_writer_on((uint8_t *)w->frame, sizeof(w->frame) - 1);
    enum ptl_status status = col_session_control(&w->s, PTL_SPAN_OF("tok\"en"), &to, w->now);
    if (status == PTL_E_EMPTY) {
        return NULL;
    }
    assert_int_equal(status, PTL_OK);
    w->frame[to.len] = '\0';
    return w->frame;
}

static struct col_event_out text(struct world *w, const char *message)
{
    return col_session_recv(&w->s, test_span(message), false, w->now);
}

static struct col_event_out reply(struct world *w, const char *topic, unsigned ref,
                                  const char *payload)
{
    static char message[512]; // the result points into it
    snprintf(message, sizeof(message), "[\"%u\",\"%u\",\"%s\",\"phx_reply\",%s]", ref, ref, topic,
             payload);
    return text(w, message);
}

#define OK_REPLY "{\"status\":\"ok\",\"response\":{\"postgres_changes\":[]}}"

static unsigned joins(struct world *w)
{
    unsigned count = 0;
    while (control(w) != NULL) {
        assert_non_null(strstr(w->frame, "\"phx_join\""));
        count++;
    }
    return count;
}

// For tests in which much time passes and heartbeats would be in the way.
static void without_heartbeat(struct world *w)
{
    w->s.heartbeat_at_ms = PTL_NEVER;
}

// One device, both channels joined: refs 1 and 2.
static struct col_device *joined(struct world *w)
{
    struct col_device *device = col_session_add(&w->s, "gw-17", w->now);
    col_session_link_up(&w->s, w->now);
    assert_int_equal(joins(w), 2);
    assert_int_equal(reply(w, UP("gw-17"), 1, OK_REPLY).type, COL_JOIN_DONE);
    assert_int_equal(reply(w, DOWN("gw-17"), 2, OK_REPLY).type, COL_JOIN_DONE);
    return device;
}

static void joins_both_channels_of_every_device(void **state)
{
    struct world *w = *state;
    assert_non_null(col_session_add(&w->s, "gw-17", w->now));
    assert_null(control(w)); // the link is down
    col_session_link_up(&w->s, w->now);
    assert_string_equal(control(w),
                        "[\"1\",\"1\",\"realtime:petrel:up:gw-17\",\"phx_join\",{\"config\":{"
                        "\"broadcast\":{\"ack\":true,\"self\":false},\"presence\":{\"key\":\"\","
                        "\"enabled\":false},\"postgres_changes\":[],\"private\":true},"
                        "\"access_token\":\"tok\\\"en\"}]");
    assert_non_null(strstr(control(w), "[\"2\",\"2\",\"realtime:petrel:down:gw-17\",\"phx_join\""));
    assert_null(control(w));
    size_t wanted = 0;
    size_t done = 0;
    struct col_event_out event = reply(w, UP("gw-17"), 1, OK_REPLY);
    assert_int_equal(event.type, COL_JOIN_DONE);
    assert_int_equal(event.side, COL_UP);
    assert_string_equal(event.device->name, "gw-17");
    col_session_count(&w->s, &wanted, &done);
    assert_int_equal(wanted, 2);
    assert_int_equal(done, 1);
    // An answer to nothing, or to an old join, is none.
    assert_int_equal(reply(w, DOWN("gw-17"), 9, OK_REPLY).type, COL_IGNORED);
    assert_int_equal(reply(w, DOWN("gw-18"), 2, OK_REPLY).type, COL_IGNORED);
}

static void joins_few_at_a_time(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof(name), "d%d", i);
        assert_non_null(col_session_add(&w->s, name, w->now));
    }
    col_session_link_up(&w->s, w->now);
    assert_int_equal(joins(w), 8);
    assert_int_equal(reply(w, UP("d0"), 1, OK_REPLY).type, COL_JOIN_DONE);
    assert_int_equal(joins(w), 1);
    // Unanswered joins are given up and tried again later; the next ones get their turn.
    w->now += defaults.join_timeout_ms;
    for (int i = 0; i < 8; i++) {
        struct col_event_out event = col_session_tick(&w->s, w->now);
        assert_int_equal(event.type, COL_JOIN_REFUSED);
        assert_span_equal(event.text, "no answer to the join");
    }
    assert_int_equal(col_session_tick(&w->s, w->now).type, COL_NOTHING);
    assert_int_equal(joins(w), 8);
}

static void refused_joins_back_off_and_come_back(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *reply, *reason;
        uint64_t wait_min;
    } refusals[] = {
        {"{\"status\":\"error\",\"response\":{\"reason\":\"RealtimeRestarting: please standby\"}}",
         "RealtimeRestarting: please standby", 0},
        {"{\"status\":\"error\",\"response\":{\"reason\":\"ClientJoinRateLimitReached: Too "
         "many\"}}",
         "ClientJoinRateLimitReached: Too many", 60000},
        {"{\"status\":\"error\",\"response\":{\"reason\":\"Unauthorized: You do not have\"}}",
         "Unauthorized: You do not have", 60000},
        {"{\"status\":\"error\",\"response\":\"short\"}", "short", 0},
        {"{\"status\":\"error\",\"response\":{}}", "no reason given", 0},
        {"null", "no reason given", 0},
    };
    struct col_device *device = col_session_add(&w->s, "gw-17", w->now);
    col_session_link_up(&w->s, w->now);
    without_heartbeat(w);
    unsigned ref = 0;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        device->channel[COL_DOWN].wanted = false;
        assert_int_equal(joins(w), 1);
        struct col_event_out event = reply(w, UP("gw-17"), ++ref, refusals[i].reply);
        assert_int_equal(event.type, COL_JOIN_REFUSED);
        assert_span_equal(event.text, refusals[i].reason);
        uint64_t at = device->channel[COL_UP].at_ms;
        assert_in_range(at - w->now, refusals[i].wait_min,
                        refusals[i].wait_min + (UINT64_C(1000) << i));
        assert_null(at > w->now ? control(w) : NULL);
        assert_true(col_session_deadline(&w->s) <= at);
        w->now = at;
    }
    assert_int_equal(joins(w), 1);
    assert_int_equal(reply(w, UP("gw-17"), ++ref, OK_REPLY).type, COL_JOIN_DONE);
}

static void heartbeats_prove_the_link(void **state)
{
    struct world *w = *state;
    joined(w);
    assert_null(control(w));
    assert_int_equal(col_session_deadline(&w->s), 1000 + 25000);
    w->now += 25000;
    assert_string_equal(control(w), "[null,\"3\",\"phoenix\",\"heartbeat\",{}]");
    assert_null(control(w));
    // Other traffic proves nothing.
    (void)text(w, "[null,null,\"" UP("gw-17") "\",\"presence_diff\",{}]");
    assert_int_equal(text(w, "[null,\"3\",\"phoenix\",\"phx_reply\",{\"status\":\"ok\","
                             "\"response\":{}}]")
                         .type,
                     COL_NOTHING);
    w->now += 25000;
    assert_int_equal(col_session_tick(&w->s, w->now).type, COL_NOTHING);
    assert_string_equal(control(w), "[null,\"4\",\"phoenix\",\"heartbeat\",{}]");
    w->now += 25000;
    struct col_event_out event = col_session_tick(&w->s, w->now);
    assert_int_equal(event.type, COL_LINK_LOST);
    assert_int_equal(col_session_tick(&w->s, w->now).type, COL_NOTHING); // said once
    assert_null(control(w));
    // The pending one is forgotten with the link (supabase-js#2625).
    col_session_link_down(&w->s);
    col_session_link_up(&w->s, w->now);
    assert_int_equal(col_session_tick(&w->s, w->now).type, COL_NOTHING);
    assert_int_equal(joins(w), 2);
}

static void closed_channels_are_joined_again(void **state)
{
    struct world *w = *state;
    struct col_device *device = joined(w);
    without_heartbeat(w);
    // The close of an earlier join is no news (a double join is answered ok, then closed).
    assert_int_equal(text(w, "[\"77\",\"77\",\"" UP("gw-17") "\",\"phx_close\",{}]").type,
                     COL_IGNORED);
    assert_int_equal(device->channel[COL_UP].state, COL_JOINED);
    struct col_event_out event = text(w, "[\"1\",\"1\",\"" UP("gw-17") "\",\"phx_close\",{}]");
    assert_int_equal(event.type, COL_CHANNEL_LOST);
    assert_int_equal(device->channel[COL_DOWN].state, COL_JOINED); // the other one lives on
    w->now = device->channel[COL_UP].at_ms;
    assert_non_null(strstr(control(w), "[\"3\",\"3\",\"" UP("gw-17") "\",\"phx_join\""));
    assert_int_equal(reply(w, UP("gw-17"), 3, OK_REPLY).type, COL_JOIN_DONE);
    assert_int_equal(text(w, "[\"2\",\"2\",\"" DOWN("gw-17") "\",\"phx_error\",{\"reason\":"
                                                             "\"channel_crash\"}]")
                         .type,
                     COL_CHANNEL_LOST);
    w->now += 61000;
    assert_non_null(strstr(control(w), DOWN("gw-17")));
}

static void a_lasting_join_resets_the_backoff(void **state)
{
    struct world *w = *state;
    struct col_device *device = joined(w);
    without_heartbeat(w);
    device->channel[COL_UP].tries = 6;
    assert_int_equal(text(w, "[\"1\",\"1\",\"" UP("gw-17") "\",\"phx_close\",{}]").type,
                     COL_CHANNEL_LOST);
    assert_int_equal(device->channel[COL_UP].tries, 7); // it had lasted no time at all
    w->now = device->channel[COL_UP].at_ms;
    assert_int_equal(joins(w) > 0, true);
    unsigned ref = device->channel[COL_UP].join_ref;
    assert_int_equal(reply(w, UP("gw-17"), ref, OK_REPLY).type, COL_JOIN_DONE);
    w->now += 30000;
    char message[128];
    snprintf(message, sizeof(message), "[\"%u\",\"%u\",\"" UP("gw-17") "\",\"phx_close\",{}]", ref,
             ref);
    assert_int_equal(text(w, message).type, COL_CHANNEL_LOST);
    assert_int_equal(device->channel[COL_UP].tries, 1);
}

static struct col_event_out kind4(struct world *w, const char *topic, const char *event,
                                  const char *meta, uint8_t encoding, const char *payload)
{
    uint8_t frame[512];
    struct ptl_writer to = ptl_writer_on(frame, sizeof(frame));
    const uint8_t head[] = {4, (uint8_t)strlen(topic), (uint8_t)strlen(event),
                            (uint8_t)strlen(meta), encoding};
    ptl_write_bytes(&to, head, sizeof(head));
    ptl_write_text(&to, topic);
    ptl_write_text(&to, event);
    ptl_write_text(&to, meta);
    ptl_write_text(&to, payload);
    assert_false(to.overflow);
    // The event's span must stay valid: keep the copy of the last frame.
    static uint8_t *copy;
    free(copy);
    copy = test_exact_copy(frame, to.len);
    return col_session_recv(&w->s, (struct ptl_span){copy, to.len}, true, w->now);
}

static void batches_come_as_text_and_as_kind_4(void **state)
{
    struct world *w = *state;
    struct col_device *device = joined(w);
    struct col_event_out event = kind4(w, UP("gw-17"), "events", "", 1, "{\"v\":1}");
    assert_int_equal(event.type, COL_BATCH);
    assert_ptr_equal(event.device, device);
    assert_span_equal(event.text, "{\"v\":1}");
    event = kind4(w, UP("gw-17"), "events", "{\"id\":\"x\"}", 1, "{}");
    assert_int_equal(event.type, COL_BATCH);
    assert_span_equal(event.text, "{}");
    event =
        text(w, "[null,null,\"" UP("gw-17") "\",\"broadcast\",{\"event\":\"events\","
                                            "\"payload\":{ \"v\" : 1 },\"type\":\"broadcast\"}]");
    assert_int_equal(event.type, COL_BATCH);
    assert_span_equal(event.text, "{ \"v\" : 1 }");
}

static void nothing_else_passes_for_a_batch(void **state)
{
    struct world *w = *state;
    joined(w);
    uint64_t before = w->s.ignored;
    assert_int_equal(kind4(w, UP("gw-18"), "events", "", 1, "{}").type, COL_IGNORED);
    assert_int_equal(kind4(w, DOWN("gw-17"), "events", "", 1, "{}").type, COL_IGNORED);
    assert_int_equal(kind4(w, "petrel:up:gw-17", "events", "", 1, "{}").type, COL_IGNORED);
    assert_int_equal(kind4(w, UP("gw-17") "x", "events", "", 1, "{}").type, COL_IGNORED);
    assert_int_equal(kind4(w, UP("gw-17"), "event", "", 1, "{}").type, COL_IGNORED);
    assert_int_equal(kind4(w, UP("gw-17"), "events", "", 0, "{}").type, COL_IGNORED); // raw bytes
    static const char *const texts[] = {
        "",
        "{}",
        "[]",
        "[1,2,3]",
        "null",
        "[null,null,7,\"broadcast\",{}]",
        "[null,null,\"" UP("gw-17") "\",\"broadcast\",{\"event\":\"other\",\"payload\":{}}]",
        "[null,null,\"" UP("gw-17") "\",\"broadcast\",{\"event\":\"events\"}]",
        "[null,null,\"" UP("gw-17") "\",\"broadcast\",[]]",
        "[null,null,\"" UP("gw-17") "\",\"something\",{}]",
        "[null,null,\"" UP("gw-17") "\",\"phx_reply\",{\"status\":\"ok\"}]",
        "[\"x\",\"1x\",\"" UP("gw-17") "\",\"phx_reply\",{\"status\":\"ok\"}]",
        "[null,\"-1\",\"" UP("gw-17") "\",\"phx_reply\",{\"status\":\"ok\"}]",
        "[null,\"\",\"phoenix",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_int_equal(text(w, texts[i]).type, COL_IGNORED);
    }
    static const uint8_t binaries[][8] = {{4},
                                          {4, 9, 9, 9, 1, 0, 0, 0},
                                          {0, 1, 1, 1, 1},
                                          {2, 1, 1, 'a', 'b'},
                                          {255, 255, 255, 255, 255}};
    for (size_t i = 0; i < sizeof(binaries) / sizeof(binaries[0]); i++) {
        for (size_t len = 0; len <= 8; len++) {
            uint8_t *copy = test_exact_copy(binaries[i], len);
            assert_int_equal(
                col_session_recv(&w->s, (struct ptl_span){copy, len}, true, w->now).type,
                COL_IGNORED);
            free(copy);
        }
    }
    assert_true(w->s.ignored > before);
    // A batch before the join is answered is not ours.
    assert_non_null(col_session_add(&w->s, "gw-19", w->now));
    assert_int_equal(joins(w), 2);
    assert_int_equal(kind4(w, UP("gw-19"), "events", "", 1, "{}").type, COL_IGNORED);
}

static void receipts_go_out_on_a_joined_downlink(void **state)
{
    struct world *w = *state;
    struct col_device *device = joined(w);
    struct ptl_writer to = ptl_writer_on((uint8_t *)w->frame, sizeof(w->frame));
    assert_int_equal(col_session_receipt(&w->s, device, PTL_SPAN_OF("{}"), &to), PTL_OK);
    assert_int_equal(to.len, 7 + 1 + 1 + 26 + 7 + 2);
    assert_memory_equal(w->frame,
                        "\x03\x01\x01\x1a\x07\x00\x01"
                        "23realtime:petrel:down:gw-17receipt{}",
                        to.len);
    assert_int_equal(reply(w, DOWN("gw-17"), 3, "{\"status\":\"ok\",\"response\":{}}").type,
                     COL_RECEIPT_ACKED);
    assert_int_equal(reply(w, DOWN("gw-17"), 3, "{\"status\":\"ok\",\"response\":{}}").type,
                     COL_IGNORED); // only once
    to.len = 0;
    assert_int_equal(col_session_receipt(&w->s, device, PTL_SPAN_OF("{}"), &to), PTL_OK);
    assert_int_equal(
        reply(w, DOWN("gw-17"), 4, "{\"status\":\"error\",\"response\":\"too big\"}").type,
        COL_RECEIPT_REFUSED);
    to.len = 0;
    assert_int_equal(col_session_receipt(&w->s, device, PTL_SPAN_OF("{}"), &to), PTL_OK);
    // The server lost the channel: its answer carries no join_ref.
    struct col_event_out event =
        text(w, "[null,\"5\",\"" DOWN("gw-17") "\",\"phx_reply\",{"
                                               "\"status\":\"error\",\"response\":{\"reason\":"
                                               "\"unmatched topic\"}}]");
    assert_int_equal(event.type, COL_CHANNEL_LOST);
    assert_int_equal(col_session_receipt(&w->s, device, PTL_SPAN_OF("{}"), &to), PTL_E_AGAIN);
}

static void devices_come_and_go(void **state)
{
    struct world *w = *state;
    struct col_device *device = joined(w);
    assert_ptr_equal(col_session_add(&w->s, "gw-17", w->now), device); // there already
    assert_non_null(col_session_add(&w->s, "gw-18", w->now));
    col_session_remove(&w->s, device);
    assert_null(col_session_find(&w->s, PTL_SPAN_OF("gw-17")));
    assert_true(col_session_deadline(&w->s) <= w->now);
    assert_string_equal(control(w), "[\"1\",\"3\",\"" UP("gw-17") "\",\"phx_leave\",{}]");
    assert_string_equal(control(w), "[\"2\",\"4\",\"" DOWN("gw-17") "\",\"phx_leave\",{}]");
    assert_int_equal(w->s.device_count, 1);
    assert_int_equal(joins(w), 2);
    assert_int_equal(kind4(w, UP("gw-17"), "events", "", 1, "{}").type, COL_IGNORED);
    // With the link down there is nobody to tell.
    col_session_link_down(&w->s);
    col_session_remove(&w->s, col_session_find(&w->s, PTL_SPAN_OF("gw-18")));
    assert_int_equal(w->s.device_count, 0);
}

static void system_messages_are_passed_on(void **state)
{
    struct world *w = *state;
    joined(w);
    struct col_event_out event = text(
        w, "[\"1\",null,\"" UP(
               "gw-17") "\",\"system\",{\"message\":\"Token has expired 0 "
                        "seconds "
                        "ago\",\"status\":\"error\",\"extension\":\"system\",\"channel\":\"x\"}]");
    assert_int_equal(event.type, COL_SYSTEM);
    assert_span_equal(event.text, "Token has expired 0 seconds ago");
    assert_int_equal(text(w, "[\"1\",null,\"" UP("gw-17") "\",\"system\",{\"message\":\"fine\","
                                                          "\"status\":\"ok\"}]")
                         .type,
                     COL_NOTHING);
}

#define ON_SESSION(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_SESSION(joins_both_channels_of_every_device),
        ON_SESSION(joins_few_at_a_time),
        ON_SESSION(refused_joins_back_off_and_come_back),
        ON_SESSION(heartbeats_prove_the_link),
        ON_SESSION(closed_channels_are_joined_again),
        ON_SESSION(a_lasting_join_resets_the_backoff),
        ON_SESSION(batches_come_as_text_and_as_kind_4),
        ON_SESSION(nothing_else_passes_for_a_batch),
        ON_SESSION(receipts_go_out_on_a_joined_downlink),
        ON_SESSION(devices_come_and_go),
        ON_SESSION(system_messages_are_passed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
