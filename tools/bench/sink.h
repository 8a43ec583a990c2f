// sink.h - what the files of the sink share.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#define SINK_BUF_BYTES     (4u << 20) // above the largest message
#define SINK_TOPIC_MAX     128
#define SINK_LATENCIES_MAX 400000u

struct sink_conn {
    struct sink_conn *next;
    SSL *ssl; // NULL: closed
    int fd;   // -1: closed
    bool upgraded;
    uint8_t *buf; // bytes after TLS, [0, len) not yet taken
    size_t len;

    char topic[SINK_TOPIC_MAX + 1]; // first one joined
    uint64_t acks, events;
    uint64_t frame_bytes; // WebSocket frames of broadcasts, header and mask included
    uint64_t wire_bytes;  // TLS records, once closed
    uint64_t largest;     // broadcast so far
    char dump[256];       // file for the next large broadcast, "": none wanted
    uint32_t latency_count;
    uint32_t latency_us[SINK_LATENCIES_MAX];
};

uint64_t sink_now_us(void);
uint64_t sink_wire_bytes(const struct sink_conn *c);
// False: the client is to be given up.
bool sink_send(struct sink_conn *c, const void *bytes, size_t len);

// sink_ws.c: takes what is whole out of the buffer and answers it. False: give the client up.
bool sink_take(struct sink_conn *c);
