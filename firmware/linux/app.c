// app.c - the agent as a program.
#include "app.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define LOOK_MS        50   // state changes are looked for at most this often
#define RATE_MS        5000 // rates are means of at least that long
#define RX_BYTES       16384
#define FDS_MAX        (PTL_CLIENTS_MAX + 8)
#define FLIGHTS_ACCEPT 4  // beside the window, where acknowledgements release
#define FLIGHTS_STORED 64 // batches that wait for receipts

_Noreturn void ptl_assert_fail(const char *file, int line)
{
    fprintf(stderr, "petrel: broken invariant at %s:%d\n", file, line);
    abort();
}

struct ptl_now ptl_app_now(struct ptl_app *app)
{
    return ptl_clock_now(&app->clock);
}

static struct ptl_now loop_now(void *ctx)
{
    return ptl_app_now(ctx);
}

static double seconds(uint64_t ms)
{
    return (double)ms / 1000.0;
}

static void ways_tell(struct ptl_app *app)
{
    if (app->ways_told || app->cfg->token[0] != '\0' || !app->cfg->server.private_channels) {
        return;
    }
    app->ways_told = true;
    ptl_log(
        PTL_LOG_WARNING,
        "private channels need a token with the claim device: run `petrel sql` in the project's "
        "SQL editor, mint a token and set [server] token_file; or set private = no, which lets "
        "everyone with the key read and forge events and gives up receipts");
}

static void link_changes(struct ptl_app *app, const struct ptl_agent_status *s)
{
    const struct ptl_agent_status *seen = &app->seen;
    uint64_t held = s->held + s->held_earlier;
    if (s->joined && !seen->joined) {
        ptl_log(PTL_LOG_INFO, "joined: delivering as %s to %s (%s%s%s), %llu events held",
                app->identity.id, app->cfg->server.host,
                app->peer.tls ? app->peer.tls_version : "plain, not encrypted",
                app->peer.tls ? ", certificate of " : "", app->peer.subject,
                (unsigned long long)held);
    }
    bool ended = s->links_lost != seen->links_lost || strcmp(s->cause, seen->cause) != 0 ||
                 (seen->joined && !s->joined);
    if (ended && !s->joined && s->cause[0] != '\0' && !app->draining) {
        uint64_t now_ms = app->clock.mono_last_ms;
        bool known = s->retry_at_ms != PTL_NEVER && s->retry_at_ms > now_ms;
        ptl_log_keyed(PTL_LOG_WARNING, s->cause, "not connected: %s; next try in %.1f s", s->cause,
                      seconds(known ? s->retry_at_ms - now_ms : 0));
        if (strncmp(s->cause, "Unauthorized", 12) == 0 || strstr(s->cause, "permissions") != NULL) {
            ways_tell(app);
        }
    }
}

static void store_changes(struct ptl_app *app, const struct ptl_agent_status *s)
{
    const struct ptl_agent_status *seen = &app->seen;
    if (s->mode != PTL_MODE_RAM && seen->spilling && !s->spilling) {
        ptl_log(PTL_LOG_INFO, "spilled: %llu events are in the journal, new ones go straight there",
                (unsigned long long)s->held);
    } else if (s->mode == PTL_MODE_RAM && seen->mode == PTL_MODE_DIRECT) {
        ptl_log(PTL_LOG_INFO, "events flow through RAM again (%llu held)",
                (unsigned long long)s->held);
    }
    if (s->media_failed && !seen->media_failed) { // for good
        ptl_log(PTL_LOG_ERROR,
                "the journal failed: %s; events live in RAM only until the next start",
                app->media.flash.error_text);
    }
    if (s->lost != seen->lost || s->uncertain != seen->uncertain) {
        ptl_log_keyed(PTL_LOG_WARNING, "gaps",
                      "%llu events lost, %llu uncertain so far in this run",
                      (unsigned long long)s->lost, (unsigned long long)s->uncertain);
    }
    if (s->spill_misses != seen->spill_misses) {
        ptl_log_keyed(PTL_LOG_WARNING, "spill misses",
                      "spilling took longer than %u ms, %llu times so far (slow medium)",
                      app->cfg->journal.spill_ms_max, (unsigned long long)s->spill_misses);
    }
}

static void rates_update(struct ptl_app *app, const struct ptl_agent_status *s)
{
    uint64_t now_ms = app->clock.mono_last_ms;
    if (now_ms - app->rate_new.at_ms >= RATE_MS) {
        app->rate_old = app->rate_new;
        app->rate_new = (struct ptl_rate_point){now_ms, s->events_sent, s->messages_sent};
    }
}

