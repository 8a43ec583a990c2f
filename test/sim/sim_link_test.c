// Goal: whatever network, server and receiver do, nothing accepted vanishes, and delivery goes on
// by itself once they stop. Method: the agent in virtual time against one fault at a time, at every
// delivery and durability level; the world's checkers judge every step and every event.
#include "sim_test.h"

#define RATE  20000u // 20 events a second
#define BYTES 120u

static struct ptl_sim_world *world_at_rate(struct level level)
{
    struct ptl_sim_config cfg = config_at(level);
    cfg.queue_bytes = 524288; // an outage of a minute fits at `ram` too
    struct ptl_sim_world *w = world_new(&cfg);
    ptl_sim_world_rate(w, RATE, BYTES);
    ptl_sim_world_run(w, 5000);
    return w;
}

static void all_stored_and_free(struct ptl_sim_world *w, uint64_t at_least)
{
    assert_all_stored(w, world_finish(w), at_least);
    world_free(w);
}

static void good_link(struct level level)
{
    struct ptl_sim_world *w = world_at_rate(level);
    ptl_sim_world_run(w, 30000);
    assert_int_equal(w->device.status.links_lost, 0);
    assert_int_equal(w->device.status.resent_batches, 0);
    assert_int_equal(w->receiver.duplicates, 0);
    all_stored_and_free(w, 600);
}

static void short_blackhole(struct level level)
{
    struct ptl_sim_world *w = world_at_rate(level);
    ptl_sim_world_blackhole(w, true);
    ptl_sim_world_run(w, 3000);
    ptl_sim_world_blackhole(w, false);
    ptl_sim_world_run(w, 20000);
    all_stored_and_free(w, 400);
}

static void long_blackhole(struct level level)
{
    struct ptl_sim_world *w = world_at_rate(level);
    ptl_sim_world_blackhole(w, true);
    ptl_sim_world_run(w, MINUTE_MS);
    assert_int_not_equal(w->device.status.breaker, PTL_BREAKER_CLOSED);
    assert_true(w->device.status.links_lost > 0);
    all_stored_and_free(w, 1000);
}

static void resets(struct level level)
{
    struct ptl_sim_world *w = world_at_rate(level);
    for (int i = 0; i < 5; i++) {
        ptl_sim_world_reset(w);
        ptl_sim_world_run(w, 4000);
    }
    assert_true(w->device.status.links_lost >= 2);
    all_stored_and_free(w, 300);
}

static void half_open(struct level level)
{
    struct ptl_sim_world *w = world_at_rate(level);
    ptl_sim_world_half_open(w);
    ptl_sim_world_run(w, MINUTE_MS);
    assert_true(w->device.status.links_lost >= 1);
    all_stored_and_free(w, 1000);
}

// Nothing to send: only the heartbeat can notice.
static void half_open_idle(struct level level)
{
    struct ptl_sim_config cfg = config_at(level);
    struct ptl_sim_world *w = world_new(&cfg);
    ptl_sim_world_run(w, 10000);
    ptl_sim_world_half_open(w);
    ptl_sim_world_run(w, 2 * MINUTE_MS);
    assert_true(w->device.status.links_lost >= 1);
    assert_true(ptl_sim_is_joined(w));
    ptl_sim_world_post(w, 10, BYTES);
    all_stored_and_free(w, 10);
}

// The socket takes nothing any more and nothing that was sent is outstanding: time alone must show
// it.
static void half_open_with_full_buffer(struct level level)
{
    struct ptl_sim_config cfg = config_at(level);
    cfg.queue_bytes = 8192;
    cfg.link.buffer_bytes = 1500;
    struct ptl_sim_world *w = world_new(&cfg);
    ptl_sim_world_half_open(w);
    ptl_sim_world_rate(w, 2 * RATE, BYTES);
    ptl_sim_world_run(w, 5000);
    ptl_sim_world_rate(w, 0, BYTES);
    ptl_sim_world_run(w, 2 * MINUTE_MS);
    assert_true(w->device.status.links_lost >= 1);
    assert_true(ptl_sim_is_joined(w));
    struct ptl_sim_verdict v = world_finish(w);
    assert_int_equal(v.stored + v.in_gaps, v.told);
    world_free(w);
}

static void slow_link(struct level level)
{
    struct ptl_sim_config cfg = config_at(level);
    cfg.link.bytes_per_s = 3000;
    cfg.link.latency_ms = 300;
    cfg.link.buffer_bytes = 4096;
    cfg.link.stall_permille = 20;
    struct ptl_sim_world *w = world_new(&cfg);
    ptl_sim_world_rate(w, 5000, BYTES);
    ptl_sim_world_run(w, 2 * MINUTE_MS);
    all_stored_and_free(w, 500);
}

