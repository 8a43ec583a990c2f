// config_check.c - rules between settings, and what follows from them: the URL's parts, the
// secrets, the directories.
#include "config_check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "ptl_agent.h"
#include "ptl_batch_text.h"
#include "ptl_file_flash.h"
#include "ptl_identity.h"

#define SOCKET_PATH_MAX 107 // of struct sockaddr_un
// A record of the journal has a length of 16 bits and holds a little more than the event.
#define EVENT_BYTES_JOURNAL (UINT16_MAX - PTL_AGENT_RECORD_SLACK)

static void error_say(struct ptl_config_report *report, const char *text)
{
    ptl_config_say(report, PTL_CONFIG_ERROR, "%s", text);
}

static bool loopback_name(const char *host)
{
    return strcasecmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
           (strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == strlen(host));
}

static void server_check(struct ptl_config *c, struct ptl_config_report *report)
{
    const char *why = NULL;
    if (c->server.url[0] == '\0') {
        error_say(report, "[server] url is missing; set it, or SUPABASE_URL, to the project's URL, "
                          "such as https://xyzcompany.supabase.co");
        return;
    }
    if (!ptl_url_parse(c, &why)) {
        ptl_config_say(report, PTL_CONFIG_ERROR, "[server] url = %.120s: %s", c->server.url, why);
        return;
    }
    if (!c->server.tls && !loopback_name(c->server.host)) {
        ptl_config_say(report, PTL_CONFIG_ERROR,
                       "[server] url = %s: without TLS the key and all events could be read on the "
                       "way; use https:// (plain is only for a server on this machine)",
                       c->server.url);
    } else if (!c->server.tls && !c->server.plain_loopback) {
        ptl_config_say(
            report, PTL_CONFIG_ERROR,
            "[server] url = %s: not encrypted; use https://, or for a test server on this "
            "machine set [server] plain_loopback = yes",
            c->server.url);
    }
    if (c->server.tls && access(c->server.ca_file, R_OK) != 0) {
        ptl_config_say(report, PTL_CONFIG_ERROR,
                       "[server] ca_file = %s: cannot be read: %s; install the package "
                       "ca-certificates, or name a file with the server's CA",
                       c->server.ca_file, strerror(errno));
    }
    if (c->server.ping_s > 0 && c->server.ping_s < 10) {
        error_say(report, "[server] ping_s: allowed is 0 (off) or at least 10");
    }
    if (c->server.heartbeat_ms < 10000 && c->agent.time_scale == 1) {
        ptl_config_say(report, PTL_CONFIG_WARNING,
                       "[server] heartbeat_ms = %u: 25000 to 50000 is what Realtime expects; less "
                       "only costs traffic",
                       c->server.heartbeat_ms);
    }
}

static bool is_jwt(const char *text)
{
    char role[64];
    const char *first = strchr(text, '.');
    return first != NULL && strchr(first + 1, '.') != NULL &&
           ptl_jwt_claim(text, "role", role, sizeof(role));
}

static void key_check(struct ptl_config *c, struct ptl_config_report *report)
{
    char role[64] = "";
    if (c->key[0] != '\0' && c->server.key_file[0] != '\0') {
        error_say(report, "the key is given twice: keep key_file, or key (SUPABASE_KEY), not both");
        return;
    }
    if (c->server.key_file[0] != '\0') {
        if (!ptl_secret_read(c->server.key_file, "[server] key_file", c->key, report)) {
            return;
        }
    } else if (c->key[0] != '\0') {
        const char *wrong = ptl_secret_trim(c->key, strlen(c->key));
        if (wrong != NULL) {
            ptl_config_say(report, PTL_CONFIG_ERROR, "the key ([server] key, SUPABASE_KEY) %s",
                           wrong);
            return;
        }
    } else {
        error_say(report, "the key is missing; set [server] key_file, or SUPABASE_KEY, to the "
                          "project's anon or publishable key");
        return;
    }
    bool jwt = is_jwt(c->key);
    (void)ptl_jwt_claim(c->key, "role", role, sizeof(role));
    if (strncmp(c->key, "sb_secret_", 10) == 0 || strcmp(role, "service_role") == 0) {
        ptl_config_say(
            report, PTL_CONFIG_WARNING,
            "the key is the project's secret one (service_role): whoever has this device "
            "has the whole project; use the anon or publishable key");
    } else if (!jwt && strncmp(c->key, "sb_publishable_", 15) != 0) {
        ptl_config_say(
            report, PTL_CONFIG_WARNING,
            "the key is neither a JWT with a role nor sb_publishable_...: the server will "
            "probably refuse it with HTTP 401");
    }
}

