/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions: what they read, what they write, what waits for what, and how they end. */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "library.h"

static ls *handle_of(void **state)
{
    return ((struct fixture *)*state)->handle;
}

/* ---- small steps ---- */

static void put_now(ls *handle, const char *key, const char *value)
{
    ls_txn_operation operation = {.kind = LS_TXN_PUT, .key = bytes(key), .value = bytes(value)};
    ls_values *results;
    assert_ok(ls_txn_execute(handle, &operation, 1, &results));
    ls_values_free(results);
}

static void assert_value(const char *expected, ls_bytes actual)
{
    if (expected == NULL) {
        assert_null(actual.data);
        assert_int_equal(0, actual.size);
    } else {
        assert_non_null(actual.data);
        assert_bytes(expected, actual);
    }
}

/* NULL: absent. */
static void assert_is_at(ls *handle, uint64_t timestamp, const char *key, const char *expected)
{
    ls_bytes name = bytes(key);
    ls_values *values;
    assert_ok(ls_txn_get(handle, timestamp, &name, 1, &values));
    assert_int_equal(1, ls_values_count(values));
    assert_null(ls_values_get(values, 1));
    assert_value(expected, *ls_values_get(values, 0));
    ls_values_free(values);
}

static void assert_is(ls *handle, const char *key, const char *expected)
{
    assert_is_at(handle, LS_TXN_NOW, key, expected);
}

static ls_transaction *begin_for(ls *handle, uint64_t ttl_ms, const char *first, unsigned kinds,
                                 const char *second, unsigned second_kinds)
{
    ls_txn_key keys[2] = {{bytes(first), kinds}};
    ls_transaction *transaction = NULL;
    ls_txn_options options = LS_TXN_OPTIONS_INIT;
    options.ttl_ms = ttl_ms;
    if (second != NULL) {
        keys[1] = (ls_txn_key){bytes(second), second_kinds};
    }
    assert_ok(ls_txn_begin(handle, keys, second != NULL ? 2 : 1, &options, &transaction));
    return transaction;
}

static ls_transaction *begin(ls *handle, const char *key, unsigned kinds)
{
    return begin_for(handle, PATIENCE_MS, key, kinds, NULL, 0);
}

static void assert_reads(ls_transaction *transaction, const char *key, const char *expected)
{
    ls_bytes value;
    assert_ok(ls_txn_read(transaction, bytes(key), &value));
    assert_value(expected, value);
}

/* ---- reading and writing ---- */

static void what_a_transaction_writes_is_there_once_it_commits(void **state)
{
    ls *handle = handle_of(state);
    put_now(handle, "a", "old");
    ls_transaction *transaction =
        begin_for(handle, 0, "a", LS_TXN_EAGER | LS_TXN_WILL, "b", LS_TXN_WILL);
    uint64_t timestamp = ls_txn_timestamp(transaction), clock;
    assert_reads(transaction, "a", "old");
    assert_ok(ls_txn_put(transaction, bytes("a"), bytes("first")));
    assert_ok(ls_txn_put(transaction, bytes("a"), bytes("new")));
    assert_ok(ls_txn_put(transaction, bytes("b"), bytes("")));
    assert_reads(transaction, "a", "old"); /* it reads what was there before it */
    assert_ok(ls_txn_commit(transaction));
    assert_is(handle, "a", "new");
    assert_is(handle, "b", "");
    assert_true(ls_clock_local(handle) > timestamp);
    assert_ok(ls_clock_get(handle, &clock));
    assert_true(clock >= timestamp);
}

static void what_is_absent_has_no_data(void **state)
{
    ls *handle = handle_of(state);
    put_now(handle, "b", "x");
    ls_transaction *transaction =
        begin_for(handle, 0, "a", LS_TXN_EAGER, "b", LS_TXN_LAZY | LS_TXN_WILL);
    assert_reads(transaction, "a", NULL);
    assert_reads(transaction, "b", "x");
    assert_ok(ls_txn_del(transaction, bytes("b")));
    assert_ok(ls_txn_commit(transaction));
    assert_is(handle, "b", NULL);
}

static void a_lazy_value_is_as_of_the_transaction_however_late_it_is_asked_for(void **state)
{
    ls *handle = handle_of(state);
    put_now(handle, "a", "before");
    ls_transaction *transaction = begin(handle, "a", LS_TXN_LAZY);
    put_now(handle, "a", "after");
    put_now(handle, "a", "later");
    assert_reads(transaction, "a", "before");
    assert_reads(transaction, "a", "before");
    assert_ok(ls_txn_commit(transaction));
    assert_is(handle, "a", "later");
}

