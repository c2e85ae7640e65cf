/* SPDX-License-Identifier: Apache-2.0 */
/* The report's part of a run, gathered while it goes on. */
#include "model/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int history_open(struct history *history, uint32_t nodes)
{
    uint32_t shown = nodes < HISTORY_NODES_MAX ? nodes : HISTORY_NODES_MAX;
    size_t samples = report_samples_max(shown);

    *history = (struct history){.shown = shown};
    history->nodes = calloc(shown, sizeof *history->nodes);
    history->report_nodes = calloc(shown, sizeof *history->report_nodes);
    history->samples = malloc(samples * shown * sizeof *history->samples);
    history->events = malloc(REPORT_EVENTS_MAX * sizeof *history->events);
    if (history->nodes == NULL || history->report_nodes == NULL || history->samples == NULL ||
        history->events == NULL) {
        history_close(history);
        return LS_ENOMEM;
    }
    for (uint32_t i = 0; i < shown; i++) {
        struct history_node *node = &history->nodes[i];
        node->series =
            (struct report_series){.samples = history->samples + i * samples, .capacity = samples};
        snprintf(node->name, sizeof node->name, "node %u", i + 1);
    }
    return 0;
}

void history_close(struct history *history)
{
    free(history->nodes);
    free(history->report_nodes);
    free(history->samples);
    free(history->events);
    *history = (struct history){0};
}

static enum report_kind kind_of(enum scale_kind kind)
{
    static const enum report_kind kinds[] = {
        [SCALE_INTERNAL] = REPORT_INTERNAL,       [SCALE_SEND_ONE] = REPORT_SEND_ONE,
        [SCALE_SEND_SECOND] = REPORT_SEND_SECOND, [SCALE_BROADCAST] = REPORT_BROADCAST,
        [SCALE_RECEIVE] = REPORT_RECEIVE,
    };
    return kinds[kind];
}

/* A message has the number of the event that sent it, counted from 1; history_fill() finds it for
 * each receipt. */
static void add_event(struct history *history, const struct scale_event *event)
{
    bool sends = event->kind != SCALE_INTERNAL && event->kind != SCALE_RECEIVE;
    size_t place = history->events_count++;
    history->events[place] =
        (struct report_event){.kind = kind_of(event->kind),
                              .node = event->node,
                              .seq = event->seq,
                              .time_ns = event->time_ns,
                              .clock = event->clock,
                              .message = sends ? place + 1 : 0,
                              .peer = event->peer < history->shown ? event->peer : REPORT_NO_NODE,
                              .peer_clock = event->peer_clock};
}

void history_add(struct history *history, const struct scale_event *event)
{
    if (event->node >= history->shown) {
        return;
    }
    struct history_node *node = &history->nodes[event->node];
    size_t jump_class = event->jump < 32 ? (size_t)event->jump : report_jump_class(event->jump);

    node->jumps[jump_class]++;
    report_series_add(&node->series, event->time_ns, event->clock, event->queue_length);
    history->events_total++;
    if (history->events_count < REPORT_EVENTS_MAX) {
        add_event(history, event);
    }
}

void history_conclude(struct history *history, uint32_t number, const struct tally *tally,
                      const char *rate, int64_t drift)
{
    struct history_node *node = &history->nodes[number];
    snprintf(node->rate, sizeof node->rate, "%s", rate);
    decimal_mean(tally->jump_sum, tally->ticks, node->mean_jump);
    decimal_mean(tally->queue_sum, tally->ticks, node->mean_queue);
    history->report_nodes[number] =
        (struct report_node){.name = bytes_of_text(node->name),
                             .rate = bytes_of_text(node->rate),
                             .ticks = tally->ticks,
                             .internal = tally_internal(tally),
                             .sent = tally->sent,
                             .received = tally->received,
                             .final_clock = tally->clock,
                             .max_jump = tally->max_jump,
                             .mean_jump = bytes_of_text(node->mean_jump),
                             .max_queue = tally->max_queue,
                             .mean_queue = bytes_of_text(node->mean_queue),
                             .drift = drift,
                             .samples = node->series.samples,
                             .samples_count = node->series.count,
                             .jumps = node->jumps};
}

/* The sending, among the places of a sender's, which are in the order of its clock. */
static uint64_t message_sent(const struct history *history, const uint32_t *places, uint32_t count,
                             uint64_t clock)
{
    uint32_t low = 0;
    uint32_t high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        bool below = history->events[places[middle]].clock < clock;
        low = below ? middle + 1 : low;
        high = below ? high : middle;
    }
    const struct report_event *event = low < count ? &history->events[places[low]] : NULL;
    return event != NULL && event->clock == clock ? event->message : 0;
}

static int link_messages(struct history *history)
{
    uint32_t first[HISTORY_NODES_MAX + 1] = {0}; /* of each node's sendings, in `places` */
    uint32_t count[HISTORY_NODES_MAX] = {0};
    uint32_t *places = malloc((history->events_count + 1) * sizeof *places);
    if (places == NULL) {
        return LS_ENOMEM;
    }
    for (size_t i = 0; i < history->events_count; i++) {
        first[history->events[i].node + 1] += history->events[i].message != 0;
    }
    for (uint32_t i = 0; i < history->shown; i++) {
        first[i + 1] += first[i];
    }
    for (size_t i = 0; i < history->events_count; i++) {
        struct report_event *event = &history->events[i];
        if (event->message != 0) {
            places[first[event->node] + count[event->node]++] = (uint32_t)i;
        } else if (event->kind == REPORT_RECEIVE && event->peer != REPORT_NO_NODE) {
            event->message = message_sent(history, places + first[event->peer], count[event->peer],
                                          event->peer_clock);
        }
    }
    free(places);
    return 0;
}

int history_fill(struct history *history, struct report *report)
{
    report->nodes = history->report_nodes;
    report->nodes_count = history->shown;
    report->events = history->events;
    report->events_count = history->events_count;
    report->events_total = history->events_total;
    return link_messages(history);
}
