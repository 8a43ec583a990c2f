#include "ptl_sim_wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAME_DEPTH_MAX 24
#define TEXT_MAX        16384

static struct ptl_span span_at(struct ptl_span bytes, size_t offset, size_t len)
{
    return (struct ptl_span){bytes.ptr + offset, len};
}

static const char *push_read(struct ptl_span bytes, struct ptl_sim_frame *frame)
{
    if (bytes.len < 7 || bytes.ptr[0] != 3) {
        return "binary frame is not a whole kind 3";
    }
    struct ptl_span *fields[] = {&frame->join_ref, &frame->ref, &frame->topic, &frame->event};
    size_t offset = 7;
    for (size_t i = 0; i < 5; i++) {
        size_t len = bytes.ptr[1 + i];
        if (len > bytes.len - offset) {
            return "kind 3 frame is cut";
        }
        if (i < 4) {
            *fields[i] = span_at(bytes, offset, len);
        } else if (len > 0) {
            return "kind 3 frame has metadata";
        }
        offset += len;
    }
    if (bytes.ptr[6] != 1) {
        return "kind 3 frame is not JSON";
    }
    frame->payload = span_at(bytes, offset, bytes.len - offset);
    return NULL;
}

static const char *text_read(struct ptl_span bytes, struct ptl_sim_frame *frame)
{
    struct ptl_json_value whole;
    struct ptl_json_error error;
    if (ptl_json_check(bytes, FRAME_DEPTH_MAX, &whole, &error) != PTL_OK) {
        return "text frame is not JSON";
    }
    if (whole.type != PTL_JSON_ARRAY) {
        return "text frame is not an array";
    }
    struct ptl_json_iter iter = ptl_json_iterate(whole);
    struct ptl_span *fields[] = {&frame->join_ref, &frame->ref, &frame->topic, &frame->event};
    struct ptl_json_value item;
    for (size_t i = 0; i < 4; i++) {
        if (!ptl_json_next(&iter, NULL, &item)) {
            return "text frame is short";
        }
        if (item.type == PTL_JSON_STRING) {
            *fields[i] = ptl_json_string_body(item);
        } else if (item.type != PTL_JSON_NULL || i > 1) {
            return "a field of a text frame has the wrong type";
        }
    }
    if (!ptl_json_next(&iter, NULL, &item)) {
        return "text frame is short";
    }
    frame->payload = item.text;
    return ptl_json_next(&iter, NULL, &item) ? "text frame is long" : NULL;
}

const char *ptl_sim_frame_read(struct ptl_span bytes, bool binary, struct ptl_sim_frame *frame)
{
    *frame = (struct ptl_sim_frame){0};
    return binary ? push_read(bytes, frame) : text_read(bytes, frame);
}

static void quoted(char *to, size_t cap, const char *text)
{
    if (text == NULL) {
        snprintf(to, cap, "null");
    } else {
        snprintf(to, cap, "\"%s\"", text);
    }
}

struct ptl_sim_message *ptl_sim_text_write(const char *join_ref, const char *ref, const char *topic,
                                           const char *event, const char *payload)
{
    char join_text[32];
    char ref_text[32];
    char text[TEXT_MAX];
    quoted(join_text, sizeof(join_text), join_ref);
    quoted(ref_text, sizeof(ref_text), ref);
    int len = snprintf(text, sizeof(text), "[%s,%s,\"%s\",\"%s\",%s]", join_text, ref_text, topic,
                       event, payload);
    PTL_ASSERT(len > 0 && (size_t)len < sizeof(text));
    return ptl_sim_message_new(PTL_SIM_DATA, text, (size_t)len);
}

struct ptl_sim_message *ptl_sim_user_write(const char *topic, const char *event,
                                           const char *payload)
{
    size_t topic_len = strlen(topic);
    size_t event_len = strlen(event);
    size_t payload_len = strlen(payload);
    PTL_ASSERT(topic_len < 256 && event_len < 256);
    struct ptl_sim_message *message =
        ptl_sim_message_new(PTL_SIM_DATA, NULL, 5 + topic_len + event_len + payload_len);
    uint8_t *at = message->bytes;
    const uint8_t head[5] = {4, (uint8_t)topic_len, (uint8_t)event_len, 0, 1};
    memcpy(at, head, sizeof(head));
    memcpy(at + 5, topic, topic_len);
    memcpy(at + 5 + topic_len, event, event_len);
    memcpy(at + 5 + topic_len + event_len, payload, payload_len);
    message->binary = true;
    return message;
}

