// identity.c - looks for a name that this device keeps.
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "mbedtls/sha256.h"
#include "ptl_clock.h"
#include "ptl_identity.h"

#define TEXT_BYTES 256
#define HASH_BYTES 16 // of the machine id, kept

static const char device_bytes[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

bool ptl_identity_valid(const char *id)
{
    size_t len = strlen(id);
    return len >= 1 && len <= PTL_DEVICE_BYTES_MAX && strspn(id, device_bytes) == len;
}

// The first line of a file, without white space and NULs around it. False: no file, or empty.
static bool line_read(const char *root, const char *path, char out[TEXT_BYTES])
{
    char full[512];
    if (snprintf(full, sizeof(full), "%s%s", root, path) >= (int)sizeof(full)) {
        return false;
    }
    int fd = open(full, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t got = read(fd, out, TEXT_BYTES - 1);
    close(fd);
    out[got > 0 ? got : 0] = '\0';
    size_t begin = strspn(out, " \t\r\n");
    size_t len = strcspn(out + begin, "\r\n");
    while (len > 0 && (out[begin + len - 1] == ' ' || out[begin + len - 1] == '\t')) {
        len--;
    }
    memmove(out, out + begin, len);
    out[len] = '\0';
    return len > 0;
}

// Vendors ship boards whose serial number was never set.
static bool serial_holds(const char *text)
{
    static const char *const rubbish[] = {"none",          "unknown",   "default", "to be filled",
                                          "system serial", "chassis",   "not ",    "n/a",
                                          "o.e.m",         "123456789", "serial",  "invalid"};
    for (size_t i = 0; i < sizeof(rubbish) / sizeof(rubbish[0]); i++) {
        if (strncasecmp(text, rubbish[i], strlen(rubbish[i])) == 0) {
            return false;
        }
    }
    return strlen(text) >= 4 && strspn(text, "0.-xX ") != strlen(text) && ptl_identity_valid(text);
}

static bool serial_find(const char *root, char id[TEXT_BYTES])
{
    static const char *const paths[] = {
        "/proc/device-tree/serial-number", "/sys/firmware/devicetree/base/serial-number",
        "/sys/class/dmi/id/product_serial", "/sys/class/dmi/id/board_serial"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (line_read(root, paths[i], id) && serial_holds(id)) {
            return true;
        }
    }
    return false;
}

static bool machine_id_find(const char *root, char id[TEXT_BYTES])
{
    char text[TEXT_BYTES];
    if (!line_read(root, "/etc/machine-id", text) &&
        !line_read(root, "/var/lib/dbus/machine-id", text)) {
        return false;
    }
    // machine-id(5): 32 lower-case hex digits, not all zero.
    if (strlen(text) != 32 || strspn(text, "0123456789abcdef") != 32 || strspn(text, "0") == 32) {
        return false;
    }
    char salted[64];
    uint8_t hash[32];
    int len = snprintf(salted, sizeof(salted), "petrel device id|%s", text);
    if (mbedtls_sha256((const uint8_t *)salted, (size_t)len, hash, 0) != 0) {
        return false;
    }
    char *at = id + snprintf(id, TEXT_BYTES, "machine-");
    for (size_t i = 0; i < HASH_BYTES; i++) {
        at += snprintf(at, 3, "%02x", hash[i]);
    }
    return true;
}

// A card's own address: of a real device, not set by software or drawn at random.
static bool mac_read(const char *root, const char *name, char id[TEXT_BYTES])
{
    char path[400];
    char text[TEXT_BYTES];
    snprintf(path, sizeof(path), "%s/sys/class/net/%s/device", root, name);
    if (access(path, F_OK) != 0) {
        return false;
    }
    snprintf(path, sizeof(path), "/sys/class/net/%s/addr_assign_type", name);
    if (!line_read(root, path, text) || strcmp(text, "0") != 0) {
        return false;
    }
    snprintf(path, sizeof(path), "/sys/class/net/%s/address", name);
    if (!line_read(root, path, text) || strlen(text) != 17 || strspn(text, "0:") == 17) {
        return false;
    }
    char *at = id + snprintf(id, TEXT_BYTES, "mac-");
    for (const char *c = text; *c != '\0'; c++) {
        if (*c != ':') {
            *at++ = *c;
        }
    }
    *at = '\0';
    return ptl_identity_valid(id);
}

static bool mac_find(const char *root, char id[TEXT_BYTES])
{
    char path[300];
    snprintf(path, sizeof(path), "%s/sys/class/net", root);
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return false;
    }
    // The first by name, so that it does not depend on the order of the directory.
    char best_name[64] = "";
    char found[TEXT_BYTES];
    const struct dirent *entry = readdir(dir);
    for (; entry != NULL; entry = readdir(dir)) {
        if (strlen(entry->d_name) < sizeof(best_name) && entry->d_name[0] != '.' &&
            (best_name[0] == '\0' || strcmp(entry->d_name, best_name) < 0) &&
            mac_read(root, entry->d_name, found)) {
            strcpy(best_name, entry->d_name);
            strcpy(id, found);
        }
    }
    closedir(dir);
    return best_name[0] != '\0';
}

enum ptl_status ptl_identity_find(const char *configured, const char *stored, const char *root,
                                  struct ptl_identity *identity)
{
    char found[TEXT_BYTES] = "";
    *identity = (struct ptl_identity){.store = true};
    if (configured[0] != '\0') {
        identity->from = "config";
        identity->store = false;
        snprintf(found, sizeof(found), "%s", configured);
    } else if (ptl_identity_valid(stored)) {
        identity->from = "journal";
        identity->store = false;
        snprintf(found, sizeof(found), "%s", stored);
    } else if (serial_find(root, found)) {
        identity->from = "board serial";
    } else if (machine_id_find(root, found)) {
        identity->from = "machine id";
    } else if (mac_find(root, found)) {
        identity->from = "MAC address";
    } else {
        uint64_t bits = 0;
        enum ptl_status status = ptl_entropy(&bits, sizeof(bits));
        if (status != PTL_OK) {
            return status;
        }
        identity->from = "random";
        snprintf(found, sizeof(found), "random-%016llx", (unsigned long long)bits);
    }
    PTL_ASSERT(ptl_identity_valid(found));
    memcpy(identity->id, found, strlen(found) + 1);
    return PTL_OK;
}
