/*
 * What connections wait for: box watches, object watches, and MSG.READs under way. Each is a cursor
 * that reads on when its socket has drained; none holds more than one piece of output.
 */
#ifndef LS_SERVER_WATCH_H
#define LS_SERVER_WATCH_H

#include "coordinator/read.h"
#include "server/command.h"
#include "server/conn.h"

/* What an MSG.READ asks for. The filter borrows from `strings`. */
struct read_order {
    uint64_t from;
    uint64_t count;
    struct box_filter filter;
    bool json;
    bool block;
    uint64_t block_ms; /* 0: no limit */
};

/* A copy of the filter that owns its text, in one allocation. NULL: no memory. Free with free. */
struct box_filter *filter_copy(const struct box_filter *filter);
/* The bytes of that allocation. */
size_t filter_memory(const struct box_filter *filter);

/* Begins a watch; the caller has checked that there is none and that `next` can be read. */
int box_watch_begin(struct conn *conn, uint64_t next, const struct box_filter *filter, bool json);
void box_watch_end(struct conn *conn);
size_t box_watch_memory(const struct box_watch *watch); /* NULL: 0 */

/* Sends the next piece. True where something was sent or there is more to look at. */
bool box_watch_piece(struct conn *conn);

/* Answers with the snapshot's clock as soon as a snapshot can begin. */
int object_watch_begin(struct conn *conn, ls_bytes prefix, struct ls_error *error);
void object_watch_end(struct conn *conn);
bool object_watch_piece(struct conn *conn);
size_t object_watch_memory(const struct object_watch *watch); /* NULL: 0 */
/* Once a second: gives up snapshots whose clients take nothing. */
void object_watches_tick(struct server *server);

/* Runs the order, as far as it goes at once, and answers or leaves it under way. */
int read_begin(struct conn *conn, const struct read_order *order, struct ls_error *error);
void read_end(struct conn *conn);
size_t read_memory(const struct read_wait *wait); /* NULL: 0 */
/* Lets the reads under way look again: those that have not looked at all of the box yet, and where
 * it changed, all. True where some have still more to look at. */
bool reads_go_on(struct server *server, bool changed);
/* Once a second: ends those whose clients sent so much behind them that they are not read from, and
 * are gone. */
void reads_tick(struct server *server);
/* Answers each with the error. */
void reads_refuse(struct server *server, const struct ls_error *error);

/* Lets the watches of a connection whose output has drained send on. */
void watch_read_on(struct conn *conn);

/* The connection is going away. */
void watch_end_all(struct conn *conn);

#endif
