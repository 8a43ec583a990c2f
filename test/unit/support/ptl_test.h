// ptl_test.h - what every unit test shares: cmocka with what it needs before it, the assert hook,
// spans from text, test data from test/data. Include it first; link `petrel_test`.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// After the headers above, which it does not include itself.
#include <cmocka.h>

#include "ptl_base.h"

// A broken invariant fails the test that runs, and satisfies expect_assert_failure(). Weak, so that
// every source of a test may include this header and a test may bring its own.
__attribute__((weak, noreturn)) void ptl_assert_fail(const char *file, int line)
{
    mock_assert(0, "PTL_ASSERT", file, line);
    abort();
}

static inline struct ptl_span test_span(const char *text)
{
    return (struct ptl_span){(const uint8_t *)text, strlen(text)};
}

// Fails unless the span is exactly `text`; prints both.
#define assert_span_equal(span, text) test_assert_span((span), (text), __FILE__, __LINE__)
static inline void test_assert_span(struct ptl_span span, const char *text, const char *file,
                                    int line)
{
    if (span.len != strlen(text) || (span.len > 0 && memcmp(span.ptr, text, span.len) != 0)) {
        print_error("got  \"%.*s\"\nwant \"%s\"\n", (int)span.len,
                    span.len > 0 ? (const char *)span.ptr : "", text);
        _fail(file, line);
    }
}

// A copy of exactly `len` bytes on the heap, so that AddressSanitizer sees any read beyond them.
static inline uint8_t *test_exact_copy(const void *bytes, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    if (len > 0) {
        memcpy(copy, bytes, len);
    }
    return copy;
}

#ifdef PTL_TEST_DATA_DIR
// The whole of test/data/<name>, NUL-terminated, to be freed by the caller. Fails the test if the
// file cannot be read.
static inline char *test_read_data(const char *name, size_t *len)
{
    char path[512];
    assert_true(snprintf(path, sizeof(path), "%s/%s", PTL_TEST_DATA_DIR, name) < (int)sizeof(path));
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fail_msg("cannot open %s", path);
    }
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long size = ftell(file);
    assert_true(size >= 0);
    rewind(file);
    char *text = malloc((size_t)size + 1);
    assert_non_null(text);
    *len = fread(text, 1, (size_t)size, file);
    assert_int_equal(*len, size);
    text[*len] = '\0';
    assert_int_equal(fclose(file), 0);
    return text;
}

// Cuts the next line off *text (in place, without its line feed); NULL at the end.
static inline char *test_next_line(char **text)
{
    char *line = *text;
    if (*line == '\0') {
        return NULL;
    }
    char *feed = strchr(line, '\n');
    if (feed == NULL) {
        *text = line + strlen(line);
    } else {
        *feed = '\0';
        *text = feed + 1;
    }
    return line;
}
#endif
