/* Where clients come in: sockets that listen, and what a connection too many is told. */
#ifndef LS_SERVER_LISTEN_H
#define LS_SERVER_LISTEN_H

#include "server/server.h"

/* Opens every address of the setting `listen`. LS_EINVAL for what is no address, LS_EIO where it
 * cannot be had; those already open stay so until listen_close. */
int listen_open(struct server *server, struct ls_error *error);

/* Lets clients in. */
int listen_start(struct server *server, struct ls_error *error);

/* Lets in whom there was no memory for. */
void listen_tick(struct server *server);

void listen_close(struct server *server);

/* Raises the limit of open files to what connections-max needs, and sets how many there may be:
 * fewer, and logged, where the system does not allow so many. */
void listen_set_limit(struct server *server);

#endif
