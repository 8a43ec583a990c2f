// mount.c - finds the newest block and where it ends, decides how the last run ended, and makes the
// medium say so before anything is shown. Every step waits for the medium: nothing is pending here.
#include "journal_internal.h"

// The generation of the valid header in `block`, 0 where there is none.
static uint32_t generation_in(struct ptl_journal *j, uint32_t block)
{
    uint8_t fixed[PTL_JN_HEAD_FIXED]; // from the start, so that one read shows the whole header
    struct ptl_jn_head head;
    ptl_jn_copy(j, block, 0, fixed, sizeof(fixed));
    uint32_t generation = ptl_load_u32(fixed + 8);
    if (generation == 0 || ptl_jn_block(j, generation) != block ||
        !ptl_jn_read_head(j, generation, &head, false)) {
        return 0;
    }
    return generation;
}

// Never written: erased, or the zeros of a preallocated file.
static bool is_untouched(struct ptl_journal *j, uint32_t block)
{
    return ptl_jn_is_filled(j, block, 0, PTL_JN_HEAD_FIXED, 0xFF) ||
           ptl_jn_is_filled(j, block, 0, PTL_JN_HEAD_FIXED, 0x00);
}

// Blocks 0 to k hold generations base to base + k, the rest the lap before: a binary search for k,
// believed only if the two blocks behind it are what they must be. 0: look at all of them.
static uint32_t search_newest(struct ptl_journal *j)
{
    uint32_t count = j->cfg.flash->block_count;
    uint32_t base = generation_in(j, 0);
    if (base == 0) {
        return 0;
    }
    uint32_t lo = 0;
    uint32_t hi = count;
    while (hi - lo > 1) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (generation_in(j, mid) == base + mid) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    uint32_t newest = base + lo;
    for (uint32_t ahead = 1; ahead <= 2; ahead++) {
        uint32_t block = (lo + ahead) % count;
        uint32_t found = generation_in(j, block);
        uint32_t expected = newest + ahead > count ? newest + ahead - count : 0;
        bool opening = ahead == 1 && found == 0; // erased, or a header that was torn
        if (!opening && (found != expected || (expected == 0 && !is_untouched(j, block)))) {
            return 0;
        }
    }
    return newest;
}

static uint32_t scan_newest(struct ptl_journal *j)
{
    uint32_t newest = 0;
    for (uint32_t block = 0; block < j->cfg.flash->block_count; block++) {
        uint32_t found = generation_in(j, block);
        newest = found > newest ? found : newest;
    }
    return newest;
}

// No header anywhere: fit to be formatted unless something else lives here. Only the first block
// may hold anything, the torn rest of a cut in the very first format; not a whole header that does
// not fit this geometry, and not one of a later format.
static enum ptl_status check_blank(struct ptl_journal *j)
{
    uint8_t fixed[PTL_JN_HEAD_FIXED];
    uint32_t len = 0;
    bool other =
        ptl_jn_head_sound(j, 0, fixed, &len) ||
        (ptl_load_u32(fixed) == PTL_JN_MAGIC && fixed[4] != PTL_JOURNAL_FORMAT && fixed[4] != 0xFF);
    for (uint32_t block = 1; block < j->cfg.flash->block_count && !other; block++) {
        other = !is_untouched(j, block);
    }
    if (!other) {
        return PTL_OK;
    }
    return j->p.unreadable ? PTL_E_IO : PTL_E_FORMAT;
}

// Walks the newest block and takes over what its entries say. Returns where they end; *torn tells
// whether that end is anything but blank.
static uint32_t scan_tail(struct ptl_journal *j, struct ptl_journal_cursor *c, bool *torn)
{
    uint32_t end = j->cfg.flash->block_bytes;
    struct ptl_jn_item item = {.type = PTL_JN_PAD};
    for (;;) { // bounded by the block
        enum ptl_jn_step step = ptl_jn_walk(j, c, end, false, &item);
        if (step == PTL_JN_STEP_END || step == PTL_JN_STEP_BAD) {
            uint32_t block = ptl_jn_block(j, c->generation);
            uint32_t cut = c->offset; // where an append that was cut short would have ended
            if (step == PTL_JN_STEP_BAD) {
                cut = item.offset + (item.len <= end - item.offset ? item.len : 0);
            }
            j->p.used_behind = !ptl_jn_is_filled(j, block, cut, end, 0xFF);
            *torn = step == PTL_JN_STEP_BAD || j->p.used_behind;
            j->p.mark_lost = step == PTL_JN_STEP_BAD && item.type == PTL_JN_STATE;
            break;
        }
        if (step == PTL_JN_STEP_DAMAGE || item.type == PTL_JN_DATA ||
            item.type == PTL_JN_DATA_SENT) {
            j->held++;
            j->held_run++;
            j->p.count++;
        } else {
            struct ptl_jn_in in = {.j = j,
                                   .block = ptl_jn_block(j, c->generation),
                                   .offset = item.offset,
                                   .end = item.offset + item.len};
            if (!ptl_jn_apply_state(j, &in, item.type == PTL_JN_STATE, item.seq)) {
                *torn = true;
                break;
            }
        }
        j->run.next = c->seq;
    }
    j->run.next = c->seq;
    return c->offset;
}

