/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the report of a small, made-up history for the test that looks at it in a browser:
 *
 *     report_pages CASE PAGE SUMMARY
 *
 * SUMMARY gets its numbers, a line of JSON for each node with the names of summary.json. The cases:
 * plain, names, one, many, empty, interrupted, high. Nothing here is random: the same case is the
 * same page.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "model/report_series.h"

#define SECONDS  30
#define SECOND   UINT64_C(1000000000)
#define QUEUE    64
#define TEXT_MAX 24

/* What is asked for. */
struct history {
    size_t nodes;
    uint64_t clock; /* of all nodes at the start */
    const char *const *names;
};

/* A node of the history: it ticks at its rate, and each third tick sends to the next node. */
struct maker {
    struct report_series series;
    uint64_t rate;
    uint64_t clock;
    uint64_t seq;
    uint64_t jump_sum;
    uint64_t queue_sum;
    uint64_t jumps[REPORT_JUMPS];
    struct {
        uint64_t message;
        uint64_t clock;
        uint32_t from;
    } queue[QUEUE];
    size_t queued;
    char name[TEXT_MAX];
    char rate_text[TEXT_MAX];
    char mean_jump[TEXT_MAX];
    char mean_queue[TEXT_MAX];
};

struct made {
    struct history of;
    struct maker *makers;
    struct report_node *nodes;
    struct report_event *events;
    size_t events_count;
    uint64_t events_total;
    uint64_t messages;
};

static struct report_event event_of(struct made *made, uint32_t node, uint64_t time_ns)
{
    struct maker *maker = &made->makers[node];
    return (struct report_event){
        .node = node,
        .seq = ++maker->seq,
        .time_ns = time_ns,
        .clock = maker->clock,
        .peer = REPORT_NO_NODE,
    };
}

static void keep_event(struct made *made, const struct report_event *event)
{
    made->events_total++;
    if (made->events_count < REPORT_EVENTS_MAX) {
        made->events[made->events_count++] = *event;
    }
}

static void receive(struct made *made, uint32_t node, uint64_t time_ns)
{
    struct maker *maker = &made->makers[node];
    uint64_t sent = maker->queue[0].clock;
    maker->clock = (sent > maker->clock ? sent : maker->clock) + 1;
    made->nodes[node].received++;

    struct report_event event = event_of(made, node, time_ns);
    event.kind = REPORT_RECEIVE;
    event.message = maker->queue[0].message;
    event.peer = maker->queue[0].from;
    event.peer_clock = sent;
    keep_event(made, &event);
    maker->queued--;
    memmove(&maker->queue[0], &maker->queue[1], maker->queued * sizeof(maker->queue[0]));
}

static void send(struct made *made, uint32_t node, uint64_t time_ns)
{
    uint32_t to = (uint32_t)((node + 1) % made->of.nodes);
    struct maker *maker = &made->makers[node];
    struct maker *target = &made->makers[to];
    struct report_event event = event_of(made, node, time_ns);
    event.kind = maker->seq % 2 == 0 ? REPORT_SEND_ONE : REPORT_BROADCAST;
    event.message = ++made->messages;
    event.peer = event.kind == REPORT_SEND_ONE ? to : REPORT_NO_NODE;
    keep_event(made, &event);
    made->nodes[node].sent++;
    if (target->queued < QUEUE) {
        target->queue[target->queued].message = made->messages;
        target->queue[target->queued].clock = maker->clock;
        target->queue[target->queued++].from = node;
    }
}

static void tick(struct made *made, uint32_t node, uint64_t time_ns)
{
    struct maker *maker = &made->makers[node];
    struct report_node *out = &made->nodes[node];
    uint64_t before = maker->clock;
    out->ticks++;
    out->max_queue = maker->queued > out->max_queue ? maker->queued : out->max_queue;
    maker->queue_sum += maker->queued;
    if (maker->queued > 0) {
        receive(made, node, time_ns);
    } else {
        maker->clock++;
        if (made->of.nodes > 1 && out->ticks % 3 == 0) {
            send(made, node, time_ns);
        } else {
            struct report_event event = event_of(made, node, time_ns);
            keep_event(made, &event);
            out->internal++;
        }
    }
    uint64_t jump = maker->clock - before;
    out->max_jump = jump > out->max_jump ? jump : out->max_jump;
    maker->jump_sum += jump;
    maker->jumps[report_jump_class(jump)]++;
    report_series_add(&maker->series, time_ns, maker->clock, maker->queued);
}

/* All ticks in the order of time; at the same time in that of the nodes. */
static void run(struct made *made)
{
    for (uint64_t step = 0; step < SECONDS * 60; step++) {
        for (uint32_t i = 0; i < made->of.nodes; i++) {
            if (step % (60 / made->makers[i].rate) == 0) {
                tick(made, i, step * SECOND / 60);
            }
        }
    }
}

static void mean_text(char out[TEXT_MAX], uint64_t sum, uint64_t count)
{
    uint64_t thousandths = count > 0 ? sum * 1000 / count : 0;
    snprintf(out, TEXT_MAX, "%" PRIu64 ".%03" PRIu64, thousandths / 1000, thousandths % 1000);
}

static void begin_node(struct made *made, size_t i)
{
    static const uint64_t rates[] = {6, 5, 1, 3, 2, 4};
    struct maker *maker = &made->makers[i];
    maker->rate = rates[i % (sizeof(rates) / sizeof(rates[0]))];
    maker->clock = made->of.clock;
    maker->series.capacity = report_samples_max(made->of.nodes);
    maker->series.samples = calloc(maker->series.capacity, sizeof(*maker->series.samples));
    assert(maker->series.samples != NULL);
    snprintf(maker->name, sizeof(maker->name), "n%zu", i + 1);
    snprintf(maker->rate_text, sizeof(maker->rate_text), "%" PRIu64, maker->rate);
}

