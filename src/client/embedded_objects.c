/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watching objects, embedded. A snapshot is read piece by piece in one read transaction, so it is
 * whole at one clock; what follows comes from the box, whose O messages tell of every change. A
 * snapshot that nobody reads on is given up, for its transaction keeps old pages of the store from
 * being used again; then, and when the box discarded what was to come next, the watch begins anew.
 */
#include "client/embedded.h"

#include <stdlib.h>

#include "codec/key.h"

#define SNAPSHOT_IDLE_MS 10000

enum phase {
    BEGIN,    /* the next step opens a snapshot */
    SNAPSHOT, /* `reading` is open, and in the handle's list, unless it was given up */
    COMPLETE, /* all of the snapshot was given */
    FOLLOW    /* `place` goes through the box */
};

struct object_watch {
    struct ls_object_watch base; /* first */
    enum phase phase;
    bool resync; /* to be told before the next snapshot */

    struct object_watch *next; /* in the handle's list of snapshots */
    struct reading reading;    /* guarded by snapshot_lock */
    uint64_t read_ms;          /* likewise: the last time a piece was read */
    uint64_t snapshot_clock;
    struct key after; /* the last key given, as the user knows it; empty: none yet */

    struct key prefix; /* the store's key */
    struct box_place place;
    struct ls_messages messages;
    struct ls_objects piece; /* value.data NULL: deleted */
    size_t given;
};

static struct object_watch *watch_of(struct ls_object_watch *base)
{
    return (struct object_watch *)base;
}

static ls_bytes user_prefix(const struct object_watch *watch)
{
    return bytes_of(watch->prefix.data + KEY_HEADER_SIZE,
                    (size_t)watch->prefix.size - KEY_HEADER_SIZE);
}

/* ---- the snapshot ---- */

/* Ends the snapshot's transaction; snapshot_lock is held. */
static void end_snapshot(struct embedded *e, struct object_watch *watch)
{
    struct object_watch **link = &e->snapshots;
    while (*link != NULL && *link != watch) {
        link = &(*link)->next;
    }
    if (*link == watch) {
        *link = watch->next;
        reading_end(&watch->reading);
    }
}

void embedded_drop_snapshots(struct embedded *e, uint64_t now_ms)
{
    pthread_mutex_lock(&e->snapshot_lock);
    for (struct object_watch *watch = e->snapshots, *next; watch != NULL; watch = next) {
        next = watch->next;
        if (now_ms > watch->read_ms && now_ms - watch->read_ms >= SNAPSHOT_IDLE_MS) {
            end_snapshot(e, watch);
        }
    }
    pthread_mutex_unlock(&e->snapshot_lock);
}

static int begin_snapshot(struct embedded *e, struct object_watch *watch, struct ls_error *error)
{
    struct box_state state;
    int result = reading_begin(&watch->reading, e->store, error);
    if (result != 0) {
        return result;
    }
    result = box_state_read(&watch->reading, &state, error);
    if (result != 0) {
        reading_end(&watch->reading);
        return result;
    }
    watch->snapshot_clock = state.clock;
    watch->after.size = 0;
    pthread_mutex_lock(&e->snapshot_lock);
    watch->read_ms = monotonic_ms();
    watch->next = e->snapshots;
    e->snapshots = watch;
    pthread_mutex_unlock(&e->snapshot_lock);
    return 0;
}

/* The next piece: 1, 0 where the snapshot is at its end, or negative. */
static int read_objects(struct object_watch *watch, struct ls_error *error)
{
    struct object_cursor cursor;
    int result =
        objects_open(&cursor, &watch->reading, user_prefix(watch), key_bytes(&watch->after), error);
    if (result != 0) {
        return result;
    }
    ls_bytes key;
    struct object object;
    result = 1;
    while (watch->piece.count < MESSAGES_COUNT_SOFT && watch->piece.arena.used < LIST_SIZE_SOFT &&
           (result = objects_next(&cursor, &key, &object, error)) > 0) {
        ls_object item = {.key = key,
                          .value = object.value,
                          .created = object.created,
                          .modified = object.modified};
        if (objects_add(&watch->piece, &item) != 0) {
            result = error_code(error, LS_ENOMEM);
            break;
        }
        watch->after.size = (uint16_t)key.size;
        memcpy(watch->after.data, key.data, key.size);
    }
    objects_end(&cursor);
    return result;
}

static int snapshot_step(struct embedded *e, struct object_watch *watch, struct ls_error *error)
{
    int result = 0;
    pthread_mutex_lock(&e->snapshot_lock);
    if (watch->reading.txn == NULL) {
        watch->phase = BEGIN;
        watch->resync = true;
    } else {
        result = read_objects(watch, error);
        watch->read_ms = monotonic_ms();
        if (result == 0) {
            end_snapshot(e, watch);
            watch->phase = COMPLETE;
        }
    }
    pthread_mutex_unlock(&e->snapshot_lock);
    return result < 0 ? result : 0;
}

