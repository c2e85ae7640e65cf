/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lockstep.h: the whole public interface of liblockstep.
 *
 * Lockstep keeps the nodes of a distributed system in step: one total order of messages under one
 * Lamport clock, a node registry and an object store whose every change is such a message, and
 * transactions over versioned keys in the order of the same clock.
 *
 * Rules that hold for every function here; the comment at each function says only what is special.
 *
 *  1. A function that can fail returns 0 on success or a negative LS_E... code. ls_strerror() says
 *     what a code means; ls_last_error() adds, for the calling thread, the sentence and the number
 *     that belong to its last failure. On failure the outputs are untouched unless stated, and
 *     nothing was changed in the store. There are two exceptions, in which the change may or may
 *     not have happened: LS_ECONN, LS_EPROTO and LS_EINTERNAL on a lockstep:// handle, where no
 *     answer came that says so; and the LS_EIO of a change whose own flush failed. A post with
 *     `once` set is never in doubt: make the same one again.
 *  2. Any number of threads may use an `ls` handle at once. What is made from it (a list, a watch,
 *     a batch, a transaction) is used by one thread at a time, while others use the handle or other
 *     things made from it. Close every watch, free every batch and end every transaction before the
 *     handle; lists may outlive it. What frees, closes or aborts ignores NULL; nothing else takes
 *     a NULL handle, watch, batch or transaction.
 *  3. Bytes passed in are only read, and only during the call. Bytes passed out belong to the
 *     thing they came from and live until it is freed, or, for a watch, until the next call on it.
 *     They are followed by a NUL that their size does not count, so text among them is a C string.
 *  4. The library starts no threads and installs no signal handlers. A joined handle stays `up` as
 *     long as it is used: every call on it is a beat, and a call that waits keeps beating. (Only a
 *     transaction that waits for another, in a store of this process, is one beat however long.)
 *  5. After fork(), the child must not use a handle of the parent; it opens its own.
 *  6. Clocks are logical, without unit. Times are nanoseconds since the Unix epoch where the name
 *     ends in _ns, durations are milliseconds where it ends in _ms, sizes are bytes.
 *  7. An options struct begins with its own size, set by the initializer of its type, and may grow
 *     in later versions: fields that are zero mean the default. Where a function takes options or
 *     a filter, NULL means all defaults.
 *  8. Any function may also fail with LS_EINVAL, LS_ENOMEM, LS_EIO or LS_ECORRUPT; a change with
 *     LS_ENOSPACE or LS_EREADONLY; on a lockstep:// handle each with LS_ECONN, LS_EPROTO,
 *     LS_ENOPERM, LS_ENOAUTH or LS_EWRONGPASS (the password was changed), LS_ELOADING or
 *     LS_ESHUTDOWN (it starts or stops for longer than timeout_ms), and what is done as the node
 *     with LS_EINUSE (it could not join again). What fails at the server with a code whose word is
 *     ERR is LS_EINVAL there, with the server's sentence. The comments name what else there is.
 */
#ifndef LOCKSTEP_H
#define LOCKSTEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LS_API __attribute__((visibility("default")))
#else
#define LS_API
#endif

#define LS_VERSION "0.1.0"

/* A struct of options with its size set and everything else zero. Used through LS_OPTIONS_INIT and
 * its like: `ls_options options = LS_OPTIONS_INIT;` */
#ifdef __cplusplus
extern "C++" {
template <typename Options> inline Options ls_with_size()
{
    Options options = Options();
    options.size = sizeof(Options);
    return options;
}
}
#define LS_INIT(type) ls_with_size<type>()
#else
#define LS_INIT(type)        \
    {                        \
        .size = sizeof(type) \
    }
#endif

/* ---- errors ----
 *
 * X(name, value, word on the wire, message). The word is what a server's error reply begins with.
 */
