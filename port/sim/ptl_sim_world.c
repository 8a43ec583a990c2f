#include "ptl_sim_world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_AT_ONE_INSTANT 20000u

struct ptl_sim_config ptl_sim_config_for(enum ptl_delivery delivery, enum ptl_durability durability,
                                         uint64_t seed)
{
    return (struct ptl_sim_config){
        .seed = seed,
        .delivery = delivery,
        .durability = durability,
        .medium = durability == PTL_DURABLE_RAM ? PTL_SIM_NO_MEDIUM : PTL_SIM_FILE,
        .block_bytes = 4096,
        .block_count = 64,
        .prog_bytes = 1,
        .media_ms_max = 20,
        .queue_bytes = 16384,
        .event_bytes_max = 512,
        .flight_count = 32,
        .connect_ms = 10000,
        .status_ms = 0,
        .batch = {.max_delay_ms = 200,
                  .messages_per_1000_s = 0,
                  .burst = 10,
                  .bytes_max = 2048,
                  .events_max = 20,
                  .window_max = 4},
        .breaker = {.backoff_base_ms = 1000,
                    .backoff_cap_ms = 20000,
                    .slow_ms = 60000,
                    .reset_ms = 30000,
                    .fleet_size = 1,
                    .joins_per_s = 100,
                    .ack_timeouts_max = 3},
        .link = {.latency_ms = 50, .jitter_ms = 5, .buffer_bytes = 65536, .stall_ms_max = 2000},
        .server = {.join_ms = 20,
                   .reply_ms = 2,
                   .forward_ms = 3,
                   .refuse_ms = 5000,
                   .handshake_ms = 2000,
                   .idle_ms = 66000},
        .receiver = {.device = "gw-17",
                     .source = "main",
                     .receipts = delivery == PTL_STORED,
                     .stored = delivery == PTL_STORED,
                     .commit_ms = 5,
                     .coalesce_ms = 1000},
    };
}

void ptl_sim_world_init(struct ptl_sim_world *w, const struct ptl_sim_config *cfg)
{
    memset(w, 0, sizeof(*w));
    w->cfg = *cfg;
    ptl_prng_seed(&w->prng, cfg->seed);
    ptl_sim_server_init(&w->server, &cfg->server, &w->prng, &w->ledger);
    ptl_sim_receiver_init(&w->receiver, &cfg->receiver, &w->prng, &w->ledger);
    ptl_sim_device_init(w);
}

void ptl_sim_world_clear(struct ptl_sim_world *w)
{
    ptl_sim_device_clear(w);
    ptl_sim_server_clear(&w->server);
    ptl_sim_receiver_clear(&w->receiver);
    for (uint32_t i = 0; i < PTL_SIM_SESSIONS_MAX; i++) {
        ptl_sim_link_clear(&w->connections[i].link);
    }
    ptl_sim_ledger_clear(&w->ledger);
}

void ptl_sim_fail(struct ptl_sim_world *w, const char *format, ...)
{
    if (w->failure[0] != '\0') {
        return;
    }
    int len = snprintf(w->failure, sizeof(w->failure), "at %" PRIu64 " ms: ", w->now_ms);
    va_list args;
    va_start(args, format);
    vsnprintf(w->failure + len, sizeof(w->failure) - (size_t)len, format, args);
    va_end(args);
    ptl_sim_trace(w, "FAILURE %s", w->failure);
}

void ptl_sim_trace(struct ptl_sim_world *w, const char *format, ...)
{
    if (w->trace == NULL) {
        return;
    }
    fprintf(w->trace, "%10" PRIu64 " ", w->now_ms);
    va_list args;
    va_start(args, format);
    vfprintf(w->trace, format, args);
    va_end(args);
    fputc('\n', w->trace);
}

// -- Network --------------------------------------------------------------------------------------

static bool is_over(const struct ptl_sim_world *w, uint32_t index)
{
    const struct ptl_sim_link *link = &w->connections[index].link;
    return link->pipe[PTL_SIM_DEVICE].head == NULL && link->pipe[PTL_SIM_SERVER].head == NULL &&
           !w->server.sessions[index].open;
}

// A slot that neither side uses any more; else one whose peer will never notice.
static uint32_t slot_find(const struct ptl_sim_world *w)
{
    uint32_t victim = 0;
    for (uint32_t i = 0; i < PTL_SIM_SESSIONS_MAX; i++) {
        if (!w->connections[i].used || is_over(w, i)) {
            return i;
        }
        if (w->connections[i].link.half_open) {
            victim = i;
        }
    }
    return victim;
}

int32_t ptl_sim_world_dial(struct ptl_sim_world *w)
{
    uint32_t index = slot_find(w);
    struct ptl_sim_link *link = &w->connections[index].link;
    if (w->connections[index].used) {
        struct ptl_sim_message end = {.kind = PTL_SIM_RESET};
        ptl_sim_server_recv(&w->server, index, link, &end, w->now_ms);
        ptl_sim_link_clear(link);
    }
    w->connections[index].used = true;
    ptl_sim_link_open(link, &w->cfg.link, &w->prng);
    if (w->blackhole) {
        ptl_sim_link_blackhole(link, w->now_ms);
    }
    ptl_sim_link_send(link, PTL_SIM_DEVICE, ptl_sim_message_new(PTL_SIM_DIAL, NULL, 0), w->now_ms);
    return (int32_t)index;
}

