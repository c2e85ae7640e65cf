/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index of live nodes: what looks after nodes pays for those that are live and for no others,
 * whatever was undone, whoever wrote, and whatever wrote to the store before. That the index is
 * exact is for the audit to find, which each teardown runs.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "coordinator/layout.h"
#include "faults.h"
#include "faulty_fixture.h"
#include "sequencer/presence.h"

static const char *const all_box_fields[] = {"bytes", "chain", "count", "newest", NULL};

static int setup(void **state)
{
    *state = faulty_fixture_new();
    return 0;
}

static void expire(struct fixture *f, const char *host, uint64_t joined)
{
    struct request request = {.kind = REQUEST_NODE_EXPIRE,
                              .in.expire = {.host = bytes_of_text(host), .joined = joined}};
    assert_code(fixture_run(f, &request), 0, &f->error);
    assert_int_equal(request.number, 1);
}

/* Nodes that are down, by the names of `d` and a number. */
static void add_down(struct fixture *f, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        char host[16];
        struct binding life;
        snprintf(host, sizeof host, "d%u", i);
        fixture_join(f, &life, host, 9);
        expire(f, host, life.joined);
    }
}

/* ---- ways to look ---- */

/* The hosts that a walk gives, by their first letters. */
static int list(struct fixture *f, int state, char hosts[16])
{
    struct reading reading;
    struct node_cursor cursor;
    struct node node;
    size_t count = 0;
    int rc = reading_begin(&reading, f->store, &f->error);
    if (rc < 0) {
        return rc;
    }
    rc = nodes_open(&cursor, &reading, state, &f->error);
    if (rc == 0) {
        while ((rc = nodes_next(&cursor, &node, &f->error)) > 0) {
            assert_true(count < 15);
            hosts[count++] = *(const char *)node.host.data;
        }
        nodes_end(&cursor);
    }
    reading_end(&reading);
    hosts[count] = '\0';
    return rc;
}

static void assert_list(struct fixture *f, int state, const char *expected)
{
    char hosts[16];
    assert_code(list(f, state, hosts), 0, &f->error);
    assert_string_equal(hosts, expected);
}

static void ignore_renewal(void *context, const struct binding *binding)
{
    (void)context;
    (void)binding;
}

static void ignore_ending(void *context, const struct node *node)
{
    (void)context;
    (void)node;
}

/* Each calls the store for what it looks at; these are how often. */
static long calls_of_tick(struct fixture *f)
{
    struct presence_calls calls = {ignore_renewal, ignore_ending, NULL, NULL};
    struct presence *presence;
    struct reading reading;
    assert_int_equal(presence_open(&presence, 1), 0);
    assert_int_equal(reading_begin(&reading, f->store, &f->error), 0);
    faulty_store_fail(f->store, 0, 0);
    assert_true(presence_tick(presence, &reading, 0, &calls, &f->error) > 0);
    long calls_made = faulty_store_calls(f->store);
    reading_end(&reading);
    presence_close(presence);
    return calls_made;
}

static long calls_of_retention(struct fixture *f)
{
    struct request request = {.kind = REQUEST_RETAIN, .in.retain.keep = {.hold = true}};
    faulty_store_fail(f->store, 0, 0);
    assert_code(fixture_run(f, &request), 0, &f->error);
    return faulty_store_calls(f->store);
}

static long calls_of_list(struct fixture *f)
{
    faulty_store_fail(f->store, 0, 0);
    assert_list(f, NODE_UP, "ab");
    return faulty_store_calls(f->store);
}

/* ---- what it costs ---- */

static void nodes_that_are_down_cost_those_who_look_nothing(void **state)
{
    static long (*const looks[])(struct fixture * f) = {calls_of_tick, calls_of_retention,
                                                        calls_of_list};
    enum { LOOKS = sizeof looks / sizeof looks[0] };
    struct fixture *f = *state;
    struct binding a, b;
    long few[LOOKS];
    fixture_join(f, &a, "a", 1);
    fixture_join(f, &b, "b", 2);
    add_down(f, 0, 10);
    for (size_t i = 0; i < LOOKS; i++) {
        few[i] = looks[i](f);
    }
    add_down(f, 10, 300);
    for (size_t i = 0; i < LOOKS; i++) {
        assert_int_equal(looks[i](f), few[i]);
    }
}

static void where_most_are_live_no_node_is_looked_up(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 50; i++) {
        char host[16];
        struct binding life;
        snprintf(host, sizeof host, "n%u", i);
        fixture_join(f, &life, host, 1);
    }
    assert_in_range(calls_of_tick(f), 50, 60);
}

