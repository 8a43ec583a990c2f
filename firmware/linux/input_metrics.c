// input_metrics.c - host figures as events: one a group and sample, posted together so that they
// leave in one message. While the agent has no room a sample waits; one that comes meanwhile is
// left out and counted.
#include <stdlib.h>
#include <string.h>

#include "app.h"

static void missing(void *ctx, const char *figure, const char *why)
{
    (void)ctx;
    ptl_log(PTL_LOG_WARNING, "host metrics: %s is left out: %s", figure, why);
}

static bool waiting_post(struct ptl_host_metrics *in, const struct ptl_now *now)
{
    bool posted = false;
    for (uint32_t i = 0; i < PTL_METRICS_GROUPS; i++) {
        if (in->len[i] == 0) {
            continue;
        }
        const struct ptl_event event = {
            .event_type = ptl_span_of_text(ptl_metrics_event_type((enum ptl_metrics_group)i)),
            .source = PTL_SPAN_OF("host"),
            .data = {in->data[i], in->len[i]},
            .severity = PTL_INFO,
        };
        uint64_t seq = 0;
        enum ptl_status status = ptl_agent_post(&in->app->agent, &event, now, &seq);
        if (status == PTL_E_AGAIN) {
            break;
        }
        if (status != PTL_OK) {
            ptl_log_keyed(PTL_LOG_WARNING, "metrics size", "%s is larger than events may be",
                          ptl_metrics_event_type((enum ptl_metrics_group)i));
        }
        in->len[i] = 0;
        posted = true;
    }
    return posted;
}

void ptl_host_metrics_due(struct ptl_host_metrics *in, const struct ptl_now *now)
{
    if (!in->any || now->mono_ms < in->next_ms) {
        return;
    }
    uint32_t interval_ms = in->app->cfg->metrics.interval_ms;
    in->next_ms += interval_ms;
    if (in->next_ms <= now->mono_ms) { // suspended, or very late: no burst of samples
        in->next_ms = now->mono_ms + interval_ms;
    }
    for (uint32_t i = 0; i < PTL_METRICS_GROUPS; i++) {
        if (in->len[i] > 0) {
            in->skipped++;
        } else if (in->on[i]) {
            struct ptl_writer w = ptl_writer_on(in->data[i], PTL_METRICS_DATA_MAX);
            bool any = ptl_metrics_sample(&in->metrics, (enum ptl_metrics_group)i, &w);
            in->len[i] = any ? w.len : 0;
        }
    }
    if (waiting_post(in, now)) {
        ptl_lws_kick(in->app->lws);
    }
}

bool ptl_host_metrics_again(struct ptl_host_metrics *in)
{
    bool any = false;
    for (uint32_t i = 0; i < PTL_METRICS_GROUPS; i++) {
        any = any || in->len[i] > 0;
    }
    if (!any) {
        return false;
    }
    const struct ptl_now now = ptl_app_now(in->app);
    return waiting_post(in, &now);
}

bool ptl_host_metrics_start(struct ptl_host_metrics *in, struct ptl_app *app)
{
    const struct ptl_config *cfg = app->cfg;
    in->app = app;
    in->on[PTL_METRICS_CPU] = cfg->metrics.cpu;
    in->on[PTL_METRICS_MEMORY] = cfg->metrics.memory;
    in->on[PTL_METRICS_LOAD] = cfg->metrics.load;
    in->next_ms = PTL_NEVER;
    ptl_metrics_init(&in->metrics, &(struct ptl_metrics_config){
                                       .root = cfg->metrics.root, .ctx = in, .missing = missing});
    for (uint32_t i = 0; i < PTL_METRICS_GROUPS; i++) {
        in->any = in->any || in->on[i];
        if (in->on[i]) {
            in->data[i] = malloc(PTL_METRICS_DATA_MAX);
            if (in->data[i] == NULL) {
                return false;
            }
        }
    }
    if (in->any) {
        in->next_ms = ptl_app_now(app).mono_ms; // the first sample is what cpu compares with
    }
    return true;
}
