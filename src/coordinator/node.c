/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry of nodes. A life of a node begins with a join and is named by its clock, `joined`;
 * whoever acts as a node names the life, and is refused once it is over. Joins, changes of state
 * and ends are O messages; beats and acknowledgements are not.
 */
#include <assert.h>

#include "base/error.h"
#include "codec/clock.h"
#include "coordinator/state.h"

/* A node as it is stored, with the texts that a put would take away. */
struct stored {
    struct key key;
    bool there;
    struct node node; /* `host` and `meta` point into the transaction */
};

static int stored_get(struct coordinator *c, ls_bytes host, struct stored *out,
                      struct ls_error *error)
{
    ls_bytes value;
    int rc = key_node(&out->key, host, error);
    if (rc < 0) {
        return rc;
    }
    out->there = false;
    rc = state_get(c, &out->key, &value);
    if (rc == LS_ENOTFOUND) {
        return 0;
    }
    if (rc < 0) {
        return error_code(error, rc);
    }
    rc = node_decode(&out->node, value, error);
    out->there = rc == 0;
    return rc;
}

static bool is_life(const struct stored *stored, const struct binding *as)
{
    return stored->there && stored->node.joined == as->joined && stored->node.state != NODE_DOWN;
}

static int over(const struct binding *as, struct ls_error *error)
{
    return error_set(error, LS_ENOTJOINED, 0,
                     "the node '%s' was given up or taken over: join again", as->host);
}

static int bound_get(struct coordinator *c, const struct binding *as, struct stored *out,
                     struct ls_error *error)
{
    if (as == NULL) {
        return error_set(error, LS_ENOTJOINED, 0, "join as a node first");
    }
    int rc = stored_get(c, binding_host(as), out, error);
    if (rc == 0 && !is_life(out, as)) {
        rc = over(as, error);
    }
    return rc;
}

int node_verify(struct coordinator *c, const struct binding *as, struct ls_error *error)
{
    assert(as->joined != 0);
    uint64_t *verified = &c->verified[as->joined % VERIFIED_LIVES];
    if (*verified == as->joined) {
        return 0;
    }
    struct stored stored;
    int rc = bound_get(c, as, &stored, error);
    if (rc == 0) {
        *verified = as->joined;
    }
    return rc;
}

/* Encodes the node into c->value and puts it. */
static int node_write(struct coordinator *c, const struct key *key, const struct node *node,
                      struct ls_error *error)
{
    c->value.size = 0;
    int rc = node_encode(&c->value, node, key_bytes(key));
    if (rc < 0) {
        return error_code(error, rc);
    }
    return state_put(c, key, buf_bytes(&c->value), false, error);
}

/* A change of the registry: writes the node as modified at `clock`, and tells. */
static int node_change(struct coordinator *c, const struct key *key, struct node *node,
                       uint64_t previous, const struct binding *as, uint64_t clock,
                       struct ls_error *error)
{
    memset(c->verified, 0, sizeof(c->verified));
    node->modified = clock;
    node->timestamp_ns = c->now_ns;
    int rc = node_write(c, key, node, error);
    if (rc == 0) {
        rc = state_tell(c, key, &c->value, previous, as, clock, error);
    }
    return rc;
}

/* Whether the join may have the host. */
static int join_check(const struct request *request, const struct stored *stored)
{
    const struct node *node = &stored->node;
    if (!stored->there || node->state == NODE_DOWN ||
        memcmp(node->id, request->in.join.id, sizeof(node->id)) == 0) {
        return 0;
    }
    if (request->in.join.held || node->via != request->in.join.via) {
        return error_set(request->error, LS_EINUSE, node->joined,
                         "the host '%.*s' is held by another live node", (int)node->host.size,
                         (const char *)node->host.data);
    }
    return 0;
}

static int join_last_seq(struct coordinator *c, struct request *request)
{
    struct key key;
    ls_bytes value;
    key_producer(&key, request->in.join.id);
    request->number = 0;
    int rc = state_get(c, &key, &value);
    if (rc == LS_ENOTFOUND) {
        return 0;
    }
    struct producer producer;
    rc =
        rc < 0 ? error_code(request->error, rc) : producer_decode(&producer, value, request->error);
    if (rc == 0) {
        request->number = producer.seq;
    }
    return rc;
}

