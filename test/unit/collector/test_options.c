// Goal: what a user writes is understood or refused with the reason: URLs as Supabase users know
// them, key files as editors and shells leave them, lists of devices. Method: tables; real files.
#define _GNU_SOURCE
#include "ptl_test.h"

#include "devices.h"
#include "options.h"

#include <sys/stat.h>
#include <unistd.h>

static void urls_that_are_taken(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host, *path;
        uint16_t port;
        bool tls;
    } good[] = {
        {"wss://h.example", "h.example", "/realtime/v1/websocket", 443, true},
        {"https://ref.supabase.co", "ref.supabase.co", "/realtime/v1/websocket", 443, true},
        {"https://ref.supabase.co/", "ref.supabase.co", "/realtime/v1/websocket", 443, true},
        {"https://ref.supabase.co/rest/v1/", "ref.supabase.co", "/realtime/v1/websocket", 443,
         true},
        {"wss://h/realtime/v1", "h", "/realtime/v1/websocket", 443, true},
        {"wss://h/realtime/v1/websocket", "h", "/realtime/v1/websocket", 443, true},
        {"wss://h:4000/socket", "h", "/socket/websocket", 4000, true},
        {"ws://127.0.0.1:80", "127.0.0.1", "/realtime/v1/websocket", 80, false},
        {"wss://[::1]:9/socket", "::1", "/socket/websocket", 9, true},
        {"wss://[::1]", "::1", "/realtime/v1/websocket", 443, true},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct col_url url;
        assert_null(col_url_parse(good[i].text, &url));
        assert_string_equal(url.host, good[i].host);
        assert_string_equal(url.path, good[i].path);
        assert_int_equal(url.port, good[i].port);
        assert_int_equal(url.tls, good[i].tls);
    }
}

static void urls_that_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",          "h.example",    "ftp://h",       "wss://",     "wss:///x",
        "wss://h:",  "wss://h:0",    "wss://h:65536", "wss://h:1x", "wss://[::1",
        "wss://h?a", "wss://u:p@h/", "wss://h/#x",    "wss://h /",  "wss://[::1]x:",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct col_url url;
        if (col_url_parse(bad[i], &url) == NULL) {
            fail_msg("%s was taken", bad[i]);
        }
    }
    char longest[700];
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    memcpy(longest, "wss://", 6);
    struct col_url url;
    assert_non_null(col_url_parse(longest, &url));
    longest[10] = '/';
    assert_non_null(col_url_parse(longest, &url));
}

static void plain_text_stays_on_this_machine(void **state)
{
    (void)state;
    assert_true(col_host_is_loopback("127.0.0.1"));
    assert_true(col_host_is_loopback("127.1.2.3"));
    assert_true(col_host_is_loopback("::1"));
    assert_true(col_host_is_loopback("localhost"));
    assert_false(col_host_is_loopback("127.0.0.1.example.com"));
    assert_false(col_host_is_loopback("localhost.example.com"));
    assert_false(col_host_is_loopback("10.0.0.1"));
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void secrets_as_tools_leave_them(void **state)
{
    (void)state;
    static char secret[COL_SECRET_MAX];
    char path[] = "/tmp/petrel-secret-XXXXXX";
    close(mkstemp(path));
    static const char *const good[] = {"ab.c-_", "ab.c-_\n", "ab.c-_\r\n", " \tab.c-_ \n\n",
                                       ("\xef\xbb\xbf"
                                        "ab.c-_\r\n")};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        write_file(path, good[i], 0600);
        assert_true(col_secret_read(path, secret));
        assert_string_equal(secret, "ab.c-_");
    }
    static const char *const bad[] = {"",    "\n",   "\xef\xbb\xbf", "\"ab\"",
                                      "a b", "a\nb", "KEY='a'",      "caf\xc3\xa9"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        write_file(path, bad[i], 0600);
        assert_false(col_secret_read(path, secret));
    }
    write_file(path, "abc", 0640); // a group is somebody's decision
    assert_true(col_secret_read(path, secret));
    write_file(path, "abc", 0604);
    assert_false(col_secret_read(path, secret));
    unlink(path);
    assert_false(col_secret_read(path, secret));
}

static size_t living(const struct col_session *s)
{
    size_t count = 0;
    for (size_t i = 0; i < s->device_count; i++) {
        count += s->devices[i]->removed ? 0 : 1;
    }
    return count;
}

static void lists_of_devices(void **state)
{
    (void)state;
    struct col_session s;
    const struct col_session_config cfg = {.joins_at_once = 1};
    char path[] = "/tmp/petrel-devices-XXXXXX";
    close(mkstemp(path));
    struct col_device_file file = {.path = path};
    col_session_init(&s, &cfg);
    write_file(path, "\xef\xbb\xbf# comment\r\na\r\n  b # two\nb\n\nbad name\nc", 0644);
    assert_true(col_devices_refresh(&file, &s, 0));
    assert_int_equal(living(&s), 3);
    struct col_device *b = col_session_find(&s, PTL_SPAN_OF("b"));
    assert_non_null(b);
    assert_true(col_devices_refresh(&file, &s, 0)); // unchanged
    assert_int_equal(living(&s), 3);
    write_file(path, "b\nd\n", 0644);
    assert_true(col_devices_refresh(&file, &s, 0));
    assert_int_equal(living(&s), 2);
    assert_ptr_equal(col_session_find(&s, PTL_SPAN_OF("b")), b); // what stays is not touched
    assert_non_null(col_session_find(&s, PTL_SPAN_OF("d")));
    unlink(path);
    assert_false(col_devices_refresh(&file, &s, 0));
    assert_int_equal(living(&s), 2); // a file that is gone for a moment changes nothing
    write_file(path, "", 0644);
    assert_true(col_devices_refresh(&file, &s, 0));
    assert_int_equal(living(&s), 0);
    unlink(path);
    col_session_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_that_are_taken),
        cmocka_unit_test(urls_that_are_refused),
        cmocka_unit_test(plain_text_stays_on_this_machine),
        cmocka_unit_test(secrets_as_tools_leave_them),
        cmocka_unit_test(lists_of_devices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
