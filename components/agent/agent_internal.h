// agent_internal.h - between the files of components/agent only.
#pragma once

#include "ptl_agent.h"

enum ptl_flight_state {
    PTL_FLIGHT_FREE,
    PTL_FLIGHT_WAIT_ACK,
    PTL_FLIGHT_WAIT_RECEIPT,
    PTL_FLIGHT_RESEND,  // live: still in the queue, goes out again
    PTL_FLIGHT_SETTLED, // replay: delivered, waits for room in the journal's release ranges
};

// Every entry into the agent passes here: time never falls.
void ptl_agent_enter(struct ptl_agent *a, const struct ptl_now *now);
static inline bool ptl_agent_holds_nothing(const struct ptl_agent *a)
{
    return ptl_queue_count(&a->queue) == 0 && (a->journal == NULL || a->journal->held == 0);
}
static inline bool ptl_range_contains(struct ptl_range range, uint64_t seq)
{
    return range.begin <= seq && seq < range.end;
}
static inline uint64_t ptl_min_u64(uint64_t x, uint64_t y)
{
    return x < y ? x : y;
}

// agent.c: the session is of no more use; poll says PTL_WANT_CLOSE next.
void ptl_agent_lose_link(struct ptl_agent *a, enum ptl_reaction reaction, struct ptl_span why);

// agent_post.c
PTL_MUST_USE enum ptl_status ptl_agent_accept(struct ptl_agent *a, const struct ptl_event *event,
                                              const struct ptl_now *now, uint64_t *seq);
void ptl_agent_queue_left(struct ptl_agent *a, uint64_t seq, size_t bytes);

// agent_store.c: spilling, commits, gaps, what happens to the medium.
void ptl_agent_spill_begin(struct ptl_agent *a, uint64_t now_ms);
void ptl_agent_store_work(struct ptl_agent *a, uint64_t now_ms);
void ptl_agent_commit_soon(struct ptl_agent *a, uint64_t now_ms, uint32_t delay_ms);
uint64_t ptl_agent_store_deadline(const struct ptl_agent *a, uint64_t now_ms);
void ptl_agent_media_lost(struct ptl_agent *a);
void ptl_agent_note_drops(struct ptl_agent *a);
void ptl_agent_synced(struct ptl_agent *a);
void ptl_agent_journal_took(struct ptl_agent *a, uint64_t seq, uint64_t held_before,
                            uint64_t mono_ms);
// Some gap still waits for the sync that makes it fit to be said.
static inline bool ptl_agent_gap_unsynced(const struct ptl_agent *a)
{
    return a->gaps_added != a->gaps_synced;
}
// `count` of its seqs were events without a verdict so far, `held_in_journal` of them records
// there.
PTL_MUST_USE enum ptl_status ptl_agent_gap_add(struct ptl_agent *a, const struct ptl_gap *gap,
                                               uint32_t count, uint32_t held_in_journal);
void ptl_agent_gap_confirm(struct ptl_agent *a, uint64_t epoch, struct ptl_range covered);
void ptl_agent_end_confirm(struct ptl_agent *a, const struct ptl_end *end);
const struct ptl_gap *ptl_agent_gaps(const struct ptl_agent *a, uint32_t *count);
const struct ptl_end *ptl_agent_ends(const struct ptl_agent *a, uint32_t *count);

// agent_flight.c: what was sent and is not settled.
struct ptl_flight *ptl_agent_flight_free(struct ptl_agent *a);
// Free slots. Where there is none, makes one out of two that may become one.
uint32_t ptl_agent_flights_room(struct ptl_agent *a);
uint32_t ptl_agent_in_flight(const struct ptl_agent *a);
bool ptl_agent_resend_waits(const struct ptl_agent *a);
bool ptl_agent_replay_in_flight(const struct ptl_agent *a, uint64_t seq);
uint64_t ptl_agent_flight_low(const struct ptl_agent *a, enum ptl_batch_flow flow);
void ptl_agent_flight_spilled(struct ptl_agent *a, uint64_t seq);
void ptl_agent_flights_link_down(struct ptl_agent *a);
void ptl_agent_flights_forget_replay(struct ptl_agent *a);
void ptl_agent_acked(struct ptl_agent *a, uint32_t ref, uint64_t now_ms);
// `content`: the refusal is a verdict on what the batch holds; otherwise it goes out again.
void ptl_agent_refused(struct ptl_agent *a, uint32_t ref, bool content, uint64_t now_ms);
void ptl_agent_flights_covered(struct ptl_agent *a, const struct ptl_covered *covered,
                               uint64_t now_ms);
bool ptl_agent_backlog_waits_for_receipt(const struct ptl_agent *a);
void ptl_agent_flights_timeouts(struct ptl_agent *a, uint64_t now_ms);
uint64_t ptl_agent_flights_deadline(const struct ptl_agent *a);
void ptl_agent_count_delivered(struct ptl_agent *a, uint64_t epoch, uint64_t count);
void ptl_agent_replay_rewind(struct ptl_agent *a);

// agent_send.c: what goes out next.
struct ptl_batch_decision ptl_agent_decide(struct ptl_agent *a, uint64_t now_ms);
PTL_MUST_USE enum ptl_status ptl_agent_send(struct ptl_agent *a, const struct ptl_now *now,
                                            struct ptl_writer *w);
bool ptl_agent_control_waits(const struct ptl_agent *a);
uint64_t ptl_agent_own_floor(const struct ptl_agent *a);
uint64_t ptl_agent_replay_low(const struct ptl_agent *a);

// agent_receipt.c
void ptl_agent_receipt(struct ptl_agent *a, struct ptl_span text, uint64_t now_ms);
bool ptl_agent_is_covered(const struct ptl_agent *a, uint64_t epoch, struct ptl_range range);

// agent_drain.c
void ptl_agent_drain_work(struct ptl_agent *a, uint64_t now_ms);
uint64_t ptl_agent_drain_deadline(const struct ptl_agent *a, uint64_t now_ms);

// agent_status.c
void ptl_agent_status_work(struct ptl_agent *a, const struct ptl_now *now);
uint64_t ptl_agent_status_deadline(const struct ptl_agent *a);
