/*
 * What tests of transactions stand on: processes on one store, each a sequencer that is stepped and
 * a txn over it, and calls that are submitted and looked at. Time stands still until a test moves
 * it.
 */
#ifndef LS_TESTS_TXN_WORLD_H
#define LS_TESTS_TXN_WORLD_H

#include "fixture.h"
#include "sequencer/sequencer.h"
#include "txn/txn.h"

#define WORLD_PROCESSES 3
#define JOB_KEYS        8
#define VALUE_TEXT_SIZE 32

/* Texts that end in NULL. */
#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

struct process {
    struct sequencer *sequencer;
    struct txn *txn;
};

struct world {
    struct store *store;
    size_t count;
    struct process processes[WORLD_PROCESSES];
    uint64_t now_ms;
    bool running; /* each look at the time moves it by a millisecond */
    uint64_t history_age_ms;
    uint64_t open_max;
    uint64_t memory; /* 0: the default, which no test fills */
};

/* A call with its request and all that it points to. */
struct job {
    struct request request;
    struct txn_call call;
    struct ls_error error;
    bool done;
    ls_bytes keys[JOB_KEYS];
    struct txn_value values[JOB_KEYS];
    struct txn_op ops[JOB_KEYS];
    struct txn_write writes[JOB_KEYS];
};

/* `count` processes over a store, which is the world's from then on; NULL: one in memory. */
void world_open(struct world *world, struct store *store, size_t count);
void world_close(struct world *world);
/* As if it had been killed and started again: what it held in memory is gone. What waits in it
 * fails. */
void world_restart(struct world *world, size_t process);

/* Arguments, from texts that end in NULL. */
void job_begin(struct job *job, const char *const *eager, const char *const *lazy,
               const char *const *will, const char *const *may);
void job_read(struct job *job, uint64_t timestamp, const char *key);
void job_commit(struct job *job, uint64_t timestamp, const char *const *pairs);
void job_end(struct job *job, enum txn_kind kind, uint64_t timestamp);
void job_run(struct job *job);
void job_op(struct job *job, enum txn_op_kind kind, const char *key, const char *value,
            int64_t amount);
void job_get(struct job *job, const char *const *keys);
void job_free(struct job *job);

/* Submits, and lets the process work until it has nothing to do; the job is then done or parked. */
void world_submit(struct world *world, size_t process, struct job *job);
/* The same with several, in one batch. */
void world_submit_together(struct world *world, size_t process, struct job *const *jobs,
                           size_t count);
void world_work(struct world *world, size_t process);
/* Lets the process tick. */
void world_tick(struct world *world, size_t process);
/* Submits one that must then be done, with this status. */
void world_run(struct world *world, size_t process, struct job *job, int status);

/* In one go, with no results to look at. Gives the timestamp. */
uint64_t world_begin(struct world *world, size_t process, const char *const *will);
void world_put(struct world *world, size_t process, const char *key, const char *value);
void world_commit(struct world *world, size_t process, uint64_t timestamp, const char *key,
                  const char *value);
/* Reads with GET, now; asserts the value, NULL for absent. */
void world_expect(struct world *world, size_t process, const char *key, const char *value);

/* As a string; false where it is absent. */
bool txn_value_text(char out[VALUE_TEXT_SIZE], const struct txn_value *value);
bool value_is(const struct txn_value *value, const char *text);
#define assert_value(value, text) assert_value_at(value, text, __FILE__, __LINE__)
void assert_value_at(const struct txn_value *value, const char *text, const char *file, int line);

struct txn_counters world_counters(const struct world *world, size_t process);

#endif
