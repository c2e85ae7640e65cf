/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes and the relay of a remote handle. Joining binds the pipeline's connection, and every one
 * that takes its place; the membership is made ready before the request goes out, so that nothing
 * can fail once the server has said yes.
 */
#include <stdlib.h>

#include "base/error.h"
#include "client/remote.h"
#include "client/remote_reply.h"

/* ---- joining ---- */

struct joining {
    struct membership node;
    ls_joined joined;
};

static int take_joined(struct pipeline *pipeline, void *out, const struct resp_reply *reply,
                       struct ls_error *error)
{
    struct joining *joining = out;
    int rc = reply_joined(reply, &joining->joined, error);
    if (rc == 0) {
        pipeline_joined(pipeline, &joining->node);
    }
    return rc;
}

/* With the turn of numbered posts taken: the node, whose numbers they are, changes. */
static int join_as(struct remote *remote, struct joining *joining, struct ls_error *error)
{
    struct join_request request;
    join_request_make(&request, &joining->node.as);
    struct call call = {
        .argv = request.argv,
        .argc = request.argc,
        .repeats = true,
        .joins = true,
        .take = take_joined,
        .out = joining,
    };
    int rc = pipeline_call(&remote->pipeline, &call, error);
    if (rc != 0) {
        return rc;
    }
    struct numbered *numbered = &remote->numbered;
    const uint8_t *id = joining->joined.id;
    bool same = memcmp(numbered->id, id, sizeof numbered->id) == 0;
    uint64_t doubtful = numbered->last + 1;
    if (same && numbered->in_doubt && joining->joined.seq == doubtful) {
        return 0; /* it is there; said again, it gets its clock */
    }
    memcpy(numbered->id, id, sizeof numbered->id);
    numbered->last = joining->joined.seq;
    numbered->in_doubt = false;
    return 0;
}

int remote_node_join(struct ls *handle, const struct join *join, ls_joined *out,
                     struct ls_error *error)
{
    struct remote *remote = remote_of(handle);
    struct joining joining = {.node.as = *join};
    struct membership *node = &joining.node;

    if (arena_copy(&node->arena, join->host, &node->as.host) != 0 ||
        arena_copy(&node->arena, join->meta, &node->as.meta) != 0) {
        arena_free(&node->arena);
        return error_code(error, LS_ENOMEM);
    }
    int rc = numbered_take(remote, error);
    if (rc == 0) {
        rc = join_as(remote, &joining, error);
        numbered_give(remote);
    }
    arena_free(&node->arena);
    if (rc == 0) {
        *out = joining.joined;
    }
    return rc;
}

static int take_left(struct pipeline *pipeline, void *out, const struct resp_reply *reply,
                     struct ls_error *error)
{
    int rc = take_number(pipeline, out, reply, error);
    if (rc == 0) {
        pipeline_left(pipeline);
    }
    return rc;
}

int remote_node_leave(struct ls *handle, uint64_t *clock, struct ls_error *error)
{
    const ls_bytes argv[] = {bytes_of_text("NODE.LEAVE")};
    struct call call = {
        .argv = argv,
        .argc = 1,
        .as_node = true,
        .take = take_left,
        .out = clock,
    };
    return pipeline_call(&remote_of(handle)->pipeline, &call, error);
}

int remote_node_beat(struct ls *handle, uint64_t *clock, struct ls_error *error)
{
    const ls_bytes argv[] = {bytes_of_text("NODE.BEAT")};
    return remote_number(remote_of(handle), 1, argv, true, true, clock, error);
}

int remote_node_ack(struct ls *handle, uint64_t processed, uint64_t *clock, struct ls_error *error)
{
    struct number_text text;
    const ls_bytes argv[] = {bytes_of_text("NODE.ACK"), number_text(&text, processed)};
    return remote_number(remote_of(handle), 2, argv, true, true, clock, error);
}

int remote_node_set_state(struct ls *handle, enum node_state state, uint64_t *clock,
                          struct ls_error *error)
{
    const ls_bytes argv[] = {bytes_of_text("NODE.STATE"),
                             bytes_of_text(state == NODE_UP ? "up" : "leaving")};
    return remote_number(remote_of(handle), 2, argv, false, true, clock, error);
}

/* ---- the registry ---- */

