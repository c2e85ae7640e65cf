/*
 * What a shard consists of, for the files of this folder.
 *
 * A key has a timeline of versions: what was written, and what will or may be written. A
 * transaction has a mark for each key it touches. Once no transaction that is remembered has one,
 * the key has a single version left and is *at rest*: it stands in the table's cell, one line of
 * the cache, and nowhere else. So among however many keys, one costs one access to cold memory; the
 * keys that are awake are few and warm.
 *
 * A read is *heard* once its timestamp is at most
 * heard_all_writes: from then on no version can come in below it, so it belongs to one version,
 * the newest below it, and hangs in that one's list of readers until it is answered or given up.
 * When that version turns out to be none, its readers move to the version before, all at once.
 */
#ifndef LS_SHARD_STATE_H
#define LS_SHARD_STATE_H

#include <assert.h>

#include "lockstep_shard.h"
#include "shard/table.h"
#include "shard/timeline.h"

/* A place in a circular list; alone it points to itself. */
struct link {
    struct link *prev;
    struct link *next;
};

static inline void link_init(struct link *link)
{
    link->prev = link->next = link;
}

static inline bool link_alone(const struct link *link)
{
    return link->next == link;
}

static inline void link_add(struct link *list, struct link *link)
{
    link->prev = list->prev;
    link->next = list;
    list->prev->next = link;
    list->prev = link;
}

static inline void link_remove(struct link *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link_init(link);
}

enum version_state { VERSION_WILL, VERSION_MAY, VERSION_VALUE, VERSION_ABSENT, VERSION_STORED };

#define NAME_INLINE_MAX  16 /* what is longer stands apart */
#define VALUE_INLINE_MAX 24

union name {
    uint8_t bytes[NAME_INLINE_MAX];
    uint8_t *apart;
};

union value {
    uint8_t bytes[VALUE_INLINE_MAX];
    uint8_t *apart;
};

struct version {
    struct stamp stamp;  /* on the key's timeline */
    struct link readers; /* the marks whose heard, unanswered read sees this version */
    enum version_state state;
    uint32_t size;
    union value value;
};

/* So many versions of a key stand within it: mostly the one that it woke with, and the next. */
#define VERSIONS_WITHIN 2

/* A key that is awake. */
struct key {
    struct timeline timeline; /* of versions */
    uint64_t hash;
    uint32_t marks; /* of transactions that are remembered */
    uint16_t size;  /* of the name, which is the cell's */
    bool taken[VERSIONS_WITHIN];
    union name name;
    struct version within[VERSIONS_WITHIN];
};

/* A key in the table of keys. */
struct cell {
    struct slot slot;    /* the item: the key, or AT_REST */
    uint32_t name_size;  /* the name is there in either state */
    uint32_t value_size; /* the value at rest only */
    union name name;
    union value value;
};

#define CACHE_LINE 64
static_assert(sizeof(struct cell) == CACHE_LINE, "a cell is one line of the cache");

#define AT_REST ((void *)1)

enum read_state {
    READ_NOT,     /* the transaction does not read the key */
    READ_UNASKED, /* lazy */
    READ_ASKED,   /* to be answered, once it is heard */
    READ_WAITING, /* heard; the version it sees is open */
    READ_DONE
};

enum write_state { WRITE_NOT, WRITE_OPEN, WRITE_DONE };

struct mark {
    struct link readers; /* among the readers of a version */
    struct transaction *of;
    struct key *key;
    struct version *version; /* its own, until it is written and the transaction passed */
    uint64_t hash;           /* the key's */
    uint8_t kinds;
    uint8_t read;  /* enum read_state */
    uint8_t write; /* enum write_state */
};

/* Up to so many marks are searched one by one; more are kept in the order of their hashes. */
#define MARKS_UNSORTED_MAX 8

struct transaction {
    struct stamp stamp; /* in the shard's order */
    uint64_t worker;
    uint64_t executor;
    uint64_t fingerprint; /* of its locks, whatever their order */
    uint32_t mark_max;    /* places for marks */
    uint32_t mark_count;
    uint32_t open; /* reads unanswered and writes open */
    bool heard;    /* its timestamp is at most heard_all_writes */
    bool passed;   /* and below `collected` */
    struct mark marks[];
};

struct worker {
    uint64_t number;
    uint64_t writes; /* no write, and no read, below these will come from it */
    uint64_t reads;
};

/* The heights of a chain have no gaps. An anchor also knows the one at its height without the
 * lowest bit that is set, so that any is found from the newest in some log(n)^2 / 2 steps. The
 * oldest go first: a jump may dangle, and is good only where its height is not below theirs. */
struct anchor {
    struct anchor *older;
    struct anchor *newer;
    struct anchor *jump;
    uint64_t height;
    uint64_t timestamp;
    uint32_t size;
    uint8_t bytes[];
};

static inline uint64_t anchor_jump_height(uint64_t height)
{
    return height & (height - 1);
}

/* One step from an anchor towards an older one of its chain, which is held. */
static inline struct anchor *anchor_towards(const struct anchor *anchor, uint64_t height)
{
    assert(height < anchor->height);
    return anchor_jump_height(anchor->height) >= height ? anchor->jump : anchor->older;
}

struct chain {
    struct chain *next;
    uint64_t hash;
    struct anchor *oldest;
    struct anchor *newest;
    size_t size;
    uint8_t id[];
};

