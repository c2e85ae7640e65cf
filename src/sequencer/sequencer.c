/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches: take what has gathered, run it in one transaction, commit once, give it back. When the
 * transaction fails as a whole, its requests run again, each in a transaction of its own, so that
 * one that cannot succeed takes no other with it.
 */
#include "sequencer/sequencer.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/error.h"
#include "base/futex.h"

/* A batch is ended before it would weigh more than this. */
#define BATCH_BYTES_MAX ((size_t)32 << 20)

/* How often a batch that lost a race is run again before its requests fail. */
#define RETRIES_MAX 100

/* A batch takes off, and does not wait for its commit, where its requests take so long to apply,
 * each, lately. What is applied quickly had better gather while the disk is busy: a flight has its
 * price. Behind another one it takes off with so many requests. */
#define FLIGHT_NS_MIN       2000
#define FLIGHT_REQUESTS_MIN 32

/* What a batch of slow requests takes, about: while answers to some travel, and their clients think
 * of more, others are applied. */
#define FLIGHT_APPLY_NS UINT64_C(1000000)

/* For how long nothing was run before the store is told that writes have ceased. */
#define REST_MS 20

/* How often the last thread out lets others in before it tells the store so. */
#define REST_YIELDS 4

/* Embedded: how often a thread that waits has the extension look. */
#define TICK_MS 2

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
    size_t last_batch; /* embedded: requests in it */
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

static void list_push(struct list *list, struct request *request)
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

static void list_join(struct list *list, struct request *first, struct request *last, size_t count)
{
    if (list->first == NULL) {
        list->first = first;
    } else {
        list->last->next = first;
    }
    list->last = last;
    list->count += count;
}

