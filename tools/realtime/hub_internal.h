// hub_internal.h - the hub's parts among themselves: room.c (who hears whom), presence.c,
// join.c, hub.c (clients and frames).
#pragma once

#include "frame.h"
#include "hub.h"
#include "json.h"
#include "rights.h"

enum { PTL_RT_ROOM_BUCKETS = 4096, PTL_RT_PHX_REF_CHARS = 16 };

#define PTL_RT_PRESENCE_KEY_BYTES_MAX 1024u // a longer key counts as none

struct ptl_rt_channel {
    struct ptl_rt_client *client;
    struct ptl_rt_room *room;
    struct ptl_rt_channel *client_next;           // the client's other channels
    struct ptl_rt_channel *room_prev, *room_next; // the other members, in the order of joining
    char *join_ref;                               // JSON text
    bool ack, self;
    bool presence_enabled;
    struct ptl_rt_rights rights;
    char *presence_key; // presence_key_len bytes; may hold a NUL
    size_t presence_key_len;
    json_t *tracked; // payload of the last track, NULL while not tracked
    char phx_ref[PTL_RT_PHX_REF_CHARS + 1];
    char phx_ref_prev[PTL_RT_PHX_REF_CHARS + 1]; // empty after a first track
};

// All channels of one topic; the public and the private channel of a name are two rooms.
struct ptl_rt_room {
    struct ptl_rt_room *bucket_next;
    struct ptl_rt_channel *first, *last;
    bool is_private;
    char *topic_text;          // with "realtime:" in front
    struct ptl_rt_bytes topic; // the same
};

// A frame taken while a refused join blocks the socket.
struct ptl_rt_held {
    struct ptl_rt_held *next;
    bool binary;
    size_t len;
    char data[];
};

struct ptl_rt_client {
    struct ptl_rt_hub *hub;
    struct ptl_rt_client *prev, *next;
    void *io;
    char *token;
    struct ptl_rt_channel *channels;
    size_t channel_count;
    bool dying; // too slow: the driver was told to drop it

    struct ptl_rt_msg **out; // ring of messages to write
    size_t out_cap, out_head, out_count, out_bytes;

    bool blocked; // by a refused join, until:
    uint64_t blocked_until_ms;
    size_t out_free; // messages that were waiting before the refusal and may still go
    struct ptl_rt_held *held_first, *held_last;
    size_t held_bytes;
};

struct ptl_rt_hub {
    struct ptl_rt_config config;
    struct ptl_rt_stats stats;
    struct ptl_rt_client *clients;
    size_t blocked_count;
    uint64_t phx_ref_counter;
    struct ptl_rt_room *rooms[PTL_RT_ROOM_BUCKETS];
};

// The text of an ack and of every other answer without content.
#define PTL_RT_OK_EMPTY "{\"status\":\"ok\",\"response\":{}}"

// client.c -----------------------------------------------------------------------------------
// Queues the message (taking a reference of its own); a client too far behind is killed.
void ptl_rt_client_send(struct ptl_rt_client *client, struct ptl_rt_msg *m);
// Queues a text frame built from its parts; refs and payload are JSON text.
void ptl_rt_client_text(struct ptl_rt_client *client, const char *join_ref, const char *ref,
                        struct ptl_rt_bytes topic, const char *event, const char *payload);
// Queues a refused join's reply behind the delay and blocks the socket meanwhile.
void ptl_rt_client_refuse(struct ptl_rt_client *client, const struct ptl_rt_frame *f,
                          const char *reason, struct ptl_rt_now now);
struct ptl_rt_channel *ptl_rt_client_channel(struct ptl_rt_client *client,
                                             struct ptl_rt_bytes topic);

// room.c -------------------------------------------------------------------------------------
// Puts a new channel into the room of `topic` and the client's list.
struct ptl_rt_channel *ptl_rt_room_enter(struct ptl_rt_client *client, struct ptl_rt_bytes topic,
                                         bool is_private);
// Ends the channel: presence goes, the others are told, memory is freed.
void ptl_rt_room_leave(struct ptl_rt_channel *channel);
// Hands a broadcast to everyone in the sender's room who may read it.
void ptl_rt_room_broadcast(struct ptl_rt_channel *sender, struct ptl_rt_msg *m);

// presence.c ---------------------------------------------------------------------------------
void ptl_rt_presence_push(struct ptl_rt_channel *channel, const struct ptl_rt_frame *f);
void ptl_rt_presence_state(struct ptl_rt_channel *channel);
void ptl_rt_presence_gone(struct ptl_rt_channel *channel); // untracks, tells the others

// join.c -------------------------------------------------------------------------------------
void ptl_rt_join(struct ptl_rt_client *client, const struct ptl_rt_frame *f, struct ptl_rt_now now);
// A `system` message on the channel.
void ptl_rt_system(struct ptl_rt_channel *channel, const char *extension, const char *status,
                   const char *message);
// Name of a topic: what follows "realtime:". `topic` must start so.
struct ptl_rt_bytes ptl_rt_topic_name(struct ptl_rt_bytes topic);
void ptl_rt_close_channel(struct ptl_rt_channel *channel); // phx_close, then leave
