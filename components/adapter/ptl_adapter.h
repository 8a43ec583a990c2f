// ptl_adapter.h - one uplink, whatever protocol it speaks. The agent sees only this; `realtime` is
// the first. Calls mirror ptl_session.h, events carry the reaction that the table gives
// (reactions.c).
#pragma once

#include "ptl_base.h"
#include "ptl_bytes.h"

enum ptl_adapter_event_type {
    PTL_ADAPTER_NONE,
    PTL_ADAPTER_READY,   // batches may go
    PTL_ADAPTER_ACKED,   // message `ref` was taken
    PTL_ADAPTER_REFUSED, // message `ref` was refused; `reaction`, `text` say why
    PTL_ADAPTER_RECEIPT, // `text`: receipt JSON (docs/wire.md)
    PTL_ADAPTER_LOST,    // the link must be closed; `reaction`, `text` say why
    PTL_ADAPTER_IGNORED, // counted
};

struct ptl_adapter_event {
    enum ptl_adapter_event_type type;
    uint32_t ref;
    enum ptl_reaction reaction;
    struct ptl_span text; // borrowed until the next call
};

struct ptl_adapter_ops {
    void (*link_up)(void *ctx, uint64_t now_ms);
    void (*link_down)(void *ctx);
    void (*drain)(void *ctx);
    struct ptl_adapter_event (*recv)(void *ctx, struct ptl_span message, bool binary,
                                     uint64_t now_ms);
    struct ptl_adapter_event (*tick)(void *ctx, uint64_t now_ms);
    bool (*control_due)(const void *ctx, uint64_t now_ms);
    enum ptl_status (*control_write)(void *ctx, struct ptl_writer *w, uint64_t now_ms);
    // Opens a message for one batch; the caller appends the batch JSON.
    enum ptl_status (*push_begin)(void *ctx, struct ptl_writer *w, uint32_t *ref);
    uint64_t (*deadline)(const void *ctx);
    bool receipts; // receipts can come this way
};

struct ptl_adapter {
    const struct ptl_adapter_ops *ops;
    void *ctx;
};

// What ended a link, as the driver or the server said it.
enum ptl_cause_kind {
    PTL_CAUSE_HTTP,   // status of a refused upgrade
    PTL_CAUSE_CLOSE,  // WebSocket close code
    PTL_CAUSE_JOIN,   // reason text of a refused join
    PTL_CAUSE_SYSTEM, // message of a `system` event
    PTL_CAUSE_LOCAL,  // text of the driver: DNS, TCP, TLS, time-outs; certificates begin so
    PTL_CAUSE_PUSH,   // reason of a refused message
};

// One reaction for each documented code or text (the table is in reactions.c); unknown ones: RETRY,
// and for HTTP 4xx STOP. `code` for HTTP and CLOSE, `text` (prefix match) for the others.
enum ptl_reaction ptl_reaction_for(enum ptl_cause_kind kind, uint32_t code, struct ptl_span text);

// Wraps an initialised session, which is borrowed: whoever has it may set a new token beside.
struct ptl_session;
struct ptl_adapter ptl_adapter_realtime(struct ptl_session *session);
