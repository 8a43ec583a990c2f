// status.c - the status report as one JSON object, for people's eyes by way of `petrel status`.
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "app.h"

const char *ptl_status_state(const struct ptl_agent_status *s)
{
    if (s->draining) {
        return "stopping";
    }
    if (s->joined && s->breaker == PTL_BREAKER_CLOSED) {
        return "delivering";
    }
    if (s->joined) {
        return "probing";
    }
    if (s->linked) {
        return "joining";
    }
    return s->connecting ? "connecting" : "waiting";
}

static const char *breaker_text(enum ptl_breaker_state state)
{
    static const char *const names[] = {"closed", "open", "half_open"};
    return names[state];
}

static const char *mode_text(enum ptl_mode mode)
{
    static const char *const names[] = {"ram", "direct", "sync"};
    return names[mode];
}

static void put_u64(struct ptl_writer *w, const char *name, uint64_t value)
{
    ptl_write_text(w, ",\"");
    ptl_write_text(w, name);
    ptl_write_text(w, "\":");
    ptl_write_u64(w, value);
}

static void put_text(struct ptl_writer *w, const char *name, const char *text)
{
    ptl_write_text(w, ",\"");
    ptl_write_text(w, name);
    ptl_write_text(w, "\":\"");
    ptl_write_json_escaped(w, ptl_span_of_text(text));
    ptl_write_byte(w, '"');
}

static void put_bool(struct ptl_writer *w, const char *name, bool value)
{
    ptl_write_text(w, ",\"");
    ptl_write_text(w, name);
    ptl_write_text(w, value ? "\":true" : "\":false");
}

// Opens a nested object; its first member repeats the name of what it is about.
static void open(struct ptl_writer *w, const char *name)
{
    ptl_write_text(w, ",\"");
    ptl_write_text(w, name);
    ptl_write_text(w, "\":{\"v\":1");
}

static void close(struct ptl_writer *w)
{
    ptl_write_byte(w, '}');
}

static void device_write(const struct ptl_app *app, const struct ptl_agent_status *s,
                         struct ptl_writer *w)
{
    static const char *const clocks[] = {"unknown", "kernel", "server"};
    put_text(w, "device", app->identity.id);
    put_text(w, "device_from", app->identity.from);
    ptl_write_text(w, ",\"epoch\":\"");
    ptl_write_hex64(w, s->epoch);
    ptl_write_byte(w, '"');
    put_u64(w, "uptime_ms", app->clock.mono_last_ms - app->started_ms);
    put_text(w, "clock", clocks[ptl_clock_source(&app->clock)]);
    put_text(w, "delivery", app->cfg->delivery.delivery == PTL_STORED ? "stored" : "accepted");
    static const char *const levels[] = {"ram", "spill", "sync"};
    put_text(w, "durability", levels[app->cfg->delivery.durability]);
}

static void link_write(const struct ptl_app *app, const struct ptl_agent_status *s,
                       struct ptl_writer *w)
{
    uint64_t now_ms = app->clock.mono_last_ms;
    open(w, "link");
    put_bool(w, "joined", s->joined);
    put_bool(w, "linked", s->linked);
    put_bool(w, "connecting", s->connecting);
    put_text(w, "breaker", breaker_text(s->breaker));
    put_text(w, "cause", s->cause);
    if (s->retry_at_ms != PTL_NEVER) {
        put_u64(w, "retry_in_ms", s->retry_at_ms > now_ms ? s->retry_at_ms - now_ms : 0);
    } else {
        ptl_write_text(w, ",\"retry_in_ms\":null");
    }
    put_u64(w, "connects", s->connects);
    put_u64(w, "lost", s->links_lost);
    char server[PTL_CONFIG_TEXT_MAX + 16];
    snprintf(server, sizeof(server), "%s:%u", app->cfg->server.host, app->cfg->server.port);
    put_text(w, "server", server);
    put_bool(w, "private", app->cfg->server.private_channels);
    if (s->linked) {
        put_text(w, "address", app->peer.address);
    }
    close(w);
    open(w, "tls");
    put_bool(w, "verified", s->linked && app->peer.tls);
    put_bool(w, "plain", !app->cfg->server.tls);
    if (s->linked && app->peer.tls) {
        put_text(w, "version", app->peer.tls_version);
        put_text(w, "cipher", app->peer.cipher);
        put_text(w, "subject", app->peer.subject);
        put_text(w, "issuer", app->peer.issuer);
        if (app->peer.cert_until_unix_s > 0) {
            ptl_write_text(w, ",\"valid_until\":\"");
            ptl_write_rfc3339(w, app->peer.cert_until_unix_s * 1000);
            ptl_write_byte(w, '"');
        }
    }
    close(w);
}

