/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public functions of transactions: what was declared and what is to be written is kept here,
 * for all backends, and checked here, so that a backend sees only what was declared. Nothing is
 * handed to a backend that it has to remember, but that the transaction is open.
 */
#include <stdlib.h>

#include "client/api.h"
#include "codec/key.h"
#include "txn/txn.h"

#define KINDS_READ  (LS_TXN_EAGER | LS_TXN_LAZY)
#define KINDS_WRITE (LS_TXN_WILL | LS_TXN_MAY)

static int check_key(ls_bytes key, struct ls_error *error)
{
    struct key encoded;
    if (key.data == NULL) {
        return error_set(error, LS_EKEY, 0, "a key has at least one byte");
    }
    return key_version(&encoded, key, 0, error);
}

static int check_value(ls_bytes value, struct ls_error *error)
{
    if (value.data == NULL && value.size != 0) {
        return error_set(error, LS_EINVAL, 0, "the value has a size but no bytes");
    }
    if (value.size > OBJECT_SIZE_MAX) {
        return error_set(error, LS_ETOOBIG, OBJECT_SIZE_MAX,
                         "a value has at most %d bytes, this one %zu", OBJECT_SIZE_MAX, value.size);
    }
    return 0;
}

/* ---- what is declared ---- */

static int compare_items(const void *a, const void *b)
{
    return bytes_compare(((const struct txn_item *)a)->key, ((const struct txn_item *)b)->key);
}

static struct txn_item *find_item(const struct ls_transaction *transaction, ls_bytes key)
{
    struct txn_item wanted = {.key = key};
    return bsearch(&wanted, transaction->items, transaction->count, sizeof wanted, compare_items);
}

/* Two of one kind are one, two that read or two that write are a mistake. */
static int check_kinds(unsigned kinds, struct ls_error *error)
{
    if (kinds == 0 || (kinds & ~(unsigned)(KINDS_READ | KINDS_WRITE)) != 0) {
        return error_set(error, LS_EINVAL, 0, "a key is declared with kinds of ls_txn_kind");
    }
    if ((kinds & KINDS_READ) == KINDS_READ || (kinds & KINDS_WRITE) == KINDS_WRITE) {
        return error_set(
            error, LS_EINVAL, 0,
            "a key is read eagerly or lazily, and written surely or perhaps, not both");
    }
    return 0;
}

/* Puts the items in order, those of one key together. */
static int merge_items(struct ls_transaction *transaction, struct ls_error *error)
{
    struct txn_item *items = transaction->items;
    size_t last = 0;
    qsort(items, transaction->count, sizeof *items, compare_items);
    for (size_t i = 1; i < transaction->count; i++) {
        if (bytes_equal(items[last].key, items[i].key)) {
            items[last].kinds |= items[i].kinds;
        } else {
            items[++last] = items[i];
        }
    }
    transaction->count = last + 1;
    for (size_t i = 0; i < transaction->count; i++) {
        int result = check_kinds(items[i].kinds, error);
        if (result != 0) {
            return result;
        }
    }
    return 0;
}

