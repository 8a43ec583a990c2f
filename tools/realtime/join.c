// join.c - phx_join: what a client asks for, and whether it may.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hub_internal.h"

// What a join asks for. Values of a wrong type count as absent, as in Realtime.
struct join_config {
    bool is_private, ack, self, replication_ready, presence_enabled;
    bool legacy; // no `config` at all: the topic names a table
    const json_t *presence_key;
    const json_t *replay;
    const json_t *postgres_changes;
};

#define REASON_BYTES_MAX (PTL_RT_TOPIC_BYTES_MAX + 128u)

struct ptl_rt_bytes ptl_rt_topic_name(struct ptl_rt_bytes topic)
{
    return (struct ptl_rt_bytes){topic.ptr + 9, topic.len - 9};
}

static bool is_absent(const json_t *value)
{
    return value == NULL || json_is_null(value);
}

// False where Realtime's join crashes: a config or config.broadcast that is no object.
static bool read_config(struct join_config *out, const json_t *payload)
{
    *out = (struct join_config){0};
    const json_t *config = json_object_get(payload, "config");
    const json_t *broadcast = json_object_get(config, "broadcast");
    const json_t *presence = json_object_get(config, "presence");
    if (!json_is_object(payload) || (!is_absent(config) && !json_is_object(config)) ||
        (!is_absent(broadcast) && !json_is_object(broadcast))) {
        return false;
    }
    out->legacy = config == NULL;
    out->is_private = ptl_rt_json_flag(json_object_get(config, "private"), false);
    out->ack = ptl_rt_json_flag(json_object_get(broadcast, "ack"), false);
    out->self = ptl_rt_json_flag(json_object_get(broadcast, "self"), false);
    out->replay = json_object_get(broadcast, "replay");
    out->replication_ready =
        ptl_rt_json_flag(json_object_get(broadcast, "replication_ready"), false);
    out->presence_enabled = ptl_rt_json_flag(json_object_get(presence, "enabled"), false);
    out->presence_key = json_object_get(presence, "key");
    out->postgres_changes = json_object_get(config, "postgres_changes");
    return true;
}

// The token a join is judged by: its own, else the connection's; "sb_..." means the latter too.
static const char *join_token(const struct ptl_rt_client *client, const json_t *payload)
{
    const char *access = json_string_value(json_object_get(payload, "access_token"));
    const char *user = json_string_value(json_object_get(payload, "user_token"));
    const char *first = access != NULL ? access : user;
    if (first == NULL || strncmp(first, "sb_", 3) == 0) {
        return client->token;
    }
    return user != NULL ? user : access;
}

static bool token_reason(char reason[REASON_BYTES_MAX], enum ptl_rt_jwt_status status,
                         const struct ptl_rt_claims *claims, struct ptl_rt_now now)
{
    const char *text = NULL;
    switch (status) {
    case PTL_RT_JWT_OK:
        return true;
    case PTL_RT_JWT_MALFORMED:
        text = "MalformedJWT: The token provided is not a valid JWT";
        break;
    case PTL_RT_JWT_SIGNER:
        text = "JwtSignerError: Failed to generate JWT signer, check your JWT secret or JWKS "
               "configuration";
        break;
    case PTL_RT_JWT_SIGNATURE:
        text = "JwtSignatureError: Failed to validate JWT signature";
        break;
    case PTL_RT_JWT_CLAIMS:
        text = "InvalidJWTToken: Fields `role` and `exp` are required in JWT";
        break;
    case PTL_RT_JWT_EXP_TYPE:
        text = "Unknown Error on Channel";
        break;
    case PTL_RT_JWT_EXPIRED:
        snprintf(reason, REASON_BYTES_MAX, "InvalidJWTToken: Token has expired %lld seconds ago",
                 (long long)(now.unix_s - claims->exp_s));
        return false;
    }
    snprintf(reason, REASON_BYTES_MAX, "%s", text);
    return false;
}

static bool replay_reason(char reason[REASON_BYTES_MAX], const struct join_config *config)
{
    const char *text = NULL;
    if (config->replay == NULL) {
        return true;
    }
    if (!config->is_private) { // even null
        text = "UnableToReplayMessages: Replay is not allowed for public channels";
    } else if (!json_is_number(json_object_get(config->replay, "since"))) {
        text = "UnableToReplayMessages: Replay params are not valid";
    } else {
        return true; // and nothing to replay: there is no database behind this server
    }
    snprintf(reason, REASON_BYTES_MAX, "%s", text);
    return false;
}

