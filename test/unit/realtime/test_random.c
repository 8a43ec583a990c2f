// Goal: the session keeps its invariants whatever comes, on every machine the unit tests run on,
// with the same inputs. Method: the fuzz target of test/fuzz/session_fuzz.c, fed by a seeded
// generator that prefers the steps that make progress, so that joined sessions are reached often.
#include "ptl_test.h"

#include "ptl_bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUTS 20000

static void random_programs(void **state)
{
    (void)state;
    struct ptl_prng prng;
    ptl_prng_seed(&prng, 20261124);
    for (int i = 0; i < INPUTS; i++) {
        size_t len = 1 + ptl_prng_below(&prng, 400);
        uint8_t *bytes = malloc(len);
        for (size_t k = 0; k < len; k++) {
            bytes[k] = (uint8_t)ptl_prng_next(&prng);
        }
        (void)LLVMFuzzerTestOneInput(bytes, len); // aborts where an invariant breaks
        free(bytes);
    }
}

// Both joins are written and answered first, then the random program goes on from there.
static void random_programs_after_the_joins(void **state)
{
    (void)state;
    // flags; write, write (room 8 * 255); replies: pick = ref, topic, event; payload = ok,
    // join_ref.
    static const uint8_t joined[] = {0x03, 0x08, 0xff, 0x08, 0xff, 0x0b,
                                     0x09, 0x08, 0x0b, 0x12, 0x10};
    struct ptl_prng prng;
    ptl_prng_seed(&prng, 7);
    for (int i = 0; i < INPUTS; i++) {
        size_t len = sizeof(joined) + ptl_prng_below(&prng, 400);
        uint8_t *bytes = malloc(len);
        memcpy(bytes, joined, sizeof(joined));
        for (size_t k = sizeof(joined); k < len; k++) {
            bytes[k] = (uint8_t)ptl_prng_next(&prng);
        }
        (void)LLVMFuzzerTestOneInput(bytes, len);
        free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_programs),
        cmocka_unit_test(random_programs_after_the_joins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
