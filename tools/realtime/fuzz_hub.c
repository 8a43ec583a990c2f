// fuzz_hub.c - whatever comes in on a socket, the hub neither crashes nor overreads.
//
// Method: the input is cut into frames (two bytes of length, one flag byte: which of two clients,
// text or binary); both share a room. Time runs on so that blocked sockets are let go.

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hub.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void nothing(void *io)
{
    (void)io;
}

static void hold(void *io, bool on)
{
    (void)io;
    (void)on;
}

static void drain(struct ptl_rt_client *client)
{
    for (struct ptl_rt_msg *m = ptl_rt_hub_next(client); m != NULL; m = ptl_rt_hub_next(client)) {
        ptl_rt_msg_drop(m);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct ptl_rt_config config = {
        .io = {nothing, hold, nothing},
        .join_error_delay_ms = 5,
        .payload_bytes_max = 1000,
        .channels_max = 4,
        .backlog_bytes_max = 10000,
        .held_bytes_max = 2000,
    };
    memcpy(config.secret.bytes, "secret", 6);
    config.secret.len = 6;
    struct ptl_rt_hub *hub = ptl_rt_hub_new(&config);
    char *token = ptl_rt_jwt_mint("service_role", NULL, 1000, 1000, &config.secret);
    struct ptl_rt_client *clients[2] = {ptl_rt_hub_connect(hub, hub, token),
                                        ptl_rt_hub_connect(hub, hub, token)};
    free(token);
    struct ptl_rt_now now = {1, 1001};
    while (len >= 3) {
        size_t frame_len = ((size_t)data[0] << 8) | data[1];
        uint8_t flags = data[2];
        data += 3;
        len -= 3;
        frame_len = frame_len < len ? frame_len : len;
        // A copy of exactly this length, so that the sanitizer sees any read past it.
        char *frame = malloc(frame_len > 0 ? frame_len : 1);
        memcpy(frame, data, frame_len);
        ptl_rt_hub_recv(clients[flags & 1], frame, frame_len, (flags & 2) != 0, now);
        free(frame);
        data += frame_len;
        len -= frame_len;
        now.mono_ms += (flags >> 2) & 7;
        (void)ptl_rt_hub_tick(hub, now);
        if ((flags & 32) != 0) {
            drain(clients[0]);
            drain(clients[1]);
        }
    }
    ptl_rt_hub_free(hub);
    return 0;
}
