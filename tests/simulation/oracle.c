/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the oracle makes of a commit. It reads every edit as it reaches the disk, keeps a state of
 * its own, and refuses what no sequence of requests can have led to: a clock that is not new, a
 * broken chain, counts that are wrong, a change without its message, a discarded message that is
 * not the oldest, an end of a node that came early, a write of a request that was refused.
 */
#include <stdlib.h>

#include "../unit/audit.h"
#include "base/error.h"
#include "coordinator/layout.h"
#include "sim.h"

#define UNSIGNED(value) ((unsigned long long)(value))

/* ---- ops and clock values ---- */

void oracle_close(struct oracle *oracle)
{
    for (size_t i = 0; i < oracle->op_count; i++) {
        free(oracle->ops[i]);
    }
    free(oracle->ops);
    free(oracle->log);
    free(oracle->used);
    oracle_txn_close(oracle);
}

struct op *oracle_op(struct sim *sim, uint64_t number)
{
    struct oracle *o = &sim->oracle;
    if (number == 0 || number > o->op_count) {
        sim_fail(sim, "something was written that nobody asked for: %llu", UNSIGNED(number));
    }
    return o->ops[number - 1];
}

struct op *oracle_new_op(struct sim *sim, enum ask ask, int actor)
{
    struct oracle *o = &sim->oracle;
    if (o->op_count == o->op_capacity) {
        o->op_capacity = 2 * o->op_capacity + 256;
        o->ops = sim_memory(realloc(o->ops, o->op_capacity * sizeof *o->ops));
    }
    struct op *op = sim_memory(calloc(1, sizeof *op));
    op->ask = ask;
    op->actor = actor;
    op->to = NOBODY;
    op->number = o->op_count + 1;
    o->ops[o->op_count++] = op;
    return op;
}

void oracle_submitted(struct sim *sim, struct op *op)
{
    op->submitted++;
    op->clock_submitted = sim->oracle.clock;
    op->calm = sim->calm;
}

