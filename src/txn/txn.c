/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The extension: what happens around the calls of one transaction of the coordinator. The index is
 * brought up to date as it begins, the record of all transactions is written as it ends, and those
 * who wait for something are woken once it is committed. Where it is undone, the index is made
 * again from the records, and every call that was parked looks for itself.
 */
#include "txn/txn.h"

#include <assert.h>
#include <stdlib.h>
#include <time.h>

#include "base/error.h"
#include "txn/state.h"

#define TICK_EVERY_MS  1000
#define SWEEP_EVERY_MS 100
#define MERGE_EVERY_MS 10

/* Versions that the sweep looks at with each tick. */
#define SWEEP_PER_TICK 1024

static uint64_t monotonic_ms(void *context)
{
    struct timespec now;
    (void)context;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t txn_now_ms(const struct txn *txn)
{
    return txn->now_ms(txn->now_context);
}

/* ---- following the store ---- */

static int read_standing(struct txn *txn, struct coordinator *c, struct ls_error *error)
{
    struct control control;
    int rc = coordinator_control(c, CONTROL_TXNS, control_txns_fields, &control, error);
    if (rc != 0) {
        return rc;
    }
    struct standing *known = &txn->known;
    if (txn->fresh || control.value[TXNS_WRITTEN] != known->written) {
        known->changed_at = coordinator_clock_here(c);
    }
    known->open = control.value[TXNS_OPEN];
    known->logged = control.value[TXNS_LOGGED];
    known->merged = control.value[TXNS_MERGED];
    known->written = control.value[TXNS_WRITTEN];
    known->collected = control.value[TXNS_COLLECTED];
    known->generation = control.value[TXNS_GENERATION];
    if (known->sweep_collected > known->collected) {
        known->sweeping = false; /* a store that was put back */
    }
    return 0;
}

static int read_open(struct open **out, struct txn *txn, ls_bytes key, ls_bytes value,
                     struct ls_error *error)
{
    struct key_parts parts;
    struct transaction record;
    struct ls_error detail;
    uint64_t timestamp;
    if (key_decode(&parts, key, &detail) != 0 || !txn_name(parts.name, &timestamp) ||
        transaction_decode(&record, value, &detail) != 0 ||
        record_verify(value, key, &detail) != 0) {
        return error_set(error, LS_ECORRUPT, 0, "the record of an open transaction is damaged");
    }
    int rc = open_new(out, timestamp, &record, error);
    if (rc == 0) {
        /* The index may hold one of a batch that was undone, whose timestamp this one got. */
        const struct open *before = index_find(txn->index, timestamp);
        bool same =
            before != NULL && before->via == record.via && before->began_ns == record.began_ns;
        (*out)->seen_ms = same ? before->seen_ms : txn_now_ms(txn);
        uint64_t end_ms = (*out)->seen_ms + (*out)->ttl_ms;
        txn->earliest_ms = end_ms < txn->earliest_ms ? end_ms : txn->earliest_ms;
    }
    return rc;
}

/* Those of the index that have no record any more, up to `timestamp`, are over: *next goes on. */
static void drop_missing(struct index *index, struct open **next, uint64_t timestamp)
{
    while (*next != NULL && (*next)->timestamp < timestamp) {
        struct open *newer = (*next)->newer;
        index_remove(index, *next);
        *next = newer;
    }
}

/* Adds what is in the store and not in the index, and takes out what is there no more. */
static int follow(struct txn *txn, struct coordinator *c, struct index *index,
                  struct ls_error *error)
{
    const struct store_driver *driver = coordinator_store(c)->driver;
    struct store_cursor *cursor;
    struct key from, to;
    struct key_walk walk;
    ls_bytes key, value;
    struct open *next = index->oldest;
    txn_prefix(&from);
    to = from;
    (void)key_after_prefix(&to);
    int rc =
        driver->scan(coordinator_txn(c), key_bytes(&from), key_bytes(&to), false, &cursor, error);
    if (rc != 0) {
        return rc;
    }
    key_walk_begin(&walk, &from);
    while ((rc = driver->next(cursor, &key, &value, error)) > 0) {
        uint64_t timestamp = 0;
        if (!key_walk_step(&walk, key)) {
            rc = error_set(error, LS_ECORRUPT, 0, "an open transaction is not in its place");
            break;
        }
        if (key.size == from.size + 8u) {
            timestamp = get_be64((const uint8_t *)key.data + from.size);
        }
        drop_missing(index, &next, timestamp);
        if (next != NULL && next->timestamp == timestamp) {
            next = next->newer;
            continue;
        }
        struct open *open;
        if (index->newest != NULL && index->newest->timestamp > timestamp) {
            rc = error_code(error, LS_ERETRY); /* not what the clock gives: all from the start */
            break;
        }
        rc = read_open(&open, txn, key, value, error);
        if (rc == 0) {
            rc = index_add(index, open, error);
            if (rc != 0) {
                open_free(open);
            }
        }
        if (rc != 0) {
            break;
        }
    }
    driver->scan_end(cursor);
    if (rc == 0) {
        drop_missing(index, &next, UINT64_MAX);
    }
    return rc;
}

static int rebuild(struct txn *txn, struct coordinator *c, struct ls_error *error)
{
    struct index *index;
    int rc = index_open(&index, txn->shard_count, txn->seed, error);
    if (rc != 0) {
        return rc;
    }
    txn->earliest_ms = UINT64_MAX;
    rc = follow(txn, c, index, error);
    if (rc != 0) {
        index_close(index);
        return rc;
    }
    index_close(txn->index);
    txn->index = index;
    txn->counters.rebuilt++;
    return 0;
}

static int extension_begin(void *context, struct coordinator *c, struct ls_error *error)
{
    struct txn *txn = context;
    const struct store_driver *driver = txn->store->driver;
    int rc = 0;
    atomic_store_explicit(&txn->word, driver->wake_word(txn->store), memory_order_relaxed);
    if (txn->stale || txn->reloads != coordinator_reloads(c)) {
        uint64_t generation = txn->known.generation;
        rc = read_standing(txn, c, error);
        if (rc == 0 && (txn->dirty || txn->fresh || generation != txn->known.generation)) {
            bool whole = txn->dirty;
            txn_wake_everybody(txn);
            txn->dirty = true; /* until it is done */
            rc = whole ? rebuild(txn, c, error) : follow(txn, c, txn->index, error);
            txn->dirty = rc != 0;
            txn->counters.synced += !whole;
        }
        rc = rc != 0 ? rc : vlog_follow(txn, c, error);
        if (rc == 0) {
            txn->stale = false;
            txn->fresh = false;
            txn->reloads = coordinator_reloads(c);
        }
    }
    txn->now = txn->known;
    txn->touched = false;
    txn->put_count = 0;
    return rc;
}

/* ---- open transactions ---- */

int txn_check_open(const struct txn *txn, struct ls_error *error)
{
    uint64_t open_max = atomic_load(&txn->open_max);
    if (txn->now.open >= open_max) {
        return error_set(error, LS_ENOSPACE, open_max,
                         "%llu transactions are open, and no more can be",
                         (unsigned long long)open_max);
    }
    return 0;
}

int txn_open_new(struct txn *txn, struct coordinator *c, struct transaction *record,
                 uint64_t *timestamp, struct ls_error *error)
{
    struct open *open;
    struct key key;
    int rc = txn_check_open(txn, error);
    rc = rc != 0 ? rc : coordinator_room(c, STORE_ROOM_ADD, txn->lists.size + 512, error);
    if (rc != 0) {
        return rc;
    }
    record->began_ns = coordinator_now_ns(c);
    rc = open_new(&open, coordinator_clock_here(c) + 1, record, error);
    if (rc != 0) {
        return rc;
    }
    rc = coordinator_tick(c, timestamp, error);
    if (rc != 0) {
        open_free(open);
        return rc;
    }
    assert(*timestamp == open->timestamp);
    if (txn->epoch == 0) {
        rc = coordinator_epoch(c, &txn->epoch, error);
        txn->epoch_is_new = true;
    }
    record->via = open->via = txn->epoch;
    txn_key(&key, *timestamp);
    txn->record.size = 0;
    rc = rc != 0 ? rc : transaction_encode(&txn->record, record, key_bytes(&key));
    if (rc == LS_ENOMEM) {
        error_code(error, rc);
    }
    /* From the first put on a failure breaks the transaction, and the index is made again. */
    rc = rc != 0 ? rc : coordinator_put(c, &key, buf_bytes(&txn->record), error);
    txn->touched = true;
    rc = rc != 0 ? rc : index_add(txn->index, open, error);
    if (rc != 0) {
        open_free(open);
        return rc;
    }
    open->seen_ms = txn_now_ms(txn);
    uint64_t end_ms = open->seen_ms + open->ttl_ms;
    txn->earliest_ms = end_ms < txn->earliest_ms ? end_ms : txn->earliest_ms;
    txn->now.open++;
    txn->now.generation++;
    return 0;
}

int txn_close_open(struct txn *txn, struct coordinator *c, struct open *open,
                   struct ls_error *error)
{
    struct key key;
    txn_key(&key, open->timestamp);
    int rc = coordinator_del(c, &key, error);
    if (rc != 0 && rc != LS_ENOTFOUND) {
        return rc;
    }
    txn->touched = true;
    txn->now.open -= txn->now.open > 0;
    txn->now.generation++;
    txn_wake_for(txn, open);
    index_remove(txn->index, open);
    return 0;
}

int txn_find(struct txn *txn, struct coordinator *c, uint64_t timestamp, struct open **out,
             struct ls_error *error)
{
    uint64_t clock = coordinator_clock_here(c);
    if (timestamp == 0 || timestamp > clock) {
        return error_set(error, LS_EINVAL, clock, "no transaction has the timestamp %llu yet",
                         (unsigned long long)timestamp);
    }
    *out = index_find(txn->index, timestamp);
    if (*out == NULL) {
        return error_set(error, LS_ETXNEXPIRED, timestamp,
                         "no open transaction has the timestamp %llu: it is over, or there never "
                         "was one",
                         (unsigned long long)timestamp);
    }
    return 0;
}

int txn_give_up(struct txn *txn, uint64_t timestamp, struct ls_error *error)
{
    if (txn->over_count == txn->over_max) {
        size_t max = txn->over_max > 0 ? 2 * txn->over_max : 16;
        uint64_t *grown = realloc(txn->over_timestamps, max * sizeof(*grown));
        if (grown == NULL) {
            return error_code(error, LS_ENOMEM);
        }
        txn->over_timestamps = grown;
        txn->over_max = max;
    }
    txn->over_timestamps[txn->over_count++] = timestamp;
    return 0;
}

/* ---- the end of a transaction ---- */

static int write_standing(struct txn *txn, struct coordinator *c, struct ls_error *error)
{
    const struct standing *now = &txn->now, *known = &txn->known;
    if (now->open == known->open && now->logged == known->logged && now->merged == known->merged &&
        now->collected == known->collected && now->generation == known->generation) {
        return 0;
    }
    struct control control = {{0}};
    control.value[TXNS_OPEN] = now->open;
    control.value[TXNS_LOGGED] = now->logged;
    control.value[TXNS_MERGED] = now->merged;
    control.value[TXNS_WRITTEN] = now->written;
    control.value[TXNS_COLLECTED] = now->collected;
    control.value[TXNS_GENERATION] = now->generation;
    return coordinator_set_control(c, CONTROL_TXNS, control_txns_fields, &control, error);
}

static int extension_end(void *context, struct coordinator *c, struct ls_error *error)
{
    struct txn *txn = context;
    int rc = 0;
    for (size_t i = 0; i < txn->over_count && rc == 0; i++) {
        struct open *open = index_find(txn->index, txn->over_timestamps[i]);
        rc = open != NULL ? txn_close_open(txn, c, open, error) : 0;
    }
    rc = rc != 0 ? rc : merge_step(txn, c, error);
    return rc != 0 ? rc : write_standing(txn, c, error);
}

static bool sweep_is_due(const struct standing *standing)
{
    return standing->sweeping || standing->changed_at > standing->swept;
}

/* For other threads. */
static void publish(struct txn *txn)
{
    struct txn_counters *counters = &txn->counters;
    counters->open = txn->known.open;
    counters->parked = txn->parked_count;
    counters->parked_bytes = txn->parked_bytes;
    counters->collected = txn->known.collected;
    counters->oldest = txn->index->oldest != NULL ? txn->index->oldest->timestamp : 0;
    struct recent_size recent = recent_size(txn->recent);
    counters->recent = recent.versions;
    counters->recent_bytes = recent.bytes;
    pthread_mutex_lock(&txn->lock);
    txn->published = *counters;
    pthread_mutex_unlock(&txn->lock);
    uint64_t due_ms = txn->ticked_ms + (merge_is_due(txn)           ? MERGE_EVERY_MS
                                        : sweep_is_due(&txn->known) ? SWEEP_EVERY_MS
                                                                    : TICK_EVERY_MS);
    atomic_store_explicit(&txn->due_ms, due_ms < txn->earliest_ms ? due_ms : txn->earliest_ms,
                          memory_order_relaxed);
    atomic_store_explicit(&txn->waiting, txn->parked_count, memory_order_relaxed);
}

static void settle_committed(struct txn *txn)
{
    txn->known = txn->now;
    for (struct txn_call *call = txn->parking.first; call != NULL; call = call->parked_next) {
        call->settled = true;
    }
    txn_calls_join(&txn->parked, &txn->parking);
    for (struct txn_call *call = txn->waking, *next; call != NULL; call = next) {
        next = call->waiter_next;
        txn_calls_remove(&txn->parked, call);
        txn_calls_add(&txn->ready, call);
    }
    txn->waking = NULL;
}

/* Those that were parked in this transaction are still the sequencer's, which runs them again. */
static void settle_undone(struct txn *txn)
{
    txn->stale = true;
    for (struct txn_call *call = txn->parking.first; call != NULL; call = call->parked_next) {
        txn_parked_no_more(txn, call);
    }
    txn->parking = (struct calls){0};
    if (txn->epoch_is_new) {
        txn->epoch = 0;
    }
    if (txn->touched) {
        txn->dirty = true;
        txn_wake_everybody(txn);
    }
}

static void extension_settled(void *context, struct coordinator *c, bool committed)
{
    struct txn *txn = context;
    (void)c;
    if (committed) {
        settle_committed(txn);
    } else {
        settle_undone(txn);
    }
    merge_settle(txn, committed);
    txn->epoch_is_new = false;
    txn->over_count = 0;
    publish(txn);
}

/* The index, who waits, and what is moved, are changed only by what is committed. */
static bool extension_can_wait(void *context)
{
    const struct txn *txn = context;
    return !txn->touched && !txn->epoch_is_new && txn->over_count == 0 && !txn->merging.stepped;
}

static void extension_lost(void *context)
{
    struct txn *txn = context;
    txn->stale = true;
    txn->fresh = true; /* what is in memory may not be in the log */
}

static struct request *extension_woken(void *context, bool all)
{
    struct txn *txn = context;
    struct request *first = NULL, **last = &first;
    if (all) {
        txn_wake_everybody(txn);
    }
    if (txn->ready.first == NULL) {
        return NULL;
    }
    for (struct txn_call *call = txn->ready.first; call != NULL; call = call->parked_next) {
        call->settled = false;
        call->request->parked = false;
        *last = call->request;
        last = &call->request->next;
        txn_parked_no_more(txn, call);
    }
    *last = NULL;
    txn->ready = (struct calls){0};
    publish(txn);
    return first;
}

/* ---- ticks ---- */

static struct request *extension_tick(void *context)
{
    struct txn *txn = context;
    if (atomic_load_explicit(&txn->waiting, memory_order_relaxed) == 0 ||
        (txn_wait_ms(txn) > 0 && txn->store->driver->wake_word(txn->store) ==
                                     atomic_load_explicit(&txn->word, memory_order_relaxed))) {
        return NULL;
    }
    txn->tick_call = (struct txn_call){.kind = TXN_TICK};
    txn_request(&txn->tick_request, &txn->tick_call);
    txn->tick_request.error = &txn->tick_error;
    return &txn->tick_request;
}

/* The clock as it was an age ago, as far as this process knows; 0 where it does not. */
static uint64_t clock_before(struct txn *txn, uint64_t clock, uint64_t now_ms)
{
    uint64_t age_ms = atomic_load(&txn->history_age_ms);
    uint64_t out = 0;
    if (age_ms == 0) {
        return clock;
    }
    if (txn->sample_count == 0 ||
        txn->samples[txn->sample_count - 1].ms + age_ms / (SAMPLES - 2) < now_ms) {
        if (txn->sample_count == SAMPLES) {
            memmove(txn->samples, txn->samples + 1, (SAMPLES - 1) * sizeof(txn->samples[0]));
            txn->sample_count--;
        }
        txn->samples[txn->sample_count++] = (struct sample){now_ms, clock};
    }
    for (size_t i = 0; i < txn->sample_count; i++) {
        if (txn->samples[i].ms + age_ms <= now_ms) {
            out = txn->samples[i].clock;
        }
    }
    return out;
}

/* Gives up what is over its time, a bounded number: true where more is left. */
static int expire(struct txn *txn, struct coordinator *c, uint64_t now_ms, bool *more,
                  struct ls_error *error)
{
    enum { STEP = 1000 };
    size_t given_up = 0;
    uint64_t earliest_ms = UINT64_MAX;
    *more = false;
    if (now_ms < txn->earliest_ms) {
        return 0;
    }
    for (struct open *open = txn->index->oldest, *newer; open != NULL; open = newer) {
        newer = open->newer;
        uint64_t end_ms = open->seen_ms + open->ttl_ms;
        if (end_ms > now_ms) {
            earliest_ms = end_ms < earliest_ms ? end_ms : earliest_ms;
        } else if (open->whole && given_up > 0) {
            earliest_ms = now_ms; /* it may run now */
        } else if (given_up == STEP) {
            *more = true;
            return 0;
        } else {
            int rc = txn_close_open(txn, c, open, error);
            if (rc != 0) {
                return rc;
            }
            given_up++;
            txn->counters.expired++;
        }
    }
    txn->earliest_ms = earliest_ms;
    return 0;
}

/* Moves `collected` on, and begins a new sweep where there is something for it. */
static void collect(struct txn *txn, struct coordinator *c, uint64_t now_ms)
{
    struct standing *now = &txn->now;
    uint64_t limit = clock_before(txn, coordinator_clock_here(c), now_ms);
    const struct open *oldest = txn->index->oldest;
    if (oldest != NULL && limit >= oldest->timestamp) {
        limit = oldest->timestamp - 1;
    }
    if (now->changed_at <= now->swept) {
        return; /* nothing was written since */
    }
    if (limit > now->collected) {
        now->collected = limit;
    }
    if (!now->sweeping && now->collected > now->swept) {
        now->sweeping = true;
        now->sweep_kept = false;
        now->sweep_collected = now->collected;
        key_first(&now->sweep_from, KEY_VERSION);
    }
}

int txn_tick(struct txn *txn, struct coordinator *c, struct request *request)
{
    uint64_t now_ms = txn_now_ms(txn);
    int rc = coordinator_room(c, STORE_ROOM_FREE, 0, request->error);
    rc = rc != 0 ? rc : expire(txn, c, now_ms, &request->again, request->error);
    if (rc != 0 || request->again) {
        return rc;
    }
    collect(txn, c, now_ms);
    merge_tick(txn, now_ms);
    txn->ticked_ms = now_ms;
    return version_sweep(txn, c, SWEEP_PER_TICK, request->error);
}

/* ---- calls ---- */

static int extension_apply(void *context, struct coordinator *c, struct request *request)
{
    struct txn *txn = context;
    struct txn_call *call = call_of(request);
    call->bytes.size = 0;
    switch (call->kind) {
    case TXN_BEGIN:
        return txn_begin(txn, c, request);
    case TXN_READ:
        return txn_read(txn, c, request);
    case TXN_COMMIT:
        return txn_commit(txn, c, request);
    case TXN_ABORT:
    case TXN_RELEASE:
        return txn_abort(txn, c, request);
    case TXN_RUN:
        return txn_run(txn, c, request);
    case TXN_GET:
        return txn_get(txn, c, request);
    case TXN_EXPLAIN:
        return txn_explain(txn, c, request);
    case TXN_TICK:
        return txn_tick(txn, c, request);
    }
    return error_set(request->error, LS_EINVAL, 0, "unknown kind of call");
}

static size_t keys_weight(const struct txn_keys *keys)
{
    size_t weight = 0;
    for (size_t i = 0; i < keys->count; i++) {
        weight += keys->keys[i].size + 8;
    }
    return weight;
}

void txn_request(struct request *request, struct txn_call *call)
{
    enum { RECORD = 256 };
    size_t weight = RECORD + keys_weight(&call->eager) + keys_weight(&call->lazy) +
                    keys_weight(&call->will) + keys_weight(&call->may);
    for (size_t i = 0; i < call->write_count; i++) {
        weight += 2 * call->writes[i].key.size + call->writes[i].value.size + RECORD;
    }
    for (size_t i = 0; i < call->op_count; i++) {
        weight += 2 * call->ops[i].key.size + call->ops[i].value.size + RECORD;
    }
    struct ls_error *error = request->error;
    void *owner = request->owner;
    struct request *next = request->next;
    *request =
        (struct request){.next = next, .owner = owner, .kind = REQUEST_EXTENSION, .error = error};
    request->in.extension.call = call;
    request->in.extension.weight = weight;
    call->request = request;
}

void txn_call_free(struct txn_call *call)
{
    buf_free(&call->bytes);
    free(call->marks);
    call->marks = NULL;
    call->mark_count = 0;
}

/* ---- the module ---- */

static uint64_t or_default(uint64_t value, uint64_t otherwise)
{
    return value != 0 ? value : otherwise;
}

int txn_open(struct txn **out, struct sequencer *sequencer, const struct txn_options *options,
             struct ls_error *error)
{
    if (options->shards > TXN_SHARDS_MAX || options->ttl_ms > TXN_TTL_MS_MAX) {
        return error_set(error, LS_EINVAL, 0, "at most %d shards, and a ttl of %d ms",
                         TXN_SHARDS_MAX, TXN_TTL_MS_MAX);
    }
    struct txn *txn = calloc(1, sizeof(*txn));
    if (txn == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    txn->shard_count = options->shards != 0 ? options->shards : TXN_SHARDS_DEFAULT;
    txn->seed = options->seed;
    txn->lives_on = options->lives_on;
    int rc = index_open(&txn->index, txn->shard_count, txn->seed, error);
    if (rc != 0) {
        free(txn);
        return rc;
    }
    rc = recent_open(&txn->recent, txn->seed);
    if (rc != 0) {
        index_close(txn->index);
        free(txn);
        return error_code(error, rc);
    }
    txn->store = sequencer_store(sequencer);
    txn->now_ms = options->now_ms != NULL ? options->now_ms : monotonic_ms;
    txn->now_context = options->now_context;
    txn->ticked_ms = txn_now_ms(txn);
    atomic_store(&txn->ttl_ms, or_default(options->ttl_ms, TXN_TTL_MS_DEFAULT));
    atomic_store(&txn->open_max, or_default(options->open_max, TXN_OPEN_MAX_DEFAULT));
    atomic_store(&txn->history_age_ms, options->history_age_ms);
    atomic_store(&txn->memory, or_default(options->memory, TXN_MEMORY_DEFAULT));
    txn->fresh = txn->stale = true;
    txn->earliest_ms = UINT64_MAX;
    pthread_mutex_init(&txn->lock, NULL);
    txn->extension = (struct extension){.context = txn,
                                        .begin = extension_begin,
                                        .approach = txn_approach,
                                        .apply = extension_apply,
                                        .end = extension_end,
                                        .can_wait = extension_can_wait,
                                        .settled = extension_settled,
                                        .lost = extension_lost,
                                        .woken = extension_woken,
                                        .tick = extension_tick};
    sequencer_extend(sequencer, &txn->extension);
    *out = txn;
    return 0;
}

void txn_close(struct txn *txn)
{
    if (txn == NULL) {
        return;
    }
    index_close(txn->index);
    recent_close(txn->recent);
    pthread_mutex_destroy(&txn->lock);
    buf_free(&txn->record);
    buf_free(&txn->lists);
    free(txn->slots);
    free(txn->slot_of);
    free(txn->slot_table);
    free(txn->writes);
    free(txn->over_timestamps);
    free(txn);
}

void txn_set_history_age(struct txn *txn, uint64_t age_ms)
{
    atomic_store(&txn->history_age_ms, age_ms);
}

void txn_set_memory(struct txn *txn, uint64_t bytes)
{
    atomic_store(&txn->memory, bytes);
}

void txn_set_open_max(struct txn *txn, uint64_t count)
{
    atomic_store(&txn->open_max, count);
}

void txn_set_ttl(struct txn *txn, uint64_t ttl_ms)
{
    atomic_store(&txn->ttl_ms, ttl_ms);
}

int64_t txn_wait_ms(const struct txn *txn)
{
    uint64_t due_ms = atomic_load_explicit(&txn->due_ms, memory_order_relaxed);
    uint64_t now_ms = txn_now_ms(txn);
    if (due_ms <= now_ms) {
        return 0;
    }
    return due_ms - now_ms < TICK_EVERY_MS ? (int64_t)(due_ms - now_ms) : TICK_EVERY_MS;
}

void txn_counters(struct txn *txn, struct txn_counters *out)
{
    pthread_mutex_lock(&txn->lock);
    *out = txn->published;
    pthread_mutex_unlock(&txn->lock);
}
