/* SPDX-License-Identifier: Apache-2.0 */
/* Named shards, their executors, and what is kept for those; see shards.h for the rules. */
#include "server/shards.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "server/answer.h"
#include "server/server.h"

#define FRAME_SIZE 96 /* of a push but for its name, key and value, at most */

struct served_shard {
    struct link all;
    struct server *server;
    ls_shard *engine;
    uint64_t number;
    struct map executors; /* by number */
    struct map works;     /* by timestamp: what is open */
    size_t kept_bytes;
    size_t memory_max;
    size_t name_size;
    char name[];
};

struct executor {
    struct served_shard *shard;
    uint64_t number;
    struct conn *conn; /* who listens; NULL: nobody */
    struct link listens;
    struct link gone;
    struct link works;
    struct link kept;
    size_t kept_bytes;
};

/* A transaction that has an unanswered read or an open write. */
struct work {
    struct link link;
    struct executor *executor;
    uint64_t timestamp;
    size_t open; /* reads and writes that are, and one while the engine places them */
};

/* What an executor reads, while nobody listens. */
struct kept_read {
    struct link link;
    uint64_t timestamp;
    size_t key_size;
    size_t value_size;
    bool absent;
    char bytes[]; /* key, value */
};

static ls_bytes name_of(const struct served_shard *shard)
{
    return bytes_of(shard->name, shard->name_size);
}

static uint64_t number_of(const struct shards *shards, ls_bytes name)
{
    return hash64(name.data, name.size, shards->seed);
}

/* What the engine said when it refused. */
static int refuse(struct ls_error *error)
{
    *error = *ls_last_error();
    return error->code;
}

/* ---- executors and their open transactions ---- */

static struct executor *executor_get(struct served_shard *shard, uint64_t number)
{
    struct executor *executor = map_get(&shard->executors, number);
    if (executor != NULL) {
        return executor;
    }
    executor = calloc(1, sizeof *executor);
    if (executor == NULL || map_put(&shard->executors, number, executor) != 0) {
        free(executor);
        return NULL;
    }
    executor->shard = shard;
    executor->number = number;
    list_init(&executor->works);
    list_init(&executor->kept);
    return executor;
}

static void drop_kept(struct executor *executor)
{
    LIST_EACH(at, after, &executor->kept)
    {
        list_remove(at);
        free(LINK_OWNER(at, struct kept_read, link));
    }
    executor->shard->kept_bytes -= executor->kept_bytes;
    executor->kept_bytes = 0;
}

/* Forgets an executor that nothing is known of but its name. */
static void executor_settle(struct executor *executor)
{
    if (executor->conn == NULL && list_empty(&executor->works) && list_empty(&executor->kept) &&
        !link_joined(&executor->gone)) {
        map_remove(&executor->shard->executors, executor->number);
        free(executor);
    }
}

static struct work *work_new(struct executor *executor, uint64_t timestamp, size_t open)
{
    struct work *work = malloc(sizeof *work);
    if (work == NULL || map_put(&executor->shard->works, timestamp, work) != 0) {
        free(work);
        return NULL;
    }
    *work = (struct work){.executor = executor, .timestamp = timestamp, .open = open};
    list_append(&executor->works, &work->link);
    return work;
}

static void work_end(struct work *work)
{
    list_remove(&work->link);
    map_remove(&work->executor->shard->works, work->timestamp);
    free(work);
}

/* One read or write less of it is open. */
static void work_less(struct served_shard *shard, uint64_t timestamp)
{
    struct work *work = map_get(&shard->works, timestamp);
    if (work != NULL && --work->open == 0) {
        struct executor *executor = work->executor;
        work_end(work);
        executor_settle(executor);
    }
}

/* ---- messages out ---- */

static void push(struct conn *conn, const struct served_shard *shard, uint64_t timestamp,
                 ls_bytes key, const ls_bytes *value)
{
    answer_push(conn, 5);
    answer_text(conn, "shard-read");
    answer_bulk(conn, name_of(shard));
    answer_clock(conn, timestamp);
    answer_bulk(conn, key);
    if (value != NULL) {
        answer_bulk(conn, *value);
    } else {
        answer_null(conn);
    }
}

