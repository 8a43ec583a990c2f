// model.h - what a caller of the journal was told, and nothing else; and a caller that loses power.
//
// The model never looks into the journal. It keeps every number it allotted and what it knows of
// it; after each mount it compares that with what can be read, with gaps and with ends, and says
// which promise was broken.
#pragma once

#include "ptl_journal.h"
#include "ptl_sim_flash.h"

#define MODEL_RECORDS_MAX 4096
#define MODEL_RUNS_MAX    256

struct model_record {
    uint64_t epoch;
    uint64_t seq;
    bool appended; // append said yes
    bool accepted; // the application was told yes
    bool synced;   // a sync said yes after that
    bool released; // delivered, given up by the caller: nothing is promised any more
    bool gapped;   // in a gap that was confirmed
    bool found;    // by the check under way
};

struct model_run {
    uint64_t epoch;
    bool open_synced; // RUN was synced
    bool end_confirmed;
};

struct world {
    struct ptl_sim_flash sim;
    struct ptl_journal j;
    struct ptl_journal_config cfg;
    uint8_t prog_buf[512];
    uint8_t read_buf[256];

    struct model_record records[MODEL_RECORDS_MAX];
    uint32_t record_count;
    struct model_run runs[MODEL_RUNS_MAX];
    uint32_t run_count;
    uint64_t next;                     // next number of the running run
    bool dead;                         // power is gone, or the medium failed
    uint32_t ram_max;                  // bound of records in RAM
    uint32_t in_ram;                   // allotted, accepted, only in RAM
    struct ptl_gap told[PTL_GAPS_MAX]; // gaps that were synced and not confirmed
    uint32_t told_count;
    const char *broken; // the first broken promise
    char detail[160];
    uint32_t mounts;
    uint32_t record_bytes; // about this long
};

struct world_options {
    struct ptl_sim_flash_options sim;
    uint32_t record_bytes;
    uint32_t prog_buf_bytes;
};

void world_init(struct world *w, const struct world_options *options);
void world_free(struct world *w);

// Mounts and compares. `boots`: the OS boot id changed (power), or not (a process died).
void world_mount(struct world *w, bool new_boot);

// The caller's acts. Each does nothing once the world is dead or a promise is broken.
void world_open(struct world *w, enum ptl_mode mode);
void world_mode(struct world *w, enum ptl_mode mode);
void world_post(struct world *w, uint32_t count); // as the run's mode says
void world_spill(struct world *w);                // RAM into the journal
void world_deliver_ram(struct world *w, uint32_t count);
void world_sync(struct world *w);
void world_release(struct world *w, uint32_t skip, uint32_t count); // read, then release
void world_release_write(struct world *w);
void world_refuse(struct world *w, uint32_t skip); // one held record becomes a gap
void world_refuse_ram(struct world *w);            // the newest in RAM becomes one
void world_confirm_gaps(struct world *w);
void world_confirm_ends(struct world *w);
void world_close(struct world *w);
void world_check_live(struct world *w); // what can be read now is exactly what is held
