#define _GNU_SOURCE
#include "store_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS monitoring_events("
    " id TEXT PRIMARY KEY, device TEXT NOT NULL, epoch TEXT NOT NULL, seq INTEGER NOT NULL,"
    " event_type TEXT NOT NULL, timestamp TEXT, ts_err_ms INTEGER, mono_ms INTEGER NOT NULL,"
    " boot TEXT NOT NULL, source TEXT NOT NULL, severity TEXT NOT NULL, data TEXT NOT NULL,"
    " metadata TEXT, received_at TEXT NOT NULL, UNIQUE(device, epoch, seq));"
    "CREATE TABLE IF NOT EXISTS monitoring_gaps("
    " device TEXT NOT NULL, epoch TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,"
    " reason TEXT NOT NULL, kind TEXT NOT NULL, received_at TEXT NOT NULL,"
    " PRIMARY KEY(device, epoch, first)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS monitoring_ends("
    " id INTEGER PRIMARY KEY, device TEXT NOT NULL, epoch TEXT NOT NULL, next INTEGER NOT NULL,"
    " how TEXT NOT NULL, at_most INTEGER NOT NULL, from_seq INTEGER NOT NULL,"
    " runs INTEGER NOT NULL, received_at TEXT NOT NULL,"
    " UNIQUE(device, epoch, next, how, at_most, from_seq, runs));"
    "CREATE TABLE IF NOT EXISTS monitoring_runs("
    " id INTEGER PRIMARY KEY, device TEXT NOT NULL, epoch TEXT NOT NULL, first INTEGER NOT NULL,"
    " floor INTEGER NOT NULL, next INTEGER NOT NULL, how TEXT, first_at TEXT NOT NULL,"
    " last_at TEXT NOT NULL, UNIQUE(device, epoch));"
    "CREATE TABLE IF NOT EXISTS monitoring_coverage("
    " run INTEGER NOT NULL, begin INTEGER NOT NULL, end INTEGER NOT NULL,"
    " PRIMARY KEY(run, begin)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS monitoring_conflicts("
    " device TEXT NOT NULL, epoch TEXT NOT NULL, seq INTEGER NOT NULL, times INTEGER NOT NULL,"
    " last_at TEXT NOT NULL, PRIMARY KEY(device, epoch, seq)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS monitoring_counters("
    " device TEXT NOT NULL, name TEXT NOT NULL, value INTEGER NOT NULL,"
    " PRIMARY KEY(device, name)) WITHOUT ROWID;";

