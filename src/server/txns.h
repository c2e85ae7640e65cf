/*
 * Transactions of clients: which connection began which, and their end with it. What a transaction
 * is and does is txn.h's.
 *
 * Rules:
 *  1. A transaction belongs to the connection that began it, until it is over or the connection
 *     ends or will send no more commands; then it is released, also where its TXN.BEGIN still waits
 *     or is not answered for another reason.
 *  2. It is forgotten here some time after its TTL, so that what a connection leaves open takes no
 *     memory for ever.
 *  3. One TXN_TICK is under way at most, and one is asked for when it is due or when another
 *     process committed while something waits.
 */
#ifndef LS_SERVER_TXNS_H
#define LS_SERVER_TXNS_H

#include <uv.h>

#include "server/map.h"
#include "txn/txn.h"

struct conn;
struct pending;
struct server;

struct txns {
    struct txn *txn;
    struct map open; /* by timestamp: what connections of this server began */
    uv_timer_t timer;
    uint64_t due_ms; /* when the timer fires, on the loop's clock; 0: it is not set */
    bool ticking;
    struct buf spare[256]; /* for results */
    size_t spare_count;
};

/* Whether a call of the kind may wait for a transaction. */
bool txns_may_wait(enum txn_kind kind);

/* A pending that carries the call, whose arguments take `bytes`. It may come back late: it has
 * memory of its own where it may wait. NULL: no memory. The call is zeroed but for its kind. */
struct pending *txns_new(struct server *server, enum txn_kind kind, size_t bytes,
                         struct txn_call **call);
/* Instead of submitting it: it is not wanted after all. */
void txns_cancel(struct pending *pending);
/* The call of a pending made above. */
struct txn_call *txns_call(const struct pending *pending);
/* Frees what the call's results took, once it was answered. */
void txns_done(struct pending *pending);

/* The connection began it: 0, or LS_ENOMEM and it is released. */
int txns_own(struct conn *conn, uint64_t timestamp, uint64_t ttl_ms);
bool txns_is_own(const struct conn *conn, uint64_t timestamp);
/* It is over. */
void txns_forget(struct server *server, uint64_t timestamp);
/* The server stops, and the call failed though its transaction, which nobody else knows of, may be
 * open: it is released. */
void txns_abandon(struct pending *pending);
/* The connection will end none of its transactions any more, and begin none. */
void txns_end(struct conn *conn);

/* What is due may have changed. */
void txns_look(struct server *server);
/* Another process committed. */
void txns_woken(struct server *server);

/* Bytes of the queue that wait for transactions, as of the last batch. */
size_t txns_parked_bytes(const struct server *server);

void txns_free(struct txns *txns);

#endif
