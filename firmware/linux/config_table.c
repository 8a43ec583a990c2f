// config_table.c - the rows. Defaults are those of the profile `balanced`; profile_apply() in
// config.c changes what the others differ in.
#include "config_table.h"

#define AT(field) offsetof(struct ptl_config, field)
#define TEXT(section, key, field, preset)                                                          \
    {                                                                                              \
        section, key, PTL_SET_TEXT, AT(field), .text_preset = (preset)                             \
    }
#define PATH(section, key, field, preset)                                                          \
    {                                                                                              \
        section, key, PTL_SET_PATH, AT(field), .text_preset = (preset)                             \
    }
#define BOOL(section, key, field, preset_)                                                         \
    {                                                                                              \
        section, key, PTL_SET_BOOL, AT(field), .preset = (preset_)                                 \
    }
#define U32(section, key, field, min_, max_, preset_)                                              \
    {                                                                                              \
        section, key, PTL_SET_U32, AT(field), .min = (min_), .max = (max_), .preset = (preset_)    \
    }
#define SIZE(section, key, field, min_, max_, preset_)                                             \
    {                                                                                              \
        section, key, PTL_SET_U32, AT(field), .min = (min_), .max = (max_), .preset = (preset_),   \
                                              .sizes = true                                        \
    }
#define CHOICE(section, key, field, choices_, preset_)                                             \
    {                                                                                              \
        section, key, PTL_SET_CHOICE, AT(field), .choices = (choices_), .preset = (preset_)        \
    }

#define KIB     1024u
#define MIB     (1024u * 1024u)
#define CA_FILE "/etc/ssl/certs/ca-certificates.crt"
#define HOUR_MS 3600000u

const struct ptl_setting ptl_settings[] = {
    TEXT("server", "url", server.url, ""),
    {"server", "key", PTL_SET_SECRET, AT(key), .text_preset = ""},
    PATH("server", "key_file", server.key_file, ""),
    PATH("server", "token_file", server.token_file, ""),
    PATH("server", "ca_file", server.ca_file, CA_FILE),
    BOOL("server", "private", server.private_channels, true),
    BOOL("server", "plain_loopback", server.plain_loopback, false),
    U32("server", "connect_timeout_ms", server.connect_timeout_ms, 100, 120000, 10000),
    U32("server", "address_timeout_ms", server.address_timeout_ms, 50, 60000, 2000),
    U32("server", "join_timeout_ms", server.join_timeout_ms, 500, 120000, 12000),
    U32("server", "heartbeat_ms", server.heartbeat_ms, 500, 50000, 25000),
    U32("server", "ping_s", server.ping_s, 0, 3600, 0),

    TEXT("device", "id", device.id, ""),
    TEXT("device", "source", device.source, ""),
    U32("device", "fleet_size", device.fleet_size, 1, 1000000, 1),

    CHOICE("delivery", "delivery", delivery.delivery, "accepted|stored", PTL_ACCEPTED),
    CHOICE("delivery", "durability", delivery.durability, "ram|spill|sync", PTL_DURABLE_SPILL),
    CHOICE("delivery", "order", delivery.strict_order, "fresh|strict", 0),
    TEXT("delivery", "receipt_from", delivery.receipt_from, "main"),
    U32("delivery", "ack_timeout_ms", delivery.ack_timeout_ms, 100, 60000, 5000),
    U32("delivery", "receipt_timeout_ms", delivery.receipt_timeout_ms, 100, 600000, 10000),
    U32("delivery", "resend_ms", delivery.resend_ms, 50, 600000, 2000),

    CHOICE("batch", "profile", batch.profile, "balanced|low_latency|economy", 0),
    U32("batch", "max_delay_ms", batch.max_delay_ms, 1, HOUR_MS, 1000),
    {"batch", "messages_per_s", PTL_SET_MILLI, AT(batch.messages_per_1000_s), .min = 0,
     .max = 10000000, .preset = 1000},
    U32("batch", "burst", batch.burst, 1, 10000, 10),
    SIZE("batch", "bytes", batch.bytes, 1 * KIB, 2560 * KIB, 32 * KIB),
    U32("batch", "events", batch.events, 1, 10000, 500),
    U32("batch", "window", batch.window, 1, 64, 8),
    BOOL("batch", "eager", batch.eager, false),

    U32("breaker", "backoff_base_ms", breaker.backoff_base_ms, 10, 60000, 1000),
    U32("breaker", "backoff_cap_ms", breaker.backoff_cap_ms, 100, HOUR_MS, 60000),
    U32("breaker", "slow_ms", breaker.slow_ms, 100, HOUR_MS, 60000),
    U32("breaker", "reset_ms", breaker.reset_ms, 100, HOUR_MS, 30000),
    U32("breaker", "joins_per_s", breaker.joins_per_s, 1, 100000, 100),
    U32("breaker", "ack_timeouts", breaker.ack_timeouts, 1, 100, 3),

    SIZE("queue", "bytes", queue.bytes, 4 * KIB, 256 * MIB, 512 * KIB),
    U32("queue", "high_water_percent", queue.high_water_percent, 10, 95, 75),
    U32("queue", "low_water_percent", queue.low_water_percent, 1, 90, 25),

    BOOL("journal", "enabled", journal.enabled, true),
    PATH("journal", "file", journal.file, ""),
    {"journal", "bytes", PTL_SET_U64, AT(journal.bytes), .min = 64 * KIB, .max = UINT64_C(1) << 40,
     .preset = 64 * MIB, .sizes = true},
    SIZE("journal", "block_bytes", journal.block_bytes, 4 * KIB, 1 * MIB, 256 * KIB),
    U32("journal", "commit_ms", journal.commit_ms, 10, 60000, 1000),
    U32("journal", "spill_ms_max", journal.spill_ms_max, 10, 60000, 500),

    SIZE("events", "bytes_max", events.bytes_max, 256, 256 * KIB, 16 * KIB),
    U32("events", "depth_max", events.depth_max, 2, PTL_JSON_DEPTH_MAX, 16),

    BOOL("inputs", "stdin", inputs.stdin_lines, false),
    PATH("inputs", "seqpacket", inputs.seqpacket, ""),
    PATH("inputs", "datagram", inputs.datagram, "off"),
    U32("inputs", "stdin_gather_ms", inputs.stdin_gather_ms, 0, 1000, 0),
    U32("inputs", "eof_drain_ms", inputs.eof_drain_ms, 100, HOUR_MS, 60000),

    BOOL("metrics", "cpu", metrics.cpu, false),
    BOOL("metrics", "memory", metrics.memory, false),
    BOOL("metrics", "load", metrics.load, false),
    U32("metrics", "interval_ms", metrics.interval_ms, 100, 24 * HOUR_MS, 10000),
    PATH("metrics", "root", metrics.root, ""),

    PATH("agent", "state_dir", agent.state_dir, ""),
    U32("agent", "status_s", agent.status_s, 0, 86400, 60),
    U32("agent", "drain_ms", agent.drain_ms, 100, 600000, 5000),
    U32("agent", "time_scale", agent.time_scale, 1, 100, 1),
    CHOICE("agent", "log_level", agent.log_level, "debug|info|warning|error", 1),
};

const size_t ptl_setting_count = sizeof(ptl_settings) / sizeof(ptl_settings[0]);
