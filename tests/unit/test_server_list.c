/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NODE.LIST and OBJ.SCAN of more than is looked at in one turn of the loop: others are served
 * meanwhile, and who asked gets all of it, in order with the rest, or may go.
 */
#include "server_fixture.h"

#include <signal.h>

#include "base/log.h"
#include "server/command.h"
#include "server/listing.h"

#define NODES 2500

/* The reply is one array of all nodes in the order of their hosts, and `behind` is behind it. */
static void assert_all_nodes(const struct buf *replies, const char *behind)
{
    struct resp_reply reply = {0};
    struct ls_error error;
    size_t used;
    assert_int_equal(resp_reply_parse(&reply, buf_bytes(replies), &used, &error), 1);
    resp_reply_free(&reply);
    assert_int_equal(replies->size - used, strlen(behind));
    assert_memory_equal(replies->data + used, behind, strlen(behind));
    assert_memory_equal(replies->data, "*2500\r\n", 7);
    const uint8_t *at = replies->data;
    for (int i = 0; i < NODES; i++) {
        char host[16];
        snprintf(host, sizeof host, "\r\nn%04d\r\n", i);
        at = memmem(at, (size_t)(replies->data + replies->size - at), host, strlen(host));
        assert_non_null(at);
    }
}

static void others_are_served_while_a_long_list_is_made(void **state)
{
    (void)state;
    struct server *server = open_with_nodes(NODES);
    struct client clients[] = {begin(server, "NODE.LIST\r\nPING\r\n"), begin(server, "PING\r\n")};
    while (clients[1].replies.size == 0) {
        turn(server, clients, 2);
    }
    assert_int_equal(clients[0].replies.size, 0);
    while (!ends_with(&clients[0], "+PONG\r\n")) {
        turn(server, clients, 2);
    }
    assert_all_nodes(&clients[0].replies, "+PONG\r\n");
    end(&clients[0]);
    end(&clients[1]);
    close_server(server);
}

/* At most one of the two others is there at any time, one at each end of the list. */
static void a_list_is_of_one_commit_whatever_is_changed_meanwhile(void **state)
{
    (void)state;
    struct server *server = open_with_nodes(NODES);
    struct buf lines = {0};
    for (int i = 0; i < 200; i++) {
        assert_int_equal(buf_append_text(&lines, "NODE.JOIN a\r\nNODE.LEAVE\r\n"
                                                 "NODE.JOIN z\r\nNODE.LEAVE\r\n"),
                         0);
    }
    assert_int_equal(buf_append_byte(&lines, 0), 0);
    struct client clients[] = {begin(server, "NODE.LIST\r\nNODE.LIST\r\n"),
                               begin(server, (const char *)lines.data)};
    for (size_t lists = 0; lists < 2;) {
        struct resp_reply reply = {0};
        struct ls_error error;
        size_t used;
        turn(server, clients, 2);
        if (resp_reply_parse(&reply, buf_bytes(&clients[0].replies), &used, &error) == 1) {
            assert_int_equal(reply.values[0].type, RESP_ARRAY);
            assert_in_range(reply.values[0].count, NODES, NODES + 1);
            buf_drop(&clients[0].replies, used);
            lists++;
        }
        resp_reply_free(&reply);
    }
    assert_int_equal(clients[0].replies.size, 0);
    end(&clients[0]);
    end(&clients[1]);
    buf_free(&lines);
    close_server(server);
}

static void those_who_sent_their_last_byte_get_their_lists(void **state)
{
    (void)state;
    struct server *server = open_with_nodes(NODES);
    struct buf replies = {0};
    talk(server, "NODE.LIST\r\n", 0, &replies);
    assert_all_nodes(&replies, "");
    replies.size = 0;
    talk(server, "NODE.LIST STATE up\r\nNODE.LIST STATE down\r\nNODE.LIST STATE leaving\r\n", 0,
         &replies);
    assert_all_nodes(&replies, "*0\r\n*0\r\n");
    buf_free(&replies);
    close_server(server);
}

