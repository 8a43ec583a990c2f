#include "files.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static bool complain(const char *path, const char *what)
{
    fprintf(stderr, "petrel-realtime: %s: %s\n", path, what);
    return false;
}

bool ptl_rt_file_write_private(const char *path, const void *bytes, size_t len)
{
    (void)unlink(path); // an old file may be open to others
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return complain(path, strerror(errno));
    }
    const char *at = bytes;
    while (len > 0) {
        ssize_t n = write(fd, at, len);
        if (n < 0) {
            close(fd);
            return complain(path, strerror(errno));
        }
        at += n;
        len -= (size_t)n;
    }
    return close(fd) == 0 || complain(path, strerror(errno));
}

static bool create_secret(const char *path)
{
    unsigned char random[32];
    char text[2 * sizeof random + 2];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        return complain(path, "no random bytes for a new secret");
    }
    for (size_t i = 0; i < sizeof random; i++) {
        snprintf(text + 2 * i, 3, "%02x", random[i]);
    }
    text[2 * sizeof random] = '\n';
    if (!ptl_rt_file_write_private(path, text, sizeof text - 1)) {
        return false;
    }
    fprintf(stderr, "petrel-realtime: made a new signing secret in %s\n", path);
    return true;
}

static bool read_secret(int fd, const char *path, struct ptl_rt_secret *out)
{
    struct stat st;
    char text[PTL_RT_SECRET_BYTES_MAX + 1];
    ssize_t n = read(fd, text, sizeof text);
    if (n < 0 || fstat(fd, &st) != 0) {
        return complain(path, strerror(errno));
    }
    if ((st.st_mode & S_IROTH) != 0) {
        return complain(path, "everyone can read this secret; mend it with chmod 600");
    }
    size_t begin = 0;
    size_t end = (size_t)n;
    if (end > PTL_RT_SECRET_BYTES_MAX) {
        return complain(path, "longer than 1024 bytes, so hardly a JWT secret");
    }
    while (begin < end && isspace((unsigned char)text[begin])) {
        begin++;
    }
    while (end > begin && isspace((unsigned char)text[end - 1])) {
        end--;
    }
    if (begin == end) {
        return complain(path, "is empty; write the JWT secret into it, or delete it for a new one");
    }
    out->len = end - begin;
    memcpy(out->bytes, text + begin, out->len);
    return true;
}

bool ptl_rt_secret_load(const char *path, bool create, struct ptl_rt_secret *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && create && create_secret(path)) {
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0) {
        return complain(path, strerror(errno));
    }
    bool ok = read_secret(fd, path, out);
    close(fd);
    return ok;
}
