// Goal: a record says what the event said, costs what is promised, and damaged bytes are never
// taken for one wrongly read. Method: round trips of generated events, the wire text read back with
// the strict parser, every bit flipped and every length cut.
#include "ptl_test.h"

#include "ptl_record.h"

#define SOURCE PTL_SPAN_OF("default\\u002dsource")

static const struct ptl_now clock_known = {
    .mono_ms = 81234, .unix_ms = 1795543166123, .unix_err_ms = 50};
static const struct ptl_now clock_unknown = {
    .mono_ms = 81234, .unix_ms = 1795543166123, .unix_err_ms = PTL_TIME_UNKNOWN};

static struct ptl_event small_event(void)
{
    return (struct ptl_event){.event_type = PTL_SPAN_OF("temperature"),
                              .source = PTL_SPAN_OF("probe-1"),
                              .data = PTL_SPAN_OF("{\"celsius\": 21.5}"),
                              .severity = PTL_WARNING};
}

static struct ptl_record round_trip(const struct ptl_event *event, const struct ptl_now *now,
                                    uint8_t *buf, size_t cap)
{
    size_t max = ptl_record_bytes_max(event, SOURCE);
    assert_true(max <= cap);
    size_t len = ptl_record_encode(event, SOURCE, now, buf, max);
    assert_true(len <= max);
    struct ptl_record record;
    assert_int_equal(ptl_record_decode((struct ptl_span){buf, len}, &record), PTL_OK);
    return record;
}

static void assert_wire(const struct ptl_record *record, uint64_t seq, const char *want)
{
    uint8_t buf[1024];
    struct ptl_writer w = ptl_writer_on(buf, sizeof(buf));
    ptl_record_write_wire(&w, seq, record);
    assert_span_equal(((struct ptl_span){buf, w.len}), want);
    assert_true(w.len <= record->members.len + PTL_RECORD_WIRE_OVERHEAD);
}

static void test_wire_text(void **state)
{
    (void)state;
    uint8_t buf[512];
    struct ptl_event event = small_event();
    struct ptl_record record = round_trip(&event, &clock_known, buf, sizeof(buf));
    assert_wire(&record, 536870912,
                "{\"seq\":536870912,\"timestamp\":\"2026-11-24T17:59:26.123Z\",\"ts_err_ms\":50,"
                "\"mono_ms\":81234,\"event_type\":\"temperature\",\"source\":\"probe-1\","
                "\"severity\":\"warning\",\"data\":{\"celsius\": 21.5}}");

    record = round_trip(&event, &clock_unknown, buf, sizeof(buf));
    assert_wire(&record, PTL_SEQ_MAX,
                "{\"seq\":9007199254740991,\"timestamp\":null,\"ts_err_ms\":null,"
                "\"mono_ms\":81234,\"event_type\":\"temperature\",\"source\":\"probe-1\","
                "\"severity\":\"warning\",\"data\":{\"celsius\": 21.5}}");

    event.has_timestamp = true;
    event.unix_ms = 0;
    event.source = (struct ptl_span){NULL, 0};
    event.metadata = PTL_SPAN_OF("{\"fw\":\"1.2\"}");
    event.severity = PTL_CRITICAL;
    record = round_trip(&event, &clock_known, buf, sizeof(buf));
    assert_wire(&record, 0,
                "{\"seq\":0,\"timestamp\":\"1970-01-01T00:00:00.000Z\",\"mono_ms\":81234,"
                "\"event_type\":\"temperature\",\"source\":\"default\\u002dsource\","
                "\"severity\":\"critical\",\"data\":{\"celsius\": 21.5},"
                "\"metadata\":{\"fw\":\"1.2\"}}");
}

// A clock outside 1970 to 2199 is no clock; it must not become a time stamp nor an assertion.
static void test_absurd_clocks_give_no_timestamp(void **state)
{
    (void)state;
    static const int64_t absurd[] = {-1, INT64_MIN, INT64_MAX, 7258118400000};
    uint8_t buf[512];
    struct ptl_event event = small_event();
    for (size_t i = 0; i < sizeof(absurd) / sizeof(absurd[0]); i++) {
        struct ptl_now now = {.mono_ms = UINT64_MAX - 1, .unix_ms = absurd[i], .unix_err_ms = 1};
        struct ptl_record record = round_trip(&event, &now, buf, sizeof(buf));
        assert_false(record.has_timestamp);
        assert_true(record.mono_ms == UINT64_MAX - 1);
    }
}

