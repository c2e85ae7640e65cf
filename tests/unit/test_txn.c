/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions over shards, step by step: what each kind of key means, refusals and limits. */
#include "txn_world.h"

static void a_transaction_reads_what_was_written_before_it(void **state)
{
    (void)state;
    struct world w = {0};
    struct job job;
    world_open(&w, NULL, 1);
    world_put(&w, 0, "a", "1");
    job_begin(&job, LIST("a", "b"), NULL, LIST("b"), NULL);
    world_run(&w, 0, &job, 0);
    assert_value(&job.values[0], "1");
    assert_value(&job.values[1], NULL);
    uint64_t timestamp = job.request.clock;
    job_free(&job);
    world_put(&w, 0, "a", "2");
    job_begin(&job, LIST("a"), NULL, NULL, NULL);
    world_run(&w, 0, &job, 0);
    assert_value(&job.values[0], "2");
    world_commit(&w, 0, job.request.clock, NULL, NULL);
    job_free(&job);
    world_commit(&w, 0, timestamp, "b", "x");
    world_expect(&w, 0, "b", "x");
    assert_int_equal(world_counters(&w, 0).open, 0);
    world_close(&w);
}

static void a_read_waits_for_the_newest_earlier_open_write(void **state)
{
    (void)state;
    struct world w = {0};
    struct job job;
    world_open(&w, NULL, 1);
    world_put(&w, 0, "a", "0");
    uint64_t first = world_begin(&w, 0, LIST("a"));
    uint64_t second = world_begin(&w, 0, LIST("a"));
    job_begin(&job, LIST("a"), NULL, NULL, NULL);
    world_submit(&w, 0, &job);
    assert_false(job.done);
    assert_int_equal(world_counters(&w, 0).parked, 1);
    world_commit(&w, 0, second, "a", "2");
    world_work(&w, 0);
    assert_true(job.done);
    assert_value(&job.values[0], "2");
    world_commit(&w, 0, first, "a", "1");
    world_expect(&w, 0, "a", "2");
    assert_int_equal(world_counters(&w, 0).parked, 0);
    job_free(&job);
    world_close(&w);
}

static void a_write_given_up_lets_a_read_through_to_the_one_before(void **state)
{
    (void)state;
    struct world w = {0};
    struct job job;
    world_open(&w, NULL, 1);
    world_put(&w, 0, "a", "0");
    uint64_t first = world_begin(&w, 0, LIST("a"));
    uint64_t second = world_begin(&w, 0, LIST("a"));
    job_get(&job, LIST("a"));
    world_submit(&w, 0, &job);
    struct job abort;
    job_end(&abort, TXN_ABORT, second);
    world_run(&w, 0, &abort, 0);
    assert_false(job.done); /* now for the first */
    job_end(&abort, TXN_RELEASE, first);
    world_run(&w, 0, &abort, 0);
    assert_true(job.done);
    assert_value(&job.values[0], "0");
    job_free(&job);
    world_close(&w);
}

static void an_unused_may_write_is_none(void **state)
{
    (void)state;
    struct world w = {0};
    struct job begin, job;
    world_open(&w, NULL, 1);
    world_put(&w, 0, "a", "0");
    job_begin(&begin, LIST("a"), NULL, NULL, LIST("a"));
    world_run(&w, 0, &begin, 0);
    job_get(&job, LIST("a"));
    world_submit(&w, 0, &job);
    assert_false(job.done);
    world_commit(&w, 0, begin.request.clock, NULL, NULL);
    assert_true(job.done);
    assert_value(&job.values[0], "0");
    job_free(&begin);
    job_free(&job);
    world_close(&w);
}

