/* SPDX-License-Identifier: Apache-2.0 */
/* Processes, calls and time for tests of transactions. */
#include "txn_world.h"

#include <string.h>

static uint64_t world_now_ms(void *context)
{
    struct world *world = context;
    if (world->running) {
        world->now_ms++;
    }
    return world->now_ms;
}

static uint64_t world_now_ns(void *context)
{
    return ((const struct world *)context)->now_ms * 1000000;
}

static void open_process(struct world *world, size_t process)
{
    struct process *p = &world->processes[process];
    struct ls_error error;
    struct txn_options options = {.shards = 4,
                                  .now_ms = world_now_ms,
                                  .now_context = world,
                                  .open_max = world->open_max,
                                  .memory = world->memory,
                                  .history_age_ms = world->history_age_ms};
    assert_code(sequencer_open(&p->sequencer, world->store, &error), 0, &error);
    sequencer_set_time(p->sequencer, world_now_ns, world);
    assert_code(txn_open(&p->txn, p->sequencer, &options, &error), 0, &error);
}

static void close_process(struct world *world, size_t process)
{
    sequencer_close(world->processes[process].sequencer);
    txn_close(world->processes[process].txn);
}

void world_open(struct world *world, struct store *store, size_t count)
{
    struct ls_error error;
    struct store_options options = {.create = true};
    if (store == NULL) {
        assert_code(store_open(&store, "mem:", &options, &error), 0, &error);
    }
    world->store = store;
    world->count = count;
    world->now_ms = world->now_ms > 0 ? world->now_ms : 1000000;
    for (size_t i = 0; i < count; i++) {
        open_process(world, i);
    }
}

void world_close(struct world *world)
{
    for (size_t i = 0; i < world->count; i++) {
        close_process(world, i);
    }
    assert_sound(world->store);
    store_close(world->store);
}

void world_restart(struct world *world, size_t process)
{
    close_process(world, process);
    open_process(world, process);
}

/* ---- calls ---- */

static void job_new(struct job *job, enum txn_kind kind)
{
    *job = (struct job){.call = {.kind = kind}};
    job->call.values = job->values;
}

static ls_bytes bytes_or_none(const char *text)
{
    return text == NULL ? (ls_bytes){NULL, 0} : bytes_of_text(text);
}

static struct txn_keys add_keys(struct job *job, size_t *used, const char *const *texts)
{
    struct txn_keys keys = {&job->keys[*used], 0};
    for (; texts != NULL && texts[keys.count] != NULL; keys.count++) {
        assert_true(*used < JOB_KEYS);
        job->keys[(*used)++] = bytes_of_text(texts[keys.count]);
    }
    return keys;
}

void job_begin(struct job *job, const char *const *eager, const char *const *lazy,
               const char *const *will, const char *const *may)
{
    size_t used = 0;
    job_new(job, TXN_BEGIN);
    job->call.eager = add_keys(job, &used, eager);
    job->call.lazy = add_keys(job, &used, lazy);
    job->call.will = add_keys(job, &used, will);
    job->call.may = add_keys(job, &used, may);
}

void job_read(struct job *job, uint64_t timestamp, const char *key)
{
    const char *const keys[] = {key, NULL};
    size_t used = 0;
    job_new(job, TXN_READ);
    job->call.timestamp = timestamp;
    job->call.eager = add_keys(job, &used, keys);
}

void job_commit(struct job *job, uint64_t timestamp, const char *const *pairs)
{
    job_new(job, TXN_COMMIT);
    job->call.timestamp = timestamp;
    job->call.writes = job->writes;
    for (size_t i = 0; pairs != NULL && pairs[2 * i] != NULL; i++) {
        assert_true(i < JOB_KEYS);
        job->writes[i] = (struct txn_write){.key = bytes_of_text(pairs[2 * i]),
                                            .value = bytes_or_none(pairs[2 * i + 1]),
                                            .del = pairs[2 * i + 1] == NULL};
        job->call.write_count++;
    }
}

void job_end(struct job *job, enum txn_kind kind, uint64_t timestamp)
{
    job_new(job, kind);
    job->call.timestamp = timestamp;
}

void job_run(struct job *job)
{
    job_new(job, TXN_RUN);
    job->call.ops = job->ops;
}

