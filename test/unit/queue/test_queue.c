// Goal: the queue is a FIFO that loses, invents and mixes up nothing, whatever order things come
// in, and its room comes back. Method: random operations from seeds against a plain list, with
// cursors that were taken long before; the wrap cases one by one.
#include "ptl_test.h"

#include "ptl_bytes.h"
#include "ptl_queue.h"

static const uint8_t *fill_of(uint64_t seq, size_t len)
{
    static uint8_t bytes[1024];
    assert_true(len <= sizeof(bytes));
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)(seq * 31 + i * 7);
    }
    return bytes;
}

// Appends `len` bytes that follow from seq, after reserving `len_max`.
static enum ptl_status append(struct ptl_queue *q, uint64_t seq, size_t len, size_t len_max)
{
    uint8_t *room = NULL;
    enum ptl_status status = ptl_queue_reserve(q, len_max, &room);
    if (status == PTL_OK) {
        // All that was asked for may be written, whatever is committed.
        memset(room, 0xee, len_max);
        memcpy(room, fill_of(seq, len), len);
        ptl_queue_commit(q, seq, len);
    }
    return status;
}

static void test_empty(void **state)
{
    (void)state;
    uint8_t buf[256];
    struct ptl_queue q;
    ptl_queue_init(&q, buf, sizeof(buf));
    struct ptl_queue_cursor cursor = {0};
    struct ptl_queue_entry entry;
    uint64_t seq;
    assert_int_equal(ptl_queue_peek(&q, &cursor, &entry), PTL_E_EMPTY);
    assert_int_equal(ptl_queue_oldest(&q, &seq), PTL_E_EMPTY);
    assert_int_equal(ptl_queue_count(&q), 0);
    assert_int_equal(ptl_queue_used_bytes(&q), 0);
    assert_int_equal(ptl_queue_release(&q, (struct ptl_range){0, UINT64_MAX}), 0);
    uint8_t *room;
    assert_int_equal(ptl_queue_reserve(&q, 256 - PTL_QUEUE_ENTRY_OVERHEAD, &room), PTL_OK);
    assert_int_equal(ptl_queue_reserve(&q, 256 - PTL_QUEUE_ENTRY_OVERHEAD + 1, &room),
                     PTL_E_TOO_BIG);
    assert_int_equal(ptl_queue_reserve(&q, SIZE_MAX, &room), PTL_E_TOO_BIG);
    expect_assert_failure(ptl_queue_commit(&q, 1, 1)); // the refused reserve ended the one before
}

static void test_misuse_is_caught(void **state)
{
    (void)state;
    uint8_t buf[256];
    struct ptl_queue q;
    expect_assert_failure(ptl_queue_init(&q, buf, 255));
    expect_assert_failure(ptl_queue_init(&q, buf, 248));
    ptl_queue_init(&q, buf, sizeof(buf));
    assert_int_equal(append(&q, 7, 10, 10), PTL_OK);
    uint8_t *room;
    assert_int_equal(ptl_queue_reserve(&q, 10, &room), PTL_OK);
    expect_assert_failure(ptl_queue_commit(&q, 7, 10));  // seq must ascend
    expect_assert_failure(ptl_queue_commit(&q, 8, 0));   // a record has bytes
    expect_assert_failure(ptl_queue_commit(&q, 8, 100)); // more than was reserved
    ptl_queue_commit(&q, 8, 10);
    expect_assert_failure(ptl_queue_commit(&q, 9, 10)); // nothing reserved
    expect_assert_failure((void)ptl_queue_release(&q, (struct ptl_range){2, 1}));
}

