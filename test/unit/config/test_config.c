// Goal: a configuration that cannot work is refused before anything starts, and the message names
// the place, the key, what is allowed and the mend; one that can work is read as written. Method: a
// table of bad configurations with the words that their messages must hold, each also checked to
// fail for that reason alone (exactly one error); then good ones, field by field. docs/config.md is
// compared with the table of keys in both directions.
#include "ptl_test.h"

#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "config.h"
#include "config_table.h"

static char dir[64];
static struct ptl_config config;

struct heard {
    char text[8192];
    size_t len;
};

static void hear(void *ctx, enum ptl_config_level level, const char *text)
{
    static const char *const names[] = {"note", "warning", "error"};
    struct heard *h = ctx;
    int n = snprintf(h->text + h->len, sizeof(h->text) - h->len, "%s: %s\n", names[level], text);
    assert_true(n > 0 && (size_t)n < sizeof(h->text) - h->len);
    h->len += (size_t)n;
}

static void file_write(const char *name, const char *text, mode_t mode)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

// Replaces every ^ by the test's directory, where key, token and CA are.
static void expand(const char *text, char *out, size_t cap)
{
    size_t len = 0;
    for (; *text != '\0'; text++) {
        int n = *text == '^' ? snprintf(out + len, cap - len, "%s", dir)
                             : snprintf(out + len, cap - len, "%c", *text);
        assert_true(n > 0 && (size_t)n < cap - len);
        len += (size_t)n;
    }
}

// header {"alg":"HS256"}, payloads as named, signature "x": the agent does not verify them.
#define JWT_ANON    "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYW5vbiIsImV4cCI6NDEwMjQ0NDgwMH0.x"
#define JWT_SERVICE "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoic2VydmljZV9yb2xlIiwiZXhwIjo0MTAyNDQ0ODAwfQ.x"
#define JWT_DEVICE                                                                                 \
    "eyJhbGciOiJIUzI1NiJ9."                                                                        \
    "eyJyb2xlIjoicGV0cmVsX2RldmljZSIsImRldmljZSI6Imd3LTE3IiwiZXhwIjo0MTAyNDQ0ODAwfQ.x"
#define JWT_OLD                                                                                    \
    "eyJhbGciOiJIUzI1NiJ9."                                                                        \
    "eyJyb2xlIjoicGV0cmVsX2RldmljZSIsImRldmljZSI6Imd3LTE3IiwiZXhwIjoxMDAwMDAwMDAwfQ.x"

#define SERVER                                                                                     \
    "[server]\nurl = https://x.supabase.co\nkey_file = ^/key\ntoken_file = ^/token\nca_file = "    \
    "^/ca.pem\n"
#define STATE "[agent]\nstate_dir = ^/state\n"
#define GOOD  SERVER STATE

static bool load(const char *text, char *const *env, struct heard *heard)
{
    char expanded[4096];
    char path[128];
    heard->len = 0;
    heard->text[0] = '\0';
    expand(text, expanded, sizeof(expanded));
    file_write("c.ini", expanded, 0600);
    snprintf(path, sizeof(path), "%s/c.ini", dir);
    struct ptl_config_report report = {.ctx = heard, .say = hear};
    bool good = ptl_config_load(&config, path, env, &report);
    assert_int_equal(good, report.errors == 0);
    return good;
}

struct bad {
    const char *text;
    const char *words[4]; // all of them in the message
};

