#define _GNU_SOURCE
#include "options.h"

#include "log.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const char help[] =
    "Usage: petrel-collector --url URL --key-file FILE --db FILE (--device ID... | --devices "
    "FILE)\n"
    "       petrel-collector stats --db FILE [--json] [--runs] [--source NAME]\n"
    "\n"
    "Subscribes to the uplinks of the devices named and stores their events into SQLite, each "
    "once.\n"
    "Prints `petrel-collector ready ...` once every channel is joined. SIGTERM ends it, exit 0.\n"
    "\n"
    "  --url URL              wss://HOST[:PORT][/PATH] (or the project's https URL)\n"
    "  --ca-file FILE         PEM; default /etc/ssl/certs/ca-certificates.crt\n"
    "  --key-file FILE        the key (apikey); service_role unless channels are public\n"
    "  --token-file FILE      a token for the joins, instead of the key; read again when it "
    "changes\n"
    "  --device ID            repeatable\n"
    "  --devices FILE         one ID a line, # begins a comment; read again when it changes\n"
    "  --db FILE              made if there is none\n"
    "  --receipts NAME        give receipts under this name (the devices' receipt_from: main).\n"
    "                         One collector of a project, not several. Twice as many channels\n"
    "  --public               public channels: every key holder can read and forge; no receipts\n"
    "  --plain                allow ws:// to this machine\n"
    "  --status-file FILE     figures as JSON, rewritten every --status-ms\n"
    "\n"
    "Limits and times, in ms unless they say otherwise (defaults):\n"
    "  --heartbeat-ms (25000) --join-timeout-ms (12000) --connect-timeout-ms (10000)\n"
    "  --backoff-base-ms (1000) --backoff-cap-ms (60000) --reset-ms (30000) --slow-ms (60000)\n"
    "  --receipt-ms (1000)    at most one receipt in that time and device\n"
    "  --busy-ms (1000)       wait for a lock of the database\n"
    "  --store-retry-ms (100) first wait after a failed write; doubles up to 50 times that\n"
    "  --check-ms (1000)      look at --devices and --token-file\n"
    "  --status-ms (1000)     --joins (8) at once\n"
    "  --queue-kib (8192)     batches that wait for the database; above it they are dropped\n"
    "  --message-kib (4096)   longest message taken\n";

void col_options_help(void)
{
    fputs(help, stdout);
}

static bool complain(const char *what, const char *value)
{
    fprintf(stderr, "petrel-collector: %s%s%s\n", what, value[0] != '\0' ? ": " : "", value);
    return false;
}

struct number_option {
    const char *name;
    size_t offset;
    uint32_t low, high, start;
};

#define NUMBER(name, field, low, high, start)                                                      \
    {                                                                                              \
        name, offsetof(struct col_options, field), low, high, start                                \
    }
static const struct number_option numbers[] = {
    NUMBER("heartbeat-ms", heartbeat_ms, 100, 55000, 25000),
    NUMBER("join-timeout-ms", join_timeout_ms, 100, 600000, 12000),
    NUMBER("connect-timeout-ms", connect_timeout_ms, 100, 600000, 10000),
    NUMBER("backoff-base-ms", backoff_base_ms, 10, 600000, 1000),
    NUMBER("backoff-cap-ms", backoff_cap_ms, 10, 3600000, 60000),
    NUMBER("reset-ms", reset_ms, 0, 3600000, 30000),
    NUMBER("slow-ms", slow_ms, 0, 3600000, 60000),
    NUMBER("receipt-ms", receipt_ms, 10, 600000, 1000),
    NUMBER("busy-ms", busy_ms, 0, 10000, 1000),
    NUMBER("store-retry-ms", store_retry_ms, 1, 60000, 100),
    NUMBER("check-ms", check_ms, 10, 600000, 1000),
    NUMBER("status-ms", status_ms, 10, 600000, 1000),
    NUMBER("joins", joins, 1, 1000, 8),
    NUMBER("queue-kib", queue_kib, 64, 1048576, 8192),
    NUMBER("message-kib", message_kib, 64, 16384, 4096),
};
#define NUMBERS (sizeof(numbers) / sizeof(numbers[0]))

struct text_option {
    const char *name;
    size_t offset;
};

#define TEXT(name, field)                                                                          \
    {                                                                                              \
        name, offsetof(struct col_options, field)                                                  \
    }
static const struct text_option texts[] = {
    TEXT("url", url),
    TEXT("ca-file", ca_file),
    TEXT("key-file", key_file),
    TEXT("token-file", token_file),
    TEXT("devices", devices_file),
    TEXT("db", db),
    TEXT("receipts", receipts),
    TEXT("status-file", status_file),
};
#define TEXTS (sizeof(texts) / sizeof(texts[0]))

