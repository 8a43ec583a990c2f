# libwebsockets 4.3.5, trimmed: one WebSocket client over mbedTLS, timers, raw file descriptors.

set(PETREL_LWS_OPTIONS
    -DLWS_WITH_STATIC=ON
    -DLWS_WITH_SHARED=OFF
    -DLWS_WITH_MBEDTLS=ON
    -DLWS_IPV6=ON
    -DLWS_WITHOUT_TESTAPPS=ON
    -DLWS_WITHOUT_EXTENSIONS=ON # Realtime never negotiates permessage-deflate
    -DLWS_UNIX_SOCK=OFF # our Unix sockets are adopted as plain descriptors
    -DLWS_WITH_TLS_SESSIONS=OFF # resumption of TLS 1.2 only; a full handshake an outage is cheap
    -DLWS_WITH_MINIMAL_EXAMPLES=OFF
    -DLWS_WITH_HTTP2=OFF # the plain release has an open CVE there, and WebSocket does not use it
    -DLWS_WITH_SECURE_STREAMS=OFF
    -DLWS_WITH_SYS_SMD=OFF
    -DLWS_WITH_SYS_ASYNC_DNS=OFF # open CVE; names are resolved on a thread of ours
    -DLWS_WITH_LEJP=OFF
    -DLWS_WITH_LEJP_CONF=OFF
    -DLWS_WITH_LWSAC=OFF
    -DLWS_WITH_DIR=OFF
    -DLWS_WITH_HTTP_BASIC_AUTH=OFF
    -DLWS_CLIENT_HTTP_PROXYING=OFF
    -DLWS_WITH_FILE_OPS=OFF
    -DLWS_WITH_UDP=OFF
    -DLWS_WITH_CONMON=OFF
    -DLWS_WITH_CACHE_NSCOOKIEJAR=OFF
    -DLWS_WITH_NETLINK=OFF
    -DLWS_WITH_EVLIB_PLUGINS=OFF
    -DLWS_LOGS_TIMESTAMP=OFF
    -DLWS_LOG_TAG_LIFECYCLE=OFF
    -DDISABLE_WERROR=ON)

set(PETREL_LWS_OPTIONS_client
    -DLWS_WITHOUT_SERVER=ON
    -DLWS_WITH_HTTP_UNCOMMON_HEADERS=OFF
    -DLWS_WITH_CUSTOM_HEADERS=OFF)

# The tools also serve; x-api-key is a header that lws does not know.
set(PETREL_LWS_OPTIONS_server -DLWS_WITHOUT_SERVER=OFF -DLWS_WITH_HTTP_UNCOMMON_HEADERS=ON
                              -DLWS_WITH_CUSTOM_HEADERS=ON)
