/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches of a remote handle. Each has a connection of its own, over which the server pushes; what
 * is handed out points into the bytes received. A watch whose connection is lost connects again
 * while it is waited on: a box watch goes on at the clock after the last one it gave, an object
 * watch says LS_OBJECT_RESYNC and begins anew.
 */
#include <stdlib.h>

#include "base/error.h"
#include "client/remote.h"
#include "client/remote_reply.h"

/* ---- what both kinds share ---- */

/* A connection that asks for pushes when it begins. */
struct feed {
    struct remote *remote;
    struct stream stream;
    struct backoff backoff;
    struct deadline give_up; /* while there is no connection; none: there is one */
    bool proven;             /* something was pushed on this connection */
    /* Sends the request on the open stream; the reply is in the stream and no error. */
    int (*attach)(struct feed *feed, const struct deadline *deadline, struct ls_error *error);
};

static void feed_lost(struct feed *feed)
{
    stream_close(&feed->stream);
    if (!feed->proven) {
        backoff_grow(&feed->backoff, &feed->remote->peer);
    }
    if (feed->give_up.none) {
        feed->give_up = deadline_in(feed->remote->peer.timeout_ms);
    }
}

/* Connects once. 0, or why not, with the stream closed. */
static int feed_connect(struct feed *feed, const struct deadline *deadline, struct ls_error *error)
{
    int rc = stream_open(&feed->stream, &feed->remote->peer, deadline, error);
    if (rc == 0) {
        rc = feed->attach(feed, deadline, error);
    }
    if (rc == 0) {
        feed->proven = false;
        feed->give_up.none = true;
    } else if (stream_is_open(&feed->stream)) {
        stream_close(&feed->stream);
    }
    return rc;
}

/* Connects within the peer's timeout: 1, or why not; 0 where the caller's deadline comes first. */
static int feed_reconnect(struct feed *feed, const struct deadline *deadline,
                          struct ls_error *error)
{
    if (!backoff_wait(&feed->backoff, deadline)) {
        return 0;
    }
    struct deadline connecting = deadline_connecting(deadline, feed->remote->peer.timeout_ms);
    int rc = feed_connect(feed, &connecting, error);
    if (rc == 0) {
        return 1;
    }
    backoff_grow(&feed->backoff, &feed->remote->peer);
    if (!stream_may_recover(rc) || deadline_passed(&feed->give_up)) {
        feed->give_up.none = true;
        return rc;
    }
    return 0;
}

/* The first connection, for opening the watch. */
static int feed_open(struct feed *feed, struct ls_error *error)
{
    struct deadline deadline = deadline_in(feed->remote->peer.timeout_ms);
    for (;;) {
        int rc = feed_connect(feed, &deadline, error);
        if (rc == 0 || !stream_may_recover(rc)) {
            return rc;
        }
        backoff_grow(&feed->backoff, &feed->remote->peer);
        if (!backoff_wait(&feed->backoff, &deadline)) {
            return rc;
        }
    }
}

enum { FEED_LATE = 0, FEED_PUSH, FEED_RENEWED };

/* FEED_PUSH: the next push is in feed->stream.reply; FEED_RENEWED: there is a new connection, and
 * what comes begins anew; FEED_LATE: the deadline passed; or why not. */
static int feed_next(struct feed *feed, const struct deadline *deadline, struct ls_error *error)
{
    for (;;) {
        struct deadline beat = pipeline_beat(&feed->remote->pipeline, deadline);
        int rc;
        if (!stream_is_open(&feed->stream)) {
            if (feed->give_up.none) {
                feed->give_up = deadline_in(feed->remote->peer.timeout_ms);
            }
            rc = feed_reconnect(feed, &beat, error);
            if (rc != 0) {
                return rc > 0 ? FEED_RENEWED : rc;
            }
        } else {
            rc = stream_wait(&feed->stream, &beat, error);
            if (rc > 0) {
                feed->proven = true;
                feed->backoff = (struct backoff){0};
                return FEED_PUSH;
            }
            if (rc < 0) {
                feed_lost(feed);
                if (!stream_may_recover(rc)) {
                    return rc;
                }
            }
        }
        if (rc == 0 && deadline_passed(deadline)) {
            return FEED_LATE;
        }
    }
}

