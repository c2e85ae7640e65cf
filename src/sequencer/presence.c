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

struct entry {
    struct entry *next; /* in its bucket */
    uint64_t hash;
    uint64_t round; /* of the last tick that saw the host in the store */

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
    return least(to_end, to_renewal);
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

/* Forgets the hosts that are gone from the store and not bound here. */
static void sweep(struct presence *presence)
{
    for (size_t i = 0; i < presence->bucket_count; i++) {
        struct entry **link = &presence->buckets[i];
        while (*link != NULL) {
            struct entry *entry = *link;
            if (entry->bound || entry->round == presence->round) {
                link = &entry->next;
            } else {
                *link = entry->next;
                presence->count--;
                free(entry);
            }
        }
    }
}

int64_t presence_tick(struct presence *presence, struct reading *reading, uint64_t now_ms,
                      const struct presence_calls *calls, struct ls_error *error)
{
    struct node_cursor cursor;
    int result = nodes_open(&cursor, reading, NODES_LIVE, error);
    if (result != 0) {
        return result;
    }
    presence->round++;
    uint64_t wait_ms = TICK_MAX_MS, floor_ms = TICK_MIN_MS;
    struct node node;
    while ((result = nodes_next(&cursor, &node, error)) > 0) {
        struct entry *entry = find_or_add(presence, node.host);
        if (entry == NULL) {
            result = error_code(error, LS_ENOMEM);
            break;
        }
        entry->round = presence->round;
        bool ours = entry->bound && entry->binding.joined == node.joined;
        uint64_t wanted_ms = ours ? look_at_bound(entry, &node, now_ms, calls)
                                  : look_at_seen(entry, &node, now_ms, calls);
        wait_ms = least(wait_ms, wanted_ms);
        floor_ms = least(floor_ms, node.ttl_ms / (2 * RENEW_PART));
    }
    nodes_end(&cursor);
    if (result < 0) {
        return result;
    }
    sweep(presence);
    if (wait_ms < floor_ms) {
        wait_ms = floor_ms;
    }
    return wait_ms == 0 ? 1 : (int64_t)wait_ms;
}
