/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lockstep_shard.h: the shard engine on its own.
 *
 * A shard guards a set of keys. Transactions declare beforehand which keys they will or may read
 * and write; each has a timestamp, its place in the one order. For every key the shard keeps a
 * timeline of what transactions will or may write there, and what they wrote. Transactions behave
 * as if they ran one at a time in the order of their timestamps. Nothing is ever aborted because
 * of another: a read waits for the newest earlier write of its key, and for nothing else.
 *
 * The engine is a state machine: calls in, messages out through one callback. It does no input or
 * output, knows no time and starts no threads, so it can stand behind any network, and any run of
 * it can be repeated.
 *
 * What to know before use:
 *
 *  1. A function that can fail returns 0 or a negative LS_E... code and sets ls_last_error(). A
 *     call that fails, for lack of memory too, has changed nothing and sent nothing. Besides what
 *     its comment names, a call that adds something may fail with LS_ENOMEM, or LS_ENOSPACE at
 *     `memory_max`, and any with LS_EINVAL.
 *  2. One thread at a time may use a shard; different shards know nothing of each other.
 *  3. Keys, values and anchors passed in are copied. Bytes in a message live until the callback
 *     returns, those of ls_shard_get() until the next call on the shard.
 *  4. The callback is called from within calls, in the order in which the messages are to be sent.
 *     It must not call back into the shard.
 *  5. Workers, executors and learners are numbers whose meaning is the caller's, timestamps are
 *     any numbers at all. A timestamp belongs to one transaction.
 *  6. What was said twice does no harm: the same lock is acknowledged again, a watermark that was
 *     there before, or a smaller one, is accepted and ignored, and so is an anchor that is held.
 *     Locks, reads, writes and watermarks may come in any order that their refusals allow.
 *
 * Watermarks. Each worker promises, with ls_shard_seen(), that no lock with a write (or: with a
 * read) and a smaller timestamp will come from it. The least promise of all workers is
 * `heard_all_writes`, and likewise `heard_all_reads`, which is never beyond the first. Neither
 * goes back. A read at t is answered once t <= heard_all_writes, for then every write before it is
 * known. What is older than the newest version below heard_all_reads is dropped, for then nobody
 * will ask for it. So a worker that falls silent holds both up, and with them reads and memory.
 */
#ifndef LOCKSTEP_SHARD_H
#define LOCKSTEP_SHARD_H

#include <lockstep.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LS_SHARD_KEY_MAX     65535      /* bytes of a key */
#define LS_SHARD_VALUE_MAX   0x40000000 /* bytes of a value, a chain or an anchor */
#define LS_SHARD_LOCKS_MAX   65536      /* locks of a transaction in one shard */
#define LS_SHARD_WORKERS_MAX 1024

/* What a transaction will or may do to a key: one reading kind, one writing kind, or one of each.
 * One that reads and writes a key reads the version before its own. */
enum ls_shard_kind {
    LS_SHARD_EAGER = 1, /* reads: the value is sent as soon as it is known */
    LS_SHARD_LAZY = 2,  /* reads: the value is sent once it is known and was asked for */
    LS_SHARD_WILL = 4,  /* writes */
    LS_SHARD_MAY = 8    /* writes, or says that it does not */
};

typedef struct ls_shard_lock {
    ls_bytes key;
    unsigned kinds; /* of enum ls_shard_kind */
} ls_shard_lock;

/* What is at a key below a timestamp, and what a write puts there. */
enum ls_shard_content {
    LS_SHARD_VALUE = 0,  /* these bytes */
    LS_SHARD_ABSENT = 1, /* nothing; written: a deletion */
    LS_SHARD_NONE = 2,   /* written only: the transaction did not use its LS_SHARD_MAY */
    LS_SHARD_STORED = 3, /* read only, with `stored`: the newest version below the timestamp that
                          * the caller keeps, absent where it keeps none */
    LS_SHARD_OPEN = 4    /* ls_shard_get() only: not known yet */
};

/* ---- messages out ---- */

enum ls_shard_message_kind {
    LS_SHARD_LOCKED = 1, /* to a worker: the locks of its transaction are placed */
    LS_SHARD_READ = 2    /* to an executor: what its transaction reads at a key */
};

