// prng.c - xoshiro128++ (Blackman, Vigna 2019, public domain), seeded through SplitMix64.
#include "ptl_bytes.h"

static uint32_t rotl(uint32_t x, unsigned k)
{
    return x << k | x >> (32 - k);
}

static uint64_t splitmix64(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = *state;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

void ptl_prng_seed(struct ptl_prng *prng, uint64_t seed)
{
    PTL_ASSERT(prng != NULL);
    uint64_t a = splitmix64(&seed);
    uint64_t b = splitmix64(&seed);
    // SplitMix64 is a bijection of its state: two successive results are never both zero, so the
    // one state that xoshiro must not have cannot occur.
    prng->s[0] = (uint32_t)a;
    prng->s[1] = (uint32_t)(a >> 32);
    prng->s[2] = (uint32_t)b;
    prng->s[3] = (uint32_t)(b >> 32);
    PTL_ASSERT((prng->s[0] | prng->s[1] | prng->s[2] | prng->s[3]) != 0);
}

uint32_t ptl_prng_next(struct ptl_prng *prng)
{
    uint32_t *s = prng->s;
    uint32_t result = rotl(s[0] + s[3], 7) + s[0];
    uint32_t t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 11);
    return result;
}

// Lemire's method: the high half of a 32 by 32 bit product; results whose low half falls into the
// uneven rest are drawn again.
uint32_t ptl_prng_below(struct ptl_prng *prng, uint32_t bound)
{
    PTL_ASSERT(bound >= 1);
    uint32_t uneven = (0u - bound) % bound;
    uint64_t product = 0;
    // A draw is refused with a chance below one half; 64 in a row do not happen, and would only
    // bias this one result.
    for (int draw = 0; draw < 64; draw++) {
        product = (uint64_t)ptl_prng_next(prng) * bound;
        if ((uint32_t)product >= uneven) {
            break;
        }
    }
    uint32_t result = (uint32_t)(product >> 32);
    PTL_ASSERT(result < bound);
    return result;
}
