// Goal: the hub answers as Realtime does and enforces who may read and write. Method: clients on a
// fake transport; frames in, the exact frames out; time is a number. (The golden test compares
// with recordings of a real server; here are the rules those do not show, and the bounds.)

#include "ptl_test.h"

#include "hub.h"

enum { DELAY_MS = 5000, EXPIRY_S = 2000 };

struct peer {
    struct ptl_rt_client *client;
    bool held, killed, wants_write;
};

static struct ptl_rt_hub *hub;
static struct ptl_rt_config config;
static struct ptl_rt_now at;

static void want_write(void *io)
{
    ((struct peer *)io)->wants_write = true;
}

static void hold_reading(void *io, bool hold)
{
    ((struct peer *)io)->held = hold;
}

static void kill_peer(void *io)
{
    ((struct peer *)io)->killed = true;
}

static int open_hub(void **state)
{
    (void)state;
    config = (struct ptl_rt_config){
        .io = {want_write, hold_reading, kill_peer},
        .secret = {.bytes = "s", .len = 1},
        .join_error_delay_ms = DELAY_MS,
        .payload_bytes_max = 1000,
        .channels_max = 3,
        .backlog_bytes_max = 4000,
        .held_bytes_max = 3000,
    };
    at = (struct ptl_rt_now){1000, 1000};
    hub = ptl_rt_hub_new(&config);
    return 0;
}

static int close_hub(void **state)
{
    (void)state;
    ptl_rt_hub_free(hub);
    return 0;
}

static void connect_as(struct peer *p, const char *role, const char *device)
{
    char *token = ptl_rt_jwt_mint(role, device, 1000, EXPIRY_S - 1000, &config.secret);
    *p = (struct peer){0};
    p->client = ptl_rt_hub_connect(hub, p, token);
    free(token);
}

static void says(struct peer *p, const char *text)
{
    ptl_rt_hub_recv(p->client, text, strlen(text), false, at);
}

static void says_bytes(struct peer *p, const char *bytes, size_t len)
{
    ptl_rt_hub_recv(p->client, bytes, len, true, at);
}

#define hears(p, text)        hears_at((p), (text), strlen(text), false, __LINE__)
#define hears_bytes(p, bytes) hears_at((p), (bytes), sizeof(bytes) - 1, true, __LINE__)
static void hears_at(struct peer *p, const char *want, size_t len, bool binary, int line)
{
    struct ptl_rt_msg *m = ptl_rt_hub_next(p->client);
    if (m == NULL || m->len != len || m->binary != binary ||
        memcmp(ptl_rt_msg_bytes(m), want, len) != 0) {
        print_error("got  %.*s\nwant %.*s\n", m != NULL ? (int)m->len : 7,
                    m != NULL ? (const char *)ptl_rt_msg_bytes(m) : "nothing", (int)len, want);
        _fail(__FILE__, line);
    }
    ptl_rt_msg_drop(m);
}

static void hears_nothing(struct peer *p)
{
    struct ptl_rt_msg *m = ptl_rt_hub_next(p->client);
    if (m != NULL) {
        print_error("unexpected: %.*s\n", (int)m->len, (const char *)ptl_rt_msg_bytes(m));
        fail();
    }
}

static void hears_anything(struct peer *p)
{
    struct ptl_rt_msg *m = ptl_rt_hub_next(p->client);
    assert_non_null(m);
    ptl_rt_msg_drop(m);
}

#define JOIN(config) "[\"1\",\"1\",\"realtime:r\",\"phx_join\",{\"config\":" config "}]"
#define JOINED                                                                                     \
    "[\"1\",\"1\",\"realtime:r\",\"phx_reply\",{\"status\":\"ok\",\"response\":"                   \
    "{\"postgres_changes\":[]}}]"
#define ACK(ref)                                                                                   \
    "[\"1\",\"" ref "\",\"realtime:r\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]"

