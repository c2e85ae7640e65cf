/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lives of nodes: joins and who may take a host over, states, beats and acknowledgements, expiry,
 * leaving, and that each change of the registry is a message. The store is audited after each test.
 */

#include "base/error.h"
#include "fixture.h"

static struct request join_of(const char *host, uint8_t id, uint64_t via)
{
    struct request join = {.kind = REQUEST_NODE_JOIN,
                           .in.join = {.host = bytes_of_text(host), .ttl_ms = 1000, .via = via}};
    id_of(join.in.join.id, id);
    return join;
}

static struct request expire_of(const char *host, uint64_t joined, uint64_t beat)
{
    return (struct request){
        .kind = REQUEST_NODE_EXPIRE,
        .in.expire = {.host = bytes_of_text(host), .joined = joined, .beat = beat}};
}

/* The node as stored, its texts not to be used; false where there is none. */
static bool node_of(struct fixture *f, const char *host, struct node *out)
{
    struct reading reading;
    assert_int_equal(reading_begin(&reading, f->store, &f->error), 0);
    int rc = node_read(&reading, bytes_of_text(host), out, &f->error);
    assert_true(rc == 0 || rc == LS_ENOTFOUND);
    reading_end(&reading);
    return rc == 0;
}

static bool object_there(struct fixture *f, const char *key)
{
    struct reading reading;
    struct object object;
    assert_int_equal(reading_begin(&reading, f->store, &f->error), 0);
    int rc = object_read(&reading, bytes_of_text(key), &object, &f->error);
    reading_end(&reading);
    return rc == 0;
}

/* What the newest messages say, oldest first, one a line: clock, event, key, previous. */
static void assert_changes(struct fixture *f, uint64_t from, const char *expected)
{
    struct reading reading;
    struct box_cursor cursor;
    struct message message;
    struct change change;
    struct buf text = {0};
    assert_int_equal(reading_begin(&reading, f->store, &f->error), 0);
    assert_int_equal(box_open(&cursor, &reading, from, NULL, &f->error), 0);
    while (box_next(&cursor, &message, &f->error) > 0) {
        assert_int_equal(message.type, LS_OBJECT);
        assert_int_equal(change_decode(&change, message.object, &f->error), 0);
        const uint8_t *key = change.key.data;
        assert_int_equal(buf_printf(&text, "%llu %c %c%.*s %llu from '%.*s'\n",
                                    (unsigned long long)message.clock, message.event, key[0],
                                    (int)change.key.size - 2, (const char *)key + 2,
                                    (unsigned long long)change.previous, (int)message.from.size,
                                    (const char *)message.from.data),
                         0);
    }
    box_end(&cursor);
    reading_end(&reading);
    assert_int_equal(buf_append_byte(&text, 0), 0);
    assert_string_equal((const char *)text.data, expected);
    buf_free(&text);
}

/* ---- joins ---- */

static void a_join_makes_a_node_that_is_up(void **state)
{
    struct fixture *f = *state;
    struct node node;
    static const uint8_t meta[] = {0x61, 'm'};
    struct request join = join_of("a", 7, 5);
    join.in.join.ttl_ms = 1234;
    join.in.join.meta = bytes_of(meta, sizeof meta);
    fixture_post(f, NULL, "before");
    assert_code(fixture_run(f, &join), 0, &f->error);
    assert_int_equal(join.clock, 2);
    assert_int_equal(join.number, 0);
    assert_true(node_of(f, "a", &node));
    assert_int_equal(node.state, NODE_UP);
    assert_int_equal(node.joined, 2);
    assert_int_equal(node.modified, 2);
    assert_int_equal(node.clock, 0);
    assert_int_equal(node.beat, 0);
    assert_int_equal(node.via, 5);
    assert_int_equal(node.ttl_ms, 1234);
    assert_int_equal(node.timestamp_ns, f->now_ns);
    assert_int_equal(node.meta.size, sizeof meta);
    assert_memory_equal(node.id, join.in.join.id, 16);
    assert_changes(f, 2, "2 C Na 0 from 'a'\n");
}

static void a_bad_host_name_joins_nothing(void **state)
{
    struct fixture *f = *state;
    char longer[257];
    struct request join = join_of("", 1, 1);
    fixture_refuse(f, &join, LS_EKEY);
    join = join_of("tab\t", 1, 1);
    fixture_refuse(f, &join, LS_EKEY);
    memset(longer, 'h', 256);
    longer[256] = '\0';
    join = join_of(longer, 1, 1);
    fixture_refuse(f, &join, LS_ETOOBIG);
    longer[255] = '\0';
    join = join_of(longer, 1, 1);
    assert_code(fixture_run(f, &join), 0, &f->error);
}

