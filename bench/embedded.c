/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Embedded posts against the disk itself: threads post through liblockstep for a while; then as
 * many bytes are written to a plain file, in as many writes as there were commits, each followed by
 * fdatasync; and so in turns, since a disk is not as fast at one time as at another. Prints one
 * line of JSON.
 *
 *     embedded DIR THREADS SECONDS PAYLOAD-SIZE
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lockstep.h"
#include "store/store.h"

#define TURNS 6

struct shared {
    ls *handle;
    char *payload;
    size_t payload_size;
    atomic_bool stop;
    _Atomic uint64_t posts;
};

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void fail(const char *what)
{
    fprintf(stderr, "embedded: %s: %s\n", what, ls_last_error()->text);
    exit(1);
}

static void *post(void *argument)
{
    struct shared *shared = argument;
    ls_payload payload = {LS_TEXT, {shared->payload, shared->payload_size}};
    uint64_t posts = 0;
    while (!atomic_load_explicit(&shared->stop, memory_order_relaxed)) {
        if (ls_post(shared->handle, LS_USER, LS_NO_EVENT, payload, NULL, NULL) < 0) {
            fail("post");
        }
        posts++;
    }
    atomic_fetch_add(&shared->posts, posts);
    return NULL;
}

static uint64_t commits(const char *dir)
{
    struct store *store;
    struct store_stat stat;
    struct ls_error error;
    struct store_options options = {.sync = true};
    if (store_open(&store, dir, &options, &error) < 0 ||
        store->driver->stat(store, &stat, &error) < 0) {
        fprintf(stderr, "embedded: %s\n", error.text);
        exit(1);
    }
    store_close(store);
    return stat.commits;
}

static double post_for(struct shared *shared, unsigned threads, double seconds)
{
    pthread_t *ids = calloc(threads, sizeof(*ids));
    atomic_store(&shared->stop, false);
    atomic_store(&shared->posts, 0);
    double start = now_s();
    for (unsigned i = 0; i < threads; i++) {
        pthread_create(&ids[i], NULL, post, shared);
    }
    struct timespec pause = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&pause, NULL);
    atomic_store(&shared->stop, true);
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
    }
    free(ids);
    return now_s() - start;
}

/* Seconds for so many writes at the file's end. */
static double write_raw(int fd, size_t size, uint64_t times)
{
    char *bytes = calloc(1, size);
    double start = now_s();
    for (uint64_t i = 0; i < times; i++) {
        if (bytes == NULL || write(fd, bytes, size) != (ssize_t)size || fdatasync(fd) != 0) {
            perror("embedded: the plain file");
            exit(1);
        }
    }
    double took = now_s() - start;
    free(bytes);
    return took;
}

struct sums {
    uint64_t posts;
    uint64_t batches;
    double took;
    double raw_took;
};

static void take_turns(struct shared *shared, const char *dir, unsigned threads, double seconds,
                       int raw, struct sums *sums)
{
    ls_box_info before, after;
    ls_box_info_get(shared->handle, &before);
    uint64_t commits_before = commits(dir);
    sums->took += post_for(shared, threads, seconds);
    uint64_t batches = commits(dir) - commits_before;
    ls_box_info_get(shared->handle, &after);
    sums->posts += atomic_load(&shared->posts);
    sums->batches += batches;
    sums->raw_took += write_raw(raw, (size_t)((after.bytes - before.bytes) / batches), batches);
}

int main(int argc, char **argv)
{
    struct shared shared = {0};
    struct sums sums = {0};
    char path[4096];
    if (argc != 5) {
        fprintf(stderr, "usage: embedded DIR THREADS SECONDS PAYLOAD-SIZE\n");
        return 2;
    }
    unsigned threads = (unsigned)atoi(argv[2]);
    double seconds = atof(argv[3]);
    shared.payload_size = (size_t)atol(argv[4]);
    shared.payload = malloc(shared.payload_size);
    memset(shared.payload, 'x', shared.payload_size);
    if (ls_open(&shared.handle, argv[1], NULL) < 0) {
        fail("open");
    }
    snprintf(path, sizeof path, "%s/raw", argv[1]);
    int raw = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    if (raw < 0) {
        perror(path);
        return 1;
    }
    post_for(&shared, threads, seconds / 4); /* warm */
    for (int turn = 0; turn < TURNS; turn++) {
        take_turns(&shared, argv[1], threads, seconds / TURNS, raw, &sums);
    }
    close(raw);
    unlink(path);
    printf("{\"posts\":%llu,\"batches\":%llu,\"posts_per_second\":%.0f,"
           "\"raw_posts_per_second\":%.0f,\"ratio\":%.3f}\n",
           (unsigned long long)sums.posts, (unsigned long long)sums.batches,
           (double)sums.posts / sums.took, (double)sums.posts / sums.raw_took,
           sums.raw_took / sums.took);
    ls_close(shared.handle);
    free(shared.payload);
    return 0;
}
