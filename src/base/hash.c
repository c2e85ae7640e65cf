/* SPDX-License-Identifier: Apache-2.0 */
/* XXH3-64, compiled in, so that the one-shot form is inlined for inputs as short as records. */
#include "base/hash.h"

#include <string.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wundef"
#define XXH_INLINE_ALL
#include <xxhash.h>
#pragma GCC diagnostic pop

/* Up to here, joining the parts and hashing once is cheaper than hashing them as a stream. */
#define JOIN_MAX 1024

uint64_t hash64(const void *data, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, size, seed);
}

uint64_t hash64_parts(const ls_bytes *parts, size_t count, uint64_t seed)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        total += parts[i].size;
    }
    if (total <= JOIN_MAX) {
        uint8_t joined[JOIN_MAX];
        size_t size = 0;
        for (size_t i = 0; i < count; i++) {
            if (parts[i].size != 0) {
                memcpy(joined + size, parts[i].data, parts[i].size);
                size += parts[i].size;
            }
        }
        return hash64(joined, size, seed);
    }
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    (void)XXH3_64bits_reset_withSeed(&state, seed);
    for (size_t i = 0; i < count; i++) {
        (void)XXH3_64bits_update(&state, parts[i].data, parts[i].size);
    }
    return XXH3_64bits_digest(&state);
}
