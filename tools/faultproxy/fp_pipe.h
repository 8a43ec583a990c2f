// fp_pipe.h - one direction of a proxied connection: a bounded queue of bytes, each chunk with the
// time from which it may go on. No I/O, no clock.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FP_PIPE_BYTES                                                                              \
    ((size_t)256 * 1024) // held at most; then the reader waits and TCP pushes back
#define FP_PIPE_CHUNKS 256U
#define FP_NEVER       UINT64_MAX

struct fp_chunk {
    uint64_t due_ms;
    size_t len;
};

struct fp_pipe {
    uint8_t bytes[FP_PIPE_BYTES];
    size_t head, len; // bytes[head ...] wraps
    struct fp_chunk chunks[FP_PIPE_CHUNKS];
    size_t chunk_head, chunk_count;
    bool eof;      // the sender closed its side; passed on once the pipe is empty
    bool eof_sent; // and it has been passed on
};

void fp_pipe_init(struct fp_pipe *pipe);

// Room for the next read, contiguous; NULL and *len = 0 while the pipe is full.
uint8_t *fp_pipe_space(struct fp_pipe *pipe, size_t *len);
// `len` bytes were read into the room given. Order is kept: a chunk is never due before an older
// one. When the list of chunks is full the bytes join the newest chunk, which then waits as long.
void fp_pipe_filled(struct fp_pipe *pipe, size_t len, uint64_t due_ms);

// What may be written at `now_ms`, contiguous; NULL and *len = 0 if nothing may.
const uint8_t *fp_pipe_ready(const struct fp_pipe *pipe, uint64_t now_ms, size_t *len);
void fp_pipe_taken(struct fp_pipe *pipe, size_t len);

// When the oldest chunk is due, FP_NEVER if there is none.
uint64_t fp_pipe_due_ms(const struct fp_pipe *pipe);
// Everything held is due now (the delay was taken away).
void fp_pipe_hurry(struct fp_pipe *pipe);
