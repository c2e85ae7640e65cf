/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The LMDB driver: transactions, get, put, del, and the table of its functions. Opening is in
 * lmdb_open.c, commits in flight in lmdb_pipe.c, cursors in lmdb_scan.c, limits in lmdb_space.c,
 * waking in wake.c, the order of writers in turn.c.
 *
 * What makes it quick: a read transaction is an old one renewed, with its slot in LMDB's table;
 * appends of one transaction share a cursor, which LMDB leaves standing on the last leaf.
 */
#include "store/lmdb_driver.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "codec/key.h"

/* How often those who wait look whether a writer died between its commit and its signal; and how
 * often they look at all where the directory cannot be written. */
#define CATCH_UP_MS 200
#define POLL_MS     3

uint8_t lmdb_slot(uint8_t category)
{
    switch (category) {
    case KEY_CONTROL:
        return 0;
    case KEY_MESSAGE:
        return 1;
    case KEY_NODE:
        return 2;
    case KEY_OBJECT:
        return 3;
    case KEY_PRODUCER:
        return 4;
    case KEY_VERSION:
        return 5;
    default:
        return LMDB_SLOT_NONE;
    }
}

static int code_of(int result)
{
    switch (result) {
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
        return LS_ECORRUPT;
    case MDB_VERSION_MISMATCH:
    case MDB_INVALID:
    case MDB_INCOMPATIBLE:
        return LS_EFORMAT;
    case MDB_MAP_FULL:
    case MDB_MAP_RESIZED:
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return LS_ENOSPACE;
    case MDB_READERS_FULL:
    case EBUSY:
    case EAGAIN:
        return LS_EBUSY;
    case MDB_TXN_FULL:
    case ENOMEM:
        return LS_ENOMEM;
    case EACCES:
    case EPERM:
    case EROFS:
        return LS_EREADONLY;
    case ENOENT:
    case ENOTDIR:
        return LS_ENOTFOUND;
    default:
        return LS_EIO;
    }
}

int lmdb_fail(struct ls_error *error, int result, const struct lmdb_env *env, const char *doing)
{
    /* LMDB calls a write that was cut short by a full disk EIO. */
    if (result == EIO && env != NULL && env->mdb != NULL && lmdb_disk_full(env)) {
        result = ENOSPC;
    }
    int code = code_of(result);
    switch (result) {
    case MDB_MAP_FULL:
        return error_set(error, code, 0, "the map of %llu bytes is full",
                         (unsigned long long)(env->map_pages * env->page_size));
    case MDB_MAP_RESIZED:
        return error_set(error, code, 0,
                         "another process made the store larger than the map of %llu bytes here",
                         (unsigned long long)(env->map_pages * env->page_size));
    case ENOSPC:
        return error_set(error, code, 0, "the disk is full");
    case EDQUOT:
        return error_set(error, code, 0, "the user's disk quota is used up");
    case MDB_READERS_FULL:
        return error_set(error, code, LMDB_READERS_MAX, "%d readers are open, and no more can be",
                         LMDB_READERS_MAX);
    case MDB_TXN_FULL:
        return error_set(error, code, 0, "the transaction is too large");
    case MDB_PANIC:
        return error_set(error, code, 0,
                         "an earlier commit could not be written; the store must be opened again");
    default:
        return error_set(error, code, 0, "%s: %s", doing, mdb_strerror(result));
    }
}

/* ---- transactions ---- */

static struct store_txn *take_idle(struct lmdb_env *env)
{
    pthread_mutex_lock(&env->idle_lock);
    struct store_txn *txn = env->idle;
    if (txn != NULL) {
        env->idle = txn->next_idle;
        env->idle_count--;
    }
    pthread_mutex_unlock(&env->idle_lock);
    return txn;
}

static void give_idle(struct lmdb_env *env, struct store_txn *txn)
{
    mdb_txn_reset(txn->mdb);
    pthread_mutex_lock(&env->idle_lock);
    bool keep = env->idle_count < LMDB_IDLE_MAX;
    if (keep) {
        txn->next_idle = env->idle;
        env->idle = txn;
        env->idle_count++;
    }
    pthread_mutex_unlock(&env->idle_lock);
    if (!keep) {
        lmdb_free_reader(txn);
    }
}

