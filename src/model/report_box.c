/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes found by name as messages come, each with its samples; and the first events, for the
 * diagram. */
#include "model/report_box.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/error.h"
#include "model/report_series.h"

#define LABEL_SIZE 24
#define MEAN_SIZE  32
#define NOTE_SIZE  200

struct box_node {
    char *name;
    size_t name_size;
    uint64_t sent;
    uint64_t addressed;
    uint64_t events;
    uint64_t clock; /* of its newest message; 0: it has none */
    uint64_t jump_max;
    uint64_t jump_sum;
    uint64_t jumps[REPORT_JUMPS];
    struct report_series series;
    char mean_jump[MEAN_SIZE];
};

struct report_box {
    struct box_node *nodes[REPORT_NODES_MAX]; /* in the order in which they turned up */
    uint32_t sorted[REPORT_NODES_MAX];        /* their places, by name */
    uint32_t nodes_count;
    uint64_t messages;
    uint64_t left_out; /* messages and addressees past the most nodes */
    uint64_t earlier;  /* messages that say a time before that of one before them */
    uint64_t first_clock;
    uint64_t last_clock;
    uint64_t start_ns;
    uint64_t now_ns; /* the latest time so far, from the start */
    uint64_t events_total;
    size_t events_count;
    struct report_event *events;
    char (*labels)[LABEL_SIZE]; /* of the events */
    struct report_node *shown;
    char notes[4][NOTE_SIZE];
};

struct report_box *report_box_new(void)
{
    struct report_box *box = calloc(1, sizeof(*box));
    if (box == NULL) {
        return NULL;
    }
    box->events = calloc(REPORT_EVENTS_MAX, sizeof(*box->events));
    box->labels = calloc(REPORT_EVENTS_MAX, sizeof(*box->labels));
    if (box->events == NULL || box->labels == NULL) {
        report_box_free(box);
        return NULL;
    }
    return box;
}

static void free_node(struct box_node *node)
{
    if (node != NULL) {
        free(node->series.samples);
        free(node->name);
        free(node);
    }
}

void report_box_free(struct report_box *box)
{
    if (box == NULL) {
        return;
    }
    for (uint32_t i = 0; i < box->nodes_count; i++) {
        free_node(box->nodes[i]);
    }
    free(box->events);
    free(box->labels);
    free(box->shown);
    free(box);
}

uint64_t report_box_messages(const struct report_box *box)
{
    return box->messages;
}

/* ---- nodes ---- */

