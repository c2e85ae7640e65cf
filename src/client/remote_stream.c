/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets with deadlines. What is received gathers in one buffer; replies are handed out as
 * pointers into it, and it is compacted only when more must be received. A connection whose peer
 * went silently is found by keepalive within half a minute, so that a watch does not wait for ever.
 */
#include "client/remote_stream.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "client/remote_reply.h"
#include "resp/writer.h"

#define RECEIVE_SIZE   32768 /* room for one receive, where a reply does not ask for more */
#define RECEIVE_MOST   4194304
#define CONNECT_MS_MIN 100
#define DELAY_MIN_MS   10
#define DELAY_MAX_MS   500

/* ---- time ---- */

bool deadline_passed(const struct deadline *deadline)
{
    return !deadline->none && monotonic_ms() >= deadline->at_ms;
}

struct deadline deadline_within(const struct deadline *deadline, int64_t ms)
{
    struct deadline soon = deadline_in(ms);
    return !deadline->none && deadline->at_ms < soon.at_ms ? *deadline : soon;
}

struct deadline deadline_connecting(const struct deadline *deadline, int64_t ms)
{
    struct deadline least = deadline_in(CONNECT_MS_MIN);
    bool soon = !deadline->none && deadline->at_ms < least.at_ms;
    return soon ? least : deadline_within(deadline, ms);
}

struct timespec deadline_time(const struct deadline *deadline)
{
    assert(!deadline->none);
    return (struct timespec){
        .tv_sec = (time_t)(deadline->at_ms / 1000),
        .tv_nsec = (long)(deadline->at_ms % 1000) * 1000000,
    };
}

int deadline_poll(const struct deadline *deadline)
{
    int64_t left = deadline_left(deadline);
    return left < 0 ? -1 : left > INT_MAX ? INT_MAX : (int)left;
}

void backoff_grow(struct backoff *backoff, const struct peer *peer)
{
    uint32_t delay_ms = backoff->delay_ms * 2;
    if (delay_ms < DELAY_MIN_MS) {
        delay_ms = DELAY_MIN_MS;
    }
    int64_t most_ms = peer->timeout_ms / 4 < DELAY_MAX_MS ? peer->timeout_ms / 4 : DELAY_MAX_MS;
    if (delay_ms > most_ms) {
        delay_ms = (uint32_t)most_ms + 1;
    }
    /* Any value that differs from one process and moment to the next will do. */
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t mixed = ((uint64_t)now.tv_nsec ^ ((uint64_t)getpid() << 20)) * 0x9E3779B97F4A7C15U;
    backoff->delay_ms = delay_ms;
    backoff->at_ms = monotonic_ms() + delay_ms - (mixed >> 33) % (delay_ms / 2 + 1);
}

bool backoff_wait(const struct backoff *backoff, const struct deadline *deadline)
{
    for (;;) {
        uint64_t now = monotonic_ms();
        if (now >= backoff->at_ms) {
            return true;
        }
        struct deadline time = deadline_within(deadline, (int64_t)(backoff->at_ms - now));
        if (deadline_passed(deadline)) {
            return false;
        }
        (void)poll(NULL, 0, deadline_poll(&time));
    }
}

/* ---- connecting ---- */

bool stream_may_recover(int code)
{
    return code == LS_ECONN || code == LS_ELOADING || code == LS_ESHUTDOWN || code == LS_ENOMEM;
}

static int lost(struct ls_error *error, const char *what, int reason)
{
    return error_set(error, LS_ECONN, 0, "%s: %s", what, strerror(reason));
}

/* Options that a connection does better with, and can do without. */
static void tune(int fd)
{
    static const struct {
        int level;
        int name;
        int value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},   {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, 10}, {IPPROTO_TCP, TCP_KEEPINTVL, 5},
        {IPPROTO_TCP, TCP_KEEPCNT, 4},
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        (void)setsockopt(fd, options[i].level, options[i].name, &options[i].value,
                         sizeof options[i].value);
    }
}

/* Waits for `events`: true when one of them, or an error, is there. */
static bool wait_for(int fd, short events, const struct deadline *deadline)
{
    struct pollfd entry = {.fd = fd, .events = events};
    for (;;) {
        int count = poll(&entry, 1, deadline_poll(deadline));
        if (count > 0) {
            return true;
        }
        if (count == 0 && deadline_passed(deadline)) {
            return false;
        }
    }
}