void ptl_sim_copy_text(char *to, size_t cap, struct ptl_span from)
{
    size_t len = from.len < cap - 1 ? from.len : cap - 1;
    if (len > 0) {
        memcpy(to, from.ptr, len);
    }
    to[len] = '\0';
}

// Readers of members; each sets *wrong to its own text and goes on with zeros.

static uint64_t number_of(struct ptl_json_value object, const char *name, const char **wrong)
{
    struct ptl_json_value value;
    uint64_t number = 0;
    if (!ptl_json_member(object, name, &value) || value.type != PTL_JSON_NUMBER ||
        ptl_json_u64(value, &number) != PTL_OK) {
        *wrong = name;
    }
    if (number > PTL_SEQ_MAX) {
        *wrong = name;
    }
    return number;
}

static struct ptl_span text_of(struct ptl_json_value object, const char *name, const char **wrong)
{
    struct ptl_json_value value;
    if (!ptl_json_member(object, name, &value) || value.type != PTL_JSON_STRING) {
        *wrong = name;
        return (struct ptl_span){0};
    }
    return ptl_json_string_body(value);
}

static uint64_t epoch_of(struct ptl_json_value object, const char **wrong)
{
    struct ptl_span text = text_of(object, "epoch", wrong);
    uint64_t epoch = 0;
    if (text.len != 16) {
        *wrong = "epoch";
    }
    for (size_t i = 0; i < text.len; i++) {
        const char *digits = "0123456789abcdef";
        const char *digit = text.ptr[i] != 0 ? strchr(digits, text.ptr[i]) : NULL;
        if (digit == NULL) {
            *wrong = "epoch";
            return 0;
        }
        epoch = epoch << 4 | (uint64_t)(digit - digits);
    }
    return epoch;
}

static bool one_of(struct ptl_span text, const char *const *names, size_t count, uint8_t *which)
{
    for (size_t i = 0; i < count; i++) {
        if (ptl_json_text_equals(text, names[i])) {
            *which = (uint8_t)i;
            return true;
        }
    }
    return false;
}

static void time_check(struct ptl_json_value object, const char **wrong)
{
    struct ptl_json_value value;
    int64_t unix_ms;
    if (!ptl_json_member(object, "timestamp", &value)) {
        *wrong = "timestamp";
    } else if (value.type == PTL_JSON_STRING) {
        if (ptl_rfc3339_parse(ptl_json_string_body(value), &unix_ms) != PTL_OK) {
            *wrong = "timestamp";
        }
    } else if (value.type != PTL_JSON_NULL) {
        *wrong = "timestamp";
    }
    if (ptl_json_member(object, "ts_err_ms", &value) && value.type != PTL_JSON_NUMBER &&
        value.type != PTL_JSON_NULL) {
        *wrong = "ts_err_ms";
    }
}

static void event_read(struct ptl_json_value object, struct ptl_sim_batch_event *event,
                       const char **wrong)
{
    static const char *const severities[] = {"debug", "info", "warning", "error", "critical"};
    event->seq = number_of(object, "seq", wrong);
    number_of(object, "mono_ms", wrong);
    event->own = ptl_json_text_has_prefix(text_of(object, "event_type", wrong), "petrel.");
    text_of(object, "source", wrong);
    uint8_t severity;
    if (!one_of(text_of(object, "severity", wrong), severities, 5, &severity)) {
        *wrong = "severity";
    }
    time_check(object, wrong);
    struct ptl_json_value data;
    if (!ptl_json_member(object, "data", &data) || data.type != PTL_JSON_OBJECT) {
        *wrong = "data";
        return;
    }
    struct ptl_json_value id;
    event->id = 0;
    if (!event->own && ptl_json_member(data, "id", &id)) {
        event->id = (uint32_t)number_of(data, "id", wrong);
    }
    struct ptl_json_value metadata;
    if (ptl_json_member(object, "metadata", &metadata) && metadata.type != PTL_JSON_OBJECT) {
        *wrong = "metadata";
    }
}

static void gap_read(struct ptl_json_value object, struct ptl_gap *gap, const char **wrong)
{
    static const char *const reasons[] = {"overflow", "queue_full", "damaged", "media", "refused"};
    static const char *const kinds[] = {"lost", "uncertain"};
    *gap = (struct ptl_gap){.epoch = epoch_of(object, wrong),
                            .first = number_of(object, "first", wrong),
                            .last = number_of(object, "last", wrong)};
    if (gap->first > gap->last) {
        *wrong = "gap with first above last";
    }
    if (!one_of(text_of(object, "reason", wrong), reasons, 5, &gap->reason)) {
        *wrong = "gap reason";
    }
    if (!one_of(text_of(object, "kind", wrong), kinds, 2, &gap->kind)) {
        *wrong = "gap kind";
    }
}

