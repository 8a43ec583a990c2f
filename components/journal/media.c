// media.c - bytes to and from the medium. Writes go through the page buffer, reads through one
// window; both may stand in the middle of a block. A failed operation sets `failed` and everything
// after it does nothing, so that callers look once, at their end.
#include "journal_internal.h"

uint32_t ptl_jn_block(const struct ptl_journal *j, uint32_t generation)
{
    PTL_ASSERT(generation > 0);
    return (generation - 1u) % j->cfg.flash->block_count;
}

enum ptl_status ptl_jn_result(const struct ptl_journal *j)
{
    return j->failed ? PTL_E_IO : PTL_OK;
}

// Loads [offset, offset + len) into the window. Where the medium cannot give it at once, halves
// the step down to one unit: only the units that fail are lost, and show as bytes that no entry
// and no blank begins with.
static void window_load(struct ptl_journal *j, uint32_t block, uint32_t offset, uint32_t len)
{
    const struct ptl_flash *flash = j->cfg.flash;
    uint32_t step = len;
    for (uint32_t at = 0; at < len;) {
        uint32_t unit_end = ptl_jn_round_up(offset + at + 1u, flash->prog_bytes) - offset;
        uint32_t n = len - at < step ? len - at : step;
        if (flash->read(flash->ctx, block, offset + at, j->cfg.read_buf + at, n) == PTL_OK) {
            at += n;
            continue;
        }
        if (at + n > unit_end) {
            step = n / 2u > unit_end - at ? n / 2u : unit_end - at;
            continue;
        }
        memset(j->cfg.read_buf + at, PTL_JN_UNREADABLE, n);
        at += n;
        j->p.unreadable = true;
        uint8_t probe = 0; // one bad unit, or a dead medium?
        if (j->p.generation != 0 &&
            flash->read(flash->ctx, ptl_jn_block(j, j->p.generation), 0, &probe, 1) != PTL_OK) {
            j->failed = true;
        }
    }
    j->p.window_block = block;
    j->p.window_offset = offset;
    j->p.window_len = len;
}

// The bytes at `offset`, at least one, as many as can be had at once. Bytes of the newest block
// that wait in the page buffer are taken from there.
const uint8_t *ptl_jn_view(struct ptl_journal *j, uint32_t block, uint32_t offset, uint32_t *len)
{
    uint32_t end = j->cfg.flash->block_bytes;
    PTL_ASSERT(offset < end);
    if (j->p.generation != 0 && block == ptl_jn_block(j, j->p.generation)) {
        if (offset >= j->p.programmed && offset < j->p.tail) {
            *len = j->p.tail - offset;
            return j->cfg.prog_buf + offset % j->cfg.prog_buf_bytes;
        }
        if (offset < j->p.programmed) {
            end = j->p.programmed; // what is programmed stays as it is: the window keeps valid
        }
    }
    if (block != j->p.window_block || offset < j->p.window_offset ||
        offset - j->p.window_offset >= j->p.window_len) {
        uint32_t n = end - offset < j->cfg.read_buf_bytes ? end - offset : j->cfg.read_buf_bytes;
        window_load(j, block, offset, n);
    }
    *len = j->p.window_len - (offset - j->p.window_offset);
    return j->cfg.read_buf + (offset - j->p.window_offset);
}

uint8_t ptl_jn_byte(struct ptl_journal *j, uint32_t block, uint32_t offset)
{
    uint32_t len = 0;
    return *ptl_jn_view(j, block, offset, &len);
}

void ptl_jn_copy(struct ptl_journal *j, uint32_t block, uint32_t offset, uint8_t *to, uint32_t len)
{
    while (len > 0) {
        uint32_t n = 0;
        const uint8_t *from = ptl_jn_view(j, block, offset, &n);
        n = n < len ? n : len;
        memcpy(to, from, n);
        to += n;
        offset += n;
        len -= n;
    }
}

uint32_t ptl_jn_crc(struct ptl_journal *j, uint32_t crc, uint32_t block, uint32_t offset,
                    uint32_t len)
{
    while (len > 0) {
        uint32_t n = 0;
        const uint8_t *from = ptl_jn_view(j, block, offset, &n);
        n = n < len ? n : len;
        crc = ptl_crc32c(crc, from, n);
        offset += n;
        len -= n;
    }
    return crc;
}

bool ptl_jn_is_filled(struct ptl_journal *j, uint32_t block, uint32_t offset, uint32_t end,
                      uint8_t with)
{
    while (offset < end) {
        uint32_t n = 0;
        const uint8_t *from = ptl_jn_view(j, block, offset, &n);
        n = n < end - offset ? n : end - offset;
        for (uint32_t i = 0; i < n; i++) {
            if (from[i] != with) {
                return false;
            }
        }
        offset += n;
    }
    return true;
}

// Where every entry's checksum starts: an entry of an earlier lap or at another place in the run of
// numbers never validates.
uint32_t ptl_jn_seed(uint32_t generation, uint64_t seq)
{
    uint8_t bytes[12];
    ptl_store_u32(bytes, generation);
    ptl_store_u64(bytes + 4, seq);
    return ptl_crc32c(0, bytes, sizeof(bytes));
}

// Programs what waits in the page buffer, up to the next unit boundary.
void ptl_jn_flush(struct ptl_journal *j)
{
    const struct ptl_flash *flash = j->cfg.flash;
    uint32_t end = ptl_jn_round_up(j->p.tail, flash->prog_bytes);
    if (j->failed || end == j->p.programmed) {
        return;
    }
    uint8_t *from = j->cfg.prog_buf + j->p.programmed % j->cfg.prog_buf_bytes;
    memset(from + (j->p.tail - j->p.programmed), 0xFF, end - j->p.tail);
    if (flash->prog(flash->ctx, ptl_jn_block(j, j->p.generation), j->p.programmed, from,
                    end - j->p.programmed) != PTL_OK) {
        j->failed = true;
        return;
    }
    j->counters.bytes_programmed += end - j->p.programmed;
    j->p.programmed = end;
    j->p.tail = end;
}

void ptl_jn_put(struct ptl_journal *j, const void *bytes, uint32_t len)
{
    const uint8_t *from = bytes;
    while (len > 0 && !j->failed) {
        uint32_t at = j->p.tail % j->cfg.prog_buf_bytes;
        uint32_t room = j->cfg.flash->block_bytes - j->p.tail;
        room = room < j->cfg.prog_buf_bytes - at ? room : j->cfg.prog_buf_bytes - at;
        PTL_ASSERT(room > 0);
        uint32_t n = len < room ? len : room;
        memcpy(j->cfg.prog_buf + at, from, n);
        j->p.tail += n;
        j->p.dirty = true;
        if (n == room) {
            ptl_jn_flush(j);
        }
        from += n;
        len -= n;
    }
}
