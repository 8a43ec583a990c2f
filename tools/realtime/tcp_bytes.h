// tcp_bytes.h - how much a peer has sent. Realtime's idle timer is reset by any byte from the
// client, WebSocket pings included, which libwebsockets answers without telling anyone.
#pragma once

#include <stdint.h>

uint64_t ptl_rt_tcp_bytes_received(int fd); // 0 if it cannot be told
