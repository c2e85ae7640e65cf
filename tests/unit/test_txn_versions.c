/* SPDX-License-Identifier: Apache-2.0 */
/* The versions of keys: reading what was, collecting what nobody can read any more, and moving them
 * from the log to their places. */
#include <stdio.h>

#include "base/buf.h"
#include "coordinator/layout.h"
#include "faulty_store.h"
#include "txn_world.h"

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

static void memory_follows_the_history_of_who_never_rests(void **state)
{
    enum { BURST = 20000, STEP_MS = 500, HISTORY_MS = 20000, AGE_MS = HISTORY_MS / 2 };
    (void)state;
    struct world w = {.history_age_ms = HISTORY_MS};
    char key[32];
    world_open(&w, NULL, 1);
    w.now_ms += 1000; /* it is up for a while, and not new */
    world_tick(&w, 0);
    for (size_t i = 0; i < BURST; i++) {
        (void)snprintf(key, sizeof(key), "key %zu", i);
        world_put(&w, 0, key, "x");
    }
    uint64_t most = world_counters(&w, 0).recent_bytes;
    for (uint64_t ms = STEP_MS; ms <= 5 * HISTORY_MS; ms += STEP_MS) {
        uint64_t merged = world_counters(&w, 0).merged;
        w.now_ms += STEP_MS;
        world_put(&w, 0, "a", "y");
        world_tick(&w, 0);
        struct txn_counters now = world_counters(&w, 0);
        assert_true(now.merged - merged <= BURST / 2); /* by and by */
        assert_true(ms >= AGE_MS || now.merged == 0);
        assert_true(ms <= HISTORY_MS || now.recent <= HISTORY_MS / STEP_MS);
        assert_true(ms <= 2 * HISTORY_MS || now.recent_bytes < most / 20);
    }
    world_expect(&w, 0, "key 1", "x");
    world_expect(&w, 0, "a", "y");
    world_close(&w);
}

