/*
 * The lists that a pipeline keeps: calls, which live with their callers and are in at most one
 * list, and relayed messages that nobody took yet. Nothing here locks.
 */
#ifndef LS_CLIENT_REMOTE_CALLS_H
#define LS_CLIENT_REMOTE_CALLS_H

#include <pthread.h>

#include "lockstep.h"
#include "resp/reply.h"

struct pipeline;

enum call_place { CALL_NOWHERE, CALL_WAITING, CALL_IN_FLIGHT };

/* One request. The caller fills the first fields, which live until pipeline_call returns. */
struct call {
    const ls_bytes *argv;
    size_t argc;
    bool repeats; /* to do it twice does no harm */
    bool as_node; /* must not be done unless as the node that the handle joined as, if it did */
    bool joins;   /* makes the handle a node, perhaps another one than it is */
    bool rejoins; /* joins again as the node that it is: nothing to do behind one that joins */
    /* Takes a reply that is not an error into `out`, on the driver's thread, while the reply lasts.
     */
    int (*take)(struct pipeline *pipeline, void *out, const struct resp_reply *reply,
                struct ls_error *error);
    void *out;

    /* The pipeline's own. */
    struct call *next;
    enum call_place place;
    bool done;
    int status;
    uint64_t end; /* in flight: the bytes of this connection up to its last one */
    struct ls_error error;
    pthread_cond_t changed;
};

struct call_list {
    struct call *head;
    struct call *tail;
};

void calls_push(struct call_list *list, struct call *call, enum call_place place);
struct call *calls_pop(struct call_list *list); /* NULL: empty */
void calls_remove(struct call_list *list, struct call *call);

/* A relayed message, with its bytes behind it. One allocation. */
struct relayed {
    struct relayed *next;
    uint64_t clock;
    ls_bytes from;
    ls_bytes object;
};

#define RELAYED_MAX 1024

/* All zeros is empty. */
struct relayed_list {
    struct relayed *head;
    struct relayed *tail;
    size_t count;
};

/* A relay push as a message of its own. 0 with *out NULL where it is a push of another kind, or
 * there is no memory: then it is dropped, as one of those that give way; LS_EPROTO. */
int relayed_from(struct relayed **out, const struct resp_reply *reply, struct ls_error *error);

/* Puts it last. Gives back the oldest where there are too many, else NULL. */
struct relayed *relayed_push(struct relayed_list *list, struct relayed *relayed);
struct relayed *relayed_pop(struct relayed_list *list); /* NULL: empty */
void relayed_free(struct relayed_list *list);

#endif
