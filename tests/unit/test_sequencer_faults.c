/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the sequencer does where a store fails it: batches that fail as a whole, lost races, full
 * disks. That those are refused which cannot succeed, and no other.
 */
#include "base/error.h"
#include "coordinator/layout.h"
#include "faulty_store.h"
#include "sequencer_fixture.h"

/* ---- batches that fail ---- */

static void set_clock(struct store *store, uint64_t clock)
{
    struct key key;
    struct buf record = {0};
    struct store_txn *txn;
    struct ls_error error;
    struct control control = {{clock}};
    assert_int_equal(key_control(&key, bytes_of_text(CONTROL_CLOCK)), 0);
    assert_int_equal(control_encode(&record, &control, control_clock_fields, key_bytes(&key)), 0);
    assert_int_equal(store->driver->begin(store, STORE_WRITE, &txn, &error), 0);
    assert_int_equal(store->driver->put(txn, key_bytes(&key), buf_bytes(&record), false, &error),
                     0);
    assert_int_equal(store->driver->commit(txn, &error), 0);
    buf_free(&record);
}

static void one_request_that_cannot_succeed_takes_no_other_with_it(void **state)
{
    (void)state;
    struct served s;
    struct job jobs[3];
    struct object_operation operations[3] = {
        {.key = bytes_of("a", 1)}, {.key = bytes_of("b", 1)}, {.key = bytes_of("c", 1)}};
    open_served(&s, open_store("mem:"));
    /* Four values are left: the three puts find the clock at its end halfway. */
    set_clock(s.store, UINT64_MAX - 3);
    job_post(&jobs[0]);
    job_set(&jobs[1], (struct request){.kind = REQUEST_OBJECT_TXN,
                                       .in.txn = {.operations = operations, .operation_count = 3}});
    job_post(&jobs[2]);
    run_all(&s, jobs, 3);
    assert_int_equal(jobs[0].request.status, 0);
    assert_code(jobs[1].request.status, LS_ECLOCKJUMP, &jobs[1].error);
    assert_int_equal(jobs[1].error.code, LS_ECLOCKJUMP);
    assert_int_equal(jobs[2].request.status, 0);
    assert_true(jobs[2].request.clock == UINT64_MAX - 1);
    struct sequencer_counters counters;
    sequencer_counters(s.sequencer, &counters);
    assert_int_equal(counters.retries, 1);
    assert_int_equal(counters.refused, 1);
    close_all(&s);
}

static struct store *open_faulty(void)
{
    struct store *store;
    assert_int_equal(faulty_store_wrap(&store, open_store("mem:")), 0);
    return store;
}

/* Which call of the store the commit of the jobs is, found out on a store like this one. */
static long calls_of(struct served *s, struct job *jobs, size_t count)
{
    faulty_store_fail(s->store, 0, 0);
    run_all(s, jobs, count);
    return faulty_store_calls(s->store);
}

static void make_round(struct job *jobs, struct binding *as)
{
    job_post(&jobs[0]);
    job_set(&jobs[1], (struct request){.kind = REQUEST_TRIM, .in.trim.before = UINT64_MAX});
    job_post(&jobs[2]);
    jobs[2].request.as = as;
}

static void a_commit_that_lost_a_race_runs_again_with_the_same_results(void **state)
{
    (void)state;
    struct served s;
    struct binding a;
    struct job join, jobs[3];
    open_served(&s, open_faulty());
    job_set(&join, (struct request){.kind = REQUEST_NODE_JOIN,
                                    .in.join = {.host = bytes_of_text("a"), .via = 1}});
    run_all(&s, &join, 1);
    binding_set(&a, bytes_of_text("a"), join.request.in.join.id, join.request.clock);
    make_round(jobs, &a);
    calls_of(&s, jobs, 3);
    make_round(jobs, &a);
    long calls = calls_of(&s, jobs, 3);
    uint64_t clock = jobs[2].request.clock, number = jobs[1].request.number;
    make_round(jobs, &a);
    faulty_store_fail(s.store, calls, LS_ERETRY);
    run_all(&s, jobs, 3);
    assert_string_equal(faulty_store_failed(s.store), "commit");
    faulty_store_fail(s.store, 0, 0);
    assert_int_equal(jobs[0].request.clock, clock + 1);
    assert_int_equal(jobs[1].request.status, 0);
    assert_int_equal(jobs[1].request.number, number);
    assert_int_equal(jobs[2].request.clock, clock + 2);
    struct sequencer_counters counters;
    sequencer_counters(s.sequencer, &counters);
    assert_int_equal(counters.retries, 0);
    assert_int_equal(counters.refused, 0);
    close_all(&s);
}

