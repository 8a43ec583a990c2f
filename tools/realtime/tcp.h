// tcp.h - what libwebsockets does not tell about sockets.
#pragma once

#include <stdint.h>

// How much a peer has sent; 0 if it cannot be told. Realtime's idle timer is reset by any byte from
// the client, WebSocket pings included, which libwebsockets answers without telling anyone.
uint64_t ptl_rt_tcp_bytes_received(int fd);

// 0 if one could listen there now, else why not: an errno, EINVAL for a host that is no numeric
// address. libwebsockets tries again for ever where a bind fails.
int ptl_rt_tcp_listen_error(const char *host, int port);
