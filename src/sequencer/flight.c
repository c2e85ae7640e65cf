/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flights: batches whose commits are under way while the next is applied. They land in the order in
 * which they took off. Where one is lost, so are those behind it, which were applied on top of it:
 * all of their requests run again.
 *
 * A flight has its price, so batches fly only where their requests are slow to apply; what is
 * applied quickly had better gather while the disk is busy.
 */
#include <assert.h>
#include <string.h>

#include "base/error.h"
#include "sequencer/state.h"

/* What a batch of slow requests takes, about: while answers to some travel, and their clients think
 * of more, others are applied. */
#define SLOW_BATCH_NS UINT64_C(1000000)

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
 * something else than 0. The mutex is held before and after,
 * and not in between. */
static int finish(struct sequencer *s, bool wait, struct list *batch)
{
    struct flight flight = s->flights[0];
    struct ls_error error;
    pthread_mutex_unlock(&s->mutex);
    int rc = coordinator_finish(s->coordinator, wait, &error);
    if (rc < 0) {
        batch_forget_steps(flight.batch.first);
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
        batch_run(s, &batch);
        pthread_mutex_lock(&s->mutex);
    }
    batch_give_back(s, &batch);
    *done = true;
    return true;
}

bool flights_land(struct sequencer *s, bool all)
{
    bool done = false;
    s->flight_ready = false;
    while (s->flight_count > 0 && land(s, all, &done)) {
        continue;
    }
    return done;
}

bool flights_launch(struct sequencer *s)
{
    struct list batch = batch_take(s, SLOW_BATCH_NS / (s->apply_ns + 1) + FLIGHT_REQUESTS_MIN);
    struct ls_error error;
    pthread_mutex_unlock(&s->mutex);
    batch_mark_steps(batch.first);
    int rc = coordinator_begin_ahead(s->coordinator, s->now_ns(s->now_context), &error);
    rc = rc < 0 ? rc : batch_apply(s, batch.first, &error);
    uint64_t before_us = monotonic_us();
    rc = rc < 0 ? rc : coordinator_submit(s->coordinator, on_flight, s, &error);
    uint64_t took_us = monotonic_us() - before_us;
    if (rc < 0) {
        batch_forget_steps(batch.first);
    }
    pthread_mutex_lock(&s->mutex);
    if (rc == 0) {
        s->flights[s->flight_count++] = (struct flight){batch, before_us};
        return false;
    }
    (void)flights_land(s, true);
    if (rc < 0) {
        s->batch_retries++;
        pthread_mutex_unlock(&s->mutex);
        batch_run(s, &batch);
        pthread_mutex_lock(&s->mutex);
    } else {
        s->batch_commit_us += took_us;
    }
    batch_give_back(s, &batch);
    return true;
}