static void the_same_id_takes_over_from_anywhere(void **state)
{
    struct fixture *f = *state;
    struct binding first;
    struct node node;
    fixture_join(f, &first, "a", 1);
    fixture_put(f, &first, "owned", "v");
    struct request ack = {.kind = REQUEST_NODE_ACK, .as = &first, .in.ack.clock = 2};
    assert_int_equal(fixture_run(f, &ack), 0);
    struct request join = join_of("a", 1, 99);
    join.in.join.held = true;
    assert_code(fixture_run(f, &join), 0, &f->error);
    assert_changes(f, 1, "1 C Na 0 from 'a'\n2 C Oowned 0 from 'a'\n3 U Na 1 from 'a'\n");
    /* What it owns and how far it is stay with it, its old life is over. */
    assert_true(object_there(f, "owned"));
    assert_true(node_of(f, "a", &node));
    assert_int_equal(node.clock, 2);
    assert_int_equal(node.via, 99);
    struct request beat = {.kind = REQUEST_NODE_BEAT, .as = &first};
    fixture_refuse(f, &beat, LS_ENOTJOINED);
}

static void another_id_is_refused_a_host_that_is_held(void **state)
{
    struct fixture *f = *state;
    struct binding first;
    fixture_join(f, &first, "a", 1);
    struct request join = join_of("a", 2, 1);
    join.in.join.held = true;
    fixture_refuse(f, &join, LS_EINUSE);
    assert_int_equal(f->error.number, first.joined);
}

static void another_id_is_refused_a_host_of_another_process(void **state)
{
    struct fixture *f = *state;
    struct binding first;
    fixture_join(f, &first, "a", 1);
    struct request join = join_of("a", 2, 2);
    fixture_refuse(f, &join, LS_EINUSE);
    struct request leaving = {
        .kind = REQUEST_NODE_STATE, .as = &first, .in.state.state = NODE_LEAVING};
    assert_int_equal(fixture_run(f, &leaving), 0);
    fixture_refuse(f, &join, LS_EINUSE);
}

static void another_id_takes_a_host_whose_connection_is_gone(void **state)
{
    struct fixture *f = *state;
    struct binding first;
    struct node node;
    fixture_join(f, &first, "a", 1);
    fixture_put(f, &first, "x", "v");
    fixture_put(f, &first, "b", "v");
    struct request join = join_of("a", 2, 1);
    assert_code(fixture_run(f, &join), 0, &f->error);
    /* What the first owned went with it, in the order of creation. */
    assert_changes(f, 4, "4 D Ox 2 from ''\n5 D Ob 3 from ''\n6 U Na 1 from 'a'\n");
    assert_int_equal(join.clock, 6);
    assert_true(node_of(f, "a", &node));
    assert_int_equal(node.clock, 0);
    struct request beat = {.kind = REQUEST_NODE_BEAT, .as = &first};
    fixture_refuse(f, &beat, LS_ENOTJOINED);
}

static void anybody_takes_a_host_that_is_down(void **state)
{
    struct fixture *f = *state;
    struct binding first;
    fixture_join(f, &first, "a", 1);
    struct request expire = expire_of("a", first.joined, 0);
    assert_int_equal(fixture_run(f, &expire), 0);
    struct request join = join_of("a", 2, 77);
    join.in.join.held = true;
    assert_code(fixture_run(f, &join), 0, &f->error);
    assert_changes(f, 1, "1 C Na 0 from 'a'\n2 U Na 1 from ''\n3 U Na 2 from 'a'\n");
}

/* ---- states, beats, acknowledgements ---- */

static void a_change_of_state_is_a_message(void **state)
{
    struct fixture *f = *state;
    struct binding a;
    struct node node;
    fixture_join(f, &a, "a", 1);
    f->now_ns = 777;
    struct request leaving = {.kind = REQUEST_NODE_STATE, .as = &a, .in.state.state = NODE_LEAVING};
    assert_int_equal(fixture_run(f, &leaving), 0);
    assert_int_equal(leaving.clock, 2);
    assert_true(node_of(f, "a", &node));
    assert_int_equal(node.state, NODE_LEAVING);
    assert_int_equal(node.timestamp_ns, 777);
    assert_int_equal(node.joined, 1);
    assert_int_equal(node.beat, 1);
    leaving.in.state.state = NODE_UP;
    assert_int_equal(fixture_run(f, &leaving), 0);
    assert_changes(f, 2, "2 U Na 1 from 'a'\n3 U Na 2 from 'a'\n");
}

