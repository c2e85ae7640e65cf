/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random requests in random batches, against the model: results equal after each batch, and every
 * byte of the store. Also with every call of the store and every allocation failing in turn.
 */
#include <semaphore.h>
#include <stdlib.h>

#include "arbitrary.h"
#include "coordinator/layout.h"
#include "faults.h"
#include "faulty_store.h"
#include "fixture.h"
#include "sequencer/sequencer.h"

#define BATCH_MAX 64

/* The store under test with its model. */
struct world {
    struct store *store;
    struct model *model;
    struct coordinator *coordinator; /* one of the two */
    struct sequencer *sequencer;
    uint64_t seed;
    uint64_t random;
    uint64_t now_ns;
    sem_t done;
    struct buf expected;
    struct buf found;
    struct arbitrary batch[BATCH_MAX];
    struct arbitrary model_batch[BATCH_MAX];
    size_t count;
};

static uint64_t world_now(void *context)
{
    return ((struct world *)context)->now_ns;
}

static void world_done(void *context)
{
    sem_post(&((struct world *)context)->done);
}

/* Puts the clock of an empty store, and of the model, where it would be after a long time. */
static void world_set_clock(struct world *w, uint64_t clock)
{
    struct key key;
    struct buf record = {0};
    struct store_txn *txn;
    struct ls_error error;
    struct control control = {{clock}};
    const struct store_driver *driver = w->store->driver;
    assert_int_equal(key_control(&key, bytes_of_text(CONTROL_CLOCK)), 0);
    assert_int_equal(control_encode(&record, &control, control_clock_fields, key_bytes(&key)), 0);
    assert_code(driver->begin(w->store, STORE_WRITE, &txn, &error), 0, &error);
    assert_code(driver->put(txn, key_bytes(&key), buf_bytes(&record), false, &error), 0, &error);
    assert_code(driver->commit(txn, &error), 0, &error);
    buf_free(&record);
    w->model->clock = clock;
}

static struct world *world_open(uint64_t seed, uint64_t clock)
{
    struct ls_error error;
    struct coordinator *coordinator;
    struct store_options options = {.create = true};
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->seed = w->random = seed;
    w->now_ns = 1000000000000;
    w->model = model_new();
    assert_int_equal(sem_init(&w->done, 0, 0), 0);
    assert_code(store_open(&w->store, "mem:", &options, &error), 0, &error);
    assert_code(coordinator_open(&coordinator, w->store, &error), 0, &error);
    coordinator_close(coordinator);
    if (clock != 0) {
        world_set_clock(w, clock);
    }
    return w;
}

static void world_coordinate(struct world *w)
{
    struct ls_error error;
    assert_code(coordinator_open(&w->coordinator, w->store, &error), 0, &error);
}

static void world_sequence(struct world *w)
{
    struct ls_error error;
    assert_code(sequencer_open(&w->sequencer, w->store, &error), 0, &error);
    sequencer_set_time(w->sequencer, world_now, w);
}

static void world_close(struct world *w)
{
    sequencer_close(w->sequencer);
    coordinator_close(w->coordinator);
    store_close(w->store);
    model_free(w->model);
    buf_free(&w->expected);
    buf_free(&w->found);
    sem_destroy(&w->done);
    free(w);
}

static void world_fail(const struct world *w, size_t i, const char *what)
{
    print_error("%s; seed %llu, request %zu of %zu\n", what, (unsigned long long)w->seed, i,
                w->count);
    for (size_t j = 0; j <= i && j < w->count; j++) {
        arbitrary_print(&w->batch[j]);
        arbitrary_print(&w->model_batch[j]);
    }
    fail();
}

static void world_make_batch(struct world *w, size_t count)
{
    w->now_ns += random_below(&w->random, 3000000);
    w->count = count;
    for (size_t i = 0; i < count; i++) {
        arbitrary_make(&w->batch[i], &w->random, w->model, w->now_ns);
        arbitrary_copy(&w->model_batch[i], &w->batch[i]);
    }
}

/* Whether the code has a number that those who asked rely on. */
static bool has_number(int code)
{
    return code == LS_ECONFLICT || code == LS_ESEQGAP || code == LS_EDUPLICATE || code == LS_EINUSE;
}

