/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded library from the inside: every allocation of its main calls failing once, a snapshot
 * that nobody reads on, and lists that grow.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "client/embedded.h"
#include "faults.h"

static ls_bytes text(const char *string)
{
    return (ls_bytes){string, strlen(string)};
}

static ls *open_mem(void)
{
    ls *handle = NULL;
    assert_int_equal(0, ls_open(&handle, "mem:", NULL));
    return handle;
}

/* ---- every allocation ---- */

static int call_clock(ls *handle)
{
    uint64_t clock;
    int result = ls_clock_next(handle, 1, &clock);
    return result != 0 ? result : ls_clock_get(handle, &clock);
}

static int call_post(ls *handle)
{
    ls_post_options options = LS_POST_OPTIONS_INIT;
    options.to = "n1";
    return ls_post(handle, LS_USER, 'x', ls_json("{\"a\":[1,2.5,\"text\",null]}"), &options, NULL);
}

static int call_post_once(ls *handle)
{
    ls_post_options options = LS_POST_OPTIONS_INIT;
    options.once = true;
    return ls_post(handle, LS_DATABASE, LS_CREATED, ls_text("once"), &options, NULL);
}

static int call_read(ls *handle)
{
    ls_filter filter = LS_FILTER_INIT;
    filter.types = "DUO";
    filter.host = "n1";
    ls_messages *messages;
    int result = ls_read(handle, LS_OLDEST, &filter, 100, 0, &messages);
    if (result == 0) {
        assert_true(ls_messages_count(messages) > 0);
        ls_messages_free(messages);
    }
    return result;
}

static int call_watch(ls *handle)
{
    ls_filter filter = LS_FILTER_INIT;
    filter.types = "U";
    filter.host = "n1";
    ls_watch *watch;
    int result = ls_watch_open(handle, LS_OLDEST, &filter, &watch, NULL);
    if (result == 0) {
        ls_message message;
        result = ls_watch_next(watch, 0, &message);
        ls_watch_close(watch);
    }
    return result;
}

static int call_join(ls *handle)
{
    ls_join_options options = LS_JOIN_OPTIONS_INIT;
    options.meta = ls_json("{\"zone\":1}");
    return ls_node_join(handle, "n1", &options, NULL);
}

static int call_nodes(ls *handle)
{
    ls_nodes *nodes;
    int result = ls_node_list(handle, &nodes);
    if (result == 0) {
        assert_int_equal(1, ls_nodes_count(nodes));
        ls_nodes_free(nodes);
        result = ls_node_get(handle, "n1", &nodes);
    }
    if (result == 0) {
        ls_nodes_free(nodes);
        result = ls_node_beat(handle, NULL);
    }
    return result == 0 ? ls_node_ack(handle, 1, NULL) : result;
}

static int call_put(ls *handle)
{
    ls_put_options options = LS_PUT_OPTIONS_INIT;
    options.owned = true;
    return ls_put(handle, text("key"), text("value"), &options, NULL);
}

static int call_objects(ls *handle)
{
    ls_objects *objects;
    int result = ls_get(handle, text("key"), &objects);
    if (result == 0) {
        ls_objects_free(objects);
        result = ls_scan(handle, text(""), text(""), 100, &objects);
    }
    if (result == 0) {
        assert_true(ls_objects_count(objects) > 0);
        ls_objects_free(objects);
    }
    return result;
}

static int call_object_watch(ls *handle)
{
    ls_object_watch *watch;
    int result = ls_object_watch_open(handle, text("k"), &watch);
    if (result == 0) {
        enum ls_object_event event = LS_OBJECT_PUT;
        ls_object object;
        while (result == 0 && event != LS_OBJECT_SYNCED) {
            result = ls_object_watch_next(watch, 0, &event, &object);
        }
        if (result == 0) {
            result = call_put(handle);
        }
        if (result == 0) {
            result = ls_object_watch_next(watch, 0, &event, &object);
        }
        ls_object_watch_close(watch);
    }
    return result;
}

static int call_batch(ls *handle)
{
    ls_batch *batch;
    int result = ls_batch_new(handle, &batch);
    if (result != 0) {
        return result;
    }
    for (int i = 0; i < 6 && result == 0; i++) {
        result = ls_batch_put(batch, text("batch"), text("value"));
        if (result == 0) {
            result = ls_batch_if(batch, text("absent"), 0);
        }
    }
    if (result == 0) {
        result = ls_batch_commit(batch, NULL);
    }
    ls_batch_free(batch);
    return result;
}

