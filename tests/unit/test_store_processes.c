/* SPDX-License-Identifier: Apache-2.0 */
/* Several processes on one directory of the LMDB driver: whose turn it is to write, who wakes whom,
 * and what killed processes leave. */
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "store/turn.h"
#include "store_directory_fixture.h"

static bool forks_while_locked; /* once, when the directory is locked */
static pid_t bystander;         /* that child, which does nothing */

/* In the place of the system's. */
int flock(int fd, int operation)
{
    int result = (int)syscall(SYS_flock, fd, operation);
    if (forks_while_locked && operation == LOCK_EX) {
        forks_while_locked = false;
        bystander = new_child();
        while (bystander == 0) {
            pause();
        }
    }
    return result;
}

static struct store *opened(const char *directory)
{
    return opened_with(directory, (struct store_options){.create = true});
}

/* ---- turns ---- */

static struct turn turn_in(const struct fixture *f, const char *name)
{
    char directory[2 * SCRATCH_SIZE], path[2 * SCRATCH_SIZE + 8];
    struct turn turn;
    file_path(directory, f->scratch, name);
    snprintf(path, sizeof path, "%s/wake", directory);
    (void)mkdir(directory, 0700);
    close(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    turn_init(&turn);
    turn_open(&turn, directory);
    return turn;
}

struct waiting {
    struct turn *turn;
    int ended; /* a pipe, into which who has the turn says that it comes to its end */
    int unread;
};

static void *wait_for_turn(void *argument)
{
    struct waiting *waiting = argument;
    turn_take(waiting->turn);
    (void)ioctl(waiting->ended, FIONREAD, &waiting->unread);
    turn_give(waiting->turn);
    return NULL;
}

static void turns_at_two_directories_are_waited_for_in_each(void **state)
{
    struct fixture *f = *state;
    struct turn one = turn_in(f, "one"), two = turn_in(f, "two");
    struct waiting waiting = {.turn = &two};
    pthread_t thread;
    int ends[2];
    char byte = 0;
    assert_int_equal(pipe(ends), 0);
    turn_take(&one);
    pid_t child = new_child();
    if (child == 0) {
        struct turn mine = turn_in(f, "two"), theirs = turn_in(f, "one");
        turn_take(&mine);
        bool good = write(ends[1], &byte, 1) == 1;
        turn_take(&theirs);
        good = good && write(ends[1], &byte, 1) == 1;
        turn_give(&mine);
        child_exit(good ? 0 : 1);
    }
    assert_int_equal(read(ends[0], &byte, 1), 1);
    usleep(50000); /* until the child waits */
    waiting.ended = ends[0];
    assert_int_equal(pthread_create(&thread, NULL, wait_for_turn, &waiting), 0);
    usleep(50000); /* until the thread does */
    turn_give(&one);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(waiting.unread, 1);
    assert_int_equal(end_of(child), 0);
    turn_close(&one);
    turn_close(&two);
    close(ends[0]);
    close(ends[1]);
}

/* Adds `rounds` to a number in the store. */
static int add_in_child(const char *directory, int rounds, uint64_t map_size_max)
{
    struct ls_error error = {0};
    struct store *store;
    struct store_options options = {.create = true, .map_size_max = map_size_max};
    if (store_open(&store, directory, &options, &error) != 0) {
        return 1;
    }
    for (int i = 0; i < rounds; i++) {
        struct store_txn *txn;
        struct key key = text_key('C', "sum");
        ls_bytes value;
        uint64_t sum = 0;
        if (store->driver->begin(store, STORE_WRITE, &txn, &error) != 0) {
            return 2;
        }
        if (store->driver->get(txn, key_bytes(&key), &value) == 0) {
            memcpy(&sum, value.data, sizeof sum);
        }
        sum++;
        if (store->driver->room(txn, STORE_ROOM_ADD, 100, &error) != 0 ||
            store->driver->put(txn, key_bytes(&key), bytes_of(&sum, sizeof sum), false, &error) !=
                0 ||
            store->driver->commit(txn, &error) != 0) {
            return 3;
        }
    }
    store_close(store);
    return 0;
}

static void assert_sum_in(const char *directory, uint64_t wanted)
{
    struct store *store = opened(directory);
    assert_sum(store, wanted);
    store_close(store);
}

static void writers_of_several_processes_take_turns(void **state)
{
    enum { CHILDREN = 4, ROUNDS = 300 };
    const char *directory = directory_of(state);
    pid_t children[CHILDREN];
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = new_child();
        if (children[i] == 0) {
            child_exit(add_in_child(directory, ROUNDS, 0)); /* all of them create it */
        }
    }
    for (int i = 0; i < CHILDREN; i++) {
        assert_int_equal(end_of(children[i]), 0);
    }
    assert_sum_in(directory, CHILDREN * ROUNDS);
}

