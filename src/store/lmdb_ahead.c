/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing ahead. A block that was allocated but never written costs the file system an entry in its
 * journal at the flush that follows its first write, about as much as the flush itself. While
 * commits are small, zeros are written over the blocks ahead of the last page in use, many at a
 * time, so that a commit only overwrites. While they are large that would only write everything
 * twice.
 *
 * Under the write lock. What fails here costs speed and nothing else.
 */
#include <unistd.h>

#include "store/lmdb_driver.h"

#define AHEAD_BYTES      ((size_t)1 << 20)
#define SMALL_GROWTH_MAX 8 /* pages a commit, above which nothing is written ahead */

static const uint8_t zeros[64 << 10];

static bool write_zeros(int fd, off_t begin, off_t end)
{
    while (begin < end) {
        size_t size = (size_t)(end - begin) < sizeof zeros ? (size_t)(end - begin) : sizeof zeros;
        ssize_t written = pwrite(fd, zeros, size, begin);
        if (written <= 0) {
            return false;
        }
        begin += written;
    }
    return true;
}

void lmdb_write_ahead(struct lmdb_env *env, uint64_t used)
{
    uint64_t growth = used - env->ahead_used;
    bool first = env->ahead_used == 0;
    env->ahead_used = used;
    if (first || growth > SMALL_GROWTH_MAX || !env->sync || env->no_fallocate ||
        used + SMALL_GROWTH_MAX < env->written_pages) {
        return;
    }
    uint64_t begin = env->written_pages > used ? env->written_pages : used;
    uint64_t end = begin + AHEAD_BYTES / env->page_size;
    if (end > env->allocated_pages) {
        end = env->allocated_pages;
    }
    off_t page = (off_t)env->page_size;
    if (begin < end && write_zeros(env->fd, (off_t)begin * page, (off_t)end * page)) {
        env->written_pages = end;
    }
}
