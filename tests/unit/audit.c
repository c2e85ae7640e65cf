/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold of a store after every commit, found out from its records alone. */
#include "audit.h"

#include "base/error.h"
#include "codec/key.h"
#include "coordinator/layout.h"
#include "coordinator/read.h"
#include "coordinator/state.h"

struct audit {
    struct reading reading;
    struct box_state box;
    struct ls_error *error;
};

static int wrong(struct audit *audit, uint64_t number, const char *what)
{
    return error_set(audit->error, LS_ECORRUPT, number, "%s (%llu)", what,
                     (unsigned long long)number);
}

/* Calls `visit` for each record of the category. */
static int each(struct audit *audit, enum key_category category,
                int (*visit)(struct audit *audit, void *context, ls_bytes key, ls_bytes value),
                void *context)
{
    const struct store_driver *driver = audit->reading.store->driver;
    struct key first;
    struct store_cursor *cursor;
    ls_bytes key, value;
    key_first(&first, category);
    int rc = driver->scan(audit->reading.txn, key_bytes(&first), bytes_of(NULL, 0), false, &cursor,
                          audit->error);
    if (rc < 0) {
        return rc;
    }
    while ((rc = driver->next(cursor, &key, &value, audit->error)) > 0) {
        rc = visit(audit, context, key, value);
        if (rc < 0) {
            break;
        }
    }
    driver->scan_end(cursor);
    return rc;
}

struct walk {
    uint64_t clock; /* of the message before */
    uint64_t chain;
    uint64_t count;
    uint64_t bytes;
};

/* A message about an object must be what the object is, or be older. */
static int check_change(struct audit *audit, const struct message *message)
{
    struct change change;
    struct object object;
    ls_bytes value;
    if (change_decode(&change, message->object, audit->error) < 0) {
        return wrong(audit, message->clock, "the change in this message cannot be read");
    }
    if (change.previous >= message->clock) {
        return wrong(audit, message->clock, "this change replaces a later one");
    }
    if (*(const uint8_t *)change.key.data != KEY_OBJECT) {
        return 0;
    }
    int rc = audit->reading.store->driver->get(audit->reading.txn, change.key, &value);
    if (rc == LS_ENOTFOUND) {
        return 0;
    }
    if (rc < 0 || object_decode(&object, value, audit->error) < 0) {
        return wrong(audit, message->clock, "the object of this message cannot be read");
    }
    if (object.modified < message->clock) {
        return wrong(audit, message->clock, "the object is older than this message about it");
    }
    if (object.modified == message->clock &&
        (!change.has_value || !bytes_equal(change.value, value))) {
        return wrong(audit, message->clock, "the object is not what this message says");
    }
    return 0;
}

static int visit_message(struct audit *audit, void *context, ls_bytes key, ls_bytes value)
{
    struct walk *walk = context;
    struct key_parts parts;
    struct message message;
    if (key_decode(&parts, key, audit->error) < 0 ||
        message_decode(&message, value, audit->error) < 0) {
        return wrong(audit, walk->clock, "the message after this one cannot be read");
    }
    if (parts.clock <= walk->clock) {
        return wrong(audit, parts.clock, "this clock was discarded or is there twice");
    }
    if (message.clock != parts.clock || message.type != parts.type) {
        return wrong(audit, parts.clock, "this message has the key of another");
    }
    if (message_verify(value, walk->chain, audit->error) < 0) {
        return wrong(audit, parts.clock, "the chain of checks is broken at this message");
    }
    walk->clock = message.clock;
    walk->chain = message.check;
    walk->count++;
    walk->bytes += key.size + value.size;
    return message.type == LS_OBJECT ? check_change(audit, &message) : 0;
}

static int check_box(struct audit *audit)
{
    const struct box_state *box = &audit->box;
    struct walk walk = {.clock = box->discarded, .chain = box->discarded_chain};
    int rc = each(audit, KEY_MESSAGE, visit_message, &walk);
    if (rc < 0) {
        return rc;
    }
    if (walk.count != box->count) {
        return wrong(audit, walk.count, "there are so many messages, not as many as recorded");
    }
    if (walk.bytes != box->bytes) {
        return wrong(audit, walk.bytes, "the messages have so many bytes, not what is recorded");
    }
    if (walk.clock != box->newest || walk.chain != box->chain) {
        return wrong(audit, walk.clock, "the newest message is this one, not the one recorded");
    }
    if (box->newest > box->clock) {
        return wrong(audit, box->clock, "the clock is behind the newest message");
    }
    return 0;
}