static const struct bad bad_ones[] = {
    {"[server]\nkey_file = ^/key\n" STATE,
     {"url is missing", "SUPABASE_URL", "https://xyzcompany.supabase.co"}},
    {"[server]\nurl = x.supabase.co\nkey_file = ^/key\n" STATE,
     {"url", "must begin with https://"}},
    {"[server]\nurl = ftp://x.supabase.co\nkey_file = ^/key\n" STATE, {"must begin with https://"}},
    {"[server]\nurl = \"https://x.supabase.co\"\nkey_file = ^/key\n" STATE, {"url", "https://"}},
    {"[server]\nurl = https://x.supabase.co/table/editor\nkey_file = ^/key\nca_file = "
     "^/ca.pem\n" STATE,
     {"path is not known", "project's URL alone"}},
    {"[server]\nurl = https://supabase.com\nkey_file = ^/key\nca_file = ^/ca.pem\n" STATE,
     {"dashboard"}},
    {"[server]\nurl = https://u:p@h.example\nkey_file = ^/key\nca_file = ^/ca.pem\n" STATE,
     {"no quotes, white space, user"}},
    {"[server]\nurl = https://x.example:70000\nkey_file = ^/key\nca_file = ^/ca.pem\n" STATE,
     {"port must be 1 to 65535"}},
    {"[server]\nurl = https://[::1]:4001\nkey_file = ^/key\nca_file = ^/ca.pem\n" STATE,
     {"bare IPv6", "host name"}},
    {"[server]\nurl = http://x.supabase.co\nkey_file = ^/key\n" STATE, {"without TLS", "https://"}},
    {"[server]\nurl = http://127.0.0.1:4000\nkey_file = ^/key\n" STATE,
     {"not encrypted", "plain_loopback = yes"}},
    {"[server]\nurl = https://x.supabase.co\nca_file = ^/ca.pem\n" STATE,
     {"key is missing", "key_file", "SUPABASE_KEY"}},
    {"[server]\nurl = https://x.supabase.co\nca_file = ^/ca.pem\nkey = abc\nkey_file = "
     "^/key\n" STATE,
     {"given twice", "not both"}},
    {"[server]\nurl = https://x.supabase.co\nca_file = ^/ca.pem\nkey_file = ^/nowhere\n" STATE,
     {"key_file", "/nowhere", "cannot be read", "No such file"}},
    {"[server]\nurl = https://x.supabase.co\nca_file = ^/ca.pem\nkey_file = ^/open\n" STATE,
     {"key_file", "/open", "every user", "chmod 600"}},
    {"[server]\nurl = https://x.supabase.co\nca_file = ^/ca.pem\nkey_file = ^/quoted\n" STATE,
     {"key_file", "/quoted", "remove the quotes"}},
    {"[server]\nurl = https://x.supabase.co\nca_file = ^/nowhere.pem\nkey_file = ^/key\n" STATE,
     {"ca_file", "/nowhere.pem", "cannot be read", "ca-certificates"}},
    {"[server]\nurl = https://x.supabase.co\nca_file = ^/ca.pem\nkey_file = ^/key\n"
     "token_file = ^/plain\n" STATE,
     {"token_file", "/plain", "no JWT", "device"}},
    {GOOD "[device]\nid = gw-18\n", {"[device] id = gw-18", "/token", "gw-17"}},
    {"[server]\nurl = https://x.supabase.co\nca_file = ^/ca.pem\nkey_file = ^/key\n[device]\n"
     "id = gw 17\n" STATE,
     {"[device] id = gw 17", "A-Z a-z 0-9"}},
    {GOOD "[server]\nprivate = no\n[delivery]\ndelivery = stored\n",
     {"stored needs private channels", "private = yes"}},
    {GOOD "[delivery]\ndelivery = exact\n", {"c.ini:9", "delivery = exact", "accepted, stored"}},
    {GOOD "[delivery]\ndurability = disk\n", {"c.ini:9", "durability = disk", "ram, spill, sync"}},
    {GOOD "[delivery]\ndurability = sync\n[journal]\nfile = /dev/shm/petrel/j\n",
     {"/dev/shm/petrel/j", "file system in RAM", "durability = spill"}},
    {GOOD "[journal]\nenabled = no\n", {"need a journal", "enabled = yes", "durability = ram"}},
    {GOOD "[journal]\nblock_bytes = 100000\n", {"block_bytes = 100000", "power of two"}},
    {GOOD "[journal]\nbytes = 256 KiB\n", {"[journal] bytes", "four blocks"}},
    {GOOD "[journal]\nblock_bytes = 8192\n", {"block_bytes = 8192", "twice", "16384"}},
    {GOOD "[events]\nbytes_max = 65472\n[batch]\nbytes = 200000\n",
     {"bytes_max = 65472", "up to 65471", "enabled = no"}},
    {GOOD "[batch]\nmax_delay_ms = 2s\n",
     {"c.ini:9", "max_delay_ms = 2s", "whole number", "unit is in"}},
    {GOOD "[batch]\nmax_delay_ms = 0\n", {"c.ini:9", "max_delay_ms = 0", "from 1 to 3600000"}},
    {GOOD "[batch]\nmessages_per_s = fast\n", {"messages_per_s = fast", "0 (no limit)"}},
    {GOOD "[batch]\nprofile = \"economy\"\n",
     {"profile", "balanced, low_latency, economy", "quotes"}},
    {GOOD "[batch]\neager = maybe\n", {"eager = maybe", "yes or no"}},
    {GOOD "[batch]\nbytes = 4096\n", {"[batch] bytes = 4096", "bytes_max = 16384", "16"}},
    {GOOD "[batch]\nburst = 10 ; many\n", {"burst", "a comment needs a line of its own"}},
    {GOOD "[batch]\nburst =\n", {"burst", "value is missing"}},
    {GOOD "[queue]\nbytes = 8 KiB\n", {"[queue] bytes = 8192", "two events"}},
    {GOOD "[queue]\nlow_water_percent = 80\n", {"low_water_percent = 80", "below", "75"}},
    {GOOD "[breaker]\nbackoff_base_ms = 5000\nbackoff_cap_ms = 2000\n", {"5000", "above", "2000"}},
    {GOOD "[inputs]\nseqpacket = petrel.sock\n", {"seqpacket = petrel.sock", "begins with /"}},
    {GOOD "[inputs]\nseqpacket = ^/s\ndatagram = ^/s\n", {"the same path"}},
    {GOOD
     "[inputs]\ndatagram = /tmp/0123456789012345678901234567890123456789012345678901234567890123"
     "4567890123456789012345678901234567890123456789\n",
     {"datagram", "107 bytes"}},
    {GOOD "[server]\nping_s = 5\n", {"ping_s", "0 (off) or at least 10"}},
    {GOOD "[batch]\nmax_delay = 5\n",
     {"c.ini:9", "no key max_delay", "did you mean", "max_delay_ms"}},
    {GOOD "[batch]\nheartbeat_ms = 5\n", {"no key heartbeat_ms", "[server] heartbeat_ms"}},
    {GOOD "[batches]\nburst = 5\n", {"no section [batches]", "[batch] burst"}},
    {"burst = 5\n" GOOD, {"c.ini:1", "before any [section]"}},
    {GOOD "[batch]\nburst = 5\nburst = 6\n", {"c.ini:10", "burst", "line 9"}},
    {GOOD "[batch]\nburst\n", {"c.ini:9", "neither [section] nor key = value"}},
    {GOOD "[batch\nburst = 5\n", {"c.ini:"}},
    {GOOD "[events]\ndepth_max = 99\n", {"depth_max = 99", "from 2 to 32"}},
    {GOOD "[metrics]\ninterval_ms = 10\n", {"interval_ms = 10", "from 100"}},
    {GOOD "[agent]\ntime_scale = 0\n", {"time_scale = 0", "from 1 to 100"}},
};