static void timer_due(void *ctx);

// A drain waits for the medium before it says that it is done; a medium that hangs is not waited
// for longer than for the link.
static uint64_t media_until_ms(const struct ptl_app *app)
{
    return app->media_since_ms == 0
               ? PTL_NEVER
               : app->media_since_ms + ptl_config_scaled(app->cfg, app->cfg->agent.drain_ms);
}

static void media_look(struct ptl_app *app, const struct ptl_now *now)
{
    if (!app->draining || !app->media.mounted || !ptl_journal_is_pending(&app->media.journal)) {
        app->media_since_ms = 0;
    } else if (app->media_since_ms == 0) {
        app->media_since_ms = now->mono_ms > 0 ? now->mono_ms : 1;
    } else if (now->mono_ms >= media_until_ms(app) && !app->media_hung) {
        app->media_hung = true;
        ptl_log(PTL_LOG_ERROR, "the medium does not answer within %u ms: stopping without it",
                ptl_config_scaled(app->cfg, app->cfg->agent.drain_ms));
        ptl_lws_stop(app->lws);
    }
}

static void timer_arm(struct ptl_app *app)
{
    uint64_t at_ms = app->host.any && !app->draining ? app->host.next_ms : PTL_NEVER;
    uint64_t look_ms = app->looked_at_ms + LOOK_MS;
    at_ms = app->look_due && look_ms < at_ms ? look_ms : at_ms;
    at_ms = media_until_ms(app) < at_ms ? media_until_ms(app) : at_ms;
    ptl_lws_timer(app->lws, at_ms, timer_due, app);
}

// Says what has changed and answers those who wait for it.
static void look(struct ptl_app *app, const struct ptl_now *now)
{
    struct ptl_agent_status status;
    ptl_agent_status_get(&app->agent, now, &status);
    app->look_due = false;
    app->looked_at_ms = now->mono_ms;
    link_changes(app, &status);
    store_changes(app, &status);
    rates_update(app, &status);
    app->seen = status;
    ptl_seqpacket_tell(&app->input_seqpacket, &status);
}

static void timer_due(void *ctx)
{
    struct ptl_app *app = ctx;
    const struct ptl_now now = ptl_app_now(app);
    if (!app->draining) {
        ptl_host_metrics_due(&app->host, &now);
    }
    // A look that is due happens in `polled`, which follows: one from here would be taken there for
    // a reason to look again, twenty times a second for ever.
    timer_arm(app);
}

// Something to say since the last look. A wake-up 50 ms after every heartbeat would say nothing.
static bool has_news(const struct ptl_app *app, const struct ptl_now *now)
{
    const struct ptl_agent_status *seen = &app->seen;
    struct ptl_agent_status s;
    ptl_agent_status_get(&app->agent, now, &s);
    return s.joined != seen->joined || s.links_lost != seen->links_lost ||
           s.spilling != seen->spilling || s.media_failed != seen->media_failed ||
           s.lost != seen->lost || s.uncertain != seen->uncertain ||
           s.spill_misses != seen->spill_misses || strcmp(s.cause, seen->cause) != 0;
}

// Applications that wait for the medium are not kept for LOOK_MS.
static bool replies_wait(const struct ptl_app *app)
{
    for (uint32_t i = 0; i < PTL_CLIENTS_MAX; i++) {
        const struct ptl_client *client = &app->input_seqpacket.clients[i];
        if (client->fd >= 0 && client->due_count > 0) {
            return true;
        }
    }
    return false;
}

static bool polled(void *ctx)
{
    struct ptl_app *app = ctx;
    bool posted = ptl_seqpacket_again(&app->input_seqpacket);
    posted = ptl_datagram_again(&app->input_datagram) || posted;
    posted = ptl_host_metrics_again(&app->host) || posted;
    posted = ptl_stdin_again(&app->input_stdin) || posted;
    const struct ptl_now now = ptl_app_now(app);
    uint64_t media_until_before_ms = media_until_ms(app);
    media_look(app, &now);
    if (media_until_ms(app) != media_until_before_ms) {
        timer_arm(app);
    }
    if (now.mono_ms - app->looked_at_ms >= LOOK_MS || replies_wait(app)) {
        look(app, &now);
        timer_arm(app);
    } else if (!app->look_due && has_news(app, &now)) {
        app->look_due = true;
        timer_arm(app);
    }
    return posted;
}

