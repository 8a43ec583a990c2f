// ptl_sim_flash.c - see ptl_sim_flash.h.
#include "ptl_sim_flash.h"

#include <stdlib.h>
#include <string.h>

enum unit_state { UNIT_ERASED, UNIT_PROGRAMMED, UNIT_UNREADABLE, UNIT_WEAK };
enum pending { PENDING_NONE, PENDING_SYNC, PENDING_ERASE };

static void *must_have(void *memory)
{
    if (memory == NULL) {
        abort();
    }
    return memory;
}

static uint32_t size_of(const struct ptl_sim_flash *f)
{
    return f->options.block_bytes * f->options.block_count;
}

static bool coin(struct ptl_sim_flash *f)
{
    return ptl_prng_below(&f->prng, 2) != 0;
}

static uint8_t random_byte(struct ptl_sim_flash *f)
{
    return (uint8_t)ptl_prng_below(&f->prng, 256);
}

// One operation begins. true: power goes during it.
static bool meets_cut(struct ptl_sim_flash *f)
{
    return f->counts.ops++ == f->cut_op;
}

static void mark_dirty(struct ptl_sim_flash *f, uint32_t at, uint32_t len)
{
    if (f->options.file && len > 0) {
        uint32_t last = (at + len - 1u) / PTL_SIM_SECTOR_BYTES;
        for (uint32_t s = at / PTL_SIM_SECTOR_BYTES; s <= last; s++) {
            f->sector_dirty[s] = true;
        }
    }
}

static uint32_t sector_count(const struct ptl_sim_flash *f)
{
    return (size_of(f) + PTL_SIM_SECTOR_BYTES - 1u) / PTL_SIM_SECTOR_BYTES;
}

// Sends one sector to the medium, all of it or only its first `len` bytes.
static void write_back(struct ptl_sim_flash *f, uint32_t sector, uint32_t len)
{
    uint32_t at = sector * PTL_SIM_SECTOR_BYTES;
    uint32_t left = size_of(f) - at;
    memcpy(f->medium + at, f->bytes + at, len < left ? len : left);
}

// The kernel writes back whenever it likes: some sectors land between two syncs.
static void write_back_some(struct ptl_sim_flash *f)
{
    for (uint32_t s = 0; s < sector_count(f); s++) {
        if (f->sector_dirty[s] && ptl_prng_below(&f->prng, 16) == 0) {
            write_back(f, s, PTL_SIM_SECTOR_BYTES);
            f->sector_dirty[s] = false;
        }
    }
}

static void lose_cache(struct ptl_sim_flash *f, enum ptl_sim_cut kind)
{
    for (uint32_t s = 0; s < sector_count(f); s++) {
        if (f->sector_dirty[s] && kind != PTL_SIM_CUT_LOST && coin(f)) {
            uint32_t len = PTL_SIM_SECTOR_BYTES;
            if (kind == PTL_SIM_CUT_TORN && coin(f)) {
                len = ptl_prng_below(&f->prng, PTL_SIM_SECTOR_BYTES);
            }
            write_back(f, s, len);
        }
        f->sector_dirty[s] = false;
    }
    memcpy(f->bytes, f->medium, size_of(f));
}

static void power_off(struct ptl_sim_flash *f)
{
    f->off = true;
    f->cut = true;
    f->pending = PENDING_NONE;
    if (f->options.file && f->cut_kind != PTL_SIM_CUT_KILLED) {
        lose_cache(f, f->cut_kind);
    }
}

static void program_units(struct ptl_sim_flash *f, uint32_t at, const uint8_t *from, uint32_t len)
{
    uint32_t unit = f->options.prog_bytes;
    for (uint32_t i = 0; i < len; i++) {
        uint8_t *state = &f->unit_state[(at + i) / unit];
        uint8_t weak = *state == UNIT_WEAK ? random_byte(f) : 0xFF;
        f->bytes[at + i] &= from[i] | (uint8_t)~weak;
        if (weak != 0xFF) {
            f->bytes[at + i] &= weak;
        }
        if ((at + i) % unit == unit - 1u) {
            *state = *state == UNIT_WEAK ? UNIT_WEAK : UNIT_PROGRAMMED;
        }
    }
}

static void cut_program_nor(struct ptl_sim_flash *f, uint32_t at, const uint8_t *from, uint32_t len)
{
    uint32_t unit = f->options.prog_bytes;
    uint32_t half = len / 2u / unit * unit;
    switch (f->cut_kind) {
    case PTL_SIM_CUT_DROPPED:
        break;
    case PTL_SIM_CUT_DONE:
        program_units(f, at, from, len);
        break;
    case PTL_SIM_CUT_REAR:
        program_units(f, at + half, from + half, len - half);
        break;
    case PTL_SIM_CUT_GARBLED:
        for (uint32_t i = 0; i < len; i++) {
            f->bytes[at + i] &= (uint8_t)(from[i] | random_byte(f));
        }
        break;
    case PTL_SIM_CUT_WEAK:
        for (uint32_t u = at / unit; u < (at + len) / unit; u++) {
            f->unit_state[u] = UNIT_WEAK;
        }
        break;
    default:
        program_units(f, at, from, half);
        if (f->cut_kind == PTL_SIM_CUT_UNREADABLE) {
            f->unit_state[(at + half) / unit] = UNIT_UNREADABLE;
        }
        break;
    }
}

