// Goal: tokens are accepted only with the right signature, algorithm and claims, and the rights
// that follow are those of docs/wire.md and no more. Method: a published token with a known
// secret, tokens of our own, and each of them broken in one place; a table of rights.

#include "ptl_test.h"

#include "jwt.h"
#include "rights.h"

static struct ptl_rt_secret secret_of(const char *text)
{
    struct ptl_rt_secret secret = {.len = strlen(text)};
    memcpy(secret.bytes, text, secret.len);
    return secret;
}

static enum ptl_rt_jwt_status verify(const char *token, const char *secret_text, int64_t now_s,
                                     struct ptl_rt_claims *claims)
{
    struct ptl_rt_secret secret = secret_of(secret_text);
    return ptl_rt_jwt_verify(token, strlen(token), &secret, now_s, claims);
}

// The example token of jwt.io. It has neither role nor exp, which is only looked at once the
// signature is right.
static const char published[] =
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
    "eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ."
    "SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c";

static void a_published_signature_is_right(void **state)
{
    (void)state;
    struct ptl_rt_claims claims;
    assert_int_equal(PTL_RT_JWT_CLAIMS, verify(published, "your-256-bit-secret", 0, &claims));
    assert_int_equal(PTL_RT_JWT_SIGNATURE, verify(published, "another", 0, &claims));
}

static void our_own_token_carries_role_device_and_end(void **state)
{
    (void)state;
    struct ptl_rt_secret secret = secret_of("s");
    struct ptl_rt_claims claims;
    char *token = ptl_rt_jwt_mint("petrel_device", "gw-1", 1000, 60, &secret);
    assert_int_equal(PTL_RT_JWT_OK, verify(token, "s", 1059, &claims));
    assert_string_equal("petrel_device", claims.role);
    assert_true(claims.has_device);
    assert_string_equal("gw-1", claims.device);
    assert_int_equal(1060, claims.exp_s);
    assert_int_equal(PTL_RT_JWT_EXPIRED, verify(token, "s", 1060, &claims));
    free(token);
}

static void white_space_around_a_token_is_ignored(void **state)
{
    (void)state;
    struct ptl_rt_secret secret = secret_of("s");
    struct ptl_rt_claims claims;
    char text[1024];
    char *token = ptl_rt_jwt_mint("anon", NULL, 0, 60, &secret);
    snprintf(text, sizeof text, " \t%s\n", token);
    assert_int_equal(PTL_RT_JWT_OK, verify(text, "s", 1, &claims));
    assert_false(claims.has_device);
    free(token);
}

static void any_changed_character_is_refused(void **state)
{
    (void)state;
    struct ptl_rt_secret secret = secret_of("s");
    struct ptl_rt_claims claims;
    char *token = ptl_rt_jwt_mint("anon", NULL, 0, 60, &secret);
    // The last character of a signature holds two bits that count for nothing.
    for (size_t i = 0; i + 1 < strlen(token); i++) {
        char was = token[i];
        token[i] = was == 'A' ? 'B' : 'A';
        assert_int_not_equal(PTL_RT_JWT_OK, verify(token, "s", 1, &claims));
        token[i] = was;
    }
    assert_int_equal(PTL_RT_JWT_OK, verify(token, "s", 1, &claims));
    free(token);
}

static void what_is_no_token_is_malformed(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",      " ",       "abc",       "a.b",   "a.b.c",           "..",
        "e30..", "e30.e30", "W10.W10.x", "=.=.=", "sb_publishable_x"};
    struct ptl_rt_claims claims;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_int_equal(PTL_RT_JWT_MALFORMED, verify(texts[i], "s", 1, &claims));
    }
    // {"alg":"none"} and no signature
    assert_int_equal(PTL_RT_JWT_SIGNER, verify("eyJhbGciOiJub25lIn0.e30.", "s", 1, &claims));
}

static void rights_are_the_two_channels_and_no_more(void **state)
{
    (void)state;
    // br, bw, pr, pw: read and write of broadcast and presence
    static const struct {
        const char *role, *device, *name, *want;
    } rows[] = {
        {"petrel_device", "a", "petrel:up:a", "-bw pr pw"},
        {"petrel_device", "a", "petrel:down:a", "br"},
        {"authenticated", "a", "petrel:up:a", "-bw pr pw"},
        {"authenticated", "a", "petrel:down:a", "br"},
        {"petrel_device", "a", "petrel:up:b", ""},
        {"petrel_device", "a", "petrel:down:b", ""},
        {"petrel_device", "a", "petrel:up:ab", ""},
        {"petrel_device", "ab", "petrel:up:a", ""},
        {"petrel_device", "a", "petrel:up:", ""},
        {"petrel_device", "", "petrel:up:", ""},
        {"petrel_device", NULL, "petrel:up:", ""},
        {"petrel_device", NULL, "petrel:up:a", ""},
        {"petrel_device", "a", "room", ""},
        {"authenticated", NULL, "petrel:up:a", ""},
        {"anon", "a", "petrel:up:a", ""},
        {"", "a", "petrel:down:a", ""},
        {"service_role", NULL, "petrel:up:a", "br bw pr pw"},
        {"service_role", NULL, "anything", "br bw pr pw"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ptl_rt_claims claims = {.has_device = rows[i].device != NULL};
        snprintf(claims.role, sizeof claims.role, "%s", rows[i].role);
        snprintf(claims.device, sizeof claims.device, "%s",
                 rows[i].device != NULL ? rows[i].device : "");
        struct ptl_rt_rights got = ptl_rt_rights_private(
            &claims, (struct ptl_rt_bytes){rows[i].name, strlen(rows[i].name)});
        assert_int_equal(strstr(rows[i].want, "br") != NULL, got.broadcast_read);
        assert_int_equal(strstr(rows[i].want, "bw") != NULL, got.broadcast_write);
        assert_int_equal(strstr(rows[i].want, "pr") != NULL, got.presence_read);
        assert_int_equal(strstr(rows[i].want, "pw") != NULL, got.presence_write);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_published_signature_is_right),
        cmocka_unit_test(our_own_token_carries_role_device_and_end),
        cmocka_unit_test(white_space_around_a_token_is_ignored),
        cmocka_unit_test(any_changed_character_is_refused),
        cmocka_unit_test(what_is_no_token_is_malformed),
        cmocka_unit_test(rights_are_the_two_channels_and_no_more),
    };
    return cmocka_run_group_tests_name("realtime_server_jwt", tests, NULL, NULL);
}
