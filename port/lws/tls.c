// tls.c - what the certificates of a server were, seen while mbedTLS judges them: after a refusal
// it has thrown them away. Nothing is judged here.
#include <arpa/inet.h>
#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lws_private.h"

// Of the wrapper inside libwebsockets, whose headers are not installed
// (exported from there as they are).
struct ssl_st;
struct ssl_st *lws_get_ssl(struct lws *wsi);
mbedtls_ssl_context *SSL_mbedtls_ssl_context_from_SSL(struct ssl_st *ssl);

// Text that came in a certificate: kept to printable ASCII.
static void text_put(char *out, size_t cap, const unsigned char *text, size_t len)
{
    size_t at = strlen(out);
    for (size_t i = 0; i < len && at + 1 < cap; i++) {
        out[at++] = (char)(text[i] >= ' ' && text[i] < 0x7F ? text[i] : '?');
    }
    out[at] = '\0';
}

static void common_name(const mbedtls_x509_name *name, char *out, size_t cap)
{
    static const unsigned char oid[] = {0x55, 0x04, 0x03}; // id-at-commonName
    out[0] = '\0';
    for (; name != NULL; name = name->next) {
        if (name->oid.len == sizeof(oid) && memcmp(name->oid.p, oid, sizeof(oid)) == 0) {
            text_put(out, cap, name->val.p, name->val.len);
            return;
        }
    }
}

static void name_add(char *out, size_t cap, const unsigned char *text, size_t len)
{
    if (out[0] != '\0') {
        text_put(out, cap, (const unsigned char *)", ", 2);
    }
    text_put(out, cap, text, len);
}

// Names that the certificate is for: DNS names and addresses, else the common name.
static void names_list(const mbedtls_x509_crt *crt, char *out, size_t cap)
{
    out[0] = '\0';
    const mbedtls_x509_sequence *at = &crt->subject_alt_names;
    for (; at != NULL && at->buf.p != NULL; at = at->next) {
        unsigned tag = (unsigned)at->buf.tag & 0x1F;
        char text[INET6_ADDRSTRLEN];
        if (tag == MBEDTLS_X509_SAN_DNS_NAME) {
            name_add(out, cap, at->buf.p, at->buf.len);
        } else if (tag == MBEDTLS_X509_SAN_IP_ADDRESS &&
                   (at->buf.len == 4 || at->buf.len == 16) && // nothing is verified yet
                   inet_ntop(at->buf.len == 4 ? AF_INET : AF_INET6, at->buf.p, text,
                             sizeof(text)) != NULL) {
            name_add(out, cap, (const unsigned char *)text, strlen(text));
        }
    }
    if (out[0] == '\0') {
        common_name(&crt->subject, out, cap);
    }
}

static void date_text(const mbedtls_x509_time *time, char *out, size_t cap)
{
    snprintf(out, cap, "%04d-%02d-%02d", time->year % 10000, time->mon % 100, time->day % 100);
}

static int64_t unix_seconds(const mbedtls_x509_time *t)
{
    struct tm tm = {.tm_year = t->year - 1900,
                    .tm_mon = t->mon - 1,
                    .tm_mday = t->day,
                    .tm_hour = t->hour,
                    .tm_min = t->min,
                    .tm_sec = t->sec};
    return (int64_t)timegm(&tm);
}

// mbedTLS asks once for each certificate of the chain, from the root to the server's own.
static int seen(void *ctx, mbedtls_x509_crt *crt, int depth, uint32_t *flags)
{
    struct ptl_lws *l = ctx;
    struct ptl_lws_certs *certs = &l->certs;
    if (depth == 0) {
        names_list(crt, certs->names, sizeof(certs->names));
        common_name(&crt->subject, certs->subject, sizeof(certs->subject));
        common_name(&crt->issuer, certs->issuer, sizeof(certs->issuer));
        certs->until_unix_s = unix_seconds(&crt->valid_to);
    }
    if ((*flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) != 0) {
        common_name(&crt->issuer, certs->unknown_issuer, sizeof(certs->unknown_issuer));
    }
    if ((*flags & MBEDTLS_X509_BADCERT_EXPIRED) != 0) {
        common_name(&crt->subject, certs->expired, sizeof(certs->expired));
        date_text(&crt->valid_to, certs->expired_on, sizeof(certs->expired_on));
    }
    if ((*flags & MBEDTLS_X509_BADCERT_FUTURE) != 0) {
        common_name(&crt->subject, certs->future, sizeof(certs->future));
        date_text(&crt->valid_from, certs->future_from, sizeof(certs->future_from));
    }
    certs->flags |= *flags;
    return 0;
}