static void connecting(void *ctx)
{
    const struct ptl_app *app = ctx;
    ptl_log_keyed(PTL_LOG_DEBUG, "connecting", "connecting to %s:%u", app->cfg->server.host,
                  app->cfg->server.port);
}

static void link_up(void *ctx, const struct ptl_lws_peer *peer)
{
    struct ptl_app *app = ctx;
    app->peer = *peer;
    app->looked_at_ms = 0; // look at once
    ptl_log(PTL_LOG_DEBUG, "connected to %s (%s %s)", peer->address, peer->tls_version,
            peer->cipher);
}

static void link_down(void *ctx, const struct ptl_link_end *end, bool was_up)
{
    struct ptl_app *app = ctx;
    app->looked_at_ms = 0; // look at once
    ptl_log(PTL_LOG_DEBUG, "%s: %.*s", was_up ? "link ended" : "connect failed", (int)end->text.len,
            (const char *)end->text.ptr);
}

static void server_date(void *ctx, int64_t unix_ms, uint32_t err_ms)
{
    struct ptl_app *app = ctx;
    ptl_clock_server_date(&app->clock, unix_ms, err_ms, ptl_app_now(app).mono_ms);
}

// The journal's worker has finished something.
static void media_ready(void *ctx)
{
    struct ptl_app *app = ctx;
    enum ptl_status result = PTL_OK;
    if (ptl_media_take(&app->media, &result)) {
        const struct ptl_now now = ptl_app_now(app);
        app->media_since_ms = 0;
        ptl_agent_media_ready(&app->agent, result, &now);
    }
}

static void library_log(void *ctx, const char *text)
{
    (void)ctx;
    ptl_log_keyed(PTL_LOG_DEBUG, text, "libwebsockets: %s", text);
}

void ptl_app_drain(struct ptl_app *app, uint32_t within_ms)
{
    const struct ptl_now now = ptl_app_now(app);
    app->draining = true;
    ptl_agent_drain(&app->agent, now.mono_ms + within_ms, &now);
    ptl_lws_kick(app->lws);
}

// The first signal drains, the second one only spills what is left.
static void signal_ready(void *ctx)
{
    struct ptl_app *app = ctx;
    struct signalfd_siginfo info;
    if (read(app->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info)) {
        return;
    }
    bool again = app->draining && !app->eof_drain;
    // Without a link there is nothing to wait for, if the journal keeps it all.
    struct ptl_agent_status status;
    const struct ptl_now now = ptl_app_now(app);
    ptl_agent_status_get(&app->agent, &now, &status);
    bool spill = again || (!status.joined && status.media);
    uint32_t within_ms = spill ? 0 : ptl_config_scaled(app->cfg, app->cfg->agent.drain_ms);
    ptl_log(PTL_LOG_INFO, "%s: %s", strsignal((int)info.ssi_signo),
            !spill         ? "sending what is held, then stopping"
            : status.media ? "spilling what is held, then stopping"
                           : "stopping with what is held");
    app->eof_drain = false;
    if (app->input_stdin.waiting) {
        ptl_log(PTL_LOG_WARNING, "%zu bytes were read from standard input and not accepted",
                app->input_stdin.len - app->input_stdin.at);
    }
    ptl_app_drain(app, within_ms);
}

static bool signals_start(struct ptl_app *app)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    app->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return app->signal_fd >= 0 &&
           ptl_lws_watch(app->lws, &app->signals, app->signal_fd, signal_ready, app);
}

static void breaker_config(const struct ptl_config *cfg, struct ptl_breaker_config *out)
{
    *out = (struct ptl_breaker_config){
        .backoff_base_ms = ptl_config_scaled(cfg, cfg->breaker.backoff_base_ms),
        .backoff_cap_ms = ptl_config_scaled(cfg, cfg->breaker.backoff_cap_ms),
        .slow_ms = ptl_config_scaled(cfg, cfg->breaker.slow_ms),
        .reset_ms = ptl_config_scaled(cfg, cfg->breaker.reset_ms),
        .fleet_size = cfg->device.fleet_size,
        .joins_per_s = cfg->breaker.joins_per_s,
        .ack_timeouts_max = (uint8_t)cfg->breaker.ack_timeouts,
    };
}

