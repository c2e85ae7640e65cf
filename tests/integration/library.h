/*
 * The suite of the library: one list of tests, run over lmdb:, mem: and lockstep://, so that all
 * kinds of stores are held to the same behaviour. What the files of the suite share.
 *
 *     test_library KIND [LOCKSTEPD]      KIND is lmdb, mem or lockstep
 *
 * Every test begins on a fresh store with one open handle, and ends with it closed.
 */
#ifndef LS_TESTS_LIBRARY_H
#define LS_TESTS_LIBRARY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lockstep.h"

/* Long enough for any machine; nothing that passes waits for it. */
#define PATIENCE_MS 30000

struct fixture {
    char url[256];
    ls *handle;
    unsigned port; /* of the server */
};

/* The kind under test. */
bool kind_is(const char *kind);

/* Another handle on the same store. On mem: there is none: skip() first. */
ls *open_again(const struct fixture *fixture, const ls_options *options);

/* lockstep: only. On the same store and port. */
void kill_and_restart_server(const struct fixture *fixture);

/* Compare a result with the code expected, and print the last error where it differs. */
#define assert_code(expected, call) assert_code_at((expected), (call), #call, __FILE__, __LINE__)
#define assert_ok(call)             assert_code(0, call)
void assert_code_at(int expected, int result, const char *call, const char *file, int line);

/* As assert_code, and the number that belongs to the failure. */
#define assert_refused(expected, expected_number, call)             \
    do {                                                            \
        assert_code(expected, call);                                \
        assert_int_equal(expected_number, ls_last_error()->number); \
    } while (0)

ls_bytes bytes(const char *text);
void assert_bytes(const char *expected, ls_bytes actual);

/* Posts a user message of text and gives its clock. */
uint64_t post_text(ls *handle, const char *text);

/* How many messages there are from `from` on, checking that they are in order. */
size_t count_messages(ls *handle, uint64_t from, const ls_filter *filter);

extern const struct CMUnitTest library_basic_tests[];
extern const size_t library_basic_count;
extern const struct CMUnitTest library_box_tests[];
extern const size_t library_box_count;
extern const struct CMUnitTest library_node_tests[];
extern const size_t library_node_count;
extern const struct CMUnitTest library_object_tests[];
extern const size_t library_object_count;
extern const struct CMUnitTest library_txn_tests[];
extern const size_t library_txn_count;
extern const struct CMUnitTest library_sharing_tests[];
extern const size_t library_sharing_count;

int fixture_open(void **state);
int fixture_close(void **state);

#define library_test(test) cmocka_unit_test_setup_teardown(test, fixture_open, fixture_close)

#endif
