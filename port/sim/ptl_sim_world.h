// ptl_sim_world.h - one device, its medium, the network, a server and a receiver in virtual time.
//
// Discrete events: time jumps to the earliest of the agent's deadline and whatever is under way, so
// that hours cost milliseconds. Everything comes from one seed: the same seed and the same calls
// give the same run, byte for byte.
//
// The driver of the agent is the loop that ptl_agent.h documents. After every step checkers that
// know nothing of the agent's insides look at its status, at the wire and at the receiver; the
// first broken rule is kept in `failure` and the world stands still from then on.
#pragma once

#include <stdio.h>

#include "ptl_adapter.h"
#include "ptl_agent.h"
#include "ptl_session.h"
#include "ptl_sim_flash.h"
#include "ptl_sim_ledger.h"
#include "ptl_sim_link.h"
#include "ptl_sim_receiver.h"
#include "ptl_sim_server.h"

#define PTL_SIM_WAITING_MAX 64u // events that wait at the agent's door
#define PTL_SIM_PAGE_BYTES  512u

enum ptl_sim_medium { PTL_SIM_NO_MEDIUM, PTL_SIM_FILE, PTL_SIM_NOR };

struct ptl_sim_config {
    uint64_t seed;
    enum ptl_delivery delivery;
    enum ptl_durability durability;
    enum ptl_sim_medium medium;
    uint32_t block_bytes, block_count, prog_bytes;
    uint32_t media_ms_max; // how long an erase or sync may take off the loop; 0: at once
    uint32_t queue_bytes;
    uint32_t event_bytes_max;
    uint32_t flight_count;
    uint32_t connect_ms; // the driver's own timer
    uint32_t status_ms;
    struct ptl_batch_config batch;
    struct ptl_breaker_config breaker;
    struct ptl_sim_link_config link;
    struct ptl_sim_server_config server;
    struct ptl_sim_receiver_config receiver;
};
// What tests start from: a file of 64 blocks behind a worker thread, 50 ms of latency, no budget.
struct ptl_sim_config ptl_sim_config_for(enum ptl_delivery delivery, enum ptl_durability durability,
                                         uint64_t seed);

// The agent and what drives it.
struct ptl_sim_device {
    struct ptl_agent agent;
    struct ptl_session session;
    struct ptl_adapter adapter;
    struct ptl_journal journal;
    struct ptl_sim_flash flash;
    uint8_t page[PTL_SIM_PAGE_BYTES];
    uint8_t scan[1024];
    uint8_t *queue, *record, *message;
    struct ptl_flight *flights;
    char boot[PTL_BOOT_BYTES_MAX + 1];
    uint64_t boot_at_ms;     // mono_ms is 0 there
    int64_t wall_ms;         // unix_ms = this + time of the world
    uint32_t wall_err_ms;    // PTL_TIME_UNKNOWN: not known
    uint64_t dial_until_ms;  // of the connect under way, PTL_NEVER: none
    uint64_t media_at_ms;    // a pending operation is done, PTL_NEVER: none
    uint64_t drain_until_ms; // as the drain was asked for
    int32_t connection;      // index, -1: none
    bool running;
    bool blocked; // has something to send and the socket takes nothing
    uint64_t epoch;
    uint64_t seq_told;              // at sync: everything below was told to the application
    struct ptl_agent_status status; // after the last step
    // Counters of earlier runs, for reports.
    uint64_t starts;
};

struct ptl_sim_app {
    uint64_t interval_us; // between events, 0: none of its own
    uint64_t next_us;
    uint32_t data_bytes_max;
    uint32_t critical_permille;
    uint32_t id_last;
    uint32_t waiting[PTL_SIM_WAITING_MAX]; // ids
    uint32_t waiting_count;
    uint64_t accepted, refused_again;
};

struct ptl_sim_connection {
    struct ptl_sim_link link;
    bool used;
};

struct ptl_sim_world {
    struct ptl_sim_config cfg;
    struct ptl_prng prng;
    uint64_t now_ms;
    struct ptl_sim_device device;
    struct ptl_sim_app app;
    struct ptl_sim_connection connections[PTL_SIM_SESSIONS_MAX];
    bool blackhole;
    struct ptl_sim_server server;
    struct ptl_sim_receiver receiver;
    struct ptl_sim_ledger ledger;
    struct ptl_sim_batch batch; // of the wire tap
    uint64_t run_seq_last;      // highest number of any earlier run with a medium
    uint64_t steps, polls;
    uint32_t instant_steps; // since time last moved
    FILE *trace;            // NULL: none
    char failure[512];      // "" while every rule holds
};

void ptl_sim_world_init(struct ptl_sim_world *w, const struct ptl_sim_config *cfg);
void ptl_sim_world_clear(struct ptl_sim_world *w);

