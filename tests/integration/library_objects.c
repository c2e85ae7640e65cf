/* SPDX-License-Identifier: Apache-2.0 */
/* Objects: conditions, scans, batches and watches. */
#include <stdlib.h>

#include "library.h"

static uint64_t put(ls *handle, const char *key, const char *value)
{
    uint64_t clock = 0;
    assert_ok(ls_put(handle, bytes(key), bytes(value), NULL, &clock));
    return clock;
}

static void assert_object(ls *handle, const char *key, const char *value)
{
    ls_objects *objects;
    assert_ok(ls_get(handle, bytes(key), &objects));
    assert_int_equal(1, ls_objects_count(objects));
    assert_bytes(key, ls_objects_get(objects, 0)->key);
    assert_bytes(value, ls_objects_get(objects, 0)->value);
    ls_objects_free(objects);
}

static void an_object_is_got_as_it_was_put(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    uint64_t created = put(handle, "k", "one"), modified = put(handle, "k", "two"), clock;
    ls_objects *objects;
    assert_ok(ls_get(handle, bytes("k"), &objects));
    const ls_object *object = ls_objects_get(objects, 0);
    assert_bytes("two", object->value);
    assert_int_equal('\0', ((const char *)object->value.data)[3]);
    assert_int_equal(created, object->created);
    assert_int_equal(modified, object->modified);
    assert_null(ls_objects_get(objects, 1));
    ls_objects_free(objects);
    ls_objects_free(NULL);

    assert_ok(ls_del(handle, bytes("k"), &clock));
    assert_true(clock > modified);
    assert_code(LS_ENOTFOUND, ls_get(handle, bytes("k"), &objects));
    assert_ok(ls_del(handle, bytes("k"), &clock));
    assert_int_equal(0, clock);
    assert_ok(ls_del(handle, bytes("k"), NULL));
    assert_int_equal(3, count_messages(handle, 0, NULL));
}

static void keys_and_values_are_any_bytes_within_their_limits(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    uint8_t key[481];
    memset(key, 0xff, sizeof key);
    key[1] = 0;
    ls_objects *objects;
    assert_code(LS_EKEY, ls_put(handle, (ls_bytes){NULL, 0}, bytes("v"), NULL, NULL));
    assert_refused(LS_ETOOBIG, 480, ls_put(handle, (ls_bytes){key, 481}, bytes("v"), NULL, NULL));
    assert_refused(LS_ETOOBIG, 480, ls_get(handle, (ls_bytes){key, 481}, &objects));
    assert_refused(LS_ETOOBIG, 480, ls_del(handle, (ls_bytes){key, 481}, NULL));
    assert_ok(ls_put(handle, (ls_bytes){key, 480}, (ls_bytes){NULL, 0}, NULL, NULL));
    assert_ok(ls_get(handle, (ls_bytes){key, 480}, &objects));
    assert_int_equal(480, ls_objects_get(objects, 0)->key.size);
    assert_memory_equal(key, ls_objects_get(objects, 0)->key.data, 480);
    assert_int_equal(0, ls_objects_get(objects, 0)->value.size);
    ls_objects_free(objects);

    size_t limit = 1 << 20;
    uint8_t *value = calloc(1, limit + 1);
    assert_non_null(value);
    assert_refused(LS_ETOOBIG, limit,
                   ls_put(handle, bytes("big"), (ls_bytes){value, limit + 1}, NULL, NULL));
    assert_ok(ls_put(handle, bytes("big"), (ls_bytes){value, limit}, NULL, NULL));
    assert_ok(ls_get(handle, bytes("big"), &objects));
    assert_int_equal(limit, ls_objects_get(objects, 0)->value.size);
    ls_objects_free(objects);
    free(value);
}

static void a_condition_that_does_not_hold_changes_nothing(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    ls_put_options absent = LS_PUT_OPTIONS_INIT, present = LS_PUT_OPTIONS_INIT,
                   same = LS_PUT_OPTIONS_INIT;
    absent.only_if_absent = true;
    present.only_if_present = true;
    same.only_if = true;
    uint64_t clock;
    assert_refused(LS_ECONFLICT, 0, ls_put(handle, bytes("k"), bytes("1"), &present, NULL));
    assert_ok(ls_put(handle, bytes("k"), bytes("1"), &absent, &clock));
    assert_refused(LS_ECONFLICT, clock, ls_put(handle, bytes("k"), bytes("2"), &absent, NULL));
    assert_refused(LS_ECONFLICT, clock, ls_put(handle, bytes("k"), bytes("2"), &same, NULL));
    same.if_modified = clock;
    assert_ok(ls_put(handle, bytes("k"), bytes("2"), &same, &clock));
    assert_refused(LS_ECONFLICT, clock, ls_put(handle, bytes("k"), bytes("3"), &same, NULL));
    assert_ok(ls_put(handle, bytes("k"), bytes("3"), &present, &clock));
    assert_object(handle, "k", "3");
    assert_refused(LS_ECONFLICT, clock, ls_del_if(handle, bytes("k"), clock - 1, NULL));
    assert_ok(ls_del_if(handle, bytes("k"), clock, NULL));
    assert_refused(LS_ECONFLICT, 0, ls_del_if(handle, bytes("k"), clock, NULL));
    absent.only_if_present = true;
    assert_code(LS_EINVAL, ls_put(handle, bytes("k"), bytes("4"), &absent, NULL));
    same.if_modified = 0;
    assert_ok(ls_put(handle, bytes("k"), bytes("4"), &same, NULL));
    assert_int_equal(5, count_messages(handle, 0, NULL));
}

