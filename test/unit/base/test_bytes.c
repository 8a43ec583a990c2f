// Goal: checksums, byte order, pseudo-random numbers and the writer give the published results and
// keep their bounds. Method: vectors of the standards, an independent bitwise CRC, and buffers of
// every size.
#include "ptl_test.h"

#include "ptl_bytes.h"
#include "ptl_json.h"

static void test_crc32c_vectors_of_rfc3720(void **state)
{
    (void)state;
    uint8_t bytes[32];
    memset(bytes, 0, sizeof(bytes));
    assert_int_equal(ptl_crc32c(0, bytes, sizeof(bytes)), 0x8a9136aa);
    memset(bytes, 0xff, sizeof(bytes));
    assert_int_equal(ptl_crc32c(0, bytes, sizeof(bytes)), 0x62a8ab43);
    for (uint8_t i = 0; i < 32; i++) {
        bytes[i] = i;
    }
    assert_int_equal(ptl_crc32c(0, bytes, sizeof(bytes)), 0x46dd794e);
    for (uint8_t i = 0; i < 32; i++) {
        bytes[i] = (uint8_t)(31 - i);
    }
    assert_int_equal(ptl_crc32c(0, bytes, sizeof(bytes)), 0x113fdb5c);
    static const uint8_t scsi_read[48] = {
        0x01, 0xc0, [16] = 0x14, [22] = 0x04, [27] = 0x14, [31] = 0x18, [32] = 0x28, [40] = 0x02,
    };
    assert_int_equal(ptl_crc32c(0, scsi_read, sizeof(scsi_read)), 0xd9963a56);
    assert_int_equal(ptl_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(ptl_crc32c(0, NULL, 0), 0);
}

// Bit by bit, straight from the polynomial.
static uint32_t crc32c_by_bits(const uint8_t *bytes, size_t len)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < len; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc & 1 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
        }
    }
    return ~crc;
}

static void test_crc32c_at_every_length_and_cut(void **state)
{
    (void)state;
    uint8_t bytes[300];
    struct ptl_prng prng;
    ptl_prng_seed(&prng, 1);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)ptl_prng_next(&prng);
    }
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        uint32_t want = crc32c_by_bits(bytes, len);
        assert_int_equal(ptl_crc32c(0, bytes, len), want);
        size_t cut = ptl_prng_below(&prng, (uint32_t)len + 1);
        uint32_t first = ptl_crc32c(0, bytes, cut);
        assert_int_equal(ptl_crc32c(first, bytes + cut, len - cut), want);
    }
}

static void test_little_endian_at_any_alignment(void **state)
{
    (void)state;
    uint8_t bytes[16];
    for (size_t at = 0; at < 8; at++) {
        ptl_store_u64(bytes + at, UINT64_C(0x0123456789abcdef));
        assert_int_equal(bytes[at], 0xef);
        assert_int_equal(bytes[at + 7], 0x01);
        assert_true(ptl_load_u64(bytes + at) == UINT64_C(0x0123456789abcdef));
        assert_int_equal(ptl_load_u32(bytes + at), 0x89abcdef);
        assert_int_equal(ptl_load_u16(bytes + at + 6), 0x0123);
        ptl_store_u16(bytes + at, 0xfedc);
        ptl_store_u32(bytes + at + 2, 0xba987654);
        assert_true(ptl_load_u64(bytes + at) == UINT64_C(0x0123ba987654fedc));
    }
}

// First results for the state 1, 2, 3, 4: those of the reference implementation
// (prng.di.unimi.it/xoshiro128plusplus.c), as published with the vectors of rand_xoshiro 0.6.
static void test_prng_is_xoshiro128plusplus(void **state)
{
    (void)state;
    static const uint32_t want[10] = {641,        1573767,    3222811527, 3517856514, 836907274,
                                      4247214768, 3867114732, 1355841295, 495546011,  621204420};
    struct ptl_prng prng = {.s = {1, 2, 3, 4}};
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(ptl_prng_next(&prng), want[i]);
    }
}

