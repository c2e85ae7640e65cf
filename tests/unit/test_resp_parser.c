/* SPDX-License-Identifier: Apache-2.0 */
/* The request parser: what is a command, what is refused, and that no cut matters. */
#include "faults.h"
#include "resp/parser.h"
#include "resp_fixture.h"

#define SIZE_LIMIT   1024
#define INLINE_LIMIT 128

static struct resp_parser fresh(void)
{
    return (struct resp_parser){
        .limits = {.request_size_max = SIZE_LIMIT, .inline_size_max = INLINE_LIMIT}};
}

/* Appends a command as "[word|word|...]". */
static void print_command(struct buf *out, const struct resp_parser *parser)
{
    assert_int_equal(buf_append_byte(out, '['), 0);
    for (size_t i = 0; i < parser->argc; i++) {
        if (i > 0) {
            assert_int_equal(buf_append_byte(out, '|'), 0);
        }
        assert_int_equal(buf_append(out, parser->argv[i].data, parser->argv[i].size), 0);
    }
    assert_int_equal(buf_append_byte(out, ']'), 0);
}

static void run_cut(const void *input, size_t size, size_t first, size_t piece, struct buf *out)
{
    struct resp_parser parser = fresh();
    size_t dropped = 0;
    size_t fed = first;

    for (;;) {
        size_t there = fed - dropped;
        char *block = malloc(there > 0 ? there : 1);
        assert_non_null(block);
        if (there > 0) {
            memcpy(block, (const char *)input + dropped, there);
        }

        size_t consumed = SIZE_MAX;
        struct ls_error error = {0};
        enum resp_status status = resp_parse(&parser, (ls_bytes){block, there}, &consumed, &error);
        assert_in_range(consumed, 0, there);
        if (status == RESP_COMMAND) {
            assert_true(parser.argc >= 1);
            print_command(out, &parser);
        }
        free(block);
        dropped += consumed;
        if (status == RESP_FAILED) {
            assert_int_not_equal(error.code, 0);
            assert_int_equal(buf_printf(out, "!%d %s", error.code, error.text), 0);
            break;
        }
        assert_int_equal(error.code, 0);
        if (status == RESP_MORE) {
            if (fed == size) {
                break;
            }
            fed = size - fed < piece ? size : fed + piece;
        }
    }
    assert_int_equal(buf_append_byte(out, 0), 0);
    resp_parser_free(&parser);
}

static void an_array_of_bulk_strings_is_a_command(void **state)
{
    (void)state;
    EXPECT("*1\r\n$4\r\nPING\r\n", "[PING]");
    EXPECT("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$13\r\nhello\r\n$1*2\r\n\r\n",
           "[SET|k|hello\r\n$1*2\r\n]");
    EXPECT("*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", "[ECHO|]");
}

static void arguments_hold_any_bytes(void **state)
{
    (void)state;
    static const char input[] = "*2\r\n$1\r\n\0\r\n$4\r\n\xff\0\r\n\r\n";
    struct resp_parser parser = fresh();
    struct ls_error error = {0};
    size_t consumed = 0;

    assert_int_equal(resp_parse(&parser, (ls_bytes){input, sizeof input - 1}, &consumed, &error),
                     RESP_COMMAND);
    assert_int_equal(consumed, sizeof input - 1);
    assert_int_equal(parser.argc, 2);
    assert_int_equal(parser.argv[0].size, 1);
    assert_memory_equal(parser.argv[0].data, "\0", 1);
    assert_int_equal(parser.argv[1].size, 4);
    assert_memory_equal(parser.argv[1].data, "\xff\0\r\n", 4);
    /* In place, not copied. */
    assert_ptr_equal(parser.argv[1].data, input + 15);
    resp_parser_free(&parser);
}

