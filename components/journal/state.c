// state.c - the state as bytes (FORMAT.md, "State"). Numbers are LEB128 varints. Everything is
// written twice: once to count and sum, once to the medium, so that no buffer is needed.
#include "journal_internal.h"

static void out_bytes(struct ptl_jn_out *o, const void *bytes, uint32_t len)
{
    o->crc = ptl_crc32c(o->crc, bytes, len);
    o->len += len;
    if (o->write) {
        ptl_jn_put(o->j, bytes, len);
    }
}

static void out_byte(struct ptl_jn_out *o, uint8_t byte)
{
    out_bytes(o, &byte, 1);
}

void ptl_jn_out_varint(struct ptl_jn_out *o, uint64_t value)
{
    while (value >= 0x80) {
        out_byte(o, (uint8_t)(value | 0x80));
        value >>= 7;
    }
    out_byte(o, (uint8_t)value);
}

static void out_u64(struct ptl_jn_out *o, uint64_t value)
{
    uint8_t bytes[8];
    ptl_store_u64(bytes, value);
    out_bytes(o, bytes, sizeof(bytes));
}

static void out_text(struct ptl_jn_out *o, const char *text)
{
    uint32_t len = (uint32_t)strlen(text);
    out_byte(o, (uint8_t)len);
    out_bytes(o, text, len);
}

static void out_release(struct ptl_jn_out *o)
{
    struct ptl_journal *j = o->j;
    ptl_jn_out_varint(o, j->run.next - j->p.cursor);
    ptl_jn_out_varint(o, j->held);
    ptl_jn_out_varint(o, j->held_run);
    out_byte(o, j->p.range_count);
    uint64_t from = j->p.cursor;
    for (uint32_t i = 0; i < j->p.range_count; i++) {
        ptl_jn_out_varint(o, j->p.ranges[i].begin - from);
        ptl_jn_out_varint(o, j->p.ranges[i].end - j->p.ranges[i].begin);
        from = j->p.ranges[i].end;
    }
}

static void out_gaps(struct ptl_jn_out *o)
{
    out_byte(o, o->j->gap_count);
    for (uint32_t i = 0; i < o->j->gap_count; i++) {
        const struct ptl_gap *gap = &o->j->gaps[i];
        out_u64(o, gap->epoch);
        ptl_jn_out_varint(o, gap->first);
        ptl_jn_out_varint(o, gap->last - gap->first);
        out_byte(o, (uint8_t)(gap->reason << 1 | gap->kind));
    }
}

static void out_ends(struct ptl_jn_out *o)
{
    out_byte(o, o->j->end_count);
    for (uint32_t i = 0; i < o->j->end_count; i++) {
        const struct ptl_end *end = &o->j->ends[i];
        out_u64(o, end->epoch);
        ptl_jn_out_varint(o, end->next);
        ptl_jn_out_varint(o, end->next - end->from);
        ptl_jn_out_varint(o, end->at_most);
        ptl_jn_out_varint(o, (uint64_t)end->runs << 1 | end->how);
    }
}

static void out_state(struct ptl_jn_out *o)
{
    struct ptl_journal *j = o->j;
    out_byte(o, (uint8_t)(j->run.mode | (j->run.open ? 4 : 0)));
    out_u64(o, j->run.epoch);
    ptl_jn_out_varint(o, j->run.next);
    out_text(o, j->run.boot);
    ptl_jn_out_varint(o, j->run.ram_records_max);
    out_release(o);
    out_gaps(o);
    out_ends(o);
    out_text(o, j->device);
    ptl_jn_out_varint(o, j->counters.dropped_lost + j->counters.dropped_uncertain +
                             j->counters.dropped_earlier);
    ptl_jn_out_varint(o, j->counters.damaged);
}