static void a_scan_goes_on_after_the_last_key(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    enum { COUNT = 300 };
    char key[32];
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "s/%03d", i);
        put(handle, key, key);
    }
    put(handle, "r", "before");
    put(handle, "s0", "after");
    for (size_t max = 1; max <= 1000; max *= 10) {
        uint8_t after[32];
        size_t after_size = 0;
        int seen = 0;
        for (;;) {
            ls_objects *objects;
            assert_ok(ls_scan(handle, bytes("s/"), (ls_bytes){after, after_size}, max, &objects));
            size_t count = ls_objects_count(objects);
            assert_true(count <= max);
            for (size_t i = 0; i < count; i++) {
                snprintf(key, sizeof key, "s/%03d", seen++);
                assert_bytes(key, ls_objects_get(objects, i)->key);
                assert_bytes(key, ls_objects_get(objects, i)->value);
            }
            if (count != 0) {
                after_size = ls_objects_get(objects, count - 1)->key.size;
                memcpy(after, ls_objects_get(objects, count - 1)->key.data, after_size);
            }
            ls_objects_free(objects);
            if (count == 0) {
                break;
            }
        }
        assert_int_equal(COUNT, seen);
    }
    ls_objects *objects;
    assert_ok(ls_scan(handle, bytes(""), bytes(""), 1, &objects));
    assert_bytes("r", ls_objects_get(objects, 0)->key);
    ls_objects_free(objects);
    assert_ok(ls_scan(handle, bytes("r"), bytes("z"), 10, &objects));
    assert_int_equal(0, ls_objects_count(objects));
    ls_objects_free(objects);
    assert_code(LS_EINVAL, ls_scan(handle, bytes("s"), bytes(""), 0, &objects));
}

static void a_batch_is_done_whole_or_not_at_all(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    uint64_t modified = put(handle, "a", "1"), clocks[3] = {7, 7, 7};
    ls_batch *batch;
    assert_ok(ls_batch_new(handle, &batch));
    assert_code(LS_EINVAL, ls_batch_commit(batch, NULL));
    assert_code(LS_EKEY, ls_batch_put(batch, bytes(""), bytes("v")));

    assert_ok(ls_batch_if(batch, bytes("a"), modified));
    assert_ok(ls_batch_if(batch, bytes("b"), 0));
    assert_ok(ls_batch_put(batch, bytes("a"), bytes("2")));
    assert_ok(ls_batch_del(batch, bytes("absent")));
    assert_ok(ls_batch_put(batch, bytes("b"), bytes("2")));
    assert_ok(ls_batch_commit(batch, clocks));
    assert_true(clocks[0] > modified);
    assert_int_equal(0, clocks[1]);
    assert_true(clocks[2] > clocks[0]);
    assert_object(handle, "a", "2");
    assert_object(handle, "b", "2");

    assert_ok(ls_batch_if(batch, bytes("a"), clocks[0]));
    assert_ok(ls_batch_if(batch, bytes("b"), modified));
    assert_ok(ls_batch_put(batch, bytes("a"), bytes("3")));
    assert_ok(ls_batch_del(batch, bytes("b")));
    assert_refused(LS_ECONFLICT, clocks[2], ls_batch_commit(batch, NULL));
    assert_non_null(strchr(ls_last_error()->text, 'b'));
    assert_object(handle, "a", "2");
    assert_object(handle, "b", "2");

    assert_code(LS_EINVAL, ls_batch_commit(batch, NULL)); /* a commit empties it */
    for (int i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof key, "many/%d", i);
        assert_ok(ls_batch_put(batch, bytes(key), bytes(key)));
    }
    assert_ok(ls_batch_commit(batch, NULL));
    assert_object(handle, "many/99", "many/99");
    ls_batch_free(batch);
    ls_batch_free(NULL);
}

/* The next event is this one; NULL: whatever the key or value. */
static ls_object assert_event(ls_object_watch *watch, enum ls_object_event expected,
                              const char *key, const char *value)
{
    enum ls_object_event event;
    ls_object object;
    assert_ok(ls_object_watch_next(watch, PATIENCE_MS, &event, &object));
    assert_int_equal(expected, event);
    if (key != NULL) {
        assert_bytes(key, object.key);
    }
    if (value != NULL) {
        assert_bytes(value, object.value);
    }
    return object;
}

