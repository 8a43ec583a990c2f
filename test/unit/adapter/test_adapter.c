// Goal: every documented HTTP status, close code, join reason, system message and push refusal has
// exactly one reaction, and the adapter hands it on with the session's events. Method: the rows of
// the protocol documentation in full text, as a server says them; then the table itself is searched
// for rows that could both match; then a session is driven through the interface.
#include "ptl_test.h"

#include "ptl_adapter.h"
#include "ptl_session.h"
#include "reactions.h"

struct code {
    uint32_t code;
    enum ptl_reaction want;
};

struct text {
    const char *text;
    enum ptl_reaction want;
};

#define RETRY  PTL_REACT_RETRY
#define SLOW   PTL_REACT_SLOW_DOWN
#define TOKEN  PTL_REACT_REFRESH_TOKEN
#define SHRINK PTL_REACT_SHRINK_BATCH
#define STOP   PTL_REACT_STOP

static uint32_t rows_that_match(enum ptl_cause_kind kind, uint32_t code, const char *text)
{
    uint32_t count = 0;
    for (size_t i = 0; i < ptl_reaction_row_count; i++) {
        const struct ptl_reaction_row *row = &ptl_reaction_rows[i];
        bool match = row->prefix != NULL ? strncmp(text, row->prefix, strlen(row->prefix)) == 0
                                         : code >= row->first && code <= row->last;
        count += row->kind == kind && match ? 1 : 0;
    }
    return count;
}

static void check_codes(enum ptl_cause_kind kind, const struct code *codes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        enum ptl_reaction got = ptl_reaction_for(kind, codes[i].code, (struct ptl_span){0});
        if (got != codes[i].want || rows_that_match(kind, codes[i].code, "") != 1) {
            fail_msg("code %u: reaction %d, %u rows", codes[i].code, (int)got,
                     rows_that_match(kind, codes[i].code, ""));
        }
    }
}

static void check_texts(enum ptl_cause_kind kind, const struct text *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        enum ptl_reaction got = ptl_reaction_for(kind, 0, test_span(texts[i].text));
        if (got != texts[i].want || rows_that_match(kind, 0, texts[i].text) != 1) {
            fail_msg("\"%s\": reaction %d, %u rows", texts[i].text, (int)got,
                     rows_that_match(kind, 0, texts[i].text));
        }
    }
}

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static void http_statuses(void **state)
{
    (void)state;
    static const struct code codes[] = {
        {400, STOP},  {401, STOP},  {402, STOP},  {403, STOP},  {404, STOP},  {407, STOP},
        {408, RETRY}, {414, STOP},  {415, STOP},  {422, STOP},  {425, RETRY}, {426, STOP},
        {429, SLOW},  {431, STOP},  {500, RETRY}, {502, RETRY}, {503, RETRY}, {504, RETRY},
        {520, RETRY}, {521, RETRY}, {522, RETRY}, {523, RETRY}, {524, RETRY}, {525, RETRY},
        {526, RETRY}, {527, RETRY}, {530, RETRY}, {540, STOP},  {544, RETRY}, {546, RETRY},
    };
    check_codes(PTL_CAUSE_HTTP, codes, COUNT(codes));
    for (uint32_t code = 400; code < 600; code++) {
        assert_int_equal(rows_that_match(PTL_CAUSE_HTTP, code, ""), 1);
    }
    // Not documented: a captive portal's answers pass; what is no status at all does too.
    static const uint32_t others[] = {0, 200, 302, 399, 600, UINT32_MAX};
    for (size_t i = 0; i < COUNT(others); i++) {
        assert_int_equal(ptl_reaction_for(PTL_CAUSE_HTTP, others[i], PTL_SPAN_OF("x")), RETRY);
    }
}

