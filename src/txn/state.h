/*
 * The inside of the module, shared by its files. Not for use outside this folder.
 *
 * Three layers: the index of open transactions (index.c); versions, which are written to the log
 * (vlog.c) and kept in memory (recent.c) until they are moved into the store (merge.c), and read
 * and collected there (version.c); and what each kind of call does (interactive.c, look.c, run.c).
 * txn.c ties them to the coordinator's transactions.
 */
#ifndef LS_TXN_STATE_H
#define LS_TXN_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "codec/key.h"
#include "codec/record.h"
#include "coordinator/coordinator.h"
#include "coordinator/layout.h"
#include "lockstep_shard.h"
#include "txn/recent.h"
#include "txn/txn.h"

/* ---- the index ---- */

/* A key of an open transaction. */
struct held {
    ls_bytes key; /* in the transaction's own memory */
    uint64_t hash;
    unsigned kinds; /* of enum txn_mark_kind */
    bool written;   /* by the commit under way */
};

struct open {
    uint64_t timestamp;
    uint64_t via;
    uint64_t ttl_ms;
    uint64_t began_ns;
    bool whole;       /* one call of its process, which waits to run at once */
    uint64_t seen_ms; /* since when this process knows it */
    struct txn_call *waiters, *waiters_last; /* until it is closed */
    struct txn_call *parts;                  /* its own calls, which wait for others */
    struct open *next_in_bucket;
    struct open *older, *newer; /* in the order of their timestamps */
    size_t count;
    struct held *keys; /* in byte order */
};

/* By how much the time limit of who waits is above that of the one it waits for. */
#define OUTLAST_MS    5000
#define OUTLAST_S_MAX ((TXN_TTL_MS_MAX + OUTLAST_MS) / 1000)

struct index {
    uint64_t seed;
    unsigned shard_count;
    ls_shard **shards;
    uint64_t *seen; /* the watermarks of each */
    uint64_t *stamps;
    uint64_t stamp;
    struct open **buckets;
    size_t bucket_count; /* a power of two */
    struct open *oldest, *newest;
    size_t count;
    uint64_t locked; /* acknowledgements so far */
    ls_shard_lock *locks;
    size_t locks_max;
    size_t outlast_s_top; /* at least that of each: what is above counts nobody */
    uint32_t outlast_counts[OUTLAST_S_MAX + 1]; /* open transactions, by seconds */
};

int index_open(struct index **out, unsigned shard_count, uint64_t seed, struct ls_error *error);
void index_close(struct index *index);

struct open *index_find(const struct index *index, uint64_t timestamp);

/* Made from its record, not yet in the index. LS_EINVAL: no keys, or a key twice. */
int open_new(struct open **out, uint64_t timestamp, const struct transaction *record,
             struct ls_error *error);
void open_free(struct open *open);
struct held *open_key(const struct open *open, ls_bytes key);

/* Places its marks. It must be newer than all others. On success it is the index's. */
int index_add(struct index *index, struct open *open, struct ls_error *error);
/* Takes it out and frees it, its waiters and parts taken off before. */
void index_remove(struct index *index, struct open *open);
/* What it wrote at a key, or LS_SHARD_NONE. */
int index_write(struct index *index, const struct open *open, const struct held *held,
                enum ls_shard_content content, ls_bytes value, struct ls_error *error);
/* A time limit, in ms, that is above those of all that are open by OUTLAST_MS, or equal to that of
 * one which runs in a call of its own; rounded up to whole seconds. */
uint64_t index_outlast_ms(struct index *index);
/* Gives up the writes that were not made. */
void index_release(struct index *index, const struct open *open);
/* The open write that a read of the key below `timestamp` would wait for; 0: none. Nothing may be
 * added below `timestamp` from then on. */
int index_waits_for(struct index *index, uint64_t timestamp, ls_bytes key, uint64_t *out,
                    struct ls_error *error);

/* ---- the module ---- */

/* What lies in the store's record of them, and what of the collection goes with it. */
struct standing {
    uint64_t open;
    uint64_t logged; /* the sequence behind the last record of the version log */
    uint64_t merged; /* everything below it is under `V` */
    uint64_t written;
    uint64_t collected;
    uint64_t generation;
    uint64_t changed_at; /* the clock when the last version was written, as far as known */
    uint64_t swept;      /* everything was looked through with this as `collected` */
    bool sweeping;
    bool sweep_kept; /* something stayed that a later one must look for */
    uint64_t sweep_collected;
    struct key sweep_from;
    uint64_t trimmed; /* what the log had below was deleted, as far as this process knows */
};

