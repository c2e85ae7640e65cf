/*
 * What the library's two sides share: the handle, the backend that does its work (embedded: a store
 * in this process; remote: a server), the lists that reads give, and small helpers.
 *
 * The public functions (api*.c) check arguments, copy options by their size, fill in defaults, turn
 * payloads into CBOR, witness clocks and remember errors; so a backend sees only good arguments and
 * does none of that. Nothing here does input or output.
 */
#ifndef LS_CLIENT_HANDLE_H
#define LS_CLIENT_HANDLE_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "coordinator/request.h"
#include "lockstep.h"

struct backend;

struct ls {
    const struct backend *backend;
    void *state;                /* the backend's own */
    atomic_uint_fast64_t clock; /* the handle's Lamport clock: api*.c only */
};

/* ---- what a backend is asked ---- */

struct post {
    uint8_t type;  /* 'D', 'C' or 'U' */
    uint8_t event; /* fits the type; 0: none */
    bool has_clock;
    bool once;
    uint64_t clock;  /* has_clock: carried */
    ls_bytes to;     /* a checked host; empty: every node */
    ls_bytes object; /* one CBOR item, checked */
};

struct join {
    ls_bytes host;   /* checked; NUL-terminated */
    uint8_t id[16];  /* made by the caller where the user gave none */
    uint64_t ttl_ms; /* not 0 */
    ls_bytes meta;   /* CBOR, checked; empty: none */
};

enum relay_kind { RELAY_TO_NTH, RELAY_TO_HOST, RELAY_TO_ALL };

struct relay_order {
    enum relay_kind kind;
    uint64_t nth;    /* RELAY_TO_NTH, from 1 */
    ls_bytes host;   /* RELAY_TO_HOST, checked */
    uint64_t clock;  /* carried */
    ls_bytes object; /* one CBOR item, checked */
};

/* A box watch and an object watch: each backend's own struct begins with one of these. */
struct ls_watch {
    struct ls *handle;
};

struct ls_object_watch {
    struct ls *handle;
};

/* Bytes that stay where they are until it is cleared: see arena_copy. */
struct arena {
    struct arena_chunk *chunk; /* the newest, which has room */
    size_t used;               /* bytes ever placed since the last clear */
};

/* What an open transaction declared of a key, what it read, and what it is to write. */
struct txn_item {
    ls_bytes key;
    unsigned kinds; /* of enum ls_txn_kind */
    bool known;     /* it was read: `value`, whose data is NULL where it was absent */
    bool written;   /* `put` is to be written; its data is NULL for a deletion */
    ls_bytes value;
    ls_bytes put;
};

struct ls_transaction {
    struct ls *handle;
    uint64_t timestamp;
    uint64_t ttl_ms;
    struct arena arena;     /* of keys and values */
    struct txn_item *items; /* in byte order of the keys, each once */
    size_t count;
    void *state; /* the backend's own */
};

/* ---- backends ----
 *
 * Rules for every member:
 *  1. Returns 0 or a negative LS_E..., and fills *error exactly when it fails. Outputs are set only
 *     on success; pointers are never NULL. A list that comes in is empty, is filled, and stays the
 *     caller's whatever the outcome.
 *  2. Any thread, several at once on one handle; a watch is used by one thread at a time. No lock
 *     is held across a wait.
 *  3. Bytes that come in are borrowed for the call. Bytes that go out through a watch live until
 *     the next call on that watch, and are NUL-terminated where they are text.
 *  4. Each call on a joined handle is a beat, and one that waits keeps beating.
 *  5. A timeout is in milliseconds: 0 does not wait, negative waits without limit.
 *  6. Options and filters come in whole: every field of this version of the struct, defaults filled
 *     in, texts NUL-terminated; only user, password and client_name, and a filter's types and host,
 *     may be NULL.
 */
struct backend {
    /* `url` is as the user gave it. Sets handle->state. On failure nothing is left behind. */
    int (*open)(struct ls *handle, const char *url, const ls_options *options,
                struct ls_error *error);
    /* No call is under way, every watch is closed. */
    void (*close)(struct ls *handle);

    int (*clock_get)(struct ls *handle, uint64_t *clock, struct ls_error *error);
    int (*clock_next)(struct ls *handle, uint64_t count, uint64_t *first, struct ls_error *error);
    int (*clock_witness)(struct ls *handle, uint64_t seen, uint64_t *clock, struct ls_error *error);

