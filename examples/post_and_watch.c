/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Posts messages and watches them arrive, in the one order that every reader sees.
 *
 *     post_and_watch [URL]        default mem:
 */
#include <inttypes.h>
#include <stdio.h>

#include <lockstep.h>

static int failed(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, ls_last_error()->text);
    return 1;
}

/* Prints what the watch gives until it has given everything up to `last`. */
static int print_up_to(ls_watch *watch, uint64_t last)
{
    ls_message message = {0};
    while (message.clock < last) {
        if (ls_watch_next(watch, 5000, &message) != 0) {
            return failed("watch");
        }
        char *json;
        if (ls_cbor_to_json(message.object, &json) != 0) {
            return failed("decode");
        }
        printf("%" PRIu64 " %c%c %s\n", message.clock, message.type,
               message.event != LS_NO_EVENT ? message.event : '-', json);
        ls_free(json);
    }
    return 0;
}

int main(int argc, char **argv)
{
    ls *handle;
    if (ls_open(&handle, argc > 1 ? argv[1] : "mem:", NULL) != 0) {
        return failed("open");
    }

    /* A watch is a cursor: it begins at a clock and skips nothing, however slowly it is read. */
    int status = 1;
    ls_watch *watch = NULL;
    uint64_t last;
    if (ls_watch_open(handle, LS_AFTER_NEWEST, NULL, &watch, NULL) != 0) {
        status = failed("watch");
    } else if (ls_post(handle, LS_DATABASE, LS_CREATED, ls_json("{\"name\":\"shop\"}"), NULL,
                       NULL) != 0 ||
               ls_post(handle, LS_COLLECTION, LS_CREATED, ls_json("{\"name\":\"orders\"}"), NULL,
                       NULL) != 0 ||
               ls_post(handle, LS_USER, LS_NO_EVENT, ls_text("ready"), NULL, &last) != 0) {
        status = failed("post"); /* a post returns when it is durable */
    } else {
        status = print_up_to(watch, last);
    }
    ls_watch_close(watch);
    ls_close(handle);
    return status;
}
