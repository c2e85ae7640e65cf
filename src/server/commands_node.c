/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of nodes. */
#include <sys/random.h>

#include "codec/key.h"
#include "codec/uuid.h"
#include "server/encode.h"
#include "server/handlers.h"
#include "server/listing.h"

#define TTL_MIN_MS 100
#define TTL_MAX_MS 86400000

/* ---- NODE.JOIN ---- */

struct join {
    ls_bytes host;
    uint8_t id[16];
    bool has_id;
    uint64_t ttl_ms;
    ls_bytes meta;
};

static int parse_ttl(ls_bytes text, uint64_t *ttl_ms, struct ls_error *error)
{
    int rc = arg_number(text, "TTL", ttl_ms, error);
    if (rc == 0 && (*ttl_ms < TTL_MIN_MS || *ttl_ms > TTL_MAX_MS)) {
        rc = error_set(error, LS_EINVAL, 0, "TTL must be from %d to %d milliseconds", TTL_MIN_MS,
                       TTL_MAX_MS);
    }
    return rc;
}

static int parse_join(struct call *call, struct join *join)
{
    join->host = call->argv[1];
    join->ttl_ms = call->server->config.node_ttl;
    int rc = key_check_host(join->host, call->error);
    for (size_t at = 2; rc == 0 && at < call->argc; at += 2) {
        ls_bytes word = call->argv[at];
        if (at + 1 >= call->argc) {
            rc = arg_refuse(call->error, word, "ID uuid, TTL ms or META payload");
        } else if (arg_is(word, "ID")) {
            join->has_id = true;
            if (uuid_parse(join->id, call->argv[at + 1]) != 0) {
                rc = arg_refuse(call->error, call->argv[at + 1], "a UUID");
            }
        } else if (arg_is(word, "TTL")) {
            rc = parse_ttl(call->argv[at + 1], &join->ttl_ms, call->error);
        } else if (arg_is(word, "META")) {
            rc = payload_arg(call, at + 1, call->server->config.message_max, &join->meta);
            at++;
        } else {
            rc = arg_refuse(call->error, word, "ID uuid, TTL ms or META payload");
        }
    }
    return rc;
}

static int make_id(struct join *join, struct ls_error *error)
{
    uint8_t random[16];
    if (getrandom(random, sizeof random, 0) != sizeof random) {
        return error_set(error, LS_EINTERNAL, 0, "the system gives no random bytes");
    }
    uuid_from_random(join->id, random);
    return 0;
}

static void answer_join(struct pending *pending)
{
    struct request *request = &pending->request;
    struct server *server = pending->server;
    struct conn *conn = pending->conn;
    ls_bytes host = request->in.join.host;
    relay_leave(&server->nodes.joining, host);
    if (request->status != 0) {
        answer_error(conn, request->error);
        return;
    }
    struct binding binding = {.joined = request->clock, .host_size = (uint8_t)host.size};
    memcpy(binding.id, request->in.join.id, sizeof binding.id);
    memcpy(binding.host, host.data, host.size);
    if (conn->closed) {
        return; /* nobody is there to live this life: it ends with its ttl */
    }
    int rc =
        nodes_bind(&server->nodes, conn, &binding, request->in.join.ttl_ms, server_now_ms(server));
    if (rc != 0) {
        struct ls_error error;
        error_code(&error, rc);
        answer_error(conn, &error);
        return;
    }
    char id[UUID_TEXT_SIZE];
    uuid_format(id, binding.id);
    answer_array(conn, 3);
    answer_text(conn, id);
    answer_clock(conn, binding.joined);
    answer_clock(conn, request->number);
}

/* Takes the host for the time that the join is under way. */
static int reserve_host(struct call *call, struct pending *pending)
{
    struct nodes *nodes = &call->server->nodes;
    if (relay_join(&nodes->joining, pending->request.in.join.host, call->conn) != 0) {
        return error_code(call->error, LS_ENOMEM);
    }
    return 0;
}