static bool same_result(const struct arbitrary *a, const struct arbitrary *b)
{
    const struct request *x = &a->request, *y = &b->request;
    if (x->status != y->status || x->again) {
        return false;
    }
    if (x->status < 0) {
        return x->error->code == x->status && x->error->text[0] != '\0' &&
               (!has_number(x->status) || x->error->number == y->error->number);
    }
    for (size_t i = 0; x->kind == REQUEST_OBJECT_TXN && i < x->in.txn.operation_count; i++) {
        if (a->operations[i].clock != b->operations[i].clock) {
            return false;
        }
    }
    return x->clock == y->clock && x->number == y->number;
}

static void world_compare_stores(struct world *w)
{
    snapshot_read(&w->found, w->store);
    model_snapshot(w->model, &w->expected);
    if (!snapshot_equal(&w->found, &w->expected)) {
        world_fail(w, w->count, "the store is not what the model is");
    }
}

/* Runs the batch on the model, but for what failed with `injected`, and compares everything. */
static void world_compare(struct world *w, int injected)
{
    for (size_t i = 0; i < w->count; i++) {
        if (injected == 0 || w->batch[i].request.status != injected) {
            model_apply(w->model, &w->model_batch[i].request, w->now_ns);
        }
    }
    for (size_t i = 0; i < w->count; i++) {
        while (w->model_batch[i].request.again) {
            model_apply(w->model, &w->model_batch[i].request, w->now_ns);
        }
        if ((injected == 0 || w->batch[i].request.status != injected) &&
            !same_result(&w->batch[i], &w->model_batch[i])) {
            world_fail(w, i, "a result is not what the model says");
        }
    }
    world_compare_stores(w);
}

/* One transaction: false where a request broke it. */
static bool run_transaction(struct world *w, bool commit)
{
    struct ls_error error;
    bool whole = true;
    assert_code(coordinator_begin(w->coordinator, w->now_ns, &error), 0, &error);
    for (size_t i = 0; i < w->count && whole; i++) {
        coordinator_apply(w->coordinator, &w->batch[i].request);
        whole = !coordinator_broken(w->coordinator);
    }
    if (commit && whole) {
        assert_code(coordinator_commit(w->coordinator, &error), 0, &error);
    } else {
        coordinator_abort(w->coordinator);
    }
    return whole;
}

/* ---- one coordinator ---- */

static void transactions(uint64_t seed, size_t rounds)
{
    struct world *w = world_open(seed, 0);
    world_coordinate(w);
    for (size_t round = 0; round < rounds; round++) {
        world_make_batch(w, random_one_in(&w->random, 4) ? 40 : 3);
        if (random_one_in(&w->random, 5)) {
            /* An abort leaves nothing, and the same requests run again. */
            run_transaction(w, false);
            world_compare_stores(w);
            for (size_t i = 0; i < w->count; i++) {
                arbitrary_copy(&w->batch[i], &w->model_batch[i]);
            }
        }
        assert_true(run_transaction(w, true));
        world_compare(w, 0);
        if (random_one_in(&w->random, 20)) {
            assert_sound(w->store);
        }
    }
    world_close(w);
}

static void random_transactions_do_what_the_model_does(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        transactions(seed, 400);
    }
}

static void two_coordinators_over_one_store_see_each_other(void **state)
{
    (void)state;
    struct ls_error error;
    struct coordinator *other;
    struct world *w = world_open(77, 0);
    world_coordinate(w);
    assert_code(coordinator_open(&other, w->store, &error), 0, &error);
    for (size_t round = 0; round < 1000; round++) {
        world_make_batch(w, 3);
        assert_true(run_transaction(w, true));
        world_compare(w, 0);
        if (random_one_in(&w->random, 3)) {
            struct coordinator *first = w->coordinator;
            w->coordinator = other;
            other = first;
        }
    }
    coordinator_close(other);
    world_close(w);
}

/* ---- the sequencer ---- */

