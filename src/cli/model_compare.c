/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs side by side: what they were asked to be, from config.json, and what came of them, from
 * summary.json. A summary of many nodes is long, and its head says it all: no more is read.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "cli/model.h"

#define RUNS_MAX     16
#define HEAD_MAX     ((size_t)4 << 20)
#define NODES_LINE   "\"nodes\":[\n"
#define COLUMN_WIDTH 16
#define CELL_SIZE    40

struct compared {
    const char *name;
    json_t *config;
    json_t *summary;
};

/* One line of the comparison: a member of one of the two, by its path. */
static const struct row {
    const char *title;
    bool of_config;
    const char *object; /* within which the member is; NULL: at the top */
    const char *member;
} rows[] = {
    {"mode", true, NULL, "mode"},
    {"nodes", true, NULL, "nodes"},
    {"peers", true, NULL, "peers"},
    {"rates", true, NULL, "rates"},
    {"rate range", true, NULL, "rate_range"},
    {"internal", true, NULL, "internal"},
    {"seed", true, NULL, "seed"},
    {"latency, ms", true, NULL, "latency_ms"},
    {"jitter, ms", true, NULL, "latency_jitter_ms"},
    {"loss", true, NULL, "loss"},
    {"whole", false, NULL, "whole"},
    {"seconds", false, NULL, "seconds"},
    {"ticks", false, "totals", "ticks"},
    {"internal", false, "totals", "internal"},
    {"sent", false, "totals", "sent"},
    {"received", false, "totals", "received"},
    {"messages", false, "totals", "messages"},
    {"lost", false, "totals", "lost"},
    {"in flight", false, "totals", "in_flight"},
    {"waiting", false, "totals", "waiting"},
    {"final clock", false, "totals", "final_clock"},
    {"max jump", false, "totals", "max_jump"},
    {"mean jump", false, "totals", "mean_jump"},
    {"max queue", false, "totals", "max_queue"},
    {"mean queue", false, "totals", "mean_queue"},
    {"max drift", false, "totals", "max_drift"},
};

/* ---- reading ---- */

static int read_head(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = 0;
    if (fd < 0) {
        return -1;
    }
    do {
        if (buf_reserve(out, HEAD_MAX / 16) != 0) {
            errno = ENOMEM;
            n = -1;
            break;
        }
        n = read(fd, out->data + out->size, HEAD_MAX / 16);
        out->size += n > 0 ? (size_t)n : 0;
    } while (out->size < HEAD_MAX && (n > 0 || (n < 0 && errno == EINTR)));
    int saved = errno;
    close(fd);
    errno = saved;
    return n < 0 ? -1 : 0;
}

/* The nodes of a summary are left out. */
static int cut_nodes(struct buf *text)
{
    size_t size = sizeof NODES_LINE - 1;
    char *nodes = memmem(text->data, text->size, NODES_LINE, size);
    if (nodes == NULL) {
        return 0;
    }
    text->size = (size_t)((uint8_t *)nodes - text->data);
    while (text->size > 0 && strchr(",\n", text->data[text->size - 1]) != NULL) {
        text->size--;
    }
    return buf_append_text(text, "}");
}

static int load(const struct cli *cli, const char *directory, const char *name, json_t **out)
{
    struct buf path = {0};
    struct buf text = {0};
    json_error_t error;
    int status = EXIT_OK;

    (void)cli;
    if (buf_printf(&path, "%s/%s", directory, name) != 0 || buf_append_byte(&path, 0) != 0) {
        status = cli_fail("%s", ls_strerror(LS_ENOMEM));
    } else if (read_head((const char *)path.data, &text) != 0) {
        status = cli_fail("%s: %s%s", (const char *)path.data, strerror(errno),
                          errno == ENOENT ? "; is it the directory of a run that ended?" : "");
    } else if (cut_nodes(&text) != 0) {
        status = cli_fail("%s", ls_strerror(LS_ENOMEM));
    } else {
        *out = json_loadb((const char *)text.data, text.size, 0, &error);
        if (*out == NULL || !json_is_object(*out)) {
            status = cli_fail("%s is not what 'lockstep model' writes: %s", (const char *)path.data,
                              *out == NULL ? error.text : "no object");
        }
    }
    buf_free(&path);
    buf_free(&text);
    return status;
}

/* ---- showing ---- */

static json_t *member_of(const struct compared *run, const struct row *row)
{
    json_t *from = row->of_config ? run->config : run->summary;
    if (row->object != NULL) {
        from = json_object_get(from, row->object);
    }
    return json_object_get(from, row->member);
}

