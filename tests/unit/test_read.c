/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading under faults: each call of the store and each allocation fails once, and is told; what is
 * damaged is told and not guessed at.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "coordinator/layout.h"
#include "faults.h"
#include "faulty_fixture.h"

static int setup(void **state)
{
    struct fixture *f = faulty_fixture_new();
    struct binding a, b;
    fixture_join(f, &a, "a", 1);
    fixture_join(f, &b, "b", 2);
    fixture_put(f, &a, "k", "v");
    fixture_put(f, NULL, "l", "v");
    fixture_post(f, NULL, "x");
    struct request trim = {.kind = REQUEST_TRIM, .in.trim.before = 2};
    assert_int_equal(fixture_run(f, &trim), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture_close(*state);
    free(*state);
    return 0;
}

/* ---- one of each kind of read ---- */

static int read_state(struct reading *reading, struct ls_error *error)
{
    struct box_state box;
    return box_state_read(reading, &box, error);
}

static int read_box(struct reading *reading, struct ls_error *error)
{
    struct box_cursor cursor;
    struct message message;
    int rc = box_open(&cursor, reading, 2, NULL, error);
    if (rc == 0) {
        while ((rc = box_next(&cursor, &message, error)) > 0) {
        }
        box_end(&cursor);
    }
    return rc;
}

/* From where messages were discarded: refused, but for a failure. */
static int read_discarded(struct reading *reading, struct ls_error *error)
{
    struct box_cursor cursor;
    int rc = box_open(&cursor, reading, 1, NULL, error);
    assert_true(rc < 0);
    return rc == LS_ECOMPACTED ? 0 : rc;
}

static int read_nodes(struct reading *reading, struct ls_error *error)
{
    struct node_cursor cursor;
    struct node node;
    int rc = nodes_open(&cursor, reading, -1, error);
    if (rc == 0) {
        while ((rc = nodes_next(&cursor, &node, error)) > 0) {
        }
        nodes_end(&cursor);
    }
    return rc;
}

static int read_slowest(struct reading *reading, struct ls_error *error)
{
    struct node node;
    int rc = nodes_slowest(reading, &node, error);
    return rc < 0 ? rc : 0;
}

static int read_node(struct reading *reading, struct ls_error *error)
{
    struct node node;
    return node_read(reading, bytes_of_text("a"), &node, error);
}

static int read_objects(struct reading *reading, struct ls_error *error)
{
    struct object_cursor cursor;
    struct object object;
    ls_bytes key;
    int rc = objects_open(&cursor, reading, bytes_of(NULL, 0), bytes_of(NULL, 0), error);
    if (rc == 0) {
        while ((rc = objects_next(&cursor, &key, &object, error)) > 0) {
        }
        objects_end(&cursor);
    }
    return rc;
}

static int read_object(struct reading *reading, struct ls_error *error)
{
    struct object object;
    return object_read(reading, bytes_of_text("k"), &object, error);
}

typedef int read_function(struct reading *reading, struct ls_error *error);

static read_function *const reads[] = {
    read_state,   read_box,  read_discarded, read_nodes,
    read_slowest, read_node, read_objects,   read_object,
};

static const size_t read_count = sizeof reads / sizeof *reads;

static int read_once(struct fixture *f, read_function *read)
{
    struct reading reading;
    int rc = reading_begin(&reading, f->store, &f->error);
    if (rc == 0) {
        rc = read(&reading, &f->error);
        reading_end(&reading);
    }
    return rc;
}

/* ---- faults ---- */

static void each_read_tells_of_a_call_that_failed(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < read_count; i++) {
        long n = 1;
        for (;; n++) {
            faulty_store_fail(f->store, n, LS_EIO);
            int rc = read_once(f, reads[i]);
            assert_int_equal(faulty_store_open_transactions(f->store), 0);
            assert_int_equal(faulty_store_open_cursors(f->store), 0);
            if (faulty_store_failed(f->store) == NULL) {
                assert_code(rc, 0, &f->error);
                break;
            }
            assert_code(rc, LS_EIO, &f->error);
            assert_int_equal(f->error.code, LS_EIO);
        }
        assert_true(n > 1);
    }
}