static void test_prng_below_is_even_and_repeatable(void **state)
{
    (void)state;
    struct ptl_prng a;
    struct ptl_prng b;
    ptl_prng_seed(&a, 42);
    ptl_prng_seed(&b, 42);
    uint32_t hits[7] = {0};
    for (int i = 0; i < 70000; i++) {
        uint32_t draw = ptl_prng_below(&a, 7);
        assert_true(draw < 7);
        assert_int_equal(draw, ptl_prng_below(&b, 7));
        hits[draw]++;
    }
    for (int i = 0; i < 7; i++) {
        // Six standard deviations of a binomial(70000, 1/7) are 556.
        assert_in_range(hits[i], 10000 - 556, 10000 + 556);
    }
    assert_int_equal(ptl_prng_below(&a, 1), 0);
    ptl_prng_seed(&b, 43);
    ptl_prng_seed(&a, 42);
    assert_int_not_equal(ptl_prng_next(&a), ptl_prng_next(&b));
    expect_assert_failure((void)ptl_prng_below(&a, 0));
}

static void test_numbers_as_text(void **state)
{
    (void)state;
    static const uint64_t edges[] = {
        0,          9,           10,           99,          100,
        UINT32_MAX, 4294967296u, 42949672959u, PTL_SEQ_MAX, UINT64_MAX - 1,
        UINT64_MAX};
    uint8_t buf[96];
    char want[96];
    for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
        struct ptl_writer w = ptl_writer_on(buf, sizeof(buf));
        ptl_write_u64(&w, edges[i]);
        (void)snprintf(want, sizeof(want), "%llu", (unsigned long long)edges[i]);
        assert_span_equal(((struct ptl_span){buf, w.len}), want);
    }
    struct ptl_prng prng;
    ptl_prng_seed(&prng, 7);
    for (int i = 0; i < 20000; i++) {
        uint64_t value = (uint64_t)ptl_prng_next(&prng) << 32 | ptl_prng_next(&prng);
        value >>= ptl_prng_below(&prng, 64);
        struct ptl_writer w = ptl_writer_on(buf, sizeof(buf));
        ptl_write_u64(&w, value);
        ptl_write_byte(&w, ' ');
        ptl_write_i64(&w, (int64_t)value);
        ptl_write_byte(&w, ' ');
        ptl_write_i64(&w, -(int64_t)(value >> 1));
        ptl_write_byte(&w, ' ');
        ptl_write_hex64(&w, value);
        (void)snprintf(want, sizeof(want), "%llu %lld %lld %016llx", (unsigned long long)value,
                       (long long)value, -(long long)(value >> 1), (unsigned long long)value);
        assert_span_equal(((struct ptl_span){buf, w.len}), want);
    }
    struct ptl_writer w = ptl_writer_on(buf, sizeof(buf));
    ptl_write_i64(&w, INT64_MIN);
    assert_span_equal(((struct ptl_span){buf, w.len}), "-9223372036854775808");
}

static void write_everything(struct ptl_writer *w, int call)
{
    switch (call) {
    case 0:
        ptl_write_text(w, "text");
        break;
    case 1:
        ptl_write_span(w, PTL_SPAN_OF("span"));
        break;
    case 2:
        ptl_write_byte(w, '!');
        break;
    case 3:
        ptl_write_u64(w, 12345);
        break;
    case 4:
        ptl_write_i64(w, -678);
        break;
    case 5:
        ptl_write_hex64(w, 0xabc);
        break;
    case 6:
        ptl_write_json_escaped(w, PTL_SPAN_OF("a\"b\n\xff"));
        break;
    default:
        ptl_write_rfc3339(w, 0);
        break;
    }
}

