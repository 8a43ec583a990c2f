// Goal: memcpy and memmove of the static build copy what they are told, all of it and nothing else.
// Method: every length up to some hundreds at every alignment of both ends, and some large ones,
// between guard bytes; moves by every distance, up and down.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define ALIGNMENTS 16
#define SHORT_MAX  300
#define LARGE      70000
#define GUARD      0xA5

#define DISTANCE_MAX 80

void *ptl_fast_copy(void *restrict to, const void *restrict from, size_t len);
void *ptl_fast_move(void *to, const void *from, size_t len);

static uint8_t source[LARGE + ALIGNMENTS];
static uint8_t target[LARGE + 4 * ALIGNMENTS];

static void check(size_t to_at, size_t from_at, size_t len)
{
    uint8_t *to = target + ALIGNMENTS + to_at;
    memset(target, GUARD, len + 4 * ALIGNMENTS);
    assert_ptr_equal(ptl_fast_copy(to, source + from_at, len), to);
    assert_memory_equal(to, source + from_at, len);
    for (size_t i = 0; i < ALIGNMENTS; i++) {
        assert_int_equal(to[-1 - (ptrdiff_t)i], GUARD);
        assert_int_equal(to[len + i], GUARD);
    }
}

static void short_copies(void **state)
{
    (void)state;
    for (size_t len = 0; len <= SHORT_MAX; len++) {
        for (size_t to_at = 0; to_at < ALIGNMENTS; to_at++) {
            for (size_t from_at = 0; from_at < ALIGNMENTS; from_at++) {
                check(to_at, from_at, len);
            }
        }
    }
}

static void large_copies(void **state)
{
    (void)state;
    for (size_t len = LARGE - 64; len <= LARGE; len++) {
        check(len % ALIGNMENTS, (len / 3) % ALIGNMENTS, len);
    }
}

// Within one buffer, `to` being `distance` above `from`, or below it.
static void check_move(size_t len, ptrdiff_t distance)
{
    static uint8_t buffer[SHORT_MAX + 4 * DISTANCE_MAX];
    static uint8_t wanted[sizeof(buffer)];
    memcpy(buffer, source, sizeof(buffer));
    memcpy(wanted, source, sizeof(wanted));
    uint8_t *from = buffer + 2 * DISTANCE_MAX;
    for (size_t i = 0; i < len; i++) { // source still has the bytes as they were
        wanted[2 * DISTANCE_MAX + distance + (ptrdiff_t)i] = source[2 * DISTANCE_MAX + i];
    }
    assert_ptr_equal(ptl_fast_move(from + distance, from, len), from + distance);
    assert_memory_equal(buffer, wanted, sizeof(buffer));
}

static void moves(void **state)
{
    (void)state;
    for (size_t len = 0; len <= SHORT_MAX; len++) {
        for (ptrdiff_t distance = -DISTANCE_MAX; distance <= DISTANCE_MAX; distance++) {
            check_move(len, distance);
        }
    }
}

int main(void)
{
    for (size_t i = 0; i < sizeof(source); i++) {
        source[i] = (uint8_t)(i * 167 + i / 251);
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(short_copies),
                                       cmocka_unit_test(large_copies), cmocka_unit_test(moves)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
