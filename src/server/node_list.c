/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NODE.LIST: answered at once where few records are to be looked at, else under way over several
 * turns, from a snapshot of its own, so that one long list holds up nobody. Lists under way take
 * their turn one after the other: a snapshot pins pages of the store, and this way there is one of
 * them at most, and the memory of one reply, however many ask.
 */
#include "server/node_list.h"

#include <assert.h>
#include <stdlib.h>

#include "server/answer.h"
#include "server/encode.h"
#include "server/server.h"

/* What is looked at, and about what is gathered, in one go. */
#define LOOK_MAX   1000
#define PIECE_SIZE ((size_t)256 * 1024)

struct node_list {
    struct link link;
    struct conn *conn;
    int state; /* enum node_state, or NODES_ALL */
    bool json;
    bool begun; /* `reading` and `cursor` are open */
    struct reading reading;
    struct node_cursor cursor;
    size_t found;
    struct buf items;
};

/* Looks at what comes next: 1 where there may be more, 0 at the end, or an error. */
static int look(struct node_list *list, struct ls_error *error)
{
    size_t full = list->items.size + PIECE_SIZE;
    for (int looked = 0; looked < LOOK_MAX && list->items.size < full; looked++) {
        struct node node;
        bool wanted;
        int rc = nodes_look(&list->cursor, &node, &wanted, error);
        if (rc <= 0) {
            return rc;
        }
        if (!wanted) {
            continue;
        }
        rc = encode_node(&list->items, list->conn->proto, list->json, &node);
        if (rc != 0) {
            return error_code(error, rc);
        }
        list->found++;
    }
    return 1;
}

static void answer(struct node_list *list)
{
    answer_items(list->conn, list->found, &list->items);
}

void node_list_end(struct conn *conn)
{
    struct node_list *list = conn->node_list;
    if (list == NULL) {
        return;
    }
    conn->node_list = NULL;
    list_remove(&list->link);
    if (list->begun) {
        nodes_end(&list->cursor);
        reading_end(&list->reading);
    }
    buf_free(&list->items);
    free(list);
}

size_t node_list_memory(const struct node_list *list)
{
    return list == NULL ? 0 : sizeof *list + list->items.capacity;
}

/* The list begins anew when its turn comes. */
static int keep(struct conn *conn, int state, bool json, struct ls_error *error)
{
    assert(conn->node_list == NULL);
    struct node_list *list = calloc(1, sizeof *list);
    if (list == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    list->conn = conn;
    list->state = state;
    list->json = json;
    conn->node_list = list;
    conn->pause |= PAUSE_READ;
    list_append(&conn->server->node_lists, &list->link);
    return 0;
}

int node_list_begin(struct conn *conn, int state, bool json, struct ls_error *error)
{
    struct node_list list = {.conn = conn, .state = state, .json = json};
    struct reading *reading = reads_get(&conn->server->reads, error);
    int rc = reading == NULL ? error->code : nodes_open(&list.cursor, reading, state, error);
    if (rc != 0) {
        return rc;
    }
    rc = look(&list, error);
    nodes_end(&list.cursor);
    if (rc == 0) {
        answer(&list);
    }
    buf_free(&list.items);
    return rc <= 0 ? rc : keep(conn, state, json, error);
}

static int begin(struct node_list *list, struct ls_error *error)
{
    int rc = reading_begin(&list->reading, list->conn->server->store, error);
    if (rc != 0) {
        return rc;
    }
    rc = nodes_open(&list->cursor, &list->reading, list->state, error);
    if (rc != 0) {
        reading_end(&list->reading);
        return rc;
    }
    list->begun = true;
    return 0;
}

static void finish(struct conn *conn)
{
    node_list_end(conn);
    conn_unpause(conn, PAUSE_READ);
}

bool node_lists_go_on(struct server *server)
{
    if (list_empty(&server->node_lists)) {
        return false;
    }
    struct node_list *list = LINK_OWNER(server->node_lists.next, struct node_list, link);
    struct conn *conn = list->conn;
    struct ls_error error;
    int rc = list->begun ? 0 : begin(list, &error);
    rc = rc < 0 ? rc : look(list, &error);
    if (rc < 0) {
        answer_error(conn, &error);
        finish(conn);
    } else if (rc == 0) {
        answer(list);
        finish(conn);
    }
    return !list_empty(&server->node_lists);
}

void node_lists_refuse(struct server *server, const struct ls_error *error)
{
    LIST_EACH(at, after, &server->node_lists)
    {
        struct conn *conn = LINK_OWNER(at, struct node_list, link)->conn;
        answer_error(conn, error);
        finish(conn);
    }
}
