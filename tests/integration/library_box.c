/* SPDX-License-Identifier: Apache-2.0 */
/* Posting, reading, watching and trimming the message box. */
#include <pthread.h>
#include <stdlib.h>

#include "library.h"

static void a_post_is_read_as_it_was_written(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    ls_post_options options = LS_POST_OPTIONS_INIT;
    options.to = "n2";
    uint64_t clock, other;
    assert_ok(
        ls_post(handle, LS_DATABASE, LS_CREATED, ls_json("{\"name\":\"shop\"}"), &options, &clock));
    assert_ok(ls_post(handle, LS_USER, '\xff', ls_cbor("\x01", 1), NULL, &other));
    assert_true(other > clock);

    ls_messages *messages;
    assert_ok(ls_read(handle, clock, NULL, 10, 0, &messages));
    assert_int_equal(2, ls_messages_count(messages));
    const ls_message *message = ls_messages_get(messages, 0);
    assert_int_equal(clock, message->clock);
    assert_int_equal(LS_DATABASE, message->type);
    assert_int_equal(LS_CREATED, message->event);
    assert_bytes("", message->from);
    assert_bytes("n2", message->to);
    assert_int_equal('\0', ((const char *)message->to.data)[2]);
    assert_true(message->timestamp_ns > UINT64_C(1600000000000000000));
    char *json;
    assert_ok(ls_cbor_to_json(message->object, &json));
    assert_string_equal("{\"name\":\"shop\"}", json);
    ls_free(json);
    message = ls_messages_get(messages, 1);
    assert_int_equal('\xff', message->event);
    assert_bytes("\x01", message->object);
    ls_messages_free(messages);
    ls_messages_free(NULL);
}

static void a_type_or_event_that_does_not_fit_is_refused(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    ls_payload payload = ls_text("x");
    assert_code(LS_EINVAL, ls_post(handle, LS_OBJECT, LS_CREATED, payload, NULL, NULL));
    assert_code(LS_EINVAL, ls_post(handle, 'X', LS_NO_EVENT, payload, NULL, NULL));
    assert_code(LS_EINVAL, ls_post(handle, LS_DATABASE, LS_NO_EVENT, payload, NULL, NULL));
    assert_code(LS_EINVAL, ls_post(handle, LS_COLLECTION, 'Z', payload, NULL, NULL));
    ls_post_options options = LS_POST_OPTIONS_INIT;
    options.to = "bad\nhost";
    assert_code(LS_EKEY, ls_post(handle, LS_USER, LS_NO_EVENT, payload, &options, NULL));
    assert_int_equal(0, count_messages(handle, LS_OLDEST, NULL));
}

static void a_malformed_payload_is_refused_with_its_offset(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    uint64_t clock = 0;
    assert_refused(LS_EBADCBOR, 1,
                   ls_post(handle, LS_USER, 0, ls_cbor("\x01\x01", 2), NULL, &clock));
    assert_code(LS_EBADCBOR, ls_post(handle, LS_USER, 0, ls_cbor("", 0), NULL, &clock));
    assert_code(LS_EBADJSON, ls_post(handle, LS_USER, 0, ls_json("{"), NULL, &clock));
    assert_code(LS_EINVAL, ls_post(handle, LS_USER, 0, ls_text("\xff"), NULL, &clock));
    assert_int_equal(0, clock);
}

static void a_payload_past_the_limit_is_refused_with_it(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    size_t limit = 1 << 20;
    char *text = malloc(limit + 1);
    assert_non_null(text);
    memset(text, 'a', limit);
    text[limit] = '\0';
    assert_refused(LS_ETOOBIG, limit, ls_post(handle, LS_USER, 0, ls_text(text), NULL, NULL));
    text[limit - 5] = '\0'; /* with CBOR's head of 5 bytes exactly the limit */
    uint64_t clock;
    assert_ok(ls_post(handle, LS_USER, 0, ls_text(text), NULL, &clock));
    free(text);
    ls_messages *messages;
    assert_ok(ls_read(handle, clock, NULL, 1, 0, &messages));
    assert_int_equal(limit, ls_messages_get(messages, 0)->object.size);
    ls_messages_free(messages);
}

