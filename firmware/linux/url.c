// url.c - the project's URL, in the forms in which people have it at hand.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config.h"

struct scheme {
    const char *name;
    bool tls;
};
static const struct scheme schemes[] = {
    {"https://", true}, {"wss://", true}, {"http://", false}, {"ws://", false}};

// What stands behind the host in URLs that are copied from somewhere, and the path to use.
static bool path_of(const char *path, const char **out)
{
    static const char *const of_project[] = {"",
                                             "/rest/v1",
                                             "/auth/v1",
                                             "/storage/v1",
                                             "/functions/v1",
                                             "/graphql/v1",
                                             "/realtime/v1",
                                             "/realtime/v1/websocket",
                                             "/realtime/v1/api",
                                             "/realtime/v1/api/broadcast"};
    size_t len = strlen(path);
    while (len > 0 && path[len - 1] == '/') {
        len--;
    }
    for (size_t i = 0; i < sizeof(of_project) / sizeof(of_project[0]); i++) {
        if (strlen(of_project[i]) == len && strncmp(path, of_project[i], len) == 0) {
            *out = "/realtime/v1/websocket";
            return true;
        }
    }
    // A Realtime server without a gateway in front.
    if ((len == 7 && strncmp(path, "/socket", 7) == 0) ||
        (len == 17 && strncmp(path, "/socket/websocket", 17) == 0)) {
        *out = "/socket/websocket";
        return true;
    }
    return false;
}

static bool host_holds(const char *host)
{
    size_t len = strlen(host);
    return len > 0 && len < 254 &&
           strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == len;
}

static bool port_parse(const char *text, uint16_t *port)
{
    size_t len = strlen(text);
    if (len < 1 || len > 5 || strspn(text, "0123456789") != len) {
        return false;
    }
    unsigned long value = strtoul(text, NULL, 10);
    *port = (uint16_t)value;
    return value >= 1 && value <= 65535;
}

bool ptl_url_parse(struct ptl_config *c, const char **why)
{
    char text[PTL_CONFIG_TEXT_MAX];
    strcpy(text, c->server.url);
    const char *rest = NULL;
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t len = strlen(schemes[i].name);
        if (strncasecmp(text, schemes[i].name, len) == 0) {
            rest = text + len;
            c->server.tls = schemes[i].tls;
        }
    }
    if (rest == NULL) {
        *why = "it must begin with https:// (or wss://)";
        return false;
    }
    if (strpbrk(rest, "?#@ \t\"'\\") != NULL) {
        *why = "only scheme, host and port are wanted: no quotes, white space, user, ? or #";
        return false;
    }
    char *slash = strchr(rest, '/');
    const char *path = NULL;
    if (!path_of(slash != NULL ? slash : "", &path)) {
        *why = "its path is not known: give the project's URL alone, such as "
               "https://xyzcompany.supabase.co";
        return false;
    }
    strcpy(c->server.path, path);
    if (slash != NULL) {
        *slash = '\0';
    }
    c->server.port = c->server.tls ? 443 : 80;
    const char *port = NULL;
    if (rest[0] == '[') {
        char *close = strchr(rest, ']');
        if (close == NULL || (close[1] != '\0' && close[1] != ':') ||
            strspn(rest + 1, "0123456789abcdefABCDEF:.") != (size_t)(close - rest - 1)) {
            *why = "the IPv6 address in brackets is not one";
            return false;
        }
        if (c->server.tls) {
            *why = "TLS to a bare IPv6 address is not supported: use a host name";
            return false;
        }
        port = close[1] == ':' ? close + 2 : NULL;
        *close = '\0';
        strcpy(c->server.host, rest + 1);
    } else {
        char *colon = strchr(rest, ':');
        if (colon != NULL) {
            *colon = '\0';
            port = colon + 1;
        }
        strcpy(c->server.host, rest);
        if (!host_holds(rest)) {
            *why = "the host name is missing or not one";
            return false;
        }
    }
    if (port != NULL && !port_parse(port, &c->server.port)) {
        *why = "the port must be 1 to 65535";
        return false;
    }
    if (strcasecmp(c->server.host, "supabase.com") == 0 ||
        strcasecmp(c->server.host, "app.supabase.com") == 0 ||
        strncasecmp(c->server.host, "db.", 3) == 0) {
        *why = "that is the dashboard or the database: the project's URL is on its API page, such "
               "as https://xyzcompany.supabase.co";
        return false;
    }
    return true;
}

void ptl_url_with_key(const char *path, const char *key, char *out, size_t cap)
{
    static const char unreserved[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    size_t at = (size_t)snprintf(out, cap, "%s?apikey=", path);
    for (; *key != '\0'; key++) {
        PTL_ASSERT(at + 4 < cap);
        bool plain = strchr(unreserved, *key) != NULL;
        at += (size_t)snprintf(out + at, cap - at, plain ? "%c" : "%%%02X", (unsigned char)*key);
    }
    PTL_ASSERT(at + sizeof("&vsn=2.0.0") <= cap);
    strcpy(out + at, "&vsn=2.0.0");
}