static void a_commit_that_failed_runs_again_one_by_one(void **state)
{
    (void)state;
    struct served s;
    struct job jobs[3];
    open_served(&s, open_faulty());
    make_round(jobs, NULL);
    calls_of(&s, jobs, 3);
    make_round(jobs, NULL);
    long calls = calls_of(&s, jobs, 3);
    make_round(jobs, NULL);
    faulty_store_fail(s.store, calls, LS_EIO);
    run_all(&s, jobs, 3);
    assert_string_equal(faulty_store_failed(s.store), "commit");
    faulty_store_fail(s.store, 0, 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(jobs[i].request.status, 0);
    }
    assert_int_equal(jobs[1].request.number, 2);
    struct sequencer_counters counters;
    sequencer_counters(s.sequencer, &counters);
    assert_int_equal(counters.retries, 1);
    close_all(&s);
}

/* A driver like the one below it, whose next commit loses against a post of another writer. */
static struct store_driver racing;
static const struct store_driver *raced;
static struct coordinator *winner;

static int racing_commit(struct store_txn *txn, struct ls_error *error)
{
    struct job job;
    if (winner == NULL) {
        return raced->commit(txn, error);
    }
    struct coordinator *coordinator = winner;
    winner = NULL;
    raced->abort(txn);
    job_post(&job);
    assert_int_equal(coordinator_begin(coordinator, 1, error), 0);
    assert_int_equal(coordinator_apply(coordinator, &job.request), 0);
    assert_int_equal(coordinator_commit(coordinator, error), 0);
    return error_code(error, LS_ERETRY);
}

static void whoever_lost_a_race_runs_again_on_what_the_winner_wrote(void **state)
{
    (void)state;
    struct served s;
    struct coordinator *other;
    struct job job;
    struct ls_error error;
    open_embedded(&s, open_store("mem:"));
    assert_int_equal(coordinator_open(&other, s.store, &error), 0);
    raced = s.store->driver;
    racing = *raced;
    racing.commit = racing_commit;
    s.store->driver = &racing;
    job_post(&job);
    assert_int_equal(sequencer_run(s.sequencer, &job.request), 0);
    winner = other;
    job_post(&job);
    assert_int_equal(sequencer_run(s.sequencer, &job.request), 0);
    assert_null(winner);
    assert_int_equal(job.request.clock, 3);
    winner = other;
    job_set(&job, (struct request){.kind = REQUEST_TRIM, .in.trim.before = UINT64_MAX});
    assert_int_equal(sequencer_run(s.sequencer, &job.request), 0);
    assert_int_equal(job.request.number, 4);
    s.store->driver = raced;
    coordinator_close(other);
    close_all(&s);
}

/* ---- a full disk ---- */

/* A driver like the one below it, whose disk takes no transaction that adds while it is full. */
static struct store_driver brimful;
static const struct store_driver *below;
static bool disk_full, transaction_adds;

static int brimful_begin(struct store *store, enum store_mode mode, struct store_txn **out,
                         struct ls_error *error)
{
    transaction_adds = mode == STORE_WRITE ? false : transaction_adds;
    return below->begin(store, mode, out, error);
}

static int brimful_room(struct store_txn *txn, enum store_room room, size_t bytes,
                        struct ls_error *error)
{
    transaction_adds = transaction_adds || room == STORE_ROOM_ADD;
    return below->room(txn, room, bytes, error);
}

static int brimful_commit(struct store_txn *txn, struct ls_error *error)
{
    if (disk_full && transaction_adds) {
        below->abort(txn);
        return error_set(error, LS_ENOSPACE, 0, "the disk is full");
    }
    return below->commit(txn, error);
}

static struct store *open_brimful(void)
{
    struct store *store = open_store("mem:");
    below = store->driver;
    brimful = *below;
    brimful.begin = brimful_begin;
    brimful.room = brimful_room;
    brimful.commit = brimful_commit;
    store->driver = &brimful;
    disk_full = false;
    return store;
}

