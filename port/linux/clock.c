// clock.c - time, boot id and random bits of the host.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "ptl_clock.h"

#define KERNEL_ASK_MS 1000
// How far a quartz may drift while only a server's Date is known: 200 ppm.
#define DRIFT_DIVISOR 5000

void ptl_clock_init(struct ptl_clock *clock)
{
    memset(clock, 0, sizeof(*clock));
    clock->kernel_err_ms = PTL_TIME_UNKNOWN;
}

static uint32_t kernel_error_ms(void)
{
    struct timex timex = {.modes = 0};
    int state = adjtimex(&timex);
    if (state < 0 || state == TIME_ERROR || (timex.status & STA_UNSYNC) != 0 ||
        timex.maxerror < 0) {
        return PTL_TIME_UNKNOWN;
    }
    uint64_t error_ms = (uint64_t)timex.maxerror / 1000 + 1;
    return error_ms < PTL_TIME_UNKNOWN ? (uint32_t)error_ms : PTL_TIME_UNKNOWN;
}

static int64_t read_ms(clockid_t id)
{
    struct timespec time = {0};
    int rc = clock_gettime(id, &time);
    PTL_ASSERT(rc == 0);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

struct ptl_now ptl_clock_now(struct ptl_clock *clock)
{
    struct ptl_now now = {.mono_ms = (uint64_t)read_ms(CLOCK_BOOTTIME),
                          .unix_err_ms = PTL_TIME_UNKNOWN};
    PTL_ASSERT(now.mono_ms >= clock->mono_last_ms);
    clock->mono_last_ms = now.mono_ms;
    if (!clock->asked || now.mono_ms - clock->kernel_asked_ms >= KERNEL_ASK_MS) {
        clock->asked = true;
        clock->kernel_asked_ms = now.mono_ms;
        clock->kernel_err_ms = kernel_error_ms();
    }
    if (clock->kernel_err_ms != PTL_TIME_UNKNOWN) {
        now.unix_ms = read_ms(CLOCK_REALTIME);
        now.unix_err_ms = clock->kernel_err_ms;
    } else if (clock->server_known) {
        uint64_t error_ms =
            clock->server_err_ms + (now.mono_ms - clock->server_at_ms) / DRIFT_DIVISOR;
        now.unix_ms = (int64_t)now.mono_ms + clock->server_offset_ms;
        now.unix_err_ms = error_ms < PTL_TIME_UNKNOWN ? (uint32_t)error_ms : PTL_TIME_UNKNOWN;
    }
    return now;
}

static bool agree(int64_t a, int64_t b, uint64_t error_ms)
{
    uint64_t apart = a > b ? (uint64_t)(a - b) : (uint64_t)(b - a);
    return apart <= error_ms;
}

void ptl_clock_server_date(struct ptl_clock *clock, int64_t unix_ms, uint32_t err_ms,
                           uint64_t mono_ms)
{
    int64_t offset_ms = unix_ms - (int64_t)mono_ms;
    uint64_t drift_ms = (mono_ms - clock->server_at_ms) / DRIFT_DIVISOR;
    if (clock->server_known && !agree(offset_ms, clock->server_offset_ms,
                                      (uint64_t)err_ms + clock->server_err_ms + drift_ms)) {
        bool second = clock->server_doubted && agree(offset_ms, clock->doubt_offset_ms,
                                                     (uint64_t)err_ms + clock->doubt_err_ms);
        clock->server_doubted = true;
        clock->doubt_offset_ms = offset_ms;
        clock->doubt_err_ms = err_ms;
        if (!second) {
            return;
        }
    } else if (clock->server_known && clock->server_err_ms + drift_ms <= err_ms) {
        clock->server_doubted = false;
        return; // what is known is at least as good
    }
    clock->server_known = true;
    clock->server_doubted = false;
    clock->server_offset_ms = offset_ms;
    clock->server_err_ms = err_ms;
    clock->server_at_ms = mono_ms;
}

enum ptl_clock_source ptl_clock_source(const struct ptl_clock *clock)
{
    if (clock->kernel_err_ms != PTL_TIME_UNKNOWN) {
        return PTL_CLOCK_KERNEL;
    }
    return clock->server_known ? PTL_CLOCK_SERVER : PTL_CLOCK_NONE;
}

void ptl_boot_id(char out[PTL_BOOT_BYTES_MAX + 1])
{
    out[0] = '\0';
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    ssize_t len = read(fd, out, PTL_BOOT_BYTES_MAX);
    close(fd);
    len = len > 0 ? len : 0;
    out[len] = '\0';
    // The wire takes [0-9a-f-] only.
    out[strspn(out, "0123456789abcdef-")] = '\0';
}

enum ptl_status ptl_entropy(void *out, size_t len)
{
    uint8_t *at = out;
    while (len > 0) {
        ssize_t n = getrandom(at, len, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return PTL_E_IO;
        }
        at += n;
        len -= (size_t)n;
    }
    return PTL_OK;
}
