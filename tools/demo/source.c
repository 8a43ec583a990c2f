// petrel-source: a synthetic application that keeps its own tally, outside the agent.
//
// Sends numbered events over the agent's SEQPACKET socket, one at a time, each of which must be
// answered; goes on by itself when the agent comes back. Commands on standard input, one a line:
// `pause`, `resume`, `stop`; each is answered by a tally line on standard output once no answer is
// outstanding. A tally line also comes four times a second:
//
//   {"emitted":12,"accepted":12,"refused":0,"unanswered":0,"paused":false}
//
// `unanswered` counts events whose connection ended before the answer: the agent may have them or
// not. They keep their number, so that a count of the store can tell. --log FILE has a line for
// each event, `N SEQ durable|accepted`, `N - refused` or `N - unanswered`, for tests that look at
// each.
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MS_MAX   10000
#define RECONNECT_MS    50
#define COMMAND_BYTES   64
#define MESSAGE_BYTES   9216
#define PAD_BYTES_MAX   8192
#define REPORT_EVERY_MS 250

struct source {
    const char *socket_path;
    double rate_per_s;
    uint64_t count_max;
    uint32_t pad_bytes; // of filling in every event
    FILE *log;          // NULL: none
    int fd;             // -1 while the agent is away
    bool paused, stop;
    uint64_t emitted, accepted, refused, unanswered;
    uint64_t next_ms, report_ms;
    char command[COMMAND_BYTES];
    size_t command_len;
};

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000u + (uint64_t)ts.tv_nsec / 1000000u;
}

static void report(const struct source *s)
{
    printf("{\"emitted\":%llu,\"accepted\":%llu,\"refused\":%llu,\"unanswered\":%llu,"
           "\"paused\":%s}\n",
           (unsigned long long)s->emitted, (unsigned long long)s->accepted,
           (unsigned long long)s->refused, (unsigned long long)s->unanswered,
           s->paused ? "true" : "false");
    (void)fflush(stdout);
}

static bool connect_agent(struct source *s)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", s->socket_path);
    s->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (s->fd < 0) {
        return false;
    }
    if (connect(s->fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        (void)close(s->fd);
        s->fd = -1;
        return false;
    }
    return true;
}

static void disconnect(struct source *s)
{
    (void)close(s->fd);
    s->fd = -1;
}

static int event_text(const struct source *s, char *message, size_t cap)
{
    static char pad[PAD_BYTES_MAX + 1];
    memset(pad, 'x', s->pad_bytes);
    return snprintf(message, cap,
                    "{\"event_type\":\"demo.tick\",\"source\":\"petrel-source\",\"data\":"
                    "{\"n\":%llu%s%s%s}}",
                    (unsigned long long)s->emitted, s->pad_bytes > 0 ? ",\"pad\":\"" : "", pad,
                    s->pad_bytes > 0 ? "\"" : "");
}

// What became of the event just sent. answer: NULL if there was none.
static void tally(struct source *s, const char *answer)
{
    unsigned long long n = s->emitted - 1;
    const char *seq = answer != NULL ? strstr(answer, "\"seq\":") : NULL;
    if (answer == NULL) {
        s->unanswered++;
    } else if (strstr(answer, "\"accepted\":true") != NULL && seq != NULL) {
        s->accepted++;
        if (s->log != NULL) {
            bool durable = strstr(answer, "\"durable\":true") != NULL;
            (void)fprintf(s->log, "%llu %llu %s\n", n, strtoull(seq + 6, NULL, 10),
                          durable ? "durable" : "accepted");
            (void)fflush(s->log);
        }
        return;
    } else {
        s->refused++;
        (void)fprintf(stderr, "petrel-source: refused: %s\n", answer);
    }
    if (s->log != NULL) {
        (void)fprintf(s->log, "%llu - %s\n", n, answer == NULL ? "unanswered" : "refused");
        (void)fflush(s->log);
    }
}

