// sim_test.h - what scenario tests share: a world at each delivery and durability level, its end.
#pragma once

#include <inttypes.h>

#include "ptl_test.h"

#include "ptl_sim_world.h"

#define SEED      20261126u
#define MINUTE_MS 60000u

struct level {
    enum ptl_delivery delivery;
    enum ptl_durability durability;
};

static inline const char *level_name(struct level level)
{
    static const char *const names[2][3] = {{"accepted/ram", "accepted/spill", "accepted/sync"},
                                            {"stored/ram", "stored/spill", "stored/sync"}};
    return names[level.delivery][level.durability];
}

// Runs `scenario` at every level that `want` takes (NULL: all).
typedef void scenario_fn(struct level level);
static inline void at_levels(scenario_fn *scenario, bool (*want)(struct level level))
{
    for (int delivery = PTL_ACCEPTED; delivery <= PTL_STORED; delivery++) {
        for (int durability = PTL_DURABLE_RAM; durability <= PTL_DURABLE_SYNC; durability++) {
            struct level level = {(enum ptl_delivery)delivery, (enum ptl_durability)durability};
            if (want == NULL || want(level)) {
                scenario(level);
            }
        }
    }
}
static inline bool with_medium(struct level level)
{
    return level.durability != PTL_DURABLE_RAM;
}
static inline bool at_stored(struct level level)
{
    return level.delivery == PTL_STORED;
}
static inline bool at_stored_with_medium(struct level level)
{
    return at_stored(level) && with_medium(level);
}

static inline struct ptl_sim_config config_at(struct level level)
{
    return ptl_sim_config_for(level.delivery, level.durability, SEED);
}

// A world whose agent is joined. SIM_TRACE=1 in the environment shows every step.
static inline struct ptl_sim_world *world_new(const struct ptl_sim_config *cfg)
{
    struct ptl_sim_world *w = malloc(sizeof(*w));
    assert_non_null(w);
    ptl_sim_world_init(w, cfg);
    if (getenv("SIM_TRACE") != NULL) {
        w->trace = stderr;
    }
    ptl_sim_world_start(w);
    if (!ptl_sim_world_run_until(w, ptl_sim_is_joined, MINUTE_MS)) {
        fail_msg("does not join: %s", w->failure);
    }
    return w;
}

static inline void assert_no_failure(const struct ptl_sim_world *w)
{
    if (w->failure[0] != '\0') {
        struct level level = {w->cfg.delivery, w->cfg.durability};
        fail_msg("%s: %s", level_name(level), w->failure);
    }
}

// Heals, waits until everything is delivered, judges.
static inline struct ptl_sim_verdict world_finish(struct ptl_sim_world *w)
{
    ptl_sim_world_heal(w);
    uint64_t bound_ms = ptl_sim_drain_bound_ms(w);
    bool drained = ptl_sim_world_run_until(w, ptl_sim_is_drained, bound_ms);
    assert_no_failure(w);
    if (!drained) {
        struct level level = {w->cfg.delivery, w->cfg.durability};
        fail_msg("%s: not drained %" PRIu64 " ms after the last fault: held %" PRIu64
                 " (queue %" PRIu64 ", journal %" PRIu64 "), earlier %" PRIu64
                 ", gaps %u, ends %u, breaker %d, cause %s",
                 level_name(level), bound_ms, w->device.status.held, w->device.status.held_queue,
                 w->device.status.held_journal, w->device.status.held_earlier,
                 w->device.status.gap_count, w->device.status.end_count,
                 (int)w->device.status.breaker, w->device.status.cause);
    }
    ptl_sim_world_run(w, 10000); // what is still under way
    struct ptl_sim_verdict v = ptl_sim_world_judge(w);
    assert_no_failure(w);
    return v;
}

static inline void world_free(struct ptl_sim_world *w)
{
    ptl_sim_world_clear(w);
    free(w);
}

// Everything that was accepted is stored.
static inline void assert_all_stored(const struct ptl_sim_world *w, struct ptl_sim_verdict v,
                                     uint64_t at_least)
{
    if (v.told < at_least || v.stored != v.told) {
        struct level level = {w->cfg.delivery, w->cfg.durability};
        fail_msg("%s: accepted %" PRIu64 " (at least %" PRIu64 "), stored %" PRIu64
                 ", in gaps %" PRIu64 ", torn %" PRIu64 ", lost by the server %" PRIu64,
                 level_name(level), v.told, at_least, v.stored, v.in_gaps, v.torn, v.server_lost);
    }
}
