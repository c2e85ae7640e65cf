/* SPDX-License-Identifier: Apache-2.0 */
/* Vector clocks beside the model, and the lines that show them. */
#include "model/shiviz.h"

#include <assert.h>
#include <stdlib.h>

#include "model/scale.h"

int shiviz_open(struct shiviz *shiviz, uint32_t nodes)
{
    assert(nodes > 0 && nodes <= SHIVIZ_NODES_MAX);
    *shiviz = (struct shiviz){.nodes = nodes};
    shiviz->vectors = calloc((size_t)nodes * nodes, sizeof *shiviz->vectors);
    shiviz->sent = calloc(nodes, sizeof *shiviz->sent);
    if (shiviz->vectors == NULL || shiviz->sent == NULL) {
        shiviz_close(shiviz);
        return LS_ENOMEM;
    }
    return 0;
}

void shiviz_close(struct shiviz *shiviz)
{
    for (uint32_t i = 0; shiviz->sent != NULL && i < shiviz->nodes; i++) {
        buf_free(&shiviz->sent[i].clocks);
        buf_free(&shiviz->sent[i].vectors);
    }
    free(shiviz->sent);
    free(shiviz->vectors);
    buf_free(&shiviz->line);
    *shiviz = (struct shiviz){0};
}

/* The vector that a node had when it sent at a clock; NULL where it is not known. */
static const uint32_t *vector_sent(const struct shiviz *shiviz, uint32_t node, uint64_t clock)
{
    const struct shiviz_node *sent = &shiviz->sent[node];
    const uint64_t *clocks = (const uint64_t *)(const void *)sent->clocks.data;
    size_t low = 0;
    size_t high = sent->clocks.size / sizeof *clocks;
    size_t count = high;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (clocks[middle] < clock) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == count || clocks[low] != clock) {
        return NULL;
    }
    return (const uint32_t *)(const void *)sent->vectors.data + low * shiviz->nodes;
}

static int advance(struct shiviz *shiviz, const struct scale_event *event)
{
    uint32_t *own = shiviz->vectors + (size_t)event->node * shiviz->nodes;
    own[event->node]++;
    if (event->kind == SCALE_RECEIVE) {
        const uint32_t *other = vector_sent(shiviz, event->peer, event->peer_clock);
        for (uint32_t i = 0; other != NULL && i < shiviz->nodes; i++) {
            own[i] = other[i] > own[i] ? other[i] : own[i];
        }
    } else if (event->kind != SCALE_INTERNAL) {
        struct shiviz_node *sent = &shiviz->sent[event->node];
        size_t size = shiviz->nodes * sizeof *own;
        if (buf_reserve(&sent->vectors, size) != 0 ||
            buf_append(&sent->clocks, &event->clock, sizeof event->clock) != 0) {
            return LS_ENOMEM;
        }
        return buf_append(&sent->vectors, own, size);
    }
    return 0;
}

static int describe(struct buf *line, const struct scale_event *event)
{
    int rc = buf_append_text(line, scale_kind_word(event->kind));
    if (rc == 0 && event->peer != SCALE_NO_NODE) {
        rc = buf_printf(line, event->kind == SCALE_RECEIVE ? " from node-%u" : " to node-%u",
                        event->peer + 1);
    }
    return rc == 0 ? buf_printf(line, ", clock %llu, queue %u\n", (unsigned long long)event->clock,
                                event->queue_length)
                   : rc;
}

int shiviz_put(struct shiviz *shiviz, const struct scale_event *event, FILE *out)
{
    if (shiviz->events == SHIVIZ_EVENTS_MAX) {
        return 0;
    }
    shiviz->events++;
    int rc = advance(shiviz, event);
    const uint32_t *own = shiviz->vectors + (size_t)event->node * shiviz->nodes;
    struct buf *line = &shiviz->line;
    const char *before = " {";

    line->size = 0;
    rc = rc == 0 ? buf_printf(line, "node-%u", event->node + 1) : rc;
    for (uint32_t i = 0; i < shiviz->nodes && rc == 0; i++) {
        if (own[i] > 0) {
            rc = buf_printf(line, "%s\"node-%u\":%u", before, i + 1, own[i]);
            before = ",";
        }
    }
    rc = rc == 0 ? buf_append_text(line, "}\n") : rc;
    rc = rc == 0 ? describe(line, event) : rc;
    if (rc == 0) {
        fwrite(line->data, 1, line->size, out);
    }
    return rc;
}
