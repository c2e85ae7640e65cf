/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes. An actor says one thing at a time and judges the answer: a life may only be over when it
 * was given up, and only after it was silent for its ttl; a numbered post is in the box exactly
 * once, in order, under the clock that was answered.
 */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "sim.h"

#define TTL_NS (UINT64_C(1000000) * TTL_MS)

void actors_open(struct sim *sim)
{
    for (size_t i = 0; i < ACTORS; i++) {
        struct actor *actor = &sim->actors[i];
        snprintf(actor->host, sizeof actor->host, "node-%zu", i);
        memset(actor->id, (int)(i + 1), sizeof actor->id);
    }
}

static ls_bytes host_of(const struct actor *actor)
{
    return bytes_of_text(actor->host);
}

static struct actor *actor_of(struct sim *sim, ls_bytes host)
{
    for (size_t i = 0; i < ACTORS; i++) {
        if (bytes_equal(host, host_of(&sim->actors[i]))) {
            return &sim->actors[i];
        }
    }
    sim_fail(sim, "a node that never joined");
}

static ls_bytes random_key(struct sim *sim, char key[8])
{
    key_name(key, (int)draw(sim, KEYS));
    return bytes_of_text(key);
}

/* ---- asking ---- */

static void ask_post(struct sim *sim, struct actor *actor)
{
    struct request *r = &actor->request;
    uint64_t number = actor->acknowledged + 1;
    actor->item[0] = 0x1b; /* an unsigned number of 8 bytes */
    put_be64(actor->item + 1, number);
    r->kind = REQUEST_POST;
    r->in.post.object = bytes_of(actor->item, sizeof actor->item);
    r->in.post.type = LS_USER;
    if (one_in(sim, 4)) {
        r->in.post.type = LS_DATABASE;
        r->in.post.event = LS_CREATED;
        r->in.post.to = host_of(&sim->actors[draw(sim, ACTORS)]);
    } else {
        r->in.post.has_seq = true;
        r->in.post.seq = number;
    }
    if (one_in(sim, 3)) {
        r->in.post.has_clock = true;
        r->in.post.clock = sim->highest_given + draw(sim, 3);
    }
}

static void ask_put(struct sim *sim, struct actor *actor)
{
    struct request *r = &actor->request;
    r->kind = REQUEST_OBJECT_PUT;
    r->in.put.key = random_key(sim, actor->keys[0]);
    r->in.put.value = bytes_of(actor->item, sizeof actor->item);
    r->in.put.owned = one_in(sim, 2);
    r->in.put.nx = one_in(sim, 6);
    r->in.put.xx = one_in(sim, 6);
}

static void ask_txn(struct sim *sim, struct actor *actor)
{
    struct request *r = &actor->request;
    r->kind = REQUEST_OBJECT_TXN;
    r->in.txn.operations = actor->operations;
    r->in.txn.operation_count = 1 + draw(sim, 3);
    for (size_t i = 0; i < r->in.txn.operation_count; i++) {
        actor->operations[i] = (struct object_operation){
            .key = random_key(sim, actor->keys[i]),
            .value = bytes_of(actor->item, sizeof actor->item),
            .del = one_in(sim, 3),
        };
    }
    if (one_in(sim, 3)) {
        actor->condition = (struct object_condition){.key = actor->operations[0].key};
        r->in.txn.conditions = &actor->condition;
        r->in.txn.condition_count = 1;
    }
}

static void ask_anything(struct sim *sim, struct actor *actor)
{
    struct request *r = &actor->request;
    switch (draw(sim, 16)) {
    case 0:
        r->kind = REQUEST_NODE_ACK;
        r->in.ack.clock = sim->watchers[draw(sim, WATCHERS)].next - 1;
        return;
    case 1:
        r->kind = REQUEST_NODE_STATE;
        r->in.state.state = one_in(sim, 3) ? NODE_LEAVING : NODE_UP;
        return;
    case 2:
        r->kind = one_in(sim, 4) ? REQUEST_NODE_LEAVE : REQUEST_NODE_BEAT;
        return;
    case 3:
        r->kind = REQUEST_CLOCK_NEXT;
        r->as = NULL; /* whoever asks */
        r->in.clock_next.count = 1 + draw(sim, 10);
        return;
    case 4:
        r->kind = REQUEST_OBJECT_DEL;
        r->in.del.key = random_key(sim, actor->keys[0]);
        return;
    case 5:
    case 6:
        ask_txn(sim, actor);
        return;
    case 7:
    case 8:
    case 9:
        ask_put(sim, actor);
        return;
    default:
        ask_post(sim, actor);
    }
}

bool actor_ask(struct sim *sim, struct actor *actor)
{
    if (one_in(sim, 100)) {
        actor->silent_until_ns = sim->now_ns + draw(sim, 4 * TTL_NS);
    }
    if (sim->now_ns < actor->silent_until_ns) {
        return false;
    }
    struct request *r = &actor->request;
    *r = (struct request){.error = &actor->error};
    if (!actor->joined) {
        r->kind = REQUEST_NODE_JOIN;
        r->in.join.host = host_of(actor);
        memcpy(r->in.join.id, actor->id, 16);
        r->in.join.ttl_ms = TTL_MS;
        r->in.join.via = sim->epoch;
        return true;
    }
    r->as = &actor->life;
    if (sim->now_ns - actor->beat_ns > TTL_NS / 3 && !one_in(sim, 4)) {
        r->kind = REQUEST_NODE_BEAT;
    } else {
        ask_anything(sim, actor);
    }
    return true;
}

/* ---- judging ---- */

