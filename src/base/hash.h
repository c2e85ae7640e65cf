/* XXH3-64, the one hash of the project: chains of checks, record checks, hash tables. */
#ifndef LS_BASE_HASH_H
#define LS_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "lockstep.h"

uint64_t hash64(const void *data, size_t size, uint64_t seed);

/* The hash of the parts as if they stood one after the other. */
uint64_t hash64_parts(const ls_bytes *parts, size_t count, uint64_t seed);

#endif
