// Goal: the collector as a whole keeps its word: a receipt names only what is committed, at most
// one a second and device, and a restart, a locked or vanished file or a flood changes nothing of
// that. Method: a server played by hand on one side, the SQLite file on the other, time by hand.
#define _GNU_SOURCE
#include "ptl_test.h"

#include "batch_text.h"
#include "collector.h"

#include <sqlite3.h>

#define E1 "00000000000000e1"
#define E2 "00000000000000e2"

struct world {
    char path[64];
    struct col_config cfg;
    struct col_collector c;
    uint64_t now;
    char receipt[COL_RECEIPT_TEXT_MAX]; // payload of the last one taken
};

// Sends what is due, answers joins and heartbeats, keeps the last receipt. Returns their number.
static unsigned serve(struct world *w)
{
    unsigned receipts = 0;
    for (int i = 0; i < 100; i++) {
        uint8_t frame[8192];
        char answer[256];
        bool binary = false;
        unsigned ref = 0;
        struct ptl_writer to = ptl_writer_on(frame, sizeof(frame) - 1);
        enum ptl_status status = col_collector_frame(&w->c, PTL_SPAN_OF(""), &to, &binary, w->now);
        if (status == PTL_E_EMPTY) {
            return receipts;
        }
        assert_int_equal(status, PTL_OK);
        frame[to.len] = '\0';
        if (binary) {
            size_t head = 7u + frame[1] + frame[2] + frame[3] + frame[4];
            snprintf(w->receipt, sizeof(w->receipt), "%s", (const char *)frame + head);
            receipts++;
        } else if (frame[1] == '"') {
            char *at = NULL;
            ref = (unsigned)strtoul((const char *)frame + 2, &at, 10); // join_ref and ref are one
            const char *topic = strstr(at + 3, ",\"") + 2;
            snprintf(answer, sizeof(answer),
                     "[\"%u\",\"%u\",\"%.*s\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]",
                     ref, ref, (int)strcspn(topic, "\""), topic);
            col_collector_recv(&w->c, test_span(answer), false, w->now);
        }
    }
    fail_msg("frames without end");
    return 0;
}

static void start(struct world *w)
{
    char error[COL_ERROR_MAX] = "";
    if (!col_collector_init(&w->c, &w->cfg, w->now, error)) {
        fail_msg("%s", error);
    }
    assert_non_null(col_session_add(&w->c.session, "d", w->now));
    col_collector_link_up(&w->c, w->now);
    assert_int_equal(serve(w), 0);
}

static int set_up(void **state)
{
    static struct world w;
    w = (struct world){.path = "/tmp/petrel-collector-XXXXXX", .now = 1000};
    int fd = mkstemp(w.path);
    assert_true(fd >= 0);
    close(fd);
    unlink(w.path);
    w.cfg = (struct col_config){
        .session = {.private_channels = true,
                    .downlinks = true,
                    .heartbeat_ms = 1000000,
                    .join_timeout_ms = 12000,
                    .backoff_base_ms = 1000,
                    .backoff_cap_ms = 60000,
                    .reset_ms = 30000,
                    .slow_ms = 60000,
                    .joins_at_once = 8,
                    .seed = 1},
        .db_path = w.path,
        .receipt_source = "main",
        .receipt_ms = 1000,
        .busy_ms = 10,
        .store_retry_ms = 100,
        .flush_ms = 5000,
        .queue_bytes_max = 20000,
        .wal_bytes_max = 64 << 20,
    };
    start(&w);
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    col_collector_free(&w->c);
    remove_db(w->path);
    return 0;
}

static void push(struct world *w, const char *batch)
{
    static uint8_t frame[250000];
    struct ptl_writer to = ptl_writer_on(frame, sizeof(frame));
    const char topic[] = "realtime:petrel:up:d";
    const uint8_t head[] = {4, sizeof(topic) - 1, 6, 0, 1};
    ptl_write_bytes(&to, head, sizeof(head));
    ptl_write_text(&to, topic);
    ptl_write_text(&to, "events");
    ptl_write_text(&to, batch);
    assert_false(to.overflow);
    col_collector_recv(&w->c, (struct ptl_span){frame, to.len}, true, w->now);
}

static void work(struct world *w)
{
    int turns = 0;
    while (col_collector_work(&w->c, w->now, 1795543166123)) {
        assert_true(++turns < 1000);
    }
}