static void out_head(struct ptl_jn_out *o, uint32_t len)
{
    struct ptl_journal *j = o->j;
    const struct ptl_flash *flash = j->cfg.flash;
    uint8_t fixed[PTL_JN_HEAD_FIXED];
    ptl_store_u32(fixed, PTL_JN_MAGIC);
    fixed[4] = PTL_JOURNAL_FORMAT;
    fixed[5] = 0;
    while ((1u << fixed[5]) < flash->prog_bytes) {
        fixed[5]++;
    }
    ptl_store_u16(fixed + 6, (uint16_t)len);
    ptl_store_u32(fixed + 8, j->p.generation);
    out_bytes(o, fixed, sizeof(fixed));
    ptl_jn_out_varint(o, flash->block_bytes);
    ptl_jn_out_varint(o, flash->block_count);
    ptl_jn_out_varint(o, j->p.prev_end);
    ptl_jn_out_varint(o, j->p.count);
    ptl_jn_out_varint(o, j->p.generation - j->p.tail_gen);
    out_state(o);
}

void ptl_jn_write_header(struct ptl_journal *j)
{
    struct ptl_jn_out o = {.j = j};
    out_head(&o, 0);
    PTL_ASSERT(o.len + 4u <= PTL_JN_HEADER_MAX);
    uint32_t len = o.len + 4u;
    o = (struct ptl_jn_out){.j = j, .write = true};
    out_head(&o, len);
    uint8_t crc[4];
    ptl_store_u32(crc, o.crc);
    ptl_jn_put(j, crc, sizeof(crc));
    ptl_jn_flush(j);
    j->p.state_dirty = false;
    j->p.release_dirty = false;
}

// Type, length and checksum of an entry whose payload was summed into `crc`.
static void put_entry_head(struct ptl_journal *j, uint8_t type, uint32_t len, uint32_t crc)
{
    uint8_t head[PTL_JN_ENTRY_HEAD];
    head[0] = (uint8_t)(type << 4);
    ptl_store_u16(head + 1, (uint16_t)len);
    ptl_store_u32(head + 3, ptl_crc32c(crc, head, 3));
    PTL_ASSERT(j->p.tail + PTL_JN_ENTRY_HEAD + len <= j->cfg.flash->block_bytes);
    ptl_jn_put(j, head, sizeof(head));
}

// The numbers jump to run.next; if all before them is released, so is the hole, and the first
// release behind it needs no range of its own.
static void jump(struct ptl_journal *j)
{
    if (j->p.cursor == j->p.seq) {
        j->p.cursor = j->run.next;
    }
}

static void write_entry(struct ptl_journal *j, uint8_t type, void (*body)(struct ptl_jn_out *))
{
    struct ptl_jn_out o = {.j = j, .crc = ptl_jn_seed(j->p.generation, j->p.seq)};
    body(&o);
    put_entry_head(j, type, o.len, o.crc);
    o.write = true;
    body(&o);
}

static void out_skip(struct ptl_jn_out *o)
{
    ptl_jn_out_varint(o, o->j->run.next - o->j->p.seq);
}

// Numbers from the running one up to run.next are not here.
void ptl_jn_write_skip(struct ptl_journal *j)
{
    jump(j);
    write_entry(j, PTL_JN_SKIP, out_skip);
    j->p.seq = j->run.next;
}

void ptl_jn_write_data(struct ptl_journal *j, bool sent, struct ptl_span record)
{
    uint32_t crc = ptl_crc32c(ptl_jn_seed(j->p.generation, j->p.seq), record.ptr, record.len);
    uint32_t len = (uint32_t)record.len;
    put_entry_head(j, sent ? PTL_JN_DATA_SENT : PTL_JN_DATA, len, crc);
    ptl_jn_put(j, record.ptr, len);
    j->p.seq++;
}

void ptl_jn_write_state(struct ptl_journal *j)
{
    jump(j);
    write_entry(j, PTL_JN_STATE, out_state);
    j->p.seq = j->run.next;
    j->p.state_dirty = false;
    j->p.release_dirty = false;
}

void ptl_jn_write_release(struct ptl_journal *j)
{
    write_entry(j, PTL_JN_RELEASE, out_release);
    j->p.release_dirty = false;
}

