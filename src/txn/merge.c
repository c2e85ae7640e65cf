/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving: what is in memory and in the version log goes under `V`, a generation at a time, in the
 * order of the keys. Neighbours share pages there, so a page is written once for all of a
 * generation that belongs in it, and not once for each write.
 *
 * A generation is over when it has its part of the memory, or is of an age that goes by that of the
 * history: else memory would hold for good what a process wrote that never writes enough to fill
 * it.
 *
 * Steps are few and bounded, and as large as what was written, or the time that went by, since the
 * last one makes them: a generation is moved before the next is over. Where that is too much for a
 * step, since versions are small and then large, more of them follow by and by, without waiting for
 * writes. A step is at the end of a transaction, when all that was asked for has had its room;
 * where there is none left, it waits.
 *
 * Rules:
 *  1. Moving again does no harm: the same version goes under the same key. So a crash, a batch that
 *     was undone, or another process that moves the same, need no care.
 *  2. `merged` is raised with the last step, in the same transaction. Until that is committed, and
 *     until the transaction of a later step has begun, reads look in memory: they may see the store
 *     as it was before any of the steps.
 *  3. With a key go those of its versions under `V` that nobody can read any more, and those in
 *     memory of which that is true are not put.
 *  4. A deletion under `V` goes only where no older version of its key is in memory: whoever reads
 *     that would not know that it is deleted. It may be left out where it is not under `V` yet.
 */
#include "base/error.h"
#include "txn/state.h"

#define STEP_MIN 4096  /* versions */
#define STEP_MAX 32768 /* unless memory runs over */
#define IDLE_MS  2000

/* The age of a generation that is over, in ages of the history: half of one where next to nothing
 * is written, so that memory holds nothing that is older than the history. Where much is, a full
 * one takes more of them, as long as that is within what the memory is for: by the time that it is
 * moved most versions that are not the newest of their key are out of reach, and need not be put.
 * And the least that the age of the history is taken for. */
#define OVER_EMPTY     0.5
#define OVER_FULL      3.0
#define HISTORY_MIN_MS 10000

/* What was longer between two looks at the time, while there was work, the process stood still: it
 * has no need to hurry for that. */
#define PASSED_MAX_MS 2000

#define PAUSE        16 /* transactions without a step, after one that was undone */
#define ROOM_PORTION ((uint64_t)256 << 10)
#define PAGE         4096 /* that a key may have copied, about */
#define VERSION_MORE 64   /* what a version takes beside its key and value, about */

/* For each version that is moved: those under `V` that are deleted with its key at most, those that
 * the sweep looks at, and records of the log that are deleted. */
#define CLEAR_FACTOR 2
#define SWEEP_FACTOR 1
#define TRIM_FACTOR  2

#define SWEEP_STEP_MAX 8192

/* A log that is found, of this part of a generation or more, is moved at once. */
#define WHOLE_FRACTION 4

/* A generation is moved by the time that so much of the next is over. */
#define PACE 0.75

/* Bytes at which a generation is full: it and the one that is moved share the memory. */
static uint64_t generation_max(const struct txn *txn)
{
    return atomic_load_explicit(&txn->memory, memory_order_relaxed) / 2;
}

static bool is_full(const struct txn *txn)
{
    return recent_size(txn->recent).active >= generation_max(txn);
}

/* How much of the active generation is over, by what is in it or by its age; 1: all of it. */
static double elapsed(const struct txn *txn)
{
    const struct merging *merging = &txn->merging;
    uint64_t history_ms = atomic_load_explicit(&txn->history_age_ms, memory_order_relaxed);
    history_ms = history_ms > HISTORY_MIN_MS ? history_ms : HISTORY_MIN_MS;
    double filled = (double)recent_size(txn->recent).active / (double)generation_max(txn);
    double over_ms = (double)history_ms * (OVER_EMPTY + (OVER_FULL - OVER_EMPTY) * filled);
    double aged = (double)merging->age_ms / over_ms;
    return filled > aged ? filled : aged;
}

int merge_admit(const struct txn *txn, struct ls_error *error)
{
    if (txn->merging.blocked && is_full(txn) && recent_is_frozen(txn->recent)) {
        return error_set(error, LS_ENOSPACE, 0,
                         "the store has no room for the versions that are in memory");
    }
    return 0;
}