#define LS_ERROR_MAP(X)                                                           \
    X(LS_EINVAL, -1, "ERR", "invalid argument")                                   \
    X(LS_ENOMEM, -2, "ERR", "out of memory")                                      \
    X(LS_EIO, -3, "ERR", "input or output failed")                                \
    X(LS_ECORRUPT, -4, "ERR", "the store is damaged")                             \
    X(LS_EFORMAT, -5, "ERR", "the store has a format this version does not know") \
    X(LS_EREADONLY, -6, "ERR", "the store cannot be written")                     \
    X(LS_EBUSY, -7, "ERR", "in use")                                              \
    X(LS_ENOTFOUND, -8, "ERR", "not found")                                       \
    X(LS_EKEY, -9, "ERR", "malformed key")                                        \
    X(LS_ERECORD, -10, "ERR", "malformed record")                                 \
    X(LS_ENOTSUP, -11, "ERR", "not supported by this kind of store")              \
    X(LS_ETIMEOUT, -12, "ERR", "timed out")                                       \
    X(LS_ECONN, -13, "ERR", "the connection failed")                              \
    X(LS_EPROTO, -14, "ERR", "the peer does not follow the protocol")             \
    X(LS_ERETRY, -15, "ERR", "the transaction lost a race and must run again")    \
    X(LS_EINTERNAL, -16, "ERR", "an unexpected failure")                          \
    X(LS_ENOAUTH, -17, "NOAUTH", "authentication required")                       \
    X(LS_EWRONGPASS, -18, "WRONGPASS", "wrong user name or password")             \
    X(LS_ENOPERM, -19, "NOPERM", "not permitted")                                 \
    X(LS_ENOTJOINED, -20, "NOTJOINED", "this needs a joined node")                \
    X(LS_EINUSE, -21, "INUSE", "the host is held by another live node")           \
    X(LS_ECONFLICT, -22, "CONFLICT", "the condition does not hold")               \
    X(LS_ECOMPACTED, -23, "COMPACTED", "messages from there on were discarded")   \
    X(LS_ECLOCKJUMP, -24, "CLOCKJUMP", "the carried clock is too far ahead")      \
    X(LS_ESEQGAP, -25, "SEQGAP", "the number is not the next one")                \
    X(LS_EDUPLICATE, -26, "DUPLICATE", "the number was used before")              \
    X(LS_ETOOBIG, -27, "TOOBIG", "too big")                                       \
    X(LS_EBADCBOR, -28, "BADCBOR", "not one well-formed CBOR item")               \
    X(LS_EBADJSON, -29, "BADJSON", "not one well-formed JSON text")               \
    X(LS_ENOSPACE, -30, "NOSPACE", "no space left")                               \
    X(LS_ELOADING, -31, "LOADING", "the server is starting")                      \
    X(LS_ESHUTDOWN, -32, "SHUTDOWN", "the server is stopping")                    \
    X(LS_ETOOOLD, -33, "TOOOLD", "the timestamp is too old")                      \
    X(LS_ENOLOCK, -34, "NOLOCK", "the transaction has no such lock")              \
    X(LS_ETXNEXPIRED, -35, "TXNEXPIRED", "the transaction is over")

enum ls_errors {
#define X(name, value, word, message) name = (value),
    LS_ERROR_MAP(X)
#undef X
};

/* What a code means, as static text; never NULL. Any thread. */
LS_API const char *ls_strerror(int code);

/* The code's own name, "LS_EINVAL" for LS_EINVAL; never NULL. Any thread. */
LS_API const char *ls_errname(int code);

/* The version of the library, "major.minor.patch". */
LS_API const char *ls_version(void);

/* The last failure of the calling thread. `number` is the one that belongs to the code: the clock
 * that is there for LS_ECONFLICT, the oldest kept for LS_ECOMPACTED, the last number for LS_ESEQGAP
 * and LS_EDUPLICATE, the limit for LS_ETOOBIG, the offset for LS_EBADCBOR and LS_EBADJSON, the
 * oldest allowed for LS_ETOOOLD. With any other code it means nothing.
 */
typedef struct ls_error {
    int code;
    uint64_t number;
    char text[232];
} ls_error;

/* Never NULL; `code` is 0 before the first failure. Valid until the thread's next call. */
LS_API const ls_error *ls_last_error(void);

/* ---- bytes and payloads ---- */

typedef struct ls_bytes {
    const void *data; /* may be NULL where size is 0 */
    size_t size;
} ls_bytes;

/* How a payload is written; it is stored as CBOR in each case. */
enum ls_payload_kind {
    LS_CBOR = 0, /* one well-formed CBOR item */
    LS_JSON = 1, /* one JSON text, converted */
    LS_TEXT = 2  /* UTF-8, stored as a CBOR text string */
};

typedef struct ls_payload {
    enum ls_payload_kind kind;
    ls_bytes bytes;
} ls_payload;

/* A payload from a C string of JSON, or of plain text. */
LS_API ls_payload ls_json(const char *json);
LS_API ls_payload ls_text(const char *text);
LS_API ls_payload ls_cbor(const void *data, size_t size);

/* One CBOR item as JSON text, NUL-terminated; free it with ls_free(). Byte strings become base64url
 * without padding, NaN and infinities null, tags are dropped. LS_EBADCBOR, LS_ENOMEM. */
LS_API int ls_cbor_to_json(ls_bytes cbor, char **out);

