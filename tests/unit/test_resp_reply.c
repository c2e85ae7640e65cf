/* SPDX-License-Identifier: Apache-2.0 */
/* The reply parser: every type, every limit, and that the cut of the bytes never matters. */
#include "faults.h"
#include "resp/reply.h"
#include "resp/writer.h"
#include "resp_fixture.h"

#define SIZE_LIMIT  512
#define VALUE_LIMIT 64

static void put(struct buf *out, const char *text)
{
    assert_int_equal(buf_append_text(out, text), 0);
}

static void put_text(struct buf *out, const char *before, ls_bytes text)
{
    put(out, before);
    assert_int_equal(buf_append(out, text.data, text.size), 0);
}

/* Prints the value at `at` without what is below it. */
static void print_own(struct buf *out, const struct resp_value *value)
{
    static const char markers[] = "+-:$_*%~>,#(=";

    assert_int_equal(buf_append_byte(out, (uint8_t)markers[value->type]), 0);
    switch (value->type) {
    case RESP_INTEGER:
    case RESP_BOOLEAN:
        assert_int_equal(buf_printf(out, "%lld", (long long)value->integer), 0);
        break;
    case RESP_ARRAY:
    case RESP_MAP:
    case RESP_SET:
    case RESP_PUSH:
        assert_int_equal(buf_printf(out, "%zu/%zu", value->count, value->span), 0);
        break;
    case RESP_NULL:
        break;
    default:
        assert_int_equal(value->integer, 0);
        put_text(out, "", value->text);
        break;
    }
}

/* The flat list as text: "*2/3 :1 $x". */
static void print_reply(struct buf *out, const struct resp_reply *reply)
{
    for (size_t i = 0; i < reply->count; i++) {
        if (i > 0) {
            put(out, " ");
        }
        print_own(out, &reply->values[i]);
    }
    put(out, ";");
}

static void run_cut(const void *input, size_t size, size_t first, size_t piece, struct buf *out)
{
    struct resp_reply reply = {.reply_size_max = SIZE_LIMIT, .value_count_max = VALUE_LIMIT};
    size_t dropped = 0;
    size_t fed = first;
    size_t needed = 0;

    for (;;) {
        size_t there = fed - dropped;
        char *block = malloc(there > 0 ? there : 1);
        assert_non_null(block);
        if (there > 0) {
            memcpy(block, (const char *)input + dropped, there);
        }

        size_t consumed = 0;
        struct ls_error error = {0};
        int rc = resp_reply_parse(&reply, (ls_bytes){block, there}, &consumed, &error);
        assert_int_equal(error.code, rc < 0 ? rc : 0);
        if (rc > 0) {
            assert_true(there >= needed); /* it had said so */
            assert_in_range(consumed, 1, there);
            print_reply(out, &reply);
            needed = 0;
        }
        free(block);
        dropped += consumed;
        if (rc < 0) {
            assert_int_equal(buf_printf(out, "!%d %s", error.code, error.text), 0);
            break;
        }
        if (rc == 0) {
            assert_int_equal(consumed, 0);
            assert_true(reply.needed > there);
            assert_true(reply.needed >= needed);
            needed = reply.needed;
            if (fed == size) {
                break;
            }
            fed = size - fed < piece ? size : fed + piece;
        }
    }
    assert_int_equal(buf_append_byte(out, 0), 0);
    resp_reply_free(&reply);
}

static void the_types_of_resp2_are_read(void **state)
{
    (void)state;
    EXPECT("+OK\r\n", "+OK;");
    EXPECT("+\r\n", "+;");
    EXPECT("-ERR no such thing\r\n", "-ERR no such thing;");
    EXPECT(":0\r\n:-9223372036854775808\r\n:9223372036854775807\r\n",
           ":0;:-9223372036854775808;:9223372036854775807;");
    EXPECT("$5\r\nhe\r\no\r\n$0\r\n\r\n", "$he\r\no;$;");
    EXPECT("$-1\r\n*-1\r\n", "_;_;");
    EXPECT("*0\r\n", "*0/1;");
    EXPECT("*3\r\n:1\r\n$1\r\na\r\n+b\r\n", "*3/4 :1 $a +b;");
}

