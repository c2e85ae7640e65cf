/* What the tests of the store share: a scratch directory, keys of a few letters, and short forms of
 * the calls, which fail the test with the sentence of the error. */
#ifndef LS_TESTS_STORE_FIXTURE_H
#define LS_TESTS_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "codec/key.h"
#include "store/store.h"

#define SCRATCH_SIZE 128

/* Succeeds, or fails the test saying why; `error` must be in scope. */
#define assert_ok(call)                                                              \
    do {                                                                             \
        int assert_ok_result = (call);                                               \
        if (assert_ok_result < 0) {                                                  \
            fail_msg("%s: %s: %s", #call, ls_errname(assert_ok_result), error.text); \
        }                                                                            \
    } while (0)

/* The name of a code: the library's, which the store is not linked with. */
static inline const char *ls_errname_of(int code)
{
    switch (code) {
#define X(name, value, word, message) \
    case value:                       \
        return #name;
        LS_ERROR_MAP(X)
#undef X
    default:
        return "no error";
    }
}
#define ls_errname ls_errname_of

#define assert_code(call, wanted)                                                    \
    do {                                                                             \
        int assert_code_result = (call);                                             \
        if (assert_code_result != (wanted)) {                                        \
            fail_msg("%s: %s, wanted %s: %s", #call, ls_errname(assert_code_result), \
                     ls_errname(wanted), error.text);                                \
        }                                                                            \
    } while (0)

static inline void scratch_make(char path[SCRATCH_SIZE])
{
    const char *base = getenv("TMPDIR");
    snprintf(path, SCRATCH_SIZE, "%s/lockstep-test-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(path));
}

/* Removes the scratch directory and the stores in it. */
static inline void scratch_remove(const char *path)
{
    char command[SCRATCH_SIZE + 16];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    assert_int_equal(system(command), 0);
}

/* A message's key, and any other of a category letter and text. */
static inline struct key message_key(uint64_t clock)
{
    struct key key;
    key_message(&key, clock, 'U');
    return key;
}

static inline struct key text_key(char category, const char *text)
{
    struct key key = {.data = {(uint8_t)category, KEY_VERSION_TYPE}};
    key.size = (uint16_t)(KEY_HEADER_SIZE + strlen(text));
    memcpy(key.data + KEY_HEADER_SIZE, text, strlen(text));
    return key;
}

static inline struct store_txn *begin(struct store *store, enum store_mode mode)
{
    struct ls_error error = {0};
    struct store_txn *txn = NULL;
    assert_ok(store->driver->begin(store, mode, &txn, &error));
    return txn;
}

static inline void commit(struct store *store, struct store_txn *txn)
{
    struct ls_error error = {0};
    assert_ok(store->driver->commit(txn, &error));
}

static inline void put(struct store *store, struct store_txn *txn, struct key key,
                       const char *value)
{
    struct ls_error error = {0};
    assert_ok(store->driver->put(txn, key_bytes(&key), bytes_of_text(value), false, &error));
}

/* Puts one record in a transaction of its own. */
static inline void put_alone(struct store *store, struct key key, const char *value)
{
    struct store_txn *txn = begin(store, STORE_WRITE);
    put(store, txn, key, value);
    commit(store, txn);
}

/* Whether the record is there with this value; NULL: is absent. */
static inline void assert_value(struct store *store, struct store_txn *txn, struct key key,
                                const char *wanted)
{
    ls_bytes value = {0};
    int result = store->driver->get(txn, key_bytes(&key), &value);
    if (wanted == NULL) {
        assert_int_equal(result, LS_ENOTFOUND);
        return;
    }
    assert_int_equal(result, 0);
    assert_int_equal(value.size, strlen(wanted));
    assert_memory_equal(value.data, wanted, value.size);
}

static inline void assert_value_now(struct store *store, struct key key, const char *wanted)
{
    struct store_txn *txn = begin(store, STORE_READ);
    assert_value(store, txn, key, wanted);
    store->driver->abort(txn);
}

/* Whether writers that each read the number under "sum" and put one more have come to this. */
static inline void assert_sum(struct store *store, uint64_t wanted)
{
    struct store_txn *txn = begin(store, STORE_READ);
    struct key key = text_key('C', "sum");
    ls_bytes value;
    uint64_t sum = 0;
    assert_int_equal(store->driver->get(txn, key_bytes(&key), &value), 0);
    assert_int_equal(value.size, sizeof sum);
    memcpy(&sum, value.data, sizeof sum);
    assert_int_equal(sum, wanted);
    store->driver->abort(txn);
}

static inline uint64_t count(struct store *store, char category)
{
    struct ls_error error = {0};
    struct store_txn *txn = begin(store, STORE_READ);
    uint64_t found = 0;
    assert_ok(store->driver->count(txn, category, &found, &error));
    store->driver->abort(txn);
    return found;
}

#endif
