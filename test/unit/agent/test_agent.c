// Goal: what the agent does with records, acknowledgements and receipts, seen from outside.
// Method: a fake adapter and a clock moved by hand; no medium (the journal's part is tested with
// the simulator). After every step the conservation law is checked from the status.
#include "ptl_test.h"

#include "fake_adapter.h"
#include "ptl_agent.h"

#define EPOCH UINT64_C(0x5f0c8a3d9e7b1c24)

struct rig {
    struct ptl_agent agent;
    struct fake_adapter fake;
    struct ptl_flight flights[16];
    uint64_t queue[8192 / 8];
    uint8_t record[1024 + PTL_AGENT_RECORD_SLACK];
    uint8_t message[8192];
    size_t message_len;
    struct ptl_now now;
};

static struct ptl_agent_config config(void)
{
    return (struct ptl_agent_config){
        .device = "gw-17",
        .boot = "0b6f",
        .receipt_from = "main",
        .epoch = EPOCH,
        .default_source = PTL_SPAN_OF("test"),
        .version = PTL_SPAN_OF("0.0.1"),
        .limits = {.event_bytes_max = 1024, .depth_max = 8},
        .durability = PTL_DURABLE_RAM,
        .batch = {.max_delay_ms = 100,
                  .bytes_max = 4096,
                  .events_max = 10,
                  .window_max = 2,
                  .burst = 10},
        .breaker = {.backoff_base_ms = 1000,
                    .backoff_cap_ms = 60000,
                    .slow_ms = 60000,
                    .reset_ms = 30000,
                    .fleet_size = 1,
                    .joins_per_s = 100,
                    .ack_timeouts_max = 3},
        .high_water_percent = 75,
        .low_water_percent = 25,
        .commit_ms = 1000,
        .spill_ms_max = 500,
        .ack_timeout_ms = 5000,
        .receipt_timeout_ms = 10000,
        .resend_ms = 2000,
    };
}

static void rig_init(struct rig *r, const struct ptl_agent_config *cfg)
{
    memset(r, 0, sizeof(*r));
    r->now = (struct ptl_now){.mono_ms = 1000, .unix_err_ms = PTL_TIME_UNKNOWN};
    const struct ptl_agent_memory memory = {
        .queue = (uint8_t *)r->queue,
        .queue_bytes = sizeof(r->queue),
        .record = r->record,
        .record_bytes = sizeof(r->record),
        .flights = r->flights,
        .flight_count = 16,
    };
    const struct ptl_adapter adapter = fake_adapter_on(&r->fake);
    assert_int_equal(PTL_OK, ptl_agent_init(&r->agent, cfg, &memory, NULL, &adapter, 7, &r->now));
}

static struct ptl_agent_status status(struct rig *r)
{
    struct ptl_agent_status s;
    ptl_agent_status_get(&r->agent, &r->now, &s);
    assert_int_equal(s.emitted, s.delivered + s.held + s.lost + s.uncertain);
    return s;
}

static enum ptl_want poll(struct rig *r)
{
    enum ptl_want want = ptl_agent_poll(&r->agent, &r->now);
    (void)status(r);
    return want;
}

static enum ptl_status post_of(struct rig *r, const char *type, enum ptl_severity severity)
{
    const struct ptl_event event = {
        .event_type = test_span(type),
        .data = PTL_SPAN_OF("{\"n\":1}"),
        .severity = severity,
    };
    uint64_t seq;
    return ptl_agent_post(&r->agent, &event, &r->now, &seq);
}

static void post(struct rig *r, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(PTL_OK, post_of(r, "t", PTL_INFO));
    }
}

static void say(struct rig *r, struct ptl_adapter_event event)
{
    r->fake.next = event;
    ptl_agent_recv(&r->agent, PTL_SPAN_OF("x"), false, &r->now);
    (void)status(r);
}

static void ack(struct rig *r, uint32_t ref)
{
    say(r, (struct ptl_adapter_event){.type = PTL_ADAPTER_ACKED, .ref = ref});
}

