/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index of open transactions: each with its keys, and on the timelines of the shards what it
 * will or may write. Reads leave no marks there: a read that must wait is parked with the
 * transaction that it waits for. The module is the one worker of its shards, and places locks in
 * the order of their timestamps, so a watermark is at once wherever a read needs it.
 *
 * It knows no store. Versions are the store's (`stored`), so memory follows what is open.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/hash.h"
#include "txn/state.h"

#define WORKER        1
#define BUCKETS_FIRST 64

/* ---- the shards ---- */

static void on_message(void *context, const ls_shard_message *message)
{
    struct index *index = context;
    index->locked += message->kind == LS_SHARD_LOCKED;
}

static int shard_error(struct ls_error *error)
{
    *error = *ls_last_error();
    return error->code;
}

int index_open(struct index **out, unsigned shard_count, uint64_t seed, struct ls_error *error)
{
    static const uint64_t workers[] = {WORKER};
    struct index *index = calloc(1, sizeof(*index));
    if (index == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    index->seed = seed;
    index->shard_count = shard_count;
    index->bucket_count = BUCKETS_FIRST;
    index->shards = calloc(shard_count, sizeof(ls_shard *));
    index->seen = calloc(shard_count, sizeof(uint64_t));
    index->stamps = calloc(shard_count, sizeof(uint64_t));
    index->buckets = calloc(BUCKETS_FIRST, sizeof(struct open *));
    if (index->shards == NULL || index->seen == NULL || index->stamps == NULL ||
        index->buckets == NULL) {
        index_close(index);
        return error_code(error, LS_ENOMEM);
    }
    for (unsigned i = 0; i < shard_count; i++) {
        ls_shard_options options = LS_SHARD_OPTIONS_INIT;
        options.workers = workers;
        options.worker_count = 1;
        options.out = on_message;
        options.context = index;
        options.stored = true;
        options.seed = seed;
        if (ls_shard_open(&index->shards[i], &options) != 0) {
            int rc = shard_error(error);
            index_close(index);
            return rc;
        }
    }
    *out = index;
    return 0;
}

void index_close(struct index *index)
{
    if (index == NULL) {
        return;
    }
    for (struct open *open = index->oldest, *newer; open != NULL; open = newer) {
        newer = open->newer;
        open_free(open);
    }
    for (unsigned i = 0; index->shards != NULL && i < index->shard_count; i++) {
        ls_shard_close(index->shards[i]);
    }
    free(index->shards);
    free(index->seen);
    free(index->stamps);
    free(index->buckets);
    free(index->locks);
    free(index);
}

static unsigned shard_of(const struct index *index, uint64_t hash)
{
    return (unsigned)(hash % index->shard_count);
}

static int see(struct index *index, unsigned shard, uint64_t timestamp, struct ls_error *error)
{
    if (index->seen[shard] >= timestamp) {
        return 0;
    }
    if (ls_shard_seen(index->shards[shard], WORKER, timestamp, true) != 0 ||
        ls_shard_seen(index->shards[shard], WORKER, timestamp, false) != 0) {
        return shard_error(error);
    }
    index->seen[shard] = timestamp;
    return 0;
}

int index_waits_for(struct index *index, uint64_t timestamp, ls_bytes key, uint64_t *out,
                    struct ls_error *error)
{
    *out = 0;
    if (index->count == 0) {
        return 0;
    }
    unsigned shard = shard_of(index, hash64(key.data, key.size, 0));
    enum ls_shard_content content;
    int rc = see(index, shard, timestamp, error);
    if (rc != 0) {
        return rc;
    }
    if (ls_shard_get(index->shards[shard], timestamp, key, &content, NULL, out) != 0) {
        return shard_error(error);
    }
    if (content != LS_SHARD_OPEN) {
        *out = 0;
    }
    return 0;
}

/* ---- a transaction ---- */

static int compare_held(const void *a, const void *b)
{
    const struct held *left = a, *right = b;
    return bytes_compare(left->key, right->key);
}

static size_t count_keys(ls_bytes list)
{
    size_t count = 0;
    for (ls_bytes key; key_list_next(&list, &key);) {
        count++;
    }
    return count;
}

static uint8_t *add_list(struct open *open, uint8_t *to, ls_bytes list, unsigned kind)
{
    for (ls_bytes key; key_list_next(&list, &key);) {
        memcpy(to, key.data, key.size);
        open->keys[open->count++] = (struct held){
            .key = bytes_of(to, key.size), .hash = hash64(key.data, key.size, 0), .kinds = kind};
        to += key.size;
    }
    return to;
}

/* Joins the entries of the same key: one that reads and one that writes. */
static int join_same(struct open *open, struct ls_error *error)
{
    const unsigned reads = TXN_EAGER | TXN_LAZY;
    size_t count = 0;
    for (size_t i = 0; i < open->count; i++) {
        struct held *last = count > 0 ? &open->keys[count - 1] : NULL;
        const struct held *held = &open->keys[i];
        if (last == NULL || !bytes_equal(last->key, held->key)) {
            open->keys[count++] = *held;
            continue;
        }
        bool both_read = (last->kinds & reads) != 0 && (held->kinds & reads) != 0;
        bool both_write = (last->kinds & ~reads) != 0 && (held->kinds & ~reads) != 0;
        if (both_read || both_write) {
            return error_set(error, LS_EINVAL, 0, "the key '%s' is there twice among the %s",
                             key_text(held->key).text, both_read ? "reads" : "writes");
        }
        last->kinds |= held->kinds;
    }
    open->count = count;
    return 0;
}

int open_new(struct open **out, uint64_t timestamp, const struct transaction *record,
             struct ls_error *error)
{
    const ls_bytes lists[] = {record->eager, record->lazy, record->will, record->may};
    static const unsigned kinds[] = {TXN_EAGER, TXN_LAZY, TXN_WILL, TXN_MAY};
    size_t count = 0, bytes = 0;
    for (size_t i = 0; i < 4; i++) {
        count += count_keys(lists[i]);
        bytes += lists[i].size;
    }
    if (count == 0) {
        return error_set(error, LS_EINVAL, 0, "the transaction names no keys");
    }
    struct open *open = calloc(1, sizeof(*open) + count * sizeof(struct held) + bytes);
    if (open == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    open->timestamp = timestamp;
    open->via = record->via;
    open->ttl_ms = record->ttl_ms;
    open->began_ns = record->began_ns;
    open->whole = record->whole != 0;
    open->keys = (struct held *)(open + 1);
    uint8_t *to = (uint8_t *)(open->keys + count);
    for (size_t i = 0; i < 4; i++) {
        to = add_list(open, to, lists[i], kinds[i]);
    }
    qsort(open->keys, open->count, sizeof(struct held), compare_held);
    int rc = join_same(open, error);
    if (rc != 0) {
        open_free(open);
        return rc;
    }
    *out = open;
    return 0;
}

void open_free(struct open *open)
{
    free(open);
}

struct held *open_key(const struct open *open, ls_bytes key)
{
    struct held wanted = {.key = key};
    return bsearch(&wanted, open->keys, open->count, sizeof(struct held), compare_held);
}

/* ---- adding and removing ---- */

/* Clients can move the clock as they like, so nobody outside knows which share a bucket. */
static size_t bucket_of(const struct index *index, size_t bucket_count, uint64_t timestamp)
{
    return (size_t)hash64(&timestamp, sizeof(timestamp), index->seed) & (bucket_count - 1);
}

struct open *index_find(const struct index *index, uint64_t timestamp)
{
    struct open *open = index->buckets[bucket_of(index, index->bucket_count, timestamp)];
    while (open != NULL && open->timestamp != timestamp) {
        open = open->next_in_bucket;
    }
    return open;
}

/* Doubles the buckets where they are full; without memory the chains just grow longer. */
static void spread(struct index *index)
{
    if (index->count < index->bucket_count) {
        return;
    }
    size_t count = 2 * index->bucket_count;
    struct open **buckets = calloc(count, sizeof(struct open *));
    if (buckets == NULL) {
        return;
    }
    for (struct open *open = index->oldest; open != NULL; open = open->newer) {
        struct open **bucket = &buckets[bucket_of(index, count, open->timestamp)];
        open->next_in_bucket = *bucket;
        *bucket = open;
    }
    free(index->buckets);
    index->buckets = buckets;
    index->bucket_count = count;
}

/* How long a transaction that waits for this one may have to be open, in whole seconds. One that
 * runs in a call of its own has reckoned with that. */
static size_t outlast_s(const struct open *open)
{
    uint64_t ms = open->whole ? open->ttl_ms : open->ttl_ms + OUTLAST_MS;
    return ms < OUTLAST_S_MAX * 1000 ? (size_t)(ms + 999) / 1000 : OUTLAST_S_MAX;
}

uint64_t index_outlast_ms(struct index *index)
{
    while (index->outlast_s_top > 0 && index->outlast_counts[index->outlast_s_top] == 0) {
        index->outlast_s_top--;
    }
    return (uint64_t)index->outlast_s_top * 1000;
}

static unsigned write_kinds(const struct held *held)
{
    return ((held->kinds & TXN_WILL) != 0 ? LS_SHARD_WILL : 0u) |
           ((held->kinds & TXN_MAY) != 0 ? LS_SHARD_MAY : 0u);
}

/* The locks of the transaction in the shard of its i-th key. */
static size_t gather_locks(struct index *index, const struct open *open, size_t i)
{
    unsigned shard = shard_of(index, open->keys[i].hash);
    size_t count = 0;
    for (; i < open->count; i++) {
        const struct held *held = &open->keys[i];
        if (write_kinds(held) != 0 && shard_of(index, held->hash) == shard) {
            index->locks[count++] = (ls_shard_lock){held->key, write_kinds(held)};
        }
    }
    return count;
}

static int acquire(struct index *index, const struct open *open, struct ls_error *error)
{
    uint64_t stamp = ++index->stamp;
    uint64_t locked = index->locked;
    for (size_t i = 0; i < open->count; i++) {
        unsigned shard = shard_of(index, open->keys[i].hash);
        if (write_kinds(&open->keys[i]) == 0 || index->stamps[shard] == stamp) {
            continue;
        }
        index->stamps[shard] = stamp;
        size_t count = gather_locks(index, open, i);
        int rc = see(index, shard, open->timestamp, error);
        if (rc == 0 && ls_shard_acquire(index->shards[shard], open->timestamp, WORKER, 0,
                                        index->locks, count) != 0) {
            rc = shard_error(error);
        }
        if (rc != 0) {
            return rc;
        }
        locked++;
    }
    assert(index->locked == locked);
    return 0;
}

void index_release(struct index *index, const struct open *open)
{
    uint64_t stamp = ++index->stamp;
    for (size_t i = 0; i < open->count; i++) {
        unsigned shard = shard_of(index, open->keys[i].hash);
        if (write_kinds(&open->keys[i]) != 0 && index->stamps[shard] != stamp) {
            index->stamps[shard] = stamp;
            /* Refused where it placed nothing there, which is as good. */
            (void)ls_shard_release(index->shards[shard], open->timestamp);
        }
    }
}

int index_add(struct index *index, struct open *open, struct ls_error *error)
{
    assert(index->newest == NULL || index->newest->timestamp < open->timestamp);
    if (index->locks_max < open->count) {
        ls_shard_lock *locks = realloc(index->locks, open->count * sizeof(*locks));
        if (locks == NULL) {
            return error_code(error, LS_ENOMEM);
        }
        index->locks = locks;
        index->locks_max = open->count;
    }
    int rc = acquire(index, open, error);
    if (rc != 0) {
        index_release(index, open);
        return rc;
    }
    spread(index);
    struct open **bucket = &index->buckets[bucket_of(index, index->bucket_count, open->timestamp)];
    open->next_in_bucket = *bucket;
    *bucket = open;
    open->older = index->newest;
    open->newer = NULL;
    if (index->newest != NULL) {
        index->newest->newer = open;
    } else {
        index->oldest = open;
    }
    index->newest = open;
    index->count++;
    size_t seconds = outlast_s(open);
    index->outlast_counts[seconds]++;
    index->outlast_s_top = seconds > index->outlast_s_top ? seconds : index->outlast_s_top;
    return 0;
}

void index_remove(struct index *index, struct open *open)
{
    assert(open->waiters == NULL && open->parts == NULL);
    index_release(index, open);
    struct open **at = &index->buckets[bucket_of(index, index->bucket_count, open->timestamp)];
    while (*at != open) {
        at = &(*at)->next_in_bucket;
    }
    *at = open->next_in_bucket;
    *(open->older != NULL ? &open->older->newer : &index->oldest) = open->newer;
    *(open->newer != NULL ? &open->newer->older : &index->newest) = open->older;
    index->count--;
    index->outlast_counts[outlast_s(open)]--;
    open_free(open);
}

int index_write(struct index *index, const struct open *open, const struct held *held,
                enum ls_shard_content content, ls_bytes value, struct ls_error *error)
{
    ls_shard *shard = index->shards[shard_of(index, held->hash)];
    return ls_shard_write(shard, open->timestamp, held->key, content, value) == 0
               ? 0
               : shard_error(error);
}