struct nodes {
    bool indexed;
    uint64_t said; /* to be live */
    uint64_t live;
    uint64_t entries; /* of the index of live nodes */
};

static int visit_node(struct audit *audit, void *context, ls_bytes key, ls_bytes value)
{
    struct node node;
    struct nodes *nodes = context;
    if (record_verify(value, key, audit->error) < 0 ||
        node_decode(&node, value, audit->error) < 0 ||
        !bytes_equal(node.host, bytes_of((const uint8_t *)key.data + 2, key.size - 2))) {
        return wrong(audit, 0, "a node is damaged");
    }
    if (node.joined > node.modified || node.modified > audit->box.clock ||
        node.clock > audit->box.clock) {
        return wrong(audit, node.joined, "the node that joined then has clocks that cannot be");
    }
    if (nodes->indexed && node.state != NODE_DOWN) {
        struct key index;
        ls_bytes entry;
        nodes->live++;
        live_key(&index, node.host);
        if (audit->reading.store->driver->get(audit->reading.txn, key_bytes(&index), &entry) < 0) {
            return wrong(audit, node.joined, "the live node that joined then is not in the index");
        }
    }
    return 0;
}

static int visit_object(struct audit *audit, void *context, ls_bytes key, ls_bytes value)
{
    struct object object;
    struct node node;
    struct key index;
    ls_bytes entry, name;
    uint64_t *owned = context;
    if (record_verify(value, key, audit->error) < 0 ||
        object_decode(&object, value, audit->error) < 0) {
        return wrong(audit, 0, "an object is damaged");
    }
    if (object.created > object.modified || object.modified > audit->box.clock) {
        return wrong(audit, object.modified, "the object modified then has clocks that cannot be");
    }
    if (object.owner.size == 0) {
        return 0;
    }
    ++*owned;
    owned_key(&index, object.owner, object.created);
    if (audit->reading.store->driver->get(audit->reading.txn, key_bytes(&index), &entry) < 0 ||
        owned_decode(&name, entry, audit->error) < 0 ||
        !bytes_equal(name, bytes_of((const uint8_t *)key.data + 2, key.size - 2))) {
        return wrong(audit, object.created, "the owned object created then is not in the index");
    }
    if (node_read(&audit->reading, object.owner, &node, audit->error) < 0 ||
        node.state == NODE_DOWN) {
        return wrong(audit, object.created, "the object created then outlived its owner");
    }
    return 0;
}

static int visit_producer(struct audit *audit, void *context, ls_bytes key, ls_bytes value)
{
    struct producer producer;
    (void)context;
    if (record_verify(value, key, audit->error) < 0 ||
        producer_decode(&producer, value, audit->error) < 0 || producer.clock > audit->box.newest) {
        return wrong(audit, 0, "a producer is damaged");
    }
    return 0;
}

struct controls {
    struct nodes *nodes;
    uint64_t indexed; /* entries of the index of owned objects */
    uint64_t open;    /* transactions */
    uint64_t said;    /* the same, as counted */
    uint64_t logged, merged, written;
    uint64_t records;  /* of the version log */
    uint64_t sequence; /* of the last of them */
    uint64_t writes;   /* in them */
};

/* A record of the version log: whole, behind the one before, of a transaction that was. */
static int visit_logged(struct audit *audit, struct controls *controls, uint64_t sequence,
                        ls_bytes value)
{
    struct logged logged;
    if (logged_decode(&logged, value, audit->error) < 0 || logged.timestamp > audit->box.clock) {
        return wrong(audit, sequence, "this record of the version log is damaged");
    }
    if (controls->records > 0 && sequence != controls->sequence + 1) {
        return wrong(audit, sequence, "the record of the version log before this one is missing");
    }
    controls->records++;
    controls->sequence = sequence;
    for (struct logged_write write; logged_write_next(&logged.writes, &write);) {
        controls->writes++;
    }
    return 0;
}

/* The log reaches from somewhere that is merged to its end. */
static int check_logged(struct audit *audit, const struct controls *controls)
{
    uint64_t first = controls->sequence + 1 - controls->records;
    if (controls->merged > controls->logged || controls->writes > controls->written) {
        return wrong(audit, controls->logged, "the version log has more than is counted");
    }
    if (controls->records == 0
            ? controls->merged != controls->logged
            : controls->sequence + 1 != controls->logged || first > controls->merged) {
        return wrong(audit, controls->logged,
                     "the version log does not reach from what is merged "
                     "to its end");
    }
    return 0;
}