// A batch takes at most a quarter of the queue, so that one can fill while others are on their way.
static uint32_t batch_bytes_of(const struct ptl_config *cfg)
{
    uint32_t least = PTL_BATCH_BYTES_MIN(cfg->events.bytes_max + PTL_AGENT_RECORD_SLACK);
    uint32_t quarter = cfg->queue.bytes / 4;
    uint32_t bytes = cfg->batch.bytes < quarter ? cfg->batch.bytes : quarter;
    return bytes > least ? bytes : least;
}

// W is bounded by what RAM can hold of unacknowledged batches.
static uint8_t window_of(const struct ptl_config *cfg)
{
    uint64_t high = (uint64_t)cfg->queue.bytes * cfg->queue.high_water_percent / 100;
    uint64_t fits = high / batch_bytes_of(cfg);
    fits = fits > 1 ? fits - 1 : 1;
    return (uint8_t)(cfg->batch.window < fits ? cfg->batch.window : fits);
}

static void batch_config(const struct ptl_config *cfg, struct ptl_batch_config *out)
{
    *out = (struct ptl_batch_config){
        .max_delay_ms = cfg->batch.max_delay_ms,
        .messages_per_1000_s = cfg->batch.messages_per_1000_s,
        .burst = cfg->batch.burst,
        .bytes_max = batch_bytes_of(cfg),
        .events_max = cfg->batch.events,
        .window_max = window_of(cfg),
        .eager = cfg->batch.eager,
        .strict_order = cfg->delivery.strict_order,
    };
}

static bool agent_config(struct ptl_app *app, struct ptl_agent_config *out)
{
    const struct ptl_config *cfg = app->cfg;
    *out = (struct ptl_agent_config){
        .default_source = ptl_span_of_text(app->source),
        .version = PTL_SPAN_OF(PETREL_VERSION),
        .delivery = (enum ptl_delivery)cfg->delivery.delivery,
        .durability = (enum ptl_durability)cfg->delivery.durability,
        .limits = app->limits,
        .high_water_percent = (uint8_t)cfg->queue.high_water_percent,
        .low_water_percent = (uint8_t)cfg->queue.low_water_percent,
        .commit_ms = cfg->journal.commit_ms,
        .spill_ms_max = cfg->journal.spill_ms_max,
        .ack_timeout_ms = ptl_config_scaled(cfg, cfg->delivery.ack_timeout_ms),
        .receipt_timeout_ms = ptl_config_scaled(cfg, cfg->delivery.receipt_timeout_ms),
        .resend_ms = ptl_config_scaled(cfg, cfg->delivery.resend_ms),
        .status_ms = ptl_config_scaled(cfg, cfg->agent.status_s * 1000),
    };
    strcpy(out->device, app->identity.id);
    ptl_boot_id(out->boot);
    strcpy(out->receipt_from, cfg->delivery.receipt_from);
    batch_config(cfg, &out->batch);
    breaker_config(cfg, &out->breaker);
    return ptl_entropy(&out->epoch, sizeof(out->epoch)) == PTL_OK;
}

static void session_start(struct ptl_app *app, const struct ptl_agent_config *agent)
{
    const struct ptl_config *cfg = app->cfg;
    struct ptl_session_config session = {
        .token = ptl_span_of_text(cfg->token),
        .version = PTL_SPAN_OF(PETREL_VERSION),
        .epoch = agent->epoch,
        .private_channels = cfg->server.private_channels,
        .presence = true,
        .join_timeout_ms = ptl_config_scaled(cfg, cfg->server.join_timeout_ms),
        .heartbeat_ms = ptl_config_scaled(cfg, cfg->server.heartbeat_ms),
        .ack_timeout_ms = agent->ack_timeout_ms,
        .rejoin_ms_min = ptl_config_scaled(cfg, 1000),
    };
    strcpy(session.device, app->identity.id);
    ptl_session_init(&app->session, &session);
    app->adapter = ptl_adapter_realtime(&app->session);
}

// Once, for the life of the process.
static bool memory_take(struct ptl_app *app, struct ptl_agent_memory *memory)
{
    app->memory[0] = malloc(memory->queue_bytes);
    app->memory[1] = malloc(memory->record_bytes);
    app->memory[2] = calloc(memory->flight_count, sizeof(memory->flights[0]));
    memory->queue = app->memory[0];
    memory->record = app->memory[1];
    memory->flights = app->memory[2];
    return memory->queue != NULL && memory->record != NULL && memory->flights != NULL;
}