static void receipt(struct rig *r, const char *text)
{
    say(r, (struct ptl_adapter_event){.type = PTL_ADAPTER_RECEIPT, .text = test_span(text)});
}

static void join(struct rig *r)
{
    assert_int_equal(PTL_WANT_CONNECT, poll(r));
    ptl_agent_link_up(&r->agent, &r->now);
    say(r, (struct ptl_adapter_event){.type = PTL_ADAPTER_READY});
}

static void lose(struct rig *r)
{
    const struct ptl_link_end end = {.kind = PTL_CAUSE_LOCAL, .text = PTL_SPAN_OF("reset")};
    ptl_agent_link_down(&r->agent, &end, &r->now);
    (void)status(r);
}

// Waits for the delay to pass and takes one message, which must be there; returns its ref.
static uint32_t take(struct rig *r)
{
    for (int i = 0; i < 5 && poll(r) == PTL_WANT_IDLE; i++) {
        r->now.mono_ms = ptl_agent_deadline(&r->agent);
    }
    bool binary;
    assert_int_equal(PTL_OK, ptl_agent_write(&r->agent, &r->now, r->message, sizeof(r->message) - 1,
                                             &r->message_len, &binary));
    assert_true(binary);
    r->message[r->message_len] = '\0';
    return r->fake.ref_last;
}

static bool message_has(const struct rig *r, const char *text)
{
    return strstr((const char *)r->message, text) != NULL;
}

static void test_an_acknowledged_batch_is_delivered(void **state)
{
    (void)state;
    struct rig r;
    const struct ptl_agent_config cfg = config();
    rig_init(&r, &cfg);
    join(&r);
    post(&r, 3);
    assert_int_equal(PTL_WANT_IDLE, poll(&r)); // the delay gathers more
    uint32_t ref = take(&r);
    assert_int_equal(1100, r.now.mono_ms);
    assert_true(message_has(&r, "\"epoch\":\"5f0c8a3d9e7b1c24\""));
    assert_true(message_has(&r, "\"floor\":0,"));
    assert_true(message_has(&r, "\"seq\":0,"));
    assert_true(message_has(&r, "\"seq\":2,"));
    assert_int_equal(3, status(&r).in_flight);
    assert_int_equal(0, status(&r).delivered);
    ack(&r, ref);
    assert_int_equal(3, status(&r).delivered);
    assert_int_equal(0, status(&r).held);
}

static void test_a_batch_without_answer_goes_out_again(void **state)
{
    (void)state;
    struct rig r;
    const struct ptl_agent_config cfg = config();
    rig_init(&r, &cfg);
    join(&r);
    post(&r, 2);
    uint32_t ref = take(&r);
    uint64_t sent_ms = r.now.mono_ms;
    uint32_t again = take(&r);
    assert_int_equal(sent_ms + cfg.ack_timeout_ms, r.now.mono_ms);
    assert_true(again != ref);
    assert_true(message_has(&r, "\"seq\":0,"));
    ack(&r, ref); // too late: the record is still held
    assert_int_equal(1, status(&r).late_acks);
    assert_int_equal(2, status(&r).held);
    ack(&r, again);
    assert_int_equal(2, status(&r).delivered);
}

static void test_three_ack_timeouts_open_the_breaker(void **state)
{
    (void)state;
    struct rig r;
    const struct ptl_agent_config cfg = config();
    rig_init(&r, &cfg);
    join(&r);
    post(&r, 1);
    for (int i = 0; i < 3; i++) {
        (void)take(&r);
    }
    enum ptl_want want = poll(&r);
    for (int i = 0; i < 5 && want == PTL_WANT_IDLE; i++) {
        r.now.mono_ms = ptl_agent_deadline(&r.agent);
        want = poll(&r);
    }
    assert_int_equal(PTL_WANT_CLOSE, want);
    lose(&r);
    struct ptl_agent_status s = status(&r);
    assert_int_equal(PTL_BREAKER_OPEN, s.breaker);
    assert_string_equal("acknowledgements stay away", s.cause);
    assert_int_equal(1, s.held);
    assert_in_range(s.retry_at_ms, r.now.mono_ms, r.now.mono_ms + 2 * cfg.breaker.backoff_base_ms);
}