// At every capacity: nothing outside it is touched, each call is whole or absent, and after the
// first one that did not fit nothing follows.
static void test_writer_keeps_its_bound(void **state)
{
    (void)state;
    static const char whole[] = "textspan!12345-6780000000000000abca\\\"b\\n\xef\xbf\xbd"
                                "1970-01-01T00:00:00.000Z";
    static const size_t ends[] = {0, 4, 8, 9, 14, 18, 34, 43, 67};
    for (size_t cap = 0; cap <= sizeof(whole); cap++) {
        uint8_t *buf = test_exact_copy(whole, cap);
        memset(buf, '#', cap > 0 ? cap : 1);
        struct ptl_writer w = ptl_writer_on(buf, cap);
        size_t fits = 0;
        for (int call = 0; call < 8; call++) {
            write_everything(&w, call);
            if (ends[call + 1] <= cap && fits == (size_t)call) {
                fits++;
            }
        }
        assert_int_equal(w.overflow, cap < ends[8]);
        assert_int_equal(w.len, ends[fits]);
        assert_memory_equal(buf, whole, w.len);
        free(buf);
    }
}

static void test_escaped_text(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t len;
        const char *want;
    } cases[] = {
        {"plain", 5, "plain"},
        {"a\"b\\c/d", 7, "a\\\"b\\\\c/d"},
        {"\n\r\t\b\f\x1f\x7f", 7, "\\n\\r\\t\\u0008\\u000c\\u001f\x7f"},
        {"a\0b", 3,
         "a\xef\xbf\xbd"
         "b"},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"x\xc3", 2, "x\xef\xbf\xbd"},
        {"\xed\xa0\x80", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"", 0, ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t buf[64];
        uint8_t *text = test_exact_copy(cases[i].text, cases[i].len);
        struct ptl_writer w = ptl_writer_on(buf, sizeof(buf));
        ptl_write_json_escaped(&w, (struct ptl_span){text, cases[i].len});
        assert_span_equal(((struct ptl_span){buf, w.len}), cases[i].want);
        free(text);
    }
}

// Whatever the bytes are, their escaped form is a string the door takes.
static void test_escaped_noise_is_json(void **state)
{
    (void)state;
    struct ptl_prng prng;
    ptl_prng_seed(&prng, 3);
    for (int round = 0; round < 5000; round++) {
        uint8_t noise[24];
        for (size_t i = 0; i < sizeof(noise); i++) {
            noise[i] = (uint8_t)(ptl_prng_next(&prng) >> ptl_prng_below(&prng, 25));
        }
        uint8_t buf[2 + 6 * sizeof(noise)];
        struct ptl_writer w = ptl_writer_on(buf, sizeof(buf));
        ptl_write_byte(&w, '"');
        ptl_write_json_escaped(&w, (struct ptl_span){noise, sizeof(noise)});
        ptl_write_byte(&w, '"');
        assert_false(w.overflow);
        struct ptl_json_value value;
        struct ptl_json_error error;
        assert_int_equal(ptl_json_check((struct ptl_span){buf, w.len}, 1, &value, &error), PTL_OK);
    }
}

static void test_spans(void **state)
{
    (void)state;
    assert_true(ptl_span_equal(ptl_span_of_text("abc"), PTL_SPAN_OF("abc")));
    assert_false(ptl_span_equal(ptl_span_of_text("abc"), PTL_SPAN_OF("abd")));
    assert_false(ptl_span_equal(ptl_span_of_text("abc"), PTL_SPAN_OF("ab")));
    assert_true(ptl_span_equal((struct ptl_span){NULL, 0}, PTL_SPAN_OF("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc32c_vectors_of_rfc3720),
        cmocka_unit_test(test_crc32c_at_every_length_and_cut),
        cmocka_unit_test(test_little_endian_at_any_alignment),
        cmocka_unit_test(test_prng_is_xoshiro128plusplus),
        cmocka_unit_test(test_prng_below_is_even_and_repeatable),
        cmocka_unit_test(test_numbers_as_text),
        cmocka_unit_test(test_writer_keeps_its_bound),
        cmocka_unit_test(test_escaped_text),
        cmocka_unit_test(test_escaped_noise_is_json),
        cmocka_unit_test(test_spans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
