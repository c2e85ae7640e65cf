/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request parser. Arrays are the path that matters: one pass over the bytes, offsets noted as
 * the arguments go by, pointers made from them once the command is whole. Inline lines are for
 * people.
 */
#include "resp/parser.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "resp/line.h"

#define CAPACITY_FIRST 8
#define CAPACITY_REST  64 /* an argv up to this long stays with an idle connection */

/* Doubles argv and offsets. 0 or LS_ENOMEM, what they hold untouched. */
static int grow(struct resp_parser *parser)
{
    size_t capacity = parser->capacity == 0 ? CAPACITY_FIRST : parser->capacity * 2;
    ls_bytes *argv = realloc(parser->argv, capacity * sizeof *argv);
    if (argv == NULL) {
        return LS_ENOMEM;
    }
    parser->argv = argv;
    size_t *offsets = realloc(parser->offsets, capacity * sizeof *offsets);
    if (offsets == NULL) {
        return LS_ENOMEM;
    }
    parser->offsets = offsets;
    parser->capacity = capacity;
    return 0;
}

static enum resp_status fail(struct ls_error *error, const char *sentence)
{
    error_set(error, LS_EPROTO, 0, "Protocol error: %s", sentence);
    return RESP_FAILED;
}

static enum resp_status fail_memory(struct ls_error *error)
{
    error_code(error, LS_ENOMEM);
    return RESP_FAILED;
}

static enum resp_status fail_marker(struct ls_error *error, uint8_t byte)
{
    const char *format = isprint(byte) ? "Protocol error: expected '$', got '%c'"
                                       : "Protocol error: expected '$', got '\\x%02x'";
    error_set(error, LS_EPROTO, 0, format, byte);
    return RESP_FAILED;
}

static enum resp_status fail_size(struct ls_error *error, size_t size_max)
{
    error_set(error, LS_ETOOBIG, size_max, "a request takes at most %zu bytes", size_max);
    return RESP_FAILED;
}

/* The "*count" line. RESP_COMMAND where it is whole: then either `expected` arguments follow, or,
 * for an empty or null array, none and the parser is between commands again. */
static enum resp_status parse_count(struct resp_parser *parser, const uint8_t *bytes, size_t size,
                                    struct ls_error *error)
{
    int64_t count;
    const uint8_t *after;

    switch (line_integer(bytes + 1, bytes + size, &count, &after)) {
    case LINE_CUT:
        return RESP_MORE;
    case LINE_BAD:
        return fail(error, "invalid multibulk length");
    case LINE_WHOLE:
        break;
    }
    if (count > RESP_ARGUMENTS_MAX) {
        return fail(error, "invalid multibulk length");
    }
    parser->argc = 0;
    parser->expected = count > 0 ? (size_t)count : 0;
    parser->offset = (size_t)(after - bytes);
    return RESP_COMMAND;
}

/* The argument that begins at the offset. RESP_COMMAND where it is whole and has its place. */
static inline enum resp_status parse_argument(struct resp_parser *parser, const uint8_t *bytes,
                                              size_t size, struct ls_error *error)
{
    const uint8_t *at = bytes + parser->offset;
    size_t size_max = parser->limits.request_size_max;
    int64_t length;
    const uint8_t *after;

    if (parser->offset == size) {
        return RESP_MORE;
    }
    if (*at != '$') {
        return fail_marker(error, *at);
    }
    switch (line_integer(at + 1, bytes + size, &length, &after)) {
    case LINE_CUT:
        return RESP_MORE;
    case LINE_BAD:
        return fail(error, "invalid bulk length");
    case LINE_WHOLE:
        break;
    }
    if (length < 0) {
        return fail(error, "invalid bulk length");
    }
    size_t start = (size_t)(after - bytes);
    if (start + 2 > size_max || (uint64_t)length > size_max - start - 2) {
        return fail_size(error, size_max);
    }
    if (size - start < (size_t)length + 2) {
        return RESP_MORE;
    }
    const uint8_t *line_end = after + length;
    if (line_end[0] != '\r' || line_end[1] != '\n') {
        return fail(error, "expected CRLF behind a bulk string");
    }
    if (parser->argc == parser->capacity && grow(parser) != 0) {
        return fail_memory(error);
    }
    parser->argv[parser->argc].size = (size_t)length;
    parser->offsets[parser->argc] = start;
    parser->argc++;
    parser->offset = start + (size_t)length + 2;
    return RESP_COMMAND;
}

