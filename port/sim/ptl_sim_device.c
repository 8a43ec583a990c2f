// The simulated device: the driver's loop of ptl_agent.h, its connect timer, its medium, and the
// application at its door.
#include "ptl_sim_world.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TURN_MAX       400u // polls in one turn of the loop: more means that it never ends
#define IDLE_AGAIN_MAX 8u   // polls in a row that did nothing and asked to be called again at once
#define UNIX_MS_START  INT64_C(1795543166123)
#define DATA_BYTES_MIN 12u
#define ACK_TIMEOUT_MS 5000u

struct ptl_now ptl_sim_device_now(const struct ptl_sim_world *w)
{
    const struct ptl_sim_device *d = &w->device;
    return (struct ptl_now){
        .mono_ms = w->now_ms - d->boot_at_ms + 1000,
        .unix_ms = UNIX_MS_START + (int64_t)w->now_ms + d->wall_ms,
        .unix_err_ms = d->wall_err_ms,
    };
}

static uint64_t to_world_ms(const struct ptl_sim_world *w, uint64_t mono_ms)
{
    return mono_ms == PTL_NEVER ? PTL_NEVER : mono_ms + w->device.boot_at_ms - 1000;
}

static uint64_t random_u64(struct ptl_sim_world *w)
{
    uint64_t high = ptl_prng_next(&w->prng);
    return high << 32 | ptl_prng_next(&w->prng);
}

// -- Life -----------------------------------------------------------------------------------------

static bool mount(struct ptl_sim_world *w)
{
    struct ptl_sim_device *d = &w->device;
    struct ptl_journal_config cfg = {
        .flash = &d->flash.flash,
        .prog_buf = d->page,
        .prog_buf_bytes = sizeof(d->page),
        .read_buf = d->scan,
        .read_buf_bytes = sizeof(d->scan),
        .write_through = w->cfg.medium == PTL_SIM_FILE,
        .page_cache = w->cfg.medium == PTL_SIM_FILE,
    };
    memcpy(cfg.boot, d->boot, sizeof(cfg.boot));
    ptl_sim_media_block(w, true);
    enum ptl_status status = ptl_journal_mount(&d->journal, &cfg);
    ptl_sim_media_block(w, false);
    if (status != PTL_OK) {
        ptl_sim_fail(w, "mount answered %d", (int)status);
    }
    return status == PTL_OK;
}

static struct ptl_agent_config agent_config(struct ptl_sim_world *w)
{
    struct ptl_sim_device *d = &w->device;
    struct ptl_agent_config cfg = {
        .receipt_from = "main",
        .epoch = d->epoch,
        .default_source = PTL_SPAN_OF("sim"),
        .version = PTL_SPAN_OF("0.0.0"),
        .delivery = w->cfg.delivery,
        .durability = w->cfg.durability,
        .limits = {.event_bytes_max = w->cfg.event_bytes_max, .depth_max = 8},
        .batch = w->cfg.batch,
        .breaker = w->cfg.breaker,
        .high_water_percent = 75,
        .low_water_percent = 25,
        .commit_ms = 1000,
        .spill_ms_max = 500,
        .ack_timeout_ms = ACK_TIMEOUT_MS,
        .receipt_timeout_ms = 10000,
        .resend_ms = 2000,
        .status_ms = w->cfg.status_ms,
    };
    strcpy(cfg.device, w->cfg.receiver.device);
    memcpy(cfg.boot, d->boot, sizeof(cfg.boot));
    return cfg;
}

