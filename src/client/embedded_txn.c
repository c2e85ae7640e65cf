/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transactions, embedded: each step is one call of the transactions' module, run by the calling
 * thread through the sequencer like any other change. What is open is known to the store alone, so
 * nothing is kept here but the timestamp.
 */
#include <stdlib.h>

#include "client/embedded.h"
#include "txn/txn.h"

void embedded_txn_tend(struct embedded *e)
{
    struct ls_error ignored;
    struct request request = {0};
    struct txn_call call = {.kind = TXN_TICK};
    if (atomic_load_explicit(&e->transacts, memory_order_relaxed) && txn_wait_ms(e->txn) == 0) {
        txn_request(&request, &call);
        request.error = &ignored;
        (void)sequencer_run(e->sequencer, &request);
        txn_call_free(&call);
    }
}

/* What is over by now is released first, whether or not anybody waited for it. */
static int run_call(struct embedded *e, struct txn_call *call, uint64_t *clock,
                    struct ls_error *error)
{
    struct request request = {0};
    atomic_store_explicit(&e->transacts, true, memory_order_relaxed);
    embedded_txn_tend(e);
    txn_request(&request, call);
    return embedded_run(e, &request, clock, error);
}

/* With data NULL exactly where it is absent. */
static ls_bytes value_bytes(const struct txn_value *value)
{
    if (value->absent) {
        return bytes_of(NULL, 0);
    }
    return value->value.size != 0 ? value->value : bytes_of("", 0);
}

/* Ends it, where it is still open. Should that fail, its ttl does it. */
static void release(struct embedded *e, uint64_t timestamp)
{
    struct ls_error ignored;
    struct txn_call call = {.kind = TXN_RELEASE, .timestamp = timestamp};
    (void)run_call(e, &call, NULL, &ignored);
    txn_call_free(&call);
}

/* ---- begin ---- */

/* The keys of a kind, put at *next, which moves behind them. */
static struct txn_keys keys_of(const struct ls_transaction *transaction, unsigned kind,
                               ls_bytes **next)
{
    ls_bytes *first = *next;
    for (size_t i = 0; i < transaction->count; i++) {
        if ((transaction->items[i].kinds & kind) != 0) {
            *(*next)++ = transaction->items[i].key;
        }
    }
    return (struct txn_keys){.keys = first, .count = (size_t)(*next - first)};
}

static int know_eager(struct ls_transaction *transaction, const struct txn_value *value,
                      struct ls_error *error)
{
    for (size_t i = 0; i < transaction->count; i++) {
        struct txn_item *item = &transaction->items[i];
        if ((item->kinds & LS_TXN_EAGER) == 0) {
            continue;
        }
        if (txn_item_know(transaction, item, value_bytes(value++)) != 0) {
            return error_code(error, LS_ENOMEM);
        }
    }
    return 0;
}

int embedded_txn_begin(struct ls_transaction *transaction, struct ls_error *error)
{
    struct embedded *e = embedded_of(transaction->handle);
    /* A key is at most once among those that are read, and once among those that are written. */
    ls_bytes *keys = calloc(2 * transaction->count, sizeof *keys);
    struct txn_value *values = calloc(transaction->count, sizeof *values);
    struct txn_call call = {.kind = TXN_BEGIN, .ttl_ms = transaction->ttl_ms, .values = values};
    int result;
    if (keys == NULL || values == NULL) {
        result = error_code(error, LS_ENOMEM);
        goto end;
    }
    ls_bytes *next = keys;
    call.eager = keys_of(transaction, LS_TXN_EAGER, &next);
    call.lazy = keys_of(transaction, LS_TXN_LAZY, &next);
    call.will = keys_of(transaction, LS_TXN_WILL, &next);
    call.may = keys_of(transaction, LS_TXN_MAY, &next);
    result = run_call(e, &call, &transaction->timestamp, error);
    if (result == 0) {
        result = know_eager(transaction, values, error);
        if (result != 0) {
            release(e, transaction->timestamp);
        }
    }
    txn_call_free(&call);
end:
    free(values);
    free(keys);
    return result;
}

/* ---- read, commit, abort ---- */

int embedded_txn_read(struct ls_transaction *transaction, struct txn_item *item,
                      struct ls_error *error)
{
    struct txn_value value = {0};
    struct txn_call call = {.kind = TXN_READ,
                            .timestamp = transaction->timestamp,
                            .eager = {.keys = &item->key, .count = 1},
                            .values = &value};
    int result = run_call(embedded_of(transaction->handle), &call, NULL, error);
    if (result == 0 && txn_item_know(transaction, item, value_bytes(&value)) != 0) {
        result = error_code(error, LS_ENOMEM);
    }
    txn_call_free(&call);
    return result;
}

