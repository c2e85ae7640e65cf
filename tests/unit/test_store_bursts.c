/* SPDX-License-Identifier: Apache-2.0 */
/* Several processes that write to one directory in bursts, so that now one of them has a round of
 * the redo log and now another, while any or all of them are killed. */
#include <stdatomic.h>
#include <sys/mman.h>

#include "store_log_fixture.h"

#define WRITERS     4
#define KILLS       40
#define KILLS_MAX   400 /* as long as none has come in a round */
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
    for (unsigned n = 0; n < KILLS || (rounds == 0 && n < KILLS_MAX); n++) {
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bursts_of_several_processes_that_are_killed_lose_nothing,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
