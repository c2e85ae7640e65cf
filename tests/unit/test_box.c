/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The box: what is posted and what is refused, numbered posts, trims and retention, and reading
 * with and without filters. The store is audited after each test.
 */
#include <stdio.h>
#include <stdlib.h>

#include "audit.h"
#include "base/error.h"
#include "codec/clock.h"
#include "fixture.h"

#define MS UINT64_C(1000000)

/* ---- reading ---- */

/* The clocks of what a reader gets from `from` on, as text: "2 5 6". */
static void assert_reads(struct fixture *f, uint64_t from, const struct box_filter *filter,
                         const char *expected)
{
    struct reading reading;
    struct box_cursor cursor;
    struct message message;
    struct buf text = {0};
    int rc;
    assert_int_equal(reading_begin(&reading, f->store, &f->error), 0);
    assert_code(box_open(&cursor, &reading, from, filter, &f->error), 0, &f->error);
    while ((rc = box_next(&cursor, &message, &f->error)) > 0) {
        assert_int_equal(
            buf_printf(&text, text.size == 0 ? "%llu" : " %llu", (unsigned long long)message.clock),
            0);
    }
    assert_int_equal(rc, 0);
    box_end(&cursor);
    reading_end(&reading);
    assert_int_equal(buf_append_byte(&text, 0), 0);
    assert_string_equal((const char *)text.data, expected);
    buf_free(&text);
}

static void assert_compacted(struct fixture *f, uint64_t from, uint64_t oldest)
{
    struct reading reading;
    struct box_cursor cursor;
    assert_int_equal(reading_begin(&reading, f->store, &f->error), 0);
    assert_code(box_open(&cursor, &reading, from, NULL, &f->error), LS_ECOMPACTED, &f->error);
    assert_int_equal(f->error.number, oldest);
    reading_end(&reading);
}

static struct box_state box_of(struct fixture *f)
{
    struct reading reading;
    struct box_state box;
    assert_int_equal(reading_begin(&reading, f->store, &f->error), 0);
    assert_code(box_state_read(&reading, &box, &f->error), 0, &f->error);
    reading_end(&reading);
    return box;
}

/* The message under a clock; its bytes go to `copy` to outlive the reading. */
static struct message message_at(struct fixture *f, uint64_t clock, struct buf *copy)
{
    struct reading reading;
    struct box_cursor cursor;
    struct message message;
    assert_int_equal(reading_begin(&reading, f->store, &f->error), 0);
    assert_code(box_open(&cursor, &reading, clock, NULL, &f->error), 0, &f->error);
    assert_int_equal(box_next(&cursor, &message, &f->error), 1);
    assert_int_equal(message.clock, clock);
    copy->size = 0;
    assert_int_equal(buf_reserve(copy, 4096), 0);
    ls_bytes *texts[] = {&message.from, &message.host, &message.object};
    for (size_t i = 0; i < 3; i++) {
        size_t at = copy->size;
        assert_int_equal(buf_append(copy, texts[i]->data, texts[i]->size), 0);
        texts[i]->data = copy->data + at;
    }
    box_end(&cursor);
    reading_end(&reading);
    return message;
}

/* ---- posts ---- */

static void a_post_is_there_as_it_was_sent(void **state)
{
    struct fixture *f = *state;
    uint8_t item[24];
    struct buf copy = {0};
    struct binding a, b;
    fixture_join(f, &a, "a", 1);
    fixture_join(f, &b, "b", 2);
    struct request post = post_request(item, "hello");
    post.as = &a;
    post.in.post.event = 'x';
    post.in.post.to = bytes_of_text("b");
    assert_code(fixture_run(f, &post), 0, &f->error);
    assert_int_equal(post.clock, 3);
    struct message message = message_at(f, 3, &copy);
    assert_int_equal(message.type, 'U');
    assert_int_equal(message.event, 'x');
    assert_true(bytes_equal(message.from, bytes_of_text("a")));
    assert_true(message.has_from_id);
    assert_memory_equal(message.from_id, a.id, 16);
    assert_true(bytes_equal(message.host, bytes_of_text("b")));
    assert_true(message.has_id);
    assert_memory_equal(message.id, b.id, 16);
    assert_true(bytes_equal(message.object, bytes_of(item, 6)));
    buf_free(&copy);
}

