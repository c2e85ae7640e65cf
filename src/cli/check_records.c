/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold for each kind of record (docs/formats.md): by itself, and with the others. */
#include <inttypes.h>

#include "cli/check_state.h"
#include "codec/cbor.h"
#include "coordinator/coordinator.h"
#include "coordinator/layout.h"

#define BYTES(bytes) (int)(bytes).size, (const char *)(bytes).data

static int get(struct walk *walk, ls_bytes key, ls_bytes *value)
{
    struct reading *reading = walk->reading;
    return reading->store->driver->get(reading->txn, key, value);
}

/* ---- control ---- */

/* Whether the index of live nodes is to be believed (coordinator/live.c). */
static bool has_live(const struct walk *walk)
{
    return walk->has_box && walk->box.value[BOX_LIVE] != CONTROL_ABSENT;
}

static bool is_named(const struct key_parts *parts, const char *name)
{
    return bytes_equal(parts->name, bytes_of_text(name));
}

static void keep_control(struct walk *walk, const struct key_parts *parts, ls_bytes key,
                         const struct control *control)
{
    if (is_named(parts, CONTROL_CLOCK)) {
        walk->has_clock = true;
        walk->clock = control->value[0];
    } else if (is_named(parts, CONTROL_BOX)) {
        walk->has_box = true;
        walk->box = *control;
    } else if (is_named(parts, CONTROL_DISCARDED)) {
        walk->has_discarded = true;
        walk->discarded = *control;
    } else if (is_named(parts, CONTROL_FORMAT)) {
        walk->has_format = true;
        if (control->value[0] != COORDINATOR_FORMAT) {
            walk_fault(walk, key, "the format is %" PRIu64 ", which this version does not know",
                       control->value[0]);
        }
    } else if (is_named(parts, CONTROL_TXNS)) {
        walk->txns = *control;
        if (control->value[TXNS_OPEN] != walk->open) {
            walk_fault(walk, key, "open transactions: said to be %" PRIu64 ", there %" PRIu64,
                       control->value[TXNS_OPEN], walk->open);
        }
    }
}

/* The record of an open transaction. They come before the one that counts them. */
static void check_open(struct walk *walk, ls_bytes key, ls_bytes value, uint64_t timestamp)
{
    struct ls_error error;
    struct transaction transaction;
    walk->open++;
    if (transaction_decode(&transaction, value, &error) != 0) {
        walk_fault_error(walk, key, &error);
    } else if (walk->has_clock && timestamp > walk->clock) {
        walk_fault(walk, key, "the transaction is above the clock, %" PRIu64, walk->clock);
    }
}

/* A record of the version log. They come behind the one that counts them. What is merged already
 * counts as a version where it is under V. */
static void check_logged(struct walk *walk, ls_bytes key, ls_bytes value, uint64_t sequence)
{
    struct ls_error error;
    struct logged logged;
    if (walk->logged > 0 && sequence != walk->logged_last + 1) {
        walk_fault(walk, key, "the record before it, %" PRIu64 " of the version log, is missing",
                   sequence - 1);
    }
    walk->logged++;
    walk->logged_last = sequence;
    if (logged_decode(&logged, value, &error) != 0) {
        walk_fault_error(walk, key, &error);
        return;
    }
    if (walk->has_clock && logged.timestamp > walk->clock) {
        walk_fault(walk, key, "the transaction is above the clock, %" PRIu64, walk->clock);
    }
    for (struct logged_write write; logged_write_next(&logged.writes, &write);) {
        walk->logged_writes++;
        walk->totals->versions += sequence >= walk->txns.value[TXNS_MERGED];
    }
}

void check_log(struct walk *walk)
{
    ls_bytes none = bytes_of(NULL, 0);
    uint64_t end = walk->txns.value[TXNS_LOGGED], merged = walk->txns.value[TXNS_MERGED];
    uint64_t first = walk->logged > 0 ? walk->logged_last + 1 - walk->logged : end;
    if (merged > end || (walk->logged > 0 && walk->logged_last + 1 != end) || first > merged) {
        walk_fault(walk, none,
                   "the version log should reach from %" PRIu64 ", up to which it is merged, to "
                   "%" PRIu64 ", but its records from %" PRIu64 " on count %" PRIu64,
                   merged, end, first, walk->logged);
    }
    if (walk->logged_writes > walk->txns.value[TXNS_WRITTEN]) {
        walk_fault(walk, none, "writes: in the version log %" PRIu64 ", ever made only %" PRIu64,
                   walk->logged_writes, walk->txns.value[TXNS_WRITTEN]);
    }
}

