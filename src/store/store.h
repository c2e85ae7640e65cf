/*
 * The store: ordered keys and values in transactions, behind a small vtable, so that the
 * coordinator does not know whether LMDB, or later a replica fed by etcd, is below it.
 *
 * Rules for every driver:
 *  1. One write transaction at a time over all threads and processes; begin waits for its turn. It
 *     must end on the thread that began it. Read transactions see the last commit before their
 * begin, are never blocked by a writer, and may move between threads but not be used by two at
 * once.
 *  2. Keys and values that come out are borrowed: they live until the transaction ends, or, in a
 *     write transaction, until its next put or del.
 *  3. store_commit returns 0 only when everything is on disk (unless opened without sync). After
 * any other result nothing of the transaction is there, now or after a crash, and it has ended.
 *     LS_ERETRY: run the same requests again in a new transaction.
 *  4. After a put or del failed, the only call on the transaction is store_abort.
 *  5. Keys begin with a header of codec/key.h; the driver may keep each category in a place of its
 *     own. Scans stay within one category.
 *  6. Errors: LS_ENOSPACE (with which limit in the sentence), LS_EIO, LS_ECORRUPT, LS_ENOMEM,
 * LS_EREADONLY.
 */
#ifndef LS_STORE_STORE_H
#define LS_STORE_STORE_H

#include "lockstep.h"

struct store;
struct store_txn;
struct store_cursor;

enum store_mode { STORE_READ, STORE_WRITE, STORE_AHEAD };

/* So many commits may be submitted and not finished. */
#define STORE_FLIGHTS_MAX 3

/* What a put is allowed to use. Near a limit (disk, map, quota) a reserve is kept back: what adds
 * is refused first, then what deletes (which adds to the log as well), and last what only frees. */
enum store_room { STORE_ROOM_ADD, STORE_ROOM_DELETE, STORE_ROOM_FREE };

struct store_options {
    bool sync;   /* flush before a commit returns */
    bool create; /* make the directory where it is missing */
    bool read_only;
    uint64_t map_size_max; /* bytes of address space; 0: 1 TiB, less where the system refuses */
    uint64_t quota;        /* bytes the store may take on disk; 0: no limit */
};

struct store_stat {
    uint64_t bytes_used;  /* pages in use, in bytes */
    uint64_t bytes_file;  /* the data file, as far as it was ever used */
    uint64_t bytes_free;  /* inside bytes_file, ready for use */
    uint64_t bytes_limit; /* the least of map and quota */
    uint64_t commits;     /* transactions ever committed to the store */
    uint64_t flushes;     /* by this process */
    uint64_t readers;     /* read transactions open now, all processes */
};

struct store_driver {
    /* Increased with every change of this struct. */
    unsigned version;
    const char *name;

    /* Opens `path` (what follows "name:" in the URL). Any thread. LS_EFORMAT for a foreign or newer
     * file, LS_ECORRUPT for a damaged one, LS_ENOTFOUND without `create`, LS_EREADONLY, LS_EBUSY.
     * The driver allocates the store; its first member is a struct store. */
    int (*open)(struct store **out, const char *path, const struct store_options *options,
                struct ls_error *error);

    /* Any thread, once, with every transaction ended. */
    void (*close)(struct store *store);

    /* Any thread. Write mode waits for other writers. STORE_AHEAD: a write transaction that may
     * begin while such, submitted before it on the same thread, are not finished; its puts come
     * behind theirs. It is as any other, but for being dearer where it reads than where it only
     * puts. While one is not finished its thread begins no STORE_WRITE. */
    int (*begin)(struct store *store, enum store_mode mode, struct store_txn **out,
                 struct ls_error *error);

    /* 0, or LS_ENOTFOUND (not an error of the transaction). */
    int (*get)(struct store_txn *txn, ls_bytes key, ls_bytes *value);

    /* Inserts or replaces. `append`: the key is greater than every other of its category (checked:
     * LS_EINVAL where it is not). */
    int (*put)(struct store_txn *txn, ls_bytes key, ls_bytes value, bool append,
               struct ls_error *error);

    /* 0, or LS_ENOTFOUND (not an error of the transaction). */
    int (*del)(struct store_txn *txn, ls_bytes key, struct ls_error *error);

    /* Whether about `bytes` more may be added in this write transaction: 0, or LS_ENOSPACE with
     * which limit. Called before the first put of a request; promises add up until the transaction
     * ends. */
    int (*room)(struct store_txn *txn, enum store_room room, size_t bytes, struct ls_error *error);

