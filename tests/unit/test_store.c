/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of store.h, on each driver. What belongs to files is in test_store_files.c, to
 * processes in test_store_processes.c; limits are in test_store_space.c. */
#include <pthread.h>

#include "faults.h"
#include "store_fixture.h"

struct fixture {
    char scratch[SCRATCH_SIZE];
    struct store *store;
};

static int set_up(void **state, const char *kind)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct ls_error error = {0};
    assert_non_null(fixture);
    scratch_make(fixture->scratch);
    char url[SCRATCH_SIZE + 16];
    snprintf(url, sizeof url, "%s%s", kind, strcmp(kind, "mem:") == 0 ? "" : fixture->scratch);
    struct store_options options = {.create = true};
    assert_ok(store_open(&fixture->store, url, &options, &error));
    *state = fixture;
    return 0;
}

static int set_up_lmdb(void **state)
{
    return set_up(state, "lmdb:");
}

static int set_up_mem(void **state)
{
    return set_up(state, "mem:");
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    store_close(fixture->store);
    scratch_remove(fixture->scratch);
    free(fixture);
    return 0;
}

static struct store *store_of(void **state)
{
    return ((struct fixture *)*state)->store;
}

/* ---- records ---- */

static void a_put_is_seen_by_its_own_transaction_and_by_later_ones(void **state)
{
    struct store *store = store_of(state);
    struct store_txn *txn = begin(store, STORE_WRITE);
    put(store, txn, text_key('O', "a"), "one");
    assert_value(store, txn, text_key('O', "a"), "one");
    put(store, txn, text_key('O', "a"), "two");
    commit(store, txn);
    assert_value_now(store, text_key('O', "a"), "two");
    assert_value_now(store, text_key('O', "b"), NULL);
    assert_value_now(store, text_key('N', "a"), NULL);
}

static void an_aborted_transaction_leaves_nothing(void **state)
{
    struct store *store = store_of(state);
    put_alone(store, text_key('O', "a"), "one");
    struct store_txn *txn = begin(store, STORE_WRITE);
    put(store, txn, text_key('O', "a"), "two");
    put(store, txn, text_key('O', "b"), "two");
    store->driver->abort(txn);
    assert_value_now(store, text_key('O', "a"), "one");
    assert_value_now(store, text_key('O', "b"), NULL);
}

static void a_deleted_record_is_gone_and_a_missing_one_is_not_found(void **state)
{
    struct store *store = store_of(state);
    struct ls_error error = {0};
    put_alone(store, text_key('O', "a"), "one");
    struct store_txn *txn = begin(store, STORE_WRITE);
    struct key key = text_key('O', "a");
    assert_ok(store->driver->del(txn, key_bytes(&key), &error));
    assert_code(store->driver->del(txn, key_bytes(&key), &error), LS_ENOTFOUND);
    put(store, txn, text_key('O', "b"), "after");
    commit(store, txn);
    assert_value_now(store, key, NULL);
    assert_value_now(store, text_key('O', "b"), "after");
}

static void an_empty_value_and_a_large_one_come_back(void **state)
{
    struct store *store = store_of(state);
    char *large = malloc(1 << 20);
    assert_non_null(large);
    memset(large, 'x', (1 << 20) - 1);
    large[(1 << 20) - 1] = 0;
    put_alone(store, text_key('O', "empty"), "");
    put_alone(store, text_key('O', "large"), large);
    assert_value_now(store, text_key('O', "empty"), "");
    assert_value_now(store, text_key('O', "large"), large);
    free(large);
}

static void a_key_that_is_empty_too_long_or_of_no_category_is_refused(void **state)
{
    struct store *store = store_of(state);
    struct ls_error error = {0};
    uint8_t bytes[KEY_SIZE_MAX + 1] = {'O', KEY_VERSION_TYPE};
    const ls_bytes refused[] = {{NULL, 0}, {bytes, sizeof bytes}, {"X\x11key", 5}};
    ls_bytes value;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct store_txn *txn = begin(store, STORE_WRITE);
        assert_int_equal(store->driver->get(txn, refused[i], &value), LS_ENOTFOUND);
        assert_code(store->driver->put(txn, refused[i], refused[i], false, &error), LS_EKEY);
        assert_int_equal(error.code, LS_EKEY);
        store->driver->abort(txn);
    }
    struct store_txn *txn = begin(store, STORE_WRITE);
    assert_ok(store->driver->put(txn, (ls_bytes){bytes, KEY_SIZE_MAX}, refused[0], false, &error));
    commit(store, txn);
}

