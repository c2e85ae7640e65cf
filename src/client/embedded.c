/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded backend: opening and closing, and every call that is one request or one read. A
 * change is a request that the calling thread runs through the sequencer, so that many threads'
 * changes are committed with one flush; a read is a read transaction of its own.
 */
#include "client/embedded.h"

#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#define RETAIN_EVERY_MS 1000

/* ---- opening ---- */

/* Whoever may use the store chooses the hosts in it: the seed of their hashes is a secret. */
static int open_presence(struct embedded *e, struct ls_error *error)
{
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) {
        return error_set(error, LS_EIO, 0, "the system gives no randomness");
    }
    int result = presence_open(&e->presence, seed);
    return result == 0 ? 0 : error_code(error, result);
}

static int open_parts(struct embedded *e, const char *url, const ls_options *options,
                      struct ls_error *error)
{
    struct store_options wanted = {.sync = !options->no_sync,
                                   .create = !options->no_create,
                                   .read_only = options->read_only,
                                   .map_size_max = options->map_size_max,
                                   .quota = options->quota};
    int result = store_open(&e->store, url, &wanted, error);
    if (result != 0) {
        return result;
    }
    result = sequencer_open(&e->sequencer, e->store, error);
    if (result != 0) {
        goto close_store;
    }
    struct txn_options kept = {.history_age_ms = options->txn_history_age_ms != 0
                                                     ? options->txn_history_age_ms
                                                     : TXN_HISTORY_DEFAULT};
    result = txn_open(&e->txn, e->sequencer, &kept, error);
    if (result != 0) {
        goto close_sequencer;
    }
    result = open_presence(e, error);
    if (result != 0) {
        goto close_sequencer;
    }
    return 0;

close_sequencer:
    sequencer_close(e->sequencer);
    txn_close(e->txn);
close_store:
    store_close(e->store);
    return result;
}