static void bad_configurations_say_where_and_how_to_mend(void **state)
{
    (void)state;
    struct heard heard;
    const size_t count = sizeof(bad_ones) / sizeof(bad_ones[0]);
    assert_true(count >= 25);
    for (size_t i = 0; i < count; i++) {
        if (load(bad_ones[i].text, NULL, &heard)) {
            fail_msg("taken although it is bad:\n%s", bad_ones[i].text);
        }
        for (size_t w = 0; w < 4 && bad_ones[i].words[w] != NULL; w++) {
            if (strstr(heard.text, bad_ones[i].words[w]) == NULL) {
                fail_msg("no \"%s\" in the messages of\n%s\nwhich are\n%s", bad_ones[i].words[w],
                         bad_ones[i].text, heard.text);
            }
        }
        const char *first = strstr(heard.text, "error: ");
        assert_non_null(first);
        if (strstr(first + 1, "error: ") != NULL && strstr(bad_ones[i].text, "[batch\n") == NULL) {
            fail_msg("more than one error for\n%s\n%s", bad_ones[i].text, heard.text);
        }
    }
    print_message("%zu bad configurations\n", count);
}

static void a_good_one_is_read_as_written(void **state)
{
    (void)state;
    struct heard heard;
    if (!load(GOOD
              "; comment\n# comment\n[batch]\nmessages_per_s = 0.25\nbytes = 64 KiB\n"
              "window = 3\n[journal]\nbytes = 8MiB\nblock_bytes=64k\n[delivery]\norder=strict\n"
              "delivery = stored\n[inputs]\nstdin = yes\n",
              NULL, &heard)) {
        fail_msg("%s", heard.text);
    }
    assert_string_equal(config.server.host, "x.supabase.co");
    assert_string_equal(config.server.path, "/realtime/v1/websocket");
    assert_int_equal(config.server.port, 443);
    assert_true(config.server.tls);
    assert_true(config.server.private_channels);
    assert_string_equal(config.key, "sb_publishable_abc");
    assert_string_equal(config.token, JWT_DEVICE);
    assert_string_equal(config.device.id, "gw-17"); // of the token
    assert_int_equal(config.batch.messages_per_1000_s, 250);
    assert_int_equal(config.batch.bytes, 65536);
    assert_int_equal(config.batch.window, 3);
    assert_int_equal(config.journal.bytes, 8 << 20);
    assert_int_equal(config.journal.block_bytes, 65536);
    assert_true(config.delivery.strict_order);
    assert_int_equal(config.delivery.delivery, PTL_STORED);
    assert_int_equal(config.delivery.durability, PTL_DURABLE_SPILL);
    assert_true(config.inputs.stdin_lines);
    assert_null(strstr(heard.text, "warning"));
}

