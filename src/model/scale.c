/* SPDX-License-Identifier: Apache-2.0 */
/* What a tick of the scale model does. */
#include "model/scale.h"

#include <stdlib.h>

#include "base/error.h"
#include "codec/clock.h"

enum { EVENT_TICK, EVENT_ARRIVAL };

const char *scale_kind_word(enum scale_kind kind)
{
    static const char *const words[] = {
        [SCALE_INTERNAL] = "internal",       [SCALE_SEND_ONE] = "send-one",
        [SCALE_SEND_SECOND] = "send-second", [SCALE_BROADCAST] = "broadcast",
        [SCALE_RECEIVE] = "receive",
    };
    return words[kind];
}

/* ---- opening ---- */

static int check_options(const struct scale_options *options, struct ls_error *error)
{
    if (options->nodes == 0 || options->nodes > SCALE_NODES_MAX) {
        return error_set(error, LS_EINVAL, SCALE_NODES_MAX, "there are 1 to %u nodes, not %u",
                         SCALE_NODES_MAX, options->nodes);
    }
    if (options->peers >= options->nodes && options->peers > 0) {
        return error_set(error, LS_EINVAL, options->nodes - 1,
                         "a node of %u has at most %u peers, not %u", options->nodes,
                         options->nodes - 1, options->peers);
    }
    if (options->peers == 0 && options->nodes > SCALE_STAR_MAX) {
        return error_set(error, LS_EINVAL, SCALE_STAR_MAX,
                         "more than %u nodes that all send to all are too many: give each a "
                         "number of peers",
                         SCALE_STAR_MAX);
    }
    if (options->duration_ns > SCALE_DURATION_MAX || options->latency_ns > SCALE_DURATION_MAX ||
        options->jitter_ns > SCALE_DURATION_MAX) {
        return error_set(error, LS_EINVAL, 0, "a time is at most %llu seconds",
                         (unsigned long long)(SCALE_DURATION_MAX / SCALE_NS_PER_SECOND));
    }
    return 0;
}

static int check_rate(struct decimal rate, struct ls_error *error)
{
    char text[DECIMAL_TEXT_SIZE];
    if (rate.digits > 0 && rate.digits <= SCALE_NS_PER_SECOND * decimal_power(rate.places)) {
        return 0;
    }
    decimal_text(rate, text);
    return error_set(error, LS_EINVAL, 0,
                     "a rate is more than 0 and at most 1000000000 ticks a second, not %s", text);
}

static uint64_t in_places(struct decimal rate, unsigned places)
{
    uint64_t units = 0;
    bool fits = decimal_in_units(rate, places, &units);
    assert(fits); /* at most 10^9 with at most nine places */
    (void)fits;
    return units;
}

static void set_rate(struct scale *scale, uint32_t node, uint64_t rate)
{
    uint64_t second = SCALE_NS_PER_SECOND * decimal_power(scale->rate_places);
    scale->nodes[node].rate = rate;
    scale->nodes[node].period_ns = second / rate;
    scale->nodes[node].period_rest = second % rate;
}

static int set_rates(struct scale *scale, const struct scale_options *options,
                     struct ls_error *error)
{
    const struct decimal least = options->rate_least;
    const struct decimal most = options->rate_most;
    int rc = 0;

    if (options->rates != NULL) {
        for (uint32_t i = 0; i < options->nodes && rc == 0; i++) {
            unsigned places = options->rates[i].places;
            scale->rate_places = places > scale->rate_places ? places : scale->rate_places;
            rc = check_rate(options->rates[i], error);
        }
        for (uint32_t i = 0; i < options->nodes && rc == 0; i++) {
            set_rate(scale, i, in_places(options->rates[i], scale->rate_places));
        }
        return rc;
    }
    rc = check_rate(least, error);
    rc = rc == 0 ? check_rate(most, error) : rc;
    if (rc != 0) {
        return rc;
    }
    scale->rate_places = least.places > most.places ? least.places : most.places;
    uint64_t first = in_places(least, scale->rate_places);
    uint64_t last = in_places(most, scale->rate_places);
    if (first > last) {
        return error_set(error, LS_EINVAL, 0, "the least rate is above the greatest");
    }
    for (uint32_t i = 0; i < options->nodes; i++) {
        set_rate(scale, i, first + kernel_random_below(&scale->kernel.random, last - first + 1));
    }
    return 0;
}

