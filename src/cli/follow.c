/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lockstep read and lockstep watch: the box from a clock on, to its end or for ever. Nothing is
 * skipped in silence: where messages were discarded before they were read, both say so and fail.
 */
#include <string.h>

#include "cli/cli.h"
#include "cli/message.h"
#include "codec/record.h"

#define READ_COUNT 1000 /* messages asked for at once */
#define WAIT_MS    200  /* how soon a signal is noticed */

/* What the arguments of both commands say. */
struct selection {
    uint64_t from;
    uint64_t count; /* still to be printed; UINT64_MAX: no limit */
    ls_filter filter;
    char types[5];
};

static bool add_type(struct selection *selection, int type)
{
    size_t size = strlen(selection->types);
    if (type < 0) {
        return false;
    }
    if (strchr(selection->types, type) == NULL && size + 1 < sizeof(selection->types)) {
        selection->types[size] = (char)type;
    }
    return true;
}

/* "U", "UD", "user" or "user,object". */
static int parse_types(const struct cli *cli, struct selection *selection, const char *text)
{
    const char *at = text;
    while (*at != '\0') {
        size_t size = strcspn(at, ",");
        bool known = add_type(selection, message_type_from_text(bytes_of(at, size)));
        for (size_t i = 0; !known && i < size; i++) {
            if (!add_type(selection, message_type_from_text(bytes_of(at + i, 1)))) {
                break;
            }
            known = i + 1 == size;
        }
        if (!known) {
            break;
        }
        at += size;
        at += *at == ',';
    }
    if (*at != '\0' || selection->types[0] == '\0') {
        return cli_usage(
            cli, "--type takes letters of O, D, C, U or words with commas between, not '%s'", text);
    }
    selection->filter.types = selection->types;
    return EXIT_OK;
}

static int parse_from(const struct cli *cli, struct selection *selection)
{
    if (cli->argc == 0) {
        return EXIT_OK;
    }
    const char *text = cli->argv[0];
    if (strcmp(text, "-") == 0) {
        selection->from = LS_OLDEST;
    } else if (strcmp(text, "$") == 0) {
        selection->from = LS_AFTER_NEWEST;
    } else if (!cli_parse_number(text, &selection->from)) {
        return cli_usage(
            cli, "FROM is a clock, '-' for the oldest kept or '$' for after the newest, not '%s'",
            text);
    }
    return EXIT_OK;
}

static int parse_selection(const struct cli *cli, struct selection *selection)
{
    const char *types = cli_option(cli, "type");
    const char *key = cli_option(cli, "key");
    selection->filter = (ls_filter)LS_FILTER_INIT;
    selection->filter.host = cli_option(cli, "for");
    if (key != NULL) {
        selection->filter.key = bytes_of_text(key);
    }
    int status = parse_from(cli, selection);
    if (status == EXIT_OK && types != NULL) {
        status = parse_types(cli, selection, types);
    }
    if (status == EXIT_OK) {
        status = cli_option_number(cli, "count", 1, UINT64_MAX, &selection->count);
    }
    return status;
}

/* ---- read ---- */

static int print_list(struct message_printer *printer, const ls_messages *list,
                      struct selection *selection, uint64_t end)
{
    size_t count = ls_messages_count(list);
    for (size_t i = 0; i < count && selection->count > 0; i++) {
        const ls_message *message = ls_messages_get(list, i);
        if (message->clock > end) {
            selection->count = 0;
            break;
        }
        int status = message_print(printer, message);
        if (status != EXIT_OK) {
            return status;
        }
        selection->from = message->clock + 1;
        selection->count--;
    }
    return EXIT_OK;
}

/* Up to what was newest at the start, so that a read ends however fast others post. */
static int read_all(const struct cli *cli, ls *handle, struct selection *selection)
{
    struct message_printer printer = {.cli = cli};
    ls_box_info info;
    if (ls_box_info_get(handle, &info) != 0) {
        return cli_fail_ls();
    }
    int status = EXIT_OK;
    size_t got = 1;
    while (status == EXIT_OK && got > 0 && selection->count > 0 && selection->from <= info.newest) {
        ls_messages *list;
        size_t max = selection->count < READ_COUNT ? (size_t)selection->count : READ_COUNT;
        if (ls_read(handle, selection->from, &selection->filter, max, 0, &list) != 0) {
            status = cli_fail_read("read", selection->from);
            break;
        }
        got = ls_messages_count(list);
        status = print_list(&printer, list, selection, info.newest);
        ls_messages_free(list);
        if (ferror(stdout)) {
            break;
        }
    }
    message_printer_free(&printer);
    return status;
}