/* A connected socket, or a negative errno. */
static int connect_to(const struct addrinfo *address, const struct deadline *deadline)
{
    int fd = socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC,
                    address->ai_protocol);
    if (fd < 0) {
        return -errno;
    }
    tune(fd);
    int reason = connect(fd, address->ai_addr, address->ai_addrlen) == 0 ? 0 : errno;
    if (reason == EINPROGRESS || reason == EINTR) {
        if (wait_for(fd, POLLOUT, deadline)) {
            socklen_t size = sizeof reason;
            if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &reason, &size) != 0) {
                reason = errno;
            }
        } else {
            reason = ETIMEDOUT;
        }
    }
    if (reason != 0) {
        close(fd);
        return -reason;
    }
    return fd;
}

/* Tries each address of the host in turn, each with its share of the time that is left. */
static int connect_any(const struct peer *peer, const struct deadline *deadline, int *out,
                       struct ls_error *error)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *addresses = NULL;

    int failure = getaddrinfo(peer->host, peer->port, &hints, &addresses);
    if (failure != 0) {
        return error_set(error, LS_ECONN, 0, "cannot find the host %.100s: %s", peer->host,
                         failure == EAI_SYSTEM ? strerror(errno) : gai_strerror(failure));
    }
    int64_t count = 0;
    for (const struct addrinfo *a = addresses; a != NULL; a = a->ai_next) {
        count++;
    }
    int fd = -ETIMEDOUT;
    for (const struct addrinfo *a = addresses; a != NULL && fd < 0; a = a->ai_next, count--) {
        struct deadline share = *deadline;
        if (!deadline->none) {
            share = deadline_within(deadline, deadline_left(deadline) / count);
        }
        fd = connect_to(a, &share);
    }
    freeaddrinfo(addresses);
    if (fd < 0) {
        return error_set(error, LS_ECONN, 0, "cannot connect to %.100s port %s: %s", peer->host,
                         peer->port, strerror(-fd));
    }
    *out = fd;
    return 0;
}

static int say_hello(struct stream *stream, const struct peer *peer,
                     const struct deadline *deadline, struct ls_error *error)
{
    ls_bytes argv[7];
    size_t argc = 0;

    argv[argc++] = bytes_of_text("HELLO");
    argv[argc++] = bytes_of_text("3");
    if (peer->password != NULL) {
        argv[argc++] = bytes_of_text("AUTH");
        argv[argc++] = bytes_of_text(peer->user);
        argv[argc++] = bytes_of_text(peer->password);
    }
    if (peer->name != NULL) {
        argv[argc++] = bytes_of_text("SETNAME");
        argv[argc++] = bytes_of_text(peer->name);
    }
    int rc = stream_request(stream, argc, argv, deadline, error);
    if (rc != 0) {
        return rc;
    }
    const struct resp_value *value = &stream->reply.values[0];
    if (value->type == RESP_ERROR) {
        return reply_error(value, error);
    }
    if (value->type != RESP_MAP) {
        return error_set(error, LS_EPROTO, 0, "the peer does not speak RESP3");
    }
    return 0;
}

int stream_open(struct stream *stream, const struct peer *peer, const struct deadline *deadline,
                struct ls_error *error)
{
    assert(!stream_is_open(stream));
    int rc = connect_any(peer, deadline, &stream->fd, error);
    if (rc != 0) {
        return rc;
    }
    rc = say_hello(stream, peer, deadline, error);
    if (rc != 0) {
        stream_close(stream);
    }
    return rc;
}

void stream_close(struct stream *stream)
{
    if (stream_is_open(stream)) {
        close(stream->fd);
    }
    buf_free(&stream->in);
    resp_reply_free(&stream->reply);
    *stream = STREAM_CLOSED;
}

/* ---- receiving ---- */

/* Room behind what is there: for the rest of the reply under way where its size is known, within
 * bounds, so that a large one is not received in small pieces. */
