// bytes.c - little-endian loads and stores. Put together byte by byte: right on any machine at any
// alignment, and one instruction where the compiler knows that it is.
#include "ptl_bytes.h"

uint16_t ptl_load_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

uint32_t ptl_load_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint64_t ptl_load_u64(const uint8_t *p)
{
    return (uint64_t)ptl_load_u32(p) | (uint64_t)ptl_load_u32(p + 4) << 32;
}

void ptl_store_u16(uint8_t *p, uint16_t value)
{
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
}

void ptl_store_u32(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
    p[2] = (uint8_t)(value >> 16);
    p[3] = (uint8_t)(value >> 24);
}

void ptl_store_u64(uint8_t *p, uint64_t value)
{
    ptl_store_u32(p, (uint32_t)value);
    ptl_store_u32(p + 4, (uint32_t)(value >> 32));
}
