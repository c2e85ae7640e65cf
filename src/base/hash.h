/* XXH3-64, the hash of the project: chains of checks, record checks, hash tables; and one of
 * numbers, for tables in memory only, where a call for each would be felt. */
#ifndef LS_BASE_HASH_H
#define LS_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "lockstep.h"

uint64_t hash64(const void *data, size_t size, uint64_t seed);

/* The hash of the parts as if they stood one after the other. */
uint64_t hash64_parts(const ls_bytes *parts, size_t count, uint64_t seed);

/* Each bit of the number and of the seed counts, for the low bits of the hash too. Where the seed
 * is secret, nobody can choose numbers that meet. */
static inline uint64_t hash64_number(uint64_t number, uint64_t seed)
{
    uint64_t z = (number ^ seed) * UINT64_C(0xbf58476d1ce4e5b9);
    z = __builtin_bswap64(z) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 32;
}

#endif
