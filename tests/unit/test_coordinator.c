/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The coordinator's transaction: opening, the clock and its end, epochs, batches that abort, and
 * stores that another wrote to, or damaged.
 */
#include "coordinator/coordinator.h"

#include <stdlib.h>

#include "codec/clock.h"
#include "coordinator/layout.h"
#include "fixture.h"

static struct request next_of(uint64_t count)
{
    return (struct request){.kind = REQUEST_CLOCK_NEXT, .in.clock_next.count = count};
}

static struct request witness_of(uint64_t seen)
{
    return (struct request){.kind = REQUEST_CLOCK_WITNESS, .in.clock_witness.seen = seen};
}

/* Writes a control record as it stands, behind the coordinator's back. */
static void write_control(struct fixture *f, const char *name, const char *const *fields,
                          struct control control)
{
    struct key key;
    struct buf record = {0};
    struct store_txn *txn;
    const struct store_driver *driver = f->store->driver;
    assert_int_equal(key_control(&key, bytes_of_text(name)), 0);
    assert_int_equal(control_encode(&record, &control, fields, key_bytes(&key)), 0);
    assert_int_equal(driver->begin(f->store, STORE_WRITE, &txn, &f->error), 0);
    assert_int_equal(driver->put(txn, key_bytes(&key), buf_bytes(&record), false, &f->error), 0);
    assert_int_equal(driver->commit(txn, &f->error), 0);
    buf_free(&record);
}

/* Deletes or replaces a record behind the coordinator's back; a value of size 0 deletes. */
static void write_raw(struct fixture *f, ls_bytes key, ls_bytes value)
{
    struct store_txn *txn;
    const struct store_driver *driver = f->store->driver;
    assert_int_equal(driver->begin(f->store, STORE_WRITE, &txn, &f->error), 0);
    int rc = value.size == 0 ? driver->del(txn, key, &f->error)
                             : driver->put(txn, key, value, false, &f->error);
    assert_code(rc, 0, &f->error);
    assert_int_equal(driver->commit(txn, &f->error), 0);
}

static void reopen(struct fixture *f, int code)
{
    coordinator_close(f->coordinator);
    f->coordinator = NULL;
    assert_code(coordinator_open(&f->coordinator, f->store, &f->error), code, &f->error);
}

/* For tests that leave a store which no coordinator opens. */
static int teardown_damaged(void **state)
{
    fixture_close(*state);
    free(*state);
    return 0;
}

/* ---- opening ---- */

static void a_new_store_has_clock_0_and_an_empty_box(void **state)
{
    struct fixture *f = *state;
    struct reading reading;
    struct box_state box;
    assert_int_equal(coordinator_clock(f->coordinator), 0);
    assert_int_equal(reading_begin(&reading, f->store, &f->error), 0);
    assert_int_equal(box_state_read(&reading, &box, &f->error), 0);
    reading_end(&reading);
    assert_int_equal(box.clock, 0);
    assert_int_equal(box.oldest, 0);
    assert_int_equal(box.newest, 0);
    assert_int_equal(box.count, 0);
    assert_int_equal(box.bytes, 0);
    assert_int_equal(box.discarded, 0);
}

static void what_was_committed_is_there_when_opened_again(void **state)
{
    struct fixture *f = *state;
    struct buf before = {0}, after = {0};
    fixture_post(f, NULL, "one");
    uint64_t clock = fixture_post(f, NULL, "two");
    snapshot_read(&before, f->store);
    reopen(f, 0);
    assert_int_equal(coordinator_clock(f->coordinator), clock);
    snapshot_read(&after, f->store);
    assert_true(snapshot_equal(&before, &after));
    assert_int_equal(fixture_post(f, NULL, "three"), clock + 1);
    buf_free(&before);
    buf_free(&after);
}

static void a_newer_or_older_format_is_refused(void **state)
{
    static const uint64_t others[] = {COORDINATOR_FORMAT + 1, COORDINATOR_FORMAT - 1};
    struct fixture *f = *state;
    for (size_t i = 0; i < 2; i++) {
        write_control(f, CONTROL_FORMAT, control_format_fields, (struct control){{others[i]}});
        reopen(f, LS_EFORMAT);
        assert_int_equal(f->error.number, others[i]);
    }
}

