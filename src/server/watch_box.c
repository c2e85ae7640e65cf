/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches of the box, and the turn that the watches of one connection take. A box watch is its next
 * clock and a filter; what it sends are runs of shared blocks, held only while the socket takes
 * them.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "server/answer.h"
#include "server/frames.h"
#include "server/server.h"
#include "server/watch.h"

#define RUNS_MAX    64
#define BLOCKS_LOOK 4 /* blocks without a match looked at in one go */
#define PIECES_TURN 4 /* pieces sent in one go before others have their turn */

struct box_watch {
    struct link link;
    uint64_t next;
    bool json;
    struct box_filter *filter;
};

size_t filter_memory(const struct box_filter *filter)
{
    return sizeof *filter + (filter->has_for ? filter->host.size : 0) +
           (filter->has_key ? filter->prefix.size : 0);
}

struct box_filter *filter_copy(const struct box_filter *filter)
{
    size_t host = filter->has_for ? filter->host.size : 0;
    size_t prefix = filter->has_key ? filter->prefix.size : 0;
    struct box_filter *copy = malloc(filter_memory(filter));
    if (copy == NULL) {
        return NULL;
    }
    *copy = *filter;
    char *text = (char *)(copy + 1);
    if (host > 0) {
        memcpy(text, filter->host.data, host);
        copy->host = bytes_of(text, host);
    }
    if (prefix > 0) {
        memcpy(text + host, filter->prefix.data, prefix);
        copy->prefix = bytes_of(text + host, prefix);
    }
    return copy;
}

int box_watch_begin(struct conn *conn, uint64_t next, const struct box_filter *filter, bool json)
{
    assert(conn->box_watch == NULL);
    struct box_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL) {
        return LS_ENOMEM;
    }
    watch->filter = filter_copy(filter);
    if (watch->filter == NULL) {
        free(watch);
        return LS_ENOMEM;
    }
    watch->next = next;
    watch->json = json;
    conn->box_watch = watch;
    list_append(&conn->server->watchers, &conn->watching);
    conn->server->box_watch_count++;
    list_append(&conn->server->dirty, &conn->dirty);
    return 0;
}

void box_watch_end(struct conn *conn)
{
    struct box_watch *watch = conn->box_watch;
    if (watch == NULL) {
        return;
    }
    conn->box_watch = NULL;
    conn->server->box_watch_count--;
    if (conn->object_watch == NULL) {
        list_remove(&conn->watching);
    }
    free(watch->filter);
    free(watch);
}

size_t box_watch_memory(const struct box_watch *watch)
{
    return watch == NULL ? 0 : sizeof *watch + filter_memory(watch->filter);
}

/* The watch cannot go on: says so where the history is gone, else closes the connection. */
static void fail(struct conn *conn, const struct ls_error *error)
{
    if (error->code == LS_ECOMPACTED) {
        answer_push(conn, 3);
        answer_text(conn, "lost");
        answer_clock(conn, conn->box_watch->next);
        answer_clock(conn, error->number);
        box_watch_end(conn);
        return;
    }
    log_write(LOG_ERROR, "closed client %llu: its watch cannot go on: %s",
              (unsigned long long)conn->id, error->text);
    conn_close(conn);
}

bool box_watch_piece(struct conn *conn)
{
    struct server *server = conn->server;
    struct box_watch *watch = conn->box_watch;
    struct frames *frames = &server->frames[frames_variant(conn->proto, watch->json)];
    for (int i = 0; i < BLOCKS_LOOK; i++) {
        struct frames_block *block;
        struct ls_error error;
        int rc = frames_find(frames, &server->reads, watch->next, &block, &error);
        if (rc <= 0) {
            if (rc < 0) {
                fail(conn, &error);
            }
            return rc < 0;
        }
        uv_buf_t runs[RUNS_MAX];
        unsigned count = frames_gather(block, watch->filter, &watch->next, runs, RUNS_MAX,
                                       &server->stats.delivered);
        if (count > 0) {
            frames_retain(block);
            conn_send(conn, runs, count, block);
            return true;
        }
    }
    return true;
}

/* Whether replies, or what a watch said through them, are gone from the connection. */
static bool drained(struct conn *conn)
{
    if (!conn->closed && conn->writing == NULL && conn->out.size > 0) {
        conn_send_bytes(conn, &conn->out);
    }
    return !conn->closed && conn->writing == NULL;
}

void watch_read_on(struct conn *conn)
{
    for (int i = 0; i < PIECES_TURN; i++) {
        bool more = false;
        conn->turn = !conn->turn;
        if (conn->turn && conn->object_watch != NULL) {
            more = object_watch_piece(conn);
        } else if (conn->box_watch != NULL) {
            more = box_watch_piece(conn);
        }
        if (!drained(conn)) {
            return;
        }
        if (!more && conn->turn && conn->box_watch != NULL) {
            more = box_watch_piece(conn);
        } else if (!more && !conn->turn && conn->object_watch != NULL) {
            more = object_watch_piece(conn);
        }
        if (!drained(conn) || !more) {
            return;
        }
    }
    list_append(&conn->server->dirty, &conn->dirty);
}

void watch_end_all(struct conn *conn)
{
    box_watch_end(conn);
    object_watch_end(conn);
    read_end(conn);
}
