/*
 * The sequencer: the one writer. Requests gather while a batch is being flushed; a batch is one
 * store transaction and one flush, and a request is done only after that (group commit).
 *
 * Three ways to drive it, over the same batches:
 *  - served: sequencer_start makes one thread; sequencer_submit hands it a list and returns at
 *    once; done requests come back, in the order of their commit, from sequencer_take.
 *  - embedded: sequencer_run on the calling thread. When several call at once, one of them commits
 *    for all, and the others sleep until theirs are done.
 *  - stepped: as served, without the thread. sequencer_step runs one batch on the calling thread,
 *    so that whoever has all time in hand, a simulation, decides when that is.
 * A sequencer is used in one way only.
 *
 * Requests of an extension may be parked: they leave the queue, and run again once the extension
 * gives them back, which it is asked for after every batch. Embedded, a thread whose request is
 * parked runs the extension's tick now and then, since other processes and the time may end its
 * wait; served and stepped, ticks are the owner's to submit.
 *
 * Rules: a submitted request comes back exactly once; requests of one submission keep their order,
 * but for those that were parked; when a transaction fails as a whole, its requests run again one
 * by one, so that only those that cannot succeed are refused. Batches are bounded in requests and
 * bytes.
 */
#ifndef LS_SEQUENCER_SEQUENCER_H
#define LS_SEQUENCER_SEQUENCER_H

#include "coordinator/coordinator.h"
#include "lockstep.h"
#include "store/store.h"

#define BATCH_REQUESTS_MAX 16384

struct sequencer;

/* Counters, for INFO. Read with sequencer_counters from any thread. */
struct sequencer_counters {
    uint64_t batches;
    uint64_t requests;
    uint64_t refused;
    uint64_t retries;   /* batches that ran again request by request */
    uint64_t batch_max; /* requests in the largest batch */
    uint64_t commit_us; /* total time spent in commit */
    uint64_t queued;    /* waiting now */
};

/* Opens over a store, which stays the caller's and must outlive it. */
int sequencer_open(struct sequencer **out, struct store *store, struct ls_error *error);
/* Served: the thread finishes what was submitted first. */
void sequencer_close(struct sequencer *sequencer);

/* The extension that carries out REQUEST_EXTENSION; it stays the caller's and must outlive it.
 * Before the first request. */
void sequencer_extend(struct sequencer *sequencer, const struct extension *extension);
struct store *sequencer_store(const struct sequencer *sequencer);

/* Wall clock for timestamps; the default is CLOCK_REALTIME. For simulations and tests. */
void sequencer_set_time(struct sequencer *sequencer, uint64_t (*now_ns)(void *context),
                        void *context);

/* Served: batches do not wait for the commits before them where a request takes so long to apply,
 * lately; 0: always, UINT64_MAX: never. For tests, to which the default is a matter of luck. Before
 * sequencer_start. */
void sequencer_fly_from(struct sequencer *sequencer, uint64_t apply_ns);

/* Served. `done` is called on the sequencer's thread after each batch: it must only wake the
 * loop. */
int sequencer_start(struct sequencer *sequencer, void (*done)(void *context), void *context,
                    struct ls_error *error);
/* From now on a request that wants to run again is done instead, with what it has so far, and one
 * that is parked fails with LS_ESHUTDOWN: for an end that is not to wait for a long trim, or for
 * others. Any thread. */
void sequencer_hurry(struct sequencer *sequencer);
/* Takes a list linked by `next`, first to last. Any thread. */
void sequencer_submit(struct sequencer *sequencer, struct request *first, struct request *last);
/* All done requests so far, in order, or NULL. Any one thread. */
struct request *sequencer_take(struct sequencer *sequencer);

/* Stepped: runs the next batch; false where nothing was queued. */
bool sequencer_step(struct sequencer *sequencer);

/* Embedded: returns when the request is done, with its status. Any thread. */
int sequencer_run(struct sequencer *sequencer, struct request *request);

uint64_t sequencer_clock(const struct sequencer *sequencer);
void sequencer_counters(struct sequencer *sequencer, struct sequencer_counters *out);

#endif
