/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the box, the nodes and the objects: cursors that decode, and refuse what is damaged. */
#include "coordinator/read.h"

#include <assert.h>

#include "base/buf.h"
#include "base/error.h"
#include "codec/key.h"
#include "coordinator/layout.h"
#include "coordinator/state.h"

/* The index of live nodes is used where at most one node in so many is live: to look a node up
 * takes about as long as to walk over so many. */
#define INDEX_PART 2

int reading_begin(struct reading *reading, struct store *store, struct ls_error *error)
{
    struct store_txn *txn;
    int rc = store->driver->begin(store, STORE_READ, &txn, error);
    if (rc == 0) {
        reading->store = store;
        reading->txn = txn;
    }
    return rc;
}

void reading_end(struct reading *reading)
{
    if (reading->txn != NULL) {
        reading->store->driver->abort(reading->txn);
        reading->txn = NULL;
    }
}

static int damaged(ls_bytes key, const struct ls_error *detail, struct ls_error *error)
{
    struct key_parts parts;
    if (key_decode(&parts, key, NULL) == 0 && parts.category == KEY_MESSAGE) {
        return error_set(error, LS_ECORRUPT, parts.clock, "the message %llu is damaged: %s",
                         (unsigned long long)parts.clock, detail->text);
    }
    return error_set(error, LS_ECORRUPT, 0, "a record is damaged: %s", detail->text);
}

/* The clock of the oldest message: 1, 0 where there is none, or negative. */
static int first_message(struct reading *reading, uint64_t *clock, struct ls_error *error)
{
    const struct store_driver *driver = reading->store->driver;
    struct key from;
    struct store_cursor *cursor;
    ls_bytes key, value;
    key_first(&from, KEY_MESSAGE);
    int rc = driver->scan(reading->txn, key_bytes(&from), bytes_of(NULL, 0), false, &cursor, error);
    if (rc < 0) {
        return rc;
    }
    rc = driver->next(cursor, &key, &value, error);
    if (rc > 0) {
        struct key_parts parts;
        int decoded = key_decode(&parts, key, error);
        rc = decoded < 0 ? decoded : 1;
        *clock = decoded < 0 ? 0 : parts.clock;
    }
    driver->scan_end(cursor);
    return rc;
}

int box_state_read(struct reading *reading, struct box_state *out, struct ls_error *error)
{
    struct control clock, box, discarded;
    struct store *store = reading->store;
    int rc = control_read(store, reading->txn, CONTROL_CLOCK, control_clock_fields, &clock, error);
    if (rc == 0) {
        rc = control_read(store, reading->txn, CONTROL_BOX, control_box_fields, &box, error);
    }
    if (rc == 0) {
        rc = control_read(store, reading->txn, CONTROL_DISCARDED, control_discarded_fields,
                          &discarded, error);
    }
    if (rc == LS_ENOTFOUND) {
        return error_set(error, LS_ECORRUPT, 0, "a control record is missing");
    }
    uint64_t oldest = 0;
    if (rc == 0 && box.value[BOX_COUNT] > 0) {
        rc = first_message(reading, &oldest, error);
    }
    if (rc < 0) {
        return rc;
    }
    *out = (struct box_state){.clock = clock.value[0],
                              .oldest = oldest,
                              .newest = box.value[BOX_NEWEST],
                              .discarded = discarded.value[DISCARDED_CLOCK],
                              .count = box.value[BOX_COUNT],
                              .bytes = box.value[BOX_BYTES],
                              .chain = box.value[BOX_CHAIN],
                              .discarded_chain = discarded.value[DISCARDED_CHAIN]};
    return 0;
}

bool box_filter_key(const struct box_filter *filter, ls_bytes key)
{
    const uint8_t *prefix = filter->prefix.data;
    if (filter->prefix.size >= KEY_HEADER_SIZE && prefix[1] == KEY_VERSION_TYPE &&
        strchr(KEY_CATEGORIES, prefix[0]) != NULL && prefix[0] != '\0') {
        return bytes_begin_with(key, filter->prefix);
    }
    const uint8_t *name = key.data;
    return key.size > KEY_HEADER_SIZE && name[0] == KEY_OBJECT &&
           bytes_begin_with(bytes_of(name + KEY_HEADER_SIZE, key.size - KEY_HEADER_SIZE),
                            filter->prefix);
}

bool box_filter_match(const struct box_filter *filter, const struct message *message)
{
    if (filter->types[0] != '\0' && strchr(filter->types, message->type) == NULL) {
        return false;
    }
    if (filter->has_for && message->host.size > 0 && !bytes_equal(message->host, filter->host)) {
        return false;
    }
    if (!filter->has_key) {
        return true;
    }
    struct change change;
    return message->type == LS_OBJECT && change_decode(&change, message->object, NULL) == 0 &&
           box_filter_key(filter, change.key);
}

