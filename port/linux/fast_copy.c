// fast_copy.c - memcpy and memmove for the static x86-64 build on musl, whose own are `rep movsq`
// between loops over single bytes: dozens of cycles to start, and an event on its way to the wire
// is eight short copies (docs/footprint.md). Both, because musl's memmove would bring its memcpy
// along.
//
// Everything is done by moves of fixed size, of which the last one ends with the data and may
// overlap the one before. Compiled without builtins: the compiler must not see a memcpy in it.
#include <stddef.h>
#include <stdint.h>

#ifndef PTL_COPY_NAME // the unit test gives them other names
#define PTL_COPY_NAME memcpy
#define PTL_MOVE_NAME memmove
#endif

typedef uint16_t pair __attribute__((may_alias, aligned(1)));
typedef uint32_t quad __attribute__((may_alias, aligned(1)));
typedef uint64_t word __attribute__((may_alias, aligned(1)));
typedef uint64_t block __attribute__((vector_size(16), may_alias, aligned(1)));

void *PTL_COPY_NAME(void *restrict to, const void *restrict from, size_t len);
void *PTL_MOVE_NAME(void *to, const void *from, size_t len);

// At both ends of [0, len); sizeof(type) <= len <= 2 * sizeof(type).
#define COPY_ENDS(type)                                                                            \
    do {                                                                                           \
        const type first = *(const type *)s;                                                       \
        const type last = *(const type *)(s + len - sizeof(type));                                 \
        *(type *)d = first;                                                                        \
        *(type *)(d + len - sizeof(type)) = last;                                                  \
    } while (0)

static void copy_short(uint8_t *d, const uint8_t *s, size_t len)
{
    if (len >= sizeof(word)) {
        COPY_ENDS(word);
    } else if (len >= sizeof(quad)) {
        COPY_ENDS(quad);
    } else if (len >= sizeof(pair)) {
        COPY_ENDS(pair);
    } else if (len > 0) {
        *d = *s;
    }
}

// From the front; right also where `to` lies below `from` and they overlap: what a store overwrites
// of the source has been loaded.
static inline void copy_up(uint8_t *d, const uint8_t *s, size_t len)
{
    const block last = *(const block *)(s + len - sizeof(block));
    uint8_t *const last_to = d + len - sizeof(block);
    while (last_to - d >= 2 * (ptrdiff_t)sizeof(block)) {
        const block a = ((const block *)s)[0];
        const block b = ((const block *)s)[1];
        ((block *)d)[0] = a;
        ((block *)d)[1] = b;
        d += 2 * sizeof(block);
        s += 2 * sizeof(block);
    }
    while (d < last_to) {
        *(block *)d = *(const block *)s;
        d += sizeof(block);
        s += sizeof(block);
    }
    *(block *)last_to = last;
}

// From the back, for `to` inside the source.
static void copy_down(uint8_t *d, const uint8_t *s, size_t len)
{
    const block first = *(const block *)s;
    for (; len > sizeof(block); len -= sizeof(block)) {
        *(block *)(d + len - sizeof(block)) = *(const block *)(s + len - sizeof(block));
    }
    *(block *)d = first;
}

void *PTL_COPY_NAME(void *restrict to, const void *restrict from, size_t len)
{
    if (len < sizeof(block)) {
        copy_short(to, from, len);
    } else {
        copy_up(to, from, len);
    }
    return to;
}

void *PTL_MOVE_NAME(void *to, const void *from, size_t len)
{
    if (len < sizeof(block)) {
        copy_short(to, from, len);
    } else if ((uintptr_t)to - (uintptr_t)from >= len) { // below, or behind the end
        copy_up(to, from, len);
    } else {
        copy_down(to, from, len);
    }
    return to;
}