// What `check-config` cannot see: a journal that exists keeps the blocks it was made with.
static void settings_tell(const struct ptl_app *app, size_t record_bytes, enum ptl_status status)
{
    if (app->media.mounted && ptl_journal_record_bytes_max(&app->media.journal) < record_bytes) {
        ptl_log(PTL_LOG_ERROR,
                "[journal] file = %s was made with blocks of %u bytes, whose longest record is %u; "
                "[events] bytes_max = %u needs %zu: set bytes_max to %u or less, or move the file "
                "away once its events are delivered, or name another one",
                app->cfg->journal.file, app->media.flash.flash.block_bytes,
                ptl_journal_record_bytes_max(&app->media.journal), app->limits.event_bytes_max,
                record_bytes,
                ptl_journal_record_bytes_max(&app->media.journal) - PTL_AGENT_RECORD_SLACK);
        return;
    }
    ptl_log(PTL_LOG_ERROR, "the settings do not fit together (%d)", (int)status);
}

static bool agent_start(struct ptl_app *app)
{
    struct ptl_agent_config agent;
    uint64_t seed = 0;
    if (!agent_config(app, &agent) || ptl_entropy(&seed, sizeof(seed)) != PTL_OK) {
        ptl_log(PTL_LOG_ERROR, "the kernel gives no random bits");
        return false;
    }
    session_start(app, &agent);
    struct ptl_agent_memory memory = {
        .queue_bytes = app->cfg->queue.bytes & ~(size_t)7,
        .record_bytes = agent.limits.event_bytes_max + PTL_AGENT_RECORD_SLACK,
        .flight_count = (uint32_t)agent.batch.window_max +
                        (agent.delivery == PTL_STORED ? FLIGHTS_STORED : FLIGHTS_ACCEPT),
    };
    if (!memory_take(app, &memory)) {
        ptl_log(PTL_LOG_ERROR, "out of memory");
        return false;
    }
    const struct ptl_now now = ptl_app_now(app);
    enum ptl_status status =
        ptl_agent_init(&app->agent, &agent, &memory,
                       app->media.mounted ? &app->media.journal : NULL, &app->adapter, seed, &now);
    if (status != PTL_OK) {
        settings_tell(app, memory.record_bytes, status);
        return false;
    }
    return true;
}

static bool link_start(struct ptl_app *app)
{
    const struct ptl_config *cfg = app->cfg;
    const char *error = NULL;
    ptl_url_with_key(cfg->server.path, cfg->key, app->lws_path, sizeof(app->lws_path));
    app->lws_cfg = (struct ptl_lws_config){
        .host = cfg->server.host,
        .path = app->lws_path,
        .ca_file = cfg->server.ca_file,
        .port = cfg->server.port,
        .tls = cfg->server.tls,
        .connect_ms = ptl_config_scaled(cfg, cfg->server.connect_timeout_ms),
        .address_ms = ptl_config_scaled(cfg, cfg->server.address_timeout_ms),
        .ping_s = cfg->server.ping_s,
        .ping_wait_s = cfg->server.ping_s,
        .rx_bytes = RX_BYTES,
        .token_bytes = strlen(cfg->token),
        .fds_max = FDS_MAX,
        .ctx = app,
        .now = loop_now,
        .connecting = connecting,
        .link_up = link_up,
        .link_down = link_down,
        .server_date = server_date,
        .polled = polled,
        .log = library_log,
    };
    app->lws = ptl_lws_create(&app->lws_cfg, &app->agent, &error);
    if (app->lws == NULL) {
        ptl_log(PTL_LOG_ERROR, "%s%s%s", error, cfg->server.tls ? ": " : "",
                cfg->server.tls ? cfg->server.ca_file : "");
        return false;
    }
    return true;
}

static bool media_start(struct ptl_app *app, const char *boot)
{
    switch (ptl_media_open(&app->media, app->cfg, boot)) {
    case PTL_MEDIA_MOUNTED:
    case PTL_MEDIA_OFF:
        return true;
    case PTL_MEDIA_MISSING:
        if (app->cfg->delivery.durability == PTL_DURABLE_SYNC) {
            ptl_log(PTL_LOG_ERROR,
                    "%s: durability = sync cannot be kept, so the agent does not start",
                    app->media.why);
            return false;
        }
        ptl_log(
            PTL_LOG_ERROR,
            "%s: running without a journal; what RAM holds is lost if the agent stops while the "
            "link is down",
            app->media.why);
        return true;
    case PTL_MEDIA_BUSY:
        break;
    }
    ptl_log(PTL_LOG_ERROR, "%s", app->media.why);
    return false;
}