static void counters_write(const struct ptl_app *app, const struct ptl_agent_status *s,
                           struct ptl_writer *w)
{
    open(w, "events");
    put_u64(w, "emitted", s->emitted);
    put_u64(w, app->cfg->delivery.delivery == PTL_STORED ? "delivered" : "acknowledged",
            s->delivered);
    put_u64(w, "held", s->held);
    put_u64(w, "lost", s->lost);
    put_u64(w, "uncertain", s->uncertain);
    put_u64(w, "rejected", s->rejected);
    put_u64(w, "in_flight", s->in_flight);
    put_u64(w, "held_ram", s->held_queue);
    put_u64(w, "held_journal", s->held_journal);
    put_u64(w, "held_earlier_runs", s->held_earlier);
    put_u64(w, "delivered_earlier_runs", s->delivered_earlier);
    put_u64(w, "dropped_earlier_runs", s->dropped_earlier);
    put_u64(w, "oldest_ms", s->oldest_ms);
    put_u64(w, "next_seq", s->next_seq);
    put_u64(w, "durable_next", s->durable_next);
    close(w);
    open(w, "traffic");
    put_u64(w, "messages_sent", s->messages_sent);
    put_u64(w, "events_sent", s->events_sent);
    put_u64(w, "bytes_sent", s->bytes_sent);
    put_u64(w, "acks", s->acks);
    put_u64(w, "ack_timeouts", s->ack_timeouts);
    put_u64(w, "resent_batches", s->resent_batches);
    put_u64(w, "late_acks", s->late_acks);
    put_u64(w, "refused", s->refused);
    put_u64(w, "receipts", s->receipts);
    put_u64(w, "receipts_foreign", s->receipts_foreign);
    put_u64(w, "ignored", s->ignored);
    put_u64(w, "window", s->window);
    put_u64(w, "last_batch_events", s->last_batch_events);
    put_u64(w, "last_batch_bytes", s->last_batch_bytes);
    uint64_t since_ms = app->clock.mono_last_ms - app->rate_old.at_ms;
    since_ms = since_ms > 0 ? since_ms : 1;
    put_u64(w, "events_per_1000_s", (s->events_sent - app->rate_old.events) * 1000000 / since_ms);
    put_u64(w, "messages_per_1000_s",
            (s->messages_sent - app->rate_old.messages) * 1000000 / since_ms);
    close(w);
}

static void journal_write(const struct ptl_app *app, const struct ptl_agent_status *s,
                          struct ptl_writer *w)
{
    const struct ptl_journal *j = &app->media.journal;
    open(w, "journal");
    put_bool(w, "mounted", app->media.mounted);
    put_bool(w, "failed", s->media_failed);
    put_text(w, "why", app->media.mounted ? "" : app->media.why);
    put_text(w, "file", app->cfg->journal.file);
    put_text(w, "mode", mode_text(s->mode));
    put_bool(w, "spilling", s->spilling);
    put_u64(w, "spill_misses", s->spill_misses);
    put_u64(w, "gaps_unconfirmed", s->gap_count);
    put_u64(w, "ends_unconfirmed", s->end_count);
    if (app->media.mounted) {
        put_u64(w, "run", j->run.run);
        put_u64(w, "erases", j->counters.erases);
        put_u64(w, "blocks", j->cfg.flash->block_count);
        put_u64(w, "bytes_programmed", j->counters.bytes_programmed);
        put_u64(w, "data_bytes", j->counters.data_bytes);
        put_u64(w, "syncs", j->counters.syncs);
        put_u64(w, "damaged", j->counters.damaged);
    }
    close(w);
}

static void input_write(struct ptl_writer *w, const char *name,
                        const struct ptl_door_counts *counts)
{
    open(w, name);
    put_u64(w, "accepted", counts->accepted);
    put_u64(w, "malformed", counts->malformed);
    put_u64(w, "too_large", counts->too_large);
    put_u64(w, "reserved", counts->reserved);
    close(w);
}

static void inputs_write(const struct ptl_app *app, struct ptl_writer *w)
{
    open(w, "inputs");
    input_write(w, "stdin", &app->input_stdin.counts);
    input_write(w, "datagram", &app->input_datagram.counts);
    input_write(w, "seqpacket", &app->input_seqpacket.counts);
    put_u64(w, "datagrams", app->input_datagram.datagrams);
    put_u64(w, "datagrams_truncated", app->input_datagram.truncated);
    put_u64(w, "metrics_skipped", app->host.skipped);
    close(w);
}

size_t ptl_status_json(struct ptl_app *app, char *out, size_t cap)
{
    struct ptl_agent_status s;
    const struct ptl_now now = ptl_app_now(app);
    ptl_agent_status_get(&app->agent, &now, &s);
    struct ptl_writer w = ptl_writer_on((uint8_t *)out, cap);
    ptl_write_text(&w, "{\"petrel\":\"status\",\"version\":\"" PETREL_VERSION "\"");
    put_text(&w, "state", ptl_status_state(&s));
    device_write(app, &s, &w);
    link_write(app, &s, &w);
    counters_write(app, &s, &w);
    journal_write(app, &s, &w);
    inputs_write(app, &w);
    ptl_write_byte(&w, '}');
    PTL_ASSERT(!w.overflow); // PTL_STATUS_BYTES_MAX holds the longest texts
    return w.len;
}
