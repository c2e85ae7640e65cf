/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lines of standard input as messages. What has arrived goes as one batch, so that a file is
 * posted fast and the lines of a slow writer go at once.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/post.h"
#include "codec/json.h"

#define READ_SIZE 65536

struct lines {
    const struct cli *cli;
    const struct post_form *form;
    const struct post_way *way;
    struct buf in;
    size_t at;  /* where in it the next line begins */
    bool ended; /* nothing comes behind what is in it */

    uint64_t number; /* of the last line that was taken */
    struct buf cbor; /* the items of the batch */
    size_t ends[POST_BATCH_MAX];
    uint64_t numbers[POST_BATCH_MAX]; /* of their lines */
    struct post_batch batch;
    struct json json;
};

/* Reads on; what is left of what was read is the beginning of one line. */
static int fill(struct lines *lines)
{
    struct buf *in = &lines->in;
    buf_drop(in, lines->at);
    lines->at = 0;
    if (in->size > CLI_INPUT_MAX) {
        (void)cli_fail("line %" PRIu64 " is longer than %zu bytes", lines->number + 1,
                       CLI_INPUT_MAX);
        return cli_fail("stopped; the lines before it are posted");
    }
    if (buf_reserve(in, READ_SIZE) != 0) {
        return cli_fail("%s", ls_strerror(LS_ENOMEM));
    }
    ssize_t got = read(STDIN_FILENO, in->data + in->size, in->capacity - in->size);
    if (got < 0 && errno != EINTR) {
        return cli_fail("standard input cannot be read: %s", strerror(errno));
    }
    in->size += got > 0 ? (size_t)got : 0;
    lines->ended = got == 0;
    return EXIT_OK;
}

/* The next line without its line feed, where a whole one is there. */
static bool next_line(struct lines *lines, ls_bytes *line)
{
    const uint8_t *start = lines->in.data + lines->at;
    size_t left = lines->in.size - lines->at;
    const uint8_t *feed = left > 0 ? memchr(start, '\n', left) : NULL;
    if (feed == NULL && (!lines->ended || left == 0)) {
        return false;
    }
    *line = bytes_of(start, feed != NULL ? (size_t)(feed - start) : left);
    lines->at += line->size + (feed != NULL);
    lines->number++;
    return true;
}

/* Gathers what is there. 0, or why the line after the batch is no payload. */
static int gather(struct lines *lines, struct ls_error *error)
{
    struct post_batch *batch = &lines->batch;
    ls_bytes line;
    int rc = 0;
    batch->count = 0;
    lines->cbor.size = 0;
    while (rc == 0 && batch->count < POST_BATCH_MAX && next_line(lines, &line)) {
        if (line.size == 0) {
            continue;
        }
        rc = payload_to_cbor(&lines->cbor, (ls_payload){lines->form->kind, line}, error);
        if (rc == 0) {
            lines->numbers[batch->count] = lines->number;
            lines->ends[batch->count++] = lines->cbor.size;
        }
    }
    size_t begin = 0;
    for (size_t i = 0; i < batch->count; i++) {
        batch->items[i] = bytes_of(lines->cbor.data + begin, lines->ends[i] - begin);
        batch->clocks[i] = 0;
        begin = lines->ends[i];
    }
    return rc;
}

static int print_clocks(struct lines *lines)
{
    int status = EXIT_OK;
    for (size_t i = 0; i < lines->batch.count && status == EXIT_OK; i++) {
        uint64_t clock = lines->batch.clocks[i];
        if (clock == 0) {
            continue;
        }
        if (lines->cli->json) {
            json_number(&lines->json, "clock", clock);
            status = json_print(&lines->json);
        } else {
            printf("%" PRIu64 "\n", clock);
        }
    }
    fflush(stdout);
    return status;
}

/* Says which line was refused, and what became of those behind it. */
static int fail_at(const struct lines *lines, size_t refused, const struct ls_error *error)
{
    const struct post_batch *batch = &lines->batch;
    size_t posted = 0;
    for (size_t i = refused + 1; i < batch->count; i++) {
        posted += batch->clocks[i] != 0;
    }
    char text[CLI_SENTENCE_SIZE];
    (void)cli_fail("line %" PRIu64 ": %s", lines->numbers[refused], cli_sentence(text, error));
    if (error->code == LS_ECONN || error->code == LS_EPROTO || error->code == LS_EINTERNAL) {
        return cli_fail("stopped; that line, and up to %zu behind it, may have been posted",
                        batch->count - refused - 1);
    }
    if (posted > 0) {
        return cli_fail("stopped; of the lines behind it, %zu %s under way and %s posted", posted,
                        posted == 1 ? "was" : "were", posted == 1 ? "is" : "are");
    }
    return cli_fail("stopped; the lines before it are posted");
}

static int post_gathered(struct lines *lines)
{
    struct ls_error error;
    struct ls_error why;
    size_t refused = 0;
    int bad = gather(lines, &why);
    int rc = 0;
    if (lines->batch.count > 0) {
        rc = lines->way->post(lines->way->context, &lines->batch, &refused, &error);
    }
    int status = print_clocks(lines);
    if (rc != 0) {
        return fail_at(lines, refused, &error);
    }
    if (bad != 0) {
        lines->numbers[0] = lines->number;
        lines->batch.count = 1;
        return fail_at(lines, 0, &why);
    }
    return status;
}

int post_lines(const struct cli *cli, const struct post_form *form, const struct post_way *way)
{
    struct lines *lines = calloc(1, sizeof(*lines));
    if (lines == NULL) {
        return cli_fail("%s", ls_strerror(LS_ENOMEM));
    }
    lines->cli = cli;
    lines->form = form;
    lines->way = way;
    int status = EXIT_OK;
    while (status == EXIT_OK && !lines->ended && !ferror(stdout)) {
        status = fill(lines);
        do {
            status = status == EXIT_OK ? post_gathered(lines) : status;
        } while (status == EXIT_OK && lines->batch.count > 0);
    }
    buf_free(&lines->in);
    buf_free(&lines->cbor);
    buf_free(&lines->json.text);
    free(lines);
    return status;
}
