/*
 * What the files of the LMDB driver share. Nobody else includes this.
 *
 * One struct lmdb_env stands for one directory in this process, whoever opened it and how often:
 * LMDB forbids to open a file twice in one process. Each struct lmdb_store is one store_open.
 * In a directory: data.mdb and lock.mdb, LMDB's own, wake, see wake.h and turn.h, and redo, see
 * redo.h and lmdb_log.c.
 */
#ifndef LS_STORE_LMDB_DRIVER_H
#define LS_STORE_LMDB_DRIVER_H

#include <limits.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "store/redo.h"
#include "store/store.h"
#include "store/turn.h"
#include "store/wake.h"

/* One LMDB database a category, in the order of KEY_CATEGORIES, so that appending works in each. */
#define LMDB_SLOTS     6
#define LMDB_SLOT_NONE UINT8_MAX
#define LMDB_DBI_NONE  UINT_MAX

#define LMDB_READERS_MAX 1022
#define LMDB_IDLE_MAX    64 /* reader slots kept ready in a process */

#define LMDB_WRITERS 2 /* threads that write records of the log */

/* The largest record of the log; above, writing twice costs more than a flush. */
#define REDO_RECORD_SIZE_MAX ((size_t)960 << 10)

/* The redo log as this process uses it; under LMDB's write lock. */
struct lmdb_log {
    struct redo redo;
    struct redo_record record; /* of the write transaction under way */
    MDB_txn *pin;              /* while a round is this process's: reads the commit it began with */
    uint64_t round;            /* that is this process's; 0: none */
    uint64_t pages;            /* that its commits wrote in the data file, about */
    uint64_t pages_sent;       /* of them, to the disk, ahead of the flush */
    uint64_t last_commit;      /* the number of this process's last */
    int streak;                /* flushed commits of LMDB in a row; negative: a pause */
    atomic_uint runs;          /* store_run */
};

enum lmdb_flight_state {
    FLIGHT_NONE,
    FLIGHT_QUEUED,
    FLIGHT_WRITING,
    FLIGHT_WRITTEN, /* or not: `result` */
    FLIGHT_LANDED,
    FLIGHT_LOST /* `error` */
};

/* A commit between lmdb_submit and lmdb_finish. */
struct lmdb_flight {
    atomic_int state; /* enum lmdb_flight_state */
    int result;
    struct ls_error error;
    struct redo_record record;
    uint64_t offset; /* of the record in the log */
    uint64_t number;
    uint64_t room_promised;
    unsigned slots; /* the categories that it changes, a bit each */
    void (*notify)(void *context);
    void *context;
};

/* See lmdb_pipe.c. The mutex guards `first`, `count`, `stop` and `send`, and is held where a state
 * changes up to FLIGHT_WRITTEN; the rest is the one thread's that commits ahead. */
struct lmdb_pipe {
    pthread_mutex_t mutex;
    pthread_cond_t queued;
    pthread_cond_t written;
    struct lmdb_flight flights[STORE_FLIGHTS_MAX]; /* a ring, in the order of their commits */
    unsigned first;
    unsigned count;
    bool stop;
    bool send; /* pages are to be sent to the disk, by a writer that has nothing else to do */
    unsigned thread_count;
    pthread_t threads[LMDB_WRITERS];
    struct lmdb_store *store; /* whose they are */
    bool open;                /* a transaction is ahead, and not submitted yet */
    bool turn;                /* the turn is held for them */
    int64_t turn_ms;          /* since when */
};

struct lmdb_env {
    struct lmdb_env *next; /* in the registry, by device and inode of the directory */
    dev_t device;
    ino_t inode;
    pid_t pid; /* who opened it: a child after fork must not touch it */
    unsigned references;

    MDB_env *mdb;
    MDB_dbi dbis[LMDB_SLOTS];
    int fd; /* of the data file; LMDB's */
    unsigned page_size;
    uint64_t map_pages;
    bool read_only;  /* the files cannot be written */
    bool private_;   /* mem: */
    bool sync;       /* what LMDB's flags say now; under the write lock */
    char *directory; /* for messages */
    struct wake wake;
    struct turn turn; /* taken before LMDB's lock, given back after it */
    atomic_uint_fast64_t flushes;

    /* Readers that ended, kept with their slot in LMDB's table: renewing one takes no lock there.
     */
    pthread_mutex_t idle_lock;
    struct store_txn *idle;
    unsigned idle_count;

    /* Up to which page the disk has blocks for the file; under the write lock. */
    uint64_t allocated_pages;
    bool refused; /* room, since the last commit that counted; under the write lock */
    bool no_fallocate;
    uint64_t written_pages; /* up to which they were written ahead of their use */
    uint64_t ahead_used;    /* pages in use at the last write transaction of this process */

