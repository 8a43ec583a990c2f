// Goal: each event once, first wins; coverage, gaps, floors and ends add up; a restart forgets
// nothing. Method: batches as text through the parser into a real SQLite file, looked at with plain
// SQL; coverage against a bit map; the file closed and opened again between steps.
#define _GNU_SOURCE
#include "ptl_test.h"

#include "batch_text.h"
#include "ptl_bytes.h"
#include "store_private.h"

#include <sys/stat.h>

#define E1 "00000000000000e1"
#define E2 "00000000000000e2"

struct world {
    char path[64];
    struct col_store *store;
    struct col_batch batch;
    struct col_store_result result;
};

static void open_store(struct world *w)
{
    char error[COL_ERROR_MAX] = "";
    w->store = col_store_open(w->path, 100, error);
    if (w->store == NULL) {
        fail_msg("%s", error);
    }
}

static void reopen(struct world *w)
{
    col_store_close(w->store);
    open_store(w);
}

static int set_up(void **state)
{
    static struct world w;
    w = (struct world){.path = "/tmp/petrel-store-XXXXXX"};
    int fd = mkstemp(w.path);
    assert_true(fd >= 0);
    close(fd);
    unlink(w.path);
    open_store(&w);
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    col_store_close(w->store);
    col_batch_free(&w->batch);
    remove_db(w->path);
    return 0;
}

static enum col_store_status try_feed(struct world *w, const char *text)
{
    assert_null(col_batch_parse(&w->batch, test_span(text), PTL_SPAN_OF("d")));
    return col_store_batch(w->store, &w->batch, 1795543166123, &w->result);
}

static void feed(struct world *w, const char *text)
{
    if (try_feed(w, text) != COL_STORED) {
        fail_msg("%s", col_store_error(w->store));
    }
}

