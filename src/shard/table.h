/*
 * A hash table with open addressing that grows and shrinks a few slots at a time, so that no call
 * pays for all. It holds pointers; what they point to, and what makes two equal, is the caller's.
 */
#ifndef LS_SHARD_TABLE_H
#define LS_SHARD_TABLE_H

#include "shard/pool.h"

struct slot {
    uint64_t hash;
    void *item; /* NULL: free */
};

struct slots {
    struct slot *at; /* a power of two of them */
    size_t mask;
    size_t count;
};

struct table {
    struct slots now;
    struct slots old; /* while it grows or shrinks: what was not moved yet */
    size_t moved;     /* the old slots below this one are free */
};

/* 0, LS_ENOMEM or LS_ENOSPACE. */
int table_open(struct table *table, struct pool *pool);

/* Makes sure of `extra` more items. 0, LS_ENOMEM or LS_ENOSPACE. */
int table_reserve(struct table *table, size_t extra, struct pool *pool);

/* There must be room, see above; and the item must not be there yet. */
void table_add(struct table *table, uint64_t hash, void *item, struct pool *pool);

/* The item must be there. */
void table_remove(struct table *table, uint64_t hash, const void *item, struct pool *pool);

static inline size_t table_count(const struct table *table)
{
    return table->now.count + table->old.count;
}

typedef bool (*table_match)(const void *item, const void *sought);

static inline void *slots_find(const struct slots *slots, uint64_t hash, table_match match,
                               const void *sought)
{
    size_t i = hash & slots->mask;
    while (slots->at[i].item != NULL) {
        if (slots->at[i].hash == hash && match(slots->at[i].item, sought)) {
            return slots->at[i].item;
        }
        i = (i + 1) & slots->mask;
    }
    return NULL;
}

/* The item of this hash that matches; NULL where there is none. */
static inline void *table_find(const struct table *table, uint64_t hash, table_match match,
                               const void *sought)
{
    void *item = slots_find(&table->now, hash, match, sought);
    if (item == NULL && table->old.count != 0) {
        item = slots_find(&table->old, hash, match, sought);
    }
    return item;
}

/* Two steps that bring into the cache what table_find() will look at. */
static inline void table_prefetch(const struct table *table, uint64_t hash)
{
    __builtin_prefetch(&table->now.at[hash & table->now.mask]);
}

static inline void table_prefetch_item(const struct table *table, uint64_t hash)
{
    const struct slot *slot = &table->now.at[hash & table->now.mask];
    if (slot->item != NULL) {
        __builtin_prefetch(slot->item);
    }
}

#endif