/* The time moves on by the period, and by the nanosecond that its rests add up to: so it is always
 * the exact time of the tick, rounded down. */
static int schedule_tick(struct scale *scale, uint32_t number)
{
    struct scale_node *node = &scale->nodes[number];
    uint64_t time_ns = scale->kernel.now_ns + node->period_ns;

    node->rest += node->period_rest;
    if (node->rest >= node->rate) {
        node->rest -= node->rate;
        time_ns++;
    }
    return time_ns > scale->duration_ns ? 0
                                        : kernel_at(&scale->kernel, time_ns, number, EVENT_TICK, 0);
}

int scale_open(struct scale *scale, const struct scale_options *options, struct ls_error *error)
{
    *scale = (struct scale){.node_count = options->nodes,
                            .peers = options->peers,
                            .duration_ns = options->duration_ns,
                            .internal = options->internal,
                            .start_clock = options->start_clock};
    int rc = check_options(options, error);
    if (rc != 0) {
        return rc;
    }
    rc = kernel_open(&scale->kernel,
                     &(struct kernel_options){.seed = options->seed,
                                              .nodes = options->nodes,
                                              .events_max = MAIL_MAX,
                                              .network = {.latency_ns = options->latency_ns,
                                                          .jitter_ns = options->jitter_ns,
                                                          .loss = options->loss}},
                     error);
    if (rc != 0) {
        return rc;
    }
    scale->nodes = calloc(options->nodes, sizeof *scale->nodes);
    rc = scale->nodes != NULL ? set_rates(scale, options, error) : error_code(error, LS_ENOMEM);
    for (uint32_t i = 0; i < options->nodes && rc == 0; i++) {
        scale->nodes[i].tally.clock = options->start_clock;
        rc = schedule_tick(scale, i) == 0 ? 0 : error_code(error, LS_ENOMEM);
    }
    if (rc != 0) {
        scale_close(scale);
    }
    return rc;
}

void scale_close(struct scale *scale)
{
    kernel_close(&scale->kernel);
    mail_free(&scale->mail);
    free(scale->nodes);
    scale->nodes = NULL;
}

/* ---- a tick ---- */

uint32_t scale_peer(const struct scale *scale, uint32_t own, uint32_t place)
{
    if (scale->peers == 0) {
        return place;
    }
    uint32_t end = own + scale->peers + 1;
    uint32_t around = end > scale->node_count ? end - scale->node_count : 0;
    return place < around ? place : own + 1 + (place - around);
}

struct relay_targets scale_route(const struct scale *scale, uint32_t own, enum scale_kind kind)
{
    size_t count = scale->peers == 0 ? scale->node_count : scale->peers;
    size_t self = scale->peers == 0 ? own : SIZE_MAX;
    switch (kind) {
    case SCALE_SEND_ONE:
        return relay_route_nth(count, self, 1);
    case SCALE_SEND_SECOND:
        return relay_route_nth(count, self, 2);
    default:
        return relay_route_broadcast(count, self);
    }
}

static int send_messages(struct scale *scale, struct scale_event *event)
{
    struct relay_targets targets = scale_route(scale, event->node, event->kind);
    for (size_t i = targets.first; i < targets.last; i++) {
        if (i == targets.skip) {
            continue;
        }
        uint32_t to = scale_peer(scale, event->node, (uint32_t)i);
        int sent = kernel_send(&scale->kernel, event->node, to, EVENT_ARRIVAL, event->clock);
        if (sent < 0) {
            return sent;
        }
        scale->messages++;
        if (event->kind != SCALE_BROADCAST) {
            event->peer = to;
        }
    }
    return 0;
}