uint32_t ptl_jn_state_bytes(struct ptl_journal *j)
{
    struct ptl_jn_out o = {.j = j};
    out_state(&o);
    return PTL_JN_ENTRY_HEAD + o.len;
}

uint32_t ptl_jn_release_bytes(struct ptl_journal *j)
{
    struct ptl_jn_out o = {.j = j};
    out_release(&o);
    return PTL_JN_ENTRY_HEAD + o.len;
}

static uint8_t in_byte(struct ptl_jn_in *in)
{
    if (in->bad || in->offset >= in->end) {
        in->bad = true;
        return 0;
    }
    return ptl_jn_byte(in->j, in->block, in->offset++);
}

// At most ten bytes; one that is too long is bad.
uint64_t ptl_jn_in_varint(struct ptl_jn_in *in)
{
    uint64_t value = 0;
    for (uint32_t shift = 0; shift < 64; shift += 7) {
        uint8_t byte = in_byte(in);
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            return value;
        }
    }
    in->bad = true;
    return 0;
}

static uint64_t in_u64(struct ptl_jn_in *in)
{
    uint8_t bytes[8];
    for (uint32_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = in_byte(in);
    }
    return ptl_load_u64(bytes);
}

// A number of at most `max`.
static uint64_t in_bounded(struct ptl_jn_in *in, uint64_t max)
{
    uint64_t value = ptl_jn_in_varint(in);
    if (value > max) {
        in->bad = true;
    }
    return in->bad ? 0 : value;
}

static void in_text(struct ptl_jn_in *in, char *text, uint32_t max)
{
    uint32_t len = (uint32_t)in_bounded(in, max);
    for (uint32_t i = 0; i < len; i++) {
        text[i] = (char)in_byte(in);
    }
    text[len] = '\0';
}

bool ptl_jn_read_run(struct ptl_jn_in *in, struct ptl_journal_run *run)
{
    uint8_t flags = in_byte(in);
    run->mode = flags & 3;
    run->open = (flags & 4) != 0;
    run->epoch = in_u64(in);
    run->next = in_bounded(in, PTL_SEQ_MAX + 1);
    run->run = (uint32_t)(run->next >> PTL_RUN_SHIFT);
    run->first = (uint64_t)run->run << PTL_RUN_SHIFT;
    in_text(in, run->boot, PTL_BOOT_BYTES_MAX);
    run->ram_records_max = (uint32_t)in_bounded(in, UINT32_MAX);
    return !in->bad && run->mode <= PTL_MODE_SYNC;
}

static void in_release(struct ptl_jn_in *in, uint64_t next)
{
    struct ptl_journal *j = in->j;
    j->p.cursor = next - in_bounded(in, next);
    j->held = ptl_jn_in_varint(in);
    j->held_run = ptl_jn_in_varint(in);
    uint32_t count = (uint32_t)in_bounded(in, PTL_RANGES_MAX);
    uint64_t from = j->p.cursor;
    for (uint32_t i = 0; i < count; i++) {
        j->p.ranges[i].begin = from + in_bounded(in, next - from);
        j->p.ranges[i].end = j->p.ranges[i].begin + in_bounded(in, next - j->p.ranges[i].begin);
        from = j->p.ranges[i].end;
    }
    j->p.range_count = (uint8_t)count;
}

static void in_gaps(struct ptl_jn_in *in)
{
    struct ptl_journal *j = in->j;
    j->gap_count = (uint8_t)in_bounded(in, PTL_GAPS_MAX);
    for (uint32_t i = 0; i < j->gap_count; i++) {
        struct ptl_gap *gap = &j->gaps[i];
        gap->epoch = in_u64(in);
        gap->first = in_bounded(in, PTL_SEQ_MAX);
        gap->last = gap->first + in_bounded(in, PTL_SEQ_MAX - gap->first);
        uint8_t how = in_byte(in);
        gap->kind = how & 1;
        gap->reason = how >> 1 < PTL_GAP_REASONS ? how >> 1 : PTL_GAP_DAMAGED;
    }
}

