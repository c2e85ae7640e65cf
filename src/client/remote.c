/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lockstep:// backend: opening and closing a remote handle, and the steps that its calls share.
 */
#include "client/remote.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "client/remote_reply.h"

ls_bytes number_text(struct number_text *out, uint64_t number)
{
    int size = snprintf(out->text, sizeof out->text, "%" PRIu64, number);
    return bytes_of(out->text, (size_t)size);
}

int take_number(struct pipeline *pipeline, void *out, const struct resp_reply *reply,
                struct ls_error *error)
{
    (void)pipeline;
    return reply_number(reply->values, out, error);
}

int remote_number(struct remote *remote, size_t argc, const ls_bytes *argv, bool repeats,
                  bool as_node, uint64_t *out, struct ls_error *error)
{
    struct call call = {
        .argv = argv,
        .argc = argc,
        .repeats = repeats,
        .as_node = as_node,
        .take = take_number,
        .out = out,
    };
    return pipeline_call(&remote->pipeline, &call, error);
}

int remote_read(struct remote *remote, size_t argc, const ls_bytes *argv,
                int (*take)(struct pipeline *pipeline, void *out, const struct resp_reply *reply,
                            struct ls_error *error),
                void *out, struct ls_error *error)
{
    struct call call = {
        .argv = argv,
        .argc = argc,
        .repeats = true,
        .take = take,
        .out = out,
    };
    return pipeline_call(&remote->pipeline, &call, error);
}

void filter_arguments(const ls_filter *filter, ls_bytes *argv, size_t *argc)
{
    if (filter->types != NULL) {
        argv[(*argc)++] = bytes_of_text("TYPE");
        argv[(*argc)++] = bytes_of_text(filter->types);
    }
    if (filter->host != NULL) {
        argv[(*argc)++] = bytes_of_text("FOR");
        argv[(*argc)++] = bytes_of_text(filter->host);
    }
    if (filter->key.size > 0) {
        argv[(*argc)++] = bytes_of_text("KEY");
        argv[(*argc)++] = filter->key;
    }
}

struct stream readers_borrow(struct readers *readers)
{
    for (;;) {
        struct stream stream = STREAM_CLOSED;
        struct ls_error error;
        pthread_mutex_lock(&readers->lock);
        if (readers->count > 0) {
            stream = readers->idle[--readers->count];
        }
        pthread_mutex_unlock(&readers->lock);
        /* One that was lost while it was idle must not take a request that may not be sent twice,
         * and nothing comes on it unasked. */
        if (!stream_is_open(&stream) || stream_fill(&stream, &error) == 0) {
            return stream;
        }
        stream_close(&stream);
    }
}

void readers_return(struct readers *readers, struct stream *stream)
{
    pthread_mutex_lock(&readers->lock);
    bool kept = stream_is_open(stream) && readers->count < READERS_MAX;
    if (kept) {
        readers->idle[readers->count++] = *stream;
    }
    pthread_mutex_unlock(&readers->lock);
    if (!kept) {
        stream_close(stream);
    }
    *stream = STREAM_CLOSED;
}

static int remote_open(struct ls *handle, const char *url, const ls_options *options,
                       struct ls_error *error)
{
    struct remote *remote = calloc(1, sizeof *remote);
    if (remote == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    int rc = peer_from_url(&remote->peer, url, options, error);
    if (rc != 0) {
        goto no_peer;
    }
    rc = pipeline_init(&remote->pipeline, &remote->peer, error);
    if (rc != 0) {
        goto no_pipeline;
    }
    if (pthread_mutex_init(&remote->numbered.lock, NULL) != 0) {
        rc = error_code(error, LS_ENOMEM);
        goto no_lock;
    }
    if (pthread_cond_init(&remote->numbered.given_up, &remote->pipeline.monotonic) != 0) {
        rc = error_code(error, LS_ENOMEM);
        goto no_turn;
    }
    if (pthread_mutex_init(&remote->readers.lock, NULL) != 0) {
        rc = error_code(error, LS_ENOMEM);
        goto no_readers;
    }
    rc = pipeline_connect(&remote->pipeline, error);
    if (rc != 0) {
        goto no_connection;
    }
    handle->state = remote;
    return 0;

no_connection:
    pthread_mutex_destroy(&remote->readers.lock);
no_readers:
    pthread_cond_destroy(&remote->numbered.given_up);
no_turn:
    pthread_mutex_destroy(&remote->numbered.lock);
no_lock:
    pipeline_free(&remote->pipeline);
no_pipeline:
    peer_free(&remote->peer);
no_peer:
    free(remote);
    return rc;
}

static void remote_close(struct ls *handle)
{
    struct remote *remote = remote_of(handle);

    free(remote->relayed);
    for (size_t i = 0; i < remote->readers.count; i++) {
        stream_close(&remote->readers.idle[i]);
    }
    pthread_mutex_destroy(&remote->readers.lock);
    pthread_cond_destroy(&remote->numbered.given_up);
    pthread_mutex_destroy(&remote->numbered.lock);
    pipeline_free(&remote->pipeline);
    peer_free(&remote->peer);
    free(remote);
}

const struct backend backend_remote = {
    .open = remote_open,
    .close = remote_close,
    .clock_get = remote_clock_get,
    .clock_next = remote_clock_next,
    .clock_witness = remote_clock_witness,
    .post = remote_post,
    .read = remote_box_read,
    .watch_open = remote_watch_open,
    .watch_next = remote_watch_next,
    .watch_close = remote_watch_close,
    .box_info = remote_box_info,
    .trim_before = remote_trim_before,
    .trim_older = remote_trim_older,
    .node_join = remote_node_join,
    .node_beat = remote_node_beat,
    .node_ack = remote_node_ack,
    .node_set_state = remote_node_set_state,
    .node_leave = remote_node_leave,
    .node_get = remote_node_get,
    .node_list = remote_node_list,
    .put = remote_put,
    .get = remote_get,
    .del = remote_del,
    .scan = remote_scan,
    .object_watch_open = remote_object_watch_open,
    .object_watch_next = remote_object_watch_next,
    .object_watch_close = remote_object_watch_close,
    .commit = remote_commit,
    .txn_begin = remote_txn_begin,
    .txn_read = remote_txn_read,
    .txn_commit = remote_txn_commit,
    .txn_abort = remote_txn_abort,
    .txn_execute = remote_txn_execute,
    .txn_get = remote_txn_get,
    .txn_explain = remote_txn_explain,
    .relay_send = remote_relay_send,
    .relay_next = remote_relay_next,
};