int lmdb_begin_read(struct lmdb_store *store, struct store_txn **out, struct ls_error *error)
{
    struct lmdb_env *env = store->env;
    struct store_txn *txn = take_idle(env);
    int result;
    if (txn != NULL) {
        result = mdb_txn_renew(txn->mdb);
        if (result != 0) {
            lmdb_free_reader(txn);
            return lmdb_fail(error, result, env, "cannot begin to read");
        }
        txn->looked = 0;
    } else {
        txn = calloc(1, sizeof *txn);
        if (txn == NULL) {
            return error_code(error, LS_ENOMEM);
        }
        result = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &txn->mdb);
        int dead = 0;
        if (result == MDB_READERS_FULL && mdb_reader_check(env->mdb, &dead) == 0 && dead > 0) {
            result = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &txn->mdb);
        }
    }
    if (result != 0) {
        free(txn);
        return lmdb_fail(error, result, env, "cannot begin to read");
    }
    txn->store = store;
    *out = txn;
    return 0;
}

void lmdb_set_sync(struct lmdb_env *env, bool sync)
{
    if (env->sync != sync) {
        mdb_env_set_flags(env->mdb, MDB_NOSYNC, !sync);
        env->sync = sync;
    }
}

int lmdb_begin_in_turn(struct store_txn *txn, struct store_txn **out, struct ls_error *error)
{
    struct lmdb_env *env = txn->store->env;
    int result = mdb_txn_begin(env->mdb, NULL, 0, &txn->mdb);
    if (result != 0) {
        result = lmdb_fail(error, result, env, "cannot begin to write");
        goto fail;
    }
    result = lmdb_log_enter(txn, error);
    if (result != 0) {
        mdb_txn_abort(txn->mdb);
        goto fail;
    }
    *out = txn;
    return 0;
fail:
    turn_give(&env->turn);
    free(txn);
    return result;
}