int box_open(struct box_cursor *out, struct reading *reading, uint64_t from,
             const struct box_filter *filter, struct ls_error *error)
{
    struct control discarded;
    int rc = control_read(reading->store, reading->txn, CONTROL_DISCARDED, control_discarded_fields,
                          &discarded, error);
    if (rc == LS_ENOTFOUND) {
        return error_set(error, LS_ECORRUPT, 0, "a control record is missing");
    }
    if (rc < 0) {
        return rc;
    }
    if (from <= discarded.value[DISCARDED_CLOCK] && discarded.value[DISCARDED_CLOCK] != 0) {
        uint64_t oldest = 0;
        rc = first_message(reading, &oldest, error);
        if (rc < 0) {
            return rc;
        }
        if (rc == 0) {
            oldest = discarded.value[DISCARDED_CLOCK] + 1;
        }
        return error_set(error, LS_ECOMPACTED, oldest, "oldest=%llu", (unsigned long long)oldest);
    }
    struct key first;
    key_message_from(&first, from);
    out->filter = filter;
    out->reading = reading;
    out->next = from;
    return reading->store->driver->scan(reading->txn, key_bytes(&first), bytes_of(NULL, 0), false,
                                        &out->cursor, error);
}

int box_next(struct box_cursor *cursor, struct message *message, struct ls_error *error)
{
    ls_bytes key, value;
    for (;;) {
        int rc = cursor->reading->store->driver->next(cursor->cursor, &key, &value, error);
        if (rc <= 0) {
            return rc;
        }
        struct ls_error detail;
        if (message_decode(message, value, &detail) < 0) {
            return damaged(key, &detail, error);
        }
        /* Where the pages of a store are mixed up: who reads on behind what it got would go round
         * in a circle. */
        if (message->clock < cursor->next) {
            return error_set(error, LS_ECORRUPT, message->clock,
                             "the message %llu is not in its place",
                             (unsigned long long)message->clock);
        }
        cursor->next = message->clock + 1;
        if (cursor->filter == NULL || box_filter_match(cursor->filter, message)) {
            return 1;
        }
    }
}

void box_end(struct box_cursor *cursor)
{
    cursor->reading->store->driver->scan_end(cursor->cursor);
    cursor->cursor = NULL;
}

static int get(struct reading *reading, const struct key *key, ls_bytes *value,
               struct ls_error *error)
{
    int rc = reading->store->driver->get(reading->txn, key_bytes(key), value);
    return rc < 0 ? error_code(error, rc) : 0;
}

int node_read(struct reading *reading, ls_bytes host, struct node *out, struct ls_error *error)
{
    struct key key;
    ls_bytes value;
    int rc = key_node(&key, host, error);
    rc = rc < 0 ? rc : get(reading, &key, &value, error);
    if (rc < 0) {
        return rc;
    }
    struct ls_error detail;
    return node_decode(out, value, &detail) < 0 ? damaged(key_bytes(&key), &detail, error) : 0;
}

/* Whether to walk over the index of live nodes and look each up: not where so many are live that it
 * is quicker to walk over all. */
static int index_serves(struct reading *reading, int state, bool *out, struct ls_error *error)
{
    struct control box;
    uint64_t all;
    *out = false;
    if (state == NODES_ALL || state == NODE_DOWN) {
        return 0;
    }
    int rc =
        control_read(reading->store, reading->txn, CONTROL_BOX, control_box_fields, &box, error);
    if (rc == 0 && box.value[BOX_LIVE] != CONTROL_ABSENT) {
        rc = reading->store->driver->count(reading->txn, KEY_NODE, &all, error);
        *out = rc == 0 && box.value[BOX_LIVE] <= all / INDEX_PART;
    }
    return rc == LS_ENOTFOUND ? 0 : rc;
}

int nodes_open(struct node_cursor *out, struct reading *reading, int state, struct ls_error *error)
{
    struct key first, end = {0};
    int rc = index_serves(reading, state, &out->indexed, error);
    if (rc < 0) {
        return rc;
    }
    if (out->indexed) {
        live_prefix(&first);
        end = first;
        bool bounded = key_after_prefix(&end);
        assert(bounded);
    } else {
        key_first(&first, KEY_NODE);
    }
    key_walk_begin(&out->walk, &first);
    out->reading = reading;
    out->state = state;
    return reading->store->driver->scan(reading->txn, key_bytes(&first), key_bytes(&end), false,
                                        &out->cursor, error);
}

static ls_bytes name_of(ls_bytes key)
{
    return bytes_of((const uint8_t *)key.data + KEY_HEADER_SIZE, key.size - KEY_HEADER_SIZE);
}

static int node_misplaced(struct ls_error *error)
{
    return error_set(error, LS_ECORRUPT, 0, "a node is not in its place"); /* as in box_next */
}

