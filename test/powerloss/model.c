// model.c - see model.h.
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void ptl_assert_fail(const char *file, int line)
{
    fprintf(stderr, "assert failed: %s:%d\n", file, line);
    abort();
}

static void broken(struct world *w, const char *promise, uint64_t epoch, uint64_t seq)
{
    if (w->broken == NULL) {
        w->broken = promise;
        snprintf(w->detail, sizeof(w->detail), "epoch %llu, run %llu n %llu, mount %u",
                 (unsigned long long)epoch, (unsigned long long)(seq >> PTL_RUN_SHIFT),
                 (unsigned long long)(seq & ((1u << PTL_RUN_SHIFT) - 1u)), w->mounts);
    }
}

static bool stopped(const struct world *w)
{
    return w->dead || w->broken != NULL;
}

// Bytes of a record follow from its identity.
static uint32_t record_fill(const struct world *w, uint64_t epoch, uint64_t seq, uint8_t *bytes)
{
    struct ptl_prng prng;
    ptl_prng_seed(&prng, epoch * 1000003u + seq);
    uint32_t len = 1u + w->record_bytes / 2u + ptl_prng_below(&prng, w->record_bytes);
    for (uint32_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)ptl_prng_below(&prng, 4) == 0 ? 0xFF : (uint8_t)ptl_prng_next(&prng);
    }
    return len;
}

void world_init(struct world *w, const struct world_options *options)
{
    memset(w, 0, sizeof(*w));
    ptl_sim_flash_init(&w->sim, &options->sim);
    w->record_bytes = options->record_bytes;
    w->ram_max = 12;
    w->cfg = (struct ptl_journal_config){.flash = &w->sim.flash,
                                         .prog_buf = w->prog_buf,
                                         .prog_buf_bytes = options->prog_buf_bytes,
                                         .read_buf = w->read_buf,
                                         .read_buf_bytes = sizeof(w->read_buf),
                                         .write_through = options->sim.file,
                                         .page_cache = options->sim.file,
                                         .boot = "b0"};
}

void world_free(struct world *w)
{
    ptl_sim_flash_free(&w->sim);
}

static struct model_record *find(struct world *w, uint64_t epoch, uint64_t seq)
{
    for (uint32_t i = 0; i < w->record_count; i++) {
        if (w->records[i].epoch == epoch && w->records[i].seq == seq) {
            return &w->records[i];
        }
    }
    return NULL;
}

static bool is_inside(const struct ptl_gap *gap, uint64_t epoch, uint64_t seq)
{
    return gap->epoch == epoch && seq >= gap->first && seq <= gap->last;
}

static bool is_in_gaps(const struct world *w, uint64_t epoch, uint64_t seq)
{
    uint32_t hits = 0;
    for (uint32_t i = 0; i < w->j.gap_count; i++) {
        hits += is_inside(&w->j.gaps[i], epoch, seq) ? 1 : 0;
    }
    return hits > 0;
}

struct damage {
    struct ptl_gap gaps[PTL_GAPS_MAX];
    uint32_t held[PTL_GAPS_MAX];
    uint32_t count;
};