/* ---- the changes ---- */

static int add_change(struct object_watch *watch, const ls_message *message, struct ls_error *error)
{
    struct change change;
    struct object object = {.modified = message->clock};
    int result = change_decode(&change, message->object, error);
    if (result == 0 && change.has_value) {
        result = object_decode(&object, change.value, error);
    }
    if (result != 0) {
        return result;
    }
    ls_object item = {.key = bytes_of((const uint8_t *)change.key.data + KEY_HEADER_SIZE,
                                      change.key.size - KEY_HEADER_SIZE),
                      .value = object.value,
                      .created = object.created,
                      .modified = object.modified};
    if (objects_add(&watch->piece, &item) != 0) {
        return error_code(error, LS_ENOMEM);
    }
    if (!change.has_value) {
        watch->piece.items[watch->piece.count - 1].value = bytes_of(NULL, 0);
    }
    return 0;
}

static int follow_step(struct embedded *e, struct object_watch *watch, int64_t timeout_ms,
                       struct ls_error *error)
{
    struct box_place before = watch->place;
    messages_clear(&watch->messages);
    int result = embedded_read_on(e, &watch->place, MESSAGES_COUNT_SOFT, timeout_ms,
                                  &watch->messages, error);
    if (result == LS_ECOMPACTED) {
        watch->phase = BEGIN;
        watch->resync = true;
        return 0;
    }
    if (result == 0 && watch->messages.count == 0) {
        return error_code(error, LS_ETIMEOUT);
    }
    for (size_t i = 0; result == 0 && i < watch->messages.count; i++) {
        result = add_change(watch, &watch->messages.items[i], error);
    }
    if (result != 0) {
        objects_clear(&watch->piece);
        watch->place = before;
    }
    return result;
}

/* ---- the watch ---- */

int embedded_object_watch_open(struct ls *handle, ls_bytes prefix, struct ls_object_watch **out,
                               struct ls_error *error)
{
    embedded_tend(embedded_of(handle));
    struct object_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    watch->base.handle = handle;
    key_first(&watch->prefix, KEY_OBJECT);
    if (prefix.size != 0) {
        memcpy(watch->prefix.data + watch->prefix.size, prefix.data, prefix.size);
        watch->prefix.size = (uint16_t)(watch->prefix.size + prefix.size);
    }
    watch->place.filter =
        (struct box_filter){.types = "O", .has_key = true, .prefix = key_bytes(&watch->prefix)};
    *out = &watch->base;
    return 0;
}

int embedded_object_watch_next(struct ls_object_watch *base, int64_t timeout_ms,
                               enum ls_object_event *event, ls_object *object,
                               struct ls_error *error)
{
    struct object_watch *watch = watch_of(base);
    struct embedded *e = embedded_of(base->handle);
    embedded_tend(e);
    while (watch->given == watch->piece.count) {
        objects_clear(&watch->piece);
        watch->given = 0;
        int result = 0;
        switch (watch->phase) {
        case BEGIN:
            result = begin_snapshot(e, watch, error);
            if (result == 0) {
                watch->phase = SNAPSHOT;
                if (watch->resync) {
                    watch->resync = false;
                    *event = LS_OBJECT_RESYNC;
                    *object = (ls_object){0};
                    return 0;
                }
            }
            break;
        case SNAPSHOT:
            result = snapshot_step(e, watch, error);
            break;
        case COMPLETE:
            watch->phase = FOLLOW;
            watch->place.next = watch->snapshot_clock + 1;
            *event = LS_OBJECT_SYNCED;
            *object = (ls_object){.modified = watch->snapshot_clock};
            return 0;
        case FOLLOW:
            result = follow_step(e, watch, timeout_ms, error);
            break;
        }
        if (result != 0 && watch->piece.count == 0) {
            return result;
        }
    }
    *object = watch->piece.items[watch->given++];
    *event = object->value.data == NULL ? LS_OBJECT_DELETED : LS_OBJECT_PUT;
    return 0;
}

void embedded_object_watch_close(struct ls_object_watch *base)
{
    struct object_watch *watch = watch_of(base);
    struct embedded *e = embedded_of(base->handle);
    pthread_mutex_lock(&e->snapshot_lock);
    end_snapshot(e, watch);
    pthread_mutex_unlock(&e->snapshot_lock);
    messages_release(&watch->messages);
    objects_release(&watch->piece);
    free(watch);
}
