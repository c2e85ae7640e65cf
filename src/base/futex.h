/* Sleeping on a word of this process's memory until somebody changed it (futex(2), private). */
#ifndef LS_BASE_FUTEX_H
#define LS_BASE_FUTEX_H

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Sleeps while the word is `value`, until one of `bits` is woken, for at most `ms` (0: no limit);
 * false where that time passed. May return earlier: callers look again. */
static inline bool futex_wait(_Atomic uint32_t *word, uint32_t value, uint32_t bits, long ms)
{
    struct timespec end;
    if (ms > 0) {
        clock_gettime(CLOCK_MONOTONIC, &end);
        end.tv_sec += ms / 1000;
        end.tv_nsec += ms % 1000 * 1000000;
        end.tv_sec += end.tv_nsec / 1000000000;
        end.tv_nsec %= 1000000000;
    }
    return syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value, ms > 0 ? &end : NULL, NULL,
                   bits) == 0 ||
           errno != ETIMEDOUT;
}

/* Wakes all who sleep with one of `bits`. */
static inline void futex_wake(_Atomic uint32_t *word, uint32_t bits)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_BITSET_PRIVATE, INT_MAX, NULL, NULL, bits);
}

#endif
