/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes, embedded: the life that the handle holds, and the tending of all lives in the store. There
 * is no thread of ours, so every call and every wait looks whether something is due. What such a
 * look cannot do now, because the store is full or the memory is, the next one tries again: no
 * user's call fails for it.
 */
#include "client/embedded.h"

#define EXPIRE_AT_ONCE 16
#define TEND_LATEST_MS 1000

bool embedded_life(struct embedded *e, struct binding *out)
{
    if (!atomic_load_explicit(&e->joined, memory_order_acquire)) {
        return false;
    }
    pthread_mutex_lock(&e->life_lock);
    *out = e->life;
    pthread_mutex_unlock(&e->life_lock);
    return true;
}

/* ---- tending ---- */

/* A copy of what an expiry names, which the reading takes away. */
struct ending {
    uint64_t joined;
    uint64_t beat;
    uint8_t host_size;
    char host[256];
};

/* What one look at the presence wants done. */
struct due {
    bool renew;
    struct binding life;
    size_t ending_count;
    struct ending endings[EXPIRE_AT_ONCE];
};

static void note_renewal(void *context, const struct binding *binding)
{
    struct due *due = context;
    due->renew = true;
    due->life = *binding;
}

static void note_ending(void *context, const struct node *node)
{
    struct due *due = context;
    if (due->ending_count == EXPIRE_AT_ONCE) {
        return; /* the next look finds it again */
    }
    struct ending *ending = &due->endings[due->ending_count++];
    ending->joined = node->joined;
    ending->beat = node->beat;
    ending->host_size = (uint8_t)node->host.size;
    memcpy(ending->host, node->host.data, node->host.size);
}

/* Looks at the presence, and says when to look again. */
static uint64_t look(struct embedded *e, uint64_t now_ms, struct due *due)
{
    struct presence_calls calls = {note_renewal, note_ending, NULL, due};
    struct reading reading;
    struct ls_error error;
    if (reading_begin(&reading, e->store, &error) != 0) {
        return now_ms + TEND_LATEST_MS;
    }
    struct binding life;
    bool joined = embedded_life(e, &life);
    pthread_mutex_lock(&e->presence_lock);
    if (joined) {
        presence_beat(e->presence, &life, atomic_load(&e->beat_ms));
    }
    int64_t wait_ms = presence_tick(e->presence, &reading, now_ms, &calls, &error);
    pthread_mutex_unlock(&e->presence_lock);
    reading_end(&reading);
    return now_ms + (wait_ms < 0 ? TEND_LATEST_MS : (uint64_t)wait_ms);
}

static void carry_out(struct embedded *e, const struct due *due)
{
    struct ls_error error;
    if (due->renew) {
        struct request request = {.kind = REQUEST_NODE_BEAT, .as = &due->life, .error = &error};
        (void)sequencer_run(e->sequencer, &request);
    }
    for (size_t i = 0; i < due->ending_count; i++) {
        const struct ending *ending = &due->endings[i];
        struct request request = {.kind = REQUEST_NODE_EXPIRE,
                                  .error = &error,
                                  .in.expire = {.host = bytes_of(ending->host, ending->host_size),
                                                .joined = ending->joined,
                                                .beat = ending->beat}};
        (void)sequencer_run(e->sequencer, &request);
    }
}

void embedded_tend(struct embedded *e)
{
    uint64_t now_ms = monotonic_ms();
    atomic_store_explicit(&e->beat_ms, now_ms, memory_order_relaxed);
    uint64_t at_ms = atomic_load_explicit(&e->tend_at_ms, memory_order_relaxed);
    if (now_ms < at_ms ||
        !atomic_compare_exchange_strong(&e->tend_at_ms, &at_ms, now_ms + TEND_LATEST_MS)) {
        return;
    }
    embedded_drop_snapshots(e, now_ms);
    if (e->read_only) {
        return;
    }
    struct due due;
    due.renew = false;
    due.ending_count = 0;
    uint64_t next_ms = look(e, now_ms, &due);
    /* A join in the meantime has asked for an earlier look, which stands. */
    at_ms = now_ms + TEND_LATEST_MS;
    (void)atomic_compare_exchange_strong(&e->tend_at_ms, &at_ms, next_ms);
    carry_out(e, &due);
    embedded_txn_tend(e);
}

