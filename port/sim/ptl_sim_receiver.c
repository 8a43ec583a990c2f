#include "ptl_sim_receiver.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECEIPT_EPOCHS_MAX 4u
#define RECEIPT_BYTES_MAX  8192u
#define COVERED            (PTL_SIM_STORED | PTL_SIM_GAP_LOST | PTL_SIM_GAP_UNCERTAIN)

static void violation(struct ptl_sim_receiver *r, const char *what, uint64_t epoch, uint64_t seq)
{
    if (r->violation[0] == '\0') {
        snprintf(r->violation, sizeof(r->violation), "%s (epoch %016" PRIx64 ", seq %" PRIu64 ")",
                 what, epoch, seq);
    }
}

void ptl_sim_receiver_init(struct ptl_sim_receiver *r, const struct ptl_sim_receiver_config *cfg,
                           struct ptl_prng *prng, struct ptl_sim_ledger *ledger)
{
    memset(r, 0, sizeof(*r));
    r->cfg = *cfg;
    r->prng = prng;
    r->ledger = ledger;
    r->receipt_at_ms = PTL_NEVER;
}

static void list_free(struct ptl_sim_message **head)
{
    while (*head != NULL) {
        struct ptl_sim_message *message = *head;
        *head = message->next;
        free(message);
    }
}

void ptl_sim_receiver_clear(struct ptl_sim_receiver *r)
{
    list_free(&r->in_head);
    r->in_tail = NULL;
    list_free(&r->out);
}

bool ptl_sim_receiver_is_up(const struct ptl_sim_receiver *r, uint64_t now_ms)
{
    return now_ms >= r->up_at_ms;
}

void ptl_sim_receiver_recv(struct ptl_sim_receiver *r, struct ptl_sim_message *message,
                           uint64_t now_ms)
{
    message->due_ms = now_ms + r->cfg.commit_ms;
    message->next = NULL;
    if (r->in_tail == NULL) {
        r->in_head = message;
    } else {
        r->in_tail->next = message;
    }
    r->in_tail = message;
}

uint64_t ptl_sim_receiver_due(const struct ptl_sim_receiver *r)
{
    uint64_t due_ms = r->receipt_at_ms;
    if (r->in_head != NULL && r->in_head->due_ms < due_ms) {
        due_ms = r->in_head->due_ms;
    }
    for (const struct ptl_sim_message *m = r->out; m != NULL; m = m->next) {
        due_ms = m->due_ms < due_ms ? m->due_ms : due_ms;
    }
    return due_ms;
}

static void store_event(struct ptl_sim_receiver *r, struct ptl_sim_run *run,
                        const struct ptl_sim_batch_event *event)
{
    struct ptl_sim_cell *cell = ptl_sim_run_cell(run, event->seq);
    if (cell == NULL) {
        violation(r, "a number outside its run", run->epoch, event->seq);
        return;
    }
    if ((cell->facts & PTL_SIM_STORED) != 0) {
        r->duplicates++;
        if (cell->stored_id != event->id) {
            violation(r, "two events under one identity", run->epoch, event->seq);
        }
        return;
    }
    if (run->ended && run->end.how == PTL_CLOSED && event->seq >= run->end.next) {
        violation(r, "an event at or above a closed end", run->epoch, event->seq);
    }
    cell->stored_id = event->id;
    ptl_sim_run_mark(run, event->seq, PTL_SIM_STORED);
}

static void store_gap(struct ptl_sim_receiver *r, struct ptl_sim_run *run,
                      const struct ptl_gap *gap)
{
    for (uint64_t seq = gap->first; seq <= gap->last; seq++) {
        struct ptl_sim_cell *cell = ptl_sim_run_cell(run, seq);
        if (cell == NULL) {
            violation(r, "a gap beyond any number", run->epoch, seq);
            return;
        }
        cell->gap_reason = gap->reason;
        ptl_sim_run_mark(run, seq,
                         gap->kind == PTL_LOST ? PTL_SIM_GAP_LOST : PTL_SIM_GAP_UNCERTAIN);
    }
}

// [first of run, end) - stored - gaps must be empty. At `accepted`, what the server acknowledged
// and lost is no fault of the device.
static void covered_check(struct ptl_sim_receiver *r, struct ptl_sim_run *run, uint64_t end,
                          const char *what)
{
    for (uint64_t seq = run->next; seq < end; seq++) {
        uint8_t facts = ptl_sim_run_facts(run, seq);
        if ((facts & COVERED) == 0 && (r->cfg.stored || (facts & PTL_SIM_SERVER_LOST) == 0)) {
            violation(r, what, run->epoch, seq);
            return;
        }
    }
}