// Reads everything; marks what was found.
static uint64_t drain(struct world *w, struct damage *damage)
{
    uint8_t buf[4096];
    uint8_t expected[4096];
    struct ptl_journal_cursor cursor = {0};
    struct ptl_journal_entry entry;
    uint64_t last = 0;
    uint64_t count = 0;
    for (uint32_t i = 0; i < w->record_count; i++) {
        w->records[i].found = false;
    }
    for (;;) {
        enum ptl_status status = ptl_journal_read(&w->j, &cursor, buf, sizeof(buf), &entry);
        if (status == PTL_E_EMPTY) {
            return count;
        }
        if (status == PTL_E_FORMAT && damage != NULL) {
            // A cache or a page programmed out of order may keep k + 1 and lose k: then k, which
            // was not synced, is damage to be declared.
            struct model_record *r = find(w, entry.epoch, entry.damaged.begin);
            if (r == NULL || r->synced) {
                broken(w, "damage to what was synced", entry.epoch, entry.damaged.begin);
            }
            if (damage->count < PTL_GAPS_MAX) {
                damage->held[damage->count] = entry.damaged_count;
                damage->gaps[damage->count++] = (struct ptl_gap){.epoch = entry.epoch,
                                                                 .first = entry.damaged.begin,
                                                                 .last = entry.damaged.end - 1u,
                                                                 .reason = PTL_GAP_DAMAGED,
                                                                 .kind = PTL_UNCERTAIN};
            }
            continue;
        }
        if (status != PTL_OK) {
            broken(w, "read fails", entry.epoch, (uint64_t)-status);
            return count;
        }
        count++;
        struct model_record *r = find(w, entry.epoch, entry.seq);
        if (r == NULL) {
            broken(w, "a record was invented", entry.epoch, entry.seq);
            return count;
        }
        uint32_t len = record_fill(w, entry.epoch, entry.seq, expected);
        if (entry.record.len != len || memcmp(buf, expected, len) != 0) {
            broken(w, "a record has other bytes", entry.epoch, entry.seq);
        }
        if (r->found || (count > 1 && entry.seq <= last)) {
            broken(w, "out of order", entry.epoch, entry.seq);
        }
        if (is_in_gaps(w, entry.epoch, entry.seq)) {
            broken(w, "readable and in a gap", entry.epoch, entry.seq);
        }
        r->found = true;
        last = entry.seq;
    }
}

static const struct ptl_end *end_of(const struct world *w, uint64_t epoch)
{
    const struct ptl_end *found = NULL;
    for (uint32_t i = 0; i < w->j.end_count; i++) {
        if (w->j.ends[i].epoch == epoch) {
            found = found == NULL ? &w->j.ends[i] : NULL;
        }
    }
    return found;
}

// Nothing that was promised went silently, nothing is said twice.
static void check_records(struct world *w)
{
    uint32_t missing = 0;
    uint64_t of = 0;
    const struct ptl_end *end = NULL;
    for (uint32_t i = 0; i < w->record_count; i++) {
        struct model_record *r = &w->records[i];
        if (r->epoch != of) {
            of = r->epoch;
            end = end_of(w, of);
            missing = 0;
        }
        if (r->found || r->released || r->gapped || is_in_gaps(w, r->epoch, r->seq)) {
            continue;
        }
        if (r->synced) {
            broken(w, "a synced record is gone and in no gap", r->epoch, r->seq);
        }
        if (!r->accepted) {
            continue;
        }
        if (end == NULL) {
            broken(w, "an accepted record is gone, its run has no end", r->epoch, r->seq);
        } else if (end->how == PTL_CLOSED) {
            broken(w, "an accepted record is gone, its run says closed", r->epoch, r->seq);
        } else if (r->seq < end->next) {
            broken(w, "an accepted record below the torn end is gone", r->epoch, r->seq);
        } else if (++missing > end->at_most) {
            broken(w, "more are gone than at_most says", r->epoch, r->seq);
        }
    }
}

static void check_gaps(struct world *w)
{
    for (uint32_t g = 0; g < w->j.gap_count; g++) {
        const struct ptl_gap *gap = &w->j.gaps[g];
        for (uint64_t seq = gap->first; seq <= gap->last; seq++) {
            const struct model_record *r = find(w, gap->epoch, seq);
            if (r == NULL) {
                broken(w, "a gap names what never was", gap->epoch, seq);
                return;
            }
        }
        for (uint32_t i = 0; i < g; i++) {
            const struct ptl_gap *other = &w->j.gaps[i];
            if (is_inside(other, gap->epoch, gap->first) ||
                is_inside(gap, other->epoch, other->first)) {
                broken(w, "two gaps for one number", gap->epoch, gap->first);
            }
        }
    }
    for (uint32_t i = 0; i < w->told_count; i++) {
        const struct ptl_gap *gap = &w->told[i];
        const struct ptl_end *end = end_of(w, gap->epoch);
        bool cut = end != NULL && end->how == PTL_TORN && gap->first >= end->next;
        if (!cut && !is_in_gaps(w, gap->epoch, gap->first)) {
            broken(w, "a synced gap was forgotten", gap->epoch, gap->first);
        }
        if (cut && is_in_gaps(w, gap->epoch, gap->first)) {
            broken(w, "a torn run keeps a gap above its end", gap->epoch, gap->first);
        }
    }
}