static void a_lazy_key_is_read_when_asked_and_again(void **state)
{
    (void)state;
    struct world w = {0};
    struct job begin, job;
    world_open(&w, NULL, 1);
    uint64_t before = world_begin(&w, 0, LIST("a"));
    job_begin(&begin, NULL, LIST("a"), LIST("b"), NULL);
    world_run(&w, 0, &begin, 0);
    job_read(&job, begin.request.clock, "a");
    world_submit(&w, 0, &job);
    assert_false(job.done);
    world_commit(&w, 0, before, "a", "1");
    assert_true(job.done);
    assert_value(&job.values[0], "1");
    world_put(&w, 0, "a", "2");
    job_free(&job);
    job_read(&job, begin.request.clock, "a");
    world_run(&w, 0, &job, 0);
    assert_value(&job.values[0], "1");
    job_free(&job);
    world_commit(&w, 0, begin.request.clock, "b", "x");
    world_close(&w);
}

static void what_was_not_declared_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    struct world w = {0};
    struct job begin, job;
    world_open(&w, NULL, 1);
    job_begin(&begin, NULL, LIST("r"), LIST("w"), LIST("m"));
    world_run(&w, 0, &begin, 0);
    uint64_t timestamp = begin.request.clock;
    struct buf before = {0}, after = {0};
    snapshot_read(&before, w.store);
    job_read(&job, timestamp, "w");
    world_run(&w, 0, &job, LS_ENOLOCK);
    job_commit(&job, timestamp, LIST("w", "1", "r", "2"));
    world_run(&w, 0, &job, LS_ENOLOCK);
    job_commit(&job, timestamp, LIST("m", "1"));
    world_run(&w, 0, &job, LS_EINVAL); /* "w" is missing */
    job_commit(&job, timestamp, LIST("w", "1", "w", "2"));
    world_run(&w, 0, &job, LS_EINVAL);
    job_begin(&job, LIST("a"), LIST("a"), NULL, NULL);
    world_run(&w, 0, &job, LS_EINVAL);
    job_begin(&job, NULL, NULL, LIST("a"), LIST("a"));
    world_run(&w, 0, &job, LS_EINVAL);
    job_begin(&job, NULL, NULL, NULL, NULL);
    world_run(&w, 0, &job, LS_EINVAL);
    job_begin(&job, LIST(""), NULL, NULL, NULL);
    world_run(&w, 0, &job, LS_EKEY);
    job_end(&job, TXN_ABORT, timestamp + 1);
    world_run(&w, 0, &job, LS_EINVAL);
    snapshot_read(&after, w.store);
    assert_true(snapshot_equal(&before, &after));
    world_commit(&w, 0, timestamp, "w", "1");
    job_commit(&job, timestamp, LIST("w", "1"));
    world_run(&w, 0, &job, LS_ETXNEXPIRED);
    job_end(&job, TXN_EXPLAIN, timestamp);
    world_run(&w, 0, &job, LS_ETXNEXPIRED);
    job_end(&job, TXN_RELEASE, timestamp);
    world_run(&w, 0, &job, 0);
    buf_free(&before);
    buf_free(&after);
    world_close(&w);
}

static void a_transaction_past_its_time_is_given_up(void **state)
{
    (void)state;
    struct world w = {0};
    struct job begin, job;
    world_open(&w, NULL, 1);
    job_begin(&begin, NULL, NULL, LIST("a"), NULL);
    begin.call.ttl_ms = 100;
    world_run(&w, 0, &begin, 0);
    job_get(&job, LIST("a"));
    world_submit(&w, 0, &job);
    w.now_ms += 99;
    assert_int_equal(txn_wait_ms(w.processes[0].txn), 1);
    world_tick(&w, 0);
    assert_false(job.done);
    w.now_ms += 1;
    assert_int_equal(txn_wait_ms(w.processes[0].txn), 0);
    world_tick(&w, 0);
    assert_true(job.done);
    assert_value(&job.values[0], NULL);
    job_free(&job);
    job_commit(&job, begin.request.clock, LIST("a", "1"));
    world_run(&w, 0, &job, LS_ETXNEXPIRED);
    assert_int_equal(world_counters(&w, 0).expired, 1);
    world_close(&w);
}

