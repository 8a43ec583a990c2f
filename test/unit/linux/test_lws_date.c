// Goal: the Date header is read exactly or not at all, and only loopback counts as this machine.
// Method: known moments, every way to be malformed, addresses on both sides of the border.
#include "ptl_test.h"

#include <arpa/inet.h>

#include "lws_private.h"

static void dates(void **state)
{
    (void)state;
    int64_t ms = 0;
    assert_true(ptl_lws_date_parse("Sun, 06 Nov 1994 08:49:37 GMT", &ms)); // RFC 9110 5.6.7
    assert_int_equal(ms, INT64_C(784111777000));
    assert_true(ptl_lws_date_parse("Thu, 29 Feb 2024 23:59:59 GMT", &ms));
    assert_int_equal(ms, INT64_C(1709251199000));
    static const char *const bad[] = {"",
                                      "Sun, 06 Nov 1994 08:49:37 UTC",
                                      "Sun, 6 Nov 1994 08:49:37 GMT",
                                      "Sunday, 06-Nov-94 08:49:37 GMT",
                                      "Sun Nov  6 08:49:37 1994",
                                      "Sun, 06 nov 1994 08:49:37 GMT",
                                      "Sun, 06 anF 1994 08:49:37 GMT",
                                      "Fri, 31 Feb 2025 08:49:37 GMT",
                                      "Sun, 06 Nov 1994 24:49:37 GMT",
                                      "Sun, 06 Nov 1994 08:4x:37 GMT",
                                      "Sun, 06 Nov 1994 08:49:37 GMT "};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (ptl_lws_date_parse(bad[i], &ms)) {
            fail_msg("taken: \"%s\"", bad[i]);
        }
    }
}

static bool loopback(const char *text)
{
    struct sockaddr_storage address = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&address;
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
        v6->sin6_family = AF_INET6;
    }
    char back[64];
    ptl_lws_address_text(&address, back, sizeof(back));
    assert_string_equal(back, text);
    return ptl_lws_is_loopback(&address);
}

static void only_loopback_is_this_machine(void **state)
{
    (void)state;
    assert_true(loopback("127.0.0.1"));
    assert_true(loopback("127.255.0.9"));
    assert_true(loopback("::1"));
    assert_false(loopback("126.255.255.255"));
    assert_false(loopback("128.0.0.1"));
    assert_false(loopback("10.0.0.1"));
    assert_false(loopback("0.0.0.0"));
    assert_false(loopback("::"));
    assert_false(loopback("fe80::1"));
    assert_false(loopback("::ffff:127.0.0.1")); // mapped: refused rather than guessed
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates),
        cmocka_unit_test(only_loopback_is_this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
