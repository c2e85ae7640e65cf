/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches whose commits are not waited for: that nothing comes back before its commit, in order and
 * once, and what becomes of batches that are lost on their way. Over a store in memory whose driver
 * says of each commit that it is under way, and makes it, or loses it, when it is told to.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "base/error.h"
#include "sequencer_fixture.h"

#define BATCH 64 /* enough for a batch not to be waited for */

/* ---- the driver ---- */

/* What was submitted and not finished. LMDB has one write transaction at a time, so each is
 * committed as it is submitted, but nobody is told. */
static struct {
    const struct store_driver *below;
    struct store_driver driver;
    atomic_int lose;    /* so many commits to come are lost, with those behind them */
    atomic_bool hold;   /* nothing may be finished */
    atomic_int waiting; /* submitted and not finished */
    bool lost;          /* the oldest is, and all behind it */
    unsigned count;
    unsigned most;
    void (*notify)(void *context);
    void *context;
} air;

static int air_begin(struct store *store, enum store_mode mode, struct store_txn **out,
                     struct ls_error *error)
{
    assert_true(mode != STORE_WRITE || air.count == 0);
    return air.below->begin(store, mode == STORE_AHEAD ? STORE_WRITE : mode, out, error);
}

static int air_submit(struct store_txn *txn, void (*notify)(void *context), void *context,
                      struct ls_error *error)
{
    int lose = atomic_load(&air.lose);
    if (lose > 0 || air.lost) {
        atomic_store(&air.lose, lose - (lose > 0));
        air.below->abort(txn);
        air.lost = true;
    } else if (air.below->commit(txn, error) != 0) {
        return error->code;
    }
    air.count++;
    air.most = air.count > air.most ? air.count : air.most;
    air.notify = notify;
    air.context = context;
    atomic_store(&air.waiting, (int)air.count);
    if (!atomic_load(&air.hold)) {
        notify(context);
    }
    return 0;
}

static int air_finish(struct store *store, bool wait, struct ls_error *error)
{
    (void)store;
    if (air.count == 0 || (!wait && atomic_load(&air.hold))) {
        return 0;
    }
    air.count--;
    atomic_store(&air.waiting, (int)air.count);
    bool lost = air.lost;
    air.lost = air.lost && air.count > 0;
    return lost ? error_set(error, LS_EIO, 0, "lost") : 1;
}

static struct store *open_air(void)
{
    struct store *store = open_store("mem:");
    memset(&air, 0, sizeof air);
    air.below = store->driver;
    air.driver = *store->driver;
    air.driver.begin = air_begin;
    air.driver.submit = air_submit;
    air.driver.finish = air_finish;
    air.driver.earlier = NULL;
    store->driver = &air.driver;
    return store;
}

static void open_flying(struct served *s)
{
    struct ls_error error;
    open_embedded(s, open_air());
    sequencer_fly_from(s->sequencer, 0);
    assert_code(sequencer_start(s->sequencer, wake, s, &error), 0, &error);
}

static void let_go(void)
{
    atomic_store(&air.hold, false);
    air.notify(air.context);
}

static void assert_in_order(struct request *const *back, const struct job *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_ptr_equal(back[i], &jobs[i].request);
        assert_int_equal(jobs[i].request.status, 0);
        assert_int_equal(jobs[i].request.clock, i + 1);
    }
}

/* ---- tests ---- */

static void nothing_is_done_before_its_commit_is_finished(void **state)
{
    enum { COUNT = STORE_FLIGHTS_MAX * BATCH };
    (void)state;
    struct served s;
    static struct job jobs[COUNT];
    static struct request *back[COUNT];
    open_flying(&s);
    atomic_store(&air.hold, true);
    for (size_t i = 0; i < COUNT; i++) {
        job_post(&jobs[i]);
    }
    for (int i = 0; i < STORE_FLIGHTS_MAX; i++) {
        submit(&s, jobs + i * BATCH, BATCH);
        while (atomic_load(&air.waiting) <= i) {
            sched_yield();
        }
        assert_null(sequencer_take(s.sequencer));
        assert_int_equal(sequencer_clock(s.sequencer), 0);
    }
    let_go();
    take(&s, back, COUNT);
    assert_in_order(back, jobs, COUNT);
    assert_int_equal(sequencer_clock(s.sequencer), COUNT);
    assert_int_equal(air.most, STORE_FLIGHTS_MAX);
    close_all(&s);
}

