/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transactions called from threads: embedded, where those who wait look now and then for
 * themselves, in two processes' sequencers over one store; and served, up to its end.
 */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#include "txn_world.h"

enum { ACCOUNTS = 3, THREADS = 6, TRANSFERS = 300, MONEY = 100 };

static const char *const accounts[ACCOUNTS] = {"a", "b", "c"};

static void prepare(struct job *job)
{
    job->request.error = &job->error;
    txn_request(&job->request, &job->call);
}

static int run(struct sequencer *sequencer, struct job *job)
{
    prepare(job);
    return sequencer_run(sequencer, &job->request);
}

static long number(const struct txn_value *value)
{
    char text[VALUE_TEXT_SIZE];
    return txn_value_text(text, value) ? strtol(text, NULL, 10) : 0;
}

struct teller {
    pthread_t thread;
    struct sequencer *sequencer;
    unsigned seed;
    long bad; /* totals that were not right, and calls that failed */
};

/* Moves money in two calls, with all that comes in between. */
static void transfer(struct teller *teller, const char *from, const char *to, long amount)
{
    struct job begin, commit;
    char left[VALUE_TEXT_SIZE], right[VALUE_TEXT_SIZE];
    job_begin(&begin, LIST(from, to), NULL, LIST(from, to), NULL);
    if (run(teller->sequencer, &begin) != 0) {
        teller->bad++;
    } else {
        sched_yield(); /* so that others come to wait */
        (void)snprintf(left, sizeof(left), "%ld", number(&begin.values[0]) - amount);
        (void)snprintf(right, sizeof(right), "%ld", number(&begin.values[1]) + amount);
        job_commit(&commit, begin.request.clock, LIST(from, left, to, right));
        teller->bad += run(teller->sequencer, &commit) != 0;
        job_free(&commit);
    }
    job_free(&begin);
}

static void look(struct teller *teller)
{
    struct job get;
    long total = 0;
    job_get(&get, LIST("a", "b", "c"));
    teller->bad += run(teller->sequencer, &get) != 0;
    for (size_t i = 0; i < ACCOUNTS; i++) {
        total += number(&get.values[i]);
    }
    teller->bad += total != ACCOUNTS * MONEY;
    job_free(&get);
}

static void run_transfer(struct teller *teller, const char *from, const char *to, long amount)
{
    struct job job;
    job_run(&job);
    job_op(&job, TXN_OP_INCR, from, NULL, -amount);
    job_op(&job, TXN_OP_INCR, to, NULL, amount);
    teller->bad += run(teller->sequencer, &job) != 0;
    job_free(&job);
}

static void *tell(void *context)
{
    struct teller *teller = context;
    for (size_t i = 0; i < TRANSFERS; i++) {
        teller->seed = teller->seed * 1103515245 + 12345;
        unsigned from = (teller->seed >> 16) % ACCOUNTS;
        unsigned to = (from + 1 + (teller->seed >> 20) % (ACCOUNTS - 1)) % ACCOUNTS;
        long amount = (long)(teller->seed >> 24) % 10;
        if (i % 3 == 0) {
            transfer(teller, accounts[from], accounts[to], amount);
        } else if (i % 3 == 1) {
            run_transfer(teller, accounts[from], accounts[to], amount);
        } else {
            look(teller);
        }
    }
    return NULL;
}

