// Goal: an upgrade request is answered as Realtime answers it. Method: a table of requests with
// the status and body recorded from a real server (transcript 03, section "handshake").

#include "ptl_test.h"

#include "upgrade.h"

static const struct ptl_rt_secret secret = {.bytes = "s", .len = 1};

static void refused(const char *path, const char *vsn, const char *key, unsigned status,
                    const char *body, bool delayed)
{
    struct ptl_rt_upgrade request = {path, vsn, key};
    const struct ptl_rt_refusal *r = ptl_rt_upgrade_judge(&request, &secret, 1000);
    assert_non_null(r);
    assert_int_equal(status, r->status);
    assert_string_equal(body, r->body);
    assert_int_equal(delayed, r->delayed);
}

static void good_requests_pass(void **state)
{
    (void)state;
    static const char *const paths[] = {"/realtime/v1/websocket", "/socket/websocket",
                                        "/socket/websocket/"};
    char *key = ptl_rt_jwt_mint("anon", NULL, 1000, 60, &secret);
    for (size_t i = 0; i < 3; i++) {
        struct ptl_rt_upgrade request = {paths[i], "2.0.0", key};
        assert_null(ptl_rt_upgrade_judge(&request, &secret, 1000));
    }
    free(key);
}

static void paths_versions_and_keys_are_checked_in_this_order(void **state)
{
    (void)state;
    static const char path[] = "/socket/websocket";
    char *expired = ptl_rt_jwt_mint("anon", NULL, 900, 60, &secret);
    refused("/socket", NULL, NULL, 404, "Not Found", false);
    refused("/socket/websocketx", "2.0.0", expired, 404, "Not Found", false);
    static const char *const versions[] = {"", "9", "3.0.0", "2.0", "2.0.", "2.0.x", "2.1.0"};
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        refused(path, versions[i], NULL, 403, "", false);
    }
    refused(path, NULL, NULL, 403, "", false);    // absent means 1.0.0, which is a later issue
    refused(path, "1.0.0", NULL, 403, "", false); // as is this
    refused(path, "2.0.0", NULL, 401, "{\"error\":\"API key is missing\"}", true);
    refused(path, "2.0.0", "", 401, "{\"error\":\"The token provided is not a valid JWT\"}", true);
    refused(path, "2.0.0", "abc", 401, "{\"error\":\"The token provided is not a valid JWT\"}",
            true);
    refused(path, "2.0.0", expired, 401, "{\"error\":\"Token has expired\"}", true);
    expired[strlen(expired) - 5] ^= 1;
    refused(path, "2.0.0", expired, 401, "{\"error\":\"Failed to validate JWT signature\"}", true);
    free(expired);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_requests_pass),
        cmocka_unit_test(paths_versions_and_keys_are_checked_in_this_order),
    };
    return cmocka_run_group_tests_name("realtime_server_upgrade", tests, NULL, NULL);
}
