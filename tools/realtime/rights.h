// rights.h - who may do what on a private channel: the two-channel rules of docs/wire.md.
//
// On a Supabase project the policies printed by `petrel sql` say the same to PostgreSQL.
#pragma once

#include <stdbool.h>

#include "frame.h"
#include "jwt.h"

struct ptl_rt_rights {
    bool broadcast_read;
    bool broadcast_write;
    bool presence_read;
    bool presence_write;
};

// Rights on a public channel: everything.
struct ptl_rt_rights ptl_rt_rights_public(void);

// Rights on the private channel `name` (no "realtime:" in front). service_role: everything. A
// device (role petrel_device, or authenticated with a `device` claim): its own uplink and
// downlink. Anyone else: nothing.
struct ptl_rt_rights ptl_rt_rights_private(const struct ptl_rt_claims *claims,
                                           struct ptl_rt_bytes name);
