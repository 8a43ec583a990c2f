#define _GNU_SOURCE
#include "fp_proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BACKLOG 64

bool fp_address_parse(const char *text, struct fp_address *address)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon[1] == '\0') {
        return false;
    }
    size_t len = (size_t)(colon - text);
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    }
    if (len == 0 || len >= sizeof(host)) {
        return false;
    }
    memcpy(host, text, len);
    host[len] = '\0';
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                             .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0) {
        return false;
    }
    memcpy(&address->addr, found->ai_addr, found->ai_addrlen);
    address->len = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

void fp_address_text(const struct fp_address *address, char *text, size_t cap)
{
    char host[NI_MAXHOST];
    char port[NI_MAXSERV];
    bool v6 = address->addr.ss_family == AF_INET6;
    if (getnameinfo((const struct sockaddr *)&address->addr, address->len, host, sizeof(host), port,
                    sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        snprintf(text, cap, "?");
        return;
    }
    snprintf(text, cap, "%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "", port);
}

// A bound socket that does not listen refuses connects and keeps the port ours.
static bool bind_socket(struct fp_proxy *proxy)
{
    int one = 1;
    int fd = socket(proxy->listen.addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    proxy->listen.len = proxy->listen.addr.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                                 : sizeof(struct sockaddr_in);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
        bind(fd, (const struct sockaddr *)&proxy->listen.addr, proxy->listen.len) != 0 ||
        getsockname(fd, (struct sockaddr *)&proxy->listen.addr, &proxy->listen.len) != 0) {
        int why = errno;
        close(fd);
        errno = why;
        return false;
    }
    proxy->listen_fd = fd;
    return true;
}

static bool start_listening(struct fp_proxy *proxy)
{
    if (proxy->listening) {
        return true;
    }
    if (proxy->listen_fd < 0 && !bind_socket(proxy)) {
        return false;
    }
    proxy->listening = listen(proxy->listen_fd, BACKLOG) == 0;
    return proxy->listening;
}

static bool stop_listening(struct fp_proxy *proxy)
{
    if (!proxy->listening) {
        return true;
    }
    close(proxy->listen_fd);
    proxy->listen_fd = -1;
    proxy->listening = false;
    return bind_socket(proxy);
}

bool fp_proxy_open(struct fp_proxy *proxy, const struct fp_address *listen_at,
                   const struct fp_address *to)
{
    *proxy = (struct fp_proxy){.listen = *listen_at,
                               .to = *to,
                               .listen_fd = -1,
                               .jitter_state = (uint32_t)getpid() | 1U,
                               .poll_at = -1};
    return start_listening(proxy);
}

static void close_end(struct fp_link *link, enum fp_way end, bool reset)
{
    if (link->fd[end] < 0) {
        return;
    }
    if (reset) {
        struct linger now = {.l_onoff = 1, .l_linger = 0};
        setsockopt(link->fd[end], SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    }
    close(link->fd[end]);
    link->fd[end] = -1;
}

static void drop_link(struct fp_proxy *proxy, size_t at, bool reset)
{
    close_end(proxy->links[at], FP_UP, reset);
    close_end(proxy->links[at], FP_DOWN, reset);
    free(proxy->links[at]);
    proxy->links[at] = NULL;
}

void fp_proxy_close(struct fp_proxy *proxy)
{
    for (size_t i = 0; i < FP_LINKS_MAX; i++) {
        if (proxy->links[i] != NULL) {
            drop_link(proxy, i, true);
        }
    }
    if (proxy->listen_fd >= 0) {
        close(proxy->listen_fd);
        proxy->listen_fd = -1;
    }
}

static void take_connect(struct fp_proxy *proxy, size_t at, int client_fd)
{
    int one = 1;
    struct fp_link *link = malloc(sizeof(*link));
    int server_fd = socket(proxy->to.addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link == NULL || server_fd < 0) {
        free(link);
        close(client_fd);
        if (server_fd >= 0) {
            close(server_fd);
        }
        return;
    }
    link->fd[FP_UP] = client_fd;
    link->fd[FP_DOWN] = server_fd;
    link->connecting = true;
    link->hung = false;
    for (int way = 0; way < FP_WAYS; way++) {
        link->split_next_ms[way] = 0;
        link->poll_at[way] = -1;
        fp_pipe_init(&link->pipe[way]);
        setsockopt(link->fd[way], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    }
    proxy->links[at] = link;
    proxy->links_total++;
    if (connect(server_fd, (const struct sockaddr *)&proxy->to.addr, proxy->to.len) != 0 &&
        errno != EINPROGRESS) {
        proxy->connect_failed++;
        drop_link(proxy, at, true);
    }
}

static bool holed(const struct fp_mode *mode)
{
    return mode->hole_up || mode->hole_down;
}

static size_t free_place(const struct fp_proxy *proxy)
{
    size_t at = 0;
    while (at < FP_LINKS_MAX && proxy->links[at] != NULL) {
        at++;
    }
    return at;
}

static void reset_all(struct fp_proxy *proxy)
{
    for (size_t i = 0; i < FP_LINKS_MAX; i++) {
        if (proxy->links[i] != NULL) {
            drop_link(proxy, i, true);
        }
    }
    // Those that wait in the backlog (a blackhole takes no connects) were connected, too.
    for (int i = 0; proxy->listening && i < BACKLOG; i++) {
        struct fp_link waiting = {.fd = {accept4(proxy->listen_fd, NULL, NULL, SOCK_CLOEXEC), -1}};
        if (waiting.fd[FP_UP] < 0) {
            break;
        }
        close_end(&waiting, FP_UP, true);
    }
}

static void hang_all(struct fp_proxy *proxy, bool keep_server)
{
    for (size_t i = 0; i < FP_LINKS_MAX; i++) {
        struct fp_link *link = proxy->links[i];
        if (link != NULL && !link->hung) {
            if (link->connecting) {
                drop_link(proxy, i, true);
                continue;
            }
            close_end(link, keep_server ? FP_UP : FP_DOWN, true);
            link->hung = true;
        }
    }
}

static void write_stats(const struct fp_proxy *proxy, char *answer, size_t cap)
{
    char mode[FP_LINE_MAX];
    unsigned open = 0;
    unsigned hung = 0;
    size_t held = 0;
    for (size_t i = 0; i < FP_LINKS_MAX; i++) {
        const struct fp_link *link = proxy->links[i];
        if (link != NULL) {
            open += link->hung ? 0 : 1;
            hung += link->hung ? 1 : 0;
            held += link->pipe[FP_UP].len + link->pipe[FP_DOWN].len;
        }
    }
    fp_mode_text(&proxy->mode, mode, sizeof(mode));
    snprintf(answer, cap,
             "{\"connections\":%" PRIu64 ",\"open\":%u,\"hung\":%u,\"connect_failed\":%" PRIu64
             ",\"up_bytes\":%" PRIu64 ",\"down_bytes\":%" PRIu64
             ",\"held_bytes\":%zu,\"mode\":\"%s\"}\n",
             proxy->links_total, open, hung, proxy->connect_failed, proxy->bytes[FP_UP],
             proxy->bytes[FP_DOWN], held, mode);
}

void fp_proxy_command(struct fp_proxy *proxy, const char *line, char *answer, size_t cap)
{
    struct fp_command command;
    const char *why = fp_command_parse(line, &proxy->mode, &command);
    if (why != NULL) {
        snprintf(answer, cap, "error: %s\n", why);
        return;
    }
    if (command.type == FP_COMMAND_STATS) {
        write_stats(proxy, answer, cap);
        return;
    }
    if (command.type == FP_COMMAND_RESET) {
        reset_all(proxy);
    } else if (command.type == FP_COMMAND_HALFOPEN) {
        hang_all(proxy, command.keep_server);
    }
    if (proxy->mode.delay_ms == 0) {
        for (size_t i = 0; i < FP_LINKS_MAX; i++) {
            if (proxy->links[i] != NULL) {
                fp_pipe_hurry(&proxy->links[i]->pipe[FP_UP]);
                fp_pipe_hurry(&proxy->links[i]->pipe[FP_DOWN]);
            }
        }
    }
    if (!(proxy->mode.refuse ? stop_listening(proxy) : start_listening(proxy))) {
        snprintf(answer, cap, "error: cannot bind the port again: %s\n", strerror(errno));
        return;
    }
    snprintf(answer, cap, "ok\n");
}

// The bucket holds a tenth of a second, at least one byte.
static void refill(struct fp_proxy *proxy, uint64_t now_ms)
{
    uint64_t rate = proxy->mode.rate_bytes_per_s;
    uint64_t most = rate * 100 > 1000 ? rate * 100 : 1000;
    uint64_t passed = now_ms - proxy->credit_at_ms;
    passed = passed < 1000 ? passed : 1000;
    proxy->credit_at_ms = now_ms;
    for (int way = 0; way < FP_WAYS; way++) {
        uint64_t credit = proxy->credit_milli[way] + rate * passed;
        proxy->credit_milli[way] = credit < most ? credit : most;
    }
}

static bool way_holed(const struct fp_proxy *proxy, enum fp_way way)
{
    return way == FP_UP ? proxy->mode.hole_up : proxy->mode.hole_down;
}

static bool wants_read(const struct fp_proxy *proxy, const struct fp_link *link, enum fp_way way)
{
    if (link->fd[way] < 0 || way_holed(proxy, way)) {
        return false;
    }
    if (way == FP_DOWN && link->connecting) {
        return false;
    }
    return link->hung || (!link->pipe[way].eof && link->pipe[way].len < FP_PIPE_BYTES);
}

// How much may be written that way now; 0 with *wake_ms lowered if that is only a matter of time.
static size_t may_write(const struct fp_proxy *proxy, const struct fp_link *link, enum fp_way way,
                        uint64_t now_ms, uint64_t *wake_ms)
{
    size_t len = 0;
    uint64_t wake = FP_NEVER;
    if (link->hung || link->connecting || way_holed(proxy, way)) {
        return 0;
    }
    fp_pipe_ready(&link->pipe[way], now_ms, &len);
    if (len == 0) {
        wake = fp_pipe_due_ms(&link->pipe[way]);
    } else if (proxy->mode.split_bytes > 0) {
        len = len < proxy->mode.split_bytes ? len : proxy->mode.split_bytes;
        if (link->split_next_ms[way] > now_ms) {
            wake = link->split_next_ms[way];
            len = 0;
        }
    }
    if (len > 0 && proxy->mode.rate_bytes_per_s > 0) {
        uint64_t credit = proxy->credit_milli[way] / 1000;
        if (credit == 0) {
            wake = now_ms + 1 + 1000 / proxy->mode.rate_bytes_per_s;
        }
        len = len < credit ? len : (size_t)credit;
    }
    *wake_ms = wake < *wake_ms ? wake : *wake_ms;
    return len;
}

static bool owes_eof(const struct fp_proxy *proxy, const struct fp_link *link, enum fp_way way)
{
    const struct fp_pipe *pipe = &link->pipe[way];
    return !link->hung && !link->connecting && !way_holed(proxy, way) && pipe->eof &&
           !pipe->eof_sent && pipe->len == 0;
}

static void link_want(const struct fp_proxy *proxy, struct fp_link *link, uint64_t now_ms,
                      struct pollfd *set, size_t *count, uint64_t *wake_ms)
{
    for (int end = 0; end < FP_WAYS; end++) {
        enum fp_way into = end == FP_UP ? FP_DOWN : FP_UP; // the pipe that empties into this end
        short events = 0;
        link->poll_at[end] = -1;
        if (link->fd[end] < 0) {
            continue;
        }
        if (wants_read(proxy, link, (enum fp_way)end)) {
            events |= POLLIN;
        }
        if (may_write(proxy, link, into, now_ms, wake_ms) > 0 || owes_eof(proxy, link, into) ||
            (end == FP_DOWN && link->connecting)) {
            events |= POLLOUT;
        }
        // With no events poll would still wake for errors, again and again: leave it out.
        if (events != 0) {
            link->poll_at[end] = (int)*count;
            set[(*count)++] = (struct pollfd){.fd = link->fd[end], .events = events};
        }
    }
}

void fp_proxy_want(struct fp_proxy *proxy, uint64_t now_ms, struct pollfd *set, size_t *count,
                   uint64_t *wake_ms)
{
    refill(proxy, now_ms);
    proxy->poll_at = -1;
    if (proxy->listening && !holed(&proxy->mode) && free_place(proxy) < FP_LINKS_MAX) {
        proxy->poll_at = (int)*count;
        set[(*count)++] = (struct pollfd){.fd = proxy->listen_fd, .events = POLLIN};
    }
    for (size_t i = 0; i < FP_LINKS_MAX; i++) {
        if (proxy->links[i] != NULL) {
            link_want(proxy, proxy->links[i], now_ms, set, count, wake_ms);
        }
    }
}

static uint32_t jitter(struct fp_proxy *proxy)
{
    if (proxy->mode.jitter_ms == 0) {
        return 0;
    }
    proxy->jitter_state = proxy->jitter_state * 1664525U + 1013904223U;
    return (proxy->jitter_state >> 8) % (proxy->mode.jitter_ms + 1);
}

// false: this end failed, the link is to be reset.
static bool read_end(struct fp_proxy *proxy, struct fp_link *link, enum fp_way way, uint64_t now_ms)
{
    static uint8_t waste[4096];
    size_t room = 0;
    uint8_t *space = fp_pipe_space(&link->pipe[way], &room);
    if (link->hung) {
        space = waste;
        room = sizeof(waste);
    }
    if (room == 0) {
        return true;
    }
    ssize_t got = recv(link->fd[way], space, room, 0);
    if (got < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    if (link->hung) {
        return got > 0;
    }
    if (got == 0) {
        link->pipe[way].eof = true;
        return true;
    }
    uint64_t due = now_ms + proxy->mode.delay_ms + jitter(proxy);
    fp_pipe_filled(&link->pipe[way], (size_t)got, due);
    return true;
}

static bool write_end(struct fp_proxy *proxy, struct fp_link *link, enum fp_way way,
                      uint64_t now_ms)
{
    int fd = link->fd[way == FP_UP ? FP_DOWN : FP_UP];
    uint64_t wake = FP_NEVER;
    size_t ready = 0;
    size_t len = may_write(proxy, link, way, now_ms, &wake);
    if (len == 0) {
        if (owes_eof(proxy, link, way)) {
            link->pipe[way].eof_sent = true;
            return shutdown(fd, SHUT_WR) == 0;
        }
        return true;
    }
    const uint8_t *bytes = fp_pipe_ready(&link->pipe[way], now_ms, &ready);
    ssize_t wrote = send(fd, bytes, len, MSG_NOSIGNAL);
    if (wrote < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    fp_pipe_taken(&link->pipe[way], (size_t)wrote);
    proxy->bytes[way] += (uint64_t)wrote;
    if (proxy->mode.rate_bytes_per_s > 0) {
        proxy->credit_milli[way] -= (uint64_t)wrote * 1000;
    }
    link->split_next_ms[way] = now_ms + proxy->mode.split_gap_ms;
    return true;
}

static bool finish_connect(struct fp_proxy *proxy, struct fp_link *link)
{
    int why = 0;
    socklen_t len = sizeof(why);
    link->connecting = false;
    if (getsockopt(link->fd[FP_DOWN], SOL_SOCKET, SO_ERROR, &why, &len) == 0 && why == 0) {
        return true;
    }
    proxy->connect_failed++;
    return false;
}

// false: reset the link.
static bool link_run(struct fp_proxy *proxy, struct fp_link *link, uint64_t now_ms,
                     const struct pollfd *set)
{
    for (int end = 0; end < FP_WAYS; end++) {
        if (link->poll_at[end] < 0 || set[link->poll_at[end]].revents == 0) {
            continue;
        }
        const struct pollfd *polled = &set[link->poll_at[end]];
        if (end == FP_DOWN && link->connecting) {
            return finish_connect(proxy, link);
        }
        if ((polled->events & POLLIN) != 0 &&
            (polled->revents & (POLLIN | POLLHUP | POLLERR)) != 0 &&
            !read_end(proxy, link, (enum fp_way)end, now_ms)) {
            return false;
        }
        if ((polled->events & POLLOUT) != 0 &&
            (polled->revents & (POLLOUT | POLLHUP | POLLERR)) != 0 &&
            !write_end(proxy, link, end == FP_UP ? FP_DOWN : FP_UP, now_ms)) {
            return false;
        }
    }
    return true;
}

void fp_proxy_run(struct fp_proxy *proxy, uint64_t now_ms, const struct pollfd *set)
{
    for (size_t i = 0; i < FP_LINKS_MAX; i++) {
        struct fp_link *link = proxy->links[i];
        if (link == NULL) {
            continue;
        }
        if (!link_run(proxy, link, now_ms, set)) {
            drop_link(proxy, i, true);
        } else if (link->pipe[FP_UP].eof_sent && link->pipe[FP_DOWN].eof_sent) {
            drop_link(proxy, i, false);
        }
    }
    if (proxy->poll_at >= 0 && set[proxy->poll_at].revents != 0) {
        size_t at = free_place(proxy);
        int fd = accept4(proxy->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0 && at < FP_LINKS_MAX) {
            take_connect(proxy, at, fd);
        } else if (fd >= 0) {
            close(fd);
        }
    }
}
