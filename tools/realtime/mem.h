// mem.h - memory for the local server: growing text and reference-counted outgoing messages.
//
// Every caller bounds what it asks for (frame size, backlog), so running out of memory is a broken
// machine, not an input: these functions end the process rather than return NULL.
#pragma once

#include <stdbool.h>
#include <stddef.h>

void *ptl_rt_alloc(size_t bytes); // zeroed
void *ptl_rt_realloc(void *old, size_t bytes);
char *ptl_rt_copy(const char *text, size_t len); // copy with a NUL behind it

// Text that grows. Start from {0}; ptl_rt_str_free() ends it. `data` is NULL while empty.
struct ptl_rt_str {
    char *data;
    size_t len;
    size_t cap;
};

void ptl_rt_str_add(struct ptl_rt_str *s, const char *bytes, size_t len);
void ptl_rt_str_text(struct ptl_rt_str *s, const char *text);
void ptl_rt_str_char(struct ptl_rt_str *s, char c);
void ptl_rt_str_free(struct ptl_rt_str *s);

// Room that the transport may overwrite in front of the bytes (WebSocket header).
#define PTL_RT_HEADROOM 64u

// One outgoing message, shared by all its receivers. Server frames are not masked, so the bytes
// never change once built.
struct ptl_rt_msg {
    unsigned refs;
    bool binary;
    size_t len;
    unsigned char space[]; // PTL_RT_HEADROOM bytes, then len bytes of message
};

struct ptl_rt_msg *ptl_rt_msg_new(bool binary, size_t len); // one reference, content unset
struct ptl_rt_msg *ptl_rt_msg_text(const struct ptl_rt_str *s);
unsigned char *ptl_rt_msg_bytes(struct ptl_rt_msg *m);
void ptl_rt_msg_drop(struct ptl_rt_msg *m);