static int add_node(struct ls_nodes *list, const struct resp_reply *reply,
                    const struct resp_value *value, struct ls_error *error)
{
    ls_node node;
    int rc = reply_node(reply, value, &node, error);
    if (rc == 0 && nodes_add(list, &node) != 0) {
        rc = error_code(error, LS_ENOMEM);
    }
    return rc;
}

static int take_node(struct pipeline *pipeline, void *out, const struct resp_reply *reply,
                     struct ls_error *error)
{
    (void)pipeline;
    if (reply->values->type == RESP_NULL) {
        return error_set(error, LS_ENOTFOUND, 0, "there is no such node");
    }
    return add_node(out, reply, reply->values, error);
}

static int take_nodes(struct pipeline *pipeline, void *out, const struct resp_reply *reply,
                      struct ls_error *error)
{
    (void)pipeline;
    if (reply->values->type != RESP_ARRAY) {
        return reply_unexpected("NODE.LIST", error);
    }
    const struct resp_value *value = reply->values->count > 0 ? reply->values + 1 : NULL;
    for (; value != NULL; value = resp_next(reply, value)) {
        int rc = add_node(out, reply, value, error);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

int remote_node_get(struct ls *handle, ls_bytes host, struct ls_nodes *out, struct ls_error *error)
{
    const ls_bytes argv[] = {bytes_of_text("NODE.GET"), host};
    return remote_read(remote_of(handle), 2, argv, take_node, out, error);
}

int remote_node_list(struct ls *handle, struct ls_nodes *out, struct ls_error *error)
{
    const ls_bytes argv[] = {bytes_of_text("NODE.LIST")};
    return remote_read(remote_of(handle), 1, argv, take_nodes, out, error);
}

/* ---- relay ---- */

int remote_relay_send(struct ls *handle, const struct relay_order *order, size_t *handed,
                      struct ls_error *error)
{
    struct number_text nth;
    struct number_text clock;
    ls_bytes argv[7];
    size_t argc = 0;

    argv[argc++] = bytes_of_text("RELAY.SEND");
    switch (order->kind) {
    case RELAY_TO_NTH:
        argv[argc++] = bytes_of_text("NTH");
        argv[argc++] = number_text(&nth, order->nth);
        break;
    case RELAY_TO_HOST:
        argv[argc++] = bytes_of_text("TO");
        argv[argc++] = order->host;
        break;
    case RELAY_TO_ALL:
        argv[argc++] = bytes_of_text("BROADCAST");
        break;
    }
    argv[argc++] = bytes_of_text("CLOCK");
    argv[argc++] = number_text(&clock, order->clock);
    argv[argc++] = bytes_of_text("CBOR");
    argv[argc++] = order->object;
    uint64_t count;
    int rc = remote_number(remote_of(handle), argc, argv, false, true, &count, error);
    if (rc == 0) {
        *handed = (size_t)count;
    }
    return rc;
}

/* That the handle is a node, joining again where that was refused: nothing is relayed to others. */
static int check_node(struct remote *remote, struct ls_error *error)
{
    struct deadline joining = deadline_in(remote->peer.timeout_ms);
    int rc = pipeline_join_again(&remote->pipeline, &joining, error);
    if (rc == 0 && !pipeline_is_node(&remote->pipeline)) {
        rc = error_code(error, LS_ENOTJOINED);
    }
    return rc;
}

int remote_relay_next(struct ls *handle, int64_t timeout_ms, ls_message *out,
                      struct ls_error *error)
{
    struct remote *remote = remote_of(handle);
    struct deadline deadline = deadline_in(timeout_ms);
    struct relayed *relayed = NULL;

    while (relayed == NULL) {
        struct deadline soon = pipeline_beat(&remote->pipeline, &deadline);
        /* Who is no node any more still gets what came before. */
        int rc = pipeline_relayed(&remote->pipeline, &soon, &relayed, error);
        if (rc == 0 && relayed == NULL) {
            rc = check_node(remote, error);
        }
        if (rc != 0) {
            return rc;
        }
        if (relayed == NULL && deadline_passed(&deadline)) {
            return error_code(error, LS_ETIMEOUT);
        }
    }
    free(remote->relayed);
    remote->relayed = relayed;
    *out = (ls_message){
        .clock = relayed->clock,
        .from = relayed->from,
        .object = relayed->object,
    };
    return 0;
}
