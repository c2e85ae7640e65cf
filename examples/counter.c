/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A counter that threads, and other processes, increment at the same time: read, add, put only if
 * nobody was quicker, else again. No increment is lost.
 *
 *     counter [URL [THREADS [INCREMENTS]]]        default mem: 4 25
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lockstep.h>

#define THREADS_MAX 64

static const ls_bytes key = {"counter", 7};

struct worker {
    ls *handle; /* shared: any number of threads may use one */
    int increments;
    int result;
};

static int failed(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, ls_last_error()->text);
    return 1;
}

/* The value, and the clock of its last change: 0 where there is none yet. */
static int get(ls *handle, long *value, uint64_t *modified)
{
    ls_objects *objects;
    int result = ls_get(handle, key, &objects);
    *value = 0;
    *modified = 0;
    if (result == 0) {
        *value = strtol(ls_objects_get(objects, 0)->value.data, NULL, 10);
        *modified = ls_objects_get(objects, 0)->modified;
        ls_objects_free(objects);
    }
    return result == LS_ENOTFOUND ? 0 : result;
}

static int increment(ls *handle)
{
    ls_put_options options = LS_PUT_OPTIONS_INIT;
    options.only_if = true;
    for (;;) {
        long value;
        int result = get(handle, &value, &options.if_modified);
        if (result != 0) {
            return result;
        }
        char text[32];
        int size = snprintf(text, sizeof text, "%ld", value + 1);
        result = ls_put(handle, key, (ls_bytes){text, (size_t)size}, &options, NULL);
        if (result != LS_ECONFLICT) {
            return result;
        }
    }
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    for (int i = 0; i < worker->increments && worker->result == 0; i++) {
        worker->result = increment(worker->handle);
        if (worker->result != 0) {
            failed("increment");
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    const char *url = argc > 1 ? argv[1] : "mem:";
    int threads = argc > 2 ? atoi(argv[2]) : 4;
    int increments = argc > 3 ? atoi(argv[3]) : 25;
    if (threads < 1 || threads > THREADS_MAX) {
        fprintf(stderr, "1 to %d threads\n", THREADS_MAX);
        return 2;
    }
    ls *handle;
    if (ls_open(&handle, url, NULL) != 0) {
        return failed("open");
    }
    pthread_t ids[THREADS_MAX];
    struct worker workers[THREADS_MAX];
    int status = 0, started = 0;
    while (started < threads) {
        workers[started] = (struct worker){.handle = handle, .increments = increments};
        if (pthread_create(&ids[started], NULL, work, &workers[started]) != 0) {
            fprintf(stderr, "no thread\n");
            status = 1;
            break;
        }
        started++;
    }
    for (int i = 0; i < started; i++) {
        pthread_join(ids[i], NULL);
        status |= workers[i].result != 0;
    }
    long value;
    uint64_t modified;
    if (get(handle, &value, &modified) != 0) {
        status = failed("get");
    } else {
        printf("the counter is %ld\n", value);
    }
    ls_close(handle);
    return status;
}