/* How the frozen generation is moved. What ends in _kept is as of the last commit. */
struct merging {
    bool whole;        /* at once: it was found in the store, by a process that may not live long */
    bool idle;         /* nobody writes: all goes, and its memory with it */
    bool behind;       /* a step was not as large as it should have been */
    bool done;         /* it is in the store as a whole */
    bool blocked;      /* the store had no room for it */
    bool stepped;      /* in this transaction */
    unsigned pause;    /* transactions without a step, after one that was undone */
    uint64_t age_ms;   /* of the active generation, without times in which nobody looked */
    uint64_t wrote_ms; /* when somebody last wrote */
    uint64_t now_ms;   /* when that, or the last tick, was */
    uint64_t granted;  /* bytes of room that were asked for and not used */
    uint64_t taken, taken_kept;                        /* versions */
    const struct recent_version *resume, *resume_kept; /* of the key that is next; NULL: all */
};

struct sample {
    uint64_t ms;
    uint64_t clock;
};

#define SAMPLES 16

/* A doubly linked list of calls. */
struct calls {
    struct txn_call *first, *last;
};

/* A key of a RUN, and what is there as its operations go on. */
struct slot {
    ls_bytes key;
    uint64_t hash; /* recent_hash */
    bool read;     /* what is stored matters */
    bool write;    /* something is to be written */
    bool absent;
    size_t at;      /* of the value in the call's bytes; AT_BORROWED: it is `value` */
    ls_bytes value; /* where borrowed; the size in each case */
};

#define AT_BORROWED SIZE_MAX

struct txn {
    struct extension extension;
    struct store *store;
    struct index *index;
    unsigned shard_count;
    uint64_t seed;
    uint64_t (*now_ms)(void *context);
    void *now_context;
    atomic_uint_fast64_t ttl_ms, open_max, history_age_ms, memory;

    struct recent *recent;
    bool lives_on;          /* see struct txn_options */
    uint64_t recent_merged; /* what `recent` knows of `merged` */
    struct merging merging;
    struct standing known, now;
    bool fresh;         /* nothing was read of the store yet */
    bool stale;         /* `known` is not to be trusted */
    bool dirty;         /* nor is the index */
    bool touched;       /* this transaction changed the index, or who waits */
    uint64_t reloads;   /* of the coordinator, when `known` was read */
    uint64_t epoch;     /* of this process; 0: not asked for yet */
    bool epoch_is_new;  /* in this transaction */
    uint64_t put_count; /* versions, in this transaction */

    struct calls parking; /* in this transaction */
    struct calls parked;
    struct calls ready; /* to run again */
    /* Linked by waiter_next: ready once the transaction is committed. */
    struct txn_call *waking, *waking_last;
    uint64_t parked_count;
    uint64_t parked_bytes;
    uint64_t *over_timestamps;
    size_t over_count, over_max; /* RUNs that failed after they had waited: closed at the end */

    struct sample samples[SAMPLES];
    size_t sample_count;
    uint64_t earliest_ms; /* no transaction is given up before */
    uint64_t ticked_ms;

    struct buf record; /* scratch */
    struct buf lists;  /* scratch */
    struct slot *slots;
    uint16_t *slot_of;    /* of each operation, its slot */
    uint16_t *slot_table; /* slots by hash, counted from 1; 0: none */
    size_t slots_max, slot_table_max;
    struct logged_write *writes;
    size_t writes_max;

    struct txn_call tick_call;
    struct request tick_request;
    struct ls_error tick_error;

    /* For other threads. */
    atomic_uint_fast64_t due_ms;
    atomic_uint_fast64_t waiting;
    atomic_uint word;             /* the store's wake word when it was last looked at */
    struct txn_counters counters; /* as of now */
    pthread_mutex_t lock;         /* guards: */
    struct txn_counters published;
};

/* ---- park.c ---- */

void txn_calls_add(struct calls *calls, struct txn_call *call);
void txn_calls_remove(struct calls *calls, struct txn_call *call);
void txn_calls_join(struct calls *to, struct calls *from);

/* Whether one more call may wait: 0 or LS_ENOSPACE. */
int txn_check_parking(const struct txn *txn, struct ls_error *error);
/* Parks the call until the open transaction is closed, or the one that it is part of. */
int txn_park(struct txn *txn, struct request *request, uint64_t waits_for);
/* It is not counted any more. */
void txn_parked_no_more(struct txn *txn, const struct txn_call *call);
/* Those who wait for it, and those that are part of it: they have nothing to wait for any more. */
void txn_wake_for(struct txn *txn, struct open *open);
void txn_wake_everybody(struct txn *txn);

/* ---- txn.c ---- */

/* Whether one more transaction may be open: 0 or LS_ENOSPACE. */
int txn_check_open(const struct txn *txn, struct ls_error *error);
/* Puts the record of a new transaction, whose `via` and `began_ns` it sets, and places its marks.
 * Its timestamp is the next value of the clock. Where it is refused nothing was put. */
int txn_open_new(struct txn *txn, struct coordinator *c, struct transaction *record,
                 uint64_t *timestamp, struct ls_error *error);
/* A call that waited to run at once failed: its transaction is closed at the end of this one. */
int txn_give_up(struct txn *txn, uint64_t timestamp, struct ls_error *error);
/* Deletes the record, and takes it out of the index. */
int txn_close_open(struct txn *txn, struct coordinator *c, struct open *open,
                   struct ls_error *error);
