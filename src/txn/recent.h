/*
 * What transactions wrote lately: every version that is in the version log and not yet under `V`,
 * in memory, by key. A read looks here before it looks in the store.
 *
 * Two generations: what is written goes to the active one; the frozen one is being moved into the
 * store, in the order of its keys, and is looked in until that is whole and committed. Versions
 * come in the order of their sequence in the log, which is not that of their timestamps: a
 * transaction of several calls may end long after others that began behind it. So a version found
 * here is the newest below a timestamp only where nothing older can hold a newer one (`last`).
 *
 * Rules:
 *  1. It knows no store and no files; whoever uses it sees to it that it holds what the log does.
 *  2. What was added and not yet kept (recent_keep) can be taken back (recent_undo). Freezing takes
 *     that everything is kept.
 *  3. Pointers that come out live until the next call that is not a look.
 *  4. Failing leaves it as it was.
 */
#ifndef LS_TXN_RECENT_H
#define LS_TXN_RECENT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "lockstep.h"

/* A version of a key, newest first among those of its key. */
struct recent_version {
    struct recent_version *older;
    uint64_t timestamp;
    uint32_t offset; /* of its sequence, in its generation */
    uint32_t size : 30;
    uint32_t deleted : 1;
    uint32_t tall : 1; /* others are skipped from here (generation.c) */
    uint8_t value[];
};

struct recent_key {
    struct recent_key *next; /* in its bucket */
    struct recent_version *newest;
    uint32_t hash;
    uint16_t size;
    uint8_t since; /* versions that came on top of the newest tall one */
    bool late;     /* one came below another */
    uint8_t name[];
};

/* What a look finds. */
struct recent_found {
    uint64_t timestamp;
    ls_bytes value;
    bool deleted;
    bool last; /* nothing that is not in here can be newer, and below the timestamp looked for */
};

struct recent;

int recent_open(struct recent **out, uint64_t seed);
void recent_close(struct recent *recent);
/* Gives back the memory that is kept for generations to come. */
void recent_rest(struct recent *recent);

/* Forgets all. The next sequence is `next`, and all below it is in the store, where no timestamp is
 * above `high`. */
void recent_reset(struct recent *recent, uint64_t next, uint64_t high);

uint64_t recent_hash(const struct recent *recent, ls_bytes key);

/* Adds a version, of the sequence before or the next. 0 or LS_ENOMEM. */
int recent_add(struct recent *recent, uint64_t sequence, uint64_t timestamp, ls_bytes key,
               ls_bytes value, bool deleted);
/* Everything so far stays. */
void recent_keep(struct recent *recent);
/* Takes back what was added from a sequence on; none of it was kept. */
void recent_undo(struct recent *recent, uint64_t sequence);
/* The sequence behind the last one added. */
uint64_t recent_next(const struct recent *recent);

/* Hints that a key will be looked for or added, so that it is fetched from memory: what leads to
 * it, then, when that had some time, the key, and at last its newest version. */
enum recent_part { RECENT_BUCKET, RECENT_KEY, RECENT_VERSION };
void recent_prefetch(const struct recent *recent, uint64_t hash, enum recent_part part);

/* The newest version of the key below the timestamp, of those in here. */
bool recent_find(const struct recent *recent, ls_bytes key, uint64_t hash, uint64_t below,
                 struct recent_found *out);
/* Whether any version of the key in here is below the timestamp. */
bool recent_has_below(const struct recent *recent, ls_bytes key, uint64_t below);

/* Somebody else moved everything below the sequence into the store. */
void recent_drop(struct recent *recent, uint64_t merged);

/* ---- moving a generation ---- */

/* Freezes the active generation. 0, or LS_ENOMEM. There must be none that is frozen, something in
 * the active one, and all of it kept. */
int recent_freeze(struct recent *recent);
bool recent_is_frozen(const struct recent *recent);
/* The frozen key to be moved next, in byte order, or NULL at the end. recent_take goes on behind
 * it. */
const struct recent_key *recent_peek(struct recent *recent);
void recent_take(struct recent *recent);
/* What was taken is in the store for good; or it is not, and comes again. */
void recent_taken(struct recent *recent);
void recent_take_again(struct recent *recent);
/* Whether a version of the frozen generation is still to be moved: not where another process did
 * it. And the newest of a key that is, at or below the timestamp. */
bool recent_is_due(const struct recent *recent, const struct recent_version *version);
const struct recent_version *recent_newest_due(const struct recent *recent,
                                               const struct recent_key *key, uint64_t timestamp);
/* The sequence behind the frozen generation. */
uint64_t recent_frozen_end(const struct recent *recent);
/* Gives up the frozen generation, which is in the store as a whole. */
void recent_release(struct recent *recent);

struct recent_size {
    uint64_t versions; /* in both generations */
    uint64_t frozen;   /* of them, in the frozen one */
    uint64_t bytes;    /* of memory, with what is kept for generations to come */
    uint64_t active;   /* bytes of versions and keys in the active one */
};
struct recent_size recent_size(const struct recent *recent);

#endif
