// client.h - the other side of the local socket, for the commands that talk to a running agent.
#pragma once

#include <stdbool.h>
#include <stddef.h>

// Path of the agent's socket: `given` (may be NULL), else of the configuration `file` (may be NULL)
// and the environment, else PETREL_INPUTS_SEQPACKET, else where an agent of this user has it.
// False: told on stderr.
bool ptl_client_path(const char *given, const char *file, char *out, size_t cap);
// Connected descriptor, or -1: told on stderr.
int ptl_client_connect(const char *path);
// Sends one message and takes its reply within timeout_ms (-1: for ever). The length, or -1: told.
int ptl_client_ask(int fd, const char *text, size_t len, char *reply, size_t cap, int timeout_ms);
// Whole seconds from 0 to a day. False: told on stderr.
bool ptl_client_seconds(const char *text, int *seconds);