static void test_a_lost_link_sends_again_what_was_in_flight(void **state)
{
    (void)state;
    struct rig r;
    const struct ptl_agent_config cfg = config();
    rig_init(&r, &cfg);
    join(&r);
    post(&r, 2);
    uint32_t ref = take(&r);
    lose(&r);
    while (poll(&r) != PTL_WANT_CONNECT) {
        r.now.mono_ms = ptl_agent_deadline(&r.agent);
    }
    ptl_agent_link_up(&r.agent, &r.now);
    say(&r, (struct ptl_adapter_event){.type = PTL_ADAPTER_READY});
    assert_int_equal(PTL_BREAKER_HALF_OPEN, status(&r).breaker);
    uint32_t again = take(&r);
    assert_true(again != ref);
    assert_true(message_has(&r, "\"seq\":0,"));
    assert_true(message_has(&r, "\"seq\":1,"));
    ack(&r, again);
    assert_int_equal(PTL_BREAKER_CLOSED, status(&r).breaker);
    assert_int_equal(2, status(&r).delivered);
}

static void test_stored_waits_for_the_receipt(void **state)
{
    (void)state;
    struct rig r;
    struct ptl_agent_config cfg = config();
    cfg.delivery = PTL_STORED;
    rig_init(&r, &cfg);
    join(&r);
    post(&r, 3);
    ack(&r, take(&r));
    assert_int_equal(3, status(&r).held);
    receipt(&r, "{\"source\":\"other\",\"epochs\":[{\"epoch\":\"5f0c8a3d9e7b1c24\",\"next\":3}]}");
    assert_int_equal(1, status(&r).receipts_foreign);
    receipt(&r, "{\"source\":\"main\",\"epochs\":[{\"epoch\":\"5f0c8a3d9e7b1c25\",\"next\":3}]}");
    receipt(&r, "{\"source\":\"main\",\"epochs\":[{\"epoch\":\"5f0c8a3d9e7b1c24\",\"next\":2}]}");
    assert_int_equal(3, status(&r).held); // part of a batch: the rest would be torn from it
    receipt(&r, "{\"source\":\"main\",\"epochs\":[{\"epoch\":\"5f0c8a3d9e7b1c24\",\"next\":3}]}");
    assert_int_equal(3, status(&r).delivered);
}

static void test_a_receipt_may_come_before_the_ack(void **state)
{
    (void)state;
    struct rig r;
    struct ptl_agent_config cfg = config();
    cfg.delivery = PTL_STORED;
    rig_init(&r, &cfg);
    join(&r);
    post(&r, 1);
    uint32_t ref = take(&r);
    receipt(&r, "{\"source\":\"main\",\"epochs\":[{\"epoch\":\"5f0c8a3d9e7b1c24\",\"next\":1}]}");
    ack(&r, ref);
    assert_int_equal(1, status(&r).delivered);
}

static void test_a_missing_receipt_sends_again(void **state)
{
    (void)state;
    struct rig r;
    struct ptl_agent_config cfg = config();
    cfg.delivery = PTL_STORED;
    rig_init(&r, &cfg);
    join(&r);
    post(&r, 1);
    ack(&r, take(&r));
    uint64_t acked_ms = r.now.mono_ms;
    ack(&r, take(&r));
    assert_int_equal(acked_ms + cfg.receipt_timeout_ms, r.now.mono_ms);
    assert_true(message_has(&r, "\"seq\":0,"));
    assert_int_equal(1, status(&r).resent_batches);
}

