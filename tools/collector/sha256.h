// sha256.h - SHA-256 (FIPS 180-4) of one short text, and the row id made of it.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define COL_SHA256_BYTES 32
#define COL_ID_TEXT      37 // 36 characters and the end

void col_sha256(const void *bytes, size_t len, uint8_t digest[COL_SHA256_BYTES]);

// UUIDv8 of docs/wire.md: the first 16 bytes of SHA-256 over `device|epoch|seq`.
void col_row_id(const char *device, const char *epoch, uint64_t seq, char id[COL_ID_TEXT]);