static void check_ends(struct world *w)
{
    if (w->j.run.open) {
        broken(w, "a run is open after mount", w->j.run.epoch, 0);
    }
    for (uint32_t i = 0; i < w->run_count; i++) {
        const struct model_run *run = &w->runs[i];
        if (run->open_synced && !run->end_confirmed && end_of(w, run->epoch) == NULL &&
            w->j.end_count < PTL_ENDS_MAX) {
            broken(w, "a run has no end, or two", run->epoch, 0);
        }
    }
}

void world_mount(struct world *w, bool new_boot)
{
    if (w->broken != NULL) {
        return;
    }
    w->mounts++;
    w->dead = false;
    w->in_ram = 0;
    w->sim.options.async = false;
    if (new_boot) {
        snprintf(w->cfg.boot, sizeof(w->cfg.boot), "b%u", w->mounts);
    }
    // What lived in RAM is gone; only what was delivered needs no account.
    enum ptl_status status = ptl_journal_mount(&w->j, &w->cfg);
    if (ptl_sim_flash_was_cut(&w->sim) && w->sim.off) {
        w->dead = true;
        return;
    }
    if (status != PTL_OK) {
        broken(w, "mount fails", 0, (uint64_t)-status);
        return;
    }
    struct damage damage;
    memset(&damage, 0, sizeof(damage));
    uint64_t count = drain(w, &damage);
    uint64_t damaged = 0;
    for (uint32_t i = 0; i < damage.count; i++) {
        damaged += damage.held[i];
    }
    if (count + damaged != w->j.held) {
        broken(w, "held differs from what can be read", w->j.held, count);
    }
    for (uint32_t i = 0; i < w->record_count; i++) { // a sync from here on vouches for these only
        w->records[i].appended = w->records[i].found;
    }
    for (uint32_t i = 0; i < damage.count; i++) {
        status = ptl_journal_gap_add(&w->j, &damage.gaps[i], damage.held[i]);
        if (status == PTL_E_FULL) { // gap slots, or ranges
            world_confirm_gaps(w);
            world_release(w, 0, 4);
            if (stopped(w)) {
                return;
            }
            status = ptl_journal_gap_add(&w->j, &damage.gaps[i], damage.held[i]);
        }
        if (status == PTL_E_FULL) { // the verdict waits; it stays held
            struct model_record *r = find(w, damage.gaps[i].epoch, damage.gaps[i].first);
            if (r != NULL) {
                r->released = true;
            }
            continue;
        }
        if (status == PTL_E_AGAIN && is_in_gaps(w, damage.gaps[i].epoch, damage.gaps[i].first)) {
            status = PTL_OK; // a block change gave it up
        }
        if (status == PTL_E_IO) {
            w->dead = true;
            return;
        }
        if (status != PTL_OK) {
            broken(w, "damage cannot be declared", damage.gaps[i].epoch, damage.gaps[i].first);
        }
    }
    if (damage.count > 0) { // declaring may have cost a block
        (void)drain(w, NULL);
    }
    uint64_t of_run = 0;
    for (uint32_t i = 0; i < w->record_count; i++) {
        of_run += w->records[i].found && w->records[i].epoch == w->j.run.epoch ? 1 : 0;
    }
    if (of_run != w->j.held_run) {
        broken(w, "held_run differs from what can be read", w->j.held_run, of_run);
    }
    check_records(w);
    check_gaps(w);
    check_ends(w);
    // From here on the journal's word counts: what is not there will not come back.
    for (uint32_t i = 0; i < w->record_count; i++) {
        struct model_record *r = &w->records[i];
        if (!r->found && !is_in_gaps(w, r->epoch, r->seq) && !r->gapped) {
            r->released = true;
        }
        if (r->found && r->gapped) {
            broken(w, "a record is back whose gap was confirmed", r->epoch, r->seq);
        }
        r->synced = r->synced || r->found;
        r->appended = r->appended || r->found;
        r->released = r->released && !r->found; // a cut may forget a release
    }
    w->told_count = 0;
    if (!ptl_journal_is_dirty(&w->j)) {
        for (uint32_t i = 0; i < w->j.gap_count; i++) {
            w->told[w->told_count++] = w->j.gaps[i];
        }
    }
    w->sim.options.async = w->sim.options.seed & 1;
}

