// sink_ws.c - WebSocket and Realtime frames, as far as the clients of the bench use them. Frame
// code of its own, like every server here.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/sha.h>

#include "sink.h"

#define HEADER_MAX 14
#define TEXT_MAX   256

struct piece {
    const char *at;
    size_t len;
};

// -- Upgrade -------------------------------------------------------------------------------------

static bool upgrade(struct sink_conn *c)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    static const char name[] = "sec-websocket-key:";
    const char *end = memmem(c->buf, c->len, "\r\n\r\n", 4);
    if (end == NULL) {
        return c->len < 65536;
    }
    c->buf[end - (const char *)c->buf] = '\0';
    const char *key = strcasestr((const char *)c->buf, name);
    if (key == NULL) {
        return false;
    }
    key += strlen(name);
    key += strspn(key, " ");
    char text[128];
    int len = snprintf(text, sizeof(text), "%.*s%s", (int)strcspn(key, " \r"), key, guid);
    unsigned char hash[SHA_DIGEST_LENGTH];
    unsigned char accept[4 * ((SHA_DIGEST_LENGTH + 2) / 3) + 1];
    if (len <= 0 || len >= (int)sizeof(text)) {
        return false;
    }
    SHA1((const unsigned char *)text, (size_t)len, hash);
    EVP_EncodeBlock(accept, hash, sizeof(hash));
    char answer[256];
    len =
        snprintf(answer, sizeof(answer),
                 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Accept: %s\r\n\r\n",
                 (const char *)accept);
    c->upgraded = true;
    c->len = 0; // a client says nothing before the answer
    return sink_send(c, answer, (size_t)len);
}

// -- Answers -------------------------------------------------------------------------------------

static bool text_send(struct sink_conn *c, const char *text, size_t len)
{
    uint8_t frame[4 + 2 * TEXT_MAX];
    size_t at = 2;
    frame[0] = 0x81;
    if (len < 126) {
        frame[1] = (uint8_t)len;
    } else {
        frame[1] = 126;
        frame[2] = (uint8_t)(len >> 8);
        frame[3] = (uint8_t)len;
        at = 4;
    }
    memcpy(frame + at, text, len);
    return sink_send(c, frame, at + len);
}

// The pieces are as they stood in a text frame (quoted, or null).
static bool reply(struct sink_conn *c, const struct piece *join_ref, const struct piece *ref,
                  const struct piece *topic, const char *response)
{
    char text[2 * TEXT_MAX];
    int len = snprintf(text, sizeof(text),
                       "[%.*s,%.*s,%.*s,\"phx_reply\",{\"status\":\"ok\",\"response\":%s}]",
                       (int)join_ref->len, join_ref->at, (int)ref->len, ref->at, (int)topic->len,
                       topic->at, response);
    return len > 0 && len < (int)sizeof(text) && text_send(c, text, (size_t)len);
}

// -- Text frames: [join_ref, ref, topic, event, payload]
// --------------------------------------------

static bool is(const struct piece *p, const char *text)
{
    return p->len == strlen(text) && memcmp(p->at, text, p->len) == 0;
}

static bool text_message(struct sink_conn *c, const char *at, size_t len)
{
    struct piece pieces[4];
    const char *end = at + len;
    if (len == 0 || *at++ != '[') {
        return false;
    }
    for (size_t i = 0; i < 4; i++) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        if (comma == NULL || comma - at > SINK_TOPIC_MAX) {
            return false;
        }
        pieces[i] = (struct piece){at, (size_t)(comma - at)};
        at = comma + 1;
    }
    const struct piece *event = &pieces[3];
    if (is(event, "\"phx_join\"")) {
        if (c->topic[0] == '\0' && pieces[2].len > 2) {
            memcpy(c->topic, pieces[2].at + 1, pieces[2].len - 2);
        }
        return reply(c, &pieces[0], &pieces[1], &pieces[2], "{\"postgres_changes\":[]}");
    }
    if (is(event, "\"access_token\"")) {
        return true;
    }
    return reply(c, &pieces[0], &pieces[1], &pieces[2], "{}");
}

// -- Broadcasts (kind 3)
// -----------------------------------------------------------------------------

static void latency_take(struct sink_conn *c, const char *at, size_t len, uint64_t now_us)
{
    const char *stamp = memmem(at, len, "\"t_us\":", 7);
    if (stamp == NULL || c->latency_count >= SINK_LATENCIES_MAX) {
        return;
    }
    uint64_t then_us = 0;
    for (const char *digit = stamp + 7; *digit >= '0' && *digit <= '9'; digit++) {
        then_us = then_us * 10 + (uint64_t)(*digit - '0');
    }
    c->latency_us[c->latency_count++] = (uint32_t)(now_us > then_us ? now_us - then_us : 0);
}

