#define _POSIX_C_SOURCE 200809L
#include "stats.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct totals {
    const char *name; // in JSON and in text
    const char *query;
    int64_t value;
};

// Duplicates are counted as they come in; everything else is what the tables hold.
static struct totals totals[] = {
    {"events", "SELECT count(*) FROM monitoring_events", 0},
    {"distinct", "SELECT count(*) FROM (SELECT DISTINCT device, epoch, seq FROM monitoring_events)",
     0},
    {"duplicates_removed",
     "SELECT coalesce(sum(value),0) FROM monitoring_counters WHERE name='duplicates'", 0},
    {"conflicts", "SELECT count(*) FROM monitoring_conflicts", 0},
    {"batches", "SELECT coalesce(sum(value),0) FROM monitoring_counters WHERE name='batches'", 0},
    {"malformed",
     "SELECT coalesce(sum(value),0) FROM monitoring_counters WHERE name LIKE 'malformed:%'", 0},
    {"gaps", "SELECT count(*) FROM monitoring_gaps", 0},
    {"gap_events", "SELECT coalesce(sum(last-first+1),0) FROM monitoring_gaps", 0},
    {"lost", "SELECT coalesce(sum(last-first+1),0) FROM monitoring_gaps WHERE kind='lost'", 0},
    {"uncertain",
     "SELECT coalesce(sum(last-first+1),0) FROM monitoring_gaps WHERE kind='uncertain'", 0},
    {"unknown", "SELECT coalesce(sum(last-first+1),0) FROM monitoring_gaps WHERE kind='unknown'",
     0},
    {"found_after_gap",
     "SELECT coalesce(sum(value),0) FROM monitoring_counters WHERE name='found_after_gap'", 0},
    {"ends", "SELECT count(*) FROM monitoring_ends", 0},
    {"ends_torn", "SELECT count(*) FROM monitoring_ends WHERE how='torn'", 0},
    {"torn_at_most", "SELECT coalesce(sum(at_most),0) FROM monitoring_ends WHERE how='torn'", 0},
    {"differing_ends",
     "SELECT coalesce(sum(value),0) FROM monitoring_counters WHERE name='differing_ends'", 0},
    {"devices", "SELECT count(DISTINCT device) FROM monitoring_runs", 0},
    {"runs", "SELECT count(*) FROM monitoring_runs", 0},
    {"open_runs", "SELECT count(*) FROM monitoring_runs WHERE how IS NULL", 0},
};

static const char run_query[] =
    "SELECT r.device, r.epoch, r.first, r.floor, r.next, r.how,"
    " (SELECT count(*) FROM monitoring_events e WHERE e.device=r.device AND e.epoch=r.epoch),"
    " (SELECT coalesce(sum(last-first+1),0) FROM monitoring_gaps g WHERE g.device=r.device"
    "  AND g.epoch=r.epoch),"
    " (SELECT max(end) FROM monitoring_coverage c WHERE c.run=r.id),"
    " (SELECT coalesce(sum(end-begin),0) FROM monitoring_coverage c WHERE c.run=r.id"
    "  AND c.begin>r.next),"
    " (SELECT max(next) FROM monitoring_ends n WHERE n.device=r.device AND n.epoch=r.epoch)"
    " FROM monitoring_runs r ORDER BY r.device, r.id";

static int fail(sqlite3 *db, const char *path)
{
    fprintf(stderr, "petrel-collector: %s: %s\n", path, sqlite3_errmsg(db));
    return 1;
}

static int read_number(sqlite3 *db, const char *query, const char *text, int64_t *value)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, query, -1, &statement, NULL);
    if (code == SQLITE_OK && text != NULL) {
        sqlite3_bind_text(statement, 1, text, -1, SQLITE_STATIC);
    }
    if (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        *value = sqlite3_column_int64(statement, 0);
        code = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    return code;
}