void ptl_sim_world_start(struct ptl_sim_world *w)
{
    struct ptl_sim_device *d = &w->device;
    PTL_ASSERT(!d->running);
    bool media = w->cfg.medium != PTL_SIM_NO_MEDIUM;
    if (w->failure[0] != '\0' || (media && !mount(w))) {
        return;
    }
    d->epoch = random_u64(w);
    const struct ptl_session_config session = {
        .version = PTL_SPAN_OF("0.0.0"),
        .token = PTL_SPAN_OF("token.of.device"),
        .epoch = d->epoch,
        .private_channels = true,
        .presence = true,
        .join_timeout_ms = 12000,
        .heartbeat_ms = 25000,
        .ack_timeout_ms = 5000,
        .rejoin_ms_min = 1000,
    };
    struct ptl_session_config copy = session;
    strcpy(copy.device, w->cfg.receiver.device);
    ptl_session_init(&d->session, &copy);
    d->adapter = ptl_adapter_realtime(&d->session);
    const struct ptl_agent_config cfg = agent_config(w);
    const struct ptl_agent_memory memory = {
        .queue = d->queue,
        .queue_bytes = w->cfg.queue_bytes,
        .record = d->record,
        .record_bytes = w->cfg.event_bytes_max + PTL_AGENT_RECORD_SLACK,
        .flights = d->flights,
        .flight_count = w->cfg.flight_count,
    };
    struct ptl_now now = ptl_sim_device_now(w);
    enum ptl_status status = ptl_agent_init(&d->agent, &cfg, &memory, media ? &d->journal : NULL,
                                            &d->adapter, random_u64(w), &now);
    if (status != PTL_OK) {
        ptl_sim_fail(w, "init answered %d", (int)status);
        return;
    }
    for (uint32_t i = 0; i < w->ledger.count; i++) {
        // A death may undo an overflow that was not on the medium yet: replay begins anew.
        w->ledger.runs[i].first_sent[0] = UINT64_MAX;
        w->ledger.runs[i].first_sent[1] = UINT64_MAX;
    }
    memset(&d->status, 0, sizeof(d->status));
    d->running = true;
    d->blocked = false;
    d->seq_told = 0;
    d->starts++;
    size_t bytes = ptl_agent_message_bytes_max(&d->agent);
    free(d->message);
    d->message = malloc(bytes);
    PTL_ASSERT(d->message != NULL);
    ptl_sim_trace(w, "start epoch %016" PRIx64, d->epoch);
    ptl_sim_device_turn(w);
}

// Two runs end at once where the medium failed under the first.
static void run_ends(struct ptl_sim_world *w, enum ptl_sim_stop how)
{
    struct ptl_sim_device *d = &w->device;
    for (uint32_t i = 0; i < w->ledger.count; i++) {
        if (w->ledger.runs[i].stop == PTL_SIM_RUNNING) {
            w->ledger.runs[i].stop = how;
        }
    }
    d->running = false;
    d->dial_until_ms = PTL_NEVER;
    d->media_at_ms = PTL_NEVER;
    d->connection = -1;
    w->app.waiting_count = 0; // their senders got no answer
}

// The kernel still sends what is in its buffers, then ends the connection.
static void sockets_die(struct ptl_sim_world *w)
{
    struct ptl_sim_device *d = &w->device;
    if (d->connection >= 0) {
        struct ptl_sim_message *end = ptl_sim_message_new(PTL_SIM_CLOSE, NULL, 0);
        end->code = 1006;
        ptl_sim_link_send(&w->connections[d->connection].link, PTL_SIM_DEVICE, end, w->now_ms);
    }
}

static void boot_name(struct ptl_sim_world *w)
{
    snprintf(w->device.boot, sizeof(w->device.boot), "%08" PRIx32 "-0000-4000-8000-%012" PRIx64,
             ptl_prng_next(&w->prng), random_u64(w) & 0xffffffffffff);
}

static void new_boot(struct ptl_sim_world *w)
{
    w->device.boot_at_ms = w->now_ms;
    boot_name(w);
}

void ptl_sim_world_kill(struct ptl_sim_world *w)
{
    if (!w->device.running) {
        return;
    }
    ptl_sim_trace(w, "kill -9");
    sockets_die(w);
    run_ends(w, PTL_SIM_KILL);
    ptl_sim_media_process_died(w);
    if (w->cfg.medium == PTL_SIM_NOR) {
        new_boot(w);
    }
}

void ptl_sim_world_power_cut(struct ptl_sim_world *w)
{
    ptl_sim_trace(w, "power cut");
    run_ends(w, PTL_SIM_POWER);
    ptl_sim_media_power_cut(w);
    new_boot(w);
}

void ptl_sim_world_cut_at(struct ptl_sim_world *w, uint32_t op, enum ptl_sim_cut kind)
{
    if (w->cfg.medium != PTL_SIM_NO_MEDIUM && w->device.running) {
        ptl_sim_trace(w, "cut %d armed at operation %" PRIu32, (int)kind, op);
        ptl_sim_flash_arm(&w->device.flash, op, kind);
    }
}

