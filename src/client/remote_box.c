/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clock and the message box of a remote handle. A read that does not wait goes over the
 * pipeline; one that waits takes a connection of its own, in slices, so that it can beat in between
 * and finds out when the server is gone.
 *
 * A numbered post (`once`) that failed stays in doubt: the same post again gets the same
 * number, so that it is there once whether or not the first one arrived; another post first finds
 * out which numbers are used.
 */
#include <stdlib.h>

#include "base/error.h"
#include "base/hash.h"
#include "client/remote.h"
#include "client/remote_reply.h"

/* ---- clock ---- */

int remote_clock_get(struct ls *handle, uint64_t *clock, struct ls_error *error)
{
    const ls_bytes argv[] = {bytes_of_text("CLOCK.GET")};
    return remote_number(remote_of(handle), 1, argv, true, false, clock, error);
}

int remote_clock_next(struct ls *handle, uint64_t count, uint64_t *first, struct ls_error *error)
{
    struct number_text text;
    const ls_bytes argv[] = {bytes_of_text("CLOCK.NEXT"), number_text(&text, count)};
    return remote_number(remote_of(handle), 2, argv, true, false, first, error);
}

int remote_clock_witness(struct ls *handle, uint64_t seen, uint64_t *clock, struct ls_error *error)
{
    struct number_text text;
    const ls_bytes argv[] = {bytes_of_text("CLOCK.WITNESS"), number_text(&text, seen)};
    return remote_number(remote_of(handle), 2, argv, true, false, clock, error);
}

/* ---- posting ---- */

/* One post as one request; `seq` 0: not numbered. */
static int send_post(struct remote *remote, const struct post *post, uint64_t seq, uint64_t *clock,
                     struct ls_error *error)
{
    struct number_text carried;
    struct number_text number;
    ls_bytes argv[11];
    size_t argc = 0;

    argv[argc++] = bytes_of_text("MSG.POST");
    argv[argc++] = bytes_of(&post->type, 1);
    argv[argc++] = post->event != 0 ? bytes_of(&post->event, 1) : bytes_of_text("-");
    if (post->to.size > 0) {
        argv[argc++] = bytes_of_text("TO");
        argv[argc++] = post->to;
    }
    if (post->has_clock) {
        argv[argc++] = bytes_of_text("CLOCK");
        argv[argc++] = number_text(&carried, post->clock);
    }
    if (seq != 0) {
        argv[argc++] = bytes_of_text("SEQ");
        argv[argc++] = number_text(&number, seq);
    }
    argv[argc++] = bytes_of_text("CBOR");
    argv[argc++] = post->object;
    return remote_number(remote, argc, argv, seq != 0, true, clock, error);
}

/* What makes a post the same post; the carried clock, which grows with every attempt, does not. */
static uint64_t post_hash(const struct post *post)
{
    const uint8_t kind[2] = {post->type, post->event};
    const ls_bytes parts[] = {bytes_of(kind, sizeof kind), post->to, post->object};
    return hash64_parts(parts, sizeof parts / sizeof parts[0], post->to.size);
}

int numbered_take(struct remote *remote, struct ls_error *error)
{
    struct numbered *numbered = &remote->numbered;
    struct deadline deadline = deadline_in(remote->peer.timeout_ms);
    struct timespec at = deadline_time(&deadline);
    int late = 0;

    pthread_mutex_lock(&numbered->lock);
    while (numbered->taken && late == 0) {
        late = pthread_cond_timedwait(&numbered->given_up, &numbered->lock, &at);
    }
    bool taken = !numbered->taken;
    numbered->taken = true;
    pthread_mutex_unlock(&numbered->lock);
    return taken ? 0
                 : error_set(error, LS_ECONN, 0,
                             "the time is up: a numbered post before this one has no answer yet");
}

void numbered_give(struct remote *remote)
{
    struct numbered *numbered = &remote->numbered;
    pthread_mutex_lock(&numbered->lock);
    numbered->taken = false;
    pthread_cond_signal(&numbered->given_up);
    pthread_mutex_unlock(&numbered->lock);
}

/* With the turn taken. Whatever fails leaves the post in doubt, but for what the server says of the
 * numbers: an attempt whose connection was lost may have been taken before the one that failed. */
static int post_numbered(struct remote *remote, const struct post *post, uint64_t *clock,
                         struct ls_error *error)
{
    struct numbered *numbered = &remote->numbered;
    uint64_t hash = post_hash(post);
    bool unsure = numbered->in_doubt;
    /* Another post than the one in doubt takes the number after it, which the server refuses where
     * the one in doubt is not there. */
    uint64_t seq = numbered->last + (unsure && numbered->doubtful != hash ? 2 : 1);

    for (;;) {
        int rc = send_post(remote, post, seq, clock, error);
        if (rc == 0) {
            numbered->last = seq;
            numbered->in_doubt = false;
        } else if (rc == LS_ESEQGAP || rc == LS_EDUPLICATE) {
            numbered->last = error->number;
            numbered->in_doubt = false;
            if (rc == LS_ESEQGAP && unsure) {
                unsure = false;
                seq = numbered->last + 1;
                continue;
            }
        } else {
            numbered->last = seq - 1;
            numbered->in_doubt = true;
            numbered->doubtful = hash;
        }
        return rc;
    }
}

int remote_post(struct ls *handle, const struct post *post, uint64_t *clock, struct ls_error *error)
{
    struct remote *remote = remote_of(handle);
    if (!post->once) {
        return send_post(remote, post, 0, clock, error);
    }
    int rc = numbered_take(remote, error);
    if (rc != 0) {
        return rc;
    }
    rc = post_numbered(remote, post, clock, error);
    numbered_give(remote);
    return rc;
}

/* ---- reading ---- */

