// media.c - the journal on its file.
#include "media.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

// Every missing level of the directory that `file` is in. Failures show when the file is opened.
static void directories_make(const char *file)
{
    char path[PTL_CONFIG_PATH_MAX];
    snprintf(path, sizeof(path), "%s", file);
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0750);
        *slash = '/';
    }
}

static enum ptl_media_result file_open(struct ptl_media *media, const struct ptl_config *cfg)
{
    const struct ptl_file_flash_config file = {
        .path = cfg->journal.file,
        .block_bytes = cfg->journal.block_bytes,
        .block_count = (uint32_t)(cfg->journal.bytes / cfg->journal.block_bytes),
        .event_fd = media->event_fd,
    };
    directories_make(cfg->journal.file);
    enum ptl_status status = ptl_file_flash_open(&media->flash, &file);
    if (status == PTL_OK) {
        return PTL_MEDIA_MOUNTED;
    }
    snprintf(media->why, sizeof(media->why), "journal: %s", media->flash.error_text);
    return status == PTL_E_DENIED ? PTL_MEDIA_BUSY : PTL_MEDIA_MISSING;
}

enum ptl_media_result ptl_media_open(struct ptl_media *media, const struct ptl_config *cfg,
                                     const char *boot)
{
    memset(media, 0, sizeof(*media));
    media->event_fd = -1;
    if (!cfg->journal.enabled) {
        snprintf(media->why, sizeof(media->why), "[journal] enabled = no");
        return PTL_MEDIA_OFF;
    }
    media->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (media->event_fd < 0) {
        snprintf(media->why, sizeof(media->why), "journal: no eventfd: %s", strerror(errno));
        return PTL_MEDIA_MISSING;
    }
    enum ptl_media_result opened = file_open(media, cfg);
    if (opened != PTL_MEDIA_MOUNTED) {
        return opened;
    }
    struct ptl_journal_config journal = {
        .flash = &media->flash.flash,
        .prog_buf = media->prog_buf,
        .prog_buf_bytes = sizeof(media->prog_buf),
        .read_buf = media->read_buf,
        .read_buf_bytes = sizeof(media->read_buf),
        .write_through = true,
        .page_cache = true,
    };
    snprintf(journal.boot, sizeof(journal.boot), "%s", boot);
    enum ptl_status status = ptl_journal_mount(&media->journal, &journal);
    if (status == PTL_OK) {
        media->mounted = true;
        return PTL_MEDIA_MOUNTED;
    }
    snprintf(media->why, sizeof(media->why), "journal %s: %s", cfg->journal.file,
             status == PTL_E_FORMAT ? "is not one, or of another version; move it away"
             : status == PTL_E_IO   ? media->flash.error_text
                                    : "its geometry is not usable; move it away");
    ptl_file_flash_close(&media->flash);
    return PTL_MEDIA_MISSING;
}

void ptl_media_start(struct ptl_media *media)
{
    media->flash.blocking = false;
}

bool ptl_media_take(struct ptl_media *media, enum ptl_status *result)
{
    uint64_t count = 0;
    ssize_t got = read(media->event_fd, &count, sizeof(count));
    (void)got; // only wakes; the answer is in the flash
    return ptl_file_flash_take(&media->flash, result);
}

void ptl_media_close(struct ptl_media *media, uint32_t wait_ms)
{
    if (media->mounted) {
        media->mounted = false;
        if (!ptl_file_flash_close_within(&media->flash, wait_ms)) {
            return; // its thread will write to event_fd
        }
    }
    if (media->event_fd >= 0) {
        close(media->event_fd);
        media->event_fd = -1;
    }
}