static void own_copy_comes_before_the_ack(void **state)
{
    (void)state;
    struct peer a, b;
    connect_as(&a, "anon", NULL);
    connect_as(&b, "anon", NULL);
    says(&a, JOIN("{\"broadcast\":{\"ack\":true,\"self\":true}}"));
    says(&b, JOIN("{}"));
    hears(&a, JOINED);
    hears(&b, JOINED);
    says_bytes(&a,
               "\x03\x01\x01\x0a\x01\x00\x01"
               "12realtime:re{}",
               7 + 15);
    hears_bytes(&a, "\x04\x0a\x01\x00\x01realtime:re{}");
    hears(&a, ACK("2"));
    hears_bytes(&b, "\x04\x0a\x01\x00\x01realtime:re{}");
    // b asked for neither copies nor acks
    says_bytes(&b,
               "\x03\x01\x01\x0a\x01\x00\x00"
               "12realtime:re\x00\xff",
               7 + 15);
    hears_bytes(&a, "\x04\x0a\x01\x00\x00realtime:re\x00\xff");
    hears_nothing(&a);
    hears_nothing(&b);
}

static void text_stays_text_with_sorted_keys(void **state)
{
    (void)state;
    struct peer a;
    connect_as(&a, "anon", NULL);
    says(&a, JOIN("{\"broadcast\":{\"self\":true}}"));
    hears(&a, JOINED);
    says(&a, "[\"1\",\"2\",\"realtime:r\",\"broadcast\","
             "{\"type\":\"broadcast\",\"event\":\"e\",\"payload\":{\"z\":1,\"a\":2}}]");
    hears(&a, "[null,null,\"realtime:r\",\"broadcast\","
              "{\"event\":\"e\",\"payload\":{\"a\":2,\"z\":1},\"type\":\"broadcast\"}]");
    hears_nothing(&a);
}

static void a_payload_over_the_limit_is_an_error_or_nothing(void **state)
{
    (void)state;
    struct peer a;
    char frame[7 + 13 + 1100] = "\x03\x01\x01\x0a\x01\x00\x01"
                                "12realtime:re";
    connect_as(&a, "anon", NULL);
    says(&a, JOIN("{\"broadcast\":{\"ack\":true,\"self\":true}}"));
    hears(&a, JOINED);
    // {<<"e">>, json, Payload, %{}} takes 25 bytes and the payload
    says_bytes(&a, frame, 7 + 13 + 975);
    hears_anything(&a);
    hears(&a, ACK("2"));
    says_bytes(&a, frame, 7 + 13 + 976);
    hears(&a, "[\"1\",\"2\",\"realtime:r\",\"phx_reply\","
              "{\"status\":\"error\",\"response\":\"payload_size_exceeded\"}]");
    hears_nothing(&a);
    says(&a, JOIN("{}")); // without ack: silence
    hears_anything(&a);
    hears_anything(&a);
    says_bytes(&a, frame, sizeof frame);
    hears_nothing(&a);
}

#define UP_JOIN(device, presence)                                                                  \
    "[\"1\",\"1\",\"realtime:petrel:up:" device "\",\"phx_join\",{\"config\":{\"private\":true,"   \
    "\"broadcast\":{\"ack\":true},\"presence\":{\"enabled\":" presence ",\"key\":\"k\"}}}]"
#define DOWN_JOIN(device)                                                                          \
    "[\"2\",\"2\",\"realtime:petrel:down:" device "\",\"phx_join\",{\"config\":"                   \
    "{\"private\":true,\"broadcast\":{\"ack\":true}}}]"

