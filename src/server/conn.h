/*
 * A connection: bytes in, commands run in their order, replies and pushes out.
 *
 * Rules:
 *  1. Commands take effect and are answered in the order sent. Writes are queued at once; anything
 *     else behind an unanswered write waits, and the parsing of the connection with it.
 *  2. An idle connection holds no buffer. Reads go to a buffer shared by all; only what is left of
 *     an incomplete or waiting command is kept here.
 *  3. Replies gather in `out` and leave at the end of the loop's turn. With a write under way,
 *     nothing else is handed to the socket; watches read on only when all of it is gone.
 *  4. What waits for a transaction may do so for long, and so do the replies behind it. That is
 *     bounded for each connection and for all, and pauses no connection that has none of it.
 *  5. One that the server ends with a reply lingers: this side is ended, and what the client still
 *     sends is read and discarded, within bounds, so that it gets the reply. It counts as a
 *     connection, holds no buffer, and nothing waits for it.
 *  6. conn_close may be called at any time; the struct lives until the handle is closed and no
 *     write of it is unanswered.
 */
#ifndef LS_SERVER_CONN_H
#define LS_SERVER_CONN_H

#include <uv.h>

#include "base/buf.h"
#include "coordinator/request.h"
#include "resp/parser.h"
#include "server/list.h"

struct box_watch;
struct command;
struct frames_block;
struct listing;
struct object_watch;
struct pending;
struct read_wait;
struct server;

/* Why a connection's next command is not run. */
enum pause {
    PAUSE_ANSWERS = 1, /* it waits for writes before it */
    PAUSE_OUTPUT = 2,  /* the client does not read its replies */
    PAUSE_QUEUE = 4,   /* too much waits for the store */
    PAUSE_READ = 8,    /* an MSG.READ, a listing or a first snapshot is under way */
    PAUSE_HELD = 16    /* too much of its own is held up by a transaction */
};

/* Output waiting above which no more commands of a connection are run. */
#define CONN_OUTPUT_PAUSE ((size_t)1024 * 1024)

/* A TCP or a Unix socket, as each of the kinds that it is to the loop. */
union socket {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
};

/* Bytes handed to the socket that it did not take at once. */
struct conn_write {
    uv_write_t request;
    struct conn *conn;
    struct buf bytes;           /* replies, or */
    struct frames_block *block; /* a piece of the box, shared */
    size_t size;
};

struct conn {
    struct server *server;
    uint64_t id;
    union socket socket;
    struct link all;
    struct link dirty;    /* has output, or a watch with more to say: in `dirty` or in `late` */
    struct link resume;   /* may run commands again, or waits until it may */
    struct link watching; /* in `watchers`, or in `lingering` */
    struct link unread;   /* while it is not read from */

    struct resp_parser parser;
    struct buf in;
    size_t in_start;
    struct buf out;
    struct conn_write *writing;

    uint8_t proto;
    uint8_t pause; /* enum pause */
    bool reading : 1;
    bool authenticated : 1;
    bool eof : 1;
    bool closing : 1;   /* to be ended once everything is written */
    bool lingering : 1; /* everything is written; what comes is discarded */
    bool closed : 1;    /* uv_close was called */
    bool unhandled : 1; /* the handle is closed */
    bool turn : 1;      /* which of its two watches is to send next */
    bool ended : 1;     /* txns_end was called for what it has under way */
    bool failed : 1;    /* a reply could not be written whole for want of memory */
    uint32_t unanswered;
    struct pending *oldest; /* of those that are not back */
    struct pending *newest;
    size_t held;     /* bytes of the replies behind them */
    size_t may_wait; /* bytes of those that may wait for a transaction */

    struct box_watch *box_watch;
    struct object_watch *object_watch;
    struct link txns;    /* the transactions that it began */
    struct link listens; /* the executors of shards that it listens as */
    struct read_wait *read_wait;
    struct listing *listing;
    struct binding *binding; /* of the last join */
    bool bound;              /* that life goes on, as far as is known */
    uint64_t beat_ms;        /* when presence last heard of it */
    size_t behind;           /* bytes that had come in and were not read, at the last tick */
    uint64_t linger_end_ms;
    size_t discarded; /* bytes, while lingering */

    char *name;
    char *library;         /* CLIENT SETINFO, "name" */
    char *library_version; /* likewise */
    uint64_t created_ms;
    uint64_t active_ms;
    uint64_t commands;
    const struct command *last;
};

/* Whether it gets what it did not ask for just now: pushes, which in RESP2 look like replies. */
static inline bool conn_watches(const struct conn *conn)
{
    return conn->box_watch != NULL || conn->object_watch != NULL || !list_empty(&conn->listens);
}

/* Takes the next client of a listening stream; *out is NULL where it is gone. LS_ENOMEM: it waits
 * still. */
int conn_accept(struct server *server, uv_stream_t *listener, struct conn **out);

/* Takes a connected Unix socket: NULL where there is no memory; the descriptor is then still the
 * caller's. */
struct conn *conn_adopt(struct server *server, int fd);

/* Where replies go. Marks the connection for the end of the turn. */
struct buf *conn_out(struct conn *conn);

/* Output that waits, in bytes. */
size_t conn_waiting(const struct conn *conn);

/* Bytes of memory that it holds: its own, its requests and replies on their way, and what its
 * watches and reads have gathered. A block of the box counts in full, whoever shares it. */
size_t conn_memory(const struct conn *conn);

/* Hands what it can to the socket, and lets watches read on. Never runs a command. */
void conn_flush(struct conn *conn);

/* Runs what waits in `in`, as far as it can. */
void conn_resume(struct conn *conn);

/* Takes a pause away; the connection goes on at the end of the turn. */
void conn_unpause(struct conn *conn, enum pause pause);

/* Whether it is not read from now, and its client has sent its last byte or is gone: what is not
 * read yet hides that from the loop. */
bool conn_is_left(const struct conn *conn);

/* A write of this connection is on its way. */
void conn_asked(struct conn *conn, struct pending *pending);

/* One of them is back: answers it, and frees it. The reply is held back until those before it have
 * theirs. */
void conn_answered(struct conn *conn, struct pending *pending);

void conn_close(struct conn *conn);
/* Closes it once the client has every reply, and has ended its side or sent on for long enough. */
void conn_close_after_output(struct conn *conn);

/* Once a second: closes those that have lingered long enough, and those that broke off while they
 * were not read from. */
void conns_tick(struct server *server);

/* Hands buffers of one block to the socket; what it does not take follows by itself. Takes over one
 * reference of the block (NULL: none). Afterwards `writing` says whether something is left. */
void conn_send(struct conn *conn, const uv_buf_t *bufs, unsigned count, struct frames_block *block);
/* The same for bytes of its own: takes over the memory and leaves *bytes empty. */
void conn_send_bytes(struct conn *conn, struct buf *bytes);

/* "ADDR:PORT" of the client, or of this side. */
void conn_address(const struct conn *conn, bool local, char *out, size_t size);

#endif