// True and *rights, or the reason of the refusal.
static bool judge(struct ptl_rt_client *client, const struct ptl_rt_frame *f,
                  const struct join_config *config, struct ptl_rt_now now,
                  struct ptl_rt_rights *rights, char reason[REASON_BYTES_MAX])
{
    struct ptl_rt_hub *hub = client->hub;
    struct ptl_rt_bytes name = ptl_rt_topic_name(f->topic);
    if (client->channel_count >= hub->config.channels_max) {
        snprintf(reason, REASON_BYTES_MAX, "ChannelRateLimitReached: Too many channels");
        return false;
    }
    struct ptl_rt_claims claims;
    const char *token = join_token(client, f->payload);
    enum ptl_rt_jwt_status status =
        ptl_rt_jwt_verify(token, strlen(token), &hub->config.secret, now.unix_s, &claims);
    if (!token_reason(reason, status, &claims, now)) {
        return false;
    }
    *rights = ptl_rt_rights_public();
    if (config->is_private) {
        *rights = ptl_rt_rights_private(&claims, name);
        if (!rights->broadcast_read && !(config->presence_enabled && rights->presence_read)) {
            snprintf(reason, REASON_BYTES_MAX,
                     "Unauthorized: You do not have permissions to read from this Channel topic: "
                     "%.*s",
                     (int)name.len, name.ptr);
            return false;
        }
    }
    return replay_reason(reason, config);
}

static void set_presence_key(struct ptl_rt_channel *channel, const json_t *key)
{
    char uuid[40];
    const char *text = json_string_value(key);
    size_t len = json_string_length(key);
    if (len == 0 || len > PTL_RT_PRESENCE_KEY_BYTES_MAX) {
        uint64_t n = ++channel->client->hub->phx_ref_counter;
        snprintf(uuid, sizeof uuid, "%08x-0000-1000-8000-%012llx", (unsigned)(n & 0xffffffffu),
                 (unsigned long long)(n >> 16));
        text = uuid;
        len = strlen(uuid);
    }
    channel->presence_key = ptl_rt_copy(text, len);
    channel->presence_key_len = len;
}

void ptl_rt_system(struct ptl_rt_channel *channel, const char *extension, const char *status,
                   const char *message)
{
    struct ptl_rt_bytes name = ptl_rt_topic_name(channel->room->topic);
    struct ptl_rt_str payload = {0};
    ptl_rt_str_text(&payload, "{\"message\":");
    (void)ptl_rt_json_quote(&payload, message, strlen(message));
    ptl_rt_str_text(&payload, ",\"status\":\"");
    ptl_rt_str_text(&payload, status);
    ptl_rt_str_text(&payload, "\",\"extension\":\"");
    ptl_rt_str_text(&payload, extension);
    ptl_rt_str_text(&payload, "\",\"channel\":");
    (void)ptl_rt_json_quote(&payload, name.ptr, name.len);
    ptl_rt_str_add(&payload, "}", 2); // with the NUL
    ptl_rt_client_text(channel->client, channel->join_ref, "null", channel->room->topic, "system",
                       payload.data);
    ptl_rt_str_free(&payload);
}

// The tables asked for, each with a number by which clients match their listeners.
static json_t *postgres_entries(const struct join_config *config, struct ptl_rt_bytes name)
{
    json_t *entries = json_array();
    if (config->legacy) { // schema[:table[:filter]]
        static const char *const part_names[] = {"schema", "table", "filter"};
        json_t *entry = json_object();
        for (size_t i = 0; i < 3 && name.ptr != NULL; i++) {
            const char *colon = i < 2 ? memchr(name.ptr, ':', name.len) : NULL;
            size_t len = colon != NULL ? (size_t)(colon - name.ptr) : name.len;
            json_object_set_new(entry, part_names[i], json_stringn(name.ptr, len));
            name = colon != NULL ? (struct ptl_rt_bytes){colon + 1, name.len - len - 1}
                                 : (struct ptl_rt_bytes){NULL, 0};
        }
        json_array_append_new(entries, entry);
    }
    for (size_t i = 0; i < json_array_size(config->postgres_changes); i++) {
        json_t *entry = json_array_get(config->postgres_changes, i);
        if (json_is_object(entry)) {
            json_array_append(entries, entry);
        }
    }
    return entries;
}

static uint32_t entry_id(const char *text, size_t len)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ (unsigned char)text[i]) * 16777619u;
    }
    return (hash % 134217727u) + 1; // 27 bits like Erlang's phash2, and never 0
}

