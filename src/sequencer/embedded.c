/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sequencer on its callers' threads: one of them leads, which is to run a batch for all that
 * are queued, and then another; the rest sleep until their requests are done.
 */
#include <assert.h>
#include <sched.h>

#include "base/futex.h"
#include "sequencer/state.h"

/* How often the last thread out lets others in before it tells the store that writes ceased. */
#define REST_YIELDS 4

/* How often a thread that waits has the extension look. */
#define TICK_MS 2

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
        sequencer_end_run(s); /* all who are inside wait for something else */
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
    struct list batch = batch_take(s, BATCH_REQUESTS_MAX);
    if (batch.count > 1 || s->queued.first != NULL) {
        sequencer_begin_run(s);
    }
    if (batch.count > 1 || (batch.count == 1 && batch.first->waiter != &s->tick_queued)) {
        s->busy_us = monotonic_us();
    }
    pthread_mutex_unlock(&s->mutex);
    batch_run(s, &batch);
    pthread_mutex_lock(&s->mutex);
    batch_settle(s, &batch);
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
        sequencer_end_run(s);
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
