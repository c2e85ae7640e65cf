/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits of the LMDB driver: what may still be added, and how much there is.
 *
 * LMDB copies each page that it changes, so even deleting needs pages, and on a full disk nothing
 * could ever be freed. Therefore the disk's blocks are allocated ahead of the last page in use, and
 * of the pages below the limit (the least of map, quota and disk) a reserve is kept: adding leaves
 * all of it, deleting half of it. Pages that LMDB will reuse count as room. The file also ends
 * behind its allocated blocks, because a commit that need not extend it is quicker.
 *
 * All of this runs under the write lock.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/error.h"
#include "store/lmdb_driver.h"

#define RESERVE_BYTES_MAX (UINT64_C(4) << 20)
#define RESERVE_PAGES_MIN 64
#define AHEAD_BYTES_MIN   (UINT64_C(4) << 20)
#define AHEAD_BYTES_MAX   (UINT64_C(64) << 20)
#define PAGES_PER_COMMIT  32 /* the paths of all trees, and the list of free pages */
#define PAGES_TO_FREE     8  /* without which freeing is not even tried */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- free pages ---- */

/* A line of LMDB's list of readers: process, thread, and the commit it sees, "-" for none. */
struct readers {
    uint64_t oldest;
    uint64_t count;
};

static int see_reader(const char *line, void *context)
{
    struct readers *readers = context;
    unsigned long long commit;
    if (sscanf(line, "%*d %*x %llu", &commit) == 1) {
        readers->count++;
        readers->oldest = least(readers->oldest, commit);
    }
    return 0;
}

/* Pages in the free list as of the last commit: those freed before commit `before`, in runs of at
 * least `run`. */
