// Goal: a look-up that hangs holds up nobody, and what it writes once it ends is still there to be
// written to. Method: a getaddrinfo of our own that waits until it is let go; the resolver is freed
// while it waits (AddressSanitizer watches over the rest of its life), then in every other state.
#include "ptl_test.h"

#include <netdb.h>
#include <stdatomic.h>
#include <unistd.h>

#include "lws_private.h"

static atomic_bool inside, let_go;
static atomic_uint finished_calls, ended_calls;

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    (void)service;
    (void)hints;
    (void)found;
    inside = true;
    while (!let_go) {
        usleep(1000);
    }
    int error = strcmp(name, "server.example") == 0 ? EAI_AGAIN : EAI_FAIL;
    ended_calls++;
    return error;
}

static void finished(void *ctx)
{
    (void)ctx;
    finished_calls++;
}

static struct ptl_lws_resolver *asked(void)
{
    struct ptl_lws_resolver *r = ptl_lws_resolver_new("server.example", 443, finished, NULL);
    assert_non_null(r);
    inside = false;
    assert_true(ptl_lws_resolver_ask(r));
    while (!inside) {
        usleep(1000);
    }
    return r;
}

static void freed_while_a_look_up_hangs(void **state)
{
    (void)state;
    let_go = false;
    finished_calls = ended_calls = 0;
    ptl_lws_resolver_free(asked()); // returns although the look-up does not
    assert_int_equal(ended_calls, 0);
    let_go = true;
    while (ended_calls == 0) {
        usleep(1000);
    }
    usleep(50000); // the thread stores the answer and frees its state
    assert_int_equal(finished_calls, 0);
}

static void answers_are_taken_once(void **state)
{
    (void)state;
    struct sockaddr_storage addresses[PTL_LWS_ADDRESSES_MAX];
    uint32_t count = 9;
    int error = 0;
    let_go = false;
    finished_calls = 0;
    struct ptl_lws_resolver *r = asked();
    assert_false(ptl_lws_resolver_take(r, addresses, &count, &error));
    let_go = true;
    while (finished_calls == 0) {
        usleep(1000);
    }
    assert_true(ptl_lws_resolver_take(r, addresses, &count, &error));
    assert_int_equal(count, 0);
    assert_int_equal(error, EAI_AGAIN);
    assert_false(ptl_lws_resolver_take(r, addresses, &count, &error));
    ptl_lws_resolver_free(r);
}

static void freed_before_anything_was_asked(void **state)
{
    (void)state;
    char name[300];
    memset(name, 'a', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    ptl_lws_resolver_free(ptl_lws_resolver_new("server.example", 443, finished, NULL));
    assert_null(ptl_lws_resolver_new(name, 443, finished, NULL));
    ptl_lws_resolver_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(freed_while_a_look_up_hangs),
        cmocka_unit_test(answers_are_taken_once),
        cmocka_unit_test(freed_before_anything_was_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