static int call_transaction(ls *handle)
{
    const ls_txn_key keys[] = {{text("txn"), LS_TXN_EAGER | LS_TXN_WILL},
                               {text("lazy"), LS_TXN_LAZY},
                               {text("gone"), LS_TXN_MAY}};
    ls_transaction *transaction;
    ls_txn_marks *marks;
    ls_bytes value;
    int result = ls_txn_begin(handle, keys, 3, NULL, &transaction);
    if (result != 0) {
        return result;
    }
    result = ls_txn_read(transaction, text("lazy"), &value);
    if (result == 0) {
        result = ls_txn_explain(handle, ls_txn_timestamp(transaction), NULL, &marks);
    }
    if (result == 0) {
        ls_txn_marks_free(marks);
        result = ls_txn_put(transaction, text("txn"), text("value"));
    }
    if (result == 0) {
        result = ls_txn_del(transaction, text("gone"));
    }
    if (result != 0) {
        ls_txn_abort(transaction);
        return result;
    }
    return ls_txn_commit(transaction);
}

/* A failure that came after the transaction was done is no failure of it. */
static int call_execute(ls *handle)
{
    const ls_txn_operation operations[] = {
        {.kind = LS_TXN_PUT, .key = text("run"), .value = text("1")},
        {.kind = LS_TXN_INCRBY, .key = text("run"), .number = 1},
        {.kind = LS_TXN_GET, .key = text("run")},
    };
    const ls_bytes key = text("run");
    ls_values *values;
    int result = ls_txn_execute(handle, operations, 3, &values);
    if (result == LS_EINTERNAL) {
        return LS_ENOMEM;
    }
    if (result == 0) {
        ls_values_free(values);
        result = ls_txn_get(handle, LS_TXN_NOW, &key, 1, &values);
    }
    if (result == 0) {
        assert_string_equal("2", ls_values_get(values, 0)->data);
        ls_values_free(values);
    }
    return result;
}

static int call_trim(ls *handle)
{
    uint64_t discarded;
    return ls_trim_before(handle, 2, &discarded);
}

/* Each call with its first, its second, ... allocation failing: it succeeds, or says that there is
 * no memory, and the call after it succeeds. */
static void a_call_without_memory_says_so_and_works_again(void **state)
{
    static const struct {
        const char *name;
        int (*run)(ls *handle);
    } calls[] = {
        {"clock", call_clock},     {"join", call_join},
        {"post", call_post},       {"post once", call_post_once},
        {"read", call_read},       {"watch", call_watch},
        {"nodes", call_nodes},     {"put", call_put},
        {"objects", call_objects}, {"object watch", call_object_watch},
        {"batch", call_batch},     {"transaction", call_transaction},
        {"execute", call_execute}, {"trim", call_trim},
    };
    (void)state;
    ls *handle = open_mem();
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        for (long n = 1, met = n; met >= n; n++) {
            faults_fail_allocation(n);
            int result = calls[i].run(handle);
            met = faults_allocations();
            faults_fail_allocation(0);
            if (result != 0 && result != LS_ENOMEM) {
                print_error("%s with allocation %ld failing: %s: %s\n", calls[i].name, n,
                            ls_errname(result), ls_last_error()->text);
                fail();
            }
            result = calls[i].run(handle);
            if (result != 0) {
                print_error("%s after allocation %ld failed: %s: %s\n", calls[i].name, n,
                            ls_errname(result), ls_last_error()->text);
                fail();
            }
        }
    }
    ls_close(handle);
}

static void opening_without_memory_leaves_nothing_behind(void **state)
{
    (void)state;
    for (long n = 1, met = n; met >= n; n++) {
        ls *handle = NULL;
        faults_fail_allocation(n);
        int result = ls_open(&handle, "mem:", NULL);
        met = faults_allocations();
        faults_fail_allocation(0);
        assert_true(result == 0 || result == LS_ENOMEM);
        if (result == 0) {
            ls_close(handle);
        } else {
            assert_null(handle);
        }
    }
}

/* ---- snapshots ---- */

