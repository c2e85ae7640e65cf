/* SPDX-License-Identifier: Apache-2.0 */
/* Bound nodes; see nodes.h. What is written to the store goes through the queue like all else. */
#include "server/nodes.h"

#include <stdlib.h>
#include <sys/ioctl.h>

#include "base/error.h"
#include "base/log.h"
#include "server/server.h"

#define BEAT_EVERY_MS 50
#define LOOK_AGAIN_MS 1000 /* after a failure */
#define LOOK_MAX      1000 /* nodes, in one go */

int nodes_init(struct nodes *nodes, uint64_t seed)
{
    *nodes = (struct nodes){0};
    return presence_open(&nodes->presence, seed);
}

void nodes_free(struct nodes *nodes)
{
    if (nodes->presence != NULL) {
        presence_close(nodes->presence);
    }
    relay_free(&nodes->star);
    relay_free(&nodes->joining);
}

int nodes_bind(struct nodes *nodes, struct conn *conn, const struct binding *binding,
               uint64_t ttl_ms, uint64_t now_ms)
{
    struct binding *copy = malloc(sizeof *copy);
    if (copy == NULL) {
        return LS_ENOMEM;
    }
    *copy = *binding;
    struct relay_member *holder = relay_find(&nodes->star, binding_host(copy));
    if (holder != NULL && holder->who != conn) {
        nodes_unbind(nodes, holder->who);
    }
    nodes_forget(nodes, conn);
    int rc = presence_bind(nodes->presence, copy, ttl_ms, now_ms);
    if (rc == 0) {
        rc = relay_join(&nodes->star, binding_host(copy), conn);
        if (rc != 0) {
            presence_unbind(nodes->presence, copy);
        }
    }
    if (rc != 0) {
        free(copy);
        return rc;
    }
    conn->binding = copy;
    conn->bound = true;
    conn->beat_ms = now_ms;
    return 0;
}

void nodes_heard(struct conn *conn)
{
    uint64_t now_ms = server_now_ms(conn->server);
    if (conn->bound && now_ms - conn->beat_ms >= BEAT_EVERY_MS) {
        conn->beat_ms = now_ms;
        nodes_beat(&conn->server->nodes, conn, now_ms);
    }
}

void nodes_unbind(struct nodes *nodes, struct conn *conn)
{
    if (conn->bound) {
        conn->bound = false;
        presence_unbind(nodes->presence, conn->binding);
        relay_leave(&nodes->star, binding_host(conn->binding));
    }
}

void nodes_forget(struct nodes *nodes, struct conn *conn)
{
    nodes_unbind(nodes, conn);
    free(conn->binding);
    conn->binding = NULL;
}

/* 1: it goes on; 0: it is over; or an error. */
static int life_goes_on(struct reading *reading, const struct binding *binding,
                        struct ls_error *error)
{
    struct node node;
    int rc = node_read(reading, binding_host(binding), &node, error);
    if (rc == LS_ENOTFOUND) {
        return 0;
    }
    return rc != 0 ? rc : node.joined == binding->joined && node.state != NODE_DOWN;
}

int nodes_verify(struct server *server, struct conn *conn, struct ls_error *error)
{
    if (conn->binding == NULL) {
        return error_set(error, LS_ENOTJOINED, 0, "join as a node first");
    }
    struct reading *reading = reads_get(&server->reads, error);
    if (reading == NULL) {
        return error->code;
    }
    int rc = conn->bound ? life_goes_on(reading, conn->binding, error) : 0;
    if (rc == 0) {
        nodes_unbind(&server->nodes, conn);
        return error_set(error, LS_ENOTJOINED, 0,
                         "the node '%s' was given up or taken over: join again",
                         conn->binding->host);
    }
    return rc < 0 ? rc : 0;
}

static void renewed(struct pending *pending)
{
    if (pending->request.status != 0 && pending->request.status != LS_ENOTJOINED) {
        log_write(LOG_WARNING, "cannot renew the beat of node '%s': %s", pending->request.as->host,
                  pending->error.text);
    }
}

static void renew(void *context, const struct binding *binding)
{
    struct server *server = context;
    struct pending *pending = queue_new(&server->queue, sizeof *binding);
    if (pending != NULL) {
        pending->server = server;
        pending->answer = renewed;
        pending->request.kind = REQUEST_NODE_BEAT;
        pending->request.as = queue_copy(pending, bytes_of(binding, sizeof *binding)).data;
        queue_add(&server->queue, pending);
    }
}

