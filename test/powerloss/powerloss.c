// Goal: the journal keeps its promise wherever power fails. Method: run one small script on a
// simulated medium again and again, cutting one operation later each time, in every way the medium
// can be cut; mount; compare with a model that knows only what the caller was told; go on. Pairs:
// a second cut in what follows. Random: scripts, cuts and media from a seed.
//
//   powerloss sweep [stride]            every cut of every script (stride 1)
//   powerloss pairs [stride]            all pairs of cuts of the short script
//   powerloss random SECONDS [SEED]     random scripts; a failure prints the seed that repeats it
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct medium {
    const char *name;
    uint32_t prog_bytes;
    uint32_t prog_buf_bytes;
    bool file;
    bool async;
};

static const struct medium media[] = {
    {"nor G=1", 1, 64, false, false},    {"nor G=8", 8, 128, false, true},
    {"nor G=32", 32, 256, false, false}, {"nor G=512", 512, 512, false, true},
    {"file", 1, 512, true, false},       {"file async", 1, 128, true, true},
};
#define MEDIA (sizeof(media) / sizeof(media[0]))

static const char *const cut_names[PTL_SIM_CUTS] = {"dropped", "done",       "half", "rear",
                                                    "garbled", "unreadable", "weak", "killed",
                                                    "lost",    "shuffled",   "torn"};

static bool cut_fits(const struct medium *medium, enum ptl_sim_cut kind)
{
    return (kind >= PTL_SIM_CUTS_NOR) == medium->file;
}

// Everything once, and the ring wraps twice: direct, RAM, spill, releases low and in the middle,
// refusals, overflow, close and a second run.
static void script_all(struct world *w)
{
    world_open(w, PTL_MODE_RAM);
    world_post(w, 3);
    world_deliver_ram(w, 1);
    world_refuse_ram(w);
    world_spill(w);
    world_mode(w, PTL_MODE_DIRECT);
    world_post(w, 6);
    world_sync(w);
    world_release(w, 0, 2);
    world_release(w, 1, 2);
    world_release_write(w);
    world_post(w, 8);
    world_refuse(w, 1);
    world_sync(w);
    world_post(w, 14);
    world_sync(w);
    world_check_live(w);
    world_confirm_gaps(w);
    world_mode(w, PTL_MODE_RAM);
    world_post(w, 4);
    world_sync(w);
    world_spill(w);
    world_close(w);
    world_open(w, PTL_MODE_SYNC);
    for (int i = 0; i < 4; i++) {
        world_post(w, 1);
        world_sync(w);
        world_post(w, 4);
        world_sync(w);
        world_release(w, 0, 1);
        world_release_write(w);
    }
    world_confirm_gaps(w);
    world_confirm_ends(w);
    world_check_live(w);
    world_release_write(w);
    world_close(w);
}

// A full ring that is only overwritten.
static void script_overflow(struct world *w)
{
    world_open(w, PTL_MODE_DIRECT);
    world_post(w, 24);
    world_sync(w);
    world_post(w, 9);
    world_confirm_gaps(w);
    world_post(w, 9);
    world_check_live(w);
}

// As few operations as touch everything.
static void script_short(struct world *w)
{
    world_open(w, PTL_MODE_DIRECT);
    world_post(w, 5);
    world_sync(w);
    world_release(w, 1, 1);
    world_release_write(w);
    world_post(w, 3);
    world_close(w);
}

static void (*const scripts[])(struct world *) = {script_all, script_overflow, script_short};
#define SCRIPTS (sizeof(scripts) / sizeof(scripts[0]))

static struct world_options options_for(const struct medium *medium, uint64_t seed)
{
    return (struct world_options){.sim = {.block_bytes = 2048,
                                          .block_count = 3,
                                          .prog_bytes = medium->prog_bytes,
                                          .file = medium->file,
                                          .seed = seed * 2u + (medium->async ? 1u : 0u)},
                                  .record_bytes = 250,
                                  .prog_buf_bytes = medium->prog_buf_bytes};
}

static struct world world; // large

static bool holds(const char *what, const struct medium *medium, enum ptl_sim_cut kind,
                  uint32_t script, uint32_t cut, uint32_t second)
{
    if (world.broken == NULL) {
        return true;
    }
    printf("BROKEN: %s (%s)\n  %s: %s, cut %s, script %u, operation %u", world.broken, world.detail,
           what, medium->name, cut_names[kind], script, cut);
    printf(second == PTL_SIM_NEVER ? "\n" : ", then %u\n", second);
    return false;
}

