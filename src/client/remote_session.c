/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joining: on a new connection, and again where that was refused; but never once the server said
 * that the node's life is over. The membership changes only on the driver's thread and under the
 * lock, so that a connection lost right after a join's answer is followed by one that joins as the
 * new node.
 */
#include "client/remote_session.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "client/remote_reply.h"

void join_request_make(struct join_request *out, const struct join *join)
{
    uuid_format(out->id, join->id);
    (void)snprintf(out->ttl, sizeof out->ttl, "%" PRIu64, join->ttl_ms);
    out->argc = 0;
    out->argv[out->argc++] = bytes_of_text("NODE.JOIN");
    out->argv[out->argc++] = join->host;
    out->argv[out->argc++] = bytes_of_text("ID");
    out->argv[out->argc++] = bytes_of_text(out->id);
    out->argv[out->argc++] = bytes_of_text("TTL");
    out->argv[out->argc++] = bytes_of_text(out->ttl);
    if (join->meta.size > 0) {
        out->argv[out->argc++] = bytes_of_text("META");
        out->argv[out->argc++] = bytes_of_text("CBOR");
        out->argv[out->argc++] = join->meta;
    }
}

int session_open(struct pipeline *pipeline, const struct deadline *deadline, struct ls_error *error)
{
    struct stream *stream = &pipeline->stream;
    int rc = stream_open(stream, pipeline->peer, deadline, error);
    if (rc != 0 || !pipeline->node.joined || pipeline->node.given_up) {
        return rc; /* whose life is over must not take the host from the life after it */
    }
    struct join_request request;
    join_request_make(&request, &pipeline->node.as);
    rc = stream_request(stream, request.argc, request.argv, deadline, error);
    ls_joined joined;
    bool refused = false;
    if (rc == 0 && stream->reply.values->type == RESP_ERROR) {
        rc = reply_error(stream->reply.values, error);
        refused = !stream_may_recover(rc);
    } else if (rc == 0) {
        rc = reply_joined(&stream->reply, &joined, error);
    }
    if (rc != 0 && !refused) {
        stream_close(stream);
        return rc;
    }
    pthread_mutex_lock(&pipeline->lock);
    pipeline->node.refused = refused;
    if (refused) {
        pipeline->node.error = *error;
    }
    pipeline->active_ms = monotonic_ms();
    pthread_mutex_unlock(&pipeline->lock);
    return 0;
}

void pipeline_joined(struct pipeline *pipeline, struct membership *node)
{
    pthread_mutex_lock(&pipeline->lock);
    arena_free(&pipeline->node.arena);
    pipeline->node = *node;
    pipeline->node.joined = true;
    *node = (struct membership){0};
    pthread_mutex_unlock(&pipeline->lock);
}

void pipeline_left(struct pipeline *pipeline)
{
    struct membership none = {0};
    pthread_mutex_lock(&pipeline->lock);
    arena_free(&pipeline->node.arena);
    pipeline->node = none;
    pthread_mutex_unlock(&pipeline->lock);
}

static int take_rejoined(struct pipeline *pipeline, void *out, const struct resp_reply *reply,
                         struct ls_error *error)
{
    const uint8_t *id = out;
    ls_joined joined;
    int rc = reply_joined(reply, &joined, error);
    if (rc == 0) {
        pthread_mutex_lock(&pipeline->lock);
        if (memcmp(pipeline->node.as.id, id, sizeof joined.id) == 0) {
            pipeline->node.refused = false;
        }
        pthread_mutex_unlock(&pipeline->lock);
    }
    return rc;
}

int pipeline_join_again(struct pipeline *pipeline, const struct deadline *deadline,
                        struct ls_error *error)
{
    struct arena arena = {0};
    struct join join = {0};
    int rc = 0;

    pthread_mutex_lock(&pipeline->lock);
    bool refused = pipeline->node.refused;
    if (refused) {
        join = pipeline->node.as;
        rc = arena_copy(&arena, pipeline->node.as.host, &join.host);
        rc = rc != 0 ? rc : arena_copy(&arena, pipeline->node.as.meta, &join.meta);
    }
    pthread_mutex_unlock(&pipeline->lock);
    if (rc != 0) {
        error_code(error, rc);
    } else if (refused) {
        struct join_request request;
        join_request_make(&request, &join);
        struct call call = {
            .argv = request.argv,
            .argc = request.argc,
            .repeats = true,
            .rejoins = true,
            .take = take_rejoined,
            .out = join.id,
        };
        rc = pipeline_call_until(pipeline, &call, deadline, error);
    }
    arena_free(&arena);
    return rc;
}
