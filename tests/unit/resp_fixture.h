/* What the tests of both RESP parsers share: bytes come in pieces, and no cut of them matters. */
#ifndef LS_TESTS_RESP_FIXTURE_H
#define LS_TESTS_RESP_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

/* Feeds `input` in pieces of `piece` bytes after a first one of `first`, each time in a block of
 * memory of its own that is exactly as large, and prints what comes of it, ending in a NUL. A test
 * has one. */
static void run_cut(const void *input, size_t size, size_t first, size_t piece, struct buf *out);

/* What comes of `input`, fed whole, a byte at a time, and cut in two at every byte. */
static void expect_of(const void *input, size_t size, const char *expected)
{
    for (size_t first = 0; first <= size; first++) {
        struct buf out = {0};
        run_cut(input, size, first, first == 0 ? 1 : size, &out);
        if (strcmp((char *)out.data, expected) != 0) {
            print_error("cut at %zu of: %.*s\n", first, (int)size, (const char *)input);
        }
        assert_string_equal((char *)out.data, expected);
        buf_free(&out);
    }
}

#define EXPECT(input, expected) expect_of("" input, sizeof(input) - 1, expected)

/* That the same comes of it whole and in pieces, whatever that is. */
static void expect_no_cut_matters(const void *input, size_t size, size_t piece)
{
    struct buf whole = {0};
    struct buf cut = {0};
    run_cut(input, size, size, size, &whole);
    run_cut(input, size, 0, piece, &cut);
    if (!bytes_equal(buf_bytes(&whole), buf_bytes(&cut))) {
        print_error("%zu bytes, %zu at a time: %s / %s\n", size, piece, (char *)whole.data,
                    (char *)cut.data);
    }
    assert_int_equal(whole.size, cut.size);
    assert_memory_equal(whole.data, cut.data, whole.size);
    buf_free(&whole);
    buf_free(&cut);
}

#endif