/* Where the name is, or would be, among the sorted ones. */
static uint32_t search(const struct report_box *box, ls_bytes name, bool *found)
{
    uint32_t low = 0;
    uint32_t high = box->nodes_count;
    *found = false;
    while (low < high && !*found) {
        uint32_t middle = low + (high - low) / 2;
        const struct box_node *node = box->nodes[box->sorted[middle]];
        int order = bytes_compare(name, bytes_of(node->name, node->name_size));
        *found = order == 0;
        if (order > 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return *found ? high : low;
}

static struct box_node *new_node(ls_bytes name)
{
    struct box_node *node = calloc(1, sizeof(*node));
    if (node == NULL) {
        return NULL;
    }
    node->name = malloc(name.size + 1);
    node->series.capacity = REPORT_SAMPLES_MAX;
    node->series.samples = calloc(REPORT_SAMPLES_MAX, sizeof(*node->series.samples));
    if (node->name == NULL || node->series.samples == NULL) {
        free_node(node);
        return NULL;
    }
    if (name.size > 0) {
        memcpy(node->name, name.data, name.size);
    }
    node->name_size = name.size;
    return node;
}

/* The node of a name, made where it is new; REPORT_NO_NODE where there are too many. */
static int find_node(struct report_box *box, ls_bytes name, uint32_t *out)
{
    bool found;
    uint32_t at = search(box, name, &found);
    if (found) {
        *out = box->sorted[at];
        return 0;
    }
    *out = REPORT_NO_NODE;
    if (box->nodes_count == REPORT_NODES_MAX) {
        box->left_out++;
        return 0;
    }
    struct box_node *node = new_node(name);
    if (node == NULL) {
        return LS_ENOMEM;
    }
    memmove(&box->sorted[at + 1], &box->sorted[at],
            (box->nodes_count - at) * sizeof(box->sorted[0]));
    *out = box->nodes_count++;
    box->sorted[at] = *out;
    box->nodes[*out] = node;
    return 0;
}

/* ---- messages ---- */

static void add_event(struct report_box *box, enum report_kind kind, uint32_t node, uint32_t peer,
                      uint64_t clock, const char *label)
{
    struct box_node *of = box->nodes[node];
    box->events_total++;
    of->events++;
    if (box->events_count == REPORT_EVENTS_MAX) {
        return;
    }
    char *text = box->labels[box->events_count];
    snprintf(text, LABEL_SIZE, "%s", label);
    box->events[box->events_count++] = (struct report_event){
        .kind = kind,
        .node = node,
        .seq = of->events,
        .time_ns = box->now_ns,
        .clock = clock,
        .message = clock,
        .peer = peer,
        .peer_clock = clock,
        .label = text,
    };
}

static void count_message(struct report_box *box, struct box_node *node, uint64_t clock)
{
    if (node->sent > 0) {
        uint64_t jump = clock - node->clock;
        node->jump_max = jump > node->jump_max ? jump : node->jump_max;
        node->jump_sum += jump;
        node->jumps[report_jump_class(jump)]++;
    }
    node->sent++;
    node->clock = clock;
    report_series_add(&node->series, box->now_ns, clock, 0);
}

/* Physical time may go back from one message to the next; the history's does not. */
static void pass_time(struct report_box *box, const ls_message *message)
{
    if (box->messages == 0) {
        box->first_clock = message->clock;
        box->start_ns = message->timestamp_ns;
    }
    assert(message->clock > box->last_clock);
    uint64_t since =
        message->timestamp_ns > box->start_ns ? message->timestamp_ns - box->start_ns : 0;
    box->earlier += message->timestamp_ns < box->start_ns + box->now_ns;
    box->now_ns = since > box->now_ns ? since : box->now_ns;
    box->last_clock = message->clock;
    box->messages++;
}

int report_box_add(struct report_box *box, const ls_message *message, const char *label,
                   struct ls_error *error)
{
    static const char nobody[] = "(not joined)";
    uint32_t to = REPORT_NO_NODE;
    uint32_t from;
    ls_bytes sender = message->from.size > 0 ? message->from : bytes_of_text(nobody);
    int rc = find_node(box, sender, &from);
    if (rc == 0 && message->to.size > 0) {
        rc = find_node(box, message->to, &to);
    }
    if (rc != 0) {
        return error_code(error, rc);
    }
    pass_time(box, message);
    if (from != REPORT_NO_NODE) {
        count_message(box, box->nodes[from], message->clock);
        add_event(box, REPORT_MESSAGE, from, to, message->clock, label);
    }
    if (to != REPORT_NO_NODE) {
        box->nodes[to]->addressed++;
        add_event(box, REPORT_ADDRESSED, to, from, message->clock, "");
    }
    return 0;
}

/* ---- the report ---- */

/* What the bound of all samples together leaves for one node, in the same memory. */
static void thin_samples(struct report_series *series, size_t capacity)
{
    struct report_series thinned = *series;
    thinned.capacity = capacity;
    thinned.count = 0;
    for (size_t i = 0; i < series->count; i++) {
        struct report_sample sample = series->samples[i];
        report_series_add(&thinned, sample.time_ns, sample.clock, sample.queue);
    }
    *series = thinned;
}

/* Messages since the node's last, or since the first of all where it has none. */
static uint64_t behind(const struct report_box *box, const struct box_node *node)
{
    return box->last_clock - (node->sent > 0 ? node->clock : box->first_clock - 1);
}

static void fill_node(struct report_box *box, struct box_node *node, struct report_node *out)
{
    uint64_t jumps = node->sent > 0 ? node->sent - 1 : 0;
    uint64_t drift = behind(box, node);
    thin_samples(&node->series, report_samples_max(box->nodes_count));
    if (jumps > 0) {
        snprintf(node->mean_jump, sizeof(node->mean_jump), "%" PRIu64 ".%03" PRIu64,
                 node->jump_sum / jumps, node->jump_sum % jumps * 1000 / jumps);
    }
    *out = (struct report_node){
        .name = bytes_of(node->name, node->name_size),
        .sent = node->sent,
        .received = node->addressed,
        .final_clock = node->clock,
        .max_jump = node->jump_max,
        .mean_jump = bytes_of_text(node->mean_jump),
        .drift = drift < INT64_MAX ? (int64_t)drift : INT64_MAX,
        .samples = node->series.samples,
        .samples_count = node->series.count,
        .jumps = node->jumps,
    };
}

static void add_note(struct report *report, char note[NOTE_SIZE])
{
    assert(report->notes_count < REPORT_NOTES_MAX);
    report->notes[report->notes_count++] = bytes_of_text(note);
}

static void fill_notes(struct report_box *box, struct report *report)
{
    char *note = box->notes[0];
    snprintf(note, NOTE_SIZE,
             "Times are those at which the coordinator committed. When a message was read a box "
             "does not know; one for a single node is drawn on its line at once.");
    add_note(report, note);
    if (box->events_total > box->events_count) {
        note = box->notes[1];
        snprintf(note, NOTE_SIZE, "The diagram has the first %zu of %" PRIu64 " events.",
                 box->events_count, box->events_total);
        add_note(report, note);
    }
    if (box->left_out > 0) {
        note = box->notes[2];
        snprintf(
            note, NOTE_SIZE,
            "Only the first %d nodes are shown: what is from or for others was left out %" PRIu64
            " times.",
            REPORT_NODES_MAX, box->left_out);
        add_note(report, note);
    }
    if (box->earlier > 0) {
        note = box->notes[3];
        snprintf(note, NOTE_SIZE,
                 "%" PRIu64 " messages have a time before that of one before them in clock order, "
                 "and are drawn at its time.",
                 box->earlier);
        add_note(report, note);
    }
}

int report_box_fill(struct report_box *box, struct report *report, struct ls_error *error)
{
    assert(box->shown == NULL);
    box->shown = calloc((size_t)box->nodes_count + 1, sizeof(*box->shown));
    if (box->shown == NULL) {
        return error_code(error, LS_ENOMEM);
    }
    for (uint32_t i = 0; i < box->nodes_count; i++) {
        fill_node(box, box->nodes[i], &box->shown[i]);
    }
    report->source = REPORT_OF_BOX;
    report->start_ns = box->start_ns;
    report->duration_ns = box->now_ns;
    report->fastest = REPORT_NO_NODE;
    report->nodes = box->shown;
    report->nodes_count = box->nodes_count;
    report->nodes_total = box->nodes_count;
    report->events = box->events;
    report->events_count = box->events_count;
    report->events_total = box->events_total;
    fill_notes(box, report);
    return 0;
}
