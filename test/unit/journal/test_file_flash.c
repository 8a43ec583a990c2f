// Goal: a journal in a real file keeps its promise through close, kill -9 and a second agent, and
// what is wrong with a file is said in words. Method: files in a fresh directory under TMPDIR;
// processes that are really killed.
#include "ptl_test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ptl_file_flash.h"
#include "ptl_journal.h"

struct host {
    char dir[128];
    char path[160];
    struct ptl_file_flash_config cfg;
    struct ptl_file_flash file;
    struct ptl_journal j;
    uint8_t prog_buf[4096];
    uint8_t read_buf[4096];
};

static void host_init(struct host *h)
{
    memset(h, 0, sizeof(*h));
    const char *tmp = getenv("TMPDIR");
    snprintf(h->dir, sizeof(h->dir), "%s/petrel-file-XXXXXX", tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(h->dir));
    snprintf(h->path, sizeof(h->path), "%s/journal", h->dir);
    h->cfg = (struct ptl_file_flash_config){
        .path = h->path, .block_bytes = 16384, .block_count = 16, .event_fd = -1};
}

static void host_done(struct host *h)
{
    unlink(h->path);
    rmdir(h->dir);
}

static enum ptl_status host_open(struct host *h)
{
    return ptl_file_flash_open(&h->file, &h->cfg);
}

static void host_mount(struct host *h)
{
    struct ptl_journal_config cfg = {.flash = &h->file.flash,
                                     .prog_buf = h->prog_buf,
                                     .prog_buf_bytes = sizeof(h->prog_buf),
                                     .read_buf = h->read_buf,
                                     .read_buf_bytes = sizeof(h->read_buf),
                                     .write_through = true,
                                     .page_cache = true,
                                     .boot = "this-boot"};
    assert_int_equal(ptl_journal_mount(&h->j, &cfg), PTL_OK);
}

static void append(struct host *h, uint32_t count)
{
    uint8_t record[200];
    for (uint32_t i = 0; i < count; i++) {
        memset(record, (uint8_t)h->j.run.next, sizeof(record));
        struct ptl_span span = {record, sizeof(record)};
        assert_int_equal(ptl_journal_append(&h->j, h->j.run.next, false, span), PTL_OK);
    }
}

static uint32_t count_readable(struct host *h)
{
    uint8_t buf[512];
    struct ptl_journal_cursor c = {0};
    struct ptl_journal_entry entry;
    uint32_t count = 0;
    while (ptl_journal_read(&h->j, &c, buf, sizeof(buf), &entry) == PTL_OK) {
        assert_int_equal(entry.record.len, 200);
        assert_int_equal(entry.record.ptr[199], (uint8_t)entry.seq);
        count++;
    }
    return count;
}

static void records_survive_close_and_open(void **state)
{
    (void)state;
    struct host h;
    struct stat st;
    host_init(&h);
    assert_int_equal(host_open(&h), PTL_OK);
    host_mount(&h);
    assert_int_equal(ptl_journal_run_open(&h.j, 7, PTL_MODE_SYNC, 0), PTL_OK);
    append(&h, 300); // over several blocks
    assert_int_equal(ptl_journal_sync(&h.j), PTL_OK);
    ptl_file_flash_close(&h.file);
    assert_int_equal(stat(h.path, &st), 0);
    assert_int_equal(st.st_size, 16 * 16384);
    assert_int_equal(st.st_mode & 0777, 0600);
    h.cfg.block_bytes = 65536; // a configuration that changed: the file keeps its own
    h.cfg.block_count = 32;
    assert_int_equal(host_open(&h), PTL_OK);
    assert_int_equal(h.file.flash.block_bytes, 16384);
    assert_int_equal(h.file.flash.block_count, 16);
    host_mount(&h);
    assert_int_equal(count_readable(&h), 300);
    assert_int_equal(h.j.ends[0].how, PTL_CLOSED);
    ptl_file_flash_close(&h.file);
    host_done(&h);
}