    /* The path that must be fast: no allocation but what the transport needs. */
    int (*post)(struct ls *handle, const struct post *post, uint64_t *clock,
                struct ls_error *error);
    /* `from` 0: the oldest kept, and LS_ECOMPACTED never; it is never LS_AFTER_NEWEST here.
     * max >= 1. What matches within the timeout, at least one where there is one; an empty list is
     * a success. A backend bounds the size of a piece on its own (LIST_SIZE_SOFT). */
    int (*read)(struct ls *handle, uint64_t from, const ls_filter *filter, size_t max,
                int64_t timeout_ms, struct ls_messages *out, struct ls_error *error);
    /* `from` may be 0 or LS_AFTER_NEWEST. The backend keeps its own copy of the filter: see
     * filter_copy. LS_ECOMPACTED already here where it is known. */
    int (*watch_open)(struct ls *handle, uint64_t from, const ls_filter *filter,
                      struct ls_watch **out, uint64_t *start, struct ls_error *error);
    int (*watch_next)(struct ls_watch *watch, int64_t timeout_ms, ls_message *out,
                      struct ls_error *error);
    void (*watch_close)(struct ls_watch *watch);
    int (*box_info)(struct ls *handle, ls_box_info *out, struct ls_error *error);
    int (*trim_before)(struct ls *handle, uint64_t before, uint64_t *discarded,
                       struct ls_error *error);
    int (*trim_older)(struct ls *handle, uint64_t age_ms, uint64_t *discarded,
                      struct ls_error *error);

    int (*node_join)(struct ls *handle, const struct join *join, ls_joined *out,
                     struct ls_error *error);
    int (*node_beat)(struct ls *handle, uint64_t *clock, struct ls_error *error);
    int (*node_ack)(struct ls *handle, uint64_t processed, uint64_t *clock, struct ls_error *error);
    /* NODE_UP or NODE_LEAVING. */
    int (*node_set_state)(struct ls *handle, enum node_state state, uint64_t *clock,
                          struct ls_error *error);
    int (*node_leave)(struct ls *handle, uint64_t *clock, struct ls_error *error);
    /* Adds the one node, or LS_ENOTFOUND. */
    int (*node_get)(struct ls *handle, ls_bytes host, struct ls_nodes *out, struct ls_error *error);
    int (*node_list)(struct ls *handle, struct ls_nodes *out, struct ls_error *error);

    /* Keys are 1 to KEY_OBJECT_SIZE_MAX bytes, values at most OBJECT_SIZE_MAX. */
    int (*put)(struct ls *handle, ls_bytes key, ls_bytes value, const ls_put_options *options,
               uint64_t *clock, struct ls_error *error);
    /* Adds the one object, or LS_ENOTFOUND. */
    int (*get)(struct ls *handle, ls_bytes key, struct ls_objects *out, struct ls_error *error);
    int (*del)(struct ls *handle, ls_bytes key, bool has_if, uint64_t modified, uint64_t *clock,
               struct ls_error *error);
    /* max >= 1; at least one where there is one. */
    int (*scan)(struct ls *handle, ls_bytes prefix, ls_bytes after, size_t max,
                struct ls_objects *out, struct ls_error *error);
    int (*object_watch_open)(struct ls *handle, ls_bytes prefix, struct ls_object_watch **out,
                             struct ls_error *error);
    /* Of *object, what ls_object_event says for *event is set, the rest is empty. */
    int (*object_watch_next)(struct ls_object_watch *watch, int64_t timeout_ms,
                             enum ls_object_event *event, ls_object *object,
                             struct ls_error *error);
    void (*object_watch_close)(struct ls_object_watch *watch);
    /* Sets the clock of each operation. LS_ECONFLICT: the sentence names the key. */
    int (*commit)(struct ls *handle, const struct object_condition *conditions,
                  size_t condition_count, struct object_operation *operations,
                  size_t operation_count, struct ls_error *error);

    /* Begins, and sets the timestamp and the value of each eager item (txn_item_know). The
     * transaction's declaration is whole and checked. */
    int (*txn_begin)(struct ls_transaction *transaction, struct ls_error *error);
    /* The value of an item that is declared as read and not known yet. */
    int (*txn_read)(struct ls_transaction *transaction, struct txn_item *item,
                    struct ls_error *error);
    /* Writes the items that are to be written, all that must be are. Both end the transaction,
     * and release its state; a commit that is refused aborts it. */
    int (*txn_commit)(struct ls_transaction *transaction, struct ls_error *error);
    void (*txn_abort)(struct ls_transaction *transaction);
    /* Add a value for each operation, for each key. */
    int (*txn_execute)(struct ls *handle, const ls_txn_operation *operations, size_t count,
                       struct ls_values *out, struct ls_error *error);
    /* `timestamp` may be LS_TXN_NOW. */
    int (*txn_get)(struct ls *handle, uint64_t timestamp, const ls_bytes *keys, size_t count,
                   struct ls_values *out, struct ls_error *error);
    int (*txn_explain)(struct ls *handle, uint64_t timestamp, ls_txn_info *info,
                       struct ls_txn_marks *out, struct ls_error *error);

