// Goal: the checker takes exactly what design.md allows, says where a text goes wrong, and walking
// a checked text gives back what stands in it. Method: corner cases as data (test/data/json), each
// in a copy of exactly its size so that AddressSanitizer sees a read beyond it, and cut at every
// byte.
#include "ptl_test.h"

#include "ptl_bytes.h"
#include "ptl_json.h"

static unsigned hex(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

// Undoes %XX in place; returns the length.
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

static enum ptl_status check(const void *text, size_t len, uint32_t depth,
                             struct ptl_json_error *error)
{
    struct ptl_json_value value;
    uint8_t *copy = test_exact_copy(text, len);
    enum ptl_status status = ptl_json_check((struct ptl_span){copy, len}, depth, &value, error);
    if (status == PTL_OK) {
        assert_true(value.text.ptr >= copy);
        assert_true(value.text.ptr + value.text.len <= copy + len);
        assert_true(value.text.len > 0);
    }
    free(copy);
    return status;
}

static void test_corner_cases(void **state)
{
    (void)state;
    size_t size;
    char *data = test_read_data("json/values.txt", &size);
    char *rest = data;
    int accepted = 0;
    int refused = 0;
    int wrong = 0;
    for (char *line = test_next_line(&rest); line != NULL; line = test_next_line(&rest)) {
        struct ptl_json_error error = {.offset = SIZE_MAX, .reason = NULL};
        if (strncmp(line, "ok ", 3) == 0) {
            char *text = line + 3;
            if (check(text, undo_percent(text), 32, &error) != PTL_OK) {
                print_error("refused at %zu (%s): %s\n", error.offset, error.reason, text);
                wrong++;
            }
            accepted++;
        } else if (strncmp(line, "bad ", 4) == 0) {
            char *text;
            unsigned long offset = strtoul(line + 4, &text, 10);
            text++;
            enum ptl_status status = check(text, undo_percent(text), 32, &error);
            if (status != PTL_E_FORMAT || error.offset != offset || error.reason == NULL) {
                print_error("status %d at %zu (%s), want %lu: %s\n", status, error.offset,
                            error.reason != NULL ? error.reason : "-", offset, text);
                wrong++;
            }
            refused++;
        } else {
            assert_true(line[0] == '#' || line[0] == '\0');
        }
    }
    free(data);
    assert_int_equal(wrong, 0);
    assert_in_range(accepted, 100, 1000);
    assert_in_range(refused, 200, 1000);
}

// A text that ends in a bracket or quote has no prefix that is JSON, and the fault of a prefix is
// that it ends.
static void test_every_prefix_is_refused(void **state)
{
    (void)state;
    static const char whole[] = "{\"name\":[1.5e-3,true,null,\"x\\u00e9\\ud83d\\ude00\xc3\xa9\"],"
                                "\"b\":{\"c\":{},\"d\":[],\"long key, more than eight\":false}}";
    struct ptl_json_error error;
    assert_int_equal(check(whole, sizeof(whole) - 1, 3, &error), PTL_OK);
    for (size_t len = 0; len < sizeof(whole) - 1; len++) {
        error.offset = SIZE_MAX;
        assert_int_equal(check(whole, len, 3, &error), PTL_E_FORMAT);
        // A cut inside a character or a pair is blamed on its first byte.
        assert_true(error.offset <= len && error.offset + 12 > len);
    }
}

// Any byte at any place of a string: those that need a look get it wherever eight bytes at a time
// are looked at.
static void test_every_byte_at_every_place(void **state)
{
    (void)state;
    for (size_t place = 1; place <= 20; place++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            char text[] = "\"abcdefghijklmnopqrst\"";
            text[place] = (char)byte;
            struct ptl_json_error error = {.offset = SIZE_MAX};
            enum ptl_status status = check(text, sizeof(text) - 1, 1, &error);
            if (byte == '"') {
                assert_int_equal(error.offset, place + 1); // what stands behind the string
            } else if (byte == '\\') {
                bool escape = place < 20 && strchr("bfnrt", text[place + 1]) != NULL;
                assert_int_equal(status, escape ? PTL_OK : PTL_E_FORMAT);
            } else if (byte < 0x20 || byte >= 0x80) {
                assert_int_equal(error.offset, place);
            } else {
                assert_int_equal(status, PTL_OK);
            }
        }
    }
}

