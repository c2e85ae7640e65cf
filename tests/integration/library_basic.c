/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, options, errors, payloads and clocks. */
#include <pthread.h>
#include <stdlib.h>

#include "library.h"

static void a_url_that_names_nothing_is_refused(void **state)
{
    (void)state;
    ls *handle = NULL;
    assert_code(LS_EINVAL, ls_open(&handle, NULL, NULL));
    assert_code(LS_EINVAL, ls_open(&handle, "", NULL));
    assert_code(LS_EINVAL, ls_open(&handle, "nosuch:thing", NULL));
    assert_code(LS_EINVAL, ls_open(&handle, "lockstep://", NULL));
    assert_code(LS_EINVAL, ls_open(&handle, "lockstep://127.0.0.1:notaport", NULL));
    assert_code(LS_ECONN, ls_open(&handle, "lockstep://127.0.0.1:1", NULL));
    assert_null(handle);
    ls_close(NULL);
}

static void options_are_taken_by_their_size(void **state)
{
    (void)state;
    struct {
        ls_options options;
        uint64_t later;
    } newer = {.options = LS_OPTIONS_INIT};
    ls *handle = NULL;
    newer.options.size = sizeof newer;
    assert_ok(ls_open(&handle, "mem:", &newer.options));
    ls_close(handle);
    handle = NULL;
    newer.later = 1;
    assert_code(LS_EINVAL, ls_open(&handle, "mem:", &newer.options));
    newer.options.size = 0;
    assert_code(LS_EINVAL, ls_open(&handle, "mem:", &newer.options));
    newer.options.size = sizeof(size_t);
    newer.options.read_only = true; /* beyond the size: not looked at */
    assert_ok(ls_open(&handle, "mem:", &newer.options));
    assert_ok(ls_clock_next(handle, 1, &newer.later));
    ls_close(handle);
}

static void *fail_elsewhere(void *argument)
{
    ls *handle = NULL;
    (void)argument;
    assert_int_equal(0, ls_last_error()->code);
    assert_int_equal(LS_EINVAL, ls_open(&handle, NULL, NULL));
    assert_int_equal(LS_EINVAL, ls_last_error()->code);
    return NULL;
}

static void the_last_error_belongs_to_the_thread(void **state)
{
    struct fixture *fixture = *state;
    pthread_t thread;
    ls_objects *objects;
    assert_code(LS_ENOTFOUND, ls_get(fixture->handle, bytes("absent"), &objects));
    assert_int_equal(0, pthread_create(&thread, NULL, fail_elsewhere, NULL));
    pthread_join(thread, NULL);
    assert_int_equal(LS_ENOTFOUND, ls_last_error()->code);
    assert_string_equal("not found", ls_strerror(LS_ENOTFOUND));
    assert_string_equal("LS_ENOTFOUND", ls_errname(LS_ENOTFOUND));
    assert_string_equal(LS_VERSION, ls_version());
}

static void json_becomes_cbor_and_json_again(void **state)
{
    (void)state;
    void *cbor;
    size_t size;
    char *json;
    assert_ok(ls_cbor_from_json(bytes("{\"b\": [1, -2, true, null], \"a\": \"x\"}"), &cbor, &size));
    assert_ok(ls_cbor_to_json((ls_bytes){cbor, size}, &json));
    assert_string_equal("{\"a\":\"x\",\"b\":[1,-2,true,null]}", json);
    ls_free(json);
    ls_free(cbor);
    ls_free(NULL);
    assert_code(LS_EBADJSON, ls_cbor_from_json(bytes("{\"a\":"), &cbor, &size));
    assert_refused(LS_EBADCBOR, 1, ls_cbor_to_json(bytes("\x61"), &json));
}

static void every_clock_value_is_given_out_once(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    uint64_t clock, first, second;
    assert_ok(ls_clock_get(handle, &clock));
    assert_ok(ls_clock_next(handle, 10, &first));
    assert_true(first > clock);
    assert_ok(ls_clock_next(handle, 1, &second));
    assert_true(second >= first + 10);
    assert_true(post_text(handle, "x") > second);
    assert_ok(ls_clock_next(handle, 1 << 20, &first));
    assert_ok(ls_clock_get(handle, &clock));
    assert_true(clock >= first + (1 << 20) - 1);
    assert_code(LS_EINVAL, ls_clock_next(handle, 0, &first));
    assert_code(LS_EINVAL, ls_clock_next(handle, (1 << 20) + 1, &first));
}

static void a_witnessed_clock_moves_the_coordinators(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    uint64_t clock;
    assert_ok(ls_clock_witness(handle, 1000, &clock));
    assert_int_equal(1001, clock);
    assert_ok(ls_clock_witness(handle, 5, &clock));
    assert_int_equal(1002, clock);
    assert_ok(ls_clock_witness(handle, 5, NULL));
    assert_ok(ls_clock_get(handle, &clock));
    assert_int_equal(1003, clock);
}

static void a_clock_too_far_ahead_is_refused_and_changes_nothing(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    uint64_t before, after = 0;
    assert_ok(ls_clock_get(handle, &before));
    assert_code(LS_ECLOCKJUMP, ls_clock_witness(handle, before + (UINT64_C(1) << 33), &after));
    assert_code(LS_ECLOCKJUMP, ls_clock_witness(handle, UINT64_MAX, &after));
    ls_post_options options = LS_POST_OPTIONS_INIT;
    options.clock = before + (UINT64_C(1) << 33);
    assert_code(LS_ECLOCKJUMP,
                ls_post(handle, LS_USER, LS_NO_EVENT, ls_text("x"), &options, &after));
    assert_int_equal(0, after);
    assert_ok(ls_clock_get(handle, &after));
    assert_int_equal(before, after);
}