struct ls_shard {
    ls_shard_send out;
    void *context;
    uint64_t learner;
    bool stored;
    uint64_t seed;
    uint64_t dice; /* for the timelines' rungs */
    uint64_t heard_all_writes;
    uint64_t heard_all_reads;
    uint64_t collected; /* every transaction below it is passed */

    struct table keys; /* of cells */
    struct table transactions;
    struct timeline order;  /* of transactions */
    struct stamp *unheard;  /* the oldest that is not heard */
    struct stamp *unpassed; /* the oldest that is not passed */

    struct table chains;
    struct chain *chain; /* of a circle: the next to drop anchors of */
    size_t chains_due;   /* so many of them may have some */

    uint64_t versions; /* counters for ls_shard_info_get() */
    uint64_t open;
    uint64_t waiting;
    uint64_t anchors;

    struct pool pool;
    size_t worker_count;
    struct worker workers[]; /* in the order of their numbers */
};

/* Remembers a failure for ls_last_error(), and returns its code. */
int shard_refuse(int code, uint64_t number, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Remembers that the pool failed. */
int shard_no_memory(const struct ls_shard *shard);

/* NULL where there is none. */
struct worker *shard_worker(struct ls_shard *shard, uint64_t number);

/* ---- key.c ---- */

ls_bytes key_name(const struct key *key);
uint64_t key_hash(const struct ls_shard *shard, ls_bytes name);

/* NULL where there is none. */
const struct cell *cell_find(const struct ls_shard *shard, ls_bytes name, uint64_t hash);
ls_bytes cell_name(const struct cell *cell);
ls_bytes cell_value(const struct cell *cell);

/* NULL where it is at rest. */
static inline struct key *cell_key(const struct cell *cell)
{
    return cell->slot.item != AT_REST ? cell->slot.item : NULL;
}

/* Finds the key and wakes it, or makes it, for which the table must have room. NULL: the pool
 * failed. */
struct key *key_make(struct ls_shard *shard, ls_bytes name, uint64_t hash);

/* Puts a key without marks to rest; without versions as well it goes. */
void key_let_go(struct ls_shard *shard, struct key *key);

/* ---- version.c ---- */

static inline struct version *version_of(struct stamp *stamp)
{
    return (struct version *)stamp;
}

static inline bool version_is_open(const struct version *version)
{
    return version->state == VERSION_WILL || version->state == VERSION_MAY;
}

/* What the mark's read sees: NULL where nothing is below it. */
struct version *version_seen(const struct mark *mark);

/* What a version, or none, says to a reader. */
enum ls_shard_content version_content(const struct ls_shard *shard, const struct version *version,
                                      ls_bytes *value);

/* Memory for a version of this key. NULL: the pool failed. */
struct version *version_take(struct ls_shard *shard, struct key *key);
void version_give(struct ls_shard *shard, struct key *key, struct version *version);

/* Puts an open version on the mark's key. False: the pool failed. */
bool version_place(struct ls_shard *shard, struct mark *mark);
void version_remove(struct ls_shard *shard, struct key *key, struct version *version);

/* Gives the mark's open version a value, or makes it absent, and answers who waited for it. False:
 * the pool failed and nothing happened. */
bool version_write(struct ls_shard *shard, struct mark *mark, enum ls_shard_content content,
                   ls_bytes value);

/* Takes the mark's open version away; who waited for it now sees the one before. */
void version_give_up(struct ls_shard *shard, struct mark *mark);

/* Drops what nobody can ask for any longer: this version, and the one before it. */
void version_collect(struct ls_shard *shard, struct key *key, struct version *version);

/* ---- read.c ---- */

/* The read is heard: answers it, or hangs it on the version that it sees. */
void read_hear(struct ls_shard *shard, struct mark *mark);

/* Sends the answer; the mark may be gone afterwards, with its transaction. */
void read_answer(struct ls_shard *shard, struct mark *mark, enum ls_shard_content content,
                 ls_bytes value);

/* Asks for a lazy read. */
void read_ask(struct ls_shard *shard, struct mark *mark);

void read_give_up(struct ls_shard *shard, struct mark *mark);

/* ---- transaction.c ---- */

static inline struct transaction *transaction_of(struct stamp *stamp)
{
    return (struct transaction *)stamp;
}

struct transaction *transaction_find(const struct ls_shard *shard, uint64_t timestamp);

/* NULL where the transaction has no mark there. */
struct mark *transaction_mark(const struct ls_shard *shard, struct transaction *transaction,
                              ls_bytes name);

/* One of its reads or writes is done. It may be gone afterwards. */
void transaction_settle(struct ls_shard *shard, struct transaction *transaction);

void transaction_hear(struct ls_shard *shard, struct transaction *transaction);

/* It is below heard_all_reads: what its writes made obsolete goes, and, once closed, itself. */
void transaction_pass(struct ls_shard *shard, struct transaction *transaction);

/* ---- watermark.c ---- */

/* Every worker's write mark is at least this from now on. */
void watermarks_raise(struct ls_shard *shard, uint64_t timestamp);

/* Takes up to `steps` of collecting; true where some are left. */
bool shard_collect(struct ls_shard *shard, size_t steps);

/* What a call does on the way, beyond its own work. */
#define COLLECT_STEP 16

/* ---- chain.c ---- */

/* Drops one anchor of a chain that is due, or goes on to the next. */
void chain_collect_step(struct ls_shard *shard);

#endif
