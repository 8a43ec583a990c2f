// client.c - see client.h.
#include "client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "config.h"
#include "config_table.h"

extern char **environ;

static void say_nothing(void *ctx, enum ptl_config_level level, const char *text)
{
    (void)ctx;
    (void)level;
    (void)text;
}

bool ptl_client_path(const char *given, const char *file, char *out, size_t cap)
{
    // The configuration may be unreadable for this user, or its secrets are; then the places where
    // a socket is by default are tried.
    static struct ptl_config config;
    struct ptl_config_report report = {.say = say_nothing};
    if (given != NULL) {
        return snprintf(out, cap, "%s", given) < (int)cap;
    }
    (void)ptl_config_load(&config, file, environ, &report);
    if (config.inputs.seqpacket[0] == '/') {
        return snprintf(out, cap, "%s", config.inputs.seqpacket) < (int)cap;
    }
    if (strcmp(config.inputs.seqpacket, "off") == 0) {
        fputs("petrel: the configuration has no socket ([inputs] seqpacket = off)\n", stderr);
        return false;
    }
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    char own[PTL_CONFIG_PATH_MAX];
    snprintf(own, sizeof(own), "%.400s/petrel.sock", runtime != NULL ? runtime : "/nonexistent");
    bool system_one = geteuid() == 0 || access(own, F_OK) != 0;
    return snprintf(out, cap, "%s", system_one ? "/run/petrel/petrel.sock" : own) < (int)cap;
}

int ptl_client_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        fprintf(stderr, "petrel: the socket's path is too long: %s\n", path);
        return -1;
    }
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        const char *why = errno == ENOENT || errno == ECONNREFUSED
                              ? "no agent runs there (name it with --socket or -c)"
                          : errno == EACCES ? "this user may not talk to it (it is for its group)"
                                            : strerror(errno);
        fprintf(stderr, "petrel: %s: %s\n", path, why);
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    return fd;
}

int ptl_client_ask(int fd, const char *text, size_t len, char *reply, size_t cap, int timeout_ms)
{
    if (send(fd, text, len, MSG_NOSIGNAL) < 0) {
        fprintf(stderr, "petrel: the agent does not take the message: %s\n", strerror(errno));
        return -1;
    }
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    int ready = 0;
    do {
        ready = poll(&poll_fd, 1, timeout_ms);
    } while (ready < 0 && errno == EINTR);
    ssize_t got = ready > 0 ? recv(fd, reply, cap - 1, 0) : -1;
    if (got <= 0) {
        fputs(ready == 0 ? "petrel: no answer in time\n" : "petrel: the agent went away\n", stderr);
        return -1;
    }
    reply[got] = '\0';
    return (int)got;
}

bool ptl_client_seconds(const char *text, int *seconds)
{
    char *end = NULL;
    unsigned long value = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || value > 86400) {
        fprintf(stderr, "petrel: --timeout %s: allowed are 0 to 86400 seconds\n", text);
        return false;
    }
    *seconds = (int)value;
    return true;
}
