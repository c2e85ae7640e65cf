/* SPDX-License-Identifier: Apache-2.0 */
/* The engine of shards on its own: each message of lockstep_shard.h as a command. */
#include <stdlib.h>

#include "server/declared.h"
#include "server/handlers.h"

#define NAME_MAX_ 255

static int check_name(struct call *call, ls_bytes name, const char *what)
{
    if (name.size == 0 || name.size > NAME_MAX_) {
        return error_set(call->error, LS_EINVAL, 0, "%s has from 1 to %d bytes", what, NAME_MAX_);
    }
    return 0;
}

/* argv[1] names the shard. NULL with the error. */
static struct served_shard *find(struct call *call)
{
    return shards_find(&call->server->shards, call->argv[1], call->error);
}

/* The shard of argv[1] and the timestamp at argv[2], which most of these begin with. */
static int parse_place(struct call *call, struct served_shard **shard, uint64_t *timestamp)
{
    *shard = find(call);
    return *shard == NULL ? call->error->code
                          : arg_number(call->argv[2], "the timestamp", timestamp, call->error);
}

static int answer_done(struct call *call, int rc)
{
    if (rc == 0) {
        answer_ok(call->conn);
    }
    return rc;
}

int command_shard_create(struct call *call)
{
    uint64_t count;
    if (!arg_is(call->argv[2], "LEARNER") || !arg_is(call->argv[4], "WORKERS")) {
        return error_set(call->error, LS_EINVAL, 0, "expected LEARNER name WORKERS n name..");
    }
    int rc = check_name(call, call->argv[1], "the name of a shard");
    rc = rc != 0 ? rc : check_name(call, call->argv[3], "the name of a learner");
    rc = rc != 0 ? rc : arg_number(call->argv[5], "the number of workers", &count, call->error);
    if (rc != 0) {
        return rc;
    }
    size_t given = call->argc - 6;
    if (count != given) {
        return error_set(call->error, LS_EINVAL, 0, "WORKERS counts %llu names, and %zu follow",
                         (unsigned long long)count, given);
    }
    rc = arg_count(given, LS_SHARD_WORKERS_MAX, "a shard", "workers", call->error);
    for (size_t i = 0; rc == 0 && i < given; i++) {
        rc = check_name(call, call->argv[6 + i], "the name of a worker");
    }
    const struct shard_parties parties = {call->argv[3], call->argv + 6, given};
    rc = rc != 0 ? rc : shards_create(call->server, call->argv[1], &parties, call->error);
    return answer_done(call, rc);
}

int command_shard_drop(struct call *call)
{
    struct served_shard *shard = find(call);
    if (shard == NULL) {
        return call->error->code;
    }
    shards_drop(shard);
    answer_ok(call->conn);
    return 0;
}

/* ---- SHARD.ACQUIRE ---- */

static void add_locks(ls_shard_lock *locks, size_t *count, const struct declared_keys *keys,
                      unsigned kinds)
{
    for (size_t i = 0; i < keys->count; i++) {
        locks[(*count)++] = (ls_shard_lock){keys->keys[i], kinds};
    }
}

int command_shard_acquire(struct call *call)
{
    struct served_shard *shard;
    uint64_t timestamp;
    struct declared declared = {0};
    int rc = parse_place(call, &shard, &timestamp);
    if (rc == 0 && (!arg_is(call->argv[3], "WORKER") || !arg_is(call->argv[5], "EXECUTOR"))) {
        rc = error_set(call->error, LS_EINVAL, 0,
                       "expected WORKER name EXECUTOR name behind the timestamp");
    }
    rc = rc != 0 ? rc : check_name(call, call->argv[6], "the name of an executor");
    for (size_t at = 7; rc == 0 && at < call->argc;) {
        int taken = declared_take(call, &at, &declared);
        rc = taken == 0  ? arg_refuse(call->error, call->argv[at], "EAGER, LAZY, WILL or MAY")
             : taken < 0 ? taken
                         : 0;
    }
    if (rc != 0) {
        return rc;
    }
    size_t count = 0;
    ls_shard_lock *locks = malloc((declared.count + 1) * sizeof *locks);
    if (locks == NULL) {
        return error_code(call->error, LS_ENOMEM);
    }
    add_locks(locks, &count, &declared.eager, LS_SHARD_EAGER);
    add_locks(locks, &count, &declared.lazy, LS_SHARD_LAZY);
    add_locks(locks, &count, &declared.will, LS_SHARD_WILL);
    add_locks(locks, &count, &declared.may, LS_SHARD_MAY);
    rc = shards_acquire(shard, timestamp, call->argv[4], call->argv[6], locks, count, call->error);
    free(locks);
    if (rc == 0) {
        answer_simple(call->conn, "LOCKED");
    }
    return rc;
}