/* ---- which nodes are live ---- */

static void a_node_is_live_from_its_join_until_it_is_down_or_leaves(void **state)
{
    struct fixture *f = *state;
    struct binding a, b, c;
    add_down(f, 0, 8);
    assert_list(f, NODES_LIVE, "");
    fixture_join(f, &b, "b", 2);
    fixture_join(f, &a, "a", 1);
    fixture_join(f, &c, "c", 3);
    assert_list(f, NODES_LIVE, "abc");
    struct request leaving = {.kind = REQUEST_NODE_STATE, .as = &b, .in.state.state = NODE_LEAVING};
    assert_code(fixture_run(f, &leaving), 0, &f->error);
    assert_list(f, NODES_LIVE, "abc");
    assert_list(f, NODE_UP, "ac");
    assert_list(f, NODE_LEAVING, "b");
    struct request leave = {.kind = REQUEST_NODE_LEAVE, .as = &b};
    assert_code(fixture_run(f, &leave), 0, &f->error);
    expire(f, "c", c.joined);
    assert_list(f, NODES_LIVE, "a");
    fixture_join(f, &c, "c", 4);
    fixture_join(f, &a, "a", 1);
    assert_list(f, NODES_LIVE, "ac");
    assert_list(f, NODES_ALL, "acdddddddd");
}

static void what_a_batch_that_is_undone_did_is_undone(void **state)
{
    struct fixture *f = *state;
    struct binding a;
    fixture_join(f, &a, "a", 1);
    add_down(f, 0, 8);
    struct request requests[] = {
        {.kind = REQUEST_NODE_EXPIRE,
         .error = &f->error,
         .in.expire = {.host = bytes_of_text("a"), .joined = a.joined}},
        {.kind = REQUEST_NODE_JOIN,
         .error = &f->error,
         .in.join = {.host = bytes_of_text("b"), .ttl_ms = 1000}},
    };
    assert_code(coordinator_begin(f->coordinator, f->now_ns, &f->error), 0, &f->error);
    assert_int_equal(coordinator_apply(f->coordinator, &requests[0]), 0);
    assert_int_equal(coordinator_apply(f->coordinator, &requests[1]), 0);
    coordinator_abort(f->coordinator);
    assert_list(f, NODES_LIVE, "a");
    assert_sound(f->store);
    fixture_run_together(f, requests, 2);
    assert_list(f, NODES_LIVE, "b");
}

static void all_who_write_to_a_store_keep_the_one_index(void **state)
{
    struct fixture *f = *state;
    struct coordinator *mine = f->coordinator, *other;
    struct binding a, b;
    assert_code(coordinator_open(&other, f->store, &f->error), 0, &f->error);
    add_down(f, 0, 8);
    fixture_join(f, &a, "a", 1);
    f->coordinator = other;
    fixture_join(f, &b, "b", 2);
    assert_list(f, NODES_LIVE, "ab");
    expire(f, "a", a.joined);
    f->coordinator = mine;
    assert_list(f, NODES_LIVE, "b");
    assert_sound(f->store);
    expire(f, "b", b.joined);
    fixture_join(f, &a, "a", 1);
    assert_list(f, NODES_LIVE, "a");
    coordinator_close(other);
}

/* ---- a store that was written without it ---- */

static void write_raw(struct fixture *f, const struct key *key, ls_bytes value)
{
    struct store_txn *txn;
    const struct store_driver *driver = f->store->driver;
    assert_code(driver->begin(f->store, STORE_WRITE, &txn, &f->error), 0, &f->error);
    int rc = value.data == NULL ? driver->del(txn, key_bytes(key), &f->error)
                                : driver->put(txn, key_bytes(key), value, false, &f->error);
    assert_code(rc, 0, &f->error);
    assert_code(driver->commit(txn, &f->error), 0, &f->error);
}

static void read_box(struct fixture *f, struct control *box)
{
    struct reading reading;
    struct key key;
    ls_bytes value;
    assert_int_equal(key_control(&key, bytes_of_text(CONTROL_BOX)), 0);
    assert_code(reading_begin(&reading, f->store, &f->error), 0, &f->error);
    assert_int_equal(f->store->driver->get(reading.txn, key_bytes(&key), &value), 0);
    assert_code(control_decode(box, value, control_box_fields, &f->error), 0, &f->error);
    reading_end(&reading);
}

/* What a version that knows nothing of the index does: it writes the record of the box with the
 * fields that it knows. */
