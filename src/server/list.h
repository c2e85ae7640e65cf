/* A ring of links inside the structs that it joins. A link that is all zeros is in no ring. */
#ifndef LS_SERVER_LIST_H
#define LS_SERVER_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct link {
    struct link *next;
    struct link *prev;
};

/* The struct that a link is inside of. */
#define LINK_OWNER(at, type, member) ((type *)(void *)((char *)(at)-offsetof(type, member)))

/* Safe where the body removes the link it stands on, and no other. */
#define LIST_EACH(at, after, list)                                        \
    for (struct link *at = (list)->next, *after = at->next; at != (list); \
         at = after, after = at->next)

static inline void list_init(struct link *list)
{
    list->next = list;
    list->prev = list;
}

static inline bool list_empty(const struct link *list)
{
    return list->next == list;
}

static inline bool link_joined(const struct link *link)
{
    return link->next != NULL;
}

/* Does nothing where the link is in a ring already. */
static inline void list_append(struct link *list, struct link *link)
{
    if (!link_joined(link)) {
        link->prev = list->prev;
        link->next = list;
        list->prev->next = link;
        list->prev = link;
    }
}

static inline void list_remove(struct link *link)
{
    if (link_joined(link)) {
        link->prev->next = link->next;
        link->next->prev = link->prev;
        link->next = NULL;
        link->prev = NULL;
    }
}

/* Moves everything to an empty list, so that it can be walked while others join the first. */
static inline void list_take(struct link *to, struct link *from)
{
    list_init(to);
    if (!list_empty(from)) {
        to->next = from->next;
        to->prev = from->prev;
        to->next->prev = to;
        to->prev->next = to;
        list_init(from);
    }
}

#endif
