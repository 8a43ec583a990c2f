// ptl_file_flash.h - a preallocated file as the medium of a journal.
//
// Blocks       reading, programming and erasing are plain preads and pwrites in the calling thread
//              (they end in the page cache); fdatasync runs on one worker thread, so that a card
//              that stalls does not stall the loop. While `blocking` is set (as after open, for
//              mount) it runs in the calling thread instead. Erasing a block fills it with 0xFF, in
//              pieces of 4 KiB, in the calling thread too: the kernel takes them into memory while
//              it has room for dirty pages; once it has none, it makes the loop wait.
// Completion   the worker writes to `event_fd`; the owner then takes the result once with
//              ptl_file_flash_take() and hands it to ptl_journal_media_ready().
// Sharing      the file is locked: a second agent gets PTL_E_DENIED and a text with the pid.
// Failure      after a failed write or sync everything fails until the file is opened anew;
//              error_text says what and why. A read that fails says so for itself alone.
// Threads      one owner; the worker is inside.
#pragma once

#include <pthread.h>

#include "ptl_flash.h"

#define PTL_FILE_FLASH_FREE_BYTES_MIN  (UINT64_C(10) << 20) // of the disk stay free
#define PTL_FILE_FLASH_FREE_INODES_MIN 100u

struct ptl_file_flash_config {
    const char *path;     // created (mode 0600) if it is not there
    uint32_t block_bytes; // for a new file; an existing one keeps its own geometry
    uint32_t block_count;
    int event_fd; // eventfd or write end of a pipe, non-blocking; -1: poll ptl_file_flash_take()
};

struct ptl_file_flash {
    struct ptl_flash flash; // give this to the journal
    bool blocking;          // sync in the calling thread; true after open
    char error_text[320];   // of the last failure, with errno's text
    // Private.
    int fd;
    int event_fd;
    bool failed;
    bool worker_runs;
    pthread_t worker;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool wanted, quit; // guarded by lock
    bool done;         // guarded by lock
    int done_errno;
    bool taken; // the owner has seen `done`
};

// Opens or creates, checks and locks. The file's bytes stay as they are; a new one is blank.
// PTL_E_INVALID  the file is something else, or its size does not fit its header
// PTL_E_DENIED   another process has it        PTL_E_FULL  too little space or too few inodes
// PTL_E_IO       anything else the system said. error_text is a sentence for the user.
PTL_MUST_USE enum ptl_status ptl_file_flash_open(struct ptl_file_flash *f,
                                                 const struct ptl_file_flash_config *cfg);
// Waits for the worker. Syncs nothing.
void ptl_file_flash_close(struct ptl_file_flash *f);
// The same, but a sync that hangs is waited for no longer than `wait_ms`. False: it still hangs;
// the descriptor, the lock on the file and *f are its thread's until the process ends.
bool ptl_file_flash_close_within(struct ptl_file_flash *f, uint32_t wait_ms);

// true once for each sync that answered PTL_E_PENDING and has ended: *result is its outcome.
bool ptl_file_flash_take(struct ptl_file_flash *f, enum ptl_status *result);

enum ptl_fs_kind {
    PTL_FS_DISK,
    PTL_FS_RAM,     // tmpfs, ramfs, or an overlay on one: nothing survives a power cut
    PTL_FS_NETWORK, // locks and syncs mean what the server makes of them
    PTL_FS_OVERLAY, // and what is below cannot be seen from here
};
// What kind of file system `path` (or, if there is no such file yet, its directory) is on.
// PTL_E_IO: it cannot be asked.
PTL_MUST_USE enum ptl_status ptl_file_flash_fs_kind(const char *path, enum ptl_fs_kind *kind);
