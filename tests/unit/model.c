/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model. Each kind of request first finds out whether it is refused, and only then does what it
 * does. Everything is looked for from the start of its array.
 */
#include "model.h"

#include <stdlib.h>

#include "base/error.h"
#include "codec/clock.h"
#include "coordinator/coordinator.h"
#include "coordinator/layout.h"
#include "fixture.h"

/* ---- memory ---- */

static ls_bytes copy_of(ls_bytes bytes)
{
    void *copy = malloc(bytes.size + 1);
    assert_non_null(copy);
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    return bytes_of(copy, bytes.size);
}

static void drop(ls_bytes bytes)
{
    free((void *)(uintptr_t)bytes.data);
}

/* Room for one more behind `count`. */
static void *grown(void *array, size_t count, size_t size)
{
    array = realloc(array, (count + 1) * size);
    assert_non_null(array);
    return array;
}

struct model *model_new(void)
{
    struct model *m = calloc(1, sizeof *m);
    assert_non_null(m);
    return m;
}

void model_free(struct model *m)
{
    for (size_t i = 0; i < m->message_count; i++) {
        drop(m->messages[i].record);
    }
    for (size_t i = 0; i < m->node_count; i++) {
        drop(m->nodes[i].node.host);
        drop(m->nodes[i].node.meta);
    }
    for (size_t i = 0; i < m->object_count; i++) {
        drop(m->objects[i].key);
        drop(m->objects[i].object.value);
        drop(m->objects[i].object.owner);
    }
    free(m->messages);
    free(m->nodes);
    free(m->objects);
    free(m->producers);
    free(m);
}

/* ---- looking ---- */

static struct model_node *find_node(const struct model *m, ls_bytes host)
{
    for (size_t i = 0; i < m->node_count; i++) {
        if (bytes_equal(m->nodes[i].node.host, host)) {
            return &m->nodes[i];
        }
    }
    return NULL;
}

static struct model_object *find_object(const struct model *m, ls_bytes key)
{
    for (size_t i = 0; i < m->object_count; i++) {
        if (bytes_equal(m->objects[i].key, key)) {
            return &m->objects[i];
        }
    }
    return NULL;
}

static struct model_producer *find_producer(const struct model *m, const uint8_t id[16])
{
    for (size_t i = 0; i < m->producer_count; i++) {
        if (memcmp(m->producers[i].id, id, 16) == 0) {
            return &m->producers[i];
        }
    }
    return NULL;
}

const struct model_node *model_node(const struct model *m, ls_bytes host)
{
    return find_node(m, host);
}

const struct model_object *model_object(const struct model *m, ls_bytes key)
{
    return find_object(m, key);
}

uint64_t model_seq(const struct model *m, const uint8_t id[16])
{
    const struct model_producer *producer = find_producer(m, id);
    return producer == NULL ? 0 : producer->producer.seq;
}

static uint64_t modified_of(const struct model *m, ls_bytes key)
{
    const struct model_object *object = find_object(m, key);
    return object == NULL ? 0 : object->object.modified;
}

uint64_t model_box_bytes(const struct model *m)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < m->message_count; i++) {
        bytes += MESSAGE_KEY_SIZE + m->messages[i].record.size;
    }
    return bytes;
}

/* ---- refusing ---- */

static int refuse(struct request *r, int code, uint64_t number)
{
    r->error->code = code;
    r->error->number = number;
    return code;
}

/* The life that `as` names: NULL where it is over. */
static struct model_node *life_of(const struct model *m, const struct binding *as)
{
    struct model_node *node = find_node(m, binding_host(as));
    return node != NULL && node->node.state != NODE_DOWN && node->node.joined == as->joined ? node
                                                                                            : NULL;
}

static bool over(const struct model *m, const struct request *r)
{
    return r->as != NULL && life_of(m, r->as) == NULL;
}

static bool clock_has(const struct model *m, uint64_t ticks)
{
    return ticks <= UINT64_MAX - m->clock;
}

/* ---- messages ---- */