static void a_node_cannot_make_itself_down(void **state)
{
    struct fixture *f = *state;
    struct binding a;
    fixture_join(f, &a, "a", 1);
    struct request down = {.kind = REQUEST_NODE_STATE, .as = &a, .in.state.state = NODE_DOWN};
    fixture_refuse(f, &down, LS_EINVAL);
}

static void what_acts_as_a_node_needs_one(void **state)
{
    struct fixture *f = *state;
    static const enum request_kind kinds[] = {REQUEST_NODE_STATE, REQUEST_NODE_LEAVE,
                                              REQUEST_NODE_ACK, REQUEST_NODE_BEAT};
    struct binding never, gone;
    fixture_join(f, &gone, "gone", 1);
    struct request leave = {.kind = REQUEST_NODE_LEAVE, .as = &gone};
    assert_int_equal(fixture_run(f, &leave), 0);
    binding_set(&never, bytes_of_text("never"), gone.id, gone.joined);
    const struct binding *as[] = {NULL, &never, &gone};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        for (size_t j = 0; j < 3; j++) {
            struct request request = {.kind = kinds[i], .as = as[j]};
            fixture_refuse(f, &request, LS_ENOTJOINED);
        }
    }
}

static void a_beat_is_seen_and_is_no_message(void **state)
{
    struct fixture *f = *state;
    struct binding a;
    struct node node;
    fixture_join(f, &a, "a", 1);
    f->now_ns += 5;
    struct request beat = {.kind = REQUEST_NODE_BEAT, .as = &a};
    assert_int_equal(fixture_run(f, &beat), 0);
    assert_int_equal(beat.clock, 1);
    assert_int_equal(fixture_run(f, &beat), 0);
    assert_true(node_of(f, "a", &node));
    assert_int_equal(node.beat, 2);
    assert_int_equal(node.clock, 0);
    assert_int_equal(node.modified, 1);
    assert_int_equal(node.timestamp_ns, f->now_ns - 5);
    assert_int_equal(coordinator_clock(f->coordinator), 1);
    assert_changes(f, 2, "");
}

static void an_acknowledgement_never_goes_back_nor_above_the_clock(void **state)
{
    struct fixture *f = *state;
    struct binding a;
    struct node node;
    fixture_join(f, &a, "a", 1);
    for (size_t i = 0; i < 5; i++) {
        fixture_post(f, NULL, "x");
    }
    struct request ack = {.kind = REQUEST_NODE_ACK, .as = &a, .in.ack.clock = 4};
    assert_int_equal(fixture_run(f, &ack), 0);
    assert_int_equal(ack.clock, 6);
    ack.in.ack.clock = 2;
    assert_int_equal(fixture_run(f, &ack), 0);
    assert_true(node_of(f, "a", &node));
    assert_int_equal(node.clock, 4);
    assert_int_equal(node.beat, 2);
    ack.in.ack.clock = 7;
    fixture_refuse(f, &ack, LS_EINVAL);
    ack.in.ack.clock = 6;
    assert_int_equal(fixture_run(f, &ack), 0);
}

/* ---- the end of a life ---- */

static void a_node_leaves_and_takes_what_it_owns_along(void **state)
{
    struct fixture *f = *state;
    struct binding a, b;
    struct node node;
    fixture_join(f, &a, "a", 1);
    fixture_join(f, &b, "b", 2);
    fixture_put(f, &a, "z", "v");
    fixture_put(f, &b, "m", "v");
    fixture_put(f, &a, "c", "v");
    fixture_put(f, NULL, "free", "v");
    struct request leave = {.kind = REQUEST_NODE_LEAVE, .as = &a};
    assert_int_equal(fixture_run(f, &leave), 0);
    assert_int_equal(leave.clock, 9);
    assert_changes(f, 7, "7 D Oz 3 from ''\n8 D Oc 5 from ''\n9 D Na 1 from 'a'\n");
    assert_false(node_of(f, "a", &node));
    assert_true(object_there(f, "m"));
    assert_true(object_there(f, "free"));
    fixture_refuse(f, &leave, LS_ENOTJOINED);
    fixture_join(f, &a, "a", 1);
    assert_changes(f, 10, "10 C Na 0 from 'a'\n");
}

