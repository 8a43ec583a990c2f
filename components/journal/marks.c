// marks.c - released ranges, gaps and ends as they stand in RAM. ring.c and journal.c write them.
#include "journal_internal.h"

// The lowest unreleased number at or above `seq`; *until is where the next released range begins.
uint64_t ptl_jn_unreleased(const struct ptl_journal *j, uint64_t seq, uint64_t *until)
{
    *until = UINT64_MAX;
    if (seq < j->p.cursor) {
        seq = j->p.cursor;
    }
    for (uint32_t i = 0; i < j->p.range_count; i++) {
        if (seq < j->p.ranges[i].begin) {
            *until = j->p.ranges[i].begin;
            break;
        }
        if (seq < j->p.ranges[i].end) {
            seq = j->p.ranges[i].end;
        }
    }
    return seq;
}

static void ranges_remove(struct ptl_journal *j, uint32_t from, uint32_t to)
{
    memmove(&j->p.ranges[from], &j->p.ranges[to], (j->p.range_count - to) * sizeof(j->p.ranges[0]));
    j->p.range_count = (uint8_t)(j->p.range_count - (to - from));
}

// Adds to what is released; *count is how many numbers of it were not before.
// PTL_E_FULL  no slot for one more separate range; nothing was changed
enum ptl_status ptl_jn_release_range(struct ptl_journal *j, struct ptl_range range, uint64_t *count)
{
    struct ptl_range *ranges = j->p.ranges;
    struct ptl_range all = range;
    all.begin = all.begin > j->p.cursor ? all.begin : j->p.cursor;
    all.end = all.end < j->run.next ? all.end : j->run.next;
    *count = 0;
    if (all.begin >= all.end) {
        return PTL_OK;
    }
    uint64_t fresh = all.end - all.begin;
    uint32_t at = 0;
    while (at < j->p.range_count && ranges[at].begin <= all.end) {
        if (ranges[at].end < all.begin) {
            at++;
            continue;
        }
        // Touching: swallowed. Only what lay inside the new range was released before.
        uint64_t lo = ranges[at].begin > all.begin ? ranges[at].begin : all.begin;
        uint64_t hi = ranges[at].end < all.end ? ranges[at].end : all.end;
        fresh -= hi - lo;
        all.begin = ranges[at].begin < lo ? ranges[at].begin : all.begin;
        all.end = ranges[at].end > hi ? ranges[at].end : all.end;
        ranges_remove(j, at, at + 1u);
    }
    if (all.begin <= j->p.cursor) {
        j->p.cursor = all.end;
    } else if (j->p.range_count == PTL_RANGES_MAX) {
        return PTL_E_FULL;
    } else {
        memmove(&ranges[at + 1u], &ranges[at], (j->p.range_count - at) * sizeof(ranges[0]));
        ranges[at] = all;
        j->p.range_count++;
    }
    *count = fresh;
    j->p.release_dirty = true;
    j->p.blocked = false;
    return PTL_OK;
}

// Everything below `seq` is released.
void ptl_jn_cursor_to(struct ptl_journal *j, uint64_t seq)
{
    seq = seq < j->run.next ? seq : j->run.next;
    if (seq <= j->p.cursor) {
        return;
    }
    uint32_t passed = 0;
    for (; passed < j->p.range_count && j->p.ranges[passed].begin <= seq; passed++) {
        seq = seq > j->p.ranges[passed].end ? seq : j->p.ranges[passed].end;
    }
    ranges_remove(j, 0, passed);
    j->p.cursor = seq;
    j->p.release_dirty = true;
    j->p.blocked = false;
}

// `count` data entries at and above `seq`, all of one run, are no longer held. What damage made
// uncertain is clipped, never asserted.
void ptl_jn_unhold(struct ptl_journal *j, uint64_t seq, uint64_t count)
{
    j->held -= count < j->held ? count : j->held;
    if (seq >= j->run.first) {
        j->held_run -= count < j->held_run ? count : j->held_run;
    }
}

static bool touching(const struct ptl_gap *a, const struct ptl_gap *b)
{
    return a->epoch == b->epoch && a->reason == b->reason && a->kind == b->kind &&
           a->first <= b->last + 1u && b->first <= a->last + 1u;
}

static void gap_remove(struct ptl_journal *j, uint32_t at)
{
    j->gap_count--;
    memmove(&j->gaps[at], &j->gaps[at + 1u], (j->gap_count - at) * sizeof(j->gaps[0]));
}

bool ptl_jn_gap_fits(const struct ptl_journal *j, const struct ptl_gap *gap)
{
    bool fits = j->gap_count < PTL_GAPS_MAX;
    for (uint32_t i = 0; i < j->gap_count; i++) {
        fits = fits || touching(&j->gaps[i], gap);
    }
    return fits;
}

