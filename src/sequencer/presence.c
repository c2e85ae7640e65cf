/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of presence: one entry a host, which holds what is known of it in two ways. `bound` is
 * a life that this process holds: its beats come in here. `seen` is the life that the store shows,
 * and since when with the same beat: all that is known of a node bound elsewhere.
 */
#include "sequencer/presence.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/hash.h"

#define BUCKETS_FIRST 16

/* A beat is written after this part of the ttl. */
#define RENEW_PART 3

#define TICK_MAX_MS 1000
#define TICK_MIN_MS 100 /* less only where a ttl is that short */

/* Of many nodes, a look rests for a millisecond for each so many, where no ttl is too short. */
#define LOOKED_A_MS 100

struct entry {
    struct entry *next; /* in its bucket */
    uint64_t hash;
    uint64_t round; /* of the last look that saw the host in the store, or in which it was bound */

    bool bound;
    struct binding binding; /* its host is the entry's, bound or not */
    uint64_t ttl_ms;
    uint64_t beat_ms;    /* the last life shown */
    uint64_t renewed_ms; /* the last beat written, or asked for */
    bool late;           /* the tick before found no life since beat_ms for a whole ttl */

    uint64_t seen_joined; /* 0: not seen yet */
    uint64_t seen_beat;
    uint64_t seen_since_ms;
};

struct presence {
    struct entry **buckets;
    size_t bucket_count; /* a power of two */
    size_t count;
    uint64_t round;
    uint64_t seed;

    /* The look that is under way. */
    struct node_cursor cursor;
    size_t looked;
    uint64_t wait_ms;
    uint64_t ttl_min_ms;
};

int presence_open(struct presence **out, uint64_t seed)
{
    struct presence *presence = calloc(1, sizeof *presence);
    if (presence == NULL) {
        return LS_ENOMEM;
    }
    presence->buckets = calloc(BUCKETS_FIRST, sizeof(struct entry *));
    if (presence->buckets == NULL) {
        free(presence);
        return LS_ENOMEM;
    }
    presence->bucket_count = BUCKETS_FIRST;
    presence->seed = seed;
    *out = presence;
    return 0;
}

void presence_close(struct presence *presence)
{
    if (presence == NULL) {
        return;
    }
    for (size_t i = 0; i < presence->bucket_count; i++) {
        for (struct entry *entry = presence->buckets[i], *next; entry != NULL; entry = next) {
            next = entry->next;
            free(entry);
        }
    }
    free(presence->buckets);
    free(presence);
}

static struct entry *find(const struct presence *presence, ls_bytes host)
{
    uint64_t hash = hash64(host.data, host.size, presence->seed);
    struct entry *entry = presence->buckets[hash & (presence->bucket_count - 1)];
    while (entry != NULL &&
           !(entry->hash == hash && bytes_equal(binding_host(&entry->binding), host))) {
        entry = entry->next;
    }
    return entry;
}

/* Doubles the buckets where they are full; without memory the chains just grow longer. */
static void spread(struct presence *presence)
{
    if (presence->count < presence->bucket_count) {
        return;
    }
    size_t count = 2 * presence->bucket_count;
    struct entry **buckets = calloc(count, sizeof(struct entry *));
    if (buckets == NULL) {
        return;
    }
    for (size_t i = 0; i < presence->bucket_count; i++) {
        for (struct entry *entry = presence->buckets[i], *next; entry != NULL; entry = next) {
            next = entry->next;
            struct entry **bucket = &buckets[entry->hash & (count - 1)];
            entry->next = *bucket;
            *bucket = entry;
        }
    }
    free(presence->buckets);
    presence->buckets = buckets;
    presence->bucket_count = count;
}

