/* A coordinator over a store in memory whose calls can be made to fail. */
#ifndef LS_TESTS_FAULTY_FIXTURE_H
#define LS_TESTS_FAULTY_FIXTURE_H

#include <stdlib.h>

#include "faulty_store.h"
#include "fixture.h"

/* As fixture_setup: for fixture_close and free. */
static inline struct fixture *faulty_fixture_new(void)
{
    struct fixture *f = malloc(sizeof *f);
    struct store *store;
    struct ls_error error;
    struct store_options options = {.create = true};
    assert_non_null(f);
    assert_code(store_open(&store, "mem:", &options, &error), 0, &error);
    assert_int_equal(faulty_store_wrap(&store, store), 0);
    fixture_open(f, store);
    return f;
}

#endif