static void a_pipeline_gives_its_commands_in_order(void **state)
{
    (void)state;
    EXPECT("*1\r\n$1\r\na\r\n*2\r\n$1\r\nb\r\n$2\r\ncc\r\nd e\r\n*1\r\n$1\r\nf\r\n",
           "[a][b|cc][d|e][f]");
}

static void arrays_without_arguments_and_empty_lines_are_skipped(void **state)
{
    (void)state;
    EXPECT("*0\r\n*-1\r\n\r\n\n  \r\n*-10\r\n*1\r\n$1\r\na\r\n\r\n*0\r\n", "[a]");
    EXPECT("*0\r\n", "");
    EXPECT("", "");
}

static void what_is_skipped_is_consumed_before_a_command_comes(void **state)
{
    (void)state;
    static const char input[] = "\r\n*0\r\n\r\n*1\r\n$4\r\nPI";
    struct resp_parser parser = fresh();
    struct ls_error error = {0};
    size_t consumed = 0;

    assert_int_equal(resp_parse(&parser, (ls_bytes){input, sizeof input - 1}, &consumed, &error),
                     RESP_MORE);
    assert_int_equal(consumed, 8);
    assert_int_equal(resp_parse(&parser, bytes_of_text("*1\r\n$4\r\nPING\r\n"), &consumed, &error),
                     RESP_COMMAND);
    assert_int_equal(consumed, 14);
    resp_parser_free(&parser);
}

static void a_wrong_count_is_refused_as_redis_does(void **state)
{
    (void)state;
#define REFUSED "!-14 Protocol error: invalid multibulk length"
    EXPECT("*x\r\n", REFUSED);
    EXPECT("*\r\n", REFUSED);
    EXPECT("*-\r\n", REFUSED);
    EXPECT("*-0\r\n", REFUSED);
    EXPECT("*01\r\n", REFUSED);
    EXPECT("*+1\r\n", REFUSED);
    EXPECT("* 1\r\n", REFUSED);
    EXPECT("*1 \r\n", REFUSED);
    EXPECT("*1\n$1\r\na\r\n", REFUSED);
    EXPECT("*1\rx", REFUSED);
    EXPECT("*20000000\r\n", REFUSED);
    EXPECT("*1048577\r\n", REFUSED);
    EXPECT("*1000000000\r\n", REFUSED);
    EXPECT("*9223372036854775807\r\n", REFUSED);
    EXPECT("*9223372036854775808\r\n", REFUSED);
    EXPECT("*99999999999999999999", REFUSED);
#undef REFUSED
}

static void a_wrong_length_is_refused_as_redis_does(void **state)
{
    (void)state;
#define REFUSED "!-14 Protocol error: invalid bulk length"
    EXPECT("*1\r\n$-1\r\n", REFUSED);
    EXPECT("*1\r\n$-5\r\n", REFUSED);
    EXPECT("*1\r\n$\r\n", REFUSED);
    EXPECT("*1\r\n$x\r\n", REFUSED);
    EXPECT("*1\r\n$1x\r\n", REFUSED);
    EXPECT("*1\r\n$00\r\n", REFUSED);
    EXPECT("*1\r\n$1\rx\n", REFUSED);
    EXPECT("*1\r\n$99999999999999999999\r\n", REFUSED);
#undef REFUSED
}

static void a_length_may_have_any_number_of_digits_and_come_in_pieces(void **state)
{
    (void)state;
    for (size_t length = 1; length <= 100000; length *= 10) {
        struct resp_parser parser = fresh();
        struct buf input = {0};
        struct ls_error error = {0};
        size_t consumed = 0;
        parser.limits.request_size_max = 2 * length + 100;
        assert_int_equal(buf_printf(&input, "*1\r\n$%zu\r\n", length), 0);
        for (size_t size = 0; size <= input.size; size++) {
            ls_bytes part = bytes_of(input.data, size);
            assert_int_equal(resp_parse(&parser, part, &consumed, &error), RESP_MORE);
            assert_int_equal(consumed, 0);
        }
        assert_int_equal(buf_printf(&input, "%0*d\r\n", (int)length, 0), 0);
        assert_int_equal(resp_parse(&parser, buf_bytes(&input), &consumed, &error), RESP_COMMAND);
        assert_int_equal(consumed, input.size);
        assert_int_equal(parser.argv[0].size, length);
        resp_parser_free(&parser);
        buf_free(&input);
    }
    EXPECT("*1\r\n$100\rx", "!-14 Protocol error: invalid bulk length");
    EXPECT("*1\r\n$100x\r\n", "!-14 Protocol error: invalid bulk length");
    EXPECT("*1\r\n$1x0\r\n", "!-14 Protocol error: invalid bulk length");
    EXPECT("*1\r\n$010\r\n", "!-14 Protocol error: invalid bulk length");
}