static void erase_block(struct ptl_sim_flash *f, uint32_t block)
{
    uint32_t at = block * f->options.block_bytes;
    memset(f->bytes + at, 0xFF, f->options.block_bytes);
    memset(f->unit_state + at / f->options.prog_bytes, UNIT_ERASED,
           f->options.block_bytes / f->options.prog_bytes);
    mark_dirty(f, at, f->options.block_bytes);
    f->block_wear[block]++;
}

static void cut_erase_nor(struct ptl_sim_flash *f, uint32_t block)
{
    uint32_t at = block * f->options.block_bytes;
    uint32_t len = f->options.block_bytes;
    uint32_t units = len / f->options.prog_bytes;
    uint8_t *state = f->unit_state + at / f->options.prog_bytes;
    switch (f->cut_kind) {
    case PTL_SIM_CUT_DROPPED:
        break;
    case PTL_SIM_CUT_DONE:
        erase_block(f, block);
        break;
    case PTL_SIM_CUT_REAR:
        memset(f->bytes + at + len / 2u, 0xFF, len - len / 2u);
        break;
    case PTL_SIM_CUT_GARBLED:
        for (uint32_t i = 0; i < len; i++) {
            f->bytes[at + i] |= random_byte(f);
        }
        break;
    case PTL_SIM_CUT_WEAK: // reads blank, is not erased
        memset(f->bytes + at, 0xFF, len);
        memset(state, UNIT_WEAK, units);
        break;
    default:
        memset(f->bytes + at, 0xFF, len / 2u);
        if (f->cut_kind == PTL_SIM_CUT_UNREADABLE) {
            state[units / 2u] = UNIT_UNREADABLE;
        }
        break;
    }
}

static bool is_on(const struct ptl_sim_flash *f)
{
    return !f->off && !f->dead;
}

static enum ptl_status sim_read(void *ctx, uint32_t block, uint32_t offset, void *buf, uint32_t len)
{
    struct ptl_sim_flash *f = ctx;
    PTL_ASSERT(block < f->options.block_count);
    PTL_ASSERT(offset + len <= f->options.block_bytes);
    PTL_ASSERT(f->options.file || f->pending != PENDING_ERASE);
    if (!is_on(f)) {
        return PTL_E_IO;
    }
    f->counts.reads++;
    uint32_t at = block * f->options.block_bytes + offset;
    uint32_t unit = f->options.prog_bytes;
    for (uint32_t u = at / unit; len > 0 && u <= (at + len - 1u) / unit; u++) {
        if (f->unit_state[u] == UNIT_UNREADABLE) {
            return PTL_E_IO;
        }
    }
    memcpy(buf, f->bytes + at, len);
    return PTL_OK;
}

static enum ptl_status sim_prog(void *ctx, uint32_t block, uint32_t offset, const void *bytes,
                                uint32_t len)
{
    struct ptl_sim_flash *f = ctx;
    uint32_t unit = f->options.prog_bytes;
    PTL_ASSERT(block < f->options.block_count);
    PTL_ASSERT(offset + len <= f->options.block_bytes);
    PTL_ASSERT(offset % unit == 0 && len % unit == 0 && len > 0);
    PTL_ASSERT(f->pending != PENDING_ERASE);
    if (!is_on(f)) {
        return PTL_E_IO;
    }
    uint32_t at = block * f->options.block_bytes + offset;
    bool cut = meets_cut(f);
    f->counts.progs++;
    f->counts.bytes_programmed += len;
    if (f->options.file) {
        uint32_t n = len;
        if (cut) { // a write that is killed may have got half way
            n = coin(f) ? len : ptl_prng_below(&f->prng, len + 1u);
        }
        memcpy(f->bytes + at, bytes, n);
        mark_dirty(f, at, n);
        write_back_some(f);
    } else {
        for (uint32_t u = at / unit; u < (at + len) / unit; u++) {
            PTL_ASSERT(f->unit_state[u] != UNIT_PROGRAMMED);
        }
        if (cut) {
            cut_program_nor(f, at, bytes, len);
        } else {
            program_units(f, at, bytes, len);
        }
    }
    if (cut) {
        power_off(f);
        return PTL_E_IO;
    }
    return PTL_OK;
}

