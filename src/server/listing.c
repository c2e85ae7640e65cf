/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listings: answered at once where few records are to be looked at, else under way over several
 * turns, from a snapshot of its own, so that one long listing holds up nobody. Those under way take
 * their turn one after the other: a snapshot pins pages of the store, and this way there is one of
 * them at most, and the memory of one reply, however many ask.
 */
#include "server/listing.h"

#include <assert.h>
#include <stdlib.h>

#include "server/answer.h"
#include "server/encode.h"
#include "server/server.h"

/* What is looked at, and about what is gathered, in one go. */
#define LOOK_MAX   1000
#define PIECE_SIZE ((size_t)256 * 1024)

struct listing {
    struct link link;
    struct conn *conn;
    struct listing_order order;
    bool begun; /* `reading` and `cursor` are open */
    struct reading reading;
    union {
        struct node_cursor nodes;
        struct object_cursor objects;
    } cursor;
    size_t found;
    struct buf items;
    char keys[]; /* what the order points to, where this is kept */
};

static int open_cursor(struct listing *listing, struct reading *reading, struct ls_error *error)
{
    const struct listing_order *order = &listing->order;
    return order->objects
               ? objects_open(&listing->cursor.objects, reading, order->prefix, order->after, error)
               : nodes_open(&listing->cursor.nodes, reading, order->state, error);
}

static void close_cursor(struct listing *listing)
{
    if (listing->order.objects) {
        objects_end(&listing->cursor.objects);
    } else {
        nodes_end(&listing->cursor.nodes);
    }
}

/* Looks at one record, and takes it where it is wanted: 1, 0 at the end, or an error. */
static int look_at_node(struct listing *listing, struct ls_error *error)
{
    struct node node;
    bool wanted;
    int rc = nodes_look(&listing->cursor.nodes, &node, &wanted, error);
    if (rc <= 0 || !wanted) {
        return rc;
    }
    rc = encode_node(&listing->items, listing->conn->proto, listing->order.json, &node);
    listing->found++;
    return rc == 0 ? 1 : error_code(error, rc);
}

static int look_at_object(struct listing *listing, struct ls_error *error)
{
    const struct listing_order *order = &listing->order;
    ls_bytes key;
    struct object object;
    if (listing->found >= order->count_max || listing->items.size >= order->size_max) {
        return 0;
    }
    int rc = objects_next(&listing->cursor.objects, &key, &object, error);
    if (rc <= 0) {
        return rc;
    }
    rc = encode_object(&listing->items, listing->conn->proto, key, &object);
    listing->found++;
    return rc == 0 ? 1 : error_code(error, rc);
}

/* Looks at what comes next: 1 where there may be more, 0 at the end, or an error. */
static int look(struct listing *listing, struct ls_error *error)
{
    size_t full = listing->items.size + PIECE_SIZE;
    int rc = 1;
    for (int looked = 0; rc > 0 && looked < LOOK_MAX && listing->items.size < full; looked++) {
        rc = listing->order.objects ? look_at_object(listing, error) : look_at_node(listing, error);
    }
    return rc;
}

static void answer(struct listing *listing)
{
    answer_items(listing->conn, listing->found, &listing->items);
}

void listing_end(struct conn *conn)
{
    struct listing *listing = conn->listing;
    if (listing == NULL) {
        return;
    }
    conn->listing = NULL;
    list_remove(&listing->link);
    if (listing->begun) {
        close_cursor(listing);
        reading_end(&listing->reading);
    }
    buf_free(&listing->items);
    free(listing);
}

static size_t keys_size(const struct listing_order *order)
{
    return order->prefix.size + order->after.size;
}

size_t listing_memory(const struct listing *listing)
{
    return listing == NULL ? 0
                           : sizeof *listing + keys_size(&listing->order) + listing->items.capacity;
}

static ls_bytes copy(char *to, ls_bytes from)
{
    if (from.size > 0) {
        memcpy(to, from.data, from.size);
    }
    return bytes_of(to, from.size);
}

/* The listing begins anew when its turn comes. */
static int keep(struct conn *conn, const struct listing_order *order, struct ls_error *error)
{
    assert(conn->listing == NULL);
    struct listing *listing = calloc(1, sizeof *listing + keys_size(order));
    if (listing == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    listing->conn = conn;
    listing->order = *order;
    listing->order.prefix = copy(listing->keys, order->prefix);
    listing->order.after = copy(listing->keys + order->prefix.size, order->after);
    conn->listing = listing;
    conn->pause |= PAUSE_READ;
    list_append(&conn->server->listings, &listing->link);
    return 0;
}

int listing_begin(struct conn *conn, const struct listing_order *order, struct ls_error *error)
{
    struct listing listing = {.conn = conn, .order = *order};
    struct reading *reading = reads_get(&conn->server->reads, error);
    int rc = reading == NULL ? error->code : open_cursor(&listing, reading, error);
    if (rc != 0) {
        return rc;
    }
    rc = look(&listing, error);
    close_cursor(&listing);
    if (rc == 0) {
        answer(&listing);
    }
    buf_free(&listing.items);
    return rc <= 0 ? rc : keep(conn, order, error);
}

static int begin(struct listing *listing, struct ls_error *error)
{
    int rc = reading_begin(&listing->reading, listing->conn->server->store, error);
    if (rc != 0) {
        return rc;
    }
    rc = open_cursor(listing, &listing->reading, error);
    if (rc != 0) {
        reading_end(&listing->reading);
        return rc;
    }
    listing->begun = true;
    return 0;
}

static void finish(struct conn *conn)
{
    listing_end(conn);
    conn_unpause(conn, PAUSE_READ);
}

bool listings_go_on(struct server *server)
{
    if (list_empty(&server->listings)) {
        return false;
    }
    struct listing *listing = LINK_OWNER(server->listings.next, struct listing, link);
    struct conn *conn = listing->conn;
    struct ls_error error;
    int rc = listing->begun ? 0 : begin(listing, &error);
    rc = rc < 0 ? rc : look(listing, &error);
    if (rc < 0) {
        answer_error(conn, &error);
        finish(conn);
    } else if (rc == 0) {
        answer(listing);
        finish(conn);
    }
    return !list_empty(&server->listings);
}

void listings_refuse(struct server *server, const struct ls_error *error)
{
    LIST_EACH(at, after, &server->listings)
    {
        struct conn *conn = LINK_OWNER(at, struct listing, link)->conn;
        answer_error(conn, error);
        finish(conn);
    }
}
