/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches of objects: a snapshot read in one transaction of its own, piece by piece as the socket
 * drains, then the changes after it from the box. A snapshot pins pages of the store, so there are
 * few at a time, and one whose client takes nothing is given up and begun again. A watch that falls
 * behind what is kept begins again too; it says `resync` before that, so nothing is lost in
 * silence.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "codec/key.h"
#include "resp/writer.h"
#include "server/answer.h"
#include "server/encode.h"
#include "server/server.h"
#include "server/watch.h"

#define SNAPSHOTS_MAX    64
#define PIECE_SIZE       ((size_t)64 * 1024)
#define PIECE_LOOK_MAX   4096  /* messages looked at for one piece */
#define SNAPSHOT_WAIT_MS 10000 /* how long a client may take nothing of a snapshot */

enum phase {
    PHASE_FIRST,    /* before the first snapshot: OBJ.WATCH is not answered yet */
    PHASE_SNAPSHOT, /* `reading` and `objects` are open */
    PHASE_AGAIN,    /* before another snapshot, which `resync` announces */
    PHASE_CHANGES
};

struct object_watch {
    struct conn *conn;
    struct link waiting; /* for a snapshot */
    enum phase phase;
    struct key prefix; /* the store key */
    uint64_t next;     /* PHASE_CHANGES */
    uint64_t synced;   /* the snapshot's clock */
    uint64_t sent_ms;  /* when the last piece was handed over */
    struct reading reading;
    struct object_cursor objects;
    struct buf piece;
};

/* As many of those that wait for a place as there are free ones look again in the next turn. One
 * whose client takes nothing would not: it looks by itself once that has. */
static void wake_waiting(struct server *server)
{
    size_t places = SNAPSHOTS_MAX - server->snapshot_count;
    LIST_EACH(at, after, &server->snapshot_waits)
    {
        struct conn *conn = LINK_OWNER(at, struct object_watch, waiting)->conn;
        if (places == 0) {
            break;
        }
        if (conn->writing == NULL) {
            list_append(&server->dirty, &conn->dirty);
            places--;
        }
    }
}

static void end_snapshot(struct object_watch *watch)
{
    objects_end(&watch->objects);
    reading_end(&watch->reading);
    watch->conn->server->snapshot_count--;
    wake_waiting(watch->conn->server);
}

/* Opens the snapshot: 1, 0 where there are too many, or an error. */
static int begin_snapshot(struct object_watch *watch, struct ls_error *error)
{
    struct server *server = watch->conn->server;
    if (server->snapshot_count >= SNAPSHOTS_MAX) {
        list_append(&server->snapshot_waits, &watch->waiting);
        return 0;
    }
    list_remove(&watch->waiting);
    struct box_state box;
    int rc = reading_begin(&watch->reading, server->store, error);
    if (rc != 0) {
        return rc;
    }
    ls_bytes name = bytes_of(watch->prefix.data + KEY_HEADER_SIZE,
                             (size_t)watch->prefix.size - KEY_HEADER_SIZE);
    rc = box_state_read(&watch->reading, &box, error);
    if (rc == 0) {
        rc = objects_open(&watch->objects, &watch->reading, name, bytes_of(NULL, 0), error);
    }
    if (rc != 0) {
        reading_end(&watch->reading);
        return rc;
    }
    server->snapshot_count++;
    watch->phase = PHASE_SNAPSHOT;
    watch->synced = box.clock;
    watch->sent_ms = server_now_ms(server);
    return 1;
}

int object_watch_begin(struct conn *conn, ls_bytes prefix, struct ls_error *error)
{
    assert(conn->object_watch == NULL);
    struct object_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    watch->conn = conn;
    key_first(&watch->prefix, KEY_OBJECT);
    int rc = prefix.size == 0 ? 0 : key_object(&watch->prefix, prefix, error);
    if (rc == 0) {
        rc = begin_snapshot(watch, error);
    }
    if (rc < 0) {
        free(watch);
        return rc;
    }
    conn->object_watch = watch;
    conn->server->object_watch_count++;
    list_append(&conn->server->watchers, &conn->watching);
    list_append(&conn->server->dirty, &conn->dirty);
    if (rc > 0) {
        answer_clock(conn, watch->synced);
    } else {
        conn->pause |= PAUSE_READ;
    }
    return 0;
}

void object_watch_end(struct conn *conn)
{
    struct object_watch *watch = conn->object_watch;
    if (watch == NULL) {
        return;
    }
    conn->object_watch = NULL;
    conn->server->object_watch_count--;
    bool waited = link_joined(&watch->waiting);
    list_remove(&watch->waiting);
    if (conn->box_watch == NULL) {
        list_remove(&conn->watching);
    }
    if (watch->phase == PHASE_SNAPSHOT) {
        end_snapshot(watch);
    } else if (waited) {
        wake_waiting(conn->server); /* the place that it may have been woken for */
    }
    buf_free(&watch->piece);
    free(watch);
}

size_t object_watch_memory(const struct object_watch *watch)
{
    return watch == NULL ? 0 : sizeof *watch + watch->piece.capacity;
}

