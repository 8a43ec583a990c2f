// unix_socket.c - the local sockets' names.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "app.h"

// Whether somebody listens on a name that is there already.
static bool in_use(const struct sockaddr_un *address, int type)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool used = fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
                            errno == EAGAIN);
    if (fd >= 0) {
        close(fd);
    }
    return used;
}

static void directory_make(const char *path)
{
    char dir[PTL_CONFIG_PATH_MAX];
    snprintf(dir, sizeof(dir), "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash != NULL && slash != dir) {
        *slash = '\0';
        (void)mkdir(dir, 0755); // EEXIST, or bind says what is wrong
    }
}

int ptl_unix_bind(const char *path, int type)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    PTL_ASSERT(strlen(path) < sizeof(address.sun_path));
    strcpy(address.sun_path, path);
    directory_make(path);
    struct stat st;
    if (lstat(path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode)) {
            ptl_log(PTL_LOG_ERROR, "%s is there and no socket: not touched", path);
            return -1;
        }
        if (in_use(&address, type)) {
            ptl_log(PTL_LOG_ERROR, "another agent listens on %s already", path);
            return -1;
        }
        (void)unlink(path); // left by an agent that was killed
    }
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t before = umask(0117); // 0660 from the first moment
    bool bound = fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
    int error = errno;
    umask(before);
    if (!bound) {
        ptl_log(PTL_LOG_ERROR, "cannot listen on %s: %s", path, strerror(error));
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    return fd;
}