/* An entry of the index of owned objects: the object must be there and say the same. */
static void check_owned(struct walk *walk, ls_bytes key, ls_bytes value, ls_bytes host,
                        uint64_t created)
{
    struct ls_error error;
    struct key object_key;
    struct object object;
    ls_bytes name;
    ls_bytes record;
    if (owned_decode(&name, value, &error) != 0 || key_object(&object_key, name, &error) != 0) {
        walk_fault_error(walk, key, &error);
    } else if (get(walk, key_bytes(&object_key), &record) != 0) {
        walk_fault(walk, key, "the index names an object that is not there");
    } else if (object_decode(&object, record, NULL) == 0 &&
               (object.created != created || !bytes_equal(object.owner, host))) {
        walk_fault(walk, key, "the object of this entry says another owner or creation");
    }
}

/* An entry of the index of live nodes: the node must be there and not down. They come behind the
 * record of the box, which says whether the index counts. */
static void check_live(struct walk *walk, ls_bytes key, ls_bytes host)
{
    struct ls_error error;
    struct key node_key;
    struct node node;
    ls_bytes record;
    walk->live++;
    if (!has_live(walk)) {
        return;
    }
    if (key_node(&node_key, host, &error) != 0) {
        walk_fault_error(walk, key, &error);
    } else if (get(walk, key_bytes(&node_key), &record) != 0 ||
               (node_decode(&node, record, NULL) == 0 && node.state == NODE_DOWN)) {
        walk_fault(walk, key, "the index of live nodes names one that is not there or down");
    }
}

int check_control(struct walk *walk, const struct key_parts *parts, ls_bytes key, ls_bytes value)
{
    struct ls_error error;
    struct control control;
    ls_bytes host;
    uint64_t created;
    if (record_verify(value, key, &error) != 0) {
        walk_fault_error(walk, key, &error);
        return 0;
    }
    if (owned_name(parts->name, &host, &created)) {
        check_owned(walk, key, value, host, created);
        return 0;
    }
    if (live_name(parts->name, &host)) {
        check_live(walk, key, host);
        return 0;
    }
    if (txn_name(parts->name, &created)) {
        check_open(walk, key, value, created);
        return 0;
    }
    if (logged_name(parts->name, &created)) {
        check_logged(walk, key, value, created);
        return 0;
    }
    const char *const *fields = control_fields(parts->name);
    if (fields == NULL) {
        return 0; /* of a later version; its check was verified */
    }
    if (control_decode(&control, value, fields, &error) != 0) {
        walk_fault_error(walk, key, &error);
    } else {
        keep_control(walk, parts, key, &control);
    }
    return 0;
}

/* ---- messages ---- */

/* The record that a change puts: of the same kind as its key, and whole. */
static bool check_told(struct walk *walk, ls_bytes key, const struct change *change, uint64_t clock,
                       struct ls_error *error)
{
    struct key_parts parts;
    struct node node;
    struct object object;
    uint64_t modified;
    if (key_decode(&parts, change->key, error) != 0) {
        walk_fault_error(walk, key, error);
        return false;
    }
    if (parts.category != KEY_NODE && parts.category != KEY_OBJECT) {
        walk_fault(walk, key, "the message tells of a key of category %c", (char)parts.category);
        return false;
    }
    if (!change->has_value) {
        return true;
    }
    bool object_key = parts.category == KEY_OBJECT;
    if (record_verify(change->value, change->key, error) != 0 ||
        (object_key ? object_decode(&object, change->value, error)
                    : node_decode(&node, change->value, error)) != 0) {
        walk_fault_error(walk, key, error);
        return false;
    }
    modified = object_key ? object.modified : node.modified;
    if (modified != clock) {
        walk_fault(walk, key, "the record in the message was modified at %" PRIu64, modified);
        return false;
    }
    return true;
}

/* Whether a change names the one before it of the same key. */
static void check_previous(struct walk *walk, ls_bytes key, const struct change *change)
{
    const struct latest *before = latest_find(&walk->latest, change->key);
    if (before != NULL) {
        uint64_t expected = before->deleted ? 0 : before->clock;
        if (change->previous != expected) {
            walk_fault(walk, key, "the change before it was at %" PRIu64 ", but it names %" PRIu64,
                       expected, change->previous);
        }
    } else if (change->previous > walk_discarded(walk)) {
        walk_fault(walk, key, "the change before it, at %" PRIu64 ", is not there",
                   change->previous);
    }
}

static int check_change(struct walk *walk, ls_bytes key, const struct message *message)
{
    struct ls_error error;
    struct change change;
    if (change_decode(&change, message->object, &error) != 0) {
        walk_fault_error(walk, key, &error);
        return 0;
    }
    uint8_t event = !change.has_value ? LS_DELETED : change.previous == 0 ? LS_CREATED : LS_UPDATED;
    if (message->event != event) {
        walk_fault(walk, key, "the event is not that of the change");
    }
    if (!check_told(walk, key, &change, message->clock, &error)) {
        return 0;
    }
    check_previous(walk, key, &change);
    return latest_set(&walk->latest, change.key, message->clock, !change.has_value);
}

