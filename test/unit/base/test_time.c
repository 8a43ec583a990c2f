// Goal: time stamps are written and read exactly, and what design.md refuses is refused. Method:
// known instants, every day of 1970 to 2199 against a calendar counted day by day, and texts that
// are wrong in one place.
#include "ptl_test.h"

#include "ptl_bytes.h"

static void assert_written(int64_t unix_ms, const char *want)
{
    uint8_t buf[24];
    struct ptl_writer w = ptl_writer_on(buf, sizeof(buf));
    ptl_write_rfc3339(&w, unix_ms);
    assert_false(w.overflow);
    assert_span_equal(((struct ptl_span){buf, w.len}), want);
}

static void test_known_instants(void **state)
{
    (void)state;
    assert_written(0, "1970-01-01T00:00:00.000Z");
    assert_written(951782400000 - 1, "2000-02-28T23:59:59.999Z");
    assert_written(951782400000, "2000-02-29T00:00:00.000Z");
    assert_written(1795543166123, "2026-11-24T17:59:26.123Z");
    assert_written(4107542400000 - 1, "2100-02-28T23:59:59.999Z");
    assert_written(4107542400000, "2100-03-01T00:00:00.000Z");
    assert_written(253402300799999, "9999-12-31T23:59:59.999Z");
    uint8_t buf[24];
    struct ptl_writer w = ptl_writer_on(buf, sizeof(buf));
    expect_assert_failure(ptl_write_rfc3339(&w, -1));
    expect_assert_failure(ptl_write_rfc3339(&w, 253402300800000));
}

static int days_in(int year, int month)
{
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

static void test_every_day_both_ways(void **state)
{
    (void)state;
    int64_t day_ms = 0;
    for (int year = 1970; year <= 2199; year++) {
        for (int month = 1; month <= 12; month++) {
            for (int day = 1; day <= days_in(year, month); day++) {
                int64_t at = day_ms + (day * 2791827 + year * 7919) % 86400000;
                int ms = (int)(at - day_ms);
                char want[64];
                (void)snprintf(want, sizeof(want), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", year,
                               month, day, ms / 3600000, ms / 60000 % 60, ms / 1000 % 60,
                               ms % 1000);
                assert_written(at, want);
                int64_t read = -1;
                assert_int_equal(ptl_rfc3339_parse(test_span(want), &read), PTL_OK);
                assert_true(read == at);
                day_ms += 86400000;
            }
        }
    }
    assert_true(day_ms == 7258118400000);
}

static void test_accepted_forms(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t unix_ms;
    } cases[] = {
        {"2026-11-24T17:59:26Z", 1795543166000},
        {"2026-11-24t17:59:26z", 1795543166000},
        {"2026-11-24T17:59:26.1Z", 1795543166100},
        {"2026-11-24T17:59:26.12Z", 1795543166120},
        {"2026-11-24T17:59:26.1239999999999999999999999999Z", 1795543166123},
        {"2026-11-24T19:59:26.123+02:00", 1795543166123},
        {"2026-11-24T12:29:26.123-05:30", 1795543166123},
        {"2026-11-24T17:59:26.123-00:00", 1795543166123},
        {"1969-12-31T23:00:00-01:00", 0},
        {"1970-01-01T23:59:00+23:59", 0},
        {"2200-01-01T00:59:59.999+01:00", 7258118399999},
        {"2199-12-31T23:59:59.999Z", 7258118399999},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t got = -1;
        size_t len = strlen(cases[i].text);
        uint8_t *text = test_exact_copy(cases[i].text, len);
        assert_int_equal(ptl_rfc3339_parse((struct ptl_span){text, len}, &got), PTL_OK);
        assert_true(got == cases[i].unix_ms);
        // No prefix of one is another, save for digits of the fraction, which end in the zone.
        for (size_t cut = 0; cut < len; cut++) {
            uint8_t *prefix = test_exact_copy(text, cut);
            assert_int_equal(ptl_rfc3339_parse((struct ptl_span){prefix, cut}, &got), PTL_E_FORMAT);
            free(prefix);
        }
        free(text);
    }
}

static void test_refused_forms(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "2026-11-24",
        "2026-11-24T17:59:26",  // no zone
        "2026-11-24 17:59:26Z", // no T
        "2026-11-24T17:59:60Z", // leap second
        "2026-11-24T17:60:00Z",
        "2026-11-24T24:00:00Z",
        "2026-11-31T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z", // not a leap year
        "2026-00-10T00:00:00Z",
        "2026-13-10T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "1969-12-31T23:59:59.999Z",
        "1969-12-31T23:59:59-00:00",
        "1970-01-01T00:00:00+00:01",
        "2199-12-31T23:59:59-00:01",
        "2200-01-01T00:00:00Z",
        "9999-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-11-24T17:59:26.Z", // empty fraction
        "2026-11-24T17:59:26,5Z",
        "2026-11-24T17:59:26+0200",
        "2026-11-24T17:59:26+24:00",
        "2026-11-24T17:59:26+02:60",
        "2026-11-24T17:59:26+2:00",
        "2026-11-24T17:59:26ZZ",
        "2026-11-24T17:59:26Z ",
        " 2026-11-24T17:59:26Z",
        "2026-1-24T17:59:26Z",
        "02026-11-24T17:59:26Z",
        "+2026-11-24T17:59:26Z",
        "20261124T175926Z",
        "2026-11-24T17:59:26.1a3Z",
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t got = -77;
        if (ptl_rfc3339_parse(test_span(cases[i]), &got) != PTL_E_FORMAT || got != -77) {
            fail_msg("accepted: %s", cases[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_instants),
        cmocka_unit_test(test_every_day_both_ways),
        cmocka_unit_test(test_accepted_forms),
        cmocka_unit_test(test_refused_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