static int declare(struct ls_transaction *transaction, const ls_txn_key *keys, size_t count,
                   struct ls_error *error)
{
    transaction->items = calloc(count, sizeof *transaction->items);
    if (transaction->items == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    for (size_t i = 0; i < count; i++) {
        struct txn_item *item = &transaction->items[i];
        int result = check_key(keys[i].key, error);
        if (result != 0) {
            return result;
        }
        item->kinds = keys[i].kinds;
        if (arena_copy(&transaction->arena, keys[i].key, &item->key) != 0) {
            return error_code(error, LS_ENOMEM);
        }
    }
    transaction->count = count;
    return merge_items(transaction, error);
}

static void transaction_free(struct ls_transaction *transaction)
{
    arena_free(&transaction->arena);
    free(transaction->items);
    free(transaction);
}

/* ---- begin, read, write, end ---- */

static int begin(struct ls *handle, const ls_txn_key *keys, size_t count,
                 const ls_txn_options *options, struct ls_transaction **out, struct ls_error *error)
{
    ls_txn_options whole = LS_TXN_OPTIONS_INIT;
    int result = api_options(&whole, sizeof whole, options, error);
    if (result != 0) {
        return result;
    }
    uint64_t ttl_ms = whole.ttl_ms != 0 ? whole.ttl_ms : TXN_TTL_MS_DEFAULT;
    if (ttl_ms > TXN_TTL_MS_MAX) {
        return error_set(error, LS_EINVAL, TXN_TTL_MS_MAX,
                         "the ttl of a transaction is at most %d milliseconds", TXN_TTL_MS_MAX);
    }
    if (count == 0 || keys == NULL) {
        return error_set(error, LS_EINVAL, 0, "a transaction declares at least one key");
    }
    if (count > TXN_KEYS_MAX) {
        return error_set(error, LS_ETOOBIG, TXN_KEYS_MAX,
                         "a transaction declares at most %d keys, this one %zu", TXN_KEYS_MAX,
                         count);
    }
    struct ls_transaction *transaction = calloc(1, sizeof *transaction);
    if (transaction == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    transaction->handle = handle;
    transaction->ttl_ms = ttl_ms;
    result = declare(transaction, keys, count, error);
    if (result == 0) {
        result = handle->backend->txn_begin(transaction, error);
    }
    if (result != 0) {
        transaction_free(transaction);
        return result;
    }
    api_witness(handle, transaction->timestamp);
    *out = transaction;
    return 0;
}

int ls_txn_begin(ls *handle, const ls_txn_key *keys, size_t count, const ls_txn_options *options,
                 ls_transaction **out)
{
    struct ls_error error;
    return api_end(begin(handle, keys, count, options, out, &error), &error);
}

uint64_t ls_txn_timestamp(const ls_transaction *transaction)
{
    return transaction->timestamp;
}

int ls_txn_read(ls_transaction *transaction, ls_bytes key, ls_bytes *value)
{
    struct ls_error error;
    struct txn_item *item = find_item(transaction, key);
    if (item == NULL || (item->kinds & KINDS_READ) == 0) {
        return api_refuse(LS_ENOLOCK, "the key was not declared as one that is read");
    }
    if (!item->known) {
        int result = transaction->handle->backend->txn_read(transaction, item, &error);
        if (result != 0) {
            return api_end(result, &error);
        }
    }
    *value = item->value;
    return 0;
}

static int write_item(struct ls_transaction *transaction, ls_bytes key, ls_bytes value,
                      bool deletes)
{
    struct ls_error error;
    struct txn_item *item = find_item(transaction, key);
    if (item == NULL || (item->kinds & KINDS_WRITE) == 0) {
        return api_refuse(LS_ENOLOCK, "the key was not declared as one that is written");
    }
    int result = check_value(value, &error);
    if (result != 0) {
        return api_end(result, &error);
    }
    ls_bytes copy = {NULL, 0};
    if (!deletes && arena_copy(&transaction->arena, value, &copy) != 0) {
        return api_refuse(LS_ENOMEM, "no memory for what is to be written");
    }
    item->written = true;
    item->put = copy;
    return 0;
}

int ls_txn_put(ls_transaction *transaction, ls_bytes key, ls_bytes value)
{
    return write_item(transaction, key, value, false);
}

int ls_txn_del(ls_transaction *transaction, ls_bytes key)
{
    return write_item(transaction, key, (ls_bytes){NULL, 0}, true);
}

static int check_written(const struct ls_transaction *transaction, struct ls_error *error)
{
    for (size_t i = 0; i < transaction->count; i++) {
        const struct txn_item *item = &transaction->items[i];
        if ((item->kinds & LS_TXN_WILL) != 0 && !item->written) {
            return error_set(error, LS_EINVAL, 0,
                             "the key '%.100s' was declared as one that is written, and was not",
                             (const char *)item->key.data);
        }
    }
    return 0;
}

int ls_txn_commit(ls_transaction *transaction)
{
    struct ls_error error;
    const struct backend *backend = transaction->handle->backend;
    int result = check_written(transaction, &error);
    if (result != 0) {
        backend->txn_abort(transaction);
    } else {
        result = backend->txn_commit(transaction, &error);
    }
    transaction_free(transaction);
    return api_end(result, &error);
}

void ls_txn_abort(ls_transaction *transaction)
{
    if (transaction != NULL) {
        transaction->handle->backend->txn_abort(transaction);
        transaction_free(transaction);
    }
}

int ls_txn_run(ls *handle, const ls_txn_key *keys, size_t count, const ls_txn_options *options,
               ls_txn_body body, void *context)
{
    struct ls_transaction *transaction;
    if (body == NULL) {
        return api_refuse(LS_EINVAL, "the body of the transaction is missing");
    }
    int result = ls_txn_begin(handle, keys, count, options, &transaction);
    if (result != 0) {
        return result;
    }
    result = body(transaction, context);
    if (result != 0) {
        ls_txn_abort(transaction);
        return result;
    }
    return ls_txn_commit(transaction);
}

/* ---- transactions of one call ---- */

static int check_operation(const ls_txn_operation *operation, struct ls_error *error)
{
    int result = check_key(operation->key, error);
    if (result != 0) {
        return result;
    }
    switch (operation->kind) {
    case LS_TXN_PUT:
    case LS_TXN_CHECK:
        return check_value(operation->value, error);
    case LS_TXN_GET:
    case LS_TXN_DEL:
    case LS_TXN_INCRBY:
        return 0;
    }
    return error_set(error, LS_EINVAL, 0, "%d is no kind of operation", (int)operation->kind);
}

/* Gives the list out, or frees it where the call failed. */
static int end_with_values(int result, struct ls_values *list, ls_values **out,
                           const struct ls_error *error)
{
    if (result == 0) {
        *out = list;
        return 0;
    }
    ls_values_free(list);
    return api_end(result, error);
}

static int check_count(size_t count, const char *what, struct ls_error *error)
{
    if (count == 0) {
        return error_set(error, LS_EINVAL, 0, "there are no %s", what);
    }
    if (count > TXN_KEYS_MAX) {
        return error_set(error, LS_ETOOBIG, TXN_KEYS_MAX, "there are at most %d %s, not %zu",
                         TXN_KEYS_MAX, what, count);
    }
    return 0;
}

int txn_done_untold(struct ls_error *error)
{
    return error_set(error, LS_EINTERNAL, 0,
                     "the transaction was done, but there was no memory for its results");
}

int ls_txn_execute(ls *handle, const ls_txn_operation *operations, size_t count,
                   ls_values **results)
{
    struct ls_error error;
    int result = check_count(count, "operations", &error);
    for (size_t i = 0; i < count && result == 0; i++) {
        result = check_operation(&operations[i], &error);
    }
    if (result != 0) {
        return api_end(result, &error);
    }
    struct ls_values *list = calloc(1, sizeof *list);
    if (list == NULL) {
        return api_refuse(LS_ENOMEM, "no memory for a list of results");
    }
    result = handle->backend->txn_execute(handle, operations, count, list, &error);
    if (result == LS_ECONFLICT) {
        error.number = 0; /* there is no clock to tell of: the sentence names the key */
    }
    return end_with_values(result, list, results, &error);
}

int ls_txn_get(ls *handle, uint64_t timestamp, const ls_bytes *keys, size_t count, ls_values **out)
{
    struct ls_error error;
    int result = check_count(count, "keys", &error);
    for (size_t i = 0; i < count && result == 0; i++) {
        result = check_key(keys[i], &error);
    }
    if (result != 0) {
        return api_end(result, &error);
    }
    struct ls_values *list = calloc(1, sizeof *list);
    if (list == NULL) {
        return api_refuse(LS_ENOMEM, "no memory for a list of values");
    }
    result = handle->backend->txn_get(handle, timestamp, keys, count, list, &error);
    return end_with_values(result, list, out, &error);
}

int ls_txn_explain(ls *handle, uint64_t timestamp, ls_txn_info *info, ls_txn_marks **out)
{
    struct ls_error error;
    ls_txn_info whole;
    struct ls_txn_marks *list = calloc(1, sizeof *list);
    if (list == NULL) {
        return api_refuse(LS_ENOMEM, "no memory for a list of marks");
    }
    int result = handle->backend->txn_explain(handle, timestamp, &whole, list, &error);
    if (result != 0) {
        ls_txn_marks_free(list);
        return api_end(result, &error);
    }
    if (info != NULL) {
        *info = whole;
    }
    *out = list;
    return 0;
}
