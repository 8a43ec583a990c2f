// main.c - the command line of petrel-realtime: serve, mint a token, make certificates.

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "certs.h"
#include "files.h"
#include "server.h"

enum { HOSTS_MAX = 16, EXIT_USAGE = 2 };

static const char help_serve[] =
    "Usage: petrel-realtime --listen HOST:PORT --tls-dir DIR --jwt-secret-file FILE [options]\n"
    "       petrel-realtime mint --help | make-certs --help\n"
    "\n"
    "A local server that talks like Supabase Realtime (protocol vsn 2.0.0) and enforces Petrel's\n"
    "two-channel rules from the token. For development and tests; it stores nothing.\n"
    "Prints one line when it is ready: petrel-realtime ready wss://HOST:PORT ca=DIR/ca.pem\n"
    "\n"
    "  --listen HOST:PORT        a numeric address; port 0 picks a free one\n"
    "  --tls-dir DIR             cert.pem and key.pem; made, with a test CA, if DIR has none\n"
    "  --plain                   ws:// without TLS instead of --tls-dir\n"
    "  --jwt-secret-file FILE    the secret of HS256 tokens; made (mode 0600) if there is none\n"
    "  --idle-ms N               close after N to 1.1 N ms without a byte (60000)\n"
    "  --join-error-delay-ms N   wait before a refused join is answered (5000)\n"
    "  --connect-error-delay-ms N  wait before a refused key is answered (2000)\n"
    "  --time-scale N            divide these three by N\n"
    "  --payload-kb N            largest broadcast, in 1000 bytes (3000)\n"
    "  --frame-bytes N           largest message, else close 1009 (5000000)\n"
    "  --backlog-bytes N         a slow reader is dropped when more than this waits (33554432)\n"
    "  --channels N, --clients N channels a client (100), clients (1000)\n"
    "  --stats-file FILE         counters as JSON, rewritten five times a second\n"
    "  --verbose                 log connections\n"
    "\n"
    "SIGUSR1 prints the counters on stderr; so does the end. SIGTERM closes with code 1012.\n"
    "Paths: /realtime/v1/websocket and /socket/websocket. Key: header x-api-key, else ?apikey=.\n"
    "Not there yet: vsn 1.0.0 (asked for, or by leaving vsn out: HTTP 403 with an empty body),\n"
    "refresh and expiry of a joined channel's token, quotas, HTTP broadcasts, a database.\n";

static const char help_mint[] =
    "Usage: petrel-realtime mint --role ROLE [--device ID] [--ttl SECONDS]\n"
    "                            --jwt-secret-file FILE [--out FILE]\n"
    "\n"
    "Prints a token signed with the secret (HS256).\n"
    "\n"
    "  --role ROLE         anon, petrel_device, authenticated or service_role\n"
    "  --device ID         the claim `device`: the token may use this device's channels only\n"
    "  --ttl SECONDS       lifetime (3600); negative for one that has expired\n"
    "  --out FILE          write it to FILE (mode 0600) instead\n";

static const char help_certs[] =
    "Usage: petrel-realtime make-certs --dir DIR [--host NAME]... [--ca-dir DIR]\n"
    "                                  [--not-before TIME] [--not-after TIME]\n"
    "\n"
    "Makes cert.pem and key.pem in DIR, signed by the test CA in DIR (ca.pem, ca-key.pem; made if\n"
    "there is none). For tests: --host other.example for a wrong name, --not-after 20200102000000\n"
    "for an expired one, another DIR for an unknown CA.\n"
    "\n"
    "  --host NAME         name or address; default: localhost, realtime-dev.localhost,\n"
    "                      127.0.0.1 and ::1\n"
    "  --ca-dir DIR        sign with the CA of this directory\n"
    "  --not-before, --not-after YYYYMMDDhhmmss   in UTC; default: a day ago, ten years later\n";

static int usage_error(const char *what, const char *value)
{
    fprintf(stderr, "petrel-realtime: %s%s%s; see --help\n", what, value != NULL ? ": " : "",
            value != NULL ? value : "");
    return EXIT_USAGE;
}

static bool read_number(const char *text, long long low, long long high, long long *out)
{
    char *end = NULL;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *out >= low && *out <= high;
}

