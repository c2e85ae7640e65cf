/* SPDX-License-Identifier: Apache-2.0 */
/* Samples thinned as they come, and the classes by which jumps are counted. */
#include "model/report_series.h"

#include <assert.h>

/* The samples of one span have the time and clock of the last. */
static bool merge(struct report_sample *into, const struct report_sample *next, unsigned shift)
{
    if (into->time_ns >> shift != next->time_ns >> shift) {
        return false;
    }
    uint64_t queue = next->queue > into->queue ? next->queue : into->queue;
    *into = *next;
    into->queue = queue;
    return true;
}

/* Widens the span until at least two samples have become one. */
static void thin(struct report_series *series)
{
    size_t before = series->count;
    while (series->count == before && series->shift < 63) {
        size_t last = 0;
        series->shift++;
        for (size_t i = 1; i < before; i++) {
            if (!merge(&series->samples[last], &series->samples[i], series->shift)) {
                series->samples[++last] = series->samples[i];
            }
        }
        series->count = last + 1;
    }
}

void report_series_add(struct report_series *series, uint64_t time_ns, uint64_t clock,
                       uint64_t queue)
{
    struct report_sample sample = {time_ns, clock, queue};
    struct report_sample *samples = series->samples;
    assert(series->capacity >= 2);
    assert(series->count == 0 || samples[series->count - 1].time_ns <= time_ns);
    if (series->count == series->capacity &&
        samples[series->count - 1].time_ns >> series->shift != time_ns >> series->shift) {
        thin(series);
    }
    if (series->count == 0 || !merge(&samples[series->count - 1], &sample, series->shift)) {
        assert(series->count < series->capacity);
        samples[series->count++] = sample;
    }
}

size_t report_samples_max(size_t nodes)
{
    size_t share = nodes > 0 ? REPORT_SAMPLES_TOTAL / nodes : REPORT_SAMPLES_MAX;
    return share < REPORT_SAMPLES_MAX ? share : REPORT_SAMPLES_MAX;
}

#define JUMPS_EXACT 32 /* 2^5 */

size_t report_jump_class(uint64_t jump)
{
    if (jump < JUMPS_EXACT) {
        return (size_t)jump;
    }
    unsigned power = 63 - (unsigned)__builtin_clzll(jump);
    return JUMPS_EXACT + (power - 5) * 4 + (size_t)(jump >> (power - 2) & 3);
}

uint64_t report_jump_floor(size_t jump_class)
{
    assert(jump_class < REPORT_JUMPS);
    if (jump_class < JUMPS_EXACT) {
        return jump_class;
    }
    size_t above = jump_class - JUMPS_EXACT;
    return (uint64_t)(4 + above % 4) << (above / 4 + 3);
}
