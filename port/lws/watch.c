// watch.c - descriptors of the program in the loop of libwebsockets.
//
// They all hang on one epoll descriptor, which is the only one that libwebsockets knows of: its own
// adopted descriptors are closed when the other end hangs up while they are paused, with bytes
// unread. A paused watch is taken out of the epoll set, because a hang-up is reported even where
// nothing is asked for.
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lws_private.h"

#define EVENTS_PER_TURN 16

bool ptl_lws_watch_init(struct ptl_lws *l)
{
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->always_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (l->epoll_fd < 0 || l->always_fd < 0 ||
        epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->always_fd, &event) != 0) {
        return false;
    }
    // libwebsockets closes what it adopts.
    lws_sock_file_fd_type fd = {.filefd = dup(l->epoll_fd)};
    if (fd.filefd < 0) {
        return false;
    }
    l->epoll_wsi = lws_adopt_descriptor_vhost(l->vhost, LWS_ADOPT_RAW_FILE_DESC, fd,
                                              l->protocols[1].name, NULL);
    if (l->epoll_wsi == NULL) {
        return false;
    }
    return true;
}

void ptl_lws_watch_free(struct ptl_lws *l)
{
    if (l->always_fd >= 0) {
        close(l->always_fd);
    }
    if (l->epoll_fd >= 0) {
        close(l->epoll_fd);
    }
}

static void always_update(struct ptl_lws *l)
{
    bool any = false;
    for (const struct ptl_lws_watch *w = l->watches; w != NULL; w = w->next) {
        any = any || (w->always && !w->paused);
    }
    if (any != l->always_set) {
        uint64_t value = 1;
        ssize_t n = any ? write(l->always_fd, &value, sizeof(value))
                        : read(l->always_fd, &value, sizeof(value));
        PTL_ASSERT(n == (ssize_t)sizeof(value));
        l->always_set = any;
    }
}

static bool epoll_set(const struct ptl_lws_watch *w, int operation)
{
    struct epoll_event event = {.events = w->want_write ? EPOLLOUT : EPOLLIN,
                                .data.ptr = (void *)(uintptr_t)w};
    return epoll_ctl(w->owner->epoll_fd, operation, w->fd, &event) == 0;
}

bool ptl_lws_watch(struct ptl_lws *l, struct ptl_lws_watch *w, int fd, void (*ready)(void *ctx),
                   void *ctx)
{
    if (l->watch_count >= l->cfg->fds_max) {
        return false;
    }
    *w = (struct ptl_lws_watch){
        .owner = l, .fd = fd, .ready = ready, .ctx = ctx, .resume_at_ms = PTL_NEVER};
    if (!epoll_set(w, EPOLL_CTL_ADD)) {
        if (errno != EPERM) {
            w->owner = NULL;
            return false;
        }
        w->always = true;
    }
    w->next = l->watches;
    l->watches = w;
    l->watch_count++;
    always_update(l);
    return true;
}

void ptl_lws_unwatch(struct ptl_lws_watch *w)
{
    struct ptl_lws *l = w->owner;
    if (l == NULL) {
        return;
    }
    if (!w->always && !w->paused) {
        (void)epoll_set(w, EPOLL_CTL_DEL);
    }
    for (struct ptl_lws_watch **at = &l->watches; *at != NULL; at = &(*at)->next) {
        if (*at == w) {
            *at = w->next;
            break;
        }
    }
    l->watch_count--;
    w->owner = NULL;
    always_update(l);
}

void ptl_lws_pause(struct ptl_lws_watch *w, uint64_t resume_at_ms)
{
    PTL_ASSERT(w->owner != NULL);
    w->resume_at_ms = resume_at_ms;
    if (w->paused) {
        return;
    }
    w->paused = true;
    if (w->always) {
        always_update(w->owner);
    } else {
        (void)epoll_set(w, EPOLL_CTL_DEL);
    }
}

void ptl_lws_resume(struct ptl_lws_watch *w)
{
    PTL_ASSERT(w->owner != NULL);
    w->resume_at_ms = PTL_NEVER;
    if (!w->paused) {
        return;
    }
    w->paused = false;
    if (w->always) {
        always_update(w->owner);
    } else {
        (void)epoll_set(w, EPOLL_CTL_ADD);
    }
}

void ptl_lws_wait_write(struct ptl_lws_watch *w, bool want_write)
{
    PTL_ASSERT(w->owner != NULL);
    if (w->want_write != want_write) {
        w->want_write = want_write;
        if (!w->always && !w->paused) {
            (void)epoll_set(w, EPOLL_CTL_MOD);
        }
    }
}

uint64_t ptl_lws_watch_turn(struct ptl_lws *l, uint64_t now_ms)
{
    uint64_t next = PTL_NEVER;
    for (struct ptl_lws_watch *w = l->watches; w != NULL; w = w->next) {
        if (w->paused && w->resume_at_ms <= now_ms) {
            ptl_lws_resume(w);
        }
        if (w->paused && w->resume_at_ms < next) {
            next = w->resume_at_ms;
        }
    }
    return next;
}

static bool still_watched(const struct ptl_lws *l, const struct ptl_lws_watch *watch)
{
    const struct ptl_lws_watch *w = l->watches;
    while (w != NULL && w != watch) {
        w = w->next;
    }
    return w != NULL;
}

static void events_serve(struct ptl_lws *l)
{
    struct epoll_event events[EVENTS_PER_TURN];
    int count = epoll_wait(l->epoll_fd, events, EVENTS_PER_TURN, 0);
    bool always = false;
    for (int i = 0; i < count; i++) {
        struct ptl_lws_watch *w = events[i].data.ptr;
        if (w == NULL) {
            always = true;
        } else if (still_watched(l, w) && !w->paused) { // a handler before may have ended it
            w->ready(w->ctx);
        }
    }
    // A handler may end any watch: the walk begins again after each, bounded by their number.
    for (uint32_t n = 0; always && n < l->watch_count; n++) {
        uint32_t skip = n;
        struct ptl_lws_watch *w = l->watches;
        while (w != NULL && skip-- > 0) {
            w = w->next;
        }
        if (w != NULL && w->always && !w->paused) {
            w->ready(w->ctx);
        }
    }
    l->kicked = true;
}

int ptl_lws_watch_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                           size_t len)
{
    (void)user;
    (void)in;
    (void)len;
    if (reason == LWS_CALLBACK_RAW_RX_FILE) {
        events_serve(lws_context_user(lws_get_context(wsi)));
    }
    return 0;
}
