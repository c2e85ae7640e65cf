/* What a fuzzer says when a property does not hold. */
#ifndef LS_TESTS_FUZZ_CHECK_H
#define LS_TESTS_FUZZ_CHECK_H

#include <stdlib.h>

#define CHECK(condition)    \
    do {                    \
        if (!(condition)) { \
            abort();        \
        }                   \
    } while (0)

#endif
