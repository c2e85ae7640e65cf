/* SPDX-License-Identifier: Apache-2.0 */
/* The Lamport clock: it only grows, and at its end it refuses rather than wraps. */
#include "codec/clock.h"

#include <assert.h>

#include "base/error.h"

int clock_tick(uint64_t *clock, uint64_t count, struct ls_error *error)
{
    assert(count >= 1);
    if (count > UINT64_MAX - *clock) {
        return error_set(error, LS_ECLOCKJUMP, *clock, "the clock is at its end");
    }
    *clock += count;
    return 0;
}

int clock_witness(uint64_t *clock, uint64_t seen, struct ls_error *error)
{
    if (seen <= *clock) {
        return clock_tick(clock, 1, error);
    }
    if (seen - *clock > CLOCK_JUMP_MAX) {
        return error_set(error, LS_ECLOCKJUMP, *clock,
                         "%llu is more than 2^32 above the clock, which is %llu",
                         (unsigned long long)seen, (unsigned long long)*clock);
    }
    if (seen == UINT64_MAX) {
        return error_set(error, LS_ECLOCKJUMP, *clock, "the clock is at its end");
    }
    *clock = seen + 1;
    return 0;
}
