// petrel-faultproxy - a TCP proxy in user space that does to a link what networks do: delay, rate
// limit, blackhole, reset, half-open, split writes, refused connects. Needs no rights; knows
// nothing of what it carries, so it works before any peer.
#define _GNU_SOURCE
#include "fp_control.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef PETREL_VERSION
#define PETREL_VERSION "unknown"
#endif

static const char usage[] =
    "usage: petrel-faultproxy --listen HOST:PORT --to HOST:PORT --control SOCKET\n"
    "       petrel-faultproxy ctl SOCKET COMMAND...\n"
    "\n"
    "Proxies TCP from --listen (port 0: any free one, the ready line says which) to --to.\n"
    "Addresses are numeric. Commands on the Unix socket, one a line, each answered `ok`,\n"
    "`error: why`, or a line of JSON:\n"
    "  delay MS [jitter MS]          hold every byte that long, each way\n"
    "  rate BYTES_PER_S              limit each way, over all connections (0 = none)\n"
    "  blackhole [up|down|both]      nothing moves; what is under way waits until `clear`\n"
    "  reset                         reset both ends of all connections\n"
    "  halfopen [client|server]      drop the other end; the one named is not told\n"
    "  split BYTES [gap MS]          write at most that much at once (0 = off)\n"
    "  refuse                        refuse new connects\n"
    "  clear                         take all of this away\n"
    "  stats                         counters and mode\n";

static volatile sig_atomic_t stop_asked;

static void on_signal(int number)
{
    (void)number;
    stop_asked = 1;
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "petrel-faultproxy: %s: %s\n", what, why);
    return 2;
}

static int serve(struct fp_proxy *proxy, struct fp_control *control)
{
    static struct pollfd set[FP_POLL_MAX + 1 + FP_CONTROLS_MAX];
    // Signals are open only inside ppoll, so none is missed between the check and the wait.
    sigset_t none;
    sigemptyset(&none);
    while (!stop_asked) {
        size_t count = 0;
        uint64_t now = now_ms();
        uint64_t wake = FP_NEVER;
        fp_proxy_want(proxy, now, set, &count, &wake);
        fp_control_want(control, set, &count);
        uint64_t wait = wake <= now ? 0 : wake - now;
        struct timespec timeout = {.tv_sec = (time_t)(wait / 1000),
                                   .tv_nsec = (long)(wait % 1000) * 1000000};
        if (ppoll(set, count, wake == FP_NEVER ? NULL : &timeout, &none) < 0) {
            if (errno == EINTR) {
                continue;
            }
            return fail("poll", strerror(errno));
        }
        now = now_ms();
        fp_proxy_run(proxy, now, set);
        fp_control_run(control, set, proxy);
    }
    return 0;
}

static void catch_signals(void)
{
    sigset_t stops;
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    sigprocmask(SIG_BLOCK, &stops, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"listen", required_argument, NULL, 'l'},  {"to", required_argument, NULL, 't'},
        {"control", required_argument, NULL, 'c'}, {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},       {NULL, 0, NULL, 0}};
    static struct fp_proxy proxy;
    static struct fp_control control;
    struct fp_address listen_at = {.len = 0};
    struct fp_address to = {.len = 0};
    const char *path = NULL;
    int opt = 0;

    if (argc >= 4 && strcmp(argv[1], "ctl") == 0) {
        return fp_control_send(argv[2], argc - 3, argv + 3);
    }
    while ((opt = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (opt) {
        case 'l':
        case 't':
            if (!fp_address_parse(optarg, opt == 'l' ? &listen_at : &to)) {
                return fail(optarg, "not a numeric HOST:PORT, such as 127.0.0.1:4000");
            }
            break;
        case 'c':
            path = optarg;
            break;
        case 'h':
            fputs(usage, stdout);
            return 0;
        case 'V':
            puts("petrel-faultproxy " PETREL_VERSION);
            return 0;
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    if (listen_at.len == 0 || to.len == 0 || path == NULL || optind < argc) {
        fputs(usage, stderr);
        return 2;
    }
    catch_signals();
    if (!fp_proxy_open(&proxy, &listen_at, &to)) {
        return fail("--listen", strerror(errno));
    }
    if (!fp_control_open(&control, path)) {
        return fail(path, strerror(errno));
    }
    char from_text[80];
    char to_text[80];
    fp_address_text(&proxy.listen, from_text, sizeof(from_text));
    fp_address_text(&to, to_text, sizeof(to_text));
    printf("petrel-faultproxy ready listen=%s to=%s control=%s\n", from_text, to_text, path);
    fflush(stdout);
    int status = serve(&proxy, &control);
    fp_control_close(&control);
    fp_proxy_close(&proxy);
    return status;
}
