/*
 * Whom a remote handle talks to, and as whom: what a lockstep:// URL and the options say.
 *
 *   lockstep://[USER:PASSWORD@]HOST[:PORT]
 *
 * An IPv6 address stands in brackets. An empty USER is "default". %XX is a byte of USER or
 * PASSWORD.
 */
#ifndef LS_CLIENT_REMOTE_PEER_H
#define LS_CLIENT_REMOTE_PEER_H

#include "client/handle.h"
#include "lockstep.h"

#define PEER_PORT_DEFAULT       "7411"
#define PEER_TIMEOUT_MS_DEFAULT 5000

struct peer {
    struct arena arena;   /* of the texts */
    const char *host;     /* without brackets */
    const char *port;     /* decimal */
    const char *user;     /* never NULL */
    const char *password; /* NULL: none is sent */
    const char *name;     /* NULL: none */
    int64_t timeout_ms;
};

/* What the options name wins over what the URL does. 0, LS_EINVAL with a sentence that says what is
 * wrong with the URL (and never repeats a password), LS_ENOMEM. */
int peer_from_url(struct peer *out, const char *url, const ls_options *options,
                  struct ls_error *error);
void peer_free(struct peer *peer);

#endif
