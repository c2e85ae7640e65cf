/* SPDX-License-Identifier: Apache-2.0 */
/* Open addressing with linear probing; removal moves back what was pushed on, so nothing is left
 * behind that a search would have to pass. */
#include "server/map.h"

#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"
#include "lockstep.h"

#define CAPACITY_MIN ((size_t)16)

static size_t home(const struct map *map, uint64_t number)
{
    return (size_t)hash64_number(number, map->seed) & (map->capacity - 1);
}

/* The slot of the number, or the free one where a search for it ends. */
static size_t find(const struct map *map, uint64_t number)
{
    size_t at = home(map, number);
    while (map->slots[at].value != NULL && map->slots[at].number != number) {
        at = (at + 1) & (map->capacity - 1);
    }
    return at;
}

static int resize(struct map *map, size_t capacity)
{
    struct map to = *map;
    to.capacity = capacity;
    to.slots = calloc(capacity, sizeof *to.slots);
    if (to.slots == NULL) {
        return LS_ENOMEM;
    }
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->slots[i].value != NULL) {
            to.slots[find(&to, map->slots[i].number)] = map->slots[i];
        }
    }
    free(map->slots);
    *map = to;
    return 0;
}

void *map_get(const struct map *map, uint64_t number)
{
    return map->capacity == 0 ? NULL : map->slots[find(map, number)].value;
}

int map_put(struct map *map, uint64_t number, void *value)
{
    assert(value != NULL);
    if (map->count + 1 > map->capacity / 4 * 3) {
        int rc = resize(map, map->capacity == 0 ? CAPACITY_MIN : map->capacity * 2);
        if (rc != 0) {
            return rc;
        }
    }
    size_t at = find(map, number);
    assert(map->slots[at].value == NULL);
    map->slots[at] = (struct map_slot){number, value};
    map->count++;
    return 0;
}

void map_remove(struct map *map, uint64_t number)
{
    if (map_get(map, number) == NULL) {
        return;
    }
    size_t mask = map->capacity - 1;
    size_t gap = find(map, number);
    for (size_t at = (gap + 1) & mask; map->slots[at].value != NULL; at = (at + 1) & mask) {
        /* What may not stand before its home stays where it is. */
        size_t from_home = (at - home(map, map->slots[at].number)) & mask;
        if (from_home >= ((at - gap) & mask)) {
            map->slots[gap] = map->slots[at];
            gap = at;
        }
    }
    map->slots[gap].value = NULL;
    map->count--;
    if (map->count == 0) {
        map_free(map);
    } else if (map->capacity > CAPACITY_MIN && map->count < map->capacity / 8) {
        (void)resize(map, map->capacity / 2); /* without memory it stays as large as it is */
    }
}

void map_free(struct map *map)
{
    free(map->slots);
    *map = (struct map){.seed = map->seed};
}