static void the_types_of_resp3_are_read(void **state)
{
    (void)state;
    EXPECT("_\r\n", "_;");
    EXPECT("#t\r\n#f\r\n", "#1;#0;");
    EXPECT(",1.5e3\r\n,-inf\r\n,nan\r\n", ",1.5e3;,-inf;,nan;");
    EXPECT("(18446744073709551615\r\n(-1\r\n", "(18446744073709551615;(-1;");
    EXPECT("=8\r\ntxt:some\r\n=4\r\nmkd:\r\n", "=some;=;");
    EXPECT("!8\r\nERR a\r\nb\r\n", "-ERR a\r\nb;");
    EXPECT("%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:2\r\n", "%2/6 +a :1 +b *1/2 :2;");
    EXPECT("~2\r\n:1\r\n:2\r\n", "~2/3 :1 :2;");
    EXPECT(">2\r\n+message\r\n*0\r\n", ">2/3 +message *0/1;");
    EXPECT("%0\r\n~0\r\n>0\r\n", "%0/1;~0/1;>0/1;");
}

static void nested_values_follow_their_parent(void **state)
{
    (void)state;
    EXPECT("*3\r\n*2\r\n:1\r\n*0\r\n%1\r\n*1\r\n:2\r\n_\r\n:3\r\n",
           "*3/9 *2/3 :1 *0/1 %1/4 *1/2 :2 _ :3;");
    EXPECT("*1\r\n*1\r\n*1\r\n*1\r\n$1\r\nx\r\n+next\r\n", "*1/5 *1/4 *1/3 *1/2 $x;+next;");
}

static void attributes_are_dropped_wherever_they_stand(void **state)
{
    (void)state;
    EXPECT("|1\r\n+ttl\r\n:3600\r\n$1\r\na\r\n", "$a;");
    EXPECT("*2\r\n:1\r\n|1\r\n+k\r\n*2\r\n:8\r\n:9\r\n:2\r\n", "*2/3 :1 :2;");
    EXPECT("|0\r\n|0\r\n:1\r\n", ":1;");
    EXPECT("|1\r\n+k\r\n|1\r\n+inner\r\n*0\r\n+v\r\n*1\r\n|1\r\n_\r\n_\r\n:1\r\n", "*1/2 :1;");
    EXPECT("|1\r\n+ttl\r\n:3600\r\n", "");
}

static void resp_next_walks_the_values_of_one_level(void **state)
{
    (void)state;
    ls_bytes input = bytes_of_text("*3\r\n*2\r\n:1\r\n:2\r\n:3\r\n%1\r\n:4\r\n:5\r\n");
    struct resp_reply reply = {0};
    struct ls_error error = {0};
    size_t consumed = 0;

    assert_int_equal(resp_reply_parse(&reply, input, &consumed, &error), 1);
    assert_int_equal(consumed, input.size);
    const struct resp_value *value = &reply.values[0];
    assert_null(resp_next(&reply, value));
    value++;
    assert_int_equal(value->type, RESP_ARRAY);
    value = resp_next(&reply, value);
    assert_int_equal(value->type, RESP_INTEGER);
    assert_int_equal(value->integer, 3);
    value = resp_next(&reply, value);
    assert_int_equal(value->type, RESP_MAP);
    assert_null(resp_next(&reply, value));
    resp_reply_free(&reply);
}

static void texts_point_into_the_bytes_of_the_last_call(void **state)
{
    (void)state;
    static const char input[] = "*2\r\n$3\r\nabc\r\n=5\r\ntxt:d\r\n";
    struct resp_reply reply = {0};
    struct ls_error error = {0};
    size_t consumed = 0;

    assert_int_equal(
        resp_reply_parse(&reply, bytes_of("*2\r\n$3\r\nabc\r\n=5\r", 16), &consumed, &error), 0);
    assert_int_equal(resp_reply_parse(&reply, bytes_of_text(input), &consumed, &error), 1);
    assert_ptr_equal(reply.values[1].text.data, input + 8);
    assert_ptr_equal(reply.values[2].text.data, input + 21);
    resp_reply_free(&reply);
}

