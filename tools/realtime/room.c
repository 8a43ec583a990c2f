// room.c - rooms: every channel of one topic, whoever joined it.

#include <stdlib.h>
#include <string.h>

#include "hub_internal.h"

static size_t bucket_of(struct ptl_rt_bytes topic, bool is_private)
{
    uint32_t hash = is_private ? 2166136261u : 2166136262u; // FNV-1a
    for (size_t i = 0; i < topic.len; i++) {
        hash = (hash ^ (unsigned char)topic.ptr[i]) * 16777619u;
    }
    return hash % PTL_RT_ROOM_BUCKETS;
}

static struct ptl_rt_room *find_or_make(struct ptl_rt_hub *hub, struct ptl_rt_bytes topic,
                                        bool is_private)
{
    struct ptl_rt_room **bucket = &hub->rooms[bucket_of(topic, is_private)];
    for (struct ptl_rt_room *r = *bucket; r != NULL; r = r->bucket_next) {
        if (r->is_private == is_private && r->topic.len == topic.len &&
            memcmp(r->topic.ptr, topic.ptr, topic.len) == 0) {
            return r;
        }
    }
    struct ptl_rt_room *room = ptl_rt_alloc(sizeof *room);
    room->is_private = is_private;
    room->topic_text = ptl_rt_copy(topic.ptr, topic.len);
    room->topic = (struct ptl_rt_bytes){room->topic_text, topic.len};
    room->bucket_next = *bucket;
    *bucket = room;
    return room;
}

static void drop_if_empty(struct ptl_rt_hub *hub, struct ptl_rt_room *room)
{
    if (room->first != NULL) {
        return;
    }
    struct ptl_rt_room **link = &hub->rooms[bucket_of(room->topic, room->is_private)];
    while (*link != room) {
        link = &(*link)->bucket_next;
    }
    *link = room->bucket_next;
    free(room->topic_text);
    free(room);
}

struct ptl_rt_channel *ptl_rt_room_enter(struct ptl_rt_client *client, struct ptl_rt_bytes topic,
                                         bool is_private)
{
    struct ptl_rt_channel *channel = ptl_rt_alloc(sizeof *channel);
    struct ptl_rt_room *room = find_or_make(client->hub, topic, is_private);
    channel->client = client;
    channel->room = room;
    channel->client_next = client->channels;
    client->channels = channel;
    client->channel_count++;
    channel->room_prev = room->last;
    if (room->last != NULL) {
        room->last->room_next = channel;
    } else {
        room->first = channel;
    }
    room->last = channel;
    return channel;
}

static void unlink_from_room(struct ptl_rt_channel *channel)
{
    struct ptl_rt_room *room = channel->room;
    if (channel->room_prev != NULL) {
        channel->room_prev->room_next = channel->room_next;
    } else {
        room->first = channel->room_next;
    }
    if (channel->room_next != NULL) {
        channel->room_next->room_prev = channel->room_prev;
    } else {
        room->last = channel->room_prev;
    }
}

void ptl_rt_room_leave(struct ptl_rt_channel *channel)
{
    struct ptl_rt_client *client = channel->client;
    struct ptl_rt_channel **link = &client->channels;
    while (*link != channel) {
        link = &(*link)->client_next;
    }
    *link = channel->client_next;
    client->channel_count--;
    unlink_from_room(channel);
    ptl_rt_presence_gone(channel);
    drop_if_empty(client->hub, channel->room);
    free(channel->join_ref);
    free(channel->presence_key);
    json_decref(channel->tracked);
    free(channel);
}

void ptl_rt_room_broadcast(struct ptl_rt_channel *sender, struct ptl_rt_msg *m)
{
    struct ptl_rt_stats *stats = &sender->client->hub->stats;
    for (struct ptl_rt_channel *c = sender->room->first; c != NULL; c = c->room_next) {
        if (c->rights.broadcast_read && (c != sender || sender->self)) {
            ptl_rt_client_send(c->client, m);
            stats->deliveries++;
            stats->delivered_bytes += m->len;
        }
    }
}
