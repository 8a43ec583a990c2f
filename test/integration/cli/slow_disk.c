// Preloaded: fdatasync fails (EIO) or hangs once the file that PETREL_TEST_DISK names holds "fail"
// or "hang". A medium that does so on its own is hard to come by.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int fdatasync(int fd)
{
    const char *path = getenv("PETREL_TEST_DISK");
    char word[4] = {0};
    for (;;) {
        int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
        if (file < 0) {
            return (int)syscall(SYS_fdatasync, fd);
        }
        ssize_t got = read(file, word, sizeof(word));
        close(file);
        if (got > 0 && word[0] == 'f') {
            errno = EIO;
            return -1;
        }
        if (got <= 0 || word[0] != 'h') {
            return (int)syscall(SYS_fdatasync, fd);
        }
        usleep(20000);
    }
}
