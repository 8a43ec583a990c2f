// hub.c - clients come, go and send frames; each frame to the part that answers it.

#include "hub.h"

#include <stdlib.h>
#include <string.h>

#include "hub_internal.h"

struct ptl_rt_hub *ptl_rt_hub_new(const struct ptl_rt_config *config)
{
    struct ptl_rt_hub *hub = ptl_rt_alloc(sizeof *hub);
    hub->config = *config;
    return hub;
}

void ptl_rt_hub_free(struct ptl_rt_hub *hub)
{
    for (struct ptl_rt_client *c = hub->clients, *next = NULL; c != NULL; c = next) {
        next = c->next;
        ptl_rt_hub_disconnect(c);
    }
    free(hub);
}

const struct ptl_rt_stats *ptl_rt_hub_stats(const struct ptl_rt_hub *hub)
{
    return &hub->stats;
}

struct ptl_rt_client *ptl_rt_hub_connect(struct ptl_rt_hub *hub, void *io, const char *token)
{
    struct ptl_rt_client *client = ptl_rt_alloc(sizeof *client);
    client->hub = hub;
    client->io = io;
    client->token = ptl_rt_copy(token, strlen(token));
    client->next = hub->clients;
    if (hub->clients != NULL) {
        hub->clients->prev = client;
    }
    hub->clients = client;
    hub->stats.connects++;
    hub->stats.clients++;
    return client;
}

static struct ptl_rt_held *pop_held(struct ptl_rt_client *client)
{
    struct ptl_rt_held *held = client->held_first;
    if (held != NULL) {
        client->held_first = held->next;
        client->held_last = held->next != NULL ? client->held_last : NULL;
        client->held_bytes -= held->len + sizeof *held;
    }
    return held;
}

void ptl_rt_hub_disconnect(struct ptl_rt_client *client)
{
    struct ptl_rt_hub *hub = client->hub;
    client->dying = true; // nothing more is queued for it
    while (client->channels != NULL) {
        ptl_rt_room_leave(client->channels);
    }
    for (size_t i = 0; i < client->out_count; i++) {
        ptl_rt_msg_drop(client->out[(client->out_head + i) % client->out_cap]);
    }
    free(client->out);
    for (struct ptl_rt_held *h = pop_held(client); h != NULL; h = pop_held(client)) {
        free(h);
    }
    hub->blocked_count -= client->blocked;
    if (client->next != NULL) {
        client->next->prev = client->prev;
    }
    if (client->prev != NULL) {
        client->prev->next = client->next;
    } else {
        hub->clients = client->next;
    }
    hub->stats.clients--;
    free(client->token);
    free(client);
}

void ptl_rt_close_channel(struct ptl_rt_channel *channel)
{
    // The ref of a phx_close is the ref of the join, which equals its join_ref.
    ptl_rt_client_text(channel->client, channel->join_ref, channel->join_ref, channel->room->topic,
                       "phx_close", "{}");
    ptl_rt_room_leave(channel);
}

static void leave(struct ptl_rt_channel *channel, const struct ptl_rt_frame *f)
{
    if (strcmp(channel->join_ref, f->join_ref.data) != 0) {
        return; // another join's leave: no answer, the channel stays
    }
    channel->client->hub->stats.leaves++;
    ptl_rt_client_text(channel->client, channel->join_ref, f->ref.data, f->topic, "phx_reply",
                       PTL_RT_OK_EMPTY);
    ptl_rt_close_channel(channel);
}

// Realtime judges a kind-3 push by the term {event, json|binary, payload, metadata}.
static size_t broadcast_bytes(const struct ptl_rt_frame *f)
{
    if (!f->user_push) {
        return ptl_rt_json_term_bytes(f->payload);
    }
    return 1 + 2 + (5 + f->user_event.len) + (f->encoding != 0 ? 6 : 8) +
           (5 + f->user_payload.len) + 5;
}

static struct ptl_rt_msg *broadcast_message(const struct ptl_rt_frame *f)
{
    if (f->user_push) {
        return ptl_rt_frame_user_broadcast(f);
    }
    struct ptl_rt_str payload = {0};
    ptl_rt_json_write(&payload, f->payload);
    struct ptl_rt_msg *m =
        ptl_rt_frame_text("null", "null", f->topic, "broadcast", payload.data, payload.len);
    ptl_rt_str_free(&payload);
    return m;
}

static void broadcast(struct ptl_rt_channel *channel, const struct ptl_rt_frame *f)
{
    struct ptl_rt_hub *hub = channel->client->hub;
    hub->stats.broadcasts_in++;
    if (!channel->rights.broadcast_write) {
        hub->stats.broadcasts_denied++;
        return; // a denied write is never answered
    }
    if (!f->user_push && !json_is_object(f->payload)) {
        hub->stats.frames_ignored++;
        return;
    }
    const char *answer = PTL_RT_OK_EMPTY;
    if (broadcast_bytes(f) > hub->config.payload_bytes_max) {
        hub->stats.broadcasts_too_big++;
        answer = "{\"status\":\"error\",\"response\":\"payload_size_exceeded\"}";
    } else {
        struct ptl_rt_msg *m = broadcast_message(f);
        ptl_rt_room_broadcast(channel, m);
        ptl_rt_msg_drop(m);
    }
    if (channel->ack) { // after the sender's own copy
        hub->stats.acks++;
        ptl_rt_client_text(channel->client, channel->join_ref, f->ref.data, f->topic, "phx_reply",
                           answer);
    }
}

