// Goal: the server reads and writes frames as the serializer of Realtime does, and nothing that
// comes in can make it read past the end. Method: bytes written down by hand from the
// specification; each valid frame again at every shorter length (run under ASan in CI).

#include "ptl_test.h"

#include "frame.h"
#include "json.h"

static bool decode_text(struct ptl_rt_frame *f, const char *text)
{
    return ptl_rt_frame_decode_text(f, text, strlen(text));
}

static void text_frames_keep_the_type_of_refs(void **state)
{
    (void)state;
    struct ptl_rt_frame f;
    assert_true(decode_text(&f, "[\"6\",7,\"realtime:r\",\"phx_join\",{\"a\":1},\"extra\"]"));
    assert_string_equal("\"6\"", f.join_ref.data);
    assert_string_equal("7", f.ref.data);
    assert_true(ptl_rt_bytes_are(f.topic, "realtime:r"));
    assert_true(ptl_rt_bytes_are(f.event, "phx_join"));
    assert_int_equal(1, json_integer_value(json_object_get(f.payload, "a")));
    ptl_rt_frame_free(&f);
    assert_true(decode_text(&f, "[null,\"a\\\"b\",\"t\",\"e\",null]"));
    assert_string_equal("null", f.join_ref.data);
    assert_string_equal("\"a\\\"b\"", f.ref.data);
    ptl_rt_frame_free(&f);
}

static void what_is_no_frame_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "{oops",
        "{\"topic\":\"phoenix\"}",
        "[\"1\",\"2\",\"phoenix\"]",
        "[\"1\",\"2\",3,\"e\",{}]",
        "[\"1\",\"2\",\"t\",null,{}]",
        "[true,\"2\",\"t\",\"e\",{}]",
        "[\"1\",{},\"t\",\"e\",{}]",
        "[\"1\",\"2\",\"t\",\"e\",{}",
        "[\"1\",\"2\",\"t\xff\",\"e\",{}]",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct ptl_rt_frame f;
        assert_false(decode_text(&f, texts[i]));
        ptl_rt_frame_free(&f);
    }
}

// The bytes verified against the official serializer (docs of the protocol, section 2).
static const char push[] = "\x03\x01\x01\x0d\x02\x00\x01"
                           "67realtime:roome1{\"x\":1}";

static void a_user_push_becomes_a_user_broadcast(void **state)
{
    (void)state;
    static const char want[] = "\x04\x0d\x02\x00\x01realtime:roome1{\"x\":1}";
    struct ptl_rt_frame f;
    assert_true(ptl_rt_frame_decode_binary(&f, push, sizeof push - 1));
    assert_string_equal("\"6\"", f.join_ref.data);
    assert_string_equal("\"7\"", f.ref.data);
    assert_true(ptl_rt_bytes_are(f.event, "broadcast"));
    struct ptl_rt_msg *m = ptl_rt_frame_user_broadcast(&f);
    assert_true(m->binary);
    assert_int_equal(sizeof want - 1, m->len);
    assert_memory_equal(want, ptl_rt_msg_bytes(m), m->len);
    ptl_rt_msg_drop(m);
    ptl_rt_frame_free(&f);
}

static void shorter_pushes_are_refused_or_have_less_payload(void **state)
{
    (void)state;
    size_t fields_end = sizeof push - 1 - strlen("{\"x\":1}");
    for (size_t len = 0; len < sizeof push - 1; len++) {
        char *copy = malloc(len > 0 ? len : 1); // so that ASan sees the end
        memcpy(copy, push, len);
        struct ptl_rt_frame f;
        assert_int_equal(len >= fields_end, ptl_rt_frame_decode_binary(&f, copy, len));
        ptl_rt_frame_free(&f);
        free(copy);
    }
}