static int begin_write(struct lmdb_store *store, struct store_txn **out, struct ls_error *error)
{
    struct store_txn *txn = calloc(1, sizeof *txn);
    if (txn == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    txn->store = store;
    txn->write = true;
    turn_take(&store->env->turn);
    return lmdb_begin_in_turn(txn, out, error);
}

static int lmdb_begin(struct store *base, enum store_mode mode, struct store_txn **out,
                      struct ls_error *error)
{
    struct lmdb_store *store = (struct lmdb_store *)base;
    if (mode == STORE_READ) {
        return lmdb_begin_read(store, out, error);
    }
    if (store->read_only) {
        return error_set(error, LS_EREADONLY, 0, "the store was opened for reading only");
    }
    return mode == STORE_AHEAD ? lmdb_begin_ahead(store, out, error)
                               : begin_write(store, out, error);
}

/* LMDB reuses what a commit freed only after the next one. Where somebody was refused and now may
 * wait for these pages, the next one is made at once: a record is put as it is. */
static bool commit_once_more(struct lmdb_env *env)
{
    MDB_txn *mdb;
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val value;
    uint8_t copy[256];
    if (env->dbis[0] == LMDB_DBI_NONE || mdb_txn_begin(env->mdb, NULL, 0, &mdb) != 0) {
        return false;
    }
    int result = mdb_cursor_open(mdb, env->dbis[0], &cursor);
    if (result == 0) {
        result = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
        if (result == 0 && value.mv_size <= sizeof copy) {
            memcpy(copy, value.mv_data, value.mv_size);
            value.mv_data = copy;
            result = mdb_cursor_put(cursor, &key, &value, MDB_CURRENT);
        }
        mdb_cursor_close(cursor);
    }
    if (result != 0) {
        mdb_txn_abort(mdb);
        return false;
    }
    return mdb_txn_commit(mdb) == 0;
}

static void lmdb_abort(struct store_txn *txn)
{
    if (!txn->write) {
        give_idle(txn->store->env, txn);
        return;
    }
    if (txn->ahead) {
        lmdb_abort_ahead(txn);
        return;
    }
    if (txn->mdb != NULL) {
        mdb_txn_abort(txn->mdb);
    }
    if (txn->room_with_next) {
        (void)commit_once_more(txn->store->env);
    }
    turn_give(&txn->store->env->turn);
    lmdb_end_view(txn);
    free(txn);
}

int lmdb_commit(struct store_txn *txn, struct ls_error *error)
{
    struct lmdb_store *store = txn->store;
    struct lmdb_env *env = store->env;
    if (!txn->write) {
        give_idle(env, txn);
        return 0;
    }
    bool changed = txn->edits > 0;
    int code = lmdb_ground(txn, error);
    uint64_t number = code == 0 ? mdb_txn_id(txn->mdb) : 0;
    if (code == 0 && changed) {
        code = lmdb_log_flush(txn, error);
    }
    if (code != 0) {
        lmdb_abort(txn);
        return code;
    }
    lmdb_end_view(txn);
    int result = mdb_txn_commit(txn->mdb);
    if (changed) {
        result = lmdb_log_committed(env, txn->logged, number, result);
    }
    if (result == 0 && changed && env->refused) {
        env->refused = false;
        number += commit_once_more(env);
    }
    turn_give(&env->turn);
    free(txn);
    if (result != 0) {
        return lmdb_fail(error, result, env, "cannot commit");
    }
    if (changed) {
        if (store->sync) {
            atomic_fetch_add(&env->flushes, 1);
        }
        if (env->wake.page != NULL) {
            wake_signal(&env->wake, number);
        }
    }
    return 0;
}

static uint64_t lmdb_number(struct store_txn *txn)
{
    return txn->mdb == NULL ? txn->number : mdb_txn_id(txn->mdb);
}

/* ---- reading in a transaction that is ahead ---- */

void lmdb_end_view(struct store_txn *txn)
{
    if (txn->view != NULL) {
        give_idle(txn->store->env, txn->view);
        txn->view = NULL;
    }
}

static int lmdb_earlier(struct store_txn *txn, struct store_txn **out, struct ls_error *error)
{
    if (!txn->write || (!txn->ahead && !txn->lost)) {
        *out = txn;
        return 0;
    }
    int result = txn->view == NULL ? lmdb_begin_read(txn->store, &txn->view, error) : 0;
    *out = txn->view;
    return result;
}

/* ---- records ---- */

/* The database of a key, LMDB_DBI_NONE where there is none for it. */
static MDB_dbi dbi_of(const struct store_txn *txn, ls_bytes key)
{
    if (key.size == 0 || key.size > KEY_SIZE_MAX) {
        return LMDB_DBI_NONE;
    }
    uint8_t slot = lmdb_slot(*(const uint8_t *)key.data);
    return slot == LMDB_SLOT_NONE ? LMDB_DBI_NONE : txn->store->env->dbis[slot];
}

static int refuse_key(ls_bytes key, struct ls_error *error)
{
    if (key.size == 0) {
        return error_set(error, LS_EKEY, 0, "the key is empty");
    }
    if (key.size > KEY_SIZE_MAX) {
        return error_set(error, LS_EKEY, KEY_SIZE_MAX, "a key of %zu bytes, more than %d", key.size,
                         KEY_SIZE_MAX);
    }
    return error_set(error, LS_EKEY, 0, "no category 0x%02x", *(const uint8_t *)key.data);
}

static MDB_val val_of(ls_bytes bytes)
{
    return (MDB_val){.mv_size = bytes.size, .mv_data = (void *)(uintptr_t)bytes.data};
}

static int lmdb_get(struct store_txn *txn, ls_bytes key, ls_bytes *value)
{
    MDB_dbi dbi = dbi_of(txn, key);
    if (dbi == LMDB_DBI_NONE) {
        return LS_ENOTFOUND;
    }
    struct store_txn *from = txn;
    int result = txn->ahead && !lmdb_is_pending(txn, lmdb_slot(*(const uint8_t *)key.data))
                     ? lmdb_earlier(txn, &from, NULL)
                     : lmdb_ground(txn, NULL);
    if (result != 0) {
        return result;
    }
    MDB_val found;
    MDB_val wanted = val_of(key);
    result = mdb_get(from->mdb, dbi, &wanted, &found);
    if (result == MDB_NOTFOUND) {
        return LS_ENOTFOUND;
    }
    if (result != 0) {
        return code_of(result);
    }
    *value = (ls_bytes){found.mv_data, found.mv_size};
    return 0;
}

/* The cursor of its kind for the key's category, which stands where it was last used. */
static int cursor_of(struct store_txn *txn, MDB_cursor **cursors, MDB_dbi dbi, const MDB_val *key,
                     MDB_cursor **out)
{
    MDB_cursor **cursor = &cursors[lmdb_slot(*(const uint8_t *)key->mv_data)];
    int result = *cursor == NULL ? mdb_cursor_open(txn->mdb, dbi, cursor) : 0;
    *out = *cursor;
    return result;
}

static int append(struct store_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value)
{
    MDB_cursor *cursor;
    int result = cursor_of(txn, txn->appenders, dbi, key, &cursor);
    return result != 0 ? result : mdb_cursor_put(cursor, key, value, MDB_APPEND);
}

/* A leaf that was changed is in memory of its own, as large as a page. So keys that are further
 * apart than that are in two leaves; those that are not, and in turn close to all before, are
 * likely in one. */
void lmdb_changed(struct store_txn *txn, uint8_t slot, const void *key)
{
    uintptr_t at = (uintptr_t)key;
    uintptr_t low = txn->changed[slot].low, high = txn->changed[slot].high;
    bool first = low == 0;
    low = first || at < low ? at : low;
    high = first || at > high ? at : high;
    if (first || high - low >= txn->store->env->page_size) {
        low = high = at;
        txn->changes++;
    }
    txn->changed[slot].low = low;
    txn->changed[slot].high = high;
}

static int change(struct store_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value)
{
    MDB_cursor *cursor;
    MDB_val at, content;
    uint8_t slot = lmdb_slot(*(const uint8_t *)key->mv_data);
    int result = cursor_of(txn, txn->changers, dbi, key, &cursor);
    result = result != 0 ? result : mdb_cursor_put(cursor, key, value, 0);
    if (result == 0 && mdb_cursor_get(cursor, &at, &content, MDB_GET_CURRENT) == 0) {
        lmdb_changed(txn, slot, at.mv_data);
    } else {
        txn->changes++;
    }
    return result;
}

static int erase(struct store_txn *txn, MDB_dbi dbi, MDB_val *key)
{
    MDB_cursor *cursor;
    MDB_val at = *key;
    int result = cursor_of(txn, txn->changers, dbi, key, &cursor);
    result = result != 0 ? result : mdb_cursor_get(cursor, &at, NULL, MDB_SET_KEY);
    if (result == 0) {
        lmdb_changed(txn, lmdb_slot(*(const uint8_t *)key->mv_data), at.mv_data);
        result = mdb_cursor_del(cursor, 0);
    }
    return result;
}

int lmdb_edit(struct store_txn *txn, const struct redo_edit *edit)
{
    MDB_dbi dbi = dbi_of(txn, edit->key);
    MDB_val key = val_of(edit->key);
    MDB_val value = val_of(edit->value);
    switch (edit->operation) {
    case REDO_PUT:
        return change(txn, dbi, &key, &value);
    case REDO_APPEND:
        return append(txn, dbi, &key, &value);
    case REDO_DEL:
        return erase(txn, dbi, &key);
    }
    return MDB_BAD_VALSIZE;
}

void lmdb_edited(struct store_txn *txn, const struct redo_edit *edit)
{
    txn->edits++;
    txn->changes += txn->ahead && edit->operation != REDO_APPEND; /* else LMDB tells */
    txn->slots |= 1u << lmdb_slot(*(const uint8_t *)edit->key.data);
    lmdb_log_edit(txn, edit);
}

static int lmdb_put(struct store_txn *txn, ls_bytes key, ls_bytes value, bool at_end,
                    struct ls_error *error)
{
    assert(txn->write);
    struct redo_edit edit = {at_end ? REDO_APPEND : REDO_PUT, key, value};
    if (dbi_of(txn, key) == LMDB_DBI_NONE) {
        return refuse_key(key, error);
    }
    if (!txn->ahead || !lmdb_log_has_room(txn, &edit)) {
        int code = lmdb_ground(txn, error);
        if (code != 0) {
            return code;
        }
        int result = lmdb_edit(txn, &edit);
        if (result == MDB_KEYEXIST) {
            return error_set(error, LS_EINVAL, 0, "the appended key is not the greatest");
        }
        if (result != 0) {
            return lmdb_fail(error, result, txn->store->env, "cannot put");
        }
    }
    lmdb_edited(txn, &edit);
    return 0;
}

static int lmdb_del(struct store_txn *txn, ls_bytes key, struct ls_error *error)
{
    assert(txn->write);
    struct redo_edit edit = {.operation = REDO_DEL, .key = key};
    if (dbi_of(txn, key) == LMDB_DBI_NONE) {
        return refuse_key(key, error);
    }
    int code = lmdb_ground(txn, error);
    if (code != 0) {
        return code;
    }
    int result = lmdb_edit(txn, &edit);
    if (result == MDB_NOTFOUND) {
        return error_code(error, LS_ENOTFOUND);
    }
    if (result != 0) {
        return lmdb_fail(error, result, txn->store->env, "cannot delete");
    }
    lmdb_edited(txn, &edit);
    return 0;
}

static int lmdb_count(struct store_txn *txn, char category, uint64_t *out, struct ls_error *error)
{
    uint8_t letter = (uint8_t)category;
    MDB_dbi dbi = dbi_of(txn, (ls_bytes){&letter, 1});
    if (lmdb_slot(letter) == LMDB_SLOT_NONE) {
        return refuse_key((ls_bytes){&letter, 1}, error);
    }
    MDB_stat stat = {0};
    int code = lmdb_ground(txn, error);
    if (code != 0) {
        return code;
    }
    if (dbi != LMDB_DBI_NONE) {
        int result = mdb_stat(txn->mdb, dbi, &stat);
        if (result != 0) {
            return lmdb_fail(error, result, txn->store->env, "cannot count");
        }
    }
    *out = stat.ms_entries;
    return 0;
}

/* ---- waking ---- */

static uint64_t last_commit(const struct lmdb_env *env)
{
    MDB_envinfo info;
    return mdb_env_info(env->mdb, &info) == 0 ? info.me_last_txnid : 0;
}

static uint32_t lmdb_wake_word(struct store *base)
{
    struct lmdb_env *env = ((struct lmdb_store *)base)->env;
    return env->wake.page != NULL ? wake_word(&env->wake) : (uint32_t)last_commit(env);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool wait_step(struct lmdb_env *env, uint32_t seen, int64_t left_ms)
{
    if (env->wake.page != NULL) {
        wake_catch_up(&env->wake, last_commit(env));
        return wake_sleep(&env->wake, seen, left_ms < CATCH_UP_MS ? left_ms : CATCH_UP_MS);
    }
    int64_t step = left_ms < POLL_MS ? left_ms : POLL_MS;
    nanosleep(&(struct timespec){.tv_nsec = (long)step * 1000000}, NULL);
    return (uint32_t)last_commit(env) != seen;
}

static bool lmdb_wake_wait(struct store *base, uint32_t seen, int64_t timeout_ms)
{
    struct lmdb_env *env = ((struct lmdb_store *)base)->env;
    int64_t now = now_ms();
    int64_t end = timeout_ms < 0 || timeout_ms > INT64_MAX - now ? INT64_MAX : now + timeout_ms;
    while (lmdb_wake_word(base) == seen) {
        int64_t left = end - now_ms();
        if (left <= 0) {
            return false;
        }
        wait_step(env, seen, left);
    }
    return true;
}

static void lmdb_wake_all(struct store *base)
{
    struct lmdb_env *env = ((struct lmdb_store *)base)->env;
    if (env->wake.page != NULL) {
        wake_everyone(&env->wake);
    }
}

/* ---- the drivers ---- */

#define LMDB_FUNCTIONS                                                                             \
    .close = lmdb_close, .begin = lmdb_begin, .get = lmdb_get, .put = lmdb_put, .del = lmdb_del,   \
    .room = lmdb_room, .last = lmdb_last, .scan = lmdb_scan, .next = lmdb_next, .drop = lmdb_drop, \
    .scan_end = lmdb_scan_end, .commit = lmdb_commit, .abort = lmdb_abort, .number = lmdb_number,  \
    .submit = lmdb_submit, .finish = lmdb_finish, .earlier = lmdb_earlier, .count = lmdb_count,    \
    .stat = lmdb_stat, .set_quota = lmdb_set_quota, .wake_word = lmdb_wake_word,                   \
    .wake_wait = lmdb_wake_wait, .wake_all = lmdb_wake_all, .run = lmdb_run

const struct store_driver store_lmdb = {
    .version = 2, .name = "lmdb", .open = lmdb_open, LMDB_FUNCTIONS};

const struct store_driver store_mem = {
    .version = 2, .name = "mem", .open = lmdb_open_private, LMDB_FUNCTIONS};
