// The realtime adapter: a session (components/realtime) seen through struct ptl_adapter_ops. Adds
// nothing but the reaction.
#include "ptl_adapter.h"
#include "ptl_session.h"

static enum ptl_cause_kind cause_kind(enum ptl_session_cause cause)
{
    switch (cause) {
    case PTL_SESSION_CAUSE_JOIN:
        return PTL_CAUSE_JOIN;
    case PTL_SESSION_CAUSE_SYSTEM:
        return PTL_CAUSE_SYSTEM;
    case PTL_SESSION_CAUSE_LOCAL:
        break;
    }
    return PTL_CAUSE_LOCAL;
}

static struct ptl_adapter_event event_of(const struct ptl_session_event *event)
{
    struct ptl_adapter_event out = {.ref = event->ref, .text = event->text};
    switch (event->type) {
    case PTL_SESSION_NONE:
        out.type = PTL_ADAPTER_NONE;
        break;
    case PTL_SESSION_IS_JOINED:
        out.type = PTL_ADAPTER_READY;
        break;
    case PTL_SESSION_ACKED:
        out.type = PTL_ADAPTER_ACKED;
        break;
    case PTL_SESSION_REFUSED:
        out.type = PTL_ADAPTER_REFUSED;
        out.reaction = ptl_reaction_for(PTL_CAUSE_PUSH, 0, event->text);
        break;
    case PTL_SESSION_RECEIPT:
        out.type = PTL_ADAPTER_RECEIPT;
        break;
    case PTL_SESSION_LOST:
        out.type = PTL_ADAPTER_LOST;
        out.reaction = ptl_reaction_for(cause_kind(event->cause), 0, event->text);
        break;
    case PTL_SESSION_IGNORED:
        out.type = PTL_ADAPTER_IGNORED;
        break;
    }
    return out;
}

static void realtime_link_up(void *ctx, uint64_t now_ms)
{
    ptl_session_link_up(ctx, now_ms);
}

static void realtime_link_down(void *ctx)
{
    ptl_session_link_down(ctx);
}

static void realtime_drain(void *ctx)
{
    ptl_session_drain(ctx);
}

static struct ptl_adapter_event realtime_recv(void *ctx, struct ptl_span message, bool binary,
                                              uint64_t now_ms)
{
    struct ptl_session_event event = ptl_session_recv(ctx, message, binary, now_ms);
    return event_of(&event);
}

static struct ptl_adapter_event realtime_tick(void *ctx, uint64_t now_ms)
{
    struct ptl_session_event event = ptl_session_tick(ctx, now_ms);
    return event_of(&event);
}

static bool realtime_control_due(const void *ctx, uint64_t now_ms)
{
    return ptl_session_control_due(ctx, now_ms);
}

static enum ptl_status realtime_control_write(void *ctx, struct ptl_writer *w, uint64_t now_ms)
{
    return ptl_session_control_write(ctx, w, now_ms);
}

static enum ptl_status realtime_push_begin(void *ctx, struct ptl_writer *w, uint32_t *ref)
{
    return ptl_session_push_begin(ctx, w, ref);
}

static uint64_t realtime_deadline(const void *ctx)
{
    return ptl_session_deadline(ctx);
}

#define REALTIME_OPS(with_receipts)                                                                \
    {                                                                                              \
        .link_up = realtime_link_up, .link_down = realtime_link_down, .drain = realtime_drain,     \
        .recv = realtime_recv, .tick = realtime_tick, .control_due = realtime_control_due,         \
        .control_write = realtime_control_write, .push_begin = realtime_push_begin,                \
        .deadline = realtime_deadline, .receipts = (with_receipts),                                \
    }

struct ptl_adapter ptl_adapter_realtime(struct ptl_session *session)
{
    // Receipts come on the downlink, which public channels do not have.
    static const struct ptl_adapter_ops with_downlink = REALTIME_OPS(true);
    static const struct ptl_adapter_ops without_downlink = REALTIME_OPS(false);
    return (struct ptl_adapter){
        .ops = session->cfg.private_channels ? &with_downlink : &without_downlink,
        .ctx = session,
    };
}
