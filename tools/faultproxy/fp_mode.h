// fp_mode.h - what the link does at the moment, and the commands that change it. No I/O.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FP_LINE_MAX 256U // bytes of one command or answer

struct fp_mode {
    uint32_t delay_ms, jitter_ms; // each way
    uint64_t rate_bytes_per_s;    // each way, over all connections; 0 = no limit
    uint32_t split_bytes;         // at most this much in one write; 0 = as it comes
    uint32_t split_gap_ms;        // between two writes of one connection and direction
    bool hole_up, hole_down;      // nothing moves that way; what is under way waits
    bool refuse;                  // new connects are refused
};

enum fp_command_type {
    FP_COMMAND_MODE,     // only the mode changed
    FP_COMMAND_RESET,    // RST both ends of all connections
    FP_COMMAND_HALFOPEN, // drop one end of all connections, the other is not told
    FP_COMMAND_STATS,
};

struct fp_command {
    enum fp_command_type type;
    bool keep_server; // HALFOPEN: the server's end stays instead of the client's
};

// Parses one line and applies it to *mode where it only changes that. Returns NULL, or why not
// (then nothing was changed).
const char *fp_command_parse(const char *line, struct fp_mode *mode, struct fp_command *command);

// The mode in the words of the commands, `clear` if there is nothing.
void fp_mode_text(const struct fp_mode *mode, char *out, size_t cap);