static void few_requests_wait_for_the_commits_before_them(void **state)
{
    (void)state;
    struct served s;
    static struct job jobs[BATCH + 1];
    static struct request *back[BATCH + 1];
    open_flying(&s);
    atomic_store(&air.hold, true);
    for (size_t i = 0; i <= BATCH; i++) {
        job_post(&jobs[i]);
    }
    submit(&s, jobs, BATCH);
    while (atomic_load(&air.waiting) == 0) {
        sched_yield();
    }
    submit(&s, jobs + BATCH, 1);
    let_go();
    take(&s, back, BATCH + 1);
    assert_in_order(back, jobs, BATCH + 1);
    assert_int_equal(air.most, 1);
    close_all(&s);
}

static void what_changes_nothing_comes_back_behind_what_it_saw(void **state)
{
    (void)state;
    struct served s;
    static struct job jobs[2 * BATCH];
    static struct request *back[2 * BATCH];
    open_flying(&s);
    atomic_store(&air.hold, true);
    for (size_t i = 0; i < BATCH; i++) {
        job_post(&jobs[i]);
        job_set(&jobs[BATCH + i],
                (struct request){.kind = REQUEST_OBJECT_DEL, .in.del.key = bytes_of("none", 4)});
    }
    submit(&s, jobs, BATCH);
    while (atomic_load(&air.waiting) == 0) {
        sched_yield();
    }
    submit(&s, jobs + BATCH, BATCH);
    assert_null(sequencer_take(s.sequencer));
    let_go();
    take(&s, back, 2 * BATCH);
    assert_in_order(back, jobs, BATCH);
    for (size_t i = 0; i < BATCH; i++) {
        assert_ptr_equal(back[BATCH + i], &jobs[BATCH + i].request);
        assert_int_equal(jobs[BATCH + i].request.clock, 0);
    }
    close_all(&s);
}

static void what_is_lost_runs_again_in_its_order(void **state)
{
    enum { ROUNDS = 8, COUNT = ROUNDS * BATCH };
    (void)state;
    for (int lose = 1; lose <= 3; lose++) {
        struct served s;
        static struct job jobs[COUNT];
        static struct request *back[COUNT];
        struct sequencer_counters counters;
        open_flying(&s);
        atomic_store(&air.hold, true);
        for (size_t i = 0; i < COUNT; i++) {
            job_post(&jobs[i]);
        }
        atomic_store(&air.lose, lose);
        for (size_t i = 0; i < ROUNDS; i++) {
            submit(&s, jobs + i * BATCH, BATCH);
            if (i < STORE_FLIGHTS_MAX) {
                while (atomic_load(&air.waiting) <= (int)i) {
                    sched_yield();
                }
            }
        }
        let_go();
        take(&s, back, COUNT);
        assert_in_order(back, jobs, COUNT);
        sequencer_counters(s.sequencer, &counters);
        assert_true(counters.retries > 0);
        assert_int_equal(counters.requests, COUNT);
        close_all(&s);
    }
}

static void the_end_waits_for_what_is_under_way(void **state)
{
    (void)state;
    struct served s;
    static struct job jobs[BATCH];
    open_flying(&s);
    for (size_t i = 0; i < BATCH; i++) {
        job_post(&jobs[i]);
    }
    submit(&s, jobs, BATCH);
    sequencer_close(s.sequencer);
    for (size_t i = 0; i < BATCH; i++) {
        assert_int_equal(jobs[i].request.status, 0);
        assert_int_equal(jobs[i].request.clock, i + 1);
    }
    assert_sound(s.store);
    store_close(s.store);
    sem_destroy(&s.done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_done_before_its_commit_is_finished),
        cmocka_unit_test(few_requests_wait_for_the_commits_before_them),
        cmocka_unit_test(what_changes_nothing_comes_back_behind_what_it_saw),
        cmocka_unit_test(what_is_lost_runs_again_in_its_order),
        cmocka_unit_test(the_end_waits_for_what_is_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