static int visit_control(struct audit *audit, void *context, ls_bytes key, ls_bytes value)
{
    ls_bytes host;
    uint64_t created;
    struct transaction transaction;
    struct control control;
    struct controls *controls = context;
    ls_bytes name = bytes_of((const uint8_t *)key.data + 2, key.size - 2);
    if (record_verify(value, key, audit->error) < 0) {
        return wrong(audit, 0, "a control record is damaged");
    }
    if (owned_name(name, &host, &created)) {
        controls->indexed++;
    } else if (live_name(name, &host)) {
        controls->nodes->entries++;
    } else if (txn_name(name, &created)) {
        controls->open++;
        if (created > audit->box.clock ||
            transaction_decode(&transaction, value, audit->error) < 0) {
            return wrong(audit, created, "the open transaction of then is damaged");
        }
    } else if (bytes_equal(name, bytes_of_text(CONTROL_TXNS))) {
        if (control_decode(&control, value, control_txns_fields, audit->error) < 0) {
            return wrong(audit, 0, "the record of all transactions is damaged");
        }
        controls->said = control.value[TXNS_OPEN];
        controls->logged = control.value[TXNS_LOGGED];
        controls->merged = control.value[TXNS_MERGED];
        controls->written = control.value[TXNS_WRITTEN];
    } else if (logged_name(name, &created)) {
        return visit_logged(audit, controls, created, value);
    } else if (control_fields(name) == NULL) {
        return wrong(audit, 0, "a control record has a name that is not known");
    }
    return 0;
}

static int visit_version(struct audit *audit, void *context, ls_bytes key, ls_bytes value)
{
    struct version version;
    struct key_parts parts;
    (void)context;
    if (record_verify(value, key, audit->error) < 0 || key_decode(&parts, key, audit->error) < 0 ||
        version_decode(&version, value, audit->error) < 0 || parts.clock > audit->box.clock) {
        return wrong(audit, 0, "a version is damaged");
    }
    return 0;
}

/* How many nodes are said to be live, if that is said. */
static int read_live(struct audit *audit, struct nodes *nodes)
{
    struct control box;
    int rc = control_read(audit->reading.store, audit->reading.txn, CONTROL_BOX, control_box_fields,
                          &box, audit->error);
    nodes->said = box.value[BOX_LIVE];
    nodes->indexed = rc == 0 && nodes->said != CONTROL_ABSENT;
    return rc;
}

static int check_live(struct audit *audit, const struct nodes *nodes)
{
    if (nodes->indexed && (nodes->said != nodes->live || nodes->entries != nodes->live)) {
        return wrong(audit, nodes->live,
                     "so many nodes are live, not as many as counted, or as the index has");
    }
    return 0;
}

int audit(struct store *store, struct ls_error *error)
{
    struct audit audit = {.error = error};
    uint64_t owned = 0;
    struct nodes nodes = {0};
    struct controls controls = {.nodes = &nodes};
    int rc = reading_begin(&audit.reading, store, error);
    if (rc < 0) {
        return rc;
    }
    rc = box_state_read(&audit.reading, &audit.box, error);
    if (rc == 0) {
        rc = check_box(&audit);
    }
    if (rc == 0) {
        rc = read_live(&audit, &nodes);
    }
    if (rc == 0) {
        rc = each(&audit, KEY_NODE, visit_node, &nodes);
    }
    if (rc == 0) {
        rc = each(&audit, KEY_OBJECT, visit_object, &owned);
    }
    if (rc == 0) {
        rc = each(&audit, KEY_PRODUCER, visit_producer, NULL);
    }
    if (rc == 0) {
        rc = each(&audit, KEY_CONTROL, visit_control, &controls);
    }
    if (rc == 0) {
        rc = each(&audit, KEY_VERSION, visit_version, NULL);
    }
    if (rc == 0) {
        rc = check_logged(&audit, &controls);
    }
    if (rc == 0) {
        rc = check_live(&audit, &nodes);
    }
    if (rc == 0 && controls.open != controls.said) {
        rc = wrong(&audit, controls.open, "so many transactions are open, not as many as counted");
    }
    if (rc == 0 && owned != controls.indexed) {
        rc = wrong(&audit, controls.indexed,
                   "the index has so many entries, not one an owned object");
    }
    reading_end(&audit.reading);
    return rc;
}