static void the_handles_own_clock_follows_what_it_sees(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    uint64_t clock;
    assert_ok(ls_clock_witness(handle, 5000, &clock));
    assert_true(ls_clock_local(handle) > clock);
    assert_true(post_text(handle, "x") > clock);

    ls_post_options options = LS_POST_OPTIONS_INIT;
    options.carry_clock = true;
    uint64_t local = ls_clock_local(handle);
    assert_ok(ls_post(handle, LS_USER, LS_NO_EVENT, ls_text("y"), &options, &clock));
    assert_true(clock > local);
    options.clock = clock + 1000;
    uint64_t later;
    assert_ok(ls_post(handle, LS_USER, LS_NO_EVENT, ls_text("z"), &options, &later));
    assert_true(later > clock + 1000);
}

static void the_handles_own_clock_follows_what_lists_show(void **state)
{
    struct fixture *fixture = *state;
    if (kind_is("mem")) {
        skip();
    }
    uint64_t seen;
    ls_joined joined;
    ls_box_info info;
    ls_nodes *nodes;
    ls *info_of = open_again(fixture, NULL), *one_of = open_again(fixture, NULL),
       *all_of = open_again(fixture, NULL);
    assert_ok(ls_clock_witness(fixture->handle, 5000, &seen));
    assert_ok(ls_node_join(fixture->handle, "n1", NULL, &joined));
    assert_ok(ls_box_info_get(info_of, &info));
    assert_true(ls_clock_local(info_of) > info.newest);
    assert_ok(ls_node_get(one_of, "n1", &nodes));
    ls_nodes_free(nodes);
    assert_true(ls_clock_local(one_of) > joined.clock);
    assert_ok(ls_node_ack(fixture->handle, joined.clock, NULL));
    assert_ok(ls_node_list(all_of, &nodes));
    ls_nodes_free(nodes);
    assert_true(ls_clock_local(all_of) > joined.clock);
    ls_close(info_of);
    ls_close(one_of);
    ls_close(all_of);
}

static void a_directory_is_made_only_where_that_is_wanted(void **state)
{
    struct fixture *fixture = *state;
    if (!kind_is("lmdb")) {
        skip();
    }
    char url[300];
    snprintf(url, sizeof url, "%s-absent", fixture->url);
    ls_options options = LS_OPTIONS_INIT;
    options.no_create = true;
    ls *handle = NULL;
    assert_code(LS_ENOTFOUND, ls_open(&handle, url, &options));
    assert_null(handle);
    assert_ok(ls_open(&handle, url + strlen("lmdb:"), NULL)); /* a bare path */
    ls_close(handle);
    assert_ok(ls_open(&handle, url, &options));
    ls_close(handle);
}

static void a_handle_for_reading_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    if (!kind_is("lmdb")) {
        skip();
    }
    uint64_t clock = post_text(fixture->handle, "x");
    ls_options options = LS_OPTIONS_INIT;
    options.read_only = true;
    ls *handle = open_again(fixture, &options);
    assert_int_equal(1, count_messages(handle, clock, NULL));
    assert_code(LS_EREADONLY, ls_post(handle, LS_USER, LS_NO_EVENT, ls_text("y"), NULL, NULL));
    assert_code(LS_EREADONLY, ls_put(handle, bytes("k"), bytes("v"), NULL, NULL));
    assert_code(LS_EREADONLY, ls_node_join(handle, "reader", NULL, NULL));
    ls_close(handle);
    assert_int_equal(1, count_messages(fixture->handle, clock, NULL));
}

static void a_full_store_takes_again_once_space_was_freed(void **state)
{
    struct fixture *fixture = *state;
    if (!kind_is("lmdb")) {
        skip();
    }
    ls_options options = LS_OPTIONS_INIT;
    options.quota = 4 << 20;
    char url[300];
    snprintf(url, sizeof url, "%s-quota", fixture->url);
    ls *handle;
    assert_ok(ls_open(&handle, url, &options));
    static uint8_t value[60000];
    ls_bytes large = {value, sizeof value};
    uint64_t clock = 0;
    int result = 0;
    for (int i = 0; i < 200 && result == 0; i++) {
        result = ls_put(handle, bytes("big"), large, NULL, &clock);
    }
    assert_code(LS_ENOSPACE, result);
    assert_int_not_equal(0, count_messages(handle, 0, NULL));
    uint64_t discarded;
    assert_ok(ls_trim_before(handle, clock, &discarded));
    assert_true(discarded > 0);
    assert_ok(ls_put(handle, bytes("big"), large, NULL, NULL));
    ls_close(handle);
}

const struct CMUnitTest library_basic_tests[] = {
    library_test(a_url_that_names_nothing_is_refused),
    library_test(options_are_taken_by_their_size),
    library_test(the_last_error_belongs_to_the_thread),
    library_test(json_becomes_cbor_and_json_again),
    library_test(every_clock_value_is_given_out_once),
    library_test(a_witnessed_clock_moves_the_coordinators),
    library_test(a_clock_too_far_ahead_is_refused_and_changes_nothing),
    library_test(the_handles_own_clock_follows_what_it_sees),
    library_test(the_handles_own_clock_follows_what_lists_show),
    library_test(a_directory_is_made_only_where_that_is_wanted),
    library_test(a_handle_for_reading_changes_nothing),
    library_test(a_full_store_takes_again_once_space_was_freed),
};
const size_t library_basic_count = sizeof library_basic_tests / sizeof *library_basic_tests;
