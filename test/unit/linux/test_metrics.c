// Goal: host figures stay true whatever /proc does: counters that fall, CPUs that come and go,
// lines longer than any buffer, missing files and columns. Method: a /proc made of files in a
// temporary root, rewritten between samples (R17, R52 and R10 of the test reports); the objects are
// parsed as JSON and every share is checked to be within 0 and 100.
#include "ptl_test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "ptl_json.h"
#include "ptl_metrics.h"

static char root[64];
static struct ptl_metrics metrics;
static struct {
    char figures[1024];
    uint32_t count;
} missed;

static void missing(void *ctx, const char *figure, const char *why)
{
    (void)ctx;
    assert_non_null(why);
    missed.count++;
    strncat(missed.figures, figure, sizeof(missed.figures) - strlen(missed.figures) - 2);
    strcat(missed.figures, ";");
}

static FILE *proc_open(const char *name, const char *mode)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/proc/%s", root, name);
    FILE *file = fopen(path, mode);
    assert_non_null(file);
    return file;
}

static void proc_write(const char *name, const char *text)
{
    FILE *file = proc_open(name, "w");
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void proc_remove(const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/proc/%s", root, name);
    (void)unlink(path);
}

static char data[PTL_METRICS_DATA_MAX + 1];

// The value of one figure, in the text as it stands; "" if it is left out.
static const char *figure(const char *name)
{
    static char out[64];
    struct ptl_json_value object;
    struct ptl_json_value value;
    struct ptl_json_error error;
    assert_int_equal(ptl_json_check(test_span(data), 4, &object, &error), PTL_OK);
    out[0] = '\0';
    if (ptl_json_member(object, name, &value)) {
        snprintf(out, sizeof(out), "%.*s", (int)value.text.len, (const char *)value.text.ptr);
    }
    return out;
}

static void shares_within_bounds(struct ptl_json_value object)
{
    struct ptl_json_iter iter = ptl_json_iterate(object);
    struct ptl_span key;
    struct ptl_json_value value;
    while (ptl_json_next(&iter, &key, &value)) {
        if (value.type == PTL_JSON_OBJECT) {
            struct ptl_json_iter inner = ptl_json_iterate(value);
            while (ptl_json_next(&inner, &key, &value)) {
                double share = strtod((const char *)value.text.ptr, NULL);
                assert_true(share >= 0.0 && share <= 100.0);
            }
        } else if (key.len > 8 && memcmp(key.ptr + key.len - 8, "_percent", 8) == 0) {
            double share = strtod((const char *)value.text.ptr, NULL);
            assert_true(share >= 0.0 && share <= 100.0);
        }
    }
}

static bool sample(enum ptl_metrics_group group)
{
    struct ptl_writer w = ptl_writer_on((uint8_t *)data, PTL_METRICS_DATA_MAX);
    bool any = ptl_metrics_sample(&metrics, group, &w);
    data[w.len] = '\0';
    if (any) {
        struct ptl_json_value object;
        struct ptl_json_error error;
        assert_int_equal(ptl_json_check(test_span(data), 4, &object, &error), PTL_OK);
        shares_within_bounds(object);
    }
    return any;
}

static void counters_that_fall_count_as_unchanged(void **state)
{
    (void)state;
    // a to b: iowait falls; b to c: cpu1 is switched off and idle falls, btime jitters; c to d:
    // cpu1 is back with small counters.
    proc_write("stat", "cpu  1000 0 500 8000 900 0 50 0 0 0\ncpu0 500 0 250 4000 450 0 25 0 0 0\n"
                       "cpu1 500 0 250 4000 450 0 25 0 0 0\nctxt 1000\nbtime 1764000000\n");
    assert_false(sample(PTL_METRICS_CPU)); // nothing to compare with yet
    proc_write("stat", "cpu  1010 0 505 8195 880 0 50 0 0 0\ncpu0 505 0 252 4100 430 0 25 0 0 0\n"
                       "cpu1 505 0 253 4095 450 0 25 0 0 0\nctxt 1100\nbtime 1764000000\n");
    assert_true(sample(PTL_METRICS_CPU));
    // Deltas 10, 0, 5, 195, 0 (not -20): 210 in all.
    assert_string_equal(figure("user_percent"), "4.76");
    assert_string_equal(figure("idle_percent"), "92.85");
    assert_string_equal(figure("iowait_percent"), "0.00");
    assert_string_equal(figure("busy_percent"), "7.14");
    assert_string_equal(figure("cpus"), "2");
    proc_write("stat", "cpu  1020 0 510 4700 700 0 50 0 0 0\ncpu0 510 0 255 4350 350 0 25 0 0 0\n"
                       "ctxt 1200\nbtime 1763999990\n");
    assert_true(sample(PTL_METRICS_CPU));
    assert_string_equal(figure("idle_percent"), "0.00");
    assert_string_equal(figure("cpus"), "1");
    assert_null(strstr(figure("cpu_busy_percent"), "\"1\"")); // the vanished one is absent
    assert_non_null(strstr(figure("cpu_busy_percent"), "\"0\":4.49"));
    proc_write("stat", "cpu  1030 0 515 4890 705 0 50 0 0 0\ncpu0 515 0 257 4445 352 0 25 0 0 0\n"
                       "cpu1 3 0 1 40 1 0 0 0 0 0\nctxt 900\nbtime 1764000000\n");
    assert_true(sample(PTL_METRICS_CPU));
    assert_null(strstr(figure("cpu_busy_percent"), "\"1\"")); // new again: nothing to compare with
    assert_true(sample(PTL_METRICS_CPU) && figure("user_percent")[0] == '\0'); // nothing moved
    assert_int_equal(missed.count, 0);
}

// 256 CPUs, an `intr` line of 60 kB in front of btime, guest columns, a column of the future.
static void many_core_write(unsigned long long step)
{
    FILE *file = proc_open("stat", "w");
    fprintf(file, "cpu  %llu 20 500000 9000000 1000 0 3000 400 600000 7 99\n",
            1000000 + step * 100);
    for (int i = 0; i < 300; i++) {
        fprintf(file, "cpu%d %llu 0 1953 %llu 3 0 11 1 2343 0 0\n", i, 3906 + step,
                35156 + step * 3);
    }
    fputs("intr 3667149875", file);
    for (int i = 0; i < 30000; i++) {
        fputs(" 0", file);
    }
    fputs("\nctxt 18446744073709551000\nbtime 1764000000\nprocesses 123\nsoftirq 1 0 0\n", file);
    assert_int_equal(fclose(file), 0);
}

static void many_cores_and_long_lines(void **state)
{
    (void)state;
    many_core_write(0);
    assert_false(sample(PTL_METRICS_CPU));
    many_core_write(40);
    assert_true(sample(PTL_METRICS_CPU));
    assert_string_equal(figure("boot_unix_s"), "1764000000");
    assert_string_equal(figure("user_percent"), "100.00"); // guest was not added again
    assert_string_equal(figure("guest_percent"), "0.00");
    assert_string_equal(figure("cpus"), "300");
    assert_non_null(strstr(data, "\"255\":25.00"));
    assert_null(strstr(data, "\"256\":"));
    assert_true(strlen(data) < 8192);
}

static void counters_at_the_end_of_their_range(void **state)
{
    (void)state;
    proc_write("stat", "cpu  1 0 0 1 0 0 0 0 0 0\nbtime 1\n");
    assert_false(sample(PTL_METRICS_CPU));
    proc_write("stat", "cpu  18446744073709551615 99999999999999999999999 18446744073709551615 "
                       "18446744073709551615 18446744073709551615 0 0 0 0 0\nbtime 1\n");
    assert_true(sample(PTL_METRICS_CPU));
}

static void short_and_empty_stat(void **state)
{
    (void)state;
    static const char *const forms[] = {"",
                                        "cpu\n",
                                        "cpu  1 2 3\nbtime x\n",
                                        "cpu  1 2 3 4",
                                        "\n\n",
                                        "cpuX 1 2 3 4\ncpu99999999999999999999 1 2 3 4 5\n"};
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        proc_write("stat", forms[i]);
        (void)sample(PTL_METRICS_CPU);
    }
    proc_remove("stat");
    assert_false(sample(PTL_METRICS_CPU));
    assert_false(sample(PTL_METRICS_CPU));
    assert_non_null(strstr(missed.figures, "cpu;"));
    uint32_t count = missed.count;
    assert_false(sample(PTL_METRICS_CPU));
    assert_int_equal(missed.count, count); // said once
}