static void an_append_must_be_the_greatest_key_of_its_category(void **state)
{
    struct store *store = store_of(state);
    struct ls_error error = {0};
    put_alone(store, text_key('O', "later category"), "");
    struct store_txn *txn = begin(store, STORE_WRITE);
    for (uint64_t clock = 1; clock <= 1000; clock++) {
        struct key key = message_key(clock);
        assert_ok(store->driver->put(txn, key_bytes(&key), key_bytes(&key), true, &error));
    }
    commit(store, txn);
    for (uint64_t clock = 999; clock <= 1000; clock++) {
        txn = begin(store, STORE_WRITE);
        struct key key = message_key(clock);
        assert_code(store->driver->put(txn, key_bytes(&key), key_bytes(&key), true, &error),
                    LS_EINVAL);
        store->driver->abort(txn);
    }
    assert_int_equal(count(store, 'M'), 1000);
}

static void records_are_counted_by_category(void **state)
{
    struct store *store = store_of(state);
    struct ls_error error = {0};
    put_alone(store, text_key('O', "a"), "");
    put_alone(store, text_key('O', "b"), "");
    put_alone(store, text_key('N', "a"), "");
    assert_int_equal(count(store, 'O'), 2);
    assert_int_equal(count(store, 'N'), 1);
    assert_int_equal(count(store, 'V'), 0);
    uint64_t found = 42;
    struct store_txn *txn = begin(store, STORE_WRITE);
    put(store, txn, text_key('O', "c"), "");
    assert_ok(store->driver->count(txn, 'O', &found, &error));
    assert_int_equal(found, 3);
    assert_code(store->driver->count(txn, 'X', &found, &error), LS_EKEY);
    store->driver->abort(txn);
}

/* ---- transactions ---- */

static void a_reader_keeps_seeing_the_commit_it_began_with(void **state)
{
    struct store *store = store_of(state);
    put_alone(store, text_key('O', "a"), "one");
    struct store_txn *reader = begin(store, STORE_READ);
    put_alone(store, text_key('O', "a"), "two");
    for (uint64_t i = 0; i < 50; i++) { /* pages of the first commit would be used again by now */
        put_alone(store, message_key(i), "filler");
    }
    assert_value(store, reader, text_key('O', "a"), "one");
    assert_value(store, reader, message_key(3), NULL);
    store->driver->abort(reader);
    assert_value_now(store, text_key('O', "a"), "two");
}

static void a_reader_is_not_held_up_by_a_writer(void **state)
{
    struct store *store = store_of(state);
    put_alone(store, text_key('O', "a"), "one");
    struct store_txn *writer = begin(store, STORE_WRITE);
    put(store, writer, text_key('O', "a"), "two");
    assert_value_now(store, text_key('O', "a"), "one");
    commit(store, writer);
    assert_value_now(store, text_key('O', "a"), "two");
}

static void numbers_name_what_a_transaction_sees(void **state)
{
    struct store *store = store_of(state);
    struct store_txn *first = begin(store, STORE_READ);
    struct store_txn *second = begin(store, STORE_READ);
    uint64_t before = store->driver->number(first);
    assert_int_equal(store->driver->number(second), before);
    struct store_txn *writer = begin(store, STORE_WRITE);
    uint64_t written = store->driver->number(writer);
    assert_true(written > before);
    put(store, writer, text_key('O', "a"), "");
    commit(store, writer);
    struct store_txn *after = begin(store, STORE_READ);
    assert_int_equal(store->driver->number(after), written);
    assert_int_equal(store->driver->number(first), before);
    store->driver->abort(first);
    store->driver->abort(second);
    store->driver->abort(after);
}

static void more_readers_than_are_kept_ready_may_be_open(void **state)
{
    struct store *store = store_of(state);
    struct ls_error error = {0};
    enum { READERS = 200 };
    struct store_txn *readers[READERS];
    put_alone(store, text_key('O', "a"), "one");
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < READERS; i++) {
            readers[i] = begin(store, STORE_READ);
            assert_value(store, readers[i], text_key('O', "a"), "one");
        }
        struct store_stat stat;
        assert_ok(store->driver->stat(store, &stat, &error));
        assert_int_equal(stat.readers, READERS);
        for (int i = 0; i < READERS; i++) {
            store->driver->abort(readers[i]);
        }
        assert_ok(store->driver->stat(store, &stat, &error));
        assert_int_equal(stat.readers, 0);
    }
}

