// ptl_sim_ledger.h - what is known of every event of a simulation, cell by cell, each fact written
// by the one who saw it: the application, the wire, the server, the receiver. Checkers read it.
#pragma once

#include "ptl_base.h"

enum ptl_sim_fact {
    PTL_SIM_POSTED = 1,    // the agent gave it this number
    PTL_SIM_TOLD = 2,      // the application was told that it is accepted
    PTL_SIM_SENT = 4,      // it left the agent in a message
    PTL_SIM_ACKED = 8,     // the server acknowledged a message with it
    PTL_SIM_STORED = 16,   // the receiver committed it
    PTL_SIM_GAP_LOST = 32, // the receiver has a gap that names it
    PTL_SIM_GAP_UNCERTAIN = 64,
    PTL_SIM_SERVER_LOST = 128, // the server acknowledged it and died or had no receiver for it
};
#define PTL_SIM_FACT_BITS 8

struct ptl_sim_cell {
    uint32_t id;        // of the application's event, 0: not the application's
    uint32_t stored_id; // what the receiver read
    uint8_t facts;
    uint8_t gap_reason;
};

// How the world ended a run.
enum ptl_sim_stop {
    PTL_SIM_RUNNING,
    PTL_SIM_CLEAN,
    PTL_SIM_GAVE_UP, // drained as far as medium and link let it
    PTL_SIM_KILL,
    PTL_SIM_POWER,
};

// One run of one agent (an epoch).
struct ptl_sim_run {
    uint64_t epoch;
    uint64_t base; // seq of cell 0
    uint32_t count, cap;
    struct ptl_sim_cell *cells;
    uint32_t counts[PTL_SIM_FACT_BITS]; // cells that have the fact, by bit
    // The world's.
    enum ptl_sim_stop stop;
    bool synced;              // at `sync`: what was told survives everything
    bool journaled;           // it had a medium when it stopped
    uint64_t seq_posted_last; // UINT64_MAX: none yet
    uint64_t first_sent[2];   // highest first sends of the two flows, UINT64_MAX: none
    uint32_t torn_missing;    // as judged
    bool first_known;         // `next` was set to its first number
    // The receiver's.
    bool seen;
    bool ended;
    bool receipt_due;
    uint64_t floor; // highest received
    uint64_t next;  // everything below is stored, in a gap or below the floor
    struct ptl_end end;
    struct ptl_end end_lost; // acknowledged by a server that lost it; runs 0: none
};

struct ptl_sim_ledger {
    struct ptl_sim_run *runs;
    uint32_t count, cap;
};

void ptl_sim_ledger_clear(struct ptl_sim_ledger *g);
// NULL: never heard of. Pointers stay valid until the next ptl_sim_ledger_run_of().
struct ptl_sim_run *ptl_sim_ledger_find(struct ptl_sim_ledger *g, uint64_t epoch);
// Finds or makes it; `seq` is any number of it.
struct ptl_sim_run *ptl_sim_ledger_run_of(struct ptl_sim_ledger *g, uint64_t epoch, uint64_t seq);
// NULL: beyond what a run may number (a million events), or below its base.
struct ptl_sim_cell *ptl_sim_run_cell(struct ptl_sim_run *run, uint64_t seq);
// The facts of a number, 0 where nothing was ever said of it.
uint8_t ptl_sim_run_facts(const struct ptl_sim_run *run, uint64_t seq);
// True if it was new.
bool ptl_sim_run_mark(struct ptl_sim_run *run, uint64_t seq, enum ptl_sim_fact fact);
uint32_t ptl_sim_run_count(const struct ptl_sim_run *run, enum ptl_sim_fact fact);
