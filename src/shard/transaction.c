/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transactions: their locks placed all or none, found again by timestamp and key, and forgotten
 * once they are closed and below heard_all_reads, so that until then a repeated lock is known.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/hash.h"
#include "shard/state.h"

#define READS  (LS_SHARD_EAGER | LS_SHARD_LAZY)
#define WRITES (LS_SHARD_WILL | LS_SHARD_MAY)

#define TOGETHER (CACHE_LINE / sizeof(struct slot))

/* Timestamps mostly follow each other: so many of them that one line of the cache has their slots
 * stand together. More would make the runs of taken slots long. Strangers may choose timestamps:
 * which of them meet is up to the seed. */
static uint64_t timestamp_hash(const struct ls_shard *shard, uint64_t timestamp)
{
    return timestamp ^ hash64_number(timestamp / TOGETHER, shard->seed);
}

static bool transaction_is_at(const struct slot *slot, const void *sought)
{
    const struct transaction *transaction = slot->item;
    return transaction->stamp.timestamp == *(const uint64_t *)sought;
}

struct transaction *transaction_find(const struct ls_shard *shard, uint64_t timestamp)
{
    const struct slot *slot = table_find(&shard->transactions, timestamp_hash(shard, timestamp),
                                         transaction_is_at, &timestamp);
    return slot != NULL ? slot->item : NULL;
}

static struct mark *marks_from(struct transaction *transaction, uint64_t hash)
{
    size_t low = 0;
    if (transaction->mark_count > MARKS_UNSORTED_MAX) {
        size_t high = transaction->mark_count;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (transaction->marks[middle].hash < hash) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
    }
    return &transaction->marks[low];
}

struct mark *transaction_mark(const struct ls_shard *shard, struct transaction *transaction,
                              ls_bytes name)
{
    uint64_t hash = key_hash(shard, name);
    bool sorted = transaction->mark_count > MARKS_UNSORTED_MAX;
    struct mark *end = transaction->marks + transaction->mark_count;
    for (struct mark *mark = marks_from(transaction, hash); mark < end; mark++) {
        if (mark->hash == hash && bytes_equal(key_name(mark->key), name)) {
            return mark;
        }
        if (sorted && mark->hash != hash) {
            break;
        }
    }
    return NULL;
}

/* ---- its life ---- */

static void transaction_free(struct ls_shard *shard, struct transaction *transaction)
{
    pool_give(&shard->pool, transaction,
              sizeof *transaction + transaction->mark_max * sizeof transaction->marks[0]);
}

static void transaction_forget(struct ls_shard *shard, struct transaction *transaction)
{
    for (uint32_t i = 0; i < transaction->mark_count; i++) {
        struct key *key = transaction->marks[i].key;
        key->marks--;
        key_let_go(shard, key);
    }
    timeline_remove(&shard->order, &transaction->stamp, &shard->pool);
    table_remove(&shard->transactions, timestamp_hash(shard, transaction->stamp.timestamp),
                 transaction, &shard->pool);
    transaction_free(shard, transaction);
}

void transaction_settle(struct ls_shard *shard, struct transaction *transaction)
{
    assert(transaction->open > 0);
    if (--transaction->open != 0) {
        return;
    }
    shard->open--;
    if (transaction->passed) {
        transaction_forget(shard, transaction);
    }
}

/* Its written version is now one that others may drop. */
static void mark_collect(struct ls_shard *shard, struct mark *mark)
{
    struct version *version = mark->version;
    if (version != NULL && !version_is_open(version)) {
        mark->version = NULL;
        version_collect(shard, mark->key, version);
    }
}

void transaction_hear(struct ls_shard *shard, struct transaction *transaction)
{
    assert(!transaction->heard && !transaction->passed);
    transaction->heard = true;
    for (uint32_t i = 0; i < transaction->mark_count; i++) {
        struct mark *mark = &transaction->marks[i];
        if (mark->read == READ_UNASKED || mark->read == READ_ASKED) {
            read_hear(shard, mark);
        }
        if (shard->stored) {
            mark_collect(shard, mark);
        }
    }
}

void transaction_pass(struct ls_shard *shard, struct transaction *transaction)
{
    assert(transaction->heard && !transaction->passed);
    transaction->passed = true;
    for (uint32_t i = 0; i < transaction->mark_count; i++) {
        mark_collect(shard, &transaction->marks[i]);
    }
    if (transaction->open == 0) {
        transaction_forget(shard, transaction);
    }
}

/* ---- placing its locks ---- */

