/* SPDX-License-Identifier: Apache-2.0 */
/* Random requests over a small vocabulary, so that they meet. */
#include "arbitrary.h"

#include "codec/clock.h"
#include "coordinator/coordinator.h"
#include "fixture.h"

#define IDS 5

static char long_text[600];    /* of 'x' */
static char large_value[9000]; /* more than a page of the store */

/* SplitMix64. */
static uint64_t random_next(uint64_t *seed)
{
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t random_below(uint64_t *seed, uint64_t limit)
{
    return random_next(seed) % limit;
}

bool random_one_in(uint64_t *seed, uint64_t n)
{
    return random_below(seed, n) == 0;
}

static ls_bytes host_of(uint64_t *seed)
{
    static const char *const hosts[] = {"a", "b", "ab", "caf\xc3\xa9", "host-with-a-longer-name"};
    if (random_one_in(seed, 40)) {
        memset(long_text, 'x', sizeof long_text);
        switch (random_below(seed, 4)) {
        case 0:
            return bytes_of("", 0);
        case 1:
            return bytes_of("a\nb", 3);
        case 2:
            return bytes_of(long_text, 256);
        default:
            return bytes_of(long_text, 255);
        }
    }
    return bytes_of_text(hosts[random_below(seed, sizeof hosts / sizeof *hosts)]);
}

static ls_bytes key_of(uint64_t *seed)
{
    static const char *const keys[] = {"k", "key", "l", "m/1", "m/2", "m/3", "\xff\xff"};
    if (random_one_in(seed, 20)) {
        memset(long_text, 'x', sizeof long_text);
        switch (random_below(seed, 4)) {
        case 0:
            return bytes_of("", 0);
        case 1:
            return bytes_of(long_text, 481);
        case 2:
            return bytes_of(long_text, 480);
        default:
            return bytes_of("k\0y", 3);
        }
    }
    return bytes_of_text(keys[random_below(seed, sizeof keys / sizeof *keys)]);
}

static ls_bytes value_of(uint64_t *seed)
{
    return bytes_of(large_value,
                    random_one_in(seed, 20) ? sizeof large_value : random_below(seed, 60));
}

/* The object's `modified`, or sometimes another. */
static uint64_t modified_of(uint64_t *seed, const struct model *model, ls_bytes key)
{
    const struct model_object *object = model_object(model, key);
    if (random_one_in(seed, 4)) {
        return random_below(seed, 2) * random_below(seed, model->clock / 2 + 1);
    }
    return object == NULL ? 0 : object->object.modified;
}

/* A node to act as: a life that is there, mostly; one that is over; none. */
static void act(struct arbitrary *out, uint64_t *seed, const struct model *model)
{
    if (model->node_count == 0) {
        return;
    }
    const struct node *node = &model->nodes[random_below(seed, model->node_count)].node;
    uint64_t joined = node->joined;
    if (random_one_in(seed, 20)) {
        joined = 1 + random_below(seed, joined);
    }
    binding_set(&out->as, node->host, node->id, joined);
    out->request.as = &out->as;
}

static uint64_t carried(uint64_t *seed, uint64_t clock)
{
    switch (random_below(seed, 12)) {
    case 0:
        return clock + CLOCK_JUMP_MAX;
    case 1:
        return clock + CLOCK_JUMP_MAX + 1;
    case 2:
        return UINT64_MAX;
    case 3:
        return 0;
    default:
        return clock + random_below(seed, 5);
    }
}

static void make_post(struct arbitrary *out, uint64_t *seed, const struct model *model)
{
    static const uint8_t types[] = "UUUUUUUUUUDCOX";
    struct request *r = &out->request;
    if (random_one_in(seed, 2)) {
        act(out, seed, model);
    }
    r->in.post.type = types[random_below(seed, sizeof types - 1)];
    r->in.post.event = (uint8_t) "CUD\0x"[random_below(seed, 5)];
    if (random_one_in(seed, 3)) {
        r->in.post.to = host_of(seed);
    }
    if (random_one_in(seed, 4)) {
        r->in.post.has_clock = true;
        r->in.post.clock = carried(seed, model->clock);
    }
    if (r->as != NULL ? random_one_in(seed, 2) : random_one_in(seed, 30)) {
        static const uint64_t off[] = {1, 1, 1, 1, 1, 0, UINT64_MAX, 2, 100};
        r->in.post.has_seq = true;
        r->in.post.seq = (r->as == NULL ? 0 : model_seq(model, r->as->id)) +
                         off[random_below(seed, sizeof off / sizeof *off)];
    }
    out->item[0] = 0x4f; /* a byte string of 15 */
    memset(out->item + 1, (int)random_below(seed, 256), 15);
    r->in.post.object = bytes_of(out->item, sizeof out->item);
}

static void make_trim(struct arbitrary *out, uint64_t *seed, const struct model *model)
{
    const struct model_message *messages = model->messages;
    if (model->message_count == 0) {
        out->request.in.trim.before = 7;
        return;
    }
    /* Mostly a small part of what is there. */
    uint64_t part = random_one_in(seed, 5) ? 1 : 10;
    uint64_t index = random_below(seed, model->message_count / part + 1);
    index = index == model->message_count ? index - 1 : index;
    if (random_one_in(seed, 2)) {
        out->request.in.trim.before = messages[index].clock + random_below(seed, 3);
    } else {
        out->request.in.trim.older_ns = messages[index].timestamp_ns + random_below(seed, 2);
    }
}

static void make_retain(struct arbitrary *out, uint64_t *seed, const struct model *model,
                        uint64_t now_ns)
{
    struct retention *keep = &out->request.in.retain.keep;
    keep->hold = random_one_in(seed, 2);
    if (random_one_in(seed, 2)) {
        keep->count = 1 + random_below(seed, 2 * model->message_count + 1);
    }
    if (random_one_in(seed, 4)) {
        keep->bytes = 1 + random_below(seed, 2 * model_box_bytes(model) + 1);
    }
    if (model->message_count > 0 && random_one_in(seed, 2)) {
        keep->age_ms = random_below(seed, (now_ns - model->messages[0].timestamp_ns) / 500000 + 2);
    }
}

static void make_join(struct arbitrary *out, uint64_t *seed, const struct model *model)
{
    static const uint8_t meta[] = {0x63, 'a', 'b', 'c'};
    struct request *r = &out->request;
    r->in.join.host = host_of(seed);
    const struct model_node *node = model_node(model, r->in.join.host);
    id_of(r->in.join.id, (uint8_t)(1 + random_below(seed, IDS)));
    if (node != NULL && random_one_in(seed, 2)) {
        memcpy(r->in.join.id, node->node.id, 16);
    }
    r->in.join.ttl_ms = random_below(seed, 20000);
    r->in.join.via = 1 + random_below(seed, 2);
    r->in.join.held = random_one_in(seed, 4);
    if (random_one_in(seed, 2)) {
        r->in.join.meta = bytes_of(meta, sizeof meta);
    }
}

static void make_expire(struct arbitrary *out, uint64_t *seed, const struct model *model)
{
    struct request *r = &out->request;
    r->in.expire.host = host_of(seed);
    const struct model_node *node = model_node(model, r->in.expire.host);
    if (node != NULL) {
        r->in.expire.joined = node->node.joined - random_one_in(seed, 4);
        r->in.expire.beat = node->node.beat + random_one_in(seed, 4);
    }
}

static void make_put(struct arbitrary *out, uint64_t *seed, const struct model *model)
{
    struct request *r = &out->request;
    if (random_one_in(seed, 2)) {
        act(out, seed, model);
    }
    r->in.put.key = key_of(seed);
    r->in.put.value = value_of(seed);
    r->in.put.owned = r->as != NULL ? random_one_in(seed, 2) : random_one_in(seed, 30);
    r->in.put.nx = random_one_in(seed, 8);
    r->in.put.xx = random_one_in(seed, 8);
    r->in.put.has_if = random_one_in(seed, 4);
    r->in.put.modified = modified_of(seed, model, r->in.put.key);
}

static void make_del(struct arbitrary *out, uint64_t *seed, const struct model *model)
{
    struct request *r = &out->request;
    if (random_one_in(seed, 4)) {
        act(out, seed, model);
    }
    r->in.del.key = key_of(seed);
    r->in.del.has_if = random_one_in(seed, 3);
    r->in.del.modified = modified_of(seed, model, r->in.del.key);
}

static void make_txn(struct arbitrary *out, uint64_t *seed, const struct model *model)
{
    struct request *r = &out->request;
    if (random_one_in(seed, 4)) {
        act(out, seed, model);
    }
    r->in.txn.conditions = out->conditions;
    r->in.txn.condition_count = random_below(seed, 3);
    for (size_t i = 0; i < r->in.txn.condition_count; i++) {
        out->conditions[i].key = key_of(seed);
        out->conditions[i].modified = modified_of(seed, model, out->conditions[i].key);
    }
    r->in.txn.operations = out->operations;
    r->in.txn.operation_count = random_below(seed, 5);
    for (size_t i = 0; i < r->in.txn.operation_count; i++) {
        out->operations[i] =
            (struct object_operation){.key = key_of(seed), .del = random_one_in(seed, 3)};
        if (i > 0 && random_one_in(seed, 3)) {
            out->operations[i].key = out->operations[i - 1].key;
        }
        if (!out->operations[i].del) {
            out->operations[i].value = value_of(seed);
        }
    }
}

void arbitrary_make(struct arbitrary *out, uint64_t *seed, const struct model *model,
                    uint64_t now_ns)
{
    static const enum request_kind kinds[] = {
        REQUEST_POST,       REQUEST_POST,          REQUEST_POST,       REQUEST_POST,
        REQUEST_POST,       REQUEST_POST,          REQUEST_POST,       REQUEST_POST,
        REQUEST_CLOCK_NEXT, REQUEST_CLOCK_WITNESS, REQUEST_TRIM,       REQUEST_RETAIN,
        REQUEST_EPOCH,      REQUEST_NODE_JOIN,     REQUEST_NODE_JOIN,  REQUEST_NODE_JOIN,
        REQUEST_NODE_STATE, REQUEST_NODE_LEAVE,    REQUEST_NODE_ACK,   REQUEST_NODE_ACK,
        REQUEST_NODE_BEAT,  REQUEST_NODE_EXPIRE,   REQUEST_OBJECT_PUT, REQUEST_OBJECT_PUT,
        REQUEST_OBJECT_PUT, REQUEST_OBJECT_PUT,    REQUEST_OBJECT_PUT, REQUEST_OBJECT_DEL,
        REQUEST_OBJECT_DEL, REQUEST_OBJECT_TXN,    REQUEST_OBJECT_TXN,
    };
    *out = (struct arbitrary){0};
    struct request *r = &out->request;
    r->error = &out->error;
    r->kind = kinds[random_below(seed, sizeof kinds / sizeof *kinds)];
    switch (r->kind) {
    case REQUEST_POST:
        make_post(out, seed, model);
        break;
    case REQUEST_CLOCK_NEXT:
        r->in.clock_next.count =
            random_one_in(seed, 4) ? random_below(seed, 2 * CLOCK_NEXT_MAX) : random_below(seed, 4);
        break;
    case REQUEST_CLOCK_WITNESS:
        r->in.clock_witness.seen = carried(seed, model->clock);
        break;
    case REQUEST_TRIM:
        make_trim(out, seed, model);
        break;
    case REQUEST_RETAIN:
        make_retain(out, seed, model, now_ns);
        break;
    case REQUEST_EPOCH:
        break;
    case REQUEST_NODE_JOIN:
        make_join(out, seed, model);
        break;
    case REQUEST_NODE_STATE:
        act(out, seed, model);
        r->in.state.state = (enum node_state)random_below(seed, random_one_in(seed, 8) ? 3 : 2);
        break;
    case REQUEST_NODE_LEAVE:
    case REQUEST_NODE_BEAT:
        act(out, seed, model);
        break;
    case REQUEST_NODE_ACK:
        act(out, seed, model);
        r->in.ack.clock = random_one_in(seed, 8) ? model->clock + random_below(seed, 3)
                                                 : random_below(seed, model->clock / 2 + 1) * 2;
        break;
    case REQUEST_NODE_EXPIRE:
        make_expire(out, seed, model);
        break;
    case REQUEST_OBJECT_PUT:
        make_put(out, seed, model);
        break;
    case REQUEST_OBJECT_DEL:
        make_del(out, seed, model);
        break;
    case REQUEST_OBJECT_TXN:
        make_txn(out, seed, model);
        break;
    case REQUEST_EXTENSION: /* none of the kinds drawn */
        break;
    }
}

void arbitrary_copy(struct arbitrary *out, const struct arbitrary *from)
{
    *out = *from;
    out->request.error = &out->error;
    if (from->request.as != NULL) {
        out->request.as = &out->as;
    }
    if (from->request.kind == REQUEST_OBJECT_TXN) {
        out->request.in.txn.conditions = out->conditions;
        out->request.in.txn.operations = out->operations;
    }
    if (from->request.kind == REQUEST_POST) {
        out->request.in.post.object = bytes_of(out->item, sizeof out->item);
    }
}

void arbitrary_print(const struct arbitrary *arbitrary)
{
    const struct request *r = &arbitrary->request;
    print_error("kind %d status %s clock %llu number %llu", (int)r->kind, ls_errname(r->status),
                (unsigned long long)r->clock, (unsigned long long)r->number);
    if (r->as != NULL) {
        print_error(" as %s joined %llu", r->as->host, (unsigned long long)r->as->joined);
    }
    if (r->status < 0) {
        print_error(" number %llu: %s", (unsigned long long)r->error->number, r->error->text);
    }
    print_error("\n");
}
