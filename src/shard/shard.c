/* SPDX-License-Identifier: Apache-2.0 */
/* A shard opened and closed, and the calls of executors: read, write, release. */
#include "lockstep_shard.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "shard/state.h"

int shard_refuse(int code, uint64_t number, const char *format, ...)
{
    struct ls_error error = {.code = code, .number = number};
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(error.text, sizeof error.text, format, arguments);
    va_end(arguments);
    error_remember(&error);
    return code;
}

int shard_no_memory(const struct ls_shard *shard)
{
    if (pool_failure(&shard->pool) == LS_ENOSPACE) {
        return shard_refuse(LS_ENOSPACE, shard->pool.limit,
                            "the shard holds the %llu bytes that it may",
                            (unsigned long long)shard->pool.limit);
    }
    return shard_refuse(LS_ENOMEM, 0, "%s", ls_strerror(LS_ENOMEM));
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = ((const struct worker *)a)->number;
    uint64_t y = ((const struct worker *)b)->number;
    return (x > y) - (x < y);
}

static int workers_set(struct ls_shard *shard, const ls_shard_options *options)
{
    shard->worker_count = options->worker_count;
    for (size_t i = 0; i < options->worker_count; i++) {
        shard->workers[i] = (struct worker){
            .number = options->workers[i],
            .writes = options->heard,
            .reads = options->heard,
        };
    }
    qsort(shard->workers, shard->worker_count, sizeof shard->workers[0], by_number);
    for (size_t i = 1; i < shard->worker_count; i++) {
        if (shard->workers[i - 1].number == shard->workers[i].number) {
            return shard_refuse(LS_EINVAL, 0, "worker %llu is named twice",
                                (unsigned long long)shard->workers[i].number);
        }
    }
    return 0;
}

static int tables_open(struct ls_shard *shard)
{
    if (table_open(&shard->keys, sizeof(struct cell), &shard->pool) != 0 ||
        table_open(&shard->transactions, sizeof(struct slot), &shard->pool) != 0 ||
        table_open(&shard->chains, sizeof(struct slot), &shard->pool) != 0) {
        return shard_no_memory(shard);
    }
    return 0;
}

int ls_shard_open(ls_shard **out, const ls_shard_options *given)
{
    ls_shard_options options = LS_SHARD_OPTIONS_INIT;
    if (given == NULL || given->size == 0 || given->size > sizeof options) {
        return shard_refuse(LS_EINVAL, 0, "options of no size that this version knows");
    }
    memcpy(&options, given, given->size);
    if (options.out == NULL || options.worker_count == 0 ||
        options.worker_count > LS_SHARD_WORKERS_MAX) {
        return shard_refuse(LS_EINVAL, 0, "a shard has 1 to %d workers and a callback",
                            LS_SHARD_WORKERS_MAX);
    }
    struct ls_shard *shard =
        calloc(1, sizeof *shard + options.worker_count * sizeof shard->workers[0]);
    if (shard == NULL) {
        return shard_refuse(LS_ENOMEM, 0, "%s", ls_strerror(LS_ENOMEM));
    }
    pool_open(&shard->pool, options.memory_max);
    shard->out = options.out;
    shard->context = options.context;
    shard->learner = options.learner;
    shard->stored = options.stored;
    shard->seed = options.seed;
    shard->dice = options.seed;
    shard->heard_all_writes = options.heard;
    shard->heard_all_reads = options.heard;
    shard->collected = options.heard;
    int rc = workers_set(shard, &options);
    if (rc == 0) {
        rc = tables_open(shard);
    }
    if (rc != 0) {
        ls_shard_close(shard);
        return rc;
    }
    *out = shard;
    return 0;
}

void ls_shard_close(ls_shard *shard)
{
    if (shard != NULL) {
        pool_close(&shard->pool);
        free(shard);
    }
}

/* ---- the calls of executors ---- */