static void lengths_go_to_255(void **state)
{
    (void)state;
    char frame[7 + 5 * 255 + 3];
    memset(frame, 'x', sizeof frame);
    static const unsigned char header[7] = {3, 255, 255, 255, 255, 0, 0};
    memcpy(frame, header, sizeof header);
    struct ptl_rt_frame f;
    assert_true(ptl_rt_frame_decode_binary(&f, frame, 7 + 4 * 255 + 3));
    assert_int_equal(255, f.topic.len);
    assert_int_equal(255, f.user_event.len);
    assert_int_equal(3, f.user_payload.len);
    assert_int_equal(0, f.encoding);
    ptl_rt_frame_free(&f);
}

static void metadata_must_parse_and_text_must_be_utf8(void **state)
{
    (void)state;
    struct ptl_rt_frame f;
    assert_true(ptl_rt_frame_decode_binary(&f,
                                           "\x03\x01\x01\x01\x01\x02\x01"
                                           "12te{}x",
                                           14));
    ptl_rt_frame_free(&f);
    assert_false(ptl_rt_frame_decode_binary(&f,
                                            "\x03\x01\x01\x01\x01\x02\x01"
                                            "12te{x",
                                            13));
    ptl_rt_frame_free(&f);
    assert_false(ptl_rt_frame_decode_binary(&f,
                                            "\x03\x01\x01\x01\x01\x00\x01"
                                            "1\xff"
                                            "te",
                                            11));
    ptl_rt_frame_free(&f);
    assert_false(ptl_rt_frame_decode_binary(&f,
                                            "\x00\x01\x01\x01\x01"
                                            "12te{}",
                                            11)); // kind 0
    ptl_rt_frame_free(&f);
}

static void json_is_written_as_realtime_writes_it(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"{\"type\":\"broadcast\",\"event\":\"e\",\"payload\":{\"b\":1,\"a\":[ ]}}",
         "{\"event\":\"e\",\"payload\":{\"a\":[],\"b\":1},\"type\":\"broadcast\"}"},
        {"[0.1,1.0,-0,12.50,1e3,9007199254740993,true,null]",
         "[0.1,1.0,0,12.5,1000.0,9007199254740993,true,null]"},
        {"\"\\u0001\\u0000\\t\\/ \\u017e\\\\\\\"\"", "\"\\u0001\\u0000\\t/ \xc5\xbe\\\\\\\"\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        json_t *value = ptl_rt_json_parse(rows[i].in, strlen(rows[i].in));
        assert_non_null(value);
        struct ptl_rt_str out = {0};
        ptl_rt_json_write(&out, value);
        assert_int_equal(strlen(rows[i].out), out.len);
        assert_memory_equal(rows[i].out, out.data, out.len);
        ptl_rt_str_free(&out);
        json_decref(value);
    }
}

static void term_sizes_are_those_of_erlang(void **state)
{
    (void)state;
    // byte_size(term_to_binary(X)) as Erlang's external term format defines it
    static const struct {
        const char *json;
        size_t bytes;
    } rows[] = {
        {"{}", 1 + 5},
        {"[]", 1 + 1},
        {"[1,256]", 1 + 5 + 2 + 5 + 1},
        {"{\"a\":\"xyz\"}", 1 + 5 + (5 + 1) + (5 + 3)},
        {"[-1,4294967296,1.5]", 1 + 5 + 5 + (3 + 5) + 9 + 1},
        {"[true,false,null]", 1 + 5 + 6 + 7 + 5 + 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        json_t *value = ptl_rt_json_parse(rows[i].json, strlen(rows[i].json));
        assert_int_equal(rows[i].bytes, ptl_rt_json_term_bytes(value));
        json_decref(value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_frames_keep_the_type_of_refs),
        cmocka_unit_test(what_is_no_frame_is_refused),
        cmocka_unit_test(a_user_push_becomes_a_user_broadcast),
        cmocka_unit_test(shorter_pushes_are_refused_or_have_less_payload),
        cmocka_unit_test(lengths_go_to_255),
        cmocka_unit_test(metadata_must_parse_and_text_must_be_utf8),
        cmocka_unit_test(json_is_written_as_realtime_writes_it),
        cmocka_unit_test(term_sizes_are_those_of_erlang),
    };
    return cmocka_run_group_tests_name("realtime_server_frame", tests, NULL, NULL);
}