static void events_count(struct sink_conn *c, const char *at, size_t len)
{
    static const char mark[] = "\"seq\":";
    const size_t mark_len = sizeof(mark) - 1;
    const char *end = at + len;
    bool stamped = memmem(at, len < 1024 ? len : 1024, "\"t_us\":", 7) != NULL;
    uint64_t now_us = stamped ? sink_now_us() : 0;
    const char *hit = memmem(at, len, mark, mark_len);
    while (hit != NULL) {
        c->events++;
        // No event is shorter than its data.
        const char *from = (size_t)(end - hit) > 64 ? hit + 64 : end;
        const char *next = memmem(from, (size_t)(end - from), mark, mark_len);
        if (stamped) {
            latency_take(c, hit, (size_t)((next != NULL ? next : end) - hit), now_us);
        }
        hit = next;
    }
}

static bool dump(struct sink_conn *c, const uint8_t *message, size_t len)
{
    FILE *file = fopen(c->dump, "wb");
    c->dump[0] = '\0';
    if (file == NULL) {
        return false;
    }
    bool whole = fwrite(message, 1, len, file) == len;
    whole = fclose(file) == 0 && whole;
    printf("{\"dumped\":%zu}\n", len);
    fflush(stdout);
    return whole;
}

static bool broadcast(struct sink_conn *c, const uint8_t *message, size_t len)
{
    if (len < 7 || message[0] != 3) {
        return false;
    }
    const size_t join_ref_len = message[1], ref_len = message[2], topic_len = message[3];
    size_t head = 7 + join_ref_len + ref_len + topic_len + message[4] + message[5];
    if (len < head) {
        return false;
    }
    const char *at = (const char *)message + 7;
    char text[2 * TEXT_MAX];
    int n =
        snprintf(text, sizeof(text),
                 "[\"%.*s\",\"%.*s\",\"%.*s\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]",
                 (int)join_ref_len, at, (int)ref_len, at + join_ref_len, (int)topic_len,
                 at + join_ref_len + ref_len);
    if (n <= 0 || n >= (int)sizeof(text)) {
        return false;
    }
    events_count(c, (const char *)message + head, len - head);
    c->acks++;
    c->largest = len > c->largest ? len : c->largest;
    if (c->dump[0] != '\0' && len >= c->largest - c->largest / 16 && !dump(c, message, len)) {
        return false;
    }
    return text_send(c, text, (size_t)n);
}

// -- Frames --------------------------------------------------------------------------------------

static void unmask(uint8_t *at, size_t len, const uint8_t mask[4])
{
    uint64_t word_mask;
    memcpy(&word_mask, mask, 4);
    memcpy((uint8_t *)&word_mask + 4, mask, 4);
    for (; len >= 8; len -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        word ^= word_mask;
        memcpy(at, &word, 8);
    }
    for (size_t i = 0; i < len; i++) {
        at[i] ^= mask[i];
    }
}

static bool message(struct sink_conn *c, uint8_t opcode, uint8_t *payload, size_t len,
                    size_t frame_len)
{
    switch (opcode) {
    case 1:
        return text_message(c, (const char *)payload, len);
    case 2:
        c->frame_bytes += frame_len;
        return broadcast(c, payload, len);
    case 9: {
        uint8_t pong[2 + 125] = {0x8A, (uint8_t)len};
        memcpy(pong + 2, payload, len <= 125 ? len : 0);
        return len <= 125 && sink_send(c, pong, 2 + len);
    }
    case 10:
        return true;
    default: // a close; no client here fragments
        return false;
    }
}

// Header and whole length of the frame at `at`; 0: not all of it is there.
static size_t frame_len(const uint8_t *at, size_t len, size_t *head)
{
    if (len < 6) {
        return 0;
    }
    size_t payload = at[1] & 0x7F;
    *head = 6;
    if (payload == 126 && len >= 8) {
        payload = (size_t)at[2] << 8 | at[3];
        *head = 8;
    } else if (payload == 127 && len >= HEADER_MAX) {
        payload = 0;
        for (size_t i = 2; i < 10; i++) {
            payload = payload << 8 | at[i];
        }
        *head = HEADER_MAX;
    } else if (payload >= 126) {
        return 0;
    }
    return payload <= len && *head + payload <= len ? *head + payload : 0;
}

bool sink_take(struct sink_conn *c)
{
    if (!c->upgraded) {
        return upgrade(c);
    }
    size_t at = 0, head = 0, whole;
    while ((whole = frame_len(c->buf + at, c->len - at, &head)) > 0) {
        uint8_t *frame = c->buf + at;
        uint8_t *payload = frame + head;
        // Final frames with a mask only.
        if ((frame[0] & 0x80) == 0 || (frame[1] & 0x80) == 0) {
            fprintf(stderr, "petrel-bench-sink: fragments or no mask\n");
            return false;
        }
        unmask(payload, whole - head, payload - 4);
        if (!message(c, frame[0] & 0x0F, payload, whole - head, whole)) {
            return false;
        }
        at += whole;
    }
    if (at > 0) {
        c->len -= at;
        memmove(c->buf, c->buf + at, c->len);
    }
    return c->len < SINK_BUF_BYTES;
}
