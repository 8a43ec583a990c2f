// The medium of the simulated device: the flash twin, with operations off the loop that take their
// time, and what a death of the process or the power leaves of it.
#include "ptl_sim_world.h"

static struct ptl_sim_flash *flash(struct ptl_sim_world *w)
{
    return &w->device.flash;
}

void ptl_sim_media_init(struct ptl_sim_world *w)
{
    if (w->cfg.medium == PTL_SIM_NO_MEDIUM) {
        return;
    }
    const struct ptl_sim_flash_options options = {
        .block_bytes = w->cfg.block_bytes,
        .block_count = w->cfg.block_count,
        .prog_bytes = w->cfg.prog_bytes,
        .file = w->cfg.medium == PTL_SIM_FILE,
        .async = w->cfg.media_ms_max > 0,
        .seed = w->cfg.seed,
    };
    ptl_sim_flash_init(flash(w), &options);
}

void ptl_sim_media_clear(struct ptl_sim_world *w)
{
    if (w->cfg.medium != PTL_SIM_NO_MEDIUM) {
        ptl_sim_flash_free(flash(w));
    }
}

// Mounting waits for the medium: nothing is pending.
void ptl_sim_media_block(struct ptl_sim_world *w, bool on)
{
    flash(w)->options.async = !on && w->cfg.media_ms_max > 0;
}

bool ptl_sim_media_was_cut(const struct ptl_sim_world *w)
{
    return w->cfg.medium != PTL_SIM_NO_MEDIUM && ptl_sim_flash_was_cut(&w->device.flash);
}

// An operation has begun: it takes its time.
void ptl_sim_media_watch(struct ptl_sim_world *w)
{
    struct ptl_sim_device *d = &w->device;
    if (w->cfg.medium == PTL_SIM_NO_MEDIUM || !ptl_sim_flash_is_pending(flash(w))) {
        d->media_at_ms = PTL_NEVER;
    } else if (d->media_at_ms == PTL_NEVER) {
        d->media_at_ms = w->now_ms + ptl_prng_below(&w->prng, w->cfg.media_ms_max + 1);
    }
}

// The kernel goes on with what the process had asked for, or never got it.
static void finish_pending(struct ptl_sim_world *w)
{
    if (ptl_sim_flash_is_pending(flash(w)) && ptl_prng_below(&w->prng, 2) == 0) {
        (void)ptl_sim_flash_complete(flash(w));
    }
}

static void power_cycle(struct ptl_sim_world *w, enum ptl_sim_cut kind)
{
    if (!ptl_sim_flash_was_cut(flash(w))) {
        finish_pending(w);
        ptl_sim_flash_cut_now(flash(w), kind);
    }
    ptl_sim_flash_arm(flash(w), PTL_SIM_NEVER, kind);
    ptl_sim_flash_power_on(flash(w));
    w->device.media_at_ms = PTL_NEVER;
}

void ptl_sim_media_process_died(struct ptl_sim_world *w)
{
    if (w->cfg.medium != PTL_SIM_NO_MEDIUM) {
        power_cycle(w, PTL_SIM_CUT_KILLED);
    }
}

void ptl_sim_media_power_cut(struct ptl_sim_world *w)
{
    if (w->cfg.medium == PTL_SIM_NO_MEDIUM) {
        return;
    }
    enum ptl_sim_cut kind = PTL_SIM_CUT_DONE; // NOR, between operations
    if (w->cfg.medium == PTL_SIM_FILE) {
        kind = (enum ptl_sim_cut)(PTL_SIM_CUT_LOST + (int)ptl_prng_below(&w->prng, 3));
    }
    power_cycle(w, kind);
}
