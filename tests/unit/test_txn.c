/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions over shards: each rule and each refusal, over one process and over two. */
#include <stdio.h>
#include <stdlib.h>

#include "faulty_store.h"
#include "txn_world.h"

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

/* In one batch. */
static void submit_together(struct world *w, struct job *const *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct job *job = jobs[i];
        job->request.owner = job;
        job->request.error = &job->error;
        job->request.next = i + 1 < count ? &jobs[i + 1]->request : NULL;
        txn_request(&job->request, &job->call);
    }
    sequencer_submit(w->processes[0].sequencer, &jobs[0]->request, &jobs[count - 1]->request);
    world_work(w, 0);
}

/* ---- one process ---- */

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

/* ---- calls that wait when their own transaction is over ---- */

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
        submit_together(&w, (struct job *const[]){&ends[0], &ends[1]}, 2);
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
    submit_together(&w, (struct job *const[]){&begin, &release}, 2);
    assert_int_equal(begin.request.status, LS_EINVAL);
    assert_code(release.request.status, 0, &release.error); /* it never was */
    world_commit(&w, 0, first, "a", "1");
    world_close(&w);
}

/* ---- refusals in a batch ---- */

/* The call is refused, and those that share its batch notice nothing. */
static void assert_refused_alone(struct world *w, struct job *refused, int status)
{
    struct job before, after;
    struct sequencer_counters counters;
    struct txn_counters then = world_counters(w, 0);
    job_run(&before);
    job_op(&before, TXN_OP_INCR, "before", NULL, 1);
    job_run(&after);
    job_op(&after, TXN_OP_INCR, "after", NULL, 1);
    submit_together(w, (struct job *const[]){&before, refused, &after}, 3);
    assert_true(before.done && refused->done && after.done);
    assert_code(before.request.status, 0, &before.error);
    assert_code(refused->request.status, status, &refused->error);
    assert_code(after.request.status, 0, &after.error);
    sequencer_counters(w->processes[0].sequencer, &counters);
    assert_int_equal(counters.retries, 0);
    assert_int_equal(world_counters(w, 0).rebuilt, then.rebuilt);
    assert_int_equal(world_counters(w, 0).open, then.open);
    job_free(&before);
    job_free(refused);
    job_free(&after);
}

static void a_begin_that_reads_too_much_is_refused_alone(void **state)
{
    enum { COUNT = 17, SIZE = 1000000 };
    (void)state;
    struct world w = {0};
    struct job job;
    static char value[SIZE];
    char names[COUNT][2];
    ls_bytes keys[COUNT];
    struct txn_value values[COUNT];
    world_open(&w, NULL, 1);
    for (size_t i = 0; i < COUNT; i++) {
        names[i][0] = (char)('a' + (char)i);
        names[i][1] = '\0';
        keys[i] = bytes_of_text(names[i]);
        job_run(&job);
        job_op(&job, TXN_OP_PUT, names[i], NULL, 0);
        job.ops[0].value = bytes_of(value, sizeof(value));
        world_run(&w, 0, &job, 0);
        job_free(&job);
    }
    job_begin(&job, NULL, NULL, LIST("other"), NULL);
    job.call.eager = (struct txn_keys){keys, COUNT};
    job.call.values = values;
    assert_refused_alone(&w, &job, LS_ETOOBIG);
    world_close(&w);
}

static void who_finds_no_place_to_wait_is_refused_alone(void **state)
{
    struct waiting {
        struct request request;
        struct txn_call call;
        struct txn_value value;
    };
    (void)state;
    struct world w = {0};
    struct job job;
    struct ls_error error;
    ls_bytes key = bytes_of_text("a");
    struct waiting *all = calloc(TXN_PARKED_MAX, sizeof(*all));
    assert_non_null(all);
    world_open(&w, NULL, 1);
    struct sequencer *sequencer = w.processes[0].sequencer;
    uint64_t first = world_begin(&w, 0, LIST("a"));
    for (size_t i = 0; i < TXN_PARKED_MAX; i++) {
        all[i].call =
            (struct txn_call){.kind = TXN_GET, .eager = {&key, 1}, .values = &all[i].value};
        all[i].request.error = &error;
        txn_request(&all[i].request, &all[i].call);
        sequencer_submit(sequencer, &all[i].request, &all[i].request);
    }
    world_work(&w, 0);
    assert_int_equal(world_counters(&w, 0).parked, TXN_PARKED_MAX);
    job_begin(&job, LIST("a"), NULL, LIST("b"), NULL);
    assert_refused_alone(&w, &job, LS_ENOSPACE);
    job_run(&job);
    job_op(&job, TXN_OP_INCR, "a", NULL, 1);
    assert_refused_alone(&w, &job, LS_ENOSPACE);
    assert_int_equal(world_counters(&w, 0).parked, TXN_PARKED_MAX);
    job_end(&job, TXN_ABORT, first);
    txn_request(&job.request, &job.call);
    job.request.error = &error;
    sequencer_submit(sequencer, &job.request, &job.request);
    while (sequencer_step(sequencer)) {
    }
    size_t back = 0;
    for (struct request *r = sequencer_take(sequencer); r != NULL; r = r->next) {
        assert_code(r->status, 0, r->error);
        back++;
    }
    assert_int_equal(back, TXN_PARKED_MAX + 1);
    world_close(&w);
    free(all);
}