static void token_check(struct ptl_config *c, struct ptl_config_report *report)
{
    char device[PTL_DEVICE_BYTES_MAX + 1] = "";
    int64_t expires = 0;
    if (c->server.token_file[0] == '\0' ||
        !ptl_secret_read(c->server.token_file, "[server] token_file", c->token, report)) {
        return;
    }
    if (!is_jwt(c->token)) {
        ptl_config_say(
            report, PTL_CONFIG_ERROR,
            "[server] token_file = %s: the file holds no JWT with a role; it is made with "
            "the claims role, exp and device",
            c->server.token_file);
        return;
    }
    bool has_device = ptl_jwt_claim(c->token, "device", device, sizeof(device));
    if (c->server.private_channels && !has_device) {
        ptl_config_say(
            report, PTL_CONFIG_WARNING,
            "[server] token_file = %s: the token has no claim device, which the rules of "
            "petrel sql compare with the channel's name",
            c->server.token_file);
    } else if (has_device && c->device.id[0] != '\0' && strcmp(device, c->device.id) != 0) {
        ptl_config_say(report, PTL_CONFIG_ERROR,
                       "[device] id = %s, but the token in %s is for device %s", c->device.id,
                       c->server.token_file, device);
    } else if (has_device && c->device.id[0] == '\0' && ptl_identity_valid(device)) {
        strcpy(c->device.id, device); // the token names the device: no need to say it twice
        c->device.id_of_token = true;
    }
    if (ptl_jwt_number(c->token, "exp", &expires) && expires < (int64_t)time(NULL)) {
        ptl_config_say(report, PTL_CONFIG_WARNING,
                       "[server] token_file = %s: the token has expired (by this machine's clock)",
                       c->server.token_file);
    }
}

static void channels_check(struct ptl_config *c, struct ptl_config_report *report)
{
    if (!c->server.private_channels) {
        ptl_config_say(
            report, PTL_CONFIG_NOTE,
            "private = no: anyone with the project's key can read these events and send in "
            "this device's name, and there are no receipts");
        if (c->delivery.delivery == PTL_STORED) {
            error_say(report, "[delivery] delivery = stored needs private channels (receipts come "
                              "over a private one): set private = yes, or delivery = accepted");
        }
    } else if (c->token[0] == '\0') {
        ptl_config_say(
            report, PTL_CONFIG_NOTE,
            "only URL and key are given, so the server will refuse the private channels. "
            "Two ways on: (1) private channels: run `petrel sql` in the SQL editor, mint a "
            "token for this device and set token_file; (2) public channels: set private = "
            "no, which lets everyone with the key read and forge events and gives up "
            "receipts");
    }
}