/* JSON text as one CBOR item in deterministic encoding; free *out with ls_free(). LS_EBADJSON,
 * LS_ENOMEM. */
LS_API int ls_cbor_from_json(ls_bytes json, void **out, size_t *out_size);

/* Frees what a function above gave with its ownership. NULL is ignored. */
LS_API void ls_free(void *memory);

/* ---- opening ---- */

typedef struct ls ls;

typedef struct ls_options {
    size_t size; /* of this struct as the caller knows it: set by LS_OPTIONS_INIT */

    /* lmdb: and mem: only. */
    bool no_create; /* LS_ENOTFOUND where the directory is not there yet */
    bool read_only; /* every change is LS_EREADONLY */
    bool no_sync;   /* do not flush: a power loss may take the newest writes or damage the store, a
                     * crash of the process does not */
    uint64_t quota; /* bytes the store may take on disk; 0: no limit */
    uint64_t map_size_max;     /* bytes of address space; 0: 1 TiB, less where the system refuses */
    uint64_t retention_age_ms; /* discard messages older than this; 0: keep */
    uint64_t retention_count;  /* keep at most this many; 0: no limit */
    uint64_t retention_bytes;  /* keep at most this many bytes of them; 0: no limit */
    bool retention_hold;       /* but keep, beyond age and count, what a node that is up has not
                                * acknowledged; the limit of bytes stands */
    uint64_t txn_history_age_ms; /* how far ls_txn_get() can look back; 0: 10000 */

    /* lockstep: only. */
    const char *user;     /* NULL: "default" */
    const char *password; /* NULL: none is sent */
    /* For a connection and for each answer, reconnecting included; 0 or less: 5000; more than
     * 2^31 - 1: as much as that. On top of it come the search for the host's address, and what a
     * transaction may have to wait for others: its ttl, or 30 s for ls_txn_execute() and
     * ls_txn_get(). */
    int64_t timeout_ms;
    const char *client_name; /* shown by CLIENT LIST; NULL: none */
} ls_options;

#define LS_OPTIONS_INIT LS_INIT(ls_options)

/* Opens a coordinator by URL:
 *
 *   lmdb:DIR, or a bare path    a data directory, made where it is missing. Several processes, a
 *                               lockstepd among them, may have the same one open.
 *   mem:                        a store of its own in memory, gone when closed
 *   lockstep://HOST[:PORT]      a lockstepd; the port is 7411 where none is given
 *
 * `options` may be NULL. On success *out is the caller's, to be ended with ls_close().
 * LS_EINVAL (the URL), LS_ENOTFOUND, LS_EREADONLY, LS_EBUSY, LS_EFORMAT, LS_ECORRUPT, LS_ENOSPACE,
 * LS_ECONN (at once, where nobody listens), LS_EPROTO, LS_ENOAUTH, LS_EWRONGPASS, LS_ELOADING,
 * LS_ESHUTDOWN, LS_ENOMEM, LS_EIO. */
LS_API int ls_open(ls **out, const char *url, const ls_options *options);

/* Ends the handle, and nothing else: a joined node stays in the registry until its ttl passes,
 * unless ls_node_leave() was called before. No other thread may be using the handle. NULL is
 * ignored. */
LS_API void ls_close(ls *handle);

/* ---- clock ----
 *
 * The coordinator's clock is the one order. A handle also keeps a Lamport clock of its own, which
 * witnesses the clock values that its calls give; a post carries it where `carry_clock` is set.
 */

/* The coordinator's clock. */
LS_API int ls_clock_get(ls *handle, uint64_t *clock);

/* `count` (1 to 2^20) fresh, consecutive values, never given out again; *first is the first. */
LS_API int ls_clock_next(ls *handle, uint64_t count, uint64_t *first);

/* Makes the coordinator's clock max(clock, seen) + 1 and gives it; `clock` may be NULL.
 * LS_ECLOCKJUMP: `seen` is more than 2^32 above it. */
LS_API int ls_clock_witness(ls *handle, uint64_t seen, uint64_t *clock);

/* The handle's own clock; no input or output. */
LS_API uint64_t ls_clock_local(ls *handle);

/* ---- message box ---- */

/* Types and events are letters. Only the store posts 'O'. For 'U' any byte is an event. */
enum {
    LS_OBJECT = 'O',
    LS_DATABASE = 'D',
    LS_COLLECTION = 'C',
    LS_USER = 'U',
    LS_NO_EVENT = 0,
    LS_CREATED = 'C',
    LS_UPDATED = 'U',
    LS_DELETED = 'D'
};

