/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared connection: calls go in, the driver receives for all. What happens to a call is
 * decided in three places: `append` puts it on the connection, `hand_out` answers it, `lose` says
 * what becomes of it when the connection is gone. Connecting and joining are in remote_session.c.
 */
#include "client/remote_pipeline.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "client/remote_reply.h"
#include "client/remote_session.h"
#include "resp/writer.h"

/* The caller goes on; the call must not be touched after the lock is given up. */
static void finish(struct call *call, int status)
{
    call->done = true;
    call->status = status;
    pthread_cond_signal(&call->changed);
}

/* ---- sending ---- */

static bool joins_already(const struct pipeline *pipeline)
{
    const struct call *call = pipeline->in_flight.head;
    while (call != NULL && !call->joins) {
        call = call->next;
    }
    return call != NULL;
}

/* Puts the request behind the others of this connection. */
static void append(struct pipeline *pipeline, struct call *call)
{
    if (call->rejoins && joins_already(pipeline)) {
        finish(call, 0);
        return;
    }
    const struct membership *node = &pipeline->node;
    if (call->as_node && (node->refused || node->given_up)) {
        call->error = node->error;
        finish(call, call->error.code);
        return;
    }
    size_t before = pipeline->out.size;
    int rc = resp_request(&pipeline->out, call->argc, call->argv);
    if (rc != 0) {
        finish(call, error_code(&call->error, rc));
        return;
    }
    pipeline->appended += pipeline->out.size - before;
    call->end = pipeline->appended;
    calls_push(&pipeline->in_flight, call, CALL_IN_FLIGHT);
    pipeline->active_ms = monotonic_ms();
}

/* Hands the kernel what it takes, the lock given up meanwhile. While one thread does, the others'
 * requests gather, and go with its next turn. */
static void flush(struct pipeline *pipeline)
{
    if (pipeline->writing) {
        return;
    }
    pipeline->writing = true;
    while (pipeline->up && !pipeline->blocked) {
        struct buf *sending = &pipeline->sending;
        if (pipeline->sent == sending->size) {
            struct buf empty = *sending;
            empty.size = 0;
            pipeline->sending = pipeline->out;
            pipeline->out = empty;
            pipeline->sent = 0;
            if (sending->size == 0) {
                break;
            }
        }
        int fd = pipeline->stream.fd;
        const uint8_t *data = sending->data + pipeline->sent;
        size_t size = sending->size - pipeline->sent;

        pthread_mutex_unlock(&pipeline->lock);
        ssize_t taken = send(fd, data, size, MSG_NOSIGNAL);
        int reason = errno;
        pthread_mutex_lock(&pipeline->lock);

        if (taken >= 0) {
            pipeline->sent += (size_t)taken;
            pipeline->written += (uint64_t)taken;
        } else if (reason != EINTR) {
            /* Full, or broken: in both cases the driver sees to it. */
            pipeline->blocked = true;
            (void)eventfd_write(pipeline->wake_fd, 1);
        }
    }
    pipeline->writing = false;
    pthread_cond_broadcast(&pipeline->written_some);
}

/* ---- losing the connection ---- */

/* By the driver, or with its role taken. Every call on the connection is either failed or waits for
 * the next one. */
static void lose(struct pipeline *pipeline, const struct ls_error *why)
{
    assert(pipeline->driven);
    pipeline->up = false;
    pipeline->reason = *why;
    while (pipeline->writing) {
        pthread_cond_wait(&pipeline->written_some, &pipeline->lock);
    }
    stream_close(&pipeline->stream);
    if (!pipeline->proven) {
        backoff_grow(&pipeline->backoff, pipeline->peer);
    }
    struct call *call;
    struct call_list in_flight = pipeline->in_flight;
    pipeline->in_flight = (struct call_list){0};
    while ((call = calls_pop(&in_flight)) != NULL) {
        bool sent = call->end <= pipeline->written;
        if (sent && !call->repeats) {
            finish(call, error_set(&call->error, LS_ECONN, 0,
                                   "%.150s; the request was sent, and its outcome is not known",
                                   why->text));
        } else if (sent && !stream_may_recover(why->code)) {
            call->error = *why;
            finish(call, why->code);
        } else {
            calls_push(&pipeline->waiting, call, CALL_WAITING);
            pthread_cond_signal(&call->changed);
        }
    }
    pipeline->out.size = 0;
    pipeline->sending.size = 0;
    pipeline->sent = 0;
    pipeline->appended = 0;
    pipeline->written = 0;
    pipeline->blocked = false;
    pipeline->ending = false;
}

