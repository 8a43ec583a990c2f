// ptl_queue.h - bounded FIFO of records in RAM.
//
// Holds (seq, record bytes) in ascending order of seq in one ring of bytes; an entry never wraps.
// Speaks append, peek, release: a record stays until it is released, wherever it was sent. Entries
// released in the middle give their room back once everything before them has gone.
//
// Memory   the caller's buffer; no allocation. Threads: one owner. Cost: O(1) append; release and
//          the sent mark walk the entries of the range.
#pragma once

#include "ptl_base.h"

// Bytes that an entry takes besides the record itself (aligned to 8).
#define PTL_QUEUE_ENTRY_OVERHEAD 16

// Where a reader stands. All zero = before the oldest entry. Stays valid across append and release,
// whatever they did; one step is O(1).
struct ptl_queue_cursor {
    uint64_t seq_next; // everything below was passed
    size_t offset;     // hint
};

struct ptl_queue {
    uint8_t *buf;
    size_t cap;
    size_t head, tail; // oldest entry, next free byte
    size_t wrap;       // where the entries before a wrap end; only while there is one
    size_t used_bytes; // of entries not yet given back
    size_t reserved;   // where a reservation lies, SIZE_MAX without one
    size_t reserved_bytes;
    uint32_t count;                 // entries held (not released)
    uint64_t seq_end;               // above every seq appended since init or clear
    struct ptl_queue_cursor marked; // behind the last entry marked as sent
};

struct ptl_queue_entry {
    uint64_t seq;
    struct ptl_span record; // borrowed from the queue until it is released
    bool sent;              // was part of a batch at least once
};

// `buf` of `cap` bytes, borrowed for good; cap a multiple of 8, at least 256.
void ptl_queue_init(struct ptl_queue *q, uint8_t *buf, size_t cap);

// Room for one record of at most `len_max` bytes, written in place by the caller and then committed
// with its true length (at least 1) and its seq (above all earlier ones). Until then nothing has
// changed: a reservation that is not committed costs nothing, and ends with the next reserve,
// release or clear.
// PTL_E_FULL     no room now, release first   PTL_E_TOO_BIG  above what can ever fit
PTL_MUST_USE enum ptl_status ptl_queue_reserve(struct ptl_queue *q, size_t len_max, uint8_t **room);
void ptl_queue_commit(struct ptl_queue *q, uint64_t seq, size_t len);

// The next held entry at or after the cursor; moves the cursor past it.
// PTL_E_EMPTY   none
PTL_MUST_USE enum ptl_status ptl_queue_peek(const struct ptl_queue *q,
                                            struct ptl_queue_cursor *cursor,
                                            struct ptl_queue_entry *entry);
// A cursor that will meet `seq` (or the next one held) first. Walks from the oldest entry.
struct ptl_queue_cursor ptl_queue_seek(const struct ptl_queue *q, uint64_t seq);

// Marks entries of [range.begin, range.end) as having been in a batch.
void ptl_queue_mark_sent(struct ptl_queue *q, struct ptl_range range);
// Gives up the entries of the range that are held; returns how many they were. Idempotent.
uint32_t ptl_queue_release(struct ptl_queue *q, struct ptl_range range);
// Forgets everything, the order of seq too. Cursors must be set to zero.
void ptl_queue_clear(struct ptl_queue *q);

// Seq of the oldest held entry; PTL_E_EMPTY: none.
PTL_MUST_USE enum ptl_status ptl_queue_oldest(const struct ptl_queue *q, uint64_t *seq);
uint32_t ptl_queue_count(const struct ptl_queue *q);
// Of the entries that have not given their room back, with their overhead.
size_t ptl_queue_used_bytes(const struct ptl_queue *q);
// The most records that `cap` bytes can hold: the bound of what a crash in RAM mode can cost.
uint32_t ptl_queue_records_max(size_t cap);