typedef struct ls_message {
    uint64_t clock;
    uint64_t timestamp_ns; /* physical time at the coordinator; never orders anything */
    char type;
    char event;      /* LS_NO_EVENT for none */
    ls_bytes from;   /* the sender's host; empty where it never joined */
    ls_bytes to;     /* the destination host; empty: every node */
    ls_bytes object; /* one CBOR item */
} ls_message;

typedef struct ls_post_options {
    size_t size;      /* LS_POST_OPTIONS_INIT */
    const char *to;   /* a host; NULL: every node */
    bool carry_clock; /* the message's clock will be greater than ls_clock_local() */
    uint64_t clock;   /* and greater than this, where not 0 */
    bool once; /* exactly once, across lost connections and retries; needs a joined handle. Such
                * posts of one handle go one at a time. One that failed, for whatever reason, is
                * the same post when it is made again, before another one and as the same node,
                * with the same type, event, host, payload. */
} ls_post_options;

#define LS_POST_OPTIONS_INIT LS_INIT(ls_post_options)

/* Posts a message; returns when it is durable. `options` and `clock` may be NULL. LS_EINVAL (a type
 * or event that is none, text that is not UTF-8), LS_EBADCBOR, LS_EBADJSON, LS_ETOOBIG (1 MiB as
 * CBOR), LS_EKEY (`to`), LS_ECLOCKJUMP, LS_ENOTJOINED (the handle's node was given up: join again),
 * LS_ESEQGAP or LS_EDUPLICATE (somebody else makes `once` posts under the same id). */
LS_API int ls_post(ls *handle, char type, char event, ls_payload payload,
                   const ls_post_options *options, uint64_t *clock);

/* Which messages a read or a watch gives. */
typedef struct ls_filter {
    size_t size;       /* LS_FILTER_INIT */
    const char *types; /* letters; NULL: every type */
    const char *host;  /* drop those addressed to another host; NULL: keep all */
    ls_bytes key;      /* not empty: only 'O' messages of objects whose key has this prefix. A
                        * prefix that begins with a key header is matched against the whole store
                        * key: "N\x11" gives the changes of nodes. */
} ls_filter;

#define LS_FILTER_INIT LS_INIT(ls_filter)

/* The oldest kept message, and after the newest, as places to begin. */
#define LS_OLDEST       UINT64_C(0)
#define LS_AFTER_NEWEST UINT64_MAX

typedef struct ls_messages ls_messages;

/* Up to `max` messages with clock >= from, in order, perhaps fewer: a reader goes on at the last
 * clock + 1 until it gets none. Waits up to timeout_ms (0: not at all; negative: without limit) for
 * the first one. *out may hold none; free it with ls_messages_free(). LS_ECOMPACTED, with the
 * oldest kept as the number, where something at or above `from` was discarded. */
LS_API int ls_read(ls *handle, uint64_t from, const ls_filter *filter, size_t max,
                   int64_t timeout_ms, ls_messages **out);
LS_API size_t ls_messages_count(const ls_messages *messages);
/* NULL past the end. */
LS_API const ls_message *ls_messages_get(const ls_messages *messages, size_t index);
LS_API void ls_messages_free(ls_messages *messages);

typedef struct ls_watch ls_watch;

/* Follows the box from a clock on. A watch is a cursor: however slowly it is read, it skips
 * nothing. *start (may be NULL) gets the clock from which it delivers. End it with
 * ls_watch_close(). LS_ECOMPACTED as ls_read(). */
LS_API int ls_watch_open(ls *handle, uint64_t from, const ls_filter *filter, ls_watch **out,
                         uint64_t *start);

/* The next message, waiting up to timeout_ms (0: not at all; negative: without limit). LS_ETIMEOUT.
 * LS_ECOMPACTED, with the oldest kept as the number, when the next message was discarded before it
 * was read: this watch gives no more, and a new one can begin there. On a lockstep:// handle it
 * goes on by itself, behind the last message that it gave, after a lost connection; LS_ECONN says
 * that there was none for the handle's timeout_ms, and the next call tries again. */
LS_API int ls_watch_next(ls_watch *watch, int64_t timeout_ms, ls_message *out);
LS_API void ls_watch_close(ls_watch *watch);

typedef struct ls_box_info {
    uint64_t oldest; /* clock of the oldest message kept; 0: none is */
    uint64_t newest; /* clock of the newest message ever posted; 0: none was */
    uint64_t count;  /* of messages kept */
    uint64_t bytes;  /* of their keys and records */
} ls_box_info;

LS_API int ls_box_info_get(ls *handle, ls_box_info *out);

/* Discards messages, always a prefix in clock order: those with a clock below `before`, or those
 * posted more than age_ms ago. *discarded (may be NULL) gets how many. */
