// receipts.h - which receipts are owed to one device, and the receipt message (docs/wire.md). No
// I/O.
//
// What is owed lives in memory only: after a restart, or if a receipt is lost, the device sends
// again and that makes one due again.
#pragma once

#include "ptl_base.h"
#include "ptl_bytes.h"
#include "store.h"

#define COL_DUE_MAX          64 // epochs (and ends of them) owed at one time; more wait for a resend
#define COL_RECEIPT_EPOCHS   4
#define COL_RECEIPT_TEXT_MAX 4096

struct col_due {
    uint64_t epoch;
    bool with_end; // this end is to be repeated, whatever others are recorded
    struct ptl_end end;
};

struct col_receipts {
    struct col_due due[COL_DUE_MAX];
    size_t due_count;
    bool sent_before;
    uint64_t sent_ms;
};

// Everything a stored batch speaks of is owed.
void col_receipts_note(struct col_receipts *receipts, const struct col_batch *batch);
// When the next message may go: PTL_NEVER if nothing is owed; 0 at once.
uint64_t col_receipts_at_ms(const struct col_receipts *receipts, uint32_t coalesce_ms);
// The next at most COL_RECEIPT_EPOCHS entries; they stay owed until col_receipts_sent.
size_t col_receipts_peek(const struct col_receipts *receipts, const struct col_due **due);
void col_receipts_sent(struct col_receipts *receipts, size_t count, uint64_t now_ms);

// Begins the message, adds an entry, ends it. `source` is plain text.
void col_receipt_begin(struct ptl_writer *w, const char *source);
void col_receipt_add(struct ptl_writer *w, const struct col_progress *progress, bool first);
void col_receipt_end(struct ptl_writer *w);
