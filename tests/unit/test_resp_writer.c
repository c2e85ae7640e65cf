/* SPDX-License-Identifier: Apache-2.0 */
/* The reply writer: the bytes of every value in both versions of the protocol. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <math.h>

#include "base/buf.h"
#include "base/error.h"
#include "faults.h"
#include "resp/writer.h"

/* What `call` appends to a buf that already holds something. */
#define EXPECT(call, expected)                                 \
    do {                                                       \
        struct buf out = {0};                                  \
        assert_int_equal(buf_append_byte(&out, '@'), 0);       \
        assert_int_equal(call, 0);                             \
        assert_int_equal(buf_append_byte(&out, 0), 0);         \
        assert_string_equal((char *)out.data, "@" expected);   \
        assert_int_equal(out.size, sizeof("@" expected));      \
        assert_memory_equal(out.data, "@" expected, out.size); \
        buf_free(&out);                                        \
    } while (0)

static void a_simple_string_is_its_text(void **state)
{
    (void)state;
    EXPECT(resp_simple(&out, "OK"), "+OK\r\n");
    EXPECT(resp_simple(&out, ""), "+\r\n");
}

static void an_error_begins_with_the_word_of_its_code(void **state)
{
    (void)state;
    struct ls_error error;

    error_set(&error, LS_EINVAL, 0, "expected a clock");
    EXPECT(resp_error(&out, &error), "-ERR expected a clock\r\n");
    error_set(&error, LS_ECOMPACTED, 7, "oldest=%d", 7);
    EXPECT(resp_error(&out, &error), "-COMPACTED oldest=7\r\n");
    error_set(&error, LS_EPROTO, 0, "Protocol error: x");
    EXPECT(resp_error(&out, &error), "-ERR Protocol error: x\r\n");
}

static void a_line_break_in_an_error_does_not_end_it(void **state)
{
    (void)state;
    struct ls_error error;

    error_set(&error, LS_EINVAL, 0, "a\r\n+OK\nb");
    EXPECT(resp_error(&out, &error), "-ERR a  +OK b\r\n");
}

static void integers_have_every_digit(void **state)
{
    (void)state;
    EXPECT(resp_integer(&out, 0), ":0\r\n");
    EXPECT(resp_integer(&out, 9), ":9\r\n");
    EXPECT(resp_integer(&out, 10), ":10\r\n");
    EXPECT(resp_integer(&out, 99), ":99\r\n");
    EXPECT(resp_integer(&out, 100), ":100\r\n");
    EXPECT(resp_integer(&out, 1005), ":1005\r\n");
    EXPECT(resp_integer(&out, -1), ":-1\r\n");
    EXPECT(resp_integer(&out, -1234567), ":-1234567\r\n");
    EXPECT(resp_integer(&out, INT64_MAX), ":9223372036854775807\r\n");
    EXPECT(resp_integer(&out, INT64_MIN), ":-9223372036854775808\r\n");
}

static void integers_agree_with_printf(void **state)
{
    (void)state;
    uint64_t random = 1;

    for (int round = 0; round < 20000; round++) {
        char expected[32];
        struct buf out = {0};
        random = random * 6364136223846793005u + 1442695040888963407u;
        int64_t value = (int64_t)random >> (round % 64);
        int size = snprintf(expected, sizeof expected, ":%lld\r\n", (long long)value);

        assert_int_equal(resp_integer(&out, value), 0);
        assert_int_equal(out.size, size);
        assert_memory_equal(out.data, expected, out.size);
        buf_free(&out);
    }
}

static void a_clock_beyond_the_signed_numbers_is_still_exact(void **state)
{
    (void)state;
    EXPECT(resp_clock(&out, 2, 42), ":42\r\n");
    EXPECT(resp_clock(&out, 3, INT64_MAX), ":9223372036854775807\r\n");
    EXPECT(resp_clock(&out, 2, (uint64_t)INT64_MAX + 1), "$19\r\n9223372036854775808\r\n");
    EXPECT(resp_clock(&out, 3, UINT64_MAX), "(18446744073709551615\r\n");
    EXPECT(resp_clock(&out, 2, UINT64_MAX), "$20\r\n18446744073709551615\r\n");
}

static void a_bulk_string_holds_any_bytes(void **state)
{
    (void)state;
    EXPECT(resp_bulk(&out, bytes_of("a\0\r\n", 4)), "$4\r\na\0\r\n\r\n");
    EXPECT(resp_bulk(&out, (ls_bytes){NULL, 0}), "$0\r\n\r\n");
    EXPECT(resp_bulk_text(&out, "hello world"), "$11\r\nhello world\r\n");
}