static void lists_are_made_in_the_order_in_which_they_were_asked_for(void **state)
{
    (void)state;
    struct server *server = open_with_nodes(NODES);
    struct client clients[] = {begin(server, "NODE.LIST\r\n"), begin(server, "NODE.LIST\r\n"),
                               begin(server, "NODE.LIST\r\n")};
    while (clients[2].conn->listing == NULL) {
        turn(server, clients, 3);
    }
    for (size_t first = 0; first < 3; first++) {
        while (clients[first].replies.size == 0) {
            turn(server, clients, 3);
            assert_true(listing_memory(clients[2].conn->listing) < 1000 || first > 0);
        }
        for (size_t later = first + 1; later < 3; later++) {
            assert_int_equal(clients[later].replies.size, 0);
        }
    }
    while (clients[2].conn->listing != NULL || !list_empty(&server->dirty)) {
        turn(server, clients, 3);
    }
    turn(server, clients, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_all_nodes(&clients[i].replies, "");
        end(&clients[i]);
    }
    close_server(server);
}

static void who_hangs_up_gets_nothing_and_holds_up_nobody(void **state)
{
    (void)state;
    struct server *server = open_with_nodes(NODES);
    struct client clients[] = {begin(server, "NODE.LIST\r\n"),
                               begin(server, "NODE.LIST\r\nPING\r\n")};
    while (clients[0].conn->listing == NULL) {
        turn(server, clients, 2);
    }
    assert_true(listing_memory(clients[0].conn->listing) > 10000); /* it has begun */
    conn_close(clients[0].conn);
    while (!ends_with(&clients[1], "+PONG\r\n")) {
        turn(server, clients, 2);
    }
    assert_int_equal(clients[0].replies.size, 0);
    assert_all_nodes(&clients[1].replies, "+PONG\r\n");
    end(&clients[0]);
    end(&clients[1]);
    close_server(server);
}

static void a_server_that_stops_refuses_what_is_under_way(void **state)
{
    (void)state;
    struct server *server = open_with_nodes(NODES);
    struct client client = begin(server, "NODE.LIST\r\n");
    while (client.conn->listing == NULL) {
        turn(server, &client, 1);
    }
    close_server(server);
    drain(client.fd, &client.replies);
    assert_true(client.replies.size > 0 && client.replies.data[0] == '-');
    end(&client);
}

static void each_allocation_of_a_long_list_may_fail(void **state)
{
    (void)state;
    struct server *server = open_with_nodes(NODES);
    for (long n = 1; converse_without_memory(server, "NODE.LIST\r\nNODE.LIST JSON\r\n", n); n++) {
    }
    close_server(server);
}

/* ---- objects ---- */

/* A server with as many objects as the others have nodes, named and put likewise. */
static struct server *open_with_objects(void)
{
    struct server *server = open_server("127.0.0.1:0");
    struct buf lines = {0}, replies = {0};
    for (int i = 0; i < NODES; i++) {
        assert_int_equal(buf_printf(&lines, "OBJ.PUT n%04d v\r\n", i), 0);
    }
    assert_int_equal(buf_append_byte(&lines, 0), 0);
    talk(server, (const char *)lines.data, 0, &replies);
    buf_free(&lines);
    buf_free(&replies);
    return server;
}

static void others_are_served_while_a_long_scan_is_made(void **state)
{
    (void)state;
    struct server *server = open_with_objects();
    struct client clients[] = {begin(server, "OBJ.SCAN n COUNT 3000\r\nPING\r\n"),
                               begin(server, "PING\r\n")};
    while (clients[1].replies.size == 0) {
        turn(server, clients, 2);
    }
    assert_int_equal(clients[0].replies.size, 0);
    while (!ends_with(&clients[0], "+PONG\r\n")) {
        turn(server, clients, 2);
    }
    assert_all_nodes(&clients[0].replies, "+PONG\r\n");
    end(&clients[0]);
    end(&clients[1]);
    close_server(server);
}