static void syncs_on_the_worker_and_says_when(void **state)
{
    (void)state;
    struct host h;
    host_init(&h);
    h.cfg.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_true(h.cfg.event_fd >= 0);
    assert_int_equal(host_open(&h), PTL_OK);
    host_mount(&h);
    h.file.blocking = false;
    assert_int_equal(ptl_journal_run_open(&h.j, 7, PTL_MODE_DIRECT, 0), PTL_OK);
    for (int commits = 0; commits < 5; commits++) {
        append(&h, 10);
        assert_int_equal(ptl_journal_sync(&h.j), PTL_E_PENDING);
        append(&h, 1);
        struct pollfd wait = {.fd = h.cfg.event_fd, .events = POLLIN};
        assert_int_equal(poll(&wait, 1, 10000), 1);
        uint64_t n = 0;
        assert_int_equal(read(h.cfg.event_fd, &n, sizeof(n)), sizeof(n));
        enum ptl_status result = PTL_E_IO;
        assert_true(ptl_file_flash_take(&h.file, &result));
        assert_false(ptl_file_flash_take(&h.file, &result));
        assert_int_equal(result, PTL_OK);
        assert_int_equal(ptl_journal_media_ready(&h.j, result), PTL_OK);
        assert_int_equal(h.j.durable_next, h.j.run.next - 1);
    }
    assert_int_equal(count_readable(&h), 55);
    ptl_file_flash_close(&h.file);
    close(h.cfg.event_fd);
    host_done(&h);
}

// The child appends until it is killed; what it said it had appended must be there.
static void what_was_appended_survives_kill_9(void **state)
{
    (void)state;
    struct host h;
    host_init(&h);
    for (unsigned round = 0; round < 5; round++) {
        int told[2];
        assert_int_equal(pipe(told), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            if (host_open(&h) != PTL_OK) {
                _exit(1);
            }
            host_mount(&h);
            if (ptl_journal_run_open(&h.j, 100 + round, PTL_MODE_DIRECT, 0) != PTL_OK) {
                _exit(1);
            }
            for (;;) {
                append(&h, 1);
                if (write(told[1], &h.j.run.next, sizeof(h.j.run.next)) < 0) {
                    _exit(1);
                }
            }
        }
        close(told[1]);
        uint64_t next = 0;
        for (unsigned i = 0; i < 20 + round * 37; i++) {
            uint64_t value = 0;
            assert_int_equal(read(told[0], &value, sizeof(value)), sizeof(value));
            next = value;
        }
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        uint64_t value = 0;
        while (read(told[0], &value, sizeof(value)) == sizeof(value)) {
            next = value;
        }
        close(told[0]);
        assert_int_equal(host_open(&h), PTL_OK);
        host_mount(&h);
        const struct ptl_end *end = &h.j.ends[h.j.end_count - 1u];
        assert_int_equal(end->epoch, 100 + round);
        assert_int_equal(end->how, PTL_CLOSED);
        assert_in_range(end->next, next, next + 1); // one may not have been told any more
        assert_int_equal(count_readable(&h), h.j.held);
        ptl_file_flash_close(&h.file);
    }
    host_done(&h);
}

static void a_second_agent_is_refused_by_name(void **state)
{
    (void)state;
    struct host h;
    struct host second;
    host_init(&h);
    second = h;
    assert_int_equal(host_open(&h), PTL_OK);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char pid[32];
        snprintf(pid, sizeof(pid), "process %ld", (long)getppid());
        second.cfg.path = second.path;
        bool good =
            host_open(&second) == PTL_E_DENIED && strstr(second.file.error_text, pid) != NULL;
        _exit(good ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    second.cfg.path = second.path;
    assert_int_equal(host_open(&second), PTL_E_DENIED); // in the same process too
    ptl_file_flash_close(&h.file);
    assert_int_equal(host_open(&second), PTL_OK);
    ptl_file_flash_close(&second.file);
    host_done(&h);
}

static void write_file(const char *path, const char *text, size_t size)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    close(fd);
}