enum {
    OPT_DEVICE = 1000,
    OPT_PUBLIC,
    OPT_PLAIN,
    OPT_HELP,
    OPT_VERSION,
    OPT_TEXT = 2000,
    OPT_NUMBER = 3000
};

static void list_options(struct option known[NUMBERS + TEXTS + 6])
{
    size_t at = 0;
    for (size_t i = 0; i < TEXTS; i++) {
        known[at++] = (struct option){texts[i].name, required_argument, NULL, OPT_TEXT + (int)i};
    }
    for (size_t i = 0; i < NUMBERS; i++) {
        known[at++] =
            (struct option){numbers[i].name, required_argument, NULL, OPT_NUMBER + (int)i};
    }
    known[at++] = (struct option){"device", required_argument, NULL, OPT_DEVICE};
    known[at++] = (struct option){"public", no_argument, NULL, OPT_PUBLIC};
    known[at++] = (struct option){"plain", no_argument, NULL, OPT_PLAIN};
    known[at++] = (struct option){"help", no_argument, NULL, OPT_HELP};
    known[at++] = (struct option){"version", no_argument, NULL, OPT_VERSION};
    known[at] = (struct option){NULL, 0, NULL, 0};
}

static bool read_number(struct col_options *options, const struct number_option *number,
                        const char *text)
{
    char *end = NULL;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < (long)number->low ||
        value > (long)number->high) {
        fprintf(stderr, "petrel-collector: --%s %s: a whole number from %u to %u\n", number->name,
                text, number->low, number->high);
        return false;
    }
    uint32_t stored = (uint32_t)value;
    memcpy((char *)options + number->offset, &stored, sizeof(stored));
    return true;
}

static bool add_device(struct col_options *options, const char *name)
{
    if (!col_device_valid(ptl_span_of_text(name))) {
        return complain("--device: 1 to 64 of A-Z a-z 0-9 . _ -", name);
    }
    const char **more =
        realloc(options->devices, (options->device_count + 1) * sizeof(*options->devices));
    if (more == NULL) {
        return complain("out of memory", "");
    }
    options->devices = more;
    options->devices[options->device_count++] = name;
    return true;
}

static bool read_option(struct col_options *options, int opt, const char *value)
{
    if (opt >= OPT_NUMBER) {
        return read_number(options, &numbers[opt - OPT_NUMBER], value);
    }
    if (opt >= OPT_TEXT) {
        if (value[0] == '\0') {
            return complain("empty value for an option", texts[opt - OPT_TEXT].name);
        }
        memcpy((char *)options + texts[opt - OPT_TEXT].offset, &value, sizeof(value));
        return true;
    }
    switch (opt) {
    case OPT_DEVICE:
        return add_device(options, value);
    case OPT_PUBLIC:
        options->public_channels = true;
        return true;
    case OPT_PLAIN:
        options->plain = true;
        return true;
    case OPT_HELP:
        options->help = true;
        return true;
    case OPT_VERSION:
        options->version = true;
        return true;
    default:
        return complain("see --help", "");
    }
}

static bool check(const struct col_options *options)
{
    if (options->url == NULL || options->key_file == NULL || options->db == NULL) {
        return complain("--url, --key-file and --db are needed; see --help", "");
    }
    if ((options->device_count == 0) == (options->devices_file == NULL)) {
        return complain("name the devices with --device or with --devices, one of them", "");
    }
    if (options->device_count > COL_DEVICES_MAX) {
        return complain("too many devices for one collector", "");
    }
    if (options->public_channels && options->receipts != NULL) {
        return complain("--public and --receipts exclude each other: on a public channel anyone "
                        "could forge a receipt",
                        "");
    }
    if (options->receipts != NULL && strlen(options->receipts) > 32) {
        return complain("--receipts: at most 32 characters", options->receipts);
    }
    if (options->backoff_cap_ms < options->backoff_base_ms) {
        return complain("--backoff-cap-ms is below --backoff-base-ms", "");
    }
    return true;
}

