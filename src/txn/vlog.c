/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The version log: one record under `C` for each transaction that wrote, at the end, so that a
 * commit of many transactions changes few pages. What it holds and `V` does not is in memory as
 * well (recent.h). Other processes append too: what they wrote is read from the log before anything
 * else is done in a transaction.
 *
 * A sequence counts the records. `logged` is the next one; below `merged` all is under `V`, and the
 * records are deleted by and by.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/error.h"
#include "txn/state.h"

/* ---- writing ---- */

int vlog_reserve(struct txn *txn, size_t count, struct ls_error *error)
{
    if (txn->writes_max < count) {
        struct logged_write *writes = realloc(txn->writes, count * sizeof(*writes));
        if (writes == NULL) {
            return error_code(error, LS_ENOMEM);
        }
        txn->writes = writes;
        txn->writes_max = count;
    }
    return 0;
}

static int compare_writes(const void *a, const void *b)
{
    return bytes_compare(((const struct logged_write *)a)->key,
                         ((const struct logged_write *)b)->key);
}

static void sort_writes(struct logged_write *writes, size_t count)
{
    enum { FEW = 16 };
    if (count > FEW) {
        qsort(writes, count, sizeof(*writes), compare_writes);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        struct logged_write write = writes[i];
        size_t at = i;
        for (; at > 0 && compare_writes(&writes[at - 1], &write) > 0; at--) {
            writes[at] = writes[at - 1];
        }
        writes[at] = write;
    }
}

static int remember(struct txn *txn, uint64_t timestamp, const struct logged_write *writes,
                    size_t count)
{
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = recent_add(txn->recent, txn->now.logged, timestamp, writes[i].key, writes[i].value,
                        writes[i].deleted);
    }
    return rc;
}

int vlog_write(struct txn *txn, struct coordinator *c, uint64_t timestamp, size_t count,
               struct ls_error *error)
{
    struct standing *now = &txn->now;
    struct key key;
    assert(count > 0 && count <= txn->writes_max);
    sort_writes(txn->writes, count);
    logged_key(&key, now->logged);
    txn->record.size = 0;
    int rc = remember(txn, timestamp, txn->writes, count);
    rc = rc != 0 ? rc : logged_encode(&txn->record, timestamp, txn->writes, count, key_bytes(&key));
    if (rc != 0) {
        error_code(error, rc);
    } else {
        rc = coordinator_append(c, &key, buf_bytes(&txn->record), error);
    }
    if (rc != 0) {
        recent_undo(txn->recent, now->logged);
        return rc;
    }
    now->logged++;
    now->written += count;
    now->changed_at = coordinator_clock_here(c);
    txn->put_count += count;
    txn->counters.written += count;
    return 0;
}

/* ---- following ---- */

/* How many records are decoded before their turn, so that what their keys are in is on its way from
 * memory by then: a log may hold more than any cache. */
#define AHEAD 16

static int decode_record(struct logged *out, uint64_t sequence, ls_bytes key, ls_bytes value,
                         struct ls_error *error)
{
    struct key expected;
    struct ls_error detail;
    logged_key(&expected, sequence);
    if (!bytes_equal(key, key_bytes(&expected))) {
        return error_set(error, LS_ECORRUPT, sequence,
                         "record %llu of the version log is not there",
                         (unsigned long long)sequence);
    }
    if (logged_decode(out, value, &detail) != 0 || record_verify(value, key, &detail) != 0) {
        return error_set(error, LS_ECORRUPT, sequence,
                         "record %llu of the version log is damaged: %s",
                         (unsigned long long)sequence, detail.text);
    }
    return 0;
}

static void approach_record(const struct txn *txn, const struct logged *logged,
                            enum recent_part part)
{
    ls_bytes writes = logged->writes;
    for (struct logged_write write; logged_write_next(&writes, &write);) {
        recent_prefetch(txn->recent, recent_hash(txn->recent, write.key), part);
    }
}

static int add_record(struct txn *txn, uint64_t sequence, const struct logged *logged,
                      struct ls_error *error)
{
    ls_bytes writes = logged->writes;
    int rc = 0;
    for (struct logged_write write; rc == 0 && logged_write_next(&writes, &write);) {
        rc = recent_add(txn->recent, sequence, logged->timestamp, write.key, write.value,
                        write.deleted);
    }
    if (rc != 0) {
        recent_undo(txn->recent, sequence);
        return error_code(error, rc);
    }
    recent_keep(txn->recent);
    return 0;
}

