/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a read gives: the newest version of a key below a timestamp, of those in memory and those
 * under `V`; and the collection of the latter. As of any timestamp from `collected` on everything
 * can be read: a version is deleted only when a later one of its key, or its own being a deletion,
 * stands at or below that. Most go when their key is written anew (merge.c); the sweep finds the
 * others, going through all versions again and again, a few at a time.
 *
 * A deletion stays as long as an older version of its key is still in memory, which would otherwise
 * be seen again.
 */
#include <assert.h>

#include "base/error.h"
#include "txn/state.h"

struct key_text key_text(ls_bytes key)
{
    struct key_text out;
    const uint8_t *at = key.data;
    size_t shown = key.size < sizeof(out.text) - 4 ? key.size : sizeof(out.text) - 4;
    for (size_t i = 0; i < shown; i++) {
        out.text[i] = at[i] >= 0x20 && at[i] < 0x7F ? (char)at[i] : '?';
    }
    const char *end = shown < key.size ? "..." : "";
    memcpy(out.text + shown, end, strlen(end) + 1);
    return out;
}

static int version_damaged(struct ls_error *error, ls_bytes key, const struct ls_error *detail)
{
    return error_set(error, LS_ECORRUPT, 0, "a version of the key '%s' is damaged: %s",
                     key_text(key).text, detail->text);
}

int version_misplaced(struct ls_error *error)
{
    return error_set(error, LS_ECORRUPT, 0, "a version is not in its place");
}

/* Under `V`, as of the last commit that is finished: what was written since is in memory, and what
 * was moved since is there still. The one place that reads versions there for a call. */
static int stored_read(struct coordinator *c, ls_bytes key, uint64_t timestamp, uint64_t *found,
                       struct version *out, struct ls_error *error)
{
    struct key from, to;
    struct store_txn *earlier;
    ls_bytes at, value;
    int rc = key_version(&from, key, 0, error);
    rc = rc != 0 ? rc : coordinator_earlier(c, &earlier, error);
    if (rc != 0) {
        return rc;
    }
    memcpy(to.data, from.data, from.size);
    to.size = from.size;
    put_be64(to.data + to.size - 8, timestamp);
    rc = store_last(coordinator_store(c), earlier, key_bytes(&from), key_bytes(&to), &at, &value,
                    error);
    if (rc > 0 && (at.size != to.size || bytes_compare(at, key_bytes(&to)) >= 0)) {
        return version_misplaced(error); /* one of another key, or that is too late */
    }
    if (rc > 0) {
        struct ls_error detail;
        *found = get_be64((const uint8_t *)at.data + at.size - 8);
        if (version_decode(out, value, &detail) != 0) {
            rc = version_damaged(error, key, &detail);
        }
    }
    return rc;
}

int version_read(struct txn *txn, struct coordinator *c, ls_bytes key, uint64_t hash,
                 uint64_t timestamp, uint64_t *found, struct version *out, struct ls_error *error)
{
    struct recent_found recent;
    bool any = recent_find(txn->recent, key, hash, timestamp, &recent);
    if (!any || !recent.last) {
        int rc = stored_read(c, key, timestamp, found, out, error);
        if (rc < 0 || !any || (rc > 0 && *found >= recent.timestamp)) {
            return rc;
        }
    }
    *found = recent.timestamp;
    *out = (struct version){.value = recent.value, .deleted = recent.deleted};
    return 1;
}

int version_put(struct txn *txn, struct coordinator *c, ls_bytes key, uint64_t timestamp,
                const struct version *version, struct ls_error *error)
{
    struct key at;
    int rc = key_version(&at, key, timestamp, error);
    if (rc != 0) {
        return rc;
    }
    txn->record.size = 0;
    rc = version_encode(&txn->record, version, key_bytes(&at));
    return rc != 0 ? error_code(error, rc)
                   : coordinator_put(c, &at, buf_bytes(&txn->record), error);
}

int version_drop(struct txn *txn, struct coordinator *c, const struct key *key,
                 struct ls_error *error)
{
    txn->counters.dropped++;
    int rc = coordinator_del(c, key, error);
    return rc == LS_ENOTFOUND ? 0 : rc;
}

/* ---- reading ---- */