// -- Server ---------------------------------------------------------------------------------------

static void server_killed(struct level level)
{
    struct ptl_sim_world *w = world_at_rate(level);
    ptl_sim_world_server_kill(w, 20000);
    ptl_sim_world_run(w, 30000);
    struct ptl_sim_verdict v = world_finish(w);
    assert_true(v.told > 400);
    assert_int_equal(v.stored + v.server_lost, v.told);
    if (at_stored(level)) {
        assert_int_equal(v.stored, v.told);
    }
    world_free(w);
}

// The server dies behind its acknowledgement, before it has passed the batch on. `accepted` costs
// exactly that batch; `stored` nothing.
static void server_killed_after_ack(struct level level)
{
    struct ptl_sim_config cfg = config_at(level);
    struct ptl_sim_world *w = world_new(&cfg);
    w->server.faults.kill_after_ack = true;
    w->server.faults.kill_down_ms = 3000;
    ptl_sim_world_post(w, 10, BYTES);
    ptl_sim_world_run(w, 10000);
    assert_int_equal(w->server.kills, 1);
    ptl_sim_world_post(w, 10, BYTES);
    struct ptl_sim_verdict v = world_finish(w);
    assert_int_equal(v.told, 20);
    if (at_stored(level)) {
        assert_int_equal(v.stored, 20);
    } else {
        assert_in_range(v.server_lost, 1, 10);
        assert_int_equal(v.stored + v.server_lost, 20);
        print_message("%s: a server killed after its ack lost %" PRIu64 " of %" PRIu64 "\n",
                      level_name(level), v.server_lost, v.told);
    }
    world_free(w);
}

static void joins_refused(struct level level)
{
    static const char *const reasons[] = {
        "Unauthorized: You do not have permissions to read from this Channel topic: x",
        "InvalidJWTToken: Token has expired 31 seconds ago",
        "ClientJoinRateLimitReached: Too many joins per second",
        "DatabaseLackOfConnections: no",
        "something never heard of",
    };
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        struct ptl_sim_world *w = world_at_rate(level);
        w->server.faults.join_reason = reasons[i];
        ptl_sim_world_reset(w);
        ptl_sim_world_run(w, 40000);
        assert_false(ptl_sim_is_joined(w));
        assert_true(w->server.refusals >= 1);
        assert_true(w->server.refusals <= 20); // refusals never loop fast
        all_stored_and_free(w, 500);
    }
}

static void upgrades_refused(struct level level)
{
    static const uint32_t statuses[] = {401, 403, 404, 429, 500, 503};
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        struct ptl_sim_world *w = world_at_rate(level);
        w->server.faults.http_status = statuses[i];
        ptl_sim_world_reset(w);
        ptl_sim_world_run(w, 40000);
        assert_false(ptl_sim_is_joined(w));
        assert_true(w->device.status.connects <= 30);
        all_stored_and_free(w, 500);
    }
}

static void heartbeats_unanswered(struct level level)
{
    struct ptl_sim_config cfg = config_at(level);
    struct ptl_sim_world *w = world_new(&cfg);
    w->server.faults.deaf = true;
    ptl_sim_world_run(w, 2 * MINUTE_MS);
    assert_true(w->device.status.links_lost >= 1);
    w->server.faults.deaf = false;
    ptl_sim_world_post(w, 5, BYTES);
    all_stored_and_free(w, 5);
}

static void acks_missing(struct level level)
{
    struct ptl_sim_world *w = world_at_rate(level);
    w->server.faults.ack_drop_permille = 200;
    w->server.faults.ack_delay_ms_max = 1500;
    ptl_sim_world_run(w, MINUTE_MS);
    all_stored_and_free(w, 1000);
}

static void server_mute(struct level level)
{
    struct ptl_sim_world *w = world_at_rate(level);
    w->server.faults.mute = true;
    ptl_sim_world_run(w, MINUTE_MS);
    if (level.delivery == PTL_ACCEPTED) {
        assert_true(w->device.status.links_lost >= 1);
    }
    all_stored_and_free(w, 1000);
}

static void server_denies(struct level level)
{
    struct ptl_sim_world *w = world_at_rate(level);
    w->server.faults.deny = true;
    ptl_sim_world_run(w, MINUTE_MS);
    assert_true(w->device.status.links_lost >= 1);
    all_stored_and_free(w, 1000);
}