static void append(struct model *m, struct message *message, uint64_t now_ns)
{
    struct buf record = {0};
    message->clock = m->clock;
    message->timestamp_ns = now_ns;
    assert_int_equal(message_encode(&record, message, m->chain), 0);
    m->messages = grown(m->messages, m->message_count, sizeof *m->messages);
    m->messages[m->message_count++] = (struct model_message){.clock = message->clock,
                                                             .timestamp_ns = now_ns,
                                                             .check = message->check,
                                                             .type = message->type,
                                                             .record = buf_bytes(&record)};
    m->newest = message->clock;
    m->chain = message->check;
}

static void sign(struct message *message, const struct binding *as)
{
    if (as != NULL) {
        message->from = binding_host(as);
        message->has_from_id = true;
        memcpy(message->from_id, as->id, 16);
    }
}

/* The O message of a change under the clock as it is; no value: deleted. */
static void tell(struct model *m, const struct key *key, const struct buf *value, uint64_t previous,
                 const struct binding *as, uint64_t now_ns)
{
    struct buf item = {0};
    struct change change = {.key = key_bytes(key), .previous = previous};
    struct message message = {.type = LS_OBJECT, .event = LS_DELETED};
    if (value != NULL) {
        change.value = buf_bytes(value);
        change.has_value = true;
        message.event = previous == 0 ? LS_CREATED : LS_UPDATED;
    }
    assert_int_equal(change_encode(&item, &change), 0);
    message.object = buf_bytes(&item);
    sign(&message, as);
    append(m, &message, now_ns);
    buf_free(&item);
}

static int post(struct model *m, struct request *r, uint64_t now_ns)
{
    uint8_t type = r->in.post.type, event = r->in.post.event;
    bool three = event == LS_CREATED || event == LS_UPDATED || event == LS_DELETED;
    if (type != LS_USER && !((type == LS_DATABASE || type == LS_COLLECTION) && three)) {
        return refuse(r, LS_EINVAL, 0);
    }
    if (over(m, r) || (r->in.post.has_seq && r->as == NULL)) {
        return refuse(r, LS_ENOTJOINED, 0);
    }
    struct model_producer *producer = r->as == NULL ? NULL : find_producer(m, r->as->id);
    if (r->in.post.has_seq) {
        uint64_t last = producer == NULL ? 0 : producer->producer.seq;
        if (r->in.post.seq > last && r->in.post.seq - 1 > last) {
            return refuse(r, LS_ESEQGAP, last);
        }
        if (r->in.post.seq < last || r->in.post.seq == 0) {
            return refuse(r, LS_EDUPLICATE, last);
        }
        if (r->in.post.seq == last) {
            r->clock = producer->producer.clock;
            return 0;
        }
    }
    struct message message = {.type = type, .event = event, .object = r->in.post.object};
    if (r->in.post.to.size > 0) {
        int rc = key_check_host(r->in.post.to, NULL);
        if (rc < 0) {
            return refuse(r, rc, 0);
        }
        const struct model_node *to = find_node(m, r->in.post.to);
        message.host = r->in.post.to;
        message.has_id = to != NULL;
        if (to != NULL) {
            memcpy(message.id, to->node.id, 16);
        }
    }
    uint64_t above = m->clock;
    if (r->in.post.has_clock && r->in.post.clock > above) {
        if (r->in.post.clock - above > CLOCK_JUMP_MAX) {
            return refuse(r, LS_ECLOCKJUMP, m->clock);
        }
        above = r->in.post.clock;
    }
    if (above == UINT64_MAX) {
        return refuse(r, LS_ECLOCKJUMP, m->clock);
    }
    r->clock = m->clock = above + 1;
    sign(&message, r->as);
    append(m, &message, now_ns);
    if (r->in.post.has_seq) {
        if (producer == NULL) {
            m->producers = grown(m->producers, m->producer_count, sizeof *m->producers);
            producer = &m->producers[m->producer_count++];
            memcpy(producer->id, r->as->id, 16);
        }
        producer->producer = (struct producer){.seq = r->in.post.seq, .clock = r->clock};
    }
    return 0;
}

/* ---- discarding ---- */

static void discard_first(struct model *m)
{
    m->discarded = m->messages[0].clock;
    m->discarded_chain = m->messages[0].check;
    drop(m->messages[0].record);
    m->message_count--;
    memmove(m->messages, m->messages + 1, m->message_count * sizeof *m->messages);
}

