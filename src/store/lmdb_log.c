/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commits by the redo log: one flush instead of LMDB's two, for whoever commits many in a row.
 *
 * A commit appends its edits to DIR/redo, flushed, and then lets LMDB commit without flushing. LMDB
 * stays what everybody reads, and nobody sees what is not durable. A round of the log ends with a
 * flush of the data file, after which the log is cleared. After a crash the meta pages as they were
 * when the round began are put back and its commits are made again (lmdb_recover.c).
 *
 * That state must stay whole in the data file as long as the round lasts: a read transaction of the
 * commit that the round began with, the pin, keeps LMDB from reusing any of its pages. A reader is
 * forgotten with its process; therefore only the process that began a round adds to it. Any other
 * writer, before it does anything, ends it: it flushes the data file and clears the log. So the
 * rules are:
 *
 *  1. wake->log_round is set before the first record of a round can be in the file, and set to 0
 *     after the log was durably cleared. It is read and changed under LMDB's write lock.
 *  2. While it is not 0 LMDB commits only what the process of that round has flushed to the log.
 *  3. The pin lasts from before the round's first record to after its clearing.
 *  4. The data file is flushed before the log is cleared.
 *  5. Where one of these flushes fails, nobody writes any more: the log still has everything.
 *
 * A pin makes the data file grow, so a process that is idle must not hold one: a round is begun
 * only while somebody has promised to say when writes cease (store_run), and after some commits in
 * a row that no other process came between.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/error.h"
#include "store/lmdb_driver.h"

#define STREAK_MIN      16
#define STREAK_PAUSE    (-1000)
#define ROUND_BYTES_MAX (UINT64_C(16) << 20) /* written to the data file in a round */
#define PAGES_A_COMMIT  8                    /* besides the leaves that are added or changed */
#define SEND_PAGES      64                   /* sent to the disk at a time, ahead of the flush */
#define SPACE_FACTOR    4 /* the disk has room for so many logs, or none is made */
#define META_PAGES      2

static struct wake_page *shared(const struct lmdb_env *env)
{
    return env->wake.page;
}