// Sends one event and waits for its answer, which decides how it is counted.
static void emit(struct source *s)
{
    char message[MESSAGE_BYTES];
    int len = event_text(s, message, sizeof(message));
    if (send(s->fd, message, (size_t)len, MSG_NOSIGNAL) != len) {
        disconnect(s); // not taken: the number is used for the next try
        return;
    }
    s->emitted++;
    struct pollfd poll_fd = {.fd = s->fd, .events = POLLIN};
    char answer[512];
    ssize_t got = -1;
    if (poll(&poll_fd, 1, ANSWER_MS_MAX) == 1) {
        got = recv(s->fd, answer, sizeof(answer) - 1, 0);
    }
    if (got <= 0) {
        tally(s, NULL);
        disconnect(s);
        return;
    }
    answer[got] = '\0';
    tally(s, answer);
}

static void command_run(struct source *s)
{
    s->command[s->command_len] = '\0';
    s->command_len = 0;
    if (strcmp(s->command, "pause") == 0) {
        s->paused = true;
    } else if (strcmp(s->command, "resume") == 0) {
        s->paused = false;
        s->next_ms = now_ms();
    } else if (strcmp(s->command, "stop") == 0) {
        s->stop = true;
    } else {
        (void)fprintf(stderr, "petrel-source: unknown command '%s': use pause, resume or stop\n",
                      s->command);
    }
    report(s);
}

static void commands_read(struct source *s)
{
    char bytes[COMMAND_BYTES];
    ssize_t got = read(STDIN_FILENO, bytes, sizeof(bytes));
    if (got <= 0) {
        s->stop = true;
        report(s);
        return;
    }
    for (ssize_t i = 0; i < got; i++) {
        if (bytes[i] == '\n') {
            command_run(s);
        } else if (s->command_len < COMMAND_BYTES - 1) {
            s->command[s->command_len++] = bytes[i];
        }
    }
}

static void run(struct source *s)
{
    s->next_ms = now_ms();
    s->report_ms = s->next_ms + REPORT_EVERY_MS;
    double interval_ms = 1000.0 / s->rate_per_s;
    double due = (double)s->next_ms;
    while (!s->stop) {
        uint64_t now = now_ms();
        bool idle = s->paused || s->emitted >= s->count_max;
        if (!idle && s->fd < 0 && !connect_agent(s)) {
            s->next_ms = now + RECONNECT_MS;
        }
        if (!idle && s->fd >= 0 && now >= s->next_ms) {
            emit(s);
            due += interval_ms;
            if (due < (double)now - 1000.0) {
                due = (double)now; // no burst to catch up after a pause
            }
            s->next_ms = (uint64_t)due;
        }
        now = now_ms();
        if (now >= s->report_ms) {
            report(s);
            s->report_ms = now + REPORT_EVERY_MS;
        }
        uint64_t wake = idle ? s->report_ms : s->next_ms;
        wake = wake < s->report_ms ? wake : s->report_ms;
        struct pollfd poll_fd = {.fd = STDIN_FILENO, .events = POLLIN};
        if (poll(&poll_fd, 1, wake > now ? (int)(wake - now) : 0) > 0) {
            commands_read(s);
        }
    }
}

static void usage(FILE *out)
{
    (void)fputs("usage: petrel-source --socket PATH [--rate EVENTS_PER_S] [--count N]\n"
                "                     [--pad BYTES] [--log FILE]\n"
                "Sends numbered events to a running agent and keeps a tally of its answers.\n"
                "Commands on standard input: pause, resume, stop.\n",
                out);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"socket", required_argument, NULL, 's'},
        {"rate", required_argument, NULL, 'r'},
        {"count", required_argument, NULL, 'c'},
        {"pad", required_argument, NULL, 'p'},
        {"log", required_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct source s = {.rate_per_s = 10, .count_max = UINT64_MAX, .fd = -1};
    const char *log_path = NULL;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 's':
            s.socket_path = optarg;
            break;
        case 'r':
            s.rate_per_s = strtod(optarg, NULL);
            break;
        case 'c':
            s.count_max = strtoull(optarg, NULL, 10);
            break;
        case 'p':
            s.pad_bytes = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'l':
            log_path = optarg;
            break;
        case 'h':
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return 2;
        }
    }
    if (s.socket_path == NULL || !(s.rate_per_s > 0) || s.rate_per_s > 100000 ||
        s.pad_bytes > PAD_BYTES_MAX) {
        usage(stderr);
        return 2;
    }
    if (log_path != NULL && (s.log = fopen(log_path, "we")) == NULL) {
        perror(log_path);
        return 1;
    }
    run(&s);
    return 0;
}
