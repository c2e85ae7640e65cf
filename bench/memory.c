/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory WORK [--keys N] [--transactions N]: what memory alone charges for the work of shard.c. Of
 * an array of N cells, each one line of the cache, each transaction adds to two: "nanoseconds"
 * where the next one begins when the last has both its values, as calls on an engine do, "apart"
 * where the processor may go on to later ones meanwhile. Prints one line of JSON.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "work.h"

#define LARGE_PAGE ((size_t)2 * 1024 * 1024)

struct cell {
    uint64_t value;
    uint64_t rest[7];
};

static struct cell *cells_make(uint64_t count)
{
    size_t size = (count * sizeof(struct cell) + LARGE_PAGE - 1) & ~(LARGE_PAGE - 1);
    struct cell *cells = aligned_alloc(LARGE_PAGE, size);
    if (cells == NULL) {
        fprintf(stderr, "memory: there is too little\n");
        exit(1);
    }
    (void)madvise(cells, size, MADV_HUGEPAGE);
    memset(cells, 0, size);
    return cells;
}

/* Seconds. The sum stays below 2^63, which the compiler does not know: so in turn, the next keys
 * depend on the last values. */
static double touch(struct cell *cells, const struct work *work, bool in_turn, uint64_t *sum)
{
    double begun = work_now();
    uint64_t carried = 0;
    for (uint64_t i = 0; i < work->transactions; i++) {
        const uint64_t *keys = work_keys(work, i + (in_turn ? carried >> 63 : 0));
        carried += cells[keys[0]].value++;
        carried += cells[keys[1]].value++;
    }
    *sum += carried;
    return work_now() - begun;
}

int main(int argc, char **argv)
{
    struct work work;
    if (!work_parse(&work, argc, argv)) {
        return 2;
    }
    struct cell *cells = cells_make(work.keys);
    uint64_t sum = 0;
    double in_turn = touch(cells, &work, true, &sum);
    double apart = touch(cells, &work, false, &sum);
    double each = 1e9 / (double)work.transactions;
    printf("{\"nanoseconds\": %.1f, \"apart\": %.1f, \"check\": %" PRIu64 "}\n", in_turn * each,
           apart * each, sum);
    free(cells);
    work_free(&work);
    return 0;
}
