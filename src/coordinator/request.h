/*
 * Requests: everything that changes the store, as values. A request holds its arguments and has a
 * place for its results, and nothing else, so that it can run again when a transaction lost a race
 * or was undone. Bytes it points to must live until it is done; the coordinator keeps none of them.
 */
#ifndef LS_COORDINATOR_REQUEST_H
#define LS_COORDINATOR_REQUEST_H

#include "codec/record.h"
#include "lockstep.h"

enum request_kind {
    REQUEST_POST,
    REQUEST_CLOCK_NEXT,
    REQUEST_CLOCK_WITNESS,
    REQUEST_TRIM,
    REQUEST_RETAIN,
    REQUEST_EPOCH,
    REQUEST_NODE_JOIN,
    REQUEST_NODE_STATE,
    REQUEST_NODE_LEAVE,
    REQUEST_NODE_ACK,
    REQUEST_NODE_BEAT,
    REQUEST_NODE_EXPIRE,
    REQUEST_OBJECT_PUT,
    REQUEST_OBJECT_DEL,
    REQUEST_OBJECT_TXN,
    REQUEST_EXTENSION
};

/* One life of one node: what a joined connection or handle acts as. */
struct binding {
    uint8_t id[16];
    uint64_t joined;
    uint8_t host_size;
    char host[256]; /* NUL-terminated as well */
};

static inline ls_bytes binding_host(const struct binding *binding)
{
    return (ls_bytes){binding->host, binding->host_size};
}

/* A condition on an object's `modified`; 0 means that it must be absent. */
struct object_condition {
    ls_bytes key;
    uint64_t modified;
};

/* One operation of an object transaction. */
struct object_operation {
    ls_bytes key;
    ls_bytes value; /* put */
    bool del;
    uint64_t clock; /* result: the change's clock, 0 for a delete of what is absent */
};

/* What is kept of the box; 0 is off. */
struct retention {
    uint64_t age_ms;
    uint64_t count;
    uint64_t bytes;
    bool hold; /* keep, beyond age and count, what a node that is up has not acknowledged */
};

struct request {
    struct request *next; /* in whatever list it is */
    void *owner;          /* the submitter's own */
    enum request_kind kind;
    const struct binding *as; /* who asks; NULL: nobody that joined */

    union {
        struct {
            uint8_t type;
            uint8_t event;
            bool has_clock;
            bool has_seq;
            ls_bytes to;    /* empty: every node */
            uint64_t clock; /* carried */
            uint64_t seq;
            ls_bytes object; /* one CBOR item, checked */
        } post;
        struct {
            uint64_t count;
        } clock_next;
        struct {
            uint64_t seen;
        } clock_witness;
        struct {
            uint64_t before;   /* clocks below this; 0: off */
            uint64_t older_ns; /* and timestamps below this; 0: off */
        } trim;
        struct {
            struct retention keep;
        } retain;
        struct {
            ls_bytes host;
            uint8_t id[16];
            uint64_t ttl_ms;
            ls_bytes meta; /* CBOR; empty: none */
            uint64_t via;  /* this process's epoch */
            bool held;     /* a live connection of this process, of another id, holds the host */
        } join;
        struct {
            enum node_state state; /* NODE_UP or NODE_LEAVING */
        } state;
        struct {
            uint64_t clock;
        } ack;
        struct {
            ls_bytes host;
            uint64_t joined;
            uint64_t beat; /* the last one the observer saw */
        } expire;
        struct {
            ls_bytes key;
            ls_bytes value;
            bool has_if;
            bool nx;
            bool xx;
            bool owned;
            uint64_t modified; /* has_if */
        } put;
        struct {
            ls_bytes key;
            bool has_if;
            uint64_t modified;
        } del;
        struct {
            const struct object_condition *conditions;
            size_t condition_count;
            struct object_operation *operations; /* each gets its clock */
            size_t operation_count;
        } txn;
        struct {
            void *call;    /* what the extension is to do */
            size_t weight; /* about how many bytes it will add to the store */
        } extension;
    } in;

    /* Results, valid once the request is done. What runs in steps keeps its place in `clock` and
     * `number`, which are 0 when it is submitted. */
    int status;      /* 0 or a negative LS_E... */
    bool again;      /* more of the same is left: the sequencer runs it once more */
    bool parked;     /* EXTENSION: it waits; the extension gives it back to run once more */
    uint64_t clock;  /* of the change; CLOCK_NEXT: the first; JOIN: joined; EPOCH: the epoch;
                      * TRIM: the newest message when it began, which is as far as it goes */
    uint64_t number; /* JOIN: the last seq; TRIM, RETAIN: discarded so far; EXPIRE: 1 if it did */
    struct ls_error *error; /* where a sentence for `status` is put; never NULL */

    /* The sequencer's own, as is `next` while it has the request. */
    void *waiter;
    uint64_t clock_before;
    uint64_t number_before;
};

/* About how many bytes the request will add to the store. */
size_t request_weight(const struct request *request);

#endif
