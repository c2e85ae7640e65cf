/* SPDX-License-Identifier: Apache-2.0 */
/* The public functions of nodes, objects and batches: arguments in, the backend's answer out. */
#include <stdlib.h>
#include <sys/random.h>

#include "client/api.h"
#include "codec/key.h"
#include "codec/uuid.h"

#define TTL_DEFAULT_MS 10000
#define TTL_MIN_MS     100
#define TTL_MAX_MS     86400000

/* The end of every call that gives one clock, which the user may not want. */
static int end_with_clock(struct ls *handle, int result, uint64_t clock, uint64_t *out,
                          const struct ls_error *error)
{
    if (result == 0) {
        api_witness(handle, clock);
        if (out != NULL) {
            *out = clock;
        }
    }
    return api_end(result, error);
}

/* ---- nodes ---- */

static int new_id(uint8_t id[16], struct ls_error *error)
{
    uint8_t random[16];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        return error_set(error, LS_EIO, 0, "the system gave no random bytes for a node's id");
    }
    uuid_from_random(id, random);
    return 0;
}

int ls_node_join(ls *handle, const char *host, const ls_join_options *options, ls_joined *out)
{
    struct ls_error error;
    struct join join = {0};
    ls_join_options whole = LS_JOIN_OPTIONS_INIT;
    int result = api_options(&whole, sizeof whole, options, &error);
    if (result != 0 || (result = api_host(&join.host, host, &error)) != 0) {
        return api_end(result, &error);
    }
    join.ttl_ms = whole.ttl_ms != 0 ? whole.ttl_ms : TTL_DEFAULT_MS;
    if (join.ttl_ms < TTL_MIN_MS || join.ttl_ms > TTL_MAX_MS) {
        return api_refuse(LS_EINVAL, "a ttl is from 100 to 86400000 milliseconds");
    }
    if (whole.id != NULL) {
        memcpy(join.id, whole.id, sizeof join.id);
    } else if ((result = new_id(join.id, &error)) != 0) {
        return api_end(result, &error);
    }
    struct api_item meta = {0};
    if (whole.meta.bytes.size != 0) {
        result = api_item_from(&meta, whole.meta, &error);
        if (result != 0) {
            return api_end(result, &error);
        }
        join.meta = meta.bytes;
    }
    ls_joined joined;
    result = handle->backend->node_join(handle, &join, &joined, &error);
    api_item_free(&meta);
    if (result == 0) {
        api_witness(handle, joined.clock);
        if (out != NULL) {
            *out = joined;
        }
    }
    return api_end(result, &error);
}

int ls_node_beat(ls *handle, uint64_t *clock)
{
    struct ls_error error;
    uint64_t now = 0;
    int result = handle->backend->node_beat(handle, &now, &error);
    return end_with_clock(handle, result, now, clock, &error);
}

int ls_node_ack(ls *handle, uint64_t processed, uint64_t *clock)
{
    struct ls_error error;
    uint64_t now = 0;
    int result = handle->backend->node_ack(handle, processed, &now, &error);
    return end_with_clock(handle, result, now, clock, &error);
}

int ls_node_set_state(ls *handle, enum ls_node_state state, uint64_t *clock)
{
    struct ls_error error;
    if (state != LS_NODE_UP && state != LS_NODE_LEAVING) {
        return api_refuse(LS_EINVAL, "a node can set itself up or leaving");
    }
    enum node_state wanted = state == LS_NODE_UP ? NODE_UP : NODE_LEAVING;
    uint64_t changed = 0;
    int result = handle->backend->node_set_state(handle, wanted, &changed, &error);
    return end_with_clock(handle, result, changed, clock, &error);
}

int ls_node_leave(ls *handle, uint64_t *clock)
{
    struct ls_error error;
    uint64_t changed = 0;
    int result = handle->backend->node_leave(handle, &changed, &error);
    return end_with_clock(handle, result, changed, clock, &error);
}

/* Witnesses what a list shows, and gives it out; or frees it where the call failed. */
static int end_with_nodes(struct ls *handle, int result, struct ls_nodes *list, ls_nodes **out,
                          const struct ls_error *error)
{
    if (result != 0) {
        ls_nodes_free(list);
        return api_end(result, error);
    }
    uint64_t newest = 0;
    for (size_t i = 0; i < list->count; i++) {
        const ls_node *node = &list->items[i];
        newest = node->joined > newest ? node->joined : newest;
        newest = node->clock > newest ? node->clock : newest;
    }
    if (newest != 0) {
        api_witness(handle, newest);
    }
    *out = list;
    return 0;
}

