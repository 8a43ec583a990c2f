// devices.h - the list of devices in a file: one name a line, # begins a comment.
#pragma once

#include "session.h"

struct col_device_file {
    const char *path;
    bool loaded; // once at least
    int64_t size, mtime_s, mtime_ns, inode;
};

// Reads the file if it changed since the last call; devices that it does not name any more are
// left. Lines that name no device are said and passed over; a file that cannot be read leaves all
// as it is. Returns false only if it could not be read.
bool col_devices_refresh(struct col_device_file *file, struct col_session *session,
                         uint64_t now_ms);