static void channels_closed(struct level level)
{
    static const char *const words[] = {NULL, "Token has expired 0 seconds ago",
                                        "Too many messages per second",
                                        "Client presence rate limit exceeded"};
    struct ptl_sim_world *w = world_at_rate(level);
    for (uint32_t i = 0; i < 16; i++) {
        ptl_sim_server_channel_close(&w->server, i % 2 == 0, words[i / 4], i / 2 % 2 == 0,
                                     w->now_ms);
        ptl_sim_world_run(w, 20000);
    }
    all_stored_and_free(w, 1000);
}

static void sockets_closed(struct level level)
{
    static const uint32_t codes[] = {1000, 1001, 1002, 1006, 1009, 1011, 1012, 4999};
    struct ptl_sim_world *w = world_at_rate(level);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        ptl_sim_server_close(&w->server, codes[i], w->now_ms);
        ptl_sim_world_run(w, 10000);
    }
    all_stored_and_free(w, 500);
}

static void strange_frames(struct level level)
{
    struct ptl_sim_world *w = world_at_rate(level);
    w->server.faults.junk_permille = 500;
    ptl_sim_world_run(w, MINUTE_MS);
    assert_true(w->device.status.ignored > 0);
    assert_int_equal(w->device.status.links_lost, 0);
    all_stored_and_free(w, 1000);
}

// -- Receiver -------------------------------------------------------------------------------------

static void receiver_killed(struct level level)
{
    struct ptl_sim_world *w = world_at_rate(level);
    for (int i = 0; i < 3; i++) {
        ptl_sim_world_receiver_kill(w, 7000);
        ptl_sim_world_run(w, 25000);
    }
    struct ptl_sim_verdict v = world_finish(w);
    assert_true(v.told > 1000);
    assert_int_equal(v.stored + v.server_lost, v.told);
    if (at_stored(level)) {
        assert_int_equal(v.stored, v.told);
    } else {
        assert_true(v.server_lost > 0); // what `accepted` says it may cost
    }
    world_free(w);
}

static void receipts_lost(struct level level)
{
    struct ptl_sim_world *w = world_at_rate(level);
    w->receiver.faults.receipt_drop_permille = 500;
    ptl_sim_world_run(w, MINUTE_MS);
    assert_true(w->receiver.receipts_lost > 5);
    all_stored_and_free(w, 1000);
}

static void receipts_late(struct level level)
{
    struct ptl_sim_world *w = world_at_rate(level);
    w->receiver.faults.receipt_delay_ms_max = 8000; // and out of order
    ptl_sim_world_run(w, MINUTE_MS);
    all_stored_and_free(w, 1000);
}

// The last receipt is lost and nothing newer is sent: the batch goes again by its own timer.
static void last_receipt_lost(struct level level)
{
    struct ptl_sim_config cfg = config_at(level);
    struct ptl_sim_world *w = world_new(&cfg);
    w->receiver.faults.receipts_to_lose = 1;
    ptl_sim_world_post(w, 5, BYTES);
    ptl_sim_world_run(w, 5000);
    assert_int_equal(w->device.status.delivered, 0);
    ptl_sim_world_run(w, 15000);
    assert_int_equal(w->device.status.delivered, 5);
    assert_true(w->receiver.duplicates > 0);
    all_stored_and_free(w, 5);
}

// A batch is acknowledged and reaches nobody, and nothing newer is sent.
static void message_lost_after_ack(struct level level)
{
    struct ptl_sim_config cfg = config_at(level);
    struct ptl_sim_world *w = world_new(&cfg);
    w->server.faults.starve = true;
    ptl_sim_world_post(w, 5, BYTES);
    ptl_sim_world_run(w, 5000);
    w->server.faults.starve = false;
    ptl_sim_world_run(w, 15000);
    assert_int_equal(w->device.status.delivered, 5);
    all_stored_and_free(w, 5);
}

// Receipts stay away for longer than there are slots to remember unsettled batches.
static void receipts_away(struct level level)
{
    struct ptl_sim_config cfg = config_at(level);
    cfg.queue_bytes = 524288;
    cfg.flight_count = 6;
    struct ptl_sim_world *w = world_new(&cfg);
    w->receiver.faults.receipt_drop_permille = 1000;
    ptl_sim_world_rate(w, RATE, BYTES);
    ptl_sim_world_run(w, MINUTE_MS);
    all_stored_and_free(w, 1000);
}