static void a_post_of_nobody_to_everybody_names_no_one(void **state)
{
    struct fixture *f = *state;
    struct buf copy = {0};
    uint64_t clock = fixture_post(f, NULL, "hello");
    struct message message = message_at(f, clock, &copy);
    assert_int_equal(message.from.size, 0);
    assert_int_equal(message.host.size, 0);
    assert_false(message.has_from_id);
    assert_false(message.has_id);
    assert_int_equal(message.event, 0);
    buf_free(&copy);
}

static void a_destination_that_never_joined_has_no_id(void **state)
{
    struct fixture *f = *state;
    uint8_t item[24];
    struct buf copy = {0};
    struct request post = post_request(item, "hello");
    post.in.post.to = bytes_of_text("nobody");
    assert_int_equal(fixture_run(f, &post), 0);
    struct message message = message_at(f, post.clock, &copy);
    assert_true(bytes_equal(message.host, bytes_of_text("nobody")));
    assert_false(message.has_id);
    buf_free(&copy);
}

static void types_and_events_that_do_not_fit_are_refused(void **state)
{
    struct fixture *f = *state;
    uint8_t item[24];
    static const char refused[][2] = {{'O', 'C'}, {'O', 0},   {'D', 0},   {'D', 'x'},
                                      {'C', 0},   {'C', 'c'}, {'X', 'C'}, {0, 0}};
    static const char good[][2] = {{'D', 'C'}, {'D', 'U'}, {'D', 'D'},   {'C', 'C'},
                                   {'U', 0},   {'U', 'C'}, {'U', '\xff'}};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct request post = post_request(item, "x");
        post.in.post.type = (uint8_t)refused[i][0];
        post.in.post.event = (uint8_t)refused[i][1];
        fixture_refuse(f, &post, LS_EINVAL);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct request post = post_request(item, "x");
        post.in.post.type = (uint8_t)good[i][0];
        post.in.post.event = (uint8_t)good[i][1];
        assert_code(fixture_run(f, &post), 0, &f->error);
    }
}

static void a_destination_that_is_no_host_name_is_refused(void **state)
{
    struct fixture *f = *state;
    uint8_t item[24];
    char longer[256];
    struct request post = post_request(item, "x");
    post.in.post.to = bytes_of("a\x01", 2);
    fixture_refuse(f, &post, LS_EKEY);
    post.in.post.to = bytes_of("\xff", 1);
    fixture_refuse(f, &post, LS_EKEY);
    memset(longer, 'h', sizeof longer);
    post.in.post.to = bytes_of(longer, sizeof longer);
    fixture_refuse(f, &post, LS_ETOOBIG);
    assert_int_equal(f->error.number, 255);
}

static void a_post_is_above_the_clock_that_it_carries(void **state)
{
    struct fixture *f = *state;
    uint8_t item[24];
    struct request post = post_request(item, "x");
    post.in.post.has_clock = true;
    post.in.post.clock = 100;
    assert_int_equal(fixture_run(f, &post), 0);
    assert_int_equal(post.clock, 101);
    post.in.post.clock = 7;
    assert_int_equal(fixture_run(f, &post), 0);
    assert_int_equal(post.clock, 102);
    post.in.post.clock = 102 + CLOCK_JUMP_MAX + 1;
    fixture_refuse(f, &post, LS_ECLOCKJUMP);
    post.in.post.clock = 102 + CLOCK_JUMP_MAX;
    assert_int_equal(fixture_run(f, &post), 0);
    assert_int_equal(post.clock, 103 + CLOCK_JUMP_MAX);
}

