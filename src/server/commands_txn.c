/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of transactions. */
#include <stdlib.h>

#include "server/declared.h"
#include "server/handlers.h"

/* A call with room for so many bytes of arguments. NULL with the error; once filled it must be
 * given to add. */
static struct pending *new_call(struct call *call, enum txn_kind kind, size_t bytes,
                                void (*answer)(struct pending *pending), struct txn_call **txn)
{
    struct server *server = call->server;
    uint64_t queue_max = server->config.queue_max;
    if (txns_may_wait(kind) && server->queue.bytes > queue_max &&
        txns_parked_bytes(server) > queue_max) {
        error_set(call->error, LS_ENOSPACE, queue_max,
                  "what waits for transactions takes more than queue-max: end some, or wait");
        return NULL;
    }
    struct pending *pending = txns_new(server, kind, bytes, txn);
    if (pending == NULL) {
        error_code(call->error, LS_ENOMEM);
        return NULL;
    }
    pending->conn = call->conn;
    pending->answer = answer;
    return pending;
}

/* As the transaction would refuse it, but before its keys are copied. */
static int check_count(struct call *call, size_t count)
{
    return arg_count(count, TXN_KEYS_MAX, "a transaction", "keys", call->error);
}

static int add(struct call *call, struct pending *pending, struct txn_call *txn)
{
    txn_request(&pending->request, txn);
    return write_add(call, pending);
}

/* The bytes of so many keys, and of the array of them. */
static size_t keys_size(const ls_bytes *keys, size_t count)
{
    size_t size = count * sizeof *keys;
    for (size_t i = 0; i < count; i++) {
        size += keys[i].size;
    }
    return size;
}

/* Arrays are taken before texts, so that they are aligned. */
static struct txn_keys copy_array(struct pending *pending, const ls_bytes *keys, size_t count)
{
    if (count == 0) {
        return (struct txn_keys){0};
    }
    ls_bytes *copy = queue_room(pending, count * sizeof *copy);
    memcpy(copy, keys, count * sizeof *copy);
    return (struct txn_keys){copy, count};
}

static void copy_texts(struct pending *pending, struct txn_keys keys)
{
    ls_bytes *at = (ls_bytes *)(uintptr_t)keys.keys;
    for (size_t i = 0; i < keys.count; i++) {
        at[i] = queue_copy(pending, at[i]);
    }
}

/* Sets *timestamp from argv[1]: 0, or why not; LS_ETXNEXPIRED where it is not this connection's. */
static int parse_own(struct call *call, uint64_t *timestamp)
{
    int rc = arg_number(call->argv[1], "the timestamp", timestamp, call->error);
    if (rc == 0 && !txns_is_own(call->conn, *timestamp)) {
        rc = error_set(call->error, LS_ETXNEXPIRED, *timestamp,
                       "this connection has no open transaction %llu: it is over, or another "
                       "connection's",
                       (unsigned long long)*timestamp);
    }
    return rc;
}

static void answer_value(struct conn *conn, const struct txn_value *value)
{
    if (value->absent) {
        answer_null(conn);
    } else {
        answer_bulk(conn, value->value);
    }
}

static void answer_values(struct conn *conn, const struct txn_value *values, size_t count)
{
    answer_array(conn, count);
    for (size_t i = 0; i < count; i++) {
        answer_value(conn, &values[i]);
    }
}

/* ---- TXN.BEGIN ---- */

static void answer_begin(struct pending *pending)
{
    struct conn *conn = pending->conn;
    const struct txn_call *txn = txns_call(pending);
    if (!write_failed(pending)) {
        uint64_t ttl_ms = txn->ttl_ms != 0 ? txn->ttl_ms : pending->server->config.txn_ttl;
        if (txns_own(conn, pending->request.clock, ttl_ms) != 0) {
            error_code(&pending->error, LS_ENOMEM);
            answer_error(conn, &pending->error);
        } else {
            answer_array(conn, 2);
            answer_clock(conn, pending->request.clock);
            answer_values(conn, txn->values, txn->eager.count);
        }
    }
    txns_done(pending);
}

