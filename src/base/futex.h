/* Sleeping on a word of this process's memory until somebody changed it (futex(2), private). */
#ifndef LS_BASE_FUTEX_H
#define LS_BASE_FUTEX_H

#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Returns once the word is no longer `value`, or earlier: callers look again. */
static inline void futex_wait(_Atomic uint32_t *word, uint32_t value)
{
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

/* Wakes one sleeper. The memory need not be the word's any longer: nobody, or somebody who will
 * look again, is then woken. */
static inline void futex_wake(_Atomic uint32_t *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

#endif
