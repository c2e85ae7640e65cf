/* SPDX-License-Identifier: Apache-2.0 */
/* Commits by the redo log: when they go there, what of them a crash leaves, and what happens to
 * them when other processes write, a process is killed, or a flush fails. A power loss is a
 * directory put together from what was flushed and any of the pages that were not. */
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "faults.h"
#include "store/redo.h"
#include "store_fixture.h"

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

/* ---- stores ---- */

struct fixture {
    char scratch[SCRATCH_SIZE];
    char directory[SCRATCH_SIZE + 16];
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    scratch_make(f->scratch);
    snprintf(f->directory, sizeof f->directory, "%s/store", f->scratch);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    pwrites_fail = syncs_fail = commits_fail = 0;
    scratch_remove(f->scratch);
    free(f);
    return 0;
}

static struct store *opened_with(const char *directory, struct store_options options)
{
    struct ls_error error = {0};
    struct store *store = NULL;
    assert_ok(store_open(&store, directory, &options, &error));
    return store;
}

static struct store *opened(const char *directory)
{
    return opened_with(directory, (struct store_options){.create = true, .sync = true});
}

static struct key number_key(unsigned number)
{
    char text[16];
    snprintf(text, sizeof text, "%06u", number);
    return text_key('O', text);
}

/* Deletes an object by its key, or as what a cursor stands on. */
static void delete_object(struct store *store, struct store_txn *txn, unsigned number)
{
    struct ls_error error = {0};
    struct store_cursor *cursor;
    ls_bytes at;
    ls_bytes value;
    struct key key = number_key(number);
    if (number % 2 == 0) {
        assert_ok(store->driver->del(txn, key_bytes(&key), &error));
        return;
    }
    assert_ok(store->driver->scan(txn, key_bytes(&key), (ls_bytes){0}, false, &cursor, &error));
    assert_int_equal(store->driver->next(cursor, &at, &value, &error), 1);
    assert_ok(store->driver->drop(cursor, &error));
    store->driver->scan_end(cursor);
}

/* A transaction that appends message `number`, puts object `number` and deletes the one ten before.
 * Committed by the caller. */
static struct store_txn *edited(struct store *store, unsigned number)
{
    struct ls_error error = {0};
    struct store_txn *txn = begin(store, STORE_WRITE);
    struct key message = message_key(number + 1);
    struct key object = number_key(number);
    char value[300];
    memset(value, 'a' + (int)(number % 26), sizeof value);
    assert_ok(
        store->driver->put(txn, key_bytes(&message), bytes_of(value, sizeof value), true, &error));
    assert_ok(
        store->driver->put(txn, key_bytes(&object), bytes_of(value, number % 300), false, &error));
    if (number >= 10) {
        delete_object(store, txn, number - 10);
    }
    return txn;
}

static void add(struct store *store, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        commit(store, edited(store, i));
    }
}

/* That exactly the commits below `end` are there. */
static void assert_added(struct store *store, unsigned end)
{
    assert_int_equal(count(store, 'M'), end);
    assert_int_equal(count(store, 'O'), end < 10 ? end : 10);
    struct store_txn *txn = begin(store, STORE_READ);
    for (unsigned i = 0; i < end; i++) {
        ls_bytes value = {0};
        struct key message = message_key(i + 1);
        assert_int_equal(store->driver->get(txn, key_bytes(&message), &value), 0);
        assert_int_equal(value.size, 300);
        assert_int_equal(*(const char *)value.data, 'a' + (int)(i % 26));
    }
    store->driver->abort(txn);
}

/* Records in the log: 0 where it is empty. */
static uint64_t logged(const char *directory)
{
    struct redo_reader reader;
    struct ls_error error = {0};
    int result = redo_reader_open(&reader, directory, &error);
    while (result == 1) {
        result = redo_reader_next(&reader, &error);
    }
    uint64_t records = reader.records;
    redo_reader_close(&reader);
    assert_int_equal(result, 0);
    return records;
}

static bool has_file(const char *directory, const char *name)
{
    char path[2 * SCRATCH_SIZE];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return access(path, F_OK) == 0;
}