// Many holes at the receiver, most below what RAM holds: whoever asks for the next receipt has to
// send the oldest, since a receipt names 8 ranges only.
static void receipts_away_and_many_holes(struct level level)
{
    for (uint32_t i = 0; i < 10; i++) {
        struct ptl_sim_config cfg = config_at(level);
        cfg.seed = SEED + i;
        cfg.queue_bytes = 8192;
        cfg.batch.events_max = 1;
        struct ptl_sim_world *w = world_new(&cfg);
        w->receiver.faults.receipt_drop_permille = 1000;
        ptl_sim_world_rate(w, RATE / 4, BYTES);
        for (uint32_t k = 0; k < 60; k++) {
            w->server.faults.starve = k % 2 == 0;
            ptl_sim_world_run(w, 300 + 10 * i);
            if (k == 30) {
                ptl_sim_world_reset(w);
            }
        }
        ptl_sim_world_rate(w, 0, BYTES);
        ptl_sim_world_run(w, 5 * MINUTE_MS);
        all_stored_and_free(w, 50);
    }
}

static void foreign_receipts(struct level level)
{
    struct ptl_sim_world *w = world_at_rate(level);
    w->receiver.faults.foreign = true;
    w->receiver.faults.receipt_drop_permille = 300;
    ptl_sim_world_run(w, MINUTE_MS);
    assert_true(w->device.status.receipts_foreign > 0);
    all_stored_and_free(w, 1000);
}

// -- Time -----------------------------------------------------------------------------------------

static void clock_jumps(struct level level)
{
    static const int64_t jumps_ms[] = {3600000, -7200000, INT64_C(86400000) * 3650, -1000,
                                       -INT64_C(1795543000000)};
    struct ptl_sim_world *w = world_at_rate(level);
    for (size_t i = 0; i < sizeof(jumps_ms) / sizeof(jumps_ms[0]); i++) {
        ptl_sim_world_clock_jump(w, jumps_ms[i], i % 2 == 0 ? 50 : PTL_TIME_UNKNOWN);
        ptl_sim_world_run(w, 5000);
    }
    assert_int_equal(w->device.status.links_lost, 0);
    all_stored_and_free(w, 500);
}

// Nothing to do: the agent sleeps. A heartbeat each 25 s is two wake-ups; no polling beside it.
static void idle_sleeps(struct level level)
{
    struct ptl_sim_config cfg = config_at(level);
    struct ptl_sim_world *w = world_new(&cfg);
    ptl_sim_world_post(w, 20, BYTES);
    ptl_sim_world_run(w, MINUTE_MS);
    assert_int_equal(w->device.status.held, 0);
    uint64_t polls = w->polls;
    ptl_sim_world_run(w, 10 * MINUTE_MS);
    assert_true(w->polls - polls <= 10 * 10);
    all_stored_and_free(w, 20);
}

static void strict_order(struct level level)
{
    struct ptl_sim_config cfg = config_at(level);
    cfg.queue_bytes = 524288;
    cfg.batch.strict_order = true;
    struct ptl_sim_world *w = world_new(&cfg);
    ptl_sim_world_rate(w, RATE, BYTES);
    for (int i = 0; i < 3; i++) {
        ptl_sim_world_run(w, 10000);
        ptl_sim_world_blackhole(w, true);
        ptl_sim_world_run(w, 30000);
        ptl_sim_world_blackhole(w, false);
    }
    all_stored_and_free(w, 1000);
}

static void message_budget(struct level level)
{
    struct ptl_sim_config cfg = config_at(level);
    cfg.queue_bytes = 524288;
    cfg.batch.messages_per_1000_s = 1000;
    cfg.batch.max_delay_ms = 1000;
    struct ptl_sim_world *w = world_new(&cfg);
    ptl_sim_world_rate(w, 5000, BYTES);
    ptl_sim_world_run(w, 20000);
    ptl_sim_world_blackhole(w, true);
    ptl_sim_world_run(w, 30000);
    ptl_sim_world_blackhole(w, false);
    ptl_sim_world_run(w, 2 * MINUTE_MS);
    uint64_t batches = w->server.batches;
    assert_true(batches <= 10 + w->now_ms / 1000);
    all_stored_and_free(w, 500);
}

