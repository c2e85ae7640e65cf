/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lockstep report: what the messages of a box tell of its nodes and their clocks, as a page. The
 * page is written beside its file and takes its place when it is whole, so that there is never half
 * of one.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/message.h"
#include "model/report_box.h"

#define READ_COUNT   1000
#define DEFAULT_FILE "report.html"
#define TITLE_SIZE   160

/* What was asked for, and what came of it. */
struct reporting {
    const char *file;
    uint64_t from; /* LS_OLDEST: from the oldest kept */
    uint64_t to;
    uint64_t first; /* the clocks that were read */
    uint64_t last;
    struct report_box *box;
};

static int parse_from(const struct cli *cli, uint64_t *out)
{
    const char *text = cli_option(cli, "from");
    if (text != NULL && strcmp(text, "-") != 0 && !cli_parse_number(text, out)) {
        return cli_usage(cli, "--from is a clock, or '-' for the oldest kept, not '%s'", text);
    }
    return EXIT_OK;
}

static int parse(const struct cli *cli, struct reporting *reporting)
{
    const char *file = cli_option(cli, "out");
    reporting->file = file != NULL ? file : DEFAULT_FILE;
    reporting->from = LS_OLDEST;
    reporting->to = UINT64_MAX;
    int status = parse_from(cli, &reporting->from);
    if (status == EXIT_OK) {
        status = cli_option_number(cli, "to", 1, UINT64_MAX, &reporting->to);
    }
    if (status == EXIT_OK && reporting->from > reporting->to) {
        return cli_usage(cli, "--from %" PRIu64 " is after --to %" PRIu64, reporting->from,
                         reporting->to);
    }
    if (status == EXIT_OK && strcmp(reporting->file, "-") == 0 && cli->json) {
        return cli_usage(cli, "--out - and --json both write to standard output");
    }
    return status;
}

/* ---- reading ---- */

static int take(struct reporting *reporting, const ls_message *message)
{
    char label[MESSAGE_WORDS_SIZE];
    struct ls_error error;
    message_words(label, message);
    if (report_box_add(reporting->box, message, label, &error) != 0) {
        return cli_fail_error(&error);
    }
    reporting->first = reporting->first > 0 ? reporting->first : message->clock;
    reporting->last = message->clock;
    return EXIT_OK;
}

static int take_list(struct reporting *reporting, const ls_messages *list)
{
    int status = EXIT_OK;
    size_t count = ls_messages_count(list);
    for (size_t i = 0; i < count && status == EXIT_OK; i++) {
        const ls_message *message = ls_messages_get(list, i);
        if (message->clock > reporting->to) {
            break;
        }
        status = take(reporting, message);
    }
    return status;
}

/* Up to --to, or what is newest now, so that it ends however fast others post. A signal ends it
 * early. */
static int read_messages(struct reporting *reporting, ls *handle)
{
    ls_box_info info;
    if (ls_box_info_get(handle, &info) != 0) {
        return cli_fail_ls();
    }
    uint64_t end = reporting->to < info.newest ? reporting->to : info.newest;
    uint64_t next = reporting->from;
    int status = EXIT_OK;
    size_t got = 1;
    while (status == EXIT_OK && got > 0 && next <= end && !cli_stopped) {
        ls_messages *list;
        if (ls_read(handle, next, NULL, READ_COUNT, 0, &list) != 0) {
            return cli_fail_read("report --from", next);
        }
        got = ls_messages_count(list);
        status = take_list(reporting, list);
        if (got > 0) {
            next = ls_messages_get(list, got - 1)->clock + 1;
        }
        ls_messages_free(list);
    }
    return status;
}

/* ---- writing ---- */

static int write_to(const struct report *report, FILE *out, const char *name)
{
    struct ls_error error;
    if (report_write(report, out, &error) != 0) {
        return cli_fail("%s: %s", name, error.text);
    }
    return EXIT_OK;
}

