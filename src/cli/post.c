/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lockstep post: one message, or with "-" one a line of standard input, in the order of the lines.
 * Each clock is printed once its message is durable. A post as a node is exactly once.
 */
#include <inttypes.h>
#include <string.h>

#include "cli/post.h"
#include "codec/record.h"

static int check_arguments(const struct cli *cli, struct post_form *form)
{
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
        return cli_usage(cli, "the event is created, updated%s, not '%s'",
                         type == LS_USER ? ", deleted, any one byte, or '-' for none"
                                         : " or deleted (or C, U, D)",
                         cli->argv[1]);
    }
    form->type = (char)type;
    form->event = (char)event;
    form->kind = text ? LS_TEXT : LS_JSON;
    form->to = cli_option(cli, "to");
    return EXIT_OK;
}

static int post_one(const struct cli *cli, ls *handle, const struct post_form *form, bool once)
{
    const char *path = cli_option(cli, "cbor");
    ls_post_options options = LS_POST_OPTIONS_INIT;
    struct buf file = {0};
    ls_payload payload = {LS_CBOR, {NULL, 0}};
    uint64_t clock;
    int status = EXIT_OK;
    options.to = form->to;
    options.once = once;
    if (path != NULL) {
        status = cli_read_file(path, CLI_INPUT_MAX, &file);
        payload.bytes = buf_bytes(&file);
    } else {
        payload = (ls_payload){form->kind, bytes_of_text(cli->argv[2])};
    }
    if (status == EXIT_OK) {
        status = ls_post(handle, form->type, form->event, payload, &options, &clock) != 0
                     ? cli_fail_ls()
                     : cli_print_clock(cli, clock);
    }
    buf_free(&file);
    return status;
}

static bool wants_lines(const struct cli *cli)
{
    return cli->argc == 3 && strcmp(cli->argv[2], "-") == 0;
}

/* Through a handle: one message, or the lines as a node. */
static int post_through(const struct cli *cli, ls *handle, const struct post_form *form, bool once)
{
    struct post_way way;
    struct ls_error error;
    if (!wants_lines(cli)) {
        return post_one(cli, handle, form, once);
    }
    if (post_way_handle(&way, handle, form, &error) != 0) {
        return cli_fail_error(&error);
    }
    int status = post_lines(cli, form, &way);
    way.close(way.context);
    return status;
}

static int post_all_lines(const struct cli *cli, const struct post_form *form)
{
    struct post_way way;
    struct ls_error error;
    if (post_way_open(&way, cli, form, &error) != 0) {
        return cli_fail_open(cli, &error);
    }
    int status = post_lines(cli, form, &way);
    way.close(way.context);
    return status;
}

static int run_post(struct cli *cli)
{
    struct post_form form;
    const char *host = cli_option(cli, "as");
    ls *handle;
    int status = check_arguments(cli, &form);
    if (status == EXIT_OK && host == NULL && wants_lines(cli)) {
        return post_all_lines(cli, &form);
    }
    status = status != EXIT_OK ? status : cli_open(cli, ACCESS_CHANGE, &handle);
    if (status != EXIT_OK) {
        return status;
    }
    if (host != NULL && ls_node_join(handle, host, NULL, NULL) != 0) {
        status = cli_fail_ls();
    } else {
        status = post_through(cli, handle, &form, host != NULL);
        if (host != NULL && ls_node_leave(handle, NULL) != 0 && status == EXIT_OK) {
            status = cli_fail_ls();
        }
    }
    ls_close(handle);
    return status;
}

const struct command command_post = {
    .name = "post",
    .arguments = "TYPE EVENT PAYLOAD|-",
    .arguments_min = 2,
    .arguments_max = 3,
    .summary = "Post a message and print its clock",
    .text = "TYPE is user, database or collection; EVENT is created, updated or deleted, and for\n"
            "user also any byte, or '-' for none. First letters in capitals work as well. The\n"
            "payload is JSON. With '-' each line of standard input is one, posted in order.\n\n"
            "  lockstep post user - '{\"temperature\":21.5}'\n"
            "  lockstep post --text --to alpha user created 'good morning'\n",
    .run = run_post,
    .options = {{"to", "HOST", "address the message to one host; without it, to every node"},
                {"text", NULL, "the payload is plain text"},
                {"cbor", "FILE", "the payload is the one CBOR item in FILE ('-': standard input)"},
                {"as", "HOST",
                 "join as this node first and leave at the end; the post is exactly once"}},
};