static void a_may_key_that_is_left_out_keeps_its_value(void **state)
{
    ls *handle = handle_of(state);
    put_now(handle, "a", "1");
    put_now(handle, "b", "2");
    ls_transaction *transaction = begin_for(handle, 0, "a", LS_TXN_MAY, "b", LS_TXN_MAY);
    assert_ok(ls_txn_put(transaction, bytes("b"), bytes("3")));
    assert_ok(ls_txn_commit(transaction));
    assert_is(handle, "a", "1");
    assert_is(handle, "b", "3");
}

static void what_is_aborted_was_not_written(void **state)
{
    ls *handle = handle_of(state);
    put_now(handle, "a", "1");
    ls_transaction *transaction = begin(handle, "a", LS_TXN_WILL);
    assert_ok(ls_txn_put(transaction, bytes("a"), bytes("2")));
    ls_txn_abort(transaction);
    ls_txn_abort(NULL);
    assert_is(handle, "a", "1");
}

static void the_same_key_declared_twice_has_both_kinds(void **state)
{
    ls *handle = handle_of(state);
    put_now(handle, "a", "1");
    ls_transaction *transaction = begin_for(handle, 0, "a", LS_TXN_WILL, "a", LS_TXN_EAGER);
    assert_reads(transaction, "a", "1");
    assert_ok(ls_txn_put(transaction, bytes("a"), bytes("2")));
    assert_ok(ls_txn_commit(transaction));
    assert_is(handle, "a", "2");
}

static void many_keys_are_read_in_whatever_order_they_were_declared(void **state)
{
    enum { COUNT = 300 };
    ls *handle = handle_of(state);
    static char names[COUNT][16];
    ls_txn_key keys[COUNT];
    ls_transaction *transaction;
    for (int i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "k%d", (i * 7919) % COUNT);
        keys[i] = (ls_txn_key){bytes(names[i]),
                               i % 2 != 0 ? LS_TXN_EAGER | LS_TXN_WILL : LS_TXN_LAZY | LS_TXN_MAY};
    }
    for (int round = 0; round < 2; round++) {
        assert_ok(ls_txn_begin(handle, keys, COUNT, NULL, &transaction));
        for (int i = 0; i < COUNT; i++) {
            assert_reads(transaction, names[i], round == 0 ? NULL : names[i]);
            assert_ok(ls_txn_put(transaction, bytes(names[i]), bytes(names[i])));
        }
        assert_ok(ls_txn_commit(transaction));
    }
}

static void versions_and_objects_are_two_name_spaces(void **state)
{
    ls *handle = handle_of(state);
    ls_objects *objects;
    put_now(handle, "k", "version");
    assert_code(LS_ENOTFOUND, ls_get(handle, bytes("k"), &objects));
    assert_ok(ls_put(handle, bytes("k"), bytes("object"), NULL, NULL));
    assert_is(handle, "k", "version");
    assert_int_equal(1, count_messages(handle, 0, NULL)); /* the object's */
}

/* ---- what is refused ---- */

static void what_was_not_declared_is_neither_read_nor_written(void **state)
{
    ls *handle = handle_of(state);
    ls_bytes value;
    ls_transaction *transaction = begin_for(handle, 0, "r", LS_TXN_EAGER, "w", LS_TXN_MAY);
    assert_code(LS_ENOLOCK, ls_txn_read(transaction, bytes("w"), &value));
    assert_code(LS_ENOLOCK, ls_txn_read(transaction, bytes("other"), &value));
    assert_code(LS_ENOLOCK, ls_txn_put(transaction, bytes("r"), bytes("1")));
    assert_code(LS_ENOLOCK, ls_txn_del(transaction, bytes("other")));
    assert_ok(ls_txn_put(transaction, bytes("w"), bytes("1")));
    assert_ok(ls_txn_commit(transaction));
    assert_is(handle, "w", "1");
}

static void a_commit_without_a_will_key_writes_nothing(void **state)
{
    ls *handle = handle_of(state);
    ls_transaction *transaction = begin_for(handle, 0, "a", LS_TXN_WILL, "b", LS_TXN_WILL);
    assert_ok(ls_txn_put(transaction, bytes("a"), bytes("1")));
    assert_code(LS_EINVAL, ls_txn_commit(transaction));
    assert_is(handle, "a", NULL);
    assert_is(handle, "b", NULL);
}

