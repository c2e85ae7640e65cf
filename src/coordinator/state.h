/*
 * The inside of the coordinator, shared by its files: the state of one write transaction, and the
 * few steps that every change is made of. Not for use outside this folder.
 */
#ifndef LS_COORDINATOR_STATE_H
#define LS_COORDINATOR_STATE_H

#include <stdatomic.h>

#include "base/buf.h"
#include "codec/key.h"
#include "codec/record.h"
#include "coordinator/coordinator.h"

/* What is remembered from one transaction to the next, and lies under C. */
struct state {
    uint64_t clock;
    uint64_t live; /* nodes that are not down; CONTROL_ABSENT: their index is not to be trusted */
    uint64_t count;
    uint64_t bytes;
    uint64_t newest;
    uint64_t chain;
    uint64_t discarded;
    uint64_t discarded_chain;
};

/* Lives that were found to be bound and not over; forgotten with every change of a node. */
#define VERIFIED_LIVES 64

/* A transaction that was submitted and is not finished. */
struct flight {
    uint64_t clock; /* after it */
    bool empty;     /* it changed nothing: the store knows nothing of it */
    bool lost;      /* one before it was */
};

struct coordinator {
    struct store *store;
    struct store_txn *txn; /* from begin to commit or abort */
    uint64_t now_ns;
    const struct extension *extension; /* NULL: none */
    bool extended;                     /* it began in this transaction */
    uint64_t reloads;
    uint64_t known_number; /* the transaction that `known` was committed in; 0: none */
    struct state known;    /* as committed */
    struct state now;      /* with what this transaction did */
    size_t puts;           /* of the request under way */
    bool broken;
    bool changed;                      /* the transaction has something to commit */
    uint64_t verified[VERIFIED_LIVES]; /* `joined` by its low bits */
    struct buf record;                 /* scratch: a record being encoded */
    struct buf change;                 /* scratch: the object of an O message */
    struct buf value; /* scratch: a new node or object record, kept across the O message */
    struct flight flights[STORE_FLIGHTS_MAX]; /* in order */
    unsigned flight_count;
    _Atomic uint64_t clock; /* for other threads */
};

/* Store calls that keep count: a failure after the first put breaks the transaction. */
int state_put(struct coordinator *c, const struct key *key, ls_bytes value, bool append,
              struct ls_error *error);
int state_del(struct coordinator *c, const struct key *key, struct ls_error *error);
int state_get(struct coordinator *c, const struct key *key, ls_bytes *value);
int state_room(struct coordinator *c, enum store_room room, size_t bytes, struct ls_error *error);

/* Appends a message under the clock in it, on the chain. Sets timestamp and check. */
int state_append(struct coordinator *c, struct message *message, struct ls_error *error);

/* Appends the O message that tells of the change of `key` under `clock`. `value` NULL: deleted. */
int state_tell(struct coordinator *c, const struct key *key, const struct buf *value,
               uint64_t previous, const struct binding *as, uint64_t clock, struct ls_error *error);

/* Control records. A missing one leaves the values 0. */
int control_read(struct store *store, struct store_txn *txn, const char *name,
                 const char *const *fields, struct control *out, struct ls_error *error);
int control_write(struct coordinator *c, const char *name, const char *const *fields,
                  const struct control *control, struct ls_error *error);

/* The index of live nodes (live.c): the host is live from now on, or no longer. */
int live_add(struct coordinator *c, ls_bytes host, struct ls_error *error);
int live_remove(struct coordinator *c, ls_bytes host, struct ls_error *error);
/* Lays it in a store that has none, in a transaction of its own. 0 also where the store does not
 * let it, which makes the walks over live nodes slower and nothing else. */
int live_lay(struct coordinator *c, struct ls_error *error);

/* 0 where `as` is a life that is not over, else LS_ENOTJOINED. */
int node_verify(struct coordinator *c, const struct binding *as, struct ls_error *error);

/* Deletes, and tells of, every object that the host owns. */
int objects_disown(struct coordinator *c, ls_bytes host, struct ls_error *error);

/* What each kind of request does: 0 or a negative code with the request's error set. */
int box_post(struct coordinator *c, struct request *request);
int box_trim(struct coordinator *c, struct request *request);
int box_retain(struct coordinator *c, struct request *request);
int node_join(struct coordinator *c, struct request *request);
int node_set_state(struct coordinator *c, struct request *request);
int node_leave(struct coordinator *c, struct request *request);
int node_ack(struct coordinator *c, struct request *request);
int node_beat(struct coordinator *c, struct request *request);
int node_expire(struct coordinator *c, struct request *request);
int object_put(struct coordinator *c, struct request *request);
int object_del(struct coordinator *c, struct request *request);
int object_txn(struct coordinator *c, struct request *request);

#endif
