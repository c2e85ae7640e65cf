/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes: joining, living, leaving and being given up; numbered posts; the relay. */
#include <stdlib.h>

#include "library.h"

static const uint8_t id_a[16] = "aaaaaaaaaaaaaaaa";
static const uint8_t id_b[16] = "bbbbbbbbbbbbbbbb";

static ls_joined join(ls *handle, const char *host, const uint8_t *id, uint64_t ttl_ms)
{
    ls_join_options options = LS_JOIN_OPTIONS_INIT;
    options.id = id;
    options.ttl_ms = ttl_ms;
    ls_joined joined = {0};
    assert_ok(ls_node_join(handle, host, &options, &joined));
    return joined;
}

static enum ls_node_state state_of(ls *handle, const char *host)
{
    ls_nodes *nodes;
    assert_ok(ls_node_get(handle, host, &nodes));
    enum ls_node_state state = ls_nodes_get(nodes, 0)->state;
    ls_nodes_free(nodes);
    return state;
}

static void a_joined_node_stands_in_the_registry(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    ls_join_options options = LS_JOIN_OPTIONS_INIT;
    options.meta = ls_json("{\"zone\":1}");
    ls_joined joined;
    assert_ok(ls_node_join(handle, "n1", &options, &joined));
    assert_int_equal(0, joined.seq);
    assert_true(joined.clock > 0);

    ls_nodes *nodes;
    assert_ok(ls_node_get(handle, "n1", &nodes));
    assert_int_equal(1, ls_nodes_count(nodes));
    const ls_node *node = ls_nodes_get(nodes, 0);
    assert_null(ls_nodes_get(nodes, 1));
    assert_bytes("n1", node->host);
    assert_memory_equal(joined.id, node->id, 16);
    assert_int_equal(LS_NODE_UP, node->state);
    assert_int_equal(joined.clock, node->joined);
    assert_int_equal(10000, node->ttl_ms);
    assert_true(node->timestamp_ns > UINT64_C(1600000000000000000));
    char *json;
    assert_ok(ls_cbor_to_json(node->meta, &json));
    assert_string_equal("{\"zone\":1}", json);
    ls_free(json);
    ls_nodes_free(nodes);
    ls_nodes_free(NULL);
    assert_code(LS_ENOTFOUND, ls_node_get(handle, "n2", &nodes));

    uint64_t clock = post_text(handle, "x");
    ls_messages *messages;
    assert_ok(ls_read(handle, clock, NULL, 1, 0, &messages));
    assert_bytes("n1", ls_messages_get(messages, 0)->from);
    ls_messages_free(messages);
}

static void a_host_name_must_be_one(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    char longest[257];
    memset(longest, 'h', sizeof longest - 1);
    longest[256] = '\0';
    assert_code(LS_EINVAL, ls_node_join(handle, NULL, NULL, NULL));
    assert_code(LS_EKEY, ls_node_join(handle, "", NULL, NULL));
    assert_code(LS_EKEY, ls_node_join(handle, "a\x01", NULL, NULL));
    assert_code(LS_EKEY, ls_node_join(handle, "\xff", NULL, NULL));
    assert_refused(LS_ETOOBIG, 255, ls_node_join(handle, longest, NULL, NULL));
    ls_nodes *nodes;
    assert_ok(ls_node_list(handle, &nodes));
    assert_int_equal(0, ls_nodes_count(nodes));
    ls_nodes_free(nodes);
    longest[255] = '\0';
    assert_ok(ls_node_join(handle, longest, NULL, NULL));
}

static void a_ttl_is_refused_that_no_server_takes(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    static const uint64_t wrong[] = {1, 99, 86400001, UINT64_MAX};
    ls_join_options options = LS_JOIN_OPTIONS_INIT;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        options.ttl_ms = wrong[i];
        assert_code(LS_EINVAL, ls_node_join(handle, "n1", &options, NULL));
    }
    join(handle, "n1", id_a, 100);
    join(handle, "n1", id_a, 86400000);
}

