// ptl_flash.h - the medium under a journal: erase blocks, as raw NOR flash has them.
//
// A port fills one constant struct. What it promises (the journal is built on this and no more):
//   - sync is a barrier: everything programmed or erased before it is on the medium after it;
//   - a program call stays inside one block, is aligned to prog_bytes and a multiple of it long;
//     each unit of prog_bytes is programmed once per erase (a file also takes the same bytes again
//     in place, see page_cache in ptl_journal.h);
//   - erase leaves every byte 0xFF (a file must really write them);
//   - a unit that cannot be read back returns PTL_E_IO for that read, never a fault;
//   - after a failed program, erase or sync every call fails until the medium is opened again.
// erase and sync may answer PTL_E_PENDING: the port works on it elsewhere and the owner of the
// journal is told by ptl_journal_media_ready(). Only one such operation is under way at a time.
#pragma once

#include "ptl_base.h"

#define PTL_FLASH_PROG_BYTES_MAX 512

struct ptl_flash {
    void *ctx;
    uint32_t block_bytes; // erase unit, 2 KiB to 1 MiB, multiple of prog_bytes (a port may join
                          // several smaller erase units into one block)
    uint32_t block_count; // 3 at least
    uint32_t prog_bytes;  // program granularity: 1, 2, 4 ... PTL_FLASH_PROG_BYTES_MAX

    enum ptl_status (*read)(void *ctx, uint32_t block, uint32_t offset, void *buf, uint32_t len);
    enum ptl_status (*prog)(void *ctx, uint32_t block, uint32_t offset, const void *bytes,
                            uint32_t len);
    enum ptl_status (*erase)(void *ctx, uint32_t block); // PTL_OK, PTL_E_PENDING, PTL_E_IO
    enum ptl_status (*sync)(void *ctx);                  // PTL_OK, PTL_E_PENDING, PTL_E_IO
};