void job_op(struct job *job, enum txn_op_kind kind, const char *key, const char *value,
            int64_t amount)
{
    assert_true(job->call.op_count < JOB_KEYS);
    job->ops[job->call.op_count++] = (struct txn_op){
        .kind = kind, .key = bytes_of_text(key), .value = bytes_or_none(value), .amount = amount};
}

void job_get(struct job *job, const char *const *keys)
{
    size_t used = 0;
    job_new(job, TXN_GET);
    job->call.eager = add_keys(job, &used, keys);
}

void job_free(struct job *job)
{
    txn_call_free(&job->call);
}

/* ---- running ---- */

void world_work(struct world *world, size_t process)
{
    struct sequencer *sequencer = world->processes[process].sequencer;
    while (sequencer_step(sequencer)) {
    }
    struct request *next;
    for (struct request *r = sequencer_take(sequencer); r != NULL; r = next) {
        struct job *job = r->owner;
        next = r->next;
        assert_false(job->done);
        job->done = true;
    }
}

void world_submit_together(struct world *world, size_t process, struct job *const *jobs,
                           size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct job *job = jobs[i];
        job->request.owner = job;
        job->request.error = &job->error;
        job->request.next = i + 1 < count ? &jobs[i + 1]->request : NULL;
        job->done = false;
        txn_request(&job->request, &job->call);
    }
    sequencer_submit(world->processes[process].sequencer, &jobs[0]->request,
                     &jobs[count - 1]->request);
    world_work(world, process);
}

void world_submit(struct world *world, size_t process, struct job *job)
{
    world_submit_together(world, process, &job, 1);
}

void world_run(struct world *world, size_t process, struct job *job, int status)
{
    world_submit(world, process, job);
    if (!job->done) {
        fail_msg("a call of kind %d waits", (int)job->call.kind);
    }
    assert_code(job->request.status, status, &job->error);
    if (status != 0) {
        assert_true(job->error.text[0] != '\0');
    }
}

void world_tick(struct world *world, size_t process)
{
    struct job job;
    job_new(&job, TXN_TICK);
    world_run(world, process, &job, 0);
    job_free(&job);
}

uint64_t world_begin(struct world *world, size_t process, const char *const *will)
{
    struct job job;
    job_begin(&job, NULL, NULL, will, NULL);
    world_run(world, process, &job, 0);
    job_free(&job);
    return job.request.clock;
}

void world_put(struct world *world, size_t process, const char *key, const char *value)
{
    struct job job;
    job_run(&job);
    job_op(&job, value != NULL ? TXN_OP_PUT : TXN_OP_DEL, key, value, 0);
    world_run(world, process, &job, 0);
    job_free(&job);
}

void world_commit(struct world *world, size_t process, uint64_t timestamp, const char *key,
                  const char *value)
{
    struct job job;
    const char *const pairs[] = {key, value, NULL, NULL};
    job_commit(&job, timestamp, key != NULL ? pairs : NULL);
    world_run(world, process, &job, 0);
    job_free(&job);
}

void world_expect(struct world *world, size_t process, const char *key, const char *value)
{
    struct job job;
    const char *const keys[] = {key, NULL};
    job_get(&job, keys);
    world_run(world, process, &job, 0);
    assert_value(&job.values[0], value);
    job_free(&job);
}

bool txn_value_text(char out[VALUE_TEXT_SIZE], const struct txn_value *value)
{
    assert_true(value->value.size < VALUE_TEXT_SIZE);
    if (value->value.size > 0) {
        memcpy(out, value->value.data, value->value.size);
    }
    out[value->value.size] = '\0';
    return !value->absent;
}

bool value_is(const struct txn_value *value, const char *text)
{
    return text == NULL ? value->absent
                        : !value->absent && bytes_equal(value->value, bytes_of_text(text));
}

void assert_value_at(const struct txn_value *value, const char *text, const char *file, int line)
{
    if (!value_is(value, text)) {
        print_error("expected %s, got %.*s\n", text == NULL ? "(absent)" : text,
                    value->absent ? 8 : (int)value->value.size,
                    value->absent ? "(absent)" : (const char *)value->value.data);
        _fail(file, line);
    }
}

struct txn_counters world_counters(const struct world *world, size_t process)
{
    struct txn_counters counters;
    txn_counters(world->processes[process].txn, &counters);
    return counters;
}
