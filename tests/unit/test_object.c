/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects: puts and deletes under conditions, owners and their index, transactions, scans, and that
 * each change is a message. The store is audited after each test.
 */
#include <stdio.h>

#include "base/error.h"
#include "coordinator/layout.h"
#include "fixture.h"

static struct request put_of(const char *key, const char *value)
{
    return (struct request){.kind = REQUEST_OBJECT_PUT,
                            .in.put = {.key = bytes_of_text(key), .value = bytes_of_text(value)}};
}

static struct request del_of(const char *key)
{
    return (struct request){.kind = REQUEST_OBJECT_DEL, .in.del.key = bytes_of_text(key)};
}

static struct object_operation putting(const char *key, const char *value)
{
    return (struct object_operation){.key = bytes_of_text(key), .value = bytes_of_text(value)};
}

static struct object_operation deleting(const char *key)
{
    return (struct object_operation){.key = bytes_of_text(key), .del = true};
}

/* "value created modified owner", or "none". */
static void assert_object(struct fixture *f, const char *key, const char *expected)
{
    struct reading reading;
    struct object object;
    struct buf text = {0};
    assert_int_equal(reading_begin(&reading, f->store, &f->error), 0);
    int rc = object_read(&reading, bytes_of_text(key), &object, &f->error);
    if (rc == LS_ENOTFOUND) {
        assert_int_equal(buf_append_text(&text, "none"), 0);
    } else {
        assert_code(rc, 0, &f->error);
        assert_int_equal(buf_printf(&text, "%.*s %llu %llu %.*s", (int)object.value.size,
                                    (const char *)object.value.data,
                                    (unsigned long long)object.created,
                                    (unsigned long long)object.modified, (int)object.owner.size,
                                    (const char *)object.owner.data),
                         0);
    }
    reading_end(&reading);
    assert_int_equal(buf_append_byte(&text, 0), 0);
    assert_string_equal((const char *)text.data, expected);
    buf_free(&text);
}

/* The O message under the clock: "event key previous value-of-the-object". */
static void assert_told(struct fixture *f, uint64_t clock, const char *expected)
{
    struct reading reading;
    struct box_cursor cursor;
    struct message message;
    struct change change;
    struct object object = {0};
    struct buf text = {0};
    assert_int_equal(reading_begin(&reading, f->store, &f->error), 0);
    assert_int_equal(box_open(&cursor, &reading, clock, NULL, &f->error), 0);
    assert_int_equal(box_next(&cursor, &message, &f->error), 1);
    assert_int_equal(message.clock, clock);
    assert_int_equal(message.type, LS_OBJECT);
    assert_int_equal(change_decode(&change, message.object, &f->error), 0);
    if (change.has_value) {
        assert_int_equal(object_decode(&object, change.value, &f->error), 0);
        assert_int_equal(object.modified, clock);
    }
    assert_int_equal(buf_printf(&text, "%c %.*s %llu %.*s", message.event, (int)change.key.size - 2,
                                (const char *)change.key.data + 2,
                                (unsigned long long)change.previous, (int)object.value.size,
                                (const char *)object.value.data),
                     0);
    box_end(&cursor);
    reading_end(&reading);
    assert_int_equal(buf_append_byte(&text, 0), 0);
    assert_string_equal((const char *)text.data, expected);
    buf_free(&text);
}

/* ---- puts and deletes ---- */

static void an_object_is_created_updated_and_deleted(void **state)
{
    struct fixture *f = *state;
    struct request put = put_of("k", "one"), del = del_of("k");
    assert_int_equal(fixture_run(f, &put), 0);
    assert_int_equal(put.clock, 1);
    assert_object(f, "k", "one 1 1 ");
    assert_told(f, 1, "C k 0 one");
    put = put_of("k", "two");
    assert_int_equal(fixture_run(f, &put), 0);
    assert_object(f, "k", "two 1 2 ");
    assert_told(f, 2, "U k 1 two");
    assert_int_equal(fixture_run(f, &del), 0);
    assert_int_equal(del.clock, 3);
    assert_object(f, "k", "none");
    assert_told(f, 3, "D k 2 ");
    assert_int_equal(fixture_run(f, &put), 0);
    assert_object(f, "k", "two 4 4 ");
    assert_told(f, 4, "C k 0 two");
}

static void a_delete_of_what_is_absent_does_nothing(void **state)
{
    struct fixture *f = *state;
    struct request del = del_of("k");
    assert_int_equal(fixture_run(f, &del), 0);
    assert_int_equal(del.clock, 0);
    del.in.del.has_if = true;
    assert_int_equal(fixture_run(f, &del), 0);
    assert_int_equal(del.clock, 0);
    assert_int_equal(coordinator_clock(f->coordinator), 0);
}