static void a_node_that_is_down_posts_nothing(void **state)
{
    struct fixture *f = *state;
    uint8_t item[24];
    struct binding a, stale;
    fixture_join(f, &a, "a", 1);
    stale = a;
    struct request post = post_request(item, "x");
    post.as = &stale;
    assert_int_equal(fixture_run(f, &post), 0);
    struct request expire = {.kind = REQUEST_NODE_EXPIRE,
                             .in.expire = {.host = bytes_of_text("a"), .joined = a.joined}};
    assert_int_equal(fixture_run(f, &expire), 0);
    assert_int_equal(expire.number, 1);
    fixture_refuse(f, &post, LS_ENOTJOINED);
    fixture_join(f, &a, "a", 1);
    fixture_refuse(f, &post, LS_ENOTJOINED);
    post.as = &a;
    assert_int_equal(fixture_run(f, &post), 0);
}

/* ---- numbered posts ---- */

static int post_numbered(struct fixture *f, const struct binding *as, uint64_t seq, uint64_t *clock)
{
    uint8_t item[24];
    struct request post = post_request(item, "numbered");
    post.as = as;
    post.in.post.has_seq = true;
    post.in.post.seq = seq;
    int rc = fixture_run(f, &post);
    *clock = post.clock;
    return rc;
}

static void refuse_numbered(struct fixture *f, const struct binding *as, uint64_t seq, int code,
                            uint64_t last)
{
    uint8_t item[24];
    struct request post = post_request(item, "numbered");
    post.as = as;
    post.in.post.has_seq = true;
    post.in.post.seq = seq;
    fixture_refuse(f, &post, code);
    if (code != LS_ENOTJOINED) {
        char text[40];
        snprintf(text, sizeof text, "last=%llu", (unsigned long long)last);
        assert_int_equal(f->error.number, last);
        assert_string_equal(f->error.text, text);
    }
}

static void numbers_go_up_by_one_and_the_last_again_posts_nothing(void **state)
{
    struct fixture *f = *state;
    struct binding a;
    uint64_t one, two, again;
    fixture_join(f, &a, "a", 1);
    refuse_numbered(f, &a, 0, LS_EDUPLICATE, 0);
    refuse_numbered(f, &a, 2, LS_ESEQGAP, 0);
    assert_int_equal(post_numbered(f, &a, 1, &one), 0);
    assert_int_equal(post_numbered(f, &a, 2, &two), 0);
    assert_true(two > one);
    uint64_t count = box_of(f).count;
    assert_int_equal(post_numbered(f, &a, 2, &again), 0);
    assert_int_equal(again, two);
    assert_int_equal(box_of(f).count, count);
    assert_int_equal(box_of(f).clock, two);
    refuse_numbered(f, &a, 1, LS_EDUPLICATE, 2);
    refuse_numbered(f, &a, 4, LS_ESEQGAP, 2);
    refuse_numbered(f, &a, UINT64_MAX, LS_ESEQGAP, 2);
}

static void a_number_needs_a_joined_node(void **state)
{
    struct fixture *f = *state;
    refuse_numbered(f, NULL, 1, LS_ENOTJOINED, 0);
}

static void numbers_go_on_in_the_next_life_and_after_trims(void **state)
{
    struct fixture *f = *state;
    struct binding a, again;
    uint64_t first, same;
    fixture_join(f, &a, "a", 1);
    assert_int_equal(post_numbered(f, &a, 1, &first), 0);
    struct request trim = {.kind = REQUEST_TRIM, .in.trim.before = UINT64_MAX};
    assert_int_equal(fixture_run(f, &trim), 0);
    assert_int_equal(box_of(f).count, 0);
    struct request leave = {.kind = REQUEST_NODE_LEAVE, .as = &a};
    assert_int_equal(fixture_run(f, &leave), 0);
    /* At another host: the number is the id's. */
    fixture_join(f, &again, "elsewhere", 1);
    assert_int_equal(post_numbered(f, &again, 1, &same), 0);
    assert_int_equal(same, first);
    refuse_numbered(f, &again, 3, LS_ESEQGAP, 1);
    assert_int_equal(post_numbered(f, &again, 2, &same), 0);
    assert_true(same > first);
}