static int cannot_schedule(int rc, struct ls_error *error)
{
    return rc == LS_ENOSPACE
               ? error_set(error, rc, MAIL_MAX, "more than %u messages are on their way", MAIL_MAX)
               : error_code(error, rc);
}

static int act(struct scale *scale, struct scale_event *event, struct ls_error *error)
{
    int rc = clock_tick(&event->clock, 1, error);
    if (rc != 0) {
        return rc;
    }
    event->kind = SCALE_INTERNAL;
    if (kernel_random_chance(&scale->kernel.random, scale->internal)) {
        return 0;
    }
    event->kind = SCALE_SEND_ONE + (enum scale_kind)kernel_random_below(&scale->kernel.random, 3);
    rc = send_messages(scale, event);
    return rc == 0 ? 0 : cannot_schedule(rc, error);
}

static int receive(struct scale *scale, struct scale_node *node, struct scale_event *event,
                   struct ls_error *error)
{
    struct mail_message message = mail_take(&scale->mail, &node->queue);
    event->kind = SCALE_RECEIVE;
    event->peer = message.from;
    event->peer_clock = message.clock;
    scale->received++;
    return clock_witness(&event->clock, message.clock, error);
}

static int tick(struct scale *scale, uint32_t number, struct scale_event *event,
                struct ls_error *error)
{
    struct scale_node *node = &scale->nodes[number];

    event->node = number;
    event->peer = SCALE_NO_NODE;
    event->peer_clock = 0;
    event->time_ns = scale->kernel.now_ns;
    event->clock = node->tally.clock;
    int rc = node->queue.count > 0 ? receive(scale, node, event, error) : act(scale, event, error);
    if (rc != 0) {
        return rc;
    }
    event->seq = node->tally.ticks + 1;
    event->jump = event->clock - node->tally.clock;
    event->queue_length = node->queue.count;
    tally_add(&node->tally, event);
    scale->ticks++;
    rc = schedule_tick(scale, number);
    return rc == 0 ? 1 : cannot_schedule(rc, error);
}

static int arrive(struct scale *scale, const struct kernel_event *event, struct ls_error *error)
{
    struct scale_node *node = &scale->nodes[event->node];
    int rc = mail_put(&scale->mail, &node->queue, event->value, event->from);
    if (rc == LS_ENOSPACE) {
        return error_set(error, rc, MAIL_MAX,
                         "more than %u messages wait in the queues: nodes are sent more than they "
                         "take",
                         MAIL_MAX);
    }
    return rc == 0 ? 0 : error_code(error, rc);
}

/* The states of a million nodes do not fit into a cache: what the events after the next need is
 * fetched while this one is worked on. First the node, then, once that is there, its mail. */
#define FETCH_NODE 12
#define FETCH_MAIL 5

static void fetch_ahead(const struct scale *scale)
{
    const struct kernel_event *event = kernel_queue_ahead(&scale->kernel.queue, FETCH_NODE);
    if (event != NULL) {
        const struct scale_node *node = &scale->nodes[event->node];
        __builtin_prefetch(node, 1);
        __builtin_prefetch(node + 1, 1);
        event = kernel_queue_ahead(&scale->kernel.queue, FETCH_MAIL);
        mail_fetch(&scale->mail, &scale->nodes[event->node].queue);
    }
}

int scale_step(struct scale *scale, struct scale_event *event, struct ls_error *error)
{
    struct kernel_event next;
    while (kernel_next(&scale->kernel, scale->duration_ns, &next)) {
        fetch_ahead(scale);
        if (next.kind == EVENT_TICK) {
            return tick(scale, next.node, event, error);
        }
        int rc = arrive(scale, &next, error);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/* ---- what it came to ---- */

uint64_t scale_in_flight(const struct scale *scale)
{
    return scale->messages - scale->kernel.lost - scale->received - scale->mail.waiting;
}