/* The entry of the host, made where there is none; NULL without memory. */
static struct entry *find_or_add(struct presence *presence, ls_bytes host)
{
    struct entry *entry = find(presence, host);
    if (entry != NULL) {
        return entry;
    }
    entry = calloc(1, sizeof *entry);
    if (entry == NULL) {
        return NULL;
    }
    spread(presence);
    entry->hash = hash64(host.data, host.size, presence->seed);
    entry->binding.host_size = (uint8_t)host.size;
    memcpy(entry->binding.host, host.data, host.size);
    struct entry **bucket = &presence->buckets[entry->hash & (presence->bucket_count - 1)];
    entry->next = *bucket;
    *bucket = entry;
    presence->count++;
    return entry;
}

static bool is_bound(const struct entry *entry, const struct binding *binding)
{
    return entry != NULL && entry->bound && entry->binding.joined == binding->joined;
}

int presence_bind(struct presence *presence, const struct binding *binding, uint64_t ttl_ms,
                  uint64_t now_ms)
{
    struct entry *entry = find_or_add(presence, binding_host(binding));
    if (entry == NULL) {
        return LS_ENOMEM;
    }
    entry->round = presence->round;
    entry->bound = true;
    entry->binding = *binding;
    entry->ttl_ms = ttl_ms;
    entry->beat_ms = now_ms;
    entry->renewed_ms = now_ms;
    entry->late = false;
    return 0;
}

void presence_unbind(struct presence *presence, const struct binding *binding)
{
    struct entry *entry = find(presence, binding_host(binding));
    if (is_bound(entry, binding)) {
        entry->bound = false; /* the next tick forgets the host, if the store has */
    }
}

bool presence_holds_other(const struct presence *presence, ls_bytes host, const uint8_t id[16])
{
    const struct entry *entry = find(presence, host);
    return entry != NULL && entry->bound &&
           memcmp(entry->binding.id, id, sizeof entry->binding.id) != 0;
}