bool embedded_wait(struct embedded *e, uint32_t seen, const struct deadline *deadline)
{
    int64_t left_ms = deadline_left(deadline);
    if (left_ms == 0) {
        return false;
    }
    uint64_t now_ms = monotonic_ms(), at_ms = atomic_load(&e->tend_at_ms);
    int64_t tend_in_ms = now_ms < at_ms ? (int64_t)(at_ms - now_ms) : 1;
    if (left_ms < 0 || tend_in_ms < left_ms) {
        left_ms = tend_in_ms;
    }
    (void)e->store->driver->wake_wait(e->store, seen, left_ms);
    embedded_tend(e);
    return true;
}

/* ---- the handle's own life ---- */

/* This handle's epoch tells it from every other that holds the same store; join_lock is held. */
static int take_epoch(struct embedded *e, struct ls_error *error)
{
    if (e->via != 0) {
        return 0;
    }
    struct request request = {.kind = REQUEST_EPOCH, .error = error};
    int result = sequencer_run(e->sequencer, &request);
    if (result == 0) {
        e->via = request.clock;
    }
    return result;
}

/* Makes the life, or none, the handle's; join_lock is held. */
static int install(struct embedded *e, const struct binding *life, uint64_t ttl_ms)
{
    struct binding old;
    bool had = embedded_life(e, &old);
    uint64_t now_ms = monotonic_ms();
    int result = 0;
    pthread_mutex_lock(&e->presence_lock);
    if (life != NULL) {
        result = presence_bind(e->presence, life, ttl_ms, now_ms);
    }
    if (result == 0 && had) {
        presence_unbind(e->presence, &old);
    }
    pthread_mutex_unlock(&e->presence_lock);
    if (result != 0) {
        return result;
    }
    pthread_mutex_lock(&e->life_lock);
    if (life != NULL) {
        e->life = *life;
    }
    pthread_mutex_unlock(&e->life_lock);
    atomic_store_explicit(&e->joined, life != NULL, memory_order_release);
    atomic_store(&e->tend_at_ms, now_ms); /* a short ttl wants an early look */
    return 0;
}

static int join_locked(struct embedded *e, const struct join *join, ls_joined *out,
                       struct ls_error *error)
{
    int result = take_epoch(e, error);
    if (result != 0) {
        return result;
    }
    struct request request = {
        .kind = REQUEST_NODE_JOIN,
        .error = error,
        .in.join = {.host = join->host, .ttl_ms = join->ttl_ms, .meta = join->meta, .via = e->via}};
    memcpy(request.in.join.id, join->id, sizeof join->id);
    result = sequencer_run(e->sequencer, &request);
    if (result != 0) {
        return result;
    }
    struct binding life = {.joined = request.clock, .host_size = (uint8_t)join->host.size};
    memcpy(life.id, join->id, sizeof life.id);
    memcpy(life.host, join->host.data, join->host.size);
    result = install(e, &life, join->ttl_ms);
    if (result != 0) {
        /* Nobody holds the new life, so it ends when its ttl does, or with the next join. */
        return error_code(error, result);
    }
    e->seq = request.number;
    *out = (ls_joined){.clock = request.clock, .seq = request.number};
    memcpy(out->id, join->id, sizeof out->id);
    return 0;
}

int embedded_node_join(struct ls *handle, const struct join *join, ls_joined *out,
                       struct ls_error *error)
{
    struct embedded *e = embedded_of(handle);
    embedded_tend(e);
    pthread_mutex_lock(&e->join_lock);
    int result = join_locked(e, join, out, error);
    pthread_mutex_unlock(&e->join_lock);
    return result;
}

static int not_joined(struct ls_error *error)
{
    return error_set(error, LS_ENOTJOINED, 0, "join as a node first");
}