static void a_wrong_marker_is_refused_and_named(void **state)
{
    (void)state;
    EXPECT("*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", "!-14 Protocol error: expected '$', got 'f'");
    EXPECT("*1\r\n\r\n", "!-14 Protocol error: expected '$', got '\\x0d'");
    EXPECT("*1\r\n:1\r\n", "!-14 Protocol error: expected '$', got ':'");
    EXPECT("a\r\n*1\r\n*1\r\n", "[a]!-14 Protocol error: expected '$', got '*'");
    EXPECT("*1\r\n\xff", "!-14 Protocol error: expected '$', got '\\xff'");
}

static void a_bulk_string_without_its_line_end_is_refused(void **state)
{
    (void)state;
    EXPECT("*1\r\n$1\r\nabc", "!-14 Protocol error: expected CRLF behind a bulk string");
    EXPECT("*1\r\n$1\r\na\rX", "!-14 Protocol error: expected CRLF behind a bulk string");
}

static void a_request_may_be_as_large_as_the_limit_and_no_larger(void **state)
{
    (void)state;
    ls_bytes input = bytes_of_text("*2\r\n$3\r\nabc\r\n$5\r\nhello\r\n");

    for (size_t limit = 0; limit <= input.size + 1; limit++) {
        struct resp_parser parser = fresh();
        struct ls_error error = {0};
        size_t consumed = 0;

        parser.limits.request_size_max = limit;
        enum resp_status status = resp_parse(&parser, input, &consumed, &error);
        if (limit >= input.size) {
            assert_int_equal(status, RESP_COMMAND);
            assert_int_equal(consumed, input.size);
        } else {
            assert_int_equal(status, RESP_FAILED);
            assert_int_equal(error.code, LS_ETOOBIG);
            assert_int_equal(error.number, limit);
        }
        resp_parser_free(&parser);
    }
    EXPECT("*1\r\n$9999999999\r\n", "!-27 a request takes at most 1024 bytes");
    EXPECT("*1\r\n$9223372036854775807\r\n", "!-27 a request takes at most 1024 bytes");
}

static void a_request_that_is_too_large_is_refused_by_its_length_alone(void **state)
{
    (void)state;
    EXPECT("*1\r\n$1011\r\nx", "");
    EXPECT("*1\r\n$1012\r\n", "!-27 a request takes at most 1024 bytes");
}

static void a_claim_takes_no_memory(void **state)
{
    (void)state;
    struct resp_parser parser = fresh();
    struct ls_error error = {0};
    size_t consumed = 0;

    parser.limits.request_size_max = (size_t)1 << 40;
    faults_fail_allocation(0);
    assert_int_equal(
        resp_parse(&parser, bytes_of_text("*1048576\r\n$9999999999\r\nab"), &consumed, &error),
        RESP_MORE);
    assert_int_equal(faults_allocations(), 0);
    resp_parser_free(&parser);
}