static void keys_have_1_to_480_bytes_of_any_kind(void **state)
{
    struct fixture *f = *state;
    char longest[481];
    memset(longest, 0xff, sizeof longest);
    struct request put = put_of("", "v"), del = del_of("");
    fixture_refuse(f, &put, LS_EKEY);
    fixture_refuse(f, &del, LS_EKEY);
    put.in.put.key = del.in.del.key = bytes_of(longest, 481);
    fixture_refuse(f, &put, LS_ETOOBIG);
    assert_int_equal(f->error.number, 480);
    fixture_refuse(f, &del, LS_ETOOBIG);
    put.in.put.key = bytes_of(longest, 480);
    assert_code(fixture_run(f, &put), 0, &f->error);
    put.in.put.key = bytes_of("\0", 1);
    assert_code(fixture_run(f, &put), 0, &f->error);
    put.in.put.value = bytes_of(NULL, 0);
    assert_code(fixture_run(f, &put), 0, &f->error);
}

static void a_put_holds_to_its_conditions(void **state)
{
    struct fixture *f = *state;
    struct request put = put_of("k", "v");
    put.in.put.xx = true;
    fixture_refuse(f, &put, LS_ECONFLICT);
    assert_int_equal(f->error.number, 0);
    assert_string_equal(f->error.text, "modified=0");
    put = put_of("k", "v");
    put.in.put.has_if = true;
    put.in.put.modified = 5;
    fixture_refuse(f, &put, LS_ECONFLICT);
    put.in.put.modified = 0;
    assert_int_equal(fixture_run(f, &put), 0);
    fixture_refuse(f, &put, LS_ECONFLICT);
    assert_int_equal(f->error.number, 1);
    assert_string_equal(f->error.text, "modified=1");
    put.in.put.modified = 1;
    assert_int_equal(fixture_run(f, &put), 0);
    put = put_of("k", "v");
    put.in.put.nx = true;
    fixture_refuse(f, &put, LS_ECONFLICT);
    assert_int_equal(f->error.number, 2);
    put.in.put.nx = false;
    put.in.put.xx = true;
    assert_int_equal(fixture_run(f, &put), 0);
    /* Both: never. */
    put.in.put.nx = true;
    fixture_refuse(f, &put, LS_ECONFLICT);
}

static void a_delete_holds_to_its_condition(void **state)
{
    struct fixture *f = *state;
    fixture_put(f, NULL, "k", "v");
    struct request del = del_of("k");
    del.in.del.has_if = true;
    fixture_refuse(f, &del, LS_ECONFLICT);
    assert_int_equal(f->error.number, 1);
    del.in.del.modified = 2;
    fixture_refuse(f, &del, LS_ECONFLICT);
    del.in.del.modified = 1;
    assert_int_equal(fixture_run(f, &del), 0);
    fixture_refuse(f, &del, LS_ECONFLICT);
    assert_int_equal(f->error.number, 0);
}

static void a_life_that_is_over_changes_no_object(void **state)
{
    struct fixture *f = *state;
    struct binding a;
    fixture_join(f, &a, "a", 1);
    fixture_put(f, NULL, "k", "v");
    struct request leave = {.kind = REQUEST_NODE_LEAVE, .as = &a};
    assert_int_equal(fixture_run(f, &leave), 0);
    struct object_operation operation = putting("k", "w");
    struct request requests[] = {
        put_of("k", "w"),
        del_of("k"),
        {.kind = REQUEST_OBJECT_TXN, .in.txn = {.operations = &operation, .operation_count = 1}}};
    for (size_t i = 0; i < 3; i++) {
        requests[i].as = &a;
        fixture_refuse(f, &requests[i], LS_ENOTJOINED);
    }
}

/* ---- owners ---- */

static uint64_t index_entries(struct fixture *f, const char *host)
{
    struct key prefix, end;
    struct store_txn *txn;
    struct store_cursor *cursor;
    ls_bytes key, value;
    uint64_t count = 0;
    owned_prefix(&prefix, bytes_of_text(host));
    end = prefix;
    assert_true(key_after_prefix(&end));
    const struct store_driver *driver = f->store->driver;
    assert_int_equal(driver->begin(f->store, STORE_READ, &txn, &f->error), 0);
    assert_int_equal(
        driver->scan(txn, key_bytes(&prefix), key_bytes(&end), false, &cursor, &f->error), 0);
    while (driver->next(cursor, &key, &value, &f->error) > 0) {
        count++;
    }
    driver->scan_end(cursor);
    driver->abort(txn);
    return count;
}

static void an_owned_object_needs_a_joined_node(void **state)
{
    struct request put = put_of("k", "v");
    put.in.put.owned = true;
    fixture_refuse(*state, &put, LS_ENOTJOINED);
}