static void check_place(struct walk *walk, const struct key_parts *parts, ls_bytes key,
                        const struct message *message)
{
    if (message->clock != parts->clock || message->type != parts->type) {
        walk_fault(walk, key, "the record says clock %" PRIu64 " and type %c", message->clock,
                   message->type);
    }
    if (parts->clock <= walk->last) {
        walk_fault(walk, key, "the clock is not above the one before it, %" PRIu64, walk->last);
    }
    if (walk->has_clock && parts->clock > walk->clock) {
        walk_fault(walk, key, "the clock is above the coordinator's, %" PRIu64, walk->clock);
    }
}

int check_message(struct walk *walk, const struct key_parts *parts, ls_bytes key, ls_bytes value)
{
    struct ls_error error;
    struct message message;
    walk->count++;
    walk->bytes += key.size + value.size;
    if (message_decode(&message, value, &error) != 0) {
        walk_fault_error(walk, key, &error);
        walk->chain_known = false;
        walk->last = parts->clock;
        return 0;
    }
    check_place(walk, parts, key, &message);
    if (walk->chain_known && message_verify(value, walk->chain, &error) != 0) {
        walk_fault_error(walk, key, &error);
    } else if (cbor_check(message.object, &error) != 0) {
        walk_fault_error(walk, key, &error);
    }
    walk->chain_known = true;
    walk->chain = message.check;
    walk->last = parts->clock;
    return message.type == LS_OBJECT && parts->clock > 0 ? check_change(walk, key, &message) : 0;
}

void check_box(struct walk *walk)
{
    ls_bytes none = bytes_of(NULL, 0);
    if (!walk->has_clock || !walk->has_box || !walk->has_discarded || !walk->has_format) {
        walk_fault(walk, none,
                   "of the control records clock, box, discarded and format, one is "
                   "missing or damaged");
    }
    if (!walk->has_box) {
        return;
    }
    if (walk->box.value[BOX_COUNT] != walk->count || walk->box.value[BOX_BYTES] != walk->bytes) {
        walk_fault(walk, none,
                   "messages: found %" PRIu64 ", the box counts %" PRIu64 "; their bytes: found "
                   "%" PRIu64 ", the box counts %" PRIu64,
                   walk->count, walk->box.value[BOX_COUNT], walk->bytes,
                   walk->box.value[BOX_BYTES]);
    }
    if (walk->has_discarded && (walk->box.value[BOX_NEWEST] != walk->last ||
                                (walk->chain_known && walk->box.value[BOX_CHAIN] != walk->chain))) {
        walk_fault(walk, none,
                   "the newest message is %" PRIu64 ", but the box says %" PRIu64
                   " or another check",
                   walk->last, walk->box.value[BOX_NEWEST]);
    }
    if (has_live(walk) && walk->box.value[BOX_LIVE] != walk->live) {
        walk_fault(walk, none,
                   "the index of live nodes has %" PRIu64 ", but the box counts %" PRIu64,
                   walk->live, walk->box.value[BOX_LIVE]);
    }
}

/* ---- nodes and objects ---- */

/* The record that the newest message about a key tells of. Says whether it must be compared with
 * the stored one: not where the message was discarded. */
static bool told_record(struct walk *walk, ls_bytes key, uint64_t modified, ls_bytes *record)
{
    struct latest *latest = latest_find(&walk->latest, key);
    if (latest == NULL && modified <= walk_discarded(walk)) {
        return false;
    }
    if (latest == NULL) {
        walk_fault(walk, key, "no message tells of its change at %" PRIu64, modified);
        return false;
    }
    latest->matched = true;
    if (latest->deleted || latest->clock != modified) {
        walk_fault(walk, key,
                   "modified at %" PRIu64 ", but the newest message about it, %" PRIu64 ", %s",
                   modified, latest->clock, latest->deleted ? "deletes it" : "is another one");
        return false;
    }
    struct key message_key;
    ls_bytes value;
    struct message message;
    struct change change;
    key_message(&message_key, latest->clock, LS_OBJECT);
    if (get(walk, key_bytes(&message_key), &value) != 0 ||
        message_decode(&message, value, NULL) != 0 ||
        change_decode(&change, message.object, NULL) != 0) {
        return false; /* reported with the message */
    }
    *record = change.value;
    return change.has_value;
}

/* A live node is in the index, where that counts. */
static void check_indexed(struct walk *walk, ls_bytes key, const struct node *node)
{
    struct key index;
    ls_bytes entry;
    live_key(&index, node->host);
    if (has_live(walk) && get(walk, key_bytes(&index), &entry) != 0) {
        walk_fault(walk, key, "the index of live nodes does not name it");
    }
}