static void a_device_writes_up_and_reads_down(void **state)
{
    (void)state;
    struct peer dev, svc;
    connect_as(&dev, "petrel_device", "a");
    connect_as(&svc, "service_role", NULL);
    says(&dev, UP_JOIN("a", "true"));
    hears_anything(&dev);
    hears(&dev, "[\"1\",null,\"realtime:petrel:up:a\",\"presence_state\",{}]");
    says(&svc, UP_JOIN("a", "false"));
    hears_anything(&svc);
    says(&dev, DOWN_JOIN("a"));
    hears_anything(&dev);
    says(&svc, DOWN_JOIN("a"));
    hears_anything(&svc);

    says_bytes(&dev,
               "\x03\x01\x01\x14\x01\x00\x01"
               "12realtime:petrel:up:ae{}",
               7 + 25);
    hears(&dev, "[\"1\",\"2\",\"realtime:petrel:up:a\",\"phx_reply\","
                "{\"status\":\"ok\",\"response\":{}}]");
    hears_bytes(&svc, "\x04\x14\x01\x00\x01realtime:petrel:up:ae{}");
    // the service's own broadcast on the uplink never reaches the device
    says_bytes(&svc,
               "\x03\x01\x01\x14\x01\x00\x01"
               "13realtime:petrel:up:ae{}",
               7 + 25);
    hears_anything(&svc);
    hears_nothing(&dev);
    // a receipt does; a forged one is not even answered, and nobody hears it
    says_bytes(&svc,
               "\x03\x01\x01\x16\x01\x00\x01"
               "24realtime:petrel:down:ar{}",
               7 + 27);
    hears_bytes(&dev, "\x04\x16\x01\x00\x01realtime:petrel:down:ar{}");
    hears_anything(&svc);
    says_bytes(&dev,
               "\x03\x01\x01\x16\x01\x00\x01"
               "25realtime:petrel:down:ar{}",
               7 + 27);
    hears_nothing(&dev);
    hears_nothing(&svc);
    assert_int_equal(1, ptl_rt_hub_stats(hub)->broadcasts_denied);
}

static void another_devices_channels_and_a_plain_uplink_join_are_refused(void **state)
{
    (void)state;
    static const char *const joins[] = {UP_JOIN("b", "true"), DOWN_JOIN("b"),
                                        UP_JOIN("a", "false")};
    static const char *const names[] = {"up:b", "down:b", "up:a"};
    struct peer dev;
    connect_as(&dev, "petrel_device", "a");
    for (size_t i = 0; i < 3; i++) {
        char want[300];
        says(&dev, joins[i]);
        hears_nothing(&dev);
        at.mono_ms += DELAY_MS;
        ptl_rt_hub_tick(hub, at);
        snprintf(want, sizeof want,
                 "[\"%c\",\"%c\",\"realtime:petrel:%s\",\"phx_reply\",{\"status\":\"error\","
                 "\"response\":{\"reason\":\"Unauthorized: You do not have permissions to read "
                 "from this Channel topic: petrel:%s\"}}]",
                 joins[i][2], joins[i][2], names[i], names[i]);
        hears(&dev, want);
    }
    assert_int_equal(3, ptl_rt_hub_stats(hub)->joins_refused);
}

static void a_refused_join_blocks_the_whole_socket(void **state)
{
    (void)state;
    struct peer dev, other;
    connect_as(&dev, "petrel_device", "a");
    connect_as(&other, "anon", NULL);
    says(&other, JOIN("{}"));
    says(&dev, JOIN("{}"));
    says(&dev, DOWN_JOIN("b"));
    assert_true(dev.held);
    says(&dev, "[null,\"9\",\"phoenix\",\"heartbeat\",{}]"); // was on its way
    says_bytes(&other,
               "\x03\x01\x01\x0a\x01\x00\x01"
               "12realtime:re{}",
               7 + 15);
    hears(&dev, JOINED); // was queued before
    hears_nothing(&dev);
    at.mono_ms += DELAY_MS - 1;
    assert_int_equal(at.mono_ms + 1, ptl_rt_hub_tick(hub, at));
    hears_nothing(&dev);
    at.mono_ms++;
    assert_true(ptl_rt_hub_tick(hub, at) == UINT64_MAX);
    assert_false(dev.held);
    hears_anything(&dev); // the refusal
    hears_bytes(&dev, "\x04\x0a\x01\x00\x01realtime:re{}");
    hears(&dev, "[null,\"9\",\"phoenix\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]");
    hears_nothing(&dev);
}