// The device comes back and lives on: mount, another run, mount again.
static void live_on(struct world *w, bool new_boot)
{
    world_mount(w, new_boot);
    world_open(w, PTL_MODE_DIRECT);
    world_post(w, 3);
    world_sync(w);
    world_check_live(w);
    if (!w->dead && w->broken == NULL) {
        ptl_sim_flash_cut_now(&w->sim,
                              w->sim.options.file ? PTL_SIM_CUT_LOST : PTL_SIM_CUT_DROPPED);
        ptl_sim_flash_power_on(&w->sim);
        world_mount(w, true);
    }
}

// One run with a cut; with a second one in what follows unless PTL_SIM_NEVER. Returns whether the
// (last) cut came at all.
static bool run_cut(const struct medium *medium, enum ptl_sim_cut kind, uint32_t script,
                    uint32_t cut, uint32_t second)
{
    struct world_options options = options_for(medium, script + cut * 7u);
    world_init(&world, &options);
    ptl_sim_flash_arm(&world.sim, cut, kind);
    world_mount(&world, true);
    scripts[script](&world);
    bool was_cut = ptl_sim_flash_was_cut(&world.sim);
    if (!was_cut) {
        return false;
    }
    ptl_sim_flash_power_on(&world.sim);
    if (second != PTL_SIM_NEVER) {
        ptl_sim_flash_arm(&world.sim, second, kind);
        live_on(&world, kind != PTL_SIM_CUT_KILLED);
        was_cut = ptl_sim_flash_was_cut(&world.sim) && world.sim.off;
        ptl_sim_flash_power_on(&world.sim);
    }
    live_on(&world, kind != PTL_SIM_CUT_KILLED);
    return was_cut;
}

static int sweep(uint32_t stride)
{
    uint64_t cuts = 0;
    for (size_t m = 0; m < MEDIA; m++) {
        for (int k = 0; k < PTL_SIM_CUTS; k++) {
            for (uint32_t s = 0; cut_fits(&media[m], (enum ptl_sim_cut)k) && s < SCRIPTS; s++) {
                bool more = true;
                for (uint32_t cut = 0; more; cut += stride) {
                    more = run_cut(&media[m], (enum ptl_sim_cut)k, s, cut, PTL_SIM_NEVER);
                    bool ok = holds("sweep", &media[m], (enum ptl_sim_cut)k, s, cut, PTL_SIM_NEVER);
                    world_free(&world);
                    if (!ok) {
                        return 1;
                    }
                    cuts += more ? 1 : 0;
                }
            }
        }
    }
    printf("sweep: %llu cuts, every promise held\n", (unsigned long long)cuts);
    return 0;
}

static int pairs(uint32_t stride)
{
    uint64_t cuts = 0;
    const uint32_t script = SCRIPTS - 1;
    for (size_t m = 0; m < MEDIA; m++) {
        for (int k = 0; k < PTL_SIM_CUTS; k++) {
            if (!cut_fits(&media[m], (enum ptl_sim_cut)k)) {
                continue;
            }
            uint32_t seconds = 1;
            for (uint32_t cut = 0; seconds > 0; cut += stride) {
                bool more = true;
                seconds = 0;
                for (uint32_t second = 0; more; second += stride) {
                    more = run_cut(&media[m], (enum ptl_sim_cut)k, script, cut, second);
                    bool ok = holds("pairs", &media[m], (enum ptl_sim_cut)k, script, cut, second);
                    world_free(&world);
                    if (!ok) {
                        return 1;
                    }
                    seconds += more ? 1 : 0;
                }
                cuts += seconds;
            }
        }
    }
    printf("pairs: %llu pairs of cuts, every promise held\n", (unsigned long long)cuts);
    return 0;
}

