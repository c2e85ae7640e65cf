/*
 * One small thread that sleeps until any process commits to the store, and then wakes the loop, at
 * most about a thousand times a second.
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
    bool started;
};

/* 0, or LS_EIO where there can be no thread. */
int waker_start(struct waker *waker, struct store *store, void (*wake)(void *context),
                void *context, struct ls_error *error);

/* Before the store is closed. Does nothing where it was not started. */
void waker_stop(struct waker *waker);

#endif