static uint64_t wall_clock(void *context)
{
    struct timespec now;
    (void)context;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t monotonic_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Fails every request of the list: none of them had an effect. */
static void fail(struct request *first, const struct ls_error *error)
{
    for (struct request *request = first; request != NULL; request = request->next) {
        request->status = error->code;
        request->again = false;
        request->parked = false;
        *request->error = *error;
    }
}

static void look_ahead(struct coordinator *coordinator, const struct request *next)
{
    if (next != NULL) {
        coordinator_approach(coordinator, next, true);
    }
    if (next != NULL && next->next != NULL) {
        coordinator_approach(coordinator, next->next, false);
    }
}

/* A mean over some batches, in which a large one counts for more than a small one. */
static void note_applied(struct sequencer *s, uint64_t count, uint64_t took_us)
{
    enum { KEPT = 1000 };
    s->apply_ns = (s->apply_ns * KEPT + took_us * 1000) / (KEPT + count);
}

/* Where it fails the transaction is over. */
static int apply_all(struct sequencer *s, struct request *first, struct ls_error *error)
{
    struct coordinator *coordinator = s->coordinator;
    uint64_t begun_us = 0;
    uint64_t count = 0; /* without the first, which finds everything cold */
    for (struct request *request = first; request != NULL; request = request->next) {
        look_ahead(coordinator, request->next);
        if (coordinator_apply(coordinator, request) < 0 && coordinator_broken(coordinator)) {
            *error = *request->error;
            coordinator_abort(coordinator);
            return error->code;
        }
        if (request != first) {
            count++;
        } else if (request->next != NULL) {
            begun_us = monotonic_us();
        }
    }
    if (count > 0) {
        note_applied(s, count, monotonic_us() - begun_us);
    }
    return 0;
}

/* Requests run to be committed together: 0, or why they could not be; the list is then as
 * before. */
static int run_together(struct sequencer *s, struct request *first, struct ls_error *error)
{
    struct coordinator *coordinator = s->coordinator;
    int rc = coordinator_begin(coordinator, s->now_ns(s->now_context), error);
    rc = rc < 0 ? rc : apply_all(s, first, error);
    if (rc < 0) {
        return rc;
    }
    uint64_t before_us = monotonic_us();
    rc = coordinator_commit(coordinator, error);
    s->batch_commit_us += monotonic_us() - before_us;
    return rc;
}

/* What requests keep between their steps is as it was before a run that was undone. */
static void forget_steps(struct request *first)
{
    for (struct request *request = first; request != NULL; request = request->next) {
        request->clock = request->clock_before;
        request->number = request->number_before;
    }
}

/* Once more for each race that another process won. */
static int run_list(struct sequencer *s, struct request *first, struct ls_error *error)
{
    int rc;
    int races = 0;
    while ((rc = run_together(s, first, error)) < 0) {
        forget_steps(first);
        if (rc != LS_ERETRY || races++ == RETRIES_MAX) {
            break;
        }
    }
    return rc;
}

static void run_one_by_one(struct sequencer *s, struct request *first)
{
    for (struct request *request = first, *next; request != NULL; request = next) {
        struct ls_error error;
        next = request->next;
        request->next = NULL;
        if (run_list(s, request, &error) < 0) {
            fail(request, &error);
        }
        request->next = next;
    }
}

/* Remembers where each stands, for forget_steps. */
static void mark_steps(struct request *first)
{
    for (struct request *request = first; request != NULL; request = request->next) {
        request->clock_before = request->clock;
        request->number_before = request->number;
    }
}

static void run_batch(struct sequencer *s, struct list *batch)
{
    struct ls_error error;
    mark_steps(batch->first);
    if (run_list(s, batch->first, &error) == 0) {
        return;
    }
    if (batch->count == 1) {
        fail(batch->first, &error);
        return;
    }
    s->batch_retries++;
    run_one_by_one(s, batch->first);
}

static bool applies_slowly(const struct sequencer *s)
{
    return s->apply_ns >= s->apply_ns_min;
}

static size_t batch_requests_max(const struct sequencer *s)
{
    return s->started && applies_slowly(s)
               ? FLIGHT_APPLY_NS / (s->apply_ns + 1) + FLIGHT_REQUESTS_MIN
               : BATCH_REQUESTS_MAX;
}

/* Takes the next batch off the queue; the mutex is held. */
static struct list take_batch(struct sequencer *s)
{
    struct list batch = {0};
    size_t bytes = 0;
    size_t requests_max = batch_requests_max(s);
    while (s->queued.first != NULL && batch.count < requests_max) {
        struct request *request = s->queued.first;
        bytes += request_weight(request);
        if (batch.count > 0 && bytes > BATCH_BYTES_MAX) {
            break;
        }
        s->queued.first = request->next;
        s->queued.count--;
        list_push(&batch, request);
    }
    return batch;
}

/* Puts what the extension gives back at the queue's end; at the end of everything, all that is
 * parked fails instead, and is done. The mutex is held. */
static void settle_woken(struct sequencer *s, struct list *done)
{
    struct request *woken = s->extension->woken(s->extension->context, s->hurry);
    for (struct request *request = woken, *next; request != NULL; request = next) {
        next = request->next;
        if (s->hurry) {
            request->status = error_code(request->error, LS_ESHUTDOWN);
            list_push(done, request);
        } else {
            list_push(&s->queued, request);
        }
    }
}

/* Whether a request that ran is to run once more. The tick of an embedded sequencer has nobody who
 * waits for it: there will be another. */
static bool runs_again(const struct sequencer *s, const struct request *request)
{
    return request->again && !s->hurry && !(s->tick_queued && request->waiter == &s->tick_queued);
}

/* Counts the batch, and puts what wants to run again at the queue's end; the mutex is held. What is
 * left in the list is done. */
static void settle_batch(struct sequencer *s, struct list *batch)
{
    struct list done = {0};
    s->counters.batches++;
    s->counters.commit_us += s->batch_commit_us;
    s->counters.retries += s->batch_retries;
    s->batch_commit_us = 0;
    s->batch_retries = 0;
    if (batch->count > s->counters.batch_max) {
        s->counters.batch_max = batch->count;
    }
    for (struct request *request = batch->first, *next; request != NULL; request = next) {
        next = request->next;
        if (runs_again(s, request)) {
            list_push(&s->queued, request);
        } else if (!request->parked) {
            s->counters.requests++;
            s->counters.refused += request->status < 0;
            list_push(&done, request);
        }
    }
    if (s->extension != NULL) {
        settle_woken(s, &done);
    }
    *batch = done;
}

/* Tells the store that writes follow each other; the mutex is held. */
static void begin_run(struct sequencer *s)
{
    if (!s->in_run) {
        s->in_run = true;
        store_run(s->store, true);
    }
}

/* Tells the store that they have ceased; the mutex is held before and after, and not in between. */
static void end_run(struct sequencer *s)
{
    if (s->in_run) {
        s->in_run = false;
        pthread_mutex_unlock(&s->mutex);
        store_run(s->store, false);
        pthread_mutex_lock(&s->mutex);
    }
}

int sequencer_open(struct sequencer **out, struct store *store, struct ls_error *error)
{
    struct sequencer *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    int rc = coordinator_open(&s->coordinator, store, error);
    if (rc < 0) {
        free(s);
        return rc;
    }
    s->store = store;
    s->now_ns = wall_clock;
    s->apply_ns_min = FLIGHT_NS_MIN;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->queued_cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
    *out = s;
    return 0;
}

void sequencer_close(struct sequencer *s)
{
    if (s == NULL) {
        return;
    }
    if (s->started) {
        pthread_mutex_lock(&s->mutex);
        s->stop = true;
        pthread_cond_signal(&s->queued_cond);
        pthread_mutex_unlock(&s->mutex);
        pthread_join(s->thread, NULL);
    }
    if (s->extension != NULL) {
        /* Nobody takes them any more, but they are over. */
        struct list done = {0};
        s->hurry = true;
        settle_woken(s, &done);
    }
    pthread_cond_destroy(&s->queued_cond);
    pthread_mutex_destroy(&s->mutex);
    coordinator_close(s->coordinator);
    free(s);
}

void sequencer_extend(struct sequencer *s, const struct extension *extension)
{
    coordinator_extend(s->coordinator, extension);
    s->extension = extension;
}

struct store *sequencer_store(const struct sequencer *s)
{
    return s->store;
}

void sequencer_set_time(struct sequencer *s, uint64_t (*now_ns)(void *context), void *context)
{
    s->now_ns = now_ns;
    s->now_context = context;
}

void sequencer_fly_always(struct sequencer *s)
{
    s->apply_ns_min = 0;
}

/* ---- served ---- */

/* Gives back what is done of a batch; the mutex is held. */
static bool give_back(struct sequencer *s, struct list *batch)
{
    settle_batch(s, batch);
    if (batch->first == NULL) {
        return false;
    }
    list_join(&s->done, batch->first, batch->last, batch->count);
    return true;
}

/* Runs the next batch, and puts what is done where sequencer_take finds it; true where something
 * is. The mutex is held before and after, and not in between. */
static bool serve_batch(struct sequencer *s)
{
    struct list batch = take_batch(s);
    pthread_mutex_unlock(&s->mutex);
    run_batch(s, &batch);
    pthread_mutex_lock(&s->mutex);
    return give_back(s, &batch);
}

/* The store's word that a flight can be finished. */
static void on_flight(void *context)
{
    struct sequencer *s = context;
    pthread_mutex_lock(&s->mutex);
    s->flight_ready = true;
    pthread_cond_signal(&s->queued_cond);
    pthread_mutex_unlock(&s->mutex);
}

/* As coordinator_finish, for the oldest flight; takes it out, with its batch, where it returns
 * something else than 0. As serve_batch with the mutex. */
static int finish(struct sequencer *s, bool wait, struct list *batch)
{
    struct flight flight = s->flights[0];
    struct ls_error error;
    pthread_mutex_unlock(&s->mutex);
    int rc = coordinator_finish(s->coordinator, wait, &error);
    if (rc < 0) {
        forget_steps(flight.batch.first);
    }
    pthread_mutex_lock(&s->mutex);
    if (rc != 0) {
        s->batch_commit_us += rc > 0 ? monotonic_us() - flight.begun_us : 0;
        s->flight_count--;
        memmove(s->flights, s->flights + 1, s->flight_count * sizeof(s->flights[0]));
        *batch = flight.batch;
    }
    return rc;
}

/* Finishes the oldest flight, or where it is lost, which those behind it then are too, runs them
 * again; false where it would have to wait and need not. */
static bool land(struct sequencer *s, bool wait, bool *done)
{
    struct list batch;
    int rc = finish(s, wait, &batch);
    if (rc == 0) {
        return false;
    }
    if (rc < 0) {
        s->batch_retries++;
        while (s->flight_count > 0) {
            struct list behind;
            rc = finish(s, true, &behind);
            assert(rc < 0);
            list_join(&batch, behind.first, behind.last, behind.count);
        }
        pthread_mutex_unlock(&s->mutex);
        run_batch(s, &batch);
        pthread_mutex_lock(&s->mutex);
    }
    *done = give_back(s, &batch) || *done;
    return true;
}

/* Those flights that can be finished without waiting, or all. */
static bool land_flights(struct sequencer *s, bool all)
{
    bool done = false;
    s->flight_ready = false;
    while (s->flight_count > 0 && land(s, all, &done)) {
        continue;
    }
    return done;
}

/* Runs the next batch and does not wait for its commit, if the store can do that. As serve_batch;
 * where it can not, it is done all the same. */
static bool launch_batch(struct sequencer *s)
{
    struct list batch = take_batch(s);
    struct ls_error error;
    pthread_mutex_unlock(&s->mutex);
    mark_steps(batch.first);
    int rc = coordinator_begin_ahead(s->coordinator, s->now_ns(s->now_context), &error);
    rc = rc < 0 ? rc : apply_all(s, batch.first, &error);
    uint64_t before_us = monotonic_us();
    rc = rc < 0 ? rc : coordinator_submit(s->coordinator, on_flight, s, &error);
    uint64_t took_us = monotonic_us() - before_us;
    if (rc < 0) {
        forget_steps(batch.first);
    }
    pthread_mutex_lock(&s->mutex);
    if (rc == 0) {
        s->flights[s->flight_count++] = (struct flight){batch, before_us};
        return false;
    }
    bool done = land_flights(s, true);
    if (rc < 0) {
        s->batch_retries++;
        pthread_mutex_unlock(&s->mutex);
        run_batch(s, &batch);
        pthread_mutex_lock(&s->mutex);
    } else {
        s->batch_commit_us += took_us;
    }
    return give_back(s, &batch) || done;
}

/* As serve_batch: what is parked when the end is near fails without a batch. */
static bool serve_parked(struct sequencer *s)
{
    struct list failed = {0};
    s->fail_parked = false;
    settle_woken(s, &failed);
    if (failed.first == NULL) {
        return false;
    }
    list_join(&s->done, failed.first, failed.last, failed.count);
    return true;
}

/* How many must be queued for the thread to run a batch. */
static size_t enough(const struct sequencer *s)
{
    if (s->flight_count == 0) {
        return 1;
    }
    bool may_follow = s->flight_count < STORE_FLIGHTS_MAX && applies_slowly(s);
    return may_follow ? FLIGHT_REQUESTS_MIN : SIZE_MAX;
}

static bool has_work(const struct sequencer *s)
{
    return s->flight_ready || s->fail_parked || s->queued.count >= enough(s) ||
           (s->stop && s->flight_count == 0);
}

/* Waits for requests, for flights, or for the end; the mutex is held. */
static void wait_for_work(struct sequencer *s)
{
    struct timespec rest;
    if (has_work(s)) {
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &rest);
    rest.tv_nsec += REST_MS * 1000000;
    rest.tv_sec += rest.tv_nsec / 1000000000;
    rest.tv_nsec %= 1000000000;
    while (!has_work(s)) {
        s->wake_at = enough(s);
        if (!s->in_run || s->flight_count > 0) {
            pthread_cond_wait(&s->queued_cond, &s->mutex);
        } else if (pthread_cond_timedwait(&s->queued_cond, &s->mutex, &rest) == ETIMEDOUT) {
            end_run(s);
        }
    }
    s->wake_at = 0;
}

/* Does what is to be done next: false where that is to end. *done as from serve_batch. */
static bool serve_next(struct sequencer *s, bool *done)
{
    *done = false;
    if (s->flight_ready) {
        *done = land_flights(s, false);
    } else if (s->fail_parked) {
        *done = serve_parked(s);
    } else if (s->queued.first == NULL) {
        return false;
    } else {
        begin_run(s);
        *done = applies_slowly(s) ? launch_batch(s) : serve_batch(s);
    }
    return true;
}

static void *serve(void *argument)
{
    struct sequencer *s = argument;
    bool done;
    pthread_mutex_lock(&s->mutex);
    for (;;) {
        wait_for_work(s);
        if (!serve_next(s, &done)) {
            break;
        }
        if (done) {
            pthread_mutex_unlock(&s->mutex);
            s->on_done(s->on_done_context);
            pthread_mutex_lock(&s->mutex);
        }
    }
    end_run(s);
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

bool sequencer_step(struct sequencer *s)
{
    assert(!s->started);
    pthread_mutex_lock(&s->mutex);
    bool queued = s->queued.first != NULL;
    if (queued) {
        (void)serve_batch(s);
    }
    pthread_mutex_unlock(&s->mutex);
    return queued;
}

int sequencer_start(struct sequencer *s, void (*done)(void *context), void *context,
                    struct ls_error *error)
{
    s->on_done = done;
    s->on_done_context = context;
    int rc = pthread_create(&s->thread, NULL, serve, s);
    if (rc != 0) {
        return error_set(error, LS_EIO, 0, "no thread for the sequencer: %s", strerror(rc));
    }
    s->started = true;
    return 0;
}

void sequencer_hurry(struct sequencer *s)
{
    pthread_mutex_lock(&s->mutex);
    s->hurry = true;
    s->fail_parked = s->extension != NULL;
    pthread_cond_signal(&s->queued_cond);
    pthread_mutex_unlock(&s->mutex);
}

void sequencer_submit(struct sequencer *s, struct request *first, struct request *last)
{
    size_t count = 1;
    for (const struct request *request = first; request != last; request = request->next) {
        count++;
    }
    last->next = NULL;
    pthread_mutex_lock(&s->mutex);
    list_join(&s->queued, first, last, count);
    bool wake = s->wake_at > 0 && s->queued.count >= s->wake_at;
    s->wake_at = wake ? 0 : s->wake_at;
    pthread_mutex_unlock(&s->mutex);
    if (wake) {
        pthread_cond_signal(&s->queued_cond);
    }
}

struct request *sequencer_take(struct sequencer *s)
{
    pthread_mutex_lock(&s->mutex);
    struct request *first = s->done.first;
    s->done = (struct list){0};
    pthread_mutex_unlock(&s->mutex);
    return first;
}

/* ---- embedded ---- */

/* A thread in sequencer_run, on its stack. Sleeps until its request is done, or until it is its
 * turn to run a batch for all that are queued. */
struct waiter {
    _Atomic uint32_t state;
    uint32_t bit; /* it is woken by; others may have the same */
};

enum { WAITER_SLEEPS, WAITER_LEADS, WAITER_DONE };

/* Sets the state, after which the waiter may be gone, and gives its bit to wake it by. */
static uint32_t waiter_set(struct waiter *waiter, uint32_t state)
{
    uint32_t bit = waiter->bit;
    atomic_store_explicit(&waiter->state, state, memory_order_release);
    return bit;
}

/* Wakes, all at once, those whose states were set. */
static void wake_waiters(struct sequencer *s, uint32_t bits)
{
    if (bits != 0) {
        atomic_fetch_add(&s->wakes, 1);
        futex_wake(&s->wakes, bits);
    }
}

/* Queues the extension's tick. True where nobody leads, so that the caller must. */
static bool queue_tick(struct sequencer *s)
{
    bool leads = false;
    pthread_mutex_lock(&s->mutex);
    if (!s->running && monotonic_us() - s->busy_us > REST_MS * 1000) {
        end_run(s); /* all who are inside wait for something else */
    }
    struct request *tick = s->tick_queued ? NULL : s->extension->tick(s->extension->context);
    if (tick != NULL) {
        s->tick_queued = true;
        tick->waiter = &s->tick_queued; /* which tells it from those that somebody waits for */
        list_push(&s->queued, tick);
        leads = !s->running;
        s->running = true;
    }
    pthread_mutex_unlock(&s->mutex);
    return leads;
}

/* Sleeps until the thread is to lead (true), or its request is done. A request that is parked may
 * have to wait for another process, or for the time: now and then its thread has the extension
 * look, as the leader where there is none. */
static bool waiter_sleep(struct sequencer *s, struct waiter *waiter)
{
    for (;;) {
        uint32_t wakes = atomic_load(&s->wakes);
        uint32_t state = atomic_load_explicit(&waiter->state, memory_order_acquire);
        if (state == WAITER_DONE) {
            return false;
        }
        if (state == WAITER_LEADS) {
            atomic_store_explicit(&waiter->state, WAITER_SLEEPS, memory_order_relaxed);
            return true;
        }
        if (s->extension == NULL) {
            (void)futex_wait(&s->wakes, wakes, waiter->bit, 0);
        } else if (!futex_wait(&s->wakes, wakes, waiter->bit, TICK_MS) && queue_tick(s)) {
            return true; /* whatever the state has become: it is looked at after that */
        }
    }
}

/* Those whose batch was just done are about to queue their next requests: lets them, as long as
 * each turn brings more, so that one flush serves them all. The mutex is held. */
static void gather(struct sequencer *s)
{
    size_t before;
    if (s->last_batch <= 1) {
        return;
    }
    do {
        before = s->queued.count;
        pthread_mutex_unlock(&s->mutex);
        sched_yield();
        pthread_mutex_lock(&s->mutex);
    } while (s->queued.count > before && s->queued.count < BATCH_REQUESTS_MAX);
}

/* The first thread whose request is queued. Only the tick is nobody's. */
static struct waiter *first_waiter(const struct sequencer *s)
{
    struct request *request = s->queued.first;
    while (request != NULL && request->waiter == &s->tick_queued) {
        request = request->next;
    }
    return request == NULL ? NULL : request->waiter;
}

/* Runs one batch for whoever queued its requests, hands the lead to the next, and wakes whose
 * requests are done. True where only the tick is left to be run, by the same leader. */
static bool lead(struct sequencer *s, struct waiter *mine)
{
    pthread_mutex_lock(&s->mutex);
    gather(s);
    struct list batch = take_batch(s);
    if (batch.count > 1 || s->queued.first != NULL) {
        begin_run(s);
    }
    if (batch.count > 1 || (batch.count == 1 && batch.first->waiter != &s->tick_queued)) {
        s->busy_us = monotonic_us();
    }
    pthread_mutex_unlock(&s->mutex);
    run_batch(s, &batch);
    pthread_mutex_lock(&s->mutex);
    s->last_batch = batch.count;
    settle_batch(s, &batch);
    struct request *done = batch.first;
    for (struct request **at = &done; *at != NULL; at = &(*at)->next) {
        if ((*at)->waiter == &s->tick_queued) {
            *at = (*at)->next;
            s->tick_queued = false;
            break;
        }
    }
    struct waiter *next_leader = first_waiter(s);
    s->running = s->queued.first != NULL;
    bool more = s->running && next_leader == NULL;
    pthread_mutex_unlock(&s->mutex);
    uint32_t bits = next_leader == NULL ? 0 : waiter_set(next_leader, WAITER_LEADS);
    for (struct request *request = done, *next; request != NULL; request = next) {
        next = request->next;
        struct waiter *waiter = request->waiter;
        uint32_t bit = waiter_set(waiter, WAITER_DONE);
        bits |= waiter == mine ? 0 : bit;
    }
    wake_waiters(s, bits);
    return more;
}

/* Goes out. The last one tells the store that writes have ceased, unless others come in soon. */
static void leave(struct sequencer *s)
{
    if (atomic_fetch_sub(&s->inside, 1) != 1) {
        return;
    }
    pthread_mutex_lock(&s->mutex);
    for (int i = 0; s->in_run && i < REST_YIELDS && atomic_load(&s->inside) == 0; i++) {
        pthread_mutex_unlock(&s->mutex);
        sched_yield();
        pthread_mutex_lock(&s->mutex);
    }
    if (atomic_load(&s->inside) == 0) {
        end_run(s);
    }
    pthread_mutex_unlock(&s->mutex);
}

int sequencer_run(struct sequencer *s, struct request *request)
{
    assert(!s->started);
    atomic_fetch_add(&s->inside, 1);
    struct waiter mine = {WAITER_SLEEPS, 1u << atomic_fetch_add(&s->entered, 1) % 32};
    request->waiter = &mine;
    pthread_mutex_lock(&s->mutex);
    list_push(&s->queued, request);
    bool leads = !s->running;
    s->running = true;
    pthread_mutex_unlock(&s->mutex);
    while (leads || waiter_sleep(s, &mine)) {
        leads = lead(s, &mine);
    }
    leave(s);
    return request->status;
}

uint64_t sequencer_clock(const struct sequencer *s)
{
    return coordinator_clock(s->coordinator);
}

void sequencer_counters(struct sequencer *s, struct sequencer_counters *out)
{
    pthread_mutex_lock(&s->mutex);
    *out = s->counters;
    out->queued = s->queued.count;
    pthread_mutex_unlock(&s->mutex);
}
