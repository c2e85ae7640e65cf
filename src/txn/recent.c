/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recent versions in memory. Memory is taken in chunks and given back by the generation, so a
 * version costs no allocation; the next generation takes what the last one had, since memory fresh
 * from the system is dear. While a generation grows its keys are sorted in runs, a little at a
 * time; moving it merges the runs, so that nothing ever sorts it as a whole.
 */
#include "txn/recent.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/hash.h"

#define CHUNK_FIRST   4096
#define CHUNK_MAX     ((size_t)1 << 20)
#define RUN_KEYS      1024
#define BUCKETS_FIRST 256
#define BUCKETS_GROW  8 /* so few times that spreading them out anew is of no weight */

/* What a key takes beside its memory in a chunk: its places in a run and among the buckets. */
#define KEY_PLACES 24

/* Of so many versions of a key one is tall. */
#define TALL_EVERY 16

/* How many keys are fetched from memory before they are moved. */
#define AHEAD 8

struct chunk {
    struct chunk *before;
    size_t size, used;
    _Alignas(8) uint8_t data[];
};

/* A key, and the bytes behind those that all keys share. */
struct place {
    uint64_t word;
    struct recent_key *key;
};

/* Keys as they came; in byte order, and with their words, once it is sorted. */
struct run {
    struct run *before, *after;
    size_t count;
    bool sorted;
    size_t shared;   /* by all keys when the words were taken */
    size_t at, kept; /* the next that leaves; where that begins again */
    struct place places[RUN_KEYS];
};

/* Of generations that are no more. The buckets are not cleared. */
struct spare {
    struct chunk *chunks; /* of CHUNK_MAX */
    struct run *runs;     /* by `after` */
    struct recent_key **buckets;
    size_t bucket_count;
    size_t allocated;
};

struct generation {
    struct spare *spare;
    uint64_t first; /* sequence */
    uint64_t base;  /* what lies elsewhere, and is older, has no timestamp above */
    struct chunk *chunks;
    size_t allocated; /* bytes of chunks, runs and buckets */
    size_t used;      /* of keys and versions */
    struct recent_key **buckets;
    size_t bucket_count; /* a power of two */
    struct run *runs, *last_run;
    size_t run_count, key_count, version_count;
    const struct recent_key *first_key;
    size_t shared; /* bytes that all keys begin with */
};

/* A run that is being merged, by the word of its next key. */
struct head {
    uint64_t word;
    struct run *run;
};

/* A key that left the heap, to be taken soon. */
struct ahead {
    struct run *run;
    struct recent_key *key;
};

/* What stands before a tall version, which every TALL_EVERY-th of a key is: whoever looks for a
 * timestamp goes from one to the next, and by far leaps, which double as in a skew-binary list, so
 * that a key of a million versions is looked through in some dozens of steps. */
struct leap {
    struct recent_version *next; /* the tall one below; NULL: none */
    struct recent_version *far;  /* one further below; itself where there is none */
    uint32_t depth;
};

/* Where a timestamp belongs among a key's versions: below these, or NULL where on top. */
struct spot {
    struct recent_version *above;
    struct recent_version *tall; /* the last of them that is */
    unsigned steps;              /* from there */
};

/* How to take back one version. */
struct undo {
    uint64_t sequence;
    struct recent_key *key;
    struct recent_version *version;
    struct chunk *chunk;
    size_t chunk_used, used;
    bool new_key;
    bool was_late;
    uint8_t since;
};

struct recent {
    uint64_t seed;
    size_t size_max;
    struct generation generations[2];
    struct generation *active, *frozen; /* frozen: NULL where none is */
    uint64_t next;                      /* sequence */
    uint64_t merged;                    /* what is below is in the store */
    uint64_t high;                      /* the greatest timestamp that ever was */
    struct undo *undo;
    size_t undo_count, undo_max;
    struct head *heads;
    size_t head_count;
    struct ahead ahead[AHEAD]; /* a ring */
    size_t ahead_at, ahead_count;
    size_t taken, taken_kept;
    struct spare spare;
};

/* ---- memory ---- */

/* Of the system where it is much, so that it goes back there at once. All zeros. */
#define MAP_MIN ((size_t)256 << 10)

