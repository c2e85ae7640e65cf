/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A load of numbered posts that must survive whatever happens to the server: each thread is a node
 * of its own and posts `once`. Says how far it is, a number a line, and at the end reads the whole
 * box and shows that every acknowledged post is there, once, in order, under the clock that it was
 * given.
 *
 *     load URL POSTS THREADS
 */
#include <lockstep.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEP 10000

static const char *url;
static size_t per_thread;
static _Atomic size_t acknowledged;

struct worker {
    pthread_t thread;
    unsigned number;
    uint64_t *clocks; /* of each post, in order */
    size_t seen;      /* when reading back */
};

static void fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, ls_last_error()->text);
    exit(1);
}

static ls *open_url(void)
{
    ls *handle;
    ls_options options = LS_OPTIONS_INIT;
    options.timeout_ms = 30000;
    if (ls_open(&handle, url, &options) < 0) {
        fail("open");
    }
    return handle;
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    ls *handle = open_url();
    char host[32], text[64];
    ls_post_options once = LS_POST_OPTIONS_INIT;
    once.once = true;
    snprintf(host, sizeof(host), "loader-%02u", worker->number);
    if (ls_node_join(handle, host, NULL, NULL) < 0) {
        fail("join");
    }
    for (size_t i = 0; i < per_thread; i++) {
        snprintf(text, sizeof(text), "%u %zu", worker->number, i);
        if (ls_post(handle, LS_USER, LS_NO_EVENT, ls_text(text), &once, &worker->clocks[i]) < 0) {
            fail("post");
        }
        size_t all = atomic_fetch_add(&acknowledged, 1) + 1;
        if (all % STEP == 0) {
            printf("%zu\n", all);
            fflush(stdout);
        }
    }
    if (ls_node_leave(handle, NULL) < 0) {
        fail("leave");
    }
    ls_close(handle);
    return NULL;
}

/* One message of the load against what its thread was told. */
static void compare(struct worker *workers, unsigned count, const ls_message *message)
{
    char *json;
    unsigned number;
    size_t i;
    if (message->from.size < 7 || memcmp(message->from.data, "loader-", 7) != 0) {
        return;
    }
    if (ls_cbor_to_json(message->object, &json) < 0) {
        fail("to JSON");
    }
    if (sscanf(json, "\"%u %zu\"", &number, &i) != 2 || number >= count) {
        fprintf(stderr, "load: unexpected message %s\n", json);
        exit(1);
    }
    ls_free(json);
    struct worker *worker = &workers[number];
    if (i != worker->seen || i >= per_thread || worker->clocks[i] != message->clock) {
        fprintf(stderr,
                "load: thread %u: at clock %" PRIu64
                " stands post %zu; expected post %zu at %" PRIu64 "\n",
                number, message->clock, i, worker->seen,
                worker->seen < per_thread ? worker->clocks[worker->seen] : 0);
        exit(1);
    }
    worker->seen++;
}

static size_t read_back(struct worker *workers, unsigned count)
{
    ls *handle = open_url();
    ls_filter filter = LS_FILTER_INIT;
    filter.types = "U";
    uint64_t from = LS_OLDEST;
    size_t found = 0;
    for (;;) {
        ls_messages *messages;
        if (ls_read(handle, from, &filter, 5000, 0, &messages) < 0) {
            fail("read");
        }
        size_t n = ls_messages_count(messages);
        for (size_t i = 0; i < n; i++) {
            const ls_message *message = ls_messages_get(messages, i);
            if (message->clock < from) {
                fprintf(stderr, "load: clock %" PRIu64 " is out of order\n", message->clock);
                exit(1);
            }
            from = message->clock + 1;
            compare(workers, count, message);
        }
        ls_messages_free(messages);
        if (n == 0) {
            break;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        found += workers[i].seen;
    }
    ls_close(handle);
    return found;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: load URL POSTS THREADS\n");
        return 2;
    }
    url = argv[1];
    unsigned count = (unsigned)strtoul(argv[3], NULL, 10);
    per_thread = strtoul(argv[2], NULL, 10) / count;
    struct worker *workers = calloc(count, sizeof(*workers));
    for (unsigned i = 0; i < count; i++) {
        workers[i].number = i;
        workers[i].clocks = calloc(per_thread, sizeof(uint64_t));
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) {
            perror("load");
            return 1;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        pthread_join(workers[i].thread, NULL);
    }
    size_t found = read_back(workers, count);
    printf("%zu posts acknowledged, %zu found, each once, in order, under its clock\n",
           atomic_load(&acknowledged), found);
    for (unsigned i = 0; i < count; i++) {
        free(workers[i].clocks);
    }
    free(workers);
    return found == atomic_load(&acknowledged) && found == per_thread * count ? 0 : 1;
}