// cap 256 holds four entries of 64. The picture of each step is in queue.c.
static void test_wraps(void **state)
{
    (void)state;
    uint8_t buf[256];
    struct ptl_queue q;
    uint64_t seq;
    ptl_queue_init(&q, buf, sizeof(buf));
    for (uint64_t i = 1; i <= 4; i++) {
        assert_int_equal(append(&q, i, 48, 48), PTL_OK);
    }
    assert_int_equal(append(&q, 5, 1, 1), PTL_E_FULL); // exactly full, not wrapped
    assert_int_equal(ptl_queue_used_bytes(&q), 256);
    assert_int_equal(ptl_queue_release(&q, (struct ptl_range){1, 2}), 1);
    assert_int_equal(append(&q, 5, 49, 49), PTL_E_FULL); // one byte more than was given back
    assert_int_equal(append(&q, 5, 48, 48), PTL_OK);     // tail meets head: exactly full, wrapped
    assert_int_equal(append(&q, 6, 1, 1), PTL_E_FULL);
    struct ptl_queue_cursor cursor = {0};
    struct ptl_queue_entry entry;
    for (uint64_t i = 2; i <= 5; i++) {
        assert_int_equal(ptl_queue_peek(&q, &cursor, &entry), PTL_OK);
        assert_true(entry.seq == i);
        assert_int_equal(entry.record.len, 48);
        assert_memory_equal(entry.record.ptr, fill_of(i, 48), 48);
    }
    assert_int_equal(ptl_queue_peek(&q, &cursor, &entry), PTL_E_EMPTY);
    assert_int_equal(ptl_queue_release(&q, (struct ptl_range){2, 5}), 3);
    assert_int_equal(ptl_queue_oldest(&q, &seq), PTL_OK);
    assert_true(seq == 5);
    assert_int_equal(ptl_queue_used_bytes(&q), 64);
    // The gap at the end: 128 bytes at the front are free once 5 has gone from there.
    assert_int_equal(append(&q, 6, 100, 100), PTL_OK); // 64..184
    assert_int_equal(ptl_queue_release(&q, (struct ptl_range){5, 6}), 1);
    assert_int_equal(append(&q, 7, 40, 60),
                     PTL_E_FULL);                    // 72 left behind, 64 before: 80 fit nowhere
    assert_int_equal(append(&q, 7, 40, 56), PTL_OK); // behind
    assert_int_equal(append(&q, 8, 40, 48), PTL_OK); // to the front, a gap of 16 behind 7
    assert_int_equal(ptl_queue_peek(&q, &cursor, &entry), PTL_OK);
    assert_true(entry.seq == 6);
    assert_int_equal(ptl_queue_peek(&q, &cursor, &entry), PTL_OK);
    assert_true(entry.seq == 7);
    assert_int_equal(ptl_queue_peek(&q, &cursor, &entry), PTL_OK);
    assert_true(entry.seq == 8);
    assert_int_equal(ptl_queue_release(&q, (struct ptl_range){0, 100}), 3);
    assert_int_equal(ptl_queue_used_bytes(&q), 0);
    assert_int_equal(append(&q, 9, 240, 240), PTL_OK); // empty again: all of it in one piece
}

// Wrapped, and the last free bytes are taken to the last one.
static void test_wrapped_room_is_used_up(void **state)
{
    (void)state;
    uint8_t buf[256];
    struct ptl_queue q;
    ptl_queue_init(&q, buf, sizeof(buf));
    for (uint64_t i = 1; i <= 4; i++) {
        assert_int_equal(append(&q, i, 48, 48), PTL_OK);
    }
    assert_int_equal(ptl_queue_release(&q, (struct ptl_range){1, 3}), 2);
    assert_int_equal(append(&q, 5, 48, 48), PTL_OK);
    assert_int_equal(append(&q, 6, 49, 49), PTL_E_FULL);
    assert_int_equal(append(&q, 6, 48, 48), PTL_OK);
    assert_int_equal(ptl_queue_used_bytes(&q), 256);
}

static void test_middle_release_gives_back_later(void **state)
{
    (void)state;
    uint8_t buf[512];
    struct ptl_queue q;
    ptl_queue_init(&q, buf, sizeof(buf));
    for (uint64_t i = 0; i < 6; i++) {
        assert_int_equal(append(&q, 10 * i, 16, 16), PTL_OK);
    }
    assert_int_equal(ptl_queue_release(&q, (struct ptl_range){10, 40}), 3);
    assert_int_equal(ptl_queue_release(&q, (struct ptl_range){10, 40}), 0); // idempotent
    assert_int_equal(ptl_queue_count(&q), 3);
    assert_int_equal(ptl_queue_used_bytes(&q), 6 * 32);
    ptl_queue_mark_sent(&q, (struct ptl_range){0, 41});
    struct ptl_queue_cursor cursor = {0};
    struct ptl_queue_entry entry;
    assert_int_equal(ptl_queue_peek(&q, &cursor, &entry), PTL_OK);
    assert_true(entry.seq == 0 && entry.sent);
    assert_int_equal(ptl_queue_peek(&q, &cursor, &entry), PTL_OK);
    assert_true(entry.seq == 40 && entry.sent);
    assert_int_equal(ptl_queue_peek(&q, &cursor, &entry), PTL_OK);
    assert_true(entry.seq == 50 && !entry.sent);
    assert_int_equal(ptl_queue_release(&q, (struct ptl_range){0, 1}), 1);
    assert_int_equal(ptl_queue_used_bytes(&q), 2 * 32);
}

