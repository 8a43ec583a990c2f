// config.h - what a user can set, and how it is read: defaults of the profile, then the file, then
// the environment. docs/config.md is the manual of every key.
//
// Nothing of a secret is ever put into a message. Problems are reported one by one through
// `report`, each naming file, line, key and value, what is allowed, and the mend.
#pragma once

#include <stdint.h>

#include "ptl_agent.h"

#define PTL_CONFIG_PATH_MAX   512
#define PTL_CONFIG_TEXT_MAX   256
#define PTL_CONFIG_SECRET_MAX 8192

enum ptl_config_level { PTL_CONFIG_NOTE, PTL_CONFIG_WARNING, PTL_CONFIG_ERROR };

struct ptl_config_report {
    void *ctx;
    void (*say)(void *ctx, enum ptl_config_level level, const char *text);
    uint32_t errors, warnings;
};

enum ptl_profile { PTL_PROFILE_BALANCED, PTL_PROFILE_LOW_LATENCY, PTL_PROFILE_ECONOMY };

struct ptl_config {
    char file[PTL_CONFIG_PATH_MAX]; // "" where only the environment was read

    struct {
        char url[PTL_CONFIG_TEXT_MAX];
        char key_file[PTL_CONFIG_PATH_MAX];
        char token_file[PTL_CONFIG_PATH_MAX];
        char ca_file[PTL_CONFIG_PATH_MAX];
        bool private_channels, plain_loopback;
        uint32_t connect_timeout_ms, address_timeout_ms, join_timeout_ms, heartbeat_ms, ping_s;
        // Made of the above.
        char host[PTL_CONFIG_TEXT_MAX]; // without brackets
        char path[64];                  // of the WebSocket, without query
        uint16_t port;
        bool tls;
    } server;
    struct {
        char id[PTL_CONFIG_TEXT_MAX];
        char source[PTL_CONFIG_TEXT_MAX];
        uint32_t fleet_size;
        bool id_of_token; // the token's claim gave the id
    } device;
    struct {
        uint32_t delivery;   // enum ptl_delivery
        uint32_t durability; // enum ptl_durability
        bool strict_order;
        char receipt_from[PTL_CONFIG_TEXT_MAX];
        uint32_t ack_timeout_ms, receipt_timeout_ms, resend_ms;
    } delivery;
    struct {
        uint32_t profile; // enum ptl_profile
        uint32_t max_delay_ms, messages_per_1000_s, burst, bytes, events, window;
        bool eager;
    } batch;
    struct {
        uint32_t backoff_base_ms, backoff_cap_ms, slow_ms, reset_ms, joins_per_s, ack_timeouts;
    } breaker;
    struct {
        uint32_t bytes, high_water_percent, low_water_percent;
    } queue;
    struct {
        bool enabled;
        char file[PTL_CONFIG_PATH_MAX]; // "": journal.ptl in the state directory
        uint64_t bytes;
        uint32_t block_bytes, commit_ms, spill_ms_max;
    } journal;
    struct {
        uint32_t bytes_max, depth_max;
    } events;
    struct {
        bool stdin_lines;
        char seqpacket[PTL_CONFIG_PATH_MAX]; // "off", "": petrel.sock in the runtime directory
        char datagram[PTL_CONFIG_PATH_MAX];  // "off" (default) or a path
        uint32_t stdin_gather_ms;            // 0: chosen from max_delay_ms
        uint32_t eof_drain_ms;
    } inputs;
    struct {
        bool cpu, memory, load;
        uint32_t interval_ms;
        char root[PTL_CONFIG_PATH_MAX];
    } metrics;
    struct {
        char state_dir[PTL_CONFIG_PATH_MAX];
        uint32_t status_s, drain_ms, time_scale;
        uint32_t log_level; // enum ptl_log_level
    } agent;

    char key[PTL_CONFIG_SECRET_MAX];   // apikey
    char token[PTL_CONFIG_SECRET_MAX]; // device's JWT, may be empty
};

// Reads `path` (NULL: none) and the environment `env` (NULL-terminated "NAME=value" list), fills in
// what follows from it and checks it all. False: report->errors tells how many; *c must not be
// used.
bool ptl_config_load(struct ptl_config *c, const char *path, char *const *env,
                     struct ptl_config_report *report);

// Every ms divided by agent.time_scale, at least 1.
uint32_t ptl_config_scaled(const struct ptl_config *c, uint32_t ms);

// The path of the SEQPACKET socket that this configuration means, "" if it is off.
const char *ptl_config_socket(const struct ptl_config *c);

// What the settings can cost, for people: the most messages a month, what host metrics alone take,
// and what that is in Supabase's plans. Writes up to cap bytes of lines.
void ptl_config_estimate(const struct ptl_config *c, char *out, size_t cap);

// secrets.c: reads a secret into `out` (white space and BOM trimmed). `what` names it in messages
// ("key_file"). False: reported.
bool ptl_secret_read(const char *path, const char *what, char out[PTL_CONFIG_SECRET_MAX],
                     struct ptl_config_report *report);
// Checks and trims a secret that came as text; NULL: fine, else what is wrong with it.
const char *ptl_secret_trim(char *text, size_t len);
// One string claim of a JWT's payload, unverified (the server verifies). False: no JWT or no claim.
bool ptl_jwt_claim(const char *token, const char *name, char *out, size_t cap);
// A numeric claim, as integer.
bool ptl_jwt_number(const char *token, const char *name, int64_t *out);

// url.c: the forms in which people have their project's URL. False: *why says what is wrong.
bool ptl_url_parse(struct ptl_config *c, const char **why);
// `path` with the key in its query, percent-encoded. `cap`: three times the key, the path and 32.
void ptl_url_with_key(const char *path, const char *key, char *out, size_t cap);

void ptl_config_say(struct ptl_config_report *report, enum ptl_config_level level,
                    const char *format, ...) __attribute__((format(printf, 3, 4)));