int command_node_join(struct call *call)
{
    struct nodes *nodes = &call->server->nodes;
    struct join join = {0};
    int rc = parse_join(call, &join);
    if (rc == 0 && !join.has_id) {
        rc = make_id(&join, call->error);
    }
    if (rc != 0) {
        return rc;
    }
    if (nodes->epoch == 0) {
        return error_set(call->error, LS_ENOSPACE, 0, "the store takes no nodes yet");
    }
    if (relay_find(&nodes->joining, join.host) != NULL) {
        return error_set(call->error, LS_EINUSE, 0, "another join of this host is under way");
    }
    struct pending *pending =
        write_new(call, REQUEST_NODE_JOIN, join.host.size + join.meta.size, answer_join);
    if (pending == NULL) {
        return call->error->code;
    }
    struct request *request = &pending->request;
    request->as = NULL;
    request->in.join.host = queue_copy(pending, join.host);
    request->in.join.meta = queue_copy(pending, join.meta);
    memcpy(request->in.join.id, join.id, sizeof join.id);
    request->in.join.ttl_ms = join.ttl_ms;
    request->in.join.via = nodes->epoch;
    const struct relay_member *holder = relay_find(&nodes->star, join.host);
    bool own = holder != NULL && holder->who == call->conn; /* it may become another node */
    request->in.join.held = !own && presence_holds_other(nodes->presence, join.host, join.id);
    rc = reserve_host(call, pending);
    if (rc != 0) {
        queue_cancel(&call->server->queue, pending);
        return rc;
    }
    return write_add(call, pending);
}

/* ---- the life of a joined node ---- */

/* A write as the connection's node. */
static struct pending *node_write_new(struct call *call, enum request_kind kind,
                                      void (*answer)(struct pending *pending))
{
    if (call->conn->binding == NULL) {
        error_set(call->error, LS_ENOTJOINED, 0, "join as a node first");
        return NULL;
    }
    return write_new(call, kind, 0, answer);
}

int command_node_beat(struct call *call)
{
    int rc = nodes_verify(call->server, call->conn, call->error);
    return rc != 0 ? rc : command_clock_get(call);
}

int command_node_ack(struct call *call)
{
    uint64_t clock;
    int rc = arg_number(call->argv[1], "the clock", &clock, call->error);
    if (rc != 0) {
        return rc;
    }
    struct pending *pending = node_write_new(call, REQUEST_NODE_ACK, answer_change);
    if (pending == NULL) {
        return call->error->code;
    }
    pending->request.in.ack.clock = clock;
    return write_add(call, pending);
}

/* As node_state_from_name, but case does not matter. */
static int state_arg(ls_bytes arg)
{
    int state = NODE_DOWN;
    while (state >= 0 && !arg_is(arg, node_state_name((enum node_state)state))) {
        state--;
    }
    return state;
}

int command_node_state(struct call *call)
{
    int state = state_arg(call->argv[1]);
    if (state != NODE_UP && state != NODE_LEAVING) {
        return arg_refuse(call->error, call->argv[1], "up or leaving");
    }
    struct pending *pending = node_write_new(call, REQUEST_NODE_STATE, answer_change);
    if (pending == NULL) {
        return call->error->code;
    }
    pending->request.in.state.state = (enum node_state)state;
    return write_add(call, pending);
}

static void answer_leave(struct pending *pending)
{
    if (!write_failed(pending)) {
        nodes_forget(&pending->server->nodes, pending->conn);
        answer_clock(pending->conn, pending->request.clock);
    }
}

int command_node_leave(struct call *call)
{
    struct pending *pending = node_write_new(call, REQUEST_NODE_LEAVE, answer_leave);
    return pending == NULL ? call->error->code : write_add(call, pending);
}

/* ---- looking at nodes ---- */

static bool wants_json(const struct call *call, size_t at)
{
    return at < call->argc && arg_is(call->argv[at], "JSON");
}

int command_node_get(struct call *call)
{
    bool json = wants_json(call, 2);
    if (call->argc > 2 && !json) {
        return arg_refuse(call->error, call->argv[2], "JSON or nothing");
    }
    struct reading *reading = reads_get(&call->server->reads, call->error);
    if (reading == NULL) {
        return call->error->code;
    }
    struct node node;
    int rc = node_read(reading, call->argv[1], &node, call->error);
    if (rc == LS_ENOTFOUND) {
        answer_null(call->conn);
        return 0;
    }
    struct buf *scratch = server_scratch(call->server);
    if (rc == 0) {
        rc = encode_node(scratch, call->conn->proto, json, &node);
        rc = rc == 0 ? 0 : error_code(call->error, rc);
    }
    if (rc == 0) {
        answer_raw(call->conn, buf_bytes(scratch));
    }
    return rc;
}

int command_node_list(struct call *call)
{
    int state = NODES_ALL;
    size_t at = 1;
    if (at < call->argc && arg_is(call->argv[at], "STATE")) {
        state = at + 1 < call->argc ? state_arg(call->argv[at + 1]) : -1;
        if (state < 0) {
            return arg_refuse(call->error, call->argv[at], "STATE with up, leaving or down");
        }
        at += 2;
    }
    bool json = wants_json(call, at);
    at += json ? 1 : 0;
    if (at < call->argc) {
        return arg_refuse(call->error, call->argv[at], "STATE with a state, or JSON");
    }
    const struct listing_order order = {.state = state, .json = json};
    return listing_begin(call->conn, &order, call->error);
}
