/*
 * The kernel's random numbers: xoshiro256** seeded through splitmix64, in integers only, so that a
 * seed gives the same numbers on every machine and under every compiler. Nothing here is fit for
 * secrets.
 */
#ifndef LS_MODEL_KERNEL_RANDOM_H
#define LS_MODEL_KERNEL_RANDOM_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

struct kernel_random {
    uint64_t state[4];
};

__extension__ typedef unsigned __int128 kernel_wide;

/* A probability in parts of 2^63: 0 never, CHANCE_ALWAYS always, both exactly. */
#define CHANCE_ALWAYS ((uint64_t)1 << 63)

/* The chance numerator / denominator, rounded down; numerator <= denominator, denominator > 0. */
static inline uint64_t chance_of(uint64_t numerator, uint64_t denominator)
{
    assert(denominator > 0 && numerator <= denominator);
    return (uint64_t)(((kernel_wide)numerator << 63) / denominator);
}

static inline void kernel_random_seed(struct kernel_random *random, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15;
        uint64_t z = seed;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        random->state[i] = z ^ z >> 31;
    }
}

/* Any 64 bits. */
static inline uint64_t kernel_random_next(struct kernel_random *random)
{
    uint64_t *s = random->state;
    uint64_t scrambled = s[1] * 5;
    uint64_t result = (scrambled << 7 | scrambled >> 57) * 9;
    uint64_t shifted = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = s[3] << 45 | s[3] >> 19;
    return result;
}

/* One of 0 to limit - 1, each equally likely: the high half of a product, drawn again in the few
 * cases that would favour some (Lemire 2019). */
static inline uint64_t kernel_random_below(struct kernel_random *random, uint64_t limit)
{
    assert(limit > 0);
    kernel_wide product = (kernel_wide)kernel_random_next(random) * limit;
    if ((uint64_t)product < limit) {
        uint64_t threshold = (0 - limit) % limit;
        while ((uint64_t)product < threshold) {
            product = (kernel_wide)kernel_random_next(random) * limit;
        }
    }
    return (uint64_t)(product >> 64);
}

/* One draw, whatever the chance is. */
static inline bool kernel_random_chance(struct kernel_random *random, uint64_t chance)
{
    return kernel_random_next(random) >> 1 < chance;
}

#endif