struct adder {
    struct store *store;
    int rounds;
};

static void *add_in_thread(void *context)
{
    struct adder *adder = context;
    for (int i = 0; i < adder->rounds; i++) {
        struct store_txn *txn = begin(adder->store, STORE_WRITE);
        struct key key = text_key('C', "sum");
        ls_bytes value;
        uint64_t sum = 0;
        if (adder->store->driver->get(txn, key_bytes(&key), &value) == 0) {
            memcpy(&sum, value.data, sizeof sum);
        }
        sum++;
        struct ls_error error = {0};
        assert_ok(adder->store->driver->put(txn, key_bytes(&key), bytes_of(&sum, sizeof sum), false,
                                            &error));
        commit(adder->store, txn);
    }
    return NULL;
}

static void writers_of_several_threads_take_turns(void **state)
{
    struct store *store = store_of(state);
    struct adder adder = {store, 500};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, add_in_thread, &adder), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_sum(store, 4 * 500);
}

/* ---- scans ---- */

/* Scans and returns the last letters of the keys met, in the order met. */
static void scan_letters(struct store *store, struct store_txn *txn, const char *from,
                         const char *to, bool backward, char *out)
{
    struct ls_error error = {0};
    struct store_cursor *cursor;
    ls_bytes key;
    ls_bytes value;
    struct key low = text_key('O', from);
    struct key high = text_key('O', to != NULL ? to : "");
    assert_ok(store->driver->scan(txn, key_bytes(&low),
                                  to != NULL ? key_bytes(&high) : (ls_bytes){0}, backward, &cursor,
                                  &error));
    while (store->driver->next(cursor, &key, &value, &error) == 1) {
        *out++ = ((const char *)key.data)[key.size - 1];
    }
    assert_int_equal(store->driver->next(cursor, &key, &value, &error), 0);
    store->driver->scan_end(cursor);
    *out = 0;
}

static void scans_respect_their_bounds_both_ways(void **state)
{
    struct store *store = store_of(state);
    static const struct {
        const char *from;
        const char *to;
        const char *forward;
        const char *backward;
    } cases[] = {
        {"", NULL, "bdfh", "hfdb"}, {"b", "h", "bdf", "fdb"}, {"c", "g", "df", "fd"},
        {"h", NULL, "h", "h"},      {"i", NULL, "", ""},      {"a", "b", "", ""},
        {"d", "d", "", ""},         {"f", "d", "", ""},       {"d", "d\x01", "d", "d"},
        {"a", "z", "bdfh", "hfdb"},
    };
    static const char *const letters[] = {"b", "d", "f", "h"};
    char found[16];
    /* Neighbours in the order of categories, which no scan may reach. */
    put_alone(store, text_key('N', "z"), "");
    put_alone(store, text_key('P', "a"), "");
    struct store_txn *txn = begin(store, STORE_READ);
    scan_letters(store, txn, "", NULL, false, found);
    assert_string_equal(found, "");
    store->driver->abort(txn);
    for (int i = 0; i < 4; i++) {
        put_alone(store, text_key('O', letters[i]), "");
    }
    txn = begin(store, STORE_READ);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        print_message("from \"%s\" to \"%s\"\n", cases[i].from, cases[i].to);
        scan_letters(store, txn, cases[i].from, cases[i].to, false, found);
        assert_string_equal(found, cases[i].forward);
        scan_letters(store, txn, cases[i].from, cases[i].to, true, found);
        assert_string_equal(found, cases[i].backward);
    }
    store->driver->abort(txn);
}

static void a_bound_of_the_next_category_ends_with_this_one(void **state)
{
    struct store *store = store_of(state);
    struct ls_error error = {0};
    put_alone(store, text_key('O', "a"), "");
    put_alone(store, text_key('P', "b"), "");
    struct store_txn *txn = begin(store, STORE_READ);
    for (int backward = 0; backward < 2; backward++) {
        struct store_cursor *cursor;
        ls_bytes key;
        ls_bytes value;
        assert_ok(store->driver->scan(txn, bytes_of_text("O"), bytes_of_text("P"), backward != 0,
                                      &cursor, &error));
        assert_int_equal(store->driver->next(cursor, &key, &value, &error), 1);
        assert_memory_equal(key.data,
                            "O\x11"
                            "a",
                            3);
        assert_int_equal(store->driver->next(cursor, &key, &value, &error), 0);
        store->driver->scan_end(cursor);
    }
    store->driver->abort(txn);
}