void lmdb_log_init(struct lmdb_env *env)
{
    env->log.redo.fd = -1;
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

static void drop_pin(struct lmdb_log *log)
{
    if (log->pin != NULL) {
        mdb_txn_abort(log->pin);
        log->pin = NULL;
    }
    log->round = 0;
}

/* Rule 5. */
static int give_up(struct lmdb_env *env, struct ls_error *error)
{
    atomic_store(&shared(env)->log_failed, 1);
    return error_set(error, LS_EIO, 0,
                     "a flush failed; all processes must close the store and open it again");
}

static int open_redo(struct lmdb_env *env, struct ls_error *error)
{
    struct lmdb_log *log = &env->log;
    if (log->redo.fd >= 0) {
        return 0;
    }
    int result = redo_open(&log->redo, env->directory, REDO_CAPACITY, error);
    if (result != 0) {
        log->redo.fd = -1;
        return result;
    }
    /* Its version keeps out builds that would not look at the log, also after a power loss. */
    (void)msync(shared(env), sizeof *shared(env), MS_SYNC);
    return 0;
}

/* Flushes the data file and clears the log, whose ever the round is. */
static int clear(struct lmdb_env *env, struct ls_error *error)
{
    if (atomic_load(&shared(env)->log_failed) != 0) {
        return give_up(env, error);
    }
    /* Where this one cannot open it, for want of descriptors, another process may, or it later. */
    int result = open_redo(env, error);
    if (result != 0) {
        return result;
    }
    /* What could not be written once may be taken for written at the next try. */
    if (mdb_env_sync(env->mdb, 1) != 0 ||
        redo_clear(&env->log.redo, atomic_load(&shared(env)->log_last), error) != 0) {
        return give_up(env, error);
    }
    atomic_store(&shared(env)->log_round, 0);
    atomic_fetch_add(&env->flushes, 2);
    return 0;
}

int lmdb_log_end(struct lmdb_env *env, struct ls_error *error)
{
    if (env->log.round == 0) {
        return 0;
    }
    int result = clear(env, error);
    if (result == 0) {
        drop_pin(&env->log);
        lmdb_set_sync(env, true);
    }
    return result;
}

int lmdb_log_settle(struct lmdb_env *env, struct ls_error *error)
{
    if (env->wake.page == NULL || env->private_) {
        return 0;
    }
    int result = atomic_load(&shared(env)->log_round) != 0 ? clear(env, error) : 0;
    if (result == 0) {
        drop_pin(&env->log);
        lmdb_set_sync(env, true);
    }
    return result;
}

void lmdb_log_pause(struct lmdb_env *env)
{
    env->log.streak = STREAK_PAUSE;
}

/* A log that is not made yet must not take the space that the store needs. */
static bool disk_has_space(const struct lmdb_env *env)
{
    struct statvfs disk;
    return env->log.redo.fd >= 0 || (fstatvfs(env->fd, &disk) == 0 &&
                                     disk.f_bavail * disk.f_frsize >= SPACE_FACTOR * REDO_CAPACITY);
}

static bool worth_a_round(const struct store_txn *txn)
{
    const struct lmdb_env *env = txn->store->env;
    const struct lmdb_log *log = &env->log;
    return log->streak >= STREAK_MIN && atomic_load(&log->runs) > 0 && txn->store->sync &&
           !env->refused && log->last_commit + 1 == mdb_txn_id(txn->mdb) && disk_has_space(env) &&
           lmdb_has_space(txn->store, ROUND_BYTES_MAX);
}

int lmdb_log_enter(struct store_txn *txn, struct ls_error *error)
{
    struct lmdb_env *env = txn->store->env;
    struct lmdb_log *log = &env->log;
    if (env->private_) {
        lmdb_set_sync(env, txn->store->sync);
        return 0;
    }
    if (atomic_load(&shared(env)->log_failed) != 0) {
        return give_up(env, error);
    }
    uint64_t round = atomic_load(&shared(env)->log_round);
    if (round != log->round) {
        drop_pin(log); /* another process ended the round that was ours */
        log->streak = 0;
        int result = round != 0 ? clear(env, error) : 0;
        if (result != 0) {
            return result;
        }
    }
    txn->logged = log->round != 0 || worth_a_round(txn);
    if (txn->logged) {
        redo_record_reset(&log->record);
        /* All at once: memory that is not touched is not taken, and nothing is left of growing. */
        txn->logged = redo_record_reserve(&log->record, REDO_RECORD_SIZE_MAX) == 0;
    }
    lmdb_set_sync(env, !txn->logged && txn->store->sync);
    return 0;
}

bool lmdb_log_has_room(const struct store_txn *txn, const struct redo_edit *edit)
{
    return redo_record_fits(&txn->store->env->log.record, edit, REDO_RECORD_SIZE_MAX);
}

void lmdb_log_edit(struct store_txn *txn, const struct redo_edit *edit)
{
    if (!txn->logged) {
        return;
    }
    struct lmdb_log *log = &txn->store->env->log;
    if (redo_record_add(&log->record, edit, REDO_RECORD_SIZE_MAX) != 0) {
        /* What does not fit is committed without the log, and so may be what follows. */
        txn->logged = false;
        log->streak = least(log->streak, 0);
    }
}

/* The data file's first pages as they are, which is as they were flushed. */
static bool read_metas(const struct lmdb_env *env, uint8_t *out, size_t size)
{
    ssize_t have;
    do {
        have = pread(env->fd, out, size, 0);
    } while (have < 0 && errno == EINTR);
    return have == (ssize_t)size;
}

static bool take_pin(struct store_txn *txn)
{
    struct lmdb_env *env = txn->store->env;
    MDB_txn *pin;
    if (mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &pin) != 0) {
        return false;
    }
    if (mdb_txn_id(pin) + 1 != mdb_txn_id(txn->mdb)) {
        mdb_txn_abort(pin);
        return false;
    }
    env->log.pin = pin;
    return true;
}

/* Steps that nobody can foresee: what users put, and is left in the log, must not pass for records
 * of a later round. */
static uint64_t next_round(struct wake_page *page)
{
    uint32_t step = 0;
    (void)getrandom(&step, sizeof step, GRND_NONBLOCK);
    return atomic_fetch_add(&page->log_last, UINT64_C(1) + step) + 1 + step;
}

/* Begins a round with the record of this transaction; the log is empty, and the last commit is
 * flushed. False: no round was begun, or where log->round is set, nobody knows. */