/* ---- processes and directories ---- */

static pid_t new_child(void)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    }
    return child;
}

static int end_of(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void die(void)
{
    kill(getpid(), SIGKILL);
}

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
    assert_int_equal(redo_reader_open(&reader, f->directory, &error), 1);
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

static void what_a_killed_process_committed_is_there(void **state)
{
    struct fixture *f = *state;
    pid_t child = new_child();
    if (child == 0) {
        struct store *store = opened(f->directory);
        store_run(store, true);
        add(store, 0, 200);
        die();
    }
    assert_int_equal(end_of(child), 1000 + SIGKILL);
    assert_true(logged(f->directory) > 0);
    struct store *store = opened(f->directory);
    assert_added(store, 200);
    assert_int_equal(logged(f->directory), 0);
    store_close(store);
}

static void a_reader_recovers_too(void **state)
{
    struct fixture *f = *state;
    pid_t child = new_child();
    if (child == 0) {
        struct store *store = opened(f->directory);
        store_run(store, true);
        add(store, 0, 100);
        die();
    }
    assert_int_equal(end_of(child), 1000 + SIGKILL);
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
        _exit(0);
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

static void the_round_of_a_killed_process_is_ended_by_the_next_writer(void **state)
{
    struct fixture *f = *state;
    struct store *store = opened(f->directory);
    struct store *reader = opened_with(f->directory, (struct store_options){.read_only = true});
    pid_t child = new_child();
    if (child == 0) {
        struct store *mine = opened(f->directory);
        store_run(mine, true);
        add(mine, 0, 100);
        die();
    }
    assert_int_equal(end_of(child), 1000 + SIGKILL);
    assert_true(logged(f->directory) > 0);
    assert_added(reader, 100);
    add(store, 100, 101);
    assert_int_equal(logged(f->directory), 0);
    assert_added(reader, 101);
    store_close(reader);
    store_close(store);
}

/* ---- several processes that are killed ---- */

#define WRITERS     4
#define KILLS       40
#define BETWEEN_MAX 400 /* commits between two kills */
#define BURST_MAX   60
#define ALONE_OF    4 /* of so many bursts all but one wait until no other does so */

/* In memory that the writers share with the test. */
struct ledger {
    _Atomic uint32_t begun[WRITERS];    /* commits of each writer that were asked for */
    _Atomic uint32_t answered[WRITERS]; /* and came back */
    _Atomic uint32_t alone;             /* who writes alone, from 1; 0: nobody does */
};

static uint32_t number_in(struct store *store, struct store_txn *txn, struct key key)
{
    uint32_t number = 0;
    ls_bytes value;
    if (store->driver->get(txn, key_bytes(&key), &value) == 0) {
        assert_int_equal(value.size, sizeof number);
        memcpy(&number, value.data, sizeof number);
    }
    return number;
}

static void put_number(struct store *store, struct store_txn *txn, struct key key, uint32_t number)
{
    struct ls_error error = {0};
    assert_ok(
        store->driver->put(txn, key_bytes(&key), bytes_of(&number, sizeof number), false, &error));
}

/* One transaction of writer `w`: its own number and that of all grow by one; a message comes. */
static void count_up(struct store *store, unsigned w, struct ledger *ledger)
{
    struct ls_error error = {0};
    struct store_txn *txn = begin(store, STORE_WRITE);
    uint32_t all = number_in(store, txn, text_key('C', "all"));
    uint32_t mine = number_in(store, txn, number_key(w));
    struct key message = message_key(all + 1);
    atomic_store(&ledger->begun[w], mine + 1);
    put_number(store, txn, text_key('C', "all"), all + 1);
    put_number(store, txn, number_key(w), mine + 1);
    assert_ok(store->driver->put(txn, key_bytes(&message), bytes_of(&w, sizeof w), true, &error));
    commit(store, txn);
    atomic_store(&ledger->answered[w], mine + 1);
}

static void write_in_bursts(const char *directory, unsigned w, unsigned seed, struct ledger *ledger)
{
    struct store *store = opened(directory);
    srand(seed);
    for (;;) {
        unsigned burst = 1 + (unsigned)rand() % BURST_MAX;
        uint32_t nobody = 0;
        bool alone = rand() % ALONE_OF != 0;
        while (alone && !atomic_compare_exchange_strong(&ledger->alone, &nobody, w + 1)) {
            nobody = 0;
            usleep(100);
        }
        store_run(store, true);
        for (unsigned i = 0; i < burst; i++) {
            count_up(store, w, ledger);
        }
        if (alone) {
            atomic_store(&ledger->alone, 0);
        }
        store_run(store, false);
    }
}

static uint64_t answered_by_all(struct ledger *ledger)
{
    uint64_t sum = 0;
    for (int w = 0; w < WRITERS; w++) {
        sum += atomic_load(&ledger->answered[w]);
    }
    return sum;
}

/* Every answered commit is there, no other but the one of each writer that was under way. */
static void audit_counts(struct store *store, struct ledger *ledger)
{
    struct store_txn *txn = begin(store, STORE_READ);
    uint32_t sum = 0;
    for (unsigned w = 0; w < WRITERS; w++) {
        uint32_t answered = atomic_load(&ledger->answered[w]);
        uint32_t there = number_in(store, txn, number_key(w));
        assert_in_range(there, answered, atomic_load(&ledger->begun[w]));
        atomic_store(&ledger->answered[w], there);
        sum += there;
    }
    assert_int_equal(number_in(store, txn, text_key('C', "all")), sum);
    uint64_t messages;
    struct ls_error error = {0};
    assert_ok(store->driver->count(txn, 'M', &messages, &error));
    assert_int_equal(messages, sum);
    store->driver->abort(txn);
}

static void bursts_of_several_processes_that_are_killed_lose_nothing(void **state)
{
    struct fixture *f = *state;
    struct ledger *ledger =
        mmap(NULL, sizeof *ledger, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(ledger, MAP_FAILED);
    pid_t children[WRITERS] = {0};
    unsigned seed = 1;
    unsigned rounds = 0;
    store_close(opened(f->directory));
    for (unsigned n = 0; n < KILLS; n++) {
        for (unsigned w = 0; w < WRITERS; w++) {
            if (children[w] == 0 && (children[w] = new_child()) == 0) {
                write_in_bursts(f->directory, w, seed + w, ledger);
            }
        }
        seed += 7;
        srand(seed);
        uint64_t target = answered_by_all(ledger) + (unsigned)rand() % BETWEEN_MAX;
        while (answered_by_all(ledger) < target) {
            usleep(50);
        }
        bool all = n % 2 == 0 || n + 1 == KILLS;
        for (unsigned w = 0; w < WRITERS; w++) {
            if (all || w == n % WRITERS) {
                kill(children[w], SIGKILL);
            }
        }
        for (unsigned w = 0; w < WRITERS; w++) {
            if (all || w == n % WRITERS) {
                assert_int_equal(end_of(children[w]), 1000 + SIGKILL);
                children[w] = 0;
                uint32_t itself = w + 1;
                (void)atomic_compare_exchange_strong(&ledger->alone, &itself, 0);
            }
        }
        if (all) {
            rounds += logged(f->directory) > 0;
            struct store *store = opened(f->directory);
            audit_counts(store, ledger);
            store_close(store);
        }
    }

    assert_true(rounds > 0);
    munmap(ledger, sizeof *ledger);
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
            _exit(1);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

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
        TEST(another_process_ends_the_round_before_it_writes),
        TEST(the_round_of_a_killed_process_is_ended_by_the_next_writer),
        TEST(bursts_of_several_processes_that_are_killed_lose_nothing),
        TEST(a_commit_whose_record_cannot_be_written_goes_without_the_log),
        TEST(where_the_log_cannot_be_cleared_nobody_writes_until_it_is_opened_again),
        TEST(where_the_data_file_cannot_be_flushed_the_log_keeps_everything),
        TEST(a_commit_that_fails_behind_its_flush_does_not_come_back),
        TEST(a_commit_with_a_failing_allocation_is_made_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
