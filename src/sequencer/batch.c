/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches: take what has gathered, run it in one transaction, commit once. When the transaction
 * fails as a whole, its requests run again, each in a transaction of its own, so that one that
 * cannot succeed takes no other with it.
 */
#include "base/error.h"
#include "sequencer/state.h"

/* A batch is ended before it would weigh more than this. */
#define BATCH_BYTES_MAX ((size_t)32 << 20)

/* How often a batch that lost a race is run again before its requests fail. */
#define RETRIES_MAX 100

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
    for (unsigned i = 1; next != NULL && i <= COORDINATOR_AHEAD; i++, next = next->next) {
        coordinator_approach(coordinator, next, i);
    }
}

/* A mean over some batches, in which a large one counts for more than a small one. */
static void note_applied(struct sequencer *s, uint64_t count, uint64_t took_us)
{
    enum { KEPT = 1000 };
    s->apply_ns = (s->apply_ns * KEPT + took_us * 1000) / (KEPT + count);
}

/* Where it fails the transaction is over. */
int batch_apply(struct sequencer *s, struct request *first, struct ls_error *error)
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
    rc = rc < 0 ? rc : batch_apply(s, first, error);
    if (rc < 0) {
        return rc;
    }
    uint64_t before_us = monotonic_us();
    rc = coordinator_commit(coordinator, error);
    s->batch_commit_us += monotonic_us() - before_us;
    return rc;
}

void batch_forget_steps(struct request *first)
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
        batch_forget_steps(first);
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

void batch_mark_steps(struct request *first)
{
    for (struct request *request = first; request != NULL; request = request->next) {
        request->clock_before = request->clock;
        request->number_before = request->number;
    }
}

void batch_run(struct sequencer *s, struct list *batch)
{
    struct ls_error error;
    batch_mark_steps(batch->first);
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

bool batch_applies_slowly(const struct sequencer *s)
{
    return s->apply_ns >= s->apply_ns_min;
}

struct list batch_take(struct sequencer *s, size_t requests_max)
{
    struct list batch = {0};
    size_t bytes = 0;
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
    s->last_batch = batch.count;
    return batch;
}

void batch_settle_woken(struct sequencer *s, struct list *done)
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

void batch_settle(struct sequencer *s, struct list *batch)
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
        batch_settle_woken(s, &done);
    }
    *batch = done;
}

void sequencer_begin_run(struct sequencer *s)
{
    if (!s->in_run) {
        s->in_run = true;
        store_run(s->store, true);
    }
}

void sequencer_end_run(struct sequencer *s)
{
    if (s->in_run) {
        s->in_run = false;
        pthread_mutex_unlock(&s->mutex);
        store_run(s->store, false);
        pthread_mutex_lock(&s->mutex);
    }
}

void batch_give_back(struct sequencer *s, struct list *batch)
{
    batch_settle(s, batch);
    if (batch->first != NULL) {
        list_join(&s->done, batch->first, batch->last, batch->count);
    }
}