static int64_t query(struct world *w, const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_open_v2(w->path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return value;
}

#define NEXT(n) "\"next\":" n ",\"have\":"

static void a_receipt_follows_the_commit(void **state)
{
    struct world *w = *state;
    push(w, batch_text("d", E1, RUN, RUN, 3, "1", ""));
    assert_int_equal(serve(w), 0); // not yet stored
    work(w);
    assert_int_equal(query(w, "SELECT count(*) FROM monitoring_events"), 3);
    assert_int_equal(serve(w), 1);
    assert_string_equal(w->receipt, "{\"source\":\"main\",\"epochs\":[{\"epoch\":\"" E1
                                    "\",\"next\":1610612739,\"have\":[],\"refused\":[]}]}");
    assert_int_equal(serve(w), 0);
    // Duplicates and empty batches make one due, too; one a second.
    push(w, batch_text("d", E1, RUN, RUN, 3, "1", ""));
    work(w);
    assert_int_equal(serve(w), 0);
    push(w, batch_text("d", E1, RUN, RUN, 0, "1", ""));
    work(w);
    w->now += 999;
    assert_int_equal(serve(w), 0);
    assert_int_equal(col_collector_deadline(&w->c), w->now + 1);
    assert_false(col_collector_frame_due(&w->c, w->now));
    w->now += 1;
    assert_true(col_collector_frame_due(&w->c, w->now));
    assert_int_equal(serve(w), 1);
    w->now += 5000;
    assert_int_equal(serve(w), 0);
}

static void a_receipt_takes_four_epochs_and_eight_ranges(void **state)
{
    struct world *w = *state;
    for (unsigned i = 0; i < 6; i++) {
        char epoch[17];
        snprintf(epoch, sizeof(epoch), "%016x", i);
        push(w, batch_text("d", epoch, RUN, RUN, 1, "1", ""));
    }
    for (uint64_t i = 1; i < 12; i++) {
        push(w, batch_text("d", "0000000000000000", RUN, RUN + 2 * i, 1, "1", ""));
        work(w);
    }
    assert_int_equal(serve(w), 1);
    const char *at = w->receipt;
    unsigned epochs = 0;
    while ((at = strstr(at, "\"epoch\"")) != NULL) {
        epochs++;
        at++;
    }
    assert_int_equal(epochs, 4);
    unsigned ranges = 0;
    for (at = strstr(w->receipt, "\"have\":[["); at != NULL && *at != '}'; at++) {
        ranges += *at == '[' ? 1 : 0;
    }
    assert_int_equal(ranges, 1 + 8 + 1); // have, its ranges, refused
    w->now += 1000;
    assert_int_equal(serve(w), 1); // the other two
    assert_non_null(strstr(w->receipt, "0000000000000004"));
    assert_non_null(strstr(w->receipt, "0000000000000005"));
    w->now += 1000;
    assert_int_equal(serve(w), 0);
}

static void an_end_is_repeated_to_whoever_said_it(void **state)
{
    struct world *w = *state;
    push(w, batch_text("d", E1, RUN, RUN, 5, "1", end_text(E1, RUN + 5, "torn", 7)));
    push(w, batch_text("d", E1, RUN, RUN, 0, "1", end_text(E1, RUN + 5, "closed", 0)));
    work(w);
    assert_int_equal(serve(w), 1);
    assert_non_null(strstr(w->receipt, "\"ended\":{\"next\":1610612741,\"how\":\"torn\","
                                       "\"at_most\":7}"));
    assert_non_null(strstr(w->receipt, "\"ended\":{\"next\":1610612741,\"how\":\"closed\","
                                       "\"at_most\":0}"));
    // The first of the twins again, later.
    push(w, batch_text("d", E1, RUN, RUN, 0, "1", end_text(E1, RUN + 5, "torn", 7)));
    work(w);
    w->now += 1000;
    assert_int_equal(serve(w), 1);
    assert_non_null(strstr(w->receipt, "\"torn\""));
    assert_null(strstr(w->receipt, "\"closed\""));
    assert_int_equal(query(w, "SELECT count(*) FROM monitoring_ends"), 2);
}

static void a_restart_goes_on_from_the_file(void **state)
{
    struct world *w = *state;
    push(w, batch_text("d", E1, RUN, RUN, 3, "1", ""));
    push(w, batch_text("d", E1, RUN, RUN + 5, 3, "1", ""));
    work(w);
    col_collector_free(&w->c); // without finish: like a kill
    start(w);
    assert_int_equal(serve(w), 0); // what was owed is asked for again by a resend
    push(w, batch_text("d", E1, RUN, RUN + 3, 1, "1", ""));
    work(w);
    assert_int_equal(serve(w), 1);
    assert_non_null(strstr(w->receipt, "\"next\":1610612740,\"have\":[[1610612741,1610612744]]"));
    assert_int_equal(w->c.counters.unknown, 0);
}

static void a_locked_store_gives_no_receipt_until_it_took_it(void **state)
{
    struct world *w = *state;
    sqlite3 *other = NULL;
    assert_int_equal(sqlite3_open(w->path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    push(w, batch_text("d", E1, RUN, RUN, 3, "1", ""));
    work(w);
    assert_int_equal(serve(w), 0);
    assert_int_equal(w->c.counters.store_failures, 1);
    uint64_t first_wait = col_collector_deadline(&w->c) - w->now;
    assert_in_range(first_wait, 1, 100);
    w->now += first_wait;
    work(w);
    assert_int_equal(w->c.counters.store_failures, 2);
    assert_in_range(col_collector_deadline(&w->c) - w->now, first_wait + 1, 200); // backs off
    // The queue is bounded; what is dropped comes again from the device.
    for (int i = 0; i < 200; i++) {
        push(w, batch_text("d", E1, RUN, RUN + 3, 3, "1", ""));
    }
    assert_true(w->c.counters.dropped > 100);
    assert_true(w->c.queue_bytes <= w->cfg.queue_bytes_max);
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    w->now += 5000;
    work(w);
    assert_int_equal(serve(w), 1);
    assert_non_null(strstr(w->receipt, "\"next\":1610612742,"));
    assert_int_equal(w->c.queue_bytes, 0);
    assert_int_equal(w->c.queue_count, 0);
}

static void a_file_that_went_away_is_made_again(void **state)
{
    struct world *w = *state;
    push(w, batch_text("d", E1, RUN, RUN, 3, "1", ""));
    work(w);
    remove_db(w->path);
    push(w, batch_text("d", E1, RUN + 3, RUN + 3, 3, "1", ""));
    work(w);
    assert_int_equal(w->c.counters.store_failures, 1);
    assert_int_equal(serve(w), 0);
    w->now += 5000;
    work(w);
    assert_int_equal(query(w, "SELECT count(*) FROM monitoring_events"), 3);
    assert_int_equal(query(w, "SELECT sum(last-first+1) FROM monitoring_gaps"), 3); // and says so
    assert_int_equal(serve(w), 1);
}

static void malformed_batches_are_counted_by_reason_for_good(void **state)
{
    struct world *w = *state;
    push(w, "{}");
    push(w, "nonsense");
    push(w, "nonsense");
    push(w, batch_text("other", E1, RUN, RUN, 1, "1", ""));
    work(w);
    assert_int_equal(w->c.counters.malformed, 4);
    assert_int_equal(w->c.queue_count, 0);
    assert_int_equal(serve(w), 0);
    col_collector_finish(&w->c, w->now, 1795543166123);
    assert_int_equal(query(w, "SELECT sum(value) FROM monitoring_counters WHERE name LIKE"
                              " 'malformed:%' AND device='d'"),
                     4);
    assert_int_equal(query(w, "SELECT value FROM monitoring_counters WHERE"
                              " name='malformed:device is not the topic''s'"),
                     1);
    assert_int_equal(query(w, "SELECT count(*) FROM monitoring_events"), 0);
}

static void without_receipts_none_are_owed(void **state)
{
    struct world *w = *state;
    col_collector_free(&w->c);
    w->cfg.receipt_source = NULL;
    w->cfg.session.downlinks = false;
    start(w);
    push(w, batch_text("d", E1, RUN, RUN, 3, "1", ""));
    work(w);
    w->now += 2000;
    assert_int_equal(serve(w), 0);
    assert_int_equal(query(w, "SELECT count(*) FROM monitoring_events"), 3);
}

// Random order, duplicates, restarts: in the end every event is there once and `next` says so.
static void any_order_ends_whole(void **state)
{
    struct world *w = *state;
    struct ptl_prng prng;
    ptl_prng_seed(&prng, 23);
    bool sent[400] = {false};
    unsigned missing = 400;
    for (int i = 0; i < 5000 && missing > 0; i++) {
        unsigned first = ptl_prng_below(&prng, 400);
        unsigned count = 1 + ptl_prng_below(&prng, 12);
        count = first + count <= 400 ? count : 400 - first;
        push(w, batch_text("d", E1, RUN, RUN + first, count, "1", ""));
        work(w);
        for (unsigned k = first; k < first + count; k++) {
            missing -= sent[k] ? 0 : 1;
            sent[k] = true;
        }
        if (i % 60 == 59) {
            col_collector_free(&w->c);
            start(w);
        }
    }
    assert_int_equal(missing, 0);
    w->now += 1000;
    assert_int_equal(serve(w), 1);
    assert_non_null(strstr(w->receipt, "\"next\":1610613136,\"have\":[]"));
    assert_int_equal(query(w, "SELECT count(*) FROM monitoring_events"), 400);
    assert_int_equal(query(w, "SELECT count(*) FROM monitoring_coverage"), 1);
}

#define ON_COLLECTOR(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_COLLECTOR(a_receipt_follows_the_commit),
        ON_COLLECTOR(a_receipt_takes_four_epochs_and_eight_ranges),
        ON_COLLECTOR(an_end_is_repeated_to_whoever_said_it),
        ON_COLLECTOR(a_restart_goes_on_from_the_file),
        ON_COLLECTOR(a_locked_store_gives_no_receipt_until_it_took_it),
        ON_COLLECTOR(a_file_that_went_away_is_made_again),
        ON_COLLECTOR(malformed_batches_are_counted_by_reason_for_good),
        ON_COLLECTOR(without_receipts_none_are_owed),
        ON_COLLECTOR(any_order_ends_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
