/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is in the cluster: joins as a node, lists the members, and shows the changes of the registry
 * as they happen. Run it several times at once, under several names, on one directory or server.
 *
 *     members [URL [NAME [SECONDS]]]        default mem: node-1 0
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <lockstep.h>

static int failed(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, ls_last_error()->text);
    return 1;
}

static int list(ls *handle)
{
    static const char *const states[] = {"up", "leaving", "down"};
    ls_nodes *nodes;
    if (ls_node_list(handle, &nodes) != 0) {
        return failed("list");
    }
    for (size_t i = 0; i < ls_nodes_count(nodes); i++) {
        const ls_node *node = ls_nodes_get(nodes, i);
        printf("member %s is %s since %" PRIu64 "\n", (const char *)node->host.data,
               states[node->state], node->joined);
    }
    ls_nodes_free(nodes);
    return 0;
}

/* Prints each change of the registry; the waiting itself keeps this node alive. */
static int follow(ls_watch *watch, int64_t seconds)
{
    ls_message message;
    int result;
    while ((result = ls_watch_next(watch, seconds * 1000, &message)) == 0) {
        printf("change %" PRIu64 ": a node was %s\n", message.clock,
               message.event == LS_CREATED   ? "created"
               : message.event == LS_UPDATED ? "updated"
                                             : "deleted");
    }
    return result == LS_ETIMEOUT ? 0 : failed("watch");
}

int main(int argc, char **argv)
{
    const char *url = argc > 1 ? argv[1] : "mem:";
    const char *name = argc > 2 ? argv[2] : "node-1";
    int64_t seconds = argc > 3 ? atoi(argv[3]) : 0;

    ls *handle;
    if (ls_open(&handle, url, NULL) != 0) {
        return failed("open");
    }
    int status = 1;
    ls_watch *watch = NULL;
    ls_filter filter = LS_FILTER_INIT;
    filter.key = (ls_bytes){"N\x11", 2}; /* the store's keys of nodes begin so */
    ls_join_options options = LS_JOIN_OPTIONS_INIT;
    options.ttl_ms = 3000;
    options.meta = ls_json("{\"zone\":\"a\"}");

    if (ls_watch_open(handle, LS_AFTER_NEWEST, &filter, &watch, NULL) != 0) {
        status = failed("watch");
    } else if (ls_node_join(handle, name, &options, NULL) != 0) {
        status = failed("join");
    } else {
        status = list(handle);
        if (status == 0) {
            status = follow(watch, seconds);
        }
        if (ls_node_leave(handle, NULL) != 0) {
            status = failed("leave");
        }
        printf("%s has left\n", name);
    }
    ls_watch_close(watch);
    ls_close(handle);
    return status;
}