/* No write: the beat is seen in memory, and tending writes it in time. */
int embedded_node_beat(struct ls *handle, uint64_t *clock, struct ls_error *error)
{
    struct embedded *e = embedded_of(handle);
    struct binding life;
    struct reading reading;
    embedded_tend(e);
    if (!embedded_life(e, &life)) {
        return not_joined(error);
    }
    int result = reading_begin(&reading, e->store, error);
    if (result != 0) {
        return result;
    }
    struct node node;
    struct box_state state;
    result = node_read(&reading, binding_host(&life), &node, error);
    if (result == LS_ENOTFOUND ||
        (result == 0 && (node.joined != life.joined || node.state == NODE_DOWN))) {
        result = error_set(error, LS_ENOTJOINED, 0,
                           "the node '%s' was given up or taken over: join again", life.host);
    }
    if (result == 0) {
        result = box_state_read(&reading, &state, error);
    }
    reading_end(&reading);
    if (result == 0) {
        *clock = state.clock;
    }
    return result;
}

int embedded_node_ack(struct ls *handle, uint64_t processed, uint64_t *clock,
                      struct ls_error *error)
{
    struct request request = {.kind = REQUEST_NODE_ACK, .in.ack.clock = processed};
    return embedded_run(embedded_of(handle), &request, clock, error);
}

int embedded_node_set_state(struct ls *handle, enum node_state state, uint64_t *clock,
                            struct ls_error *error)
{
    struct request request = {.kind = REQUEST_NODE_STATE, .in.state.state = state};
    return embedded_run(embedded_of(handle), &request, clock, error);
}

int embedded_node_leave(struct ls *handle, uint64_t *clock, struct ls_error *error)
{
    struct embedded *e = embedded_of(handle);
    struct request request = {.kind = REQUEST_NODE_LEAVE};
    pthread_mutex_lock(&e->join_lock);
    int result = embedded_run(e, &request, clock, error);
    if (result == 0) {
        (void)install(e, NULL, 0); /* only a bind can fail */
    }
    pthread_mutex_unlock(&e->join_lock);
    return result;
}

/* ---- reading the registry ---- */

static int add_node(struct ls_nodes *out, const struct node *node, struct ls_error *error)
{
    static const enum ls_node_state states[] = {
        [NODE_UP] = LS_NODE_UP, [NODE_LEAVING] = LS_NODE_LEAVING, [NODE_DOWN] = LS_NODE_DOWN};
    ls_node item = {.host = node->host,
                    .state = states[node->state],
                    .joined = node->joined,
                    .clock = node->clock,
                    .timestamp_ns = node->timestamp_ns,
                    .ttl_ms = node->ttl_ms,
                    .meta = node->meta};
    memcpy(item.id, node->id, sizeof item.id);
    return nodes_add(out, &item) == 0 ? 0 : error_code(error, LS_ENOMEM);
}

int embedded_node_get(struct ls *handle, ls_bytes host, struct ls_nodes *out,
                      struct ls_error *error)
{
    struct embedded *e = embedded_of(handle);
    struct reading reading;
    struct node node;
    embedded_tend(e);
    int result = reading_begin(&reading, e->store, error);
    if (result != 0) {
        return result;
    }
    result = node_read(&reading, host, &node, error);
    if (result == 0) {
        result = add_node(out, &node, error);
    }
    reading_end(&reading);
    return result;
}

int embedded_node_list(struct ls *handle, struct ls_nodes *out, struct ls_error *error)
{
    struct embedded *e = embedded_of(handle);
    struct reading reading;
    embedded_tend(e);
    int result = reading_begin(&reading, e->store, error);
    if (result != 0) {
        return result;
    }
    struct node_cursor cursor;
    result = nodes_open(&cursor, &reading, NODES_ALL, error);
    if (result == 0) {
        struct node node;
        while ((result = nodes_next(&cursor, &node, error)) > 0) {
            result = add_node(out, &node, error);
            if (result != 0) {
                break;
            }
        }
        nodes_end(&cursor);
    }
    reading_end(&reading);
    return result;
}