static int64_t query(struct world *w, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_prepare_v2(w->store->db, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return value;
}

static struct col_progress progress_of(struct world *w, uint64_t epoch)
{
    struct col_progress progress;
    bool known = false;
    assert_int_equal(col_store_progress(w->store, "d", epoch, &progress, &known), COL_STORED);
    assert_true(known);
    return progress;
}

// Coverage against a bit map.

#define SPACE 300

struct hole_check {
    const bool *covered;
    uint64_t at, end;
};

static int check_hole(void *ctx, struct ptl_range hole)
{
    struct hole_check *check = ctx;
    for (; check->at < hole.begin; check->at++) {
        assert_true(check->covered[check->at]);
    }
    for (; check->at < hole.end; check->at++) {
        assert_false(check->covered[check->at]);
    }
    return SQLITE_OK;
}

static void check_model(struct world *w, sqlite3_int64 run, const bool *covered, uint64_t first)
{
    uint64_t next = 0;
    uint64_t want = first;
    while (covered[want]) {
        want++;
    }
    assert_int_equal(col_coverage_next(w->store, run, first, &next), SQLITE_OK);
    assert_int_equal(next, want);
    struct ptl_range above[PTL_RANGES_MAX];
    size_t count = 0;
    assert_int_equal(col_coverage_above(w->store, run, next, above, PTL_RANGES_MAX, &count),
                     SQLITE_OK);
    uint64_t at = next;
    for (size_t i = 0; i < count; i++) {
        assert_true(above[i].begin > at);
        for (; at < above[i].begin; at++) {
            assert_false(covered[at]);
        }
        for (; at < above[i].end; at++) {
            assert_true(covered[at]);
        }
    }
    for (; count < PTL_RANGES_MAX && at < SPACE; at++) {
        assert_false(covered[at]);
    }
}

static void coverage_matches_a_bit_map(void **state)
{
    struct world *w = *state;
    struct ptl_prng prng;
    ptl_prng_seed(&prng, 11);
    assert_int_equal(sqlite3_exec(w->store->db, "BEGIN", NULL, NULL, NULL), SQLITE_OK);
    for (sqlite3_int64 run = 1; run <= 40; run++) {
        bool covered[SPACE + 1] = {false};
        for (int step = 0; step < 60; step++) {
            uint64_t begin = ptl_prng_below(&prng, SPACE);
            uint64_t len = 1 + ptl_prng_below(&prng, run % 2 == 0 ? 3 : 20);
            uint64_t end = begin + len < SPACE ? begin + len : SPACE;
            struct hole_check check = {.covered = covered, .at = begin, .end = end};
            assert_int_equal(col_coverage_holes(w->store, run, (struct ptl_range){begin, end},
                                                check_hole, &check),
                             SQLITE_OK);
            for (; check.at < end; check.at++) {
                assert_true(covered[check.at]);
            }
            assert_int_equal(col_coverage_add(w->store, run, (struct ptl_range){begin, end}),
                             SQLITE_OK);
            memset(covered + begin, true, end - begin);
            check_model(w, run, covered, ptl_prng_below(&prng, SPACE));
        }
    }
    // Disjoint, never touching, never empty.
    assert_int_equal(query(w,
                           "SELECT count(*) FROM monitoring_coverage a JOIN monitoring_coverage b"
                           " ON a.run=b.run AND a.begin<b.begin AND a.end>=b.begin"),
                     0);
    assert_int_equal(query(w, "SELECT count(*) FROM monitoring_coverage WHERE begin>=end"), 0);
    assert_int_equal(sqlite3_exec(w->store->db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
}

static void stores_once_and_counts_duplicates_for_good(void **state)
{
    struct world *w = *state;
    feed(w, batch_text("d", E1, RUN, RUN, 10, "1", ""));
    assert_int_equal(w->result.inserted, 10);
    assert_true(w->result.new_run);
    feed(w, batch_text("d", E1, RUN, RUN + 5, 10, "1", "")); // cut differently
    assert_int_equal(w->result.inserted, 5);
    assert_int_equal(w->result.duplicates, 5);
    reopen(w);
    feed(w, batch_text("d", E1, RUN, RUN, 15, "1", ""));
    assert_int_equal(w->result.duplicates, 15);
    assert_int_equal(w->result.inserted + w->result.conflicts, 0);
    assert_false(w->result.new_run);
    assert_int_equal(query(w, "SELECT count(*) FROM monitoring_events"), 15);
    assert_int_equal(query(w, "SELECT value FROM monitoring_counters WHERE name='duplicates'"), 20);
    assert_int_equal(progress_of(w, 0xe1).next, RUN + 15);
    // The row is what came; the id is that of docs/wire.md (checked in test_ingest).
    assert_int_equal(query(w, "SELECT count(*) FROM monitoring_events WHERE id LIKE"
                              " '________-____-8___-____-____________' AND data='{\"n\":1}' AND"
                              " metadata IS NULL AND severity='info' AND boot='b0' AND"
                              " ts_err_ms=5 AND received_at='2026-11-24T17:59:26.123Z' AND"
                              " mono_ms=seq AND timestamp LIKE '2026-11-24T17:59:26.___Z'"),
                     15);
    assert_int_equal(query(w, "SELECT count(DISTINCT id) FROM monitoring_events"), 15);
}

static void other_content_is_a_conflict_and_changes_nothing(void **state)
{
    struct world *w = *state;
    feed(w, batch_text("d", E1, RUN, RUN, 3, "1", ""));
    feed(w, batch_text("d", E1, RUN, RUN, 2, "1.0", "")); // bytes are compared
    assert_int_equal(w->result.conflicts, 2);
    assert_int_equal(w->result.duplicates, 0);
    feed(w, batch_text("d", E1, RUN, RUN, 1, "2", ""));
    assert_int_equal(query(w, "SELECT count(*) FROM monitoring_conflicts"), 2);
    assert_int_equal(query(w, "SELECT sum(times) FROM monitoring_conflicts"), 3);
    assert_int_equal(query(w, "SELECT count(*) FROM monitoring_events WHERE data='{\"n\":1}'"), 3);
    assert_int_equal(query(w, "SELECT value FROM monitoring_counters WHERE name='conflicts'"), 3);
}

// A better time is no other event; anything else is.
static void only_times_of_the_wall_clock_may_differ(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *from, *to;
        bool conflict;
    } changes[] = {
        {"17:59:26", "17:59:27", false},
        {"\"ts_err_ms\":5", "\"ts_err_ms\":1", false},
        {"\"timestamp\":\"2026-11-24T17:59:26.736Z\",\"ts_err_ms\":5", "\"timestamp\":null", false},
        {"\"mono_ms\":", "\"mono_ms\":1", true},
        {"\"b0\"", "\"b1\"", true},
        {"\"event_type\":\"t\"", "\"event_type\":\"u\"", true},
        {"\"source\":\"s\"", "\"source\":\"S\"", true},
        {"\"info\"", "\"error\"", true},
        {"{\"n\":1}", "{\"n\": 1}", true},
        {"{\"n\":1}", "{\"n\":1},\"metadata\":{}", true},
    };
    const char *text = batch_text("d", E1, RUN, RUN, 1, "1", "");
    feed(w, text);
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        char changed[1024];
        const char *at = strstr(text, changes[i].from);
        if (at == NULL) {
            fail_msg("%s is not in %s", changes[i].from, text);
        }
        snprintf(changed, sizeof(changed), "%.*s%s%s", (int)(at - text), text, changes[i].to,
                 at + strlen(changes[i].from));
        feed(w, changed);
        assert_int_equal(w->result.conflicts, changes[i].conflict ? 1 : 0);
        assert_int_equal(w->result.duplicates, changes[i].conflict ? 0 : 1);
    }
}

static void gaps_count_what_is_missing(void **state)
{
    struct world *w = *state;
    feed(w, batch_text("d", E1, RUN, RUN + 5, 2, "1", "")); // 5 and 6 are here
    feed(w, batch_text("d", E1, RUN, RUN, 0, "1", gap_text(E1, RUN, RUN + 9)));
    assert_int_equal(w->result.gap_events, 8); // a row that storage has beats a gap
    assert_int_equal(query(w, "SELECT count(*) FROM monitoring_gaps"), 2);
    assert_int_equal(progress_of(w, 0xe1).next, RUN + 10);
    // The same again, and grown: only what is new counts.
    feed(w, batch_text("d", E1, RUN, RUN, 0, "1", gap_text(E1, RUN, RUN + 11)));
    assert_int_equal(w->result.gap_events, 2);
    reopen(w);
    // One that arrives after all is cut out.
    feed(w, batch_text("d", E1, RUN, RUN + 2, 1, "1", ""));
    assert_int_equal(w->result.inserted, 1);
    assert_int_equal(w->result.gap_events_found, 1);
    assert_int_equal(query(w, "SELECT sum(last-first+1) FROM monitoring_gaps"), 9);
    assert_int_equal(query(w, "SELECT count(*) FROM monitoring_gaps g JOIN monitoring_events e ON"
                              " e.seq BETWEEN g.first AND g.last"),
                     0);
    feed(w, batch_text("d", E1, RUN + 12, RUN, 12, "1", ""));
    assert_int_equal(query(w, "SELECT count(*) FROM monitoring_gaps"), 0);
    assert_int_equal(w->result.unknown_events, 0);
    assert_int_equal(query(w, "SELECT count(*) FROM monitoring_events"), 12);
}

// traces.md: "gap sent once, that message lost, later batch".
static void what_is_missing_below_the_floor_is_unknown_once(void **state)
{
    struct world *w = *state;
    feed(w, batch_text("d", E1, RUN, RUN, 4, "1", ""));
    feed(w, batch_text("d", E1, RUN, RUN + 8, 4, "1", gap_text(E1, RUN + 6, RUN + 6)));
    assert_int_equal(w->result.unknown_events, 0);
    assert_int_equal(progress_of(w, 0xe1).next, RUN + 4);
    assert_int_equal(progress_of(w, 0xe1).have_count, 2);
    feed(w, batch_text("d", E1, RUN + 12, RUN + 12, 1, "1", ""));
    assert_int_equal(w->result.unknown_events, 3); // 4, 5 and 7
    assert_int_equal(w->result.unknown_first, RUN + 4);
    assert_int_equal(w->result.unknown_last, RUN + 7);
    assert_int_equal(progress_of(w, 0xe1).next, RUN + 13);
    feed(w, batch_text("d", E1, RUN + 13, RUN + 13, 1, "1", ""));
    assert_int_equal(w->result.unknown_events, 0);
    reopen(w);
    feed(w, batch_text("d", E1, RUN + 14, RUN + 14, 1, "1", ""));
    assert_int_equal(w->result.unknown_events, 0);
    assert_int_equal(query(w, "SELECT sum(last-first+1) FROM monitoring_gaps WHERE kind='unknown'"
                              " AND reason='unseen'"),
                     3);
    assert_int_equal(query(w, "SELECT value FROM monitoring_counters WHERE name='unknown'"), 3);
    // A late one beats that, too; an older floor takes nothing back.
    feed(w, batch_text("d", E1, RUN, RUN + 5, 1, "1", ""));
    assert_int_equal(w->result.gap_events_found, 1);
    assert_int_equal(query(w, "SELECT floor FROM monitoring_runs"), RUN + 14);
}

static void a_run_first_seen_in_its_middle(void **state)
{
    struct world *w = *state;
    feed(w, batch_text("d", E1, RUN + 100, RUN + 105, 5, "1", ""));
    assert_true(w->result.new_run);
    assert_int_equal(w->result.unknown_events, 100); // below the first floor, said once
    assert_int_equal(progress_of(w, 0xe1).next, RUN + 100);
    assert_int_equal(progress_of(w, 0xe1).have_count, 1);
    feed(w, batch_text("d", E1, RUN + 100, RUN + 100, 5, "1", ""));
    assert_int_equal(w->result.unknown_events, 0);
    assert_int_equal(progress_of(w, 0xe1).next, RUN + 110);
}

static void an_empty_batch_moves_the_floor(void **state)
{
    struct world *w = *state;
    feed(w, batch_text("d", E1, RUN, RUN, 3, "1", ""));
    feed(w, batch_text("d", E1, RUN + 3, RUN, 0, "1", ""));
    assert_int_equal(w->result.unknown_events, 0);
    assert_int_equal(query(w, "SELECT floor FROM monitoring_runs"), RUN + 3);
}

static void ranges_above_next_are_at_most_eight(void **state)
{
    struct world *w = *state;
    for (uint64_t i = 0; i < 20; i++) {
        feed(w, batch_text("d", E1, RUN, RUN + 1 + i * 2, 1, "1", ""));
    }
    struct col_progress progress = progress_of(w, 0xe1);
    assert_int_equal(progress.next, RUN);
    assert_int_equal(progress.have_count, 8);
    for (uint64_t i = 0; i < 8; i++) { // the lowest
        assert_int_equal(progress.have[i].begin, RUN + 1 + i * 2);
        assert_int_equal(progress.have[i].end, RUN + 2 + i * 2);
    }
}

static void ends_are_recorded_with_their_floor(void **state)
{
    struct world *w = *state;
    feed(w, batch_text("d", E1, RUN, RUN, 3, "1", ""));
    assert_false(progress_of(w, 0xe1).ended);
    // The end of an earlier run travels with a batch of the present one.
    feed(w, batch_text("d", E2, RUN, RUN, 0, "1", end_text(E1, RUN + 5, "closed", 0)));
    assert_int_equal(w->result.ends_new, 1);
    assert_int_equal(w->result.unknown_events, 2); // 3 and 4: ended, and never seen
    struct col_progress progress = progress_of(w, 0xe1);
    assert_true(progress.ended);
    assert_int_equal(progress.end.next, RUN + 5);
    assert_int_equal(progress.end.how, PTL_CLOSED);
    assert_int_equal(progress.next, RUN + 5);
    assert_false(progress_of(w, 0xe2).ended);
    reopen(w);
    feed(w, batch_text("d", E2, RUN, RUN, 0, "1", end_text(E1, RUN + 5, "closed", 0)));
    assert_int_equal(w->result.ends_new, 0);
    assert_int_equal(query(w, "SELECT count(*) FROM monitoring_ends"), 1);
    // A run of which nothing else was ever seen.
    feed(w, batch_text("d", E2, RUN, RUN, 0, "1", end_text("00000000000000e9", 4, "torn", 99)));
    assert_int_equal(w->result.unknown_events, 4);
    assert_int_equal(progress_of(w, 0xe9).end.at_most, 99);
    assert_int_equal(progress_of(w, 0xe9).end.how, PTL_TORN);
}

// traces.md: "twin closes at 101, other torn at 101".
static void differing_ends_of_twins_are_kept_and_torn_counts(void **state)
{
    struct world *w = *state;
    feed(w, batch_text("d", E1, RUN, RUN, 5, "1", end_text(E1, RUN + 5, "torn", 7)));
    assert_int_equal(w->result.ends_differing, 0);
    feed(w, batch_text("d", E1, RUN, RUN, 0, "1", end_text(E1, RUN + 5, "closed", 0)));
    assert_int_equal(w->result.ends_new, 1);
    assert_int_equal(w->result.ends_differing, 1);
    assert_int_equal(query(w, "SELECT count(*) FROM monitoring_ends"), 2);
    assert_int_equal(query(w, "SELECT count(*) FROM monitoring_runs WHERE how='torn'"), 1);
    assert_int_equal(progress_of(w, 0xe1).end.how, PTL_CLOSED); // the one said last
}

static void runs_and_devices_are_apart(void **state)
{
    struct world *w = *state;
    feed(w, batch_text("d", E1, RUN, RUN, 5, "1", ""));
    feed(w, batch_text("d", E2, RUN, RUN, 5, "2", "")); // a twin: same numbers, other epoch
    assert_int_equal(w->result.inserted, 5);
    assert_null(col_batch_parse(&w->batch, test_span(batch_text("x", E1, RUN, RUN, 5, "3", "")),
                                PTL_SPAN_OF("x")));
    assert_int_equal(col_store_batch(w->store, &w->batch, 0, &w->result), COL_STORED);
    assert_int_equal(w->result.inserted, 5);
    assert_int_equal(query(w, "SELECT count(*) FROM monitoring_events"), 15);
    assert_int_equal(query(w, "SELECT count(*) FROM monitoring_runs"), 3);
    bool known = true;
    struct col_progress progress;
    assert_int_equal(col_store_progress(w->store, "d", 0xabc, &progress, &known), COL_STORED);
    assert_false(known);
}

static void the_highest_numbers_fit(void **state)
{
    struct world *w = *state;
    feed(w, batch_text("d", E1, PTL_SEQ_MAX, PTL_SEQ_MAX, 1, "1", ""));
    assert_int_equal(w->result.inserted, 1);
    assert_int_equal(progress_of(w, 0xe1).next, PTL_SEQ_MAX + 1);
    feed(w, batch_text("d", E1, PTL_SEQ_MAX + 1, PTL_SEQ_MAX, 0, "1",
                       end_text(E1, PTL_SEQ_MAX + 1, "closed", 0)));
    assert_int_equal(progress_of(w, 0xe1).end.next, PTL_SEQ_MAX + 1);
}

// Another writer holds the file: nothing is stored, nothing is half stored.
static void a_locked_store_says_busy_and_changes_nothing(void **state)
{
    struct world *w = *state;
    sqlite3 *other = NULL;
    feed(w, batch_text("d", E1, RUN, RUN, 3, "1", ""));
    assert_int_equal(sqlite3_open(w->path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(try_feed(w, batch_text("d", E1, RUN, RUN + 3, 3, "1", "")), COL_STORE_BUSY);
    assert_int_equal(w->result.inserted, 0);
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    assert_int_equal(progress_of(w, 0xe1).next, RUN + 3);
    feed(w, batch_text("d", E1, RUN, RUN + 3, 3, "1", ""));
    assert_int_equal(w->result.inserted, 3);
}

static void a_full_store_says_so_and_keeps_what_it_had(void **state)
{
    struct world *w = *state;
    feed(w, batch_text("d", E1, RUN, RUN, 3, "1", ""));
    assert_true(query(w, "PRAGMA page_count") > 1);
    char limit[64];
    snprintf(limit, sizeof(limit), "PRAGMA max_page_count=%d", (int)query(w, "PRAGMA page_count"));
    (void)query(w, limit);
    enum col_store_status status = COL_STORED;
    uint64_t stored = 3;
    for (int i = 0; i < 50 && status == COL_STORED; i++) {
        status = try_feed(w, batch_text("d", E1, RUN, RUN + stored, 100, "1", ""));
        stored += status == COL_STORED ? 100 : 0;
    }
    assert_int_equal(status, COL_STORE_BUSY); // may be mended: try again later
    assert_int_equal(query(w, "SELECT count(*) FROM monitoring_events"), stored);
    assert_int_equal(progress_of(w, 0xe1).next, RUN + stored);
    (void)query(w, "PRAGMA max_page_count=1000000");
    feed(w, batch_text("d", E1, RUN, RUN + stored, 100, "1", ""));
    assert_int_equal(w->result.inserted, 100);
}

static void a_file_that_went_away_takes_nothing(void **state)
{
    struct world *w = *state;
    feed(w, batch_text("d", E1, RUN, RUN, 3, "1", ""));
    remove_db(w->path);
    assert_int_equal(try_feed(w, batch_text("d", E1, RUN, RUN + 3, 1, "1", "")), COL_STORE_BROKEN);
    reopen(w);
    feed(w, batch_text("d", E1, RUN, RUN + 3, 1, "1", ""));
    assert_int_equal(w->result.inserted, 1);
}

static void what_cannot_be_opened_is_said(void **state)
{
    struct world *w = *state;
    char error[COL_ERROR_MAX] = "";
    assert_null(col_store_open("/nonexistent/x.db", 100, error));
    assert_non_null(strstr(error, "cannot open"));
    (void)query(w, "PRAGMA user_version");
    assert_int_equal(sqlite3_exec(w->store->db, "PRAGMA user_version=99", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_null(col_store_open(w->path, 100, error));
    assert_non_null(strstr(error, "later version"));
    // Not every user of the machine may read it.
    struct stat st;
    assert_int_equal(stat(w->path, &st), 0);
    assert_int_equal(st.st_mode & 07, 0);
    char garbage[] = "/tmp/petrel-garbage-XXXXXX";
    int fd = mkstemp(garbage);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(write(fd, "this is no database at all.....", 31), 31);
    }
    close(fd);
    assert_null(col_store_open(garbage, 100, error));
    assert_non_null(strstr(error, "not a database"));
    unlink(garbage);
}

#define ON_STORE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_STORE(coverage_matches_a_bit_map),
        ON_STORE(stores_once_and_counts_duplicates_for_good),
        ON_STORE(other_content_is_a_conflict_and_changes_nothing),
        ON_STORE(only_times_of_the_wall_clock_may_differ),
        ON_STORE(gaps_count_what_is_missing),
        ON_STORE(what_is_missing_below_the_floor_is_unknown_once),
        ON_STORE(a_run_first_seen_in_its_middle),
        ON_STORE(an_empty_batch_moves_the_floor),
        ON_STORE(ranges_above_next_are_at_most_eight),
        ON_STORE(ends_are_recorded_with_their_floor),
        ON_STORE(differing_ends_of_twins_are_kept_and_torn_counts),
        ON_STORE(runs_and_devices_are_apart),
        ON_STORE(the_highest_numbers_fit),
        ON_STORE(a_locked_store_says_busy_and_changes_nothing),
        ON_STORE(a_full_store_says_so_and_keeps_what_it_had),
        ON_STORE(a_file_that_went_away_takes_nothing),
        ON_STORE(what_cannot_be_opened_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
