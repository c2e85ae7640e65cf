/* SPDX-License-Identifier: Apache-2.0 */
/* Every call of the store and every allocation of a transaction's way, failing once. */
#include "faults.h"
#include "faulty_store.h"
#include "txn_world.h"

static void open_faulty(struct world *w)
{
    struct store *store;
    struct ls_error error;
    struct store_options options = {.create = true};
    assert_code(store_open(&store, "mem:", &options, &error), 0, &error);
    assert_code(faulty_store_wrap(&store, store), 0, &error);
    world_open(w, store, 2);
    world_put(w, 0, "b", "0");
}

/* What a call must leave: everything or nothing. */
static bool settle(const struct job *job)
{
    if (job->done && job->request.status != 0) {
        assert_true(job->error.text[0] != '\0');
        assert_int_equal(job->error.code, job->request.status);
        return false;
    }
    return job->done;
}

/* Begins in one process, waits in the other, commits. Whatever fails, what was acknowledged is
 * there, what was refused is not, and all ends. True where a fault was met. */
static bool way(struct world *w, long allocation)
{
    struct job begin, wait, run, commit, explain;
    job_begin(&begin, LIST("a", "b"), NULL, LIST("a"), LIST("b"));
    world_submit(w, 0, &begin);
    bool begun = settle(&begin);
    job_get(&wait, LIST("a", "b"));
    world_submit(w, 1, &wait);
    job_run(&run);
    job_op(&run, TXN_OP_INCR, "a", NULL, 1);
    job_op(&run, TXN_OP_PUT, "c", "x", 0);
    world_submit(w, 0, &run);
    job_end(&explain, TXN_EXPLAIN, begin.request.clock);
    world_submit(w, 0, &explain);
    (void)settle(&explain);
    job_commit(&commit, begin.request.clock, LIST("a", "7", "b", NULL));
    world_submit(w, 0, &commit);
    bool committed = settle(&commit);
    w->now_ms += 1000;
    world_submit(w, 1, &explain);
    bool met = faulty_store_failed(w->store) != NULL ||
               (allocation > 0 && faults_allocations() >= allocation);
    faults_fail_allocation(0);
    faulty_store_fail(w->store, 0, 0);
    for (size_t i = 0; i < 40; i++) { /* all time limits pass */
        w->now_ms += 1000;
        world_tick(w, i % 2);
    }
    assert_true(wait.done && run.done);
    bool waited = settle(&wait), ran = settle(&run);
    assert_true(begun || !committed);
    if (waited) {
        const struct txn_value *a = &wait.values[0];
        assert_true(value_is(a, committed ? "7" : NULL) || value_is(a, committed ? "8" : "1"));
    }
    world_expect(w, 0, "a", committed ? (ran ? "8" : "7") : ran ? "1" : NULL);
    world_expect(w, 1, "c", ran ? "x" : NULL);
    for (size_t p = 0; p < w->count; p++) {
        assert_int_equal(world_counters(w, p).open, 0);
        assert_int_equal(world_counters(w, p).parked, 0);
    }
    assert_int_equal(faulty_store_open_transactions(w->store), 0);
    assert_int_equal(faulty_store_open_cursors(w->store), 0);
    job_free(&begin);
    job_free(&wait);
    job_free(&run);
    job_free(&commit);
    job_free(&explain);
    return met;
}

static void every_store_call_may_fail(void **state)
{
    static const int codes[] = {LS_EIO, LS_ENOSPACE, LS_ERETRY};
    (void)state;
    for (size_t c = 0; c < 3; c++) {
        bool met = true;
        for (long n = 1; met; n++) {
            struct world w = {0};
            open_faulty(&w);
            faulty_store_fail(w.store, n, codes[c]);
            met = way(&w, 0);
            world_close(&w);
        }
    }
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    bool met = true;
    for (long n = 1; met; n++) {
        struct world w = {0};
        open_faulty(&w);
        faults_fail_allocation(n);
        met = way(&w, n);
        world_close(&w);
    }
}

/* Begins in the first process, where the commit fails: no other failure will do. */
static void begin_in_vain(struct world *w)
{
    struct job begin;
    for (long n = 1;; n++) {
        *w = (struct world){0};
        open_faulty(w);
        faulty_store_fail(w->store, n, LS_EIO);
        job_begin(&begin, LIST("b"), NULL, LIST("a"), NULL);
        world_submit(w, 0, &begin);
        const char *failed = faulty_store_failed(w->store);
        assert_non_null(failed);
        faulty_store_fail(w->store, 0, 0);
        job_free(&begin);
        if (strcmp(failed, "commit") == 0) {
            return;
        }
        world_close(w);
    }
}

static void a_transaction_is_not_as_old_as_one_in_vain_with_its_timestamp(void **state)
{
    (void)state;
    struct world w;
    struct job job;
    begin_in_vain(&w);
    w.now_ms += TXN_TTL_MS_DEFAULT - 10;
    uint64_t timestamp = world_begin(&w, 1, LIST("a"));
    w.now_ms += 20;
    world_tick(&w, 0);
    job_commit(&job, timestamp, LIST("a", "1"));
    world_run(&w, 1, &job, 0);
    job_free(&job);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_store_call_may_fail),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(a_transaction_is_not_as_old_as_one_in_vain_with_its_timestamp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