static void sizes_check(struct ptl_config *c, struct ptl_config_report *report)
{
    uint32_t batch_least = PTL_BATCH_BYTES_MIN(c->events.bytes_max + PTL_AGENT_RECORD_SLACK);
    if (c->batch.bytes < batch_least) {
        ptl_config_say(report, PTL_CONFIG_ERROR,
                       "[batch] bytes = %u does not hold one event of [events] bytes_max = %u; set "
                       "bytes to %u or more, or bytes_max lower",
                       c->batch.bytes, c->events.bytes_max, batch_least);
    }
    if (c->queue.bytes < 2 * (c->events.bytes_max + 128)) {
        ptl_config_say(report, PTL_CONFIG_ERROR,
                       "[queue] bytes = %u does not hold two events of [events] bytes_max = %u",
                       c->queue.bytes, c->events.bytes_max);
    }
    if (c->journal.enabled && c->events.bytes_max > EVENT_BYTES_JOURNAL) {
        ptl_config_say(report, PTL_CONFIG_ERROR,
                       "[events] bytes_max = %u: a record of the journal holds events of up to %u "
                       "bytes; set bytes_max to that or less, or, with durability = ram, [journal] "
                       "enabled = no",
                       c->events.bytes_max, EVENT_BYTES_JOURNAL);
    }
    if (c->queue.low_water_percent >= c->queue.high_water_percent) {
        ptl_config_say(report, PTL_CONFIG_ERROR,
                       "[queue] low_water_percent = %u must be below high_water_percent = %u",
                       c->queue.low_water_percent, c->queue.high_water_percent);
    }
    if (c->breaker.backoff_base_ms > c->breaker.backoff_cap_ms) {
        ptl_config_say(report, PTL_CONFIG_ERROR,
                       "[breaker] backoff_base_ms = %u must not be above backoff_cap_ms = %u",
                       c->breaker.backoff_base_ms, c->breaker.backoff_cap_ms);
    }
    if ((c->journal.block_bytes & (c->journal.block_bytes - 1)) != 0) {
        ptl_config_say(report, PTL_CONFIG_ERROR,
                       "[journal] block_bytes = %u: allowed is a power of two",
                       c->journal.block_bytes);
    } else if (c->journal.block_bytes < 2 * c->events.bytes_max) {
        ptl_config_say(report, PTL_CONFIG_ERROR,
                       "[journal] block_bytes = %u must be twice [events] bytes_max = %u or more",
                       c->journal.block_bytes, c->events.bytes_max);
    } else if (c->journal.bytes < 4 * (uint64_t)c->journal.block_bytes) {
        ptl_config_say(report, PTL_CONFIG_ERROR,
                       "[journal] bytes = %llu must hold four blocks of block_bytes = %u or more",
                       (unsigned long long)c->journal.bytes, c->journal.block_bytes);
    }
    if (c->device.id[0] != '\0' && !ptl_identity_valid(c->device.id)) {
        ptl_config_say(report, PTL_CONFIG_ERROR,
                       "[device] id = %.80s: allowed are 1 to 64 bytes of A-Z a-z 0-9 . _ -",
                       c->device.id);
    }
    const struct ptl_span source = ptl_span_of_text(c->device.source);
    if (!ptl_utf8_valid(source)) {
        error_say(report, "[device] source: not UTF-8");
    }
    size_t receipt_len = strlen(c->delivery.receipt_from);
    if (receipt_len < 1 || receipt_len > PTL_SOURCE_NAME_MAX) {
        ptl_config_say(report, PTL_CONFIG_ERROR,
                       "[delivery] receipt_from: allowed are 1 to %d bytes", PTL_SOURCE_NAME_MAX);
    }
}

static const char *env_dir(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] == '/' && strlen(value) < PTL_CONFIG_PATH_MAX - 64 ? value
                                                                                        : NULL;
}

// systemd's directory, else the system's for root, else the user's own.
static void state_dir_default(char out[PTL_CONFIG_PATH_MAX])
{
    const char *dir = env_dir("STATE_DIRECTORY");
    if (dir != NULL) {
        snprintf(out, PTL_CONFIG_PATH_MAX, "%s", dir);
        out[strcspn(out, ":")] = '\0';
    } else if (geteuid() == 0) {
        strcpy(out, "/var/lib/petrel");
    } else if ((dir = env_dir("XDG_STATE_HOME")) != NULL) {
        snprintf(out, PTL_CONFIG_PATH_MAX, "%s/petrel", dir);
    } else if ((dir = env_dir("HOME")) != NULL) {
        snprintf(out, PTL_CONFIG_PATH_MAX, "%s/.local/state/petrel", dir);
    } else {
        strcpy(out, "/var/lib/petrel");
    }
}

