#include "rights.h"

#include <string.h>

struct ptl_rt_rights ptl_rt_rights_public(void)
{
    return (struct ptl_rt_rights){true, true, true, true};
}

// `name` is exactly prefix + device.
static bool is_topic_of(struct ptl_rt_bytes name, const char *prefix, const char *device)
{
    size_t prefix_len = strlen(prefix);
    size_t device_len = strlen(device);
    return device_len > 0 && name.len == prefix_len + device_len &&
           memcmp(name.ptr, prefix, prefix_len) == 0 &&
           memcmp(name.ptr + prefix_len, device, device_len) == 0;
}

struct ptl_rt_rights ptl_rt_rights_private(const struct ptl_rt_claims *claims,
                                           struct ptl_rt_bytes name)
{
    struct ptl_rt_rights rights = {0};
    if (strcmp(claims->role, "service_role") == 0) {
        return ptl_rt_rights_public();
    }
    bool is_device = strcmp(claims->role, "petrel_device") == 0 ||
                     (strcmp(claims->role, "authenticated") == 0 && claims->has_device);
    if (!is_device) {
        return rights;
    }
    if (is_topic_of(name, "petrel:up:", claims->device)) {
        // No broadcast_read: a device never sees batches, not even its own.
        rights.broadcast_write = true;
        rights.presence_read = true;
        rights.presence_write = true;
    } else if (is_topic_of(name, "petrel:down:", claims->device)) {
        rights.broadcast_read = true;
    }
    return rights;
}
