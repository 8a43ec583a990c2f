#include "mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *or_die(void *p)
{
    if (p == NULL) {
        fputs("petrel-realtime: out of memory\n", stderr);
        abort();
    }
    return p;
}

void *ptl_rt_alloc(size_t bytes)
{
    return or_die(calloc(1, bytes > 0 ? bytes : 1));
}

void *ptl_rt_realloc(void *old, size_t bytes)
{
    return or_die(realloc(old, bytes > 0 ? bytes : 1));
}

char *ptl_rt_copy(const char *text, size_t len)
{
    char *copy = ptl_rt_alloc(len + 1);
    if (len > 0) {
        memcpy(copy, text, len);
    }
    return copy;
}

void ptl_rt_str_add(struct ptl_rt_str *s, const char *bytes, size_t len)
{
    if (len == 0) {
        return;
    }
    if (s->cap - s->len < len) {
        size_t cap = s->cap < 128 ? 128 : s->cap;
        while (cap - s->len < len) {
            cap *= 2;
        }
        s->data = ptl_rt_realloc(s->data, cap);
        s->cap = cap;
    }
    memcpy(s->data + s->len, bytes, len);
    s->len += len;
}

void ptl_rt_str_text(struct ptl_rt_str *s, const char *text)
{
    ptl_rt_str_add(s, text, strlen(text));
}

void ptl_rt_str_char(struct ptl_rt_str *s, char c)
{
    ptl_rt_str_add(s, &c, 1);
}

void ptl_rt_str_free(struct ptl_rt_str *s)
{
    free(s->data);
    *s = (struct ptl_rt_str){0};
}

struct ptl_rt_msg *ptl_rt_msg_new(bool binary, size_t len)
{
    struct ptl_rt_msg *m = or_die(malloc(sizeof(*m) + PTL_RT_HEADROOM + len));
    m->refs = 1;
    m->binary = binary;
    m->len = len;
    return m;
}

struct ptl_rt_msg *ptl_rt_msg_text(const struct ptl_rt_str *s)
{
    struct ptl_rt_msg *m = ptl_rt_msg_new(false, s->len);
    if (s->len > 0) {
        memcpy(ptl_rt_msg_bytes(m), s->data, s->len);
    }
    return m;
}

unsigned char *ptl_rt_msg_bytes(struct ptl_rt_msg *m)
{
    return m->space + PTL_RT_HEADROOM;
}

void ptl_rt_msg_drop(struct ptl_rt_msg *m)
{
    if (--m->refs == 0) {
        free(m);
    }
}