static void each_read_tells_of_an_allocation_that_failed(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < read_count; i++) {
        for (long n = 1;; n++) {
            faults_fail_allocation(n);
            int rc = read_once(f, reads[i]);
            bool met = faults_allocations() >= n;
            faults_fail_allocation(0);
            if (!met) {
                assert_code(rc, 0, &f->error);
                break;
            }
            assert_code(rc, LS_ENOMEM, &f->error);
        }
    }
}

static void opening_tells_of_a_call_that_failed_and_works_afterwards(void **state)
{
    (void)state;
    struct ls_error error;
    struct store_options options = {.create = true};
    struct coordinator *coordinator;
    /* In a new store the records are laid first, in one that is there they are only read. */
    for (int fresh = 0; fresh < 2; fresh++) {
        for (long n = 1;; n++) {
            struct store *store;
            assert_code(store_open(&store, "mem:", &options, &error), 0, &error);
            assert_int_equal(faulty_store_wrap(&store, store), 0);
            if (!fresh) {
                assert_code(coordinator_open(&coordinator, store, &error), 0, &error);
                coordinator_close(coordinator);
            }
            faulty_store_fail(store, n, LS_EIO);
            int rc = coordinator_open(&coordinator, store, &error);
            bool failed = faulty_store_failed(store) != NULL;
            assert_code(rc, failed ? LS_EIO : 0, &error);
            assert_int_equal(faulty_store_open_transactions(store), 0);
            faulty_store_fail(store, 0, 0);
            if (failed) {
                assert_code(coordinator_open(&coordinator, store, &error), 0, &error);
            }
            coordinator_close(coordinator);
            assert_sound(store);
            store_close(store);
            if (!failed) {
                break;
            }
        }
    }
}