static int count_free(struct lmdb_store *store, uint64_t before, uint64_t run, uint64_t *out,
                      struct ls_error *error)
{
    const struct store_driver *driver = store->base.driver;
    struct store_txn *txn;
    int result = driver->begin(&store->base, STORE_READ, &txn, error);
    if (result != 0) {
        return result;
    }
    MDB_cursor *cursor;
    uint64_t total = 0;
    result = mdb_cursor_open(txn->mdb, 0, &cursor);
    if (result == 0) {
        MDB_val key;
        MDB_val value;
        while ((result = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
            const size_t *pages = value.mv_data; /* the count, then numbers from high to low */
            if (*(const size_t *)key.mv_data >= before) {
                break;
            }
            for (size_t i = 1, length = 1; i <= pages[0]; i++, length++) {
                if (i == pages[0] || pages[i + 1] + 1 != pages[i]) {
                    total += length / run * run;
                    length = 0;
                }
            }
        }
        mdb_cursor_close(cursor);
    }
    driver->abort(txn);
    if (result != 0 && result != MDB_NOTFOUND) {
        return lmdb_fail(error, result, store->env, "cannot read the list of free pages");
    }
    *out = total;
    return 0;
}

/* Free pages that LMDB may take in the write transaction of this number: those that were freed
 * before the commit before the last, and that no reader sees. */
static int count_usable(struct store_txn *txn, uint64_t number, uint64_t *out,
                        struct ls_error *error)
{
    struct readers readers = {.oldest = number - 1};
    mdb_reader_list(txn->store->env->mdb, see_reader, &readers);
    return count_free(txn->store, readers.oldest, txn->room_run, out, error);
}

/* ---- the disk ---- */

bool lmdb_disk_full(const struct lmdb_env *env)
{
    struct stat stat_of;
    struct statvfs disk;
    if (fstat(env->fd, &stat_of) != 0) {
        return false;
    }
    if (!env->no_fallocate && fallocate(env->fd, 0, stat_of.st_size, (off_t)AHEAD_BYTES_MIN) != 0 &&
        (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)) {
        return true;
    }
    return fstatvfs(env->fd, &disk) == 0 && disk.f_bavail * disk.f_frsize < AHEAD_BYTES_MIN;
}

/* Pages in the file, used or not; 0 where that cannot be said. */
static uint64_t file_pages(const struct lmdb_env *env)
{
    struct stat stat_of;
    return fstat(env->fd, &stat_of) == 0 ? (uint64_t)stat_of.st_size / env->page_size : 0;
}

static bool allocate(struct lmdb_env *env, uint64_t begin, uint64_t end)
{
    off_t size = (off_t)env->page_size;
    int result;
    do {
        result = fallocate(env->fd, 0, (off_t)begin * size, (off_t)(end - begin) * size);
    } while (result != 0 && errno == EINTR);
    if (result != 0 && errno != ENOSPC && errno != EDQUOT && errno != EFBIG) {
        env->no_fallocate = true; /* this file system has no such thing */
    }
    return result == 0;
}

/* Tries to have blocks up to `wanted`, and some more so that the next calls need not. */
static void allocate_ahead(struct lmdb_env *env, uint64_t used, uint64_t wanted, uint64_t limit)
{
    uint64_t end = file_pages(env);
    /* What is in the file was allocated by this process, by another one, or, where the file is a
     * copy with holes, by nobody. */
    if (env->allocated_pages == 0 && end > used && !allocate(env, used, end)) {
        env->allocated_pages = used;
        return;
    }
    uint64_t ahead = end * env->page_size / 8;
    ahead = ahead < AHEAD_BYTES_MIN ? AHEAD_BYTES_MIN : least(ahead, AHEAD_BYTES_MAX);
    uint64_t targets[] = {least(wanted + ahead / env->page_size, limit), least(wanted, limit)};
    for (int i = 0; i < 2 && !env->no_fallocate && targets[1] > end; i++) {
        (void)allocate(env, end, targets[i]);
        end = file_pages(env); /* a part may be there even where it failed */
    }
    env->allocated_pages = end;
}

/* ---- room ---- */

static uint64_t reserve_of(const struct lmdb_env *env, uint64_t limit)
{
    uint64_t most = RESERVE_BYTES_MAX / env->page_size;
    uint64_t reserve = least(limit / 8, most);
    return reserve < RESERVE_PAGES_MIN ? RESERVE_PAGES_MIN : reserve;
}

static uint64_t quota_pages(const struct lmdb_store *store)
{
    uint64_t quota = atomic_load_explicit(&store->quota, memory_order_relaxed);
    return quota == 0 ? UINT64_MAX : quota / store->env->page_size;
}

bool lmdb_has_space(const struct lmdb_store *store, uint64_t bytes)
{
    const struct lmdb_env *env = store->env;
    uint64_t limit = least(env->map_pages, quota_pages(store));
    MDB_envinfo info;
    mdb_env_info(env->mdb, &info);
    return info.me_last_pgno + 1 + bytes / env->page_size + reserve_of(env, limit) <= limit;
}

uint64_t lmdb_copied_pages(const struct store_txn *txn)
{
    uint64_t leaves = 0;
    for (int i = 0; i < LMDB_SLOTS; i++) {
        MDB_stat stat;
        MDB_dbi dbi = txn->store->env->dbis[i];
        if (dbi != LMDB_DBI_NONE && mdb_stat(txn->mdb, dbi, &stat) == 0) {
            leaves += stat.ms_leaf_pages;
        }
    }
    return least(txn->changes, leaves);
}

/* Pages for all that was promised: half as much again, for pages that are not full. */
static uint64_t pages_for(const struct store_txn *txn, uint64_t copied)
{
    uint64_t bytes = txn->room_promised + txn->room_in_flight;
    return (bytes + bytes / 2) / txn->store->env->page_size + copied + PAGES_PER_COMMIT;
}

static int refuse(const struct store_txn *txn, bool disk_full, struct ls_error *error)
{
    const struct lmdb_env *env = txn->store->env;
    uint64_t quota = atomic_load(&txn->store->quota);
    if (quota_pages(txn->store) <=
        least(env->map_pages, disk_full ? env->allocated_pages : UINT64_MAX)) {
        return error_set(error, LS_ENOSPACE, quota, "the quota of %llu bytes is used up",
                         (unsigned long long)quota);
    }
    if (disk_full && env->allocated_pages < env->map_pages) {
        return error_set(error, LS_ENOSPACE, 0, "the disk is full");
    }
    return lmdb_fail(error, MDB_MAP_FULL, env, "");
}

static void begin_room(struct store_txn *txn)
{
    struct lmdb_env *env = txn->store->env;
    MDB_envinfo info;
    mdb_env_info(env->mdb, &info);
    txn->room_used = info.me_last_pgno + 1;
    lmdb_write_ahead(env, txn->room_used);
    txn->room_limit = least(env->map_pages, quota_pages(txn->store));
    txn->room_reserve = reserve_of(env, txn->room_limit);
    txn->room_in_flight = txn->ahead ? lmdb_promised_in_flight(env) : 0;
}

/* Near a limit, or near the end of what is allocated. */
static int room_slowly(struct store_txn *txn, enum store_room room, size_t bytes,
                       struct ls_error *error)
{
    struct lmdb_env *env = txn->store->env;
    uint64_t needed =
        room == STORE_ROOM_FREE ? PAGES_TO_FREE : pages_for(txn, lmdb_copied_pages(txn));
    uint64_t wanted = txn->room_used + needed + txn->room_reserve;
    if (wanted > env->allocated_pages && !txn->room_disk_full && !env->no_fallocate) {
        allocate_ahead(env, txn->room_used, wanted, txn->room_limit);
        txn->room_disk_full =
            !env->no_fallocate && env->allocated_pages < least(wanted, txn->room_limit);
    }
    uint64_t limit = txn->room_limit;
    if (txn->room_disk_full) {
        limit = least(limit, env->allocated_pages);
    }
    uint64_t kept = room == STORE_ROOM_ADD      ? txn->room_reserve
                    : room == STORE_ROOM_DELETE ? txn->room_reserve / 2
                                                : 0;
    wanted = txn->room_used + needed + kept;
    if (wanted <= limit) {
        return 0;
    }
    /* So near the limit every free page counts; a round of the log keeps LMDB from using some. */
    int ended = lmdb_log_end(env, error);
    if (ended != 0) {
        return ended;
    }
    txn->logged = false;
    lmdb_log_pause(env);
    /* A large value needs pages in a row. */
    uint64_t run = bytes / env->page_size + 1;
    uint64_t number = mdb_txn_id(txn->mdb);
    if (txn->room_run < run) {
        txn->room_run = run;
        int result = count_usable(txn, number, &txn->room_free, error);
        if (result != 0) {
            return result;
        }
    }
    if (wanted <= limit + txn->room_free) {
        return 0;
    }
    uint64_t soon;
    int result = count_usable(txn, number + 1, &soon, error);
    if (result != 0) {
        return result;
    }
    env->refused = true;
    txn->room_with_next = wanted <= limit + soon;
    return refuse(txn, txn->room_disk_full, error);
}

int lmdb_room(struct store_txn *txn, enum store_room room, size_t bytes, struct ls_error *error)
{
    if (txn->room_used == 0) {
        begin_room(txn);
    }
    const struct lmdb_env *env = txn->store->env;
    txn->room_promised += bytes;
    uint64_t wanted = txn->room_used + pages_for(txn, txn->changes) + txn->room_reserve;
    if (wanted <= txn->room_limit && (wanted <= env->allocated_pages || env->no_fallocate)) {
        return 0;
    }
    int result = lmdb_ground(txn, error);
    if (result == 0 && txn->room_used == 0) {
        begin_room(txn);
    }
    result = result != 0 ? result : room_slowly(txn, room, bytes, error);
    if (result != 0) {
        txn->room_promised -= bytes;
    }
    return result;
}

int lmdb_set_quota(struct store *base, uint64_t bytes, struct ls_error *error)
{
    (void)error;
    atomic_store(&((struct lmdb_store *)base)->quota, bytes);
    return 0;
}

int lmdb_stat(struct store *base, struct store_stat *out, struct ls_error *error)
{
    struct lmdb_store *store = (struct lmdb_store *)base;
    struct lmdb_env *env = store->env;
    struct readers readers = {.oldest = UINT64_MAX};
    MDB_envinfo info;
    uint64_t free_pages;
    int result = count_free(store, UINT64_MAX, 1, &free_pages, error);
    if (result != 0) {
        return result;
    }
    mdb_env_info(env->mdb, &info);
    mdb_reader_list(env->mdb, see_reader, &readers);
    uint64_t pages = info.me_last_pgno + 1;
    bool pinned = env->wake.page != NULL && atomic_load(&env->wake.page->log_round) != 0;
    *out = (struct store_stat){
        .bytes_used = (pages - least(pages, free_pages)) * env->page_size,
        .bytes_file = pages * env->page_size,
        .bytes_free = free_pages * env->page_size,
        .bytes_limit = least(env->map_pages, quota_pages(store)) * env->page_size,
        .commits = info.me_last_txnid,
        .flushes = atomic_load(&env->flushes),
        .readers = readers.count - (pinned && readers.count > 0),
    };
    return 0;
}