/* False where there is no room, or no memory. */
static bool keep(struct executor *executor, const ls_shard_message *message, size_t size)
{
    struct served_shard *shard = executor->shard;
    if (executor->kept_bytes + size > shard->server->config.output_max ||
        shard->kept_bytes + size > shard->memory_max) {
        return false;
    }
    bool absent = message->content != LS_SHARD_VALUE;
    size_t value_size = absent ? 0 : message->value.size;
    struct kept_read *kept = malloc(sizeof *kept + message->key.size + value_size);
    if (kept == NULL) {
        return false;
    }
    *kept = (struct kept_read){.timestamp = message->timestamp,
                               .key_size = message->key.size,
                               .value_size = value_size,
                               .absent = absent};
    memcpy(kept->bytes, message->key.data, message->key.size);
    if (value_size > 0) {
        memcpy(kept->bytes + message->key.size, message->value.data, value_size);
    }
    list_append(&executor->kept, &kept->link);
    executor->kept_bytes += size;
    shard->kept_bytes += size;
    return true;
}

/* Hands an executor what it reads: false where it has to be given up. */
static bool deliver(struct executor *executor, const ls_shard_message *message)
{
    struct conn *conn = executor->conn;
    const struct served_shard *shard = executor->shard;
    size_t size = FRAME_SIZE + shard->name_size + message->key.size + message->value.size;
    if (conn == NULL) {
        return keep(executor, message, size);
    }
    if (conn_waiting(conn) + size > shard->server->config.output_max) {
        return false;
    }
    push(conn, shard, message->timestamp, message->key,
         message->content == LS_SHARD_VALUE ? &message->value : NULL);
    return true;
}

static void on_message(void *context, const ls_shard_message *message)
{
    struct served_shard *shard = context;
    if (message->kind != LS_SHARD_READ) {
        return; /* the reply to the lock says it */
    }
    struct executor *executor = map_get(&shard->executors, message->to);
    assert(executor != NULL);
    if (!link_joined(&executor->gone) && !deliver(executor, message)) {
        log_write(LOG_WARNING,
                  "an executor of shard '%.*s' is given up: it does not take what it reads",
                  (int)shard->name_size, shard->name);
        list_append(&shard->server->shards.gone, &executor->gone);
    }
    work_less(shard, message->timestamp);
}

/* Releases what the executor has open. What others read then may make them gone as well. */
static void release_works(struct executor *executor)
{
    struct served_shard *shard = executor->shard;
    while (!list_empty(&executor->works)) {
        struct work *work = LINK_OWNER(executor->works.next, struct work, link);
        if (ls_shard_release(shard->engine, work->timestamp) == 0) {
            shard->server->shards.released++;
        }
        work_end(work);
    }
    drop_kept(executor);
}

/* Releases the executors that are gone, once no engine is at work. */
static void release_gone(struct shards *shards)
{
    if (shards->releasing) {
        return;
    }
    shards->releasing = true;
    while (!list_empty(&shards->gone)) {
        struct executor *executor = LINK_OWNER(shards->gone.next, struct executor, gone);
        struct conn *conn = executor->conn;
        if (conn != NULL) {
            conn->server->stats.output_closed++;
            conn_close(conn); /* its executors are gone then, and listen no more */
        } else {
            release_works(executor);
            list_remove(&executor->gone);
            executor_settle(executor);
        }
    }
    shards->releasing = false;
}

/* ---- listening ---- */