static void the_largest_count_is_accepted(void **state)
{
    (void)state;
    struct resp_parser parser = fresh();
    struct buf input = {0};
    struct ls_error error = {0};
    size_t consumed = 0;

    parser.limits.request_size_max = (size_t)16 << 20;
    assert_int_equal(buf_append_text(&input, "*1048576\r\n"), 0);
    for (int i = 0; i < RESP_ARGUMENTS_MAX; i++) {
        assert_int_equal(buf_append_text(&input, "$1\r\nx\r\n"), 0);
    }
    assert_int_equal(resp_parse(&parser, buf_bytes(&input), &consumed, &error), RESP_COMMAND);
    assert_int_equal(parser.argc, RESP_ARGUMENTS_MAX);
    assert_int_equal(consumed, input.size);
    assert_memory_equal(parser.argv[parser.argc - 1].data, "x", 1);
    resp_parser_free(&parser);
    buf_free(&input);
}

static void a_line_of_words_is_a_command(void **state)
{
    (void)state;
    EXPECT("PING\r\n", "[PING]");
    EXPECT("PING\n", "[PING]");
    EXPECT("  set \t key   value \r\n", "[set|key|value]");
    EXPECT("a\rb\r\n", "[a|b]");
    EXPECT("incomplete line", "");
}

static void quotes_work_as_in_redis_cli(void **state)
{
    (void)state;
    EXPECT("set \"a b\" 'c d'\r\n", "[set|a b|c d]");
    EXPECT("x \"\" ''\r\n", "[x||]");
    EXPECT("x \"\\n\\r\\t\\b\\a\\\\\\\"\\q\"\r\n", "[x|\n\r\t\b\a\\\"q]");
    EXPECT("x \"\\x41\\x6a\\x6A\\xff\"\r\n", "[x|Ajj\xff]");
    EXPECT("x \"\\x4\\xg1\"\r\n", "[x|x4xg1]");
    EXPECT("x 'a\\'b\\n\\\\c'\r\n", "[x|a'b\\n\\\\c]");
    EXPECT("x a\"b c\" d'e'\r\n", "[x|ab c|de]");
    EXPECT("x \"it's\" 'say \"hi\"'\r\n", "[x|it's|say \"hi\"]");
}

static void a_quoted_word_may_hold_a_nul(void **state)
{
    (void)state;
    struct resp_parser parser = fresh();
    struct ls_error error = {0};
    size_t consumed = 0;

    assert_int_equal(resp_parse(&parser, bytes_of_text("\"\\x00\"\n"), &consumed, &error),
                     RESP_COMMAND);
    assert_int_equal(parser.argc, 1);
    assert_int_equal(parser.argv[0].size, 1);
    assert_memory_equal(parser.argv[0].data, "\0", 1);
    resp_parser_free(&parser);
}

static void unbalanced_quotes_are_refused_as_redis_does(void **state)
{
    (void)state;
#define REFUSED "!-14 Protocol error: unbalanced quotes in request"
    EXPECT("set \"\"\"test-key\"\"\" test-value\r\n", REFUSED);
    EXPECT("x \"abc\r\n", REFUSED);
    EXPECT("x 'abc\r\n", REFUSED);
    EXPECT("x \"abc\\\"\r\n", REFUSED);
    EXPECT("x \"abc\\\r\n", REFUSED);
    EXPECT("x 'a'b\r\n", REFUSED);
    EXPECT("x \"a\"b\r\n", REFUSED);
    EXPECT("x \"\r\n", REFUSED);
#undef REFUSED
}

static void a_nul_byte_in_a_line_is_refused(void **state)
{
    (void)state;
    EXPECT("a\0b\r\n", "!-14 Protocol error: NUL byte in an inline request");
}

static void a_line_may_be_as_long_as_the_limit_and_no_longer(void **state)
{
    (void)state;
    char line[INLINE_LIMIT + 8];
    char expected[INLINE_LIMIT + 8];

    for (size_t size = INLINE_LIMIT - 1; size <= INLINE_LIMIT + 1; size++) {
        memset(line, 'x', sizeof line);
        line[size] = '\n';
        if (size <= INLINE_LIMIT) {
            snprintf(expected, sizeof expected, "[%.*s]", (int)size, line);
        } else {
            snprintf(expected, sizeof expected, "!-14 Protocol error: too big inline request");
        }
        expect_of(line, size + 1, expected);
    }
    expect_of(line, INLINE_LIMIT + 1, "!-14 Protocol error: too big inline request");
}

