#define _GNU_SOURCE
#include "fp_control.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MAX 1024

static bool unix_address(const char *path, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address->sun_path)) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(address->sun_path, path, strlen(path) + 1);
    return true;
}

static int connect_unix(const char *path)
{
    struct sockaddr_un address;
    if (!unix_address(path, &address)) {
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

bool fp_control_open(struct fp_control *control, const char *path)
{
    struct sockaddr_un address;
    struct stat st;
    *control = (struct fp_control){.path = path, .listen_fd = -1, .poll_at = -1};
    for (size_t i = 0; i < FP_CONTROLS_MAX; i++) {
        control->clients[i].fd = -1;
    }
    if (!unix_address(path, &address)) {
        return false;
    }
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode)) {
        int other = connect_unix(path);
        if (other >= 0) {
            close(other);
            errno = EADDRINUSE;
            return false;
        }
        unlink(path);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mode_t before = umask(0177);
    bool ok = fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
              listen(fd, FP_CONTROLS_MAX) == 0;
    int why = errno;
    umask(before);
    if (!ok) {
        if (fd >= 0) {
            close(fd);
        }
        errno = why;
        return false;
    }
    control->listen_fd = fd;
    return true;
}

static void drop_client(struct fp_control_client *client)
{
    close(client->fd);
    client->fd = -1;
}

void fp_control_close(struct fp_control *control)
{
    for (size_t i = 0; i < FP_CONTROLS_MAX; i++) {
        if (control->clients[i].fd >= 0) {
            drop_client(&control->clients[i]);
        }
    }
    close(control->listen_fd);
    unlink(control->path);
}

void fp_control_want(struct fp_control *control, struct pollfd *set, size_t *count)
{
    bool room = false;
    for (size_t i = 0; i < FP_CONTROLS_MAX; i++) {
        struct fp_control_client *client = &control->clients[i];
        client->poll_at = -1;
        if (client->fd < 0) {
            room = true;
            continue;
        }
        client->poll_at = (int)*count;
        set[(*count)++] = (struct pollfd){.fd = client->fd, .events = POLLIN};
    }
    control->poll_at = -1;
    if (room) {
        control->poll_at = (int)*count;
        set[(*count)++] = (struct pollfd){.fd = control->listen_fd, .events = POLLIN};
    }
}

static bool say(const struct fp_control_client *client, const char *text)
{
    size_t len = strlen(text);
    return send(client->fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)len;
}

// Answers every whole line in the buffer. false: the client is to be dropped.
static bool answer_lines(struct fp_control_client *client, struct fp_proxy *proxy)
{
    char *feed = NULL;
    while ((feed = memchr(client->line, '\n', client->len)) != NULL) {
        char answer[ANSWER_MAX];
        size_t used = (size_t)(feed - client->line) + 1;
        *feed = '\0';
        fp_proxy_command(proxy, client->line, answer, sizeof(answer));
        memmove(client->line, client->line + used, client->len - used);
        client->len -= used;
        if (!say(client, answer)) {
            return false;
        }
    }
    if (client->len == sizeof(client->line)) {
        (void)say(client, "error: line too long\n");
        return false;
    }
    return true;
}

void fp_control_run(struct fp_control *control, const struct pollfd *set, struct fp_proxy *proxy)
{
    for (size_t i = 0; i < FP_CONTROLS_MAX; i++) {
        struct fp_control_client *client = &control->clients[i];
        if (client->fd < 0 || client->poll_at < 0 || set[client->poll_at].revents == 0) {
            continue;
        }
        ssize_t got = recv(client->fd, client->line + client->len,
                           sizeof(client->line) - client->len, MSG_DONTWAIT);
        if (got > 0) {
            client->len += (size_t)got;
        }
        bool gone = got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
        if (gone || !answer_lines(client, proxy)) {
            drop_client(client);
        }
    }
    if (control->poll_at < 0 || set[control->poll_at].revents == 0) {
        return;
    }
    int fd = accept4(control->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    for (size_t i = 0; fd >= 0 && i < FP_CONTROLS_MAX; i++) {
        if (control->clients[i].fd < 0) {
            control->clients[i].fd = fd;
            control->clients[i].len = 0;
            return;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
}

int fp_control_send(const char *path, int word_count, char **words)
{
    char line[FP_LINE_MAX] = "";
    char answer[ANSWER_MAX];
    size_t len = 0;
    for (int i = 0; i < word_count; i++) {
        int wrote = snprintf(line + len, sizeof(line) - len, "%s%s", i > 0 ? " " : "", words[i]);
        if (wrote < 0 || (size_t)wrote >= sizeof(line) - len - 1) {
            fprintf(stderr, "petrel-faultproxy: the command is too long\n");
            return 1;
        }
        len += (size_t)wrote;
    }
    line[len++] = '\n';
    int fd = connect_unix(path);
    if (fd < 0) {
        fprintf(stderr, "petrel-faultproxy: %s: %s\n", path, strerror(errno));
        return 2;
    }
    size_t got = 0;
    bool sent = send(fd, line, len, MSG_NOSIGNAL) == (ssize_t)len;
    while (sent && got < sizeof(answer) - 1 && memchr(answer, '\n', got) == NULL) {
        ssize_t more = recv(fd, answer + got, sizeof(answer) - 1 - got, 0);
        if (more <= 0) {
            break;
        }
        got += (size_t)more;
    }
    close(fd);
    answer[got] = '\0';
    if (got == 0) {
        fprintf(stderr, "petrel-faultproxy: %s: no answer\n", path);
        return 2;
    }
    fputs(answer, stdout);
    return strncmp(answer, "error", 5) == 0 ? 1 : 0;
}