/* ---- RUN ---- */

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

/* ---- history ---- */

static void a_get_as_of_a_timestamp_sees_what_was_there(void **state)
{
    (void)state;
    struct world w = {.history_age_ms = 1000};
    struct job job;
    uint64_t at[3];
    static const char *const values[] = {"0", "1", NULL};
    world_open(&w, NULL, 1);
    for (size_t i = 0; i < 3; i++) {
        job_run(&job);
        job_op(&job, values[i] != NULL ? TXN_OP_PUT : TXN_OP_DEL, "a", values[i], 0);
        world_run(&w, 0, &job, 0);
        at[i] = job.request.clock;
        job_free(&job);
    }
    for (size_t i = 0; i < 3; i++) {
        job_get(&job, LIST("a"));
        job.call.has_at = true;
        job.call.timestamp = at[i];
        world_run(&w, 0, &job, 0);
        assert_value(&job.values[0], values[i]);
        job_free(&job);
    }
    job_get(&job, LIST("a"));
    job.call.has_at = true;
    job.call.timestamp = at[2] + 1;
    world_run(&w, 0, &job, LS_EINVAL);
    world_close(&w);
}

static uint64_t count_versions(const struct world *w)
{
    struct store_txn *txn;
    struct ls_error error;
    uint64_t count;
    const struct store_driver *driver = w->store->driver;
    assert_int_equal(driver->begin(w->store, STORE_READ, &txn, &error), 0);
    assert_int_equal(driver->count(txn, KEY_VERSION, &count, &error), 0);
    driver->abort(txn);
    return count;
}

/* Nobody writes for so long that all versions go to the store. */
static void rest(struct world *w, size_t process)
{
    w->now_ms += 3000;
    for (size_t i = 0; i < 100 && world_counters(w, process).recent > 0; i++) {
        world_tick(w, process);
    }
    world_tick(w, process);
    assert_int_equal(world_counters(w, process).recent, 0);
    assert_int_equal(world_counters(w, process).recent_bytes, 0);
}

static void versions_out_of_reach_are_collected_in_steps(void **state)
{
    (void)state;
    struct world w = {.history_age_ms = 10000};
    struct job job;
    world_open(&w, NULL, 1);
    world_tick(&w, 0);
    for (size_t i = 0; i < 3000; i++) {
        world_put(&w, 0, "a", "x");
        world_put(&w, 0, i % 2 == 0 ? "b" : "c", "y");
    }
    world_put(&w, 0, "a", NULL);
    assert_int_equal(count_versions(&w), 0);
    assert_int_equal(world_counters(&w, 0).recent, 6001);
    rest(&w, 0);
    assert_int_equal(count_versions(&w), 6001);
    for (size_t i = 0; i < 30; i++) {
        w.now_ms += 1000;
        uint64_t were = count_versions(&w);
        world_tick(&w, 0);
        assert_true(were - count_versions(&w) <= 1100);
    }
    assert_int_equal(count_versions(&w), 2);
    world_expect(&w, 0, "a", NULL);
    world_expect(&w, 0, "b", "y");
    world_expect(&w, 0, "c", "y");
    job_get(&job, LIST("a"));
    job.call.has_at = true;
    job.call.timestamp = 1;
    world_run(&w, 0, &job, LS_ETOOOLD);
    assert_int_equal(job.error.number, world_counters(&w, 0).collected);
    world_close(&w);
}