static void a_snapshot_nobody_reads_on_is_given_up_and_begun_anew(void **state)
{
    (void)state;
    enum { COUNT = 2 * MESSAGES_COUNT_SOFT };
    ls *handle = open_mem();
    char key[16];
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "%04d", i);
        assert_int_equal(0, ls_put(handle, text(key), text("v"), NULL, NULL));
    }
    ls_object_watch *watch;
    enum ls_object_event event;
    ls_object object;
    struct store_stat stat;
    struct ls_error error;
    struct embedded *e = embedded_of(handle);
    assert_int_equal(0, ls_object_watch_open(handle, text(""), &watch));
    assert_int_equal(0, ls_object_watch_next(watch, 0, &event, &object));
    assert_int_equal(0, e->store->driver->stat(e->store, &stat, &error));
    assert_int_equal(1, stat.readers);
    embedded_drop_snapshots(e, monotonic_ms());
    assert_int_equal(0, e->store->driver->stat(e->store, &stat, &error));
    assert_int_equal(1, stat.readers); /* not yet */
    embedded_drop_snapshots(e, monotonic_ms() + 60000);
    assert_int_equal(0, e->store->driver->stat(e->store, &stat, &error));
    assert_int_equal(0, stat.readers);

    int before = 1, after = 0;
    while (event == LS_OBJECT_PUT) {
        assert_int_equal(0, ls_object_watch_next(watch, 0, &event, &object));
        before += event == LS_OBJECT_PUT;
    }
    assert_int_equal(LS_OBJECT_RESYNC, event);
    assert_in_range(before, 1, COUNT - 1);
    while (event != LS_OBJECT_SYNCED) {
        assert_int_equal(0, ls_object_watch_next(watch, 0, &event, &object));
        after += event == LS_OBJECT_PUT;
    }
    assert_int_equal(COUNT, after);
    ls_object_watch_close(watch);

    /* One that is closed in the middle leaves no transaction open. */
    assert_int_equal(0, ls_object_watch_open(handle, text(""), &watch));
    assert_int_equal(0, ls_object_watch_next(watch, 0, &event, &object));
    ls_object_watch_close(watch);
    assert_int_equal(0, e->store->driver->stat(e->store, &stat, &error));
    assert_int_equal(0, stat.readers);
    ls_close(handle);
}

/* ---- lists ---- */

static void pointers_into_a_list_stay_good_while_it_grows(void **state)
{
    (void)state;
    struct ls_objects list = {0};
    char key[32];
    const void *first = NULL;
    for (int i = 0; i < 2000; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        ls_object object = {.key = text(key), .value = text("some value"), .modified = 1};
        assert_int_equal(0, objects_add(&list, &object));
        if (i == 0) {
            first = list.items[0].key.data;
        }
    }
    assert_ptr_equal(first, list.items[0].key.data);
    for (size_t i = 0; i < list.count; i++) {
        snprintf(key, sizeof key, "key-%zu", i);
        assert_string_equal(key, list.items[i].key.data);
    }
    objects_clear(&list);
    assert_int_equal(0, list.count);
    assert_int_equal(0, list.arena.used);
    objects_release(&list);
}

static void an_arena_takes_what_is_larger_than_any_chunk(void **state)
{
    (void)state;
    struct arena arena = {0};
    size_t size = 3 << 20;
    uint8_t *large = calloc(1, size);
    assert_non_null(large);
    ls_bytes copy = {0}, small = {0};
    assert_int_equal(0, arena_copy(&arena, text("small"), &small));
    assert_int_equal(0, arena_copy(&arena, (ls_bytes){large, size}, &copy));
    assert_int_equal(size, copy.size);
    assert_memory_equal(large, copy.data, size);
    assert_string_equal("small", small.data);
    assert_int_equal(LS_ENOMEM, arena_copy(&arena, (ls_bytes){large, SIZE_MAX}, &copy));
    arena_free(&arena);
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_without_memory_says_so_and_works_again),
        cmocka_unit_test(opening_without_memory_leaves_nothing_behind),
        cmocka_unit_test(a_snapshot_nobody_reads_on_is_given_up_and_begun_anew),
        cmocka_unit_test(pointers_into_a_list_stay_good_while_it_grows),
        cmocka_unit_test(an_arena_takes_what_is_larger_than_any_chunk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