// Adds a gap that fits; it swallows those it touches.
void ptl_jn_gap_put(struct ptl_journal *j, struct ptl_gap gap)
{
    for (uint32_t i = 0; i < j->gap_count;) {
        if (!touching(&j->gaps[i], &gap)) {
            i++;
            continue;
        }
        gap.first = gap.first < j->gaps[i].first ? gap.first : j->gaps[i].first;
        gap.last = gap.last > j->gaps[i].last ? gap.last : j->gaps[i].last;
        gap_remove(j, i);
        i = 0;
    }
    PTL_ASSERT(j->gap_count < PTL_GAPS_MAX);
    j->gaps[j->gap_count++] = gap;
    j->p.state_dirty = true;
}

// A torn run keeps no gap from its `next` up; *named counts what those gaps named.
void ptl_jn_gaps_cut(struct ptl_journal *j, uint64_t epoch, uint64_t next, uint32_t *named)
{
    *named = 0;
    for (uint32_t i = 0; i < j->gap_count;) {
        struct ptl_gap *gap = &j->gaps[i];
        if (gap->epoch != epoch || gap->last < next) {
            i++;
            continue;
        }
        uint64_t above = gap->last - (gap->first > next ? gap->first : next) + 1u;
        *named = above < UINT32_MAX - *named ? *named + (uint32_t)above : UINT32_MAX;
        if (gap->first >= next) {
            gap_remove(j, i);
        } else {
            gap->last = next - 1u;
            i++;
        }
    }
}

void ptl_journal_gap_confirm(struct ptl_journal *j, uint64_t epoch, struct ptl_range covered)
{
    for (uint32_t i = 0; i < j->gap_count;) {
        struct ptl_gap *gap = &j->gaps[i];
        if (gap->epoch != epoch || covered.begin > gap->last || covered.end <= gap->first) {
            i++;
            continue;
        }
        bool left = covered.begin > gap->first;
        bool right = covered.end <= gap->last;
        if (left && right && j->gap_count == PTL_GAPS_MAX) {
            i++; // no slot for two halves: it is said again, whole
            continue;
        }
        j->p.state_dirty = true;
        j->p.blocked = false;
        struct ptl_gap rest = *gap;
        rest.first = covered.end;
        if (left) {
            gap->last = covered.begin - 1u;
            i++;
        } else if (right) {
            gap->first = covered.end;
            i++;
        } else {
            gap_remove(j, i);
        }
        if (left && right) {
            j->gaps[j->gap_count++] = rest; // lies outside `covered`
        }
    }
}

static void end_remove(struct ptl_journal *j, uint32_t at)
{
    j->end_count--;
    memmove(&j->ends[at], &j->ends[at + 1u], (j->end_count - at) * sizeof(j->ends[0]));
}

static bool is_journaled(const struct ptl_end *end)
{
    return end->next >> PTL_RUN_SHIFT != 0;
}

// Merges the two oldest of one kind: those of runs on media, or where there are not two, those of
// runs without media.
static void ends_merge(struct ptl_journal *j)
{
    uint32_t on_media = 0;
    for (uint32_t i = 0; i < j->end_count; i++) {
        on_media += is_journaled(&j->ends[i]) ? 1 : 0;
    }
    bool kind = on_media >= 2;
    uint32_t older = 0;
    while (is_journaled(&j->ends[older]) != kind) {
        older++;
    }
    uint32_t newer = older + 1u;
    while (is_journaled(&j->ends[newer]) != kind) {
        newer++;
    }
    PTL_ASSERT(newer < j->end_count);
    const struct ptl_end *a = &j->ends[older];
    struct ptl_end *b = &j->ends[newer];
    b->from = a->from < b->from ? a->from : b->from;
    b->at_most = a->at_most < UINT32_MAX - b->at_most ? a->at_most + b->at_most : UINT32_MAX;
    b->runs = (uint16_t)(a->runs < UINT16_MAX - b->runs ? a->runs + b->runs : UINT16_MAX);
    b->how = a->how > b->how ? a->how : b->how;
    end_remove(j, older);
}

void ptl_jn_end_put(struct ptl_journal *j, const struct ptl_end *end)
{
    if (j->end_count == PTL_ENDS_MAX) {
        ends_merge(j);
    }
    j->ends[j->end_count++] = *end;
    j->p.state_dirty = true;
}

void ptl_journal_end_confirm(struct ptl_journal *j, const struct ptl_end *end)
{
    for (uint32_t i = 0; i < j->end_count; i++) {
        const struct ptl_end *mine = &j->ends[i];
        if (mine->epoch == end->epoch && mine->from == end->from && mine->next == end->next &&
            mine->at_most == end->at_most && mine->runs == end->runs && mine->how == end->how) {
            end_remove(j, i);
            j->p.state_dirty = true;
            return;
        }
    }
}
