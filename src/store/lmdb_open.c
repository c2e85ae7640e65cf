/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and closing directories for the LMDB driver.
 *
 * A new data file is made whole in DIR/new and renamed into place, so a crash leaves either no
 * store or an empty one, never half of one. A process holds each directory open once, however many
 * handles it has: they share one environment, found by device and inode.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "codec/key.h"
#include "store/lmdb_driver.h"

#define FILE_MODE        0640
#define DIRECTORY_MODE   0750
#define MAP_SIZE_DEFAULT (UINT64_C(1) << 40)
#define MAP_SIZE_LEAST   (UINT64_C(1) << 26) /* do not try less where the system refuses */
#define MAP_SIZE_NEW     (UINT64_C(1) << 20) /* while a store is made */

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct lmdb_env *registry;

/* ---- making a store ---- */

static int fail_path(struct ls_error *error, const char *doing, const char *path)
{
    int reason = errno;
    int code = LS_EIO;
    if (reason == EACCES || reason == EROFS || reason == EPERM) {
        code = LS_EREADONLY;
    } else if (reason == ENOSPC || reason == EDQUOT) {
        code = LS_ENOSPACE;
    } else if (reason == ENOENT || reason == ENOTDIR) {
        code = LS_ENOTFOUND;
    }
    return error_set(error, code, 0, "cannot %s %s: %s", doing, path, strerror(reason));
}

static int join(char out[PATH_MAX], const char *directory, const char *name, struct ls_error *error)
{
    int size = snprintf(out, PATH_MAX, "%s/%s", directory, name);
    if (size < 0 || size >= PATH_MAX) {
        return error_set(error, LS_EINVAL, PATH_MAX, "the path of the store is too long");
    }
    return 0;
}

static int flush_directory(const char *path, struct ls_error *error)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return fail_path(error, "open", path);
    }
    /* EINVAL: a file system whose directories need no flush. */
    int result = fsync(fd) == 0 || errno == EINVAL ? 0 : fail_path(error, "flush", path);
    close(fd);
    return result;
}

/* Makes the directory itself, not what leads to it. */
static int make_directory(const char *path, struct ls_error *error)
{
    if (mkdir(path, DIRECTORY_MODE) != 0) {
        return errno == EEXIST ? 0 : fail_path(error, "make", path);
    }
    char parent[PATH_MAX];
    int result = join(parent, path, "..", error);
    return result != 0 ? result : flush_directory(parent, error);
}

/* Opens each category's database; one that is missing is made where `make`, else left out. `env`:
 * whose log is brought to rest before something is made, NULL where there is none. */
static int open_databases(MDB_env *mdb, MDB_dbi dbis[LMDB_SLOTS], bool make, struct lmdb_env *env)
{
    MDB_txn *txn;
    int result = mdb_txn_begin(mdb, NULL, make ? 0 : MDB_RDONLY, &txn);
    if (result == 0 && make && env != NULL && lmdb_log_settle(env, NULL) != 0) {
        mdb_txn_abort(txn);
        return EIO;
    }
    for (int i = 0; result == 0 && i < LMDB_SLOTS; i++) {
        char name[2] = {KEY_CATEGORIES[i], 0};
        if (dbis[i] != LMDB_DBI_NONE) {
            continue;
        }
        MDB_dbi dbi;
        int opened = mdb_dbi_open(txn, name, make ? MDB_CREATE : 0, &dbi);
        if (opened == 0) {
            dbis[i] = dbi;
        } else if (opened != MDB_NOTFOUND || make) {
            mdb_txn_abort(txn);
            return opened;
        }
    }
    /* Ending a read transaction this way keeps the handles. */
    return result != 0 ? result : mdb_txn_commit(txn);
}

static bool has_all(const MDB_dbi dbis[LMDB_SLOTS])
{
    for (int i = 0; i < LMDB_SLOTS; i++) {
        if (dbis[i] == LMDB_DBI_NONE) {
            return false;
        }
    }
    return true;
}

static void forget_databases(MDB_dbi dbis[LMDB_SLOTS])
{
    for (int i = 0; i < LMDB_SLOTS; i++) {
        dbis[i] = LMDB_DBI_NONE;
    }
}

/* An empty store, flushed, in the directory `path`. LMDB's result. */
static int make_empty(const char *path)
{
    MDB_env *mdb;
    MDB_dbi dbis[LMDB_SLOTS];
    forget_databases(dbis);
    int result = mdb_env_create(&mdb);
    if (result != 0) {
        return result;
    }
    (void)mdb_env_set_mapsize(mdb, MAP_SIZE_NEW);
    (void)mdb_env_set_maxdbs(mdb, LMDB_SLOTS);
    result = mdb_env_open(mdb, path, MDB_NOTLS, FILE_MODE);
    if (result == 0) {
        result = open_databases(mdb, dbis, true, NULL);
    }
    mdb_env_close(mdb);
    return result;
}

