/* What recent versions consist of, for recent.c and recent_move.c. */
#ifndef LS_TXN_RECENT_STATE_H
#define LS_TXN_RECENT_STATE_H

#include "txn/generation.h"

/* How many keys are fetched from memory before they are moved. */
#define AHEAD 8

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

/* Makes the heap of the frozen runs anew, from where each stands. */
void recent_heads_make(struct recent *r);
void recent_heads_free(struct recent *r);

#endif