static void memory_leaves_out_what_is_missing(void **state)
{
    (void)state;
    proc_write("meminfo", "MemTotal:        1000000 kB\nMemFree:          100000 kB\n"
                          "MemAvailable:     250000 kB\nBuffers:           broken kB\n"
                          "Cached: 99999999999999999999 kB\nSwapTotal:             0 kB\n"
                          "SwapFree:              0 kB\nSwapCached: 5 kB\n");
    assert_true(sample(PTL_METRICS_MEMORY));
    assert_string_equal(figure("total_bytes"), "1024000000");
    assert_string_equal(figure("available_bytes"), "256000000");
    assert_string_equal(figure("used_percent"), "75.00");
    assert_string_equal(figure("swap_total_bytes"), "0"); // a true 0 is sent
    assert_string_equal(figure("buffers_bytes"), "");
    assert_string_equal(figure("cached_bytes"), "");
    assert_int_equal(missed.count, 4); // buffers, cached, reclaimable, shared
    assert_true(sample(PTL_METRICS_MEMORY));
    assert_int_equal(missed.count, 4);
    proc_write("meminfo", "MemTotal: 10 kB\nMemAvailable: 20 kB\n"); // more than there is
    assert_true(sample(PTL_METRICS_MEMORY));
    assert_string_equal(figure("used_percent"), "0.00");
    proc_remove("meminfo");
    assert_false(sample(PTL_METRICS_MEMORY));
}

