/*
 * The parts of a running lockstepd and the turn of its loop: what arrived is read and its commands
 * run; their writes are submitted together; what the sequencer finished is answered; watches read
 * on; everything leaves in one write a socket. Everything here belongs to the loop's thread.
 */
#ifndef LS_SERVER_SERVER_H
#define LS_SERVER_SERVER_H

#include <uv.h>

#include "sequencer/sequencer.h"
#include "server/config.h"
#include "server/conn.h"
#include "server/frames.h"
#include "server/nodes.h"
#include "server/queue.h"
#include "server/reads.h"
#include "server/shards.h"
#include "server/txns.h"
#include "server/waker.h"

/* Counters for INFO; none is ever set back. */
struct server_stats {
    uint64_t started_ms;
    uint64_t connections;
    uint64_t connections_refused;
    uint64_t commands;
    uint64_t errors;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t output_closed; /* connections closed for output-max */
    uint64_t delivered;     /* messages pushed to box watches */
    uint64_t relayed;
    uint64_t expired; /* nodes */
    uint64_t discarded;
};

struct server {
    uv_loop_t loop;
    struct config config;
    struct store *store;
    struct sequencer *sequencer;
    struct queue queue;
    struct reads reads;
    struct waker waker;
    struct nodes nodes;
    struct shards shards;
    struct txns txns;
    struct frames frames[FRAMES_VARIANTS];
    struct server_stats stats;

    uv_async_t done;
    uv_async_t woken;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle; /* active while a turn leaves something for the next */
    uv_timer_t tick;
    uv_timer_t quit_timer;
    uv_timer_t rest; /* ends the rest after a long round of the watches */
    uv_signal_t sigterm;
    uv_signal_t sigint;
    struct link listeners;

    struct link conns;
    size_t conn_count;
    uint64_t conn_max; /* connections-max, or what the limit of open files allows */
    size_t held;       /* bytes of replies behind those that wait, of all connections */
    uint64_t conn_last_id;
    struct link dirty;
    struct link late; /* by their link `dirty`: watches for which the turn had no time left */
    struct link resume;
    struct link unread;    /* not read from */
    struct link choked;    /* by their link `resume`: paused until the queue has shrunk */
    struct link holding;   /* likewise: until they, or all together, hold less */
    struct link watchers;  /* by their link `watching` */
    struct link lingering; /* likewise */
    struct link read_waits;
    struct link listings;       /* those under way, in the order of their turns */
    struct link snapshot_waits; /* object watches whose snapshot cannot begin yet */
    size_t box_watch_count;
    size_t object_watch_count;
    size_t snapshot_count;

    char *input; /* shared by all reads */
    struct buf spare_out[16];
    size_t spare_out_count;
    struct buf scratch; /* empty between uses */

    uint64_t looked_ns;       /* what the reads that this turn began took of it */
    uint64_t watched_ns;      /* what the watches took of it */
    uint64_t round_ns;        /* and since all of them had had their time */
    bool reads_more;          /* some MSG.READ under way has not looked at all of the box */
    bool listings_more;       /* some NODE.LIST or OBJ.SCAN is under way */
    bool box_changed;         /* a commit happened since the last turn */
    bool watches_due;         /* a commit happened since the watches last looked */
    uint64_t watches_rest_ns; /* until when they do not look, on uv_hrtime's clock */
    bool ready;               /* the epoch is known and clients are let in */
    bool asking;              /* for the epoch */
    bool stopping;
    bool retaining; /* a REQUEST_RETAIN is under way */
    bool held_full; /* some are paused since all together hold too much */
    uint64_t ticked_ms;
    struct ls_error failure; /* why it stops before it was ready; no code where it does not */
};

#define INPUT_SIZE ((size_t)256 * 1024)

/* What a turn gives to new reads, to those under way and to watches, each: beyond that they wait
 * for the next one, so that many that look through a long box hold up nobody. */
#define TURN_LOOK_NS UINT64_C(5000000)

/* Starts everything but the loop; takes the settings over, whatever it returns. The sentence says
 * why it could not start. */
int server_open(struct server **out, struct config *config, struct ls_error *error);

/* Runs the loop until server_stop has let everything end, and frees the server. LS_EIO where it
 * could not let clients in. */
int server_run(struct server *server, struct ls_error *error);

/* Stops in an orderly way: no new clients or commands, what was submitted is answered. */
void server_stop(struct server *server, const char *why);

/* Makes a changed setting take hold. */
int server_apply_config(struct server *server, const struct config *old, struct ls_error *error);

/* Whether more than so many bytes wait for the store. Those that wait for transactions do not
 * count: to hold up who could end these would help nobody. */
bool server_queues_more(const struct server *server, uint64_t bytes);

/* The scratch buffer, empty; it is anybody's until the next call of anything that uses it. */
struct buf *server_scratch(struct server *server);

/* Milliseconds on the loop's clock. */
static inline uint64_t server_now_ms(const struct server *server)
{
    return uv_now(&server->loop);
}

#endif