/* ---- a key ---- */

/* What of a key lies under `V` at or below `collected`. */
struct below {
    uint64_t newest; /* 0: nothing, or not known */
    bool deletes;    /* the newest does */
};

/* How much a step may still do. */
struct budget {
    uint64_t move;
    uint64_t clear;
};

/* Room for so much: 0; else it is blocked. */
static int grant(struct txn *txn, struct coordinator *c, uint64_t bytes)
{
    struct merging *merging = &txn->merging;
    struct ls_error full;
    if (merging->granted < bytes) {
        uint64_t more = bytes > ROOM_PORTION ? bytes : ROOM_PORTION;
        int rc = coordinator_room(c, STORE_ROOM_DELETE, more, &full);
        if (rc != 0 && more > bytes) {
            more = bytes;
            rc = coordinator_room(c, STORE_ROOM_DELETE, more, &full);
        }
        if (rc != 0) {
            merging->blocked = true;
            return rc;
        }
        merging->granted += more;
    }
    merging->granted -= bytes;
    return 0;
}

/* Deletes what lies below the newest version at or below `collected`, and finds that. Where there
 * is more than it may delete the rest is left to the sweep, and nothing is known of the newest. */
static int clear_below(struct txn *txn, struct coordinator *c, ls_bytes name, struct budget *budget,
                       struct below *below, struct ls_error *error)
{
    const struct store_driver *driver = coordinator_store(c)->driver;
    struct store_cursor *cursor;
    struct key from, to, last;
    struct key_walk walk;
    ls_bytes key, value;
    *below = (struct below){0};
    int rc = key_version(&from, name, 0, error);
    if (rc != 0) {
        return rc;
    }
    memcpy(to.data, from.data, from.size);
    memcpy(last.data, from.data, from.size);
    last.size = to.size = from.size;
    put_be64(to.data + to.size - 8, txn->now.collected + 1);
    rc = driver->scan(coordinator_txn(c), key_bytes(&from), key_bytes(&to), false, &cursor, error);
    if (rc != 0) {
        return rc;
    }
    key_walk_begin(&walk, &from);
    while ((rc = driver->next(cursor, &key, &value, error)) > 0) {
        struct version version;
        if (key.size != from.size || !key_walk_step(&walk, key)) {
            rc = version_misplaced(error);
            break;
        }
        uint64_t timestamp = get_be64((const uint8_t *)key.data + key.size - 8);
        bool deletes = version_decode(&version, value, NULL) == 0 && version.deleted;
        if (below->newest != 0) {
            if (budget->clear == 0) {
                *below = (struct below){0};
                merge_sweep_again(txn, 1);
                rc = 0;
                break;
            }
            budget->clear--;
            rc = version_drop(txn, c, &last, error);
            if (rc != 0) {
                break;
            }
        }
        put_be64(last.data + last.size - 8, timestamp);
        *below = (struct below){timestamp, deletes};
    }
    driver->scan_end(cursor);
    return rc;
}

static const struct recent_version *newest_collected(const struct txn *txn,
                                                     const struct recent_key *key)
{
    return recent_newest_due(txn->recent, key, txn->now.collected);
}

static int drop_stored(struct txn *txn, struct coordinator *c, ls_bytes name, uint64_t timestamp,
                       struct ls_error *error)
{
    struct key key;
    int rc = key_version(&key, name, timestamp, error);
    return rc != 0 ? rc : version_drop(txn, c, &key, error);
}

/* Clears what is under `V` of a key, as far as the collection and its versions in memory have it.
 * Those from *from on are to be put; with *forget not that one itself. */
static int begin_key(struct txn *txn, struct coordinator *c, const struct recent_key *key,
                     struct budget *budget, uint64_t *from, bool *forget, struct ls_error *error)
{
    ls_bytes name = bytes_of(key->name, key->size);
    const struct recent_version *oldest = newest_collected(txn, key);
    struct below below;
    *forget = false;
    *from = oldest != NULL ? oldest->timestamp : 0;
    if (txn->now.collected == 0) {
        return 0;
    }
    int rc = clear_below(txn, c, name, budget, &below, error);
    if (rc != 0) {
        return rc;
    }
    if (oldest != NULL && below.newest < oldest->timestamp) {
        *forget = budget->clear > 0 && oldest->deleted &&
                  !recent_has_below(txn->recent, name, oldest->timestamp);
        return below.newest != 0 ? drop_stored(txn, c, name, below.newest, error) : 0;
    }
    if (below.newest == 0) {
        return 0;
    }
    if (below.newest > *from && below.deletes) {
        if (!recent_has_below(txn->recent, name, below.newest)) {
            rc = drop_stored(txn, c, name, below.newest, error);
        } else { /* rule 4 */
            merge_sweep_again(txn, below.newest);
        }
    }
    *from = below.newest;
    return rc;
}