static void a_clock_behind_the_newest_message_is_refused(void **state)
{
    struct fixture *f = *state;
    fixture_post(f, NULL, "one");
    fixture_post(f, NULL, "two");
    write_control(f, CONTROL_CLOCK, control_clock_fields, (struct control){{1}});
    reopen(f, LS_ECORRUPT);
}

static void a_box_record_of_another_newest_message_is_refused(void **state)
{
    struct fixture *f = *state;
    fixture_post(f, NULL, "one");
    fixture_post(f, NULL, "two");
    struct key key;
    key_message(&key, 2, LS_USER);
    write_raw(f, key_bytes(&key), bytes_of(NULL, 0));
    reopen(f, LS_ECORRUPT);
}

static void a_box_that_lost_all_its_messages_is_refused(void **state)
{
    struct fixture *f = *state;
    struct key key;
    fixture_post(f, NULL, "one");
    key_message(&key, 1, LS_USER);
    write_raw(f, key_bytes(&key), bytes_of(NULL, 0));
    reopen(f, LS_ECORRUPT);
}

static void a_missing_control_record_is_refused(void **state)
{
    struct fixture *f = *state;
    struct key key;
    assert_int_equal(key_control(&key, bytes_of_text(CONTROL_BOX)), 0);
    write_raw(f, key_bytes(&key), bytes_of(NULL, 0));
    reopen(f, LS_ECORRUPT);
}

static void a_control_record_with_a_flipped_bit_is_refused(void **state)
{
    struct fixture *f = *state;
    struct key key;
    struct store_txn *txn;
    ls_bytes value;
    uint8_t damaged[200];
    assert_int_equal(key_control(&key, bytes_of_text(CONTROL_CLOCK)), 0);
    assert_int_equal(f->store->driver->begin(f->store, STORE_READ, &txn, &f->error), 0);
    assert_int_equal(f->store->driver->get(txn, key_bytes(&key), &value), 0);
    size_t size = value.size;
    memcpy(damaged, value.data, size);
    f->store->driver->abort(txn);
    damaged[size - 1] ^= 1; /* the clock itself: 0 becomes 1 */
    write_raw(f, key_bytes(&key), bytes_of(damaged, size));
    reopen(f, LS_ECORRUPT);
}

static void a_writer_finds_what_another_damaged_since(void **state)
{
    struct fixture *f = *state;
    struct key key;
    fixture_post(f, NULL, "one");
    assert_int_equal(key_control(&key, bytes_of_text(CONTROL_BOX)), 0);
    write_raw(f, key_bytes(&key), bytes_of(NULL, 0));
    assert_code(coordinator_begin(f->coordinator, f->now_ns, &f->error), LS_ECORRUPT, &f->error);
}

/* ---- the clock ---- */

static void clock_values_are_consecutive_and_never_given_twice(void **state)
{
    struct fixture *f = *state;
    struct request one = next_of(1), ten = next_of(10);
    assert_int_equal(fixture_run(f, &one), 0);
    assert_int_equal(one.clock, 1);
    assert_int_equal(fixture_run(f, &ten), 0);
    assert_int_equal(ten.clock, 2);
    assert_int_equal(fixture_post(f, NULL, "after"), 12);
    reopen(f, 0);
    assert_int_equal(fixture_run(f, &one), 0);
    assert_int_equal(one.clock, 13);
}

static void the_count_of_clock_values_has_limits(void **state)
{
    struct fixture *f = *state;
    struct request none = next_of(0), most = next_of(CLOCK_NEXT_MAX);
    struct request more = next_of(CLOCK_NEXT_MAX + 1);
    fixture_refuse(f, &none, LS_EINVAL);
    fixture_refuse(f, &more, LS_EINVAL);
    assert_int_equal(fixture_run(f, &most), 0);
    assert_int_equal(most.clock, 1);
    assert_int_equal(coordinator_clock(f->coordinator), CLOCK_NEXT_MAX);
}

static void witnessing_makes_the_clock_greater_than_both(void **state)
{
    struct fixture *f = *state;
    struct request above = witness_of(100), below = witness_of(5), equal = witness_of(102);
    assert_int_equal(fixture_run(f, &above), 0);
    assert_int_equal(above.clock, 101);
    assert_int_equal(fixture_run(f, &below), 0);
    assert_int_equal(below.clock, 102);
    assert_int_equal(fixture_run(f, &equal), 0);
    assert_int_equal(equal.clock, 103);
}