static void reading_on_gives_every_message_in_order(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    char text[300];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < 500; i++) {
        post_text(handle, text);
    }
    assert_int_equal(500, count_messages(handle, LS_OLDEST, NULL));
    ls_messages *messages;
    assert_ok(ls_read(handle, LS_OLDEST, NULL, 3, 0, &messages));
    assert_int_equal(3, ls_messages_count(messages));
    ls_messages_free(messages);
    assert_code(LS_EINVAL, ls_read(handle, LS_OLDEST, NULL, 0, 0, &messages));
}

static void a_filter_drops_what_is_not_wanted(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    ls_post_options to = LS_POST_OPTIONS_INIT;
    assert_ok(ls_post(handle, LS_DATABASE, LS_CREATED, ls_text("1"), NULL, NULL));
    to.to = "n1";
    assert_ok(ls_post(handle, LS_USER, 0, ls_text("2"), &to, NULL));
    to.to = "n2";
    assert_ok(ls_post(handle, LS_USER, 0, ls_text("3"), &to, NULL));
    assert_ok(ls_put(handle, bytes("a/1"), bytes("v"), NULL, NULL));
    assert_ok(ls_put(handle, bytes("b/1"), bytes("v"), NULL, NULL));

    ls_filter filter = LS_FILTER_INIT;
    assert_int_equal(5, count_messages(handle, 0, &filter));
    filter.types = "DU";
    assert_int_equal(3, count_messages(handle, 0, &filter));
    filter.host = "n1";
    assert_int_equal(2, count_messages(handle, 0, &filter));
    filter = (ls_filter)LS_FILTER_INIT;
    filter.key = bytes("a/");
    assert_int_equal(1, count_messages(handle, 0, &filter));
    filter.key = bytes("O\x11");
    assert_int_equal(2, count_messages(handle, 0, &filter));
    filter.key = bytes("N\x11");
    assert_int_equal(0, count_messages(handle, 0, &filter));

    ls_messages *messages;
    filter = (ls_filter)LS_FILTER_INIT;
    filter.types = "Z";
    assert_code(LS_EINVAL, ls_read(handle, 0, &filter, 1, 0, &messages));
    filter.types = "";
    assert_code(LS_EINVAL, ls_read(handle, 0, &filter, 1, 0, &messages));
    filter = (ls_filter)LS_FILTER_INIT;
    filter.key.size = 1;
    assert_code(LS_EINVAL, ls_read(handle, 0, &filter, 1, 0, &messages));
}

static void a_read_of_nothing_comes_back_empty(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    ls_messages *messages;
    uint64_t clock = post_text(handle, "x");
    assert_ok(ls_read(handle, clock + 1, NULL, 10, 0, &messages));
    assert_int_equal(0, ls_messages_count(messages));
    ls_messages_free(messages);
    assert_ok(ls_read(handle, LS_AFTER_NEWEST, NULL, 10, 20, &messages));
    assert_int_equal(0, ls_messages_count(messages));
    ls_messages_free(messages);
}

struct reader {
    ls *handle;
    uint64_t from;
    uint64_t got;
};

static void *read_one(void *argument)
{
    struct reader *reader = argument;
    ls_messages *messages;
    ls_filter filter = LS_FILTER_INIT;
    filter.types = "C";
    assert_ok(ls_read(reader->handle, reader->from, &filter, 10, PATIENCE_MS, &messages));
    assert_int_equal(1, ls_messages_count(messages));
    reader->got = ls_messages_get(messages, 0)->clock;
    ls_messages_free(messages);
    return NULL;
}

static void a_waiting_read_ends_with_the_first_match(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    uint64_t clock = post_text(handle, "before"), match;
    struct reader reader = {.handle = handle, .from = clock};
    pthread_t thread;
    assert_int_equal(0, pthread_create(&thread, NULL, read_one, &reader));
    post_text(handle, "no match");
    assert_ok(ls_post(handle, LS_COLLECTION, LS_CREATED, ls_text("match"), NULL, &match));
    pthread_join(thread, NULL);
    assert_int_equal(match, reader.got);
}