static void a_store_for_reading_only_opens_when_it_is_not_new(void **state)
{
    (void)state;
    struct ls_error error;
    struct store *store, *reader;
    struct coordinator *coordinator, *second;
    char directory[] = "/tmp/lockstep-test-XXXXXX";
    char path[64];
    struct store_options options = {.create = true};
    assert_non_null(mkdtemp(directory));
    assert_code(store_open(&store, directory, &options, &error), 0, &error);
    options = (struct store_options){.read_only = true};
    assert_code(store_open(&reader, directory, &options, &error), 0, &error);
    assert_code(coordinator_open(&second, reader, &error), LS_EREADONLY, &error);
    assert_code(coordinator_open(&coordinator, store, &error), 0, &error);
    assert_code(coordinator_open(&second, reader, &error), 0, &error);
    assert_code(coordinator_begin(second, 1, &error), LS_EREADONLY, &error);
    coordinator_close(second);
    coordinator_close(coordinator);
    store_close(reader);
    store_close(store);
    static const char *const files[] = {"data.mdb", "lock.mdb", "wake"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, files[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(directory), 0);
}

/* ---- damage ---- */

/* Writes behind the coordinator's back; a value of size 0 deletes. */
static void write_raw(struct fixture *f, const struct key *key, ls_bytes value)
{
    struct store_txn *txn;
    const struct store_driver *driver = f->store->driver;
    assert_int_equal(driver->begin(f->store, STORE_WRITE, &txn, &f->error), 0);
    int rc = value.size == 0 ? driver->del(txn, key_bytes(key), &f->error)
                             : driver->put(txn, key_bytes(key), value, false, &f->error);
    assert_code(rc, 0, &f->error);
    assert_int_equal(driver->commit(txn, &f->error), 0);
}

static void a_damaged_node_is_told(void **state)
{
    struct fixture *f = *state;
    struct key key;
    assert_int_equal(key_node(&key, bytes_of_text("a"), &f->error), 0);
    write_raw(f, &key, bytes_of("\xa0", 1));
    assert_code(read_once(f, read_node), LS_ECORRUPT, &f->error);
    assert_code(read_once(f, read_nodes), LS_ECORRUPT, &f->error);
    assert_code(read_once(f, read_slowest), LS_ECORRUPT, &f->error);
}

static void a_damaged_object_is_told(void **state)
{
    struct fixture *f = *state;
    struct key key;
    assert_int_equal(key_object(&key, bytes_of_text("k"), &f->error), 0);
    write_raw(f, &key, bytes_of("\xa0", 1));
    assert_code(read_once(f, read_object), LS_ECORRUPT, &f->error);
    assert_code(read_once(f, read_objects), LS_ECORRUPT, &f->error);
}

static void a_node_that_is_not_in_its_place_is_not_read(void **state)
{
    struct fixture *f = *state;
    struct key key;
    struct reading reading;
    struct node_cursor cursor;
    struct node node;
    assert_int_equal(key_node(&key, bytes_of_text("other"), &f->error), 0);
    faulty_store_misplace(f->store, key_bytes(&key));
    assert_int_equal(reading_begin(&reading, f->store, &f->error), 0);
    assert_int_equal(nodes_open(&cursor, &reading, NODES_ALL, &f->error), 0);
    assert_code(nodes_next(&cursor, &node, &f->error), LS_ECORRUPT, &f->error);
    assert_non_null(strstr(f->error.text, "not in its place"));
    nodes_end(&cursor);
    reading_end(&reading);
    faulty_store_misplace(f->store, bytes_of(NULL, 0));
}

static void an_object_that_comes_again_is_not_read(void **state)
{
    struct fixture *f = *state;
    struct key key;
    assert_int_equal(key_object(&key, bytes_of_text("k"), &f->error), 0);
    faulty_store_misplace(f->store, key_bytes(&key));
    assert_code(read_once(f, read_objects), LS_ECORRUPT, &f->error);
    assert_non_null(strstr(f->error.text, "not in its place"));
    faulty_store_misplace(f->store, bytes_of(NULL, 0));
}

static void a_missing_control_record_is_told(void **state)
{
    struct fixture *f = *state;
    struct key key;
    assert_int_equal(key_control(&key, bytes_of_text(CONTROL_DISCARDED)), 0);
    write_raw(f, &key, bytes_of(NULL, 0));
    assert_code(read_once(f, read_state), LS_ECORRUPT, &f->error);
    assert_code(read_once(f, read_box), LS_ECORRUPT, &f->error);
}

static void an_owned_object_that_is_missing_stops_the_end_of_its_node(void **state)
{
    struct fixture *f = *state;
    struct key key;
    struct buf before = {0}, after = {0};
    struct request expire = {.kind = REQUEST_NODE_EXPIRE,
                             .in.expire = {.host = bytes_of_text("a"), .joined = 1}};
    assert_int_equal(key_object(&key, bytes_of_text("k"), &f->error), 0);
    write_raw(f, &key, bytes_of(NULL, 0));
    snapshot_read(&before, f->store);
    assert_code(fixture_run(f, &expire), LS_ECORRUPT, &f->error);
    snapshot_read(&after, f->store);
    assert_true(snapshot_equal(&before, &after));
    buf_free(&before);
    buf_free(&after);
}

#define over_faulty(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        over_faulty(each_read_tells_of_a_call_that_failed),
        over_faulty(each_read_tells_of_an_allocation_that_failed),
        cmocka_unit_test(opening_tells_of_a_call_that_failed_and_works_afterwards),
        cmocka_unit_test(a_store_for_reading_only_opens_when_it_is_not_new),
        over_faulty(a_damaged_node_is_told),
        over_faulty(a_damaged_object_is_told),
        over_faulty(a_node_that_is_not_in_its_place_is_not_read),
        over_faulty(an_object_that_comes_again_is_not_read),
        over_faulty(a_missing_control_record_is_told),
        over_faulty(an_owned_object_that_is_missing_stops_the_end_of_its_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
