// crc32c.c - CRC-32C, reflected polynomial 0x82f63b78 (RFC 3720, appendix B.4).
//
// Two ways to one result: hosts take eight bytes a step from eight tables (8 KiB), microcontrollers
// half a byte a step from 16 words. PTL_SMALL chooses.
#include "ptl_bytes.h"

#ifdef PTL_SMALL

static const uint32_t table[16] = {
    0x00000000u, 0x105ec76fu, 0x20bd8edeu, 0x30e349b1u, 0x417b1dbcu, 0x5125dad3u,
    0x61c69362u, 0x7198540du, 0x82f63b78u, 0x92a8fc17u, 0xa24bb5a6u, 0xb21572c9u,
    0xc38d26c4u, 0xd3d3e1abu, 0xe330a81au, 0xf36e6f75u,
};

static uint32_t step(uint32_t crc, uint8_t byte)
{
    crc ^= byte;
    crc = crc >> 4 ^ table[crc & 15];
    return crc >> 4 ^ table[crc & 15];
}

#else

// A CRC is linear: the entry of a byte is the sum (exclusive or) of the entries of its bits, so
// eight constants give a table of 256.
#define BIT(i, n, entry) ((i)&1 << (n) ? (entry) : 0u)
#define ENTRY(i, a, b, c, d, e, f, g, h)                                                           \
    (BIT(i, 0, a) ^ BIT(i, 1, b) ^ BIT(i, 2, c) ^ BIT(i, 3, d) ^ BIT(i, 4, e) ^ BIT(i, 5, f) ^     \
     BIT(i, 6, g) ^ BIT(i, 7, h))
#define FOUR(i, ...)                                                                               \
    ENTRY(i, __VA_ARGS__), ENTRY((i) + 1, __VA_ARGS__), ENTRY((i) + 2, __VA_ARGS__),               \
        ENTRY((i) + 3, __VA_ARGS__)
#define SIXTEEN(i, ...)                                                                            \
    FOUR(i, __VA_ARGS__), FOUR((i) + 4, __VA_ARGS__), FOUR((i) + 8, __VA_ARGS__),                  \
        FOUR((i) + 12, __VA_ARGS__)
#define SIXTYFOUR(i, ...)                                                                          \
    SIXTEEN(i, __VA_ARGS__), SIXTEEN((i) + 16, __VA_ARGS__), SIXTEEN((i) + 32, __VA_ARGS__),       \
        SIXTEEN((i) + 48, __VA_ARGS__)
#define TABLE(...)                                                                                 \
    SIXTYFOUR(0, __VA_ARGS__), SIXTYFOUR(64, __VA_ARGS__), SIXTYFOUR(128, __VA_ARGS__),            \
        SIXTYFOUR(192, __VA_ARGS__)

// table[k][b]: what byte b does to the CRC once k more bytes have passed.
static const uint32_t table[8][256] = {
    {TABLE(0xf26b8303u, 0xe13b70f7u, 0xc79a971fu, 0x8ad958cfu, 0x105ec76fu, 0x20bd8edeu,
           0x417b1dbcu, 0x82f63b78u)},
    {TABLE(0x13a29877u, 0x274530eeu, 0x4e8a61dcu, 0x9d14c3b8u, 0x3fc5f181u, 0x7f8be302u,
           0xff17c604u, 0xfbc3faf9u)},
    {TABLE(0xa541927eu, 0x4f6f520du, 0x9edea41au, 0x38513ec5u, 0x70a27d8au, 0xe144fb14u,
           0xc76580d9u, 0x8b277743u)},
    {TABLE(0xdd45aab8u, 0xbf672381u, 0x7b2231f3u, 0xf64463e6u, 0xe964b13du, 0xd725148bu,
           0xaba65fe7u, 0x52a0c93fu)},
    {TABLE(0x38116facu, 0x7022df58u, 0xe045beb0u, 0xc5670b91u, 0x8f2261d3u, 0x1ba8b557u,
           0x37516aaeu, 0x6ea2d55cu)},
    {TABLE(0xef306b19u, 0xdb8ca0c3u, 0xb2f53777u, 0x6006181fu, 0xc00c303eu, 0x85f4168du,
           0x0e045bebu, 0x1c08b7d6u)},
    {TABLE(0x68032cc8u, 0xd0065990u, 0xa5e0c5d1u, 0x4e2dfd53u, 0x9c5bfaa6u, 0x3d5b83bdu,
           0x7ab7077au, 0xf56e0ef4u)},
    {TABLE(0x493c7d27u, 0x9278fa4eu, 0x211d826du, 0x423b04dau, 0x847609b4u, 0x0d006599u,
           0x1a00cb32u, 0x34019664u)},
};

static uint32_t step(uint32_t crc, uint8_t byte)
{
    return crc >> 8 ^ table[0][(crc ^ byte) & 0xff];
}

static uint32_t load(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t step8(uint32_t crc, const uint8_t *p)
{
    uint32_t low = load(p) ^ crc;
    uint32_t high = load(p + 4);
    return table[7][low & 0xff] ^ table[6][low >> 8 & 0xff] ^ table[5][low >> 16 & 0xff] ^
           table[4][low >> 24] ^ table[3][high & 0xff] ^ table[2][high >> 8 & 0xff] ^
           table[1][high >> 16 & 0xff] ^ table[0][high >> 24];
}

#endif

uint32_t ptl_crc32c(uint32_t crc, const void *bytes, size_t len)
{
    PTL_ASSERT(bytes != NULL || len == 0);
    const uint8_t *p = bytes;
    crc = ~crc;
#ifndef PTL_SMALL
    for (; len >= 8; len -= 8) {
        crc = step8(crc, p);
        p += 8;
    }
#endif
    for (size_t i = 0; i < len; i++) {
        crc = step(crc, p[i]);
    }
    return ~crc;
}