static void what_was_trimmed_is_never_skipped_in_silence(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    uint64_t clocks[10], discarded;
    for (int i = 0; i < 10; i++) {
        clocks[i] = post_text(handle, "x");
    }
    assert_ok(ls_trim_before(handle, clocks[4], &discarded));
    assert_int_equal(4, discarded);
    ls_messages *messages;
    ls_watch *watch;
    assert_refused(LS_ECOMPACTED, clocks[4], ls_read(handle, clocks[0], NULL, 10, 0, &messages));
    assert_refused(LS_ECOMPACTED, clocks[4], ls_read(handle, clocks[3], NULL, 10, 0, &messages));
    assert_refused(LS_ECOMPACTED, clocks[4], ls_watch_open(handle, clocks[3], NULL, &watch, NULL));
    assert_int_equal(6, count_messages(handle, clocks[4], NULL));
    assert_int_equal(6, count_messages(handle, LS_OLDEST, NULL));

    ls_box_info info;
    assert_ok(ls_box_info_get(handle, &info));
    assert_int_equal(clocks[4], info.oldest);
    assert_int_equal(clocks[9], info.newest);
    assert_int_equal(6, info.count);
    assert_true(info.bytes > 6 * 10);

    assert_ok(ls_trim_older(handle, 3600000, &discarded));
    assert_int_equal(0, discarded);
    assert_ok(ls_trim_older(handle, UINT64_MAX, &discarded));
    assert_int_equal(0, discarded);
    assert_ok(ls_trim_older(handle, 0, NULL));
    assert_ok(ls_box_info_get(handle, &info));
    assert_int_equal(0, info.count);
    assert_int_equal(0, info.oldest);
    assert_int_equal(0, info.bytes);
    assert_int_equal(clocks[9], info.newest);
    assert_code(LS_ECOMPACTED, ls_read(handle, clocks[9], NULL, 10, 0, &messages));
    assert_int_equal(0, count_messages(handle, clocks[9] + 1, NULL));
    assert_true(post_text(handle, "y") > clocks[9]);
    assert_int_equal(1, count_messages(handle, LS_OLDEST, NULL));
}

static void next_is(ls_watch *watch, uint64_t clock)
{
    ls_message message;
    assert_ok(ls_watch_next(watch, PATIENCE_MS, &message));
    assert_int_equal(clock, message.clock);
}

static void a_watch_gives_what_is_there_and_what_comes(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    uint64_t first = post_text(handle, "1"), second = post_text(handle, "2"), start;
    ls_watch *all, *later, *from_second;
    ls_message message;
    assert_ok(ls_watch_open(handle, LS_OLDEST, NULL, &all, &start));
    assert_true(start <= first);
    assert_ok(ls_watch_open(handle, second, NULL, &from_second, &start));
    assert_int_equal(second, start);
    assert_ok(ls_watch_open(handle, LS_AFTER_NEWEST, NULL, &later, &start));
    assert_true(start > second);
    next_is(all, first);
    next_is(all, second);
    next_is(from_second, second);
    assert_code(LS_ETIMEOUT, ls_watch_next(all, 0, &message));
    assert_code(LS_ETIMEOUT, ls_watch_next(later, 10, &message));
    uint64_t third = post_text(handle, "3");
    next_is(all, third);
    next_is(from_second, third);
    next_is(later, third);
    ls_watch_close(all);
    ls_watch_close(later);
    ls_watch_close(from_second);
    ls_watch_close(NULL);
}

static void a_slow_watch_skips_nothing(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    enum { COUNT = 3000 };
    ls_watch *watch;
    ls_filter filter = LS_FILTER_INIT;
    filter.types = "U";
    assert_ok(ls_watch_open(handle, LS_OLDEST, &filter, &watch, NULL));
    char text[32];
    for (int i = 0; i < COUNT; i++) {
        snprintf(text, sizeof text, "%d", i);
        post_text(handle, text);
        if (i % 3 == 0) {
            assert_ok(ls_put(handle, bytes("k"), bytes(text), NULL, NULL));
        }
    }
    for (int i = 0; i < COUNT; i++) {
        ls_message message;
        assert_ok(ls_watch_next(watch, PATIENCE_MS, &message));
        snprintf(text, sizeof text, "\"%d\"", i);
        char *json;
        assert_ok(ls_cbor_to_json(message.object, &json));
        assert_string_equal(text, json);
        ls_free(json);
    }
    ls_watch_close(watch);
}

