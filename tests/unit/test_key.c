/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of the store: their bytes, their order, and what is refused. */
#include "codec/key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

static const uint8_t some_id[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255};

static void expect_bytes(const struct key *key, const char *bytes, size_t size)
{
    assert_int_equal(key->size, size);
    assert_memory_equal(key->data, bytes, size);
}

static void a_key_begins_with_category_version_and_type(void **state)
{
    (void)state;
    struct key key;
    assert_int_equal(key_node(&key, bytes_of_text("a.example"), NULL), 0);
    expect_bytes(&key,
                 "N\x11"
                 "a.example",
                 11);
    assert_int_equal(key_object(&key, bytes_of("\0\xFF", 2), NULL), 0);
    expect_bytes(&key, "O\x11\0\xFF", 4);
    assert_int_equal(key_control(&key, bytes_of_text("clock")), 0);
    expect_bytes(&key,
                 "C\x11"
                 "clock",
                 7);
    key_message(&key, UINT64_C(0x0102030405060708), 'U');
    expect_bytes(&key, "M\x11\1\2\3\4\5\6\7\10U", 11);
    key_message_from(&key, 256);
    expect_bytes(&key, "M\x11\0\0\0\0\0\0\1\0", 10);
    key_producer(&key, some_id);
    expect_bytes(&key, "P\x11\0\1\2\3\4\5\6\7\10\11\12\13\14\15\16\xFF", 18);
    assert_int_equal(key_version(&key, bytes_of("a\0b", 3), 7, NULL), 0);
    expect_bytes(&key,
                 "V\x11"
                 "a\0\xFF"
                 "b\0\0\0\0\0\0\0\0\0\7",
                 16);
    key_first(&key, KEY_PRODUCER);
    expect_bytes(&key, "P\x11", 2);
}

static void what_is_encoded_decodes_to_the_same_parts(void **state)
{
    (void)state;
    struct key key;
    struct key_parts parts;

    assert_int_equal(key_node(&key, bytes_of_text("h\xC3\xA9"), NULL), 0);
    assert_int_equal(key_decode(&parts, key_bytes(&key), NULL), 0);
    assert_int_equal(parts.category, KEY_NODE);
    assert_true(bytes_equal(parts.name, bytes_of_text("h\xC3\xA9")));

    key_message(&key, UINT64_MAX - 1, 'O');
    assert_int_equal(key_decode(&parts, key_bytes(&key), NULL), 0);
    assert_int_equal(parts.category, KEY_MESSAGE);
    assert_int_equal(parts.clock, UINT64_MAX - 1);
    assert_int_equal(parts.type, 'O');

    key_producer(&key, some_id);
    assert_int_equal(key_decode(&parts, key_bytes(&key), NULL), 0);
    assert_int_equal(parts.category, KEY_PRODUCER);
    assert_memory_equal(parts.id, some_id, 16);

    assert_int_equal(key_version(&key, bytes_of("\0a\0\0\xFF\0", 6), 99, NULL), 0);
    assert_int_equal(key_decode(&parts, key_bytes(&key), NULL), 0);
    assert_int_equal(parts.category, KEY_VERSION);
    assert_int_equal(parts.clock, 99);
    assert_true(bytes_equal(parts.name, bytes_of("\0a\0\0\xFF\0", 6)));

    assert_int_equal(key_control(&key, bytes_of_text("format")), 0);
    assert_int_equal(key_decode(&parts, key_bytes(&key), NULL), 0);
    assert_int_equal(parts.category, KEY_CONTROL);
    assert_true(bytes_equal(parts.name, bytes_of_text("format")));

    assert_int_equal(key_object(&key, bytes_of_text("k"), NULL), 0);
    assert_int_equal(key_decode(&parts, key_bytes(&key), NULL), 0);
    assert_int_equal(parts.category, KEY_OBJECT);
    assert_true(bytes_equal(parts.name, bytes_of_text("k")));
}

static void messages_sort_by_clock(void **state)
{
    (void)state;
    static const uint64_t clocks[] = {0, 1, 255, 256, 65535, 65536, UINT64_MAX - 1, UINT64_MAX};
    for (size_t i = 0; i + 1 < sizeof clocks / sizeof clocks[0]; i++) {
        struct key less;
        struct key more;
        key_message(&less, clocks[i], 'U');
        key_message(&more, clocks[i + 1], 'C');
        assert_true(bytes_compare(key_bytes(&less), key_bytes(&more)) < 0);
        key_message_from(&more, clocks[i + 1]);
        assert_true(bytes_compare(key_bytes(&less), key_bytes(&more)) < 0);
        key_message_from(&more, clocks[i]);
        assert_true(bytes_compare(key_bytes(&less), key_bytes(&more)) > 0);
    }
}

