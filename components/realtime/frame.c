// Binary frames begin with the kind, then one length byte a field (kinds 3 and 4: then the
// encoding), then the fields in the same order, then the payload to the end of the frame:
//
//   0 push       join_ref topic event            2 broadcast  topic event
//   1 reply      join_ref ref topic status       4 user       topic event metadata, encoding
//   3 user push (ours)  join_ref ref topic event metadata, encoding
#include "ptl_frame.h"

#define KIND_USER_PUSH 3
#define ENCODING_JSON  1
#define FIELDS_MAX     4

static bool take_fields(struct ptl_span message, size_t header_bytes, struct ptl_span **fields,
                        size_t count, struct ptl_span *rest)
{
    PTL_ASSERT(count <= FIELDS_MAX);
    if (message.len < header_bytes) {
        return false;
    }
    size_t at = header_bytes;
    for (size_t i = 0; i < count; i++) {
        size_t len = message.ptr[1 + i];
        if (len > message.len - at) {
            return false;
        }
        *fields[i] = (struct ptl_span){message.ptr + at, len};
        at += len;
    }
    *rest = (struct ptl_span){message.ptr + at, message.len - at};
    return true;
}

static enum ptl_status parse_binary(struct ptl_span message, struct ptl_frame *frame)
{
    if (message.len == 0) {
        return PTL_E_FORMAT;
    }
    struct ptl_span *fields[FIELDS_MAX] = {0};
    size_t count = 0;
    size_t encoding_bytes = 0;
    switch (message.ptr[0]) {
    case 0:
        frame->kind = PTL_FRAME_PUSH;
        fields[count++] = &frame->join_ref;
        break;
    case 1:
        frame->kind = PTL_FRAME_REPLY;
        fields[count++] = &frame->join_ref;
        fields[count++] = &frame->ref;
        break;
    case 2:
        frame->kind = PTL_FRAME_BROADCAST;
        break;
    case 4:
        frame->kind = PTL_FRAME_USER;
        encoding_bytes = 1;
        break;
    default:
        return PTL_E_FORMAT;
    }
    fields[count++] = &frame->topic;
    fields[count++] = &frame->event;
    if (frame->kind == PTL_FRAME_USER) {
        fields[count++] = &frame->metadata;
    }
    if (!take_fields(message, 1 + count + encoding_bytes, fields, count, &frame->payload)) {
        return PTL_E_FORMAT;
    }
    frame->json = frame->kind == PTL_FRAME_USER && message.ptr[1 + count] != 0;
    return PTL_OK;
}

// A ref as it stands: string body, number, or empty for null.
static bool take_ref(const struct ptl_json_value *value, struct ptl_span *ref)
{
    switch (value->type) {
    case PTL_JSON_NULL:
        *ref = (struct ptl_span){0};
        return true;
    case PTL_JSON_NUMBER:
        *ref = value->text;
        return true;
    case PTL_JSON_STRING:
        *ref = ptl_json_string_body(*value);
        return true;
    default:
        return false;
    }
}

static enum ptl_status parse_text(struct ptl_span message, struct ptl_frame *frame)
{
    struct ptl_json_value array;
    struct ptl_json_error error;
    if (ptl_json_check(message, PTL_JSON_DEPTH_MAX, &array, &error) != PTL_OK ||
        array.type != PTL_JSON_ARRAY) {
        return PTL_E_FORMAT;
    }
    struct ptl_json_value items[5];
    struct ptl_json_iter iter = ptl_json_iterate(array);
    for (size_t i = 0; i < 5; i++) { // more elements are ignored, as the server does
        if (!ptl_json_next(&iter, NULL, &items[i])) {
            return PTL_E_FORMAT;
        }
    }
    if (!take_ref(&items[0], &frame->join_ref) || !take_ref(&items[1], &frame->ref) ||
        items[2].type != PTL_JSON_STRING || items[3].type != PTL_JSON_STRING) {
        return PTL_E_FORMAT;
    }
    frame->kind = PTL_FRAME_TEXT;
    frame->topic = ptl_json_string_body(items[2]);
    frame->event = ptl_json_string_body(items[3]);
    frame->payload = items[4].text;
    frame->json = true;
    return PTL_OK;
}

enum ptl_status ptl_frame_parse(struct ptl_span message, bool binary, struct ptl_frame *frame)
{
    *frame = (struct ptl_frame){0};
    return binary ? parse_binary(message, frame) : parse_text(message, frame);
}

enum ptl_status ptl_frame_write_push(struct ptl_writer *w, struct ptl_span join_ref,
                                     struct ptl_span ref, struct ptl_span topic,
                                     struct ptl_span event)
{
    const struct ptl_span fields[] = {join_ref, ref, topic, event};
    size_t count = sizeof(fields) / sizeof(fields[0]);
    size_t needed = 1 + count + 2; // kind, lengths, metadata length and encoding
    for (size_t i = 0; i < count; i++) {
        if (fields[i].len > PTL_FRAME_FIELD_MAX) {
            return PTL_E_TOO_BIG;
        }
        needed += fields[i].len;
    }
    if (w->overflow || w->cap - w->len < needed) {
        return PTL_E_TOO_BIG;
    }
    ptl_write_byte(w, KIND_USER_PUSH);
    for (size_t i = 0; i < count; i++) {
        ptl_write_byte(w, (uint8_t)fields[i].len);
    }
    ptl_write_byte(w, 0); // no metadata: the server drops a client's own
    ptl_write_byte(w, ENCODING_JSON);
    for (size_t i = 0; i < count; i++) {
        ptl_write_span(w, fields[i]);
    }
    PTL_ASSERT(!w->overflow);
    return PTL_OK;
}
