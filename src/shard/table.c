/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linear probing; a removal shifts back what follows, so there are no tombstones. To change its
 * size the table takes new slots and then, at every addition and removal, moves some of the old
 * ones over. At least two slots are moved for each item that comes or goes, which ends the move
 * long before the next change of size is due.
 */
#include "shard/table.h"

#include <assert.h>
#include <string.h>

#define SLOTS_MIN 64
#define MOVE_STEP 8

static size_t slots_room(size_t capacity)
{
    return capacity / 8 * 5; /* beyond it the runs of taken slots grow long */
}

static int slots_take(struct slots *slots, size_t capacity, size_t slot_size, struct pool *pool)
{
    uint8_t *at = pool_take_zeroed(pool, capacity * slot_size);
    if (at == NULL) {
        return pool_failure(pool);
    }
    *slots = (struct slots){.at = at, .slot_size = slot_size, .mask = capacity - 1};
    return 0;
}

/* Takes the slot in which this hash is to stand. */
static struct slot *slots_add(struct slots *slots, uint64_t hash)
{
    size_t i = hash & slots->mask;
    while (slots_at(slots, i)->item != NULL) {
        i = (i + 1) & slots->mask;
    }
    slots->count++;
    return slots_at(slots, i);
}

/* Frees a slot, and closes the gap with those behind it that stand as near to their place. */
static void slots_free_at(struct slots *slots, size_t gap)
{
    size_t i = gap;
    for (;;) {
        i = (i + 1) & slots->mask;
        struct slot *slot = slots_at(slots, i);
        if (slot->item == NULL) {
            break;
        }
        size_t home = slot->hash & slots->mask;
        if (((i - home) & slots->mask) >= ((i - gap) & slots->mask)) {
            memcpy(slots_at(slots, gap), slot, slots->slot_size);
            gap = i;
        }
    }
    memset(slots_at(slots, gap), 0, slots->slot_size);
    slots->count--;
}

/* The number of the item's slot; false where it is not there. */
static bool slots_seek(const struct slots *slots, uint64_t hash, const void *item, size_t *out)
{
    size_t i = hash & slots->mask;
    while (slots_at(slots, i)->item != item) {
        if (slots_at(slots, i)->item == NULL) {
            return false;
        }
        i = (i + 1) & slots->mask;
    }
    *out = i;
    return true;
}

int table_open(struct table *table, size_t slot_size, struct pool *pool)
{
    memset(table, 0, sizeof *table);
    return slots_take(&table->now, SLOTS_MIN, slot_size, pool);
}

/* Empties up to `steps` of the old slots, and lets them go once all are empty. */
static void table_move(struct table *table, size_t steps, struct pool *pool)
{
    struct slots *old = &table->old;
    while (old->count != 0 && steps-- > 0) {
        const struct slot *slot = slots_at(old, table->moved);
        if (slot->item == NULL) {
            table->moved++;
            continue;
        }
        memcpy(slots_add(&table->now, slot->hash), slot, old->slot_size);
        slots_free_at(old, table->moved);
    }
    if (old->at != NULL && old->count == 0) {
        pool_give(pool, old->at, (old->mask + 1) * old->slot_size);
        *old = (struct slots){0};
    }
}

static int table_resize(struct table *table, size_t capacity, struct pool *pool)
{
    table_move(table, SIZE_MAX, pool);
    struct slots fresh;
    int rc = slots_take(&fresh, capacity, table->now.slot_size, pool);
    if (rc == 0) {
        table->old = table->now;
        table->now = fresh;
        table->moved = 0;
        table_move(table, 0, pool);
    }
    return rc;
}

int table_reserve(struct table *table, size_t extra, struct pool *pool)
{
    size_t capacity = table->now.mask + 1;
    size_t needed = table_count(table) + extra;
    if (needed <= slots_room(capacity)) {
        return 0;
    }
    while (needed > slots_room(capacity)) {
        capacity *= 2;
    }
    return table_resize(table, capacity, pool);
}

struct slot *table_add(struct table *table, uint64_t hash, void *item, struct pool *pool)
{
    assert(table_count(table) < slots_room(table->now.mask + 1));
    struct slot *slot = slots_add(&table->now, hash);
    *slot = (struct slot){hash, item};
    table_move(table, MOVE_STEP, pool); /* which only adds: the slot stays where it is */
    return slot;
}

struct slot *table_slot(const struct table *table, uint64_t hash, const void *item)
{
    size_t i;
    if (slots_seek(&table->now, hash, item, &i)) {
        return slots_at(&table->now, i);
    }
    bool there = table->old.count != 0 && slots_seek(&table->old, hash, item, &i);
    assert(there);
    (void)there;
    return slots_at(&table->old, i);
}

void table_remove(struct table *table, uint64_t hash, const void *item, struct pool *pool)
{
    size_t i;
    if (slots_seek(&table->now, hash, item, &i)) {
        slots_free_at(&table->now, i);
    } else {
        bool there = table->old.count != 0 && slots_seek(&table->old, hash, item, &i);
        assert(there);
        (void)there;
        slots_free_at(&table->old, i);
    }
    table_move(table, MOVE_STEP, pool);
    size_t capacity = table->now.mask + 1;
    if (table->old.at == NULL && capacity > SLOTS_MIN && table_count(table) < capacity / 16) {
        (void)table_resize(table, capacity / 4, pool); /* else it stays as large as it is */
    }
}
