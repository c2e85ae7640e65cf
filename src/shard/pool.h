/*
 * The memory of one shard: small pieces from chunks by size class, large ones from malloc. Keeps to
 * a limit. A piece that was just given back is handed out next, so a steady load stays in the
 * processor's cache; a chunk of which nothing is in use goes back to the system.
 */
#ifndef LS_SHARD_POOL_H
#define LS_SHARD_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POOL_CLASSES   16
#define POOL_SMALL_MAX 4096
#define POOL_AT_HAND   64

struct pool_chunk;
struct pool_large;

struct pool_class {
    uint32_t piece_size;
    uint32_t at_hand_count;
    struct pool_chunk *with_room; /* chunks that have a free piece */
    void *at_hand[POOL_AT_HAND];  /* given back last, taken next */
};

struct pool {
    uint64_t limit; /* bytes; 0: none */
    uint64_t held;
    bool at_limit; /* the last failure was the limit's */
    struct pool_chunk *chunks;
    struct pool_large *large;
    struct pool_class classes[POOL_CLASSES];
    uint8_t class_of[POOL_SMALL_MAX / 16 + 1];
};

void pool_open(struct pool *pool, uint64_t limit);

/* Frees every piece there is. */
void pool_close(struct pool *pool);

/* NULL where there is no memory, or the limit is met: pool_failure() tells which. */
void *pool_take(struct pool *pool, size_t size);

/* The same, all zeros. */
void *pool_take_zeroed(struct pool *pool, size_t size);

/* Gives back what was taken with this size. NULL is ignored. */
void pool_give(struct pool *pool, void *piece, size_t size);

/* Lets go of the pieces at hand, and with them of every chunk that nothing else is used of. */
void pool_trim(struct pool *pool);

/* LS_ENOMEM or LS_ENOSPACE, after a NULL. */
int pool_failure(const struct pool *pool);

#endif