static int parse_begin(struct call *call, struct declared *declared, uint64_t *ttl_ms)
{
    for (size_t at = 1; at < call->argc;) {
        int taken = declared_take(call, &at, declared);
        if (taken < 0) {
            return taken;
        }
        if (taken > 0) {
            continue;
        }
        if (at + 1 >= call->argc || !arg_is(call->argv[at], "TTL")) {
            return arg_refuse(call->error, call->argv[at],
                              "EAGER, LAZY, WILL or MAY with n keys, or TTL ms");
        }
        int rc = arg_number(call->argv[at + 1], "TTL", ttl_ms, call->error);
        if (rc != 0) {
            return rc;
        }
        if (*ttl_ms == 0 || *ttl_ms > TXN_TTL_MS_MAX) {
            return error_set(call->error, LS_EINVAL, TXN_TTL_MS_MAX,
                             "TTL must be from 1 to %d milliseconds", TXN_TTL_MS_MAX);
        }
        at += 2;
    }
    return check_count(call, declared->count);
}

int command_txn_begin(struct call *call)
{
    struct declared declared = {0};
    uint64_t ttl_ms = 0;
    int rc = parse_begin(call, &declared, &ttl_ms);
    if (rc != 0) {
        return rc;
    }
    const struct declared_keys *const lists[] = {&declared.eager, &declared.lazy, &declared.will,
                                                 &declared.may};
    size_t bytes = declared.eager.count * sizeof(struct txn_value);
    for (size_t i = 0; i < 4; i++) {
        bytes += keys_size(lists[i]->keys, lists[i]->count);
    }
    struct txn_call *txn;
    struct pending *pending = new_call(call, TXN_BEGIN, bytes, answer_begin, &txn);
    if (pending == NULL) {
        return call->error->code;
    }
    struct txn_keys *const copies[] = {&txn->eager, &txn->lazy, &txn->will, &txn->may};
    txn->ttl_ms = ttl_ms;
    txn->values = queue_room(pending, declared.eager.count * sizeof *txn->values);
    for (size_t i = 0; i < 4; i++) {
        *copies[i] = copy_array(pending, lists[i]->keys, lists[i]->count);
    }
    for (size_t i = 0; i < 4; i++) {
        copy_texts(pending, *copies[i]);
    }
    return add(call, pending, txn);
}

/* ---- TXN.READ, TXN.GET ---- */

static void answer_read(struct pending *pending)
{
    if (!write_failed(pending)) {
        answer_value(pending->conn, txns_call(pending)->values);
    }
    txns_done(pending);
}

static void answer_get(struct pending *pending)
{
    const struct txn_call *txn = txns_call(pending);
    if (!write_failed(pending)) {
        answer_values(pending->conn, txn->values, txn->eager.count);
    }
    txns_done(pending);
}

/* A call that reads these keys. */
static struct pending *new_reading(struct call *call, enum txn_kind kind, const ls_bytes *keys,
                                   size_t count, struct txn_call **txn)
{
    size_t bytes = count * sizeof(struct txn_value) + keys_size(keys, count);
    struct pending *pending =
        new_call(call, kind, bytes, kind == TXN_READ ? answer_read : answer_get, txn);
    if (pending != NULL) {
        (*txn)->values = queue_room(pending, count * sizeof *(*txn)->values);
        (*txn)->eager = copy_array(pending, keys, count);
        copy_texts(pending, (*txn)->eager);
    }
    return pending;
}

int command_txn_read(struct call *call)
{
    uint64_t timestamp;
    struct txn_call *txn;
    int rc = parse_own(call, &timestamp);
    if (rc != 0) {
        return rc;
    }
    struct pending *pending = new_reading(call, TXN_READ, call->argv + 2, 1, &txn);
    if (pending == NULL) {
        return call->error->code;
    }
    txn->timestamp = timestamp;
    return add(call, pending, txn);
}