void presence_beat(struct presence *presence, const struct binding *binding, uint64_t now_ms)
{
    struct entry *entry = find(presence, binding_host(binding));
    if (is_bound(entry, binding)) {
        entry->beat_ms = now_ms;
        entry->late = false;
    }
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What is left of `whole` since `since`; 0 where it is over. A thread may show life with a time
 * that is later than the one another thread's tick began with. */
static uint64_t left(uint64_t now_ms, uint64_t since_ms, uint64_t whole_ms)
{
    uint64_t passed = now_ms > since_ms ? now_ms - since_ms : 0;
    return passed < whole_ms ? whole_ms - passed : 0;
}

/* A life that is bound here: its own beats tell. Gives the time until it needs a look again. Where
 * this process stood still, beats may have come in that it did not read yet: so a life is given up
 * only by the second look that finds it late, before which there was time to read. */
static uint64_t look_at_bound(struct entry *entry, const struct node *node, uint64_t now_ms,
                              const struct presence_calls *calls)
{
    uint64_t to_end = left(now_ms, entry->beat_ms, node->ttl_ms);
    if (to_end == 0 && !entry->late) {
        entry->late = true;
        return 0;
    }
    if (to_end == 0) {
        calls->expire(calls->context, node);
        return TICK_MAX_MS;
    }
    uint64_t part_ms = node->ttl_ms / RENEW_PART;
    uint64_t to_renewal = left(now_ms, entry->renewed_ms, part_ms);
    if (to_renewal == 0 && entry->beat_ms > entry->renewed_ms) {
        entry->renewed_ms = now_ms;
        calls->renew(calls->context, &entry->binding);
        to_renewal = part_ms;
    }
    /* Where there is time, the next look is soon enough. */
    return part_ms >= 2 * TICK_MAX_MS ? to_end : least(to_end, to_renewal);
}

/* A life that is bound elsewhere: only what changes in its record tells. */
static uint64_t look_at_seen(struct entry *entry, const struct node *node, uint64_t now_ms,
                             const struct presence_calls *calls)
{
    if (entry->seen_joined != node->joined || entry->seen_beat != node->beat) {
        entry->seen_joined = node->joined;
        entry->seen_beat = node->beat;
        entry->seen_since_ms = now_ms;
    }
    uint64_t to_end = left(now_ms, entry->seen_since_ms, node->ttl_ms);
    if (to_end == 0) {
        calls->expire(calls->context, node);
        return TICK_MAX_MS;
    }
    return to_end;
}

/* One node that the store shows. Gives the time until it needs a look again. Where the bound life
 * is the later one, it began after the reading did. */
static uint64_t look_at(struct entry *entry, const struct node *node, uint64_t now_ms,
                        const struct presence_calls *calls)
{
    if (entry->bound && entry->binding.joined == node->joined) {
        return look_at_bound(entry, node, now_ms, calls);
    }
    if (entry->bound && entry->binding.joined < node->joined && calls->over != NULL) {
        calls->over(calls->context, &entry->binding);
    }
    return look_at_seen(entry, node, now_ms, calls);
}

/* Forgets the hosts that are gone from the store and not bound here. */
static void sweep(struct presence *presence, const struct presence_calls *calls)
{
    for (size_t i = 0; i < presence->bucket_count; i++) {
        struct entry **link = &presence->buckets[i];
        while (*link != NULL) {
            struct entry *entry = *link;
            bool seen = entry->round == presence->round;
            if (!seen && entry->bound && calls->over != NULL) {
                calls->over(calls->context, &entry->binding);
            }
            if (seen || entry->bound) {
                link = &entry->next;
            } else {
                *link = entry->next;
                presence->count--;
                free(entry);
            }
        }
    }
}

int presence_begin(struct presence *presence, struct reading *reading, struct ls_error *error)
{
    int rc = nodes_open(&presence->cursor, reading, NODES_LIVE, error);
    if (rc == 0) {
        presence->round++;
        presence->looked = 0;
        presence->wait_ms = TICK_MAX_MS;
        presence->ttl_min_ms = UINT64_MAX;
    }
    return rc;
}

void presence_break_off(struct presence *presence)
{
    nodes_end(&presence->cursor);
}

/* Looks at the next node: 1, 0 at the end, or an error. */
static int look(struct presence *presence, uint64_t now_ms, const struct presence_calls *calls,
                struct ls_error *error)
{
    struct node node;
    int rc = nodes_next(&presence->cursor, &node, error);
    if (rc <= 0) {
        return rc;
    }
    struct entry *entry = find_or_add(presence, node.host);
    if (entry == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    entry->round = presence->round;
    presence->looked++;
    presence->wait_ms = least(presence->wait_ms, look_at(entry, &node, now_ms, calls));
    presence->ttl_min_ms = least(presence->ttl_min_ms, node.ttl_ms);
    return 1;
}

/* When to look again. */
static int64_t wait(const struct presence *presence)
{
    uint64_t rest_ms = presence->looked / LOOKED_A_MS;
    uint64_t floor_ms = least(rest_ms > TICK_MIN_MS ? rest_ms : TICK_MIN_MS,
                              presence->ttl_min_ms / (2 * RENEW_PART));
    uint64_t wait_ms = presence->wait_ms > floor_ms ? presence->wait_ms : floor_ms;
    return wait_ms == 0 ? 1 : (int64_t)wait_ms;
}

int64_t presence_go_on(struct presence *presence, size_t count, uint64_t now_ms,
                       const struct presence_calls *calls, struct ls_error *error)
{
    int rc = 1;
    for (size_t i = 0; i < count && rc > 0; i++) {
        rc = look(presence, now_ms, calls, error);
    }
    if (rc > 0) {
        return 0;
    }
    nodes_end(&presence->cursor);
    if (rc < 0) {
        return rc;
    }
    if (presence->looked < presence->count) {
        sweep(presence, calls);
    }
    return wait(presence);
}

int64_t presence_tick(struct presence *presence, struct reading *reading, uint64_t now_ms,
                      const struct presence_calls *calls, struct ls_error *error)
{
    int rc = presence_begin(presence, reading, error);
    return rc != 0 ? rc : presence_go_on(presence, SIZE_MAX, now_ms, calls, error);
}
