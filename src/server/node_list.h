/*
 * NODE.LIST. A list of many nodes is gathered over several turns of the loop, in which its
 * connection runs no other command, and is answered whole. It is of one commit, which is not before
 * the command.
 */
#ifndef LS_SERVER_NODE_LIST_H
#define LS_SERVER_NODE_LIST_H

#include "server/conn.h"

struct node_list;

/* Answers with the nodes of the state (NODES_ALL: every one), or leaves that under way. */
int node_list_begin(struct conn *conn, int state, bool json, struct ls_error *error);
void node_list_end(struct conn *conn);
size_t node_list_memory(const struct node_list *list); /* NULL: 0 */

/* Lets the first of those under way look at some more. True where any is left. */
bool node_lists_go_on(struct server *server);
/* Answers each with the error. */
void node_lists_refuse(struct server *server, const struct ls_error *error);

#endif