static void profiles_set_what_the_file_does_not(void **state)
{
    (void)state;
    struct heard heard;
    assert_true(load(GOOD, NULL, &heard));
    assert_int_equal(config.batch.max_delay_ms, 1000);
    assert_int_equal(config.batch.messages_per_1000_s, 1000);
    assert_int_equal(config.batch.burst, 10);
    assert_false(config.batch.eager);
    assert_true(load(GOOD "[batch]\nburst = 7\nprofile = low_latency\n", NULL, &heard));
    assert_int_equal(config.batch.max_delay_ms, 50);
    assert_int_equal(config.batch.messages_per_1000_s, 10000);
    assert_int_equal(config.batch.burst, 7);
    assert_true(config.batch.eager);
    assert_true(load(GOOD "[batch]\nprofile = economy\neager = yes\n", NULL, &heard));
    assert_int_equal(config.batch.max_delay_ms, 10000);
    assert_int_equal(config.batch.messages_per_1000_s, 200);
    assert_int_equal(config.batch.burst, 5);
    assert_true(config.batch.eager);
}

static void the_environment_wins(void **state)
{
    (void)state;
    struct heard heard;
    char url[] = "SUPABASE_URL=https://y.supabase.co/rest/v1/\r";
    char delay[] = "PETREL_BATCH_MAX_DELAY_MS=77";
    char other[] = "PETREL_DEPS_DIR=/somewhere";
    char *const env[] = {url, delay, other, NULL};
    assert_true(load(GOOD "[batch]\nmax_delay_ms = 5\n", env, &heard));
    assert_string_equal(config.server.host, "y.supabase.co");
    assert_int_equal(config.batch.max_delay_ms, 77);
    char wrong[] = "PETREL_BATCH_BURST=lots";
    char *const env_wrong[] = {wrong, NULL};
    assert_false(load(GOOD, env_wrong, &heard));
    assert_non_null(strstr(heard.text, "environment PETREL_BATCH_BURST"));
    char unknown[] = "PETREL_BATCH_BURSTS=1";
    char *const env_unknown[] = {unknown, NULL};
    assert_false(load(GOOD, env_unknown, &heard));
    assert_non_null(strstr(heard.text, "environment PETREL_BATCH_BURSTS"));
}

