#include "tcp_bytes.h"

#include <linux/tcp.h> // its tcp_info has the byte counters, the one of netinet/tcp.h does not
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

uint64_t ptl_rt_tcp_bytes_received(int fd)
{
    struct tcp_info info;
    socklen_t len = sizeof info;
    memset(&info, 0, sizeof info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0) {
        return 0;
    }
    return info.tcpi_bytes_received;
}
