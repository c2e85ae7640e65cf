/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transactions of a remote handle. Each open one has a connection of its own, for what it waits for
 * may be held up by another one of the same handle, and because the server releases what is open on
 * a connection that is lost. So after a loss an open transaction is over; only when the loss came
 * between a commit and its answer is the outcome not known, and then it is never sent again. What
 * is done in one request borrows a connection for it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "client/remote.h"
#include "client/remote_reply.h"

/* The ttl that the server gives a transaction of one request, and so the longest that it waits. */
#define WAIT_DEFAULT_MS 5000

/* ---- requests that borrow a connection ---- */

struct ask {
    size_t argc;
    const ls_bytes *argv;
    uint64_t wait_ms; /* how long the server may have to wait */
    bool repeats;     /* to do it twice does no harm */
};

/* Waits for the answer to what was sent, and keeps beating: 0 with the reply in the stream. */
static int wait_answer(struct remote *remote, struct stream *stream, uint64_t wait_ms,
                       struct ls_error *error)
{
    struct deadline deadline = deadline_in((int64_t)wait_ms + remote->peer.timeout_ms);
    for (;;) {
        struct deadline soon = pipeline_beat(&remote->pipeline, &deadline);
        int rc = stream_wait(stream, &soon, error);
        if (rc != 0) {
            return rc < 0 ? rc : 0;
        }
        if (deadline_passed(&deadline)) {
            return error_set(error, LS_ECONN, 0, "the server did not answer in time");
        }
    }
}

/* An answer that says no. */
static int refusal(const struct stream *stream, struct ls_error *error)
{
    const struct resp_value *value = stream->reply.values;
    return value->type == RESP_ERROR ? reply_error(value, error) : 0;
}

static int in_doubt(struct ls_error *error)
{
    char why[sizeof error->text];
    memcpy(why, error->text, sizeof why);
    return error_set(error, LS_ECONN, 0,
                     "%.150s; the request was sent, and its outcome is not known", why);
}

/* Opens where need be, sends, and waits for the answer, whatever it says. */
static int exchange(struct remote *remote, struct stream *stream, const struct ask *ask,
                    const struct deadline *connecting, bool *sent, struct ls_error *error)
{
    int rc = 0;
    *sent = false;
    if (!stream_is_open(stream)) {
        rc = stream_open(stream, &remote->peer, connecting, error);
    }
    if (rc == 0) {
        rc = stream_send(stream, ask->argc, ask->argv, connecting, error);
    }
    if (rc == 0) {
        *sent = true;
        rc = wait_answer(remote, stream, ask->wait_ms, error);
    }
    return rc;
}

/* Asks on a borrowed connection, again and again as long as nothing was done. On success it is the
 * caller's, with the reply; on failure it was given back or closed. */
static int ask_server(struct remote *remote, struct stream *stream, const struct ask *ask,
                      struct ls_error *error)
{
    struct deadline connecting = deadline_in(remote->peer.timeout_ms);
    struct backoff backoff = {0};
    int rc;
    do {
        bool sent;
        *stream = readers_borrow(&remote->readers);
        rc = exchange(remote, stream, ask, &connecting, &sent, error);
        if (rc == 0) {
            rc = refusal(stream, error);
            if (rc == 0) {
                return 0;
            }
            if (!stream_may_recover(rc)) {
                readers_return(&remote->readers, stream);
                return rc;
            }
            /* The server is starting or stopping, and did nothing. */
        } else if (sent && !ask->repeats) {
            stream_close(stream);
            return in_doubt(error);
        }
        stream_close(stream);
        backoff_grow(&backoff, &remote->peer);
    } while (stream_may_recover(rc) && backoff_wait(&backoff, &connecting));
    return rc;
}

/* ---- values in replies ---- */

/* The value, with data NULL where it is absent. */
static int take_value(const struct resp_value *value, ls_bytes *out, struct ls_error *error)
{
    if (value != NULL && value->type == RESP_NULL) {
        *out = bytes_of(NULL, 0);
        return 0;
    }
    if (value != NULL && (value->type == RESP_BULK || value->type == RESP_SIMPLE)) {
        *out = value->text.size != 0 ? value->text : bytes_of("", 0);
        return 0;
    }
    return error_set(error, LS_EPROTO, 0, "a reply has something else where a value belongs");
}

/* ---- open transactions ---- */

static int released(struct ls_error *error)
{
    return error_set(error, LS_ETXNEXPIRED, 0,
                     "the connection was lost, and the transaction released with it");
}