static void a_join_tells_the_last_number(void **state)
{
    struct fixture *f = *state;
    struct binding a;
    uint64_t clock;
    fixture_join(f, &a, "a", 1);
    assert_int_equal(post_numbered(f, &a, 1, &clock), 0);
    assert_int_equal(post_numbered(f, &a, 2, &clock), 0);
    struct request join = {.kind = REQUEST_NODE_JOIN,
                           .in.join = {.host = bytes_of_text("a"), .via = 1}};
    id_of(join.in.join.id, 1);
    assert_int_equal(fixture_run(f, &join), 0);
    assert_int_equal(join.number, 2);
    id_of(join.in.join.id, 9);
    join.in.join.host = bytes_of_text("other");
    assert_int_equal(fixture_run(f, &join), 0);
    assert_int_equal(join.number, 0);
}

static void a_numbered_post_that_is_refused_keeps_its_number_free(void **state)
{
    struct fixture *f = *state;
    uint8_t item[24];
    uint64_t clock;
    struct binding a;
    fixture_join(f, &a, "a", 1);
    struct request post = post_request(item, "x");
    post.as = &a;
    post.in.post.has_seq = true;
    post.in.post.seq = 1;
    post.in.post.has_clock = true;
    post.in.post.clock = UINT64_MAX;
    fixture_refuse(f, &post, LS_ECLOCKJUMP);
    assert_int_equal(post_numbered(f, &a, 1, &clock), 0);
}

/* ---- trims ---- */

static uint64_t trim_before(struct fixture *f, uint64_t before)
{
    struct request trim = {.kind = REQUEST_TRIM, .in.trim.before = before};
    assert_code(fixture_run(f, &trim), 0, &f->error);
    assert_false(trim.again);
    return trim.number;
}

static void a_trim_discards_what_is_below_a_clock(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < 5; i++) {
        fixture_post(f, NULL, "x");
    }
    assert_int_equal(trim_before(f, 1), 0);
    assert_reads(f, 0, NULL, "1 2 3 4 5");
    assert_int_equal(trim_before(f, 3), 2);
    assert_reads(f, 3, NULL, "3 4 5");
    assert_int_equal(trim_before(f, 3), 0);
    struct box_state box = box_of(f);
    assert_int_equal(box.oldest, 3);
    assert_int_equal(box.newest, 5);
    assert_int_equal(box.count, 3);
    assert_int_equal(box.discarded, 2);
    assert_int_equal(trim_before(f, UINT64_MAX), 3);
    box = box_of(f);
    assert_int_equal(box.count, 0);
    assert_int_equal(box.bytes, 0);
    assert_int_equal(box.oldest, 0);
    assert_int_equal(box.newest, 5);
    assert_int_equal(fixture_post(f, NULL, "x"), 6);
    assert_reads(f, 6, NULL, "6");
}

static void a_trim_by_age_discards_a_prefix_only(void **state)
{
    struct fixture *f = *state;
    static const uint64_t times[] = {10, 20, 30, 5, 40};
    for (size_t i = 0; i < 5; i++) {
        f->now_ns = times[i];
        fixture_post(f, NULL, "x");
    }
    struct request trim = {.kind = REQUEST_TRIM, .in.trim.older_ns = 20};
    assert_int_equal(fixture_run(f, &trim), 0);
    assert_int_equal(trim.number, 1);
    /* The fourth is older than the third, which is not to go. */
    trim = (struct request){.kind = REQUEST_TRIM, .in.trim.older_ns = 30};
    assert_int_equal(fixture_run(f, &trim), 0);
    assert_reads(f, 3, NULL, "3 4 5");
    trim = (struct request){.kind = REQUEST_TRIM, .in.trim.older_ns = 31};
    assert_int_equal(fixture_run(f, &trim), 0);
    assert_int_equal(trim.number, 2);
    assert_reads(f, 5, NULL, "5");
}

