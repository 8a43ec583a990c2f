#define _GNU_SOURCE
#include "devices.h"

#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

// Cuts comment and white space off both ends.
static struct ptl_span trim(const char *line, size_t len)
{
    const char *comment = memchr(line, '#', len);
    len = comment != NULL ? (size_t)(comment - line) : len;
    while (len > 0 && strchr(" \t\r\n", line[len - 1]) != NULL) {
        len--;
    }
    while (len > 0 && strchr(" \t", line[0]) != NULL) {
        line++;
        len--;
    }
    return (struct ptl_span){(const uint8_t *)line, len};
}

static void take_line(const struct col_device_file *file, struct col_session *session,
                      struct ptl_span name, unsigned number, uint64_t now_ms)
{
    char text[PTL_DEVICE_BYTES_MAX + 1];
    if (!col_device_valid(name)) {
        col_log(
            "%s:%u: this is no device name (1 to 64 of A-Z a-z 0-9 . _ -); the line is left out",
            file->path, number);
        return;
    }
    memcpy(text, name.ptr, name.len);
    text[name.len] = '\0';
    if (col_session_add(session, text, now_ms) == NULL) {
        col_log("%s:%u: more than %d devices; %s is left out", file->path, number, COL_DEVICES_MAX,
                text);
    }
}

static void read_lines(const struct col_device_file *file, struct col_session *session, FILE *from,
                       uint64_t now_ms)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t len = 0;
    unsigned number = 0;
    for (size_t i = 0; i < session->device_count; i++) {
        session->devices[i]->marked = session->devices[i]->removed;
    }
    while ((len = getline(&line, &cap, from)) >= 0) {
        const char *begin = line;
        number++;
        if (number == 1 && len >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0) {
            begin += 3;
            len -= 3;
        }
        struct ptl_span name = trim(begin, (size_t)len);
        if (name.len > 0) {
            take_line(file, session, name, number, now_ms);
        }
    }
    free(line);
    for (size_t i = session->device_count; i > 0; i--) {
        struct col_device *device = session->devices[i - 1];
        if (!device->marked && !device->removed) {
            col_log("%s is not in %s any more", device->name, file->path);
            col_session_remove(session, device);
        }
    }
}

bool col_devices_refresh(struct col_device_file *file, struct col_session *session, uint64_t now_ms)
{
    struct stat st;
    FILE *from = fopen(file->path, "re");
    if (from == NULL || fstat(fileno(from), &st) != 0) {
        if (from != NULL) {
            fclose(from);
        }
        if (file->loaded && file->size >= 0) {
            col_log("%s: %s; the devices stay as they are", file->path, strerror(errno));
            file->size = -1;
        }
        return false;
    }
    bool same = file->loaded && file->size == st.st_size && file->mtime_s == st.st_mtim.tv_sec &&
                file->mtime_ns == st.st_mtim.tv_nsec && file->inode == (int64_t)st.st_ino;
    if (!same) {
        read_lines(file, session, from, now_ms);
        file->loaded = true;
        file->size = st.st_size;
        file->mtime_s = st.st_mtim.tv_sec;
        file->mtime_ns = st.st_mtim.tv_nsec;
        file->inode = (int64_t)st.st_ino;
    }
    fclose(from);
    return true;
}
