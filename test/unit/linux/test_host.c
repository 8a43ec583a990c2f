// Goal: a device is found under the same name at every start, from the first source that holds, and
// its clock says only what it knows. Method: a made-up root with serial numbers, machine ids and
// cards, good and bad; Date headers that agree, contradict and are confirmed, on a clock whose
// kernel is not synchronised.
#include "ptl_test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "ptl_clock.h"
#include "ptl_identity.h"

static char root[64];

static void run(const char *format, const char *what)
{
    char command[512];
    snprintf(command, sizeof(command), format, root, what, root, what);
    assert_int_equal(system(command), 0); // NOLINT(cert-env33-c): fixtures of a test
}

static void put(const char *path, const char *text)
{
    char full[256];
    run("mkdir -p \"$(dirname %s%s)\"", path);
    snprintf(full, sizeof(full), "%s%s", root, path);
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void gone(const char *path)
{
    run("rm -rf %s%s", path);
}

static void finds(const char *configured, const char *stored, const char *id, const char *from)
{
    struct ptl_identity identity;
    assert_int_equal(ptl_identity_find(configured, stored, root, &identity), PTL_OK);
    assert_true(ptl_identity_valid(identity.id));
    assert_string_equal(identity.from, from);
    if (id != NULL) {
        assert_string_equal(identity.id, id);
    }
}

#define MACHINE "/etc/machine-id"

static void the_first_source_that_holds(void **state)
{
    (void)state;
    finds("", "", NULL, "random");
    put("/sys/class/net/lo/address", "00:00:00:00:00:00\n");
    put("/sys/class/net/veth1/address", "0a:11:22:33:44:55\n");
    put("/sys/class/net/veth1/addr_assign_type", "0\n"); // no device behind it
    finds("", "", NULL, "random");
    put("/sys/class/net/wlan0/address", "dc:a6:32:00:00:02\n");
    put("/sys/class/net/wlan0/addr_assign_type", "0\n");
    put("/sys/class/net/wlan0/device/x", "");
    put("/sys/class/net/eth0/address", "dc:a6:32:00:00:01\n");
    put("/sys/class/net/eth0/addr_assign_type", "0\n");
    put("/sys/class/net/eth0/device/x", "");
    finds("", "", "mac-dca632000001", "MAC address");
    put("/sys/class/net/eth0/addr_assign_type", "1\n"); // drawn at random
    finds("", "", "mac-dca632000002", "MAC address");
    put(MACHINE, "0123456789abcdef0123456789abcdef\n");
    finds("", "", NULL, "machine id");
    put("/sys/class/dmi/id/board_serial", "BSS-0042\n");
    finds("", "", "BSS-0042", "board serial");
    put("/proc/device-tree/serial-number", "10000000abcd1234");
    finds("", "", "10000000abcd1234", "board serial");
    finds("", "kept-1", "kept-1", "journal");
    finds("gw-17", "kept-1", "gw-17", "config");
}

static void machine_ids_that_do_not_hold(void **state)
{
    (void)state;
    gone("/sys");
    gone("/proc");
    static const char *const bad[] = {"",
                                      "\n",
                                      "uninitialized\n",
                                      "0123456789ABCDEF0123456789ABCDEF\n",
                                      "00000000000000000000000000000000\n",
                                      "0123456789abcdef0123456789abcde\n",
                                      "0123456789abcdef0123456789abcdeff\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        put(MACHINE, bad[i]);
        finds("", "", NULL, "random");
    }
    struct ptl_identity first;
    struct ptl_identity second;
    put(MACHINE, "0123456789abcdef0123456789abcdef\n");
    assert_int_equal(ptl_identity_find("", "", root, &first), PTL_OK);
    put(MACHINE, "0123456789abcdef0123456789abcdef\r\n"); // edited on another system
    assert_int_equal(ptl_identity_find("", "", root, &second), PTL_OK);
    assert_string_equal(first.id, second.id);
    assert_null(strstr(first.id, "0123456789abcdef")); // the machine id itself stays here
    put(MACHINE, "1123456789abcdef0123456789abcdef\n");
    assert_int_equal(ptl_identity_find("", "", root, &second), PTL_OK);
    assert_string_not_equal(first.id, second.id);
}

static void serials_that_do_not_hold(void **state)
{
    (void)state;
    gone(MACHINE);
    static const char *const bad[] = {"To be filled by O.E.M.\n",
                                      "Default string\n",
                                      "None\n",
                                      "0\n",
                                      "00000000\n",
                                      "System Serial Number\n",
                                      "a b c d e\n",
                                      "Not Specified\n",
                                      "123456789\n",
                                      "\n",
                                      "\xC3\xA9\xC3\xA9\xC3\xA9\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        put("/sys/class/dmi/id/product_serial", bad[i]);
        finds("", "", NULL, "random");
    }
}

static void stored_names_that_do_not_hold_are_passed_over(void **state)
{
    (void)state;
    finds("", "has space", NULL, "random");
    finds("", "", NULL, "random");
    assert_false(ptl_identity_valid(""));
    assert_false(ptl_identity_valid("a/b"));
    assert_true(ptl_identity_valid("A-z_0.9"));
    assert_true(
        ptl_identity_valid("0123456789012345678901234567890123456789012345678901234567890123"));
    assert_false(
        ptl_identity_valid("01234567890123456789012345678901234567890123456789012345678901234"));
}

// A clock whose kernel has said that it is not synchronised, for the next second.
static struct ptl_clock unsynchronised(void)
{
    struct ptl_clock clock;
    ptl_clock_init(&clock);
    (void)ptl_clock_now(&clock);
    clock.kernel_err_ms = PTL_TIME_UNKNOWN;
    return clock;
}

static void a_server_date_bounds_the_time(void **state)
{
    (void)state;
    struct ptl_clock clock = unsynchronised();
    struct ptl_now now = ptl_clock_now(&clock);
    assert_int_equal(now.unix_err_ms, PTL_TIME_UNKNOWN);
    ptl_clock_server_date(&clock, INT64_C(1764000000500), 600, now.mono_ms);
    struct ptl_now later = ptl_clock_now(&clock);
    assert_int_equal(later.unix_ms - (int64_t)later.mono_ms,
                     INT64_C(1764000000500) - (int64_t)now.mono_ms);
    assert_true(later.unix_err_ms >= 600 && later.unix_err_ms < 700);
    assert_int_equal(ptl_clock_source(&clock), PTL_CLOCK_SERVER);
}

static void one_contradiction_does_not_move_it(void **state)
{
    (void)state;
    struct ptl_clock clock = unsynchronised();
    uint64_t mono_ms = ptl_clock_now(&clock).mono_ms;
    const int64_t first = INT64_C(1764000000000);
    const int64_t far = first + INT64_C(86400000);
    ptl_clock_server_date(&clock, first, 600, mono_ms);
    ptl_clock_server_date(&clock, far, 600, mono_ms); // a liar, or a jump
    assert_int_equal(clock.server_offset_ms, first - (int64_t)mono_ms);
    ptl_clock_server_date(&clock, first + 10, 600, mono_ms); // the liar is forgotten
    ptl_clock_server_date(&clock, far, 600, mono_ms);
    assert_int_equal(clock.server_offset_ms, first - (int64_t)mono_ms);
    ptl_clock_server_date(&clock, far + 100, 600, mono_ms); // the second witness
    assert_int_equal(clock.server_offset_ms, far + 100 - (int64_t)mono_ms);
    // A better answer that agrees is taken, a worse one is not.
    ptl_clock_server_date(&clock, far + 200, 550, mono_ms);
    assert_int_equal(clock.server_err_ms, 550);
    ptl_clock_server_date(&clock, far + 300, 5000, mono_ms);
    assert_int_equal(clock.server_err_ms, 550);
}

static void time_goes_on_and_bits_are_random(void **state)
{
    (void)state;
    struct ptl_clock clock;
    char boot[PTL_BOOT_BYTES_MAX + 1];
    uint64_t bits[2] = {0};
    ptl_clock_init(&clock);
    uint64_t before_ms = ptl_clock_now(&clock).mono_ms;
    usleep(20000);
    uint64_t after_ms = ptl_clock_now(&clock).mono_ms;
    assert_true(after_ms - before_ms >= 19 && after_ms - before_ms < 5000);
    ptl_boot_id(boot);
    assert_int_equal(strlen(boot), 36);
    assert_int_equal(ptl_entropy(bits, sizeof(bits)), PTL_OK);
    assert_true(bits[0] != bits[1]);
}

static int setup(void **state)
{
    (void)state;
    strcpy(root, "/var/tmp/petrel-host-XXXXXX");
    assert_non_null(mkdtemp(root));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gone("");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_source_that_holds),
        cmocka_unit_test(machine_ids_that_do_not_hold),
        cmocka_unit_test(serials_that_do_not_hold),
        cmocka_unit_test(stored_names_that_do_not_hold_are_passed_over),
        cmocka_unit_test(a_server_date_bounds_the_time),
        cmocka_unit_test(one_contradiction_does_not_move_it),
        cmocka_unit_test(time_goes_on_and_bits_are_random),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