static void on_channel(struct ptl_rt_channel *channel, const struct ptl_rt_frame *f)
{
    if (ptl_rt_bytes_are(f->event, "broadcast")) {
        broadcast(channel, f);
    } else if (ptl_rt_bytes_are(f->event, "presence")) {
        ptl_rt_presence_push(channel, f);
    } else if (ptl_rt_bytes_are(f->event, "phx_leave")) {
        leave(channel, f);
    }
    // Anything else gets no reply, access_token among it: refresh and expiry of a channel's token
    // are not here yet, a channel lives by the token it joined with.
}

static void on_unjoined(struct ptl_rt_client *client, const struct ptl_rt_frame *f)
{
    if (ptl_rt_bytes_are(f->event, "phx_leave")) {
        ptl_rt_client_text(client, f->join_ref.data, f->ref.data, f->topic, "phx_reply",
                           PTL_RT_OK_EMPTY);
    } else {
        ptl_rt_client_text(client, "null", f->ref.data, f->topic, "phx_reply",
                           "{\"status\":\"error\",\"response\":{\"reason\":\"unmatched topic\"}}");
    }
}

static void handle(struct ptl_rt_client *client, const struct ptl_rt_frame *f,
                   struct ptl_rt_now now)
{
    bool realtime_topic = f->topic.len >= 9 && memcmp(f->topic.ptr, "realtime:", 9) == 0;
    if (ptl_rt_bytes_are(f->topic, "phoenix") && ptl_rt_bytes_are(f->event, "heartbeat")) {
        client->hub->stats.heartbeats++;
        ptl_rt_client_text(client, "null", f->ref.data, f->topic, "phx_reply", PTL_RT_OK_EMPTY);
    } else if (realtime_topic && ptl_rt_bytes_are(f->event, "phx_join")) {
        ptl_rt_join(client, f, now);
    } else {
        struct ptl_rt_channel *channel = ptl_rt_client_channel(client, f->topic);
        channel != NULL ? on_channel(channel, f) : on_unjoined(client, f);
    }
}

static void hold(struct ptl_rt_client *client, const char *data, size_t len, bool binary)
{
    struct ptl_rt_hub *hub = client->hub;
    size_t cost = len + sizeof(struct ptl_rt_held);
    if (client->held_bytes + cost > hub->config.held_bytes_max) {
        client->dying = true;
        hub->config.io.kill(client->io);
        return;
    }
    struct ptl_rt_held *held = ptl_rt_alloc(cost);
    held->binary = binary;
    held->len = len;
    if (len > 0) {
        memcpy(held->data, data, len);
    }
    if (client->held_last != NULL) {
        client->held_last->next = held;
    } else {
        client->held_first = held;
    }
    client->held_last = held;
    client->held_bytes += cost;
}

static void decode_and_handle(struct ptl_rt_client *client, const char *data, size_t len,
                              bool binary, struct ptl_rt_now now)
{
    struct ptl_rt_frame f;
    bool ok = binary ? ptl_rt_frame_decode_binary(&f, data, len)
                     : ptl_rt_frame_decode_text(&f, data, len);
    if (ok) {
        handle(client, &f, now);
    } else {
        client->hub->stats.frames_ignored++;
    }
    ptl_rt_frame_free(&f);
}

void ptl_rt_hub_recv(struct ptl_rt_client *client, const char *data, size_t len, bool binary,
                     struct ptl_rt_now now)
{
    if (client->dying) {
        return;
    }
    client->hub->stats.frames_in++;
    if (client->blocked || client->held_first != NULL) {
        hold(client, data, len, binary);
    } else {
        decode_and_handle(client, data, len, binary, now);
    }
}

static void unblock(struct ptl_rt_client *client, struct ptl_rt_now now)
{
    struct ptl_rt_hub *hub = client->hub;
    client->blocked = false;
    hub->blocked_count--;
    while (!client->blocked && !client->dying) {
        struct ptl_rt_held *held = pop_held(client);
        if (held == NULL) {
            hub->config.io.hold_reading(client->io, false);
            break;
        }
        decode_and_handle(client, held->data, held->len, held->binary, now);
        free(held);
    }
    hub->config.io.want_write(client->io);
}

uint64_t ptl_rt_hub_tick(struct ptl_rt_hub *hub, struct ptl_rt_now now)
{
    uint64_t next_ms = UINT64_MAX;
    if (hub->blocked_count == 0) {
        return next_ms;
    }
    for (struct ptl_rt_client *c = hub->clients; c != NULL; c = c->next) {
        if (c->blocked && c->blocked_until_ms <= now.mono_ms) {
            unblock(c, now);
        }
        if (c->blocked && c->blocked_until_ms < next_ms) {
            next_ms = c->blocked_until_ms;
        }
    }
    return next_ms;
}
