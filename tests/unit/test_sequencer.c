/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sequencer: served by its thread, and embedded in many; what it tells the store of runs; two
 * processes on one directory. What goes wrong is in test_sequencer_faults.c. No test waits for a
 * time to pass.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sequencer_fixture.h"

/* ---- served ---- */

static void requests_of_one_submission_keep_their_order(void **state)
{
    enum { COUNT = 500 };
    (void)state;
    struct served s;
    static struct job jobs[COUNT];
    static struct request *back[COUNT];
    open_served(&s, open_store("mem:"));
    for (size_t i = 0; i < COUNT; i++) {
        job_post(&jobs[i]);
    }
    submit(&s, jobs, 100);
    submit(&s, jobs + 100, 1);
    submit(&s, jobs + 101, COUNT - 101);
    take(&s, back, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_ptr_equal(back[i], &jobs[i].request);
        assert_int_equal(jobs[i].request.status, 0);
        assert_int_equal(jobs[i].request.clock, i + 1);
    }
    close_all(&s);
}

static void a_step_runs_one_batch_on_the_calling_thread(void **state)
{
    (void)state;
    struct served s;
    struct job jobs[3];
    open_embedded(&s, open_store("mem:"));
    assert_false(sequencer_step(s.sequencer));
    for (size_t i = 0; i < 3; i++) {
        job_post(&jobs[i]);
    }
    submit(&s, jobs, 3);
    assert_null(sequencer_take(s.sequencer));
    assert_true(sequencer_step(s.sequencer));
    struct request *done = sequencer_take(s.sequencer);
    for (size_t i = 0; i < 3; i++, done = done->next) {
        assert_ptr_equal(done, &jobs[i].request);
        assert_int_equal(done->clock, i + 1);
    }
    assert_null(done);
    assert_false(sequencer_step(s.sequencer));
    close_all(&s);
}

/* Takes what is done, and gives how many that are. */
static size_t take_done(struct sequencer *sequencer)
{
    size_t count = 0;
    for (const struct request *at = sequencer_take(sequencer); at != NULL; at = at->next) {
        assert_int_equal(at->status, 0);
        count++;
    }
    return count;
}

static void of_many_a_batch_leaves_some_for_the_next(void **state)
{
    (void)state;
    enum { MANY = 1000, FEW = 100, ALL = MANY + 2 * FEW };
    struct served s;
    struct job *jobs = calloc(ALL, sizeof *jobs);
    assert_non_null(jobs);
    for (size_t i = 0; i < ALL; i++) {
        job_post(&jobs[i]);
    }
    open_embedded(&s, open_store("mem:"));
    submit(&s, jobs, FEW);
    assert_true(sequencer_step(s.sequencer));
    assert_int_equal(take_done(s.sequencer), FEW);
    submit(&s, jobs + FEW, MANY);
    assert_true(sequencer_step(s.sequencer));
    assert_int_equal(take_done(s.sequencer), (FEW + MANY) / 2);
    submit(&s, jobs + FEW + MANY, FEW);
    assert_true(sequencer_step(s.sequencer)); /* level with the one before */
    assert_int_equal(take_done(s.sequencer), MANY - (FEW + MANY) / 2 + FEW);
    assert_false(sequencer_step(s.sequencer));
    close_all(&s);
    free(jobs);
}

enum { SUBMITTERS = 4, SUBMISSIONS = 50, SUBMISSION = 10 };

struct submitter {
    struct served *served;
    pthread_t thread;
    struct job jobs[SUBMISSIONS * SUBMISSION];
};

static void *submit_many(void *context)
{
    struct submitter *submitter = context;
    for (size_t i = 0; i < SUBMISSIONS; i++) {
        submit(submitter->served, &submitter->jobs[i * SUBMISSION], SUBMISSION);
    }
    return NULL;
}

static void everything_submitted_comes_back_exactly_once(void **state)
{
    enum { COUNT = SUBMITTERS * SUBMISSIONS * SUBMISSION };
    (void)state;
    struct served s;
    static struct submitter submitters[SUBMITTERS];
    static struct request *back[COUNT];
    static bool seen[COUNT + 1];
    open_served(&s, open_store("mem:"));
    for (size_t i = 0; i < SUBMITTERS; i++) {
        submitters[i].served = &s;
        for (size_t j = 0; j < SUBMISSIONS * SUBMISSION; j++) {
            job_post(&submitters[i].jobs[j]);
        }
        assert_int_equal(pthread_create(&submitters[i].thread, NULL, submit_many, &submitters[i]),
                         0);
    }
    take(&s, back, COUNT);
    for (size_t i = 0; i < SUBMITTERS; i++) {
        assert_int_equal(pthread_join(submitters[i].thread, NULL), 0);
        for (size_t j = 0; j + 1 < SUBMISSIONS * SUBMISSION; j++) {
            const struct job *job = &submitters[i].jobs[j];
            assert_true(job[0].request.clock < job[1].request.clock);
        }
    }
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(back[i]->status, 0);
        assert_int_equal(back[i]->clock, i + 1);
        assert_false(seen[back[i]->clock]);
        seen[back[i]->clock] = true;
    }
    struct sequencer_counters counters;
    sequencer_counters(s.sequencer, &counters);
    assert_int_equal(counters.requests, COUNT);
    assert_int_equal(counters.refused, 0);
    assert_int_equal(counters.queued, 0);
    assert_true(counters.batches <= COUNT);
    close_all(&s);
}