static void *memory_take(size_t size)
{
    if (size < MAP_MIN) {
        return calloc(1, size);
    }
    void *out = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return out == MAP_FAILED ? NULL : out;
}

static void memory_give(void *memory, size_t size)
{
    if (size < MAP_MIN) {
        free(memory);
    } else {
        (void)munmap(memory, size);
    }
}

static void chunk_give(struct chunk *chunk)
{
    memory_give(chunk, sizeof(*chunk) + chunk->size);
}

static void buckets_give(struct recent_key **buckets, size_t count)
{
    memory_give(buckets, count * sizeof(struct recent_key *));
}

static void spare_free(struct spare *spare)
{
    for (struct chunk *chunk = spare->chunks, *before; chunk != NULL; chunk = before) {
        before = chunk->before;
        chunk_give(chunk);
    }
    for (struct run *run = spare->runs, *after; run != NULL; run = after) {
        after = run->after;
        free(run);
    }
    buckets_give(spare->buckets, spare->bucket_count);
    *spare = (struct spare){0};
}

/* Leaves what it had to those that follow. */
static void generation_free(struct generation *g)
{
    struct spare *spare = g->spare;
    for (struct chunk *chunk = g->chunks, *before; chunk != NULL; chunk = before) {
        before = chunk->before;
        if (chunk->size == CHUNK_MAX) {
            chunk->before = spare->chunks;
            spare->chunks = chunk;
            spare->allocated += chunk->size;
        } else {
            chunk_give(chunk);
        }
    }
    if (g->last_run != NULL) {
        g->last_run->after = spare->runs;
        spare->runs = g->runs;
        spare->allocated += g->run_count * sizeof(struct run);
    }
    if (g->bucket_count > spare->bucket_count) {
        spare->allocated += (g->bucket_count - spare->bucket_count) * sizeof(struct recent_key *);
        buckets_give(spare->buckets, spare->bucket_count);
        spare->buckets = g->buckets;
        spare->bucket_count = g->bucket_count;
    } else {
        buckets_give(g->buckets, g->bucket_count);
    }
    *g = (struct generation){.spare = spare};
}

static struct chunk *chunk_new(struct generation *g, size_t size)
{
    struct spare *spare = g->spare;
    struct chunk *chunk = spare->chunks;
    if (chunk != NULL && size <= CHUNK_MAX) {
        spare->chunks = chunk->before;
        spare->allocated -= chunk->size;
        return chunk;
    }
    size_t room = g->chunks == NULL ? CHUNK_FIRST : 2 * g->chunks->size;
    room = room > CHUNK_MAX ? CHUNK_MAX : room;
    room = room < size ? size : room;
    chunk = memory_take(sizeof(*chunk) + room);
    if (chunk != NULL) {
        chunk->size = room;
    }
    return chunk;
}

static void *chunk_take(struct generation *g, size_t size)
{
    struct chunk *chunk = g->chunks;
    size = (size + 7) & ~(size_t)7;
    if (chunk == NULL || chunk->size - chunk->used < size) {
        struct chunk *next = chunk_new(g, size);
        if (next == NULL) {
            return NULL;
        }
        next->before = chunk;
        next->used = 0;
        g->chunks = chunk = next;
        g->allocated += chunk->size;
    }
    void *out = chunk->data + chunk->used;
    chunk->used += size;
    g->used += size;
    return out;
}

/* Back to what was used of a chunk, which may be none. */
static void chunk_back(struct generation *g, struct chunk *chunk, size_t used)
{
    while (g->chunks != chunk) {
        struct chunk *before = g->chunks->before;
        g->allocated -= g->chunks->size;
        chunk_give(g->chunks);
        g->chunks = before;
    }
    if (chunk != NULL) {
        chunk->used = used;
    }
}

int recent_open(struct recent **out, uint64_t seed, size_t size_max)
{
    struct recent *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return LS_ENOMEM;
    }
    r->seed = seed;
    r->size_max = size_max;
    r->generations[0].spare = r->generations[1].spare = &r->spare;
    r->active = &r->generations[0];
    *out = r;
    return 0;
}