static void garbage_is_refused_with_its_offset(void **state)
{
    (void)state;
#define REFUSED(offset) "!-14 not a RESP value at byte " #offset " of a reply"
    EXPECT("x", REFUSED(0));
    EXPECT("\r\n", REFUSED(0));
    EXPECT("*1\r\n\r\n", REFUSED(4));
    EXPECT("*2\r\n:1\r\n?", REFUSED(8));
    EXPECT(":\r\n", REFUSED(0));
    EXPECT(":x\r\n", REFUSED(0));
    EXPECT(":1 \r\n", REFUSED(0));
    EXPECT(":9223372036854775808\r\n", REFUSED(0));
    EXPECT("+a\rb", REFUSED(0));
    EXPECT("$-2\r\n", REFUSED(0));
    EXPECT("$?\r\n", REFUSED(0));
    EXPECT("*?\r\n", REFUSED(0));
    EXPECT("*-2\r\n", REFUSED(0));
    EXPECT("%-1\r\n", REFUSED(0));
    EXPECT("!-1\r\n", REFUSED(0));
    EXPECT("$1\r\nabc", REFUSED(0));
    EXPECT("#x\r\n", REFUSED(0));
    EXPECT("#t\rx", REFUSED(0));
    EXPECT("_x\r\n", REFUSED(0));
    EXPECT(",\r\n", REFUSED(0));
    EXPECT(",1,5\r\n", REFUSED(0));
    EXPECT("(1a\r\n", REFUSED(0));
    EXPECT("=3\r\ntxt\r\n", REFUSED(0));
    EXPECT("=5\r\ntxt+x\r\n", REFUSED(0));
#undef REFUSED
    EXPECT("*1\r\n>1\r\n:1\r\n", "!-14 a push inside a reply at byte 4");
    EXPECT("|1\r\n>0\r\n", "!-14 a push inside a reply at byte 4");
}

static void nesting_may_be_as_deep_as_the_limit_and_no_deeper(void **state)
{
    (void)state;
    for (size_t depth = RESP_DEPTH_MAX - 1; depth <= RESP_DEPTH_MAX + 1; depth++) {
        struct resp_reply reply = {0};
        struct buf input = {0};
        struct ls_error error = {0};
        size_t consumed = 0;

        for (size_t i = 0; i < depth; i++) {
            put(&input, i % 2 == 0 ? "*1\r\n" : "~1\r\n");
        }
        put(&input, "*0\r\n");
        int rc = resp_reply_parse(&reply, buf_bytes(&input), &consumed, &error);
        if (depth <= RESP_DEPTH_MAX) {
            assert_int_equal(rc, 1);
            assert_int_equal(reply.count, depth + 1);
            assert_int_equal(reply.values[0].span, depth + 1);
        } else {
            assert_int_equal(rc, LS_EPROTO);
            assert_string_equal(error.text, "a reply nested more than 32 deep at byte 128");
        }
        resp_reply_free(&reply);
        buf_free(&input);
    }
}

static void a_reply_may_be_as_large_as_the_limit_and_no_larger(void **state)
{
    (void)state;
    static const char *const inputs[] = {
        "+abcdefgh\r\n",
        "$10\r\n0123456789\r\n",
        "*3\r\n:1\r\n$2\r\nab\r\n_\r\n",
        "|1\r\n+k\r\n:1\r\n%1\r\n+a\r\n#t\r\n",
    };

    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        ls_bytes input = bytes_of_text(inputs[i]);
        for (size_t limit = 1; limit <= input.size + 1; limit++) {
            struct resp_reply reply = {.reply_size_max = limit};
            struct ls_error error = {0};
            size_t consumed = 0;
            int rc = resp_reply_parse(&reply, input, &consumed, &error);
            if (limit >= input.size) {
                assert_int_equal(rc, 1);
                assert_int_equal(consumed, input.size);
            } else {
                assert_int_equal(rc, LS_ETOOBIG);
                assert_int_equal(error.number, limit);
            }
            resp_reply_free(&reply);
        }
    }
    EXPECT("$505\r\nx", "!-27 a reply takes at most 512 bytes"); /* 505 + 6 + 2 = 513 */
    EXPECT("$504\r\nx", "");
    EXPECT("$9999999999\r\n", "!-27 a reply takes at most 512 bytes");
    EXPECT("$9223372036854775807\r\n", "!-27 a reply takes at most 512 bytes");
    EXPECT("=9223372036854775807\r\n", "!-27 a reply takes at most 512 bytes");
}

static void a_reply_may_hold_as_many_values_as_the_limit_and_no_more(void **state)
{
    (void)state;
    static const char input[] = "*2\r\n%1\r\n:1\r\n:2\r\n*1\r\n:3\r\n"; /* 6 values */

    for (size_t limit = 1; limit <= 7; limit++) {
        struct resp_reply reply = {.value_count_max = limit};
        struct ls_error error = {0};
        size_t consumed = 0;
        int rc = resp_reply_parse(&reply, bytes_of_text(input), &consumed, &error);
        if (limit >= 6) {
            assert_int_equal(rc, 1);
            assert_int_equal(reply.count, 6);
        } else {
            assert_int_equal(rc, LS_ETOOBIG);
            assert_int_equal(error.number, limit);
        }
        resp_reply_free(&reply);
    }
    EXPECT("*64\r\n", "!-27 a reply holds at most 64 values");
    EXPECT("*63\r\n", "");
    EXPECT("*1000000000\r\n", "!-27 a reply holds at most 64 values");
    EXPECT("%9223372036854775807\r\n", "!-27 a reply holds at most 64 values");
    EXPECT("|9223372036854775807\r\n", "!-27 a reply holds at most 64 values");
}

