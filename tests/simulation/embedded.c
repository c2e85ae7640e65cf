/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that has the library in it: a handle of the public interface, opened on the simulated
 * disk, and a program that does one thing after the other with it. The clocks that the library
 * reads and the store that it opens are the simulation's, by wrapped functions; all else is real.
 */
#include <assert.h>
#include <stdlib.h>
#include <time.h>

#include "base/error.h"
#include "sim.h"

#define URL "simulated:"

/* ---- what the library stands on ---- */

int __wrap_store_open(struct store **out, const char *url, const struct store_options *options,
                      struct ls_error *error);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out);
int __real_clock_gettime(clockid_t clock, struct timespec *out);

int __wrap_store_open(struct store **out, const char *url, const struct store_options *options,
                      struct ls_error *error)
{
    (void)url;
    (void)error;
    struct process *process = &sim_now->processes[sim_now->inside];
    process->store = *out = disk_open(sim_now->disk, process->index, options->read_only);
    return 0;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
    if (sim_now == NULL) {
        return __real_clock_gettime(clock, out);
    }
    const struct process *process = &sim_now->processes[sim_now->inside];
    uint64_t ns =
        clock == CLOCK_MONOTONIC ? process_monotonic_ns(process) : process_wall_ns(process);
    *out =
        (struct timespec){.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
    return 0;
}

/* ---- life ---- */

void embedded_start(struct sim *sim, struct process *process)
{
    ls_options options = LS_OPTIONS_INIT;
    options.retention_age_ms = process->keep.age_ms;
    options.retention_count = process->keep.count;
    options.retention_bytes = process->keep.bytes;
    options.retention_hold = process->keep.hold;
    process->store = NULL;
    int rc = ls_open(&process->handle, URL, &options);
    if (rc < 0) {
        sim_trace(sim, "p%u cannot start: %s", process->index, ls_errname(rc));
        process->handle = NULL;
        process->store = NULL; /* the library closed it */
        sim_process_gone(sim, process);
        return;
    }
    rc = kernel_timer(&sim->kernel, sim->kernel.now_ns + 1, process->index, EVENT_CALL, 0);
    assert(rc == 0);
}

void embedded_end(struct process *process)
{
    if (process->watch != NULL) {
        ls_watch_close(process->watch);
        process->watch = NULL;
    }
    if (process->objects != NULL) {
        ls_object_watch_close(process->objects);
        process->objects = NULL;
    }
    ls_close(process->handle);
    process->handle = NULL;
    process->store = NULL;
    process->joined = false;
    memset(process->seen, 0, sizeof process->seen);
}

void embedded_crash(struct sim *sim, struct process *process)
{
    disk_kill(process->store);
    embedded_end(process);
    sim_process_gone(sim, process);
}

/* ---- calls that are changes ---- */

static int call_txn(struct process *process, const struct op *op, struct answer *answer)
{
    ls_batch *batch;
    uint8_t mark[MARK_SIZE];
    int rc = ls_batch_new(process->handle, &batch);
    if (rc < 0) {
        return rc;
    }
    if (op->has_if) {
        rc = ls_batch_if(batch, bytes_of_text(sim_key(op->if_key)), op->if_modified);
    }
    for (unsigned i = 0; rc == 0 && i < op->write_count; i++) {
        ls_bytes key = bytes_of_text(sim_key(op->writes[i].key));
        mark_make(mark, op, i);
        rc = op->writes[i].del ? ls_batch_del(batch, key)
                               : ls_batch_put(batch, key, bytes_of(mark, sizeof mark));
    }
    assert(rc == 0);
    rc = ls_batch_commit(batch, answer->clocks);
    ls_batch_free(batch);
    return rc;
}

static int call_post(struct process *process, const struct op *op, struct answer *answer)
{
    uint8_t item[ITEM_SIZE];
    ls_post_options options = LS_POST_OPTIONS_INIT;
    item_make(item, op);
    options.once = op->seq != 0;
    options.clock = op->has_carried ? op->carried : 0;
    options.to = op->to == NOBODY ? NULL : sim_host(op->to);
    int rc = ls_post(process->handle, op->type, op->type == LS_USER ? LS_NO_EVENT : LS_CREATED,
                     ls_cbor(item, sizeof item), &options, &answer->clock);
    if (rc == 0 && op->seq != 0) {
        process->seq++;
    }
    return rc;
}

static int call_put(struct process *process, const struct op *op, struct answer *answer)
{
    uint8_t mark[MARK_SIZE];
    ls_put_options options = LS_PUT_OPTIONS_INIT;
    mark_make(mark, op, 0);
    options.only_if = op->has_if;
    options.if_modified = op->if_modified;
    options.only_if_absent = op->nx;
    options.only_if_present = op->xx;
    options.owned = op->owned;
    return ls_put(process->handle, bytes_of_text(sim_key(op->writes[0].key)),
                  bytes_of(mark, sizeof mark), &options, &answer->clock);
}

static int call_join(struct process *process, const struct op *op, struct answer *answer)
{
    uint8_t id[16];
    ls_joined joined;
    ls_join_options options = LS_JOIN_OPTIONS_INIT;
    identity_make(id, op->actor, op->to);
    options.id = id;
    options.ttl_ms = op->count;
    int rc = ls_node_join(process->handle, sim_host(op->to), &options, &joined);
    if (rc == 0) {
        process->joined = true;
        process->joined_clock = answer->clock = joined.clock;
        process->seq = answer->number = joined.seq;
        process->host = op->to;
    }
    return rc;
}

static int call_trim(struct process *process, const struct op *op, struct answer *answer)
{
    return op->from != 0
               ? ls_trim_before(process->handle, op->from, &answer->number)
               : ls_trim_older(process->handle, (process_wall_ns(process) - op->older_ns) / MS,
                               &answer->number);
}

static int call_change(struct process *process, const struct op *op, struct answer *answer)
{
    struct ls *handle = process->handle;
    ls_bytes key = bytes_of_text(sim_key(op->writes[0].key));
    switch (op->ask) {
    case ASK_JOIN:
        return call_join(process, op, answer);
    case ASK_POST:
        return call_post(process, op, answer);
    case ASK_NEXT:
        return ls_clock_next(handle, op->count, &answer->clock);
    case ASK_WITNESS:
        return ls_clock_witness(handle, op->carried, &answer->clock);
    case ASK_TRIM:
        return call_trim(process, op, answer);
    case ASK_STATE:
        return ls_node_set_state(handle, op->leaving ? LS_NODE_LEAVING : LS_NODE_UP,
                                 &answer->clock);
    case ASK_LEAVE:
        return ls_node_leave(handle, &answer->clock);
    case ASK_ACK:
        return ls_node_ack(handle, op->carried, NULL);
    case ASK_BEAT:
        return ls_node_beat(handle, NULL);
    case ASK_PUT:
        return call_put(process, op, answer);
    case ASK_DEL:
        return op->has_if ? ls_del_if(handle, key, op->if_modified, &answer->clock)
                          : ls_del(handle, key, &answer->clock);
    default:
        assert(op->ask == ASK_TXN);
        return call_txn(process, op, answer);
    }
}

/* ---- calls that are reads ---- */

static int call_read(struct sim *sim, struct process *process, const struct op *op)
{
    ls_messages *messages;
    uint64_t clocks[PAGE];
    size_t count = 0;
    int rc = ls_read(process->handle, op->from, NULL, PAGE, 0, &messages);
    if (rc == 0) {
        for (; count < ls_messages_count(messages); count++) {
            clocks[count] = ls_messages_get(messages, count)->clock;
        }
        ls_messages_free(messages);
    }
    if ((rc == 0 || rc == LS_ECOMPACTED) && op->from != LS_OLDEST) {
        oracle_read(sim, op->from, PAGE, rc, rc == 0 ? 0 : ls_last_error()->number, clocks, NULL,
                    count);
    }
    return rc;
}

static int call_get(struct sim *sim, struct process *process, const struct op *op)
{
    ls_objects *objects;
    int key = op->writes[0].key;
    int rc = ls_get(process->handle, bytes_of_text(sim_key(key)), &objects);
    if (rc == 0) {
        const ls_object *object = ls_objects_get(objects, 0);
        oracle_object(sim, key, 0, object->created, object->modified);
        ls_objects_free(objects);
    } else if (rc == LS_ENOTFOUND) {
        oracle_object(sim, key, rc, 0, 0);
    }
    return rc;
}

static int call_scan(struct sim *sim, struct process *process)
{
    ls_objects *objects;
    bool seen[KEYS] = {false};
    ls_bytes none = {NULL, 0};
    int rc = ls_scan(process->handle, none, none, KEYS, &objects);
    if (rc < 0) {
        return rc;
    }
    for (size_t i = 0; i < ls_objects_count(objects); i++) {
        const ls_object *object = ls_objects_get(objects, i);
        seen[sim_key_index(object->key)] = true;
        oracle_object(sim, sim_key_index(object->key), 0, object->created, object->modified);
    }
    ls_objects_free(objects);
    for (int i = 0; i < KEYS; i++) {
        if (!seen[i]) {
            oracle_object(sim, i, LS_ENOTFOUND, 0, 0);
        }
    }
    return 0;
}

/* ---- watches ---- */

static void open_watch(struct sim *sim, struct process *process)
{
    uint64_t start;
    int rc = ls_watch_open(process->handle, one_in(sim, 2) ? LS_OLDEST : LS_AFTER_NEWEST, NULL,
                           &process->watch, &start);
    if (rc < 0) {
        process->watch = NULL;
        return;
    }
    process->watch_index = oracle_find(&sim->oracle, start);
}

static void watch_lost(struct sim *sim, struct process *process)
{
    const struct oracle *o = &sim->oracle;
    cover(COVER_WATCH_LOST);
    if (process->watch_index >= o->log_count || o->log[process->watch_index].clock > o->discarded) {
        sim_fail(sim, "p%u is told that its watch fell behind, and it did not", process->index);
    }
    ls_watch_close(process->watch);
    process->watch = NULL;
}

static void watch_on(struct sim *sim, struct process *process)
{
    const struct oracle *o = &sim->oracle;
    uint64_t most = 1 + draw(sim, 60);
    for (uint64_t i = 0; process->watch != NULL && i < most; i++) {
        ls_message message;
        int rc = ls_watch_next(process->watch, 0, &message);
        if (rc == LS_ECOMPACTED) {
            watch_lost(sim, process);
        } else if (rc == LS_ETIMEOUT && process->watch_index != o->log_count) {
            sim_fail(sim, "p%u watches, and is not given message %llu", process->index,
                     (unsigned long long)o->log[process->watch_index].clock);
        } else if (rc == 0 && (process->watch_index == o->log_count ||
                               o->log[process->watch_index].clock != message.clock ||
                               o->log[process->watch_index].type != message.type)) {
            sim_fail(sim, "p%u watches, and is given message %llu", process->index,
                     (unsigned long long)message.clock);
        }
        if (rc < 0) {
            return;
        }
        cover(COVER_WATCH_READS_ON);
        process->watch_index++;
    }
}

static void compare_objects(struct sim *sim, struct process *process)
{
    cover(COVER_OBJECTS_SAME);
    for (int i = 0; i < KEYS; i++) {
        if (process->seen[i] != sim->oracle.objects[i].modified) {
            sim_fail(sim, "p%u follows the objects, and has %s as of %llu, not %llu",
                     process->index, sim_key(i), (unsigned long long)process->seen[i],
                     (unsigned long long)sim->oracle.objects[i].modified);
        }
    }
}

static void watch_objects(struct sim *sim, struct process *process)
{
    ls_bytes all = {NULL, 0};
    if (process->objects == NULL) {
        memset(process->seen, 0, sizeof process->seen);
        if (ls_object_watch_open(process->handle, all, &process->objects) < 0) {
            process->objects = NULL;
            return;
        }
    }
    for (uint64_t i = 0, most = 1 + draw(sim, 40); i < most; i++) {
        enum ls_object_event event;
        ls_object object;
        int rc = ls_object_watch_next(process->objects, 0, &event, &object);
        if (rc == LS_ETIMEOUT) {
            compare_objects(sim, process);
        }
        if (rc < 0) {
            return;
        }
        switch (event) {
        case LS_OBJECT_PUT:
            process->seen[sim_key_index(object.key)] = object.modified;
            break;
        case LS_OBJECT_DELETED:
            process->seen[sim_key_index(object.key)] = 0;
            break;
        case LS_OBJECT_SYNCED:
            cover(COVER_OBJECTS_SYNCED);
            break;
        case LS_OBJECT_RESYNC:
            cover(COVER_OBJECTS_RESYNC);
            memset(process->seen, 0, sizeof process->seen);
        }
    }
}

/* ---- the program ---- */

static struct op *next_op(struct sim *sim, struct process *process)
{
    int actor = CLIENTS + (int)process->index;
    if (!process->joined && !one_in(sim, 6)) {
        struct op *op = oracle_new_op(sim, ASK_JOIN, actor);
        op->to = one_in(sim, 3) ? (int)draw(sim, HOSTS) : actor % HOSTS;
        op->count = sim->weather.ttl_ms;
        return op;
    }
    struct op *op = ask_anything(sim, actor, process->joined, sim->oracle.clock);
    if (op->ask == ASK_POST && process->joined && one_in(sim, 2)) {
        op->seq = process->seq + 1;
        op->host = process->host;
    }
    return op;
}

static int carry_out(struct sim *sim, struct process *process, struct op *op, struct answer *answer)
{
    switch (op->ask) {
    case ASK_READ:
        return call_read(sim, process, op);
    case ASK_GET:
        return call_get(sim, process, op);
    case ASK_SCAN:
        return call_scan(sim, process);
    default:
        oracle_submitted(sim, op);
        return call_change(process, op, answer);
    }
}

static void call(struct sim *sim, struct process *process)
{
    struct op *op = next_op(sim, process);
    struct answer answer = {.life = process->joined ? process->joined_clock : 0};
    sim_trace(sim, "p%u calls: op %llu (%s)", process->index, (unsigned long long)op->number,
              ask_names[op->ask]);
    process->trimming = op->ask == ASK_TRIM ? op : NULL;
    answer.status = carry_out(sim, process, op, &answer);
    process->trimming = NULL;
    if (disk_killed(process->store)) {
        return; /* nobody hears what the dead answer */
    }
    if (answer.status < 0) {
        answer.number = ls_last_error()->number;
    }
    if (answer.status == LS_ENOTJOINED || (op->ask == ASK_LEAVE && answer.status == 0)) {
        process->joined = false;
    }
    oracle_answered(sim, op, &answer);
    if (op->calm) {
        sim->calm_answers[op->actor]++;
    }
}

void embedded_call(struct sim *sim, struct process *process)
{
    process->used_ns = sim->kernel.now_ns;
    if (one_in(sim, 5)) {
        if (process->watch == NULL) {
            open_watch(sim, process);
        } else {
            watch_on(sim, process);
        }
    } else if (one_in(sim, 5)) {
        watch_objects(sim, process);
    } else {
        call(sim, process);
    }
    if (disk_killed(process->store)) {
        process_crash(sim, process);
        return;
    }
    int rc =
        kernel_timer(&sim->kernel, sim->kernel.now_ns + 1 + draw(sim, 2 * sim->weather.think_ns),
                     process->index, EVENT_CALL, 0);
    assert(rc == 0);
}
