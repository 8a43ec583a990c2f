// Goal: bytes from a damaged medium are refused or read within their bounds, and a record has one
// encoding. Method: decode anything; what passes is written for the wire within the promised size,
// and its head is encoded again, byte for byte.
#include "fuzz.h"
#include "ptl_record.h"

static size_t put_varint(uint8_t *p, uint64_t value)
{
    size_t len = 0;
    do {
        p[len++] = (uint8_t)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        value >>= 7;
    } while (value > 0);
    return len;
}

static void check_head(struct ptl_span bytes, const struct ptl_record *record)
{
    uint8_t head[32] = {0};
    head[0] = (uint8_t)((uint32_t)record->severity | (record->has_timestamp ? 8u : 0u) |
                        (record->own_clock ? 16u : 0u));
    size_t len = 1 + put_varint(head + 1, record->mono_ms);
    if (record->has_timestamp) {
        len += put_varint(head + len, (uint64_t)record->unix_ms);
    }
    if (record->own_clock) {
        len += put_varint(head + len, record->ts_err_ms);
    }
    CHECK(len + record->members.len == bytes.len);
    CHECK(memcmp(head, bytes.ptr, len) == 0);
    CHECK(record->members.ptr == bytes.ptr + len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = exact_copy(data, size);
    struct ptl_span bytes = {copy, size};
    struct ptl_record record;
    enum ptl_status status = ptl_record_decode(bytes, &record);
    CHECK(status == PTL_OK || status == PTL_E_FORMAT);
    if (status == PTL_OK) {
        check_head(bytes, &record);
        size_t cap = record.members.len + PTL_RECORD_WIRE_OVERHEAD;
        uint8_t *wire = malloc(cap);
        CHECK(wire != NULL);
        struct ptl_writer w = ptl_writer_on(wire, cap);
        ptl_record_write_wire(&w, 0, &record);
        CHECK(!w.overflow);
        free(wire);
    }
    free(copy);
    return 0;
}
