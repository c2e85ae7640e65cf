/*
 * Reading what the coordinator keeps, from a read transaction (or a write one). Nothing here
 * changes anything. Views borrow from the transaction.
 */
#ifndef LS_COORDINATOR_READ_H
#define LS_COORDINATOR_READ_H

#include "codec/key.h"
#include "coordinator/request.h"
#include "lockstep.h"
#include "store/store.h"

struct reading {
    struct store *store;
    struct store_txn *txn;
};

int reading_begin(struct reading *reading, struct store *store, struct ls_error *error);
void reading_end(struct reading *reading);

/* The box as it stands. A read may begin at any clock above `discarded`. */
struct box_state {
    uint64_t clock;     /* the coordinator's */
    uint64_t oldest;    /* of the messages kept; 0: none kept */
    uint64_t newest;    /* of the messages ever; 0: none */
    uint64_t discarded; /* the newest discarded; 0: none */
    uint64_t count;
    uint64_t bytes;
    uint64_t chain;           /* check of the newest message ever */
    uint64_t discarded_chain; /* check of the newest discarded */
};
int box_state_read(struct reading *reading, struct box_state *out, struct ls_error *error);

/* Which messages a reader wants. All zeros: every one. */
struct box_filter {
    char types[5];   /* letters; empty: every type */
    bool has_for;    /* drop those addressed to another host */
    bool has_key;    /* only O messages whose key has the prefix */
    ls_bytes host;   /* has_for */
    ls_bytes prefix; /* has_key: of the object's own key; or, where it begins with a key header
                      * ("N" 0x11), of the whole store key */
};
bool box_filter_match(const struct box_filter *filter, const struct message *message);
/* The part about keys alone: whether a change of this store key is wanted. */
bool box_filter_key(const struct box_filter *filter, ls_bytes key);

/* Reads messages with clock >= from that match, in order. LS_ECOMPACTED, with the oldest kept as
 * the number, where something at or above `from` was discarded. `filter` is borrowed. */
struct box_cursor {
    struct store_cursor *cursor;
    const struct box_filter *filter;
    struct reading *reading;
    uint64_t next; /* the clock that the next message has at least */
};
int box_open(struct box_cursor *out, struct reading *reading, uint64_t from,
             const struct box_filter *filter, struct ls_error *error);
/* 1: *message is set; 0: the end; negative: an error. */
int box_next(struct box_cursor *cursor, struct message *message, struct ls_error *error);
void box_end(struct box_cursor *cursor);

/* 0, LS_ENOTFOUND, or an error. */
int node_read(struct reading *reading, ls_bytes host, struct node *out, struct ls_error *error);

/* Walks the nodes in byte order of their hosts: those of one state, every one, or every one that is
 * not down. 1, 0 or negative, as above. What it costs follows the nodes that are not down, but
 * where those that are down are asked for, or the store has no index of the others (live.c). */
#define NODES_ALL  (-1)
#define NODES_LIVE (-2)
struct node_cursor {
    struct store_cursor *cursor;
    struct reading *reading;
    struct key_walk walk;
    int state;
    bool indexed; /* it walks over the index */
};
int nodes_open(struct node_cursor *out, struct reading *reading, int state, struct ls_error *error);
int nodes_next(struct node_cursor *cursor, struct node *node, struct ls_error *error);
/* The same one record at a time, for who is not to look at too many at once: *wanted says whether
 * the walk is over this one. */
int nodes_look(struct node_cursor *cursor, struct node *node, bool *wanted, struct ls_error *error);
void nodes_end(struct node_cursor *cursor);

/* The node that is up and has acknowledged least: 1 with *out set, 0 where none is up. */
int nodes_slowest(struct reading *reading, struct node *out, struct ls_error *error);

/* 0, LS_ENOTFOUND, or an error. `key` is the user's. */
int object_read(struct reading *reading, ls_bytes key, struct object *out, struct ls_error *error);

/* Walks the objects whose keys have the prefix, from above `after` (empty: from the first). */
struct object_cursor {
    struct store_cursor *cursor;
    struct reading *reading;
    struct key_walk walk;
};
int objects_open(struct object_cursor *out, struct reading *reading, ls_bytes prefix,
                 ls_bytes after, struct ls_error *error);
int objects_next(struct object_cursor *cursor, ls_bytes *key, struct object *object,
                 struct ls_error *error);
void objects_end(struct object_cursor *cursor);

#endif
