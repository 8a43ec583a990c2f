// options.h - the command line of petrel-collector, and what it names: URL, secrets.
#pragma once

#include "collector.h"

#define COL_SECRET_MAX 16384

struct col_options {
    const char *url, *ca_file, *key_file, *token_file, *devices_file, *db, *receipts;
    const char *status_file;
    const char **devices; // --device, in order
    size_t device_count;
    bool public_channels, plain;
    uint32_t heartbeat_ms, join_timeout_ms, connect_timeout_ms, backoff_base_ms, backoff_cap_ms;
    uint32_t reset_ms, slow_ms, receipt_ms, busy_ms, store_retry_ms, check_ms, status_ms, joins;
    uint32_t queue_kib, message_kib;
    bool help, version;
};

// Reads the command line. false: said on stderr what is wrong.
bool col_options_read(struct col_options *options, int argc, char **argv);
void col_options_free(struct col_options *options);
void col_options_help(void);

struct col_url {
    char host[256];
    uint16_t port;
    bool tls;
    char path[256]; // without query
};
// Takes wss, ws, https and http, with or without a path; NULL, or what is wrong.
const char *col_url_parse(const char *text, struct col_url *url);
bool col_host_is_loopback(const char *host);

// Reads a key or token: one line, white space and byte order mark around it removed. A file that
// every user may read is refused where its mode can be mended. false: said on stderr, never what it
// holds.
bool col_secret_read(const char *path, char secret[COL_SECRET_MAX]);
