#include "ptl_sim_link.h"

#include <stdlib.h>
#include <string.h>

#define RETRANSMIT_MS_MIN 200u   // Linux TCP_RTO_MIN
#define RETRANSMIT_MS_MAX 60000u // an agent has long given up by then

struct ptl_sim_message *ptl_sim_message_new(enum ptl_sim_message_kind kind, const void *bytes,
                                            size_t len)
{
    struct ptl_sim_message *message = malloc(sizeof(*message) + len);
    PTL_ASSERT(message != NULL);
    *message = (struct ptl_sim_message){.kind = kind, .len = len};
    if (bytes != NULL && len > 0) {
        memcpy(message->bytes, bytes, len);
    }
    return message;
}

void ptl_sim_link_open(struct ptl_sim_link *l, const struct ptl_sim_link_config *cfg,
                       struct ptl_prng *prng)
{
    *l = (struct ptl_sim_link){.cfg = *cfg, .prng = prng};
}

static void pipe_clear(struct ptl_sim_pipe *pipe)
{
    while (pipe->head != NULL) {
        struct ptl_sim_message *message = pipe->head;
        pipe->head = message->next;
        free(message);
    }
    pipe->tail = NULL;
    pipe->bytes = 0;
}

void ptl_sim_link_clear(struct ptl_sim_link *l)
{
    pipe_clear(&l->pipe[PTL_SIM_DEVICE]);
    pipe_clear(&l->pipe[PTL_SIM_SERVER]);
}

bool ptl_sim_link_writable(const struct ptl_sim_link *l, enum ptl_sim_side side)
{
    const struct ptl_sim_pipe *pipe = &l->pipe[side];
    return pipe->bytes == 0 || pipe->bytes < l->cfg.buffer_bytes;
}

static uint64_t arrival_ms(struct ptl_sim_link *l, struct ptl_sim_pipe *pipe, size_t len,
                           uint64_t now_ms)
{
    uint64_t start_us = now_ms * 1000;
    if (pipe->busy_until_us > start_us) {
        start_us = pipe->busy_until_us;
    }
    if (l->cfg.bytes_per_s > 0) {
        start_us += len * UINT64_C(1000000) / l->cfg.bytes_per_s;
    }
    pipe->busy_until_us = start_us;
    uint64_t due_ms = start_us / 1000 + l->cfg.latency_ms;
    due_ms += ptl_prng_below(l->prng, l->cfg.jitter_ms + 1);
    if (ptl_prng_below(l->prng, 1000) < l->cfg.stall_permille) {
        due_ms += RETRANSMIT_MS_MIN + ptl_prng_below(l->prng, l->cfg.stall_ms_max + 1);
    }
    return due_ms > pipe->last_due_ms ? due_ms : pipe->last_due_ms;
}

void ptl_sim_link_send(struct ptl_sim_link *l, enum ptl_sim_side side,
                       struct ptl_sim_message *message, uint64_t now_ms)
{
    struct ptl_sim_pipe *pipe = &l->pipe[side];
    message->due_ms = arrival_ms(l, pipe, message->len, now_ms);
    message->next = NULL;
    pipe->last_due_ms = message->due_ms;
    // A half-open link goes on filling the sender's buffer, as a peer that never acknowledges does.
    pipe->bytes += message->len;
    if (pipe->tail == NULL) {
        pipe->head = message;
    } else {
        pipe->tail->next = message;
    }
    pipe->tail = message;
}

uint64_t ptl_sim_link_due(const struct ptl_sim_link *l, enum ptl_sim_side side)
{
    const struct ptl_sim_pipe *pipe = &l->pipe[1 - side];
    if (l->blackhole || l->half_open || pipe->head == NULL) {
        return PTL_NEVER;
    }
    return pipe->head->due_ms;
}

struct ptl_sim_message *ptl_sim_link_take(struct ptl_sim_link *l, enum ptl_sim_side side,
                                          uint64_t now_ms)
{
    if (ptl_sim_link_due(l, side) > now_ms) {
        return NULL;
    }
    struct ptl_sim_pipe *pipe = &l->pipe[1 - side];
    struct ptl_sim_message *message = pipe->head;
    pipe->head = message->next;
    if (pipe->head == NULL) {
        pipe->tail = NULL;
    }
    pipe->bytes -= message->len;
    return message;
}

void ptl_sim_link_blackhole(struct ptl_sim_link *l, uint64_t now_ms)
{
    if (!l->blackhole) {
        l->blackhole = true;
        l->blackhole_since_ms = now_ms;
    }
}

void ptl_sim_link_heal(struct ptl_sim_link *l, uint64_t now_ms)
{
    if (!l->blackhole) {
        return;
    }
    l->blackhole = false;
    uint64_t lasted_ms = now_ms - l->blackhole_since_ms;
    if (lasted_ms > RETRANSMIT_MS_MAX) {
        lasted_ms = RETRANSMIT_MS_MAX;
    }
    for (int side = 0; side < PTL_SIM_SIDES; side++) {
        struct ptl_sim_pipe *pipe = &l->pipe[side];
        uint64_t first_ms = now_ms + ptl_prng_below(l->prng, (uint32_t)lasted_ms + 1);
        for (struct ptl_sim_message *m = pipe->head; m != NULL; m = m->next) {
            m->due_ms = m->due_ms > first_ms ? m->due_ms : first_ms;
        }
        if (pipe->tail != NULL) {
            pipe->last_due_ms = pipe->tail->due_ms;
        }
    }
}

void ptl_sim_link_reset(struct ptl_sim_link *l, uint64_t now_ms)
{
    for (int side = 0; side < PTL_SIM_SIDES; side++) {
        pipe_clear(&l->pipe[side]);
        l->pipe[side].last_due_ms = 0;
        ptl_sim_link_send(l, (enum ptl_sim_side)side, ptl_sim_message_new(PTL_SIM_RESET, NULL, 0),
                          now_ms);
    }
}

void ptl_sim_link_half_open(struct ptl_sim_link *l)
{
    l->half_open = true;
}
