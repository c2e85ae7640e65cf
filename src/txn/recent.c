/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recent versions in memory, in two generations (generation.h). While one grows its keys are sorted
 * in runs, a little at a time; moving it merges the runs (recent_move.c), so nothing ever sorts it
 * as a whole.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"
#include "txn/recent_state.h"

int recent_open(struct recent **out, uint64_t seed)
{
    struct recent *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return LS_ENOMEM;
    }
    r->seed = seed;
    r->generations[0].spare = r->generations[1].spare = &r->spare;
    r->active = &r->generations[0];
    *out = r;
    return 0;
}

void recent_close(struct recent *r)
{
    if (r == NULL) {
        return;
    }
    generation_free(&r->generations[0]);
    generation_free(&r->generations[1]);
    spare_trim(&r->spare, 0);
    recent_heads_free(r);
    free(r->undo);
    free(r);
}

void recent_rest(struct recent *r)
{
    spare_trim(&r->spare, 0);
}

void recent_reset(struct recent *r, uint64_t next, uint64_t high)
{
    generation_free(&r->generations[0]);
    generation_free(&r->generations[1]);
    recent_heads_free(r);
    r->active = &r->generations[0];
    r->frozen = NULL;
    r->undo_count = 0;
    r->next = r->merged = next;
    r->high = high > r->high ? high : r->high;
    r->active->first = next;
    r->active->base = r->high;
}

uint64_t recent_hash(const struct recent *r, ls_bytes key)
{
    return hash64(key.data, key.size, r->seed);
}

uint64_t recent_next(const struct recent *r)
{
    return r->next;
}

/* ---- adding ---- */

static struct undo *undo_place(struct recent *r)
{
    if (r->undo_count == r->undo_max) {
        size_t max = r->undo_max > 0 ? 2 * r->undo_max : 64;
        struct undo *grown = realloc(r->undo, max * sizeof(*grown));
        if (grown == NULL) {
            return NULL;
        }
        r->undo = grown;
        r->undo_max = max;
    }
    return &r->undo[r->undo_count];
}

int recent_add(struct recent *r, uint64_t sequence, uint64_t timestamp, ls_bytes name,
               ls_bytes value, bool deleted)
{
    struct generation *g = r->active;
    assert(sequence == r->next || sequence + 1 == r->next);
    uint32_t hash = (uint32_t)recent_hash(r, name);
    struct undo *undo = undo_place(r);
    if (undo == NULL) {
        return LS_ENOMEM;
    }
    struct chunk *chunk = g->chunks;
    size_t chunk_used = chunk != NULL ? chunk->used : 0, used = g->used;
    struct recent_key *key = generation_find(g, name, hash);
    bool new_key = key == NULL;
    struct spot spot = {0};
    bool tall = false;
    if (new_key) {
        key = generation_key_new(g, name, hash);
    } else {
        spot = generation_spot(key, timestamp);
        tall = generation_grows_tall(key, spot);
    }
    struct recent_version *version = key != NULL ? generation_version_new(g, value, tall) : NULL;
    if (version == NULL) {
        generation_back(g, chunk, chunk_used);
        g->used = used;
        return LS_ENOMEM;
    }
    if (g->version_count == 0) {
        g->first = sequence;
    }
    *version = (struct recent_version){.timestamp = timestamp,
                                       .offset = (uint32_t)(sequence - g->first),
                                       .size = (uint32_t)value.size & 0x3FFFFFFF,
                                       .deleted = deleted,
                                       .tall = tall};
    if (value.size > 0) {
        memcpy(version->value, value.data, value.size);
    }
    if (new_key) {
        generation_key_link(g, key);
    }
    *undo = (struct undo){sequence, key,     version,   chunk,     chunk_used,
                          used,     new_key, key->late, key->since};
    generation_link(key, spot, version);
    g->version_count++;
    r->undo_count++;
    r->next = sequence + 1;
    r->high = timestamp > r->high ? timestamp : r->high;
    return 0;
}

static void undo_one(struct recent *r, const struct undo *undo)
{
    struct generation *g = r->active;
    generation_unlink(undo->key, undo->version);
    undo->key->late = undo->was_late;
    undo->key->since = undo->since;
    g->version_count--;
    if (undo->new_key) {
        generation_key_unlink(g, undo->key);
    }
    generation_back(g, undo->chunk, undo->chunk_used);
    g->used = undo->used;
}

void recent_undo(struct recent *r, uint64_t sequence)
{
    while (r->undo_count > 0 && r->undo[r->undo_count - 1].sequence >= sequence) {
        undo_one(r, &r->undo[--r->undo_count]);
    }
    r->next = sequence < r->next ? sequence : r->next;
}

void recent_keep(struct recent *r)
{
    r->undo_count = 0;
    struct run *run = r->active->last_run;
    if (run != NULL && run->count < RUN_KEYS) {
        run = run->before;
    }
    for (; run != NULL && !run->sorted; run = run->before) {
        generation_sort(r->active, run);
    }
}

/* ---- looking ---- */

static const void *part_of(const struct generation *g, uint32_t hash, enum recent_part part)
{
    struct recent_key *const *bucket = &g->buckets[hash & (g->bucket_count - 1)];
    if (part == RECENT_BUCKET) {
        return bucket;
    }
    return part == RECENT_KEY || *bucket == NULL ? (const void *)*bucket : (*bucket)->newest;
}

