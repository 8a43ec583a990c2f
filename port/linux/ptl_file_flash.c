// ptl_file_flash.c - see ptl_file_flash.h.
#include "ptl_file_flash.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "ptl_journal_inspect.h"

#define WORKER_STACK_BYTES (64u * 1024u)
#define PROBE_BYTES        PTL_JOURNAL_BLOCK_BYTES_MIN

static void say(struct ptl_file_flash *f, const char *what, int error)
{
    char reason[96];
    // The GNU and the POSIX variant differ in what they return; the buffer serves both.
    snprintf(reason, sizeof(reason), "%s", strerror(error));
    snprintf(f->error_text, sizeof(f->error_text), "%.200s: %s", what, reason);
}

static bool write_all(int fd, const uint8_t *bytes, size_t len, off_t at)
{
    while (len > 0) {
        ssize_t n = pwrite(fd, bytes, len, at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            errno = n == 0 ? EIO : errno;
            return false;
        }
        bytes += n;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

static bool read_all(int fd, uint8_t *bytes, size_t len, off_t at)
{
    while (len > 0) {
        ssize_t n = pread(fd, bytes, len, at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            errno = n == 0 ? EIO : errno;
            return false;
        }
        bytes += n;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

static bool fill(int fd, uint8_t with, uint64_t len, off_t at)
{
    uint8_t chunk[4096];
    memset(chunk, with, sizeof(chunk));
    while (len > 0) {
        size_t n = len < sizeof(chunk) ? (size_t)len : sizeof(chunk);
        if (!write_all(fd, chunk, n, at)) {
            return false;
        }
        at += (off_t)n;
        len -= n;
    }
    return true;
}

static off_t place(const struct ptl_file_flash *f, uint32_t block, uint32_t offset)
{
    return (off_t)block * (off_t)f->flash.block_bytes + (off_t)offset;
}

static enum ptl_status file_read(void *ctx, uint32_t block, uint32_t offset, void *buf,
                                 uint32_t len)
{
    struct ptl_file_flash *f = ctx;
    if (f->fd < 0 || !read_all(f->fd, buf, len, place(f, block, offset))) {
        say(f, "reading the journal file", errno);
        return PTL_E_IO;
    }
    return PTL_OK;
}

static enum ptl_status fail(struct ptl_file_flash *f, const char *what, int error)
{
    f->failed = true;
    say(f, what, error);
    return PTL_E_IO;
}

static enum ptl_status file_prog(void *ctx, uint32_t block, uint32_t offset, const void *bytes,
                                 uint32_t len)
{
    struct ptl_file_flash *f = ctx;
    if (f->failed) {
        return PTL_E_IO;
    }
    return write_all(f->fd, bytes, len, place(f, block, offset))
               ? PTL_OK
               : fail(f, "writing the journal file", errno);
}

static enum ptl_status file_erase(void *ctx, uint32_t block)
{
    struct ptl_file_flash *f = ctx;
    if (f->failed) {
        return PTL_E_IO;
    }
    return fill(f->fd, 0xFF, f->flash.block_bytes, place(f, block, 0))
               ? PTL_OK
               : fail(f, "writing the journal file", errno);
}

static void *worker_main(void *arg)
{
    struct ptl_file_flash *f = arg;
    pthread_mutex_lock(&f->lock);
    while (!f->quit) {
        if (!f->wanted) {
            pthread_cond_wait(&f->wake, &f->lock);
            continue;
        }
        f->wanted = false;
        pthread_mutex_unlock(&f->lock);
        int error = fdatasync(f->fd) == 0 ? 0 : errno;
        pthread_mutex_lock(&f->lock);
        f->done_errno = error;
        f->done = true;
        const uint64_t one = 1;
        if (f->event_fd >= 0) {
            // A full counter wakes the owner as well.
            ssize_t n = write(f->event_fd, &one, sizeof(one));
            (void)n;
        }
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

// Signals belong to the owner's thread.
static int start_worker(struct ptl_file_flash *f)
{
    sigset_t all;
    sigset_t before;
    pthread_attr_t attr;
    sigfillset(&all);
    int error = pthread_attr_init(&attr);
    if (error != 0) {
        return error;
    }
    (void)pthread_attr_setstacksize(&attr, WORKER_STACK_BYTES);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&f->worker, &attr, worker_main, f);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    f->worker_runs = error == 0;
    return error;
}

static enum ptl_status file_sync(void *ctx)
{
    struct ptl_file_flash *f = ctx;
    if (f->failed) {
        return PTL_E_IO;
    }
    if (!f->blocking && !f->worker_runs) {
        int error = start_worker(f);
        if (error != 0) {
            return fail(f, "starting the journal's sync thread", error);
        }
    }
    if (f->blocking) {
        return fdatasync(f->fd) == 0 ? PTL_OK : fail(f, "syncing the journal file", errno);
    }
    pthread_mutex_lock(&f->lock);
    f->wanted = true;
    f->done = false;
    pthread_cond_signal(&f->wake);
    pthread_mutex_unlock(&f->lock);
    return PTL_E_PENDING;
}

bool ptl_file_flash_take(struct ptl_file_flash *f, enum ptl_status *result)
{
    pthread_mutex_lock(&f->lock);
    bool done = f->done;
    int error = f->done_errno;
    f->done = false;
    pthread_mutex_unlock(&f->lock);
    if (done) {
        *result = error == 0 ? PTL_OK : fail(f, "syncing the journal file", error);
    }
    return done;
}

// Two agents on one journal would destroy it.
static enum ptl_status take_lock(struct ptl_file_flash *f, const char *path)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    bool busy = flock(f->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (!busy && fcntl(f->fd, F_SETLK, &lock) == 0) {
        return PTL_OK;
    }
    if (!busy && errno != EAGAIN && errno != EACCES) {
        say(f, "locking the journal file", errno);
        return PTL_E_IO;
    }
    lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
    long pid = fcntl(f->fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? (long)lock.l_pid : 0;
    if (pid > 0) {
        snprintf(f->error_text, sizeof(f->error_text),
                 "%.150s is in use by process %ld: stop that agent, or give this one another file",
                 path, pid);
    } else {
        snprintf(f->error_text, sizeof(f->error_text),
                 "%.150s is in use by another agent: stop it, or give this one another file", path);
    }
    return PTL_E_DENIED;
}

static enum ptl_status check_space(struct ptl_file_flash *f, uint64_t bytes)
{
    struct statvfs fs;
    if (fstatvfs(f->fd, &fs) != 0) {
        say(f, "asking for free space", errno);
        return PTL_E_IO;
    }
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (free_bytes < bytes + PTL_FILE_FLASH_FREE_BYTES_MIN) {
        snprintf(f->error_text, sizeof(f->error_text),
                 "the journal needs %llu KiB and leaves 10 MiB of the disk free, but only %llu KiB "
                 "are free: make room, or make the journal smaller",
                 (unsigned long long)(bytes >> 10), (unsigned long long)(free_bytes >> 10));
        return PTL_E_FULL;
    }
    if (fs.f_files > 0 && fs.f_favail < PTL_FILE_FLASH_FREE_INODES_MIN) {
        snprintf(f->error_text, sizeof(f->error_text),
                 "the journal leaves 100 inodes of the disk free, but only %llu are: remove files",
                 (unsigned long long)fs.f_favail);
        return PTL_E_FULL;
    }
    return PTL_OK;
}

// A new file's name must survive too.
static bool sync_directory(const char *path)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(dir, sizeof(dir), "%.*s", slash == NULL ? 1 : (int)(slash - path) + 1,
             slash == NULL ? "." : path);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    bool good = fsync(fd) == 0 || errno == EINVAL; // some file systems have nothing to sync
    close(fd);
    return good;
}

static enum ptl_status preallocate(struct ptl_file_flash *f, const char *path, uint64_t from,
                                   uint64_t bytes)
{
    enum ptl_status status = check_space(f, bytes - from);
    if (status != PTL_OK) {
        return status;
    }
    int error = posix_fallocate(f->fd, 0, (off_t)bytes);
    if (error == EOPNOTSUPP || error == EINVAL || error == ENOSYS) {
        error = fill(f->fd, 0x00, bytes - from, (off_t)from) ? 0 : errno;
    }
    if (error == 0 && fsync(f->fd) != 0) {
        error = errno;
    }
    if (error == 0 && !sync_directory(path)) {
        error = errno;
    }
    if (error != 0) {
        say(f, "preallocating the journal file", error);
        return error == ENOSPC || error == EDQUOT ? PTL_E_FULL : PTL_E_IO;
    }
    return PTL_OK;
}

static bool is_untouched(const uint8_t *bytes, size_t len)
{
    for (size_t i = 1; i < len; i++) {
        if (bytes[i] != bytes[0]) {
            return false;
        }
    }
    return len == 0 || bytes[0] == 0x00 || bytes[0] == 0xFF;
}

// Looks for a block header, whatever the size of blocks. *untouched: nothing was ever written.
static bool find_geometry(struct ptl_file_flash *f, uint64_t size, bool *untouched)
{
    uint8_t bytes[PROBE_BYTES];
    *untouched = true;
    for (uint64_t at = 0; at < size; at += PROBE_BYTES) {
        size_t n = size - at < sizeof(bytes) ? (size_t)(size - at) : sizeof(bytes);
        if (!read_all(f->fd, bytes, n, (off_t)at)) {
            *untouched = false;
            continue;
        }
        if (ptl_journal_geometry((struct ptl_span){bytes, n}, &f->flash) == PTL_OK) {
            return true;
        }
        *untouched = *untouched && is_untouched(bytes, n);
    }
    return false;
}

static enum ptl_status take_geometry(struct ptl_file_flash *f,
                                     const struct ptl_file_flash_config *cfg)
{
    struct stat st;
    if (fstat(f->fd, &st) != 0) {
        say(f, cfg->path, errno);
        return PTL_E_IO;
    }
    if (!S_ISREG(st.st_mode)) {
        snprintf(f->error_text, sizeof(f->error_text), "%.200s is not a regular file", cfg->path);
        return PTL_E_INVALID;
    }
    uint64_t size = (uint64_t)st.st_size;
    uint64_t wanted = (uint64_t)cfg->block_bytes * cfg->block_count;
    bool untouched = true;
    if (find_geometry(f, size, &untouched)) {
        uint64_t own = (uint64_t)f->flash.block_bytes * f->flash.block_count;
        if (own == size && f->flash.prog_bytes == 1) {
            return PTL_OK;
        }
        snprintf(f->error_text, sizeof(f->error_text),
                 "%.150s is a journal of %llu bytes in a file of %llu: it was cut or copied badly",
                 cfg->path, (unsigned long long)own, (unsigned long long)size);
        return PTL_E_INVALID;
    }
    f->flash.block_bytes = cfg->block_bytes;
    f->flash.block_count = cfg->block_count;
    if (size == wanted) {
        return PTL_OK; // mount decides
    }
    if (!untouched || size > wanted) {
        snprintf(f->error_text, sizeof(f->error_text),
                 "%.150s is not a Petrel journal: move it away, or name another file", cfg->path);
        return PTL_E_INVALID;
    }
    return preallocate(f, cfg->path, size, wanted); // new, or its creation was cut short
}

enum ptl_status ptl_file_flash_open(struct ptl_file_flash *f,
                                    const struct ptl_file_flash_config *cfg)
{
    memset(f, 0, sizeof(*f));
    f->flash = (struct ptl_flash){.ctx = f,
                                  .prog_bytes = 1,
                                  .read = file_read,
                                  .prog = file_prog,
                                  .erase = file_erase,
                                  .sync = file_sync};
    f->blocking = true;
    f->event_fd = cfg->event_fd;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->wake, NULL);
    f->fd = open(cfg->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    enum ptl_status status = PTL_OK;
    if (f->fd < 0) {
        char what[200];
        int error = errno;
        snprintf(what, sizeof(what), "opening %.150s", cfg->path);
        say(f, what, error);
        status = PTL_E_IO;
    }
    status = status == PTL_OK ? take_lock(f, cfg->path) : status;
    status = status == PTL_OK ? take_geometry(f, cfg) : status;
    if (status != PTL_OK) {
        ptl_file_flash_close(f);
    }
    return status;
}

static void worker_quit(struct ptl_file_flash *f)
{
    pthread_mutex_lock(&f->lock);
    f->quit = true;
    pthread_cond_signal(&f->wake);
    pthread_mutex_unlock(&f->lock);
}

bool ptl_file_flash_close_within(struct ptl_file_flash *f, uint32_t wait_ms)
{
    if (f->worker_runs) {
        struct timespec until;
        worker_quit(f);
        clock_gettime(CLOCK_REALTIME, &until); // the one that the join goes by
        until.tv_sec += (time_t)(wait_ms / 1000);
        until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (pthread_timedjoin_np(f->worker, NULL, &until) != 0) {
            pthread_detach(f->worker);
            f->failed = true;
            return false;
        }
        f->worker_runs = false;
    }
    ptl_file_flash_close(f);
    return true;
}

void ptl_file_flash_close(struct ptl_file_flash *f)
{
    if (f->worker_runs) {
        worker_quit(f);
        pthread_join(f->worker, NULL);
        f->worker_runs = false;
    }
    if (f->fd >= 0) {
        close(f->fd);
        pthread_cond_destroy(&f->wake);
        pthread_mutex_destroy(&f->lock);
    }
    f->fd = -1;
    f->failed = true;
}
