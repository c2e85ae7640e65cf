/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transactions of a remote handle that are one request: lists of operations, reads as of a
 * timestamp, and explanations. What writes is sent once.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "client/remote_ask.h"
#include "client/remote_reply.h"

/* How long the server may have to wait for others: they end with their ttls, but those are not
 * known here. */
#define WAIT_MS 30000

static int take_values(const struct resp_reply *reply, size_t count, const char *command,
                       struct ls_values *out, struct ls_error *error)
{
    const struct resp_value *array = reply->values;
    if (array->type != RESP_ARRAY || array->count != count) {
        return reply_unexpected(command, error);
    }
    const struct resp_value *value = array + 1;
    for (size_t i = 0; i < count; i++, value = resp_next(reply, value)) {
        ls_bytes bytes;
        int rc = ask_value(value, &bytes, error);
        if (rc != 0) {
            return rc;
        }
        if (values_add(out, bytes) != 0) {
            return error_code(error, LS_ENOMEM);
        }
    }
    return 0;
}

int remote_txn_get(struct ls *handle, uint64_t timestamp, const ls_bytes *keys, size_t count,
                   struct ls_values *out, struct ls_error *error)
{
    struct remote *remote = remote_of(handle);
    struct number_text at;
    struct stream stream;
    size_t argc = 0;
    ls_bytes *argv = calloc(3 + count, sizeof *argv);
    if (argv == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    argv[argc++] = bytes_of_text("TXN.GET");
    if (timestamp != LS_TXN_NOW) {
        argv[argc++] = bytes_of_text("AT");
        argv[argc++] = number_text(&at, timestamp);
    }
    memcpy(argv + argc, keys, count * sizeof *keys);
    struct ask ask = {.argc = argc + count, .argv = argv, .wait_ms = WAIT_MS, .repeats = true};
    int rc = ask_server(remote, &stream, &ask, error);
    free(argv);
    if (rc == 0) {
        rc = take_values(&stream.reply, count, "TXN.GET", out, error);
        readers_return(&remote->readers, &stream);
    }
    return rc;
}

/* The arguments of TXN.RUN; `numbers` has room for one of each operation. */
static size_t run_arguments(ls_bytes *argv, struct number_text *numbers,
                            struct number_text *count_text, const ls_txn_operation *operations,
                            size_t count)
{
    static const char *const words[] = {[LS_TXN_GET] = "GET",
                                        [LS_TXN_PUT] = "PUT",
                                        [LS_TXN_DEL] = "DEL",
                                        [LS_TXN_INCRBY] = "INCRBY",
                                        [LS_TXN_CHECK] = "CHECK"};
    size_t argc = 0;
    argv[argc++] = bytes_of_text("TXN.RUN");
    argv[argc++] = number_text(count_text, count);
    for (size_t i = 0; i < count; i++) {
        const ls_txn_operation *operation = &operations[i];
        argv[argc++] = bytes_of_text(words[operation->kind]);
        argv[argc++] = operation->key;
        if (operation->kind == LS_TXN_PUT || operation->kind == LS_TXN_CHECK) {
            argv[argc++] = operation->value;
        } else if (operation->kind == LS_TXN_INCRBY) {
            char *text = numbers[i].text;
            int size = snprintf(text, sizeof numbers[i].text, "%" PRId64, operation->number);
            argv[argc++] = bytes_of(text, (size_t)size);
        }
    }
    return argc;
}

/* What one operation gave: only what is read has a value. */
static int take_result(enum ls_txn_operation_kind kind, const struct resp_value *value,
                       struct ls_values *out, struct ls_error *error)
{
    char text[24];
    ls_bytes bytes = {NULL, 0};
    int rc = 0;
    if (kind == LS_TXN_INCRBY && value->type == RESP_INTEGER) {
        int size = snprintf(text, sizeof text, "%" PRId64, value->integer);
        bytes = bytes_of(text, (size_t)size);
    } else if (kind == LS_TXN_INCRBY || kind == LS_TXN_GET) {
        rc = ask_value(value, &bytes, error);
    }
    if (rc == 0 && values_add(out, bytes) != 0) {
        rc = error_code(error, LS_ENOMEM);
    }
    return rc;
}

static int take_results(const struct resp_reply *reply, const ls_txn_operation *operations,
                        size_t count, struct ls_values *out, struct ls_error *error)
{
    const struct resp_value *array = reply->values;
    if (array->type != RESP_ARRAY || array->count != count) {
        return reply_unexpected("TXN.RUN", error);
    }
    const struct resp_value *value = array + 1;
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++, value = resp_next(reply, value)) {
        rc = take_result(operations[i].kind, value, out, error);
    }
    return rc;
}