LS_API int ls_trim_before(ls *handle, uint64_t before, uint64_t *discarded);
LS_API int ls_trim_older(ls *handle, uint64_t age_ms, uint64_t *discarded);

/* ---- nodes ---- */

enum ls_node_state { LS_NODE_UP = 0, LS_NODE_LEAVING = 1, LS_NODE_DOWN = 2 };

typedef struct ls_node {
    uint8_t id[16]; /* UUID */
    ls_bytes host;
    enum ls_node_state state;
    uint64_t joined;       /* the clock of its join: tells one life of a node from the next */
    uint64_t clock;        /* how far it says it has processed the box */
    uint64_t timestamp_ns; /* of the last change of state */
    uint64_t ttl_ms;
    ls_bytes meta; /* CBOR; empty: none */
} ls_node;

typedef struct ls_join_options {
    size_t size;       /* LS_JOIN_OPTIONS_INIT */
    const uint8_t *id; /* 16 bytes; NULL: a new one is made */
    uint64_t ttl_ms;   /* 100 to 86400000, else LS_EINVAL; 0: 10000 */
    ls_payload meta;   /* empty bytes: none */
} ls_join_options;

#define LS_JOIN_OPTIONS_INIT LS_INIT(ls_join_options)

/* What a join gave. */
typedef struct ls_joined {
    uint8_t id[16];
    uint64_t clock; /* of the join */
    uint64_t seq;   /* the last numbered post of this id; 0: none */
} ls_joined;

/* Makes the handle a node: its posts carry the host, and it can own objects. Joining again makes it
 * another node, or begins a new life of the same one. LS_EINUSE where another live node, with
 * another id, holds the host; the same id takes it over, and the handle that had it gets
 * LS_ENOTJOINED. `out` may be NULL. LS_EKEY (not a host name: 1 to 255 bytes of UTF-8 without
 * control characters), LS_ETOOBIG. A lockstep:// handle joins again by itself, under the same id,
 * after a lost connection: that is a new life, with another `joined`. It does not once it was told
 * LS_ENOTJOINED. */
LS_API int ls_node_join(ls *handle, const char *host, const ls_join_options *options,
                        ls_joined *out);

/* For all of these `clock` may be NULL. LS_ENOTJOINED where the handle never joined, left, or its
 * node was given up in the meantime: join again. */

/* Shows life, and nothing else; *clock is the coordinator's. */
LS_API int ls_node_beat(ls *handle, uint64_t *clock);

/* Says that everything up to `processed` was processed: retention_hold keeps what lies above it.
 * *clock is the coordinator's. LS_EINVAL where that is above the clock. */
LS_API int ls_node_ack(ls *handle, uint64_t processed, uint64_t *clock);

/* To LS_NODE_UP or LS_NODE_LEAVING; *clock is the change's. */
LS_API int ls_node_set_state(ls *handle, enum ls_node_state state, uint64_t *clock);

/* Leaves the registry; what the node owned is deleted with it. *clock is the change's. */
LS_API int ls_node_leave(ls *handle, uint64_t *clock);

typedef struct ls_nodes ls_nodes;

/* One node, as a list of one, or LS_ENOTFOUND. Free with ls_nodes_free(). */
LS_API int ls_node_get(ls *handle, const char *host, ls_nodes **out);
/* Every node, in byte order of the hosts. Free with ls_nodes_free(). */
LS_API int ls_node_list(ls *handle, ls_nodes **out);
LS_API size_t ls_nodes_count(const ls_nodes *nodes);
LS_API const ls_node *ls_nodes_get(const ls_nodes *nodes, size_t index);
LS_API void ls_nodes_free(ls_nodes *nodes);

/* ---- objects ----
 *
 * Keys are 1 to 480 bytes, any bytes. Values are opaque bytes, up to 1 MiB.
 */

typedef struct ls_object {
    ls_bytes key;
    ls_bytes value;
    uint64_t created;  /* clock of its creation */
    uint64_t modified; /* clock of its last change */
} ls_object;

typedef struct ls_put_options {
    size_t size;  /* LS_PUT_OPTIONS_INIT */
    bool only_if; /* only if the object's `modified` is if_modified (0: absent) */
    uint64_t if_modified;
    bool only_if_absent;
    bool only_if_present;
    bool owned; /* deleted when the handle's node goes down or leaves */
} ls_put_options;

#define LS_PUT_OPTIONS_INIT LS_INIT(ls_put_options)

/* Creates or replaces an object; returns when that is durable. *clock (may be NULL) is the
 * change's. LS_ECONFLICT, with the object's `modified` (0: absent) as the number, where a condition
 * does not hold; LS_EINVAL (only_if_absent and only_if_present), LS_EKEY (empty), LS_ETOOBIG,
 * LS_ENOTJOINED (owned, without a node; any change, where the handle's node was given up). */