/* ---- receiving ---- */

static int take_push(struct pipeline *pipeline, struct ls_error *error)
{
    struct relayed *relayed = NULL;
    int rc = relayed_from(&relayed, &pipeline->stream.reply, error);
    if (relayed == NULL) {
        return rc;
    }
    pthread_mutex_lock(&pipeline->lock);
    struct relayed *oldest = relayed_push(&pipeline->relayed, relayed);
    pthread_cond_signal(&pipeline->relay_arrived);
    pthread_mutex_unlock(&pipeline->lock);
    free(oldest);
    return 0;
}

/* Gives the reply in the stream to the call that it answers. */
static int hand_out(struct pipeline *pipeline, struct ls_error *error)
{
    const struct resp_reply *reply = &pipeline->stream.reply;
    if (reply->values->type == RESP_PUSH) {
        return take_push(pipeline, error);
    }
    /* Only the driver takes calls off this list, so the head stays while the lock is not held. */
    pthread_mutex_lock(&pipeline->lock);
    struct call *call = pipeline->in_flight.head;
    pthread_mutex_unlock(&pipeline->lock);
    if (call == NULL) {
        return error_set(error, LS_EPROTO, 0, "a reply came that answers nothing");
    }
    int status;
    if (reply->values->type == RESP_ERROR) {
        status = reply_error(reply->values, &call->error);
    } else {
        status = call->take(pipeline, call->out, reply, &call->error);
    }
    pthread_mutex_lock(&pipeline->lock);
    (void)calls_pop(&pipeline->in_flight);
    if (reply->values->type == RESP_ERROR && (status == LS_ELOADING || status == LS_ESHUTDOWN)) {
        /* Nothing was done: it waits for a server that does it. */
        pipeline->ending = true;
        pipeline->reason = call->error;
        calls_push(&pipeline->waiting, call, CALL_WAITING);
    } else {
        pipeline->proven = true;
        pipeline->backoff = (struct backoff){0};
        if (status == LS_ENOTJOINED && pipeline->node.joined) {
            pipeline->node.given_up = true;
            pipeline->node.error = call->error;
        }
        finish(call, status);
    }
    pthread_mutex_unlock(&pipeline->lock);
    return 0;
}

/* Takes what has arrived, without waiting. By the driver; the lock is given up meanwhile. */
static void receive(struct pipeline *pipeline)
{
    struct ls_error error;

    pthread_mutex_unlock(&pipeline->lock);
    int rc = stream_fill(&pipeline->stream, &error);
    while (rc >= 0) {
        rc = stream_next(&pipeline->stream, &error);
        if (rc == 0) {
            break;
        }
        if (rc > 0) {
            rc = hand_out(pipeline, &error);
        }
    }
    pthread_mutex_lock(&pipeline->lock);
    if (rc < 0) {
        lose(pipeline, &error);
    } else if (pipeline->ending && pipeline->in_flight.head == NULL) {
        error = pipeline->reason;
        lose(pipeline, &error);
    }
}

/* ---- driving ---- */

/* Connects, and puts on the connection what waits for it; or fails that, where trying again would
 * not help. */
static void establish(struct pipeline *pipeline, const struct deadline *deadline)
{
    struct ls_error error = {0};
    int rc = LS_ECONN;

    pthread_mutex_unlock(&pipeline->lock);
    bool tried = backoff_wait(&pipeline->backoff, deadline);
    if (tried) {
        rc = session_open(pipeline, deadline, &error);
    }
    pthread_mutex_lock(&pipeline->lock);
    if (!tried) {
        return;
    }
    struct call *call;
    struct call_list waiting = pipeline->waiting;
    if (rc == 0) {
        pipeline->up = true;
        pipeline->proven = false;
        pipeline->waiting = (struct call_list){0};
        while ((call = calls_pop(&waiting)) != NULL) {
            append(pipeline, call);
        }
        flush(pipeline);
        receive(pipeline); /* what came along with the last answer */
        return;
    }
    pipeline->reason = error;
    backoff_grow(&pipeline->backoff, pipeline->peer);
    if (!stream_may_recover(rc)) {
        pipeline->waiting = (struct call_list){0};
        while ((call = calls_pop(&waiting)) != NULL) {
            call->error = error;
            finish(call, rc);
        }
    }
}

