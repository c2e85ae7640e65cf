/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the workers promised, and what follows: reads that are heard, and versions, transactions and
 * anchors that nobody can ask for any longer. Hearing is done at once, for its answers are awaited;
 * collecting a few steps at a time.
 */
#include "shard/state.h"

struct worker *shard_worker(struct ls_shard *shard, uint64_t number)
{
    size_t low = 0;
    size_t high = shard->worker_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (shard->workers[middle].number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool there = low < shard->worker_count && shard->workers[low].number == number;
    return there ? &shard->workers[low] : NULL;
}

bool shard_collect(struct ls_shard *shard, size_t steps)
{
    uint64_t until = shard->heard_all_reads;
    while (steps > 0 && shard->unpassed != NULL && shard->unpassed->timestamp < until) {
        struct transaction *transaction = transaction_of(shard->unpassed);
        shard->unpassed = transaction->stamp.next;
        shard->collected = transaction->stamp.timestamp + 1;
        size_t cost = 1 + transaction->mark_count / 4;
        steps -= cost < steps ? cost : steps;
        transaction_pass(shard, transaction);
    }
    bool left = shard->unpassed != NULL && shard->unpassed->timestamp < until;
    shard->collected = left ? shard->unpassed->timestamp : until;
    while (steps > 0 && shard->chains_due > 0) {
        chain_collect_step(shard);
        steps--;
    }
    return left || shard->chains_due > 0;
}

/* Inlined always: gcc takes a function that only prefetches for one without effect, and drops calls
 * of it. So also the other one. */
static inline __attribute__((always_inline)) void prefetch_lines(const void *from, size_t size)
{
    for (size_t i = 0; i < size; i += CACHE_LINE) {
        __builtin_prefetch((const uint8_t *)from + i);
    }
}

/* With many transactions open, what they consist of was pushed out of the cache long ago. They end
 * about in their order: so this brings in the keys of the next one, with the cells to which they
 * will return, and the transaction after it, where its keys stand. */
static inline __attribute__((always_inline)) void prefetch_ahead(const struct ls_shard *shard,
                                                                 struct stamp *stamp)
{
    if (stamp == NULL) {
        return;
    }
    const struct transaction *transaction = transaction_of(stamp);
    for (uint32_t i = 0; i < transaction->mark_count && i < MARKS_UNSORTED_MAX; i++) {
        prefetch_lines(transaction->marks[i].key, sizeof(struct key));
        table_prefetch(&shard->keys, transaction->marks[i].hash);
    }
    if (stamp->next != NULL) {
        prefetch_lines(stamp->next, sizeof(struct transaction) + 2 * sizeof(struct mark));
    }
}

static void hear_all_writes(struct ls_shard *shard, uint64_t timestamp)
{
    while (shard->unheard != NULL && shard->unheard->timestamp <= timestamp) {
        struct transaction *transaction = transaction_of(shard->unheard);
        shard->unheard = transaction->stamp.next;
        shard->heard_all_writes = transaction->stamp.timestamp;
        prefetch_ahead(shard, shard->unheard);
        transaction_hear(shard, transaction);
    }
    shard->heard_all_writes = timestamp;
}

/* Brings both marks of the shard up to what the workers say, and does what follows. */
static void watermarks_update(struct ls_shard *shard)
{
    uint64_t writes = UINT64_MAX;
    uint64_t reads = UINT64_MAX;
    for (size_t i = 0; i < shard->worker_count; i++) {
        writes = shard->workers[i].writes < writes ? shard->workers[i].writes : writes;
        reads = shard->workers[i].reads < reads ? shard->workers[i].reads : reads;
    }
    if (writes > shard->heard_all_writes) {
        hear_all_writes(shard, writes);
    }
    reads = reads < writes ? reads : writes;
    if (reads > shard->heard_all_reads) {
        shard->heard_all_reads = reads;
        shard->chains_due = table_count(&shard->chains);
    }
}

int ls_shard_seen(ls_shard *shard, uint64_t worker, uint64_t timestamp, bool writes)
{
    struct worker *who = shard_worker(shard, worker);
    if (who == NULL) {
        return shard_refuse(LS_ENOTFOUND, 0, "%llu is none of the shard's workers",
                            (unsigned long long)worker);
    }
    uint64_t *promised = writes ? &who->writes : &who->reads;
    if (timestamp > *promised) {
        *promised = timestamp;
        watermarks_update(shard);
    }
    (void)shard_collect(shard, COLLECT_STEP);
    return 0;
}

void watermarks_raise(struct ls_shard *shard, uint64_t timestamp)
{
    for (size_t i = 0; i < shard->worker_count; i++) {
        struct worker *worker = &shard->workers[i];
        worker->writes = timestamp > worker->writes ? timestamp : worker->writes;
    }
    watermarks_update(shard);
    (void)shard_collect(shard, COLLECT_STEP);
}

bool ls_shard_collect(ls_shard *shard, size_t steps)
{
    bool left = shard_collect(shard, steps);
    if (!left) {
        pool_trim(&shard->pool);
    }
    return left;
}
