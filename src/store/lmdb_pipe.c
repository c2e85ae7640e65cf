/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commits in flight. Within a round of the redo log a write transaction need not wait for the flush
 * of the one before it: it only records its edits, takes off, and its record is written to the log
 * by a thread of its own, while the next transaction is being filled. Once a record and all before
 * it are durable it lands: LMDB commits its edits, and then the store's user may answer. So nobody
 * sees what is not durable, and commits land in the order they were made.
 *
 * A transaction ahead of LMDB cannot be read back. One that wants more than to put goes to ground:
 * all before it land, and it goes on as any other, with its edits made in LMDB.
 *
 * Rules:
 *  1. All but the writing of records happens on one thread, the sequencer's, and within the turn,
 *     which is held as long as a transaction is ahead or in flight. Nobody else can end the round
 *     meanwhile; should it have been ended all the same, nothing that is in flight lands.
 *  2. Where one is lost, all behind it are: the log, which may hold some of them, is cleared before
 *     anybody is told. Until its user was told, no other takes its place: it is to run again first.
 *  3. The turn is given away now and then, so that other processes are not shut out.
 */
#include <assert.h>
#include <stdlib.h>
#include <time.h>

#include "base/error.h"
#include "store/lmdb_driver.h"

#define TURN_MS_MAX 20

_Static_assert(STORE_FLIGHTS_MAX <= REDO_AHEAD_MAX, "what a reader of the log relies on");