int command_txn_get(struct call *call)
{
    uint64_t timestamp = 0;
    size_t at = 1;
    int rc;
    struct txn_call *txn;
    bool has_at = arg_is(call->argv[1], "AT");
    if (has_at && call->argc < 4) {
        return error_set(call->error, LS_EINVAL, 0, "AT is followed by a timestamp and keys");
    }
    if (has_at) {
        rc = arg_number(call->argv[2], "AT", &timestamp, call->error);
        if (rc != 0) {
            return rc;
        }
        at = 3;
    }
    rc = check_count(call, call->argc - at);
    if (rc != 0) {
        return rc;
    }
    struct pending *pending = new_reading(call, TXN_GET, call->argv + at, call->argc - at, &txn);
    if (pending == NULL) {
        return call->error->code;
    }
    txn->has_at = has_at;
    txn->timestamp = timestamp;
    return add(call, pending, txn);
}

/* ---- TXN.COMMIT, TXN.ABORT ---- */

static void answer_end(struct pending *pending)
{
    int status = pending->request.status;
    if (status == 0 || status == LS_ETXNEXPIRED) {
        txns_forget(pending->server, txns_call(pending)->timestamp);
    }
    if (!write_failed(pending)) {
        answer_ok(pending->conn);
    }
    txns_done(pending);
}

/* What TXN.COMMIT gives: pairs of a key and a value from argv[3] on, and behind DEL and their
 * number keys alone. */
struct given_writes {
    size_t puts;
    size_t deletions;
    size_t bytes; /* of all keys and values */
};

/* A count at argv[*at], which moves behind it, and that so many words follow. */
static int take_count(struct call *call, size_t *at, size_t words_each, size_t *count)
{
    uint64_t given;
    int rc = arg_number(call->argv[*at], "the number of keys", &given, call->error);
    if (rc != 0) {
        return rc;
    }
    size_t left = call->argc - ++*at;
    if (given > left / words_each) {
        return error_set(call->error, LS_EINVAL, 0,
                         "expected n and n times key value, or DEL, n and n keys");
    }
    *count = (size_t)given;
    return check_count(call, *count);
}

static int measure_writes(struct call *call, struct given_writes *given)
{
    size_t at = 2;
    int rc = 0;
    if (at < call->argc) {
        rc = take_count(call, &at, 2, &given->puts);
    }
    for (size_t i = 0; i < given->puts && rc == 0; i++, at += 2) {
        rc = check_value(call, call->argv[at + 1]);
        given->bytes += call->argv[at].size + call->argv[at + 1].size;
    }
    if (rc == 0 && at + 1 < call->argc && arg_is(call->argv[at], "DEL")) {
        at++;
        rc = take_count(call, &at, 1, &given->deletions);
        for (size_t i = 0; i < given->deletions && rc == 0; i++, at++) {
            given->bytes += call->argv[at].size;
        }
    }
    if (rc == 0 && at < call->argc) {
        rc = arg_refuse(call->error, call->argv[at], "n times key value, then DEL n key ..");
    }
    return rc;
}

int command_txn_commit(struct call *call)
{
    uint64_t timestamp;
    struct given_writes given = {0};
    struct txn_call *txn;
    int rc = measure_writes(call, &given);
    rc = rc != 0 ? rc : parse_own(call, &timestamp);
    if (rc != 0) {
        return rc;
    }
    size_t count = given.puts + given.deletions;
    struct pending *pending = new_call(
        call, TXN_COMMIT, given.bytes + count * sizeof(struct txn_write), answer_end, &txn);
    if (pending == NULL) {
        return call->error->code;
    }
    struct txn_write *writes = queue_room(pending, count * sizeof *writes);
    for (size_t i = 0; i < given.puts; i++) {
        const ls_bytes *pair = call->argv + 3 + 2 * i;
        writes[i] = (struct txn_write){.key = queue_copy(pending, pair[0])};
        writes[i].value = queue_copy(pending, pair[1]);
    }
    for (size_t i = 0; i < given.deletions; i++) {
        const ls_bytes *key = call->argv + 5 + 2 * given.puts + i;
        writes[given.puts + i] = (struct txn_write){.key = queue_copy(pending, *key), .del = true};
    }
    txn->timestamp = timestamp;
    txn->writes = writes;
    txn->write_count = count;
    return add(call, pending, txn);
}

