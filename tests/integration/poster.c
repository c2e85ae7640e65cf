/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An embedded process of the tests, over nothing but lockstep.h. It writes what happened to it to
 * stdout, a line each, with the time of the monotonic clock in nanoseconds, so that what it was
 * promised is known when it is killed.
 *
 *     poster URL post NAME COUNT PAUSE_US
 *         "post CLOCK NAME.N TIME" for each post that was answered, and "next FIRST 3 TIME" for
 *         clock values; COUNT 0: for ever
 *     poster URL watch FROM
 *         "seen CLOCK TEXT TIME" for each message; begins with "start"
 *     poster URL put KEY VALUE
 *         "put CLOCK"
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lockstep.h"

#define NEXT_EVERY 7
#define NEXT_COUNT 3

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int fail(const char *doing)
{
    fprintf(stderr, "poster: %s: %s: %s\n", doing, ls_errname(ls_last_error()->code),
            ls_last_error()->text);
    return 1;
}

static int post(ls *handle, const char *name, uint64_t count, useconds_t pause_us)
{
    for (uint64_t i = 0; count == 0 || i < count; i++) {
        char text[128];
        uint64_t clock;
        snprintf(text, sizeof text, "%s.%" PRIu64, name, i);
        if (ls_post(handle, LS_USER, LS_NO_EVENT, ls_text(text), NULL, &clock) != 0) {
            return fail("post");
        }
        printf("post %" PRIu64 " %s %" PRId64 "\n", clock, text, now_ns());
        if (i % NEXT_EVERY == 0) {
            if (ls_clock_next(handle, NEXT_COUNT, &clock) != 0) {
                return fail("next");
            }
            printf("next %" PRIu64 " %d %" PRId64 "\n", clock, NEXT_COUNT, now_ns());
        }
        if (pause_us > 0) {
            usleep(pause_us);
        }
    }
    return 0;
}

static int watch(ls *handle, uint64_t from)
{
    ls_watch *follow;
    uint64_t start;
    if (ls_watch_open(handle, from, NULL, &follow, &start) != 0) {
        return fail("watch");
    }
    printf("start %" PRIu64 "\n", start);
    for (;;) {
        ls_message message;
        char *json;
        if (ls_watch_next(follow, -1, &message) != 0 ||
            ls_cbor_to_json(message.object, &json) != 0) {
            ls_watch_close(follow);
            return fail("next message");
        }
        printf("seen %" PRIu64 " %s %" PRId64 "\n", message.clock, json, now_ns());
        ls_free(json);
    }
}

static int put(ls *handle, const char *key, const char *value)
{
    uint64_t clock;
    if (ls_put(handle, (ls_bytes){key, strlen(key)}, (ls_bytes){value, strlen(value)}, NULL,
               &clock) != 0) {
        return fail("put");
    }
    printf("put %" PRIu64 "\n", clock);
    return 0;
}

int main(int argc, char **argv)
{
    ls *handle;
    if (argc < 4) {
        fprintf(stderr, "usage: poster URL post|watch|put ...\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (ls_open(&handle, argv[1], NULL) != 0) {
        return fail("open");
    }
    int status = 2;
    if (strcmp(argv[2], "post") == 0 && argc == 6) {
        status = post(handle, argv[3], strtoull(argv[4], NULL, 10),
                      (useconds_t)strtoul(argv[5], NULL, 10));
    } else if (strcmp(argv[2], "watch") == 0 && argc == 4) {
        status = watch(handle, strtoull(argv[3], NULL, 10));
    } else if (strcmp(argv[2], "put") == 0 && argc == 5) {
        status = put(handle, argv[3], argv[4]);
    }
    ls_close(handle);
    return status;
}
