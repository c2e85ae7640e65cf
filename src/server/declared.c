/* SPDX-License-Identifier: Apache-2.0 */
/* Counted lists of keys in a command's arguments. */
#include "server/declared.h"

#include "base/error.h"

static struct declared_keys *list_of(struct declared *declared, ls_bytes word)
{
    return arg_is(word, "EAGER")  ? &declared->eager
           : arg_is(word, "LAZY") ? &declared->lazy
           : arg_is(word, "WILL") ? &declared->will
           : arg_is(word, "MAY")  ? &declared->may
                                  : NULL;
}

int declared_take(struct call *call, size_t *at, struct declared *declared)
{
    ls_bytes word = call->argv[*at];
    struct declared_keys *list = list_of(declared, word);
    uint64_t count;
    if (list == NULL) {
        return 0;
    }
    if (list->given) {
        return error_set(call->error, LS_EINVAL, 0, "%.*s stands twice", (int)word.size,
                         (const char *)word.data);
    }
    size_t left = call->argc - *at - 1;
    if (left == 0) {
        return error_set(call->error, LS_EINVAL, 0, "%.*s is followed by a number and so many keys",
                         (int)word.size, (const char *)word.data);
    }
    int rc = arg_number(call->argv[*at + 1], "the number of keys", &count, call->error);
    if (rc != 0) {
        return rc;
    }
    if (count > DECLARED_MAX - declared->count) {
        return error_set(call->error, LS_ETOOBIG, DECLARED_MAX,
                         "a transaction may declare at most %zu keys", DECLARED_MAX);
    }
    if (count > left - 1) {
        return error_set(call->error, LS_EINVAL, 0, "%.*s counts %llu keys, and %zu follow",
                         (int)word.size, (const char *)word.data, (unsigned long long)count,
                         left - 1);
    }
    *list = (struct declared_keys){true, (size_t)count, call->argv + *at + 2};
    declared->count += (size_t)count;
    *at += 2 + (size_t)count;
    return 1;
}