static void remove_temporary(const char *directory)
{
    char path[PATH_MAX + 16];
    const char *const names[] = {"new/data.mdb", "new/lock.mdb"};
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/new", directory);
    rmdir(path);
}

/* Makes data.mdb unless another process was quicker. The directory is locked. */
static int make_store(const char *directory, const char *data, struct ls_error *error)
{
    char temporary[PATH_MAX];
    char temporary_data[PATH_MAX];
    int result = join(temporary, directory, "new", error);
    if (result == 0) {
        result = join(temporary_data, temporary, "data.mdb", error);
    }
    if (result != 0 || access(data, F_OK) == 0) {
        return result;
    }
    remove_temporary(directory); /* what a crash left */
    if (mkdir(temporary, DIRECTORY_MODE) != 0) {
        return fail_path(error, "make", temporary);
    }
    result = make_empty(temporary);
    if (result != 0) {
        result = lmdb_fail(error, result, NULL, "cannot make a store");
    } else if (rename(temporary_data, data) != 0) {
        result = fail_path(error, "make", data);
    } else {
        result = flush_directory(directory, error);
    }
    remove_temporary(directory);
    return result;
}

/* One process at a time makes or opens a store. LMDB itself needs that: an opener that is alone
 * prepares the lock file, and when it then fails, as it does where the system refuses so large a
 * map, one that waited for it would go on with what is half prepared, and from an old commit. -1:
 * not locked. */
static int lock_directory(const char *directory)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (fd >= 0 && flock(fd, LOCK_EX) != 0) {
        if (errno != EINTR) {
            close(fd);
            fd = -1;
        }
    }
    return fd;
}

/* Not only by closing it: a child of another thread's fork may have it too, and live long. */
static void unlock_directory(int fd)
{
    if (fd >= 0) {
        (void)flock(fd, LOCK_UN);
        close(fd);
    }
}

/* ---- the environment ---- */

static void env_free(struct lmdb_env *env)
{
    lmdb_pipe_close(env);
    lmdb_log_close(env);
    while (env->idle != NULL) {
        struct store_txn *txn = env->idle;
        env->idle = txn->next_idle;
        lmdb_free_reader(txn);
    }
    if (env->mdb != NULL) {
        mdb_env_close(env->mdb);
    }
    wake_close(&env->wake);
    turn_close(&env->turn);
    pthread_mutex_destroy(&env->idle_lock);
    free(env->directory);
    free(env);
}

static struct lmdb_env *env_new(const char *directory)
{
    struct lmdb_env *env = calloc(1, sizeof *env);
    if (env == NULL) {
        return NULL;
    }
    env->directory = strdup(directory);
    if (env->directory == NULL) {
        free(env);
        return NULL;
    }
    env->pid = getpid();
    env->references = 1;
    env->sync = true;
    forget_databases(env->dbis);
    pthread_mutex_init(&env->idle_lock, NULL);
    turn_init(&env->turn);
    lmdb_log_init(env);
    lmdb_pipe_init(env);
    return env;
}

static int open_mapped(struct lmdb_env *env, unsigned flags, uint64_t size)
{
    int result = mdb_env_create(&env->mdb);
    if (result != 0) {
        env->mdb = NULL;
        return result;
    }
    (void)mdb_env_set_mapsize(env->mdb, size);
    (void)mdb_env_set_maxdbs(env->mdb, LMDB_SLOTS);
    (void)mdb_env_set_maxreaders(env->mdb, LMDB_READERS_MAX);
    result = mdb_env_open(env->mdb, env->directory, flags | MDB_NOTLS, FILE_MODE);
    if (result != 0) {
        mdb_env_close(env->mdb);
        env->mdb = NULL;
    }
    return result;
}

static int fail_open(struct ls_error *error, int result, const struct lmdb_env *env)
{
    char doing[PATH_MAX + 16];
    snprintf(doing, sizeof doing, "cannot open %s", env->directory);
    return lmdb_fail(error, result, env, doing);
}

/* Opens with the largest map that the system gives. */
static int open_environment(struct lmdb_env *env, unsigned flags, uint64_t map_size_max,
                            struct ls_error *error)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t size = map_size_max != 0 ? map_size_max : MAP_SIZE_DEFAULT;
    size -= size % page;
    if (size < 64 * page) {
        return error_set(error, LS_EINVAL, 64 * page, "a map of %llu bytes is too small",
                         (unsigned long long)map_size_max);
    }
    int result;
    /* Valgrind says EINVAL where the system says ENOMEM. */
    while (((result = open_mapped(env, flags, size)) == ENOMEM || result == EINVAL) &&
           size / 2 >= MAP_SIZE_LEAST) {
        size /= 2;
    }
    if (result != 0) {
        return fail_open(error, result, env);
    }
    MDB_envinfo info;
    MDB_stat stat;
    mdb_env_info(env->mdb, &info);
    mdb_env_stat(env->mdb, &stat);
    mdb_env_get_fd(env->mdb, &env->fd);
    env->page_size = stat.ms_psize;
    env->map_pages = info.me_mapsize / stat.ms_psize;
    /* LMDB leaves this one open across exec. */
    (void)fcntl(env->fd, F_SETFD, FD_CLOEXEC);
    int dead;
    (void)mdb_reader_check(env->mdb, &dead);
    return 0;
}