static void a_scan_of_no_category_is_refused(void **state)
{
    struct store *store = store_of(state);
    struct ls_error error = {0};
    struct store_cursor *cursor;
    struct store_txn *txn = begin(store, STORE_READ);
    assert_code(store->driver->scan(txn, (ls_bytes){0}, (ls_bytes){0}, false, &cursor, &error),
                LS_EKEY);
    assert_code(store->driver->scan(txn, bytes_of_text("X"), (ls_bytes){0}, false, &cursor, &error),
                LS_EKEY);
    store->driver->scan_end(NULL);
    store->driver->abort(txn);
}

/* ---- scans that delete, against a plain model ---- */

enum { MODEL_KEYS = 3000 };

struct model {
    struct store *store;
    struct store_txn *txn;
    bool there[MODEL_KEYS];
    uint64_t random;
};

static uint32_t draw(struct model *model, uint32_t below)
{
    model->random = model->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(model->random >> 33) % below;
}

static void model_put(struct model *model, uint32_t i)
{
    struct ls_error error = {0};
    char value[300];
    struct key key = message_key(i);
    memset(value, (int)i, sizeof value);
    assert_ok(model->store->driver->put(model->txn, key_bytes(&key),
                                        bytes_of(value, draw(model, sizeof value)), false, &error));
    model->there[i] = true;
}

static void model_del(struct model *model, uint32_t i)
{
    struct ls_error error = {0};
    struct key key = message_key(i);
    int result = model->store->driver->del(model->txn, key_bytes(&key), &error);
    assert_int_equal(result, model->there[i] ? 0 : LS_ENOTFOUND);
    model->there[i] = false;
}

/* Scans a range; drops some of what it meets, and puts and deletes elsewhere meanwhile, also right
 * where it stands. Each record must come exactly when it is there and ahead. */
static void model_scan(struct model *model, bool backward, bool changing)
{
    struct ls_error error = {0};
    uint32_t low = draw(model, MODEL_KEYS);
    uint32_t high = low + draw(model, MODEL_KEYS - low);
    struct key from = message_key(low);
    struct key to = message_key(high);
    struct store_cursor *cursor;
    const struct store_driver *driver = model->store->driver;
    assert_ok(
        driver->scan(model->txn, key_bytes(&from), key_bytes(&to), backward, &cursor, &error));
    uint32_t step = backward ? high : low;
    for (;;) {
        ls_bytes key;
        ls_bytes value;
        int result = driver->next(cursor, &key, &value, &error);
        while (backward ? step > low && !model->there[step - 1]
                        : step < high && !model->there[step]) {
            step = backward ? step - 1 : step + 1;
        }
        bool more = backward ? step > low : step < high;
        if (result != (more ? 1 : 0)) {
            fail_msg("range %u to %u, %s, at %u: next is %d", low, high,
                     backward ? "backward" : "forward", step, result);
        }
        if (!more) {
            break;
        }
        uint32_t at = backward ? --step : step++;
        assert_int_equal(get_be64((const uint8_t *)key.data + KEY_HEADER_SIZE), at);
        if (draw(model, 3) == 0) {
            assert_ok(driver->drop(cursor, &error));
            model->there[at] = false;
            if (changing && draw(model, 8) == 0) {
                model_put(model, at);
            }
        } else if (changing && draw(model, 16) == 0) {
            model_del(model, at);
        }
        if (changing && draw(model, 4) == 0) {
            model_put(model, draw(model, MODEL_KEYS));
        }
        if (changing && draw(model, 4) == 0) {
            model_del(model, draw(model, MODEL_KEYS));
        }
    }
    driver->scan_end(cursor);
}

static void scans_that_drop_agree_with_a_model(void **state)
{
    struct model *model = calloc(1, sizeof *model);
    assert_non_null(model);
    model->store = store_of(state);
    model->random = 7;
    for (int round = 0; round < 60; round++) {
        model->txn = begin(model->store, STORE_WRITE);
        for (int i = 0; i < 600; i++) {
            model_put(model, draw(model, MODEL_KEYS));
        }
        for (int i = 0; i < 200; i++) {
            model_del(model, draw(model, MODEL_KEYS));
        }
        model_scan(model, false, round % 3 == 2);
        model_scan(model, true, round % 3 == 2);
        commit(model->store, model->txn);
    }
    uint64_t there = 0;
    for (uint32_t i = 0; i < MODEL_KEYS; i++) {
        there += model->there[i];
    }
    assert_int_equal(count(model->store, 'M'), there);
    free(model);
}

