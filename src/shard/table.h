/*
 * A hash table with open addressing that grows and shrinks a few slots at a time, so that no call
 * pays for all. A slot holds a pointer, and behind it what else the caller wants to find without
 * going on to memory elsewhere. What makes two equal is the caller's.
 */
#ifndef LS_SHARD_TABLE_H
#define LS_SHARD_TABLE_H

#include "shard/pool.h"

/* What a slot begins with. Slots move: a pointer to one is good until the table is next changed. */
struct slot {
    uint64_t hash;
    void *item; /* NULL: free */
};

struct slots {
    uint8_t *at; /* a power of two of them */
    size_t slot_size;
    size_t mask;
    size_t count;
};

struct table {
    struct slots now;
    struct slots old; /* while it grows or shrinks: what was not moved yet */
    size_t moved;     /* the old slots below this one are free */
};

/* Of slots of this size, which divides a cache line. 0, LS_ENOMEM or LS_ENOSPACE. */
int table_open(struct table *table, size_t slot_size, struct pool *pool);

/* Makes sure of `extra` more items. 0, LS_ENOMEM or LS_ENOSPACE. */
int table_reserve(struct table *table, size_t extra, struct pool *pool);

/* There must be room, see above; and the item must not be there yet. Behind it are zeros. */
struct slot *table_add(struct table *table, uint64_t hash, void *item, struct pool *pool);

/* The slot of an item that must be there. */
struct slot *table_slot(const struct table *table, uint64_t hash, const void *item);

/* The item must be there. */
void table_remove(struct table *table, uint64_t hash, const void *item, struct pool *pool);

static inline size_t table_count(const struct table *table)
{
    return table->now.count + table->old.count;
}

static inline struct slot *slots_at(const struct slots *slots, size_t i)
{
    return (struct slot *)(slots->at + i * slots->slot_size);
}

typedef bool (*table_match)(const struct slot *slot, const void *sought);

static inline struct slot *slots_find(const struct slots *slots, uint64_t hash, table_match match,
                                      const void *sought)
{
    size_t i = hash & slots->mask;
    struct slot *slot = slots_at(slots, i);
    while (slot->item != NULL) {
        if (slot->hash == hash && match(slot, sought)) {
            return slot;
        }
        i = (i + 1) & slots->mask;
        slot = slots_at(slots, i);
    }
    return NULL;
}

/* The slot of this hash that matches; NULL where there is none. */
static inline struct slot *table_find(const struct table *table, uint64_t hash, table_match match,
                                      const void *sought)
{
    struct slot *slot = slots_find(&table->now, hash, match, sought);
    if (slot == NULL && table->old.count != 0) {
        slot = slots_find(&table->old, hash, match, sought);
    }
    return slot;
}

/* Brings into the cache what table_find() will look at. */
static inline void table_prefetch(const struct table *table, uint64_t hash)
{
    const uint8_t *slot = (const uint8_t *)slots_at(&table->now, hash & table->now.mask);
    __builtin_prefetch(slot);
    __builtin_prefetch(slot + 64); /* where a run of taken slots goes on */
}

#endif