LS_API int ls_put(ls *handle, ls_bytes key, ls_bytes value, const ls_put_options *options,
                  uint64_t *clock);

typedef struct ls_objects ls_objects;

/* One object, as a list of one, or LS_ENOTFOUND. Free with ls_objects_free(). */
LS_API int ls_get(ls *handle, ls_bytes key, ls_objects **out);

/* *clock (may be NULL) is the change's, or 0 where the object was absent. */
LS_API int ls_del(ls *handle, ls_bytes key, uint64_t *clock);
/* Only if its `modified` is if_modified (0: absent), else LS_ECONFLICT as ls_put(). */
LS_API int ls_del_if(ls *handle, ls_bytes key, uint64_t if_modified, uint64_t *clock);

/* Up to `max` objects whose keys have the prefix (empty: all), in byte order, from above `after`
 * (empty: from the first); perhaps fewer: go on after the last key until there are none. */
LS_API int ls_scan(ls *handle, ls_bytes prefix, ls_bytes after, size_t max, ls_objects **out);
LS_API size_t ls_objects_count(const ls_objects *objects);
LS_API const ls_object *ls_objects_get(const ls_objects *objects, size_t index);
LS_API void ls_objects_free(ls_objects *objects);

typedef struct ls_object_watch ls_object_watch;

enum ls_object_event {
    LS_OBJECT_PUT = 0, /* `object` is as it is now */
    LS_OBJECT_DELETED, /* key; modified is the clock of the deletion */
    LS_OBJECT_SYNCED,  /* the snapshot is complete; modified is its clock */
    LS_OBJECT_RESYNC   /* the watch fell behind what is kept: forget all, a new snapshot follows */
};

/* Follows the objects under a prefix (empty: all): first each that is there, then LS_OBJECT_SYNCED,
 * then every change, in order. It never fails for history that is gone: see LS_OBJECT_RESYNC. */
LS_API int ls_object_watch_open(ls *handle, ls_bytes prefix, ls_object_watch **out);
/* The next event, waiting up to timeout_ms (0: not at all; negative: no limit). `object` has what
 * the event says, the rest of it is empty. LS_ETIMEOUT; LS_ECONN as ls_watch_next(). */
LS_API int ls_object_watch_next(ls_object_watch *watch, int64_t timeout_ms,
                                enum ls_object_event *event, ls_object *object);
LS_API void ls_object_watch_close(ls_object_watch *watch);

/* Several changes of objects, all or nothing, under conditions. Keys and values are copied in. */
typedef struct ls_batch ls_batch;

LS_API int ls_batch_new(ls *handle, ls_batch **out);
/* Only if the object's `modified` is this (0: absent). */
LS_API int ls_batch_if(ls_batch *batch, ls_bytes key, uint64_t modified);
LS_API int ls_batch_put(ls_batch *batch, ls_bytes key, ls_bytes value);
LS_API int ls_batch_del(ls_batch *batch, ls_bytes key);
/* Commits, and empties the batch whatever the result. `clocks` (may be NULL) has room for one clock
 * a put or del, in the order they were added; 0 for a delete of what was absent. LS_ECONFLICT, with
 * the object's `modified` as the number and its key in the sentence; LS_EINVAL (nothing to change);
 * LS_ETOOBIG on a lockstep:// handle: more than 16 MiB, or what else the server takes at once, or
 * more than 100000 conditions or changes. */
LS_API int ls_batch_commit(ls_batch *batch, uint64_t *clocks);
LS_API void ls_batch_free(ls_batch *batch);

/* ---- transactions ----
 *
 * A store of keys and versioned values of its own: its keys are not those of objects, and what is
 * written here is no message of the box. (Objects change under conditions with ls_batch.)
 *
 * A transaction declares which keys it will or may read and write, and is given a timestamp, a
 * fresh value of the coordinator's clock: its place in the one order. Transactions have the effect
 * they would have if they ran one at a time in the order of their timestamps. None is aborted
 * because of another, so there is nothing to try again. A write waits for nobody; a read waits for
 * the newest earlier write of its key, which is bounded, because a transaction that is left open
 * longer than its ttl is released: its writes do not happen, and it is LS_ETXNEXPIRED from then on.
 * On a lockstep:// handle one whose connection is lost is released as well.
 * docs/transactions.md says what follows from this, and when to declare what.
 *
 * Keys are 1 to 480 bytes, any bytes; a zero byte counts twice, and all together at most 499.
 * Values are opaque bytes, up to 1 MiB. Wherever a value is given out, its `data` is NULL exactly
 * where the key was absent; an empty value has data.
 */