/* The request of a watch, whose answer is a clock. */
static int feed_request(struct feed *feed, size_t argc, const ls_bytes *argv,
                        const struct deadline *deadline, uint64_t *clock, struct ls_error *error)
{
    int rc = stream_request(&feed->stream, argc, argv, deadline, error);
    if (rc != 0) {
        return rc;
    }
    const struct resp_value *value = feed->stream.reply.values;
    if (value->type == RESP_ERROR) {
        return reply_error(value, error);
    }
    return reply_number(value, clock, error);
}

/* What a push says first, as long as its elements are at least `count`. */
static bool push_is(const struct resp_reply *reply, const char *word, size_t count)
{
    const struct resp_value *push = reply->values;
    return push->type == RESP_PUSH && push->count >= count && reply_is(push + 1, word);
}

static int unexpected_push(struct ls_error *error)
{
    return error_set(error, LS_EPROTO, 0, "something else came where a watch's push belongs");
}

/* ---- box ---- */

struct remote_watch {
    struct ls_watch base; /* first */
    struct feed feed;
    struct arena texts; /* of the filter */
    ls_filter filter;
    uint64_t next;        /* the clock to go on from */
    struct ls_error over; /* why it ended; code 0: it has not */
};

static int box_attach(struct feed *feed, const struct deadline *deadline, struct ls_error *error)
{
    struct remote_watch *watch =
        (struct remote_watch *)((char *)feed - offsetof(struct remote_watch, feed));
    struct number_text from;
    ls_bytes argv[8];
    size_t argc = 0;

    argv[argc++] = bytes_of_text("MSG.WATCH");
    argv[argc++] = watch->next == LS_OLDEST         ? bytes_of_text("-")
                   : watch->next == LS_AFTER_NEWEST ? bytes_of_text("$")
                                                    : number_text(&from, watch->next);
    filter_arguments(&watch->filter, argv, &argc);
    uint64_t start;
    int rc = feed_request(feed, argc, argv, deadline, &start, error);
    if (rc != 0) {
        return rc;
    }
    if (watch->next != LS_OLDEST && watch->next != LS_AFTER_NEWEST && watch->next != start) {
        return error_set(error, LS_EPROTO, 0, "a watch begins elsewhere than it was asked to");
    }
    watch->next = start;
    return 0;
}

int remote_watch_open(struct ls *handle, uint64_t from, const ls_filter *filter,
                      struct ls_watch **out, uint64_t *start, struct ls_error *error)
{
    struct remote_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    watch->base.handle = handle;
    watch->feed = (struct feed){
        .remote = remote_of(handle),
        .stream = STREAM_CLOSED,
        .give_up = {.none = true},
        .attach = box_attach,
    };
    watch->next = from;
    int rc = filter_copy(&watch->filter, &watch->texts, filter);
    if (rc != 0) {
        error_code(error, rc);
    } else {
        rc = feed_open(&watch->feed, error);
    }
    if (rc != 0) {
        remote_watch_close(&watch->base);
        return rc;
    }
    *out = &watch->base;
    *start = watch->next;
    return 0;
}

static int take_message(struct remote_watch *watch, ls_message *out, struct ls_error *error)
{
    struct stream *stream = &watch->feed.stream;
    const struct resp_reply *reply = &stream->reply;
    ls_message message;

    if (push_is(reply, "lost", 3)) {
        const struct resp_value *oldest = &reply->values[reply->count - 1];
        uint64_t number;
        int rc = reply_number(oldest, &number, error);
        if (rc != 0) {
            return rc;
        }
        rc = error_set(error, LS_ECOMPACTED, number, "%s", ls_strerror(LS_ECOMPACTED));
        watch->over = *error;
        return rc;
    }
    if (!push_is(reply, "message", 2)) {
        return unexpected_push(error);
    }
    int rc = reply_message(reply, reply->values + 2, &message, error);
    if (rc != 0) {
        return rc;
    }
    if (message.clock < watch->next) {
        return error_set(error, LS_EPROTO, 0, "a message came out of order");
    }
    watch->next = message.clock + 1;
    stream_terminate(stream, message.from);
    stream_terminate(stream, message.to);
    stream_terminate(stream, message.object);
    *out = message;
    return 0;
}

int remote_watch_next(struct ls_watch *base, int64_t timeout_ms, ls_message *out,
                      struct ls_error *error)
{
    struct remote_watch *watch = (struct remote_watch *)base;
    struct deadline deadline = deadline_in(timeout_ms);

