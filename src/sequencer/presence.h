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

/* What a look finds: `renew` is called for each bound node whose beat should be written, `expire`
 * for each node to be given up, and `over`, which may be NULL, for each bound node whose life the
 * store shows to be over; it may unbind it. */
struct presence_calls {
    void (*renew)(void *context, const struct binding *binding);
    void (*expire)(void *context, const struct node *node);
    void (*over)(void *context, const struct binding *binding);
    void *context;
};

/* Looks at all nodes that are live, and tells what is to be done now. Returns the milliseconds
 * until it wants to be called again (at most 1000), or a negative code. */
int64_t presence_tick(struct presence *presence, struct reading *reading, uint64_t now_ms,
                      const struct presence_calls *calls, struct ls_error *error);

/* The same look in pieces, between which anything may be bound, unbound and beat. Begin: 0 or an
 * error; the reading must stay until the look is over. Go on looks at so many nodes more: 0 where
 * some may be left, else as presence_tick, and the look is over. One look at a time. */
int presence_begin(struct presence *presence, struct reading *reading, struct ls_error *error);
int64_t presence_go_on(struct presence *presence, size_t count, uint64_t now_ms,
                       const struct presence_calls *calls, struct ls_error *error);
void presence_break_off(struct presence *presence);

#endif
