/* Sleeping on a word of this process's memory until somebody changed it (futex(2), private). */
#ifndef LS_BASE_FUTEX_H
#define LS_BASE_FUTEX_H

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Returns once the word is no longer `value`, or earlier: callers look again. */
static inline void futex_wait(_Atomic uint32_t *word, uint32_t value)
{
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

/* The same for at most `ms`; false where that time passed. */
static inline bool futex_wait_ms(_Atomic uint32_t *word, uint32_t value, long ms)
{
    struct timespec limit = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    return syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &limit, NULL, 0) == 0 ||
           errno != ETIMEDOUT;
}

/* Wakes one sleeper. The memory need not be the word's any longer: nobody, or somebody who will
 * look again, is then woken. */
static inline void futex_wake(_Atomic uint32_t *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

#endif
