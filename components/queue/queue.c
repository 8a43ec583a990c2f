// queue.c - records in one ring of bytes.
//
// An entry is a head of 16 bytes and the record, rounded up to 8. Entries never wrap: one that does
// not fit behind the last goes to the front, and `wrap` is where the ones before it end.
//
//   tail > head      | free |e|e|e|e| free |        wrap means nothing
//                           head    tail
//   tail <= head     |e|e|e| free |e|e|e|e|gap|     the gap is smaller than the entry that went
//                          tail   head    wrap      to the front
//
// Without entries head and tail are 0. A released entry keeps its room until it is the oldest: then
// it and all released ones behind it give theirs back. So the entry at `head` is always held, and
// entries stand in ascending order of seq from head to tail.
#include "ptl_queue.h"

#include <string.h>

struct entry {
    uint64_t seq;
    uint32_t len;
    uint32_t flags;
};

#define FLAG_SENT     1u
#define FLAG_RELEASED 2u

#define ALIGN        8u
#define CAP_MIN      256u
#define NOT_RESERVED SIZE_MAX

_Static_assert(sizeof(struct entry) == PTL_QUEUE_ENTRY_OVERHEAD, "the documented overhead");

static size_t entry_bytes(size_t len)
{
    return (PTL_QUEUE_ENTRY_OVERHEAD + len + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

static bool is_wrapped(const struct ptl_queue *q)
{
    return q->used_bytes > 0 && q->tail <= q->head;
}

static struct entry load(const struct ptl_queue *q, size_t at)
{
    PTL_ASSERT(at % ALIGN == 0);
    PTL_ASSERT(at < q->cap);
    struct entry e;
    memcpy(&e, q->buf + at, sizeof(e));
    PTL_ASSERT(e.len <= q->cap - at - PTL_QUEUE_ENTRY_OVERHEAD);
    return e;
}

static void store(struct ptl_queue *q, size_t at, struct entry e)
{
    PTL_ASSERT(at % ALIGN == 0);
    PTL_ASSERT(at + PTL_QUEUE_ENTRY_OVERHEAD <= q->cap);
    memcpy(q->buf + at, &e, sizeof(e));
}

// Where the entry stands that comes after one which ends at `end`; *there is false if none does.
static size_t entry_after(const struct ptl_queue *q, size_t end, bool *there)
{
    *there = q->used_bytes > 0 && end != q->tail;
    return *there && is_wrapped(q) && end == q->wrap ? 0 : end;
}

void ptl_queue_init(struct ptl_queue *q, uint8_t *buf, size_t cap)
{
    PTL_ASSERT(q != NULL);
    PTL_ASSERT(buf != NULL);
    PTL_ASSERT(cap % ALIGN == 0);
    PTL_ASSERT(cap >= CAP_MIN && cap <= UINT32_MAX);
    *q = (struct ptl_queue){.buf = buf, .cap = cap, .reserved = NOT_RESERVED};
}

void ptl_queue_clear(struct ptl_queue *q)
{
    ptl_queue_init(q, q->buf, q->cap);
}

// Where `bytes` fit now, NOT_RESERVED if nowhere.
static size_t find_room(const struct ptl_queue *q, size_t bytes)
{
    if (is_wrapped(q)) {
        return q->head - q->tail >= bytes ? q->tail : NOT_RESERVED;
    }
    if (q->cap - q->tail >= bytes) {
        return q->tail;
    }
    return q->head >= bytes ? 0 : NOT_RESERVED;
}

enum ptl_status ptl_queue_reserve(struct ptl_queue *q, size_t len_max, uint8_t **room)
{
    PTL_ASSERT(room != NULL);
    PTL_ASSERT(q->used_bytes > 0 || (q->head == 0 && q->tail == 0));
    q->reserved = NOT_RESERVED;
    if (len_max > q->cap - PTL_QUEUE_ENTRY_OVERHEAD) {
        return PTL_E_TOO_BIG;
    }
    size_t bytes = entry_bytes(len_max);
    size_t at = find_room(q, bytes);
    if (at == NOT_RESERVED) {
        return PTL_E_FULL;
    }
    q->reserved = at;
    q->reserved_bytes = bytes;
    *room = q->buf + at + PTL_QUEUE_ENTRY_OVERHEAD;
    return PTL_OK;
}

void ptl_queue_commit(struct ptl_queue *q, uint64_t seq, size_t len)
{
    PTL_ASSERT(q->reserved != NOT_RESERVED);
    PTL_ASSERT(len >= 1);
    PTL_ASSERT(entry_bytes(len) <= q->reserved_bytes);
    PTL_ASSERT(seq >= q->seq_end);
    PTL_ASSERT(seq < UINT64_MAX);
    size_t at = q->reserved;
    if (at != q->tail) {
        PTL_ASSERT(at == 0 && q->head > 0);
        q->wrap = q->tail;
    }
    store(q, at, (struct entry){.seq = seq, .len = (uint32_t)len});
    q->tail = at + entry_bytes(len);
    q->used_bytes += entry_bytes(len);
    q->count++;
    q->seq_end = seq + 1;
    q->reserved = NOT_RESERVED;
    PTL_ASSERT(q->used_bytes <= q->cap);
}

// A cursor's offset is where the last entry below seq_next ended, as it was then. While that entry
// has not given its room back, the place still is the border of an entry; and it has not if the
// oldest one is below seq_next, since entries go in order. Otherwise reading begins at the oldest.
static size_t place_of(const struct ptl_queue *q, const struct ptl_queue_cursor *cursor,
                       bool *there)
{
    if (q->used_bytes == 0) {
        *there = false;
        return 0;
    }
    if (cursor->offset == 0 || load(q, q->head).seq >= cursor->seq_next) {
        *there = true;
        return q->head;
    }
    PTL_ASSERT(cursor->offset <= q->cap);
    return entry_after(q, cursor->offset, there);
}

enum ptl_status ptl_queue_peek(const struct ptl_queue *q, struct ptl_queue_cursor *cursor,
                               struct ptl_queue_entry *entry)
{
    PTL_ASSERT(cursor != NULL);
    PTL_ASSERT(entry != NULL);
    bool there;
    size_t at = place_of(q, cursor, &there);
    // Ends at the tail at the latest: every turn goes one entry on.
    while (there) {
        struct entry e = load(q, at);
        size_t end = at + entry_bytes(e.len);
        if (e.seq >= cursor->seq_next && (e.flags & FLAG_RELEASED) == 0) {
            *cursor = (struct ptl_queue_cursor){.seq_next = e.seq + 1, .offset = end};
            *entry = (struct ptl_queue_entry){
                .seq = e.seq,
                .record = {q->buf + at + PTL_QUEUE_ENTRY_OVERHEAD, e.len},
                .sent = (e.flags & FLAG_SENT) != 0,
            };
            return PTL_OK;
        }
        at = entry_after(q, end, &there);
    }
    return PTL_E_EMPTY;
}

struct ptl_queue_cursor ptl_queue_seek(const struct ptl_queue *q, uint64_t seq)
{
    struct ptl_queue_cursor cursor = {.seq_next = seq, .offset = 0};
    // Above all there is, no place is right for good: later entries may still be below it. Peek
    // then walks from the oldest.
    if (seq > q->seq_end) {
        return cursor;
    }
    bool there = q->used_bytes > 0;
    for (size_t at = q->head; there;) {
        struct entry e = load(q, at);
        if (e.seq >= seq) {
            break;
        }
        cursor.offset = at + entry_bytes(e.len);
        at = entry_after(q, cursor.offset, &there);
    }
    return cursor;
}

// Where to begin to look for `seq`: entries that were marked as sent come first, and there may be
// thousands of them in flight.
static size_t walk_from(const struct ptl_queue *q, uint64_t seq, bool *there)
{
    const struct ptl_queue_cursor oldest = {0};
    return place_of(q, seq >= q->marked.seq_next ? &q->marked : &oldest, there);
}

// Sets the flag on the entries of the range; returns how many did not have it. *passed is moved
// behind the last entry below the range's end.
static uint32_t set_flag(struct ptl_queue *q, struct ptl_range range, uint32_t flag,
                         struct ptl_queue_cursor *passed)
{
    PTL_ASSERT(range.begin <= range.end);
    uint32_t changed = 0;
    bool there;
    for (size_t at = walk_from(q, range.begin, &there); there;) {
        struct entry e = load(q, at);
        if (e.seq >= range.end) {
            break;
        }
        if (e.seq >= range.begin && (e.flags & flag) == 0) {
            e.flags |= flag;
            store(q, at, e);
            changed++;
        }
        *passed =
            (struct ptl_queue_cursor){.seq_next = e.seq + 1, .offset = at + entry_bytes(e.len)};
        at = entry_after(q, passed->offset, &there);
    }
    return changed;
}

void ptl_queue_mark_sent(struct ptl_queue *q, struct ptl_range range)
{
    struct ptl_queue_cursor passed = {0};
    (void)set_flag(q, range, FLAG_SENT, &passed);
    if (passed.seq_next > q->marked.seq_next) {
        q->marked = passed;
    }
}

// Takes released entries off the head.
static void give_back(struct ptl_queue *q)
{
    while (q->used_bytes > 0) {
        struct entry e = load(q, q->head);
        if ((e.flags & FLAG_RELEASED) == 0) {
            return;
        }
        size_t end = q->head + entry_bytes(e.len);
        q->head = is_wrapped(q) && end == q->wrap ? 0 : end;
        q->used_bytes -= entry_bytes(e.len);
    }
    PTL_ASSERT(q->head == q->tail);
    PTL_ASSERT(q->count == 0);
    q->head = 0;
    q->tail = 0;
}

uint32_t ptl_queue_release(struct ptl_queue *q, struct ptl_range range)
{
    q->reserved = NOT_RESERVED;
    struct ptl_queue_cursor passed;
    uint32_t released = set_flag(q, range, FLAG_RELEASED, &passed);
    PTL_ASSERT(released <= q->count);
    q->count -= released;
    give_back(q);
    return released;
}

enum ptl_status ptl_queue_oldest(const struct ptl_queue *q, uint64_t *seq)
{
    PTL_ASSERT(seq != NULL);
    PTL_ASSERT((q->used_bytes > 0) == (q->count > 0));
    if (q->used_bytes == 0) {
        return PTL_E_EMPTY;
    }
    *seq = load(q, q->head).seq;
    return PTL_OK;
}

uint32_t ptl_queue_count(const struct ptl_queue *q)
{
    return q->count;
}

size_t ptl_queue_used_bytes(const struct ptl_queue *q)
{
    return q->used_bytes;
}

uint32_t ptl_queue_records_max(size_t cap)
{
    PTL_ASSERT(cap <= UINT32_MAX);
    return (uint32_t)(cap / entry_bytes(1));
}
