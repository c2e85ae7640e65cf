/* SPDX-License-Identifier: Apache-2.0 */
/* The star as a sorted array, and the routing rules as index arithmetic around the sender. */
#include "relay/route.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define CAPACITY_FIRST 8

/* Where the host is, or where it would have to be; *found says which. */
static size_t place_of(const struct relay_star *star, ls_bytes host, bool *found)
{
    size_t low = 0;
    size_t high = star->count;

    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = bytes_compare(star->members[middle].host, host);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

int relay_join(struct relay_star *star, ls_bytes host, void *who)
{
    bool found;
    size_t place = place_of(star, host, &found);

    if (!found) {
        if (star->count == star->capacity) {
            size_t capacity = star->capacity == 0 ? CAPACITY_FIRST : star->capacity * 2;
            struct relay_member *members = realloc(star->members, capacity * sizeof *members);
            if (members == NULL) {
                return LS_ENOMEM;
            }
            star->members = members;
            star->capacity = capacity;
        }
        memmove(star->members + place + 1, star->members + place,
                (star->count - place) * sizeof *star->members);
        star->count++;
    }
    star->members[place] = (struct relay_member){host, who};
    return 0;
}

bool relay_leave(struct relay_star *star, ls_bytes host)
{
    bool found;
    size_t place = place_of(star, host, &found);

    if (found) {
        star->count--;
        memmove(star->members + place, star->members + place + 1,
                (star->count - place) * sizeof *star->members);
    }
    return found;
}

struct relay_member *relay_find(const struct relay_star *star, ls_bytes host)
{
    bool found;
    size_t place = place_of(star, host, &found);
    return found ? &star->members[place] : NULL;
}

void relay_free(struct relay_star *star)
{
    free(star->members);
    *star = (struct relay_star){0};
}

static const struct relay_targets nobody = {0, 0, SIZE_MAX};

struct relay_targets relay_route_nth(size_t count, size_t own, size_t nth)
{
    if (nth == 0 || nth > count) {
        return nobody;
    }
    size_t place = nth - 1;
    if (own < count && place >= own) {
        place++;
    }
    if (place == count) {
        return nobody;
    }
    return (struct relay_targets){place, place + 1, SIZE_MAX};
}

struct relay_targets relay_route_broadcast(size_t count, size_t own)
{
    return (struct relay_targets){0, count, own < count ? own : SIZE_MAX};
}

struct relay_targets relay_route(const struct relay_star *star, ls_bytes sender,
                                 const struct relay_order *order)
{
    bool sender_is_in;
    bool found;
    size_t own = place_of(star, sender, &sender_is_in);
    size_t place;

    own = sender_is_in ? own : SIZE_MAX;
    switch (order->rule) {
    case RELAY_NTH:
        return relay_route_nth(star->count, own, order->nth);
    case RELAY_TO:
        place = place_of(star, order->host, &found);
        if (!found || place == own) {
            return nobody;
        }
        return (struct relay_targets){place, place + 1, SIZE_MAX};
    case RELAY_BROADCAST:
        return relay_route_broadcast(star->count, own);
    }
    return nobody;
}
