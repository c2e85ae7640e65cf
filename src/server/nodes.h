/*
 * The nodes that are bound to connections of this process: their beats, the star that the relay
 * routes over, and the end of a life. A connection is unbound as soon as this process knows that
 * the life it was bound to is over; the coordinator refuses what it does as that node anyway.
 */
#ifndef LS_SERVER_NODES_H
#define LS_SERVER_NODES_H

#include "relay/route.h"
#include "sequencer/presence.h"
#include "server/conn.h"

struct nodes {
    struct presence *presence;
    struct relay_star star;    /* bound connections by host */
    struct relay_star joining; /* connections whose join is under way, by the host they want */
    uint64_t epoch;            /* of this process; 0: not known yet */
    bool looking;              /* after all nodes, over some turns, in `reading` */
    struct reading reading;
};

/* `seed`: a secret number. 0 or LS_ENOMEM. */
int nodes_init(struct nodes *nodes, uint64_t seed);
void nodes_free(struct nodes *nodes);

/* Makes the connection act as this life of a node, and whoever else was bound to the host no
 * longer. 0 or LS_ENOMEM. */
int nodes_bind(struct nodes *nodes, struct conn *conn, const struct binding *binding,
               uint64_t ttl_ms, uint64_t now_ms);

/* The connection is no longer bound; what it was stays in conn->binding. */
void nodes_unbind(struct nodes *nodes, struct conn *conn);

/* The same, and forgets what it was: the connection acts as nobody. No write may be unanswered. */
void nodes_forget(struct nodes *nodes, struct conn *conn);

static inline void nodes_beat(struct nodes *nodes, struct conn *conn, uint64_t now_ms)
{
    presence_beat(nodes->presence, conn->binding, now_ms);
}

/* Whether the connection's life goes on, looked up in the store: 0, LS_ENOTJOINED, or an error. */
int nodes_verify(struct server *server, struct conn *conn, struct ls_error *error);

/* Something came from the connection: a beat, where it is bound. */
void nodes_heard(struct conn *conn);

/* Looks after all nodes: renews beats, gives up those that are late, unbinds those whose lives
 * ended. Many are looked at over several turns: 0 says that it is to be called in the next one,
 * else it is the milliseconds until it wants to be called again. */
uint64_t nodes_tick(struct server *server);
void nodes_stop(struct server *server);

#endif