static void what_needs_a_node_is_refused_without_one(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    assert_code(LS_ENOTJOINED, ls_node_beat(handle, NULL));
    assert_code(LS_ENOTJOINED, ls_node_ack(handle, 0, NULL));
    assert_code(LS_ENOTJOINED, ls_node_set_state(handle, LS_NODE_UP, NULL));
    assert_code(LS_ENOTJOINED, ls_node_leave(handle, NULL));
    ls_put_options owned = LS_PUT_OPTIONS_INIT;
    owned.owned = true;
    assert_code(LS_ENOTJOINED, ls_put(handle, bytes("k"), bytes("v"), &owned, NULL));
    ls_post_options once = LS_POST_OPTIONS_INIT;
    once.once = true;
    assert_code(LS_ENOTJOINED, ls_post(handle, LS_USER, 0, ls_text("x"), &once, NULL));
    assert_int_equal(0, count_messages(handle, 0, NULL));
}

static void a_node_says_how_it_is_and_leaves(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    join(handle, "n1", NULL, 0);
    uint64_t posted = post_text(handle, "x"), clock;
    assert_ok(ls_node_beat(handle, &clock));
    assert_int_equal(posted, clock);
    assert_ok(ls_node_ack(handle, posted, &clock));
    assert_code(LS_EINVAL, ls_node_ack(handle, clock + 1000, NULL));
    ls_nodes *nodes;
    assert_ok(ls_node_get(handle, "n1", &nodes));
    assert_int_equal(posted, ls_nodes_get(nodes, 0)->clock);
    ls_nodes_free(nodes);

    assert_ok(ls_node_set_state(handle, LS_NODE_LEAVING, &clock));
    assert_true(clock > posted);
    assert_int_equal(LS_NODE_LEAVING, state_of(handle, "n1"));
    assert_ok(ls_node_set_state(handle, LS_NODE_UP, NULL));
    assert_int_equal(LS_NODE_UP, state_of(handle, "n1"));
    assert_code(LS_EINVAL, ls_node_set_state(handle, LS_NODE_DOWN, NULL));

    ls_put_options owned = LS_PUT_OPTIONS_INIT;
    owned.owned = true;
    assert_ok(ls_put(handle, bytes("mine"), bytes("v"), &owned, NULL));
    assert_ok(ls_put(handle, bytes("everyone's"), bytes("v"), NULL, NULL));
    assert_ok(ls_node_leave(handle, NULL));
    assert_code(LS_ENOTFOUND, ls_node_get(handle, "n1", &nodes));
    ls_objects *objects;
    assert_code(LS_ENOTFOUND, ls_get(handle, bytes("mine"), &objects));
    assert_ok(ls_get(handle, bytes("everyone's"), &objects));
    ls_objects_free(objects);
    assert_code(LS_ENOTJOINED, ls_node_beat(handle, NULL));
    post_text(handle, "as nobody");
    assert_ok(ls_node_join(handle, "n1", NULL, NULL));
}

static void nodes_are_listed_in_the_order_of_their_hosts(void **state)
{
    struct fixture *fixture = *state;
    if (kind_is("mem")) {
        skip();
    }
    ls *other = open_again(fixture, NULL), *third = open_again(fixture, NULL);
    join(fixture->handle, "n2", NULL, 0);
    join(other, "n10", NULL, 0);
    join(third, "n1", NULL, 0);
    ls_nodes *nodes;
    assert_ok(ls_node_list(other, &nodes));
    assert_int_equal(3, ls_nodes_count(nodes));
    assert_bytes("n1", ls_nodes_get(nodes, 0)->host);
    assert_bytes("n10", ls_nodes_get(nodes, 1)->host);
    assert_bytes("n2", ls_nodes_get(nodes, 2)->host);
    ls_nodes_free(nodes);
    ls_close(other);
    ls_close(third);
}

static void a_host_belongs_to_one_live_node(void **state)
{
    struct fixture *fixture = *state;
    if (kind_is("mem")) {
        skip();
    }
    ls *other = open_again(fixture, NULL);
    ls_joined first = join(fixture->handle, "n1", id_a, 0);
    ls_join_options options = LS_JOIN_OPTIONS_INIT;
    options.id = id_b;
    assert_code(LS_EINUSE, ls_node_join(other, "n1", &options, NULL));
    ls_joined second = join(other, "n1", id_a, 0);
    assert_true(second.clock > first.clock);
    assert_ok(ls_node_beat(other, NULL));
    assert_code(LS_ENOTJOINED, ls_node_beat(fixture->handle, NULL));
    assert_code(LS_ENOTJOINED, ls_post(fixture->handle, LS_USER, 0, ls_text("x"), NULL, NULL));
    ls_post_options once = LS_POST_OPTIONS_INIT;
    once.once = true;
    assert_code(LS_ENOTJOINED, ls_post(fixture->handle, LS_USER, 0, ls_text("x"), &once, NULL));
    assert_ok(ls_node_beat(other, NULL));
    ls_close(other);
}