static const char *const sql[COL_STATEMENTS] = {
    [COL_BEGIN] = "BEGIN IMMEDIATE",
    [COL_COMMIT] = "COMMIT",
    [COL_ROLLBACK] = "ROLLBACK",
    [COL_EVENT_ADD] = "INSERT INTO monitoring_events(device, epoch, seq, id, event_type, timestamp,"
                      " ts_err_ms, mono_ms, boot, source, severity, data, metadata, received_at)"
                      " VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
    [COL_EVENT_GET] = "SELECT event_type, mono_ms, boot, source, severity, data, metadata FROM"
                      " monitoring_events WHERE device=? AND epoch=? AND seq=?",
    [COL_GAP_ADD] = "INSERT INTO monitoring_gaps(device, epoch, first, last, reason, kind,"
                    " received_at) VALUES(?,?,?,?,?,?,?)",
    [COL_GAP_AT] = "SELECT first, last, reason, kind, received_at FROM monitoring_gaps WHERE"
                   " device=? AND epoch=? AND first<=? ORDER BY first DESC LIMIT 1",
    [COL_GAP_DROP] = "DELETE FROM monitoring_gaps WHERE device=? AND epoch=? AND first=?",
    [COL_GAP_ANY] = "SELECT 1 FROM monitoring_gaps WHERE device=? AND epoch=? LIMIT 1",
    [COL_END_ADD] = "INSERT INTO monitoring_ends(device, epoch, next, how, at_most, from_seq, runs,"
                    " received_at) VALUES(?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
    [COL_END_COUNT] = "SELECT count(*) FROM monitoring_ends WHERE device=? AND epoch=?",
    [COL_END_LAST] = "SELECT next, how, at_most, from_seq, runs FROM monitoring_ends WHERE device=?"
                     " AND epoch=? ORDER BY id DESC LIMIT 1",
    [COL_RUN_GET] = "SELECT id, first, floor, next FROM monitoring_runs WHERE device=? AND epoch=?",
    [COL_RUN_ADD] = "INSERT INTO monitoring_runs(device, epoch, first, floor, next, first_at,"
                    " last_at) VALUES(?1,?2,?3,?3,?3,?4,?4)",
    [COL_RUN_SET] = "UPDATE monitoring_runs SET floor=?2, next=?3, last_at=?4,"
                    " how=CASE WHEN ?5 IS NULL OR how='torn' THEN how"
                    " ELSE ?5 END WHERE id=?1",
    [COL_CONFLICT_ADD] = "INSERT INTO monitoring_conflicts(device, epoch, seq, times, last_at)"
                         " VALUES(?,?,?,1,?) ON CONFLICT DO UPDATE SET times=times+1,"
                         " last_at=excluded.last_at",
    [COL_COUNTER_ADD] = "INSERT INTO monitoring_counters(device, name, value) VALUES(?,?,?)"
                        " ON CONFLICT DO UPDATE SET value=value+excluded.value",
    [COL_RANGE_BEFORE] = "SELECT begin, end FROM monitoring_coverage WHERE run=? AND begin<=?"
                         " ORDER BY begin DESC LIMIT 1",
    [COL_RANGE_LAST_WITHIN] = "SELECT end FROM monitoring_coverage WHERE run=? AND begin>=?"
                              " AND begin<=? ORDER BY begin DESC LIMIT 1",
    [COL_RANGE_DROP] = "DELETE FROM monitoring_coverage WHERE run=? AND begin>=? AND begin<=?",
    [COL_RANGE_ADD] = "INSERT INTO monitoring_coverage(run, begin, end) VALUES(?,?,?)",
    [COL_RANGE_FROM] = "SELECT begin, end FROM monitoring_coverage WHERE run=? AND begin>=?"
                       " AND begin<? ORDER BY begin",
};

static void keep_error(struct col_store *store, const char *what)
{
    snprintf(store->error, sizeof(store->error), "%s: %s", what, sqlite3_errmsg(store->db));
}

static int exec(struct col_store *store, const char *text)
{
    int code = sqlite3_exec(store->db, text, NULL, NULL, NULL);
    if (code != SQLITE_OK) {
        keep_error(store, "SQLite");
    }
    return code;
}

static int read_version(struct col_store *store, int *version)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(store->db, "PRAGMA user_version", -1, &statement, NULL);
    if (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        *version = sqlite3_column_int(statement, 0);
        code = SQLITE_OK;
    } else {
        keep_error(store, "SQLite");
    }
    sqlite3_finalize(statement);
    return code;
}

static bool set_up(struct col_store *store, uint32_t busy_ms)
{
    char text[64];
    int version = 0;
    sqlite3_busy_timeout(store->db, (int)busy_ms);
    // WAL for one writer beside many readers; FULL, since a receipt promises what it names.
    if (exec(store, "PRAGMA journal_mode=WAL") != SQLITE_OK ||
        exec(store, "PRAGMA synchronous=FULL") != SQLITE_OK ||
        exec(store, "PRAGMA journal_size_limit=33554432") != SQLITE_OK ||
        // Ids are spread over the whole index: most of it should be at hand, and pages should
        // gather more than one change before they move from the log to the file.
        exec(store, "PRAGMA cache_size=-16384") != SQLITE_OK ||
        exec(store, "PRAGMA wal_autocheckpoint=4000") != SQLITE_OK ||
        read_version(store, &version) != SQLITE_OK) {
        return false;
    }
    if (version > COL_SCHEMA_VERSION) {
        snprintf(store->error, sizeof(store->error),
                 "written by a later version of petrel-collector (schema %d, this one knows %d)",
                 version, COL_SCHEMA_VERSION);
        return false;
    }
    snprintf(text, sizeof(text), "PRAGMA user_version=%d", COL_SCHEMA_VERSION);
    if (version < COL_SCHEMA_VERSION &&
        (exec(store, "BEGIN IMMEDIATE") != SQLITE_OK || exec(store, schema) != SQLITE_OK ||
         exec(store, text) != SQLITE_OK || exec(store, "COMMIT") != SQLITE_OK)) {
        return false;
    }
    for (size_t i = 0; i < COL_STATEMENTS; i++) {
        if (sqlite3_prepare_v3(store->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &store->statements[i], NULL) != SQLITE_OK) {
            keep_error(store, "SQLite");
            return false;
        }
    }
    return true;
}

