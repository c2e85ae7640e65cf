/* SPDX-License-Identifier: Apache-2.0 */
/* Retention; the sequencer goes on with a request by itself while there is more to discard. */
#include "server/retain.h"

#include "base/log.h"
#include "server/server.h"

static void on_retained(struct pending *pending)
{
    struct server *server = pending->server;
    server->retaining = false;
    if (pending->request.status != 0) {
        log_write(LOG_WARNING, "cannot discard old messages: %s", pending->error.text);
        return;
    }
    server->stats.discarded += pending->request.number;
}

void retain_tick(struct server *server)
{
    const struct config *config = &server->config;
    bool wanted =
        config->retention_age > 0 || config->retention_count > 0 || config->retention_bytes > 0;
    if (!wanted || server->retaining) {
        return;
    }
    struct pending *pending = queue_new(&server->queue, 0);
    if (pending == NULL) {
        return;
    }
    pending->server = server;
    pending->answer = on_retained;
    pending->request.kind = REQUEST_RETAIN;
    pending->request.in.retain.keep = (struct retention){.age_ms = config->retention_age,
                                                         .count = config->retention_count,
                                                         .bytes = config->retention_bytes,
                                                         .hold = config->retention_hold};
    server->retaining = true;
    queue_add(&server->queue, pending);
}