static void joining_again_replaces_the_handles_node(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    join(handle, "n1", id_a, 0);
    join(handle, "n1", id_b, 0);
    ls_nodes *nodes;
    assert_ok(ls_node_list(handle, &nodes));
    assert_int_equal(1, ls_nodes_count(nodes));
    assert_memory_equal(id_b, ls_nodes_get(nodes, 0)->id, 16);
    ls_nodes_free(nodes);
    assert_ok(ls_node_beat(handle, NULL));
}

static void changes_of_nodes_are_messages(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    ls_filter filter = LS_FILTER_INIT;
    filter.key = bytes("N\x11");
    ls_watch *watch;
    assert_ok(ls_watch_open(handle, LS_OLDEST, &filter, &watch, NULL));
    join(handle, "n1", NULL, 0);
    assert_ok(ls_node_beat(handle, NULL));
    assert_ok(ls_node_set_state(handle, LS_NODE_LEAVING, NULL));
    assert_ok(ls_node_leave(handle, NULL));
    const char events[] = {LS_CREATED, LS_UPDATED, LS_DELETED};
    ls_message message;
    for (size_t i = 0; i < sizeof events; i++) {
        assert_ok(ls_watch_next(watch, PATIENCE_MS, &message));
        assert_int_equal(LS_OBJECT, message.type);
        assert_int_equal(events[i], message.event);
    }
    assert_code(LS_ETIMEOUT, ls_watch_next(watch, 0, &message));
    ls_watch_close(watch);
}

static void a_node_that_falls_silent_goes_down_with_what_it_owned(void **state)
{
    struct fixture *fixture = *state;
    if (kind_is("mem")) {
        skip();
    }
    ls_watch *watch;
    assert_ok(ls_watch_open(fixture->handle, LS_AFTER_NEWEST, NULL, &watch, NULL));
    ls *other = open_again(fixture, NULL);
    join(other, "n1", id_a, 200);
    ls_put_options owned = LS_PUT_OPTIONS_INIT;
    owned.owned = true;
    assert_ok(ls_put(other, bytes("mine"), bytes("v"), &owned, NULL));
    ls_close(other);

    const char events[] = {LS_CREATED, LS_CREATED, LS_UPDATED, LS_DELETED};
    for (size_t i = 0; i < sizeof events; i++) {
        ls_message message;
        assert_ok(ls_watch_next(watch, PATIENCE_MS, &message));
        assert_int_equal(events[i], message.event);
    }
    ls_watch_close(watch);
    assert_int_equal(LS_NODE_DOWN, state_of(fixture->handle, "n1"));
    ls_objects *objects;
    assert_code(LS_ENOTFOUND, ls_get(fixture->handle, bytes("mine"), &objects));
    join(fixture->handle, "n1", id_b, 0);
    assert_int_equal(LS_NODE_UP, state_of(fixture->handle, "n1"));
}

static void a_call_that_waits_keeps_the_node_up(void **state)
{
    struct fixture *fixture = *state;
    ls *handle = fixture->handle;
    join(handle, "n1", id_a, 150);
    ls_watch *watch;
    ls_message message;
    assert_ok(ls_watch_open(handle, LS_AFTER_NEWEST, NULL, &watch, NULL));
    assert_code(LS_ETIMEOUT, ls_watch_next(watch, 600, &message));
    ls_watch_close(watch);
    ls_messages *messages;
    assert_ok(ls_read(handle, LS_AFTER_NEWEST, NULL, 1, 400, &messages));
    ls_messages_free(messages);
    assert_ok(ls_node_beat(handle, NULL));
    assert_int_equal(LS_NODE_UP, state_of(handle, "n1"));
}