    struct lmdb_log log;
    struct lmdb_pipe pipe;
};

struct lmdb_store {
    struct store base;
    struct lmdb_env *env;
    bool sync;
    bool read_only;
    atomic_uint_fast64_t quota;
};

struct store_txn {
    struct lmdb_store *store;
    MDB_txn *mdb;
    struct store_txn *next_idle;
    bool write;
    bool logged;             /* its edits are recorded, to be committed by the log */
    bool ahead;              /* they are nothing but recorded, and `mdb` is NULL */
    bool lost;               /* was ahead, and cannot be made in LMDB; `mdb` may be NULL */
    uint64_t number;         /* ahead: of the commit it will be */
    unsigned slots;          /* that it changed, a bit each */
    struct store_txn *view;  /* ahead: what it reads from, NULL before it does */
    uint64_t edits;          /* puts and deletes of any kind */
    bool room_disk_full;     /* and no use to ask again in this transaction */
    uint64_t changes;        /* leaves that puts and deletes changed, but for appends; about */
    bool room_with_next;     /* refused, but what the last commit freed would be enough */
    uint64_t room_used;      /* pages when the transaction began; 0: room was not asked for yet */
    uint64_t room_limit;     /* pages, of map and quota */
    uint64_t room_reserve;   /* pages */
    uint64_t room_promised;  /* bytes */
    uint64_t room_in_flight; /* bytes that were promised to those in flight */
    uint64_t room_run;       /* how long the runs were that room_free counts; 0: not counted */
    uint64_t room_free;      /* pages */
    MDB_cursor *lookers[LMDB_SLOTS];   /* of lmdb_last; a reader keeps them, to renew them */
    unsigned looked;                   /* those that were opened or renewed, a bit each */
    MDB_cursor *appenders[LMDB_SLOTS]; /* opened with the first append, closed by LMDB */
    MDB_cursor
        *changers[LMDB_SLOTS]; /* likewise, for puts and deletes: near the last it is quick */
    struct {
        uintptr_t low, high;
    } changed[LMDB_SLOTS]; /* where keys were in memory that are in the leaf changed last */
};

/* The slot of a category letter, or LMDB_SLOT_NONE. */
uint8_t lmdb_slot(uint8_t category);

/* The LS_E code of what LMDB or the system returned, with a sentence: "<doing>: <why>". */
int lmdb_fail(struct ls_error *error, int result, const struct lmdb_env *env, const char *doing);

/* The rest of beginning a write transaction, whose turn it is: 0 with *out set; on failure it is
 * freed and the turn given away. */
int lmdb_begin_in_turn(struct store_txn *txn, struct store_txn **out, struct ls_error *error);
int lmdb_begin_read(struct lmdb_store *store, struct store_txn **out, struct ls_error *error);
int lmdb_commit(struct store_txn *txn, struct ls_error *error);
/* Makes an edit in LMDB's transaction, and nothing else. LMDB's result. */
int lmdb_edit(struct store_txn *txn, const struct redo_edit *edit);
/* Counts an edit that was made, or that is ahead, and records it. */
void lmdb_edited(struct store_txn *txn, const struct redo_edit *edit);
/* Ends what a transaction that was ahead read from. */
void lmdb_end_view(struct store_txn *txn);
/* Counts the leaf of a key that was changed, where it is not that of the one before. */
void lmdb_changed(struct store_txn *txn, uint8_t slot, const void *key);

/* What LMDB's flags say of flushing; under the write lock. */
void lmdb_set_sync(struct lmdb_env *env, bool sync);

/* lmdb_open.c */
int lmdb_open(struct store **out, const char *path, const struct store_options *options,
              struct ls_error *error);
int lmdb_open_private(struct store **out, const char *path, const struct store_options *options,
                      struct ls_error *error);
void lmdb_close(struct store *base);

/* Refuses a data file that is foreign, damaged or cut short, before it is mapped: 0, LS_EFORMAT,
 * LS_ECORRUPT, LS_EIO. */
int lmdb_check_file(int fd, const char *directory, struct ls_error *error);

/* lmdb_scan.c */
int lmdb_scan(struct store_txn *txn, ls_bytes from, ls_bytes to, bool backward,
              struct store_cursor **out, struct ls_error *error);
int lmdb_next(struct store_cursor *cursor, ls_bytes *key, ls_bytes *value, struct ls_error *error);
int lmdb_drop(struct store_cursor *cursor, struct ls_error *error);
void lmdb_scan_end(struct store_cursor *cursor);
int lmdb_last(struct store_txn *txn, ls_bytes from, ls_bytes to, ls_bytes *key, ls_bytes *value,
              struct ls_error *error);
/* Ends a reader for good. */
void lmdb_free_reader(struct store_txn *txn);