static void ten_thousand_that_vanish_are_given_up_and_those_behind_go_on(void **state)
{
    enum { COUNT = 10000 };
    (void)state;
    struct world w = {0};
    struct job job;
    world_open(&w, NULL, 1);
    for (size_t i = 0; i < COUNT; i++) {
        (void)world_begin(&w, 0, LIST("a", i % 2 == 0 ? "b" : "c"));
    }
    job_get(&job, LIST("a", "b", "c"));
    world_submit(&w, 0, &job);
    assert_false(job.done);
    assert_int_equal(world_counters(&w, 0).open, COUNT);
    w.now_ms += TXN_TTL_MS_DEFAULT;
    world_tick(&w, 0);
    assert_true(job.done);
    assert_int_equal(world_counters(&w, 0).open, 0);
    assert_int_equal(world_counters(&w, 0).expired, COUNT);
    job_free(&job);
    world_close(&w);
}

static void more_open_transactions_than_allowed_are_refused(void **state)
{
    (void)state;
    struct world w = {.open_max = 2};
    struct job job;
    world_open(&w, NULL, 1);
    (void)world_begin(&w, 0, LIST("a"));
    uint64_t second = world_begin(&w, 0, LIST("a"));
    job_begin(&job, NULL, NULL, LIST("a"), NULL);
    world_run(&w, 0, &job, LS_ENOSPACE);
    assert_int_equal(job.error.number, 2);
    world_commit(&w, 0, second, "a", "1");
    (void)world_begin(&w, 0, LIST("a"));
    world_close(&w);
}

static void explain_says_who_waits_for_whom(void **state)
{
    (void)state;
    struct world w = {0};
    struct job begin, job;
    world_open(&w, NULL, 1);
    uint64_t first = world_begin(&w, 0, LIST("a"));
    w.now_ms += 10;
    job_begin(&begin, NULL, LIST("a", "b"), LIST("a"), LIST("c"));
    world_run(&w, 0, &begin, 0);
    w.now_ms += 5;
    job_end(&job, TXN_EXPLAIN, begin.request.clock);
    world_run(&w, 0, &job, 0);
    assert_int_equal(job.call.mark_count, 3);
    const struct txn_mark *marks = job.call.marks;
    assert_int_equal(marks[0].kinds, TXN_LAZY | TXN_WILL);
    assert_true(marks[0].waits);
    assert_int_equal(marks[0].waits_for, first);
    assert_int_equal(marks[0].waits_kind, TXN_WILL);
    assert_int_equal(marks[0].waits_since, 1000000 * UINT64_C(1000000));
    assert_int_equal(marks[1].kinds, TXN_LAZY);
    assert_false(marks[1].waits);
    assert_int_equal(marks[2].kinds, TXN_MAY);
    assert_memory_equal(marks[2].key.data, "c", 1);
    assert_int_equal(job.call.age_ms, 5);
    assert_int_equal(job.call.expire_ms, TXN_TTL_MS_DEFAULT - 5);
    job_free(&job);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_transaction_reads_what_was_written_before_it),
        cmocka_unit_test(a_read_waits_for_the_newest_earlier_open_write),
        cmocka_unit_test(a_write_given_up_lets_a_read_through_to_the_one_before),
        cmocka_unit_test(an_unused_may_write_is_none),
        cmocka_unit_test(a_lazy_key_is_read_when_asked_and_again),
        cmocka_unit_test(what_was_not_declared_is_refused_and_changes_nothing),
        cmocka_unit_test(a_transaction_past_its_time_is_given_up),
        cmocka_unit_test(ten_thousand_that_vanish_are_given_up_and_those_behind_go_on),
        cmocka_unit_test(more_open_transactions_than_allowed_are_refused),
        cmocka_unit_test(explain_says_who_waits_for_whom),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