// A cursor set above everything must not miss what then comes below its seq_next's neighbours.
static void test_seek_above_the_end(void **state)
{
    (void)state;
    uint8_t buf[256];
    struct ptl_queue q;
    ptl_queue_init(&q, buf, sizeof(buf));
    assert_int_equal(append(&q, 1, 40, 40), PTL_OK);
    struct ptl_queue_cursor cursor = ptl_queue_seek(&q, 5);
    for (uint64_t seq = 2; seq <= 3; seq++) {
        assert_int_equal(append(&q, seq, 40, 40), PTL_OK);
    }
    assert_int_equal(ptl_queue_release(&q, (struct ptl_range){0, 2}), 1);
    struct ptl_queue_entry entry;
    assert_int_equal(ptl_queue_peek(&q, &cursor, &entry), PTL_E_EMPTY);
    assert_int_equal(append(&q, 6, 60, 60), PTL_OK); // over the place where 1 ended
    assert_int_equal(ptl_queue_peek(&q, &cursor, &entry), PTL_OK);
    assert_true(entry.seq == 6);
}

static void test_clear(void **state)
{
    (void)state;
    uint8_t buf[256];
    struct ptl_queue q;
    ptl_queue_init(&q, buf, sizeof(buf));
    assert_int_equal(append(&q, 1000, 40, 40), PTL_OK);
    ptl_queue_clear(&q);
    assert_int_equal(ptl_queue_count(&q), 0);
    assert_int_equal(append(&q, 3, 40, 40), PTL_OK); // a new run may count lower
}

static void test_records_max_is_a_bound_and_is_reached(void **state)
{
    (void)state;
    static uint8_t buf[4096];
    for (size_t cap = 256; cap <= sizeof(buf); cap += 8) {
        struct ptl_queue q;
        ptl_queue_init(&q, buf, cap);
        uint32_t held = 0;
        while (append(&q, held, 1, 1) == PTL_OK) {
            held++;
        }
        assert_int_equal(held, ptl_queue_records_max(cap));
    }
}

// The plain list that the queue is compared with.
#define MODEL_MAX 4096
struct model_entry {
    uint64_t seq;
    size_t len;
    bool held;
    bool sent;
};
struct model {
    struct model_entry list[MODEL_MAX];
    size_t count;
};

static const struct model_entry *model_next(const struct model *m, uint64_t seq)
{
    for (size_t i = 0; i < m->count; i++) {
        if (m->list[i].held && m->list[i].seq >= seq) {
            return &m->list[i];
        }
    }
    return NULL;
}

static uint32_t model_held(const struct model *m, struct ptl_range range)
{
    uint32_t held = 0;
    for (size_t i = 0; i < m->count; i++) {
        held += m->list[i].held && m->list[i].seq >= range.begin && m->list[i].seq < range.end;
    }
    return held;
}

// Reads one entry and compares; the cursor's place in the model is its seq_next.
static bool compare_peek(const struct ptl_queue *q, const struct model *m,
                         struct ptl_queue_cursor *cursor)
{
    const struct model_entry *want = model_next(m, cursor->seq_next);
    struct ptl_queue_entry got;
    enum ptl_status status = ptl_queue_peek(q, cursor, &got);
    assert_int_equal(status, want != NULL ? PTL_OK : PTL_E_EMPTY);
    if (want == NULL) {
        return false;
    }
    assert_true(got.seq == want->seq);
    assert_int_equal(got.record.len, want->len);
    assert_memory_equal(got.record.ptr, fill_of(want->seq, want->len), want->len);
    assert_int_equal(got.sent, want->sent);
    assert_true(cursor->seq_next == want->seq + 1);
    return true;
}

static struct ptl_range random_range(struct ptl_prng *prng, const struct model *m, uint64_t seq_end)
{
    const struct model_entry *oldest = model_next(m, 0);
    uint64_t from = oldest != NULL ? oldest->seq : seq_end;
    // Mostly from the oldest on, as acknowledgements come; sometimes anywhere.
    uint64_t begin = ptl_prng_below(prng, 3) != 0
                         ? from
                         : from + ptl_prng_below(prng, (uint32_t)(seq_end - from) + 2);
    return (struct ptl_range){begin, begin + ptl_prng_below(prng, 60)};
}

