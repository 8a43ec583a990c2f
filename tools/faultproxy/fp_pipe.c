#include "fp_pipe.h"

#include <assert.h>

void fp_pipe_init(struct fp_pipe *pipe)
{
    pipe->head = 0;
    pipe->len = 0;
    pipe->chunk_head = 0;
    pipe->chunk_count = 0;
    pipe->eof = false;
    pipe->eof_sent = false;
}

uint8_t *fp_pipe_space(struct fp_pipe *pipe, size_t *len)
{
    size_t tail = (pipe->head + pipe->len) % FP_PIPE_BYTES;
    if (pipe->len == FP_PIPE_BYTES) {
        *len = 0;
        return NULL;
    }
    *len = tail >= pipe->head ? FP_PIPE_BYTES - tail : pipe->head - tail;
    return &pipe->bytes[tail];
}

static struct fp_chunk *newest(struct fp_pipe *pipe)
{
    return &pipe->chunks[(pipe->chunk_head + pipe->chunk_count - 1) % FP_PIPE_CHUNKS];
}

void fp_pipe_filled(struct fp_pipe *pipe, size_t len, uint64_t due_ms)
{
    assert(pipe->len + len <= FP_PIPE_BYTES);
    if (len == 0) {
        return;
    }
    pipe->len += len;
    if (pipe->chunk_count > 0) {
        struct fp_chunk *last = newest(pipe);
        if (due_ms < last->due_ms) {
            due_ms = last->due_ms;
        }
        if (due_ms == last->due_ms || pipe->chunk_count == FP_PIPE_CHUNKS) {
            last->due_ms = due_ms;
            last->len += len;
            return;
        }
    }
    pipe->chunk_count++;
    *newest(pipe) = (struct fp_chunk){.due_ms = due_ms, .len = len};
}

const uint8_t *fp_pipe_ready(const struct fp_pipe *pipe, uint64_t now_ms, size_t *len)
{
    size_t due = 0;
    for (size_t i = 0; i < pipe->chunk_count; i++) {
        const struct fp_chunk *chunk = &pipe->chunks[(pipe->chunk_head + i) % FP_PIPE_CHUNKS];
        if (chunk->due_ms > now_ms) {
            break;
        }
        due += chunk->len;
    }
    size_t to_wrap = FP_PIPE_BYTES - pipe->head;
    *len = due < to_wrap ? due : to_wrap;
    return *len > 0 ? &pipe->bytes[pipe->head] : NULL;
}

void fp_pipe_taken(struct fp_pipe *pipe, size_t len)
{
    assert(len <= pipe->len);
    pipe->head = (pipe->head + len) % FP_PIPE_BYTES;
    pipe->len -= len;
    while (len > 0) {
        struct fp_chunk *first = &pipe->chunks[pipe->chunk_head];
        if (first->len > len) {
            first->len -= len;
            return;
        }
        len -= first->len;
        pipe->chunk_head = (pipe->chunk_head + 1) % FP_PIPE_CHUNKS;
        pipe->chunk_count--;
    }
}

uint64_t fp_pipe_due_ms(const struct fp_pipe *pipe)
{
    return pipe->chunk_count > 0 ? pipe->chunks[pipe->chunk_head].due_ms : FP_NEVER;
}

void fp_pipe_hurry(struct fp_pipe *pipe)
{
    for (size_t i = 0; i < pipe->chunk_count; i++) {
        pipe->chunks[(pipe->chunk_head + i) % FP_PIPE_CHUNKS].due_ms = 0;
    }
}
