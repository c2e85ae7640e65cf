/* SPDX-License-Identifier: Apache-2.0 */
/* Whose transactions are open, and the tick; see txns.h for the rules. */
#include "server/txns.h"

#include <stdlib.h>

#include "base/log.h"
#include "server/server.h"

#define SPARE_SIZE_MAX ((size_t)4096)
#define GRACE_MS       1000 /* how long after its TTL one is still known */
#define TICK_AGAIN_MS  1000 /* after a failure */

/* One that a connection has open, as far as is known. */
struct own_txn {
    struct link link; /* of the connection */
    struct conn *conn;
    uint64_t timestamp;
    uint64_t until_ms;
};

/* ---- calls ---- */

struct txn_call *txns_call(const struct pending *pending)
{
    return (struct txn_call *)(uintptr_t)pending->extra;
}

bool txns_may_wait(enum txn_kind kind)
{
    return kind == TXN_BEGIN || kind == TXN_READ || kind == TXN_RUN || kind == TXN_GET;
}

struct pending *txns_new(struct server *server, enum txn_kind kind, size_t bytes,
                         struct txn_call **call)
{
    bool waits = txns_may_wait(kind);
    struct txns *txns = &server->txns;
    size_t size = sizeof **call + bytes;
    struct pending *pending = waits ? queue_new_alone(size) : queue_new(&server->queue, size);
    if (pending == NULL) {
        return NULL;
    }
    *call = queue_room(pending, sizeof **call);
    **call = (struct txn_call){.kind = kind, .memory = pending->bytes};
    pending->may_wait = waits;
    if (waits && txns->spare_count > 0) {
        (*call)->bytes = txns->spare[--txns->spare_count];
    }
    pending->server = server;
    pending->extra = (uint64_t)(uintptr_t)*call;
    return pending;
}

void txns_done(struct pending *pending)
{
    struct txns *txns = &pending->server->txns;
    struct txn_call *call = txns_call(pending);
    if (call->bytes.capacity > 0 && call->bytes.capacity <= SPARE_SIZE_MAX &&
        txns->spare_count < sizeof txns->spare / sizeof txns->spare[0]) {
        call->bytes.size = 0;
        txns->spare[txns->spare_count++] = call->bytes;
        call->bytes = (struct buf){0};
    }
    txn_call_free(call);
}

void txns_cancel(struct pending *pending)
{
    txns_done(pending);
    queue_cancel(&pending->server->queue, pending);
}

/* ---- whose they are ---- */

static void own_free(struct txns *txns, struct own_txn *own)
{
    map_remove(&txns->open, own->timestamp);
    list_remove(&own->link);
    free(own);
}

static void released(struct pending *pending)
{
    if (pending->request.status != 0 && pending->request.status != LS_ESHUTDOWN) {
        log_write(LOG_WARNING, "cannot release a transaction, its time will: %s",
                  pending->error.text);
    }
    txns_done(pending);
}

/* Without memory its TTL ends it. */
static void release(struct server *server, uint64_t timestamp)
{
    struct txn_call *call;
    struct pending *pending = txns_new(server, TXN_RELEASE, 0, &call);
    if (pending != NULL) {
        pending->answer = released;
        call->timestamp = timestamp;
        txn_request(&pending->request, call);
        queue_add(&server->queue, pending);
    }
}

static void begun_released(struct pending *pending)
{
    struct pending *begin = txns_call(pending)->begun->request->owner;
    released(pending);
    queue_let_go(&pending->server->queue, begin);
}

/* What a TXN.BEGIN that is not answered yet has begun, or will have when the release gets there.
 * Whether it has, only the sequencer knows. */
static void release_begun(struct pending *begin)
{
    struct server *server = begin->server;
    struct txn_call *call;
    struct pending *pending = txns_new(server, TXN_RELEASE, 0, &call);
    if (pending != NULL) {
        queue_hold(begin);
        pending->answer = begun_released;
        call->begun = txns_call(begin);
        txn_request(&pending->request, call);
        queue_add(&server->queue, pending);
    }
}

static bool is_begin(const struct pending *pending)
{
    return pending->request.kind == REQUEST_EXTENSION && txns_call(pending)->kind == TXN_BEGIN;
}

void txns_abandon(struct pending *pending)
{
    if (pending->request.status == LS_ESHUTDOWN && pending->request.clock != 0) {
        release(pending->server, pending->request.clock);
    }
}

