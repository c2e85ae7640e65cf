/* SPDX-License-Identifier: Apache-2.0 */
/* Commits by the redo log: when they go there, what of them a crash leaves, and what happens to
 * them when other processes write, one is killed, or a flush fails. A power loss is a
 * directory put together from what was flushed and any of the pages that were not. */
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "faults.h"
#include "store_log_fixture.h"

#define PAGE    4096
#define WARM_UP 40 /* commits, after which there is a round */

/* ---- calls that fail ---- */

static int pwrites_fail; /* of blocks: the redo log's */
static int syncs_fail;   /* of the data file */
static int commits_fail; /* LMDB's */

ssize_t __real_pwrite64(int fd, const void *data, size_t size, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off_t offset);
int __real_mdb_env_sync(MDB_env *env, int force);
int __wrap_mdb_env_sync(MDB_env *env, int force);
int __real_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn);

static bool takes_failure(int *count)
{
    bool fails = *count > 0;
    *count -= fails;
    return fails;
}

ssize_t __wrap_pwrite64(int fd, const void *data, size_t size, off_t offset)
{
    if (takes_failure(&pwrites_fail)) {
        errno = EIO;
        return -1;
    }
    return __real_pwrite64(fd, data, size, offset);
}

int __wrap_mdb_env_sync(MDB_env *env, int force)
{
    return takes_failure(&syncs_fail) ? EIO : __real_mdb_env_sync(env, force);
}

int __wrap_mdb_txn_commit(MDB_txn *txn)
{
    if (takes_failure(&commits_fail)) {
        mdb_txn_abort(txn);
        return ENOSPC;
    }
    return __real_mdb_txn_commit(txn);
}

/* ---- directories ---- */

struct file {
    uint8_t *data;
    size_t size;
};

static struct file file_of(const char *directory, const char *name)
{
    char path[2 * SCRATCH_SIZE];
    struct stat found;
    struct file file;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &found), 0);
    file.size = (size_t)found.st_size;
    file.data = malloc(file.size);
    assert_non_null(file.data);
    assert_int_equal(read(fd, file.data, file.size), file.size);
    close(fd);
    return file;
}

/* A directory of these two files, after a power loss. */
static void make_image(char out[2 * SCRATCH_SIZE], const struct fixture *f, const char *name,
                       struct file data, struct file redo)
{
    const struct file files[] = {data, redo};
    const char *const names[] = {"data.mdb", REDO_NAME};
    snprintf(out, 2 * SCRATCH_SIZE, "%s/%s", f->scratch, name);
    (void)mkdir(out, 0700);
    for (int i = 0; i < 2; i++) {
        char path[3 * SCRATCH_SIZE];
        snprintf(path, sizeof path, "%s/%s", out, names[i]);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, files[i].data, files[i].size), files[i].size);
        close(fd);
    }
}

/* Pages of the one or the other. */
static struct file mixed(struct file a, struct file b, unsigned seed)
{
    struct file out = {malloc(a.size > b.size ? a.size : b.size),
                       a.size > b.size ? a.size : b.size};
    assert_non_null(out.data);
    memset(out.data, 0, out.size);
    srand(seed);
    for (size_t at = 0; at < out.size; at += PAGE) {
        struct file from = rand() % 2 != 0 ? a : b;
        if (at < from.size) {
            memcpy(out.data + at, from.data + at, PAGE);
        }
    }
    return out;
}

/* What one test makes fail is not left to the next. */
static int tear_down_all(void **state)
{
    pwrites_fail = syncs_fail = commits_fail = 0;
    return tear_down(state);
}

/* ---- when ---- */

static void commits_that_follow_each_other_go_to_the_log(void **state)
{
    struct fixture *f = *state;
    struct store *store = opened(f->directory);
    store_run(store, true);
    add(store, 0, WARM_UP);
    uint64_t records = logged(f->directory);
    assert_in_range(records, 1, WARM_UP - 1);
    add(store, WARM_UP, WARM_UP + 5);
    assert_int_equal(logged(f->directory), records + 5);
    assert_added(store, WARM_UP + 5);
    store_run(store, false);
    assert_int_equal(logged(f->directory), 0);
    assert_added(store, WARM_UP + 5);
    store_close(store);
}

