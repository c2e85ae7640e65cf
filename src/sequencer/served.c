/* SPDX-License-Identifier: Apache-2.0 */
/* The sequencer as a thread of its own, which is handed requests and gives them back; and stepped,
 * without that thread. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "sequencer/state.h"

/* So many requests are worth two batches rather than one. */
#define SHARED_MIN 512

/* Clients that are all answered at once all ask again at once: disk and processors then take turns,
 * each at rest while the other works. So of many requests a batch leaves some for the next, as many
 * as bring it level with the one before, whose clients are thinking now. */
static size_t fair_share(const struct sequencer *s)
{
    size_t both = s->queued.count + s->last_batch;
    bool level = s->queued.count <= s->last_batch;
    size_t half = (both + 1) / 2;
    return level || both < SHARED_MIN || half > BATCH_REQUESTS_MAX ? BATCH_REQUESTS_MAX : half;
}

/* Runs the next batch, and puts what is done where sequencer_take finds it. The mutex is held
 * before and after, and not in between. */
static void serve_batch(struct sequencer *s)
{
    struct list batch = batch_take(s, fair_share(s));
    pthread_mutex_unlock(&s->mutex);
    batch_run(s, &batch);
    pthread_mutex_lock(&s->mutex);
    batch_give_back(s, &batch);
}

/* What is parked when the end is near fails without a batch; false where nothing was. */
static bool serve_parked(struct sequencer *s)
{
    struct list failed = {0};
    s->fail_parked = false;
    batch_settle_woken(s, &failed);
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
    bool may_follow = s->flight_count < STORE_FLIGHTS_MAX && batch_applies_slowly(s);
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
            sequencer_end_run(s);
        }
    }
    s->wake_at = 0;
}

/* Does what is to be done next: false where that is to end. *done says whether a batch is over,
 * were it one of requests that were all parked: the loop is to know how little is queued now. */
static bool serve_next(struct sequencer *s, bool *done)
{
    *done = false;
    if (s->flight_ready) {
        *done = flights_land(s, false);
    } else if (s->fail_parked) {
        *done = serve_parked(s);
    } else if (s->queued.first == NULL) {
        return false;
    } else {
        sequencer_begin_run(s);
        if (batch_applies_slowly(s)) {
            *done = flights_launch(s);
        } else {
            serve_batch(s);
            *done = true;
        }
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
    sequencer_end_run(s);
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

bool sequencer_step(struct sequencer *s)
{
    assert(!s->started);
    pthread_mutex_lock(&s->mutex);
    bool queued = s->queued.first != NULL;
    if (queued) {
        serve_batch(s);
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