static void on_a_full_disk_only_what_adds_is_refused(void **state)
{
    (void)state;
    struct served s;
    struct job before[3], jobs[6];
    ls_bytes key = bytes_of("k", 1), other = bytes_of("l", 1);
    open_served(&s, open_brimful());
    job_post(&before[0]);
    job_set(&before[1], (struct request){.kind = REQUEST_OBJECT_PUT, .in.put.key = key});
    job_post(&before[2]);
    run_all(&s, before, 3);

    disk_full = true;
    job_post(&jobs[0]);
    job_set(&jobs[1], (struct request){.kind = REQUEST_OBJECT_DEL, .in.del.key = key});
    job_set(&jobs[2], (struct request){.kind = REQUEST_OBJECT_PUT, .in.put.key = other});
    job_set(&jobs[3], (struct request){.kind = REQUEST_TRIM, .in.trim.before = 3});
    job_set(&jobs[4], (struct request){.kind = REQUEST_CLOCK_NEXT, .in.clock_next.count = 1});
    job_post(&jobs[5]);
    run_all(&s, jobs, 6);
    assert_code(jobs[0].request.status, LS_ENOSPACE, &jobs[0].error);
    assert_string_equal(jobs[0].error.text, "the disk is full");
    assert_int_equal(jobs[1].request.status, 0);
    assert_int_equal(jobs[1].request.clock, 4);
    assert_code(jobs[2].request.status, LS_ENOSPACE, &jobs[2].error);
    assert_int_equal(jobs[3].request.status, 0);
    assert_int_equal(jobs[3].request.number, 2);
    assert_int_equal(jobs[4].request.status, 0);
    assert_int_equal(jobs[4].request.clock, 5);
    assert_code(jobs[5].request.status, LS_ENOSPACE, &jobs[5].error);
    assert_sound(s.store);

    disk_full = false;
    job_post(&jobs[0]);
    job_set(&jobs[1], (struct request){.kind = REQUEST_OBJECT_PUT, .in.put.key = other});
    run_all(&s, jobs, 2);
    assert_int_equal(jobs[0].request.clock, 6);
    assert_int_equal(jobs[1].request.clock, 7);
    s.store->driver = below;
    close_all(&s);
}

static void a_store_that_met_its_quota_works_again_once_it_has_room(void **state)
{
    enum { SIZE = 8000 };
    (void)state;
    struct served s;
    struct job job;
    static uint8_t large[SIZE];
    struct ls_error error;
    struct store_options options = {.create = true, .quota = 4 << 20};
    struct store *store;
    assert_code(store_open(&store, "mem:", &options, &error), 0, &error);
    open_embedded(&s, store);
    int status = 0;
    size_t posted = 0;
    while (status == 0 && posted < 10000) {
        job_post(&job);
        job.request.in.post.object = bytes_of(large, sizeof large);
        status = sequencer_run(s.sequencer, &job.request);
        posted += status == 0;
    }
    assert_code(status, LS_ENOSPACE, &job.error);
    assert_true(posted > 0);
    assert_sound(s.store);
    job_set(&job, (struct request){.kind = REQUEST_TRIM, .in.trim.before = posted / 2});
    assert_code(sequencer_run(s.sequencer, &job.request), 0, &job.error);
    assert_int_equal(job.request.number, posted / 2 - 1);
    for (size_t i = 1; i < posted / 4; i++) {
        job_post(&job);
        job.request.in.post.object = bytes_of(large, sizeof large);
        assert_code(sequencer_run(s.sequencer, &job.request), 0, &job.error);
        assert_int_equal(job.request.clock, posted + i);
    }
    close_all(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_request_that_cannot_succeed_takes_no_other_with_it),
        cmocka_unit_test(a_commit_that_lost_a_race_runs_again_with_the_same_results),
        cmocka_unit_test(a_commit_that_failed_runs_again_one_by_one),
        cmocka_unit_test(whoever_lost_a_race_runs_again_on_what_the_winner_wrote),
        cmocka_unit_test(on_a_full_disk_only_what_adds_is_refused),
        cmocka_unit_test(a_store_that_met_its_quota_works_again_once_it_has_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
