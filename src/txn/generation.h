/*
 * A generation of recent versions: keys in buckets and in runs, and the versions of each, newest
 * first. It grows, and goes as a whole.
 */
#ifndef LS_TXN_GENERATION_H
#define LS_TXN_GENERATION_H

#include "txn/recent.h"

#define RUN_KEYS 1024

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

/* Where a timestamp belongs among a key's versions: below these, or NULL where on top. */
struct spot {
    struct recent_version *above;
    struct recent_version *tall; /* the last of them that is */
    unsigned steps;              /* from there */
};

/* Gives back what is above so many bytes. */
void spare_trim(struct spare *spare, size_t bytes);

/* Leaves what it had to those that follow. */
void generation_free(struct generation *g);
/* Takes back what was taken since this chunk was the last one, or there was none, with so much used
 * of it. */
void generation_back(struct generation *g, struct chunk *chunk, size_t used);

/* ---- keys ---- */

struct recent_key *generation_find(const struct generation *g, ls_bytes name, uint32_t hash);
/* NULL: no memory. It is found once it is linked. */
struct recent_key *generation_key_new(struct generation *g, ls_bytes name, uint32_t hash);
void generation_key_link(struct generation *g, struct recent_key *key);
/* The key that was linked last. */
void generation_key_unlink(struct generation *g, struct recent_key *key);

/* ---- a key's versions ---- */

struct spot generation_spot(const struct recent_key *key, uint64_t timestamp);
/* Whether a version that comes there is to be tall. */
bool generation_grows_tall(const struct recent_key *key, struct spot spot);
/* NULL: no memory. */
struct recent_version *generation_version_new(struct generation *g, ls_bytes value, bool tall);
void generation_link(struct recent_key *key, struct spot spot, struct recent_version *version);
void generation_unlink(struct recent_key *key, struct recent_version *version);

/* ---- order ---- */

/* The bytes behind those that all keys share, as a number in their order. */
uint64_t generation_word(const struct generation *g, const struct recent_key *key);
int generation_compare(const struct recent_key *a, const struct recent_key *b);
void generation_sort(const struct generation *g, struct run *run);

#endif