static void http_is_refused_before_any_line_of_it_is_run(void **state)
{
    (void)state;
#define REFUSED "!-14 Protocol error: HTTP is not spoken here"
    EXPECT("GET / HTTP/1.1\r\nHost: x\r\n\r\nflush\r\n", REFUSED);
    EXPECT("POST / HTTP/1.1\r\n", REFUSED);
    EXPECT("post anything\r\n", REFUSED);
    EXPECT("POST\r\n", REFUSED);
    EXPECT("Host: localhost\r\n", REFUSED);
    EXPECT("HOST:localhost:7411\r\n", REFUSED);
    EXPECT("PUT /key http/1.0\r\n", REFUSED);
#undef REFUSED
    EXPECT("get HTTP/1.1\r\n", "[get|HTTP/1.1]");
    EXPECT("poster host\r\n", "[poster|host]");
    EXPECT("*1\r\n$4\r\nPOST\r\n", "[POST]");
}

static void garbage_gives_the_same_however_it_is_cut(void **state)
{
    (void)state;
    uint64_t random = 0x9e3779b97f4a7c15u;

    for (int round = 0; round < 3000; round++) {
        static const char alphabet[] = "*$\r\n0123456789-\"'\\x ab\0\xff";
        char input[200];
        size_t size = (size_t)(round % 200);
        for (size_t i = 0; i < size; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            input[i] = alphabet[(random >> 33) % (sizeof alphabet - 1)];
        }
        expect_no_cut_matters(input, size, 1 + (size_t)round % 7);
    }
}

/* More arguments than the first two sizes of argv hold, then an inline line. */
static void parse_with_a_failing_allocation(void *context, long n)
{
    struct buf *input = context;
    struct resp_parser parser = fresh();
    size_t offset = 0;
    size_t commands = 0;
    (void)n;

    for (;;) {
        struct ls_error error = {0};
        size_t consumed = 0;
        ls_bytes rest = {input->data + offset, input->size - offset};
        enum resp_status status = resp_parse(&parser, rest, &consumed, &error);
        offset += consumed;
        if (status == RESP_FAILED) {
            assert_int_equal(error.code, LS_ENOMEM);
            continue; /* the one failure that may be tried again */
        }
        if (status == RESP_MORE) {
            break;
        }
        commands++;
        assert_int_equal(parser.argc, commands == 1 ? 20 : 2);
        for (size_t i = 0; i < parser.argc; i++) {
            assert_int_equal(parser.argv[i].size, 1);
            assert_memory_equal(parser.argv[i].data, "x", 1);
        }
    }
    assert_int_equal(commands, 2);
    assert_int_equal(offset, input->size);
    resp_parser_free(&parser);
}

static void each_failing_allocation_is_reported_and_can_be_tried_again(void **state)
{
    (void)state;
    struct buf input = {0};

    assert_int_equal(buf_append_text(&input, "\r\n*20\r\n"), 0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(buf_append_text(&input, "$1\r\nx\r\n"), 0);
    }
    assert_int_equal(buf_append_text(&input, "*0\r\nx x\r\n"), 0);
    faults_each_allocation(parse_with_a_failing_allocation, &input);
    buf_free(&input);
}

static void parsing_resumes_where_it_stopped(void **state)
{
    (void)state;
    struct resp_parser parser = fresh();
    struct ls_error error = {0};
    size_t consumed = 0;

    assert_int_equal(
        resp_parse(&parser, bytes_of_text("*2\r\n$1\r\na\r\n$5\r\nab"), &consumed, &error),
        RESP_MORE);
    assert_int_equal(parser.offset, 11);
    assert_int_equal(parser.argc, 1);
    resp_parser_free(&parser);
    assert_int_equal(resp_parse(&parser, bytes_of_text("half a line"), &consumed, &error),
                     RESP_MORE);
    assert_int_equal(parser.offset, 11);
    resp_parser_free(&parser);
}