static bool same_node(const struct node *stored, const struct node *told)
{
    return memcmp(stored->id, told->id, sizeof(stored->id)) == 0 &&
           bytes_equal(stored->host, told->host) && stored->joined == told->joined &&
           stored->state == told->state && stored->timestamp_ns == told->timestamp_ns &&
           stored->ttl_ms == told->ttl_ms && stored->via == told->via &&
           bytes_equal(stored->meta, told->meta) && stored->clock >= told->clock &&
           stored->beat >= told->beat;
}

int check_node(struct walk *walk, const struct key_parts *parts, ls_bytes key, ls_bytes value)
{
    struct ls_error error;
    struct node node;
    struct node told;
    ls_bytes record;
    if (record_verify(value, key, &error) != 0 || node_decode(&node, value, &error) != 0) {
        walk_fault_error(walk, key, &error);
        return 0;
    }
    if (!bytes_equal(node.host, parts->name)) {
        walk_fault(walk, key, "the record says another host, '%.*s'", BYTES(node.host));
    }
    if (node.joined > node.modified || (walk->has_clock && node.modified > walk->clock)) {
        walk_fault(walk, key, "joined at %" PRIu64 " and modified at %" PRIu64, node.joined,
                   node.modified);
    }
    if (node.state != NODE_DOWN && bytes_equal(node.host, parts->name)) {
        check_indexed(walk, key, &node);
    }
    if (told_record(walk, key, node.modified, &record) && node_decode(&told, record, NULL) == 0 &&
        !same_node(&node, &told)) {
        walk_fault(walk, key, "the record is not what message %" PRIu64 " tells", node.modified);
    }
    return 0;
}

/* An owned object is in the index, and its owner is a node that is not down. */
static void check_owner(struct walk *walk, const struct key_parts *parts, ls_bytes key,
                        const struct object *object)
{
    struct ls_error error;
    struct key other;
    ls_bytes value;
    ls_bytes name;
    struct node node;
    if (key_node(&other, object->owner, &error) != 0) {
        walk_fault_error(walk, key, &error);
        return;
    }
    if (get(walk, key_bytes(&other), &value) != 0 ||
        (node_decode(&node, value, NULL) == 0 && node.state == NODE_DOWN)) {
        walk_fault(walk, key, "its owner, '%.*s', is not there or down", BYTES(object->owner));
    }
    owned_key(&other, object->owner, object->created);
    if (get(walk, key_bytes(&other), &value) != 0 || owned_decode(&name, value, NULL) != 0 ||
        !bytes_equal(name, parts->name)) {
        walk_fault(walk, key, "the index of what '%.*s' owns does not name it",
                   BYTES(object->owner));
    }
}

int check_object(struct walk *walk, const struct key_parts *parts, ls_bytes key, ls_bytes value)
{
    struct ls_error error;
    struct object object;
    ls_bytes record;
    if (record_verify(value, key, &error) != 0 || object_decode(&object, value, &error) != 0) {
        walk_fault_error(walk, key, &error);
        return 0;
    }
    if (object.created > object.modified || (walk->has_clock && object.modified > walk->clock)) {
        walk_fault(walk, key, "created at %" PRIu64 " and modified at %" PRIu64, object.created,
                   object.modified);
    }
    if (told_record(walk, key, object.modified, &record) && !bytes_equal(record, value)) {
        walk_fault(walk, key, "the record is not what message %" PRIu64 " tells", object.modified);
    }
    if (object.owner.size > 0) {
        check_owner(walk, parts, key, &object);
    }
    return 0;
}

int check_producer(struct walk *walk, const struct key_parts *parts, ls_bytes key, ls_bytes value)
{
    struct ls_error error;
    struct producer producer;
    (void)parts;
    if (record_verify(value, key, &error) != 0 || producer_decode(&producer, value, &error) != 0) {
        walk_fault_error(walk, key, &error);
    } else if (walk->has_clock && producer.clock > walk->clock) {
        walk_fault(walk, key, "its clock, %" PRIu64 ", is above the coordinator's, %" PRIu64,
                   producer.clock, walk->clock);
    }
    return 0;
}

/* ---- versions ---- */

int check_version(struct walk *walk, const struct key_parts *parts, ls_bytes key, ls_bytes value)
{
    struct ls_error error;
    struct version version;
    if (record_verify(value, key, &error) != 0 || version_decode(&version, value, &error) != 0) {
        walk_fault_error(walk, key, &error);
    } else if (walk->has_clock && parts->clock > walk->clock) {
        walk_fault(walk, key, "the version is above the clock, %" PRIu64, walk->clock);
    }
    return 0;
}
