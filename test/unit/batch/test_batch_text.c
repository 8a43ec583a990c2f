// Goal: a batch is exactly the message of docs/wire.md, never longer than its bound, and what does
// not fit is left out whole. Method: golden texts for the shapes; then random mixes of records,
// gaps, ends and bounds, each checked as JSON and counted against what the calls said.
#include "ptl_test.h"

#include "ptl_batch_text.h"
#include "ptl_json.h"
#include "ptl_record.h"

static const struct ptl_now known = {.mono_ms = 9, .unix_ms = 1795543166123, .unix_err_ms = 50};
static const struct ptl_now unknown = {.mono_ms = 9, .unix_err_ms = PTL_TIME_UNKNOWN};

static struct ptl_batch_head head(const struct ptl_now *now)
{
    return (struct ptl_batch_head){
        .device = PTL_SPAN_OF("gw-17"),
        .boot = PTL_SPAN_OF("0b6f"),
        .epoch = 0x5f0c8a3d9e7b1c24,
        .floor = 536870912,
        .now = *now,
    };
}

static size_t encode(uint8_t *buf, size_t cap, size_t data_bytes)
{
    char data[4096] = "{\"k\":\"";
    size_t len = strlen(data);
    memset(data + len, 'x', data_bytes);
    memcpy(data + len + data_bytes, "\"}", 3);
    struct ptl_event event = {
        .event_type = PTL_SPAN_OF("temperature"), .data = test_span(data), .severity = PTL_INFO};
    return ptl_record_encode(&event, PTL_SPAN_OF("probe-1"), &known, buf, cap);
}

static void assert_text(const struct ptl_writer *w, size_t start, const char *text)
{
    assert_span_equal(((struct ptl_span){w->buf + start, w->len - start}), text);
}

static void empty_batch(void **state)
{
    (void)state;
    uint8_t buf[512];
    struct ptl_writer w = ptl_writer_on(buf, sizeof(buf));
    struct ptl_batch_text t;
    struct ptl_batch_head h = head(&unknown);
    uint32_t gaps, ends;
    ptl_write_text(&w, "HEADER");
    assert_int_equal(ptl_batch_text_begin(&t, &w, 512, &h, 0, 0), PTL_OK);
    ptl_batch_text_finish(&t, NULL, 0, NULL, 0, &gaps, &ends);
    assert_text(&w, 6,
                "{\"v\":1,\"device\":\"gw-17\",\"epoch\":\"5f0c8a3d9e7b1c24\",\"boot\":\"0b6f\","
                "\"floor\":536870912,\"sent_ms\":null,\"events\":[]}");
    assert_int_equal(gaps, 0);
    assert_int_equal(ends, 0);
}