/* Discards from the oldest on while `takes` holds of it, in steps. */
static int discard(struct model *m, struct request *r, uint64_t now_ns,
                   bool (*takes)(const struct model *, const struct request *, uint64_t))
{
    size_t taken = 0;
    while (m->message_count > 0 && takes(m, r, now_ns)) {
        if (taken == TRIM_STEP) {
            r->again = true;
            break;
        }
        discard_first(m);
        taken++;
    }
    r->number += taken;
    return 0;
}

static bool trim_takes(const struct model *m, const struct request *r, uint64_t now_ns)
{
    const struct model_message *oldest = &m->messages[0];
    (void)now_ns;
    if (oldest->clock > r->clock) {
        return false;
    }
    return oldest->clock < r->in.trim.before || oldest->timestamp_ns < r->in.trim.older_ns;
}

static int trim(struct model *m, struct request *r, uint64_t now_ns)
{
    if (r->clock == 0) {
        r->clock = m->newest;
    }
    return discard(m, r, now_ns, trim_takes);
}

static bool retain_takes(const struct model *m, const struct request *r, uint64_t now_ns)
{
    const struct retention *keep = &r->in.retain.keep;
    const struct model_message *oldest = &m->messages[0];
    if (keep->bytes != 0 && model_box_bytes(m) > keep->bytes) {
        return true;
    }
    for (size_t i = 0; keep->hold && i < m->node_count; i++) {
        if (m->nodes[i].node.state == NODE_UP && m->nodes[i].node.clock < oldest->clock) {
            return false;
        }
    }
    uint64_t age_ms = (now_ns - oldest->timestamp_ns) / 1000000;
    bool exact = (now_ns - oldest->timestamp_ns) % 1000000 == 0;
    return (keep->count != 0 && m->message_count > keep->count) ||
           (keep->age_ms != 0 && now_ns > oldest->timestamp_ns &&
            (age_ms > keep->age_ms || (age_ms == keep->age_ms && !exact)));
}

static int retain(struct model *m, struct request *r, uint64_t now_ns)
{
    return discard(m, r, now_ns, retain_takes);
}

/* ---- objects ---- */

static void put_object(struct model *m, ls_bytes name, ls_bytes value, ls_bytes owner,
                       const struct binding *as, uint64_t now_ns)
{
    struct key key;
    struct buf record = {0};
    struct model_object *o = find_object(m, name);
    uint64_t previous = o == NULL ? 0 : o->object.modified;
    m->clock++;
    if (o == NULL) {
        m->objects = grown(m->objects, m->object_count, sizeof *m->objects);
        o = &m->objects[m->object_count++];
        *o = (struct model_object){.key = copy_of(name), .object = {.created = m->clock}};
    }
    drop(o->object.value);
    drop(o->object.owner);
    o->object.value = copy_of(value);
    o->object.owner = copy_of(owner);
    o->object.modified = m->clock;
    assert_int_equal(key_object(&key, name, NULL), 0);
    assert_int_equal(object_encode(&record, &o->object, key_bytes(&key)), 0);
    tell(m, &key, &record, previous, as, now_ns);
    buf_free(&record);
}

static void del_object(struct model *m, struct model_object *o, const struct binding *as,
                       uint64_t now_ns)
{
    struct key key;
    m->clock++;
    assert_int_equal(key_object(&key, o->key, NULL), 0);
    tell(m, &key, NULL, o->object.modified, as, now_ns);
    drop(o->key);
    drop(o->object.value);
    drop(o->object.owner);
    *o = m->objects[--m->object_count];
}

static size_t owned_count(const struct model *m, ls_bytes host)
{
    size_t count = 0;
    for (size_t i = 0; i < m->object_count; i++) {
        count += bytes_equal(m->objects[i].object.owner, host);
    }
    return count;
}