static void test_a_receipt_for_later_batches_hurries_the_earlier(void **state)
{
    (void)state;
    struct rig r;
    struct ptl_agent_config cfg = config();
    cfg.delivery = PTL_STORED;
    rig_init(&r, &cfg);
    join(&r);
    post(&r, 1);
    ack(&r, take(&r));
    post(&r, 1);
    ack(&r, take(&r));
    uint64_t covered_ms = r.now.mono_ms;
    receipt(&r, "{\"source\":\"main\",\"epochs\":[{\"epoch\":\"5f0c8a3d9e7b1c24\",\"next\":0,"
                "\"have\":[[1,2]]}]}");
    assert_int_equal(1, status(&r).delivered);
    (void)take(&r);
    assert_int_equal(covered_ms + cfg.resend_ms, r.now.mono_ms);
    assert_true(message_has(&r, "\"seq\":0,"));
    assert_false(message_has(&r, "\"seq\":1,"));
}

static void test_a_refused_seq_is_never_taken_for_stored(void **state)
{
    (void)state;
    struct rig r;
    struct ptl_agent_config cfg = config();
    cfg.delivery = PTL_STORED;
    rig_init(&r, &cfg);
    join(&r);
    post(&r, 2);
    ack(&r, take(&r));
    receipt(&r, "{\"source\":\"main\",\"epochs\":[{\"epoch\":\"5f0c8a3d9e7b1c24\",\"next\":2,"
                "\"refused\":[1]}]}");
    assert_int_equal(2, status(&r).held);
}

static void test_malformed_receipts_change_nothing(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"source\":\"main\"}",
        "{\"source\":\"main\",\"epochs\":{}}",
        "{\"source\":\"main\",\"epochs\":[1]}",
        "{\"source\":\"main\",\"epochs\":[{\"epoch\":\"5F0C8A3D9E7B1C24\",\"next\":1}]}",
        "{\"source\":\"main\",\"epochs\":[{\"epoch\":\"5f0c8a3d9e7b1c24\",\"next\":-1}]}",
        "{\"source\":\"main\",\"epochs\":[{\"epoch\":\"5f0c8a3d9e7b1c24\",\"next\":1e3}]}",
        "{\"source\":\"main\",\"epochs\":[{\"epoch\":\"5f0c8a3d9e7b1c24\",\"next\":1,"
        "\"have\":[[3,2]]}]}",
        "{\"source\":\"main\",\"epochs\":[{\"epoch\":\"5f0c8a3d9e7b1c24\",\"next\":1,"
        "\"have\":[[1,2],[1,3]]}]}",
        "{\"source\":\"main\",\"epochs\":[{\"epoch\":\"5f0c8a3d9e7b1c24\",\"next\":1},{},{},{},{}]"
        "}",
    };
    struct rig r;
    struct ptl_agent_config cfg = config();
    cfg.delivery = PTL_STORED;
    rig_init(&r, &cfg);
    join(&r);
    post(&r, 1);
    ack(&r, take(&r));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        receipt(&r, bad[i]);
        assert_int_equal(i + 1, status(&r).receipts_foreign);
        assert_int_equal(1, status(&r).held);
    }
}

static void test_a_refused_batch_is_split_until_the_poison_is_alone(void **state)
{
    (void)state;
    struct rig r;
    const struct ptl_agent_config cfg = config();
    rig_init(&r, &cfg);
    join(&r);
    post(&r, 2);
    assert_int_equal(PTL_OK, post_of(&r, "poison", PTL_INFO));
    post(&r, 5);
    bool gap_seen = false;
    for (int i = 0; i < 40 && status(&r).delivered < 7; i++) {
        uint32_t ref = take(&r);
        gap_seen = gap_seen || message_has(&r, "\"first\":2,\"last\":2,\"reason\":\"refused\"");
        if (message_has(&r, "poison")) {
            say(&r, (struct ptl_adapter_event){.type = PTL_ADAPTER_REFUSED,
                                               .ref = ref,
                                               .reaction = PTL_REACT_SHRINK_BATCH,
                                               .text = PTL_SPAN_OF("payload_size_exceeded")});
        } else {
            ack(&r, ref);
        }
    }
    for (int i = 0; i < 3 && !gap_seen; i++) { // the gap may have to go alone
        ack(&r, take(&r));
        gap_seen = message_has(&r, "\"first\":2,\"last\":2,\"reason\":\"refused\"");
    }
    assert_true(gap_seen);
    struct ptl_agent_status s = status(&r);
    assert_int_equal(7, s.delivered);
    assert_int_equal(1, s.lost);
    assert_int_equal(0, s.gap_count);
}

