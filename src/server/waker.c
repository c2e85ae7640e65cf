/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that waits for commits of other processes. */
#include "server/waker.h"

#include <string.h>
#include <time.h>

#include "base/error.h"

#define PAUSE_NS      1000000
#define PAUSE_BUSY_NS 5000000

/* Lets the loop be for a while: longer where this process committed during the last pause. */
static void pause_after_wake(struct waker *waker, unsigned *seen)
{
    unsigned commits = atomic_load_explicit(&waker->commits, memory_order_relaxed);
    long ns = commits - *seen > 1 ? PAUSE_BUSY_NS : PAUSE_NS;
    *seen = commits;
    nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
}

static void *wait_for_commits(void *argument)
{
    struct waker *waker = argument;
    const struct store_driver *driver = waker->store->driver;
    uint32_t seen = driver->wake_word(waker->store);
    unsigned commits = 0;
    while (!atomic_load(&waker->stop)) {
        if (driver->wake_wait(waker->store, seen, -1)) {
            seen = driver->wake_word(waker->store);
            waker->wake(waker->context);
            pause_after_wake(waker, &commits);
        }
    }
    return NULL;
}

int waker_start(struct waker *waker, struct store *store, void (*wake)(void *context),
                void *context, struct ls_error *error)
{
    waker->store = store;
    waker->wake = wake;
    waker->context = context;
    atomic_store(&waker->stop, false);
    int rc = pthread_create(&waker->thread, NULL, wait_for_commits, waker);
    if (rc != 0) {
        return error_set(error, LS_EIO, 0, "no thread to wait for commits: %s", strerror(rc));
    }
    waker->started = true;
    return 0;
}

void waker_stop(struct waker *waker)
{
    if (waker->started) {
        atomic_store(&waker->stop, true);
        waker->store->driver->wake_all(waker->store);
        pthread_join(waker->thread, NULL);
        waker->started = false;
    }
}
