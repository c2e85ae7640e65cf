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

static int slots_take(struct slots *slots, size_t capacity, struct pool *pool)
{
    struct slot *at = pool_take_zeroed(pool, capacity * sizeof *at);
    if (at == NULL) {
        return pool_failure(pool);
    }
    *slots = (struct slots){.at = at, .mask = capacity - 1};
    return 0;
}

static void slots_add(struct slots *slots, uint64_t hash, void *item)
{
    size_t i = hash & slots->mask;
    while (slots->at[i].item != NULL) {
        i = (i + 1) & slots->mask;
    }
    slots->at[i] = (struct slot){hash, item};
    slots->count++;
}

/* Frees a slot, and closes the gap with those behind it that stand as near to their place. */
static void slots_free_at(struct slots *slots, size_t gap)
{
    size_t i = gap;
    for (;;) {
        i = (i + 1) & slots->mask;
        if (slots->at[i].item == NULL) {
            break;
        }
        size_t home = slots->at[i].hash & slots->mask;
        if (((i - home) & slots->mask) >= ((i - gap) & slots->mask)) {
            slots->at[gap] = slots->at[i];
            gap = i;
        }
    }
    slots->at[gap].item = NULL;
    slots->count--;
}

static bool slots_remove(struct slots *slots, uint64_t hash, const void *item)
{
    for (size_t i = hash & slots->mask; slots->at[i].item != NULL; i = (i + 1) & slots->mask) {
        if (slots->at[i].item == item) {
            slots_free_at(slots, i);
            return true;
        }
    }
    return false;
}

int table_open(struct table *table, struct pool *pool)
{
    memset(table, 0, sizeof *table);
    return slots_take(&table->now, SLOTS_MIN, pool);
}

/* Empties up to `steps` of the old slots, and lets them go once all are empty. */
static void table_move(struct table *table, size_t steps, struct pool *pool)
{
    struct slots *old = &table->old;
    while (old->count != 0 && steps-- > 0) {
        struct slot slot = old->at[table->moved];
        if (slot.item == NULL) {
            table->moved++;
            continue;
        }
        slots_free_at(old, table->moved);
        slots_add(&table->now, slot.hash, slot.item);
    }
    if (old->at != NULL && old->count == 0) {
        pool_give(pool, old->at, (old->mask + 1) * sizeof *old->at);
        *old = (struct slots){0};
    }
}

static int table_resize(struct table *table, size_t capacity, struct pool *pool)
{
    table_move(table, SIZE_MAX, pool);
    struct slots fresh;
    int rc = slots_take(&fresh, capacity, pool);
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

void table_add(struct table *table, uint64_t hash, void *item, struct pool *pool)
{
    assert(table_count(table) < slots_room(table->now.mask + 1));
    slots_add(&table->now, hash, item);
    table_move(table, MOVE_STEP, pool);
}

void table_remove(struct table *table, uint64_t hash, const void *item, struct pool *pool)
{
    bool there = slots_remove(&table->now, hash, item) ||
                 (table->old.count != 0 && slots_remove(&table->old, hash, item));
    assert(there);
    (void)there;
    table_move(table, MOVE_STEP, pool);
    size_t capacity = table->now.mask + 1;
    if (table->old.at == NULL && capacity > SLOTS_MIN && table_count(table) < capacity / 16) {
        (void)table_resize(table, capacity / 4, pool); /* else it stays as large as it is */
    }
}
