// ptl_metrics.h - figures of the host from /proc: cpu, memory, load. One JSON object per group and
// sample, ready to be the `data` of an event.
//
// A figure that cannot be read or makes no sense is left out alone, and said once; shares are
// always between 0 and 100. Counters that fall (CPUs switched off, suspend, NO_HZ kernels) count as
// unchanged. Guest time is part of user time and is not added again.
// Threads   one owner. Memory: the struct alone. Cost: one open, read and close per file.
#pragma once

#include "ptl_base.h"
#include "ptl_bytes.h"

#define PTL_METRICS_CPUS_MAX  256 // more are counted in the total only
#define PTL_METRICS_DATA_MAX  8192
#define PTL_METRICS_SAID_BITS 64

enum ptl_metrics_group {
    PTL_METRICS_CPU,
    PTL_METRICS_MEMORY,
    PTL_METRICS_LOAD,
    PTL_METRICS_GROUPS
};

struct ptl_metrics_config {
    const char *root; // in front of /proc, "" but in tests
    void *ctx;
    // A figure is missing; called once for each. `figure` and `why` are static.
    void (*missing)(void *ctx, const char *figure, const char *why);
};

struct ptl_metrics {
    struct ptl_metrics_config cfg;
    uint64_t total[8]; // user nice system idle iowait irq softirq steal, of the last sample
    uint64_t guest, guest_nice;
    bool total_known;
    struct {
        uint64_t busy, all;
        uint32_t sample; // the sample it was last seen in
    } cpus[PTL_METRICS_CPUS_MAX];
    uint32_t sample;
    uint64_t said; // figures that were missed already
};

void ptl_metrics_init(struct ptl_metrics *m, const struct ptl_metrics_config *cfg);

// "host.cpu", "host.memory", "host.load".
const char *ptl_metrics_event_type(enum ptl_metrics_group group);

// Writes the group's object. False: there is nothing to send (no figure readable, or the first
// sample of cpu, which has nothing to compare with). Rates are since the previous call.
bool ptl_metrics_sample(struct ptl_metrics *m, enum ptl_metrics_group group, struct ptl_writer *w);