static int embedded_open(struct ls *handle, const char *url, const ls_options *options,
                         struct ls_error *error)
{
    struct embedded *e = calloc(1, sizeof *e);
    if (e == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    e->read_only = options->read_only;
    e->keep = (struct retention){.age_ms = options->retention_age_ms,
                                 .count = options->retention_count,
                                 .bytes = options->retention_bytes,
                                 .hold = options->retention_hold};
    e->retains = e->keep.age_ms != 0 || e->keep.count != 0 || e->keep.bytes != 0;
    int result = open_parts(e, url, options, error);
    if (result != 0) {
        free(e);
        return result;
    }
    pthread_mutex_init(&e->life_lock, NULL);
    pthread_mutex_init(&e->presence_lock, NULL);
    pthread_mutex_init(&e->join_lock, NULL);
    pthread_mutex_init(&e->snapshot_lock, NULL);
    handle->state = e;
    return 0;
}

static void embedded_close(struct ls *handle)
{
    struct embedded *e = embedded_of(handle);
    presence_close(e->presence);
    sequencer_close(e->sequencer);
    txn_close(e->txn);
    store_close(e->store);
    pthread_mutex_destroy(&e->snapshot_lock);
    pthread_mutex_destroy(&e->join_lock);
    pthread_mutex_destroy(&e->presence_lock);
    pthread_mutex_destroy(&e->life_lock);
    free(e);
}

/* ---- changes ---- */

/* Discards what the retention no longer keeps, at most once in a while. The user's own change is
 * done, so a failure here is nobody's: the next one tries again. */
static void retain(struct embedded *e)
{
    uint64_t now_ms = monotonic_ms();
    uint64_t due_ms = atomic_load_explicit(&e->retain_at_ms, memory_order_relaxed);
    if (now_ms < due_ms ||
        !atomic_compare_exchange_strong(&e->retain_at_ms, &due_ms, now_ms + RETAIN_EVERY_MS)) {
        return;
    }
    struct ls_error error;
    struct request request = {.kind = REQUEST_RETAIN, .error = &error};
    request.in.retain.keep = e->keep;
    (void)sequencer_run(e->sequencer, &request);
}

int embedded_run(struct embedded *e, struct request *request, uint64_t *clock,
                 struct ls_error *error)
{
    struct binding life;
    embedded_tend(e);
    request->error = error;
    request->as = embedded_life(e, &life) ? &life : NULL;
    int result = sequencer_run(e->sequencer, request);
    request->as = NULL;
    if (result != 0) {
        return result;
    }
    if (e->retains) {
        retain(e);
    }
    if (clock != NULL) {
        *clock = request->clock;
    }
    return 0;
}

static int embedded_clock_next(struct ls *handle, uint64_t count, uint64_t *first,
                               struct ls_error *error)
{
    struct request request = {.kind = REQUEST_CLOCK_NEXT, .in.clock_next.count = count};
    return embedded_run(embedded_of(handle), &request, first, error);
}

static int embedded_clock_witness(struct ls *handle, uint64_t seen, uint64_t *clock,
                                  struct ls_error *error)
{
    struct request request = {.kind = REQUEST_CLOCK_WITNESS, .in.clock_witness.seen = seen};
    return embedded_run(embedded_of(handle), &request, clock, error);
}

/* One at a time, so that each knows the number of the one before. What the sequencer refused was
 * not posted, so its number is free for the next. */
static int post_once(struct embedded *e, struct request *request, uint64_t *clock,
                     struct ls_error *error)
{
    pthread_mutex_lock(&e->join_lock);
    request->in.post.has_seq = true;
    request->in.post.seq = e->seq + 1;
    int result = embedded_run(e, request, clock, error);
    if (result == 0) {
        e->seq++;
    }
    pthread_mutex_unlock(&e->join_lock);
    return result;
}

static int embedded_post(struct ls *handle, const struct post *post, uint64_t *clock,
                         struct ls_error *error)
{
    struct embedded *e = embedded_of(handle);
    struct request request = {.kind = REQUEST_POST,
                              .in.post = {.type = post->type,
                                          .event = post->event,
                                          .has_clock = post->has_clock,
                                          .clock = post->clock,
                                          .to = post->to,
                                          .object = post->object}};
    return post->once ? post_once(e, &request, clock, error)
                      : embedded_run(e, &request, clock, error);
}

static int run_trim(struct embedded *e, struct request *request, uint64_t *discarded,
                    struct ls_error *error)
{
    int result = embedded_run(e, request, NULL, error);
    if (result == 0) {
        *discarded = request->number;
    }
    return result;
}

static int embedded_trim_before(struct ls *handle, uint64_t before, uint64_t *discarded,
                                struct ls_error *error)
{
    struct request request = {.kind = REQUEST_TRIM, .in.trim.before = before};
    return run_trim(embedded_of(handle), &request, discarded, error);
}

static int embedded_trim_older(struct ls *handle, uint64_t age_ms, uint64_t *discarded,
                               struct ls_error *error)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    /* Older than the epoch is nothing: with both limits 0 the trim takes nothing. */
    uint64_t older_ns = age_ms < now_ns / 1000000 ? now_ns - age_ms * 1000000 : 0;
    struct request request = {.kind = REQUEST_TRIM, .in.trim.older_ns = older_ns};
    return run_trim(embedded_of(handle), &request, discarded, error);
}

static int embedded_put(struct ls *handle, ls_bytes key, ls_bytes value,
                        const ls_put_options *options, uint64_t *clock, struct ls_error *error)
{
    struct request request = {.kind = REQUEST_OBJECT_PUT,
                              .in.put = {.key = key,
                                         .value = value,
                                         .has_if = options->only_if,
                                         .modified = options->if_modified,
                                         .nx = options->only_if_absent,
                                         .xx = options->only_if_present,
                                         .owned = options->owned}};
    return embedded_run(embedded_of(handle), &request, clock, error);
}

static int embedded_del(struct ls *handle, ls_bytes key, bool has_if, uint64_t modified,
                        uint64_t *clock, struct ls_error *error)
{
    struct request request = {.kind = REQUEST_OBJECT_DEL,
                              .in.del = {.key = key, .has_if = has_if, .modified = modified}};
    return embedded_run(embedded_of(handle), &request, clock, error);
}

static int embedded_commit(struct ls *handle, const struct object_condition *conditions,
                           size_t condition_count, struct object_operation *operations,
                           size_t operation_count, struct ls_error *error)
{
    struct request request = {.kind = REQUEST_OBJECT_TXN,
                              .in.txn = {.conditions = conditions,
                                         .condition_count = condition_count,
                                         .operations = operations,
                                         .operation_count = operation_count}};
    return embedded_run(embedded_of(handle), &request, NULL, error);
}

