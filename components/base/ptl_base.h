// ptl_base.h - what every component shares: status codes, spans, time, assert, limits.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Results. 0 is success, negatives say what to do next; every function that returns one must be
// looked at.
enum ptl_status {
    PTL_OK = 0,
    PTL_E_INVALID = -1, // an argument or setting breaks a documented rule: mend the caller
    PTL_E_AGAIN = -2,   // nothing was changed; try again once the medium or link has moved on
    PTL_E_PENDING = -3, // started; the result comes through the documented completion call
    PTL_E_EMPTY = -4,   // nothing there; wait for input
    PTL_E_FULL = -5,    // no room; release something first
    PTL_E_TOO_BIG = -6, // can never fit: shorten it, or grow the buffer that is named
    PTL_E_IO = -7,      // the medium failed; see the component's header for what still holds
    PTL_E_FORMAT = -8,  // bytes do not have the expected form
    PTL_E_DENIED = -9,  // refused by a rule (reserved name, foreign source)
};

#define PTL_MUST_USE __attribute__((warn_unused_result))

// Borrowed bytes, not terminated.
struct ptl_span {
    const uint8_t *ptr;
    size_t len;
};

#define PTL_SPAN_OF(text) ((struct ptl_span){(const uint8_t *)(text), sizeof(text) - 1})

struct ptl_span ptl_span_of_text(const char *text);
bool ptl_span_equal(struct ptl_span a, struct ptl_span b);

// One moment, sampled once per entry into the core. `mono_ms` goes on through suspend and never
// falls; `unix_ms` counts only while `unix_err_ms` is not PTL_TIME_UNKNOWN.
#define PTL_TIME_UNKNOWN UINT32_MAX
#define PTL_NEVER        UINT64_MAX // a deadline that does not exist

struct ptl_now {
    uint64_t mono_ms;
    int64_t unix_ms;
    uint32_t unix_err_ms;
};

// A broken invariant ends here: abort on hosts, log and reset on microcontrollers. The platform
// supplies the function. Never used on outside input.
_Noreturn void ptl_assert_fail(const char *file, int line);

#ifdef PTL_ASSERT_OFF
#define PTL_ASSERT(condition) ((void)sizeof(condition))
#else
#define PTL_ASSERT(condition) ((condition) ? (void)0 : ptl_assert_fail(__FILE_NAME__, __LINE__))
#endif
#ifndef __FILE_NAME__
#define __FILE_NAME__ "petrel"
#endif

// What one message or record may at most be, whatever the configuration says.
#define PTL_DEVICE_BYTES_MAX 64
#define PTL_BOOT_BYTES_MAX   36
#define PTL_SEQ_MAX          ((UINT64_C(1) << 53) - 1)
#define PTL_RUN_SHIFT        29 // seq = run << 29 | n
#define PTL_RUN_MAX          ((UINT32_C(1) << 24) - 1)
#define PTL_RANGES_MAX       8
#define PTL_GAPS_MAX         8
#define PTL_ENDS_MAX         8

// Half-open range of sequence numbers.
struct ptl_range {
    uint64_t begin;
    uint64_t end;
};

enum ptl_severity { PTL_DEBUG, PTL_INFO, PTL_WARNING, PTL_ERROR, PTL_CRITICAL, PTL_SEVERITIES };

enum ptl_gap_reason {
    PTL_GAP_OVERFLOW,
    PTL_GAP_QUEUE_FULL,
    PTL_GAP_DAMAGED,
    PTL_GAP_MEDIA,
    PTL_GAP_REFUSED,
    PTL_GAP_REASONS
};

enum ptl_gap_kind {
    PTL_LOST,      // never sent, or refused
    PTL_UNCERTAIN, // may have been sent and was never answered, or held over from an earlier run
};

// Events first..last of one epoch, all of them and no other, that will never be delivered.
struct ptl_gap {
    uint64_t epoch;
    uint64_t first;
    uint64_t last;
    uint8_t reason; // enum ptl_gap_reason
    uint8_t kind;   // enum ptl_gap_kind
};

enum ptl_end_how { PTL_CLOSED, PTL_TORN };

// How a run ended; the last thing said of it (docs/wire.md).
struct ptl_end {
    uint64_t epoch;
    uint64_t from; // lowest `next` of merged ends, equals next otherwise
    uint64_t next;
    uint32_t at_most;
    uint16_t runs; // 1, more where ends were merged
    uint8_t how;   // enum ptl_end_how
};

// What a refusal or loss of the session asks for (adapter/reactions.c maps every code to one).
enum ptl_reaction {
    PTL_REACT_RETRY,         // back off and try again
    PTL_REACT_SLOW_DOWN,     // rate limit: at least a minute, halve the share
    PTL_REACT_REFRESH_TOKEN, // a new token first
    PTL_REACT_SHRINK_BATCH,  // the content was refused: split
    PTL_REACT_STOP,          // cannot mend itself: longest wait, tell the operator
};