/* Appends what the snapshot still has, up to a piece. */
static int gather_snapshot(struct object_watch *watch, struct ls_error *error)
{
    struct conn *conn = watch->conn;
    while (watch->piece.size < PIECE_SIZE) {
        ls_bytes key;
        struct object object;
        int rc = objects_next(&watch->objects, &key, &object, error);
        if (rc < 0) {
            return rc;
        }
        if (rc > 0) {
            rc = encode_object_push(&watch->piece, conn->proto, key, &object);
        } else {
            rc = resp_push(&watch->piece, conn->proto, 2);
            rc = rc != 0 ? rc : resp_bulk_text(&watch->piece, "synced");
            rc = rc != 0 ? rc : resp_clock(&watch->piece, conn->proto, watch->synced);
            end_snapshot(watch);
            watch->phase = PHASE_CHANGES;
            watch->next = watch->synced + 1;
        }
        if (rc != 0) {
            return error_code(error, rc);
        }
        if (watch->phase == PHASE_CHANGES) {
            return 0;
        }
    }
    return 0;
}

static int append_change(struct object_watch *watch, const struct message *message,
                         struct ls_error *error)
{
    struct change change;
    int rc = change_decode(&change, message->object, error);
    if (rc != 0) {
        return rc;
    }
    int proto = watch->conn->proto;
    ls_bytes key = bytes_of((const uint8_t *)change.key.data + KEY_HEADER_SIZE,
                            change.key.size - KEY_HEADER_SIZE);
    if (!change.has_value) {
        rc = encode_deleted_push(&watch->piece, proto, key, message->clock);
    } else {
        struct object object;
        rc = object_decode(&object, change.value, error);
        if (rc != 0) {
            return rc;
        }
        rc = encode_object_push(&watch->piece, proto, key, &object);
    }
    return rc == 0 ? 0 : error_code(error, rc);
}

/* Appends changes, up to a piece: 1 where there may be more, 0 at the end, or an error. */
static int gather_changes(struct object_watch *watch, struct ls_error *error)
{
    struct reads *reads = &watch->conn->server->reads;
    struct reading *reading = reads_get(reads, error);
    const struct box_state *box = reading == NULL ? NULL : reads_box(reads, error);
    if (box == NULL) {
        return error->code;
    }
    if (watch->next > box->newest) {
        return 0;
    }
    const struct box_filter filter = {
        .types = {LS_OBJECT}, .has_key = true, .prefix = key_bytes(&watch->prefix)};
    struct box_cursor cursor;
    int rc = box_open(&cursor, reading, watch->next, NULL, error);
    if (rc != 0) {
        return rc;
    }
    struct message message;
    for (int looked = 0; looked < PIECE_LOOK_MAX && watch->piece.size < PIECE_SIZE; looked++) {
        rc = box_next(&cursor, &message, error);
        if (rc > 0 && box_filter_match(&filter, &message)) {
            int failed = append_change(watch, &message, error);
            rc = failed != 0 ? failed : 1;
        }
        if (rc <= 0) {
            break;
        }
        watch->next = message.clock + 1;
    }
    box_end(&cursor);
    return rc;
}

/* One step of the watch's phases: 1 where there may be more to do, 0 where not, or an error. */
static int step(struct object_watch *watch, struct ls_error *error)
{
    struct conn *conn = watch->conn;
    enum phase phase = watch->phase;
    int rc;
    switch (phase) {
    case PHASE_SNAPSHOT:
        rc = gather_snapshot(watch, error);
        return rc < 0 ? rc : 1;
    case PHASE_CHANGES:
        rc = gather_changes(watch, error);
        if (rc == LS_ECOMPACTED) {
            watch->phase = PHASE_AGAIN;
            return 1;
        }
        return rc;
    case PHASE_FIRST:
    case PHASE_AGAIN:
        break;
    }
    rc = begin_snapshot(watch, error);
    if (rc <= 0) {
        return rc;
    }
    if (phase == PHASE_FIRST) {
        answer_clock(conn, watch->synced);
        conn_unpause(conn, PAUSE_READ);
        return 1;
    }
    rc = resp_push(&watch->piece, conn->proto, 2);
    rc = rc != 0 ? rc : resp_bulk_text(&watch->piece, "resync");
    rc = rc != 0 ? rc : resp_clock(&watch->piece, conn->proto, watch->synced);
    return rc != 0 ? error_code(error, rc) : 1;
}

bool object_watch_piece(struct conn *conn)
{
    struct object_watch *watch = conn->object_watch;
    struct ls_error error;
    int rc = step(watch, &error);
    if (rc < 0) {
        log_write(LOG_ERROR, "closed client %llu: its watch of objects cannot go on: %s",
                  (unsigned long long)conn->id, error.text);
        conn_close(conn);
        return false;
    }
    if (conn->out.size == 0 && watch->piece.size > 0) {
        watch->sent_ms = server_now_ms(conn->server);
        conn_send_bytes(conn, &watch->piece);
    }
    return rc > 0;
}

void object_watches_tick(struct server *server)
{
    LIST_EACH(at, after, &server->watchers)
    {
        struct conn *conn = LINK_OWNER(at, struct conn, watching);
        struct object_watch *watch = conn->object_watch;
        if (watch != NULL && watch->phase == PHASE_SNAPSHOT && conn->writing != NULL &&
            server_now_ms(server) - watch->sent_ms >= SNAPSHOT_WAIT_MS) {
            end_snapshot(watch);
            watch->phase = PHASE_AGAIN;
        }
    }
}