/* Deletes what the host owns, what was created first first. */
static void disown(struct model *m, ls_bytes host, uint64_t now_ns)
{
    for (;;) {
        struct model_object *first = NULL;
        for (size_t i = 0; i < m->object_count; i++) {
            struct model_object *o = &m->objects[i];
            if (bytes_equal(o->object.owner, host) &&
                (first == NULL || o->object.created < first->object.created)) {
                first = o;
            }
        }
        if (first == NULL) {
            return;
        }
        del_object(m, first, NULL, now_ns);
    }
}

static int check_key(ls_bytes key)
{
    return key.size == 0 ? LS_EKEY : key.size > KEY_OBJECT_SIZE_MAX ? LS_ETOOBIG : 0;
}

static int put(struct model *m, struct request *r, uint64_t now_ns)
{
    if (over(m, r) || (r->in.put.owned && r->as == NULL)) {
        return refuse(r, LS_ENOTJOINED, 0);
    }
    int rc = check_key(r->in.put.key);
    if (rc < 0) {
        return refuse(r, rc, 0);
    }
    uint64_t modified = modified_of(m, r->in.put.key);
    if ((r->in.put.has_if && r->in.put.modified != modified) || (r->in.put.nx && modified != 0) ||
        (r->in.put.xx && modified == 0)) {
        return refuse(r, LS_ECONFLICT, modified);
    }
    if (!clock_has(m, 1)) {
        return refuse(r, LS_ECLOCKJUMP, m->clock);
    }
    put_object(m, r->in.put.key, r->in.put.value,
               r->in.put.owned ? binding_host(r->as) : bytes_of(NULL, 0), r->as, now_ns);
    r->clock = m->clock;
    return 0;
}

static int del(struct model *m, struct request *r, uint64_t now_ns)
{
    if (over(m, r)) {
        return refuse(r, LS_ENOTJOINED, 0);
    }
    int rc = check_key(r->in.del.key);
    if (rc < 0) {
        return refuse(r, rc, 0);
    }
    struct model_object *o = find_object(m, r->in.del.key);
    uint64_t modified = modified_of(m, r->in.del.key);
    if (r->in.del.has_if && r->in.del.modified != modified) {
        return refuse(r, LS_ECONFLICT, modified);
    }
    r->clock = 0;
    if (o == NULL) {
        return 0;
    }
    if (!clock_has(m, 1)) {
        return refuse(r, LS_ECLOCKJUMP, m->clock);
    }
    del_object(m, o, r->as, now_ns);
    r->clock = m->clock;
    return 0;
}

/* How many changes the operations make: which deletes find something is only known on the way. */
static size_t txn_changes(const struct model *m, const struct request *r)
{
    size_t changes = 0;
    for (size_t i = 0; i < r->in.txn.operation_count; i++) {
        const struct object_operation *operation = &r->in.txn.operations[i];
        bool there = find_object(m, operation->key) != NULL;
        for (size_t j = 0; j < i; j++) {
            if (bytes_equal(r->in.txn.operations[j].key, operation->key)) {
                there = !r->in.txn.operations[j].del;
            }
        }
        changes += !operation->del || there;
    }
    return changes;
}

static int txn(struct model *m, struct request *r, uint64_t now_ns)
{
    if (over(m, r)) {
        return refuse(r, LS_ENOTJOINED, 0);
    }
    for (size_t i = 0; i < r->in.txn.condition_count; i++) {
        const struct object_condition *condition = &r->in.txn.conditions[i];
        int rc = check_key(condition->key);
        if (rc < 0) {
            return refuse(r, rc, 0);
        }
        uint64_t modified = modified_of(m, condition->key);
        if (modified != condition->modified) {
            return refuse(r, LS_ECONFLICT, modified);
        }
    }
    for (size_t i = 0; i < r->in.txn.operation_count; i++) {
        int rc = check_key(r->in.txn.operations[i].key);
        if (rc < 0) {
            return refuse(r, rc, 0);
        }
    }
    if (!clock_has(m, txn_changes(m, r))) {
        return refuse(r, LS_ECLOCKJUMP, m->clock);
    }
    r->clock = 0;
    for (size_t i = 0; i < r->in.txn.operation_count; i++) {
        struct object_operation *operation = &r->in.txn.operations[i];
        struct model_object *o = find_object(m, operation->key);
        operation->clock = 0;
        if (operation->del && o == NULL) {
            continue;
        }
        if (operation->del) {
            del_object(m, o, r->as, now_ns);
        } else {
            put_object(m, operation->key, operation->value, bytes_of(NULL, 0), r->as, now_ns);
        }
        r->clock = operation->clock = m->clock;
    }
    return 0;
}