static void next_raise(struct ptl_sim_run *run)
{
    while (run->next < run->floor || (ptl_sim_run_facts(run, run->next) & COVERED) != 0) {
        run->next++;
    }
}

// Member by member: what lies between them is nobody's.
static bool same_end(const struct ptl_end *a, const struct ptl_end *b)
{
    return a->epoch == b->epoch && a->from == b->from && a->next == b->next &&
           a->at_most == b->at_most && a->runs == b->runs && a->how == b->how;
}

static void store_end(struct ptl_sim_receiver *r, const struct ptl_end *end)
{
    struct ptl_sim_run *run = ptl_sim_ledger_run_of(r->ledger, end->epoch, end->next);
    if (run->ended) {
        if (!same_end(&run->end, end)) {
            // Ends merge while they wait; the later one says more runs.
            if (end->runs <= run->end.runs) {
                violation(r, "two different ends of one run", end->epoch, end->next);
            }
            run->end = *end;
        }
        run->receipt_due = true;
        return;
    }
    if (end->runs == 1) {
        covered_check(r, run, end->next, "an end above a number that is neither stored nor a gap");
    }
    for (uint64_t seq = end->next; seq < run->base + run->count; seq++) {
        if (end->how == PTL_CLOSED && (ptl_sim_run_facts(run, seq) & COVERED) != 0) {
            violation(r, "a closed end below a number that exists", end->epoch, seq);
        }
    }
    run->ended = true;
    run->end = *end;
    run->receipt_due = true;
}

static void commit(struct ptl_sim_receiver *r, const struct ptl_sim_message *message)
{
    const char *topic = (const char *)message->bytes;
    size_t topic_bytes = strlen(topic) + 1;
    struct ptl_span payload = {message->bytes + topic_bytes, message->len - topic_bytes};
    const char *wrong = ptl_sim_batch_read(payload, &r->batch);
    if (wrong != NULL) {
        violation(r, wrong, r->batch.epoch, 0);
        return;
    }
    char expected[192];
    snprintf(expected, sizeof(expected), "realtime:petrel:up:%s", r->batch.device);
    if (strcmp(topic, expected) != 0 || strcmp(r->batch.device, r->cfg.device) != 0) {
        violation(r, "device is not the one of the topic", r->batch.epoch, 0);
        return;
    }
    r->batches++;
    struct ptl_sim_run *run = ptl_sim_ledger_run_of(r->ledger, r->batch.epoch, r->batch.floor);
    run->seen = true;
    for (uint32_t i = 0; i < r->batch.event_count; i++) {
        store_event(r, run, &r->batch.events[i]);
    }
    for (uint32_t i = 0; i < r->batch.gap_count; i++) {
        store_gap(r, run, &r->batch.gaps[i]);
    }
    next_raise(run);
    if (r->batch.floor > run->floor) {
        covered_check(r, run, r->batch.floor,
                      "the floor passed a number that is neither stored nor a gap");
        run->floor = r->batch.floor;
    }
    next_raise(run);
    run->receipt_due = true;
    for (uint32_t i = 0; i < r->batch.end_count; i++) {
        store_end(r, &r->batch.ends[i]); // may move `run`
    }
}

struct text {
    char *at;
    size_t left;
};

static void __attribute__((format(printf, 2, 3))) add(struct text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(t->at, t->left, format, args);
    va_end(args);
    PTL_ASSERT(len >= 0 && (size_t)len < t->left);
    t->at += len;
    t->left -= (size_t)len;
}

static void have_write(struct text *t, const struct ptl_sim_run *run)
{
    uint64_t end = run->base + run->count;
    uint64_t seq = run->next;
    for (uint32_t ranges = 0; ranges < PTL_RANGES_MAX && seq < end; ranges++) {
        while (seq < end && (ptl_sim_run_facts(run, seq) & COVERED) == 0) {
            seq++;
        }
        uint64_t begin = seq;
        while (seq < end && (ptl_sim_run_facts(run, seq) & COVERED) != 0) {
            seq++;
        }
        if (begin < seq) {
            add(t, "%s[%" PRIu64 ",%" PRIu64 "]", ranges > 0 ? "," : "", begin, seq);
        }
    }
}

