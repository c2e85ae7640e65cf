/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that wait, when their own transaction ends. */
#include "txn_world.h"

static void a_begin_that_waits_longer_than_its_time_is_told_at_once(void **state)
{
    (void)state;
    struct world w = {0};
    struct job job;
    world_open(&w, NULL, 1);
    uint64_t first = world_begin(&w, 0, LIST("a"));
    job_begin(&job, LIST("a"), NULL, LIST("b"), NULL);
    job.call.ttl_ms = 500;
    world_submit(&w, 0, &job);
    w.now_ms += 499;
    world_tick(&w, 0);
    assert_false(job.done);
    w.now_ms += 1;
    world_tick(&w, 0);
    assert_true(job.done); /* though the first is open */
    assert_int_equal(job.request.status, LS_ETXNEXPIRED);
    assert_int_equal(world_counters(&w, 0).open, 1);
    assert_int_equal(world_counters(&w, 0).parked, 0);
    job_free(&job);
    world_commit(&w, 0, first, "a", "1");
    world_close(&w);
}

static void a_read_that_waits_ends_when_its_transaction_does(void **state)
{
    (void)state;
    struct world w = {0};
    struct job begin, reads[3], get;
    static const char *const keys[] = {"a", "b", "a"};
    world_open(&w, NULL, 1);
    uint64_t first = world_begin(&w, 0, LIST("a"));
    uint64_t second = world_begin(&w, 0, LIST("b"));
    job_begin(&begin, NULL, LIST("a", "b"), LIST("c"), NULL);
    world_run(&w, 0, &begin, 0);
    job_get(&get, LIST("a"));
    for (size_t i = 0; i < 3; i++) {
        job_read(&reads[i], begin.request.clock, keys[i]);
        world_submit(&w, 0, &reads[i]);
        assert_false(reads[i].done);
        if (i == 0) {
            world_submit(&w, 0, &get);
        }
    }
    world_commit(&w, 0, begin.request.clock, "c", "1");
    for (size_t i = 0; i < 3; i++) {
        assert_true(reads[i].done);
        assert_int_equal(reads[i].request.status, LS_ETXNEXPIRED);
        job_free(&reads[i]);
    }
    assert_false(get.done); /* which waits for the first as before */
    assert_int_equal(world_counters(&w, 0).parked, 1);
    world_commit(&w, 0, second, "b", "2");
    world_commit(&w, 0, first, "a", "1");
    assert_true(get.done);
    assert_value(&get.values[0], "1");
    job_free(&get);
    job_free(&begin);
    world_close(&w);
}

static void what_ends_in_one_batch_with_what_it_waits_for_is_woken_once(void **state)
{
    (void)state;
    struct world w = {0};
    struct job begin, read, ends[2];
    for (size_t order = 0; order < 2; order++) {
        world_open(&w, NULL, 1);
        uint64_t first = world_begin(&w, 0, LIST("a"));
        job_begin(&begin, NULL, LIST("a"), NULL, NULL);
        world_run(&w, 0, &begin, 0);
        job_read(&read, begin.request.clock, "a");
        world_submit(&w, 0, &read);
        job_end(&ends[order], TXN_ABORT, first);
        job_end(&ends[1 - order], TXN_ABORT, begin.request.clock);
        world_submit_together(&w, 0, (struct job *const[]){&ends[0], &ends[1]}, 2);
        assert_true(read.done);
        assert_int_equal(read.request.status, LS_ETXNEXPIRED);
        assert_int_equal(world_counters(&w, 0).parked, 0);
        job_free(&read);
        job_free(&begin);
        world_close(&w);
    }
}

static void a_begin_that_waits_can_be_released(void **state)
{
    (void)state;
    struct world w = {0};
    struct job begin, release;
    world_open(&w, NULL, 1);
    uint64_t first = world_begin(&w, 0, LIST("a"));
    job_begin(&begin, LIST("a"), NULL, LIST("b"), NULL);
    world_submit(&w, 0, &begin);
    assert_false(begin.done);
    job_end(&release, TXN_RELEASE, 0);
    release.call.begun = &begin.call;
    world_run(&w, 0, &release, 0);
    assert_true(begin.done);
    assert_int_equal(begin.request.status, LS_ETXNEXPIRED);
    world_expect(&w, 0, "b", NULL);
    assert_int_equal(world_counters(&w, 0).open, 1);
    assert_int_equal(world_counters(&w, 0).released, 1);
    world_run(&w, 0, &release, 0); /* it is over */
    job_free(&begin);
    job_begin(&begin, NULL, NULL, NULL, NULL);
    job_end(&release, TXN_RELEASE, 0);
    release.call.begun = &begin.call;
    world_submit_together(&w, 0, (struct job *const[]){&begin, &release}, 2);
    assert_int_equal(begin.request.status, LS_EINVAL);
    assert_code(release.request.status, 0, &release.error); /* it never was */
    world_commit(&w, 0, first, "a", "1");
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_begin_that_waits_longer_than_its_time_is_told_at_once),
        cmocka_unit_test(a_read_that_waits_ends_when_its_transaction_does),
        cmocka_unit_test(what_ends_in_one_batch_with_what_it_waits_for_is_woken_once),
        cmocka_unit_test(a_begin_that_waits_can_be_released),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