    /* NULL where the backend has no relay: LS_ENOTSUP. */
    int (*relay_send)(struct ls *handle, const struct relay_order *order, size_t *handed,
                      struct ls_error *error);
    int (*relay_next)(struct ls *handle, int64_t timeout_ms, ls_message *out,
                      struct ls_error *error);
};

extern const struct backend backend_embedded; /* embedded.c */
extern const struct backend backend_remote;   /* remote.c */

/* ---- lists ----
 *
 * Items and their bytes; the bytes stand in an arena, so that pointers stay good while a list
 * grows. Every run of bytes in it is followed by a NUL that its size does not count.
 */

#define MESSAGES_COUNT_SOFT 256
#define LIST_SIZE_SOFT      65536 /* a piece ends with the message that passes this */

/* The most a payload or an object's value may have. */
#define OBJECT_SIZE_MAX 1048576

struct ls_messages {
    struct arena arena;
    ls_message *items;
    size_t count;
    size_t capacity;
};

struct ls_nodes {
    struct arena arena;
    ls_node *items;
    size_t count;
    size_t capacity;
};

struct ls_objects {
    struct arena arena;
    ls_object *items;
    size_t count;
    size_t capacity;
};

struct ls_values {
    struct arena arena;
    ls_bytes *items; /* data NULL: absent */
    size_t count;
    size_t capacity;
};

struct ls_txn_marks {
    struct arena arena;
    ls_txn_mark *items;
    size_t count;
    size_t capacity;
};

/* Copies the bytes in, with a NUL behind them. 0 or LS_ENOMEM, with *copy untouched. */
int arena_copy(struct arena *arena, ls_bytes bytes, ls_bytes *copy);
/* Empties it and keeps its largest chunk for what comes next; all that was placed is gone. */
void arena_clear(struct arena *arena);
void arena_free(struct arena *arena);

/* Append a copy, its bytes copied too. 0 or LS_ENOMEM, the list as it was. */
int messages_add(struct ls_messages *list, const ls_message *message);
int nodes_add(struct ls_nodes *list, const ls_node *node);
int objects_add(struct ls_objects *list, const ls_object *object);
int values_add(struct ls_values *list, ls_bytes value);
int txn_marks_add(struct ls_txn_marks *list, const ls_txn_mark *mark);

/* Empty it, and keep the memory for what comes next. */
void messages_clear(struct ls_messages *list);
void objects_clear(struct ls_objects *list);

/* Release what a list holds, not the list; it is empty afterwards. */
void messages_release(struct ls_messages *list);
void nodes_release(struct ls_nodes *list);
void objects_release(struct ls_objects *list);

/* ---- small things ---- */

/* Room for one more item of an array that doubles: the array, moved where it had to be, or NULL
 * with the old one as it was. */
void *array_grow(void *items, size_t count, size_t *capacity, size_t item_size);

/* The value that an item reads, with data NULL where it is absent. 0 or LS_ENOMEM. */
int txn_item_know(struct ls_transaction *transaction, struct txn_item *item, ls_bytes value);

/* LS_EINTERNAL: a transaction of one call was done, but there is no memory for what it gave. */
int txn_done_untold(struct ls_error *error);

/* A filter of one's own, with its texts and bytes in `arena`. 0 or LS_ENOMEM. */
int filter_copy(ls_filter *out, struct arena *arena, const ls_filter *filter);

/* CLOCK_MONOTONIC in milliseconds. */
uint64_t monotonic_ms(void);

/* The moment a timeout ends, and what is left of it: negative stays negative, no limit. */
struct deadline {
    bool none;
    uint64_t at_ms;
};
struct deadline deadline_in(int64_t timeout_ms);
int64_t deadline_left(const struct deadline *deadline);

struct ls_batch {
    struct ls *handle;
    struct arena arena;
    struct object_condition *conditions;
    size_t condition_count;
    size_t condition_capacity;
    struct object_operation *operations;
    size_t operation_count;
    size_t operation_capacity;
};

#endif
