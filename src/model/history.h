/*
 * What the report shows of a run: samples and jumps of some nodes, and the first events of theirs.
 * The nodes shown are the first HISTORY_NODES_MAX.
 */
#ifndef LS_MODEL_HISTORY_H
#define LS_MODEL_HISTORY_H

#include "model/decimal.h"
#include "model/report.h"
#include "model/report_series.h"
#include "model/tally.h"

#define HISTORY_NODES_MAX 100

struct history_node {
    struct report_series series;
    uint64_t jumps[REPORT_JUMPS];
    char name[24];
    char rate[DECIMAL_TEXT_SIZE];
    char mean_jump[DECIMAL_TEXT_SIZE];
    char mean_queue[DECIMAL_TEXT_SIZE];
};

struct history {
    uint32_t shown;
    struct history_node *nodes;
    struct report_node *report_nodes;
    struct report_sample *samples;
    struct report_event *events;
    size_t events_count;
    uint64_t events_total; /* of the nodes shown */
};

/* 0 or LS_ENOMEM. */
int history_open(struct history *history, uint32_t nodes);
void history_close(struct history *history);
void history_add(struct history *history, const struct scale_event *event);

/* The numbers and the rate of one of the nodes shown, when the run is over. */
void history_conclude(struct history *history, uint32_t node, const struct tally *tally,
                      const char *rate, int64_t drift);

/* Puts nodes and events into the report, which then refers to the history. 0 or LS_ENOMEM. */
int history_fill(struct history *history, struct report *report);

#endif