/* lmdb_log.c. All but the first two and the last under the write lock. */
void lmdb_log_init(struct lmdb_env *env);
/* Brings the log to rest, if a round is this process's, and closes it. */
void lmdb_log_close(struct lmdb_env *env);
/* With a write transaction just begun: clears a log that another process left, and decides whether
 * this transaction is recorded. */
int lmdb_log_enter(struct store_txn *txn, struct ls_error *error);
/* Records an edit that was made. */
void lmdb_log_edit(struct store_txn *txn, const struct redo_edit *edit);
/* Whether the record under way has room for it. */
bool lmdb_log_has_room(const struct store_txn *txn, const struct redo_edit *edit);
/* Before LMDB's commit of a transaction that changed something: flushes its record, or sees to it
 * that LMDB's commit flushes. */
int lmdb_log_flush(struct store_txn *txn, struct ls_error *error);
/* After it: `result` is LMDB's, `number` the commit's. Returns what is to be answered. */
int lmdb_log_committed(struct lmdb_env *env, bool logged, uint64_t number, int result);
/* Begins to write the data file's changed pages to the disk. Any thread. */
void lmdb_log_send(const struct lmdb_env *env);
/* Ends the round that is this process's, if there is one: flushes the data file, then clears the
 * log. */
int lmdb_log_end(struct lmdb_env *env, struct ls_error *error);
/* Ends the round that is in the log, whose ever it is, so that LMDB may commit by itself. */
int lmdb_log_settle(struct lmdb_env *env, struct ls_error *error);
/* Begins no round for a while. */
void lmdb_log_pause(struct lmdb_env *env);
void lmdb_run(struct store *base, bool on);

/* Pages that the commit of the record under way, with so many changes, writes, about; and whether
 * the round has room for them. */
uint64_t lmdb_log_pages(const struct lmdb_env *env, uint64_t changes);
bool lmdb_log_has_pages(const struct lmdb_env *env, uint64_t pages);

/* lmdb_pipe.c */
void lmdb_pipe_init(struct lmdb_env *env);
void lmdb_pipe_close(struct lmdb_env *env);
/* A write transaction ahead of LMDB, or where that cannot be, like any other. */
int lmdb_begin_ahead(struct lmdb_store *store, struct store_txn **out, struct ls_error *error);
/* Makes LMDB's transaction of one that is ahead; nothing for one that is not. LS_ERETRY where a
 * commit before it was lost; after any failure it can only be aborted. */
int lmdb_ground(struct store_txn *txn, struct ls_error *error);
/* Whether a category has edits that LMDB does not have yet, as a transaction that is ahead sees it.
 */
bool lmdb_is_pending(const struct store_txn *txn, uint8_t slot);
/* Has a writer send what is in the page cache to the disk; false where there is none. */
bool lmdb_pipe_send(struct lmdb_env *env);
/* The vtable's. */
int lmdb_submit(struct store_txn *txn, void (*notify)(void *context), void *context,
                struct ls_error *error);
int lmdb_finish(struct store *base, bool wait, struct ls_error *error);
void lmdb_abort_ahead(struct store_txn *txn);
/* What lmdb_room promised to those in flight. */
uint64_t lmdb_promised_in_flight(struct lmdb_env *env);

/* lmdb_recover.c. While the directory is locked. */
struct lmdb_recovery {
    bool alone; /* nobody else has the store open */
    int round;  /* 1: the log holds one */
    struct redo_reader reader;
};

/* Before the data file is looked at: puts its meta pages back where the log holds a round, which
 * takes that the directory is locked. */
int lmdb_recover_begin(struct lmdb_recovery *recovery, const char *directory, bool locked,
                       struct ls_error *error);
/* With the environment open, its databases too: makes the commits of the round again. */
int lmdb_recover(struct lmdb_recovery *recovery, struct lmdb_env *env, struct ls_error *error);
/* After either, whatever they returned. */
void lmdb_recover_end(struct lmdb_recovery *recovery);

/* lmdb_space.c */
/* Leaves that puts and deletes in the middle of trees have copied, or will have. */
uint64_t lmdb_copied_pages(const struct store_txn *txn);
/* Whether map and quota leave so much, beyond what is kept back. */
bool lmdb_has_space(const struct lmdb_store *store, uint64_t bytes);
bool lmdb_disk_full(const struct lmdb_env *env);
int lmdb_room(struct store_txn *txn, enum store_room room, size_t bytes, struct ls_error *error);
int lmdb_stat(struct store *base, struct store_stat *out, struct ls_error *error);
int lmdb_set_quota(struct store *base, uint64_t bytes, struct ls_error *error);

/* Keeps some blocks behind the pages in use written; once for each write transaction. */
void lmdb_write_ahead(struct lmdb_env *env, uint64_t used);

#endif