/* All from recent_next on; what the cursor gives. */
static int add_records(struct txn *txn, const struct store_driver *driver,
                       struct store_cursor *cursor, struct ls_error *error)
{
    struct logged ahead[AHEAD];
    uint64_t end = txn->known.logged;
    uint64_t decoded = recent_next(txn->recent);
    ls_bytes key, value;
    int rc = 0;
    for (uint64_t sequence = decoded; rc == 0 && sequence < end; sequence++) {
        while (decoded < end && decoded - sequence < AHEAD) {
            rc = driver->next(cursor, &key, &value, error);
            key = rc > 0 ? key : bytes_of(NULL, 0);
            rc = rc < 0 ? rc : decode_record(&ahead[decoded % AHEAD], decoded, key, value, error);
            if (rc != 0) {
                return rc;
            }
            approach_record(txn, &ahead[decoded % AHEAD], RECENT_BUCKET);
            decoded++;
        }
        if (decoded - sequence > AHEAD / 2) {
            approach_record(txn, &ahead[(sequence + AHEAD / 2) % AHEAD], RECENT_KEY);
            approach_record(txn, &ahead[(sequence + AHEAD / 4) % AHEAD], RECENT_VERSION);
        }
        rc = add_record(txn, sequence, &ahead[sequence % AHEAD], error);
    }
    return rc;
}

static int read_records(struct txn *txn, struct coordinator *c, struct ls_error *error)
{
    const struct store_driver *driver = coordinator_store(c)->driver;
    struct store_cursor *cursor;
    struct key from, to;
    logged_key(&from, recent_next(txn->recent));
    logged_key(&to, txn->known.logged);
    int rc =
        driver->scan(coordinator_txn(c), key_bytes(&from), key_bytes(&to), false, &cursor, error);
    if (rc != 0) {
        return rc;
    }
    rc = add_records(txn, driver, cursor, error);
    driver->scan_end(cursor);
    return rc;
}

int vlog_follow(struct txn *txn, struct coordinator *c, struct ls_error *error)
{
    const struct standing *known = &txn->known;
    struct recent *recent = txn->recent;
    uint64_t next = recent_next(recent);
    if (known->merged > known->logged) {
        return error_set(error, LS_ECORRUPT, 0, "more of the version log is merged than there is");
    }
    /* Where something was missed in between, or a store was put back, nothing here is of use. */
    bool whole = txn->fresh || next > known->logged || next < known->merged ||
                 txn->recent_merged > known->merged;
    if (whole) {
        recent_reset(recent, known->merged, coordinator_clock_here(c));
        txn->merging = (struct merging){0};
    } else if (txn->recent_merged < known->merged || txn->merging.done) {
        /* Also what this process moved itself: another one may have deleted since what hides it. */
        recent_drop(recent, known->merged);
        if (!recent_is_frozen(recent)) {
            const struct merging was = txn->merging;
            txn->merging =
                (struct merging){.age_ms = recent_size(recent).active > 0 ? was.age_ms : 0,
                                 .wrote_ms = was.wrote_ms,
                                 .now_ms = was.now_ms};
        }
    }
    txn->recent_merged = known->merged;
    if (recent_next(recent) == known->logged) {
        return 0;
    }
    int rc = read_records(txn, c, error);
    if (rc == 0 && whole) {
        merge_found(txn);
    } else if (rc == 0) {
        txn->merging.wrote_ms = txn_now_ms(txn);
        txn->merging.idle = false;
    }
    return rc;
}

/* ---- trimming ---- */

int vlog_trim(struct txn *txn, struct coordinator *c, size_t budget, struct ls_error *error)
{
    const struct store_driver *driver = coordinator_store(c)->driver;
    struct standing *now = &txn->now;
    struct store_cursor *cursor;
    struct key from, to;
    struct key_walk walk;
    ls_bytes key, value;
    if (now->trimmed >= now->merged) {
        return 0;
    }
    logged_key(&from, now->trimmed);
    logged_key(&to, now->merged);
    int rc =
        driver->scan(coordinator_txn(c), key_bytes(&from), key_bytes(&to), false, &cursor, error);
    if (rc != 0) {
        return rc;
    }
    key_walk_begin(&walk, &from);
    for (; budget > 0 && (rc = driver->next(cursor, &key, &value, error)) > 0; budget--) {
        if (key.size != from.size || !key_walk_step(&walk, key)) {
            rc = version_misplaced(error);
            break;
        }
        now->trimmed = get_be64((const uint8_t *)key.data + key.size - 8) + 1;
        rc = coordinator_drop(c, cursor, error);
        if (rc != 0) {
            break;
        }
    }
    driver->scan_end(cursor);
    if (rc == 0 && budget > 0) {
        now->trimmed = now->merged;
    }
    return rc;
}