static void socket_default(const struct ptl_config *c, char out[PTL_CONFIG_PATH_MAX])
{
    const char *dir = env_dir("RUNTIME_DIRECTORY");
    if (dir != NULL) {
        snprintf(out, PTL_CONFIG_PATH_MAX, "%s/petrel.sock", dir);
    } else if (geteuid() == 0) {
        strcpy(out, "/run/petrel/petrel.sock");
    } else if ((dir = env_dir("XDG_RUNTIME_DIR")) != NULL) {
        snprintf(out, PTL_CONFIG_PATH_MAX, "%s/petrel.sock", dir);
    } else {
        snprintf(out, PTL_CONFIG_PATH_MAX, "%.480s/petrel.sock", c->agent.state_dir);
    }
}

static void paths_check(struct ptl_config *c, struct ptl_config_report *report)
{
    if (c->agent.state_dir[0] == '\0') {
        state_dir_default(c->agent.state_dir);
    }
    if (c->journal.file[0] == '\0') {
        snprintf(c->journal.file, sizeof(c->journal.file), "%.490s/journal.ptl",
                 c->agent.state_dir);
    }
    if (c->inputs.seqpacket[0] == '\0') {
        socket_default(c, c->inputs.seqpacket);
    }
    const struct {
        const char *key, *path;
    } sockets[] = {{"seqpacket", c->inputs.seqpacket}, {"datagram", c->inputs.datagram}};
    for (size_t i = 0; i < 2; i++) {
        if (strcmp(sockets[i].path, "off") != 0 && sockets[i].path[0] != '/') {
            ptl_config_say(report, PTL_CONFIG_ERROR,
                           "[inputs] %s = %s: allowed is off or a path that begins with /",
                           sockets[i].key, sockets[i].path);
        } else if (strlen(sockets[i].path) > SOCKET_PATH_MAX) {
            ptl_config_say(
                report, PTL_CONFIG_ERROR,
                "[inputs] %s: the path is longer than the %d bytes that a socket may have",
                sockets[i].key, SOCKET_PATH_MAX);
        }
    }
    if (strcmp(c->inputs.seqpacket, c->inputs.datagram) == 0 && c->inputs.datagram[0] == '/') {
        error_say(report, "[inputs] seqpacket and datagram are the same path");
    }
}

// The file system that a file will be on: of the nearest directory above that exists.
static bool fs_of(const char *path, enum ptl_fs_kind *kind)
{
    char dir[PTL_CONFIG_PATH_MAX];
    snprintf(dir, sizeof(dir), "%s", path);
    while (ptl_file_flash_fs_kind(dir, kind) != PTL_OK) {
        char *slash = strrchr(dir, '/');
        if (slash == NULL || slash == dir) {
            return false;
        }
        *slash = '\0';
    }
    return true;
}

static void journal_check(struct ptl_config *c, struct ptl_config_report *report)
{
    enum ptl_fs_kind kind = PTL_FS_DISK;
    if (!c->journal.enabled) {
        if (c->delivery.durability != PTL_DURABLE_RAM) {
            error_say(report,
                      "[delivery] durability = spill and sync need a journal: set [journal] "
                      "enabled = yes, or durability = ram (events are lost when the agent "
                      "stops while the link is down)");
        }
        return;
    }
    if (!fs_of(c->journal.file, &kind)) {
        return;
    }
    bool ram = kind == PTL_FS_RAM;
    if (ram && c->delivery.durability == PTL_DURABLE_SYNC) {
        ptl_config_say(
            report, PTL_CONFIG_ERROR,
            "[journal] file = %s is on a file system in RAM: durability = sync cannot be "
            "kept there; put the journal on a disk, or set durability = spill",
            c->journal.file);
    } else if (ram) {
        ptl_config_say(report, PTL_CONFIG_WARNING,
                       "[journal] file = %s is on a file system in RAM: what is spilled there does "
                       "not survive a power cut",
                       c->journal.file);
    } else if (kind == PTL_FS_NETWORK) {
        ptl_config_say(report, PTL_CONFIG_WARNING,
                       "[journal] file = %s is on a network file system: it can block, and may not "
                       "survive what a local disk survives",
                       c->journal.file);
    }
}

