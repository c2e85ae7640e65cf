/* What the tests of the sequencer share: one over a store, requests with all that they need, and
 * waiting for them. */
#ifndef LS_TESTS_SEQUENCER_FIXTURE_H
#define LS_TESTS_SEQUENCER_FIXTURE_H

#include <semaphore.h>

#include "fixture.h"
#include "sequencer/sequencer.h"

struct served {
    struct store *store;
    struct sequencer *sequencer;
    sem_t done;
};

static inline uint64_t fixed_time(void *context)
{
    (void)context;
    return 1000000000;
}

static inline void wake(void *context)
{
    sem_post(&((struct served *)context)->done);
}

static inline struct store *open_store(const char *url)
{
    struct store *store;
    struct ls_error error;
    struct store_options options = {.create = true};
    assert_code(store_open(&store, url, &options, &error), 0, &error);
    return store;
}

static inline void open_embedded(struct served *s, struct store *store)
{
    struct ls_error error;
    s->store = store;
    assert_int_equal(sem_init(&s->done, 0, 0), 0);
    assert_code(sequencer_open(&s->sequencer, store, &error), 0, &error);
    sequencer_set_time(s->sequencer, fixed_time, NULL);
}

static inline void open_served(struct served *s, struct store *store)
{
    struct ls_error error;
    open_embedded(s, store);
    sequencer_fly_from(s->sequencer, UINT64_MAX);
    assert_code(sequencer_start(s->sequencer, wake, s, &error), 0, &error);
}

static inline void close_all(struct served *s)
{
    sequencer_close(s->sequencer);
    assert_sound(s->store);
    store_close(s->store);
    sem_destroy(&s->done);
}

/* A request with an error of its own and the item that it posts. */
struct job {
    struct request request;
    struct ls_error error;
    uint8_t item[24];
};

static inline void job_post(struct job *job)
{
    *job = (struct job){0};
    job->request = post_request(job->item, "job");
    job->request.error = &job->error;
    job->request.status = 1;
}

static inline void job_set(struct job *job, struct request request)
{
    *job = (struct job){.request = request};
    job->request.error = &job->error;
}

static inline void submit(struct served *s, struct job *jobs, size_t count)
{
    for (size_t i = 0; i + 1 < count; i++) {
        jobs[i].request.next = &jobs[i + 1].request;
    }
    sequencer_submit(s->sequencer, &jobs[0].request, &jobs[count - 1].request);
}

/* Waits until `count` requests are back, and gives them in the order in which they came. */
static inline void take(struct served *s, struct request **out, size_t count)
{
    size_t back = 0;
    while (back < count) {
        assert_int_equal(sem_wait(&s->done), 0);
        for (struct request *r = sequencer_take(s->sequencer); r != NULL; r = r->next) {
            assert_true(back < count);
            out[back++] = r;
        }
    }
    assert_null(sequencer_take(s->sequencer));
}

/* Submits all, and waits until all are back. */
static inline void run_all(struct served *s, struct job *jobs, size_t count)
{
    struct request *back[64];
    assert_true(count <= 64);
    submit(s, jobs, count);
    take(s, back, count);
}

#endif
