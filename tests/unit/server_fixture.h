/*
 * A server within the test's own process and thread, whose loop turns when the test turns it, and
 * clients of it.
 */
#ifndef LS_TESTS_SERVER_FIXTURE_H
#define LS_TESTS_SERVER_FIXTURE_H

#include "server/server.h"

/* cmocka's header needs these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "faults.h"
#include "resp/reply.h"

static inline struct server *open_server(const char *listen)
{
    struct server *server;
    struct config config;
    struct ls_error error;
    assert_int_equal(config_init(&config), 0);
    free(config.listen);
    free(config.store);
    config.listen = strdup(listen);
    config.store = strdup("mem:");
    assert_true(config.listen != NULL && config.store != NULL);
    assert_int_equal(server_open(&server, &config, &error), 0);
    while (!server->ready) {
        uv_run(&server->loop, UV_RUN_ONCE);
    }
    return server;
}

static inline void close_server(struct server *server)
{
    struct ls_error error;
    server_stop(server, "the test ends");
    assert_int_equal(server_run(server, &error), 0);
}

static inline void drain(int fd, struct buf *replies)
{
    char bytes[4096];
    for (;;) {
        ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n <= 0) {
            return;
        }
        assert_int_equal(buf_append(replies, bytes, (size_t)n), 0);
    }
}

/* A client whose server turns when the test does. */
struct client {
    struct conn *conn; /* the server's */
    int fd;
    struct buf replies;
};

static inline struct client begin(struct server *server, const char *lines)
{
    struct client client = {0};
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    client.fd = fds[0];
    client.conn = conn_adopt(server, fds[1]);
    assert_non_null(client.conn);
    assert_int_equal(send(client.fd, lines, strlen(lines), MSG_NOSIGNAL), (ssize_t)strlen(lines));
    return client;
}

static inline void turn(struct server *server, struct client *clients, size_t count)
{
    uv_run(&server->loop, UV_RUN_NOWAIT);
    for (size_t i = 0; i < count; i++) {
        drain(clients[i].fd, &clients[i].replies);
    }
}

static inline void end(struct client *client)
{
    close(client->fd);
    buf_free(&client->replies);
}

static inline bool ends_with(const struct client *client, const char *text)
{
    size_t size = strlen(text);
    return client->replies.size >= size &&
           memcmp(client->replies.data + client->replies.size - size, text, size) == 0;
}

/* Sends the lines as one client and takes what comes until the connection ends. */
static inline void talk(struct server *server, const char *lines, long failing, struct buf *replies)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(send(fds[0], lines, strlen(lines), MSG_NOSIGNAL), (ssize_t)strlen(lines));
    shutdown(fds[0], SHUT_WR);
    assert_int_equal(buf_reserve(replies, 1 << 20), 0);
    faults_fail_allocation(failing);
    if (conn_adopt(server, fds[1]) == NULL) {
        close(fds[1]);
    }
    while (server->conn_count > 0 || server->queue.count > 0) {
        uv_run(&server->loop, UV_RUN_ONCE);
        drain(fds[0], replies);
    }
    drain(fds[0], replies);
    close(fds[0]);
}

#define JOINS_AT_ONCE 2500 /* about what a socket takes */

/* A server on which so many hosts joined one after the other. */
static inline struct server *open_with_nodes(int count)
{
    struct server *server = open_server("127.0.0.1:0");
    struct buf lines = {0}, replies = {0};
    for (int i = 0; i < count;) {
        lines.size = replies.size = 0;
        for (int end = i + JOINS_AT_ONCE; i < count && i < end; i++) {
            assert_int_equal(buf_printf(&lines, "NODE.JOIN n%04d TTL 80000000\r\n", i), 0);
        }
        assert_int_equal(buf_append_byte(&lines, 0), 0);
        talk(server, (const char *)lines.data, 0, &replies);
    }
    buf_free(&lines);
    buf_free(&replies);
    return server;
}

static inline void assert_resp(ls_bytes replies)
{
    struct resp_reply reply = {0};
    while (replies.size > 0) {
        struct ls_error error;
        size_t used;
        int rc = resp_reply_parse(&reply, replies, &used, &error);
        assert_true(rc >= 0);
        if (rc == 0) {
            break;
        }
        replies.data = (const uint8_t *)replies.data + used;
        replies.size -= used;
    }
    resp_reply_free(&reply);
}

/* True where so many allocations were made that the n-th failed. */
static inline bool converse_without_memory(struct server *server, const char *lines, long n)
{
    struct buf replies = {0};
    talk(server, lines, n, &replies);
    bool failed = faults_allocations() >= n;
    faults_fail_allocation(0);
    assert_resp(buf_bytes(&replies));
    replies.size = 0;
    talk(server, "PING\r\n", 0, &replies);
    assert_int_equal(replies.size, 7);
    assert_memory_equal(replies.data, "+PONG\r\n", 7);
    buf_free(&replies);
    return failed;
}

#endif