static void a_bad_declaration_is_refused(void **state)
{
    ls *handle = handle_of(state);
    ls_transaction *transaction;
    uint8_t large[481], zeros[250];
    memset(large, 'k', sizeof large);
    memset(zeros, 0, sizeof zeros);
    const struct {
        int code;
        ls_txn_key key;
    } bad[] = {
        {LS_EINVAL, {bytes("a"), 0}},
        {LS_EINVAL, {bytes("a"), 16}},
        {LS_EINVAL, {bytes("a"), LS_TXN_EAGER | LS_TXN_LAZY}},
        {LS_EINVAL, {bytes("a"), LS_TXN_WILL | LS_TXN_MAY}},
        {LS_EKEY, {bytes(""), LS_TXN_MAY}},
        {LS_EKEY, {{NULL, 0}, LS_TXN_MAY}},
        {LS_ETOOBIG, {{large, sizeof large}, LS_TXN_MAY}},
        {LS_ETOOBIG, {{zeros, sizeof zeros}, LS_TXN_MAY}},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_code(bad[i].code, ls_txn_begin(handle, &bad[i].key, 1, NULL, &transaction));
    }
    ls_txn_key good[] = {{{large, 480}, LS_TXN_MAY}, {{zeros, 249}, LS_TXN_MAY}};
    ls_txn_options options = LS_TXN_OPTIONS_INIT;
    options.ttl_ms = 3600001;
    assert_code(LS_EINVAL, ls_txn_begin(handle, good, 2, &options, &transaction));
    assert_code(LS_EINVAL, ls_txn_begin(handle, good, 0, NULL, &transaction));
    assert_refused(LS_ETOOBIG, 4096, ls_txn_begin(handle, good, 4097, NULL, &transaction));
    options.ttl_ms = 3600000;
    assert_ok(ls_txn_begin(handle, good, 2, &options, &transaction));
    assert_ok(ls_txn_put(transaction, good[1].key, good[0].key));
    assert_ok(ls_txn_commit(transaction));
    ls_values *values;
    assert_ok(ls_txn_get(handle, LS_TXN_NOW, &good[1].key, 1, &values));
    assert_int_equal(480, ls_values_get(values, 0)->size);
    assert_memory_equal(large, ls_values_get(values, 0)->data, 480);
    ls_values_free(values);
}

static void a_value_that_is_too_big_is_refused_before_the_commit(void **state)
{
    ls *handle = handle_of(state);
    size_t limit = 1 << 20;
    uint8_t *value = calloc(1, limit + 1);
    assert_non_null(value);
    ls_transaction *transaction = begin(handle, "a", LS_TXN_WILL);
    assert_refused(LS_ETOOBIG, limit,
                   ls_txn_put(transaction, bytes("a"), (ls_bytes){value, limit + 1}));
    assert_ok(ls_txn_put(transaction, bytes("a"), (ls_bytes){value, limit}));
    assert_ok(ls_txn_commit(transaction));
    ls_bytes key = bytes("a");
    ls_values *values;
    assert_ok(ls_txn_get(handle, LS_TXN_NOW, &key, 1, &values));
    assert_int_equal(limit, ls_values_get(values, 0)->size);
    ls_values_free(values);
    free(value);
}

static void a_transaction_that_is_too_big_is_told_so(void **state)
{
    ls *handle = handle_of(state);
    static uint8_t value[1 << 20];
    ls_txn_operation puts[32];
    ls_transaction *transaction = NULL;
    ls_txn_key keys[32];
    for (size_t i = 0; i < 32; i++) {
        keys[i] = (ls_txn_key){{&"abcdefghijklmnopqrstuvwxyz012345"[i], 1}, LS_TXN_MAY};
        puts[i] = (ls_txn_operation){LS_TXN_PUT, keys[i].key, {value, sizeof value}, 0};
    }
    assert_ok(ls_txn_begin(handle, keys, 32, NULL, &transaction));
    for (size_t i = 0; i < 32; i++) {
        assert_ok(ls_txn_put(transaction, keys[i].key, puts[i].value));
    }
    assert_refused(LS_ETOOBIG, 16 << 20, ls_txn_commit(transaction));
    assert_refused(LS_ETOOBIG, 16 << 20, ls_txn_execute(handle, puts, 32, NULL));
    assert_is(handle, "a", NULL);
}