/* What a transaction does with a key: one kind that reads, one that writes, or one of each. Where
 * it does both it reads what was there before its own write. */
enum ls_txn_kind {
    LS_TXN_EAGER = 1, /* reads it: the value is there when the transaction begins */
    LS_TXN_LAZY = 2, /* may read it: ls_txn_read() asks for the value, and waits for it only then */
    LS_TXN_WILL = 4, /* writes it */
    LS_TXN_MAY = 8   /* writes it, or leaves it as it was */
};

typedef struct ls_txn_key {
    ls_bytes key;
    unsigned kinds; /* of enum ls_txn_kind. A key that stands twice has the kinds of both. */
} ls_txn_key;

typedef struct ls_txn_options {
    size_t size;     /* LS_TXN_OPTIONS_INIT */
    uint64_t ttl_ms; /* how long it may stay open, at most 3600000; 0: 5000 */
} ls_txn_options;

#define LS_TXN_OPTIONS_INIT LS_INIT(ls_txn_options)

/* An open transaction. It is used by one thread at a time, and ends with ls_txn_commit() or
 * ls_txn_abort(), before its handle does. */
typedef struct ls_transaction ls_transaction;

/* What a transaction does, between its begin and its commit: 0 to commit, anything else to abort.
 * It is called at most once. It may use the handle for other things, but not read there what the
 * transaction is going to write: that read would wait for it until its ttl is over. */
typedef int (*ls_txn_body)(ls_transaction *transaction, void *context);

/* A whole transaction: begins, calls `body`, and commits, or aborts where `body` did not give 0,
 * which is then the result. Otherwise as ls_txn_begin() and ls_txn_commit(). */
LS_API int ls_txn_run(ls *handle, const ls_txn_key *keys, size_t count,
                      const ls_txn_options *options, ls_txn_body body, void *context);

/* Begins a transaction; returns once every eager value is known. LS_EKEY, LS_ETOOBIG (a key, or
 * more than 4096 keys, with the limit), LS_EINVAL (no key, a kind that is none, two kinds that read
 * or two that write, a ttl that is too long), LS_ENOSPACE (also: too many are open),
 * LS_ETXNEXPIRED (its ttl was over before its values were known). */
LS_API int ls_txn_begin(ls *handle, const ls_txn_key *keys, size_t count,
                        const ls_txn_options *options, ls_transaction **out);

/* Its timestamp. */
LS_API uint64_t ls_txn_timestamp(const ls_transaction *transaction);

/* The value of a key that was declared with a kind that reads, as it was before the transaction;
 * the same each time. The bytes live until the transaction ends. LS_ENOLOCK: not declared so;
 * LS_ETXNEXPIRED. */
LS_API int ls_txn_read(ls_transaction *transaction, ls_bytes key, ls_bytes *value);

/* Keeps what the commit is to write, with a copy of the value; the last one for a key counts.
 * Nothing is sent, and nothing seen by anybody, before the commit. LS_ENOLOCK: the key was not
 * declared with a kind that writes; LS_ETOOBIG. */
LS_API int ls_txn_put(ls_transaction *transaction, ls_bytes key, ls_bytes value);
LS_API int ls_txn_del(ls_transaction *transaction, ls_bytes key);

/* Commits; returns when all its writes are durable, together. Ends the transaction, whatever the
 * result. Where it fails nothing was written. LS_EINVAL: a key declared LS_TXN_WILL was not
 * written; LS_ETOOBIG: more than 16 MiB of keys and values; LS_ETXNEXPIRED. On a lockstep:// handle
 * LS_ECONN leaves it in doubt, unless the connection was lost before: that is LS_ETXNEXPIRED.
 * Whether it was committed can then only be seen from what it wrote. */
LS_API int ls_txn_commit(ls_transaction *transaction);

/* Ends it without writing anything. NULL is ignored. */
LS_API void ls_txn_abort(ls_transaction *transaction);

/* ---- transactions of one call ---- */

enum ls_txn_operation_kind {
    LS_TXN_GET = 0,    /* reads a key */
    LS_TXN_PUT = 1,    /* writes it */
    LS_TXN_DEL = 2,    /* deletes it */
    LS_TXN_INCRBY = 3, /* adds a number to its value, a decimal number, absent: 0 */
    LS_TXN_CHECK = 4   /* has the whole transaction fail unless it has this value */
};

typedef struct ls_txn_operation {
    enum ls_txn_operation_kind kind;
    ls_bytes key;
    ls_bytes value; /* LS_TXN_PUT, LS_TXN_CHECK */
    int64_t number; /* LS_TXN_INCRBY */
} ls_txn_operation;