static void close_codes(void **state)
{
    (void)state;
    static const struct code codes[] = {
        {1000, RETRY}, {1001, RETRY}, {1002, RETRY},  {1003, RETRY}, {1005, RETRY}, {1006, RETRY},
        {1007, RETRY}, {1008, STOP},  {1009, SHRINK}, {1010, RETRY}, {1011, RETRY}, {1012, RETRY},
        {1013, SLOW},  {1014, RETRY}, {1015, RETRY},  {3000, RETRY}, {4000, RETRY}, {4999, RETRY},
    };
    check_codes(PTL_CAUSE_CLOSE, codes, COUNT(codes));
    assert_int_equal(ptl_reaction_for(PTL_CAUSE_CLOSE, 0, (struct ptl_span){0}), RETRY);
    assert_int_equal(ptl_reaction_for(PTL_CAUSE_CLOSE, 65536 + 1008, (struct ptl_span){0}), RETRY);
}

static void join_reasons(void **state)
{
    (void)state;
    static const struct text texts[] = {
        {"TopicNameRequired: You must provide a topic name", STOP},
        {"InvalidJWTToken: Token has expired 31 seconds ago", TOKEN},
        {"InvalidJWTToken: Fields `role` and `exp` are required in JWT", TOKEN},
        {"InvalidJWTToken: Token expiration time is invalid", TOKEN},
        {"InvalidJWTExpiration: Token has expired 31 seconds ago", TOKEN},
        {"MalformedJWT: The token provided is not a valid JWT", TOKEN},
        {"JwtSignatureError: Failed to validate JWT signature", TOKEN},
        {"JwtSignerError: Failed to generate JWT signer, check your JWT secret or JWKS", TOKEN},
        {"Unauthorized: You do not have permissions to read from this Channel topic: up:1", STOP},
        {"PrivateOnly: This project only allows private channels", STOP},
        {"ChannelRateLimitReached: Too many channels", SLOW},
        {"ConnectionRateLimitReached: Too many connected users", SLOW},
        {"ClientJoinRateLimitReached: Too many joins per second", SLOW},
        {"TenantNotFound: Tenant with external_id not found", STOP},
        {"RealtimeDisabledForTenant: Realtime disabled for this tenant", STOP},
        {"RealtimeRestarting: Realtime is restarting, please standby", RETRY},
        {"InitializingProjectConnection: Realtime is initializing the project connection", RETRY},
        {"UnableToConnectToProject: Realtime was unable to connect to the project database", RETRY},
        {"DatabaseLackOfConnections: Database can't accept more connections", RETRY},
        {"DatabaseConnectionRateLimitReached: Too many database timeouts", RETRY},
        {"IncreaseConnectionPool: Please increase your connection pool size", RETRY},
        {"QueryCanceled: Query canceled", RETRY},
        {"MissingPartition: no partition of relation found", RETRY},
        {"TimeoutOnRpcCall: Node request timeout", RETRY},
        {"ErrorOnRpcCall: RPC error", RETRY},
        {"MusterJoinError: join failed", RETRY},
        {"UnableToReplayMessages: Replay params are not valid", STOP},
        {"UnableToReplayMessages: Replay is not allowed for public channels", STOP},
        {"UnknownErrorOnChannel: no function clause matching in Access.get/3", RETRY},
        {"Unknown Error on Channel", RETRY},
        {"Realtime was unable to connect to the project database", RETRY},
        {"join crashed", RETRY},
        {"unmatched topic", STOP},
    };
    check_texts(PTL_CAUSE_JOIN, texts, COUNT(texts));
    assert_int_equal(ptl_reaction_for(PTL_CAUSE_JOIN, 0, PTL_SPAN_OF("Unautho")), RETRY);
    assert_int_equal(ptl_reaction_for(PTL_CAUSE_JOIN, 429, PTL_SPAN_OF("join refused")), RETRY);
    assert_int_equal(ptl_reaction_for(PTL_CAUSE_JOIN, 0, (struct ptl_span){0}), RETRY);
}