static uint64_t mixed(uint64_t hash, unsigned kind)
{
    hash = (hash ^ kind) * UINT64_C(0x9e3779b97f4a7c15);
    return (hash ^ hash >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
}

/* What a lock adds to its transaction's fingerprint, the same in one lock as in two. */
static uint64_t fingerprint_of(const ls_shard_lock *lock, uint64_t hash)
{
    unsigned reads = lock->kinds & READS;
    unsigned writes = lock->kinds & WRITES;
    return (reads != 0 ? mixed(hash, reads) : 0) + (writes != 0 ? mixed(hash, writes) : 0);
}

/* A sum, so that it does not matter in which order the locks stand. */
static uint64_t fingerprint(const struct ls_shard *shard, const ls_shard_lock *locks, size_t count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += fingerprint_of(&locks[i], key_hash(shard, locks[i].key));
    }
    return sum;
}

static int check_locks(const struct ls_shard *shard, uint64_t timestamp, const ls_shard_lock *locks,
                       size_t count)
{
    unsigned all = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned kinds = locks[i].kinds;
        if (kinds == 0 || (kinds & ~(unsigned)(READS | WRITES)) != 0 || (kinds & READS) == READS ||
            (kinds & WRITES) == WRITES) {
            return shard_refuse(LS_EINVAL, 0,
                                "lock %zu is neither one way to read, nor to write, nor one of "
                                "each",
                                i + 1);
        }
        if (locks[i].key.size > LS_SHARD_KEY_MAX) {
            return shard_refuse(LS_ETOOBIG, LS_SHARD_KEY_MAX, "a key has at most %d bytes",
                                LS_SHARD_KEY_MAX);
        }
        all |= kinds;
    }
    if ((all & WRITES) != 0 && timestamp < shard->heard_all_writes) {
        return shard_refuse(LS_ETOOOLD, shard->heard_all_writes,
                            "every write before %llu is known already",
                            (unsigned long long)shard->heard_all_writes);
    }
    if ((all & READS) != 0 && timestamp < shard->heard_all_reads) {
        return shard_refuse(LS_ETOOOLD, shard->heard_all_reads,
                            "what reads before %llu see may be gone",
                            (unsigned long long)shard->heard_all_reads);
    }
    return 0;
}

static int by_hash(const void *a, const void *b)
{
    uint64_t x = ((const struct mark *)a)->hash;
    uint64_t y = ((const struct mark *)b)->hash;
    return (x > y) - (x < y);
}

/* Makes a mark of each lock, each with its key, and puts two of one key together. On failure the
 * keys of the marks that there are have to be let go. */
static int marks_make(struct ls_shard *shard, struct transaction *transaction,
                      const ls_shard_lock *locks, size_t count)
{
    struct mark *marks = transaction->marks;
    for (size_t i = 0; i < count; i++) {
        marks[i].hash = key_hash(shard, locks[i].key);
        table_prefetch(&shard->keys, marks[i].hash);
        transaction->fingerprint += fingerprint_of(&locks[i], marks[i].hash);
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t hash = marks[i].hash;
        struct key *key = key_make(shard, locks[i].key, hash);
        if (key == NULL) {
            return shard_no_memory(shard);
        }
        marks[i] = (struct mark){
            .of = transaction, .key = key, .hash = hash, .kinds = (uint8_t)locks[i].kinds};
        link_init(&marks[i].readers);
        key->marks++;
        transaction->mark_count++;
    }
    return 0;
}

static int marks_join(struct transaction *transaction)
{
    struct mark *marks = transaction->marks;
    bool sorted = transaction->mark_count > MARKS_UNSORTED_MAX;
    if (sorted) {
        qsort(marks, transaction->mark_count, sizeof *marks, by_hash);
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < transaction->mark_count; i++) {
        uint32_t same = kept;
        while (same > 0 && marks[same - 1].key != marks[i].key &&
               (!sorted || marks[same - 1].hash == marks[i].hash)) {
            same--;
        }
        if (same == 0 || marks[same - 1].key != marks[i].key) {
            if (kept != i) {
                struct mark between = marks[kept]; /* so that every key stays in one mark or more */
                marks[kept] = marks[i];
                marks[i] = between;
            }
            kept++;
            continue;
        }
        unsigned both = marks[same - 1].kinds | marks[i].kinds;
        bool twice = ((marks[same - 1].kinds & READS) != 0 && (marks[i].kinds & READS) != 0) ||
                     ((marks[same - 1].kinds & WRITES) != 0 && (marks[i].kinds & WRITES) != 0);
        if (twice) {
            return shard_refuse(LS_EINVAL, 0, "a key is read twice, or written twice");
        }
        marks[same - 1].kinds = (uint8_t)both;
    }
    for (uint32_t i = kept; i < transaction->mark_count; i++) {
        marks[i].key->marks--;
    }
    transaction->mark_count = kept;
    for (uint32_t i = 0; i < kept; i++) {
        link_init(&marks[i].readers); /* a link that points to itself does not survive a move */
    }
    return 0;
}

