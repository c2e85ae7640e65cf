/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSG.READ: answered at once where it can be, else under way over several turns: because it waits
 * for a message that is not there yet, or because the box is long and matches are rare, and one
 * reader must not hold up the others.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "server/answer.h"
#include "server/encode.h"
#include "server/server.h"
#include "server/watch.h"

#define LOOK_MAX       20000 /* messages looked at in one go */
#define REPLY_SIZE_MAX ((size_t)16 * 1024 * 1024)

struct read_wait {
    struct link link;
    struct conn *conn;
    struct box_filter *filter;
    uint64_t next;
    uint64_t left;  /* messages it may still take */
    uint64_t found; /* messages in `items` */
    struct buf items;
    bool json;
    bool block;
    bool more;        /* it has not looked at all of the box */
    uv_timer_t timer; /* block with a limit */
    bool has_timer;
};

enum progress { READ_DONE, READ_MORE, READ_AT_END };

/* Looks at what comes next. Negative: an error. */
static int look(struct read_wait *wait, const struct box_filter *filter, struct ls_error *error)
{
    struct conn *conn = wait->conn;
    struct reading *reading = reads_get(&conn->server->reads, error);
    const struct box_state *box = reading == NULL ? NULL : reads_box(&conn->server->reads, error);
    struct box_cursor cursor;
    if (box == NULL) {
        return error->code;
    }
    if (wait->next > box->newest) {
        return READ_AT_END;
    }
    int rc = box_open(&cursor, reading, wait->next, NULL, error);
    if (rc != 0) {
        return rc;
    }
    enum progress progress = READ_MORE;
    for (int looked = 0; looked < LOOK_MAX && progress == READ_MORE; looked++) {
        struct message message;
        rc = box_next(&cursor, &message, error);
        if (rc <= 0) {
            progress = READ_AT_END;
            break;
        }
        wait->next = message.clock + 1;
        if (!box_filter_match(filter, &message)) {
            continue;
        }
        rc = encode_message(&wait->items, conn->proto, wait->json, false, &message);
        if (rc != 0) {
            error_code(error, rc);
            break;
        }
        wait->found++;
        wait->left--;
        if (wait->left == 0 || wait->items.size >= REPLY_SIZE_MAX) {
            progress = READ_DONE;
        }
    }
    box_end(&cursor);
    return rc < 0 ? rc : (int)progress;
}

/* The first look, where the turn has time left for that. */
static int look_first(struct read_wait *wait, const struct box_filter *filter,
                      struct ls_error *error)
{
    struct server *server = wait->conn->server;
    if (server->looked_ns >= TURN_LOOK_NS) {
        return READ_MORE;
    }
    uint64_t begin_ns = uv_hrtime();
    int rc = look(wait, filter, error);
    server->looked_ns += uv_hrtime() - begin_ns;
    return rc;
}