// The armed cut has come: what the agent did since then never happened.
static bool died(struct ptl_sim_world *w)
{
    if (!ptl_sim_media_was_cut(w)) {
        return false;
    }
    if (w->device.running && w->device.flash.cut_kind == PTL_SIM_CUT_KILLED) {
        ptl_sim_world_kill(w);
    } else if (w->device.running) {
        ptl_sim_world_power_cut(w);
    }
    return true;
}

void ptl_sim_device_init(struct ptl_sim_world *w)
{
    struct ptl_sim_device *d = &w->device;
    d->queue = malloc(w->cfg.queue_bytes);
    d->record = malloc(w->cfg.event_bytes_max + PTL_AGENT_RECORD_SLACK);
    d->flights = calloc(w->cfg.flight_count, sizeof(*d->flights));
    PTL_ASSERT(d->queue != NULL && d->record != NULL && d->flights != NULL);
    d->connection = -1;
    d->dial_until_ms = PTL_NEVER;
    d->media_at_ms = PTL_NEVER;
    d->wall_err_ms = 50;
    boot_name(w);
    ptl_sim_media_init(w);
}

void ptl_sim_device_clear(struct ptl_sim_world *w)
{
    struct ptl_sim_device *d = &w->device;
    free(d->queue);
    free(d->record);
    free(d->flights);
    free(d->message);
    ptl_sim_media_clear(w);
}

void ptl_sim_world_drain(struct ptl_sim_world *w, uint32_t ms)
{
    if (!w->device.running) {
        return;
    }
    struct ptl_now now = ptl_sim_device_now(w);
    ptl_sim_trace(w, "drain within %" PRIu32 " ms", ms);
    if (!w->device.status.draining) { // a second wish changes nothing
        w->device.drain_until_ms = w->now_ms + ms;
    }
    ptl_agent_drain(&w->device.agent, now.mono_ms + ms, &now);
    ptl_sim_device_turn(w);
}

// -- The application ------------------------------------------------------------------------------

static enum ptl_status post(struct ptl_sim_world *w, uint32_t id, uint32_t bytes, uint64_t *seq)
{
    char text[4096];
    int len = snprintf(text, sizeof(text), "{\"id\":%" PRIu32 ",\"pad\":\"", id);
    PTL_ASSERT(bytes < sizeof(text) - 64);
    while ((uint32_t)len < bytes) {
        text[len] = (char)('a' + (id + (uint32_t)len) % 26);
        len++;
    }
    memcpy(text + len, "\"}", 2);
    len += 2;
    struct ptl_event event = {
        .event_type = PTL_SPAN_OF("sim.sample"),
        .data = {(const uint8_t *)text, (size_t)len},
        .severity = PTL_INFO,
    };
    // Told by the id, so that a repeated try is the same event.
    if (id * UINT32_C(2654435761) % 1000 < w->app.critical_permille) {
        event.severity = PTL_CRITICAL;
    }
    struct ptl_now now = ptl_sim_device_now(w);
    return ptl_agent_post(&w->device.agent, &event, &now, seq);
}

static uint32_t bytes_of(const struct ptl_sim_world *w, uint32_t id)
{
    uint32_t spread =
        w->app.data_bytes_max > DATA_BYTES_MIN ? w->app.data_bytes_max - DATA_BYTES_MIN : 1;
    return DATA_BYTES_MIN + id * UINT32_C(2246822519) % spread;
}

static void accepted(struct ptl_sim_world *w, uint32_t id, uint64_t seq)
{
    struct ptl_sim_device *d = &w->device;
    struct ptl_now now = ptl_sim_device_now(w);
    struct ptl_agent_status status; // the medium may have failed under this very post: a new epoch
    ptl_agent_status_get(&d->agent, &now, &status);
    struct ptl_sim_run *run = ptl_sim_ledger_run_of(&w->ledger, status.epoch, seq);
    if (run->seq_posted_last != UINT64_MAX && seq <= run->seq_posted_last) {
        ptl_sim_fail(w, "seq %" PRIu64 " issued after %" PRIu64, seq, run->seq_posted_last);
    }
    bool media = status.media && !status.media_failed;
    if (run->seq_posted_last == UINT64_MAX && media && w->run_seq_last != 0 &&
        seq <= w->run_seq_last) {
        ptl_sim_fail(w, "seq %" PRIu64 " of a new run is not above the last run", seq);
    }
    run->seq_posted_last = seq;
    run->synced = w->cfg.durability == PTL_DURABLE_SYNC;
    run->journaled = media;
    w->run_seq_last = media ? seq : w->run_seq_last;
    struct ptl_sim_cell *cell = ptl_sim_run_cell(run, seq);
    if (cell == NULL) {
        ptl_sim_fail(w, "seq %" PRIu64 " is far from the first of its run", seq);
        return;
    }
    cell->id = id;
    ptl_sim_run_mark(run, seq, PTL_SIM_POSTED);
    if (w->cfg.durability != PTL_DURABLE_SYNC) {
        ptl_sim_run_mark(run, seq, PTL_SIM_TOLD);
    }
    w->app.accepted++;
}