static size_t nested(char *buf, uint32_t depth, bool objects)
{
    size_t len = 0;
    for (uint32_t i = 0; i < depth; i++) {
        len += (size_t)sprintf(buf + len, "%s", objects && i % 2 == 0 ? "{\"k\":" : "[");
    }
    buf[len++] = '1';
    for (uint32_t i = depth; i-- > 0;) {
        buf[len++] = objects && i % 2 == 0 ? '}' : ']';
    }
    return len;
}

static void test_depth(void **state)
{
    (void)state;
    char buf[512];
    struct ptl_json_error error;
    for (int objects = 0; objects < 2; objects++) {
        for (uint32_t depth = 1; depth <= 40; depth++) {
            size_t len = nested(buf, depth, objects);
            enum ptl_status want = depth <= PTL_JSON_DEPTH_MAX ? PTL_OK : PTL_E_TOO_BIG;
            assert_int_equal(check(buf, len, depth, &error), want);
            assert_int_equal(check(buf, len, depth - 1, &error), PTL_E_TOO_BIG);
            if (!objects && depth <= PTL_JSON_DEPTH_MAX) {
                assert_int_equal(error.offset, depth - 1);
            }
        }
    }
    // Siblings do not add up, and what closes must be what was opened, at any depth.
    assert_int_equal(check("[[],[[]],{},[{}]]", 17, 3, &error), PTL_OK);
    size_t len = nested(buf, 32, true);
    buf[len - 32] = buf[len - 32] == '}' ? ']' : '}';
    assert_int_equal(check(buf, len, 32, &error), PTL_E_FORMAT);
    assert_int_equal(error.offset, len - 32);
}

static struct ptl_json_value checked(const char *text)
{
    struct ptl_json_value value;
    struct ptl_json_error error;
    assert_int_equal(ptl_json_check(test_span(text), 32, &value, &error), PTL_OK);
    return value;
}

static void test_value_spans_leave_white_space_out(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *want;
        enum ptl_json_type type;
    } cases[] = {
        {" {\"a\": 1 } ", "{\"a\": 1 }", PTL_JSON_OBJECT},
        {"\t[1]\n", "[1]", PTL_JSON_ARRAY},
        {" \"s \" ", "\"s \"", PTL_JSON_STRING},
        {" -1.5 ", "-1.5", PTL_JSON_NUMBER},
        {" true ", "true", PTL_JSON_TRUE},
        {" false ", "false", PTL_JSON_FALSE},
        {" null ", "null", PTL_JSON_NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ptl_json_value value = checked(cases[i].text);
        assert_int_equal(value.type, cases[i].type);
        assert_span_equal(value.text, cases[i].want);
    }
}

