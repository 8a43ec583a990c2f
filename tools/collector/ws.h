// ws.h - the WebSocket under the collector and its event loop: connects over verified TLS, keeps
// reconnecting with full jitter, carries whole messages. No type of libwebsockets leaves ws_lws.c.
//
// Names are resolved by the C library on the loop: a name server that hangs stops the collector for
// that long (an address does not).
#pragma once

#include "ptl_base.h"
#include "ptl_bytes.h"

struct col_ws_config {
    const char *host; // name or address, verified against the certificate
    uint16_t port;
    bool tls;
    const char *path;    // with query; holds the key, never logged
    const char *ca_file; // PEM
    uint32_t connect_ms; // from the name to the upgrade
    uint32_t backoff_base_ms, backoff_cap_ms;
    uint32_t reset_ms; // a link that lasted that long starts the backoff over
    uint32_t slow_ms;  // after HTTP 429, at least
    size_t rx_bytes_max;
    size_t tx_bytes_max;
    uint64_t seed;

    void *ctx; // passed to the calls below
    void (*up)(void *ctx);
    // Also after a connect that failed. `why` is for the user.
    void (*down)(void *ctx, const char *why, uint64_t retry_in_ms);
    void (*message)(void *ctx, struct ptl_span message, bool binary);
    void (*oversize)(void *ctx);
    // The next frame; false: none.
    bool (*frame)(void *ctx, struct ptl_writer *w, bool *binary);
    // Called before every wait: does what is due. `*wants_write`: there is a frame; `*close`: the
    // link is no use any more, and why (NULL: it is). Returns when to be called again (mono ms).
    uint64_t (*turn)(void *ctx, bool *wants_write, const char **close);
};

struct col_ws;

uint64_t col_mono_ms(void);
int64_t col_unix_ms(void);

// NULL: *error says why, in words for the user.
struct col_ws *col_ws_create(const struct col_ws_config *cfg, const char **error);
// Until *stop is set (by a signal handler).
void col_ws_run(struct col_ws *ws, const volatile int *stop);
void col_ws_destroy(struct col_ws *ws);
