/*
 * Presence: who is late with its beat. Beats of nodes bound to this process are seen in memory;
 * what the others of the same store see of them is the `beat` in the node's record, which the
 * process renews well within the ttl. A node is given up only by an observer that saw the same life
 * of it (`joined`) with the same `beat` for a whole ttl on its own monotonic clock, so neither a
 * jump of the wall clock nor a restart of the observer ends a life early. A node that is bound here
 * is given up by the second tick in a row that finds it late: between two ticks the owner takes in
 * what has arrived, so that a process that was stopped for longer than a ttl takes none of its
 * nodes for late whose beats it has only not read.
 *
 * A pure table: time comes in as an argument, requests come out. Not thread-safe: the owner guards
 * it.
 */
#ifndef LS_SEQUENCER_PRESENCE_H
#define LS_SEQUENCER_PRESENCE_H

#include "coordinator/read.h"
#include "coordinator/request.h"

struct presence;

/* `seed`: of the hashes, a secret number where strangers choose the hosts. 0 or LS_ENOMEM. */
int presence_open(struct presence **out, uint64_t seed);
void presence_close(struct presence *presence);

/* This process holds this life of a node from now on, or no longer does. 0 or LS_ENOMEM. */
int presence_bind(struct presence *presence, const struct binding *binding, uint64_t ttl_ms,
                  uint64_t now_ms);
void presence_unbind(struct presence *presence, const struct binding *binding);

/* Whether another id's life at this host is bound here. */
bool presence_holds_other(const struct presence *presence, ls_bytes host, const uint8_t id[16]);

/* A bound node showed life. O(1), no write. */
void presence_beat(struct presence *presence, const struct binding *binding, uint64_t now_ms);

/* Reads the nodes and tells what is to be done now: calls `renew` for each bound node whose beat
 * should be written, and `expire` for each node to be given up. Returns the milliseconds until it
 * wants to be called again (at most 1000), or a negative code. */
struct presence_calls {
    void (*renew)(void *context, const struct binding *binding);
    void (*expire)(void *context, const struct node *node);
    void *context;
};
int64_t presence_tick(struct presence *presence, struct reading *reading, uint64_t now_ms,
                      const struct presence_calls *calls, struct ls_error *error);

#endif
