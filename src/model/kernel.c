/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel: what becomes of scheduled events, by the state of the nodes and of the network. */
#include "model/kernel.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

int kernel_open(struct kernel *kernel, const struct kernel_options *options, struct ls_error *error)
{
    const struct kernel_network *network = &options->network;
    uint32_t count = options->nodes;

    *kernel =
        (struct kernel){.network = *network,
                        .node_count = count,
                        .events_max = options->events_max == 0 ? SIZE_MAX : options->events_max};
    if (count > KERNEL_NODES_MAX) {
        return error_set(error, LS_EINVAL, KERNEL_NODES_MAX, "there are at most %u nodes",
                         KERNEL_NODES_MAX);
    }
    if (network->ordered && count > KERNEL_ORDERED_MAX) {
        return error_set(error, LS_EINVAL, KERNEL_ORDERED_MAX,
                         "messages are kept in order among at most %u nodes", KERNEL_ORDERED_MAX);
    }
    kernel_random_seed(&kernel->random, options->seed);
    kernel->nodes = malloc(((size_t)count + 1) * sizeof *kernel->nodes);
    if (network->ordered) {
        kernel->arrivals = calloc((size_t)count * count + 1, sizeof *kernel->arrivals);
    }
    if (kernel->nodes == NULL || (network->ordered && kernel->arrivals == NULL)) {
        kernel_close(kernel);
        return error_code(error, LS_ENOMEM);
    }
    for (uint32_t i = 0; i < count; i++) {
        kernel->nodes[i] = (struct kernel_node){.life = 1, .side = 0, .up = true};
    }
    return 0;
}

void kernel_close(struct kernel *kernel)
{
    kernel_queue_free(&kernel->queue);
    free(kernel->nodes);
    free(kernel->arrivals);
    *kernel = (struct kernel){0};
}

static int schedule(struct kernel *kernel, const struct kernel_event *event)
{
    if (kernel->queue.count >= kernel->events_max) {
        return LS_ENOSPACE;
    }
    return kernel_queue_put(&kernel->queue, event);
}

int kernel_at(struct kernel *kernel, uint64_t time_ns, uint32_t node, uint16_t kind, uint64_t value)
{
    assert(time_ns >= kernel->now_ns);
    return schedule(
        kernel, &(struct kernel_event){
                    .time_ns = time_ns, .node = node, .from = node, .kind = kind, .value = value});
}

/* A million nodes fill more than the cache, so their states are not looked at before there is
 * something to see. */
static uint32_t life_of(const struct kernel *kernel, uint32_t node)
{
    return kernel->eventful ? kernel->nodes[node].life : 1;
}

int kernel_timer(struct kernel *kernel, uint64_t time_ns, uint32_t node, uint16_t kind,
                 uint64_t value)
{
    assert(time_ns >= kernel->now_ns && node < kernel->node_count);
    assert(!kernel->eventful || kernel->nodes[node].up);
    return schedule(kernel, &(struct kernel_event){.time_ns = time_ns,
                                                   .node = node,
                                                   .from = node,
                                                   .life = life_of(kernel, node),
                                                   .kind = kind,
                                                   .value = value});
}

static uint64_t arrival(struct kernel *kernel, uint32_t from, uint32_t to)
{
    const struct kernel_network *network = &kernel->network;
    uint64_t time_ns = kernel->now_ns + network->latency_ns;

    if (network->jitter_ns > 0) {
        time_ns += kernel_random_below(&kernel->random, network->jitter_ns + 1);
    }
    if (network->ordered && kernel->arrivals != NULL) {
        uint64_t *last = &kernel->arrivals[(size_t)from * kernel->node_count + to];
        time_ns = time_ns < *last ? *last : time_ns;
        *last = time_ns;
    }
    return time_ns;
}

int kernel_send(struct kernel *kernel, uint32_t from, uint32_t to, uint16_t kind, uint64_t value)
{
    const struct kernel_network *network = &kernel->network;
    assert(from < kernel->node_count && to < kernel->node_count);

    if ((kernel->eventful && !kernel_connected(kernel, from, to)) ||
        (network->loss > 0 && kernel_random_chance(&kernel->random, network->loss))) {
        kernel->lost++;
        return 0;
    }
    int copies =
        network->doubling > 0 && kernel_random_chance(&kernel->random, network->doubling) ? 2 : 1;
    for (int i = 0; i < copies; i++) {
        int rc = schedule(kernel, &(struct kernel_event){.time_ns = arrival(kernel, from, to),
                                                         .node = to,
                                                         .from = from,
                                                         .life = life_of(kernel, to),
                                                         .kind = kind,
                                                         .value = value});
        if (rc != 0) {
            return i > 0 ? i : rc;
        }
    }
    return copies;
}

static enum kernel_fate fate_of(const struct kernel *kernel, const struct kernel_event *event)
{
    if (event->life == 0) {
        return KERNEL_HAPPENS;
    }
    const struct kernel_node *node = &kernel->nodes[event->node];
    if (!node->up || node->life != event->life) {
        return KERNEL_DEAD;
    }
    return kernel->nodes[event->from].side == node->side ? KERNEL_HAPPENS : KERNEL_CUT;
}

bool kernel_next(struct kernel *kernel, uint64_t until_ns, struct kernel_event *event)
{
    if (kernel_next_time(kernel) > until_ns) {
        kernel->now_ns = until_ns > kernel->now_ns ? until_ns : kernel->now_ns;
        return false;
    }
    kernel_queue_take(&kernel->queue, event);
    kernel->now_ns = event->time_ns;
    if (kernel->eventful) {
        event->fate = (uint16_t)fate_of(kernel, event);
        if (event->fate != KERNEL_HAPPENS) {
            kernel->lost += event->from != event->node;
            return true;
        }
    }
    kernel->happened++;
    return true;
}

bool kernel_drain(struct kernel *kernel, struct kernel_event *event)
{
    return kernel_queue_take(&kernel->queue, event);
}

void kernel_crash(struct kernel *kernel, uint32_t node)
{
    assert(node < kernel->node_count && kernel->nodes[node].up);
    kernel->eventful = true;
    kernel->nodes[node].up = false;
    kernel->nodes[node].life++;
}

void kernel_restart(struct kernel *kernel, uint32_t node)
{
    assert(node < kernel->node_count && !kernel->nodes[node].up);
    kernel->nodes[node].up = true;
}

bool kernel_is_up(const struct kernel *kernel, uint32_t node)
{
    assert(node < kernel->node_count);
    return kernel->nodes[node].up;
}

void kernel_partition(struct kernel *kernel, uint32_t node, uint16_t side)
{
    assert(node < kernel->node_count);
    kernel->eventful = true;
    kernel->nodes[node].side = side;
}

void kernel_heal(struct kernel *kernel)
{
    for (uint32_t i = 0; i < kernel->node_count; i++) {
        kernel->nodes[i].side = 0;
    }
}

bool kernel_connected(const struct kernel *kernel, uint32_t a, uint32_t b)
{
    assert(a < kernel->node_count && b < kernel->node_count);
    return kernel->nodes[a].up && kernel->nodes[b].up &&
           kernel->nodes[a].side == kernel->nodes[b].side;
}