static void expiry_makes_a_node_down_and_deletes_what_it_owns(void **state)
{
    struct fixture *f = *state;
    struct binding a;
    struct node node;
    fixture_join(f, &a, "a", 1);
    fixture_put(f, &a, "z", "v");
    fixture_put(f, &a, "c", "v");
    f->now_ns = 4242;
    struct request expire = expire_of("a", 1, 0);
    assert_int_equal(fixture_run(f, &expire), 0);
    assert_int_equal(expire.number, 1);
    assert_int_equal(expire.clock, 4);
    assert_changes(f, 4, "4 U Na 1 from ''\n5 D Oz 2 from ''\n6 D Oc 3 from ''\n");
    assert_true(node_of(f, "a", &node));
    assert_int_equal(node.state, NODE_DOWN);
    assert_int_equal(node.timestamp_ns, 4242);
    /* Once more does nothing. */
    assert_int_equal(fixture_run(f, &expire), 0);
    assert_int_equal(expire.number, 0);
    assert_int_equal(coordinator_clock(f->coordinator), 6);
}

static void expiry_of_what_is_not_as_it_was_seen_does_nothing(void **state)
{
    struct fixture *f = *state;
    struct binding a, again;
    fixture_join(f, &a, "a", 1);
    struct request beat = {.kind = REQUEST_NODE_BEAT, .as = &a};
    assert_int_equal(fixture_run(f, &beat), 0);
    struct request stale[] = {
        expire_of("a", a.joined, 0),     /* it beat since */
        expire_of("a", a.joined, 2),     /* never seen so */
        expire_of("a", a.joined + 1, 1), /* another life */
        expire_of("nobody", 1, 0),       /* never there */
    };
    for (size_t i = 0; i < sizeof stale / sizeof *stale; i++) {
        struct buf before = {0}, after = {0};
        snapshot_read(&before, f->store);
        assert_code(fixture_run(f, &stale[i]), 0, &f->error);
        assert_int_equal(stale[i].number, 0);
        snapshot_read(&after, f->store);
        assert_true(snapshot_equal(&before, &after));
        buf_free(&before);
        buf_free(&after);
    }
    fixture_join(f, &again, "a", 1);
    struct request old = expire_of("a", a.joined, 1);
    assert_int_equal(fixture_run(f, &old), 0);
    assert_int_equal(old.number, 0);
    struct request good = expire_of("a", again.joined, 0);
    assert_int_equal(fixture_run(f, &good), 0);
    assert_int_equal(good.number, 1);
    struct request bad = expire_of("", 1, 0);
    fixture_refuse(f, &bad, LS_EKEY);
}

static void a_life_that_ended_within_a_transaction_is_over_for_the_rest_of_it(void **state)
{
    struct fixture *f = *state;
    struct binding a;
    uint8_t item[24];
    fixture_join(f, &a, "a", 1);
    struct request requests[] = {post_request(item, "x"), expire_of("a", a.joined, 0),
                                 post_request(item, "x")};
    requests[0].as = requests[2].as = &a;
    fixture_run_together(f, requests, 3);
    assert_int_equal(requests[0].status, 0);
    assert_int_equal(requests[1].number, 1);
    assert_int_equal(requests[2].status, LS_ENOTJOINED);
}

static void a_life_that_another_coordinator_ended_is_over_here(void **state)
{
    struct fixture *f = *state;
    struct coordinator *mine = f->coordinator;
    struct binding a;
    uint8_t item[24];
    fixture_join(f, &a, "a", 1);
    fixture_post(f, &a, "known here");
    assert_int_equal(coordinator_open(&f->coordinator, f->store, &f->error), 0);
    struct request expire = expire_of("a", a.joined, 0);
    assert_int_equal(fixture_run(f, &expire), 0);
    assert_int_equal(expire.number, 1);
    coordinator_close(f->coordinator);
    f->coordinator = mine;
    struct request post = post_request(item, "x");
    post.as = &a;
    fixture_refuse(f, &post, LS_ENOTJOINED);
}

static void a_life_that_ended_in_a_transaction_that_was_undone_goes_on(void **state)
{
    struct fixture *f = *state;
    struct binding a;
    fixture_join(f, &a, "a", 1);
    fixture_post(f, &a, "x");
    struct request expire = expire_of("a", a.joined, 0);
    expire.error = &f->error;
    assert_int_equal(coordinator_begin(f->coordinator, f->now_ns, &f->error), 0);
    assert_int_equal(coordinator_apply(f->coordinator, &expire), 0);
    coordinator_abort(f->coordinator);
    fixture_post(f, &a, "x");
}

