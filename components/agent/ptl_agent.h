// ptl_agent.h - the agent: composes record, queue, journal, batch, breaker and an adapter into the
// promise of the README: nothing accepted is lost silently. Sans I/O; the same object runs under
// libwebsockets, on a microcontroller and in the simulator.
//
// The driver's loop, after every input, timer or socket event:
//
//     switch (ptl_agent_poll(&agent, &now)) {
//     case PTL_WANT_CONNECT: start a connect, later ptl_agent_link_up() or _link_down(); break;
//     case PTL_WANT_SEND:    when the socket can take a message: ptl_agent_write(), send it whole;
//     break; case PTL_WANT_CLOSE:   close the socket, then ptl_agent_link_down(); break; case
//     PTL_WANT_IDLE:    break; case PTL_WANT_EXIT:    drained (ptl_agent_drain): leave the loop;
//     break;
//     }
//     arm one timer for ptl_agent_deadline(&agent);
//
// Threads   one owner; no call blocks or re-enters. `now` is sampled once per entry and never
// falls. Memory    all from the caller (struct ptl_agent_memory); nothing is allocated.
#pragma once

#include "ptl_adapter.h"
#include "ptl_base.h"
#include "ptl_batch.h"
#include "ptl_batch_text.h"
#include "ptl_breaker.h"
#include "ptl_journal.h"
#include "ptl_queue.h"
#include "ptl_record.h"

enum ptl_delivery {
    PTL_ACCEPTED, // released on the Realtime acknowledgement
    PTL_STORED,   // released on a receipt from whoever stored the events
};

enum ptl_durability {
    PTL_DURABLE_RAM,   // survives link failure only
    PTL_DURABLE_SPILL, // RAM while the link is good, spilled to the journal when it is not
    PTL_DURABLE_SYNC,  // synced to media before it counts as accepted and before it is sent
};

#define PTL_SOURCE_NAME_MAX 32
// An event at its limit may grow by this much when it is encoded.
#define PTL_AGENT_RECORD_SLACK 64u

struct ptl_agent_config {
    char device[PTL_DEVICE_BYTES_MAX + 1];
    char boot[PTL_BOOT_BYTES_MAX + 1];
    char receipt_from[PTL_SOURCE_NAME_MAX + 1]; // "main"
    uint64_t epoch;                             // 64 random bits, new at every start
    struct ptl_span default_source;             // JSON string body, for events without a source
    struct ptl_span version;                    // of the program, for petrel.status
    enum ptl_delivery delivery;
    enum ptl_durability durability;
    struct ptl_event_limits limits;
    struct ptl_batch_config batch;
    struct ptl_breaker_config breaker;
    uint8_t high_water_percent;  // 75: of the RAM queue; above it spilling starts
    uint8_t low_water_percent;   // 25
    uint32_t commit_ms;          // 1,000: group commit of the journal
    uint32_t spill_ms_max;       // 500: target for all of RAM spilled and synced
    uint32_t ack_timeout_ms;     // 5,000
    uint32_t receipt_timeout_ms; // 10,000 after its ack an unreceipted batch is sent again
    uint32_t resend_ms;          // 2,000 after later sends were covered
    uint32_t status_ms;          // 60,000 between petrel.status events; 0: none
};

// One batch sent and not yet settled.
struct ptl_flight {
    struct ptl_range seqs;
    uint64_t epoch;
    uint64_t due_ms;  // of the ack, or of the resend
    uint64_t mono_ms; // when its first record was accepted (replay of this boot), else 0
    uint32_t serial;  // order of sending
    uint32_t ref;     // of the adapter
    uint8_t state;    // enum in agent.c, 0 = free
    uint8_t flow;
    bool again; // sent before
};

struct ptl_agent_memory {
    uint8_t *queue;     // RAM queue
    size_t queue_bytes; // multiple of 8
    uint8_t *record;    // one encoded record: limits.event_bytes_max + PTL_AGENT_RECORD_SLACK
    size_t record_bytes;
    struct ptl_flight *flights;
    uint32_t flight_count; // at least batch.window_max + 1; more where receipts are awaited
};

// Everything a status report shows. Counters of the present run obey
// emitted = delivered + held + lost + uncertain.
struct ptl_agent_status {
    uint64_t epoch;
    uint64_t emitted, delivered, held, lost, uncertain, rejected;
    uint64_t held_queue, held_journal; // of the present run
    uint64_t held_ram;                 // in the RAM queue, of any run
    uint64_t held_earlier;             // records of earlier runs waiting for replay
    uint64_t delivered_earlier, dropped_earlier;
    uint64_t in_flight; // events sent and not acknowledged
    uint64_t oldest_ms; // age of the oldest event held, 0 if none; of those of earlier starts only
                        // the time since this start is known
    uint64_t queue_bytes;
    uint64_t messages_sent, events_sent, bytes_sent, acks, receipts, receipts_foreign, ack_timeouts;
    uint64_t receipts_beyond; // receipts that named what was never sent
    uint64_t resent_batches, late_acks, refused, ignored;
    uint64_t spill_misses; // spills that took longer than spill_ms_max
    uint64_t connects, links_lost;
    uint64_t retry_at_ms; // next connect try (mono), PTL_NEVER
    uint64_t durable_next;
    uint64_t next_seq;
    uint32_t window;
    uint32_t last_batch_events, last_batch_bytes;
    uint8_t gap_count, end_count; // unconfirmed
    enum ptl_breaker_state breaker;
    enum ptl_mode mode;
    bool joined, linked, connecting, spilling, media, media_failed, draining;
    enum ptl_reaction cause_reaction; // of the last loss
    char cause[128];                  // its text, cut at a character, "" if none
};

