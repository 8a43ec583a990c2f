// sink.c - the server of the bench: decrypts, unmasks, answers joins and heartbeats, acknowledges
// every broadcast, and counts. All figures of the bench are counted here, outside the clients.
//
//     petrel-bench-sink --cert FILE --key FILE
//
// Prints "port N", then answers on standard output:
//
//     r TOPIC        one JSON line about the newest connection that joined TOPIC
//     z TOPIC        forget its latencies
//     d TOPIC FILE   write its next large broadcast, unmasked, to FILE, then answer
//
// Events are counted as occurrences of "seq": in the payload of broadcasts. Where an event carries
// "t_us":N (CLOCK_MONOTONIC in us, when its line was written), now - N is its latency.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "sink.h"

#define EVENTS_PER_TURN 16

static struct sink_conn *newest; // list of all that ever were, newest first

uint64_t sink_now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000U + (uint64_t)t.tv_nsec / 1000U;
}

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "petrel-bench-sink: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

// -- Connections ---------------------------------------------------------------------------------

static void conn_close(struct sink_conn *c)
{
    if (c->fd >= 0) {
        c->wire_bytes = sink_wire_bytes(c);
        SSL_free(c->ssl);
        close(c->fd);
        free(c->buf);
        c->ssl = NULL;
        c->buf = NULL;
        c->fd = -1;
    }
}

uint64_t sink_wire_bytes(const struct sink_conn *c)
{
    return c->ssl != NULL ? BIO_number_read(SSL_get_rbio(c->ssl)) : c->wire_bytes;
}

bool sink_send(struct sink_conn *c, const void *bytes, size_t len)
{
    // Answers are small: a socket that takes none of them is that of a client that is gone.
    return SSL_write(c->ssl, bytes, (int)len) == (int)len;
}

static void conn_accept(int listener, int epoll, SSL_CTX *tls)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct sink_conn *c = calloc(1, sizeof(*c));
    if (c == NULL || (c->buf = malloc(SINK_BUF_BYTES)) == NULL || (c->ssl = SSL_new(tls)) == NULL) {
        die("out of memory");
    }
    c->fd = fd;
    SSL_set_fd(c->ssl, fd);
    SSL_set_accept_state(c->ssl);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        die("epoll_ctl");
    }
    c->next = newest;
    newest = c;
}

// Reads until the socket has no more, taking whole messages out as they come.
static void conn_ready(struct sink_conn *c)
{
    while (c->fd >= 0) {
        int got = SSL_read(c->ssl, c->buf + c->len, (int)(SINK_BUF_BYTES - c->len));
        if (got <= 0) {
            int error = SSL_get_error(c->ssl, got);
            ERR_clear_error();
            if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
                conn_close(c);
            }
            return;
        }
        c->len += (size_t)got;
        if (!sink_take(c)) {
            conn_close(c);
        }
    }
}

// -- Questions -----------------------------------------------------------------------------------

static struct sink_conn *find(const char *topic)
{
    struct sink_conn *c = newest;
    while (c != NULL && strcmp(c->topic, topic) != 0) {
        c = c->next;
    }
    return c;
}

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double percentile_ms(const struct sink_conn *c, double percent)
{
    if (c->latency_count == 0) {
        return 0;
    }
    size_t at = (size_t)((double)(c->latency_count - 1) * percent / 100.0 + 0.5);
    return c->latency_us[at] / 1000.0;
}

static void report(struct sink_conn *c)
{
    if (c->latency_count > 0) {
        qsort(c->latency_us, c->latency_count, sizeof(c->latency_us[0]), ascending);
    }
    printf("{\"joined\":true,\"open\":%s,\"acks\":%llu,\"events\":%llu,\"frame_bytes\":%llu,"
           "\"wire_bytes\":%llu,\"cipher\":\"%s\",\"latencies\":%u,\"p50\":%.3f,\"p99\":%.3f,"
           "\"max\":%.3f}\n",
           c->fd >= 0 ? "true" : "false", (unsigned long long)c->acks,
           (unsigned long long)c->events, (unsigned long long)c->frame_bytes,
           (unsigned long long)sink_wire_bytes(c),
           c->ssl != NULL ? SSL_CIPHER_get_name(SSL_get_current_cipher(c->ssl)) : "",
           c->latency_count, percentile_ms(c, 50), percentile_ms(c, 99), percentile_ms(c, 100));
}

static void question(char *line)
{
    char topic[SINK_TOPIC_MAX + 1] = "";
    char file[256] = "";
    char what = '\0';
    if (sscanf(line, "%c %128s %255s", &what, topic, file) < 2) {
        die("unknown question");
    }
    struct sink_conn *c = find(topic);
    if (c == NULL) {
        printf("{\"joined\":false}\n");
    } else if (what == 'd') {
        memcpy(c->dump, file, sizeof(c->dump)); // answered once it is written
    } else if (what == 'z') {
        c->latency_count = 0;
        report(c);
    } else {
        report(c);
    }
    fflush(stdout);
}

// False: nobody asks any more.
static bool questions(void)
{
    static char buf[1024];
    static size_t len;
    ssize_t got = read(STDIN_FILENO, buf + len, sizeof(buf) - 1 - len);
    if (got <= 0) {
        return got < 0 && errno == EINTR;
    }
    len += (size_t)got;
    buf[len] = '\0';
    for (char *feed; (feed = strchr(buf, '\n')) != NULL;) {
        *feed = '\0';
        question(buf);
        len -= (size_t)(feed + 1 - buf);
        memmove(buf, feed + 1, len + 1);
    }
    return len < sizeof(buf) - 1;
}

// -- Start ---------------------------------------------------------------------------------------

static SSL_CTX *tls_make(const char *cert, const char *key)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    if (tls == NULL || SSL_CTX_use_certificate_chain_file(tls, cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1) {
        die("certificate or key cannot be used");
    }
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(tls, 1); // several records a system call
    SSL_CTX_set_default_read_buffer_len(tls, 1 << 18);
    return tls;
}

static int listen_make(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, 16) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        die("cannot listen");
    }
    printf("port %u\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void run(int listener, SSL_CTX *tls)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event asked = {.events = EPOLLIN, .data.ptr = NULL};
    struct epoll_event called = {.events = EPOLLIN, .data.ptr = &called};
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &asked) != 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &called) != 0) {
        die("epoll");
    }
    for (;;) {
        struct epoll_event events[EVENTS_PER_TURN];
        int count = epoll_wait(epoll, events, EVENTS_PER_TURN, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL) {
                if (!questions()) {
                    return;
                }
            } else if (events[i].data.ptr == &called) {
                conn_accept(listener, epoll, tls);
            } else {
                conn_ready(events[i].data.ptr);
            }
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 5 || strcmp(argv[1], "--cert") != 0 || strcmp(argv[3], "--key") != 0) {
        fputs("usage: petrel-bench-sink --cert FILE --key FILE\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN); // clients are killed at any moment
    SSL_CTX *tls = tls_make(argv[2], argv[4]);
    run(listen_make(), tls);
    return 0;
}