static void url_forms(void **state)
{
    (void)state;
    static const struct {
        const char *url, *host, *path;
        uint16_t port;
        bool tls;
    } forms[] = {
        {"https://x.supabase.co", "x.supabase.co", "/realtime/v1/websocket", 443, true},
        {"https://x.supabase.co/", "x.supabase.co", "/realtime/v1/websocket", 443, true},
        {"https://x.supabase.co/rest/v1", "x.supabase.co", "/realtime/v1/websocket", 443, true},
        {"wss://x.supabase.co/realtime/v1", "x.supabase.co", "/realtime/v1/websocket", 443, true},
        {"wss://x.supabase.co/realtime/v1/websocket/", "x.supabase.co", "/realtime/v1/websocket",
         443, true},
        {"HTTPS://X.example:8443//", "X.example", "/realtime/v1/websocket", 8443, true},
        {"http://localhost:54321", "localhost", "/realtime/v1/websocket", 54321, false},
        {"ws://[::1]:4000/socket", "::1", "/socket/websocket", 4000, false},
        {"http://127.0.0.1", "127.0.0.1", "/realtime/v1/websocket", 80, false},
    };
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        const char *why = NULL;
        memset(&config, 0, sizeof(config));
        strcpy(config.server.url, forms[i].url);
        if (!ptl_url_parse(&config, &why)) {
            fail_msg("%s: %s", forms[i].url, why);
        }
        assert_string_equal(config.server.host, forms[i].host);
        assert_string_equal(config.server.path, forms[i].path);
        assert_int_equal(config.server.port, forms[i].port);
        assert_int_equal(config.server.tls, forms[i].tls);
    }
}

static void a_key_is_encoded_in_the_query(void **state)
{
    (void)state;
    char out[128];
    ptl_url_with_key("/socket/websocket", "eyJ.a-b_c~9", out, sizeof(out));
    assert_string_equal(out, "/socket/websocket?apikey=eyJ.a-b_c~9&vsn=2.0.0");
    ptl_url_with_key("/x", "a&b=c d#%+\xC3\xA9", out, sizeof(out));
    assert_string_equal(out, "/x?apikey=a%26b%3Dc%20d%23%25%2B%C3%A9&vsn=2.0.0");
}

static void the_longest_event_of_a_journal_is_taken(void **state)
{
    (void)state;
    struct heard heard;
    if (!load(GOOD "[events]\nbytes_max = 65471\n[batch]\nbytes = 200000\n", NULL, &heard)) {
        fail_msg("%s", heard.text);
    }
    if (!load(GOOD "[events]\nbytes_max = 100000\n[batch]\nbytes = 200000\n[journal]\n"
                   "enabled = no\n[delivery]\ndurability = ram\n",
              NULL, &heard)) {
        fail_msg("%s", heard.text);
    }
}

static void only_url_and_key_names_the_two_ways(void **state)
{
    (void)state;
    struct heard heard;
    assert_true(
        load("[server]\nurl = https://x.supabase.co\nca_file = ^/ca.pem\nkey_file = ^/key\n" STATE,
             NULL, &heard));
    assert_non_null(strstr(heard.text, "petrel sql"));
    assert_non_null(strstr(heard.text, "token_file"));
    assert_non_null(strstr(heard.text, "private = no"));
    assert_non_null(strstr(heard.text, "gives up receipts"));
}

static void keys_that_should_not_be_on_a_device_are_warned_of(void **state)
{
    (void)state;
    struct heard heard;
    file_write("key2", JWT_SERVICE "\n", 0600);
    file_write("token2", JWT_OLD "\n", 0600);
    assert_true(
        load("[server]\nurl = https://x.supabase.co\nca_file = ^/ca.pem\nkey_file = ^/key2\n"
             "token_file = ^/token2\n" STATE,
             NULL, &heard));
    assert_non_null(strstr(heard.text, "service_role"));
    assert_non_null(strstr(heard.text, "has expired"));
    assert_null(strstr(heard.text, "eyJ")); // no part of a secret
}