static void threads_of_two_processes_keep_the_money_of_a_bank(void **state)
{
    (void)state;
    struct ls_error error;
    struct store *store;
    struct store_options options = {.create = true};
    struct sequencer *sequencers[2];
    struct txn *txns[2];
    struct txn_options settings = {.shards = 4, .ttl_ms = 600000, .history_age_ms = 10};
    struct teller tellers[THREADS] = {{0}};
    assert_code(store_open(&store, "mem:", &options, &error), 0, &error);
    for (size_t i = 0; i < 2; i++) {
        assert_code(sequencer_open(&sequencers[i], store, &error), 0, &error);
        assert_code(txn_open(&txns[i], sequencers[i], &settings, &error), 0, &error);
    }
    for (size_t i = 0; i < ACCOUNTS; i++) {
        struct job job;
        job_run(&job);
        job_op(&job, TXN_OP_INCR, accounts[i], NULL, MONEY);
        assert_int_equal(run(sequencers[0], &job), 0);
        job_free(&job);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        tellers[i] = (struct teller){.sequencer = sequencers[i % 2], .seed = i};
        assert_int_equal(pthread_create(&tellers[i].thread, NULL, tell, &tellers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(tellers[i].thread, NULL), 0);
        assert_int_equal(tellers[i].bad, 0);
    }
    struct teller last = {.sequencer = sequencers[1]};
    look(&last);
    assert_int_equal(last.bad, 0);
    for (size_t i = 0; i < 2; i++) {
        sequencer_close(sequencers[i]);
        txn_close(txns[i]);
    }
    assert_sound(store);
    store_close(store);
}

struct reader {
    pthread_t thread;
    struct sequencer *sequencer;
    struct job get;
};

static void *read_one(void *context)
{
    struct reader *reader = context;
    job_get(&reader->get, LIST("a"));
    (void)run(reader->sequencer, &reader->get);
    return NULL;
}

static void an_embedded_wait_ends_when_another_process_commits(void **state)
{
    (void)state;
    struct world w = {0};
    struct reader reader;
    world_open(&w, NULL, 2);
    uint64_t timestamp = world_begin(&w, 0, LIST("a"));
    reader.sequencer = w.processes[1].sequencer;
    assert_int_equal(pthread_create(&reader.thread, NULL, read_one, &reader), 0);
    while (world_counters(&w, 1).parked == 0) {
        sched_yield();
    }
    world_commit(&w, 0, timestamp, "a", "1");
    assert_int_equal(pthread_join(reader.thread, NULL), 0);
    assert_int_equal(reader.get.request.status, 0);
    assert_value(&reader.get.values[0], "1");
    job_free(&reader.get);
    world_close(&w);
}

/* An embedded thread waits for nobody but the time. */
static void an_embedded_wait_ends_when_the_time_of_the_other_is_over(void **state)
{
    (void)state;
    struct world w = {0};
    struct job begin, get;
    world_open(&w, NULL, 1);
    w.now_ms = 0; /* each look at it is a millisecond later */
    w.running = true;
    job_begin(&begin, NULL, NULL, LIST("a"), NULL);
    begin.call.ttl_ms = 50;
    assert_int_equal(run(w.processes[0].sequencer, &begin), 0);
    job_get(&get, LIST("a"));
    assert_int_equal(run(w.processes[0].sequencer, &get), 0);
    assert_value(&get.values[0], NULL);
    job_free(&begin);
    job_free(&get);
    world_close(&w);
}

/* ---- served ---- */

static void post(void *context)
{
    sem_post(context);
}

static void at_the_end_of_the_sequencer_what_waits_fails(void **state)
{
    (void)state;
    struct ls_error error;
    struct store *store;
    struct store_options options = {.create = true};
    struct sequencer *sequencer;
    struct txn *txn;
    struct txn_options settings = {0};
    struct job begin, get;
    sem_t done;
    assert_int_equal(sem_init(&done, 0, 0), 0);
    assert_code(store_open(&store, "mem:", &options, &error), 0, &error);
    assert_code(sequencer_open(&sequencer, store, &error), 0, &error);
    assert_code(txn_open(&txn, sequencer, &settings, &error), 0, &error);
    assert_code(sequencer_start(sequencer, post, &done, &error), 0, &error);
    job_begin(&begin, NULL, NULL, LIST("a"), NULL);
    job_get(&get, LIST("a"));
    prepare(&begin);
    prepare(&get);
    begin.request.next = &get.request;
    sequencer_submit(sequencer, &begin.request, &get.request);
    assert_int_equal(sem_wait(&done), 0);
    struct request *back = sequencer_take(sequencer);
    assert_ptr_equal(back, &begin.request);
    assert_null(back->next);
    sequencer_hurry(sequencer);
    assert_int_equal(sem_wait(&done), 0);
    assert_ptr_equal(sequencer_take(sequencer), &get.request);
    assert_int_equal(get.request.status, LS_ESHUTDOWN);
    job_free(&begin);
    job_free(&get);
    sequencer_close(sequencer);
    txn_close(txn);
    store_close(store);
    sem_destroy(&done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_of_two_processes_keep_the_money_of_a_bank),
        cmocka_unit_test(an_embedded_wait_ends_when_another_process_commits),
        cmocka_unit_test(an_embedded_wait_ends_when_the_time_of_the_other_is_over),
        cmocka_unit_test(at_the_end_of_the_sequencer_what_waits_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