static void test_an_error_that_judges_no_content_is_no_verdict(void **state)
{
    (void)state;
    struct rig r;
    const struct ptl_agent_config cfg = config();
    rig_init(&r, &cfg);
    join(&r);
    post(&r, 1);
    uint32_t ref = take(&r);
    uint64_t sent_ms = r.now.mono_ms;
    say(&r, (struct ptl_adapter_event){.type = PTL_ADAPTER_REFUSED,
                                       .ref = ref,
                                       .reaction = PTL_REACT_RETRY,
                                       .text = PTL_SPAN_OF("internal error")});
    assert_int_equal(0, status(&r).lost);
    ack(&r, take(&r));
    assert_int_equal(sent_ms + cfg.ack_timeout_ms, r.now.mono_ms); // and no fast loop
    assert_int_equal(1, status(&r).delivered);
}

static void test_ram_gives_up_the_oldest_only_while_the_link_is_bad(void **state)
{
    (void)state;
    struct rig r;
    const struct ptl_agent_config cfg = config();
    rig_init(&r, &cfg);
    uint32_t fit = 0;
    while (post_of(&r, "t", PTL_INFO) == PTL_OK) {
        fit++;
    }
    assert_in_range(fit, 50, 200);
    assert_int_equal(0, status(&r).lost); // backpressure, the first connect is still to come
    assert_true(ptl_agent_wants_pause(&r.agent));
    assert_int_equal(PTL_WANT_CONNECT, poll(&r));
    lose(&r);
    post(&r, 30);
    struct ptl_agent_status s = status(&r);
    assert_in_range(s.lost, 30, 32);  // the ring may need a little more at its end
    assert_int_equal(1, s.gap_count); // touching gaps are one
    char gap[80];
    (void)snprintf(gap, sizeof(gap),
                   "\"first\":0,\"last\":%u,\"reason\":\"queue_full\",\"kind\":\"lost\"",
                   (unsigned)s.lost - 1);
    while (poll(&r) != PTL_WANT_CONNECT) {
        r.now.mono_ms = ptl_agent_deadline(&r.agent);
    }
    ptl_agent_link_up(&r.agent, &r.now);
    say(&r, (struct ptl_adapter_event){.type = PTL_ADAPTER_READY});
    ack(&r, take(&r));
    assert_true(message_has(&r, "\"gaps\":[{"));
    assert_true(message_has(&r, gap));
    assert_true(message_has(&r, "\"floor\":0,")); // it names what the gap names
    assert_int_equal(0, status(&r).gap_count);
}

static void test_drain_sends_everything_and_says_the_end(void **state)
{
    (void)state;
    struct rig r;
    const struct ptl_agent_config cfg = config();
    rig_init(&r, &cfg);
    join(&r);
    post(&r, 2);
    ptl_agent_drain(&r.agent, r.now.mono_ms + 5000, &r.now);
    assert_int_equal(PTL_E_AGAIN, post_of(&r, "t", PTL_INFO));
    uint64_t asked_ms = r.now.mono_ms;
    ack(&r, take(&r));
    assert_int_equal(asked_ms, r.now.mono_ms); // no use in waiting for more
    assert_int_equal(PTL_WANT_SEND, poll(&r));
    ack(&r, take(&r));
    assert_true(message_has(&r, "\"events\":[]"));
    assert_true(message_has(&r, "\"next\":2,\"how\":\"closed\",\"at_most\":0"));
    assert_true(message_has(&r, "\"floor\":2,"));
    assert_int_equal(PTL_WANT_EXIT, poll(&r));
}