static void a_secret_in_the_file_makes_the_file_one(void **state)
{
    (void)state;
    struct heard heard;
    char path[128];
    assert_true(load("[server]\nurl = https://x.supabase.co\nca_file = ^/ca.pem\nkey = " JWT_ANON
                     "\n" STATE,
                     NULL, &heard));
    snprintf(path, sizeof(path), "%s/c.ini", dir);
    assert_int_equal(chmod(path, 0644), 0);
    heard.len = 0;
    struct ptl_config_report report = {.ctx = &heard, .say = hear};
    assert_false(ptl_config_load(&config, path, NULL, &report));
    assert_non_null(strstr(heard.text, "c.ini:4"));
    assert_non_null(strstr(heard.text, "chmod 600"));
    assert_null(strstr(heard.text, "eyJ"));
}

static void estimate_names_the_plan(void **state)
{
    (void)state;
    struct heard heard;
    char text[1024];
    assert_true(load(GOOD "[metrics]\ncpu = yes\ninterval_ms = 10000\n", NULL, &heard));
    ptl_config_estimate(&config, text, sizeof(text));
    // 30 days: 259,200 samples and 43,200 reports, each sent and delivered once.
    assert_non_null(strstr(text, "at most 2,592,000 sent"));
    assert_non_null(strstr(text, "302,400 sent"));
    assert_non_null(strstr(text, "604,800"));
    assert_non_null(strstr(text, "Free plan"));
    assert_true(load(GOOD "[device]\nfleet_size = 100\n[metrics]\ncpu = yes\n", NULL, &heard));
    ptl_config_estimate(&config, text, sizeof(text));
    assert_non_null(strstr(text, "above the Pro plan"));
}

static void timers_scale(void **state)
{
    (void)state;
    struct heard heard;
    assert_true(load(GOOD "time_scale = 10\n", NULL, &heard));
    assert_int_equal(ptl_config_scaled(&config, 25000), 2500);
    assert_int_equal(ptl_config_scaled(&config, 5), 1);
    assert_int_equal(ptl_config_scaled(&config, 0), 0);
}

// Every key is in the manual as `key` under its section's heading, and no other.
static void the_manual_has_every_key(void **state)
{
    (void)state;
    FILE *file = fopen(PTL_TEST_MANUAL, "r");
    assert_non_null(file);
    char line[1024];
    char section[64] = "";
    size_t documented = 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        char key[64];
        (void)sscanf(line, "## [%63[a-z]]", section);
        if (sscanf(line, "| `%63[a-z_]` |", key) != 1) {
            continue;
        }
        bool found = false;
        for (size_t i = 0; i < ptl_setting_count; i++) {
            found = found || (strcmp(ptl_settings[i].section, section) == 0 &&
                              strcmp(ptl_settings[i].key, key) == 0);
        }
        if (!found) {
            fail_msg("docs/config.md has [%s] %s, which is no setting", section, key);
        }
        documented++;
    }
    fclose(file);
    assert_int_equal(documented, ptl_setting_count);
}

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/var/tmp/petrel-config-XXXXXX");
    assert_non_null(mkdtemp(dir));
    file_write("key", "sb_publishable_abc\n", 0600);
    file_write("open", "sb_publishable_abc\n", 0644);
    file_write("quoted", "\"sb_publishable_abc\"\n", 0600);
    file_write("plain", "not-a-token\n", 0600);
    file_write("token", JWT_DEVICE "\n", 0600);
    file_write("ca.pem", "-----BEGIN CERTIFICATE-----\n", 0644);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    static const char *const names[] = {"key",    "open", "quoted", "plain", "token",
                                        "ca.pem", "key2", "token2", "c.ini"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[128];
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        (void)unlink(path);
    }
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_configurations_say_where_and_how_to_mend),
        cmocka_unit_test(a_good_one_is_read_as_written),
        cmocka_unit_test(profiles_set_what_the_file_does_not),
        cmocka_unit_test(the_environment_wins),
        cmocka_unit_test(url_forms),
        cmocka_unit_test(a_key_is_encoded_in_the_query),
        cmocka_unit_test(the_longest_event_of_a_journal_is_taken),
        cmocka_unit_test(only_url_and_key_names_the_two_ways),
        cmocka_unit_test(keys_that_should_not_be_on_a_device_are_warned_of),
        cmocka_unit_test(a_secret_in_the_file_makes_the_file_one),
        cmocka_unit_test(estimate_names_the_plan),
        cmocka_unit_test(timers_scale),
        cmocka_unit_test(the_manual_has_every_key),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