static bool use(struct oracle *o, uint64_t clock)
{
    size_t at = (size_t)(clock * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (o->used_capacity - 1);
    while (o->used[at] != 0) {
        if (o->used[at] == clock) {
            return false;
        }
        at = (at + 1) & (o->used_capacity - 1);
    }
    o->used[at] = clock;
    o->used_count++;
    return true;
}

void oracle_give(struct sim *sim, uint64_t clock)
{
    struct oracle *o = &sim->oracle;
    if (2 * o->used_count >= o->used_capacity) {
        uint64_t *old = o->used;
        size_t capacity = o->used_capacity;
        o->used_capacity = capacity == 0 ? 1024 : 2 * capacity;
        o->used_count = 0;
        o->used = sim_memory(calloc(o->used_capacity, sizeof *o->used));
        for (size_t i = 0; i < capacity; i++) {
            if (old[i] != 0) {
                (void)use(o, old[i]);
            }
        }
        free(old);
    }
    if (clock == 0 || !use(o, clock)) {
        sim_fail(sim, "the clock value %llu was given out twice", UNSIGNED(clock));
    }
}

size_t oracle_find(const struct oracle *o, uint64_t from)
{
    size_t low = o->log_first, high = o->log_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (o->log[middle].clock < from) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* ---- commits ---- */

/* One commit as it is looked at. */
struct look {
    struct sim *sim;
    struct oracle *o;
    struct process *process;
    uint64_t clock_before;
    uint64_t newest_before;
    uint64_t discarded_before;
    bool box_said; /* it has the control record of the box */
    bool discarded_said;
};

static void must(struct look *look, int rc, const struct ls_error *error, const char *what)
{
    if (rc < 0) {
        sim_fail(look->sim, "%s: %s", what, error->text);
    }
}

static struct entry *log_add(struct look *look)
{
    struct oracle *o = look->o;
    if (o->log_count == o->log_capacity) {
        o->log_capacity = 2 * o->log_capacity + 512;
        o->log = sim_memory(realloc(o->log, o->log_capacity * sizeof *o->log));
    }
    struct entry *entry = &o->log[o->log_count++];
    *entry = (struct entry){
        .key = NOBODY, .host = NOBODY, .actor = NOBODY, .from = NOBODY, .to = NOBODY};
    return entry;
}

struct op *oracle_write_seen(struct sim *sim, ls_bytes mark, unsigned *part)
{
    const struct oracle *o = &sim->oracle;
    if (mark.size != MARK_SIZE) {
        sim_fail(sim, "something was written that nobody asked for");
    }
    const uint8_t *bytes = mark.data;
    struct op *op = oracle_op(sim, get_be64(bytes));
    *part = (unsigned)get_be64(bytes + 8);
    if (op->refused == op->submitted) {
        sim_fail(sim, "op %llu was refused, or is not asked for yet, and is there",
                 UNSIGNED(op->number));
    }
    if ((op->parts >> *part & 1) != 0 || (op->commit != 0 && op->commit != o->commit)) {
        sim_fail(sim, "op %llu was done twice", UNSIGNED(op->number));
    }
    op->parts |= 1U << *part;
    op->commit = o->commit;
    return op;
}

static void see_post(struct look *look, struct entry *entry, const struct message *message)
{
    struct sim *sim = look->sim;
    unsigned part;
    if (message->object.size != ITEM_SIZE) {
        sim_fail(sim, "message %llu is not what was posted", UNSIGNED(entry->clock));
    }
    const uint8_t *item = message->object.data;
    const struct op *op = oracle_write_seen(sim, bytes_of(item + 2, MARK_SIZE), &part);
    entry->number = op->number;
    if (op->ask != ASK_POST || op->type != entry->type || op->to != entry->to ||
        (entry->actor != NOBODY && entry->actor != op->actor)) {
        sim_fail(sim, "message %llu is not what was posted", UNSIGNED(entry->clock));
    }
    if (op->has_carried && entry->clock <= op->carried) {
        sim_fail(sim, "message %llu is not above the clock that was carried, %llu",
                 UNSIGNED(entry->clock), UNSIGNED(op->carried));
    }
    if (op->seq != 0) {
        uint64_t *posted = &look->o->posted[identity(op->actor, op->host)];
        if (op->seq != *posted + 1 || entry->from != op->host) {
            sim_fail(sim, "actor %d posted %llu behind %llu", op->actor, UNSIGNED(op->seq),
                     UNSIGNED(*posted));
        }
        *posted = op->seq;
    }
}

static void see_change(struct look *look, struct entry *entry, const struct message *message)
{
    struct sim *sim = look->sim;
    struct ls_error error;
    struct change change;
    uint64_t *told;
    must(look, change_decode(&change, message->object, &error), &error, "a change");
    const uint8_t *key = change.key.data;
    ls_bytes name = bytes_of(key + KEY_HEADER_SIZE, change.key.size - KEY_HEADER_SIZE);
    entry->there = change.has_value;
    entry->previous = change.previous;
    if (key[0] == KEY_OBJECT) {
        entry->key = sim_key_index(name);
        told = &look->o->objects[entry->key].told;
    } else {
        entry->host = sim_host_index(name);
        told = &look->o->nodes[entry->host].told;
    }
    if (change.previous != *told) {
        sim_fail(sim, "message %llu replaces %llu, not %llu", UNSIGNED(entry->clock),
                 UNSIGNED(change.previous), UNSIGNED(*told));
    }
    char event = !change.has_value ? LS_DELETED : change.previous == 0 ? LS_CREATED : LS_UPDATED;
    if (entry->event != event) {
        sim_fail(sim, "message %llu has the event %c", UNSIGNED(entry->clock), entry->event);
    }
    *told = change.has_value ? entry->clock : 0;
}

static void see_message(struct look *look, ls_bytes key, ls_bytes value)
{
    struct sim *sim = look->sim;
    struct oracle *o = look->o;
    struct ls_error error;
    struct key_parts parts;
    struct message message;
    must(look, key_decode(&parts, key, &error), &error, "a message's key");
    must(look, message_decode(&message, value, &error), &error, "a message");
    must(look, message_verify(value, o->chain, &error), &error, "the chain of checks is broken");
    if (message.clock <= o->newest || message.clock <= look->clock_before) {
        sim_fail(sim, "message %llu is not above the clock before it, %llu and %llu",
                 UNSIGNED(message.clock), UNSIGNED(o->newest), UNSIGNED(look->clock_before));
    }
    oracle_give(sim, message.clock);
    struct entry *entry = log_add(look);
    entry->clock = message.clock;
    entry->check = message.check;
    entry->timestamp_ns = message.timestamp_ns;
    entry->commit = o->commit;
    entry->type = (char)message.type;
    entry->event = (char)message.event;
    entry->bytes = key.size + value.size;
    entry->actor = message.has_from_id ? message.from_id[0] - 1 : NOBODY;
    entry->from = message.from.size > 0 ? sim_host_index(message.from) : NOBODY;
    entry->to = message.host.size > 0 ? sim_host_index(message.host) : NOBODY;
    if (parts.clock != message.clock || parts.type != message.type) {
        sim_fail(sim, "message %llu has the key of another", UNSIGNED(message.clock));
    }
    if (entry->actor != NOBODY && entry->event != LS_DELETED) {
        const struct known_node *node = &o->nodes[entry->from];
        if (!node->there || node->state == NODE_DOWN || node->actor != entry->actor) {
            sim_fail(sim, "message %llu is from %s, whose life is over", UNSIGNED(message.clock),
                     sim_host(entry->from));
        }
    }
    if (message.timestamp_ns != process_wall_ns(look->process)) {
        sim_fail(sim, "message %llu has the time of another", UNSIGNED(message.clock));
    }
    if (message.type == LS_OBJECT) {
        see_change(look, entry, &message);
    } else {
        see_post(look, entry, &message);
    }
    o->newest = message.clock;
    o->chain = message.check;
    o->count++;
    o->bytes += entry->bytes;
}

static void see_discard(struct look *look, ls_bytes key)
{
    struct sim *sim = look->sim;
    struct oracle *o = look->o;
    struct ls_error error;
    struct key_parts parts;
    must(look, key_decode(&parts, key, &error), &error, "a message's key");
    if (o->log_first == o->log_count || o->log[o->log_first].clock != parts.clock) {
        sim_fail(sim, "message %llu was discarded, and is not the oldest", UNSIGNED(parts.clock));
    }
    const struct entry *entry = &o->log[o->log_first];
    if (!process_may_discard(sim, look->process, entry)) {
        sim_fail(sim, "message %llu, of %llu, was discarded at %llu, and was to be kept",
                 UNSIGNED(parts.clock), UNSIGNED(entry->timestamp_ns),
                 UNSIGNED(process_wall_ns(look->process)));
    }
    cover(COVER_DISCARDED);
    o->discarded = entry->clock;
    o->discarded_chain = entry->check;
    o->count--;
    o->bytes -= entry->bytes;
    o->log_first++;
}

static void see_object(struct look *look, ls_bytes key, ls_bytes value)
{
    struct sim *sim = look->sim;
    struct ls_error error;
    struct object object;
    unsigned part;
    int index = sim_key_index(
        bytes_of((const uint8_t *)key.data + KEY_HEADER_SIZE, key.size - KEY_HEADER_SIZE));
    struct known_object *known = &look->o->objects[index];
    if (value.data == NULL) {
        known->there = false;
        known->owner = NOBODY;
        known->modified = 0;
        return;
    }
    must(look, record_verify(value, key, &error), &error, "an object");
    must(look, object_decode(&object, value, &error), &error, "an object");
    const struct op *op = oracle_write_seen(sim, object.value, &part);
    if (op->write_count <= part || op->writes[part].key != index || op->writes[part].del) {
        sim_fail(sim, "%s is not what was put", sim_key(index));
    }
    if (object.created != (known->there ? known->created : object.modified)) {
        sim_fail(sim, "%s was created at %llu, and says %llu", sim_key(index),
                 UNSIGNED(known->created), UNSIGNED(object.created));
    }
    if (op->owned != (object.owner.size > 0)) {
        sim_fail(sim, "%s has an owner that it was not given", sim_key(index));
    }
    if (known->there && known->owner != NOBODY &&
        (object.owner.size == 0 || sim_host_index(object.owner) != known->owner)) {
        cover(COVER_OWNER_CHANGED);
    }
    known->there = true;
    known->created = object.created;
    known->modified = object.modified;
    known->number = op->number;
    known->owner = object.owner.size > 0 ? sim_host_index(object.owner) : NOBODY;
    known->owner_actor = op->actor;
}

/* A node was given up: not before it was silent for its ttl, as far as the process can know. */
static void see_expiry(struct look *look, int host, const struct known_node *known)
{
    struct sim *sim = look->sim;
    uint64_t silent_ns = sim->kernel.now_ns - known->changed_ns;
    bool holds = process_silent(look->process, known->joined, &silent_ns);
    cover(COVER_EXPIRED);
    cover(holds ? COVER_EXPIRED_BY_HOLDER : COVER_EXPIRED_BY_OTHER);
    sim_trace(sim, "  %s is given up, silent for %llu ms", sim_host(host),
              UNSIGNED(silent_ns / MS));
    if (silent_ns + MS < known->ttl_ms * MS) {
        sim_fail(sim, "%s was given up by p%u after %llu ms of its %llu", sim_host(host),
                 look->process->index, UNSIGNED(silent_ns / MS), UNSIGNED(known->ttl_ms));
    }
}

/* A life ends with the join of another: of the same node, or where nobody is bound any more. */
static void see_takeover(struct look *look, int host, const struct known_node *known, int actor)
{
    if (known->actor == actor) {
        cover(COVER_TAKEN_OVER);
        return;
    }
    cover(COVER_HOST_TAKEN);
    if (known->state != NODE_DOWN &&
        (look->process->embedded || known->via != look->process->epoch)) {
        sim_fail(look->sim, "%s was taken over while another held it", sim_host(host));
    }
}

static void see_node(struct look *look, ls_bytes key, ls_bytes value)
{
    struct sim *sim = look->sim;
    struct ls_error error;
    struct node node;
    int host = sim_host_index(
        bytes_of((const uint8_t *)key.data + KEY_HEADER_SIZE, key.size - KEY_HEADER_SIZE));
    struct known_node *known = &look->o->nodes[host];
    if (value.data == NULL) {
        *known = (struct known_node){.told = known->told};
        return;
    }
    must(look, record_verify(value, key, &error), &error, "a node");
    must(look, node_decode(&node, value, &error), &error, "a node");
    if (node.state == NODE_DOWN && known->state != NODE_DOWN) {
        see_expiry(look, host, known);
    }
    if (known->there && known->joined == node.joined &&
        (node.beat < known->beat || node.clock < known->clock ||
         (known->state == NODE_DOWN && node.state != NODE_DOWN))) {
        sim_fail(sim, "the life of %s goes back", sim_host(host));
    }
    if (node.modified == known->modified && node.state != known->state) {
        sim_fail(sim, "%s changed its state and nobody was told", sim_host(host));
    }
    if (known->there && known->joined != node.joined) {
        see_takeover(look, host, known, node.id[0] - 1);
    }
    if (!known->there || known->joined != node.joined || known->beat != node.beat) {
        known->changed_ns = sim->kernel.now_ns;
    }
    known->there = true;
    known->state = node.state;
    known->actor = node.id[0] - 1;
    known->joined = node.joined;
    known->modified = node.modified;
    known->beat = node.beat;
    known->clock = node.clock;
    known->ttl_ms = node.ttl_ms;
    known->via = node.via;
}

static void see_producer(struct look *look, ls_bytes key, ls_bytes value)
{
    struct sim *sim = look->sim;
    struct ls_error error;
    struct producer producer;
    struct key_parts parts;
    must(look, key_decode(&parts, key, &error), &error, "a producer");
    must(look, record_verify(value, key, &error), &error, "a producer");
    must(look, producer_decode(&producer, value, &error), &error, "a producer");
    int actor = parts.id[0] - 1;
    struct known_producer *known = &look->o->producers[identity_of(parts.id)];
    size_t at = oracle_find(look->o, producer.clock);
    if (producer.seq != known->seq + 1 || at == look->o->log_count ||
        look->o->log[at].clock != producer.clock || look->o->log[at].actor != actor) {
        sim_fail(sim, "actor %d is said to have posted %llu at %llu", actor, UNSIGNED(producer.seq),
                 UNSIGNED(producer.clock));
    }
    known->seq = producer.seq;
    known->clock = producer.clock;
}

static void see_box(struct look *look, const struct control *control)
{
    const struct oracle *o = look->o;
    if (control->value[BOX_COUNT] != o->count || control->value[BOX_BYTES] != o->bytes ||
        control->value[BOX_NEWEST] != o->newest || control->value[BOX_CHAIN] != o->chain) {
        sim_fail(look->sim, "the box is said to hold %llu messages, %llu bytes, up to %llu",
                 UNSIGNED(control->value[BOX_COUNT]), UNSIGNED(control->value[BOX_BYTES]),
                 UNSIGNED(control->value[BOX_NEWEST]));
    }
    look->box_said = true;
    look->o->live_said = control->value[BOX_LIVE];
}

static void see_control(struct look *look, ls_bytes key, ls_bytes value)
{
    struct sim *sim = look->sim;
    struct oracle *o = look->o;
    struct ls_error error;
    struct control control;
    ls_bytes host;
    uint64_t created;
    ls_bytes name =
        bytes_of((const uint8_t *)key.data + KEY_HEADER_SIZE, key.size - KEY_HEADER_SIZE);
    if (owned_name(name, &host, &created)) {
        o->indexed += value.data != NULL ? 1 : UINT64_MAX;
        return;
    }
    if (live_name(name, &host)) {
        o->live[sim_host_index(host)] = value.data != NULL;
        return;
    }
    if (txn_name(name, &created)) {
        oracle_open(sim, look->process, created, value);
        return;
    }
    if (logged_name(name, &created)) {
        if (value.data != NULL) {
            must(look, record_verify(value, key, &error), &error, "a record of the version log");
        }
        oracle_logged(sim, created, value);
        return;
    }
    const char *const *fields = control_fields(name);
    if (fields == NULL || value.data == NULL) {
        return;
    }
    must(look, record_verify(value, key, &error), &error, "a control record");
    must(look, control_decode(&control, value, fields, &error), &error, "a control record");
    if (bytes_equal(name, bytes_of_text(CONTROL_CLOCK))) {
        if (control.value[0] < o->clock || control.value[0] < o->newest) {
            sim_fail(sim, "the clock went back to %llu", UNSIGNED(control.value[0]));
        }
        o->clock = control.value[0];
    } else if (bytes_equal(name, bytes_of_text(CONTROL_BOX))) {
        see_box(look, &control);
    } else if (bytes_equal(name, bytes_of_text(CONTROL_DISCARDED))) {
        if (control.value[DISCARDED_CLOCK] != o->discarded ||
            control.value[DISCARDED_CHAIN] != o->discarded_chain) {
            sim_fail(sim, "what was discarded is said to be %llu",
                     UNSIGNED(control.value[DISCARDED_CLOCK]));
        }
        look->discarded_said = true;
    } else if (bytes_equal(name, bytes_of_text(CONTROL_EPOCH))) {
        if (control.value[0] != o->epoch + 1) {
            sim_fail(sim, "the epoch %llu follows %llu", UNSIGNED(control.value[0]),
                     UNSIGNED(o->epoch));
        }
        o->epoch = control.value[0];
    } else if (bytes_equal(name, bytes_of_text(CONTROL_TXNS))) {
        oracle_txns(sim, &control);
    }
}

/* What must hold of the state that the commit leaves. */
static void look_after(struct look *look)
{
    struct sim *sim = look->sim;
    const struct oracle *o = look->o;
    uint64_t owned = 0, live = 0;
    if (o->clock < o->newest) {
        sim_fail(sim, "the clock, %llu, is behind message %llu", UNSIGNED(o->clock),
                 UNSIGNED(o->newest));
    }
    if (o->trimmed > o->merged) {
        sim_fail(sim, "the version log was deleted up to %llu, and is merged up to %llu",
                 UNSIGNED(o->trimmed), UNSIGNED(o->merged));
    }
    if (o->newest != look->newest_before && !look->box_said) {
        sim_fail(sim, "messages were added, and the box does not tell");
    }
    if (o->discarded != look->discarded_before && !look->discarded_said) {
        sim_fail(sim, "messages were discarded, and the box does not tell");
    }
    for (int i = 0; i < KEYS; i++) {
        const struct known_object *object = &o->objects[i];
        if (object->modified != object->told) {
            sim_fail(sim, "%s is of %llu, the messages say %llu", sim_key(i),
                     UNSIGNED(object->modified), UNSIGNED(object->told));
        }
        if (!object->there || object->owner == NOBODY) {
            continue;
        }
        const struct known_node *node = &o->nodes[object->owner];
        owned++;
        if (!node->there || node->state == NODE_DOWN || node->actor != object->owner_actor) {
            sim_fail(sim, "%s outlived its owner %s", sim_key(i), sim_host(object->owner));
        }
    }
    for (int i = 0; i < HOSTS; i++) {
        if (o->nodes[i].modified != o->nodes[i].told) {
            sim_fail(sim, "%s is of %llu, the messages say %llu", sim_host(i),
                     UNSIGNED(o->nodes[i].modified), UNSIGNED(o->nodes[i].told));
        }
        bool is_live = o->nodes[i].there && o->nodes[i].state != NODE_DOWN;
        live += is_live;
        if (o->live[i] != is_live) {
            sim_fail(sim, "%s is %s, and the index of live nodes says otherwise", sim_host(i),
                     is_live ? "live" : "down or gone");
        }
    }
    if (o->live_said != live) {
        sim_fail(sim, "%llu nodes are live, the box says %llu", UNSIGNED(live),
                 UNSIGNED(o->live_said));
    }
    for (int i = 0; i < IDENTITIES; i++) {
        if (o->producers[i].seq != o->posted[i]) {
            sim_fail(sim, "actor %d posted up to %llu, its number is %llu", i,
                     UNSIGNED(o->posted[i]), UNSIGNED(o->producers[i].seq));
        }
    }
    if (o->indexed != owned) {
        sim_fail(sim, "%llu objects are owned, the index has %llu", UNSIGNED(owned),
                 UNSIGNED(o->indexed));
    }
}

static void see_edit(struct look *look, const struct disk_edit *edit)
{
    switch (*(const char *)edit->key.data) {
    case KEY_MESSAGE:
        if (edit->value.data == NULL) {
            see_discard(look, edit->key);
        } else {
            see_message(look, edit->key, edit->value);
        }
        break;
    case KEY_OBJECT:
        see_object(look, edit->key, edit->value);
        break;
    case KEY_NODE:
        see_node(look, edit->key, edit->value);
        break;
    case KEY_PRODUCER:
        see_producer(look, edit->key, edit->value);
        break;
    case KEY_VERSION:
        oracle_version(look->sim, look->process, edit->key, edit->value);
        break;
    case KEY_CONTROL:
        see_control(look, edit->key, edit->value);
        break;
    default:
        sim_fail(look->sim, "a key of no known category");
    }
}

void oracle_committed(struct sim *sim, struct process *process, const struct disk_edit *edits,
                      size_t count)
{
    struct oracle *o = &sim->oracle;
    size_t messages = o->log_count, first = o->log_first;
    uint64_t ends = 0;
    o->commit++;
    struct look look = {.sim = sim,
                        .o = o,
                        .process = process,
                        .clock_before = o->clock,
                        .newest_before = o->newest,
                        .discarded_before = o->discarded};
    for (size_t i = 0; i < count; i++) {
        see_edit(&look, &edits[i]);
    }
    look_after(&look);
    for (size_t i = messages; i < o->log_count; i++) {
        const struct entry *entry = &o->log[i];
        ends += entry->key != NOBODY && !entry->there && entry->actor == NOBODY;
    }
    if (ends > 0) {
        cover(COVER_OBJECTS_VANISHED);
    }
    if (o->log_count - messages > 2) {
        cover(COVER_BATCH_OF_MANY);
    }
    sim_trace(sim, "p%u commits %llu: %zu messages up to %llu, %zu discarded, clock %llu",
              process->index, UNSIGNED(o->commit), o->log_count - messages, UNSIGNED(o->newest),
              o->log_first - first, UNSIGNED(o->clock));
}

void oracle_audit(struct sim *sim)
{
    struct ls_error error;
    struct store *store = disk_open(sim->disk, PROCESSES, true);
    sim_check(sim, audit(store, &error), &error, "audit");
    struct reading reading;
    struct box_state box;
    sim_check(sim, reading_begin(&reading, store, &error), &error, "reading");
    sim_check(sim, box_state_read(&reading, &box, &error), &error, "the box");
    reading_end(&reading);
    store_close(store);
    const struct oracle *o = &sim->oracle;
    if (box.clock != o->clock || box.newest != o->newest || box.count != o->count ||
        box.chain != o->chain || box.discarded != o->discarded) {
        sim_fail(sim, "the store is not as it was committed");
    }
}