void ptl_sim_world_blackhole(struct ptl_sim_world *w, bool on)
{
    ptl_sim_trace(w, "blackhole %s", on ? "on" : "off");
    w->blackhole = on;
    for (uint32_t i = 0; i < PTL_SIM_SESSIONS_MAX; i++) {
        if (w->connections[i].used && on) {
            ptl_sim_link_blackhole(&w->connections[i].link, w->now_ms);
        } else if (w->connections[i].used) {
            ptl_sim_link_heal(&w->connections[i].link, w->now_ms);
        }
    }
}

void ptl_sim_world_reset(struct ptl_sim_world *w)
{
    ptl_sim_trace(w, "reset");
    for (uint32_t i = 0; i < PTL_SIM_SESSIONS_MAX; i++) {
        if (w->connections[i].used && !is_over(w, i)) {
            ptl_sim_link_reset(&w->connections[i].link, w->now_ms);
        }
    }
}

void ptl_sim_world_half_open(struct ptl_sim_world *w)
{
    ptl_sim_trace(w, "half-open");
    for (uint32_t i = 0; i < PTL_SIM_SESSIONS_MAX; i++) {
        if (w->connections[i].used && !is_over(w, i)) {
            ptl_sim_link_half_open(&w->connections[i].link);
        }
    }
}

void ptl_sim_world_server_kill(struct ptl_sim_world *w, uint32_t down_ms)
{
    ptl_sim_trace(w, "server killed for %" PRIu32 " ms", down_ms);
    ptl_sim_server_kill(&w->server, down_ms, w->now_ms);
}

void ptl_sim_world_receiver_kill(struct ptl_sim_world *w, uint32_t down_ms)
{
    ptl_sim_trace(w, "receiver killed for %" PRIu32 " ms", down_ms);
    for (const struct ptl_sim_message *m = w->receiver.in_head; m != NULL; m = m->next) {
        ptl_sim_server_undelivered(&w->server, m);
    }
    ptl_sim_receiver_kill(&w->receiver, down_ms, w->now_ms);
}

void ptl_sim_world_clock_jump(struct ptl_sim_world *w, int64_t by_ms, uint32_t err_ms)
{
    ptl_sim_trace(w, "clock jumps by %" PRId64 " ms", by_ms);
    w->device.wall_ms += by_ms;
    w->device.wall_err_ms = err_ms;
}

void ptl_sim_world_heal(struct ptl_sim_world *w)
{
    ptl_sim_trace(w, "heal");
    ptl_sim_world_blackhole(w, false);
    w->server.faults = (struct ptl_sim_server_faults){0};
    w->receiver.faults = (struct ptl_sim_receiver_faults){0};
    w->server.up_at_ms = w->server.up_at_ms < w->now_ms ? w->server.up_at_ms : w->now_ms;
    w->receiver.up_at_ms = w->receiver.up_at_ms < w->now_ms ? w->receiver.up_at_ms : w->now_ms;
    w->cfg.link.stall_permille = 0;
    for (uint32_t i = 0; i < PTL_SIM_SESSIONS_MAX; i++) {
        w->connections[i].link.cfg.stall_permille = 0;
    }
    ptl_sim_world_rate(w, 0, w->app.data_bytes_max);
    if (w->cfg.medium != PTL_SIM_NO_MEDIUM) {
        ptl_sim_flash_arm(&w->device.flash, PTL_SIM_NEVER, PTL_SIM_CUT_DONE);
        w->device.flash.fail_sync = PTL_SIM_NEVER;
        w->device.flash.dead = false;
    }
    if (w->device.status.media_failed) {
        ptl_sim_world_kill(w); // the medium comes back with the next start
    }
    if (w->device.running && w->device.status.draining) {
        ptl_sim_world_run_until(w, ptl_sim_is_stopped, 60000);
    }
    if (!w->device.running) {
        ptl_sim_world_start(w);
    }
}

// -- Time -----------------------------------------------------------------------------------------

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t next_due_ms(const struct ptl_sim_world *w)
{
    uint64_t due_ms = ptl_sim_device_due(w);
    const struct ptl_sim_device *d = &w->device;
    if (d->running && d->blocked &&
        ptl_sim_link_writable(&w->connections[d->connection].link, PTL_SIM_DEVICE)) {
        due_ms = w->now_ms;
    }
    due_ms = min_u64(due_ms, ptl_sim_server_due(&w->server));
    due_ms = min_u64(due_ms, ptl_sim_receiver_due(&w->receiver));
    for (uint32_t i = 0; i < PTL_SIM_SESSIONS_MAX; i++) {
        if (w->connections[i].used) {
            const struct ptl_sim_link *link = &w->connections[i].link;
            due_ms = min_u64(due_ms, ptl_sim_link_due(link, PTL_SIM_DEVICE));
            due_ms = min_u64(due_ms, ptl_sim_link_due(link, PTL_SIM_SERVER));
        }
    }
    return due_ms;
}

