/*
 * Transactions: the worker and the executor over the shards of a store. A transaction declares
 * which keys it will or may read and write, gets its timestamp, a value of the coordinator's clock,
 * and behaves as if it ran alone at that point of the one order. A read waits for the newest
 * earlier write of its key while that is open, and for nothing else; nothing is ever aborted
 * because of another.
 *
 * What is true is in the store, since several processes may share it: the versions of the keys,
 * under V, and the newest of them in the version log under C; under C too a record for each open
 * transaction (docs/formats.md). The shards' engines in memory are an index of the open
 * transactions, made again from the records where another process changed them, or where a batch
 * was undone. In memory too is what the log has and V has not: the option `memory`, about, which
 * goes back within seconds where a server ticks and nobody writes.
 *
 * How it is used: txn_open gives an extension of the sequencer. A call is a request (txn_request)
 * that goes where every other request goes, and is done as every other is, after the commit of what
 * it did. Only, one that has to wait is parked first: it comes back when what it waits for was
 * written, given up, released or expired, by whatever process.
 *
 * Rules:
 *  1. What a call points to (keys, values, arrays, another call) is borrowed until it is done.
 *  2. Values that come out lie in the call's `bytes`, and live until txn_call_free or until the
 *     call is submitted once more. The buf may be used again for the next call.
 *  3. Somebody must submit a TXN_TICK when txn_wait_ms says so, and when another process committed
 *     and txn_counters.parked is not 0. The embedded sequencer does so by itself while a call
 *     waits in it.
 *  4. A transaction is its timestamp: who knows it may use it, in any process. Whose it is, and
 *     that it is released with its connection, is the caller's to see to (TXN_RELEASE).
 *  5. Transactions post no messages to the box.
 */
#ifndef LS_TXN_TXN_H
#define LS_TXN_TXN_H

#include "base/buf.h"
#include "coordinator/request.h"
#include "lockstep.h"
#include "sequencer/sequencer.h"
#include "store/store.h"

#define TXN_KEYS_MAX         4096               /* keys, or operations, of one call */
#define TXN_BYTES_MAX        ((size_t)16 << 20) /* keys and values of one call together */
#define TXN_SHARDS_MAX       1024
#define TXN_SHARDS_DEFAULT   16
#define TXN_TTL_MS_DEFAULT   5000
#define TXN_TTL_MS_MAX       3600000
#define TXN_HISTORY_DEFAULT  10000
#define TXN_OPEN_MAX_DEFAULT 100000
#define TXN_PARKED_MAX       100000 /* calls that wait at once, in this process */
#define TXN_MEMORY_DEFAULT   ((uint64_t)128 << 20)

enum txn_kind {
    TXN_BEGIN,   /* opens a transaction, and reads its eager keys */
    TXN_READ,    /* reads one of its eager or lazy keys, as often as wanted */
    TXN_COMMIT,  /* writes, and closes it */
    TXN_ABORT,   /* closes it; nothing was written */
    TXN_RELEASE, /* as TXN_ABORT, for one whose owner is gone, a RUN too; accepted where it is over,
                  * or has failed to begin */
    TXN_RUN,     /* a whole transaction in one call */
    TXN_GET,     /* reads keys as of a timestamp, or of now */
    TXN_EXPLAIN, /* what a transaction holds, and what it waits for */
    TXN_TICK     /* gives up what is over its time, collects versions, sees other processes */
};

/* Where a key stands in a transaction, as TXN_EXPLAIN gives it. */
enum txn_mark_kind { TXN_EAGER = 1, TXN_LAZY = 2, TXN_WILL = 4, TXN_MAY = 8 };

struct txn_keys {
    const ls_bytes *keys;
    size_t count;
};

struct txn_write {
    ls_bytes key;
    ls_bytes value;
    bool del; /* instead of a value */
};

/* What was read. */
struct txn_value {
    ls_bytes value;
    bool absent;
    size_t at; /* where `value` is in the call's bytes: of use inside only */
};