static enum ptl_status do_erase(struct ptl_sim_flash *f, uint32_t block)
{
    bool cut = meets_cut(f);
    f->counts.erases++;
    if (cut && !f->options.file) {
        cut_erase_nor(f, block);
    } else if (!cut || coin(f)) {
        erase_block(f, block);
    }
    if (f->options.file) {
        write_back_some(f);
    }
    if (cut) {
        power_off(f);
        return PTL_E_IO;
    }
    return PTL_OK;
}

static enum ptl_status do_sync(struct ptl_sim_flash *f)
{
    bool cut = meets_cut(f);
    f->counts.syncs++;
    if (cut) {
        power_off(f);
        return PTL_E_IO;
    }
    bool fails = f->fail_sync == 0;
    f->fail_sync -= f->fail_sync == PTL_SIM_NEVER ? 0 : 1;
    for (uint32_t s = 0; f->options.file && s < sector_count(f); s++) {
        if (f->sector_dirty[s] && !fails) {
            write_back(f, s, PTL_SIM_SECTOR_BYTES);
        }
        f->sector_dirty[s] = false; // after an error too: the kernel calls the page clean
    }
    return fails ? PTL_E_IO : PTL_OK;
}

static enum ptl_status sim_erase(void *ctx, uint32_t block)
{
    struct ptl_sim_flash *f = ctx;
    PTL_ASSERT(block < f->options.block_count);
    PTL_ASSERT(f->pending == PENDING_NONE);
    if (!is_on(f)) {
        return PTL_E_IO;
    }
    if (f->options.async) {
        f->pending = PENDING_ERASE;
        f->pending_block = block;
        return PTL_E_PENDING;
    }
    return do_erase(f, block);
}

static enum ptl_status sim_sync(void *ctx)
{
    struct ptl_sim_flash *f = ctx;
    PTL_ASSERT(f->pending == PENDING_NONE);
    if (!is_on(f)) {
        return PTL_E_IO;
    }
    if (f->options.async) {
        f->pending = PENDING_SYNC;
        return PTL_E_PENDING;
    }
    return do_sync(f);
}

void ptl_sim_flash_init(struct ptl_sim_flash *f, const struct ptl_sim_flash_options *options)
{
    memset(f, 0, sizeof(*f));
    f->options = *options;
    f->flash = (struct ptl_flash){.ctx = f,
                                  .block_bytes = options->block_bytes,
                                  .block_count = options->block_count,
                                  .prog_bytes = options->prog_bytes,
                                  .read = sim_read,
                                  .prog = sim_prog,
                                  .erase = sim_erase,
                                  .sync = sim_sync};
    f->bytes = must_have(malloc(size_of(f)));
    f->medium = must_have(malloc(size_of(f)));
    f->unit_state = must_have(calloc(size_of(f) / options->prog_bytes, 1));
    f->sector_dirty = must_have(calloc(sector_count(f), sizeof(bool)));
    f->block_wear = must_have(calloc(options->block_count, sizeof(uint32_t)));
    memset(f->bytes, 0xFF, size_of(f));
    memset(f->medium, 0xFF, size_of(f));
    ptl_prng_seed(&f->prng, options->seed);
    f->cut_op = PTL_SIM_NEVER;
    f->fail_sync = PTL_SIM_NEVER;
}

void ptl_sim_flash_free(struct ptl_sim_flash *f)
{
    free(f->bytes);
    free(f->medium);
    free(f->unit_state);
    free(f->sector_dirty);
    free(f->block_wear);
    memset(f, 0, sizeof(*f));
}

void ptl_sim_flash_arm(struct ptl_sim_flash *f, uint32_t op, enum ptl_sim_cut kind)
{
    f->cut_op = op == PTL_SIM_NEVER ? op : f->counts.ops + op;
    f->cut_kind = kind;
    f->cut = false;
}

void ptl_sim_flash_cut_now(struct ptl_sim_flash *f, enum ptl_sim_cut kind)
{
    f->cut_kind = kind;
    power_off(f);
}

bool ptl_sim_flash_was_cut(const struct ptl_sim_flash *f)
{
    return f->cut;
}

void ptl_sim_flash_power_on(struct ptl_sim_flash *f)
{
    f->off = false;
    f->cut_op = PTL_SIM_NEVER;
    f->counts.ops = 0;
    f->pending = PENDING_NONE;
}

bool ptl_sim_flash_is_pending(const struct ptl_sim_flash *f)
{
    return f->pending != PENDING_NONE;
}

enum ptl_status ptl_sim_flash_complete(struct ptl_sim_flash *f)
{
    PTL_ASSERT(f->pending != PENDING_NONE);
    uint8_t pending = f->pending;
    f->pending = PENDING_NONE;
    if (!is_on(f)) {
        return PTL_E_IO;
    }
    return pending == PENDING_SYNC ? do_sync(f) : do_erase(f, f->pending_block);
}