void ptl_lws_tls_begin(struct ptl_lws *l, void *ssl)
{
    memset(&l->certs, 0, sizeof(l->certs));
    l->ssl = ssl;
    mbedtls_ssl_set_verify(SSL_mbedtls_ssl_context_from_SSL(ssl), seen, l);
}

void ptl_lws_tls_facts(struct ptl_lws *l)
{
    if (l->ssl == NULL) {
        return;
    }
    const mbedtls_ssl_context *ssl = SSL_mbedtls_ssl_context_from_SSL(l->ssl);
    snprintf(l->peer.tls_version, sizeof(l->peer.tls_version), "%s", mbedtls_ssl_get_version(ssl));
    snprintf(l->peer.cipher, sizeof(l->peer.cipher), "%s", mbedtls_ssl_get_ciphersuite(ssl));
    // A resumed session shows no certificates again: what they were is known from before.
    if (l->certs.subject[0] != '\0') {
        l->last_certs = l->certs;
    }
    snprintf(l->peer.subject, sizeof(l->peer.subject), "%s", l->last_certs.subject);
    snprintf(l->peer.issuer, sizeof(l->peer.issuer), "%s", l->last_certs.issuer);
    l->peer.cert_until_unix_s = l->last_certs.until_unix_s;
}

static void add(char *out, size_t cap, const char *text)
{
    size_t at = strlen(out);
    if (at > 0) {
        at += (size_t)snprintf(out + at, cap - at, "; ");
    }
    if (at < cap) {
        snprintf(out + at, cap - at, "%s", text);
    }
}

// All begin with "certificate": the reaction table (components/adapter) knows them by that.
bool ptl_lws_tls_refusal(const struct ptl_lws *l, char *out, size_t cap)
{
    const struct ptl_lws_certs *certs = &l->certs;
    char text[400];
    char today[16] = "";
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(today, sizeof(today), "%Y-%m-%d", &utc);
    out[0] = '\0';
    if ((certs->flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) != 0) {
        snprintf(text, sizeof(text),
                 "certificate not trusted: its issuer '%s' is not in ca_file %s",
                 certs->unknown_issuer, l->cfg->ca_file);
        add(out, cap, text);
    }
    if ((certs->flags & MBEDTLS_X509_BADCERT_CN_MISMATCH) != 0) {
        snprintf(text, sizeof(text), "certificate of the server is for %s, not for %s",
                 certs->names, l->cfg->host);
        add(out, cap, text);
    }
    if ((certs->flags & MBEDTLS_X509_BADCERT_EXPIRED) != 0) {
        snprintf(text, sizeof(text), "certificate of '%s' has expired on %s (today is %s here)",
                 certs->expired, certs->expired_on, today);
        add(out, cap, text);
    }
    if ((certs->flags & MBEDTLS_X509_BADCERT_FUTURE) != 0) {
        snprintf(text, sizeof(text),
                 "certificate of '%s' is valid only from %s (today is %s here: is the clock "
                 "right?)",
                 certs->future, certs->future_from, today);
        add(out, cap, text);
    }
    uint32_t told = MBEDTLS_X509_BADCERT_NOT_TRUSTED | MBEDTLS_X509_BADCERT_CN_MISMATCH |
                    MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE;
    if ((certs->flags & ~told) != 0) {
        snprintf(
            text, sizeof(text),
            "certificate of the server is not acceptable (key, signature or usage; mbedTLS 0x%x)",
            (unsigned)(certs->flags & ~told));
        add(out, cap, text);
    }
    return out[0] != '\0';
}

const char *ptl_lws_tls_error(const char *raw)
{
    const char *at = strstr(raw, "mbedtls -0x");
    unsigned long code = at != NULL ? strtoul(at + 11, NULL, 16) : 0;
    switch (-(long)code) {
    case MBEDTLS_ERR_SSL_INVALID_RECORD:
        return "the server does not speak TLS on this port";
    case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
    case MBEDTLS_ERR_SSL_HANDSHAKE_FAILURE:
        return "the server refused the TLS handshake (no common version or cipher, or it does not "
               "know this name)";
    case MBEDTLS_ERR_SSL_BAD_PROTOCOL_VERSION:
        return "the server speaks no TLS version that is safe (1.2 or 1.3)";
    case MBEDTLS_ERR_SSL_CONN_EOF:
    case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
        return "the server closed the connection during the TLS handshake";
    case MBEDTLS_ERR_SSL_ALLOC_FAILED:
        return "out of memory in the TLS handshake";
    default:
        return NULL;
    }
}