static void epoch_write(struct text *t, const struct ptl_sim_run *run)
{
    add(t, "{\"epoch\":\"%016" PRIx64 "\",\"next\":%" PRIu64 ",\"have\":[", run->epoch, run->next);
    have_write(t, run);
    add(t, "],\"refused\":[]");
    if (run->ended) {
        add(t, ",\"ended\":{\"next\":%" PRIu64 ",\"how\":\"%s\",\"at_most\":%" PRIu32 "}",
            run->end.next, run->end.how == PTL_CLOSED ? "closed" : "torn", run->end.at_most);
    }
    add(t, "}");
}

static void receipt_out(struct ptl_sim_receiver *r, const char *text, uint64_t now_ms)
{
    struct ptl_sim_message *message = ptl_sim_message_new(PTL_SIM_DATA, text, strlen(text) + 1);
    message->due_ms = now_ms + ptl_prng_below(r->prng, r->faults.receipt_delay_ms_max + 1);
    message->next = r->out;
    r->out = message;
}

static void foreign_write(struct ptl_sim_receiver *r, uint64_t now_ms)
{
    for (uint32_t i = 0; i < r->ledger->count; i++) {
        char text[256];
        snprintf(text, sizeof(text),
                 "{\"source\":\"other\",\"epochs\":[{\"epoch\":\"%016" PRIx64 "\",\"next\":%" PRIu64
                 ",\"have\":[],\"refused\":[]}]}",
                 r->ledger->runs[i].epoch, PTL_SEQ_MAX);
        receipt_out(r, text, now_ms);
    }
}

static void receipt_write(struct ptl_sim_receiver *r, uint64_t now_ms)
{
    char buf[RECEIPT_BYTES_MAX];
    struct text t = {buf, sizeof(buf)};
    uint32_t written = 0;
    bool more = false;
    add(&t, "{\"source\":\"%s\",\"epochs\":[", r->cfg.source);
    for (uint32_t i = 0; i < r->ledger->count; i++) {
        struct ptl_sim_run *run = &r->ledger->runs[i];
        if (run->receipt_due && written == RECEIPT_EPOCHS_MAX) {
            more = true;
        } else if (run->receipt_due) {
            add(&t, "%s", written > 0 ? "," : "");
            epoch_write(&t, run);
            run->receipt_due = false;
            written++;
        }
    }
    add(&t, "]}");
    r->receipt_allowed_ms = now_ms + r->cfg.coalesce_ms;
    r->receipt_at_ms = more ? r->receipt_allowed_ms : PTL_NEVER;
    if (r->faults.receipts_to_lose > 0) {
        r->faults.receipts_to_lose--;
        r->receipts_lost++;
    } else if (ptl_prng_below(r->prng, 1000) < r->faults.receipt_drop_permille) {
        r->receipts_lost++;
    } else {
        receipt_out(r, buf, now_ms);
        r->receipts_sent++;
    }
    if (r->faults.foreign) {
        foreign_write(r, now_ms);
    }
}

void ptl_sim_receiver_run(struct ptl_sim_receiver *r, uint64_t now_ms)
{
    while (r->in_head != NULL && r->in_head->due_ms <= now_ms) {
        struct ptl_sim_message *message = r->in_head;
        r->in_head = message->next;
        if (r->in_head == NULL) {
            r->in_tail = NULL;
        }
        commit(r, message);
        free(message);
        if (r->cfg.receipts && r->receipt_at_ms == PTL_NEVER) {
            r->receipt_at_ms = now_ms > r->receipt_allowed_ms ? now_ms : r->receipt_allowed_ms;
        }
    }
    if (r->receipt_at_ms <= now_ms) {
        receipt_write(r, now_ms);
    }
}

struct ptl_sim_message *ptl_sim_receiver_take(struct ptl_sim_receiver *r, uint64_t now_ms)
{
    for (struct ptl_sim_message **at = &r->out; *at != NULL; at = &(*at)->next) {
        if ((*at)->due_ms <= now_ms) {
            struct ptl_sim_message *message = *at;
            *at = message->next;
            return message;
        }
    }
    return NULL;
}

void ptl_sim_receiver_kill(struct ptl_sim_receiver *r, uint32_t down_ms, uint64_t now_ms)
{
    list_free(&r->in_head);
    r->in_tail = NULL;
    list_free(&r->out);
    for (uint32_t i = 0; i < r->ledger->count; i++) {
        r->ledger->runs[i].receipt_due = false;
    }
    r->receipt_at_ms = PTL_NEVER;
    r->receipt_allowed_ms = now_ms;
    r->up_at_ms = now_ms + down_ms;
}
