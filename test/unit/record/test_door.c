// Goal: the door takes exactly the events that design.md allows, and a refusal names the byte.
// Method: corner cases as data, each in a copy of exactly its size; the inputs of public reports
// (test/data/ json/r*), which were written without knowledge of this parser.
#include "ptl_test.h"

#include "ptl_record.h"

// Those of data files of our own, and the defaults of microcontrollers.
static const struct ptl_event_limits tight = {.event_bytes_max = 1024, .depth_max = 4};
static const struct ptl_event_limits limits = {.event_bytes_max = 1024, .depth_max = 8};

static unsigned hex(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

static size_t undo_percent(char *text)
{
    size_t len = 0;
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '%') {
            text[len++] = (char)(hex(p[1]) << 4 | hex(p[2]));
            p += 2;
        } else {
            text[len++] = *p;
        }
    }
    return len;
}

// Parses a copy of exactly the text's size, and the record of what passes must hold its `data`.
static enum ptl_status parse(const void *text, size_t len, const struct ptl_event_limits *within,
                             struct ptl_json_error *error)
{
    uint8_t *copy = test_exact_copy(text, len);
    struct ptl_event event;
    *error = (struct ptl_json_error){.offset = SIZE_MAX, .reason = NULL};
    enum ptl_status status =
        ptl_event_parse((struct ptl_span){copy, len}, PTL_DOOR_OUTSIDE, within, &event, error);
    if (status == PTL_OK) {
        assert_true(event.data.ptr > copy && event.data.ptr + event.data.len < copy + len);
        assert_int_equal(event.data.ptr[0], '{');
        assert_int_equal(event.data.ptr[event.data.len - 1], '}');
        assert_true(event.event_type.len > 0);
    } else {
        assert_non_null(error->reason);
        assert_true(error->offset <= len);
    }
    free(copy);
    return status;
}

static void test_corner_cases(void **state)
{
    (void)state;
    static const struct {
        const char *word;
        enum ptl_status status;
    } verdicts[] = {
        {"ok", PTL_OK}, {"bad", PTL_E_FORMAT}, {"denied", PTL_E_DENIED}, {"big", PTL_E_TOO_BIG}};
    size_t size;
    char *data = test_read_data("json/events.txt", &size);
    char *rest = data;
    int met[4] = {0};
    int wrong = 0;
    for (char *line = test_next_line(&rest); line != NULL; line = test_next_line(&rest)) {
        for (size_t i = 0; i < 4; i++) {
            size_t word = strlen(verdicts[i].word);
            if (strncmp(line, verdicts[i].word, word) != 0 || line[word] != ' ') {
                continue;
            }
            char *text = line + word + 1;
            size_t offset = SIZE_MAX;
            if (verdicts[i].status != PTL_OK) {
                offset = strtoul(text, &text, 10);
                text++;
            }
            struct ptl_json_error error;
            enum ptl_status status = parse(text, undo_percent(text), &tight, &error);
            if (status != verdicts[i].status || error.offset != offset) {
                print_error("status %d at %zu (%s), want %s: %s\n", status, error.offset,
                            error.reason != NULL ? error.reason : "-", verdicts[i].word, text);
                wrong++;
            }
            met[i]++;
        }
    }
    free(data);
    assert_int_equal(wrong, 0);
    assert_in_range(met[0], 20, 500);
    assert_in_range(met[1], 50, 500);
    assert_in_range(met[2], 5, 500);
    assert_in_range(met[3], 3, 500);
}

// Feeds a file line by line; want[i] is the offset of line i's refusal, -1 where it must pass.
static void assert_lines(const char *name, const int *want, size_t count)
{
    size_t size;
    char *data = test_read_data(name, &size);
    char *rest = data;
    size_t at = 0;
    int wrong = 0;
    for (char *line = test_next_line(&rest); line != NULL; line = test_next_line(&rest)) {
        assert_true(at < count);
        struct ptl_json_error error;
        enum ptl_status status = parse(line, strlen(line), &limits, &error);
        int got = status == PTL_OK ? -1 : (int)error.offset;
        if (got != want[at]) {
            print_error("%s:%zu: %d (%s), want %d\n", name, at + 1, got,
                        error.reason != NULL ? error.reason : "passed", want[at]);
            wrong++;
        }
        at++;
    }
    free(data);
    assert_int_equal(at, count);
    assert_int_equal(wrong, 0);
}

#define ASSERT_LINES(name, ...)                                                                    \
    do {                                                                                           \
        static const int want[] = {__VA_ARGS__};                                                   \
        assert_lines((name), want, sizeof(want) / sizeof(want[0]));                                \
    } while (0)

