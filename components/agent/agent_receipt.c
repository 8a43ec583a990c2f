// Receipts (docs/wire.md): what whoever stores the events says is stored. Everything here comes
// from the network; a receipt that is malformed in part is dropped whole and counted.
#include "agent_internal.h"

#include <string.h>

#define EPOCHS_MAX    4u
#define RECEIPT_DEPTH 6u
#define HOW_BYTES_MAX 8u
#define REFUSED_NONE  UINT64_MAX

static bool member_u64(struct ptl_json_value object, const char *name, uint64_t *out)
{
    struct ptl_json_value value;
    return ptl_json_member(object, name, &value) && value.type == PTL_JSON_NUMBER &&
           ptl_json_u64(value, out) == PTL_OK;
}

static bool parse_epoch(struct ptl_json_value object, uint64_t *out)
{
    struct ptl_json_value value;
    if (!ptl_json_member(object, "epoch", &value) || value.type != PTL_JSON_STRING) {
        return false;
    }
    struct ptl_span hex = ptl_json_string_body(value);
    if (hex.len != 16) {
        return false;
    }
    uint64_t epoch = 0;
    for (size_t i = 0; i < hex.len; i++) {
        uint8_t c = hex.ptr[i];
        if (c >= '0' && c <= '9') {
            epoch = epoch << 4 | (uint64_t)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            epoch = epoch << 4 | (uint64_t)(c - 'a' + 10);
        } else {
            return false;
        }
    }
    *out = epoch;
    return true;
}

// One `[begin, end)` of `have`.
static bool parse_range(struct ptl_json_value value, struct ptl_range *out)
{
    if (value.type != PTL_JSON_ARRAY) {
        return false;
    }
    struct ptl_json_iter iter = ptl_json_iterate(value);
    struct ptl_json_value begin, end, more;
    return ptl_json_next(&iter, NULL, &begin) && ptl_json_next(&iter, NULL, &end) &&
           !ptl_json_next(&iter, NULL, &more) && begin.type == PTL_JSON_NUMBER &&
           end.type == PTL_JSON_NUMBER && ptl_json_u64(begin, &out->begin) == PTL_OK &&
           ptl_json_u64(end, &out->end) == PTL_OK && out->begin < out->end;
}

static bool parse_have(struct ptl_json_value entry, struct ptl_covered *covered)
{
    struct ptl_json_value have, value;
    if (!ptl_json_member(entry, "have", &have)) {
        return true;
    }
    if (have.type != PTL_JSON_ARRAY) {
        return false;
    }
    struct ptl_json_iter iter = ptl_json_iterate(have);
    uint64_t from = covered->next;
    while (ptl_json_next(&iter, NULL, &value)) {
        struct ptl_range range;
        if (covered->have_count == PTL_RANGES_MAX || !parse_range(value, &range) ||
            range.begin < from) {
            return false;
        }
        from = range.end;
        covered->have[covered->have_count++] = range;
    }
    return true;
}

// Lowest refused seq, REFUSED_NONE if there is none.
static bool parse_refused(struct ptl_json_value entry, uint64_t *lowest)
{
    struct ptl_json_value refused, value;
    *lowest = REFUSED_NONE;
    if (!ptl_json_member(entry, "refused", &refused)) {
        return true;
    }
    if (refused.type != PTL_JSON_ARRAY) {
        return false;
    }
    struct ptl_json_iter iter = ptl_json_iterate(refused);
    while (ptl_json_next(&iter, NULL, &value)) {
        uint64_t seq;
        if (value.type != PTL_JSON_NUMBER || ptl_json_u64(value, &seq) != PTL_OK) {
            return false;
        }
        *lowest = ptl_min_u64(*lowest, seq);
    }
    return true;
}

// A store that refuses an event has not stored it: nothing from there on counts as covered.
static void cut_at_refused(struct ptl_covered *covered, uint64_t refused)
{
    covered->next = ptl_min_u64(covered->next, refused);
    uint8_t kept = 0;
    for (uint8_t i = 0; i < covered->have_count; i++) {
        if (covered->have[i].end <= refused) {
            covered->have[kept++] = covered->have[i];
        }
    }
    covered->have_count = kept;
}

static bool ended_matches(struct ptl_json_value ended, const struct ptl_end *end)
{
    uint64_t next, at_most;
    struct ptl_json_value how;
    if (!member_u64(ended, "next", &next) || !member_u64(ended, "at_most", &at_most) ||
        !ptl_json_member(ended, "how", &how) || how.type != PTL_JSON_STRING) {
        return false;
    }
    const char *expected = end->how == PTL_CLOSED ? "closed" : "torn";
    return next == end->next && at_most == end->at_most &&
           ptl_json_text_equals(ptl_json_string_body(how), expected);
}

static void confirm_end(struct ptl_agent *a, struct ptl_json_value entry, uint64_t epoch)
{
    struct ptl_json_value ended;
    if (!ptl_json_member(entry, "ended", &ended) || ended.type != PTL_JSON_OBJECT) {
        return;
    }
    uint32_t count;
    const struct ptl_end *ends = ptl_agent_ends(a, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (ends[i].epoch == epoch && ended_matches(ended, &ends[i])) {
            const struct ptl_end end = ends[i];
            ptl_agent_end_confirm(a, &end);
            if (a->carrier.active && a->carrier.epoch == epoch && a->carrier.end_count > 0) {
                a->carrier.active = false;
            }
            a->receipt_misses = 0;
            return;
        }
    }
}