void ptl_config_check(struct ptl_config *c, struct ptl_config_report *report)
{
    server_check(c, report);
    key_check(c, report);
    token_check(c, report);
    channels_check(c, report);
    sizes_check(c, report);
    paths_check(c, report);
    journal_check(c, report);
    if (c->agent.time_scale > 1) {
        ptl_config_say(report, PTL_CONFIG_NOTE,
                       "[agent] time_scale = %u: timers are shortened, for tests only",
                       c->agent.time_scale);
    }
}

const char *ptl_config_socket(const struct ptl_config *c)
{
    return strcmp(c->inputs.seqpacket, "off") == 0 ? "" : c->inputs.seqpacket;
}

static void grouped(uint64_t value, char out[32])
{
    char digits[24];
    int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)value);
    char *at = out;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0) {
            *at++ = ',';
        }
        *at++ = digits[i];
    }
    *at = '\0';
}

#define MONTH_S   2592000u // 30 days
#define FREE_PLAN 2000000u // Realtime messages a month, supabase.com/pricing, 2026
#define PRO_PLAN  5000000u

void ptl_config_estimate(const struct ptl_config *c, char *out, size_t cap)
{
    char most_text[32];
    char own_text[32];
    char counted_text[32];
    uint64_t fleet = c->device.fleet_size;
    bool budget = c->batch.messages_per_1000_s > 0;
    uint64_t most = (uint64_t)c->batch.messages_per_1000_s * MONTH_S / 1000 * fleet;
    uint64_t own = 0;
    if (c->metrics.cpu || c->metrics.memory || c->metrics.load) {
        own += (uint64_t)MONTH_S * 1000 / c->metrics.interval_ms;
    }
    if (c->agent.status_s > 0) {
        own += MONTH_S / c->agent.status_s;
    }
    own *= fleet;
    own = budget && own > most ? most : own;
    uint64_t receipts = c->delivery.delivery == PTL_STORED ? 2 : 0;
    uint64_t counted = own * (2 + receipts);
    grouped(most, most_text);
    grouped(own, own_text);
    grouped(counted, counted_text);
    const char *plan = counted <= FREE_PLAN ? "within the Free plan's 2,000,000"
                       : counted <= PRO_PLAN
                           ? "above the Free plan's 2,000,000, within the Pro "
                             "plan's 5,000,000"
                           : "above the Pro plan's 5,000,000 (2.50 USD a million)";
    size_t at = 0;
    if (budget) {
        at = (size_t)snprintf(out, cap,
                              "messages a month: at most %s sent (messages_per_s = %u.%03u, %llu "
                              "device%s)\n",
                              most_text, c->batch.messages_per_1000_s / 1000,
                              c->batch.messages_per_1000_s % 1000, (unsigned long long)fleet,
                              fleet == 1 ? "" : "s");
    } else {
        at = (size_t)snprintf(out, cap, "messages a month: no bound (messages_per_s = 0)\n");
    }
    if (at < cap) {
        snprintf(out + at, cap - at,
                 "host metrics and status reports alone: about %s sent; with one subscriber%s "
                 "Supabase counts about %s (every send and every delivery), %s; events of your own "
                 "come on top, many in one message\n",
                 own_text, receipts > 0 ? " and receipts" : "", counted_text, plan);
    }
}