    /* A cursor over keys from `from` up to, not including, `to` (both of one category; an empty
     * `to`: to the category's end), or backwards from just below `to` down to `from`. */
    int (*scan)(struct store_txn *txn, ls_bytes from, ls_bytes to, bool backward,
                struct store_cursor **out, struct ls_error *error);
    /* 1: *key and *value are set; 0: the end; negative: an error. */
    int (*next)(struct store_cursor *cursor, ls_bytes *key, ls_bytes *value,
                struct ls_error *error);
    /* The last record of the range: as a backward scan's first. NULL: there is no quicker way. */
    int (*last)(struct store_txn *txn, ls_bytes from, ls_bytes to, ls_bytes *key, ls_bytes *value,
                struct ls_error *error);
    /* Deletes the record the cursor stands on (write transactions); the next call of next goes on
     * behind it. */
    int (*drop)(struct store_cursor *cursor, struct ls_error *error);
    /* Before the transaction ends. NULL is ignored. */
    void (*scan_end)(struct store_cursor *cursor);

    int (*commit)(struct store_txn *txn, struct ls_error *error);

    /* Instead of commit, for a STORE_AHEAD that changed something: 1 where it is committed, and so
     * are all submitted before it; 0 where the commit is under way, and `notify` will be called
     * once, on any thread and before `finish` returns, when that need not wait for it; else as
     * commit. Until it is durable nobody sees it. NULL: the driver has no STORE_AHEAD. */
    int (*submit)(struct store_txn *txn, void (*notify)(void *context), void *context,
                  struct ls_error *error);
    /* Finishes the oldest for which submit returned 0: 1, or what commit would return; all that
     * were submitted after one that failed fail as well. 0 where there is none, or where it would
     * have to wait and need not (`wait`). */
    int (*finish)(struct store *store, bool wait, struct ls_error *error);
    /* What a write transaction may read without waiting for those before it: *out sees a commit
     * that may be as old as the last one finished. Borrowed, and gone with the transaction. NULL:
     * the transaction itself will do. */
    int (*earlier)(struct store_txn *txn, struct store_txn **out, struct ls_error *error);
    void (*abort)(struct store_txn *txn);

    /* The number of the commit that a transaction sees (read) or will be (write): two transactions
     * with the same number see the same data; each commit by any process adds at least one. */
    uint64_t (*number)(struct store_txn *txn);

    /* How many records a category has, in this transaction. */
    int (*count)(struct store_txn *txn, char category, uint64_t *out, struct ls_error *error);

    int (*stat)(struct store *store, struct store_stat *out, struct ls_error *error);

    /* Sets the quota while running; takes hold with the next write transaction. */
    int (*set_quota)(struct store *store, uint64_t bytes, struct ls_error *error);

    /* A number that grows with every commit by any process: what waiters compare. Any thread. */
    uint32_t (*wake_word)(struct store *store);
    /* Waits until the word differs from `seen`, for at most timeout_ms (negative: no limit). Wakes
     * within a few milliseconds of a commit in any process. True where it differs. Any thread. */
    bool (*wake_wait)(struct store *store, uint32_t seen, int64_t timeout_ms);
    /* Wakes the waiters of this and every other process without a commit. Any thread. */
    void (*wake_all)(struct store *store);

    /* On: write transactions will follow each other, and whoever says so will say when they cease.
     * Off: they have; on a thread with no transaction open, and it may take a flush. Pairs, from
     * any number of threads. In between a driver may keep what makes many commits cheap and
     * idleness expensive. NULL: makes no difference to this driver. */
    void (*run)(struct store *store, bool on);
};

/* What every store begins with. */
struct store {
    const struct store_driver *driver;
    void *data;
    char *path;
};

extern const struct store_driver store_lmdb; /* "lmdb:DIR" or a bare path */
extern const struct store_driver store_mem;  /* "mem:", private, gone when closed */

/* Opens by URL: picks the driver by its scheme. LS_EINVAL for an unknown scheme, with those there
 * are. */
int store_open(struct store **out, const char *url, const struct store_options *options,
               struct ls_error *error);

/* Thin calls through the vtable. */
static inline void store_close(struct store *store)
{
    store->driver->close(store);
}

static inline void store_run(struct store *store, bool on)
{
    if (store->driver->run != NULL) {
        store->driver->run(store, on);
    }
}

/* The driver's `last`, or a scan where it has none. */
static inline int store_last(struct store *store, struct store_txn *txn, ls_bytes from, ls_bytes to,
                             ls_bytes *key, ls_bytes *value, struct ls_error *error)
{
    const struct store_driver *driver = store->driver;
    struct store_cursor *cursor;
    if (driver->last != NULL) {
        return driver->last(txn, from, to, key, value, error);
    }
    int rc = driver->scan(txn, from, to, true, &cursor, error);
    if (rc == 0) {
        rc = driver->next(cursor, key, value, error);
        driver->scan_end(cursor);
    }
    return rc;
}

#endif