static void a_trim_without_limits_discards_nothing(void **state)
{
    struct fixture *f = *state;
    fixture_post(f, NULL, "x");
    assert_int_equal(trim_before(f, 0), 0);
    assert_int_equal(box_of(f).count, 1);
}

/* Posts `count` messages, many in one transaction. */
static void post_many(struct fixture *f, size_t count)
{
    uint8_t item[24];
    struct request posts[500];
    while (count > 0) {
        size_t some = count < 500 ? count : 500;
        for (size_t i = 0; i < some; i++) {
            posts[i] = post_request(item, "many");
        }
        fixture_run_together(f, posts, some);
        count -= some;
    }
}

static void a_long_trim_goes_in_steps_and_adds_them_up(void **state)
{
    struct fixture *f = *state;
    post_many(f, 2 * TRIM_STEP + 10);
    struct request trim = {.kind = REQUEST_TRIM, .in.trim.before = 2 * TRIM_STEP + 6};
    assert_int_equal(fixture_run(f, &trim), 0);
    assert_true(trim.again);
    assert_int_equal(trim.number, TRIM_STEP);
    assert_sound(f->store);
    assert_int_equal(box_of(f).oldest, TRIM_STEP + 1);
    assert_int_equal(fixture_run(f, &trim), 0);
    assert_true(trim.again);
    assert_int_equal(fixture_run(f, &trim), 0);
    assert_false(trim.again);
    assert_int_equal(trim.number, 2 * TRIM_STEP + 5);
    assert_int_equal(box_of(f).count, 5);
}

static void a_trim_of_exactly_one_step_is_done_at_once(void **state)
{
    struct fixture *f = *state;
    post_many(f, TRIM_STEP);
    struct request trim = {.kind = REQUEST_TRIM, .in.trim.before = UINT64_MAX};
    assert_int_equal(fixture_run(f, &trim), 0);
    assert_false(trim.again);
    assert_int_equal(trim.number, TRIM_STEP);
    assert_int_equal(box_of(f).count, 0);
}

static void large_messages_are_trimmed_a_few_at_a_time(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 40, SIZE = 1 << 20 };
    static uint8_t item[SIZE + 5] = {0x5a, SIZE >> 24, SIZE >> 16 & 0xff}; /* CBOR bytes */
    for (int i = 0; i < COUNT; i++) {
        struct request post = {.kind = REQUEST_POST, .in.post.type = LS_USER};
        post.in.post.object = bytes_of(item, sizeof item);
        assert_int_equal(fixture_run(f, &post), 0);
    }
    struct request trim = {.kind = REQUEST_TRIM, .in.trim.before = UINT64_MAX};
    for (uint64_t step = TRIM_STEP_BYTES / SIZE; trim.number < COUNT - step;) {
        uint64_t before = trim.number;
        assert_int_equal(fixture_run(f, &trim), 0);
        assert_true(trim.again);
        assert_int_equal(trim.number, before + step);
        assert_sound(f->store);
    }
    assert_int_equal(fixture_run(f, &trim), 0);
    assert_false(trim.again);
    assert_int_equal(trim.number, COUNT);
    assert_int_equal(box_of(f).count, 0);
}

static void a_trim_in_steps_spares_what_was_posted_after_it_began(void **state)
{
    struct fixture *f = *state;
    post_many(f, TRIM_STEP + 1);
    struct request trim = {.kind = REQUEST_TRIM, .in.trim.before = UINT64_MAX};
    assert_int_equal(fixture_run(f, &trim), 0);
    assert_true(trim.again);
    uint64_t later = fixture_post(f, NULL, "later");
    assert_int_equal(fixture_run(f, &trim), 0);
    assert_false(trim.again);
    assert_int_equal(trim.number, TRIM_STEP + 1);
    assert_reads(f, later, NULL, "2002");
}

/* ---- retention ---- */

static uint64_t retain(struct fixture *f, struct retention keep)
{
    struct request request = {.kind = REQUEST_RETAIN, .in.retain.keep = keep};
    assert_code(fixture_run(f, &request), 0, &f->error);
    assert_false(request.again);
    return request.number;
}

