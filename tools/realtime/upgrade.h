// upgrade.h - may this HTTP request become a WebSocket?
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "jwt.h"

struct ptl_rt_upgrade {
    const char *path;
    const char *vsn;     // NULL if the query has none
    const char *api_key; // x-api-key header, else query `apikey`; NULL if neither
};

struct ptl_rt_refusal {
    const char *reason; // of the status line
    const char *type;   // content type of the body, NULL if the body is empty
    const char *body;
    unsigned status;
    bool delayed; // Realtime sends these after 2 s
};

// NULL: welcome. vsn 1.0.0, absent or spelled out, gets the empty 403 of an unknown version.
const struct ptl_rt_refusal *ptl_rt_upgrade_judge(const struct ptl_rt_upgrade *request,
                                                  const struct ptl_rt_secret *secret,
                                                  int64_t now_s);

bool ptl_rt_is_socket_path(const char *path);
extern const struct ptl_rt_refusal ptl_rt_not_found;      // 404 for any other path
extern const struct ptl_rt_refusal ptl_rt_not_an_upgrade; // 400 for a plain GET of a socket path