static void whole_batch(void **state)
{
    (void)state;
    uint8_t buf[2048];
    uint8_t record[256];
    struct ptl_writer w = ptl_writer_on(buf, sizeof(buf));
    struct ptl_batch_text t;
    struct ptl_batch_head h = head(&known);
    const struct ptl_gap gaps[] = {
        {0x5f0c8a3d9e7b1c24, 536870900, 536870911, PTL_GAP_OVERFLOW, PTL_LOST},
        {0x5f0c8a3d9e7b1c24, PTL_SEQ_MAX, PTL_SEQ_MAX, PTL_GAP_QUEUE_FULL, PTL_UNCERTAIN}};
    const struct ptl_end ends[] = {{.epoch = 1, .from = 8, .next = 8, .runs = 1, .how = PTL_CLOSED},
                                   {.epoch = 0xfedcba9876543210,
                                    .from = 3,
                                    .next = 5,
                                    .at_most = 7,
                                    .runs = 2,
                                    .how = PTL_TORN}};
    assert_int_equal(ptl_batch_text_begin(&t, &w, sizeof(buf), &h, 2, 2), PTL_OK);
    struct ptl_span one = {record, encode(record, sizeof(record), 1)};
    assert_int_equal(ptl_batch_text_event(&t, 536870912, one), PTL_OK);
    assert_int_equal(ptl_batch_text_event(&t, 536870913, one), PTL_OK);
    assert_int_equal(t.events, 2);
    uint32_t gaps_written, ends_written;
    ptl_batch_text_finish(&t, gaps, 2, ends, 2, &gaps_written, &ends_written);
    assert_int_equal(gaps_written, 2);
    assert_int_equal(ends_written, 2);
#define EVENT(seq)                                                                                 \
    "{\"seq\":" seq ",\"timestamp\":\"2026-11-24T17:59:26.123Z\",\"ts_err_ms\":50,"                \
    "\"mono_ms\":9,\"event_type\":\"temperature\",\"source\":\"probe-1\","                         \
    "\"severity\":\"info\",\"data\":{\"k\":\"x\"}}"
    assert_text(
        &w, 0,
        "{\"v\":1,\"device\":\"gw-17\",\"epoch\":\"5f0c8a3d9e7b1c24\",\"boot\":\"0b6f\","
        "\"floor\":536870912,\"sent_ms\":1795543166123,\"events\":[" EVENT("536870912") "," EVENT(
            "536870913") "],\"gaps\":["
                         "{\"epoch\":\"5f0c8a3d9e7b1c24\",\"first\":536870900,\"last\":536870911,"
                         "\"reason\":\"overflow\",\"kind\":\"lost\"},"
                         "{\"epoch\":\"5f0c8a3d9e7b1c24\",\"first\":9007199254740991,"
                         "\"last\":9007199254740991,\"reason\":\"queue_full\",\"kind\":"
                         "\"uncertain\"}],"
                         "\"ends\":[{\"epoch\":\"0000000000000001\",\"next\":8,\"how\":\"closed\","
                         "\"at_most\":0},{\"epoch\":\"fedcba9876543210\",\"next\":5,\"how\":"
                         "\"torn\","
                         "\"at_most\":7,\"from\":3,\"runs\":2}]}");
}

static void largest_pieces_keep_the_published_bounds(void **state)
{
    (void)state;
    uint8_t buf[8192];
    char device[PTL_DEVICE_BYTES_MAX + 1] = {0};
    char boot[PTL_BOOT_BYTES_MAX + 1] = {0};
    memset(device, 'd', PTL_DEVICE_BYTES_MAX);
    memset(boot, 'a', PTL_BOOT_BYTES_MAX);
    struct ptl_batch_head h = {.device = test_span(device),
                               .boot = test_span(boot),
                               .epoch = UINT64_MAX,
                               .floor = PTL_SEQ_MAX + 1,
                               .now = {.unix_ms = INT64_MIN, .unix_err_ms = 0}};
    struct ptl_gap gap = {UINT64_MAX, PTL_SEQ_MAX, PTL_SEQ_MAX, PTL_GAP_QUEUE_FULL, PTL_UNCERTAIN};
    struct ptl_end end = {.epoch = UINT64_MAX,
                          .from = PTL_SEQ_MAX + 1,
                          .next = PTL_SEQ_MAX + 1,
                          .at_most = UINT32_MAX,
                          .runs = UINT16_MAX,
                          .how = PTL_CLOSED};
    size_t lens[3];
    for (uint32_t i = 0; i < 3; i++) {
        struct ptl_writer w = ptl_writer_on(buf, sizeof(buf));
        struct ptl_batch_text t;
        uint32_t gaps, ends;
        assert_int_equal(ptl_batch_text_begin(&t, &w, sizeof(buf), &h, 1, 1), PTL_OK);
        ptl_batch_text_finish(&t, &gap, i == 1 ? 1 : 0, &end, i == 2 ? 1 : 0, &gaps, &ends);
        lens[i] = w.len;
    }
    assert_true(lens[0] <= PTL_BATCH_ENVELOPE_BYTES);
    assert_true(lens[1] - lens[0] <= PTL_BATCH_GAP_BYTES);
    assert_true(lens[2] - lens[0] <= PTL_BATCH_END_BYTES);
}

