/*
 * The coordinator: what a request does to a store transaction. No I/O of its own, no threads, no
 * clock on the wall: time comes in with coordinator_begin.
 *
 * Invariants after every transaction:
 *  - `clock` under C is at least the clock of the newest message, and of every value ever given
 *    out;
 *  - every change of an object or a node has its O message under its own clock, in the same
 *    transaction;
 *  - the chain of checks is whole from the newest discarded message to the newest;
 *  - `box` under C counts what is there.
 *
 * A request that is refused has put nothing. When a store call fails in the middle of one, the
 * transaction as a whole is unusable (coordinator_broken) and must be aborted.
 */
#ifndef LS_COORDINATOR_COORDINATOR_H
#define LS_COORDINATOR_COORDINATOR_H

#include "codec/key.h"
#include "coordinator/request.h"
#include "lockstep.h"
#include "store/store.h"

#define COORDINATOR_FORMAT 2

/* Messages discarded by one trim in one transaction, and bytes of them: the store notes each page
 * that becomes free, which near its limit there must be room for. */
#define TRIM_STEP       2000
#define TRIM_STEP_BYTES ((size_t)16 << 20)

/* Clock values given out by one request. */
#define CLOCK_NEXT_MAX (1 << 20)

struct coordinator;

/* Opens over a store, which stays the caller's: lays the control records in a new one, refuses a
 * newer format (LS_EFORMAT) and a clock behind its newest message (LS_ECORRUPT). Reads only, where
 * the store is read-only. */
int coordinator_open(struct coordinator **out, struct store *store, struct ls_error *error);
void coordinator_close(struct coordinator *coordinator);

/* One write transaction: begin, apply each request, end, then store commit. All on one thread. */
int coordinator_begin(struct coordinator *coordinator, uint64_t now_ns, struct ls_error *error);
/* Sets the request's results; the return value is its status. */
int coordinator_apply(struct coordinator *coordinator, struct request *request);
/* Says that a request will be applied so many requests from now: COORDINATOR_AHEAD first, and last
 * 1. */
#define COORDINATOR_AHEAD 3
void coordinator_approach(struct coordinator *coordinator, const struct request *request,
                          unsigned ahead);
bool coordinator_broken(const struct coordinator *coordinator);
/* Commits. Afterwards, whatever it returned, the transaction is over. */
int coordinator_commit(struct coordinator *coordinator, struct ls_error *error);
void coordinator_abort(struct coordinator *coordinator);

/* The same for transactions that follow each other without waiting: one may begin ahead while those
 * submitted before it are not finished, and builds on them. */
int coordinator_begin_ahead(struct coordinator *coordinator, uint64_t now_ns,
                            struct ls_error *error);
/* Instead of coordinator_commit. 1: committed, and so are all before it. 0: under way; `notify` is
 * called once, on any thread and before coordinator_finish returns, when that need not wait for it.
 * Negative: as coordinator_commit. At most STORE_FLIGHTS_MAX are under way. */
int coordinator_submit(struct coordinator *coordinator, void (*notify)(void *context),
                       void *context, struct ls_error *error);
/* Finishes the oldest for which submit returned 0: 1 where it is committed; negative where it is
 * not, and neither is any that was submitted after it; 0 where there is none, or it would have to
 * wait and need not. */
int coordinator_finish(struct coordinator *coordinator, bool wait, struct ls_error *error);

/* ---- for what extends it ----
 *
 * An extension carries out requests of its own kind (REQUEST_EXTENSION) in the coordinator's
 * transactions, under the same rules: one that is refused has put nothing, and all can run again.
 * Every member is called on the thread of the transaction. */
struct extension {
    void *context;
    /* Before the first of its requests in a transaction. 0, or the transaction is aborted. */
    int (*begin)(void *context, struct coordinator *coordinator, struct ls_error *error);
    /* Looks at a request that is applied soon (coordinator_approach), so that what it needs is on
     * its way from memory by then. Changes nothing. Within a transaction. NULL: not needed. */
    void (*approach)(void *context, const struct request *request, unsigned ahead);
    /* The request's status; may set `parked`. */
    int (*apply)(void *context, struct coordinator *coordinator, struct request *request);
    /* Before the commit of a transaction that began. 0, or it is aborted. */
    int (*end)(void *context, struct coordinator *coordinator, struct ls_error *error);
    /* Whether what it did in the transaction under way, past `end`, may be settled as committed
     * before it is, and be taken back with `lost`. */
    bool (*can_wait)(void *context);
    /* What began is over: it was committed, or nothing of it is there. */
    void (*settled)(void *context, struct coordinator *coordinator, bool committed);
    /* Some of what was settled as committed since the store was last finished is not there. */
    void (*lost)(void *context);
    /* Parked requests that should run again, linked by `next`, which are then no longer the
     * extension's; with `all`, every one of them. Not within a transaction. */
    struct request *(*woken)(void *context, bool all);
    /* A request that makes the extension look whether something is due, or NULL where none waits.
     * The extension's own, always the same. Any thread. */
    struct request *(*tick)(void *context);
};

/* Before the first transaction. `extension` stays the caller's. */
void coordinator_extend(struct coordinator *coordinator, const struct extension *extension);
const struct extension *coordinator_extension(const struct coordinator *coordinator);

/* All within a transaction. Reads go to the store's own. */
struct store *coordinator_store(const struct coordinator *coordinator);
struct store_txn *coordinator_txn(const struct coordinator *coordinator);
/* To read what may be as old as the last commit that was finished (store.h, `earlier`). */
int coordinator_earlier(struct coordinator *coordinator, struct store_txn **out,
                        struct ls_error *error);
uint64_t coordinator_now_ns(const struct coordinator *coordinator);
/* Grows whenever another process wrote since the last commit of this one, or that failed. */
uint64_t coordinator_reloads(const struct coordinator *coordinator);
/* The clock within the transaction, and the next value of it, which is never given again. */
uint64_t coordinator_clock_here(const struct coordinator *coordinator);
int coordinator_tick(struct coordinator *coordinator, uint64_t *out, struct ls_error *error);
int coordinator_epoch(struct coordinator *coordinator, uint64_t *out, struct ls_error *error);
/* Asked before the first put of a request. */
int coordinator_room(struct coordinator *coordinator, enum store_room room, size_t bytes,
                     struct ls_error *error);
/* Where they fail the transaction is broken. LS_ENOTFOUND of del is no failure. */
int coordinator_put(struct coordinator *coordinator, const struct key *key, ls_bytes value,
                    struct ls_error *error);
/* The key is above all others of its category. */
int coordinator_append(struct coordinator *coordinator, const struct key *key, ls_bytes value,
                       struct ls_error *error);
int coordinator_del(struct coordinator *coordinator, const struct key *key, struct ls_error *error);
/* Deletes what a cursor of the transaction stands on. */
int coordinator_drop(struct coordinator *coordinator, struct store_cursor *cursor,
                     struct ls_error *error);
/* Control records of numbers; a missing one is all zeros. */
int coordinator_control(struct coordinator *coordinator, const char *name,
                        const char *const *fields, struct control *out, struct ls_error *error);
int coordinator_set_control(struct coordinator *coordinator, const char *name,
                            const char *const *fields, const struct control *control,
                            struct ls_error *error);

/* The clock after the last commit of this process; any thread, no transaction. */
uint64_t coordinator_clock(const struct coordinator *coordinator);

#endif
