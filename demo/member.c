/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node of the demo: joins, owns its address and a lease, and writes down everything it sees of
 * the box, from the oldest message on, and what the relay hands it. Runs until SIGTERM; then it
 * leaves.
 *
 *     member URL HOST
 */
#include <lockstep.h>

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

static void fail(const char *what)
{
    fprintf(stderr, "member: %s: %s\n", what, ls_last_error()->text);
    exit(1);
}

static void print(const ls_message *message)
{
    char *json = NULL;
    if (ls_cbor_to_json(message->object, &json) < 0) {
        fail("to JSON");
    }
    if (message->type == 0) { /* relayed */
        printf("relay %" PRIu64 " from=%s %s\n", message->clock, (const char *)message->from.data,
               json);
    } else {
        printf("box %" PRIu64 " %c %c from=%s %s\n", message->clock, message->type,
               message->event == LS_NO_EVENT ? '-' : message->event,
               (const char *)message->from.data, json);
    }
    fflush(stdout);
    ls_free(json);
}

static void own(ls *handle, const char *kind, const char *host)
{
    char key[300], value[300];
    ls_put_options options = LS_PUT_OPTIONS_INIT;
    options.owned = true;
    snprintf(key, sizeof(key), "%s/%s", kind, host);
    snprintf(value, sizeof(value), "%s of %s", kind, host);
    if (ls_put(handle, (ls_bytes){key, strlen(key)}, (ls_bytes){value, strlen(value)}, &options,
               NULL) < 0) {
        fail("put");
    }
}

int main(int argc, char **argv)
{
    ls *handle;
    ls_watch *watch;
    ls_message message;
    ls_join_options join = LS_JOIN_OPTIONS_INIT;
    if (argc != 3) {
        fprintf(stderr, "usage: member URL HOST\n");
        return 2;
    }
    signal(SIGTERM, on_signal);
    join.ttl_ms = 1500;
    ls_options options = LS_OPTIONS_INIT;
    options.timeout_ms = 20000;
    if (ls_open(&handle, argv[1], &options) < 0) {
        fail("open");
    }
    if (ls_node_join(handle, argv[2], &join, NULL) < 0) {
        fail("join");
    }
    own(handle, "address", argv[2]);
    own(handle, "lease", argv[2]);
    if (ls_watch_open(handle, LS_OLDEST, NULL, &watch, NULL) < 0) {
        fail("watch");
    }
    while (!stop) {
        int rc = ls_watch_next(watch, 50, &message);
        if (rc == 0) {
            print(&message);
            continue;
        }
        if (rc != LS_ETIMEOUT) {
            fail("watch");
        }
        while ((rc = ls_relay_next(handle, 0, &message)) == 0) {
            print(&message);
        }
        if (rc != LS_ETIMEOUT) {
            fail("relay");
        }
    }
    ls_watch_close(watch);
    int rc = ls_node_leave(handle, NULL);
    ls_close(handle);
    return rc < 0;
}