enum txn_op_kind {
    TXN_OP_GET,  /* result: the value, or absent */
    TXN_OP_PUT,  /* no result */
    TXN_OP_DEL,  /* no result; it is not read whether there is something */
    TXN_OP_INCR, /* adds `amount`; result: the sum as decimal text, and as the number */
    TXN_OP_CHECK /* the key must have this value */
};

/* Operations are carried out in order, and each sees what those before it did. */
struct txn_op {
    enum txn_op_kind kind;
    ls_bytes key;
    ls_bytes value; /* PUT, CHECK */
    int64_t amount; /* INCR */
    struct txn_value result;
    int64_t number; /* INCR */
};

struct txn_mark {
    ls_bytes key;
    unsigned kinds;       /* of enum txn_mark_kind */
    bool waits;           /* a read of it would wait */
    uint64_t waits_for;   /* the open transaction that it waits for */
    unsigned waits_kind;  /* TXN_WILL or TXN_MAY: what that one holds there */
    uint64_t waits_since; /* ns: when that one began */
    size_t at;            /* where `key` is in the call's bytes: of use inside only */
};

struct open; /* of the module */

struct txn_call {
    enum txn_kind kind;

    /* Arguments. */
    uint64_t timestamp;           /* READ, COMMIT, ABORT, RELEASE, EXPLAIN; GET where has_at */
    const struct txn_call *begun; /* RELEASE: instead, what this BEGIN, submitted before, began */
    uint64_t ttl_ms;              /* BEGIN; 0: the default */
    bool has_at;                  /* GET: as of `timestamp`, else of now */
    struct txn_keys eager, lazy, will, may; /* BEGIN; READ: one key in `eager`; GET: `eager` */
    const struct txn_write *writes;         /* COMMIT */
    size_t write_count;
    struct txn_op *ops; /* RUN; results go there too */
    size_t op_count;
    size_t memory; /* any: bytes that the caller keeps for it, for txn_counters.parked_bytes */

    /* Results. `values` is the caller's: one for each key in `eager` (BEGIN, READ, GET). The
     * request's `clock` is the timestamp of BEGIN, and of RUN where it writes; of GET, and of a RUN
     * that only reads, the timestamp as of which it read. */
    struct txn_value *values;
    struct buf bytes;
    struct txn_mark *marks; /* EXPLAIN: allocated, in byte order of the keys */
    size_t mark_count;
    uint64_t began_ns;    /* EXPLAIN */
    uint64_t age_ms;      /* EXPLAIN: for how long this process has known it */
    uint64_t expire_ms;   /* EXPLAIN: in which it is given up here */
    size_t calls_waiting; /* EXPLAIN: calls that wait for it to close, in this process */

    /* The module's own. */
    struct request *request;
    struct txn_call *parked_next, *parked_previous;
    struct txn_call *waiter_next, *waiter_previous; /* of those who wait for the same */
    struct txn_call *part_next, *part_previous;     /* of those that are part of the same */
    struct open *waits_for;
    struct open *part_of; /* the transaction that it begins, reads in or is; NULL: none */
    bool settled;
};