/* ---- a function as a transaction ---- */

static int add_one(ls_transaction *transaction, void *context)
{
    ls_bytes value;
    char text[24];
    int *calls = context;
    (*calls)++;
    int result = ls_txn_read(transaction, bytes("n"), &value);
    if (result != 0) {
        return result;
    }
    int size = snprintf(text, sizeof text, "%d", value.data == NULL ? 1 : atoi(value.data) + 1);
    return ls_txn_put(transaction, bytes("n"), (ls_bytes){text, (size_t)size});
}

static int give_up(ls_transaction *transaction, void *context)
{
    int result = add_one(transaction, context);
    return result != 0 ? result : 42;
}

static void a_function_is_called_once_and_its_result_decides(void **state)
{
    ls *handle = handle_of(state);
    ls_txn_key key = {bytes("n"), LS_TXN_EAGER | LS_TXN_WILL};
    int calls = 0;
    assert_ok(ls_txn_run(handle, &key, 1, NULL, add_one, &calls));
    assert_int_equal(42, ls_txn_run(handle, &key, 1, NULL, give_up, &calls));
    assert_ok(ls_txn_run(handle, &key, 1, NULL, add_one, &calls));
    assert_int_equal(3, calls);
    assert_is(handle, "n", "2");
    key.kinds = LS_TXN_EAGER | LS_TXN_LAZY;
    assert_code(LS_EINVAL, ls_txn_run(handle, &key, 1, NULL, add_one, &calls));
    key.kinds = LS_TXN_WILL;
    assert_code(LS_ENOLOCK, ls_txn_run(handle, &key, 1, NULL, add_one, &calls));
    assert_code(LS_EINVAL, ls_txn_run(handle, &key, 1, NULL, NULL, NULL));
    assert_int_equal(4, calls);
    assert_is(handle, "n", "2");
}

/* ---- in one call ---- */

static void operations_of_one_call_see_those_before_them(void **state)
{
    ls *handle = handle_of(state);
    ls_values *results;
    const ls_txn_operation operations[] = {
        {.kind = LS_TXN_GET, .key = bytes("n")},
        {.kind = LS_TXN_INCRBY, .key = bytes("n"), .number = 5},
        {.kind = LS_TXN_INCRBY, .key = bytes("n"), .number = -7},
        {.kind = LS_TXN_CHECK, .key = bytes("n"), .value = bytes("-2")},
        {.kind = LS_TXN_PUT, .key = bytes("a"), .value = bytes("x")},
        {.kind = LS_TXN_GET, .key = bytes("a")},
        {.kind = LS_TXN_DEL, .key = bytes("a")},
        {.kind = LS_TXN_GET, .key = bytes("a")},
    };
    static const char *const expected[] = {NULL, "5", "-2", NULL, NULL, "x", NULL, NULL};
    assert_ok(ls_txn_execute(handle, operations, 8, &results));
    assert_int_equal(8, ls_values_count(results));
    for (size_t i = 0; i < 8; i++) {
        assert_value(expected[i], *ls_values_get(results, i));
    }
    ls_values_free(results);
    ls_values_free(NULL);
    assert_is(handle, "n", "-2");
    assert_is(handle, "a", NULL);
}

static void a_check_that_fails_writes_nothing_and_names_the_key(void **state)
{
    ls *handle = handle_of(state);
    ls_values *results;
    const ls_txn_operation operations[] = {
        {.kind = LS_TXN_PUT, .key = bytes("a"), .value = bytes("1")},
        {.kind = LS_TXN_CHECK, .key = bytes("balance"), .value = bytes("10")},
    };
    assert_refused(LS_ECONFLICT, 0, ls_txn_execute(handle, operations, 2, &results));
    assert_non_null(strstr(ls_last_error()->text, "balance"));
    assert_is(handle, "a", NULL);
    put_now(handle, "balance", "10");
    assert_ok(ls_txn_execute(handle, operations, 2, &results));
    ls_values_free(results);
    assert_is(handle, "a", "1");
}