static void status_events(struct level level)
{
    struct ptl_sim_config cfg = config_at(level);
    cfg.queue_bytes = 524288;
    cfg.status_ms = 5000;
    struct ptl_sim_world *w = world_new(&cfg);
    ptl_sim_world_rate(w, RATE, BYTES);
    ptl_sim_world_run(w, 20000);
    ptl_sim_world_blackhole(w, true);
    ptl_sim_world_run(w, 30000);
    all_stored_and_free(w, 500);
}

// The same seed gives the same run, byte for byte.
static uint32_t trace_crc(uint64_t seed)
{
    struct ptl_sim_config cfg = ptl_sim_config_for(PTL_STORED, PTL_DURABLE_SPILL, seed);
    cfg.link.jitter_ms = 40;
    char *text = NULL;
    size_t len = 0;
    struct ptl_sim_world *w = malloc(sizeof(*w));
    assert_non_null(w);
    ptl_sim_world_init(w, &cfg);
    w->trace = open_memstream(&text, &len);
    ptl_sim_world_start(w);
    ptl_sim_world_rate(w, RATE, BYTES);
    ptl_sim_world_run(w, 10000);
    ptl_sim_world_blackhole(w, true);
    ptl_sim_world_run(w, 20000);
    world_finish(w);
    fclose(w->trace);
    uint32_t crc = ptl_crc32c(0, text, len);
    free(text);
    world_free(w);
    return crc;
}

static void repeats_from_its_seed(void **state)
{
    (void)state;
    uint32_t first = trace_crc(7);
    assert_int_equal(first, trace_crc(7));
    assert_int_not_equal(first, trace_crc(8));
}

#define AT(name, want)                                                                             \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        at_levels(name, want);                                                                     \
    }
AT(good_link, NULL)
AT(short_blackhole, NULL)
AT(long_blackhole, NULL)
AT(resets, NULL)
AT(half_open, NULL)
AT(half_open_idle, NULL)
AT(half_open_with_full_buffer, NULL)
AT(slow_link, NULL)
AT(server_killed, NULL)
AT(server_killed_after_ack, NULL)
AT(joins_refused, NULL)
AT(upgrades_refused, NULL)
AT(heartbeats_unanswered, NULL)
AT(acks_missing, NULL)
AT(server_mute, NULL)
AT(server_denies, NULL)
AT(channels_closed, NULL)
AT(sockets_closed, NULL)
AT(strange_frames, NULL)
AT(receiver_killed, NULL)
AT(receipts_lost, at_stored)
AT(receipts_late, at_stored)
AT(last_receipt_lost, at_stored)
AT(message_lost_after_ack, at_stored)
AT(receipts_away, at_stored)
AT(receipts_away_and_many_holes, at_stored_with_medium)
AT(foreign_receipts, at_stored)
AT(clock_jumps, NULL)
AT(idle_sleeps, NULL)
AT(strict_order, NULL)
AT(message_budget, NULL)
AT(status_events, NULL)

// With an argument: only the tests that match it (with * and ?).
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_link),
        cmocka_unit_test(test_short_blackhole),
        cmocka_unit_test(test_long_blackhole),
        cmocka_unit_test(test_resets),
        cmocka_unit_test(test_half_open),
        cmocka_unit_test(test_half_open_idle),
        cmocka_unit_test(test_half_open_with_full_buffer),
        cmocka_unit_test(test_slow_link),
        cmocka_unit_test(test_server_killed),
        cmocka_unit_test(test_server_killed_after_ack),
        cmocka_unit_test(test_joins_refused),
        cmocka_unit_test(test_upgrades_refused),
        cmocka_unit_test(test_heartbeats_unanswered),
        cmocka_unit_test(test_acks_missing),
        cmocka_unit_test(test_server_mute),
        cmocka_unit_test(test_server_denies),
        cmocka_unit_test(test_channels_closed),
        cmocka_unit_test(test_sockets_closed),
        cmocka_unit_test(test_strange_frames),
        cmocka_unit_test(test_receiver_killed),
        cmocka_unit_test(test_receipts_lost),
        cmocka_unit_test(test_receipts_late),
        cmocka_unit_test(test_last_receipt_lost),
        cmocka_unit_test(test_message_lost_after_ack),
        cmocka_unit_test(test_receipts_away),
        cmocka_unit_test(test_receipts_away_and_many_holes),
        cmocka_unit_test(test_foreign_receipts),
        cmocka_unit_test(test_clock_jumps),
        cmocka_unit_test(test_idle_sleeps),
        cmocka_unit_test(test_strict_order),
        cmocka_unit_test(test_message_budget),
        cmocka_unit_test(test_status_events),
        cmocka_unit_test(repeats_from_its_seed),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