static void without_limits_everything_is_kept(void **state)
{
    struct fixture *f = *state;
    post_many(f, 3);
    f->now_ns = UINT64_MAX;
    assert_int_equal(retain(f, (struct retention){.hold = true}), 0);
    assert_int_equal(retain(f, (struct retention){0}), 0);
}

static void the_newest_are_kept_by_count(void **state)
{
    struct fixture *f = *state;
    post_many(f, 10);
    assert_int_equal(retain(f, (struct retention){.count = 10}), 0);
    assert_int_equal(retain(f, (struct retention){.count = 3}), 7);
    assert_reads(f, 8, NULL, "8 9 10");
}

static void the_newest_are_kept_by_bytes(void **state)
{
    struct fixture *f = *state;
    post_many(f, 10);
    uint64_t bytes = box_of(f).bytes;
    assert_int_equal(bytes % 10, 0);
    assert_int_equal(retain(f, (struct retention){.bytes = bytes}), 0);
    assert_int_equal(retain(f, (struct retention){.bytes = bytes - 1}), 1);
    assert_int_equal(retain(f, (struct retention){.bytes = bytes / 10 * 4}), 5);
    assert_int_equal(retain(f, (struct retention){.bytes = 1}), 4);
    assert_int_equal(box_of(f).bytes, 0);
}

static void the_newest_are_kept_by_age(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 1; i <= 5; i++) {
        f->now_ns = i * 100 * MS;
        fixture_post(f, NULL, "x");
    }
    assert_int_equal(retain(f, (struct retention){.age_ms = 400}), 0);
    f->now_ns += 1;
    assert_int_equal(retain(f, (struct retention){.age_ms = 400}), 1);
    assert_int_equal(retain(f, (struct retention){.age_ms = UINT64_MAX}), 0);
    assert_int_equal(retain(f, (struct retention){.age_ms = 1}), 3);
    assert_reads(f, 5, NULL, "5");
}

static void ack(struct fixture *f, const struct binding *as, uint64_t clock)
{
    struct request request = {.kind = REQUEST_NODE_ACK, .as = as, .in.ack.clock = clock};
    assert_code(fixture_run(f, &request), 0, &f->error);
}

static void hold_keeps_what_a_node_that_is_up_has_not_acknowledged(void **state)
{
    struct fixture *f = *state;
    struct binding a, b;
    fixture_join(f, &a, "a", 1);
    fixture_join(f, &b, "b", 2);
    post_many(f, 8);
    struct retention hold = {.count = 1, .age_ms = 1, .hold = true};
    f->now_ns += 1000 * MS;
    assert_int_equal(retain(f, hold), 0);
    ack(f, &a, 7);
    assert_int_equal(retain(f, hold), 0);
    ack(f, &b, 4);
    assert_int_equal(retain(f, hold), 4);
    assert_reads(f, 5, NULL, "5 6 7 8 9 10");
    /* One that is leaving holds nothing. */
    struct request leaving = {.kind = REQUEST_NODE_STATE, .as = &b, .in.state.state = NODE_LEAVING};
    assert_int_equal(fixture_run(f, &leaving), 0);
    assert_int_equal(retain(f, hold), 3);
    assert_reads(f, 8, NULL, "8 9 10 11");
}

static void hold_does_not_keep_beyond_bytes(void **state)
{
    struct fixture *f = *state;
    struct binding a;
    fixture_join(f, &a, "a", 1);
    post_many(f, 8);
    assert_int_equal(retain(f, (struct retention){.bytes = 1, .hold = true}), 9);
}

static void retention_goes_in_steps_too(void **state)
{
    struct fixture *f = *state;
    post_many(f, TRIM_STEP + 10);
    struct request request = {.kind = REQUEST_RETAIN, .in.retain.keep.count = 5};
    assert_int_equal(fixture_run(f, &request), 0);
    assert_true(request.again);
    assert_int_equal(fixture_run(f, &request), 0);
    assert_false(request.again);
    assert_int_equal(request.number, TRIM_STEP + 5);
}