/* Moves versions of the key, newest first, until all are or the budget is used up: 1, or 0 where
 * some are left, or negative. */
static int move_key(struct txn *txn, struct coordinator *c, const struct recent_key *key,
                    struct budget *budget, struct ls_error *error)
{
    struct merging *merging = &txn->merging;
    ls_bytes name = bytes_of(key->name, key->size);
    const struct recent_version *version = merging->resume;
    uint64_t from;
    bool forget = false;
    if (version == NULL) {
        version = key->newest;
        if (budget->move == 0 || grant(txn, c, PAGE) != 0) {
            return 0;
        }
        int rc = begin_key(txn, c, key, budget, &from, &forget, error);
        if (rc != 0) {
            return rc;
        }
    } else {
        const struct recent_version *oldest = newest_collected(txn, key);
        from = oldest != NULL ? oldest->timestamp : 0;
    }
    for (; version != NULL; version = version->older) {
        merging->resume = version;
        if (budget->move == 0 ||
            grant(txn, c, 2 * (uint64_t)key->size + version->size + VERSION_MORE) != 0) {
            return 0;
        }
        budget->move--;
        merging->taken++;
        if (version->timestamp < from || !recent_is_due(txn->recent, version) ||
            (forget && version->timestamp == from)) {
            continue;
        }
        if (version->deleted && version->timestamp <= txn->now.collected) {
            merge_sweep_again(txn, version->timestamp);
        }
        struct version put = {.value = bytes_of(version->value, version->size),
                              .deleted = version->deleted};
        int rc = version_put(txn, c, name, version->timestamp, &put, error);
        if (rc != 0) {
            return rc;
        }
    }
    merging->resume = NULL;
    return 1;
}

/* ---- steps ---- */

static int move_keys(struct txn *txn, struct coordinator *c, uint64_t count, struct ls_error *error)
{
    struct budget budget = {count,
                            count > UINT64_MAX / CLEAR_FACTOR ? count : CLEAR_FACTOR * count};
    const struct recent_key *key;
    txn->merging.blocked = false;
    while ((key = recent_peek(txn->recent)) != NULL) {
        int rc = move_key(txn, c, key, &budget, error);
        if (rc <= 0) {
            return rc;
        }
        recent_take(txn->recent);
    }
    uint64_t end = recent_frozen_end(txn->recent);
    txn->now.merged = end > txn->now.merged ? end : txn->now.merged;
    return 0;
}

/* How many versions are to be moved, by how much of the next generation is over. */
static uint64_t moves_wanted(const struct txn *txn)
{
    const struct merging *merging = &txn->merging;
    struct recent_size size = recent_size(txn->recent);
    if (!recent_is_frozen(txn->recent) || merging->done) {
        return 0;
    }
    if (merging->whole) {
        return UINT64_MAX;
    }
    if (merging->idle) {
        return STEP_MIN;
    }
    double part = elapsed(txn) / PACE;
    if (part >= 1) {
        /* Whatever is left; at least one, since the end of a generation is a step as well. */
        return size.frozen > merging->taken ? size.frozen - merging->taken : 1;
    }
    uint64_t target = (uint64_t)((double)size.frozen * part);
    return target >= merging->taken + STEP_MIN ? target - merging->taken : 0;
}

/* How many of them now. */
static uint64_t moves_due(struct txn *txn)
{
    uint64_t wanted = moves_wanted(txn);
    bool runs_over = recent_size(txn->recent).active / 2 >= generation_max(txn);
    txn->merging.behind = wanted > STEP_MAX && !txn->merging.whole && !runs_over;
    return txn->merging.behind ? STEP_MAX : wanted;
}

static bool is_trim_due(const struct txn *txn)
{
    return txn->known.trimmed < txn->known.merged;
}

