/* The keys that a transaction declares, as they stand in a command: EAGER n key.. LAZY n key..
 * WILL n key.. MAY n key.., each at most once, in any order. */
#ifndef LS_SERVER_DECLARED_H
#define LS_SERVER_DECLARED_H

#include "server/command.h"

#define DECLARED_MAX ((size_t)65536) /* keys in all */

struct declared_keys {
    bool given;
    size_t count;
    const ls_bytes *keys; /* in the command's arguments */
};

struct declared {
    struct declared_keys eager;
    struct declared_keys lazy;
    struct declared_keys will;
    struct declared_keys may;
    size_t count; /* of all */
};

/* Takes one of the four lists where argv[*at] begins one, and moves *at behind it: 1, 0 where it
 * begins none, or a negative code with the error. */
int declared_take(struct call *call, size_t *at, struct declared *declared);

#endif
