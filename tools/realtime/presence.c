// presence.c - who is there: track, untrack, the state on joining, diffs to the others.
//
// A member's entry is its key with one meta per channel: {"phx_ref", ["phx_ref_prev",] payload...}.

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "hub_internal.h"

static void new_phx_ref(struct ptl_rt_hub *hub, char out[PTL_RT_PHX_REF_CHARS + 1])
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint64_t bits = ++hub->phx_ref_counter;
    for (size_t i = PTL_RT_PHX_REF_CHARS; i > 0; i--) {
        out[i - 1] = alphabet[bits & 63u];
        bits >>= 6;
    }
    out[PTL_RT_PHX_REF_CHARS] = '\0';
}

static void add_meta(struct ptl_rt_str *out, const struct ptl_rt_channel *c)
{
    ptl_rt_str_text(out, "{\"phx_ref\":\"");
    ptl_rt_str_text(out, c->phx_ref);
    if (c->phx_ref_prev[0] != '\0') {
        ptl_rt_str_text(out, "\",\"phx_ref_prev\":\"");
        ptl_rt_str_text(out, c->phx_ref_prev);
    }
    ptl_rt_str_char(out, '"');
    if (json_object_size(c->tracked) > 0) {
        ptl_rt_str_char(out, ',');
        ptl_rt_json_members(out, c->tracked);
    }
    ptl_rt_str_char(out, '}');
}

// {"<key>":{"metas":[<meta>]}}
static void add_entry(struct ptl_rt_str *out, const struct ptl_rt_channel *c, const char *meta,
                      size_t meta_len)
{
    ptl_rt_str_char(out, '{');
    (void)ptl_rt_json_quote(out, c->presence_key, c->presence_key_len);
    ptl_rt_str_text(out, ":{\"metas\":[");
    ptl_rt_str_add(out, meta, meta_len);
    ptl_rt_str_text(out, "]}}");
}

static bool sees_presence(const struct ptl_rt_channel *c)
{
    // On a private channel presence is judged when it is first used: at the join or at a track.
    return c->rights.presence_read &&
           (!c->room->is_private || c->presence_enabled || c->tracked != NULL);
}

static void send_diff(struct ptl_rt_channel *channel, const struct ptl_rt_str *joined,
                      const struct ptl_rt_str *left)
{
    struct ptl_rt_str payload = {0};
    ptl_rt_str_text(&payload, "{\"joins\":");
    joined->len > 0 ? add_entry(&payload, channel, joined->data, joined->len)
                    : ptl_rt_str_text(&payload, "{}");
    ptl_rt_str_text(&payload, ",\"leaves\":");
    left->len > 0 ? add_entry(&payload, channel, left->data, left->len)
                  : ptl_rt_str_text(&payload, "{}");
    ptl_rt_str_char(&payload, '}');
    struct ptl_rt_msg *m = ptl_rt_frame_text("null", "null", channel->room->topic, "presence_diff",
                                             payload.data, payload.len);
    for (struct ptl_rt_channel *c = channel->room->first; c != NULL; c = c->room_next) {
        if (sees_presence(c)) {
            ptl_rt_client_send(c->client, m);
        }
    }
    ptl_rt_msg_drop(m);
    ptl_rt_str_free(&payload);
}

void ptl_rt_presence_gone(struct ptl_rt_channel *channel)
{
    if (channel->tracked == NULL) {
        return;
    }
    struct ptl_rt_str none = {0};
    struct ptl_rt_str left = {0};
    add_meta(&left, channel);
    send_diff(channel, &none, &left);
    ptl_rt_str_free(&left);
    json_decref(channel->tracked);
    channel->tracked = NULL;
    channel->phx_ref[0] = '\0';
    channel->phx_ref_prev[0] = '\0';
}

// The same payload again changes nothing; another one is a leave and a join in one diff.
static void track(struct ptl_rt_channel *channel, json_t *payload)
{
    if (channel->tracked != NULL && json_equal(channel->tracked, payload)) {
        return;
    }
    struct ptl_rt_str joined = {0};
    struct ptl_rt_str left = {0};
    if (channel->tracked != NULL) {
        add_meta(&left, channel);
        memcpy(channel->phx_ref_prev, channel->phx_ref, sizeof channel->phx_ref);
    }
    json_decref(channel->tracked);
    channel->tracked = json_incref(payload);
    channel->presence_enabled = true;
    new_phx_ref(channel->client->hub, channel->phx_ref);
    add_meta(&joined, channel);
    send_diff(channel, &joined, &left);
    ptl_rt_str_free(&joined);
    ptl_rt_str_free(&left);
}