/* ---- nodes ---- */

/* Tells of the node as it is, under the clock as it is. */
static void tell_node(struct model *m, struct model_node *n, uint64_t previous,
                      const struct binding *as, uint64_t now_ns)
{
    struct key key;
    struct buf record = {0};
    n->node.modified = m->clock;
    n->node.timestamp_ns = now_ns;
    assert_int_equal(key_node(&key, n->node.host, NULL), 0);
    assert_int_equal(node_encode(&record, &n->node, key_bytes(&key)), 0);
    tell(m, &key, &record, previous, as, now_ns);
    buf_free(&record);
}

static int join(struct model *m, struct request *r, uint64_t now_ns)
{
    ls_bytes host = r->in.join.host;
    int rc = key_check_host(host, NULL);
    if (rc < 0) {
        return refuse(r, rc, 0);
    }
    struct model_node *n = find_node(m, host);
    bool live = n != NULL && n->node.state != NODE_DOWN;
    bool same = n != NULL && memcmp(n->node.id, r->in.join.id, 16) == 0;
    bool evicts = live && !same;
    if (evicts && (r->in.join.held || n->node.via != r->in.join.via)) {
        return refuse(r, LS_EINUSE, n->node.joined);
    }
    if (!clock_has(m, 1 + (evicts ? owned_count(m, host) : 0))) {
        return refuse(r, LS_ECLOCKJUMP, m->clock);
    }
    if (evicts) {
        disown(m, host, now_ns);
    }
    if (n == NULL) {
        m->nodes = grown(m->nodes, m->node_count, sizeof *m->nodes);
        n = &m->nodes[m->node_count++];
        *n = (struct model_node){.node = {.host = copy_of(host)}};
    }
    uint64_t previous = n->node.modified;
    m->clock++;
    drop(n->node.meta);
    n->node = (struct node){.host = n->node.host,
                            .joined = m->clock,
                            .state = NODE_UP,
                            .clock = same ? n->node.clock : 0,
                            .ttl_ms = r->in.join.ttl_ms,
                            .via = r->in.join.via,
                            .meta = copy_of(r->in.join.meta)};
    memcpy(n->node.id, r->in.join.id, 16);
    struct binding as;
    binding_set(&as, host, r->in.join.id, m->clock);
    tell_node(m, n, previous, &as, now_ns);
    r->clock = m->clock;
    r->number = model_seq(m, r->in.join.id);
    return 0;
}

/* What a request that acts as a node needs: the node, or NULL with the refusal. */
static struct model_node *acting(struct model *m, struct request *r)
{
    struct model_node *n = r->as == NULL ? NULL : life_of(m, r->as);
    if (n == NULL) {
        refuse(r, LS_ENOTJOINED, 0);
    }
    return n;
}

static int set_state(struct model *m, struct request *r, uint64_t now_ns)
{
    if (r->in.state.state != NODE_UP && r->in.state.state != NODE_LEAVING) {
        return refuse(r, LS_EINVAL, 0);
    }
    struct model_node *n = acting(m, r);
    if (n == NULL) {
        return LS_ENOTJOINED;
    }
    if (!clock_has(m, 1)) {
        return refuse(r, LS_ECLOCKJUMP, m->clock);
    }
    uint64_t previous = n->node.modified;
    r->clock = ++m->clock;
    n->node.state = r->in.state.state;
    n->node.beat++;
    tell_node(m, n, previous, r->as, now_ns);
    return 0;
}

static int leave(struct model *m, struct request *r, uint64_t now_ns)
{
    struct key key;
    struct model_node *n = acting(m, r);
    if (n == NULL) {
        return LS_ENOTJOINED;
    }
    if (!clock_has(m, 1 + owned_count(m, n->node.host))) {
        return refuse(r, LS_ECLOCKJUMP, m->clock);
    }
    disown(m, n->node.host, now_ns);
    r->clock = ++m->clock;
    assert_int_equal(key_node(&key, n->node.host, NULL), 0);
    tell(m, &key, NULL, n->node.modified, r->as, now_ns);
    drop(n->node.host);
    drop(n->node.meta);
    *n = m->nodes[--m->node_count];
    return 0;
}