// Everything below durable_next is accepted at `sync`.
static void tell_durable(struct ptl_sim_world *w)
{
    struct ptl_sim_device *d = &w->device;
    struct ptl_sim_run *run = ptl_sim_ledger_find(&w->ledger, d->status.epoch);
    if (w->cfg.durability != PTL_DURABLE_SYNC || run == NULL) {
        return;
    }
    uint64_t next = ptl_agent_durable_next(&d->agent);
    uint64_t seq = d->seq_told > run->base ? d->seq_told : run->base;
    for (; seq < next && seq < run->base + run->count; seq++) {
        if ((ptl_sim_run_facts(run, seq) & PTL_SIM_POSTED) != 0) {
            ptl_sim_run_mark(run, seq, PTL_SIM_TOLD);
        }
    }
    d->seq_told = seq;
}

// The oldest waiting event first; stops at the first that has to go on waiting.
static bool post_waiting(struct ptl_sim_world *w)
{
    struct ptl_sim_app *app = &w->app;
    uint32_t taken = 0;
    while (taken < app->waiting_count) {
        uint64_t seq = 0;
        uint32_t id = app->waiting[taken];
        enum ptl_status status = post(w, id, bytes_of(w, id), &seq);
        if (ptl_sim_media_was_cut(w)) {
            break; // nobody heard the answer
        }
        if (status == PTL_E_AGAIN) {
            app->refused_again++;
            break;
        }
        if (status != PTL_OK) {
            ptl_sim_fail(w, "post answered %d", (int)status);
            break;
        }
        accepted(w, id, seq);
        taken++;
    }
    app->waiting_count -= taken;
    memmove(app->waiting, app->waiting + taken, app->waiting_count * sizeof(app->waiting[0]));
    return taken > 0;
}

static void wait_one(struct ptl_sim_app *app)
{
    if (app->waiting_count < PTL_SIM_WAITING_MAX) {
        app->waiting[app->waiting_count++] = ++app->id_last;
    }
}

void ptl_sim_world_post(struct ptl_sim_world *w, uint32_t count, uint32_t bytes)
{
    w->app.data_bytes_max = bytes;
    for (uint32_t i = 0; i < count && w->device.running; i++) {
        wait_one(&w->app);
        if (i % 16 == 15) {
            ptl_sim_device_turn(w);
        }
    }
    if (w->device.running) {
        ptl_sim_device_turn(w);
    }
}

void ptl_sim_world_rate(struct ptl_sim_world *w, uint32_t per_1000_s, uint32_t bytes_max)
{
    w->app.interval_us = per_1000_s > 0 ? UINT64_C(1000000000) / per_1000_s : 0;
    w->app.next_us = w->now_ms * 1000 + w->app.interval_us;
    w->app.data_bytes_max = bytes_max;
}

// A full door stops the application, as a blocking write does.
static uint64_t app_due_ms(const struct ptl_sim_world *w)
{
    const struct ptl_sim_app *app = &w->app;
    if (app->interval_us == 0 || app->waiting_count == PTL_SIM_WAITING_MAX) {
        return PTL_NEVER;
    }
    return (app->next_us + 999) / 1000;
}

static void app_run(struct ptl_sim_world *w)
{
    struct ptl_sim_app *app = &w->app;
    while (app_due_ms(w) <= w->now_ms) {
        wait_one(app);
        uint64_t spread = 2 * app->interval_us;
        app->next_us +=
            1 + ptl_prng_below(&w->prng, (uint32_t)(spread < UINT32_MAX ? spread : UINT32_MAX));
        if (app->next_us + 1000000 < w->now_ms * 1000) {
            app->next_us = w->now_ms * 1000; // was stopped: no burst of what it could not post
        }
    }
}