static void reply_joined(struct ptl_rt_client *client, const struct ptl_rt_frame *f,
                         const json_t *entries)
{
    struct ptl_rt_str payload = {0};
    ptl_rt_str_text(&payload, "{\"status\":\"ok\",\"response\":{\"postgres_changes\":[");
    for (size_t i = 0; i < json_array_size(entries); i++) {
        struct ptl_rt_str members = {0};
        char id[32];
        ptl_rt_json_members(&members, json_array_get(entries, i));
        snprintf(id, sizeof id, "%s{\"id\":%u%s", i > 0 ? "," : "",
                 (unsigned)entry_id(members.data, members.len), members.len > 0 ? "," : "");
        ptl_rt_str_text(&payload, id);
        ptl_rt_str_add(&payload, members.data, members.len);
        ptl_rt_str_char(&payload, '}');
        ptl_rt_str_free(&members);
    }
    ptl_rt_str_add(&payload, "]}}", 4); // with the NUL
    ptl_rt_client_text(client, f->join_ref.data, f->ref.data, f->topic, "phx_reply", payload.data);
    ptl_rt_str_free(&payload);
}

static const char *text_or(const json_t *entry, const char *key, const char *fallback)
{
    const char *text = json_string_value(json_object_get(entry, key));
    return text != NULL ? text : fallback;
}

// There is no table here, so every subscription ends as one to an unpublished table does.
static void refuse_postgres(struct ptl_rt_channel *channel, const json_t *entries)
{
    if (json_array_size(entries) == 0) {
        return;
    }
    const json_t *entry = json_array_get(entries, 0);
    struct ptl_rt_str text = {0};
    ptl_rt_str_text(&text, "Unable to subscribe to changes with given parameters. Please check "
                           "Realtime is enabled for the given connect parameters: [event: ");
    ptl_rt_str_text(&text, text_or(entry, "event", "*"));
    ptl_rt_str_text(&text, ", schema: ");
    ptl_rt_str_text(&text, text_or(entry, "schema", "*"));
    ptl_rt_str_text(&text, ", table: ");
    ptl_rt_str_text(&text, text_or(entry, "table", "*"));
    ptl_rt_str_text(&text, ", filters: [");
    ptl_rt_str_text(&text, text_or(entry, "filter", ""));
    ptl_rt_str_add(&text, "], select: nil]", 16); // with the NUL
    ptl_rt_system(channel, "postgres_changes", "error", text.data);
    ptl_rt_str_free(&text);
}

static void accept(struct ptl_rt_client *client, const struct ptl_rt_frame *f,
                   const struct join_config *config, const struct ptl_rt_rights *rights,
                   struct ptl_rt_channel *replaced)
{
    client->hub->stats.joins++;
    struct ptl_rt_channel *channel = ptl_rt_room_enter(client, f->topic, config->is_private);
    // A join without join_ref goes on under its ref.
    bool has_join_ref = strcmp(f->join_ref.data, "null") != 0;
    const char *join_ref = has_join_ref ? f->join_ref.data : f->ref.data;
    channel->join_ref = ptl_rt_copy(join_ref, strlen(join_ref));
    channel->ack = config->ack;
    channel->self = config->self;
    channel->rights = *rights;
    channel->presence_enabled = config->presence_enabled;
    set_presence_key(channel, config->presence_key);

    json_t *entries = postgres_entries(config, ptl_rt_topic_name(f->topic));
    reply_joined(client, f, entries);
    if (replaced != NULL) {
        ptl_rt_close_channel(replaced);
    }
    ptl_rt_presence_state(channel);
    if (config->replication_ready) {
        ptl_rt_system(channel, "system", "ok", "Replication connection established");
    }
    refuse_postgres(channel, entries);
    json_decref(entries);
}

void ptl_rt_join(struct ptl_rt_client *client, const struct ptl_rt_frame *f, struct ptl_rt_now now)
{
    struct join_config config;
    struct ptl_rt_rights rights = {0};
    char reason[REASON_BYTES_MAX];
    struct ptl_rt_channel *replaced = ptl_rt_client_channel(client, f->topic);
    client->channel_count -= replaced != NULL; // it does not count against the new one
    bool ok = false;
    if (f->topic.len == 9) {
        snprintf(reason, sizeof reason, "TopicNameRequired: You must provide a topic name");
    } else if (!read_config(&config, f->payload)) {
        snprintf(reason, sizeof reason,
                 "UnknownErrorOnChannel: no function clause matching in Access.get/3");
    } else {
        ok = judge(client, f, &config, now, &rights, reason);
    }
    client->channel_count += replaced != NULL;
    if (ok) {
        accept(client, f, &config, &rights, replaced);
    } else {
        ptl_rt_client_refuse(client, f, reason, now);
        if (replaced != NULL) { // it was ended before the new one was judged
            ptl_rt_close_channel(replaced);
        }
    }
}
