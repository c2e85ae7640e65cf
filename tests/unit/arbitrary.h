/*
 * Random requests: mostly such as succeed on the model's state, else such as are refused, with
 * everything they point to in one piece of memory. The same seed and model give the same request.
 */
#ifndef LS_TESTS_ARBITRARY_H
#define LS_TESTS_ARBITRARY_H

#include "model.h"

struct arbitrary {
    struct request request;
    struct ls_error error;
    struct binding as;
    struct object_condition conditions[3];
    struct object_operation operations[4];
    uint8_t item[16];
};

/* A number below `limit`, which is not 0; *seed moves on. */
uint64_t random_below(uint64_t *seed, uint64_t limit);
/* True one time in `n`. */
bool random_one_in(uint64_t *seed, uint64_t n);

void arbitrary_make(struct arbitrary *out, uint64_t *seed, const struct model *model,
                    uint64_t now_ns);

/* The same request with results and errors of its own. */
void arbitrary_copy(struct arbitrary *out, const struct arbitrary *from);

/* Prints kind and arguments, for a test that failed. */
void arbitrary_print(const struct arbitrary *arbitrary);

#endif
