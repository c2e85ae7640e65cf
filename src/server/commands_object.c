/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of objects. */
#include "codec/key.h"
#include "server/handlers.h"
#include "server/listing.h"
#include "server/watch.h"

#define COUNT_STANDARD 100
#define SCAN_SIZE_MAX  ((size_t)16 * 1024 * 1024)
#define OPERATIONS_MAX 100000
#define EXISTS_MAX     10000 /* looked up in the loop, while nobody else is served */

/* ---- writing one ---- */

struct put {
    bool has_if;
    bool nx;
    bool xx;
    bool owned;
    uint64_t modified;
};

static int parse_put(struct call *call, struct put *put)
{
    int rc = check_value(call, call->argv[2]);
    for (size_t at = 3; rc == 0 && at < call->argc; at++) {
        ls_bytes word = call->argv[at];
        if (arg_is(word, "NX")) {
            put->nx = true;
        } else if (arg_is(word, "XX")) {
            put->xx = true;
        } else if (arg_is(word, "OWNED")) {
            put->owned = true;
        } else if (arg_is(word, "IF") && at + 1 < call->argc) {
            put->has_if = true;
            rc = arg_number(call->argv[++at], "IF", &put->modified, call->error);
        } else {
            rc = arg_refuse(call->error, word, "IF clock, NX, XX or OWNED");
        }
    }
    if (rc == 0 && put->nx && put->xx) {
        rc = error_set(call->error, LS_EINVAL, 0, "NX and XX exclude each other");
    }
    if (rc == 0 && put->owned && call->conn->binding == NULL) {
        rc = error_set(call->error, LS_ENOTJOINED, 0, "OWNED needs a joined node: join first");
    }
    return rc;
}

static int queue_put(struct call *call, const struct put *put,
                     void (*answer)(struct pending *pending))
{
    ls_bytes key = call->argv[1];
    ls_bytes value = call->argv[2];
    struct pending *pending = write_new(call, REQUEST_OBJECT_PUT, key.size + value.size, answer);
    if (pending == NULL) {
        return call->error->code;
    }
    struct request *request = &pending->request;
    request->in.put.key = queue_copy(pending, key);
    request->in.put.value = queue_copy(pending, value);
    request->in.put.has_if = put->has_if;
    request->in.put.modified = put->modified;
    request->in.put.nx = put->nx;
    request->in.put.xx = put->xx;
    request->in.put.owned = put->owned;
    return write_add(call, pending);
}

int command_obj_put(struct call *call)
{
    struct put put = {0};
    int rc = parse_put(call, &put);
    return rc != 0 ? rc : queue_put(call, &put, answer_change);
}

int command_obj_del(struct call *call)
{
    ls_bytes key = call->argv[1];
    uint64_t modified = 0;
    bool has_if = call->argc > 2;
    if (has_if) {
        if (call->argc != 4 || !arg_is(call->argv[2], "IF")) {
            return arg_refuse(call->error, call->argv[2], "IF clock");
        }
        int rc = arg_number(call->argv[3], "IF", &modified, call->error);
        if (rc != 0) {
            return rc;
        }
    }
    struct pending *pending = write_new(call, REQUEST_OBJECT_DEL, key.size, answer_change);
    if (pending == NULL) {
        return call->error->code;
    }
    pending->request.in.del.key = queue_copy(pending, key);
    pending->request.in.del.has_if = has_if;
    pending->request.in.del.modified = modified;
    return write_add(call, pending);
}

/* ---- OBJ.TXN ---- */

/* The counted lists of a transaction; the first pass only counts and measures. */
struct object_txn {
    size_t condition_count;
    size_t conditions_at;
    size_t operation_count;
    size_t operations_at;
    size_t bytes; /* of keys and values */
};

static int parse_count(struct call *call, size_t at, const char *word, size_t *count)
{
    uint64_t value;
    if (at + 1 >= call->argc || !arg_is(call->argv[at], word)) {
        return error_set(call->error, LS_EINVAL, 0,
                         "expected IF n (key clock).. THEN n (PUT key "
                         "value or DEL key)..");
    }
    int rc = arg_number(call->argv[at + 1], word, &value, call->error);
    if (rc == 0) {
        rc = arg_count(value, OPERATIONS_MAX, word, "objects", call->error);
    }
    *count = (size_t)value;
    return rc;
}

