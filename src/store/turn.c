/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns by a POSIX record lock: it belongs to the process, so that a child made by fork does not
 * hold on to the turn of a parent that was killed.
 */
#include "store/turn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define DEADLOCK_NS 300000 /* until what looks like one is looked at again */

void turn_init(struct turn *turn)
{
    pthread_mutex_init(&turn->threads, NULL);
    turn->fd = -1;
}

void turn_open(struct turn *turn, const char *directory)
{
    char path[PATH_MAX];
    int size = snprintf(path, sizeof path, "%s/wake", directory);
    if (size >= 0 && (size_t)size < sizeof path) {
        turn->fd = open(path, O_RDWR | O_CLOEXEC);
    }
}

void turn_close(struct turn *turn)
{
    if (turn->fd >= 0) {
        close(turn->fd);
        turn->fd = -1;
    }
    pthread_mutex_destroy(&turn->threads);
}

/* Whether it is worth another try. The kernel knows processes and not threads: where two threads of
 * each of two processes are at two directories it sees a deadlock, which it is not, since no thread
 * waits for a turn while it has one. */
static bool try_again(void)
{
    if (errno == EDEADLK) {
        nanosleep(&(struct timespec){.tv_nsec = DEADLOCK_NS}, NULL);
        return true;
    }
    return errno == EINTR;
}

static void set_lock(const struct turn *turn, short type)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    int command = type == F_UNLCK ? F_SETLK : F_SETLKW;
    while (turn->fd >= 0 && fcntl(turn->fd, command, &lock) != 0 && try_again()) {
        continue;
    }
}

void turn_take(struct turn *turn)
{
    pthread_mutex_lock(&turn->threads);
    set_lock(turn, F_WRLCK);
}

void turn_give(struct turn *turn)
{
    set_lock(turn, F_UNLCK);
    pthread_mutex_unlock(&turn->threads);
}
