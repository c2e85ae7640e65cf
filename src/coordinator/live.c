/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index of live nodes: which are up or leaving, so that what looks after them, again and again,
 * pays nothing for those that are down, whose records stay. It lies in the store, under C, and is
 * written in the transaction of the change. So what undoes a batch undoes it, every process sees it
 * as it sees the nodes, and a store that is put back has the one it had.
 *
 * Invariants after every transaction:
 *  1. Where the record of the box says how many nodes are live (`live`), the index has exactly the
 *     hosts whose nodes are there and not down, and so many of them.
 *  2. Whoever changes which nodes are live, and keeps no index, leaves a record without it: each
 *     such change is a message, with which the record is written anew, and a version that knows
 *     nothing of the index writes only the fields that it knows. So the index of a store that such
 *     a version wrote to is not believed.
 *  3. An index that is not believed is neither read nor kept, but laid anew by the next that opens
 *     the store. Until then readers walk over all nodes.
 */
#include <assert.h>

#include "base/error.h"
#include "coordinator/layout.h"
#include "coordinator/read.h"
#include "coordinator/state.h"

/* About what an entry takes beyond its host. */
#define ENTRY_OVERHEAD 64

static int put(struct coordinator *c, ls_bytes host, struct ls_error *error)
{
    static const struct control nothing;
    struct key key;
    live_key(&key, host);
    c->record.size = 0;
    int rc = control_encode(&c->record, &nothing, live_fields, key_bytes(&key));
    return rc < 0 ? error_code(error, rc) : state_put(c, &key, buf_bytes(&c->record), false, error);
}

int live_add(struct coordinator *c, ls_bytes host, struct ls_error *error)
{
    if (c->now.live == CONTROL_ABSENT) {
        return 0;
    }
    c->now.live++;
    return put(c, host, error);
}

int live_remove(struct coordinator *c, ls_bytes host, struct ls_error *error)
{
    struct key key;
    if (c->now.live == CONTROL_ABSENT) {
        return 0;
    }
    live_key(&key, host);
    int rc = state_del(c, &key, error);
    if (rc == LS_ENOTFOUND || c->now.live == 0) {
        c->now.live = CONTROL_ABSENT; /* damaged: the next that opens the store lays it anew */
        return rc == LS_ENOTFOUND ? 0 : rc;
    }
    c->now.live--;
    return rc;
}

/* Deletes what is left of an index that is not believed. */
static int clear(struct coordinator *c, struct ls_error *error)
{
    const struct store_driver *driver = c->store->driver;
    struct key first, end;
    struct key_walk walk;
    struct store_cursor *cursor;
    ls_bytes key, value;
    live_prefix(&first);
    key_walk_begin(&walk, &first);
    end = first;
    bool bounded = key_after_prefix(&end);
    assert(bounded);
    int rc = driver->scan(c->txn, key_bytes(&first), key_bytes(&end), false, &cursor, error);
    if (rc < 0) {
        return rc;
    }
    while ((rc = driver->next(cursor, &key, &value, error)) > 0) {
        rc = key_walk_step(&walk, key)
                 ? coordinator_drop(c, cursor, error)
                 : error_set(error, LS_ECORRUPT, 0, "a live node is not in its place");
        if (rc < 0) {
            break;
        }
    }
    driver->scan_end(cursor);
    return rc;
}

/* The hosts of all live nodes, each behind its size in one byte: a put would take them away. */
static int collect(struct coordinator *c, struct buf *hosts, struct ls_error *error)
{
    struct reading reading = {c->store, c->txn};
    struct node_cursor cursor;
    struct node node;
    int rc = nodes_open(&cursor, &reading, NODES_ALL, error);
    if (rc < 0) {
        return rc;
    }
    while ((rc = nodes_next(&cursor, &node, error)) > 0) {
        uint8_t size = (uint8_t)node.host.size;
        if (node.state != NODE_DOWN &&
            (buf_append(hosts, &size, 1) < 0 || buf_append(hosts, node.host.data, size) < 0)) {
            rc = error_code(error, LS_ENOMEM);
            break;
        }
    }
    nodes_end(&cursor);
    return rc;
}

/* Within a transaction. */
static int lay(struct coordinator *c, struct ls_error *error)
{
    struct buf hosts = {0};
    int rc = collect(c, &hosts, error);
    rc = rc < 0 ? rc : clear(c, error);
    c->now.live = 0;
    for (size_t at = 0; rc == 0 && at < hosts.size;) {
        ls_bytes host = bytes_of(hosts.data + at + 1, (uint8_t)hosts.data[at]);
        rc = state_room(c, STORE_ROOM_ADD, host.size + ENTRY_OVERHEAD, error);
        rc = rc < 0 ? rc : live_add(c, host, error);
        at += 1 + host.size;
    }
    c->changed = true;
    buf_free(&hosts);
    return rc;
}

int live_lay(struct coordinator *c, struct ls_error *error)
{
    int rc = coordinator_begin(c, 0, error);
    if (rc == 0 && c->now.live == CONTROL_ABSENT) {
        rc = lay(c, error);
        if (rc == 0) {
            rc = coordinator_commit(c, error);
        } else {
            coordinator_abort(c);
        }
    } else if (rc == 0) {
        coordinator_abort(c); /* another process was quicker */
    }
    bool may_go_without = rc == LS_ENOSPACE || rc == LS_EREADONLY || rc == LS_ECORRUPT;
    return may_go_without ? 0 : rc;
}