static void random_act(struct world *w, struct ptl_prng *prng)
{
    uint32_t n = ptl_prng_below(prng, 6);
    switch (ptl_prng_below(prng, 14)) {
    case 0: // up only when nothing lives in RAM alone
        world_spill(w);
        world_mode(w, PTL_MODE_DIRECT);
        break;
    case 1:
    case 2:
    case 3:
        world_post(w, 1 + n);
        break;
    case 4:
    case 5:
        world_sync(w);
        break;
    case 6:
        world_release(w, 0, n);
        break;
    case 7:
        world_release(w, n, 1);
        break;
    case 8:
        world_release_write(w);
        break;
    case 9:
        world_refuse(w, n);
        break;
    case 10:
        world_confirm_gaps(w);
        break;
    case 11:
        world_confirm_ends(w);
        break;
    case 12:
        world_check_live(w);
        break;
    default:
        if (w->j.run.mode == PTL_MODE_RAM) {
            world_refuse_ram(w);
            world_deliver_ram(w, n / 2);
            world_spill(w);
        }
        break;
    }
}

// A life of several runs with a cut in each.
static bool random_life(uint64_t seed)
{
    struct ptl_prng prng;
    ptl_prng_seed(&prng, seed);
    const struct medium *medium = &media[ptl_prng_below(&prng, MEDIA)];
    enum ptl_sim_cut kind = PTL_SIM_CUT_DROPPED;
    struct world_options options = options_for(medium, seed);
    options.sim.block_count = 3 + ptl_prng_below(&prng, 4);
    options.sim.block_bytes = 2048u << ptl_prng_below(&prng, 2);
    options.record_bytes = 8 + ptl_prng_below(&prng, 300);
    world_init(&world, &options);
    world_mount(&world, true);
    for (uint32_t life = 0; life < 12 && world.broken == NULL; life++) {
        do {
            kind = (enum ptl_sim_cut)ptl_prng_below(&prng, PTL_SIM_CUTS);
        } while (!cut_fits(medium, kind));
        ptl_sim_flash_arm(&world.sim, ptl_prng_below(&prng, 120), kind);
        enum ptl_mode mode = (enum ptl_mode)ptl_prng_below(&prng, 3);
        world_open(&world, mode);
        for (uint32_t act = 0; act < 60 && !world.dead && world.broken == NULL; act++) {
            if (world.j.run.mode == PTL_MODE_DIRECT && ptl_prng_below(&prng, 12) == 0) {
                world_mode(&world, PTL_MODE_RAM);
            } else if (world.j.run.mode == PTL_MODE_RAM && ptl_prng_below(&prng, 6) == 0) {
                world_spill(&world);
            }
            random_act(&world, &prng);
        }
        if (ptl_prng_below(&prng, 3) == 0) {
            world_close(&world);
        }
        if (!ptl_sim_flash_was_cut(&world.sim)) {
            ptl_sim_flash_cut_now(&world.sim, kind);
        }
        ptl_sim_flash_power_on(&world.sim);
        if (ptl_prng_below(&prng, 3) == 0) { // and again while it mounts
            ptl_sim_flash_arm(&world.sim, ptl_prng_below(&prng, 8), kind);
        }
        world_mount(&world, kind != PTL_SIM_CUT_KILLED);
        if (world.dead) {
            ptl_sim_flash_power_on(&world.sim);
            world_mount(&world, kind != PTL_SIM_CUT_KILLED);
        }
    }
    bool ok = holds("random", medium, kind, 0, (uint32_t)seed, PTL_SIM_NEVER);
    world_free(&world);
    return ok;
}

static int random_lives(unsigned seconds, uint64_t seed)
{
    time_t end = time(NULL) + (time_t)seconds;
    uint64_t lives = 0;
    do {
        if (!random_life(seed)) {
            printf("repeat with: powerloss random 0 %llu\n", (unsigned long long)seed);
            return 1;
        }
        lives++;
        seed++;
    } while (time(NULL) < end);
    printf("random: %llu lives of 12 runs, every promise held\n", (unsigned long long)lives);
    return 0;
}

int main(int argc, char **argv)
{
    unsigned number = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1;
    if (argc > 1 && strcmp(argv[1], "sweep") == 0) {
        return sweep(number > 0 ? number : 1);
    }
    if (argc > 1 && strcmp(argv[1], "pairs") == 0) {
        return pairs(number > 0 ? number : 1);
    }
    if (argc > 2 && strcmp(argv[1], "random") == 0) {
        return random_lives(number, argc > 3 ? strtoull(argv[3], NULL, 10) : 1);
    }
    fprintf(stderr, "usage: powerloss sweep [STRIDE] | pairs [STRIDE] | random SECONDS [SEED]\n");
    return 2;
}