static void forget_index(struct fixture *f)
{
    struct control box;
    struct key key;
    struct buf value = {0};
    read_box(f, &box);
    struct control known = {
        {box.value[BOX_BYTES], box.value[BOX_CHAIN], box.value[BOX_COUNT], box.value[BOX_NEWEST]}};
    assert_int_equal(key_control(&key, bytes_of_text(CONTROL_BOX)), 0);
    assert_int_equal(control_encode(&value, &known, all_box_fields, key_bytes(&key)), 0);
    write_raw(f, &key, buf_bytes(&value));
    buf_free(&value);
}

static void write_entry(struct fixture *f, const char *host)
{
    const struct control nothing = {{0}};
    struct key key;
    struct buf value = {0};
    live_key(&key, bytes_of_text(host));
    assert_int_equal(control_encode(&value, &nothing, live_fields, key_bytes(&key)), 0);
    write_raw(f, &key, buf_bytes(&value));
    buf_free(&value);
}

/* And it joins and expires nodes, and lets them leave, without a word to the index. */
static void spoil_index(struct fixture *f)
{
    struct key key;
    live_key(&key, bytes_of_text("a"));
    write_raw(f, &key, bytes_of(NULL, 0));
    write_entry(f, "d1");
    write_entry(f, "gone");
}

static uint64_t said_live(struct fixture *f)
{
    struct control box;
    read_box(f, &box);
    return box.value[BOX_LIVE];
}

/* Two live nodes and eight that are down, and an index that is not to be believed. */
static void fill_without_index(struct fixture *f)
{
    struct binding a, b;
    fixture_join(f, &a, "a", 1);
    fixture_join(f, &b, "b", 2);
    add_down(f, 0, 8);
    forget_index(f);
    spoil_index(f);
}

static void reopen(struct fixture *f)
{
    coordinator_close(f->coordinator);
    assert_code(coordinator_open(&f->coordinator, f->store, &f->error), 0, &f->error);
}

static void an_index_that_is_not_to_be_believed_is_not_read(void **state)
{
    struct fixture *f = *state;
    struct binding c;
    fill_without_index(f);
    assert_list(f, NODES_LIVE, "ab");
    fixture_join(f, &c, "c", 3);
    assert_list(f, NODES_LIVE, "abc");
    expire(f, "c", c.joined);
    assert_list(f, NODE_UP, "ab");
    assert_true(said_live(f) == CONTROL_ABSENT);
}

static void whoever_opens_the_store_next_lays_the_index_anew(void **state)
{
    struct fixture *f = *state;
    struct binding c;
    fill_without_index(f);
    reopen(f);
    assert_int_equal(said_live(f), 2);
    assert_sound(f->store);
    assert_list(f, NODES_LIVE, "ab");
    long few = calls_of_list(f);
    add_down(f, 8, 40);
    assert_int_equal(calls_of_list(f), few);
    fixture_join(f, &c, "c", 3);
    assert_list(f, NODES_LIVE, "abc");
}

static void laying_it_fails_as_a_whole_or_is_done_without(void **state)
{
    static const int codes[] = {LS_EIO, LS_ENOMEM, LS_ENOSPACE, LS_EREADONLY, LS_ECORRUPT};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        size_t without = 0;
        for (long n = 1;; n++) {
            forget_index(f);
            coordinator_close(f->coordinator);
            f->coordinator = NULL;
            faulty_store_fail(f->store, n, codes[i]);
            int rc = coordinator_open(&f->coordinator, f->store, &f->error);
            bool failed = faulty_store_failed(f->store) != NULL;
            faulty_store_fail(f->store, 0, 0);
            assert_int_equal(faulty_store_open_transactions(f->store), 0);
            assert_int_equal(faulty_store_open_cursors(f->store), 0);
            assert_code(rc, rc < 0 && failed ? codes[i] : 0, &f->error);
            if (rc < 0) {
                assert_code(coordinator_open(&f->coordinator, f->store, &f->error), 0, &f->error);
            }
            if (said_live(f) == CONTROL_ABSENT) {
                without++;
                assert_list(f, NODES_LIVE, "ab");
            }
            assert_sound(f->store);
            if (!failed) {
                break;
            }
            reopen(f);
        }
        assert_true((codes[i] == LS_EIO || codes[i] == LS_ENOMEM) == (without == 0));
    }
}

static int setup_without_index(void **state)
{
    int rc = setup(state);
    fill_without_index(*state);
    return rc;
}

