// server.h - the hub on real sockets, and what it can be told.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "jwt.h"

struct ptl_rt_server_options {
    const char *host;    // address to listen on
    int port;            // 0: the system picks one
    const char *tls_dir; // NULL: plain ws://
    struct ptl_rt_secret secret;
    uint64_t idle_ms; // without a byte from the client: closed within idle_ms to 1.1 idle_ms
    uint64_t join_error_delay_ms;
    uint64_t connect_error_delay_ms;
    size_t payload_kb_max;
    size_t frame_bytes_max;
    size_t backlog_bytes_max;
    size_t channels_max;
    size_t clients_max;
    const char *stats_file; // NULL: none
    bool verbose;
};

// Prints the ready line and serves until SIGTERM or SIGINT. Returns the exit code.
int ptl_rt_server_run(const struct ptl_rt_server_options *options);