static void what_an_open_transaction_may_read_is_not_collected(void **state)
{
    (void)state;
    struct world w = {0};
    struct job begin, job;
    world_open(&w, NULL, 1);
    world_put(&w, 0, "a", "old");
    job_begin(&begin, NULL, LIST("a"), NULL, NULL);
    world_run(&w, 0, &begin, 0);
    world_put(&w, 0, "a", "new");
    for (size_t i = 0; i < 5; i++) {
        world_tick(&w, 0);
    }
    job_read(&job, begin.request.clock, "a");
    world_run(&w, 0, &job, 0);
    assert_value(&job.values[0], "old");
    job_free(&job);
    world_commit(&w, 0, begin.request.clock, NULL, NULL);
    rest(&w, 0);
    assert_int_equal(count_versions(&w), 1);
    world_expect(&w, 0, "a", "new");
    world_close(&w);
}

/* ---- moving versions to their places ---- */

static void many_versions_of_one_key_are_moved_in_steps(void **state)
{
    enum { COUNT = 20000, STEP = 4096 };
    (void)state;
    struct world w = {.history_age_ms = 60000};
    world_open(&w, NULL, 1);
    for (size_t i = 0; i < COUNT; i++) {
        world_put(&w, 0, "a", i % 2 == 0 ? "even" : "odd");
    }
    w.now_ms += 3000;
    uint64_t merged = 0;
    for (size_t i = 0; i < 20; i++) {
        world_tick(&w, 0);
        assert_true(world_counters(&w, 0).merged - merged <= 2 * STEP);
        merged = world_counters(&w, 0).merged;
        world_expect(&w, 0, "a", "odd");
    }
    assert_int_equal(merged, COUNT);
    assert_int_equal(count_versions(&w), COUNT);
    assert_int_equal(world_counters(&w, 0).recent_bytes, 0);
    world_close(&w);
}

static void a_log_that_is_found_is_moved_by_whoever_opens_the_store(void **state)
{
    (void)state;
    struct world w = {.history_age_ms = 60000, .memory = 2000};
    world_open(&w, NULL, 2);
    world_put(&w, 0, "a", "1");
    world_restart(&w, 1);
    world_expect(&w, 1, "a", "1");
    assert_int_equal(count_versions(&w), 0); /* little: it stays where it is */
    world_put(&w, 0, "b", "2");
    world_put(&w, 0, "c", "3");
    world_put(&w, 0, "d", "4");
    world_restart(&w, 1);
    world_expect(&w, 1, "a", "1");
    assert_int_equal(count_versions(&w), 4);
    world_expect(&w, 0, "d", "4");
    assert_int_equal(world_counters(&w, 0).recent, 0);
    world_close(&w);
}

static void a_deletion_stays_while_the_log_has_what_it_hides(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w, NULL, 2);
    world_put(&w, 0, "a", "old");
    uint64_t late = world_begin(&w, 0, LIST("a"));
    world_put(&w, 0, "a", NULL);
    rest(&w, 0); /* the deletion is in its place now */
    world_commit(&w, 0, late, "a", "hidden");
    for (size_t i = 0; i < 20; i++) { /* nothing is open any more: it could be forgotten */
        w.now_ms += 100;
        world_tick(&w, i % 2);
        world_expect(&w, i % 2, "a", NULL);
    }
    rest(&w, 0);
    world_expect(&w, 0, "a", NULL);
    world_expect(&w, 1, "a", NULL);
    w.now_ms += 1000;
    world_tick(&w, 0);
    world_tick(&w, 0);
    assert_int_equal(count_versions(&w), 0);
    world_close(&w);
}

/* Puts values of 100 bytes at new keys until there is no room: gives how many. */
static size_t fill(struct world *w, size_t process, size_t from)
{
    for (size_t i = from;; i++) {
        struct job job;
        char key[32], value[101];
        (void)snprintf(key, sizeof(key), "key %zu", i * 7919 % 100000);
        memset(value, 'x', 100);
        value[100] = '\0';
        job_run(&job);
        job_op(&job, TXN_OP_PUT, key, value, 0);
        world_submit(w, process, &job);
        assert_true(job.done);
        job_free(&job);
        if (job.request.status != 0) {
            assert_code(job.request.status, LS_ENOSPACE, &job.error);
            return i;
        }
    }
}

