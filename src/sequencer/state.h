/*
 * What the parts of the sequencer share: batches (batch.c), those whose commits are under way
 * (flight.c), and the two ways to drive them, a thread of its own (served.c) and the callers'
 * (embedded.c).
 *
 * The mutex guards what is in struct sequencer, but for what is atomic. It is not held while
 * requests run or a commit waits: only one thread at a time runs batches, and what belongs to the
 * batch under way is its own.
 */
#ifndef LS_SEQUENCER_STATE_H
#define LS_SEQUENCER_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "sequencer/sequencer.h"

/* Behind another one a batch takes off with so many requests. */
#define FLIGHT_REQUESTS_MIN 32

/* For how long nothing was run before the store is told that writes have ceased. */
#define REST_MS 20

struct list {
    struct request *first;
    struct request *last;
    size_t count;
};

/* A batch whose commit is under way. */
struct flight {
    struct list batch;
    uint64_t begun_us;
};

struct sequencer {
    struct store *store;
    struct coordinator *coordinator;
    uint64_t (*now_ns)(void *context);
    void *now_context;

    pthread_mutex_t mutex;
    pthread_cond_t queued_cond; /* served: something was queued, or stop */
    struct list queued;
    struct list done;  /* served */
    bool running;      /* embedded: a thread leads, or was told to */
    size_t last_batch; /* requests in it, when it was taken */
    size_t wake_at;    /* served: the thread waits until so many are queued; 0: it runs */
    struct flight flights[STORE_FLIGHTS_MAX]; /* served: batches submitted to the store, in order */
    unsigned flight_count;
    bool flight_ready;      /* one of them may be finished without waiting */
    uint64_t apply_ns;      /* what applying a request takes, lately */
    uint64_t apply_ns_min;  /* FLIGHT_NS_MIN, but in tests */
    bool in_run;            /* the store was told that writes follow each other */
    atomic_uint inside;     /* embedded: threads in sequencer_run */
    atomic_uint entered;    /* embedded: times that threads went in */
    _Atomic uint32_t wakes; /* embedded: what waiters sleep on */
    uint64_t busy_us;       /* embedded: when a thread last led more than the extension's tick */
    bool stop;
    bool hurry;       /* nothing runs again */
    bool fail_parked; /* served: hurry was called, and what is parked did not fail yet */
    bool tick_queued; /* embedded: the extension's tick is in the queue or a batch */
    const struct extension *extension; /* NULL: none */
    struct sequencer_counters counters;
    uint64_t batch_commit_us; /* of the batch under way, until it is settled */
    uint64_t batch_retries;

    bool started;
    pthread_t thread;
    void (*on_done)(void *context);
    void *on_done_context;
};

static inline void list_push(struct list *list, struct request *request)
{
    request->next = NULL;
    if (list->first == NULL) {
        list->first = request;
    } else {
        list->last->next = request;
    }
    list->last = request;
    list->count++;
}

static inline void list_join(struct list *list, struct request *first, struct request *last,
                             size_t count)
{
    if (list->first == NULL) {
        list->first = first;
    } else {
        list->last->next = first;
    }
    list->last = last;
    list->count += count;
}

static inline uint64_t monotonic_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* ---- batches ---- */

/* Takes the next batch off the queue, of at most so many requests; the mutex is held. */
struct list batch_take(struct sequencer *s, size_t requests_max);
/* Runs all of it: what cannot be committed together runs once more, request by request, and each
 * has its status. */
void batch_run(struct sequencer *s, struct list *batch);
/* Counts the batch, and puts what wants to run again at the queue's end; the mutex is held. What is
 * left in the list is done. */
void batch_settle(struct sequencer *s, struct list *batch);
/* Puts what the extension gives back at the queue's end; at the end of everything, all that is
 * parked fails instead, and is done. The mutex is held. */
void batch_settle_woken(struct sequencer *s, struct list *done);

/* The steps of batch_run, for flights. Requests are applied in a transaction that has begun; where
 * that fails it is over. A run that is undone forgets the steps that its requests made, back to
 * where they were marked. */
void batch_mark_steps(struct request *first);
int batch_apply(struct sequencer *s, struct request *first, struct ls_error *error);
void batch_forget_steps(struct request *first);
/* Whether requests take so long to apply, lately, that a batch had better not wait for the commit
 * of the one before. */
bool batch_applies_slowly(const struct sequencer *s);

/* Served: settles the batch, and puts what is done where sequencer_take finds it. The mutex is
 * held. */
void batch_give_back(struct sequencer *s, struct list *batch);

/* Tell the store that writes follow each other, and that they have ceased. The mutex is held, but
 * not while the store ends the run. */
void sequencer_begin_run(struct sequencer *s);
void sequencer_end_run(struct sequencer *s);

/* ---- flights ---- */

/* Runs the next batch and does not wait for its commit, if the store can do that; where it can not,
 * it is done all the same. True where a batch is over; what is done of it is put where
 * sequencer_take finds it. The mutex is held before and after, and not in between. */
bool flights_launch(struct sequencer *s);
/* Finishes those that can be without waiting, or all; as flights_launch. */
bool flights_land(struct sequencer *s, bool all);

#endif