static void end_read(struct ptl_json_value object, struct ptl_end *end, const char **wrong)
{
    static const char *const hows[] = {"closed", "torn"};
    *end = (struct ptl_end){.epoch = epoch_of(object, wrong),
                            .next = number_of(object, "next", wrong),
                            .at_most = (uint32_t)number_of(object, "at_most", wrong),
                            .runs = 1};
    end->from = end->next;
    struct ptl_json_value value;
    if (ptl_json_member(object, "runs", &value)) {
        end->runs = (uint16_t)number_of(object, "runs", wrong);
        end->from = number_of(object, "from", wrong);
    }
    if (!one_of(text_of(object, "how", wrong), hows, 2, &end->how)) {
        *wrong = "end how";
    }
    if (end->how == PTL_CLOSED && end->at_most != 0) {
        *wrong = "a closed end with at_most";
    }
}

static bool array_of(struct ptl_json_value object, const char *name, bool must,
                     struct ptl_json_iter *iter, const char **wrong)
{
    struct ptl_json_value value;
    if (!ptl_json_member(object, name, &value)) {
        if (must) {
            *wrong = name;
        }
        return false;
    }
    if (value.type != PTL_JSON_ARRAY) {
        *wrong = name;
        return false;
    }
    *iter = ptl_json_iterate(value);
    return true;
}

static void events_read(struct ptl_json_value object, struct ptl_sim_batch *batch,
                        const char **wrong)
{
    struct ptl_json_iter iter;
    struct ptl_json_value item;
    if (!array_of(object, "events", true, &iter, wrong)) {
        return;
    }
    while (*wrong == NULL && ptl_json_next(&iter, NULL, &item)) {
        if (batch->event_count == PTL_SIM_BATCH_EVENTS_MAX) {
            *wrong = "more events than the simulator reads";
            return;
        }
        struct ptl_sim_batch_event *event = &batch->events[batch->event_count];
        event_read(item, event, wrong);
        if (batch->event_count > 0 && event[-1].seq >= event->seq) {
            *wrong = "events do not ascend";
        }
        batch->event_count++;
    }
}

static void tail_read(struct ptl_json_value object, struct ptl_sim_batch *batch, const char **wrong)
{
    struct ptl_json_iter iter;
    struct ptl_json_value item;
    if (array_of(object, "gaps", false, &iter, wrong)) {
        while (*wrong == NULL && ptl_json_next(&iter, NULL, &item)) {
            if (batch->gap_count == PTL_GAPS_MAX) {
                *wrong = "too many gaps";
                return;
            }
            gap_read(item, &batch->gaps[batch->gap_count], wrong);
            if (batch->gaps[batch->gap_count++].epoch != batch->epoch) {
                *wrong = "a gap of another epoch than the batch";
            }
        }
    }
    if (array_of(object, "ends", false, &iter, wrong)) {
        while (*wrong == NULL && ptl_json_next(&iter, NULL, &item)) {
            if (batch->end_count == PTL_ENDS_MAX) {
                *wrong = "too many ends";
                return;
            }
            end_read(item, &batch->ends[batch->end_count++], wrong);
        }
    }
}

const char *ptl_sim_batch_read(struct ptl_span payload, struct ptl_sim_batch *batch)
{
    struct ptl_json_value object;
    struct ptl_json_error error;
    const char *wrong = NULL;
    batch->event_count = 0;
    batch->gap_count = 0;
    batch->end_count = 0;
    if (ptl_json_check(payload, FRAME_DEPTH_MAX, &object, &error) != PTL_OK) {
        return error.reason;
    }
    if (object.type != PTL_JSON_OBJECT) {
        return "a batch is an object";
    }
    if (number_of(object, "v", &wrong) != 1) {
        return "v is not 1";
    }
    ptl_sim_copy_text(batch->device, sizeof(batch->device), text_of(object, "device", &wrong));
    ptl_sim_copy_text(batch->boot, sizeof(batch->boot), text_of(object, "boot", &wrong));
    batch->epoch = epoch_of(object, &wrong);
    batch->floor = number_of(object, "floor", &wrong);
    struct ptl_json_value sent;
    if (!ptl_json_member(object, "sent_ms", &sent) ||
        (sent.type != PTL_JSON_NUMBER && sent.type != PTL_JSON_NULL)) {
        wrong = "sent_ms";
    }
    events_read(object, batch, &wrong);
    tail_read(object, batch, &wrong);
    if (wrong == NULL && batch->event_count > 0 && batch->events[0].seq < batch->floor) {
        wrong = "an event below the floor";
    }
    return wrong;
}
