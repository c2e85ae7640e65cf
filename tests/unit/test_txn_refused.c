/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that are refused in the middle of a batch, and what shares the batch with them. */
#include <stdlib.h>

#include "txn_world.h"

/* The call is refused, and those that share its batch notice nothing. */
static void assert_refused_alone(struct world *w, struct job *refused, int status)
{
    struct job before, after;
    struct sequencer_counters counters;
    struct txn_counters then = world_counters(w, 0);
    job_run(&before);
    job_op(&before, TXN_OP_INCR, "before", NULL, 1);
    job_run(&after);
    job_op(&after, TXN_OP_INCR, "after", NULL, 1);
    world_submit_together(w, 0, (struct job *const[]){&before, refused, &after}, 3);
    assert_true(before.done && refused->done && after.done);
    assert_code(before.request.status, 0, &before.error);
    assert_code(refused->request.status, status, &refused->error);
    assert_code(after.request.status, 0, &after.error);
    sequencer_counters(w->processes[0].sequencer, &counters);
    assert_int_equal(counters.retries, 0);
    assert_int_equal(world_counters(w, 0).rebuilt, then.rebuilt);
    assert_int_equal(world_counters(w, 0).open, then.open);
    job_free(&before);
    job_free(refused);
    job_free(&after);
}

static void a_begin_that_reads_too_much_is_refused_alone(void **state)
{
    enum { COUNT = 17, SIZE = 1000000 };
    (void)state;
    struct world w = {0};
    struct job job;
    static char value[SIZE];
    char names[COUNT][2];
    ls_bytes keys[COUNT];
    struct txn_value values[COUNT];
    world_open(&w, NULL, 1);
    for (size_t i = 0; i < COUNT; i++) {
        names[i][0] = (char)('a' + (char)i);
        names[i][1] = '\0';
        keys[i] = bytes_of_text(names[i]);
        job_run(&job);
        job_op(&job, TXN_OP_PUT, names[i], NULL, 0);
        job.ops[0].value = bytes_of(value, sizeof(value));
        world_run(&w, 0, &job, 0);
        job_free(&job);
    }
    job_begin(&job, NULL, NULL, LIST("other"), NULL);
    job.call.eager = (struct txn_keys){keys, COUNT};
    job.call.values = values;
    assert_refused_alone(&w, &job, LS_ETOOBIG);
    world_close(&w);
}

static void who_finds_no_place_to_wait_is_refused_alone(void **state)
{
    struct waiting {
        struct request request;
        struct txn_call call;
        struct txn_value value;
    };
    (void)state;
    struct world w = {0};
    struct job job;
    struct ls_error error;
    ls_bytes key = bytes_of_text("a");
    struct waiting *all = calloc(TXN_PARKED_MAX, sizeof(*all));
    assert_non_null(all);
    world_open(&w, NULL, 1);
    struct sequencer *sequencer = w.processes[0].sequencer;
    uint64_t first = world_begin(&w, 0, LIST("a"));
    for (size_t i = 0; i < TXN_PARKED_MAX; i++) {
        all[i].call =
            (struct txn_call){.kind = TXN_GET, .eager = {&key, 1}, .values = &all[i].value};
        all[i].request.error = &error;
        txn_request(&all[i].request, &all[i].call);
        sequencer_submit(sequencer, &all[i].request, &all[i].request);
    }
    world_work(&w, 0);
    assert_int_equal(world_counters(&w, 0).parked, TXN_PARKED_MAX);
    job_begin(&job, LIST("a"), NULL, LIST("b"), NULL);
    assert_refused_alone(&w, &job, LS_ENOSPACE);
    job_run(&job);
    job_op(&job, TXN_OP_INCR, "a", NULL, 1);
    assert_refused_alone(&w, &job, LS_ENOSPACE);
    assert_int_equal(world_counters(&w, 0).parked, TXN_PARKED_MAX);
    job_end(&job, TXN_ABORT, first);
    txn_request(&job.request, &job.call);
    job.request.error = &error;
    sequencer_submit(sequencer, &job.request, &job.request);
    while (sequencer_step(sequencer)) {
    }
    size_t back = 0;
    for (struct request *r = sequencer_take(sequencer); r != NULL; r = r->next) {
        assert_code(r->status, 0, r->error);
        back++;
    }
    assert_int_equal(back, TXN_PARKED_MAX + 1);
    world_close(&w);
    free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_begin_that_reads_too_much_is_refused_alone),
        cmocka_unit_test(who_finds_no_place_to_wait_is_refused_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
