/* SPDX-License-Identifier: Apache-2.0 */
/* Buckets of the histogram: the bits below the highest one of a value choose one of a row. */
#include "cli/histogram.h"

/* The greatest value that falls into the bucket. */
static uint64_t bucket_top(unsigned bucket)
{
    unsigned row = bucket >> HISTOGRAM_BITS;
    uint64_t column = bucket & ((1u << HISTOGRAM_BITS) - 1);
    if (row == 0) {
        return column;
    }
    unsigned shift = row - 1;
    uint64_t bottom = (column + (1u << HISTOGRAM_BITS)) << shift;
    return bottom + (((uint64_t)1 << shift) - 1);
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        into->buckets[i] += from->buckets[i];
    }
    into->count += from->count;
    into->max = into->max > from->max ? into->max : from->max;
}

uint64_t histogram_at(const struct histogram *histogram, double fraction)
{
    double wanted = fraction * (double)histogram->count;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (histogram->buckets[i] > 0 && (double)seen >= wanted) {
            uint64_t top = bucket_top(i);
            return top < histogram->max ? top : histogram->max;
        }
    }
    return histogram->max;
}