// Starts the agent: mounts the medium, takes a new epoch.
void ptl_sim_world_start(struct ptl_sim_world *w);
// kill -9: RAM and sockets are gone, what was handed to a file stays in the page cache. On NOR,
// which has no processes, it is a reset: a new boot.
void ptl_sim_world_kill(struct ptl_sim_world *w);
// Power cut: what the medium had not synced is subject to its twin; a new boot, sockets say
// nothing.
void ptl_sim_world_power_cut(struct ptl_sim_world *w);
// Power goes during the op-th operation of the medium from now on, in the way of `kind`; the next
// start finds what it left. With PTL_SIM_CUT_KILLED the process dies there instead.
void ptl_sim_world_cut_at(struct ptl_sim_world *w, uint32_t op, enum ptl_sim_cut kind);
// Asks the agent to drain within `ms`; it stops by itself.
void ptl_sim_world_drain(struct ptl_sim_world *w, uint32_t ms);

// Puts `count` events of up to `bytes` at the door, and has the agent take what it takes now.
void ptl_sim_world_post(struct ptl_sim_world *w, uint32_t count, uint32_t bytes);
// Events by themselves at this rate from now on; 0: none.
void ptl_sim_world_rate(struct ptl_sim_world *w, uint32_t per_1000_s, uint32_t bytes_max);

// Jumps to the next thing that happens, not beyond `until_ms`. False: it is `until_ms`.
bool ptl_sim_world_step(struct ptl_sim_world *w, uint64_t until_ms);
void ptl_sim_world_run(struct ptl_sim_world *w, uint64_t ms);
// Until the condition holds; false: it did not within `ms`.
typedef bool ptl_sim_condition(const struct ptl_sim_world *w);
bool ptl_sim_world_run_until(struct ptl_sim_world *w, ptl_sim_condition *condition, uint64_t ms);

void ptl_sim_world_blackhole(struct ptl_sim_world *w, bool on);
void ptl_sim_world_reset(struct ptl_sim_world *w);     // every connection
void ptl_sim_world_half_open(struct ptl_sim_world *w); // every connection that is up now
void ptl_sim_world_server_kill(struct ptl_sim_world *w, uint32_t down_ms);
void ptl_sim_world_receiver_kill(struct ptl_sim_world *w, uint32_t down_ms);
// The wall clock jumps; `err_ms` PTL_TIME_UNKNOWN: it is not known any more.
void ptl_sim_world_clock_jump(struct ptl_sim_world *w, int64_t by_ms, uint32_t err_ms);
// No more faults, no more events, agent running if it was not.
void ptl_sim_world_heal(struct ptl_sim_world *w);

// Conditions.
ptl_sim_condition ptl_sim_is_joined, ptl_sim_is_drained, ptl_sim_is_open, ptl_sim_is_spilled,
    ptl_sim_is_stopped, ptl_sim_is_closed;

// Longest time that a healed world may need to deliver everything.
uint64_t ptl_sim_drain_bound_ms(const struct ptl_sim_world *w);

// What every event came to; fills in `failure` if a promise is broken. To be called once healed and
// drained.
struct ptl_sim_verdict {
    uint64_t told;        // accepted, as the application was told
    uint64_t stored;      // of these at the receiver
    uint64_t in_gaps;     // of these in a gap and not stored
    uint64_t torn;        // of these within the uncertainty of a torn end
    uint64_t server_lost; // of these acknowledged by a server that lost them
    uint64_t ram_lost;    // of these lost with RAM by a run without a medium
    uint64_t duplicates;
};
struct ptl_sim_verdict ptl_sim_world_judge(struct ptl_sim_world *w);

// -- Between the files of this folder.
// -------------------------------------------------------------

void __attribute__((format(printf, 2, 3)))
ptl_sim_fail(struct ptl_sim_world *w, const char *format, ...);
void __attribute__((format(printf, 2, 3)))
ptl_sim_trace(struct ptl_sim_world *w, const char *format, ...);
struct ptl_now ptl_sim_device_now(const struct ptl_sim_world *w);
// The driver's loop; to be called after everything that reached the agent.
void ptl_sim_device_turn(struct ptl_sim_world *w);
uint64_t ptl_sim_device_due(const struct ptl_sim_world *w);
void ptl_sim_device_init(struct ptl_sim_world *w);
void ptl_sim_device_clear(struct ptl_sim_world *w);
// Its timers, its medium, its application.
void ptl_sim_device_run(struct ptl_sim_world *w);
// A message for the device's side of connection `index`.
void ptl_sim_device_recv(struct ptl_sim_world *w, int32_t index,
                         const struct ptl_sim_message *message);
int32_t ptl_sim_world_dial(struct ptl_sim_world *w);
void ptl_sim_check_sent(struct ptl_sim_world *w, const uint8_t *bytes, size_t len);
void ptl_sim_check_step(struct ptl_sim_world *w);

void ptl_sim_media_init(struct ptl_sim_world *w);
void ptl_sim_media_clear(struct ptl_sim_world *w);
void ptl_sim_media_block(struct ptl_sim_world *w, bool on); // no PTL_E_PENDING: during a mount
void ptl_sim_media_watch(struct ptl_sim_world *w);
bool ptl_sim_media_was_cut(const struct ptl_sim_world *w);
void ptl_sim_media_process_died(struct ptl_sim_world *w);
void ptl_sim_media_power_cut(struct ptl_sim_world *w);
