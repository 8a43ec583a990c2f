// Goal: a batch is read exactly as docs/wire.md says and anything else is refused with a reason.
// Method: whole messages, good and bad; every prefix of a good one; the inputs of real reports
// (values that stores refuse, JSON that does not come back as it went).
#include "ptl_test.h"

#include "ingest.h"
#include "sha256.h"

#define HEAD                                                                                       \
    "{\"v\":1,\"device\":\"gw-17\",\"epoch\":\"5f0c8a3d9e7b1c24\",\"boot\":\"0b6f-1\","            \
    "\"floor\":100,\"sent_ms\":1795543166123,"
#define EVENT                                                                                      \
    "{\"seq\":100,\"timestamp\":\"2026-11-24T17:59:26.123Z\",\"ts_err_ms\":50,\"mono_ms\":81234,"  \
    "\"event_type\":\"temperature\",\"source\":\"probe-1\",\"severity\":\"info\","                 \
    "\"data\":{\"celsius\":21.5},\"metadata\":{\"fw\":\"1.2\"}}"
#define GOOD                                                                                       \
    HEAD "\"events\":[" EVENT "],\"gaps\":[{\"epoch\":\"5f0c8a3d9e7b1c24\",\"first\":5,\"last\":"  \
         "9,\"reason\":\"overflow\",\"kind\":\"lost\"}],\"ends\":[{\"epoch\":\"00000000000000ff\"" \
         ",\"next\":7,\"how\":\"torn\",\"at_most\":12,\"from\":3,\"runs\":2}]}"

static struct col_batch batch;

static const char *parse(const char *text)
{
    return col_batch_parse(&batch, test_span(text), PTL_SPAN_OF("gw-17"));
}

static void reads_every_field(void **state)
{
    (void)state;
    assert_null(parse(GOOD));
    assert_span_equal(batch.device, "gw-17");
    assert_span_equal(batch.boot, "0b6f-1");
    assert_true(batch.epoch == UINT64_C(0x5f0c8a3d9e7b1c24));
    assert_int_equal(batch.floor, 100);
    assert_int_equal(batch.event_count, 1);
    const struct col_event *event = &batch.events[0];
    assert_int_equal(event->seq, 100);
    assert_int_equal(event->mono_ms, 81234);
    assert_int_equal(event->ts_err_ms, 50);
    assert_int_equal(event->severity, PTL_INFO);
    assert_span_equal(event->timestamp, "2026-11-24T17:59:26.123Z");
    assert_span_equal(event->event_type, "temperature");
    assert_span_equal(event->source, "probe-1");
    assert_span_equal(event->data, "{\"celsius\":21.5}");
    assert_span_equal(event->metadata, "{\"fw\":\"1.2\"}");
    assert_int_equal(batch.gap_count, 1);
    assert_int_equal(batch.gaps[0].first, 5);
    assert_int_equal(batch.gaps[0].last, 9);
    assert_int_equal(batch.gaps[0].reason, PTL_GAP_OVERFLOW);
    assert_int_equal(batch.gaps[0].kind, PTL_LOST);
    assert_int_equal(batch.end_count, 1);
    assert_int_equal(batch.ends[0].epoch, 0xff);
    assert_int_equal(batch.ends[0].next, 7);
    assert_int_equal(batch.ends[0].how, PTL_TORN);
    assert_int_equal(batch.ends[0].at_most, 12);
    assert_int_equal(batch.ends[0].from, 3);
    assert_int_equal(batch.ends[0].runs, 2);
}

static void optional_parts_may_be_absent(void **state)
{
    (void)state;
    assert_null(parse("{\"events\":[],\"v\":1,\"device\":\"gw-17\",\"epoch\":\"0000000000000001\","
                      "\"boot\":\"\",\"floor\":0,\"sent_ms\":null,\"later\":[1]}"));
    assert_int_equal(batch.event_count + batch.gap_count + batch.end_count, 0);
    assert_null(parse(HEAD "\"events\":[{\"seq\":100,\"timestamp\":null,\"ts_err_ms\":null,"
                           "\"mono_ms\":0,\"event_type\":\"a\",\"source\":\"\",\"severity\":"
                           "\"critical\",\"data\":{}}]}"));
    assert_int_equal(batch.events[0].timestamp.len, 0);
    assert_int_equal(batch.events[0].ts_err_ms, -1);
    assert_int_equal(batch.events[0].metadata.len, 0);
    assert_int_equal(batch.events[0].severity, PTL_CRITICAL);
}

