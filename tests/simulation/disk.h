/*
 * A simulated disk, and the store driver over it: ordered records in memory with snapshots, shared
 * by any number of simulated processes, each of which opens it as a store of its own.
 *
 * What is committed is on the disk and survives every process; what a transaction did before is
 * nowhere else. The owner of the disk is asked at every call whether it is to fail, and at every
 * commit what becomes of it, so that it can let a process die before, in or after one. A process
 * that died gets LS_EIO from every call and changes nothing.
 *
 * It also holds its users to the rules of store.h: what it lends in a write transaction is
 * overwritten at the next put or del, a transaction that failed takes nothing but its end, and what
 * is added must have been announced to room. Who breaks a rule gets an assertion.
 */
#ifndef LS_TESTS_DISK_H
#define LS_TESTS_DISK_H

#include "store/store.h"

struct disk;

enum disk_call {
    DISK_BEGIN_READ,
    DISK_BEGIN_WRITE,
    DISK_GET,
    DISK_PUT,
    DISK_DEL,
    DISK_ROOM,
    DISK_SCAN,
    DISK_NEXT,
    DISK_DROP,
    DISK_CALLS
};

extern const char *const disk_call_names[DISK_CALLS];

/* What becomes of a commit. */
enum disk_fate {
    DISK_KEPT,     /* it is there, and its process is told */
    DISK_FAILED,   /* it is not, and its process is told */
    DISK_DIED,     /* the process dies, and nothing is there */
    DISK_DIED_KEPT /* the process dies, and it is there */
};

/* One put, or one del where `value.data` is NULL. */
struct disk_edit {
    ls_bytes key;
    ls_bytes value;
};

struct disk_calls {
    /* 0, or the code that this call fails with. */
    int (*fault)(void *context, struct store *store, enum disk_call call);
    /* The flush of a commit that changes something. Others may commit in the meantime where the
     * disk is optimistic; everybody may read. */
    enum disk_fate (*flush)(void *context, struct store *store);
    /* It is there: the edits in their order. */
    void (*committed)(void *context, struct store *store, const struct disk_edit *edits,
                      size_t count);
    void *context;
};

/* `optimistic`: several transactions write at a time, and one that somebody else committed before
 * gets LS_ERETRY; else there is one writer, and a second is an assertion. NULL without memory. */
struct disk *disk_new(const struct disk_calls *calls, bool optimistic);
/* Every store of it must be closed. */
void disk_free(struct disk *disk);

/* How many bytes of records it takes; 0: no limit. */
void disk_limit(struct disk *disk, uint64_t bytes);
uint64_t disk_used(const struct disk *disk);
bool disk_optimistic(const struct disk *disk);
/* Whether a write transaction is under way. */
bool disk_busy(const struct disk *disk);

/* A process opens it. NULL without memory. */
struct store *disk_open(struct disk *disk, unsigned process, bool read_only);
unsigned disk_process(const struct store *store);
/* The process is dead from now on. */
void disk_kill(struct store *store);
bool disk_killed(const struct store *store);

#endif