/* Being the driver, once: until something happened, or the deadline passed. */
static void drive(struct pipeline *pipeline, const struct deadline *deadline)
{
    assert(!pipeline->driven);
    pipeline->driven = true;
    if (!pipeline->up) {
        establish(pipeline, deadline);
        pipeline->driven = false;
        return;
    }
    struct pollfd entries[2] = {
        {.fd = pipeline->stream.fd, .events = pipeline->blocked ? POLLIN | POLLOUT : POLLIN},
        {.fd = pipeline->wake_fd, .events = POLLIN},
    };
    pthread_mutex_unlock(&pipeline->lock);
    (void)poll(entries, 2, deadline_poll(deadline));
    pthread_mutex_lock(&pipeline->lock);

    if (entries[1].revents != 0) {
        eventfd_t ignored;
        (void)eventfd_read(pipeline->wake_fd, &ignored);
    }
    if ((entries[0].revents & POLLOUT) != 0) {
        pipeline->blocked = false;
        flush(pipeline);
    }
    if ((entries[0].revents & ~POLLOUT) != 0) {
        receive(pipeline);
    }
    pipeline->driven = false;
}

static void wait_until(struct pipeline *pipeline, pthread_cond_t *condition,
                       const struct deadline *deadline)
{
    if (deadline->none) {
        pthread_cond_wait(condition, &pipeline->lock);
        return;
    }
    struct timespec at = deadline_time(deadline);
    (void)pthread_cond_timedwait(condition, &pipeline->lock, &at);
}

/* The first that somebody waits for. */
static struct call *first_waited_for(const struct pipeline *pipeline, const struct call_list *list)
{
    struct call *call = list->head;
    return call == &pipeline->beat ? call->next : call;
}

/* Whoever leaves makes sure that somebody who still waits becomes the driver. */
static void pass_on(struct pipeline *pipeline)
{
    if (pipeline->driven) {
        return;
    }
    struct call *call = first_waited_for(pipeline, &pipeline->in_flight);
    if (call == NULL) {
        call = first_waited_for(pipeline, &pipeline->waiting);
    }
    pthread_cond_signal(call != NULL ? &call->changed : &pipeline->relay_arrived);
}

/* ---- calls ---- */

static void enter(struct pipeline *pipeline, struct call *call)
{
    bool idle = !pipeline->driven && !pipeline->writing && pipeline->in_flight.head == NULL;
    if (pipeline->up && idle) {
        /* Nobody has looked since the last answer. A connection that was lost meanwhile must not
         * take a request that may not be sent twice. */
        pipeline->driven = true;
        receive(pipeline);
        pipeline->driven = false;
    }
    if (!pipeline->up || pipeline->ending) {
        calls_push(&pipeline->waiting, call, CALL_WAITING);
        return;
    }
    append(pipeline, call);
    flush(pipeline);
}

/* The time of the call is up. */
static void expire(struct pipeline *pipeline, struct call *call)
{
    struct ls_error late;

    error_set(&late, LS_ECONN, 0, "the server did not answer in time");
    while (!call->done && call->place == CALL_IN_FLIGHT) {
        if (!pipeline->driven) {
            pipeline->driven = true;
            lose(pipeline, &late);
            pipeline->driven = false;
        } else {
            if (pipeline->up) {
                (void)shutdown(pipeline->stream.fd, SHUT_RDWR);
            }
            pthread_cond_wait(&call->changed, &pipeline->lock);
        }
    }
    if (!call->done) {
        calls_remove(&pipeline->waiting, call);
        const struct ls_error *why = &pipeline->reason;
        int code = why->code == LS_ENOMEM ? LS_ENOMEM : LS_ECONN;
        finish(call, error_set(&call->error, code, 0, "the time is up: %.200s",
                               why->code != 0 ? why->text : "there was no connection"));
    }
}