bool col_options_read(struct col_options *options, int argc, char **argv)
{
    struct option known[NUMBERS + TEXTS + 6];
    int opt = 0;
    *options = (struct col_options){.ca_file = "/etc/ssl/certs/ca-certificates.crt"};
    for (size_t i = 0; i < NUMBERS; i++) {
        memcpy((char *)options + numbers[i].offset, &numbers[i].start, sizeof(uint32_t));
    }
    list_options(known);
    while ((opt = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (!read_option(options, opt, optarg)) {
            return false;
        }
    }
    if (options->help || options->version) {
        return true;
    }
    if (optind < argc) {
        return complain("unknown argument", argv[optind]);
    }
    return check(options);
}

void col_options_free(struct col_options *options)
{
    free(options->devices);
    options->devices = NULL;
}

// URL.

static const struct {
    const char *text;
    bool tls;
    uint16_t port;
} schemes[] = {
    {"wss://", true, 443}, {"https://", true, 443}, {"ws://", false, 80}, {"http://", false, 80}};

static const char *parse_host(const char *at, size_t len, struct col_url *url)
{
    const char *colon = NULL;
    if (len > 0 && at[0] == '[') {
        const char *close = memchr(at, ']', len);
        if (close == NULL) {
            return "the bracket of the address is not closed";
        }
        size_t host = (size_t)(close - at) - 1;
        bool last = (size_t)(close - at) + 1 == len;
        if (host >= sizeof(url->host) || (!last && close[1] != ':')) {
            return "the address in brackets is too long, or not followed by a port";
        }
        memcpy(url->host, at + 1, host);
        colon = last ? NULL : close + 1;
    } else {
        colon = memchr(at, ':', len);
        size_t host = colon != NULL ? (size_t)(colon - at) : len;
        if (host >= sizeof(url->host)) {
            return "the host is too long";
        }
        memcpy(url->host, at, host);
    }
    if (url->host[0] == '\0') {
        return "there is no host";
    }
    if (colon != NULL) {
        char *end = NULL;
        unsigned long port = strtoul(colon + 1, &end, 10);
        if (end != at + len || end == colon + 1 || port == 0 || port > 65535) {
            return "the port is not a number from 1 to 65535";
        }
        url->port = (uint16_t)port;
    }
    return NULL;
}

const char *col_url_parse(const char *text, struct col_url *url)
{
    *url = (struct col_url){.port = 0};
    size_t scheme = 0;
    while (scheme < 4 && strncmp(text, schemes[scheme].text, strlen(schemes[scheme].text)) != 0) {
        scheme++;
    }
    if (scheme == 4) {
        return "it must begin with wss:// (or https://)";
    }
    url->tls = schemes[scheme].tls;
    url->port = schemes[scheme].port;
    const char *at = text + strlen(schemes[scheme].text);
    size_t host = strcspn(at, "/");
    if (strpbrk(at, "?#@ \t\r\n") != NULL) {
        return "no query, no fragment, no user name, no white space";
    }
    const char *why = parse_host(at, host, url);
    if (why != NULL) {
        return why;
    }
    at += host;
    size_t len = strlen(at);
    while (len > 0 && at[len - 1] == '/') {
        len--;
    }
    if (len > sizeof(url->path) - 32) {
        return "the path is too long";
    }
    bool rest = len == strlen("/rest/v1") && strncmp(at, "/rest/v1", len) == 0;
    if (len == 0 || rest) {
        at = "/realtime/v1";
        len = strlen(at);
    }
    bool whole = len >= 10 && strncmp(at + len - 10, "/websocket", 10) == 0;
    snprintf(url->path, sizeof(url->path), "%.*s%s", (int)len, at, whole ? "" : "/websocket");
    return NULL;
}

bool col_host_is_loopback(const char *host)
{
    return strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
           (strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == strlen(host));
}

// Secrets.

static bool mode_is_fine(int fd, const char *path)
{
    struct stat st;
    struct statvfs fs;
    if (fstat(fd, &st) != 0 || (st.st_mode & S_IROTH) == 0) {
        return true;
    }
    bool ours = geteuid() == 0 || geteuid() == st.st_uid;
    bool read_only = fstatvfs(fd, &fs) == 0 && (fs.f_flag & ST_RDONLY) != 0;
    if (S_ISREG(st.st_mode) && ours && !read_only) {
        fprintf(stderr,
                "petrel-collector: %s: every user of this machine can read this secret; mend it "
                "with: chmod 600 %s\n",
                path, path);
        return false;
    }
    col_log("%s: every user of this machine can read this secret", path);
    return true;
}

bool col_secret_read(const char *path, char secret[COL_SECRET_MAX])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return complain(path, strerror(errno));
    }
    ssize_t len = mode_is_fine(fd, path) ? 0 : -1;
    size_t got = 0;
    while (len >= 0 && got < COL_SECRET_MAX) {
        len = read(fd, secret + got, COL_SECRET_MAX - got);
        if (len <= 0) {
            break;
        }
        got += (size_t)len;
    }
    close(fd);
    if (len < 0) {
        return false;
    }
    if (got == COL_SECRET_MAX) {
        return complain(path, "too long for a key or token");
    }
    size_t begin = got >= 3 && memcmp(secret, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (begin < got && isspace((unsigned char)secret[begin])) {
        begin++;
    }
    while (got > begin && isspace((unsigned char)secret[got - 1])) {
        got--;
    }
    memmove(secret, secret + begin, got - begin);
    secret[got - begin] = '\0';
    if (secret[0] == '\0') {
        return complain(path, "is empty");
    }
    for (const char *p = secret; *p != '\0'; p++) {
        if (!isalnum((unsigned char)*p) && strchr("._-~+/=", *p) == NULL) {
            return complain(path, "holds characters that no key or token has (quotes? two lines?)");
        }
    }
    return true;
}
