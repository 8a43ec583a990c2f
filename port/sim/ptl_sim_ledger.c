#include "ptl_sim_ledger.h"

#include <stdlib.h>
#include <string.h>

#define CELLS_MAX (1u << 20)

void ptl_sim_ledger_clear(struct ptl_sim_ledger *g)
{
    for (uint32_t i = 0; i < g->count; i++) {
        free(g->runs[i].cells);
    }
    free(g->runs);
    *g = (struct ptl_sim_ledger){0};
}

struct ptl_sim_run *ptl_sim_ledger_find(struct ptl_sim_ledger *g, uint64_t epoch)
{
    // The newest runs are asked for most.
    for (uint32_t i = g->count; i > 0; i--) {
        if (g->runs[i - 1].epoch == epoch) {
            return &g->runs[i - 1];
        }
    }
    return NULL;
}

struct ptl_sim_run *ptl_sim_ledger_run_of(struct ptl_sim_ledger *g, uint64_t epoch, uint64_t seq)
{
    struct ptl_sim_run *run = ptl_sim_ledger_find(g, epoch);
    if (run != NULL) {
        return run;
    }
    if (g->count == g->cap) {
        g->cap = g->cap > 0 ? 2 * g->cap : 16;
        g->runs = realloc(g->runs, g->cap * sizeof(*g->runs));
        PTL_ASSERT(g->runs != NULL);
    }
    run = &g->runs[g->count++];
    uint64_t base = seq >> PTL_RUN_SHIFT << PTL_RUN_SHIFT;
    *run = (struct ptl_sim_run){.epoch = epoch,
                                .base = base,
                                .next = base,
                                .floor = base,
                                .seq_posted_last = UINT64_MAX,
                                .first_sent = {UINT64_MAX, UINT64_MAX}};
    return run;
}

struct ptl_sim_cell *ptl_sim_run_cell(struct ptl_sim_run *run, uint64_t seq)
{
    if (seq < run->base || seq - run->base >= CELLS_MAX) {
        return NULL;
    }
    uint32_t index = (uint32_t)(seq - run->base);
    if (index >= run->cap) {
        uint32_t cap = run->cap > 0 ? run->cap : 64;
        while (cap <= index) {
            cap *= 2;
        }
        run->cells = realloc(run->cells, cap * sizeof(*run->cells));
        PTL_ASSERT(run->cells != NULL);
        memset(run->cells + run->cap, 0, (cap - run->cap) * sizeof(*run->cells));
        run->cap = cap;
    }
    if (index >= run->count) {
        run->count = index + 1;
    }
    return &run->cells[index];
}

uint8_t ptl_sim_run_facts(const struct ptl_sim_run *run, uint64_t seq)
{
    if (seq < run->base || seq - run->base >= run->count) {
        return 0;
    }
    return run->cells[seq - run->base].facts;
}

static unsigned bit_of(enum ptl_sim_fact fact)
{
    unsigned bit = 0;
    while ((1u << bit) != (unsigned)fact) {
        bit++;
    }
    PTL_ASSERT(bit < PTL_SIM_FACT_BITS);
    return bit;
}

bool ptl_sim_run_mark(struct ptl_sim_run *run, uint64_t seq, enum ptl_sim_fact fact)
{
    struct ptl_sim_cell *cell = ptl_sim_run_cell(run, seq);
    if (cell == NULL || (cell->facts & fact) != 0) {
        return false;
    }
    cell->facts = (uint8_t)(cell->facts | fact);
    run->counts[bit_of(fact)]++;
    return true;
}

uint32_t ptl_sim_run_count(const struct ptl_sim_run *run, enum ptl_sim_fact fact)
{
    return run->counts[bit_of(fact)];
}
