/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A transaction in several calls: begin, read, commit, abort. All its writes are put, and its
 * record is deleted, in one transaction of the store.
 */
#include <stdlib.h>

#include "base/error.h"
#include "txn/state.h"

int txn_check_size(size_t count, size_t bytes, struct ls_error *error)
{
    if (count > TXN_KEYS_MAX) {
        return error_set(error, LS_ETOOBIG, TXN_KEYS_MAX, "a transaction has at most %d keys",
                         TXN_KEYS_MAX);
    }
    if (bytes > TXN_BYTES_MAX) {
        return error_set(error, LS_ETOOBIG, TXN_BYTES_MAX,
                         "a transaction has at most %zu bytes of keys and values", TXN_BYTES_MAX);
    }
    return 0;
}

int txn_put_list(struct txn *txn, const struct txn_keys *keys, struct ls_error *error)
{
    for (size_t i = 0; i < keys->count; i++) {
        ls_bytes key = keys->keys[i];
        int rc = key_check_version(key, error);
        if (rc != 0) {
            return rc;
        }
        uint8_t size[2] = {(uint8_t)(key.size >> 8), (uint8_t)key.size};
        if (buf_append(&txn->lists, size, sizeof(size)) != 0 ||
            buf_append(&txn->lists, key.data, key.size) != 0) {
            return error_code(error, LS_ENOMEM);
        }
    }
    return 0;
}

/* ---- begin ---- */

static size_t keys_size(const struct txn_keys *keys)
{
    size_t size = 0;
    for (size_t i = 0; i < keys->count; i++) {
        size += keys->keys[i].size;
    }
    return size;
}

static int describe(struct txn *txn, const struct txn_call *call, struct transaction *out,
                    struct ls_error *error)
{
    const struct txn_keys *lists[] = {&call->eager, &call->lazy, &call->will, &call->may};
    ls_bytes *fields[] = {&out->eager, &out->lazy, &out->will, &out->may};
    size_t ends[4], count = 0, bytes = 0;
    for (size_t i = 0; i < 4; i++) {
        count += lists[i]->count;
        bytes += keys_size(lists[i]);
    }
    int rc = txn_check_size(count, bytes, error);
    txn->lists.size = 0;
    for (size_t i = 0; i < 4 && rc == 0; i++) {
        rc = txn_put_list(txn, lists[i], error);
        ends[i] = txn->lists.size;
    }
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; i < 4; i++) {
        size_t from = i > 0 ? ends[i - 1] : 0;
        size_t size = ends[i] - from;
        *fields[i] = bytes_of(size > 0 ? txn->lists.data + from : NULL, size);
    }
    out->ttl_ms = call->ttl_ms != 0 ? call->ttl_ms : atomic_load(&txn->ttl_ms);
    if (out->ttl_ms > TXN_TTL_MS_MAX) {
        return error_set(error, LS_EINVAL, TXN_TTL_MS_MAX, "a ttl is at most %d ms",
                         TXN_TTL_MS_MAX);
    }
    return 0;
}

/* Reads the keys as the transaction sees them: 0, or 1 with what it waits for where one is not
 * known yet. */
static int resolve_keys(struct txn *txn, struct coordinator *c, struct request *request,
                        uint64_t timestamp, const struct txn_keys *keys, uint64_t *waits_for)
{
    struct txn_call *call = call_of(request);
    for (size_t i = 0; i < keys->count; i++) {
        int rc = txn_resolve(txn, c, call, timestamp, keys->keys[i],
                             recent_hash(txn->recent, keys->keys[i]), &call->values[i], waits_for,
                             request->error);
        if (rc != 0) {
            return rc;
        }
    }
    txn_settle_values(call, keys->count);
    return 0;
}

/* The same, and parks where one is not known yet. */
static int read_keys(struct txn *txn, struct coordinator *c, struct request *request,
                     uint64_t timestamp, const struct txn_keys *keys)
{
    uint64_t waits_for;
    int rc = resolve_keys(txn, c, request, timestamp, keys, &waits_for);
    return rc <= 0 ? rc : txn_park(txn, request, waits_for);
}

/* All that may be refused is done before the first put, so that a refusal is nobody else's. */
static int begin_new(struct txn *txn, struct coordinator *c, struct request *request)
{
    const struct txn_call *call = call_of(request);
    struct transaction record = {0};
    uint64_t timestamp = coordinator_clock_here(c) + 1;
    uint64_t waits_for;
    int rc = txn_check_open(txn, request->error);
    rc = rc != 0 ? rc : describe(txn, call, &record, request->error);
    rc = rc != 0 ? rc : resolve_keys(txn, c, request, timestamp, &call->eager, &waits_for);
    if (rc < 0) {
        return rc;
    }
    bool waits = rc > 0;
    rc = waits ? txn_check_parking(txn, request->error) : 0;
    rc = rc != 0 ? rc : txn_open_new(txn, c, &record, &timestamp, request->error);
    if (rc != 0) {
        return rc;
    }
    txn->counters.begun++;
    request->clock = timestamp;
    return waits ? txn_park(txn, request, waits_for) : 0;
}

/* It has begun, and waited. Where it fails nobody knows of it: it is closed. */
static int begin_waited(struct txn *txn, struct coordinator *c, struct request *request)
{
    struct open *open;
    int rc = txn_find(txn, c, request->clock, &open, request->error);
    if (rc != 0) {
        return rc;
    }
    rc = read_keys(txn, c, request, request->clock, &call_of(request)->eager);
    if (rc != 0) {
        int given_up = txn_give_up(txn, request->clock, request->error);
        rc = given_up != 0 ? given_up : rc;
    }
    return rc;
}

int txn_begin(struct txn *txn, struct coordinator *c, struct request *request)
{
    return request->clock == 0 ? begin_new(txn, c, request) : begin_waited(txn, c, request);
}