static void an_owner_may_change_and_go(void **state)
{
    struct fixture *f = *state;
    struct binding a, b;
    fixture_join(f, &a, "a", 1);
    fixture_join(f, &b, "b", 2);
    fixture_put(f, &a, "k", "1");
    assert_object(f, "k", "1 3 3 a");
    fixture_put(f, &a, "k", "2");
    assert_object(f, "k", "2 3 4 a");
    assert_int_equal(index_entries(f, "a"), 1);
    fixture_put(f, &b, "k", "3");
    assert_object(f, "k", "3 3 5 b");
    assert_int_equal(index_entries(f, "a"), 0);
    assert_int_equal(index_entries(f, "b"), 1);
    assert_sound(f->store);
    fixture_put(f, NULL, "k", "4");
    assert_object(f, "k", "4 3 6 ");
    assert_int_equal(index_entries(f, "b"), 0);
    fixture_put(f, &a, "k", "5");
    assert_int_equal(index_entries(f, "a"), 1);
    struct request del = del_of("k");
    assert_int_equal(fixture_run(f, &del), 0);
    assert_int_equal(index_entries(f, "a"), 0);
    struct request leave = {.kind = REQUEST_NODE_LEAVE, .as = &a};
    assert_int_equal(fixture_run(f, &leave), 0);
    assert_int_equal(leave.clock, 9);
}

static void a_transaction_makes_an_object_nobodys(void **state)
{
    struct fixture *f = *state;
    struct binding a;
    fixture_join(f, &a, "a", 1);
    fixture_put(f, &a, "k", "1");
    struct object_operation operation = putting("k", "2");
    struct request txn = {.kind = REQUEST_OBJECT_TXN,
                          .as = &a,
                          .in.txn = {.operations = &operation, .operation_count = 1}};
    assert_int_equal(fixture_run(f, &txn), 0);
    assert_object(f, "k", "2 2 3 ");
    assert_int_equal(index_entries(f, "a"), 0);
}

static void a_node_may_own_many(void **state)
{
    struct fixture *f = *state;
    struct binding a, ab;
    char key[16];
    fixture_join(f, &a, "a", 1);
    fixture_join(f, &ab, "ab", 2);
    fixture_put(f, &ab, "not-of-a", "v");
    for (int i = 0; i < 300; i++) {
        snprintf(key, sizeof key, "k%d", (i * 7) % 300);
        fixture_put(f, &a, key, "v");
    }
    assert_int_equal(index_entries(f, "a"), 300);
    struct request expire = {.kind = REQUEST_NODE_EXPIRE,
                             .in.expire = {.host = bytes_of_text("a"), .joined = a.joined}};
    assert_int_equal(fixture_run(f, &expire), 0);
    assert_int_equal(coordinator_clock(f->coordinator), 303 + 301);
    assert_object(f, "not-of-a", "v 3 3 ab");
    assert_told(f, 305, "D k0 4 ");
    assert_told(f, 306, "D k7 5 ");
}

/* ---- transactions ---- */

static struct request txn_of(const struct object_condition *conditions, size_t condition_count,
                             struct object_operation *operations, size_t operation_count)
{
    return (struct request){.kind = REQUEST_OBJECT_TXN,
                            .in.txn = {.conditions = conditions,
                                       .condition_count = condition_count,
                                       .operations = operations,
                                       .operation_count = operation_count}};
}

static void a_transaction_changes_all_that_it_names(void **state)
{
    struct fixture *f = *state;
    fixture_put(f, NULL, "old", "v");
    struct object_condition conditions[] = {{bytes_of_text("old"), 1}, {bytes_of_text("new"), 0}};
    struct object_operation operations[] = {putting("new", "n"), deleting("old"),
                                            deleting("never")};
    struct request txn = txn_of(conditions, 2, operations, 3);
    assert_code(fixture_run(f, &txn), 0, &f->error);
    assert_int_equal(operations[0].clock, 2);
    assert_int_equal(operations[1].clock, 3);
    assert_int_equal(operations[2].clock, 0);
    assert_int_equal(txn.clock, 3);
    assert_object(f, "new", "n 2 2 ");
    assert_object(f, "old", "none");
}

static void operations_on_one_key_follow_each_other(void **state)
{
    struct fixture *f = *state;
    struct object_operation operations[] = {putting("k", "1"), putting("k", "2"), deleting("k"),
                                            deleting("k"), putting("k", "3")};
    struct request txn = txn_of(NULL, 0, operations, 5);
    assert_int_equal(fixture_run(f, &txn), 0);
    assert_told(f, 1, "C k 0 1");
    assert_told(f, 2, "U k 1 2");
    assert_told(f, 3, "D k 2 ");
    assert_int_equal(operations[3].clock, 0);
    assert_told(f, 4, "C k 0 3");
    assert_object(f, "k", "3 4 4 ");
}