static void begin_needs_room_for_an_empty_batch(void **state)
{
    (void)state;
    uint8_t buf[512];
    struct ptl_batch_head h = head(&unknown);
    struct ptl_batch_text t;
    struct ptl_writer w = ptl_writer_on(buf, sizeof(buf));
    uint32_t gaps, ends;
    assert_int_equal(ptl_batch_text_begin(&t, &w, sizeof(buf), &h, 0, 0), PTL_OK);
    ptl_batch_text_finish(&t, NULL, 0, NULL, 0, &gaps, &ends);
    size_t least = w.len;
    for (size_t bytes = 0; bytes <= least; bytes++) {
        enum ptl_status want = bytes < least ? PTL_E_TOO_BIG : PTL_OK;
        uint8_t *exact = malloc(6 + bytes);
        w = ptl_writer_on(exact, 6 + bytes); // the writer ends early
        ptl_write_text(&w, "HEADER");
        assert_int_equal(ptl_batch_text_begin(&t, &w, 512, &h, 0, 0), want);
        assert_true(!w.overflow && (want == PTL_OK || w.len == 6));
        if (want == PTL_OK) {
            ptl_batch_text_finish(&t, NULL, 0, NULL, 0, &gaps, &ends);
            assert_int_equal(w.len, 6 + least);
        }
        w = ptl_writer_on(buf, sizeof(buf)); // the bound ends early
        assert_int_equal(ptl_batch_text_begin(&t, &w, bytes, &h, 0, 0), want);
        free(exact);
    }
}

static void damaged_record_changes_nothing(void **state)
{
    (void)state;
    uint8_t buf[512];
    struct ptl_batch_head h = head(&unknown);
    struct ptl_batch_text t;
    struct ptl_writer w = ptl_writer_on(buf, sizeof(buf));
    assert_int_equal(ptl_batch_text_begin(&t, &w, sizeof(buf), &h, 0, 0), PTL_OK);
    size_t len = w.len;
    assert_int_equal(ptl_batch_text_event(&t, 1, PTL_SPAN_OF("\xff\xff\xff")), PTL_E_FORMAT);
    assert_int_equal(ptl_batch_text_event(&t, 1, (struct ptl_span){0}), PTL_E_FORMAT);
    assert_int_equal(w.len, len);
    assert_int_equal(t.events, 0);
}

// One record as large as the configuration allows must always be able to leave, however many gaps
// wait.
static void bytes_min_takes_any_record_alone(void **state)
{
    (void)state;
    uint8_t record[2048];
    uint8_t buf[4096];
    struct ptl_batch_head h = head(&known);
    for (size_t data_bytes = 0; data_bytes < 1500; data_bytes += 13) {
        struct ptl_span one = {record, encode(record, sizeof(record), data_bytes)};
        size_t bytes_max = PTL_BATCH_BYTES_MIN(one.len);
        struct ptl_writer w = ptl_writer_on(buf, sizeof(buf));
        struct ptl_batch_text t;
        assert_int_equal(ptl_batch_text_begin(&t, &w, bytes_max, &h, PTL_GAPS_MAX, PTL_ENDS_MAX),
                         PTL_OK);
        assert_true(ptl_batch_text_fits(&t, one.len));
        assert_int_equal(ptl_batch_text_event(&t, 5, one), PTL_OK);
        uint32_t gaps_written, ends_written;
        ptl_batch_text_finish(&t, NULL, 0, NULL, 0, &gaps_written, &ends_written);
        assert_true(w.len <= bytes_max);
    }
}