/* Adds "WORD n key ..." for the keys of a kind, where there are any. */
static void add_keys(ls_bytes *argv, size_t *argc, const char *word,
                     const struct ls_transaction *transaction, unsigned kind,
                     struct number_text *text)
{
    size_t head = *argc;
    size_t count = 0;
    for (size_t i = 0; i < transaction->count; i++) {
        if ((transaction->items[i].kinds & kind) != 0) {
            argv[head + 2 + count++] = transaction->items[i].key;
        }
    }
    if (count > 0) {
        argv[head] = bytes_of_text(word);
        argv[head + 1] = number_text(text, count);
        *argc = head + 2 + count;
    }
}

/* The timestamp, and the values of the eager keys in the order in which they were sent. */
static int take_begun(struct ls_transaction *transaction, const struct resp_reply *reply,
                      struct ls_error *error)
{
    const struct resp_value *array = reply->values;
    if (array->type != RESP_ARRAY || array->count != 2) {
        return reply_unexpected("TXN.BEGIN", error);
    }
    int rc = reply_number(array + 1, &transaction->timestamp, error);
    if (rc != 0) {
        return rc;
    }
    const struct resp_value *values = resp_next(reply, array + 1);
    if (values->type != RESP_ARRAY) {
        return reply_unexpected("TXN.BEGIN", error);
    }
    const struct resp_value *value = values->count > 0 ? values + 1 : NULL;
    for (size_t i = 0; i < transaction->count && rc == 0; i++) {
        struct txn_item *item = &transaction->items[i];
        ls_bytes bytes;
        if ((item->kinds & LS_TXN_EAGER) != 0) {
            rc = take_value(value, &bytes, error);
            if (rc == 0 && txn_item_know(transaction, item, bytes) != 0) {
                rc = error_code(error, LS_ENOMEM);
            }
            value = rc == 0 ? resp_next(reply, value) : NULL;
        }
    }
    return rc;
}

int remote_txn_begin(struct ls_transaction *transaction, struct ls_error *error)
{
    struct remote *remote = remote_of(transaction->handle);
    struct number_text counts[4];
    struct number_text ttl;
    size_t argc = 0;
    /* The name, four times a word and a count, each key at most twice, TTL and its number. */
    ls_bytes *argv = calloc(11 + 2 * transaction->count, sizeof *argv);
    struct stream *stream = malloc(sizeof *stream);
    int rc;
    if (argv == NULL || stream == NULL) {
        rc = error_code(error, LS_ENOMEM);
        goto end;
    }
    argv[argc++] = bytes_of_text("TXN.BEGIN");
    add_keys(argv, &argc, "EAGER", transaction, LS_TXN_EAGER, &counts[0]);
    add_keys(argv, &argc, "LAZY", transaction, LS_TXN_LAZY, &counts[1]);
    add_keys(argv, &argc, "WILL", transaction, LS_TXN_WILL, &counts[2]);
    add_keys(argv, &argc, "MAY", transaction, LS_TXN_MAY, &counts[3]);
    argv[argc++] = bytes_of_text("TTL");
    argv[argc++] = number_text(&ttl, transaction->ttl_ms);
    /* One that was begun on a connection that is lost is released: to begin again does no harm. */
    struct ask ask = {.argc = argc, .argv = argv, .wait_ms = transaction->ttl_ms, .repeats = true};
    rc = ask_server(remote, stream, &ask, error);
    if (rc != 0) {
        goto end;
    }
    rc = take_begun(transaction, &stream->reply, error);
    if (rc != 0) {
        stream_close(stream);
        goto end;
    }
    transaction->state = stream;
    stream = NULL;
end:
    free(stream);
    free(argv);
    return rc;
}

/* Sends a request of an open transaction, where its connection is still there. */
static int send_on(struct remote *remote, struct stream *stream, size_t argc, const ls_bytes *argv,
                   struct ls_error *error)
{
    struct deadline sending = deadline_in(remote->peer.timeout_ms);
    if (!stream_is_open(stream)) {
        return released(error);
    }
    int rc = stream_fill(stream, error);
    if (rc == 0) {
        rc = stream_send(stream, argc, argv, &sending, error);
    } else if (rc > 0) {
        rc = error_set(error, LS_EPROTO, 0, "a reply came that answers nothing");
    }
    if (rc != 0) {
        stream_close(stream);
    }
    return rc == LS_ECONN ? released(error) : rc;
}