static void a_life_that_began_in_a_transaction_that_was_undone_is_none(void **state)
{
    struct fixture *f = *state;
    struct binding a;
    uint8_t item[24];
    struct request join = join_of("a", 1, 1), post = post_request(item, "x");
    join.error = post.error = &f->error;
    assert_int_equal(coordinator_begin(f->coordinator, f->now_ns, &f->error), 0);
    assert_int_equal(coordinator_apply(f->coordinator, &join), 0);
    binding_set(&a, bytes_of_text("a"), join.in.join.id, join.clock);
    post.as = &a;
    assert_int_equal(coordinator_apply(f->coordinator, &post), 0);
    coordinator_abort(f->coordinator);
    fixture_refuse(f, &post, LS_ENOTJOINED);
}

/* ---- reading ---- */

static void nodes_are_listed_by_host_and_state(void **state)
{
    struct fixture *f = *state;
    struct binding a, b, c;
    struct reading reading;
    struct node node;
    fixture_join(f, &c, "c", 3);
    fixture_join(f, &a, "a", 1);
    fixture_join(f, &b, "b", 2);
    struct request expire = expire_of("b", b.joined, 0);
    assert_int_equal(fixture_run(f, &expire), 0);
    static const struct {
        int state;
        const char *hosts;
    } cases[] = {{-1, "abc"}, {NODE_UP, "ac"}, {NODE_DOWN, "b"}, {NODE_LEAVING, ""}};
    assert_int_equal(reading_begin(&reading, f->store, &f->error), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct node_cursor cursor;
        char hosts[8] = "";
        size_t count = 0;
        assert_int_equal(nodes_open(&cursor, &reading, cases[i].state, &f->error), 0);
        while (nodes_next(&cursor, &node, &f->error) > 0) {
            hosts[count++] = *(const char *)node.host.data;
        }
        nodes_end(&cursor);
        assert_string_equal(hosts, cases[i].hosts);
    }
    reading_end(&reading);
}

static void the_slowest_is_the_one_that_is_up_and_acknowledged_least(void **state)
{
    struct fixture *f = *state;
    struct binding a, b, c;
    struct reading reading;
    struct node node;
    assert_int_equal(reading_begin(&reading, f->store, &f->error), 0);
    assert_int_equal(nodes_slowest(&reading, &node, &f->error), 0);
    reading_end(&reading);
    fixture_join(f, &a, "a", 1);
    fixture_join(f, &b, "b", 2);
    fixture_join(f, &c, "c", 3);
    struct request ack = {.kind = REQUEST_NODE_ACK, .as = &a, .in.ack.clock = 3};
    assert_int_equal(fixture_run(f, &ack), 0);
    ack.as = &b;
    ack.in.ack.clock = 2;
    assert_int_equal(fixture_run(f, &ack), 0);
    struct request leaving = {.kind = REQUEST_NODE_STATE, .as = &c, .in.state.state = NODE_LEAVING};
    assert_int_equal(fixture_run(f, &leaving), 0);
    assert_int_equal(reading_begin(&reading, f->store, &f->error), 0);
    assert_int_equal(nodes_slowest(&reading, &node, &f->error), 1);
    assert_true(bytes_equal(node.host, bytes_of_text("b")));
    reading_end(&reading);
}

#define sound(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        sound(a_join_makes_a_node_that_is_up),
        sound(a_bad_host_name_joins_nothing),
        sound(the_same_id_takes_over_from_anywhere),
        sound(another_id_is_refused_a_host_that_is_held),
        sound(another_id_is_refused_a_host_of_another_process),
        sound(another_id_takes_a_host_whose_connection_is_gone),
        sound(anybody_takes_a_host_that_is_down),
        sound(a_change_of_state_is_a_message),
        sound(a_node_cannot_make_itself_down),
        sound(what_acts_as_a_node_needs_one),
        sound(a_beat_is_seen_and_is_no_message),
        sound(an_acknowledgement_never_goes_back_nor_above_the_clock),
        sound(a_node_leaves_and_takes_what_it_owns_along),
        sound(expiry_makes_a_node_down_and_deletes_what_it_owns),
        sound(expiry_of_what_is_not_as_it_was_seen_does_nothing),
        sound(a_life_that_ended_within_a_transaction_is_over_for_the_rest_of_it),
        sound(a_life_that_another_coordinator_ended_is_over_here),
        sound(a_life_that_ended_in_a_transaction_that_was_undone_goes_on),
        sound(a_life_that_began_in_a_transaction_that_was_undone_is_none),
        sound(nodes_are_listed_by_host_and_state),
        sound(the_slowest_is_the_one_that_is_up_and_acknowledged_least),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
