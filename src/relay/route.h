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

/* Adds or replaces the member of a host (the bytes stay the caller's and must live as long as the
 * member): 0 or LS_ENOMEM. Remove: true where it was there. Both O(log n) to find, and a move of
 * the tail. */
int relay_join(struct relay_star *star, ls_bytes host, void *who);
bool relay_leave(struct relay_star *star, ls_bytes host);
struct relay_member *relay_find(const struct relay_star *star, ls_bytes host);
void relay_free(struct relay_star *star);

/* The run of members that the order names, as at most two runs of indices around the sender:
 * [first, last) with the index `skip` left out (SIZE_MAX: none). `sender` may be a host that is not
 * in the star. */
struct relay_targets {
    size_t first;
    size_t last;
    size_t skip;
};
struct relay_targets relay_route(const struct relay_star *star, ls_bytes sender,
                                 const struct relay_order *order);

#endif
