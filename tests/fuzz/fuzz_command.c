/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server: whatever a client sends, every byte that comes back is RESP, every connection ends,
 * and the server goes on. The input is what one client sends before it ends its side; the first
 * byte chooses the version of the protocol. The store lives as long as the fuzzer.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "check.h"
#include "resp/reply.h"
#include "server/command.h"
#include "server/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX ((size_t)32 * 1024) /* fits the buffer of a socket */

static struct server *server;

static void start(void)
{
    struct config config;
    struct ls_error error;
    CHECK(config_init(&config) == 0);
    config.listen[0] = '\0';
    free(config.store);
    config.store = strdup("mem:");
    config.retention_count = 1000;
    config.sync = false;
    log_set_level(LOG_ERROR);
    command_index();
    CHECK(server_open(&server, &config, &error) == 0);
    while (server->nodes.epoch == 0) {
        uv_run(&server->loop, UV_RUN_ONCE);
    }
}

/* Whether the input has a word that would end the server, or change how the next input runs. */
static bool is_harmful(ls_bytes input)
{
    static const char *const words[] = {"SHUTDOWN", "CONFIG"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t size = strlen(words[i]);
        for (size_t at = 0; at + size <= input.size; at++) {
            if (strncasecmp((const char *)input.data + at, words[i], size) == 0) {
                return true;
            }
        }
    }
    return false;
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

static void talk(ls_bytes input, struct buf *replies)
{
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    CHECK(send(fds[0], input.data, input.size, MSG_NOSIGNAL) == (ssize_t)input.size);
    CHECK(shutdown(fds[0], SHUT_WR) == 0);
    CHECK(conn_adopt(server, fds[1]) != NULL);
    while (server->conn_count > 0) {
        uv_run(&server->loop, UV_RUN_ONCE);
        drain(fds[0], replies);
    }
    drain(fds[0], replies);
    close(fds[0]);
}

/* All of it is RESP; only a client that is watching may be cut off in the middle. */
static void check_replies(ls_bytes replies)
{
    struct resp_reply reply = {0};
    while (replies.size > 0) {
        struct ls_error error;
        size_t used;
        int rc = resp_reply_parse(&reply, replies, &used, &error);
        CHECK(rc >= 0);
        if (rc == 0) {
            break;
        }
        replies.data = (const uint8_t *)replies.data + used;
        replies.size -= used;
    }
    resp_reply_free(&reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (server == NULL) {
        start();
    }
    if (size < 1 || size > INPUT_MAX || is_harmful((ls_bytes){data + 1, size - 1})) {
        return 0;
    }
    struct buf input = {0};
    struct buf replies = {0};
    if (data[0] % 2 == 1) {
        CHECK(buf_append_text(&input, "HELLO 3\r\n") == 0);
    }
    CHECK(buf_append(&input, data + 1, size - 1) == 0);
    talk(buf_bytes(&input), &replies);
    check_replies(buf_bytes(&replies));
    buf_free(&input);
    buf_free(&replies);
    return 0;
}
