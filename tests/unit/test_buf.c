/* SPDX-License-Identifier: Apache-2.0 */
/* The growable buffer: what it keeps, what it drops, and what a failed growth leaves behind. */
#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "faults.h"

static void what_is_appended_is_kept_in_order(void **state)
{
    (void)state;
    struct buf buf = {0};
    assert_int_equal(buf_append(&buf, "abc", 3), 0);
    assert_int_equal(buf_append_byte(&buf, '-'), 0);
    assert_int_equal(buf_append_text(&buf, "def"), 0);
    assert_int_equal(buf_printf(&buf, " %d %s", 42, "x"), 0);
    assert_int_equal(buf_append(&buf, NULL, 0), 0);
    assert_int_equal(buf.size, 12);
    assert_memory_equal(buf.data, "abc-def 42 x", 12);
    buf_free(&buf);
    assert_null(buf.data);
    assert_int_equal(buf.size, 0);
    assert_int_equal(buf.capacity, 0);
}

static void growth_keeps_the_content(void **state)
{
    (void)state;
    struct buf buf = {0};
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(buf_append_byte(&buf, (uint8_t)i), 0);
    }
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(buf.data[i], (uint8_t)i);
    }
    buf_free(&buf);
}

static void a_long_sentence_is_printed_whole(void **state)
{
    (void)state;
    struct buf buf = {0};
    assert_int_equal(buf_printf(&buf, "%0*d", 255, 7), 0);
    assert_int_equal(buf_printf(&buf, "%0*d", 256, 8), 0);
    assert_int_equal(buf_printf(&buf, "%0*d", 5000, 9), 0);
    assert_int_equal(buf.size, 255 + 256 + 5000);
    assert_int_equal(buf.data[254], '7');
    assert_int_equal(buf.data[255 + 255], '8');
    assert_int_equal(buf.data[255 + 256 + 4999], '9');
    buf_free(&buf);
}

static void dropping_moves_the_rest_to_the_front(void **state)
{
    (void)state;
    struct buf buf = {0};
    assert_int_equal(buf_append_text(&buf, "abcdef"), 0);
    buf_drop(&buf, 2);
    assert_int_equal(buf.size, 4);
    assert_memory_equal(buf.data, "cdef", 4);
    buf_drop(&buf, 0);
    assert_int_equal(buf.size, 4);
    buf_drop(&buf, 100);
    assert_int_equal(buf.size, 0);
    buf_free(&buf);
}

static void a_failed_growth_leaves_the_content_untouched(void **state)
{
    (void)state;
    struct buf buf = {0};
    assert_int_equal(buf_append_text(&buf, "abc"), 0);
    uint8_t big[1000] = {0};

    faults_fail_allocation(1);
    assert_int_equal(buf_append(&buf, big, sizeof big), LS_ENOMEM);
    faults_fail_allocation(1);
    assert_int_equal(buf_printf(&buf, "%1000d", 1), LS_ENOMEM);
    faults_fail_allocation(0);
    assert_int_equal(buf_reserve(&buf, SIZE_MAX), LS_ENOMEM);
    assert_int_equal(buf_reserve(&buf, SIZE_MAX / 2), LS_ENOMEM);

    assert_int_equal(buf.size, 3);
    assert_memory_equal(buf.data, "abc", 3);
    buf_free(&buf);
}

static void room_reserved_is_not_asked_for_again(void **state)
{
    (void)state;
    struct buf buf = {0};
    assert_int_equal(buf_reserve(&buf, 5000), 0);
    faults_fail_allocation(1);
    for (int i = 0; i < 5000; i++) {
        assert_int_equal(buf_append_byte(&buf, 1), 0);
    }
    assert_int_equal(faults_allocations(), 0);
    faults_fail_allocation(0);
    buf_free(&buf);
}

static void bytes_compare_in_byte_order_a_prefix_first(void **state)
{
    (void)state;
    static const struct {
        const char *less;
        const char *more;
    } pairs[] = {{"", "a"}, {"a", "b"}, {"a", "aa"}, {"ab", "b"}, {"a", "\xFF"}, {"\x7F", "\x80"}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        ls_bytes less = bytes_of_text(pairs[i].less);
        ls_bytes more = bytes_of_text(pairs[i].more);
        assert_true(bytes_compare(less, more) < 0);
        assert_true(bytes_compare(more, less) > 0);
        assert_int_equal(bytes_compare(less, less), 0);
        assert_true(bytes_equal(more, more));
        assert_false(bytes_equal(less, more));
    }
    assert_int_equal(bytes_compare(bytes_of(NULL, 0), bytes_of(NULL, 0)), 0);
    assert_true(bytes_begin_with(bytes_of_text("abc"), bytes_of_text("ab")));
    assert_true(bytes_begin_with(bytes_of_text("abc"), bytes_of(NULL, 0)));
    assert_false(bytes_begin_with(bytes_of_text("ab"), bytes_of_text("abc")));
}

static void a_word_is_known_by_its_letters_in_either_case(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *word;
        bool same;
    } cases[] = {{"", "", true},
                 {"", "A", false},
                 {"TEXT", "TEXT", true},
                 {"text", "TEXT", true},
                 {"TeXt", "text", true},
                 {"TEXTS", "TEXT", false},
                 {"TEX", "TEXT", false},
                 {"TEXU", "TEXT", false},
                 {"LIB-NAME", "lib-name", true},
                 {"a\x0d", "A-", false},
                 {"a-", "A\x0d", false},
                 {"A@", "a`", false},
                 {"[", "{", false},
                 {"\xC4", "\xE4", false},
                 {"\xE4", "\xE4", true},
                 {"SHARD.ACQUIRE", "shard.acquire", true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(bytes_are_word(bytes_of_text(cases[i].text), cases[i].word),
                         cases[i].same);
    }
    assert_false(bytes_are_word(bytes_of("GET\0", 4), "GET"));
    for (int byte = 0; byte <= UINT8_MAX; byte++) {
        uint8_t at = (uint8_t)byte;
        assert_int_equal(bytes_are_word(bytes_of(&at, 1), "z"), at == 'z' || at == 'Z');
        assert_int_equal(bytes_are_word(bytes_of(&at, 1), "-"), at == '-');
    }
}

static void integers_are_big_endian_in_memory(void **state)
{
    (void)state;
    uint8_t bytes[8];
    put_be64(bytes, UINT64_C(0x0102030405060708));
    assert_memory_equal(bytes, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
    assert_true(get_be64(bytes) == UINT64_C(0x0102030405060708));
    put_be64(bytes, UINT64_MAX);
    assert_true(get_be64(bytes) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_appended_is_kept_in_order),
        cmocka_unit_test(growth_keeps_the_content),
        cmocka_unit_test(a_long_sentence_is_printed_whole),
        cmocka_unit_test(dropping_moves_the_rest_to_the_front),
        cmocka_unit_test(a_failed_growth_leaves_the_content_untouched),
        cmocka_unit_test(room_reserved_is_not_asked_for_again),
        cmocka_unit_test(bytes_compare_in_byte_order_a_prefix_first),
        cmocka_unit_test(a_word_is_known_by_its_letters_in_either_case),
        cmocka_unit_test(integers_are_big_endian_in_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
