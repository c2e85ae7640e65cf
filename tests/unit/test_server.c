/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server without memory: each allocation of a conversation fails in turn. The client gets
 * replies that are RESP, or its connection is closed; nothing leaks, and the next client is served;
 * and one that could not be let in is let in later.
 */
#include "server_fixture.h"

#include <errno.h>
#include <sys/un.h>

#include "base/log.h"
#include "server/command.h"

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
