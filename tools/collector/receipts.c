#include "receipts.h"

#include <string.h>

static bool same_end(const struct ptl_end *a, const struct ptl_end *b)
{
    return a->next == b->next && a->how == b->how && a->at_most == b->at_most;
}

// An epoch is owed once, and once more for every different end: twins wait for their own.
static void owe(struct col_receipts *receipts, uint64_t epoch, const struct ptl_end *end)
{
    for (size_t i = 0; i < receipts->due_count; i++) {
        struct col_due *due = &receipts->due[i];
        if (due->epoch != epoch) {
            continue;
        }
        if (end == NULL || (due->with_end && same_end(&due->end, end))) {
            return;
        }
        if (!due->with_end) {
            due->with_end = true;
            due->end = *end;
            return;
        }
    }
    if (receipts->due_count < COL_DUE_MAX) {
        struct col_due *due = &receipts->due[receipts->due_count++];
        *due = (struct col_due){.epoch = epoch, .with_end = end != NULL};
        if (end != NULL) {
            due->end = *end;
        }
    }
}

void col_receipts_note(struct col_receipts *receipts, const struct col_batch *batch)
{
    owe(receipts, batch->epoch, NULL);
    for (size_t i = 0; i < batch->gap_count; i++) {
        owe(receipts, batch->gaps[i].epoch, NULL);
    }
    for (size_t i = 0; i < batch->end_count; i++) {
        owe(receipts, batch->ends[i].epoch, &batch->ends[i]);
    }
}

uint64_t col_receipts_at_ms(const struct col_receipts *receipts, uint32_t coalesce_ms)
{
    if (receipts->due_count == 0) {
        return PTL_NEVER;
    }
    return receipts->sent_before ? receipts->sent_ms + coalesce_ms : 0;
}

size_t col_receipts_peek(const struct col_receipts *receipts, const struct col_due **due)
{
    *due = receipts->due;
    return receipts->due_count < COL_RECEIPT_EPOCHS ? receipts->due_count : COL_RECEIPT_EPOCHS;
}

void col_receipts_sent(struct col_receipts *receipts, size_t count, uint64_t now_ms)
{
    PTL_ASSERT(count <= receipts->due_count);
    receipts->due_count -= count;
    memmove(receipts->due, receipts->due + count, receipts->due_count * sizeof(receipts->due[0]));
    receipts->sent_before = true;
    receipts->sent_ms = now_ms;
}

void col_receipt_begin(struct ptl_writer *w, const char *source)
{
    ptl_write_text(w, "{\"source\":\"");
    ptl_write_json_escaped(w, ptl_span_of_text(source));
    ptl_write_text(w, "\",\"epochs\":[");
}

static void write_end(struct ptl_writer *w, const struct ptl_end *end)
{
    ptl_write_text(w, ",\"ended\":{\"next\":");
    ptl_write_u64(w, end->next);
    ptl_write_text(w, ",\"how\":\"");
    ptl_write_text(w, col_how_text(end->how));
    ptl_write_text(w, "\",\"at_most\":");
    ptl_write_u64(w, end->at_most);
    ptl_write_byte(w, '}');
}

void col_receipt_add(struct ptl_writer *w, const struct col_progress *progress, bool first)
{
    ptl_write_text(w, first ? "{\"epoch\":\"" : ",{\"epoch\":\"");
    ptl_write_hex64(w, progress->epoch);
    ptl_write_text(w, "\",\"next\":");
    ptl_write_u64(w, progress->next);
    ptl_write_text(w, ",\"have\":[");
    for (size_t i = 0; i < progress->have_count; i++) {
        ptl_write_text(w, i > 0 ? ",[" : "[");
        ptl_write_u64(w, progress->have[i].begin);
        ptl_write_byte(w, ',');
        ptl_write_u64(w, progress->have[i].end);
        ptl_write_byte(w, ']');
    }
    // Nothing is refused for its content yet: a conflict is covered by the row that is stored.
    ptl_write_text(w, "],\"refused\":[]");
    if (progress->ended) {
        write_end(w, &progress->end);
    }
    ptl_write_byte(w, '}');
}

void col_receipt_end(struct ptl_writer *w)
{
    ptl_write_text(w, "]}");
}