    if (watch->over.code != 0) {
        *error = watch->over;
        return error->code;
    }
    int rc;
    do {
        rc = feed_next(&watch->feed, &deadline, error);
    } while (rc == FEED_RENEWED);
    if (rc == FEED_LATE) {
        return error_code(error, LS_ETIMEOUT);
    }
    if (rc == FEED_PUSH) {
        rc = take_message(watch, out, error);
        if (rc == LS_EPROTO) {
            feed_lost(&watch->feed);
        }
    }
    if (rc == LS_ECOMPACTED) {
        watch->over = *error;
    }
    if (watch->over.code != 0) {
        stream_close(&watch->feed.stream);
    }
    return rc;
}

void remote_watch_close(struct ls_watch *base)
{
    struct remote_watch *watch = (struct remote_watch *)base;
    stream_close(&watch->feed.stream);
    arena_free(&watch->texts);
    free(watch);
}

/* ---- objects ---- */

struct remote_object_watch {
    struct ls_object_watch base; /* first */
    struct feed feed;
    struct arena texts; /* of the prefix */
    ls_bytes prefix;
};

static int object_attach(struct feed *feed, const struct deadline *deadline, struct ls_error *error)
{
    struct remote_object_watch *watch =
        (struct remote_object_watch *)((char *)feed - offsetof(struct remote_object_watch, feed));
    const ls_bytes argv[] = {bytes_of_text("OBJ.WATCH"), watch->prefix};
    uint64_t snapshot;
    return feed_request(feed, 2, argv, deadline, &snapshot, error);
}

int remote_object_watch_open(struct ls *handle, ls_bytes prefix, struct ls_object_watch **out,
                             struct ls_error *error)
{
    struct remote_object_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    watch->base.handle = handle;
    watch->feed = (struct feed){
        .remote = remote_of(handle),
        .stream = STREAM_CLOSED,
        .give_up = {.none = true},
        .attach = object_attach,
    };
    int rc = arena_copy(&watch->texts, prefix, &watch->prefix);
    if (rc != 0) {
        error_code(error, rc);
    } else {
        rc = feed_open(&watch->feed, error);
    }
    if (rc != 0) {
        remote_object_watch_close(&watch->base);
        return rc;
    }
    *out = &watch->base;
    return 0;
}

static int take_change(struct remote_object_watch *watch, enum ls_object_event *event,
                       ls_object *object, struct ls_error *error)
{
    struct stream *stream = &watch->feed.stream;
    const struct resp_reply *reply = &stream->reply;
    ls_object change = {0};
    int rc = 0;

    if (push_is(reply, "object", 5)) {
        rc = reply_object(reply, reply->values + 2, &change, error);
        if (rc == 0) {
            stream_terminate(stream, change.key);
            stream_terminate(stream, change.value);
        }
        *event = rc == 0 ? LS_OBJECT_PUT : *event;
    } else if (push_is(reply, "deleted", 3) && reply->values[2].type == RESP_BULK) {
        rc = reply_number(reply->values + 3, &change.modified, error);
        if (rc == 0) {
            change.key = reply->values[2].text;
            stream_terminate(stream, change.key);
        }
        *event = rc == 0 ? LS_OBJECT_DELETED : *event;
    } else if (push_is(reply, "synced", 2)) {
        rc = reply_number(reply->values + 2, &change.modified, error);
        *event = rc == 0 ? LS_OBJECT_SYNCED : *event;
    } else if (push_is(reply, "resync", 1)) {
        *event = LS_OBJECT_RESYNC;
    } else {
        rc = unexpected_push(error);
    }
    if (rc == 0) {
        *object = change;
    }
    return rc;
}

int remote_object_watch_next(struct ls_object_watch *base, int64_t timeout_ms,
                             enum ls_object_event *event, ls_object *object, struct ls_error *error)
{
    struct remote_object_watch *watch = (struct remote_object_watch *)base;
    struct deadline deadline = deadline_in(timeout_ms);

    int rc = feed_next(&watch->feed, &deadline, error);
    switch (rc) {
    case FEED_LATE:
        return error_code(error, LS_ETIMEOUT);
    case FEED_RENEWED:
        *event = LS_OBJECT_RESYNC;
        *object = (ls_object){0};
        return 0;
    case FEED_PUSH:
        rc = take_change(watch, event, object, error);
        if (rc != 0) {
            feed_lost(&watch->feed);
        }
        return rc;
    default:
        return rc;
    }
}

void remote_object_watch_close(struct ls_object_watch *base)
{
    struct remote_object_watch *watch = (struct remote_object_watch *)base;
    stream_close(&watch->feed.stream);
    arena_free(&watch->texts);
    free(watch);
}
