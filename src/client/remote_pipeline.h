/*
 * The one connection that all threads of a remote handle share. A caller appends its request and
 * waits; one of those who wait, the driver, receives for all and hands out the replies in order,
 * then passes the role on. So many threads' requests go out in one write and come back in one read,
 * and no thread of ours is needed.
 *
 * When the connection is lost, the driver connects again, joins again where the handle is a node,
 * and everything goes out again that was not handed to the kernel whole, or that is safe to repeat;
 * what is neither fails with LS_ECONN, its outcome unknown. A call that has no answer when its time
 * is up ends the connection too: replies come in order, so those behind it would be late as well.
 *
 * A lock guards all fields but `stream`, which is the driver's. It is never held across a wait.
 */
#ifndef LS_CLIENT_REMOTE_PIPELINE_H
#define LS_CLIENT_REMOTE_PIPELINE_H

#include <pthread.h>

#include "base/buf.h"
#include "client/handle.h"
#include "client/remote_calls.h"
#include "client/remote_peer.h"
#include "client/remote_stream.h"
#include "codec/uuid.h"
#include "lockstep.h"

/* The node that the handle is, as the next connection joins again. */
struct membership {
    bool joined;
    bool refused;          /* the last attempt to join again failed */
    bool given_up;         /* by the server: NOTJOINED was an answer; only a new join helps */
    struct ls_error error; /* of either */
    struct arena arena;    /* of the bytes in `as` */
    struct join as;
};

struct pipeline {
    const struct peer *peer;
    pthread_mutex_t lock;
    pthread_condattr_t monotonic;

    struct stream stream;
    bool driven; /* somebody is the driver */
    bool up;     /* connected, said hello, joined */
    bool ending; /* the server is going away: nothing more is sent on this connection */
    bool proven; /* a call was answered on this connection */
    int wake_fd; /* makes the driver's poll() return */
    struct backoff backoff;
    struct ls_error reason; /* why there is no connection */

    struct call_list waiting;   /* not on the connection */
    struct call_list in_flight; /* on it, in order */

    struct buf out;     /* requests that nobody sends yet */
    struct buf sending; /* requests being sent, from `sent` on */
    size_t sent;
    bool writing; /* somebody is sending, without the lock */
    bool blocked; /* the kernel takes no more for now */
    pthread_cond_t written_some;
    uint64_t appended;  /* bytes of requests on this connection */
    uint64_t written;   /* of which the kernel took so many */
    uint64_t active_ms; /* monotonic: when the last request was appended */

    struct membership node;
    struct call beat; /* one that nobody waits for */

    struct relayed_list relayed;
    pthread_cond_t relay_arrived;
};

/* 0 or LS_ENOMEM, LS_EIO. Does not connect: `peer` must be set up first, and stay. */
int pipeline_init(struct pipeline *pipeline, const struct peer *peer, struct ls_error *error);
void pipeline_free(struct pipeline *pipeline);

/* Connects, once, or again and again while the server is starting. For opening the handle. */
int pipeline_connect(struct pipeline *pipeline, struct ls_error *error);

/* Does one call, within the peer's timeout or `deadline`. The server's refusal, LS_ECONN (never
 * reached, or outcome unknown: the sentence says which), LS_EPROTO, LS_ENOMEM. */
int pipeline_call(struct pipeline *pipeline, struct call *call, struct ls_error *error);
int pipeline_call_until(struct pipeline *pipeline, struct call *call,
                        const struct deadline *deadline, struct ls_error *error);

/* Receives until a relayed message is there, which is then the caller's, to be given to free(), or
 * the deadline passed, or the handle is no node (*out is NULL). */
int pipeline_relayed(struct pipeline *pipeline, const struct deadline *deadline,
                     struct relayed **out, struct ls_error *error);

/* Is the handle a node that the server has neither given up nor refused to join again? */
bool pipeline_is_node(struct pipeline *pipeline);

/* Shows life where that is due, without waiting for the answer, but connecting where there is no
 * connection, and joining again where that was refused, within the deadline and a little. For those
 * who wait elsewhere. Returns when the next beat is due, or the deadline where that is earlier. */
struct deadline pipeline_beat(struct pipeline *pipeline, const struct deadline *deadline);

/* Becomes the node of *node, and takes what it holds; stops being one. For the `take` of a call. */
void pipeline_joined(struct pipeline *pipeline, struct membership *node);
void pipeline_left(struct pipeline *pipeline);

/* Joins again where that was refused on this connection, else does nothing. */
int pipeline_join_again(struct pipeline *pipeline, const struct deadline *deadline,
                        struct ls_error *error);

/* The request that joins: its arguments, with room for the texts among them. */
struct join_request {
    char id[UUID_TEXT_SIZE];
    char ttl[24];
    ls_bytes argv[9];
    size_t argc;
};
void join_request_make(struct join_request *out, const struct join *join);

#endif
