/* XXH3-64, the one hash of the project: chains of checks, record checks, hash tables. */
#ifndef LS_BASE_HASH_H
#define LS_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash64(const void *data, size_t size, uint64_t seed);

#endif
