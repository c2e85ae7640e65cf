/*
 * What the shard engine and its peer are measured with: which two keys each transaction touches,
 * drawn beforehand so that drawing costs neither of them anything.
 */
#ifndef LS_BENCH_WORK_H
#define LS_BENCH_WORK_H

#include <stdbool.h>
#include <stdint.h>

struct work {
    uint64_t keys;
    uint64_t open; /* transactions that are open at a time; the engine's bench only */
    uint64_t transactions;
    uint64_t threads; /* the peer's bench only */
    uint64_t *drawn;  /* pairs of different keys, taken in turn */
};

/* False where the arguments are wrong, which it says. */
bool work_parse(struct work *work, int argc, char **argv);
void work_free(struct work *work);

/* The two keys of the n-th transaction. */
uint64_t *work_keys(const struct work *work, uint64_t n);

/* Seconds, of a clock that does not jump. */
double work_now(void);

#endif