static void far_side_run(struct ptl_sim_world *w)
{
    struct ptl_sim_message *message;
    for (uint32_t i = 0; i < PTL_SIM_SESSIONS_MAX; i++) {
        struct ptl_sim_link *link = &w->connections[i].link;
        while (w->connections[i].used &&
               (message = ptl_sim_link_take(link, PTL_SIM_SERVER, w->now_ms)) != NULL) {
            ptl_sim_server_recv(&w->server, i, link, message, w->now_ms);
            free(message);
        }
    }
    ptl_sim_server_run(&w->server, w->now_ms);
    while ((message = ptl_sim_server_take(&w->server, w->now_ms)) != NULL) {
        if (ptl_sim_receiver_is_up(&w->receiver, w->now_ms)) {
            ptl_sim_receiver_recv(&w->receiver, message, w->now_ms);
        } else {
            ptl_sim_server_undelivered(&w->server, message);
            free(message);
        }
    }
    ptl_sim_receiver_run(&w->receiver, w->now_ms);
    char topic[PTL_SIM_TOPIC_MAX];
    snprintf(topic, sizeof(topic), "realtime:petrel:down:%s", w->cfg.receiver.device);
    while ((message = ptl_sim_receiver_take(&w->receiver, w->now_ms)) != NULL) {
        ptl_sim_server_broadcast(&w->server, topic, "receipt", (const char *)message->bytes,
                                 w->now_ms);
        free(message);
    }
}

static void near_side_run(struct ptl_sim_world *w)
{
    for (uint32_t i = 0; i < PTL_SIM_SESSIONS_MAX; i++) {
        struct ptl_sim_link *link = &w->connections[i].link;
        struct ptl_sim_message *message;
        while (w->connections[i].used &&
               (message = ptl_sim_link_take(link, PTL_SIM_DEVICE, w->now_ms)) != NULL) {
            ptl_sim_device_recv(w, (int32_t)i, message);
            free(message);
        }
    }
    ptl_sim_device_run(w);
}

bool ptl_sim_world_step(struct ptl_sim_world *w, uint64_t until_ms)
{
    if (w->failure[0] != '\0') {
        return false;
    }
    uint64_t due_ms = next_due_ms(w);
    if (due_ms > until_ms) {
        w->now_ms = until_ms > w->now_ms ? until_ms : w->now_ms;
        return false;
    }
    if (due_ms > w->now_ms) {
        w->now_ms = due_ms;
        w->instant_steps = 0;
    } else if (++w->instant_steps > STEPS_AT_ONE_INSTANT) {
        ptl_sim_fail(w, "time stands still");
        return false;
    }
    w->steps++;
    far_side_run(w);
    near_side_run(w);
    if (w->server.violation[0] != '\0') {
        ptl_sim_fail(w, "server: %s", w->server.violation);
    }
    if (w->receiver.violation[0] != '\0') {
        ptl_sim_fail(w, "receiver: %s", w->receiver.violation);
    }
    return w->failure[0] == '\0';
}

void ptl_sim_world_run(struct ptl_sim_world *w, uint64_t ms)
{
    uint64_t until_ms = w->now_ms + ms;
    while (ptl_sim_world_step(w, until_ms)) {}
}

bool ptl_sim_world_run_until(struct ptl_sim_world *w, ptl_sim_condition *condition, uint64_t ms)
{
    uint64_t until_ms = w->now_ms + ms;
    while (!condition(w)) {
        if (!ptl_sim_world_step(w, until_ms)) {
            return condition(w);
        }
    }
    return true;
}

// -- Conditions -----------------------------------------------------------------------------------

bool ptl_sim_is_joined(const struct ptl_sim_world *w)
{
    return w->device.running && w->device.status.joined;
}

bool ptl_sim_is_closed(const struct ptl_sim_world *w)
{
    return w->device.running && w->device.status.joined &&
           w->device.status.breaker == PTL_BREAKER_CLOSED;
}

bool ptl_sim_is_open(const struct ptl_sim_world *w)
{
    return w->device.running && w->device.status.breaker == PTL_BREAKER_OPEN;
}

bool ptl_sim_is_drained(const struct ptl_sim_world *w)
{
    const struct ptl_agent_status *status = &w->device.status;
    return w->device.running && status->held == 0 && status->held_earlier == 0 &&
           status->gap_count == 0 && status->end_count == 0 && w->app.waiting_count == 0;
}

bool ptl_sim_is_spilled(const struct ptl_sim_world *w)
{
    const struct ptl_agent_status *status = &w->device.status;
    return w->device.running && status->held_queue == 0 && status->held_journal > 0 &&
           !status->spilling;
}

bool ptl_sim_is_stopped(const struct ptl_sim_world *w)
{
    return !w->device.running;
}
