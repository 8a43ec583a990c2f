// inspect.c - see ptl_journal_inspect.h.
#include "ptl_journal_inspect.h"

#include "journal_internal.h"

// A varint in plain bytes; false at their end.
static bool take_varint(struct ptl_span *bytes, uint32_t *value)
{
    *value = 0;
    for (uint32_t shift = 0; shift < 32 && bytes->len > 0; shift += 7) {
        uint8_t byte = *bytes->ptr++;
        bytes->len--;
        *value |= (uint32_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            return true;
        }
    }
    return false;
}

enum ptl_status ptl_journal_geometry(struct ptl_span bytes, struct ptl_flash *flash)
{
    if (bytes.len < PTL_JN_HEAD_FIXED + 4u || ptl_load_u32(bytes.ptr) != PTL_JN_MAGIC ||
        bytes.ptr[4] != PTL_JOURNAL_FORMAT || bytes.ptr[5] > 9) {
        return PTL_E_FORMAT;
    }
    uint32_t len = ptl_load_u16(bytes.ptr + 6);
    if (len < PTL_JN_HEAD_FIXED + 4u || len > bytes.len ||
        ptl_crc32c(0, bytes.ptr, len - 4u) != ptl_load_u32(bytes.ptr + len - 4u)) {
        return PTL_E_FORMAT;
    }
    struct ptl_span rest = {bytes.ptr + PTL_JN_HEAD_FIXED, len - PTL_JN_HEAD_FIXED - 4u};
    if (!take_varint(&rest, &flash->block_bytes) || !take_varint(&rest, &flash->block_count)) {
        return PTL_E_FORMAT;
    }
    flash->prog_bytes = 1u << bytes.ptr[5];
    return PTL_OK;
}

static void show_entry(struct ptl_journal *j, const struct ptl_journal_cursor *c,
                       enum ptl_jn_step step, const struct ptl_jn_item *item,
                       struct ptl_journal_block_info *block,
                       const struct ptl_journal_visitor *visitor)
{
    uint64_t until = 0;
    struct ptl_journal_entry_info info = {.generation = c->generation,
                                          .offset = item->offset,
                                          .len = item->len,
                                          .epoch = c->epoch,
                                          .seq = item->seq,
                                          .sent = item->type == PTL_JN_DATA_SENT};
    info.released = ptl_jn_unreleased(j, item->seq, &until) != item->seq;
    if (step == PTL_JN_STEP_DAMAGE) {
        info.type = PTL_JOURNAL_DAMAGED;
        block->damaged++;
    } else if (item->type == PTL_JN_DATA || item->type == PTL_JN_DATA_SENT) {
        info.type = PTL_JOURNAL_DATA;
        block->data++;
        block->held += info.released ? 0 : 1;
    } else {
        info.type = item->type == PTL_JN_STATE ? PTL_JOURNAL_STATE : PTL_JOURNAL_RELEASE;
    }
    if (visitor->entry != NULL) {
        visitor->entry(visitor->ctx, &info);
    }
}

static void show_block(struct ptl_journal *j, uint32_t generation,
                       const struct ptl_journal_visitor *visitor)
{
    struct ptl_jn_head head;
    struct ptl_jn_item item = {.type = PTL_JN_PAD};
    struct ptl_journal_cursor c = {.generation = 0};
    struct ptl_journal_block_info info = {.block = ptl_jn_block(j, generation),
                                          .generation = generation};
    info.readable = ptl_jn_read_head(j, generation, &head, false);
    if (info.readable) {
        info.start = head.start;
        info.run = head.run;
    }
    if (visitor->block_begin != NULL) {
        visitor->block_begin(visitor->ctx, &info);
    }
    if (info.readable) {
        bool exact = true;
        info.end = j->p.prev_end; // of the newest block: where load() saw its end
        if (generation < j->p.generation) {
            exact = ptl_jn_read_head(j, generation + 1u, &head, false);
            info.end = exact ? head.prev_end : j->cfg.flash->block_bytes;
        }
        ptl_jn_enter(j, &c, generation);
        enum ptl_jn_step step = PTL_JN_STEP_BAD;
        while (c.offset != PTL_JN_LOST) { // bounded by the block
            step = ptl_jn_walk(j, &c, info.end, exact, &item);
            if (step == PTL_JN_STEP_END || step == PTL_JN_STEP_BAD) {
                break;
            }
            show_entry(j, &c, step, &item, &info, visitor);
        }
        bool torn = generation == j->p.generation && j->p.sealed;
        info.cut_short = torn || (exact && c.offset != info.end);
    }
    if (visitor->block_end != NULL) {
        visitor->block_end(visitor->ctx, &info);
    }
}

enum ptl_status ptl_journal_inspect(struct ptl_journal *j, const struct ptl_journal_config *cfg,
                                    const struct ptl_journal_visitor *visitor)
{
    bool blank = false;
    enum ptl_status status = ptl_jn_find(j, cfg, &blank);
    if (status != PTL_OK || blank) {
        return status != PTL_OK ? status : PTL_E_EMPTY;
    }
    j->durable_next = j->run.next;
    uint32_t count = cfg->flash->block_count;
    uint32_t first = j->p.generation >= count ? j->p.generation - count + 2u : 1;
    for (uint32_t generation = first; generation <= j->p.generation; generation++) {
        show_block(j, generation, visitor);
    }
    return ptl_jn_result(j);
}
