/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server: whatever a client sends, every byte that comes back is RESP, every command gets one
 * reply, every connection ends, and the server still answers the next client. The input is what one
 * client sends before it ends its side. Of the first byte, the lowest bit chooses the version of
 * the protocol, the rest where the input is cut in two. The server lives for many inputs, unless
 * one of them shuts it down.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "check.h"
#include "resp/parser.h"
#include "resp/reply.h"
#include "server/command.h"
#include "server/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX  ((size_t)32 * 1024) /* fits the buffer of a socket */
#define INPUTS_MAX 512                 /* of one server, so that its store stays small */

static struct server *server;
static struct config standard;
static unsigned inputs; /* of this server */

static void start(void)
{
    struct config config;
    struct ls_error error;
    if (standard.store == NULL) {
        CHECK(config_init(&standard) == 0);
        free(standard.listen);
        free(standard.store);
        standard.listen = strdup("127.0.0.1:0");
        standard.store = strdup("mem:");
        CHECK(standard.listen != NULL && standard.store != NULL);
        standard.retention_count = 1000;
        standard.txn_ttl = 20;
        standard.sync = false;
        standard.log_level = LOG_ERROR;
        log_set_level(LOG_ERROR);
        command_index();
    }
    CHECK(config_copy(&config, &standard) == 0);
    CHECK(server_open(&server, &config, &error) == 0);
    while (server->nodes.epoch == 0) {
        uv_run(&server->loop, UV_RUN_ONCE);
    }
    inputs = 0;
}

/* Lets the server end, which may have begun already, and frees it. */
static void end(void)
{
    struct ls_error error;
    server_stop(server, "the fuzzer is done with it");
    CHECK(server_run(server, &error) == 0);
    server = NULL;
}

/* What the input changed with CONFIG SET does not stay for the next one. */
static void restore_settings(void)
{
    struct ls_error error;
    struct config old = server->config;
    CHECK(config_copy(&server->config, &standard) == 0);
    CHECK(server_apply_config(server, &old, &error) == 0);
    config_free(&old);
}

static void drain(int fd, struct buf *replies)
{
    for (;;) {
        CHECK(buf_reserve(replies, 64 * 1024) == 0);
        ssize_t n = recv(fd, replies->data + replies->size, replies->capacity - replies->size,
                         MSG_DONTWAIT);
        if (n <= 0) {
            CHECK(n == 0 || errno == EAGAIN || errno == ECONNRESET);
            return;
        }
        replies->size += (size_t)n;
    }
}

/* The server may have hung up already. */
static void send_all(int fd, ls_bytes bytes)
{
    ssize_t n = send(fd, bytes.data, bytes.size, MSG_NOSIGNAL);
    CHECK(n == (ssize_t)bytes.size || (n < 0 && (errno == EPIPE || errno == ECONNRESET)));
}

/* One connection from its beginning to its end; the server gets what is behind `cut` later. */
static void talk(ls_bytes input, size_t cut, struct buf *replies)
{
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    CHECK(conn_adopt(server, fds[1]) != NULL);
    if (cut > 0) {
        send_all(fds[0], bytes_of(input.data, cut));
        uv_run(&server->loop, UV_RUN_ONCE);
    }
    send_all(fds[0], bytes_of((const char *)input.data + cut, input.size - cut));
    shutdown(fds[0], SHUT_WR);
    while (server->conn_count > 0) {
        uv_run(&server->loop, UV_RUN_ONCE);
        drain(fds[0], replies);
    }
    drain(fds[0], replies);
    close(fds[0]);
}

/* Commands behind which the replies are not simply one a command: the connection or the server
 * ends, its limits change, a client that goes gets no answer, pushes of RESP2 look like replies. */
static bool is_countable(ls_bytes name)
{
    static const char *const names[] = {"CLIENT",    "CONFIG", "MSG.READ",     "MSG.WATCH",
                                        "OBJ.WATCH", "QUIT",   "SHARD.LISTEN", "SHUTDOWN"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (name.size == strlen(names[i]) && strncasecmp(name.data, names[i], name.size) == 0) {
            return false;
        }
    }
    return true;
}

/* How many replies the input must get; -1 where that cannot be told. */
static int count_commands(ls_bytes input)
{
    struct resp_parser parser = {
        .limits = {.request_size_max = standard.request_max, .inline_size_max = 64 * 1024}};
    struct ls_error error;
    int count = 0;
    enum resp_status status = RESP_COMMAND;
    while (status == RESP_COMMAND && count >= 0) {
        size_t used;
        status = resp_parse(&parser, input, &used, &error);
        if (status != RESP_MORE) {
            bool is_known = status == RESP_FAILED || is_countable(parser.argv[0]);
            count = is_known ? count + 1 : -1;
        }
        input = bytes_of((const char *)input.data + used, input.size - used);
    }
    resp_parser_free(&parser);
    return count;
}

/* Returns how many there are, pushes not counted; -1 where the last one was cut off. */
static int count_replies(ls_bytes replies)
{
    struct resp_reply reply = {0};
    int count = 0;
    while (replies.size > 0 && count >= 0) {
        struct ls_error error;
        size_t used;
        int rc = resp_reply_parse(&reply, replies, &used, &error);
        CHECK(rc >= 0);
        if (rc == 0) {
            count = -1;
        } else if (reply.values[0].type != RESP_PUSH) {
            count++;
        }
        replies = bytes_of((const char *)replies.data + used, replies.size - used);
    }
    resp_reply_free(&reply);
    return count;
}

static bool has_word(ls_bytes input, const char *word)
{
    size_t size = strlen(word);
    const char *text = input.data;
    for (size_t i = 0; i + size <= input.size; i++) {
        if (strncasecmp(text + i, word, size) == 0) {
            return true;
        }
    }
    return false;
}

static void check_alive(void)
{
    struct buf pong = {0};
    talk(bytes_of_text("PING\r\n"), 0, &pong);
    CHECK(bytes_equal(buf_bytes(&pong), bytes_of_text("+PONG\r\n")));
    buf_free(&pong);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > INPUT_MAX) {
        return 0;
    }
    if (server == NULL) {
        start();
    }
    struct buf input = {0};
    struct buf replies = {0};
    if (data[0] % 2 == 1) {
        CHECK(buf_append_text(&input, "HELLO 3\r\n") == 0);
    }
    CHECK(buf_append(&input, data + 1, size - 1) == 0);
    if (has_word(buf_bytes(&input), "TXN.BEGIN") && has_word(buf_bytes(&input), "TTL")) {
        buf_free(&input); /* it could wait for itself, for as long as it says */
        return 0;
    }
    int expected = count_commands(buf_bytes(&input));
    talk(buf_bytes(&input), input.size * (data[0] / 2) / 128, &replies);
    int count = count_replies(buf_bytes(&replies));
    CHECK(expected < 0 || count == expected);
    buf_free(&input);
    buf_free(&replies);
    if (!server->stopping) {
        restore_settings();
        check_alive();
    }
    if (server->stopping || ++inputs == INPUTS_MAX) {
        end();
    }
    return 0;
}