/* The open transaction, or LS_ETXNEXPIRED, LS_EINVAL. */
int txn_find(struct txn *txn, struct coordinator *c, uint64_t timestamp, struct open **out,
             struct ls_error *error);
uint64_t txn_now_ms(const struct txn *txn);

/* ---- vlog.c ---- */

/* Room for so many in txn->writes. 0 or LS_ENOMEM. */
int vlog_reserve(struct txn *txn, size_t count, struct ls_error *error);
/* Appends what a transaction writes, the first `count` of txn->writes in any order, each key once,
 * as one record. Asks for no room. Where it fails, nothing was put, or the coordinator's
 * transaction is broken. */
int vlog_write(struct txn *txn, struct coordinator *c, uint64_t timestamp, size_t count,
               struct ls_error *error);
/* Brings what is in memory up to `known`. */
int vlog_follow(struct txn *txn, struct coordinator *c, struct ls_error *error);
/* Deletes records that are merged, a bounded number. */
int vlog_trim(struct txn *txn, struct coordinator *c, size_t budget, struct ls_error *error);

/* ---- merge.c ---- */

/* Whether so many bytes may be written, as far as memory goes: 0 or LS_ENOSPACE. */
int merge_admit(const struct txn *txn, struct ls_error *error);
/* The log was read as a whole. */
void merge_found(struct txn *txn);
/* At the end of a transaction: moves versions into the store where it is time for that. */
int merge_step(struct txn *txn, struct coordinator *c, struct ls_error *error);
/* After it. */
void merge_settle(struct txn *txn, bool committed);
void merge_tick(struct txn *txn, uint64_t now_ms);
/* Whether nobody writes, and there is something to be moved or deleted. */
bool merge_is_due(const struct txn *txn);
/* Something of this timestamp is under `V` that will be of no use: a sweep must come by again. */
void merge_sweep_again(struct txn *txn, uint64_t timestamp);

/* ---- version.c ---- */

/* Reads the newest version of the key below `timestamp`: 1 with *value borrowed (deleted or not),
 * 0 where there is none, or negative. `hash` is recent_hash. */
int version_read(struct txn *txn, struct coordinator *c, ls_bytes key, uint64_t hash,
                 uint64_t timestamp, uint64_t *found, struct version *out, struct ls_error *error);
/* Puts one under `V`. */
int version_put(struct txn *txn, struct coordinator *c, ls_bytes key, uint64_t timestamp,
                const struct version *version, struct ls_error *error);
int version_drop(struct txn *txn, struct coordinator *c, const struct key *key,
                 struct ls_error *error);
/* LS_ECORRUPT, where a scan of versions, or of their log, gave what does not belong there. */
int version_misplaced(struct ls_error *error);
/* Deletes what cannot be read any more, looking at up to `budget` versions, at least 2. */
int version_sweep(struct txn *txn, struct coordinator *c, size_t budget, struct ls_error *error);

/* What a read below `timestamp` gives: the value, copied into the call's bytes, 0; or, where it
 * must wait, 1 with *waits_for. */
int txn_resolve(struct txn *txn, struct coordinator *c, struct txn_call *call, uint64_t timestamp,
                ls_bytes key, uint64_t hash, struct txn_value *value, uint64_t *waits_for,
                struct ls_error *error);
/* Points the values into the call's bytes, which no longer move. */
void txn_settle_values(struct txn_call *call, size_t count);

/* A key for a sentence: printable, and cut where it is long. */
struct key_text {
    char text[72];
};
struct key_text key_text(ls_bytes key);

/* ---- what each kind of call does ---- */

int txn_begin(struct txn *txn, struct coordinator *c, struct request *request);
int txn_read(struct txn *txn, struct coordinator *c, struct request *request);
int txn_commit(struct txn *txn, struct coordinator *c, struct request *request);
int txn_abort(struct txn *txn, struct coordinator *c, struct request *request);
int txn_run(struct txn *txn, struct coordinator *c, struct request *request);
/* The extension's; does something for a RUN. */
void txn_approach(void *context, const struct request *request, unsigned ahead);
int txn_get(struct txn *txn, struct coordinator *c, struct request *request);
int txn_explain(struct txn *txn, struct coordinator *c, struct request *request);
int txn_tick(struct txn *txn, struct coordinator *c, struct request *request);

/* Appends a list of keys as a record has it; checks each. */
int txn_put_list(struct txn *txn, const struct txn_keys *keys, struct ls_error *error);
/* Whether a call has too many keys, or too much in them. */
int txn_check_size(size_t count, size_t bytes, struct ls_error *error);

/* What lies at a place of a call's bytes, which may be nothing in no memory at all. */
static inline const void *bytes_at(const struct txn_call *call, size_t at)
{
    return call->bytes.data == NULL ? (const uint8_t *)"" : call->bytes.data + at;
}

static inline struct txn_call *call_of(const struct request *request)
{
    return request->in.extension.call;
}

#endif
