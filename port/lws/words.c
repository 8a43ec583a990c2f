// words.c - what libwebsockets and mbedTLS say, in sentences that name what the user can mend.
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lws_private.h"

void ptl_lws_address_text(const struct sockaddr_storage *address, char *out, size_t cap)
{
    const void *bytes =
        address->ss_family == AF_INET6
            ? (const void *)&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr
            : (const void *)&((const struct sockaddr_in *)(const void *)address)->sin_addr;
    if (inet_ntop(address->ss_family, bytes, out, (socklen_t)cap) == NULL) {
        snprintf(out, cap, "?");
    }
}

bool ptl_lws_is_loopback(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    }
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
    return address->ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

static const char *status_words(uint32_t status)
{
    switch (status) {
    case 400:
        return "the server does not take the upgrade (is the URL a Realtime one?)";
    case 401:
        return "the key was refused: missing, wrong or expired";
    case 403:
        return "forbidden: Realtime is disabled for this project, or the protocol version is not "
               "taken";
    case 404:
        return "no such project or path";
    case 407:
        return "a proxy asks for a name and password";
    case 429:
        return "too many connections or joins for the project's plan";
    default:
        return status >= 500   ? "the server has a problem of its own"
               : status >= 300 ? "the server answers with something else than a WebSocket"
                               : "unexpected answer";
    }
}

static void tls_words(const struct ptl_lws *l, const char *raw, char *out, size_t cap)
{
    const char *known = ptl_lws_tls_error(raw);
    if (ptl_lws_tls_refusal(l, out, cap)) {
        return;
    }
    if (known != NULL) {
        snprintf(out, cap, "%s: %s", l->peer.address, known);
    } else {
        snprintf(out, cap, "the TLS handshake with %s failed: %s", l->peer.address,
                 raw[0] != '\0' ? raw : "the connection was closed");
    }
}

void ptl_lws_words(const struct ptl_lws *l, struct lws *wsi, const char *raw, char *out, size_t cap)
{
    uint32_t status = lws_http_client_http_response(wsi);
    const char *errno_text = strstr(raw, "conn fail: ");
    if (l->phase == PTL_LWS_UPGRADING && status != 0 && status != 101) {
        snprintf(out, cap, "the server refused the upgrade with HTTP %u: %s", status,
                 status_words(status));
    } else if (l->phase == PTL_LWS_UPGRADING) {
        snprintf(out, cap, "the WebSocket upgrade failed: %s",
                 raw[0] != '\0' ? raw : "the server closed the connection");
    } else if (errno_text != NULL && strtol(errno_text + 11, NULL, 10) > 0) {
        snprintf(out, cap, "cannot connect to %s: %s", l->peer.address,
                 strerror((int)strtol(errno_text + 11, NULL, 10)));
    } else if (!l->tcp_up) {
        snprintf(out, cap, "cannot connect to %s%s%s", l->peer.address, raw[0] != '\0' ? ": " : "",
                 raw);
    } else {
        tls_words(l, raw, out, cap);
    }
}

// RFC 9110 section 5.6.7: "Sun, 06 Nov 1994 08:49:37 GMT", rewritten to what the core parses.
bool ptl_lws_date_parse(const char *text, int64_t *unix_ms)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    if (strlen(text) != 29 || text[3] != ',' || strcmp(text + 25, " GMT") != 0) {
        return false;
    }
    char month_name[4] = {text[8], text[9], text[10], '\0'};
    const char *month_at = strstr(months, month_name);
    if (month_at == NULL || (month_at - months) % 3 != 0) {
        return false;
    }
    char iso[] = "YYYY-MM-DDTHH:MM:SSZ";
    int month = (int)(month_at - months) / 3 + 1;
    memcpy(iso, text + 12, 4);
    iso[5] = (char)('0' + month / 10);
    iso[6] = (char)('0' + month % 10);
    memcpy(iso + 8, text + 5, 2);
    memcpy(iso + 11, text + 17, 8);
    return ptl_rfc3339_parse(ptl_span_of_text(iso), unix_ms) == PTL_OK;
}
