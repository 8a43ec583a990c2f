// secrets.c - keys and tokens as people's tools leave them in files: with line ends, a BOM, quotes,
// in UTF-16. What can only be white space is trimmed; what could be part of a mistake is refused.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "config.h"

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

const char *ptl_secret_trim(char *text, size_t len)
{
    const uint8_t *bytes = (const uint8_t *)text;
    if (len >= 2 &&
        ((bytes[0] == 0xFF && bytes[1] == 0xFE) || (bytes[0] == 0xFE && bytes[1] == 0xFF))) {
        return "is UTF-16 text: save it as UTF-8 (or plain ASCII)";
    }
    if (memchr(text, '\0', len) != NULL) {
        return "holds a NUL byte: write the file anew with printf '%s'";
    }
    size_t begin = len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    while (begin < len && is_space(text[begin])) {
        begin++;
    }
    while (len > begin && is_space(text[len - 1])) {
        len--;
    }
    memmove(text, text + begin, len - begin);
    len -= begin;
    text[len] = '\0';
    if (len == 0) {
        return "is empty";
    }
    if (text[0] == '"' || text[0] == '\'' || text[0] == '`') {
        return "begins with a quote: remove the quotes";
    }
    if (strpbrk(text, "\r\n") != NULL) {
        return "has more than one line: one secret, nothing else";
    }
    const char *equals = strchr(text, '=');
    if (equals != NULL && strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == (size_t)(equals - text)) {
        return "holds NAME=value: only the value is wanted";
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] <= ' ' || text[i] > '~') {
            return "holds white space or a byte that no key has";
        }
    }
    return NULL;
}

// Modes that cannot be mended: systemd's credentials, read-only mounts.
static bool mode_fixed(const char *path, int fd)
{
    const char *credentials = getenv("CREDENTIALS_DIRECTORY");
    struct statvfs fs;
    if (credentials != NULL && credentials[0] == '/' &&
        strncmp(path, credentials, strlen(credentials)) == 0) {
        return true;
    }
    return fstatvfs(fd, &fs) == 0 && (fs.f_flag & ST_RDONLY) != 0;
}

bool ptl_secret_read(const char *path, const char *what, char out[PTL_CONFIG_SECRET_MAX],
                     struct ptl_config_report *report)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0 || S_ISDIR(st.st_mode)) {
        ptl_config_say(report, PTL_CONFIG_ERROR, "%s = %s: cannot be read: %s", what, path,
                       fd < 0 ? strerror(errno) : "it is a directory");
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    bool fine = true;
    if ((st.st_mode & S_IROTH) != 0) {
        if (mode_fixed(path, fd)) {
            ptl_config_say(
                report, PTL_CONFIG_NOTE,
                "%s = %s: every user of this machine can read it, and its mode cannot be "
                "changed there",
                what, path);
        } else {
            ptl_config_say(report, PTL_CONFIG_ERROR,
                           "%s = %s: every user of this machine can read it; mend: chmod 600 %s",
                           what, path, path);
            fine = false;
        }
    }
    size_t len = 0;
    ssize_t got = 0;
    while (len < PTL_CONFIG_SECRET_MAX - 1 &&
           (got = read(fd, out + len, PTL_CONFIG_SECRET_MAX - 1 - len)) > 0) {
        len += (size_t)got;
    }
    char more = 0;
    bool too_long = len == PTL_CONFIG_SECRET_MAX - 1 && read(fd, &more, 1) > 0;
    close(fd);
    const char *wrong = too_long ? "is longer than 8,191 bytes" : ptl_secret_trim(out, len);
    if (wrong != NULL) {
        ptl_config_say(report, PTL_CONFIG_ERROR, "%s = %s: the file %s", what, path, wrong);
        memset(out, 0, PTL_CONFIG_SECRET_MAX);
        return false;
    }
    return fine;
}

static int digit_of(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

// The payload of a JWT, decoded (RFC 7519, base64url without padding). 0: not one.
static size_t payload_decode(const char *token, uint8_t *out, size_t cap)
{
    const char *begin = strchr(token, '.');
    const char *end = begin != NULL ? strchr(begin + 1, '.') : NULL;
    if (end == NULL || strchr(end + 1, '.') != NULL) {
        return 0;
    }
    size_t len = 0;
    uint32_t bits = 0;
    uint32_t count = 0;
    for (const char *c = begin + 1; c < end; c++) {
        int digit = digit_of(*c);
        if (digit < 0) {
            return 0;
        }
        bits = bits << 6 | (uint32_t)digit;
        count += 6;
        if (count >= 8) {
            count -= 8;
            if (len == cap) {
                return 0;
            }
            out[len++] = (uint8_t)(bits >> count & 0xFF);
        }
    }
    return len;
}

static bool claim_find(const char *token, const char *name, uint8_t *buf, size_t cap,
                       struct ptl_json_value *value)
{
    size_t len = payload_decode(token, buf, cap);
    struct ptl_json_value payload;
    struct ptl_json_error error;
    return len > 0 && ptl_json_check((struct ptl_span){buf, len}, 16, &payload, &error) == PTL_OK &&
           payload.type == PTL_JSON_OBJECT && ptl_json_member(payload, name, value);
}

bool ptl_jwt_claim(const char *token, const char *name, char *out, size_t cap)
{
    static uint8_t buf[PTL_CONFIG_SECRET_MAX];
    struct ptl_json_value value;
    size_t len = 0;
    if (!claim_find(token, name, buf, sizeof(buf), &value) || value.type != PTL_JSON_STRING ||
        ptl_json_unescape(ptl_json_string_body(value), (uint8_t *)out, cap - 1, &len) != PTL_OK) {
        return false;
    }
    out[len] = '\0';
    return true;
}

bool ptl_jwt_number(const char *token, const char *name, int64_t *out)
{
    static uint8_t buf[PTL_CONFIG_SECRET_MAX];
    struct ptl_json_value value;
    uint64_t number = 0;
    if (!claim_find(token, name, buf, sizeof(buf), &value) || value.type != PTL_JSON_NUMBER ||
        ptl_json_u64(value, &number) != PTL_OK || number > INT64_MAX) {
        return false;
    }
    *out = (int64_t)number;
    return true;
}