struct col_store *col_store_open(const char *path, uint32_t busy_ms, char error[COL_ERROR_MAX])
{
    struct stat st;
    struct col_store *store = calloc(1, sizeof(*store));
    if (store == NULL || (store->path = strdup(path)) == NULL) {
        free(store);
        snprintf(error, COL_ERROR_MAX, "out of memory");
        return NULL;
    }
    // What devices say of themselves is not for every user of the machine.
    mode_t before = umask(0027);
    int code = sqlite3_open_v2(
        path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    bool ok = code == SQLITE_OK;
    if (!ok) {
        keep_error(store, "cannot open");
    }
    ok = ok && set_up(store, busy_ms);
    umask(before);
    if (ok && stat(path, &st) != 0) {
        snprintf(store->error, sizeof(store->error), "the file went away");
        ok = false;
    }
    if (!ok) {
        snprintf(error, COL_ERROR_MAX, "%s", store->error);
        col_store_close(store);
        return NULL;
    }
    store->device = st.st_dev;
    store->inode = st.st_ino;
    return store;
}

void col_store_close(struct col_store *store)
{
    if (store == NULL) {
        return;
    }
    for (size_t i = 0; i < COL_STATEMENTS; i++) {
        sqlite3_finalize(store->statements[i]);
    }
    sqlite3_close(store->db);
    free(store->path);
    free(store);
}

const char *col_store_error(const struct col_store *store)
{
    return store->error;
}

// Runs a statement that gives no rows.
int col_run_statement(sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);
    sqlite3_reset(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

void col_bind_span(sqlite3_stmt *statement, int at, struct ptl_span span)
{
    sqlite3_bind_text(statement, at, span.len > 0 ? (const char *)span.ptr : "", (int)span.len,
                      SQLITE_STATIC);
}

void col_bind_text(sqlite3_stmt *statement, int at, const char *text)
{
    sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC);
}

void col_bind_u64(sqlite3_stmt *statement, int at, uint64_t value)
{
    sqlite3_bind_int64(statement, at, (sqlite3_int64)value);
}

// The statement with device and epoch bound, which begin most keys.
sqlite3_stmt *col_keyed(struct col_store *store, enum col_statement at, const char *device,
                        const char *epoch)
{
    sqlite3_stmt *statement = store->statements[at];
    sqlite3_reset(statement);
    col_bind_text(statement, 1, device);
    col_bind_text(statement, 2, epoch);
    return statement;
}

enum col_store_status col_store_judge(struct col_store *store, int code, const char *what)
{
    if (code == SQLITE_OK) {
        return COL_STORED;
    }
    snprintf(store->error, sizeof(store->error), "%s: %s", what, sqlite3_errmsg(store->db));
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_FULL:
    case SQLITE_NOMEM:
    case SQLITE_INTERRUPT:
        return COL_STORE_BUSY;
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
        return COL_STORE_REFUSED;
    default:
        return COL_STORE_BROKEN;
    }
}

static bool same_file(const struct col_store *store)
{
    struct stat st;
    return stat(store->path, &st) == 0 && st.st_dev == store->device && st.st_ino == store->inode;
}

enum col_store_status col_store_begin(struct col_store *store)
{
    return col_store_judge(store, col_run_statement(store->statements[COL_BEGIN]), "begin");
}

