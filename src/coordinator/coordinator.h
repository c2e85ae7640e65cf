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

#include "coordinator/request.h"
#include "lockstep.h"
#include "store/store.h"

#define COORDINATOR_FORMAT 1

/* Messages discarded by one trim in one transaction. */
#define TRIM_STEP 2000

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
bool coordinator_broken(const struct coordinator *coordinator);
/* Commits. Afterwards, whatever it returned, the transaction is over. */
int coordinator_commit(struct coordinator *coordinator, struct ls_error *error);
void coordinator_abort(struct coordinator *coordinator);

/* The clock after the last commit of this process; any thread, no transaction. */
uint64_t coordinator_clock(const struct coordinator *coordinator);

#endif
