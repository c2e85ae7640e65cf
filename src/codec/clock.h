/* The Lamport clock (docs/guarantees.md): a uint64 that only grows and never wraps. */
#ifndef LS_CODEC_CLOCK_H
#define LS_CODEC_CLOCK_H

#include <stdint.h>

#include "lockstep.h"

/* How far above the clock a carried value may be: 2^32. */
#define CLOCK_JUMP_MAX ((uint64_t)1 << 32)

/* Local event: clock + count (count >= 1). 0, or LS_ECLOCKJUMP at the end of the clock. */
int clock_tick(uint64_t *clock, uint64_t count, struct ls_error *error);

/* Receipt of `seen`: max(clock, seen) + 1. 0, or LS_ECLOCKJUMP where `seen` is more than
 * CLOCK_JUMP_MAX above the clock, or at the end of the clock. */
int clock_witness(uint64_t *clock, uint64_t seen, struct ls_error *error);

#endif
