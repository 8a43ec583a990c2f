// fp_control.h - the control socket (Unix stream, mode 0600): lines in, one answer line each.
#pragma once

#include "fp_proxy.h"

#define FP_CONTROLS_MAX 8

struct fp_control_client {
    int fd; // -1 = free
    char line[FP_LINE_MAX];
    size_t len;
    int poll_at;
};

struct fp_control {
    const char *path;
    int listen_fd;
    int poll_at;
    struct fp_control_client clients[FP_CONTROLS_MAX];
};

// A socket file that nobody answers on is replaced. false: errno says why (EADDRINUSE: another
// proxy has it).
bool fp_control_open(struct fp_control *control, const char *path);
void fp_control_close(struct fp_control *control);
void fp_control_want(struct fp_control *control, struct pollfd *set, size_t *count);
void fp_control_run(struct fp_control *control, const struct pollfd *set, struct fp_proxy *proxy);

// The client: sends one command, prints the answer. Exit status: 0 ok, 1 refused, 2 no connection.
int fp_control_send(const char *path, int word_count, char **words);
