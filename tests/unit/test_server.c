/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server without memory: each allocation of a conversation fails in turn. The client gets
 * replies that are RESP, or its connection is closed; nothing leaks, and the next client is served;
 * and one that could not be let in is let in later.
 */
#include "server/server.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "faults.h"
#include "resp/reply.h"
#include "server/command.h"

static struct server *open_server(const char *listen)
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

static void close_server(struct server *server)
{
    struct ls_error error;
    server_stop(server, "the test ends");
    assert_int_equal(server_run(server, &error), 0);
}

static void drain(int fd, struct buf *replies)
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

/* Sends the lines as one client and takes what comes until the connection ends. */
static void talk(struct server *server, const char *lines, long failing, struct buf *replies)
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

static void assert_resp(ls_bytes replies)
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
static bool converse_without_memory(struct server *server, const char *lines, long n)
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

static void each_allocation_of_a_conversation_may_fail(void **state)
{
    (void)state;
    static const char *const conversations[] = {
        "MSG.POST user - JSON [1]\r\nMSG.READ - COUNT 3 JSON\r\nMSG.INFO\r\nMSG.TRIM BEFORE 2\r\n",
        "HELLO 3\r\nMSG.POST user - TEXT x\r\nMSG.WATCH $ FOR a KEY k\r\nMSG.POST user - TEXT y\r\n"
        "MSG.UNWATCH\r\n",
        "MSG.READ $ BLOCK 1 TYPE U KEY k\r\n",
        "OBJ.PUT k v\r\nOBJ.SCAN k\r\nOBJ.TXN IF 0 THEN 2 PUT a b DEL a\r\nSET k w GET\r\nDEL "
        "k\r\n",
        "HELLO 3\r\nOBJ.PUT k v\r\nOBJ.WATCH k\r\nOBJ.PUT k w\r\nOBJ.UNWATCH\r\n",
        "NODE.JOIN h TTL 1000 META TEXT x\r\nNODE.GET h JSON\r\nRELAY.SEND BROADCAST TEXT x\r\n"
        "NODE.LIST\r\nNODE.LEAVE\r\n",
        "TXN.RUN 4 PUT a 1 INCRBY a 2 GET a CHECK a 3\r\nTXN.GET a b\r\nTXN.RUN 1 CHECK a x\r\n"
        "TXN.BEGIN EAGER 2 a b LAZY 1 c WILL 1 a MAY 1 d TTL 50\r\nTXN.GET a\r\nTXN.EXPLAIN 5\r\n"
        "TXN.COMMIT 5 1 a x\r\nINFO transactions\r\n",
        "SHARD.CREATE s LEARNER l WORKERS 1 w\r\n"
        "SHARD.ACQUIRE s 5 WORKER w EXECUTOR e EAGER 2 a b WILL 1 a\r\n"
        "SHARD.SEEN s WORKER w 9 WRITES\r\nINFO shards\r\nSHARD.INFO s\r\nHELLO 3\r\n"
        "SHARD.LISTEN s e\r\nSHARD.ANCHOR s c l 1 x 10\r\nSHARD.WRITE s 5 a VALUE x\r\n"
        "SHARD.DROP s\r\n",
        "CLIENT SETNAME n\r\nCLIENT LIST\r\nINFO\r\nCONFIG SET quota 0\r\nCONFIG GET "
        "*\r\nCOMMAND\r\n",
    };
    struct server *server = open_server("127.0.0.1:0");
    for (size_t i = 0; i < sizeof conversations / sizeof conversations[0]; i++) {
        for (long n = 1; converse_without_memory(server, conversations[i], n); n++) {
        }
    }
    close_server(server);
}

static void whom_there_was_no_memory_for_is_let_in_later(void **state)
{
    (void)state;
    char listen[64];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "/tmp/lockstep-test-%d", (int)getpid());
    snprintf(listen, sizeof listen, "unix:%s", address.sun_path);
    for (int i = 0; i < 3; i++) { /* it may be another thread's allocation that fails */
        struct server *server = open_server(listen);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(fd >= 0);
        faults_fail_allocation(1);
        assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
        while (faults_allocations() == 0) {
            uv_run(&server->loop, UV_RUN_ONCE);
        }
        faults_fail_allocation(0);
        while (server->conn_count == 0 && !server->stopping) { /* a tick is enough */
            uv_run(&server->loop, UV_RUN_ONCE);
        }
        close(fd);
        close_server(server);
    }
}

/* True where so many allocations were made that the n-th failed. */
static bool open_without_memory(long n)
{
    struct server *server;
    struct config config;
    struct ls_error error;
    assert_int_equal(config_init(&config), 0);
    free(config.store);
    config.store = strdup("mem:");
    free(config.listen);
    int size = asprintf(&config.listen, "127.0.0.1:0 unix:/tmp/lockstep-test-%d", (int)getpid());
    assert_true(config.store != NULL && size > 0);
    faults_fail_allocation(n);
    if (server_open(&server, &config, &error) == 0) {
        close_server(server);
    }
    bool failed = faults_allocations() >= n;
    faults_fail_allocation(0);
    return failed;
}

static void each_allocation_of_a_start_may_fail(void **state)
{
    (void)state;
    for (long n = 1; open_without_memory(n); n++) {
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation_of_a_conversation_may_fail),
        cmocka_unit_test(whom_there_was_no_memory_for_is_let_in_later),
        cmocka_unit_test(each_allocation_of_a_start_may_fail),
    };
    log_set_level(LOG_ERROR);
    command_index();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
