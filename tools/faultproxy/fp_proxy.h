// fp_proxy.h - the proxied connections: takes connects, moves bytes as the mode says. poll(2) is
// the caller's: fp_proxy_want fills the set, fp_proxy_run looks at what happened.
//
// A blackhole holds bytes back, like a network whose packets are resent once it is mended; nothing
// is dropped or reordered inside a connection, since TCP would not let it through either.
#pragma once

#include "fp_mode.h"
#include "fp_pipe.h"

#include <poll.h>
#include <sys/socket.h>

#define FP_LINKS_MAX 64
#define FP_POLL_MAX  (1 + 2 * FP_LINKS_MAX)

enum fp_way { FP_UP, FP_DOWN, FP_WAYS }; // up: from the client to the server

struct fp_link {
    int fd[FP_WAYS]; // [FP_UP] the client's end, [FP_DOWN] the server's; -1 = closed
    bool connecting; // to the server
    bool hung;       // half-open: one end is gone, what comes from the other is thrown away
    uint64_t split_next_ms[FP_WAYS];
    struct fp_pipe pipe[FP_WAYS]; // pipe[w] is filled from fd[w]
    int poll_at[FP_WAYS];         // index in the set of this round, -1 = not in it
};

struct fp_address {
    struct sockaddr_storage addr;
    socklen_t len;
};

struct fp_proxy {
    struct fp_address listen, to;
    int listen_fd;
    bool listening;
    struct fp_mode mode;
    struct fp_link *links[FP_LINKS_MAX];
    uint64_t credit_milli[FP_WAYS]; // thousandths of bytes the rate allows now
    uint64_t credit_at_ms;
    uint64_t links_total, connect_failed, bytes[FP_WAYS];
    uint32_t jitter_state;
    int poll_at;
};

// `text` is HOST:PORT with a numeric address, [::1]:PORT for IPv6. false: it is not.
bool fp_address_parse(const char *text, struct fp_address *address);
void fp_address_text(const struct fp_address *address, char *text, size_t cap);

// Binds and listens; on success proxy->listen holds the port that was given. false: errno says why.
bool fp_proxy_open(struct fp_proxy *proxy, const struct fp_address *listen,
                   const struct fp_address *to);
void fp_proxy_close(struct fp_proxy *proxy);

// Carries out one command line; writes the answer line (with its line feed).
void fp_proxy_command(struct fp_proxy *proxy, const char *line, char *answer, size_t cap);

// Adds what the proxy waits for to set[*count...] (room for FP_POLL_MAX); lowers *wake_ms to the
// next time something is due.
void fp_proxy_want(struct fp_proxy *proxy, uint64_t now_ms, struct pollfd *set, size_t *count,
                   uint64_t *wake_ms);
void fp_proxy_run(struct fp_proxy *proxy, uint64_t now_ms, const struct pollfd *set);