/* ---- reading what is kept ---- */

static void a_read_from_what_was_discarded_is_refused(void **state)
{
    struct fixture *f = *state;
    post_many(f, 4);
    fixture_run(f, &(struct request){.kind = REQUEST_CLOCK_NEXT, .in.clock_next.count = 10});
    fixture_post(f, NULL, "x");
    assert_reads(f, 0, NULL, "1 2 3 4 15");
    trim_before(f, 3);
    assert_compacted(f, 0, 3);
    assert_compacted(f, 2, 3);
    assert_reads(f, 3, NULL, "3 4 15");
    trim_before(f, 5);
    assert_compacted(f, 4, 15);
    /* Nothing was discarded at 5 or above. */
    assert_reads(f, 5, NULL, "15");
    trim_before(f, 100);
    assert_compacted(f, 15, 16);
    assert_reads(f, 16, NULL, "");
    assert_reads(f, UINT64_MAX, NULL, "");
}

static struct box_filter with_types(const char *types)
{
    struct box_filter filter = {0};
    snprintf(filter.types, sizeof filter.types, "%s", types);
    return filter;
}

static void filters_pass_what_they_name(void **state)
{
    struct fixture *f = *state;
    uint8_t item[24];
    struct binding a;
    fixture_join(f, &a, "a", 1);      /* 1 */
    fixture_put(f, NULL, "k/1", "v"); /* 2 */
    fixture_put(f, NULL, "l", "v");   /* 3 */
    struct request post = post_request(item, "to a");
    post.in.post.to = bytes_of_text("a");
    assert_int_equal(fixture_run(f, &post), 0); /* 4 */
    post.in.post.to = bytes_of_text("b");
    assert_int_equal(fixture_run(f, &post), 0); /* 5 */
    post.in.post.type = 'D';
    post.in.post.event = 'C';
    post.in.post.to = bytes_of(NULL, 0);
    assert_int_equal(fixture_run(f, &post), 0); /* 6 */

    struct box_filter filter = with_types("");
    assert_reads(f, 0, &filter, "1 2 3 4 5 6");
    filter = with_types("U");
    assert_reads(f, 0, &filter, "4 5");
    filter = with_types("UD");
    assert_reads(f, 0, &filter, "4 5 6");
    filter = (struct box_filter){.has_for = true, .host = bytes_of_text("a")};
    assert_reads(f, 0, &filter, "1 2 3 4 6");
    filter = (struct box_filter){.has_key = true, .prefix = bytes_of_text("k/")};
    assert_reads(f, 0, &filter, "2");
    filter = (struct box_filter){.has_key = true};
    assert_reads(f, 0, &filter, "2 3");
    filter = (struct box_filter){.has_key = true, .prefix = bytes_of("N\x11", 2)};
    assert_reads(f, 0, &filter, "1");
    filter = (struct box_filter){.has_key = true, .prefix = bytes_of("O\x11l", 3)};
    assert_reads(f, 0, &filter, "3");
    filter = with_types("U");
    filter.has_for = true;
    filter.host = bytes_of_text("b");
    assert_reads(f, 0, &filter, "5");
    assert_reads(f, 6, &filter, "");
}

/* Puts anything in the place of a message. */
static void put_record(struct fixture *f, uint64_t clock, ls_bytes record)
{
    const struct store_driver *driver = f->store->driver;
    struct store_txn *txn;
    struct key key;
    key_message(&key, clock, LS_USER);
    assert_int_equal(driver->begin(f->store, STORE_WRITE, &txn, &f->error), 0);
    assert_int_equal(driver->put(txn, key_bytes(&key), record, false, &f->error), 0);
    assert_int_equal(driver->commit(txn, &f->error), 0);
}

