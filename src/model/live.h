/*
 * The scale model at real rates: a process for each node, which ticks by the monotonic clock and
 * sends through the relay of a real server, as any program does.
 *
 * Tick n of a node with r ticks a second is due n / r seconds after the start that all share, up to
 * the same deadline; a tick that comes late is made up for. What a tick does is as in
 * model/scale.h; the clock and the sender travel in the payload and in the message. Nothing here
 * writes a file: the ticks are handed back in the order of their times, in which no receipt
 * precedes its send.
 */
#ifndef LS_MODEL_LIVE_H
#define LS_MODEL_LIVE_H

#include <stdbool.h>
#include <sys/types.h>

#include "model/scale.h"

#define LIVE_NODES_MAX 64
#define LIVE_RATE_MAX  1000    /* ticks a second of a node */
#define LIVE_TICKS_MAX 1000000 /* of all nodes together */

struct live_options {
    const struct scale *scale; /* opened, not stepped: nodes, rates, peers, duration */
    uint64_t seed;
    const char *url;             /* of a server that runs; NULL: one is started for the run */
    const char *place;           /* that URL without its secrets, to be shown */
    const ls_options *connect;   /* how it is opened; NULL: with no more than the URL says */
    const volatile int *stopped; /* set by SIGINT and SIGTERM, in every process */
};

struct live {
    struct scale_event *events;
    size_t count;
    size_t room;
    uint64_t messages; /* each receiver counted */
    uint64_t lost;     /* that the relay handed to nobody */
    uint64_t waiting;  /* in queues, at the end */
    uint64_t reached_ns;
    bool interrupted;
};

/* 0, also where it was interrupted. LS_EINVAL (more than live nodes may be), LS_ENOTFOUND (there is
 * no lockstepd), LS_ECONN, LS_EINUSE, LS_ENOMEM, LS_EINTERNAL (a process died), each with a
 * sentence. No process is left in any case. */
int live_run(struct live *live, const struct live_options *options, struct ls_error *error);
void live_free(struct live *live);

/* ---- the parts of it ---- */

enum live_kind { LIVE_READY, LIVE_TICK, LIVE_END, LIVE_FAILED };

/* What a node tells, in one write: short enough for a pipe to keep it whole. */
struct live_record {
    enum live_kind kind;
    uint32_t node;
    bool early; /* of an end: before the deadline */
    uint32_t waiting;
    uint64_t messages;
    uint64_t lost;
    struct scale_event event;
    struct ls_error error;
};

/* live_node.c: a node's whole life, in its own process. It reads the start, in nanoseconds of the
 * monotonic clock, from `go`, and leaves when that is closed. Gives the exit status. */
int live_node_run(const struct live_options *options, uint32_t number, int go, int told);

/* live_server.c: a server for this run alone, without a disk. */
struct live_server {
    pid_t pid;
    char directory[64];
    char url[64];
};

int live_server_start(struct live_server *server, struct ls_error *error);
/* Nothing where it was not started. */
void live_server_stop(struct live_server *server);

uint64_t live_now_ns(void);

#endif