int remote_txn_execute(struct ls *handle, const ls_txn_operation *operations, size_t count,
                       struct ls_values *out, struct ls_error *error)
{
    struct remote *remote = remote_of(handle);
    struct number_text count_text;
    struct stream stream;
    ls_bytes *argv = calloc(2 + 3 * count, sizeof *argv);
    struct number_text *numbers = calloc(count, sizeof *numbers);
    int rc;
    if (argv == NULL || numbers == NULL) {
        rc = error_code(error, LS_ENOMEM);
        goto end;
    }
    struct ask ask = {.argc = run_arguments(argv, numbers, &count_text, operations, count),
                      .argv = argv,
                      .wait_ms = WAIT_MS};
    rc = ask_server(remote, &stream, &ask, error);
    if (rc == 0) {
        rc = take_results(&stream.reply, operations, count, out, error);
        if (rc == LS_ENOMEM) {
            rc = txn_done_untold(error);
        }
        readers_return(&remote->readers, &stream);
    }
end:
    free(numbers);
    free(argv);
    return rc;
}

/* ---- explaining ---- */

static unsigned kinds_of(ls_bytes words)
{
    static const struct {
        const char *word;
        unsigned kind;
    } known[] = {
        {"eager", LS_TXN_EAGER}, {"lazy", LS_TXN_LAZY}, {"will", LS_TXN_WILL}, {"may", LS_TXN_MAY}};
    unsigned kinds = 0;
    const char *at = words.data;
    const char *end = words.size > 0 ? at + words.size : at;
    while (at < end) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        ls_bytes word = bytes_of(at, (size_t)((space != NULL ? space : end) - at));
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
            kinds |= bytes_equal(word, bytes_of_text(known[i].word)) ? known[i].kind : 0;
        }
        at = space != NULL ? space + 1 : end;
    }
    return kinds;
}

/* Key, kinds, and for what it waits: its timestamp, kind and begin, or null three times. */
static int take_mark(const struct resp_reply *reply, const struct resp_value *array,
                     struct ls_txn_marks *out, struct ls_error *error)
{
    const struct resp_value *fields[5];
    if (array->type != RESP_ARRAY || array->count != 5) {
        return reply_unexpected("TXN.EXPLAIN", error);
    }
    fields[0] = array + 1;
    for (size_t i = 1; i < 5; i++) {
        fields[i] = resp_next(reply, fields[i - 1]);
    }
    ls_bytes kinds;
    ls_txn_mark mark = {.waits = fields[2]->type != RESP_NULL};
    int rc = ask_value(fields[0], &mark.key, error);
    rc = rc != 0 ? rc : ask_value(fields[1], &kinds, error);
    if (rc != 0) {
        return rc;
    }
    mark.kinds = kinds_of(kinds);
    if (mark.waits) {
        rc = reply_number(fields[2], &mark.waits_for, error);
        rc = rc != 0 ? rc : ask_value(fields[3], &kinds, error);
        rc = rc != 0 ? rc : reply_number(fields[4], &mark.waits_since_ns, error);
        mark.waits_kind = rc == 0 ? kinds_of(kinds) : 0;
    }
    if (rc == 0 && txn_marks_add(out, &mark) != 0) {
        rc = error_code(error, LS_ENOMEM);
    }
    return rc;
}

struct explaining {
    ls_txn_info *info;
    struct ls_txn_marks *marks;
};

static int take_field(const struct resp_reply *reply, const struct resp_value *name,
                      const struct resp_value *value, const struct explaining *out,
                      struct ls_error *error)
{
    if (reply_is(name, "began")) {
        return reply_number(value, &out->info->began_ns, error);
    }
    if (reply_is(name, "expires")) {
        return reply_number(value, &out->info->expires_ms, error);
    }
    if (reply_is(name, "waiting")) {
        return reply_number(value, &out->info->waiting, error);
    }
    if (!reply_is(name, "keys")) {
        return 0; /* of a later version */
    }
    if (value->type != RESP_ARRAY) {
        return reply_unexpected("TXN.EXPLAIN", error);
    }
    const struct resp_value *mark = value->count > 0 ? value + 1 : NULL;
    int rc = 0;
    for (size_t i = 0; i < value->count && rc == 0; i++, mark = resp_next(reply, mark)) {
        rc = take_mark(reply, mark, out->marks, error);
    }
    return rc;
}

static int take_explanation(struct pipeline *pipeline, void *out, const struct resp_reply *reply,
                            struct ls_error *error)
{
    struct explaining *explaining = out;
    const struct resp_value *map = reply->values;
    (void)pipeline;
    if (map->type != RESP_MAP) {
        return reply_unexpected("TXN.EXPLAIN", error);
    }
    const struct resp_value *name = map->count > 0 ? map + 1 : NULL;
    int rc = 0;
    for (size_t i = 0; i < map->count && rc == 0; i++) {
        const struct resp_value *value = resp_next(reply, name);
        rc = take_field(reply, name, value, explaining, error);
        name = resp_next(reply, value);
    }
    return rc == 0 && explaining->marks->count == 0 ? reply_unexpected("TXN.EXPLAIN", error) : rc;
}

int remote_txn_explain(struct ls *handle, uint64_t timestamp, ls_txn_info *info,
                       struct ls_txn_marks *out, struct ls_error *error)
{
    struct number_text text;
    const ls_bytes argv[] = {bytes_of_text("TXN.EXPLAIN"), number_text(&text, timestamp)};
    struct explaining explaining = {.info = info, .marks = out};
    *info = (ls_txn_info){0};
    return remote_read(remote_of(handle), 2, argv, take_explanation, &explaining, error);
}