static void what_is_no_number_is_not_counted_on(void **state)
{
    ls *handle = handle_of(state);
    ls_values *results;
    ls_txn_operation operation = {.kind = LS_TXN_INCRBY, .key = bytes("n"), .number = 1};
    put_now(handle, "n", "many");
    assert_code(LS_EINVAL, ls_txn_execute(handle, &operation, 1, &results));
    put_now(handle, "n", "9223372036854775807");
    assert_code(LS_EINVAL, ls_txn_execute(handle, &operation, 1, &results));
    assert_is(handle, "n", "9223372036854775807");
    operation.number = INT64_MIN;
    assert_ok(ls_txn_execute(handle, &operation, 1, &results));
    assert_value("-1", *ls_values_get(results, 0));
    ls_values_free(results);
    assert_code(LS_EINVAL, ls_txn_execute(handle, &operation, 0, &results));
    operation.kind = (enum ls_txn_operation_kind)9;
    assert_code(LS_EINVAL, ls_txn_execute(handle, &operation, 1, &results));
}

/* ---- the past ---- */

static void values_of_the_past_are_those_of_one_moment(void **state)
{
    ls *handle = handle_of(state);
    uint64_t clocks[3];
    for (int i = 0; i < 3; i++) {
        char text[2] = {(char)('0' + i), '\0'};
        const ls_txn_operation operations[] = {
            {.kind = LS_TXN_PUT, .key = bytes("a"), .value = bytes(text)},
            {.kind = LS_TXN_PUT, .key = bytes("b"), .value = bytes(text)},
        };
        ls_values *results;
        assert_ok(ls_txn_execute(handle, operations, 2, &results));
        ls_values_free(results);
        assert_ok(ls_clock_get(handle, &clocks[i]));
    }
    for (int i = 0; i < 3; i++) {
        char text[2] = {(char)('0' + i), '\0'};
        assert_is_at(handle, clocks[i], "a", text);
        assert_is_at(handle, clocks[i], "b", text);
    }
    ls_bytes key = bytes("a");
    ls_values *values;
    assert_code(LS_EINVAL, ls_txn_get(handle, clocks[2] + 1000000, &key, 1, &values));
    assert_code(LS_EINVAL, ls_txn_get(handle, LS_TXN_NOW, &key, 0, &values));
}

static void what_is_older_than_the_history_is_refused(void **state)
{
    struct fixture *fixture = *state;
    if (!kind_is("lmdb")) {
        skip();
    }
    ls_options options = LS_OPTIONS_INIT;
    options.txn_history_age_ms = 1;
    ls *handle = open_again(fixture, &options);
    ls_bytes key = bytes("a");
    ls_values *values;
    uint64_t old;
    put_now(handle, "a", "old");
    assert_ok(ls_clock_get(handle, &old));
    int result = 0;
    for (int i = 0; i < PATIENCE_MS / 5 && result == 0; i++) {
        put_now(handle, "a", "new");
        result = ls_txn_get(handle, old, &key, 1, &values);
        if (result == 0) {
            assert_value("old", *ls_values_get(values, 0));
            ls_values_free(values);
            nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        }
    }
    assert_int_equal(LS_ETOOOLD, result);
    uint64_t oldest = ls_last_error()->number;
    assert_true(oldest > old);
    assert_is_at(handle, oldest, "a", "new");
    assert_is(handle, "a", "new");
    ls_close(handle);
}

/* ---- waiting ---- */

struct reader {
    ls *handle;
    const char *key;
    int result;
    char value[32];
    pthread_t thread;
};

static void *read_now(void *argument)
{
    struct reader *reader = argument;
    ls_bytes key = bytes(reader->key);
    ls_values *values;
    reader->result = ls_txn_get(reader->handle, LS_TXN_NOW, &key, 1, &values);
    if (reader->result == 0) {
        const ls_bytes *value = ls_values_get(values, 0);
        snprintf(reader->value, sizeof reader->value, "%s",
                 value->data != NULL ? (const char *)value->data : "(absent)");
        ls_values_free(values);
    }
    return NULL;
}

static void start_reader(struct reader *reader, ls *handle, const char *key)
{
    *reader = (struct reader){.handle = handle, .key = key};
    assert_int_equal(0, pthread_create(&reader->thread, NULL, read_now, reader));
}

static void assert_reader_got(struct reader *reader, const char *expected)
{
    pthread_join(reader->thread, NULL);
    assert_int_equal(0, reader->result);
    assert_string_equal(expected, reader->value);
}

