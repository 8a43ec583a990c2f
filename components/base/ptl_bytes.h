// ptl_bytes.h - byte order, checksum, pseudo-random numbers, bounded writer.
#pragma once

#include "ptl_base.h"

// Little-endian loads and stores; any alignment.
uint16_t ptl_load_u16(const uint8_t *p);
uint32_t ptl_load_u32(const uint8_t *p);
uint64_t ptl_load_u64(const uint8_t *p);
void ptl_store_u16(uint8_t *p, uint16_t value);
void ptl_store_u32(uint8_t *p, uint32_t value);
void ptl_store_u64(uint8_t *p, uint64_t value);

// CRC-32C (Castagnoli, reflected, RFC 3720 appendix B.4). `crc` is 0 to start, or the result of an
// earlier call to go on: crc(crc(0, a), b) equals crc(0, ab).
uint32_t ptl_crc32c(uint32_t crc, const void *bytes, size_t len);

// xoshiro128++ (Blackman, Vigna 2019): repeatable from its seed, not for secrets.
struct ptl_prng {
    uint32_t s[4];
};
void ptl_prng_seed(struct ptl_prng *prng, uint64_t seed);
uint32_t ptl_prng_next(struct ptl_prng *prng);
// Uniform in [0, bound). `bound` at least 1.
uint32_t ptl_prng_below(struct ptl_prng *prng, uint32_t bound);

// Writes into a caller's buffer and remembers overflow: check once at the end. After an overflow
// nothing more is written and `len` stays at the last whole call.
struct ptl_writer {
    uint8_t *buf;
    size_t cap;
    size_t len;
    bool overflow;
};
struct ptl_writer ptl_writer_on(uint8_t *buf, size_t cap);
void ptl_write_bytes(struct ptl_writer *w, const void *bytes, size_t len);
void ptl_write_span(struct ptl_writer *w, struct ptl_span span);
void ptl_write_text(struct ptl_writer *w, const char *text); // terminated text, without the NUL
void ptl_write_byte(struct ptl_writer *w, uint8_t byte);
void ptl_write_u64(struct ptl_writer *w, uint64_t value);   // decimal
void ptl_write_i64(struct ptl_writer *w, int64_t value);    // decimal
void ptl_write_hex64(struct ptl_writer *w, uint64_t value); // 16 lower-case digits
// The body of a JSON string (without quotes) for plain UTF-8 text: escapes quote, backslash and
// control characters. Asserts nothing about the text; invalid UTF-8 is replaced by U+FFFD, and so
// is NUL, which no store takes. At most six times as long as the text.
void ptl_write_json_escaped(struct ptl_writer *w, struct ptl_span text);
// RFC 3339 in UTC with milliseconds, `2026-11-24T17:59:26.123Z`; unix_ms within 1970 to 9999.
void ptl_write_rfc3339(struct ptl_writer *w, int64_t unix_ms);

// The same without bounds, for text of known size on the hot path: they return what is behind the
// text. `p` must have room for 20 and 24 bytes, all of which may be written.
#define PTL_U64_TEXT_BYTES     20
#define PTL_RFC3339_TEXT_BYTES 24
uint8_t *ptl_put_u64(uint8_t *p, uint64_t value);
uint8_t *ptl_put_rfc3339(uint8_t *text, int64_t unix_ms);

// Parses RFC 3339 with zone, 1970 to 2199, no second 60 (fraction beyond ms is cut).
// PTL_E_FORMAT: anything else.
PTL_MUST_USE enum ptl_status ptl_rfc3339_parse(struct ptl_span text, int64_t *unix_ms);