static void what_resp2_does_not_have_is_said_with_what_it_has(void **state)
{
    (void)state;
    EXPECT(resp_null(&out, 2), "$-1\r\n");
    EXPECT(resp_null(&out, 3), "_\r\n");
    EXPECT(resp_map(&out, 2, 3), "*6\r\n");
    EXPECT(resp_map(&out, 3, 3), "%3\r\n");
    EXPECT(resp_push(&out, 2, 2), "*2\r\n");
    EXPECT(resp_push(&out, 3, 2), ">2\r\n");
    EXPECT(resp_boolean(&out, 2, true), ":1\r\n");
    EXPECT(resp_boolean(&out, 2, false), ":0\r\n");
    EXPECT(resp_boolean(&out, 3, true), "#t\r\n");
    EXPECT(resp_boolean(&out, 3, false), "#f\r\n");
    EXPECT(resp_verbatim(&out, 2, bytes_of_text("hi")), "$2\r\nhi\r\n");
    EXPECT(resp_verbatim(&out, 3, bytes_of_text("hi")), "=6\r\ntxt:hi\r\n");
    EXPECT(resp_verbatim(&out, 3, (ls_bytes){NULL, 0}), "=4\r\ntxt:\r\n");
    EXPECT(resp_array(&out, 0), "*0\r\n");
    EXPECT(resp_array(&out, 123456), "*123456\r\n");
}

static void a_double_has_the_digits_it_takes_to_read_back(void **state)
{
    (void)state;
    EXPECT(resp_double(&out, 3, 0.1), ",0.1\r\n");
    EXPECT(resp_double(&out, 3, 1.0 / 3.0), ",0.3333333333333333\r\n");
    EXPECT(resp_double(&out, 3, 5e-324), ",4.94065645841247e-324\r\n");
    EXPECT(resp_double(&out, 3, -0.0), ",-0\r\n");
    EXPECT(resp_double(&out, 2, 2.5), "$3\r\n2.5\r\n");
    EXPECT(resp_double(&out, 3, (double)INFINITY), ",inf\r\n");
    EXPECT(resp_double(&out, 3, -(double)INFINITY), ",-inf\r\n");
    EXPECT(resp_double(&out, 3, (double)NAN), ",nan\r\n");
    EXPECT(resp_double(&out, 3, -(double)NAN), ",nan\r\n");
}

static void a_request_is_an_array_of_bulk_strings(void **state)
{
    (void)state;
    const ls_bytes argv[] = {bytes_of_text("SET"), bytes_of_text("k"), {NULL, 0}};
    EXPECT(resp_request(&out, 3, argv), "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n");
    EXPECT(resp_request(&out, 0, NULL), "*0\r\n");
}

static int write_one(struct buf *out, int which, int proto)
{
    const ls_bytes argv[] = {bytes_of_text("ECHO"), bytes_of_text("x")};
    struct ls_error error;

    switch (which) {
    case 0:
        return resp_simple(out, "OK");
    case 1:
        error_set(&error, LS_EINVAL, 0, "no");
        return resp_error(out, &error);
    case 2:
        return resp_integer(out, -5);
    case 3:
        return resp_clock(out, proto, UINT64_MAX);
    case 4:
        return resp_bulk_text(out, "text");
    case 5:
        return resp_null(out, proto);
    case 6:
        return resp_array(out, 0);
    case 7:
        return resp_map(out, proto, 0);
    case 8:
        return resp_push(out, proto, 0);
    case 9:
        return resp_double(out, proto, 1.5);
    case 10:
        return resp_boolean(out, proto, true);
    case 11:
        return resp_verbatim(out, proto, bytes_of_text("t"));
    default:
        return resp_request(out, 2, argv);
    }
}

static void a_value_there_is_no_memory_for_leaves_the_buffer_as_it_was(void **state)
{
    (void)state;
    for (int which = 0; which <= 12; which++) {
        for (int proto = 2; proto <= 3; proto++) {
            struct buf out = {0};
            faults_fail_allocation(1);
            assert_int_equal(write_one(&out, which, proto), LS_ENOMEM);
            assert_int_equal(out.size, 0);
            faults_fail_allocation(0);
            assert_int_equal(write_one(&out, which, proto), 0);
            assert_true(faults_allocations() <= 1);
            assert_true(out.size > 0);
            buf_free(&out);
        }
    }
}

static void a_size_beyond_memory_is_refused(void **state)
{
    (void)state;
    struct buf out = {0};
    ls_bytes huge = {"x", SIZE_MAX - 8};

    assert_int_equal(resp_bulk(&out, huge), LS_ENOMEM);
    assert_int_equal(resp_verbatim(&out, 3, huge), LS_ENOMEM);
    assert_int_equal(resp_request(&out, 1, &huge), LS_ENOMEM);
    assert_int_equal(out.size, 0);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_simple_string_is_its_text),
        cmocka_unit_test(an_error_begins_with_the_word_of_its_code),
        cmocka_unit_test(a_line_break_in_an_error_does_not_end_it),
        cmocka_unit_test(integers_have_every_digit),
        cmocka_unit_test(integers_agree_with_printf),
        cmocka_unit_test(a_clock_beyond_the_signed_numbers_is_still_exact),
        cmocka_unit_test(a_bulk_string_holds_any_bytes),
        cmocka_unit_test(what_resp2_does_not_have_is_said_with_what_it_has),
        cmocka_unit_test(a_double_has_the_digits_it_takes_to_read_back),
        cmocka_unit_test(a_request_is_an_array_of_bulk_strings),
        cmocka_unit_test(a_value_there_is_no_memory_for_leaves_the_buffer_as_it_was),
        cmocka_unit_test(a_size_beyond_memory_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