int txn_resolve(struct txn *txn, struct coordinator *c, struct txn_call *call, uint64_t timestamp,
                ls_bytes key, uint64_t hash, struct txn_value *value, uint64_t *waits_for,
                struct ls_error *error)
{
    uint64_t blocker;
    uint64_t found = 0;
    struct version version;
    txn->touched = txn->touched || txn->index->count > 0; /* the watermark */
    int rc = index_waits_for(txn->index, timestamp, key, &blocker, error);
    if (rc != 0) {
        return rc;
    }
    rc = version_read(txn, c, key, hash, timestamp, &found, &version, error);
    if (rc < 0) {
        return rc;
    }
    /* What was written above the open write, by a call that ran at once or by another process,
     * left no mark. */
    if (blocker != 0 && (rc == 0 || found < blocker)) {
        *waits_for = blocker;
        return 1;
    }
    *value = (struct txn_value){.absent = rc == 0 || version.deleted, .at = call->bytes.size};
    if (value->absent) {
        return 0;
    }
    if (version.value.size > TXN_BYTES_MAX - call->bytes.size) {
        return error_set(error, LS_ETOOBIG, TXN_BYTES_MAX, "what is read has more than %zu bytes",
                         TXN_BYTES_MAX);
    }
    rc = buf_append(&call->bytes, version.value.data, version.value.size);
    if (rc != 0) {
        return error_code(error, rc);
    }
    value->value.size = version.value.size;
    return 0;
}

void txn_settle_values(struct txn_call *call, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct txn_value *value = &call->values[i];
        value->value.data = value->absent ? NULL : bytes_at(call, value->at);
    }
}

/* ---- collecting ---- */

/* A version that was looked at: whether it can go depends on the next. */
struct swept {
    bool any;
    bool deletes;
    struct key key;
};

static bool same_key(const struct key *a, ls_bytes b)
{
    return a->size == b.size && memcmp(a->data, b.data, b.size - 8) == 0;
}

static uint64_t timestamp_of(const struct key *key)
{
    return get_be64(key->data + key->size - 8);
}

/* Whether an older version in memory keeps a deletion that could go otherwise. It goes with a later
 * sweep, or when its key is moved. */
static int is_needed(struct txn *txn, const struct key *key, bool *out, struct ls_error *error)
{
    struct key_parts parts;
    int rc = key_decode(&parts, key_bytes(key), error);
    *out = rc == 0 && recent_has_below(txn->recent, parts.name, parts.clock);
    txn->now.sweep_kept = txn->now.sweep_kept || *out;
    return rc;
}

/* Takes up the next version, or the end (an empty key), and drops the one before where nothing can
 * read it any more. Those of its key before that are gone by then, so a deletion hides nothing. */
static int sweep_step(struct txn *txn, struct coordinator *c, struct swept *last, ls_bytes key,
                      ls_bytes value, struct ls_error *error)
{
    struct version version;
    uint64_t collected = txn->now.sweep_collected;
    struct swept next = {.any = key.size > 0};
    bool replaced = false;
    if (next.any) {
        struct ls_error detail;
        if (key.size > KEY_SIZE_MAX || key.size <= 8 ||
            version_decode(&version, value, &detail) != 0) {
            return error_set(error, LS_ECORRUPT, 0, "a version is damaged");
        }
        memcpy(next.key.data, key.data, key.size);
        next.key.size = (uint16_t)key.size;
        next.deletes = version.deleted;
        replaced = last->any && same_key(&last->key, key) && timestamp_of(&next.key) <= collected;
    }
    bool gone = replaced;
    int rc = 0;
    if (!gone && last->any && last->deletes && timestamp_of(&last->key) <= collected) {
        bool needed = false;
        rc = is_needed(txn, &last->key, &needed, error);
        gone = !needed;
    }
    if (gone && rc == 0) {
        rc = version_drop(txn, c, &last->key, error);
    }
    *last = next;
    return rc;
}

int version_sweep(struct txn *txn, struct coordinator *c, size_t budget, struct ls_error *error)
{
    struct standing *now = &txn->now;
    const struct store_driver *driver = coordinator_store(c)->driver;
    struct store_cursor *cursor;
    struct swept last = {0};
    struct key_walk walk;
    ls_bytes key, value;
    struct ls_error full;
    assert(budget >= 2);
    if (!now->sweeping || coordinator_room(c, STORE_ROOM_FREE, 0, &full) != 0) {
        return 0;
    }
    int rc = driver->scan(coordinator_txn(c), key_bytes(&now->sweep_from), bytes_of(NULL, 0), false,
                          &cursor, error);
    if (rc != 0) {
        return rc;
    }
    key_walk_begin(&walk, &now->sweep_from);
    for (; budget > 0 && (rc = driver->next(cursor, &key, &value, error)) > 0; budget--) {
        rc = key_walk_step(&walk, key) ? sweep_step(txn, c, &last, key, value, error)
                                       : version_misplaced(error);
        if (rc != 0) {
            break;
        }
    }
    driver->scan_end(cursor);
    if (rc < 0) {
        return rc;
    }
    if (budget == 0) {
        now->sweep_from = last.key;
        return 0;
    }
    now->sweeping = false;
    rc = sweep_step(txn, c, &last, bytes_of(NULL, 0), bytes_of(NULL, 0), error);
    now->swept = now->sweep_kept ? now->swept : now->sweep_collected;
    return rc;
}