static void a_full_store_goes_on_once_there_is_room(void **state)
{
    (void)state;
    struct world w = {.history_age_ms = 60000, .memory = 60000};
    struct store *store;
    struct ls_error error;
    struct store_options options = {.create = true, .quota = 2 << 20};
    assert_code(store_open(&store, "mem:", &options, &error), 0, &error);
    world_open(&w, store, 2);
    uint64_t open = world_begin(&w, 0, LIST("a"));
    size_t count = fill(&w, 0, 0);
    assert_true(count > 1000);
    assert_true(world_counters(&w, 0).merged > 0);
    assert_true(world_counters(&w, 0).recent_bytes < 200000);
    assert_int_equal(fill(&w, 1, count), count);
    struct job job;
    job_end(&job, TXN_ABORT, open);
    world_run(&w, 0, &job, 0);
    for (size_t i = 0; i < 10; i++) {
        w.now_ms += 1000;
        world_tick(&w, i % 2);
    }
    for (size_t i = 0; i < count; i += 97) {
        char key[32];
        (void)snprintf(key, sizeof(key), "key %zu", i * 7919 % 100000);
        const char *const keys[] = {key, NULL};
        job_get(&job, keys);
        world_run(&w, i % 2, &job, 0);
        assert_int_equal(job.values[0].value.size, 100);
        job_free(&job);
    }
    assert_code(store->driver->set_quota(store, 4 << 20, &error), 0, &error);
    assert_true(fill(&w, 1, count) > count + 1000);
    assert_code(store->driver->set_quota(store, 0, &error), 0, &error);
    rest(&w, 0);
    world_close(&w);
}

/* ---- explain ---- */

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

/* ---- two processes ---- */

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
        cmocka_unit_test(a_transaction_reads_what_was_written_before_it),
        cmocka_unit_test(a_read_waits_for_the_newest_earlier_open_write),
        cmocka_unit_test(a_write_given_up_lets_a_read_through_to_the_one_before),
        cmocka_unit_test(an_unused_may_write_is_none),
        cmocka_unit_test(a_lazy_key_is_read_when_asked_and_again),
        cmocka_unit_test(what_was_not_declared_is_refused_and_changes_nothing),
        cmocka_unit_test(a_transaction_past_its_time_is_given_up),
        cmocka_unit_test(ten_thousand_that_vanish_are_given_up_and_those_behind_go_on),
        cmocka_unit_test(more_open_transactions_than_allowed_are_refused),
        cmocka_unit_test(a_begin_that_waits_longer_than_its_time_is_told_at_once),
        cmocka_unit_test(a_read_that_waits_ends_when_its_transaction_does),
        cmocka_unit_test(what_ends_in_one_batch_with_what_it_waits_for_is_woken_once),
        cmocka_unit_test(a_begin_that_waits_can_be_released),
        cmocka_unit_test(a_begin_that_reads_too_much_is_refused_alone),
        cmocka_unit_test(who_finds_no_place_to_wait_is_refused_alone),
        cmocka_unit_test(a_run_does_all_its_operations_in_order),
        cmocka_unit_test(a_run_that_is_refused_writes_nothing),
        cmocka_unit_test(a_run_behind_an_open_write_keeps_its_place),
        cmocka_unit_test(a_run_that_fails_after_its_wait_leaves_nothing_open),
        cmocka_unit_test(a_blind_write_waits_for_nobody_and_reads_behind_it_go_on),
        cmocka_unit_test(a_get_as_of_a_timestamp_sees_what_was_there),
        cmocka_unit_test(versions_out_of_reach_are_collected_in_steps),
        cmocka_unit_test(what_an_open_transaction_may_read_is_not_collected),
        cmocka_unit_test(many_versions_of_one_key_are_moved_in_steps),
        cmocka_unit_test(a_log_that_is_found_is_moved_by_whoever_opens_the_store),
        cmocka_unit_test(a_deletion_stays_while_the_log_has_what_it_hides),
        cmocka_unit_test(a_full_store_goes_on_once_there_is_room),
        cmocka_unit_test(explain_says_who_waits_for_whom),
        cmocka_unit_test(a_read_waits_for_a_write_in_another_process),
        cmocka_unit_test(a_transaction_can_be_used_from_another_process),
        cmocka_unit_test(what_a_killed_process_left_open_is_given_up_after_a_whole_ttl),
        cmocka_unit_test(a_write_past_an_open_one_ends_a_wait_elsewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
