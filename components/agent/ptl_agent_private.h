// ptl_agent_private.h - what struct ptl_agent holds. Included by ptl_agent.h so that callers can
// place an agent statically; nothing outside components/agent touches the fields.
#pragma once

#define PTL_COVERED_EPOCHS 4

enum ptl_link_state {
    PTL_LINK_DOWN,
    PTL_LINK_CONNECTING,
    PTL_LINK_UP,
    PTL_LINK_CLOSING, // PTL_WANT_CLOSE was said
};

enum ptl_drain_state {
    PTL_DRAIN_NONE,
    PTL_DRAIN_FLUSH, // send what is held
    PTL_DRAIN_SPILL, // put the rest on the medium
    PTL_DRAIN_CLOSE, // write the end of the run and sync
    PTL_DRAIN_END,   // say the end of the run to the receiver
    PTL_DRAIN_DONE,
};

// What receipts said of one epoch, kept so that records that are not in flight (spilled, or of an
// earlier run) are released when they are read instead of being sent again.
struct ptl_covered {
    uint64_t epoch;
    uint64_t next;
    struct ptl_range have[PTL_RANGES_MAX];
    uint8_t have_count;
    bool used;
};

// Gaps and ends of one epoch on their way; one message at a time carries any.
struct ptl_carrier {
    uint64_t epoch;
    struct ptl_range gaps[PTL_GAPS_MAX];
    struct ptl_end end;
    uint64_t due_ms; // of ack, then of receipt
    uint32_t ref;
    uint8_t gap_count, end_count;
    bool active;
    bool acked;
};

// Gaps and the end of a run that has no medium.
struct ptl_ram_run {
    struct ptl_gap gaps[PTL_GAPS_MAX];
    struct ptl_end end;
    uint8_t gap_count, end_count;
};

struct ptl_agent {
    struct ptl_agent_config cfg;
    struct ptl_adapter adapter;
    struct ptl_journal *journal; // NULL: no medium, or given up after it failed
    struct ptl_queue queue;
    struct ptl_batch batch;
    struct ptl_breaker breaker;
    struct ptl_prng prng;
    uint8_t *record; // room for one encoded record
    size_t record_bytes;
    struct ptl_flight *flights;
    uint32_t flight_count;
    uint64_t entered_ms; // of the last entry: time never falls
    uint64_t deadline_ms;

    // The present run.
    uint64_t epoch, first_seq, next_seq;
    enum ptl_mode mode;
    bool run_open;     // numbers may be shown
    bool run_appended; // RUN is on its way to the medium

    // After the medium failed the run ends where it stood and a new one lives in RAM only. Records
    // in the queue below `boundary` are still of the run before.
    uint64_t epoch_before, boundary;
    uint64_t floor_before;
    uint32_t queue_before; // of them, still held
    bool media_failed;

    // Live flow: the RAM queue.
    struct ptl_queue_cursor live;
    size_t live_unsent_bytes;   // of records in the queue that are in no batch yet
    uint32_t record_mean_bytes; // moving average, for what nobody counted
    bool live_critical;

    // Spilling and replay: the journal.
    bool spilling;
    bool spill_syncing; // all of RAM is appended, the sync is under way
    bool spill_more;    // the last step ended at its bound: poll again at once
    uint32_t gaps_added, gaps_in_sync,
        gaps_synced; // a gap is said only after a sync that began later
    uint64_t spill_since_ms;
    uint64_t spill_target; // next_seq when all of RAM was appended
    struct ptl_journal_cursor replay;
    bool replay_empty;         // nothing unread behind the cursor
    bool replay_stalled;       // what is next cannot be read or sent before the medium moves on
    uint64_t own_journal_low;  // no record of this run is held in the journal below it
    uint64_t journal_since_ms; // no record held in the journal is older, as far as this run knows
    uint64_t said_end;         // no message of this run spoke of seqs from here up
    uint64_t replay_since_ms;  // when the oldest unsent record of `sync` was appended
    uint64_t drops_seen;       // overflow drops that the flights have been told of
    uint64_t dropped_base[3];  // counters of the journal when this agent began
    uint64_t commit_due_ms;
    bool release_dirty;

    struct ptl_covered covered[PTL_COVERED_EPOCHS];
    uint8_t covered_next;
    uint8_t receipt_misses; // resends in a row for want of receipts
    struct ptl_carrier carrier;
    struct ptl_ram_run ram;

    // Link.
    enum ptl_link_state link;
    bool ready; // batches may go
    bool lost_pending;
    bool breaker_told; // of the loss that is pending
    enum ptl_reaction lost_reaction;
    uint32_t flight_serial;
    uint32_t events_cap; // of a batch, after one was refused for its content

    uint64_t status_due_ms;
    enum ptl_breaker_state breaker_said; // in the last petrel.status

    enum ptl_drain_state drain;
    uint64_t drain_deadline_ms;

    struct {
        uint64_t emitted, delivered, delivered_earlier, lost, uncertain, rejected;
        uint64_t messages_sent, events_sent, bytes_sent, acks, receipts, receipts_foreign;
        uint64_t receipts_beyond, dropped_earlier;
        uint64_t ack_timeouts, resent_batches, late_acks, refused, ignored, spill_misses;
        uint64_t connects, links_lost;
        uint32_t last_batch_events, last_batch_bytes;
    } n;
    char cause[128];
};