static void without_a_run_no_log_is_made(void **state)
{
    struct fixture *f = *state;
    struct store *store = opened(f->directory);
    add(store, 0, 100);
    assert_false(has_file(f->directory, REDO_NAME));
    store_close(store);
}

static void a_store_that_does_not_flush_makes_no_log(void **state)
{
    struct fixture *f = *state;
    struct store *store = opened_with(f->directory, (struct store_options){.create = true});
    store_run(store, true);
    add(store, 0, 100);
    assert_false(has_file(f->directory, REDO_NAME));
    store_run(store, false);
    store_close(store);
}

static void the_end_of_one_run_of_two_leaves_the_log(void **state)
{
    struct fixture *f = *state;
    struct store *store = opened(f->directory);
    store_run(store, true);
    store_run(store, true);
    add(store, 0, WARM_UP);
    store_run(store, false);
    assert_true(logged(f->directory) > 0);
    store_run(store, false);
    assert_int_equal(logged(f->directory), 0);
    store_close(store);
}

static void closing_clears_the_log(void **state)
{
    struct fixture *f = *state;
    struct store *store = opened(f->directory);
    store_run(store, true);
    add(store, 0, WARM_UP);
    store_close(store);
    assert_int_equal(logged(f->directory), 0);
    store = opened(f->directory);
    assert_added(store, WARM_UP);
    store_close(store);
}

static void a_transaction_larger_than_the_log_goes_without_it(void **state)
{
    struct fixture *f = *state;
    struct ls_error error = {0};
    struct store *store = opened(f->directory);
    store_run(store, true);
    add(store, 0, WARM_UP);
    size_t size = REDO_CAPACITY;
    char *large = calloc(1, size);
    assert_non_null(large);
    struct key key = text_key('V', "large");
    struct store_txn *txn = edited(store, WARM_UP);
    assert_ok(store->driver->put(txn, key_bytes(&key), bytes_of(large, size), false, &error));
    commit(store, txn);
    free(large);
    assert_int_equal(logged(f->directory), 0);
    assert_added(store, WARM_UP + 1);
    store_close(store);
}

static void rounds_follow_each_other_and_the_file_stays_small(void **state)
{
    struct fixture *f = *state;
    struct store *store = opened(f->directory);
    struct ls_error error = {0};
    struct store_stat stat_of;
    struct redo_reader reader;
    store_run(store, true);
    for (unsigned i = 0; i < 3000; i++) {
        struct store_txn *txn = begin(store, STORE_WRITE);
        put(store, txn, number_key(i % 50), "value");
        commit(store, txn);
    }
    assert_int_equal(redo_reader_open(&reader, f->directory, REDO_CAPACITY, &error), 1);
    assert_true(reader.round > 2);
    redo_reader_close(&reader);
    store_run(store, false);
    assert_ok(store->driver->stat(store, &stat_of, &error));
    assert_in_range(stat_of.bytes_file, 1, 48 << 20);
    store_close(store);
}

static void near_the_quota_free_pages_are_used_at_once(void **state)
{
    struct fixture *f = *state;
    struct store *store = opened_with(
        f->directory,
        (struct store_options){.create = true, .sync = true, .quota = UINT64_C(40) << 20});
    struct ls_error error = {0};
    char *value = calloc(1, 100000);
    assert_non_null(value);
    store_run(store, true);
    add(store, 0, WARM_UP);
    assert_true(logged(f->directory) > 0);
    /* Over and over the same: 200 MB go through 40. */
    for (unsigned i = 0; i < 2000; i++) {
        struct key key = number_key(100000 + i % 20);
        struct store_txn *txn = begin(store, STORE_WRITE);
        assert_ok(store->driver->room(txn, STORE_ROOM_ADD, 100000, &error));
        assert_ok(store->driver->put(txn, key_bytes(&key), bytes_of(value, 100000), false, &error));
        commit(store, txn);
    }
    free(value);
    store_run(store, false);
    store_close(store);
}

/* ---- crashes ---- */

