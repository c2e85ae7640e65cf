/*
 * Writes on their way to the sequencer and back. A handler describes a write as a `pending`: the
 * request, copies of its arguments, and who answers it. Pendings of one turn of the loop are
 * chained and submitted together; they come back in the order in which they were submitted.
 *
 * Memory comes from blocks that are used up front to back and used again once every pending in them
 * is done, so that a write costs no allocation. What may be away for long has a block to itself.
 */
#ifndef LS_SERVER_QUEUE_H
#define LS_SERVER_QUEUE_H

#include "coordinator/request.h"
#include "sequencer/sequencer.h"
#include "server/held.h"

struct conn;
struct queue_block;
struct server;

struct pending {
    struct request request;
    struct server *server;
    struct conn *conn; /* NULL: the server itself asked */
    /* Called on the loop when the request is done; writes the reply where the connection is still
     * there. */
    void (*answer)(struct pending *pending);
    uint64_t extra;         /* for `answer` */
    struct pending *ahead;  /* of those of its connection that are not back: the one before it */
    struct pending *behind; /* likewise, the one after it */
    struct held held;       /* replies to what was sent between it and `behind` */
    bool may_wait;          /* for a transaction */
    struct queue_block *block;
    size_t bytes;
    struct ls_error error;
};

struct queue {
    struct queue_block *current;
    struct queue_block *spare;
    size_t spare_count;
    struct request *first; /* chained, not yet submitted */
    struct request *last;
    size_t bytes;      /* of all pendings not yet back */
    size_t count;      /* likewise */
    size_t bytes_peak; /* the most ever */
};

/* A pending with room for `bytes` of arguments, zeroed but for `error`, not yet chained. NULL: no
 * memory. The next call on the queue must be queue_copy, queue_room or queue_add. */
struct pending *queue_new(struct queue *queue, size_t bytes);

/* The same with memory of its own, for what may be away for long: it keeps no block from others. */
struct pending *queue_new_alone(size_t bytes);

/* Takes from the room asked for. Never fails: asking for more than that is a programming error. */
void *queue_room(struct pending *pending, size_t size);
ls_bytes queue_copy(struct pending *pending, ls_bytes bytes);

/* Instead of queue_add: it is not wanted after all. */
void queue_cancel(struct queue *queue, struct pending *pending);

/* Chains it. */
void queue_add(struct queue *queue, struct pending *pending);

/* Hands everything chained to the sequencer. */
void queue_submit(struct queue *queue, struct sequencer *sequencer);

/* A pending came back and was answered. */
void queue_done(struct queue *queue, struct pending *pending);

/* Keeps the pending's memory beyond that, until it is let go. */
void queue_hold(struct pending *pending);
void queue_let_go(struct queue *queue, struct pending *pending);

void queue_free(struct queue *queue);

#endif
