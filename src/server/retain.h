/* Discarding old messages in the background, one small transaction after another. */
#ifndef LS_SERVER_RETAIN_H
#define LS_SERVER_RETAIN_H

struct server;

/* Once a second: asks for a step of retention, unless none is wanted or one is under way. */
void retain_tick(struct server *server);

#endif
