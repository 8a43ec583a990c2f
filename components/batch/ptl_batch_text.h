// ptl_batch_text.h - writes the batch message of docs/wire.md around records, one copy each.
//
//   begin -> event ... event -> finish(gaps, ends)
//
// The payload is appended to a writer that may hold a frame header already. `bytes_max` counts the
// payload alone. Room for gaps and ends is kept from the start (at most a quarter of bytes_max) so
// that full batches cannot shut them out; the first event may use it, then what does not fit waits
// for the next batch.
//
// Threads: one owner; the writer belongs to the batch from begin to finish.
#pragma once

#include "ptl_base.h"
#include "ptl_bytes.h"

// Upper bounds: everything but events, gaps and ends; one gap; one end (merged ones too).
#define PTL_BATCH_ENVELOPE_BYTES 288u
#define PTL_BATCH_GAP_BYTES      144u
#define PTL_BATCH_END_BYTES      176u
// The smallest bytes_max that takes any record of `record_bytes`, alone
// (PTL_RECORD_WIRE_OVERHEAD of ptl_record.h).
#define PTL_BATCH_BYTES_MIN(record_bytes) (PTL_BATCH_ENVELOPE_BYTES + 160u + (record_bytes))

struct ptl_batch_head {
    struct ptl_span device; // of [A-Za-z0-9._-]
    struct ptl_span boot;   // of [0-9a-f-], may be empty
    uint64_t epoch;
    uint64_t floor;
    struct ptl_now now; // sent_ms; null where unix_err_ms is PTL_TIME_UNKNOWN
};

struct ptl_batch_text {
    struct ptl_writer *w;
    size_t start;   // of the payload in the writer
    size_t limit;   // where the payload must end, as an offset in the writer
    size_t reserve; // kept for gaps and ends
    uint32_t events;
};

// Starts a batch. `gap_count` and `end_count` are what finish will be given.
// PTL_E_TOO_BIG: not even an empty batch fits into the writer and bytes_max; the writer is as
// before.
PTL_MUST_USE enum ptl_status ptl_batch_text_begin(struct ptl_batch_text *t, struct ptl_writer *w,
                                                  size_t bytes_max,
                                                  const struct ptl_batch_head *head,
                                                  uint32_t gap_count, uint32_t end_count);

// Appends one encoded record. The caller keeps `seq` ascending and of one epoch and boot.
// PTL_E_FULL     does not fit any more: finish this batch, it belongs to the next one. If it is the
//                first (t->events is 0) it can never fit: bytes_max breaks PTL_BATCH_BYTES_MIN.
// PTL_E_FORMAT   not a record (damaged medium): a gap.
// After both the writer is as before.
PTL_MUST_USE enum ptl_status ptl_batch_text_event(struct ptl_batch_text *t, uint64_t seq,
                                                  struct ptl_span record);

// Whether a record of `record_bytes` is certain to fit now.
bool ptl_batch_text_fits(const struct ptl_batch_text *t, size_t record_bytes);

// Ends the batch and says how many of the gaps and ends went into it (from the front; the rest
// waits for the next batch). Never fails.
void ptl_batch_text_finish(struct ptl_batch_text *t, const struct ptl_gap *gaps, uint32_t gap_count,
                           const struct ptl_end *ends, uint32_t end_count, uint32_t *gaps_written,
                           uint32_t *ends_written);
