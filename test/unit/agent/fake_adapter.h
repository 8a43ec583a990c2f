// An adapter without a protocol: the test reads the batches that the agent writes and says what the
// service answers.
#pragma once

#include "ptl_adapter.h"

struct fake_adapter {
    uint32_t ref_last;
    struct ptl_adapter_event next; // what the next tick returns
    uint32_t links_up, links_down;
};

struct ptl_adapter fake_adapter_on(struct fake_adapter *fake);
