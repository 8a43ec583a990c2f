// store.h - what the collector keeps: one SQLite file (WAL, synchronous=FULL), one transaction a
// batch. The file is the whole state: progress, coverage and counters live in it, so a collector
// that was killed anywhere goes on where the last commit was.
//
//   monitoring_events     the rows; key (device, epoch, seq), id = UUIDv8 of it; first one wins
//   monitoring_gaps       disjoint ranges of events that are missing, with the verdict: the
//   device's
//                         (lost, uncertain), or `unknown`: below the floor and never seen here.
//                         A row that arrives after all is cut out of its gap.
//   monitoring_ends       how runs ended, as said; differing ends of one run (twins) are all kept
//   monitoring_runs       progress per (device, epoch)
//   monitoring_coverage   per run, the half-open ranges that are stored or lie in a gap. Its number
//                         of rows is the number of holes, so nothing of it is kept in memory.
//   monitoring_conflicts  identities that came again with other content
//   monitoring_counters   counts that a restart must not forget
#pragma once

#include "ingest.h"
#include "ptl_base.h"

#define COL_SCHEMA_VERSION 1
#define COL_ERROR_MAX      256

enum col_store_status {
    COL_STORED,
    COL_STORE_BUSY,    // nothing was changed; try again later (locked, disk full)
    COL_STORE_REFUSED, // nothing was changed; this batch can never be stored
    COL_STORE_BROKEN,  // nothing was changed; close, open again, then try again
};

struct col_store;

// What one batch changed.
struct col_store_result {
    uint64_t inserted, duplicates, conflicts;
    uint64_t gap_events;                  // newly known to be missing, by the device's word
    uint64_t gap_events_found;            // rows that arrived after their gap
    uint64_t unknown_events;              // below the floor, neither stored nor in a gap
    uint64_t unknown_first, unknown_last; // the outermost of these
    uint64_t conflict_seq;                // one of the conflicts
    bool new_run;                         // first batch of a run this store has never seen
    uint64_t ends_new;                    // ends recorded for the first time
    uint64_t ends_differing;              // ... of a run that had another one: twins
};

// Opens or creates. `path` is borrowed. NULL: *error says why, in words for the user.
struct col_store *col_store_open(const char *path, uint32_t busy_ms, char error[COL_ERROR_MAX]);
void col_store_close(struct col_store *store);

// Stores a batch, all of it or nothing. Only COL_STORED means that it is on the medium.
PTL_MUST_USE enum col_store_status col_store_batch(struct col_store *store,
                                                   const struct col_batch *batch, int64_t unix_ms,
                                                   struct col_store_result *result);

// What a receipt may say of one epoch.
struct col_progress {
    uint64_t epoch;
    uint64_t next;
    struct ptl_range have[PTL_RANGES_MAX];
    size_t have_count;
    bool ended; // `end` is the one recorded last
    struct ptl_end end;
};
// COL_STORED with *known = false: nothing is known of that epoch.
PTL_MUST_USE enum col_store_status col_store_progress(struct col_store *store, const char *device,
                                                      uint64_t epoch, struct col_progress *progress,
                                                      bool *known);

// Adds to a counter that outlives restarts.
PTL_MUST_USE enum col_store_status col_store_count(struct col_store *store, const char *device,
                                                   const char *name, uint64_t add);

// Why the last call failed.
const char *col_store_error(const struct col_store *store);
// Size of the write-ahead log; tries to shorten it if it is above `max`.
uint64_t col_store_wal_bytes(struct col_store *store, uint64_t max);