static void system_messages(void **state)
{
    (void)state;
    static const struct text texts[] = {
        {"Token has expired 0 seconds ago", TOKEN},
        {"The token provided is not a valid JWT", TOKEN},
        {":signature_error", TOKEN},
        {"Fields `role` and `exp` are required in JWT", TOKEN},
        {"You do not have permissions to read from this Channel topic: up:1", STOP},
        {"You no longer have permission to read from this Channel topic: up:1", STOP},
        {"Unauthorized: You do not have permissions to read from this Channel topic: up:1", STOP},
        {"Too many messages per second", SLOW},
        {"Too many presence messages per second", SLOW},
        {"Client presence rate limit exceeded", SLOW},
        {"Track message size exceeded", STOP},
        {"Server requested disconnect", RETRY},
        {"Replication connection established", RETRY},
    };
    check_texts(PTL_CAUSE_SYSTEM, texts, COUNT(texts));
    assert_int_equal(ptl_reaction_for(PTL_CAUSE_SYSTEM, 0, PTL_SPAN_OF("something new")), RETRY);
}

static void push_refusals_and_local_words(void **state)
{
    (void)state;
    static const struct text pushes[] = {{"payload_size_exceeded", SHRINK},
                                         {"unmatched topic", RETRY}};
    check_texts(PTL_CAUSE_PUSH, pushes, COUNT(pushes));
    static const struct text local[] = {
        {"certificate has expired: CN=realtime.example", STOP},
        {"unmatched topic", RETRY},
        {"join timed out", RETRY},
        {"heartbeat lost", RETRY},
        {"heartbeat could not be sent", RETRY},
        {"channel closed by the server", RETRY},
        {"channel crashed on the server", RETRY},
    };
    check_texts(PTL_CAUSE_LOCAL, local, COUNT(local));
    assert_int_equal(ptl_reaction_for(PTL_CAUSE_LOCAL, 0, PTL_SPAN_OF("connection refused")),
                     RETRY);
}

static void no_two_rows_can_match(void **state)
{
    (void)state;
    for (size_t i = 0; i < ptl_reaction_row_count; i++) {
        const struct ptl_reaction_row *row = &ptl_reaction_rows[i];
        bool by_code = row->kind == PTL_CAUSE_HTTP || row->kind == PTL_CAUSE_CLOSE;
        assert_int_equal(row->prefix == NULL, by_code);
        assert_true(row->reaction <= PTL_REACT_STOP);
        if (by_code) {
            assert_true(row->first <= row->last);
            assert_int_equal(rows_that_match(row->kind, row->first, ""), 1);
            assert_int_equal(rows_that_match(row->kind, row->last, ""), 1);
        } else {
            const char *prefix = row->prefix != NULL ? row->prefix : "";
            assert_true(strlen(prefix) > 0);
            assert_int_equal(rows_that_match(row->kind, 0, prefix), 1);
        }
    }
}

static struct ptl_session_config config(bool private_channels)
{
    return (struct ptl_session_config){.device = "d",
                                       .private_channels = private_channels,
                                       .join_timeout_ms = 12000,
                                       .heartbeat_ms = 25000,
                                       .ack_timeout_ms = 5000};
}

static struct ptl_adapter_event says(const struct ptl_adapter *adapter, const char *text)
{
    return adapter->ops->recv(adapter->ctx, test_span(text), false, 10);
}

static void link_and_join(const struct ptl_adapter *adapter)
{
    uint8_t buf[1024];
    adapter->ops->link_up(adapter->ctx, 0);
    for (int i = 0; i < 2; i++) {
        struct ptl_writer w = ptl_writer_on(buf, sizeof(buf));
        assert_true(adapter->ops->control_due(adapter->ctx, 0));
        assert_int_equal(adapter->ops->control_write(adapter->ctx, &w, 0), PTL_OK);
        assert_true(w.len > 0);
    }
}

#define UP   "realtime:petrel:up:d"
#define DOWN "realtime:petrel:down:d"