int command_txn_abort(struct call *call)
{
    uint64_t timestamp;
    struct txn_call *txn;
    int rc = parse_own(call, &timestamp);
    if (rc != 0) {
        return rc;
    }
    struct pending *pending = new_call(call, TXN_ABORT, 0, answer_end, &txn);
    if (pending == NULL) {
        return call->error->code;
    }
    txn->timestamp = timestamp;
    return add(call, pending, txn);
}

/* ---- TXN.RUN ---- */

static void answer_run(struct pending *pending)
{
    struct conn *conn = pending->conn;
    const struct txn_call *txn = txns_call(pending);
    txns_abandon(pending);
    if (!write_failed(pending)) {
        answer_array(conn, txn->op_count);
        for (size_t i = 0; i < txn->op_count; i++) {
            const struct txn_op *op = &txn->ops[i];
            if (op->kind == TXN_OP_GET) {
                answer_value(conn, &op->result);
            } else if (op->kind == TXN_OP_INCR) {
                answer_integer(conn, op->number);
            } else {
                answer_ok(conn);
            }
        }
    }
    txns_done(pending);
}

static const struct {
    const char *word;
    enum txn_op_kind kind;
    size_t words; /* its own counts */
} operations[] = {{"GET", TXN_OP_GET, 2},
                  {"PUT", TXN_OP_PUT, 3},
                  {"DEL", TXN_OP_DEL, 2},
                  {"INCRBY", TXN_OP_INCR, 3},
                  {"CHECK", TXN_OP_CHECK, 3}};

/* As in Redis: a sign and digits. */
static int parse_amount(struct call *call, ls_bytes arg, int64_t *amount)
{
    bool negative = arg.size > 1 && *(const char *)arg.data == '-';
    ls_bytes digits = {(const char *)arg.data + negative, arg.size - negative};
    uint64_t value;
    int rc = arg_number(digits, "the amount", &value, call->error);
    if (rc != 0 || value > (uint64_t)INT64_MAX + negative) {
        return error_set(call->error, LS_EINVAL, 0,
                         "the amount of INCRBY must be a whole number from -2^63 to 2^63-1");
    }
    *amount = (int64_t)(negative ? 0 - value : value);
    return 0;
}

/* The operation at argv[at], its words borrowed: how many words it takes, or a negative code. */
static int parse_operation(struct call *call, size_t at, struct txn_op *op)
{
    size_t kinds = sizeof operations / sizeof operations[0];
    size_t kind = 0;
    while (kind < kinds && !arg_is(call->argv[at], operations[kind].word)) {
        kind++;
    }
    if (kind == kinds) {
        return arg_refuse(call->error, call->argv[at],
                          "GET key, PUT key value, DEL key, INCRBY key i or CHECK key value");
    }
    if (call->argc - at < operations[kind].words) {
        return error_set(call->error, LS_EINVAL, 0, "%s needs %s", operations[kind].word,
                         operations[kind].words == 2 ? "a key" : "a key and a value");
    }
    *op = (struct txn_op){.kind = operations[kind].kind, .key = call->argv[at + 1]};
    int rc = 0;
    if (op->kind == TXN_OP_INCR) {
        rc = parse_amount(call, call->argv[at + 2], &op->amount);
    } else if (operations[kind].words == 3) {
        op->value = call->argv[at + 2];
        rc = check_value(call, op->value);
    }
    return rc != 0 ? rc : (int)operations[kind].words;
}