// The page cache of a dead process proves nothing: what was read may never have reached the medium.
// The same bytes again, in place; the sync that follows vouches for them.
static enum ptl_status rewrite_newest(struct ptl_journal *j)
{
    const struct ptl_flash *flash = j->cfg.flash;
    uint32_t block = ptl_jn_block(j, j->p.generation);
    uint32_t step = j->cfg.prog_buf_bytes;
    for (uint32_t at = 0; at < flash->block_bytes; at += step) {
        uint32_t n = flash->block_bytes - at < step ? flash->block_bytes - at : step;
        if (flash->read(flash->ctx, block, at, j->cfg.prog_buf, n) != PTL_OK) {
            continue; // damaged: stays as it is
        }
        if (flash->prog(flash->ctx, block, at, j->cfg.prog_buf, n) != PTL_OK) {
            j->failed = true;
            return PTL_E_IO;
        }
    }
    j->p.dirty = true;
    return PTL_OK;
}

// A cut may leave units that read blank and take no program. So the rest of the page that may have
// been under way is filled with pad and read back; what does not come back seals the block.
static void probe_page(struct ptl_journal *j)
{
    static const uint8_t zero[16] = {0};
    uint32_t from = j->p.tail;
    uint32_t page = j->cfg.prog_buf_bytes;
    uint32_t end = from - from % page + page;
    end = end < j->cfg.flash->block_bytes ? end : j->cfg.flash->block_bytes;
    while (j->p.tail < end && !j->failed) {
        uint32_t n = end - j->p.tail < sizeof(zero) ? end - j->p.tail : (uint32_t)sizeof(zero);
        ptl_jn_put(j, zero, n);
    }
    j->p.window_len = 0;
    if (!ptl_jn_is_filled(j, ptl_jn_block(j, j->p.generation), from, end, 0x00)) {
        j->p.sealed = true;
        j->p.prev_end = from;
    }
}

// A block behind the newest whose header is damaged shows by its first entry, which begins
// somewhere below the longest header and continues the numbers.
static bool successor_was_used(struct ptl_journal *j)
{
    const struct ptl_flash *flash = j->cfg.flash;
    uint32_t generation = j->p.generation + 1u;
    uint32_t block = ptl_jn_block(j, generation);
    uint8_t fixed[PTL_JN_HEAD_FIXED];
    ptl_jn_copy(j, block, 0, fixed, sizeof(fixed));
    if (ptl_load_u32(fixed) != PTL_JN_MAGIC && ptl_load_u32(fixed + 8) != generation) {
        return false;
    }
    struct ptl_jn_item item;
    uint32_t at = ptl_jn_round_up(PTL_JN_HEAD_FIXED, flash->prog_bytes);
    for (; at <= ptl_jn_round_up(PTL_JN_HEADER_MAX, flash->prog_bytes); at += flash->prog_bytes) {
        if (ptl_jn_entry_valid(j, generation, at, flash->block_bytes, j->p.seq, &item)) {
            return true;
        }
    }
    return false;
}

// How the last run ended, if nobody wrote it down. `more_lost`: valid bytes were seen behind where
// the entries end, so no mark makes the run complete.
static void decide_end(struct ptl_journal *j, bool more_lost)
{
    struct ptl_end end = {.epoch = j->run.epoch,
                          .from = j->run.next,
                          .next = j->run.next,
                          .runs = 1,
                          .how = PTL_CLOSED};
    bool same_boot =
        j->cfg.boot[0] != '\0' && memcmp(j->cfg.boot, j->run.boot, strlen(j->cfg.boot) + 1u) == 0;
    bool complete = j->run.mode == PTL_MODE_SYNC || (j->run.mode == PTL_MODE_DIRECT && same_boot);
    // A process that dies may leave one append half written, and nothing behind it. Within one boot
    // anything else was whole and is damaged, and nobody can say how many records were in it.
    bool damaged = j->p.used_behind && same_boot;
    if (!complete || more_lost || damaged) {
        uint32_t named = 0;
        ptl_jn_gaps_cut(j, end.epoch, end.next, &named);
        uint64_t at_most = j->cfg.flash->block_bytes / (PTL_JN_ENTRY_HEAD + 1u);
        at_most += named;
        at_most += j->run.ram_records_max; // whatever the mark: one that says RAM may be lost too
        end.at_most = at_most < UINT32_MAX ? (uint32_t)at_most : UINT32_MAX;
        end.how = PTL_TORN;
    }
    j->run.open = false;
    ptl_jn_end_put(j, &end);
}

