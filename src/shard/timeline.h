/*
 * An ordered list of timestamps: of what touches one key, and of the transactions of a shard. What
 * stands on it begins with a `struct stamp`. To add at the end, to remove, and to look near the end
 * cost the same however long it is; anywhere else takes a logarithm, by a skip list's rungs, which
 * a short timeline does without. Two stamps on a timeline never have the same timestamp.
 */
#ifndef LS_SHARD_TIMELINE_H
#define LS_SHARD_TIMELINE_H

#include "shard/pool.h"

struct rung;
struct ladder;

struct stamp {
    uint64_t timestamp;
    struct stamp *prev;
    struct stamp *next;
    struct rung *rung; /* the lowest; most have none */
};

/* All zeros is empty. */
struct timeline {
    struct stamp *first;
    struct stamp *last;
    struct ladder *ladder;
    size_t count;
};

/* Puts in a stamp whose `timestamp` is set. `dice` is a state of random numbers, any to begin with.
 * Where the pool has no memory the stamp gets no rungs, so this never fails. */
void timeline_insert(struct timeline *timeline, struct stamp *stamp, uint64_t *dice,
                     struct pool *pool);
void timeline_remove(struct timeline *timeline, struct stamp *stamp, struct pool *pool);

/* The newest with a smaller timestamp; NULL where there is none. */
struct stamp *timeline_below(const struct timeline *timeline, uint64_t timestamp);

#endif