/* RESP_COMMAND with *used where the array is whole; argc is 0 where it is empty. */
static enum resp_status parse_array(struct resp_parser *parser, const uint8_t *bytes, size_t size,
                                    size_t *used, struct ls_error *error)
{
    enum resp_status status;

    if (parser->expected == 0) {
        status = parse_count(parser, bytes, size, error);
        if (status != RESP_COMMAND) {
            return status;
        }
    }
    while (parser->argc < parser->expected) {
        status = parse_argument(parser, bytes, size, error);
        if (status != RESP_COMMAND) {
            return status;
        }
    }
    for (size_t i = 0; i < parser->argc; i++) {
        parser->argv[i].data = bytes + parser->offsets[i];
    }
    *used = parser->offset;
    parser->offset = 0;
    parser->expected = 0;
    return RESP_COMMAND;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One character inside quotes, with its escape: the byte to *out, the bytes it took returned. */
static size_t unescape(const char *in, const char *end, char quote, char *out)
{
    *out = in[0];
    if (in[0] != '\\' || end - in < 2) {
        return 1;
    }
    if (quote == '\'') {
        if (in[1] != '\'') {
            return 1;
        }
        *out = '\'';
        return 2;
    }
    if (in[1] == 'x' && end - in >= 4 && hex_digit(in[2]) >= 0 && hex_digit(in[3]) >= 0) {
        *out = (char)(hex_digit(in[2]) << 4 | hex_digit(in[3]));
        return 4;
    }
    static const char letters[] = "nrtba";
    static const char meanings[] = "\n\r\t\b\a";
    const char *letter = memchr(letters, in[1], sizeof letters - 1);
    *out = letter != NULL ? meanings[letter - letters] : in[1];
    return 2;
}

/* Copies the word at *in to *out without its quotes and moves both on. False where a quote does not
 * close, or closes and no space follows. */
static bool unquote_word(const char **in, const char *end, char **out)
{
    const char *at = *in;
    char *to = *out;
    char quote = 0;

    while (at < end && (quote != 0 || !is_space(*at))) {
        if (quote == 0 && (*at == '"' || *at == '\'')) {
            quote = *at++;
        } else if (quote == 0) {
            *to++ = *at++;
        } else if (*at != quote) {
            at += unescape(at, end, quote, to++);
        } else if (at + 1 == end || is_space(at[1])) {
            quote = 0;
            at++;
            break;
        } else {
            return false;
        }
    }
    *in = at;
    *out = to;
    return quote == 0;
}

static bool begins_with(ls_bytes word, const char *prefix)
{
    size_t size = strlen(prefix);
    return word.size >= size && strncasecmp(word.data, prefix, size) == 0;
}

static bool looks_like_http(size_t argc, const ls_bytes *argv)
{
    return (argv[0].size == 4 && begins_with(argv[0], "POST")) || begins_with(argv[0], "Host:") ||
           (argc == 3 && begins_with(argv[2], "HTTP/"));
}

/* Fills argv with the words of a line; no words are an empty command. */
static enum resp_status split_words(struct resp_parser *parser, const char *line, size_t size,
                                    struct ls_error *error)
{
    parser->argc = 0;
    if (size == 0) {
        return RESP_COMMAND;
    }
    if (memchr(line, 0, size) != NULL) {
        return fail(error, "NUL byte in an inline request");
    }
    /* Words without their quotes are never longer than the line. */
    char *copy = realloc(parser->inline_copy, size);
    if (copy == NULL) {
        return fail_memory(error);
    }
    parser->inline_copy = copy;

    const char *end = line + size;
    for (;;) {
        while (line < end && is_space(*line)) {
            line++;
        }
        if (line == end) {
            break;
        }
        if (parser->argc == parser->capacity && grow(parser) != 0) {
            return fail_memory(error);
        }
        char *word = copy;
        if (!unquote_word(&line, end, &copy)) {
            return fail(error, "unbalanced quotes in request");
        }
        parser->argv[parser->argc++] = (ls_bytes){word, (size_t)(copy - word)};
    }
    if (parser->argc > 0 && looks_like_http(parser->argc, parser->argv)) {
        return fail(error, "HTTP is not spoken here");
    }
    return RESP_COMMAND;
}

/* RESP_COMMAND with *used where the line is whole; argc is 0 where it is empty. */
static enum resp_status parse_inline(struct resp_parser *parser, const uint8_t *bytes, size_t size,
                                     size_t *used, struct ls_error *error)
{
    size_t size_max = parser->limits.inline_size_max;
    size_t window = size > size_max ? size_max + 1 : size;
    const uint8_t *newline = memchr(bytes + parser->offset, '\n', window - parser->offset);

    if (newline == NULL) {
        if (size > size_max) {
            return fail(error, "too big inline request");
        }
        parser->offset = size;
        return RESP_MORE;
    }
    size_t line_size = (size_t)(newline - bytes);
    *used = line_size + 1;
    if (line_size > 0 && bytes[line_size - 1] == '\r') {
        line_size--;
    }
    enum resp_status status = split_words(parser, (const char *)bytes, line_size, error);
    if (status == RESP_COMMAND) {
        parser->offset = 0;
    }
    return status;
}

enum resp_status resp_parse(struct resp_parser *parser, ls_bytes data, size_t *consumed,
                            struct ls_error *error)
{
    const uint8_t *bytes = data.data;
    size_t start = 0;

    while (start < data.size) {
        size_t used = 0;
        enum resp_status status =
            bytes[start] == '*'
                ? parse_array(parser, bytes + start, data.size - start, &used, error)
                : parse_inline(parser, bytes + start, data.size - start, &used, error);
        if (status != RESP_COMMAND) {
            *consumed = start;
            return status;
        }
        start += used;
        if (parser->argc > 0) {
            *consumed = start;
            return RESP_COMMAND;
        }
    }
    *consumed = start;
    return RESP_MORE;
}

void resp_parser_free(struct resp_parser *parser)
{
    free(parser->argv);
    free(parser->offsets);
    free(parser->inline_copy);
    *parser = (struct resp_parser){.limits = parser->limits};
}

size_t resp_parser_memory(const struct resp_parser *parser)
{
    return parser->capacity * (sizeof *parser->argv + sizeof *parser->offsets);
}

void resp_parser_rest(struct resp_parser *parser)
{
    bool between_commands = parser->expected == 0 && parser->offset == 0;
    if (between_commands && (parser->capacity > CAPACITY_REST || parser->inline_copy != NULL)) {
        resp_parser_free(parser);
    }
}
