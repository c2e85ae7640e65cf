/* What the parts of check share: the walk under way. Not for use outside them. */
#ifndef LS_CLI_CHECK_STATE_H
#define LS_CLI_CHECK_STATE_H

#include "cli/check_walk.h"
#include "codec/key.h"
#include "codec/record.h"

/* The newest change in the box of each key that has one there. */
struct latest {
    uint64_t hash; /* of the store key; with a clock of 0: an empty place */
    uint64_t clock;
    bool deleted;
    bool matched; /* a stored record agrees with it */
};

struct latest_table {
    struct latest *places;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
};

/* The entry of a key, or NULL. */
struct latest *latest_find(const struct latest_table *table, ls_bytes key);
/* Sets it. 0 or LS_ENOMEM. */
int latest_set(struct latest_table *table, ls_bytes key, uint64_t clock, bool deleted);

struct walk {
    struct reading *reading;
    const struct check_report *report;
    struct check_totals *totals;
    struct latest_table latest;

    /* Under C; has_ tells which could be read. */
    bool has_clock;
    bool has_box;
    bool has_discarded;
    bool has_format;
    uint64_t clock;
    struct control box;
    struct control discarded;
    uint64_t open; /* records of open transactions */
    struct control txns;
    uint64_t live;          /* entries of the index of live nodes */
    uint64_t logged;        /* records of the version log */
    uint64_t logged_last;   /* sequence of the last */
    uint64_t logged_writes; /* in all of them */

    /* Where the box stands. */
    bool chain_known;
    uint64_t chain;
    uint64_t last; /* the clock before */
    uint64_t count;
    uint64_t bytes;
};

/* Reports. The first takes the sentence and offset from a failed decoder. */
void walk_fault_error(struct walk *walk, ls_bytes key, const struct ls_error *error);
void walk_fault(struct walk *walk, ls_bytes key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The clock of the newest discarded message; 0: none, or not known. */
uint64_t walk_discarded(const struct walk *walk);

/* Each looks at one record whose key was decoded. 0, or what keeps the walk from going on. */
int check_control(struct walk *walk, const struct key_parts *parts, ls_bytes key, ls_bytes value);
int check_message(struct walk *walk, const struct key_parts *parts, ls_bytes key, ls_bytes value);
int check_node(struct walk *walk, const struct key_parts *parts, ls_bytes key, ls_bytes value);
int check_object(struct walk *walk, const struct key_parts *parts, ls_bytes key, ls_bytes value);
int check_producer(struct walk *walk, const struct key_parts *parts, ls_bytes key, ls_bytes value);
int check_version(struct walk *walk, const struct key_parts *parts, ls_bytes key, ls_bytes value);

/* After all control records: whether the version log is whole. */
void check_log(struct walk *walk);
/* After all messages: whether the records under C say the same. */
void check_box(struct walk *walk);

#endif