void actor_disconnected(struct actor *actor)
{
    actor->joined = false;
    actor->observed_joined = 0; /* whoever observed is gone as well, or starts anew */
}

void actor_posted(struct sim *sim, const struct message *message)
{
    struct actor *actor = actor_of(sim, message->from);
    uint64_t number = get_be64((const uint8_t *)message->object.data + 1);
    if (number != actor->seen + 1) {
        sim_fail(sim, "%s posted %llu behind %llu", actor->host, (unsigned long long)number,
                 (unsigned long long)actor->seen);
    }
    actor->seen = number;
    actor->seen_clock = message->clock;
}

static void joined(struct sim *sim, struct actor *actor)
{
    const struct request *r = &actor->request;
    if (r->number != actor->seen) {
        sim_fail(sim, "%s joins with number %llu, and posted %llu", actor->host,
                 (unsigned long long)r->number, (unsigned long long)actor->seen);
    }
    actor->life = (struct binding){.joined = r->clock, .host_size = (uint8_t)strlen(actor->host)};
    memcpy(actor->life.id, actor->id, 16);
    memcpy(actor->life.host, actor->host, sizeof actor->host);
    actor->joined = true;
    actor->expired = false;
    if (one_in(sim, 2)) {
        actor->acknowledged = r->number; /* else the last one is sent again, where it is in doubt */
    }
}

static void refused(struct sim *sim, struct actor *actor)
{
    switch (actor->request.status) {
    case LS_ENOTJOINED:
        if (!actor->expired) {
            sim_fail(sim, "the life of %s ended while it was not over", actor->host);
        }
        actor->joined = false;
        break;
    case LS_ENOSPACE:
        sim->refused_for_space++;
        break;
    case LS_ECONFLICT:
        break;
    default:
        sim_fail(sim, "%s was refused: %s: %s", actor->host, ls_errname(actor->request.status),
                 actor->error.text);
    }
}

void actor_answered(struct sim *sim, struct actor *actor)
{
    const struct request *r = &actor->request;
    uint64_t last = r->clock;
    if (r->status < 0) {
        refused(sim, actor);
        return;
    }
    if (r->as != NULL && actor->expired) {
        sim_fail(sim, "%s does things after it was given up", actor->host);
    }
    switch (r->kind) {
    case REQUEST_NODE_JOIN:
        joined(sim, actor);
        actor->beat_ns = sim->now_ns;
        break;
    case REQUEST_NODE_BEAT:
    case REQUEST_NODE_ACK:
    case REQUEST_NODE_STATE:
        actor->beat_ns = sim->now_ns;
        break;
    case REQUEST_NODE_LEAVE:
        actor->joined = false;
        break;
    case REQUEST_CLOCK_NEXT:
        last = r->clock + r->in.clock_next.count - 1;
        if (r->clock <= sim->highest_given) {
            sim_fail(sim, "clock %llu was given twice", (unsigned long long)r->clock);
        }
        break;
    default:
        break;
    }
    if (r->kind == REQUEST_POST && r->in.post.has_seq) {
        actor->acknowledged = r->in.post.seq;
        if (actor->seen != r->in.post.seq || actor->seen_clock != r->clock) {
            sim_fail(sim, "post %llu of %s was answered, and is not in the box",
                     (unsigned long long)r->in.post.seq, actor->host);
        }
    }
    if (last > sim->highest_given) {
        sim->highest_given = last;
    }
}

/* ---- giving up ---- */

/* The first node that was seen in the same life with the same beat for its ttl; false: none. */
static bool find_late(struct sim *sim, struct request *expire)
{
    struct reading reading;
    struct node_cursor cursor;
    struct node node;
    struct ls_error error;
    bool found = false;
    sim_check(sim, reading_begin(&reading, sim->store, &error), &error, "reading");
    sim_check(sim, nodes_open(&cursor, &reading, -1, &error), &error, "the nodes");
    int rc;
    while (!found && (rc = nodes_next(&cursor, &node, &error)) > 0) {
        struct actor *actor = actor_of(sim, node.host);
        if (node.state == NODE_DOWN) {
            continue;
        }
        if (actor->observed_joined != node.joined || actor->observed_beat != node.beat) {
            actor->observed_joined = node.joined;
            actor->observed_beat = node.beat;
            actor->observed_since_ns = sim->now_ns;
        } else if (sim->now_ns - actor->observed_since_ns > TTL_NS) {
            found = true;
            expire->in.expire.host = host_of(actor);
            expire->in.expire.joined = node.joined;
            expire->in.expire.beat = node.beat;
        }
    }
    nodes_end(&cursor);
    reading_end(&reading);
    return found;
}

static void expire(struct sim *sim)
{
    struct ls_error error;
    struct request *r = &sim->late;
    struct actor *actor = actor_of(sim, r->in.expire.host);
    r->error = &error;
    if (sim_run(sim, r) == LS_ENOSPACE) {
        return;
    }
    sim_check(sim, r->status, &error, "expire");
    (void)sim_observe(sim);
    if (r->number == 0) {
        return; /* it showed life since, or began another */
    }
    sim->expired++;
    if (actor->joined && actor->life.joined == r->in.expire.joined) {
        actor->expired = true;
    }
    if (actor->joined && sim->now_ns - actor->beat_ns < TTL_NS) {
        sim_fail(sim, "%s was given up in spite of its beat", actor->host);
    }
}

void actors_expire(struct sim *sim)
{
    if (sim->is_late) {
        expire(sim);
        sim->is_late = false;
    } else {
        sim->late = (struct request){.kind = REQUEST_NODE_EXPIRE};
        sim->is_late = find_late(sim, &sim->late);
    }
}