// HOST:PORT or [V6]:PORT, cut in place.
static bool split_address(char *text, struct ptl_rt_server_options *o)
{
    char *colon = strrchr(text, ':');
    long long port = 0;
    if (colon == NULL || !read_number(colon + 1, 0, 65535, &port)) {
        return false;
    }
    *colon = '\0';
    size_t len = strlen(text);
    if (len > 2 && text[0] == '[' && text[len - 1] == ']') {
        text[len - 1] = '\0';
        text++;
    }
    o->host = text;
    o->port = (int)port;
    return text[0] != '\0';
}

static int mint(int argc, char **argv)
{
    static const struct option known[] = {
        {"role", required_argument, NULL, 'r'},
        {"device", required_argument, NULL, 'd'},
        {"ttl", required_argument, NULL, 't'},
        {"jwt-secret-file", required_argument, NULL, 's'},
        {"out", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *role = NULL, *device = NULL, *secret_file = NULL, *out = NULL;
    long long ttl_s = 3600;
    int opt = 0;
    while ((opt = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (opt) {
        case 'r':
            role = optarg;
            break;
        case 'd':
            device = optarg;
            break;
        case 's':
            secret_file = optarg;
            break;
        case 'o':
            out = optarg;
            break;
        case 't':
            if (!read_number(optarg, -3153600000LL, 3153600000LL, &ttl_s)) {
                return usage_error("--ttl takes seconds", optarg);
            }
            break;
        case 'h':
            fputs(help_mint, stdout);
            return 0;
        default:
            return EXIT_USAGE;
        }
    }
    if (role == NULL || secret_file == NULL || optind < argc) {
        return usage_error("mint needs --role and --jwt-secret-file", NULL);
    }
    struct ptl_rt_secret secret;
    if (!ptl_rt_secret_load(secret_file, true, &secret)) {
        return 1;
    }
    char *token = ptl_rt_jwt_mint(role, device, (int64_t)time(NULL), ttl_s, &secret);
    bool ok = true;
    if (out != NULL) {
        ok = ptl_rt_file_write_private(out, token, strlen(token));
    } else {
        ok = puts(token) >= 0;
    }
    free(token);
    return ok ? 0 : 1;
}

static int make_certs(int argc, char **argv)
{
    static const struct option known[] = {
        {"dir", required_argument, NULL, 'd'},
        {"ca-dir", required_argument, NULL, 'c'},
        {"host", required_argument, NULL, 'n'},
        {"not-before", required_argument, NULL, 'b'},
        {"not-after", required_argument, NULL, 'a'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *hosts[HOSTS_MAX];
    struct ptl_rt_cert_request request = {.hosts = hosts};
    int opt = 0;
    while ((opt = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (opt) {
        case 'd':
            request.dir = optarg;
            break;
        case 'c':
            request.ca_dir = optarg;
            break;
        case 'b':
            request.not_before = optarg;
            break;
        case 'a':
            request.not_after = optarg;
            break;
        case 'n':
            if (request.host_count == HOSTS_MAX) {
                return usage_error("at most 16 --host", NULL);
            }
            hosts[request.host_count++] = optarg;
            break;
        case 'h':
            fputs(help_certs, stdout);
            return 0;
        default:
            return EXIT_USAGE;
        }
    }
    if (request.dir == NULL || optind < argc) {
        return usage_error("make-certs needs --dir", NULL);
    }
    return ptl_rt_certs_make(&request) ? 0 : 1;
}

struct numeric_option {
    int opt;
    long long low, high, value;
};

enum {
    OPT_IDLE = 1000,
    OPT_JOIN_DELAY,
    OPT_CONNECT_DELAY,
    OPT_SCALE,
    OPT_PAYLOAD,
    OPT_FRAME,
    OPT_BACKLOG,
    OPT_CHANNELS,
    OPT_CLIENTS,
    OPT_NUMERIC_END,
};

static struct numeric_option numeric[] = {
    {OPT_IDLE, 1, 86400000, 60000},
    {OPT_JOIN_DELAY, 0, 600000, 5000},
    {OPT_CONNECT_DELAY, 0, 100000, 2000},
    {OPT_SCALE, 1, 1000, 1},
    {OPT_PAYLOAD, 1, 5000, 3000},
    {OPT_FRAME, 1000, 16000000, 5000000},
    {OPT_BACKLOG, 65536, 1LL << 32, 1LL << 25},
    {OPT_CHANNELS, 1, 100000, 100},
    {OPT_CLIENTS, 1, 100000, 1000},
};

static long long number_of(int opt)
{
    return numeric[opt - OPT_IDLE].value;
}

static const struct option serve_options[] = {
    {"listen", required_argument, NULL, 'l'},
    {"tls-dir", required_argument, NULL, 't'},
    {"plain", no_argument, NULL, 'p'},
    {"jwt-secret-file", required_argument, NULL, 's'},
    {"stats-file", required_argument, NULL, 'f'},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {"idle-ms", required_argument, NULL, OPT_IDLE},
    {"join-error-delay-ms", required_argument, NULL, OPT_JOIN_DELAY},
    {"connect-error-delay-ms", required_argument, NULL, OPT_CONNECT_DELAY},
    {"time-scale", required_argument, NULL, OPT_SCALE},
    {"payload-kb", required_argument, NULL, OPT_PAYLOAD},
    {"frame-bytes", required_argument, NULL, OPT_FRAME},
    {"backlog-bytes", required_argument, NULL, OPT_BACKLOG},
    {"channels", required_argument, NULL, OPT_CHANNELS},
    {"clients", required_argument, NULL, OPT_CLIENTS},
    {NULL, 0, NULL, 0},
};

static bool take_number(int opt, const char *text)
{
    struct numeric_option *n = &numeric[opt - OPT_IDLE];
    if (read_number(text, n->low, n->high, &n->value)) {
        return true;
    }
    fprintf(stderr, "petrel-realtime: %s: takes a number from %lld to %lld\n", text, n->low,
            n->high);
    return false;
}

static void fill_numbers(struct ptl_rt_server_options *o)
{
    long long scale = number_of(OPT_SCALE);
    o->idle_ms = (uint64_t)(number_of(OPT_IDLE) / scale);
    o->join_error_delay_ms = (uint64_t)(number_of(OPT_JOIN_DELAY) / scale);
    o->connect_error_delay_ms = (uint64_t)(number_of(OPT_CONNECT_DELAY) / scale);
    o->payload_kb_max = (size_t)number_of(OPT_PAYLOAD);
    o->frame_bytes_max = (size_t)number_of(OPT_FRAME);
    o->backlog_bytes_max = (size_t)number_of(OPT_BACKLOG);
    o->channels_max = (size_t)number_of(OPT_CHANNELS);
    o->clients_max = (size_t)number_of(OPT_CLIENTS);
}

static int serve(int argc, char **argv)
{
    static struct ptl_rt_server_options o;
    const char *secret_file = NULL;
    bool plain = false;
    int opt = 0;
    while ((opt = getopt_long(argc, argv, "", serve_options, NULL)) != -1) {
        if (opt >= OPT_IDLE && opt < OPT_NUMERIC_END) {
            if (!take_number(opt, optarg)) {
                return EXIT_USAGE;
            }
            continue;
        }
        switch (opt) {
        case 'l':
            if (!split_address(optarg, &o)) {
                return usage_error("--listen takes HOST:PORT", optarg);
            }
            break;
        case 't':
            o.tls_dir = optarg;
            break;
        case 'p':
            plain = true;
            break;
        case 's':
            secret_file = optarg;
            break;
        case 'f':
            o.stats_file = optarg;
            break;
        case 'v':
            o.verbose = true;
            break;
        case 'h':
            fputs(help_serve, stdout);
            return 0;
        default:
            return EXIT_USAGE;
        }
    }
    if (o.host == NULL || secret_file == NULL || optind < argc) {
        return usage_error("--listen and --jwt-secret-file are needed", NULL);
    }
    if (plain == (o.tls_dir != NULL)) {
        return usage_error("say either --tls-dir DIR or --plain", NULL);
    }
    fill_numbers(&o);
    struct ptl_rt_cert_request certs = {.dir = o.tls_dir};
    if (!ptl_rt_secret_load(secret_file, true, &o.secret) ||
        (!plain && !ptl_rt_certs_present(o.tls_dir) && !ptl_rt_certs_make(&certs))) {
        return 1;
    }
    return ptl_rt_server_run(&o);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "mint") == 0) {
        return mint(argc - 1, argv + 1);
    }
    if (argc > 1 && strcmp(argv[1], "make-certs") == 0) {
        return make_certs(argc - 1, argv + 1);
    }
    return serve(argc, argv);
}
