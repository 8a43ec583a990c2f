#include "upgrade.h"

#include <ctype.h>
#include <string.h>

static const char json_type[] = "application/json; charset=utf-8";

const struct ptl_rt_refusal ptl_rt_not_found = {"Not Found", "text/html; charset=utf-8",
                                                "Not Found", 404, false};
const struct ptl_rt_refusal ptl_rt_not_an_upgrade = {"Bad Request", "text/html; charset=utf-8",
                                                     "Not a WebSocket upgrade", 400, false};
static const struct ptl_rt_refusal bad_version = {"Forbidden", NULL, "", 403, false};
static const struct ptl_rt_refusal no_key = {"Unauthorized", json_type,
                                             "{\"error\":\"API key is missing\"}", 401, true};

bool ptl_rt_is_socket_path(const char *path)
{
    static const char *const paths[] = {"/realtime/v1/websocket", "/socket/websocket"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        size_t len = strlen(paths[i]);
        if (strncmp(path, paths[i], len) == 0 &&
            (path[len] == '\0' || strcmp(path + len, "/") == 0)) {
            return true;
        }
    }
    return false;
}

// ~> 2.0.0: any patch level of 2.0.
static bool is_version_2_0(const char *vsn)
{
    if (vsn == NULL || strncmp(vsn, "2.0.", 4) != 0 || vsn[4] == '\0') {
        return false;
    }
    for (const char *p = vsn + 4; *p != '\0'; p++) {
        if (!isdigit((unsigned char)*p)) {
            return false;
        }
    }
    return true;
}

static const struct ptl_rt_refusal *judge_key(const char *key, const struct ptl_rt_secret *secret,
                                              int64_t now_s)
{
    static const struct ptl_rt_refusal refusals[] = {
        [PTL_RT_JWT_MALFORMED] = {"Unauthorized", json_type,
                                  "{\"error\":\"The token provided is not a valid JWT\"}", 401,
                                  true},
        [PTL_RT_JWT_SIGNER] = {"Unauthorized", json_type,
                               "{\"error\":\"Failed to generate JWT signer, check your JWT secret "
                               "or JWKS configuration\"}",
                               401, true},
        [PTL_RT_JWT_SIGNATURE] = {"Unauthorized", json_type,
                                  "{\"error\":\"Failed to validate JWT signature\"}", 401, true},
        [PTL_RT_JWT_CLAIMS] = {"Unauthorized", json_type,
                               "{\"error\":\"Fields `role` and `exp` are required in JWT\"}", 401,
                               true},
        [PTL_RT_JWT_EXP_TYPE] = {"Internal Server Error", json_type,
                                 "{\"error\":\"Error connecting to Realtime\"}", 500, true},
        [PTL_RT_JWT_EXPIRED] = {"Unauthorized", json_type, "{\"error\":\"Token has expired\"}", 401,
                                true},
    };
    struct ptl_rt_claims claims;
    enum ptl_rt_jwt_status status = ptl_rt_jwt_verify(key, strlen(key), secret, now_s, &claims);
    return status == PTL_RT_JWT_OK ? NULL : &refusals[status];
}

const struct ptl_rt_refusal *ptl_rt_upgrade_judge(const struct ptl_rt_upgrade *request,
                                                  const struct ptl_rt_secret *secret, int64_t now_s)
{
    if (!ptl_rt_is_socket_path(request->path)) {
        return &ptl_rt_not_found;
    }
    if (!is_version_2_0(request->vsn)) {
        return &bad_version;
    }
    if (request->api_key == NULL) {
        return &no_key;
    }
    return judge_key(request->api_key, secret, now_s);
}