static void an_object_watch_gives_a_snapshot_and_then_the_changes(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    uint64_t first = put(handle, "w/1", "a");
    uint64_t second = put(handle, "w/2", "b");
    put(handle, "x", "not watched");
    ls_object_watch *watch;
    enum ls_object_event event;
    ls_object object;
    assert_ok(ls_object_watch_open(handle, bytes("w/"), &watch));
    object = assert_event(watch, LS_OBJECT_PUT, "w/1", "a");
    assert_int_equal(first, object.created);
    assert_int_equal(first, object.modified);
    assert_event(watch, LS_OBJECT_PUT, "w/2", "b");
    object = assert_event(watch, LS_OBJECT_SYNCED, NULL, NULL);
    assert_true(object.modified >= second);
    assert_code(LS_ETIMEOUT, ls_object_watch_next(watch, 0, &event, &object));

    uint64_t changed = put(handle, "w/1", "");
    put(handle, "v", "not watched");
    uint64_t deleted;
    assert_ok(ls_del(handle, bytes("w/2"), &deleted));
    put(handle, "w/3", "c");
    object = assert_event(watch, LS_OBJECT_PUT, "w/1", "");
    assert_int_equal(first, object.created);
    assert_int_equal(changed, object.modified);
    object = assert_event(watch, LS_OBJECT_DELETED, "w/2", NULL);
    assert_int_equal(deleted, object.modified);
    assert_event(watch, LS_OBJECT_PUT, "w/3", "c");
    assert_code(LS_ETIMEOUT, ls_object_watch_next(watch, 5, &event, &object));
    ls_object_watch_close(watch);
    ls_object_watch_close(NULL);
}

static void a_watch_of_all_objects_sees_no_nodes(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    ls_object_watch *watch;
    assert_ok(ls_object_watch_open(handle, (ls_bytes){NULL, 0}, &watch));
    assert_event(watch, LS_OBJECT_SYNCED, NULL, NULL);
    assert_ok(ls_node_join(handle, "n1", NULL, NULL));
    put(handle, "N\x11 looks like a node's key", "v");
    assert_event(watch, LS_OBJECT_PUT, "N\x11 looks like a node's key", "v");
    ls_object_watch_close(watch);
}

static void a_large_snapshot_is_whole_at_one_clock(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    enum { COUNT = 600 };
    char key[32];
    static char value[1000];
    memset(value, 'v', sizeof value - 1);
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "%04d", i);
        put(handle, key, value);
    }
    ls_object_watch *watch;
    assert_ok(ls_object_watch_open(handle, (ls_bytes){NULL, 0}, &watch));
    assert_event(watch, LS_OBJECT_PUT, "0000", value);
    put(handle, "0599", "later");
    assert_ok(ls_del(handle, bytes("0598"), NULL));
    for (int i = 1; i < COUNT; i++) {
        snprintf(key, sizeof key, "%04d", i);
        assert_event(watch, LS_OBJECT_PUT, key, value);
    }
    assert_event(watch, LS_OBJECT_SYNCED, NULL, NULL);
    assert_event(watch, LS_OBJECT_PUT, "0599", "later");
    assert_event(watch, LS_OBJECT_DELETED, "0598", NULL);
    ls_object_watch_close(watch);
}

static void an_object_watch_that_fell_behind_begins_anew(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    if (kind_is("lockstep")) {
        skip(); /* there the changes are on their way to the client before the trim */
    }
    put(handle, "k", "1");
    ls_object_watch *watch;
    assert_ok(ls_object_watch_open(handle, (ls_bytes){NULL, 0}, &watch));
    assert_event(watch, LS_OBJECT_PUT, "k", "1");
    assert_event(watch, LS_OBJECT_SYNCED, NULL, NULL);
    put(handle, "k", "2");
    assert_ok(ls_trim_before(handle, put(handle, "l", "3"), NULL));
    assert_event(watch, LS_OBJECT_RESYNC, NULL, NULL);
    assert_event(watch, LS_OBJECT_PUT, "k", "2");
    assert_event(watch, LS_OBJECT_PUT, "l", "3");
    assert_event(watch, LS_OBJECT_SYNCED, NULL, NULL);
    put(handle, "k", "4");
    assert_event(watch, LS_OBJECT_PUT, "k", "4");
    ls_object_watch_close(watch);
}

const struct CMUnitTest library_object_tests[] = {
    library_test(an_object_is_got_as_it_was_put),
    library_test(keys_and_values_are_any_bytes_within_their_limits),
    library_test(a_condition_that_does_not_hold_changes_nothing),
    library_test(a_scan_goes_on_after_the_last_key),
    library_test(a_batch_is_done_whole_or_not_at_all),
    library_test(an_object_watch_gives_a_snapshot_and_then_the_changes),
    library_test(a_watch_of_all_objects_sees_no_nodes),
    library_test(a_large_snapshot_is_whole_at_one_clock),
    library_test(an_object_watch_that_fell_behind_begins_anew),
};
const size_t library_object_count = sizeof library_object_tests / sizeof *library_object_tests;