static void a_damaged_message_is_named_by_its_clock(void **state)
{
    struct fixture *f = *state;
    struct reading reading;
    struct box_cursor cursor;
    struct message message;
    post_many(f, 3);
    put_record(f, 2, bytes_of("\xa0", 1));
    assert_int_equal(reading_begin(&reading, f->store, &f->error), 0);
    assert_int_equal(box_open(&cursor, &reading, 0, NULL, &f->error), 0);
    assert_int_equal(box_next(&cursor, &message, &f->error), 1);
    assert_code(box_next(&cursor, &message, &f->error), LS_ECORRUPT, &f->error);
    assert_int_equal(f->error.number, 2);
    box_end(&cursor);
    reading_end(&reading);
    assert_code(audit(f->store, &f->error), LS_ECORRUPT, &f->error);
}

/* As where pages are mixed up. Who reads on behind the last one would never come to an end. */
static void a_message_that_is_not_in_its_place_is_not_read(void **state)
{
    struct fixture *f = *state;
    struct key key;
    struct reading reading;
    struct box_cursor cursor;
    struct message message;
    ls_bytes first;
    uint8_t copy[256];
    post_many(f, 3);
    key_message(&key, 1, LS_USER);
    assert_int_equal(reading_begin(&reading, f->store, &f->error), 0);
    assert_int_equal(f->store->driver->get(reading.txn, key_bytes(&key), &first), 0);
    assert_true(first.size <= sizeof(copy));
    memcpy(copy, first.data, first.size);
    reading_end(&reading);
    put_record(f, 3, bytes_of(copy, first.size));
    assert_int_equal(reading_begin(&reading, f->store, &f->error), 0);
    assert_int_equal(box_open(&cursor, &reading, 2, NULL, &f->error), 0);
    assert_int_equal(box_next(&cursor, &message, &f->error), 1);
    assert_int_equal(message.clock, 2);
    assert_code(box_next(&cursor, &message, &f->error), LS_ECORRUPT, &f->error);
    assert_int_equal(f->error.number, 1);
    box_end(&cursor);
    reading_end(&reading);
}

static int teardown_damaged(void **state)
{
    fixture_close(*state);
    free(*state);
    return 0;
}

#define sound(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        sound(a_post_is_there_as_it_was_sent),
        sound(a_post_of_nobody_to_everybody_names_no_one),
        sound(a_destination_that_never_joined_has_no_id),
        sound(types_and_events_that_do_not_fit_are_refused),
        sound(a_destination_that_is_no_host_name_is_refused),
        sound(a_post_is_above_the_clock_that_it_carries),
        sound(a_node_that_is_down_posts_nothing),
        sound(numbers_go_up_by_one_and_the_last_again_posts_nothing),
        sound(a_number_needs_a_joined_node),
        sound(numbers_go_on_in_the_next_life_and_after_trims),
        sound(a_join_tells_the_last_number),
        sound(a_numbered_post_that_is_refused_keeps_its_number_free),
        sound(a_trim_discards_what_is_below_a_clock),
        sound(a_trim_by_age_discards_a_prefix_only),
        sound(a_trim_without_limits_discards_nothing),
        sound(a_long_trim_goes_in_steps_and_adds_them_up),
        sound(a_trim_of_exactly_one_step_is_done_at_once),
        sound(large_messages_are_trimmed_a_few_at_a_time),
        sound(a_trim_in_steps_spares_what_was_posted_after_it_began),
        sound(without_limits_everything_is_kept),
        sound(the_newest_are_kept_by_count),
        sound(the_newest_are_kept_by_bytes),
        sound(the_newest_are_kept_by_age),
        sound(hold_keeps_what_a_node_that_is_up_has_not_acknowledged),
        sound(hold_does_not_keep_beyond_bytes),
        sound(retention_goes_in_steps_too),
        sound(a_read_from_what_was_discarded_is_refused),
        sound(filters_pass_what_they_name),
        cmocka_unit_test_setup_teardown(a_damaged_message_is_named_by_its_clock, fixture_setup,
                                        teardown_damaged),
        cmocka_unit_test_setup_teardown(a_message_that_is_not_in_its_place_is_not_read,
                                        fixture_setup, teardown_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