static void answer(struct read_wait *wait)
{
    answer_items(wait->conn, wait->found, &wait->items);
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void wait_free(struct read_wait *wait)
{
    wait->conn->read_wait = NULL;
    list_remove(&wait->link);
    free(wait->filter);
    buf_free(&wait->items);
    if (wait->has_timer) {
        uv_close((uv_handle_t *)&wait->timer, on_timer_closed);
    } else {
        free(wait);
    }
}

void read_end(struct conn *conn)
{
    if (conn->read_wait != NULL) {
        wait_free(conn->read_wait);
    }
}

size_t read_memory(const struct read_wait *wait)
{
    return wait == NULL ? 0 : sizeof *wait + wait->items.capacity + filter_memory(wait->filter);
}

static void finish(struct read_wait *wait)
{
    struct conn *conn = wait->conn;
    answer(wait);
    wait_free(wait);
    conn_unpause(conn, PAUSE_READ);
}

/* What is there already, it gets even now. */
static void on_timer(uv_timer_t *timer)
{
    struct read_wait *wait = timer->data;
    if (wait->more) {
        wait->block = false;
    } else {
        finish(wait);
    }
}

/* Keeps what does not end at once. */
static int keep(const struct read_wait *wait, const struct read_order *order,
                struct ls_error *error)
{
    struct conn *conn = wait->conn;
    struct read_wait *kept = malloc(sizeof *kept);
    struct box_filter *filter = filter_copy(&order->filter);
    if (kept == NULL || filter == NULL) {
        free(kept);
        free(filter);
        return error_code(error, LS_ENOMEM);
    }
    *kept = *wait;
    kept->filter = filter;
    if (order->block && order->block_ms > 0) {
        uv_timer_init(&conn->server->loop, &kept->timer);
        kept->timer.data = kept;
        kept->has_timer = true;
        uv_timer_start(&kept->timer, on_timer, order->block_ms, 0);
    }
    conn->read_wait = kept;
    conn->server->reads_more |= kept->more;
    conn->pause |= PAUSE_READ;
    list_append(&conn->server->read_waits, &kept->link);
    return 0;
}

int read_begin(struct conn *conn, const struct read_order *order, struct ls_error *error)
{
    struct read_wait wait = {.conn = conn,
                             .next = order->from,
                             .left = order->count,
                             .json = order->json,
                             .block = order->block};
    if (order->count == 0) {
        answer(&wait);
        return 0;
    }
    int rc = look_first(&wait, &order->filter, error);
    wait.more = rc == READ_MORE;
    bool waits = rc == READ_MORE || (rc == READ_AT_END && wait.found == 0 && wait.block);
    if (waits) {
        rc = keep(&wait, order, error);
        if (rc == 0) {
            return 0;
        }
    }
    if (rc >= 0) {
        answer(&wait);
        rc = 0;
    }
    buf_free(&wait.items);
    return rc;
}

/* One more look; ends the wait where that was the last. */
static void go_on(struct read_wait *wait)
{
    struct ls_error error;
    int rc = look(wait, wait->filter, &error);
    wait->more = rc == READ_MORE;
    if (rc < 0 && wait->found == 0) {
        struct conn *conn = wait->conn;
        answer_error(conn, &error);
        wait_free(wait);
        conn_unpause(conn, PAUSE_READ);
    } else if (rc != READ_MORE && (rc != READ_AT_END || wait->found > 0 || !wait->block)) {
        finish(wait);
    }
}

/* Those that had their look go behind those for which there was no time. */
bool reads_go_on(struct server *server, bool changed)
{
    struct link looked;
    list_init(&looked);
    bool more = false;
    uint64_t end_ns = uv_hrtime() + TURN_LOOK_NS;
    LIST_EACH(at, after, &server->read_waits)
    {
        struct read_wait *wait = LINK_OWNER(at, struct read_wait, link);
        wait->more = wait->more || changed;
        if (wait->more && uv_hrtime() < end_ns) {
            list_remove(at);
            list_append(&looked, at);
            go_on(wait);
        } else {
            more = more || wait->more;
        }
    }
    while (!list_empty(&looked)) {
        struct link *at = looked.next;
        more = more || LINK_OWNER(at, struct read_wait, link)->more;
        list_remove(at);
        list_append(&server->read_waits, at);
    }
    return more;
}

void reads_tick(struct server *server)
{
    LIST_EACH(at, after, &server->read_waits)
    {
        struct conn *conn = LINK_OWNER(at, struct read_wait, link)->conn;
        if (conn_is_left(conn)) {
            conn_close(conn);
        }
    }
}

void reads_refuse(struct server *server, const struct ls_error *error)
{
    LIST_EACH(at, after, &server->read_waits)
    {
        struct read_wait *wait = LINK_OWNER(at, struct read_wait, link);
        struct conn *conn = wait->conn;
        answer_error(conn, error);
        wait_free(wait);
        conn_unpause(conn, PAUSE_READ);
    }
}
