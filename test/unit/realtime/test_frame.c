// Goal: frames are read and written byte for byte as a real server and the official client do, and
// bytes that are no frame are refused without reading beyond them. Method: frames recorded from
// supabase/realtime 2.129.8 with realtime-js 2.119.0; then every truncation and many random changes
// of them, each in a buffer of exactly its length.
#include "ptl_test.h"

#include "ptl_frame.h"

static enum ptl_status parse_text(const char *text, struct ptl_frame *frame)
{
    return ptl_frame_parse(test_span(text), false, frame);
}

static void text_frames_as_recorded(void **state)
{
    (void)state;
    struct ptl_frame frame;
    assert_int_equal(parse_text("[\"6\",\"8\",\"realtime:room1\",\"phx_reply\","
                                "{\"status\":\"ok\",\"response\":{}}]",
                                &frame),
                     PTL_OK);
    assert_int_equal(frame.kind, PTL_FRAME_TEXT);
    assert_span_equal(frame.join_ref, "6");
    assert_span_equal(frame.ref, "8");
    assert_span_equal(frame.topic, "realtime:room1");
    assert_span_equal(frame.event, "phx_reply");
    assert_span_equal(frame.payload, "{\"status\":\"ok\",\"response\":{}}");

    assert_int_equal(parse_text("[null,77,\"phoenix\",\"phx_reply\",{\"status\":\"ok\"}]", &frame),
                     PTL_OK);
    assert_int_equal(frame.join_ref.len, 0);
    assert_span_equal(frame.ref, "77");

    // Extra elements and white space are ignored, any payload is taken.
    assert_int_equal(parse_text(" [ null , null , \"t\" , \"e\" , null , \"extra\" , 7 ] ", &frame),
                     PTL_OK);
    assert_span_equal(frame.payload, "null");
}

static void what_is_no_text_frame(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "{oops",
        "{\"topic\":\"phoenix\",\"event\":\"heartbeat\",\"payload\":{},\"ref\":\"1\"}",
        "[\"1\",\"2\",\"phoenix\"]",
        "[\"1\",\"2\",\"phoenix\",\"e\"]",
        "[]",
        "null",
        "[{},\"2\",\"t\",\"e\",{}]",
        "[\"1\",[],\"t\",\"e\",{}]",
        "[\"1\",true,\"t\",\"e\",{}]",
        "[\"1\",\"2\",null,\"e\",{}]",
        "[\"1\",\"2\",\"t\",5,{}]",
        "[\"1\",\"2\",\"t\",\"e\",{}] x",
        "[\"1\",\"2\",\"t\",\"e\",{nope}]",
        "[\"1\",\"2\",\"t\",\"e\",{}",
        "[\"1\",\"2\",\"t\",\"\xff\",{}]",
    };
    struct ptl_frame frame;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (parse_text(texts[i], &frame) != PTL_E_FORMAT) {
            fail_msg("taken for a frame: %s", texts[i]);
        }
    }
    char deep[400] = "[null,null,\"t\",\"e\",";
    size_t len = strlen(deep);
    memset(deep + len, '[', 150);
    memset(deep + len + 150, ']', 150);
    deep[len + 300] = ']';
    assert_int_equal(parse_text(deep, &frame), PTL_E_FORMAT);
}

static void kind_4_as_recorded(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0x04, 0x0e, 0x05, 0x00, 0x01, 'r', 'e', 'a', 'l', 't', 'i',
                                    'm',  'e',  ':',  'r',  'o',  'o', 'm', '1', 'h', 'e', 'l',
                                    'l',  'o',  '{',  '"',  'n',  '"', ':', '1', '}'};
    struct ptl_frame frame;
    struct ptl_span message = {bytes, sizeof(bytes)};
    assert_int_equal(ptl_frame_parse(message, true, &frame), PTL_OK);
    assert_int_equal(frame.kind, PTL_FRAME_USER);
    assert_span_equal(frame.topic, "realtime:room1");
    assert_span_equal(frame.event, "hello");
    assert_int_equal(frame.metadata.len, 0);
    assert_span_equal(frame.payload, "{\"n\":1}");
    assert_true(frame.json);

    // Raw bytes, with metadata, and nothing after it.
    static const uint8_t raw[] = {0x04, 1, 2, 3, 0x00, 't', 'e', 'v', 'm', 'm', 'm', 0xff, 0x00};
    message = (struct ptl_span){raw, sizeof(raw)};
    assert_int_equal(ptl_frame_parse(message, true, &frame), PTL_OK);
    assert_span_equal(frame.metadata, "mmm");
    assert_int_equal(frame.payload.len, 2);
    assert_false(frame.json);
    message.len -= 2;
    assert_int_equal(ptl_frame_parse(message, true, &frame), PTL_OK);
    assert_int_equal(frame.payload.len, 0);
}

static void other_binary_kinds(void **state)
{
    (void)state;
    struct ptl_frame frame;
    assert_int_equal(ptl_frame_parse(PTL_SPAN_OF("\x00\x01\x02\x03"
                                                 "jttevtD"),
                                     true, &frame),
                     PTL_OK);
    assert_int_equal(frame.kind, PTL_FRAME_PUSH);
    assert_span_equal(frame.join_ref, "j");
    assert_span_equal(frame.topic, "tt");
    assert_span_equal(frame.event, "evt");
    assert_span_equal(frame.payload, "D");
    assert_int_equal(ptl_frame_parse(PTL_SPAN_OF("\x01\x01\x01\x01\x02"
                                                 "jrtok{}"),
                                     true, &frame),
                     PTL_OK);
    assert_int_equal(frame.kind, PTL_FRAME_REPLY);
    assert_span_equal(frame.ref, "r");
    assert_span_equal(frame.event, "ok");
    assert_int_equal(ptl_frame_parse(PTL_SPAN_OF("\x02\x01\x01"
                                                 "te"),
                                     true, &frame),
                     PTL_OK);
    assert_int_equal(frame.kind, PTL_FRAME_BROADCAST);

    assert_int_equal(ptl_frame_parse((struct ptl_span){0}, true, &frame), PTL_E_FORMAT);
    assert_int_equal(ptl_frame_parse(PTL_SPAN_OF("\x03\x01\x01\x01\x01\x00\x01jrte"), true, &frame),
                     PTL_E_FORMAT); // ours, never the server's
    assert_int_equal(ptl_frame_parse(PTL_SPAN_OF("\x09\x09\x09"), true, &frame), PTL_E_FORMAT);
}