static void print_run(sqlite3_stmt *row, bool json, bool first_row)
{
    const char *device = (const char *)sqlite3_column_text(row, 0);
    const char *epoch = (const char *)sqlite3_column_text(row, 1);
    const char *how = (const char *)sqlite3_column_text(row, 5);
    int64_t next = sqlite3_column_int64(row, 4);
    int64_t top = sqlite3_column_int64(row, 8);
    int64_t end_next = sqlite3_column_int64(row, 10);
    // Between `next` and the top, what is covered is not a hole.
    int64_t holes = top > next ? top - next - sqlite3_column_int64(row, 9) : 0;
    bool complete = how != NULL && next >= end_next && holes == 0;
    if (json) {
        printf("%s{\"device\":\"%s\",\"epoch\":\"%s\",\"first\":%" PRId64 ",\"floor\":%" PRId64
               ",\"next\":%" PRId64 ",\"events\":%" PRId64 ",\"gap_events\":%" PRId64
               ",\"holes\":%" PRId64,
               first_row ? "" : ",", device, epoch, (int64_t)sqlite3_column_int64(row, 2),
               (int64_t)sqlite3_column_int64(row, 3), next, (int64_t)sqlite3_column_int64(row, 6),
               (int64_t)sqlite3_column_int64(row, 7), holes);
        if (how != NULL) {
            printf(",\"how\":\"%s\",\"end_next\":%" PRId64, how, end_next);
        } else {
            printf(",\"how\":null");
        }
        printf(",\"complete\":%s}", complete ? "true" : "false");
        return;
    }
    printf("run %s %s: from %" PRId64 " next %" PRId64 " floor %" PRId64 ", %" PRId64
           " events, %" PRId64 " in gaps, %" PRId64 " still open, %s%s\n",
           device, epoch, (int64_t)sqlite3_column_int64(row, 2), next,
           (int64_t)sqlite3_column_int64(row, 3), (int64_t)sqlite3_column_int64(row, 6),
           (int64_t)sqlite3_column_int64(row, 7), holes, how != NULL ? how : "open",
           complete ? ", complete" : "");
}

static int print_runs(sqlite3 *db, bool json)
{
    sqlite3_stmt *statement = NULL;
    bool first_row = true;
    int code = sqlite3_prepare_v2(db, run_query, -1, &statement, NULL);
    if (code == SQLITE_OK) {
        while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
            print_run(statement, json, first_row);
            first_row = false;
        }
    }
    sqlite3_finalize(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int print_all(sqlite3 *db, const struct col_stats_options *options)
{
    const char *form = options->json ? "%s\"%s\":%" PRId64 : "%s%s=%" PRId64;
    const char *between = options->json ? "," : " ";
    for (size_t i = 0; i < sizeof(totals) / sizeof(totals[0]); i++) {
        int code = read_number(db, totals[i].query, NULL, &totals[i].value);
        if (code != SQLITE_OK) {
            return code;
        }
    }
    int64_t of_source = 0;
    if (options->source != NULL) {
        int code = read_number(db, "SELECT count(*) FROM monitoring_events WHERE source=?",
                               options->source, &of_source);
        if (code != SQLITE_OK) {
            return code;
        }
    }
    fputs(options->json ? "{" : "", stdout);
    for (size_t i = 0; i < sizeof(totals) / sizeof(totals[0]); i++) {
        printf(form, i > 0 ? between : "", totals[i].name, totals[i].value);
    }
    if (options->source != NULL) {
        printf(form, between, "of_source", of_source);
    }
    int code = SQLITE_OK;
    if (options->json) {
        fputs(",\"per_run\":[", stdout);
        code = print_runs(db, true);
        puts("]}");
    } else {
        putchar('\n');
        code = options->runs ? print_runs(db, false) : SQLITE_OK;
    }
    return code;
}

int col_stats_print(const struct col_stats_options *options)
{
    sqlite3 *db = NULL;
    int status = 1;
    if (sqlite3_open_v2(options->path, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK) {
        status = fail(db, options->path);
    } else {
        sqlite3_busy_timeout(db, 5000);
        // One snapshot, so that the figures belong together while a collector writes.
        bool ok = sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK &&
                  print_all(db, options) == SQLITE_OK;
        status = ok ? 0 : fail(db, options->path);
    }
    sqlite3_close(db);
    return status;
}