static int touch(struct model *m, struct request *r, uint64_t processed)
{
    struct model_node *n = acting(m, r);
    if (n == NULL) {
        return LS_ENOTJOINED;
    }
    if (processed > m->clock) {
        return refuse(r, LS_EINVAL, m->clock);
    }
    n->node.beat++;
    if (n->node.clock < processed) {
        n->node.clock = processed;
    }
    r->clock = m->clock;
    return 0;
}

static int expire(struct model *m, struct request *r, uint64_t now_ns)
{
    int rc = key_check_host(r->in.expire.host, NULL);
    if (rc < 0) {
        return refuse(r, rc, 0);
    }
    struct model_node *n = find_node(m, r->in.expire.host);
    r->number = 0;
    if (n == NULL || n->node.state == NODE_DOWN || n->node.joined != r->in.expire.joined ||
        n->node.beat != r->in.expire.beat) {
        return 0;
    }
    if (!clock_has(m, 1 + owned_count(m, n->node.host))) {
        return refuse(r, LS_ECLOCKJUMP, m->clock);
    }
    uint64_t previous = n->node.modified;
    r->clock = ++m->clock;
    r->number = 1;
    n->node.state = NODE_DOWN;
    tell_node(m, n, previous, NULL, now_ns);
    disown(m, n->node.host, now_ns);
    return 0;
}

/* ---- all of them ---- */

static int clock_next(struct model *m, struct request *r)
{
    uint64_t count = r->in.clock_next.count;
    if (count == 0 || count > 1048576) {
        return refuse(r, LS_EINVAL, 0);
    }
    if (!clock_has(m, count)) {
        return refuse(r, LS_ECLOCKJUMP, m->clock);
    }
    r->clock = m->clock + 1;
    m->clock += count;
    return 0;
}

static int clock_seen(struct model *m, struct request *r)
{
    uint64_t seen = r->in.clock_witness.seen;
    if (seen < m->clock) {
        seen = m->clock;
    }
    if (seen - m->clock > CLOCK_JUMP_MAX || seen == UINT64_MAX) {
        return refuse(r, LS_ECLOCKJUMP, m->clock);
    }
    r->clock = m->clock = seen + 1;
    return 0;
}

static int apply(struct model *m, struct request *r, uint64_t now_ns)
{
    switch (r->kind) {
    case REQUEST_POST:
        return post(m, r, now_ns);
    case REQUEST_CLOCK_NEXT:
        return clock_next(m, r);
    case REQUEST_CLOCK_WITNESS:
        return clock_seen(m, r);
    case REQUEST_TRIM:
        return trim(m, r, now_ns);
    case REQUEST_RETAIN:
        return retain(m, r, now_ns);
    case REQUEST_EPOCH:
        r->clock = ++m->epoch;
        return 0;
    case REQUEST_NODE_JOIN:
        return join(m, r, now_ns);
    case REQUEST_NODE_STATE:
        return set_state(m, r, now_ns);
    case REQUEST_NODE_LEAVE:
        return leave(m, r, now_ns);
    case REQUEST_NODE_ACK:
        return touch(m, r, r->in.ack.clock);
    case REQUEST_NODE_BEAT:
        return touch(m, r, 0);
    case REQUEST_NODE_EXPIRE:
        return expire(m, r, now_ns);
    case REQUEST_OBJECT_PUT:
        return put(m, r, now_ns);
    case REQUEST_OBJECT_DEL:
        return del(m, r, now_ns);
    case REQUEST_OBJECT_TXN:
        return txn(m, r, now_ns);
    case REQUEST_EXTENSION:
        break;
    }
    return refuse(r, LS_EINVAL, 0);
}

int model_apply(struct model *m, struct request *r, uint64_t now_ns)
{
    r->again = false;
    r->status = apply(m, r, now_ns);
    return r->status;
}
