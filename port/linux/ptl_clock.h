// ptl_clock.h - the time of a Linux host as the core wants it (struct ptl_now), the OS boot's id
// and random bits.
//
// mono_ms   CLOCK_BOOTTIME: goes on through suspend, never set by anyone.
// unix_ms   CLOCK_REALTIME while the kernel says that it is synchronised (adjtimex), with the
//           kernel's own bound of the error; else counted from the Date header of a verified
//           server; else unknown. A clock that merely looks plausible may be wrong. A later Date
//           that contradicts an earlier one needs a second answer that agrees with it.
// Threads   one owner.
#pragma once

#include "ptl_base.h"

struct ptl_clock {
    uint64_t mono_last_ms;
    uint64_t kernel_asked_ms; // adjtimex is asked once a second
    uint32_t kernel_err_ms;   // PTL_TIME_UNKNOWN: not synchronised
    bool asked;
    bool server_known, server_doubted;
    int64_t server_offset_ms, doubt_offset_ms; // unix minus mono
    uint32_t server_err_ms, doubt_err_ms;
    uint64_t server_at_ms;
};

enum ptl_clock_source { PTL_CLOCK_NONE, PTL_CLOCK_KERNEL, PTL_CLOCK_SERVER };

void ptl_clock_init(struct ptl_clock *clock);
struct ptl_now ptl_clock_now(struct ptl_clock *clock);
// A verified server says that it is `unix_ms`, correct to err_ms, at this moment.
void ptl_clock_server_date(struct ptl_clock *clock, int64_t unix_ms, uint32_t err_ms,
                           uint64_t mono_ms);
enum ptl_clock_source ptl_clock_source(const struct ptl_clock *clock);

// Id of this OS boot, "" if the kernel does not say.
void ptl_boot_id(char out[PTL_BOOT_BYTES_MAX + 1]);

// PTL_E_IO: the kernel gave none; do without an identity rather than guess one.
PTL_MUST_USE enum ptl_status ptl_entropy(void *out, size_t len);
