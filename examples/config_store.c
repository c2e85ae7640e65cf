/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration in objects: several settings change together or not at all, and a reader that keeps
 * a copy of them is told of every change, in order.
 *
 *     config_store [URL]        default mem:
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <lockstep.h>

static int failed(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, ls_last_error()->text);
    return 1;
}

static ls_bytes text(const char *string)
{
    return (ls_bytes){string, strlen(string)};
}

/* Moves the service to another address: both settings, only if nobody else changed the first. */
static int move(ls *handle, const char *address, const char *port)
{
    ls_objects *objects;
    uint64_t modified = 0; /* absent */
    int result = ls_get(handle, text("config/address"), &objects);
    if (result == 0) {
        modified = ls_objects_get(objects, 0)->modified;
        ls_objects_free(objects);
    } else if (result != LS_ENOTFOUND) {
        return failed("get");
    }

    ls_batch *batch;
    if (ls_batch_new(handle, &batch) != 0) {
        return failed("batch");
    }
    int status = 0;
    if (ls_batch_if(batch, text("config/address"), modified) != 0 ||
        ls_batch_put(batch, text("config/address"), text(address)) != 0 ||
        ls_batch_put(batch, text("config/port"), text(port)) != 0 ||
        ls_batch_commit(batch, NULL) != 0) {
        status = failed("move"); /* LS_ECONFLICT: somebody was quicker; read again and retry */
    }
    ls_batch_free(batch);
    return status;
}

/* Prints the next `count` events. */
static int follow(ls_object_watch *watch, int count)
{
    for (int i = 0; i < count; i++) {
        enum ls_object_event event;
        ls_object object;
        if (ls_object_watch_next(watch, 5000, &event, &object) != 0) {
            return failed("watch");
        }
        switch (event) {
        case LS_OBJECT_PUT:
            printf("%s = %s\n", (const char *)object.key.data, (const char *)object.value.data);
            break;
        case LS_OBJECT_DELETED:
            printf("%s is gone\n", (const char *)object.key.data);
            break;
        case LS_OBJECT_SYNCED:
            printf("that was all of it, as of %" PRIu64 "\n", object.modified);
            break;
        case LS_OBJECT_RESYNC:
            printf("forget everything: it comes anew\n");
            break;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    ls *handle;
    if (ls_open(&handle, argc > 1 ? argv[1] : "mem:", NULL) != 0) {
        return failed("open");
    }
    ls_object_watch *watch = NULL;
    int status = move(handle, "10.0.0.1", "7000");
    if (status == 0 && ls_object_watch_open(handle, text("config/"), &watch) != 0) {
        status = failed("watch");
    }
    if (status == 0) {
        status = follow(watch, 3);
    }
    if (status == 0) {
        status = move(handle, "10.0.0.2", "7001");
    }
    if (status == 0 && ls_del(handle, text("config/port"), NULL) != 0) {
        status = failed("del");
    }
    if (status == 0) {
        status = follow(watch, 3);
    }
    ls_object_watch_close(watch);
    ls_close(handle);
    return status;
}
