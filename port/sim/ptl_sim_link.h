// ptl_sim_link.h - one simulated connection in virtual time: whole WebSocket messages, in order, as
// TLS over TCP delivers them.
//
// What a network does to TCP shows up here as time and as ends: latency, jitter, bandwidth, lost
// segments (a stall of everything behind them), blackhole (nothing arrives while it lasts; after it
// the retransmissions do), reset, half-open (the other end has vanished and nobody says so).
//
// Hosted code: messages live on the heap. Passive: the owner asks for due times and takes messages.
#pragma once

#include "ptl_base.h"
#include "ptl_bytes.h"

enum ptl_sim_side { PTL_SIM_DEVICE, PTL_SIM_SERVER, PTL_SIM_SIDES };

enum ptl_sim_message_kind {
    PTL_SIM_DIAL,   // device to server: connect, TLS and upgrade as one
    PTL_SIM_ACCEPT, // server to device: upgraded
    PTL_SIM_REFUSE, // server to device: `code` is the HTTP status, 0 = connection refused
    PTL_SIM_DATA,
    PTL_SIM_CLOSE, // `code` is the close code, 1006 = closed without a close frame
    PTL_SIM_RESET,
};

struct ptl_sim_message {
    struct ptl_sim_message *next;
    uint64_t due_ms;
    enum ptl_sim_message_kind kind;
    uint32_t code;
    bool binary;
    size_t len;
    uint8_t bytes[];
};

// A message on the heap with a copy of `bytes`; free() it. `bytes` may be NULL: filled in later.
struct ptl_sim_message *ptl_sim_message_new(enum ptl_sim_message_kind kind, const void *bytes,
                                            size_t len);

struct ptl_sim_link_config {
    uint32_t latency_ms;     // one way
    uint32_t jitter_ms;      // added, uniform, order kept
    uint32_t bytes_per_s;    // 0: no limit
    uint32_t buffer_bytes;   // what the sender may have under way before it has to wait
    uint32_t stall_permille; // messages that wait for a retransmission
    uint32_t stall_ms_max;
};

struct ptl_sim_pipe { // what one side sent
    struct ptl_sim_message *head, *tail;
    uint64_t busy_until_us; // the wire is free again
    uint64_t last_due_ms;
    size_t bytes;
};

struct ptl_sim_link {
    struct ptl_sim_link_config cfg;
    struct ptl_prng *prng; // borrowed
    struct ptl_sim_pipe pipe[PTL_SIM_SIDES];
    uint64_t blackhole_since_ms;
    bool blackhole;
    bool half_open;
};

void ptl_sim_link_open(struct ptl_sim_link *l, const struct ptl_sim_link_config *cfg,
                       struct ptl_prng *prng);
// Frees what is under way.
void ptl_sim_link_clear(struct ptl_sim_link *l);

// Whether `side` could write now.
bool ptl_sim_link_writable(const struct ptl_sim_link *l, enum ptl_sim_side side);
// Takes ownership of `message`, which is from ptl_sim_message_new().
void ptl_sim_link_send(struct ptl_sim_link *l, enum ptl_sim_side side,
                       struct ptl_sim_message *message, uint64_t now_ms);
// When `side` receives its next message, or PTL_NEVER.
uint64_t ptl_sim_link_due(const struct ptl_sim_link *l, enum ptl_sim_side side);
// The message that reaches `side` at `now_ms`; NULL if none is due. The caller frees it.
struct ptl_sim_message *ptl_sim_link_take(struct ptl_sim_link *l, enum ptl_sim_side side,
                                          uint64_t now_ms);

// Nothing arrives until ptl_sim_link_heal(); then TCP's retransmissions, later by up to the time
// the blackhole lasted, since the timer doubles (RFC 6298).
void ptl_sim_link_blackhole(struct ptl_sim_link *l, uint64_t now_ms);
void ptl_sim_link_heal(struct ptl_sim_link *l, uint64_t now_ms);
// What is under way is lost, both sides are told after the latency.
void ptl_sim_link_reset(struct ptl_sim_link *l, uint64_t now_ms);
// What is under way and whatever is sent later is lost, nobody is told.
void ptl_sim_link_half_open(struct ptl_sim_link *l);
