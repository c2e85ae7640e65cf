/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard WORK [--keys N] [--open N] [--transactions N]: how many transactions a second the shard
 * engine does in one thread. Each reads and writes two keys: two eager reads and two writes locked,
 * both promises pushed, two values out, two values written; the keys of those that come next are
 * named ahead, as a worker with a queue can. WORK is uniform, zipf (0.99) or hot (ten keys). Prints
 * one line of JSON. rocksdb.c does the same work.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lockstep_shard.h"
#include "work.h"

#define AHEAD 4 /* transactions whose keys are known before their turn */

struct bench {
    ls_shard *shard;
    uint64_t reads;
    uint64_t sum;
};

static void on_message(void *context, const ls_shard_message *message)
{
    struct bench *bench = context;
    if (message->kind == LS_SHARD_READ) {
        bench->reads++;
        if (message->value.size == 8) {
            uint64_t value;
            memcpy(&value, message->value.data, sizeof value);
            bench->sum += value;
        }
    }
}

static void must(int rc)
{
    if (rc != 0) {
        fprintf(stderr, "shard: %s\n", ls_last_error()->text);
        exit(1);
    }
}

static void acquire(struct bench *bench, struct work *work, uint64_t timestamp)
{
    uint64_t *keys = work_keys(work, timestamp);
    ls_shard_lock locks[2] = {
        {{&keys[0], 8}, LS_SHARD_EAGER | LS_SHARD_WILL},
        {{&keys[1], 8}, LS_SHARD_EAGER | LS_SHARD_WILL},
    };
    must(ls_shard_acquire(bench->shard, timestamp, 1, 1, locks, 2));
}

static void expect(struct bench *bench, struct work *work, uint64_t timestamp)
{
    uint64_t *keys = work_keys(work, timestamp);
    ls_bytes names[2] = {{&keys[0], 8}, {&keys[1], 8}};
    ls_shard_expect(bench->shard, names, 2);
}

static void execute(struct bench *bench, struct work *work, uint64_t timestamp)
{
    uint64_t *keys = work_keys(work, timestamp);
    must(ls_shard_seen(bench->shard, 1, timestamp, true));
    for (int i = 0; i < 2; i++) {
        uint64_t value = timestamp;
        must(ls_shard_write(bench->shard, timestamp, (ls_bytes){&keys[i], 8}, LS_SHARD_VALUE,
                            (ls_bytes){&value, 8}));
    }
    must(ls_shard_seen(bench->shard, 1, timestamp, false));
}

/* Every key gets a value. */
static void fill(struct bench *bench, const struct work *work)
{
    for (uint64_t key = 0; key < work->keys; key++) {
        ls_shard_lock lock = {{&key, 8}, LS_SHARD_WILL};
        must(ls_shard_acquire(bench->shard, key + 1, 1, 1, &lock, 1));
        must(ls_shard_write(bench->shard, key + 1, (ls_bytes){&key, 8}, LS_SHARD_VALUE,
                            (ls_bytes){&key, 8}));
        must(ls_shard_seen(bench->shard, 1, key + 2, true));
        must(ls_shard_seen(bench->shard, 1, key + 2, false));
    }
}

int main(int argc, char **argv)
{
    struct work work;
    if (!work_parse(&work, argc, argv)) {
        return 2;
    }
    uint64_t worker = 1;
    struct bench bench = {0};
    ls_shard_options options = LS_SHARD_OPTIONS_INIT;
    options.workers = &worker;
    options.worker_count = 1;
    options.out = on_message;
    options.context = &bench;
    must(ls_shard_open(&bench.shard, &options));
    fill(&bench, &work);

    uint64_t first = work.keys + 2;
    uint64_t end = first + work.transactions;
    double begun = work_now();
    for (uint64_t next = first; next < end + work.open - 1; next++) {
        if (next < end) {
            expect(&bench, &work, next + AHEAD);
            acquire(&bench, &work, next);
        }
        if (next >= first + work.open - 1) {
            execute(&bench, &work, next - (work.open - 1));
        }
    }
    double seconds = work_now() - begun;
    ls_shard_info info = LS_SHARD_INFO_INIT;
    must(ls_shard_info_get(bench.shard, &info));
    if (bench.reads != 2 * work.transactions || info.open != 0 || info.versions > work.keys + 4) {
        fprintf(stderr, "shard: %" PRIu64 " reads, %" PRIu64 " versions left\n", bench.reads,
                info.versions);
        return 1;
    }
    printf("{\"per_second\": %.0f, \"nanoseconds\": %.1f, \"memory\": %" PRIu64
           ", \"check\": %" PRIu64 "}\n",
           (double)work.transactions / seconds, seconds * 1e9 / (double)work.transactions,
           info.memory, bench.sum);
    ls_shard_close(bench.shard);
    work_free(&work);
    return 0;
}
