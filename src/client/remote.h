/*
 * A remote handle: what the parts of the lockstep:// backend share. Requests go over the pipeline;
 * what may wait for long at the server (a blocking read, a watch) has a connection of its own, so
 * that it holds up nobody else.
 */
#ifndef LS_CLIENT_REMOTE_H
#define LS_CLIENT_REMOTE_H

#include <pthread.h>

#include "client/handle.h"
#include "client/remote_peer.h"
#include "client/remote_pipeline.h"
#include "client/remote_stream.h"

/* Numbered posts, which the server takes once however often they are sent. */
struct numbered {
    pthread_mutex_t lock; /* of `taken` */
    pthread_cond_t given_up;
    bool taken;        /* the turn, from the choice of a number to its answer; it guards the rest */
    uint8_t id[16];    /* of the node whose numbers they are */
    bool in_doubt;     /* last + 1 was sent, and may have been taken */
    uint64_t last;     /* the last number that was answered */
    uint64_t doubtful; /* the hash of what was posted in doubt */
};

struct remote;

/* Takes the turn, and gives it up. LS_ECONN where it did not come within the peer's timeout:
 * nothing was sent. */
int numbered_take(struct remote *remote, struct ls_error *error);
void numbered_give(struct remote *remote);

/* Connections for what waits at the server, idle ones in a stack. */
#define READERS_MAX 8

struct readers {
    pthread_mutex_t lock;
    struct stream idle[READERS_MAX];
    size_t count;
};

/* An idle connection that is not known to be lost, or a closed stream. */
struct stream readers_borrow(struct readers *readers);
/* Keeps it for the next, where it is open and there is room, else closes it. */
void readers_return(struct readers *readers, struct stream *stream);

struct remote {
    struct peer peer;
    struct pipeline pipeline;
    struct numbered numbered;
    struct readers readers;
    struct relayed *relayed; /* the one that ls_relay_next gave last */
};

static inline struct remote *remote_of(struct ls *handle)
{
    return handle->state;
}

/* Room for a number in decimal, as an argument of a request. */
struct number_text {
    char text[24];
};
ls_bytes number_text(struct number_text *out, uint64_t number);

/* For calls whose whole answer is one number. */
int take_number(struct pipeline *pipeline, void *out, const struct resp_reply *reply,
                struct ls_error *error);

/* A call whose answer is a number. */
int remote_number(struct remote *remote, size_t argc, const ls_bytes *argv, bool repeats,
                  bool as_node, uint64_t *out, struct ls_error *error);
/* A call whose answer `take` puts into `out`. It may be repeated: it changes nothing. */
int remote_read(struct remote *remote, size_t argc, const ls_bytes *argv,
                int (*take)(struct pipeline *pipeline, void *out, const struct resp_reply *reply,
                            struct ls_error *error),
                void *out, struct ls_error *error);

/* TYPE, FOR and KEY: adds up to 6 arguments. */
void filter_arguments(const ls_filter *filter, ls_bytes *argv, size_t *argc);

/* The members of backend_remote, by file. */

/* remote_box.c */
int remote_clock_get(struct ls *handle, uint64_t *clock, struct ls_error *error);
int remote_clock_next(struct ls *handle, uint64_t count, uint64_t *first, struct ls_error *error);
int remote_clock_witness(struct ls *handle, uint64_t seen, uint64_t *clock, struct ls_error *error);
int remote_post(struct ls *handle, const struct post *post, uint64_t *clock,
                struct ls_error *error);
int remote_box_read(struct ls *handle, uint64_t from, const ls_filter *filter, size_t max,
                    int64_t timeout_ms, struct ls_messages *out, struct ls_error *error);
int remote_box_info(struct ls *handle, ls_box_info *out, struct ls_error *error);
int remote_trim_before(struct ls *handle, uint64_t before, uint64_t *discarded,
                       struct ls_error *error);
int remote_trim_older(struct ls *handle, uint64_t age_ms, uint64_t *discarded,
                      struct ls_error *error);

/* remote_watch.c */
int remote_watch_open(struct ls *handle, uint64_t from, const ls_filter *filter,
                      struct ls_watch **out, uint64_t *start, struct ls_error *error);
int remote_watch_next(struct ls_watch *base, int64_t timeout_ms, ls_message *out,
                      struct ls_error *error);
void remote_watch_close(struct ls_watch *base);
int remote_object_watch_open(struct ls *handle, ls_bytes prefix, struct ls_object_watch **out,
                             struct ls_error *error);
int remote_object_watch_next(struct ls_object_watch *base, int64_t timeout_ms,
                             enum ls_object_event *event, ls_object *object,
                             struct ls_error *error);
void remote_object_watch_close(struct ls_object_watch *base);

/* remote_node.c */
int remote_node_join(struct ls *handle, const struct join *join, ls_joined *out,
                     struct ls_error *error);
int remote_node_beat(struct ls *handle, uint64_t *clock, struct ls_error *error);
int remote_node_ack(struct ls *handle, uint64_t processed, uint64_t *clock, struct ls_error *error);
int remote_node_set_state(struct ls *handle, enum node_state state, uint64_t *clock,
                          struct ls_error *error);
int remote_node_leave(struct ls *handle, uint64_t *clock, struct ls_error *error);
int remote_node_get(struct ls *handle, ls_bytes host, struct ls_nodes *out, struct ls_error *error);
int remote_node_list(struct ls *handle, struct ls_nodes *out, struct ls_error *error);
int remote_relay_send(struct ls *handle, const struct relay_order *order, size_t *handed,
                      struct ls_error *error);
int remote_relay_next(struct ls *handle, int64_t timeout_ms, ls_message *out,
                      struct ls_error *error);

/* remote_object.c */
int remote_put(struct ls *handle, ls_bytes key, ls_bytes value, const ls_put_options *options,
               uint64_t *clock, struct ls_error *error);
int remote_get(struct ls *handle, ls_bytes key, struct ls_objects *out, struct ls_error *error);
int remote_del(struct ls *handle, ls_bytes key, bool has_if, uint64_t modified, uint64_t *clock,
               struct ls_error *error);
int remote_scan(struct ls *handle, ls_bytes prefix, ls_bytes after, size_t max,
                struct ls_objects *out, struct ls_error *error);
int remote_commit(struct ls *handle, const struct object_condition *conditions,
                  size_t condition_count, struct object_operation *operations,
                  size_t operation_count, struct ls_error *error);

/* remote_txn.c */
int remote_txn_begin(struct ls_transaction *transaction, struct ls_error *error);
int remote_txn_read(struct ls_transaction *transaction, struct txn_item *item,
                    struct ls_error *error);
int remote_txn_commit(struct ls_transaction *transaction, struct ls_error *error);
void remote_txn_abort(struct ls_transaction *transaction);

/* remote_txn_once.c */
int remote_txn_execute(struct ls *handle, const ls_txn_operation *operations, size_t count,
                       struct ls_values *out, struct ls_error *error);
int remote_txn_get(struct ls *handle, uint64_t timestamp, const ls_bytes *keys, size_t count,
                   struct ls_values *out, struct ls_error *error);
int remote_txn_explain(struct ls *handle, uint64_t timestamp, ls_txn_info *info,
                       struct ls_txn_marks *out, struct ls_error *error);

#endif
