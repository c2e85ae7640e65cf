/*
 * RESP replies as a client reads them: bytes in, a flat list of values out, RESP2 and RESP3. A
 * reply is complete when its outermost value is; nested values follow their parent in order, each
 * saying how many follow below it. No recursion; nesting, sizes and counts are limited.
 */
#ifndef LS_RESP_REPLY_H
#define LS_RESP_REPLY_H

#include "lockstep.h"

enum resp_type {
    RESP_SIMPLE,
    RESP_ERROR,
    RESP_INTEGER,
    RESP_BULK,
    RESP_NULL,
    RESP_ARRAY,
    RESP_MAP,
    RESP_SET,
    RESP_PUSH,
    RESP_DOUBLE,
    RESP_BOOLEAN,
    RESP_BIGNUMBER,
    RESP_VERBATIM
};

struct resp_value {
    enum resp_type type;
    ls_bytes text;   /* SIMPLE, ERROR, BULK, BIGNUMBER, VERBATIM (without its "txt:"), DOUBLE */
    int64_t integer; /* INTEGER, BOOLEAN */
    size_t count;    /* ARRAY, SET, PUSH: elements; MAP: pairs */
    size_t span;     /* how many values this one and everything below it take in the list */
};

struct resp_reply {
    struct resp_value *values;
    size_t count;
    size_t capacity;
    size_t reply_size_max; /* set by the caller; 0: 512 MiB */
};

/* 1: one whole reply, *consumed set, values filled, pointing into `data`; 0: incomplete; negative:
 * LS_EPROTO, LS_ETOOBIG, LS_ENOMEM. Not resuming: meant to be called when more has arrived; callers
 * that expect large replies grow their buffer geometrically before each call. */
int resp_reply_parse(struct resp_reply *reply, ls_bytes data, size_t *consumed,
                     struct ls_error *error);

/* The value after `value` and everything below it, or NULL past the end of the reply. */
const struct resp_value *resp_next(const struct resp_reply *reply, const struct resp_value *value);

void resp_reply_free(struct resp_reply *reply);

#endif