/* What a process leaves that is killed in a row of writes. */
static void add_and_be_killed(const char *directory, unsigned count)
{
    pid_t child = new_child();
    if (child == 0) {
        struct store *store = opened(directory);
        store_run(store, true);
        add(store, 0, count);
        die();
    }
    assert_int_equal(end_of(child), 1000 + SIGKILL);
}

static void what_a_killed_process_committed_is_there(void **state)
{
    struct fixture *f = *state;
    add_and_be_killed(f->directory, 200);
    assert_true(logged(f->directory) > 0);
    struct store *store = opened(f->directory);
    assert_added(store, 200);
    assert_int_equal(logged(f->directory), 0);
    store_close(store);
}

static void a_reader_recovers_too(void **state)
{
    struct fixture *f = *state;
    add_and_be_killed(f->directory, 100);
    struct store *store = opened_with(f->directory, (struct store_options){.read_only = true});
    assert_added(store, 100);
    store_close(store);
}

static void after_a_power_loss_the_log_restores_what_was_committed(void **state)
{
    struct fixture *f = *state;
    struct file flushed = {0};
    struct file newest;
    struct file redo;
    char path[2 * SCRATCH_SIZE];
    struct store *store = opened(f->directory);
    store_run(store, true);
    unsigned end = 0;
    while (logged(f->directory) == 0) {
        flushed = file_of(f->directory, "data.mdb");
        add(store, end, end + 1);
        end++;
        if (logged(f->directory) == 0) {
            free(flushed.data);
        }
    }
    add(store, end, end + 150);
    end += 150;
    newest = file_of(f->directory, "data.mdb");
    redo = file_of(f->directory, REDO_NAME);
    store_close(store);
    for (unsigned seed = 0; seed < 20; seed++) {
        struct file data = mixed(flushed, newest, seed);
        make_image(path, f, "image", data, redo);
        store = opened(path);
        assert_added(store, end);
        assert_int_equal(logged(path), 0);
        /* And of a recovery that a power loss cut short nothing is left. */
        struct file recovered = file_of(path, "data.mdb");
        store_close(store);
        struct file again = mixed(data, recovered, seed + 1000);
        make_image(path, f, "image", again, redo);
        store = opened(path);
        assert_added(store, end);
        store_close(store);
        free(data.data);
        free(recovered.data);
        free(again.data);
    }
    free(flushed.data);
    free(newest.data);
    free(redo.data);
}

static void a_log_that_is_damaged_is_refused_and_nothing_is_changed(void **state)
{
    struct fixture *f = *state;
    struct ls_error error = {0};
    struct store *store;
    char path[2 * SCRATCH_SIZE];
    add_and_be_killed(f->directory, 100);
    struct file data = file_of(f->directory, "data.mdb");
    struct file redo = file_of(f->directory, REDO_NAME);
    redo.data[100] ^= 1; /* in the edits of the first record */
    make_image(path, f, "image", data, redo);
    for (int i = 0; i < 2; i++) {
        assert_code(open_store(&store, path, &error), LS_ECORRUPT);
        assert_non_null(strstr(error.text, "the redo log is damaged"));
    }
    struct file after = file_of(path, "data.mdb");
    assert_int_equal(after.size, data.size);
    assert_memory_equal(after.data, data.data, data.size);
    redo.data[100] ^= 1;
    make_image(path, f, "image", data, redo);
    store = opened(path);
    assert_added(store, 100);
    store_close(store);
    free(data.data);
    free(redo.data);
    free(after.data);
}

static void a_log_damaged_further_on_is_refused_each_time(void **state)
{
    struct fixture *f = *state;
    struct ls_error error = {0};
    struct store *store;
    char path[2 * SCRATCH_SIZE];
    add_and_be_killed(f->directory, 100);
    struct file data = file_of(f->directory, "data.mdb");
    struct file redo = file_of(f->directory, REDO_NAME);
    size_t at = (size_t)10 * REDO_BLOCK + 100;
    redo.data[at] ^= 1;
    make_image(path, f, "image", data, redo);
    for (int i = 0; i < 2; i++) {
        assert_code(open_store(&store, path, &error), LS_ECORRUPT);
    }
    redo.data[at] ^= 1;
    make_image(path, f, "image", data, redo);
    store = opened(path);
    assert_added(store, 100);
    store_close(store);
    free(data.data);
    free(redo.data);
}

