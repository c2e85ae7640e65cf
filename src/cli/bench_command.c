/* SPDX-License-Identifier: Apache-2.0 */
/* The command of a benchmark: from a line of words to bytes that can be sent again and again. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cli/bench_plan.h"
#include "resp/writer.h"

#define WORDS_MAX 64

/* The words, one after the other, with where each ends and where in them the numbers stand. */
struct words {
    struct buf text;
    size_t count;
    size_t ends[WORDS_MAX];
    size_t number_count;
    struct {
        size_t word;
        size_t offset; /* in the text */
        bool sequence;
    } numbers[BENCH_PLACES_MAX];
};

/* The same bytes each time, none of which any command takes for its own. */
static int put_data(struct buf *out, size_t size)
{
    int rc = buf_reserve(out, size);
    for (size_t i = 0; i < size && rc == 0; i++) {
        rc = buf_append_byte(out, (uint8_t)('a' + i * 7 % 26));
    }
    return rc;
}

/* Appends what stands for the placeholder at `at`; *used is 0 where there is none. */
static int put_placeholder(struct words *words, const char *at, size_t data_size, size_t *used,
                           struct ls_error *error)
{
    static const char zeros[BENCH_DIGITS + 1] = "000000000000";
    *used = 0;
    if (strncmp(at, "__data__", 8) == 0) {
        *used = 8;
        return put_data(&words->text, data_size);
    }
    bool sequence = strncmp(at, "__seq__", 7) == 0;
    if (!sequence && strncmp(at, "__rand__", 8) != 0) {
        return 0;
    }
    if (words->number_count == BENCH_PLACES_MAX) {
        return error_set(error, LS_EINVAL, 0, "the command has more than %d numbers",
                         BENCH_PLACES_MAX);
    }
    *used = sequence ? 7 : 8;
    words->numbers[words->number_count].word = words->count;
    words->numbers[words->number_count].offset = words->text.size;
    words->numbers[words->number_count].sequence = sequence;
    words->number_count++;
    return buf_append(&words->text, zeros, BENCH_DIGITS);
}

/* One word, up to a space outside quotes. */
static int split_word(struct words *words, const char **line, size_t data_size,
                      struct ls_error *error)
{
    const char *at = *line;
    char quote = '\0';
    int rc = 0;
    while (rc == 0 && *at != '\0' && (quote != '\0' || *at != ' ')) {
        size_t used;
        rc = put_placeholder(words, at, data_size, &used, error);
        if (rc != 0 || used > 0) {
            at += used;
        } else if (quote != '\0' ? *at == quote : *at == '"' || *at == '\'') {
            quote = quote != '\0' ? '\0' : *at;
            at++;
        } else {
            rc = buf_append_byte(&words->text, (uint8_t)*at++);
        }
    }
    if (rc == LS_ENOMEM) {
        return error_code(error, rc);
    }
    if (rc == 0 && quote != '\0') {
        return error_set(error, LS_EINVAL, 0, "a quote in the command is not closed");
    }
    words->ends[words->count++] = words->text.size;
    *line = at;
    return rc;
}

static int split(struct words *words, const char *line, size_t data_size, struct ls_error *error)
{
    for (;;) {
        line += strspn(line, " ");
        if (*line == '\0') {
            break;
        }
        if (words->count == WORDS_MAX) {
            return error_set(error, LS_EINVAL, 0, "the command has more than %d words", WORDS_MAX);
        }
        int rc = split_word(words, &line, data_size, error);
        if (rc != 0) {
            return rc;
        }
    }
    return words->count > 0 ? 0 : error_set(error, LS_EINVAL, 0, "the command is empty");
}

/* Where in the encoded command a word begins: each is behind the heads of those before it. */
static int encode(struct bench_command *out, const struct words *words)
{
    ls_bytes argv[WORDS_MAX];
    size_t starts[WORDS_MAX];
    size_t begin = 0;
    size_t offset = (size_t)snprintf(NULL, 0, "*%zu\r\n", words->count);
    for (size_t i = 0; i < words->count; i++) {
        size_t size = words->ends[i] - begin;
        argv[i] = bytes_of(size > 0 ? words->text.data + begin : NULL, size);
        starts[i] = offset + (size_t)snprintf(NULL, 0, "$%zu\r\n", size);
        offset = starts[i] + size + 2;
        begin = words->ends[i];
    }
    for (size_t i = 0; i < words->number_count; i++) {
        size_t word = words->numbers[i].word;
        size_t before = word > 0 ? words->ends[word - 1] : 0;
        out->places[i].offset = starts[word] + words->numbers[i].offset - before;
        out->places[i].sequence = words->numbers[i].sequence;
    }
    out->place_count = words->number_count;
    return resp_request(&out->bytes, words->count, argv);
}

int bench_command_parse(struct bench_command *out, const char *line, size_t size,
                        struct ls_error *error)
{
    struct words words = {0};
    int rc = split(&words, line, size, error);
    if (rc == 0 && encode(out, &words) != 0) {
        rc = error_code(error, LS_ENOMEM);
    }
    buf_free(&words.text);
    return rc;
}