typedef struct ls_shard_message {
    enum ls_shard_message_kind kind;
    enum ls_shard_content content; /* LS_SHARD_READ: a value, absent or stored */
    uint64_t timestamp;            /* of the transaction */
    uint64_t to;                   /* the worker, or the executor */
    ls_bytes key;                  /* LS_SHARD_READ */
    ls_bytes value;                /* LS_SHARD_VALUE */
} ls_shard_message;

typedef void (*ls_shard_send)(void *context, const ls_shard_message *message);

/* ---- a shard ---- */

typedef struct ls_shard ls_shard;

typedef struct ls_shard_options {
    size_t size;             /* LS_SHARD_OPTIONS_INIT */
    const uint64_t *workers; /* 1 to LS_SHARD_WORKERS_MAX different ones */
    size_t worker_count;
    uint64_t learner;  /* whose anchors are accepted */
    uint64_t heard;    /* where all watermarks begin */
    ls_shard_send out; /* required */
    void *context;     /* of `out` */
    bool stored; /* the caller keeps the versions: once ls_shard_write() returns, the value is its
                  * matter, and memory follows open transactions only */
    uint64_t memory_max; /* bytes the shard may hold; 0: no limit */
    uint64_t seed; /* of its hashes: a secret number where strangers choose the keys, so that they
                    * cannot choose ones that meet */
} ls_shard_options;

#define LS_SHARD_OPTIONS_INIT LS_INIT(ls_shard_options)

/* *out is the caller's, to be ended with ls_shard_close(). */
LS_API int ls_shard_open(ls_shard **out, const ls_shard_options *options);

/* Ends the shard and all it holds; sends nothing. NULL is ignored. */
LS_API void ls_shard_close(ls_shard *shard);

/* ---- messages in ---- */

/* KVSAcquireLock: places the marks of a transaction, and answers LS_SHARD_LOCKED. A key stands
 * once, with its kinds, or in two locks, one that reads and one that writes. The same call again
 * is acknowledged again, and changes nothing, as long as the transaction is remembered: while
 * something of it is open, and until its timestamp is below heard_all_reads.
 *
 * LS_ETOOOLD: it writes below heard_all_writes or reads below heard_all_reads, which is the
 * number; LS_ENOTFOUND: no such worker; LS_ECONFLICT: the timestamp has other locks, or another
 * worker or executor; LS_ETOOBIG: more locks or a longer key than allowed, with the limit;
 * LS_EINVAL: no locks, a kind that is none, a key that is read twice or written twice. */
LS_API int ls_shard_acquire(ls_shard *shard, uint64_t timestamp, uint64_t worker, uint64_t executor,
                            const ls_shard_lock *locks, size_t count);

/* KVSReadRequest: asks for a lazy value, or, where not `actual`, gives the read up, so that
 * nothing is sent. To ask again for what was not answered yet, or for an eager value, is accepted
 * and changes nothing. LS_ENOLOCK: the transaction has no such read, or it was answered or given
 * up. */
LS_API int ls_shard_read(ls_shard *shard, uint64_t timestamp, ls_bytes key, bool actual);

/* KVSWrite: LS_SHARD_VALUE, LS_SHARD_ABSENT, or LS_SHARD_NONE. `value` counts for the first only.
 * LS_ENOLOCK: the transaction has no such write, or did it already; LS_EINVAL: none, for a
 * LS_SHARD_WILL; LS_ETOOBIG. */
LS_API int ls_shard_write(ls_shard *shard, uint64_t timestamp, ls_bytes key,
                          enum ls_shard_content content, ls_bytes value);

/* UpdateSeenAll: no lock with a smaller timestamp that writes (`writes`), or that reads, will come
 * from this worker. A smaller timestamp than it gave before is accepted and ignored.
 * LS_ENOTFOUND: no such worker. */
LS_API int ls_shard_seen(ls_shard *shard, uint64_t worker, uint64_t timestamp, bool writes);

/* AnchorChosen: consensus fixed everything up to `timestamp`, which the write mark of every worker
 * is then at least. The first anchor of a chain may have any height, each further one has the next.
 * Anchors below heard_all_reads are dropped, but for the newest of each chain.
 * LS_ECONFLICT, with the height of the newest: another height than the next, or another anchor or
 * timestamp at a height that is held; LS_ENOTFOUND: another learner; LS_ETOOBIG. */