static void versions_sort_by_name_and_then_by_timestamp(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t size;
        uint64_t timestamp;
    } order[] = {
        {"\0", 1, UINT64_MAX}, {"\0\0", 2, 0}, {"\0\1", 2, 0},       {"\1", 1, 0},
        {"a", 1, 0},           {"a", 1, 1},    {"a", 1, UINT64_MAX}, {"a\0", 2, 0},
        {"a\0\xFF", 3, 0},     {"a\1", 2, 0},  {"ab", 2, 0},         {"\xFF", 1, 0},
    };
    for (size_t i = 0; i + 1 < sizeof order / sizeof order[0]; i++) {
        struct key less;
        struct key more;
        assert_int_equal(
            key_version(&less, bytes_of(order[i].name, order[i].size), order[i].timestamp, NULL),
            0);
        assert_int_equal(key_version(&more, bytes_of(order[i + 1].name, order[i + 1].size),
                                     order[i + 1].timestamp, NULL),
                         0);
        assert_true(bytes_compare(key_bytes(&less), key_bytes(&more)) < 0);
    }
}

static void sizes_are_held_to_their_limits(void **state)
{
    (void)state;
    struct ls_error error;
    struct key key;
    char name[KEY_SIZE_MAX + 1];
    memset(name, 'x', sizeof name);

    assert_int_equal(key_node(&key, bytes_of(name, 255), &error), 0);
    assert_int_equal(key_node(&key, bytes_of(name, 256), &error), LS_ETOOBIG);
    assert_int_equal(error.number, 255);
    assert_int_equal(key_node(&key, bytes_of(name, 0), &error), LS_EKEY);
    assert_int_equal(key_object(&key, bytes_of(name, 480), &error), 0);
    assert_int_equal(key_object(&key, bytes_of(name, 481), &error), LS_ETOOBIG);
    assert_int_equal(error.number, 480);
    assert_int_equal(key_object(&key, bytes_of(name, 0), &error), LS_EKEY);
    assert_int_equal(key_version(&key, bytes_of(name, 480), 1, &error), 0);
    assert_int_equal(key.size, 2 + 480 + 2 + 8);
    assert_int_equal(key_version(&key, bytes_of(name, 481), 1, &error), LS_ETOOBIG);
    assert_int_equal(key_version(&key, bytes_of(name, 0), 1, &error), LS_EKEY);
    memset(name, 0, 20);
    assert_int_equal(key_version(&key, bytes_of(name, 480), 1, &error), LS_ETOOBIG);
    assert_int_equal(key_version(&key, bytes_of(name, 479), 1, &error), 0);
    assert_int_equal(key.size, KEY_SIZE_MAX);
    assert_int_equal(key_control(&key, bytes_of_text("")), LS_EKEY);
    assert_int_equal(key_control(&key, bytes_of_text("a b")), LS_EKEY);
    assert_int_equal(key_control(&key, bytes_of("index/a b\0\xff", 11)), 0);
}

static void a_host_is_text_without_control_characters(void **state)
{
    (void)state;
    static const char *const bad[] = {"a\nb",  "\x7F", "\x1F",         "a\xC2\x80", "\xC2\x9F",
                                      "a\xFF", "\xC3", "\xED\xA0\x80", "\t"};
    struct ls_error error;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(key_check_host(bytes_of_text(bad[i]), &error), LS_EKEY);
        assert_int_equal(error.code, LS_EKEY);
    }
    assert_int_equal(key_check_host(bytes_of("a\0b", 3), &error), LS_EKEY);
    assert_int_equal(key_check_host(bytes_of_text("node 1.example:7"), &error), 0);
    assert_int_equal(key_check_host(bytes_of_text("\xC2\xA0\xF0\x9F\x98\x80"), &error), 0);
}

static void expect_refused(const char *bytes, size_t size, const char *word)
{
    struct ls_error error = {0};
    struct key_parts parts;
    assert_int_equal(key_decode(&parts, bytes_of(bytes, size), &error), LS_EKEY);
    assert_int_equal(error.code, LS_EKEY);
    if (strstr(error.text, word) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", error.text, word);
    }
}

static void what_is_not_known_is_refused_by_its_name(void **state)
{
    (void)state;
    expect_refused("", 0, "header");
    expect_refused("N", 1, "header");
    expect_refused("X\x11"
                   "a",
                   3, "category 0x58");
    expect_refused("\0\x11"
                   "a",
                   3, "category 0x00");
    expect_refused("n\x11"
                   "a",
                   3, "category");
    expect_refused("N\x21"
                   "a",
                   3, "version 2");
    expect_refused("N\x01"
                   "a",
                   3, "version 0");
    expect_refused("N\x12"
                   "a",
                   3, "value type 2");
    expect_refused("N\x10"
                   "a",
                   3, "value type 0");
    expect_refused("M\x11\0\0\0\0\0\0\0\1X", 11, "message type");
}