int pipeline_call_until(struct pipeline *pipeline, struct call *call,
                        const struct deadline *deadline, struct ls_error *error)
{
    call->next = NULL;
    call->place = CALL_NOWHERE;
    call->done = false;
    if (pthread_cond_init(&call->changed, &pipeline->monotonic) != 0) {
        return error_code(error, LS_ENOMEM);
    }
    pthread_mutex_lock(&pipeline->lock);
    enter(pipeline, call);
    while (!call->done) {
        if (deadline_passed(deadline)) {
            expire(pipeline, call);
        } else if (!pipeline->driven) {
            drive(pipeline, deadline);
        } else {
            wait_until(pipeline, &call->changed, deadline);
        }
    }
    pass_on(pipeline);
    pthread_mutex_unlock(&pipeline->lock);
    pthread_cond_destroy(&call->changed);
    if (call->status != 0) {
        *error = call->error;
    }
    return call->status;
}

int pipeline_call(struct pipeline *pipeline, struct call *call, struct ls_error *error)
{
    struct deadline deadline = deadline_in(pipeline->peer->timeout_ms);

    int rc = call->as_node ? pipeline_join_again(pipeline, &deadline, error) : 0;
    return rc != 0 ? rc : pipeline_call_until(pipeline, call, &deadline, error);
}

static int take_nothing(struct pipeline *pipeline, void *out, const struct resp_reply *reply,
                        struct ls_error *error)
{
    (void)pipeline;
    (void)out;
    (void)reply;
    (void)error;
    return 0;
}

/* The beat goes on the connection like any call, but nobody waits for its answer: whoever drives
 * next takes it. Until then it stays under way, and no other one is sent. */
static void send_beat(struct pipeline *pipeline, const struct deadline *deadline)
{
    static const ls_bytes argv[] = {{"NODE.BEAT", 9}};

    if (!pipeline->driven) {
        struct deadline connecting = deadline_connecting(deadline, pipeline->peer->timeout_ms);
        pipeline->driven = true;
        if (pipeline->up) {
            receive(pipeline);
        }
        if (!pipeline->up) {
            establish(pipeline, &connecting);
        }
        pipeline->driven = false;
    }
    struct call *beat = &pipeline->beat;
    if (pipeline->up && !pipeline->ending && beat->place == CALL_NOWHERE) {
        beat->argv = argv;
        beat->argc = 1;
        beat->repeats = true;
        beat->as_node = true;
        beat->take = take_nothing;
        append(pipeline, beat);
        flush(pipeline);
    }
    pipeline->active_ms = monotonic_ms();
    pass_on(pipeline);
}

struct deadline pipeline_beat(struct pipeline *pipeline, const struct deadline *deadline)
{
    struct deadline next = *deadline;
    bool joins = false;

    pthread_mutex_lock(&pipeline->lock);
    const struct membership *node = &pipeline->node;
    uint64_t interval_ms = node->as.ttl_ms / 3;
    if (node->joined && !node->given_up) {
        if (monotonic_ms() >= pipeline->active_ms + interval_ms) {
            joins = node->refused;
            send_beat(pipeline, deadline);
        }
        uint64_t due_ms = pipeline->active_ms + interval_ms;
        if (next.none || next.at_ms > due_ms) {
            next = (struct deadline){.at_ms = due_ms};
        }
    }
    pthread_mutex_unlock(&pipeline->lock);
    if (joins) {
        struct deadline joining = deadline_connecting(deadline, pipeline->peer->timeout_ms);
        struct ls_error ignored;
        (void)pipeline_join_again(pipeline, &joining, &ignored);
    }
    return next;
}

static bool is_node(const struct pipeline *pipeline)
{
    const struct membership *node = &pipeline->node;
    return node->joined && !node->refused && !node->given_up;
}

bool pipeline_is_node(struct pipeline *pipeline)
{
    pthread_mutex_lock(&pipeline->lock);
    bool is = is_node(pipeline);
    pthread_mutex_unlock(&pipeline->lock);
    return is;
}