/* The size of the operation at `at` in arguments; 0 with the error set where it is none. */
static size_t measure_operation(struct call *call, size_t at, size_t *bytes)
{
    size_t left = call->argc - at;
    if (left >= 2 && arg_is(call->argv[at], "DEL")) {
        *bytes += call->argv[at + 1].size;
        return 2;
    }
    if (left >= 3 && arg_is(call->argv[at], "PUT")) {
        *bytes += call->argv[at + 1].size + call->argv[at + 2].size;
        return check_value(call, call->argv[at + 2]) == 0 ? 3 : 0;
    }
    error_set(call->error, LS_EINVAL, 0, "THEN is followed by n times PUT key value or DEL key");
    return 0;
}

static int measure_txn(struct call *call, struct object_txn *txn)
{
    int rc = parse_count(call, 1, "IF", &txn->condition_count);
    if (rc != 0) {
        return rc;
    }
    txn->conditions_at = 3;
    size_t at = txn->conditions_at;
    if (txn->condition_count > (call->argc - at) / 2) {
        return error_set(call->error, LS_EINVAL, 0, "IF is followed by n times key clock");
    }
    for (size_t i = 0; i < txn->condition_count; i++, at += 2) {
        uint64_t clock;
        rc = arg_number(call->argv[at + 1], "a clock of IF", &clock, call->error);
        if (rc != 0) {
            return rc;
        }
        txn->bytes += call->argv[at].size;
    }
    rc = parse_count(call, at, "THEN", &txn->operation_count);
    at += 2;
    txn->operations_at = at;
    for (size_t i = 0; rc == 0 && i < txn->operation_count; i++) {
        size_t size = measure_operation(call, at, &txn->bytes);
        rc = size == 0 ? call->error->code : 0;
        at += size;
    }
    if (rc == 0 && at != call->argc) {
        rc = arg_refuse(call->error, call->argv[at], "nothing more than THEN counts");
    }
    return rc;
}

static void answer_txn(struct pending *pending)
{
    if (!write_failed(pending)) {
        const struct request *request = &pending->request;
        answer_array(pending->conn, request->in.txn.operation_count);
        for (size_t i = 0; i < request->in.txn.operation_count; i++) {
            answer_clock(pending->conn, request->in.txn.operations[i].clock);
        }
    }
}

int command_obj_txn(struct call *call)
{
    struct object_txn txn = {0};
    int rc = measure_txn(call, &txn);
    if (rc != 0) {
        return rc;
    }
    size_t conditions_size = txn.condition_count * sizeof(struct object_condition);
    size_t operations_size = txn.operation_count * sizeof(struct object_operation);
    struct pending *pending = write_new(call, REQUEST_OBJECT_TXN,
                                        conditions_size + operations_size + txn.bytes, answer_txn);
    if (pending == NULL) {
        return call->error->code;
    }
    struct object_condition *conditions = queue_room(pending, conditions_size);
    struct object_operation *operations = queue_room(pending, operations_size);
    const ls_bytes *argv = call->argv + txn.conditions_at;
    for (size_t i = 0; i < txn.condition_count; i++, argv += 2) {
        conditions[i].key = queue_copy(pending, argv[0]);
        arg_number(argv[1], "a clock of IF", &conditions[i].modified, call->error);
    }
    argv = call->argv + txn.operations_at;
    for (size_t i = 0; i < txn.operation_count; i++) {
        bool del = arg_is(argv[0], "DEL");
        operations[i] = (struct object_operation){.del = del};
        operations[i].key = queue_copy(pending, argv[1]);
        if (!del) {
            operations[i].value = queue_copy(pending, argv[2]);
        }
        argv += del ? 2 : 3;
    }
    pending->request.in.txn.conditions = conditions;
    pending->request.in.txn.condition_count = txn.condition_count;
    pending->request.in.txn.operations = operations;
    pending->request.in.txn.operation_count = txn.operation_count;
    return write_add(call, pending);
}

