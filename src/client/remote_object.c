/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects of a remote handle. A change is sent once: whether a put or a delete may be repeated only
 * its caller can know, who can make it conditional.
 */
#include <stdlib.h>

#include "base/error.h"
#include "client/remote.h"
#include "client/remote_reply.h"

int remote_put(struct ls *handle, ls_bytes key, ls_bytes value, const ls_put_options *options,
               uint64_t *clock, struct ls_error *error)
{
    struct number_text modified;
    ls_bytes argv[8];
    size_t argc = 0;

    argv[argc++] = bytes_of_text("OBJ.PUT");
    argv[argc++] = key;
    argv[argc++] = value;
    if (options->only_if) {
        argv[argc++] = bytes_of_text("IF");
        argv[argc++] = number_text(&modified, options->if_modified);
    }
    if (options->only_if_absent) {
        argv[argc++] = bytes_of_text("NX");
    }
    if (options->only_if_present) {
        argv[argc++] = bytes_of_text("XX");
    }
    if (options->owned) {
        argv[argc++] = bytes_of_text("OWNED");
    }
    return remote_number(remote_of(handle), argc, argv, false, options->owned, clock, error);
}

int remote_del(struct ls *handle, ls_bytes key, bool has_if, uint64_t modified, uint64_t *clock,
               struct ls_error *error)
{
    struct number_text text;
    const ls_bytes argv[] = {bytes_of_text("OBJ.DEL"), key, bytes_of_text("IF"),
                             number_text(&text, modified)};
    return remote_number(remote_of(handle), has_if ? 4 : 2, argv, false, false, clock, error);
}

/* ---- reading ---- */

struct getting {
    ls_bytes key;
    struct ls_objects *list;
};

static int take_object(struct pipeline *pipeline, void *out, const struct resp_reply *reply,
                       struct ls_error *error)
{
    const struct getting *getting = out;
    const struct resp_value *array = reply->values;
    ls_object object = {.key = getting->key};
    (void)pipeline;

    if (array->type == RESP_NULL) {
        return error_set(error, LS_ENOTFOUND, 0, "there is no such object");
    }
    if (array->type != RESP_ARRAY || array->count != 3 || array[1].type != RESP_BULK) {
        return reply_unexpected("OBJ.GET", error);
    }
    object.value = array[1].text;
    int rc;
    if ((rc = reply_number(resp_next(reply, array + 1), &object.created, error)) != 0 ||
        (rc = reply_number(resp_next(reply, array + 2), &object.modified, error)) != 0) {
        return rc;
    }
    return objects_add(getting->list, &object) != 0 ? error_code(error, LS_ENOMEM) : 0;
}

int remote_get(struct ls *handle, ls_bytes key, struct ls_objects *out, struct ls_error *error)
{
    const ls_bytes argv[] = {bytes_of_text("OBJ.GET"), key};
    struct getting getting = {.key = key, .list = out};
    return remote_read(remote_of(handle), 2, argv, take_object, &getting, error);
}

static int take_objects(struct pipeline *pipeline, void *out, const struct resp_reply *reply,
                        struct ls_error *error)
{
    struct ls_objects *list = out;
    (void)pipeline;

    if (reply->values->type != RESP_ARRAY) {
        return reply_unexpected("OBJ.SCAN", error);
    }
    const struct resp_value *value = reply->values->count > 0 ? reply->values + 1 : NULL;
    for (; value != NULL; value = resp_next(reply, value)) {
        ls_object object;
        if (value->type != RESP_ARRAY || value->count != 4) {
            return reply_unexpected("OBJ.SCAN", error);
        }
        int rc = reply_object(reply, value + 1, &object, error);
        if (rc != 0) {
            return rc;
        }
        if (objects_add(list, &object) != 0) {
            return error_code(error, LS_ENOMEM);
        }
    }
    return 0;
}

int remote_scan(struct ls *handle, ls_bytes prefix, ls_bytes after, size_t max,
                struct ls_objects *out, struct ls_error *error)
{
    struct number_text count;
    ls_bytes argv[6];
    size_t argc = 0;

    argv[argc++] = bytes_of_text("OBJ.SCAN");
    argv[argc++] = prefix;
    if (after.size > 0) {
        argv[argc++] = bytes_of_text("AFTER");
        argv[argc++] = after;
    }
    argv[argc++] = bytes_of_text("COUNT");
    argv[argc++] = number_text(&count, max);
    return remote_read(remote_of(handle), argc, argv, take_objects, out, error);
}

/* ---- transactions ---- */

struct committing {
    struct object_operation *operations;
    size_t count;
};

static int take_clocks(struct pipeline *pipeline, void *out, const struct resp_reply *reply,
                       struct ls_error *error)
{
    const struct committing *committing = out;
    const struct resp_value *array = reply->values;
    (void)pipeline;

    if (array->type != RESP_ARRAY || array->count != committing->count) {
        return reply_unexpected("OBJ.TXN", error);
    }
    const struct resp_value *value = array->count > 0 ? array + 1 : NULL;
    for (size_t i = 0; i < committing->count; i++, value = resp_next(reply, value)) {
        int rc = reply_number(value, &committing->operations[i].clock, error);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

int remote_commit(struct ls *handle, const struct object_condition *conditions,
                  size_t condition_count, struct object_operation *operations,
                  size_t operation_count, struct ls_error *error)
{
    struct number_text counts[2];
    size_t argc = 0;
    size_t argc_max = 5 + 2 * condition_count + 3 * operation_count;
    ls_bytes *argv = calloc(argc_max, sizeof *argv);
    struct number_text *modified = calloc(condition_count + 1, sizeof *modified);
    int rc;

    if (argv == NULL || modified == NULL) {
        rc = error_code(error, LS_ENOMEM);
        goto end;
    }
    argv[argc++] = bytes_of_text("OBJ.TXN");
    argv[argc++] = bytes_of_text("IF");
    argv[argc++] = number_text(&counts[0], condition_count);
    for (size_t i = 0; i < condition_count; i++) {
        argv[argc++] = conditions[i].key;
        argv[argc++] = number_text(&modified[i], conditions[i].modified);
    }
    argv[argc++] = bytes_of_text("THEN");
    argv[argc++] = number_text(&counts[1], operation_count);
    for (size_t i = 0; i < operation_count; i++) {
        argv[argc++] = bytes_of_text(operations[i].del ? "DEL" : "PUT");
        argv[argc++] = operations[i].key;
        if (!operations[i].del) {
            argv[argc++] = operations[i].value;
        }
    }
    struct committing committing = {.operations = operations, .count = operation_count};
    struct call call = {.argv = argv, .argc = argc, .take = take_clocks, .out = &committing};
    rc = pipeline_call(&remote_of(handle)->pipeline, &call, error);
end:
    free(modified);
    free(argv);
    return rc;
}