static int marks_place(struct ls_shard *shard, struct transaction *transaction)
{
    for (uint32_t i = 0; i < transaction->mark_count; i++) {
        struct mark *mark = &transaction->marks[i];
        if ((mark->kinds & WRITES) != 0) {
            if (!version_place(shard, mark)) {
                return shard_no_memory(shard);
            }
            mark->write = WRITE_OPEN;
            transaction->open++;
        }
        if ((mark->kinds & READS) != 0) {
            mark->read = (mark->kinds & LS_SHARD_EAGER) != 0 ? READ_ASKED : READ_UNASKED;
            transaction->open++;
        }
    }
    return 0;
}

/* Takes back what was made of a transaction that is refused. */
static void transaction_undo(struct ls_shard *shard, struct transaction *transaction)
{
    for (uint32_t i = 0; i < transaction->mark_count; i++) {
        struct mark *mark = &transaction->marks[i];
        if (mark->version != NULL) {
            version_remove(shard, mark->key, mark->version);
        }
        mark->key->marks--;
        key_let_go(shard, mark->key);
    }
    transaction_free(shard, transaction);
}

static void transaction_enter(struct ls_shard *shard, struct transaction *transaction)
{
    struct stamp *stamp = &transaction->stamp;
    timeline_insert(&shard->order, stamp, &shard->dice, &shard->pool);
    (void)table_add(&shard->transactions, timestamp_hash(shard, stamp->timestamp), transaction,
                    &shard->pool);
    shard->open++;
    if (shard->unpassed == NULL || stamp->timestamp < shard->unpassed->timestamp) {
        shard->unpassed = stamp;
    }
    if (stamp->timestamp > shard->heard_all_writes &&
        (shard->unheard == NULL || stamp->timestamp < shard->unheard->timestamp)) {
        shard->unheard = stamp;
    }
}

static void say_locked(struct ls_shard *shard, const struct transaction *transaction)
{
    ls_shard_message message = {
        .kind = LS_SHARD_LOCKED,
        .timestamp = transaction->stamp.timestamp,
        .to = transaction->worker,
    };
    shard->out(shard->context, &message);
}

static int transaction_make(struct ls_shard *shard, uint64_t timestamp, const ls_shard_lock *locks,
                            size_t count, struct transaction **out)
{
    if (table_reserve(&shard->transactions, 1, &shard->pool) != 0 ||
        table_reserve(&shard->keys, count, &shard->pool) != 0) {
        return shard_no_memory(shard);
    }
    struct transaction *transaction =
        pool_take(&shard->pool, sizeof *transaction + count * sizeof transaction->marks[0]);
    if (transaction == NULL) {
        return shard_no_memory(shard);
    }
    *transaction = (struct transaction){
        .stamp.timestamp = timestamp,
        .mark_max = (uint32_t)count,
    };
    int rc = marks_make(shard, transaction, locks, count);
    if (rc == 0) {
        rc = marks_join(transaction);
    }
    if (rc == 0) {
        rc = marks_place(shard, transaction);
    }
    if (rc != 0) {
        transaction_undo(shard, transaction);
        return rc;
    }
    *out = transaction;
    return 0;
}

int ls_shard_acquire(ls_shard *shard, uint64_t timestamp, uint64_t worker, uint64_t executor,
                     const ls_shard_lock *locks, size_t count)
{
    if (count == 0) {
        return shard_refuse(LS_EINVAL, 0, "a transaction locks at least one key");
    }
    if (count > LS_SHARD_LOCKS_MAX) {
        return shard_refuse(LS_ETOOBIG, LS_SHARD_LOCKS_MAX, "a transaction has at most %d locks",
                            LS_SHARD_LOCKS_MAX);
    }
    if (shard_worker(shard, worker) == NULL) {
        return shard_refuse(LS_ENOTFOUND, 0, "%llu is none of the shard's workers",
                            (unsigned long long)worker);
    }
    struct transaction *transaction = transaction_find(shard, timestamp);
    if (transaction != NULL) {
        if (transaction->fingerprint != fingerprint(shard, locks, count) ||
            transaction->worker != worker || transaction->executor != executor) {
            return shard_refuse(LS_ECONFLICT, 0, "timestamp %llu belongs to other locks",
                                (unsigned long long)timestamp);
        }
        say_locked(shard, transaction);
        return 0;
    }
    int rc = check_locks(shard, timestamp, locks, count);
    if (rc != 0) {
        return rc;
    }
    rc = transaction_make(shard, timestamp, locks, count, &transaction);
    if (rc != 0) {
        return rc;
    }
    transaction->worker = worker;
    transaction->executor = executor;
    transaction_enter(shard, transaction);
    say_locked(shard, transaction);
    if (timestamp <= shard->heard_all_writes) {
        transaction_hear(shard, transaction);
    }
    (void)shard_collect(shard, COLLECT_STEP);
    return 0;
}