/* ---- read ---- */

/* A RUN that waits has a timestamp too, but nobody else's calls are for it. */
static int find_interactive(struct txn *txn, struct coordinator *c, uint64_t timestamp,
                            struct open **out, struct ls_error *error)
{
    int rc = txn_find(txn, c, timestamp, out, error);
    if (rc == 0 && (*out)->whole) {
        return error_set(error, LS_ETXNEXPIRED, timestamp,
                         "the transaction %llu runs in one call of its own",
                         (unsigned long long)timestamp);
    }
    return rc;
}

int txn_read(struct txn *txn, struct coordinator *c, struct request *request)
{
    struct txn_call *call = call_of(request);
    struct open *open;
    int rc = find_interactive(txn, c, call->timestamp, &open, request->error);
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; i < call->eager.count; i++) {
        const struct held *held = open_key(open, call->eager.keys[i]);
        if (held == NULL || (held->kinds & (TXN_EAGER | TXN_LAZY)) == 0) {
            return error_set(
                request->error, LS_ENOLOCK, 0, "the transaction %llu does not read the key '%s'",
                (unsigned long long)call->timestamp, key_text(call->eager.keys[i]).text);
        }
    }
    return read_keys(txn, c, request, call->timestamp, &call->eager);
}

/* ---- commit ---- */

/* Whether what is written is what was declared. */
static int check_writes(const struct txn_call *call, const struct open *open,
                        struct ls_error *error)
{
    size_t bytes = 0;
    for (size_t i = 0; i < open->count; i++) {
        open->keys[i].written = false;
    }
    for (size_t i = 0; i < call->write_count; i++) {
        ls_bytes key = call->writes[i].key;
        struct held *held = open_key(open, key);
        if (held == NULL || (held->kinds & (TXN_WILL | TXN_MAY)) == 0) {
            return error_set(error, LS_ENOLOCK, 0,
                             "the transaction %llu did not declare to write the key '%s'",
                             (unsigned long long)open->timestamp, key_text(key).text);
        }
        if (held->written) {
            return error_set(error, LS_EINVAL, 0, "the key '%s' is written twice",
                             key_text(key).text);
        }
        held->written = true;
        bytes += key.size + call->writes[i].value.size;
    }
    for (size_t i = 0; i < open->count; i++) {
        if ((open->keys[i].kinds & TXN_WILL) != 0 && !open->keys[i].written) {
            return error_set(error, LS_EINVAL, 0,
                             "the key '%s', which the transaction will write, is missing",
                             key_text(open->keys[i].key).text);
        }
    }
    return txn_check_size(call->write_count, bytes, error);
}

static int write_all(struct txn *txn, struct coordinator *c, const struct txn_call *call,
                     uint64_t timestamp, struct ls_error *error)
{
    int rc = merge_admit(txn, error);
    rc = rc != 0 ? rc : vlog_reserve(txn, call->write_count, error);
    for (size_t i = 0; i < call->write_count && rc == 0; i++) {
        const struct txn_write *write = &call->writes[i];
        txn->writes[i] = (struct logged_write){.key = write->key, .deleted = write->del};
        if (!write->del) {
            txn->writes[i].value = write->value;
        }
    }
    return rc != 0 ? rc : vlog_write(txn, c, timestamp, call->write_count, error);
}

int txn_commit(struct txn *txn, struct coordinator *c, struct request *request)
{
    const struct txn_call *call = call_of(request);
    struct ls_error *error = request->error;
    struct open *open;
    int rc = find_interactive(txn, c, call->timestamp, &open, error);
    rc = rc != 0 ? rc : check_writes(call, open, error);
    if (rc != 0) {
        return rc;
    }
    bool adds = call->write_count > 0;
    rc = coordinator_room(c, adds ? STORE_ROOM_ADD : STORE_ROOM_FREE,
                          adds ? request->in.extension.weight : 0, error);
    rc = rc != 0 || !adds ? rc : write_all(txn, c, call, open->timestamp, error);
    if (rc != 0) {
        return rc;
    }
    txn->touched = true;
    for (size_t i = 0; i < call->write_count && rc == 0; i++) {
        const struct txn_write *write = &call->writes[i];
        rc = index_write(txn->index, open, open_key(open, write->key),
                         write->del ? LS_SHARD_ABSENT : LS_SHARD_VALUE, write->value, error);
    }
    rc = rc != 0 ? rc : txn_close_open(txn, c, open, error);
    txn->counters.committed += rc == 0;
    return rc;
}

/* ---- abort ---- */

static int find_released(struct txn *txn, struct coordinator *c, const struct txn_call *call,
                         struct open **out, struct ls_error *error)
{
    uint64_t timestamp = call->timestamp;
    if (call->begun != NULL) {
        timestamp = call->begun->request->clock;
        if (timestamp == 0) {
            return error_code(error, LS_ETXNEXPIRED); /* it failed to begin */
        }
    }
    return txn_find(txn, c, timestamp, out, error);
}

int txn_abort(struct txn *txn, struct coordinator *c, struct request *request)
{
    const struct txn_call *call = call_of(request);
    struct open *open;
    bool released = call->kind == TXN_RELEASE;
    int rc = released ? find_released(txn, c, call, &open, request->error)
                      : find_interactive(txn, c, call->timestamp, &open, request->error);
    if (rc != 0) {
        return released && rc == LS_ETXNEXPIRED ? 0 : rc;
    }
    rc = coordinator_room(c, STORE_ROOM_FREE, 0, request->error);
    rc = rc != 0 ? rc : txn_close_open(txn, c, open, request->error);
    if (rc == 0) {
        txn->counters.released += released;
        txn->counters.aborted += !released;
    }
    return rc;
}
