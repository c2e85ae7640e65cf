/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking after more nodes than one turn of the loop does: others are served meanwhile, and who is
 * bound stays so exactly while its life goes on.
 */
#include "server_fixture.h"

#include <signal.h>

#include "base/log.h"
#include "server/command.h"

#define NODES 2500

static void begin_look(struct server *server)
{
    while (server->nodes.looking) {
        turn(server, NULL, 0);
    }
    assert_int_equal(nodes_tick(server), 0);
    assert_true(server->nodes.looking);
}

static void end_look(struct server *server, struct client *clients, size_t count)
{
    while (server->nodes.looking) {
        turn(server, clients, count);
    }
}

static void others_are_served_while_many_nodes_are_looked_after(void **state)
{
    (void)state;
    struct server *server = open_with_nodes(8 * NODES);
    struct client client = begin(server, "PING\r\n");
    begin_look(server);
    while (!ends_with(&client, "+PONG\r\n")) {
        turn(server, &client, 1);
    }
    assert_true(server->nodes.looking);
    end_look(server, &client, 1);
    end(&client);
    close_server(server);
}

/* One of them joins behind the others in the order of the look, so that it would come to it. */
static void who_joins_meanwhile_is_bound(void **state)
{
    (void)state;
    struct server *server = open_with_nodes(NODES);
    begin_look(server);
    struct client client = begin(server, "NODE.JOIN z TTL 80000000\r\n");
    while (!client.conn->bound) {
        turn(server, &client, 1);
    }
    end_look(server, &client, 1);
    assert_true(client.conn->bound);
    begin_look(server);
    end_look(server, &client, 1);
    assert_true(client.conn->bound);
    end(&client);
    close_server(server);
}

static void ignore_answer(struct pending *pending)
{
    assert_int_equal(pending->request.status, 0);
}

static void who_is_given_up_elsewhere_is_bound_no_longer(void **state)
{
    (void)state;
    struct server *server = open_with_nodes(NODES);
    struct client client = begin(server, "NODE.JOIN z TTL 80000000\r\n");
    while (!client.conn->bound) {
        turn(server, &client, 1);
    }
    struct pending *pending = queue_new(&server->queue, client.conn->binding->host_size);
    assert_non_null(pending);
    pending->server = server;
    pending->answer = ignore_answer;
    pending->request.kind = REQUEST_NODE_EXPIRE; /* as another process may ask for it */
    pending->request.in.expire.host = queue_copy(pending, binding_host(client.conn->binding));
    pending->request.in.expire.joined = client.conn->binding->joined;
    queue_add(&server->queue, pending);
    while (server->queue.count > 0) {
        turn(server, &client, 1);
    }
    begin_look(server);
    end_look(server, &client, 1);
    assert_false(client.conn->bound);
    end(&client);
    close_server(server);
}

static void a_server_that_stops_looks_no_further(void **state)
{
    (void)state;
    struct server *server = open_with_nodes(NODES);
    begin_look(server);
    close_server(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(others_are_served_while_many_nodes_are_looked_after),
        cmocka_unit_test(who_joins_meanwhile_is_bound),
        cmocka_unit_test(who_is_given_up_elsewhere_is_bound_no_longer),
        cmocka_unit_test(a_server_that_stops_looks_no_further),
    };
    signal(SIGPIPE, SIG_IGN); /* as the server's own program does */
    log_set_level(LOG_ERROR);
    command_index();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