static int make_room(struct stream *stream)
{
    struct buf *in = &stream->in;
    size_t there = in->size - stream->begin;
    size_t room = RECEIVE_SIZE;

    if (stream->reply.needed > there + room) {
        room = stream->reply.needed - there;
        room = room < RECEIVE_MOST ? room : RECEIVE_MOST;
    }
    if (there == 0 && in->capacity > RECEIVE_MOST) {
        buf_free(in); /* one large reply must not cost its memory for ever */
        stream->begin = 0;
    }
    if (stream->begin > 0 && (there == 0 || in->capacity - in->size < room)) {
        buf_drop(in, stream->begin);
        stream->begin = 0;
    }
    return buf_reserve(in, room);
}

int stream_fill(struct stream *stream, struct ls_error *error)
{
    if (make_room(stream) != 0) {
        return error_code(error, LS_ENOMEM);
    }
    struct buf *in = &stream->in;
    for (;;) {
        ssize_t size = recv(stream->fd, in->data + in->size, in->capacity - in->size, 0);
        if (size > 0) {
            in->size += (size_t)size;
            return 1;
        }
        if (size == 0) {
            return error_set(error, LS_ECONN, 0, "the server closed the connection");
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return 0;
        }
        if (errno != EINTR) {
            return lost(error, "the connection broke", errno);
        }
    }
}

int stream_next(struct stream *stream, struct ls_error *error)
{
    struct buf *in = &stream->in;
    size_t there = in->size - stream->begin;
    size_t consumed = 0;

    if (there == 0 || there < stream->reply.needed) {
        return 0;
    }
    ls_bytes bytes = bytes_of(in->data + stream->begin, there);
    int rc = resp_reply_parse(&stream->reply, bytes, &consumed, error);
    if (rc > 0) {
        stream->begin += consumed;
    }
    return rc;
}

int stream_wait(struct stream *stream, const struct deadline *deadline, struct ls_error *error)
{
    for (;;) {
        int rc = stream_next(stream, error);
        if (rc != 0) {
            return rc;
        }
        rc = stream_fill(stream, error);
        if (rc < 0) {
            return rc;
        }
        if (rc == 0 && !wait_for(stream->fd, POLLIN, deadline)) {
            return 0;
        }
    }
}

void stream_terminate(struct stream *stream, ls_bytes text)
{
    size_t offset = (size_t)((const uint8_t *)text.data - stream->in.data);
    assert(offset + text.size < stream->in.size);
    stream->in.data[offset + text.size] = '\0';
}

/* ---- sending ---- */

static int send_all(struct stream *stream, ls_bytes bytes, const struct deadline *deadline,
                    struct ls_error *error)
{
    const uint8_t *at = bytes.data;
    const uint8_t *end = at + bytes.size;

    while (at < end) {
        ssize_t size = send(stream->fd, at, (size_t)(end - at), MSG_NOSIGNAL);
        if (size >= 0) {
            at += size;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            if (!wait_for(stream->fd, POLLOUT, deadline)) {
                return error_set(error, LS_ECONN, 0, "the server did not take a request in time");
            }
        } else if (errno != EINTR) {
            return lost(error, "the connection broke", errno);
        }
    }
    return 0;
}

/* A server that refuses a request before it has the whole of it says why, and hangs up. */
static int refusal(struct stream *stream, struct ls_error *error)
{
    struct ls_error said;
    int rc = LS_ECONN;
    if (stream_fill(stream, &said) > 0 && stream_next(stream, &said) > 0 &&
        stream->reply.values->type == RESP_ERROR) {
        rc = reply_error(stream->reply.values, &said);
    }
    if (stream_may_recover(rc)) {
        return LS_ECONN;
    }
    *error = said;
    return rc;
}

int stream_send(struct stream *stream, size_t argc, const ls_bytes *argv,
                const struct deadline *deadline, struct ls_error *error)
{
    struct buf out = {0};
    int rc = resp_request(&out, argc, argv);
    if (rc != 0) {
        return error_code(error, rc);
    }
    rc = send_all(stream, buf_bytes(&out), deadline, error);
    buf_free(&out);
    return rc == LS_ECONN ? refusal(stream, error) : rc;
}

int stream_request(struct stream *stream, size_t argc, const ls_bytes *argv,
                   const struct deadline *deadline, struct ls_error *error)
{
    int rc = stream_send(stream, argc, argv, deadline, error);
    if (rc != 0) {
        return rc;
    }
    rc = stream_wait(stream, deadline, error);
    if (rc == 0) {
        return error_set(error, LS_ECONN, 0, "the server did not answer in time");
    }
    return rc < 0 ? rc : 0;
}