/* A value as text, cut to the size of a cell. */
static void put_cell(char out[CELL_SIZE], const struct row *row, const json_t *value)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(12));
    if (value == NULL || (json_is_null(value) && strcmp(row->member, "peers") != 0)) {
        snprintf(out, CELL_SIZE, "-");
    } else if (json_is_null(value)) {
        snprintf(out, CELL_SIZE, "all");
    } else if (json_is_boolean(value)) {
        snprintf(out, CELL_SIZE, "%s", json_is_true(value) ? "yes" : "NO");
    } else if (json_is_string(value)) {
        snprintf(out, CELL_SIZE, "%s", json_string_value(value));
    } else if (text != NULL && json_is_array(value) && strlen(text) > 2) {
        snprintf(out, CELL_SIZE, "%.*s", (int)strlen(text) - 2, text + 1);
    } else {
        snprintf(out, CELL_SIZE, "%s", text != NULL ? text : "?");
    }
    free(text);
}

static void print_row(const struct cli *cli, const struct compared *runs, size_t count,
                      const struct row *row)
{
    bool any = false;
    bool differs = false;
    for (size_t i = 0; i < count; i++) {
        json_t *value = member_of(&runs[i], row);
        any |= value != NULL;
        differs |=
            !json_equal((json_t *)(uintptr_t)value, (json_t *)(uintptr_t)member_of(&runs[0], row));
    }
    if (!any) {
        return;
    }
    printf("%s%-12s", differs ? cli_colour(cli, COLOUR_BOLD) : "", row->title);
    for (size_t i = 0; i < count; i++) {
        char cell[CELL_SIZE];
        put_cell(cell, row, member_of(&runs[i], row));
        printf("  %*.*s", COLUMN_WIDTH, COLUMN_WIDTH, cell);
    }
    printf("%s\n", differs ? cli_colour(cli, COLOUR_NONE) : "");
}

static int print_json(const struct compared *runs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct json json = {0};
        char *config = json_dumps(runs[i].config, JSON_COMPACT | JSON_REAL_PRECISION(12));
        char *summary = json_dumps(runs[i].summary, JSON_COMPACT | JSON_REAL_PRECISION(12));
        int status = EXIT_FAILED;
        if (config != NULL && summary != NULL) {
            json_text(&json, "directory", runs[i].name);
            json_raw(&json, "config", bytes_of_text(config));
            json_raw(&json, "summary", bytes_of_text(summary));
            status = json_print(&json);
        } else {
            cli_fail("%s", ls_strerror(LS_ENOMEM));
        }
        buf_free(&json.text);
        free(config);
        free(summary);
        if (status != EXIT_OK) {
            return status;
        }
    }
    return EXIT_OK;
}

static int print(const struct cli *cli, const struct compared *runs, size_t count)
{
    if (cli->json) {
        return print_json(runs, count);
    }
    printf("%-12s", "");
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(runs[i].name);
        const char *tail = size > COLUMN_WIDTH ? runs[i].name + size - COLUMN_WIDTH : runs[i].name;
        printf("  %*s", COLUMN_WIDTH, tail);
    }
    putchar('\n');
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        print_row(cli, runs, count, &rows[i]);
    }
    return EXIT_OK;
}

int model_compare(const struct cli *cli)
{
    struct compared runs[RUNS_MAX] = {0};
    size_t count = (size_t)cli->argc - 1;
    int status = EXIT_OK;

    for (size_t i = 0; i < CLI_OPTIONS_MAX && cli->command->options[i].name != NULL; i++) {
        if (cli->values[i] != NULL) {
            return cli_usage(cli, "'model compare' takes no --%s", cli->command->options[i].name);
        }
    }
    if (count < 2 || count > RUNS_MAX) {
        return cli_usage(cli, "'model compare' takes the directories of 2 to %d runs", RUNS_MAX);
    }
    for (size_t i = 0; i < count && status == EXIT_OK; i++) {
        runs[i].name = cli->argv[i + 1];
        status = load(cli, runs[i].name, "config.json", &runs[i].config);
        status =
            status == EXIT_OK ? load(cli, runs[i].name, "summary.json", &runs[i].summary) : status;
    }
    status = status == EXIT_OK ? print(cli, runs, count) : status;
    for (size_t i = 0; i < count; i++) {
        json_decref(runs[i].config);
        json_decref(runs[i].summary);
    }
    return status;
}
