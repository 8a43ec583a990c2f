// resolve.c - names become addresses on a thread of their own: getaddrinfo may block for longer
// than any heartbeat when a name server is dead.
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lws_private.h"

static uint32_t addresses_copy(const struct addrinfo *found, struct sockaddr_storage *out)
{
    uint32_t count = 0;
    for (const struct addrinfo *at = found; at != NULL && count < PTL_LWS_ADDRESSES_MAX;
         at = at->ai_next) {
        if (at->ai_addrlen <= sizeof(out[0])) {
            memset(&out[count], 0, sizeof(out[0]));
            memcpy(&out[count], at->ai_addr, at->ai_addrlen);
            count++;
        }
    }
    // The second address is of the other family where there is one, so that a family that is
    // broken costs one attempt.
    for (uint32_t i = 2; i < count; i++) {
        if (out[1].ss_family == out[0].ss_family && out[i].ss_family != out[0].ss_family) {
            struct sockaddr_storage other = out[i];
            memmove(&out[2], &out[1], (i - 1) * sizeof(out[0]));
            out[1] = other;
        }
    }
    return count;
}

static void destroy(struct ptl_lws_resolver *r)
{
    pthread_cond_destroy(&r->wanted_changed);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static void *worker(void *arg)
{
    struct ptl_lws_resolver *r = arg;
    pthread_mutex_lock(&r->lock);
    while (!r->quit) {
        if (!r->wanted) {
            pthread_cond_wait(&r->wanted_changed, &r->lock);
            continue;
        }
        r->wanted = false;
        r->busy = true;
        pthread_mutex_unlock(&r->lock);
        const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
        struct addrinfo *found = NULL;
        int error = getaddrinfo(r->host, r->port, &hints, &found);
        pthread_mutex_lock(&r->lock);
        r->error = error;
        r->address_count = error == 0 ? addresses_copy(found, r->addresses) : 0;
        r->busy = false;
        r->done = true;
        if (error == 0) {
            freeaddrinfo(found);
        }
        if (!r->quit) {
            r->finished(r->ctx); // under the lock: what it wakes cannot go away meanwhile
        }
    }
    bool abandoned = r->abandoned;
    pthread_mutex_unlock(&r->lock);
    if (abandoned) {
        destroy(r);
    }
    return NULL;
}

struct ptl_lws_resolver *ptl_lws_resolver_new(const char *host, uint16_t port,
                                              void (*finished)(void *ctx), void *ctx)
{
    struct ptl_lws_resolver *r = calloc(1, sizeof(*r));
    if (r == NULL || strlen(host) >= sizeof(r->host)) {
        free(r);
        return NULL;
    }
    r->finished = finished;
    r->ctx = ctx;
    strcpy(r->host, host);
    snprintf(r->port, sizeof(r->port), "%u", port);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->wanted_changed, NULL);
    return r;
}

void ptl_lws_resolver_free(struct ptl_lws_resolver *r)
{
    if (r == NULL) {
        return;
    }
    if (!r->started) {
        destroy(r);
        return;
    }
    pthread_t thread = r->thread;
    pthread_mutex_lock(&r->lock);
    r->quit = true;
    // A look-up that hangs is left to itself rather than waited for: its thread frees `r`.
    bool busy = r->busy;
    r->abandoned = busy;
    pthread_cond_signal(&r->wanted_changed);
    pthread_mutex_unlock(&r->lock);
    if (busy) {
        pthread_detach(thread);
    } else {
        pthread_join(thread, NULL);
        destroy(r);
    }
}

bool ptl_lws_resolver_ask(struct ptl_lws_resolver *r)
{
    if (!r->started) {
        sigset_t all;
        sigset_t before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before); // signals belong to the loop's thread
        r->started = pthread_create(&r->thread, NULL, worker, r) == 0;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (!r->started) {
            return false;
        }
    }
    pthread_mutex_lock(&r->lock);
    r->done = false;
    if (!r->busy) {
        r->wanted = true;
        pthread_cond_signal(&r->wanted_changed);
    }
    pthread_mutex_unlock(&r->lock);
    return true;
}

bool ptl_lws_resolver_take(struct ptl_lws_resolver *r, struct sockaddr_storage *addresses,
                           uint32_t *count, int *error)
{
    if (!r->started) {
        return false;
    }
    pthread_mutex_lock(&r->lock);
    bool done = r->done;
    if (done) {
        r->done = false;
        memcpy(addresses, r->addresses, sizeof(r->addresses));
        *count = r->address_count;
        *error = r->error;
    }
    pthread_mutex_unlock(&r->lock);
    return done;
}

const char *ptl_lws_resolver_words(int error)
{
    switch (error) {
    case EAI_NONAME:
#if defined(EAI_NODATA) && EAI_NODATA != EAI_NONAME
    case EAI_NODATA:
#endif
        return "name not found";
    case EAI_AGAIN:
        return "no name server answered (is the network up, is /etc/resolv.conf right?)";
    case EAI_FAIL:
        return "the name server refused the question";
    case EAI_MEMORY:
        return "out of memory";
    default:
        return "the name could not be looked up";
    }
}