/* The databases there are; the missing ones too where `write`. */
static int complete_databases(struct lmdb_env *env, bool write, struct ls_error *error)
{
    int result = has_all(env->dbis) ? 0 : open_databases(env->mdb, env->dbis, false, NULL);
    if (result == 0 && write && !has_all(env->dbis)) {
        turn_take(&env->turn);
        result = open_databases(env->mdb, env->dbis, true, env);
        turn_give(&env->turn);
    }
    return result == 0 ? 0 : fail_open(error, result, env);
}

static int check_data(const char *directory, const char *data, const struct store_options *options,
                      struct ls_error *error)
{
    int fd = open(data, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && options->create && !options->read_only) {
        int result = make_store(directory, data, error);
        if (result != 0) {
            return result;
        }
        fd = open(data, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0) {
        return errno == ENOENT ? error_set(error, LS_ENOTFOUND, 0, "no store in %s", directory)
                               : fail_path(error, "open", data);
    }
    int result = lmdb_check_file(fd, directory, error);
    close(fd);
    return result;
}

/* Signals what was committed without it, so that nobody here waits on an old word. */
static void catch_up(struct lmdb_env *env)
{
    MDB_envinfo info;
    if (env->wake.page != NULL && mdb_env_info(env->mdb, &info) == 0) {
        wake_catch_up(&env->wake, info.me_last_txnid);
    }
}

/* With the data file looked at. */
static int env_open_checked(struct lmdb_env **out, const char *directory,
                            const struct store_options *options, struct lmdb_recovery *recovery,
                            struct ls_error *error)
{
    struct lmdb_env *env = env_new(directory);
    if (env == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    int result;
    /* Opened for writing even where only reading is asked for, since a later handle of this process
     * may want more; LMDB itself writes nothing until a commit. */
    result = open_environment(env, 0, options->map_size_max, error);
    if (result == LS_EREADONLY && options->read_only) {
        env->read_only = true;
        result = open_environment(env, MDB_RDONLY, options->map_size_max, error);
    }
    if (result == 0) {
        result = wake_open(&env->wake, directory, recovery->alone, error);
        if (options->read_only && (result == LS_EREADONLY || result == LS_ENOSPACE)) {
            result = 0; /* waiting polls */
        }
        turn_open(&env->turn, directory);
    }
    if (result == 0) {
        result = complete_databases(env, false, error);
    }
    if (result == 0) {
        result = lmdb_recover(recovery, env, error);
    }
    if (result == 0 && !options->read_only) {
        result = complete_databases(env, true, error);
    }
    if (result != 0) {
        env_free(env);
        return result;
    }
    catch_up(env);
    *out = env;
    return 0;
}

/* A directory that this process has not open yet. `locked`: nobody else is opening it. */
static int env_open(struct lmdb_env **out, const char *directory,
                    const struct store_options *options, bool locked, struct ls_error *error)
{
    char data[PATH_MAX];
    struct lmdb_recovery recovery;
    int result = lmdb_recover_begin(&recovery, directory, locked, error);
    if (result == 0) {
        result = join(data, directory, "data.mdb", error);
    }
    if (result == 0) {
        result = check_data(directory, data, options, error);
    }
    if (result == 0) {
        result = env_open_checked(out, directory, options, &recovery, error);
    }
    lmdb_recover_end(&recovery);
    return result;
}

/* The registry is locked. */
static int env_share(struct lmdb_env *env, const struct store_options *options,
                     struct ls_error *error)
{
    if (!options->read_only) {
        if (env->read_only || env->wake.page == NULL) {
            return error_set(error, LS_EREADONLY, 0,
                             "this process has %s open for reading only, as it could not write it",
                             env->directory);
        }
        int result = complete_databases(env, true, error);
        if (result != 0) {
            return result;
        }
    }
    env->references++;
    return 0;
}

static int env_get(struct lmdb_env **out, const char *path, const struct store_options *options,
                   struct ls_error *error)
{
    struct stat stat_of;
    if (stat(path, &stat_of) != 0) {
        return fail_path(error, "open", path);
    }
    if (!S_ISDIR(stat_of.st_mode)) {
        return error_set(error, LS_ENOTFOUND, 0, "%s is not a directory", path);
    }
    for (struct lmdb_env *env = registry; env != NULL; env = env->next) {
        if (env->device == stat_of.st_dev && env->inode == stat_of.st_ino && env->pid == getpid()) {
            *out = env;
            return env_share(env, options, error);
        }
    }
    int locked = lock_directory(path);
    int result = env_open(out, path, options, locked >= 0, error);
    unlock_directory(locked);
    if (result == 0) {
        (*out)->device = stat_of.st_dev;
        (*out)->inode = stat_of.st_ino;
        (*out)->next = registry;
        registry = *out;
    }
    return result;
}

static void env_release(struct lmdb_env *env)
{
    pthread_mutex_lock(&registry_lock);
    if (--env->references == 0) {
        struct lmdb_env **link = &registry;
        while (*link != NULL && *link != env) {
            link = &(*link)->next;
        }
        if (*link != NULL) {
            *link = env->next;
        }
        env_free(env);
    }
    pthread_mutex_unlock(&registry_lock);
}

/* ---- the driver's functions ---- */

static struct lmdb_store *store_new(const struct store_driver *driver, const char *path,
                                    const struct store_options *options)
{
    struct lmdb_store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        return NULL;
    }
    store->base.driver = driver;
    store->base.path = strdup(path);
    if (store->base.path == NULL) {
        free(store);
        return NULL;
    }
    store->sync = options->sync;
    store->read_only = options->read_only;
    atomic_store(&store->quota, options->quota);
    return store;
}

static void store_free(struct lmdb_store *store)
{
    free(store->base.path);
    free(store);
}

int lmdb_open(struct store **out, const char *path, const struct store_options *options,
              struct ls_error *error)
{
    if (path[0] == 0) {
        return error_set(error, LS_EINVAL, 0, "the store's directory is missing");
    }
    struct lmdb_store *store = store_new(&store_lmdb, path, options);
    if (store == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    int result = 0;
    if (options->create && !options->read_only) {
        result = make_directory(path, error);
    }
    if (result == 0) {
        pthread_mutex_lock(&registry_lock);
        result = env_get(&store->env, path, options, error);
        pthread_mutex_unlock(&registry_lock);
    }
    if (result != 0) {
        store_free(store);
        return result;
    }
    *out = &store->base;
    return 0;
}

/* A directory that is gone as soon as it is open, so that no way to end leaves anything behind. */
static int private_env(struct lmdb_env **out, const struct store_options *options,
                       struct ls_error *error)
{
    const char *const wanted[] = {getenv("TMPDIR"), "/dev/shm", "/tmp"};
    char path[PATH_MAX];
    bool made = false;
    for (size_t i = 0; !made && i < sizeof wanted / sizeof wanted[0]; i++) {
        if (wanted[i] != NULL && join(path, wanted[i], "lockstep-XXXXXX", NULL) == 0) {
            made = mkdtemp(path) != NULL;
        }
    }
    if (!made) {
        return fail_path(error, "make", path);
    }
    struct lmdb_env *env = env_new(path);
    int result = env == NULL ? error_code(error, LS_ENOMEM) : 0;
    if (result == 0) {
        env->private_ = true;
        env->sync = false;
        env->no_fallocate = true;
        result = open_environment(env, MDB_NOSYNC | MDB_NOMETASYNC, options->map_size_max, error);
    }
    char file[PATH_MAX + 16];
    snprintf(file, sizeof file, "%s/data.mdb", path);
    unlink(file);
    snprintf(file, sizeof file, "%s/lock.mdb", path);
    unlink(file);
    rmdir(path);
    if (result == 0) {
        result = complete_databases(env, true, error);
    }
    if (result == 0) {
        result = wake_open_private(&env->wake, error);
    }
    if (result != 0) {
        if (env != NULL) {
            env_free(env);
        }
        return result;
    }
    catch_up(env);
    *out = env;
    return 0;
}

int lmdb_open_private(struct store **out, const char *path, const struct store_options *options,
                      struct ls_error *error)
{
    if (path[0] != 0) {
        return error_set(error, LS_EINVAL, 0, "\"mem:\" takes no name");
    }
    if (options->read_only) {
        return error_set(error, LS_EINVAL, 0, "a private store cannot be read only");
    }
    struct lmdb_store *store = store_new(&store_mem, path, options);
    if (store == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    store->sync = false;
    int result = private_env(&store->env, options, error);
    if (result != 0) {
        store_free(store);
        return result;
    }
    *out = &store->base;
    return 0;
}

void lmdb_close(struct store *base)
{
    struct lmdb_store *store = (struct lmdb_store *)base;
    /* In a child after fork LMDB's tables are the parent's; they must be left alone. */
    if (store->env->pid == getpid()) {
        env_release(store->env);
    }
    store_free(store);
}
