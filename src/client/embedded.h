/*
 * The embedded side of the library: a store opened in this process. What embedded*.c share; nobody
 * else includes this.
 *
 * The calling thread does all the work: it runs the sequencer, tends the presence of the nodes and
 * applies the retention, each when its call comes by. No lock here is held while the sequencer
 * runs, but join_lock, which only joins and numbered posts take.
 */
#ifndef LS_CLIENT_EMBEDDED_H
#define LS_CLIENT_EMBEDDED_H

#include <pthread.h>

#include "client/handle.h"
#include "coordinator/read.h"
#include "sequencer/presence.h"
#include "sequencer/sequencer.h"
#include "store/store.h"
#include "txn/txn.h"

struct object_watch;

struct embedded {
    struct store *store;
    struct sequencer *sequencer;
    struct txn *txn;       /* closed after the sequencer */
    atomic_bool transacts; /* the handle has used it: only then does it tend it */
    bool read_only;
    bool retains;
    struct retention keep;
    atomic_uint_fast64_t retain_at_ms; /* when the retention is to be applied next */

    atomic_bool joined;              /* the life below is set */
    atomic_uint_fast64_t beat_ms;    /* the last call */
    atomic_uint_fast64_t tend_at_ms; /* when the presence is to be looked at next */

    pthread_mutex_t life_lock; /* guards `life`, and is held for a copy only */
    struct binding life;

    pthread_mutex_t presence_lock; /* guards `presence` */
    struct presence *presence;

    pthread_mutex_t join_lock; /* one join, leave or numbered post at a time; guards these: */
    uint64_t via;              /* this handle's epoch; 0: not asked for yet */
    uint64_t seq;              /* of the last numbered post of this life */

    pthread_mutex_t snapshot_lock; /* guards the list, and the readings of its members */
    struct object_watch *snapshots;
};

static inline struct embedded *embedded_of(struct ls *handle)
{
    return handle->state;
}

/* Runs the request on this thread as the handle's node, if it is one; the call counts as a beat.
 * *clock (may be NULL) is the request's. */
int embedded_run(struct embedded *e, struct request *request, uint64_t *clock,
                 struct ls_error *error);

/* ---- embedded_life.c: nodes, presence ---- */

/* The handle's life, copied; false where it never joined. */
bool embedded_life(struct embedded *e, struct binding *out);

/* To be called as every call begins, and while it waits: shows life, and now and then writes the
 * handle's beat, gives up nodes and transactions whose time is over, and ends snapshots nobody
 * reads on. Costs a
 * look at the time where nothing is due. */
void embedded_tend(struct embedded *e);

/* Waits for a commit after `seen` was the wake word; false once the deadline is over. Keeps
 * beating. */
bool embedded_wait(struct embedded *e, uint32_t seen, const struct deadline *deadline);

int embedded_node_join(struct ls *handle, const struct join *join, ls_joined *out,
                       struct ls_error *error);
int embedded_node_beat(struct ls *handle, uint64_t *clock, struct ls_error *error);
int embedded_node_ack(struct ls *handle, uint64_t processed, uint64_t *clock,
                      struct ls_error *error);
int embedded_node_set_state(struct ls *handle, enum node_state state, uint64_t *clock,
                            struct ls_error *error);
int embedded_node_leave(struct ls *handle, uint64_t *clock, struct ls_error *error);
int embedded_node_get(struct ls *handle, ls_bytes host, struct ls_nodes *out,
                      struct ls_error *error);
int embedded_node_list(struct ls *handle, struct ls_nodes *out, struct ls_error *error);

/* ---- embedded_box.c: reading and watching the box ---- */

/* A place in the box, and what is wanted from there on. */
struct box_place {
    uint64_t next; /* 0: the oldest kept */
    struct box_filter filter;
};

/* Fills the empty list with what matches from the place on, a bounded piece, and moves the place
 * behind what was looked at. Waits for the first message; where none came the list stays empty, and
 * that is a success. LS_ECOMPACTED as box_open. */
int embedded_read_on(struct embedded *e, struct box_place *place, size_t max, int64_t timeout_ms,
                     struct ls_messages *out, struct ls_error *error);

int embedded_read(struct ls *handle, uint64_t from, const ls_filter *filter, size_t max,
                  int64_t timeout_ms, struct ls_messages *out, struct ls_error *error);
int embedded_watch_open(struct ls *handle, uint64_t from, const ls_filter *filter,
                        struct ls_watch **out, uint64_t *start, struct ls_error *error);
int embedded_watch_next(struct ls_watch *watch, int64_t timeout_ms, ls_message *out,
                        struct ls_error *error);
void embedded_watch_close(struct ls_watch *watch);

/* ---- embedded_objects.c: watching objects ---- */

/* Ends the snapshots that nobody has read on for a while. */
void embedded_drop_snapshots(struct embedded *e, uint64_t now_ms);

int embedded_object_watch_open(struct ls *handle, ls_bytes prefix, struct ls_object_watch **out,
                               struct ls_error *error);
int embedded_object_watch_next(struct ls_object_watch *watch, int64_t timeout_ms,
                               enum ls_object_event *event, ls_object *object,
                               struct ls_error *error);
void embedded_object_watch_close(struct ls_object_watch *watch);

/* ---- embedded_txn.c: transactions ---- */

/* Releases transactions whose time is over, and collects old versions, where that is due. */
void embedded_txn_tend(struct embedded *e);

int embedded_txn_begin(struct ls_transaction *transaction, struct ls_error *error);
int embedded_txn_read(struct ls_transaction *transaction, struct txn_item *item,
                      struct ls_error *error);
int embedded_txn_commit(struct ls_transaction *transaction, struct ls_error *error);
void embedded_txn_abort(struct ls_transaction *transaction);
int embedded_txn_execute(struct ls *handle, const ls_txn_operation *operations, size_t count,
                         struct ls_values *out, struct ls_error *error);
int embedded_txn_get(struct ls *handle, uint64_t timestamp, const ls_bytes *keys, size_t count,
                     struct ls_values *out, struct ls_error *error);
int embedded_txn_explain(struct ls *handle, uint64_t timestamp, ls_txn_info *info,
                         struct ls_txn_marks *out, struct ls_error *error);

#endif
