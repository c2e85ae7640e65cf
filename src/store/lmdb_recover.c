/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the redo log is for: after a crash, of a process or of the machine, whoever opens the store
 * first and alone finds a round in the log, puts the data file's meta pages back as they were when
 * it began, and makes its commits again. All pages of that state are whole in the data file, since
 * the round's pin kept them; a pin keeps them here too, so that a recovery that is cut short begins
 * again like the first.
 *
 * Does nothing where others have the store open: then what is in the page cache is good, and the
 * next writer ends the round.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "store/lmdb_driver.h"

/* As LMDB sees it: its users hold a lock on the first byte of its lock file. This process has the
 * store not open, so no lock of its own is lost with the closing of the file. */
static bool is_alone(const char *directory)
{
    char path[PATH_MAX];
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    int size = snprintf(path, sizeof path, "%s/lock.mdb", directory);
    if (size < 0 || size >= PATH_MAX) {
        return false;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT;
    }
    bool alone = fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type == F_UNLCK;
    close(fd);
    return alone;
}

static int put_back(const char *directory, ls_bytes metas, struct ls_error *error)
{
    char path[PATH_MAX];
    int size = snprintf(path, sizeof path, "%s/data.mdb", directory);
    int fd = size < 0 || size >= PATH_MAX ? -1 : open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 && (errno == EACCES || errno == EROFS || errno == EPERM)) {
        return error_set(error, LS_EREADONLY, 0,
                         "the store in %s was not closed: first a process that may write it must "
                         "open it",
                         directory);
    }
    if (fd < 0 && errno == ENOENT) {
        return error_set(error, LS_ECORRUPT, 0,
                         "%s is missing, and the redo log has commits for it", path);
    }
    bool good =
        fd >= 0 && pwrite(fd, metas.data, metas.size, 0) == (ssize_t)metas.size && fsync(fd) == 0;
    int result =
        good ? 0 : error_set(error, LS_EIO, 0, "cannot recover %s: %s", path, strerror(errno));
    if (fd >= 0) {
        close(fd);
    }
    return result;
}

int lmdb_recover_begin(struct lmdb_recovery *recovery, const char *directory, bool locked,
                       struct ls_error *error)
{
    *recovery = (struct lmdb_recovery){.reader.fd = -1, .alone = is_alone(directory)};
    if (!recovery->alone) {
        return 0;
    }
    recovery->round = redo_reader_open(&recovery->reader, directory, REDO_CAPACITY, error);
    if (recovery->round <= 0) {
        return recovery->round;
    }
    if (!locked) {
        return error_set(error, LS_EBUSY, 0,
                         "the store in %s was not closed, and cannot be locked to recover it",
                         directory);
    }
    return put_back(directory, redo_reader_metas(&recovery->reader), error);
}

void lmdb_recover_end(struct lmdb_recovery *recovery)
{
    redo_reader_close(&recovery->reader);
}

static int make_edit(const struct lmdb_env *env, MDB_txn *txn, const struct redo_edit *edit)
{
    uint8_t slot =
        edit->key.size == 0 ? LMDB_SLOT_NONE : lmdb_slot(*(const uint8_t *)edit->key.data);
    if (slot == LMDB_SLOT_NONE || env->dbis[slot] == LMDB_DBI_NONE) {
        return MDB_CORRUPTED;
    }
    MDB_val key = {edit->key.size, (void *)(uintptr_t)edit->key.data};
    MDB_val value = {edit->value.size, (void *)(uintptr_t)edit->value.data};
    int result = edit->operation == REDO_DEL
                     ? mdb_del(txn, env->dbis[slot], &key, NULL)
                     : mdb_put(txn, env->dbis[slot], &key, &value,
                               edit->operation == REDO_APPEND ? MDB_APPEND : 0);
    return result == MDB_NOTFOUND || result == MDB_KEYEXIST ? MDB_CORRUPTED : result;
}

/* The commit of the record that was read last. LMDB's result. */
static int make_commit(struct lmdb_recovery *recovery, const struct lmdb_env *env)
{
    MDB_txn *txn;
    struct redo_edit edit;
    int result = mdb_txn_begin(env->mdb, NULL, 0, &txn);
    if (result != 0) {
        return result;
    }
    while (result == 0 && redo_reader_edit(&recovery->reader, &edit) == 1) {
        result = make_edit(env, txn, &edit);
    }
    if (result != 0) {
        mdb_txn_abort(txn);
        return result;
    }
    return mdb_txn_commit(txn);
}

/* All commits of the round, flushed, and then the log cleared. */
static int make_again(struct lmdb_recovery *recovery, struct lmdb_env *env, struct ls_error *error)
{
    MDB_txn *pin;
    int code = 0;
    int more = 1;
    int result = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &pin);
    if (result != 0) {
        return lmdb_fail(error, result, env, "cannot recover");
    }
    lmdb_set_sync(env, false);
    while (result == 0 && more == 1) {
        result = make_commit(recovery, env);
        more = result == 0 ? redo_reader_next(&recovery->reader, error) : 0;
    }
    if (result == 0 && more == 0) {
        result = mdb_env_sync(env->mdb, 1);
    }
    if (more < 0) {
        code = more;
    } else if (result != 0) {
        code = lmdb_fail(error, result, env, "cannot recover");
    } else {
        code = redo_open(&env->log.redo, env->directory, REDO_CAPACITY, error);
    }
    if (code == 0) {
        code = redo_clear(&env->log.redo, recovery->reader.round, error);
    }
    lmdb_set_sync(env, true);
    mdb_txn_abort(pin);
    return code;
}

int lmdb_recover(struct lmdb_recovery *recovery, struct lmdb_env *env, struct ls_error *error)
{
    int result = recovery->round == 1 ? make_again(recovery, env, error) : 0;
    if (result == 0 && recovery->alone && env->wake.page != NULL) {
        atomic_store(&env->wake.page->log_last, recovery->reader.round);
        atomic_store(&env->wake.page->log_round, 0);
        atomic_store(&env->wake.page->log_failed, 0);
    }
    return result;
}
