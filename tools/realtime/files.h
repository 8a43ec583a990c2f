// files.h - small files that must not be read by others.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "jwt.h"

// Creates or replaces `path` with mode 0600. False after saying why on stderr.
bool ptl_rt_file_write_private(const char *path, const void *bytes, size_t len);

// Reads the signing secret, without the white space around it. Where there is no file, `create`
// makes one with a random secret and says so. False after saying why on stderr: unreadable,
// empty, too long, or readable by others.
bool ptl_rt_secret_load(const char *path, bool create, struct ptl_rt_secret *out);
