/* SPDX-License-Identifier: Apache-2.0 */
/* Commits that are not waited for: their order, who sees them when, what they read, what is left of
 * them by a crash, and what happens to those behind one that is lost. */
#include <errno.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "faults.h"
#include "store_log_fixture.h"

#define WARM_UP 40 /* commits, after which there is a round */

/* ---- calls that fail, or wait ---- */

static atomic_int pwrites_fail; /* of records */
static atomic_int commits_pass; /* LMDB's, before those that fail */
static atomic_int commits_fail;
static atomic_int pwrites_wait;  /* the writers of records sleep */
static atomic_int notifications; /* so far */
/* The clock does, so that nothing lands for the sake of another process, however slow all is. */
static atomic_bool time_stands;

ssize_t __real_pwrite64(int fd, const void *data, size_t size, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off_t offset);
int __real_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn);
int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);

static bool takes_one(atomic_int *count)
{
    int before = atomic_load(count);
    return before > 0 && atomic_compare_exchange_strong(count, &before, before - 1);
}

ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off_t offset)
{
    while (atomic_load(&pwrites_wait) > 0) {
        usleep(100);
    }
    if (takes_one(&pwrites_fail)) {
        errno = EIO;
        return -1;
    }
    return __real_pwrite64(fd, data, size, offset);
}

int __wrap_mdb_txn_commit(MDB_txn *txn)
{
    if (!takes_one(&commits_pass) && takes_one(&commits_fail)) {
        mdb_txn_abort(txn);
        return ENOSPC;
    }
    return __real_mdb_txn_commit(txn);
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    if (atomic_load(&time_stands)) {
        *now = (struct timespec){.tv_sec = 1};
        return 0;
    }
    return __real_clock_gettime(clock, now);
}

/* ---- transactions ---- */

static void on_notify(void *context)
{
    (void)context;
    atomic_fetch_add(&notifications, 1);
}

static struct store_txn *begin_ahead(struct store *store)
{
    struct ls_error error = {0};
    struct store_txn *txn = NULL;
    assert_ok(store->driver->begin(store, STORE_AHEAD, &txn, &error));
    return txn;
}

/* Appends message `number` as `edited` does, and puts an object that says which one is the last. */
static void put_number(struct store *store, struct store_txn *txn, unsigned number)
{
    struct ls_error error = {0};
    struct key message = message_key(number + 1);
    struct key last = text_key('O', "last");
    char value[300];
    memset(value, 'a' + (int)(number % 26), sizeof value);
    assert_ok(
        store->driver->put(txn, key_bytes(&message), bytes_of(value, sizeof value), true, &error));
    assert_ok(
        store->driver->put(txn, key_bytes(&last), bytes_of(&number, sizeof number), false, &error));
}

static int submit(struct store *store, unsigned number)
{
    struct ls_error error = {0};
    struct store_txn *txn = begin_ahead(store);
    put_number(store, txn, number);
    return store->driver->submit(txn, on_notify, NULL, &error);
}

static int finish(struct store *store)
{
    struct ls_error error = {0};
    return store->driver->finish(store, true, &error);
}

static unsigned last_in(struct store *store, struct store_txn *txn)
{
    struct key key = text_key('O', "last");
    ls_bytes value;
    unsigned number;
    assert_int_equal(store->driver->get(txn, key_bytes(&key), &value), 0);
    assert_int_equal(value.size, sizeof number);
    memcpy(&number, value.data, sizeof number);
    return number;
}

/* That messages 0 to below `end` are there, and the last object with them. */
static void assert_there(struct store *store, unsigned end)
{
    struct store_txn *txn = begin(store, STORE_READ);
    assert_int_equal(count(store, 'M'), end);
    assert_int_equal(last_in(store, txn), end - 1);
    store->driver->abort(txn);
}

/* The thread sanitizer has no threads in children. */
static void skip_where_children_have_no_threads(void)
{
    const char *sanitized = getenv("SANITIZED");
    if (sanitized != NULL && strstr(sanitized, "thread") != NULL) {
        skip();
    }
}

/* A store in a round, with WARM_UP commits. */
static struct store *warm(const struct fixture *f)
{
    struct store *store = opened(f->directory);
    atomic_store(&time_stands, true);
    store_run(store, true);
    for (unsigned i = 0; i < WARM_UP; i++) {
        struct store_txn *txn = begin(store, STORE_WRITE);
        put_number(store, txn, i);
        commit(store, txn);
    }
    assert_true(logged(f->directory) > 0);
    atomic_store(&notifications, 0);
    return store;
}

