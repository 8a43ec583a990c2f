// Goal: nothing a server sends, in any order, breaks the session's invariants or makes it read
// outside a message. Method: the input is a program: each step is an opcode and its bytes, playing
// both server (raw messages, and well-formed ones built around the input so that the deep paths are
// reached) and owner (link, time, writing). Runs under libFuzzer, and with fixed inputs as the unit
// test realtime_random.
#include "fuzz.h"

#include "ptl_session.h"

struct input {
    const uint8_t *at;
    size_t left;
};

static uint8_t take(struct input *in)
{
    if (in->left == 0) {
        return 0;
    }
    in->left--;
    return *in->at++;
}

static void check_event(const struct ptl_session *s, const struct ptl_session_event *event,
                        bool was_down)
{
    CHECK(event->text.len == 0 || event->text.ptr != NULL);
    if (event->type == PTL_SESSION_RECEIPT) {
        struct ptl_json_value value;
        struct ptl_json_error error;
        CHECK(ptl_json_check(event->text, PTL_JSON_DEPTH_MAX, &value, &error) == PTL_OK);
        CHECK(value.type == PTL_JSON_OBJECT);
        CHECK(s->cfg.private_channels);
    } else {
        CHECK(event->text.len <= PTL_SESSION_TEXT_MAX);
        CHECK(ptl_utf8_valid(event->text));
    }
    CHECK((event->type == PTL_SESSION_ACKED || event->type == PTL_SESSION_REFUSED) ==
          (event->ref != 0));
    if (event->type == PTL_SESSION_LOST) {
        CHECK(!was_down);
        CHECK(event->text.len > 0);
        CHECK(s->state == PTL_SESSION_DOWN);
    }
    if (was_down) {
        CHECK(event->type == PTL_SESSION_NONE || event->type == PTL_SESSION_IGNORED);
    }
}

static void receive(struct ptl_session *s, const uint8_t *bytes, size_t len, bool binary,
                    uint64_t now_ms)
{
    uint8_t *copy = exact_copy(bytes, len);
    bool was_down = s->state == PTL_SESSION_DOWN;
    struct ptl_session_event event =
        ptl_session_recv(s, (struct ptl_span){copy, len}, binary, now_ms);
    check_event(s, &event, was_down);
    free(copy);
}

// A text frame whose fields are picked by the input: right and wrong refs, topics, events,
// payloads.
static void receive_built(struct ptl_session *s, struct input *in, uint64_t now_ms)
{
    static const char *const topics[] = {"phoenix", "realtime:petrel:up:gw-17",
                                         "realtime:petrel:down:gw-17", "realtime:room"};
    static const char *const events[] = {"phx_reply", "phx_close",      "phx_error", "system",
                                         "broadcast", "presence_state", "heartbeat", "receipt"};
    static const char *const payloads[] = {
        "{\"status\":\"ok\",\"response\":{\"postgres_changes\":[]}}",
        "{\"status\":\"error\",\"response\":\"payload_size_exceeded\"}",
        "{\"status\":\"error\",\"response\":{\"reason\":\"unmatched topic\"}}",
        "{\"status\":\"error\",\"response\":{\"reason\":\"Unauthorized: \\ud83d\\ude00\"}}",
        "{\"status\":\"error\",\"message\":\"Token has expired\",\"extension\":\"system\"}",
        "{\"event\":\"receipt\",\"payload\":{\"source\":\"main\"},\"type\":\"broadcast\"}",
        "{}",
        "[]"};
    const uint32_t refs[] = {0,
                             s->up.join_ref,
                             s->down.join_ref,
                             s->heartbeat_ref,
                             s->presence_ref,
                             s->ref_last,
                             s->ref_last + 1,
                             1};
    uint8_t pick = take(in);
    uint8_t pick_payload = take(in);
    uint32_t join_ref = refs[(pick_payload >> 3) & 7];
    uint32_t ref = refs[pick & 7];
    const char *topic = topics[(pick >> 3) & 3];
    const char *event = events[(pick >> 5) & 7];
    char frame[512];
    int len = snprintf(frame, sizeof(frame), "[\"%u\",\"%u\",\"%s\",\"%s\",%s]", join_ref, ref,
                       topic, event, payloads[pick_payload & 7]);
    if (join_ref == 0) {
        len = snprintf(frame, sizeof(frame), "[null,\"%u\",\"%s\",\"%s\",%s]", ref, topic, event,
                       payloads[pick_payload & 7]);
    }
    receive(s, (const uint8_t *)frame, (size_t)len, false, now_ms);
}