static struct lmdb_flight *flight_at(struct lmdb_pipe *pipe, unsigned i)
{
    return &pipe->flights[(pipe->first + i) % STORE_FLIGHTS_MAX];
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- the threads that write records ---- */

static struct lmdb_flight *next_to_write(struct lmdb_pipe *pipe)
{
    for (unsigned i = 0; i < pipe->count; i++) {
        if (flight_at(pipe, i)->state == FLIGHT_QUEUED) {
            return flight_at(pipe, i);
        }
    }
    return NULL;
}

static void *write_records(void *argument)
{
    struct lmdb_env *env = argument;
    struct lmdb_pipe *pipe = &env->pipe;
    pthread_mutex_lock(&pipe->mutex);
    for (;;) {
        struct lmdb_flight *flight = next_to_write(pipe);
        if (flight == NULL && pipe->send) {
            pipe->send = false;
            pthread_mutex_unlock(&pipe->mutex);
            lmdb_log_send(env);
            pthread_mutex_lock(&pipe->mutex);
            continue;
        }
        if (flight == NULL) {
            if (pipe->stop) {
                break;
            }
            pthread_cond_wait(&pipe->queued, &pipe->mutex);
            continue;
        }
        flight->state = FLIGHT_WRITING;
        pthread_mutex_unlock(&pipe->mutex);
        int result = redo_write(&env->log.redo, &flight->record, flight->offset, &flight->error);
        pthread_mutex_lock(&pipe->mutex);
        flight->result = result;
        flight->state = FLIGHT_WRITTEN;
        pthread_cond_signal(&pipe->written);
        flight->notify(flight->context); /* who is told is still there, as long as this lasts */
    }
    pthread_mutex_unlock(&pipe->mutex);
    return NULL;
}

void lmdb_pipe_init(struct lmdb_env *env)
{
    pthread_mutex_init(&env->pipe.mutex, NULL);
    pthread_cond_init(&env->pipe.queued, NULL);
    pthread_cond_init(&env->pipe.written, NULL);
}

static bool start_threads(struct lmdb_env *env)
{
    struct lmdb_pipe *pipe = &env->pipe;
    while (pipe->thread_count < LMDB_WRITERS) {
        if (pthread_create(&pipe->threads[pipe->thread_count], NULL, write_records, env) != 0) {
            break;
        }
        pipe->thread_count++;
    }
    return pipe->thread_count > 0;
}

bool lmdb_pipe_send(struct lmdb_env *env)
{
    struct lmdb_pipe *pipe = &env->pipe;
    if (pipe->thread_count == 0) {
        return false;
    }
    pthread_mutex_lock(&pipe->mutex);
    pipe->send = true;
    pthread_cond_signal(&pipe->queued);
    pthread_mutex_unlock(&pipe->mutex);
    return true;
}

void lmdb_pipe_close(struct lmdb_env *env)
{
    struct lmdb_pipe *pipe = &env->pipe;
    assert(pipe->count == 0 && !pipe->turn);
    pthread_mutex_lock(&pipe->mutex);
    pipe->stop = true;
    pthread_cond_broadcast(&pipe->queued);
    pthread_mutex_unlock(&pipe->mutex);
    for (unsigned i = 0; i < pipe->thread_count; i++) {
        pthread_join(pipe->threads[i], NULL);
    }
    for (unsigned i = 0; i < STORE_FLIGHTS_MAX; i++) {
        redo_record_free(&pipe->flights[i].record);
    }
    pthread_cond_destroy(&pipe->written);
    pthread_cond_destroy(&pipe->queued);
    pthread_mutex_destroy(&pipe->mutex);
}

/* ---- landing ---- */

static bool is_over(const struct lmdb_flight *flight)
{
    return flight->state == FLIGHT_LANDED || flight->state == FLIGHT_LOST;
}

static unsigned in_the_air(struct lmdb_pipe *pipe)
{
    unsigned count = 0;
    for (unsigned i = 0; i < pipe->count; i++) {
        count += !is_over(flight_at(pipe, i));
    }
    return count;
}

/* Whether one was lost, and its user was not told yet. */
static bool has_lost(struct lmdb_pipe *pipe)
{
    bool lost = false;
    for (unsigned i = 0; i < pipe->count; i++) {
        lost = lost || flight_at(pipe, i)->state == FLIGHT_LOST;
    }
    return lost;
}

static void wait_written(struct lmdb_pipe *pipe, struct lmdb_flight *flight)
{
    pthread_mutex_lock(&pipe->mutex);
    while (flight->state < FLIGHT_WRITTEN) {
        pthread_cond_wait(&pipe->written, &pipe->mutex);
    }
    pthread_mutex_unlock(&pipe->mutex);
}

/* Whether the round is still the one that what is in flight belongs to. */
static bool round_is_ours(const struct lmdb_env *env)
{
    return env->log.round != 0 && atomic_load(&env->wake.page->log_round) == env->log.round;
}

/* The edits of a record, in LMDB's transaction of `txn`. LMDB's result. */
static int make_edits(struct store_txn *txn, const struct redo_record *record)
{
    struct redo_edit edit;
    size_t at = 0;
    int result = 0;
    while (result == 0 && redo_record_edit(record, &at, &edit) == 1) {
        result = lmdb_edit(txn, &edit);
    }
    return result;
}

/* 0 with LMDB's write transaction of that number in txn->mdb. */
static int begin_number(struct store_txn *txn, uint64_t number, struct ls_error *error)
{
    struct lmdb_env *env = txn->store->env;
    int result = mdb_txn_begin(env->mdb, NULL, 0, &txn->mdb);
    if (result != 0) {
        txn->mdb = NULL;
        return lmdb_fail(error, result, env, "cannot begin to write");
    }
    if (!round_is_ours(env) || mdb_txn_id(txn->mdb) != number) {
        mdb_txn_abort(txn->mdb);
        txn->mdb = NULL;
        return error_set(error, LS_ERETRY, number, "another process wrote out of its turn");
    }
    return 0;
}

static int land(struct lmdb_env *env, struct lmdb_flight *flight)
{
    struct store_txn txn = {.store = env->pipe.store, .write = true};
    if (flight->result != 0) {
        return flight->result;
    }
    int code = begin_number(&txn, flight->number, &flight->error);
    if (code != 0) {
        return code;
    }
    int result = make_edits(&txn, &flight->record);
    if (result == 0) {
        lmdb_set_sync(env, false);
        result = mdb_txn_commit(txn.mdb);
    } else {
        mdb_txn_abort(txn.mdb);
    }
    if (result != 0) {
        return lmdb_fail(&flight->error, result, env, "cannot commit");
    }
    (void)lmdb_log_committed(env, true, flight->number, 0);
    atomic_fetch_add(&env->flushes, 1);
    wake_signal(&env->wake, flight->number);
    return 0;
}

/* Rule 2, from the i-th on. */
static void lose(struct lmdb_env *env, unsigned i)
{
    struct lmdb_pipe *pipe = &env->pipe;
    const struct lmdb_flight *first = flight_at(pipe, i);
    for (; i < pipe->count; i++) {
        struct lmdb_flight *flight = flight_at(pipe, i);
        wait_written(pipe, flight);
        flight->error = first->error;
        flight->state = FLIGHT_LOST;
    }
    MDB_txn *lock;
    bool locked = mdb_txn_begin(env->mdb, NULL, 0, &lock) == 0;
    if (round_is_ours(env)) {
        (void)lmdb_log_end(env, NULL); /* where that fails nobody writes any more */
    }
    if (locked) {
        mdb_txn_abort(lock);
    }
    lmdb_log_pause(env);
}

/* The oldest that is in the air. */
static void land_next(struct lmdb_env *env)
{
    struct lmdb_pipe *pipe = &env->pipe;
    for (unsigned i = 0; i < pipe->count; i++) {
        struct lmdb_flight *flight = flight_at(pipe, i);
        if (!is_over(flight)) {
            wait_written(pipe, flight);
            if (land(env, flight) == 0) {
                flight->state = FLIGHT_LANDED;
            } else {
                lose(env, i);
            }
            return;
        }
    }
}

static void land_all(struct lmdb_env *env)
{
    while (in_the_air(&env->pipe) > 0) {
        land_next(env);
    }
}

static void give_turn_if_done(struct lmdb_env *env)
{
    struct lmdb_pipe *pipe = &env->pipe;
    if (pipe->turn && !pipe->open && in_the_air(pipe) == 0) {
        pipe->turn = false;
        turn_give(&env->turn);
    }
}

int lmdb_finish(struct store *base, bool wait, struct ls_error *error)
{
    struct lmdb_env *env = ((struct lmdb_store *)base)->env;
    struct lmdb_pipe *pipe = &env->pipe;
    if (pipe->count == 0) {
        return 0;
    }
    struct lmdb_flight *oldest = flight_at(pipe, 0);
    pthread_mutex_lock(&pipe->mutex);
    bool written = oldest->state >= FLIGHT_WRITTEN;
    pthread_mutex_unlock(&pipe->mutex);
    if (!written && !wait) {
        return 0;
    }
    if (!is_over(oldest)) {
        land_next(env);
    }
    bool lost = oldest->state == FLIGHT_LOST;
    if (lost) {
        *error = oldest->error;
    }
    pthread_mutex_lock(&pipe->mutex);
    oldest->state = FLIGHT_NONE;
    pipe->first = (pipe->first + 1) % STORE_FLIGHTS_MAX;
    pipe->count--;
    pthread_mutex_unlock(&pipe->mutex);
    give_turn_if_done(env);
    return lost ? error->code : 1;
}

/* ---- taking off ---- */

/* Whether a transaction may go ahead of LMDB now; in the turn. */
static bool may_fly(const struct lmdb_store *store)
{
    const struct lmdb_env *env = store->env;
    const struct lmdb_pipe *pipe = &env->pipe;
    return store->sync && !env->private_ && env->turn.fd >= 0 && !env->refused &&
           round_is_ours(env) && atomic_load(&env->wake.page->log_failed) == 0 &&
           atomic_load(&env->log.runs) > 0 && pipe->count < STORE_FLIGHTS_MAX &&
           (pipe->count == 0 || pipe->store == store);
}

int lmdb_begin_ahead(struct lmdb_store *store, struct store_txn **out, struct ls_error *error)
{
    struct lmdb_env *env = store->env;
    struct lmdb_pipe *pipe = &env->pipe;
    assert(!pipe->open);
    struct store_txn *txn = calloc(1, sizeof *txn);
    if (txn == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    txn->store = store;
    txn->write = true;
    if (pipe->turn && now_ms() - pipe->turn_ms > TURN_MS_MAX) {
        land_all(env);
        give_turn_if_done(env);
    }
    if (!pipe->turn) {
        turn_take(&env->turn);
        pipe->turn = true;
        pipe->turn_ms = now_ms();
    }
    redo_record_reset(&env->log.record);
    if (may_fly(store) && start_threads(env) &&
        redo_record_reserve(&env->log.record, REDO_RECORD_SIZE_MAX) == 0) {
        txn->ahead = txn->logged = true;
        txn->number = env->log.last_commit + in_the_air(pipe) + 1;
        pipe->store = store;
        pipe->open = true;
        *out = txn;
        return 0;
    }
    land_all(env);
    if (has_lost(pipe)) {
        give_turn_if_done(env);
        free(txn);
        return error_set(error, LS_ERETRY, 0, "an earlier commit was lost");
    }
    pipe->turn = false; /* it is the transaction's */
    return lmdb_begin_in_turn(txn, out, error);
}

int lmdb_ground(struct store_txn *txn, struct ls_error *error)
{
    struct lmdb_env *env = txn->store->env;
    struct lmdb_pipe *pipe = &env->pipe;
    if (!txn->ahead) {
        return txn->lost ? error_set(error, LS_ERETRY, 0, "an earlier commit was lost") : 0;
    }
    assert(pipe->open && pipe->turn);
    land_all(env);
    pipe->open = false;
    pipe->turn = false; /* it is the transaction's */
    txn->ahead = false;
    txn->room_used = 0; /* more may be used by now */
    txn->changes = 0;   /* LMDB tells */
    int code = begin_number(txn, txn->number, error);
    if (code == 0) {
        lmdb_set_sync(env, false);
        int result = make_edits(txn, &env->log.record);
        code = result == 0 ? 0 : lmdb_fail(error, result, env, "cannot put");
    }
    txn->lost = code != 0;
    return code;
}

bool lmdb_is_pending(const struct store_txn *txn, uint8_t slot)
{
    struct lmdb_pipe *pipe = &txn->store->env->pipe;
    unsigned slots = txn->slots;
    for (unsigned i = 0; i < pipe->count; i++) {
        slots |= flight_at(pipe, i)->slots;
    }
    return (slots & 1u << slot) != 0;
}

/* Whether the round has room for one more record. */
static bool fits(const struct store_txn *txn, uint64_t pages)
{
    const struct lmdb_log *log = &txn->store->env->log;
    return log->redo.offset + redo_record_space(&log->record, 0) <= log->redo.capacity &&
           lmdb_log_has_pages(txn->store->env, pages);
}

int lmdb_submit(struct store_txn *txn, void (*notify)(void *context), void *context,
                struct ls_error *error)
{
    struct lmdb_env *env = txn->store->env;
    struct lmdb_pipe *pipe = &env->pipe;
    struct lmdb_log *log = &env->log;
    uint64_t pages = lmdb_log_pages(env, txn->changes);
    if (!txn->ahead || txn->edits == 0 || !fits(txn, pages)) {
        int code = lmdb_commit(txn, error);
        return code != 0 ? code : 1;
    }
    struct lmdb_flight *flight = flight_at(pipe, pipe->count);
    struct redo_record record = flight->record;
    redo_place(&log->redo, &log->record, &flight->offset);
    log->pages += pages;
    flight->record = log->record;
    log->record = record;
    flight->number = txn->number;
    flight->slots = txn->slots;
    flight->room_promised = txn->room_promised;
    flight->notify = notify;
    flight->context = context;
    pthread_mutex_lock(&pipe->mutex);
    flight->state = FLIGHT_QUEUED;
    pipe->count++;
    pthread_cond_signal(&pipe->queued);
    pthread_mutex_unlock(&pipe->mutex);
    pipe->open = false;
    lmdb_end_view(txn);
    free(txn);
    return 0;
}

void lmdb_abort_ahead(struct store_txn *txn)
{
    struct lmdb_env *env = txn->store->env;
    env->pipe.open = false;
    give_turn_if_done(env);
    lmdb_end_view(txn);
    free(txn);
}

uint64_t lmdb_promised_in_flight(struct lmdb_env *env)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < env->pipe.count; i++) {
        bytes += flight_at(&env->pipe, i)->room_promised;
    }
    return bytes;
}