static void test_every_field_survives(void **state)
{
    (void)state;
    struct ptl_prng prng;
    ptl_prng_seed(&prng, 17);
    for (int round = 0; round < 20000; round++) {
        struct ptl_event event = small_event();
        struct ptl_now now = {
            .mono_ms = ((uint64_t)ptl_prng_next(&prng) << 32 | ptl_prng_next(&prng)) >>
                       ptl_prng_below(&prng, 64),
            .unix_ms = (int64_t)(((uint64_t)ptl_prng_next(&prng) << 32 | ptl_prng_next(&prng)) %
                                 UINT64_C(7258118400000)),
            .unix_err_ms = ptl_prng_next(&prng) | ptl_prng_below(&prng, 2),
        };
        event.severity = (enum ptl_severity)ptl_prng_below(&prng, PTL_SEVERITIES);
        event.has_timestamp = ptl_prng_below(&prng, 2);
        event.unix_ms = now.unix_ms / 3;
        uint8_t buf[512];
        struct ptl_record record = round_trip(&event, &now, buf, sizeof(buf));
        bool known = now.unix_err_ms != PTL_TIME_UNKNOWN;
        assert_true(record.mono_ms == now.mono_ms);
        assert_int_equal(record.severity, event.severity);
        assert_int_equal(record.has_timestamp, event.has_timestamp || known);
        assert_int_equal(record.own_clock, !event.has_timestamp && known);
        if (record.has_timestamp) {
            assert_true(record.unix_ms == (event.has_timestamp ? event.unix_ms : now.unix_ms));
        }
        if (record.own_clock) {
            assert_int_equal(record.ts_err_ms, now.unix_err_ms);
        }
    }
}

// What goes on the wire is JSON with exactly the members of docs/wire.md, at every capacity whole
// or absent.
static void test_wire_text_is_json_at_every_capacity(void **state)
{
    (void)state;
    static const char *const names[] = {"seq",        "timestamp", "ts_err_ms", "mono_ms",
                                        "event_type", "source",    "severity",  "data"};
    struct ptl_event event = small_event();
    uint8_t encoded[512];
    struct ptl_record record = round_trip(&event, &clock_known, encoded, sizeof(encoded));
    uint8_t whole[512];
    struct ptl_writer all = ptl_writer_on(whole, sizeof(whole));
    ptl_record_write_wire(&all, 5, &record);
    struct ptl_json_value value;
    struct ptl_json_error error;
    assert_int_equal(ptl_json_check((struct ptl_span){whole, all.len}, 3, &value, &error), PTL_OK);
    struct ptl_json_iter iter = ptl_json_iterate(value);
    struct ptl_span key;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_true(ptl_json_next(&iter, &key, &value));
        assert_span_equal(key, names[i]);
    }
    assert_false(ptl_json_next(&iter, &key, &value));

    for (size_t cap = 1; cap <= all.len; cap++) {
        uint8_t *buf = test_exact_copy(whole, cap);
        struct ptl_writer w = ptl_writer_on(buf, cap);
        ptl_write_byte(&w, '[');
        ptl_record_write_wire(&w, 5, &record);
        assert_true(w.overflow);
        assert_int_equal(w.len, 1);
        free(buf);
    }
}

static void test_bytes_max_is_kept_and_needed(void **state)
{
    (void)state;
    uint8_t buf[512];
    struct ptl_event event = small_event();
    size_t max = ptl_record_bytes_max(&event, SOURCE);
    expect_assert_failure((void)ptl_record_encode(&event, SOURCE, &clock_known, buf, max - 1));
    struct ptl_now widest = {
        .mono_ms = UINT64_MAX, .unix_ms = 7258118399999, .unix_err_ms = UINT32_MAX - 1};
    event.severity = PTL_CRITICAL;
    uint8_t *exact = test_exact_copy(buf, max);
    size_t len = ptl_record_encode(&event, SOURCE, &widest, exact, max);
    // unix_ms takes seven bytes of the ten that a varint may.
    assert_int_equal(len, max - 3);
    free(exact);
}