// One place of the good message at a time is spoilt.
static void spoilt_messages_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *why;
    } spoilt[] = {
        {"\"v\":1", "\"v\":2", "v"},
        {"\"v\":1", "\"v\":\"1\"", "v"},
        {"\"v\":1", "\"w\":1", "v"},
        {"\"v\":1", "\"v\":1,\"v\":1", "doubled name in batch"},
        {"\"gw-17\"", "\"gw-18\"", "device is not the topic's"},
        {"\"gw-17\"", "\"gw 17\"", "device"},
        {"\"gw-17\"", "\"\"", "device"},
        {"\"gw-17\"", "17", "device"},
        {"\"5f0c8a3d9e7b1c24\"", "\"5F0C8A3D9E7B1C24\"", "epoch"},
        {"\"5f0c8a3d9e7b1c24\"", "\"5f0c8a3d9e7b1c2\"", "epoch"},
        {"\"5f0c8a3d9e7b1c24\"", "1", "epoch"},
        {"\"0b6f-1\"", "\"0b6f_1\"", "boot"},
        {"\"0b6f-1\"", "\"0123456789012345678901234567890123456\"", "boot"},
        {"\"0b6f-1\"", "null", "boot"},
        {"\"floor\":100", "\"floor\":-1", "floor"},
        {"\"floor\":100", "\"floor\":1.0", "floor"},
        {"\"floor\":100", "\"floor\":9007199254740993", "floor"},
        {"\"floor\":100", "\"floor\":\"100\"", "floor"},
        {"1795543166123", "\"now\"", "sent_ms"},
        {"\"events\":[", "\"events\":{},\"x\":[", "events"},
        {"\"events\":[{", "\"events\":[7,{", "event is no object"},
        {"\"seq\":100", "\"seq\":9007199254740992", "seq"},
        {"\"seq\":100", "\"seq\":-0", "seq"},
        {"\"seq\":100", "\"seq\":1e2", "seq"},
        {"\"seq\":100", "\"seq\":100,\"s\\u0065q\":100", "doubled name in event"},
        {"\"mono_ms\":81234", "\"mono\":81234", "mono_ms"},
        {"\"temperature\"", "\"\"", "event_type"},
        {"\"temperature\"", "null", "event_type"},
        {"\"temperature\"", "\"a\\u0000b\"", "not JSON, or not storable"},
        {"\"probe-1\"", "1", "source"},
        {"\"info\"", "\"INFO\"", "severity"},
        {"\"info\"", "3", "severity"},
        {"{\"celsius\":21.5}", "[1]", "data"},
        {"{\"celsius\":21.5}", "\"{}\"", "data"},
        {"{\"celsius\":21.5}", "{\"v\":1e400}", "not JSON, or not storable"},
        {"{\"celsius\":21.5}", "{\"v\":\"\\ud800\"}", "not JSON, or not storable"},
        {"{\"fw\":\"1.2\"}", "null", "metadata"},
        {"2026-11-24T17:59:26.123Z", "2026-11-24 17:59:26.123Z", "timestamp"},
        {"2026-11-24T17:59:26.123Z", "2026-11-24T17:59:26.123+01:00", "timestamp"},
        {"2026-11-24T17:59:26.123Z", "2026-02-30T17:59:26.123Z", "timestamp"},
        {"2026-11-24T17:59:26.123Z", "2026-11-24T17:59:60.123Z", "timestamp"},
        {"\"ts_err_ms\":50", "\"ts_err_ms\":-50", "ts_err_ms"},
        {"\"gaps\":[", "\"gaps\":null,\"x\":[", "gaps or ends"},
        {"\"first\":5", "\"first\":10", "gap"},
        {"\"overflow\"", "\"unknown\"", "gap"},
        {"\"lost\"", "\"gone\"", "gap"},
        {"\"last\":9", "\"last\":9007199254740992", "gap"},
        {"\"next\":7", "\"next\":2", "end"}, // below `from`
        {"\"torn\"", "\"open\"", "end"},
        {"\"at_most\":12", "\"at_most\":4294967296", "end"},
        {"\"runs\":2", "\"runs\":0", "end"},
    };
    for (size_t i = 0; i < sizeof(spoilt) / sizeof(spoilt[0]); i++) {
        char text[2048];
        const char *at = strstr(GOOD, spoilt[i].from);
        assert_non_null(at);
        snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - GOOD), GOOD, spoilt[i].to,
                 at + strlen(spoilt[i].from));
        const char *why = parse(text);
        if (why == NULL || strcmp(why, spoilt[i].why) != 0) {
            fail_msg("%s: got \"%s\", want \"%s\"", spoilt[i].to, why != NULL ? why : "(taken)",
                     spoilt[i].why);
        }
    }
}

