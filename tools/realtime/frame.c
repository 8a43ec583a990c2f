#include "frame.h"

#include <stdint.h>
#include <string.h>

#include "json.h"

enum {
    KIND_USER_PUSH = 3,
    KIND_USER_BROADCAST = 4,
    USER_PUSH_HEADER = 7,
    USER_BROADCAST_HEADER = 5
};

bool ptl_rt_bytes_are(struct ptl_rt_bytes b, const char *text)
{
    return b.len == strlen(text) && memcmp(b.ptr, text, b.len) == 0;
}

// A ref may be a string, an integer or null and comes back as what it was.
static bool take_ref(struct ptl_rt_str *out, json_t *value)
{
    if (json_is_string(value)) {
        if (json_string_length(value) > PTL_RT_REF_BYTES_MAX) {
            return false;
        }
    } else if (!json_is_integer(value) && !json_is_null(value)) {
        return false;
    }
    ptl_rt_json_write(out, value);
    ptl_rt_str_char(out, '\0'); // used as a C string from here on
    out->len--;
    return true;
}

static bool take_string(struct ptl_rt_bytes *out, const json_t *value)
{
    if (!json_is_string(value)) {
        return false;
    }
    *out = (struct ptl_rt_bytes){json_string_value(value), json_string_length(value)};
    return true;
}

bool ptl_rt_frame_decode_text(struct ptl_rt_frame *f, const char *data, size_t len)
{
    *f = (struct ptl_rt_frame){0};
    f->root = ptl_rt_json_parse(data, len);
    if (!json_is_array(f->root) || json_array_size(f->root) < 5) {
        return false;
    }
    f->payload = json_array_get(f->root, 4);
    return take_ref(&f->join_ref, json_array_get(f->root, 0)) &&
           take_ref(&f->ref, json_array_get(f->root, 1)) &&
           take_string(&f->topic, json_array_get(f->root, 2)) &&
           f->topic.len <= PTL_RT_TOPIC_BYTES_MAX &&
           take_string(&f->event, json_array_get(f->root, 3));
}

static bool quote_ref(struct ptl_rt_str *out, struct ptl_rt_bytes ref)
{
    if (!ptl_rt_json_quote(out, ref.ptr, ref.len)) {
        return false;
    }
    ptl_rt_str_char(out, '\0');
    out->len--;
    return true;
}

static bool is_utf8(struct ptl_rt_bytes b)
{
    struct ptl_rt_str scratch = {0};
    bool ok = ptl_rt_json_quote(&scratch, b.ptr, b.len);
    ptl_rt_str_free(&scratch);
    return ok;
}

bool ptl_rt_frame_decode_binary(struct ptl_rt_frame *f, const char *data, size_t len)
{
    *f = (struct ptl_rt_frame){0};
    const unsigned char *header = (const unsigned char *)data;
    if (len < USER_PUSH_HEADER || header[0] != KIND_USER_PUSH) {
        return false;
    }
    struct ptl_rt_bytes field[5]; // join_ref, ref, topic, event, metadata
    size_t at = USER_PUSH_HEADER;
    for (size_t i = 0; i < 5; i++) {
        size_t field_len = header[1 + i];
        if (field_len > len - at) {
            return false;
        }
        field[i] = (struct ptl_rt_bytes){data + at, field_len};
        at += field_len;
    }
    // Metadata goes nowhere, but what does not parse costs the frame.
    if (field[4].len > 0) {
        json_t *metadata = ptl_rt_json_parse(field[4].ptr, field[4].len);
        if (metadata == NULL) {
            return false;
        }
        json_decref(metadata);
    }
    f->user_push = true;
    f->topic = field[2];
    f->event = (struct ptl_rt_bytes){"broadcast", 9};
    f->user_event = field[3];
    f->encoding = header[6] == 0 ? 0 : 1;
    f->user_payload = (struct ptl_rt_bytes){data + at, len - at};
    return quote_ref(&f->join_ref, field[0]) && quote_ref(&f->ref, field[1]) && is_utf8(f->topic) &&
           is_utf8(f->user_event);
}

void ptl_rt_frame_free(struct ptl_rt_frame *f)
{
    ptl_rt_str_free(&f->join_ref);
    ptl_rt_str_free(&f->ref);
    json_decref(f->root);
    *f = (struct ptl_rt_frame){0};
}

static unsigned char *put(unsigned char *at, struct ptl_rt_bytes b)
{
    if (b.len > 0) {
        memcpy(at, b.ptr, b.len);
    }
    return at + b.len;
}

struct ptl_rt_msg *ptl_rt_frame_user_broadcast(const struct ptl_rt_frame *push)
{
    size_t len =
        USER_BROADCAST_HEADER + push->topic.len + push->user_event.len + push->user_payload.len;
    struct ptl_rt_msg *m = ptl_rt_msg_new(true, len);
    unsigned char *at = ptl_rt_msg_bytes(m);
    *at++ = KIND_USER_BROADCAST;
    *at++ = (unsigned char)push->topic.len;
    *at++ = (unsigned char)push->user_event.len;
    *at++ = 0;
    *at++ = push->encoding;
    at = put(at, push->topic);
    at = put(at, push->user_event);
    (void)put(at, push->user_payload);
    return m;
}

struct ptl_rt_msg *ptl_rt_frame_text(const char *join_ref, const char *ref,
                                     struct ptl_rt_bytes topic, const char *event,
                                     const char *payload, size_t payload_len)
{
    struct ptl_rt_str out = {0};
    ptl_rt_str_char(&out, '[');
    ptl_rt_str_text(&out, join_ref);
    ptl_rt_str_char(&out, ',');
    ptl_rt_str_text(&out, ref);
    ptl_rt_str_char(&out, ',');
    (void)ptl_rt_json_quote(&out, topic.ptr, topic.len); // decoded before: UTF-8
    ptl_rt_str_text(&out, ",\"");
    ptl_rt_str_text(&out, event);
    ptl_rt_str_text(&out, "\",");
    ptl_rt_str_add(&out, payload, payload_len);
    ptl_rt_str_char(&out, ']');
    struct ptl_rt_msg *m = ptl_rt_msg_text(&out);
    ptl_rt_str_free(&out);
    return m;
}