static void a_claim_takes_no_memory(void **state)
{
    (void)state;
    struct resp_reply reply = {.reply_size_max = SIZE_MAX, .value_count_max = SIZE_MAX};
    struct ls_error error = {0};
    size_t consumed = 0;

    faults_fail_allocation(0);
    assert_int_equal(resp_reply_parse(&reply,
                                      bytes_of_text("*1000000000\r\n*1000000000\r\n"
                                                    "%9000000\r\n$9999999999\r\nab"),
                                      &consumed, &error),
                     0);
    assert_true(faults_allocations() <= 1);
    assert_int_equal(reply.capacity, 16);
    resp_reply_free(&reply);
}

static void what_is_needed_is_told_as_far_as_it_is_known(void **state)
{
    (void)state;
    static const struct {
        const char *input;
        size_t needed;
    } cases[] = {
        {"", 3},
        {"$", 3},
        {"$1048576\r\n", 10 + 1048576 + 2},
        {"*2\r\n$1000\r\nab", 4 + 7 + 1000 + 2 + 3},
        {"*3\r\n", 4 + 3 * 3},
        {"%2\r\n+a\r\n", 4 + 4 + 3 * 3},
        {"|1\r\n", 4 + 2 * 3 + 3},
        {"+a", 4},
        {"+a\r", 4},
        {"#", 4},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct resp_reply reply = {0};
        struct ls_error error = {0};
        size_t consumed = 0;
        assert_int_equal(resp_reply_parse(&reply, bytes_of_text(cases[i].input), &consumed, &error),
                         0);
        assert_int_equal(reply.needed, cases[i].needed);
        resp_reply_free(&reply);
    }
}

static void parsing_resumes_where_it_stopped(void **state)
{
    (void)state;
    struct resp_reply reply = {0};
    struct ls_error error = {0};
    size_t consumed = 0;

    assert_int_equal(resp_reply_parse(&reply, bytes_of_text("*3\r\n:1\r\n*1\r\n:2\r\n$9\r\nab"),
                                      &consumed, &error),
                     0);
    assert_int_equal(reply.offset, 16);
    assert_int_equal(reply.count, 4);
    assert_int_equal(reply.depth, 1);
    resp_reply_free(&reply);
}

static void a_line_has_a_length_of_its_own(void **state)
{
    (void)state;
    for (size_t size = 65535; size <= 65537; size++) {
        struct resp_reply reply = {0};
        struct buf input = {0};
        struct ls_error error = {0};
        size_t consumed = 0;

        assert_int_equal(buf_reserve(&input, size + 3), 0);
        memset(input.data, 'x', size + 1);
        input.data[0] = '+';
        input.size = size + 1;
        int cut = resp_reply_parse(&reply, buf_bytes(&input), &consumed, &error);
        put(&input, "\r\n");
        int whole = resp_reply_parse(&reply, buf_bytes(&input), &consumed, &error);
        assert_int_equal(cut, size <= 65536 ? 0 : LS_EPROTO);
        assert_int_equal(whole, size <= 65536 ? 1 : LS_EPROTO);
        resp_reply_free(&reply);
        buf_free(&input);
    }
}

static void a_failure_is_forgotten_by_the_next_call(void **state)
{
    (void)state;
    struct resp_reply reply = {0};
    struct ls_error error = {0};
    size_t consumed = 0;

    assert_int_equal(
        resp_reply_parse(&reply, bytes_of_text("*2\r\n*1\r\n:1\r\n?"), &consumed, &error),
        LS_EPROTO);
    assert_int_equal(reply.count, 0);
    assert_int_equal(resp_reply_parse(&reply, bytes_of_text("+OK\r\n"), &consumed, &error), 1);
    assert_int_equal(consumed, 5);
    assert_int_equal(resp_reply_parse(&reply, bytes_of_text("*2\r\n:1\r\n"), &consumed, &error), 0);
    resp_reply_free(&reply);
    assert_int_equal(resp_reply_parse(&reply, bytes_of_text(":7\r\n"), &consumed, &error), 1);
    assert_int_equal(reply.values[0].integer, 7);
    resp_reply_free(&reply);
}

