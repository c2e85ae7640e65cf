/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A doubly linked list, and over it a skip list whose towers are made of rungs, linked in both
 * directions so that a stamp comes out without a search. Searches begin at the newest end: that is
 * where nearly all of them end.
 */
#include "shard/timeline.h"

#include <assert.h>

#define LEVELS      8  /* for 8^8 stamps and more */
#define NEAR        8  /* stamps from the end that are looked at before the rungs are */
#define LADDER_FROM 16 /* a timeline shorter than this gets no rungs */

struct rung {
    struct rung *left;
    struct rung *right;
    struct rung *above;
    struct rung *below;
    struct stamp *stamp;
    uint64_t timestamp; /* the stamp's, so that a search stays among the rungs */
};

struct ladder {
    struct rung *rightmost[LEVELS];
    size_t rungs;
    unsigned height;
};

/* The lowest rung with the smallest timestamp that is not below the one asked for, NULL where no
 * rung has such a one; and on each level the like in right[]. */
static struct rung *ladder_search(const struct ladder *ladder, uint64_t timestamp,
                                  struct rung *right[LEVELS])
{
    struct rung *at = NULL;
    for (unsigned level = ladder->height; level-- > 0;) {
        at = at != NULL ? at->below : NULL;
        struct rung *left = at != NULL ? at->left : ladder->rightmost[level];
        while (left != NULL && left->timestamp >= timestamp) {
            at = left;
            left = left->left;
        }
        right[level] = at;
    }
    return at;
}

struct stamp *timeline_below(const struct timeline *timeline, uint64_t timestamp)
{
    struct stamp *stamp = timeline->last;
    for (int i = 0; i < NEAR; i++) {
        if (stamp == NULL || stamp->timestamp < timestamp) {
            return stamp;
        }
        stamp = stamp->prev;
    }
    if (timeline->ladder != NULL) {
        struct rung *right[LEVELS];
        struct rung *rung = ladder_search(timeline->ladder, timestamp, right);
        if (rung != NULL) {
            stamp = rung->stamp;
        }
    }
    while (stamp != NULL && stamp->timestamp >= timestamp) {
        stamp = stamp->prev;
    }
    return stamp;
}

/* splitmix64: enough for throwing dice. */
static uint64_t dice_throw(uint64_t *dice)
{
    uint64_t z = *dice += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Every eighth stamp has a rung, every eighth of those a second one. */
static unsigned height_draw(uint64_t *dice)
{
    uint64_t random = dice_throw(dice);
    unsigned height = 0;
    while (height < LEVELS && (random & 7) == 0) {
        height++;
        random >>= 3;
    }
    return height;
}

static void rungs_add(struct timeline *timeline, struct stamp *stamp, unsigned height,
                      struct pool *pool)
{
    struct ladder *ladder = timeline->ladder;
    struct rung *right[LEVELS];
    (void)ladder_search(ladder, stamp->timestamp, right);
    struct rung *below = NULL;
    for (unsigned level = 0; level < height; level++) {
        struct rung *rung = pool_take(pool, sizeof *rung);
        if (rung == NULL) {
            return;
        }
        struct rung *after = level < ladder->height ? right[level] : NULL;
        struct rung *before = after != NULL ? after->left : ladder->rightmost[level];
        *rung = (struct rung){
            .left = before,
            .right = after,
            .below = below,
            .stamp = stamp,
            .timestamp = stamp->timestamp,
        };
        if (before != NULL) {
            before->right = rung;
        }
        *(after != NULL ? &after->left : &ladder->rightmost[level]) = rung;
        *(below != NULL ? &below->above : &stamp->rung) = rung;
        below = rung;
        ladder->rungs++;
    }
    ladder->height = height > ladder->height ? height : ladder->height;
}

static void rungs_remove(struct timeline *timeline, struct stamp *stamp, struct pool *pool)
{
    struct ladder *ladder = timeline->ladder;
    struct rung *rung = stamp->rung;
    for (unsigned level = 0; rung != NULL; level++) {
        struct rung *above = rung->above;
        if (rung->left != NULL) {
            rung->left->right = rung->right;
        }
        *(rung->right != NULL ? &rung->right->left : &ladder->rightmost[level]) = rung->left;
        pool_give(pool, rung, sizeof *rung);
        ladder->rungs--;
        rung = above;
    }
    stamp->rung = NULL;
    while (ladder->height > 0 && ladder->rightmost[ladder->height - 1] == NULL) {
        ladder->height--;
    }
    if (ladder->rungs == 0) {
        pool_give(pool, ladder, sizeof *ladder);
        timeline->ladder = NULL;
    }
}

void timeline_insert(struct timeline *timeline, struct stamp *stamp, uint64_t *dice,
                     struct pool *pool)
{
    struct stamp *before = timeline_below(timeline, stamp->timestamp);
    struct stamp *after = before != NULL ? before->next : timeline->first;
    assert(after == NULL || after->timestamp > stamp->timestamp);
    stamp->prev = before;
    stamp->next = after;
    stamp->rung = NULL;
    *(before != NULL ? &before->next : &timeline->first) = stamp;
    *(after != NULL ? &after->prev : &timeline->last) = stamp;
    timeline->count++;
    if (timeline->count < LADDER_FROM) {
        return;
    }
    unsigned height = height_draw(dice);
    if (height == 0) {
        return;
    }
    if (timeline->ladder == NULL) {
        timeline->ladder = pool_take_zeroed(pool, sizeof *timeline->ladder);
    }
    if (timeline->ladder != NULL) {
        rungs_add(timeline, stamp, height, pool);
        if (timeline->ladder->rungs == 0) {
            pool_give(pool, timeline->ladder, sizeof *timeline->ladder);
            timeline->ladder = NULL;
        }
    }
}

void timeline_remove(struct timeline *timeline, struct stamp *stamp, struct pool *pool)
{
    if (stamp->rung != NULL) {
        rungs_remove(timeline, stamp, pool);
    }
    *(stamp->prev != NULL ? &stamp->prev->next : &timeline->first) = stamp->next;
    *(stamp->next != NULL ? &stamp->next->prev : &timeline->last) = stamp->prev;
    timeline->count--;
}