static void test_drain_without_a_link_ends_at_its_deadline(void **state)
{
    (void)state;
    struct rig r;
    const struct ptl_agent_config cfg = config();
    rig_init(&r, &cfg);
    post(&r, 2);
    ptl_agent_drain(&r.agent, r.now.mono_ms + 5000, &r.now);
    for (int i = 0; i < 50; i++) {
        enum ptl_want want = poll(&r);
        if (want == PTL_WANT_EXIT) {
            break;
        }
        if (want == PTL_WANT_CONNECT) {
            lose(&r);
        } else {
            r.now.mono_ms = ptl_agent_deadline(&r.agent);
        }
    }
    assert_int_equal(PTL_WANT_EXIT, poll(&r));
    assert_int_equal(6000, r.now.mono_ms);
    assert_int_equal(2, status(&r).held);
}

static void test_a_second_drain_only_brings_the_end_nearer(void **state)
{
    (void)state;
    struct rig r;
    const struct ptl_agent_config cfg = config();
    rig_init(&r, &cfg);
    join(&r);
    post(&r, 2);
    ptl_agent_drain(&r.agent, r.now.mono_ms + 60000, &r.now);
    ptl_agent_drain(&r.agent, r.now.mono_ms + 90000, &r.now);
    ptl_agent_drain(&r.agent, r.now.mono_ms, &r.now);
    assert_int_equal(PTL_WANT_EXIT, poll(&r)); // nothing was sent, and there is no more time
    assert_int_equal(2, status(&r).held);
}

static void test_a_critical_event_goes_at_once(void **state)
{
    (void)state;
    struct rig r;
    const struct ptl_agent_config cfg = config();
    rig_init(&r, &cfg);
    join(&r);
    assert_int_equal(PTL_OK, post_of(&r, "t", PTL_CRITICAL));
    assert_int_equal(PTL_WANT_SEND, poll(&r));
}

static void test_the_status_event_comes_when_it_is_due(void **state)
{
    (void)state;
    struct rig r;
    struct ptl_agent_config cfg = config();
    cfg.status_ms = 60000;
    rig_init(&r, &cfg);
    join(&r);
    (void)take(&r);
    assert_in_range(r.now.mono_ms, 61000, 61100);
    assert_true(message_has(&r, "\"event_type\":\"petrel.status\""));
    assert_true(message_has(&r, "\"breaker\":\"closed\""));
}

// What a server puts into a close reason must not grow in the status event nor break its JSON.
static void test_hostile_words_of_a_server_stay_short(void **state)
{
    (void)state;
    static const char *const causes[] = {"\x01", "\"", "\\", "\xff", "\x7f"};
    for (size_t i = 0; i < sizeof(causes) / sizeof(causes[0]); i++) {
        struct rig r;
        struct ptl_agent_config cfg = config();
        cfg.status_ms = 60000;
        rig_init(&r, &cfg);
        join(&r);
        char words[200];
        memset(words, causes[i][0], sizeof(words));
        const struct ptl_link_end end = {
            .kind = PTL_CAUSE_CLOSE, .code = 1011, .text = {(const uint8_t *)words, sizeof(words)}};
        ptl_agent_link_down(&r.agent, &end, &r.now);
        while (poll(&r) != PTL_WANT_CONNECT) {
            r.now.mono_ms = ptl_agent_deadline(&r.agent);
        }
        ptl_agent_link_up(&r.agent, &r.now);
        say(&r, (struct ptl_adapter_event){.type = PTL_ADAPTER_READY});
        r.now.mono_ms += cfg.status_ms;
        ack(&r, take(&r));
        assert_true(message_has(&r, "petrel.status"));
        struct ptl_json_value value;
        struct ptl_json_error error;
        assert_int_equal(
            PTL_OK, ptl_json_check((struct ptl_span){r.message, r.message_len}, 8, &value, &error));
    }
}