typedef struct ls_values ls_values;

/* A transaction of a list of operations, each of which sees those before it, in one call and, over
 * the network, one round trip. *results has an item for each: LS_TXN_GET the value, LS_TXN_INCRBY
 * the new one, the others an absent one; free it with ls_values_free(). LS_ECONFLICT, with the key
 * in the sentence: a check failed, and nothing was written; LS_EINVAL: a value that is no number,
 * or a sum outside of 64 bits; LS_ETOOBIG: more than 4096 operations, or 16 MiB of keys
 * and values; LS_EINTERNAL: it was done, but there was no memory for the results.
 */
LS_API int ls_txn_execute(ls *handle, const ls_txn_operation *operations, size_t count,
                          ls_values **results);

/* As ls_txn_get(): the values as of now. */
#define LS_TXN_NOW UINT64_C(0)

/* The values of some keys as of a timestamp, all of the same moment, in the order of `keys`. It
 * waits for earlier writes that are still open; nobody waits for it. It is in line with what
 * writes, so it is LS_EREADONLY on a handle that is read_only. LS_ETOOOLD, with the oldest that is
 * possible: history before was collected; LS_EINVAL: a timestamp above the clock. Free with
 * ls_values_free(). */
LS_API int ls_txn_get(ls *handle, uint64_t timestamp, const ls_bytes *keys, size_t count,
                      ls_values **out);

LS_API size_t ls_values_count(const ls_values *values);
/* NULL past the end; `data` is NULL for an absent value. */
LS_API const ls_bytes *ls_values_get(const ls_values *values, size_t index);
LS_API void ls_values_free(ls_values *values);

/* How a key of an open transaction stands. */
typedef struct ls_txn_mark {
    ls_bytes key;
    unsigned kinds;          /* of enum ls_txn_kind */
    bool waits;              /* a read of it waits, or would, for the transaction with */
    uint64_t waits_for;      /* this timestamp, */
    unsigned waits_kind;     /* which declared LS_TXN_WILL or LS_TXN_MAY there */
    uint64_t waits_since_ns; /* and began at this time */
} ls_txn_mark;

typedef struct ls_txn_info {
    uint64_t began_ns;
    uint64_t expires_ms; /* in so many milliseconds it is released */
    uint64_t waiting;    /* calls that wait for it to end, in the process that was asked */
} ls_txn_info;

typedef struct ls_txn_marks ls_txn_marks;

/* What the open transaction with this timestamp has declared and what it waits for, in byte order
 * of its keys. `info` may be NULL. LS_ETXNEXPIRED: none is open, it is over or there never was one;
 * LS_EINVAL: a timestamp above the clock. Free with ls_txn_marks_free(). */
LS_API int ls_txn_explain(ls *handle, uint64_t timestamp, ls_txn_info *info, ls_txn_marks **out);
LS_API size_t ls_txn_marks_count(const ls_txn_marks *marks);
LS_API const ls_txn_mark *ls_txn_marks_get(const ls_txn_marks *marks, size_t index);
LS_API void ls_txn_marks_free(ls_txn_marks *marks);

/* ---- relay ----
 *
 * lockstep:// only; elsewhere LS_ENOTSUP. Messages are handed straight to the connected, joined
 * nodes other than the sender, taken in byte order of their hosts, and are not stored. The handle
 * must be joined, else LS_ENOTJOINED. A node whose connection is clogged is skipped, and not
 * counted. Each carries the handle's own clock.
 */

/* To the n-th other node, from 1; to the named one; to all. *handed (may be NULL): to how many, 0
 * where there is none such. LS_EBADCBOR, LS_EBADJSON, LS_ETOOBIG as ls_post(), LS_ECLOCKJUMP. */
LS_API int ls_relay_nth(ls *handle, size_t nth, ls_payload payload, size_t *handed);
LS_API int ls_relay_to(ls *handle, const char *host, ls_payload payload, size_t *handed);
LS_API int ls_relay_all(ls *handle, ls_payload payload, size_t *handed);

/* The next message relayed to this node, waiting up to timeout_ms (0: not at all; negative: without
 * limit). Of `out`, from, clock and object are set; they live until the next call of this function
 * on this handle, which one thread at a time may make. At most 1024 wait; the oldest give way.
 * LS_ETIMEOUT; LS_ENOTJOINED where the handle is no node, or its node was given up. */
LS_API int ls_relay_next(ls *handle, int64_t timeout_ms, ls_message *out);

#ifdef __cplusplus
}
#endif

#endif