static void a_watch_whose_next_message_was_discarded_is_over(void **state)
{
    ls *handle = ((struct fixture *)*state)->handle;
    if (kind_is("lockstep")) {
        skip(); /* there the messages are on their way to the client before the trim */
    }
    ls_watch *watch;
    ls_message message;
    assert_ok(ls_watch_open(handle, LS_OLDEST, NULL, &watch, NULL));
    post_text(handle, "1");
    uint64_t second = post_text(handle, "2");
    assert_ok(ls_trim_before(handle, second, NULL));
    assert_refused(LS_ECOMPACTED, second, ls_watch_next(watch, 0, &message));
    assert_refused(LS_ECOMPACTED, second, ls_watch_next(watch, 0, &message));
    ls_watch_close(watch);
    assert_ok(ls_watch_open(handle, second, NULL, &watch, NULL));
    next_is(watch, second);
    ls_watch_close(watch);
}

/* A store that has been filled without retention and is opened again with it. */
static ls_box_info after_retention(struct fixture *fixture, const ls_options *options)
{
    for (int i = 0; i < 50; i++) {
        post_text(fixture->handle, "0123456789");
    }
    ls *handle = open_again(fixture, options);
    post_text(handle, "the first post applies it");
    ls_box_info info;
    assert_ok(ls_box_info_get(handle, &info));
    ls_close(handle);
    return info;
}

static void retention_keeps_a_count(void **state)
{
    struct fixture *fixture = *state;
    if (!kind_is("lmdb")) {
        skip();
    }
    ls_options options = LS_OPTIONS_INIT;
    options.retention_count = 10;
    ls_box_info info = after_retention(fixture, &options);
    assert_int_equal(10, info.count);
    options.retention_count = 0;
    options.retention_bytes = info.bytes / 2;
    info = after_retention(fixture, &options);
    assert_true(info.bytes <= options.retention_bytes);
    assert_true(info.count > 0);
}

static void retention_holds_what_a_node_has_not_acknowledged(void **state)
{
    struct fixture *fixture = *state;
    if (!kind_is("lmdb")) {
        skip();
    }
    uint64_t processed = post_text(fixture->handle, "processed");
    uint64_t held = post_text(fixture->handle, "held");
    assert_ok(ls_node_join(fixture->handle, "slow", NULL, NULL));
    assert_ok(ls_node_ack(fixture->handle, processed, NULL));
    ls_options options = LS_OPTIONS_INIT;
    options.retention_count = 1;
    options.retention_hold = true;
    ls_box_info info = after_retention(fixture, &options);
    assert_int_equal(held, info.oldest);
}

const struct CMUnitTest library_box_tests[] = {
    library_test(a_post_is_read_as_it_was_written),
    library_test(a_type_or_event_that_does_not_fit_is_refused),
    library_test(a_malformed_payload_is_refused_with_its_offset),
    library_test(a_payload_past_the_limit_is_refused_with_it),
    library_test(reading_on_gives_every_message_in_order),
    library_test(a_filter_drops_what_is_not_wanted),
    library_test(a_read_of_nothing_comes_back_empty),
    library_test(a_waiting_read_ends_with_the_first_match),
    library_test(what_was_trimmed_is_never_skipped_in_silence),
    library_test(a_watch_gives_what_is_there_and_what_comes),
    library_test(a_slow_watch_skips_nothing),
    library_test(a_watch_whose_next_message_was_discarded_is_over),
    library_test(retention_keeps_a_count),
    library_test(retention_holds_what_a_node_has_not_acknowledged),
};
const size_t library_box_count = sizeof library_box_tests / sizeof *library_box_tests;