// Turns a status into: done, try again, dead, or a broken promise.
static bool again(struct world *w, enum ptl_status status, const char *call)
{
    if (status == PTL_E_AGAIN || status == PTL_E_PENDING) {
        if (!ptl_journal_is_pending(&w->j)) {
            broken(w, call, 0, (uint64_t)-status);
            return false;
        }
        enum ptl_status more = ptl_journal_media_ready(&w->j, ptl_sim_flash_complete(&w->sim));
        w->dead = more == PTL_E_IO;
        return !w->dead;
    }
    if (status == PTL_E_IO) {
        w->dead = true;
        if (w->sim.off || w->sim.dead || w->sim.cut) {
            return false;
        }
        broken(w, "PTL_E_IO from a medium that works", 0, 0);
        return false;
    }
    if (status == PTL_E_FULL) {
        world_sync(w);
        world_confirm_gaps(w);
        world_release(w, 0, 8);
        return !stopped(w);
    }
    if (status != PTL_OK) {
        broken(w, call, 0, (uint64_t)-status);
    }
    return false;
}

void world_sync(struct world *w)
{
    enum ptl_status status = PTL_OK;
    if (stopped(w)) {
        return;
    }
    // A sync that joins one under way covers less: ask until nothing is dirty.
    do {
        status = ptl_journal_sync(&w->j);
    } while (again(w, status, "sync") || (!stopped(w) && ptl_journal_is_dirty(&w->j)));
    if (stopped(w)) {
        return;
    }
    for (uint32_t i = 0; i < w->record_count; i++) {
        struct model_record *r = &w->records[i];
        r->synced = r->synced || r->appended;
        r->accepted = r->accepted || r->appended;
        if (w->j.run.open && r->synced && r->epoch == w->j.run.epoch &&
            r->seq >= w->j.durable_next) {
            broken(w, "durable_next is behind a sync", r->epoch, r->seq);
        }
    }
    if (w->run_count > 0 && w->runs[w->run_count - 1u].epoch == w->j.run.epoch) {
        w->runs[w->run_count - 1u].open_synced = true;
    }
    // Gaps whose block change or entry was synced are told.
    w->told_count = 0;
    for (uint32_t i = 0; i < w->j.gap_count; i++) {
        w->told[w->told_count++] = w->j.gaps[i];
    }
}

void world_open(struct world *w, enum ptl_mode mode)
{
    if (stopped(w)) {
        return;
    }
    uint64_t epoch = 1000u + w->run_count;
    w->runs[w->run_count++] = (struct model_run){.epoch = epoch};
    enum ptl_status status = PTL_OK;
    do {
        status = ptl_journal_run_open(&w->j, epoch, mode, w->ram_max);
    } while (again(w, status, "run_open"));
    w->next = w->j.run.first;
    world_sync(w);
}

void world_mode(struct world *w, enum ptl_mode mode)
{
    if (stopped(w)) {
        return;
    }
    bool from_sync = w->j.run.mode == PTL_MODE_SYNC;
    enum ptl_status status = PTL_OK;
    do {
        status = ptl_journal_mode_set(&w->j, mode, w->next);
    } while (again(w, status, "mode_set"));
    if (from_sync) {
        world_sync(w);
    }
}