static void heads_free(struct recent *r)
{
    free(r->heads);
    r->heads = NULL;
    r->head_count = r->ahead_count = 0;
    r->taken = r->taken_kept = 0;
}

void recent_close(struct recent *r)
{
    if (r == NULL) {
        return;
    }
    generation_free(&r->generations[0]);
    generation_free(&r->generations[1]);
    spare_free(&r->spare);
    heads_free(r);
    free(r->undo);
    free(r);
}

void recent_rest(struct recent *r)
{
    spare_free(&r->spare);
}

void recent_reset(struct recent *r, uint64_t next, uint64_t high)
{
    generation_free(&r->generations[0]);
    generation_free(&r->generations[1]);
    heads_free(r);
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

/* ---- keys ---- */

static struct recent_key *key_find(const struct generation *g, ls_bytes name, uint32_t hash)
{
    if (g->bucket_count == 0) {
        return NULL;
    }
    struct recent_key *key = g->buckets[hash & (g->bucket_count - 1)];
    while (key != NULL && (key->hash != hash || key->size != name.size ||
                           memcmp(key->name, name.data, name.size) != 0)) {
        key = key->next;
    }
    return key;
}

/* Those of the generation before; false where it left none. */
static bool inherit_buckets(struct generation *g)
{
    struct spare *spare = g->spare;
    if (spare->bucket_count == 0) {
        return false;
    }
    size_t size = spare->bucket_count * sizeof(struct recent_key *);
    memset(spare->buckets, 0, size);
    g->buckets = spare->buckets;
    g->bucket_count = spare->bucket_count;
    g->allocated += size;
    spare->buckets = NULL;
    spare->bucket_count = 0;
    spare->allocated -= size;
    return true;
}

/* Without memory the chains grow longer, but for the first. */
static int spread(struct generation *g)
{
    if (g->key_count < g->bucket_count || (g->bucket_count == 0 && inherit_buckets(g))) {
        return 0;
    }
    size_t count = g->bucket_count == 0 ? BUCKETS_FIRST : BUCKETS_GROW * g->bucket_count;
    struct recent_key **buckets = memory_take(count * sizeof(struct recent_key *));
    if (buckets == NULL) {
        return g->bucket_count == 0 ? LS_ENOMEM : 0;
    }
    for (size_t i = 0; i < g->bucket_count; i++) {
        for (struct recent_key *key = g->buckets[i], *next; key != NULL; key = next) {
            struct recent_key **bucket = &buckets[key->hash & (count - 1)];
            next = key->next;
            key->next = *bucket;
            *bucket = key;
        }
    }
    buckets_give(g->buckets, g->bucket_count);
    g->allocated += (count - g->bucket_count) * sizeof(struct recent_key *);
    g->buckets = buckets;
    g->bucket_count = count;
    return 0;
}

/* A place in the last run, or in a new one. */
static int reserve_run(struct generation *g)
{
    if (g->last_run != NULL && g->last_run->count < RUN_KEYS) {
        return 0;
    }
    struct run *run = g->spare->runs;
    if (run != NULL) {
        g->spare->runs = run->after;
        g->spare->allocated -= sizeof(*run);
    } else if ((run = malloc(sizeof(*run))) == NULL) {
        return LS_ENOMEM;
    }
    run->before = g->last_run;
    run->after = NULL;
    run->count = run->at = run->kept = 0;
    run->sorted = false;
    *(g->last_run != NULL ? &g->last_run->after : &g->runs) = run;
    g->last_run = run;
    g->run_count++;
    g->allocated += sizeof(*run);
    return 0;
}

static void drop_last_run(struct generation *g)
{
    struct run *run = g->last_run;
    g->last_run = run->before;
    *(run->before != NULL ? &run->before->after : &g->runs) = NULL;
    g->run_count--;
    g->allocated -= sizeof(*run);
    free(run);
}

static void share(struct generation *g, const struct recent_key *key)
{
    if (g->key_count == 0) {
        g->first_key = key;
        g->shared = key->size;
        return;
    }
    size_t most = key->size < g->shared ? key->size : g->shared;
    size_t same = 0;
    while (same < most && key->name[same] == g->first_key->name[same]) {
        same++;
    }
    g->shared = same;
}

/* ---- adding ---- */

static struct recent_key *key_new(struct generation *g, ls_bytes name, uint32_t hash)
{
    if (spread(g) != 0 || reserve_run(g) != 0) {
        return NULL;
    }
    struct recent_key *key = chunk_take(g, sizeof(*key) + name.size);
    if (key != NULL) {
        *key = (struct recent_key){.hash = hash, .size = (uint16_t)name.size};
        memcpy(key->name, name.data, name.size);
    }
    return key;
}

static void key_link(struct generation *g, struct recent_key *key)
{
    struct recent_key **bucket = &g->buckets[key->hash & (g->bucket_count - 1)];
    key->next = *bucket;
    *bucket = key;
    share(g, key);
    g->last_run->places[g->last_run->count++].key = key;
    g->key_count++;
    g->used += KEY_PLACES;
}

/* ---- a key's versions ---- */

static struct leap *leap_of(const struct recent_version *version)
{
    return (struct leap *)(void *)version - 1;
}

/* Below the last version that is newer than the timestamp. */
static struct spot spot_of(const struct recent_key *key, uint64_t timestamp)
{
    struct spot spot = {0};
    struct recent_version *version = key->newest;
    while (version != NULL && version->timestamp > timestamp) {
        spot.above = version;
        spot.steps++;
        struct recent_version *below = version->older;
        if (version->tall) {
            const struct leap *leap = leap_of(version);
            spot.tall = version;
            spot.steps = 0;
            if (leap->far != version && leap->far->timestamp > timestamp) {
                below = leap->far;
            } else if (leap->next != NULL && leap->next->timestamp > timestamp) {
                below = leap->next;
            }
        }
        version = below;
    }
    return spot;
}

/* The version below the spot. */
static struct recent_version **spot_link(struct recent_key *key, struct spot spot)
{
    return spot.above != NULL ? &spot.above->older : &key->newest;
}

static void leap_set(struct recent_version *version)
{
    struct leap *leap = leap_of(version);
    struct recent_version *next = version->older;
    while (next != NULL && !next->tall) {
        next = next->older;
    }
    *leap = (struct leap){next, version, 0};
    if (next != NULL) {
        const struct leap *first = leap_of(next), *second = leap_of(first->far);
        bool doubles = first->depth - second->depth == second->depth - leap_of(second->far)->depth;
        leap->depth = first->depth + 1;
        leap->far = doubles ? second->far : next;
    }
}

static void version_link(struct recent_key *key, struct spot spot, struct recent_version *version)
{
    struct recent_version **at = spot_link(key, spot);
    version->older = *at;
    *at = version;
    key->late = key->late || spot.above != NULL;
    if (spot.above == NULL) {
        key->since = version->tall ? 0 : (uint8_t)(key->since + 1);
    }
    if (version->tall) {
        leap_set(version);
        if (spot.tall != NULL) {
            leap_of(spot.tall)->next = version;
        }
    }
}

static void version_unlink(struct recent_key *key, struct recent_version *version)
{
    struct spot spot = spot_of(key, version->timestamp);
    struct recent_version **at = spot_link(key, spot);
    assert(*at == version);
    *at = version->older;
    if (version->tall && spot.tall != NULL) {
        leap_of(spot.tall)->next = leap_of(version)->next;
    }
}

static bool grows_tall(const struct recent_key *key, struct spot spot)
{
    return (spot.above == NULL ? key->since : spot.steps) >= TALL_EVERY - 1;
}

static struct recent_version *version_new(struct generation *g, ls_bytes value, bool tall)
{
    size_t before = tall ? sizeof(struct leap) : 0;
    uint8_t *memory = chunk_take(g, before + sizeof(struct recent_version) + value.size);
    return memory != NULL ? (void *)(memory + before) : NULL;
}

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
    struct recent_key *key = key_find(g, name, hash);
    bool new_key = key == NULL;
    struct spot spot = {0};
    bool tall = false;
    if (new_key) {
        key = key_new(g, name, hash);
    } else {
        spot = spot_of(key, timestamp);
        tall = grows_tall(key, spot);
    }
    struct recent_version *version = key != NULL ? version_new(g, value, tall) : NULL;
    if (version == NULL) {
        chunk_back(g, chunk, chunk_used);
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
        key_link(g, key);
    }
    *undo = (struct undo){sequence, key,     version,   chunk,     chunk_used,
                          used,     new_key, key->late, key->since};
    version_link(key, spot, version);
    g->version_count++;
    r->undo_count++;
    r->next = sequence + 1;
    r->high = timestamp > r->high ? timestamp : r->high;
    return 0;
}

