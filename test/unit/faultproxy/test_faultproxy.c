// Goal: the proxy's queue keeps every byte and its order whatever the sizes and delays, and
// commands are read strictly. Method: a random workload against a plain model; a table of command
// lines.
#include "ptl_test.h"

#include "fp_mode.h"
#include "fp_pipe.h"

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525U + 1013904223U;
    return *state >> 8;
}

// Byte number i of the stream; a prime period, so that a shifted copy cannot look right.
static uint8_t stream_byte(uint64_t i)
{
    return (uint8_t)(i % 251);
}

static void pipe_keeps_bytes_and_order(void **state)
{
    (void)state;
    struct fp_pipe *pipe = malloc(sizeof(*pipe));
    assert_non_null(pipe);
    fp_pipe_init(pipe);
    uint64_t in = 0;
    uint64_t out = 0;
    uint64_t now = 0;
    uint32_t seed = 7;
    for (int step = 0; step < 20000; step++) {
        size_t room = 0;
        uint8_t *space = fp_pipe_space(pipe, &room);
        size_t len = next_random(&seed) % 3000;
        len = len < room ? len : room;
        for (size_t i = 0; i < len; i++) {
            space[i] = stream_byte(in++);
        }
        fp_pipe_filled(pipe, len, now + next_random(&seed) % 50);
        now += next_random(&seed) % 3;
        size_t ready = 0;
        const uint8_t *bytes = fp_pipe_ready(pipe, now, &ready);
        size_t take = ready > 0 ? next_random(&seed) % (ready + 1) : 0;
        for (size_t i = 0; i < take; i++) {
            assert_int_equal(bytes[i], stream_byte(out++));
        }
        fp_pipe_taken(pipe, take);
        assert_int_equal(pipe->len, in - out);
    }
    assert_true(out > 1000000);
    free(pipe);
}

static void put(struct fp_pipe *pipe, const char *text, uint64_t due_ms)
{
    size_t room = 0;
    size_t len = strlen(text);
    uint8_t *space = fp_pipe_space(pipe, &room);
    assert_true(room >= len);
    for (size_t i = 0; i < len; i++) {
        space[i] = (uint8_t)text[i];
    }
    fp_pipe_filled(pipe, len, due_ms);
}

static void pipe_holds_until_due(void **state)
{
    (void)state;
    struct fp_pipe *pipe = malloc(sizeof(*pipe));
    assert_non_null(pipe);
    fp_pipe_init(pipe);
    size_t len = 0;
    assert_int_equal(fp_pipe_due_ms(pipe), FP_NEVER);
    put(pipe, "abcd", 100);
    put(pipe, "ef", 50); // may not overtake
    assert_int_equal(fp_pipe_due_ms(pipe), 100);
    assert_null(fp_pipe_ready(pipe, 99, &len));
    assert_memory_equal(fp_pipe_ready(pipe, 100, &len), "abcdef", 6);
    assert_int_equal(len, 6);
    fp_pipe_taken(pipe, 6);
    put(pipe, "g", 1000);
    fp_pipe_hurry(pipe);
    assert_non_null(fp_pipe_ready(pipe, 0, &len));
    free(pipe);
}

static void pipe_is_bounded_in_chunks_and_bytes(void **state)
{
    (void)state;
    struct fp_pipe *pipe = malloc(sizeof(*pipe));
    assert_non_null(pipe);
    fp_pipe_init(pipe);
    size_t room = 0;
    for (uint64_t i = 0; i < FP_PIPE_BYTES; i++) {
        uint8_t *space = fp_pipe_space(pipe, &room);
        assert_true(room > 0);
        *space = stream_byte(i);
        fp_pipe_filled(pipe, 1, i); // each one a chunk of its own, while there is room for chunks
    }
    assert_null(fp_pipe_space(pipe, &room));
    assert_int_equal(room, 0);
    assert_true(pipe->chunk_count <= FP_PIPE_CHUNKS);
    const uint8_t *bytes = fp_pipe_ready(pipe, FP_PIPE_BYTES, &room);
    assert_int_equal(room, FP_PIPE_BYTES);
    for (uint64_t i = 0; i < room; i++) {
        assert_int_equal(bytes[i], stream_byte(i));
    }
    free(pipe);
}

static void commands_set_the_mode(void **state)
{
    (void)state;
    static const struct {
        const char *line, *mode;
    } good[] = {
        {"delay 100", "delay 100 jitter 0"},
        {"delay 5 jitter 7\r\n", "delay 5 jitter 7"},
        {"rate 1000", "rate 1000"},
        {"blackhole", "blackhole both"},
        {"blackhole up", "blackhole up"},
        {"  blackhole   down ", "blackhole down"},
        {"split 1", "split 1 gap 0"},
        {"split 3 gap 2", "split 3 gap 2"},
        {"refuse", "refuse"},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct fp_mode mode = {0};
        struct fp_command command;
        char text[FP_LINE_MAX];
        assert_null(fp_command_parse(good[i].line, &mode, &command));
        assert_int_equal(command.type, FP_COMMAND_MODE);
        fp_mode_text(&mode, text, sizeof(text));
        assert_string_equal(text, good[i].mode);
        assert_null(fp_command_parse("clear", &mode, &command));
        fp_mode_text(&mode, text, sizeof(text));
        assert_string_equal(text, "clear");
    }
}

static void commands_combine(void **state)
{
    (void)state;
    struct fp_mode mode = {0};
    struct fp_command command;
    char text[FP_LINE_MAX];
    assert_null(fp_command_parse("delay 1", &mode, &command));
    assert_null(fp_command_parse("refuse", &mode, &command));
    assert_null(fp_command_parse("halfopen server", &mode, &command));
    assert_int_equal(command.type, FP_COMMAND_HALFOPEN);
    assert_true(command.keep_server);
    fp_mode_text(&mode, text, sizeof(text));
    assert_string_equal(text, "delay 1 jitter 0,refuse");
    char small[8];
    fp_mode_text(&mode, small, sizeof(small)); // cut, not overrun
    assert_string_equal(small, "delay 1");
}

static void bad_commands_change_nothing(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "\n",
        "delay",
        "delay x",
        "delay -1",
        "delay 1 2",
        "delay 1 jitter",
        "delay 600001",
        "rate",
        "rate 1 2",
        "rate 1e3",
        "blackhole sideways",
        "blackhole up down",
        "split",
        "split 1 gap",
        "halfopen both",
        "clear now",
        "nonsense",
        "CLEAR",
        "delay 1 jitter 2 3",
        "delay 99999999999999999999",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct fp_mode mode = {.delay_ms = 3};
        const struct fp_mode before = mode;
        struct fp_command command;
        assert_non_null(fp_command_parse(bad[i], &mode, &command));
        assert_memory_equal(&mode, &before, sizeof(mode));
    }
    char line[FP_LINE_MAX + 10];
    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    struct fp_mode mode = {0};
    struct fp_command command;
    assert_string_equal(fp_command_parse(line, &mode, &command), "line too long");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pipe_keeps_bytes_and_order),
        cmocka_unit_test(pipe_holds_until_due),
        cmocka_unit_test(pipe_is_bounded_in_chunks_and_bytes),
        cmocka_unit_test(commands_set_the_mode),
        cmocka_unit_test(commands_combine),
        cmocka_unit_test(bad_commands_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