static void append(struct world *w, struct model_record *r, bool sent)
{
    uint8_t bytes[4096];
    struct ptl_span span = {bytes, record_fill(w, r->epoch, r->seq, bytes)};
    enum ptl_status status = PTL_OK;
    do {
        status = ptl_journal_append(&w->j, r->seq, sent, span);
    } while (again(w, status, "append"));
    r->appended = status == PTL_OK;
}

void world_post(struct world *w, uint32_t count)
{
    for (uint32_t i = 0; i < count && !stopped(w); i++) {
        if (w->record_count == MODEL_RECORDS_MAX) {
            return;
        }
        if (w->j.run.mode == PTL_MODE_RAM && w->in_ram == w->ram_max) {
            world_spill(w);
        }
        struct model_record *r = &w->records[w->record_count++];
        *r = (struct model_record){.epoch = w->j.run.epoch, .seq = w->next++};
        if (w->j.run.mode == PTL_MODE_RAM) {
            r->accepted = true;
            w->in_ram++;
            continue;
        }
        append(w, r, false);
        r->accepted = r->appended && w->j.run.mode == PTL_MODE_DIRECT;
    }
}

void world_spill(struct world *w)
{
    for (uint32_t i = 0; i < w->record_count && !stopped(w); i++) {
        struct model_record *r = &w->records[i];
        if (r->epoch == w->j.run.epoch && !r->appended && !r->released && !r->gapped &&
            r->accepted && !is_in_gaps(w, r->epoch, r->seq)) {
            append(w, r, (r->seq & 1) != 0);
        }
    }
    if (!stopped(w)) {
        w->in_ram = 0;
    }
}

void world_deliver_ram(struct world *w, uint32_t count)
{
    for (uint32_t i = 0; i < w->record_count && count > 0 && !stopped(w); i++) {
        struct model_record *r = &w->records[i];
        if (r->epoch == w->j.run.epoch && !r->appended && !r->released && r->accepted) {
            r->released = true;
            w->in_ram--;
            count--;
        }
    }
}

// Learns which held records an overflow gave up: those that gaps name now.
void world_release(struct world *w, uint32_t skip, uint32_t count)
{
    uint8_t buf[4096];
    struct ptl_journal_cursor cursor = {0};
    struct ptl_journal_entry entry;
    for (uint32_t i = 0; i < skip + count && !stopped(w); i++) {
        enum ptl_status status = ptl_journal_read(&w->j, &cursor, buf, sizeof(buf), &entry);
        if (status == PTL_E_AGAIN && again(w, status, "read")) {
            i--;
            continue;
        }
        if (status == PTL_OK && i == 0) {
            ptl_journal_release_below(&w->j, entry.seq); // over holes
        }
        if (status != PTL_OK || i < skip) {
            if (status == PTL_OK) {
                continue;
            }
            break;
        }
        struct ptl_range range = {entry.seq, entry.seq + 1u};
        uint64_t held = w->j.held;
        status = ptl_journal_release(&w->j, range);
        if (status == PTL_E_FULL) {
            break;
        }
        if (status != PTL_OK || w->j.held != held - 1u) {
            broken(w, "release", entry.epoch, entry.seq);
        }
        struct model_record *r = find(w, entry.epoch, entry.seq);
        if (r == NULL) {
            broken(w, "a record was invented", entry.epoch, entry.seq);
            break;
        }
        r->released = true;
    }
}

void world_release_write(struct world *w)
{
    enum ptl_status status = PTL_OK;
    if (stopped(w)) {
        return;
    }
    do {
        status = ptl_journal_release_write(&w->j);
    } while (again(w, status, "release_write"));
}