static void every_prefix_is_refused(void **state)
{
    (void)state;
    size_t len = strlen(GOOD);
    for (size_t i = 0; i < len; i++) {
        uint8_t *copy = test_exact_copy(GOOD, i);
        assert_non_null(col_batch_parse(&batch, (struct ptl_span){copy, i}, PTL_SPAN_OF("gw-17")));
        free(copy);
    }
    assert_non_null(parse("[]"));
    assert_non_null(parse("7"));
    assert_non_null(parse(GOOD "x"));
}

static void seq_must_ascend(void **state)
{
    (void)state;
    static const char *const events[] = {"\"seq\":100", "\"seq\":99"};
    for (size_t i = 0; i < 2; i++) {
        char text[4096];
        char second[1024];
        const char *at = strstr(EVENT, "\"seq\":100");
        snprintf(second, sizeof(second), "%.*s%s%s", (int)(at - EVENT), EVENT, events[i], at + 9);
        snprintf(text, sizeof(text), HEAD "\"events\":[" EVENT ",%s]}", second);
        assert_string_equal(parse(text), "seq does not ascend");
    }
}

static void lists_are_bounded(void **state)
{
    (void)state;
    size_t cap = (size_t)4 << 20;
    char *text = malloc(cap);
    assert_non_null(text);
    size_t len = (size_t)snprintf(text, cap, HEAD "\"events\":[");
    for (int i = 0; i <= COL_EVENTS_MAX; i++) {
        len += (size_t)snprintf(text + len, cap - len,
                                "%s{\"seq\":%d,\"timestamp\":null,\"mono_ms\":1,\"event_type\":"
                                "\"a\",\"source\":\"s\",\"severity\":\"debug\",\"data\":{}}",
                                i > 0 ? "," : "", 100 + i);
    }
    snprintf(text + len, cap - len, "]}");
    assert_string_equal(parse(text), "too many events");
    len = (size_t)snprintf(text, cap, HEAD "\"events\":[],\"gaps\":[");
    for (int i = 0; i <= COL_GAPS_MAX; i++) {
        len += (size_t)snprintf(text + len, cap - len,
                                "%s{\"epoch\":\"5f0c8a3d9e7b1c24\",\"first\":1,\"last\":1,"
                                "\"reason\":\"media\",\"kind\":\"uncertain\"}",
                                i > 0 ? "," : "");
    }
    snprintf(text + len, cap - len, "]}");
    assert_string_equal(parse(text), "too many gaps");
    free(text);
}

