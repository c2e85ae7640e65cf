/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocking, with a limit on how long it waits. The connection is not made
 * again: whoever needs that uses the library.
 */
#include "cli/talk.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/cli.h"
#include "resp/writer.h"

#define TIMEOUT_S  10
#define REDIS_PORT "6379"

static bool has_port(const char *address)
{
    const char *sign = strrchr(address, '@');
    const char *host = sign != NULL ? sign + 1 : address;
    const char *bracket = strrchr(host, ']');
    return strchr(bracket != NULL ? bracket : host, ':') != NULL;
}

/* The library's form under another name. */
static int parse_redis(struct endpoint *out, const char *address, struct ls_error *error)
{
    const ls_options none = LS_OPTIONS_INIT;
    struct buf url = {0};
    int rc = buf_printf(&url, "lockstep://%s", address);
    rc = rc != 0 ? rc : buf_append_byte(&url, '\0');
    rc = rc != 0 ? error_code(error, LS_ENOMEM)
                 : peer_from_url(&out->peer, (const char *)url.data, &none, error);
    buf_free(&url);
    if (rc == LS_EINVAL) {
        return error_set(error, rc, 0, "not a URL of the form redis://[user:password@]host[:port]");
    }
    if (rc == 0 && !has_port(address)) {
        out->peer.port = REDIS_PORT;
    }
    return rc;
}

void cli_credentials(ls_options *options, const char *url)
{
    if (strchr(url, '@') == NULL) {
        options->user = getenv("LOCKSTEP_USER");
        options->password = getenv("LOCKSTEP_PASSWORD");
    }
}

int endpoint_parse(struct endpoint *out, const char *url, struct ls_error *error)
{
    ls_options options = LS_OPTIONS_INIT;
    cli_credentials(&options, url);
    *out = (struct endpoint){.redis = strncmp(url, "redis://", 8) == 0};
    if (out->redis) {
        return parse_redis(out, url + 8, error);
    }
    if (strncmp(url, "lockstep://", 11) == 0) {
        return peer_from_url(&out->peer, url, &options, error);
    }
    return error_set(error, LS_EINVAL, 0,
                     "a server is named as lockstep://HOST[:PORT] or redis://HOST[:PORT], not '%s'",
                     url);
}

void endpoint_free(struct endpoint *endpoint)
{
    peer_free(&endpoint->peer);
}

static int connect_to(const struct endpoint *endpoint, struct ls_error *error)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    int rc = getaddrinfo(endpoint->peer.host, endpoint->peer.port, &hints, &found);
    if (rc != 0) {
        return error_set(error, LS_ECONN, 0, "%s: %s", endpoint->peer.host, gai_strerror(rc));
    }
    int fd = -1;
    int failure = 0;
    for (struct addrinfo *at = found; at != NULL && fd < 0; at = at->ai_next) {
        struct timeval timeout = {.tv_sec = TIMEOUT_S};
        int on = 1;
        fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
        if (fd < 0) {
            failure = errno;
            continue;
        }
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (connect(fd, at->ai_addr, at->ai_addrlen) != 0) {
            failure = errno;
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    if (fd < 0) {
        return error_set(error, LS_ECONN, 0, "no connection to %s port %s: %s", endpoint->peer.host,
                         endpoint->peer.port, strerror(failure));
    }
    return fd;
}

static int authenticate(struct talk *talk, const struct endpoint *endpoint, struct ls_error *error)
{
    const struct peer *peer = &endpoint->peer;
    if (peer->password == NULL) {
        return 0;
    }
    ls_bytes argv[3] = {bytes_of_text("AUTH"), bytes_of_text(peer->user),
                        bytes_of_text(peer->password)};
    const struct resp_value *reply;
    return talk_call(talk, 3, argv, &reply, error);
}

int talk_open(struct talk *talk, const struct endpoint *endpoint, struct ls_error *error)
{
    *talk = (struct talk){.fd = connect_to(endpoint, error)};
    if (talk->fd < 0) {
        return talk->fd;
    }
    int rc = authenticate(talk, endpoint, error);
    if (rc != 0) {
        talk_close(talk);
    }
    return rc;
}

static void forget(struct talk *talk)
{
    buf_free(&talk->out);
    buf_free(&talk->in);
    resp_reply_free(&talk->reply);
}

void talk_close(struct talk *talk)
{
    close(talk->fd);
    forget(talk);
}

int talk_take(struct talk *talk)
{
    int flags = fcntl(talk->fd, F_GETFL);
    fcntl(talk->fd, F_SETFL, flags | O_NONBLOCK);
    forget(talk);
    return talk->fd;
}

static int send_all(struct talk *talk, ls_bytes bytes, struct ls_error *error)
{
    const char *at = bytes.data;
    size_t left = bytes.size;
    while (left > 0) {
        ssize_t sent = send(talk->fd, at, left, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            return error_set(error, LS_ECONN, 0, "the connection failed: %s", strerror(errno));
        }
        if (sent > 0) {
            at += sent;
            left -= (size_t)sent;
        }
    }
    return 0;
}

static int receive(struct talk *talk, struct ls_error *error)
{
    if (buf_reserve(&talk->in, 16384) != 0) {
        return error_code(error, LS_ENOMEM);
    }
    struct buf *in = &talk->in;
    ssize_t got = recv(talk->fd, in->data + in->size, in->capacity - in->size, 0);
    if (got == 0) {
        return error_set(error, LS_ECONN, 0, "the server closed the connection");
    }
    if (got < 0 && errno != EINTR) {
        return error_set(error, LS_ECONN, 0, "no answer from the server: %s", strerror(errno));
    }
    in->size += got > 0 ? (size_t)got : 0;
    return 0;
}

/* An error reply's word and text as an error. */
static int refuse(const struct resp_value *reply, struct ls_error *error)
{
    const char *text = reply->text.data;
    size_t word = 0;
    while (word < reply->text.size && text[word] != ' ') {
        word++;
    }
    return error_set(error, error_from_word(text, word), 0, "%.*s", (int)reply->text.size, text);
}

int talk_put(struct talk *talk, size_t argc, const ls_bytes *argv, struct ls_error *error)
{
    return resp_request(&talk->out, argc, argv) == 0 ? 0 : error_code(error, LS_ENOMEM);
}

int talk_flush(struct talk *talk, struct ls_error *error)
{
    int rc = send_all(talk, buf_bytes(&talk->out), error);
    talk->out.size = 0;
    return rc;
}

int talk_reply(struct talk *talk, const struct resp_value **reply, struct ls_error *error)
{
    int rc;
    buf_drop(&talk->in, talk->consumed);
    talk->consumed = 0;
    while ((rc = resp_reply_parse(&talk->reply, buf_bytes(&talk->in), &talk->consumed, error)) ==
           0) {
        rc = receive(talk, error);
        if (rc != 0) {
            return rc;
        }
    }
    if (rc < 0) {
        return rc;
    }
    *reply = &talk->reply.values[0];
    return (*reply)->type == RESP_ERROR ? refuse(*reply, error) : 0;
}

int talk_call(struct talk *talk, size_t argc, const ls_bytes *argv, const struct resp_value **reply,
              struct ls_error *error)
{
    int rc = talk_put(talk, argc, argv, error);
    rc = rc != 0 ? rc : talk_flush(talk, error);
    return rc != 0 ? rc : talk_reply(talk, reply, error);
}