static bool identity_start(struct ptl_app *app)
{
    const char *stored = app->media.mounted ? app->media.journal.device : "";
    if (ptl_identity_find(app->cfg->device.id, stored, "", &app->identity) != PTL_OK) {
        ptl_log(PTL_LOG_ERROR, "this device has no name and no random bits: set [device] id");
        return false;
    }
    app->identity.from = app->cfg->device.id_of_token ? "token" : app->identity.from;
    if (app->identity.store && app->media.mounted &&
        (ptl_journal_device_set(&app->media.journal, app->identity.id) != PTL_OK ||
         ptl_journal_sync(&app->media.journal) != PTL_OK)) {
        ptl_log(PTL_LOG_WARNING, "the device's name could not be kept in the journal");
    }
    struct ptl_writer w = ptl_writer_on((uint8_t *)app->source, sizeof(app->source) - 1);
    const char *source =
        app->cfg->device.source[0] != '\0' ? app->cfg->device.source : app->identity.id;
    ptl_write_json_escaped(&w, ptl_span_of_text(source));
    app->source[w.len] = '\0';
    return true;
}

static bool media_watch(struct ptl_app *app)
{
    if (!app->media.mounted) {
        return true;
    }
    ptl_media_start(&app->media);
    return ptl_lws_watch(app->lws, &app->media_done, app->media.event_fd, media_ready, app);
}

static bool inputs_start(struct ptl_app *app)
{
    return ptl_seqpacket_start(&app->input_seqpacket, app) &&
           ptl_datagram_start(&app->input_datagram, app) &&
           ptl_stdin_start(&app->input_stdin, app) && ptl_host_metrics_start(&app->host, app) &&
           signals_start(app);
}

// What is still held at the end, in words; whether all of it is safe.
static int ended(struct ptl_app *app)
{
    struct ptl_agent_status s;
    const struct ptl_now now = ptl_app_now(app);
    look(app, &now);
    ptl_agent_status_get(&app->agent, &now, &s);
    ptl_log(PTL_LOG_INFO,
            "stopped: %llu events emitted, %llu %s, %llu held, %llu lost, %llu uncertain, %llu "
            "rejected",
            (unsigned long long)s.emitted, (unsigned long long)s.delivered,
            app->cfg->delivery.delivery == PTL_STORED ? "delivered" : "acknowledged",
            (unsigned long long)s.held, (unsigned long long)s.lost, (unsigned long long)s.uncertain,
            (unsigned long long)s.rejected);
    if (s.held_ram > 0) {
        ptl_log(PTL_LOG_ERROR, "%llu events were only in RAM and are gone",
                (unsigned long long)s.held_ram);
    }
    if (app->media_hung) {
        ptl_log(PTL_LOG_ERROR, "the journal may lack what was written in its last moments");
    }
    return s.held_ram > 0 || app->media_hung ? 1 : 0;
}

int ptl_app_run(struct ptl_app *app, struct ptl_config *cfg)
{
    char boot[PTL_BOOT_BYTES_MAX + 1];
    app->cfg = cfg;
    app->limits = (struct ptl_event_limits){.event_bytes_max = cfg->events.bytes_max,
                                            .depth_max = cfg->events.depth_max};
    app->input_seqpacket.fd = -1;
    app->input_datagram.fd = -1;
    ptl_clock_init(&app->clock);
    app->started_ms = ptl_app_now(app).mono_ms;
    app->rate_old.at_ms = app->started_ms;
    app->rate_new.at_ms = app->started_ms;
    ptl_boot_id(boot);
    int result = 2;
    if (media_start(app, boot) && identity_start(app) && agent_start(app) && link_start(app)) {
        const struct ptl_now now = ptl_app_now(app);
        ptl_agent_status_get(&app->agent, &now, &app->seen);
        if (media_watch(app) && inputs_start(app)) {
            ptl_log(PTL_LOG_INFO, "petrel " PETREL_VERSION " started as %s (%s)", app->identity.id,
                    app->identity.from);
            ptl_lws_run(app->lws);
            result = ended(app);
        }
        ptl_seqpacket_stop(&app->input_seqpacket);
        ptl_datagram_stop(&app->input_datagram);
        ptl_lws_destroy(app->lws);
    }
    ptl_media_close(&app->media, app->media_hung ? 0 : ptl_config_scaled(cfg, cfg->agent.drain_ms));
    return result;
}