enum col_store_status col_store_end(struct col_store *store, int code, const char *what)
{
    enum col_store_status status = col_store_judge(store, code, what);
    // A file that was moved or deleted goes on taking rows that nobody will find.
    if (status == COL_STORED && !same_file(store)) {
        snprintf(store->error, sizeof(store->error), "the file was moved, deleted or replaced");
        status = COL_STORE_BROKEN;
    }
    if (status == COL_STORED) {
        status = col_store_judge(store, col_run_statement(store->statements[COL_COMMIT]), "commit");
    }
    if (status != COL_STORED && sqlite3_get_autocommit(store->db) == 0) {
        (void)col_run_statement(store->statements[COL_ROLLBACK]);
    }
    return status;
}

int col_counter_add(struct col_store *store, const char *device, const char *name, uint64_t add)
{
    sqlite3_stmt *statement = col_keyed(store, COL_COUNTER_ADD, device, name);
    if (add == 0) {
        return SQLITE_OK;
    }
    col_bind_u64(statement, 3, add);
    return col_run_statement(statement);
}

enum col_store_status col_store_count(struct col_store *store, const char *device, const char *name,
                                      uint64_t add)
{
    enum col_store_status status = col_store_begin(store);
    if (status != COL_STORED) {
        return status;
    }
    return col_store_end(store, col_counter_add(store, device, name, add), "counter");
}

static int read_end(struct col_store *store, const char *device, const char *epoch,
                    struct col_progress *progress)
{
    sqlite3_stmt *statement = col_keyed(store, COL_END_LAST, device, epoch);
    int code = sqlite3_step(statement);
    progress->ended = code == SQLITE_ROW;
    if (progress->ended) {
        const unsigned char *how = sqlite3_column_text(statement, 1);
        progress->end = (struct ptl_end){
            .epoch = progress->epoch,
            .next = (uint64_t)sqlite3_column_int64(statement, 0),
            .how = how != NULL && strcmp((const char *)how, "torn") == 0 ? PTL_TORN : PTL_CLOSED,
            .at_most = (uint32_t)sqlite3_column_int64(statement, 2),
            .from = (uint64_t)sqlite3_column_int64(statement, 3),
            .runs = (uint16_t)sqlite3_column_int64(statement, 4)};
    }
    sqlite3_reset(statement);
    return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

enum col_store_status col_store_progress(struct col_store *store, const char *device,
                                         uint64_t epoch, struct col_progress *progress, bool *known)
{
    char text[COL_EPOCH_TEXT];
    col_epoch_text(epoch, text);
    *progress = (struct col_progress){.epoch = epoch};
    sqlite3_stmt *statement = col_keyed(store, COL_RUN_GET, device, text);
    int code = sqlite3_step(statement);
    sqlite3_int64 id = sqlite3_column_int64(statement, 0);
    progress->next = (uint64_t)sqlite3_column_int64(statement, 3);
    sqlite3_reset(statement);
    *known = code == SQLITE_ROW;
    if (code != SQLITE_ROW) {
        return col_store_judge(store, code == SQLITE_DONE ? SQLITE_OK : code, "progress");
    }
    code = col_coverage_above(store, id, progress->next, progress->have, PTL_RANGES_MAX,
                              &progress->have_count);
    if (code == SQLITE_OK) {
        code = read_end(store, device, text, progress);
    }
    return col_store_judge(store, code, "progress");
}

uint64_t col_store_wal_bytes(struct col_store *store, uint64_t max)
{
    char name[4096];
    struct stat st;
    if (snprintf(name, sizeof(name), "%s-wal", store->path) >= (int)sizeof(name)) {
        return 0;
    }
    if (stat(name, &st) != 0 || st.st_size < 0) {
        return 0;
    }
    if ((uint64_t)st.st_size > max) {
        // A reader that never ends keeps the log from starting over; this is as much as can be
        // done.
        (void)sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
        if (stat(name, &st) != 0 || st.st_size < 0) {
            return 0;
        }
    }
    return (uint64_t)st.st_size;
}