// Writes what was decided where that costs no record; otherwise the next header does, and a mount
// before that decides the same from the same mark.
static enum ptl_status write_decided(struct ptl_journal *j)
{
    uint32_t bytes = ptl_jn_state_bytes(j);
    if (!j->p.sealed && bytes <= j->cfg.flash->block_bytes - j->p.tail) {
        ptl_jn_write_state(j);
        return ptl_jn_result(j);
    }
    return ptl_jn_opening_costs(j) ? ptl_jn_result(j) : ptl_jn_open_block(j);
}

// Takes over what the newest block says. Writes nothing.
static enum ptl_status load(struct ptl_journal *j, uint32_t generation)
{
    struct ptl_jn_head head;
    uint32_t block_bytes = j->cfg.flash->block_bytes;
    bool torn = false;
    j->p.generation = generation;
    j->p.tail = block_bytes; // all of the block is read from the medium
    j->p.programmed = block_bytes;
    if (!ptl_jn_read_head(j, generation, &head, true)) {
        return PTL_E_IO; // it was valid a moment ago
    }
    j->p.count = head.count;
    j->p.tail_gen = head.tail_gen > 0 ? head.tail_gen : 1;
    j->counters.erases = generation;
    struct ptl_journal_cursor c = {.generation = generation,
                                   .offset = head.start,
                                   .seq = head.run.next,
                                   .epoch = head.run.epoch};
    uint32_t end = scan_tail(j, &c, &torn);
    j->p.seq = j->run.next;
    j->p.prev_end = end;
    j->p.sealed = torn;
    j->p.tail = ptl_jn_round_up(end, j->cfg.flash->prog_bytes);
    j->p.programmed = j->p.tail;
    j->p.window_len = 0;
    return ptl_jn_result(j);
}

// Makes what was loaded safe to go on from, and the medium say how the last run ended.
static enum ptl_status mend(struct ptl_journal *j)
{
    bool more_lost = j->p.mark_lost || (j->run.open && successor_was_used(j));
    if (j->cfg.page_cache) {
        if (rewrite_newest(j) != PTL_OK) {
            return PTL_E_IO;
        }
    } else if (!j->p.sealed && j->p.tail < j->cfg.flash->block_bytes) {
        probe_page(j);
    }
    if (j->run.open) {
        decide_end(j, more_lost);
        return write_decided(j);
    }
    return ptl_jn_result(j);
}

static bool config_fits(const struct ptl_journal_config *cfg)
{
    const struct ptl_flash *flash = cfg->flash;
    uint32_t unit = flash->prog_bytes;
    return unit >= 1 && unit <= PTL_FLASH_PROG_BYTES_MAX && (unit & (unit - 1u)) == 0 &&
           flash->block_count >= 3 && flash->block_bytes >= PTL_JOURNAL_BLOCK_BYTES_MIN &&
           flash->block_bytes <= PTL_JOURNAL_BLOCK_BYTES_MAX && flash->block_bytes % unit == 0 &&
           cfg->prog_buf_bytes >= 64 && cfg->prog_buf_bytes % unit == 0 &&
           cfg->read_buf_bytes >= 64 && cfg->boot[PTL_BOOT_BYTES_MAX] == '\0';
}

// Finds and loads the newest block; *blank: there is none, and nothing else either.
enum ptl_status ptl_jn_find(struct ptl_journal *j, const struct ptl_journal_config *cfg,
                            bool *blank)
{
    memset(j, 0, sizeof(*j));
    *blank = false;
    if (!config_fits(cfg)) {
        return PTL_E_INVALID;
    }
    j->cfg = *cfg;
    j->p.tail_gen = 1;
    uint32_t newest = search_newest(j);
    if (newest == 0) {
        newest = scan_newest(j);
    }
    if (newest != 0) {
        return load(j, newest);
    }
    *blank = true;
    return check_blank(j);
}

enum ptl_status ptl_journal_mount(struct ptl_journal *j, const struct ptl_journal_config *cfg)
{
    bool blank = false;
    enum ptl_status status = ptl_jn_find(j, cfg, &blank);
    if (status == PTL_OK) {
        status = blank ? ptl_jn_open_block(j) : mend(j);
    }
    if (status == PTL_OK) {
        status = ptl_journal_sync(j);
    }
    j->durable_next = j->run.next;
    j->failed = status != PTL_OK;
    if (status == PTL_E_INVALID || status == PTL_E_FORMAT) {
        return status;
    }
    return ptl_jn_result(j); // PTL_E_IO too where the medium would rather be waited for
}

enum ptl_status ptl_journal_format(const struct ptl_journal_config *cfg)
{
    const struct ptl_flash *flash = cfg->flash;
    if (!config_fits(cfg)) {
        return PTL_E_INVALID;
    }
    for (uint32_t block = 0; block < flash->block_count; block++) {
        if (flash->erase(flash->ctx, block) != PTL_OK) {
            return PTL_E_IO;
        }
    }
    return flash->sync(flash->ctx) == PTL_OK ? PTL_OK : PTL_E_IO;
}