static void close_finishes_what_was_submitted(void **state)
{
    enum { COUNT = 2000 };
    (void)state;
    struct served s;
    static struct job jobs[COUNT];
    open_served(&s, open_store("mem:"));
    for (size_t i = 0; i < COUNT; i++) {
        job_post(&jobs[i]);
    }
    submit(&s, jobs, COUNT);
    close_all(&s);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(jobs[i].request.status, 0);
        assert_int_equal(jobs[i].request.clock, i + 1);
    }
}

static void a_sequencer_that_was_given_nothing_closes(void **state)
{
    (void)state;
    struct served s;
    open_served(&s, open_store("mem:"));
    close_all(&s);
    sequencer_close(NULL);
}

static void what_takes_steps_comes_back_once_with_the_sum(void **state)
{
    enum { COUNT = 2 * TRIM_STEP + 7 };
    (void)state;
    struct served s;
    static struct job jobs[COUNT];
    static struct request *back[COUNT];
    struct job mixed[3];
    open_served(&s, open_store("mem:"));
    for (size_t i = 0; i < COUNT; i++) {
        job_post(&jobs[i]);
    }
    submit(&s, jobs, COUNT);
    take(&s, back, COUNT);
    job_post(&mixed[0]);
    job_set(&mixed[1], (struct request){.kind = REQUEST_TRIM, .in.trim.before = UINT64_MAX});
    job_post(&mixed[2]);
    run_all(&s, mixed, 3);
    assert_int_equal(mixed[1].request.status, 0);
    assert_int_equal(mixed[1].request.number, COUNT + 1);
    assert_int_equal(mixed[2].request.clock, COUNT + 2);
    struct sequencer_counters counters;
    sequencer_counters(s.sequencer, &counters);
    assert_int_equal(counters.requests, COUNT + 3);
    /* What was sent behind the trim is there. */
    struct job none;
    job_set(&none, (struct request){.kind = REQUEST_TRIM, .in.trim.before = UINT64_MAX});
    run_all(&s, &none, 1);
    assert_int_equal(none.request.number, 1);
    close_all(&s);
}

static void in_a_hurry_what_takes_steps_is_done_after_one(void **state)
{
    enum { COUNT = TRIM_STEP + 7 };
    (void)state;
    struct served s;
    static struct job jobs[COUNT];
    static struct request *back[COUNT];
    struct job trim;
    open_served(&s, open_store("mem:"));
    for (size_t i = 0; i < COUNT; i++) {
        job_post(&jobs[i]);
    }
    submit(&s, jobs, COUNT);
    take(&s, back, COUNT);
    sequencer_hurry(s.sequencer);
    job_set(&trim, (struct request){.kind = REQUEST_TRIM, .in.trim.before = UINT64_MAX});
    run_all(&s, &trim, 1);
    assert_int_equal(trim.request.status, 0);
    assert_int_equal(trim.request.number, TRIM_STEP);
    close_all(&s);
}

static void a_batch_is_bounded_in_bytes(void **state)
{
    enum { COUNT = 40, SIZE = 1 << 20 };
    (void)state;
    struct served s;
    struct job jobs[COUNT];
    static uint8_t large[SIZE];
    open_served(&s, open_store("mem:"));
    for (size_t i = 0; i < COUNT; i++) {
        job_post(&jobs[i]);
        jobs[i].request.in.post.object = bytes_of(large, sizeof large);
    }
    run_all(&s, jobs, COUNT);
    struct sequencer_counters counters;
    sequencer_counters(s.sequencer, &counters);
    assert_int_equal(counters.requests, COUNT);
    assert_true(counters.batches >= 2);
    assert_true(counters.batch_max < COUNT);
    close_all(&s);
}

/* ---- embedded ---- */

enum { THREADS = 16, RUNS = 100 };

struct runner {
    struct served *served;
    pthread_t thread;
    struct job jobs[RUNS];
};