// A decoder that is handed anything reads nothing outside it, and what it does take can be written.
static void test_damaged_bytes(void **state)
{
    (void)state;
    uint8_t good[512];
    struct ptl_event event = small_event();
    size_t len = ptl_record_encode(&event, SOURCE, &clock_known, good, sizeof(good));
    struct ptl_record record;
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *bytes = test_exact_copy(good, cut);
        assert_int_equal(ptl_record_decode((struct ptl_span){bytes, cut}, &record),
                         cut > 0 && bytes[cut - 1] == '}' ? PTL_OK : PTL_E_FORMAT);
        free(bytes);
    }
    int refused = 0;
    for (size_t bit = 0; bit < len * 8; bit++) {
        uint8_t *bytes = test_exact_copy(good, len);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (ptl_record_decode((struct ptl_span){bytes, len}, &record) == PTL_OK) {
            uint8_t wire[1024];
            struct ptl_writer w = ptl_writer_on(wire, sizeof(wire));
            ptl_record_write_wire(&w, 1, &record);
            assert_false(w.overflow);
        } else {
            refused++;
        }
        free(bytes);
    }
    // At least the head's unused bits, the first member's name and the last bracket.
    assert_in_range(refused, 3 + 14 * 8 + 8, len * 8);
}

#define MEMBERS "\"event_type\":\"a\",\"source\":\"\",\"severity\":\"info\",\"data\":{}"

static void test_malformed_heads(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        size_t len;
        enum ptl_status status;
    } cases[] = {
        {"\x01\x05", 2, PTL_OK},
        {"\x09\x05\x00", 3, PTL_OK},
        {"\x19\x05\x00\x00", 4, PTL_OK},
        {"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, PTL_OK}, // UINT64_MAX
        {"\x05\x05", 2, PTL_E_FORMAT},                                // no such severity
        {"\x07\x05", 2, PTL_E_FORMAT},
        {"\x21\x05", 2, PTL_E_FORMAT}, // unused bits
        {"\x41\x05", 2, PTL_E_FORMAT},
        {"\x81\x05", 2, PTL_E_FORMAT},
        {"\x11\x05\x00", 3, PTL_E_FORMAT},                                      // error, no stamp
        {"\x01\x85\x00", 3, PTL_E_FORMAT},                                      // not the shortest
        {"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11, PTL_E_FORMAT},     // 65 bits
        {"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00", 12, PTL_E_FORMAT}, // 11 bytes
        {"\x09\x05\x80\xc0\x86\xec\xe9\xcf\x39", 9, PTL_E_FORMAT},              // the year 10000
        {"\x19\x05\x00\xff\xff\xff\xff\x0f", 8, PTL_E_FORMAT},                  // error "unknown"
        {"\x19\x05\x00\xfe\xff\xff\xff\x0f", 8, PTL_OK},
        {"\x19\x05\x00\x80\x80\x80\x80\x10", 8, PTL_E_FORMAT}, // error of 33 bits
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t bytes[128];
        memcpy(bytes, cases[i].head, cases[i].len);
        memcpy(bytes + cases[i].len, MEMBERS, sizeof(MEMBERS) - 1);
        struct ptl_span span = {bytes, cases[i].len + sizeof(MEMBERS) - 1};
        struct ptl_record record;
        if (ptl_record_decode(span, &record) != cases[i].status) {
            fail_msg("case %zu", i);
        }
    }
    struct ptl_record record;
    assert_int_equal(ptl_record_decode((struct ptl_span){NULL, 0}, &record), PTL_E_FORMAT);
    assert_int_equal(ptl_record_decode(PTL_SPAN_OF("\x01\x05{\"event_type\":\"a\"}"), &record),
                     PTL_E_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wire_text),
        cmocka_unit_test(test_absurd_clocks_give_no_timestamp),
        cmocka_unit_test(test_every_field_survives),
        cmocka_unit_test(test_wire_text_is_json_at_every_capacity),
        cmocka_unit_test(test_bytes_max_is_kept_and_needed),
        cmocka_unit_test(test_damaged_bytes),
        cmocka_unit_test(test_malformed_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