static void a_resting_parser_gives_back_what_a_large_command_took(void **state)
{
    (void)state;
    struct resp_parser parser = fresh();
    struct buf input = {0};
    struct ls_error error = {0};
    size_t consumed = 0;

    assert_int_equal(resp_parse(&parser, bytes_of_text("*1\r\n$1\r\na\r\n"), &consumed, &error),
                     RESP_COMMAND);
    resp_parser_rest(&parser);
    assert_non_null(parser.argv);

    assert_int_equal(buf_append_text(&input, "*100\r\n"), 0);
    for (int i = 0; i < 99; i++) {
        assert_int_equal(buf_append_text(&input, "$0\r\n\r\n"), 0);
    }
    assert_int_equal(resp_parse(&parser, buf_bytes(&input), &consumed, &error), RESP_MORE);
    resp_parser_rest(&parser);
    assert_non_null(parser.argv); /* a command is under way */
    assert_int_equal(buf_append_text(&input, "$0\r\n\r\n"), 0);
    assert_int_equal(resp_parse(&parser, buf_bytes(&input), &consumed, &error), RESP_COMMAND);
    assert_int_equal(parser.argc, 100);
    resp_parser_rest(&parser);
    assert_null(parser.argv);

    assert_int_equal(resp_parse(&parser, bytes_of_text("a b\n"), &consumed, &error), RESP_COMMAND);
    resp_parser_rest(&parser);
    assert_null(parser.inline_copy);
    assert_int_equal(parser.limits.request_size_max, SIZE_LIMIT);
    resp_parser_free(&parser);
    buf_free(&input);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_array_of_bulk_strings_is_a_command),
        cmocka_unit_test(arguments_hold_any_bytes),
        cmocka_unit_test(a_pipeline_gives_its_commands_in_order),
        cmocka_unit_test(arrays_without_arguments_and_empty_lines_are_skipped),
        cmocka_unit_test(what_is_skipped_is_consumed_before_a_command_comes),
        cmocka_unit_test(a_wrong_count_is_refused_as_redis_does),
        cmocka_unit_test(a_wrong_length_is_refused_as_redis_does),
        cmocka_unit_test(a_length_may_have_any_number_of_digits_and_come_in_pieces),
        cmocka_unit_test(a_wrong_marker_is_refused_and_named),
        cmocka_unit_test(a_bulk_string_without_its_line_end_is_refused),
        cmocka_unit_test(a_request_may_be_as_large_as_the_limit_and_no_larger),
        cmocka_unit_test(a_request_that_is_too_large_is_refused_by_its_length_alone),
        cmocka_unit_test(a_claim_takes_no_memory),
        cmocka_unit_test(the_largest_count_is_accepted),
        cmocka_unit_test(a_line_of_words_is_a_command),
        cmocka_unit_test(quotes_work_as_in_redis_cli),
        cmocka_unit_test(a_quoted_word_may_hold_a_nul),
        cmocka_unit_test(unbalanced_quotes_are_refused_as_redis_does),
        cmocka_unit_test(a_nul_byte_in_a_line_is_refused),
        cmocka_unit_test(a_line_may_be_as_long_as_the_limit_and_no_longer),
        cmocka_unit_test(http_is_refused_before_any_line_of_it_is_run),
        cmocka_unit_test(garbage_gives_the_same_however_it_is_cut),
        cmocka_unit_test(each_failing_allocation_is_reported_and_can_be_tried_again),
        cmocka_unit_test(parsing_resumes_where_it_stopped),
        cmocka_unit_test(a_resting_parser_gives_back_what_a_large_command_took),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