/* Forgets what is long over. Looking at two for each that comes keeps those few. */
static void forget_late(struct conn *conn)
{
    struct server *server = conn->server;
    for (int i = 0; i < 2 && !list_empty(&conn->txns); i++) {
        struct own_txn *own = LINK_OWNER(conn->txns.next, struct own_txn, link);
        if (server_now_ms(server) > own->until_ms) {
            own_free(&server->txns, own);
        } else {
            list_remove(&own->link);
            list_append(&conn->txns, &own->link);
        }
    }
}

int txns_own(struct conn *conn, uint64_t timestamp, uint64_t ttl_ms)
{
    struct server *server = conn->server;
    bool ends = conn->closed || server->stopping || (conn->eof && conn->in.size == conn->in_start);
    if (ends) {
        release(server, timestamp);
        return 0;
    }
    forget_late(conn);
    struct own_txn *own = calloc(1, sizeof *own);
    if (own == NULL || map_put(&server->txns.open, timestamp, own) != 0) {
        free(own);
        release(server, timestamp);
        return LS_ENOMEM;
    }
    own->conn = conn;
    own->timestamp = timestamp;
    own->until_ms = server_now_ms(server) + ttl_ms + GRACE_MS;
    list_append(&conn->txns, &own->link);
    return 0;
}

bool txns_is_own(const struct conn *conn, uint64_t timestamp)
{
    const struct own_txn *own = map_get(&conn->server->txns.open, timestamp);
    return own != NULL && own->conn == conn;
}

void txns_forget(struct server *server, uint64_t timestamp)
{
    struct own_txn *own = map_get(&server->txns.open, timestamp);
    if (own != NULL) {
        own_free(&server->txns, own);
    }
}

void txns_end(struct conn *conn)
{
    struct server *server = conn->server;
    for (struct pending *at = conn->ended ? NULL : conn->oldest; at != NULL; at = at->behind) {
        if (is_begin(at)) {
            release_begun(at);
        }
    }
    conn->ended = true;
    while (!list_empty(&conn->txns)) {
        struct own_txn *own = LINK_OWNER(conn->txns.next, struct own_txn, link);
        release(server, own->timestamp);
        own_free(&server->txns, own);
    }
}

/* ---- the tick ---- */

static void on_timer(uv_timer_t *timer);

/* Sets the timer, unless it fires before that. */
static void fire_in(struct server *server, uint64_t ms)
{
    struct txns *txns = &server->txns;
    uint64_t due_ms = server_now_ms(server) + ms;
    if (txns->due_ms == 0 || due_ms < txns->due_ms) {
        txns->due_ms = due_ms;
        uv_timer_start(&txns->timer, on_timer, ms, 0);
    }
}

static void ticked(struct pending *pending)
{
    struct server *server = pending->server;
    server->txns.ticking = false;
    bool failed = pending->request.status != 0;
    if (failed && pending->request.status != LS_ESHUTDOWN) {
        log_write(LOG_WARNING, "cannot look after the transactions: %s", pending->error.text);
    }
    txns_done(pending);
    if (failed) {
        fire_in(server, TICK_AGAIN_MS);
    } else {
        txns_look(server);
    }
}

static void tick(struct server *server)
{
    struct txn_call *call;
    struct pending *pending =
        server->txns.ticking || server->stopping ? NULL : txns_new(server, TXN_TICK, 0, &call);
    if (pending == NULL) {
        fire_in(server, TICK_AGAIN_MS);
        return;
    }
    server->txns.ticking = true;
    pending->answer = ticked;
    txn_request(&pending->request, call);
    queue_add(&server->queue, pending);
}

static void on_timer(uv_timer_t *timer)
{
    struct server *server = timer->loop->data;
    server->txns.due_ms = 0;
    if (!server->stopping) {
        tick(server);
    }
}

void txns_look(struct server *server)
{
    if (!server->txns.ticking && !server->stopping) {
        fire_in(server, (uint64_t)txn_wait_ms(server->txns.txn));
    }
}

void txns_woken(struct server *server)
{
    struct txn_counters counters;
    txn_counters(server->txns.txn, &counters);
    if (counters.parked > 0 && !server->txns.ticking) {
        tick(server);
    }
}

size_t txns_parked_bytes(const struct server *server)
{
    struct txn_counters counters;
    txn_counters(server->txns.txn, &counters);
    return counters.parked_bytes;
}

void txns_free(struct txns *txns)
{
    while (txns->spare_count > 0) {
        buf_free(&txns->spare[--txns->spare_count]);
    }
    map_free(&txns->open);
}