/* ---- waking ---- */

static void the_word_grows_with_commits_and_not_with_aborts(void **state)
{
    struct store *store = store_of(state);
    uint32_t word = store->driver->wake_word(store);
    struct store_txn *txn = begin(store, STORE_WRITE);
    put(store, txn, text_key('O', "a"), "");
    store->driver->abort(txn);
    assert_int_equal(store->driver->wake_word(store), word);
    assert_false(store->driver->wake_wait(store, word, 1));
    put_alone(store, text_key('O', "a"), "");
    assert_int_not_equal(store->driver->wake_word(store), word);
    assert_true(store->driver->wake_wait(store, word, -1));
}

static void *commit_in_thread(void *context)
{
    put_alone(context, text_key('O', "from the thread"), "");
    return NULL;
}

static void *wake_in_thread(void *context)
{
    struct store *store = context;
    store->driver->wake_all(store);
    return NULL;
}

static void a_waiter_is_woken_by_a_commit_and_by_wake_all(void **state)
{
    struct store *store = store_of(state);
    void *(*const causes[])(void *) = {commit_in_thread, wake_in_thread};
    for (size_t i = 0; i < 2; i++) {
        pthread_t thread;
        uint32_t word = store->driver->wake_word(store);
        assert_int_equal(pthread_create(&thread, NULL, causes[i], store), 0);
        assert_true(store->driver->wake_wait(store, word, 60000));
        pthread_join(thread, NULL);
    }
}

/* ---- allocations that fail ---- */

static void use_with_failing_allocation(void *context, long n)
{
    struct store *store = context;
    struct ls_error error = {0};
    struct store_txn *txn;
    struct store_cursor *cursor;
    (void)n;
    for (int mode = STORE_READ; mode <= STORE_WRITE; mode++) {
        int result = store->driver->begin(store, (enum store_mode)mode, &txn, &error);
        if (result != 0) {
            assert_int_equal(result, LS_ENOMEM);
            assert_int_equal(error.code, LS_ENOMEM);
            continue;
        }
        result =
            store->driver->scan(txn, bytes_of_text("O"), (ls_bytes){0}, false, &cursor, &error);
        assert_true(result == 0 || result == LS_ENOMEM);
        store->driver->scan_end(result == 0 ? cursor : NULL);
        store->driver->abort(txn);
    }
}

static void every_failing_allocation_is_reported(void **state)
{
    struct store *store = store_of(state);
    struct store_txn *held[80]; /* so that none is ready */
    for (int i = 0; i < 80; i++) {
        held[i] = begin(store, STORE_READ);
    }
    faults_each_allocation(use_with_failing_allocation, store);
    for (int i = 0; i < 80; i++) {
        store->driver->abort(held[i]);
    }
}

#define EACH_DRIVER(test)                                          \
    cmocka_unit_test_setup_teardown(test, set_up_lmdb, tear_down), \
        cmocka_unit_test_setup_teardown(test, set_up_mem, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH_DRIVER(a_put_is_seen_by_its_own_transaction_and_by_later_ones),
        EACH_DRIVER(an_aborted_transaction_leaves_nothing),
        EACH_DRIVER(a_deleted_record_is_gone_and_a_missing_one_is_not_found),
        EACH_DRIVER(an_empty_value_and_a_large_one_come_back),
        EACH_DRIVER(a_key_that_is_empty_too_long_or_of_no_category_is_refused),
        EACH_DRIVER(an_append_must_be_the_greatest_key_of_its_category),
        EACH_DRIVER(records_are_counted_by_category),
        EACH_DRIVER(a_reader_keeps_seeing_the_commit_it_began_with),
        EACH_DRIVER(a_reader_is_not_held_up_by_a_writer),
        EACH_DRIVER(numbers_name_what_a_transaction_sees),
        EACH_DRIVER(more_readers_than_are_kept_ready_may_be_open),
        EACH_DRIVER(writers_of_several_threads_take_turns),
        EACH_DRIVER(scans_respect_their_bounds_both_ways),
        EACH_DRIVER(a_bound_of_the_next_category_ends_with_this_one),
        EACH_DRIVER(a_scan_of_no_category_is_refused),
        EACH_DRIVER(scans_that_drop_agree_with_a_model),
        EACH_DRIVER(the_word_grows_with_commits_and_not_with_aborts),
        EACH_DRIVER(a_waiter_is_woken_by_a_commit_and_by_wake_all),
        EACH_DRIVER(every_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