static void in_ends(struct ptl_jn_in *in)
{
    struct ptl_journal *j = in->j;
    j->end_count = (uint8_t)in_bounded(in, PTL_ENDS_MAX);
    for (uint32_t i = 0; i < j->end_count; i++) {
        struct ptl_end *end = &j->ends[i];
        end->epoch = in_u64(in);
        end->next = in_bounded(in, PTL_SEQ_MAX + 1);
        end->from = end->next - in_bounded(in, end->next);
        end->at_most = (uint32_t)in_bounded(in, UINT32_MAX);
        uint32_t how = (uint32_t)in_bounded(in, (uint32_t)UINT16_MAX << 1 | 1);
        end->how = how & 1;
        end->runs = (uint16_t)(how >> 1);
    }
}

// Takes a RELEASE payload (`whole` false, `next` the running number) or a whole state into *j.
bool ptl_jn_apply_state(struct ptl_journal *j, struct ptl_jn_in *in, bool whole, uint64_t next)
{
    if (!whole) {
        in_release(in, next);
        return !in->bad;
    }
    if (!ptl_jn_read_run(in, &j->run)) {
        return false;
    }
    in_release(in, j->run.next);
    in_gaps(in);
    in_ends(in);
    in_text(in, j->device, PTL_DEVICE_BYTES_MAX);
    j->counters.dropped_earlier = ptl_jn_in_varint(in);
    j->counters.damaged = ptl_jn_in_varint(in);
    return !in->bad;
}

// Whether `block` begins with a whole header of this format, whatever it says; *len is its length.
bool ptl_jn_head_sound(struct ptl_journal *j, uint32_t block, uint8_t fixed[PTL_JN_HEAD_FIXED],
                       uint32_t *len)
{
    uint8_t crc[4];
    ptl_jn_copy(j, block, 0, fixed, PTL_JN_HEAD_FIXED);
    *len = ptl_load_u16(fixed + 6);
    if (ptl_load_u32(fixed) != PTL_JN_MAGIC || fixed[4] != PTL_JOURNAL_FORMAT ||
        *len > PTL_JN_HEADER_MAX || *len < PTL_JN_HEAD_FIXED + sizeof(crc)) {
        return false;
    }
    ptl_jn_copy(j, block, *len - 4u, crc, sizeof(crc));
    return ptl_jn_crc(j, 0, block, 0, *len - 4u) == ptl_load_u32(crc);
}

// Reads the header of `generation` from its block; with `apply` its state becomes that of *j.
// false: there is no valid header of that generation and this geometry.
bool ptl_jn_read_head(struct ptl_journal *j, uint32_t generation, struct ptl_jn_head *head,
                      bool apply)
{
    const struct ptl_flash *flash = j->cfg.flash;
    uint32_t block = ptl_jn_block(j, generation);
    uint8_t fixed[PTL_JN_HEAD_FIXED];
    uint32_t len = 0;
    if (!ptl_jn_head_sound(j, block, fixed, &len) || ptl_load_u32(fixed + 8) != generation ||
        fixed[5] > 9 || 1u << fixed[5] != flash->prog_bytes) {
        return false;
    }
    struct ptl_jn_in in = {.j = j, .block = block, .offset = PTL_JN_HEAD_FIXED, .end = len - 4u};
    if (ptl_jn_in_varint(&in) != flash->block_bytes ||
        ptl_jn_in_varint(&in) != flash->block_count) {
        return false;
    }
    head->start = ptl_jn_round_up(len, flash->prog_bytes);
    head->prev_end = (uint32_t)in_bounded(&in, flash->block_bytes);
    head->count = (uint32_t)in_bounded(&in, UINT32_MAX);
    head->tail_gen = generation - (uint32_t)in_bounded(&in, generation);
    uint32_t state_at = in.offset;
    if (!ptl_jn_read_run(&in, &head->run)) {
        return false;
    }
    in.offset = state_at;
    return !apply || ptl_jn_apply_state(j, &in, true, 0);
}
