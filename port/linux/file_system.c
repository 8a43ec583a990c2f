// file_system.c - what a journal's file system is worth (ptl_file_flash_fs_kind).
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include "ptl_file_flash.h"

// linux/magic.h has not all of them.
#define MAGIC_TMPFS   0x01021994u
#define MAGIC_RAMFS   0x858458f6u
#define MAGIC_OVERLAY 0x794c7630u

static const uint32_t network_magics[] = {
    0x00006969u, // NFS
    0x0000517Bu, // SMB
    0xFF534D42u, // CIFS
    0xFE534D42u, // SMB2
    0x01021997u, // 9P
    0x00C36400u, // Ceph
    0x5346414Fu, // AFS
    0x65735546u, // FUSE: sshfs and the like
};

static enum ptl_fs_kind kind_of_magic(uint32_t magic)
{
    if (magic == MAGIC_TMPFS || magic == MAGIC_RAMFS) {
        return PTL_FS_RAM;
    }
    if (magic == MAGIC_OVERLAY) {
        return PTL_FS_OVERLAY;
    }
    for (size_t i = 0; i < sizeof(network_magics) / sizeof(network_magics[0]); i++) {
        if (magic == network_magics[i]) {
            return PTL_FS_NETWORK;
        }
    }
    return PTL_FS_DISK;
}

// The directory that an overlay writes to, if it can be seen from here.
static bool upper_of_overlay(dev_t dev, char *upper, size_t cap)
{
    char line[4096];
    char id[32];
    bool found = false;
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    if (mounts == NULL) {
        return false;
    }
    snprintf(id, sizeof(id), " %u:%u ", major(dev), minor(dev));
    while (!found && fgets(line, sizeof(line), mounts) != NULL) {
        const char *option = strstr(line, "upperdir=");
        if (strstr(line, id) != NULL && option != NULL) {
            option += strlen("upperdir=");
            size_t len = strcspn(option, ", \n");
            found = len < cap;
            snprintf(upper, cap, "%.*s", (int)len, option);
        }
    }
    fclose(mounts);
    return found;
}

enum ptl_status ptl_file_flash_fs_kind(const char *path, enum ptl_fs_kind *kind)
{
    char where[PATH_MAX];
    char upper[PATH_MAX];
    struct statfs fs;
    struct stat st;
    snprintf(where, sizeof(where), "%s", path);
    if (stat(where, &st) != 0) {
        char *slash = strrchr(where, '/');
        snprintf(slash == NULL ? where : slash, 2, "%s", slash == NULL ? "." : "/");
        if (slash != NULL && slash != where) {
            *slash = '\0';
        }
        if (stat(where, &st) != 0) {
            return PTL_E_IO;
        }
    }
    if (statfs(where, &fs) != 0) {
        return PTL_E_IO;
    }
    *kind = kind_of_magic((uint32_t)fs.f_type);
    if (*kind == PTL_FS_OVERLAY && upper_of_overlay(st.st_dev, upper, sizeof(upper)) &&
        statfs(upper, &fs) == 0) {
        *kind = kind_of_magic((uint32_t)fs.f_type);
    }
    return PTL_OK;
}
