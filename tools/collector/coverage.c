// coverage.c - the half-open ranges of a run that are stored or lie in a gap, kept as rows:
// disjoint and never touching, so that the first hole is the end of the first row.
#include "store_private.h"

static sqlite3_stmt *bind2(struct col_store *store, enum col_statement at, sqlite3_int64 run,
                           uint64_t a)
{
    sqlite3_stmt *statement = store->statements[at];
    sqlite3_reset(statement);
    sqlite3_bind_int64(statement, 1, run);
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)a);
    return statement;
}

static sqlite3_stmt *bind3(struct col_store *store, enum col_statement at, sqlite3_int64 run,
                           uint64_t a, uint64_t b)
{
    sqlite3_stmt *statement = bind2(store, at, run, a);
    sqlite3_bind_int64(statement, 3, (sqlite3_int64)b);
    return statement;
}

static uint64_t column(sqlite3_stmt *statement, int at)
{
    return (uint64_t)sqlite3_column_int64(statement, at);
}

// The last range that begins at or below `at`.
static int range_before(struct col_store *store, sqlite3_int64 run, uint64_t at,
                        struct ptl_range *range, bool *found)
{
    sqlite3_stmt *statement = bind2(store, COL_RANGE_BEFORE, run, at);
    int code = sqlite3_step(statement);
    *found = code == SQLITE_ROW;
    if (*found) {
        *range = (struct ptl_range){column(statement, 0), column(statement, 1)};
    }
    sqlite3_reset(statement);
    return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

int col_coverage_add(struct col_store *store, sqlite3_int64 run, struct ptl_range range)
{
    struct ptl_range before;
    bool found = false;
    PTL_ASSERT(range.begin < range.end);
    int code = range_before(store, run, range.begin, &before, &found);
    if (code != SQLITE_OK) {
        return code;
    }
    if (found && before.end >= range.end) {
        return SQLITE_OK;
    }
    if (found && before.end >= range.begin) {
        range.begin = before.begin;
    }
    // The last one that begins within or touches may reach further.
    sqlite3_stmt *statement = bind3(store, COL_RANGE_LAST_WITHIN, run, range.begin, range.end);
    code = sqlite3_step(statement);
    if (code == SQLITE_ROW && column(statement, 0) > range.end) {
        range.end = column(statement, 0);
    }
    sqlite3_reset(statement);
    if (code == SQLITE_ROW) {
        statement = bind3(store, COL_RANGE_DROP, run, range.begin, range.end);
        code = sqlite3_step(statement);
        sqlite3_reset(statement);
    }
    if (code != SQLITE_DONE) {
        return code;
    }
    statement = bind3(store, COL_RANGE_ADD, run, range.begin, range.end);
    code = sqlite3_step(statement);
    sqlite3_reset(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

int col_coverage_holes(struct col_store *store, sqlite3_int64 run, struct ptl_range range,
                       int (*hole)(void *ctx, struct ptl_range hole), void *ctx)
{
    struct ptl_range before;
    bool found = false;
    int code = range_before(store, run, range.begin, &before, &found);
    if (code != SQLITE_OK) {
        return code;
    }
    uint64_t at = found && before.end > range.begin ? before.end : range.begin;
    sqlite3_stmt *statement = bind3(store, COL_RANGE_FROM, run, range.begin, range.end);
    while (at < range.end && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        uint64_t begin = column(statement, 0);
        uint64_t end = column(statement, 1);
        if (begin > at) {
            int failed = hole(ctx, (struct ptl_range){at, begin});
            if (failed != SQLITE_OK) {
                code = failed;
                break;
            }
        }
        at = end > at ? end : at;
        code = SQLITE_OK;
    }
    sqlite3_reset(statement);
    if (code != SQLITE_OK && code != SQLITE_DONE) {
        return code;
    }
    return at < range.end ? hole(ctx, (struct ptl_range){at, range.end}) : SQLITE_OK;
}

int col_coverage_next(struct col_store *store, sqlite3_int64 run, uint64_t first, uint64_t *next)
{
    struct ptl_range before;
    bool found = false;
    int code = range_before(store, run, first, &before, &found);
    *next = found && before.end > first ? before.end : first;
    return code;
}

int col_coverage_above(struct col_store *store, sqlite3_int64 run, uint64_t next,
                       struct ptl_range *ranges, size_t max, size_t *count)
{
    int code = SQLITE_DONE;
    sqlite3_stmt *statement = bind3(store, COL_RANGE_FROM, run, next + 1, INT64_MAX);
    *count = 0;
    while (*count < max && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        ranges[(*count)++] = (struct ptl_range){column(statement, 0), column(statement, 1)};
    }
    sqlite3_reset(statement);
    return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}