int node_join(struct coordinator *c, struct request *request)
{
    struct ls_error *error = request->error;
    struct stored stored;
    int rc = stored_get(c, request->in.join.host, &stored, error);
    if (rc == 0) {
        rc = join_check(request, &stored);
    }
    if (rc == 0) {
        rc = join_last_seq(c, request);
    }
    if (rc == 0) {
        rc = state_room(c, STORE_ROOM_ADD, request_weight(request), error);
    }
    if (rc < 0) {
        return rc;
    }
    bool same = stored.there && memcmp(stored.node.id, request->in.join.id, 16) == 0;
    struct node node = {.host = request->in.join.host,
                        .state = NODE_UP,
                        .clock = same ? stored.node.clock : 0,
                        .ttl_ms = request->in.join.ttl_ms,
                        .via = request->in.join.via,
                        .meta = request->in.join.meta};
    memcpy(node.id, request->in.join.id, sizeof(node.id));
    uint64_t previous = stored.there ? stored.node.modified : 0;
    if (stored.there && !same && stored.node.state != NODE_DOWN) {
        /* Another node had the host and its connection is gone: its life ends here. */
        rc = objects_disown(c, request->in.join.host, error);
    }
    if (rc == 0) {
        rc = clock_tick(&c->now.clock, 1, error);
    }
    if (rc < 0) {
        return rc;
    }
    struct binding as = {.joined = c->now.clock, .host_size = (uint8_t)request->in.join.host.size};
    memcpy(as.id, node.id, sizeof(as.id));
    memcpy(as.host, request->in.join.host.data, as.host_size);
    node.joined = request->clock = c->now.clock;
    bool was_live = stored.there && stored.node.state != NODE_DOWN;
    rc = node_change(c, &stored.key, &node, previous, &as, node.joined, error);
    return rc < 0 || was_live ? rc : live_add(c, node.host, error);
}

/* Room for a change of what is stored: its record, and the message about it. */
static int node_room(struct coordinator *c, const struct request *request,
                     const struct stored *stored)
{
    return state_room(c, STORE_ROOM_DELETE, request_weight(request) + 2 * stored->node.meta.size,
                      request->error);
}

int node_set_state(struct coordinator *c, struct request *request)
{
    struct stored stored;
    if (request->in.state.state != NODE_UP && request->in.state.state != NODE_LEAVING) {
        return error_set(request->error, LS_EINVAL, 0, "a node makes itself up or leaving");
    }
    int rc = bound_get(c, request->as, &stored, request->error);
    if (rc == 0) {
        rc = node_room(c, request, &stored);
    }
    if (rc == 0) {
        rc = clock_tick(&c->now.clock, 1, request->error);
    }
    if (rc < 0) {
        return rc;
    }
    struct node node = stored.node;
    node.state = request->in.state.state;
    node.beat++;
    request->clock = c->now.clock;
    return node_change(c, &stored.key, &node, stored.node.modified, request->as, request->clock,
                       request->error);
}

int node_leave(struct coordinator *c, struct request *request)
{
    struct stored stored;
    int rc = bound_get(c, request->as, &stored, request->error);
    if (rc == 0) {
        rc = node_room(c, request, &stored);
    }
    if (rc < 0) {
        return rc;
    }
    uint64_t previous = stored.node.modified;
    memset(c->verified, 0, sizeof(c->verified));
    rc = objects_disown(c, binding_host(request->as), request->error);
    if (rc == 0) {
        rc = clock_tick(&c->now.clock, 1, request->error);
    }
    if (rc == 0) {
        rc = state_del(c, &stored.key, request->error);
    }
    if (rc == 0) {
        request->clock = c->now.clock;
        rc =
            state_tell(c, &stored.key, NULL, previous, request->as, request->clock, request->error);
    }
    if (rc == 0) {
        rc = live_remove(c, binding_host(request->as), request->error);
    }
    return rc;
}

/* Beats and acknowledgements: the record changes, the registry does not. */
static int node_touch(struct coordinator *c, struct request *request, uint64_t processed)
{
    struct stored stored;
    int rc = bound_get(c, request->as, &stored, request->error);
    if (rc == 0 && processed > c->now.clock) {
        rc = error_set(request->error, LS_EINVAL, c->now.clock,
                       "nothing above the clock, %llu, can have been processed",
                       (unsigned long long)c->now.clock);
    }
    if (rc == 0) {
        rc = node_room(c, request, &stored);
    }
    if (rc < 0) {
        return rc;
    }
    struct node node = stored.node;
    node.beat++;
    if (processed > node.clock) {
        node.clock = processed;
    }
    request->clock = c->now.clock;
    return node_write(c, &stored.key, &node, request->error);
}

int node_ack(struct coordinator *c, struct request *request)
{
    return node_touch(c, request, request->in.ack.clock);
}

int node_beat(struct coordinator *c, struct request *request)
{
    return node_touch(c, request, 0);
}

int node_expire(struct coordinator *c, struct request *request)
{
    struct stored stored;
    struct ls_error *error = request->error;
    int rc = stored_get(c, request->in.expire.host, &stored, error);
    request->number = 0;
    if (rc < 0 || !stored.there || stored.node.state == NODE_DOWN ||
        stored.node.joined != request->in.expire.joined ||
        stored.node.beat != request->in.expire.beat) {
        return rc;
    }
    rc = node_room(c, request, &stored);
    if (rc == 0) {
        rc = clock_tick(&c->now.clock, 1, error);
    }
    if (rc < 0) {
        return rc;
    }
    struct node node = stored.node;
    node.state = NODE_DOWN;
    request->clock = c->now.clock;
    request->number = 1;
    rc = node_change(c, &stored.key, &node, stored.node.modified, NULL, request->clock, error);
    if (rc == 0) {
        rc = live_remove(c, request->in.expire.host, error);
    }
    if (rc == 0) {
        rc = objects_disown(c, request->in.expire.host, error);
    }
    return rc;
}