int command_txn_run(struct call *call)
{
    uint64_t count;
    struct txn_call *txn;
    int rc = arg_number(call->argv[1], "the number of operations", &count, call->error);
    if (rc == 0 && (count == 0 || count > (call->argc - 2) / 2)) {
        rc = error_set(call->error, LS_EINVAL, 0, "expected n, from 1 on, and n operations");
    }
    rc = rc != 0 ? rc : check_count(call, (size_t)count);
    if (rc != 0) {
        return rc;
    }
    size_t bytes = (size_t)count * sizeof(struct txn_op);
    for (size_t i = 2; i < call->argc; i++) {
        bytes += call->argv[i].size;
    }
    struct pending *pending = new_call(call, TXN_RUN, bytes, answer_run, &txn);
    if (pending == NULL) {
        return call->error->code;
    }
    struct txn_op *ops = queue_room(pending, (size_t)count * sizeof *ops);
    size_t at = 2;
    for (size_t i = 0; rc >= 0 && i < count; i++) {
        rc = at < call->argc ? parse_operation(call, at, &ops[i])
                             : error_set(call->error, LS_EINVAL, 0,
                                         "expected %llu operations, and %zu are there",
                                         (unsigned long long)count, i);
        at += rc > 0 ? (size_t)rc : 0;
        if (rc > 0) {
            ops[i].key = queue_copy(pending, ops[i].key);
            ops[i].value = queue_copy(pending, ops[i].value);
        }
    }
    if (rc > 0 && at != call->argc) {
        rc = arg_refuse(call->error, call->argv[at], "no more operations than n");
    }
    if (rc < 0) {
        txns_cancel(pending);
        return rc;
    }
    txn->ops = ops;
    txn->op_count = (size_t)count;
    return add(call, pending, txn);
}

/* ---- TXN.EXPLAIN ---- */

static void answer_mark(struct conn *conn, const struct txn_mark *mark)
{
    static const struct {
        unsigned kind;
        const char *word;
    } words[] = {{TXN_EAGER, "eager"}, {TXN_LAZY, "lazy"}, {TXN_WILL, "will"}, {TXN_MAY, "may"}};
    char kinds[32] = "";
    size_t size = 0;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if ((mark->kinds & words[i].kind) != 0) {
            size += (size_t)snprintf(kinds + size, sizeof kinds - size, "%s%s", size > 0 ? " " : "",
                                     words[i].word);
        }
    }
    answer_array(conn, 5);
    answer_bulk(conn, mark->key);
    answer_text(conn, kinds);
    if (mark->waits) {
        answer_clock(conn, mark->waits_for);
        answer_text(conn, mark->waits_kind == TXN_WILL ? "will" : "may");
        answer_clock(conn, mark->waits_since);
    } else {
        answer_null(conn);
        answer_null(conn);
        answer_null(conn);
    }
}

static void answer_explain(struct pending *pending)
{
    struct conn *conn = pending->conn;
    const struct txn_call *txn = txns_call(pending);
    if (!write_failed(pending)) {
        answer_map(conn, 5);
        answer_text(conn, "began");
        answer_clock(conn, txn->began_ns);
        answer_text(conn, "age");
        answer_clock(conn, txn->age_ms);
        answer_text(conn, "expires");
        answer_clock(conn, txn->expire_ms);
        answer_text(conn, "waiting");
        answer_integer(conn, (int64_t)txn->calls_waiting);
        answer_text(conn, "keys");
        answer_array(conn, txn->mark_count);
        for (size_t i = 0; i < txn->mark_count; i++) {
            answer_mark(conn, &txn->marks[i]);
        }
    }
    txns_done(pending);
}

int command_txn_explain(struct call *call)
{
    uint64_t timestamp;
    struct txn_call *txn;
    int rc = arg_number(call->argv[1], "the timestamp", &timestamp, call->error);
    if (rc != 0) {
        return rc;
    }
    struct pending *pending = new_call(call, TXN_EXPLAIN, 0, answer_explain, &txn);
    if (pending == NULL) {
        return call->error->code;
    }
    txn->timestamp = timestamp;
    return add(call, pending, txn);
}
