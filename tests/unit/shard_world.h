/*
 * A shard with two workers and the text of what it says, for the tests of the engine. Each look at
 * what was said also looks at the invariants.
 */
#ifndef LS_TESTS_SHARD_WORLD_H
#define LS_TESTS_SHARD_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shard_audit.h"

#define E LS_SHARD_EAGER
#define L LS_SHARD_LAZY
#define W LS_SHARD_WILL
#define M LS_SHARD_MAY

#define LONG_KEY   "a key that is longer than what stands inside"
#define LONG_VALUE "a value that is longer than what stands inside of a version"

struct world {
    ls_shard *shard;
    struct buf said; /* messages since they were last looked at, as text */
};

ls_shard_options options_of(struct world *world);
void world_begin(struct world *world);
void world_open(struct world *world, bool stored);
void world_close(struct world *world);
void assert_whole(struct world *world);
void assert_said(struct world *world, const char *text);
ls_bytes key(const char *text);
int acquire(struct world *world, uint64_t timestamp, const char *name, unsigned kinds);
int write_value(struct world *world, uint64_t timestamp, const char *name, const char *value);
int write_none(struct world *world, uint64_t timestamp, const char *name);
void seen(struct world *world, uint64_t timestamp, bool writes);
ls_shard_info info_of(struct world *world);
void world_with_value(struct world *world, bool stored);

/* What the shard was before a call that is to be refused. */
struct refusal {
    struct world *world;
    struct buf before;
};

struct refusal refusal_begin(struct world *world);
void refusal_end(struct refusal *refusal, int rc, int code, uint64_t number);

/* The call is refused with this code and number, and has changed and sent nothing. */
#define REFUSED(world, call, code, number)              \
    do {                                                \
        struct refusal refusal_ = refusal_begin(world); \
        int rc_ = (call);                               \
        refusal_end(&refusal_, rc_, (code), (number));  \
    } while (0)

#endif