static void truncations_and_noise_stay_inside(void **state)
{
    (void)state;
    static const uint8_t whole[] = {0x04, 3, 2, 1, 1, 'a', 'b', 'c', 'd', 'e', 'm', '{', '}'};
    struct ptl_frame frame;
    for (size_t len = 0; len <= sizeof(whole); len++) {
        uint8_t *copy = test_exact_copy(whole, len);
        enum ptl_status want = len < 11 ? PTL_E_FORMAT : PTL_OK;
        assert_int_equal(ptl_frame_parse((struct ptl_span){copy, len}, true, &frame), want);
        free(copy);
    }
    struct ptl_prng prng;
    ptl_prng_seed(&prng, 4);
    uint32_t taken = 0;
    for (int i = 0; i < 20000; i++) {
        size_t len = ptl_prng_below(&prng, 40);
        uint8_t *bytes = malloc(len + 1);
        for (size_t k = 0; k < len; k++) {
            bytes[k] = (uint8_t)(ptl_prng_next(&prng) % (k < 6 ? 8 : 256));
        }
        struct ptl_span message = {bytes, len};
        if (ptl_frame_parse(message, true, &frame) == PTL_OK) {
            taken++;
            const uint8_t *end = frame.payload.ptr + frame.payload.len;
            assert_ptr_equal(end, bytes + len); // the payload is always the rest
        }
        free(bytes);
    }
    assert_true(taken > 1000);
}

static void push_header_equals_the_recorded_bytes(void **state)
{
    (void)state;
    static const uint8_t recorded[] = {0x03, 0x01, 0x01, 0x0e, 0x05, 0x00, 0x01, '6', '7',
                                       'r',  'e',  'a',  'l',  't',  'i',  'm',  'e', ':',
                                       'r',  'o',  'o',  'm',  '1',  'h',  'e',  'l', 'l',
                                       'o',  '{',  '"',  'n',  '"',  ':',  '1',  '}'};
    uint8_t buf[64];
    struct ptl_writer w = ptl_writer_on(buf, sizeof(buf));
    assert_int_equal(ptl_frame_write_push(&w, PTL_SPAN_OF("6"), PTL_SPAN_OF("7"),
                                          PTL_SPAN_OF("realtime:room1"), PTL_SPAN_OF("hello")),
                     PTL_OK);
    ptl_write_text(&w, "{\"n\":1}");
    assert_int_equal(w.len, sizeof(recorded));
    assert_memory_equal(buf, recorded, sizeof(recorded));

    // Lengths count bytes: the topic is 14 of them.
    w = ptl_writer_on(buf, sizeof(buf));
    assert_int_equal(ptl_frame_write_push(&w, PTL_SPAN_OF("1"), PTL_SPAN_OF("2"),
                                          PTL_SPAN_OF("realtime:\xc5\xbelu\xc5"), PTL_SPAN_OF("e")),
                     PTL_OK);
    assert_int_equal(buf[3], 14);
}

static void push_fields_end_at_255_bytes(void **state)
{
    (void)state;
    static uint8_t field[256];
    memset(field, 'f', sizeof(field));
    uint8_t buf[1100];
    for (size_t which = 0; which < 4; which++) {
        for (size_t len = 255; len <= 256; len++) {
            struct ptl_span fields[4] = {PTL_SPAN_OF("1"), PTL_SPAN_OF("2"), PTL_SPAN_OF("t"),
                                         PTL_SPAN_OF("e")};
            fields[which] = (struct ptl_span){field, len};
            struct ptl_writer w = ptl_writer_on(buf, sizeof(buf));
            enum ptl_status status =
                ptl_frame_write_push(&w, fields[0], fields[1], fields[2], fields[3]);
            assert_int_equal(status, len == 255 ? PTL_OK : PTL_E_TOO_BIG);
            assert_int_equal(w.len, len == 255 ? 7 + 255 + 3 : 0);
        }
    }
    // No room: nothing is written, and the writer is still good.
    for (size_t cap = 0; cap <= 11; cap++) {
        struct ptl_writer w = ptl_writer_on(buf, cap);
        enum ptl_status status = ptl_frame_write_push(&w, PTL_SPAN_OF("1"), PTL_SPAN_OF("2"),
                                                      PTL_SPAN_OF("t"), PTL_SPAN_OF("e"));
        assert_int_equal(status, cap == 11 ? PTL_OK : PTL_E_TOO_BIG);
        assert_int_equal(w.len, cap == 11 ? 11 : 0);
        assert_false(w.overflow);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_frames_as_recorded),
        cmocka_unit_test(what_is_no_text_frame),
        cmocka_unit_test(kind_4_as_recorded),
        cmocka_unit_test(other_binary_kinds),
        cmocka_unit_test(truncations_and_noise_stay_inside),
        cmocka_unit_test(push_header_equals_the_recorded_bytes),
        cmocka_unit_test(push_fields_end_at_255_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
