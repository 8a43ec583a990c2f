// ptl_identity.h - who this device is, when the config does not say.
//
// Order (the first one that holds): the id stored in the journal, the board's serial number
// (devicetree, then DMI), a hash of the machine id (never the id itself, which is confidential by
// machine-id(5)), the MAC address of a network card, random bits. Known rubbish ("To be filled by
// O.E.M.", "uninitialized", zeros) does not hold.
#pragma once

#include "ptl_base.h"

struct ptl_identity {
    char id[PTL_DEVICE_BYTES_MAX + 1];
    const char *from; // static: "config", "journal", "board serial", "machine id", ...
    bool store;       // keep it in the journal: the next start must find the same
};

// 1 to 64 bytes of [A-Za-z0-9._-].
bool ptl_identity_valid(const char *id);

// `configured` and `stored` may be empty. `root` is put in front of /proc, /sys and /etc ("" but in
// tests). PTL_E_IO: nothing was found and there were no random bits.
PTL_MUST_USE enum ptl_status ptl_identity_find(const char *configured, const char *stored,
                                               const char *root, struct ptl_identity *identity);
