// door.c - one way in for every input, so that each gives the same verdict.
#include "app.h"

enum ptl_door_result ptl_door_enter(struct ptl_app *app, struct ptl_span text,
                                    struct ptl_door_counts *counts, const struct ptl_now *now,
                                    struct ptl_door_answer *answer)
{
    struct ptl_event event;
    struct ptl_json_error error = {.offset = 0, .reason = ""};
    enum ptl_status status = ptl_event_parse(text, PTL_DOOR_OUTSIDE, &app->limits, &event, &error);
    if (status == PTL_OK) {
        status = ptl_agent_post(&app->agent, &event, now, &answer->seq);
        if (status == PTL_OK) {
            counts->accepted++;
            return PTL_DOOR_ACCEPTED;
        }
        if (status == PTL_E_AGAIN) {
            return PTL_DOOR_WAIT;
        }
        error = (struct ptl_json_error){.offset = 0, .reason = "the event is too large"};
    } else {
        ptl_agent_count_rejected(&app->agent);
    }
    counts->too_large += status == PTL_E_TOO_BIG;
    counts->reserved += status == PTL_E_DENIED;
    counts->malformed += status != PTL_E_TOO_BIG && status != PTL_E_DENIED;
    answer->offset = error.offset;
    answer->reason = error.reason;
    return PTL_DOOR_REFUSED;
}