static void cool(struct store *store)
{
    store_run(store, false);
    store_close(store);
}

/* ---- order ---- */

static void commits_land_in_their_order(void **state)
{
    struct fixture *f = *state;
    struct store *store = warm(f);
    unsigned next = WARM_UP;
    for (int round = 0; round < 50; round++) {
        for (unsigned i = 0; i < STORE_FLIGHTS_MAX; i++) {
            assert_int_equal(submit(store, next + i), 0);
        }
        for (unsigned i = 0; i < STORE_FLIGHTS_MAX; i++) {
            assert_int_equal(finish(store), 1);
            next++;
            assert_in_range(count(store, 'M'), next, next + STORE_FLIGHTS_MAX);
        }
        assert_int_equal(finish(store), 0);
    }
    assert_int_equal(atomic_load(&notifications), 50 * STORE_FLIGHTS_MAX);
    cool(store);
    store = opened(f->directory);
    assert_there(store, next);
    store_close(store);
}

static void nobody_sees_a_commit_before_its_record_is_written(void **state)
{
    struct fixture *f = *state;
    struct store *store = warm(f);
    atomic_store(&pwrites_wait, 1);
    for (unsigned i = 0; i < STORE_FLIGHTS_MAX; i++) {
        assert_int_equal(submit(store, WARM_UP + i), 0);
        assert_there(store, WARM_UP);
    }
    atomic_store(&pwrites_wait, 0);
    for (unsigned i = 0; i < STORE_FLIGHTS_MAX; i++) {
        assert_int_equal(finish(store), 1);
    }
    assert_there(store, WARM_UP + STORE_FLIGHTS_MAX);
    cool(store);
}

static void one_that_need_not_wait_is_told_that_it_would(void **state)
{
    struct fixture *f = *state;
    struct ls_error error = {0};
    struct store *store = warm(f);
    atomic_store(&pwrites_wait, 1);
    assert_int_equal(submit(store, WARM_UP), 0);
    assert_int_equal(store->driver->finish(store, false, &error), 0);
    assert_int_equal(atomic_load(&notifications), 0);
    atomic_store(&pwrites_wait, 0);
    assert_int_equal(finish(store), 1);
    assert_int_equal(atomic_load(&notifications), 1);
    cool(store);
}

static void the_numbers_of_transactions_go_on_as_if_each_were_committed(void **state)
{
    struct fixture *f = *state;
    struct store *store = warm(f);
    struct store_txn *txn = begin(store, STORE_WRITE);
    uint64_t number = store->driver->number(txn);
    store->driver->abort(txn);
    for (unsigned i = 0; i < STORE_FLIGHTS_MAX; i++) {
        struct ls_error error = {0};
        txn = begin_ahead(store);
        assert_int_equal(store->driver->number(txn), number + i);
        put_number(store, txn, WARM_UP + i);
        assert_int_equal(store->driver->submit(txn, on_notify, NULL, &error), 0);
    }
    while (finish(store) == 1) {
        continue;
    }
    txn = begin(store, STORE_WRITE);
    assert_int_equal(store->driver->number(txn), number + STORE_FLIGHTS_MAX);
    store->driver->abort(txn);
    cool(store);
}

static void without_a_round_a_commit_is_made_at_once(void **state)
{
    struct fixture *f = *state;
    struct store *store = opened(f->directory);
    for (unsigned i = 0; i < 2 * WARM_UP; i++) {
        assert_int_equal(submit(store, i), 1);
        assert_there(store, i + 1);
    }
    assert_int_equal(finish(store), 0);
    store_close(store);
}

static void in_memory_a_commit_is_made_at_once(void **state)
{
    (void)state;
    struct ls_error error = {0};
    struct store_options options = {.create = true, .sync = true};
    struct store *store;
    assert_ok(store_open(&store, "mem:", &options, &error));
    assert_int_equal(submit(store, 0), 1);
    assert_there(store, 1);
    store_close(store);
}

static void a_full_log_ends_its_round_and_all_goes_on(void **state)
{
    struct fixture *f = *state;
    struct ls_error error = {0};
    struct store *store = warm(f);
    static char large[300 << 10];
    int at_once = 0;
    for (unsigned i = 0; i < 200; i++) {
        struct store_txn *txn = begin_ahead(store);
        struct key key = number_key(i % 3);
        put_number(store, txn, WARM_UP + i);
        assert_ok(
            store->driver->put(txn, key_bytes(&key), bytes_of(large, sizeof large), false, &error));
        int result = store->driver->submit(txn, on_notify, NULL, &error);
        assert_true(result >= 0);
        at_once += result;
        assert_int_equal(finish(store), result == 0);
    }
    assert_in_range(at_once, 1, 100);
    assert_there(store, WARM_UP + 200);
    cool(store);
}