static void a_short_history_is_gathered_for_a_while_too(void **state)
{
    enum { STEP_MS = 500, AGE_MS = 5000 };
    (void)state;
    struct world w = {.history_age_ms = 0};
    world_open(&w, NULL, 1);
    for (uint64_t ms = STEP_MS; ms <= 5 * AGE_MS; ms += STEP_MS) {
        w.now_ms += STEP_MS;
        world_put(&w, 0, "a", "y");
        world_tick(&w, 0);
        struct txn_counters now = world_counters(&w, 0);
        assert_true(ms >= AGE_MS || now.merged == 0);
        assert_true(now.recent <= 2 * AGE_MS / STEP_MS);
        assert_true(now.recent + 4 >= ms % AGE_MS / STEP_MS); /* each generation anew */
    }
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

/* ---- damage ---- */

static void open_faulty(struct world *w)
{
    struct store *store;
    struct ls_error error;
    struct store_options options = {.create = true};
    assert_code(store_open(&store, "mem:", &options, &error), 0, &error);
    assert_code(faulty_store_wrap(&store, store), 0, &error);
    world_open(w, store, 1);
}

static void misplace_versions(struct world *w, const char *name, uint64_t timestamp,
                              struct key *key)
{
    struct ls_error error;
    assert_code(key_version(key, bytes_of_text(name), timestamp, &error), 0, &error);
    faulty_store_misplace(w->store, key_bytes(key));
}

/* The call is refused since something is not in its place. */
static void assert_misplaced(struct world *w, struct job *job)
{
    world_run(w, 0, job, LS_ECORRUPT);
    if (strstr(job->error.text, "not in its place") == NULL) {
        fail_msg("refused for something else: %s", job->error.text);
    }
    job_free(job);
}

/* Time goes by until what is done meanwhile comes upon what is not in its place. */
static void tick_until_refused(struct world *w)
{
    struct job job;
    for (size_t i = 0; i < 30; i++) {
        w->now_ms += 1000;
        job_end(&job, TXN_TICK, 0);
        world_submit(w, 0, &job);
        assert_true(job.done);
        if (job.request.status != 0) {
            assert_int_equal(job.request.status, LS_ECORRUPT);
            assert_non_null(strstr(job.error.text, "not in its place"));
            return;
        }
        job_free(&job);
    }
    fail_msg("nothing was refused");
}

static void settle_place(struct world *w)
{
    faulty_store_misplace(w->store, (ls_bytes){NULL, 0});
}

static void a_version_of_another_key_is_not_read(void **state)
{
    (void)state;
    struct world w = {.history_age_ms = 60000};
    struct key key;
    struct job job;
    open_faulty(&w);
    world_put(&w, 0, "a", "x");
    world_put(&w, 0, "b", "y");
    rest(&w, 0);
    misplace_versions(&w, "b", 1, &key);
    job_get(&job, LIST("a"));
    assert_misplaced(&w, &job);
    settle_place(&w);
    world_expect(&w, 0, "a", "x");
    world_close(&w);
}

static void a_sweep_goes_over_no_version_twice(void **state)
{
    (void)state;
    struct world w = {.history_age_ms = 10000};
    struct key key;
    open_faulty(&w);
    world_tick(&w, 0);
    for (size_t i = 0; i < 3; i++) {
        world_put(&w, 0, "a", "x");
        world_put(&w, 0, "b", "y");
    }
    rest(&w, 0);
    uint64_t were = count_versions(&w);
    misplace_versions(&w, "a", 1, &key);
    tick_until_refused(&w);
    assert_int_equal(count_versions(&w), were);
    settle_place(&w);
    rest(&w, 0);
    world_close(&w);
}

static void what_is_put_in_its_place_takes_away_none_that_is_not(void **state)
{
    (void)state;
    struct world w = {.history_age_ms = 1000};
    struct key key;
    open_faulty(&w);
    world_put(&w, 0, "a", "x");
    rest(&w, 0); /* one, over which a sweep comes to its end */
    world_put(&w, 0, "a", "z");
    misplace_versions(&w, "A", 1, &key);
    tick_until_refused(&w);
    settle_place(&w);
    rest(&w, 0);
    world_expect(&w, 0, "a", "z");
    world_close(&w);
}

static void a_record_that_is_none_of_the_log_is_not_trimmed_with_it(void **state)
{
    (void)state;
    struct world w = {.history_age_ms = 60000};
    struct key key;
    open_faulty(&w);
    world_put(&w, 0, "a", "x");
    assert_int_equal(key_control(&key, bytes_of_text(CONTROL_CLOCK)), 0);
    faulty_store_misplace(w.store, key_bytes(&key));
    tick_until_refused(&w);
    settle_place(&w);
    rest(&w, 0);
    world_expect(&w, 0, "a", "x");
    world_close(&w);
}

static void open_transactions_out_of_their_places_are_told(void **state)
{
    (void)state;
    struct world w = {0};
    struct key key;
    struct job job;
    open_faulty(&w);
    uint64_t first = world_begin(&w, 0, LIST("a"));
    uint64_t second = world_begin(&w, 0, LIST("b"));
    txn_prefix(&key);
    put_be64(key.data + key.size, first);
    key.size += 8;
    world_restart(&w, 0);
    faulty_store_misplace(w.store, key_bytes(&key));
    job_get(&job, LIST("a"));
    assert_misplaced(&w, &job);
    settle_place(&w);
    world_commit(&w, 0, first, "a", "1");
    world_commit(&w, 0, second, "b", "2");
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_get_as_of_a_timestamp_sees_what_was_there),
        cmocka_unit_test(versions_out_of_reach_are_collected_in_steps),
        cmocka_unit_test(what_an_open_transaction_may_read_is_not_collected),
        cmocka_unit_test(many_versions_of_one_key_are_moved_in_steps),
        cmocka_unit_test(memory_follows_the_history_of_who_never_rests),
        cmocka_unit_test(a_short_history_is_gathered_for_a_while_too),
        cmocka_unit_test(a_log_that_is_found_is_moved_by_whoever_opens_the_store),
        cmocka_unit_test(a_deletion_stays_while_the_log_has_what_it_hides),
        cmocka_unit_test(a_full_store_goes_on_once_there_is_room),
        cmocka_unit_test(a_version_of_another_key_is_not_read),
        cmocka_unit_test(a_sweep_goes_over_no_version_twice),
        cmocka_unit_test(what_is_put_in_its_place_takes_away_none_that_is_not),
        cmocka_unit_test(a_record_that_is_none_of_the_log_is_not_trimmed_with_it),
        cmocka_unit_test(open_transactions_out_of_their_places_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
