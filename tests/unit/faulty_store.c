/* SPDX-License-Identifier: Apache-2.0 */
/* The store whose n-th call fails. It checks the callers too: after a failed put or del only an
 * abort may follow, and a transaction ends after its cursors. */
#include "faulty_store.h"

#include <assert.h>
#include <stdlib.h>

#include "base/error.h"

struct faulty_store {
    struct store base;
    struct store *inner;
    long fail_at;
    long calls;
    int code;
    const char *failed;
    ls_bytes misplaced;
    long transactions;
    long cursors;
};

struct store_txn {
    struct faulty_store *store;
    struct store_txn *inner;
    long cursors;
    bool broken; /* a put, a del or a drop failed */
};

struct store_cursor {
    struct store_txn *txn;
    struct store_cursor *inner;
};

static const struct store_driver faulty_driver;

static struct faulty_store *faulty(const struct store *store)
{
    assert(store->driver == &faulty_driver);
    return (struct faulty_store *)(uintptr_t)store;
}

/* 0, or the code that this call fails with. */
static int fails(struct faulty_store *store, const char *name, struct ls_error *error)
{
    if (++store->calls != store->fail_at) {
        return 0;
    }
    store->failed = name;
    return error_set(error, store->code, 0, "the %s that was told to fail", name);
}

static void faulty_close(struct store *base)
{
    struct faulty_store *store = faulty(base);
    store_close(store->inner);
    free(store);
}

