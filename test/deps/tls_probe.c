// tls_probe.c - makes one TLS connection through the pinned libwebsockets and prints "up" or the
// error text that it gives. usage: tls_probe HOST PORT CA_FILE
#include <libwebsockets.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static bool finished;

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t len)
{
    (void)wsi;
    (void)user;
    if (finished) {
        return 0;
    }
    switch (reason) {
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        printf("%.*s\n", (int)len, in != NULL ? (const char *)in : "");
        finished = true;
        break;
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER: // TLS is done, the request comes next
        printf("up\n");
        finished = true;
        break;
    default:
        break;
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: tls_probe HOST PORT CA_FILE\n");
        return 2;
    }
    static const struct lws_protocols protocols[] = {{.name = "probe", .callback = callback}, {0}};
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = protocols,
        .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
        .client_ssl_ca_filepath = argv[3],
        .connect_timeout_secs = 5,
        .timeout_secs = 5,
    };
    lws_set_log_level(0, NULL);
    struct lws_context *context = lws_create_context(&info);
    if (context == NULL) {
        printf("no context\n");
        return 0;
    }
    struct lws_client_connect_info connect = {
        .context = context,
        .address = "127.0.0.1",
        .port = (int)strtol(argv[2], NULL, 10),
        .ssl_connection = LCCSCF_USE_SSL,
        .path = "/",
        .host = argv[1],
        .local_protocol_name = "probe",
        .ietf_version_or_minus_one = -1,
    };
    (void)lws_client_connect_via_info(&connect); // failures come through the callback
    for (int turn = 0; !finished && turn < 10000; turn++) {
        (void)lws_service(context, 0);
    }
    lws_context_destroy(context);
    return finished ? 0 : 1;
}