static void load_and_uptime(void **state)
{
    (void)state;
    proc_write("loadavg", "0.52 1.08 12.30 2/345 6789\n");
    proc_write("uptime", "12345.67 99999.00\n");
    assert_true(sample(PTL_METRICS_LOAD));
    assert_string_equal(figure("load_1m"), "0.52");
    assert_string_equal(figure("load_15m"), "12.30");
    assert_string_equal(figure("runnable"), "2");
    assert_string_equal(figure("tasks"), "345");
    assert_string_equal(figure("uptime_s"), "12345.67");
    static const char *const forms[] = {"",
                                        "x",
                                        "1",
                                        "1.",
                                        ".5 1.0 1.0",
                                        "00.5 1.0 1.0 1/2 3",
                                        "1.0 2.0",
                                        "1.0 2.0 3.0",
                                        "1.0 2.0 3.0 4/",
                                        "-1.0 2.0 3.0"};
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        proc_write("loadavg", forms[i]);
        assert_true(sample(PTL_METRICS_LOAD));
        assert_string_equal(figure("uptime_s"), "12345.67"); // alone
    }
    assert_int_equal(missed.count, 1);
    proc_remove("loadavg");
    proc_remove("uptime");
    assert_false(sample(PTL_METRICS_LOAD));
    assert_int_equal(missed.count, 2);
}

static void too_little_room_sends_nothing(void **state)
{
    (void)state;
    uint8_t small[16];
    proc_write("loadavg", "0.52 1.08 12.30 2/345 6789\n");
    struct ptl_writer w = ptl_writer_on(small, sizeof(small));
    assert_false(ptl_metrics_sample(&metrics, PTL_METRICS_LOAD, &w));
}

static int begin(void **state)
{
    (void)state;
    memset(&missed, 0, sizeof(missed));
    ptl_metrics_init(&metrics, &(struct ptl_metrics_config){.root = root, .missing = missing});
    return 0;
}

static int setup(void **state)
{
    (void)state;
    char path[128];
    strcpy(root, "/var/tmp/petrel-proc-XXXXXX");
    assert_non_null(mkdtemp(root));
    snprintf(path, sizeof(path), "%s/proc", root);
    return mkdir(path, 0755);
}

static int teardown(void **state)
{
    (void)state;
    char path[128];
    proc_remove("stat");
    proc_remove("meminfo");
    proc_remove("loadavg");
    proc_remove("uptime");
    snprintf(path, sizeof(path), "%s/proc", root);
    return rmdir(path) != 0 || rmdir(root) != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(counters_that_fall_count_as_unchanged, begin),
        cmocka_unit_test_setup(many_cores_and_long_lines, begin),
        cmocka_unit_test_setup(counters_at_the_end_of_their_range, begin),
        cmocka_unit_test_setup(short_and_empty_stat, begin),
        cmocka_unit_test_setup(memory_leaves_out_what_is_missing, begin),
        cmocka_unit_test_setup(load_and_uptime, begin),
        cmocka_unit_test_setup(too_little_room_sends_nothing, begin),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
