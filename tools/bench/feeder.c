// feeder.c - writes events with 100 bytes of data on standard output, one JSON object a line.
//
//     petrel-bench-feeder RATE
//
// RATE: events a second, each written on its own when it is due, with the time of writing in data
// ("t_us", CLOCK_MONOTONIC); 0: as fast as the reader takes them, in large writes, without the
// time.
//
// Runs until the reader is gone.
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define DATA_BYTES  100
#define LINE_BYTES  256
#define BLOCK_BYTES 65536
#define SECOND_NS   1000000000U

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

// Gives the line's length.
static size_t line_make(char line[LINE_BYTES], uint32_t n, uint64_t stamp_us)
{
    char data[DATA_BYTES + 1];
    int at = stamp_us > 0
                 ? snprintf(data, sizeof(data), "{\"t_us\":%llu,\"celsius\":%u.%02u,\"note\":\"",
                            (unsigned long long)stamp_us, n % 40, n % 97)
                 : snprintf(data, sizeof(data),
                            "{\"celsius\":%u.%02u,\"humidity\":%u.%u,\"pressure\":%u.%u,"
                            "\"ok\":true,\"note\":\"",
                            n % 40, n % 97, n % 90, n % 7, 980 + n % 50, n % 9);
    // Filled up with text to exactly 100 bytes.
    static const char text[] =
        "the quick brown fox jumps over the lazy dog and looks back once more";
    snprintf(data + at, sizeof(data) - (size_t)at, "%.*s\"}", DATA_BYTES - at - 2, text);
    return (size_t)snprintf(line, LINE_BYTES, "{\"event_type\":\"climate\",\"data\":%s}\n", data);
}

// False: the reader is gone.
static int write_all(const char *at, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDOUT_FILENO, at, len);
        if (n < 0 && errno != EINTR) {
            return 0;
        }
        at += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return 1;
}

static void flood(void)
{
    static char block[BLOCK_BYTES];
    size_t len = 0;
    for (uint32_t n = 0; len + LINE_BYTES <= sizeof(block); n++) {
        len += line_make(block + len, n, 0);
    }
    while (write_all(block, len)) {}
}

static void pace(uint64_t rate)
{
    (void)prctl(PR_SET_TIMERSLACK, 1000UL); // ns
    const uint64_t begin_ns = now_ns();
    char line[LINE_BYTES];
    for (uint32_t n = 0;; n++) {
        const uint64_t due_ns = begin_ns + (uint64_t)n * SECOND_NS / rate;
        const struct timespec due = {(time_t)(due_ns / SECOND_NS), (long)(due_ns % SECOND_NS)};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR) {}
        if (!write_all(line, line_make(line, n, now_ns() / 1000))) {
            return;
        }
    }
}

int main(int argc, char **argv)
{
    char *end = NULL;
    const uint64_t rate = argc == 2 ? strtoull(argv[1], &end, 10) : 0;
    if (argc != 2 || *argv[1] == '\0' || *end != '\0') {
        fputs("usage: petrel-bench-feeder EVENTS_PER_SECOND\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    if (rate == 0) {
        flood();
    } else {
        pace(rate);
    }
    return 0;
}