int ls_node_get(ls *handle, const char *host, ls_nodes **out)
{
    struct ls_error error;
    ls_bytes bytes;
    int result = api_host(&bytes, host, &error);
    if (result != 0) {
        return api_end(result, &error);
    }
    struct ls_nodes *list = calloc(1, sizeof *list);
    if (list == NULL) {
        return api_refuse(LS_ENOMEM, "no memory for a list of nodes");
    }
    result = handle->backend->node_get(handle, bytes, list, &error);
    return end_with_nodes(handle, result, list, out, &error);
}

int ls_node_list(ls *handle, ls_nodes **out)
{
    struct ls_error error;
    struct ls_nodes *list = calloc(1, sizeof *list);
    if (list == NULL) {
        return api_refuse(LS_ENOMEM, "no memory for a list of nodes");
    }
    int result = handle->backend->node_list(handle, list, &error);
    return end_with_nodes(handle, result, list, out, &error);
}

/* ---- objects ---- */

static int check_key(ls_bytes key, struct ls_error *error)
{
    if (key.size == 0 || key.data == NULL) {
        return error_set(error, LS_EKEY, 0, "a key has at least one byte");
    }
    if (key.size > KEY_OBJECT_SIZE_MAX) {
        return error_set(error, LS_ETOOBIG, KEY_OBJECT_SIZE_MAX,
                         "a key has at most %d bytes, this one %zu", KEY_OBJECT_SIZE_MAX, key.size);
    }
    return 0;
}