/* Until somebody waits for the transaction: asked of whoever it waits in. */
static void wait_for_waiter(ls *handle, ls_transaction *transaction)
{
    ls_txn_info info = {0};
    for (int i = 0; i < PATIENCE_MS && info.waiting == 0; i++) {
        ls_txn_marks *marks;
        assert_ok(ls_txn_explain(handle, ls_txn_timestamp(transaction), &info, &marks));
        ls_txn_marks_free(marks);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    assert_int_equal(1, info.waiting);
}

static void a_read_waits_for_an_earlier_write(void **state)
{
    ls *handle = handle_of(state);
    struct reader reader;
    put_now(handle, "a", "old");
    ls_transaction *transaction = begin(handle, "a", LS_TXN_WILL);
    start_reader(&reader, handle, "a");
    wait_for_waiter(handle, transaction);
    assert_ok(ls_txn_put(transaction, bytes("a"), bytes("new")));
    assert_ok(ls_txn_commit(transaction));
    assert_reader_got(&reader, "new");
}

static void a_write_that_does_not_happen_lets_the_read_go_on(void **state)
{
    ls *handle = handle_of(state);
    struct reader reader;
    put_now(handle, "a", "old");
    for (int aborts = 0; aborts < 2; aborts++) {
        ls_transaction *transaction = begin(handle, "a", LS_TXN_MAY);
        start_reader(&reader, handle, "a");
        wait_for_waiter(handle, transaction);
        if (aborts != 0) {
            ls_txn_abort(transaction);
        } else {
            assert_ok(ls_txn_commit(transaction));
        }
        assert_reader_got(&reader, "old");
    }
}

static void writes_and_reads_of_earlier_moments_wait_for_nobody(void **state)
{
    ls *handle = handle_of(state);
    uint64_t before;
    put_now(handle, "a", "old");
    assert_ok(ls_clock_get(handle, &before));
    ls_transaction *first = begin(handle, "a", LS_TXN_WILL);
    ls_transaction *second = begin(handle, "a", LS_TXN_WILL);
    put_now(handle, "a", "third");
    assert_is_at(handle, before, "a", "old");
    assert_ok(ls_txn_put(second, bytes("a"), bytes("second")));
    assert_ok(ls_txn_commit(second));
    assert_is(handle, "a", "third"); /* the newest has its value: what is open is older */
    assert_ok(ls_txn_put(first, bytes("a"), bytes("first")));
    assert_ok(ls_txn_commit(first));
    assert_is(handle, "a", "third");
}

static void a_transaction_left_open_is_released_when_its_time_is_over(void **state)
{
    ls *handle = handle_of(state);
    ls_bytes value;
    put_now(handle, "a", "old");
    ls_transaction *transaction = begin_for(handle, 50, "a", LS_TXN_WILL, "b", LS_TXN_LAZY);
    uint64_t timestamp = ls_txn_timestamp(transaction);
    assert_ok(ls_txn_put(transaction, bytes("a"), bytes("new")));
    assert_is(handle, "a", "old"); /* waits until then */
    assert_code(LS_ETXNEXPIRED, ls_txn_read(transaction, bytes("b"), &value));
    assert_code(LS_ETXNEXPIRED, ls_txn_commit(transaction));
    ls_txn_marks *marks;
    assert_code(LS_ETXNEXPIRED, ls_txn_explain(handle, timestamp, NULL, &marks));
    assert_is(handle, "a", "old");

    transaction = begin_for(handle, 20, "a", LS_TXN_WILL, NULL, 0);
    assert_ok(ls_txn_put(transaction, bytes("a"), bytes("new")));
    ls_messages *none;
    assert_ok(ls_read(handle, LS_AFTER_NEWEST, NULL, 1, 60, &none)); /* nobody waits for it */
    ls_messages_free(none);
    assert_code(LS_ETXNEXPIRED, ls_txn_commit(transaction));
    assert_is(handle, "a", "old");
}

static void it_is_explained_what_a_transaction_waits_for(void **state)
{
    ls *handle = handle_of(state);
    ls_txn_info info;
    ls_txn_marks *marks;
    ls_transaction *first = begin(handle, "b", LS_TXN_MAY);
    ls_transaction *second = begin_for(handle, PATIENCE_MS, "b", LS_TXN_LAZY, "a", LS_TXN_WILL);
    assert_ok(ls_txn_explain(handle, ls_txn_timestamp(second), &info, &marks));
    assert_int_equal(2, ls_txn_marks_count(marks));
    assert_null(ls_txn_marks_get(marks, 2));
    const ls_txn_mark *a = ls_txn_marks_get(marks, 0), *b = ls_txn_marks_get(marks, 1);
    assert_bytes("a", a->key);
    assert_int_equal(LS_TXN_WILL, a->kinds);
    assert_false(a->waits);
    assert_bytes("b", b->key);
    assert_int_equal(LS_TXN_LAZY, b->kinds);
    assert_true(b->waits);
    assert_int_equal(ls_txn_timestamp(first), b->waits_for);
    assert_int_equal(LS_TXN_MAY, b->waits_kind);
    assert_true(b->waits_since_ns > 0 && b->waits_since_ns <= info.began_ns);
    assert_in_range(info.expires_ms, 1, PATIENCE_MS);
    assert_int_equal(0, info.waiting);
    ls_txn_marks_free(marks);
    ls_txn_marks_free(NULL);
    ls_txn_abort(first);
    ls_txn_abort(second);
    assert_code(LS_EINVAL, ls_txn_explain(handle, UINT64_C(1) << 60, NULL, &marks));
}

/* ---- several at once ---- */

#define ACCOUNTS  5
#define TRANSFERS 60
#define MOVERS    4

struct mover {
    ls *handle;
    unsigned seed;
    int failures;
    pthread_t thread;
};

struct transfer {
    const char *from, *to;
};

static int move_one(ls_transaction *transaction, void *context)
{
    const struct transfer *transfer = context;
    const char *const names[] = {transfer->from, transfer->to};
    int result = 0;
    for (int i = 0; i < 2 && result == 0; i++) {
        ls_bytes value;
        char text[24];
        result = ls_txn_read(transaction, bytes(names[i]), &value);
        if (result == 0) {
            int size = snprintf(text, sizeof text, "%d", atoi(value.data) + (i == 0 ? -1 : 1));
            result = ls_txn_put(transaction, bytes(names[i]), (ls_bytes){text, (size_t)size});
        }
    }
    return result;
}

static const char *const accounts[ACCOUNTS] = {"acct/0", "acct/1", "acct/2", "acct/3", "acct/4"};

static void *move_often(void *argument)
{
    struct mover *mover = argument;
    for (int i = 0; i < TRANSFERS; i++) {
        mover->seed = mover->seed * 1103515245 + 12345;
        unsigned from = mover->seed / 65536 % ACCOUNTS;
        unsigned to = (from + 1 + mover->seed / 16777216 % (ACCOUNTS - 1)) % ACCOUNTS;
        struct transfer transfer = {accounts[from], accounts[to]};
        ls_txn_key keys[] = {{bytes(transfer.from), LS_TXN_EAGER | LS_TXN_WILL},
                             {bytes(transfer.to), LS_TXN_EAGER | LS_TXN_WILL}};
        ls_txn_options options = LS_TXN_OPTIONS_INIT;
        options.ttl_ms = PATIENCE_MS;
        mover->failures += ls_txn_run(mover->handle, keys, 2, &options, move_one, &transfer) != 0;
    }
    return NULL;
}

static int money(ls *handle)
{
    ls_bytes keys[ACCOUNTS];
    ls_values *values;
    int sum = 0;
    for (int i = 0; i < ACCOUNTS; i++) {
        keys[i] = bytes(accounts[i]);
    }
    assert_ok(ls_txn_get(handle, LS_TXN_NOW, keys, ACCOUNTS, &values));
    for (int i = 0; i < ACCOUNTS; i++) {
        sum += atoi(ls_values_get(values, (size_t)i)->data);
    }
    ls_values_free(values);
    return sum;
}

static void move_money(ls **handles)
{
    struct mover movers[MOVERS];
    for (int i = 0; i < ACCOUNTS; i++) {
        put_now(handles[0], accounts[i], "100");
    }
    for (int i = 0; i < MOVERS; i++) {
        movers[i] = (struct mover){.handle = handles[i], .seed = (unsigned)i + 1};
        assert_int_equal(0, pthread_create(&movers[i].thread, NULL, move_often, &movers[i]));
    }
    for (int i = 0; i < 20; i++) {
        assert_int_equal(100 * ACCOUNTS, money(handles[0]));
    }
    for (int i = 0; i < MOVERS; i++) {
        pthread_join(movers[i].thread, NULL);
        assert_int_equal(0, movers[i].failures);
    }
    assert_int_equal(100 * ACCOUNTS, money(handles[0]));
}

static void threads_that_move_money_on_one_handle_neither_make_nor_lose_any(void **state)
{
    ls *handle = handle_of(state);
    ls *handles[MOVERS] = {handle, handle, handle, handle};
    move_money(handles);
}

static void handles_that_move_money_on_one_store_neither_make_nor_lose_any(void **state)
{
    struct fixture *fixture = *state;
    if (kind_is("mem")) {
        skip();
    }
    ls *handles[MOVERS] = {fixture->handle};
    for (int i = 1; i < MOVERS; i++) {
        handles[i] = open_again(fixture, NULL);
    }
    move_money(handles);
    for (int i = 1; i < MOVERS; i++) {
        ls_close(handles[i]);
    }
}

static void a_read_waits_for_a_write_of_another_handle(void **state)
{
    struct fixture *fixture = *state;
    if (kind_is("mem")) {
        skip();
    }
    ls *other = open_again(fixture, NULL);
    struct reader reader;
    put_now(fixture->handle, "a", "old");
    ls_transaction *transaction = begin(fixture->handle, "a", LS_TXN_WILL);
    start_reader(&reader, other, "a");
    wait_for_waiter(other, transaction);
    assert_ok(ls_txn_put(transaction, bytes("a"), bytes("new")));
    assert_ok(ls_txn_commit(transaction));
    assert_reader_got(&reader, "new");
    ls_close(other);
}

static void a_transaction_whose_server_is_gone_is_over(void **state)
{
    struct fixture *fixture = *state;
    if (!kind_is("lockstep")) {
        skip();
    }
    ls_bytes value;
    put_now(fixture->handle, "a", "old");
    ls_transaction *reads = begin(fixture->handle, "a", LS_TXN_LAZY);
    ls_transaction *writes = begin_for(fixture->handle, 500, "b", LS_TXN_WILL, NULL, 0);
    kill_and_restart_server(fixture);
    assert_code(LS_ETXNEXPIRED, ls_txn_read(reads, bytes("a"), &value));
    assert_code(LS_ETXNEXPIRED, ls_txn_commit(reads));
    assert_ok(ls_txn_put(writes, bytes("b"), bytes("new")));
    assert_code(LS_ETXNEXPIRED, ls_txn_commit(writes));
    assert_is(fixture->handle, "a", "old");
    assert_is(fixture->handle, "b", NULL);
}

const struct CMUnitTest library_txn_tests[] = {
    library_test(what_a_transaction_writes_is_there_once_it_commits),
    library_test(what_is_absent_has_no_data),
    library_test(a_lazy_value_is_as_of_the_transaction_however_late_it_is_asked_for),
    library_test(a_may_key_that_is_left_out_keeps_its_value),
    library_test(what_is_aborted_was_not_written),
    library_test(the_same_key_declared_twice_has_both_kinds),
    library_test(many_keys_are_read_in_whatever_order_they_were_declared),
    library_test(versions_and_objects_are_two_name_spaces),
    library_test(what_was_not_declared_is_neither_read_nor_written),
    library_test(a_commit_without_a_will_key_writes_nothing),
    library_test(a_bad_declaration_is_refused),
    library_test(a_value_that_is_too_big_is_refused_before_the_commit),
    library_test(a_transaction_that_is_too_big_is_told_so),
    library_test(a_function_is_called_once_and_its_result_decides),
    library_test(operations_of_one_call_see_those_before_them),
    library_test(a_check_that_fails_writes_nothing_and_names_the_key),
    library_test(what_is_no_number_is_not_counted_on),
    library_test(values_of_the_past_are_those_of_one_moment),
    library_test(what_is_older_than_the_history_is_refused),
    library_test(a_read_waits_for_an_earlier_write),
    library_test(a_write_that_does_not_happen_lets_the_read_go_on),
    library_test(writes_and_reads_of_earlier_moments_wait_for_nobody),
    library_test(a_transaction_left_open_is_released_when_its_time_is_over),
    library_test(it_is_explained_what_a_transaction_waits_for),
    library_test(threads_that_move_money_on_one_handle_neither_make_nor_lose_any),
    library_test(handles_that_move_money_on_one_store_neither_make_nor_lose_any),
    library_test(a_read_waits_for_a_write_of_another_handle),
    library_test(a_transaction_whose_server_is_gone_is_over),
};

const size_t library_txn_count = sizeof library_txn_tests / sizeof *library_txn_tests;
