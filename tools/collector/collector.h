// collector.h - the collector without its socket: messages in, rows in the store, frames out.
//
// Batches wait in a bounded queue while the store cannot take them; what does not fit is dropped
// and counted (a device at `stored` sends it again). A receipt is written only from what is
// committed.
#pragma once

#include "session.h"
#include "store.h"

struct col_config {
    struct col_session_config session;
    const char *db_path;
    const char *receipt_source; // NULL: gives no receipts
    uint32_t receipt_ms;        // at most one receipt message in that time and device
    uint32_t busy_ms;           // SQLite waits that long for a lock before a try counts as failed
    uint32_t store_retry_ms;    // first wait after a failed try; doubles up to 50 times that
    uint32_t flush_ms;          // counts of refused messages go to the store that often
    uint64_t queue_bytes_max;
    uint64_t wal_bytes_max; // above it the log of SQLite is called too long
};

struct col_waiting {
    struct col_waiting *next;
    char device[PTL_DEVICE_BYTES_MAX + 1];
    size_t len;
    uint8_t bytes[];
};

#define COL_REFUSALS_MAX 64

// A kind of refused message, until its count has gone to the store.
struct col_refusal {
    char device[PTL_DEVICE_BYTES_MAX + 1];
    const char *reason; // static
    uint64_t count;     // not yet in the store
    uint64_t seen;      // since the start, for the log
};

struct col_counters {
    uint64_t batches, events, duplicates, conflicts, gap_events, unknown, ends, malformed, dropped,
        store_failures, store_refused, receipts, receipts_acked, receipts_refused, joins_refused,
        channels_lost, links_lost;
};

struct col_collector {
    struct col_config cfg;
    struct col_session session;
    struct col_store *store; // NULL: broken, to be opened again
    struct col_batch batch;
    struct col_waiting *first, *last;
    uint64_t queue_bytes, queue_count;
    uint64_t store_at_ms; // not before that
    uint32_t store_tries; // failed in a row
    uint64_t flush_at_ms;
    uint64_t wal_bytes, wal_said;
    struct col_refusal refusals[COL_REFUSALS_MAX];
    size_t refusal_count;
    struct col_counters counters;
    uint64_t said_dropped, said_conflicts, said_receipts, said_system;
    bool close_wanted;        // the link is no use any more: close it
    char cause[COL_TEXT_MAX]; // of the last loss
};

// Opens the store. false: `error` says why.
bool col_collector_init(struct col_collector *c, const struct col_config *cfg, uint64_t now_ms,
                        char error[COL_ERROR_MAX]);
void col_collector_free(struct col_collector *c);

void col_collector_link_up(struct col_collector *c, uint64_t now_ms);
void col_collector_link_down(struct col_collector *c);
// One whole message.
void col_collector_recv(struct col_collector *c, struct ptl_span message, bool binary,
                        uint64_t now_ms);
// Timers, and up to a few queued batches into the store. True: there is more to do at once.
bool col_collector_work(struct col_collector *c, uint64_t now_ms, int64_t unix_ms);
// The next frame to send. PTL_E_EMPTY: none.
PTL_MUST_USE enum ptl_status col_collector_frame(struct col_collector *c, struct ptl_span token,
                                                 struct ptl_writer *w, bool *binary,
                                                 uint64_t now_ms);
bool col_collector_frame_due(struct col_collector *c, uint64_t now_ms);
// When work or frame has something to do at the latest.
uint64_t col_collector_deadline(const struct col_collector *c);
// Writes out what is counted and closes the store.
void col_collector_finish(struct col_collector *c, uint64_t now_ms, int64_t unix_ms);