/* ---- other processes ---- */

static void another_process_ends_the_round_before_it_writes(void **state)
{
    struct fixture *f = *state;
    struct store *store = opened(f->directory);
    store_run(store, true);
    add(store, 0, WARM_UP);
    assert_true(logged(f->directory) > 0);
    pid_t child = new_child();
    if (child == 0) {
        struct store *mine = opened(f->directory);
        add(mine, WARM_UP, WARM_UP + 1);
        store_close(mine);
        child_exit(0);
    }
    assert_int_equal(end_of(child), 0);
    assert_int_equal(logged(f->directory), 0);
    add(store, WARM_UP + 1, WARM_UP + 2);
    assert_int_equal(logged(f->directory), 0);
    add(store, WARM_UP + 2, 2 * WARM_UP);
    assert_true(logged(f->directory) > 0);
    store_run(store, false);
    assert_added(store, 2 * WARM_UP);
    store_close(store);
}

/* In a child, which for a while can open no more files. */
static void refused_without_files(struct store *store)
{
    struct rlimit before, none;
    struct ls_error error = {0};
    struct store_txn *txn;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 3, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int result = store->driver->begin(store, STORE_WRITE, &txn, &error);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    store_close(store);
    child_exit(result == LS_EIO && strstr(error.text, "redo log") != NULL ? 0 : 1);
}

static void who_cannot_open_the_log_is_refused_and_nobody_else(void **state)
{
    struct fixture *f = *state;
    struct store *store = opened(f->directory);
    store_run(store, true);
    add(store, 0, WARM_UP);
    assert_true(logged(f->directory) > 0);
    pid_t child = new_child();
    if (child == 0) {
        refused_without_files(opened(f->directory));
    }
    assert_int_equal(end_of(child), 0);
    add(store, WARM_UP, WARM_UP + 1);
    assert_true(logged(f->directory) > 0);
    store_run(store, false);
    assert_added(store, WARM_UP + 1);
    store_close(store);
}

static void the_round_of_a_killed_process_is_ended_by_the_next_writer(void **state)
{
    struct fixture *f = *state;
    struct store *store = opened(f->directory);
    struct store *reader = opened_with(f->directory, (struct store_options){.read_only = true});
    add_and_be_killed(f->directory, 100);
    assert_true(logged(f->directory) > 0);
    assert_added(reader, 100);
    add(store, 100, 101);
    assert_int_equal(logged(f->directory), 0);
    assert_added(reader, 101);
    store_close(reader);
    store_close(store);
}

/* ---- flushes that fail ---- */

static void a_commit_whose_record_cannot_be_written_goes_without_the_log(void **state)
{
    struct fixture *f = *state;
    struct store *store = opened(f->directory);
    store_run(store, true);
    add(store, 0, WARM_UP);
    pwrites_fail = 1;
    add(store, WARM_UP, WARM_UP + 1);
    assert_int_equal(pwrites_fail, 0);
    assert_int_equal(logged(f->directory), 0);
    add(store, WARM_UP + 1, 2 * WARM_UP);
    assert_added(store, 2 * WARM_UP);
    store_close(store);
}

static void where_the_log_cannot_be_cleared_nobody_writes_until_it_is_opened_again(void **state)
{
    struct fixture *f = *state;
    struct ls_error error = {0};
    struct store *store = opened(f->directory);
    struct store_txn *txn;
    store_run(store, true);
    add(store, 0, WARM_UP);
    pwrites_fail = 2;
    txn = edited(store, WARM_UP);
    assert_code(store->driver->commit(txn, &error), LS_EIO);
    assert_code(store->driver->begin(store, STORE_WRITE, &txn, &error), LS_EIO);
    assert_non_null(strstr(error.text, "open it again"));
    assert_added(store, WARM_UP);
    store_close(store);
    store = opened(f->directory);
    assert_added(store, WARM_UP);
    add(store, WARM_UP, 2 * WARM_UP);
    store_close(store);
}