static void random_append(struct ptl_queue *q, struct model *m, struct ptl_prng *prng,
                          uint64_t *seq_end, uint32_t *full)
{
    size_t len = 1 + ptl_prng_below(prng, ptl_prng_below(prng, 10) == 0 ? 200 : 60);
    size_t len_max = len + ptl_prng_below(prng, 30);
    uint64_t seq = *seq_end + (ptl_prng_below(prng, 5) == 0 ? ptl_prng_below(prng, 9) : 0);
    enum ptl_status status = append(q, seq, len, len_max);
    if (status == PTL_OK) {
        assert_true(m->count < MODEL_MAX);
        m->list[m->count++] = (struct model_entry){.seq = seq, .len = len, .held = true};
        *seq_end = seq + 1;
    } else {
        assert_int_equal(status, PTL_E_FULL);
        assert_true(ptl_queue_count(q) > 0);
        ++*full;
    }
}

static void run_against_model(uint64_t seed)
{
    enum { CURSORS = 4 };
    static struct model m;
    m.count = 0;
    struct ptl_prng prng;
    ptl_prng_seed(&prng, seed);
    size_t cap = 256 + 8 * (size_t)ptl_prng_below(&prng, 120);
    uint8_t *buf = malloc(cap);
    assert_non_null(buf);
    struct ptl_queue q;
    ptl_queue_init(&q, buf, cap);
    struct ptl_queue_cursor cursors[CURSORS] = {0};
    uint64_t seq_end = ptl_prng_below(&prng, 2) ? 0 : (uint64_t)5 << PTL_RUN_SHIFT;
    uint32_t full = 0;
    for (int step = 0; step < 3000; step++) {
        struct ptl_queue_cursor *cursor = &cursors[ptl_prng_below(&prng, CURSORS)];
        struct ptl_range range = random_range(&prng, &m, seq_end);
        switch (ptl_prng_below(&prng, 8)) {
        case 0:
        case 1:
        case 2:
            random_append(&q, &m, &prng, &seq_end, &full);
            break;
        case 3: {
            uint32_t held = model_held(&m, range);
            assert_int_equal(ptl_queue_release(&q, range), held);
            for (size_t i = 0; i < m.count; i++) {
                bool in = m.list[i].seq >= range.begin && m.list[i].seq < range.end;
                m.list[i].held = m.list[i].held && !in;
            }
            break;
        }
        case 4:
            ptl_queue_mark_sent(&q, range);
            for (size_t i = 0; i < m.count; i++) {
                bool in = m.list[i].seq >= range.begin && m.list[i].seq < range.end;
                m.list[i].sent = m.list[i].sent || (in && m.list[i].held);
            }
            break;
        case 5:
            *cursor = ptl_queue_seek(&q, range.begin);
            assert_true(cursor->seq_next == range.begin);
            (void)compare_peek(&q, &m, cursor);
            break;
        default:
            (void)compare_peek(&q, &m, cursor);
            break;
        }
        assert_int_equal(ptl_queue_count(&q), model_held(&m, (struct ptl_range){0, UINT64_MAX}));
        assert_true(ptl_queue_used_bytes(&q) <= cap);
        assert_true(ptl_queue_count(&q) <= ptl_queue_records_max(cap));
        assert_int_equal(ptl_queue_used_bytes(&q) == 0, ptl_queue_count(&q) == 0);
        if (m.count > MODEL_MAX - 4) {
            break;
        }
    }
    assert_true(full > 0);
    struct ptl_queue_cursor all = {0};
    while (compare_peek(&q, &m, &all)) {}
    free(buf);
}

static void test_random_operations_against_a_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        run_against_model(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_misuse_is_caught),
        cmocka_unit_test(test_wraps),
        cmocka_unit_test(test_wrapped_room_is_used_up),
        cmocka_unit_test(test_middle_release_gives_back_later),
        cmocka_unit_test(test_seek_above_the_end),
        cmocka_unit_test(test_clear),
        cmocka_unit_test(test_records_max_is_a_bound_and_is_reached),
        cmocka_unit_test(test_random_operations_against_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