static int run_read(struct cli *cli)
{
    struct selection selection = {.from = LS_OLDEST, .count = UINT64_MAX};
    ls *handle;
    int status = parse_selection(cli, &selection);
    if (status != EXIT_OK) {
        return status;
    }
    if (selection.from == LS_AFTER_NEWEST) {
        return cli_usage(cli,
                         "'$' is after the newest message, where there is nothing to read yet");
    }
    status = cli_open(cli, ACCESS_READ, &handle);
    if (status == EXIT_OK) {
        status = read_all(cli, handle, &selection);
        ls_close(handle);
    }
    return status;
}

/* ---- watch ---- */

/* The next message; what was printed is flushed before it waits. LS_ETIMEOUT where it is over. */
static int next_message(ls_watch *watch, ls_message *message)
{
    int rc = ls_watch_next(watch, 0, message);
    if (rc != LS_ETIMEOUT) {
        return rc;
    }
    fflush(stdout);
    while (rc == LS_ETIMEOUT && !cli_is_over()) {
        rc = ls_watch_next(watch, WAIT_MS, message);
    }
    return rc;
}

static int follow(const struct cli *cli, ls_watch *watch, uint64_t from, uint64_t count)
{
    struct message_printer printer = {.cli = cli};
    int status = EXIT_OK;
    while (status == EXIT_OK && count > 0 && !cli_stopped && !ferror(stdout)) {
        ls_message message;
        int rc = next_message(watch, &message);
        if (rc == LS_ETIMEOUT) {
            break;
        }
        if (rc != 0) {
            status = cli_fail_read("watch", from);
            break;
        }
        status = message_print(&printer, &message);
        from = message.clock + 1;
        count--;
    }
    message_printer_free(&printer);
    return status;
}

static int run_watch(struct cli *cli)
{
    struct selection selection = {.from = LS_AFTER_NEWEST, .count = UINT64_MAX};
    ls *handle;
    ls_watch *watch;
    uint64_t start;
    int status = parse_selection(cli, &selection);
    if (status != EXIT_OK) {
        return status;
    }
    cli_catch_signals();
    status = cli_open(cli, ACCESS_READ, &handle);
    if (status != EXIT_OK) {
        return status;
    }
    if (ls_watch_open(handle, selection.from, &selection.filter, &watch, &start) != 0) {
        status = cli_fail_read("watch", selection.from);
    } else {
        status = follow(cli, watch, start, selection.count);
        ls_watch_close(watch);
    }
    ls_close(handle);
    return status;
}

#define SELECTION_OPTIONS                                                             \
    {                                                                                 \
        {"count", "N", "stop after N messages"},                                      \
            {"type", "LETTERS", "only these types: letters of O, D, C, U, or words"}, \
            {"for", "HOST", "without what is addressed to another host"},             \
            {"key", "PREFIX", "only changes of objects whose key begins with this"},  \
    }

const struct command command_read = {
    .name = "read",
    .arguments = "[FROM]",
    .arguments_min = 0,
    .arguments_max = 1,
    .summary = "Print the messages in the box, in clock order",
    .text =
        "FROM is the clock to begin at, or '-' for the oldest kept, the default. Ends with what\n"
        "was the newest message when it began. Where messages at or above FROM were discarded\n"
        "it fails and names the oldest that is kept.\n",
    .run = run_read,
    .options = SELECTION_OPTIONS,
};

const struct command command_watch = {
    .name = "watch",
    .arguments = "[FROM]",
    .arguments_min = 0,
    .arguments_max = 1,
    .summary = "Print messages as they are posted, like tail -f",
    .text = "FROM is the clock to begin at, '-' for the oldest kept, or '$' for after the newest,\n"
            "the default. Goes on after a lost connection where it stopped. Ends with Ctrl-C,\n"
            "or when nobody reads its output any more.\n",
    .run = run_watch,
    .options = SELECTION_OPTIONS,
};
