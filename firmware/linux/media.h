// media.h - the journal on its file: opening, mounting, and what became of it.
#pragma once

#include "config.h"
#include "ptl_file_flash.h"
#include "ptl_journal.h"

struct ptl_media {
    struct ptl_journal journal;
    struct ptl_file_flash flash;
    bool mounted;
    int event_fd;   // readable once a slow operation has finished
    char why[1024]; // not mounted: in words
    uint8_t prog_buf[64];
    uint8_t read_buf[4096];
};

enum ptl_media_result {
    PTL_MEDIA_MOUNTED,
    PTL_MEDIA_OFF,     // the config wants none
    PTL_MEDIA_MISSING, // cannot be had now: `why`; the agent can run in RAM
    PTL_MEDIA_BUSY,    // another agent has it: `why`; this one must not run
};

// Makes the directory if it is missing.
enum ptl_media_result ptl_media_open(struct ptl_media *media, const struct ptl_config *cfg,
                                     const char *boot);
// From here on slow operations run beside the loop.
void ptl_media_start(struct ptl_media *media);
// True if an operation has finished; its result is for ptl_agent_media_ready().
bool ptl_media_take(struct ptl_media *media, enum ptl_status *result);
// A sync that hangs is waited for no longer than `wait_ms`; then `media` must outlive the process.
void ptl_media_close(struct ptl_media *media, uint32_t wait_ms);
