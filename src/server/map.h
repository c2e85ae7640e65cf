/*
 * A hash table from 64-bit numbers to pointers that are not NULL. Nothing it holds is its own. A
 * map that is all zeros but for its seed is valid and empty; it takes memory with the first entry
 * and gives it back with the last.
 */
#ifndef LS_SERVER_MAP_H
#define LS_SERVER_MAP_H

#include <stddef.h>
#include <stdint.h>

struct map_slot {
    uint64_t number;
    void *value; /* NULL: the slot is free */
};

struct map {
    struct map_slot *slots;
    size_t capacity; /* 0 or a power of two */
    size_t count;
    uint64_t seed; /* a secret number where strangers choose the numbers, so that they cannot choose
                    * ones that meet; to be set while the map is empty */
};

/* NULL where there is none. */
void *map_get(const struct map *map, uint64_t number);

/* The number must not be there: 0 or LS_ENOMEM. */
int map_put(struct map *map, uint64_t number, void *value);

/* Does nothing where it is not there. */
void map_remove(struct map *map, uint64_t number);

/* The map is empty, and keeps its seed. */
void map_free(struct map *map);

#endif