/* ---- the other messages ---- */

int command_shard_read(struct call *call)
{
    struct served_shard *shard;
    uint64_t timestamp;
    uint64_t actual = 1;
    int rc = parse_place(call, &shard, &timestamp);
    if (rc == 0 && call->argc > 4) {
        rc = call->argc == 6 && arg_is(call->argv[4], "ACTUAL")
                 ? arg_number(call->argv[5], "ACTUAL", &actual, call->error)
                 : arg_refuse(call->error, call->argv[4], "ACTUAL 0 or 1");
    }
    if (rc == 0 && actual > 1) {
        rc = error_set(call->error, LS_EINVAL, 0, "ACTUAL is 0 or 1");
    }
    rc = rc != 0 ? rc : shards_read(shard, timestamp, call->argv[3], actual == 1, call->error);
    return answer_done(call, rc);
}

int command_shard_write(struct call *call)
{
    struct served_shard *shard;
    uint64_t timestamp;
    enum ls_shard_content content = LS_SHARD_NONE;
    ls_bytes value = {0};
    int rc = parse_place(call, &shard, &timestamp);
    if (rc == 0 && call->argc == 6 && arg_is(call->argv[4], "VALUE")) {
        content = LS_SHARD_VALUE;
        value = call->argv[5];
        rc = check_value(call, value);
    } else if (rc == 0 && (call->argc != 5 || !arg_is(call->argv[4], "NONE"))) {
        rc = arg_refuse(call->error, call->argv[4], "VALUE value or NONE");
    }
    rc = rc != 0 ? rc : shards_write(shard, timestamp, call->argv[3], content, value, call->error);
    return answer_done(call, rc);
}

int command_shard_seen(struct call *call)
{
    uint64_t timestamp;
    struct served_shard *shard = find(call);
    if (shard == NULL) {
        return call->error->code;
    }
    if (!arg_is(call->argv[2], "WORKER")) {
        return arg_refuse(call->error, call->argv[2], "WORKER name timestamp READS or WRITES");
    }
    bool writes = arg_is(call->argv[5], "WRITES");
    if (!writes && !arg_is(call->argv[5], "READS")) {
        return arg_refuse(call->error, call->argv[5], "READS or WRITES");
    }
    int rc = arg_number(call->argv[4], "the timestamp", &timestamp, call->error);
    rc = rc != 0 ? rc : shards_seen(shard, call->argv[3], timestamp, writes, call->error);
    return answer_done(call, rc);
}

int command_shard_anchor(struct call *call)
{
    struct shard_anchor anchor = {
        .chain = call->argv[2], .learner = call->argv[3], .anchor = call->argv[5]};
    struct served_shard *shard = find(call);
    if (shard == NULL) {
        return call->error->code;
    }
    int rc = arg_number(call->argv[4], "the height", &anchor.height, call->error);
    rc = rc != 0 ? rc : arg_number(call->argv[6], "the timestamp", &anchor.timestamp, call->error);
    rc = rc != 0 ? rc : check_value(call, anchor.anchor);
    rc = rc != 0 ? rc : shards_anchor(shard, &anchor, call->error);
    return answer_done(call, rc);
}

int command_shard_release(struct call *call)
{
    struct served_shard *shard;
    uint64_t timestamp;
    int rc = parse_place(call, &shard, &timestamp);
    rc = rc != 0 ? rc : shards_release(shard, timestamp, call->error);
    return answer_done(call, rc);
}

int command_shard_listen(struct call *call)
{
    struct served_shard *shard = find(call);
    if (shard == NULL) {
        return call->error->code;
    }
    int rc = check_name(call, call->argv[2], "the name of an executor");
    return rc != 0 ? rc : shards_listen(shard, call->conn, call->argv[2], call->error);
}

int command_shard_info(struct call *call)
{
    ls_shard_info info = LS_SHARD_INFO_INIT;
    struct conn *conn = call->conn;
    struct served_shard *shard = find(call);
    if (shard == NULL) {
        return call->error->code;
    }
    ls_shard_info_get(shards_engine(shard), &info);
    const struct {
        const char *name;
        uint64_t value;
    } fields[] = {
        {"heard-all-writes", info.heard_all_writes},
        {"heard-all-reads", info.heard_all_reads},
        {"keys", info.keys},
        {"open", info.open},
        {"versions", info.versions},
        {"anchors", info.anchors},
        {"waiting", info.waiting},
        {"remembered", info.remembered},
        {"memory", info.memory},
        {"kept", shards_kept(shard)},
    };
    size_t count = sizeof fields / sizeof fields[0];
    answer_map(conn, count);
    for (size_t i = 0; i < count; i++) {
        answer_text(conn, fields[i].name);
        answer_clock(conn, fields[i].value);
    }
    return 0;
}
