/*
 * NODE.LIST and OBJ.SCAN: what of many nodes or objects is answered whole. Where it is long, it is
 * gathered over several turns of the loop, in which its connection runs no other command. It is of
 * one commit, which is not before the command.
 */
#ifndef LS_SERVER_LISTING_H
#define LS_SERVER_LISTING_H

#include "server/conn.h"

struct listing;

/* What is asked for. */
struct listing_order {
    bool objects; /* else nodes */

    int state; /* of nodes: enum node_state, or NODES_ALL */
    bool json;

    ls_bytes prefix; /* of objects; as objects_open */
    ls_bytes after;
    uint64_t count_max;
    size_t size_max; /* about so many bytes of reply */
};

/* Answers with what is asked for, or leaves that under way. The order is copied. */
int listing_begin(struct conn *conn, const struct listing_order *order, struct ls_error *error);
void listing_end(struct conn *conn);
size_t listing_memory(const struct listing *listing); /* NULL: 0 */

/* Lets the first of those under way look at some more. True where any is left. */
bool listings_go_on(struct server *server);
/* Answers each with the error. */
void listings_refuse(struct server *server, const struct ls_error *error);

#endif
