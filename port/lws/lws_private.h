// lws_private.h - what the files of this folder share.
#pragma once

#include <libwebsockets.h>
#include <pthread.h>
#include <sys/socket.h>

#include "ptl_lws.h"

#define PTL_LWS_ADDRESSES_MAX 8
#define PTL_LWS_WORDS_BYTES   512

// resolve.c: one worker thread, started with the first name that needs it. On the heap by itself:
// a look-up that hangs keeps it beyond the loop's end, and the thread frees it then.
struct ptl_lws_resolver {
    pthread_mutex_t lock;
    pthread_cond_t wanted_changed;
    pthread_t thread;
    void (*finished)(void *ctx); // called on the worker's thread
    void *ctx;
    char host[256];
    char port[8];
    struct sockaddr_storage addresses[PTL_LWS_ADDRESSES_MAX]; // of the last answer
    uint32_t address_count;
    int error; // of getaddrinfo
    bool started, wanted, busy, done, quit;
    bool abandoned; // the thread frees it all
};
// NULL: out of memory, or the name is too long.
struct ptl_lws_resolver *ptl_lws_resolver_new(const char *host, uint16_t port,
                                              void (*finished)(void *ctx), void *ctx);
// Does not wait for a look-up that hangs; `finished` is not called any more. NULL is nothing.
void ptl_lws_resolver_free(struct ptl_lws_resolver *r);
// Asks for the addresses; false: no thread could be started. A question under way is not doubled.
bool ptl_lws_resolver_ask(struct ptl_lws_resolver *r);
// True once an answer is there; takes it. *error is 0 or a code of getaddrinfo.
bool ptl_lws_resolver_take(struct ptl_lws_resolver *r, struct sockaddr_storage *addresses,
                           uint32_t *count, int *error);
const char *ptl_lws_resolver_words(int error);

// What the certificates of the present attempt were.
struct ptl_lws_certs {
    uint32_t flags; // of mbedTLS, all certificates together
    int64_t until_unix_s;
    char names[160]; // that the server's certificate is for
    char subject[128], issuer[128];
    char unknown_issuer[128];
    char expired[128], expired_on[16];
    char future[128], future_from[16];
};

struct ptl_lws {
    const struct ptl_lws_config *cfg;
    struct ptl_agent *agent;
    struct lws_context *context;
    struct lws_vhost *vhost;
    struct lws_protocols protocols[3];
    lws_retry_bo_t retry;
    lws_sorted_usec_list_t sul;
    uint64_t armed_ms; // what the timer is armed for

    bool kicked, stop, exiting;

    // The link under way or up; NULL while there is none.
    struct lws *wsi;
    enum ptl_lws_phase phase;
    bool linking;     // between CONNECT and link_up or link_down
    bool tcp_up;      // of the present attempt
    bool address_due; // the next address is to be tried
    bool close_sent;  // the server closed, or this side has to; the reason is in `end` and `words`
    uint64_t connect_until_ms, address_until_ms;
    uint64_t upgrade_sent_ms;
    struct sockaddr_storage addresses[PTL_LWS_ADDRESSES_MAX];
    uint32_t address_count, address_at;
    struct ptl_lws_resolver *resolver;
    struct ptl_lws_peer peer;
    struct ptl_lws_certs certs, last_certs;
    void *ssl; // of the wrapper; valid while the link's socket is
    struct ptl_link_end end;
    char words[PTL_LWS_WORDS_BYTES];
    char host_header[272];
    uint32_t orphans; // sockets that are closing on their own

    uint8_t *rx, *tx; // tx has LWS_PRE bytes before the message
    size_t rx_len, tx_cap;
    bool rx_discard;

    // watch.c
    struct lws *epoll_wsi;
    int epoll_fd;
    int always_fd; // readable while a watch that cannot be waited for is not paused
    bool always_set;
    struct ptl_lws_watch *watches;
    uint32_t watch_count;

    uint64_t timer_at_ms;
    void (*timer_due)(void *ctx);
    void *timer_ctx;
};

// ptl_lws.c
// For what lws may tell from its own timers, which it serves just before it goes to sleep.
void ptl_lws_turn_soon(struct ptl_lws *l);

// link.c
int ptl_lws_link_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                          size_t len);
void ptl_lws_link_start(struct ptl_lws *l, const struct ptl_now *now);
void ptl_lws_link_timeouts(struct ptl_lws *l, const struct ptl_now *now);
void ptl_lws_link_resolved(struct ptl_lws *l);
void ptl_lws_link_close(struct ptl_lws *l);
uint64_t ptl_lws_link_deadline(const struct ptl_lws *l);

// watch.c
bool ptl_lws_watch_init(struct ptl_lws *l);
void ptl_lws_watch_free(struct ptl_lws *l);
int ptl_lws_watch_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                           size_t len);
// Resumes what is due and says when the next one is.
uint64_t ptl_lws_watch_turn(struct ptl_lws *l, uint64_t now_ms);

// tls.c
// A handshake begins on `ssl` of the wrapper: looks on while mbedTLS judges the certificates
// (patches/0009-look-on.patch).
void ptl_lws_tls_begin(struct ptl_lws *l, void *ssl);
// Fills in what `peer` says of TLS.
void ptl_lws_tls_facts(struct ptl_lws *l);
// Sentences about the certificates that were refused; false: they were not the reason.
bool ptl_lws_tls_refusal(const struct ptl_lws *l, char *out, size_t cap);
// A sentence for an error of mbedTLS in the text of libwebsockets; NULL: none.
const char *ptl_lws_tls_error(const char *raw);

// words.c: a sentence for the user about why a link could not be made.
void ptl_lws_words(const struct ptl_lws *l, struct lws *wsi, const char *raw, char *out,
                   size_t cap);
void ptl_lws_address_text(const struct sockaddr_storage *address, char *out, size_t cap);
bool ptl_lws_is_loopback(const struct sockaddr_storage *address);
// IMF-fixdate of a Date header; false: not one.
bool ptl_lws_date_parse(const char *text, int64_t *unix_ms);
