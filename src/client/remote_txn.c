/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open transactions of a remote handle. Each has a connection of its own, for what it waits for may
 * be held up by another one of the same handle, and because the server releases what is open on a
 * connection that is lost. So after a loss an open transaction is over; only when the loss came
 * between a commit and its answer is the outcome not known, and then it is never sent again.
 */
#include <stdlib.h>

#include "base/error.h"
#include "client/remote_ask.h"
#include "client/remote_reply.h"

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
            rc = ask_value(value, &bytes, error);
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
    rc = ask_wait(remote, stream, transaction->ttl_ms, error);
    if (rc != 0) {
        stream_close(stream);
        return rc == LS_ECONN ? released(error) : rc;
    }
    ls_bytes value;
    rc = ask_refusal(stream, error);
    rc = rc != 0 ? rc : ask_value(stream->reply.values, &value, error);
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
        rc = ask_wait(remote, stream, 0, error);
        if (rc != 0) {
            stream_close(stream);
            rc = ask_in_doubt(error);
        } else {
            rc = ask_refusal(stream, error);
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
    if (send_on(remote, stream, 2, argv, &error) == 0 && ask_wait(remote, stream, 0, &error) != 0) {
        stream_close(stream);
    }
    end_stream(remote, transaction);
}