static void the_clock_jumps_by_2_to_the_32_and_no_further(void **state)
{
    struct fixture *f = *state;
    fixture_post(f, NULL, "one");
    struct request far = witness_of(1 + CLOCK_JUMP_MAX), farther = witness_of(2 + CLOCK_JUMP_MAX);
    fixture_refuse(f, &farther, LS_ECLOCKJUMP);
    assert_int_equal(f->error.number, 1);
    assert_int_equal(fixture_run(f, &far), 0);
    assert_int_equal(far.clock, CLOCK_JUMP_MAX + 2);
}

static void at_its_end_the_clock_refuses_and_never_wraps(void **state)
{
    struct fixture *f = *state;
    uint8_t item[24];
    write_control(f, CONTROL_CLOCK, control_clock_fields, (struct control){{UINT64_MAX - 2}});
    struct request post = post_request(item, "x"), three = next_of(3), two = next_of(2);
    struct request last = witness_of(UINT64_MAX);
    fixture_refuse(f, &three, LS_ECLOCKJUMP);
    fixture_refuse(f, &last, LS_ECLOCKJUMP);
    assert_int_equal(fixture_run(f, &two), 0);
    assert_int_equal(two.clock, UINT64_MAX - 1);
    assert_true(coordinator_clock(f->coordinator) == UINT64_MAX);
    fixture_refuse(f, &post, LS_ECLOCKJUMP);
    post.in.post.has_clock = true;
    post.in.post.clock = 1;
    fixture_refuse(f, &post, LS_ECLOCKJUMP);
}

static void a_transaction_of_objects_past_the_end_of_the_clock_changes_nothing(void **state)
{
    struct fixture *f = *state;
    write_control(f, CONTROL_CLOCK, control_clock_fields, (struct control){{UINT64_MAX - 1}});
    struct object_operation operations[2] = {
        {.key = bytes_of("a", 1), .value = bytes_of("1", 1)},
        {.key = bytes_of("b", 1), .value = bytes_of("2", 1)},
    };
    struct request txn = {.kind = REQUEST_OBJECT_TXN,
                          .in.txn = {.operations = operations, .operation_count = 2}};
    fixture_refuse(f, &txn, LS_ECLOCKJUMP);
    txn.in.txn.operation_count = 1;
    assert_int_equal(fixture_run(f, &txn), 0);
    assert_true(txn.clock == UINT64_MAX);
}

/* ---- transactions ---- */

static void each_epoch_is_one_more(void **state)
{
    struct fixture *f = *state;
    struct request epoch = {.kind = REQUEST_EPOCH};
    for (uint64_t i = 1; i <= 3; i++) {
        assert_int_equal(fixture_run(f, &epoch), 0);
        assert_int_equal(epoch.clock, i);
        reopen(f, 0);
    }
    assert_int_equal(coordinator_clock(f->coordinator), 0);
}

static void an_unknown_kind_of_request_is_refused(void **state)
{
    struct request odd = {.kind = (enum request_kind)99};
    fixture_refuse(*state, &odd, LS_EINVAL);
}

static void requests_of_one_transaction_see_each_other(void **state)
{
    struct fixture *f = *state;
    ls_bytes key = bytes_of("k", 1);
    struct request requests[] = {
        {.kind = REQUEST_OBJECT_PUT, .in.put = {.key = key, .nx = true}},
        {.kind = REQUEST_OBJECT_PUT, .in.put = {.key = key, .nx = true}},
        {.kind = REQUEST_OBJECT_DEL, .in.del = {.key = key, .has_if = true, .modified = 1}},
        {.kind = REQUEST_OBJECT_PUT, .in.put = {.key = key, .nx = true}},
    };
    fixture_run_together(f, requests, 4);
    assert_int_equal(requests[0].status, 0);
    assert_int_equal(requests[0].clock, 1);
    assert_int_equal(requests[1].status, LS_ECONFLICT);
    assert_int_equal(requests[2].status, 0);
    assert_int_equal(requests[2].clock, 2);
    assert_int_equal(requests[3].clock, 3);
}

