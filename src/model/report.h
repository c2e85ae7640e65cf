/*
 * The report: one HTML file that draws a history of nodes and their clocks. It needs no network and
 * no other file.
 *
 * Here is what a report is made of, whoever made the history: the scale model, or the messages of
 * a box. The filler owns all of it; report_write only reads. Everything is bounded: a filler with
 * more chooses what is shown, and says in a note what it left out.
 *
 * It computes nothing that the filler counted: the summary shows the filler's own numbers, and what
 * is a fraction comes as decimal text, so that the report and summary.json cannot differ.
 */
#ifndef LS_MODEL_REPORT_H
#define LS_MODEL_REPORT_H

#include <stdio.h>

#include "base/buf.h"
#include "lockstep.h"

#define REPORT_NODES_MAX      1000
#define REPORT_EVENTS_MAX     20000
#define REPORT_SAMPLES_MAX    1024   /* of one node */
#define REPORT_SAMPLES_TOTAL  200000 /* of all nodes together */
#define REPORT_NOTES_MAX      16
#define REPORT_PARAMETERS_MAX 24

/* Where a node is named by its place in `nodes`: none, or one that is not shown. */
#define REPORT_NO_NODE UINT32_MAX

/* Samples that each of `nodes` nodes may have at most. */
size_t report_samples_max(size_t nodes);

/* The state of a node from time_ns on. Between two samples both values stay as they were. */
struct report_sample {
    uint64_t time_ns; /* from the start of the history */
    uint64_t clock;
    uint64_t queue; /* the longest since the last sample */
};

/* Jumps are counted by size: one by one below 32, then in four classes for each power of two. */
#define REPORT_JUMPS 268
size_t report_jump_class(uint64_t jump);
/* The smallest jump of a class. */
uint64_t report_jump_floor(size_t jump_class);

struct report_node {
    ls_bytes name; /* any bytes; what is not UTF-8 is shown as U+FFFD */
    ls_bytes rate; /* ticks per second, decimal text; empty: not known */
    uint64_t ticks;
    uint64_t internal;
    uint64_t sent;
    uint64_t received;
    uint64_t final_clock;
    uint64_t max_jump;
    ls_bytes mean_jump; /* decimal text, as in summary.json */
    uint64_t max_queue;
    ls_bytes mean_queue; /* decimal text, as in summary.json */
    int64_t drift;       /* the fastest node's final clock less its own */
    const struct report_sample *samples;
    size_t samples_count;
    const uint64_t *jumps; /* REPORT_JUMPS counts; NULL: none were counted */
};

enum report_kind {
    REPORT_INTERNAL,
    REPORT_SEND_ONE,
    REPORT_SEND_SECOND,
    REPORT_BROADCAST,
    REPORT_RECEIVE,
    REPORT_MESSAGE,  /* of a box: committed there */
    REPORT_ADDRESSED /* of a box: for this node; when it was read is not known */
};

struct report_event {
    enum report_kind kind;
    uint32_t node;
    uint64_t seq; /* of the node, from 1 */
    uint64_t time_ns;
    uint64_t clock;
    uint64_t message; /* a send and what received it have the same; 0: neither */
    uint32_t peer;    /* of a receipt: the sender; of a send to one: the receiver */
    uint64_t peer_clock;
    const char *label; /* a word or two that say more than the kind; may be NULL */
};

struct report_pair {
    ls_bytes name;
    ls_bytes value;
};

enum report_source { REPORT_OF_MODEL, REPORT_OF_BOX };

struct report {
    enum report_source source;
    ls_bytes title;
    ls_bytes interrupted; /* why the history is not whole, as a sentence; empty: it is */
    struct report_pair parameters[REPORT_PARAMETERS_MAX];
    size_t parameters_count;
    ls_bytes notes[REPORT_NOTES_MAX]; /* sentences: what was left out or sampled, and how */
    size_t notes_count;
    uint64_t start_ns;    /* since the Unix epoch; 0: virtual time */
    uint64_t duration_ns; /* of the history */
    ls_bytes ideal_rate;  /* clock per second to compare with, decimal text; empty: the steady pace
                           * from the first sample to the last */
    uint32_t fastest;     /* drift over time is measured from this node; REPORT_NO_NODE: from
                           * whichever is ahead */
    const struct report_node *nodes;
    size_t nodes_count;
    uint64_t nodes_total; /* how many there were; more than nodes_count where only some are shown */
    /* In an order in which causes stand before effects: of time, and of happening at one time. Best
     * all events of the nodes shown over some span of time, as a cause that is left out is missing
     * from what follows it. */
    const struct report_event *events;
    size_t events_count;
    uint64_t events_total; /* how many there were */
};

/* Writes the whole page and flushes it. 0, LS_ENOMEM, LS_ENOSPACE or LS_EIO; what was written by
 * then is no valid page. */
int report_write(const struct report *report, FILE *out, struct ls_error *error);

#endif
