/*
 * Requests of a remote handle that may wait long at the server: each borrows a connection, so that
 * it holds up nobody else.
 */
#ifndef LS_CLIENT_REMOTE_ASK_H
#define LS_CLIENT_REMOTE_ASK_H

#include "client/remote.h"

struct ask {
    size_t argc;
    const ls_bytes *argv;
    uint64_t wait_ms; /* how long the server may have to wait */
    bool repeats;     /* to do it twice does no harm */
};

/* Asks on a borrowed connection, again and again as long as nothing was done. On success it is the
 * caller's, to be given to readers_return, with the reply; on failure it was given back or closed.
 * The server's refusal; LS_ECONN, which says so where the outcome is not known. */
int ask_server(struct remote *remote, struct stream *stream, const struct ask *ask,
               struct ls_error *error);

/* The steps of it, for one who keeps the connection. Waits for the answer to what was sent, and
 * keeps beating: 0 with the reply in the stream. */
int ask_wait(struct remote *remote, struct stream *stream, uint64_t wait_ms,
             struct ls_error *error);
/* The code of an answer that says no, else 0. */
int ask_refusal(const struct stream *stream, struct ls_error *error);
/* LS_ECONN: what was sent got no answer, for the reason that *error has so far. */
int ask_in_doubt(struct ls_error *error);

/* A value in a reply, with data NULL exactly where it is absent. */
int ask_value(const struct resp_value *value, ls_bytes *out, struct ls_error *error);

#endif