static void what_the_log_does_not_take_is_committed_without_it(void **state)
{
    struct fixture *f = *state;
    struct ls_error error = {0};
    struct store *store = warm(f);
    static char huge[2 << 20];
    assert_int_equal(submit(store, WARM_UP), 0);
    struct store_txn *txn = begin_ahead(store);
    struct key key = number_key(1);
    put_number(store, txn, WARM_UP + 1);
    assert_ok(store->driver->put(txn, key_bytes(&key), bytes_of(huge, sizeof huge), false, &error));
    assert_int_equal(store->driver->submit(txn, on_notify, NULL, &error), 1);
    assert_int_equal(finish(store), 1);
    assert_int_equal(finish(store), 0);
    assert_there(store, WARM_UP + 2);
    cool(store);
}

/* ---- reading ---- */

static void a_read_of_what_is_pending_sees_all_that_was_submitted(void **state)
{
    struct fixture *f = *state;
    struct ls_error error = {0};
    struct store *store = warm(f);
    assert_int_equal(submit(store, WARM_UP), 0);
    assert_int_equal(submit(store, WARM_UP + 1), 0);
    struct store_txn *txn = begin_ahead(store);
    assert_int_equal(last_in(store, txn), WARM_UP + 1);
    put_number(store, txn, WARM_UP + 2);
    assert_int_equal(last_in(store, txn), WARM_UP + 2);
    assert_int_equal(store->driver->submit(txn, on_notify, NULL, &error), 1);
    assert_int_equal(finish(store), 1);
    assert_int_equal(finish(store), 1);
    assert_int_equal(finish(store), 0);
    assert_there(store, WARM_UP + 3);
    cool(store);
}

static void a_read_of_what_nobody_changes_waits_for_nothing(void **state)
{
    struct fixture *f = *state;
    struct ls_error error = {0};
    struct store *store = warm(f);
    struct store_txn *earlier;
    ls_bytes value;
    struct key node = text_key('N', "host");
    atomic_store(&pwrites_wait, 1);
    assert_int_equal(submit(store, WARM_UP), 0);
    struct store_txn *txn = begin_ahead(store);
    assert_int_equal(store->driver->get(txn, key_bytes(&node), &value), LS_ENOTFOUND);
    assert_ok(store->driver->earlier(txn, &earlier, &error));
    assert_int_equal(last_in(store, earlier), WARM_UP - 1);
    put_number(store, txn, WARM_UP + 1);
    assert_int_equal(store->driver->submit(txn, on_notify, NULL, &error), 0);
    atomic_store(&pwrites_wait, 0);
    assert_int_equal(finish(store), 1);
    assert_int_equal(finish(store), 1);
    cool(store);
}

static void deletes_and_cursors_see_what_was_put(void **state)
{
    struct fixture *f = *state;
    struct ls_error error = {0};
    struct store *store = warm(f);
    struct store_cursor *cursor;
    ls_bytes at, value;
    struct key last = text_key('O', "last");
    struct key absent = text_key('O', "absent");
    assert_int_equal(submit(store, WARM_UP), 0);
    struct store_txn *txn = begin_ahead(store);
    put_number(store, txn, WARM_UP + 1);
    assert_ok(store->driver->scan(txn, key_bytes(&last), (ls_bytes){0}, false, &cursor, &error));
    assert_int_equal(store->driver->next(cursor, &at, &value, &error), 1);
    assert_int_equal(*(const unsigned *)value.data, WARM_UP + 1);
    store->driver->scan_end(cursor);
    assert_int_equal(store->driver->del(txn, key_bytes(&absent), &error), LS_ENOTFOUND);
    assert_ok(store->driver->del(txn, key_bytes(&last), &error));
    assert_int_equal(store->driver->submit(txn, on_notify, NULL, &error), 1);
    assert_int_equal(finish(store), 1);
    assert_int_equal(count(store, 'O'), 0);
    assert_int_equal(count(store, 'M'), WARM_UP + 2);
    cool(store);
}

