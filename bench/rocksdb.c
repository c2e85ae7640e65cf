/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rocksdb DIRECTORY-IN-MEMORY WORK [--threads N] ...: the work of shard.c on RocksDB's pessimistic
 * TransactionDB, without a write-ahead log. Each transaction locks and reads two keys (get for
 * update), writes both and commits.
 */
#include <inttypes.h>
#include <pthread.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "work.h"

struct bench {
    rocksdb_transactiondb_t *db;
    const struct work *work;
    uint64_t first;
    uint64_t count;
};

static void must(char *error)
{
    if (error != NULL) {
        fprintf(stderr, "rocksdb: %s\n", error);
        exit(1);
    }
}

static rocksdb_writeoptions_t *write_options(void)
{
    rocksdb_writeoptions_t *options = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(options, 1);
    return options;
}

static void fill(rocksdb_transactiondb_t *db, uint64_t keys)
{
    rocksdb_writeoptions_t *options = write_options();
    for (uint64_t key = 0; key < keys; key++) {
        char *error = NULL;
        rocksdb_transactiondb_put(db, options, (const char *)&key, 8, (const char *)&key, 8,
                                  &error);
        must(error);
    }
    rocksdb_writeoptions_destroy(options);
}

/* Keys are locked in their order, so that no two threads wait for each other for ever. */
static void transact(rocksdb_transaction_t *transaction, const rocksdb_readoptions_t *reading,
                     const uint64_t *keys, uint64_t value)
{
    bool swapped = keys[0] > keys[1];
    for (int i = 0; i < 2; i++) {
        const char *key = (const char *)&keys[swapped ? 1 - i : i];
        char *error = NULL;
        size_t size = 0;
        char *found =
            rocksdb_transaction_get_for_update(transaction, reading, key, 8, &size, 1, &error);
        must(error);
        free(found);
        rocksdb_transaction_put(transaction, key, 8, (const char *)&value, 8, &error);
        must(error);
    }
    char *error = NULL;
    rocksdb_transaction_commit(transaction, &error);
    must(error);
}

static void *run(void *context)
{
    struct bench *bench = context;
    rocksdb_writeoptions_t *writing = write_options();
    rocksdb_readoptions_t *reading = rocksdb_readoptions_create();
    rocksdb_transaction_options_t *options = rocksdb_transaction_options_create();
    rocksdb_transaction_options_set_lock_timeout(options, 10000);
    rocksdb_transaction_t *transaction = NULL;
    for (uint64_t i = bench->first; i < bench->first + bench->count; i++) {
        transaction = rocksdb_transaction_begin(bench->db, writing, options, transaction);
        transact(transaction, reading, work_keys(bench->work, i), i);
    }
    if (transaction != NULL) {
        rocksdb_transaction_destroy(transaction);
    }
    rocksdb_transaction_options_destroy(options);
    rocksdb_readoptions_destroy(reading);
    rocksdb_writeoptions_destroy(writing);
    return NULL;
}

static double run_threads(rocksdb_transactiondb_t *db, const struct work *work)
{
    pthread_t *threads = calloc(work->threads, sizeof *threads);
    struct bench *benches = calloc(work->threads, sizeof *benches);
    if (threads == NULL || benches == NULL) {
        must("out of memory");
    }
    uint64_t share = work->transactions / work->threads;
    double begun = work_now();
    for (uint64_t t = 0; t < work->threads; t++) {
        benches[t] = (struct bench){db, work, t * share, share};
        if (pthread_create(&threads[t], NULL, run, &benches[t]) != 0) {
            must("no thread");
        }
    }
    for (uint64_t t = 0; t < work->threads; t++) {
        pthread_join(threads[t], NULL);
    }
    double seconds = work_now() - begun;
    free(threads);
    free(benches);
    return (double)(share * work->threads) / seconds;
}

int main(int argc, char **argv)
{
    struct work work;
    if (argc < 3 || !work_parse(&work, argc - 1, argv + 1)) {
        return 2;
    }
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_set_compression(options, rocksdb_no_compression);
    /* No flush and no compaction gets in between: all stays in the memtable. */
    rocksdb_options_set_write_buffer_size(options, (size_t)4 << 30);
    rocksdb_transactiondb_options_t *transactions = rocksdb_transactiondb_options_create();
    char *error = NULL;
    rocksdb_transactiondb_t *db =
        rocksdb_transactiondb_open(options, transactions, argv[1], &error);
    must(error);
    fill(db, work.keys);
    printf("{\"per_second\": %.0f}\n", run_threads(db, &work));
    rocksdb_transactiondb_close(db);
    rocksdb_transactiondb_options_destroy(transactions);
    rocksdb_options_destroy(options);
    work_free(&work);
    return 0;
}
