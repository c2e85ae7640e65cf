/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A generation of versions. Memory is taken in chunks and given back as a whole, so a version costs
 * no allocation; the next generation takes what the last one had, since memory fresh from the
 * system is dear.
 */
#include "txn/generation.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CHUNK_FIRST   4096
#define CHUNK_MAX     ((size_t)1 << 20)
#define BUCKETS_FIRST 256
#define BUCKETS_GROW  8 /* so few times that spreading them out anew is of no weight */

/* What a key takes beside its memory in a chunk: its places in a run and among the buckets. */
#define KEY_PLACES 24

/* Of so many versions of a key one is tall. */
#define TALL_EVERY 16

/* What stands before a tall version, which every TALL_EVERY-th of a key is: whoever looks for a
 * timestamp goes from one to the next, and by far leaps, which double as in a skew-binary list, so
 * that a key of a million versions is looked through in some dozens of steps. */
struct leap {
    struct recent_version *next; /* the tall one below; NULL: none */
    struct recent_version *far;  /* one further below; itself where there is none */
    uint32_t depth;
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

void spare_trim(struct spare *spare, size_t bytes)
{
    for (struct chunk *chunk; spare->allocated > bytes && (chunk = spare->chunks) != NULL;) {
        spare->chunks = chunk->before;
        spare->allocated -= chunk->size;
        chunk_give(chunk);
    }
    for (struct run *run; spare->allocated > bytes && (run = spare->runs) != NULL;) {
        spare->runs = run->after;
        spare->allocated -= sizeof(*run);
        free(run);
    }
    if (spare->allocated > bytes) {
        spare->allocated -= spare->bucket_count * sizeof(struct recent_key *);
        buckets_give(spare->buckets, spare->bucket_count);
        spare->buckets = NULL;
        spare->bucket_count = 0;
    }
}

void generation_free(struct generation *g)
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

void generation_back(struct generation *g, struct chunk *chunk, size_t used)
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

/* ---- keys ---- */

struct recent_key *generation_find(const struct generation *g, ls_bytes name, uint32_t hash)
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

struct recent_key *generation_key_new(struct generation *g, ls_bytes name, uint32_t hash)
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

void generation_key_link(struct generation *g, struct recent_key *key)
{
    struct recent_key **bucket = &g->buckets[key->hash & (g->bucket_count - 1)];
    key->next = *bucket;
    *bucket = key;
    share(g, key);
    g->last_run->places[g->last_run->count++].key = key;
    g->key_count++;
    g->used += KEY_PLACES;
}

void generation_key_unlink(struct generation *g, struct recent_key *key)
{
    struct recent_key **link = &g->buckets[key->hash & (g->bucket_count - 1)];
    while (*link != key) {
        link = &(*link)->next;
    }
    *link = key->next;
    if (g->last_run->count == 0) {
        drop_last_run(g); /* made for a key that there was no memory for */
    }
    g->last_run->count--;
    if (g->last_run->count == 0) {
        drop_last_run(g);
    }
    g->key_count--;
}

/* ---- a key's versions ---- */

static struct leap *leap_of(const struct recent_version *version)
{
    return (struct leap *)(void *)version - 1;
}

struct spot generation_spot(const struct recent_key *key, uint64_t timestamp)
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

void generation_link(struct recent_key *key, struct spot spot, struct recent_version *version)
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

void generation_unlink(struct recent_key *key, struct recent_version *version)
{
    struct spot spot = generation_spot(key, version->timestamp);
    struct recent_version **at = spot_link(key, spot);
    assert(*at == version);
    *at = version->older;
    if (version->tall && spot.tall != NULL) {
        leap_of(spot.tall)->next = leap_of(version)->next;
    }
}

bool generation_grows_tall(const struct recent_key *key, struct spot spot)
{
    return (spot.above == NULL ? key->since : spot.steps) >= TALL_EVERY - 1;
}

struct recent_version *generation_version_new(struct generation *g, ls_bytes value, bool tall)
{
    size_t before = tall ? sizeof(struct leap) : 0;
    uint8_t *memory = chunk_take(g, before + sizeof(struct recent_version) + value.size);
    return memory != NULL ? (void *)(memory + before) : NULL;
}

/* ---- order ---- */

uint64_t generation_word(const struct generation *g, const struct recent_key *key)
{
    uint8_t bytes[8] = {0};
    size_t size = key->size - g->shared;
    memcpy(bytes, key->name + g->shared, size < 8 ? size : 8);
    return get_be64(bytes);
}

int generation_compare(const struct recent_key *a, const struct recent_key *b)
{
    return bytes_compare(bytes_of(a->name, a->size), bytes_of(b->name, b->size));
}

static int place_compare(const void *a, const void *b)
{
    const struct place *left = a, *right = b;
    if (left->word != right->word) {
        return left->word < right->word ? -1 : 1;
    }
    return generation_compare(left->key, right->key);
}

void generation_sort(const struct generation *g, struct run *run)
{
    for (size_t i = 0; i < run->count; i++) {
        run->places[i].word = generation_word(g, run->places[i].key);
    }
    qsort(run->places, run->count, sizeof(run->places[0]), place_compare);
    run->shared = g->shared;
    run->sorted = true;
}