/* Makes *request carry the call, which must be all zeros but for its arguments, `values` and
 * `bytes`. Sets everything of the request but `owner`, `next` and `error`. Results are valid once
 * the request is done with status 0.
 *
 * BEGIN: LS_EINVAL: no keys, a key twice among the reads or among the writes, a ttl above
 * TXN_TTL_MS_MAX; LS_ENOSPACE, with txn-open-max as the number. It is done when all eager values
 * are known. LS_ETXNEXPIRED where its time was over first.
 * READ: LS_ENOLOCK: the transaction does not read this key. One that waits when its transaction is
 * closed has LS_ETXNEXPIRED at once, as has a BEGIN.
 * COMMIT: LS_ENOLOCK: a key that it did not declare to write; LS_EINVAL: a will-key is missing, or
 * a key is there twice. The transaction is then as before.
 * READ, COMMIT, ABORT, EXPLAIN: LS_ETXNEXPIRED: no open transaction has the timestamp: it was
 * committed, aborted, released or given up, or never was one; LS_EINVAL: it was never given out.
 * RUN: LS_ECONFLICT: a CHECK does not hold (the number is the operation's index, the sentence names
 * the key), LS_EINVAL: INCR of what is no number, or past its end. Nothing is then written.
 * GET: LS_ETOOOLD, with the oldest timestamp that can be read; LS_EINVAL: one above the clock. As
 * of a timestamp means with what the transaction of this timestamp wrote.
 * Any: LS_EKEY, LS_ETOOBIG (a key, the number of keys, the bytes), LS_ENOSPACE (the store, or
 * TXN_PARKED_MAX), LS_ESHUTDOWN (the sequencer ended while it was parked), LS_ENOMEM, LS_EIO. */
void txn_request(struct request *request, struct txn_call *call);

/* Frees what the results took. The call's arrays are the caller's. */
void txn_call_free(struct txn_call *call);

/* ---- the module ---- */

struct txn;

struct txn_options {
    unsigned shards;         /* 1 to TXN_SHARDS_MAX; 0: the default */
    uint64_t ttl_ms;         /* of a transaction that names none; 0: the default */
    uint64_t open_max;       /* open transactions in the store; 0: the default */
    uint64_t history_age_ms; /* versions that were current since are kept; TXN_HISTORY_DEFAULT */
    uint64_t seed;   /* of hashes: a secret number where strangers choose keys, or the clock */
    bool lives_on;   /* a server: what it finds in the log it moves by and by, not at once */
    uint64_t memory; /* for versions that are not moved yet: bytes, about; 0: the default */
    uint64_t (*now_ms)(void *context); /* monotonic; NULL: CLOCK_MONOTONIC */
    void *now_context;
};

/* Opens over the sequencer's store and becomes the sequencer's extension. Before the sequencer is
 * started or used; txn_close after sequencer_close. LS_EINVAL, LS_ENOMEM. */
int txn_open(struct txn **out, struct sequencer *sequencer, const struct txn_options *options,
             struct ls_error *error);
void txn_close(struct txn *txn);

/* Settings that can change while running. Any thread. */
void txn_set_history_age(struct txn *txn, uint64_t age_ms);
void txn_set_memory(struct txn *txn, uint64_t bytes);
void txn_set_open_max(struct txn *txn, uint64_t count);
void txn_set_ttl(struct txn *txn, uint64_t ttl_ms);

/* Milliseconds until a TXN_TICK is due, 0 to 1000. Any thread. */
int64_t txn_wait_ms(const struct txn *txn);

/* For INFO, from any thread. All but the first seven count from when the process began, and what
 * this process did. */
struct txn_counters {
    uint64_t open;         /* transactions open in the store, as this process last saw it */
    uint64_t parked;       /* calls that wait in this process */
    uint64_t parked_bytes; /* the `memory` of those */
    uint64_t collected;    /* as of timestamps below this nothing can be read */
    uint64_t oldest;       /* timestamp of the oldest open transaction; 0: none */
    uint64_t recent;       /* versions in memory that are not under `V` yet */
    uint64_t recent_bytes; /* their memory */
    uint64_t begun;
    uint64_t committed; /* with COMMIT */
    uint64_t run;       /* with RUN */
    uint64_t aborted;
    uint64_t released;
    uint64_t expired;
    uint64_t conflicts; /* RUN whose CHECK failed */
    uint64_t waited;    /* calls that had to wait */
    uint64_t written;   /* versions */
    uint64_t dropped;   /* versions collected */
    uint64_t merged;    /* versions moved from memory to `V` */
    uint64_t rebuilt;   /* the index was made again, whole */
    uint64_t synced;    /* the index followed other processes */
};
void txn_counters(struct txn *txn, struct txn_counters *out);

#endif