void recent_prefetch(const struct recent *r, uint64_t hash, enum recent_part part)
{
    const struct generation *const generations[] = {r->active, r->frozen};
    for (size_t i = 0; i < 2 && generations[i] != NULL; i++) {
        if (generations[i]->bucket_count > 0) {
            __builtin_prefetch(part_of(generations[i], (uint32_t)hash, part));
        }
    }
}

/* The newest at or below the timestamp that is not in the store. Below one that is there all are,
 * unless one of them came late. */
static const struct recent_version *version_at(const struct recent *r, const struct generation *g,
                                               const struct recent_key *key, uint64_t timestamp)
{
    struct spot spot = generation_spot(key, timestamp);
    const struct recent_version *version = spot.above != NULL ? spot.above->older : key->newest;
    while (version != NULL && g->first + version->offset < r->merged) {
        version = key->late ? version->older : NULL;
    }
    return version;
}

static const struct recent_version *version_below(const struct recent *r,
                                                  const struct generation *g, ls_bytes name,
                                                  uint32_t hash, uint64_t below)
{
    const struct recent_key *key = below > 0 ? generation_find(g, name, hash) : NULL;
    return key != NULL ? version_at(r, g, key, below - 1) : NULL;
}

bool recent_find(const struct recent *r, ls_bytes key, uint64_t hash, uint64_t below,
                 struct recent_found *out)
{
    const struct generation *const generations[] = {r->active, r->frozen};
    const struct recent_version *best = NULL;
    out->last = false;
    for (size_t i = 0; i < 2 && generations[i] != NULL && !out->last; i++) {
        const struct recent_version *version =
            version_below(r, generations[i], key, (uint32_t)hash, below);
        if (version != NULL && (best == NULL || version->timestamp > best->timestamp)) {
            best = version;
        }
        out->last = best != NULL && best->timestamp > generations[i]->base;
    }
    if (best == NULL) {
        return false;
    }
    out->timestamp = best->timestamp;
    out->value = bytes_of(best->value, best->size);
    out->deleted = best->deleted;
    return true;
}

bool recent_has_below(const struct recent *r, ls_bytes key, uint64_t below)
{
    uint32_t hash = (uint32_t)recent_hash(r, key);
    return version_below(r, r->active, key, hash, below) != NULL ||
           (r->frozen != NULL && version_below(r, r->frozen, key, hash, below) != NULL);
}

/* ---- generations ---- */

static uint64_t generation_end(const struct recent *r, const struct generation *g)
{
    return g == r->active ? r->next : r->active->first;
}

void recent_drop(struct recent *r, uint64_t merged)
{
    assert(r->undo_count == 0 && merged <= r->next);
    r->merged = merged > r->merged ? merged : r->merged;
    if (r->frozen != NULL && generation_end(r, r->frozen) <= r->merged) {
        recent_release(r);
    }
    if (r->active->version_count > 0 && r->next <= r->merged) {
        recent_reset(r, r->next, 0);
    }
    /* Of what was moved, nobody here knows by how much it is newer than what is left. */
    if (r->frozen != NULL && r->frozen->first < r->merged) {
        r->frozen->base = r->high;
    }
    if (r->active->first < r->merged) {
        r->active->base = r->high;
    }
}

bool recent_is_frozen(const struct recent *r)
{
    return r->frozen != NULL;
}

bool recent_is_due(const struct recent *r, const struct recent_version *version)
{
    return r->frozen->first + version->offset >= r->merged;
}

const struct recent_version *recent_newest_due(const struct recent *r, const struct recent_key *key,
                                               uint64_t timestamp)
{
    return version_at(r, r->frozen, key, timestamp);
}

uint64_t recent_frozen_end(const struct recent *r)
{
    return r->active->first;
}

int recent_freeze(struct recent *r)
{
    struct generation *g = r->active;
    assert(r->frozen == NULL && g->version_count > 0 && r->undo_count == 0);
    struct head *heads = calloc(g->run_count, sizeof(*heads));
    if (heads == NULL) {
        return LS_ENOMEM;
    }
    for (struct run *run = g->last_run; run != NULL; run = run->before) {
        if (!run->sorted) {
            generation_sort(g, run);
        }
    }
    r->heads = heads;
    r->ahead_count = 0;
    r->taken = r->taken_kept = 0;
    r->frozen = g;
    r->active = g == &r->generations[0] ? &r->generations[1] : &r->generations[0];
    r->active->first = r->next;
    r->active->base = r->high;
    recent_heads_make(r);
    spare_trim(&r->spare, g->allocated); /* the next one will need no more than this did */
    return 0;
}

void recent_release(struct recent *r)
{
    uint64_t end = generation_end(r, r->frozen);
    r->merged = end > r->merged ? end : r->merged;
    generation_free(r->frozen);
    r->frozen = NULL;
    recent_heads_free(r);
}

struct recent_size recent_size(const struct recent *r)
{
    struct recent_size size = {.versions = r->active->version_count,
                               .bytes = r->active->allocated + r->spare.allocated,
                               .active = r->active->used};
    if (r->frozen != NULL) {
        size.versions += r->frozen->version_count;
        size.bytes += r->frozen->allocated;
        size.frozen = r->frozen->version_count;
    }
    return size;
}
