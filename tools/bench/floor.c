// floor.c - the least that a client on libwebsockets and mbedTLS can do: sends one recorded message
// over and over from memory, at most `window` unacknowledged, and counts the acknowledgements.
//
//     petrel-bench-floor PORT CA_FILE MESSAGE_FILE WINDOW
//
// The message is a whole broadcast frame as Petrel sent it (the sink recorded it), so the bytes,
// the batch size and the libraries are the same; what is missing is everything that Petrel does
// itself.
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libwebsockets.h>

#define MESSAGE_MAX (4u << 20)

struct floor {
    uint8_t *message; // as recorded
    uint8_t *tx;      // LWS_PRE bytes and a copy, which is masked in place
    size_t len;
    long window;
    long in_flight;
    bool join_sent, joined, over;
};

static void join_write(struct floor *f, struct lws *wsi)
{
    // The topic as it stands in the message.
    const size_t topic_at = 7u + f->message[1] + f->message[2];
    int len =
        snprintf((char *)f->tx + LWS_PRE, 512,
                 "[\"1\",\"1\",\"%.*s\",\"phx_join\",{\"config\":{\"broadcast\":{\"ack\":true,"
                 "\"self\":false},\"private\":false}}]",
                 (int)f->message[3], (const char *)f->message + topic_at);
    f->join_sent = true;
    if (len <= 0 || lws_write(wsi, f->tx + LWS_PRE, (size_t)len, LWS_WRITE_TEXT) < len) {
        f->over = true;
    }
}

static int writeable(struct floor *f, struct lws *wsi)
{
    if (!f->join_sent) {
        join_write(f, wsi);
        return 0;
    }
    if (!f->joined || f->in_flight >= f->window) {
        return 0;
    }
    memcpy(f->tx + LWS_PRE, f->message, f->len);
    if (lws_write(wsi, f->tx + LWS_PRE, f->len, LWS_WRITE_BINARY) < (int)f->len) {
        return -1;
    }
    if (++f->in_flight < f->window) {
        lws_callback_on_writable(wsi);
    }
    return 0;
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t len)
{
    (void)user;
    (void)in;
    (void)len;
    struct floor *f = lws_context_user(lws_get_context(wsi));
    switch (reason) {
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        lws_callback_on_writable(wsi);
        return 0;
    case LWS_CALLBACK_CLIENT_RECEIVE:
        if (lws_is_final_fragment(wsi)) {
            f->in_flight -= f->joined; // every answer after the join's is an acknowledgement
            f->joined = true;
            lws_callback_on_writable(wsi);
        }
        return 0;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        return writeable(f, wsi);
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        fprintf(stderr, "petrel-bench-floor: %s\n", in != NULL ? (const char *)in : "no connect");
        f->over = true;
        return 0;
    case LWS_CALLBACK_CLIENT_CLOSED:
        f->over = true;
        return 0;
    default:
        return 0;
    }
}

static bool message_load(struct floor *f, const char *path)
{
    FILE *file = fopen(path, "rb");
    f->message = malloc(MESSAGE_MAX);
    f->tx = malloc(LWS_PRE + MESSAGE_MAX);
    if (file == NULL || f->message == NULL || f->tx == NULL) {
        return false;
    }
    f->len = fread(f->message, 1, MESSAGE_MAX, file);
    fclose(file);
    return f->len > 7 && f->message[0] == 3;
}

int main(int argc, char **argv)
{
    static struct floor f;
    char *end = NULL;
    const long port = argc == 5 ? strtol(argv[1], &end, 10) : 0;
    f.window = argc == 5 ? strtol(argv[4], NULL, 10) : 0;
    if (port <= 0 || f.window <= 0 || !message_load(&f, argv[3])) {
        fputs("usage: petrel-bench-floor PORT CA_FILE MESSAGE_FILE WINDOW\n", stderr);
        return 2;
    }
    const struct lws_protocols protocols[] = {
        {.name = "floor", .callback = callback, .tx_packet_size = LWS_PRE + MESSAGE_MAX}, {0}};
    const struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = protocols,
        .user = &f,
        .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
        .client_ssl_ca_filepath = argv[2],
    };
    lws_set_log_level(LLL_ERR, NULL);
    struct lws_context *context = lws_create_context(&info);
    const struct lws_client_connect_info connect = {
        .context = context,
        .address = "127.0.0.1",
        .host = "127.0.0.1",
        .port = (int)port,
        .path = "/realtime/v1/websocket?apikey=bench&vsn=2.0.0",
        .ssl_connection = LCCSCF_USE_SSL,
        .local_protocol_name = protocols[0].name,
        .ietf_version_or_minus_one = -1,
    };
    if (context == NULL || lws_client_connect_via_info(&connect) == NULL) {
        fputs("petrel-bench-floor: cannot start\n", stderr);
        return 1;
    }
    while (!f.over && lws_service(context, 0) >= 0) {}
    lws_context_destroy(context);
    return 0;
}