static void a_key_of_the_wrong_size_is_refused(void **state)
{
    (void)state;
    char long_key[KEY_SIZE_MAX + 1] = "O\x11";
    memset(long_key + 2, 'x', sizeof long_key - 2);
    expect_refused(long_key, sizeof long_key, "511");
    expect_refused(long_key, 2 + 481, "480");
    expect_refused("O\x11", 2, "empty");
    expect_refused("N\x11", 2, "empty");
    expect_refused("C\x11", 2, "1 to");
    expect_refused("C\x11"
                   "a\0",
                   4, "printable");
    expect_refused("M\x11\0\0\0\0\0\0\0\1", 10, "11 bytes");
    expect_refused("M\x11\0\0\0\0\0\0\0\1UU", 12, "11 bytes");
    expect_refused("P\x11\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 17, "18 bytes");
    expect_refused("N\x11"
                   "a\nb",
                   5, "control character");
    expect_refused("V\x11", 2, "ends before");
    expect_refused("V\x11"
                   "a\0\0\0\0\0\0\0\0\0",
                   12, "ends before");
    expect_refused("V\x11"
                   "a\0\0\0\0\0\0\0\0\0\1\1",
                   14, "timestamp");
    expect_refused("V\x11\0\0\0\0\0\0\0\0\0\1", 12, "empty");
    expect_refused("V\x11"
                   "a\0\1\0\0\0\0\0\0\0\0\0\1",
                   15, "escape");
}

static void the_end_of_a_prefix_is_above_all_that_it_begins(void **state)
{
    (void)state;
    struct key key;
    assert_int_equal(key_object(&key, bytes_of_text("ab"), NULL), 0);
    assert_true(key_after_prefix(&key));
    expect_bytes(&key,
                 "O\x11"
                 "ac",
                 4);
    assert_int_equal(key_object(&key, bytes_of_text("a\xFF\xFF"), NULL), 0);
    assert_true(key_after_prefix(&key));
    expect_bytes(&key,
                 "O\x11"
                 "b",
                 3);
    assert_int_equal(key_object(&key, bytes_of_text("\xFF"), NULL), 0);
    assert_true(key_after_prefix(&key));
    expect_bytes(&key, "O\x12", 2);
    memset(key.data, 0xFF, 3);
    key.size = 3;
    assert_false(key_after_prefix(&key));
}

static void a_walk_goes_up_from_where_it_begins(void **state)
{
    (void)state;
    static const struct {
        const char *keys[3];
        bool good; /* the last of them */
    } walks[] = {
        {{"N\x11"
          "b"},
         true},
        {{"N\x11"
          "a"},
         false},
        {{"N\x11"
          "b",
          "N\x11"
          "b"},
         false},
        {{"N\x11"
          "b",
          "N\x11"
          "ba"},
         true},
        {{"N\x11"
          "c",
          "N\x11"
          "b"},
         false},
        {{"N\x11"
          "bb",
          "N\x11"
          "c",
          "N\x11"
          "bb"},
         false},
    };
    uint8_t large[KEY_SIZE_MAX + 1] = {'Z'};
    struct key from;
    struct key_walk walk;
    assert_int_equal(key_node(&from, bytes_of_text("b"), NULL), 0);
    for (size_t i = 0; i < sizeof(walks) / sizeof(*walks); i++) {
        bool good = true;
        key_walk_begin(&walk, &from);
        for (size_t k = 0; k < 3 && walks[i].keys[k] != NULL; k++) {
            assert_true(good);
            good = key_walk_step(&walk, bytes_of_text(walks[i].keys[k]));
        }
        assert_int_equal(good, walks[i].good);
    }
    key_walk_begin(&walk, &from);
    assert_false(key_walk_step(&walk, bytes_of(large, sizeof(large))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_begins_with_category_version_and_type),
        cmocka_unit_test(what_is_encoded_decodes_to_the_same_parts),
        cmocka_unit_test(messages_sort_by_clock),
        cmocka_unit_test(versions_sort_by_name_and_then_by_timestamp),
        cmocka_unit_test(sizes_are_held_to_their_limits),
        cmocka_unit_test(a_host_is_text_without_control_characters),
        cmocka_unit_test(what_is_not_known_is_refused_by_its_name),
        cmocka_unit_test(a_key_of_the_wrong_size_is_refused),
        cmocka_unit_test(a_walk_goes_up_from_where_it_begins),
        cmocka_unit_test(the_end_of_a_prefix_is_above_all_that_it_begins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
