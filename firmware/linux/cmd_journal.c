// cmd_journal.c - `petrel journal info|verify FILE`: looks into a journal without writing a byte.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"
#include "ptl_journal_inspect.h"

static const char help[] =
    "petrel journal info FILE     what a journal holds\n"
    "petrel journal verify FILE   the same, and a line for each block that is damaged\n"
    "\n"
    "Read only; the agent may be running (then the newest entries may look torn). The agent keeps\n"
    "its journal in journal.ptl in its state directory, or where [journal] file says.\n"
    "\n"
    "Exit status: 0 whole, 1 verify found damage, 2 no journal.\n";

struct look {
    struct ptl_flash flash;
    struct ptl_journal journal;
    uint8_t prog_buf[PTL_FLASH_PROG_BYTES_MAX];
    uint8_t read_buf[4096];
    int fd;
    bool list;
    uint32_t blocks, unreadable, cut_short;
    uint64_t data, held, damaged;
};

static enum ptl_status file_read(void *ctx, uint32_t block, uint32_t offset, void *buf,
                                 uint32_t len)
{
    const struct look *look = ctx;
    off_t at = (off_t)block * (off_t)look->flash.block_bytes + (off_t)offset;
    return pread(look->fd, buf, len, at) == (ssize_t)len ? PTL_OK : PTL_E_IO;
}

static enum ptl_status no_prog(void *ctx, uint32_t block, uint32_t offset, const void *bytes,
                               uint32_t len)
{
    (void)ctx;
    (void)block;
    (void)offset;
    (void)bytes;
    (void)len;
    return PTL_E_IO;
}

static enum ptl_status no_erase(void *ctx, uint32_t block)
{
    (void)ctx;
    (void)block;
    return PTL_E_IO;
}

static enum ptl_status no_sync(void *ctx)
{
    (void)ctx;
    return PTL_E_IO;
}

// Blocks may be of any size: a header stands at a multiple of the smallest one.
static bool geometry_find(struct look *look, off_t size)
{
    uint8_t bytes[PTL_JOURNAL_BLOCK_BYTES_MIN];
    for (off_t at = 0; at < size; at += (off_t)sizeof(bytes)) {
        ssize_t got = pread(look->fd, bytes, sizeof(bytes), at);
        if (got > 0 &&
            ptl_journal_geometry((struct ptl_span){bytes, (size_t)got}, &look->flash) == PTL_OK) {
            return true;
        }
    }
    return false;
}

static void block_end(void *ctx, const struct ptl_journal_block_info *info)
{
    struct look *look = ctx;
    look->blocks++;
    look->unreadable += info->readable ? 0 : 1;
    look->cut_short += info->cut_short ? 1 : 0;
    look->data += info->data;
    look->held += info->held;
    look->damaged += info->damaged;
    if (look->list && (!info->readable || info->damaged > 0 || info->cut_short)) {
        printf("block %" PRIu32 " (generation %" PRIu32 "): %s, %" PRIu32
               " entries readable, %" PRIu32 " damaged%s\n",
               info->block, info->generation, info->readable ? "header fine" : "header unreadable",
               info->data, info->damaged,
               info->cut_short ? ", the rest of it is torn or damaged" : "");
    }
}

static void run_print(const struct ptl_journal *j)
{
    static const char *const modes[] = {"ram", "direct", "sync"};
    printf("device   %s\n", j->device[0] != '\0' ? j->device : "(none stored)");
    printf("run      %" PRIu32 ", epoch %016" PRIx64 ", %s, mode %s, seq %" PRIu64 " to %" PRIu64
           "\n",
           j->run.run, j->run.epoch, j->run.open ? "not closed" : "closed",
           modes[j->run.mode < 3 ? j->run.mode : 0], j->run.first, j->run.next);
    for (uint32_t i = 0; i < j->gap_count; i++) {
        const struct ptl_gap *gap = &j->gaps[i];
        printf("gap      epoch %016" PRIx64 " seq %" PRIu64 " to %" PRIu64 ", %s\n", gap->epoch,
               gap->first, gap->last, gap->kind == PTL_LOST ? "lost" : "uncertain");
    }
    for (uint32_t i = 0; i < j->end_count; i++) {
        const struct ptl_end *end = &j->ends[i];
        printf("end      epoch %016" PRIx64 " at %" PRIu64 ", %s, at most %" PRIu32 " uncertain\n",
               end->epoch, end->next, end->how == PTL_CLOSED ? "closed" : "torn", end->at_most);
    }
}

static void look_print(const struct look *look)
{
    const struct ptl_journal *j = &look->journal;
    printf("journal  %" PRIu32 " blocks of %" PRIu32 " bytes, format %u, %" PRIu64
           " erases since it was made\n",
           look->flash.block_count, look->flash.block_bytes, PTL_JOURNAL_FORMAT,
           j->counters.erases);
    run_print(j);
    printf("entries  %" PRIu64 " events in %" PRIu32 " blocks, %" PRIu64
           " not yet delivered, %" PRIu64 " damaged\n",
           look->data, look->blocks, look->held, look->damaged);
}

static int look_at(struct look *look, const char *path)
{
    struct stat st;
    look->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (look->fd < 0 || fstat(look->fd, &st) != 0) {
        fprintf(stderr, "petrel: %s: %s\n", path, strerror(errno));
        return PTL_EXIT_USAGE;
    }
    look->flash = (struct ptl_flash){
        .ctx = look, .read = file_read, .prog = no_prog, .erase = no_erase, .sync = no_sync};
    if (!geometry_find(look, st.st_size)) {
        fprintf(stderr, "petrel: %s: no journal, or one that nothing was written to yet\n", path);
        return PTL_EXIT_USAGE;
    }
    const struct ptl_journal_config cfg = {
        .flash = &look->flash,
        .prog_buf = look->prog_buf,
        .prog_buf_bytes = sizeof(look->prog_buf),
        .read_buf = look->read_buf,
        .read_buf_bytes = sizeof(look->read_buf),
        .write_through = true,
        .page_cache = true,
    };
    const struct ptl_journal_visitor visitor = {.ctx = look, .block_end = block_end};
    enum ptl_status status = ptl_journal_inspect(&look->journal, &cfg, &visitor);
    if (status != PTL_OK) {
        fprintf(stderr, "petrel: %s: %s\n", path,
                status == PTL_E_EMPTY    ? "nothing was written to it yet"
                : status == PTL_E_FORMAT ? "not a journal, or of another version"
                                         : "cannot be read");
        return PTL_EXIT_USAGE;
    }
    look_print(look);
    return PTL_EXIT_OK;
}

int ptl_cmd_journal(int argc, char **argv)
{
    static struct look look;
    if (ptl_help_asked(argc, argv, help)) {
        return PTL_EXIT_OK;
    }
    bool verify = argc == 3 && strcmp(argv[1], "verify") == 0;
    if (!verify && (argc != 3 || strcmp(argv[1], "info") != 0)) {
        fputs(help, stderr);
        return PTL_EXIT_USAGE;
    }
    look.list = verify;
    int result = look_at(&look, argv[2]);
    if (look.fd >= 0) {
        close(look.fd);
    }
    if (result == PTL_EXIT_OK && verify && look.damaged + look.unreadable > 0) {
        puts("damaged: what cannot be read is reported as a gap when the agent starts");
        return PTL_EXIT_NO;
    }
    if (result == PTL_EXIT_OK && verify) {
        puts("whole");
    }
    return result;
}