static int check_prefix(ls_bytes prefix, struct ls_error *error)
{
    return prefix.size == 0 ? 0 : check_key(prefix, error);
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

int ls_put(ls *handle, ls_bytes key, ls_bytes value, const ls_put_options *options, uint64_t *clock)
{
    struct ls_error error;
    ls_put_options whole = LS_PUT_OPTIONS_INIT;
    int result = api_options(&whole, sizeof whole, options, &error);
    if (result != 0 || (result = check_key(key, &error)) != 0 ||
        (result = check_value(value, &error)) != 0) {
        return api_end(result, &error);
    }
    if (whole.only_if_absent && whole.only_if_present) {
        return api_refuse(LS_EINVAL, "only_if_absent and only_if_present exclude each other");
    }
    uint64_t changed = 0;
    result = handle->backend->put(handle, key, value, &whole, &changed, &error);
    return end_with_clock(handle, result, changed, clock, &error);
}

/* Witnesses what a list shows, and gives it out; or frees it where the call failed. */
static int end_with_objects(struct ls *handle, int result, struct ls_objects *list,
                            ls_objects **out, const struct ls_error *error)
{
    if (result != 0) {
        ls_objects_free(list);
        return api_end(result, error);
    }
    uint64_t newest = 0;
    for (size_t i = 0; i < list->count; i++) {
        newest = list->items[i].modified > newest ? list->items[i].modified : newest;
    }
    if (newest != 0) {
        api_witness(handle, newest);
    }
    *out = list;
    return 0;
}

int ls_get(ls *handle, ls_bytes key, ls_objects **out)
{
    struct ls_error error;
    int result = check_key(key, &error);
    if (result != 0) {
        return api_end(result, &error);
    }
    struct ls_objects *list = calloc(1, sizeof *list);
    if (list == NULL) {
        return api_refuse(LS_ENOMEM, "no memory for a list of objects");
    }
    result = handle->backend->get(handle, key, list, &error);
    return end_with_objects(handle, result, list, out, &error);
}

static int del(struct ls *handle, ls_bytes key, bool has_if, uint64_t modified, uint64_t *clock)
{
    struct ls_error error;
    int result = check_key(key, &error);
    if (result != 0) {
        return api_end(result, &error);
    }
    uint64_t changed = 0;
    result = handle->backend->del(handle, key, has_if, modified, &changed, &error);
    return end_with_clock(handle, result, changed, clock, &error);
}

int ls_del(ls *handle, ls_bytes key, uint64_t *clock)
{
    return del(handle, key, false, 0, clock);
}

int ls_del_if(ls *handle, ls_bytes key, uint64_t if_modified, uint64_t *clock)
{
    return del(handle, key, true, if_modified, clock);
}

int ls_scan(ls *handle, ls_bytes prefix, ls_bytes after, size_t max, ls_objects **out)
{
    struct ls_error error;
    int result = check_prefix(prefix, &error);
    if (result != 0 || (result = check_prefix(after, &error)) != 0) {
        return api_end(result, &error);
    }
    if (max == 0) {
        return api_refuse(LS_EINVAL, "a scan gives at least one object");
    }
    struct ls_objects *list = calloc(1, sizeof *list);
    if (list == NULL) {
        return api_refuse(LS_ENOMEM, "no memory for a list of objects");
    }
    result = handle->backend->scan(handle, prefix, after, max, list, &error);
    return end_with_objects(handle, result, list, out, &error);
}

int ls_object_watch_open(ls *handle, ls_bytes prefix, ls_object_watch **out)
{
    struct ls_error error;
    int result = check_prefix(prefix, &error);
    if (result != 0) {
        return api_end(result, &error);
    }
    struct ls_object_watch *watch;
    result = handle->backend->object_watch_open(handle, prefix, &watch, &error);
    if (result == 0) {
        watch->handle = handle;
        *out = watch;
    }
    return api_end(result, &error);
}

int ls_object_watch_next(ls_object_watch *watch, int64_t timeout_ms, enum ls_object_event *event,
                         ls_object *object)
{
    struct ls_error error;
    struct ls *handle = watch->handle;
    int result = handle->backend->object_watch_next(watch, timeout_ms, event, object, &error);
    if (result == 0 && object->modified != 0) {
        api_witness(handle, object->modified);
    }
    return api_end(result, &error);
}

void ls_object_watch_close(ls_object_watch *watch)
{
    if (watch != NULL) {
        watch->handle->backend->object_watch_close(watch);
    }
}

/* ---- batches ---- */

int ls_batch_new(ls *handle, ls_batch **out)
{
    struct ls_batch *batch = calloc(1, sizeof *batch);
    if (batch == NULL) {
        return api_refuse(LS_ENOMEM, "no memory for a batch");
    }
    batch->handle = handle;
    *out = batch;
    return 0;
}

int ls_batch_if(ls_batch *batch, ls_bytes key, uint64_t modified)
{
    struct ls_error error;
    int result = check_key(key, &error);
    if (result != 0) {
        return api_end(result, &error);
    }
    struct object_condition *items = array_grow(batch->conditions, batch->condition_count,
                                                &batch->condition_capacity, sizeof *items);
    if (items == NULL) {
        return api_refuse(LS_ENOMEM, "no memory for a condition");
    }
    batch->conditions = items;
    struct object_condition condition = {.modified = modified};
    if (arena_copy(&batch->arena, key, &condition.key) != 0) {
        return api_refuse(LS_ENOMEM, "no memory for a condition");
    }
    items[batch->condition_count++] = condition;
    return 0;
}

static int batch_add(struct ls_batch *batch, ls_bytes key, ls_bytes value, bool deletes)
{
    struct ls_error error;
    int result = check_key(key, &error);
    if (result != 0 || (result = check_value(value, &error)) != 0) {
        return api_end(result, &error);
    }
    struct object_operation *items = array_grow(batch->operations, batch->operation_count,
                                                &batch->operation_capacity, sizeof *items);
    if (items == NULL) {
        return api_refuse(LS_ENOMEM, "no memory for a change");
    }
    batch->operations = items;
    struct object_operation operation = {.del = deletes};
    if (arena_copy(&batch->arena, key, &operation.key) != 0 ||
        arena_copy(&batch->arena, value, &operation.value) != 0) {
        return api_refuse(LS_ENOMEM, "no memory for a change");
    }
    items[batch->operation_count++] = operation;
    return 0;
}

int ls_batch_put(ls_batch *batch, ls_bytes key, ls_bytes value)
{
    return batch_add(batch, key, value, false);
}

int ls_batch_del(ls_batch *batch, ls_bytes key)
{
    return batch_add(batch, key, (ls_bytes){NULL, 0}, true);
}

int ls_batch_commit(ls_batch *batch, uint64_t *clocks)
{
    struct ls_error error;
    struct ls *handle = batch->handle;
    int result;
    if (batch->operation_count == 0) {
        result = error_set(&error, LS_EINVAL, 0, "the batch changes nothing");
    } else {
        result = handle->backend->commit(handle, batch->conditions, batch->condition_count,
                                         batch->operations, batch->operation_count, &error);
    }
    if (result == 0) {
        for (size_t i = 0; i < batch->operation_count; i++) {
            if (batch->operations[i].clock != 0) {
                api_witness(handle, batch->operations[i].clock);
            }
            if (clocks != NULL) {
                clocks[i] = batch->operations[i].clock;
            }
        }
    }
    batch->condition_count = 0;
    batch->operation_count = 0;
    arena_clear(&batch->arena);
    return api_end(result, &error);
}

void ls_batch_free(ls_batch *batch)
{
    if (batch != NULL) {
        arena_free(&batch->arena);
        free(batch->conditions);
        free(batch->operations);
        free(batch);
    }
}