/* The page in a new file of its own, which then takes the place of the file asked for. */
static int write_file(const struct report *report, const char *name)
{
    size_t size = strlen(name) + sizeof(".XXXXXX");
    char *path = malloc(size);
    if (path == NULL) {
        return cli_fail("%s", ls_strerror(LS_ENOMEM));
    }
    snprintf(path, size, "%s.XXXXXX", name);
    int fd = mkstemp(path);
    FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;
    int status;
    if (out == NULL) {
        status = cli_fail("%s: %s", name, strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
    } else {
        mode_t mask = umask(0);
        umask(mask);
        fchmod(fd, 0666 & ~mask);
        status = write_to(report, out, name);
        if (fclose(out) != 0 && status == EXIT_OK) {
            status = cli_fail("%s: %s", name, strerror(errno));
        }
        if (status == EXIT_OK && rename(path, name) != 0) {
            status = cli_fail("%s: %s", name, strerror(errno));
        }
    }
    if (fd >= 0 && status != EXIT_OK) {
        unlink(path);
    }
    free(path);
    return status;
}

static int say(const struct cli *cli, const struct reporting *reporting,
               const struct report *report)
{
    uint64_t messages = report_box_messages(reporting->box);
    if (cli->json) {
        struct json json = {0};
        json_text(&json, "file", reporting->file);
        json_number(&json, "from", reporting->first);
        json_number(&json, "to", reporting->last);
        json_number(&json, "messages", messages);
        json_number(&json, "nodes", report->nodes_count);
        json_bool(&json, "whole", report->interrupted.size == 0);
        int status = json_print(&json);
        buf_free(&json.text);
        return status;
    }
    if (messages == 0) {
        printf("%s: there are no messages there\n", reporting->file);
        return EXIT_OK;
    }
    printf("%s: %" PRIu64 " message%s of %zu node%s, clocks %" PRIu64 " to %" PRIu64 "%s\n",
           reporting->file, messages, cli_plural(messages), report->nodes_count,
           cli_plural(report->nodes_count), reporting->first, reporting->last,
           report->interrupted.size > 0 ? ", stopped early" : "");
    return EXIT_OK;
}

static int write_report(const struct cli *cli, const struct reporting *reporting)
{
    struct report report = {0};
    struct ls_error error;
    char title[TITLE_SIZE];
    char stopped[80];
    snprintf(title, sizeof(title), "Messages %" PRIu64 " to %" PRIu64, reporting->first,
             reporting->last);
    report.title = bytes_of_text(reporting->first > 0 ? title : "No messages");
    report.parameters[report.parameters_count++] =
        (struct report_pair){bytes_of_text("box"), bytes_of_text(cli->place)};
    if (cli_stopped) {
        snprintf(stopped, sizeof(stopped), "reading was stopped by a signal after clock %" PRIu64,
                 reporting->last);
        report.interrupted = bytes_of_text(stopped);
    }
    if (report_box_fill(reporting->box, &report, &error) != 0) {
        return cli_fail_error(&error);
    }
    if (strcmp(reporting->file, "-") == 0) {
        return write_to(&report, stdout, "standard output");
    }
    int status = write_file(&report, reporting->file);
    return status == EXIT_OK ? say(cli, reporting, &report) : status;
}

static int run_report(struct cli *cli)
{
    struct reporting reporting = {0};
    ls *handle;
    int status = parse(cli, &reporting);
    if (status != EXIT_OK) {
        return status;
    }
    reporting.box = report_box_new();
    if (reporting.box == NULL) {
        return cli_fail("%s", ls_strerror(LS_ENOMEM));
    }
    cli_catch_signals();
    status = cli_open(cli, ACCESS_READ, &handle);
    if (status == EXIT_OK) {
        status = read_messages(&reporting, handle);
        ls_close(handle);
    }
    if (status == EXIT_OK) {
        status = write_report(cli, &reporting);
    }
    report_box_free(reporting.box);
    return status;
}

const struct command command_report = {
    .name = "report",
    .arguments = "",
    .arguments_min = 0,
    .arguments_max = 0,
    .summary = "Draw the messages in the box as a page for a browser",
    .text = "One HTML file that needs no network: each node's clock over time, how far it is\n"
            "behind, its jumps, and who wrote to whom. A file that is there is replaced. Where\n"
            "messages at or above --from were discarded it fails and names the oldest kept.\n\n"
            "  lockstep report --from 1000 --to 2000 --out morning.html\n",
    .run = run_report,
    .options = {{"from", "CLOCK", "the first message; by default, and for '-', the oldest kept"},
                {"to", "CLOCK", "the last message; by default what is newest now"},
                {"out", "FILE", "by default " DEFAULT_FILE "; '-' for standard output"}},
};