static void what_is_held_for_a_blocked_socket_is_bounded(void **state)
{
    (void)state;
    struct peer dev;
    connect_as(&dev, "petrel_device", "a");
    says(&dev, DOWN_JOIN("b"));
    for (int i = 0; i < 1000 && !dev.killed; i++) {
        says(&dev, "[null,\"9\",\"phoenix\",\"heartbeat\",{}]");
    }
    assert_true(dev.killed);
}

static void a_receiver_too_far_behind_is_dropped_alone(void **state)
{
    (void)state;
    struct peer fast, slow;
    connect_as(&fast, "anon", NULL);
    connect_as(&slow, "anon", NULL);
    says(&fast, JOIN("{\"broadcast\":{\"ack\":true}}"));
    says(&slow, JOIN("{}"));
    hears(&fast, JOINED);
    for (int i = 0; i < 200; i++) {
        says_bytes(&fast,
                   "\x03\x01\x01\x0a\x01\x00\x01"
                   "12realtime:re{}",
                   7 + 15);
        hears(&fast, ACK("2"));
    }
    assert_true(slow.killed);
    hears_nothing(&slow);
    assert_false(fast.killed);
    assert_int_equal(1, ptl_rt_hub_stats(hub)->killed_slow);
}

static void public_and_private_of_one_name_are_two_rooms(void **state)
{
    (void)state;
    struct peer a, b;
    connect_as(&a, "service_role", NULL);
    connect_as(&b, "anon", NULL);
    says(&a, JOIN("{\"private\":true,\"broadcast\":{\"ack\":true}}"));
    says(&b, JOIN("{}"));
    hears(&a, JOINED);
    hears(&b, JOINED);
    says_bytes(&a,
               "\x03\x01\x01\x0a\x01\x00\x01"
               "12realtime:re{}",
               7 + 15);
    hears(&a, ACK("2"));
    hears_nothing(&b);
}

static void channels_of_a_client_are_bounded(void **state)
{
    (void)state;
    struct peer a;
    char join[100];
    connect_as(&a, "anon", NULL);
    for (int i = 1; i <= 3; i++) {
        snprintf(join, sizeof join, "[\"%d\",\"%d\",\"realtime:%d\",\"phx_join\",{\"config\":{}}]",
                 i, i, i);
        says(&a, join);
        hears_anything(&a);
    }
    says(&a, "[\"4\",\"4\",\"realtime:1\",\"phx_join\",{\"config\":{}}]"); // replaces the first
    hears(&a, "[\"4\",\"4\",\"realtime:1\",\"phx_reply\","
              "{\"status\":\"ok\",\"response\":{\"postgres_changes\":[]}}]");
    hears(&a, "[\"1\",\"1\",\"realtime:1\",\"phx_close\",{}]");
    says(&a, "[\"5\",\"5\",\"realtime:5\",\"phx_join\",{\"config\":{}}]");
    at.mono_ms += DELAY_MS;
    ptl_rt_hub_tick(hub, at);
    hears(&a, "[\"5\",\"5\",\"realtime:5\",\"phx_reply\",{\"status\":\"error\",\"response\":"
              "{\"reason\":\"ChannelRateLimitReached: Too many channels\"}}]");
}

static void a_join_is_judged_by_its_own_token(void **state)
{
    (void)state;
    struct peer dev;
    char join[1200];
    connect_as(&dev, "anon", NULL);
    char *token = ptl_rt_jwt_mint("authenticated", "a", 1000, 60, &config.secret);
    snprintf(join, sizeof join,
             "[\"1\",\"1\",\"realtime:petrel:down:a\",\"phx_join\",{\"config\":{\"private\":true},"
             "\"access_token\":\"%s\"}]",
             token);
    free(token);
    says(&dev, join);
    hears(&dev, "[\"1\",\"1\",\"realtime:petrel:down:a\",\"phx_reply\","
                "{\"status\":\"ok\",\"response\":{\"postgres_changes\":[]}}]");
    at.unix_s += 91; // the join's token is over now, the connection's is not
    says(&dev, join);
    at.mono_ms += DELAY_MS;
    ptl_rt_hub_tick(hub, at);
    hears(&dev,
          "[\"1\",\"1\",\"realtime:petrel:down:a\",\"phx_reply\",{\"status\":\"error\","
          "\"response\":{\"reason\":\"InvalidJWTToken: Token has expired 31 seconds ago\"}}]");
}

