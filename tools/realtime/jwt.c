#include "jwt.h"

#include <ctype.h>
#include <mbedtls/md.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

enum { DIGEST_BYTES = 32 };

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void base64url_add(struct ptl_rt_str *out, const unsigned char *bytes, size_t len)
{
    uint32_t bits = 0;
    unsigned held = 0;
    for (size_t i = 0; i < len; i++) {
        bits = (bits << 8) | bytes[i];
        held += 8;
        while (held >= 6) {
            held -= 6;
            ptl_rt_str_char(out, alphabet[(bits >> held) & 63u]);
        }
    }
    if (held > 0) {
        ptl_rt_str_char(out, alphabet[(bits << (6 - held)) & 63u]);
    }
}

// False on a character outside the alphabet, on padding and on an impossible length.
static bool base64url_read(struct ptl_rt_str *out, const char *text, size_t len)
{
    uint32_t bits = 0;
    unsigned held = 0;
    for (size_t i = 0; i < len; i++) {
        const char *at = text[i] != '\0' ? strchr(alphabet, text[i]) : NULL;
        if (at == NULL) {
            return false;
        }
        bits = (bits << 6) | (uint32_t)(at - alphabet);
        held += 6;
        if (held >= 8) {
            held -= 8;
            ptl_rt_str_char(out, (char)(unsigned char)(bits >> held));
        }
    }
    return len % 4 != 1;
}

static bool sign(const char *text, size_t len, const struct ptl_rt_secret *secret,
                 unsigned char digest[DIGEST_BYTES])
{
    const mbedtls_md_info_t *sha256 = mbedtls_md_info_from_type(MBEDTLS_MD_SHA256);
    return sha256 != NULL && mbedtls_md_hmac(sha256, secret->bytes, secret->len,
                                             (const unsigned char *)text, len, digest) == 0;
}

// Compares in time that does not depend on where the digests differ.
static bool same_digest(const unsigned char *a, const char *b, size_t b_len)
{
    unsigned char diff = b_len == DIGEST_BYTES ? 0 : 1;
    for (size_t i = 0; i < DIGEST_BYTES && i < b_len; i++) {
        diff |= a[i] ^ (unsigned char)b[i];
    }
    return diff == 0;
}

static json_t *part_object(const char *text, size_t len)
{
    struct ptl_rt_str raw = {0};
    json_t *value = NULL;
    if (base64url_read(&raw, text, len) && raw.len > 0) {
        value = ptl_rt_json_parse(raw.data, raw.len);
    }
    ptl_rt_str_free(&raw);
    if (!json_is_object(value)) {
        json_decref(value);
        return NULL;
    }
    return value;
}

static void copy_text(char *out, size_t out_bytes, const json_t *value)
{
    size_t len = json_string_length(value); // 0 for what is not a string
    if (len > 0 && len < out_bytes && strlen(json_string_value(value)) == len) {
        memcpy(out, json_string_value(value), len + 1);
    }
}

static enum ptl_rt_jwt_status judge_claims(const json_t *body, int64_t now_s,
                                           struct ptl_rt_claims *claims)
{
    const json_t *exp = json_object_get(body, "exp");
    const json_t *role = json_object_get(body, "role");
    const json_t *device = json_object_get(body, "device");
    if (exp == NULL || role == NULL) {
        return PTL_RT_JWT_CLAIMS;
    }
    if (!json_is_integer(exp)) {
        return PTL_RT_JWT_EXP_TYPE;
    }
    copy_text(claims->role, sizeof claims->role, role);
    claims->has_device = device != NULL;
    copy_text(claims->device, sizeof claims->device, device);
    claims->exp_s = json_integer_value(exp);
    return claims->exp_s > now_s ? PTL_RT_JWT_OK : PTL_RT_JWT_EXPIRED;
}

static enum ptl_rt_jwt_status judge_signature(const char *token, size_t signed_len, const char *sig,
                                              size_t sig_len, const json_t *header,
                                              const struct ptl_rt_secret *secret)
{
    const char *alg = json_string_value(json_object_get(header, "alg"));
    if (alg == NULL || strcmp(alg, "HS256") != 0) {
        return PTL_RT_JWT_SIGNER;
    }
    unsigned char digest[DIGEST_BYTES];
    struct ptl_rt_str given = {0};
    bool ok = base64url_read(&given, sig, sig_len) && given.data != NULL &&
              sign(token, signed_len, secret, digest) && same_digest(digest, given.data, given.len);
    ptl_rt_str_free(&given);
    return ok ? PTL_RT_JWT_OK : PTL_RT_JWT_SIGNATURE;
}

enum ptl_rt_jwt_status ptl_rt_jwt_verify(const char *token, size_t len,
                                         const struct ptl_rt_secret *secret, int64_t now_s,
                                         struct ptl_rt_claims *claims)
{
    *claims = (struct ptl_rt_claims){0};
    while (len > 0 && isspace((unsigned char)token[0])) {
        token++;
        len--;
    }
    while (len > 0 && isspace((unsigned char)token[len - 1])) {
        len--;
    }
    const char *dot1 = len > 0 ? memchr(token, '.', len) : NULL;
    const char *dot2 =
        dot1 != NULL ? memchr(dot1 + 1, '.', len - (size_t)(dot1 + 1 - token)) : NULL;
    if (dot2 == NULL) {
        return PTL_RT_JWT_MALFORMED;
    }
    json_t *header = part_object(token, (size_t)(dot1 - token));
    json_t *body = part_object(dot1 + 1, (size_t)(dot2 - dot1 - 1));
    enum ptl_rt_jwt_status status = PTL_RT_JWT_MALFORMED;
    if (header != NULL && body != NULL) {
        status = judge_signature(token, (size_t)(dot2 - token), dot2 + 1,
                                 len - (size_t)(dot2 + 1 - token), header, secret);
    }
    if (status == PTL_RT_JWT_OK) {
        status = judge_claims(body, now_s, claims);
    }
    json_decref(header);
    json_decref(body);
    return status;
}

char *ptl_rt_jwt_mint(const char *role, const char *device, int64_t now_s, int64_t ttl_s,
                      const struct ptl_rt_secret *secret)
{
    static const char header[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";
    json_int_t issued_s = now_s;
    json_int_t exp_s = now_s + ttl_s;
    json_t *body = json_pack("{s:s, s:s, s:I, s:I}", "iss", "supabase", "role", role, "iat",
                             issued_s, "exp", exp_s);
    if (device != NULL) {
        json_object_set_new(body, "device", json_string(device));
    }
    struct ptl_rt_str text = {0};
    struct ptl_rt_str token = {0};
    ptl_rt_json_write(&text, body);
    json_decref(body);
    base64url_add(&token, (const unsigned char *)header, sizeof header - 1);
    ptl_rt_str_char(&token, '.');
    base64url_add(&token, (const unsigned char *)text.data, text.len);
    unsigned char digest[DIGEST_BYTES];
    if (!sign(token.data, token.len, secret, digest)) {
        abort(); // SHA-256 is always built in
    }
    ptl_rt_str_char(&token, '.');
    base64url_add(&token, digest, sizeof digest);
    ptl_rt_str_char(&token, '\0');
    ptl_rt_str_free(&text);
    return token.data;
}