static void one_that_is_aborted_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct store *store = warm(f);
    assert_int_equal(submit(store, WARM_UP), 0);
    struct store_txn *txn = begin_ahead(store);
    put_number(store, txn, 1000);
    store->driver->abort(txn);
    txn = begin_ahead(store);
    put_number(store, txn, 2000);
    assert_int_equal(last_in(store, txn), 2000); /* on the ground */
    store->driver->abort(txn);
    assert_int_equal(finish(store), 1);
    assert_int_equal(submit(store, WARM_UP + 1), 0);
    assert_int_equal(finish(store), 1);
    assert_there(store, WARM_UP + 2);
    cool(store);
}

/* ---- what is lost ---- */

static void a_record_that_cannot_be_written_is_lost_with_those_behind_it(void **state)
{
    struct fixture *f = *state;
    struct store *store = warm(f);
    struct ls_error error = {0};
    atomic_store(&pwrites_wait, 1);
    for (unsigned i = 0; i < STORE_FLIGHTS_MAX; i++) {
        assert_int_equal(submit(store, WARM_UP + i), 0);
    }
    atomic_store(&pwrites_fail, 1);
    atomic_store(&pwrites_wait, 0);
    int failed = 0;
    for (unsigned i = 0; i < STORE_FLIGHTS_MAX; i++) {
        int result = store->driver->finish(store, true, &error);
        assert_true(result == 1 ? failed == 0 : result == LS_EIO);
        failed += result != 1;
    }
    assert_int_equal(atomic_load(&pwrites_fail), 0);
    assert_true(failed > 0);
    assert_int_equal(finish(store), 0);
    unsigned there = WARM_UP + STORE_FLIGHTS_MAX - (unsigned)failed;
    assert_there(store, there);
    assert_int_equal(logged(f->directory), 0);
    for (unsigned i = 0; i < 100; i++) {
        assert_true(submit(store, there + i) >= 0);
        (void)finish(store);
    }
    assert_there(store, there + 100);
    cool(store);
}

static void a_commit_that_fails_takes_those_behind_it_along_and_they_do_not_come_back(void **state)
{
    struct fixture *f = *state;
    skip_where_children_have_no_threads();
    pid_t child = new_child();
    if (child == 0) {
        struct store *store = warm(f);
        atomic_store(&commits_pass, 1); /* whenever that one is made */
        atomic_store(&commits_fail, 1);
        for (unsigned i = 0; i < STORE_FLIGHTS_MAX; i++) {
            assert_int_equal(submit(store, WARM_UP + i), 0);
        }
        assert_int_equal(finish(store), 1);
        for (unsigned i = 1; i < STORE_FLIGHTS_MAX; i++) {
            assert_int_equal(finish(store), LS_ENOSPACE);
        }
        die();
    }
    assert_int_equal(end_of(child), 1000 + SIGKILL);
    struct store *store = opened(f->directory);
    assert_there(store, WARM_UP + 1);
    store_close(store);
}

static void one_behind_a_lost_commit_can_only_be_aborted(void **state)
{
    struct fixture *f = *state;
    struct ls_error error = {0};
    struct store *store = warm(f);
    ls_bytes value;
    struct key last = text_key('O', "last");
    assert_int_equal(submit(store, WARM_UP), 0);
    struct store_txn *txn = begin_ahead(store);
    put_number(store, txn, WARM_UP + 1);
    atomic_store(&commits_fail, 1);
    assert_true(store->driver->get(txn, key_bytes(&last), &value) < 0);
    assert_int_equal(store->driver->put(txn, key_bytes(&last), bytes_of("x", 1), false, &error),
                     LS_ERETRY);
    store->driver->abort(txn);
    assert_int_equal(finish(store), LS_ENOSPACE);
    assert_there(store, WARM_UP);
    assert_true(submit(store, WARM_UP) >= 0);
    (void)finish(store);
    assert_there(store, WARM_UP + 1);
    cool(store);
}

static void nothing_is_committed_before_it_is_told_that_one_was_lost(void **state)
{
    struct fixture *f = *state;
    struct ls_error error = {0};
    struct store *store = warm(f);
    struct store_txn *txn;
    for (unsigned i = 0; i < STORE_FLIGHTS_MAX; i++) {
        assert_int_equal(submit(store, WARM_UP + i), 0);
    }
    atomic_store(&commits_fail, 1);
    /* So many are under way that they land first. */
    assert_int_equal(store->driver->begin(store, STORE_AHEAD, &txn, &error), LS_ERETRY);
    for (unsigned i = 0; i < STORE_FLIGHTS_MAX; i++) {
        assert_int_equal(finish(store), LS_ENOSPACE);
    }
    assert_there(store, WARM_UP);
    for (unsigned i = 0; i < 2 * STORE_FLIGHTS_MAX; i++) {
        assert_int_equal(submit(store, WARM_UP + i), 1);
    }
    assert_there(store, WARM_UP + 2 * STORE_FLIGHTS_MAX);
    cool(store);
}