void world_refuse(struct world *w, uint32_t skip)
{
    uint8_t buf[4096];
    struct ptl_journal_cursor cursor = {0};
    struct ptl_journal_entry entry;
    enum ptl_status status = PTL_OK;
    for (uint32_t i = 0; i <= skip && !stopped(w); i++) {
        status = ptl_journal_read(&w->j, &cursor, buf, sizeof(buf), &entry);
        if (status == PTL_E_AGAIN && again(w, status, "read")) {
            i--;
        } else if (status != PTL_OK) {
            return;
        }
    }
    if (stopped(w) || w->j.gap_count >= PTL_GAPS_MAX - 1) {
        return;
    }
    struct ptl_gap gap = {.epoch = entry.epoch,
                          .first = entry.seq,
                          .last = entry.seq,
                          .reason = PTL_GAP_REFUSED,
                          .kind = PTL_LOST};
    do {
        status = ptl_journal_gap_add(&w->j, &gap, 1);
        if (status == PTL_E_AGAIN && is_in_gaps(w, entry.epoch, entry.seq)) {
            return; // a block change on the way gave it up
        }
        if (status == PTL_E_FULL) {
            return;
        }
    } while (again(w, status, "gap_add"));
}

void world_refuse_ram(struct world *w)
{
    if (stopped(w) || w->record_count == 0) {
        return;
    }
    struct model_record *r = &w->records[w->record_count - 1u];
    if (r->epoch != w->j.run.epoch || r->appended || !r->accepted || r->released ||
        is_in_gaps(w, r->epoch, r->seq)) {
        return;
    }
    struct ptl_gap gap = {.epoch = r->epoch,
                          .first = r->seq,
                          .last = r->seq,
                          .reason = PTL_GAP_REFUSED,
                          .kind = PTL_LOST};
    enum ptl_status status = PTL_OK;
    do {
        status = ptl_journal_gap_add(&w->j, &gap, 0);
        if (status == PTL_E_FULL) {
            return;
        }
    } while (again(w, status, "gap_add"));
    w->in_ram -= status == PTL_OK ? 1 : 0;
}

// A receipt covers every gap. A gap is sent only after a sync.
void world_confirm_gaps(struct world *w)
{
    world_sync(w);
    while (!stopped(w) && w->j.gap_count > 0) {
        struct ptl_gap gap = w->j.gaps[0];
        struct ptl_range all = {gap.first, gap.last + 1u};
        for (uint64_t seq = gap.first; seq <= gap.last; seq++) {
            struct model_record *r = find(w, gap.epoch, seq);
            if (r == NULL) {
                broken(w, "a gap names what never was", gap.epoch, seq);
                return;
            }
            r->gapped = true;
        }
        ptl_journal_gap_confirm(&w->j, gap.epoch, all);
    }
    w->told_count = 0;
}

void world_confirm_ends(struct world *w)
{
    world_sync(w);
    while (!stopped(w) && w->j.end_count > 0) {
        struct ptl_end end = w->j.ends[0];
        for (uint32_t i = 0; i < w->run_count; i++) {
            w->runs[i].end_confirmed = w->runs[i].end_confirmed || w->runs[i].epoch <= end.epoch;
        }
        ptl_journal_end_confirm(&w->j, &end);
    }
}

void world_close(struct world *w)
{
    world_spill(w);
    if (stopped(w) || !w->j.run.open) {
        return;
    }
    enum ptl_status status = PTL_OK;
    do {
        status = ptl_journal_run_close(&w->j, w->next);
    } while (again(w, status, "run_close"));
    world_sync(w);
}

void world_check_live(struct world *w)
{
    if (stopped(w)) {
        return;
    }
    while (!stopped(w) && ptl_journal_is_pending(&w->j)) {
        (void)again(w, PTL_E_PENDING, "media_ready");
    }
    if (stopped(w)) {
        return;
    }
    uint64_t count = drain(w, NULL);
    if (w->broken == NULL && count != w->j.held) {
        broken(w, "held differs from what can be read now", w->j.held, count);
    }
    for (uint32_t i = 0; i < w->record_count; i++) {
        const struct model_record *r = &w->records[i];
        bool held = r->appended && !r->released && !r->gapped && !is_in_gaps(w, r->epoch, r->seq);
        if (held != r->found) {
            broken(w, held ? "a held record cannot be read" : "a released record can be read",
                   r->epoch, r->seq);
        }
    }
}
