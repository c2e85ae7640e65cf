/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole transaction in one call. Where nothing that it reads is open it takes its timestamp, runs
 * and is committed at once, without a record or a mark. Otherwise it takes its place in the order
 * as a transaction of its own, so that no later one gets before it, and runs when it can.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/error.h"
#include "txn/state.h"

#define NUMBER_SIZE_MAX 20 /* the digits of a 64-bit integer, and its sign */

/* ---- its keys ---- */

/* So many keys are found by looking at each. */
#define SLOTS_FEW 16

static int grow_slots(struct txn *txn, size_t count)
{
    if (txn->slots_max >= count) {
        return 0;
    }
    struct slot *slots = realloc(txn->slots, count * sizeof(*slots));
    txn->slots = slots != NULL ? slots : txn->slots;
    uint16_t *slot_of = realloc(txn->slot_of, count * sizeof(*slot_of));
    txn->slot_of = slot_of != NULL ? slot_of : txn->slot_of;
    if (slots == NULL || slot_of == NULL) {
        return LS_ENOMEM;
    }
    txn->slots_max = count;
    return 0;
}

/* A table for so many keys that they are not to be looked at one by one, empty. *mask: 0 where they
 * are few. */
static int clear_table(struct txn *txn, size_t count, size_t *mask)
{
    size_t size = 4 * SLOTS_FEW;
    *mask = 0;
    if (count <= SLOTS_FEW) {
        return 0;
    }
    while (size < 2 * count) {
        size *= 2;
    }
    if (txn->slot_table_max < size) {
        uint16_t *table = realloc(txn->slot_table, size * sizeof(*table));
        if (table == NULL) {
            return LS_ENOMEM;
        }
        txn->slot_table = table;
        txn->slot_table_max = size;
    }
    memset(txn->slot_table, 0, size * sizeof(*txn->slot_table));
    *mask = size - 1;
    return 0;
}

static bool is_slot(const struct slot *slot, ls_bytes key, uint64_t hash)
{
    return slot->hash == hash && bytes_equal(slot->key, key);
}

/* The place of the key among the first *count slots, where it is added if it is new. */
static size_t find_slot(struct txn *txn, size_t *count, size_t mask, ls_bytes key)
{
    uint64_t hash = recent_hash(txn->recent, key);
    if (mask == 0) {
        for (size_t i = 0; i < *count; i++) {
            if (is_slot(&txn->slots[i], key, hash)) {
                return i;
            }
        }
    } else {
        size_t at = (size_t)hash & mask;
        for (; txn->slot_table[at] != 0; at = (at + 1) & mask) {
            size_t slot = txn->slot_table[at] - 1u;
            if (is_slot(&txn->slots[slot], key, hash)) {
                return slot;
            }
        }
        txn->slot_table[at] = (uint16_t)(*count + 1);
    }
    recent_prefetch(txn->recent, hash, RECENT_BUCKET);
    txn->slots[*count] = (struct slot){.key = key, .hash = hash};
    return (*count)++;
}

/* Finds the keys, and which of them are read before they are written. */
static int prepare(struct txn *txn, const struct txn_call *call, size_t *count,
                   struct ls_error *error)
{
    size_t bytes = 0, mask;
    for (size_t i = 0; i < call->op_count; i++) {
        bytes += call->ops[i].key.size + call->ops[i].value.size;
    }
    int rc = txn_check_size(call->op_count, bytes, error);
    if (rc != 0) {
        return rc;
    }
    if (call->op_count == 0) {
        return error_set(error, LS_EINVAL, 0, "the transaction has no operations");
    }
    if (grow_slots(txn, call->op_count) != 0 || clear_table(txn, call->op_count, &mask) != 0) {
        return error_code(error, LS_ENOMEM);
    }
    *count = 0;
    for (size_t i = 0; i < call->op_count; i++) {
        const struct txn_op *op = &call->ops[i];
        size_t before = *count;
        size_t at = find_slot(txn, count, mask, op->key);
        if (*count > before) {
            rc = key_check_version(op->key, error);
            if (rc != 0) {
                return rc;
            }
        }
        struct slot *slot = &txn->slots[at];
        bool writes = op->kind == TXN_OP_PUT || op->kind == TXN_OP_DEL;
        txn->slot_of[i] = (uint16_t)at;
        slot->read = slot->read || (!writes && !slot->write);
        slot->write = slot->write || writes || op->kind == TXN_OP_INCR;
    }
    return 0;
}