/* ---- processes ---- */

static void a_crash_leaves_the_first_of_what_was_in_flight_and_all_that_was_finished(void **state)
{
    struct fixture *f = *state;
    skip_where_children_have_no_threads();
    for (unsigned finished = 0; finished <= STORE_FLIGHTS_MAX; finished++) {
        snprintf(f->directory, sizeof f->directory, "%s/%u", f->scratch, finished);
        pid_t child = new_child();
        if (child == 0) {
            struct store *store = warm(f);
            for (unsigned i = 0; i < STORE_FLIGHTS_MAX; i++) {
                assert_int_equal(submit(store, WARM_UP + i), 0);
            }
            for (unsigned i = 0; i < finished; i++) {
                assert_int_equal(finish(store), 1);
            }
            die();
        }
        assert_int_equal(end_of(child), 1000 + SIGKILL);
        struct store *store = opened(f->directory);
        uint64_t there = count(store, 'M');
        assert_in_range(there, WARM_UP + finished, WARM_UP + STORE_FLIGHTS_MAX);
        assert_there(store, (unsigned)there);
        store_close(store);
    }
}

/* Another process that writes once, and says so by its end. */
static pid_t other_writer(const struct fixture *f)
{
    pid_t child = new_child();
    if (child == 0) {
        struct store *store = opened(f->directory);
        struct ls_error error = {0};
        struct store_txn *txn = begin(store, STORE_WRITE);
        struct key key = number_key(7);
        assert_ok(store->driver->put(txn, key_bytes(&key), bytes_of("other", 5), false, &error));
        commit(store, txn);
        child_exit(0);
    }
    return child;
}

static void another_process_gets_its_turn_while_commits_follow_each_other(void **state)
{
    struct fixture *f = *state;
    struct store *store = warm(f);
    unsigned next = WARM_UP;
    unsigned flights = 0;
    unsigned end = 0;
    atomic_store(&time_stands, false);
    pid_t child = other_writer(f);
    while (end == 0 || next < end) {
        int result = submit(store, next);
        assert_true(result >= 0);
        next++;
        flights += result == 0;
        if (flights == STORE_FLIGHTS_MAX || (result == 1 && flights > 0)) {
            assert_int_equal(finish(store), 1);
            flights--;
        }
        int status;
        if (end == 0 && waitpid(child, &status, WNOHANG) == child) {
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
            end = next + 100;
        }
    }
    while (finish(store) == 1) {
        continue;
    }
    assert_there(store, next);
    assert_int_equal(count(store, 'O'), 2);
    cool(store);
}

static int tear_down_all(void **state)
{
    atomic_store(&pwrites_fail, 0);
    atomic_store(&commits_pass, 0);
    atomic_store(&commits_fail, 0);
    atomic_store(&pwrites_wait, 0);
    atomic_store(&time_stands, false);
    return tear_down(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(commits_land_in_their_order),
        TEST(nobody_sees_a_commit_before_its_record_is_written),
        TEST(one_that_need_not_wait_is_told_that_it_would),
        TEST(the_numbers_of_transactions_go_on_as_if_each_were_committed),
        TEST(without_a_round_a_commit_is_made_at_once),
        TEST(in_memory_a_commit_is_made_at_once),
        TEST(a_full_log_ends_its_round_and_all_goes_on),
        TEST(what_the_log_does_not_take_is_committed_without_it),
        TEST(a_read_of_what_is_pending_sees_all_that_was_submitted),
        TEST(a_read_of_what_nobody_changes_waits_for_nothing),
        TEST(deletes_and_cursors_see_what_was_put),
        TEST(one_that_is_aborted_leaves_nothing),
        TEST(a_record_that_cannot_be_written_is_lost_with_those_behind_it),
        TEST(a_commit_that_fails_takes_those_behind_it_along_and_they_do_not_come_back),
        TEST(one_behind_a_lost_commit_can_only_be_aborted),
        TEST(nothing_is_committed_before_it_is_told_that_one_was_lost),
        TEST(a_crash_leaves_the_first_of_what_was_in_flight_and_all_that_was_finished),
        TEST(another_process_gets_its_turn_while_commits_follow_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
