// Goal: keys as people's tools leave them in files are either read right or refused with the file's
// name, never with a byte of the secret. Method: the forms of R15 (test reports) as bytes.
#include "ptl_test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "config.h"

#define KEY "sb_publishable_0123456789abcdef"

static char heard[2048];

static void hear(void *ctx, enum ptl_config_level level, const char *text)
{
    (void)ctx;
    (void)level;
    snprintf(heard, sizeof(heard), "%s", text);
}

static bool read_as_file(const char *bytes, size_t len, mode_t mode,
                         char out[PTL_CONFIG_SECRET_MAX])
{
    char path[] = "/var/tmp/petrel-secret-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
    heard[0] = '\0';
    struct ptl_config_report report = {.say = hear};
    bool good = ptl_secret_read(path, "key_file", out, &report);
    assert_int_equal(good, report.errors == 0);
    if (!good) {
        assert_non_null(strstr(heard, path));
        assert_null(strstr(heard, "0123456789"));
    }
    unlink(path);
    return good;
}

#define BYTES(text) (text), sizeof(text) - 1

static void white_space_and_bom_are_trimmed(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } forms[] = {{BYTES(KEY)},
                 {BYTES(KEY "\n")},
                 {BYTES(KEY "\r\n")},
                 {BYTES("\xEF\xBB\xBF" KEY "\n")},
                 {BYTES("  " KEY " \n\n")},
                 {BYTES("\t" KEY "\t\r\n\r\n")}};
    char out[PTL_CONFIG_SECRET_MAX];
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (!read_as_file(forms[i].bytes, forms[i].len, 0600, out)) {
            fail_msg("form %zu: %s", i, heard);
        }
        assert_string_equal(out, KEY);
    }
}

static void what_could_be_a_mistake_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        const char *words;
    } forms[] = {{BYTES("\"" KEY "\"\n"), "quotes"},
                 {BYTES("'" KEY "'"), "quotes"},
                 {BYTES(KEY "\n" KEY "\n"), "one line"},
                 {BYTES(KEY "\0"), "NUL"},
                 {BYTES("\0" KEY), "NUL"},
                 {BYTES(""), "empty"},
                 {BYTES("\n"), "empty"},
                 {BYTES("\xEF\xBB\xBF"), "empty"},
                 {BYTES("\xFF\xFEs\0b\0"), "UTF-16"},
                 {BYTES("\xFE\xFF\0s\0b"), "UTF-16"},
                 {BYTES("SUPABASE_KEY=" KEY "\n"), "NAME=value"},
                 {BYTES("sb_publishable 0123456789"), "white space"},
                 {BYTES("sb_\xC3\xA9_0123456789"), "no key has"}};
    char out[PTL_CONFIG_SECRET_MAX];
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (read_as_file(forms[i].bytes, forms[i].len, 0600, out)) {
            fail_msg("form %zu was taken as \"%s\"", i, out);
        }
        if (strstr(heard, forms[i].words) == NULL) {
            fail_msg("form %zu: no \"%s\" in \"%s\"", i, forms[i].words, heard);
        }
    }
}

static void length_and_mode(void **state)
{
    (void)state;
    static char longest[PTL_CONFIG_SECRET_MAX + 1];
    char out[PTL_CONFIG_SECRET_MAX];
    memset(longest, 'a', sizeof(longest));
    assert_true(read_as_file(longest, PTL_CONFIG_SECRET_MAX - 1, 0600, out));
    assert_int_equal(strlen(out), PTL_CONFIG_SECRET_MAX - 1);
    assert_false(read_as_file(longest, PTL_CONFIG_SECRET_MAX, 0600, out));
    assert_non_null(strstr(heard, "longer"));
    assert_true(read_as_file(BYTES(KEY), 0640, out)); // its group may
    assert_false(read_as_file(BYTES(KEY), 0604, out));
    assert_non_null(strstr(heard, "chmod 600"));
}

static void a_mode_that_cannot_be_mended_is_only_noted(void **state)
{
    (void)state;
    char out[PTL_CONFIG_SECRET_MAX];
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", "/var/tmp", 1), 0);
    assert_true(read_as_file(BYTES(KEY "\n"), 0644, out));
    assert_non_null(strstr(heard, "cannot be changed"));
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    assert_false(read_as_file(BYTES(KEY "\n"), 0644, out));
}

static void claims_of_a_token(void **state)
{
    (void)state;
    // {"role":"petrel_device","device":"gw-17","exp":4102444800}
    static const char token[] =
        "eyJhbGciOiJIUzI1NiJ9."
        "eyJyb2xlIjoicGV0cmVsX2RldmljZSIsImRldmljZSI6Imd3LTE3IiwiZXhwIjo0MTAyNDQ0ODAwfQ.x";
    char text[64];
    int64_t number = 0;
    assert_true(ptl_jwt_claim(token, "device", text, sizeof(text)));
    assert_string_equal(text, "gw-17");
    assert_true(ptl_jwt_number(token, "exp", &number));
    assert_int_equal(number, 4102444800);
    assert_false(ptl_jwt_claim(token, "sub", text, sizeof(text)));
    assert_false(ptl_jwt_claim(token, "device", text, 3)); // too little room
    static const char *const no_tokens[] = {"",       "a",    "a.b",       "a.b.c.d",
                                            "a.!!.c", "a..c", "a.bnVsbA.c"};
    for (size_t i = 0; i < sizeof(no_tokens) / sizeof(no_tokens[0]); i++) {
        assert_false(ptl_jwt_claim(no_tokens[i], "role", text, sizeof(text)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(white_space_and_bom_are_trimmed),
        cmocka_unit_test(what_could_be_a_mistake_is_refused),
        cmocka_unit_test(length_and_mode),
        cmocka_unit_test(a_mode_that_cannot_be_mended_is_only_noted),
        cmocka_unit_test(claims_of_a_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