static void reply(struct ptl_rt_channel *channel, const struct ptl_rt_frame *f, const char *payload)
{
    ptl_rt_client_text(channel->client, channel->join_ref, f->ref.data, f->topic, "phx_reply",
                       payload);
}

static void push_track(struct ptl_rt_channel *channel, const struct ptl_rt_frame *f)
{
    struct ptl_rt_hub *hub = channel->client->hub;
    json_t *payload = json_object_get(f->payload, "payload");
    json_t *empty = payload == NULL ? json_object() : NULL;
    payload = payload == NULL ? empty : payload;
    if (!channel->rights.presence_write) {
        hub->stats.presence_denied++;
        reply(channel, f, "{\"status\":\"error\",\"response\":{}}");
    } else if (!json_is_object(payload)) {
        reply(channel, f,
              "{\"status\":\"error\",\"response\":"
              "{\"reason\":\"Presence track payload must be a map\"}}");
    } else if (ptl_rt_json_term_bytes(payload) > hub->config.payload_bytes_max) {
        ptl_rt_system(channel, "system", "error", "Track message size exceeded");
        ptl_rt_close_channel(channel);
    } else {
        reply(channel, f, PTL_RT_OK_EMPTY);
        track(channel, payload);
    }
    json_decref(empty);
}

void ptl_rt_presence_push(struct ptl_rt_channel *channel, const struct ptl_rt_frame *f)
{
    channel->client->hub->stats.presence_in++;
    const char *event = json_string_value(json_object_get(f->payload, "event"));
    if (event == NULL) {
        reply(channel, f, PTL_RT_OK_EMPTY);
    } else if (strcasecmp(event, "track") == 0) {
        push_track(channel, f);
    } else if (strcasecmp(event, "untrack") == 0) {
        reply(channel, f, PTL_RT_OK_EMPTY);
        ptl_rt_presence_gone(channel);
    } else {
        reply(channel, f, "{\"status\":\"error\",\"response\":{}}");
    }
}

static int by_presence_key(const void *a, const void *b)
{
    const struct ptl_rt_channel *x = *(struct ptl_rt_channel *const *)a;
    const struct ptl_rt_channel *y = *(struct ptl_rt_channel *const *)b;
    size_t shorter =
        x->presence_key_len < y->presence_key_len ? x->presence_key_len : y->presence_key_len;
    int order = memcmp(x->presence_key, y->presence_key, shorter);
    return order != 0 ? order
                      : (x->presence_key_len > y->presence_key_len) -
                            (x->presence_key_len < y->presence_key_len);
}

void ptl_rt_presence_state(struct ptl_rt_channel *channel)
{
    if (!channel->presence_enabled || !channel->rights.presence_read) {
        return;
    }
    size_t count = 0;
    for (struct ptl_rt_channel *c = channel->room->first; c != NULL; c = c->room_next) {
        count += c->tracked != NULL;
    }
    struct ptl_rt_channel **members = ptl_rt_alloc(count * sizeof(struct ptl_rt_channel *));
    size_t n = 0;
    for (struct ptl_rt_channel *c = channel->room->first; c != NULL; c = c->room_next) {
        if (c->tracked != NULL) {
            members[n++] = c;
        }
    }
    qsort(members, n, sizeof(struct ptl_rt_channel *), by_presence_key);
    struct ptl_rt_str payload = {0};
    ptl_rt_str_char(&payload, '{');
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && by_presence_key(&members[i - 1], &members[i]) == 0) {
            payload.len -= 2; // another meta of the same key: reopen "]}"
            ptl_rt_str_char(&payload, ',');
        } else {
            ptl_rt_str_text(&payload, i > 0 ? "," : "");
            (void)ptl_rt_json_quote(&payload, members[i]->presence_key,
                                    members[i]->presence_key_len);
            ptl_rt_str_text(&payload, ":{\"metas\":[");
        }
        add_meta(&payload, members[i]);
        ptl_rt_str_text(&payload, "]}");
    }
    ptl_rt_str_add(&payload, "}", 2); // with the NUL
    ptl_rt_client_text(channel->client, channel->join_ref, "null", channel->room->topic,
                       "presence_state", payload.data);
    ptl_rt_str_free(&payload);
    free(members);
}