static void other_files_are_left_alone(void **state)
{
    (void)state;
    struct host h;
    struct stat st;
    host_init(&h);
    write_file(h.path, "my thesis", 5000);
    assert_int_equal(host_open(&h), PTL_E_INVALID);
    assert_non_null(strstr(h.file.error_text, "is not a Petrel journal"));
    assert_int_equal(stat(h.path, &st), 0);
    assert_int_equal(st.st_size, 5000);
    // A creation that was cut short is taken up again.
    write_file(h.path, "", 40960);
    assert_int_equal(host_open(&h), PTL_OK);
    host_mount(&h);
    ptl_file_flash_close(&h.file);
    // A journal that was cut.
    assert_int_equal(truncate(h.path, 100000), 0);
    assert_int_equal(host_open(&h), PTL_E_INVALID);
    assert_non_null(strstr(h.file.error_text, "cut or copied badly"));
    h.cfg.path = h.dir;
    assert_int_equal(host_open(&h), PTL_E_IO);
    assert_non_null(strstr(h.file.error_text, strerror(EISDIR)));
    host_done(&h);
}

static void a_disk_that_is_too_small_is_said(void **state)
{
    (void)state;
    struct host h;
    host_init(&h);
    h.cfg.block_bytes = 1u << 20;
    h.cfg.block_count = 4000000; // 4 TB
    assert_int_equal(host_open(&h), PTL_E_FULL);
    assert_non_null(strstr(h.file.error_text, "make room"));
    host_done(&h);
}

static void a_failed_write_is_said_and_final(void **state)
{
    (void)state;
    struct host h;
    struct rlimit before;
    host_init(&h);
    assert_int_equal(host_open(&h), PTL_OK);
    host_mount(&h);
    assert_int_equal(ptl_journal_run_open(&h.j, 7, PTL_MODE_DIRECT, 0), PTL_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit small = {.rlim_cur = 16384, .rlim_max = before.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    uint8_t record[1000] = {0};
    struct ptl_span span = {record, sizeof(record)};
    enum ptl_status status = PTL_OK;
    for (int i = 0; i < 100 && status == PTL_OK; i++) {
        status = ptl_journal_append(&h.j, h.j.run.next, false, span);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(status, PTL_E_IO);
    assert_non_null(strstr(h.file.error_text, strerror(EFBIG)));
    assert_int_equal(ptl_journal_sync(&h.j), PTL_E_IO);
    assert_int_equal(h.file.flash.sync(&h.file), PTL_E_IO); // until it is opened anew
    ptl_file_flash_close(&h.file);
    assert_int_equal(host_open(&h), PTL_OK);
    host_mount(&h);
    assert_in_range(h.j.held, 10, 16);
    ptl_file_flash_close(&h.file);
    host_done(&h);
}

static void memory_backed_file_systems_are_known(void **state)
{
    (void)state;
    enum ptl_fs_kind kind = PTL_FS_DISK;
    struct stat st;
    if (stat("/dev/shm", &st) != 0) {
        skip();
    }
    assert_int_equal(ptl_file_flash_fs_kind("/dev/shm/no-such-journal", &kind), PTL_OK);
    assert_int_equal(kind, PTL_FS_RAM);
    assert_int_equal(ptl_file_flash_fs_kind("/no-such-dir/at/all", &kind), PTL_E_IO);
    assert_int_equal(ptl_file_flash_fs_kind("relative-name", &kind), PTL_OK);
    assert_int_equal(ptl_file_flash_fs_kind("/journal", &kind), PTL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_survive_close_and_open),
        cmocka_unit_test(syncs_on_the_worker_and_says_when),
        cmocka_unit_test(what_was_appended_survives_kill_9),
        cmocka_unit_test(a_second_agent_is_refused_by_name),
        cmocka_unit_test(other_files_are_left_alone),
        cmocka_unit_test(a_disk_that_is_too_small_is_said),
        cmocka_unit_test(a_failed_write_is_said_and_final),
        cmocka_unit_test(memory_backed_file_systems_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
