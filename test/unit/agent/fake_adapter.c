#include "fake_adapter.h"

static void link_up(void *ctx, uint64_t now_ms)
{
    struct fake_adapter *fake = ctx;
    (void)now_ms;
    fake->links_up++;
}

static void link_down(void *ctx)
{
    struct fake_adapter *fake = ctx;
    fake->links_down++;
}

static void drain(void *ctx)
{
    (void)ctx;
}

static struct ptl_adapter_event take(struct fake_adapter *fake)
{
    struct ptl_adapter_event event = fake->next;
    fake->next = (struct ptl_adapter_event){0};
    return event;
}

// The message only wakes it: what it means was put into `next` by the test.
static struct ptl_adapter_event recv_message(void *ctx, struct ptl_span message, bool binary,
                                             uint64_t now_ms)
{
    (void)message;
    (void)binary;
    (void)now_ms;
    return take(ctx);
}

static struct ptl_adapter_event tick(void *ctx, uint64_t now_ms)
{
    (void)now_ms;
    return take(ctx);
}

static bool control_due(const void *ctx, uint64_t now_ms)
{
    (void)ctx;
    (void)now_ms;
    return false;
}

static enum ptl_status control_write(void *ctx, struct ptl_writer *w, uint64_t now_ms)
{
    (void)ctx;
    (void)w;
    (void)now_ms;
    return PTL_E_EMPTY;
}

static enum ptl_status push_begin(void *ctx, struct ptl_writer *w, uint32_t *ref)
{
    struct fake_adapter *fake = ctx;
    (void)w;
    *ref = ++fake->ref_last;
    return PTL_OK;
}

static uint64_t deadline(const void *ctx)
{
    (void)ctx;
    return PTL_NEVER;
}

static const struct ptl_adapter_ops ops = {
    .link_up = link_up,
    .link_down = link_down,
    .drain = drain,
    .recv = recv_message,
    .tick = tick,
    .control_due = control_due,
    .control_write = control_write,
    .push_begin = push_begin,
    .deadline = deadline,
    .receipts = true,
};

struct ptl_adapter fake_adapter_on(struct fake_adapter *fake)
{
    return (struct ptl_adapter){.ops = &ops, .ctx = fake};
}