int pipeline_connect(struct pipeline *pipeline, struct ls_error *error)
{
    struct deadline deadline = deadline_in(pipeline->peer->timeout_ms);
    struct ls_error starting = {0};

    for (;;) {
        int rc = session_open(pipeline, &deadline, error);
        if (rc == 0) {
            pipeline->up = true;
            return 0;
        }
        if (rc == LS_ELOADING || rc == LS_ESHUTDOWN) {
            starting = *error;
        } else if (starting.code != 0 && deadline_passed(&deadline)) {
            *error = starting; /* the last attempt had no time left to say so */
            return starting.code;
        } else {
            return rc;
        }
        backoff_grow(&pipeline->backoff, pipeline->peer);
        if (!backoff_wait(&pipeline->backoff, &deadline)) {
            return rc;
        }
    }
}

int pipeline_relayed(struct pipeline *pipeline, const struct deadline *deadline,
                     struct relayed **out, struct ls_error *error)
{
    struct deadline down = {.none = true}; /* when to give up, while there is no connection */
    int rc = 0;

    pthread_mutex_lock(&pipeline->lock);
    if (pipeline->relayed.head == NULL && pipeline->up && !pipeline->driven) {
        pipeline->driven = true;
        receive(pipeline);
        pipeline->driven = false;
    }
    while (pipeline->relayed.head == NULL && is_node(pipeline) && !deadline_passed(deadline) &&
           rc == 0) {
        if (pipeline->up) {
            down.none = true;
        } else if (down.none) {
            down = deadline_in(pipeline->peer->timeout_ms);
        } else if (deadline_passed(&down) || !stream_may_recover(pipeline->reason.code)) {
            *error = pipeline->reason;
            rc = error->code;
            break;
        }
        struct deadline soon = *deadline;
        if (!down.none) {
            soon = deadline_within(deadline, deadline_left(&down));
        }
        if (!pipeline->driven) {
            drive(pipeline, &soon);
        } else {
            wait_until(pipeline, &pipeline->relay_arrived, &soon);
        }
    }
    struct relayed *relayed = rc == 0 ? relayed_pop(&pipeline->relayed) : NULL;
    pass_on(pipeline);
    pthread_mutex_unlock(&pipeline->lock);
    if (rc == 0) {
        *out = relayed;
    }
    return rc;
}

/* ---- the whole ---- */

int pipeline_init(struct pipeline *pipeline, const struct peer *peer, struct ls_error *error)
{
    *pipeline = (struct pipeline){.peer = peer, .stream = STREAM_CLOSED};
    pipeline->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pipeline->wake_fd < 0) {
        return error_set(error, LS_EIO, 0, "cannot make an event: %s", strerror(errno));
    }
    if (pthread_condattr_init(&pipeline->monotonic) != 0) {
        goto no_attributes;
    }
    (void)pthread_condattr_setclock(&pipeline->monotonic, CLOCK_MONOTONIC);
    if (pthread_mutex_init(&pipeline->lock, NULL) != 0) {
        goto no_lock;
    }
    if (pthread_cond_init(&pipeline->written_some, &pipeline->monotonic) != 0) {
        goto no_written;
    }
    if (pthread_cond_init(&pipeline->relay_arrived, &pipeline->monotonic) != 0) {
        goto no_relay;
    }
    if (pthread_cond_init(&pipeline->beat.changed, &pipeline->monotonic) != 0) {
        goto no_beat;
    }
    return 0;

no_beat:
    pthread_cond_destroy(&pipeline->relay_arrived);
no_relay:
    pthread_cond_destroy(&pipeline->written_some);
no_written:
    pthread_mutex_destroy(&pipeline->lock);
no_lock:
    pthread_condattr_destroy(&pipeline->monotonic);
no_attributes:
    close(pipeline->wake_fd);
    return error_code(error, LS_ENOMEM);
}

void pipeline_free(struct pipeline *pipeline)
{
    stream_close(&pipeline->stream);
    buf_free(&pipeline->out);
    buf_free(&pipeline->sending);
    arena_free(&pipeline->node.arena);
    relayed_free(&pipeline->relayed);
    pthread_cond_destroy(&pipeline->beat.changed);
    pthread_cond_destroy(&pipeline->relay_arrived);
    pthread_cond_destroy(&pipeline->written_some);
    pthread_mutex_destroy(&pipeline->lock);
    pthread_condattr_destroy(&pipeline->monotonic);
    close(pipeline->wake_fd);
}