static bool begin_round(struct store_txn *txn)
{
    struct lmdb_env *env = txn->store->env;
    struct lmdb_log *log = &env->log;
    size_t size = META_PAGES * (size_t)env->page_size;
    uint8_t *metas = malloc(size);
    bool good = metas != NULL && open_redo(env, NULL) == 0 && read_metas(env, metas, size) &&
                redo_record_reserve(&log->record, size) == 0 && take_pin(txn);
    if (good) {
        log->pages = 0;
        log->pages_sent = 0;
        log->round = next_round(shared(env));
        atomic_store(&shared(env)->log_round, log->round);
        good = redo_begin(&log->redo, log->round, &log->record, bytes_of(metas, size), NULL) == 0;
    }
    free(metas);
    return good;
}

uint64_t lmdb_log_pages(const struct lmdb_env *env, uint64_t changes)
{
    return redo_record_space(&env->log.record, 0) / env->page_size + changes + PAGES_A_COMMIT;
}

bool lmdb_log_has_pages(const struct lmdb_env *env, uint64_t pages)
{
    return (env->log.pages + pages) * env->page_size <= ROUND_BYTES_MAX;
}

/* Whether the round that is this process's ends before this transaction. */
static bool round_is_over(const struct store_txn *txn)
{
    const struct lmdb_env *env = txn->store->env;
    const struct lmdb_log *log = &env->log;
    return !txn->logged || !lmdb_log_has_pages(env, 0) ||
           log->redo.offset + redo_record_space(&log->record, 0) > log->redo.capacity;
}

int lmdb_log_flush(struct store_txn *txn, struct ls_error *error)
{
    struct lmdb_env *env = txn->store->env;
    struct lmdb_log *log = &env->log;
    int result = 0;
    if (log->round != 0 && round_is_over(txn)) {
        result = lmdb_log_end(env, error);
    }
    if (result == 0 && txn->logged) {
        txn->logged =
            log->round == 0 ? begin_round(txn) : redo_append(&log->redo, &log->record, NULL) == 0;
        if (!txn->logged) {
            lmdb_log_pause(env);
            result = lmdb_log_end(env, error);
        }
    }
    if (txn->logged) {
        log->pages += lmdb_log_pages(env, lmdb_copied_pages(txn));
    }
    lmdb_set_sync(env, !txn->logged && txn->store->sync);
    return result;
}

void lmdb_log_send(const struct lmdb_env *env)
{
    (void)sync_file_range(env->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

int lmdb_log_committed(struct lmdb_env *env, bool logged, uint64_t number, int result)
{
    struct lmdb_log *log = &env->log;
    if (result != 0) {
        /* What is refused must not come back after a crash. */
        if (logged) {
            (void)lmdb_log_end(env, NULL);
        }
        return result;
    }
    if (logged && log->pages - log->pages_sent > SEND_PAGES) {
        /* So that the flush at the end of the round finds little left to write. */
        if (!lmdb_pipe_send(env)) {
            lmdb_log_send(env);
        }
        log->pages_sent = log->pages;
    }
    if (!logged) {
        bool in_a_row = env->sync && log->last_commit + 1 == number;
        log->streak = in_a_row ? log->streak + (log->streak < STREAK_MIN) : least(log->streak, 0);
    }
    log->last_commit = number;
    return 0;
}

/* ---- coming to rest ---- */

/* Ends the round of this process, if there still is one. */
static void rest(struct lmdb_env *env)
{
    MDB_txn *txn;
    if (env->log.round == 0 || mdb_txn_begin(env->mdb, NULL, 0, &txn) != 0) {
        return; /* the log has everything */
    }
    if (atomic_load(&shared(env)->log_round) == env->log.round) {
        (void)lmdb_log_end(env, NULL);
    } else {
        drop_pin(&env->log);
    }
    mdb_txn_abort(txn);
}

void lmdb_run(struct store *base, bool on)
{
    struct lmdb_env *env = ((struct lmdb_store *)base)->env;
    if (on) {
        atomic_fetch_add(&env->log.runs, 1);
    } else if (atomic_fetch_sub(&env->log.runs, 1) == 1) {
        turn_take(&env->turn);
        if (atomic_load(&env->log.runs) == 0) {
            rest(env);
        }
        turn_give(&env->turn);
    }
}

void lmdb_log_close(struct lmdb_env *env)
{
    struct lmdb_log *log = &env->log;
    if (log->round != 0) {
        turn_take(&env->turn);
        rest(env);
        turn_give(&env->turn);
    }
    drop_pin(log);
    redo_close(&log->redo);
    redo_record_free(&log->record);
}
