// Every documented way in which Supabase Realtime refuses or ends something, and what to do then.
// Sources: supabase/realtime 2.129.8 (user_socket.ex, realtime_channel.ex,
// tenants/authorization.ex, signal and error texts), Supabase's and Cloudflare's lists of HTTP
// statuses, RFC 6455 and the IANA registry for close codes. Texts are matched by prefix, since the
// server appends names and numbers.
//
//   RETRY          passes by itself: restarts, databases, networks
//   SLOW_DOWN      a quota: at least a minute, and a smaller share of it from then on
//   REFRESH_TOKEN  the same token would be refused again
//   SHRINK_BATCH   the content was refused
//   STOP           only a person can mend it (key, rights, project, certificate):
//                  longest wait, said loudly, tried again all the same
#include "reactions.h"

#include <string.h>

#define HTTP(from, to, what)                                                                       \
    {                                                                                              \
        .kind = PTL_CAUSE_HTTP, .reaction = PTL_REACT_##what, .first = (from), .last = (to)        \
    }
#define CLOSE(from, to, what)                                                                      \
    {                                                                                              \
        .kind = PTL_CAUSE_CLOSE, .reaction = PTL_REACT_##what, .first = (from), .last = (to)       \
    }
#define JOIN(text, what)                                                                           \
    {                                                                                              \
        .kind = PTL_CAUSE_JOIN, .reaction = PTL_REACT_##what, .prefix = (text)                     \
    }
#define SYSTEM(text, what)                                                                         \
    {                                                                                              \
        .kind = PTL_CAUSE_SYSTEM, .reaction = PTL_REACT_##what, .prefix = (text)                   \
    }
#define PUSH(text, what)                                                                           \
    {                                                                                              \
        .kind = PTL_CAUSE_PUSH, .reaction = PTL_REACT_##what, .prefix = (text)                     \
    }
#define LOCAL(text, what)                                                                          \
    {                                                                                              \
        .kind = PTL_CAUSE_LOCAL, .reaction = PTL_REACT_##what, .prefix = (text)                    \
    }

const struct ptl_reaction_row ptl_reaction_rows[] = {
    // A refused upgrade. 401 is about the project's key, which no token refresh mends.
    HTTP(400, 407, STOP), // 401 key, 402 restricted, 403 disabled or vsn, 404 tenant, 407 proxy
    HTTP(408, 408, RETRY),
    HTTP(409, 424, STOP), // 414 URL too long
    HTTP(425, 425, RETRY),
    HTTP(426, 428, STOP),
    HTTP(429, 429, SLOW_DOWN),
    HTTP(430, 499, STOP),  // 431 headers too long
    HTTP(500, 539, RETRY), // 500 "Error connecting to Realtime", 520 to 530 Cloudflare
    HTTP(540, 540, STOP),  // Supabase: project paused
    HTTP(541, 599, RETRY), // 544 database timeout, 546 resource limit

    // Close codes. 1001 comes after a refused join, whose text counts then.
    CLOSE(1000, 1007, RETRY), // 1000 idle timeout, 1001, 1002, 1005, 1006 network or killed
    CLOSE(1008, 1008, STOP),  // policy
    CLOSE(1009, 1009, SHRINK_BATCH),
    CLOSE(1010, 1012, RETRY), // 1011 crash, 1012 restart or changed settings
    CLOSE(1013, 1013, SLOW_DOWN),
    CLOSE(1014, 4999, RETRY),

    JOIN("TopicNameRequired", STOP),
    JOIN("InvalidJWTToken", REFRESH_TOKEN),
    JOIN("InvalidJWTExpiration", REFRESH_TOKEN),
    JOIN("MalformedJWT", REFRESH_TOKEN),
    JOIN("JwtSignatureError", REFRESH_TOKEN),
    JOIN("JwtSignerError", REFRESH_TOKEN),
    JOIN("Unauthorized", STOP),
    JOIN("PrivateOnly", STOP),
    JOIN("ChannelRateLimitReached", SLOW_DOWN),
    JOIN("ConnectionRateLimitReached", SLOW_DOWN),
    JOIN("ClientJoinRateLimitReached", SLOW_DOWN),
    JOIN("TenantNotFound", STOP),
    JOIN("RealtimeDisabledForTenant", STOP),
    JOIN("RealtimeRestarting", RETRY),
    JOIN("InitializingProjectConnection", RETRY),
    JOIN("UnableToConnectToProject", RETRY),
    JOIN("DatabaseLackOfConnections", RETRY),
    JOIN("DatabaseConnectionRateLimitReached", RETRY),
    JOIN("IncreaseConnectionPool", RETRY),
    JOIN("QueryCanceled", RETRY),
    JOIN("MissingPartition", RETRY),
    JOIN("TimeoutOnRpcCall", RETRY),
    JOIN("ErrorOnRpcCall", RETRY),
    JOIN("MusterJoinError", RETRY),
    JOIN("UnableToReplayMessages", STOP),
    JOIN("UnknownErrorOnChannel", RETRY),
    JOIN("Unknown Error on Channel", RETRY),
    JOIN("Realtime was unable to connect to the project database", RETRY),
    JOIN("join crashed", RETRY),
    JOIN("unmatched topic", STOP),

    SYSTEM("Token has expired", REFRESH_TOKEN),
    SYSTEM("The token provided is not a valid JWT", REFRESH_TOKEN),
    SYSTEM(":signature_error", REFRESH_TOKEN),
    SYSTEM("Fields `role` and `exp` are required in JWT", REFRESH_TOKEN),
    SYSTEM("You do not have permissions", STOP),
    SYSTEM("You no longer have permission", STOP),
    SYSTEM("Unauthorized", STOP),
    SYSTEM("Too many messages per second", SLOW_DOWN),
    SYSTEM("Too many presence messages per second", SLOW_DOWN),
    SYSTEM("Client presence rate limit exceeded", SLOW_DOWN),
    SYSTEM("Track message size exceeded", STOP),
    SYSTEM("Server requested disconnect", RETRY),
    SYSTEM("Replication connection", RETRY),

    PUSH("payload_size_exceeded", SHRINK_BATCH),
    PUSH("unmatched topic", RETRY),

    // The driver's own words. What it says of a peer's certificate begins so.
    LOCAL("certificate", STOP),
    LOCAL("unmatched topic", RETRY),
    LOCAL("join timed out", RETRY),
    LOCAL("heartbeat", RETRY),
    LOCAL("channel", RETRY),
};

const size_t ptl_reaction_row_count = sizeof(ptl_reaction_rows) / sizeof(ptl_reaction_rows[0]);

static bool text_begins(struct ptl_span text, const char *prefix)
{
    size_t len = strlen(prefix);
    return text.len >= len && memcmp(text.ptr, prefix, len) == 0;
}

static bool row_matches(const struct ptl_reaction_row *row, enum ptl_cause_kind kind, uint32_t code,
                        struct ptl_span text)
{
    if (row->kind != kind) {
        return false;
    }
    return row->prefix != NULL ? text_begins(text, row->prefix)
                               : code >= row->first && code <= row->last;
}

enum ptl_reaction ptl_reaction_for(enum ptl_cause_kind kind, uint32_t code, struct ptl_span text)
{
    for (size_t i = 0; i < ptl_reaction_row_count; i++) {
        if (row_matches(&ptl_reaction_rows[i], kind, code, text)) {
            return (enum ptl_reaction)ptl_reaction_rows[i].reaction;
        }
    }
    return PTL_REACT_RETRY;
}
