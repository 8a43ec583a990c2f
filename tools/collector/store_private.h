// store_private.h - the insides of the store, shared by its two files.
#pragma once

#include "store.h"

#include <sqlite3.h>
#include <sys/types.h>

enum col_statement {
    COL_BEGIN,
    COL_COMMIT,
    COL_ROLLBACK,
    COL_EVENT_ADD,
    COL_EVENT_GET,
    COL_GAP_ADD,
    COL_GAP_AT,
    COL_GAP_DROP,
    COL_GAP_ANY,
    COL_END_ADD,
    COL_END_COUNT,
    COL_END_LAST,
    COL_RUN_GET,
    COL_RUN_ADD,
    COL_RUN_SET,
    COL_CONFLICT_ADD,
    COL_COUNTER_ADD,
    COL_RANGE_BEFORE,
    COL_RANGE_LAST_WITHIN,
    COL_RANGE_DROP,
    COL_RANGE_ADD,
    COL_RANGE_FROM,
    COL_STATEMENTS
};

struct col_run {
    sqlite3_int64 id;
    uint64_t first, floor, next;
    bool created;
};

struct col_store {
    sqlite3 *db;
    sqlite3_stmt *statements[COL_STATEMENTS];
    char *path;
    dev_t device; // of the file that is open
    ino_t inode;
    char error[COL_ERROR_MAX];
    char received_at[32];
};

// Runs a statement that gives no rows: SQLITE_OK or why not.
int col_run_statement(sqlite3_stmt *statement);
void col_bind_span(sqlite3_stmt *statement, int at, struct ptl_span span);
void col_bind_text(sqlite3_stmt *statement, int at, const char *text);
void col_bind_u64(sqlite3_stmt *statement, int at, uint64_t value);
// The statement with device and epoch bound, which begin most keys.
sqlite3_stmt *col_keyed(struct col_store *store, enum col_statement at, const char *device,
                        const char *epoch);

// An SQLite code as a status; keeps the error's text.
enum col_store_status col_store_judge(struct col_store *store, int code, const char *what);
enum col_store_status col_store_begin(struct col_store *store);
// Commits if `code` is SQLITE_OK, else rolls back.
enum col_store_status col_store_end(struct col_store *store, int code, const char *what);
int col_counter_add(struct col_store *store, const char *device, const char *name, uint64_t add);

// Coverage of one run. All return an SQLite code, SQLITE_OK or why not.
int col_coverage_add(struct col_store *store, sqlite3_int64 run, struct ptl_range range);
// Calls `hole` for every part of `range` that is not covered, ascending.
int col_coverage_holes(struct col_store *store, sqlite3_int64 run, struct ptl_range range,
                       int (*hole)(void *ctx, struct ptl_range hole), void *ctx);
// The first number at or above `first` that is not covered.
int col_coverage_next(struct col_store *store, sqlite3_int64 run, uint64_t first, uint64_t *next);
// At most `max` ranges that begin above `next`.
int col_coverage_above(struct col_store *store, sqlite3_int64 run, uint64_t next,
                       struct ptl_range *ranges, size_t max, size_t *count);