int remote_txn_read(struct ls_transaction *transaction, struct txn_item *item,
                    struct ls_error *error)
{
    struct remote *remote = remote_of(transaction->handle);
    struct stream *stream = transaction->state;
    struct number_text timestamp;
    const ls_bytes argv[] = {bytes_of_text("TXN.READ"),
                             number_text(&timestamp, transaction->timestamp), item->key};
    int rc = send_on(remote, stream, 3, argv, error);
    if (rc != 0) {
        return rc;
    }
    rc = wait_answer(remote, stream, transaction->ttl_ms, error);
    if (rc != 0) {
        stream_close(stream);
        return rc == LS_ECONN ? released(error) : rc;
    }
    ls_bytes value;
    rc = refusal(stream, error);
    rc = rc != 0 ? rc : take_value(stream->reply.values, &value, error);
    if (rc == 0 && txn_item_know(transaction, item, value) != 0) {
        rc = error_code(error, LS_ENOMEM);
    }
    return rc;
}

/* The connection of a transaction that is over, for the next one where it is as good as new. */
static void end_stream(struct remote *remote, struct ls_transaction *transaction)
{
    readers_return(&remote->readers, transaction->state);
    free(transaction->state);
    transaction->state = NULL;
}

/* Adds the writes: "n key value ..", and "DEL n key ..". */
static size_t add_writes(ls_bytes *argv, const struct ls_transaction *transaction,
                         struct number_text counts[2])
{
    size_t argc = 1;
    size_t puts = 0;
    size_t deletions = 0;
    for (size_t i = 0; i < transaction->count; i++) {
        const struct txn_item *item = &transaction->items[i];
        if (item->written && item->put.data != NULL) {
            argv[argc++] = item->key;
            argv[argc++] = item->put;
            puts++;
        }
        deletions += item->written && item->put.data == NULL;
    }
    argv[0] = number_text(&counts[0], puts);
    if (deletions > 0) {
        argv[argc++] = bytes_of_text("DEL");
        argv[argc++] = number_text(&counts[1], deletions);
    }
    for (size_t i = 0; i < transaction->count && deletions > 0; i++) {
        const struct txn_item *item = &transaction->items[i];
        if (item->written && item->put.data == NULL) {
            argv[argc++] = item->key;
        }
    }
    return argc;
}

int remote_txn_commit(struct ls_transaction *transaction, struct ls_error *error)
{
    struct remote *remote = remote_of(transaction->handle);
    struct stream *stream = transaction->state;
    struct number_text timestamp;
    struct number_text counts[2];
    ls_bytes *argv = calloc(5 + 2 * transaction->count, sizeof *argv);
    int rc;
    if (argv == NULL) {
        remote_txn_abort(transaction);
        return error_code(error, LS_ENOMEM);
    }
    argv[0] = bytes_of_text("TXN.COMMIT");
    argv[1] = number_text(&timestamp, transaction->timestamp);
    size_t argc = 2 + add_writes(argv + 2, transaction, counts);
    rc = send_on(remote, stream, argc, argv, error);
    free(argv);
    if (rc == 0) {
        rc = wait_answer(remote, stream, 0, error);
        if (rc != 0) {
            stream_close(stream);
            rc = in_doubt(error);
        } else {
            rc = refusal(stream, error);
            if (rc != 0) {
                remote_txn_abort(transaction); /* refused, and perhaps still open */
                return rc;
            }
        }
    }
    end_stream(remote, transaction);
    return rc;
}

void remote_txn_abort(struct ls_transaction *transaction)
{
    struct remote *remote = remote_of(transaction->handle);
    struct stream *stream = transaction->state;
    struct number_text timestamp;
    struct ls_error error;
    const ls_bytes argv[] = {bytes_of_text("TXN.ABORT"),
                             number_text(&timestamp, transaction->timestamp)};
    /* Where the answer does not come, the end of the connection does the same. */
    if (send_on(remote, stream, 2, argv, &error) == 0 &&
        wait_answer(remote, stream, 0, &error) != 0) {
        stream_close(stream);
    }
    end_stream(remote, transaction);
}

/* ---- transactions of one request ---- */

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
        int rc = take_value(value, &bytes, error);
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
    struct ask ask = {
        .argc = argc + count, .argv = argv, .wait_ms = WAIT_DEFAULT_MS, .repeats = true};
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
        rc = take_value(value, &bytes, error);
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
                      .wait_ms = WAIT_DEFAULT_MS};
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