static void expired(struct pending *pending)
{
    struct request *request = &pending->request;
    struct server *server = pending->server;
    ls_bytes host = request->in.expire.host;
    if (request->status != 0) {
        log_write(LOG_WARNING, "cannot give up the late node '%.*s': %s", (int)host.size,
                  (const char *)host.data, pending->error.text);
        return;
    }
    if (request->number == 0) {
        return;
    }
    server->stats.expired++;
    log_write(LOG_NOTICE, "the node '%.*s' is down: no beat within its ttl", (int)host.size,
              (const char *)host.data);
    struct relay_member *member = relay_find(&server->nodes.star, host);
    struct conn *conn = member == NULL ? NULL : member->who;
    if (conn != NULL && conn->binding->joined == request->in.expire.joined) {
        nodes_unbind(&server->nodes, conn);
    }
}

static void expire(void *context, const struct node *node)
{
    struct server *server = context;
    struct pending *pending = queue_new(&server->queue, node->host.size);
    if (pending != NULL) {
        pending->server = server;
        pending->answer = expired;
        pending->request.kind = REQUEST_NODE_EXPIRE;
        pending->request.in.expire.host = queue_copy(pending, node->host);
        pending->request.in.expire.joined = node->joined;
        pending->request.in.expire.beat = node->beat;
        queue_add(&server->queue, pending);
    }
}

/* The life is over, which ends nothing else of the connection. */
static void over(void *context, const struct binding *binding)
{
    struct server *server = context;
    struct relay_member *member = relay_find(&server->nodes.star, binding_host(binding));
    struct conn *conn = member == NULL ? NULL : member->who;
    if (conn != NULL && conn->binding->joined == binding->joined) {
        nodes_unbind(&server->nodes, conn);
    }
}

/* What a node sends while it is not read from is a sign of life too. */
static void hear(struct conn *conn)
{
    uv_os_fd_t fd;
    int unread = 0;
    if (!conn->bound || uv_fileno(&conn->socket.handle, &fd) != 0 ||
        ioctl(fd, FIONREAD, &unread) != 0) {
        return;
    }
    if ((size_t)unread > conn->behind) {
        nodes_beat(&conn->server->nodes, conn, server_now_ms(conn->server));
    }
    conn->behind = (size_t)unread;
}

static void stop_looking(struct nodes *nodes)
{
    nodes->looking = false;
    reading_end(&nodes->reading);
}

/* Looks at some more: 0 where some are left, else the milliseconds until the next look. */
static uint64_t look(struct server *server)
{
    struct nodes *nodes = &server->nodes;
    const struct presence_calls calls = {renew, expire, over, server};
    struct ls_error error;
    int64_t wait_ms =
        presence_go_on(nodes->presence, LOOK_MAX, server_now_ms(server), &calls, &error);
    if (wait_ms != 0) {
        stop_looking(nodes);
    }
    if (wait_ms < 0) {
        log_write(LOG_ERROR, "cannot look after the nodes: %s", error.text);
        return LOOK_AGAIN_MS;
    }
    return (uint64_t)wait_ms;
}

static int begin(struct server *server, struct ls_error *error)
{
    struct nodes *nodes = &server->nodes;
    int rc = reading_begin(&nodes->reading, server->store, error);
    if (rc != 0) {
        return rc;
    }
    rc = presence_begin(nodes->presence, &nodes->reading, error);
    if (rc != 0) {
        reading_end(&nodes->reading);
        return rc;
    }
    nodes->looking = true;
    return 0;
}

uint64_t nodes_tick(struct server *server)
{
    struct ls_error error;
    if (server->nodes.looking) {
        return look(server);
    }
    LIST_EACH(at, after, &server->unread)
    {
        hear(LINK_OWNER(at, struct conn, unread));
    }
    if (begin(server, &error) != 0) {
        log_write(LOG_ERROR, "cannot look after the nodes: %s", error.text);
        return LOOK_AGAIN_MS;
    }
    return look(server);
}

void nodes_stop(struct server *server)
{
    if (server->nodes.looking) {
        presence_break_off(server->nodes.presence);
        stop_looking(&server->nodes);
    }
}
