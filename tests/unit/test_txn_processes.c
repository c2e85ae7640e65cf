/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions of two processes over one store. */
#include "txn_world.h"

static void a_read_waits_for_a_write_in_another_process(void **state)
{
    (void)state;
    struct world w = {0};
    struct job job, run;
    world_open(&w, NULL, 2);
    uint64_t first = world_begin(&w, 0, LIST("a"));
    job_get(&job, LIST("a"));
    world_submit(&w, 1, &job);
    job_run(&run);
    job_op(&run, TXN_OP_INCR, "a", NULL, 1);
    world_submit(&w, 1, &run);
    assert_false(job.done);
    assert_false(run.done);
    world_commit(&w, 0, first, "a", "1");
    world_tick(&w, 1);
    assert_true(job.done);
    assert_true(run.done);
    assert_value(&job.values[0], "1");
    assert_value(&run.ops[0].result, "2");
    job_free(&job);
    job_free(&run);
    world_expect(&w, 0, "a", "2");
    world_close(&w);
}

static void a_transaction_can_be_used_from_another_process(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w, NULL, 2);
    uint64_t first = world_begin(&w, 0, LIST("a"));
    world_commit(&w, 1, first, "a", "1");
    world_expect(&w, 0, "a", "1");
    world_expect(&w, 1, "a", "1");
    assert_int_equal(world_counters(&w, 0).open, 0);
    world_close(&w);
}

static void what_a_killed_process_left_open_is_given_up_after_a_whole_ttl(void **state)
{
    (void)state;
    struct world w = {0};
    struct job job;
    world_open(&w, NULL, 2);
    uint64_t first = world_begin(&w, 0, LIST("a"));
    world_restart(&w, 0);
    w.now_ms += 100 * TXN_TTL_MS_DEFAULT; /* the observer looks only now */
    job_get(&job, LIST("a"));
    world_submit(&w, 1, &job);
    world_tick(&w, 1);
    w.now_ms += TXN_TTL_MS_DEFAULT - 1;
    world_tick(&w, 1);
    assert_false(job.done);
    w.now_ms += 1;
    world_tick(&w, 1);
    assert_true(job.done);
    job_free(&job);
    job_commit(&job, first, LIST("a", "1"));
    world_run(&w, 0, &job, LS_ETXNEXPIRED);
    world_close(&w);
}

static void a_write_past_an_open_one_ends_a_wait_elsewhere(void **state)
{
    (void)state;
    struct world w = {0};
    struct job begin, job;
    world_open(&w, NULL, 2);
    uint64_t first = world_begin(&w, 0, LIST("a"));
    job_begin(&begin, NULL, NULL, LIST("a"), NULL);
    world_run(&w, 0, &begin, 0);
    job_get(&job, LIST("a"));
    world_submit(&w, 1, &job);
    assert_false(job.done);
    world_commit(&w, 0, begin.request.clock, "a", "2");
    world_tick(&w, 1);
    assert_true(job.done); /* though the first is open */
    assert_value(&job.values[0], "2");
    job_free(&job);
    world_commit(&w, 0, first, "a", "1");
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_read_waits_for_a_write_in_another_process),
        cmocka_unit_test(a_transaction_can_be_used_from_another_process),
        cmocka_unit_test(what_a_killed_process_left_open_is_given_up_after_a_whole_ttl),
        cmocka_unit_test(a_write_past_an_open_one_ends_a_wait_elsewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
