/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Versions of keys in the store, and what a read gives. As of any timestamp from `collected` on
 * everything can be read: a version is deleted only when a later one of its key, or its own being a
 * deletion, stands at or below that. The sweep goes through the versions again and again, a few
 * with each transaction that writes some, so that it keeps up and never takes long.
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

int version_read(struct coordinator *c, ls_bytes key, uint64_t timestamp, uint64_t *found,
                 struct version *out, struct ls_error *error)
{
    const struct store_driver *driver = coordinator_store(c)->driver;
    struct key from, to;
    struct store_cursor *cursor;
    ls_bytes at, value;
    int rc = key_version(&from, key, 0, error);
    if (rc != 0) {
        return rc;
    }
    to = from;
    put_be64(to.data + to.size - 8, timestamp);
    rc = driver->scan(coordinator_txn(c), key_bytes(&from), key_bytes(&to), true, &cursor, error);
    if (rc != 0) {
        return rc;
    }
    rc = driver->next(cursor, &at, &value, error);
    if (rc > 0) {
        struct ls_error detail;
        *found = get_be64((const uint8_t *)at.data + at.size - 8);
        if (version_decode(out, value, &detail) != 0) {
            rc = version_damaged(error, key, &detail);
        }
    }
    driver->scan_end(cursor);
    return rc;
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
    if (rc != 0) {
        return error_code(error, rc);
    }
    rc = coordinator_put(c, &at, buf_bytes(&txn->record), error);
    if (rc == 0) {
        txn->now.written++;
        txn->now.changed_at = coordinator_clock_here(c);
        txn->put_count++;
        txn->counters.written++;
    }
    return rc;
}

/* ---- reading ---- */

int txn_resolve(struct txn *txn, struct coordinator *c, struct txn_call *call, uint64_t timestamp,
                ls_bytes key, struct txn_value *value, uint64_t *waits_for, struct ls_error *error)
{
    uint64_t blocker;
    uint64_t found = 0;
    struct version version;
    txn->touched = txn->touched || txn->index->count > 0; /* the watermark */
    int rc = index_waits_for(txn->index, timestamp, key, &blocker, error);
    if (rc != 0) {
        return rc;
    }
    rc = version_read(c, key, timestamp, &found, &version, error);
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

static int drop(struct txn *txn, struct coordinator *c, const struct key *key,
                struct ls_error *error)
{
    txn->counters.dropped++;
    int rc = coordinator_del(c, key, error);
    return rc == LS_ENOTFOUND ? 0 : rc;
}

/* Takes up the next version, or the end (an empty key), and drops the one before where nothing can
 * read it any more. Those of its key before that are gone by then, so a deletion hides nothing. */
static int sweep_step(struct txn *txn, struct coordinator *c, struct swept *last, ls_bytes key,
                      ls_bytes value, struct ls_error *error)
{
    struct version version;
    uint64_t collected = txn->now.sweep_collected;
    struct swept next = {.any = key.size > 0};
    bool gone = last->any && last->deletes && timestamp_of(&last->key) <= collected;
    if (next.any) {
        struct ls_error detail;
        if (key.size > KEY_SIZE_MAX || key.size <= 8 ||
            version_decode(&version, value, &detail) != 0) {
            return error_set(error, LS_ECORRUPT, 0, "a version is damaged");
        }
        memcpy(next.key.data, key.data, key.size);
        next.key.size = (uint16_t)key.size;
        next.deletes = version.deleted;
        gone = gone ||
               (last->any && same_key(&last->key, key) && timestamp_of(&next.key) <= collected);
    }
    int rc = gone ? drop(txn, c, &last->key, error) : 0;
    *last = next;
    return rc;
}

int version_sweep(struct txn *txn, struct coordinator *c, size_t budget, struct ls_error *error)
{
    struct standing *now = &txn->now;
    const struct store_driver *driver = coordinator_store(c)->driver;
    struct store_cursor *cursor;
    struct swept last = {0};
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
    for (; budget > 0 && (rc = driver->next(cursor, &key, &value, error)) > 0; budget--) {
        rc = sweep_step(txn, c, &last, key, value, error);
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
    now->swept = now->sweep_collected;
    return sweep_step(txn, c, &last, bytes_of(NULL, 0), bytes_of(NULL, 0), error);
}
