/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions in one call. */
#include "txn_world.h"

static void a_run_does_all_its_operations_in_order(void **state)
{
    (void)state;
    struct world w = {0};
    struct job job;
    world_open(&w, NULL, 1);
    world_put(&w, 0, "n", "-41");
    job_run(&job);
    job_op(&job, TXN_OP_INCR, "n", NULL, 42);
    job_op(&job, TXN_OP_CHECK, "n", "1", 0);
    job_op(&job, TXN_OP_GET, "new", NULL, 0);
    job_op(&job, TXN_OP_PUT, "new", "x", 0);
    job_op(&job, TXN_OP_GET, "new", NULL, 0);
    job_op(&job, TXN_OP_DEL, "new", NULL, 0);
    job_op(&job, TXN_OP_GET, "new", NULL, 0);
    job_op(&job, TXN_OP_INCR, "n", NULL, 9);
    world_run(&w, 0, &job, 0);
    assert_value(&job.ops[0].result, "1");
    assert_int_equal(job.ops[0].number, 1);
    assert_value(&job.ops[2].result, NULL);
    assert_value(&job.ops[4].result, "x");
    assert_value(&job.ops[6].result, NULL);
    assert_value(&job.ops[7].result, "10");
    job_free(&job);
    world_expect(&w, 0, "n", "10");
    world_expect(&w, 0, "new", NULL);
    world_close(&w);
}

static void a_run_that_is_refused_writes_nothing(void **state)
{
    (void)state;
    struct world w = {0};
    struct job job;
    static const char *const bad[] = {"", "x", "1x", " 1", "+1", "01", "-", "9223372036854775808"};
    world_open(&w, NULL, 1);
    world_put(&w, 0, "max", "9223372036854775807");
    job_run(&job);
    job_op(&job, TXN_OP_PUT, "a", "1", 0);
    job_op(&job, TXN_OP_CHECK, "max", "0", 0);
    world_run(&w, 0, &job, LS_ECONFLICT);
    assert_int_equal(job.error.number, 1);
    assert_non_null(strstr(job.error.text, "'max'"));
    job_free(&job);
    job_run(&job);
    job_op(&job, TXN_OP_PUT, "a", "1", 0);
    job_op(&job, TXN_OP_INCR, "max", NULL, 1);
    world_run(&w, 0, &job, LS_EINVAL);
    job_free(&job);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        world_put(&w, 0, "n", bad[i]);
        job_run(&job);
        job_op(&job, TXN_OP_PUT, "a", "1", 0);
        job_op(&job, TXN_OP_INCR, "n", NULL, 1);
        world_run(&w, 0, &job, LS_EINVAL);
        job_free(&job);
    }
    job_run(&job);
    world_run(&w, 0, &job, LS_EINVAL);
    world_expect(&w, 0, "a", NULL);
    world_expect(&w, 0, "max", "9223372036854775807");
    world_close(&w);
}

static void a_run_behind_an_open_write_keeps_its_place(void **state)
{
    (void)state;
    struct world w = {0};
    struct job run, get;
    world_open(&w, NULL, 1);
    uint64_t first = world_begin(&w, 0, LIST("n"));
    job_run(&run);
    job_op(&run, TXN_OP_INCR, "n", NULL, 1);
    world_submit(&w, 0, &run);
    assert_false(run.done);
    (void)world_begin(&w, 0, LIST("n")); /* later, and so of no matter to it */
    job_get(&get, LIST("n"));
    world_submit(&w, 0, &get);
    world_commit(&w, 0, first, "n", "5");
    assert_true(run.done);
    assert_int_equal(run.request.status, 0);
    assert_value(&run.ops[0].result, "6");
    assert_false(get.done);
    w.now_ms += TXN_TTL_MS_DEFAULT;
    world_tick(&w, 0);
    assert_true(get.done);
    assert_value(&get.values[0], "6");
    assert_int_equal(world_counters(&w, 0).open, 0);
    job_free(&run);
    job_free(&get);
    world_close(&w);
}

static void a_run_that_fails_after_its_wait_leaves_nothing_open(void **state)
{
    (void)state;
    struct world w = {0};
    struct job run;
    world_open(&w, NULL, 1);
    uint64_t first = world_begin(&w, 0, LIST("n"));
    job_run(&run);
    job_op(&run, TXN_OP_CHECK, "n", "4", 0);
    job_op(&run, TXN_OP_PUT, "m", "1", 0);
    world_submit(&w, 0, &run);
    assert_false(run.done);
    world_commit(&w, 0, first, "n", "5");
    assert_true(run.done);
    assert_int_equal(run.request.status, LS_ECONFLICT);
    world_expect(&w, 0, "m", NULL);
    assert_int_equal(world_counters(&w, 0).open, 0);
    job_free(&run);
    world_close(&w);
}

static void a_blind_write_waits_for_nobody_and_reads_behind_it_go_on(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w, NULL, 1);
    uint64_t first = world_begin(&w, 0, LIST("a"));
    world_put(&w, 0, "a", "2");
    world_expect(&w, 0, "a", "2");
    world_commit(&w, 0, first, "a", "1");
    world_expect(&w, 0, "a", "2");
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_does_all_its_operations_in_order),
        cmocka_unit_test(a_run_that_is_refused_writes_nothing),
        cmocka_unit_test(a_run_behind_an_open_write_keeps_its_place),
        cmocka_unit_test(a_run_that_fails_after_its_wait_leaves_nothing_open),
        cmocka_unit_test(a_blind_write_waits_for_nobody_and_reads_behind_it_go_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