static void parse_with_a_failing_allocation(void *context, long n)
{
    struct buf *input = context;
    struct resp_reply reply = {0};
    struct ls_error error = {0};
    size_t consumed = 0;
    (void)n;

    for (size_t there = input->size / 2; there <= input->size; there += input->size / 2) {
        ls_bytes data = {input->data, there};
        int rc = resp_reply_parse(&reply, data, &consumed, &error);
        if (rc < 0) {
            assert_int_equal(rc, LS_ENOMEM);
            assert_int_equal(error.code, LS_ENOMEM);
            rc = resp_reply_parse(&reply, data, &consumed, &error);
        }
        assert_int_equal(rc, there == input->size);
    }
    assert_int_equal(reply.count, 101);
    assert_int_equal(consumed, input->size);
    resp_reply_free(&reply);
}

static void each_failing_allocation_is_reported_and_can_be_tried_again(void **state)
{
    (void)state;
    struct buf input = {0};

    put(&input, "*100\r\n");
    for (int i = 0; i < 100; i++) {
        put(&input, "$2\r\nab\r\n");
    }
    faults_each_allocation(parse_with_a_failing_allocation, &input);
    buf_free(&input);
}

static void what_the_writer_writes_is_read_back(void **state)
{
    (void)state;
    const ls_bytes argv[] = {bytes_of_text("GET"), bytes_of("a\0b", 3)};

    for (int proto = 2; proto <= 3; proto++) {
        struct buf input = {0};
        assert_int_equal(resp_map(&input, proto, 2), 0);
        assert_int_equal(resp_bulk_text(&input, "key"), 0);
        assert_int_equal(resp_clock(&input, proto, UINT64_MAX), 0);
        assert_int_equal(resp_integer(&input, -5), 0);
        assert_int_equal(resp_array(&input, 4), 0);
        assert_int_equal(resp_null(&input, proto), 0);
        assert_int_equal(resp_double(&input, proto, 0.25), 0);
        assert_int_equal(resp_boolean(&input, proto, true), 0);
        assert_int_equal(resp_verbatim(&input, proto, bytes_of_text("text")), 0);
        assert_int_equal(resp_push(&input, proto, 1), 0);
        assert_int_equal(resp_simple(&input, "OK"), 0);
        assert_int_equal(resp_request(&input, 2, argv), 0);
        expect_of(input.data, input.size,
                  proto == 2 ? "*4/9 $key $18446744073709551615 :-5 *4/5 _ $0.25 :1 $text;"
                               "*1/2 +OK;*2/3 $GET $a"
                             : "%2/9 $key (18446744073709551615 :-5 *4/5 _ ,0.25 #1 =text;"
                               ">1/2 +OK;*2/3 $GET $a");
        buf_free(&input);
    }
}

static void random_bytes_give_the_same_however_they_are_cut(void **state)
{
    (void)state;
    uint64_t random = 0x9e3779b97f4a7c15u;

    for (int round = 0; round < 5000; round++) {
        static const char *const words[] = {"*2\r\n", ":1\r\n", "$3\r\nabc\r\n", "%1\r\n",
                                            "|1\r\n", "_\r\n",  "+x\r\n",        "*0\r\n",
                                            "\r\n",   "$-1\r\n"};
        struct buf input = {0};
        for (int i = 0; i < round % 20; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            put(&input, words[(random >> 33) % (sizeof words / sizeof *words)]);
        }
        expect_no_cut_matters(input.data, input.size, 1 + (size_t)round % 7);
        buf_free(&input);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_types_of_resp2_are_read),
        cmocka_unit_test(the_types_of_resp3_are_read),
        cmocka_unit_test(nested_values_follow_their_parent),
        cmocka_unit_test(attributes_are_dropped_wherever_they_stand),
        cmocka_unit_test(resp_next_walks_the_values_of_one_level),
        cmocka_unit_test(texts_point_into_the_bytes_of_the_last_call),
        cmocka_unit_test(garbage_is_refused_with_its_offset),
        cmocka_unit_test(nesting_may_be_as_deep_as_the_limit_and_no_deeper),
        cmocka_unit_test(a_reply_may_be_as_large_as_the_limit_and_no_larger),
        cmocka_unit_test(a_reply_may_hold_as_many_values_as_the_limit_and_no_more),
        cmocka_unit_test(a_claim_takes_no_memory),
        cmocka_unit_test(what_is_needed_is_told_as_far_as_it_is_known),
        cmocka_unit_test(parsing_resumes_where_it_stopped),
        cmocka_unit_test(a_line_has_a_length_of_its_own),
        cmocka_unit_test(a_failure_is_forgotten_by_the_next_call),
        cmocka_unit_test(each_failing_allocation_is_reported_and_can_be_tried_again),
        cmocka_unit_test(what_the_writer_writes_is_read_back),
        cmocka_unit_test(random_bytes_give_the_same_however_they_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
