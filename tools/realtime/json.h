// json.h - what the server needs of JSON beyond the parser (jansson): the text form that Realtime
// writes, and the size by which it judges a payload.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "mem.h"

// Any JSON value, NULL if it is not one. Integers beyond 64 bits are refused (Realtime takes them).
json_t *ptl_rt_json_parse(const char *text, size_t len);

// Compact, object keys in byte order (how Realtime writes maps of up to 32 keys), the shortest
// form of a number that reads back the same.
void ptl_rt_json_write(struct ptl_rt_str *out, json_t *value);

// The members of an object without its braces, keys in byte order: for objects that start with
// fields of our own.
void ptl_rt_json_members(struct ptl_rt_str *out, json_t *object);

// A JSON string. False, with nothing written, if `bytes` is not UTF-8.
bool ptl_rt_json_quote(struct ptl_rt_str *out, const char *bytes, size_t len);

// Bytes of the value in Erlang's external term format: what Realtime compares with its limit.
size_t ptl_rt_json_term_bytes(json_t *value);

// Realtime's flexible boolean: true, false, or these words in any case; anything else is
// `fallback`.
bool ptl_rt_json_flag(const json_t *value, bool fallback);