static void numbered_posts_go_on_where_the_last_life_ended(void **state)
{
    struct fixture *fixture = *state;
    ls *handle = fixture->handle;
    ls_post_options once = LS_POST_OPTIONS_INIT;
    once.once = true;
    assert_int_equal(0, join(handle, "n1", id_a, 0).seq);
    uint64_t first, second;
    assert_ok(ls_post(handle, LS_USER, 0, ls_text("1"), &once, &first));
    assert_ok(ls_post(handle, LS_USER, 0, ls_text("2"), &once, &second));
    assert_true(second > first);
    assert_code(LS_ECLOCKJUMP, ls_post(handle, LS_USER, 0, ls_text("refused"),
                                       &(ls_post_options){.size = sizeof(ls_post_options),
                                                          .once = true,
                                                          .clock = second + (UINT64_C(1) << 34)},
                                       NULL));
    assert_ok(ls_post(handle, LS_USER, 0, ls_text("3"), &once, NULL));
    assert_int_equal(3, join(handle, "n1", id_a, 0).seq);
    assert_ok(ls_post(handle, LS_USER, 0, ls_text("4"), &once, NULL));
    assert_int_equal(0, join(handle, "n1", id_b, 0).seq);
    assert_ok(ls_post(handle, LS_USER, 0, ls_text("5"), &once, NULL));
    assert_int_equal(1, join(handle, "n1", id_b, 0).seq);
    ls_filter filter = LS_FILTER_INIT;
    filter.types = "U";
    assert_int_equal(5, count_messages(handle, 0, &filter));
}

static void the_relay_hands_to_other_nodes_in_order(void **state)
{
    struct fixture *fixture = *state;
    ls *handle = fixture->handle;
    size_t handed = 99;
    ls_message message;
    if (!kind_is("lockstep")) {
        assert_code(LS_ENOTSUP, ls_relay_all(handle, ls_text("x"), &handed));
        assert_code(LS_ENOTSUP, ls_relay_next(handle, 0, &message));
        return;
    }
    assert_code(LS_ENOTJOINED, ls_relay_all(handle, ls_text("x"), &handed));
    ls *b = open_again(fixture, NULL), *c = open_again(fixture, NULL);
    join(handle, "a", NULL, 0);
    join(b, "b", NULL, 0);
    join(c, "c", NULL, 0);
    assert_ok(ls_relay_all(handle, ls_text("to all"), &handed));
    assert_int_equal(2, handed);
    assert_ok(ls_relay_nth(handle, 2, ls_text("to the second"), &handed));
    assert_int_equal(1, handed);
    assert_ok(ls_relay_nth(handle, 3, ls_text("to none"), &handed));
    assert_int_equal(0, handed);
    assert_ok(ls_relay_to(handle, "b", ls_text("to b"), NULL));
    assert_code(LS_EINVAL, ls_relay_nth(handle, 0, ls_text("x"), NULL));
    ls *order[] = {b, b, c, c};
    const char *texts[] = {"\x66to all", "\x64to b", "\x66to all", "\x6dto the second"};
    for (size_t i = 0; i < 4; i++) {
        assert_ok(ls_relay_next(order[i], PATIENCE_MS, &message));
        assert_bytes("a", message.from);
        assert_bytes(texts[i], message.object);
    }
    assert_code(LS_ETIMEOUT, ls_relay_next(b, 0, &message));
    ls_close(b);
    ls_close(c);
}

const struct CMUnitTest library_node_tests[] = {
    library_test(a_joined_node_stands_in_the_registry),
    library_test(a_host_name_must_be_one),
    library_test(a_ttl_is_refused_that_no_server_takes),
    library_test(what_needs_a_node_is_refused_without_one),
    library_test(a_node_says_how_it_is_and_leaves),
    library_test(nodes_are_listed_in_the_order_of_their_hosts),
    library_test(a_host_belongs_to_one_live_node),
    library_test(joining_again_replaces_the_handles_node),
    library_test(changes_of_nodes_are_messages),
    library_test(a_node_that_falls_silent_goes_down_with_what_it_owned),
    library_test(a_call_that_waits_keeps_the_node_up),
    library_test(numbered_posts_go_on_where_the_last_life_ended),
    library_test(the_relay_hands_to_other_nodes_in_order),
};
const size_t library_node_count = sizeof library_node_tests / sizeof *library_node_tests;