/* The longest that the server is asked to wait at once. */
#define READ_SLICE_MS 2000

static int take_messages(struct pipeline *pipeline, void *out, const struct resp_reply *reply,
                         struct ls_error *error)
{
    struct ls_messages *list = out;
    (void)pipeline;

    if (reply->values->type != RESP_ARRAY) {
        return reply_unexpected("MSG.READ", error);
    }
    const struct resp_value *value = reply->values->count > 0 ? reply->values + 1 : NULL;
    for (; value != NULL; value = resp_next(reply, value)) {
        ls_message message;
        int rc = reply_message(reply, value, &message, error);
        if (rc != 0) {
            return rc;
        }
        if (messages_add(list, &message) != 0) {
            return error_code(error, LS_ENOMEM);
        }
    }
    return 0;
}

/* A read as a request; the last argument is how long the server may wait. */
struct read_request {
    struct number_text from;
    struct number_text count;
    struct number_text block;
    ls_bytes argv[12];
    size_t argc;
};

static void read_request_make(struct read_request *out, uint64_t from, const ls_filter *filter,
                              size_t max)
{
    out->argc = 0;
    out->argv[out->argc++] = bytes_of_text("MSG.READ");
    out->argv[out->argc++] = from == LS_OLDEST ? bytes_of_text("-") : number_text(&out->from, from);
    out->argv[out->argc++] = bytes_of_text("COUNT");
    out->argv[out->argc++] = number_text(&out->count, max);
    filter_arguments(filter, out->argv, &out->argc);
}

/* Asks once, for a slice of the time. 0 with or without messages, or why not. */
static int read_slice(struct remote *remote, struct stream *stream, struct read_request *request,
                      const struct deadline *deadline, struct ls_messages *out,
                      struct ls_error *error)
{
    struct deadline beat = pipeline_beat(&remote->pipeline, deadline);
    struct deadline slice = deadline_within(&beat, READ_SLICE_MS);
    int64_t wait_ms = deadline_left(&slice);

    if (!stream_is_open(stream)) {
        struct deadline connecting = deadline_in(remote->peer.timeout_ms);
        int rc = stream_open(stream, &remote->peer, &connecting, error);
        if (rc != 0) {
            return rc;
        }
    }
    ls_bytes *argv = request->argv;
    size_t argc = request->argc;
    argv[argc++] = bytes_of_text("BLOCK");
    argv[argc++] = number_text(&request->block, wait_ms > 0 ? (uint64_t)wait_ms : 1);
    struct deadline answer = deadline_in(wait_ms + remote->peer.timeout_ms);
    int rc = stream_request(stream, argc, argv, &answer, error);
    if (rc != 0) {
        stream_close(stream);
        return rc;
    }
    const struct resp_reply *reply = &stream->reply;
    if (reply->values->type == RESP_ERROR) {
        return reply_error(reply->values, error);
    }
    return take_messages(NULL, out, reply, error);
}

static int read_waiting(struct remote *remote, struct read_request *request,
                        const struct deadline *deadline, struct ls_messages *out,
                        struct ls_error *error)
{
    struct stream stream = readers_borrow(&remote->readers);
    struct backoff backoff = {0};
    struct deadline give_up = {.none = true}; /* while the server cannot be reached */
    int rc;

    for (;;) {
        rc = read_slice(remote, &stream, request, deadline, out, error);
        if (rc == 0) {
            if (out->count > 0 || deadline_passed(deadline)) {
                break;
            }
            backoff = (struct backoff){0};
            give_up.none = true;
            continue;
        }
        stream_close(&stream);
        if (!stream_may_recover(rc) || out->count > 0) {
            break;
        }
        if (give_up.none) {
            give_up = deadline_in(remote->peer.timeout_ms);
        } else {
            backoff_grow(&backoff, &remote->peer);
        }
        if (!backoff_wait(&backoff, &give_up)) {
            break;
        }
    }
    readers_return(&remote->readers, &stream);
    return rc;
}

int remote_box_read(struct ls *handle, uint64_t from, const ls_filter *filter, size_t max,
                    int64_t timeout_ms, struct ls_messages *out, struct ls_error *error)
{
    struct remote *remote = remote_of(handle);
    struct read_request request;

    read_request_make(&request, from, filter, max);
    if (timeout_ms == 0) {
        return remote_read(remote, request.argc, request.argv, take_messages, out, error);
    }
    struct deadline deadline = deadline_in(timeout_ms);
    return read_waiting(remote, &request, &deadline, out, error);
}

/* ---- the box itself ---- */

static int take_box_info(struct pipeline *pipeline, void *out, const struct resp_reply *reply,
                         struct ls_error *error)
{
    (void)pipeline;
    return reply_box_info(reply, out, error);
}

int remote_box_info(struct ls *handle, ls_box_info *out, struct ls_error *error)
{
    const ls_bytes argv[] = {bytes_of_text("MSG.INFO")};
    return remote_read(remote_of(handle), 1, argv, take_box_info, out, error);
}

static int trim(struct ls *handle, const char *how, uint64_t number, uint64_t *discarded,
                struct ls_error *error)
{
    struct number_text text;
    const ls_bytes argv[] = {bytes_of_text("MSG.TRIM"), bytes_of_text(how),
                             number_text(&text, number)};
    return remote_number(remote_of(handle), 3, argv, true, false, discarded, error);
}

int remote_trim_before(struct ls *handle, uint64_t before, uint64_t *discarded,
                       struct ls_error *error)
{
    return trim(handle, "BEFORE", before, discarded, error);
}

int remote_trim_older(struct ls *handle, uint64_t age_ms, uint64_t *discarded,
                      struct ls_error *error)
{
    return trim(handle, "OLDER", age_ms, discarded, error);
}