int embedded_txn_commit(struct ls_transaction *transaction, struct ls_error *error)
{
    struct embedded *e = embedded_of(transaction->handle);
    struct txn_write *writes = calloc(transaction->count, sizeof *writes);
    struct txn_call call = {
        .kind = TXN_COMMIT, .timestamp = transaction->timestamp, .writes = writes};
    int result = writes != NULL ? 0 : error_code(error, LS_ENOMEM);
    for (size_t i = 0; i < transaction->count && result == 0; i++) {
        const struct txn_item *item = &transaction->items[i];
        if (item->written) {
            writes[call.write_count++] = (struct txn_write){
                .key = item->key, .value = item->put, .del = item->put.data == NULL};
        }
    }
    if (result == 0) {
        result = run_call(e, &call, NULL, error);
    }
    if (result != 0) {
        release(e, transaction->timestamp);
    }
    txn_call_free(&call);
    free(writes);
    return result;
}

void embedded_txn_abort(struct ls_transaction *transaction)
{
    release(embedded_of(transaction->handle), transaction->timestamp);
}

/* ---- in one call ---- */

static struct txn_op op_of(const ls_txn_operation *operation)
{
    static const enum txn_op_kind kinds[] = {[LS_TXN_GET] = TXN_OP_GET,
                                             [LS_TXN_PUT] = TXN_OP_PUT,
                                             [LS_TXN_DEL] = TXN_OP_DEL,
                                             [LS_TXN_INCRBY] = TXN_OP_INCR,
                                             [LS_TXN_CHECK] = TXN_OP_CHECK};
    return (struct txn_op){.kind = kinds[operation->kind],
                           .key = operation->key,
                           .value = operation->value,
                           .amount = operation->number};
}

static int add_results(struct ls_values *out, const struct txn_op *ops, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool reads = ops[i].kind == TXN_OP_GET || ops[i].kind == TXN_OP_INCR;
        if (values_add(out, reads ? value_bytes(&ops[i].result) : bytes_of(NULL, 0)) != 0) {
            return LS_ENOMEM;
        }
    }
    return 0;
}

int embedded_txn_execute(struct ls *handle, const ls_txn_operation *operations, size_t count,
                         struct ls_values *out, struct ls_error *error)
{
    struct txn_op *ops = calloc(count, sizeof *ops);
    if (ops == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    for (size_t i = 0; i < count; i++) {
        ops[i] = op_of(&operations[i]);
    }
    struct txn_call call = {.kind = TXN_RUN, .ops = ops, .op_count = count};
    int result = run_call(embedded_of(handle), &call, NULL, error);
    if (result == 0 && add_results(out, ops, count) != 0) {
        result = txn_done_untold(error);
    }
    txn_call_free(&call);
    free(ops);
    return result;
}

int embedded_txn_get(struct ls *handle, uint64_t timestamp, const ls_bytes *keys, size_t count,
                     struct ls_values *out, struct ls_error *error)
{
    struct txn_value *values = calloc(count, sizeof *values);
    if (values == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    struct txn_call call = {.kind = TXN_GET,
                            .timestamp = timestamp,
                            .has_at = timestamp != LS_TXN_NOW,
                            .eager = {.keys = keys, .count = count},
                            .values = values};
    int result = run_call(embedded_of(handle), &call, NULL, error);
    for (size_t i = 0; i < count && result == 0; i++) {
        if (values_add(out, value_bytes(&values[i])) != 0) {
            result = error_code(error, LS_ENOMEM);
        }
    }
    txn_call_free(&call);
    free(values);
    return result;
}

int embedded_txn_explain(struct ls *handle, uint64_t timestamp, ls_txn_info *info,
                         struct ls_txn_marks *out, struct ls_error *error)
{
    struct txn_call call = {.kind = TXN_EXPLAIN, .timestamp = timestamp};
    int result = run_call(embedded_of(handle), &call, NULL, error);
    for (size_t i = 0; i < call.mark_count && result == 0; i++) {
        const struct txn_mark *mark = &call.marks[i];
        ls_txn_mark copy = {.key = mark->key,
                            .kinds = mark->kinds,
                            .waits = mark->waits,
                            .waits_for = mark->waits_for,
                            .waits_kind = mark->waits_kind,
                            .waits_since_ns = mark->waits_since};
        if (txn_marks_add(out, &copy) != 0) {
            result = error_code(error, LS_ENOMEM);
        }
    }
    if (result == 0) {
        *info = (ls_txn_info){
            .began_ns = call.began_ns, .expires_ms = call.expire_ms, .waiting = call.calls_waiting};
    }
    txn_call_free(&call);
    return result;
}