/* The mark of a remembered transaction at a key; NULL, and why, where there is none. */
static struct mark *mark_at(struct ls_shard *shard, uint64_t timestamp, ls_bytes key)
{
    struct transaction *transaction = transaction_find(shard, timestamp);
    if (transaction == NULL) {
        (void)shard_refuse(LS_ENOLOCK, 0, "no transaction %llu is open",
                           (unsigned long long)timestamp);
        return NULL;
    }
    struct mark *mark = transaction_mark(shard, transaction, key);
    if (mark == NULL) {
        (void)shard_refuse(LS_ENOLOCK, 0, "transaction %llu did not declare this key",
                           (unsigned long long)timestamp);
    }
    return mark;
}

int ls_shard_read(ls_shard *shard, uint64_t timestamp, ls_bytes key, bool actual)
{
    struct mark *mark = mark_at(shard, timestamp, key);
    if (mark == NULL) {
        return LS_ENOLOCK;
    }
    if (mark->read == READ_NOT || mark->read == READ_DONE) {
        return shard_refuse(LS_ENOLOCK, 0,
                            mark->read == READ_NOT
                                ? "transaction %llu does not read this key"
                                : "transaction %llu is done with reading this key",
                            (unsigned long long)timestamp);
    }
    if (actual) {
        read_ask(shard, mark);
    } else {
        read_give_up(shard, mark);
    }
    return 0;
}

int ls_shard_write(ls_shard *shard, uint64_t timestamp, ls_bytes key, enum ls_shard_content content,
                   ls_bytes value)
{
    if (content != LS_SHARD_VALUE && content != LS_SHARD_ABSENT && content != LS_SHARD_NONE) {
        return shard_refuse(LS_EINVAL, 0, "a write is a value, absent, or none");
    }
    if (content == LS_SHARD_VALUE && value.size > LS_SHARD_VALUE_MAX) {
        return shard_refuse(LS_ETOOBIG, LS_SHARD_VALUE_MAX, "a value has at most %d bytes",
                            LS_SHARD_VALUE_MAX);
    }
    struct mark *mark = mark_at(shard, timestamp, key);
    if (mark == NULL) {
        return LS_ENOLOCK;
    }
    if (mark->write != WRITE_OPEN) {
        return shard_refuse(LS_ENOLOCK, 0,
                            mark->write == WRITE_NOT
                                ? "transaction %llu does not write this key"
                                : "transaction %llu is done with writing this key",
                            (unsigned long long)timestamp);
    }
    if (content == LS_SHARD_NONE) {
        if (mark->version->state == VERSION_WILL) {
            return shard_refuse(LS_EINVAL, 0, "transaction %llu said that it will write this key",
                                (unsigned long long)timestamp);
        }
        version_give_up(shard, mark);
    } else if (!version_write(shard, mark, content, value)) {
        return shard_no_memory(shard);
    }
    mark->write = WRITE_DONE;
    transaction_settle(shard, mark->of);
    return 0;
}

int ls_shard_release(ls_shard *shard, uint64_t timestamp)
{
    struct transaction *transaction = transaction_find(shard, timestamp);
    if (transaction == NULL) {
        return shard_refuse(LS_ENOLOCK, 0, "no transaction %llu is open",
                            (unsigned long long)timestamp);
    }
    if (transaction->open == 0) {
        return 0;
    }
    transaction->open++; /* keeps it until its last mark is done with */
    for (uint32_t i = 0; i < transaction->mark_count; i++) {
        struct mark *mark = &transaction->marks[i];
        if (mark->read != READ_NOT && mark->read != READ_DONE) {
            read_give_up(shard, mark);
        }
        if (mark->write == WRITE_OPEN) {
            version_give_up(shard, mark);
            mark->write = WRITE_DONE;
            transaction_settle(shard, transaction);
        }
    }
    transaction_settle(shard, transaction);
    return 0;
}