/* Submits the batch in pieces and waits until everything is back. */
static void serve(struct world *w)
{
    size_t back = 0;
    for (size_t i = 0; i + 1 < w->count; i++) {
        w->batch[i].request.next = &w->batch[i + 1].request;
    }
    sequencer_submit(w->sequencer, &w->batch[0].request, &w->batch[w->count - 1].request);
    while (back < w->count) {
        assert_int_equal(sem_wait(&w->done), 0);
        for (struct request *r = sequencer_take(w->sequencer); r != NULL; r = r->next) {
            back++;
        }
    }
    assert_int_equal(back, w->count);
}

static void served(uint64_t seed, size_t rounds, uint64_t clock)
{
    struct ls_error error;
    struct world *w = world_open(seed, clock);
    world_sequence(w);
    assert_code(sequencer_start(w->sequencer, world_done, w, &error), 0, &error);
    for (size_t round = 0; round < rounds; round++) {
        world_make_batch(w, 1 + random_below(&w->random, 40));
        serve(w);
        world_compare(w, 0);
    }
    assert_sound(w->store);
    world_close(w);
}

static void a_served_sequencer_does_what_the_model_does(void **state)
{
    (void)state;
    for (uint64_t seed = 101; seed <= 104; seed++) {
        served(seed, 150, 0);
    }
}

static void at_the_end_of_the_clock_only_what_needs_none_goes_on(void **state)
{
    (void)state;
    for (uint64_t seed = 201; seed <= 210; seed++) {
        served(seed, 60, UINT64_MAX - 100 * (seed - 200));
    }
}

static void run_embedded(struct world *w)
{
    for (size_t i = 0; i < w->count; i++) {
        sequencer_run(w->sequencer, &w->batch[i].request);
    }
}

static void an_embedded_sequencer_does_what_the_model_does(void **state)
{
    (void)state;
    struct world *w = world_open(301, 0);
    world_sequence(w);
    for (size_t round = 0; round < 600; round++) {
        world_make_batch(w, 1 + random_below(&w->random, 3));
        run_embedded(w);
        world_compare(w, 0);
    }
    world_close(w);
}

/* ---- faults ---- */

static struct world *faulty_world(uint64_t seed)
{
    struct world *w = world_open(seed, 0);
    assert_int_equal(faulty_store_wrap(&w->store, w->store), 0);
    return w;
}

/* Some state to fail on. */
static void fill(struct world *w)
{
    for (size_t round = 0; round < 30; round++) {
        world_make_batch(w, 10);
        run_embedded(w);
        world_compare(w, 0);
    }
}

/* Runs the one request of the batch, from the start, until no more calls are left to fail. */
static void fail_each_call(struct world *w, int code)
{
    for (long n = 1;; n++) {
        arbitrary_copy(&w->batch[0], &w->model_batch[0]);
        faulty_store_fail(w->store, n, code);
        int status = sequencer_run(w->sequencer, &w->batch[0].request);
        const char *failed = faulty_store_failed(w->store);
        faulty_store_fail(w->store, 0, 0);
        assert_int_equal(faulty_store_open_transactions(w->store), 0);
        assert_int_equal(faulty_store_open_cursors(w->store), 0);
        if (failed == NULL) {
            return;
        }
        if (status != code) {
            print_error("%s failed\n", failed);
            world_fail(w, 0, "the failure of a call was not told");
        }
        world_compare_stores(w);
    }
}

static void each_call_of_the_store_may_fail(void **state)
{
    (void)state;
    struct world *w = faulty_world(401);
    world_sequence(w);
    fill(w);
    for (size_t round = 0; round < 1000; round++) {
        world_make_batch(w, 1);
        fail_each_call(w, random_one_in(&w->random, 2) ? LS_EIO : LS_ENOSPACE);
        world_compare(w, 0);
    }
    assert_sound(w->store);
    world_close(w);
}

static void each_call_may_lose_a_race(void **state)
{
    (void)state;
    struct world *w = faulty_world(501);
    world_sequence(w);
    fill(w);
    for (size_t round = 0; round < 2000; round++) {
        /* Which of the calls it is comes out of what the last request needed. */
        world_make_batch(w, 1);
        faulty_store_fail(w->store, 1 + (long)random_below(&w->random, 16), LS_ERETRY);
        run_embedded(w);
        const char *failed = faulty_store_failed(w->store);
        faulty_store_fail(w->store, 0, 0);
        /* Only what puts, or commits, can have lost a race; a driver tells of it nowhere else. */
        bool refused = w->batch[0].request.status == LS_ERETRY;
        if (refused && failed != NULL && strcmp(failed, "commit") == 0) {
            world_fail(w, 0, "a lost race was not run again");
        }
        world_compare(w, LS_ERETRY);
    }
    world_close(w);
}