static void an_opener_that_is_refused_a_large_map_takes_nothing_back(void **state)
{
    enum { CHILDREN = 3, ROUNDS = 60 };
    const char *directory = directory_of(state);
    pid_t children[CHILDREN];
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = new_child();
        if (children[i] == 0) {
            for (int round = 0; round < ROUNDS; round++) {
                if (add_in_child(directory, 1, UINT64_C(1) << 48) != 0) {
                    child_exit(1);
                }
            }
            child_exit(0);
        }
    }
    for (int i = 0; i < CHILDREN; i++) {
        assert_int_equal(end_of(children[i]), 0);
    }
    assert_sum_in(directory, CHILDREN * ROUNDS);
}

static void a_commit_wakes_the_waiters_of_other_processes(void **state)
{
    const char *directory = directory_of(state);
    struct store *store = opened(directory);
    uint32_t word = store->driver->wake_word(store);
    pid_t child = new_child();
    if (child == 0) {
        child_exit(add_in_child(directory, 1, 0));
    }
    assert_true(store->driver->wake_wait(store, word, 60000));
    assert_int_equal(end_of(child), 0);
    store_close(store);
}

/* Commits when the count of messages is even (or odd), else waits for the other to commit. */
static void play(struct store *store, uint64_t turn, uint64_t hops)
{
    for (uint64_t done = 0; done < hops;) {
        uint32_t word = store->driver->wake_word(store);
        done = count(store, 'M');
        if (done < hops && done % 2 == turn) {
            put_alone(store, message_key(done), "");
        } else if (done < hops) {
            store->driver->wake_wait(store, word, -1);
        }
    }
}

/* Each waits for the other's commit, many times: a waiter that only looked now and then, as for a
 * writer that died, would take a hundred times as long. */
static void waking_takes_milliseconds(void **state)
{
    enum { HOPS = 100 };
    const char *directory = directory_of(state);
    struct store *store = opened(directory);
    struct timespec start;
    struct timespec end;
    pid_t child = new_child();
    if (child == 0) {
        struct ls_error error = {0};
        struct store *own;
        int result = open_store(&own, directory, &error);
        if (result == 0) {
            play(own, 1, HOPS);
        }
        child_exit(-result);
    }
    clock_gettime(CLOCK_MONOTONIC, &start);
    play(store, 0, HOPS);
    assert_int_equal(end_of(child), 0);
    clock_gettime(CLOCK_MONOTONIC, &end);
    store_close(store);
    assert_in_range(end.tv_sec - start.tv_sec, 0, 9);
}

static void a_commit_whose_writer_died_before_its_signal_is_noticed(void **state)
{
    const char *directory = directory_of(state);
    char path[2 * SCRATCH_SIZE];
    struct store *store = opened(directory);
    put_alone(store, text_key('O', "a"), "one");
    uint32_t word = store->driver->wake_word(store);
    uint64_t number = 1; /* as if the last signal had been for the first commit */
    file_path(path, directory, "wake");
    write_at(path, 16, &number, sizeof number);
    assert_true(store->driver->wake_wait(store, word, 60000));
    store_close(store);
}

/* A child that holds a write transaction, with a record put, when this returns. */
static pid_t hold_write_lock(const char *directory)
{
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    pid_t child = new_child();
    if (child == 0) {
        struct ls_error error = {0};
        struct store *store;
        struct store_txn *txn;
        struct key key = text_key('O', "a");
        if (open_store(&store, directory, &error) != 0 ||
            store->driver->begin(store, STORE_WRITE, &txn, &error) != 0 ||
            store->driver->put(txn, key_bytes(&key), bytes_of_text("torn"), false, &error) != 0 ||
            write(pipes[1], "x", 1) != 1) {
            child_exit(1);
        }
        for (;;) {
            pause();
        }
    }
    char byte;
    close(pipes[1]);
    assert_int_equal(read(pipes[0], &byte, 1), 1);
    close(pipes[0]);
    return child;
}

