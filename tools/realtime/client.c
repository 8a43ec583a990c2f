// client.c - what waits for a client, and the block of a refused join.
//
// Realtime runs a join inside the socket's process and lets it sleep when it refuses: until then
// nothing else goes in or out on that socket. Here the reply is queued at once behind a gate: what
// was queued before may still go, the reply and everything after it waits.

#include <stdlib.h>
#include <string.h>

#include "hub_internal.h"

static void push_out(struct ptl_rt_client *client, struct ptl_rt_msg *m)
{
    if (client->out_count == client->out_cap) {
        size_t cap = client->out_cap == 0 ? 16 : client->out_cap * 2;
        struct ptl_rt_msg **bigger = ptl_rt_alloc(cap * sizeof(struct ptl_rt_msg *));
        for (size_t i = 0; i < client->out_count; i++) {
            bigger[i] = client->out[(client->out_head + i) % client->out_cap];
        }
        free(client->out);
        client->out = bigger;
        client->out_cap = cap;
        client->out_head = 0;
    }
    client->out[(client->out_head + client->out_count) % client->out_cap] = m;
    client->out_count++;
    client->out_bytes += m->len;
}

void ptl_rt_client_send(struct ptl_rt_client *client, struct ptl_rt_msg *m)
{
    struct ptl_rt_hub *hub = client->hub;
    if (client->dying) {
        return;
    }
    // Many empty messages cost memory too, by the pointers to them.
    size_t cost = client->out_bytes + client->out_count * sizeof(void *);
    if (client->out_count > 0 && cost + m->len > hub->config.backlog_bytes_max) {
        client->dying = true;
        hub->stats.killed_slow++;
        hub->config.io.kill(client->io);
        return;
    }
    m->refs++;
    push_out(client, m);
    hub->config.io.want_write(client->io);
}

void ptl_rt_client_text(struct ptl_rt_client *client, const char *join_ref, const char *ref,
                        struct ptl_rt_bytes topic, const char *event, const char *payload)
{
    struct ptl_rt_msg *m = ptl_rt_frame_text(join_ref, ref, topic, event, payload, strlen(payload));
    ptl_rt_client_send(client, m);
    ptl_rt_msg_drop(m);
}

struct ptl_rt_msg *ptl_rt_hub_next(struct ptl_rt_client *client)
{
    bool gated = client->blocked && client->out_free == 0;
    if (client->dying || client->out_count == 0 || gated) {
        return NULL;
    }
    struct ptl_rt_msg *m = client->out[client->out_head];
    client->out_head = (client->out_head + 1) % client->out_cap;
    client->out_count--;
    client->out_bytes -= m->len;
    if (client->blocked) {
        client->out_free--;
    }
    return m;
}

void ptl_rt_client_refuse(struct ptl_rt_client *client, const struct ptl_rt_frame *f,
                          const char *reason, struct ptl_rt_now now)
{
    struct ptl_rt_hub *hub = client->hub;
    hub->stats.joins_refused++;
    if (hub->config.join_error_delay_ms > 0) {
        client->blocked = true;
        client->blocked_until_ms = now.mono_ms + hub->config.join_error_delay_ms;
        client->out_free = client->out_count;
        hub->blocked_count++;
        hub->config.io.hold_reading(client->io, true);
    }
    struct ptl_rt_str payload = {0};
    ptl_rt_str_text(&payload, "{\"status\":\"error\",\"response\":{\"reason\":");
    (void)ptl_rt_json_quote(&payload, reason, strlen(reason));
    ptl_rt_str_add(&payload, "}}", 3); // with the NUL
    ptl_rt_client_text(client, f->join_ref.data, f->ref.data, f->topic, "phx_reply", payload.data);
    ptl_rt_str_free(&payload);
}

struct ptl_rt_channel *ptl_rt_client_channel(struct ptl_rt_client *client,
                                             struct ptl_rt_bytes topic)
{
    for (struct ptl_rt_channel *c = client->channels; c != NULL; c = c->client_next) {
        if (c->room->topic.len == topic.len &&
            memcmp(c->room->topic.ptr, topic.ptr, topic.len) == 0) {
            return c;
        }
    }
    return NULL;
}