static void test_iterating(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        const char *text;
        enum ptl_json_type type;
    } want[] = {
        {"a", "1", PTL_JSON_NUMBER},
        {"b\\\"}", "\"x,\\\\\"", PTL_JSON_STRING},
        {"", "{ \"in\" : [ \"]}\" , 2 ] }", PTL_JSON_OBJECT},
        {"d", "[]", PTL_JSON_ARRAY},
        {"e", "null", PTL_JSON_NULL},
        {"f", "-2e5", PTL_JSON_NUMBER},
    };
    struct ptl_json_value object =
        checked(" { \"a\" : 1 ,\"b\\\"}\":\"x,\\\\\" , \"\" :{ \"in\" : [ \"]}\" , 2 ] }, "
                "\"d\":[],\"e\":null,\"f\":-2e5 } ");
    struct ptl_json_iter iter = ptl_json_iterate(object);
    struct ptl_json_value value;
    struct ptl_span key;
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        assert_true(ptl_json_next(&iter, &key, &value));
        assert_span_equal(key, want[i].key);
        assert_span_equal(value.text, want[i].text);
        assert_int_equal(value.type, want[i].type);
    }
    assert_false(ptl_json_next(&iter, &key, &value));
    assert_false(ptl_json_next(&iter, &key, &value));

    iter = ptl_json_iterate(checked("[ 1 , [2,3] ,\"]\" ]"));
    assert_true(ptl_json_next(&iter, &key, &value));
    assert_int_equal(key.len, 0);
    assert_span_equal(value.text, "1");
    assert_true(ptl_json_next(&iter, NULL, &value));
    assert_span_equal(value.text, "[2,3]");
    assert_true(ptl_json_next(&iter, NULL, &value));
    assert_span_equal(value.text, "\"]\"");
    assert_false(ptl_json_next(&iter, NULL, &value));

    iter = ptl_json_iterate(checked("{ }"));
    assert_false(ptl_json_next(&iter, &key, &value));
    iter = ptl_json_iterate(checked("[]"));
    assert_false(ptl_json_next(&iter, &key, &value));
    expect_assert_failure((void)ptl_json_iterate(checked("1")));
}

static void test_members_by_name(void **state)
{
    (void)state;
    struct ptl_json_value object =
        checked("{\"x\":{\"event\":0},\"event\\u005ftype\":1,\"event_type\":2,\"\":3}");
    struct ptl_json_value value;
    assert_true(ptl_json_member(object, "event_type", &value));
    assert_span_equal(value.text, "1"); // the first one wins
    assert_true(ptl_json_member(object, "", &value));
    assert_span_equal(value.text, "3");
    assert_false(ptl_json_member(object, "event", &value));
    assert_false(ptl_json_member(object, "event_type2", &value));
    assert_false(ptl_json_member(checked("[1]"), "a", &value));
}

