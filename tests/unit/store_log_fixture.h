/* What the tests of the redo log behind a store share: transactions whose outcome can be told, and
 * what the log holds. */
#ifndef LS_TESTS_STORE_LOG_FIXTURE_H
#define LS_TESTS_STORE_LOG_FIXTURE_H

#include <signal.h>

#include "store/redo.h"
#include "store_directory_fixture.h"

static inline struct store *opened(const char *directory)
{
    return opened_with(directory, (struct store_options){.create = true, .sync = true});
}

static inline struct key number_key(unsigned number)
{
    char text[16];
    snprintf(text, sizeof text, "%06u", number);
    return text_key('O', text);
}

/* Deletes an object by its key, or as what a cursor stands on. */
static inline void delete_object(struct store *store, struct store_txn *txn, unsigned number)
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
static inline struct store_txn *edited(struct store *store, unsigned number)
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

static inline void add(struct store *store, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        commit(store, edited(store, i));
    }
}

/* That exactly the commits below `end` are there. */
static inline void assert_added(struct store *store, unsigned end)
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
static inline uint64_t logged(const char *directory)
{
    struct redo_reader reader;
    struct ls_error error = {0};
    int result = redo_reader_open(&reader, directory, REDO_CAPACITY, &error);
    while (result == 1) {
        result = redo_reader_next(&reader, &error);
    }
    uint64_t records = reader.records;
    redo_reader_close(&reader);
    assert_int_equal(result, 0);
    return records;
}

static inline bool has_file(const char *directory, const char *name)
{
    char path[2 * SCRATCH_SIZE];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return access(path, F_OK) == 0;
}

static inline void die(void)
{
    kill(getpid(), SIGKILL);
}

#endif