static void test_a_receipt_names_nothing_beyond_what_was_said(void **state)
{
    (void)state;
    struct rig r;
    struct ptl_agent_config cfg = config();
    cfg.delivery = PTL_STORED;
    rig_init(&r, &cfg);
    join(&r);
    post(&r, 2);
    ack(&r, take(&r));
    post(&r, 3); // not sent yet
    receipt(&r, "{\"source\":\"main\",\"epochs\":[{\"epoch\":\"5f0c8a3d9e7b1c24\",\"next\":5,"
                "\"have\":[[7,9]]}]}");
    assert_int_equal(1, status(&r).receipts_beyond);
    assert_int_equal(2, status(&r).delivered);
    ack(&r, take(&r));
    assert_int_equal(3, status(&r).held); // waits for a receipt of its own
}

static void test_bad_settings_are_refused(void **state)
{
    (void)state;
    struct rig r;
    memset(&r, 0, sizeof(r));
    const struct ptl_adapter adapter = fake_adapter_on(&r.fake);
    const struct ptl_agent_memory memory = {
        .queue = (uint8_t *)r.queue,
        .queue_bytes = sizeof(r.queue),
        .record = r.record,
        .record_bytes = sizeof(r.record),
        .flights = r.flights,
        .flight_count = 16,
    };
    struct ptl_agent_config cfg = config();
    cfg.batch.bytes_max = 1024; // no room for the largest event
    assert_int_equal(PTL_E_INVALID,
                     ptl_agent_init(&r.agent, &cfg, &memory, NULL, &adapter, 1, &r.now));
    cfg = config();
    cfg.durability = PTL_DURABLE_SYNC; // no medium
    assert_int_equal(PTL_E_INVALID,
                     ptl_agent_init(&r.agent, &cfg, &memory, NULL, &adapter, 1, &r.now));
    cfg = config();
    cfg.low_water_percent = 75;
    assert_int_equal(PTL_E_INVALID,
                     ptl_agent_init(&r.agent, &cfg, &memory, NULL, &adapter, 1, &r.now));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_acknowledged_batch_is_delivered),
        cmocka_unit_test(test_a_batch_without_answer_goes_out_again),
        cmocka_unit_test(test_three_ack_timeouts_open_the_breaker),
        cmocka_unit_test(test_a_lost_link_sends_again_what_was_in_flight),
        cmocka_unit_test(test_stored_waits_for_the_receipt),
        cmocka_unit_test(test_a_receipt_may_come_before_the_ack),
        cmocka_unit_test(test_a_missing_receipt_sends_again),
        cmocka_unit_test(test_a_receipt_for_later_batches_hurries_the_earlier),
        cmocka_unit_test(test_a_refused_seq_is_never_taken_for_stored),
        cmocka_unit_test(test_malformed_receipts_change_nothing),
        cmocka_unit_test(test_a_refused_batch_is_split_until_the_poison_is_alone),
        cmocka_unit_test(test_an_error_that_judges_no_content_is_no_verdict),
        cmocka_unit_test(test_ram_gives_up_the_oldest_only_while_the_link_is_bad),
        cmocka_unit_test(test_drain_sends_everything_and_says_the_end),
        cmocka_unit_test(test_drain_without_a_link_ends_at_its_deadline),
        cmocka_unit_test(test_a_second_drain_only_brings_the_end_nearer),
        cmocka_unit_test(test_a_critical_event_goes_at_once),
        cmocka_unit_test(test_the_status_event_comes_when_it_is_due),
        cmocka_unit_test(test_hostile_words_of_a_server_stay_short),
        cmocka_unit_test(test_a_receipt_names_nothing_beyond_what_was_said),
        cmocka_unit_test(test_bad_settings_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
