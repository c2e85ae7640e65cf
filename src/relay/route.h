/*
 * Who a relayed message goes to (docs/protocol.md, "Relay"): of the joined, connected nodes other
 * than the sender, in byte order of their host names, the first, the second, the n-th, the named
 * one, or all. A pure function over a sorted list; the scale model uses the same.
 */
#ifndef LS_RELAY_ROUTE_H
#define LS_RELAY_ROUTE_H

#include "lockstep.h"

enum relay_rule { RELAY_NTH, RELAY_TO, RELAY_BROADCAST };

struct relay_order {
    enum relay_rule rule;
    size_t nth;    /* RELAY_NTH, from 1: ONE is 1, SECOND is 2 */
    ls_bytes host; /* RELAY_TO */
};

/* A member of the star. */
struct relay_member {
    ls_bytes host;
    void *who;
};

/* The members sorted by host, each host once. All zeros is empty. */
struct relay_star {
    struct relay_member *members;
    size_t count;
    size_t capacity;
};

/* Adds the member of a host, or replaces it, host bytes and all: they stay the caller's and must
 * live as long as the member. 0 or LS_ENOMEM, the star untouched. Remove: true where it was there.
 * Each takes O(log n) to find, and a move of the tail. */
int relay_join(struct relay_star *star, ls_bytes host, void *who);
bool relay_leave(struct relay_star *star, ls_bytes host);

/* NULL where the host is not in the star. Valid until the next join or leave. */
struct relay_member *relay_find(const struct relay_star *star, ls_bytes host);
void relay_free(struct relay_star *star);

/* The members that an order names: the indices [first, last) without `skip` (SIZE_MAX: none left
 * out). Empty where first is last, and where the only index is `skip`. */
struct relay_targets {
    size_t first;
    size_t last;
    size_t skip;
};

/* The rules as places alone, for a caller that knows them: of `count` members in order, the sender
 * at `own` (SIZE_MAX: not among them), those that an order names. */
struct relay_targets relay_route_nth(size_t count, size_t own, size_t nth);
struct relay_targets relay_route_broadcast(size_t count, size_t own);

/* `sender` may be a host that is not in the star; the sender itself is never a target, not even by
 * its name. An nth of 0 or beyond the others, or a host that is not there, names nobody. */
struct relay_targets relay_route(const struct relay_star *star, ls_bytes sender,
                                 const struct relay_order *order);

/* How many members that is. */
static inline size_t relay_target_count(struct relay_targets targets)
{
    bool skips = targets.skip >= targets.first && targets.skip < targets.last;
    return targets.last - targets.first - (skips ? 1 : 0);
}

#endif
