/* SPDX-License-Identifier: Apache-2.0 */
/* The sequencer as a whole: opening, closing, settings and counters. */
#include <stdlib.h>

#include "base/error.h"
#include "sequencer/state.h"

/* A batch takes off, and does not wait for its commit, where its requests take so long to apply,
 * each, lately. */
#define FLIGHT_NS_MIN 2000

static uint64_t wall_clock(void *context)
{
    struct timespec now;
    (void)context;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
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
        batch_settle_woken(s, &done);
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

void sequencer_fly_from(struct sequencer *s, uint64_t apply_ns)
{
    s->apply_ns_min = apply_ns;
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