/* ---- reads ---- */

static int read_state(struct embedded *e, struct box_state *state, struct ls_error *error)
{
    struct reading reading;
    embedded_tend(e);
    int result = reading_begin(&reading, e->store, error);
    if (result == 0) {
        result = box_state_read(&reading, state, error);
        reading_end(&reading);
    }
    return result;
}

static int embedded_clock_get(struct ls *handle, uint64_t *clock, struct ls_error *error)
{
    struct box_state state;
    int result = read_state(embedded_of(handle), &state, error);
    if (result == 0) {
        *clock = state.clock;
    }
    return result;
}

static int embedded_box_info(struct ls *handle, ls_box_info *out, struct ls_error *error)
{
    struct box_state state;
    int result = read_state(embedded_of(handle), &state, error);
    if (result == 0) {
        *out = (ls_box_info){.oldest = state.oldest,
                             .newest = state.newest,
                             .count = state.count,
                             .bytes = state.bytes};
    }
    return result;
}

static ls_object object_of(ls_bytes key, const struct object *object)
{
    return (ls_object){.key = key,
                       .value = object->value,
                       .created = object->created,
                       .modified = object->modified};
}

static int embedded_get(struct ls *handle, ls_bytes key, struct ls_objects *out,
                        struct ls_error *error)
{
    struct embedded *e = embedded_of(handle);
    struct reading reading;
    embedded_tend(e);
    int result = reading_begin(&reading, e->store, error);
    if (result != 0) {
        return result;
    }
    struct object object;
    result = object_read(&reading, key, &object, error);
    if (result == 0) {
        ls_object item = object_of(key, &object);
        if (objects_add(out, &item) != 0) {
            result = error_code(error, LS_ENOMEM);
        }
    }
    reading_end(&reading);
    return result;
}

static int embedded_scan(struct ls *handle, ls_bytes prefix, ls_bytes after, size_t max,
                         struct ls_objects *out, struct ls_error *error)
{
    struct embedded *e = embedded_of(handle);
    struct reading reading;
    embedded_tend(e);
    int result = reading_begin(&reading, e->store, error);
    if (result != 0) {
        return result;
    }
    struct object_cursor cursor;
    result = objects_open(&cursor, &reading, prefix, after, error);
    if (result == 0) {
        ls_bytes key;
        struct object object;
        while (out->count < max && out->arena.used < LIST_SIZE_SOFT &&
               (result = objects_next(&cursor, &key, &object, error)) > 0) {
            ls_object item = object_of(key, &object);
            if (objects_add(out, &item) != 0) {
                result = error_code(error, LS_ENOMEM);
                break;
            }
        }
        objects_end(&cursor);
    }
    reading_end(&reading);
    return result < 0 ? result : 0;
}

const struct backend backend_embedded = {
    .open = embedded_open,
    .close = embedded_close,
    .clock_get = embedded_clock_get,
    .clock_next = embedded_clock_next,
    .clock_witness = embedded_clock_witness,
    .post = embedded_post,
    .read = embedded_read,
    .watch_open = embedded_watch_open,
    .watch_next = embedded_watch_next,
    .watch_close = embedded_watch_close,
    .box_info = embedded_box_info,
    .trim_before = embedded_trim_before,
    .trim_older = embedded_trim_older,
    .node_join = embedded_node_join,
    .node_beat = embedded_node_beat,
    .node_ack = embedded_node_ack,
    .node_set_state = embedded_node_set_state,
    .node_leave = embedded_node_leave,
    .node_get = embedded_node_get,
    .node_list = embedded_node_list,
    .put = embedded_put,
    .get = embedded_get,
    .del = embedded_del,
    .scan = embedded_scan,
    .object_watch_open = embedded_object_watch_open,
    .object_watch_next = embedded_object_watch_next,
    .object_watch_close = embedded_object_watch_close,
    .commit = embedded_commit,
    .txn_begin = embedded_txn_begin,
    .txn_read = embedded_txn_read,
    .txn_commit = embedded_txn_commit,
    .txn_abort = embedded_txn_abort,
    .txn_execute = embedded_txn_execute,
    .txn_get = embedded_txn_get,
    .txn_explain = embedded_txn_explain,
};