static void one_failure_in_a_batch_fails_one_request(void **state)
{
    (void)state;
    struct ls_error error;
    struct world *w = faulty_world(601);
    world_sequence(w);
    assert_code(sequencer_start(w->sequencer, world_done, w, &error), 0, &error);
    size_t failures = 0;
    for (size_t round = 0; round < 600; round++) {
        size_t failed = 0;
        world_make_batch(w, 2 + random_below(&w->random, 20));
        faulty_store_fail(w->store, 1 + (long)random_below(&w->random, 200), LS_EIO);
        serve(w);
        faulty_store_fail(w->store, 0, 0);
        for (size_t i = 0; i < w->count; i++) {
            failed += w->batch[i].request.status == LS_EIO;
        }
        if (failed > 1) {
            world_fail(w, w->count - 1, "one failure failed several requests");
        }
        failures += failed;
        world_compare(w, LS_EIO);
    }
    assert_true(failures > 0);
    assert_sound(w->store);
    world_close(w);
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    struct world *w = world_open(701, 0);
    for (size_t round = 0; round < 600; round++) {
        struct ls_error error;
        world_make_batch(w, 1);
        for (long n = 1;; n++) {
            arbitrary_copy(&w->batch[0], &w->model_batch[0]);
            faults_fail_allocation(n);
            int status = sequencer_open(&w->sequencer, w->store, &error);
            if (status == 0) {
                sequencer_set_time(w->sequencer, world_now, w);
                status = sequencer_run(w->sequencer, &w->batch[0].request);
                sequencer_close(w->sequencer);
            }
            bool met = faults_allocations() >= n;
            faults_fail_allocation(0);
            w->sequencer = NULL;
            if (!met) {
                break;
            }
            assert_code(status, LS_ENOMEM, w->batch[0].request.error);
            if (round > 0) {
                world_compare_stores(w);
            }
        }
        world_compare(w, 0);
    }
    assert_sound(w->store);
    world_close(w);
}

static void one_failed_allocation_in_a_batch_fails_one_request(void **state)
{
    (void)state;
    struct world *w = world_open(801, 0);
    size_t failures = 0;
    for (size_t round = 0; round < 500; round++) {
        struct ls_error error;
        /* Opened each time, so that no buffer has its size yet. */
        world_sequence(w);
        assert_code(sequencer_start(w->sequencer, world_done, w, &error), 0, &error);
        world_make_batch(w, 2 + random_below(&w->random, 3));
        faults_fail_allocation(1 + (long)random_below(&w->random, 12));
        serve(w);
        faults_fail_allocation(0);
        sequencer_close(w->sequencer);
        w->sequencer = NULL;
        size_t failed = 0;
        for (size_t i = 0; i < w->count; i++) {
            failed += w->batch[i].request.status == LS_ENOMEM;
        }
        if (failed > 1) {
            world_fail(w, w->count - 1, "one failed allocation failed several requests");
        }
        failures += failed;
        world_compare(w, LS_ENOMEM);
    }
    assert_true(failures > 0);
    assert_sound(w->store);
    world_close(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_transactions_do_what_the_model_does),
        cmocka_unit_test(two_coordinators_over_one_store_see_each_other),
        cmocka_unit_test(a_served_sequencer_does_what_the_model_does),
        cmocka_unit_test(at_the_end_of_the_clock_only_what_needs_none_goes_on),
        cmocka_unit_test(an_embedded_sequencer_does_what_the_model_does),
        cmocka_unit_test(each_call_of_the_store_may_fail),
        cmocka_unit_test(each_call_may_lose_a_race),
        cmocka_unit_test(one_failure_in_a_batch_fails_one_request),
        cmocka_unit_test(each_allocation_may_fail),
        cmocka_unit_test(one_failed_allocation_in_a_batch_fails_one_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