static void where_the_data_file_cannot_be_flushed_the_log_keeps_everything(void **state)
{
    struct fixture *f = *state;
    struct ls_error error = {0};
    struct store *store = opened(f->directory);
    struct store_txn *txn;
    store_run(store, true);
    add(store, 0, WARM_UP);
    syncs_fail = 1;
    store_run(store, false);
    assert_true(logged(f->directory) > 0);
    assert_code(store->driver->begin(store, STORE_WRITE, &txn, &error), LS_EIO);
    store_close(store);
    assert_true(logged(f->directory) > 0);
    store = opened(f->directory);
    assert_added(store, WARM_UP);
    add(store, WARM_UP, WARM_UP + 1);
    store_close(store);
}

static void a_commit_that_fails_behind_its_flush_does_not_come_back(void **state)
{
    struct fixture *f = *state;
    struct ls_error error = {0};
    pid_t child = new_child();
    if (child == 0) {
        struct store *store = opened(f->directory);
        store_run(store, true);
        add(store, 0, WARM_UP);
        commits_fail = 1;
        struct store_txn *txn = edited(store, WARM_UP);
        if (store->driver->commit(txn, &error) != LS_ENOSPACE) {
            child_exit(1);
        }
        die();
    }
    assert_int_equal(end_of(child), 1000 + SIGKILL);
    struct store *store = opened(f->directory);
    assert_added(store, WARM_UP);
    store_close(store);
}

/* ---- allocations that fail ---- */

static void commit_with_failing_allocation(void *context, long n)
{
    struct store *store = context;
    struct ls_error error = {0};
    struct store_txn *txn;
    struct key key = number_key((unsigned)n);
    char value[3 * PAGE] = {0};
    int result = store->driver->begin(store, STORE_WRITE, &txn, &error);
    if (result == 0) {
        result =
            store->driver->put(txn, key_bytes(&key), bytes_of(value, sizeof value), false, &error);
        if (result == 0) {
            result = store->driver->commit(txn, &error);
        } else {
            store->driver->abort(txn);
        }
    }
    assert_true(result == 0 || result == LS_ENOMEM);
}

static void a_commit_with_a_failing_allocation_is_made_or_refused(void **state)
{
    struct fixture *f = *state;
    struct store *store = opened(f->directory);
    store_run(store, true);
    add(store, 0, 16); /* the next commit begins a round */
    assert_int_equal(logged(f->directory), 0);
    faults_each_allocation(commit_with_failing_allocation, store);
    store_run(store, false);
    store_close(store);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(commits_that_follow_each_other_go_to_the_log),
        TEST(without_a_run_no_log_is_made),
        TEST(a_store_that_does_not_flush_makes_no_log),
        TEST(the_end_of_one_run_of_two_leaves_the_log),
        TEST(closing_clears_the_log),
        TEST(a_transaction_larger_than_the_log_goes_without_it),
        TEST(rounds_follow_each_other_and_the_file_stays_small),
        TEST(near_the_quota_free_pages_are_used_at_once),
        TEST(what_a_killed_process_committed_is_there),
        TEST(a_reader_recovers_too),
        TEST(after_a_power_loss_the_log_restores_what_was_committed),
        TEST(a_log_that_is_damaged_is_refused_and_nothing_is_changed),
        TEST(a_log_damaged_further_on_is_refused_each_time),
        TEST(another_process_ends_the_round_before_it_writes),
        TEST(who_cannot_open_the_log_is_refused_and_nobody_else),
        TEST(the_round_of_a_killed_process_is_ended_by_the_next_writer),
        TEST(a_commit_whose_record_cannot_be_written_goes_without_the_log),
        TEST(where_the_log_cannot_be_cleared_nobody_writes_until_it_is_opened_again),
        TEST(where_the_data_file_cannot_be_flushed_the_log_keeps_everything),
        TEST(a_commit_that_fails_behind_its_flush_does_not_come_back),
        TEST(a_commit_with_a_failing_allocation_is_made_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
