/* SPDX-License-Identifier: Apache-2.0 */
/* Control records and the keys of the indexes of owned objects and of live nodes. */
#include "coordinator/layout.h"
#include "fixture.h"

static ls_bytes name_of(const struct key *key)
{
    return bytes_of(key->data + KEY_HEADER_SIZE, (size_t)(key->size - KEY_HEADER_SIZE));
}

static void each_control_name_has_its_fields(void **state)
{
    (void)state;
    assert_ptr_equal(control_fields(bytes_of_text("format")), control_format_fields);
    assert_ptr_equal(control_fields(bytes_of_text("epoch")), control_epoch_fields);
    assert_ptr_equal(control_fields(bytes_of_text("clock")), control_clock_fields);
    assert_ptr_equal(control_fields(bytes_of_text("box")), control_box_fields);
    assert_ptr_equal(control_fields(bytes_of_text("discarded")), control_discarded_fields);
    assert_null(control_fields(bytes_of_text("boxes")));
    assert_null(control_fields(bytes_of_text("bo")));
    assert_null(control_fields(bytes_of_text("")));
}

static void an_index_key_gives_host_and_clock_again(void **state)
{
    (void)state;
    static const char *const hosts[] = {"a", "owned/", "caf\xc3\xa9", "with space"};
    static const uint64_t clocks[] = {0, 1, 0x0100000000000000, UINT64_MAX};
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        for (size_t j = 0; j < sizeof clocks / sizeof *clocks; j++) {
            struct key key;
            ls_bytes host;
            uint64_t created;
            owned_key(&key, bytes_of_text(hosts[i]), clocks[j]);
            assert_true(owned_name(name_of(&key), &host, &created));
            assert_true(bytes_equal(host, bytes_of_text(hosts[i])));
            assert_int_equal(created, clocks[j]);
        }
    }
}

static void the_longest_host_fits_in_an_index_key(void **state)
{
    (void)state;
    char longest[KEY_HOST_SIZE_MAX];
    struct key key;
    ls_bytes host;
    uint64_t created;
    memset(longest, 'h', sizeof longest);
    owned_key(&key, bytes_of(longest, sizeof longest), 5);
    assert_true(key.size <= KEY_SIZE_MAX);
    assert_true(owned_name(name_of(&key), &host, &created));
    assert_int_equal(host.size, sizeof longest);
}

static void the_prefix_of_a_host_begins_no_key_of_another(void **state)
{
    (void)state;
    struct key prefix, own, longer;
    owned_prefix(&prefix, bytes_of_text("a"));
    owned_key(&own, bytes_of_text("a"), 7);
    owned_key(&longer, bytes_of_text("ab"), 7);
    assert_true(bytes_begin_with(key_bytes(&own), key_bytes(&prefix)));
    assert_false(bytes_begin_with(key_bytes(&longer), key_bytes(&prefix)));
}

static void index_keys_of_a_host_sort_by_clock(void **state)
{
    (void)state;
    struct key earlier, later;
    owned_key(&earlier, bytes_of_text("a"), 255);
    owned_key(&later, bytes_of_text("a"), 256);
    assert_true(bytes_compare(key_bytes(&earlier), key_bytes(&later)) < 0);
}

static void other_control_names_are_not_of_the_index(void **state)
{
    (void)state;
    ls_bytes host;
    uint64_t created;
    assert_false(owned_name(bytes_of_text("clock"), &host, &created));
    assert_false(owned_name(bytes_of_text("owned/"), &host, &created));
    assert_false(owned_name(bytes_of("owned/\0\0\0\0\0\0\0\0\0", 15), &host, &created));
    assert_false(owned_name(bytes_of("owned/a12345678!", 16), &host, &created));
    assert_true(owned_name(bytes_of("owned/a\0\0\0\0\0\0\0\0\1", 16), &host, &created));
    assert_int_equal(created, 1);
}

static void a_key_of_the_index_of_live_nodes_gives_the_host_again(void **state)
{
    (void)state;
    static const char *const hosts[] = {"a", "live/", "caf\xc3\xa9", "with space"};
    char longest[KEY_HOST_SIZE_MAX];
    struct key key, prefix;
    ls_bytes host;
    live_prefix(&prefix);
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        live_key(&key, bytes_of_text(hosts[i]));
        assert_true(bytes_begin_with(key_bytes(&key), key_bytes(&prefix)));
        assert_true(live_name(name_of(&key), &host));
        assert_true(bytes_equal(host, bytes_of_text(hosts[i])));
    }
    memset(longest, 'h', sizeof longest);
    live_key(&key, bytes_of(longest, sizeof longest));
    assert_true(live_name(name_of(&key), &host));
    assert_int_equal(host.size, sizeof longest);
    assert_false(live_name(bytes_of_text("live/"), &host));
    assert_false(live_name(bytes_of_text("lives/a"), &host));
    assert_false(live_name(bytes_of_text("li"), &host));
}

static void the_version_log_stands_behind_all_other_control_records(void **state)
{
    (void)state;
    struct key log, live;
    logged_key(&log, 0);
    live_key(&live, bytes_of_text("\xf4\x8f\xbf\xbf"));
    assert_true(bytes_compare(key_bytes(&live), key_bytes(&log)) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_control_name_has_its_fields),
        cmocka_unit_test(an_index_key_gives_host_and_clock_again),
        cmocka_unit_test(the_longest_host_fits_in_an_index_key),
        cmocka_unit_test(the_prefix_of_a_host_begins_no_key_of_another),
        cmocka_unit_test(index_keys_of_a_host_sort_by_clock),
        cmocka_unit_test(other_control_names_are_not_of_the_index),
        cmocka_unit_test(a_key_of_the_index_of_live_nodes_gives_the_host_again),
        cmocka_unit_test(the_version_log_stands_behind_all_other_control_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
