/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transactions in batches whose commits are not waited for, over a store in a directory: each
 * builds on those before it that are not durable yet, and where the log cannot be written, all
 * that were in flight run again, and what they had left in memory is forgotten.
 */
#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "txn_world.h"

enum { BATCH = 64, BATCHES = 4, KEYS = 3, RUNS = 600, RUN_THAT_FAILS = 400, RUNS_MAX = 12000 };

static atomic_int pwrites_fail; /* of records of the log, while they are in flight */

/* What the sequencer's thread writes, for the first commit of a round or to clear the log, is not
 * in flight. */
static _Thread_local bool is_sequencers;

ssize_t __real_pwrite64(int fd, const void *data, size_t size, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off_t offset);

ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off_t offset)
{
    int left = is_sequencers ? 0 : atomic_load(&pwrites_fail);
    if (left > 0 && atomic_compare_exchange_strong(&pwrites_fail, &left, left - 1)) {
        errno = EIO;
        return -1;
    }
    return __real_pwrite64(fd, data, size, offset);
}

/* ---- a server ---- */

struct served {
    struct store *store;
    struct sequencer *sequencer;
    struct txn *txn;
    sem_t done;
    size_t back; /* jobs so far */
};

static void on_done(void *context)
{
    is_sequencers = true;
    sem_post(&((struct served *)context)->done);
}

static void open_all(struct served *s, const char *directory, uint64_t memory)
{
    struct ls_error error;
    struct store_options options = {.create = true, .sync = true};
    struct txn_options txn = {.memory = memory};
    *s = (struct served){0};
    assert_int_equal(sem_init(&s->done, 0, 0), 0);
    assert_code(store_open(&s->store, directory, &options, &error), 0, &error);
    assert_code(sequencer_open(&s->sequencer, s->store, &error), 0, &error);
    assert_code(txn_open(&s->txn, s->sequencer, &txn, &error), 0, &error);
    sequencer_fly_from(s->sequencer, 0);
    assert_code(sequencer_start(s->sequencer, on_done, s, &error), 0, &error);
}

static void close_all(struct served *s)
{
    sequencer_close(s->sequencer);
    txn_close(s->txn);
    store_close(s->store);
    sem_destroy(&s->done);
}

/* Takes what is done; each must have succeeded. */
static void take(struct served *s)
{
    struct request *request = sequencer_take(s->sequencer);
    for (; request != NULL; request = request->next) {
        assert_code(request->status, 0, request->error);
        s->back++;
    }
}

static void wait_for(struct served *s, size_t count)
{
    while (s->back < count) {
        assert_int_equal(sem_wait(&s->done), 0);
        take(s);
    }
}

static void prepare(struct job *job)
{
    job->request.error = &job->error;
    txn_request(&job->request, &job->call);
}

static void submit(struct served *s, struct job *jobs, size_t count)
{
    for (size_t i = 0; i + 1 < count; i++) {
        jobs[i].request.next = &jobs[i + 1].request;
    }
    sequencer_submit(s->sequencer, &jobs[0].request, &jobs[count - 1].request);
}

/* Each adds one to one of the keys, and one to the total. */
static void submit_runs(struct served *s, struct job *jobs, size_t from)
{
    static const char *const keys[KEYS] = {"a", "b", "c"};
    for (size_t i = 0; i < BATCH; i++) {
        job_run(&jobs[i]);
        job_op(&jobs[i], TXN_OP_INCR, keys[(from + i) % KEYS], NULL, 1);
        job_op(&jobs[i], TXN_OP_INCR, "total", NULL, 1);
        prepare(&jobs[i]);
    }
    submit(s, jobs, BATCH);
}

static void assert_sums(struct served *s, size_t count)
{
    struct job get;
    char text[VALUE_TEXT_SIZE];
    size_t back = s->back, sum = 0;
    job_get(&get, (const char *const[]){"a", "b", "c", "total", NULL});
    prepare(&get);
    submit(s, &get, 1);
    wait_for(s, back + 1);
    for (size_t i = 0; i < KEYS; i++) {
        assert_true(txn_value_text(text, &get.values[i]));
        sum += strtoul(text, NULL, 10);
    }
    assert_int_equal(sum, count);
    assert_true(txn_value_text(text, &get.values[KEYS]));
    assert_int_equal(strtoul(text, NULL, 10), count);
    job_free(&get);
}

/* Keeps batches under way all the time, with a write failing once, and until one did: where the
 * machine is busy, it may be long before one is in flight. How many requests those were. */
static size_t submit_all(struct served *s, struct job jobs[BATCHES][BATCH])
{
    size_t batch = 0;
    for (; batch < RUNS || (atomic_load(&pwrites_fail) > 0 && batch < RUNS_MAX); batch++) {
        struct job *slot = jobs[batch % BATCHES];
        if (batch >= BATCHES) {
            wait_for(s, (batch - BATCHES + 1) * BATCH);
            for (size_t i = 0; i < BATCH; i++) {
                job_free(&slot[i]);
            }
        }
        if (batch == RUN_THAT_FAILS) {
            atomic_store(&pwrites_fail, 1);
        }
        submit_runs(s, slot, batch * BATCH);
    }
    wait_for(s, batch * BATCH);
    assert_int_equal(atomic_load(&pwrites_fail), 0);
    return batch * BATCH;
}

/* All is done, once. How often batches ran again. */
static uint64_t run_all(uint64_t memory)
{
    static struct job jobs[BATCHES][BATCH];
    char directory[] = "/tmp/lockstep-flights-XXXXXX";
    char command[sizeof directory + 16];
    struct served s;
    struct sequencer_counters counters;
    assert_non_null(mkdtemp(directory));
    open_all(&s, directory, memory);
    size_t count = submit_all(&s, jobs);
    sequencer_counters(s.sequencer, &counters);
    assert_sums(&s, count);
    close_all(&s);
    open_all(&s, directory, memory);
    assert_sums(&s, count);
    close_all(&s);
    for (size_t i = 0; i < BATCHES * BATCH; i++) {
        job_free(&jobs[i / BATCH][i % BATCH]);
    }
    snprintf(command, sizeof command, "rm -r %s", directory);
    assert_int_equal(system(command), 0);
    return counters.retries;
}

static void what_is_lost_in_flight_is_done_again_and_once(void **state)
{
    (void)state;
    assert_in_range(run_all(0), 1, 10);
}

static void versions_that_are_moved_meanwhile_are_moved_once(void **state)
{
    (void)state;
    (void)run_all(40000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_lost_in_flight_is_done_again_and_once),
        cmocka_unit_test(versions_that_are_moved_meanwhile_are_moved_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
