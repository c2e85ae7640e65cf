/*
 * RESP replies as a client reads them: bytes in, a flat list of values out, RESP2 and RESP3. A
 * reply is complete when its outermost value is; nested values follow their parent in order, each
 * saying how many follow below it. No recursion; nesting, sizes and counts are limited, and memory
 * is only taken for values that have arrived: never for what a count claims.
 *
 * Streamed strings and aggregates ("$?", "*?") are not part of it: no server in use sends them.
 */
#ifndef LS_RESP_REPLY_H
#define LS_RESP_REPLY_H

#include "lockstep.h"

/* Aggregates inside one another, attributes too. */
#define RESP_DEPTH_MAX 32

enum resp_type {
    RESP_SIMPLE,
    RESP_ERROR, /* "-" and "!" alike; the text begins with the error's word */
    RESP_INTEGER,
    RESP_BULK,
    RESP_NULL, /* "_", "$-1" and "*-1" alike */
    RESP_ARRAY,
    RESP_MAP,
    RESP_SET,
    RESP_PUSH, /* outermost only */
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

/* An aggregate that is not closed yet. */
struct resp_level {
    size_t left;  /* values still to come in it */
    size_t value; /* its own place in the list; SIZE_MAX: an attribute or inside one, dropped */
};

/* All zeros is fresh. */
struct resp_reply {
    struct resp_value *values; /* of the last whole reply, until the next call */
    size_t count;
    size_t capacity;
    size_t reply_size_max;  /* set by the caller; 0: 512 MiB */
    size_t value_count_max; /* set by the caller; 0: 4,194,304 */
    /* After "incomplete": the reply takes at least this many bytes in all, always more than there
     * were. Calling again with fewer is allowed and pointless. */
    size_t needed;

    /* Where the reply under way stands; the parser's own. */
    size_t offset;  /* of the first value that was not read yet */
    size_t pending; /* values still to come at all levels */
    size_t depth;
    struct resp_level levels[RESP_DEPTH_MAX];
};

/* 1: one whole reply, *consumed set, values filled, pointing into `data`; 0: incomplete, `needed`
 * set: call again with the same bytes (moved or not) and more behind them; negative: LS_EPROTO,
 * LS_ETOOBIG with the limit, LS_ENOMEM, and the next call starts from the first byte of what it is
 * given.
 *
 * Reading resumes at the first value that was incomplete, so a reply in many pieces costs time in
 * proportion to its size; a caller that waits for `needed` bytes before it calls again saves the
 * calls themselves, and knows how far to grow its buffer in one step. */
int resp_reply_parse(struct resp_reply *reply, ls_bytes data, size_t *consumed,
                     struct ls_error *error);

/* The value after `value` and everything below it, or NULL past the end of the reply. The first
 * value below an aggregate whose count is not 0 is `value + 1`. */
const struct resp_value *resp_next(const struct resp_reply *reply, const struct resp_value *value);

/* Gives the memory back; fresh again but for the two limits. Also what a reconnect calls, since the
 * bytes of the old connection are gone. */
void resp_reply_free(struct resp_reply *reply);

#endif