// -- The loop -------------------------------------------------------------------------------------

static void link_down(struct ptl_sim_world *w, enum ptl_cause_kind kind, uint32_t code,
                      const char *text)
{
    struct ptl_now now = ptl_sim_device_now(w);
    const struct ptl_link_end end = {.kind = kind, .code = code, .text = ptl_span_of_text(text)};
    w->device.connection = -1;
    w->device.dial_until_ms = PTL_NEVER;
    w->device.blocked = false;
    ptl_sim_trace(w, "link down: %s %" PRIu32, text, code);
    ptl_agent_link_down(&w->device.agent, &end, &now);
}

static void close_own(struct ptl_sim_world *w)
{
    struct ptl_sim_message *end = ptl_sim_message_new(PTL_SIM_CLOSE, NULL, 0);
    end->code = 1000;
    ptl_sim_link_send(&w->connections[w->device.connection].link, PTL_SIM_DEVICE, end, w->now_ms);
}

static bool send_one(struct ptl_sim_world *w)
{
    struct ptl_sim_device *d = &w->device;
    struct ptl_sim_link *link = &w->connections[d->connection].link;
    struct ptl_now now = ptl_sim_device_now(w);
    size_t len = 0;
    bool binary = false;
    enum ptl_status status = ptl_agent_write(&d->agent, &now, d->message,
                                             ptl_agent_message_bytes_max(&d->agent), &len, &binary);
    if (status == PTL_E_EMPTY || ptl_sim_media_was_cut(w)) {
        return false;
    }
    if (status != PTL_OK) {
        ptl_sim_fail(w, "write answered %d", (int)status);
        return false;
    }
    if (binary) {
        ptl_sim_check_sent(w, d->message, len);
    } else {
        ptl_sim_trace(w, "-> %.*s", (int)len, (const char *)d->message);
    }
    struct ptl_sim_message *message = ptl_sim_message_new(PTL_SIM_DATA, d->message, len);
    message->binary = binary;
    ptl_sim_link_send(link, PTL_SIM_DEVICE, message, w->now_ms);
    return true;
}

// One poll and what it asks for. False: nothing more to do now.
static bool turn_once(struct ptl_sim_world *w, uint32_t *idle)
{
    struct ptl_sim_device *d = &w->device;
    struct ptl_now now = ptl_sim_device_now(w);
    bool moved = post_waiting(w);
    if (died(w)) {
        return false;
    }
    enum ptl_want want = ptl_agent_poll(&d->agent, &now);
    w->polls++;
    if (died(w)) {
        return false;
    }
    d->blocked = false;
    switch (want) {
    case PTL_WANT_CONNECT:
        d->connection = ptl_sim_world_dial(w);
        d->dial_until_ms = w->now_ms + w->cfg.connect_ms;
        ptl_sim_trace(w, "dial");
        return true;
    case PTL_WANT_SEND:
        d->blocked = !ptl_sim_link_writable(&w->connections[d->connection].link, PTL_SIM_DEVICE);
        if (!d->blocked && send_one(w)) {
            *idle = 0;
            return true;
        }
        if (died(w)) {
            return false;
        }
        break;
    case PTL_WANT_CLOSE:
        close_own(w);
        link_down(w, PTL_CAUSE_LOCAL, 0, "closed");
        return true;
    case PTL_WANT_EXIT:
        ptl_sim_trace(w, "exit");
        if (d->connection >= 0) {
            close_own(w);
        }
        ptl_sim_check_step(w);
        // It may give up only after it was patient with a medium that takes nothing.
        bool whole = d->status.held_queue == 0 && !d->status.media_failed &&
                     w->now_ms < d->drain_until_ms + ACK_TIMEOUT_MS;
        run_ends(w, whole ? PTL_SIM_CLEAN : PTL_SIM_GAVE_UP);
        ptl_sim_media_process_died(w);
        if (w->cfg.medium == PTL_SIM_NOR) {
            new_boot(w); // what has no processes starts again by a reset
        }
        return false;
    case PTL_WANT_IDLE:
        break;
    }
    if (moved) {
        return true;
    }
    uint64_t deadline_ms = ptl_agent_deadline(&d->agent);
    if (deadline_ms > now.mono_ms) {
        return false;
    }
    if (++*idle > IDLE_AGAIN_MAX) {
        ptl_sim_fail(w, "the deadline spins (want %d, deadline %" PRIu64 ", now %" PRIu64 ")",
                     (int)want, deadline_ms, now.mono_ms);
        return false;
    }
    return true;
}