static void end_node(struct made *made, size_t i)
{
    struct maker *maker = &made->makers[i];
    struct report_node *node = &made->nodes[i];
    mean_text(maker->mean_jump, maker->jump_sum, node->ticks);
    mean_text(maker->mean_queue, maker->queue_sum, node->ticks);
    node->name = bytes_of_text(made->of.names != NULL ? made->of.names[i] : maker->name);
    node->rate = bytes_of_text(maker->rate_text);
    node->mean_jump = bytes_of_text(maker->mean_jump);
    node->mean_queue = bytes_of_text(maker->mean_queue);
    node->final_clock = maker->clock;
    node->drift = (int64_t)(made->makers[0].clock - maker->clock);
    node->samples = maker->series.samples;
    node->samples_count = maker->series.count;
    node->jumps = maker->jumps;
}

static void write_summary(const struct made *made, FILE *out)
{
    for (size_t i = 0; i < made->of.nodes; i++) {
        const struct report_node *node = &made->nodes[i];
        fprintf(out,
                "{\"rate\": %s, \"ticks\": %" PRIu64 ", \"internal\": %" PRIu64
                ", \"sent\": %" PRIu64 ", \"received\": %" PRIu64 ", \"final_clock\": %" PRIu64
                ", \"max_jump\": %" PRIu64 ", \"mean_jump\": %s, \"max_queue\": %" PRIu64
                ", \"mean_queue\": %s, \"drift\": %" PRId64 "}\n",
                made->makers[i].rate_text, node->ticks, node->internal, node->sent, node->received,
                node->final_clock, node->max_jump, made->makers[i].mean_jump, node->max_queue,
                made->makers[i].mean_queue, node->drift);
    }
}

static int write_page(const struct made *made, struct report *report, const char *page,
                      const char *summary)
{
    struct ls_error error;
    FILE *out = fopen(page, "w");
    FILE *numbers = fopen(summary, "w");
    assert(out != NULL && numbers != NULL);
    report->nodes = made->nodes;
    report->nodes_count = made->of.nodes;
    report->nodes_total = made->of.nodes;
    report->fastest = made->of.nodes > 0 ? 0 : REPORT_NO_NODE;
    report->events = made->events;
    report->events_count = made->events_count;
    report->events_total = made->events_total;
    int rc = report_write(report, out, &error);
    if (rc != 0) {
        fprintf(stderr, "report_pages: %s\n", error.text);
    }
    write_summary(made, numbers);
    fclose(numbers);
    fclose(out);
    return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int make(struct made *made, struct report *report, const char *page, const char *summary)
{
    made->makers = calloc(made->of.nodes + 1, sizeof(*made->makers));
    made->nodes = calloc(made->of.nodes + 1, sizeof(*made->nodes));
    made->events = calloc(REPORT_EVENTS_MAX, sizeof(*made->events));
    assert(made->makers != NULL && made->nodes != NULL && made->events != NULL);
    for (size_t i = 0; i < made->of.nodes; i++) {
        begin_node(made, i);
    }
    run(made);
    for (size_t i = 0; i < made->of.nodes; i++) {
        end_node(made, i);
    }
    int status = write_page(made, report, page, summary);
    for (size_t i = 0; i < made->of.nodes; i++) {
        free(made->makers[i].series.samples);
    }
    free(made->makers);
    free(made->nodes);
    free(made->events);
    return status;
}

int main(int argc, char **argv)
{
    static const char *const names[] = {
        "</script><script>alert(1)</script>", "\"quoted\" & 'single' \\ \n",
        "\xe6\x99\x82\xe8\xa8\x88 \xf0\x9f\x95\x92 \xc3\xa9", "\xff\xfe not UTF-8"};
    if (argc != 4) {
        fprintf(stderr, "usage: report_pages CASE PAGE SUMMARY\n");
        return 2;
    }
    const char *which = argv[1];
    struct made made = {.of = {.nodes = 3}};
    struct report report = {
        .title = bytes_of_text("Three nodes at 6, 5, 1"),
        .parameters = {{bytes_of_text("seed"), bytes_of_text("1")},
                       {bytes_of_text("rates"), bytes_of_text("6,5,1")},
                       {bytes_of_text("internal"), bytes_of_text("0.7")}},
        .parameters_count = 3,
        .duration_ns = SECONDS * SECOND,
        .ideal_rate = bytes_of_text("6"),
    };
    if (strcmp(which, "names") == 0) {
        made.of = (struct history){.nodes = 4, .names = names};
        report.title = bytes_of_text("</script><!-- <b>title</b>");
        report.notes[report.notes_count++] = bytes_of_text("</script><img src=x> is a note");
    } else if (strcmp(which, "one") == 0) {
        made.of.nodes = 1;
    } else if (strcmp(which, "many") == 0) {
        made.of.nodes = REPORT_NODES_MAX;
    } else if (strcmp(which, "empty") == 0) {
        made.of.nodes = 0;
    } else if (strcmp(which, "interrupted") == 0) {
        report.interrupted = bytes_of_text("stopped by a signal after 30 of 60 seconds.");
    } else if (strcmp(which, "high") == 0) {
        made.of.clock = UINT64_MAX - 1000;
    } else if (strcmp(which, "plain") != 0) {
        fprintf(stderr, "report_pages: there is no case %s\n", which);
        return 2;
    }
    return make(&made, &report, argv[2], argv[3]);
}