static void undo_one(struct recent *r, const struct undo *undo)
{
    struct generation *g = r->active;
    version_unlink(undo->key, undo->version);
    undo->key->late = undo->was_late;
    undo->key->since = undo->since;
    g->version_count--;
    if (undo->new_key) {
        struct recent_key **link = &g->buckets[undo->key->hash & (g->bucket_count - 1)];
        while (*link != undo->key) {
            link = &(*link)->next;
        }
        *link = undo->key->next;
        if (g->last_run->count == 0) {
            drop_last_run(g); /* made for a key that there was no memory for */
        }
        g->last_run->count--;
        if (g->last_run->count == 0) {
            drop_last_run(g);
        }
        g->key_count--;
    }
    chunk_back(g, undo->chunk, undo->chunk_used);
    g->used = undo->used;
}

void recent_undo(struct recent *r, uint64_t sequence)
{
    while (r->undo_count > 0 && r->undo[r->undo_count - 1].sequence >= sequence) {
        undo_one(r, &r->undo[--r->undo_count]);
    }
    r->next = sequence < r->next ? sequence : r->next;
}

/* ---- order ---- */

/* The bytes behind those that all keys share, as a number in their order. */
static uint64_t word_of(const struct generation *g, const struct recent_key *key)
{
    uint8_t bytes[8] = {0};
    size_t size = key->size - g->shared;
    memcpy(bytes, key->name + g->shared, size < 8 ? size : 8);
    return get_be64(bytes);
}