void ptl_sim_device_turn(struct ptl_sim_world *w)
{
    struct ptl_sim_device *d = &w->device;
    uint32_t idle = 0;
    uint32_t polls = 0;
    if (d->running && died(w)) {
        return;
    }
    while (d->running && w->failure[0] == '\0' && turn_once(w, &idle)) {
        tell_durable(w);
        ptl_sim_check_step(w);
        if (++polls > TURN_MAX) {
            ptl_sim_fail(w, "more than %u polls at one instant", TURN_MAX);
        }
    }
    if (d->running && w->failure[0] == '\0') {
        tell_durable(w);
        ptl_sim_check_step(w);
        ptl_sim_media_watch(w);
    }
}

uint64_t ptl_sim_device_due(const struct ptl_sim_world *w)
{
    const struct ptl_sim_device *d = &w->device;
    if (!d->running) {
        return PTL_NEVER;
    }
    uint64_t due_ms = to_world_ms(w, ptl_agent_deadline(&d->agent));
    uint64_t app_ms = app_due_ms(w);
    due_ms = app_ms < due_ms ? app_ms : due_ms;
    due_ms = d->dial_until_ms < due_ms ? d->dial_until_ms : due_ms;
    return d->media_at_ms < due_ms ? d->media_at_ms : due_ms;
}

void ptl_sim_device_run(struct ptl_sim_world *w)
{
    struct ptl_sim_device *d = &w->device;
    if (!d->running) {
        return;
    }
    bool writable =
        d->blocked && ptl_sim_link_writable(&w->connections[d->connection].link, PTL_SIM_DEVICE);
    if (!writable && ptl_sim_device_due(w) > w->now_ms) {
        return;
    }
    if (d->dial_until_ms <= w->now_ms) {
        close_own(w);
        link_down(w, PTL_CAUSE_LOCAL, 0, "connect timed out");
    }
    if (d->media_at_ms <= w->now_ms) {
        d->media_at_ms = PTL_NEVER;
        struct ptl_now now = ptl_sim_device_now(w);
        enum ptl_status result = ptl_sim_flash_complete(&d->flash);
        ptl_agent_media_ready(&d->agent, result, &now);
    }
    app_run(w);
    ptl_sim_device_turn(w);
}

void ptl_sim_device_recv(struct ptl_sim_world *w, int32_t index,
                         const struct ptl_sim_message *message)
{
    struct ptl_sim_device *d = &w->device;
    if (!d->running || index != d->connection) {
        return; // the device let go of that connection
    }
    struct ptl_now now = ptl_sim_device_now(w);
    switch (message->kind) {
    case PTL_SIM_ACCEPT:
        d->dial_until_ms = PTL_NEVER;
        ptl_sim_trace(w, "link up");
        ptl_agent_link_up(&d->agent, &now);
        break;
    case PTL_SIM_REFUSE:
        link_down(w, message->code != 0 ? PTL_CAUSE_HTTP : PTL_CAUSE_LOCAL, message->code,
                  message->code != 0 ? "" : "connection refused");
        break;
    case PTL_SIM_CLOSE:
        link_down(w, PTL_CAUSE_CLOSE, message->code, "");
        break;
    case PTL_SIM_RESET:
        link_down(w, PTL_CAUSE_LOCAL, 0, "connection reset");
        break;
    case PTL_SIM_DATA:
        if (message->binary && message->len > 5 && message->bytes[0] == 4) {
            size_t head = 5u + message->bytes[1] + message->bytes[2];
            ptl_sim_trace(w, "<- %.*s", (int)(message->len - head),
                          (const char *)message->bytes + head);
        } else {
            ptl_sim_trace(w, "<- %.*s", (int)message->len, (const char *)message->bytes);
        }
        ptl_agent_recv(&d->agent, (struct ptl_span){message->bytes, message->len}, message->binary,
                       &now);
        break;
    case PTL_SIM_DIAL:
        break;
    }
    ptl_sim_device_turn(w);
}