static void remember(struct ptl_agent *a, const struct ptl_covered *covered)
{
    for (uint32_t i = 0; i < PTL_COVERED_EPOCHS; i++) {
        if (a->covered[i].used && a->covered[i].epoch == covered->epoch) {
            if (covered->next >= a->covered[i].next) { // receipts may arrive out of order
                a->covered[i] = *covered;
            }
            return;
        }
    }
    a->covered[a->covered_next] = *covered;
    a->covered_next = (uint8_t)((a->covered_next + 1) % PTL_COVERED_EPOCHS);
}

// A receipt can only speak of what was said: what it names beyond that is counted and left out.
static void cut_at_said(struct ptl_agent *a, struct ptl_covered *covered)
{
    if (covered->epoch != a->epoch) {
        return;
    }
    uint8_t kept = 0;
    bool beyond = covered->next > a->said_end;
    covered->next = ptl_min_u64(covered->next, a->said_end);
    for (uint8_t i = 0; i < covered->have_count; i++) {
        if (covered->have[i].end <= a->said_end) {
            covered->have[kept++] = covered->have[i];
        } else {
            beyond = true;
        }
    }
    covered->have_count = kept;
    a->n.receipts_beyond += beyond;
}

static bool covers(const struct ptl_covered *c, struct ptl_range range)
{
    if (range.end <= c->next) {
        return true;
    }
    uint64_t begin = range.begin > c->next ? range.begin : c->next;
    for (uint8_t i = 0; i < c->have_count; i++) {
        if (c->have[i].begin <= begin && range.end <= c->have[i].end) {
            return true;
        }
    }
    return false;
}

bool ptl_agent_is_covered(const struct ptl_agent *a, uint64_t epoch, struct ptl_range range)
{
    for (uint32_t i = 0; i < PTL_COVERED_EPOCHS; i++) {
        if (a->covered[i].used && a->covered[i].epoch == epoch) {
            return covers(&a->covered[i], range);
        }
    }
    return false;
}

static void confirm_gaps(struct ptl_agent *a, const struct ptl_covered *covered)
{
    uint32_t before, after;
    (void)ptl_agent_gaps(a, &before);
    if (before == 0) {
        return;
    }
    ptl_agent_gap_confirm(a, covered->epoch, (struct ptl_range){0, covered->next});
    for (uint8_t i = 0; i < covered->have_count; i++) {
        ptl_agent_gap_confirm(a, covered->epoch, covered->have[i]);
    }
    (void)ptl_agent_gaps(a, &after);
    if (after < before && a->carrier.active && a->carrier.acked &&
        a->carrier.epoch == covered->epoch && a->carrier.end_count == 0) {
        a->carrier.active = false;
    }
}

static bool parse_entry(struct ptl_json_value entry, struct ptl_covered *covered)
{
    uint64_t refused;
    *covered = (struct ptl_covered){.used = true};
    if (entry.type != PTL_JSON_OBJECT || !parse_epoch(entry, &covered->epoch) ||
        !member_u64(entry, "next", &covered->next) || !parse_have(entry, covered) ||
        !parse_refused(entry, &refused)) {
        return false;
    }
    cut_at_refused(covered, refused);
    return true;
}

static bool source_is_ours(const struct ptl_agent *a, struct ptl_json_value receipt)
{
    struct ptl_json_value source;
    return ptl_json_member(receipt, "source", &source) && source.type == PTL_JSON_STRING &&
           ptl_json_text_equals(ptl_json_string_body(source), a->cfg.receipt_from);
}

// Visits the entries; `apply` false only checks them.
static bool visit(struct ptl_agent *a, struct ptl_json_value epochs, bool apply, uint64_t now_ms)
{
    struct ptl_json_iter iter = ptl_json_iterate(epochs);
    struct ptl_json_value entry;
    uint32_t count = 0;
    while (ptl_json_next(&iter, NULL, &entry)) {
        struct ptl_covered covered;
        if (++count > EPOCHS_MAX || !parse_entry(entry, &covered)) {
            return false;
        }
        if (apply) {
            cut_at_said(a, &covered);
            remember(a, &covered);
            ptl_agent_flights_covered(a, &covered, now_ms);
            confirm_gaps(a, &covered);
            confirm_end(a, entry, covered.epoch);
        }
    }
    return true;
}

void ptl_agent_receipt(struct ptl_agent *a, struct ptl_span text, uint64_t now_ms)
{
    struct ptl_json_value receipt, epochs;
    struct ptl_json_error error;
    if (a->cfg.delivery != PTL_STORED ||
        ptl_json_check(text, RECEIPT_DEPTH, &receipt, &error) != PTL_OK ||
        receipt.type != PTL_JSON_OBJECT || !source_is_ours(a, receipt)) {
        a->n.receipts_foreign++;
        return;
    }
    if (!ptl_json_member(receipt, "epochs", &epochs) || epochs.type != PTL_JSON_ARRAY ||
        !visit(a, epochs, false, now_ms)) {
        a->n.receipts_foreign++;
        return;
    }
    a->n.receipts++;
    (void)visit(a, epochs, true, now_ms);
}