LS_API int ls_shard_anchor(ls_shard *shard, ls_bytes chain, uint64_t learner, uint64_t height,
                           ls_bytes anchor, uint64_t timestamp);

/* KVSRelease: the executor is gone. Reads that were not answered are given up, writes that were not
 * made become none, those of LS_SHARD_WILL too. LS_ENOLOCK: no such transaction is remembered. */
LS_API int ls_shard_release(ls_shard *shard, uint64_t timestamp);

/* ---- looking ---- */

/* Reads without a transaction, at any timestamp in [heard_all_reads, heard_all_writes]: sets
 * *content, and *value for LS_SHARD_VALUE. LS_SHARD_OPEN: the newest earlier write has no value
 * yet; *waits_for is its timestamp. It delays nobody and leaves nothing behind. With `stored`, any
 * timestamp up to heard_all_writes will do: the caller knows how far back it keeps versions.
 * LS_ETOOOLD, with heard_all_reads; LS_EINVAL, with heard_all_writes: a later one. `value` and
 * `waits_for` may be NULL. */
LS_API int ls_shard_get(ls_shard *shard, uint64_t timestamp, ls_bytes key,
                        enum ls_shard_content *content, ls_bytes *value, uint64_t *waits_for);

/* How a transaction stands at a key. */
enum ls_shard_state {
    LS_SHARD_NO_MARK = 0,   /* it has none */
    LS_SHARD_UNASKED = 1,   /* a lazy read that was not asked for */
    LS_SHARD_UNHEARD = 2,   /* a read later than heard_all_writes */
    LS_SHARD_WAITING = 3,   /* a read that waits for an open write */
    LS_SHARD_UNWRITTEN = 4, /* an open write */
    LS_SHARD_DONE = 5       /* answered or written, or given up */
};

typedef struct ls_shard_mark {
    size_t size;               /* LS_SHARD_MARK_INIT */
    unsigned kinds;            /* of enum ls_shard_kind, as acquired */
    enum ls_shard_state read;  /* not LS_SHARD_UNWRITTEN */
    enum ls_shard_state write; /* none, LS_SHARD_UNWRITTEN or LS_SHARD_DONE */
    bool waits;                /* an open write holds the read, or would if it were asked for */
    uint64_t waits_for;        /* whose; its kind: */
    unsigned waits_for_kind;   /* LS_SHARD_WILL or LS_SHARD_MAY */
} ls_shard_mark;

#define LS_SHARD_MARK_INIT LS_INIT(ls_shard_mark)

/* LS_ENOLOCK: no such transaction is remembered, or it has no mark at the key. */
LS_API int ls_shard_explain(ls_shard *shard, uint64_t timestamp, ls_bytes key, ls_shard_mark *out);

typedef struct ls_shard_info {
    size_t size; /* LS_SHARD_INFO_INIT */
    uint64_t heard_all_writes;
    uint64_t heard_all_reads;
    uint64_t keys;       /* with a version or a mark */
    uint64_t versions;   /* held */
    uint64_t open;       /* transactions with an unanswered read or an open write */
    uint64_t remembered; /* transactions in all, those still open among them */
    uint64_t waiting;    /* reads that wait for an open write */
    uint64_t anchors;    /* held */
    uint64_t collected;  /* versions are dropped up to here; it follows heard_all_reads */
    uint64_t memory;     /* bytes held */
} ls_shard_info;

#define LS_SHARD_INFO_INIT LS_INIT(ls_shard_info)

/* Costs the same whatever the shard holds. */
LS_API int ls_shard_info_get(const ls_shard *shard, ls_shard_info *out);

/* A hint: these keys will be locked soon, some transactions from now. Whoever has them in a queue
 * may name those of the transaction about four behind the one whose turn it is; with more keys than
 * a cache holds, what that one waits for is on its way by then. Changes nothing and cannot fail. */
LS_API void ls_shard_expect(const ls_shard *shard, const ls_bytes *keys, size_t count);

/* What may be dropped is dropped a few steps at a time, within the calls above. This takes up to
 * `steps` more, in a quiet moment; true where some are left. Where none are, memory that was kept
 * at hand goes back to the system. */
LS_API bool ls_shard_collect(ls_shard *shard, size_t steps);

#ifdef __cplusplus
}
#endif

#endif
