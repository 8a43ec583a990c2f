// sim_life.h - what the scenarios of ended agents and full media share.
#pragma once

#include "sim_test.h"

#define RATE  20000u // 20 events a second
#define BYTES 120u

static inline struct ptl_sim_world *world_at_rate(struct level level)
{
    struct ptl_sim_config cfg = config_at(level);
    struct ptl_sim_world *w = world_new(&cfg);
    ptl_sim_world_rate(w, RATE, BYTES);
    ptl_sim_world_run(w, 5000);
    return w;
}

static inline void all_stored_and_free(struct ptl_sim_world *w, uint64_t at_least)
{
    assert_all_stored(w, world_finish(w), at_least);
    world_free(w);
}

static inline void restart(struct ptl_sim_world *w)
{
    ptl_sim_world_start(w);
    ptl_sim_world_run_until(w, ptl_sim_is_joined, MINUTE_MS);
    assert_no_failure(w);
}

static inline const struct ptl_sim_run *run_number(const struct ptl_sim_world *w, uint32_t index)
{
    assert_true(index < w->ledger.count);
    return &w->ledger.runs[index];
}

static inline void link_down_and_spilled(struct ptl_sim_world *w)
{
    ptl_sim_world_blackhole(w, true);
    assert_true(ptl_sim_world_run_until(w, ptl_sim_is_open, MINUTE_MS));
    ptl_sim_world_rate(w, 0, BYTES);
    ptl_sim_world_run(w, 3000);
    assert_no_failure(w);
    assert_true(ptl_sim_is_spilled(w));
}

#define AT(name, want)                                                                             \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        at_levels(name, want);                                                                     \
    }
