/*
 * Turns of those who write to one directory, in this and other processes.
 *
 * LMDB's own lock, a robust mutex in shared memory, can forget who waits for it: a waiter is woken,
 * is killed before it has the lock, and another takes the lock in between; nobody is left who would
 * wake the rest, and they wait for ever while that other one writes on. So writers first queue at a
 * lock of the kernel, on DIR/wake, which ends with its process and forgets nobody; only one at a
 * time goes on to LMDB's lock. The turn is a help and not a guard: where it cannot be taken, LMDB's
 * lock still lets only one write.
 */
#ifndef LS_STORE_TURN_H
#define LS_STORE_TURN_H

#include <pthread.h>

struct turn {
    pthread_mutex_t threads; /* the kernel's lock is one for all threads of a process */
    int fd;                  /* of DIR/wake, -1: only this process writes, or it cannot be opened */
};

/* With fd -1. */
void turn_init(struct turn *turn);

/* After wake_open has made the file. */
void turn_open(struct turn *turn, const char *directory);

/* With no turn taken. */
void turn_close(struct turn *turn);

/* Waits for the turn; turn_give on the same thread ends it. */
void turn_take(struct turn *turn);
void turn_give(struct turn *turn);

#endif