static int key_compare(const struct recent_key *a, const struct recent_key *b)
{
    return bytes_compare(bytes_of(a->name, a->size), bytes_of(b->name, b->size));
}

static int place_compare(const void *a, const void *b)
{
    const struct place *left = a, *right = b;
    if (left->word != right->word) {
        return left->word < right->word ? -1 : 1;
    }
    return key_compare(left->key, right->key);
}

static void run_sort(const struct generation *g, struct run *run)
{
    for (size_t i = 0; i < run->count; i++) {
        run->places[i].word = word_of(g, run->places[i].key);
    }
    qsort(run->places, run->count, sizeof(run->places[0]), place_compare);
    run->shared = g->shared;
    run->sorted = true;
}

void recent_keep(struct recent *r)
{
    r->undo_count = 0;
    struct run *run = r->active->last_run;
    if (run != NULL && run->count < RUN_KEYS) {
        run = run->before;
    }
    for (; run != NULL && !run->sorted; run = run->before) {
        run_sort(r->active, run);
    }
}

/* ---- looking ---- */

void recent_prefetch(const struct recent *r, uint64_t hash, bool deeper)
{
    const struct generation *const generations[] = {r->active, r->frozen};
    for (size_t i = 0; i < 2 && generations[i] != NULL; i++) {
        const struct generation *g = generations[i];
        if (g->bucket_count > 0) {
            struct recent_key *const *bucket = &g->buckets[(uint32_t)hash & (g->bucket_count - 1)];
            __builtin_prefetch(deeper ? (const void *)*bucket : (const void *)bucket);
        }
    }
}

/* The newest at or below the timestamp that is not in the store. Below one that is there all are,
 * unless one of them came late. */