static uint32_t count_items(struct ptl_json_value object, const char *name)
{
    struct ptl_json_value list;
    if (!ptl_json_member(object, name, &list)) {
        return 0;
    }
    struct ptl_json_iter iter = ptl_json_iterate(list);
    struct ptl_json_value item;
    uint32_t count = 0;
    while (ptl_json_next(&iter, NULL, &item)) {
        assert_int_equal(item.type, PTL_JSON_OBJECT);
        count++;
    }
    return count;
}

static void one_random_batch(struct ptl_prng *prng)
{
    uint8_t record[1024];
    struct ptl_gap gaps[PTL_GAPS_MAX];
    struct ptl_end ends[PTL_ENDS_MAX];
    uint32_t gap_count = ptl_prng_below(prng, PTL_GAPS_MAX + 1);
    uint32_t end_count = ptl_prng_below(prng, PTL_ENDS_MAX + 1);
    for (uint32_t i = 0; i < PTL_GAPS_MAX; i++) {
        gaps[i] = (struct ptl_gap){i, i, PTL_SEQ_MAX, (uint8_t)(i % PTL_GAP_REASONS), PTL_LOST};
        ends[i] = (struct ptl_end){.epoch = i, .next = 99, .runs = (uint16_t)(1 + i % 2)};
    }
    size_t bytes_max = 200 + ptl_prng_below(prng, 4000);
    size_t cap = 200 + ptl_prng_below(prng, 4000);
    uint8_t *buf = malloc(cap); // so that AddressSanitizer sees a byte too many
    struct ptl_writer w = ptl_writer_on(buf, cap);
    struct ptl_batch_head h = head(&known);
    struct ptl_batch_text t;
    assert_int_equal(ptl_batch_text_begin(&t, &w, bytes_max, &h, gap_count, end_count), PTL_OK);
    enum ptl_status status = PTL_OK;
    uint32_t events = 0;
    while (status == PTL_OK && events < 64) {
        struct ptl_span one = {record, encode(record, sizeof(record), ptl_prng_below(prng, 400))};
        bool fits = ptl_batch_text_fits(&t, one.len);
        status = ptl_batch_text_event(&t, events, one);
        assert_true(status == PTL_OK || (status == PTL_E_FULL && !fits));
        events += status == PTL_OK ? 1 : 0;
        assert_int_equal(t.events, events);
    }
    uint32_t gaps_written, ends_written;
    ptl_batch_text_finish(&t, gaps, gap_count, ends, end_count, &gaps_written, &ends_written);
    assert_true(w.len <= bytes_max && w.len <= cap && !w.overflow);

    struct ptl_json_value object;
    struct ptl_json_error error;
    assert_int_equal(ptl_json_check((struct ptl_span){buf, w.len}, 8, &object, &error), PTL_OK);
    assert_int_equal(count_items(object, "events"), events);
    assert_int_equal(count_items(object, "gaps"), gaps_written);
    assert_int_equal(count_items(object, "ends"), ends_written);
    struct ptl_json_value list;
    assert_int_equal(ptl_json_member(object, "gaps", &list), gaps_written > 0);
    assert_int_equal(ptl_json_member(object, "ends", &list), ends_written > 0);
    // A batch with more than one event has kept room for some of them.
    if (events > 1 && gap_count > 0 && t.reserve >= PTL_BATCH_GAP_BYTES) {
        assert_true(gaps_written > 0);
    }
    free(buf);
}

static void random_batches_are_whole_and_bounded(void **state)
{
    (void)state;
    struct ptl_prng prng;
    ptl_prng_seed(&prng, 8);
    for (int i = 0; i < 3000; i++) {
        one_random_batch(&prng);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_batch),
        cmocka_unit_test(whole_batch),
        cmocka_unit_test(largest_pieces_keep_the_published_bounds),
        cmocka_unit_test(begin_needs_room_for_an_empty_batch),
        cmocka_unit_test(damaged_record_changes_nothing),
        cmocka_unit_test(bytes_min_takes_any_record_alone),
        cmocka_unit_test(random_batches_are_whole_and_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