static void receive_raw(struct ptl_session *s, struct input *in, bool binary, uint64_t now_ms)
{
    size_t len = (size_t)take(in) * (binary ? 1 : 4);
    len = len < in->left ? len : in->left;
    receive(s, in->at, len, binary, now_ms);
    in->at += len;
    in->left -= len;
}

static void write_control(struct ptl_session *s, struct input *in, uint64_t now_ms)
{
    size_t cap = (size_t)take(in) * 8;
    uint8_t *buf = malloc(cap > 0 ? cap : 1);
    CHECK(buf != NULL);
    struct ptl_writer w = ptl_writer_on(buf, cap);
    bool due = ptl_session_control_due(s, now_ms);
    enum ptl_status status = ptl_session_control_write(s, &w, now_ms);
    CHECK(due == (status != PTL_E_EMPTY));
    CHECK(!w.overflow);
    CHECK((status == PTL_OK) == (w.len > 0));
    if (status == PTL_OK) {
        struct ptl_frame frame;
        CHECK(ptl_frame_parse((struct ptl_span){buf, w.len}, false, &frame) == PTL_OK);
    }
    free(buf);
}

static void push(struct ptl_session *s)
{
    uint8_t buf[256];
    struct ptl_writer w = ptl_writer_on(buf, sizeof(buf));
    uint32_t ref = 0;
    bool joined = s->state == PTL_SESSION_JOINED || s->state == PTL_SESSION_DRAINING;
    enum ptl_status status = ptl_session_push_begin(s, &w, &ref);
    CHECK((status == PTL_OK) == joined);
    CHECK((ref != 0) == joined);
}

static void tick(struct ptl_session *s, uint64_t now_ms)
{
    bool was_down = s->state == PTL_SESSION_DOWN;
    struct ptl_session_event event = ptl_session_tick(s, now_ms);
    check_event(s, &event, was_down);
    CHECK(ptl_session_deadline(s) > now_ms); // nothing that spins
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    uint8_t flags = take(&in);
    struct ptl_session_config cfg = {
        .device = "gw-17",
        .token = PTL_SPAN_OF("eyJ.x.y"),
        .version = PTL_SPAN_OF("0.1.0"),
        .epoch = 0x5f0c8a3d9e7b1c24,
        .private_channels = (flags & 1) != 0,
        .presence = (flags & 2) != 0,
        .join_timeout_ms = 12000,
        .heartbeat_ms = (flags & 4) != 0 ? 25000 : 3000,
        .ack_timeout_ms = 5000,
    };
    struct ptl_session s;
    ptl_session_init(&s, &cfg);
    s.ref_last = (flags & 8) != 0 ? UINT32_MAX - 3 : 0; // refs wrap
    uint64_t now_ms = 1;
    ptl_session_link_up(&s, now_ms);
    while (in.left > 0) {
        uint8_t op = take(&in);
        now_ms += (uint64_t)(op >> 4) * 100;
        switch (op & 15) {
        case 0:
            ptl_session_link_up(&s, now_ms);
            break;
        case 1:
            ptl_session_link_down(&s);
            break;
        case 2:
            ptl_session_drain(&s);
            break;
        case 3:
            ptl_session_token_set(&s, PTL_SPAN_OF("eyJ.new.z"));
            break;
        case 4:
            now_ms += (uint64_t)take(&in) * 200;
            tick(&s, now_ms);
            break;
        case 5:
            push(&s);
            break;
        case 6:
            receive_raw(&s, &in, true, now_ms);
            break;
        case 7:
            receive_raw(&s, &in, false, now_ms);
            break;
        case 8:
        case 9:
        case 10:
            write_control(&s, &in, now_ms);
            break;
        default:
            receive_built(&s, &in, now_ms);
            break;
        }
    }
    return 0;
}
