/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking on a borrowed connection. A request that was not sent whole, or that a server which starts
 * or stops did not do, is sent again; one that was sent and not answered only where that does no
 * harm.
 */
#include "client/remote_ask.h"

#include "base/error.h"
#include "client/remote_reply.h"

int ask_wait(struct remote *remote, struct stream *stream, uint64_t wait_ms, struct ls_error *error)
{
    struct deadline deadline = deadline_in((int64_t)wait_ms + remote->peer.timeout_ms);
    for (;;) {
        struct deadline soon = pipeline_beat(&remote->pipeline, &deadline);
        int rc = stream_wait(stream, &soon, error);
        if (rc != 0) {
            return rc < 0 ? rc : 0;
        }
        if (deadline_passed(&deadline)) {
            return error_set(error, LS_ECONN, 0, "the server did not answer in time");
        }
    }
}

int ask_refusal(const struct stream *stream, struct ls_error *error)
{
    const struct resp_value *value = stream->reply.values;
    return value->type == RESP_ERROR ? reply_error(value, error) : 0;
}

int ask_in_doubt(struct ls_error *error)
{
    char why[sizeof error->text];
    memcpy(why, error->text, sizeof why);
    return error_set(error, LS_ECONN, 0,
                     "%.150s; the request was sent, and its outcome is not known", why);
}

/* Opens where need be, sends, and waits for the answer, whatever it says. */
static int exchange(struct remote *remote, struct stream *stream, const struct ask *ask,
                    const struct deadline *connecting, bool *sent, struct ls_error *error)
{
    int rc = 0;
    *sent = false;
    if (!stream_is_open(stream)) {
        rc = stream_open(stream, &remote->peer, connecting, error);
    }
    if (rc == 0) {
        rc = stream_send(stream, ask->argc, ask->argv, connecting, error);
    }
    if (rc == 0) {
        *sent = true;
        rc = ask_wait(remote, stream, ask->wait_ms, error);
    }
    return rc;
}

int ask_server(struct remote *remote, struct stream *stream, const struct ask *ask,
               struct ls_error *error)
{
    struct deadline connecting = deadline_in(remote->peer.timeout_ms);
    struct backoff backoff = {0};
    int rc;
    do {
        bool sent;
        *stream = readers_borrow(&remote->readers);
        rc = exchange(remote, stream, ask, &connecting, &sent, error);
        if (rc == 0) {
            rc = ask_refusal(stream, error);
            if (rc == 0) {
                return 0;
            }
            if (!stream_may_recover(rc)) {
                readers_return(&remote->readers, stream);
                return rc;
            }
            /* The server is starting or stopping, and did nothing. */
        } else if (sent && !ask->repeats) {
            stream_close(stream);
            return ask_in_doubt(error);
        }
        stream_close(stream);
        backoff_grow(&backoff, &remote->peer);
    } while (stream_may_recover(rc) && backoff_wait(&backoff, &connecting));
    return rc;
}

int ask_value(const struct resp_value *value, ls_bytes *out, struct ls_error *error)
{
    if (value != NULL && value->type == RESP_NULL) {
        *out = bytes_of(NULL, 0);
        return 0;
    }
    if (value != NULL && (value->type == RESP_BULK || value->type == RESP_SIMPLE)) {
        *out = value->text.size != 0 ? value->text : bytes_of("", 0);
        return 0;
    }
    return error_set(error, LS_EPROTO, 0, "a reply has something else where a value belongs");
}
