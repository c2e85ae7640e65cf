/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lockstep post: one message, or with "-" one a line of standard input, in the order of the lines.
 * Each clock is printed once its message is durable. A post as a node is exactly once.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "codec/record.h"

#define PAYLOAD_SIZE_MAX ((size_t)64 << 20) /* the store says what is too big; this is far above */

struct poster {
    struct cli *cli;
    ls *handle;
    char type;
    char event;
    enum ls_payload_kind kind;
    ls_post_options options;
    struct json json;
};

static int print_clock(struct poster *poster, uint64_t clock)
{
    if (poster->cli->json) {
        json_number(&poster->json, "clock", clock);
        return json_print(&poster->json);
    }
    printf("%" PRIu64 "\n", clock);
    return EXIT_OK;
}

static int post_one(struct poster *poster, ls_bytes bytes)
{
    uint64_t clock;
    ls_payload payload = {poster->kind, bytes};
    if (ls_post(poster->handle, poster->type, poster->event, payload, &poster->options, &clock) !=
        0) {
        return cli_fail_ls();
    }
    return print_clock(poster, clock);
}

static int post_lines(struct poster *poster)
{
    char *line = NULL;
    size_t capacity = 0;
    uint64_t number = 0;
    int status = EXIT_OK;
    while (status == EXIT_OK) {
        ssize_t size = getline(&line, &capacity, stdin);
        if (size < 0) {
            break;
        }
        number++;
        if (size > 0 && line[size - 1] == '\n') {
            size--;
        }
        if (size == 0) {
            continue;
        }
        status = post_one(poster, bytes_of(line, (size_t)size));
        if (status != EXIT_OK) {
            fprintf(stderr,
                    "lockstep: stopped at line %" PRIu64 "; the lines before it are posted\n",
                    number);
        }
    }
    if (status == EXIT_OK && ferror(stdin)) {
        status = cli_fail("standard input cannot be read");
    }
    free(line);
    return status;
}

static int post_file(struct poster *poster, const char *path)
{
    struct buf bytes = {0};
    int status = cli_read_file(path, PAYLOAD_SIZE_MAX, &bytes);
    if (status == EXIT_OK) {
        poster->kind = LS_CBOR;
        status = post_one(poster, buf_bytes(&bytes));
    }
    buf_free(&bytes);
    return status;
}

static int check_arguments(struct poster *poster)
{
    struct cli *cli = poster->cli;
    bool text = cli_option(cli, "text") != NULL;
    bool cbor = cli_option(cli, "cbor") != NULL;
    if (text && cbor) {
        return cli_usage(cli, "--text and --cbor exclude each other");
    }
    if (cbor && cli->argc == 3) {
        return cli_usage(cli, "with --cbor the payload is the file, not '%s'", cli->argv[2]);
    }
    if (!cbor && cli->argc == 2) {
        return cli_usage(cli,
                         "the payload is missing: JSON, or '-' for one a line on standard input");
    }
    int type = message_type_from_text(bytes_of_text(cli->argv[0]));
    if (type < 0 || type == LS_OBJECT) {
        return cli_usage(cli, "the type is user, database or collection (or U, D, C), not '%s'",
                         cli->argv[0]);
    }
    int event = message_event_from_text(bytes_of_text(cli->argv[1]), (uint8_t)type);
    if (event < 0) {
        return cli_usage(cli, "the event is created, updated, deleted%s or '-' for none, not '%s'",
                         type == LS_USER ? ", any one byte" : "", cli->argv[1]);
    }
    poster->type = (char)type;
    poster->event = (char)event;
    poster->kind = text ? LS_TEXT : LS_JSON;
    return EXIT_OK;
}

static int post_all(struct poster *poster)
{
    const struct cli *cli = poster->cli;
    const char *host = cli_option(cli, "as");
    const char *file = cli_option(cli, "cbor");
    if (host != NULL) {
        if (ls_node_join(poster->handle, host, NULL, NULL) != 0) {
            return cli_fail_ls();
        }
        poster->options.once = true;
    }
    int status;
    if (file != NULL) {
        status = post_file(poster, file);
    } else if (strcmp(cli->argv[2], "-") == 0) {
        status = post_lines(poster);
    } else {
        status = post_one(poster, bytes_of_text(cli->argv[2]));
    }
    if (host != NULL && ls_node_leave(poster->handle, NULL) != 0 && status == EXIT_OK) {
        status = cli_fail_ls();
    }
    return status;
}

static int run_post(struct cli *cli)
{
    struct poster poster = {.cli = cli, .options = LS_POST_OPTIONS_INIT};
    int status = check_arguments(&poster);
    if (status != EXIT_OK) {
        return status;
    }
    poster.options.to = cli_option(cli, "to");
    status = cli_open(cli, ACCESS_CHANGE, &poster.handle);
    if (status == EXIT_OK) {
        status = post_all(&poster);
        ls_close(poster.handle);
    }
    buf_free(&poster.json.text);
    return status;
}

const struct command command_post = {
    .name = "post",
    .arguments = "TYPE EVENT PAYLOAD|-",
    .arguments_min = 2,
    .arguments_max = 3,
    .summary = "Post a message and print its clock",
    .text = "TYPE is user, database or collection; EVENT is created, updated, deleted or '-' for\n"
            "none (for user: any byte). The letters U, D, C work as well. The payload is JSON.\n"
            "With '-' each line of standard input is a payload, posted in order.\n\n"
            "  lockstep post user - '{\"temperature\":21.5}'\n"
            "  lockstep post --text --to alpha user created 'good morning'\n",
    .run = run_post,
    .options = {{"to", "HOST", "address the message to one host; without it, to every node"},
                {"text", NULL, "the payload is plain text"},
                {"cbor", "FILE", "the payload is the one CBOR item in FILE ('-': standard input)"},
                {"as", "HOST",
                 "join as this node first and leave at the end; the post is exactly once"}},
};
