// Goal: petrel-faultproxy does to real TCP connections what its commands say, and mends again.
// Method: start the binary in front of a plain server socket of this test, drive it through its
// control socket, look at both ends. argv[1] is the binary.
#define _GNU_SOURCE
#include "ptl_test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *binary;

struct world {
    char folder[64], control_path[96];
    pid_t pid;
    int server_fd, control_fd;
    uint16_t proxy_port, server_port;
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int listen_on(uint16_t *port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(*port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(at);
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static int connect_proxy(const struct world *w)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons(w->proxy_port),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(fd, (struct sockaddr *)&at, sizeof(at)) != 0) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

static bool readable(int fd, int wait_ms)
{
    struct pollfd set = {.fd = fd, .events = POLLIN};
    return poll(&set, 1, wait_ms) == 1;
}

// Reads exactly len bytes; fails after 5 s.
static void read_all(int fd, void *buf, size_t len)
{
    uint64_t until = now_ms() + 5000;
    for (size_t got = 0; got < len;) {
        assert_true(now_ms() < until);
        assert_true(readable(fd, 5000));
        ssize_t more = recv(fd, (char *)buf + got, len - got, 0);
        assert_true(more > 0);
        got += (size_t)more;
    }
}

static const char *ctl(struct world *w, const char *line)
{
    static char answer[1024];
    size_t len = 0;
    assert_int_equal(send(w->control_fd, line, strlen(line), 0), strlen(line));
    assert_int_equal(send(w->control_fd, "\n", 1, 0), 1);
    while (len == 0 || answer[len - 1] != '\n') {
        assert_true(len < sizeof(answer) - 1);
        assert_true(readable(w->control_fd, 5000));
        ssize_t more = recv(w->control_fd, answer + len, sizeof(answer) - 1 - len, 0);
        assert_true(more > 0);
        len += (size_t)more;
    }
    answer[len - 1] = '\0';
    return answer;
}

static void connect_pair(struct world *w, int *client, int *server)
{
    *client = connect_proxy(w);
    assert_true(*client >= 0);
    assert_true(readable(w->server_fd, 5000));
    *server = accept4(w->server_fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(*server >= 0);
}

// Both ways work.
static void assert_alive(int client, int server)
{
    char got[4];
    assert_int_equal(send(client, "ping", 4, MSG_NOSIGNAL), 4);
    read_all(server, got, 4);
    assert_memory_equal(got, "ping", 4);
    assert_int_equal(send(server, "pong", 4, MSG_NOSIGNAL), 4);
    read_all(client, got, 4);
    assert_memory_equal(got, "pong", 4);
}

static void assert_was_reset(int fd)
{
    char byte;
    assert_true(readable(fd, 5000));
    assert_int_equal(recv(fd, &byte, 1, 0), -1);
    assert_int_equal(errno, ECONNRESET);
}

static int connect_control(const struct world *w)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof(at.sun_path), "%s", w->control_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    return fd;
}

static int set_up(void **state)
{
    static struct world w;
    char to[32];
    char line[256] = "";
    int out[2];
    w = (struct world){.folder = "/tmp/petrel-fp-XXXXXX"};
    assert_non_null(mkdtemp(w.folder));
    snprintf(w.control_path, sizeof(w.control_path), "%s/ctl", w.folder);
    w.server_fd = listen_on(&w.server_port);
    snprintf(to, sizeof(to), "127.0.0.1:%u", (unsigned)w.server_port);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    w.pid = fork();
    assert_true(w.pid >= 0);
    if (w.pid == 0) {
        dup2(out[1], 1);
        execl(binary, binary, "--listen", "127.0.0.1:0", "--to", to, "--control", w.control_path,
              (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    size_t len = 0;
    while (len == 0 || line[len - 1] != '\n') {
        assert_true(readable(out[0], 5000));
        ssize_t more = read(out[0], line + len, sizeof(line) - 1 - len);
        assert_true(more > 0);
        len += (size_t)more;
    }
    close(out[0]);
    const char ready[] = "petrel-faultproxy ready listen=127.0.0.1:";
    char *end = NULL;
    assert_memory_equal(line, ready, strlen(ready));
    unsigned long port = strtoul(line + strlen(ready), &end, 10);
    assert_memory_equal(end, " to=", 4);
    assert_true(port > 0 && port < 65536);
    w.proxy_port = (uint16_t)port;
    w.control_fd = connect_control(&w);
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    int status = 0;
    close(w->control_fd);
    close(w->server_fd);
    kill(w->pid, SIGTERM);
    assert_int_equal(waitpid(w->pid, &status, 0), w->pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(access(w->control_path, F_OK), -1); // tidied up
    assert_int_equal(rmdir(w->folder), 0);
    return 0;
}

static void moves_bytes_and_ends(void **state)
{
    struct world *w = *state;
    int client;
    int server;
    char byte;
    connect_pair(w, &client, &server);
    assert_alive(client, server);
    // A half-closed connection goes on the other way.
    assert_int_equal(shutdown(client, SHUT_WR), 0);
    assert_true(readable(server, 5000));
    assert_int_equal(recv(server, &byte, 1, 0), 0);
    assert_int_equal(send(server, "x", 1, MSG_NOSIGNAL), 1);
    read_all(client, &byte, 1);
    close(server);
    assert_true(readable(client, 5000));
    assert_int_equal(recv(client, &byte, 1, 0), 0);
    close(client);
    const char *stats = ctl(w, "stats");
    assert_non_null(strstr(stats, "\"connections\":1,"));
    assert_non_null(strstr(stats, "\"up_bytes\":4,\"down_bytes\":5,"));
    assert_non_null(strstr(stats, "\"mode\":\"clear\""));
}

static void bulk_is_exact_and_bounded(void **state)
{
    struct world *w = *state;
    enum { TOTAL = 4 * 1024 * 1024 };
    int client;
    int server;
    static uint8_t out[65536];
    static uint8_t in[65536];
    connect_pair(w, &client, &server);
    fcntl(client, F_SETFL, O_NONBLOCK);
    size_t sent = 0;
    size_t got = 0;
    uint64_t until = now_ms() + 20000;
    while (got < TOTAL) {
        assert_true(now_ms() < until);
        struct pollfd set[2] = {{.fd = client, .events = sent < TOTAL ? POLLOUT : 0},
                                {.fd = server, .events = POLLIN}};
        assert_true(poll(set, 2, 5000) > 0);
        if ((set[0].revents & POLLOUT) != 0) {
            size_t len = TOTAL - sent < sizeof(out) ? TOTAL - sent : sizeof(out);
            for (size_t i = 0; i < len; i++) {
                out[i] = (uint8_t)((sent + i) % 251);
            }
            ssize_t wrote = send(client, out, len, MSG_NOSIGNAL);
            sent += wrote > 0 ? (size_t)wrote : 0;
        }
        if ((set[1].revents & POLLIN) != 0) {
            ssize_t more = recv(server, in, sizeof(in), 0);
            assert_true(more > 0);
            for (size_t i = 0; i < (size_t)more; i++) {
                assert_int_equal(in[i], (got + i) % 251);
            }
            got += (size_t)more;
        }
    }
    close(client);
    close(server);
}

static void delay_holds_and_mends(void **state)
{
    struct world *w = *state;
    int client;
    int server;
    char byte;
    connect_pair(w, &client, &server);
    assert_string_equal(ctl(w, "delay 200"), "ok");
    uint64_t start = now_ms();
    assert_int_equal(send(client, "a", 1, 0), 1);
    read_all(server, &byte, 1);
    assert_true(now_ms() - start >= 195);
    assert_string_equal(ctl(w, "delay 10000"), "ok");
    assert_int_equal(send(client, "b", 1, 0), 1);
    assert_false(readable(server, 100));
    assert_string_equal(ctl(w, "clear"), "ok");
    read_all(server, &byte, 1); // not only after the ten seconds
    assert_int_equal(byte, 'b');
    assert_alive(client, server);
    close(client);
    close(server);
}

static void rate_limits(void **state)
{
    struct world *w = *state;
    static char block[10000];
    int client;
    int server;
    connect_pair(w, &client, &server);
    assert_string_equal(ctl(w, "rate 20000"), "ok");
    uint64_t start = now_ms();
    assert_int_equal(send(client, block, sizeof(block), 0), sizeof(block));
    read_all(server, block, sizeof(block));
    uint64_t took = now_ms() - start;
    assert_in_range(took, 350, 2500); // 500 ms less the bucket of 100 ms
    close(client);
    close(server);
}

static void blackhole_holds_both_ways_and_connects(void **state)
{
    struct world *w = *state;
    int client;
    int server;
    char got[5];
    connect_pair(w, &client, &server);
    assert_string_equal(ctl(w, "blackhole"), "ok");
    assert_int_equal(send(client, "up", 2, 0), 2);
    assert_int_equal(send(server, "down", 4, 0), 4);
    int late = connect_proxy(w); // the kernel takes it, nobody answers
    assert_true(late >= 0);
    assert_false(readable(server, 150));
    assert_false(readable(client, 1));
    assert_false(readable(w->server_fd, 1));
    assert_string_equal(ctl(w, "clear"), "ok");
    read_all(server, got, 2);
    assert_memory_equal(got, "up", 2);
    read_all(client, got, 4);
    assert_memory_equal(got, "down", 4);
    assert_true(readable(w->server_fd, 5000));
    close(accept4(w->server_fd, NULL, NULL, SOCK_CLOEXEC));
    assert_string_equal(ctl(w, "blackhole up"), "ok");
    assert_int_equal(send(client, "x", 1, 0), 1);
    assert_int_equal(send(server, "y", 1, 0), 1);
    read_all(client, got, 1); // down still works
    assert_false(readable(server, 100));
    close(late);
    close(client);
    close(server);
}

static void reset_resets_both_ends(void **state)
{
    struct world *w = *state;
    int client;
    int server;
    connect_pair(w, &client, &server);
    assert_alive(client, server);
    assert_string_equal(ctl(w, "reset"), "ok");
    assert_was_reset(client);
    assert_was_reset(server);
    close(client);
    close(server);
    connect_pair(w, &client, &server); // new ones work at once
    assert_alive(client, server);
    // The end of one is passed on as it was.
    struct linger now = {.l_onoff = 1};
    setsockopt(server, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(server);
    assert_was_reset(client);
    close(client);
}

static void halfopen_tells_one_end_nothing(void **state)
{
    struct world *w = *state;
    int client;
    int server;
    connect_pair(w, &client, &server);
    assert_string_equal(ctl(w, "halfopen"), "ok");
    assert_was_reset(server);
    assert_int_equal(send(client, "x", 1, MSG_NOSIGNAL), 1);
    assert_false(readable(client, 150));
    assert_int_equal(send(client, "x", 1, MSG_NOSIGNAL), 1); // still no error
    int client2;
    int server2;
    connect_pair(w, &client2, &server2);
    assert_alive(client2, server2);
    assert_non_null(strstr(ctl(w, "stats"), "\"open\":1,\"hung\":1,"));
    assert_string_equal(ctl(w, "halfopen server"), "ok");
    assert_was_reset(client2);
    assert_false(readable(server2, 100));
    close(client);
    close(server);
    close(client2);
    close(server2);
}

static void split_writes_single_bytes(void **state)
{
    struct world *w = *state;
    char got[64];
    int client;
    int server;
    connect_pair(w, &client, &server);
    assert_string_equal(ctl(w, "split 1 gap 3"), "ok");
    assert_int_equal(send(client, "abcdefghijklmnopqrst", 20, 0), 20);
    size_t len = 0;
    unsigned reads = 0;
    while (len < 20) {
        assert_true(readable(server, 5000));
        ssize_t more = recv(server, got + len, sizeof(got) - len, 0);
        assert_true(more > 0);
        len += (size_t)more;
        reads++;
    }
    assert_memory_equal(got, "abcdefghijklmnopqrst", 20);
    assert_true(reads >= 10); // a busy machine may put a few together
    close(client);
    close(server);
}

static void refuse_keeps_the_port(void **state)
{
    struct world *w = *state;
    int client;
    int server;
    connect_pair(w, &client, &server);
    assert_string_equal(ctl(w, "refuse"), "ok");
    assert_int_equal(connect_proxy(w), -1);
    assert_int_equal(errno, ECONNREFUSED);
    assert_alive(client, server); // those that are up stay
    assert_string_equal(ctl(w, "refuse"), "ok");
    assert_string_equal(ctl(w, "clear"), "ok");
    int client2;
    int server2;
    connect_pair(w, &client2, &server2);
    assert_alive(client2, server2);
    close(client);
    close(server);
    close(client2);
    close(server2);
}

static void a_server_that_is_down_shows(void **state)
{
    struct world *w = *state;
    int client;
    int server;
    close(w->server_fd);
    client = connect_proxy(w);
    if (client >= 0) { // or the reset was faster than connect
        assert_was_reset(client);
        close(client);
    }
    assert_non_null(strstr(ctl(w, "stats"), "\"connect_failed\":1,"));
    w->server_fd = listen_on(&w->server_port);
    connect_pair(w, &client, &server);
    assert_alive(client, server);
    close(client);
    close(server);
}

// Runs a command in silence.
static int exit_status(char *const args[])
{
    int status = 0;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int nowhere = open("/dev/null", O_WRONLY);
        dup2(nowhere, 1);
        dup2(nowhere, 2);
        execv(args[0], args);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void control_is_strict_and_private(void **state)
{
    struct world *w = *state;
    assert_memory_equal(ctl(w, "explode"), "error: ", 7);
    assert_memory_equal(ctl(w, "delay soon"), "error: ", 7);
    assert_string_equal(ctl(w, "delay 1"), "ok");
    int other = connect_control(w); // a second client, several lines at once
    assert_int_equal(send(other, "clear\nrate 5\n", 13, 0), 13);
    char got[6];
    read_all(other, got, 6);
    assert_memory_equal(got, "ok\nok\n", 6);
    char flood[600];
    memset(flood, 'x', sizeof(flood));
    assert_int_equal(send(other, flood, sizeof(flood), MSG_NOSIGNAL), sizeof(flood));
    assert_true(readable(other, 5000));
    assert_true(recv(other, flood, sizeof(flood), 0) > 0);
    assert_memory_equal(flood, "error: line too long\n", 21);
    close(other);
    // The client mode, and its exit status.
    char *const good[] = {(char *)binary, "ctl", w->control_path, "clear", NULL};
    assert_int_equal(exit_status(good), 0);
    char *const unknown[] = {(char *)binary, "ctl", w->control_path, "nonsense", NULL};
    assert_int_equal(exit_status(unknown), 1);
    char *const nobody[] = {(char *)binary, "ctl", "/nonexistent", "clear", NULL};
    assert_int_equal(exit_status(nobody), 2);
    // A second proxy does not take the socket of one that lives.
    char *const second[] = {(char *)binary, "--listen",  "127.0.0.1:0",   "--to",
                            "127.0.0.1:1",  "--control", w->control_path, NULL};
    assert_int_equal(exit_status(second), 2);
    assert_non_null(strstr(ctl(w, "stats"), "\"mode\":\"clear\""));
}

#define ON_LINK(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        ON_LINK(moves_bytes_and_ends),
        ON_LINK(bulk_is_exact_and_bounded),
        ON_LINK(delay_holds_and_mends),
        ON_LINK(rate_limits),
        ON_LINK(blackhole_holds_both_ways_and_connects),
        ON_LINK(reset_resets_both_ends),
        ON_LINK(halfopen_tells_one_end_nothing),
        ON_LINK(split_writes_single_bytes),
        ON_LINK(refuse_keeps_the_port),
        ON_LINK(a_server_that_is_down_shows),
        ON_LINK(control_is_strict_and_private),
    };
    if (argc != 2) {
        fprintf(stderr, "usage: %s PETREL-FAULTPROXY\n", argv[0]);
        return 2;
    }
    binary = argv[1];
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