/* ---- reading ---- */

int command_obj_get(struct call *call)
{
    struct reading *reading = reads_get(&call->server->reads, call->error);
    struct object object;
    if (reading == NULL) {
        return call->error->code;
    }
    int rc = object_read(reading, call->argv[1], &object, call->error);
    if (rc == 0) {
        answer_array(call->conn, 3);
        answer_bulk(call->conn, object.value);
        answer_clock(call->conn, object.created);
        answer_clock(call->conn, object.modified);
    } else if (rc == LS_ENOTFOUND) {
        answer_null(call->conn);
        rc = 0;
    }
    return rc;
}

int command_obj_scan(struct call *call)
{
    struct listing_order order = {.objects = true,
                                  .prefix = call->argv[1],
                                  .count_max = COUNT_STANDARD,
                                  .size_max = SCAN_SIZE_MAX};
    int rc = 0;
    for (size_t at = 2; rc == 0 && at < call->argc; at += 2) {
        if (at + 1 < call->argc && arg_is(call->argv[at], "AFTER")) {
            order.after = call->argv[at + 1];
        } else if (at + 1 < call->argc && arg_is(call->argv[at], "COUNT")) {
            rc = arg_number(call->argv[at + 1], "COUNT", &order.count_max, call->error);
        } else {
            rc = arg_refuse(call->error, call->argv[at], "AFTER key or COUNT n");
        }
    }
    return rc != 0 ? rc : listing_begin(call->conn, &order, call->error);
}

int command_obj_watch(struct call *call)
{
    if (call->conn->object_watch != NULL) {
        return error_set(call->error, LS_EINVAL, 0,
                         "this connection watches objects already: OBJ.UNWATCH first");
    }
    return object_watch_begin(call->conn, call->argv[1], call->error);
}

int command_obj_unwatch(struct call *call)
{
    object_watch_end(call->conn);
    answer_ok(call->conn);
    return 0;
}

/* ---- the words of Redis ---- */

int command_get(struct call *call)
{
    struct reading *reading = reads_get(&call->server->reads, call->error);
    struct object object;
    if (reading == NULL) {
        return call->error->code;
    }
    int rc = object_read(reading, call->argv[1], &object, call->error);
    if (rc == 0) {
        answer_bulk(call->conn, object.value);
    } else if (rc == LS_ENOTFOUND) {
        answer_null(call->conn);
        rc = 0;
    }
    return rc;
}

int command_exists(struct call *call)
{
    int64_t found = 0;
    int enough = arg_count(call->argc - 1, EXISTS_MAX, "EXISTS", "keys", call->error);
    if (enough != 0) {
        return enough;
    }
    struct reading *reading = reads_get(&call->server->reads, call->error);
    if (reading == NULL) {
        return call->error->code;
    }
    for (size_t i = 1; i < call->argc; i++) {
        struct object object;
        int rc = object_read(reading, call->argv[i], &object, call->error);
        if (rc != 0 && rc != LS_ENOTFOUND) {
            return rc;
        }
        found += rc == 0;
    }
    answer_integer(call->conn, found);
    return 0;
}

static void answer_del(struct pending *pending)
{
    if (!write_failed(pending)) {
        int64_t deleted = 0;
        for (size_t i = 0; i < pending->request.in.txn.operation_count; i++) {
            deleted += pending->request.in.txn.operations[i].clock != 0;
        }
        answer_integer(pending->conn, deleted);
    }
}

int command_del(struct call *call)
{
    size_t count = call->argc - 1;
    size_t bytes = count * sizeof(struct object_operation);
    int rc = arg_count(count, OPERATIONS_MAX, "DEL", "keys", call->error);
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 1; i < call->argc; i++) {
        bytes += call->argv[i].size;
    }
    struct pending *pending = write_new(call, REQUEST_OBJECT_TXN, bytes, answer_del);
    if (pending == NULL) {
        return call->error->code;
    }
    struct object_operation *operations =
        queue_room(pending, count * sizeof(struct object_operation));
    for (size_t i = 0; i < count; i++) {
        operations[i] = (struct object_operation){.del = true};
        operations[i].key = queue_copy(pending, call->argv[i + 1]);
    }
    pending->request.in.txn.operations = operations;
    pending->request.in.txn.operation_count = count;
    return write_add(call, pending);
}