static void members_of_one_presence_key_share_an_entry(void **state)
{
    (void)state;
    static const char track[] =
        "[\"1\",\"2\",\"realtime:r\",\"presence\","
        "{\"type\":\"presence\",\"event\":\"track\",\"payload\":{\"n\":1}}]";
    struct peer a, b, c;
    connect_as(&a, "anon", NULL);
    connect_as(&b, "anon", NULL);
    connect_as(&c, "anon", NULL);
    says(&a, JOIN("{\"presence\":{\"key\":\"k\"}}"));
    says(&b, JOIN("{\"presence\":{\"key\":\"k\"}}"));
    says(&a, track);
    says(&b, track);
    says(&c, JOIN("{\"presence\":{\"enabled\":true}}"));
    hears(&c, JOINED);
    struct ptl_rt_msg *m = ptl_rt_hub_next(c.client);
    assert_non_null(m);
    char text[400];
    snprintf(text, sizeof text, "%.*s", (int)m->len, (const char *)ptl_rt_msg_bytes(m));
    ptl_rt_msg_drop(m);
    assert_ptr_equal(strstr(text, "{\"k\":{\"metas\":[{\"phx_ref\":\""), strchr(text, '{'));
    assert_non_null(strstr(text, ",\"n\":1},{\"phx_ref\":\""));
    assert_non_null(strstr(text, ",\"n\":1}]}}]"));
    // who goes without a word is taken out
    ptl_rt_hub_disconnect(a.client);
    m = ptl_rt_hub_next(c.client);
    assert_non_null(m);
    snprintf(text, sizeof text, "%.*s", (int)m->len, (const char *)ptl_rt_msg_bytes(m));
    ptl_rt_msg_drop(m);
    assert_non_null(strstr(text, "{\"joins\":{},\"leaves\":{\"k\":{\"metas\":[{\"phx_ref\":\""));
}

static void presence_is_refused_where_it_may_not_be_written(void **state)
{
    (void)state;
    struct peer dev;
    connect_as(&dev, "petrel_device", "a");
    says(&dev, DOWN_JOIN("a"));
    hears_anything(&dev);
    says(&dev, "[\"2\",\"3\",\"realtime:petrel:down:a\",\"presence\","
               "{\"type\":\"presence\",\"event\":\"track\",\"payload\":{}}]");
    hears(&dev, "[\"2\",\"3\",\"realtime:petrel:down:a\",\"phx_reply\","
                "{\"status\":\"error\",\"response\":{}}]");
    hears_nothing(&dev);
}

#define test(name) cmocka_unit_test_setup_teardown(name, open_hub, close_hub)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(own_copy_comes_before_the_ack),
        test(text_stays_text_with_sorted_keys),
        test(a_payload_over_the_limit_is_an_error_or_nothing),
        test(a_device_writes_up_and_reads_down),
        test(another_devices_channels_and_a_plain_uplink_join_are_refused),
        test(a_refused_join_blocks_the_whole_socket),
        test(what_is_held_for_a_blocked_socket_is_bounded),
        test(a_receiver_too_far_behind_is_dropped_alone),
        test(public_and_private_of_one_name_are_two_rooms),
        test(channels_of_a_client_are_bounded),
        test(a_join_is_judged_by_its_own_token),
        test(members_of_one_presence_key_share_an_entry),
        test(presence_is_refused_where_it_may_not_be_written),
    };
    return cmocka_run_group_tests_name("realtime_server_hub", tests, NULL, NULL);
}