static void an_aborted_transaction_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct buf before = {0}, after = {0};
    uint8_t item[24];
    fixture_post(f, NULL, "one");
    snapshot_read(&before, f->store);
    struct request post = post_request(item, "two");
    post.error = &f->error;
    assert_int_equal(coordinator_begin(f->coordinator, f->now_ns, &f->error), 0);
    assert_int_equal(coordinator_apply(f->coordinator, &post), 0);
    assert_int_equal(post.clock, 2);
    coordinator_abort(f->coordinator);
    snapshot_read(&after, f->store);
    assert_true(snapshot_equal(&before, &after));
    assert_int_equal(coordinator_clock(f->coordinator), 1);
    assert_int_equal(fixture_post(f, NULL, "again"), 2);
    buf_free(&before);
    buf_free(&after);
}

static void a_transaction_that_changed_nothing_commits_nothing(void **state)
{
    struct fixture *f = *state;
    struct store_txn *txn;
    uint64_t numbers[2];
    for (size_t i = 0; i < 2; i++) {
        struct request absent = {.kind = REQUEST_OBJECT_DEL, .in.del.key = bytes_of("k", 1)};
        assert_int_equal(f->store->driver->begin(f->store, STORE_READ, &txn, &f->error), 0);
        numbers[i] = f->store->driver->number(txn);
        f->store->driver->abort(txn);
        assert_int_equal(fixture_run(f, &absent), 0);
        assert_int_equal(absent.clock, 0);
    }
    assert_int_equal(numbers[0], numbers[1]);
}

static void two_coordinators_continue_one_clock(void **state)
{
    struct fixture *f = *state;
    struct coordinator *first = f->coordinator, *second;
    assert_int_equal(coordinator_open(&second, f->store, &f->error), 0);
    for (uint64_t i = 0; i < 20; i++) {
        f->coordinator = i % 3 == 0 ? second : first;
        assert_int_equal(fixture_post(f, NULL, "x"), i + 1);
    }
    f->coordinator = first;
    coordinator_close(second);
}

static void the_message_carries_the_time_of_the_transaction(void **state)
{
    struct fixture *f = *state;
    struct reading reading;
    struct box_cursor cursor;
    struct message message;
    f->now_ns = 123456789;
    fixture_post(f, NULL, "x");
    assert_int_equal(reading_begin(&reading, f->store, &f->error), 0);
    assert_int_equal(box_open(&cursor, &reading, 0, NULL, &f->error), 0);
    assert_int_equal(box_next(&cursor, &message, &f->error), 1);
    assert_int_equal(message.timestamp_ns, 123456789);
    box_end(&cursor);
    reading_end(&reading);
}

#define sound(test)   cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
#define damaged(test) cmocka_unit_test_setup_teardown(test, fixture_setup, teardown_damaged)

int main(void)
{
    const struct CMUnitTest tests[] = {
        sound(a_new_store_has_clock_0_and_an_empty_box),
        sound(what_was_committed_is_there_when_opened_again),
        damaged(a_newer_or_older_format_is_refused),
        damaged(a_clock_behind_the_newest_message_is_refused),
        damaged(a_box_record_of_another_newest_message_is_refused),
        damaged(a_box_that_lost_all_its_messages_is_refused),
        damaged(a_missing_control_record_is_refused),
        damaged(a_control_record_with_a_flipped_bit_is_refused),
        damaged(a_writer_finds_what_another_damaged_since),
        sound(clock_values_are_consecutive_and_never_given_twice),
        sound(the_count_of_clock_values_has_limits),
        sound(witnessing_makes_the_clock_greater_than_both),
        sound(the_clock_jumps_by_2_to_the_32_and_no_further),
        sound(at_its_end_the_clock_refuses_and_never_wraps),
        sound(a_transaction_of_objects_past_the_end_of_the_clock_changes_nothing),
        sound(each_epoch_is_one_more),
        sound(an_unknown_kind_of_request_is_refused),
        sound(requests_of_one_transaction_see_each_other),
        sound(an_aborted_transaction_leaves_nothing),
        sound(a_transaction_that_changed_nothing_commits_nothing),
        sound(two_coordinators_continue_one_clock),
        sound(the_message_carries_the_time_of_the_transaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
