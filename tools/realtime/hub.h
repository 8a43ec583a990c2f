// hub.h - the Realtime server without sockets: clients, channels, rooms, presence.
//
// Promise   Answers a client's frames as supabase/realtime 2.129.8 does, with the two-channel
//           rules of docs/wire.md as its policies.
// I/O       None. Frames come in through ptl_rt_hub_recv(), go out through ptl_rt_hub_next(); the
//           driver is told through struct ptl_rt_io. Time is pushed in and never falls.
// Memory    Heap; per client bounded by the limits in struct ptl_rt_config.
// Threads   One owner.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "jwt.h"
#include "mem.h"

struct ptl_rt_hub;
struct ptl_rt_client;

struct ptl_rt_now {
    uint64_t mono_ms;
    int64_t unix_s;
};

// What the hub asks of the driver. `io` is what the driver gave to ptl_rt_hub_connect(). None of
// these may call back into the hub.
struct ptl_rt_io {
    void (*want_write)(void *io);              // ptl_rt_hub_next() has something
    void (*hold_reading)(void *io, bool hold); // stop, or go on, taking frames from the client
    void (*kill)(void *io); // drop the connection without a close frame, later than now
};

struct ptl_rt_config {
    struct ptl_rt_io io;
    struct ptl_rt_secret secret;
    uint64_t join_error_delay_ms; // Realtime waits 5 s, with the whole socket blocked
    size_t payload_bytes_max;     // Realtime: kilobytes of the plan times 1,000, plus 500
    size_t channels_max;          // per client
    size_t backlog_bytes_max;     // waiting for a slow client before it is dropped
    size_t held_bytes_max;        // received while a refused join blocks the socket
};

struct ptl_rt_stats {
    uint64_t connects, clients, joins, joins_refused, leaves;
    uint64_t frames_in, frames_ignored, heartbeats;
    uint64_t broadcasts_in, broadcasts_denied, broadcasts_too_big;
    uint64_t acks, deliveries, delivered_bytes, presence_in, presence_denied;
    uint64_t killed_slow;
};

struct ptl_rt_hub *ptl_rt_hub_new(const struct ptl_rt_config *config);
void ptl_rt_hub_free(struct ptl_rt_hub *hub); // with every client still there

// `token` is the connection's key, already verified; joins without a token of their own use it.
struct ptl_rt_client *ptl_rt_hub_connect(struct ptl_rt_hub *hub, void *io, const char *token);
void ptl_rt_hub_disconnect(struct ptl_rt_client *client);

// One whole message from the client. What is malformed is counted and ignored.
void ptl_rt_hub_recv(struct ptl_rt_client *client, const char *data, size_t len, bool binary,
                     struct ptl_rt_now now);

// The next message to write, NULL if there is none now. The caller drops its reference.
struct ptl_rt_msg *ptl_rt_hub_next(struct ptl_rt_client *client);

// Lets go of sockets whose refused join has been delayed long enough. Returns when to call again,
// UINT64_MAX if no socket waits.
uint64_t ptl_rt_hub_tick(struct ptl_rt_hub *hub, struct ptl_rt_now now);

const struct ptl_rt_stats *ptl_rt_hub_stats(const struct ptl_rt_hub *hub);
