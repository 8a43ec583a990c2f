// ptl_json.h - strict, bounded reading of JSON (RFC 8259) in place: no copies, no tree, no
// recursion. One pass checks a text, later calls walk what was checked.
//
// Stricter than the RFC where stores are (design, "Event and record"): valid UTF-8, no NUL and no
// lone surrogate in any string (escaped or not), numbers of at most 64 characters that are finite
// as a double and not below its range (1e400 and 1e-20000 are refused, -0 and 0.0 are fine).
#pragma once

#include "ptl_base.h"

#define PTL_JSON_DEPTH_MAX  32 // bound of the checker's nesting, whatever the caller asks
#define PTL_JSON_NUMBER_MAX 64

enum ptl_json_type {
    PTL_JSON_NULL,
    PTL_JSON_FALSE,
    PTL_JSON_TRUE,
    PTL_JSON_NUMBER,
    PTL_JSON_STRING,
    PTL_JSON_ARRAY,
    PTL_JSON_OBJECT,
};

// Why and where a text was refused.
struct ptl_json_error {
    size_t offset;      // of the first byte that cannot stand there, from the start of the text
    const char *reason; // static English text, e.g. "control character in string"
};

struct ptl_json_value {
    enum ptl_json_type type;
    struct ptl_span text; // as it stands: strings with quotes, containers with brackets
};

// Checks that `text` is exactly one JSON value (white space around it allowed), nested at most
// `depth_max` deep (1 = a flat object). On PTL_OK fills *value.
// PTL_E_FORMAT   not JSON, or not storable   PTL_E_TOO_BIG  nested deeper than that
// Either way *error says where and why.
PTL_MUST_USE enum ptl_status ptl_json_check(struct ptl_span text, uint32_t depth_max,
                                            struct ptl_json_value *value,
                                            struct ptl_json_error *error);

// Reads an object member by member in the pass that checks it, for a reader that knows what it
// expects (the event door). Nothing may be believed of the object before PTL_E_EMPTY.
struct ptl_json_reader {
    const uint8_t *begin;
    const uint8_t *at;
    const uint8_t *end;
    uint32_t depth_max; // of a member's value
    bool inside;        // a member was read, a comma must follow
    bool too_deep;
    struct ptl_json_error error; // valid after PTL_E_FORMAT and PTL_E_TOO_BIG
};
// `text` is borrowed; depth_max counts the object itself and is at least 1.
// PTL_E_FORMAT   does not begin with an object
PTL_MUST_USE enum ptl_status ptl_json_read_object(struct ptl_json_reader *r, struct ptl_span text,
                                                  uint32_t depth_max);
// The next member; `key` is the raw body of its name. Not to be called again after an error.
// PTL_E_EMPTY    the object has ended (r->at is its closing bracket) and nothing but white space
//                stands behind it
// PTL_E_FORMAT, PTL_E_TOO_BIG   as ptl_json_check
PTL_MUST_USE enum ptl_status ptl_json_read_member(struct ptl_json_reader *r, struct ptl_span *key,
                                                  struct ptl_json_value *value);

// Walks the members of an object or the items of an array that ptl_json_check (or this iterator)
// produced. The text must stay as it was.
struct ptl_json_iter {
    const uint8_t *at;
    const uint8_t *end;
    bool object;
};
struct ptl_json_iter ptl_json_iterate(struct ptl_json_value container);
// false at the end. `key` is the raw body of the member's name (no quotes, escapes as they stand),
// empty for arrays; may be NULL.
bool ptl_json_next(struct ptl_json_iter *iter, struct ptl_span *key, struct ptl_json_value *value);

// Looks up one member of an object by its unescaped name; the first one wins.
bool ptl_json_member(struct ptl_json_value object, const char *name, struct ptl_json_value *value);

// Compares a raw string body (no quotes) with plain text after undoing escapes:
// `event\u005ftype` equals `event_type`.
bool ptl_json_text_equals(struct ptl_span raw, const char *text);
bool ptl_json_text_has_prefix(struct ptl_span raw, const char *prefix);
// The body of a string value, without quotes.
struct ptl_span ptl_json_string_body(struct ptl_json_value string);
// Undoes escapes into `buf` as UTF-8. PTL_E_TOO_BIG: it needs more than `cap` bytes.
PTL_MUST_USE enum ptl_status ptl_json_unescape(struct ptl_span raw, uint8_t *buf, size_t cap,
                                               size_t *len);
// A number that is a non-negative integer without fraction or exponent and fits 64 bits.
// PTL_E_FORMAT: it is not.
PTL_MUST_USE enum ptl_status ptl_json_u64(struct ptl_json_value number, uint64_t *out);

// Whether the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms).
bool ptl_utf8_valid(struct ptl_span text);
// The longest prefix of at most `max` bytes that does not cut a character.
size_t ptl_utf8_cut(struct ptl_span text, size_t max);
