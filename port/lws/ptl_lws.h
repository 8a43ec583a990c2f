// ptl_lws.h - drives one ptl_agent over a WebSocket client of libwebsockets, and is the event loop
// of the program: it also waits for the program's own descriptors. No type of libwebsockets leaves
// this folder.
//
// Link      wss only, the host name verified against the certificate; plain ws only to a loopback
//           address and only where the config allows it. Redirects are never followed: the request
//           carries the key.
// Names     resolved by one worker thread, never by the loop. Addresses are tried in turn, each at
//           most address_ms while others are left, all within connect_ms.
// Messages  one write per writeable socket; received fragments are put together in one buffer, a
//           message above it is thrown away as it comes and counted.
// Time      one timer, armed for ptl_agent_deadline().
// Threads   everything on the thread that calls ptl_lws_run(). Other threads wake it through a
//           descriptor that is watched.
// Memory    libwebsockets and mbedTLS use the heap; the buffers here are allocated once.
#pragma once

#include "ptl_agent.h"

struct ptl_lws;

enum ptl_lws_phase {
    PTL_LWS_RESOLVING,
    PTL_LWS_CONNECTING, // TCP and TLS
    PTL_LWS_UPGRADING,  // TLS is up, the upgrade request is out
    PTL_LWS_UP,
};

// What is known of the server at the other end, for status reports. Empty text: not known.
struct ptl_lws_peer {
    char address[64];     // numeric, with port
    char tls_version[16]; // "TLSv1.3"
    char cipher[64];
    char subject[128]; // common name of its certificate
    char issuer[128];
    int64_t cert_until_unix_s; // end of its validity, 0 if unknown
    bool tls;                  // verified; false: plain ws on loopback
};

struct ptl_lws_config {
    const char *host;    // name or address without brackets, verified against the certificate
    const char *path;    // with query; holds the key, never logged
    const char *ca_file; // PEM, one or more certificates; used where tls is true
    uint16_t port;
    bool tls;             // false is refused unless the address is a loopback one
    uint32_t connect_ms;  // from the name to the upgrade
    uint32_t address_ms;  // for one address while others are left
    uint32_t ping_s;      // WebSocket ping after that long without proof of life, 0: none
    uint32_t ping_wait_s; // the link is closed this long after an unanswered ping
    size_t rx_bytes;      // longest message taken
    size_t token_bytes;   // of the token: messages of the session carry it
    uint32_t fds_max;     // descriptors watched at the same time

    void *ctx; // passed to the calls below, all on the loop's thread
    struct ptl_now (*now)(void *ctx);
    // A connect begins.
    void (*connecting)(void *ctx);
    void (*link_up)(void *ctx, const struct ptl_lws_peer *peer);
    void (*link_down)(void *ctx, const struct ptl_link_end *end, bool was_up);
    // Date header of an upgrade answer of a verified peer, correct to `err_ms`.
    void (*server_date)(void *ctx, int64_t unix_ms, uint32_t err_ms);
    // The agent was polled: inputs that had to wait may try again. True if one of them posted.
    bool (*polled)(void *ctx);
    // A line of libwebsockets' own log, without line feed; for debugging.
    void (*log)(void *ctx, const char *text);
};

// Loads the CA file and prepares everything; `cfg` and `agent` are borrowed.
// NULL: *error says why, in words for the user.
struct ptl_lws *ptl_lws_create(const struct ptl_lws_config *cfg, struct ptl_agent *agent,
                               const char **error);
void ptl_lws_destroy(struct ptl_lws *l);

// Runs until the agent asks for PTL_WANT_EXIT or ptl_lws_stop() was called.
void ptl_lws_run(struct ptl_lws *l);
void ptl_lws_stop(struct ptl_lws *l);

// Something was posted or changed: the agent is polled before the loop waits again.
void ptl_lws_kick(struct ptl_lws *l);

// A descriptor of the program. `ready` is called while it is readable (or writeable, or hung up)
// and not paused; it need not consume everything. Descriptors that cannot be waited for (regular
// files) count as always readable. The descriptor stays the caller's and must be unwatched before
// it is closed.
struct ptl_lws_watch {
    struct ptl_lws *owner;
    int fd;
    void (*ready)(void *ctx);
    void *ctx;
    uint64_t resume_at_ms; // PTL_NEVER: none
    bool want_write;       // wait for writeable instead of readable
    bool paused;
    bool always; // cannot be waited for
    struct ptl_lws_watch *next;
};
// False: too many, or the descriptor is unusable.
bool ptl_lws_watch(struct ptl_lws *l, struct ptl_lws_watch *watch, int fd, void (*ready)(void *ctx),
                   void *ctx);
void ptl_lws_unwatch(struct ptl_lws_watch *watch);
// Stops until ptl_lws_resume() or, unless it is PTL_NEVER, until `resume_at_ms` (mono).
void ptl_lws_pause(struct ptl_lws_watch *watch, uint64_t resume_at_ms);
void ptl_lws_resume(struct ptl_lws_watch *watch);
void ptl_lws_wait_write(struct ptl_lws_watch *watch, bool want_write);

// A timer of the program, checked whenever the loop turns. One at a time: the earliest of `at_ms`.
// Called with PTL_NEVER it is off.
void ptl_lws_timer(struct ptl_lws *l, uint64_t at_ms, void (*due)(void *ctx), void *ctx);