static const struct recent_version *version_at(const struct recent *r, const struct generation *g,
                                               const struct recent_key *key, uint64_t timestamp)
{
    struct spot spot = spot_of(key, timestamp);
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
    const struct recent_key *key = below > 0 ? key_find(g, name, hash) : NULL;
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

bool recent_is_full(const struct recent *r)
{
    return r->active->used >= r->size_max;
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

/* The next key of a run that has one. */
static struct recent_key *run_key(const struct run *run)
{
    return run->places[run->at].key;
}

/* Its word; keys that came after the run was sorted may have made the shared part shorter. */
static uint64_t run_word(const struct generation *g, const struct run *run)
{
    return run->shared == g->shared ? run->places[run->at].word : word_of(g, run_key(run));
}

static bool head_less(const struct head *a, const struct head *b)
{
    if (a->word != b->word) {
        return a->word < b->word;
    }
    return key_compare(run_key(a->run), run_key(b->run)) < 0;
}

static void sift_down(struct recent *r, size_t at)
{
    struct head *heads = r->heads;
    struct head moved = heads[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= r->head_count) {
            break;
        }
        if (child + 1 < r->head_count && head_less(&heads[child + 1], &heads[child])) {
            child++;
        }
        if (!head_less(&heads[child], &moved)) {
            break;
        }
        heads[at] = heads[child];
        at = child;
    }
    heads[at] = moved;
}

/* Makes the heap of the runs anew, from where each stands. */
static void heads_make(struct recent *r)
{
    r->head_count = 0;
    for (struct run *run = r->frozen->runs; run != NULL; run = run->after) {
        if (run->at < run->count) {
            r->heads[r->head_count++] = (struct head){run_word(r->frozen, run), run};
        }
    }
    for (size_t i = r->head_count / 2; i-- > 0;) {
        sift_down(r, i);
    }
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
            run_sort(g, run);
        }
    }
    r->heads = heads;
    r->ahead_count = 0;
    r->taken = r->taken_kept = 0;
    r->frozen = g;
    r->active = g == &r->generations[0] ? &r->generations[1] : &r->generations[0];
    r->active->first = r->next;
    r->active->base = r->high;
    heads_make(r);
    return 0;
}

static struct ahead heap_take(struct recent *r)
{
    struct run *run = r->heads[0].run;
    struct ahead out = {run, run_key(run)};
    run->at++;
    if (run->at < run->count) {
        r->heads[0].word = run_word(r->frozen, run);
    } else {
        r->heads[0] = r->heads[--r->head_count];
    }
    if (r->head_count > 0) {
        sift_down(r, 0);
    }
    return out;
}

static struct ahead *ahead_at(struct recent *r, size_t index)
{
    return &r->ahead[(r->ahead_at + index) % AHEAD];
}

/* Has keys fetched from memory some steps before they are taken, and their versions when half of
 * the steps are left. */
static void look_ahead(struct recent *r)
{
    while (r->ahead_count < AHEAD && r->head_count > 0) {
        struct ahead next = heap_take(r);
        __builtin_prefetch(next.key);
        *ahead_at(r, r->ahead_count++) = next;
    }
    if (r->ahead_count > AHEAD / 2) {
        __builtin_prefetch(ahead_at(r, AHEAD / 2)->key->newest);
    }
}

const struct recent_key *recent_peek(struct recent *r)
{
    if (r->frozen == NULL) {
        return NULL;
    }
    look_ahead(r);
    return r->ahead_count > 0 ? ahead_at(r, 0)->key : NULL;
}

void recent_take(struct recent *r)
{
    r->ahead_at = (r->ahead_at + 1) % AHEAD;
    r->ahead_count--;
    r->taken++;
}

void recent_taken(struct recent *r)
{
    if (r->frozen == NULL || r->taken == r->taken_kept) {
        return;
    }
    for (struct run *run = r->frozen->runs; run != NULL; run = run->after) {
        run->kept = run->at;
    }
    for (size_t i = 0; i < r->ahead_count; i++) {
        ahead_at(r, i)->run->kept--;
    }
    r->taken_kept = r->taken;
}

void recent_take_again(struct recent *r)
{
    if (r->frozen == NULL || r->taken == r->taken_kept) {
        return;
    }
    for (struct run *run = r->frozen->runs; run != NULL; run = run->after) {
        run->at = run->kept;
    }
    r->ahead_count = 0;
    r->taken = r->taken_kept;
    heads_make(r);
}

void recent_release(struct recent *r)
{
    uint64_t end = generation_end(r, r->frozen);
    r->merged = end > r->merged ? end : r->merged;
    generation_free(r->frozen);
    r->frozen = NULL;
    heads_free(r);
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
