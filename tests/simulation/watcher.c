/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watchers. Each sees the messages of the log one after another, or is told that it fell behind
 * when it really did; and at the end of the box the objects as it followed them are those there
 * are.
 */
#include <string.h>

#include "base/error.h"
#include "sim.h"

void watchers_open(struct sim *sim)
{
    for (size_t i = 0; i < WATCHERS; i++) {
        sim->watchers[i].next = 1;
    }
}

/* The objects as they are, by key. */
static void scan_objects(const struct sim *sim, struct reading *reading, uint64_t objects[KEYS])
{
    struct object_cursor cursor;
    struct object object;
    struct ls_error error;
    ls_bytes key;
    ls_bytes all = {NULL, 0};
    memset(objects, 0, KEYS * sizeof *objects);
    sim_check(sim, objects_open(&cursor, reading, all, all, &error), &error, "the objects");
    int rc;
    while ((rc = objects_next(&cursor, &key, &object, &error)) > 0) {
        objects[key_index(key)] = object.modified;
    }
    sim_check(sim, rc, &error, "the next object");
    objects_end(&cursor);
}

/* What a watcher is told that fell behind, and how it begins anew. */
static void fell_behind(struct sim *sim, struct watcher *watcher, struct reading *reading,
                        uint64_t oldest)
{
    struct box_state box;
    struct ls_error error;
    sim_check(sim, box_state_read(reading, &box, &error), &error, "the state of the box");
    if (watcher->next > box.discarded) {
        sim_fail(sim, "a watcher at %llu was told that it lost messages, discarded up to %llu",
                 (unsigned long long)watcher->next, (unsigned long long)box.discarded);
    }
    if (oldest != (box.count > 0 ? box.oldest : box.discarded + 1)) {
        sim_fail(sim, "a watcher was told of %llu as the oldest", (unsigned long long)oldest);
    }
    scan_objects(sim, reading, watcher->objects);
    watcher->next = box.newest + 1;
    watcher->index = sim->log_count;
    watcher->lost++;
}

static void see(struct sim *sim, struct watcher *watcher, const struct message *message)
{
    if (watcher->index == sim->log_count) {
        sim_fail(sim, "a watcher saw %llu, which is not committed",
                 (unsigned long long)message->clock);
    }
    const struct entry *entry = &sim->log[watcher->index++];
    if (entry->clock != message->clock || entry->check != message->check) {
        sim_fail(sim, "a watcher saw %llu instead of %llu", (unsigned long long)message->clock,
                 (unsigned long long)entry->clock);
    }
    if (entry->key >= 0) {
        watcher->objects[entry->key] = entry->present;
    }
    watcher->next = message->clock + 1;
}

static void at_the_end(struct sim *sim, const struct watcher *watcher, struct reading *reading)
{
    uint64_t objects[KEYS];
    if (watcher->index != sim->log_count) {
        sim_fail(sim, "a watcher is at the end and missed %llu",
                 (unsigned long long)sim->log[watcher->index].clock);
    }
    scan_objects(sim, reading, objects);
    for (int i = 0; i < KEYS; i++) {
        if (objects[i] != watcher->objects[i]) {
            sim_fail(sim, "key-%02d is of %llu, a watcher has it of %llu", i,
                     (unsigned long long)objects[i], (unsigned long long)watcher->objects[i]);
        }
    }
}

void watcher_read(struct sim *sim, struct watcher *watcher, uint64_t most)
{
    struct reading reading;
    struct box_cursor cursor;
    struct message message;
    struct ls_error error;
    sim_check(sim, reading_begin(&reading, sim->store, &error), &error, "reading");
    int rc = box_open(&cursor, &reading, watcher->next, NULL, &error);
    if (rc == LS_ECOMPACTED) {
        fell_behind(sim, watcher, &reading, error.number);
    } else {
        sim_check(sim, rc, &error, "the box");
        rc = 1;
        for (uint64_t i = 0; i < most && rc > 0; i++) {
            rc = box_next(&cursor, &message, &error);
            sim_check(sim, rc, &error, "the next message");
            if (rc > 0) {
                see(sim, watcher, &message);
            }
        }
        box_end(&cursor);
        if (rc == 0) {
            at_the_end(sim, watcher, &reading);
        }
    }
    reading_end(&reading);
}