static void test_text_compared_unescaped(void **state)
{
    (void)state;
    static const struct {
        const char *raw;
        const char *text;
        bool equal;
        bool prefix;
    } cases[] = {
        {"event_type", "event_type", true, true},
        {"event\\u005ftype", "event_type", true, true},
        {"\\u0065vent_typ\\u0065", "event_type", true, true},
        {"event_typ", "event_type", false, false},
        {"event_types", "event_type", false, true},
        {"petrel.x", "petrel.", false, true},
        {"\\u0070etrel\\u002ex", "petrel.", false, true},
        {"petrel\\u002E", "petrel.", true, true},
        {"Petrel.x", "petrel.", false, false},
        {"", "", true, true},
        {"", "a", false, false},
        {"a", "", false, true},
        {"\\n\\t\\b\\f\\r\\/\\\\\\\"", "\n\t\b\f\r/\\\"", true, true},
        {"\\u00e9", "\xc3\xa9", true, true},
        {"\\u20ac", "\xe2\x82\xac", true, true},
        {"\\ud83d\\ude00", "\xf0\x9f\x98\x80", true, true},
        {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80", true, true},
        {"\\u00e9", "\xc3", false, true},
        {"\\u00e9", "\xc3\xa8", false, false},
        {"a\\\\b", "a\\b", true, true},
        {"a\\\\b", "a\\\\b", false, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t len = strlen(cases[i].raw);
        uint8_t *raw = test_exact_copy(cases[i].raw, len);
        struct ptl_span span = {raw, len};
        assert_int_equal(ptl_json_text_equals(span, cases[i].text), cases[i].equal);
        assert_int_equal(ptl_json_text_has_prefix(span, cases[i].text), cases[i].prefix);
        if (cases[i].equal) {
            uint8_t buf[16];
            size_t want = strlen(cases[i].text);
            size_t got = 99;
            assert_int_equal(ptl_json_unescape(span, buf, sizeof(buf), &got), PTL_OK);
            assert_span_equal(((struct ptl_span){buf, got}), cases[i].text);
            assert_int_equal(ptl_json_unescape(span, buf, want, &got), PTL_OK);
            if (want > 0) {
                assert_int_equal(ptl_json_unescape(span, buf, want - 1, &got), PTL_E_TOO_BIG);
            }
        }
        free(raw);
    }
    assert_true(ptl_json_text_equals((struct ptl_span){NULL, 0}, ""));
    assert_span_equal(ptl_json_string_body(checked("\"a\\n\"")), "a\\n");
    assert_span_equal(ptl_json_string_body(checked("\"\"")), "");
}

static void test_integers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t want;
    } good[] = {
        {"0", 0},
        {"7", 7},
        {"9007199254740991", PTL_SEQ_MAX},
        {"18446744073709551615", UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        uint64_t got = 1;
        assert_int_equal(ptl_json_u64(checked(good[i].text), &got), PTL_OK);
        assert_true(got == good[i].want);
    }
    static const char *const bad[] = {
        "-1",    "-0",   "1.0", "1e0", "18446744073709551616", "99999999999999999999",
        "\"1\"", "null", "[1]", "1E2", "184467440737095516150"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint64_t got;
        assert_int_equal(ptl_json_u64(checked(bad[i]), &got), PTL_E_FORMAT);
    }
}

static void test_reading_member_by_member(void **state)
{
    (void)state;
    struct ptl_json_reader r;
    struct ptl_span key;
    struct ptl_json_value value;
    struct ptl_span text = PTL_SPAN_OF(" { \"a\" : [ 1 ] ,\"b\":2 } ");
    assert_int_equal(ptl_json_read_object(&r, text, 2), PTL_OK);
    assert_int_equal(ptl_json_read_member(&r, &key, &value), PTL_OK);
    assert_span_equal(key, "a");
    assert_span_equal(value.text, "[ 1 ]");
    assert_int_equal(ptl_json_read_member(&r, &key, &value), PTL_OK);
    assert_span_equal(key, "b");
    assert_span_equal(value.text, "2");
    assert_int_equal(ptl_json_read_member(&r, &key, &value), PTL_E_EMPTY);

    static const struct {
        const char *text;
        enum ptl_status status;
        size_t offset;
    } bad[] = {
        {"", PTL_E_FORMAT, 0},           {"[1]", PTL_E_FORMAT, 0},
        {"{", PTL_E_FORMAT, 1},          {"{\"a\":1,}", PTL_E_FORMAT, 7},
        {"{,\"a\":1}", PTL_E_FORMAT, 1}, {"{\"a\":1 \"b\":2}", PTL_E_FORMAT, 7},
        {"{\"a\":1}x", PTL_E_FORMAT, 7}, {"{\"a\":[[1]]}", PTL_E_TOO_BIG, 6},
        {"{\"a\":1", PTL_E_FORMAT, 6},   {"{\"a\":1]", PTL_E_FORMAT, 6},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        enum ptl_status status = ptl_json_read_object(&r, test_span(bad[i].text), 2);
        while (status == PTL_OK) {
            status = ptl_json_read_member(&r, &key, &value);
        }
        assert_int_equal(status, bad[i].status);
        assert_int_equal(r.error.offset, bad[i].offset);
        assert_non_null(r.error.reason);
    }
}

// The verdict on a number agrees with the C library's conversion, which the component must not use.
static void test_number_range_agrees_with_strtod(void **state)
{
    (void)state;
    struct ptl_prng prng;
    ptl_prng_seed(&prng, 11);
    int refused = 0;
    for (int i = 0; i < 200000; i++) {
        // Near the limits: their digits, with a change somewhere, at an exponent near theirs.
        char digits[64];
        bool high = ptl_prng_below(&prng, 2);
        (void)snprintf(digits, sizeof(digits), "%s",
                       high ? "179769313486231580793728971405303415079934132710037826"
                            : "247032822920623272088284396434110686182529901307162382");
        digits[1 + ptl_prng_below(&prng, 53)] = '\0';
        size_t last = ptl_prng_below(&prng, (uint32_t)strlen(digits));
        digits[last] = (char)('0' + ptl_prng_below(&prng, 10));
        uint32_t point = ptl_prng_below(&prng, (uint32_t)strlen(digits) + 1);
        int exponent = (high ? 309 : -323) - (int)point + (int)ptl_prng_below(&prng, 3) - 1;
        char text[96];
        const char *whole = point == 0 || digits[0] == '0' ? "0" : "";
        if (digits[0] == '0') {
            point = 0;
        }
        (void)snprintf(text, sizeof(text), "%s%.*s%s%se%d", whole, (int)point, digits,
                       digits[point] != '\0' ? "." : "", digits + point, exponent);
        if (strlen(text) > PTL_JSON_NUMBER_MAX) {
            continue;
        }
        double value = strtod(text, NULL);
        bool zero = strspn(text, "0.") == strcspn(text, "e");
        bool fits = value <= 1.7976931348623157e308 && (value != 0 || zero);
        struct ptl_json_error error;
        struct ptl_json_value json;
        enum ptl_status status = ptl_json_check(test_span(text), 1, &json, &error);
        if (status != (fits ? PTL_OK : PTL_E_FORMAT)) {
            fail_msg("%s: %d at %zu, %s", text, status, error.offset, fits ? "fits" : "does not");
        }
        refused += !fits;
    }
    assert_in_range(refused, 10000, 190000);
}

static void test_utf8(void **state)
{
    (void)state;
    assert_true(ptl_utf8_valid(PTL_SPAN_OF("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")));
    assert_true(ptl_utf8_valid((struct ptl_span){NULL, 0}));
    assert_false(ptl_utf8_valid(PTL_SPAN_OF("a\xc3")));
    assert_false(ptl_utf8_valid(PTL_SPAN_OF("\xed\xa0\x80")));

    struct ptl_span text = PTL_SPAN_OF("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    static const size_t want[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};
    for (size_t max = 0; max < sizeof(want) / sizeof(want[0]); max++) {
        assert_int_equal(ptl_utf8_cut(text, max), want[max]);
    }
    assert_int_equal(ptl_utf8_cut(PTL_SPAN_OF("\x80\x80\x80\x80\x80\x80"), 5), 5);
}

// Noise: the checker never reads outside (AddressSanitizer), and what it takes can be walked to its
// end in no more turns than it has bytes.
static void test_noise(void **state)
{
    (void)state;
    static const char alphabet[] = "{}[],:\"\\u0de8tfn-1.e \t\xc3\xa9\x01";
    struct ptl_prng prng;
    ptl_prng_seed(&prng, 5);
    for (int round = 0; round < 200000; round++) {
        uint8_t noise[12];
        size_t len = ptl_prng_below(&prng, sizeof(noise) + 1);
        for (size_t i = 0; i < len; i++) {
            noise[i] = (uint8_t)alphabet[ptl_prng_below(&prng, sizeof(alphabet) - 1)];
        }
        struct ptl_json_error error = {.offset = SIZE_MAX};
        if (check(noise, len, 4, &error) != PTL_OK) {
            assert_true(error.offset <= len);
        }
        // Not checked, walked nevertheless: nonsense, but within bounds and bounded.
        uint8_t *copy = test_exact_copy(noise, len);
        if (len >= 2) {
            struct ptl_json_iter iter = ptl_json_iterate((struct ptl_json_value){
                .type = round & 1 ? PTL_JSON_OBJECT : PTL_JSON_ARRAY, .text = {copy, len}});
            struct ptl_json_value value;
            struct ptl_span key;
            size_t turns = 0;
            while (ptl_json_next(&iter, &key, &value)) {
                (void)ptl_json_text_equals(key, "tf");
                turns++;
            }
            assert_true(turns <= len);
        }
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_corner_cases),
        cmocka_unit_test(test_every_prefix_is_refused),
        cmocka_unit_test(test_every_byte_at_every_place),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_value_spans_leave_white_space_out),
        cmocka_unit_test(test_iterating),
        cmocka_unit_test(test_members_by_name),
        cmocka_unit_test(test_text_compared_unescaped),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_reading_member_by_member),
        cmocka_unit_test(test_number_range_agrees_with_strtod),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
