/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cursors of the LMDB driver: a range of one category, either way. The bounds are copied, so that
 * the caller's keys need not stay. A cursor does not restrict what else is done to the transaction:
 * where something else was put or deleted since its last step, it finds its place again by the key
 * that it stood on, because LMDB's own cursor may step over what came in beside a deleted record.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "codec/key.h"
#include "store/lmdb_driver.h"

enum scan_state { SCAN_NEW, SCAN_STANDING, SCAN_DROPPED, SCAN_ENDED };

struct store_cursor {
    struct store_txn *txn;
    MDB_cursor *mdb; /* NULL: the category has no database yet */
    enum scan_state state;
    bool backward;
    bool has_end;   /* `to` is a bound */
    uint64_t edits; /* of the transaction, after the last step or drop */
    struct key from;
    struct key to;
    struct key at; /* in a write transaction: what it stands on */
};

static bool copy_bound(struct key *out, ls_bytes key)
{
    if (key.size > KEY_SIZE_MAX) {
        return false;
    }
    out->size = (uint16_t)key.size;
    if (key.size > 0) {
        memcpy(out->data, key.data, key.size);
    }
    return true;
}

int lmdb_scan(struct store_txn *txn, ls_bytes from, ls_bytes to, bool backward,
              struct store_cursor **out, struct ls_error *error)
{
    struct lmdb_env *env = txn->store->env;
    uint8_t slot = from.size == 0 ? LMDB_SLOT_NONE : lmdb_slot(*(const uint8_t *)from.data);
    if (slot == LMDB_SLOT_NONE) {
        return error_set(error, LS_EKEY, 0, "a scan begins in no known category");
    }
    int ground = lmdb_ground(txn, error);
    if (ground != 0) {
        return ground;
    }
    struct store_cursor *cursor = malloc(sizeof *cursor);
    if (cursor == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    if (!copy_bound(&cursor->from, from) || !copy_bound(&cursor->to, to)) {
        free(cursor);
        return error_set(error, LS_EKEY, KEY_SIZE_MAX, "a bound of more than %d bytes",
                         KEY_SIZE_MAX);
    }
    cursor->txn = txn;
    cursor->mdb = NULL;
    cursor->backward = backward;
    cursor->has_end = to.size > 0;
    cursor->state = SCAN_NEW;
    cursor->edits = txn->edits;
    if (env->dbis[slot] == LMDB_DBI_NONE) {
        cursor->state = SCAN_ENDED;
    } else {
        int result = mdb_cursor_open(txn->mdb, env->dbis[slot], &cursor->mdb);
        if (result != 0) {
            free(cursor);
            return lmdb_fail(error, result, env, "cannot scan");
        }
    }
    *out = cursor;
    return 0;
}

static MDB_val val_of(ls_bytes bytes)
{
    return (MDB_val){.mv_size = bytes.size, .mv_data = (void *)(uintptr_t)bytes.data};
}

static MDB_val val_of_key(const struct key *key)
{
    return val_of(key_bytes(key));
}

/* Onto the last record below `bound`; an empty one is the category's end. */
static int step_below(MDB_cursor *cursor, ls_bytes bound, MDB_val *key, MDB_val *value)
{
    if (bound.size == 0) {
        return mdb_cursor_get(cursor, key, value, MDB_LAST);
    }
    *key = val_of(bound);
    int result = mdb_cursor_get(cursor, key, value, MDB_SET_RANGE);
    if (result == MDB_NOTFOUND) {
        return mdb_cursor_get(cursor, key, value, MDB_LAST);
    }
    return result != 0 ? result : mdb_cursor_get(cursor, key, value, MDB_PREV);
}

/* Onto the first record of the range, as seen from where the scan begins. */
static int first_step(struct store_cursor *cursor, MDB_val *key, MDB_val *value)
{
    if (!cursor->backward) {
        *key = val_of_key(&cursor->from);
        return mdb_cursor_get(cursor->mdb, key, value, MDB_SET_RANGE);
    }
    return step_below(cursor->mdb, key_bytes(&cursor->to), key, value);
}

/* On from the key that it stood on, which may be gone, or there again. */
static int step_from_key(struct store_cursor *cursor, MDB_val *key, MDB_val *value)
{
    if (cursor->backward) {
        return step_below(cursor->mdb, key_bytes(&cursor->at), key, value);
    }
    *key = val_of_key(&cursor->at);
    int result = mdb_cursor_get(cursor->mdb, key, value, MDB_SET_RANGE);
    if (result == 0 &&
        bytes_equal((ls_bytes){key->mv_data, key->mv_size}, key_bytes(&cursor->at))) {
        result = mdb_cursor_get(cursor->mdb, key, value, MDB_NEXT);
    }
    return result;
}

static int step(struct store_cursor *cursor, MDB_val *key, MDB_val *value)
{
    if (cursor->state == SCAN_NEW) {
        return first_step(cursor, key, value);
    }
    if (cursor->edits != cursor->txn->edits) {
        return step_from_key(cursor, key, value);
    }
    return mdb_cursor_get(cursor->mdb, key, value, cursor->backward ? MDB_PREV : MDB_NEXT);
}

static bool inside(const struct store_cursor *cursor, ls_bytes key)
{
    if (cursor->backward) {
        return bytes_compare(key, key_bytes(&cursor->from)) >= 0;
    }
    return !cursor->has_end || bytes_compare(key, key_bytes(&cursor->to)) < 0;
}

int lmdb_next(struct store_cursor *cursor, ls_bytes *key, ls_bytes *value, struct ls_error *error)
{
    if (cursor->state == SCAN_ENDED) {
        return 0;
    }
    MDB_val found_key;
    MDB_val found;
    int result = step(cursor, &found_key, &found);
    if (result == MDB_NOTFOUND) {
        cursor->state = SCAN_ENDED;
        return 0;
    }
    if (result != 0) {
        return lmdb_fail(error, result, cursor->txn->store->env, "cannot scan");
    }
    ls_bytes at = {found_key.mv_data, found_key.mv_size};
    if (!inside(cursor, at)) {
        cursor->state = SCAN_ENDED;
        return 0;
    }
    cursor->state = SCAN_STANDING;
    if (cursor->txn->write) {
        cursor->edits = cursor->txn->edits;
        copy_bound(&cursor->at, at);
    }
    *key = at;
    *value = (ls_bytes){found.mv_data, found.mv_size};
    return 1;
}

int lmdb_drop(struct store_cursor *cursor, struct ls_error *error)
{
    struct store_txn *txn = cursor->txn;
    assert(txn->write && cursor->state == SCAN_STANDING);
    cursor->state = SCAN_DROPPED;
    MDB_val key = val_of_key(&cursor->at), value;
    int result = cursor->edits != txn->edits
                     ? mdb_cursor_get(cursor->mdb, &key, NULL, MDB_SET_KEY)
                     : mdb_cursor_get(cursor->mdb, &key, &value, MDB_GET_CURRENT);
    if (result == MDB_NOTFOUND && cursor->edits != txn->edits) {
        return 0; /* deleted otherwise */
    }
    if (result == 0) {
        lmdb_changed(txn, lmdb_slot(cursor->at.data[0]), key.mv_data);
        result = mdb_cursor_del(cursor->mdb, 0);
    }
    if (result != 0) {
        return lmdb_fail(error, result, txn->store->env, "cannot delete");
    }
    struct redo_edit edit = {.operation = REDO_DEL, .key = key_bytes(&cursor->at)};
    lmdb_edited(txn, &edit);
    cursor->edits = txn->edits;
    return 0;
}

void lmdb_scan_end(struct store_cursor *cursor)
{
    if (cursor != NULL) {
        if (cursor->mdb != NULL) {
            mdb_cursor_close(cursor->mdb);
        }
        free(cursor);
    }
}

/* ---- the last of a range ---- */

/* The transaction's cursor for it: a reader's is there already, and only renewed. */
static int looker(struct store_txn *txn, uint8_t slot, MDB_cursor **out)
{
    MDB_cursor **cursor = &txn->lookers[slot];
    int result = 0;
    if (*cursor == NULL) {
        result = mdb_cursor_open(txn->mdb, txn->store->env->dbis[slot], cursor);
    } else if ((txn->looked & 1u << slot) == 0) {
        result = mdb_cursor_renew(txn->mdb, *cursor);
    }
    txn->looked |= 1u << slot;
    *out = *cursor;
    return result;
}

int lmdb_last(struct store_txn *txn, ls_bytes from, ls_bytes to, ls_bytes *key, ls_bytes *value,
              struct ls_error *error)
{
    const struct lmdb_env *env = txn->store->env;
    uint8_t slot = from.size == 0 ? LMDB_SLOT_NONE : lmdb_slot(*(const uint8_t *)from.data);
    if (slot == LMDB_SLOT_NONE || to.size > KEY_SIZE_MAX) {
        return error_set(error, LS_EKEY, 0, "the range is in no known category");
    }
    int code = lmdb_ground(txn, error);
    if (code != 0) {
        return code;
    }
    if (env->dbis[slot] == LMDB_DBI_NONE) {
        return 0;
    }
    MDB_cursor *cursor;
    MDB_val at, found;
    int result = looker(txn, slot, &cursor);
    result = result != 0 ? result : step_below(cursor, to, &at, &found);
    if (result != 0) {
        return result == MDB_NOTFOUND ? 0 : lmdb_fail(error, result, env, "cannot look");
    }
    *key = (ls_bytes){at.mv_data, at.mv_size};
    *value = (ls_bytes){found.mv_data, found.mv_size};
    return bytes_compare(*key, from) >= 0;
}

void lmdb_free_reader(struct store_txn *txn)
{
    for (int i = 0; i < LMDB_SLOTS; i++) {
        if (txn->lookers[i] != NULL) {
            mdb_cursor_close(txn->lookers[i]);
        }
    }
    mdb_txn_abort(txn->mdb);
    free(txn);
}
