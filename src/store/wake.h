/*
 * The wake word: one page that every process with the directory open maps, in the file DIR/wake,
 * or in private memory for mem:. A commit increments the word; those who wait for news sleep on it.
 * It carries no data and needs no flush: after a crash any content of it is as good as any other.
 */
#ifndef LS_STORE_WAKE_H
#define LS_STORE_WAKE_H

#include <stdatomic.h>
#include <stdint.h>

#include "lockstep.h"

struct wake_page {
    _Atomic uint32_t magic;
    _Atomic uint32_t version;
    _Atomic uint32_t word;
    _Atomic uint32_t waiters; /* at least as many as sleep; killed ones are never taken off */
    _Atomic uint64_t number;  /* the commit that the word was last increased for */

    /* Of the redo log; see lmdb_log.c. Set anew by whoever opens the store alone. */
    _Atomic uint64_t log_round;  /* the round that is in the log, 0: it is empty */
    _Atomic uint64_t log_last;   /* the last round that was begun */
    _Atomic uint32_t log_failed; /* a flush failed: nobody writes until all have closed the store */
};

struct wake {
    struct wake_page *page; /* NULL: closed */
};

/* Opens DIR/wake, creating it where it is missing. `alone`: nobody else has it open, and one of an
 * older version is made one of this. 0, LS_EREADONLY (it cannot be written), LS_EIO, LS_EFORMAT. */
int wake_open(struct wake *wake, const char *directory, bool alone, struct ls_error *error);

/* A page of this process alone. 0 or LS_ENOMEM. */
int wake_open_private(struct wake *wake, struct ls_error *error);

void wake_close(struct wake *wake);

uint32_t wake_word(const struct wake *wake);

/* After commit `number`: increases the word and wakes those who wait. */
void wake_signal(struct wake *wake, uint64_t number);

/* Where the writer of commit `number` died before it could: signals in its place. */
void wake_catch_up(struct wake *wake, uint64_t number);

/* Increases the word without a commit. */
void wake_everyone(struct wake *wake);

/* Sleeps while the word is `seen`, for at most timeout_ms. True where it differs. */
bool wake_sleep(struct wake *wake, uint32_t seen, int64_t timeout_ms);

#endif