static void a_session_through_the_interface(void **state)
{
    (void)state;
    struct ptl_session session;
    struct ptl_session_config cfg = config(true);
    ptl_session_init(&session, &cfg);
    struct ptl_adapter adapter = ptl_adapter_realtime(&session);
    assert_true(adapter.ops->receipts);
    assert_int_equal(adapter.ops->deadline(adapter.ctx), PTL_NEVER);
    link_and_join(&adapter);
    assert_int_equal(adapter.ops->deadline(adapter.ctx), 12000);
    assert_int_equal(adapter.ops->tick(adapter.ctx, 5).type, PTL_ADAPTER_NONE);
    assert_int_equal(
        says(&adapter, "[\"1\",\"1\",\"" UP "\",\"phx_reply\",{\"status\":\"ok\"}]").type,
        PTL_ADAPTER_NONE);
    assert_int_equal(
        says(&adapter, "[\"2\",\"2\",\"" DOWN "\",\"phx_reply\",{\"status\":\"ok\"}]").type,
        PTL_ADAPTER_READY);

    uint8_t buf[128];
    struct ptl_writer w = ptl_writer_on(buf, sizeof(buf));
    uint32_t ref = 0;
    assert_int_equal(adapter.ops->push_begin(adapter.ctx, &w, &ref), PTL_OK);
    struct ptl_adapter_event event =
        says(&adapter, "[\"1\",\"3\",\"" UP "\",\"phx_reply\",{\"status\":\"ok\"}]");
    assert_int_equal(event.type, PTL_ADAPTER_ACKED);
    assert_int_equal(event.ref, ref);
    event = says(&adapter, "[\"1\",\"3\",\"" UP "\",\"phx_reply\",{\"status\":\"error\","
                           "\"response\":\"payload_size_exceeded\"}]");
    assert_int_equal(event.type, PTL_ADAPTER_REFUSED);
    assert_int_equal(event.reaction, SHRINK);
    assert_span_equal(event.text, "payload_size_exceeded");
    event = says(&adapter, "[null,null,\"" DOWN
                           "\",\"broadcast\",{\"event\":\"receipt\",\"payload\":{\"a\":1}}]");
    assert_int_equal(event.type, PTL_ADAPTER_RECEIPT);
    assert_span_equal(event.text, "{\"a\":1}");
    assert_int_equal(says(&adapter, "junk").type, PTL_ADAPTER_IGNORED);

    adapter.ops->drain(adapter.ctx);
    assert_int_equal(session.state, PTL_SESSION_DRAINING);
    assert_int_equal(says(&adapter,
                          "[\"1\",null,\"" UP "\",\"system\",{\"status\":\"error\","
                          "\"extension\":\"system\",\"message\":\"Too many messages per second\"}]")
                         .type,
                     PTL_ADAPTER_NONE);
    event = says(&adapter, "[\"1\",\"1\",\"" UP "\",\"phx_close\",{}]");
    assert_int_equal(event.type, PTL_ADAPTER_LOST);
    assert_int_equal(event.reaction, SLOW);
    assert_span_equal(event.text, "Too many messages per second");
    adapter.ops->link_down(adapter.ctx);
}

// The same words mean different things as the refusal of a join and as that of a message.
static void the_cause_decides_the_reaction(void **state)
{
    (void)state;
    struct ptl_session session;
    struct ptl_session_config cfg = config(true);
    ptl_session_init(&session, &cfg);
    struct ptl_adapter adapter = ptl_adapter_realtime(&session);
    link_and_join(&adapter);
    struct ptl_adapter_event event =
        says(&adapter, "[null,\"1\",\"" UP "\",\"phx_reply\",{\"status\":\"error\","
                       "\"response\":{\"reason\":\"unmatched topic\"}}]");
    assert_int_equal(event.type, PTL_ADAPTER_LOST);
    assert_int_equal(event.reaction, STOP);
    link_and_join(&adapter);
    event = adapter.ops->tick(adapter.ctx, 12000);
    assert_int_equal(event.type, PTL_ADAPTER_LOST);
    assert_int_equal(event.reaction, RETRY);
    assert_span_equal(event.text, "join timed out");

    struct ptl_session_config public_cfg = config(false);
    ptl_session_init(&session, &public_cfg);
    assert_false(ptl_adapter_realtime(&session).ops->receipts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(http_statuses),
        cmocka_unit_test(close_codes),
        cmocka_unit_test(join_reasons),
        cmocka_unit_test(system_messages),
        cmocka_unit_test(push_refusals_and_local_words),
        cmocka_unit_test(no_two_rows_can_match),
        cmocka_unit_test(a_session_through_the_interface),
        cmocka_unit_test(the_cause_decides_the_reaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
