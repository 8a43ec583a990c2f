// core_state.c - the RAM that the core asks its caller for, as symbols whose sizes `nm` shows
// (test/tidy/sizes.sh). Built by the core-only presets; nothing links it.
#include "ptl_adapter.h"
#include "ptl_agent.h"
#include "ptl_journal.h"
#include "ptl_session.h"

struct ptl_agent ptl_size_agent;
struct ptl_journal ptl_size_journal;
struct ptl_session ptl_size_session;
struct ptl_flight ptl_size_flight;