/* The node that an entry of the index names: 1, or 0 where there is none. */
static int named_node(struct node_cursor *cursor, ls_bytes entry, ls_bytes *key, ls_bytes *value,
                      struct key *named, struct ls_error *error)
{
    ls_bytes host;
    if (!live_name(name_of(entry), &host) || key_node(named, host, NULL) < 0) {
        return error_set(error, LS_ECORRUPT, 0, "an entry of the index of live nodes is damaged");
    }
    *key = key_bytes(named);
    int rc = cursor->reading->store->driver->get(cursor->reading->txn, *key, value);
    if (rc == LS_ENOTFOUND) {
        return 0;
    }
    return rc < 0 ? error_code(error, rc) : 1;
}

static bool is_wanted(const struct node_cursor *cursor, const struct node *node)
{
    return cursor->state == NODES_ALL || cursor->state == (int)node->state ||
           (cursor->state == NODES_LIVE && node->state != NODE_DOWN);
}

int nodes_look(struct node_cursor *cursor, struct node *node, bool *wanted, struct ls_error *error)
{
    const struct store_driver *driver = cursor->reading->store->driver;
    struct key named;
    ls_bytes key, value;
    int rc;
    for (;;) {
        rc = driver->next(cursor->cursor, &key, &value, error);
        if (rc > 0 && !key_walk_step(&cursor->walk, key)) {
            return node_misplaced(error);
        }
        if (rc > 0 && cursor->indexed) {
            rc = named_node(cursor, key, &key, &value, &named, error);
            if (rc == 0) {
                continue; /* an entry of no node */
            }
        }
        break;
    }
    if (rc <= 0) {
        return rc;
    }
    struct ls_error detail;
    if (node_decode(node, value, &detail) < 0) {
        return damaged(key, &detail, error);
    }
    if (!bytes_equal(node->host, name_of(key))) {
        return node_misplaced(error);
    }
    *wanted = is_wanted(cursor, node);
    return 1;
}

int nodes_next(struct node_cursor *cursor, struct node *node, struct ls_error *error)
{
    bool wanted;
    int rc;
    do {
        rc = nodes_look(cursor, node, &wanted, error);
    } while (rc > 0 && !wanted);
    return rc;
}

void nodes_end(struct node_cursor *cursor)
{
    cursor->reading->store->driver->scan_end(cursor->cursor);
    cursor->cursor = NULL;
}

int nodes_slowest(struct reading *reading, struct node *out, struct ls_error *error)
{
    struct node_cursor cursor;
    struct node node;
    bool found = false;
    int rc = nodes_open(&cursor, reading, NODE_UP, error);
    if (rc < 0) {
        return rc;
    }
    while ((rc = nodes_next(&cursor, &node, error)) > 0) {
        if (!found || node.clock < out->clock) {
            *out = node;
            found = true;
        }
    }
    nodes_end(&cursor);
    return rc < 0 ? rc : found;
}

int object_read(struct reading *reading, ls_bytes name, struct object *out, struct ls_error *error)
{
    struct key key;
    ls_bytes value;
    int rc = key_object(&key, name, error);
    rc = rc < 0 ? rc : get(reading, &key, &value, error);
    if (rc < 0) {
        return rc;
    }
    struct ls_error detail;
    return object_decode(out, value, &detail) < 0 ? damaged(key_bytes(&key), &detail, error) : 0;
}

/* A store key of objects from a part of the user's key, which may be empty. */
static int object_bound(struct key *out, ls_bytes name, struct ls_error *error)
{
    if (name.size > 0) {
        return key_object(out, name, error);
    }
    key_first(out, KEY_OBJECT);
    return 0;
}

int objects_open(struct object_cursor *out, struct reading *reading, ls_bytes prefix,
                 ls_bytes after, struct ls_error *error)
{
    struct key first, end;
    int rc = object_bound(&first, prefix, error);
    if (rc < 0) {
        return rc;
    }
    end = first;
    bool bounded = key_after_prefix(&end);
    assert(bounded);
    if (after.size > 0) {
        struct key above;
        rc = object_bound(&above, after, error);
        if (rc < 0) {
            return rc;
        }
        above.data[above.size++] = 0; /* the least key above it */
        if (bytes_compare(key_bytes(&above), key_bytes(&first)) > 0) {
            first = above;
        }
    }
    out->reading = reading;
    key_walk_begin(&out->walk, &first);
    return reading->store->driver->scan(reading->txn, key_bytes(&first), key_bytes(&end), false,
                                        &out->cursor, error);
}

int objects_next(struct object_cursor *cursor, ls_bytes *name, struct object *object,
                 struct ls_error *error)
{
    ls_bytes key, value;
    int rc = cursor->reading->store->driver->next(cursor->cursor, &key, &value, error);
    if (rc <= 0) {
        return rc;
    }
    struct ls_error detail;
    if (object_decode(object, value, &detail) < 0) {
        return damaged(key, &detail, error);
    }
    if (!key_walk_step(&cursor->walk, key)) { /* as in box_next */
        return error_set(error, LS_ECORRUPT, 0, "an object is not in its place");
    }
    *name = name_of(key);
    return 1;
}

void objects_end(struct object_cursor *cursor)
{
    cursor->reading->store->driver->scan_end(cursor->cursor);
    cursor->cursor = NULL;
}
