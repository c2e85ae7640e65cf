/*
 * One small thread that sleeps until any process commits to the store, and then wakes the loop, at
 * most about a thousand times a second; while this process commits, with which the loop looks for
 * itself, at most about two hundred times.
 */
#ifndef LS_SERVER_WAKER_H
#define LS_SERVER_WAKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/store.h"

struct waker {
    struct store *store;
    void (*wake)(void *context); /* called on the waker's thread */
    void *context;
    pthread_t thread;
    atomic_bool stop;
    atomic_uint commits; /* of this process, that the loop knows of */
    bool started;
};

/* 0, or LS_EIO where there can be no thread. */
int waker_start(struct waker *waker, struct store *store, void (*wake)(void *context),
                void *context, struct ls_error *error);

/* The loop was told of a commit of this process. */
static inline void waker_spare(struct waker *waker)
{
    atomic_fetch_add_explicit(&waker->commits, 1, memory_order_relaxed);
}

/* Before the store is closed. Does nothing where it was not started. */
void waker_stop(struct waker *waker);

#endif
