// ptl_sim_receiver.h - a model collector: takes batches by docs/wire.md, commits them, deduplicates
// by (device, epoch, seq), keeps gaps and ends, checks the floor, answers with receipts. Its
// storage outlives its process.
//
// A rule that a device breaks is kept as `violation`, the first one, in words.
#pragma once

#include "ptl_base.h"
#include "ptl_bytes.h"
#include "ptl_sim_ledger.h"
#include "ptl_sim_link.h"
#include "ptl_sim_wire.h"

struct ptl_sim_receiver_config {
    char device[PTL_DEVICE_BYTES_MAX + 1];
    char source[33];
    bool receipts;
    bool stored;          // delivery level of the device: then the floor check knows no excuse
    uint32_t commit_ms;   // from arrival to commit
    uint32_t coalesce_ms; // 1,000 between receipts
};

struct ptl_sim_receiver_faults {
    uint32_t receipt_drop_permille;
    uint32_t receipt_delay_ms_max; // each on its own: reorders
    uint32_t receipts_to_lose;     // the next ones
    bool foreign;                  // another source claims everything
};

struct ptl_sim_receiver {
    struct ptl_sim_receiver_config cfg;
    struct ptl_sim_receiver_faults faults;
    struct ptl_prng *prng;                     // borrowed
    struct ptl_sim_ledger *ledger;             // borrowed: its storage
    struct ptl_sim_message *in_head, *in_tail; // arrived, not committed
    struct ptl_sim_message *out;               // receipts under way, in no order
    uint64_t up_at_ms;
    uint64_t receipt_at_ms;      // the next one is due, PTL_NEVER
    uint64_t receipt_allowed_ms; // not before
    struct ptl_sim_batch batch;
    char violation[256];
    uint64_t batches, duplicates, receipts_sent, receipts_lost;
};

void ptl_sim_receiver_init(struct ptl_sim_receiver *r, const struct ptl_sim_receiver_config *cfg,
                           struct ptl_prng *prng, struct ptl_sim_ledger *ledger);
void ptl_sim_receiver_clear(struct ptl_sim_receiver *r);

bool ptl_sim_receiver_is_up(const struct ptl_sim_receiver *r, uint64_t now_ms);
// Takes ownership: topic, NUL, payload.
void ptl_sim_receiver_recv(struct ptl_sim_receiver *r, struct ptl_sim_message *message,
                           uint64_t now_ms);
uint64_t ptl_sim_receiver_due(const struct ptl_sim_receiver *r);
// Commits and writes receipts that are due.
void ptl_sim_receiver_run(struct ptl_sim_receiver *r, uint64_t now_ms);
// A receipt that leaves for the downlink now (payload, terminated), or NULL. The caller frees it.
struct ptl_sim_message *ptl_sim_receiver_take(struct ptl_sim_receiver *r, uint64_t now_ms);
// kill -9: what is not committed is gone, receipts due are forgotten.
void ptl_sim_receiver_kill(struct ptl_sim_receiver *r, uint32_t down_ms, uint64_t now_ms);