// R13: what other strict tokenizers let through.
static void test_plainly_invalid_json_is_refused_at_its_byte(void **state)
{
    (void)state;
    ASSERT_LINES("json/r13_refuse.txt", 41, 0, 0, 14, 13, 42, 39, 39, 48, 45, 44, 45, 43, 43, 44,
                 45, 44, 43, 44, 46, 47, 43, 45, 48, 44, 47, 45, 49, 49, 0, 0, 38, 38, 14);
}

static void test_odd_but_valid_json_passes(void **state)
{
    (void)state;
    ASSERT_LINES("json/r13_accept.txt", -1, -1, -1, -1, -1, -1);
}

// R01: an escaped NUL sinks a whole batch in jsonb; a literal backslash before u0000 does not.
static void test_escaped_nul_is_refused(void **state)
{
    (void)state;
    ASSERT_LINES("json/r01_nul.jsonl", -1, 59, 46, 58, 69, 18, 38, -1, -1);
}

// R14: forms that a store rewrites pass unchanged; a doubled member of the event does not pass.
static void test_forms_that_stores_rewrite(void **state)
{
    (void)state;
    ASSERT_LINES("json/r14_pairs.jsonl", -1, -1, -1, -1, -1, -1, -1, 22, -1);
}

// R39: numbers that are Infinity or zero in a reader, or grow in a store.
static void test_numbers_outside_a_double_are_refused(void **state)
{
    (void)state;
    ASSERT_LINES("json/r39_numbers.jsonl", 51, 66, 56, 58, -1, -1, -1, 50, -1);
}

static struct ptl_event parsed(const char *text, enum ptl_door door)
{
    struct ptl_event event;
    struct ptl_json_error error = {0};
    enum ptl_status status = ptl_event_parse(test_span(text), door, &limits, &event, &error);
    if (status != PTL_OK) {
        fail_msg("%d at %zu: %s", status, error.offset, error.reason);
    }
    return event;
}

static void test_fields_are_taken(void **state)
{
    (void)state;
    struct ptl_event event = parsed("{\"metadata\": {\"fw\":1} ,\"severity\":\"critical\","
                                    "\"data\":{ \"k\":1, \"k\":2 },\"source\":\"p\\u0031\","
                                    "\"timestamp\":\"2026-11-24T18:59:26.123456+01:00\","
                                    "\"event_type\":\"t\\/x\"}",
                                    PTL_DOOR_OUTSIDE);
    assert_span_equal(event.event_type, "t\\/x");
    assert_span_equal(event.source, "p\\u0031");
    assert_span_equal(event.data, "{ \"k\":1, \"k\":2 }");
    assert_span_equal(event.metadata, "{\"fw\":1}");
    assert_int_equal(event.severity, PTL_CRITICAL);
    assert_true(event.has_timestamp);
    assert_true(event.unix_ms == 1795543166123);

    event = parsed("{\"event_type\":\"t\",\"data\":{},\"metadata\":null,\"timestamp\":null}",
                   PTL_DOOR_OUTSIDE);
    assert_int_equal(event.source.len, 0);
    assert_int_equal(event.metadata.len, 0);
    assert_false(event.has_timestamp);
    assert_int_equal(event.severity, PTL_INFO);

    event = parsed("{\"event_type\":\"petrel.status\",\"data\":{}}", PTL_DOOR_OWN);
    assert_span_equal(event.event_type, "petrel.status");
}

// The bound of size is exact: one byte more is refused, and white space around members is free.
static void test_size_bound(void **state)
{
    (void)state;
    struct ptl_event event =
        parsed("{\"event_type\":\"t\",\"data\":{\"k\":\"\"}}", PTL_DOOR_OUTSIDE);
    size_t small = ptl_record_bytes_max(&event, (struct ptl_span){NULL, 0});
    size_t room = limits.event_bytes_max - small;
    for (size_t extra = 0; extra < 2; extra++) {
        char text[2048];
        char filler[2048];
        memset(filler, 'x', sizeof(filler));
        int len =
            snprintf(text, sizeof(text), "{\"event_type\" : \"t\" , \"data\" :  {\"k\":\"%.*s\"} }",
                     (int)(room + extra), filler);
        struct ptl_json_error error;
        assert_int_equal(parse(text, (size_t)len, &limits, &error),
                         extra == 0 ? PTL_OK : PTL_E_TOO_BIG);
        if (extra == 1) {
            assert_int_equal(error.offset, 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_corner_cases),
        cmocka_unit_test(test_plainly_invalid_json_is_refused_at_its_byte),
        cmocka_unit_test(test_odd_but_valid_json_passes),
        cmocka_unit_test(test_escaped_nul_is_refused),
        cmocka_unit_test(test_forms_that_stores_rewrite),
        cmocka_unit_test(test_numbers_outside_a_double_are_refused),
        cmocka_unit_test(test_fields_are_taken),
        cmocka_unit_test(test_size_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