enum ptl_want { PTL_WANT_IDLE, PTL_WANT_CONNECT, PTL_WANT_SEND, PTL_WANT_CLOSE, PTL_WANT_EXIT };

// Why a link ended or could not be made, as the driver saw it.
struct ptl_link_end {
    enum ptl_cause_kind kind; // HTTP, CLOSE or LOCAL
    uint32_t code;            // HTTP status or close code
    struct ptl_span text;     // words for the user, e.g. "certificate has expired: CN=..."
    uint32_t retry_after_ms;  // of a Retry-After header, 0 if none
};

struct ptl_agent; // complete in ptl_agent_private.h, which this header includes at its end

// `journal` is mounted, or NULL: no medium (then only PTL_DURABLE_RAM keeps its promise).
// `adapter` is borrowed. PTL_E_INVALID: a setting breaks its rule.
PTL_MUST_USE enum ptl_status ptl_agent_init(struct ptl_agent *a, const struct ptl_agent_config *cfg,
                                            const struct ptl_agent_memory *memory,
                                            struct ptl_journal *journal,
                                            const struct ptl_adapter *adapter, uint64_t seed,
                                            const struct ptl_now *now);

// Accepts one event (from ptl_event_parse, or filled in by hand) and gives its number. At
// durability `sync` it counts as accepted only once ptl_agent_durable_next() is above *seq.
// PTL_E_AGAIN    nothing happened: the medium is busy (the run is being opened, a block changes) or
//                there is no room: keep the event, poll, try again after the next media_ready,
//                acknowledgement or deadline (backpressure)
// PTL_E_TOO_BIG  above limits.event_bytes_max: counted as rejected
PTL_MUST_USE enum ptl_status ptl_agent_post(struct ptl_agent *a, const struct ptl_event *event,
                                            const struct ptl_now *now, uint64_t *seq);
// While the link is good and the RAM queue fills faster than it drains, inputs that can wait
// (standard input) should stop being read: that costs less than spilling and loses nothing.
bool ptl_agent_wants_pause(const struct ptl_agent *a);
// The door counts what it refused before it came to a post.
void ptl_agent_count_rejected(struct ptl_agent *a);

void ptl_agent_link_up(struct ptl_agent *a, const struct ptl_now *now);
// Also after PTL_WANT_CLOSE, and for a connect that failed.
void ptl_agent_link_down(struct ptl_agent *a, const struct ptl_link_end *end,
                         const struct ptl_now *now);
// One whole message. Messages above the driver's buffer are discarded there and only counted here.
void ptl_agent_recv(struct ptl_agent *a, struct ptl_span message, bool binary,
                    const struct ptl_now *now);
void ptl_agent_recv_oversize(struct ptl_agent *a);
// The flash finished a pending operation.
void ptl_agent_media_ready(struct ptl_agent *a, enum ptl_status result, const struct ptl_now *now);

// Does what time asks for (timeouts, spilling, commits) within a bound, and says what the driver
// has to do. PTL_WANT_CONNECT is said once.
enum ptl_want ptl_agent_poll(struct ptl_agent *a, const struct ptl_now *now);
// Writes one message. Only when the socket can take one; `cap` at least
// ptl_agent_message_bytes_max(). PTL_E_EMPTY: there was none after all.
PTL_MUST_USE enum ptl_status ptl_agent_write(struct ptl_agent *a, const struct ptl_now *now,
                                             uint8_t *buf, size_t cap, size_t *len, bool *binary);
size_t ptl_agent_message_bytes_max(const struct ptl_agent *a);
// When poll has to be called again at the latest (mono_ms), or PTL_NEVER.
uint64_t ptl_agent_deadline(const struct ptl_agent *a);

// Every event of this run below the result is on media. Without a medium 0.
uint64_t ptl_agent_durable_next(const struct ptl_agent *a);

// Begins the end: sends what is held until `deadline_ms` (mono), then spills the rest, closes the
// run and asks for PTL_WANT_EXIT. Posts are answered PTL_E_AGAIN from now on. Called again, it can
// only bring the deadline nearer.
void ptl_agent_drain(struct ptl_agent *a, uint64_t deadline_ms, const struct ptl_now *now);

void ptl_agent_status_get(const struct ptl_agent *a, const struct ptl_now *now,
                          struct ptl_agent_status *status);

#include "ptl_agent_private.h"