/* ---- its operations ---- */

static ls_bytes slot_value(const struct slot *slot, const struct txn_call *call)
{
    if (slot->absent) {
        return bytes_of(NULL, 0);
    }
    return slot->at == AT_BORROWED ? slot->value
                                   : bytes_of(bytes_at(call, slot->at), slot->value.size);
}

/* Decimal text as Redis takes it: no blanks, no plus, no leading zeros. */
static bool number_read(ls_bytes text, int64_t *out)
{
    const char *at = text.data;
    size_t i = 0;
    bool negative = text.size > 0 && at[0] == '-';
    uint64_t value = 0;
    i += negative;
    if (i == text.size || text.size > NUMBER_SIZE_MAX || (at[i] == '0' && text.size > 1)) {
        return false;
    }
    for (; i < text.size; i++) {
        if (at[i] < '0' || at[i] > '9') {
            return false;
        }
        uint64_t digit = (uint64_t)(at[i] - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    if (value > (uint64_t)INT64_MAX + negative) {
        return false;
    }
    *out = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

static int increment(struct txn_call *call, struct slot *slot, struct txn_op *op,
                     struct ls_error *error)
{
    int64_t value = 0;
    if (!slot->absent && !number_read(slot_value(slot, call), &value)) {
        return error_set(error, LS_EINVAL, 0, "the value of '%s' is not an integer or out of range",
                         key_text(op->key).text);
    }
    if (__builtin_add_overflow(value, op->amount, &op->number)) {
        return error_set(error, LS_EINVAL, 0, "the sum at '%s' is out of range",
                         key_text(op->key).text);
    }
    slot->at = call->bytes.size;
    slot->absent = false;
    if (buf_printf(&call->bytes, "%lld", (long long)op->number) != 0) {
        return error_code(error, LS_ENOMEM);
    }
    slot->value.size = call->bytes.size - slot->at;
    op->result = (struct txn_value){.value = slot->value, .at = slot->at};
    return 0;
}

static int operate(struct txn_call *call, struct slot *slot, struct txn_op *op,
                   struct ls_error *error)
{
    switch (op->kind) {
    case TXN_OP_GET:
        op->result =
            (struct txn_value){.value = slot->value, .absent = slot->absent, .at = slot->at};
        return 0;
    case TXN_OP_PUT:
        slot->absent = false;
        slot->at = AT_BORROWED;
        slot->value = op->value;
        return 0;
    case TXN_OP_DEL:
        slot->absent = true;
        return 0;
    case TXN_OP_INCR:
        return increment(call, slot, op, error);
    case TXN_OP_CHECK:
        if (slot->absent || !bytes_equal(slot_value(slot, call), op->value)) {
            return error_set(error, LS_ECONFLICT, (uint64_t)(op - call->ops),
                             "the key '%s' has another value", key_text(op->key).text);
        }
        return 0;
    }
    return error_set(error, LS_EINVAL, 0, "unknown kind of operation");
}

/* What a key holds is there once, and given as often as it is asked for. */
static int count_read(const struct txn_op *op, size_t *bytes, struct ls_error *error)
{
    size_t size = op->kind == TXN_OP_GET && !op->result.absent ? op->result.value.size : 0;
    if (size > TXN_BYTES_MAX - *bytes) {
        return error_set(error, LS_ETOOBIG, TXN_BYTES_MAX, "what is read has more than %zu bytes",
                         TXN_BYTES_MAX);
    }
    *bytes += size;
    return 0;
}

static int operate_all(struct txn *txn, struct txn_call *call, struct ls_error *error)
{
    size_t bytes_read = 0;
    for (size_t i = 0; i < call->op_count; i++) {
        int rc = operate(call, &txn->slots[txn->slot_of[i]], &call->ops[i], error);
        rc = rc != 0 ? rc : count_read(&call->ops[i], &bytes_read, error);
        if (rc != 0) {
            return rc;
        }
    }
    for (size_t i = 0; i < call->op_count; i++) {
        struct txn_value *result = &call->ops[i].result;
        if (result->absent) {
            result->value = bytes_of(NULL, 0);
        } else if (result->at != AT_BORROWED) {
            result->value.data = bytes_at(call, result->at);
        }
    }
    return 0;
}

/* ---- waiting ---- */

/* Reads what is stored of the keys: 0, or 1 with the newest open write that one waits for. */
static int read_slots(struct txn *txn, struct coordinator *c, struct txn_call *call,
                      uint64_t timestamp, size_t count, uint64_t *waits_for, struct ls_error *error)
{
    bool waits = false;
    for (size_t i = 0; i < count; i++) {
        recent_prefetch(txn->recent, txn->slots[i].hash, RECENT_KEY);
    }
    for (size_t i = 0; i < count; i++) {
        struct slot *slot = &txn->slots[i];
        struct txn_value value;
        uint64_t blocker;
        if (!slot->read) {
            continue;
        }
        int rc =
            txn_resolve(txn, c, call, timestamp, slot->key, slot->hash, &value, &blocker, error);
        if (rc < 0) {
            return rc;
        }
        if (rc > 0) {
            *waits_for = waits && *waits_for > blocker ? *waits_for : blocker;
            waits = true;
            continue;
        }
        slot->absent = value.absent;
        slot->at = value.at;
        slot->value.size = value.value.size;
    }
    return waits;
}

static int list_slots(struct txn *txn, size_t count, bool write, ls_bytes *out,
                      struct ls_error *error)
{
    size_t from = txn->lists.size;
    for (size_t i = 0; i < count; i++) {
        const struct slot *slot = &txn->slots[i];
        struct txn_keys one = {&slot->key, 1};
        if (write ? slot->write : slot->read) {
            int rc = txn_put_list(txn, &one, error);
            if (rc != 0) {
                return rc;
            }
        }
    }
    *out = bytes_of(NULL, txn->lists.size - from);
    return 0;
}

/* Takes its place in the order. Its time limit is above those of all that it may wait for, so it is
 * given up only where its process is gone. */
static int take_place(struct txn *txn, struct coordinator *c, struct request *request, size_t count,
                      uint64_t waits_for)
{
    struct transaction record = {.whole = 1};
    txn->lists.size = 0;
    int rc = txn_check_parking(txn, request->error);
    rc = rc != 0 ? rc : list_slots(txn, count, false, &record.eager, request->error);
    rc = rc != 0 ? rc : list_slots(txn, count, true, &record.will, request->error);
    if (rc != 0) {
        return rc;
    }
    record.eager.data = txn->lists.data;
    record.will.data = txn->lists.data + record.eager.size;
    record.ttl_ms = index_outlast_ms(txn->index);
    uint64_t timestamp;
    rc = txn_open_new(txn, c, &record, &timestamp, request->error);
    if (rc != 0) {
        return rc;
    }
    request->clock = timestamp;
    return txn_park(txn, request, waits_for);
}

/* ---- writing ---- */

/* Every read that waits has an earlier timestamp, or waits for this very transaction, so a write
 * past the open write of another wakes nobody. */
static int write_slots(struct txn *txn, struct coordinator *c, struct request *request,
                       uint64_t timestamp, size_t count)
{
    const struct txn_call *call = call_of(request);
    struct ls_error *error = request->error;
    int rc = coordinator_room(c, STORE_ROOM_ADD, request->in.extension.weight, error);
    rc = rc != 0 ? rc : merge_admit(txn, error);
    rc = rc != 0 ? rc : vlog_reserve(txn, count, error);
    if (rc != 0) {
        return rc;
    }
    size_t written = 0;
    for (size_t i = 0; i < count; i++) {
        const struct slot *slot = &txn->slots[i];
        if (slot->write) {
            txn->writes[written++] = (struct logged_write){
                .key = slot->key, .value = slot_value(slot, call), .deleted = slot->absent};
        }
    }
    return written > 0 ? vlog_write(txn, c, timestamp, written, error) : 0;
}

static int run_at_once(struct txn *txn, struct coordinator *c, struct request *request,
                       size_t count)
{
    struct txn_call *call = call_of(request);
    uint64_t timestamp = coordinator_clock_here(c) + 1;
    uint64_t waits_for = 0;
    int rc = read_slots(txn, c, call, timestamp, count, &waits_for, request->error);
    if (rc != 0) {
        return rc < 0 ? rc : take_place(txn, c, request, count, waits_for);
    }
    rc = operate_all(txn, call, request->error);
    if (rc != 0) {
        txn->counters.conflicts += rc == LS_ECONFLICT;
        return rc;
    }
    bool writes = false;
    for (size_t i = 0; i < count; i++) {
        writes = writes || txn->slots[i].write;
    }
    request->clock = coordinator_clock_here(c);
    if (writes) {
        rc = coordinator_tick(c, &timestamp, request->error);
        rc = rc != 0 ? rc : write_slots(txn, c, request, timestamp, count);
        request->clock = timestamp;
    }
    txn->counters.run += rc == 0;
    return rc;
}

/* It has its place, and waited. */
static int run_in_place(struct txn *txn, struct coordinator *c, struct request *request,
                        size_t count)
{
    struct txn_call *call = call_of(request);
    uint64_t timestamp = request->clock;
    uint64_t waits_for = 0;
    struct open *open;
    int rc = txn_find(txn, c, timestamp, &open, request->error);
    rc = rc != 0 ? rc : read_slots(txn, c, call, timestamp, count, &waits_for, request->error);
    if (rc != 0) {
        return rc < 0 ? rc : txn_park(txn, request, waits_for);
    }
    rc = operate_all(txn, call, request->error);
    if (rc != 0) {
        txn->counters.conflicts += rc == LS_ECONFLICT;
        return rc;
    }
    rc = write_slots(txn, c, request, timestamp, count);
    txn->touched = true;
    for (size_t i = 0; i < count && rc == 0; i++) {
        const struct slot *slot = &txn->slots[i];
        if (slot->write) {
            rc = index_write(txn->index, open, open_key(open, slot->key),
                             slot->absent ? LS_SHARD_ABSENT : LS_SHARD_VALUE,
                             slot_value(slot, call), request->error);
        }
    }
    rc = rc != 0 ? rc : txn_close_open(txn, c, open, request->error);
    txn->counters.run += rc == 0;
    return rc;
}

int txn_run(struct txn *txn, struct coordinator *c, struct request *request)
{
    size_t count = 0;
    int rc = prepare(txn, call_of(request), &count, request->error);
    if (rc != 0) {
        return rc;
    }
    if (request->clock == 0) {
        return run_at_once(txn, c, request, count);
    }
    rc = run_in_place(txn, c, request, count);
    if (rc < 0) {
        int given_up = txn_give_up(txn, request->clock, request->error);
        rc = given_up != 0 ? given_up : rc;
    }
    return rc;
}

void txn_approach(void *context, const struct request *request, unsigned ahead)
{
    enum { FEW = 16 };
    static const enum recent_part parts[COORDINATOR_AHEAD] = {RECENT_VERSION, RECENT_KEY,
                                                              RECENT_BUCKET};
    const struct txn *txn = context;
    const struct txn_call *call = call_of(request);
    for (size_t i = 0; call->kind == TXN_RUN && i < call->op_count && i < FEW; i++) {
        recent_prefetch(txn->recent, recent_hash(txn->recent, call->ops[i].key), parts[ahead - 1]);
    }
}