static void a_condition_that_does_not_hold_stops_all(void **state)
{
    struct fixture *f = *state;
    fixture_put(f, NULL, "k 1", "v");
    struct object_condition conditions[] = {{bytes_of_text("absent"), 0},
                                            {bytes_of_text("k 1"), 9}};
    struct object_operation operations[] = {putting("x", "1")};
    struct request txn = txn_of(conditions, 2, operations, 1);
    fixture_refuse(f, &txn, LS_ECONFLICT);
    assert_int_equal(f->error.number, 1);
    assert_string_equal(f->error.text, "k\\x201 modified=1");
    conditions[1].modified = 1;
    conditions[0].modified = 3;
    fixture_refuse(f, &txn, LS_ECONFLICT);
    assert_string_equal(f->error.text, "absent modified=0");
}

static void a_transaction_with_a_bad_key_changes_nothing(void **state)
{
    struct fixture *f = *state;
    char longer[481];
    memset(longer, 'k', sizeof longer);
    struct object_operation operations[] = {putting("x", "1"), putting("", "2")};
    struct request txn = txn_of(NULL, 0, operations, 2);
    fixture_refuse(f, &txn, LS_EKEY);
    operations[1].key = bytes_of(longer, sizeof longer);
    fixture_refuse(f, &txn, LS_ETOOBIG);
    struct object_condition condition = {bytes_of_text(""), 0};
    txn = txn_of(&condition, 1, operations, 1);
    fixture_refuse(f, &txn, LS_EKEY);
}

static void a_transaction_without_operations_only_asks(void **state)
{
    struct fixture *f = *state;
    fixture_put(f, NULL, "k", "v");
    struct object_condition condition = {bytes_of_text("k"), 1};
    struct request txn = txn_of(&condition, 1, NULL, 0);
    assert_int_equal(fixture_run(f, &txn), 0);
    assert_int_equal(txn.clock, 0);
    condition.modified = 2;
    fixture_refuse(f, &txn, LS_ECONFLICT);
    assert_int_equal(coordinator_clock(f->coordinator), 1);
}

/* ---- scans ---- */

static void assert_scan(struct fixture *f, const char *prefix, const char *after,
                        const char *expected)
{
    struct reading reading;
    struct object_cursor cursor;
    struct object object;
    ls_bytes key;
    struct buf text = {0};
    assert_int_equal(reading_begin(&reading, f->store, &f->error), 0);
    assert_code(
        objects_open(&cursor, &reading, bytes_of_text(prefix), bytes_of_text(after), &f->error), 0,
        &f->error);
    while (objects_next(&cursor, &key, &object, &f->error) > 0) {
        assert_int_equal(buf_append(&text, key.data, key.size), 0);
        assert_int_equal(buf_append_byte(&text, ' '), 0);
    }
    objects_end(&cursor);
    reading_end(&reading);
    assert_int_equal(buf_append_byte(&text, 0), 0);
    assert_string_equal((const char *)text.data, expected);
    buf_free(&text);
}

static void a_scan_gives_what_has_the_prefix_in_order(void **state)
{
    struct fixture *f = *state;
    static const char *const keys[] = {"b", "a/2", "a/1", "a", "a/10", "\xff", "\xff\xff"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        fixture_put(f, NULL, keys[i], "v");
    }
    assert_scan(f, "", "", "a a/1 a/10 a/2 b \xff \xff\xff ");
    assert_scan(f, "a/", "", "a/1 a/10 a/2 ");
    assert_scan(f, "a/1", "", "a/1 a/10 ");
    assert_scan(f, "c", "", "");
    assert_scan(f, "\xff", "", "\xff \xff\xff ");
    assert_scan(f, "", "a/10", "a/2 b \xff \xff\xff ");
    assert_scan(f, "a/", "a/1", "a/10 a/2 ");
    assert_scan(f, "a/", "A", "a/1 a/10 a/2 ");
    assert_scan(f, "a/", "b", "");
    assert_scan(f, "", "\xff\xff", "");
}

#define sound(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        sound(an_object_is_created_updated_and_deleted),
        sound(a_delete_of_what_is_absent_does_nothing),
        sound(keys_have_1_to_480_bytes_of_any_kind),
        sound(a_put_holds_to_its_conditions),
        sound(a_delete_holds_to_its_condition),
        sound(a_life_that_is_over_changes_no_object),
        sound(an_owned_object_needs_a_joined_node),
        sound(an_owner_may_change_and_go),
        sound(a_transaction_makes_an_object_nobodys),
        sound(a_node_may_own_many),
        sound(a_transaction_changes_all_that_it_names),
        sound(operations_on_one_key_follow_each_other),
        sound(a_condition_that_does_not_hold_stops_all),
        sound(a_transaction_with_a_bad_key_changes_nothing),
        sound(a_transaction_without_operations_only_asks),
        sound(a_scan_gives_what_has_the_prefix_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
