/* SPDX-License-Identifier: Apache-2.0 */
/* The peer's sockets and threads, and just enough of RESP to read a request. */
#include "scripted_peer.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a script works with; the links of one peer at a time. */
static struct peer_link links[LINKS_MAX];

static void *serve(void *argument)
{
    struct peer_link *link = argument;
    struct scripted_peer *peer = link->peer;

    peer->script(link, peer->context);
    pthread_mutex_lock(&peer->lock);
    close(link->fd);
    peer->fds[link->number] = -1;
    pthread_mutex_unlock(&peer->lock);
    return NULL;
}

static void *accept_all(void *argument)
{
    struct scripted_peer *peer = argument;
    int fd;

    while ((fd = accept4(peer->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        const int on = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        pthread_mutex_lock(&peer->lock);
        if (peer->stopping) {
            close(fd);
        } else {
            assert(peer->count < LINKS_MAX);
            struct peer_link *link = &links[peer->count];
            link->peer = peer;
            link->number = peer->count;
            link->fd = fd;
            link->size = 0;
            link->used = 0;
            peer->fds[peer->count] = fd;
            int rc = pthread_create(&peer->threads[peer->count], NULL, serve, link);
            assert(rc == 0);
            (void)rc;
            peer->count++;
        }
        pthread_mutex_unlock(&peer->lock);
    }
    return NULL;
}

void peer_start(struct scripted_peer *peer, void (*script)(struct peer_link *link, void *context),
                void *context)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t size = sizeof address;

    memset(peer, 0, sizeof *peer);
    peer->script = script;
    peer->context = context;
    pthread_mutex_init(&peer->lock, NULL);
    peer->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = bind(peer->listener, (struct sockaddr *)&address, size);
    rc = rc != 0 ? rc : listen(peer->listener, 128);
    rc = rc != 0 ? rc : getsockname(peer->listener, (struct sockaddr *)&address, &size);
    assert(rc == 0);
    snprintf(peer->url, sizeof peer->url, "lockstep://127.0.0.1:%d", ntohs(address.sin_port));
    rc = pthread_create(&peer->acceptor, NULL, accept_all, peer);
    assert(rc == 0);
    (void)rc;
}

void peer_stop(struct scripted_peer *peer)
{
    pthread_mutex_lock(&peer->lock);
    peer->stopping = true;
    shutdown(peer->listener, SHUT_RDWR);
    for (int i = 0; i < peer->count; i++) {
        if (peer->fds[i] >= 0) {
            shutdown(peer->fds[i], SHUT_RDWR);
        }
    }
    pthread_mutex_unlock(&peer->lock);
    pthread_join(peer->acceptor, NULL);
    for (int i = 0; i < peer->count; i++) {
        pthread_join(peer->threads[i], NULL);
    }
    close(peer->listener);
    pthread_mutex_destroy(&peer->lock);
}

int peer_count(struct scripted_peer *peer)
{
    pthread_mutex_lock(&peer->lock);
    int count = peer->count;
    pthread_mutex_unlock(&peer->lock);
    return count;
}

/* ---- requests ---- */

/* Reads "<marker><number>\r\n" at *at: true where it is whole. */
static bool read_header(const struct peer_link *link, size_t *at, char marker, size_t *number)
{
    const char *line = link->data + *at;
    const char *end = memchr(line, '\n', link->size - *at);
    if (end == NULL) {
        return false;
    }
    assert(*line == marker);
    (void)marker;
    *number = strtoul(line + 1, NULL, 10);
    *at = (size_t)(end + 1 - link->data);
    return true;
}

static bool parse(struct peer_link *link)
{
    size_t at = link->used;
    size_t argc;
    if (at == link->size || !read_header(link, &at, '*', &argc)) {
        return false;
    }
    assert(argc <= ARGUMENTS_MAX);
    for (size_t i = 0; i < argc; i++) {
        size_t size;
        if (at == link->size || !read_header(link, &at, '$', &size) || link->size - at < size + 2) {
            return false;
        }
        link->argv[i] = link->data + at;
        link->argv_size[i] = size;
        at += size + 2;
    }
    for (size_t i = 0; i < argc; i++) {
        link->argv[i][link->argv_size[i]] = '\0';
    }
    link->argc = argc;
    link->used = at;
    return true;
}

bool link_next(struct peer_link *link)
{
    while (!parse(link)) {
        memmove(link->data, link->data + link->used, link->size - link->used);
        link->size -= link->used;
        link->used = 0;
        assert(link->size < sizeof link->data);
        ssize_t size = recv(link->fd, link->data + link->size, sizeof link->data - link->size, 0);
        if (size <= 0) {
            return false;
        }
        link->size += (size_t)size;
    }
    return true;
}

bool link_is(const struct peer_link *link, const char *word)
{
    return strcasecmp(link_argument(link, 0), word) == 0;
}

const char *link_argument(const struct peer_link *link, size_t n)
{
    return n < link->argc ? link->argv[n] : "";
}

const char *link_option(const struct peer_link *link, const char *keyword)
{
    for (size_t i = 1; i + 1 < link->argc; i++) {
        if (strcmp(link->argv[i], keyword) == 0) {
            return link->argv[i + 1];
        }
    }
    return NULL;
}

void link_say(struct peer_link *link, const char *format, ...)
{
    char text[8192];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    assert(size >= 0 && (size_t)size < sizeof text);
    (void)!send(link->fd, text, (size_t)size, MSG_NOSIGNAL);
}

void link_hello(struct peer_link *link)
{
    if (link_next(link)) {
        link_say(link, link_is(link, "HELLO") ? "%%1\r\n$5\r\nproto\r\n:3\r\n" : "-ERR HELLO\r\n");
    }
}

/* ---- answers ---- */

#define ID "00112233-4455-4677-8899-aabbccddeeff"
#define BOX                                                                                    \
    "%%4\r\n$6\r\noldest\r\n:1\r\n$6\r\nnewest\r\n:2\r\n$5\r\ncount\r\n:2\r\n$5\r\nbytes\r\n:" \
    "99\r\n"
#define NODE "*8\r\n$1\r\na\r\n$36\r\n" ID "\r\n:3\r\n$2\r\nup\r\n:4\r\n:5\r\n:6\r\n_\r\n"

void link_answer(struct peer_link *link)
{
    if (link_is(link, "HELLO")) {
        link_say(link, "%%1\r\n$5\r\nproto\r\n:3\r\n");
    } else if (link_is(link, "NODE.JOIN")) {
        link_say(link, "*3\r\n$36\r\n%s\r\n:7\r\n:0\r\n", link_option(link, "ID"));
    } else if (link_is(link, "MSG.READ")) {
        link_say(link, "*1\r\n*7\r\n:5\r\n$1\r\nU\r\n$1\r\n-\r\n:6\r\n$0\r\n\r\n$1\r\nb\r\n$1\r\n"
                       "\x01\r\n");
    } else if (link_is(link, "MSG.INFO")) {
        link_say(link, BOX);
    } else if (link_is(link, "NODE.GET")) {
        link_say(link, NODE);
    } else if (link_is(link, "NODE.LIST")) {
        link_say(link, "*1\r\n" NODE);
    } else if (link_is(link, "OBJ.GET")) {
        link_say(link, "*3\r\n$1\r\nv\r\n:1\r\n:2\r\n");
    } else if (link_is(link, "OBJ.SCAN")) {
        link_say(link, "*1\r\n*4\r\n$1\r\nk\r\n$1\r\nv\r\n:1\r\n:2\r\n");
    } else if (link_is(link, "OBJ.TXN")) {
        link_say(link, "*1\r\n:8\r\n");
    } else if (link_is(link, "TXN.BEGIN")) {
        link_say(link, "*2\r\n:42\r\n*1\r\n$1\r\nv\r\n");
    } else if (link_is(link, "TXN.READ")) {
        link_say(link, "$1\r\nv\r\n");
    } else if (link_is(link, "TXN.COMMIT") || link_is(link, "TXN.ABORT")) {
        link_say(link, "+OK\r\n");
    } else if (link_is(link, "TXN.RUN") || link_is(link, "TXN.GET")) {
        link_say(link, "*1\r\n$1\r\nv\r\n");
    } else if (link_is(link, "TXN.EXPLAIN")) {
        link_say(link, "%%2\r\n+began\r\n:5\r\n+keys\r\n*1\r\n*5\r\n$1\r\nk\r\n$4\r\nlazy\r\n"
                       ":3\r\n$3\r\nmay\r\n:4\r\n");
    } else {
        link_say(link, ":42\r\n");
    }
}
