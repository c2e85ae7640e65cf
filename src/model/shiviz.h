/*
 * A log that ShiViz reads, with its default expression `(?<host>\S*) (?<clock>{.*})\n(?<event>.*)`:
 * two lines for each tick. The vector clocks in it are kept here, beside the model, whose messages
 * carry Lamport clocks only: a sender and the clock it sent at name the vector it had then.
 */
#ifndef LS_MODEL_SHIVIZ_H
#define LS_MODEL_SHIVIZ_H

#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "model/tally.h"

#define SHIVIZ_NODES_MAX  100
#define SHIVIZ_EVENTS_MAX 100000

/* The vectors a node had when it sent, in the order of its clock. */
struct shiviz_node {
    struct buf clocks;  /* uint64_t */
    struct buf vectors; /* `nodes` uint32_t each */
};

struct shiviz {
    uint32_t nodes;
    uint32_t events;
    uint32_t *vectors; /* the present ones, node by node */
    struct shiviz_node *sent;
    struct buf line;
};

/* At most SHIVIZ_NODES_MAX nodes. 0 or LS_ENOMEM. */
int shiviz_open(struct shiviz *shiviz, uint32_t nodes);

/* Writes the tick; the first SHIVIZ_EVENTS_MAX only. 0 or LS_ENOMEM; whether the file could be
 * written is for the caller to ask of it. */
int shiviz_put(struct shiviz *shiviz, const struct scale_event *event, FILE *out);
void shiviz_close(struct shiviz *shiviz);

#endif