static void a_writer_that_is_killed_holds_nobody_up_and_leaves_nothing(void **state)
{
    const char *directory = directory_of(state);
    struct store *store = opened(directory);
    put_alone(store, text_key('O', "a"), "one");
    for (int i = 0; i < 5; i++) {
        pid_t child = hold_write_lock(directory);
        kill(child, SIGKILL);
        assert_int_equal(end_of(child), 1000 + SIGKILL);
        assert_value_now(store, text_key('O', "a"), "one");
        put_alone(store, text_key('O', "b"), "two");
    }
    store_close(store);
}

static void the_places_of_killed_readers_are_taken_again(void **state)
{
    struct ls_error error = {0};
    const char *directory = directory_of(state);
    struct store *store = opened(directory);
    put_alone(store, text_key('O', "a"), "one");
    for (int round = 0; round < 3; round++) {
        int pipes[2];
        assert_int_equal(pipe(pipes), 0);
        pid_t child = new_child();
        if (child == 0) {
            struct store *own;
            struct store_txn *txn;
            if (open_store(&own, directory, &error) != 0) {
                child_exit(1);
            }
            while (own->driver->begin(own, STORE_READ, &txn, &error) == 0) {
            }
            (void)!write(pipes[1], &error.code, sizeof error.code);
            for (;;) {
                pause();
            }
        }
        int code = 0;
        close(pipes[1]);
        assert_int_equal(read(pipes[0], &code, sizeof code), sizeof code);
        close(pipes[0]);
        assert_int_equal(code, LS_EBUSY);
        struct store_txn *txn;
        assert_code(store->driver->begin(store, STORE_READ, &txn, &error), LS_EBUSY);
        kill(child, SIGKILL);
        end_of(child);
        assert_ok(store->driver->begin(store, STORE_READ, &txn, &error));
        store->driver->abort(txn);
        store_close(store); /* it would keep the reader's place */
        store = opened(directory);
    }
    store_close(store);
}

static void a_child_opens_its_own_and_may_close_what_it_inherited(void **state)
{
    const char *directory = directory_of(state);
    struct store *store = opened(directory);
    put_alone(store, text_key('O', "a"), "one");
    struct store_txn *reader = begin(store, STORE_READ);
    pid_t child = new_child();
    if (child == 0) {
        int result = add_in_child(directory, 20, 0);
        store_close(store);
        child_exit(result != 0 ? result : add_in_child(directory, 20, 0));
    }
    assert_int_equal(end_of(child), 0);
    struct ls_error error = {0};
    struct store_stat stat;
    assert_ok(store->driver->stat(store, &stat, &error));
    assert_int_equal(stat.readers, 1);
    assert_value(store, reader, text_key('O', "a"), "one");
    assert_value(store, reader, text_key('C', "sum"), NULL);
    store->driver->abort(reader);
    put_alone(store, text_key('O', "a"), "two");
    assert_value_now(store, text_key('O', "a"), "two");
    store_close(store);
}

static void a_child_that_was_made_while_a_store_was_opened_holds_up_nobody(void **state)
{
    const char *directory = directory_of(state);
    forks_while_locked = true;
    store_close(opened(directory));
    assert_false(forks_while_locked);
    pid_t child = new_child();
    if (child == 0) {
        alarm(60);
        child_exit(add_in_child(directory, 1, 0));
    }
    assert_int_equal(end_of(child), 0);
    kill(bystander, SIGKILL);
    assert_int_equal(end_of(bystander), 1000 + SIGKILL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(turns_at_two_directories_are_waited_for_in_each),
        EACH(writers_of_several_processes_take_turns),
        EACH(an_opener_that_is_refused_a_large_map_takes_nothing_back),
        EACH(a_commit_wakes_the_waiters_of_other_processes),
        EACH(waking_takes_milliseconds),
        EACH(a_commit_whose_writer_died_before_its_signal_is_noticed),
        EACH(a_writer_that_is_killed_holds_nobody_up_and_leaves_nothing),
        EACH(the_places_of_killed_readers_are_taken_again),
        EACH(a_child_opens_its_own_and_may_close_what_it_inherited),
        EACH(a_child_that_was_made_while_a_store_was_opened_holds_up_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