// What is stored of `data` is what came, and names written with escapes are the same names.
static void bytes_and_escapes(void **state)
{
    (void)state;
    static const char *const datas[] = {
        "{\"b\":1,\"a\":2,\"b\":3}",
        "{\"x\":-0,\"y\":1.00,\"z\":1e2,\"w\":1E+2}",
        "{\"s\":\"\\u00e9\\/\",\"t\":\"\xc3\xa9/\"}",
        "{ \"spaced\" : [ 1 , 2 ] }",
        "{\"__proto__\":{\"x\":1},\"constructor\":1}",
        "{\"path\":\"C:\\\\u0000dir\"}",
        "{\"id\":9007199254740993}",
        "{\"v\":0.1000000000000000055511151231257827021181583404541015625}",
    };
    for (size_t i = 0; i < sizeof(datas) / sizeof(datas[0]); i++) {
        char text[2048];
        snprintf(text, sizeof(text),
                 HEAD "\"events\":[{\"seq\":100,\"timestamp\":null,\"mono_ms\":1,"
                      "\"event\\u005ftype\":\"a\\u00e9\\n\",\"source\":\"q\\\"\",\"severity\":"
                      "\"in\\u0066o\",\"data\":  %s  }]}",
                 datas[i]);
        assert_null(parse(text));
        assert_span_equal(batch.events[0].data, datas[i]);
        assert_span_equal(batch.events[0].event_type, "a\xc3\xa9\n");
        assert_span_equal(batch.events[0].source, "q\"");
    }
    static const char *const bad[] = {
        "{\"v\":1e131071}",
        "{\"v\":1e131072}",
        "{\"v\":1e-20000}",
        "{\"serial\":\"AB\\u0000\\u0000\"}",
        "{\"\\u0000\":1}",
        "{\"a\":[{\"b\":\"x\\u0000y\"}]}",
        "{\"v\":1e99999999999999999999}",
        "{\"a\":1,}",
        "{\"a\":01}",
        "{a:1}",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char text[2048];
        snprintf(text, sizeof(text),
                 HEAD "\"events\":[{\"seq\":100,\"timestamp\":null,\"mono_ms\":1,\"event_type\":"
                      "\"a\",\"source\":\"s\",\"severity\":\"info\",\"data\":%s}]}",
                 bad[i]);
        assert_string_equal(parse(text), "not JSON, or not storable");
    }
}

static void device_names(void **state)
{
    (void)state;
    char longest[66];
    memset(longest, 'a', 65);
    longest[65] = '\0';
    assert_false(col_device_valid(test_span(longest)));
    longest[64] = '\0';
    assert_true(col_device_valid(test_span(longest)));
    assert_true(col_device_valid(test_span("A.b_c-9")));
    assert_false(col_device_valid(test_span("")));
    assert_false(col_device_valid(test_span("a:b")));
    assert_false(col_device_valid(test_span("caf\xc3\xa9")));
}

static void assert_digest(const char *text, const char *hex)
{
    uint8_t digest[COL_SHA256_BYTES];
    char got[65] = "";
    col_sha256(text, strlen(text), digest);
    for (size_t i = 0; i < sizeof(digest); i++) {
        snprintf(got + i * 2, 3, "%02x", digest[i]);
    }
    assert_string_equal(got, hex);
}

// FIPS 180-4 examples, and lengths around the block as coreutils' sha256sum gives them.
static void digest_and_row_id(void **state)
{
    (void)state;
    char id[COL_ID_TEXT];
    assert_digest("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_digest("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    assert_digest("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                  "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318");
    assert_digest("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                  "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb");
    col_row_id("gw-17", "5f0c8a3d9e7b1c24", 536870912, id);
    assert_string_equal(id, "6106df5c-bae0-866e-9003-859d77d7ceea");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_field),
        cmocka_unit_test(optional_parts_may_be_absent),
        cmocka_unit_test(spoilt_messages_are_refused),
        cmocka_unit_test(every_prefix_is_refused),
        cmocka_unit_test(seq_must_ascend),
        cmocka_unit_test(lists_are_bounded),
        cmocka_unit_test(bytes_and_escapes),
        cmocka_unit_test(device_names),
        cmocka_unit_test(digest_and_row_id),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    col_batch_free(&batch);
    return failed;
}
