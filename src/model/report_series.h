/*
 * A run of samples of any length in bounded memory: neighbours are merged, over twice the time each
 * time that it is full. A merged sample has the last clock and the longest queue of its span, so
 * that no peak is lost.
 */
#ifndef LS_MODEL_REPORT_SERIES_H
#define LS_MODEL_REPORT_SERIES_H

#include "model/report.h"

struct report_series {
    struct report_sample *samples; /* the owner's, `capacity` of them */
    size_t capacity;               /* at least 2 */
    size_t count;
    unsigned shift; /* samples of the same time_ns >> shift are one */
};

/* Time never goes back from one sample to the next. */
void report_series_add(struct report_series *series, uint64_t time_ns, uint64_t clock,
                       uint64_t queue);

#endif
