// Goal: no mixture of faults breaks a promise. Method: worlds of random shape under random faults
// for a while of virtual time, then healed, drained and judged; everything from one seed. A failure
// prints the one line that repeats it.
//
//   sim_storm [--seeds N] [--from S] [--minutes M] [--trace]
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ptl_sim_world.h"

struct storm {
    uint64_t from, seeds, minutes;
    bool trace;
};

struct totals {
    uint64_t told, stored, in_gaps, torn, server_lost, ram_lost, duplicates, steps, starts,
        virtual_ms;
};

static uint64_t seed_now;
static uint64_t minutes_now;

static void print_repro(void)
{
    fprintf(stderr, "repro: sim_storm --seeds 1 --from %" PRIu64 " --minutes %" PRIu64 " --trace\n",
            seed_now, minutes_now);
}

_Noreturn void ptl_assert_fail(const char *file, int line)
{
    fprintf(stderr, "seed %" PRIu64 ": assertion failed at %s:%d\n", seed_now, file, line);
    print_repro();
    abort();
}

static uint32_t below(struct ptl_prng *prng, uint32_t bound)
{
    return ptl_prng_below(prng, bound);
}

static uint32_t one_of(struct ptl_prng *prng, const uint32_t *values, uint32_t count)
{
    return values[below(prng, count)];
}
#define ONE_OF(prng, ...)                                                                          \
    one_of((prng), (const uint32_t[]){__VA_ARGS__},                                                \
           sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

static void medium_shape(struct ptl_sim_config *cfg, struct ptl_prng *prng)
{
    if (cfg->durability == PTL_DURABLE_RAM) {
        return;
    }
    cfg->medium = below(prng, 3) == 0 ? PTL_SIM_NOR : PTL_SIM_FILE;
    cfg->prog_bytes = ONE_OF(prng, 1, 8, 32);
    cfg->block_bytes = ONE_OF(prng, 2048, 4096, 16384);
    cfg->block_count = ONE_OF(prng, 3, 5, 8, 24, 64);
    cfg->media_ms_max = ONE_OF(prng, 0, 5, 50, 800);
}

static struct ptl_sim_config shape(uint64_t seed, struct ptl_prng *prng)
{
    enum ptl_delivery delivery = below(prng, 2) == 0 ? PTL_ACCEPTED : PTL_STORED;
    struct ptl_sim_config cfg =
        ptl_sim_config_for(delivery, (enum ptl_durability)below(prng, 3), seed);
    medium_shape(&cfg, prng);
    cfg.queue_bytes = ONE_OF(prng, 2048, 8192, 32768, 131072);
    cfg.flight_count = ONE_OF(prng, 9, 12, 32);
    cfg.status_ms = ONE_OF(prng, 0, 0, 7000);
    cfg.batch.max_delay_ms = ONE_OF(prng, 50, 200, 1000);
    cfg.batch.messages_per_1000_s = ONE_OF(prng, 0, 0, 1000, 5000);
    cfg.batch.bytes_max = ONE_OF(prng, 1100, 2048, 8192);
    cfg.batch.events_max = ONE_OF(prng, 1, 7, 50);
    cfg.batch.window_max = (uint8_t)ONE_OF(prng, 1, 2, 8);
    cfg.batch.eager = below(prng, 2) == 0;
    cfg.batch.strict_order = below(prng, 4) == 0;
    cfg.breaker.backoff_cap_ms = ONE_OF(prng, 2000, 20000);
    cfg.breaker.reset_ms = ONE_OF(prng, 1000, 30000);
    cfg.link.latency_ms = ONE_OF(prng, 1, 30, 400);
    cfg.link.jitter_ms = ONE_OF(prng, 0, 10, 300);
    cfg.link.bytes_per_s = ONE_OF(prng, 0, 0, 20000);
    cfg.link.buffer_bytes = ONE_OF(prng, 1500, 65536);
    cfg.link.stall_permille = ONE_OF(prng, 0, 5, 50);
    cfg.server.forward_ms = ONE_OF(prng, 1, 20, 300);
    cfg.server.join_ms = ONE_OF(prng, 5, 500);
    cfg.receiver.commit_ms = ONE_OF(prng, 1, 50, 700);
    return cfg;
}

static void server_fault(struct ptl_sim_world *w, struct ptl_prng *prng)
{
    static const char *const reasons[] = {
        "Unauthorized: You do not have permissions to read from this Channel topic: x",
        "ClientJoinRateLimitReached: Too many joins per second", "DatabaseLackOfConnections: x"};
    struct ptl_sim_server_faults *f = &w->server.faults;
    switch (below(prng, 10)) {
    case 0:
        f->http_status = ONE_OF(prng, 401, 429, 500);
        break;
    case 1:
        f->join_reason = reasons[below(prng, 3)];
        break;
    case 2:
        f->mute = true;
        break;
    case 3:
        f->deny = true;
        break;
    case 4:
        f->deaf = true;
        break;
    case 5:
        f->starve = true;
        break;
    case 6:
        f->kill_after_ack = true;
        f->kill_down_ms = below(prng, 10000);
        break;
    case 7:
        f->ack_drop_permille = ONE_OF(prng, 50, 500);
        break;
    case 8:
        f->ack_delay_ms_max = ONE_OF(prng, 1000, 8000);
        break;
    default:
        f->junk_permille = 300;
        break;
    }
}

static void receiver_fault(struct ptl_sim_world *w, struct ptl_prng *prng)
{
    switch (below(prng, 4)) {
    case 0:
        ptl_sim_world_receiver_kill(w, below(prng, 15000));
        break;
    case 1:
        w->receiver.faults.receipt_drop_permille = ONE_OF(prng, 200, 800, 1000);
        break;
    case 2:
        w->receiver.faults.receipt_delay_ms_max = ONE_OF(prng, 3000, 15000);
        break;
    default:
        w->receiver.faults.foreign = true;
        break;
    }
}

static void medium_fault(struct ptl_sim_world *w, struct ptl_prng *prng)
{
    if (w->cfg.medium == PTL_SIM_NO_MEDIUM) {
        return;
    }
    ptl_sim_trace(w, "the medium fails");
    if (below(prng, 2) == 0) {
        w->device.flash.fail_sync = below(prng, 5);
    } else {
        w->device.flash.dead = true;
    }
}

static void death(struct ptl_sim_world *w, struct ptl_prng *prng)
{
    switch (below(prng, 4)) {
    case 0:
        ptl_sim_world_kill(w);
        break;
    case 1:
        ptl_sim_world_power_cut(w);
        break;
    case 2: {
        bool file = w->cfg.medium == PTL_SIM_FILE;
        int first = file ? PTL_SIM_CUTS_NOR : 0;
        int count = (file ? PTL_SIM_CUTS : PTL_SIM_CUTS_NOR) - first;
        ptl_sim_world_cut_at(w, below(prng, 200),
                             (enum ptl_sim_cut)(first + (int)below(prng, (uint32_t)count)));
        break;
    }
    default:
        ptl_sim_world_drain(w, ONE_OF(prng, 0, 1000, 10000));
        break;
    }
}

static void some_fault(struct ptl_sim_world *w, struct ptl_prng *prng)
{
    switch (below(prng, 13)) {
    case 0:
    case 1:
        ptl_sim_world_blackhole(w, true);
        break;
    case 2:
        ptl_sim_world_reset(w);
        break;
    case 3:
        ptl_sim_world_half_open(w);
        break;
    case 4:
        ptl_sim_world_server_kill(w, below(prng, 20000));
        break;
    case 5:
        ptl_sim_server_channel_close(&w->server, below(prng, 2) == 0, NULL, below(prng, 2) == 0,
                                     w->now_ms);
        break;
    case 6:
        ptl_sim_server_close(&w->server, ONE_OF(prng, 1000, 1001, 1012, 1011), w->now_ms);
        break;
    case 7:
        server_fault(w, prng);
        break;
    case 8:
        receiver_fault(w, prng);
        break;
    case 9:
    case 10:
        death(w, prng);
        break;
    case 11:
        if (below(prng, 6) == 0) {
            medium_fault(w, prng);
        }
        break;
    default:
        ptl_sim_world_clock_jump(w, (int64_t)below(prng, 2000000) - 1000000,
                                 ONE_OF(prng, 50, PTL_TIME_UNKNOWN));
        break;
    }
}

static void some_calm(struct ptl_sim_world *w, struct ptl_prng *prng)
{
    if (below(prng, 2) == 0) {
        ptl_sim_world_blackhole(w, false);
    }
    if (below(prng, 3) == 0) {
        w->server.faults = (struct ptl_sim_server_faults){0};
    }
    if (below(prng, 3) == 0) {
        w->receiver.faults = (struct ptl_sim_receiver_faults){0};
    }
}

static void weather(struct ptl_sim_world *w, struct ptl_prng *prng, uint64_t until_ms)
{
    while (w->now_ms < until_ms && w->failure[0] == '\0') {
        if (!w->device.running && below(prng, 2) == 0) {
            w->device.flash.dead = false; // a medium that cannot be mounted is the operator's
            w->device.flash.fail_sync = PTL_SIM_NEVER;
            ptl_sim_world_start(w);
        }
        switch (below(prng, 5)) {
        case 0:
            ptl_sim_world_rate(w, ONE_OF(prng, 0, 300, 5000, 40000), ONE_OF(prng, 20, 100, 400));
            break;
        case 1:
            ptl_sim_world_post(w, below(prng, 40), ONE_OF(prng, 20, 100, 400));
            break;
        case 2:
            some_calm(w, prng);
            break;
        default:
            some_fault(w, prng);
            break;
        }
        ptl_sim_world_run(w, below(prng, ONE_OF(prng, 100, 2000, 20000)) + 1);
    }
}

static bool one_storm(const struct storm *s, uint64_t seed, struct totals *t)
{
    struct ptl_prng prng;
    ptl_prng_seed(&prng, seed);
    struct ptl_sim_config cfg = shape(seed, &prng);
    struct ptl_sim_world *w = malloc(sizeof(*w));
    if (w == NULL) {
        return false;
    }
    ptl_sim_world_init(w, &cfg);
    w->trace = s->trace ? stdout : NULL;
    w->app.critical_permille = ONE_OF(&prng, 0, 20);
    ptl_sim_world_start(w);
    weather(w, &prng, s->minutes * 60000);
    ptl_sim_world_heal(w);
    uint64_t bound_ms = ptl_sim_drain_bound_ms(w);
    bool drained = ptl_sim_world_run_until(w, ptl_sim_is_drained, bound_ms);
    if (!drained) {
        const struct ptl_agent_status *status = &w->device.status;
        ptl_sim_fail(w,
                     "not drained within %" PRIu64 " ms: queue %" PRIu64 ", journal %" PRIu64
                     ", earlier %" PRIu64 ", gaps %u, ends %u, waiting %" PRIu32,
                     bound_ms, status->held_queue, status->held_journal, status->held_earlier,
                     status->gap_count, status->end_count, w->app.waiting_count);
    }
    ptl_sim_world_run(w, 20000); // what is still under way
    struct ptl_sim_verdict v = ptl_sim_world_judge(w);
    t->told += v.told;
    t->stored += v.stored;
    t->in_gaps += v.in_gaps;
    t->torn += v.torn;
    t->server_lost += v.server_lost;
    t->ram_lost += v.ram_lost;
    t->duplicates += v.duplicates;
    t->steps += w->steps;
    t->starts += w->device.starts;
    t->virtual_ms += w->now_ms;
    bool ok = w->failure[0] == '\0';
    if (!ok) {
        static const char *const levels[] = {"ram", "spill", "sync"};
        fprintf(stderr, "seed %" PRIu64 " (%s/%s): %s\n", seed,
                cfg.delivery == PTL_STORED ? "stored" : "accepted", levels[cfg.durability],
                w->failure);
        print_repro();
    }
    ptl_sim_world_clear(w);
    free(w);
    return ok;
}

static bool number_of(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    *out = value;
    return errno == 0 && end != text && *end == '\0';
}

static bool options_read(struct storm *s, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        uint64_t *number = NULL;
        if (strcmp(argv[i], "--trace") == 0) {
            s->trace = true;
            continue;
        }
        if (strcmp(argv[i], "--seeds") == 0) {
            number = &s->seeds;
        } else if (strcmp(argv[i], "--from") == 0) {
            number = &s->from;
        } else if (strcmp(argv[i], "--minutes") == 0) {
            number = &s->minutes;
        }
        if (number == NULL || i + 1 == argc || !number_of(argv[++i], number)) {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    struct storm s = {.from = 1, .seeds = 100, .minutes = 5};
    struct totals t = {0};
    uint64_t failed = 0;
    if (!options_read(&s, argc, argv)) {
        fprintf(stderr, "usage: sim_storm [--seeds N] [--from S] [--minutes M] [--trace]\n");
        return 2;
    }
    minutes_now = s.minutes;
    for (seed_now = s.from; seed_now < s.from + s.seeds; seed_now++) {
        failed += one_storm(&s, seed_now, &t) ? 0 : 1;
    }
    printf("%" PRIu64 " seeds, %" PRIu64 " failed; %" PRIu64 " virtual minutes, %" PRIu64
           " steps, %" PRIu64 " starts; accepted %" PRIu64 " = stored %" PRIu64 " + gaps %" PRIu64
           " + torn %" PRIu64 " + lost by server %" PRIu64 " + lost with RAM %" PRIu64
           "; duplicates %" PRIu64 "\n",
           s.seeds, failed, t.virtual_ms / 60000, t.steps, t.starts, t.told, t.stored, t.in_gaps,
           t.torn, t.server_lost, t.ram_lost, t.duplicates);
    return failed == 0 ? 0 : 1;
}