static int faulty_begin(struct store *base, enum store_mode mode, struct store_txn **out,
                        struct ls_error *error)
{
    struct faulty_store *store = faulty(base);
    int result = fails(store, "begin", error);
    if (result != 0) {
        return result;
    }
    struct store_txn *txn = calloc(1, sizeof *txn);
    if (txn == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    result = store->inner->driver->begin(store->inner, mode, &txn->inner, error);
    if (result != 0) {
        free(txn);
        return result;
    }
    txn->store = store;
    store->transactions++;
    *out = txn;
    return 0;
}

static const struct store_driver *inner_of(const struct store_txn *txn)
{
    return txn->store->inner->driver;
}

static int faulty_get(struct store_txn *txn, ls_bytes key, ls_bytes *value)
{
    assert(!txn->broken);
    int result = fails(txn->store, "get", NULL);
    return result != 0 ? result : inner_of(txn)->get(txn->inner, key, value);
}

static int faulty_put(struct store_txn *txn, ls_bytes key, ls_bytes value, bool append,
                      struct ls_error *error)
{
    assert(!txn->broken);
    int result = fails(txn->store, "put", error);
    if (result == 0) {
        result = inner_of(txn)->put(txn->inner, key, value, append, error);
    }
    txn->broken = result != 0;
    return result;
}

static int faulty_del(struct store_txn *txn, ls_bytes key, struct ls_error *error)
{
    assert(!txn->broken);
    int result = fails(txn->store, "del", error);
    if (result == 0) {
        result = inner_of(txn)->del(txn->inner, key, error);
    }
    txn->broken = result != 0 && result != LS_ENOTFOUND;
    return result;
}

static int faulty_room(struct store_txn *txn, enum store_room room, size_t bytes,
                       struct ls_error *error)
{
    assert(!txn->broken);
    int result = fails(txn->store, "room", error);
    return result != 0 ? result : inner_of(txn)->room(txn->inner, room, bytes, error);
}

static int faulty_scan(struct store_txn *txn, ls_bytes from, ls_bytes to, bool backward,
                       struct store_cursor **out, struct ls_error *error)
{
    assert(!txn->broken);
    int result = fails(txn->store, "scan", error);
    if (result != 0) {
        return result;
    }
    struct store_cursor *cursor = calloc(1, sizeof *cursor);
    if (cursor == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    result = inner_of(txn)->scan(txn->inner, from, to, backward, &cursor->inner, error);
    if (result != 0) {
        free(cursor);
        return result;
    }
    cursor->txn = txn;
    txn->cursors++;
    txn->store->cursors++;
    *out = cursor;
    return 0;
}

static int faulty_next(struct store_cursor *cursor, ls_bytes *key, ls_bytes *value,
                       struct ls_error *error)
{
    assert(!cursor->txn->broken);
    struct faulty_store *store = cursor->txn->store;
    int result = fails(store, "next", error);
    result = result != 0 ? result : inner_of(cursor->txn)->next(cursor->inner, key, value, error);
    if (result > 0 && store->misplaced.size > 0 &&
        *(const uint8_t *)key->data == *(const uint8_t *)store->misplaced.data) {
        *key = store->misplaced;
    }
    return result;
}

static int faulty_drop(struct store_cursor *cursor, struct ls_error *error)
{
    assert(!cursor->txn->broken);
    int result = fails(cursor->txn->store, "drop", error);
    if (result == 0) {
        result = inner_of(cursor->txn)->drop(cursor->inner, error);
    }
    cursor->txn->broken = result != 0;
    return result;
}

static void faulty_scan_end(struct store_cursor *cursor)
{
    if (cursor != NULL) {
        inner_of(cursor->txn)->scan_end(cursor->inner);
        cursor->txn->cursors--;
        cursor->txn->store->cursors--;
        free(cursor);
    }
}

static void end(struct store_txn *txn)
{
    assert(txn->cursors == 0);
    txn->store->transactions--;
    free(txn);
}

static int faulty_commit(struct store_txn *txn, struct ls_error *error)
{
    assert(!txn->broken);
    const struct store_driver *driver = inner_of(txn);
    int result = fails(txn->store, "commit", error);
    if (result != 0) {
        driver->abort(txn->inner);
    } else {
        result = driver->commit(txn->inner, error);
    }
    end(txn);
    return result;
}

static void faulty_abort(struct store_txn *txn)
{
    inner_of(txn)->abort(txn->inner);
    end(txn);
}

static uint64_t faulty_number(struct store_txn *txn)
{
    return inner_of(txn)->number(txn->inner);
}

static int faulty_count(struct store_txn *txn, char category, uint64_t *out, struct ls_error *error)
{
    int result = fails(txn->store, "count", error);
    return result != 0 ? result : inner_of(txn)->count(txn->inner, category, out, error);
}

static int faulty_stat(struct store *store, struct store_stat *out, struct ls_error *error)
{
    struct store *inner = faulty(store)->inner;
    return inner->driver->stat(inner, out, error);
}

static int faulty_set_quota(struct store *store, uint64_t bytes, struct ls_error *error)
{
    struct store *inner = faulty(store)->inner;
    return inner->driver->set_quota(inner, bytes, error);
}

static uint32_t faulty_wake_word(struct store *store)
{
    struct store *inner = faulty(store)->inner;
    return inner->driver->wake_word(inner);
}

static bool faulty_wake_wait(struct store *store, uint32_t seen, int64_t timeout_ms)
{
    struct store *inner = faulty(store)->inner;
    return inner->driver->wake_wait(inner, seen, timeout_ms);
}

static void faulty_wake_all(struct store *store)
{
    struct store *inner = faulty(store)->inner;
    inner->driver->wake_all(inner);
}

static const struct store_driver faulty_driver = {
    .version = 1,
    .name = "faulty",
    .close = faulty_close,
    .begin = faulty_begin,
    .get = faulty_get,
    .put = faulty_put,
    .del = faulty_del,
    .room = faulty_room,
    .scan = faulty_scan,
    .next = faulty_next,
    .drop = faulty_drop,
    .scan_end = faulty_scan_end,
    .commit = faulty_commit,
    .abort = faulty_abort,
    .number = faulty_number,
    .count = faulty_count,
    .stat = faulty_stat,
    .set_quota = faulty_set_quota,
    .wake_word = faulty_wake_word,
    .wake_wait = faulty_wake_wait,
    .wake_all = faulty_wake_all,
};

int faulty_store_wrap(struct store **out, struct store *inner)
{
    struct faulty_store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        store_close(inner);
        return LS_ENOMEM;
    }
    store->base.driver = &faulty_driver;
    store->base.path = inner->path;
    store->inner = inner;
    *out = &store->base;
    return 0;
}

void faulty_store_fail(struct store *store, long n, int code)
{
    faulty(store)->fail_at = n;
    faulty(store)->code = code;
    faulty(store)->calls = 0;
    faulty(store)->failed = NULL;
}

void faulty_store_misplace(struct store *store, ls_bytes key)
{
    faulty(store)->misplaced = key;
}

long faulty_store_calls(const struct store *store)
{
    return faulty(store)->calls;
}

const char *faulty_store_failed(const struct store *store)
{
    return faulty(store)->failed;
}

long faulty_store_open_transactions(const struct store *store)
{
    return faulty(store)->transactions;
}

long faulty_store_open_cursors(const struct store *store)
{
    return faulty(store)->cursors;
}
