// ptl_sim_server.h - a model of Supabase Realtime as a device meets it: joins, acknowledgements,
// heartbeats, presence, the two channels and their rights, and what it does when it fails. Facts
// are from realtime-protocol and realtime-observed (supabase/realtime 2.129.8).
//
// Passive: the owner hands in what arrives and asks for the next due time. A rule of the protocol
// that the device breaks is kept as `violation`, the first one, in words.
#pragma once

#include "ptl_base.h"
#include "ptl_bytes.h"
#include "ptl_sim_ledger.h"
#include "ptl_sim_link.h"
#include "ptl_sim_wire.h"

#define PTL_SIM_SESSIONS_MAX 8
#define PTL_SIM_TOPIC_MAX    128

struct ptl_sim_server_config {
    uint32_t join_ms;      // one join takes this long, and blocks its socket
    uint32_t reply_ms;     // an acknowledgement
    uint32_t forward_ms;   // from acknowledgement to the receivers
    uint32_t refuse_ms;    // 5,000: a refused join, and blocks its socket
    uint32_t handshake_ms; // 2,000: a refused upgrade
    uint32_t idle_ms;      // 66,000 without bytes of the client: close 1000
};

// Switched by the owner at any time.
struct ptl_sim_server_faults {
    uint32_t http_status;    // upgrades are refused with it; 0: none are
    const char *join_reason; // joins are refused with it; NULL: none are
    bool mute;               // takes batches and forwards them, acknowledges none
    bool deny;               // takes no batch and says nothing (no right, database down)
    bool deaf;               // heartbeats are not answered
    bool starve;             // acknowledges, delivers to nobody (receivers are rate limited)
    bool kill_after_ack;     // dies behind the next acknowledgement, before it forwards the batch
    uint32_t kill_down_ms;   // and stays away so long
    uint32_t ack_drop_permille;
    uint32_t ack_delay_ms_max;
    uint32_t junk_permille; // strange frames before a reply
};

struct ptl_sim_channel {
    bool joined;
    char topic[PTL_SIM_TOPIC_MAX];
    char join_ref[16];
};

struct ptl_sim_session {
    bool open;
    struct ptl_sim_link *link;
    struct ptl_sim_channel up, down;
    uint64_t busy_until_ms;
    uint64_t idle_at_ms;
    uint64_t ref_last;
    uint32_t presence_calls;
    struct ptl_sim_message *out_head, *out_tail;
};

struct ptl_sim_server {
    struct ptl_sim_server_config cfg;
    struct ptl_sim_server_faults faults;
    struct ptl_prng *prng;         // borrowed
    struct ptl_sim_ledger *ledger; // borrowed
    struct ptl_sim_session sessions[PTL_SIM_SESSIONS_MAX];
    struct ptl_sim_message *forward_head, *forward_tail; // topic, NUL, payload
    uint64_t up_at_ms;                                   // refuses connections before
    uint64_t kill_at_ms;                                 // PTL_NEVER
    struct ptl_sim_batch batch;
    char violation[256]; // "" if none
    uint64_t joins, refusals, batches, acks, kills;
};

void ptl_sim_server_init(struct ptl_sim_server *s, const struct ptl_sim_server_config *cfg,
                         struct ptl_prng *prng, struct ptl_sim_ledger *ledger);
void ptl_sim_server_clear(struct ptl_sim_server *s);

// A message (of any kind) that arrived on `link`, which is the one of session `index` for good.
void ptl_sim_server_recv(struct ptl_sim_server *s, uint32_t index, struct ptl_sim_link *link,
                         const struct ptl_sim_message *message, uint64_t now_ms);
// Sends what is due, closes what is idle, dies if it was told to.
uint64_t ptl_sim_server_due(const struct ptl_sim_server *s);
void ptl_sim_server_run(struct ptl_sim_server *s, uint64_t now_ms);
// A batch that leaves for the receivers now: topic, NUL, payload; NULL if none. The caller frees
// it.
struct ptl_sim_message *ptl_sim_server_take(struct ptl_sim_server *s, uint64_t now_ms);
// Nobody was there to take it: at `accepted` its events are lost.
void ptl_sim_server_undelivered(struct ptl_sim_server *s, const struct ptl_sim_message *message);

// A broadcast of the service on `topic` (with prefix).
void ptl_sim_server_broadcast(struct ptl_sim_server *s, const char *topic, const char *event,
                              const char *payload, uint64_t now_ms);

// kill -9: every connection ends without a close frame, what was not forwarded is gone.
void ptl_sim_server_kill(struct ptl_sim_server *s, uint32_t down_ms, uint64_t now_ms);
// Closes every socket with this code.
void ptl_sim_server_close(struct ptl_sim_server *s, uint32_t code, uint64_t now_ms);
// Closes the uplink (or downlink) channel of every session: a `system` error with these words if
// not NULL, then phx_close, or phx_error if `crashed`.
void ptl_sim_server_channel_close(struct ptl_sim_server *s, bool uplink, const char *words,
                                  bool crashed, uint64_t now_ms);
