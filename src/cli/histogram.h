/*
 * A histogram of durations in buckets whose width grows with the value, so that any percentile is
 * right within 1.6 % and adding costs a few instructions, whatever the range.
 */
#ifndef LS_CLI_HISTOGRAM_H
#define LS_CLI_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BITS    6 /* of each value that are told apart, below the highest */
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_BITS + 1) << HISTOGRAM_BITS)

/* All zeros is empty. */
struct histogram {
    uint64_t count;
    uint64_t max;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

static inline unsigned histogram_bucket(uint64_t value)
{
    if (value < 1u << HISTOGRAM_BITS) {
        return (unsigned)value;
    }
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_BITS;
    return ((shift + 1) << HISTOGRAM_BITS) + ((unsigned)(value >> shift) - (1u << HISTOGRAM_BITS));
}

/* Adds `times` durations of the same length. */
static inline void histogram_add(struct histogram *histogram, uint64_t value, uint64_t times)
{
    histogram->buckets[histogram_bucket(value)] += times;
    histogram->count += times;
    if (value > histogram->max) {
        histogram->max = value;
    }
}

void histogram_merge(struct histogram *into, const struct histogram *from);

/* The value that `fraction` (0 to 1) of all are not above; 0 where it is empty. */
uint64_t histogram_at(const struct histogram *histogram, double fraction);

#endif