static void no_memory_to_lay_it_is_told_and_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    coordinator_close(f->coordinator);
    for (long n = 1;; n++) {
        f->coordinator = NULL;
        faults_fail_allocation(n);
        int rc = coordinator_open(&f->coordinator, f->store, &f->error);
        bool met = faults_allocations() >= n;
        faults_fail_allocation(0);
        if (!met) {
            assert_code(rc, 0, &f->error);
            break;
        }
        assert_code(rc, LS_ENOMEM, &f->error);
        assert_true(said_live(f) == CONTROL_ABSENT);
    }
    assert_int_equal(said_live(f), 2);
}

/* ---- damage ---- */

static void an_entry_without_a_live_node_is_passed_over(void **state)
{
    struct fixture *f = *state;
    struct binding a;
    fixture_join(f, &a, "a", 1);
    add_down(f, 0, 8);
    write_entry(f, "d1");
    write_entry(f, "gone");
    assert_list(f, NODES_LIVE, "a");
    forget_index(f);
    reopen(f);
}

static void an_entry_that_names_no_host_is_told(void **state)
{
    struct fixture *f = *state;
    char hosts[16];
    add_down(f, 0, 8);
    write_entry(f, "\xff");
    assert_code(list(f, NODES_LIVE, hosts), LS_ECORRUPT, &f->error);
    forget_index(f);
    reopen(f);
}

static void an_entry_that_comes_again_is_told(void **state)
{
    struct fixture *f = *state;
    char hosts[16];
    struct binding a, b;
    struct key key;
    fixture_join(f, &a, "a", 1);
    fixture_join(f, &b, "b", 2);
    add_down(f, 0, 8);
    live_key(&key, bytes_of_text("a"));
    faulty_store_misplace(f->store, key_bytes(&key));
    assert_code(list(f, NODES_LIVE, hosts), LS_ECORRUPT, &f->error);
    assert_non_null(strstr(f->error.text, "not in its place"));
    faulty_store_misplace(f->store, bytes_of(NULL, 0));
    assert_list(f, NODES_LIVE, "ab");
}

static void an_end_that_finds_no_entry_makes_the_index_one_not_to_be_believed(void **state)
{
    struct fixture *f = *state;
    struct key key;
    struct binding a, b;
    fixture_join(f, &a, "a", 1);
    fixture_join(f, &b, "b", 2);
    add_down(f, 0, 8);
    live_key(&key, bytes_of_text("a"));
    write_raw(f, &key, bytes_of(NULL, 0));
    expire(f, "a", a.joined);
    assert_true(said_live(f) == CONTROL_ABSENT);
    assert_list(f, NODES_LIVE, "b");
    reopen(f);
    assert_int_equal(said_live(f), 1);
}

static void a_walk_over_the_index_tells_of_a_call_that_failed(void **state)
{
    struct fixture *f = *state;
    char hosts[16];
    struct binding a, b;
    fixture_join(f, &a, "a", 1);
    fixture_join(f, &b, "b", 2);
    add_down(f, 0, 8);
    long n = 1;
    for (;; n++) {
        faulty_store_fail(f->store, n, LS_EIO);
        int rc = list(f, NODES_LIVE, hosts);
        assert_int_equal(faulty_store_open_transactions(f->store), 0);
        assert_int_equal(faulty_store_open_cursors(f->store), 0);
        if (faulty_store_failed(f->store) == NULL) {
            assert_code(rc, 0, &f->error);
            break;
        }
        assert_code(rc, LS_EIO, &f->error);
    }
    faulty_store_fail(f->store, 0, 0);
    assert_int_equal(n, 10); /* begin, get, count, scan, thrice next, twice get, and none */
}

#define sound(test) cmocka_unit_test_setup_teardown(test, setup, fixture_teardown)
#define without_index(test) \
    cmocka_unit_test_setup_teardown(test, setup_without_index, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        sound(nodes_that_are_down_cost_those_who_look_nothing),
        sound(where_most_are_live_no_node_is_looked_up),
        sound(a_node_is_live_from_its_join_until_it_is_down_or_leaves),
        sound(what_a_batch_that_is_undone_did_is_undone),
        sound(all_who_write_to_a_store_keep_the_one_index),
        sound(whoever_opens_the_store_next_lays_the_index_anew),
        sound(an_entry_without_a_live_node_is_passed_over),
        sound(an_entry_that_names_no_host_is_told),
        sound(an_entry_that_comes_again_is_told),
        sound(an_end_that_finds_no_entry_makes_the_index_one_not_to_be_believed),
        sound(a_walk_over_the_index_tells_of_a_call_that_failed),
        sound(an_index_that_is_not_to_be_believed_is_not_read),
        without_index(laying_it_fails_as_a_whole_or_is_done_without),
        without_index(no_memory_to_lay_it_is_told_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
