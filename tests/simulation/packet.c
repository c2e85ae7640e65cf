/* SPDX-License-Identifier: Apache-2.0 */
/* What travels: packets of a fixed size in a pool, and the order of those of one connection. */
#include <assert.h>
#include <stdlib.h>

#include "sim.h"

uint32_t packet_new(struct sim *sim, enum packet_kind kind)
{
    if (sim->packet_free == NOWHERE) {
        size_t before = sim->packet_capacity;
        sim->packet_capacity = 2 * before + 64;
        sim->packets =
            sim_memory(realloc(sim->packets, sim->packet_capacity * sizeof *sim->packets));
        for (size_t i = before; i < sim->packet_capacity; i++) {
            sim->packets[i].refs = 0;
            sim->packets[i].next_free = sim->packet_free;
            sim->packet_free = (uint32_t)i;
        }
    }
    uint32_t index = sim->packet_free;
    sim->packet_free = sim->packets[index].next_free;
    sim->packets[index] = (struct packet){.refs = 1, .kind = kind};
    return index;
}

struct packet *packet_at(struct sim *sim, uint32_t index)
{
    assert(index < sim->packet_capacity && sim->packets[index].refs > 0);
    return &sim->packets[index];
}

void packet_release(struct sim *sim, uint32_t index)
{
    struct packet *packet = packet_at(sim, index);
    if (--packet->refs == 0) {
        packet->next_free = sim->packet_free;
        sim->packet_free = index;
    }
}

void packet_send(struct sim *sim, uint32_t from, uint32_t to, uint32_t index)
{
    packet_at(sim, index)->from = from;
    int copies = kernel_send(&sim->kernel, from, to, EVENT_PACKET, index);
    assert(copies >= 0);
    if (copies == 0) {
        cover(COVER_PACKET_LOST);
        packet_release(sim, index);
    } else if (copies == 2) {
        cover(COVER_PACKET_TWICE);
        packet_at(sim, index)->refs++;
    }
}

void inbox_put(struct sim *sim, struct inbox *inbox, uint32_t index)
{
    uint64_t place = packet_at(sim, index)->place;
    bool known = place < inbox->next;
    for (size_t i = 0; i < inbox->count; i++) {
        known = known || packet_at(sim, inbox->held[i])->place == place;
    }
    if (known || inbox->count == INBOX_MAX) {
        packet_release(sim, index);
        return;
    }
    if (place > inbox->next) {
        cover(COVER_PACKET_LATE);
    }
    inbox->held[inbox->count++] = index;
}

uint32_t inbox_next(struct sim *sim, struct inbox *inbox)
{
    for (size_t i = 0; i < inbox->count; i++) {
        uint32_t index = inbox->held[i];
        if (packet_at(sim, index)->place == inbox->next) {
            inbox->held[i] = inbox->held[--inbox->count];
            inbox->next++;
            return index;
        }
    }
    return NOWHERE;
}

void inbox_clear(struct sim *sim, struct inbox *inbox)
{
    while (inbox->count > 0) {
        packet_release(sim, inbox->held[--inbox->count]);
    }
    inbox->next = 0;
}