static void answer_set(struct pending *pending)
{
    const struct request *request = &pending->request;
    bool unmet = request->status == LS_ECONFLICT && (request->in.put.nx || request->in.put.xx);
    if (unmet) {
        answer_null(pending->conn);
    } else if (!write_failed(pending)) {
        answer_ok(pending->conn);
    }
}

/* SET key value GET: the value that was there, and the new one put, as one step. The put has the
 * condition that nobody was in between; where somebody was, all of it is done again. */
static int set_and_get(struct call *call, const struct put *put);

static void answer_set_get(struct pending *pending)
{
    const struct request *request = &pending->request;
    struct conn *conn = pending->conn;
    if (request->status == LS_ECONFLICT) {
        struct ls_error error;
        const ls_bytes argv[] = {bytes_of_text("SET"), request->in.put.key, request->in.put.value};
        struct call again = {pending->server, conn, NULL, 3, argv, &error};
        const struct put put = {.nx = request->in.put.nx, .xx = request->in.put.xx};
        if (set_and_get(&again, &put) != 0) {
            answer_error(conn, &error);
        }
        return;
    }
    if (write_failed(pending)) {
        return;
    }
    const ls_bytes *before = (const ls_bytes *)(uintptr_t)pending->extra;
    if (before == NULL) {
        answer_null(conn);
    } else {
        answer_bulk(conn, *before);
    }
}

static int set_and_get(struct call *call, const struct put *put)
{
    struct reading *reading = reads_get(&call->server->reads, call->error);
    struct object object;
    if (reading == NULL) {
        return call->error->code;
    }
    int rc = object_read(reading, call->argv[1], &object, call->error);
    if (rc != 0 && rc != LS_ENOTFOUND) {
        return rc;
    }
    bool there = rc == 0;
    if (there && put->nx) {
        answer_bulk(call->conn, object.value);
        return 0;
    }
    if (!there && put->xx) {
        answer_null(call->conn);
        return 0;
    }
    ls_bytes key = call->argv[1];
    ls_bytes value = call->argv[2];
    size_t before_size = there ? object.value.size : 0;
    struct pending *pending =
        write_new(call, REQUEST_OBJECT_PUT, sizeof(ls_bytes) + key.size + value.size + before_size,
                  answer_set_get);
    if (pending == NULL) {
        return call->error->code;
    }
    ls_bytes *before = queue_room(pending, sizeof *before);
    struct request *request = &pending->request;
    request->in.put.key = queue_copy(pending, key);
    request->in.put.value = queue_copy(pending, value);
    request->in.put.has_if = true;
    request->in.put.modified = there ? object.modified : 0;
    request->in.put.nx = put->nx;
    request->in.put.xx = put->xx;
    if (there) {
        *before = queue_copy(pending, object.value);
        pending->extra = (uint64_t)(uintptr_t)before;
    }
    call->conn->pause |= PAUSE_ANSWERS;
    return write_add(call, pending);
}

int command_set(struct call *call)
{
    struct put put = {0};
    bool get = false;
    int rc = check_value(call, call->argv[2]);
    for (size_t at = 3; rc == 0 && at < call->argc; at++) {
        if (arg_is(call->argv[at], "NX")) {
            put.nx = true;
        } else if (arg_is(call->argv[at], "XX")) {
            put.xx = true;
        } else if (arg_is(call->argv[at], "GET")) {
            get = true;
        } else {
            rc = arg_refuse(call->error, call->argv[at],
                            "NX, XX or GET: objects do not expire with time");
        }
    }
    if (rc == 0 && put.nx && put.xx) {
        rc = error_set(call->error, LS_EINVAL, 0, "NX and XX exclude each other");
    }
    if (rc != 0) {
        return rc;
    }
    if (!get) {
        return queue_put(call, &put, answer_set);
    }
    return call->conn->unanswered > 0 ? CALL_WAIT : set_and_get(call, &put);
}