static void grow_older(struct merging *merging, uint64_t now_ms)
{
    uint64_t passed_ms = now_ms > merging->now_ms ? now_ms - merging->now_ms : 0;
    merging->age_ms += passed_ms < PASSED_MAX_MS ? passed_ms : PASSED_MAX_MS;
    merging->now_ms = now_ms;
}

int merge_step(struct txn *txn, struct coordinator *c, struct ls_error *error)
{
    struct merging *merging = &txn->merging;
    struct ls_error full;
    merging->granted = 0;
    merging->stepped = false;
    if (txn->put_count > 0) {
        merging->wrote_ms = txn_now_ms(txn);
        merging->idle = false;
        grow_older(merging, merging->wrote_ms);
    }
    if (merging->pause > 0) {
        return 0;
    }
    uint64_t due = moves_due(txn);
    if (due == 0 && !merging->done && !(merging->idle && is_trim_due(txn))) {
        return 0;
    }
    if (coordinator_room(c, STORE_ROOM_FREE, 0, &full) != 0) {
        merging->blocked = true;
        return 0;
    }
    merging->stepped = true;
    if (merging->done) {
        recent_release(txn->recent);
        merging->done = false;
        merging->taken = merging->taken_kept = 0;
    }
    uint64_t before = merging->taken;
    int rc = due > 0 ? move_keys(txn, c, due, error) : 0;
    uint64_t moved = merging->taken - before;
    rc = rc != 0 ? rc
                 : vlog_trim(txn, c, TRIM_FACTOR * (moved > STEP_MIN ? moved : STEP_MIN), error);
    uint64_t sweep = SWEEP_FACTOR * moved;
    if (rc == 0 && sweep >= 2) {
        rc = version_sweep(txn, c, sweep < SWEEP_STEP_MAX ? sweep : SWEEP_STEP_MAX, error);
    }
    return rc;
}

void merge_sweep_again(struct txn *txn, uint64_t timestamp)
{
    struct standing *now = &txn->now;
    now->sweep_kept = true;
    now->swept = now->swept >= timestamp ? timestamp - 1 : now->swept;
}

void merge_found(struct txn *txn)
{
    struct merging *merging = &txn->merging;
    *merging = (struct merging){0};
    if (!txn->lives_on && recent_size(txn->recent).active >= generation_max(txn) / WHOLE_FRACTION) {
        merging->whole = recent_freeze(txn->recent) == 0;
    }
}

/* What has nothing in it has no age. */
static void note_age(struct txn *txn)
{
    if (recent_size(txn->recent).active == 0) {
        txn->merging.age_ms = 0;
    }
}

void merge_settle(struct txn *txn, bool committed)
{
    struct merging *merging = &txn->merging;
    if (!committed) {
        recent_undo(txn->recent, txn->known.logged);
        recent_take_again(txn->recent);
        merging->taken = merging->taken_kept;
        merging->resume = merging->resume_kept;
        merging->pause = PAUSE;
        note_age(txn);
        return;
    }
    merging->pause -= merging->pause > 0;
    recent_keep(txn->recent);
    recent_taken(txn->recent);
    txn->counters.merged += merging->taken - merging->taken_kept;
    merging->taken_kept = merging->taken;
    merging->resume_kept = merging->resume;
    if (recent_is_frozen(txn->recent)) {
        if (txn->known.merged >= recent_frozen_end(txn->recent)) {
            merging->done = true;
            merging->whole = false;
            txn->recent_merged = txn->known.merged;
        }
    } else if (recent_size(txn->recent).versions > 0 && (merging->idle || elapsed(txn) >= 1)) {
        (void)recent_freeze(txn->recent); /* else later */
    }
    note_age(txn);
}

void merge_tick(struct txn *txn, uint64_t now_ms)
{
    struct merging *merging = &txn->merging;
    grow_older(merging, now_ms);
    merging->idle = merging->wrote_ms + IDLE_MS <= now_ms;
    merging->pause = 0;
    if (merging->idle) {
        recent_rest(txn->recent);
    }
}

bool merge_is_due(const struct txn *txn)
{
    const struct merging *merging = &txn->merging;
    bool more = merging->behind ||
                (merging->idle && (recent_size(txn->recent).versions > 0 || is_trim_due(txn)));
    return more && !merging->blocked;
}