int shards_listen(struct served_shard *shard, struct conn *conn, ls_bytes name,
                  struct ls_error *error)
{
    struct executor *executor = executor_get(shard, number_of(&shard->server->shards, name));
    if (executor == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    if (executor->conn != NULL && executor->conn != conn) {
        return error_set(error, LS_EINUSE, 0,
                         "another connection listens as this executor: wait for its end");
    }
    executor->conn = conn;
    list_append(&conn->listens, &executor->listens);
    answer_ok(conn);
    LIST_EACH(at, after, &executor->kept)
    {
        const struct kept_read *kept = LINK_OWNER(at, struct kept_read, link);
        ls_bytes value = bytes_of(kept->bytes + kept->key_size, kept->value_size);
        push(conn, shard, kept->timestamp, bytes_of(kept->bytes, kept->key_size),
             kept->absent ? NULL : &value);
    }
    drop_kept(executor);
    return 0;
}

void shards_end_listening(struct conn *conn)
{
    struct shards *shards = &conn->server->shards;
    while (!list_empty(&conn->listens)) {
        struct executor *executor = LINK_OWNER(conn->listens.next, struct executor, listens);
        list_remove(&executor->listens);
        executor->conn = NULL;
        list_append(&shards->gone, &executor->gone);
    }
    release_gone(shards);
}

/* ---- messages in ---- */

static size_t count_marks(const ls_shard_lock *locks, size_t count)
{
    size_t marks = 0;
    for (size_t i = 0; i < count; i++) {
        marks += (size_t)__builtin_popcount(locks[i].kinds);
    }
    return marks;
}

int shards_acquire(struct served_shard *shard, uint64_t timestamp, ls_bytes worker, ls_bytes name,
                   const ls_shard_lock *locks, size_t count, struct ls_error *error)
{
    const struct shards *shards = &shard->server->shards;
    ls_shard_mark mark = LS_SHARD_MARK_INIT;
    struct executor *executor = executor_get(shard, number_of(shards, name));
    if (executor == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    /* What is remembered is acquired again, or refused: either way nothing new is open. */
    bool known =
        map_get(&shard->works, timestamp) != NULL ||
        (count > 0 && ls_shard_explain(shard->engine, timestamp, locks[0].key, &mark) == 0);
    struct work *work = known ? NULL : work_new(executor, timestamp, count_marks(locks, count) + 1);
    int rc = known || work != NULL ? 0 : error_code(error, LS_ENOMEM);
    if (rc == 0 && ls_shard_acquire(shard->engine, timestamp, number_of(shards, worker),
                                    executor->number, locks, count) != 0) {
        rc = refuse(error);
        if (work != NULL) {
            work_end(work);
            work = NULL;
        }
    }
    if (work != NULL) {
        work_less(shard, timestamp);
    } else {
        executor_settle(executor);
    }
    release_gone(&shard->server->shards);
    return rc;
}

int shards_read(struct served_shard *shard, uint64_t timestamp, ls_bytes key, bool actual,
                struct ls_error *error)
{
    if (ls_shard_read(shard->engine, timestamp, key, actual) != 0) {
        return refuse(error);
    }
    if (!actual) {
        work_less(shard, timestamp);
    }
    release_gone(&shard->server->shards);
    return 0;
}

int shards_write(struct served_shard *shard, uint64_t timestamp, ls_bytes key,
                 enum ls_shard_content content, ls_bytes value, struct ls_error *error)
{
    if (ls_shard_write(shard->engine, timestamp, key, content, value) != 0) {
        return refuse(error);
    }
    work_less(shard, timestamp);
    release_gone(&shard->server->shards);
    return 0;
}

int shards_seen(struct served_shard *shard, ls_bytes worker, uint64_t timestamp, bool writes,
                struct ls_error *error)
{
    uint64_t number = number_of(&shard->server->shards, worker);
    if (ls_shard_seen(shard->engine, number, timestamp, writes) != 0) {
        return refuse(error);
    }
    release_gone(&shard->server->shards);
    return 0;
}

int shards_anchor(struct served_shard *shard, const struct shard_anchor *anchor,
                  struct ls_error *error)
{
    uint64_t learner = number_of(&shard->server->shards, anchor->learner);
    if (ls_shard_anchor(shard->engine, anchor->chain, learner, anchor->height, anchor->anchor,
                        anchor->timestamp) != 0) {
        return refuse(error);
    }
    release_gone(&shard->server->shards);
    return 0;
}

int shards_release(struct served_shard *shard, uint64_t timestamp, struct ls_error *error)
{
    if (ls_shard_release(shard->engine, timestamp) != 0) {
        return refuse(error);
    }
    struct work *work = map_get(&shard->works, timestamp);
    if (work != NULL) {
        struct executor *executor = work->executor;
        work_end(work);
        executor_settle(executor);
    }
    release_gone(&shard->server->shards);
    return 0;
}

/* ---- shards ---- */

int shards_init(struct shards *shards, struct ls_error *error)
{
    *shards = (struct shards){0};
    list_init(&shards->all);
    list_init(&shards->gone);
    if (getrandom(&shards->seed, sizeof shards->seed, 0) != (ssize_t)sizeof shards->seed) {
        return error_set(error, LS_EIO, 0, "the system gives no randomness");
    }
    return 0;
}

void shards_free(struct shards *shards)
{
    while (shards->count > 0) {
        shards_drop(LINK_OWNER(shards->all.next, struct served_shard, all));
    }
}

struct served_shard *shards_find(struct shards *shards, ls_bytes name, struct ls_error *error)
{
    struct served_shard *shard = map_get(&shards->by_name, number_of(shards, name));
    if (shard == NULL || !bytes_equal(name_of(shard), name)) {
        error_set(error, LS_ENOTFOUND, 0, "there is no shard '%.*s': SHARD.CREATE makes one",
                  (int)(name.size < 64 ? name.size : 64), (const char *)name.data);
        return NULL;
    }
    return shard;
}

/* Opens the engine: 0 or an error. */
static int open_engine(struct served_shard *shard, const struct shard_parties *parties,
                       struct ls_error *error)
{
    const struct shards *shards = &shard->server->shards;
    ls_shard_options options = LS_SHARD_OPTIONS_INIT;
    uint64_t *workers = malloc(parties->worker_count * sizeof *workers);
    if (workers == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    for (size_t i = 0; i < parties->worker_count; i++) {
        workers[i] = number_of(shards, parties->workers[i]);
    }
    options.workers = workers;
    options.worker_count = parties->worker_count;
    options.learner = number_of(shards, parties->learner);
    options.out = on_message;
    options.context = shard;
    options.memory_max = shard->memory_max;
    options.seed = shards->seed;
    int rc = ls_shard_open(&shard->engine, &options) == 0 ? 0 : refuse(error);
    free(workers);
    return rc;
}

int shards_create(struct server *server, ls_bytes name, const struct shard_parties *parties,
                  struct ls_error *error)
{
    struct shards *shards = &server->shards;
    uint64_t number = number_of(shards, name);
    if (map_get(&shards->by_name, number) != NULL) {
        return error_set(error, LS_EINUSE, 0, "there is a shard of this name");
    }
    if (shards->count >= server->config.shards_max) {
        return error_set(error, LS_ENOSPACE, server->config.shards_max,
                         "there are %zu shards, which is shards-max: drop one", shards->count);
    }
    struct served_shard *shard = calloc(1, sizeof *shard + name.size);
    if (shard == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    shard->server = server;
    shard->number = number;
    shard->works.seed = shards->seed;
    shard->memory_max = server->config.shard_memory;
    shard->name_size = name.size;
    memcpy(shard->name, name.data, name.size);
    int rc = open_engine(shard, parties, error);
    if (rc == 0 && map_put(&shards->by_name, number, shard) != 0) {
        ls_shard_close(shard->engine);
        rc = error_code(error, LS_ENOMEM);
    }
    if (rc != 0) {
        free(shard);
        return rc;
    }
    list_append(&shards->all, &shard->all);
    shards->count++;
    return 0;
}

static void executor_free(struct executor *executor)
{
    drop_kept(executor);
    LIST_EACH(at, after, &executor->works)
    {
        free(LINK_OWNER(at, struct work, link));
    }
    list_remove(&executor->listens);
    list_remove(&executor->gone);
    free(executor);
}

void shards_drop(struct served_shard *shard)
{
    struct shards *shards = &shard->server->shards;
    for (size_t i = 0; i < shard->executors.capacity; i++) {
        if (shard->executors.slots[i].value != NULL) {
            executor_free(shard->executors.slots[i].value);
        }
    }
    map_free(&shard->executors);
    map_free(&shard->works);
    ls_shard_close(shard->engine);
    map_remove(&shards->by_name, shard->number);
    list_remove(&shard->all);
    shards->count--;
    free(shard);
}

const ls_shard *shards_engine(const struct served_shard *shard)
{
    return shard->engine;
}

size_t shards_kept(const struct served_shard *shard)
{
    return shard->kept_bytes;
}

void shards_sum(const struct shards *shards, ls_shard_info *sum, size_t *kept)
{
    *sum = (ls_shard_info)LS_SHARD_INFO_INIT;
    *kept = 0;
    LIST_EACH(at, after, &shards->all)
    {
        const struct served_shard *shard = LINK_OWNER(at, struct served_shard, all);
        ls_shard_info info = LS_SHARD_INFO_INIT;
        if (ls_shard_info_get(shard->engine, &info) == 0) {
            sum->keys += info.keys;
            sum->versions += info.versions;
            sum->open += info.open;
            sum->waiting += info.waiting;
            sum->anchors += info.anchors;
            sum->memory += info.memory;
        }
        *kept += shard->kept_bytes;
    }
}
