/*
 * The scale model: nodes whose clocks tick at different rates, over the Lamport clock and the
 * routing rules that the coordinator itself uses, in virtual time.
 *
 * Tick n of a node with r ticks a second is at floor(n * 10^9 / r) nanoseconds, exactly. At a tick
 * a node takes one message from its queue, where there is one, and witnesses it; else its clock
 * ticks and it does something internal or sends: to the first of its peers, to the second, or to
 * all. Its peers are all other nodes, or the `peers` that follow it in a ring. A message carries
 * the clock it was sent at. What happens at one instant is decided before what was sent at that
 * instant arrives anywhere.
 *
 * One seed determines a run. Nothing here writes a file; each tick is handed to the caller.
 */
#ifndef LS_MODEL_SCALE_H
#define LS_MODEL_SCALE_H

#include "model/decimal.h"
#include "model/kernel.h"
#include "model/mail.h"
#include "model/tally.h"
#include "relay/route.h"

#define SCALE_NODES_MAX     1000000
#define SCALE_STAR_MAX      10000 /* nodes that may all be each other's peers */
#define SCALE_NS_PER_SECOND UINT64_C(1000000000)
#define SCALE_DURATION_MAX  (SCALE_NS_PER_SECOND * SCALE_NS_PER_SECOND)

/* "internal", "send-one", ... */
const char *scale_kind_word(enum scale_kind kind);

struct scale_options {
    uint32_t nodes; /* 1 to SCALE_NODES_MAX */
    uint32_t peers; /* that follow a node in the ring, below `nodes`; 0: all others */
    uint64_t seed;
    uint64_t duration_ns; /* ticks up to and at its end take place; at most SCALE_DURATION_MAX */
    /* Ticks per second: one for each node, or where NULL drawn for each from `rate_least` to
     * `rate_most`, in steps of the last decimal place that either has. More than 0, at most
     * 10^9. */
    const struct decimal *rates;
    struct decimal rate_least;
    struct decimal rate_most;
    uint64_t internal;   /* chance */
    uint64_t loss;       /* chance */
    uint64_t latency_ns; /* each at most SCALE_DURATION_MAX */
    uint64_t jitter_ns;
    uint64_t start_clock; /* that every node begins with */
};

struct scale_node {
    struct tally tally;
    uint64_t rate; /* in units of 10^-rate_places */
    uint64_t period_ns;
    uint64_t period_rest; /* what the period is longer, in parts of `rate` of a nanosecond */
    uint64_t rest;        /* what the last tick was later than its nanosecond, in the same */
    struct mail_queue queue;
};

/* The members may be read. */
struct scale {
    struct kernel kernel;
    struct mail mail;
    struct scale_node *nodes;
    uint32_t node_count;
    uint32_t peers;
    unsigned rate_places;
    uint64_t duration_ns;
    uint64_t internal;
    uint64_t start_clock;
    uint64_t ticks;
    uint64_t messages; /* handed to the network */
    uint64_t received;
};

/* 0, LS_ENOMEM, or LS_EINVAL with a sentence about the option. */
int scale_open(struct scale *scale, const struct scale_options *options, struct ls_error *error);
void scale_close(struct scale *scale);

/* Runs up to and with the next tick of any node: 1, or 0 at the end of the run. LS_ENOMEM,
 * LS_ENOSPACE (more messages wait or are under way than MAIL_MAX), LS_ECLOCKJUMP (a clock is at its
 * end, or would have to jump further than clocks may): the run is over, at the last tick given. */
int scale_step(struct scale *scale, struct scale_event *event, struct ls_error *error);

/* The places, among the peers of a node, that a send goes to; and the node at a place, the peers
 * being in the order of their numbers. */
struct relay_targets scale_route(const struct scale *scale, uint32_t own, enum scale_kind kind);
uint32_t scale_peer(const struct scale *scale, uint32_t own, uint32_t place);

/* Messages that are still on their way, and those that arrived and still wait. */
uint64_t scale_in_flight(const struct scale *scale);

#endif