/* Each of these scans goes over several turns, and none is the longer for it. */
static void a_long_scan_keeps_to_its_prefix_after_and_count(void **state)
{
    (void)state;
    struct server *server = open_with_objects();
    struct buf replies = {0};
    talk(server, "OBJ.SCAN n AFTER n0099 COUNT 2000\r\nOBJ.SCAN n1 COUNT 9999\r\n", 0, &replies);
    assert_memory_equal(replies.data, "*2000\r\n*4\r\n$5\r\nn0100\r\n", 22);
    assert_null(memmem(replies.data, replies.size, "n2100", 5));
    assert_non_null(memmem(replies.data, replies.size, "n2099", 5));
    assert_non_null(memmem(replies.data, replies.size, "*1000\r\n*4\r\n$5\r\nn1000\r\n", 22));
    buf_free(&replies);
    close_server(server);
}

/* An object at each end is there or not, never one alone. */
static void a_scan_is_of_one_commit_whatever_is_changed_meanwhile(void **state)
{
    (void)state;
    struct server *server = open_with_objects();
    struct buf lines = {0};
    for (int i = 0; i < 200; i++) {
        assert_int_equal(buf_append_text(&lines, "OBJ.TXN IF 0 THEN 2 PUT a v PUT z v\r\n"
                                                 "OBJ.TXN IF 0 THEN 2 DEL a DEL z\r\n"),
                         0);
    }
    assert_int_equal(buf_append_byte(&lines, 0), 0);
    struct client clients[] = {
        begin(server, "OBJ.SCAN \"\" COUNT 9999\r\nOBJ.SCAN \"\" COUNT 9999\r\n"),
        begin(server, (const char *)lines.data)};
    for (size_t scans = 0; scans < 2;) {
        struct resp_reply reply = {0};
        struct ls_error error;
        size_t used;
        turn(server, clients, 2);
        if (resp_reply_parse(&reply, buf_bytes(&clients[0].replies), &used, &error) == 1) {
            assert_int_equal(reply.values[0].type, RESP_ARRAY);
            assert_true(reply.values[0].count == NODES || reply.values[0].count == NODES + 2);
            buf_drop(&clients[0].replies, used);
            scans++;
        }
        resp_reply_free(&reply);
    }
    end(&clients[0]);
    end(&clients[1]);
    buf_free(&lines);
    close_server(server);
}

static void each_allocation_of_a_long_scan_may_fail(void **state)
{
    (void)state;
    struct server *server = open_with_objects();
    for (long n = 1;
         converse_without_memory(server, "OBJ.SCAN n AFTER n0001 COUNT 9999\r\nPING\r\n", n); n++) {
    }
    close_server(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(others_are_served_while_a_long_list_is_made),
        cmocka_unit_test(a_list_is_of_one_commit_whatever_is_changed_meanwhile),
        cmocka_unit_test(those_who_sent_their_last_byte_get_their_lists),
        cmocka_unit_test(lists_are_made_in_the_order_in_which_they_were_asked_for),
        cmocka_unit_test(who_hangs_up_gets_nothing_and_holds_up_nobody),
        cmocka_unit_test(a_server_that_stops_refuses_what_is_under_way),
        cmocka_unit_test(each_allocation_of_a_long_list_may_fail),
        cmocka_unit_test(others_are_served_while_a_long_scan_is_made),
        cmocka_unit_test(a_long_scan_keeps_to_its_prefix_after_and_count),
        cmocka_unit_test(a_scan_is_of_one_commit_whatever_is_changed_meanwhile),
        cmocka_unit_test(each_allocation_of_a_long_scan_may_fail),
    };
    signal(SIGPIPE, SIG_IGN); /* as the server's own program does */
    log_set_level(LOG_ERROR);
    command_index();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