static void *run_many(void *context)
{
    struct runner *runner = context;
    for (size_t i = 0; i < RUNS; i++) {
        /* A request may be gone as soon as it is done: nobody else may look at it then. */
        struct job job = runner->jobs[i];
        job.request.error = &job.error;
        job.request.in.post.object.data = job.item;
        sequencer_run(runner->served->sequencer, &job.request);
        runner->jobs[i].request.status = job.request.status;
        runner->jobs[i].request.clock = job.request.clock;
        memset(&job, 0xa5, sizeof job);
    }
    return NULL;
}

static void threads_run_side_by_side_and_each_gets_its_own(void **state)
{
    (void)state;
    struct served s;
    static struct runner runners[THREADS];
    static bool seen[THREADS * RUNS + 1];
    open_embedded(&s, open_store("mem:"));
    for (size_t i = 0; i < THREADS; i++) {
        runners[i].served = &s;
        for (size_t j = 0; j < RUNS; j++) {
            job_post(&runners[i].jobs[j]);
        }
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&runners[i].thread, NULL, run_many, &runners[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        uint64_t last = 0;
        assert_int_equal(pthread_join(runners[i].thread, NULL), 0);
        for (size_t j = 0; j < RUNS; j++) {
            const struct request *r = &runners[i].jobs[j].request;
            assert_int_equal(r->status, 0);
            assert_true(r->clock > last && r->clock <= THREADS * RUNS);
            assert_false(seen[r->clock]);
            seen[r->clock] = true;
            last = r->clock;
        }
    }
    assert_int_equal(sequencer_clock(s.sequencer), THREADS * RUNS);
    struct sequencer_counters counters;
    sequencer_counters(s.sequencer, &counters);
    assert_int_equal(counters.requests, THREADS * RUNS);
    assert_int_equal(counters.queued, 0);
    close_all(&s);
}

static void an_embedded_trim_returns_when_all_its_steps_are_done(void **state)
{
    enum { COUNT = TRIM_STEP + 500 };
    (void)state;
    struct served s;
    struct job job;
    open_embedded(&s, open_store("mem:"));
    for (size_t i = 0; i < COUNT; i++) {
        job_post(&job);
        assert_int_equal(sequencer_run(s.sequencer, &job.request), 0);
    }
    job_set(&job, (struct request){.kind = REQUEST_TRIM, .in.trim.before = COUNT});
    assert_int_equal(sequencer_run(s.sequencer, &job.request), 0);
    assert_int_equal(job.request.number, COUNT - 1);
    close_all(&s);
}

/* ---- what the store is told of runs ---- */

/* A driver like the one below it, which counts what it is told. */
static struct store_driver listening;
static atomic_int runs_begun, runs_ended;
static sem_t run_ended;

static void listening_run(struct store *store, bool on)
{
    (void)store;
    atomic_fetch_add(on ? &runs_begun : &runs_ended, 1);
    if (!on) {
        sem_post(&run_ended);
    }
}

static struct store *open_listening(void)
{
    struct store *store = open_store("mem:");
    listening = *store->driver;
    listening.run = listening_run;
    store->driver = &listening;
    atomic_store(&runs_begun, 0);
    atomic_store(&runs_ended, 0);
    assert_int_equal(sem_init(&run_ended, 0, 0), 0);
    return store;
}

static void a_served_run_ends_soon_after_the_last_request(void **state)
{
    (void)state;
    struct served s;
    struct job jobs[3];
    open_served(&s, open_listening());
    for (int i = 1; i <= 3; i++) {
        for (size_t j = 0; j < 3; j++) {
            job_post(&jobs[j]);
        }
        run_all(&s, jobs, 3);
        assert_int_equal(sem_wait(&run_ended), 0);
        assert_int_equal(atomic_load(&runs_begun), i);
        assert_int_equal(atomic_load(&runs_ended), i);
    }
    close_all(&s);
    assert_int_equal(atomic_load(&runs_ended), 3);
    sem_destroy(&run_ended);
}

static void closing_ends_a_run(void **state)
{
    (void)state;
    struct served s;
    struct job job;
    open_served(&s, open_listening());
    job_post(&job);
    run_all(&s, &job, 1);
    close_all(&s);
    assert_int_equal(atomic_load(&runs_begun), 1);
    assert_int_equal(atomic_load(&runs_ended), 1);
    sem_destroy(&run_ended);
}

static void a_thread_alone_begins_no_run(void **state)
{
    (void)state;
    struct served s;
    open_embedded(&s, open_listening());
    for (int i = 0; i < 50; i++) {
        struct job job;
        job_post(&job);
        assert_int_equal(sequencer_run(s.sequencer, &job.request), 0);
    }
    close_all(&s);
    assert_int_equal(atomic_load(&runs_begun), 0);
    sem_destroy(&run_ended);
}

static void threads_that_are_all_out_have_ended_their_runs(void **state)
{
    (void)state;
    struct served s;
    static struct runner runners[THREADS];
    struct sequencer_counters counters;
    open_embedded(&s, open_listening());
    for (size_t i = 0; i < THREADS; i++) {
        runners[i].served = &s;
        for (size_t j = 0; j < RUNS; j++) {
            job_post(&runners[i].jobs[j]);
        }
        assert_int_equal(pthread_create(&runners[i].thread, NULL, run_many, &runners[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(runners[i].thread, NULL), 0);
    }
    sequencer_counters(s.sequencer, &counters);
    assert_true(counters.batch_max == 1 || atomic_load(&runs_begun) > 0);
    assert_int_equal(atomic_load(&runs_begun), atomic_load(&runs_ended));
    close_all(&s);
    sem_destroy(&run_ended);
}

/* ---- two processes ---- */

enum { PROCESSES = 2, POSTS = 300 };

/* What a child does: posts, each on its own, or in lists through the sequencer's thread. */
static int child(const char *url, bool serve, uint64_t *clocks)
{
    struct served s;
    struct job jobs[10];
    struct store *store = open_store(url);
    if (serve) {
        open_served(&s, store);
    } else {
        open_embedded(&s, store);
    }
    for (size_t i = 0; i < POSTS; i += 10) {
        for (size_t j = 0; j < 10; j++) {
            job_post(&jobs[j]);
            if (!serve && sequencer_run(s.sequencer, &jobs[j].request) != 0) {
                return 1;
            }
        }
        if (serve) {
            run_all(&s, jobs, 10);
        }
        for (size_t j = 0; j < 10; j++) {
            if (jobs[j].request.status != 0) {
                return 2;
            }
            clocks[i + j] = jobs[j].request.clock;
        }
    }
    sequencer_close(s.sequencer);
    store_close(s.store);
    return 0;
}

static void two_processes_on_one_directory_make_one_order(void **state)
{
    (void)state;
    char directory[] = "/tmp/lockstep-test-XXXXXX";
    char url[64], path[64];
    pid_t pids[PROCESSES];
    bool seen[PROCESSES * POSTS + 1] = {false};
    assert_non_null(mkdtemp(directory));
    snprintf(url, sizeof url, "lmdb:%s", directory);
    uint64_t *clocks = mmap(NULL, PROCESSES * POSTS * sizeof *clocks, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(clocks != MAP_FAILED);
    for (size_t i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) {
            _exit(child(url, i == 0, clocks + i * POSTS));
        }
    }
    for (size_t i = 0; i < PROCESSES; i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    for (size_t i = 0; i < PROCESSES * POSTS; i++) {
        assert_true(clocks[i] >= 1 && clocks[i] <= PROCESSES * POSTS);
        assert_false(seen[clocks[i]]);
        seen[clocks[i]] = true;
        assert_true(i % POSTS == 0 || clocks[i] > clocks[i - 1]);
    }
    struct store *store = open_store(url);
    assert_sound(store);
    store_close(store);
    munmap(clocks, PROCESSES * POSTS * sizeof *clocks);
    static const char *const files[] = {"data.mdb", "lock.mdb", "wake"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, files[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(directory), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_processes_on_one_directory_make_one_order),
        cmocka_unit_test(requests_of_one_submission_keep_their_order),
        cmocka_unit_test(a_step_runs_one_batch_on_the_calling_thread),
        cmocka_unit_test(of_many_a_batch_leaves_some_for_the_next),
        cmocka_unit_test(everything_submitted_comes_back_exactly_once),
        cmocka_unit_test(close_finishes_what_was_submitted),
        cmocka_unit_test(a_sequencer_that_was_given_nothing_closes),
        cmocka_unit_test(what_takes_steps_comes_back_once_with_the_sum),
        cmocka_unit_test(in_a_hurry_what_takes_steps_is_done_after_one),
        cmocka_unit_test(a_batch_is_bounded_in_bytes),
        cmocka_unit_test(threads_run_side_by_side_and_each_gets_its_own),
        cmocka_unit_test(an_embedded_trim_returns_when_all_its_steps_are_done),
        cmocka_unit_test(a_served_run_ends_soon_after_the_last_request),
        cmocka_unit_test(closing_ends_a_run),
        cmocka_unit_test(a_thread_alone_begins_no_run),
        cmocka_unit_test(threads_that_are_all_out_have_ended_their_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
