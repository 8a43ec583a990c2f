// jwt.h - tokens: verify and mint JWTs signed with HS256.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem.h"

#define PTL_RT_SECRET_BYTES_MAX 1024u

struct ptl_rt_secret {
    unsigned char bytes[PTL_RT_SECRET_BYTES_MAX];
    size_t len;
};

struct ptl_rt_claims {
    char role[64];
    bool has_device; // the claim is there, whatever its value
    char device[65]; // empty if the claim is no usable name: then it matches nothing
    int64_t exp_s;   // Unix seconds
};

enum ptl_rt_jwt_status {
    PTL_RT_JWT_OK,
    PTL_RT_JWT_MALFORMED, // not three base64url parts with JSON objects
    PTL_RT_JWT_SIGNER,    // an algorithm other than HS256
    PTL_RT_JWT_SIGNATURE,
    PTL_RT_JWT_CLAIMS,   // no `role` or no `exp`
    PTL_RT_JWT_EXP_TYPE, // `exp` is not an integer
    PTL_RT_JWT_EXPIRED,  // claims are filled in
};

// *claims is filled in for OK and EXPIRED. White space around the token is ignored.
enum ptl_rt_jwt_status ptl_rt_jwt_verify(const char *token, size_t len,
                                         const struct ptl_rt_secret *secret, int64_t now_s,
                                         struct ptl_rt_claims *claims);

// `device` may be NULL. The token is a NUL-terminated string for free().
char *ptl_rt_jwt_mint(const char *role, const char *device, int64_t now_s, int64_t ttl_s,
                      const struct ptl_rt_secret *secret);
